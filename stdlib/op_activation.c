/* op_activation.c -- activations, clip, and what is applied per channel.  */
#include "stdlib/relkit.h"
#include <math.h>

static bool rel_unary_num(Rel *r) { return relkit_unary(r, "fiu"); }
static bool rel_unary_float(Rel *r) { return relkit_unary(r, "f"); }

/* ---- relu, leaky_relu ------------------------------------------------------------------- */
static KE apply_relu(OpK *k, const KE *x, const void *ud) {
  (void)ud;
  return kb_max(k->b, x[0], opk_zero(k, kb_type(k->b, x[0])));
}
static bool lower_relu(OpPlan *p) { return relkit_map(p, apply_relu, p); }

const OpDef op_nn_relu = {
    .name = "nn.relu",
    .doc = "max(data, 0); NaN stays NaN.",
    .args = {{"data", "any shape", false}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Elemwise,
    .rel = rel_unary_num,
    .lower = lower_relu,
    .examples = (const char *const[]){"nn.relu(f32[2,3])", "nn.relu(i8[?4])", "nn.relu(f32[0,3])",
                                      "nn.relu(f16[3])", "nn.relu(f64[])", NULL},
};

/* x > 0 ? x : slope * x */
static KE leak(OpK *k, KE x, KE slope) {
  KE positive = kb_lt(k->b, opk_zero(k, kb_type(k->b, x)), x);
  return kb_select(k->b, positive, x, kb_mul(k->b, slope, x));
}
static KE apply_leaky_relu(OpK *k, const KE *x, const void *ud) {
  const OpPlan *p = ud;
  return leak(k, x[0], kb_float(k->b, kb_type(k->b, x[0]), attr_float(p->attrs, "alpha")));
}
static bool lower_leaky_relu(OpPlan *p) { return relkit_map(p, apply_leaky_relu, p); }

const OpDef op_nn_leaky_relu = {
    .name = "nn.leaky_relu",
    .doc = "data where it is positive, alpha * data elsewhere.",
    .args = {{"data", "any shape", false}},
    .attrs = {{"alpha", A_Float, "0.25", "slope below zero"}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Elemwise,
    .rel = rel_unary_float,
    .lower = lower_leaky_relu,
    .examples =
        (const char *const[]){"nn.leaky_relu(f32[2,3])", "nn.leaky_relu(f64[?4], alpha=0.1)",
                              "nn.leaky_relu(f32[0,3])", "nn.leaky_relu(f16[3])", NULL},
};

/* ---- clip ---------------------------------------------------------------------------------- */
static bool rel_clip(Rel *r) {
  double lo = attr_float(rel_attrs(r), "a_min"), hi = attr_float(rel_attrs(r), "a_max");
  if (isnan(lo) || isnan(hi)) return rel_error(r, "a_min and a_max must be numbers, found NaN");
  return rel_unary_num(r);
}
/* Bounds become elements as casts do: truncated and saturated for integers. */
static KE bound(OpK *k, const char *name, DType t) {
  return kb_cast(k->b, kb_float(k->b, DT_f64, attr_float(k->p->attrs, name)), t);
}
static KE apply_clip(OpK *k, const KE *x, const void *ud) {
  (void)ud;
  DType t = kb_type(k->b, x[0]);
  return kb_clamp(k->b, x[0], bound(k, "a_min", t), bound(k, "a_max", t));
}
static bool lower_clip(OpPlan *p) { return relkit_map(p, apply_clip, p); }

const OpDef op_clip = {
    .name = "clip",
    .doc = "min(max(data, a_min), a_max); NaN stays NaN.",
    .args = {{"data", "any shape", false}},
    .attrs = {{"a_min", A_Float, NULL, "least result"},
              {"a_max", A_Float, NULL, "greatest result"}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Elemwise,
    .rel = rel_clip,
    .lower = lower_clip,
    .examples = (const char *const[]){"clip(f32[2,3], a_min=-0.5, a_max=0.5)",
                                      "clip(i8[?4], a_min=-3, a_max=300)",
                                      "clip(f32[0,3], a_min=0, a_max=6)",
                                      "clip(u8[5], a_min=-1, a_max=100)",
                                      "clip(f16[3], a_min=0, a_max=1)", NULL},
};

/* ---- one value per channel ------------------------------------------------------------------- */
static bool per_channel(Rel *r, const char *classes, const char *what) {
  int axis;
  if (!rel_want_class(r, 0, classes) || !rel_same_dtype(r, 0, 1)) return false;
  if (!rel_want_rank(r, 1, 1)) return false;
  TensorTy x = rel_tensor(r, 0), c = rel_tensor(r, 1);
  if (!rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis)) return false;
  return rel_same_dim(r, x.dim[axis], c.dim[0], what) && rel_result(r, x.dtype, x.rank, x.dim);
}
static bool rel_bias_add(Rel *r) {
  return per_channel(r, "fiu", "the channels of data and the length of bias");
}
static bool rel_prelu(Rel *r) {
  return per_channel(r, "f", "the channels of data and the length of alpha");
}

/* out = f(data, channel value), data seen as (outer, channels, inner). */
static bool map_channels(OpPlan *p, KE (*f)(OpK *k, KE x, KE c)) {
  OpOperand *o = plan_operand(p, 0);
  int axis = relkit_axis(attr_int(p->attrs, "axis"), o->rank);
  Dim dim[3];
  KE i[3];
  relkit_around(p->cx->dims, o->rank, o->dim, axis, dim);
  OpK k = opk_begin(p, p->op->name);
  KTensor x = opk_in_as(&k, 0, 3, dim), c = opk_in_as(&k, 1, 1, &dim[1]);
  KTensor y = opk_out_as(&k, plan_result(p, 0), 3, dim);
  int loops = relkit_loops(&k, 3, y.dim, i);
  kb_store(k.b, y.buf, i, f(&k, kb_load(k.b, x.buf, i), kb_load(k.b, c.buf, &i[1])));
  opk_close(&k, loops);
  return opk_end(&k);
}
static KE add_bias(OpK *k, KE x, KE c) { return kb_add(k->b, x, c); }
static bool lower_bias_add(OpPlan *p) { return map_channels(p, add_bias); }
static bool lower_prelu(OpPlan *p) { return map_channels(p, leak); }

const OpDef op_nn_bias_add = {
    .name = "nn.bias_add",
    .doc = "data plus bias along one axis.",
    .args = {{"data", "any shape", false}, {"bias", "(c), c the extent of data along axis", false}},
    .attrs = {{"axis", A_Int, "1", "the axis of channels"}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Broadcast,
    .rel = rel_bias_add,
    .lower = lower_bias_add,
    .examples =
        (const char *const[]){"nn.bias_add(f32[2,3,4], f32[3])",
                              "nn.bias_add(i32[2,3], i32[3], axis=-1)",
                              "nn.bias_add(f32[?2,3], f32[?3])", "nn.bias_add(f32[0,3], f32[3])",
                              "nn.bias_add(f16[3,2], f16[3], axis=0)", NULL},
};
const OpDef op_nn_prelu = {
    .name = "nn.prelu",
    .doc = "data where it is positive, alpha * data elsewhere, alpha per channel.",
    .args = {{"data", "any shape", false},
             {"alpha", "(c), c the extent of data along axis", false}},
    .attrs = {{"axis", A_Int, "1", "the axis of channels"}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Broadcast,
    .rel = rel_prelu,
    .lower = lower_prelu,
    .examples =
        (const char *const[]){"nn.prelu(f32[2,3,4], f32[3])", "nn.prelu(f64[2,3], f64[3], axis=-1)",
                              "nn.prelu(f32[?2,3], f32[?3])", "nn.prelu(f32[0,3], f32[3])",
                              "nn.prelu(f16[3,2], f16[3], axis=0)", NULL},
};
