/* scalar.c -- the meaning of one scalar operation, for every element type.
 *
 * A value is a 64-bit slot: integers sign- or zero-extended, bool 0 or 1,
 * floats the element's bits.  Each lane class has one function: f32 also serves
 * float16 and bfloat16, which compute in float32 and round once.            */
#include "kernel/interp.h"
#include "kernel/vmath_c.h"
#include <math.h>

const SOpInfo sop_info[S_COUNT] = {
#define SOP(id, name, arity, classes, result) {name, arity, classes, result},
#include "kernel/scalar.def"
#undef SOP
};

/* ---- slots ------------------------------------------------------------------ */
static float load_f32(uint64_t x, DType t) {
  if (t == DT_f16) return f16_to_f32((uint16_t)x);
  if (t == DT_bf16) return bf16_to_f32((uint16_t)x);
  return f32_of((uint32_t)x);
}

static uint64_t store_f32(float f, DType t) {
  if (t == DT_f16) return f32_to_f16(f);
  if (t == DT_bf16) return f32_to_bf16(f);
  return f32_bits(f);
}

/* ---- floats ----------------------------------------------------------------- */
/* One text for both widths: F is the type, M(f) the name of a libm function, V(f)
 * of one that float32 has its own of (kernel/vmath.h).
 * rem: floored remainder; min and max propagate NaN and order -0 before 0. */
#define FLOAT_LANE(F, M, V, NAME)                                                                  \
  static F NAME##_rem(F a, F b) {                                                                  \
    F r = M(fmod)(a, b);                                                                           \
    if (r == 0) return M(copysign)(r, b);                                                          \
    return (r < 0) != (b < 0) ? r + b : r;                                                         \
  }                                                                                                \
  static F NAME##_min(F a, F b) {                                                                  \
    if (a != a || b != b) return a + b;                                                            \
    return a < b || (a == b && signbit(a)) ? a : b;                                                \
  }                                                                                                \
  static F NAME##_max(F a, F b) {                                                                  \
    if (a != a || b != b) return a + b;                                                            \
    return a > b || (a == b && !signbit(a)) ? a : b;                                               \
  }                                                                                                \
  static F NAME##_sign(F a) { return a > 0 ? 1 : a < 0 ? -1 : a; }                                 \
  /* Operations whose result is of the operands' type. */                                          \
  static bool NAME##_eval(SOp op, F a, F b, F *out) {                                              \
    switch ((int)op) {                                                                             \
    case S_add: *out = a + b; return true;                                                         \
    case S_sub: *out = a - b; return true;                                                         \
    case S_mul: *out = a * b; return true;                                                         \
    case S_div: *out = a / b; return true;                                                         \
    case S_fdiv: *out = M(floor)(a / b); return true;                                              \
    case S_mod: *out = M(fmod)(a, b); return true;                                                 \
    case S_fmod: *out = NAME##_rem(a, b); return true;                                             \
    case S_min: *out = NAME##_min(a, b); return true;                                              \
    case S_max: *out = NAME##_max(a, b); return true;                                              \
    case S_pow: *out = V(pow)(a, b); return true;                                                  \
    case S_atan2: *out = M(atan2)(a, b); return true;                                              \
    case S_neg: *out = -a; return true;                                                            \
    case S_abs: *out = M(fabs)(a); return true;                                                    \
    case S_sign: *out = NAME##_sign(a); return true;                                               \
    case S_floor: *out = M(floor)(a); return true;                                                 \
    case S_ceil: *out = M(ceil)(a); return true;                                                   \
    case S_trunc: *out = M(trunc)(a); return true;                                                 \
    case S_round: *out = M(nearbyint)(a); return true; /* default mode: half to even */            \
    case S_sqrt: *out = M(sqrt)(a); return true;                                                   \
    case S_rsqrt: *out = 1 / M(sqrt)(a); return true;                                              \
    case S_exp: *out = V(exp)(a); return true;                                                     \
    case S_log: *out = V(log)(a); return true;                                                     \
    case S_log2: *out = V(log2)(a); return true;                                                   \
    case S_log10: *out = V(log10)(a); return true;                                                 \
    case S_log1p: *out = V(log1p)(a); return true;                                                 \
    case S_expm1: *out = V(expm1)(a); return true;                                                 \
    case S_sin: *out = V(sin)(a); return true;                                                     \
    case S_cos: *out = V(cos)(a); return true;                                                     \
    case S_tan: *out = V(tan)(a); return true;                                                     \
    case S_sinh: *out = M(sinh)(a); return true;                                                   \
    case S_cosh: *out = M(cosh)(a); return true;                                                   \
    case S_tanh: *out = V(tanh)(a); return true;                                                   \
    case S_asin: *out = M(asin)(a); return true;                                                   \
    case S_acos: *out = M(acos)(a); return true;                                                   \
    case S_atan: *out = M(atan)(a); return true;                                                   \
    case S_asinh: *out = M(asinh)(a); return true;                                                 \
    case S_acosh: *out = M(acosh)(a); return true;                                                 \
    case S_atanh: *out = M(atanh)(a); return true;                                                 \
    case S_sigmoid: *out = V(sigmoid)(a); return true;                                             \
    case S_erf: *out = V(erf)(a); return true;                                                     \
    default: return false;                                                                         \
    }                                                                                              \
  }
