/* kernel_compare.h -- for tests: kernels run by the interpreter and by the naive one
 * (kernel_naive.h), on random inputs, with results compared. */
#ifndef RVM_TESTS_KERNEL_COMPARE_H
#define RVM_TESTS_KERNEL_COMPARE_H
#include <math.h>
#include <stdio.h>
#include "tests/unit/test.h"
#include "tests/unit/kernel_naive.h"

static uint64_t seed = 88172645463325252u;
static inline uint64_t next_random(void) { return xorshift(&seed); }
static inline int64_t below(int64_t n) { return (int64_t)(next_random() % (uint64_t)n); }

static long blocks, allowed = -1;
static inline void *heap(void *user, void *old, size_t old_bytes, size_t new_bytes) {
  (void)user, (void)old_bytes;
  if (new_bytes == 0) {
    blocks -= old != NULL;
    free(old);
    return NULL;
  }
  if (allowed == 0) return NULL;
  if (allowed > 0) allowed--;
  blocks += old == NULL;
  return realloc(old, new_bytes);
}
static const KAlloc A = {heap, NULL};

/* Any: bit patterns of all kinds.  Small: sums of a few thousand are exact or nearly so. */
typedef enum { FILL_Any, FILL_Small } Fill;
static inline uint64_t random_bits(DType t, Fill f) {
  if (t == DT_bool) return next_random() & 1;
  if (f == FILL_Small) {
    double d = dtype_is_float(t) ? (double)(below(2001) - 1000) / 256 : (double)below(100);
    return value_bits(d, t);
  }
  static const double odd[] = {0,   -0.0, 1,    -1,   INFINITY, -INFINITY,
                               NAN, 0.5,  -2.5, 1e30, -1e30,    3e-42};
  if (dtype_is_float(t) && below(4) == 0) return value_bits(odd[below(12)], t);
  if (dtype_is_float(t) && below(3)) return value_bits((double)(below(2001) - 1000) / 64, t);
  return dtype_is_float(t) ? next_random()
                           : (uint64_t)wrap_int((int64_t)(next_random() >> below(64)), t);
}

static inline bool close_to(uint64_t x, uint64_t y, DType t, double tolerance) {
  if (x == y) return true;
  if (!dtype_is_float(t)) return false;
  double a = bits_value(x, t), b = bits_value(y, t);
  if (isnan(a) && isnan(b)) return true;
  return fabs(a - b) <= tolerance * (1 + fabs(a) + fabs(b));
}

static inline int64_t count_of(const Kernel *k, uint32_t b, const int64_t *sym) {
  int64_t n = 0;
  assert_true(kernel_buf_count(k, b, sym, &n));
  return n;
}

/* Memory of exactly the buffer's size, so that a sanitizer sees the edge. */
static inline void *filled(const Kernel *k, uint32_t b, const int64_t *sym, Fill f) {
  DType t = (DType)k->buf[b].dtype;
  int64_t n = count_of(k, b, sym);
  void *p = malloc((size_t)(n * dtype_bytes(t)) + (n == 0));
  for (int64_t i = 0; i < n; i++) mem_put(p, i, t, random_bits(t, f));
  return p;
}

static inline void compare(const Kernel *k, uint32_t b, const int64_t *sym, const void *got,
                    const void *want, double tolerance) {
  DType t = (DType)k->buf[b].dtype;
  for (int64_t i = 0, n = count_of(k, b, sym); i < n; i++)
    if (!close_to(mem_get(got, i, t), mem_get(want, i, t), t, tolerance))
      fail_msg("%s: %s[%lld] is %g, not %g", k->text + k->name, k->text + k->buf[b].name,
               (long long)i, bits_value(mem_get(got, i, t), t), bits_value(mem_get(want, i, t), t));
}

