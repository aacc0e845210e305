/* dtype.h -- element types and the conversions between their bit patterns.
 * Free of memory, stdio and globals: the runtime includes it too.            */
#ifndef RVM_BASE_DTYPE_H
#define RVM_BASE_DTYPE_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef enum {
#define DTYPE(id, name, bytes, cls, code, bits) DT_##id,
#include "base/dtype.def"
#undef DTYPE
  DT_COUNT
} DType;

const char *dtype_name(DType t);                 /* "float32"                  */
int         dtype_bytes(DType t);
char        dtype_class(DType t);                /* 'f' 'i' 'u' 'b'            */
bool        dtype_parse(const char *s, size_t n, DType *out);   /* exact name  */
bool        dtype_from_dl(int code, int bits, DType *out);
void        dtype_to_dl(DType t, int *code, int *bits);
static inline bool dtype_is_float(DType t) { return t >= DT_f16; }
static inline bool dtype_is_int(DType t)   { return t >= DT_i8 && t <= DT_u64; }
static inline bool dtype_is_signed(DType t) { return t >= DT_i8 && t <= DT_i64; }

/* A float's bit pattern, and back. */
static inline uint32_t f32_bits(float f) { uint32_t u;  memcpy(&u, &f, 4);  return u; }
static inline float    f32_of(uint32_t u) { float f;  memcpy(&f, &u, 4);  return f; }
static inline uint64_t f64_bits(double d) { uint64_t u;  memcpy(&u, &d, 8);  return u; }
static inline double   f64_of(uint64_t u) { double d;  memcpy(&d, &u, 8);  return d; }

/* Half precision, round to nearest even; NaN stays NaN (quiet). */
float    f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
uint16_t f64_to_f16(double d);
static inline float bf16_to_f32(uint16_t h) {
  uint32_t u = (uint32_t)h << 16;  float f;  memcpy(&f, &u, 4);  return f;
}
uint16_t f32_to_bf16(float f);

/* Float to integer as the language defines casts: truncates, saturates at the
 * bounds of t, NaN gives 0.  Integer to integer wraps.  The result is the
 * canonical 64-bit form of t: sign- or zero-extended. */
int64_t  cast_f64_to_int(double x, DType t);
static inline int64_t wrap_int(int64_t x, DType t) {
  switch (t) {
  case DT_i8:  return (int8_t)x;   case DT_i16: return (int16_t)x;
  case DT_i32: return (int32_t)x;  case DT_u8:  return (uint8_t)x;
  case DT_u16: return (uint16_t)x; case DT_u32: return (uint32_t)x;
  case DT_bool: return x != 0;
  case DT_i64: case DT_u64: case DT_f16: case DT_bf16: case DT_f32: case DT_f64:
  case DT_COUNT: break;
  }
  return x;
}

/* ---- elements in memory ---- */

/* Where in a slot, the canonical 64-bit form above or a float's bits, the bytes
 * of the element are. */
static inline void *slot_bytes(uint64_t *slot, int bytes) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return (uint8_t *)slot + 8 - bytes;
#else
  (void)bytes;
  return slot;
#endif
}

/* An element in memory as a slot, and back. */
static inline uint64_t slot_load(const void *p, DType t) {
  uint64_t x = 0;
  switch (dtype_bytes(t)) {
  case 1: { uint8_t v; memcpy(&v, p, 1); x = v; break; }
  case 2: { uint16_t v; memcpy(&v, p, 2); x = v; break; }
  case 4: { uint32_t v; memcpy(&v, p, 4); x = v; break; }
  case 8: memcpy(&x, p, 8); break;
  }
  return t <= DT_i64 ? (uint64_t)wrap_int((int64_t)x, t) : x;
}
static inline void slot_store(void *p, uint64_t x, DType t) {
  memcpy(p, slot_bytes(&x, dtype_bytes(t)), (size_t)dtype_bytes(t));
}
#endif
