/* vmath.h -- elementary functions of float32: the one text of their algorithms.
 *
 * It is compiled twice, over two meanings of its words: in kernel/vmath_c.h as C
 * on numbers, for the interpreter, and in codegen/llvm/emit_math.c as builder
 * calls, for machine code.  Every word is one correctly rounded IEEE operation
 * (no fused multiply-add, no reassociation) or works on bits, so the results
 * are the same bits in every engine, at every vector width, on every CPU.
 * There are no branches and no tables: compilers turn loops into vectors.
 *
 * Words: VFN(name) (x) opens a function of one float, VCALL calls it.  VF VD VU VL
 * are float, double and their bits; VM VM truth in lanes of 32 and 64 bits.
 * VADD VSUB VMUL VDIV VABS work on both widths, VLT VEQ on floats (NaN: false),
 * VLTD VEQD on doubles, VPICK* choose (truth, then, else).  U... are 32-bit
 * integers and L... 64-bit ones, wrapping; VSAR shifts in the sign, VLOW takes the low
 * half, VM_WIDE makes truth of 32-bit lanes that of 64-bit ones.
 *
 * Error: at most 4 units in the last place over all arguments (the figures of
 * each are in docs/notes/vmath.md), subnormals and infinities included.
 * Polynomials: minimax fits with coefficients rounded one after the other, the
 * rest being fitted again.  Reductions after Cody and Waite, "Software Manual
 * for the Elementary Functions" (1980), and Payne and Hanek, SIGNUM 18 (1983). */

/* v rounded to an integer, |v| < 2^22 or 2^51: the sum has no bits below 1. */
#define V_SHIFT VC(0x1.8p23)
#define V_SHIFT_D VCD(0x1.8p52)
#define V_P1(x, a, b) VADD(VC(a), VMUL(x, VC(b)))
#define V_D1(x, a, b) VADD(VCD(a), VMUL(x, VCD(b)))

/* With r = y - n ln2, |r| <= ln2 / 2: e^r - 1. */
VFN(VF, exp_tail, VF r) {
  VF z = VMUL(r, r);
  VF even = VADD(V_P1(z, 0x1p-1, 0x1.5554c8p-5), VMUL(VMUL(z, z), VC(0x1.6d7166p-10)));
  VF odd = V_P1(z, 0x1.55549p-3, 0x1.123ad6p-7);
  return VADD(r, VMUL(z, VADD(even, VMUL(r, odd))));
}
/* y - n ln2 of n = rounded y / ln2; n has 8 bits, so the first product is exact. */
VFN(VF, exp_rest, VF y) {
  VF n = VSUB(VADD(VMUL(y, VC(0x1.715476p0)), V_SHIFT), V_SHIFT);
  return VSUB(VSUB(y, VMUL(n, VC(0x1.62e4p-1))), VMUL(n, VC(0x1.7f7d1cp-20)));
}
VFN(VU, exp_scale, VF y) {
  return USUB(VBITS(VADD(VMUL(y, VC(0x1.715476p0)), V_SHIFT)), VBITS(V_SHIFT));
}
VFN(VF, exp2i, VU n) { return VOF(USHL(UADD(n, VCU(127)), 23)); }
VFN(VF, clamp_exp, VF x) { /* NaN stays */
  VF low = VPICK(VLT(x, VC(-104)), VC(-104), x);
  return VPICK(VLT(VC(89), x), VC(89), low);
}

/* 2^n in two factors: only the second product can be inexact. */
VFN(VF, exp, VF x) {
  VF y = VCALL(clamp_exp, x);
  VU n = VCALL(exp_scale, y), half = USAR(n, 1);
  VF p = VADD(VC(1), VCALL(exp_tail, VCALL(exp_rest, y)));
  return VMUL(VMUL(p, VCALL(exp2i, half)), VCALL(exp2i, USUB(n, half)));
}

/* e^y, y in [-104, 0]: the second factor need not depend on n. */
VFN(VF, exp_falling, VF y) {
  VF p = VADD(VC(1), VCALL(exp_tail, VCALL(exp_rest, y)));
  VF s = VCALL(exp2i, UADD(VCALL(exp_scale, y), VCU(64)));
  return VMUL(VMUL(p, s), VC(0x1p-64));
}

