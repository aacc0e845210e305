/* emit_op.c -- scalar operations and casts, of elements and of vectors.
 *
 * Meaning as in kernel/scalar.c; functions of libm are called under names of our own, so that
 * LLVM does not replace them by others that round differently.  What is a call of one element is
 * made lane by lane.                                                         */
#include <math.h>
#include "codegen/llvm/emit.h"

/* ---- floats -------------------------------------------------------------------------- */
static const char *const math_name[S_COUNT] = {
    [S_mod] = "fmod",    [S_pow] = "pow",   [S_atan2] = "atan2", [S_exp] = "exp",
    [S_log] = "log",     [S_log2] = "log2", [S_log10] = "log10", [S_log1p] = "log1p",
    [S_expm1] = "expm1", [S_sin] = "sin",   [S_cos] = "cos",     [S_tan] = "tan",
    [S_sinh] = "sinh",   [S_cosh] = "cosh", [S_tanh] = "tanh",   [S_asin] = "asin",
    [S_acos] = "acos",   [S_atan] = "atan", [S_asinh] = "asinh", [S_acosh] = "acosh",
    [S_atanh] = "atanh", [S_erf] = "erf"};
static const char *const intrinsic_name[S_COUNT] = {
    [S_abs] = "llvm.fabs",    [S_floor] = "llvm.floor",     [S_ceil] = "llvm.ceil",
    [S_trunc] = "llvm.trunc", [S_round] = "llvm.roundeven", [S_sqrt] = "llvm.sqrt"};

static Val call_math(Emit *e, SOp op, LLVMTypeRef t, Val x, Val y) {
  char name[32] = "rvm.";
  strncat(name, math_name[op], 20);
  if (LLVMGetTypeKind(t) == LLVMFloatTypeKind) strncat(name, "f", 2);
  return emit_call(e, name, t, (Val[]){x, y}, (unsigned)sop_info[op].arity, true);
}

/* The remainder with the sign of b. */
static Val float_rem(Emit *e, LLVMTypeRef t, Val a, Val b) {
  Val zero = LLVMConstNull(t), r = call_math(e, S_mod, t, a, b);
  Val signed_zero = emit_intrinsic(e, "llvm.copysign", t, (Val[]){r, b}, 2);
  Val differ = LLVMBuildXor(e->b, LLVMBuildFCmp(e->b, LLVMRealOLT, r, zero, ""),
                            LLVMBuildFCmp(e->b, LLVMRealOLT, b, zero, ""), "");
  Val s = LLVMBuildSelect(e->b, differ, LLVMBuildFAdd(e->b, r, b, ""), r, "");
  return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOEQ, r, zero, ""), signed_zero, s, "");
}

static Val float_sign(Emit *e, LLVMTypeRef t, Val a) {
  Val zero = LLVMConstNull(t);
  Val down = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOLT, a, zero, ""),
                             LLVMConstReal(t, -1), a, "");
  return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOGT, a, zero, ""), LLVMConstReal(t, 1),
                         down, "");
}

static Val float_class(Emit *e, SOp op, LLVMTypeRef t, Val x) {
  if (op == S_isnan) return LLVMBuildFCmp(e->b, LLVMRealUNO, x, x, "");
  Val m = emit_intrinsic(e, "llvm.fabs", t, &x, 1);
  Val inf = LLVMConstReal(t, __builtin_inf());
  return LLVMBuildFCmp(e->b, op == S_isinf ? LLVMRealOEQ : LLVMRealOLT, m, inf, "");
}

/* Is x one number in all lanes, known now, neither NaN nor -0? */
static bool known_number(Val x, double *number) {
  LLVMBool inexact;
  if (!LLVMIsAConstant(x)) return false;
  Val one = x;
  for (unsigned i = is_vector(x) ? LLVMGetVectorSize(LLVMTypeOf(x)) : 0; i-- > 0;) {
    Val lane = LLVMGetAggregateElement(x, i);
    if (one != x && lane != one) return false;
    one = lane;
  }
  if (!one || !LLVMIsAConstantFP(one)) return false;
  *number = LLVMConstRealGetDouble(one, &inexact);
  return *number == *number && (*number != 0 || !signbit(*number));
}

