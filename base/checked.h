/* checked.h -- arithmetic on sizes that says when it does not fit.  In the
 * loaders of untrusted bytes these are the only way to add or multiply sizes.
 * Each returns false on overflow and leaves *out unspecified.                */
#ifndef RVM_BASE_CHECKED_H
#define RVM_BASE_CHECKED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool size_mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool size_add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool i64_mul(int64_t a, int64_t b, int64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool i64_add(int64_t a, int64_t b, int64_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool i64_sub(int64_t a, int64_t b, int64_t *out) { return !__builtin_sub_overflow(a, b, out); }

/* Is [at, at + len) inside [0, n)? */
static inline bool range_ok(uint64_t at, uint64_t len, uint64_t n) { return at <= n && len <= n - at; }

/* Number of elements; false when a dim is negative or the product overflows
 * a signed 64-bit number. */
static inline bool dims_count(const int64_t *dim, int rank, int64_t *out) {
  int64_t n = 1;
  bool zero = false;
  for (int i = 0; i < rank; i++) {
    if (dim[i] < 0) return false;
    if (dim[i] == 0) { zero = true; continue; }
    if (!i64_mul(n, dim[i], &n)) return false;
  }
  *out = zero ? 0 : n;
  return true;
}
#endif
