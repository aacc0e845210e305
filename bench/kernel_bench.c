/* kernel_bench.c -- how fast the interpreter of kernels is, as JSON.
 *
 *   kernel_bench [seconds per case]                                          */
#include "bench/bench.h"
#include "kernel/build.h"
#include "kernel/interp.h"

/* work: how many of `unit` one run does */
static void measure(const char *name, KB *b, const int64_t *sym, double work, const char *unit,
                    double seconds, bool last) {
  Kernel *k = kb_done(b);
  KProg *p = NULL;
  KError e = {K_OK, ""};
  void *mem[K_MAX_BUFS] = {0};
  if (!k || kernel_prepare(k, BENCH_ALLOC, &p, &e) != K_OK) die(name, k ? e.why : kb_error(b));
  for (uint32_t i = 0; i < k->n_params; i++) {
    int64_t n = 0;
    int size = dtype_bytes((DType)k->buf[i].dtype);
    if (!kernel_buf_count(k, i, sym, &n)) exit(1);
    mem[i] = calloc((size_t)n + 1, (size_t)size);
    for (int64_t j = 0; j < n; j++)
      if (k->buf[i].dtype == DT_f32)
        ((float *)mem[i])[j] = (float)(j % 97) / 64 - 0.5f;
      else
        ((char *)mem[i])[j * size] = (char)(j % 50);
  }
  double best = 1e9, end = clock_seconds() + seconds;
  for (int round = 0; round < 3 || clock_seconds() < end; round++) {
    double t = clock_seconds();
    KStatus s = kernel_run(p, mem, sym, BENCH_ALLOC, &e);
    t = clock_seconds() - t;
    if (s != K_OK) die(name, e.why);
    if (t < best) best = t;
  }
  printf("  {\"name\": \"%s\", \"unit\": \"%s\", \"rate\": %.4g, \"seconds\": %.4g}%s\n", name,
         unit, work / best, best, last ? "" : ",");
  for (uint32_t i = 0; i < k->n_params; i++) free(mem[i]);
  kernel_unprepare(p, BENCH_ALLOC);
  kernel_free(k, BENCH_ALLOC);
}

/* y = max(x * a + b, 0) * c - d, or y = op(x) */
static KB *map(SOp op) {
  KB *b = kb_new(BENCH_ALLOC, "map");
  KE n = kb_sym(b, "n");
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 1, &n), y = kb_buf(b, K_OUT, "y", DT_f32, 1, &n);
  KE i = kb_for(b, n, K_PARALLEL), v = kb_load(b, x, &i);
  if (op == S_COUNT) {
    v = kb_add(b, kb_mul(b, v, kb_float(b, DT_f32, 1.5)), kb_float(b, DT_f32, 0.25));
    v = kb_mul(b, kb_max(b, v, kb_float(b, DT_f32, 0)), kb_float(b, DT_f32, 3));
    v = kb_sub(b, v, kb_float(b, DT_f32, 0.5));
  } else {
    v = kb_un(b, op, v);
  }
  kb_store(b, y, &i, v);
  kb_end(b);
  return b;
}

/* y = max(x + row, 0) of (n, m) */
static KB *add_row(void) {
  KB *b = kb_new(BENCH_ALLOC, "row");
  KE d[2] = {kb_sym(b, "n"), kb_sym(b, "m")}, i[2];
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 2, d), r = kb_buf(b, K_IN, "r", DT_f32, 1, &d[1]);
  uint32_t y = kb_buf(b, K_OUT, "y", DT_f32, 2, d);
  i[0] = kb_for(b, d[0], K_PARALLEL);
  i[1] = kb_for(b, d[1], K_PARALLEL);
  kb_store(b, y, i,
           kb_max(b, kb_add(b, kb_load(b, x, i), kb_load(b, r, &i[1])), kb_float(b, DT_f32, 0)));
  kb_end(b);
  kb_end(b);
  return b;
}

