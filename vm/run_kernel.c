/* run_kernel.c -- running kernels: the checks before, the call, the slots after.
 *
 * A tensor fits a kernel's buffer when the element counts agree.  For kernels
 * with symbols the counts, the cost and the verdict of kernel_launch_ok are
 * remembered in the instance together with the symbols they belong to, so a
 * loop over equal shapes pays for them once.  Written buffers must be owned by
 * one register alone: constants, the host's arrays and shared tensors never
 * change.                                                                    */
#include "vm/instance.h"
#include "base/checked.h"
#include "vm/rt.h"
#include "vm/runtime.h"
#include "vm/strings.h"

static KAlloc scratch(rvm_instance *vm) { return (KAlloc){heap_scratch, &vm->heap}; }

/* ---- what a kernel demands of this launch ------------------------------------- */

static int64_t buf_count(const KernelInfo *k, uint32_t b, const int64_t *sym) {
  const BufInfo *i = &k->buf[b];
  int64_t n = i->count;
  if (i->kind == KB_GENERAL) return kernel_buf_count(k->k, b, sym, &n) ? n : -1;
  bool zero = false, ok = true;
  for (int s = 0; s < i->n_syms; s++) {
    int64_t v = sym[i->sym[s]];
    if (v == 0)
      zero = true;
    else if (v < 0 || !i64_mul(n, v, &n))
      ok = false;
  }
  return !ok ? -1 : zero ? 0 : n;
}

/* The memo of a kernel: 1 + whether it may be launched at all, cost, symbols, counts. */
typedef struct {
  uint64_t *word;
  int64_t *sym, *count;
} Memo;
static Memo memo_of(rvm_instance *vm, const KernelInfo *k) {
  uint64_t *w = vm->memo + k->memo;
  return (Memo){w, (int64_t *)w + 2, (int64_t *)w + 2 + k->k->n_syms};
}

static rvm_status kernel_fault(rvm_instance *vm, KStatus s, const KError *e) {
  static const char *const text[] = {[K_BAD_KERNEL] = "the kernel is damaged",
                                     [K_DIV_ZERO] = "integer division by zero",
                                     [K_BAD_SHIFT] = "shift amount out of range",
                                     [K_BOUNDS] = "an index is outside its tensor",
                                     [K_CHECK] = "a check failed",
                                     [K_BAD_SIZE] = "an extent is negative or too large"};
  if (s == K_NO_MEMORY) return vm_no_memory(vm);
  const char *why = s == K_CHECK && e->why                   ? e->why
                    : (size_t)s < sizeof text / sizeof *text ? text[s]
                                                             : NULL;
  return vm_fault(vm, why ? why : "the kernel failed", NULL);
}

rvm_status vm_kernel_failed(rvm_instance *vm, uint32_t kernel, KStatus s, uint32_t message) {
  KError e = {s, NULL};
  if (s == K_CHECK) e.why = vm->p->im.kernel[kernel]->text + message;
  return kernel_fault(vm, s, &e);
}

static rvm_status memo_fill(rvm_instance *vm, const KernelInfo *k, Memo m, const int64_t *sym) {
  KError e = {0};
  m.word[0] = 0;
  KStatus s = k->needs_launch ? kernel_launch_ok(k->k, sym, scratch(vm), &e) : K_OK;
  if (s != K_OK) return kernel_fault(vm, s, &e);
  m.word[1] = kernel_cost(k->k, sym);
  for (uint32_t b = 0; b < k->k->n_params; b++)
    m.count[b] = k->buf[b].kind == KB_SCALAR ? 1 : buf_count(k, b, sym);
  memcpy(m.sym, sym, k->k->n_syms * sizeof *sym);
  m.word[0] = 1;
  return RVM_OK;
}

/* ---- buffers ------------------------------------------------------------------- */

