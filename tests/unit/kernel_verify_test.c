/* kernel_verify_test.c -- the verifier, proofs of bounds, sizes and cost.    */
#include "tests/unit/kernel_alloc.h"
#include <stdio.h>
#include "kernel/build.h"
#include "kernel/interp.h"
#include "kernel/text.h"
#include "kernel/visit.h"

static uint64_t seed = 88172645463325252u;
static uint64_t next_random(void) { return xorshift(&seed); }
static uint32_t below(uint32_t n) { return (uint32_t)(next_random() % n); }

static Counted heap;
static KAlloc alloc;

static Kernel *parse(const char *s) {
  KTextError e;
  Kernel *k = kernel_parse(s, strlen(s), alloc, &e);
  if (!k) fail_msg("%d:%d: %s\n%s", e.line, e.col, e.why, s);
  return k;
}

static bool proved(const char *s) {
  bool needs_launch;
  Kernel *k = parse(s);
  assert_int_equal(kernel_verify(k, alloc, &needs_launch, NULL), K_OK);
  kernel_free(k, alloc);
  assert_int_equal(heap.live, 0);
  return !needs_launch;
}

static KStatus launch(const char *s, int64_t n, int64_t m) {
  int64_t sym[2] = { n, m };
  KError e;
  Kernel *k = parse(s);
  KStatus r = kernel_launch_ok(k, sym, alloc, &e);
  assert_int_equal(e.status, r);
  assert_true((r == K_OK) == (e.why == NULL));
  kernel_free(k, alloc);
  assert_int_equal(heap.live, 0);
  return r;
}

/* ---- proofs for all symbols ---- */

#define XY "kernel @k(n, m) { in x: f32[n, m] out y: f32[n, m] "
#define X1 "kernel @k(n, m) { in x: f32[n] in w: f32[m] out y: f32[n - m + 1] "

static void common_access_patterns_are_proved_for_all_sizes(void **state) {
  (void)state;
  static const char *const text[] = {
      XY "for i in n parallel { for j in m parallel { y[i, j] = x[i, j] } } }",
      XY "for i in n { for j in m { y[n - 1 - i, m - j - 1] = x[i, j] } } }",
      XY
      "for i in n * m { y[floordiv(i, m), floormod(i, m)] = x[floordiv(i, m), floormod(i, m)] } }",
      XY "for i in n { for j in m { y[min(i, n - 1), max(j, 0)] = x[i, j] } } }",
      XY "for i in n { for j in m { let t = i + 0 y[t, j] = x[t, j] } } }",
      XY "for i in n { let r = reduce add (j in m) from 0:f32 { x[i, j] } for j in m { y[i, j] = r "
         "} } }",
      XY
      "contract f32 a (i in n, j in m) over (k in m) { x[i, k], x[i, k] } then { y[i, j] = a } }",
      X1 "for i in n - m + 1 { let s = reduce add (j in m) from 0:f32 { x[i + j] * w[j] } y[i] = s "
         "} }",
      "kernel @k(n, m) { in x: f32[4 * n + 1] out y: f32[n] for i in n { y[i] = x[i * 4 + 3] + x[4 "
      "* i] } }",
      "kernel @k(n, m) { in x: f32[n * m] out y: f32[n * m] for i in n * m { y[i] = x[i] } }",
      "kernel @k(n, m) { in x: f32[n, 4] out y: f32[n * 4] for i in n { for j in 4 { y[i * 4 + j] "
      "= x[i, j] } } }",
      "kernel @k(n, m) { in x: f32[n, 4] out y: f32[4 * n] for i in n * 4 { y[i] = x[floordiv(i, "
      "4), floormod(i, 4)] } }",
      "kernel @k() { in x: f32[9] out y: f32[3, 3] for i in 3 { for j in 3 { y[i, j] = x[i * 3 + "
      "j] } } }",
      "kernel @k(n) { in x: f32[n] in b: f32[] out y: f32[n] for i in n { y[i] = x[i] + b[] } }",
      "kernel @k(n) { in x: u8[n] in t: f32[256] out y: f32[n] for i in n { y[i] = t[i64(x[i])] } "
      "}",
      "kernel @k(n) { in x: i64[n] in t: f32[8] out y: f32[n] for i in n { y[i] = t[and(x[i], 7)] "
      "} }",
      "kernel @k(n) { in x: i64[n] in t: f32[8] out y: f32[n] for i in n { y[i] = t[min(max(x[i], "
      "0), 7)] } }",
      "kernel @k(n) { in x: f32[n] out y: f32[n + 2] for i in n + 2 { y[i] = x[i - 1] or 0:f32 } }",
  };
  for (size_t i = 0; i < sizeof text / sizeof *text; i++)
    if (!proved(text[i])) fail_msg("not proved: %s", text[i]);
}