/* expm1(y) / 2 = s q + (s - 1/2), s = 2^(n-1): s itself stays finite.  |y| not tiny. */
VFN(VF, expm1_half, VF y) {
  VF q = VCALL(exp_tail, VCALL(exp_rest, y));
  VF s = VCALL(exp2i, USUB(VCALL(exp_scale, y), VCU(1)));
  return VADD(VMUL(s, q), VSUB(s, VC(0x1p-1)));
}
VFN(VF, expm1, VF x) {
  VF y = VPICK(VLT(x, VC(-20)), VC(-20), VCALL(clamp_exp, x));
  return VPICK(VLT(VABS(x), VC(0x1p-30)), x, VMUL(VC(2), VCALL(expm1_half, y)));
}

VFN(VF, sign_from, VF x, VF size) {
  return VOF(UOR(VBITS(size), UAND(VBITS(x), VCU(0x80000000))));
}
/* e / (e + 1) of e = expm1(2 |x|) / 2, 1 from 9.02 on. */
VFN(VF, tanh, VF x) {
  VF a = VABS(x), y = VPICK(VLT(VC(10), a), VC(10), a);
  VF e = VCALL(expm1_half, VMUL(VC(2), y));
  VF t = VCALL(sign_from, x, VDIV(e, VADD(e, VC(1))));
  return VPICK(VLT(a, VC(0x1p-14)), x, t);
}

VFN(VF, sigmoid, VF x) {
  VF y = VNEG(VABS(x)), z = VCALL(exp_falling, VPICK(VLT(y, VC(-104)), VC(-104), y));
  return VDIV(VPICK(VLT(x, VC(0)), z, VC(1)), VADD(VC(1), z));
}

/* 2^f - 1, |f| <= 1/2 */
VFN(VF, exp2_tail, VF f) {
  VF z = VMUL(f, f);
  VF p = VADD(V_P1(f, 0x1.3b2c3ep-7, 0x1.5ef13cp-10), VMUL(z, VC(0x1.42958cp-13)));
  VF q = VADD(V_P1(f, 0x1.ebfbdep-3, 0x1.c6afa4p-5), VMUL(z, p));
  return VADD(VMUL(f, VC(0x1.62e43p-1)), VMUL(z, q));
}
/* log2(1 - erf a), a in [0, 3.93], fitted to what exp2_tail makes of it */
VFN(VF, erf_log, VF a) {
  VF z = VMUL(a, a);
  VF p = VADD(V_P1(a, -0x1.d63e62p-1, -0x1.2fc266p-3),
              VMUL(z, V_P1(a, 0x1.c83578p-6, -0x1.087116p-12)));
  VF q = VADD(V_P1(a, -0x1.e1f998p-10, 0x1.264716p-11), VMUL(z, VC(-0x1.f9f4cep-15)));
  return VADD(VMUL(a, VC(-0x1.a0be84p0)), VMUL(z, VADD(p, VMUL(VMUL(z, z), q))));
}
/* 1 - 2^t, with t = n + f: (1 - 2^n) - 2^n (2^f - 1) keeps its digits where x is small. */
VFN(VF, erf, VF x) {
  VF a = VABS(x), y = VPICK(VLT(VC(3.93), a), VC(3.93), a);
  VF t = VCALL(erf_log, y), shifted = VADD(t, V_SHIFT);
  VF q = VCALL(exp2_tail, VSUB(t, VSUB(shifted, V_SHIFT)));
  VF s = VOF(UADD(USHL(VBITS(shifted), 23), VBITS(VC(1)))); /* 2^n */
  return VCALL(sign_from, x, VSUB(VSUB(VC(1), s), VMUL(s, q)));
}

