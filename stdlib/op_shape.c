/* op_shape.c -- operators that move or view elements without computing: reshape
 * and its kin, transpose, joining and cutting, repeating.
 *
 * What keeps the row-major order is a view and costs nothing.                  */
#include "stdlib/relkit.h"

/* ---- reshape -----------------------------------------------------------------------------
 * Codes: 0 copy the extent (or a literal 0 with allowzero), -1 the rest (once), -2 copy all
 * remaining, -3 the product of the next two, -4 split one into the next two codes.
 *
 * The rest is what the axes that no code copies, joins or splits hold, divided by the extents
 * given: so it is known beside an extent 0 that was copied.  dyn.reshape reads codes alike. */
typedef struct {
  int rank;
  Dim out[MAX_RANK];
  int infer;
  bool literal[MAX_RANK], taken[MAX_RANK]; /* of the result: a number; of the data: by a code */
  int n_splits;
  struct {
    Dim from, a, b;
  } split[MAX_RANK];
  const char *why;
} Shape;

static bool put_dim(Shape *s, Dim d) {
  if (s->rank == MAX_RANK) return s->why = "the result has too many axes", false;
  s->out[s->rank++] = d;
  return true;
}
static Dim next_dim(Shape *s, const Dim *in, int rank, int *at) {
  if (*at < rank) return s->taken[*at] = true, in[(*at)++];
  s->why = "newshape refers to more axes than the data has";
  return NULL;
}

/* -4 a b: one of a, b may be -1. */
static bool split_code(Shape *s, DimTab *t, const Dim *in, int rank, int *at, int64_t a,
                       int64_t b) {
  Dim d = next_dim(s, in, rank, at);
  if (!d) return false;
  if (a == -1 && b == -1) return s->why = "both extents after -4 are -1", false;
  if (a < -1 || b < -1 || a == 0 || b == 0)
    return s->why = "the extents after -4 must be positive or -1", false;
  Dim da = a == -1 ? dim_div(t, d, dim_const(t, b)) : dim_const(t, a);
  Dim db = b == -1 ? dim_div(t, d, dim_const(t, a)) : dim_const(t, b);
  s->split[s->n_splits].from = d, s->split[s->n_splits].a = da, s->split[s->n_splits++].b = db;
  return put_dim(s, da) && put_dim(s, db);
}

static bool resolve_codes(Shape *s, DimTab *t, const Dim *in, int rank, const OpAttrVal *v,
                          bool allowzero) {
  int at = 0;
  s->infer = -1;
  for (int i = 0; i < v->n; i++) {
    int64_t c = v->ints[i];
    if (c > 0 || (c == 0 && allowzero)) {
      if (!put_dim(s, dim_const(t, c))) return false;
      s->literal[s->rank - 1] = true;
      at += at < rank;
    } else if (c == 0) {
      Dim d = next_dim(s, in, rank, &at);
      if (!d || !put_dim(s, d)) return false;
    } else if (c == -1) {
      if (s->infer >= 0) return s->why = "newshape has more than one -1", false;
      s->infer = s->rank;
      if (!put_dim(s, dim_const(t, 1))) return false;
      at += at < rank;
    } else if (c == -2) {
      while (at < rank)
        if (!put_dim(s, next_dim(s, in, rank, &at))) return false;
    } else if (c == -3) {
      Dim a = next_dim(s, in, rank, &at), b = a ? next_dim(s, in, rank, &at) : NULL;
      if (!b || !put_dim(s, dim_mul(t, a, b))) return false;
    } else if (c == -4) {
      if (i + 2 >= v->n) return s->why = "-4 needs two extents after it", false;
      if (!split_code(s, t, in, rank, &at, v->ints[i + 1], v->ints[i + 2])) return false;
      i += 2;
    } else {
      return s->why = "a code below -4", false;
    }
  }
  return true;
}

/* Cancel equal factors of two products; what remains of each. */
static int cancel(Dim *a, int na, Dim *b, int *nb) {
  int kept = 0;
  for (int i = 0; i < na; i++) {
    bool gone = false;
    for (int j = 0; j < *nb && !gone; j++) {
      if (!dim_equal(a[i], b[j])) continue;
      b[j] = b[--*nb];
      gone = true;
    }
    if (!gone) a[kept++] = a[i];
  }
  return kept;
}

