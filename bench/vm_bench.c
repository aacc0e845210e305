/* vm_bench.c -- what the engines' control flow and the front end cost, as JSON.
 *
 *   vm_bench [RVM]      RVM: the command, for its start-up time
 *
 * With each engine: ns per iteration of a scalar tail-recursive loop, ns per call
 * (fib), ns per addition of 16 numbers in a chain of 1000.  us per parse and check of a program the
 * size of ResNet-50, ms of a whole process that runs a tiny image.  Best and median of many. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <rvm/rvm.h>
#include "cli/measure/clock.h"
#include "codegen/lower/lower.h"
#include "parser/parser.h"
#include "stdlib/embedded.h"
#include "stdlib/stdlib.h"
#include "typeinfer/infer.h"
#ifdef RVM_HAVE_LLVM
#include "codegen/llvm/llvm.h"
#include "codegen/native/code.h"
#endif

enum { RUNS = 15 };
static double now(void) { return 1e9 * clock_seconds(); }
static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static void report(const char *name, double *ns, double per, const char *unit, const char *end) {
  qsort(ns, RUNS, sizeof *ns, by_size);
  printf("  \"%s\": {\"best\": %.3f, \"median\": %.3f, \"unit\": \"%s\"}%s\n", name, ns[0] / per,
         ns[RUNS / 2] / per, unit, end);
}

static Module *check(IrCtx **cx, const char *text) {
  Sources *src = NEW(Sources);
  Diags *d = diags_new(src);
  *cx = irctx_new();
  irctx_set_ops(*cx, stdlib_ops, stdlib_n_ops);
  Module *m = load_program(*cx, src, (TextFile){"bench.rly", text, strlen(text)}, stdlib_files,
                           stdlib_n_files, d);
  if (m && typeinfer(m, d)) return m;
  StrBuf b = {0};
  diag_render(d, &b, false);
  fputs(buf_text(&b), stderr);
  exit(1);
}

static void *host(void *user, void *old, size_t was, size_t want, rvm_kind kind) {
  (void)user, (void)kind;
  if (want == 0) return free(old), NULL;
  void *p = aligned_alloc(64, (want + 63) / 64 * 64);
  if (p && old) memcpy(p, old, was < want ? was : want), free(old);
  return p;
}

typedef enum { INTERP, VM, NATIVE, ENGINES } EngineKind;
static const char *const engine_name[ENGINES] = {"interp", "vm", "native"};

/* The code stays until the process ends. */
static bool use_engine(EngineKind e, rvm_program *p, const void *image, size_t n) {
  if (e == INTERP) return true;
#ifdef RVM_HAVE_LLVM
  const char *why;
  size_t bytes;
  LlvmOptions o = {.level = -1, .functions = e == NATIVE, .caches = machine_caches(NULL)};
  void *code = llvm_compile(&o, image, n, &bytes, &why);
  if (code && code_load(p, code, bytes, &why)) return true;
  fprintf(stderr, "%s\n", why);
  exit(1);
#else
  (void)p, (void)image, (void)n;
  return false;
#endif
}

/* false: there is no such engine. */
static bool run_program(EngineKind engine, const char *text, double *ns) {
  IrCtx *cx;
  Module *m = check(&cx, text);
  Image im;
  Global *g = module_find(m, "main");
  Diags *d = diags_new(m->sources);
  size_t n;
  rvm_program *p;
  rvm_instance *vm;
  rvm_error e;
  rvm_func f;
  rvm_alloc a = {host, NULL};
  if (!lower_module(m, 1, &g, d, &im)) exit(1);
  uint8_t *bytes = image_write(&im, lower_alloc(), &n);
  if (rvm_program_load(bytes, n, a, &p, &e) || rvm_program_find(p, "main", &f, &e)) {
    fprintf(stderr, "%s\n", e.message);
    exit(1);
  }
  if (!use_engine(engine, p, bytes, n)) return false;
  if (rvm_instance_new(p, NULL, a, &vm, &e)) exit(1);
  for (int i = 0; i < RUNS; i++) {
    rvm_value out;
    double t = now();
    if (rvm_apply(vm, f, NULL, &out, &e)) exit(1);
    ns[i] = now() - t;
    rvm_value_release(vm, out);
  }
  rvm_instance_free(vm);
  rvm_program_free(p);
  return true;
}