static void what_is_not_true_for_all_sizes_is_left_to_the_launch(void **state) {
  (void)state;
  static const char *const text[] = {
    XY "for i in n { for j in m { y[i, j] = x[i, j + 1] } } }",
    XY "for i in n { for j in m { y[i, j] = x[j, i] } } }",
    XY "for i in n { y[i, 0] = x[i, 0] } }",
    XY "for i in m { y[0, i] = 0:f32 } }",
    XY "for i in n + m { check i < n, \"no\" y[i, 0] = 0:f32 } }",
    XY "for i in n * n { y[floordiv(i, n), 0] = 0:f32 } }",
    "kernel @k(n) { in x: i64[n] in t: f32[8] out y: f32[n] for i in n { y[i] = t[x[i]] } }",
    "kernel @k(n) { in x: f32[8] out y: f32[8] for i in 8 { y[i] = x[i + n] } }",
    "kernel @k(n) { out y: f32[n] for i in n - 1 { y[i] = 0:f32 } }",
    "kernel @k(n) { out y: f32[2 * n] for i in n { y[2 * i + 2] = 0:f32 } }",
    "kernel @k() { out y: f32[3] for i in 4 { y[i] = 0:f32 } }",
  };
  for (size_t i = 0; i < sizeof text / sizeof *text; i++)
    if (proved(text[i])) fail_msg("proved: %s", text[i]);
}

/* i64 sums that wrap round would come back inside. */
static void no_proof_rests_on_a_sum_that_may_wrap(void **state) {
  (void)state;
  assert_false(proved("kernel @k(n, m) { out y: f32[n] for i in n - 3 * m { y[i] = 0:f32 } }"));
  assert_false(
      proved("kernel @k(n, m) { out y: f32[n] "
             "for i in n { y[min(max(i + m * 4611686018427387904, 0), n - 1) + 0] = 0:f32 } }"));
}

/* ---- at launch ---- */

static void launch_decides_with_the_symbols_at_hand(void **state) {
  (void)state;
  const char *transposed = XY "for i in n { for j in m { y[i, j] = x[j, i] } } }";
  assert_int_equal(launch(transposed, 4, 4), K_OK);
  assert_int_equal(launch(transposed, 4, 5), K_BOUNDS);
  assert_int_equal(launch(transposed, 4, 0), K_OK); /* nothing runs */
  const char *first = XY "for i in n { y[i, 0] = x[i, 0] } }";
  assert_int_equal(launch(first, 3, 1), K_OK);
  assert_int_equal(launch(first, 3, 0), K_BOUNDS);
  assert_int_equal(launch(first, 0, 0), K_OK);
  const char *flat = "kernel @k(n, m) { in x: f32[n * m + 0] out y: f32[n, m] "
                     "for i in n { for j in m { y[i, j] = x[i * m + j] } } }";
  assert_int_equal(launch(flat, 7, 9), K_OK);
  const char *slice =
      "kernel @k(n, m) { in x: f32[10] out y: f32[n] for i in n { y[i] = x[m + 2 * i] } }";
  assert_int_equal(launch(slice, 4, 3), K_OK);
  assert_int_equal(launch(slice, 4, 4), K_BOUNDS);
  assert_int_equal(launch(slice, 4, -1), K_BOUNDS);
  const char *clamped = "kernel @k(n, m) { in x: i32[n] in t: f32[m] out y: f32[n] "
                        "for i in n { y[i] = t[i64(min(max(x[i], 0:i32), 4:i32))] } }";
  assert_int_equal(launch(clamped, 2, 5), K_OK);
  assert_int_equal(launch(clamped, 2, 4), K_BOUNDS);
}