/* The extent that -1 stands for. */
static bool infer_rest(Rel *r, Shape *s, const Dim *in, int rank) {
  DimTab *t = rel_dims(r);
  Dim a[MAX_RANK], b[MAX_RANK];
  int na = 0, nb = 0;
  for (int i = 0; i < rank; i++)
    if (!s->taken[i]) a[na++] = in[i];
  for (int i = 0; i < s->rank; i++) {
    int64_t n;
    if (!s->literal[i]) continue;
    if (dim_is_const(s->out[i], &n) && n == 0)
      return rel_error(r, "-1 is ambiguous where another extent is 0");
    b[nb++] = s->out[i];
  }
  for (int i = 0; i < s->n_splits; i++)
    if (!rel_same_dim(r, s->split[i].from, dim_mul(t, s->split[i].a, s->split[i].b),
                      "the extent of the data and the product of those after -4"))
      return false;
  na = cancel(a, na, b, &nb);
  Dim left = relkit_product(t, na, a), right = relkit_product(t, nb, b);
  s->out[s->infer] = dim_div(t, left, right);
  return rel_same_dim(
      r, dim_mod(t, left, right), dim_const(t, 0),
      "the element count of the data modulo the known extents of newshape and zero");
}

/* in and s->out hold as many elements; fills the inferred extent. */
static bool balance(Rel *r, Shape *s, const Dim *in, int rank) {
  if (s->infer >= 0) return infer_rest(r, s, in, rank);
  DimTab *t = rel_dims(r);
  Dim a[MAX_RANK], b[MAX_RANK];
  int nb = s->rank;
  for (int i = 0; i < rank; i++) a[i] = in[i];
  for (int i = 0; i < nb; i++) b[i] = s->out[i];
  int na = cancel(a, rank, b, &nb);
  /* proved on what is left, told in whole */
  return dim_equal(relkit_product(t, na, a), relkit_product(t, nb, b)) ||
         rel_same_dim(r, relkit_product(t, rank, in), relkit_product(t, s->rank, s->out),
                      "the element counts of the data and of newshape");
}

bool relkit_reshape(Rel *r, const OpAttrVal *codes, bool allowzero) {
  Shape s = {0};
  TensorTy x = rel_tensor(r, 0);
  if (!resolve_codes(&s, rel_dims(r), x.dim, x.rank, codes, allowzero))
    return rel_error(r, "%s", s.why);
  return balance(r, &s, x.dim, x.rank) && rel_result(r, x.dtype, s.rank, s.out);
}
static bool rel_reshape(Rel *r) {
  return relkit_reshape(r, opattr(rel_attrs(r), "newshape"), attr_bool(rel_attrs(r), "allowzero"));
}
/* The codes 0 and -1 read from the right. */
static bool rel_reverse_reshape(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  const OpAttrVal *v = opattr(rel_attrs(r), "newshape");
  OpAttrVal back = *v;
  Dim in[MAX_RANK], out[MAX_RANK];
  int64_t codes[2 * MAX_RANK];
  Shape s = {0};
  if (v->n > 2 * MAX_RANK) return rel_error(r, "newshape has too many entries");
  for (int i = 0; i < v->n; i++) {
    codes[i] = v->ints[v->n - 1 - i];
    if (codes[i] < -1) return rel_error(r, "newshape takes extents, 0 and -1 only");
  }
  for (int i = 0; i < x.rank; i++) in[i] = x.dim[x.rank - 1 - i];
  back.ints = codes;
  if (!resolve_codes(&s, rel_dims(r), in, x.rank, &back, false)) return rel_error(r, "%s", s.why);
  if (!balance(r, &s, in, x.rank)) return false;
  for (int i = 0; i < s.rank; i++) out[i] = s.out[s.rank - 1 - i];
  return rel_result(r, x.dtype, s.rank, out);
}
static bool rel_reshape_like(Rel *r) {
  TensorTy x = rel_tensor(r, 0), like = rel_tensor(r, 1);
  const OpAttrs *a = rel_attrs(r);
  const OpAttrVal *le = opattr(a, "lhs_end"), *re = opattr(a, "rhs_end");
  int64_t lb = attr_int(a, "lhs_begin"), rb = attr_int(a, "rhs_begin");
  int64_t l1 = le->none || !le->given ? x.rank : le->i,
          r1 = re->none || !re->given ? like.rank : re->i;
  lb += lb < 0 ? x.rank : 0, l1 += l1 < 0 ? x.rank : 0, rb += rb < 0 ? like.rank : 0,
      r1 += r1 < 0 ? like.rank : 0;
  if (lb < 0 || lb > l1 || l1 > x.rank || rb < 0 || rb > r1 || r1 > like.rank)
    return rel_error(r, "lhs_begin..lhs_end or rhs_begin..rhs_end is not a range of axes");
  Shape s = {.infer = -1};
  bool ok = true;
  for (int i = 0; i < lb; i++) ok &= put_dim(&s, x.dim[i]);
  for (int64_t i = rb; i < r1; i++) ok &= put_dim(&s, like.dim[i]);
  for (int64_t i = l1; i < x.rank; i++) ok &= put_dim(&s, x.dim[i]);
  if (!ok) return rel_error(r, "%s", s.why);
  return balance(r, &s, x.dim, x.rank) && rel_result(r, x.dtype, s.rank, s.out);
}
static bool rel_flatten(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  return rel_want_min_rank(r, 0, 1) &&
         rel_result(r, x.dtype, 2,
                    (Dim[]){x.dim[0], relkit_product(rel_dims(r), x.rank - 1, x.dim + 1)});
}
static bool lower_view(OpPlan *p) {
  plan_view(p, plan_result(p, 0), 0);
  return true;
}

