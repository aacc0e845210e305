/* opk.c -- operands as kernel buffers, dims as kernel expressions, and the
 * one map kernel that every element-wise operator shares.                    */
#include "stdlib/opk.h"
#include <math.h>

static void *grow(void *user, void *old, size_t was, size_t want) {
  (void)user;
  if (want == 0) return NULL;
  return mem_grow(old, was, want);
}

OpK opk_begin(OpPlan *p, const char *name) {
  OpK k = {.p = p};
  k.b = kb_new((KAlloc){grow, NULL}, name);
  return k;
}

bool opk_end(OpK *k) {
  const char *why = kb_error(k->b);
  struct Kernel *kernel = kb_done(k->b);
  if (!kernel)
    return diag_error(k->p->diags, k->p->span, E0401, k->p->op->name,
                      why ? why : "malformed kernel");
  plan_kernel(k->p, kernel, k->n_buf, k->ref, k->n_sym, k->sym);
  return true;
}

/* ---- dims ------------------------------------------------------------------ */
static KE symbol(OpK *k, Dim d) {
  for (int i = 0; i < k->n_sym; i++)
    if (k->sym[i] == d) return k->sym_ke[i];
  KE e = kb_sym(k->b, d->name ? d->name : "d");
  k->sym[k->n_sym] = d;
  k->sym_ke[k->n_sym++] = e;
  return e;
}

static KE sum(OpK *k, Dim d) {
  KE e = kb_int(k->b, d->value);
  for (int i = 0; i < d->n_terms; i++) {
    KE t = kb_mul(k->b, opk_dim(k, d->term[i].atom), kb_int(k->b, d->term[i].coeff));
    e = kb_add(k->b, e, t);
  }
  return e;
}

KE opk_dim(OpK *k, Dim d) {
  KE a = KE_NONE, b = KE_NONE;
  if (d->a) a = opk_dim(k, d->a);
  if (d->b) b = opk_dim(k, d->b);
  switch (d->kind) {
  case DIM_Const: return kb_int(k->b, d->value);
  case DIM_Sum: return sum(k, d);
  case DIM_Mul: return kb_mul(k->b, a, b);
  case DIM_Div: return kb_fdiv(k->b, a, b);
  case DIM_Mod: return kb_fmod(k->b, a, b);
  case DIM_Max: return kb_max(k->b, a, b);
  case DIM_Min: return kb_min(k->b, a, b);
  case DIM_Bcast: return kb_select(k->b, kb_eq(k->b, a, kb_int(k->b, 1)), b, a);
  case DIM_Sym:
  case DIM_Any:
  case DIM_Meta: break;
  }
  return symbol(k, d);
}

/* ---- buffers ---------------------------------------------------------------- */
static KTensor declare(OpK *k, OpRef r, KBufRole role, int rank, const Dim *dim) {
  OpOperand *o = plan_operand(k->p, r);
  KTensor t = {.dtype = o->dtype, .rank = rank};
  for (int i = 0; i < rank; i++) t.dim[i] = opk_dim(k, dim[i]);
  /* A scalar operand is a scalar buffer however it is seen: all extents are 1. */
  t.buf = kb_buf(k->b, role, role == K_IN ? "x" : "y", o->dtype, o->rank ? rank : 0, t.dim);
  k->ref[k->n_buf++] = r;
  return t;
}

KTensor opk_in_as(OpK *k, OpRef r, int rank, const Dim *dim) {
  return declare(k, r, K_IN, rank, dim);
}
KTensor opk_out_as(OpK *k, OpRef r, int rank, const Dim *dim) {
  return declare(k, r, K_OUT, rank, dim);
}
KTensor opk_in(OpK *k, OpRef r) {
  OpOperand *o = plan_operand(k->p, r);
  return declare(k, r, K_IN, o->rank, o->dim);
}
KTensor opk_out(OpK *k, OpRef r) {
  OpOperand *o = plan_operand(k->p, r);
  return declare(k, r, K_OUT, o->rank, o->dim);
}
KTensor opk_inout(OpK *k, OpRef r) {
  OpOperand *o = plan_operand(k->p, r);
  return declare(k, r, K_INOUT, o->rank, o->dim);
}
KTensor opk_local(OpK *k, DType dt, int rank, const KE *dim) {
  KTensor t = {.dtype = dt, .rank = rank};
  memcpy(t.dim, dim, sizeof *dim * (size_t)rank);
  t.buf = kb_buf(k->b, K_LOCAL, "t", dt, rank, dim);
  return t;
}

/* ---- loops and indices -------------------------------------------------------- */
void opk_loops(OpK *k, int n, const KE *dim, KE *var) {
  for (int i = 0; i < n; i++) var[i] = kb_for(k->b, dim[i], K_PARALLEL);
}
void opk_close(OpK *k, int n) {
  while (n-- > 0) kb_end(k->b);
}

/* An axis of extent e seen under output index i: i itself, 0 when the axis is
 * known to be 1.  Otherwise min(i, e - 1): the extent is either the output's
 * or 1, which the call's obligations check before the kernel runs. */