/* 53 convolutions with batch norm and relu, residual additions, a classifier. */
static char *resnet50(void) {
  StrBuf b = {0}, params = {0};
  int at = 0, c = 64;
  buf_str(&b, "  %0 = nn.relu(%x);\n");
  for (int i = 0; i < 53; i++) {
    buf_fmt(&params, ", %%w%d: Tensor[(%d, %d, 3, 3), float32], %%g%d: Tensor[(%d), float32]", i, c,
            c, i, c);
    buf_fmt(&b,
            "  %%%d = nn.conv2d(%%%d, %%w%d, padding=[1, 1], channels=%d, kernel_size=[3, 3]);\n",
            at + 1, at, i, c);
    buf_fmt(&b, "  %%%d = nn.batch_norm(%%%d, %%g%d, %%g%d, %%g%d, %%g%d);\n", at + 2, at + 1, i, i,
            i, i);
    buf_fmt(&b, "  %%%d = %%%d.0;\n  %%%d = add(%%%d, %%%d);\n  %%%d = nn.relu(%%%d);\n", at + 3,
            at + 2, at + 4, at + 3, at, at + 5, at + 4);
    at += 5;
  }
  return str_fmt("def @main(%%x: Tensor[(1, 64, 14, 14), float32]%s) {\n%s  "
                 "nn.batch_flatten(nn.global_avg_pool2d(%%%d))\n}\n",
                 buf_text(&params), buf_text(&b), at);
}

extern char **environ;
static void start_up(const char *rvm, double *ns) {
  char rly[] = "/tmp/rvm_bench_XXXXXX", cmd[256];
  int fd = mkstemp(rly);
  if (fd < 0) exit(1);
  FILE *f = fdopen(fd, "w");
  fputs("def @main() { 1 }\n", f);
  fclose(f);
  snprintf(cmd, sizeof cmd, "%s.rvm", rly);
  char *build[] = {(char *)rvm, "build", rly, "--out", cmd, NULL},
       *run[] = {(char *)rvm, "run", cmd, "--quiet", NULL};
  for (int i = -1; i < RUNS; i++) {
    pid_t pid;
    int status;
    double t = now();
    if (posix_spawn(&pid, rvm, NULL, NULL, i < 0 ? build : run, environ) ||
        waitpid(pid, &status, 0) < 0 || status)
      exit(1);
    if (i >= 0) ns[i] = now() - t;
  }
  remove(rly), remove(cmd);
}

static const struct {
  const char *name;
  double per;
  const char *text;
} program[] = {
    {"loop_iteration", 1e6,
     "def @main() -> int32 { @loop(1000000, 0) }\n"
     "def @loop(%n: int32, %a: int32) -> int32 { if (%n == 0) { %a } else { @loop(%n - 1, "
     "%a + %n) } }\n"},
    {"call", 150049, /* that fib(24) makes              */
     "def @main() -> int32 { @fib(24) }\n"
     "def @fib(%n: int32) -> int32 { if (%n < 2) { %n } else { @fib(%n - 1) + @fib(%n - 2) } }\n"},
    {"add_of_16", 1000,
     "def @main() { @chain(1000, zeros(shape=[16], dtype=\"float32\"), ones(shape=[16], "
     "dtype=\"float32\")) }\n"
     "def @chain(%n: int32, %x: Tensor[(16), float32], %y: Tensor[(16), float32])\n"
     "    -> Tensor[(16), float32] { if (%n == 0) { %x } else { @chain(%n - 1, %x + %y, %y) } }\n"},
};

int main(int argc, char **argv) {
  double ns[RUNS];
  IrCtx *cx;
  mem_init();
  printf("{\n");
  for (int e = INTERP; e < ENGINES; e++)
    for (size_t i = 0; i < sizeof program / sizeof *program; i++)
      if (run_program((EngineKind)e, program[i].text, ns))
        report(str_fmt("%s_%s", program[i].name, engine_name[e]), ns, program[i].per, "ns", ",");
  char *text = resnet50();
  for (int i = 0; i < RUNS; i++) {
    double t = now();
    check(&cx, text);
    ns[i] = now() - t;
  }
  report("check_resnet50", ns, 1e6, "ms", argc > 1 ? "," : "");
  if (argc > 1) {
    start_up(argv[1], ns);
    report("start_up", ns, 1e6, "ms", "");
  }
  printf("}\n");
  return 0;
}
