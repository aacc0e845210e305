/* kernel_build_test.c -- the builder, and kernel text in both directions.    */
#include "tests/unit/kernel_alloc.h"
#include "kernel/build.h"
#include "kernel/text.h"
#include <math.h>
#include <stdio.h>

static uint64_t seed = 88172645463325252u;
static uint64_t next_random(void) { return xorshift(&seed); }

static void text_is(const Kernel *k, KAlloc a, const char *want) {
  size_t n;
  char *s = kernel_print(k, a, &n);
  assert_non_null(s);
  assert_string_equal(s, want);
  assert_int_equal(n, strlen(want));
  a.fn(a.user, s, n + 1, 0);
}

/* Everything the builder can say, in one kernel; but in the contraction the
 * reduced value is out of scope. */
static KB *rich(KAlloc a) {
  KB *b = kb_new(a, "rich");
  KE n = kb_sym(b, "n"), m = kb_sym(b, "m"), dim[2] = { n, m }, zero = kb_int(b, 0);
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 2, dim), y = kb_buf(b, K_OUT, "y", DT_f32, 2, dim);
  uint32_t s = kb_buf(b, K_LOCAL, "best", DT_i64, 0, NULL);
  KE i = kb_for(b, n, K_PARALLEL), r, at[2] = { i, zero };
  kb_reduce_begin(b, 1, &m, &r);
  at[1] = r;
  KE top = kb_reduce_end(b, S_max, kb_float(b, DT_f32, -INFINITY), kb_load(b, x, at));
  KE init[2] = {zero, kb_float(b, DT_f32, 0)}, carried[2], j = kb_for_carry(b, m, 2, init, carried);
  at[1] = j;
  KE v = kb_let(b, kb_load_or(b, x, at, top)), next[2];
  next[0] = kb_select(b, kb_lt(b, v, top), carried[0], j);
  next[1] = kb_add(b, carried[1], kb_un(b, S_exp, kb_sub(b, v, top)));
  kb_check(b, kb_le(b, v, top), "above\n\"top\"");
  kb_end_carry(b, next);
  kb_store(b, s, NULL, carried[0]);
  kb_if(b, kb_eq(b, carried[0], zero));
  at[1] = zero;
  kb_store(b, y, at, carried[1]);
  kb_end(b);
  kb_end(b);
  KE par[2], red;
  kb_contract_begin(b, 2, dim, par, 1, &m, &red);
  KE ai[2] = { par[0], red }, bi[2] = { red, par[1] };
  KE acc =
      kb_contract_acc(b, DT_f32, kb_load(b, x, ai), kb_cast(b, kb_load_or(b, x, bi, top), DT_f64));
  kb_store(b, y, par, kb_max(b, acc, kb_float(b, DT_f32, 0.5)));
  kb_contract_end(b);
  return b;
}

static KB *softmax(KAlloc a) {
  KB *b = kb_new(a, "softmax");
  KE n = kb_sym(b, "n"), m = kb_sym(b, "m"), dim[2] = { n, m };
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 2, dim), y = kb_buf(b, K_OUT, "y", DT_f32, 2, dim);
  KE i = kb_for(b, n, K_PARALLEL), r, at[2] = { i, KE_NONE };
  kb_reduce_begin(b, 1, &m, &r);
  at[1] = r;
  KE top = kb_reduce_end(b, S_max, kb_float(b, DT_f32, -INFINITY), kb_load(b, x, at));
  kb_reduce_begin(b, 1, &m, &r);
  at[1] = r;
  KE e = kb_un(b, S_exp, kb_sub(b, kb_load(b, x, at), top));
  KE sum = kb_reduce_end(b, S_add, kb_float(b, DT_f32, 0), e);
  at[1] = kb_for(b, m, K_PARALLEL);
  e = kb_un(b, S_exp, kb_sub(b, kb_load(b, x, at), top));
  kb_store(b, y, at, kb_div(b, kb_mul(b, e, e), kb_mul(b, sum, e)));
  kb_end(b);
  kb_end(b);
  return b;
}

