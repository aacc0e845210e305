/* kernel_naive.h -- for tests: kernels run the slow and obvious way, one
 * element at a time, straight from the statements, on top of scalar_eval.
 * Reductions and contractions are summed in double when they are of floats, so
 * results are compared with a tolerance there and exactly elsewhere.         */
#ifndef RVM_TESTS_KERNEL_NAIVE_H
#define RVM_TESTS_KERNEL_NAIVE_H
#include <stdlib.h>
#include "kernel/build.h"
#include "kernel/interp.h"
#include "kernel/visit.h"

typedef struct {
  const Kernel *k;
  const int64_t *sym;
  void **mem;
  uint64_t *var;
  KStatus status;
  uint64_t *memo;
  uint32_t *when, now;
} Naive;

static inline double bits_value(uint64_t x, DType t) {
  uint64_t r = scalar_cast(x, t, DT_f64);
  double d;
  memcpy(&d, &r, 8);
  return d;
}
static inline uint64_t value_bits(double d, DType t) {
  uint64_t r;
  memcpy(&r, &d, 8);
  return scalar_cast(r, DT_f64, t);
}

static inline uint64_t mem_get(const void *p, int64_t i, DType t) {
  uint64_t x = 0;
  int n = dtype_bytes(t);
  memcpy(&x, (const char *)p + i * n, (size_t)n);
  return dtype_is_float(t) ? x : (uint64_t)wrap_int((int64_t)x, t);
}
static inline void mem_put(void *p, int64_t i, DType t, uint64_t x) {
  memcpy((char *)p + i * dtype_bytes(t), &x, (size_t)dtype_bytes(t));
}

static uint64_t naive_eval(Naive *n, KE e);

/* The flat position, or -1 outside. */
static int64_t naive_at(Naive *n, uint32_t buf, const KE *index) {
  const KBuf *b = &n->k->buf[buf];
  int64_t at = 0;
  bool inside = true;
  for (int d = 0; d < b->rank; d++) {
    int64_t dim = (int64_t)naive_eval(n, b->dim[d]), i = (int64_t)naive_eval(n, index[d]);
    if (i < 0 || i >= dim)
      inside = false;
    else
      at = at * dim + i;
  }
  return inside ? at : -1;
}

static uint64_t naive_load(Naive *n, const KNode *x) {
  int64_t at = naive_at(n, x->a, n->k->pool + x->b);
  if (at >= 0) return mem_get(n->mem[x->a], at, (DType)x->dtype);
  if (x->kind == KN_LoadOr) return naive_eval(n, x->c);
  n->status = K_BOUNDS;
  return 0;
}

static uint64_t naive_op(Naive *n, const KNode *x) {
  DType t = (DType)n->k->node[x->op == S_select ? x->b : x->a].dtype;
  uint64_t v[3] = {0}, r = 0;
  KE arg[3] = {x->a, x->b, x->c};
  for (int i = 0; i < sop_info[x->op].arity; i++) v[i] = naive_eval(n, arg[i]);
  KStatus s = scalar_eval((SOp)x->op, t, v[0], v[1], v[2], &r);
  if (s != K_OK && n->status == K_OK) n->status = s;
  return r;
}

static uint64_t naive_new(Naive *n, KE e) {
  const KNode *x = &n->k->node[e];
  switch ((KNodeKind)x->kind) {
  case KN_Const: return x->bits;
  case KN_Sym: return (uint64_t)n->sym[x->a];
  case KN_Var: return n->var[x->a];
  case KN_Op: return naive_op(n, x);
  case KN_Cast:
    return scalar_cast(naive_eval(n, x->a), (DType)n->k->node[x->a].dtype, (DType)x->dtype);
  case KN_Bits: {
    uint64_t v = naive_eval(n, x->a);
    return dtype_is_float((DType)x->dtype) ? mem_get(&v, 0, (DType)x->dtype)
                                           : (uint64_t)wrap_int((int64_t)v, (DType)x->dtype);
  }
  case KN_Load:
  case KN_LoadOr: return naive_load(n, x);
  }
  return 0;
}

/* A value is computed once per moment: n->now grows when anything changes. */
static uint64_t naive_eval(Naive *n, KE e) {
  if (n->when[e] == n->now) return n->memo[e];
  uint64_t v = naive_new(n, e);
  n->memo[e] = v, n->when[e] = n->now;
  return v;
}

static void naive_body(Naive *n, uint32_t from, uint32_t to);

/* Calls f for every point of the (variable, extent) pairs. */
static void naive_points(Naive *n, const uint32_t *pairs, uint32_t count,
                         void (*f)(Naive *, void *), void *ud) {
  if (count == 0) {
    n->now++;
    f(n, ud);
    return;
  }
  int64_t extent = (int64_t)naive_eval(n, pairs[1]);
  for (int64_t i = 0; i < extent; i++) {
    n->var[pairs[0]] = (uint64_t)i;
    n->now++;
    naive_points(n, pairs + 2, count - 1, f, ud);
  }
}

typedef struct {
  const KStmt *s;
  uint32_t index;
  uint64_t acc;
  double sum;
} NaiveSum;

