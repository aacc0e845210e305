/* dim_test.c -- symbolic extents: normal form, proofs, text, and agreement of
 * every operation with plain arithmetic on random expressions.               */
#include "tests/unit/test.h"
#include <string.h>
#include "base/mem.h"
#include "ir/dim.h"

typedef struct { DimTab *t; SymTab *syms; Dim n, m, k; } Fixture;

static Fixture fixture(void) {
  Fixture f = { .t = dimtab_new(), .syms = symtab_new() };
  f.n = dim_new_sym(f.t, sym(f.syms, "n"), 0);
  f.m = dim_new_sym(f.t, sym(f.syms, "m"), 0);
  f.k = dim_new_sym(f.t, sym(f.syms, "k"), 0);
  return f;
}
static Dim num(Fixture *f, int64_t v) { return dim_const(f->t, v); }
static Dim times(Fixture *f, int64_t v, Dim d) { return dim_mul(f->t, num(f, v), d); }
static Dim plus(Fixture *f, Dim d, int64_t v) { return dim_add(f->t, d, num(f, v)); }

static void assert_text(Dim d, const char *want) {
  StrBuf b = { 0 };
  dim_print(d, &b);
  assert_string_equal(buf_text(&b), want);
}

static void equal_polynomials_are_one_node(void **state) {
  (void)state;
  Fixture f = fixture();
  Dim a = dim_add(f.t, times(&f, 2, f.n), num(&f, 1));
  Dim b = dim_sub(f.t, dim_add(f.t, f.n, plus(&f, f.n, 3)), num(&f, 2));
  assert_ptr_equal(a, b);
  assert_true(dim_equal(a, b));
  assert_ptr_equal(dim_sub(f.t, plus(&f, f.n, 1), f.n), num(&f, 1));
  Dim nm = dim_mul(f.t, f.n, f.m), mn = dim_mul(f.t, f.m, f.n);
  assert_ptr_equal(nm, mn);
  Dim left = dim_mul(f.t, nm, f.k);
  assert_ptr_equal(left, dim_mul(f.t, f.n, dim_mul(f.t, f.k, f.m)));
  Dim square = dim_mul(f.t, plus(&f, f.n, 1), plus(&f, f.n, -1));
  assert_ptr_equal(plus(&f, square, 1), dim_mul(f.t, f.n, f.n));
}

static void any_equals_nothing(void **state) {
  (void)state;
  Fixture f = fixture();
  Dim any = dim_any(f.t);
  assert_false(dim_equal(any, any));
  assert_true(dim_has_any(dim_add(f.t, f.n, any)));
  assert_true(dim_has_any(dim_max(f.t, any, f.n)));
  assert_true(dim_has_any(dim_div(f.t, f.n, num(&f, 0))));
  assert_true(dim_has_any(times(&f, INT64_MAX, times(&f, 2, f.n))));
  assert_false(dim_differ(any, f.n));
}

static void division_takes_out_what_divides(void **state) {
  (void)state;
  Fixture f = fixture();
  DimTab *t = f.t;
  assert_ptr_equal(dim_div(t, times(&f, 6, f.n), num(&f, 3)), times(&f, 2, f.n));
  assert_ptr_equal(dim_div(t, dim_mul(t, f.n, f.m), f.n), f.m);
  assert_ptr_equal(dim_div(t, f.n, f.n), num(&f, 1));
  Dim total = dim_mul(t, dim_mul(t, plus(&f, f.n, 1), f.m), num(&f, 4));
  assert_ptr_equal(dim_div(t, total, plus(&f, f.n, 1)), times(&f, 4, f.m));
  assert_ptr_equal(dim_div(t, total, times(&f, 2, f.m)), plus(&f, times(&f, 2, f.n), 2));
  Dim a = dim_div(t, plus(&f, f.n, 4), num(&f, 2));
  assert_ptr_equal(a, plus(&f, dim_div(t, f.n, num(&f, 2)), 2));
  Dim twice = dim_div(t, plus(&f, dim_div(t, plus(&f, f.n, 1), num(&f, 2)), 1), num(&f, 2));
  assert_ptr_equal(twice, dim_div(t, plus(&f, f.n, 3), num(&f, 4)));
  assert_ptr_equal(dim_mod(t, plus(&f, times(&f, 4, f.n), 7), num(&f, 4)), num(&f, 3));
  assert_ptr_equal(dim_div(t, dim_mod(t, f.n, num(&f, 4)), num(&f, 4)), num(&f, 0));
  assert_ptr_equal(dim_ceildiv(t, times(&f, 4, f.n), num(&f, 4)), f.n);
}

