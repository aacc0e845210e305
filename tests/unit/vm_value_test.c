/* Values of data types through the C API: built, taken apart, shared, given back. */
#include "tests/unit/vm_programs.h"

static void a_copied_tensor_does_not_need_its_source(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, LISTS);
  float given[3] = { 4, 5, 6 };
  int64_t n = 3;
  DLTensor t = TENSOR(2, 32, 1, &n, given), seen;
  rvm_value copied, borrowed;
  assert_int_equal(rvm_value_tensor_copy(x.vm, T_VEC, &t, &copied, &x.err), RVM_OK);
  assert_int_equal(rvm_value_tensor(x.vm, T_VEC, &t, &borrowed, &x.err), RVM_OK);
  given[1] = 9;
  rvm_value_get(x.vm, &copied, &seen);
  assert_true(((const float *)seen.data)[1] == 5);
  rvm_value_get(x.vm, &borrowed, &seen);
  assert_true(((const float *)seen.data)[1] == 9);
  rvm_value_release(x.vm, copied);
  rvm_value_release(x.vm, borrowed);
  fix_end(&x);
}

static void a_field_that_is_retained_outlives_its_owner(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, LISTS);
  rvm_value v = make_list(&x, 3), rest = rvm_value_field(x.vm, v, 1);
  rvm_value_retain(x.vm, rest);
  rvm_value_retain(x.vm, rest);
  rvm_value_release(x.vm, v);
  rvm_value_release(x.vm, rest);
  assert_int_equal(length_of(&x, rest), 2); /* which consumes it        */
  fix_end(&x);
}

static void a_million_element_list_lives_and_dies(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, LISTS);
  rvm_value v = make_list(&x, 1000000);
  rvm_stats s;
  rvm_get_stats(x.vm, &s);
  assert_true(s.memory_now > 32000000);
  rvm_value_release(x.vm, v);                /* no recursion                  */
  v = make_list(&x, 1000000);
  assert_int_equal(length_of(&x, v), 1000000);
  rvm_get_stats(x.vm, &s);
  assert_true(s.memory_peak < 80000000);     /* the second took the place of the first */
  v = make_list(&x, 5);
  rvm_get_stats(x.vm, &s);
  assert_true(s.memory_now < 1 << 20);       /* what was idle went back       */
  rvm_value_release(x.vm, v);
  fix_end(&x);
}

static void the_host_builds_and_takes_apart_values(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, LISTS);
  rvm_value l = nil(&x);
  for (int i = 0; i < 3; i++) {
    rvm_value f[2] = { vector(&x), l };
    assert_int_equal(rvm_value_data(x.vm, T_LIST, 1, 2, f, &l, &x.err), RVM_OK);
  }
  rvm_value r;
  assert_int_equal(rvm_apply(x.vm, entry(&x, "same"), &l, &r, &x.err), RVM_OK);
  rvm_value at = r;
  int n = 0;
  for (; rvm_value_ctor(x.vm, at) == 1; n++) {
    rvm_value head = rvm_value_field(x.vm, at, 0);
    DLTensor t;
    rvm_value_get(x.vm, &head, &t);
    assert_int_equal(t.shape[0], 3);
    assert_true(((float *)t.data)[2] == 3);
    at = rvm_value_field(x.vm, at, 1);
  }
  assert_int_equal(n, 3);
  rvm_value bad[2] = { vector(&x), int_value(&x, 3) };
  assert_int_equal(rvm_value_data(x.vm, T_LIST, 1, 2, bad, &l, &x.err), RVM_BAD_ARGUMENT);
  assert_int_equal(x.err.index, 1);
  rvm_value borrowed[2] = { rvm_value_field(x.vm, r, 0), nil(&x) };
  assert_int_equal(rvm_value_data(x.vm, T_LIST, 1, 2, borrowed, &l, &x.err), RVM_BAD_ARGUMENT);
  assert_string_equal(x.err.message, "the value is not the host's to give");
  assert_int_equal(length_of(&x, r), 3);
  fix_end(&x);
}

