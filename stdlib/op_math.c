/* op_math.c -- element-wise arithmetic and math functions.
 *
 * Each is one scalar operation of kernel IR (the record's variant) mapped over
 * broadcast operands, except a few that are short expressions of them.       */
#include "stdlib/relkit.h"

static bool rel_unary_float(Rel *r) { return relkit_unary(r, "f"); }
static bool rel_unary_num(Rel *r) { return relkit_unary(r, "fiu"); }
static bool rel_binary_num(Rel *r) { return relkit_binary(r, "fiu", false); }
static bool rel_binary_any(Rel *r) { return relkit_binary(r, "fiub", false); }

/* ---- meaning --------------------------------------------------------------------- */
/* Rounding leaves integers alone. */
static KE apply_rounding(OpK *k, const KE *x, const void *ud) {
  return dtype_is_float(kb_type(k->b, x[0])) ? relkit_apply(k, x, ud) : x[0];
}
/* Truth values add by or and multiply by and; gradients of masks do so. */
static KE apply_ring(OpK *k, const KE *x, const void *ud) {
  if (kb_type(k->b, x[0]) != DT_bool) return relkit_apply(k, x, ud);
  return ((const OpDef *)ud)->variant == S_add ? kb_or(k->b, x[0], x[1]) : kb_and(k->b, x[0], x[1]);
}
static KE apply_trunc_divide(OpK *k, const KE *x, const void *ud) {
  (void)ud;
  KE q = kb_div(k->b, x[0], x[1]);
  return dtype_is_float(kb_type(k->b, q)) ? kb_un(k->b, S_trunc, q) : q;
}

static bool lower_ring(OpPlan *p) { return relkit_map(p, apply_ring, p->op); }
static bool lower_rounding(OpPlan *p) { return relkit_map(p, apply_rounding, p->op); }
static bool lower_trunc_divide(OpPlan *p) { return relkit_map(p, apply_trunc_divide, NULL); }

/* ---- records: one operand -------------------------------------------------------- */
#define UNARY_OP(id, text, sop, relation, lowering, describe, ...)                                 \
  const OpDef op_##id = {.name = text,                                                             \
                         .doc = describe,                                                          \
                         .args = {{"x", "any shape", false}},                                      \
                         .flags = OP_PURE | OP_TOTAL,                                              \
                         .pattern = PAT_Elemwise,                                                  \
                         .rel = relation,                                                          \
                         .lower = lowering,                                                        \
                         .variant = sop,                                                           \
                         .examples = (const char *const[]){__VA_ARGS__, NULL}}