static void negative_and_huge_extents_are_refused(void **state) {
  (void)state;
  const char *s = "kernel @k(n, m) { out y: f32[n] for i in n - 1 { y[i] = 0:f32 } }";
  assert_int_equal(launch(s, 1, 0), K_OK);
  assert_int_equal(launch(s, 0, 0), K_BAD_SIZE);
  assert_int_equal(launch(s, -1, 0), K_BAD_SIZE);
  assert_int_equal(launch(s, INT64_MAX, 0), K_BAD_SIZE);
  const char *q = "kernel @k(n, m) { out y: f32[n / m] for i in n / m { y[i] = 0:f32 } }";
  assert_int_equal(launch(q, 6, 2), K_OK);
  assert_int_equal(launch(q, 6, 0), K_BAD_SIZE);
  assert_int_equal(
      launch("kernel @k(n, m) { out y: f32[n * m] }", (int64_t)1 << 40, (int64_t)1 << 40),
      K_BAD_SIZE);
}

static void reductions_by_minimum_keep_their_bounds(void **state) {
  (void)state;
  const char *s = "kernel @k(n, m) { in x: f32[n] out y: f32[1] "
                  "let t = reduce max (i in n) from 0 { i } y[0] = x[t] }";
  assert_int_equal(launch(s, 5, 0), K_OK);
  assert_int_equal(launch(s, 0, 0), K_BOUNDS);
  const char *sum = "kernel @k(n, m) { in x: f32[n] out y: f32[1] "
                    "let t = reduce add (i in n) from 0 { i } y[0] = x[t] }";
  assert_int_equal(launch(sum, 1, 0), K_BOUNDS);
}

static void counts_of_elements_are_checked(void **state) {
  (void)state;
  Kernel *k = parse("kernel @k(n, m) { in x: f32[n, m] in y: f32[] in z: f32[n - m] }");
  int64_t count, sym[2] = { 6, 7 };
  assert_true(kernel_buf_count(k, 0, sym, &count) && count == 42);
  assert_true(kernel_buf_count(k, 1, sym, &count) && count == 1);
  assert_false(kernel_buf_count(k, 2, sym, &count));
  sym[1] = 0;
  assert_true(kernel_buf_count(k, 0, sym, &count) && count == 0);
  sym[0] = (int64_t)1 << 49;
  assert_false(kernel_buf_count(k, 0, sym, &count));
  kernel_free(k, alloc);
}

static void cost_is_trips_times_operations(void **state) {
  (void)state;
  int64_t sym[2] = { 100, 10 };
  Kernel *k = parse(XY "for i in n { for j in m { y[i, j] = x[i, j] + 1:f32 } } }");
  uint64_t cost = kernel_cost(k, sym);
  assert_true(cost >= 1000 && cost <= 10000);
  kernel_free(k, alloc);
  k = parse(
      XY
      "contract f32 a (i in n, j in m) over (k in m) { x[i, k], x[i, k] } then { y[i, j] = a } }");
  cost = kernel_cost(k, sym);
  assert_true(cost >= 20000 && cost <= 30000);
  sym[0] = sym[1] = INT64_MAX;
  assert_true(kernel_cost(k, sym) == UINT64_MAX);
  sym[0] = 0;
  assert_int_equal(kernel_cost(k, sym), 1);
  kernel_free(k, alloc);
  k = parse(XY "for i in n { for j in m { y[i, j] = x[i, j] + 1:f32 } } }");
  sym[0] = (int64_t)1 << 40;       /* turns around an empty loop are not made */
  sym[1] = 0;
  assert_int_equal(kernel_cost(k, sym), 1);
  kernel_free(k, alloc);
}

/* For or Contract 0 of the body, with these values of n and m. */
static bool idle(const char *body, int64_t n, int64_t m) {
  char text[512];
  snprintf(text, sizeof text, "kernel @k(n, m) { in x: i32[n, m] out y: i32[n, m] %s }", body);
  Kernel *k = parse(text);
  int64_t sym[2] = { n, m };
  bool yes = kernel_idle(k, 0, sym);
  uint64_t cost = kernel_cost(k, sym);
  assert_true(yes ? cost == 1 : cost >= (uint64_t)n);
  kernel_free(k, alloc);
  return yes;
}