static void naive_reduce_step(Naive *n, void *ud) {
  NaiveSum *u = ud;
  DType t = (DType)u->s->dtype;
  uint64_t v = naive_eval(n, u->s->c);
  if (dtype_is_float(t) && u->s->op == S_add)
    u->sum += bits_value(v, t);
  else if (dtype_is_float(t) && u->s->op == S_mul)
    u->sum *= bits_value(v, t);
  else
    scalar_eval((SOp)u->s->op, t, u->acc, v, 0, &u->acc);
}

static void naive_reduce(Naive *n, const KStmt *s) {
  NaiveSum u = {s, 0, naive_eval(n, s->a), 0};
  DType t = (DType)s->dtype;
  bool by_sum = dtype_is_float(t) && (s->op == S_add || s->op == S_mul);
  u.sum = bits_value(u.acc, t);
  naive_points(n, n->k->pool + s->b + 1, n->k->pool[s->b], naive_reduce_step, &u);
  n->var[s->var] = by_sum ? value_bits(u.sum, t) : u.acc;
}

static void naive_product_step(Naive *n, void *ud) {
  NaiveSum *u = ud;
  const uint32_t *p = n->k->pool + u->s->b, np = p[0], *ab = p + 2 + 2 * np + 2 * p[1 + 2 * np];
  DType t = (DType)u->s->dtype;
  uint64_t a = naive_eval(n, ab[0]), b = naive_eval(n, ab[1]);
  if (dtype_is_float(t))
    u->sum += bits_value(a, t) * bits_value(b, t);
  else {
    scalar_eval(S_mul, t, a, b, 0, &a);
    scalar_eval(S_add, t, a, u->acc, 0, &u->acc);
  }
}

static void naive_contract_point(Naive *n, void *ud) {
  const NaiveSum *o = ud;
  NaiveSum u = {o->s, 0, 0, 0};
  const uint32_t *p = n->k->pool + o->s->b, np = p[0];
  naive_points(n, p + 2 + 2 * np, p[1 + 2 * np], naive_product_step, &u);
  DType t = (DType)o->s->dtype;
  n->var[o->s->var] = dtype_is_float(t) ? value_bits(u.sum, t) : u.acc;
  naive_body(n, o->index + 1, o->s->end);
}

static void naive_for(Naive *n, uint32_t i) {
  const KStmt *s = &n->k->stmt[i];
  uint32_t count = s->b == KE_NONE ? 0 : n->k->pool[s->b];
  const uint32_t *rec = n->k->pool + s->b + 1;
  uint64_t next[128];
  assert_true(count <= 128);
  for (uint32_t c = 0; c < count; c++) next[c] = naive_eval(n, rec[3 * c + 1]);
  for (uint32_t c = 0; c < count; c++) n->var[rec[3 * c]] = next[c];
  int64_t extent = (int64_t)naive_eval(n, s->a);
  for (int64_t j = 0; j < extent; j++) {
    n->var[s->var] = (uint64_t)j;
    naive_body(n, i + 1, s->end);
    n->now++;
    for (uint32_t c = 0; c < count; c++) next[c] = naive_eval(n, rec[3 * c + 2]);
    for (uint32_t c = 0; c < count; c++) n->var[rec[3 * c]] = next[c];
  }
}

static void naive_store(Naive *n, const KStmt *s) {
  int64_t at = naive_at(n, s->a, n->k->pool + s->b);
  uint64_t v = naive_eval(n, s->c);
  if (at < 0)
    n->status = K_BOUNDS;
  else
    mem_put(n->mem[s->a], at, (DType)s->dtype, v);
}

static void naive_body(Naive *n, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to && n->status == K_OK; i = n->k->stmt[i].end) {
    const KStmt *s = &n->k->stmt[i];
    NaiveSum u = {s, i, 0, 0};
    n->now++;
    switch ((KStmtKind)s->kind) {
    case KS_For: naive_for(n, i); break;
    case KS_Let: n->var[s->var] = naive_eval(n, s->a); break;
    case KS_Store: naive_store(n, s); break;
    case KS_Reduce: naive_reduce(n, s); break;
    case KS_Contract:
      naive_points(n, n->k->pool + s->b + 1, n->k->pool[s->b], naive_contract_point, &u);
      break;
    case KS_Check:
      if (!naive_eval(n, s->a) && n->status == K_OK) n->status = K_CHECK;
      break;
    case KS_If:
      if (naive_eval(n, s->a)) naive_body(n, i + 1, s->end);
      break;
    }
    n->now++;
  }
}

/* mem: of all parameters; locals are made here. */
static inline KStatus naive_run(const Kernel *k, void *const *mem, const int64_t *sym) {
  void *all[K_MAX_BUFS] = {0};
  Naive n = {.k = k, .sym = sym, .mem = all, .now = 1};
  n.var = calloc(k->n_vars + 1u, sizeof *n.var);
  n.memo = calloc(k->n_nodes + 1u, sizeof *n.memo);
  n.when = calloc(k->n_nodes + 1u, sizeof *n.when);
  for (uint32_t b = 0; b < k->n_bufs; b++) {
    int64_t count = 0;
    kernel_buf_count(k, b, sym, &count);
    all[b] = b < k->n_params ? mem[b] : calloc((size_t)count + 1, 8);
  }
  naive_body(&n, 0, k->n_stmts);
  for (uint32_t b = k->n_params; b < k->n_bufs; b++) free(all[b]);
  free(n.var);
  free(n.memo);
  free(n.when);
  return n.status;
}
#endif