/* Sum of (n, m) over axis 0 or 1 */
static KB *sum(int axis) {
  KB *b = kb_new(BENCH_ALLOC, "sum");
  KE d[2] = {kb_sym(b, "n"), kb_sym(b, "m")}, at[2];
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 2, d),
           y = kb_buf(b, K_OUT, "y", DT_f32, 1, &d[1 - axis]);
  KE i = kb_for(b, d[1 - axis], K_PARALLEL), j;
  kb_reduce_begin(b, 1, &d[axis], &j);
  at[axis] = j;
  at[1 - axis] = i;
  kb_store(b, y, &i, kb_reduce_end(b, S_add, kb_float(b, DT_f32, 0), kb_load(b, x, at)));
  kb_end(b);
  return b;
}

/* y[i, j] = x[j, i] of (n, m) */
static KB *transpose(void) {
  KB *b = kb_new(BENCH_ALLOC, "transpose");
  KE d[2] = {kb_sym(b, "n"), kb_sym(b, "m")}, e[2] = {d[1], d[0]}, i[2], at[2];
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 2, d), y = kb_buf(b, K_OUT, "y", DT_f32, 2, e);
  i[0] = kb_for(b, d[1], K_PARALLEL);
  i[1] = kb_for(b, d[0], K_PARALLEL);
  at[0] = i[1], at[1] = i[0];
  kb_store(b, y, i, kb_load(b, x, at));
  kb_end(b);
  kb_end(b);
  return b;
}

/* Serial running sum with a clip: five nodes a step */
static KB *scan(void) {
  KB *b = kb_new(BENCH_ALLOC, "scan");
  KE n = kb_sym(b, "n"), init = kb_float(b, DT_f32, 0), held[1];
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 1, &n), y = kb_buf(b, K_OUT, "y", DT_f32, 1, &n);
  KE i = kb_for_carry(b, n, 1, &init, held);
  KE next = kb_let(
      b, kb_min(b, kb_add(b, kb_mul(b, held[0], kb_float(b, DT_f32, 0.9)), kb_load(b, x, &i)),
                kb_float(b, DT_f32, 9)));
  kb_store(b, y, &i, next);
  kb_end_carry(b, &next);
  return b;
}

/* y = x w^T (nt) or x w, of t accumulated in acc, with bias and relu */
static KB *matmul(DType t, DType acc, bool nt) {
  KB *b = kb_new(BENCH_ALLOC, "matmul");
  KE m = kb_sym(b, "m"), n = kb_sym(b, "n"), k = kb_sym(b, "k"), xd[2] = {m, k},
     wd[2] = {nt ? n : k, nt ? k : n}, yd[2] = {m, n}, p[2], r;
  uint32_t x = kb_buf(b, K_IN, "x", t, 2, xd), w = kb_buf(b, K_IN, "w", t, 2, wd),
           y = kb_buf(b, K_OUT, "y", acc, 2, yd);
  kb_contract_begin(b, 2, yd, p, 1, &k, &r);
  KE xi[2] = {p[0], r}, wi[2] = {nt ? p[1] : r, nt ? r : p[1]};
  KE a = kb_contract_acc(b, acc, kb_cast(b, kb_load(b, x, xi), acc),
                         kb_cast(b, kb_load(b, w, wi), acc));
  kb_store(b, y, p, kb_max(b, a, kb_num(b, acc, 0)));
  kb_contract_end(b);
  return b;
}

/* 3 x 3, stride 1, padded; NCHW; c channels each way, or depthwise */
static KB *conv(int64_t c, int64_t h, bool depthwise) {
  KB *b = kb_new(BENCH_ALLOC, "conv");
  KE ch = kb_int(b, c), hh = kb_int(b, h), three = kb_int(b, 3), one = kb_int(b, 1),
     ic = depthwise ? one : ch;
  KE xd[3] = {ch, hh, hh}, wd[4] = {ch, ic, three, three}, rd[3] = {ic, three, three}, p[3], q[3];
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 3, xd), w = kb_buf(b, K_IN, "w", DT_f32, 4, wd),
           y = kb_buf(b, K_OUT, "y", DT_f32, 3, xd);
  kb_contract_begin(b, 3, xd, p, 3, rd, q);
  KE xi[3] = {depthwise ? p[0] : q[0], kb_sub(b, kb_add(b, p[1], q[1]), one),
              kb_sub(b, kb_add(b, p[2], q[2]), one)};
  KE wi[4] = {p[0], depthwise ? kb_int(b, 0) : q[0], q[1], q[2]};
  KE a =
      kb_contract_acc(b, DT_f32, kb_load_or(b, x, xi, kb_float(b, DT_f32, 0)), kb_load(b, w, wi));
  kb_store(b, y, p, a);
  kb_contract_end(b);
  return b;
}

