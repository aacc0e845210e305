/* interp_lanes.c -- operations on strips of lanes.
 *
 * One short loop per operation and lane class, written so that a compiler can
 * vectorise it; a scalar is a strip of one.  The results are those of
 * scalar_eval and scalar_cast, which also serve, lane by lane, the operations
 * that are not worth a loop of their own.  Halves are float lanes: the same
 * loops, and the caller rounds the result.  In each loop the output may be
 * exactly one of the inputs, never a shifted one.                            */
#include "kernel/interp_priv.h"
#include "kernel/vmath_c.h"
#include <math.h>

/* clang checks for overlap by itself, and complains where it is told not to. */
#if defined(__GNUC__) && !defined(__clang__)
#define LANES _Pragma("GCC ivdep")
#else
#define LANES
#endif

/* ---- lanes and canonical bits ------------------------------------------------ */
uint64_t lane_from_bits(uint64_t bits, DType t) {
  if (t == DT_f16) return f32_bits(f16_to_f32((uint16_t)bits));
  if (t == DT_bf16) return f32_bits(bf16_to_f32((uint16_t)bits));
  return bits;
}

static uint64_t lane_to_bits(uint64_t lane, DType t) {
  if (t == DT_f16) return f32_to_f16(f32_of((uint32_t)lane));
  if (t == DT_bf16) return f32_to_bf16(f32_of((uint32_t)lane));
  return lane;
}

void lane_round(DType half, float *x, int64_t n) {
  if (half == DT_f16)
    for (int64_t i = 0; i < n; i++) x[i] = f16_to_f32(f32_to_f16(x[i]));
  else
    for (int64_t i = 0; i < n; i++) x[i] = bf16_to_f32(f32_to_bf16(x[i]));
}

void lane_splat(char *strip, const char *scalar, int bytes, int64_t n) {
  if (bytes == 4) {
    uint32_t v, *o = (uint32_t *)strip;
    memcpy(&v, scalar, 4);
    for (int64_t i = 0; i < n; i++) o[i] = v;
  } else {
    uint64_t v, *o = (uint64_t *)strip;
    memcpy(&v, scalar, 8);
    for (int64_t i = 0; i < n; i++) o[i] = v;
  }
}

/* ---- loops -------------------------------------------------------------------- */
/* name(o, a, b): o[i] = expr of x = a[i] and y = b[i]; T in, R out */
#define LOOP(name, T, R, expr)                                                                     \
  static KStatus name(const Ins *in, void *o, const void *a, const void *b, const void *c,         \
                      int64_t n) {                                                                 \
    R *r = o;                                                                                      \
    const T *p = a, *q = b ? b : a;                                                                \
    uint64_t mask = in->mask, sign = in->sign;                                                     \
    (void)c, (void)q, (void)mask, (void)sign;                                                      \
    LANES for (int64_t i = 0; i < n; i++) {                                                        \
      T x = p[i], y = q[i];                                                                        \
      (void)x, (void)y;                                                                            \
      r[i] = expr;                                                                                 \
    }                                                                                              \
    return K_OK;                                                                                   \
  }
#define WRAP(v) (((((uint64_t)(v)) & mask) ^ sign) - sign)

/* Written with masks, which compilers turn into vectors where they leave a chain
 * of conditions alone.  x == y: the same bits, or zeros of either sign. */
#define MIN_MAX(name, T, U, bits, of, less, both)                                                  \
  static inline T name(T x, T y) {                                                                 \
    U first = (U)0 - (U)(x less y), same = (U)0 - (U)(x == y);                                     \
    U nan = (U)0 - (U)((x != x) | (y != y)), a = bits(x), b = bits(y);                             \
    U r = (a & first) | (b & ~first);                                                              \
    r = ((a both b)&same) | (r & ~same);                                                           \
    return of((bits(x + y) & nan) | (r & ~nan));                                                   \
  }
MIN_MAX(min_f32, float, uint32_t, f32_bits, f32_of, <, |)
MIN_MAX(max_f32, float, uint32_t, f32_bits, f32_of, >, &)
MIN_MAX(min_f64, double, uint64_t, f64_bits, f64_of, <, |)
MIN_MAX(max_f64, double, uint64_t, f64_bits, f64_of, >, &)

