/* base_test.c -- base/: memory, arrays, maps, names, numbers, places, messages,
 * element types, files.                                                      */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/checked.h"
#include "base/diag.h"
#include "base/dtype.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/source.h"
#include "base/str.h"
#include "base/utf8.h"
#include "base/vec.h"

static uint64_t seed = 1;
static uint64_t next_random(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  return seed ^= seed << 17;
}
/* ---- memory, arrays, maps, names ---- */

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

/* ---- places and messages ---- */

static const char program[] = "def @main(%x: Tensor[(4, 8), float32],\n"
                              "         %w: Tensor[(16, 9), float32]) {\n"
                              "  nn.dense(%x, %w)\n"
                              "}\n";

static Diags *diags_for(const char *path, const char *text, uint32_t *file) {
  Sources *s = NEW(Sources);
  *file = source_add(s, path, text, strlen(text));
  return diags_new(s);
}

static Span span_of(uint32_t file, const char *text, const char *part) {
  return (Span){file, (uint32_t)(strstr(text, part) - text), (uint32_t)strlen(part)};
}

static const char *rendered(const Diags *d) {
  StrBuf b = {0};
  diag_render(d, &b, false);
  return buf_text(&b);
}

static void places_count_characters_from_one(void **state) {
  (void)state;
  Sources s = {0};
  const char *text = "a\xc3\xa4z\n\nlast";
  uint32_t f = source_add(&s, "x", text, strlen(text));
  static const int want[][3] = {{0, 1, 1}, {1, 1, 2}, {3, 1, 3},  {4, 1, 4},
                                {5, 2, 1}, {6, 3, 1}, {10, 3, 5}, {99, 3, 5}};
  for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
    int line, col;
    source_place(&s, f, (uint32_t)want[i][0], &line, &col);
    assert_int_equal(line, want[i][1]);
    assert_int_equal(col, want[i][2]);
  }
  assert_int_equal(f, 1);
  assert_null(source_get(&s, 0));
  assert_null(source_get(&s, 2));
  Span a = {1, 2, 3}, b = {1, 8, 4}, nowhere = {0, 0, 0};
  assert_int_equal(span_to(a, b).len, 10);
  assert_int_equal(span_to(nowhere, b).at, 8);
  assert_int_equal(span_to(a, nowhere).len, 3);
}

static void a_message_shows_place_line_caret_note_and_help(void **state) {
  (void)state;
  uint32_t f;
  Diags *d = diags_for("model.rly", program, &f);
  assert_false(diag_error(d, span_of(f, program, "nn.dense"), E0310, "nn.dense",
                          "the columns of x and of w", "8", "9"));
  diag_note(d, span_of(f, program, "%w"), "%%w is declared here");
  diag_help(d, "w needs shape (n, %d)", 8);
  assert_string_equal(
      rendered(d),
      "model.rly:3:3: error[E0310]: nn.dense: the columns of x and of w differ: 8 and 9\n"
      "   3 |   nn.dense(%x, %w)\n"
      "     |   ^^^^^^^^\n"
      "model.rly:2:10: note: %w is declared here\n"
      "help: w needs shape (n, 8)\n");
}

static void a_json_string_escapes_what_json_or_a_terminal_could_trip_over(void **state) {
  StrBuf b = {0};
  (void)state;
  buf_json(&b, "a\"b\\c\n\x7f \xc3\xa9 \xe2\x80\xae \xff");
  assert_string_equal(buf_text(&b), "\"a\\\"b\\\\c\\u000a\\u007f \xc3\xa9 \\u202e \\\\xff\"");
  b.n = 0;
  buf_json(&b, NULL);
  assert_string_equal(buf_text(&b), "null");
}

