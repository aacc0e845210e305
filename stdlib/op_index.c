/* op_index.c -- reading by computed positions: take, gather, gather_nd, numpy's
 * advanced indexing, coordinates of the non-zero elements.
 *
 * Positions are checked when they are read.  Operands are seen with the axes
 * that move together as one, so that the innermost loop is a plain copy.      */
#include "stdlib/relkit.h"

static KE position(OpK *k, KTensor t, const KE *at) {
  return relkit_position(k->b, kb_load(k->b, t.buf, at));
}

/* ---- take ------------------------------------------------------------------------------ */
typedef enum { TAKE_CLIP, TAKE_WRAP, TAKE_BAD } TakeMode;
/* "fast" promises positions in range; keeping them there costs nothing that matters. */
static TakeMode take_mode(const OpAttrs *a) {
  static const struct {
    const char *name;
    TakeMode mode;
  } modes[] = {{"clip", TAKE_CLIP}, {"fast", TAKE_CLIP}, {"wrap", TAKE_WRAP}};
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
    if (strcmp(attr_str(a, "mode"), modes[i].name) == 0) return modes[i].mode;
  return TAKE_BAD;
}

/* Data seen as (batch, mid, axis, behind), indices as (batch, count). */
typedef struct {
  int batch, axis;
} TakeAxes;
static TakeAxes take_axes(const OpAttrs *a, int rank, int index_rank) {
  TakeAxes t = {(int)attr_int(a, "batch_dims"), relkit_axis(opattr(a, "axis")->i, rank)};
  if (t.batch < 0) t.batch += index_rank;
  return t;
}

static bool rel_take(Rel *r) {
  TensorTy x = rel_tensor(r, 0), i = rel_tensor(r, 1);
  const OpAttrs *a = rel_attrs(r);
  const OpAttrVal *axis = opattr(a, "axis");
  int64_t batch = attr_int(a, "batch_dims");
  Dim out[2 * MAX_RANK];
  int rank = 0, at;
  if (!rel_want_class(r, 1, "iu")) return false;
  if (take_mode(a) == TAKE_BAD)
    return rel_error(r, "mode must be \"clip\", \"wrap\" or \"fast\", found \"%s\"",
                     attr_str(a, "mode"));
  if (axis->none) return rel_result(r, x.dtype, i.rank, i.dim);
  if (!rel_axis(r, "axis", axis->i, x.rank, &at)) return false;
  if (batch < -i.rank || batch > i.rank || take_axes(a, x.rank, i.rank).batch > at)
    return rel_error(r,
                     "batch_dims must be at most the axis (%d) and the rank of indices (%d), "
                     "found %lld",
                     at, i.rank, (long long)batch);
  int n = take_axes(a, x.rank, i.rank).batch;
  for (int d = 0; d < n; d++)
    if (!rel_same_dim(r, x.dim[d], i.dim[d], str_fmt("axis %d of data and of indices", d)))
      return false;
  if (x.rank - 1 + i.rank - n > MAX_RANK)
    return rel_error(r, "the result would have %d axes; a tensor has at most %d",
                     x.rank - 1 + i.rank - n, MAX_RANK);
  for (int d = 0; d < at; d++) out[rank++] = x.dim[d];
  for (int d = n; d < i.rank; d++) out[rank++] = i.dim[d];
  for (int d = at + 1; d < x.rank; d++) out[rank++] = x.dim[d];
  return rel_result(r, x.dtype, rank, out);
}