#define FLOAT_LOOPS(N, T, M, V)                                                                    \
  LOOP(N##_add, T, T, x + y)                                                                       \
  LOOP(N##_sub, T, T, x - y)                                                                       \
  LOOP(N##_mul, T, T, x *y)                                                                        \
  LOOP(N##_div, T, T, x / y)                                                                       \
  LOOP(N##_min, T, T, min_##N(x, y))                                                               \
  LOOP(N##_max, T, T, max_##N(x, y))                                                               \
  LOOP(N##_neg, T, T, -x)                                                                          \
  LOOP(N##_abs, T, T, M(fabs)(x))                                                                  \
  LOOP(N##_floor, T, T, M(floor)(x))                                                               \
  LOOP(N##_round, T, T, M(nearbyint)(x))                                                           \
  LOOP(N##_sqrt, T, T, M(sqrt)(x))                                                                 \
  LOOP(N##_rsqrt, T, T, 1 / M(sqrt)(x))                                                            \
  LOOP(N##_exp, T, T, V(exp)(x))                                                                   \
  LOOP(N##_log, T, T, V(log)(x))                                                                   \
  LOOP(N##_tanh, T, T, V(tanh)(x))                                                                 \
  LOOP(N##_erf, T, T, V(erf)(x))                                                                   \
  LOOP(N##_sin, T, T, V(sin)(x))                                                                   \
  LOOP(N##_cos, T, T, V(cos)(x))                                                                   \
  LOOP(N##_sigmoid, T, T, V(sigmoid)(x))                                                           \
  LOOP(N##_eq, T, int64_t, x == y)                                                                 \
  LOOP(N##_ne, T, int64_t, x != y)                                                                 \
  LOOP(N##_lt, T, int64_t, x < y)                                                                  \
  LOOP(N##_le, T, int64_t, x <= y)
#define M_F32(fn) fn##f
#define M_F64(fn) fn
#define V_F32(fn) vmath_##fn
/* Of e^-|x|, which does not overflow: small results keep their digits. */
static inline double sigmoid(double x) {
  double z = exp(-fabs(x));
  return (x < 0 ? z : 1) / (1 + z);
}
FLOAT_LOOPS(f32, float, M_F32, V_F32)
FLOAT_LOOPS(f64, double, M_F64, M_F64)
LOOP(f32_pow, float, float, vmath_pow(x, y))
LOOP(f32_expm1, float, float, vmath_expm1(x))
LOOP(f32_log1p, float, float, vmath_log1p(x))
LOOP(f32_log2, float, float, vmath_log2(x))

LOOP(int_add, uint64_t, uint64_t, WRAP(x + y))
LOOP(int_sub, uint64_t, uint64_t, WRAP(x - y))
LOOP(int_mul, uint64_t, uint64_t, WRAP(x *y))
LOOP(int_neg, uint64_t, uint64_t, WRAP(0 - x))
LOOP(int_not, uint64_t, uint64_t, WRAP(~x))
LOOP(int_and, uint64_t, uint64_t, x &y)
LOOP(int_or, uint64_t, uint64_t, x | y)
LOOP(int_xor, uint64_t, uint64_t, x ^ y)
LOOP(int_min, int64_t, int64_t, x < y ? x : y)
LOOP(int_max, int64_t, int64_t, x > y ? x : y)
LOOP(int_eq, int64_t, int64_t, x == y)
LOOP(int_ne, int64_t, int64_t, x != y)
LOOP(int_lt, int64_t, int64_t, x < y)
LOOP(int_le, int64_t, int64_t, x <= y)
LOOP(big_min, uint64_t, uint64_t, x < y ? x : y) /* big: uint64 */
LOOP(big_max, uint64_t, uint64_t, x > y ? x : y)
LOOP(big_lt, uint64_t, int64_t, x < y)
LOOP(big_le, uint64_t, int64_t, x <= y)

/* Integer division: traps at 0, and MIN / -1 wraps. */
#define DIVIDE(name, expr)                                                                         \
  static KStatus name(const Ins *in, void *o, const void *a, const void *b, const void *c,         \
                      int64_t n) {                                                                 \
    int64_t *r = o;                                                                                \
    const int64_t *p = a, *d = b;                                                                  \
    uint64_t mask = in->mask, sign = in->sign;                                                     \
    (void)c;                                                                                       \
    for (int64_t i = 0; i < n; i++) {                                                              \
      int64_t x = p[i], y = d[i];                                                                  \
      if (y == 0) return K_DIV_ZERO;                                                               \
      int64_t q = y == -1 ? (int64_t)(0 - (uint64_t)x) : x / y;                                    \
      int64_t rem = (int64_t)((uint64_t)x - (uint64_t)q * (uint64_t)y);                            \
      int64_t down = rem != 0 && (rem < 0) != (y < 0);                                             \
      (void)down;                                                                                  \
      r[i] = (int64_t)WRAP(expr);                                                                  \
    }                                                                                              \
    return K_OK;                                                                                   \
  }
DIVIDE(int_div, q)
DIVIDE(int_fdiv, q - down)
DIVIDE(int_mod, rem)
DIVIDE(int_fmod, rem + (down ? y : 0))

/* c ? a : b, of lanes of 4 and 8 bytes */
#define SELECT(name, T)                                                                            \
  static KStatus name(const Ins *in, void *o, const void *a, const void *b, const void *c,         \
                      int64_t n) {                                                                 \
    T *r = o;                                                                                      \
    const int64_t *cond = a;                                                                       \
    const T *p = b, *q = c;                                                                        \
    (void)in;                                                                                      \
    LANES for (int64_t i = 0; i < n; i++) {                                                        \
      T take = (T)0 - (T)cond[i];                                                                  \
      r[i] = (p[i] & take) | (q[i] & ~take);                                                       \
    }                                                                                              \
    return K_OK;                                                                                   \
  }
SELECT(select4, uint32_t)
SELECT(select8, uint64_t)

/* ---- the rest, lane by lane ------------------------------------------------------ */
static uint64_t lane_get(const void *strip, int64_t i, DType t) {
  if (lane_bytes(t) == 4) return ((const uint32_t *)strip)[i];
  return ((const uint64_t *)strip)[i];
}
static void lane_put(void *strip, int64_t i, DType t, uint64_t lane) {
  if (lane_bytes(t) == 4)
    ((uint32_t *)strip)[i] = (uint32_t)lane;
  else
    ((uint64_t *)strip)[i] = lane;
}

static KStatus any_op(const Ins *in, void *o, const void *a, const void *b, const void *c,
                      int64_t n) {
  DType t = (DType)in->from;
  DType result = sop_info[in->op].result == 'b' ? DT_bool : t;
  (void)c;
  for (int64_t i = 0; i < n; i++) {
    uint64_t x = lane_to_bits(lane_get(a, i, t), t), y = 0, z;
    if (b) y = lane_to_bits(lane_get(b, i, t), t);
    KStatus s = scalar_eval((SOp)in->op, t, x, y, 0, &z);
    if (s != K_OK) return s;
    lane_put(o, i, result, lane_from_bits(z, result));
  }
  return K_OK;
}

static KStatus any_cast(const Ins *in, void *o, const void *a, const void *b, const void *c,
                        int64_t n) {
  DType from = (DType)in->from, to = (DType)in->dtype;
  (void)b, (void)c;
  for (int64_t i = 0; i < n; i++) {
    uint64_t x = lane_to_bits(lane_get(a, i, from), from);
    lane_put(o, i, to, lane_from_bits(scalar_cast(x, from, to), to));
  }
  return K_OK;
}

/* The same bits as another type of the same width. */
static KStatus any_bits(const Ins *in, void *o, const void *a, const void *b, const void *c,
                        int64_t n) {
  DType from = (DType)in->from, to = (DType)in->dtype;
  (void)b, (void)c;
  for (int64_t i = 0; i < n; i++) {
    uint64_t x = lane_to_bits(lane_get(a, i, from), from);
    if (!dtype_is_float(to))
      x = (uint64_t)wrap_int((int64_t)x, to);
    else if (dtype_bytes(to) < 8)
      x &= ((uint64_t)1 << dtype_bytes(to) * 8) - 1;
    lane_put(o, i, to, lane_from_bits(x, to));
  }
  return K_OK;
}

/* ---- choosing --------------------------------------------------------------------- */
/* Columns: float, double, integers, uint64.  NULL: lane by lane. */
static const OpFn op_table[S_COUNT][4] = {
#define F(op) [S_##op] = {f32_##op, f64_##op, NULL, NULL},
#define F32(op) [S_##op] = {f32_##op, NULL, NULL, NULL},
#define FI(op, big) [S_##op] = {f32_##op, f64_##op, int_##op, big},
#define I(op, big) [S_##op] = {NULL, NULL, int_##op, big},
    FI(add, int_add) FI(sub, int_sub) FI(mul, int_mul) FI(div, NULL) FI(neg, int_neg)
        FI(min, big_min) FI(max, big_max) FI(eq, int_eq) FI(ne, int_ne) FI(lt, big_lt)
            FI(le, big_le) I(fdiv, NULL) I(mod, NULL) I(fmod, NULL) I(not, int_not) I(and, int_and)
                I(or, int_or) I(xor, int_xor) F(abs) F(floor) F(round) F(sqrt) F(rsqrt) F(exp)
                    F(log) F(tanh) F(erf) F(sin) F(cos) F(sigmoid) F32(pow) F32(expm1) F32(log1p)
                        F32(log2)[S_select] = {select4, select8, select8, select8},
#undef F
#undef F32
#undef FI
#undef I
};

OpFn lane_op(SOp op, DType t) {
  int column = t == DT_f64 ? 1 : dtype_is_float(t) ? 0 : t == DT_u64 ? 3 : 2;
  OpFn fn = op_table[op][column];
  return fn ? fn : any_op;
}

OpFn lane_bits(void) { return any_bits; }

bool lane_traps(SOp op, DType t) {
  if (dtype_is_float(t)) return false;
  return op == S_div || op == S_fdiv || op == S_mod || op == S_fmod || op == S_shl || op == S_shr ||
         op == S_pow;
}

/* ---- casts -------------------------------------------------------------------------- */
LOOP(cast_copy4, uint32_t, uint32_t, x)
LOOP(cast_copy8, uint64_t, uint64_t, x)
LOOP(cast_wrap, uint64_t, uint64_t, WRAP(x))
LOOP(cast_int_bool, uint64_t, uint64_t, x != 0)
LOOP(cast_f32_bool, float, uint64_t, x != 0)
LOOP(cast_f64_bool, double, uint64_t, x != 0)
LOOP(cast_f32_f64, float, double, x)
LOOP(cast_f64_f32, double, float, (float)x)
LOOP(cast_int_f32, int64_t, float, (float)x)
LOOP(cast_int_f64, int64_t, double, (double)x)
LOOP(cast_big_f32, uint64_t, float, (float)x)
LOOP(cast_big_f64, uint64_t, double, (double)x)

/* mask: the largest value; sign: the smallest. */
static inline int64_t saturate(double x, int64_t lo, int64_t hi) {
  if (x != x) return 0;
  if (x <= (double)lo) return lo;
  if (x >= (double)hi) return hi;
  return (int64_t)x;
}
LOOP(cast_f32_int, float, int64_t, saturate((double)x, (int64_t)sign, (int64_t)mask))
LOOP(cast_f64_int, double, int64_t, saturate(x, (int64_t)sign, (int64_t)mask))

static OpFn cast_to_int(DType from, DType to) {
  Lane l = lane_of(from);
  if (to == DT_bool)
    return l == LANE_I64 ? cast_int_bool : l == LANE_F32 ? cast_f32_bool : cast_f64_bool;
  if (l == LANE_I64) return cast_wrap;
  if (to == DT_u64) return any_cast;
  return l == LANE_F32 ? cast_f32_int : cast_f64_int;
}

OpFn lane_cast(DType from, DType to) {
  if (!dtype_is_float(to)) return cast_to_int(from, to);
  if (is_half(to)) return lane_of(from) == LANE_F32 ? cast_copy4 : any_cast;
  if (lane_of(from) == lane_of(to)) return to == DT_f64 ? cast_copy8 : cast_copy4;
  if (lane_of(from) == LANE_F32) return cast_f32_f64;
  if (lane_of(from) == LANE_F64) return cast_f64_f32;
  if (from == DT_u64) return to == DT_f64 ? cast_big_f64 : cast_big_f32;
  return to == DT_f64 ? cast_int_f64 : cast_int_f32;
}
