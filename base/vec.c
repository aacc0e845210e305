/* vec.c -- growth of the arrays of vec.h: by doubling, from 8 elements (from
 * 1 in torture builds, so that a pointer kept across a push is found out).   */
#include "base/vec.h"
#include <limits.h>
#include <stdint.h>
#include <string.h>

#ifdef RVM_TORTURE
enum { FIRST = 1 };
#else
enum { FIRST = 8 };
#endif

/* The pointer travels by memcpy: *at is a T * in the caller. */
void vec_grow(void **at, int *cap, size_t size, int want) {
  void *old;
  memcpy(&old, at, sizeof old);
  int now = *cap > 0 ? *cap : FIRST;
  while (now < want) now = now > INT_MAX / 2 ? INT_MAX : now * 2;
  if (now <= *cap) return;
  if ((size_t)now > SIZE_MAX / size) mem_get_n(size, SIZE_MAX); /* says so and ends */
  void *p = mem_grow(old, (size_t)*cap * size, (size_t)now * size);
  memcpy(at, &p, sizeof p);
  *cap = now;
}
