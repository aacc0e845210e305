/* conv.c -- compiled convolutions, layer by layer of well-known networks, against
 * the peak of multiply-add on one core: batch 1, NCHW, the weight a constant,
 * with bias and a rectifier in the epilogue.
 *
 *   conv [seconds per layer [name contains [fast]]]      fast: as with --fast-math   */
#include <string.h>
#include "bench/bench.h"
#include "cli/measure/peak.h"
#include "kernel/build.h"
#ifdef RVM_HAVE_LLVM
#include "codegen/llvm/jit.h"

/* Scratch as a program has it: kept between launches. */
static void *heap(void *user, void *old, size_t old_bytes, size_t new_bytes) {
  static void *kept;
  static size_t size;
  (void)user;
  if (new_bytes == 0) {
    if (old_bytes <= size) return free(old), NULL;
    free(kept);
    kept = old;
    size = old_bytes;
    return NULL;
  }
  if (!old && new_bytes <= size && new_bytes > size / 2) {
    void *p = kept;
    kept = NULL;
    size = 0;
    return p;
  }
  return realloc(old, new_bytes);
}
static const KAlloc A = {heap, NULL};

typedef struct {
  const char *net;
  int in, size, width, out, kernel, stride, groups, times; /* width 0: size; times: in the net */
} Layer;

static const Layer layer[] = {
    {"resnet", 3, 224, 0, 64, 7, 2, 1, 1},        {"resnet18", 64, 56, 0, 64, 3, 1, 1, 4},
    {"resnet18", 64, 56, 0, 128, 3, 2, 1, 1},     {"resnet18", 64, 56, 0, 128, 1, 2, 1, 1},
    {"resnet18", 128, 28, 0, 128, 3, 1, 1, 3},    {"resnet18", 128, 28, 0, 256, 3, 2, 1, 1},
    {"resnet18", 256, 14, 0, 256, 3, 1, 1, 3},    {"resnet18", 256, 14, 0, 512, 3, 2, 1, 1},
    {"resnet18", 512, 7, 0, 512, 3, 1, 1, 3},     {"resnet50", 64, 56, 0, 64, 1, 1, 1, 1},
    {"resnet50", 64, 56, 0, 256, 1, 1, 1, 4},     {"resnet50", 256, 56, 0, 64, 1, 1, 1, 2},
    {"resnet50", 256, 56, 0, 128, 1, 1, 1, 1},    {"resnet50", 128, 56, 0, 128, 3, 2, 1, 1},
    {"resnet50", 256, 56, 0, 512, 1, 2, 1, 1},    {"resnet50", 128, 28, 0, 512, 1, 1, 1, 4},
    {"resnet50", 512, 28, 0, 128, 1, 1, 1, 3},    {"resnet50", 512, 28, 0, 256, 1, 1, 1, 1},
    {"resnet50", 256, 28, 0, 256, 3, 2, 1, 1},    {"resnet50", 512, 28, 0, 1024, 1, 2, 1, 1},
    {"resnet50", 256, 14, 0, 1024, 1, 1, 1, 6},   {"resnet50", 1024, 14, 0, 256, 1, 1, 1, 5},
    {"resnet50", 1024, 14, 0, 512, 1, 1, 1, 1},   {"resnet50", 512, 14, 0, 512, 3, 2, 1, 1},
    {"resnet50", 1024, 14, 0, 2048, 1, 2, 1, 1},  {"resnet50", 512, 7, 0, 2048, 1, 1, 1, 3},
    {"resnet50", 2048, 7, 0, 512, 1, 1, 1, 2},    {"mobilenet", 3, 224, 0, 32, 3, 2, 1, 1},
    {"mobilenet", 32, 112, 0, 16, 1, 1, 1, 1},    {"mobilenet", 16, 112, 0, 96, 1, 1, 1, 1},
    {"mobilenet", 96, 56, 0, 24, 1, 1, 1, 1},     {"mobilenet", 24, 56, 0, 144, 1, 1, 1, 2},
    {"mobilenet", 144, 28, 0, 32, 1, 1, 1, 1},    {"mobilenet", 32, 28, 0, 192, 1, 1, 1, 3},
    {"mobilenet", 192, 14, 0, 64, 1, 1, 1, 1},    {"mobilenet", 64, 14, 0, 384, 1, 1, 1, 4},
    {"mobilenet", 384, 14, 0, 96, 1, 1, 1, 1},    {"mobilenet", 576, 7, 0, 160, 1, 1, 1, 1},
    {"mobilenet", 160, 7, 0, 960, 1, 1, 1, 3},    {"mobilenet", 320, 7, 0, 1280, 1, 1, 1, 1},
    {"depthwise", 32, 112, 0, 32, 3, 1, 32, 1},   {"depthwise", 96, 112, 0, 96, 3, 2, 96, 1},
    {"depthwise", 144, 56, 0, 144, 3, 1, 144, 1}, {"depthwise", 144, 56, 0, 144, 3, 2, 144, 1},
    {"depthwise", 192, 28, 0, 192, 3, 1, 192, 2}, {"depthwise", 384, 14, 0, 384, 3, 1, 384, 4},
    {"depthwise", 576, 14, 0, 576, 3, 2, 576, 1}, {"depthwise", 960, 7, 0, 960, 3, 1, 960, 3},
    {"ds-cnn", 64, 25, 5, 64, 1, 1, 1, 4},        {"ds-cnn", 64, 25, 5, 64, 3, 1, 64, 4},
    {"grouped", 256, 14, 0, 256, 3, 1, 1, 1},     {"grouped", 256, 14, 0, 256, 3, 1, 2, 1},
    {"grouped", 256, 14, 0, 256, 3, 1, 4, 1},     {"grouped", 256, 14, 0, 256, 3, 1, 8, 1},
    {"grouped", 256, 14, 0, 256, 3, 1, 16, 1},    {"grouped", 256, 14, 0, 256, 3, 1, 32, 1},
    {"grouped", 256, 14, 0, 256, 3, 1, 64, 1},    {"grouped", 256, 28, 0, 256, 3, 1, 8, 1},
    {"grouped", 256, 28, 0, 256, 3, 1, 16, 1},    {"grouped", 256, 28, 0, 256, 3, 1, 32, 1},
    {"grouped", 256, 28, 0, 256, 3, 1, 64, 1},    {"stairs", 256, 14, 0, 128, 3, 1, 1, 1},
    {"stairs", 256, 14, 0, 136, 3, 1, 1, 1},      {"stairs", 256, 14, 0, 184, 3, 1, 1, 1},
    {"stairs", 256, 14, 0, 192, 3, 1, 1, 1},      {"stairs", 256, 14, 0, 248, 3, 1, 1, 1},
};

