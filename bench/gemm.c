/* gemm.c -- compiled matrix products against the peak of multiply-add on one
 * core, measured in between (the clock drifts), as JSON.
 *
 *   gemm [seconds per case]                                                  */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "kernel/build.h"
#include "kernel/interp.h"
#ifdef RVM_HAVE_LLVM
#include "codegen/llvm/native.h"

static void *heap(void *user, void *old, size_t old_bytes, size_t new_bytes) {
  (void)user, (void)old_bytes;
  if (new_bytes) return realloc(old, new_bytes);
  free(old);
  return NULL;
}
static const KAlloc A = {heap, NULL};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *why) {
  fprintf(stderr, "gemm: %s\n", why);
  exit(1);
}

/* ---- the peak: independent chains of multiply-add ---------------------------------- */
#if defined(__x86_64__)
#define CHAINS(NAME, TARGET, BYTES)                                                                \
  typedef float V##NAME __attribute__((vector_size(BYTES)));                                       \
  __attribute__((target(TARGET), noinline, optimize("fp-contract=fast"))) static double NAME(      \
      int64_t n, float *out) {                                                                     \
    V##NAME x = (V##NAME){0} + *out, s0 = x, s1 = x + 1, s2 = x + 2, s3 = x + 3, s4 = x + 4,       \
            s5 = x + 5, s6 = x + 6, s7 = x + 7, s8 = x + 8, s9 = x + 9;                            \
    for (int64_t i = 0; i < n; i++) {                                                              \
      s0 = s0 * x + x, s1 = s1 * x + x, s2 = s2 * x + x, s3 = s3 * x + x, s4 = s4 * x + x;         \
      s5 = s5 * x + x, s6 = s6 * x + x, s7 = s7 * x + x, s8 = s8 * x + x, s9 = s9 * x + x;         \
    }                                                                                              \
    s0 += s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9;                                              \
    *out = s0[0];                                                                                  \
    return (double)n * 10 * (BYTES) / 4 * 2;                                                       \
  }
CHAINS(peak512, "avx512f,fma", 64)
CHAINS(peak256, "avx2,fma", 32)
static double peak_work(int64_t n, float *out) {
  return __builtin_cpu_supports("avx512f") ? peak512(n, out) : peak256(n, out);
}
#else
static double peak_work(int64_t n, float *out) {
  (void)n, (void)out;
  return 0;
}
#endif

static double peak(void) {
  double best = 0;
  for (int i = 0; i < 5; i++) {
    float x = 0.5f;
    double t = now(), work = peak_work(1000000, &x), rate = work / (now() - t);
    if (rate > best) best = rate;
  }
  return best;
}

/* ---- products ---------------------------------------------------------------------------- */
/* transposed: the second factor is (n, k), as in a dense layer. */
static Kernel *product(bool transposed) {
  KB *b = kb_new(A, "gemm");
  KE m = kb_sym(b, "m"), n = kb_sym(b, "n"), k = kb_sym(b, "k"), par[2], red[1];
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 2, (KE[]){m, k});
  uint32_t w = kb_buf(b, K_IN, "w", DT_f32, 2, transposed ? (KE[]){n, k} : (KE[]){k, n});
  uint32_t y = kb_buf(b, K_OUT, "y", DT_f32, 2, (KE[]){m, n});
  kb_contract_begin(b, 2, (KE[]){m, n}, par, 1, &k, red);
  KE fx = kb_load(b, x, (KE[]){par[0], red[0]});
  KE fw = kb_load(b, w, transposed ? (KE[]){par[1], red[0]} : (KE[]){red[0], par[1]});
  KE acc = kb_contract_acc(b, DT_f32, fx, fw);
  kb_store(b, y, par, acc);
  kb_contract_end(b);
  Kernel *out = kb_done(b);
  if (!out) die(kb_error(b));
  return out;
}

static float *filled(int64_t n) {
  float *p = malloc((size_t)n * sizeof *p);
  if (!p) die("no memory");
  for (int64_t i = 0; i < n; i++) p[i] = (float)(i % 97) / 64 - 0.5f;
  return p;
}

static void measure(LlvmJit *j, int64_t m, int64_t n, int64_t k, bool transposed, double seconds,
                    bool last) {
  const char *why;
  void *ctx;
  Kernel *kernel = product(transposed);
  double t0 = now();
  KernelFn fn = llvm_jit_kernel(j, kernel, NULL, NULL, &ctx, &why);
  double compile = now() - t0, best = 1e9, top = 0;
  if (!fn) die(why);
  float *x = filled(m * k), *w = filled(n * k), *y = filled(m * n);
  for (double end = now() + seconds; now() < end;) {
    double p = peak(), t = now();
    for (int i = 0; i < 3; i++, t = now()) {
      KError e;
      if (fn(ctx, (void *[]){x, w, y}, (int64_t[]){m, n, k}, A, &e) != K_OK) die("failed");
      double took = now() - t;
      if (took < best) best = took;
    }
    if (p > top) top = p;
  }
  double rate = 2.0 * (double)m * (double)n * (double)k / best;
  printf("  {\"m\": %lld, \"n\": %lld, \"k\": %lld, \"weight\": \"%s\", \"us\": %.2f, "
         "\"gflops\": %.1f, \"peak\": %.1f, \"of_peak\": %.3f, \"compile_ms\": %.1f}%s\n",
         (long long)m, (long long)n, (long long)k, transposed ? "nk" : "kn", best * 1e6,
         rate * 1e-9, top * 1e-9, top > 0 ? rate / top : 0, compile * 1e3, last ? "" : ",");
  free(x);
  free(w);
  free(y);
}

int main(int argc, char **argv) {
  static const int size[][3] = {{128, 128, 128},    {256, 256, 256}, {512, 512, 512},
                                {1024, 1024, 1024}, {64, 768, 3072}, {1, 768, 768}};
  double seconds = argc > 1 ? atof(argv[1]) : 1;
  const char *why;
  LlvmJit *j = llvm_jit_new(NULL, &why);
  if (!j) die(why);
  printf("[\n");
  for (int i = 0; i < 12; i++) {
    const int *s = size[i / 2];
    measure(j, s[0], s[1], s[2], i % 2, seconds, i == 11);
  }
  printf("]\n");
  llvm_jit_free(j);
  return 0;
}
#else
int main(void) {
  fprintf(stderr, "gemm: built without LLVM\n");
  return 1;
}
#endif
