/* op_scan.c -- sums and products of prefixes, recurrences of one step.  */
#include "stdlib/relkit.h"

static DType scan_type(DType x, const OpAttrs *a) {
  const OpAttrVal *v = opattr(a, "dtype");
  if (!v->none) return v->dtype;
  return x == DT_bool ? DT_i32 : x;
}

static bool rel_scan(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  const OpAttrVal *axis = opattr(rel_attrs(r), "axis");
  DType t = scan_type(x.dtype, rel_attrs(r));
  if (t == DT_bool) return rel_error(r, "dtype must be a number, found bool");
  int a;
  if (axis->none) {
    Dim all = relkit_product(rel_dims(r), x.rank, x.dim);
    return rel_result(r, t, 1, &all);
  }
  return rel_axis(r, "axis", axis->i, x.rank, &a) && rel_result(r, t, x.rank, x.dim);
}

static bool lower_scan(OpPlan *p) {
  OpOperand *o = plan_operand(p, 0);
  DimTab *t = p->cx->dims;
  const OpAttrVal *axis = opattr(p->attrs, "axis");
  Dim dim[3] = {dim_const(t, 1), relkit_product(t, o->rank, o->dim), dim_const(t, 1)};
  if (!axis->none) relkit_around(t, o->rank, o->dim, relkit_axis(axis->i, o->rank), dim);
  OpK k = opk_begin(p, p->op->name);
  KB *b = k.b;
  KTensor x = opk_in_as(&k, 0, 3, dim), y = opk_out_as(&k, plan_result(p, 0), 3, dim);
  KE outer[2] = {y.dim[0], y.dim[2]}, at[2], so_far;
  DType acc = relkit_acc(y.dtype);
  SOp op = (SOp)p->op->variant;
  int loops = relkit_loops(&k, 2, outer, at);
  KE first = op == S_mul ? opk_one(&k, acc) : opk_zero(&k, acc);
  KE j = kb_for_carry(b, y.dim[1], 1, &first, &so_far), i[3] = {at[0], j, at[1]};
  KE v = kb_cast(b, kb_cast(b, kb_load(b, x.buf, i), y.dtype), acc);
  KE next = kb_op(b, op, so_far, v, KE_NONE);
  KE shown = attr_bool(p->attrs, "exclusive") ? so_far : next;
  kb_store(b, y.buf, i, kb_cast(b, shown, y.dtype));
  kb_end_carry(b, &next);
  opk_close(&k, loops);
  return opk_end(&k);
}

#define SCAN(id, sop, describe)                                                                    \
  const OpDef op_##id = {                                                                          \
      .name = #id,                                                                                 \
      .doc = describe,                                                                             \
      .args = {{"data", "any shape", false}},                                                      \
      .attrs = {{"axis", A_Int, "None", "the axis; None: data is flattened first"},                \
                {"dtype", A_DType, "None", "element type; None: that of data, int32 for bool"},    \
                {"exclusive", A_Bool, "False", "leave out the element itself"}},                   \
      .flags = OP_PURE | OP_TOTAL_STATIC,                                                          \
      .pattern = PAT_Opaque,                                                                       \
      .rel = rel_scan,                                                                             \
      .lower = lower_scan,                                                                         \
      .variant = sop,                                                                              \
      .examples = (const char *const[]){#id "(f32[2,3,4], axis=1)", #id "(i8[3,4]<9)",             \
                                        #id "(f32[?5,3], axis=-1, exclusive=True)",                \
                                        #id "(f32[0,3], axis=0)",                                  \
                                        #id "(i32[4]<9, axis=0, dtype=\"float32\")",               \
                                        #id "(f16[7], axis=0)", #id "(bool[4])", NULL}}
SCAN(cumsum, S_add, "Sum of the elements up to each; halves are added in float32.");
SCAN(cumprod, S_mul, "Product of the elements up to each; halves are multiplied in float32.");

/* ---- y_k = factor_k y_{k-1} + data_k ------------------------------------------------- */

static bool rel_recurrence(Rel *r) {
  TensorTy f = rel_tensor(r, 0), x = rel_tensor(r, 1);
  int axis;
  if (!rel_want_class(r, 0, "f") || !rel_same_dtype(r, 0, 1) || !rel_want_rank(r, 1, f.rank) ||
      !rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), f.rank, &axis))
    return false;
  for (int i = 0; i < f.rank; i++)
    if (!rel_same_dim(r, f.dim[i], x.dim[i], "the extents of factor and data")) return false;
  return rel_result(r, x.dtype, x.rank, x.dim);
}

static bool lower_recurrence(OpPlan *p) {
  OpOperand *o = plan_operand(p, 1);
  Dim dim[3];
  relkit_around(p->cx->dims, o->rank, o->dim, relkit_axis(attr_int(p->attrs, "axis"), o->rank),
                dim);
  OpK k = opk_begin(p, p->op->name);
  KB *b = k.b;
  KTensor f = opk_in_as(&k, 0, 3, dim), x = opk_in_as(&k, 1, 3, dim),
          y = opk_out_as(&k, plan_result(p, 0), 3, dim);
  KE outer[2] = {y.dim[0], y.dim[2]}, at[2], so_far;
  DType acc = relkit_acc(y.dtype);
  int loops = relkit_loops(&k, 2, outer, at);
  KE none = opk_zero(&k, acc);
  KE j = kb_for_carry(b, y.dim[1], 1, &none, &so_far), i[3] = {at[0], j, at[1]};
  KE next = kb_add(b, kb_mul(b, kb_cast(b, kb_load(b, f.buf, i), acc), so_far),
                   kb_cast(b, kb_load(b, x.buf, i), acc));
  KE shown = attr_bool(p->attrs, "exclusive") ? so_far : next;
  kb_store(b, y.buf, i, kb_cast(b, shown, y.dtype));
  kb_end_carry(b, &next);
  opk_close(&k, loops);
  return opk_end(&k);
}

const OpDef op_linear_recurrence = {
    .name = "linear_recurrence",
    .doc = "y[k] = factor[k] * y[k - 1] + data[k] along an axis, from y[-1] = 0; in float32 for "
           "halves.",
    .args = {{"factor", "any shape", false}, {"data", "the same shape", false}},
    .attrs = {{"axis", A_Int, "0", "the axis"},
              {"exclusive", A_Bool, "False", "give y[k - 1] in place of y[k]"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Opaque,
    .rel = rel_recurrence,
    .lower = lower_recurrence,
    .examples = (const char *const[]){
        "linear_recurrence(f32[2,3,4], f32[2,3,4], axis=1)",
        "linear_recurrence(f64[?5,3], f64[?5,3], axis=-1, exclusive=True)",
        "linear_recurrence(f32[0,3], f32[0,3])", "linear_recurrence(f16[7], f16[7])",
        "linear_recurrence(f32[4], f32[4], exclusive=True)", NULL}};
