/* number_test.c -- base/: numbers as text, element types. */
#include "tests/unit/test.h"
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/dtype.h"
#include "base/mem.h"
#include "base/str.h"

static uint64_t seed = 1;
static uint64_t next_random(void) { return xorshift(&seed); }

/* ---- numbers ---- */

static void assert_f64_text(double x, const char *want) {
  char s[40];
  assert_int_equal(num_f64(x, s), strlen(want));
  assert_string_equal(s, want);
}
static void assert_f32_text(float x, const char *want) {
  char s[40];
  assert_int_equal(num_f32(x, s), strlen(want));
  assert_string_equal(s, want);
}

static void numbers_print_as_people_write_them(void **state) {
  (void)state;
  assert_f64_text(1, "1");
  assert_f64_text(0.1, "0.1");
  assert_f64_text(-0.0, "-0");
  assert_f64_text(0, "0");
  assert_f64_text(100, "100");
  assert_f64_text(123456, "123456");
  assert_f64_text(12.5, "12.5");
  assert_f64_text(1e-10, "1e-10");
  assert_f64_text(0.0001, "0.0001");
  assert_f64_text(0.00012, "0.00012");
  assert_f64_text(1e15, "1000000000000000");
  assert_f64_text(1e16, "1e16");
  assert_f64_text(1.7976931348623157e308, "1.7976931348623157e308");
  assert_f64_text(5e-324, "5e-324");
  assert_f64_text((double)INFINITY, "inf");
  assert_f64_text(-(double)INFINITY, "-inf");
  assert_f64_text((double)NAN, "nan");
  assert_f32_text(0.1f, "0.1");
  assert_f32_text(3.4028235e38f, "3.4028235e38");
  assert_f32_text(1e-45f, "1e-45");
  assert_f32_text(16777216.0f, "16777216");
  char s[40];
  num_f16(0x3555, s);
  assert_string_equal(s, "0.3333");
  num_f16(0x7bff, s);
  assert_string_equal(s, "65500");
  num_bf16(0x3f80, s);
  assert_string_equal(s, "1");
}

static void a_million_random_floats_survive_text(void **state) {
  (void)state;
  char s[40];
  for (int i = 0; i < 1000000; i++) {
    float x = f32_of((uint32_t)next_random()), back = 0;
    int n = num_f32(x, s);
    if (num_read_f32(s, (size_t)n, &back) != n) fail_msg("%s is not read whole", s);
    if (x != x ? back == back : f32_bits(x) != f32_bits(back))
      fail_msg("%a became %s", (double)x, s);
  }
}

static void random_doubles_survive_text(void **state) {
  (void)state;
  char s[40];
  for (int i = 0; i < 100000; i++) {
    double x = f64_of(next_random()), back = 0;
    if (i % 3 == 0) x = ldexp(x == x ? frexp(x, &(int){0}) : 1, (int)(next_random() % 60) - 30);
    int n = num_f64(x, s);
    if (num_read(s, (size_t)n, &back) != n) fail_msg("%s is not read whole", s);
    if (x != x ? back == back : f64_bits(x) != f64_bits(back)) fail_msg("%a became %s", x, s);
  }
}

static void all_halves_survive_text(void **state) {
  (void)state;
  char s[40];
  for (uint32_t h = 0; h < 65536; h++) {
    double back;
    if ((h & 0x7fff) <= 0x7c00) {
      int n = num_f16((uint16_t)h, s);
      assert_int_equal(num_read(s, (size_t)n, &back), n);
      assert_int_equal(f64_to_f16(back), h);
    }
    if ((h & 0x7fff) <= 0x7f80) {
      float f;
      num_read_f32(s, (size_t)num_bf16((uint16_t)h, s), &f);
      assert_int_equal(f32_to_bf16(f), h);
    }
  }
}

/* The C library is the second opinion. */
static void reading_agrees_with_the_c_library(void **state) {
  (void)state;
  char s[80];
  for (int i = 0; i < 100000; i++) {
    uint64_t a = next_random(), b = next_random();
    if (i % 2)
      snprintf(s, sizeof s, "%llu.%llue%d", (unsigned long long)(a % 1000), (unsigned long long)b,
               (int)(a >> 40) % 700 - 350);
    else
      snprintf(s, sizeof s, "%llu%llue%d", (unsigned long long)(a >> (b % 64)),
               (unsigned long long)b, (int)(a >> 40) % 100 - 60);
    double x = 0;
    float f = 0;
    assert_int_equal(num_read(s, strlen(s), &x), strlen(s));
    assert_int_equal(num_read_f32(s, strlen(s), &f), strlen(s));
    if (x != strtod(s, NULL)) fail_msg("%s read as %a", s, x);
    if (f != strtof(s, NULL)) fail_msg("%s read as float %a", s, (double)f);
  }
}

