/* maps.c -- how fast compiled maps and reductions are:
 *
 *   maps [seconds per case [part of a name]]
 *
 * Each case is a kernel as operators are lowered to, with its extents in it.
 * Prints JSON: time of one launch, and memory moved per second beside what
 * memcpy moves of the same size.  bench/maps_peer.py does the same work in torch. */
#include <string.h>
#include "bench/bench.h"
#include "codegen/llvm/jit.h"
#include "kernel/fuse.h"
#include "kernel/text.h"

typedef struct {
  const char *name, *text;
} Case;

#define MAP1(name, n, expr)                                                                        \
  {                                                                                                \
    name "_" #n,                                                                                   \
        "in x: f32[" #n "]\nout y: f32[" #n "]\nfor i in " #n " parallel {\n y[i] = " expr "\n}\n" \
  }
#define MAP2(name, n, expr)                                                                        \
  {                                                                                                \
    name "_" #n, "in x: f32[" #n "]\nin w: f32[" #n "]\nout y: f32[" #n "]\nfor i in " #n          \
                 " parallel {\n y[i] = " expr "\n}\n"                                              \
  }
#define ROWS(name, m, n, body)                                                                     \
  {                                                                                                \
    name "_" #m "x" #n,                                                                            \
        "in x: f32[" #m ", " #n ", 1]\nin g: f32[" #n "]\nin b: f32[" #n "]\nout y: f32[" #m       \
        ", " #n ", 1]\nfor i in " #m " parallel {\n for k in 1 parallel {\n" body "}\n}\n"         \
  }