/* With a number: the comparison fails for NaN and for equals, and then gives x;
 * only for a maximum has +0 to be put in the place of -0 (by adding it). */
static Val min_max_number(Emit *e, SOp op, Val x, Val c, double number) {
  LLVMRealPredicate before = op == S_min ? LLVMRealOLT : LLVMRealOGT;
  Val r = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, before, c, x, ""), c, x, "");
  if (number != 0 || op == S_min) return r;
  return LLVMBuildFAdd(e->b, r, LLVMConstNull(LLVMTypeOf(x)), "");
}

/* NaN propagates and -0 comes before 0.  Compares and selects, not
 * llvm.minimum and maximum: with those a vectorised minimum was seen to give -0
 * where NaN was due (the cause was not isolated). */
static Val float_min_max(Emit *e, SOp op, LLVMTypeRef t, Val x, Val y) {
  LLVMBuilderRef b = e->b;
  double number;
  if (known_number(x, &number)) return min_max_number(e, op, y, x, number);
  if (known_number(y, &number)) return min_max_number(e, op, x, y, number);
  LLVMTypeRef one = is_vector(x) ? LLVMGetElementType(t) : t;
  LLVMTypeRef bits = shaped(int_type(e, one == LLVMDoubleTypeInContext(e->c) ? 64 : 32), x);
  LLVMRealPredicate before = op == S_min ? LLVMRealOLT : LLVMRealOGT;
  Val r = LLVMBuildSelect(b, LLVMBuildFCmp(b, before, x, y, ""), x, y, "");
  Val p = LLVMBuildBitCast(b, x, bits, ""), q = LLVMBuildBitCast(b, y, bits, "");
  Val same = op == S_min ? LLVMBuildOr(b, p, q, "") : LLVMBuildAnd(b, p, q, "");
  same = LLVMBuildBitCast(b, same, t, "");
  r = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOEQ, x, y, ""), same, r, "");
  Val nan = LLVMBuildFCmp(b, LLVMRealUNO, x, y, "");
  return LLVMBuildSelect(b, nan, LLVMBuildFAdd(b, x, y, ""), r, "");
}

/* Of z = e^-|x|: (x < 0 ? z : 1) / (1 + z), as kernel/scalar.c has it. */
static Val float_sigmoid(Emit *e, LLVMTypeRef t, Val x) {
  Val one = LLVMConstReal(t, 1), size = emit_intrinsic(e, "llvm.fabs", t, &x, 1);
  Val z = call_math(e, S_exp, t, LLVMBuildFNeg(e->b, size, ""), NULL);
  Val falls = LLVMBuildFCmp(e->b, LLVMRealOLT, x, LLVMConstNull(t), "");
  Val above = LLVMBuildSelect(e->b, falls, z, one, "");
  return LLVMBuildFDiv(e->b, above, LLVMBuildFAdd(e->b, one, z, ""), "");
}