static rvm_status bad_buffer(rvm_instance *vm, const KernelInfo *k, uint32_t b, int64_t has,
                             int64_t wants) {
  Msg m = msg(vm->err.message, sizeof vm->err.message);
  msg_text(&m, k->k->text + k->k->name);
  msg_text(&m, ": ");
  msg_text(&m, k->k->text + k->k->buf[b].name);
  if (wants < 0) {
    msg_text(&m, " would have a negative or too large extent");
  } else {
    msg_text(&m, " has ");
    msg_int(&m, has);
    msg_text(&m, has == 1 ? " element where " : " elements where ");
    msg_int(&m, wants);
    msg_text(&m, wants == 1 ? " is needed" : " are needed");
  }
  return vm->err.status = RVM_FAULT;
}

static bool writable(const Tensor *t) { return t->h.u.own.count == 1 && heap_owns(t); }

static rvm_status bind(rvm_instance *vm, const KernelInfo *k, const uint32_t *reg, uint64_t *r,
                       const int64_t *count, void **buf) {
  for (uint32_t b = 0; b < k->k->n_params; b++) {
    const BufInfo *i = &k->buf[b];
    uint64_t *slot = &r[reg[b]];
    if (i->kind == KB_SCALAR) {
      if (i->role == K_OUT) *slot = 0;
      buf[b] = slot_bytes(slot, dtype_bytes((DType)i->dtype));
      continue;
    }
    const Tensor *t = tensor_of(*slot);
    int64_t want = count ? count[b] : i->count;
    if (t->count != want || want < 0) return bad_buffer(vm, k, b, t->count, want);
    if (i->role != K_IN && !writable(t))
      return vm_fault(vm, "a kernel would write to a shared tensor", NULL);
    buf[b] = t->data;
  }
  return RVM_OK;
}

static void settle_scalars(const KernelInfo *k, const uint32_t *reg, uint64_t *r) {
  for (uint32_t b = 0; b < k->k->n_params; b++) {
    const BufInfo *i = &k->buf[b];
    if (i->kind != KB_SCALAR || i->role == K_IN) continue;
    uint64_t *slot = &r[reg[b]];
    *slot = slot_load(slot_bytes(slot, dtype_bytes((DType)i->dtype)), (DType)i->dtype);
  }
}

/* ---- KERNEL ---------------------------------------------------------------------- */

static bool pay(int64_t *fuel, uint64_t cost) {
  if (cost > (uint64_t)*fuel) return false;
  *fuel -= (int64_t)cost;
  return true;
}

rvm_status vm_kernel_begin(rvm_instance *vm, const uint32_t *w, uint64_t *r, int64_t *fuel,
                           KernelCall *c) {
  const KernelInfo *k = c->k = &vm->p->kernel[w[0]];
  const uint32_t n = w[1], *reg = w + 2, n_syms = reg[n], *symreg = reg + n + 1;
  const int64_t *count = NULL;
  uint64_t cost = k->cost;
  rvm_status st = RVM_OK;
  for (uint32_t i = 0; i < n_syms; i++) c->sym[i] = (int64_t)r[symreg[i]];
  if (n_syms || k->needs_launch) {
    Memo m = memo_of(vm, k);
    if (m.word[0] != 1 || memcmp(m.sym, c->sym, n_syms * sizeof *c->sym) != 0)
      st = memo_fill(vm, k, m, c->sym);
    if (st != RVM_OK) return st;
    count = m.count;
    cost = m.word[1];
  }
  if (!pay(fuel, cost)) return RVM_NO_FUEL;
  st = bind(vm, k, reg, r, count, c->buf);
  if (st != RVM_OK) return st;
  c->scratch = scratch(vm);
  vm->kernels++;
  return RVM_OK;
}

rvm_status vm_kernel_end(rvm_instance *vm, const uint32_t *w, uint64_t *r, const KernelCall *c,
                         KStatus s, const KError *e) {
  heap_scratch_idle(&vm->heap);
  if (s != K_OK) return kernel_fault(vm, s, e);
  settle_scalars(c->k, w + 2, r);
  return RVM_OK;
}