/* ---- expand_dims, squeeze ------------------------------------------------------------- */
static bool rel_expand_dims(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  int64_t axis = attr_int(rel_attrs(r), "axis"), n = attr_int(rel_attrs(r), "num_newaxis");
  Dim out[MAX_RANK];
  if (n < 0 || n > MAX_RANK - x.rank)
    return rel_error(r, "num_newaxis must be in [0, %d], found %lld", MAX_RANK - x.rank,
                     (long long)n);
  if (axis < -x.rank - 1 || axis > x.rank)
    return rel_error(r, "axis %lld is out of range for rank %d: it must be in [%d, %d]",
                     (long long)axis, x.rank, -x.rank - 1, x.rank);
  if (axis < 0) axis += x.rank + 1;
  for (int i = 0; i < x.rank + n; i++)
    out[i] = i < axis ? x.dim[i] : i < axis + n ? dim_const(rel_dims(r), 1) : x.dim[i - n];
  return rel_result(r, x.dtype, x.rank + (int)n, out);
}
static bool rel_squeeze(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  const OpAttrVal *v = opattr(rel_attrs(r), "axis");
  bool drop[MAX_RANK] = {0}, all = !v->given || v->none;
  Dim out[MAX_RANK], one = dim_const(rel_dims(r), 1);
  int rank = 0, axis;
  for (int i = 0; i < x.rank && all; i++) drop[i] = dim_equal(x.dim[i], one);
  for (int i = 0; i < v->n && !all; i++) {
    if (!rel_axis(r, "axis", v->ints[i], x.rank, &axis)) return false;
    if (drop[axis]) return rel_error(r, "axis %lld is listed twice", (long long)v->ints[i]);
    if (!rel_same_dim(r, x.dim[axis], one, "the squeezed extent and 1")) return false;
    drop[axis] = true;
  }
  for (int i = 0; i < x.rank; i++)
    if (!drop[i]) out[rank++] = x.dim[i];
  return rel_result(r, x.dtype, rank, out);
}