static Val float_op(Emit *e, SOp op, Val x, Val y) {
  LLVMTypeRef t = LLVMTypeOf(x);
  Val one = LLVMConstReal(t, 1), v = emit_math(e, op, x, y);
  if (v) return v;
  switch ((int)op) {
  case S_add: return LLVMBuildFAdd(e->b, x, y, "");
  case S_sub: return LLVMBuildFSub(e->b, x, y, "");
  case S_mul: return LLVMBuildFMul(e->b, x, y, "");
  case S_div: return LLVMBuildFDiv(e->b, x, y, "");
  case S_fdiv: v = LLVMBuildFDiv(e->b, x, y, ""); return emit_intrinsic(e, "llvm.floor", t, &v, 1);
  case S_fmod: return float_rem(e, t, x, y);
  case S_min:
  case S_max: return float_min_max(e, op, t, x, y);
  case S_neg: return LLVMBuildFNeg(e->b, x, "");
  case S_sign: return float_sign(e, t, x);
  case S_rsqrt: return LLVMBuildFDiv(e->b, one, emit_intrinsic(e, "llvm.sqrt", t, &x, 1), "");
  case S_sigmoid: return float_sigmoid(e, t, x);
  case S_eq: return LLVMBuildFCmp(e->b, LLVMRealOEQ, x, y, "");
  case S_ne: return LLVMBuildFCmp(e->b, LLVMRealUNE, x, y, "");
  case S_lt: return LLVMBuildFCmp(e->b, LLVMRealOLT, x, y, "");
  case S_le: return LLVMBuildFCmp(e->b, LLVMRealOLE, x, y, "");
  case S_isnan:
  case S_isinf:
  case S_isfin: return float_class(e, op, t, x);
  default: break;
  }
  if (intrinsic_name[op])
    return emit_intrinsic(e, intrinsic_name[op], t, (Val[]){x, y}, (unsigned)sop_info[op].arity);
  return call_math(e, op, t, x, y);
}

/* ---- integers ------------------------------------------------------------------------ */
static Val is_value(Emit *e, Val x, int64_t v) {
  return LLVMBuildICmp(e->b, LLVMIntEQ, x, int_const(LLVMTypeOf(x), (uint64_t)v), "");
}

static Val int_divide(Emit *e, SOp op, bool sign, Val x, Val y) {
  LLVMTypeRef t = LLVMTypeOf(x);
  Val zero = LLVMConstInt(t, 0, false), one = LLVMConstInt(t, 1, false);
  if (!LLVMIsAConstantInt(y) || LLVMConstIntGetZExtValue(y) == 0)
    fail_unless(e, LLVMBuildICmp(e->b, LLVMIntNE, y, zero, ""), K_DIV_ZERO, 0);
  bool quotient = op == S_div || op == S_fdiv;
  if (!sign) return quotient ? LLVMBuildUDiv(e->b, x, y, "") : LLVMBuildURem(e->b, x, y, "");
  Val minus = is_value(e, y, -1), d = LLVMBuildSelect(e->b, minus, one, y, "");
  Val q = LLVMBuildSDiv(e->b, x, d, "");
  Val r = LLVMBuildSRem(e->b, x, d, ""); /* by 1 instead of -1: 0 as well  */
  Val differ = LLVMBuildICmp(e->b, LLVMIntSLT, LLVMBuildXor(e->b, r, y, ""), zero, "");
  Val down = LLVMBuildAnd(e->b, LLVMBuildICmp(e->b, LLVMIntNE, r, zero, ""), differ, "");
  q = LLVMBuildSelect(e->b, minus, LLVMBuildNeg(e->b, x, ""), q, "");
  switch ((int)op) {
  case S_div: return q;
  case S_fdiv: return LLVMBuildSub(e->b, q, LLVMBuildZExt(e->b, down, t, ""), "");
  case S_mod: return r;
  default: return LLVMBuildSelect(e->b, down, LLVMBuildAdd(e->b, r, y, ""), r, "");
  }
}

static Val int_shift(Emit *e, SOp op, bool sign, Val x, Val y) {
  LLVMTypeRef t = LLVMTypeOf(x);
  Val bits = LLVMConstInt(t, LLVMGetIntTypeWidth(t), false);
  fail_unless(e, LLVMBuildICmp(e->b, LLVMIntULT, y, bits, ""), K_BAD_SHIFT, 0);
  if (op == S_shl) return LLVMBuildShl(e->b, x, y, "");
  return sign ? LLVMBuildAShr(e->b, x, y, "") : LLVMBuildLShr(e->b, x, y, "");
}

static Val widen(Emit *e, Val x, bool sign, LLVMTypeRef t) {
  if (LLVMTypeOf(x) == t) return x;
  return sign ? LLVMBuildSExt(e->b, x, t, "") : LLVMBuildZExt(e->b, x, t, "");
}

