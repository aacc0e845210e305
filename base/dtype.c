/* dtype.c -- see dtype.h.  Nothing of the C library but memcpy: the embedded
 * runtime links this file.                                                   */
#include "base/dtype.h"

static const struct {
  const char *name;
  uint8_t bytes;
  char cls;
  uint8_t code, bits;
} table[] = {
#define DTYPE(id, name, bytes, cls, code, bits) {name, bytes, cls, code, bits},
#include "base/dtype.def"
#undef DTYPE
};

static bool known(DType t) { return (unsigned)t < DT_COUNT; }

const char *dtype_name(DType t) { return known(t) ? table[t].name : "?"; }
int dtype_bytes(DType t) { return known(t) ? table[t].bytes : 0; }
char dtype_class(DType t) { return known(t) ? table[t].cls : '?'; }

bool dtype_parse(const char *s, size_t n, DType *out) {
  for (int t = 0; t < DT_COUNT; t++) {
    const char *name = table[t].name;
    size_t i = 0;
    while (i < n && name[i] && name[i] == s[i]) i++;
    if (i == n && !name[i]) {
      *out = (DType)t;
      return true;
    }
  }
  return false;
}

bool dtype_from_dl(int code, int bits, DType *out) {
  for (int t = 0; t < DT_COUNT; t++)
    if (table[t].code == code && table[t].bits == bits) {
      *out = (DType)t;
      return true;
    }
  return false;
}

void dtype_to_dl(DType t, int *code, int *bits) {
  *code = known(t) ? table[t].code : 0;
  *bits = known(t) ? table[t].bits : 0;
}

float f16_to_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff;
  if (e == 31) return f32_of(sign | 0x7f800000 | m << 13 | (m ? 0x400000u : 0));
  if (e > 0) return f32_of(sign | (e + 112) << 23 | m << 13);
  float small = (float)m * 0x1p-24f; /* zero and the subnormals */
  return f32_of(sign | f32_bits(small));
}

/* m * 2^(e - 52) with bit 52 of m set, rounded to nearest even. */
static uint16_t half_of(uint16_t sign, int e, uint64_t m) {
  if (e > 15) return sign | 0x7c00;
  if (e < -25) return sign;
  int drop = e >= -14 ? 42 : 42 - 14 - e;
  uint64_t kept = m >> drop, rest = m & (((uint64_t)1 << drop) - 1),
           tie = (uint64_t)1 << (drop - 1);
  if (e >= -14) kept += (uint64_t)(e + 14) << 10; /* the hidden bit adds one more */
  kept += rest > tie || (rest == tie && (kept & 1));
  return (uint16_t)(sign | kept); /* a carry reaches the exponent, then infinity */
}

uint16_t f32_to_f16(float f) {
  uint32_t u = f32_bits(f), e = u >> 23 & 255, m = u & 0x7fffff;
  uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
  if (e == 255 && m) return (uint16_t)(sign | 0x7e00 | m >> 13);
  if (e == 0) return sign;
  return half_of(sign, e == 255 ? 99 : (int)e - 127, (uint64_t)(m | 0x800000) << 29);
}

uint16_t f64_to_f16(double d) {
  uint64_t u, one = 1;
  memcpy(&u, &d, 8);
  uint64_t e = u >> 52 & 2047, m = u & ((one << 52) - 1);
  uint16_t sign = (uint16_t)(u >> 48 & 0x8000);
  if (e == 2047 && m) return (uint16_t)(sign | 0x7e00 | m >> 42);
  if (e == 0) return sign;
  return half_of(sign, e == 2047 ? 99 : (int)e - 1023, m | one << 52);
}

uint16_t f32_to_bf16(float f) {
  uint32_t u = f32_bits(f);
  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

int64_t cast_f64_to_int(double x, DType t) {
  if (t == DT_bool) return x != 0;
  if (x != x) return 0;
  if (t == DT_u64) {
    if (x <= 0) return 0;
    if (x >= 0x1p64) return -1; /* all ones: the largest u64 */
    return (int64_t)(uint64_t)x;
  }
  int bits = dtype_bytes(t) * 8;
  bool is_signed = dtype_is_signed(t);
  if (!dtype_is_int(t)) {
    bits = 64;
    is_signed = true;
  }
  int64_t hi = (int64_t)(UINT64_MAX >> (64 - bits + is_signed)), lo = is_signed ? -hi - 1 : 0;
  if (x <= (double)lo) return lo;
  if (x >= (double)hi) return hi; /* (double)INT64_MAX is 2^63: still right */
  return (int64_t)x;
}
