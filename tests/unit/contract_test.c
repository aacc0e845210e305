/* contract_test.c -- compiled contractions against the interpreter: products and
 * convolutions around the borders of tiles and panels, with constant operands,
 * fused epilogues, fixed and free extents, for each width of vectors.        */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include "kernel/build.h"
#include "kernel/interp.h"

#ifdef RVM_HAVE_LLVM
#include <sys/mman.h>
#include <unistd.h>
#include "codegen/llvm/jit.h"
#include "codegen/native/launch.h"

static uint64_t seed = 88172645463325252u;
static int64_t below(int64_t n) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (int64_t)(seed % (uint64_t)n);
}

/* ---- memory -------------------------------------------------------------------------- */
static void put(void *p, int64_t i, DType t) {
  int64_t v = below(41) - 20;
  if (t == DT_f32) ((float *)p)[i] = (float)v / 8;
  if (t == DT_f64) ((double *)p)[i] = (double)v / 8;
  if (t == DT_f16) ((uint16_t *)p)[i] = f32_to_f16((float)v / 8);
  if (t == DT_i32) ((int32_t *)p)[i] = (int32_t)v;
  if (t == DT_i8) ((int8_t *)p)[i] = (int8_t)v;
}

static double get(const void *p, int64_t i, DType t) {
  if (t == DT_f32) return (double)((const float *)p)[i];
  if (t == DT_f64) return ((const double *)p)[i];
  if (t == DT_f16) return (double)f16_to_f32(((const uint16_t *)p)[i]);
  return t == DT_i32 ? ((const int32_t *)p)[i] : ((const int8_t *)p)[i];
}

/* Of exactly the buffer's size. */
static void *filled(const Kernel *k, uint32_t b, const int64_t *sym, size_t *bytes) {
  int64_t n;
  DType t = (DType)k->buf[b].dtype;
  assert_true(kernel_buf_count(k, b, sym, &n));
  *bytes = (size_t)(n * dtype_bytes(t));
  void *p = malloc(*bytes + (*bytes == 0));
  for (int64_t i = 0; i < n; i++) put(p, i, t);
  return p;
}

static void compare(const Kernel *k, uint32_t b, const int64_t *sym, const void *got,
                    const void *want, double rounds, const char *what) {
  int64_t n;
  DType t = (DType)k->buf[b].dtype;
  double tolerance = t == DT_f64 ? 1e-12 : t == DT_f32 ? 2e-5 : t == DT_f16 ? 4e-3 : 0;
  tolerance *= rounds;
  assert_true(kernel_buf_count(k, b, sym, &n));
  for (int64_t i = 0; i < n; i++) {
    double x = get(got, i, t), y = get(want, i, t);
    if (!(fabs(x - y) <= tolerance * (1 + fabs(y))))
      fail_msg("%s: [%lld] is %g, not %g", what, (long long)i, x, y);
  }
}

/* ---- running -------------------------------------------------------------------------- */
enum { WEIGHT = 1, MOST_CONSTANTS = 16 }; /* WEIGHT: the buffer that may be a constant */
typedef struct {
  LlvmJit *jit;
  KernelFn fn;
  void *ctx;
  KProg *p;
  void *constant[MOST_CONSTANTS]; /* they outlive the kernel */
  int constants;
  double rounds; /* so many times the tolerance */
} Compiled;

static KStatus interpret(void *ctx, void *const *buf, const int64_t *sym, KAlloc a, KError *err) {
  return kernel_run(((Compiled *)ctx)->p, buf, sym, a, err);
}

/* p, which is freed, at the end of readable memory: *map of *room bytes. */
static void *at_the_end(void *p, size_t bytes, void **map, size_t *room) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page;
  *room = whole + page;
  *map = mmap(NULL, *room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(*map != MAP_FAILED);
  char *end = (char *)*map + whole;
  assert_int_equal(mprotect(end, page, PROT_NONE), 0);
  memcpy(end - bytes, p, bytes);
  free(p);
  return end - bytes;
}

/* Twice, so that a constant is packed and then found. */
static void run(Compiled *c, const Kernel *k, const int64_t *sym, bool constant, const char *what) {
  void *mem[2][K_MAX_BUFS], *map;
  size_t bytes[K_MAX_BUFS], room;
  uint32_t out = k->n_params - 1;
  KError e = {K_OK, ""};
  assert_int_equal(kernel_launch_ok(k, sym, native_memory, &e), K_OK);
  for (uint32_t b = 0; b < k->n_params; b++) {
    mem[0][b] = filled(k, b, sym, &bytes[b]);
    mem[1][b] = malloc(bytes[b] + 1);
    memcpy(mem[1][b], mem[0][b], bytes[b]);
  }
  mem[0][0] = at_the_end(mem[0][0], bytes[0], &map, &room);
  native_constants(c->ctx, constant ? mem[0][WEIGHT] : NULL, constant ? bytes[WEIGHT] : 0);
  assert_int_equal(kernel_run(c->p, mem[1], sym, native_memory, &e), K_OK);
  for (int i = 0; i < 2; i++) {
    memset(mem[0][out], 0x7f, bytes[out]);
    assert_int_equal(c->fn(c->ctx, mem[0], sym, native_memory, &e), K_OK);
    compare(k, out, sym, mem[0][out], mem[1][out], c->rounds, what);
  }
  for (uint32_t b = 0; b < k->n_params; b++) {
    if (constant && b == WEIGHT && c->constants < MOST_CONSTANTS)
      c->constant[c->constants++] = mem[0][b];
    else if (b != 0)
      free(mem[0][b]);
    free(mem[1][b]);
  }
  munmap(map, room);
}