static Val int_pow(Emit *e, bool sign, Val x, Val y) {
  LLVMTypeRef t = LLVMTypeOf(x), i64 = int_type(e, 64);
  if (sign) {
    Val down = LLVMBuildICmp(e->b, LLVMIntSLT, y, LLVMConstNull(t), "");
    fail_unless(e, LLVMBuildNot(e->b, LLVMBuildAnd(e->b, down, is_value(e, x, 0), ""), ""),
                K_DIV_ZERO, 0);
  }
  Val arg[2] = {widen(e, x, sign, i64), widen(e, y, sign, i64)};
  Val r = emit_call(e, sign ? "rvm.ipow" : "rvm.upow", i64, arg, 2, true);
  return LLVMTypeOf(r) == t ? r : LLVMBuildTrunc(e->b, r, t, "");
}

static Val int_pick(Emit *e, LLVMIntPredicate p, Val x, Val y) {
  return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, p, x, y, ""), x, y, "");
}

static Val int_sign(Emit *e, bool sign, Val x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  Val some = LLVMBuildZExt(e->b, LLVMBuildICmp(e->b, LLVMIntNE, x, LLVMConstNull(t), ""), t, "");
  if (!sign) return some;
  Val down = LLVMBuildICmp(e->b, LLVMIntSLT, x, LLVMConstNull(t), "");
  return LLVMBuildSelect(e->b, down, LLVMConstAllOnes(t), some, "");
}

static Val int_abs(Emit *e, bool sign, Val x) {
  if (!sign) return x;
  Val down = LLVMBuildICmp(e->b, LLVMIntSLT, x, LLVMConstNull(LLVMTypeOf(x)), "");
  return LLVMBuildSelect(e->b, down, LLVMBuildNeg(e->b, x, ""), x, "");
}

static Val int_op(Emit *e, SOp op, bool sign, Val x, Val y) {
  LLVMBuilderRef b = e->b;
  LLVMTypeRef i1 = shaped(int_type(e, 1), x);
  switch ((int)op) {
  case S_add: return LLVMBuildAdd(b, x, y, "");
  case S_sub: return LLVMBuildSub(b, x, y, "");
  case S_mul: return LLVMBuildMul(b, x, y, "");
  case S_div:
  case S_fdiv:
  case S_mod:
  case S_fmod: return int_divide(e, op, sign, x, y);
  case S_min: return int_pick(e, sign ? LLVMIntSLT : LLVMIntULT, x, y);
  case S_max: return int_pick(e, sign ? LLVMIntSGT : LLVMIntUGT, x, y);
  case S_pow: return int_pow(e, sign, x, y);
  case S_and: return LLVMBuildAnd(b, x, y, "");
  case S_or: return LLVMBuildOr(b, x, y, "");
  case S_xor: return LLVMBuildXor(b, x, y, "");
  case S_shl:
  case S_shr: return int_shift(e, op, sign, x, y);
  case S_eq: return LLVMBuildICmp(b, LLVMIntEQ, x, y, "");
  case S_ne: return LLVMBuildICmp(b, LLVMIntNE, x, y, "");
  case S_lt: return LLVMBuildICmp(b, sign ? LLVMIntSLT : LLVMIntULT, x, y, "");
  case S_le: return LLVMBuildICmp(b, sign ? LLVMIntSLE : LLVMIntULE, x, y, "");
  case S_neg: return LLVMBuildNeg(b, x, "");
  case S_not: return LLVMBuildNot(b, x, "");
  case S_abs: return int_abs(e, sign, x);
  case S_sign: return int_sign(e, sign, x);
  case S_isfin: return int_const(i1, 1);
  default: return LLVMConstNull(i1); /* isnan, isinf */
  }
}

/* Made of instructions, without calls and without traps. */
bool op_in_lanes(SOp op, DType t) {
  if (math_in_line(op, t)) return true;
  if (dtype_is_float(t)) return !math_name[op] && op != S_fmod && op != S_sigmoid;
  switch ((int)op) {
  case S_div:
  case S_fdiv:
  case S_mod:
  case S_fmod:
  case S_pow:
  case S_shl:
  case S_shr: return false;
  default: return true;
  }
}