static void a_kernel_is_built_and_prints(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  Kernel *k = kb_done(softmax(a));
  assert_non_null(k);
  text_is(k, a,
          "kernel @softmax(n, m) {\n"
          "  in x: f32[n, m]\n"
          "  out y: f32[n, m]\n"
          "  for i0 in n parallel {\n"
          "    let r0 = reduce max (i1 in m) from -inf:f32 {\n"
          "      x[i0, i1]\n"
          "    }\n"
          "    let r1 = reduce add (i2 in m) from 0:f32 {\n"
          "      exp(x[i0, i2] - r0)\n"
          "    }\n"
          "    for i3 in m parallel {\n"
          "      $0 = exp(x[i0, i3] - r0)\n"
          "      y[i0, i3] = $0 * $0 / (r1 * $0)\n"
          "    }\n"
          "  }\n"
          "}\n");
  kernel_free(k, a);
  assert_int_equal(c.live, 0);
}

static void misuse_is_kept_until_the_end(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  KB *b = rich(a);
  assert_null(kb_done(b));
  assert_string_equal(kb_error(b), "a variable is used outside its scope");
  kb_drop(b);
  assert_int_equal(c.live, 0);
}

static const char *mistake(int which, KAlloc a) {
  KB *b = kb_new(a, "k");
  KE n = kb_sym(b, "n"), f = kb_float(b, DT_f32, 1), t = kb_bool(b, true), next[1], got[1];
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 1, &n), y = kb_buf(b, K_OUT, "y", DT_f32, 1, &n);
  switch (which) {
  case 0: kb_add(b, n, f); break;
  case 1: kb_un(b, S_exp, n); break;
  case 2: kb_store(b, x, &n, f); break;
  case 3: kb_store(b, y, &n, n); break;
  case 4: kb_load(b, x, &f); break;
  case 5: kb_end(b); break;
  case 6: kb_for(b, n, K_SERIAL); break;
  case 7: kb_if(b, n); break;
  case 8: kb_select(b, t, n, f); break;
  case 9: kb_for_carry(b, n, 1, &f, got); next[0] = n; kb_end_carry(b, next); break;
  case 10: kb_reduce_begin(b, 1, &n, got); kb_let(b, f); break;
  case 11: kb_reduce_begin(b, 1, &n, got); kb_reduce_end(b, S_sub, f, f); break;
  case 12: kb_for(b, n, K_SERIAL); kb_end_carry(b, next); break;
  case 13: for (int i = 0; i < 20; i++) kb_for(b, n, K_SERIAL); break;
  case 14: kb_buf(b, K_LOCAL, "l", DT_f32, 0, NULL); kb_buf(b, K_IN, "z", DT_f32, 0, NULL); break;
  case 15: kb_buf(b, K_IN, "z", DT_f32, 1, &f); break;
  case 16: kb_load(b, 77, &n); break;
  case 17: kb_un(b, S_neg, KE_NONE); break;
  case 18: kb_bitcast(b, f, DT_i64); break;
  case 19: for (int i = 0; i < 70; i++) kb_sym(b, "s"); break;
  case 20: for (int i = 0; i < 70; i++) kb_buf(b, K_IN, "b", DT_f32, 1, &n); break;
  case 21: { KE v = kb_for(b, n, K_SERIAL); kb_for(b, v, K_SERIAL); kb_end(b); kb_end(b); break; }
  case 22: { KE v = kb_for(b, n, K_SERIAL); kb_end(b); kb_store(b, y, &v, f); break; }
  default: kb_drop(b); return "end";
  }
  Kernel *k = kb_done(b);
  const char *why = k ? NULL : kb_error(b);
  if (k) kernel_free(k, a);
  else kb_drop(b);
  return why;
}

static void every_kind_of_misuse_is_noticed(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  for (int i = 0;; i++) {
    const char *why = mistake(i, a);
    if (!why) fail_msg("mistake %d was not noticed", i);
    if (strcmp(why, "end") == 0) break;
    assert_int_equal(c.live, 0);
  }
}

static void building_survives_every_refused_allocation(void **state) {
  (void)state;
  for (long n = 0; n < 1000; n++) {
    Counted c = { 0, n };
    KAlloc a = { counted, &c };
    KB *b = softmax(a);
    Kernel *k = kb_done(b);
    if (k) kernel_free(k, a);
    else {
      assert_string_equal(kb_error(b), "out of memory");
      kb_drop(b);
    }
    assert_int_equal(c.live, 0);
    if (k) return;
  }
  fail_msg("still refusing after 1000 allocations");
}