rvm_status vm_kernel(rvm_instance *vm, const uint32_t *w, uint64_t *r, int64_t *fuel) {
  KernelCall c;
  KError e = {0};
  rvm_status st = vm_kernel_begin(vm, w, r, fuel, &c);
  if (st != RVM_OK) return st;
  KStatus s = c.k->fn(c.k->ctx, c.buf, c.sym, c.scratch, &e);
  return vm_kernel_end(vm, w, r, &c, s, &e);
}

/* ---- RUNTIME ----------------------------------------------------------------------- */

static const RtFn rt_kernel[RT_COUNT] = {
#define RT(id, name, in, out, numbers, doc) [RT_##id] = rt_##id,
#include "vm/runtime.def"
#undef RT
};

/* About what the sorts cost; suppression looks at every pair. */
static uint64_t rt_cost(const RtCall *c, uint32_t n_in, bool pairs) {
  uint64_t total = 1;
  for (uint32_t i = 0; i < n_in; i++) {
    uint64_t n = (uint64_t)c->in[i].count, per = 8, m;
    if (pairs && i == 0 && c->in[0].rank == 3 && c->in[0].dim[1] > 0)
      per = (uint64_t)c->in[0].dim[1];
    if (__builtin_mul_overflow(n, per, &m) || __builtin_add_overflow(total, m, &total))
      return UINT64_MAX;
  }
  return total;
}

static void rt_inputs(RtCall *c, const char *letters, uint32_t scalars, const uint32_t *reg,
                      uint32_t n, uint64_t *r) {
  for (uint32_t i = 0; i < n; i++) {
    uint32_t bits = 0;
    if (letters[i] == 'I' || letters[i] == 'F') {
      bits = scalars & 15;
      scalars >>= 4;
    }
    if (bits) {
      DType t = (DType)(bits - 1);
      c->in[i] = (RtIn){slot_bytes(&r[reg[i]], dtype_bytes(t)), t, 0, 1, NULL};
      continue;
    }
    const Tensor *x = tensor_of(r[reg[i]]);
    c->in[i] = (RtIn){x->data, (DType)x->h.desc, x->h.n, x->count, x->dim};
  }
}

rvm_status vm_runtime(rvm_instance *vm, uint32_t scalars, const uint32_t *w, uint64_t *r,
                      int64_t *fuel) {
  const RtInfo *info = &rt_info[w[0]];
  const uint32_t n_in = w[1], *in = w + 2, *out = in + n_in, n_out = out[0],
                 *num = out + 1 + 2 * n_out;
  Msg why = msg(vm->err.message, sizeof vm->err.message);
  RtCall c = {.heap = &vm->heap, .name = info->name, .why = &why};
  rt_inputs(&c, info->in, scalars, in, n_in, r);
  if (!pay(fuel, rt_cost(&c, n_in, w[0] >= RT_nms))) return RVM_NO_FUEL;
  for (uint32_t i = 0; i < n_out; i++) {
    const IType *t = &vm->p->im.type[out[1 + 2 * i]];
    c.out[i] = (RtOut){(DType)t->dtype, t->rank, NULL};
  }
  for (uint32_t i = 0; i < num[0]; i++)
    c.num[i] = (int64_t)((uint64_t)num[2 + 2 * i] << 32 | num[1 + 2 * i]);
  vm->kernels++;
  RtStatus s = rt_kernel[w[0]](&c);
  heap_scratch_idle(&vm->heap);
  if (s == RT_NO_MEMORY) return vm_no_memory(vm);
  if (s != RT_OK) return vm->err.status = RVM_FAULT;
  for (uint32_t i = 0; i < n_out; i++) r[out[2 + 2 * i]] = cell_value(c.out[i].x);
  return RVM_OK;
}