static void what_does_nothing_is_idle(void **state) {
  (void)state;
  const int64_t many = (int64_t)1 << 40;
  const char *rows = "for i in n { let a = reduce add (j in m) from 0:i32 { x[i, j] } "
                     "for j in m { y[i, j] = a } }";
  const char *check = "for i in n { check i < n, \"no\" for j in m { y[i, j] = 1:i32 } }";
  const char *divides = "for i in n { let a = n / i for j in m { y[i, j] = 1:i32 } }";
  const char *inside = "for i in n { for j in m { y[i, j] = x[i, j] / x[i, j] } }";
  const char *product = "contract i32 a (i in n, j in m) over (k in n) { x[k, j], x[i, j] } then "
                        "{ y[i, j] = a }";
  assert_true(idle(rows, many, 0) && idle(rows, 0, many));
  assert_false(idle(rows, many, 1));
  assert_false(idle(check, many, 0));
  assert_false(idle(divides, many, 0));
  assert_true(idle(inside, many, 0));
  assert_false(idle(inside, many, 1));
  assert_true(idle(product, many, 0) && idle(product, 0, many));
  assert_false(idle(product, many, 1));
}

/* ---- scopes and structure ---- */

static void variables_end_with_their_bodies(void **state) {
  (void)state;
  KB *b = kb_new(alloc, "k");
  KE n = kb_sym(b, "n");
  uint32_t y = kb_buf(b, K_OUT, "y", DT_i64, 1, &n);
  KE i = kb_for(b, n, K_SERIAL), j = kb_for(b, n, K_SERIAL), t = kb_let(b, kb_add(b, j, i));
  kb_end(b);
  kb_store(b, y, &i, t); /* t ended with the inner loop, where two bodies meet */
  kb_end(b);
  assert_null(kb_done(b));
  assert_string_equal(kb_error(b), "a variable is used outside its scope");
  kb_drop(b);

  b = kb_new(alloc, "k");
  n = kb_sym(b, "n");
  KE zero = kb_int(b, 0), got;
  kb_for_carry(b, n, 1, &zero, &got);
  kb_for(b, n, K_SERIAL);
  t = kb_let(b, kb_add(b, got, n));
  kb_end(b);
  kb_end_carry(b, &t); /* both bodies end at the same statement */
  assert_null(kb_done(b));
  assert_string_equal(kb_error(b), "a variable is used outside its scope");
  kb_drop(b);
  assert_int_equal(heap.live, 0);
}

static const char *const seed_text =
    "kernel @all(n, m) { in x: f32[n, m * 2 + 1] inout y: f32[n, m] local s: i64[]"
    " for i in n parallel { let r = reduce max (j in m) from -inf:f32 { x[i, j] }"
    " for j in m carry c = 0, d = 0:f32 { check j < m, \"no\" $0 = exp(x[i, j]) next c + 1, d + $0 "
    "* $0 }"
    " if c == 3 { y[i, 0] = (x[i, c - 1] or d) - r } }"
    " contract f32 acc (i in n, j in m) over (k in n * 2) { x[i, k], x[k, j] or 0:f32 } then { "
    "y[i, j] = acc }"
    " s[] = select(n < 2, floordiv(n, 2), 5) }";

/* The arrays of a kernel, one after another, as a loader would have them. */
static void spoil(Kernel *k) {
  struct { void *at; size_t n; } part[] = {
    { k->node, k->n_nodes * sizeof *k->node }, { k->stmt, k->n_stmts * sizeof *k->stmt },
    { k->pool, k->n_pool * sizeof *k->pool },  { k->buf, k->n_bufs * sizeof *k->buf },
    { k->var, k->n_vars * sizeof *k->var },
  };
  for (uint32_t i = 0; i < 1 + below(3); i++) {
    uint32_t w = below(5), at = below((uint32_t)part[w].n);
    uint8_t *byte = (uint8_t *)part[w].at + at, old = *byte;
    *byte = below(2) ? (uint8_t)(old + below(5) - 2) : (uint8_t)next_random();
  }
}

