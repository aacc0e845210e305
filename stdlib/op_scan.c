/* op_scan.c -- sums and products of prefixes.  */
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
