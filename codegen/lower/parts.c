/* parts.c -- the tables of the image: names, constants, kernels, instances.
 * Equal entries are shared.                                                   */
#include "codegen/lower/lower_priv.h"
#include "vm/runtime.h"

static void *grow(void *user, void *old, size_t was, size_t want) {
  (void)user;
  return want ? mem_grow(old, was, want) : NULL;
}
KAlloc lower_alloc(void) { return (KAlloc){grow, NULL}; }

uint32_t low_text(Lower *L, const char *s) {
  if (L->text.n == 0) vec_push(&L->text, '\0');
  if (!s || !*s) return 0;
  uint64_t at = map_ptr(sym(L->cx->syms, s));
  void *found = map_get(&L->text_at, at);
  if (found) return (uint32_t)(uintptr_t)found;
  uint32_t off = (uint32_t)L->text.n;
  for (const char *p = s; *p; p++) vec_push(&L->text, *p);
  vec_push(&L->text, '\0');
  map_set(&L->text_at, at, (void *)(uintptr_t)off);
  return off;
}

static uint64_t slot_bits(const Tensor *t) {
  uint64_t bits = 0;
  memcpy(&bits, t->bytes, (size_t)dtype_bytes(t->dtype));
  return dtype_is_float(t->dtype) ? bits : (uint64_t)wrap_int((int64_t)bits, t->dtype);
}

static uint64_t const_hash(const Tensor *t) {
  uint64_t h = hash_bytes(t->dim, sizeof t->dim[0] * (uint64_t)t->rank, (uint64_t)t->dtype + 1);
  return hash_bytes(t->bytes, (uint64_t)t->count * (uint64_t)dtype_bytes(t->dtype), h) | 1;
}

/* Chains of equal hashes are told apart by comparing with the stored entry. */
static bool same_const(const Lower *L, uint32_t i, const Tensor *t, uint32_t type) {
  const IConst *c = &L->consts.at[i];
  if (c->type != type) return false;
  if (t->rank == 0) return c->bits == slot_bits(t);
  size_t bytes = (size_t)t->count * (size_t)dtype_bytes(t->dtype);
  return c->bytes == bytes &&
         !memcmp(&L->dims.at[c->first_dim], t->dim, sizeof t->dim[0] * (size_t)t->rank) &&
         !memcmp(L->const_of.at[i]->bytes, t->bytes, bytes);
}

uint32_t low_const(Lower *L, const Tensor *t) {
  uint32_t type = t->rank ? low_tensor(L, t->dtype, t->rank) : low_scalar(L, t->dtype);
  uint64_t h = const_hash(t);
  for (void *found; (found = map_get(&L->const_at, h)); h += 2) {
    uint32_t i = (uint32_t)(uintptr_t)found - 1;
    if (same_const(L, i, t, type)) return i;
  }
  IConst c = {.type = type};
  if (t->rank == 0) {
    c.bits = slot_bits(t);
  } else {
    c.at = L->n_data = (L->n_data + 63) / 64 * 64;
    c.bytes = (uint64_t)t->count * (uint64_t)dtype_bytes(t->dtype);
    c.first_dim = (uint32_t)L->dims.n;
    for (int i = 0; i < t->rank; i++) vec_push(&L->dims, t->dim[i]);
    L->n_data += c.bytes;
  }
  uint32_t i = (uint32_t)L->consts.n;
  vec_push(&L->consts, c);
  vec_push(&L->const_of, t);
  map_set(&L->const_at, h, (void *)(uintptr_t)(i + 1));
  return i;
}

/* The bytes of all constants, put together once: weights are large. */
uint8_t *low_data(const Lower *L) {
  uint8_t *data = NEW_BYTES((size_t)L->n_data + 1);
  for (int i = 0; i < L->consts.n; i++)
    if (L->consts.at[i].bytes)
      memcpy(data + L->consts.at[i].at, L->const_of.at[i]->bytes, (size_t)L->consts.at[i].bytes);
  return data;
}