/* ---- logarithms: x = 2^e m, m in [sqrt 1/2, sqrt 2) ------------------------------------ */
VFN(VU, log_e, VF x) { return USAR(USUB(VBITS(x), VCU(0x3f3504f3)), 23); }
VFN(VF, log_m, VF x) { return VOF(USUB(VBITS(x), USHL(VCALL(log_e, x), 23))); }
/* log(1 + f) */
VFN(VF, log_tail, VF f) {
  VF z = VMUL(f, f), w = VMUL(z, z);
  VF a = VADD(V_P1(f, 0x1.55554ap-2, -0x1.000224p-2),
              VMUL(z, V_P1(f, 0x1.99a5b4p-3, -0x1.547764p-3)));
  VF b = VADD(V_P1(f, 0x1.226b56p-3, -0x1.0ce9e4p-3),
              VMUL(z, V_P1(f, 0x1.07e84ap-3, -0x1.41ef8p-4)));
  VF p = VADD(a, VMUL(w, b));
  return VADD(f, VSUB(VMUL(VMUL(f, z), p), VMUL(VC(0x1p-1), z)));
}
/* What is not a positive number: x against the pole, r the result elsewhere. */
VFN(VF, log_ends, VF x, VF pole, VF r) {
  VF some = VPICK(VLT(x, VINF), r, x); /* inf and NaN are their own */
  VF at = VPICK(VEQ(x, pole), VNEG(VINF), some);
  return VPICK(VLT(x, pole), VNAN, at);
}
/* Subnormals are scaled; the exponent is set right with them. */
VFN(VF, log_scaled, VF x) {
  return VPICK(VLT(x, VC(0x1p-126)), VMUL(x, VC(0x1p23)), x);
}
VFN(VF, log_exponent, VF x) {
  VF e = VCVT(VCALL(log_e, VCALL(log_scaled, x)));
  return VSUB(e, VPICK(VLT(x, VC(0x1p-126)), VC(23), VC(0)));
}
VFN(VF, log_of_m, VF x) {
  return VCALL(log_tail, VSUB(VCALL(log_m, VCALL(log_scaled, x)), VC(1)));
}
VFN(VF, log, VF x) {
  VF e = VCALL(log_exponent, x), l = VCALL(log_of_m, x);
  VF r = VADD(VMUL(e, VC(0x1.62e4p-1)), VADD(l, VMUL(e, VC(0x1.7f7d1cp-20))));
  return VCALL(log_ends, x, VC(0), r);
}
VFN(VF, log2, VF x) {
  VF r = VADD(VCALL(log_exponent, x), VMUL(VCALL(log_of_m, x), VC(0x1.715476p0)));
  return VCALL(log_ends, x, VC(0), r);
}
VFN(VF, log10, VF x) {
  VF e = VCALL(log_exponent, x), l = VMUL(VCALL(log_of_m, x), VC(0x1.bcb7b2p-2));
  VF r = VADD(VMUL(e, VC(0x1.344p-2)), VADD(l, VMUL(e, VC(0x1.3509f8p-18))));
  return VCALL(log_ends, x, VC(0), r);
}
/* log of u = 1 + x rounded, with what rounding lost added to the mantissa. */
VFN(VF, log1p, VF x) {
  VF u = VADD(VC(1), x);
  VF lost = VPICK(VLT(VC(1), x), VSUB(VC(1), VSUB(u, x)), VSUB(x, VSUB(u, VC(1))));
  VU n = VCALL(log_e, u);
  VF s = VPICK(VLT(VC(0x1p24), x), VC(0), VCALL(exp2i, USUB(VCU(0), n)));
  VF l = VCALL(log_tail, VADD(VSUB(VCALL(log_m, u), VC(1)), VMUL(lost, s)));
  VF e = VCVT(n), r = VADD(VMUL(e, VC(0x1.62e4p-1)), VADD(l, VMUL(e, VC(0x1.7f7d1cp-20))));
  return VPICK(VEQ(x, VC(0)), x, VCALL(log_ends, x, VC(-1), r));
}