static int spatial(int x, const Layer *l) {
  return (x + 2 * (l->kernel / 2) - l->kernel) / l->stride + 1;
}
static int width_of(const Layer *l) { return l->width ? l->width : l->size; }

static Kernel *convolution(const Layer *l) {
  KB *b = kb_new(A, "conv");
  int g = l->groups, pad = l->kernel / 2, og = l->out / g, cg = l->in / g;
  KE h = kb_int(b, l->size), w = kb_int(b, width_of(l)), par[4], red[3];
  KE oh = kb_int(b, spatial(l->size, l)), ow = kb_int(b, spatial(width_of(l), l));
  KE kk = kb_int(b, l->kernel), o = kb_int(b, l->out);
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 4, (KE[]){kb_int(b, 1), kb_int(b, l->in), h, w});
  uint32_t wt = kb_buf(b, K_IN, "w", DT_f32, 4, (KE[]){o, kb_int(b, cg), kk, kk});
  uint32_t bias = kb_buf(b, K_IN, "b", DT_f32, 1, &o);
  uint32_t y = kb_buf(b, K_OUT, "y", DT_f32, 4, (KE[]){kb_int(b, 1), o, oh, ow});
  kb_contract_begin(b, 4, (KE[]){kb_int(b, g), kb_int(b, og), oh, ow}, par, 3,
                    (KE[]){kb_int(b, cg), kk, kk}, red);
  KE s = kb_int(b, l->stride), zero = kb_int(b, 0), none = kb_cast(b, kb_int(b, 0), DT_f32);
  KE ci = kb_add(b, kb_mul(b, par[0], kb_int(b, cg)), red[0]);
  KE co = kb_add(b, kb_mul(b, par[0], kb_int(b, og)), par[1]);
  KE at[4] = {zero, ci, kb_sub(b, kb_add(b, kb_mul(b, par[2], s), red[1]), kb_int(b, pad)),
              kb_sub(b, kb_add(b, kb_mul(b, par[3], s), red[2]), kb_int(b, pad))};
  KE fx = pad ? kb_load_or(b, x, at, none) : kb_load(b, x, at);
  KE fw = kb_load(b, wt, (KE[]){co, red[0], red[1], red[2]});
  KE acc = kb_contract_acc(b, DT_f32, fx, fw);
  acc = kb_max(b, kb_add(b, acc, kb_load(b, bias, &co)), none);
  kb_store(b, y, (KE[]){zero, co, par[2], par[3]}, acc);
  kb_contract_end(b);
  Kernel *out = kb_done(b);
  if (!out) die("conv", kb_error(b));
  return out;
}