#define SOFTMAX(m, n)                                                                              \
  ROWS("softmax", m, n,                                                                            \
       "let r0 = reduce max (j in " #n ") from -inf:f32 {\n x[i, j, k]\n }\n"                      \
       "let r1 = reduce add (j2 in " #n ") from 0:f32 {\n exp(x[i, j2, k] - r0)\n }\n"             \
       "for j3 in " #n " parallel {\n y[i, j3, k] = exp(x[i, j3, k] - r0) / r1\n }\n")
#define LAYER_NORM(m, n)                                                                           \
  ROWS("layer_norm", m, n,                                                                         \
       "let r0 = reduce add (j in " #n ") from 0:f32 {\n x[i, j, k]\n }\n"                         \
       "let t0 = r0 / " #n ":f32\n"                                                                \
       "let r1 = reduce add (j2 in " #n ") from 0:f32 {\n $0 = x[i, j2, k] - t0\n $0 * $0\n }\n"   \
       "let t1 = rsqrt(r1 / " #n ":f32 + 0.00001:f32)\n"                                           \
       "for j3 in " #n                                                                             \
       " parallel {\n y[i, j3, k] = (x[i, j3, k] - t0) * t1 * g[j3] + b[j3]\n }\n")
#define REDUCE(name, m, n, rows, cols, op, from, at)                                               \
  {                                                                                                \
    name "_" #m "x" #n, "in x: f32[" #m ", " #n "]\nout y: f32[" #rows "]\nfor i in " #rows        \
                        " parallel {\n let r = reduce " op " (j in " #cols ") from " from          \
                        " {\n x[" at "]\n }\n y[i] = r\n}\n"                                       \
  }
#define GELU "x[i] * 0.5:f32 * (1:f32 + erf(x[i] * 0.70710677:f32))"

static const Case cases[] = {
    MAP2("add", 16, "x[i] + w[i]"),
    MAP2("add", 40, "x[i] + w[i]"),
    MAP2("add", 512, "x[i] + w[i]"),
    MAP2("add", 65536, "x[i] + w[i]"),
    MAP2("add", 16777216, "x[i] + w[i]"),
    MAP1("relu", 65536, "max(x[i], 0:f32)"),
    MAP1("tanh", 16, "tanh(x[i])"),
    MAP1("tanh", 512, "tanh(x[i])"),
    MAP1("tanh", 65536, "tanh(x[i])"),
    MAP1("sigmoid", 512, "sigmoid(x[i])"),
    MAP1("sigmoid", 65536, "sigmoid(x[i])"),
    MAP1("exp", 65536, "exp(x[i])"),
    MAP1("log", 65536, "log(x[i])"),
    MAP1("gelu", 65536, GELU),
    MAP1("sin", 65536, "sin(x[i])"),
    MAP2("pow", 65536, "pow(x[i], w[i])"),
    SOFTMAX(1, 1000),
    SOFTMAX(128, 128),
    SOFTMAX(128, 768),
    LAYER_NORM(1, 768),
    LAYER_NORM(128, 768),
    REDUCE("sum_last", 128, 768, 128, 768, "add", "0:f32", "i, j"),
    REDUCE("max_last", 128, 768, 128, 768, "max", "-inf:f32", "i, j"),
    REDUCE("sum_first", 128, 768, 768, 128, "add", "0:f32", "j, i"),
    REDUCE("max_first", 128, 768, 768, 128, "max", "-inf:f32", "j, i"),
    {"mean_hw_512x49", "in x: f32[512, 7, 7]\nout y: f32[512]\nfor i in 512 parallel {\n let r = "
                       "reduce add (j in 7, k in "
                       "7) from 0:f32 {\n x[i, j, k]\n }\n y[i] = r / 49:f32\n}\n"},
    {"batch_norm_64x56x56",
     "in x: f32[64, 56, 56]\nin m: f32[64]\nin s: f32[64]\nin g: f32[64]\nin b: f32[64]\nout y: "
     "f32[64, 56, "
     "56]\nfor c in 64 parallel {\n for i in 56 parallel {\n for j in 56 parallel {\n y[c, i, j] = "
     "(x[c, i, j] - m[c]) * rsqrt(s[c] + 0.00001:f32) * g[c] + b[c]\n }\n }\n}\n"},
    {"max_pool_3x3_64x56x56",
     "in x: f32[1, 64, 56, 56]\nout y: f32[1, 64, 28, 28]\nfor c in 64 parallel {\n for i in 28 "
     "parallel {\n "
     "for j in 28 parallel {\n let r = reduce max (a in 3, b in 3) from -inf:f32 {\n x[0, c, i * 2 "
     "+ "
     "-1 + a, j * 2 + -1 + b] or -inf:f32\n }\n y[0, c, i, j] = r\n }\n }\n}\n"},
    {"argmax_128x768", "in x: f32[128, 768]\nout y: i32[128]\nfor i in 128 parallel {\n let r0 = "
                       "reduce max (j in 768) "
                       "from -inf:f32 {\n x[i, j]\n }\n let r1 = reduce min (k in 768) from 768 "
                       "{\n select(or(x[i, k] == r0, "
                       "isnan(x[i, k])), k, 768)\n }\n y[i] = i32(r1)\n}\n"},
};

/* Memory of each parameter; the sum of their bytes. */
static size_t fill(const Kernel *k, void **mem) {
  size_t all = 0;
  for (uint32_t i = 0; i < k->n_params; i++) {
    int64_t n = 0;
    size_t size = (size_t)dtype_bytes((DType)k->buf[i].dtype);
    if (!kernel_buf_count(k, i, NULL, &n)) exit(1);
    all += (size_t)n * size;
    mem[i] = aligned_alloc(64, ((size_t)n * size + 63) / 64 * 64);
    if (!mem[i]) exit(1);
    memset(mem[i], 0, (size_t)n * size);
    for (int64_t j = 0; j < n && k->buf[i].dtype == DT_f32; j++)
      ((float *)mem[i])[j] = (float)(j % 97) / 64 + 0.5f;
  }
  return all;
}

typedef struct {
  KernelFn fn;
  void *ctx;
  void **mem;
  size_t bytes;
} Work;

static void launch(const Work *w, const char *name) {
  KError e = {K_OK, ""};
  if (w->fn(w->ctx, w->mem, NULL, BENCH_ALLOC, &e) != K_OK) die(name, e.why);
}
static void copy(const Work *w, const char *name) {
  (void)name;
  memcpy(w->mem[1], w->mem[0], w->bytes);
}

/* The least time of one call; calls are timed in groups of about 20 us. */
static double best_of(void (*run)(const Work *, const char *), const Work *w, const char *name,
                      double seconds) {
  double t = clock_seconds(), best = 1e9, end = t + seconds;
  long group = 1;
  for (run(w, name); clock_seconds() - t < 2e-5; group++) run(w, name);
  while (clock_seconds() < end || best > 1e8) {
    t = clock_seconds();
    for (long i = 0; i < group; i++) run(w, name);
    t = (clock_seconds() - t) / (double)group;
    if (t < best) best = t;
  }
  return best;
}

/* Half of it read, half written, as one copy: what memory allows. */
static double copy_time(size_t bytes, double seconds) {
  size_t half = (bytes / 2 + 63) / 64 * 64;
  void *mem[2] = {aligned_alloc(64, half), aligned_alloc(64, half)};
  if (!mem[0] || !mem[1]) exit(1);
  memset(mem[0], 1, half), memset(mem[1], 1, half);
  double t = best_of(copy, &(Work){NULL, NULL, mem, half}, "", seconds);
  free(mem[0]), free(mem[1]);
  return t;
}

static void measure(LlvmJit *jit, const Case *c, double seconds, bool first) {
  KTextError e;
  const char *why = NULL;
  void *mem[K_MAX_BUFS] = {0};
  Work w = {.mem = mem};
  char text[2048];
  int n = snprintf(text, sizeof text, "kernel @k() {\n%s}\n", c->text);
  Kernel *k = kernel_parse(text, (size_t)n, BENCH_ALLOC, &e);
  if (!k) die(c->name, e.why);
  Kernel *kept = kernel_keep(k, BENCH_ALLOC); /* as when a program is lowered */
  if (kept) k = kept;
  w.fn = llvm_jit_kernel(jit, k, NULL, NULL, &w.ctx, &why);
  if (!w.fn) die(c->name, why);
  size_t bytes = fill(k, mem);
  double t = best_of(launch, &w, c->name, seconds), m = copy_time(bytes, seconds / 4);
  printf("%s  {\"name\": \"%s\", \"ns\": %.1f, \"gb_per_s\": %.2f, \"memcpy_ns\": %.1f}",
         first ? "" : ",\n", c->name, t * 1e9, (double)bytes / t * 1e-9, m * 1e9);
  fflush(stdout);
  for (uint32_t i = 0; i < k->n_params; i++) free(mem[i]);
}

int main(int argc, char **argv) {
  const char *why = NULL, *part = argc > 2 ? argv[2] : "";
  double seconds = argc > 1 ? atof(argv[1]) : 0.2;
  LlvmJit *jit = llvm_jit_new(&(LlvmOptions){.level = -1, .caches = machine_caches(NULL)}, &why);
  bool first = true;
  if (!jit) die("LLVM", why);
  printf("[\n");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (!strstr(cases[i].name, part)) continue;
    measure(jit, &cases[i], seconds, first);
    first = false;
  }
  printf("\n]\n");
  return 0;
}