static void equal_expressions_are_one_node(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  KB *b = kb_new(a, "k");
  KE n = kb_sym(b, "n"), m = kb_sym(b, "m"), one = kb_int(b, 1);
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 1, &n);
  assert_int_equal(kb_add(b, n, m), kb_add(b, n, m));
  assert_int_not_equal(kb_add(b, n, m), kb_add(b, m, n));
  assert_int_equal(kb_load(b, x, &n), kb_load(b, x, &n));
  assert_int_not_equal(kb_load(b, x, &n), kb_load(b, x, &m));
  assert_int_equal(kb_int(b, 1), one);
  assert_int_not_equal(kb_num(b, DT_i32, 1), one);
  assert_int_not_equal(kb_float(b, DT_f32, 0), kb_float(b, DT_f32, -0.0));
  for (int i = 0; i < 5000; i++) kb_mul(b, kb_add(b, n, kb_int(b, i)), m);
  for (int i = 0; i < 5000; i++) assert_int_equal(kb_int(b, i), kb_int(b, i));
  assert_int_equal(kb_int(b, 1), one);
  assert_null(kb_error(b));
  kb_drop(b);
  assert_int_equal(c.live, 0);
}

static void integers_fold_and_floats_do_not(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  KB *b = kb_new(a, "k");
  KE n = kb_sym(b, "n"), zero = kb_int(b, 0), one = kb_int(b, 1), two = kb_int(b, 2);
  KE u = kb_cast(b, n, DT_u8), f = kb_cast(b, n, DT_f32), fz = kb_float(b, DT_f32, 0);
  assert_int_equal(kb_add(b, n, zero), n);
  assert_int_equal(kb_add(b, zero, n), n);
  assert_int_equal(kb_sub(b, n, zero), n);
  assert_int_equal(kb_sub(b, n, n), zero);
  assert_int_equal(kb_mul(b, one, n), n);
  assert_int_equal(kb_mul(b, n, zero), zero);
  assert_int_equal(kb_fdiv(b, n, one), n);
  assert_int_equal(kb_fmod(b, n, one), zero);
  assert_int_equal(kb_add(b, kb_add(b, n, one), one), kb_add(b, n, two));
  assert_int_equal(kb_sub(b, kb_add(b, n, one), one), n);
  assert_int_equal(kb_mul(b, kb_mul(b, n, two), two), kb_mul(b, n, kb_int(b, 4)));
  assert_int_equal(kb_min(b, n, n), n);
  assert_int_equal(kb_eq(b, n, n), kb_bool(b, true));
  assert_int_equal(kb_not(b, kb_not(b, kb_lt(b, n, two))), kb_lt(b, n, two));
  assert_int_equal(kb_and(b, kb_bool(b, true), kb_lt(b, n, two)), kb_lt(b, n, two));
  assert_int_equal(kb_select(b, kb_bool(b, false), n, two), two);
  assert_int_equal(kb_mul(b, kb_int(b, INT64_MAX), two), kb_int(b, -2));
  assert_int_equal(kb_add(b, kb_num(b, DT_u8, 200), kb_num(b, DT_u8, 100)), kb_num(b, DT_u8, 44));
  assert_int_equal(kb_add(b, kb_add(b, u, kb_num(b, DT_u8, 200)), kb_num(b, DT_u8, 56)), u);
  assert_int_equal(kb_cast(b, kb_int(b, 3), DT_f32), kb_float(b, DT_f32, 3));
  assert_int_equal(kb_cast(b, f, DT_f32), f);
  assert_int_equal(kb_bitcast(b, kb_float(b, DT_f32, 1), DT_i32), kb_num(b, DT_i32, 0x3f800000));
  assert_int_equal(kb_bitcast(b, kb_num(b, DT_i32, -1), DT_u32), kb_num(b, DT_u32, 0xffffffff));
  assert_int_not_equal(kb_add(b, f, fz), f);
  assert_int_not_equal(kb_mul(b, f, fz), fz);
  assert_int_equal(kb_un(b, S_neg, kb_un(b, S_neg, f)), f);
  KE trap = kb_div(b, one, zero);
  int64_t v;
  assert_false(kb_is_int(b, trap, &v));
  assert_true(kb_is_int(b, kb_int(b, -7), &v) && v == -7);
  assert_false(kb_is_int(b, fz, &v));
  assert_null(kb_error(b));
  kb_drop(b);
}