/* ---- transpose, reverse --------------------------------------------------------------- */
static void perm_of(const OpAttrVal *v, int rank, int *perm) {
  for (int i = 0; i < rank; i++)
    perm[i] = v->none || v->n == 0 ? rank - 1 - i : relkit_axis(v->ints[i], rank);
}
static bool rel_transpose(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  const OpAttrVal *v = opattr(rel_attrs(r), "axes");
  int perm[MAX_RANK], axis;
  bool seen[MAX_RANK] = {0};
  Dim out[MAX_RANK];
  if (!v->none && v->n && v->n != x.rank)
    return rel_error(r, "axes has %d entries for rank %d", v->n, x.rank);
  for (int i = 0; i < v->n && !v->none; i++) {
    if (!rel_axis(r, "axes", v->ints[i], x.rank, &axis)) return false;
    if (seen[axis]) return rel_error(r, "axes lists axis %d twice", axis);
    seen[axis] = true;
  }
  perm_of(v, x.rank, perm);
  for (int i = 0; i < x.rank; i++) out[i] = x.dim[perm[i]];
  return rel_result(r, x.dtype, x.rank, out);
}
static bool lower_transpose(OpPlan *p) {
  int perm[MAX_RANK], rank = plan_operand(p, 0)->rank;
  perm_of(opattr(p->attrs, "axes"), rank, perm);
  OpK k = opk_begin(p, "transpose");
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  KE idx[MAX_RANK], at[MAX_RANK];
  opk_loops(&k, rank, y.dim, idx);
  for (int i = 0; i < rank; i++) at[perm[i]] = idx[i];
  kb_store(k.b, y.buf, idx, kb_load(k.b, x.buf, at));
  opk_close(&k, rank);
  return opk_end(&k);
}
static bool rel_reverse(Rel *r) {
  int axis;
  TensorTy x = rel_tensor(r, 0);
  return rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis) && relkit_identity(r);
}
static bool lower_reverse(OpPlan *p) {
  int rank = plan_operand(p, 0)->rank, axis = relkit_axis(attr_int(p->attrs, "axis"), rank);
  OpK k = opk_begin(p, "reverse");
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  KE idx[MAX_RANK], at[MAX_RANK];
  opk_loops(&k, rank, y.dim, idx);
  for (int i = 0; i < rank; i++) at[i] = idx[i];
  at[axis] = kb_sub(k.b, kb_sub(k.b, y.dim[axis], kb_int(k.b, 1)), idx[axis]);
  kb_store(k.b, y.buf, idx, kb_load(k.b, x.buf, at));
  opk_close(&k, rank);
  return opk_end(&k);
}

