/* op_bits.c -- operators on the bits of integers.  */
#include "stdlib/relkit.h"

static bool rel_bitwise(Rel *r) { return relkit_binary(r, "iub", false); }
static bool rel_shift(Rel *r) { return relkit_binary(r, "iu", false); }
static bool rel_bitwise_not(Rel *r) { return relkit_unary(r, "iub"); }

static const char no_gradient[] = "it takes integers";

#define BITWISE(id, sop, describe)                                                                 \
  BROADCAST_OP(id, sop, OP_TOTAL | OP_COMMUTES, rel_bitwise, relkit_lower_scalar_op, no_gradient,  \
               describe, #id "(i32[2,3], i32[3])", #id "(u8[2,1,4], u8[3,1])",                     \
               #id "(i64[?4], i64[])", #id "(i16[0,3], i16[3])", #id "(bool[4], bool[4])")
#define SHIFT(id, sop, describe)                                                                   \
  BROADCAST_OP(id, sop, 0, rel_shift, relkit_lower_scalar_op, no_gradient, describe,               \
               #id "(i32[2,3], i32[3]<8)", #id "(u8[2,1,4], u8[3,1]<8)",                           \
               #id "(i64[?4], i64[]<60)", #id "(i16[0,3], i16[3]<8)")

BITWISE(bitwise_and, S_and, "Bits set in both.");
BITWISE(bitwise_or, S_or, "Bits set in at least one.");
BITWISE(bitwise_xor, S_xor, "Bits set in exactly one.");
SHIFT(left_shift, S_shl, "lhs shifted left by rhs bits; an amount outside [0, bits) is an error.");
SHIFT(right_shift, S_shr,
      "lhs shifted right by rhs bits, keeping the sign; an amount outside [0, bits) is an error.");

const OpDef op_bitwise_not = {
    .name = "bitwise_not",
    .doc = "All bits inverted; of bool: the opposite.",
    .args = {{"x", "any shape", false}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Elemwise,
    .rel = rel_bitwise_not,
    .lower = relkit_lower_scalar_op,
    .variant = S_not,
    .not_differentiable = no_gradient,
    .examples = (const char *const[]){"bitwise_not(i32[2,3])", "bitwise_not(u8[?4])",
                                      "bitwise_not(i64[0,3])", "bitwise_not(bool[3])", NULL},
};

/* ---- reinterpret --------------------------------------------------------------------- */
static bool rel_reinterpret(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  DType to = opattr(rel_attrs(r), "dtype")->dtype;
  bool of_bool = to != x.dtype && (to == DT_bool || x.dtype == DT_bool);
  if (dtype_bytes(to) != dtype_bytes(x.dtype) || of_bool)
    return rel_error(r, "dtype must be of the width of data, which is %s; found %s",
                     dtype_name(x.dtype), dtype_name(to));
  return rel_result(r, to, x.rank, x.dim);
}
static KE apply_reinterpret(OpK *k, const KE *x, const void *ud) {
  const OpPlan *p = ud;
  DType to = opattr(p->attrs, "dtype")->dtype;
  return kb_type(k->b, x[0]) == to ? x[0] : kb_bitcast(k->b, x[0], to);
}
static bool lower_reinterpret(OpPlan *p) { return relkit_map(p, apply_reinterpret, p); }

const OpDef op_reinterpret = {
    .name = "reinterpret",
    .doc = "The same bits as another element type of equal width.",
    .args = {{"data", "any shape", false}},
    .attrs = {{"dtype", A_DType, NULL, "element type of the result"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Elemwise,
    .rel = rel_reinterpret,
    .lower = lower_reinterpret,
    .not_differentiable = "it changes the meaning of bits",
    .examples = (const char *const[]){"reinterpret(f32[2,3], dtype=\"int32\")",
                                      "reinterpret(u8[?4], dtype=\"int8\")",
                                      "reinterpret(f64[0,3], dtype=\"uint64\")",
                                      "reinterpret(f16[3], dtype=\"bfloat16\")", NULL},
};

/* ---- fixed_point_multiply ------------------------------------------------------------- */
static bool rel_fixed_point(Rel *r) {
  int64_t m = attr_int(rel_attrs(r), "multiplier"), s = attr_int(rel_attrs(r), "shift");
  TensorTy x = rel_tensor(r, 0);
  if (x.dtype != DT_i32) return rel_error(r, "data must be int32, found %s", dtype_name(x.dtype));
  if (m != (int32_t)m) return rel_error(r, "multiplier must fit int32, found %lld", (long long)m);
  if (s < -31 || s > 31)
    return rel_error(r, "shift must be in [-31, 31], found %lld", (long long)s);
  return rel_result(r, x.dtype, x.rank, x.dim);
}
/* In 64 bits, ties upwards: (x * 2^max(s, 0) * m + 2^(t - 1)) >> t, t = 31 + max(-s, 0). */
static KE apply_fixed_point(OpK *k, const KE *x, const void *ud) {
  const OpPlan *p = ud;
  int64_t m = attr_int(p->attrs, "multiplier"), s = attr_int(p->attrs, "shift");
  int64_t left = s > 0 ? s : 0, right = 31 + (s < 0 ? -s : 0);
  KE v = kb_op(k->b, S_shl, kb_cast(k->b, x[0], DT_i64), kb_int(k->b, left), KE_NONE);
  v = kb_add(k->b, kb_mul(k->b, v, kb_int(k->b, m)), kb_int(k->b, (int64_t)1 << (right - 1)));
  return kb_cast(k->b, kb_op(k->b, S_shr, v, kb_int(k->b, right), KE_NONE), DT_i32);
}
static bool lower_fixed_point(OpPlan *p) { return relkit_map(p, apply_fixed_point, p); }

const OpDef op_fixed_point_multiply = {
    .name = "fixed_point_multiply",
    .doc = "round(data * multiplier * 2^(shift - 31)) in 64-bit integers, ties upwards.",
    .args = {{"data", "int32, any shape", false}},
    .attrs = {{"multiplier", A_Int, NULL, "fixed-point factor with 31 fraction bits"},
              {"shift", A_Int, NULL, "power of two, in [-31, 31]"}},
    .flags = OP_PURE,
    .pattern = PAT_Elemwise,
    .rel = rel_fixed_point,
    .lower = lower_fixed_point,
    .not_differentiable = no_gradient,
    .examples =
        (const char *const[]){
            "fixed_point_multiply(i32[2,3]<1000, multiplier=1395864371, shift=1)",
            "fixed_point_multiply(i32[?4]<1000, multiplier=-1395864371, shift=-3)",
            "fixed_point_multiply(i32[0,3], multiplier=1073741824, shift=0)", NULL},
};