static Compiled compile_for(const Kernel *k, LlvmOptions o) {
  const char *why = NULL;
  KError e = {K_OK, ""};
  Compiled c = {.rounds = o.fast_math ? 100 : 1};
  bool needs;
  if (kernel_verify(k, native_memory, &needs, &e) != K_OK) fail_msg("%s", e.why);
  assert_int_equal(kernel_prepare(k, native_memory, &c.p, &e), K_OK);
  o.level = 1;
  c.jit = llvm_jit_new(&o, &why);
  assert_non_null(c.jit);
  c.fn = llvm_jit_kernel(c.jit, k, interpret, NULL, &c.ctx, &why);
  if (!c.fn) fail_msg("%s", why);
  return c;
}

static Compiled compile(const Kernel *k, const char *cpu) {
  return compile_for(k, (LlvmOptions){.cpu = cpu});
}

static void drop(Compiled *c, Kernel *k) {
  llvm_jit_free(c->jit);
  kernel_unprepare(c->p, native_memory);
  while (c->constants > 0) free(c->constant[--c->constants]);
  kernel_free(k, native_memory);
}

static bool runs_here(const char *cpu) {
#if defined(__x86_64__)
  if (strcmp(cpu, "x86-64-v4") == 0)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  if (strcmp(cpu, "x86-64-v3") == 0)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return true;
#else
  return cpu == NULL;
#endif
}
static const Caches small_caches = {8 << 10, 64 << 10, 256 << 10};
static const char *const cpu_name[] = {"x86-64-v4", "x86-64-v3", "x86-64"};

/* ---- products ------------------------------------------------------------------------- */
typedef struct {
  DType t, in;    /* of the sum and of the factors         */
  bool nk, fixed; /* the weight is (n, k); extents are constants */
  int epilogue;   /* 0 none, 1 bias and maximum, 2 residual and a turned result */
  bool any_rows;  /* fixed, but for the rows               */
} Form;

static Kernel *product(const Form *f, const int64_t *mnk) {
  KB *b = kb_new(native_memory, "product");
  static const char *const name[] = {"m", "n", "k"};
  KE x[3], par[2], red;
  for (int i = 0; i < 3; i++) {
    bool known = f->fixed && !(f->any_rows && i == 0);
    x[i] = known ? kb_int(b, mnk[i]) : kb_sym(b, name[i]);
  }
  KE m = x[0], n = x[1], k = x[2];
  uint32_t a = kb_buf(b, K_IN, "a", f->in, 2, (KE[]){m, k});
  uint32_t w = kb_buf(b, K_IN, "w", f->in, 2, f->nk ? (KE[]){n, k} : (KE[]){k, n});
  uint32_t bias = kb_buf(b, K_IN, "bias", f->t, 1, &n);
  uint32_t rest = kb_buf(b, K_IN, "rest", f->t, 2, (KE[]){m, n});
  uint32_t y = kb_buf(b, K_OUT, "y", f->t, 2, f->epilogue == 2 ? (KE[]){n, m} : (KE[]){m, n});
  kb_contract_begin(b, 2, (KE[]){m, n}, par, 1, &k, &red);
  KE fa = kb_load(b, a, (KE[]){par[0], red});
  KE fw = kb_load(b, w, f->nk ? (KE[]){par[1], red} : (KE[]){red, par[1]});
  KE acc = kb_contract_acc(b, f->t, kb_cast(b, fa, f->t), kb_cast(b, fw, f->t));
  KE at[2] = {par[0], par[1]};
  if (f->epilogue == 1) {
    acc = kb_let(b, kb_add(b, acc, kb_load(b, bias, &par[1])));
    acc = kb_max(b, acc, kb_num(b, f->t, 0));
  } else if (f->epilogue == 2) {
    acc = kb_add(b, kb_mul(b, acc, kb_num(b, f->t, 2)), kb_load(b, rest, par));
    at[0] = par[1], at[1] = par[0];
  }
  kb_store(b, y, at, acc);
  kb_contract_end(b);
  Kernel *out = kb_done(b);
  if (!out) fail_msg("builder: %s", kb_error(b));
  return out;
}

static const int64_t edge[] = {0,  1,  2,  5,  6,  7,  13, 14, 15, 16,
                               17, 28, 29, 31, 32, 33, 40, 48, 56, 65};
enum { EDGES = sizeof edge / sizeof *edge };

static void products(const char *cpu, const Form *f, int kernels, int sizes) {
  char what[160];
  for (int i = 0; i < kernels; i++) {
    int64_t s[3] = {edge[below(EDGES)], edge[below(EDGES)], 1 + below(70)};
    if (f->fixed)
      for (int j = 0; j < 2; j++) s[j] += s[j] == 0;
    Kernel *k = product(f, s);
    Compiled c = compile(k, cpu);
    for (int j = 0; j < (f->fixed ? 2 : sizes); j++) {
      if (!f->fixed)
        s[0] = edge[below(EDGES)], s[1] = edge[below(EDGES)], s[2] = j == 1 ? 0 : 1 + below(70);
      snprintf(what, sizeof what, "%s: %s from %s, %s, %s, epilogue %d, %lld x %lld x %lld", cpu,
               dtype_name(f->t), dtype_name(f->in), f->nk ? "nk" : "kn",
               f->fixed ? "fixed" : "free", f->epilogue, (long long)s[0], (long long)s[1],
               (long long)s[2]);
      run(&c, k, f->fixed ? NULL : s, j & 1, what);
    }
    drop(&c, k);
  }
}