/* ---- pow, in double -------------------------------------------------------------------- */
/* log2 of a >= 0: 2 atanh(s) / ln2 with s = (m - 1) / (m + 1); to 2^-37. */
VFN(VD, log2_wide, VD a) {
  VL e = LSAR(LSUB(VBITS_D(a), VCL(0x3fe6a09e667f3bcd)), 52);
  VD m = VOF_D(LSUB(VBITS_D(a), LSHL(e, 52)));
  VD s = VDIV(VSUB(m, VCD(1)), VADD(m, VCD(1))), z = VMUL(s, s);
  VD p = VADD(V_D1(z, 0x1.27778160fbd51p-1, 0x1.a58cd560c9c3ep-2),
              VMUL(VMUL(z, z), VCD(0x1.5cf58710afe52p-2)));
  VD q = VADD(V_D1(z, 0x1.71547652bef86p1, 0x1.ec709d10dda0ap-1), VMUL(VMUL(z, z), p));
  VD r = VADD(VSUB(VOF_D(LADD(e, VBITS_D(V_SHIFT_D))), V_SHIFT_D), VMUL(s, q));
  VD some = VPICK_D(VLT_D(a, VINF_D), r, a);
  return VPICK_D(VEQ_D(a, VCD(0)), VNEG(VINF_D), some);
}
/* 2^t; beyond the range of float32 any large or small value. */
VFN(VD, exp2_wide, VD t) {
  VD low = VPICK_D(VLT_D(t, VCD(-200)), VCD(-200), t);
  VD v = VPICK_D(VLT_D(VCD(200), low), VCD(200), low);
  VD shifted = VADD(v, V_SHIFT_D), f = VSUB(v, VSUB(shifted, V_SHIFT_D)), z = VMUL(f, f);
  VD a = VADD(VCD(1), VMUL(f, V_D1(f, 0x1.62e430ce404f8p-1, 0x1.ebfbe0c2dbecep-3)));
  VD b = VADD(V_D1(f, 0x1.c6aecdc961b5fp-5, 0x1.3b29b8a62c7fcp-7),
              VMUL(z, V_D1(f, 0x1.5f48508404c7ep-10, 0x1.44861f6bb3453p-13)));
  VL n = LSUB(VBITS_D(shifted), VBITS_D(V_SHIFT_D));
  return VMUL(VADD(a, VMUL(VMUL(f, z), b)), VOF_D(LSHL(LADD(n, VCL(1023)), 52)));
}
VFN(VD, rounded, VD v) { return VSUB(VADD(v, V_SHIFT_D), V_SHIFT_D); }
VFN(VF, pow, VF fx, VF fy) {
  VD x = VWIDE(fx), y = VWIDE(fy), a = VABS(x), half = VMUL(y, VCD(0x1p-1));
  VM whole = VOR(VEQ_D(VCALL(rounded, y), y), VNOT(VLT_D(VABS(y), VCD(0x1p24))));
  VM odd = VAND(VAND(whole, VLT_D(VABS(y), VCD(0x1p24))),
                VNOT(VEQ_D(VCALL(rounded, half), half)));
  VM one = VOR(VOR(VEQ_D(x, VCD(1)), VEQ_D(y, VCD(0))), VAND(VEQ_D(a, VCD(1)), VEQ_D(y, y)));
  VD t = VPICK_D(one, VCD(0), VMUL(y, VCALL(log2_wide, a)));
  VD r = VCALL(exp2_wide, t);
  VM below = VAND(VLT_D(x, VCD(0)), VLT_D(a, VINF_D));
  VD size = VPICK_D(VAND(below, VNOT(whole)), VNAN_D, r);
  VL sign = LAND(VBITS_D(x), VCL(0x8000000000000000));
  return VNARROW(VPICK_D(odd, VOF_D(LOR(VBITS_D(size), sign)), size));
}

/* ---- sine and cosine: the reduction in double ------------------------------------------- */
/* 2/pi, for a >= 2^76 less a multiple of 2^-51, which makes a multiple of 4 of any such a:
 * in three pieces of 28 bits, whose products with a float are exact, and the rest. */
