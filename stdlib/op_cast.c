/* op_cast.c -- conversion of element types, and the operators that give their
 * operand back: copies, marks that other compilers leave in programs, dropout
 * when nothing is being trained.                                             */
#include "stdlib/relkit.h"

/* ---- cast ---------------------------------------------------------------------------- */
static bool rel_cast(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  return rel_result(r, opattr(rel_attrs(r), "dtype")->dtype, x.rank, x.dim);
}
static bool rel_cast_like(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  return rel_result(r, rel_tensor(r, 1).dtype, x.rank, x.dim);
}
static KE apply_cast(OpK *k, const KE *x, const void *ud) {
  return kb_cast(k->b, x[0], *(const DType *)ud);
}
static bool lower_cast(OpPlan *p) {
  OpRef in = 0, out = plan_result(p, 0);
  DType to = plan_operand(p, out)->dtype;
  if (to == plan_operand(p, in)->dtype) {
    plan_alias(p, out, in);
    return true;
  }
  return opk_map(p, "cast", 1, &in, out, apply_cast, &to);
}

const OpDef op_cast = {
    .name = "cast",
    .doc = "Elements converted: float to integer truncates and saturates, NaN gives 0; integers "
           "wrap; to bool is x != 0.",
    .args = {{"data", "any shape", false}},
    .attrs = {{"dtype", A_DType, NULL, "element type of the result"}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Elemwise,
    .rel = rel_cast,
    .lower = lower_cast,
    .examples =
        (const char *const[]){"cast(f32[2,3], dtype=\"int8\")", "cast(i64[?4], dtype=\"float16\")",
                              "cast(f32[0,3], dtype=\"bool\")", "cast(bool[3], dtype=\"float64\")",
                              "cast(bf16[2], dtype=\"bfloat16\")", "cast(i32[5], dtype=\"uint8\")",
                              NULL},
};
const OpDef op_cast_like = {
    .name = "cast_like",
    .doc = "data with the element type of dtype_like.",
    .args = {{"data", "any shape", false},
             {"dtype_like", "any shape; only its element type counts", false}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Elemwise,
    .rel = rel_cast_like,
    .lower = lower_cast,
    .examples =
        (const char *const[]){"cast_like(f32[2,3], i8[4])", "cast_like(i64[?4], f16[])",
                              "cast_like(f32[0,3], bool[2])", "cast_like(f32[2,3], f64[1])", NULL},
};

/* ---- operators that give their operand back -------------------------------------------- */
#define IDENTITY(id, text, argument, describe, why_no_gradient, ...)                               \
  const OpDef op_##id = {.name = text,                                                             \
                         .doc = describe,                                                          \
                         .args = {{argument, "any shape", false}},                                 \
                         .attrs = {__VA_ARGS__},                                                   \
                         .flags = OP_PURE | OP_TOTAL,                                              \
                         .pattern = PAT_Elemwise,                                                  \
                         .rel = relkit_identity,                                                   \
                         .lower = relkit_lower_alias,                                              \
                         .not_differentiable = why_no_gradient,                                    \
                         .examples = (const char *const[]){text "(f32[2,3])", text "(i8[?4])",     \
                                                           text "(f16[0,3])", NULL}}
#define MARK(id, text, ...) IDENTITY(id, text, "data", "data itself.", NULL, __VA_ARGS__)
#define IGNORED(name)                                                                              \
  { name, A_Ignored, "None", "carries nothing here" }

IDENTITY(copy, "copy", "x", "x itself.", NULL, {0});
IDENTITY(debug, "debug", "program", "program itself; there is no host to call.", NULL,
         IGNORED("debug_func"));
IDENTITY(on_device, "on_device", "body", "body itself; placement is not the program's.", NULL,
         IGNORED("virtual_device"), IGNORED("constrain_result"), IGNORED("constrain_body"));
IDENTITY(stop_gradient, "stop_gradient", "x", "x, through which no gradient flows.",
         "that is what it is for", {0});
MARK(device_copy, "device_copy", IGNORED("src_virtual_device"), IGNORED("dst_virtual_device"),
     IGNORED("src_dev_type"), IGNORED("dst_dev_type"));
MARK(annotation_stop_fusion, "annotation.stop_fusion", {0});
MARK(annotation_cast_hint, "annotation.cast_hint", IGNORED("dtype"));
MARK(annotation_bitpack_start, "annotation.bitpack_start", {0});
MARK(annotation_bitpack_end, "annotation.bitpack_end", {0});
MARK(annotation_checkpoint, "annotation.checkpoint", {0});
MARK(annotation_compiler_begin, "annotation.compiler_begin", IGNORED("compiler"));
MARK(annotation_compiler_end, "annotation.compiler_end", IGNORED("compiler"));

/* ---- dropout ------------------------------------------------------------------------------ */
static bool rel_dropout(Rel *r) {
  double rate = attr_float(rel_attrs(r), "rate");
  if (!(rate >= 0 && rate < 1)) return rel_error(r, "rate must be in [0, 1), found %g", rate);
  if (!rel_want_class(r, 0, "f")) return false;
  TensorTy x = rel_tensor(r, 0), both[2] = {x, x};
  return rel_result_tuple(r, 2, both);
}
static KE apply_one(OpK *k, const KE *x, const void *ud) {
  (void)x;
  return opk_one(k, *(const DType *)ud);
}
static bool lower_dropout(OpPlan *p) {
  DType t = plan_operand(p, 0)->dtype;
  plan_alias(p, plan_result(p, 0), 0);
  return opk_map(p, "ones", 0, NULL, plan_result(p, 1), apply_one, &t);
}
const OpDef op_nn_dropout = {
    .name = "nn.dropout",
    .doc = "data itself and a mask of ones: dropout as it is after training.",
    .args = {{"data", "any shape", false}},
    .attrs = {{"rate", A_Float, "0.5", "the share that training would drop, in [0, 1)"}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Opaque,
    .rel = rel_dropout,
    .lower = lower_dropout,
    .examples = (const char *const[]){"nn.dropout(f32[2,3])", "nn.dropout(f16[?4], rate=0.1)",
                                      "nn.dropout(f32[0,3])", NULL},
};