/* ---- concatenate, stack, split ----------------------------------------------------------- */
static bool rel_concatenate(Rel *r) {
  int n = rel_arg_size(r, 0), axis;
  DimTab *t = rel_dims(r);
  if (n < 1) return rel_error(r, "needs at least one tensor");
  TensorTy x = rel_leaf(r, 0, 0);
  Dim out[MAX_RANK];
  if (!rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis)) return false;
  for (int i = 0; i < x.rank; i++) out[i] = x.dim[i];
  for (int j = 1; j < n; j++) {
    TensorTy y = rel_leaf(r, 0, j);
    if (y.dtype != x.dtype)
      return rel_error(r, "tensor %d has elements of %s, the first of %s", j, dtype_name(y.dtype),
                       dtype_name(x.dtype));
    if (y.rank != x.rank)
      return rel_error(r, "tensor %d has rank %d, the first has %d", j, y.rank, x.rank);
    for (int i = 0; i < x.rank; i++) {
      if (i == axis)
        out[i] = dim_add(t, out[i], y.dim[i]);
      else if (!rel_same_dim(r, out[i], y.dim[i], str_fmt("the extents of axis %d", i)))
        return false;
    }
  }
  return rel_result(r, x.dtype, x.rank, out);
}
/* One loop nest per tensor, into its place; tensors seen as (before, axis, behind). */
static bool lower_join(OpPlan *p, int axis) {
  OpOperand *yo = plan_operand(p, plan_result(p, 0));
  DimTab *t = p->cx->dims;
  Dim place = dim_const(t, 0), yd[3];
  bool stack = p->op->variant;
  relkit_around(t, yo->rank, yo->dim, axis, yd);
  for (int j = 0; j < p->n_in; j++) {
    OpK k = opk_begin(p, p->op->name);
    OpOperand *xo = plan_operand(p, j);
    Dim mid = stack ? dim_const(t, 1) : xo->dim[axis];
    Dim xd[2] = {yd[0], dim_mul(t, mid, yd[2])};
    KTensor x = opk_in_as(&k, j, 2, xd);
    Dim flat[2] = {yd[0], dim_mul(t, yd[1], yd[2])};
    KTensor y = j == 0 ? opk_out_as(&k, plan_result(p, 0), 2, flat)
                       : opk_out_as(&k, plan_result(p, 0), 2, flat);
    KE idx[2];
    opk_loops(&k, 2, x.dim, idx);
    KE to = kb_add(k.b, opk_dim(&k, dim_mul(t, place, yd[2])), idx[1]);
    kb_store(k.b, y.buf, (KE[]){idx[0], to}, kb_load(k.b, x.buf, idx));
    opk_close(&k, 2);
    if (!opk_end(&k)) return false;
    place = dim_add(t, place, mid);
  }
  return true;
}
static bool lower_concatenate(OpPlan *p) {
  return lower_join(p, relkit_axis(attr_int(p->attrs, "axis"), plan_operand(p, 0)->rank));
}
static bool rel_stack(Rel *r) {
  int n = rel_arg_size(r, 0), axis;
  if (n < 1) return rel_error(r, "needs at least one tensor");
  TensorTy x = rel_leaf(r, 0, 0);
  Dim out[MAX_RANK];
  if (x.rank == MAX_RANK) return rel_error(r, "the result has too many axes");
  if (!rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank + 1, &axis)) return false;
  for (int j = 1; j < n; j++) {
    TensorTy y = rel_leaf(r, 0, j);
    if (y.dtype != x.dtype || y.rank != x.rank)
      return rel_error(r, "tensor %d differs from the first in element type or rank", j);
    for (int i = 0; i < x.rank; i++)
      if (!rel_same_dim(r, x.dim[i], y.dim[i], str_fmt("the extents of axis %d", i))) return false;
  }
  for (int i = 0; i <= x.rank; i++)
    out[i] = i < axis ? x.dim[i] : i == axis ? dim_const(rel_dims(r), n) : x.dim[i - 1];
  return rel_result(r, x.dtype, x.rank + 1, out);
}
static bool lower_stack(OpPlan *p) {
  return lower_join(p, relkit_axis(attr_int(p->attrs, "axis"), plan_operand(p, 0)->rank + 1));
}

/* Cut positions: an int is that many equal parts. */
static bool rel_split(Rel *r) {
  int axis;
  DimTab *t = rel_dims(r);
  TensorTy x = rel_tensor(r, 0), leaf[256];
  const OpAttrVal *v = opattr(rel_attrs(r), "indices_or_sections");
  if (!rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis)) return false;
  int64_t parts = v->is_list ? v->n + 1 : v->i;
  if (parts < 1 || parts > 256)
    return rel_error(r, "cuts into %lld parts; it must be 1 to 256", (long long)parts);
  if (!v->is_list && !rel_same_dim(r, dim_mod(t, x.dim[axis], dim_const(t, parts)), dim_const(t, 0),
                                   "the extent of the axis modulo the sections and zero"))
    return false;
  for (int64_t i = 0; i < parts; i++) {
    Dim *d = NEW_N(Dim, x.rank + 1);
    for (int a = 0; a < x.rank; a++) d[a] = x.dim[a];
    if (!v->is_list) {
      d[axis] = dim_div(t, x.dim[axis], dim_const(t, parts));
    } else {
      int64_t from = i ? v->ints[i - 1] : 0;
      if (from < 0 || (i < v->n && v->ints[i] < from))
        return rel_error(r, "indices must be at least 0 and not fall");
      d[axis] = dim_sub(t, i < v->n ? dim_const(t, v->ints[i]) : x.dim[axis], dim_const(t, from));
    }
    leaf[i] = (TensorTy){x.dtype, x.rank, d};
  }
  if (v->is_list && v->n &&
      !rel_at_least(r, x.dim[axis], dim_const(t, v->ints[v->n - 1]),
                    "the extent of the axis and the last index"))
    return false;
  return rel_result_tuple(r, (int)parts, leaf);
}
static bool lower_split(OpPlan *p) {
  OpOperand *xo = plan_operand(p, 0);
  int axis = relkit_axis(attr_int(p->attrs, "axis"), xo->rank);
  DimTab *t = p->cx->dims;
  Dim place = dim_const(t, 0), xd[3];
  relkit_around(t, xo->rank, xo->dim, axis, xd);
  for (int j = 0; j < p->n_out; j++) {
    OpK k = opk_begin(p, "split");
    Dim mid = plan_operand(p, plan_result(p, j))->dim[axis];
    KTensor x = opk_in_as(&k, 0, 2, (Dim[]){xd[0], dim_mul(t, xd[1], xd[2])});
    KTensor y = opk_out_as(&k, plan_result(p, j), 2, (Dim[]){xd[0], dim_mul(t, mid, xd[2])});
    KE idx[2];
    opk_loops(&k, 2, y.dim, idx);
    KE from = kb_add(k.b, opk_dim(&k, dim_mul(t, place, xd[2])), idx[1]);
    kb_store(k.b, y.buf, idx, kb_load(k.b, x.buf, (KE[]){idx[0], from}));
    opk_close(&k, 2);
    if (!opk_end(&k)) return false;
    place = dim_add(t, place, mid);
  }
  return true;
}