#define MATH(id, sop, describe, range)                                                             \
  UNARY_OP(id, #id, sop, rel_unary_float, relkit_lower_scalar_op, describe,                        \
           #id "(f32[2,3]" range ")", #id "(f64[?4]" range ")", #id "(f32[0,3]" range ")",         \
           #id "(f16[3]" range ")", #id "(f32[]" range ")")
#define NUMBER(id, text, sop, describe)                                                            \
  UNARY_OP(id, text, sop, rel_unary_num, relkit_lower_scalar_op, describe, text "(f32[2,3])",      \
           text "(i8[5])", text "(f64[?4])", text "(f32[0,3])", text "(bf16[3])", text "(i64[])")
#define ROUNDING(id, sop, describe)                                                                \
  UNARY_OP(id, #id, sop, rel_unary_num, lower_rounding, describe, #id "(f32[2,3])",                \
           #id "(i32[5])", #id "(f64[?4])", #id "(f32[0,3])", #id "(f16[3])", #id "(f32[])")

NUMBER(negative, "negative", S_neg, "-x; integers wrap.");
NUMBER(abs, "abs", S_abs, "Absolute value; the lowest integer stays itself.");
NUMBER(sign, "sign", S_sign, "-1, 0 or 1; NaN stays NaN and -0 stays -0.");
ROUNDING(floor, S_floor, "Greatest integer not above x; integers are unchanged.");
ROUNDING(ceil, S_ceil, "Least integer not below x; integers are unchanged.");
ROUNDING(trunc, S_trunc, "x without its fraction; integers are unchanged.");
ROUNDING(round, S_round, "Nearest integer, ties to even; integers are unchanged.");
MATH(sqrt, S_sqrt, "Square root; NaN below zero.", ">0");
MATH(rsqrt, S_rsqrt, "1 / sqrt(x).", ">0");
MATH(exp, S_exp, "e to the power of x.", "");
MATH(log, S_log, "Natural logarithm.", ">0");
MATH(log2, S_log2, "Logarithm to base 2.", ">0");
MATH(log10, S_log10, "Logarithm to base 10.", ">0");
MATH(sin, S_sin, "Sine.", "");
MATH(cos, S_cos, "Cosine.", "");
MATH(tan, S_tan, "Tangent.", "");
MATH(sinh, S_sinh, "Hyperbolic sine.", "");
MATH(cosh, S_cosh, "Hyperbolic cosine.", "");
MATH(tanh, S_tanh, "Hyperbolic tangent.", "");
MATH(asin, S_asin, "Arc sine; NaN outside [-1, 1].", "");
MATH(acos, S_acos, "Arc cosine; NaN outside [-1, 1].", "");
MATH(atan, S_atan, "Arc tangent.", "");
MATH(asinh, S_asinh, "Inverse hyperbolic sine.", "");
MATH(acosh, S_acosh, "Inverse hyperbolic cosine; NaN below 1.", ">0");
MATH(atanh, S_atanh, "Inverse hyperbolic tangent; NaN outside [-1, 1].", "");
MATH(sigmoid, S_sigmoid, "1 / (1 + e^-x).", "");
MATH(erf, S_erf, "Gauss error function.", "");
/* Names that mark where an approximation would do; the exact ones are quick enough. */
MATH(fast_exp, S_exp, "exp, where an approximation would be accepted.", "");
MATH(fast_tanh, S_tanh, "tanh, where an approximation would be accepted.", "");
MATH(fast_erf, S_erf, "erf, where an approximation would be accepted.", "");

/* ---- records: two operands -------------------------------------------------------- */
/* range: of the second operand of the integer example, so that none divides by zero */
#define BINARY_EXAMPLES(id, range)                                                                 \
#id "(f32[2,3], f32[3])", #id "(i32[2,1,4]<9, i32[3,1]" range ")", #id "(f32[?3,2], f32[2])",    \
      #id "(f32[0,3], f32[3])", #id "(f16[2,3], f16[])", #id "(u8[4]<9, u8[4]" range ")"
#define BINARY(id, sop, more, lowering, describe, range)                                           \
  BROADCAST_OP(id, sop, more, rel_binary_num, lowering, NULL, describe, BINARY_EXAMPLES(id, range))

BROADCAST_OP(add, S_add, OP_TOTAL | OP_COMMUTES, rel_binary_any, lower_ring, NULL,
             "Sum; integers wrap; of truth values: or.", BINARY_EXAMPLES(add, "<9"),
             "add(bool[2,3], bool[3])");
BROADCAST_OP(multiply, S_mul, OP_TOTAL | OP_COMMUTES, rel_binary_any, lower_ring, NULL,
             "Product; integers wrap; of truth values: and.", BINARY_EXAMPLES(multiply, "<9"),
             "multiply(bool[2,3], bool[3])");
BINARY(subtract, S_sub, OP_TOTAL, relkit_lower_scalar_op, "Difference; integers wrap.", "<9");
BINARY(divide, S_div, OP_TOTAL_FLOAT, relkit_lower_scalar_op,
       "Quotient; of integers truncated, division by zero is an error.", ">0");
BINARY(floor_divide, S_fdiv, OP_TOTAL_FLOAT, relkit_lower_scalar_op, "floor(lhs / rhs).", ">0");
BINARY(trunc_divide, S_div, OP_TOTAL_FLOAT, lower_trunc_divide, "lhs / rhs without its fraction.",
       ">0");
BINARY(mod, S_mod, OP_TOTAL_FLOAT, relkit_lower_scalar_op,
       "Remainder of the truncated quotient: the sign of lhs.", ">0");
BINARY(trunc_mod, S_mod, OP_TOTAL_FLOAT, relkit_lower_scalar_op,
       "Remainder of the truncated quotient: the sign of lhs.", ">0");
BINARY(floor_mod, S_fmod, OP_TOTAL_FLOAT, relkit_lower_scalar_op,
       "Remainder of the floored quotient: the sign of rhs.", ">0");
BINARY(power, S_pow, OP_TOTAL_FLOAT, relkit_lower_scalar_op,
       "lhs to the power of rhs; integers wrap, a negative power truncates.", "<9");
BROADCAST_OP(maximum, S_max, OP_TOTAL | OP_COMMUTES, rel_binary_any, relkit_lower_scalar_op, NULL,
             "The greater of both; NaN if either is NaN.", "maximum(f32[2,3], f32[3])",
             "maximum(i32[2,1,4]<9, i32[3,1]<9)", "maximum(f32[?3,2], f32[2])",
             "maximum(f32[0,3], f32[3])", "maximum(f16[2,3], f16[])", "maximum(bool[4], bool[4])");
BROADCAST_OP(minimum, S_min, OP_TOTAL | OP_COMMUTES, rel_binary_any, relkit_lower_scalar_op, NULL,
             "The smaller of both; NaN if either is NaN.", "minimum(f32[2,3], f32[3])",
             "minimum(i32[2,1,4]<9, i32[3,1]<9)", "minimum(f32[?3,2], f32[2])",
             "minimum(f32[0,3], f32[3])", "minimum(f16[2,3], f16[])", "minimum(bool[4], bool[4])");
