/* relkit.c -- relations and plan pieces that several operator families share. */
#include "stdlib/relkit.h"
#include "kernel/interp.h"

/* ---- relations ---------------------------------------------------------------- */
bool relkit_identity(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  return rel_result(r, x.dtype, x.rank, x.dim);
}

bool relkit_unary(Rel *r, const char *classes) {
  return rel_want_class(r, 0, classes) && relkit_identity(r);
}

bool relkit_binary(Rel *r, const char *classes, bool to_bool) {
  Dim dim[MAX_RANK];
  int rank;
  if (!rel_want_class(r, 0, classes) || !rel_same_dtype(r, 0, 1)) return false;
  TensorTy a = rel_tensor(r, 0), b = rel_tensor(r, 1);
  if (!rel_broadcast(r, a, b, &rank, dim)) return false;
  return rel_result(r, to_bool ? DT_bool : a.dtype, rank, dim);
}

bool relkit_broadcasts_to(Rel *r, TensorTy x, TensorTy to) {
  Dim got[MAX_RANK];
  int rank;
  if (x.rank > to.rank)
    return rel_error(r, "rank %d does not broadcast to rank %d", x.rank, to.rank);
  if (!rel_broadcast(r, x, to, &rank, got)) return false;
  for (int i = 0; i < rank; i++)
    if (!rel_same_dim(r, got[i], to.dim[i], "an extent and the one it must broadcast to"))
      return false;
  return true;
}

bool relkit_want_scalar(Rel *r, int arg, const char *classes) {
  return rel_want_rank(r, arg, 0) && rel_want_class(r, arg, classes);
}

bool relkit_units(Rel *r, Dim n, const char *what) {
  const OpAttrVal *units = opattr(rel_attrs(r), "units");
  if (!units->given || units->none) return true;
  return rel_same_dim(r, n, dim_const(rel_dims(r), units->i), what);
}

bool relkit_dense(Rel *r, DType t) {
  TensorTy x = rel_tensor(r, 0), w = rel_tensor(r, 1);
  Dim out[MAX_RANK];
  if (!rel_same_dim(r, x.dim[x.rank - 1], w.dim[1], "the columns of data and of weight") ||
      !relkit_units(r, w.dim[0], "the rows of weight and units"))
    return false;
  for (int i = 0; i < x.rank - 1; i++) out[i] = x.dim[i];
  out[x.rank - 1] = w.dim[0];
  return rel_result(r, t, x.rank, out);
}

bool relkit_want_word(Rel *r, const char *attr, const char *a, const char *b) {
  const char *s = attr_str(rel_attrs(r), attr);
  return !strcmp(s, a) || !strcmp(s, b) ||
         rel_error(r, "%s must be \"%s\" or \"%s\", found \"%s\"", attr, a, b, s);
}

/* ---- reduced axes --------------------------------------------------------------- */
static bool all_axes(const OpAttrVal *axis) { return axis->none || axis->n == 0; }

bool relkit_axes(Rel *r, const OpAttrVal *axis, int rank, bool exclude, bool *reduced) {
  bool seen[MAX_RANK] = {false};
  for (int i = 0; !all_axes(axis) && i < axis->n; i++) {
    int a;
    if (!rel_axis(r, "axis", axis->ints[i], rank, &a)) return false;
    if (seen[a]) return rel_error(r, "axis %d is given twice", a);
    seen[a] = true;
  }
  relkit_axis_set(axis, rank, exclude, reduced);
  return true;
}

void relkit_axis_set(const OpAttrVal *axis, int rank, bool exclude, bool *reduced) {
  bool all = all_axes(axis);
  for (int i = 0; i < rank; i++) reduced[i] = all || exclude;
  for (int i = 0; !all && i < axis->n; i++) reduced[relkit_axis(axis->ints[i], rank)] = !exclude;
}

/* ---- values known while compiling ------------------------------------------------ */
static uint64_t element(const Tensor *t, int64_t i) {
  int size = dtype_bytes(t->dtype);
  const uint8_t *at = (const uint8_t *)t->bytes + i * size;
  uint64_t bits = 0;
  for (int k = size; k-- > 0;) bits = bits << 8 | at[k];
  return dtype_is_float(t->dtype) ? bits : (uint64_t)wrap_int((int64_t)bits, t->dtype);
}