static void take_views(OpPlan *p, Dim xd[4], Dim id[2]) {
  OpOperand *x = plan_operand(p, 0), *i = plan_operand(p, 1);
  DimTab *t = p->cx->dims;
  if (opattr(p->attrs, "axis")->none) {
    xd[0] = xd[1] = xd[3] = id[0] = dim_const(t, 1);
    xd[2] = relkit_product(t, x->rank, x->dim);
    id[1] = relkit_product(t, i->rank, i->dim);
    return;
  }
  TakeAxes a = take_axes(p->attrs, x->rank, i->rank);
  xd[0] = id[0] = relkit_product(t, a.batch, x->dim);
  xd[1] = relkit_product(t, a.axis - a.batch, x->dim + a.batch);
  xd[2] = x->dim[a.axis];
  xd[3] = relkit_product(t, x->rank - a.axis - 1, x->dim + a.axis + 1);
  id[1] = relkit_product(t, i->rank - a.batch, i->dim + a.batch);
}
static bool lower_take(OpPlan *p) {
  Dim xd[4], id[2];
  take_views(p, xd, id);
  OpK k = opk_begin(p, "take");
  KB *b = k.b;
  KTensor x = opk_in_as(&k, 0, 4, xd), i = opk_in_as(&k, 1, 2, id);
  KTensor y = opk_out_as(&k, plan_result(p, 0), 4, (Dim[]){xd[0], xd[1], id[1], xd[3]});
  KE at[4], from[4];
  bool one = plan_operand(p, 1)->rank == 0; /* a map of one nest: it fuses              */
  int loops = relkit_loops(&k, one ? 4 : 3, y.dim, at);
  KE v = kb_load(b, i.buf, (KE[]){at[0], at[2]}), n = x.dim[2];
  bool wrap = take_mode(p->attrs) == TAKE_WRAP;
  if (wrap && kb_type(b, v) == DT_u64) v = kb_fmod(b, v, kb_cast(b, n, DT_u64));
  v = kb_let(b, relkit_position(b, v));
  if (wrap)
    v = kb_let(b, kb_fmod(b, v, n));
  else
    v = kb_let(b, kb_clamp(b, v, kb_int(b, 0), kb_sub(b, n, kb_int(b, 1))));
  if (!one) loops += relkit_loops(&k, 1, &y.dim[3], &at[3]);
  memcpy(from, at, sizeof from);
  from[2] = v;
  kb_store(b, y.buf, at, kb_load(b, x.buf, from));
  opk_close(&k, loops);
  return opk_end(&k);
}
const OpDef op_take = {
    .name = "take",
    .doc = "Slices of data along an axis, at the positions in indices; of the flattened data "
           "without an axis.",
    .args = {{"data", "any shape", false}, {"indices", "ints of any shape", false}},
    .attrs = {{"batch_dims", A_Int, "0", "leading axes that data and indices share"},
              {"axis", A_Int, "None", "along which; None: data is flattened"},
              {"mode", A_Str, "clip",
               "positions outside: \"clip\" or \"fast\" take the nearest, "
               "\"wrap\" counts modulo the extent"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Injective,
    .rel = rel_take,
    .lower = lower_take,
    .examples =
        (const char *const[]){"take(f32[5,3], i32[2,4]<5, axis=0)", "take(f32[2,3,4], i64[6]<24)",
                              "take(f32[?4,3], i32[?2]<9, axis=-1, mode=\"wrap\")",
                              "take(f32[2,5,3], i32[2,4]<5, axis=1, batch_dims=1)",
                              "take(f32[3,4], i32[]<4, axis=1)", "take(bf16[4,3], i8[0], axis=0)",
                              "take(i8[6], [-7, 2, 9]i32, axis=0, mode=\"wrap\")",
                              "take(f32[6], [-7, 2, 9]i64, axis=0)",
                              "take(f32[2,3,4], i32[2,3,2]<4, axis=2, batch_dims=-1)", NULL},
};

/* ---- gather ---------------------------------------------------------------------------- */
static bool rel_gather(Rel *r) {
  TensorTy x = rel_tensor(r, 0), i = rel_tensor(r, 1);
  int axis;
  if (!rel_want_min_rank(r, 0, 1) || !rel_want_rank(r, 1, x.rank) || !rel_want_class(r, 1, "iu"))
    return false;
  if (!rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis)) return false;
  for (int d = 0; d < x.rank; d++)
    if (d != axis && !dim_equal(x.dim[d], i.dim[d]) &&
        !rel_at_least(r, x.dim[d], i.dim[d], str_fmt("axis %d of data and of indices", d)))
      return false;
  return rel_result(r, x.dtype, i.rank, i.dim);
}
static bool lower_gather(OpPlan *p) {
  Dim xd[MAX_RANK], id[MAX_RANK];
  int axis = relkit_axis(attr_int(p->attrs, "axis"), plan_operand(p, 0)->rank);
  int rank = relkit_along(p, 0, 1, &axis, xd, id);
  OpK k = opk_begin(p, "gather");
  KTensor x = opk_in_as(&k, 0, rank, xd), i = opk_in_as(&k, 1, rank, id);
  KTensor y = opk_out_as(&k, plan_result(p, 0), rank, id);
  KE at[MAX_RANK], from[MAX_RANK];
  int loops = relkit_loops(&k, rank, y.dim, at);
  memcpy(from, at, sizeof from);
  from[axis] = relkit_index(&k, position(&k, i, at), x.dim[axis]);
  kb_store(k.b, y.buf, at, kb_load(k.b, x.buf, from));
  opk_close(&k, loops);
  return opk_end(&k);
}
const OpDef op_gather = {
    .name = "gather",
    .doc = "Each element of the result is the one of data at the same place, but at the position "
           "along axis that indices holds there.",
    .args = {{"data", "any shape", false},
             {"indices", "ints of data's rank; negative ones count from the end", false}},
    .attrs = {{"axis", A_Int, NULL, "the axis whose positions are given"}},
    .flags = OP_PURE,
    .pattern = PAT_Injective,
    .rel = rel_gather,
    .lower = lower_gather,
    .examples =
        (const char *const[]){
            "gather(f32[3,4], i32[3,2]<4, axis=1)", "gather(f32[?3,4], i64[2,?4]<3, axis=0)",
            "gather(i8[2,3,4], i32[2,5,4]<3, axis=-2)", "gather(f16[4,3], i32[2,2]<3, axis=1)",
            "gather(f32[5], [-1, -5, 4]i32, axis=0)", "gather(f32[3,4], i32[3,0], axis=1)", NULL},
};

/* ---- gather_nd ------------------------------------------------------------------------- */
/* The first axis of indices: how many axes of data each column names. */
static bool nd_depth(Rel *r, int arg, int64_t *m) {
  Dim d = rel_tensor(r, arg).dim[0];
  const OpAttrVal *v = opattr(rel_attrs(r), "index_rank");
  if (dim_is_const(d, m)) return true;
  if (v->none)
    return rel_error(r, "the first extent of indices is a number of axes and must be known, or "
                        "given as index_rank");
  *m = v->i;
  return rel_same_dim(r, d, dim_const(rel_dims(r), v->i),
                      "the first axis of indices and index_rank");
}
static bool rel_gather_nd(Rel *r) {
  TensorTy x = rel_tensor(r, 0), i = rel_tensor(r, 1);
  int64_t batch = attr_int(rel_attrs(r), "batch_dims"), m;
  Dim out[2 * MAX_RANK];
  int rank = 0;
  if (!rel_want_class(r, 1, "iu") || !rel_want_min_rank(r, 1, 1) || !nd_depth(r, 1, &m))
    return false;
  if (batch < 0 || batch > i.rank - 1)
    return rel_error(r, "batch_dims must be in [0, %d], found %lld", i.rank - 1, (long long)batch);
  if (m < 0 || batch + m > x.rank)
    return rel_error(r, "indices names %lld axes after %lld shared ones, but data has rank %d",
                     (long long)m, (long long)batch, x.rank);
  for (int d = 0; d < batch; d++)
    if (!rel_same_dim(r, x.dim[d], i.dim[d + 1],
                      str_fmt("axis %d of data and axis %d of indices", d, d + 1)))
      return false;
  for (int d = 1; d < i.rank; d++) out[rank++] = i.dim[d];
  for (int d = (int)(batch + m); d < x.rank; d++) out[rank++] = x.dim[d];
  if (rank > MAX_RANK)
    return rel_error(r, "the result would have %d axes; a tensor has at most %d", rank, MAX_RANK);
  return rel_result(r, x.dtype, rank, out);
}
/* Data is seen as (shared..., named..., rest), indices as (m, shared..., count). */
static bool lower_gather_nd(OpPlan *p) {
  OpOperand *xo = plan_operand(p, 0), *io = plan_operand(p, 1);
  int batch = (int)attr_int(p->attrs, "batch_dims");
  int named = xo->rank - (plan_operand(p, plan_result(p, 0))->rank - (io->rank - 1));
  int m = named - batch;
  DimTab *t = p->cx->dims;
  Dim xd[MAX_RANK + 1], id[MAX_RANK + 2], yd[MAX_RANK + 2];
  memcpy(xd, xo->dim, sizeof *xd * (size_t)named);
  xd[named] = relkit_product(t, xo->rank - named, xo->dim + named);
  id[0] = dim_const(t, m);
  for (int d = 0; d < batch; d++) id[d + 1] = yd[d] = xo->dim[d];
  id[batch + 1] = yd[batch] = relkit_product(t, io->rank - 1 - batch, io->dim + 1 + batch);
  yd[batch + 1] = xd[named];
  OpK k = opk_begin(p, "gather_nd");
  KTensor x = opk_in_as(&k, 0, named + 1, xd), i = opk_in_as(&k, 1, batch + 2, id);
  KTensor y = opk_out_as(&k, plan_result(p, 0), batch + 2, yd);
  KE at[MAX_RANK + 2], column[MAX_RANK + 2], from[MAX_RANK + 1];
  int loops = relkit_loops(&k, batch + 1, y.dim, at);
  memcpy(from, at, sizeof *at * (size_t)batch);
  memcpy(column + 1, at, sizeof *at * (size_t)(batch + 1));
  for (int j = 0; j < m; j++) {
    column[0] = kb_int(k.b, j);
    from[batch + j] = relkit_index(&k, position(&k, i, column), x.dim[batch + j]);
  }
  loops += relkit_loops(&k, 1, &y.dim[batch + 1], &at[batch + 1]);
  from[named] = at[batch + 1];
  kb_store(k.b, y.buf, at, kb_load(k.b, x.buf, from));
  opk_close(&k, loops);
  return opk_end(&k);
}
const OpDef op_gather_nd = {
    .name = "gather_nd",
    .doc = "Elements or slices of data at coordinates: column j of indices holds the j-th ones.",
    .args = {{"data", "any shape", false},
             {"indices", "(m, ...) ints: m coordinates each; negative ones count from the end",
              false}},
    .attrs = {{"batch_dims", A_Int, "0", "leading axes that data and the columns share"},
              {"index_rank", A_Int, "None", "m, where the extent is not known"}},
    .flags = OP_PURE,
    .pattern = PAT_Injective,
    .rel = rel_gather_nd,
    .lower = lower_gather_nd,
    .examples = (const char *const[]){"gather_nd(f32[3,4], i32[2,5]<3)",
                                      "gather_nd(f32[3,4,2], i64[1,2,3]<3)",
                                      "gather_nd(i8[?2,3,4], i32[1,2,?5]<3, batch_dims=1)",
                                      "gather_nd(f16[2,3], [[0, -1], [-3, 2]]i32)",
                                      "gather_nd(f32[3,4], i32[?2,5]<3, index_rank=2)",
                                      "gather_nd(f32[3,4], i32[1,0])", NULL},
};

/* ---- adv_index ------------------------------------------------------------------------- */
static bool rel_adv_index(Rel *r) {
  int n = rel_arg_size(r, 0) - 1, rank = 0;
  Dim dim[2][MAX_RANK];
  if (n < 1) return rel_error(r, "inputs must be data and at least one tensor of indices");
  TensorTy x = rel_leaf(r, 0, 0), all = {DT_i64, 0, dim[0]};
  if (n > x.rank) return rel_error(r, "%d tensors of indices for data of rank %d", n, x.rank);
  for (int j = 1; j <= n; j++) {
    TensorTy i = rel_leaf(r, 0, j);
    if (!dtype_is_int(i.dtype))
      return rel_error(r, "field %d of inputs must hold int positions, found %s", j,
                       dtype_name(i.dtype));
    if (!rel_broadcast(r, all, i, &rank, dim[j & 1])) return false;
    all = (TensorTy){DT_i64, rank, dim[j & 1]};
  }
  if (rank + x.rank - n > MAX_RANK)
    return rel_error(r, "the result would have %d axes; a tensor has at most %d", rank + x.rank - n,
                     MAX_RANK);
  Dim out[2 * MAX_RANK];
  memcpy(out, all.dim, sizeof *out * (size_t)rank);
  memcpy(out + rank, x.dim + n, sizeof *out * (size_t)(x.rank - n));
  return rel_result(r, x.dtype, rank + x.rank - n, out);
}
static bool lower_adv_index(OpPlan *p) {
  int n = p->n_in - 1;
  OpOperand *xo = plan_operand(p, 0), *yo = plan_operand(p, plan_result(p, 0));
  int rank = yo->rank - (xo->rank - n);
  Dim xd[MAX_RANK + 1], yd[MAX_RANK + 1];
  memcpy(xd, xo->dim, sizeof *xd * (size_t)n);
  memcpy(yd, yo->dim, sizeof *yd * (size_t)rank);
  xd[n] = yd[rank] = relkit_product(p->cx->dims, xo->rank - n, xo->dim + n);
  OpK k = opk_begin(p, "adv_index");
  KTensor x = opk_in_as(&k, 0, n + 1, xd), i[MAX_RANK];
  for (int j = 0; j < n; j++) i[j] = opk_in(&k, j + 1);
  KTensor y = opk_out_as(&k, plan_result(p, 0), rank + 1, yd);
  KE at[MAX_RANK + 1], from[MAX_RANK + 1];
  int loops = relkit_loops(&k, rank, y.dim, at);
  for (int j = 0; j < n; j++)
    from[j] = relkit_index(&k, relkit_position(k.b, opk_bcast(&k, i[j], rank, at)), x.dim[j]);
  loops += relkit_loops(&k, 1, &y.dim[rank], &at[rank]);
  from[n] = at[rank];
  kb_store(k.b, y.buf, at, kb_load(k.b, x.buf, from));
  opk_close(&k, loops);
  return opk_end(&k);
}
const OpDef op_adv_index = {
    .name = "adv_index",
    .doc = "numpy's data[i0, i1, ...]: the first axes at the positions of the broadcast indices.",
    .args = {{"inputs",
              "data, then int tensors that broadcast together; negative positions count "
              "from the end",
              true}},
    .flags = OP_PURE,
    .pattern = PAT_Injective,
    .rel = rel_adv_index,
    .lower = lower_adv_index,
    .examples =
        (const char *const[]){"adv_index((f32[3,4,5], i32[2,1]<3, i32[6]<4))",
                              "adv_index((i8[?3,4], i64[?2]<3))", "adv_index((f32[3], [-1, 2]i32))",
                              "adv_index((f16[3,4], i32[0]<3, i32[]<4))", NULL},
};

/* ---- argwhere -------------------------------------------------------------------------- */
static bool rel_argwhere(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  Dim out[2] = {rel_unknown(r), dim_const(rel_dims(r), x.rank)};
  return rel_result(r, DT_i32, 2, out);
}
/* A scalar has no coordinates: (1, 0) if it is not zero, else (0, 0). */
static bool argwhere_scalar(OpPlan *p) {
  OpRef out = plan_result(p, 0);
  Dim one = dim_const(p->cx->dims, 1);
  OpRef count = plan_temp(p, DT_i64, 1, &one);
  OpK k = opk_begin(p, "argwhere_count");
  KTensor x = opk_in(&k, 0), n = opk_out(&k, count);
  KE zero = kb_int(k.b, 0), full = kb_ne(k.b, kb_load(k.b, x.buf, NULL), opk_zero(&k, x.dtype));
  kb_store(k.b, n.buf, &zero, kb_cast(k.b, full, DT_i64));
  if (!opk_end(&k)) return false;
  relkit_bind_dim(p, plan_operand(p, out)->dim[0], count, 0);
  k = opk_begin(p, "argwhere");
  KTensor y = opk_out(&k, out);
  KE at[2];
  opk_loops(&k, 2, y.dim, at);
  kb_store(k.b, y.buf, at, opk_zero(&k, y.dtype));
  opk_close(&k, 2);
  return opk_end(&k);
}
static bool lower_argwhere(OpPlan *p) {
  if (plan_operand(p, 0)->rank == 0) return argwhere_scalar(p);
  plan_runtime(p, "argwhere", 1, (OpRef[]){0}, 1, (OpRef[]){plan_result(p, 0)}, 0, NULL);
  return true;
}
const OpDef op_argwhere = {
    .name = "argwhere",
    .doc = "The coordinates of the non-zero elements in row-major order, as an int32 matrix.",
    .args = {{"condition", "any shape", false}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_argwhere,
    .lower = lower_argwhere,
    .not_differentiable = "its result is made of positions",
    .examples =
        (const char *const[]){"argwhere(i32[2,3,4]<2)", "argwhere(bool[?5])", "argwhere(f32[0,3])",
                              "argwhere(u8[7]<3)", "argwhere(f32[])", NULL},
};
