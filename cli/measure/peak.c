/* peak.c -- the fastest arithmetic and reading of this core, measured.
 *
 * The same loops for vectors of 64, 32 and 16 bytes; the widest that the CPU has
 * is used.  Multiply-adds run in twelve independent chains, more than latency
 * times throughput of any core; reads in four.                                */
#include "cli/measure/peak.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "cli/measure/clock.h"

enum { CHAINS = 12, ROUNDS = 5 };

/* Both return something that depends on all of the work. */
#define LOOPS(BYTES, TARGET)                                                                       \
  typedef float Vec##BYTES __attribute__((vector_size(BYTES)));                                    \
  typedef uint64_t Word##BYTES __attribute__((vector_size(BYTES)));                                \
  TARGET __attribute__((                                                                           \
      optimize("fp-contract=fast", "unroll-loops"))) static double arithmetic##BYTES(long n) {     \
    Vec##BYTES a[CHAINS], m = {0}, s = {0};                                                        \
    m += 0.999f, s += 0.001f;                                                                      \
    for (int i = 0; i < CHAINS; i++) a[i] = m + (float)i;                                          \
    for (long k = 0; k < n; k++)                                                                   \
      for (int i = 0; i < CHAINS; i++) a[i] = a[i] * m + s;                                        \
    for (int i = 1; i < CHAINS; i++) a[0] += a[i];                                                 \
    return (double)a[0][0];                                                                        \
  }                                                                                                \
  TARGET static double reading##BYTES(const void *p, size_t n) {                                   \
    const Word##BYTES *w = p;                                                                      \
    Word##BYTES a = {0}, b = a, c = a, d = a;                                                      \
    for (size_t i = 0; i + 4 <= n / BYTES; i += 4) {                                               \
      a |= w[i], b |= w[i + 1];                                                                    \
      c |= w[i + 2], d |= w[i + 3];                                                                \
    }                                                                                              \
    a |= b | c | d;                                                                                \
    return (double)a[0];                                                                           \
  }

#ifdef __clang__ /* contracts when told to in the source */
#pragma clang fp contract(fast)
#define optimize(...) /* no such attribute */ unused
#endif

#ifdef __x86_64__
LOOPS(64, __attribute__((target("avx512f"))))
LOOPS(32, __attribute__((target("avx2,fma"))))
#endif
LOOPS(16, )

typedef struct {
  double (*arithmetic)(long);
  double (*reading)(const void *, size_t);
  int lanes;
} Loops;

static Loops widest(void) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f")) return (Loops){arithmetic64, reading64, 16};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return (Loops){arithmetic32, reading32, 8};
#endif
  return (Loops){arithmetic16, reading16, 4};
}

/* The best of some rounds, the first of which warms up. */
double peak_flops(void) {
  const long n = 60000;
  Loops l = widest();
  volatile double sink = 0;
  double best = 1e9;
  for (int r = 0; r < ROUNDS * 3; r++) {
    double t = clock_seconds();
    sink += l.arithmetic(n);
    t = clock_seconds() - t;
    if (t < best) best = t;
  }
  (void)sink;
  return 2.0 * CHAINS * l.lanes * (double)n / best;
}

static double best_bytes(const Loops *l, const void *p, size_t n, volatile double *sink) {
  double best = 1e9;
  size_t again = n < (1u << 20) ? (1u << 20) / n : 1;
  for (int r = 0; r < ROUNDS; r++) {
    double t = clock_seconds();
    for (size_t i = 0; i < again; i++) *sink += l->reading(p, n);
    t = clock_seconds() - t;
    if (t < best) best = t;
  }
  return (double)n * (double)again / best;
}

Peak peak_measure(void) {
  static const size_t block[PEAK_LEVELS] = {(size_t)512 << 10, (size_t)8 << 20, (size_t)64 << 20};
  Peak p = {0};
  Loops l = widest();
  volatile double sink = 0;
  double t0 = clock_seconds();
  size_t most = block[PEAK_LEVELS - 1];
  p.flops = peak_flops();
  void *data = aligned_alloc(64, most);
  if (data) memset(data, 1, most);
  for (int i = 0; i < PEAK_LEVELS; i++) {
    p.block[i] = block[i];
    p.bytes[i] = data ? best_bytes(&l, data, block[i], &sink) : p.flops;
  }
  free(data);
  p.seconds = clock_seconds() - t0;
  return p;
}

double peak_bandwidth(const Peak *p, double bytes) {
  for (int i = 0; i < PEAK_LEVELS; i++)
    if (bytes <= (double)p->block[i]) return p->bytes[i];
  return p->bytes[PEAK_LEVELS - 1];
}