VFN(VD, circle_piece, VF a, VD small, VD big) {
  VM is_big = VLT(VC(0x1.fffffep75), a);
  return VMUL(VWIDE(a), VPICK_D(VM_WIDE(is_big), big, small));
}
#define V_2_PI(a, p, q) VCALL(circle_piece, a, VCD(p), VCD(q))
VFN(VD, circle_0, VF a) { /* modulo 4 */
  VD y = V_2_PI(a, 0x1.45f306cp-1, 0x1.529fc26p-52);
  return VSUB(y, VSUB(VADD(y, VCD(0x1.8p54)), VCD(0x1.8p54)));
}
VFN(VD, circle_1, VF a) { return V_2_PI(a, 0x1.c9c882ap-29, 0x1.57d1f52p-80); }
VFN(VD, circle_2, VF a) { return V_2_PI(a, 0x1.4fe13a8p-59, 0x1.4ddc0dap-108); }
VFN(VD, circle_3, VF a) { return V_2_PI(a, 0x1.f47d4d377036ep-86, 0x1.6295993c43904p-136); }
/* With a 2/pi = n + f, n in the low bits, and f pi/2.  The sum is below 2^48: n is the
 * nearest but for 1/16, |f| < 0.57.  f is exact to 2^-58, and no float32 is nearer to a
 * multiple of pi/2 than 2^-30. */
VFN(VD, circle_turns, VF a) {
  VD sum = VADD(VADD(VCALL(circle_0, a), VCALL(circle_1, a)), VCALL(circle_2, a));
  return VADD(sum, V_SHIFT_D);
}
VFN(VD, circle_rest, VF a) {
  VD n = VSUB(VCALL(circle_turns, a), V_SHIFT_D);
  VD f = VADD(VADD(VSUB(VCALL(circle_0, a), n), VCALL(circle_1, a)), VCALL(circle_2, a));
  return VMUL(VADD(f, VCALL(circle_3, a)), VCD(0x1.921fb54442d18p0));
}
/* sin(a + quarter pi/2) of a >= 0, its sign turned by `flip`. */
VFN(VF, sine, VF a, VU quarter, VU flip) {
  VU n = UADD(VLOW(VBITS_D(VCALL(circle_turns, a))), quarter);
  VF r = VNARROW(VCALL(circle_rest, a)), z = VMUL(r, r), w = VMUL(z, z);
  VF s = VADD(V_P1(z, -0x1.555532p-3, 0x1.11008cp-7), VMUL(w, VC(-0x1.9740dcp-13)));
  VF c = VADD(V_P1(z, 0x1.55553ep-5, -0x1.6c058ep-10), VMUL(w, VC(0x1.9834dp-16)));
  VF even = VADD(r, VMUL(VMUL(r, z), s));
  VF odd = VADD(VSUB(VC(1), VMUL(z, VC(0x1p-1))), VMUL(w, c));
  VU sign = UXOR(USHL(UAND(n, VCU(2)), 30), flip);
  return VOF(UXOR(VBITS(VPICK(UODD(n), odd, even)), sign));
}
VFN(VU, sign_of, VF x) { return UAND(VBITS(x), VCU(0x80000000)); }
VFN(VF, sin, VF x) { return VCALL(sine, VABS(x), VCU(0), VCALL(sign_of, x)); }
VFN(VF, cos, VF x) { return VCALL(sine, VABS(x), VCU(1), VCU(0)); }
/* In double: sine by cosine, or the reciprocal of that with the other sign. */
VFN(VF, tan, VF x) {
  VF a = VABS(x);
  VL n = VBITS_D(VCALL(circle_turns, a));
  VD r = VCALL(circle_rest, a), z = VMUL(r, r), w = VMUL(z, z);
  VD s = VADD(V_D1(z, -0x1.5555554cb8e09p-3, 0x1.1111089592080p-7),
              VMUL(w, V_D1(z, -0x1.a00f9d13ca876p-13, 0x1.6cd835b4d4bfep-19)));
  VD c = VADD(V_D1(z, -0x1.ffffffd0bb782p-2, 0x1.55553e0c94189p-5),
              VMUL(w, V_D1(z, -0x1.6c087cff92b9bp-10, 0x1.9933d20e6d016p-16)));
  VD even = VMUL(r, VADD(VCD(1), VMUL(z, s))), odd = VADD(VCD(1), VMUL(z, c));
  VD t = VDIV(VPICK_D(LODD(n), VNEG(odd), even), VPICK_D(LODD(n), even, odd));
  return VOF(UXOR(VBITS(VNARROW(t)), VCALL(sign_of, x)));
}