static void any_bytes_are_refused_or_safe(void **state) {
  (void)state;
  int good = 0;
  for (int i = 0; i < 60000; i++) {
    Kernel *k = parse(seed_text);
    spoil(k);
    bool needs_launch;
    KError e;
    if (kernel_verify(k, alloc, &needs_launch, &e) == K_OK) {
      int64_t sym[2] = { below(4), below(4) }, count;
      size_t n;
      good++;
      kernel_launch_ok(k, sym, alloc, &e);
      for (uint32_t b = 0; b < k->n_bufs; b++) kernel_buf_count(k, b, sym, &count);
      assert_true(kernel_cost(k, sym) > 0);
      char *s = kernel_print(k, alloc, &n);
      alloc.fn(alloc.user, s, n + 1, 0);
    } else {
      assert_int_equal(e.status, K_BAD_KERNEL);
      assert_non_null(e.why);
    }
    kernel_free(k, alloc);
    assert_int_equal(heap.live, 0);
  }
  assert_true(good > 1000);
}

static void verifying_survives_every_refused_allocation(void **state) {
  (void)state;
  Kernel *k = parse(seed_text);
  for (long n = 0; n < 10; n++) {
    Counted c = { 0, n };
    KAlloc a = { counted, &c };
    bool needs_launch;
    KStatus s = kernel_verify(k, a, &needs_launch, NULL);
    assert_int_equal(c.live, 0);
    assert_true(s == K_OK || s == K_NO_MEMORY);
    if (s == K_OK) { kernel_free(k, alloc); return; }
  }
  fail_msg("still refusing");
}

/* A tree of 2^40 nodes must cost what its 40 nodes cost. */
static void shared_nodes_are_looked_at_once(void **state) {
  (void)state;
  KB *b = kb_new(alloc, "k");
  KE n = kb_sym(b, "n");
  uint32_t x = kb_buf(b, K_IN, "x", DT_i64, 1, &n), y = kb_buf(b, K_OUT, "y", DT_i64, 1, &n);
  KE i = kb_for(b, n, K_PARALLEL), e = i;
  for (int j = 0; j < 60; j++) {
    e = kb_fmod(b, kb_add(b, kb_mul(b, e, kb_int(b, 3)), kb_fdiv(b, e, kb_int(b, 2))), n);
    e = kb_add(b, kb_load(b, x, &e), e);
    e = kb_fmod(b, e, n);
  }
  kb_store(b, y, &i, e);
  kb_end(b);
  Kernel *k = kb_done(b);
  assert_non_null(k);
  bool needs_launch;
  int64_t sym = 5;
  assert_int_equal(kernel_verify(k, alloc, &needs_launch, NULL), K_OK);
  assert_int_equal(kernel_launch_ok(k, &sym, alloc, NULL), K_OK);
  assert_true(kernel_cost(k, &sym) > 0);
  kernel_free(k, alloc);
  assert_int_equal(heap.live, 0);
}

/* ---- soundness: random accesses, tried out ---- */

enum { N_SYMS = 3, N_LOOPS = 3 };
typedef struct { const Kernel *k; int64_t sym[N_SYMS], var[8]; uint64_t salt; bool trapped; } World;

static uint64_t evaluate(World *w, KE e) {
  const KNode *n = &w->k->node[e];
  uint64_t v[3] = { 0, 0, 0 }, out = 0;
  switch ((KNodeKind)n->kind) {
  case KN_Const: return n->bits;
  case KN_Sym: return (uint64_t)w->sym[n->a];
  case KN_Var: return (uint64_t)w->var[n->a];
  case KN_Load: /* the same all through the iteration */
    out = (w->salt + e) * 0x9e3779b97f4a7c15u;
    return (uint64_t)wrap_int((int64_t)(out >> (out >> 20) % 64), (DType)n->dtype);
  default: break;
  }
  for (uint32_t i = 0; kernel_operand(w->k, e, i) != KE_NONE; i++)
    v[i] = evaluate(w, kernel_operand(w->k, e, i));
  if (n->kind == KN_Cast) return scalar_cast(v[0], (DType)w->k->node[n->a].dtype, (DType)n->dtype);
  DType t = (DType)w->k->node[n->op == S_select ? n->b : n->a].dtype;
  if (scalar_eval((SOp)n->op, t, v[0], v[1], v[2], &out) != K_OK) w->trapped = true;
  return out;
}