/* ---- text ---- */

static Kernel *parse(const char *s, KAlloc a) {
  KTextError e;
  Kernel *k = kernel_parse(s, strlen(s), a, &e);
  if (!k) fail_msg("%d:%d: %s", e.line, e.col, e.why);
  return k;
}

/* Print, read, print: the bytes of the first and the second print agree. */
static void assert_round_trip(const Kernel *k, KAlloc a) {
  size_t n;
  char *s = kernel_print(k, a, &n);
  assert_non_null(s);
  Kernel *again = parse(s, a);
  text_is(again, a, s);
  kernel_free(again, a);
  a.fn(a.user, s, n + 1, 0);
}

static const char everything[] = "kernel @all(n, m) {\n"
                                 "  in x: f32[n, m * 2 + 1]\n"
                                 "  in g: u64[n]\n"
                                 "  inout y: f32[n, m]\n"
                                 "  local s: i64[]\n"
                                 "  for i0 in n parallel {\n"
                                 "    let r0 = reduce max (i1 in m) from -inf:f32 {\n"
                                 "      x[i0, i1] * 2:f32 + 0.1:f32\n"
                                 "    }\n"
                                 "    for i2 in m carry c0 = 0, c1 = 0x1.8p-90:f32 {\n"
                                 "      let t0 = min(c0, m - 1)\n"
                                 "      check t0 < m, \"bad \\\"q\\\"\\n\\x07\"\n"
                                 "      $0 = exp(x[i0, i2]) + 1e-12:f32\n"
                                 "      next c0 + 1, c1 + $0 * $0 / $0\n"
                                 "    }\n"
                                 "    if c0 == 3 {\n"
                                 "      y[i0, 0] = (x[i0, c0 + -1] or c1) - (c1 - r0)\n"
                                 "    }\n"
                                 "  }\n"
                                 "  contract f32 acc0 (i3 in n, i4 in m) over (i5 in n * 2) {\n"
                                 "    x[i3, i5], x[i5, i4] or nan:f32\n"
                                 "  } then {\n"
                                 "    let t1 = acc0 + bits(0x7fc00001):f32\n"
                                 "    y[i3, i4] = t1 + -0:f32\n"
                                 "  }\n"
                                 "  s[] = select(n < 2, floordiv(n, 2), as_i64(1.5:f64)) + "
                                 "i64(or(g[0], 18446744073709551615:u64))\n"
                                 "}\n";

static void text_reads_back_to_itself(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  Kernel *k = parse(everything, a);
  text_is(k, a, everything);
  kernel_free(k, a);
  k = kb_done(softmax(a));
  assert_round_trip(k, a);
  kernel_free(k, a);
  assert_int_equal(c.live, 0);
}

static void what_is_not_folded_stays_as_written(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  const char *s = "kernel @k(n) {\n  out y: i64[]\n  y[] = 1 + 2 * 3 - (n + 0) * 1 - (4 - (5 - 6)) "
                  "- i64(7)\n}\n";
  Kernel *k = parse(s, a);
  text_is(k, a, s);
  kernel_free(k, a);
}

/* x = x * x + x, thirty times: a tree of 10^14 nodes; then a chain of 20000. */
static void shared_and_deep_expressions_print_in_proportion(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  KB *b = kb_new(a, "deep");
  uint32_t y = kb_buf(b, K_OUT, "y", DT_f32, 0, NULL), x = kb_buf(b, K_IN, "x", DT_f32, 0, NULL);
  KE e = kb_load(b, x, NULL);
  for (int i = 0; i < 30; i++) e = kb_add(b, kb_mul(b, e, e), e);
  for (int i = 0; i < 20000; i++) e = kb_un(b, i % 3 ? S_exp : S_log, e);
  kb_store(b, y, NULL, e);
  Kernel *k = kb_done(b);
  assert_non_null(k);
  size_t n;
  char *s = kernel_print(k, a, &n);
  assert_true(n < 300000);
  a.fn(a.user, s, n + 1, 0);
  assert_round_trip(k, a);
  assert_true(kernel_cost(k, NULL) > 0);
  kernel_free(k, a);
}

