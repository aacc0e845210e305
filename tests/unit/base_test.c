/* base_test.c -- base/: memory, arrays, maps, names. */
#include "tests/unit/test.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"

static void memory_comes_zeroed_and_grows_with_a_zeroed_tail(void **state) {
  (void)state;
  for (size_t n = 0; n < 3000; n = n * 2 + 1) {
    unsigned char *p = n % 2 ? NEW_BYTES(n) : mem_get(n);
    for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
    if (n) memset(p, 0xab, n);
    p = mem_grow(p, n, 3 * n + 5);
    for (size_t i = 0; i < 3 * n + 5; i++) assert_int_equal(p[i], i < n ? 0xab : 0);
  }
}

static void vectors_keep_what_was_pushed(void **state) {
  (void)state;
  VEC(int) v = {0};
  VEC(char *) names = {0};
  for (int i = 0; i < 10000; i++) {
    vec_push(&v, i * 3);
    vec_push(&names, str_fmt("%d", i));
  }
  assert_int_equal(v.n, 10000);
  for (int i = 0; i < v.n; i++) {
    assert_int_equal(v.at[i], i * 3);
    assert_int_equal(atoi(names.at[i]), i);
  }
  assert_int_equal(vec_pop(&v), 9999 * 3);
  assert_int_equal(vec_last(&v), 9998 * 3);
  vec_clear(&v);
  assert_int_equal(v.n, 0);
}

static void maps_keep_insertion_order(void **state) {
  (void)state;
  Map m = {0};
  static int value[20000];
  assert_null(map_get(&m, 7));
  for (int i = 0; i < 20000; i++) map_set(&m, (uint64_t)(19999 - i) * 64, &value[i]);
  assert_int_equal(m.n, 20000);
  for (int i = 0; i < 20000; i++) {
    assert_int_equal(m.entry[i].key, (uint64_t)(19999 - i) * 64);
    assert_ptr_equal(map_get(&m, (uint64_t)(19999 - i) * 64), &value[i]);
  }
  assert_false(map_find(&m, 63, NULL));
}

static void setting_a_key_again_replaces_its_value_in_place(void **state) {
  (void)state;
  Map m = {0};
  int a, b;
  void *v = &a;
  map_set(&m, 1, &a);
  map_set(&m, 2, &a);
  map_set(&m, 1, &b);
  map_set(&m, 3, NULL);
  assert_int_equal(m.n, 3);
  assert_ptr_equal(m.entry[0].value, &b);
  assert_true(map_find(&m, 3, &v)); /* present, and NULL */
  assert_null(v);
}

static void names_are_equal_exactly_when_their_pointers_are(void **state) {
  (void)state;
  SymTab *t = symtab_new();
  Sym first = sym(t, "x0"), empty = sym(t, "");
  for (int i = 0; i < 5000; i++) assert_string_equal(sym(t, str_fmt("x%d", i)), str_fmt("x%d", i));
  assert_ptr_equal(sym(t, "x0"), first);
  assert_ptr_equal(sym_n(t, "x0yz", 2), first);
  assert_ptr_not_equal(sym_n(t, "x0yz", 3), first);
  assert_ptr_equal(sym_n(t, NULL, 0), empty);
  assert_ptr_equal(sym_n(t, "x0\0abc", 6), first);
}

static void hashes_do_not_depend_on_alignment_and_see_every_byte(void **state) {
  (void)state;
  char a[40] = {0}, b[40] = {0};
  for (int n = 0; n < 32; n++) {
    for (int i = 0; i < n; i++) a[i] = b[i + 1] = (char)(i * 7);
    assert_int_equal(hash_bytes(a, (uint64_t)n, 5), hash_bytes(b + 1, (uint64_t)n, 5));
    for (int i = 0; i < n; i++) {
      uint64_t was = hash_bytes(a, (uint64_t)n, 5);
      a[i] ^= 1;
      assert_int_not_equal(hash_bytes(a, (uint64_t)n, 5), was);
      a[i] ^= 1;
    }
  }
}

static void growing_text_stays_terminated(void **state) {
  (void)state;
  StrBuf b = {0};
  assert_string_equal(buf_text(&b), "");
  buf_fmt(&b, "%s", "");
  assert_string_equal(b.s, "");
  for (int i = 0; i < 1000; i++) {
    buf_fmt(&b, "%d,", i % 10);
    assert_int_equal(strlen(b.s), b.n);
  }
  buf_char(&b, 'x');
  assert_int_equal(b.n, 2001);
  assert_string_equal(str_fmt("%s-%d", "a", 3), "a-3");
}

static void sizes_that_overflow_are_refused(void **state) {
  (void)state;
  int64_t n;
  assert_true(dims_count((int64_t[]){3, 4}, 2, &n) && n == 12);
  assert_true(dims_count(NULL, 0, &n) && n == 1);
  assert_true(dims_count((int64_t[]){INT64_MAX, 0}, 2, &n) && n == 0);
  assert_false(dims_count((int64_t[]){0, INT64_MAX, 2}, 3, &n));
  assert_false(dims_count((int64_t[]){3, -1}, 2, &n));
  assert_true(range_ok(5, 5, 10));
  assert_false(range_ok(5, UINT64_MAX, 10));
}

int main(void) {
  mem_init();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(memory_comes_zeroed_and_grows_with_a_zeroed_tail),
      cmocka_unit_test(vectors_keep_what_was_pushed),
      cmocka_unit_test(maps_keep_insertion_order),
      cmocka_unit_test(setting_a_key_again_replaces_its_value_in_place),
      cmocka_unit_test(names_are_equal_exactly_when_their_pointers_are),
      cmocka_unit_test(hashes_do_not_depend_on_alignment_and_see_every_byte),
      cmocka_unit_test(growing_text_stays_terminated),
      cmocka_unit_test(sizes_that_overflow_are_refused),
  };
  int failed = cmocka_run_group_tests_name("base", tests, NULL, NULL);
  mem_release_all();
  return failed;
}