static void ties_are_broken_by_digits_however_far_away(void **state) {
  (void)state;
  StrBuf b = {0};
  double x;
  float f;
  buf_str(&b, "9007199254740993."); /* 2^53 + 1: half way */
  num_read(b.s, b.n, &x);
  assert_true(x == 9007199254740992.0);
  for (int i = 0; i < 5000; i++) buf_char(&b, '0');
  buf_char(&b, '1');
  assert_int_equal(num_read(b.s, b.n, &x), b.n);
  assert_true(x == 9007199254740994.0);
  num_read_f32("16777217", 8, &f); /* 2^24 + 1 */
  assert_true(f == 16777216.0f);
  const char *tie =
      "1.000000059604644775390625000000000000000001"; /* twice rounded it would be 1 */
  num_read_f32(tie, strlen(tie), &f);
  assert_true(f == 1.00000012f);
  num_read("2.4703282292062327208e-324", 26, &x);
  assert_true(x == 0);
  num_read("2.4703282292062327209e-324", 26, &x);
  assert_true(x == 5e-324);
}

static void reading_takes_what_is_a_number_and_no_more(void **state) {
  (void)state;
  static const struct {
    const char *s;
    int used;
    double x;
  } is[] = {
      {"12abc", 2, 12},
      {"1e", 1, 1},
      {"1e+", 1, 1},
      {"1.5f", 3, 1.5},
      {".5", 2, 0.5},
      {"", 0, 0},
      {".", 0, 0},
      {"-", 0, 0},
      {"e5", 0, 0},
      {"-2.", 3, -2},
      {"1..2", 2, 1},
      {"1e-400", 6, 0},
      {"0e999999999999999999999", 23, 0},
      {"+7", 2, 7},
  };
  double x = 0;
  for (size_t i = 0; i < sizeof is / sizeof *is; i++) {
    assert_int_equal(num_read(is[i].s, strlen(is[i].s), &x), is[i].used);
    if (is[i].used) assert_true(x == is[i].x);
  }
  assert_int_equal(num_read("1e99999999999999999999", 22, &x), 22);
  assert_true(isinf(x));
  assert_int_equal(num_read("123", 2, &x), 2);
  assert_true(x == 12);
}