static KE bcast_index(OpK *k, KE extent, KE i, bool full) {
  int64_t c;
  if (full) return i;
  if (kb_is_int(k->b, extent, &c) && c == 1) return kb_int(k->b, 0);
  return kb_min(k->b, i, kb_sub(k->b, extent, kb_int(k->b, 1)));
}

KE opk_bcast(OpK *k, KTensor x, int rank, const KE *idx) {
  KE at[K_MAX_RANK];
  for (int i = 0; i < x.rank; i++) at[i] = bcast_index(k, x.dim[i], idx[rank - x.rank + i], false);
  return kb_load(k->b, x.buf, at);
}

/* ---- the map kernel ------------------------------------------------------------ */
typedef enum { AXIS_FULL, AXIS_ONE, AXIS_MAYBE } AxisUse;

/* How operand o uses axis a of out (right-aligned). */
static AxisUse axis_use(const OpOperand *o, const OpOperand *out, int a) {
  int i = a - (out->rank - o->rank);
  int64_t c;
  if (i < 0) return AXIS_ONE;
  if (dim_equal(o->dim[i], out->dim[a])) return AXIS_FULL;
  return dim_is_const(o->dim[i], &c) && c == 1 ? AXIS_ONE : AXIS_MAYBE;
}

typedef struct {
  int rank; /* merged axes                           */
  Dim out[MAX_RANK];
  Dim dim[OP_MAX_ARGS][MAX_RANK]; /* of each input; 1 where it repeats     */
  AxisUse use[OP_MAX_ARGS][MAX_RANK];
} MergedAxes;

static bool same_use(const AxisUse *now, MergedAxes *m, int n_in) {
  for (int j = 0; j < n_in; j++)
    if (now[j] == AXIS_MAYBE || m->use[j][m->rank - 1] != now[j]) return false;
  return true;
}

static MergedAxes merge_axes(OpPlan *p, int n_in, const OpRef *in, OpRef out) {
  MergedAxes m = {0};
  DimTab *t = p->cx->dims;
  OpOperand *o = plan_operand(p, out);
  for (int a = 0; a < o->rank; a++) {
    AxisUse now[OP_MAX_ARGS];
    for (int j = 0; j < n_in; j++) now[j] = axis_use(plan_operand(p, in[j]), o, a);
    bool merge = m.rank > 0 && same_use(now, &m, n_in);
    if (!merge) {
      m.out[m.rank] = dim_const(t, 1);
      for (int j = 0; j < n_in; j++) m.dim[j][m.rank] = dim_const(t, 1), m.use[j][m.rank] = now[j];
      m.rank++;
    }
    int r = m.rank - 1;
    m.out[r] = dim_mul(t, m.out[r], o->dim[a]);
    for (int j = 0; j < n_in; j++) {
      OpOperand *x = plan_operand(p, in[j]);
      int i = a - (o->rank - x->rank);
      if (i >= 0) m.dim[j][r] = dim_mul(t, m.dim[j][r], x->dim[i]);
    }
  }
  return m;
}

bool opk_map(OpPlan *p, const char *name, int n_in, const OpRef *in, OpRef out, MapFn f,
             const void *ud) {
  OpK k = opk_begin(p, name);
  MergedAxes m = merge_axes(p, n_in, in, out);
  KTensor x[OP_MAX_ARGS];
  KE value[OP_MAX_ARGS], idx[K_MAX_RANK];
  bool scalar[OP_MAX_ARGS];
  for (int j = 0; j < n_in; j++) {
    scalar[j] = plan_operand(p, in[j])->rank == 0;
    x[j] = opk_in_as(&k, in[j], scalar[j] ? 0 : m.rank, m.dim[j]);
  }
  KTensor y = opk_out_as(&k, out, m.rank, m.out);
  opk_loops(&k, m.rank, y.dim, idx);
  for (int j = 0; j < n_in; j++) {
    KE at[K_MAX_RANK];
    for (int a = 0; a < x[j].rank; a++)
      at[a] = bcast_index(&k, x[j].dim[a], idx[a], m.use[j][a] == AXIS_FULL);
    value[j] = kb_load(k.b, x[j].buf, at);
  }
  kb_store(k.b, y.buf, idx, f(&k, value, ud));
  opk_close(&k, m.rank);
  return opk_end(&k);
}

/* ---- constants ------------------------------------------------------------------ */
KE opk_zero(OpK *k, DType t) { return kb_num(k->b, t, 0); }
KE opk_one(OpK *k, DType t) { return kb_num(k->b, t, 1); }

static int bits(DType t) { return dtype_bytes(t) * 8; }

KE opk_lowest(OpK *k, DType t) {
  if (dtype_is_float(t)) return kb_float(k->b, t, -INFINITY);
  if (!dtype_is_signed(t)) return kb_num(k->b, t, 0);
  return kb_num(k->b, t, (int64_t)(~0ull << (bits(t) - 1)));
}
KE opk_highest(OpK *k, DType t) {
  if (dtype_is_float(t)) return kb_float(k->b, t, INFINITY);
  if (t == DT_bool) return kb_bool(k->b, true);
  if (dtype_is_signed(t)) return kb_num(k->b, t, (int64_t) ~(~0ull << (bits(t) - 1)));
  return kb_bits_const(k->b, t, t == DT_u64 ? ~0ull : ~(~0ull << bits(t)));
}
