/* launch.c -- a launch of compiled code: overlapping buffers go to the interpreter,
 * locals and scratch get memory, failures get their words.
 *
 * The memory of a NativeKernel is malloc's: a program holds pointers to it where a
 * collector does not look.                                                   */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "codegen/native/launch.h"

typedef struct Packed {
  struct Packed *next;
  const void *src;
  void *at;
  int64_t key, n, k;
  size_t bytes;
  atomic_int finite; /* all of it; 0: nobody has asked yet, 1: no, 2: yes */
} Packed;

static size_t padded(size_t n) { return (n + 63) & ~(size_t)63; }

NativeKernel *native_new(KernelCode code, const Kernel *k, KernelFn slow, void *slow_ctx,
                         Room *room) {
  NativeKernel *f = calloc(1, sizeof *f);
  uint32_t at;
  if (!f) return NULL;
  f->code = code, f->k = k, f->slow = slow, f->slow_ctx = slow_ctx, f->room = room;
  f->splits = native_splits(k, &at);
  f->cost = k->n_syms ? 0 : kernel_cost(k, NULL);
  f->plain = plain_product(k, &f->product);
  return f;
}

void native_free(NativeKernel *f) {
  if (f) free(f->seen);
  free(f);
}

void native_constants(void *ctx, const void *from, size_t bytes) {
  NativeKernel *f = ctx;
  f->constants = from;
  f->n_constants = bytes;
}

bool native_fixable(const Kernel *k) {
  for (uint32_t i = 0; i < k->n_stmts; i++) {
    const KStmt *s = &k->stmt[i];
    bool sum = s->kind == KS_Reduce && (s->op == S_add || s->op == S_mul);
    if (sum && dtype_is_float((DType)s->dtype)) return false;
  }
  return k->n_syms > 0;
}

/* ---- packed constants --------------------------------------------------------------- */
/* A kernel that layers share has many, and each lies behind megabytes of weights: a walk through
 * them all would wait for memory at every one. */
static _Atomic(Packed *) *list_of(NativeKernel *f, const void *src, int64_t key) {
  uint64_t h = (uint64_t)(uintptr_t)src * UINT64_C(0x9e3779b97f4a7c15);
  bool matrix = key >= 0 && (key >> 8 & PACKED_MATRIX); /* below 0: transforms, the kernel's own */
  PackedForms *forms = matrix && f->shared ? f->shared : &f->own;
  return &forms->list[h >> 32 & (PACKED_LISTS - 1)];
}

static Packed *find_packed(NativeKernel *f, const void *src, int64_t key, int64_t n, int64_t k) {
  _Atomic(Packed *) *list = list_of(f, src, key);
  for (Packed *p = atomic_load_explicit(list, memory_order_acquire); p; p = p->next)
    if (p->src == src && p->key == key && p->n == n && p->k == k) return p;
  return NULL;
}

void *jit_packed(JitState *s, const void *src, int64_t key, int64_t n, int64_t k) {
  const Packed *p = find_packed(s->native, src, key, n, k);
  return p ? p->at : NULL;
}

int64_t jit_is_constant(JitState *s, const void *src) {
  const NativeKernel *f = s->native;
  uintptr_t at = (uintptr_t)src, from = (uintptr_t)f->constants;
  return at >= from && at - from < f->n_constants;
}

void *jit_pack(JitState *s, const void *src, int64_t key, int64_t n, int64_t k, int64_t bytes) {
  if (!jit_is_constant(s, src) || bytes < 0) return NULL;
  uint8_t *room = room_take(s->native->room, padded((size_t)bytes) + sizeof(Packed));
  if (!room) return NULL;
  Packed *p = (Packed *)(void *)(room + padded((size_t)bytes));
  *p = (Packed){NULL, src, room, key, n, k, (size_t)bytes, 0};
  s->packing = p;
  return room;
}

int64_t jit_pack_done(JitState *s, void *room) {
  Packed *p = s->packing;
  (void)room;
  _Atomic(Packed *) *list = list_of(s->native, p->src, p->key);
  p->next = atomic_load(list);
  while (!atomic_compare_exchange_weak(list, &p->next, p)) continue;
  return 0;
}

/* No infinity and no NaN among the floats of t. */
static bool all_finite(const Packed *p, DType t) {
  const uint64_t wide = UINT64_C(0x7ff) << 52, *x = p->at;
  const uint32_t narrow = UINT32_C(0xff) << 23, *y = p->at;
  size_t n = p->bytes / (size_t)dtype_bytes(t);
  bool other = false;
  for (size_t i = 0; t == DT_f64 && i < n; i++) other |= (x[i] & wide) == wide;
  for (size_t i = 0; t == DT_f32 && i < n; i++) other |= (y[i] & narrow) == narrow;
  return !other;
}