static void products_around_the_borders_of_tiles(void **state) {
  (void)state;
  static const DType type[][2] = {{DT_f32, DT_f32}, {DT_f64, DT_f64}, {DT_f16, DT_f16},
                                  {DT_i32, DT_i32}, {DT_i32, DT_i8},  {DT_f32, DT_i8}};
  for (int cpu = 0; cpu < 3; cpu++) {
    if (!runs_here(cpu_name[cpu])) continue;
    for (int t = 0; t < 6; t++)
      for (int nk = 0; nk < 2; nk++) {
        Form f = {type[t][0], type[t][1], nk, false, (t + nk) % 3, false};
        if (f.t == DT_f16) f.epilogue = 0;
        products(cpu_name[cpu], &f, 1, 12);
        f.fixed = true;
        f.epilogue = (t + nk + 1) % 3;
        if (f.t == DT_f16) f.epilogue = 0;
        products(cpu_name[cpu], &f, t == 0 ? 4 : 1, 2);
      }
  }
}

/* A weight in tiles (n / t, k, t), which are read where they lie if panels fit. */
static void weights_in_tiles(void **state) {
  (void)state;
  static const int64_t wide[] = {8, 16, 32, 48, 64, 33};
  static const DType type[] = {DT_f32, DT_f64, DT_f16};
  for (int i = 0; i < 54; i++) {
    DType t = type[i / 3 % 3], sum = t == DT_f16 ? DT_f32 : t;
    const char *cpu = cpu_name[i % 3];
    if (!runs_here(cpu)) continue;
    KB *b = kb_new(native_memory, "tiles");
    KE m = kb_sym(b, "m"), n = kb_sym(b, "n"), k = kb_sym(b, "k"), w = kb_int(b, wide[i / 9]);
    KE par[3], red;
    uint32_t x = kb_buf(b, K_IN, "x", t, 2, (KE[]){m, k});
    uint32_t tiles = kb_buf(b, K_IN, "tiles", t, 3, (KE[]){n, k, w});
    uint32_t y = kb_buf(b, K_OUT, "y", sum, 3, (KE[]){m, n, w});
    kb_contract_begin(b, 3, (KE[]){m, n, w}, par, 1, &k, &red);
    KE fx = kb_cast(b, kb_load(b, x, (KE[]){par[0], red}), sum);
    KE fw = kb_cast(b, kb_load(b, tiles, (KE[]){par[1], red, par[2]}), sum);
    kb_store(b, y, par, kb_max(b, kb_contract_acc(b, sum, fx, fw), kb_num(b, sum, -9)));
    kb_contract_end(b);
    Kernel *kernel = kb_done(b);
    if (!kernel) fail_msg("builder: %s", kb_error(b));
    Compiled c = compile(kernel, cpu);
    for (int j = 0; j < 6; j++) {
      int64_t s[3] = {edge[below(EDGES)], below(4), 1 + below(70)};
      run(&c, kernel, s, j & 1, "a weight in tiles");
    }
    drop(&c, kernel);
  }
}

/* Deeper than one visit of a tile, and more rows than one block. */
static void deep_and_tall_products(void **state) {
  (void)state;
  static const int64_t size[][3] = {{17, 35, 8200}, {700, 33, 1700}, {1, 40, 9000}, {30, 1, 8193}};
  Form f = {DT_f32, DT_f32, true, false, 1, false};
  Kernel *k = product(&f, NULL);
  Compiled c = compile(k, NULL);
  for (int i = 0; i < 4; i++) run(&c, k, size[i], i & 1, "deep");
  drop(&c, k);
}

/* The same on machines with other caches: depths come in more visits, rows in more blocks, a
 * constant is read from one end; few rows too, whose sums are in parts. */
static void products_cut_for_other_caches(void **state) {
  (void)state;
  static const Caches caches[] = {
      {1 << 10, 16 << 10, 0}, {16 << 10, 64 << 10, 256 << 10}, {48 << 10, 2 << 20, 105 << 20}};
  static const int64_t size[][3] = {{40, 70, 1100}, {1, 130, 600}, {2, 33, 257}, {130, 64, 256}};
  for (int i = 0; i < 36; i++) {
    const char *cpu = cpu_name[i % 3];
    if (!runs_here(cpu)) continue;
    Form f = {i / 18 ? DT_f64 : DT_f32, i / 18 ? DT_f64 : DT_f32, i & 1, i / 9 % 2, i % 3, false};
    Kernel *k = product(&f, size[i % 4]);
    Compiled c = compile_for(k, (LlvmOptions){.cpu = cpu, .caches = caches[i / 3 % 3]});
    run(&c, k, f.fixed ? NULL : size[i % 4], i / 2 & 1, "for other caches");
    drop(&c, k);
  }
}

/* Any number of rows of known depths: those that lie well for a tile are read where they are, those
 * a power of two apart are copied, the last tile's may be fewer than its height.  The deepest come
 * in several blocks. */