/* ---- kernels --------------------------------------------------------------------- */
static uint64_t kernel_hash(const Kernel *k) {
  uint64_t h = hash_bytes(k->text, k->n_text, 7);
  h = hash_bytes(k->node, sizeof *k->node * (uint64_t)k->n_nodes, h);
  h = hash_bytes(k->stmt, sizeof *k->stmt * (uint64_t)k->n_stmts, h);
  h = hash_bytes(k->pool, sizeof *k->pool * (uint64_t)k->n_pool, h);
  for (uint32_t i = 0; i < k->n_bufs; i++)
    h = hash_mix(h,
                 (uint64_t)k->buf[i].role << 16 | (uint64_t)k->buf[i].dtype << 8 | k->buf[i].rank);
  return h | 1;
}
static bool same_bytes(const void *a, const void *b, size_t size, uint32_t n, uint32_t m) {
  return n == m && (n == 0 || !memcmp(a, b, size * n));
}
static bool same_bufs(const Kernel *a, const Kernel *b) {
  if (a->n_bufs != b->n_bufs || a->n_params != b->n_params) return false;
  for (uint32_t i = 0; i < a->n_bufs; i++) {
    const KBuf *x = &a->buf[i], *y = &b->buf[i];
    if (x->role != y->role || x->dtype != y->dtype || x->rank != y->rank || x->name != y->name ||
        memcmp(x->dim, y->dim, sizeof x->dim[0] * x->rank))
      return false;
  }
  return true;
}
static bool same_kernel(const Kernel *a, const Kernel *b) {
  return a->name == b->name && same_bytes(a->text, b->text, 1, a->n_text, b->n_text) &&
         same_bytes(a->sym_name, b->sym_name, sizeof(uint32_t), a->n_syms, b->n_syms) &&
         same_bytes(a->node, b->node, sizeof(KNode), a->n_nodes, b->n_nodes) &&
         same_bytes(a->stmt, b->stmt, sizeof(KStmt), a->n_stmts, b->n_stmts) &&
         same_bytes(a->pool, b->pool, sizeof(uint32_t), a->n_pool, b->n_pool) && same_bufs(a, b);
}

uint32_t low_kernel(Lower *L, Kernel *k) {
  uint64_t h = kernel_hash(k);
  for (void *found; (found = map_get(&L->kernel_at, h)); h += 2) {
    uint32_t i = (uint32_t)(uintptr_t)found - 1;
    if (same_kernel(L->kernels.at[i], k)) return i;
  }
  uint32_t i = (uint32_t)L->kernels.n;
  vec_push(&L->kernels, k);
  map_set(&L->kernel_at, h, (void *)(uintptr_t)(i + 1));
  return i;
}

/* ---- instances -------------------------------------------------------------------- */
/* Local functions are told apart by their binding too: the same literal reached
 * through two instances of its parent has two FnBinds and two environments. */
uint32_t low_instance(Lower *L, const Fn *fn, Sym name, const TyEnv *env, FnBind *fb) {
  StrBuf b = {0};
  buf_fmt(&b, "%p", (const void *)fn);
  if (fb) buf_fmt(&b, "/%p", (void *)fb);
  for (int i = 0; i < fn->n_vars; i++) {
    TyVar *v = fn->var[i];
    for (const TyEnv *e = env; e; e = e->up)
      if (e->var == v) {
        buf_fmt(&b, ";%u", low_itype(L, e->type));
        break;
      }
  }
  uint64_t at = map_ptr(sym(L->cx->syms, buf_text(&b)));
  Instance *found = map_get(&L->instance_at, at);
  if (found) return found->index;
  Instance *i = NEW(Instance);
  *i =
      (Instance){.fn = fn, .name = name, .env = env, .bind = fb, .index = (uint32_t)L->instances.n};
  vec_push(&L->instances, i);
  map_set(&L->instance_at, at, i);
  return i->index;
}

uint32_t low_runtime(const char *name) { return (uint32_t)rt_find(name); }
