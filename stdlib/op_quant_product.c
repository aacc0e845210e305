/* op_quant_product.c -- products of quantised tensors: sums in int32 of
 * (x - its zero point) * (y - its zero point).  The scales say only what the
 * result stands for.                                                         */
#include "stdlib/conv.h"
#include "stdlib/quant.h"

static DType out_dtype(const OpAttrs *a) {
  const OpAttrVal *v = opattr(a, "out_dtype");
  return v->none || !v->given ? DT_i32 : v->dtype;
}
/* Arguments 2.. are zero points of x and y, then their scales; those of y may
 * run along axis of y. */
static bool want_params(Rel *r, int axis) {
  DType to = out_dtype(rel_attrs(r));
  if (!dtype_is_int(to))
    return rel_error(r, "out_dtype must be an integer type, found %s", dtype_name(to));
  return rel_want_class(r, 0, "iu") && rel_want_class(r, 1, "iu") &&
         relkit_want_scalar(r, 2, "iu") && quant_want_param(r, 3, rel_tensor(r, 1), axis, "iu") &&
         relkit_want_scalar(r, 4, "f") && quant_want_param(r, 5, rel_tensor(r, 1), axis, "f");
}

/* ---- one product: y[b, m, n] = sum over k of (x[b, m, k] - zx) * (w[b, n, k] - zw[n]) ---- */
typedef struct {
  Dim dim[3];
  bool swap;
  KTensor t;
} Factor; /* (b, rows, k), or (b, k, rows) when swap */

/* A batch of extent 1 serves all of the other factor's. */
static KE factor_at(OpK *k, Factor *f, KE b, KE row, KE red) {
  KE at[3] = {kb_min(k->b, b, kb_sub(k->b, f->t.dim[0], kb_int(k->b, 1))), f->swap ? red : row,
              f->swap ? row : red};
  return kb_load(k->b, f->t.buf, at);
}
static KE zero_at(OpK *k, KTensor z, KE row) {
  if (z.rank == 0) return kb_load(k->b, z.buf, NULL);
  KE at = kb_min(k->b, row, kb_sub(k->b, z.dim[0], kb_int(k->b, 1)));
  return kb_load(k->b, z.buf, &at);
}
static bool product(OpPlan *p, Factor x, Factor w, Dim batch) {
  OpK k = opk_begin(p, p->op->name);
  KB *b = k.b;
  x.t = opk_in_as(&k, 0, 3, x.dim), w.t = opk_in_as(&k, 1, 3, w.dim);
  KTensor y = opk_out_as(&k, plan_result(p, 0), 3,
                         (Dim[]){batch, x.dim[x.swap ? 2 : 1], w.dim[w.swap ? 2 : 1]});
  KTensor zx = opk_in(&k, 2), zw = opk_in(&k, 3);
  KE par[3], depth = x.t.dim[x.swap ? 1 : 2], red;
  DType acc = y.dtype;
  kb_contract_begin(b, 3, y.dim, par, 1, &depth, &red);
  KE l = kb_sub(b, kb_cast(b, factor_at(&k, &x, par[0], par[1], red), acc),
                kb_cast(b, zero_at(&k, zx, par[1]), acc));
  KE r = kb_sub(b, kb_cast(b, factor_at(&k, &w, par[0], par[2], red), acc),
                kb_cast(b, zero_at(&k, zw, par[2]), acc));
  kb_store(b, y.buf, par, kb_contract_acc(b, acc, l, r));
  kb_contract_end(b);
  return opk_end(&k);
}

/* ---- dense ---- */
static bool rel_dense(Rel *r) {
  return rel_want_min_rank(r, 0, 1) && rel_want_rank(r, 1, 2) && want_params(r, 0) &&
         relkit_dense(r, out_dtype(rel_attrs(r)));
}
static bool lower_dense(OpPlan *p) {
  OpOperand x = *plan_operand(p, 0), w = *plan_operand(p, 1);
  DimTab *t = p->cx->dims;
  Dim one = dim_const(t, 1);
  Factor fx = {.dim = {one, relkit_product(t, x.rank - 1, x.dim), x.dim[x.rank - 1]}};
  return product(p, fx, (Factor){.dim = {one, w.dim[0], w.dim[1]}}, one);
}

/* ---- batch_matmul: batches equal, or one of them 1 ---- */
static bool rel_batch_matmul(Rel *r) {
  bool ta = attr_bool(rel_attrs(r), "transpose_a"), tb = attr_bool(rel_attrs(r), "transpose_b");
  if (!rel_want_rank(r, 0, 3) || !rel_want_rank(r, 1, 3) || !want_params(r, tb ? 1 : 2))
    return false;
  TensorTy x = rel_tensor(r, 0), y = rel_tensor(r, 1);
  Dim batch[MAX_RANK];
  int rank;
  if (!rel_same_dim(r, x.dim[ta ? 1 : 2], y.dim[tb ? 2 : 1], "the inner extents of x and y") ||
      !rel_broadcast(r, (TensorTy){x.dtype, 1, x.dim}, (TensorTy){y.dtype, 1, y.dim}, &rank, batch))
    return false;
  return rel_result(r, out_dtype(rel_attrs(r)), 3,
                    (Dim[]){batch[0], x.dim[ta ? 2 : 1], y.dim[tb ? 1 : 2]});
}
static bool lower_batch_matmul(OpPlan *p) {
  OpOperand x = *plan_operand(p, 0), y = *plan_operand(p, 1);
  Factor fx = {.dim = {x.dim[0], x.dim[1], x.dim[2]}, .swap = attr_bool(p->attrs, "transpose_a")};
  Factor fy = {.dim = {y.dim[0], y.dim[1], y.dim[2]}, .swap = !attr_bool(p->attrs, "transpose_b")};
  return product(p, fx, fy, plan_operand(p, plan_result(p, 0))->dim[0]);
}