/* ---- tile, repeat ------------------------------------------------------------------------ */
static bool rel_tile(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  const OpAttrVal *v = opattr(rel_attrs(r), "reps");
  int rank = v->n > x.rank ? v->n : x.rank;
  Dim out[MAX_RANK];
  DimTab *t = rel_dims(r);
  if (rank > MAX_RANK) return rel_error(r, "the result has too many axes");
  for (int i = 0; i < rank; i++) {
    int xi = i - (rank - x.rank), vi = i - (rank - v->n);
    int64_t n = vi >= 0 ? v->ints[vi] : 1;
    if (n < 0) return rel_error(r, "reps must be at least 0, found %lld", (long long)n);
    out[i] = dim_mul(t, xi >= 0 ? x.dim[xi] : dim_const(t, 1), dim_const(t, n));
  }
  return rel_result(r, x.dtype, rank, out);
}
static bool lower_tile(OpPlan *p) {
  OpK k = opk_begin(p, p->op->name);
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  KE idx[MAX_RANK], at[MAX_RANK];
  opk_loops(&k, y.rank, y.dim, idx);
  for (int i = 0; i < x.rank; i++) {
    KE o = idx[i + y.rank - x.rank];
    at[i] = dim_equal(plan_operand(p, 0)->dim[i],
                      plan_operand(p, plan_result(p, 0))->dim[i + y.rank - x.rank])
                ? o
                : kb_fmod(k.b, o, kb_max(k.b, x.dim[i], kb_int(k.b, 1)));
  }
  kb_store(k.b, y.buf, idx, kb_load(k.b, x.buf, at));
  opk_close(&k, y.rank);
  return opk_end(&k);
}
static bool rel_repeat(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  const OpAttrVal *v = opattr(rel_attrs(r), "axis");
  int64_t n = attr_int(rel_attrs(r), "repeats");
  DimTab *t = rel_dims(r);
  Dim out[MAX_RANK];
  int axis;
  if (n < 0) return rel_error(r, "repeats must be at least 0, found %lld", (long long)n);
  if (!v->given || v->none)
    return rel_result(r, x.dtype, 1,
                      (Dim[]){dim_mul(t, relkit_product(t, x.rank, x.dim), dim_const(t, n))});
  if (!rel_axis(r, "axis", v->i, x.rank, &axis)) return false;
  for (int i = 0; i < x.rank; i++)
    out[i] = i == axis ? dim_mul(t, x.dim[i], dim_const(t, n)) : x.dim[i];
  return rel_result(r, x.dtype, x.rank, out);
}
/* Seen as (before, repeats, behind): one loop over the copies. */
static bool lower_repeat(OpPlan *p) {
  OpOperand *xo = plan_operand(p, 0);
  const OpAttrVal *v = opattr(p->attrs, "axis");
  DimTab *t = p->cx->dims;
  Dim n = dim_const(t, attr_int(p->attrs, "repeats")), behind = dim_const(t, 1),
      before = relkit_product(t, xo->rank, xo->dim);
  if (v->given && !v->none) {
    int axis = relkit_axis(v->i, xo->rank);
    before = relkit_product(t, axis + 1, xo->dim),
    behind = relkit_product(t, xo->rank - axis - 1, xo->dim + axis + 1);
  }
  OpK k = opk_begin(p, "repeat");
  KTensor x = opk_in_as(&k, 0, 2, (Dim[]){before, behind});
  KTensor y = opk_out_as(&k, plan_result(p, 0), 3, (Dim[]){before, n, behind});
  KE idx[3];
  opk_loops(&k, 3, y.dim, idx);
  kb_store(k.b, y.buf, idx, kb_load(k.b, x.buf, (KE[]){idx[0], idx[2]}));
  opk_close(&k, 3);
  return opk_end(&k);
}