static void rows_that_are_not_packed(void **state) {
  (void)state;
  static const int64_t depth[] = {48, 256, 512, 1024, 768, 8192, 8193};
  static const DType type[] = {DT_f32, DT_f64};
  for (int i = 0; i < 28; i++) {
    int64_t mnk[3] = {1 + below(60), i % 4 == 0 ? 70 : 33 + below(32), depth[i % 7]};
    const char *cpu = cpu_name[i % 3];
    if (!runs_here(cpu)) continue;
    Form f = {type[i / 7 % 2], type[i / 7 % 2], i / 2 % 2, true, i % 3, i % 4 != 3};
    Kernel *k = product(&f, mnk);
    Compiled c = compile(k, cpu);
    for (int j = 0; j < (f.any_rows ? 5 : 1); j++) {
      int64_t m = j == 0 ? 128 : j == 1 ? 15 + 14 * below(4) : 1 + below(60);
      if (j == 4 && mnk[2] == 8192) m = 300;
      run(&c, k, f.any_rows ? &m : NULL, j % 4 != 3, "rows not packed");
    }
    drop(&c, k);
  }
}

/* Sizes at which Strassen's algorithm is taken, and just not: few rows, an odd number, columns
 * that are no whole pairs of panels, several blocks of rows.  The sums are exact in both. */
static void products_of_quadrants(void **state) {
  (void)state;
  static const int64_t size[][3] = {{32, 512, 256}, {31, 512, 256}, {33, 256, 512},
                                    {61, 530, 288}, {75, 544, 320}, {96, 255, 256},
                                    {53, 600, 512}, {65, 520, 264}, {128, 768, 768}};
  int n = sizeof size / sizeof *size;
  for (int i = 0; i < 2 * n; i++) {
    const char *cpu = cpu_name[i % 2];
    if (!runs_here(cpu)) continue;
    Form f = {DT_f32, DT_f32, i / 2 % 3 != 0, true, i % 3, i / n};
    Kernel *k = product(&f, size[i % n]);
    LlvmOptions o = {.cpu = cpu, .fast_math = true};
    if (i % 3 == 1) o.caches = small_caches;
    Compiled c = compile_for(k, o);
    c.rounds = 1;
    run(&c, k, f.any_rows ? size[i % n] : NULL, true, "by quadrants");
    if (f.any_rows)
      for (int64_t m = 27; m < 45; m += 1 + below(7)) run(&c, k, &m, true, "any rows");
    run(&c, k, f.any_rows ? size[i % n] : NULL, false, "no constant");
    drop(&c, k);
  }
  Form deep = {DT_f32, DT_f32, true, true, 1, true};
  Kernel *k = product(&deep, (int64_t[]){0, 512, 8192});
  Compiled c = compile_for(k, (LlvmOptions){.fast_math = true});
  c.rounds = 4;
  run(&c, k, (int64_t[]){59}, true, "several blocks");
  drop(&c, k);
}

/* ---- a row of zeros --------------------------------------------------------------------- */
/* What a row of zeros and a large matrix hold besides. */
typedef struct {
  double row, matrix;
} Odd;
static const Odd odd[] = {{0, 0}, {-0.0, 0}, {2, 0}, {0, INFINITY}, {0, -INFINITY}, {0, NAN}};

static void put_one(void *p, int64_t i, DType t, double v) {
  if (t == DT_f32) ((float *)p)[i] = (float)v;
  if (t == DT_f64) ((double *)p)[i] = v;
  if (t == DT_i32) ((int32_t *)p)[i] = isfinite(v) ? (int32_t)v : INT32_MIN;
}

/* Bit for bit what the interpreter has, but for the payload of a NaN. */
static void same_bits(const void *got, const void *want, int64_t n, DType t, const char *what) {
  size_t each = (size_t)dtype_bytes(t);
  for (int64_t i = 0; i < n; i++) {
    const char *x = (const char *)got + (size_t)i * each,
               *y = (const char *)want + (size_t)i * each;
    if (isnan(get(x, 0, t)) && isnan(get(y, 0, t))) continue;
    if (memcmp(x, y, each) != 0)
      fail_msg("%s: [%lld] is %g, not %g", what, (long long)i, get(x, 0, t), get(y, 0, t));
  }
}

static void zero_row(const Form *f, const int64_t *mnk, const Odd *o, bool constant) {
  int64_t n = mnk[1], deep = mnk[2], elements = mnk[1] * mnk[2];
  char what[80];
  snprintf(what, sizeof what, "%s, %lld x %lld, %g and %g", dtype_name(f->t), (long long)n,
           (long long)deep, o->row, o->matrix);
  Kernel *k = product(f, mnk);
  Compiled c = compile(k, NULL);
  void *mem[K_MAX_BUFS], *want;
  size_t bytes[K_MAX_BUFS];
  KError e = {K_OK, ""};
  for (uint32_t b = 0; b < k->n_params; b++) mem[b] = filled(k, b, NULL, &bytes[b]);
  memset(mem[0], 0, bytes[0]);
  put_one(mem[0], deep - 1, f->t, o->row);
  if (o->matrix != 0) put_one(mem[WEIGHT], elements / 2 + 3, f->t, o->matrix);
  if (constant) native_constants(c.ctx, mem[WEIGHT], bytes[WEIGHT]);
  uint32_t out = k->n_params - 1;
  void *got = mem[out];
  mem[out] = want = malloc(bytes[out]);
  assert_int_equal(kernel_run(c.p, mem, NULL, native_memory, &e), K_OK);
  for (int i = 0; i < 2; i++) {
    mem[out] = memset(got, 0x7f, bytes[out]);
    assert_int_equal(c.fn(c.ctx, mem, NULL, native_memory, &e), K_OK);
    same_bits(got, want, n, f->t, what);
  }
  bool any = false;
  for (int64_t i = 0; i < n && dtype_is_float(f->t); i++) any |= isnan(get(got, i, f->t));
  assert_int_equal(any, dtype_is_float(f->t) && !isfinite(o->matrix));
  for (uint32_t b = 0; b <= out; b++) free(mem[b]);
  free(want);
  drop(&c, k);
}