int main(int argc, char **argv) {
  double s = argc > 1 ? atof(argv[1]) : 0.3;
  int64_t n = 1000000, m256[3] = {256, 256, 256}, m1[3] = {1, 1024, 1024},
          m1k[3] = {1024, 1024, 1024};
  int64_t wide[2] = {1000, 1000}, thin[2] = {300000, 3}, m8[3] = {8, 8, 8}, one = 1;
  puts("[");
  measure("fused chain of 5, 1e6 f32", map(S_COUNT), &n, (double)n, "elements/s", s, false);
  measure("fused chain of 5, one element", map(S_COUNT), &one, 1, "runs/s", s, false);
  measure("exp 1e6 f32", map(S_exp), &n, (double)n, "elements/s", s, false);
  measure("log 1e6 f32", map(S_log), &n, (double)n, "elements/s", s, false);
  measure("tanh 1e6 f32", map(S_tanh), &n, (double)n, "elements/s", s, false);
  measure("sigmoid 1e6 f32", map(S_sigmoid), &n, (double)n, "elements/s", s, false);
  measure("erf 1e6 f32", map(S_erf), &n, (double)n, "elements/s", s, false);
  measure("add row, relu 1000 x 1000", add_row(), wide, 1e6, "elements/s", s, false);
  measure("add row, relu 300000 x 3", add_row(), thin, 9e5, "elements/s", s, false);
  measure("sum of rows 1000 x 1000", sum(1), wide, 1e6, "elements/s", s, false);
  measure("sum of columns 1000 x 1000", sum(0), wide, 1e6, "elements/s", s, false);
  measure("sum of rows 300000 x 3", sum(1), thin, 9e5, "elements/s", s, false);
  measure("transpose 1000 x 1000", transpose(), wide, 1e6, "elements/s", s, false);
  measure("serial scan 1e6", scan(), &n, (double)n * 5, "nodes/s", s, false);
  measure("matmul 256^3 f32", matmul(DT_f32, DT_f32, false), m256, 2.0 * 256 * 256 * 256, "flop/s",
          s, false);
  measure("matmul 256^3 f32 NT", matmul(DT_f32, DT_f32, true), m256, 2.0 * 256 * 256 * 256,
          "flop/s", s, false);
  measure("matmul 1024^3 f32", matmul(DT_f32, DT_f32, false), m1k, 2.0 * 1024 * 1024 * 1024,
          "flop/s", s, false);
  measure("matmul 256^3 f64", matmul(DT_f64, DT_f64, false), m256, 2.0 * 256 * 256 * 256, "flop/s",
          s, false);
  measure("matmul 256^3 i8 to i32", matmul(DT_i8, DT_i32, true), m256, 2.0 * 256 * 256 * 256,
          "op/s", s, false);
  measure("matmul 1 x 1024 x 1024 f32 NT", matmul(DT_f32, DT_f32, true), m1, 2.0 * 1024 * 1024,
          "flop/s", s, false);
  measure("matmul 1 x 1024 x 1024 f32 NN", matmul(DT_f32, DT_f32, false), m1, 2.0 * 1024 * 1024,
          "flop/s", s, false);
  measure("matmul 8^3 f32", matmul(DT_f32, DT_f32, false), m8, 2.0 * 512, "flop/s", s, false);
  measure("conv 3x3 64 channels 56 x 56", conv(64, 56, false), NULL, 2.0 * 64 * 64 * 9 * 56 * 56,
          "flop/s", s, false);
  measure("conv 3x3 depthwise 64 channels 56 x 56", conv(64, 56, true), NULL,
          2.0 * 64 * 9 * 56 * 56, "flop/s", s, true);
  puts("]");
  return 0;
}