/* ---- convolutions ---- */
static int output_axis(Rel *r, char letter) {
  const char *layout = attr_str(rel_attrs(r), "kernel_layout"), *at = strchr(layout, letter);
  return at && at - layout < 4 ? (int)(at - layout) : 0;
}
static bool rel_conv(Rel *r) {
  return rel_want_rank(r, 0, 4) && rel_want_rank(r, 1, 4) && want_params(r, output_axis(r, 'O')) &&
         conv_rel(r);
}
/* One zero point for the weight: a vector would run along an axis of groups. */
static bool rel_conv_transpose(Rel *r) {
  TensorTy none = {DT_i32, 0, NULL};
  return rel_want_rank(r, 0, 4) && rel_want_rank(r, 1, 4) &&
         quant_want_param(r, 3, none, 0, "iu") &&
         want_params(
             r, output_axis(r, attr_str(rel_attrs(r), "kernel_layout")[0] == 'I' ? 'O' : 'I')) &&
         conv_transpose_rel(r);
}

/* ---- records ---- */
#define PRODUCT(id, text, describe, x, w, relation, lowering, v, attributes, ...)                  \
  const OpDef op_##id = {.name = text,                                                             \
                         .doc = describe,                                                          \
                         .args = {{x, "integers", false},                                          \
                                  {w, "integers", false},                                          \
                                  {"input_zero_point", "scalar", false},                           \
                                  {"weight_zero_point", "scalar, or one per output", false},       \
                                  {"input_scale", "scalar; not used", false},                      \
                                  {"weight_scale", "scalar, or one per output; not used", false}}, \
                         .attrs = {attributes},                                                    \
                         .flags = OP_PURE,                                                         \
                         .pattern = PAT_OutFusable,                                                \
                         .rel = relation,                                                          \
                         .lower = lowering,                                                        \
                         .variant = v,                                                             \
                         .not_differentiable = "its operands are quantised",                       \
                         .examples = (const char *const[]){__VA_ARGS__, NULL}}
#define P(...) __VA_ARGS__
#define OUT_DTYPE                                                                                  \
  { "out_dtype", A_DType, "", "element type of the sum and the result; int32 if empty" }
PRODUCT(qnn_dense, "qnn.dense", "Matrix product of quantised data with the transpose of weight.",
        "data", "weight", rel_dense, lower_dense, 0,
        P({"units", A_Int, "None", "rows of weight, for checking"}, OUT_DTYPE),
        "qnn.dense(u8[2,3], i8[4,3], 7, -2, 0.1f, 0.2f)",
        "qnn.dense(i8[?2,5,?3], i8[4,?3], 1, i32[4]<9, 0.1f, f32[4]>0, units=4)",
        "qnn.dense(u8[0,3], i8[4,3], 7, -2, 0.1f, 0.2f)");
PRODUCT(
    qnn_batch_matmul, "qnn.batch_matmul", "Batched matrix product of quantised tensors.", "x", "y",
    rel_batch_matmul, lower_batch_matmul, 0,
    P({"transpose_a", A_Bool, "False", "x is (b, k, m)"},
      {"transpose_b", A_Bool, "False", "y is (b, n, k)"}, OUT_DTYPE),
    "qnn.batch_matmul(u8[2,3,4], i8[2,4,5], 7, -2, 0.1f, 0.2f)",
    "qnn.batch_matmul(i8[?2,4,3], i8[1,5,4], 1, 3, 0.1f, 0.2f, transpose_a=True, transpose_b=True)",
    "qnn.batch_matmul(u8[0,3,4], u8[0,4,5], 7, 2, 0.1f, 0.2f)");
PRODUCT(qnn_conv2d, "qnn.conv2d",
        "Cross-correlation of quantised data, padded with its zero point.", "data", "weight",
        rel_conv, conv_lower, 2, P(CONV_ATTRS("NCHW", "OIHW")),
        "qnn.conv2d(u8[1,3,8,7], i8[4,3,3,2], 7, -2, 0.1f, 0.2f, padding=[1, 1], channels=4, "
        "kernel_size=[3, 2])",
        "qnn.conv2d(i8[1,4,?9,?7], i8[6,2,3,3], 1, i32[6]<9, 0.1f, f32[6]>0, groups=2, strides=[2, "
        "1], dilation=[1, 2], padding=[0, 1, 2, 3])",
        "qnn.conv2d(u8[1,7,5,6], u8[3,3,6,4], 7, 100, 0.1f, 0.2f, data_layout=\"NHWC\", "
        "kernel_layout=\"HWIO\")",
        "qnn.conv2d(u8[0,3,6,6], i8[2,3,3,3], 7, -2, 0.1f, 0.2f)");
PRODUCT(qnn_conv2d_transpose, "qnn.conv2d_transpose", "Transposed convolution of quantised data.",
        "data", "weight", rel_conv_transpose, conv_transpose_lower, 2,
        P(CONV_ATTRS("NCHW", "OIHW"), {"output_padding", A_Ints, "[0]", "extent added at the end"}),
        "qnn.conv2d_transpose(u8[1,3,4,5], i8[3,2,3,2], 7, -2, 0.1f, 0.2f, strides=[2, 1], "
        "padding=[1, 0], output_padding=[1, 0])",
        "qnn.conv2d_transpose(i8[1,4,?4,?5], i8[4,3,2,3], 1, 3, 0.1f, 0.2f, groups=2, dilation=[2, "
        "1])");