static void json_holds_the_same_on_one_line(void **state) {
  (void)state;
  uint32_t f;
  Diags *d = diags_for("a\"b.rly", program, &f);
  diag_error(d, span_of(f, program, "nn.dense"), E0310, "nn.dense", "x\n\xff", "8", "9");
  diag_note(d, span_of(f, program, "%w"), "here");
  diag_warning(d, (Span){0, 0, 0}, E0307);
  StrBuf b = {0};
  diag_render_json(d, &b);
  assert_string_equal(
      buf_text(&b),
      "{\"file\":\"a\\\"b.rly\",\"line\":3,\"col\":3,\"end_col\":11,\"level\":\"error\",\"code\":"
      "\"E0310\","
      "\"message\":\"nn.dense: x\\u000a\\\\xff differ: 8 and 9\",\"notes\":["
      "{\"file\":\"a\\\"b.rly\",\"line\":2,\"col\":10,\"end_col\":12,\"message\":\"here\"}],"
      "\"help\":null}\n"
      "{\"file\":null,\"line\":0,\"col\":0,\"end_col\":0,\"level\":\"warning\",\"code\":\"E0307\","
      "\"message\":\"this clause can never match\",\"notes\":[],\"help\":null}\n");
}

static void the_caret_stands_right_under_tabs_and_wide_characters(void **state) {
  (void)state;
  uint32_t f;
  const char *text = "a\tb \xe4\xbd\xa0 \xc3\xa4 e\xcc\x81 x1";
  Diags *d = diags_for("t", text, &f);
  diag_error(d, span_of(f, text, "x1"), E0201, "x1");
  assert_string_equal(rendered(d), "t:1:12: error[E0201]: x1 is not defined\n"
                                   "   1 | a   b \xe4\xbd\xa0 \xc3\xa4 e\xcc\x81 x1\n"
                                   "     |              ^^\n");
  d->n = d->n_errors = 0;
  diag_error(d, span_of(f, text, "\xe4\xbd\xa0"), E0201, "it");
  assert_string_equal(rendered(d), "t:1:5: error[E0201]: it is not defined\n"
                                   "   1 | a   b \xe4\xbd\xa0 \xc3\xa4 e\xcc\x81 x1\n"
                                   "     |       ^^\n");
}

static void control_bytes_never_reach_the_terminal(void **state) {
  (void)state;
  uint32_t f;
  const char *text = "\x1b[2J \xff\r\n";
  Diags *d = diags_for("t\x1b", text, &f);
  diag_error(d, (Span){f, 5, 1}, E0101, "\x1b\n\x7f");
  diag_note(d, (Span){0, 0, 0}, "\xe2\x80\xae");
  assert_string_equal(rendered(d),
                      "t\\x1b:1:6: error[E0101]: unexpected character \\x1b\\x0a\\x7f\n"
                      "   1 | \\x1b[2J \\xff\n"
                      "     |         ^^^^\n"
                      "note: \\xe2\\x80\\xae\n");
}

static void spans_at_the_edges_get_one_caret(void **state) {
  (void)state;
  uint32_t f;
  Diags *d = diags_for("t", "ab", &f);
  diag_error(d, (Span){f, 2, 0}, E0103, "x", "the end");
  diag_error(d, (Span){f, 0, 0}, E0103, "x", "y");
  diag_error(d, (Span){f, 900, 900}, E0103, "x", "y");
  diag_error(d, (Span){7, 1, 1}, E0103, "x", "y");
  assert_string_equal(rendered(d),
                      "t:1:3: error[E0103]: expected x, found the end\n   1 | ab\n     |   ^\n"
                      "t:1:1: error[E0103]: expected x, found y\n   1 | ab\n     | ^\n"
                      "t:1:3: error[E0103]: expected x, found y\n   1 | ab\n     |   ^\n"
                      "error[E0103]: expected x, found y\n");
}

static void a_span_of_many_lines_is_underlined_on_its_first(void **state) {
  (void)state;
  uint32_t f;
  Diags *d = diags_for("t", "ab {\n cd\n}", &f);
  diag_error(d, (Span){f, 3, 7}, E0102, "{");
  assert_string_equal(rendered(d),
                      "t:1:4: error[E0102]: { is not closed\n   1 | ab {\n     |    ^\n");
}

static void a_very_long_line_is_shown_around_the_span(void **state) {
  (void)state;
  uint32_t f;
  char *text = NEW_BYTES(100001);
  memset(text, 'w', 100000);
  memcpy(text + 50000, "HERE", 4);
  Diags *d = diags_for("t", text, &f);
  diag_error(d, (Span){f, 50000, 4}, E0201, text);
  const char *s = rendered(d);
  assert_true(strlen(s) < 4000);
  const char *line = strstr(s, "   1 | "), *mark = strstr(s, "     | ");
  assert_int_equal(strstr(line, "HERE") - line, strstr(mark, "^^^^") - mark);
}