int64_t relkit_const_int(const Tensor *t, int64_t i) {
  return (int64_t)scalar_cast(element(t, i), t->dtype, DT_i64);
}

double relkit_const_float(const Tensor *t, int64_t i) {
  uint64_t bits = scalar_cast(element(t, i), t->dtype, DT_f64);
  double v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

/* ---- extents given as a tensor ---------------------------------------------------- */
static bool known_extent(Rel *r, const char *arg, const Tensor *c, int i, Dim *out) {
  int64_t v = relkit_const_int(c, i);
  if (v < 0) return rel_error(r, "%s must hold extents >= 0, found %lld", arg, (long long)v);
  *out = dim_const(rel_dims(r), v);
  return true;
}

bool relkit_shape_arg(Rel *r, int arg, int *rank, Dim *dim) {
  const char *name = rel_op(r)->args[arg].name;
  if (!rel_want_rank(r, arg, 1) || !rel_want_class(r, arg, "iu")) return false;
  int64_t n;
  if (!dim_is_const(rel_tensor(r, arg).dim[0], &n))
    return rel_error(r, "the length of %s is the rank of the result and must be known", name);
  if (n > MAX_RANK)
    return rel_error(r, "%s has %lld elements; a tensor has at most %d axes", name, (long long)n,
                     MAX_RANK);
  const Tensor *c = rel_constant(r, arg);
  *rank = (int)n;
  for (int i = 0; i < *rank; i++) {
    if (!c)
      dim[i] = rel_unknown(r);
    else if (!known_extent(r, name, c, i, &dim[i]))
      return false;
  }
  return true;
}

bool relkit_extent_arg(Rel *r, int arg, Dim *out) {
  if (!relkit_want_scalar(r, arg, "iu")) return false;
  const Tensor *c = rel_constant(r, arg);
  if (c) return known_extent(r, rel_op(r)->args[arg].name, c, 0, out);
  *out = rel_unknown(r);
  return true;
}

void relkit_bind_dim(OpPlan *p, Dim d, OpRef vec, int i) {
  bool open = d->kind == DIM_Sym;
  Dim sym = open ? d : dim_new_sym(p->cx->dims, NULL, 0);
  plan_bind_dim(p, sym, vec, i);
  if (!open) plan_check(p, d, sym, str_fmt("%s: extents of the result", p->op->name));
}

static void check_fit(OpK *k, KE from, KE to, RelkitFit fit) {
  KE one = kb_int(k->b, 1);
  KE ok = kb_or(k->b, kb_eq(k->b, from, to), kb_eq(k->b, from, one));
  const char *op = k->p->op->name;
  kb_check(k->b, ok,
           fit == RELKIT_BROADCAST ? str_fmt("%s: data does not broadcast to shape", op)
                                   : str_fmt("%s: shape does not broadcast to data", op));
}

/* The extent e given for axis `axis` of result against that of source. */
static void check_extent(OpK *k, KE e, int axis, OpOperand out, OpOperand src, RelkitFit fit) {
  kb_check(k->b, kb_le(k->b, kb_int(k->b, 0), e),
           str_fmt("%s: an extent is negative", k->p->op->name));
  int i = axis - (out.rank - src.rank);
  if (fit == RELKIT_FREE || i < 0) return;
  KE have = opk_dim(k, src.dim[i]);
  if (fit == RELKIT_BROADCAST)
    check_fit(k, have, e, fit);
  else
    check_fit(k, e, have, fit);
}

static bool all_known(const OpOperand *o, int first, int n) {
  int64_t v;
  for (int i = 0; i < n; i++)
    if (!dim_is_const(o->dim[first + i], &v)) return false;
  return true;
}

bool relkit_bind_shape(OpPlan *p, OpRef shape, OpRef result, int first, OpRef source,
                       RelkitFit fit) {
  OpOperand out = *plan_operand(p, result), src = *plan_operand(p, source);
  bool scalar = plan_operand(p, shape)->rank == 0;
  int n = scalar ? 1 : out.rank;
  if (all_known(&out, first, n)) return true; /* the relation has read them */
  Dim count = dim_const(p->cx->dims, n);
  OpRef vec = plan_temp(p, DT_i64, 1, &count);
  OpK k = opk_begin(p, "extents");
  KTensor s = opk_in(&k, shape), v = opk_out(&k, vec);
  for (int i = 0; i < n; i++) {
    KE at = kb_int(k.b, i);
    KE e = kb_let(k.b, kb_cast(k.b, kb_load(k.b, s.buf, &at), DT_i64));
    check_extent(&k, e, first + i, out, src, fit);
    kb_store(k.b, v.buf, &at, e);
  }
  if (!opk_end(&k)) return false;
  for (int i = 0; i < n; i++) relkit_bind_dim(p, out.dim[first + i], vec, i);
  return true;
}

/* ---- maps --------------------------------------------------------------------------- */
bool relkit_map(OpPlan *p, MapFn f, const void *ud) {
  OpRef in[OP_MAX_ARGS];
  for (int i = 0; i < p->n_in; i++) in[i] = i;
  return opk_map(p, p->op->name, p->n_in, in, plan_result(p, 0), f, ud);
}

KE relkit_apply(OpK *k, const KE *x, const void *op) {
  SOp sop = (SOp)((const OpDef *)op)->variant;
  return kb_op(k->b, sop, x[0], sop_info[sop].arity > 1 ? x[1] : KE_NONE, KE_NONE);
}
bool relkit_lower_scalar_op(OpPlan *p) { return relkit_map(p, relkit_apply, p->op); }

bool relkit_lower_alias(OpPlan *p) {
  plan_alias(p, plan_result(p, 0), 0);
  return true;
}

/* ---- dims and loops ---------------------------------------------------------------- */
Dim relkit_product(DimTab *t, int n, const Dim *dim) {
  Dim d = dim_const(t, 1);
  for (int i = 0; i < n; i++) d = dim_mul(t, d, dim[i]);
  return d;
}

void relkit_around(DimTab *t, int rank, const Dim *dim, int axis, Dim out[3]) {
  out[0] = relkit_product(t, axis, dim);
  out[1] = dim[axis];
  out[2] = relkit_product(t, rank - axis - 1, dim + axis + 1);
}

int relkit_along(OpPlan *p, OpRef a, OpRef b, int *axis, Dim *da, Dim *db) {
  OpOperand *x = plan_operand(p, a), *y = plan_operand(p, b);
  bool same = true;
  for (int d = 0; d < x->rank; d++) same &= d == *axis || dim_equal(x->dim[d], y->dim[d]);
  if (same) {
    relkit_around(p->cx->dims, x->rank, x->dim, *axis, da);
    relkit_around(p->cx->dims, y->rank, y->dim, *axis, db);
    *axis = 1;
    return 3;
  }
  memcpy(da, x->dim, sizeof *da * (size_t)x->rank);
  memcpy(db, y->dim, sizeof *db * (size_t)y->rank);
  return x->rank;
}

int relkit_loops(OpK *k, int n, const KE *dim, KE *var) {
  int opened = 0;
  for (int i = 0; i < n; i++) {
    int64_t c;
    bool one = kb_is_int(k->b, dim[i], &c) && c == 1;
    var[i] = one ? kb_int(k->b, 0) : kb_for(k->b, dim[i], K_PARALLEL);
    opened += !one;
  }
  return opened;
}

KE relkit_position(KB *b, KE v) {
  if (kb_type(b, v) == DT_u64) v = kb_min(b, v, kb_cast(b, kb_int(b, INT64_MAX), DT_u64));
  return kb_cast(b, v, DT_i64);
}
KE relkit_index(OpK *k, KE i, KE n) {
  KB *b = k->b;
  KE zero = kb_int(b, 0), last = kb_sub(b, n, kb_int(b, 1));
  KE from = kb_let(b, kb_select(b, kb_lt(b, i, zero), kb_add(b, i, n), i));
  KE at = kb_let(b, kb_clamp(b, from, zero, last));
  kb_check(b, kb_eq(b, at, from), str_fmt("%s: an index is out of range", k->p->op->name));
  return at;
}