static void odd_names_become_words_that_differ(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  KB *b = kb_new(a, "a \"name\"");
  KE n = kb_sym(b, "n"), n2 = kb_sym(b, "n"), n3 = kb_sym(b, "i0"), n4 = kb_sym(b, "for");
  KE sum = kb_add(b, kb_add(b, n, n2), kb_add(b, n3, n4));
  uint32_t y = kb_buf(b, K_OUT, "3 y", DT_i64, 1, &sum);
  KE i = kb_for(b, sum, K_PARALLEL);
  kb_store(b, y, &i, i);
  kb_end(b);
  Kernel *k = kb_done(b);
  text_is(k, a,
          "kernel @\"a \\\"name\\\"\"(n, n_, i0_, for_) {\n"
          "  out _3_y: i64[n + n_ + (i0_ + for_)]\n"
          "  for i0 in n + n_ + (i0_ + for_) parallel {\n"
          "    _3_y[i0] = i0\n"
          "  }\n"
          "}\n");
  assert_round_trip(k, a);
  kernel_free(k, a);
  assert_int_equal(c.live, 0);
}

static void every_constant_reads_back_exactly(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  for (int round = 0; round < 40; round++) {
    KB *b = kb_new(a, "c");
    for (int t = 0; t < DT_COUNT; t++) {
      KE four = kb_int(b, 60);
      uint32_t y = kb_buf(b, K_OUT, "y", (DType)t, 1, &four);
      for (int i = 0; i < 60; i++) {
        KE at = kb_int(b, i);
        uint64_t r = next_random();
        double d = (double)(int64_t)(r % 2001 - 1000) / 100;
        KE v = i % 3 == 0   ? kb_bits_const(b, (DType)t, r >> r % 64)
               : i % 3 == 1 ? kb_float(b, (DType)t, d)
                            : kb_num(b, (DType)t, (int64_t)(r % 1000));
        kb_store(b, y, &at, v);
      }
    }
    Kernel *k = kb_done(b);
    assert_non_null(k);
    size_t n;
    char *s = kernel_print(k, a, &n);
    Kernel *again = parse(s, a);
    assert_int_equal(k->n_stmts, again->n_stmts);
    for (uint32_t i = 0; i < k->n_stmts; i++) {
      const KNode *x = &k->node[k->stmt[i].c], *y = &again->node[again->stmt[i].c];
      assert_true(x->bits == y->bits && x->dtype == y->dtype);
    }
    a.fn(a.user, s, n + 1, 0);
    kernel_free(again, a);
    kernel_free(k, a);
  }
  assert_int_equal(c.live, 0);
}

static void mistakes_in_text_have_a_place(void **state) {
  (void)state;
  static const struct { const char *text; int line, col; const char *why;
  } row[] = {
      {"", 1, 1, "expected kernel"},
      {"kernel @k() {\n  out y: f33[]\n}", 2, 10, "no such dtype"},
      {"kernel @k() {\n  out y: f32[]\n  y[] = 1:f32 + 2\n}", 3, 17,
       "an operation on different types"},
      {"kernel @k() {\n  out y: f32[]\n  y[0] = 1:f32\n}", 3, 6,
       "an access with a wrong number of indices"},
      {"kernel @k() {\n  out y: i8[]\n  y[] = 300:i8\n}", 3, 13,
       "the number does not fit its dtype"},
      {"kernel @k() {\n  z[] = 0\n}", 2, 3, "unknown name"},
      {"kernel @k(n) {\n  for i in n {\n}", 3, 2, "expected }"},
      {"kernel @k() {\n  out y: f32[]\n  y[] = 0.5\n}", 3, 9,
       "a fraction needs the dtype of a float: 0.5:f32"},
      {"kernel @k() {\n  out y: i64[]\n  for i in 3 { }\n  y[] = i\n}", 4, 9, "unknown name"},
      {"kernel @k() { } x", 1, 17, "expected the end"},
  };
  Counted c;
  KAlloc a = counting(&c);
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    KTextError e;
    assert_null(kernel_parse(row[i].text, strlen(row[i].text), a, &e));
    assert_string_equal(e.why, row[i].why);
    assert_int_equal(e.line, row[i].line);
    assert_int_equal(e.col, row[i].col);
    assert_int_equal(c.live, 0);
  }
}