static void after_the_limit_errors_are_counted_but_not_kept(void **state) {
  (void)state;
  uint32_t f;
  Diags *d = diags_for("t", "ab", &f);
  for (int i = 0; i < 25; i++) {
    diag_error(d, (Span){f, 0, 1}, E0201, "a");
    diag_note(d, (Span){f, 0, 1}, "note %d", i);
  }
  assert_int_equal(d->n, 20);
  assert_int_equal(d->n_errors, 25);
  assert_null(d->at[19].notes->next);
  assert_non_null(strstr(rendered(d), "\n5 more errors not shown\n"));
}

static void every_message_has_its_number(void **state) {
  (void)state;
  assert_string_equal(diag_code_name(E0310), "E0310");
  for (int c = 0; c < DIAG_CODES; c++) {
    assert_int_equal(strlen(diag_code_name((DiagCode)c)), 5);
    assert_true(strlen(diag_code_template((DiagCode)c)) > 0);
    if (c > 0)
      assert_true(strcmp(diag_code_name((DiagCode)(c - 1)), diag_code_name((DiagCode)c)) < 0);
  }
}

/* ---- files ---- */

static char folder[64];
static const char *in_folder(const char *name) { return str_fmt("%s/%s", folder, name); }

static int count_files(void) {
  int n = 0;
  DIR *d = opendir(folder);
  for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/base_test-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  DIR *d = opendir(folder);
  for (struct dirent *e; (e = readdir(d));) {
    unlink(in_folder(e->d_name));
    rmdir(in_folder(e->d_name)); /* fails for . and .. */
  }
  closedir(d);
  return rmdir(folder);
}

static void a_file_reads_back_as_written(void **state) {
  (void)state;
  char *text, *bytes = NEW_BYTES(100000);
  size_t n;
  for (int i = 0; i < 100000; i++) bytes[i] = (char)(i * 31);
  static const size_t size[] = {0, 1, 4095, 4096, 100000};
  for (int i = 0; i < 5; i++) {
    assert_null(file_write(in_folder("a"), bytes, size[i]));
    assert_null(file_read(in_folder("a"), 100000, &text, &n));
    assert_int_equal(n, size[i]);
    if (n) assert_memory_equal(text, bytes, n);
    assert_int_equal(text[n], 0);
  }
  assert_int_equal(count_files(), 1);
}

static void reading_too_much_or_nothing_says_why(void **state) {
  (void)state;
  char *text;
  size_t n;
  assert_null(file_write(in_folder("a"), "12345", 5));
  assert_null(file_read(in_folder("a"), 5, &text, &n));
  assert_string_equal(file_read(in_folder("a"), 4, &text, &n), "the file is larger than 4 bytes");
  assert_non_null(file_read(in_folder("none"), 4, &text, &n));
  assert_non_null(file_read(folder, 4, &text, &n));
}

static void a_failed_write_leaves_the_old_file_and_nothing_else(void **state) {
  (void)state;
  char *text;
  size_t n;
  assert_null(file_write(in_folder("a"), "old", 3));
  assert_non_null(file_write(in_folder("none/b"), "new", 3));
  assert_null(mkdir(in_folder("d"), 0700) == 0 ? NULL : "mkdir");
  assert_non_null(file_write(in_folder("d"), "new", 3));
  assert_int_equal(count_files(), 2);
  const char *path = in_folder("a");
  pid_t pid = getpid();
  for (int i = 0; i < 100; i++) /* every temporary name is taken */
    assert_int_equal(mkdir(str_fmt("%s.%ld.%d.tmp", path, (long)pid, i), 0700), 0);
  assert_non_null(file_write(path, "new", 3));
  assert_null(file_read(path, 100, &text, &n));
  assert_string_equal(text, "old");
  assert_non_null(file_write("/dev/full", "new", 3));
}

static void whether_a_file_can_be_written_is_found_without_a_trace(void **state) {
  (void)state;
  assert_null(file_write(in_folder("a"), "old", 3));
  assert_null(file_may_write(in_folder("a")));
  assert_null(file_may_write(in_folder("b")));
  assert_null(file_may_write("/dev/null"));
  assert_non_null(file_may_write(in_folder("none/b")));
  assert_non_null(file_may_write(folder));
  assert_int_equal(count_files(), 1);
}