static void rows_of_zeros(void **state) {
  (void)state;
  static const int64_t size[][3] = {{1, 265, 512}, {1, 144, 1000}, {1, 17, 8300}};
  static const DType type[] = {DT_f32, DT_f64, DT_i32};
  for (int i = 0; i < 3; i++)
    for (int t = 0; t < 3; t++)
      for (int o = 0; o < 6; o++) {
        Form f = {type[t], type[t], (o + t) % 2, true, 2 * (o % 2), false};
        zero_row(&f, size[i], &odd[o], o + i != 2);
      }
}

/* Of a packed form, and rows as long as the test says. */
static void products_with_zeros_are_known(void **state) {
  (void)state;
  enum { N = 6, K = 5 };
  static const DType type[] = {DT_f32, DT_f64, DT_i32};
  for (int i = 0; i < 18; i++) {
    DType t = type[i % 3];
    const Odd *o = &odd[i / 3];
    Form f = {t, t, false, true, 0, false};
    Kernel *k = product(&f, (int64_t[]){1, N, K});
    Compiled c = compile(k, NULL);
    double row[K] = {0}, matrix[N * K] = {1, 2, 3};
    int64_t bytes = N * K * dtype_bytes(t);
    put_one(row, K - 1, t, o->row);
    put_one(matrix, 7, t, o->matrix);
    native_constants(c.ctx, matrix, sizeof matrix);
    JitState s = {.native = c.ctx};
    assert_int_equal(jit_zero_row(&s, row, matrix, 3, N, K, t), 0); /* nothing is packed */
    void *room = jit_pack(&s, matrix, 3, N, K, bytes);
    assert_non_null(room);
    memcpy(room, matrix, (size_t)bytes);
    jit_pack_done(&s, room);
    bool finite = t == DT_i32 || isfinite(o->matrix);
    bool zero = t == DT_i32 ? o->row == 0 : o->row == 0 && !signbit(o->row);
    for (int twice = 0; twice < 2; twice++)
      assert_int_equal(jit_zero_row(&s, row, matrix, 3, N, K, t), zero && finite);
    assert_int_equal(jit_zero_row(&s, row, matrix, 4, N, K, t), 0);
    drop(&c, k);
  }
}

/* ---- one constant, read in several ways ------------------------------------------------------ */
/* On what it depends, besides the extents of the product, which places of the weight are read. */
typedef enum { BY_SHIFT, BY_INDEX, BY_STRIDE, BY_TWO_DEPTHS, BY_BATCH, ACCESSES } Access;
enum { COLUMNS = 40, DEEP = 24, FEW = 4, HIGH = 60 };

static Kernel *picked(Access how) {
  KB *b = kb_new(native_memory, "picked");
  KE p = kb_sym(b, "p"), q = kb_sym(b, "q"), n = kb_int(b, COLUMNS), k = kb_int(b, DEEP);
  KE m = kb_int(b, 9), high = kb_int(b, HIGH), one = kb_int(b, 1), par[3], red[2];
  bool deep = how == BY_TWO_DEPTHS, batch = how == BY_BATCH;
  KE depth[2] = {deep ? p : k, deep ? q : one}, rows = batch ? kb_int(b, FEW) : one;
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 4, (KE[]){rows, m, depth[0], depth[1]});
  KE lines = batch ? n : high, wide = deep ? depth[1] : k, long_ = deep ? depth[0] : one;
  if (how == BY_STRIDE) lines = p, wide = q;
  uint32_t w = kb_buf(b, K_IN, "w", DT_f32, 4, (KE[]){rows, lines, wide, long_});
  uint32_t index = kb_buf(b, K_IN, "index", DT_i32, 1, &n);
  uint32_t y = kb_buf(b, K_OUT, "y", DT_f32, 3, (KE[]){rows, m, n});
  KE batches = batch ? kb_clamp(b, p, one, kb_int(b, FEW)) : one;
  kb_contract_begin(b, 3, (KE[]){batches, m, n}, par, 2, depth, red);
  KE line = par[2], last = kb_int(b, HIGH - 1);
  if (how == BY_SHIFT) line = kb_add(b, line, kb_clamp(b, p, kb_int(b, 0), kb_int(b, 20)));
  if (how == BY_INDEX) {
    KE i = kb_cast(b, kb_load(b, index, &line), DT_i64);
    line = kb_clamp(b, kb_add(b, i, kb_int(b, 30)), kb_int(b, 0), last);
  }
  KE at[4] = {par[0], line, deep ? red[1] : red[0], deep ? red[0] : red[1]};
  KE fx = kb_load(b, x, (KE[]){par[0], par[1], red[0], red[1]});
  kb_store(b, y, par, kb_contract_acc(b, DT_f32, fx, kb_load(b, w, at)));
  kb_contract_end(b);
  Kernel *out = kb_done(b);
  if (!out) fail_msg("builder: %s", kb_error(b));
  return out;
}