/* ---- records ----------------------------------------------------------------------------- */
#define DATA                                                                                       \
  { "data", "any shape", false }
#define TUPLE                                                                                      \
  { "data", "tensors of one element type", true }
#define RECORD(id, text, more, what, relation, lowering, pat, v, ARGS, ATTRS, ...)                 \
  const OpDef op_##id = {.name = text,                                                             \
                         .doc = what,                                                              \
                         .args = ARGS,                                                             \
                         .attrs = ATTRS,                                                           \
                         .flags = OP_PURE | (more),                                                \
                         .pattern = pat,                                                           \
                         .rel = relation,                                                          \
                         .lower = lowering,                                                        \
                         .variant = v,                                                             \
                         .examples = (const char *const[]){__VA_ARGS__, NULL}}
#define P(...)                                                                                     \
  { __VA_ARGS__ }
RECORD(reshape, "reshape", OP_TOTAL_STATIC | OP_TOTAL_COUNT, "The same elements in another shape.",
       rel_reshape, lower_view, PAT_Injective, 0, P(DATA),
       P({"newshape", A_Ints, NULL,
          "extents, or codes: 0 copy, -1 infer, -2 copy the rest, -3 join two, -4 split"},
         {"allowzero", A_Bool, "False", "0 is an extent"}),
       "reshape(f32[2,3,4], newshape=[4, -1])", "reshape(f32[?2,6], newshape=[0, -4, 2, -1])",
       "reshape(i8[2,3,4], newshape=[-3, -2])", "reshape(f32[0,10], newshape=[-1, 10])");
RECORD(contrib_reverse_reshape, "contrib_reverse_reshape", OP_TOTAL_STATIC | OP_TOTAL_COUNT,
       "reshape with its codes read from the right.", rel_reverse_reshape, lower_view,
       PAT_Injective, 0, P(DATA),
       P({"newshape", A_Ints, NULL, "extents, 0 and -1"}, {"allowzero", A_Bool, "False", ""}),
       "contrib_reverse_reshape(f32[10,5,4], newshape=[-1, 0])");
RECORD(reshape_like, "reshape_like", OP_TOTAL_STATIC,
       "data in the shape of another tensor, or with a range of axes replaced by its.",
       rel_reshape_like, lower_view, PAT_Injective, 0,
       P(DATA, {"shape_like", "gives the shape", false}),
       P({"lhs_begin", A_Int, "0", "first axis replaced"},
         {"lhs_end", A_Int, "None", "end of the axes replaced"},
         {"rhs_begin", A_Int, "0", "first axis taken"},
         {"rhs_end", A_Int, "None", "end of the axes taken"}),
       "reshape_like(f32[2,3,4], f32[6,4])", "reshape_like(f32[?6,4], f32[2,?3], lhs_end=1)");
RECORD(nn_batch_flatten, "nn.batch_flatten", OP_TOTAL_STATIC | OP_TOTAL_COUNT,
       "All axes but the first as one.", rel_flatten, lower_view, PAT_Injective, 0, P(DATA), P({0}),
       "nn.batch_flatten(f32[2,3,4])", "nn.batch_flatten(f32[?2,3,?4])",
       "nn.batch_flatten(f32[0,3])");