int64_t jit_zero_row(JitState *s, const void *row, const void *src, int64_t key, int64_t n,
                     int64_t k, int64_t t) {
  const char *x = row;
  size_t bytes = (size_t)k * (size_t)dtype_bytes((DType)t);
  if (x[0] != 0 || memcmp(x, x + 1, bytes - 1) != 0) return 0;
  Packed *p = find_packed(s->native, src, key, n, k);
  if (!p) return 0;
  int is = atomic_load_explicit(&p->finite, memory_order_relaxed);
  if (!is) atomic_store(&p->finite, is = 1 + all_finite(p, (DType)t));
  return is == 2;
}

int64_t jit_backward(JitState *s) {
  if (!s->asked) {
    s->asked = true;
    s->backward = atomic_fetch_add_explicit(&s->native->turn, 1, memory_order_relaxed) & 1;
  }
  return s->backward;
}

/* ---- memory of a launch ------------------------------------------------------------ */
void *jit_scratch(JitState *s, int64_t bytes) {
  if (bytes < 0) return NULL;
  if ((size_t)bytes <= s->n) return s->at;
  if (s->at) s->a.fn(s->a.user, s->at, s->n, 0);
  s->at = s->a.fn(s->a.user, NULL, 0, (size_t)bytes);
  s->n = s->at ? (size_t)bytes : 0;
  return s->at;
}

static size_t buf_bytes(const Kernel *k, uint32_t b, const int64_t *sym) {
  int64_t n;
  if (!kernel_buf_count(k, b, sym, &n)) return SIZE_MAX;
  return (size_t)n * (size_t)dtype_bytes((DType)k->buf[b].dtype);
}

/* Does a written buffer overlap another?  Compiled code assumes that it does not. */
static bool overlaps(const Kernel *k, void *const *buf, const int64_t *sym) {
  size_t bytes[K_MAX_BUFS];
  for (uint32_t i = 0; i < k->n_params; i++) bytes[i] = buf_bytes(k, i, sym);
  for (uint32_t i = 0; i < k->n_params; i++) {
    if (k->buf[i].role == K_IN) continue;
    uintptr_t lo = (uintptr_t)buf[i], hi = lo + bytes[i];
    for (uint32_t j = 0; j < k->n_params; j++) {
      uintptr_t p = (uintptr_t)buf[j];
      if (j != i && p < hi && lo < p + bytes[j]) return true;
    }
  }
  return false;
}

/* Locals in one block behind the parameters. */
static KStatus with_locals(const Kernel *k, void **all, const int64_t *sym, KAlloc a, void **block,
                           size_t *size) {
  size_t total = 64, bytes[K_MAX_BUFS];
  for (uint32_t i = k->n_params; i < k->n_bufs; i++) {
    bytes[i] = buf_bytes(k, i, sym);
    if (bytes[i] > SIZE_MAX / 128) return K_BAD_SIZE;
    total += padded(bytes[i]);
  }
  *block = a.fn(a.user, NULL, 0, *size = total);
  if (!*block) return K_NO_MEMORY;
  char *at = (char *)padded((size_t)(uintptr_t)*block);
  for (uint32_t i = k->n_params; i < k->n_bufs; i++, at += padded(bytes[i - 1])) all[i] = at;
  return K_OK;
}

/* ---- several threads ------------------------------------------------------------------ */
enum { WORTH_THREADS = 400000 }; /* units of kernel_cost */

bool native_splits(const Kernel *k, uint32_t *at) {
  uint32_t i = 0;
  *at = KE_NONE;
  if (k->n_bufs != k->n_params || (k->n_syms == 0 && kernel_cost(k, NULL) < WORTH_THREADS))
    return false;
  while (i < k->n_stmts && (k->stmt[i].kind == KS_Let || k->stmt[i].kind == KS_Check)) i++;
  if (i == k->n_stmts || k->stmt[i].end != k->n_stmts) return false;
  const KStmt *s = &k->stmt[i];
  bool loop = s->kind == KS_For && s->op == K_PARALLEL && s->b == KE_NONE;
  if (!loop && s->kind != KS_Contract) return false;
  *at = i;
  return true;
}

static void *plain_memory(void *user, void *old, size_t was, size_t want) {
  (void)user, (void)was;
  if (want) return realloc(old, want);
  free(old);
  return NULL;
}
const KAlloc native_memory = {plain_memory, NULL};

typedef struct {
  NativeKernel *f;
  KernelCode code;
  void *const *buf;
  const int64_t *sym;
  KAlloc own; /* of the caller's thread */
  int64_t parts;
  Ahead *ahead;     /* of a launch in one part */
  bool backward;    /* the same for all parts */
  uint64_t *result; /* one per part           */
} Split;