static KE random_size(KB *b, const KE *sym, int depth) {
  if (depth == 0 || below(3) == 0) return below(3) ? sym[below(N_SYMS)] : kb_int(b, below(6));
  KE x = random_size(b, sym, depth - 1), y = random_size(b, sym, depth - 1);
  static const SOp op[] = { S_add, S_add, S_sub, S_mul, S_mul, S_max, S_min, S_fdiv, S_fmod };
  return kb_op(b, op[below(9)], x, y, KE_NONE);
}

static KE random_index(KB *b, const KE *leaf, uint32_t n_leaves, uint32_t idx, int depth) {
  if (depth == 0 || below(4) == 0) {
    if (below(8) == 0) return kb_cast(b, kb_load(b, idx, leaf), DT_i64);
    return below(4) ? leaf[below(n_leaves)] : kb_int(b, (int64_t)below(8) - 2);
  }
  KE x = random_index(b, leaf, n_leaves, idx, depth - 1),
     y = random_index(b, leaf, n_leaves, idx, depth - 1);
  static const SOp op[] = {S_add,  S_add,  S_sub, S_mul, S_max, S_min,
                           S_fdiv, S_fmod, S_div, S_mod, S_and};
  if (below(10) == 0) return kb_select(b, kb_lt(b, x, y), x, y);
  if (below(6) == 0) y = kb_int(b, 1 + below(4));
  return kb_op(b, op[below(11)], x, y, KE_NONE);
}

/* Loops around one load from x and one store to y. */
static Kernel *random_kernel(KE extent[N_LOOPS]) {
  KB *b = kb_new(alloc, "k");
  KE sym[N_SYMS] = { kb_sym(b, "n"), kb_sym(b, "m"), kb_sym(b, "p") }, leaf[N_LOOPS + N_SYMS];
  KE dim[3] = { random_size(b, sym, 2), random_size(b, sym, 2), random_size(b, sym, 2) }, index[3];
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 2, dim), y = kb_buf(b, K_OUT, "y", DT_f32, 1, dim + 2);
  KE two = kb_int(b, 2);
  uint32_t idx = kb_buf(b, K_IN, "idx", below(2) ? DT_u8 : DT_i64, 1, &two);
  for (int i = 0; i < N_LOOPS; i++) {
    extent[i] = below(2) ? dim[below(3)] : below(3) ? sym[below(N_SYMS)] : random_size(b, sym, 2);
    if (below(5) == 0) extent[i] = kb_mul(b, dim[0], dim[1]);
    leaf[i] = kb_for(b, extent[i], K_SERIAL);
  }
  for (int i = 0; i < N_SYMS; i++) leaf[N_LOOPS + i] = sym[i];
  KE zero = kb_int(b, 0);
  for (int i = 0; i < 3; i++) {
    KE e = random_index(b, leaf, N_LOOPS + N_SYMS, idx, 1 + (int)below(3));
    uint32_t l = below(N_LOOPS);
    if (below(3) == 0) e = kb_add(b, leaf[l], kb_sub(b, dim[i], extent[l]));
    if (below(3) == 0) e = kb_clamp(b, e, zero, kb_sub(b, dim[i], kb_int(b, 1)));
    if (below(3) == 0) e = kb_fmod(b, e, dim[i]);
    index[i] = e;
  }
  kb_store(b, y, index + 2, kb_load(b, x, index));
  for (int i = 0; i < N_LOOPS; i++) kb_end(b);
  Kernel *k = kb_done(b);
  if (!k) kb_drop(b);
  return k;
}

static bool inside(World *w, uint32_t buf, const KE *index) {
  const KBuf *u = &w->k->buf[buf];
  for (int d = 0; d < u->rank; d++) {
    int64_t i = (int64_t)evaluate(w, index[d]), n;
    if (!kernel_size(w->k, u->dim[d], w->sym, &n)) return false;
    if (!w->trapped && (i < 0 || i >= n)) return false;
  }
  return true;
}

static void assert_inside(World *w) {
  const KStmt *s = &w->k->stmt[N_LOOPS];
  const KNode *load = &w->k->node[s->c];
  w->trapped = false;
  bool ok = inside(w, load->a, w->k->pool + load->b) && inside(w, s->a, w->k->pool + s->b);
  if (ok || w->trapped) return;
  size_t n;
  char *text = kernel_print(w->k, alloc, &n);
  fail_msg("outside with (%ld, %ld, %ld), loops %ld %ld %ld\n%s", (long)w->sym[0], (long)w->sym[1],
           (long)w->sym[2], (long)w->var[0], (long)w->var[1], (long)w->var[2], text);
}