RECORD(expand_dims, "expand_dims", OP_TOTAL, "Insert axes of extent 1.", rel_expand_dims,
       lower_view, PAT_Injective, 0, P(DATA),
       P({"axis", A_Int, NULL, "where"}, {"num_newaxis", A_Int, "1", "how many"}),
       "expand_dims(f32[2,3], axis=1)", "expand_dims(f32[?2,3], axis=-1, num_newaxis=2)",
       "expand_dims(i32[], axis=0)");
RECORD(squeeze, "squeeze", OP_TOTAL_STATIC, "Drop axes of extent 1.", rel_squeeze, lower_view,
       PAT_Injective, 0, P(DATA),
       P({"axis", A_Ints, "None", "which; all that are known to be 1 if absent"}),
       "squeeze(f32[1,3,1])", "squeeze(f32[?2,1,3], axis=[1])", "squeeze(f32[1,?1,3], axis=[-2])");
RECORD(transpose, "transpose", OP_TOTAL, "Permute axes.", rel_transpose, lower_transpose,
       PAT_Injective, 0, P(DATA), P({"axes", A_Ints, "None", "the order; reversed if empty"}),
       "transpose(f32[2,3,4], axes=[2, 0, 1])", "transpose(f32[?2,3])",
       "transpose(i8[2,?3,4], axes=[0, -1, 1])", "transpose(f32[0,3])");
RECORD(reverse, "reverse", OP_TOTAL_STATIC, "Flip along an axis.", rel_reverse, lower_reverse,
       PAT_Injective, 0, P(DATA), P({"axis", A_Int, NULL, "which"}), "reverse(f32[2,3], axis=1)",
       "reverse(i8[?2,3], axis=-2)");
RECORD(concatenate, "concatenate", OP_TOTAL, "Join along an axis.", rel_concatenate,
       lower_concatenate, PAT_Injective, 0, P(TUPLE), P({"axis", A_Int, "0", "where"}),
       "concatenate((f32[2,3], f32[2,4]), axis=1)", "concatenate((f32[?2,3], f32[1,3], f32[0,3]))",
       "concatenate((i8[2,3,4], i8[2,1,4]), axis=-2)");
RECORD(stack, "stack", OP_TOTAL, "Join along a new axis.", rel_stack, lower_stack, PAT_Injective, 1,
       P(TUPLE), P({"axis", A_Int, "0", "where the new axis is"}),
       "stack((f32[2,3], f32[2,3]), axis=1)", "stack((f32[?2], f32[2], f32[2]), axis=-1)",
       "stack((i32[], i32[]))");
RECORD(split, "split", OP_TOTAL_STATIC, "Cut along an axis into a tuple.", rel_split, lower_split,
       PAT_Injective, 0, P(DATA),
       P({"indices_or_sections", A_IntOrInts, NULL, "a number of equal parts, or where to cut"},
         {"axis", A_Int, "0", "where"}),
       "split(f32[2,6], indices_or_sections=3, axis=1)",
       "split(f32[?2,12], indices_or_sections=[8], axis=1)",
       "split(i32[?4,3], indices_or_sections=2)",
       "split(f32[9,?4], indices_or_sections=2, axis=-1)");
RECORD(tile, "tile", OP_TOTAL_STATIC, "The whole tensor repeated along axes.", rel_tile, lower_tile,
       PAT_Broadcast, 0, P(DATA), P({"reps", A_Ints, NULL, "per axis, aligned at the right"}),
       "tile(f32[2,3], reps=[2, 1, 2])", "tile(f32[?2,3], reps=[3])", "tile(i8[2], reps=[0])");
RECORD(repeat, "repeat", OP_TOTAL_STATIC, "Each element repeated along an axis.", rel_repeat,
       lower_repeat, PAT_Broadcast, 0, P(DATA),
       P({"repeats", A_Int, NULL, "how often"},
         {"axis", A_Int, "None", "where; flattened if absent"}),
       "repeat(f32[2,3], repeats=2, axis=1)", "repeat(f32[?2,3], repeats=3)",
       "repeat(i8[2,3], repeats=0, axis=-2)");
