/* kernel_alloc.h -- an allocator for tests of kernel/: counts what is out and
 * can refuse the nth request.                                                */
#ifndef RVM_TESTS_KERNEL_ALLOC_H
#define RVM_TESTS_KERNEL_ALLOC_H
#include "tests/unit/test.h"
#include <stdlib.h>
#include <string.h>
#include "kernel/kernel.h"

typedef struct { long live, left; } Counted;   /* left < 0: never refuses      */

static inline void *counted(void *user, void *old, size_t was, size_t want) {
  Counted *c = user;
  if (want > was && c->left >= 0 && c->left-- == 0) return NULL;
  c->live += (long)want - (long)was;
  if (want == 0) { free(old); return NULL; }
  return realloc(old, want);
}
static inline KAlloc counting(Counted *c) {
  *c = (Counted){ 0, -1 };
  return (KAlloc){ counted, c };
}
#endif