static void max_min_and_bcast_drop_what_cannot_win(void **state) {
  (void)state;
  Fixture f = fixture();
  DimTab *t = f.t;
  assert_ptr_equal(dim_max(t, f.n, plus(&f, f.n, 1)), plus(&f, f.n, 1));
  assert_ptr_equal(dim_min(t, f.n, plus(&f, f.n, 1)), f.n);
  assert_ptr_equal(dim_max(t, f.n, num(&f, 0)), f.n);
  assert_ptr_equal(dim_max(t, dim_max(t, f.n, f.m), f.k), dim_max(t, f.m, dim_max(t, f.k, f.n)));
  assert_ptr_equal(dim_bcast(t, f.n, num(&f, 1)), f.n);
  assert_ptr_equal(dim_bcast(t, num(&f, 7), f.n), num(&f, 7));
  assert_ptr_equal(dim_bcast(t, num(&f, 0), f.n), num(&f, 0));
  assert_ptr_equal(dim_bcast(t, f.n, f.n), f.n);
  assert_ptr_equal(dim_bcast(t, dim_bcast(t, f.n, f.m), f.m), dim_bcast(t, f.m, f.n));
  assert_ptr_equal(dim_bcast(t, plus(&f, f.n, 2), f.m), plus(&f, f.n, 2));
}

static void differences_are_proved_or_left_open(void **state) {
  (void)state;
  Fixture f = fixture();
  assert_true(dim_differ(f.n, plus(&f, f.n, 1)));
  assert_true(dim_differ(num(&f, 3), num(&f, 4)));
  assert_false(dim_differ(f.n, f.n));
  assert_false(dim_differ(f.n, f.m));
  assert_false(dim_differ(f.n, plus(&f, f.m, 1)));
  assert_true(dim_differ(times(&f, 2, f.n), plus(&f, times(&f, 2, f.m), 1)));
  assert_true(dim_differ(plus(&f, f.n, 1), num(&f, 0)));
  assert_true(dim_differ(f.n, plus(&f, dim_add(f.t, f.n, f.m), 1)));
  assert_false(dim_differ(f.n, num(&f, 0)));
  assert_true(dim_differ(dim_mod(f.t, f.n, num(&f, 4)), num(&f, 4)));
}

static void text_does_not_depend_on_the_order_of_creation(void **state) {
  (void)state;
  Fixture f = fixture();
  DimTab *t = f.t;
  Dim n2 = dim_new_sym(t, sym(f.syms, "a"), 0);     /* made last, prints first */
  assert_text(dim_add(t, f.n, n2), "a + n");
  assert_text(dim_mul(t, f.n, n2), "a * n");
  assert_text(dim_max(t, f.n, n2), "max(a, n)");
  assert_text(plus(&f, times(&f, 2, f.n), 1), "2 * n + 1");
  assert_text(plus(&f, f.m, -1), "m - 1");
  assert_text(dim_sub(t, num(&f, 3), f.n), "3 - n");
  assert_text(dim_sub(t, num(&f, -3), f.n), "0 - n - 3");
  assert_text(dim_sub(t, f.n, times(&f, 2, f.m)), "n - 2 * m");
  assert_text(dim_div(t, plus(&f, f.n, 1), num(&f, 2)), "(n + 1) / 2");
  assert_text(times(&f, 3, dim_div(t, f.n, num(&f, 2))), "3 * (n / 2)");
  assert_text(dim_mul(t, f.m, dim_mod(t, f.n, num(&f, 2))), "(n % 2) * m");
  assert_text(dim_add(t, f.n, dim_any(t)), "?");
  assert_text(dim_add(t, f.n, dim_new_sym(t, NULL, 0)), "?");
}

static Dim to_five(void *ud, Dim s) {
  Fixture *f = ud;
  return s == f->n ? num(f, 5) : NULL;
}

static void substitution_normalises_again(void **state) {
  (void)state;
  Fixture f = fixture();
  Dim d = dim_div(f.t, dim_mul(f.t, plus(&f, f.n, 1), f.m), num(&f, 4));
  assert_ptr_equal(dim_subst(f.t, d, to_five, &f), dim_div(f.t, times(&f, 6, f.m), num(&f, 4)));
  assert_ptr_equal(dim_subst(f.t, f.m, to_five, &f), f.m);
}

/* ---- random expressions against plain arithmetic ---- */

static uint64_t seed = 88172645463325252u;
static int below(int n) {
  return (int)(xorshift(&seed) % (uint64_t)n);
}