#define M_F32(fn) fn##f
#define M_F64(fn) fn
#define V_F32(fn) vmath_##fn
/* Of e^-|x|, which does not overflow: small results keep their digits. */
static double sigmoid(double x) {
  double z = exp(-fabs(x));
  return (x < 0 ? z : 1) / (1 + z);
}
FLOAT_LANE(float, M_F32, V_F32, f32)
FLOAT_LANE(double, M_F64, M_F64, f64)

/* Operations that give bool; float32 widens to double without changing them. */
static bool float_test(SOp op, double a, double b, uint64_t *out) {
  switch ((int)op) {
  case S_eq: *out = a == b; return true;
  case S_ne: *out = a != b; return true;
  case S_lt: *out = a < b; return true;
  case S_le: *out = a <= b; return true;
  case S_isnan: *out = isnan(a) != 0; return true;
  case S_isinf: *out = isinf(a) != 0; return true;
  case S_isfin: *out = isfinite(a) != 0; return true;
  default: return false;
  }
}

static KStatus eval_float(SOp op, DType t, uint64_t a, uint64_t b, uint64_t *out) {
  if (t == DT_f64) {
    double r, x = f64_of(a), y = f64_of(b);
    if (float_test(op, x, y, out)) return K_OK;
    if (!f64_eval(op, x, y, &r)) return K_BAD_KERNEL;
    *out = f64_bits(r);
    return K_OK;
  }
  float r, x = load_f32(a, t), y = load_f32(b, t);
  if (float_test(op, x, y, out)) return K_OK;
  if (!f32_eval(op, x, y, &r)) return K_BAD_KERNEL;
  *out = store_f32(r, t);
  return K_OK;
}

/* ---- integers --------------------------------------------------------------- */
static uint64_t ipow(uint64_t a, uint64_t n) {
  uint64_t r = 1;
  for (; n; n >>= 1, a *= a)
    if (n & 1) r *= a;
  return r;
}

static KStatus signed_div(SOp op, int64_t a, int64_t b, uint64_t *out) {
  if (b == 0) return K_DIV_ZERO;
  if (b == -1) { /* MIN / -1 wraps */
    *out = op == S_div || op == S_fdiv ? 0 - (uint64_t)a : 0;
    return K_OK;
  }
  int64_t q = a / b, r = a % b;
  bool down = r != 0 && (r < 0) != (b < 0);
  switch ((int)op) {
  case S_div: *out = (uint64_t)q; break;
  case S_fdiv: *out = (uint64_t)(q - down); break;
  case S_mod: *out = (uint64_t)r; break;
  default: *out = (uint64_t)(down ? r + b : r); break;
  }
  return K_OK;
}

static KStatus unsigned_div(SOp op, uint64_t a, uint64_t b, uint64_t *out) {
  if (b == 0) return K_DIV_ZERO;
  *out = op == S_div || op == S_fdiv ? a / b : a % b;
  return K_OK;
}

static KStatus signed_pow(int64_t a, int64_t b, uint64_t *out) {
  if (b >= 0) {
    *out = ipow((uint64_t)a, (uint64_t)b);
    return K_OK;
  }
  if (a == 0) return K_DIV_ZERO;
  *out = a == 1 ? 1 : a == -1 ? (b & 1 ? UINT64_MAX : 1) : 0; /* 1 / a^-b, truncated */
  return K_OK;
}

/* What depends on the sign; the rest is below. */
static KStatus eval_signed(SOp op, int64_t a, int64_t b, uint64_t *out) {
  switch ((int)op) {
  case S_div:
  case S_fdiv:
  case S_mod:
  case S_fmod: return signed_div(op, a, b, out);
  case S_pow: return signed_pow(a, b, out);
  case S_min: *out = (uint64_t)(a < b ? a : b); return K_OK;
  case S_max: *out = (uint64_t)(a > b ? a : b); return K_OK;
  case S_lt: *out = a < b; return K_OK;
  case S_le: *out = a <= b; return K_OK;
  case S_shr: *out = a < 0 ? ~(~(uint64_t)a >> b) : (uint64_t)a >> b; return K_OK;
  case S_abs: *out = a < 0 ? 0 - (uint64_t)a : (uint64_t)a; return K_OK;
  case S_sign: *out = (uint64_t)((a > 0) - (a < 0)); return K_OK;
  default: return K_BAD_KERNEL;
  }
}