static int64_t odd_symbol(void) {
  static const int64_t odd[] = {-1,        255,      1 << 20, (int64_t)1 << 48, (int64_t)1 << 62,
                                INT64_MAX, INT64_MIN};
  return below(4) ? below(5) : odd[below(7)];
}

/* Random iterations; extents as a running kernel computes them, wrapping. */
static void try_out(World *w, const KE *extent) {
  int64_t count;
  for (uint32_t b = 0; b < w->k->n_bufs; b++)
    if (!kernel_buf_count(w->k, b, w->sym, &count)) return;
  for (int i = 0; i < 12; i++) {
    bool runs = true;
    w->trapped = false;
    w->salt = next_random();
    for (int v = 0; v < N_LOOPS; v++) {
      int64_t n = (int64_t)evaluate(w, extent[v]);
      runs &= n > 0 && !w->trapped;
      if (n > 0) w->var[v] = i == 0 ? n - 1 : i == 1 ? 0 : (int64_t)(next_random() % (uint64_t)n);
    }
    if (runs) assert_inside(w);
  }
}

static void what_is_proved_or_launched_stays_inside(void **state) {
  (void)state;
  int n_proved = 0, n_launched = 0;
  for (int round = 0; round < 12000; round++) {
    KE extent[N_LOOPS];
    bool needs_launch;
    Kernel *k = random_kernel(extent);
    if (!k) continue;
    World w = { .k = k };
    assert_int_equal(kernel_verify(k, alloc, &needs_launch, NULL), K_OK);
    n_proved += !needs_launch;
    for (int i = 0; i < 12; i++) {
      for (int s = 0; s < N_SYMS; s++) w.sym[s] = i < 8 ? below(5) : odd_symbol();
      bool ok = kernel_launch_ok(k, w.sym, alloc, NULL) == K_OK;
      n_launched += ok && needs_launch;
      if (ok || !needs_launch) try_out(&w, extent);
    }
    kernel_free(k, alloc);
  }
  assert_int_equal(heap.live, 0);
  if (n_proved < 150 || n_launched < 3000) fail_msg("only %d, %d", n_proved, n_launched);
}

/* What is proved for all symbols, the launch must not refuse. */
static void proofs_hold_at_launch(void **state) {
  (void)state;
  for (int round = 0; round < 12000; round++) {
    KE extent[N_LOOPS];
    bool needs_launch;
    int64_t sym[N_SYMS], count;
    Kernel *k = random_kernel(extent);
    if (!k) continue;
    assert_int_equal(kernel_verify(k, alloc, &needs_launch, NULL), K_OK);
    for (int i = 0; i < 8 && !needs_launch; i++) {
      bool sizes = true;
      for (int s = 0; s < N_SYMS; s++) sym[s] = odd_symbol();
      for (uint32_t b = 0; b < k->n_bufs; b++) sizes &= kernel_buf_count(k, b, sym, &count);
      if (!sizes || kernel_launch_ok(k, sym, alloc, NULL) == K_OK) continue;
      size_t n;
      char *text = kernel_print(k, alloc, &n);
      fail_msg("refused with (%ld, %ld, %ld)\n%s", (long)sym[0], (long)sym[1], (long)sym[2], text);
    }
    kernel_free(k, alloc);
  }
}

/* ---- in place ---- */

static bool in_place(const char *s, uint32_t in, uint32_t out) {
  bool yes, needs_launch;
  Kernel *k = parse(s);
  assert_int_equal(kernel_verify(k, alloc, &needs_launch, NULL), K_OK);
  assert_true(kernel_in_place(k, in, out, alloc, &yes));
  kernel_free(k, alloc);
  assert_int_equal(heap.live, 0);
  return yes;
}

#define MAP(body) "kernel @k(n, m) { in x: f32[n, m] in w: f32[n, m] out y: f32[n, m] " \
                  "out z: f32[n, m] for i in n parallel { for j in m parallel { " body " } } }"

