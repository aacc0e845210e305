/* op_sparse.c -- tensors given as coordinates and values (COO): to dense form,
 * empty rows filled, other shapes.                                            */
#include "stdlib/relkit.h"

static KE integer(OpK *k, KTensor t, const KE *at) {
  return kb_let(k->b, kb_cast(k->b, kb_load(k->b, t.buf, at), DT_i64));
}

/* ---- sparse_to_dense, dyn.sparse_to_dense ---------------------------------------------- */
/* Coordinates: (n, rank), or (n) or one for a vector; values: (n) or one for all. */
static bool to_dense(Rel *r, int rank, const Dim *shape) {
  TensorTy i = rel_tensor(r, 0), v = rel_tensor(r, 1);
  DimTab *t = rel_dims(r);
  if (!rel_want_class(r, 0, "iu")) return false;
  if (i.rank > 2) return rel_error(r, "sparse_indices must have rank 0, 1 or 2, found %d", i.rank);
  if (rank < 1 || (i.rank < 2 && rank != 1))
    return rel_error(r, "sparse_indices of rank %d do not fit an output_shape of %d axes", i.rank,
                     rank);
  if (i.rank == 2 && !rel_same_dim(r, i.dim[1], dim_const(t, rank),
                                   "the columns of sparse_indices and the rank of output_shape"))
    return false;
  if (v.rank > 1) return rel_error(r, "sparse_values must have rank 0 or 1, found %d", v.rank);
  if (v.rank == 1 && !rel_same_dim(r, v.dim[0], i.rank ? i.dim[0] : dim_const(t, 1),
                                   "the rows of sparse_indices and of sparse_values"))
    return false;
  if (rel_n_args(r) > 2 && (!rel_want_rank(r, 2, 0) || !rel_same_dtype(r, 1, 2))) return false;
  return rel_result(r, v.dtype, rank, shape);
}
static bool rel_to_dense(Rel *r) {
  const OpAttrVal *s = opattr(rel_attrs(r), "output_shape");
  Dim dim[MAX_RANK];
  if (s->n > MAX_RANK)
    return rel_error(r, "output_shape has %d entries; a tensor has at most %d axes", s->n,
                     MAX_RANK);
  for (int i = 0; i < s->n; i++) {
    if (s->ints[i] < 0)
      return rel_error(r, "output_shape must hold extents >= 0, found %lld", (long long)s->ints[i]);
    dim[i] = dim_const(rel_dims(r), s->ints[i]);
  }
  return to_dense(r, s->n, dim);
}
static bool rel_dyn_to_dense(Rel *r) {
  Dim dim[MAX_RANK];
  int rank;
  return relkit_shape_arg(r, 3, &rank, dim) && to_dense(r, rank, dim);
}
/* Filled, then the values one after the other: the last of a place counts. */
static bool lower_to_dense(OpPlan *p) {
  OpRef out = plan_result(p, 0);
  OpOperand io = *plan_operand(p, 0), vo = *plan_operand(p, 1), yo = *plan_operand(p, out);
  DimTab *t = p->cx->dims;
  Dim one = dim_const(t, 1), rows = io.rank ? io.dim[0] : one;
  OpK k = opk_begin(p, p->op->name);
  KB *b = k.b;
  KTensor i = opk_in_as(&k, 0, 2, (Dim[]){rows, dim_const(t, yo.rank)});
  KTensor v = opk_in_as(&k, 1, 1, vo.rank ? &rows : &one);
  KE fill = p->n_in > 2 ? kb_load(b, opk_in(&k, 2).buf, NULL) : opk_zero(&k, v.dtype);
  KTensor y = opk_out(&k, out);
  KE at[MAX_RANK], to[MAX_RANK];
  int loops = relkit_loops(&k, y.rank, y.dim, at);
  kb_store(b, y.buf, at, fill);
  opk_close(&k, loops);
  KE n = kb_for(b, i.dim[0], K_SERIAL), zero = kb_int(b, 0);
  for (int d = 0; d < y.rank; d++)
    to[d] = relkit_index(&k, integer(&k, i, (KE[]){n, kb_int(b, d)}), y.dim[d]);
  kb_store(b, y.buf, to, kb_load(b, v.buf, vo.rank ? &n : &zero));
  kb_end(b);
  return opk_end(&k);
}
static bool lower_dyn_to_dense(OpPlan *p) {
  return relkit_bind_shape(p, 3, plan_result(p, 0), 0, 3, RELKIT_FREE) && lower_to_dense(p);
}
#define TO_DENSE_ARGS                                                                              \
  {"sparse_indices", "(n, rank) ints; (n) or one for a vector", false},                            \
      {"sparse_values", "(n), or one for all", false}, {                                           \
    "default_value", "a scalar: what all else is", false                                           \
  }
