/* emit_math.c -- kernel/vmath.h as calls of the IR builder: the functions that
 * are computed in line, with the bits that the interpreter gives.           */
#include "codegen/llvm/emit.h"

/* The types as long as the argument: elements or vectors. */
typedef struct {
  Emit *e;
  LLVMBuilderRef b;
  LLVMTypeRef f32, f64, i32, i64, i1;
} Math;
typedef Val VF, VD, VU, VL, VM;
#define VFN(type, name, ...) static type vmath_##name(Math *ctx, __VA_ARGS__)
#define VCALL(name, ...) vmath_##name(ctx, __VA_ARGS__)
#define V_BUILDER ctx->b

/* The constant as C rounds it. */
static Val float_const(const Math *m, double v) {
  return LLVMConstBitCast(int_const(m->i32, f32_bits((float)v)), m->f32);
}
static Val double_const(const Math *m, double v) {
  return LLVMConstBitCast(int_const(m->i64, f64_bits(v)), m->f64);
}
static Val absolute(Math *m, Val a) {
  return emit_intrinsic(m->e, "llvm.fabs", LLVMTypeOf(a), &a, 1);
}

#define VC(v) float_const(ctx, v)
#define VCD(v) double_const(ctx, v)
#define VCU(v) int_const(ctx->i32, (uint32_t)(v))
#define VCL(v) int_const(ctx->i64, (uint64_t)(v))
#define VINF VOF(VCU(0x7f800000))
#define VINF_D VOF_D(VCL(0x7ff0000000000000))
#define VNAN VOF(VCU(0x7fc00000))
#define VNAN_D VOF_D(VCL(0x7ff8000000000000))

#define VADD(x0, x1) LLVMBuildFAdd(V_BUILDER, x0, x1, "")
#define VSUB(x0, x1) LLVMBuildFSub(V_BUILDER, x0, x1, "")
#define VMUL(x0, x1) LLVMBuildFMul(V_BUILDER, x0, x1, "")
#define VDIV(x0, x1) LLVMBuildFDiv(V_BUILDER, x0, x1, "")
#define VNEG(a) LLVMBuildFNeg(V_BUILDER, a, "")
#define VABS(a) absolute(ctx, a)
#define VWIDE(a) LLVMBuildFPExt(V_BUILDER, a, ctx->f64, "")
#define VNARROW(a) LLVMBuildFPTrunc(V_BUILDER, a, ctx->f32, "")
#define VCVT(u) LLVMBuildSIToFP(V_BUILDER, u, ctx->f32, "")

#define VLOW(u) LLVMBuildTrunc(V_BUILDER, u, ctx->i32, "")
#define VM_WIDE(m) (m)

#define VBITS(a) LLVMBuildBitCast(V_BUILDER, a, ctx->i32, "")
#define VOF(u) LLVMBuildBitCast(V_BUILDER, u, ctx->f32, "")
#define VBITS_D(a) LLVMBuildBitCast(V_BUILDER, a, ctx->i64, "")
#define VOF_D(u) LLVMBuildBitCast(V_BUILDER, u, ctx->f64, "")
#define VLT(a, b) LLVMBuildFCmp(V_BUILDER, LLVMRealOLT, a, b, "")
#define VEQ(a, b) LLVMBuildFCmp(V_BUILDER, LLVMRealOEQ, a, b, "")
#define VLT_D VLT
#define VEQ_D VEQ
#define VPICK(m, x0, x1) LLVMBuildSelect(V_BUILDER, m, x0, x1, "")
#define VPICK_D VPICK
#define VAND(x0, x1) LLVMBuildAnd(V_BUILDER, x0, x1, "")
#define VOR(x0, x1) LLVMBuildOr(V_BUILDER, x0, x1, "")
#define VNOT(a) LLVMBuildNot(V_BUILDER, a, "")

#define UADD(x0, x1) LLVMBuildAdd(V_BUILDER, x0, x1, "")
#define USUB(x0, x1) LLVMBuildSub(V_BUILDER, x0, x1, "")
#define UAND VAND
#define UOR VOR
#define UXOR(x0, x1) LLVMBuildXor(V_BUILDER, x0, x1, "")
#define UODD(a) LLVMBuildTrunc(V_BUILDER, a, ctx->i1, "")
#define USHL(a, k) LLVMBuildShl(V_BUILDER, a, VCU(k), "")
#define USAR(a, k) LLVMBuildAShr(V_BUILDER, a, VCU(k), "")
#define LADD UADD
#define LSUB USUB
#define LAND VAND
#define LOR VOR
#define LSHL(a, k) LLVMBuildShl(V_BUILDER, a, VCL(k), "")
#define LSAR(a, k) LLVMBuildAShr(V_BUILDER, a, VCL(k), "")
#define LODD(a) LLVMBuildTrunc(V_BUILDER, a, ctx->i1, "")
#include "kernel/vmath.h"

typedef Val (*Unary)(Math *m, Val x);
static const Unary unary[S_COUNT] = {
    [S_exp] = vmath_exp,         [S_expm1] = vmath_expm1, [S_tanh] = vmath_tanh,
    [S_sigmoid] = vmath_sigmoid, [S_erf] = vmath_erf,     [S_log] = vmath_log,
    [S_log2] = vmath_log2,       [S_log10] = vmath_log10, [S_log1p] = vmath_log1p,
    [S_sin] = vmath_sin,         [S_cos] = vmath_cos,     [S_tan] = vmath_tan};

bool math_in_line(SOp op, DType t) {
  return (unary[op] || op == S_pow) && dtype_is_float(t) && t != DT_f64;
}

Val emit_math(Emit *e, SOp op, Val x, Val y) {
  Math m = {.e = e, .b = e->b, .f32 = LLVMTypeOf(x)};
  if (m.f32 != shaped(LLVMFloatTypeInContext(e->c), x)) return NULL;
  m.f64 = shaped(LLVMDoubleTypeInContext(e->c), x);
  m.i32 = shaped(int_type(e, 32), x);
  m.i64 = shaped(int_type(e, 64), x);
  m.i1 = shaped(int_type(e, 1), x);
  if (op == S_pow) return vmath_pow(&m, x, y);
  return unary[op] ? unary[op](&m, x) : NULL;
}