static inline KStatus run_once(const Kernel *k, void *const *mem, const int64_t *sym, KError *err) {
  KProg *p;
  KStatus s = kernel_prepare(k, A, &p, err);
  if (s != K_OK) return s;
  s = kernel_run(p, mem, sym, A, err);
  kernel_unprepare(p, A);
  return s;
}

static inline Kernel *done(KB *b) {
  Kernel *k = kb_done(b);
  if (!k) fail_msg("builder: %s", kb_error(b));
  bool needs;
  KError e = {K_OK, ""};
  if (kernel_verify(k, A, &needs, &e) != K_OK) fail_msg("%s: %s", k->text + k->name, e.why);
  return k;
}

/* Both interpreters on the same random inputs; twice the same bits. */
static inline void check_with(const Kernel *k, const int64_t *sym, Fill f, double tolerance) {
  void *mem[3][K_MAX_BUFS];
  KError e = {K_OK, ""};
  if (kernel_launch_ok(k, sym, A, &e) != K_OK) fail_msg("%s: %s", k->text + k->name, e.why);
  for (uint32_t b = 0; b < k->n_params; b++) {
    size_t bytes = (size_t)(count_of(k, b, sym) * dtype_bytes((DType)k->buf[b].dtype));
    mem[0][b] = filled(k, b, sym, f);
    for (int i = 1; i < 3; i++) {
      mem[i][b] = malloc(bytes + 1);
      memcpy(mem[i][b], mem[0][b], bytes);
      if (bytes) mem[i][b] = realloc(mem[i][b], bytes);
    }
  }
  KStatus got = run_once(k, mem[0], sym, &e), want = naive_run(k, mem[1], sym);
  if (got != want) fail_msg("%s: status %d (%s), not %d", k->text + k->name, got, e.why, want);
  if (want == K_OK) assert_int_equal(run_once(k, mem[2], sym, &e), K_OK);
  for (uint32_t b = 0; b < k->n_params; b++) {
    if (want == K_OK) compare(k, b, sym, mem[0][b], mem[1][b], tolerance);
    if (want == K_OK) compare(k, b, sym, mem[2][b], mem[0][b], 0);
    for (int i = 0; i < 3; i++) free(mem[i][b]);
  }
}

static inline void check(Kernel *k, const int64_t *sym, Fill f, double tolerance) {
  check_with(k, sym, f, tolerance);
  kernel_free(k, A);
}

/* y[b, i, j] = max(sum over k of x * w + bias[j], 0): forms 0 NN, 1 NT, 2 TN, 3 TT */
static inline Kernel *matmul_kernel(DType t, int form, bool batched) {
  KB *b = kb_new(A, "matmul");
  KE nb = kb_sym(b, "b"), m = kb_sym(b, "m"), n = kb_sym(b, "n"), k = kb_sym(b, "k");
  KE xd[3] = {nb, form & 2 ? k : m, form & 2 ? m : k},
     wd[3] = {nb, form & 1 ? n : k, form & 1 ? k : n};
  KE yd[3] = {nb, m, n}, p[3], r;
  uint32_t x = kb_buf(b, K_IN, "x", t, 3, xd),
           w = kb_buf(b, K_IN, "w", t, batched ? 3 : 2, batched ? wd : wd + 1);
  uint32_t bias = kb_buf(b, K_IN, "bias", t, 1, &n), y = kb_buf(b, K_OUT, "y", t, 3, yd);
  kb_contract_begin(b, 3, yd, p, 1, &k, &r);
  KE xi[3] = {p[0], form & 2 ? r : p[1], form & 2 ? p[1] : r},
     wi[3] = {p[0], form & 1 ? p[2] : r, form & 1 ? r : p[2]};
  KE acc = kb_contract_acc(b, t, kb_load(b, x, xi), kb_load(b, w, batched ? wi : wi + 1));
  kb_store(b, y, p, kb_max(b, kb_add(b, acc, kb_load(b, bias, &p[2])), kb_num(b, t, 0)));
  kb_contract_end(b);
  return done(b);
}
#endif