static void a_failed_call_leaves_the_hosts_values_alone(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, LISTS);
  rvm_value keep = make_list(&x, 10), twin, args[3] = { vector(&x), int_value(&x, 1000), nil(&x) };
  assert_int_equal(rvm_apply(x.vm, entry(&x, "fails"), args, &twin, &x.err), RVM_FAULT);
  assert_string_equal(x.err.message, "no luck");
  for (int i = 0; i < 3; i++) {              /* its tail becomes part of what fails */
    rvm_value a[3] = { vector(&x), int_value(&x, 7), make_list(&x, 4) };
    assert_int_equal(rvm_apply(x.vm, entry(&x, "fails"), a, &twin, &x.err), RVM_FAULT);
  }
  assert_int_equal(length_of(&x, keep), 10);
  rvm_stats s;
  rvm_get_stats(x.vm, &s);
  fix_end(&x);
}

static void a_shared_tail_survives_a_failure(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, LISTS);
  rvm_value tail = make_list(&x, 4), r, list = nil(&x);
  rvm_value inner = rvm_value_field(x.vm, tail, 1);
  assert_int_equal(rvm_value_ctor(x.vm, inner), 1);
  rvm_value args[3] = { vector(&x), int_value(&x, 9), list };
  assert_int_equal(rvm_apply(x.vm, entry(&x, "fails"), args, &r, &x.err), RVM_FAULT);
  rvm_value f[2] = { vector(&x), tail };
  assert_int_equal(rvm_value_data(x.vm, T_LIST, 1, 2, f, &list, &x.err), RVM_OK);
  assert_int_equal(length_of(&x, list), 5);
  fix_end(&x);
}

static void a_parked_apply_resumes_with_a_value(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, LISTS);
  rvm_value r, args[3] = { vector(&x), int_value(&x, 1000), nil(&x) };
  assert_int_equal(rvm_resume_value(x.vm, &r, &x.err), RVM_BAD_ARGUMENT);
  assert_string_equal(x.err.message, "there is no stopped rvm_apply to resume");
  rvm_set_fuel(x.vm, 100);
  rvm_status st = rvm_apply(x.vm, entry(&x, "make"), args, &r, &x.err);
  assert_int_equal(st, RVM_NO_FUEL);
  DLTensor out = { 0 };                      /* which was no rvm_call           */
  assert_int_equal(rvm_resume(x.vm, (DLTensor *[]){ &out }, &x.err), RVM_BAD_ARGUMENT);
  for (int parks = 0; st == RVM_NO_FUEL && parks < 1000; parks++) {
    rvm_set_fuel(x.vm, 100);
    st = rvm_resume_value(x.vm, &r, &x.err);
  }
  assert_int_equal(st, RVM_OK);
  rvm_set_fuel(x.vm, 0);
  assert_int_equal(length_of(&x, r), 1000);
  assert_int_equal(rvm_resume_value(x.vm, &r, &x.err), RVM_BAD_ARGUMENT);
  fix_end(&x);
}

static void closures_capture(void **state) {
  (void)state;
  Fix x;
  int64_t r;
  fix_begin(&x, LISTS);
  assert_int_equal(call_ints(&x, "closures", 1, SHAPE(14), &r), RVM_OK);
  assert_int_equal(r, 42);
  fix_end(&x);
}

static void cycles_of_references_are_collected(void **state) {
  (void)state;
  Fix x;
  int64_t r;
  rvm_stats a, b;
  fix_begin(&x, LISTS);
  assert_int_equal(call_ints(&x, "knot", 1, SHAPE(3), &r), RVM_OK);
  rvm_get_stats(x.vm, &a);
  for (int i = 0; i < 1000; i++) assert_int_equal(call_ints(&x, "knot", 1, SHAPE(3), &r), RVM_OK);
  rvm_get_stats(x.vm, &b);
  assert_int_equal(a.memory_now, b.memory_now);
  assert_int_equal(b.allocations, 2002);
  fix_end(&x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_copied_tensor_does_not_need_its_source),
    cmocka_unit_test(a_field_that_is_retained_outlives_its_owner),
    cmocka_unit_test(a_million_element_list_lives_and_dies),
    cmocka_unit_test(the_host_builds_and_takes_apart_values),
    cmocka_unit_test(a_failed_call_leaves_the_hosts_values_alone),
    cmocka_unit_test(a_shared_tail_survives_a_failure),
    cmocka_unit_test(a_parked_apply_resumes_with_a_value),
    cmocka_unit_test(closures_capture),
    cmocka_unit_test(cycles_of_references_are_collected),
  };
  return cmocka_run_group_tests_name("vm values", tests, NULL, NULL);
}
