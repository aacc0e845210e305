/* infer_ops.h -- a handful of operators for tests of type inference, so that
 * they do not depend on the library.  Only the type relations are here.      */
#ifndef RVM_TESTS_INFER_OPS_H
#define RVM_TESTS_INFER_OPS_H
#include "typeinfer/rel.h"

static inline bool fake_broadcast(Rel *r, DType dt) {
  Dim dim[MAX_RANK];
  int rank;
  if (!rel_same_dtype(r, 0, 1)) return false;
  if (!rel_broadcast(r, rel_tensor(r, 0), rel_tensor(r, 1), &rank, dim)) return false;
  return rel_result(r, dt, rank, dim);
}
static bool fake_arith(Rel *r) { return fake_broadcast(r, rel_tensor(r, 0).dtype); }
static bool fake_compare(Rel *r) { return fake_broadcast(r, DT_bool); }

static bool fake_unary(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  return rel_want_class(r, 0, "f") && rel_result(r, x.dtype, x.rank, x.dim);
}

static bool fake_like(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  return rel_result(r, x.dtype, x.rank, x.dim);
}

static bool fake_dense(Rel *r) {
  TensorTy x = rel_tensor(r, 0), w = rel_tensor(r, 1);
  if (!rel_want_rank(r, 0, 2) || !rel_want_rank(r, 1, 2) || !rel_same_dtype(r, 0, 1)) return false;
  if (!rel_same_dim(r, x.dim[1], w.dim[1], "the columns of x and of w")) return false;
  Dim dim[2] = { x.dim[0], w.dim[0] };
  return rel_result(r, x.dtype, 2, dim);
}

static bool fake_concatenate(Rel *r) {
  int axis, n = rel_arg_size(r, 0);
  if (n == 0) return rel_error(r, "nothing to join");
  TensorTy first = rel_leaf(r, 0, 0);
  Dim dim[MAX_RANK];
  if (!rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), first.rank, &axis)) return false;
  for (int k = 0; k < first.rank; k++) dim[k] = first.dim[k];
  for (int i = 1; i < n; i++) {
    TensorTy x = rel_leaf(r, 0, i);
    if (x.rank != first.rank) return rel_error(r, "the ranks differ");
    for (int k = 0; k < x.rank; k++) {
      if (k == axis) dim[k] = dim_add(rel_dims(r), dim[k], x.dim[k]);
      else if (!rel_same_dim(r, first.dim[k], x.dim[k], str_fmt("the extents of axis %d", k)))
        return false;
    }
  }
  return rel_result(r, first.dtype, first.rank, dim);
}

static bool fake_nonzero(Rel *r) {
  Dim dim[2] = { rel_unknown(r), dim_const(rel_dims(r), rel_tensor(r, 0).rank) };
  return rel_result(r, DT_i64, 2, dim);
}

static bool fake_halves(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  if (!rel_want_min_rank(r, 0, 1)) return false;
  Dim dim[MAX_RANK];
  for (int i = 0; i < x.rank; i++) dim[i] = x.dim[i];
  dim[0] = dim_div(rel_dims(r), x.dim[0], dim_const(rel_dims(r), 2));
  TensorTy leaf[2] = { { x.dtype, x.rank, dim }, { x.dtype, x.rank, dim } };
  return rel_result_tuple(r, 2, leaf);
}

#define FAKE_BINARY(id, text, f) \
  static const OpDef id = { .name = text, \
                            .args = { { "lhs", "", false }, { "rhs", "", false } }, \
                            .flags = OP_PURE, .rel = f }
#define FAKE_UNARY(id, text, f) \
  static const OpDef id = { .name = text, .args = { { "x", "", false } }, \
                            .flags = OP_PURE, .rel = f }
FAKE_BINARY(fake_op_add, "add", fake_arith);
FAKE_BINARY(fake_op_sub, "subtract", fake_arith);
FAKE_BINARY(fake_op_mul, "multiply", fake_arith);
FAKE_BINARY(fake_op_div, "divide", fake_arith);
FAKE_BINARY(fake_op_less, "less", fake_compare);
FAKE_BINARY(fake_op_less_equal, "less_equal", fake_compare);
FAKE_BINARY(fake_op_equal, "equal", fake_compare);
FAKE_BINARY(fake_op_greater, "greater", fake_compare);
FAKE_UNARY(fake_op_exp, "exp", fake_unary);
FAKE_UNARY(fake_op_tanh, "tanh", fake_unary);
FAKE_UNARY(fake_op_zeros_like, "zeros_like", fake_like);
FAKE_UNARY(fake_op_nonzero, "argwhere", fake_nonzero);
FAKE_UNARY(fake_op_halves, "halves", fake_halves);
static const OpDef fake_op_dense = {
  .name = "nn.dense", .args = { { "x", "", false }, { "w", "", false } },
  .attrs = { { "units", A_Int, "None", "" } }, .flags = OP_PURE, .rel = fake_dense };
static const OpDef fake_op_concat = {
  .name = "concatenate", .args = { { "xs", "", true } },
  .attrs = { { "axis", A_Int, "0", "" } }, .flags = OP_PURE, .rel = fake_concatenate };

static const OpDef *const fake_ops[] = {
  &fake_op_add, &fake_op_sub, &fake_op_mul, &fake_op_div, &fake_op_less, &fake_op_less_equal,
  &fake_op_equal, &fake_op_greater, &fake_op_exp, &fake_op_tanh, &fake_op_zeros_like,
  &fake_op_nonzero, &fake_op_halves, &fake_op_dense, &fake_op_concat,
};
enum { N_FAKE_OPS = sizeof fake_ops / sizeof *fake_ops };
#endif