/* Change, drop or move a few bytes of the text. */
static size_t spoil(char *s, size_t n) {
  for (uint64_t i = next_random() % 4; i < 4 && n > 30; i++) {
    uint64_t r = next_random();
    size_t at = r % n, cut = r >> 20 & 15;
    switch (r >> 40 & 3) {
    case 0: s[at] = (char)(r >> 48); break;
    case 1: s[at] = s[(r >> 10) % n]; break;
    case 2: if (at + cut < n) { memmove(s + at, s + at + cut, n - at - cut); n -= cut; } break;
    default: s[at] = "()[]{},=$0:-\" "[r >> 48 & 13]; break;
    }
  }
  return n;
}

static void reading_survives_any_bytes(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  int read = 0;
  for (int i = 0; i < 30000; i++) {
    KTextError e;
    size_t n = sizeof everything - 1;
    char *s = malloc(n);
    memcpy(s, everything, n);
    n = spoil(s, n);
    char *exact = malloc(n); /* so that a sanitizer sees its end */
    memcpy(exact, s, n);
    Kernel *k = kernel_parse(exact, n, a, &e);
    free(exact);
    free(s);
    if (k) {
      read++;
      assert_round_trip(k, a);
      kernel_free(k, a);
    }
    assert_int_equal(c.live, 0);
  }
  assert_true(read > 100);
}

/* A value may begin with the name of an expression. */
static void a_value_may_be_a_named_expression(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  Kernel *k = parse("kernel @k() { in x: f32[3] out y: f32[1] let r = reduce add (i in 3) from 0:f32 {"
                    " $0 = x[i] $1 = $0 + 1:f32 $0 * $1 } y[0] = r }", a);
  assert_round_trip(k, a);
  kernel_free(k, a);
  assert_int_equal(c.live, 0);
}

static void nesting_in_text_is_limited(void **state) {
  (void)state;
  Counted c;
  KAlloc a = counting(&c);
  static char s[100200];
  KTextError e;
  strcpy(s, "kernel @k() { out y: i64[] y[] = ");
  memset(s + strlen(s), '(', 100000);
  assert_null(kernel_parse(s, strlen(s), a, &e));
  assert_string_equal(e.why, "the expression is nested too deeply");
  strcpy(s, "kernel @k() {");
  for (int i = 0; i < 5000; i++) memcpy(s + 13 + 7 * i, "if 0<1{", 8);
  assert_null(kernel_parse(s, strlen(s), a, &e));
  assert_int_equal(c.live, 0);
}

static void printing_and_reading_survive_every_refused_allocation(void **state) {
  (void)state;
  for (long n = 0; n < 1000; n++) {
    Counted c = { 0, n };
    KAlloc a = { counted, &c };
    KTextError e;
    size_t len = 0;
    Kernel *k = kernel_parse(everything, sizeof everything - 1, a, &e);
    char *s = k ? kernel_print(k, a, &len) : NULL;
    if (!k) assert_string_equal(e.why, "out of memory");
    bool done = s != NULL && c.left > 0;
    if (s && c.left > 0) a.fn(a.user, s, len + 1, 0);
    if (k) kernel_free(k, a);
    if (done) {
      assert_int_equal(c.live, 0);
      return;
    }
    if (s) { free(s); continue; }
    assert_int_equal(c.live, 0);
  }
  fail_msg("still refusing after 1000 allocations");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_kernel_is_built_and_prints),
    cmocka_unit_test(misuse_is_kept_until_the_end),
    cmocka_unit_test(every_kind_of_misuse_is_noticed),
    cmocka_unit_test(building_survives_every_refused_allocation),
    cmocka_unit_test(equal_expressions_are_one_node),
    cmocka_unit_test(integers_fold_and_floats_do_not),
    cmocka_unit_test(text_reads_back_to_itself),
    cmocka_unit_test(what_is_not_folded_stays_as_written),
    cmocka_unit_test(shared_and_deep_expressions_print_in_proportion),
    cmocka_unit_test(odd_names_become_words_that_differ),
    cmocka_unit_test(every_constant_reads_back_exactly),
    cmocka_unit_test(mistakes_in_text_have_a_place),
    cmocka_unit_test(reading_survives_any_bytes),
    cmocka_unit_test(a_value_may_be_a_named_expression),
      cmocka_unit_test(nesting_in_text_is_limited),
    cmocka_unit_test(printing_and_reading_survive_every_refused_allocation),
  };
  return cmocka_run_group_tests_name("kernel build and text", tests, NULL, NULL);
}