static void numbers_do_not_know_the_locale(void **state) {
  (void)state;
  char s[40];
  double x;
  static const char *const comma[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8"};
  bool found = false;
  for (size_t i = 0; i < 4 && !found; i++) found = setlocale(LC_NUMERIC, comma[i]) != NULL;
  num_f64(1234.5678, s);
  num_read("0.25", 4, &x);
  setlocale(LC_NUMERIC, "C");
  assert_string_equal(s, "1234.5678");
  assert_true(x == 0.25);
}

/* ---- element types ---- */

static void every_element_type_is_found_by_name_and_by_dlpack(void **state) {
  (void)state;
  for (int t = 0; t < DT_COUNT; t++) {
    DType u;
    int code, bits;
    assert_true(dtype_parse(dtype_name((DType)t), strlen(dtype_name((DType)t)), &u));
    assert_int_equal(u, t);
    dtype_to_dl((DType)t, &code, &bits);
    assert_true(dtype_from_dl(code, bits, &u));
    assert_int_equal(u, t);
    assert_int_equal(bits, dtype_bytes((DType)t) * 8);
  }
  DType u;
  assert_false(dtype_parse("float3", 6, &u));
  assert_false(dtype_parse("float322", 8, &u));
  assert_false(dtype_parse("", 0, &u));
}

static void all_halves_survive_the_way_to_float_and_double(void **state) {
  (void)state;
  for (uint32_t h = 0; h < 65536; h++) {
    bool nan = (h & 0x7fff) > 0x7c00;
    float f = f16_to_f32((uint16_t)h);
    assert_int_equal(f32_to_f16(f), nan ? h | 0x200 : h);
    assert_int_equal(f64_to_f16((double)f), nan ? h | 0x200 : h);
    f = bf16_to_f32((uint16_t)h);
    nan = (h & 0x7fff) > 0x7f80;
    if (!nan)
      assert_int_equal(f32_to_bf16(f), h);
    else
      assert_true(isnan(bf16_to_f32(f32_to_bf16(f))));
  }
}

/* Between two neighbouring halves: the middle goes to the even one, a hair
 * beyond it to the nearer one. */
static void halves_round_to_nearest_even(void **state) {
  (void)state;
  for (uint32_t h = 0; h < 0x7bff; h++) {
    double lo = (double)f16_to_f32((uint16_t)h), hi = (double)f16_to_f32((uint16_t)(h + 1));
    double mid = (lo + hi) / 2;
    uint32_t even = h & 1 ? h + 1 : h;
    assert_int_equal(f64_to_f16(mid), even);
    assert_int_equal(f32_to_f16((float)mid), even);
    assert_int_equal(f64_to_f16(nextafter(mid, 0)), h);
    assert_int_equal(f64_to_f16(nextafter(mid, 1e9)), h + 1);
    assert_int_equal(f32_to_f16(-nextafterf((float)mid, 1e9f)), (h + 1) | 0x8000);
  }
  assert_int_equal(f32_to_f16(65519.996f), 0x7bff);
  assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
  assert_int_equal(f64_to_f16(1e300), 0x7c00);
  assert_int_equal(f32_to_f16(f32_of(0x7f800001)) & 0x7e00, 0x7e00);
  assert_int_equal(f32_to_bf16(1.00390625f), 0x3f80); /* 1 + 2^-8: half way, even below */
  assert_int_equal(f32_to_bf16(3.4e38f), 0x7f80);
}

static void casts_saturate(void **state) {
  (void)state;
  static const struct {
    double x;
    DType t;
    int64_t want;
  } is[] = {
      {127.9, DT_i8, 127},
      {128, DT_i8, 127},
      {-128.9, DT_i8, -128},
      {-300, DT_i8, -128},
      {1.9, DT_i32, 1},
      {-1.9, DT_i32, -1},
      {3e9, DT_i32, INT32_MAX},
      {-3e9, DT_i32, INT32_MIN},
      {255.5, DT_u8, 255},
      {256, DT_u8, 255},
      {-0.9, DT_u8, 0},
      {-5, DT_u64, 0},
      {1e300, DT_u64, -1},
      {0x1p63, DT_u64, INT64_MIN},
      {0x1p63, DT_i64, INT64_MAX},
      {-0x1p63, DT_i64, INT64_MIN},
      {-1e300, DT_i64, INT64_MIN},
      {4294967295.0, DT_u32, 4294967295},
      {1e10, DT_u32, 4294967295},
      {70000, DT_u16, 65535},
      {40000, DT_i16, 32767},
      {0.5, DT_bool, 1},
      {0, DT_bool, 0},
  };
  for (size_t i = 0; i < sizeof is / sizeof *is; i++)
    if (cast_f64_to_int(is[i].x, is[i].t) != is[i].want)
      fail_msg("%g to %s gives %lld", is[i].x, dtype_name(is[i].t),
               (long long)cast_f64_to_int(is[i].x, is[i].t));
  for (int t = DT_i8; t <= DT_u64; t++) {
    assert_int_equal(cast_f64_to_int((double)NAN, (DType)t), 0);
    assert_int_equal(cast_f64_to_int((double)INFINITY, (DType)t),
                     t == DT_u64 ? -1 : wrap_int(cast_f64_to_int(1e30, (DType)t), (DType)t));
  }
  assert_int_equal(wrap_int(300, DT_u8), 44);
  assert_int_equal(wrap_int(200, DT_i8), -56);
}

int main(void) {
  mem_init();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_print_as_people_write_them),
      cmocka_unit_test(a_million_random_floats_survive_text),
      cmocka_unit_test(random_doubles_survive_text),
      cmocka_unit_test(all_halves_survive_text),
      cmocka_unit_test(reading_agrees_with_the_c_library),
      cmocka_unit_test(ties_are_broken_by_digits_however_far_away),
      cmocka_unit_test(reading_takes_what_is_a_number_and_no_more),
      cmocka_unit_test(numbers_do_not_know_the_locale),
      cmocka_unit_test(every_element_type_is_found_by_name_and_by_dlpack),
      cmocka_unit_test(all_halves_survive_the_way_to_float_and_double),
      cmocka_unit_test(halves_round_to_nearest_even),
      cmocka_unit_test(casts_saturate),
  };
  int failed = cmocka_run_group_tests_name("number", tests, NULL, NULL);
  mem_release_all();
  return failed;
}