static bool is_there(const char *name) { return access(in_folder(name), F_OK) == 0; }

static void what_a_killed_writer_left_is_removed_and_nothing_else(void **state) {
  (void)state;
  int status;
  pid_t dead = fork();
  if (dead == 0) _exit(0);
  assert_int_equal(waitpid(dead, &status, 0), dead);
  char left[40], locked[40], alive[40];
  snprintf(left, sizeof left, "a.%ld.0.tmp", (long)dead);
  snprintf(locked, sizeof locked, "a.%ld.17.tmp", (long)dead);
  snprintf(alive, sizeof alive, "a.%ld.0.tmp", (long)getppid());
  const char *other[] = {alive,
                         locked,
                         "b.1.0.tmp",
                         "a.0.0.tmp",
                         "a.tmp",
                         "a.-1.0.tmp",
                         str_fmt("a.%ld.tmp", (long)dead),
                         str_fmt("a.%ld.0x.tmp", (long)dead),
                         str_fmt("a.%ld.0.tmp.x", (long)dead)};
  enum { OTHERS = sizeof other / sizeof *other };
  for (int i = 0; i < OTHERS; i++) close(open(in_folder(other[i]), O_CREAT | O_WRONLY, 0600));
  close(open(in_folder(left), O_CREAT | O_WRONLY, 0600));
  int fd = open(in_folder(locked), O_RDONLY);
  assert_int_equal(flock(fd, LOCK_EX), 0);
  file_sweep(in_folder("a"));
  assert_false(is_there(left));
  for (int i = 0; i < OTHERS; i++) assert_true(is_there(other[i]));
  close(fd);
  assert_null(file_write(in_folder("a"), "1", 1));
  assert_false(is_there(locked));
  assert_int_equal(count_files(), OTHERS);
}

static void writing_goes_through_links_and_keeps_the_mode(void **state) {
  (void)state;
  struct stat st;
  assert_null(file_write(in_folder("real"), "1", 1));
  assert_int_equal(chmod(in_folder("real"), 0750), 0);
  assert_int_equal(symlink("real", in_folder("link")), 0);
  assert_null(file_write(in_folder("link"), "22", 2));
  assert_int_equal(lstat(in_folder("link"), &st), 0);
  assert_true(S_ISLNK(st.st_mode));
  assert_int_equal(stat(in_folder("real"), &st), 0);
  assert_int_equal(st.st_size, 2);
  assert_int_equal(st.st_mode & 0777, 0750);
  assert_null(file_write("/dev/null", "x", 1));
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
      cmocka_unit_test(places_count_characters_from_one),
      cmocka_unit_test(a_message_shows_place_line_caret_note_and_help),
      cmocka_unit_test(a_json_string_escapes_what_json_or_a_terminal_could_trip_over),
      cmocka_unit_test(json_holds_the_same_on_one_line),
      cmocka_unit_test(the_caret_stands_right_under_tabs_and_wide_characters),
      cmocka_unit_test(control_bytes_never_reach_the_terminal),
      cmocka_unit_test(spans_at_the_edges_get_one_caret),
      cmocka_unit_test(a_span_of_many_lines_is_underlined_on_its_first),
      cmocka_unit_test(a_very_long_line_is_shown_around_the_span),
      cmocka_unit_test(after_the_limit_errors_are_counted_but_not_kept),
      cmocka_unit_test(every_message_has_its_number),
      cmocka_unit_test_setup_teardown(a_file_reads_back_as_written, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(reading_too_much_or_nothing_says_why, make_folder,
                                      remove_folder),
      cmocka_unit_test_setup_teardown(what_a_killed_writer_left_is_removed_and_nothing_else,
                                      make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(whether_a_file_can_be_written_is_found_without_a_trace,
                                      make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(a_failed_write_leaves_the_old_file_and_nothing_else,
                                      make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(writing_goes_through_links_and_keeps_the_mode, make_folder,
                                      remove_folder),
  };
  int failed = cmocka_run_group_tests_name("base", tests, NULL, NULL);
  mem_release_all();
  return failed;
}