static void measure(LlvmJit *j, const Layer *l, double seconds, bool first) {
  const char *why;
  void *ctx;
  Kernel *kernel = convolution(l);
  int64_t plane = (int64_t)spatial(l->size, l) * spatial(width_of(l), l);
  int64_t n_w = (int64_t)l->out * l->in / l->groups * l->kernel * l->kernel;
  double t0 = clock_seconds();
  KernelFn fn = llvm_jit_kernel(j, kernel, NULL, NULL, &ctx, &why);
  double compile = clock_seconds() - t0, best = 1e9, top = 0;
  if (!fn) die("conv", why);
  float *x = filled((int64_t)l->in * l->size * width_of(l)), *w = filled(n_w);
  float *bias = filled(l->out), *y = filled(plane * l->out);
  native_constants(ctx, w, (size_t)n_w * sizeof *w);
  for (double end = clock_seconds() + seconds; clock_seconds() < end;) {
    double p = peak_flops(), t = clock_seconds();
    for (int i = 0; i < 3 || clock_seconds() - t < 0.002; i++) {
      KError e;
      double t1 = clock_seconds();
      if (fn(ctx, (void *[]){x, w, bias, y}, NULL, A, &e) != K_OK) die("conv", "failed");
      double took = clock_seconds() - t1;
      if (took < best) best = took;
    }
    if (p > top) top = p;
  }
  double rate = 2.0 * (double)n_w * (double)plane / best;
  printf("%s  {\"net\": \"%s\", \"in\": %d, \"size\": %d, \"out\": %d, \"kernel\": %d, \"stride\": "
         "%d, "
         "\"groups\": %d, \"us\": %.2f, \"gflops\": %.1f, \"of_peak\": %.3f, \"compile_ms\": %.1f}",
         first ? "" : ",\n", l->net, l->in, l->size, l->out, l->kernel, l->stride, l->groups,
         best * 1e6, rate * 1e-9, top > 0 ? rate / top : 0, compile * 1e3);
  fflush(stdout);
  free(x);
  free(w);
  free(bias);
  free(y);
}

int main(int argc, char **argv) {
  double seconds = argc > 1 ? atof(argv[1]) : 0.5;
  const char *why;
  bool first = true;
  bool fast = argc > 3 && !strcmp(argv[3], "fast");
  LlvmOptions o = {.level = -1, .fast_math = fast, .caches = machine_caches(NULL)};
  LlvmJit *j = llvm_jit_new(&o, &why);
  if (!j) die("conv", why);
  printf("[\n");
  for (size_t i = 0; i < sizeof layer / sizeof *layer; i++) {
    if (argc > 2 && !strstr(layer[i].net, argv[2])) continue;
    measure(j, &layer[i], seconds, first);
    first = false;
  }
  printf("\n]\n");
  llvm_jit_free(j);
  return 0;
}
#else
int main(void) {
  fprintf(stderr, "conv: built without LLVM\n");
  return 1;
}
#endif