static KStatus eval_unsigned(SOp op, uint64_t a, uint64_t b, uint64_t *out) {
  switch ((int)op) {
  case S_div:
  case S_fdiv:
  case S_mod:
  case S_fmod: return unsigned_div(op, a, b, out);
  case S_pow: *out = ipow(a, b); return K_OK;
  case S_min: *out = a < b ? a : b; return K_OK;
  case S_max: *out = a > b ? a : b; return K_OK;
  case S_lt: *out = a < b; return K_OK;
  case S_le: *out = a <= b; return K_OK;
  case S_shr: *out = a >> b; return K_OK;
  case S_abs: *out = a; return K_OK;
  case S_sign: *out = a != 0; return K_OK;
  default: return K_BAD_KERNEL;
  }
}

static KStatus eval_int(SOp op, DType t, uint64_t a, uint64_t b, uint64_t *out) {
  KStatus s = K_OK;
  switch ((int)op) {
  case S_eq: *out = a == b; return K_OK;
  case S_ne: *out = a != b; return K_OK;
  case S_isnan:
  case S_isinf: *out = 0; return K_OK;
  case S_isfin: *out = 1; return K_OK;
  case S_add: *out = a + b; break;
  case S_sub: *out = a - b; break;
  case S_mul: *out = a * b; break;
  case S_neg: *out = 0 - a; break;
  case S_and: *out = a & b; break;
  case S_or: *out = a | b; break;
  case S_xor: *out = a ^ b; break;
  case S_not: *out = t == DT_bool ? !a : ~a; break;
  case S_shl:
  case S_shr:
    if (b >= (uint64_t)dtype_bytes(t) * 8) return K_BAD_SHIFT; /* a negative amount is huge */
    if (op == S_shl) {
      *out = a << b;
      break;
    }
    /* fall through */
  default:
    s = dtype_is_signed(t) ? eval_signed(op, (int64_t)a, (int64_t)b, out)
                           : eval_unsigned(op, a, b, out);
  }
  if (s == K_OK) *out = (uint64_t)wrap_int((int64_t)*out, t);
  return s;
}

static bool takes_class(SOp op, DType t) {
  for (const char *c = sop_info[op].classes; *c; c++)
    if (*c == dtype_class(t)) return true;
  return false;
}

KStatus scalar_eval(SOp op, DType t, uint64_t a, uint64_t b, uint64_t c, uint64_t *out) {
  if ((unsigned)op >= S_COUNT || (unsigned)t >= DT_COUNT || !takes_class(op, t))
    return K_BAD_KERNEL;
  if (op == S_select) {
    *out = a ? b : c;
    return K_OK;
  }
  return dtype_is_float(t) ? eval_float(op, t, a, b, out) : eval_int(op, t, a, b, out);
}

/* ---- casts ------------------------------------------------------------------ */
/* Rounded to float32 toward an odd last bit when inexact: rounding that once
 * more to a shorter format gives what rounding d directly gives. */
static float to_odd_f32(double d) {
  float f = (float)d;
  if (d != d || (double)f == d) return f;
  uint32_t u = f32_bits(f);
  if (fabs((double)f) > fabs(d)) u--;
  return f32_of(u | 1);
}

static uint64_t from_double(double d, DType to) {
  switch ((int)to) {
  case DT_f16: return f64_to_f16(d);
  case DT_bf16: return f32_to_bf16(to_odd_f32(d));
  case DT_f32: return f32_bits((float)d);
  default: return f64_bits(d);
  }
}

/* A magnitude as a double that rounds to every format as the integer does:
 * exact, or cut to 53 bits with the rest remembered in the last one.  Only
 * float64 itself needs the last bits. */
static double sticky_double(uint64_t m) {
  if (m >> 53 == 0) return (double)m;
  return (double)(m >> 11 | ((m & 0x7ff) != 0)) * 2048.0;
}

static uint64_t int_to_float(uint64_t x, DType from, DType to) {
  bool negative = dtype_is_signed(from) && (int64_t)x < 0;
  uint64_t m = negative ? 0 - x : x;
  double d = to == DT_f64 ? (double)m : sticky_double(m);
  return from_double(negative ? -d : d, to);
}

static double float_value(uint64_t x, DType t) {
  return t == DT_f64 ? f64_of(x) : (double)load_f32(x, t);
}

uint64_t scalar_cast(uint64_t x, DType from, DType to) {
  if (from == to) return x;
  if (dtype_is_float(from)) {
    double d = float_value(x, from);
    return dtype_is_float(to) ? from_double(d, to) : (uint64_t)cast_f64_to_int(d, to);
  }
  return dtype_is_float(to) ? int_to_float(x, from, to) : (uint64_t)wrap_int((int64_t)x, to);
}