static void an_output_may_take_the_place_of_an_input(void **state) {
  (void)state;
  static const char *const text[] = {
      MAP("y[i, j] = x[i, j] + w[i, j]"),
      MAP("y[i, j] = x[i, j] * x[i, j]"),
      MAP("let t = x[i, j] z[i, j] = w[i, j] y[i, j] = t z[i, j] = t"),
      MAP("z[i, j] = x[i, j] y[i, j] = w[j - j, j] + x[i, j]"),
      MAP("if i < j { y[i, j] = x[i, j] }"),
      MAP("let t = reduce add (r in m) from 0:f32 { x[i, j] * w[i, r] } y[i, j] = t"),
      "kernel @k(n) { in x: f32[1, n] in w: f32[1] out y: f32[n, 1] "
      "for i in n { y[i, 0] = x[0, i] } }",
      "kernel @k() { in x: f32[4, 8] in w: f32[8, 8] out y: f32[4, 8] in a: f32[4, 8] "
      "contract f32 acc (i in 4, j in 8) over (r in 8) { a[i, r], w[r, j] } "
      "then { y[i, j] = acc + x[i, j] } }",
  };
  for (size_t i = 0; i < sizeof text / sizeof *text; i++)
    if (!in_place(text[i], 0, 2)) fail_msg("should work in place:\n%s", text[i]);
}

static void what_would_be_overwritten_too_early_is_not_done_in_place(void **state) {
  (void)state;
  static const char *const text[] = {
      MAP("y[i, j] = w[i, j] z[i, j] = x[i, j]"),
      MAP("y[i, j] = x[i, 0]"),
      MAP("y[i, j] = x[i, m - 1 - j]"),
      MAP("y[i, j] = x[i, j] y[i, j] = w[i, j]"),
      MAP("y[i, 0] = x[i, 0]"),
      MAP("let t = j y[i, t] = x[i, t]"),
      MAP("y[i, j] = x[i, j] or 0:f32"),
      MAP("let t = reduce add (r in m) from 0:f32 { x[i, r] } y[i, j] = t"),
      MAP("for r in 3 { y[i, j] = x[i, j] + 1:f32 }"),
      "kernel @k(n) { in x: f32[n, n] in w: f32[1] out y: f32[n, n] "
      "for i in n { for j in n { y[j, i] = x[i, j] } } }",
      "kernel @k(n) { in x: f32[n] in w: f32[1] out y: i32[n] for i in n { y[i] = i32(x[i]) } }",
      "kernel @k(n) { in x: f32[n] in w: f32[1] out y: f32[n] for i in n { y[i] = w[0] } "
      "for j in n { y[j] = x[j] } }",
      "kernel @k() { in x: f32[4, 8] in w: f32[8, 8] out y: f32[4, 8] "
      "contract f32 acc (i in 4, j in 8) over (r in 8) { x[i, r], w[r, j] } then { y[i, j] = acc } }",
  };
  for (size_t i = 0; i < sizeof text / sizeof *text; i++)
    if (in_place(text[i], 0, 2)) fail_msg("must not work in place:\n%s", text[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(common_access_patterns_are_proved_for_all_sizes),
    cmocka_unit_test(what_is_not_true_for_all_sizes_is_left_to_the_launch),
    cmocka_unit_test(no_proof_rests_on_a_sum_that_may_wrap),
    cmocka_unit_test(launch_decides_with_the_symbols_at_hand),
    cmocka_unit_test(negative_and_huge_extents_are_refused),
    cmocka_unit_test(reductions_by_minimum_keep_their_bounds),
    cmocka_unit_test(counts_of_elements_are_checked),
    cmocka_unit_test(cost_is_trips_times_operations),
    cmocka_unit_test(what_does_nothing_is_idle),
    cmocka_unit_test(variables_end_with_their_bodies),
    cmocka_unit_test(any_bytes_are_refused_or_safe),
    cmocka_unit_test(verifying_survives_every_refused_allocation),
    cmocka_unit_test(shared_nodes_are_looked_at_once),
    cmocka_unit_test(what_is_proved_or_launched_stays_inside),
    cmocka_unit_test(proofs_hold_at_launch),
    cmocka_unit_test(an_output_may_take_the_place_of_an_input),
    cmocka_unit_test(what_would_be_overwritten_too_early_is_not_done_in_place),
  };
  alloc = counting(&heap);
  return cmocka_run_group_tests_name("kernel verify", tests, NULL, NULL);
}