static Val op_by_lanes(Emit *e, SOp op, DType t, Val x, Val y) {
  Val v = NULL;
  unsigned n = LLVMGetVectorSize(LLVMTypeOf(x));
  for (unsigned i = 0; i < n; i++)
    v = with_lane(e, v, emit_op(e, op, t, lane_of(e, x, i), lane_of(e, y, i), NULL), i, n);
  return v;
}

Val emit_op(Emit *e, SOp op, DType t, Val x, Val y, Val z) {
  if (is_vector(x) && !op_in_lanes(op, t)) return op_by_lanes(e, op, t, x, y);
  if (op == S_select) return LLVMBuildSelect(e->b, x, y, z, "");
  if (!dtype_is_float(t)) return int_op(e, op, dtype_is_signed(t), x, y);
  Val v = float_op(e, op, x, y);
  return sop_info[op].result == 'b' ? v : emit_round_half(e, t, v);
}

/* ---- casts --------------------------------------------------------------------------- */
static Val float_to_int(Emit *e, Val x, DType to) {
  LLVMTypeRef t[2] = {shaped(reg_type(e, to), x), LLVMTypeOf(x)};
  if (to == DT_bool) return LLVMBuildFCmp(e->b, LLVMRealUNE, x, LLVMConstNull(t[1]), "");
  const char *name = dtype_is_signed(to) ? "llvm.fptosi.sat" : "llvm.fptoui.sat";
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  Val fn = LLVMGetIntrinsicDeclaration(e->m, id, t, 2);
  return LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->c, id, t, 2), fn, &x, 1, "");
}

/* Halves of what float32 cannot hold exactly would be rounded twice. */
static Val to_half(Emit *e, Val x, DType from, DType to) {
  if (is_vector(x)) {
    Val v = NULL;
    unsigned n = LLVMGetVectorSize(LLVMTypeOf(x));
    for (unsigned i = 0; i < n; i++)
      v = with_lane(e, v, to_half(e, lane_of(e, x, i), from, to), i, n);
    return v;
  }
  Val arg[3] = {x, LLVMConstInt(int_type(e, 32), (unsigned)from, false),
                LLVMConstInt(int_type(e, 32), (unsigned)to, false)};
  if (from == DT_f64)
    arg[0] = LLVMBuildBitCast(e->b, x, int_type(e, 64), "");
  else
    arg[0] = widen(e, x, dtype_is_signed(from), int_type(e, 64));
  return emit_call(e, "rvm.to_half", LLVMFloatTypeInContext(e->c), arg, 3, true);
}

static Val to_float(Emit *e, Val x, DType from, DType to) {
  LLVMTypeRef t = shaped(reg_type(e, to), x);
  bool half = to == DT_f16 || to == DT_bf16;
  if (dtype_is_float(from)) {
    if (from == DT_f64) return half ? to_half(e, x, from, to) : LLVMBuildFPTrunc(e->b, x, t, "");
    if (to == DT_f64) return LLVMBuildFPExt(e->b, x, t, "");
    return emit_round_half(e, to, x);
  }
  if (half && dtype_bytes(from) >= 4) return to_half(e, x, from, to);
  Val v = dtype_is_signed(from) ? LLVMBuildSIToFP(e->b, x, t, "") : LLVMBuildUIToFP(e->b, x, t, "");
  return emit_round_half(e, to, v);
}

Val emit_cast(Emit *e, Val x, DType from, DType to) {
  if (from == to) return x;
  if (dtype_is_float(to)) return to_float(e, x, from, to);
  if (dtype_is_float(from)) return float_to_int(e, x, to);
  if (to == DT_bool) return LLVMBuildICmp(e->b, LLVMIntNE, x, LLVMConstNull(LLVMTypeOf(x)), "");
  LLVMTypeRef t = shaped(reg_type(e, to), x);
  if (from != DT_bool && dtype_bytes(to) < dtype_bytes(from)) return LLVMBuildTrunc(e->b, x, t, "");
  return widen(e, x, dtype_is_signed(from), t);
}
