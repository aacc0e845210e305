/* bench.h -- what the micro-benchmarks share: memory, a way to give up.       */
#ifndef RVM_BENCH_BENCH_H
#define RVM_BENCH_BENCH_H
#include <stdio.h>
#include <stdlib.h>
#include "cli/measure/clock.h"
#include "kernel/kernel.h"

static inline void *bench_heap(void *user, void *old, size_t old_bytes, size_t new_bytes) {
  (void)user, (void)old_bytes;
  if (new_bytes) return realloc(old, new_bytes);
  free(old);
  return NULL;
}
static const KAlloc BENCH_ALLOC = {bench_heap, NULL};

static inline _Noreturn void die(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

/* n numbers between -0.5 and 1; the caller frees them. */
static inline float *filled(int64_t n) {
  float *p = malloc((size_t)n * sizeof *p);
  if (!p) die("bench", "no memory");
  for (int64_t i = 0; i < n; i++) p[i] = (float)(i % 97) / 64 - 0.5f;
  return p;
}
#endif