/* What is kept of a constant serves a launch that reads the same places only. */
static void a_kept_form_is_of_the_places_that_are_read(void **state) {
  (void)state;
  static const int64_t sym[ACCESSES][3][2] = {
      [BY_SHIFT] = {{0, 0}, {7, 0}, {20, 0}},       [BY_INDEX] = {{0, 0}, {0, 0}, {0, 0}},
      [BY_STRIDE] = {{60, 24}, {48, 30}, {40, 36}}, [BY_TWO_DEPTHS] = {{2, 12}, {12, 2}, {4, 6}},
      [BY_BATCH] = {{1, 0}, {4, 0}, {2, 0}},
  };
  for (int i = 0; i < 2 * ACCESSES; i++) {
    char what[40];
    Access how = (Access)(i % ACCESSES);
    const char *cpu = cpu_name[i / ACCESSES];
    if (!runs_here(cpu)) continue;
    Kernel *k = picked(how);
    Compiled c = compile(k, cpu);
    size_t bytes[K_MAX_BUFS];
    void *weight = filled(k, WEIGHT, sym[how][0], &bytes[WEIGHT]), *mem[4], *want;
    native_constants(c.ctx, weight, bytes[WEIGHT]);
    for (int j = 0; j < 6; j++) {
      const int64_t *s = sym[how][j % 3];
      KError e = {K_OK, ""};
      snprintf(what, sizeof what, "%s: access %d, launch %d", cpu, how, j);
      for (uint32_t b = 0; b < 4; b++) mem[b] = b == WEIGHT ? weight : filled(k, b, s, &bytes[b]);
      want = memcpy(malloc(bytes[3]), mem[3], bytes[3]);
      assert_int_equal(kernel_launch_ok(k, s, native_memory, &e), K_OK);
      assert_int_equal(c.fn(c.ctx, mem, s, native_memory, &e), K_OK);
      void *got = mem[3];
      mem[3] = want;
      assert_int_equal(kernel_run(c.p, mem, s, native_memory, &e), K_OK);
      compare(k, 3, s, got, want, 1, what);
      free(mem[0]), free(mem[2]), free(got), free(want);
    }
    drop(&c, k);
    free(weight);
  }
}

/* ---- convolutions ---------------------------------------------------------------------- */
typedef struct {
  int64_t n, g, ic, oc, h, w, kh, kw, stride, pad, dilation;
  bool last;  /* channels last                      */
  bool turns; /* ... in the result, if not in the data */
} Conv;

static int64_t out_of(int64_t x, int64_t k, const Conv *c) {
  return (x + 2 * c->pad - c->dilation * (k - 1) - 1) / c->stride + 1;
}

static KE window(KB *b, KE q, KE t, const Conv *c) {
  KE at = kb_add(b, kb_mul(b, q, kb_int(b, c->stride)), kb_mul(b, t, kb_int(b, c->dilation)));
  return kb_sub(b, at, kb_int(b, c->pad));
}

static Kernel *convolution(const Conv *c) {
  KB *b = kb_new(native_memory, "convolution");
  KE n = kb_int(b, c->n), ci = kb_int(b, c->g * c->ic), co = kb_int(b, c->g * c->oc);
  KE h = kb_int(b, c->h), w = kb_int(b, c->w), par[5], red[3], zero = kb_float(b, DT_f32, 0);
  KE kh = kb_int(b, c->kh), kw = kb_int(b, c->kw), g = kb_int(b, c->g);
  KE oh = kb_int(b, out_of(c->h, c->kh, c)), ow = kb_int(b, out_of(c->w, c->kw, c));
  KE ic = kb_int(b, c->ic), oc = kb_int(b, c->oc);
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 4, c->last ? (KE[]){n, h, w, ci} : (KE[]){n, ci, h, w});
  uint32_t wt =
      kb_buf(b, K_IN, "w", DT_f32, 4, c->last ? (KE[]){kh, kw, ic, co} : (KE[]){co, ic, kh, kw});
  uint32_t bias = kb_buf(b, K_IN, "bias", DT_f32, 1, &co);
  bool out_last = c->last != c->turns;
  uint32_t y =
      kb_buf(b, K_OUT, "y", DT_f32, 4, out_last ? (KE[]){n, oh, ow, co} : (KE[]){n, co, oh, ow});
  kb_contract_begin(b, 5, (KE[]){n, g, oc, oh, ow}, par, 3, (KE[]){ic, kh, kw}, red);
  KE in = kb_add(b, kb_mul(b, par[1], ic), red[0]), out = kb_add(b, kb_mul(b, par[1], oc), par[2]);
  KE i = window(b, par[3], red[1], c), j = window(b, par[4], red[2], c);
  KE xi[4] = {par[0], in, i, j}, xl[4] = {par[0], i, j, in};
  KE wi[4] = {out, red[0], red[1], red[2]}, wl[4] = {red[1], red[2], red[0], out};
  KE yi[4] = {par[0], out, par[3], par[4]}, yl[4] = {par[0], par[3], par[4], out};
  KE fx = c->pad ? kb_load_or(b, x, c->last ? xl : xi, zero) : kb_load(b, x, c->last ? xl : xi);
  KE acc = kb_contract_acc(b, DT_f32, fx, kb_load(b, wt, c->last ? wl : wi));
  kb_store(b, y, out_last ? yl : yi, kb_max(b, kb_add(b, acc, kb_load(b, bias, &out)), zero));
  kb_contract_end(b);
  Kernel *k = kb_done(b);
  if (!k) fail_msg("builder: %s", kb_error(b));
  return k;
}

