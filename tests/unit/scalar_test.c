/* scalar_test.c -- the meaning of scalar operations and casts.               */
#include "tests/unit/kernel_alloc.h"
#include "kernel/interp.h"
#include <math.h>

static uint64_t seed = 88172645463325252u;
static uint64_t next_random(void) { return xorshift(&seed); }

static uint64_t f32(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static uint64_t f64(double d) { uint64_t u; memcpy(&u, &d, 8); return u; }
static float to_f32(uint64_t x) { uint32_t u = (uint32_t)x; float f; memcpy(&f, &u, 4); return f; }
static double to_f64(uint64_t x) { double d; memcpy(&d, &x, 8); return d; }

static uint64_t ok(SOp op, DType t, uint64_t a, uint64_t b) {
  uint64_t r;
  assert_int_equal(scalar_eval(op, t, a, b, 0, &r), K_OK);
  return r;
}
static int64_t on(SOp op, DType t, int64_t a, int64_t b) {
  return (int64_t)ok(op, t, (uint64_t)a, (uint64_t)b);
}
static float on_f(SOp op, float a, float b) { return to_f32(ok(op, DT_f32, f32(a), f32(b))); }

static void integers_wrap_at_their_width(void **state) {
  (void)state;
  assert_int_equal(on(S_add, DT_i8, 127, 1), -128);
  assert_int_equal(on(S_mul, DT_u8, 16, 17), 16);
  assert_int_equal(on(S_sub, DT_u16, 0, 1), 65535);
  assert_int_equal(on(S_neg, DT_i32, INT32_MIN, 0), INT32_MIN);
  assert_int_equal(on(S_abs, DT_i64, INT64_MIN, 0), INT64_MIN);
  assert_int_equal(on(S_not, DT_u8, 0, 0), 255);
  assert_int_equal(on(S_not, DT_bool, 1, 0), 0);
  assert_int_equal(on(S_add, DT_i64, INT64_MAX, 1), INT64_MIN);
}

static void division_truncates_or_floors_and_the_minimum_by_minus_one_wraps(void **state) {
  (void)state;
  static const struct { int a, b, div, fdiv, mod, fmod; } row[] = {
    { 7, 2, 3, 3, 1, 1 },     { -7, 2, -3, -4, -1, 1 }, { 7, -2, -3, -4, 1, -1 },
    { -7, -2, 3, 3, -1, -1 }, { 6, -3, -2, -2, 0, 0 },  { 0, 5, 0, 0, 0, 0 },
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    assert_int_equal(on(S_div, DT_i32, row[i].a, row[i].b), row[i].div);
    assert_int_equal(on(S_fdiv, DT_i32, row[i].a, row[i].b), row[i].fdiv);
    assert_int_equal(on(S_mod, DT_i32, row[i].a, row[i].b), row[i].mod);
    assert_int_equal(on(S_fmod, DT_i32, row[i].a, row[i].b), row[i].fmod);
  }
  assert_int_equal(on(S_div, DT_i64, INT64_MIN, -1), INT64_MIN);
  assert_int_equal(on(S_mod, DT_i64, INT64_MIN, -1), 0);
  assert_int_equal(on(S_div, DT_i8, -128, -1), -128);
  assert_true(ok(S_div, DT_u64, UINT64_MAX, 2) == INT64_MAX);
  uint64_t r;
  assert_int_equal(scalar_eval(S_div, DT_i32, 1, 0, 0, &r), K_DIV_ZERO);
  assert_int_equal(scalar_eval(S_fmod, DT_u8, 1, 0, 0, &r), K_DIV_ZERO);
}

static void unsigned_64_bit_numbers_compare_unsigned(void **state) {
  (void)state;
  assert_int_equal(on(S_lt, DT_u64, -1, 1), 0);
  assert_int_equal(on(S_lt, DT_i64, -1, 1), 1);
  assert_true(ok(S_max, DT_u64, UINT64_MAX, 1) == UINT64_MAX);
  assert_int_equal(on(S_min, DT_u64, -1, 1), 1);
  assert_int_equal(on(S_shr, DT_u64, -1, 63), 1);
  assert_int_equal(on(S_shr, DT_i64, -1, 63), -1);
  assert_int_equal(on(S_sign, DT_u64, -1, 0), 1);
}

static void shifts_outside_the_width_trap(void **state) {
  (void)state;
  uint64_t r;
  assert_int_equal(on(S_shl, DT_i8, 1, 7), -128);
  assert_int_equal(scalar_eval(S_shl, DT_i8, 1, 8, 0, &r), K_BAD_SHIFT);
  assert_int_equal(scalar_eval(S_shr, DT_i64, 1, (uint64_t)-1, 0, &r), K_BAD_SHIFT);
  assert_int_equal(scalar_eval(S_shr, DT_u32, 1, 32, 0, &r), K_BAD_SHIFT);
  assert_int_equal(on(S_shr, DT_u32, (int64_t)0xffffffff, 31), 1);
}

static void integer_powers_wrap_and_negative_exponents_truncate(void **state) {
  (void)state;
  uint64_t r;
  assert_int_equal(on(S_pow, DT_i32, 3, 4), 81);
  assert_int_equal(on(S_pow, DT_i32, -2, 31), INT32_MIN);
  assert_int_equal(on(S_pow, DT_i64, 2, 64), 0);
  assert_int_equal(on(S_pow, DT_i64, 2, -1), 0);
  assert_int_equal(on(S_pow, DT_i64, -1, -3), -1);
  assert_int_equal(on(S_pow, DT_i64, 1, INT64_MIN), 1);
  assert_int_equal(on(S_pow, DT_i64, 0, 0), 1);
  assert_int_equal(scalar_eval(S_pow, DT_i32, 0, (uint64_t)-1, 0, &r), K_DIV_ZERO);
}

static void minimum_and_maximum_propagate_nan_and_order_zeros(void **state) {
  (void)state;
  assert_true(isnan(on_f(S_min, NAN, 1)) && isnan(on_f(S_min, 1, NAN)));
  assert_true(isnan(on_f(S_max, NAN, 1)) && isnan(on_f(S_max, 1, NAN)));
  assert_true(signbit(on_f(S_min, -0.0f, 0)) && signbit(on_f(S_min, 0, -0.0f)));
  assert_true(!signbit(on_f(S_max, -0.0f, 0)) && !signbit(on_f(S_max, 0, -0.0f)));
  assert_true(on_f(S_min, 2, 1) == 1 && on_f(S_max, 2, 1) == 2);
}

static void sign_keeps_nan_and_minus_zero_and_round_goes_to_even(void **state) {
  (void)state;
  assert_true(isnan(on_f(S_sign, NAN, 0)));
  assert_true(signbit(on_f(S_sign, -0.0f, 0)) && on_f(S_sign, -0.0f, 0) == 0);
  assert_true(on_f(S_sign, -3, 0) == -1 && on_f(S_sign, INFINITY, 0) == 1);
  assert_true(on_f(S_round, 0.5f, 0) == 0 && on_f(S_round, 1.5f, 0) == 2);
  assert_true(on_f(S_round, 2.5f, 0) == 2 && on_f(S_round, -2.5f, 0) == -2);
}

static void floored_remainders_of_floats_have_the_sign_of_the_divisor(void **state) {
  (void)state;
  assert_true(on_f(S_fmod, -1, 3) == 2 && on_f(S_fmod, 1, -3) == -2);
  assert_true(on_f(S_mod, -1, 3) == -1 && on_f(S_fdiv, -1, 3) == -1);
  assert_true(isnan(on_f(S_fmod, 1, 0)));
}

static void half_floats_compute_in_float32_and_round_once(void **state) {
  (void)state;
  for (int i = 0; i < 20000; i++) {
    uint16_t a = (uint16_t)next_random(), b = (uint16_t)next_random();
    float want = f16_to_f32(a) * f16_to_f32(b), bwant = bf16_to_f32(a) + bf16_to_f32(b);
    if (!isnan(want)) assert_int_equal(ok(S_mul, DT_f16, a, b), f32_to_f16(want));
    if (!isnan(bwant)) assert_int_equal(ok(S_add, DT_bf16, a, b), f32_to_bf16(bwant));
  }
}

static void tests_of_floats_give_bool_for_every_width(void **state) {
  (void)state;
  assert_int_equal(ok(S_isnan, DT_f64, f64(NAN), 0), 1);
  assert_int_equal(ok(S_isinf, DT_f16, 0x7c00, 0), 1);
  assert_int_equal(ok(S_isfin, DT_bf16, 0x7f80, 0), 0);
  assert_int_equal(ok(S_eq, DT_f32, f32(-0.0f), f32(0)), 1);
  assert_int_equal(ok(S_eq, DT_f32, f32(NAN), f32(NAN)), 0);
  assert_int_equal(ok(S_ne, DT_f32, f32(NAN), f32(NAN)), 1);
  assert_int_equal(ok(S_isfin, DT_i32, 5, 0), 1);
}

static void operations_refuse_classes_they_do_not_take(void **state) {
  (void)state;
  uint64_t r;
  assert_int_equal(scalar_eval(S_exp, DT_i32, 1, 0, 0, &r), K_BAD_KERNEL);
  assert_int_equal(scalar_eval(S_shl, DT_f32, 1, 0, 0, &r), K_BAD_KERNEL);
  assert_int_equal(scalar_eval(S_add, DT_bool, 1, 0, 0, &r), K_BAD_KERNEL);
  assert_int_equal(scalar_eval(S_COUNT, DT_i32, 1, 0, 0, &r), K_BAD_KERNEL);
  for (int op = 0; op < S_COUNT; op++)
    for (int t = 0; t < DT_COUNT; t++) {
      bool takes = strchr(sop_info[op].classes, dtype_class((DType)t)) != NULL;
      KStatus s = scalar_eval((SOp)op, (DType)t, 1, 1, 1, &r);
      assert_int_equal(s == K_BAD_KERNEL, !takes);
    }
}

static void results_are_canonical_for_every_operation_and_type(void **state) {
  (void)state;
  for (int i = 0; i < 200000; i++) {
    SOp op = (SOp)(next_random() % S_COUNT);
    DType t = (DType)(next_random() % DT_COUNT);
    uint64_t r, x = scalar_cast(next_random(), DT_u64, t),
                y = scalar_cast(next_random() % 70, DT_u64, t);
    if (scalar_eval(op, t, x, y, x, &r) != K_OK) continue;
    DType rt = sop_info[op].result == 'b' ? DT_bool : t;
    if (dtype_is_float(rt)) assert_true(rt == DT_f64 || r >> 8 * dtype_bytes(rt) == 0);
    else assert_true((uint64_t)wrap_int((int64_t)r, rt) == r);
  }
}

static void casts_from_float_truncate_saturate_and_send_nan_to_zero(void **state) {
  (void)state;
  assert_int_equal((int64_t)scalar_cast(f32(-1.9f), DT_f32, DT_i32), -1);
  assert_int_equal((int64_t)scalar_cast(f32(300), DT_f32, DT_i8), 127);
  assert_int_equal((int64_t)scalar_cast(f64(-1e30), DT_f64, DT_i64), INT64_MIN);
  assert_true(scalar_cast(f64(1e30), DT_f64, DT_u64) == UINT64_MAX);
  assert_int_equal(scalar_cast(f64(-5), DT_f64, DT_u8), 0);
  assert_int_equal(scalar_cast(f32(NAN), DT_f32, DT_i32), 0);
  assert_int_equal(scalar_cast(f32(NAN), DT_f32, DT_bool), 1);
  assert_int_equal(scalar_cast(f32(0.25f), DT_f32, DT_bool), 1);
  assert_int_equal(scalar_cast(f32(-0.0f), DT_f32, DT_bool), 0);
}

static void casts_between_integers_wrap(void **state) {
  (void)state;
  assert_int_equal((int64_t)scalar_cast(300, DT_i32, DT_i8), 44);
  assert_int_equal((int64_t)scalar_cast(UINT64_MAX, DT_u64, DT_i64), -1);
  assert_int_equal((int64_t)scalar_cast((uint64_t)-1, DT_i8, DT_u32), 4294967295);
  assert_int_equal(scalar_cast(256, DT_i32, DT_bool), 1);
}

static void casts_from_integers_round_to_nearest_even_once(void **state) {
  (void)state;
  assert_true(to_f32(scalar_cast(UINT64_MAX, DT_u64, DT_f32)) == 0x1p64f);
  assert_true(to_f64(scalar_cast((uint64_t)INT64_MIN, DT_i64, DT_f64)) == -0x1p63);
  assert_int_equal(scalar_cast(2049, DT_i32, DT_f16), f32_to_f16(2048));
  assert_int_equal(scalar_cast(2051, DT_i32, DT_f16), f32_to_f16(2052));
  /* one above the middle of two bfloat16: a first rounding would lose it */
  uint64_t tie = ((uint64_t)1 << 62) + ((uint64_t)1 << 54);
  assert_true(bf16_to_f32((uint16_t)scalar_cast(tie, DT_i64, DT_bf16)) == 0x1p62f);
  assert_true(bf16_to_f32((uint16_t)scalar_cast(tie + 1, DT_i64, DT_bf16)) == 0x1.02p62f);
  for (int i = 0; i < 100000; i++) {
    uint64_t x = next_random() >> next_random() % 64;
    assert_true(to_f32(scalar_cast(x, DT_u64, DT_f32)) == (float)x);
    assert_true(to_f64(scalar_cast(x, DT_u64, DT_f64)) == (double)x);
    assert_true(to_f32(scalar_cast(0 - x, DT_i64, DT_f32)) == (float)(int64_t)(0 - x));
    assert_true(to_f64(scalar_cast(0 - x, DT_i64, DT_f64)) == (double)(int64_t)(0 - x));
  }
}

static void casts_from_double_to_short_floats_round_once(void **state) {
  (void)state;
  /* just above a tie of bfloat16, by less than float32 can show */
  double d = 0x1.01p0 + 0x1p-40;
  assert_true(bf16_to_f32((uint16_t)scalar_cast(f64(d), DT_f64, DT_bf16)) == 0x1.02p0f);
  assert_true(bf16_to_f32((uint16_t)scalar_cast(f64(0x1.01p0), DT_f64, DT_bf16)) == 1);
  assert_true(bf16_to_f32((uint16_t)scalar_cast(f64(0x1.01p0 - 0x1p-40), DT_f64, DT_bf16)) == 1);
  assert_true(f16_to_f32((uint16_t)scalar_cast(f64(1 + 0x1p-11 + 0x1p-40), DT_f64, DT_f16)) > 1);
  assert_true(isinf(bf16_to_f32((uint16_t)scalar_cast(f64(1e300), DT_f64, DT_bf16))));
  assert_true(isnan(bf16_to_f32((uint16_t)scalar_cast(f64(NAN), DT_f64, DT_bf16))));
}

static void select_takes_its_first_or_second_value(void **state) {
  (void)state;
  uint64_t r;
  assert_int_equal(scalar_eval(S_select, DT_i8, 1, 5, 6, &r), K_OK);
  assert_int_equal(r, 5);
  assert_int_equal(scalar_eval(S_select, DT_f32, 0, 5, 6, &r), K_OK);
  assert_int_equal(r, 6);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(integers_wrap_at_their_width),
    cmocka_unit_test(division_truncates_or_floors_and_the_minimum_by_minus_one_wraps),
    cmocka_unit_test(unsigned_64_bit_numbers_compare_unsigned),
    cmocka_unit_test(shifts_outside_the_width_trap),
    cmocka_unit_test(integer_powers_wrap_and_negative_exponents_truncate),
    cmocka_unit_test(minimum_and_maximum_propagate_nan_and_order_zeros),
    cmocka_unit_test(sign_keeps_nan_and_minus_zero_and_round_goes_to_even),
    cmocka_unit_test(floored_remainders_of_floats_have_the_sign_of_the_divisor),
    cmocka_unit_test(half_floats_compute_in_float32_and_round_once),
    cmocka_unit_test(tests_of_floats_give_bool_for_every_width),
    cmocka_unit_test(operations_refuse_classes_they_do_not_take),
    cmocka_unit_test(results_are_canonical_for_every_operation_and_type),
    cmocka_unit_test(casts_from_float_truncate_saturate_and_send_nan_to_zero),
    cmocka_unit_test(casts_between_integers_wrap),
    cmocka_unit_test(casts_from_integers_round_to_nearest_even_once),
    cmocka_unit_test(casts_from_double_to_short_floats_round_once),
    cmocka_unit_test(select_takes_its_first_or_second_value),
  };
  return cmocka_run_group_tests_name("scalar", tests, NULL, NULL);
}
