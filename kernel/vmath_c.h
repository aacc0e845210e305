/* vmath_c.h -- kernel/vmath.h as C functions on numbers, vmath_exp(x) and so on.
 * Truth is a mask of ones, which compilers turn into vectors where they leave
 * conditions alone.  Needs -ffp-contract=off.                                */
#ifndef RVM_KERNEL_VMATH_C_H
#define RVM_KERNEL_VMATH_C_H
#include "base/dtype.h"

typedef float VF;
typedef double VD;
typedef uint32_t VU;
typedef uint64_t VL, VM;
#define VFN(type, name, ...) static inline type vmath_##name(__VA_ARGS__)
#define VCALL(name, ...) vmath_##name(__VA_ARGS__)

#define VC(v) ((float)(v))
#define VCD(v) ((double)(v))
#define VCU(v) ((uint32_t)(v))
#define VCL(v) ((uint64_t)(v))
#define VINF f32_of(0x7f800000)
#define VINF_D f64_of(0x7ff0000000000000)
#define VNAN f32_of(0x7fc00000)
#define VNAN_D f64_of(0x7ff8000000000000)

#define VADD(a, b) ((a) + (b))
#define VSUB(a, b) ((a) - (b))
#define VMUL(a, b) ((a) * (b))
#define VDIV(a, b) ((a) / (b))
#define VNEG(a) (-(a))
#define VABS(a) _Generic((a), float: __builtin_fabsf, double: __builtin_fabs)(a)
#define VWIDE(a) ((double)(a))
#define VNARROW(a) ((float)(a))
#define VCVT(u) ((float)(int32_t)(u))
#define VLOW(u) ((uint32_t)(u))
#define VM_WIDE(m) (0 - (uint64_t)((m) & 1)) /* truth of lanes of 32 bits in those of 64 */

#define VBITS(a) f32_bits(a)
#define VOF(u) f32_of(u)
#define VBITS_D(a) f64_bits(a)
#define VOF_D(u) f64_of(u)
#define VLT(a, b) (0 - (uint32_t)((a) < (b)))
#define VEQ(a, b) (0 - (uint32_t)((a) == (b)))
#define VLT_D(a, b) (0 - (uint64_t)((a) < (b)))
#define VEQ_D(a, b) (0 - (uint64_t)((a) == (b)))
static inline float vmath_pick(uint32_t m, float a, float b) {
  return f32_of((f32_bits(a) & m) | (f32_bits(b) & ~m));
}
static inline double vmath_pick_d(uint64_t m, double a, double b) {
  return f64_of((f64_bits(a) & m) | (f64_bits(b) & ~m));
}
#define VPICK(m, a, b) vmath_pick(m, a, b)
#define VPICK_D(m, a, b) vmath_pick_d(m, a, b)
#define VAND(a, b) ((a) & (b))
#define VOR(a, b) ((a) | (b))
#define VNOT(a) (~(a))

#define UADD(a, b) ((a) + (b))
#define USUB(a, b) ((a) - (b))
#define UAND(a, b) ((a) & (b))
#define UOR(a, b) ((a) | (b))
#define UXOR(a, b) ((a) ^ (b))
#define UODD(a) (0 - ((a) & 1)) /* truth */
#define USHL(a, k) ((uint32_t)(a) << (k))
#define USAR(a, k) ((uint32_t)((int32_t)(a) >> (k)))
#define LADD(a, b) ((a) + (b))
#define LSUB(a, b) ((a) - (b))
#define LAND(a, b) ((a) & (b))
#define LOR(a, b) ((a) | (b))
#define LSHL(a, k) ((uint64_t)(a) << (k))
#define LSAR(a, k) ((uint64_t)((int64_t)(a) >> (k)))
#define LODD(a) (0 - ((a) & 1)) /* truth */
#include "kernel/vmath.h"
#endif
