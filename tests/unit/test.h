/* test.h -- cmocka with what its header wants, and numbers that look random.  */
#ifndef RVM_TESTS_TEST_H
#define RVM_TESTS_TEST_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* The number after *seed, which must not be 0, in Marsaglia's xorshift64; the same in every run. */
static inline uint64_t xorshift(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  return *seed ^= *seed << 17;
}
#endif