static void check_conv_as(const Conv *v, const char *cpu, bool fast) {
  char what[200];
  snprintf(what, sizeof what,
           "%s: n %lld groups %lld in %lld out %lld, %lldx%lld, kernel %lldx%lld, stride %lld, pad "
           "%lld, dilation %lld, %s",
           cpu, (long long)v->n, (long long)v->g, (long long)v->ic, (long long)v->oc,
           (long long)v->h, (long long)v->w, (long long)v->kh, (long long)v->kw,
           (long long)v->stride, (long long)v->pad, (long long)v->dilation,
           v->last    ? v->turns ? "channels last to first" : "channels last"
           : v->turns ? "channels first to last"
                      : "channels first");
  Kernel *k = convolution(v);
  LlvmOptions o = {.cpu = cpu, .fast_math = fast};
  if (v->h % 2) o.caches = small_caches;
  Compiled c = compile_for(k, o);
  for (int i = 0; i < 2; i++) run(&c, k, NULL, i, what);
  drop(&c, k);
}

static void check_conv(const Conv *v, const char *cpu) { check_conv_as(v, cpu, false); }

static void convolutions_of_all_kinds(void **state) {
  (void)state;
  static const Conv fixed[] = {{1, 1, 3, 20, 17, 19, 7, 7, 2, 3, 1, false, false},
                               {2, 1, 16, 33, 14, 14, 3, 3, 1, 1, 1, false, false},
                               {1, 1, 20, 70, 7, 7, 3, 3, 1, 1, 1, false, false},
                               {1, 1, 40, 30, 9, 11, 1, 1, 1, 0, 1, false, false},
                               {1, 1, 40, 30, 9, 11, 1, 1, 2, 0, 1, true, false},
                               {1, 4, 4, 4, 14, 14, 3, 3, 1, 1, 1, false, false},
                               {2, 9, 1, 1, 14, 28, 3, 3, 1, 1, 1, false, false},
                               {1, 5, 1, 1, 15, 33, 3, 3, 2, 1, 1, false, false},
                               {1, 3, 1, 2, 12, 12, 5, 3, 1, 2, 2, false, false},
                               {1, 7, 1, 1, 9, 5, 3, 3, 1, 1, 1, false, false},
                               {1, 3, 1, 1, 30, 7, 7, 1, 1, 2, 1, false, false},
                               {1, 8, 1, 1, 9, 9, 3, 3, 1, 1, 1, true, false},
                               {1, 4, 8, 8, 14, 14, 3, 3, 1, 1, 1, false, false},
                               {2, 3, 5, 7, 12, 17, 3, 3, 1, 1, 1, false, false},
                               {1, 1, 9, 24, 8, 30, 3, 3, 2, 1, 1, false, false},
                               {1, 1, 6, 40, 9, 8, 3, 3, 1, 1, 1, false, false},
                               {1, 2, 1, 1, 96, 70, 3, 3, 1, 1, 1, false, false},
                               {2, 2, 1, 2, 93, 112, 3, 3, 2, 1, 1, false, false},
                               {1, 2, 1, 1, 75, 80, 5, 3, 1, 0, 2, false, false},
                               {1, 2, 1, 1, 200, 80, 3, 3, 3, 1, 1, false, false},
                               {1, 64, 1, 1, 25, 5, 3, 3, 1, 1, 1, true, false},
                               {2, 40, 1, 1, 9, 17, 3, 3, 2, 1, 1, true, false},
                               {1, 24, 1, 1, 14, 27, 5, 5, 1, 2, 1, true, false},
                               {2, 33, 1, 1, 12, 30, 3, 3, 1, 2, 2, true, false},
                               {1, 16, 1, 1, 9, 9, 3, 4, 3, 0, 1, true, false},
                               {1, 17, 1, 1, 4, 2, 5, 5, 1, 2, 1, true, false},
                               {1, 8, 1, 1, 30, 1, 7, 1, 1, 3, 1, true, false},
                               {1, 32, 1, 1, 3, 40, 1, 5, 2, 2, 1, true, false},
                               {2, 1, 40, 70, 9, 11, 1, 1, 1, 0, 1, true, false},
                               {1, 1, 512, 33, 5, 7, 1, 1, 1, 0, 1, true, false},
                               {2, 1, 3, 32, 21, 33, 3, 3, 2, 1, 1, false, true},
                               {2, 1, 1, 64, 49, 10, 10, 4, 2, 4, 1, false, true},
                               {1, 1, 5, 40, 11, 3, 3, 3, 1, 1, 1, false, true},
                               {1, 2, 6, 24, 8, 7, 3, 3, 1, 1, 1, false, true},
                               {1, 1, 40, 17, 7, 7, 3, 3, 1, 1, 1, false, true},
                               {2, 1, 40, 24, 9, 11, 1, 1, 1, 0, 1, true, true},
                               {1, 9, 1, 1, 9, 9, 3, 3, 1, 1, 1, true, true},
                               {1, 1, 24, 40, 9, 30, 3, 3, 1, 1, 1, false, false},
                               {2, 1, 9, 33, 5, 45, 3, 3, 1, 1, 1, false, false},
                               {1, 2, 10, 20, 7, 29, 3, 5, 2, 2, 1, false, false},
                               {1, 1, 12, 24, 12, 20, 3, 3, 1, 2, 2, false, false},
                               {1, 1, 10, 16, 6, 7, 1, 7, 1, 3, 1, false, false},
                               {1, 1, 8, 16, 5, 1, 1, 3, 1, 4, 1, false, false},
                               {2, 3, 8, 8, 28, 28, 3, 3, 1, 1, 1, false, false},
                               {2, 2, 5, 16, 16, 30, 3, 3, 1, 1, 1, false, false},
                               {2, 1, 6, 13, 24, 20, 5, 3, 1, 2, 2, false, false},
                               {2, 1, 20, 3, 9, 15, 3, 3, 1, 2, 2, false, false},
                               {2, 1, 7, 1, 10, 33, 3, 3, 1, 1, 1, false, false},
                               {1, 4, 4, 4, 1, 40, 1, 3, 1, 1, 1, false, false},
                               {2, 1, 9, 5, 11, 12, 1, 3, 1, 1, 1, true, false},
                               {1, 1, 4, 37, 48, 64, 3, 3, 1, 1, 1, false, false}};
  int n = sizeof fixed / sizeof *fixed;
  for (int cpu = 0; cpu < 3; cpu++)
    for (int i = 0; i < n && runs_here(cpu_name[cpu]); i++) check_conv(&fixed[i], cpu_name[cpu]);
}