static void run_part(void *ctx, int part) {
  Split *s = ctx;
  JitState state = {.a = part ? native_memory : s->own,
                    .native = s->f,
                    .asked = s->parts > 1,
                    .backward = s->backward,
                    .part = part,
                    .parts = s->parts,
                    .ahead = s->parts > 1 ? NULL : s->ahead};
  s->result[part] = s->code(s->buf, s->sym, &state);
  if (state.at) state.a.fn(state.a.user, state.at, state.n, 0);
}

/* The first launch runs alone, so that constants are packed once. */
static bool wants_threads(NativeKernel *f, const int64_t *sym) {
  if (!f->team || !f->splits) return false;
  if (!atomic_exchange(&f->warm, true)) return false;
  return (f->cost ? f->cost : kernel_cost(f->k, sym)) >= WORTH_THREADS;
}

static uint64_t run_alone(Split s) {
  uint64_t result = 0;
  s.parts = 1;
  s.result = &result;
  run_part(&s, 0);
  return result;
}

/* The first part that failed says why; the order of sums does not depend on parts.
 * Apart, and not inlined: a launch takes little of the stack (engine.c), this much. */
static __attribute__((noinline)) uint64_t run_parts(Split s) {
  uint64_t result[TEAM_MOST] = {0};
  s.backward = atomic_fetch_add(&s.f->turn, 1) & 1;
  s.result = result;
  if (!team_run(s.f->team, run_part, &s)) return run_alone(s);
  for (int i = 0; i < s.parts; i++)
    if (result[i]) return result[i];
  return 0;
}

static uint64_t run_code(NativeKernel *f, void *const *buf, const int64_t *sym, KAlloc a,
                         Ahead *ahead) {
  Split s = {.f = f, .buf = buf, .sym = sym, .own = a, .ahead = ahead};
  s.parts = team_threads(f->team);
  s.code = f->special ? special_code(f, sym) : f->code;
  return wants_threads(f, sym) ? run_parts(s) : run_alone(s);
}

/* The locals' addresses, too, are only on the stack of those that have some. */
static __attribute__((noinline)) KStatus
run_with_locals(NativeKernel *f, void *const *buf, const int64_t *sym, KAlloc a, uint64_t *result) {
  void *all[K_MAX_BUFS], *block = NULL;
  size_t size = 0;
  for (uint32_t i = 0; i < f->k->n_params; i++) all[i] = buf[i];
  KStatus s = with_locals(f->k, all, sym, a, &block, &size);
  if (s == K_OK) *result = run_code(f, all, sym, a, NULL);
  if (block) a.fn(a.user, block, size, 0);
  return s;
}

KStatus native_run_beside(NativeKernel *f, void *const *buf, const int64_t *sym, KAlloc a,
                          Ahead *ahead, KError *err) {
  const Kernel *k = f->k;
  const char *why = NULL;
  KStatus s = K_OK;
  uint64_t r = 0;
  if (k->n_bufs > k->n_params)
    s = run_with_locals(f, buf, sym, a, &r);
  else
    r = run_code(f, buf, sym, a, ahead);
  if (s == K_OK) s = (KStatus)(r & 255);
  if (s == K_CHECK) why = k->text + (r >> 8);
  if (s == K_DIV_ZERO) why = "integer division by zero";
  if (s == K_BAD_SHIFT) why = "shift amount out of range";
  if (s != K_OK && err) *err = (KError){s, why};
  return s;
}

KStatus native_run(void *ctx, void *const *buf, const int64_t *sym, KAlloc a, KError *err) {
  return native_run_beside(ctx, buf, sym, a, NULL, err);
}

bool native_wait(NativeKernel *f, void *const *buf, Ahead *ahead) {
  const PlainProduct *p = &f->product;
  if (!ahead->tile || team_threads(f->team) > 1) return false;
  const void *w = buf[p->w];
  const Packed *at = find_packed(f, w, packed_matrix_key(true, DT_f32, AHEAD_WIDTH), p->n, p->k);
  if (at) ahead_begin(ahead, p, buf, at->at);
  return at != NULL;
}

KStatus native_launch(void *ctx, void *const *buf, const int64_t *sym, KAlloc a, KError *err) {
  const NativeKernel *f = ctx;
  if (!overlaps(f->k, buf, sym)) return native_run(ctx, buf, sym, a, err);
  if (f->slow) return f->slow(f->slow_ctx, buf, sym, a, err);
  if (err) *err = (KError){K_BAD_KERNEL, "an output overlaps another buffer"};
  return K_BAD_KERNEL;
}