const OpDef op_sparse_to_dense = {
    .name = "sparse_to_dense",
    .doc = "A dense tensor from coordinates and values.",
    .args = {TO_DENSE_ARGS},
    .optional = 1,
    .attrs = {{"output_shape", A_Ints, NULL, "extents of the result"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_to_dense,
    .lower = lower_to_dense,
    .examples =
        (const char *const[]){
            "sparse_to_dense([[0, 1], [2, 3]]i32, f32[2], 1f, output_shape=[3, 4])",
            "sparse_to_dense(i64[?3]<5, i8[?3], 0i8, output_shape=[5])",
            "sparse_to_dense(i32[3,2]<2, f16[], output_shape=[2, 3])",
            "sparse_to_dense(3, 2f, 0f, output_shape=[4])", NULL},
};
const OpDef op_dyn_sparse_to_dense = {
    .name = "dyn.sparse_to_dense",
    .doc = "sparse_to_dense with a shape known when it runs.",
    .args = {TO_DENSE_ARGS, {"output_shape", "int vector of known length", false}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_dyn_to_dense,
    .lower = lower_dyn_to_dense,
    .examples =
        (const char *const[]){"dyn.sparse_to_dense([[0, 1], [2, 3]]i32, f32[2], 1f, [3, 4]i64)",
                              "dyn.sparse_to_dense([0, 2]i32, i8[2], 0i8, i32[1]>3)", NULL},
};

/* ---- sparse_fill_empty_rows ------------------------------------------------------------ */
static bool rel_fill_rows(Rel *r) {
  TensorTy i = rel_tensor(r, 0), v = rel_tensor(r, 1), s = rel_tensor(r, 2), f = rel_tensor(r, 3);
  DimTab *t = rel_dims(r);
  if (!rel_want_rank(r, 0, 2) || !rel_want_class(r, 0, "iu") || !rel_want_rank(r, 1, 1) ||
      !rel_want_rank(r, 2, 1) || !rel_want_class(r, 2, "iu") || !rel_same_dtype(r, 1, 3))
    return false;
  if (f.rank > 1) return rel_want_rank(r, 3, 0);
  if ((f.rank == 1 &&
       !rel_same_dim(r, f.dim[0], dim_const(t, 1), "the extent of default_value and 1")) ||
      !rel_same_dim(r, i.dim[0], v.dim[0], "the rows of sparse_indices and of sparse_values") ||
      !rel_same_dim(r, i.dim[1], s.dim[0],
                    "the columns of sparse_indices and the length of dense_shape") ||
      !rel_at_least(r, i.dim[1], dim_const(t, 1), "the columns of sparse_indices and 1"))
    return false;
  Dim total = rel_unknown(r), rows = rel_unknown(r), pair[2] = {total, i.dim[1]};
  TensorTy leaf[3] = {{DT_i64, 2, pair}, {v.dtype, 1, &total}, {DT_i64, 1, &rows}};
  return rel_result_tuple(r, 3, leaf);
}
/* Where each row of the dense tensor starts in the result, which rows are empty,
 * and how many entries there are. */
static bool plan_rows(OpPlan *p, OpRef start, OpRef total) {
  OpK k = opk_begin(p, "empty_rows");
  KB *b = k.b;
  KTensor i = opk_in(&k, 0), empty = opk_out(&k, plan_result(p, 2));
  KTensor from = opk_out(&k, start), n = opk_out(&k, total);
  KE zero = kb_int(b, 0), one = kb_int(b, 1), sum, row = kb_for(b, empty.dim[0], K_PARALLEL);
  kb_store(b, from.buf, &row, zero);
  kb_end(b);
  KE j = kb_for(b, i.dim[0], K_SERIAL);
  KE at = relkit_index(&k, integer(&k, i, (KE[]){j, zero}), empty.dim[0]);
  kb_store(b, from.buf, &at, kb_add(b, kb_load(b, from.buf, &at), one));
  kb_end(b);
  row = kb_for_carry(b, empty.dim[0], 1, &zero, &sum);
  KE count = kb_let(b, kb_load(b, from.buf, &row)), none = kb_eq(b, count, zero);
  kb_store(b, empty.buf, &row, kb_cast(b, none, DT_i64));
  kb_store(b, from.buf, &row, sum);
  KE next = kb_add(b, sum, kb_max(b, count, one));
  kb_end_carry(b, &next);
  kb_store(b, n.buf, &zero, sum);
  return opk_end(&k);
}
/* The entries in the order of their rows, a default one for each empty row. */
static bool fill_rows(OpPlan *p, OpRef start) {
  OpK k = opk_begin(p, "fill_rows");
  KB *b = k.b;
  KTensor i = opk_in(&k, 0), v = opk_in(&k, 1), fill = opk_in(&k, 3);
  KTensor empty = opk_in(&k, plan_result(p, 2)), from = opk_in(&k, start);
  KTensor ni = opk_out(&k, plan_result(p, 0)), nv = opk_out(&k, plan_result(p, 1));
  KTensor next = opk_local(&k, DT_i64, 1, empty.dim);
  KE zero = kb_int(b, 0), one = kb_int(b, 1), last = kb_sub(b, nv.dim[0], one);
  KE row = kb_for(b, empty.dim[0], K_SERIAL), place = kb_load(b, from.buf, &row);
  KE at = kb_let(b, kb_clamp(b, place, zero, last));
  kb_store(b, next.buf, &row, place);
  kb_if(b, kb_ne(b, kb_load(b, empty.buf, &row), zero));
  kb_store(b, nv.buf, &at, kb_load(b, fill.buf, &zero));
  KE c = kb_for(b, ni.dim[1], K_PARALLEL);
  kb_store(b, ni.buf, (KE[]){at, c}, kb_select(b, kb_eq(b, c, zero), row, zero));
  kb_end(b);
  kb_end(b);
  kb_end(b);
  KE j = kb_for(b, i.dim[0], K_SERIAL);
  row = relkit_index(&k, integer(&k, i, (KE[]){j, zero}), empty.dim[0]);
  at = kb_let(b, kb_clamp(b, kb_load(b, next.buf, &row), zero, last));
  kb_store(b, next.buf, &row, kb_add(b, at, one));
  kb_store(b, nv.buf, &at, kb_load(b, v.buf, &j));
  c = kb_for(b, ni.dim[1], K_PARALLEL);
  kb_store(b, ni.buf, (KE[]){at, c}, kb_cast(b, kb_load(b, i.buf, (KE[]){j, c}), DT_i64));
  kb_end(b);
  kb_end(b);
  return opk_end(&k);
}
static bool lower_fill_rows(OpPlan *p) {
  Dim rows = plan_operand(p, plan_result(p, 2))->dim[0], one = dim_const(p->cx->dims, 1);
  OpOperand ni = *plan_operand(p, plan_result(p, 0)), nv = *plan_operand(p, plan_result(p, 1));
  OpRef start = plan_temp(p, DT_i64, 1, &rows), total = plan_temp(p, DT_i64, 1, &one);
  relkit_bind_dim(p, rows, 2, 0);
  if (!plan_rows(p, start, total)) return false;
  relkit_bind_dim(p, ni.dim[0], total, 0);
  if (!dim_equal(ni.dim[0], nv.dim[0])) relkit_bind_dim(p, nv.dim[0], total, 0);
  return fill_rows(p, start);
}
const OpDef op_sparse_fill_empty_rows = {
    .name = "sparse_fill_empty_rows",
    .doc = "Coordinates and values with an entry [row, 0, ...] of default_value for each row that "
           "has "
           "none, and for each row 1 where it was empty.",
    .args = {{"sparse_indices", "(n, rank) ints", false},
             {"sparse_values", "(n)", false},
             {"dense_shape", "(rank) ints", false},
             {"default_value", "one element", false}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_fill_rows,
    .lower = lower_fill_rows,
    .examples =
        (const char *const[]){
            "sparse_fill_empty_rows([[0, 1], [0, 3], [2, 0], [3, 1]]i64, f32[4], [5, 6]i64, 9f)",
            "sparse_fill_empty_rows(i64[0,2], i64[0], [3, 2]i64, [7]i64)", NULL},
};

/* ---- sparse_reshape -------------------------------------------------------------------- */
static bool rel_sparse_reshape(Rel *r) {
  for (int i = 0; i < 3; i++)
    if (!rel_want_class(r, i, "iu") || !rel_want_rank(r, i, i ? 1 : 2)) return false;
  TensorTy i = rel_tensor(r, 0), from = rel_tensor(r, 1), to = rel_tensor(r, 2);
  if (!rel_same_dim(r, i.dim[1], from.dim[0],
                    "the columns of sparse_indices and the length of prev_shape"))
    return false;
  Dim pair[2] = {i.dim[0], to.dim[0]};
  return rel_result_tuple(r, 2, (TensorTy[]){{i.dtype, 2, pair}, {to.dtype, 1, to.dim}});
}
static KE product(OpK *k, KTensor t) {
  KE at;
  kb_reduce_begin(k->b, 1, t.dim, &at);
  return kb_reduce_end(k->b, S_mul, kb_int(k->b, 1),
                       kb_cast(k->b, kb_load(k->b, t.buf, &at), DT_i64));
}
/* The shape with its -1, if any, inferred. */
static bool solve_shape(OpPlan *p) {
  OpK k = opk_begin(p, "sparse_shape");
  KB *b = k.b;
  KTensor from = opk_in(&k, 1), to = opk_in(&k, 2), out = opk_out(&k, plan_result(p, 1));
  KE zero = kb_int(b, 0), one = kb_int(b, 1), minus = kb_int(b, -1), at;
  KE total = product(&k, from), i = kb_for(b, to.dim[0], K_PARALLEL);
  kb_check(b, kb_le(b, minus, integer(&k, to, &i)),
           "sparse_reshape: an extent of new_shape is below -1");
  kb_end(b);
  kb_reduce_begin(b, 1, to.dim, &at);
  KE e = kb_cast(b, kb_load(b, to.buf, &at), DT_i64), open = kb_eq(b, e, minus);
  KE known = kb_reduce_end(b, S_mul, one, kb_select(b, open, one, e));
  kb_reduce_begin(b, 1, to.dim, &at);
  KE is_open = kb_eq(b, kb_cast(b, kb_load(b, to.buf, &at), DT_i64), minus);
  KE holes = kb_reduce_end(b, S_add, zero, kb_cast(b, is_open, DT_i64));
  KE divisor = kb_let(b, kb_select(b, kb_eq(b, known, zero), one, known));
  kb_check(b, kb_le(b, holes, one), "sparse_reshape: new_shape has more than one -1");
  kb_check(b,
           kb_select(b, kb_eq(b, holes, zero), kb_eq(b, total, known),
                     kb_and(b, kb_ne(b, known, zero), kb_eq(b, kb_fmod(b, total, divisor), zero))),
           "sparse_reshape: prev_shape and new_shape differ in their number of elements");
  i = kb_for(b, to.dim[0], K_PARALLEL);
  e = kb_cast(b, kb_load(b, to.buf, &i), DT_i64);
  KE v = kb_select(b, kb_eq(b, e, minus), kb_fdiv(b, total, divisor), e);
  kb_store(b, out.buf, &i, kb_cast(b, v, out.dtype));
  kb_end(b);
  return opk_end(&k);
}
/* Coordinates to element numbers and back. */
static bool lower_sparse_reshape(OpPlan *p) {
  if (!solve_shape(p)) return false;
  OpK k = opk_begin(p, "sparse_reshape");
  KB *b = k.b;
  KTensor i = opk_in(&k, 0), from = opk_in(&k, 1), to = opk_in(&k, plan_result(p, 1));
  KTensor out = opk_out(&k, plan_result(p, 0));
  KE zero = kb_int(b, 0), one = kb_int(b, 1), flat, left;
  KE n = kb_for(b, i.dim[0], K_PARALLEL);
  KE d = kb_for_carry(b, i.dim[1], 1, &zero, &flat);
  KE e = integer(&k, from, &d), c = integer(&k, i, (KE[]){n, d});
  kb_check(b, kb_and(b, kb_le(b, zero, c), kb_lt(b, c, e)),
           "sparse_reshape: an index is out of range");
  KE next = kb_add(b, kb_mul(b, flat, e), c);
  kb_end_carry(b, &next);
  d = kb_for_carry(b, out.dim[1], 1, &flat, &left);
  KE at[2] = {n, kb_sub(b, kb_sub(b, out.dim[1], one), d)};
  e = kb_max(b, integer(&k, to, &at[1]), one);
  kb_store(b, out.buf, at, kb_cast(b, kb_fmod(b, left, e), out.dtype));
  next = kb_fdiv(b, left, e);
  kb_end_carry(b, &next);
  kb_end(b);
  return opk_end(&k);
}
const OpDef op_sparse_reshape = {
    .name = "sparse_reshape",
    .doc = "The coordinates of a sparse tensor in another shape, and that shape with its -1 "
           "inferred.",
    .args = {{"sparse_indices", "(n, k) ints", false},
             {"prev_shape", "(k) ints", false},
             {"new_shape", "(m) ints, one of which may be -1", false}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_sparse_reshape,
    .lower = lower_sparse_reshape,
    .not_differentiable = "it computes positions",
    .examples =
        (const char *const[]){
            "sparse_reshape([[0, 0, 0], [0, 0, 1], [1, 2, 3]]i64, [2, 3, 4]i64, [6, -1]i64)",
            "sparse_reshape(i32[?4,2]<3, [3, 4]i32, [2, 2, 3]i32)",
            "sparse_reshape(i64[0,1], [6]i64, [2, 3]i64)", NULL},
};
