/* vmath_sweep.c -- the float32 functions of kernel/vmath.h against libm in double:
 *   vmath_sweep [STEP [FUNCTION]]
 * every STEP-th bit pattern (1: all of them), subnormals, infinities and NaN
 * included, and for pow as many random pairs.  Prints the largest error of each
 * in units in the last place and fails above its bound.                      */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "kernel/vmath_c.h"

enum { CHUNK = 1024 };
typedef struct {
  const char *name;
  double bound; /* in units in the last place      */
  void (*many)(const float *x, const float *y, float *out);
  double (*right)(double x, double y);
} Function;

#define MANY(name, call)                                                                           \
  static void many_##name(const float *x, const float *y, float *out) {                            \
    (void)y;                                                                                       \
    for (int i = 0; i < CHUNK; i++) out[i] = call;                                                 \
  }
#define ONE(name)                                                                                  \
  MANY(name, vmath_##name(x[i]))                                                                   \
  static double right_##name(double x, double y) {                                                 \
    (void)y;                                                                                       \
    return name(x);                                                                                \
  }
static double sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
ONE(exp)
ONE(expm1)
ONE(tanh)
ONE(sigmoid)
ONE(erf)
ONE(log)
ONE(log2)
ONE(log10)
ONE(log1p)
ONE(sin)
ONE(cos)
ONE(tan)
MANY(pow, vmath_pow(x[i], y[i]))
#define ROW(name, bound)                                                                           \
  { #name, bound, many_##name, right_##name }
static const Function functions[] = {ROW(exp, 1.5),
                                     ROW(expm1, 3),
                                     ROW(tanh, 3),
                                     ROW(sigmoid, 3),
                                     ROW(erf, 3.5),
                                     ROW(log, 2),
                                     ROW(log2, 3),
                                     ROW(log10, 3),
                                     ROW(log1p, 3),
                                     ROW(sin, 2),
                                     ROW(cos, 2),
                                     ROW(tan, .6),
                                     {"pow", .6, many_pow, pow}};

/* The distance of floats at v, as of subnormals at least. */
static double spacing(double v) {
  int e;
  frexp(v, &e);
  return ldexp(1, (e < -125 ? -125 : e) - 24);
}

static double error_of(float got, double want) {
  if (isnan(want) || isnan(got)) return isnan(want) && isnan(got) ? 0 : INFINITY;
  float nearest = (float)want;
  if (got == nearest && signbit(got) == signbit(nearest)) {
    if (isinf(got) || got == 0) return 0;
  } else if (got == 0 && nearest == 0) {
    return INFINITY; /* the sign of zero               */
  }
  double limit = isinf(got) ? copysign(0x1p128, got) : got;
  if (isinf(want))
    return isinf(got) ? INFINITY : (fabs(want) - fabs((double)got)) > 0 ? INFINITY : 0;
  return fabs(limit - want) / spacing(fabs(want) > 0x1p127 ? 0x1p127 : want);
}

typedef struct {
  double error;
  float x, y, got;
  uint64_t n;
} Worst;

static void compare(const Function *f, const float *x, const float *y, Worst *w) {
  float out[CHUNK];
  f->many(x, y, out);
  for (int i = 0; i < CHUNK; i++) {
    double e = error_of(out[i], f->right((double)x[i], (double)y[i]));
    w->n++;
    if (e > w->error) *w = (Worst){e, x[i], y[i], out[i], w->n};
  }
}

static uint32_t random_bits(uint64_t *s) {
  *s = *s * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*s >> 32);
}

/* Pairs of all kinds, half of them with a result that is neither 0 nor infinite. */
static void pairs(float *x, float *y, uint64_t *seed) {
  static const uint32_t end[] = {0,          0x80000000, 0x3f800000, 0xbf800000,
                                 0x7f800000, 0xff800000, 0x7fc00000, 0x40000000,
                                 0xc0400000, 0x3f000000, 1,          0x4b800001};
  for (int i = 0; i < CHUNK; i++) {
    x[i] = f32_of(random_bits(seed)), y[i] = f32_of(random_bits(seed));
    uint32_t how = random_bits(seed) >> 24;
    if (how < 8) x[i] = f32_of(end[random_bits(seed) % 12]);
    if (how % 16 == 0) y[i] = f32_of(end[random_bits(seed) % 12]);
    if (how % 16 == 1) y[i] = (float)(int32_t)(random_bits(seed) % 64) - 32;
    if (how >= 128 && fabsf(x[i]) > 0 && isfinite(x[i])) {
      double most = 150 / fmax(fabs(log2(fabs((double)x[i]))), 1e-30);
      y[i] = (float)(most * ((double)random_bits(seed) * 0x1p-31 - 1));
      if (how & 1) x[i] = fabsf(x[i]);
    }
  }
}

static bool sweep(const Function *f, uint64_t step) {
  Worst w = {.error = -1};
  float x[CHUNK], y[CHUNK] = {0};
  uint64_t seed = 1;
  for (uint64_t at = 0; at < (uint64_t)1 << 32; at += step * CHUNK) {
    if (f->right == pow)
      pairs(x, y, &seed);
    else
      for (uint64_t i = 0; i < CHUNK; i++) x[i] = f32_of((uint32_t)(at + i * step));
    compare(f, x, y, &w);
  }
  bool good = w.error <= f->bound;
  printf("%-8s %10" PRIu64 " values, largest error %.4f ulp: (%a", f->name, w.n, w.error,
         (double)w.x);
  if (f->right == pow) printf(", %a", (double)w.y);
  printf(") gives %a%s\n", (double)w.got, good ? "" : "  TOO LARGE");
  fflush(stdout);
  return good;
}

int main(int argc, char **argv) {
  uint64_t step = argc > 1 ? strtoull(argv[1], NULL, 10) : 4099;
  bool good = step > 0;
  for (size_t i = 0; step && i < sizeof functions / sizeof *functions; i++)
    if (argc < 3 || strcmp(argv[2], functions[i].name) == 0) good &= sweep(&functions[i], step);
  return good ? 0 : 1;
}