typedef struct { Dim sym[3]; int64_t value[3]; } Env;
static bool look_up(void *ud, Dim s, int64_t *v) {
  Env *e = ud;
  for (int i = 0; i < 3; i++)
    if (e->sym[i] == s) {
      *v = e->value[i];
      return true;
    }
  return false;
}

static int64_t fdiv(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }

/* A random expression and its value; *ok false where the value is undefined
 * (division by zero) or not an extent that broadcasts. */
static Dim random_dim(DimTab *t, const Env *e, int depth, int64_t *v, bool *ok) {
  if (depth == 0 || below(5) == 0) {
    int i = below(5);
    *v = i < 3 ? e->value[i] : below(9) - 3;
    return i < 3 ? e->sym[i] : dim_const(t, *v);
  }
  int64_t x, y;
  Dim a = random_dim(t, e, depth - 1, &x, ok), b = random_dim(t, e, depth - 1, &y, ok);
  switch (below(7)) {
  case 0: *v = x + y; return dim_add(t, a, b);
  case 1: *v = x - y; return dim_sub(t, a, b);
  case 2: *v = x * y; return dim_mul(t, a, b);
  case 3: *v = x > y ? x : y; return dim_max(t, a, b);
  case 4: *v = x < y ? x : y; return dim_min(t, a, b);
  case 5:
    if (y == 0) *ok = false;
    *v = y ? fdiv(x, y) : 0;
    return dim_div(t, a, b);
  default:
    if (y == 0) *ok = false;
    *v = y ? x - y * fdiv(x, y) : 0;
    return dim_mod(t, a, b);
  }
}

static void every_operation_agrees_with_arithmetic(void **state) {
  (void)state;
  int checked = 0;
  for (int round = 0; round < 20000; round++) {
    Fixture f = fixture();
    Env e = { { f.n, f.m, f.k }, { below(7), below(7), below(7) } };
    int64_t x, y, got;
    bool ok = true;
    Dim a = random_dim(f.t, &e, 4, &x, &ok), b = random_dim(f.t, &e, 3, &y, &ok);
    if (!ok || dim_has_any(a) || !dim_eval(a, look_up, &e, &got)) continue;
    assert_int_equal(got, x);
    if (dim_has_any(b)) continue;
    if (dim_equal(a, b)) assert_int_equal(x, y);
    if (dim_differ(a, b)) assert_int_not_equal(x, y);
    checked++;
  }
  assert_true(checked > 5000);
}

static void long_and_deep_expressions_end_in_any(void **state) {
  (void)state;
  Fixture f = fixture();
  Dim d = f.n, s = f.n;
  for (int i = 0; i < 3000; i++) {
    d = dim_max(f.t, plus(&f, dim_mod(f.t, d, f.m), 1), f.k);
    s = dim_add(f.t, s, dim_new_sym(f.t, NULL, 0));
  }
  assert_true(dim_has_any(d));
  assert_true(dim_has_any(s));
}

/* Each step mentions the one before twice: as a tree the last one has 2^60 nodes. */
static void expressions_that_share_end_before_they_cannot_be_walked(void **state) {
  (void)state;
  Fixture f = fixture();
  Dim d = f.n;
  int steps = 0;
  for (; steps < 60 && !dim_has_any(d); steps++)
    d = dim_add(f.t, dim_div(f.t, d, num(&f, 2)), dim_mod(f.t, d, num(&f, 3)));
  assert_in_range(steps, 12, 30);
}

static void constants_are_divided_at_the_end_of_their_range(void **state) {
  (void)state;
  Fixture f = fixture();
  Dim least = dim_sub(f.t, plus(&f, f.n, -INT64_MAX), num(&f, 1));
  Dim third = dim_div(f.t, least, num(&f, 3)), rest = dim_mod(f.t, least, num(&f, 3));
  assert_text(third, "(n + 1) / 3 - 3074457345618258603");
  assert_text(rest, "(n + 1) % 3");
}

int main(void) {
  mem_init();
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(equal_polynomials_are_one_node),
    cmocka_unit_test(any_equals_nothing),
    cmocka_unit_test(division_takes_out_what_divides),
    cmocka_unit_test(max_min_and_bcast_drop_what_cannot_win),
    cmocka_unit_test(differences_are_proved_or_left_open),
    cmocka_unit_test(text_does_not_depend_on_the_order_of_creation),
    cmocka_unit_test(substitution_normalises_again),
    cmocka_unit_test(every_operation_agrees_with_arithmetic),
    cmocka_unit_test(long_and_deep_expressions_end_in_any),
    cmocka_unit_test(expressions_that_share_end_before_they_cannot_be_walked),
    cmocka_unit_test(constants_are_divided_at_the_end_of_their_range),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
