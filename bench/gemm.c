/* gemm.c -- compiled matrix products against the peak of multiply-add on one
 * core, measured in between (the clock drifts), as JSON.
 *
 *   gemm [seconds per case [m n k [fast]]]               fast: as with --fast-math   */
#include "bench/bench.h"
#include "cli/measure/peak.h"
#include "kernel/build.h"
#ifdef RVM_HAVE_LLVM
#include "codegen/llvm/jit.h"

/* ---- products ---------------------------------------------------------------------------- */
/* Second factor: (k, n); (n, k), as in a dense layer; or that as a constant. */
typedef enum { KN, NK, CONSTANT } Form;
static const char *const form_name[] = {"kn", "nk", "constant"};
/* What the compiler knows of the extents: nothing, all, all but the rows. */
typedef enum { FREE, FIXED, FREE_ROWS } Extents;
static const char *const extents_name[] = {"free", "fixed", "free rows"};
typedef struct {
  int m, n, k;
  Form form;
  Extents extents;
} Case;

static Kernel *product(const Case *c) {
  KB *b = kb_new(BENCH_ALLOC, "gemm");
  KE m = c->extents == FIXED ? kb_int(b, c->m) : kb_sym(b, "m");
  KE n = c->extents != FREE ? kb_int(b, c->n) : kb_sym(b, "n");
  KE k = c->extents != FREE ? kb_int(b, c->k) : kb_sym(b, "k"), par[2], red[1];
  bool kn = c->form == KN;
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 2, (KE[]){m, k});
  uint32_t w = kb_buf(b, K_IN, "w", DT_f32, 2, kn ? (KE[]){k, n} : (KE[]){n, k});
  uint32_t y = kb_buf(b, K_OUT, "y", DT_f32, 2, (KE[]){m, n});
  kb_contract_begin(b, 2, (KE[]){m, n}, par, 1, &k, red);
  KE fx = kb_load(b, x, (KE[]){par[0], red[0]});
  KE fw = kb_load(b, w, kn ? (KE[]){red[0], par[1]} : (KE[]){par[1], red[0]});
  KE acc = kb_contract_acc(b, DT_f32, fx, fw);
  kb_store(b, y, par, acc);
  kb_contract_end(b);
  Kernel *out = kb_done(b);
  if (!out) die("gemm", kb_error(b));
  return out;
}

static void measure(LlvmJit *j, const Case *c, double seconds, bool last) {
  const char *why;
  void *ctx;
  Kernel *kernel = product(c);
  int64_t m = c->m, n = c->n, k = c->k;
  double t0 = clock_seconds();
  KernelFn fn = llvm_jit_kernel(j, kernel, NULL, NULL, &ctx, &why);
  double compile = clock_seconds() - t0, best = 1e9, top = 0;
  if (!fn) die("gemm", why);
  float *x = filled(m * k), *w = filled(n * k), *y = filled(m * n);
  if (c->form == CONSTANT) native_constants(ctx, w, (size_t)(n * k) * sizeof *w);
  for (double end = clock_seconds() + seconds; clock_seconds() < end;) {
    double p = peak_flops(), t = clock_seconds();
    for (int i = 0; i < 3 || clock_seconds() - t < 0.002; i++) {
      KError e;
      double t1 = clock_seconds();
      if (fn(ctx, (void *[]){x, w, y}, (int64_t[]){m, n, k}, BENCH_ALLOC, &e) != K_OK)
        die("gemm", "failed");
      double took = clock_seconds() - t1;
      if (took < best) best = took;
    }
    if (p > top) top = p;
  }
  double rate = 2.0 * (double)m * (double)n * (double)k / best;
  printf(
      "  {\"m\": %d, \"n\": %d, \"k\": %d, \"weight\": \"%s\", \"extents\": \"%s\", \"us\": %.2f, "
      "\"gflops\": %.1f, \"peak\": %.1f, \"of_peak\": %.3f, \"compile_ms\": %.1f}%s\n",
      c->m, c->n, c->k, form_name[c->form], extents_name[c->extents], best * 1e6, rate * 1e-9,
      top * 1e-9, top > 0 ? rate / top : 0, compile * 1e3, last ? "" : ",");
  fflush(stdout);
  free(x);
  free(w);
  free(y);
}

int main(int argc, char **argv) {
  static const int size[][3] = {{128, 128, 128},    {256, 256, 256},  {512, 512, 512},
                                {1024, 1024, 1024}, {1, 768, 768},    {1, 2048, 812},
                                {8, 3072, 768},     {16, 3072, 768},  {64, 3072, 768},
                                {64, 768, 3072},    {128, 3072, 768}, {196, 256, 2304}};
  double seconds = argc > 1 ? atof(argv[1]) : 0.5;
  static const struct {
    Form form;
    Extents extents;
  } way[] = {{KN, FREE},  {NK, FREE},        {CONSTANT, FREE},     {KN, FIXED},
             {NK, FIXED}, {CONSTANT, FIXED}, {CONSTANT, FREE_ROWS}};
  int ways = sizeof way / sizeof *way, n = argc > 4 ? 1 : (int)(sizeof size / sizeof *size);
  bool fast = argc > 5 && !strcmp(argv[5], "fast");
  const char *why;
  LlvmOptions o = {.level = -1, .fast_math = fast, .caches = machine_caches(NULL)};
  LlvmJit *j = llvm_jit_new(&o, &why);
  if (!j) die("gemm", why);
  printf("[\n");
  for (int i = 0; i < n * ways; i++) {
    const int *s = size[i / ways];
    Case c = {s[0], s[1], s[2], way[i % ways].form, way[i % ways].extents};
    if (argc > 4) c.m = atoi(argv[2]), c.n = atoi(argv[3]), c.k = atoi(argv[4]);
    measure(j, &c, seconds, i == n * ways - 1);
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
