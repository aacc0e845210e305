/* element.h -- an element of a tensor as a number, whatever its type. */
#ifndef RVM_CLI_ELEMENT_H
#define RVM_CLI_ELEMENT_H
#include "ir/expr.h"
#include "kernel/interp.h"

static inline void *element_at(const Tensor *t, int64_t i) {
  return (uint8_t *)t->bytes + i * dtype_bytes(t->dtype);
}
/* Exact, but for integers beyond 2^53. */
static inline double element_get(const Tensor *t, int64_t i) {
  return f64_of(scalar_cast(slot_load(element_at(t, i), t->dtype), t->dtype, DT_f64));
}
/* Rounded to the type, or truncated and saturated (see cast_f64_to_int). */
static inline void element_put(Tensor *t, int64_t i, double x) {
  slot_store(element_at(t, i), scalar_cast(f64_bits(x), DT_f64, t->dtype), t->dtype);
}
#endif