/* Channels side by side are taken in lanes: their weight is kept by vectors, which loops one by one
 * have no use for. */
static void depthwise_by_channels(void **state) {
  (void)state;
  static const Conv v = {1, 40, 1, 1, 9, 11, 3, 3, 1, 1, 1, true, false};
  Kernel *k = convolution(&v);
  Compiled c = compile(k, NULL);
  const NativeKernel *n = c.ctx;
  int kept = 0;
  run(&c, k, NULL, true, "depthwise");
  for (int i = 0; i < PACKED_LISTS; i++) kept += n->own.list[i] != NULL;
  assert_int_equal(kept, 1);
  drop(&c, k);
}

static void random_convolutions(void **state) {
  (void)state;
  for (int i = 0; i < 40;) {
    Conv v = {1 + below(2),  1 + below(3), 1 + below(9), 1 + below(20), 1 + below(20),
              1 + below(40), 1 + below(4), 1 + below(4), 1 + below(3),  below(3),
              1 + below(2),  below(2),     below(2)};
    if (below(2)) v.g = 1 + below(24), v.ic = 1, v.oc = 1 + below(2);
    if (v.h + 2 * v.pad < v.dilation * (v.kh - 1) + 1) continue;
    if (v.w + 2 * v.pad < v.dilation * (v.kw - 1) + 1) continue;
    i++;
    check_conv(&v, cpu_name[i % 3 && runs_here(cpu_name[0]) ? 0 : 2]);
  }
}

/* Sizes at which the transforms pay: both sizes of tiles, whole and cut ones, several blocks,
 * groups and images, channels that leave lanes empty, no padding. */
static void convolutions_by_transforms(void **state) {
  (void)state;
  static const Conv fixed[] = {{1, 1, 32, 32, 14, 14, 3, 3, 1, 1, 1, false, false},
                               {2, 1, 40, 72, 9, 13, 3, 3, 1, 1, 1, false, false},
                               {1, 2, 21, 37, 12, 18, 3, 3, 1, 0, 1, false, false},
                               {1, 1, 64, 64, 56, 24, 3, 3, 1, 1, 1, false, false},
                               {1, 1, 130, 96, 6, 6, 3, 3, 1, 1, 1, false, false},
                               {1, 3, 17, 16, 20, 37, 3, 3, 1, 2, 1, false, false}};
  int n = sizeof fixed / sizeof *fixed;
  for (int cpu = 0; cpu < 3; cpu++)
    for (int i = 0; i < n && runs_here(cpu_name[cpu]); i++)
      check_conv_as(&fixed[i], cpu_name[cpu], true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(products_around_the_borders_of_tiles),
      cmocka_unit_test(deep_and_tall_products),
      cmocka_unit_test(products_cut_for_other_caches),
      cmocka_unit_test(rows_that_are_not_packed),
      cmocka_unit_test(products_of_quadrants),
      cmocka_unit_test(rows_of_zeros),
      cmocka_unit_test(products_with_zeros_are_known),
      cmocka_unit_test(a_kept_form_is_of_the_places_that_are_read),
      cmocka_unit_test(convolutions_of_all_kinds),
      cmocka_unit_test(weights_in_tiles),
      cmocka_unit_test(depthwise_by_channels),
      cmocka_unit_test(random_convolutions),
      cmocka_unit_test(convolutions_by_transforms),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) { return 0; }
#endif
