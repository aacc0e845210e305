/* tensor_file_test.c -- .npy, .npz, .safetensors: what is read, what is refused,
 * and that no damage of a file gets past the readers.                        */
#include "tests/unit/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "cli/value/show.h"
#include "tests/fuzz/tensors.h"

typedef const char *(*Parse)(const uint8_t *bytes, size_t n, TensorSet *out);

static const char *parse_npy(const uint8_t *bytes, size_t n, TensorSet *out) {
  Tensor *t;
  const char *why = npy_parse(bytes, n, &t);
  if (!why) vec_push(out, ((NamedTensor){"", t}));
  return why;
}

/* ---- sample tensors -------------------------------------------------------------- */
static Tensor *sample(DType dt, int rank, const int64_t *dim) {
  Tensor *t = tensor_new(dt, rank, dim);
  uint8_t *p = t->bytes;
  for (int64_t i = 0; i < t->count * dtype_bytes(dt); i++)
    p[i] = (uint8_t)(dt == DT_bool ? i % 2 : i * 37 + 11);
  return t;
}
static void put(TensorSet *ts, const char *name, Tensor *t) {
  vec_push(ts, ((NamedTensor){name, t}));
}

static TensorSet all_kinds(bool bf16) {
  TensorSet ts = {0};
  static const int64_t dims[][3] = {{2, 3, 4}, {5, 1, 0}, {7, 0, 0}};
  for (int dt = 0; dt < DT_COUNT; dt++)
    for (int rank = 0; rank <= 3; rank++) {
      if (dt == DT_bf16 && !bf16) continue;
      put(&ts, str_fmt("%s/%d", dtype_name((DType)dt), rank),
          sample((DType)dt, rank, dims[dt % 3]));
    }
  return ts;
}
static TensorSet small(void) {
  TensorSet ts = {0};
  put(&ts, "a", sample(DT_f32, 2, (int64_t[]){2, 3}));
  put(&ts, "flags", sample(DT_bool, 1, (int64_t[]){5}));
  return ts;
}

static void assert_same(const TensorSet *a, const TensorSet *b) {
  assert_int_equal(a->n, b->n);
  for (int i = 0; i < a->n; i++) {
    const Tensor *x = a->at[i].value, *y = b->at[i].value;
    assert_string_equal(a->at[i].name, b->at[i].name);
    assert_int_equal(x->dtype, y->dtype);
    assert_int_equal(x->rank, y->rank);
    for (int k = 0; k < x->rank; k++) assert_int_equal(x->dim[k], y->dim[k]);
    assert_memory_equal(x->bytes, y->bytes, (size_t)x->count * (size_t)dtype_bytes(x->dtype));
  }
}

/* ---- there and back ----------------------------------------------------------------- */
static void archives_come_back_as_they_were(void **state) {
  (void)state;
  TensorSet ts = all_kinds(false), back = {0};
  StrBuf b = {0}, again = {0};
  assert_null(npz_format(&ts, &b));
  assert_null(npz_parse((uint8_t *)b.s, b.n, &back));
  assert_same(&ts, &back);
  assert_null(npz_format(&back, &again));
  assert_int_equal(b.n, again.n);
  assert_memory_equal(b.s, again.s, b.n);

  ts = all_kinds(true), back = (TensorSet){0}, b = (StrBuf){0};
  assert_null(safetensors_format(&ts, &b));
  assert_null(safetensors_parse((uint8_t *)b.s, b.n, &back));
  assert_same(&ts, &back);
}

static void bfloat16_becomes_float32_in_numpys_files(void **state) {
  (void)state;
  Tensor *t = tensor_new(DT_bf16, 1, (int64_t[]){2}), *back;
  uint16_t h[2] = {0x3fc0, 0xc000}; /* 1.5, -2                   */
  float f[2];
  StrBuf b = {0};
  memcpy(t->bytes, h, 4);
  assert_null(npy_format(t, &b));
  assert_null(npy_parse((uint8_t *)b.s, b.n, &back));
  assert_int_equal(back->dtype, DT_f32);
  memcpy(f, back->bytes, 8);
  assert_true(f[0] == 1.5f && f[1] == -2.0f);
}

static void files_are_told_by_their_endings(void **state) {
  (void)state;
  char dir[] = "/tmp/rvm_tensor_XXXXXX";
  assert_non_null(mkdtemp(dir));
  static const char *const endings[] = {"npz", "safetensors"};
  for (int i = 0; i < 2; i++) {
    char *path = str_fmt("%s/x.%s", dir, endings[i]);
    TensorSet ts = small(), back = {0};
    assert_null(tensor_file_write(path, &ts));
    assert_null(tensor_file_read(path, &back));
    assert_same(&ts, &back);
    assert_ptr_equal(tensor_find(&back, "a"), back.at[0].value);
    assert_null(tensor_find(&back, "b"));
    unlink(path);
  }
  TensorSet ts = small(), none = {0};
  assert_non_null(strstr(tensor_file_write(str_fmt("%s/x.npy", dir), &ts), "one tensor"));
  assert_non_null(strstr(tensor_file_read("weights.bin", &none), ".npy, .npz or .safetensors"));
  assert_non_null(strstr(tensor_file_read(str_fmt("%s/none.npz", dir), &none), "none.npz"));
  assert_int_equal(none.n, 0);
  rmdir(dir);
}

/* ---- .npy by hand -------------------------------------------------------------------------- */
static StrBuf npy_of(int version, const char *header, const char *data, size_t n) {
  StrBuf b = {0};
  buf_put(&b, "\x93NUMPY", 6);
  buf_char(&b, (char)version);
  buf_char(&b, 0);
  put_le(&b, strlen(header), version == 1 ? 2 : 4);
  buf_str(&b, header);
  buf_put(&b, data, n);
  return b;
}

static void headers_in_any_order_and_version_read(void **state) {
  (void)state;
  static const char *const headers[] = {
      "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }   \n",
      "{'shape':(2,3,),'fortran_order':True,'descr':'>i2'}",
      "{ \"fortran_order\" : True , \"descr\" : \">i2\" , \"shape\" : ( 2 , 3 ) } ",
  };
  static const int16_t want[] = {1, 3, 5, 2, 4, 6};
  for (int i = 0; i < 3; i++)
    for (int version = 1; version <= 3; version++) {
      Tensor *t;
      StrBuf b = npy_of(version, headers[i], "\0\1\0\2\0\3\0\4\0\5\0\6", 12);
      assert_null(npy_parse((uint8_t *)b.s, b.n, &t));
      assert_int_equal(t->dtype, DT_i16);
      assert_memory_equal(t->bytes, want, 12);
    }
}

static void bad_headers_say_what_is_wrong(void **state) {
  (void)state;
  static const struct {
    const char *header, *why;
  } cases[] = {
      {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "element type `|O`"},
      {"{'descr': '<V2', 'fortran_order': False, 'shape': (1,)}", "element type `<V2`"},
      {"{'descr': '=f4', 'fortran_order': False, 'shape': (1,)}", "element type"},
      {"{'descr': '|f4', 'fortran_order': False, 'shape': (1,)}", "element type"},
      {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "structured"},
      {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", "neither True nor False"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1)}", "not a tuple"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "whole number"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}", "`,` is missing"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "too large"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", "too many"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627777,)}", "too many"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", "more than 8"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "needs 8 bytes"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': ()} x", "follows"},
      {"{'descr': '<f4', 'fortran_order': False}", "shape is missing"},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", "twice"},
      {"{'descr': '<f4', 'order': False, 'shape': ()}", "a key is not"},
      {"{'descr': '<f4, 'fortran_order': False, 'shape': ()}", "element type"},
      {"{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}", "quoted"},
      {"{'descr", "closing quote"},
      {"", "`{` is missing"},
      {"{'descr': '|b1', 'fortran_order': False, 'shape': (4,)}", "neither 0 nor 1"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Tensor *t;
    StrBuf b = npy_of(1, cases[i].header, "\1\2\3\4", 4);
    const char *why = npy_parse((uint8_t *)b.s, b.n, &t);
    assert_non_null(why);
    assert_null(t);
    if (!strstr(why, cases[i].why)) fail_msg("%s: %s", cases[i].header, why);
  }
}

/* ---- .safetensors by hand ----------------------------------------------------------------- */
/* In the headers ' stands for ". */
static StrBuf safetensors_of(const char *header, const char *data, size_t n) {
  StrBuf b = {0};
  put_le(&b, strlen(header), 8);
  for (const char *c = header; *c; c++) buf_char(&b, *c == '\'' ? '"' : *c);
  buf_put(&b, data, n);
  return b;
}

static void bad_json_says_what_is_wrong(void **state) {
  (void)state;
  static const struct {
    const char *header, *why;
  } cases[] = {
      {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]}}", NULL},
      {"{'__metadata__':{'format':'pt'},"
       "'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]}}",
       NULL},
      {"{'b':{'dtype':'U8','shape':[2],'data_offsets':[2,4]},"
       "'a':{'dtype':'U8','shape':[2],'data_offsets':[0,2]}}",
       NULL},
      {"{'e':{'dtype':'U8','shape':[0],'data_offsets':[4,4]},"
       "'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]}}",
       NULL},
      {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,3]}}", "end at byte 3"},
      {"{'a':{'dtype':'U8','shape':[3],'data_offsets':[0,4]}}", "needs 3 bytes"},
      {"{'a':{'dtype':'U8','shape':[3],'data_offsets':[1,4]}}", "starts at byte 1"},
      {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},"
       "'b':{'dtype':'U8','shape':[4],'data_offsets':[0,4]}}",
       "starts at byte 0"},
      {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},"
       "'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]}}",
       "duplicate"},
      {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4],'x':1}}", "keys besides"},
      {"{'a':{'dtype':'U8','shape':[4.0],'data_offsets':[0,4]}}", "whole number"},
      {"{'a':{'dtype':'U8','shape':[-4],'data_offsets':[0,4]}}", "whole number"},
      {"{'a':{'dtype':'U8','shape':[9223372036854775808],'data_offsets':[0,4]}}", "too big"},
      {"{'a':{'dtype':'U8','shape':[4294967296,4294967296],'data_offsets':[0,4]}}", "too many"},
      {"{'a':{'dtype':'U8','shape':[1,1,1,1,1,1,1,1,4],'data_offsets':[0,4]}}", "more than 8"},
      {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[4,0]}}", "backwards"},
      {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0]}}", "two whole numbers"},
      {"{'a':{'dtype':'U8','shape':4,'data_offsets':[0,4]}}", "not a list"},
      {"{'a':{'dtype':'U8','shape':[4]}}", "`data_offsets` is missing"},
      {"{'a':{'dtype':'F8_E4M3','shape':[4],'data_offsets':[0,4]}}", "F8_E4M3"},
      {"{'a':{'dtype':'BOOL','shape':[4],'data_offsets':[0,4]}}", "neither 0 nor 1"},
      {"{'a':[]}", "not an object"},
      {"{'__metadata__':{'a':1}}", "other than strings"},
      {"{'a\\u0000b':{}}", "byte"},
      {"{'a':[[[[[[[[[[]]]]]]]]]]}", "deeper than 8"},
      {"{} x", "byte"},
      {"[]", "start with {"},
      {" {}", "start with {"},
      {"{}", "end at byte 0"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    TensorSet ts = {0};
    StrBuf b = safetensors_of(cases[i].header, "\1\2\3\4", 4);
    const char *why = safetensors_parse((uint8_t *)b.s, b.n, &ts);
    if (!cases[i].why != !why || (why && !strstr(why, cases[i].why)))
      fail_msg("%s: %s", cases[i].header, why ? why : "accepted");
    assert_true(why ? ts.n == 0 : ts.n > 0);
  }
}

/* ---- archives ------------------------------------------------------------------------------- */
static void archives_with_bad_names_are_refused(void **state) {
  (void)state;
  static const char *const names[] = {"/a", "../a", "a/../b", "a\\b", "a\nb", "a\x7f"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    TensorSet ts = {0}, back = {0};
    StrBuf b = {0};
    put(&ts, "ok", sample(DT_i8, 0, NULL));
    put(&ts, names[i], sample(DT_i8, 0, NULL));
    assert_null(npz_format(&ts, &b));
    const char *why = npz_parse((uint8_t *)b.s, b.n, &back);
    assert_non_null(why);
    assert_non_null(strstr(why, "name"));
    assert_int_equal(back.n, 0); /* not even the first         */
  }
}

static void archives_with_a_name_twice_are_refused(void **state) {
  (void)state;
  TensorSet ts = {0}, back = {0};
  StrBuf b = {0};
  put(&ts, "a", sample(DT_i8, 0, NULL));
  put(&ts, "a", sample(DT_i16, 0, NULL));
  assert_null(npz_format(&ts, &b));
  assert_non_null(npz_parse((uint8_t *)b.s, b.n, &back));
  assert_int_equal(back.n, 0);
}

static void a_changed_byte_of_data_is_found_before_anything_is_used(void **state) {
  (void)state;
  TensorSet ts = {0}, back = {0};
  StrBuf b = {0};
  put(&ts, "first", sample(DT_i8, 0, NULL));
  put(&ts, "second", sample(DT_i32, 1, (int64_t[]){100}));
  assert_null(npz_format(&ts, &b));
  char *at = b.s;
  while (strncmp(at, "second.npy", 10) != 0) at++;
  at[10 + 128 + 50] ^= 1;
  const char *why = npz_parse((uint8_t *)b.s, b.n, &back);
  assert_non_null(why);
  assert_non_null(strstr(why, "second"));
  assert_int_equal(back.n, 0);
}

/* ---- damage ---------------------------------------------------------------------------- */

/* In a block of exactly n bytes, so that a sanitizer sees reads beyond. */
static bool survives(Parse parse, const char *bytes, size_t n) {
  uint8_t *exact = malloc(n ? n : 1);
  TensorSet ts = {0};
  assert_non_null(exact);
  memcpy(exact, bytes, n);
  const char *why = parse(exact, n, &ts);
  check_set(why, &ts);
  free(exact);
  return why == NULL;
}

/* bytes lives outside base/mem.h: the blocks there go after each attempt. */
static void sweep(Parse parse, const StrBuf *file, bool checksummed) {
  size_t n = file->n;
  char *bytes = malloc(n);
  assert_non_null(bytes);
  memcpy(bytes, file->s, n);
  assert_true(survives(parse, bytes, n));
  for (size_t k = 0; k < n; k++) {
    if (survives(parse, bytes, k)) fail_msg("accepted when cut at byte %zu of %zu", k, n);
    mem_release_all();
  }
  int passed = 0;
  for (size_t k = 0; k < 8 * n; k++) {
    bytes[k / 8] ^= (char)(1 << k % 8);
    passed += survives(parse, bytes, n);
    bytes[k / 8] ^= (char)(1 << k % 8);
    mem_release_all();
  }
  /* With a checksum only flips of what says nothing (times, versions) pass. */
  if (checksummed) assert_true(passed < (int)n);
  free(bytes);
}

static void no_damage_of_a_npy_gets_through(void **state) {
  (void)state;
  TensorSet ts = small();
  for (int i = 0; i < ts.n; i++) {
    StrBuf b = {0};
    assert_null(npy_format(ts.at[i].value, &b));
    sweep(parse_npy, &b, false);
    ts = small();
  }
}
static void no_damage_of_a_npz_gets_through(void **state) {
  (void)state;
  TensorSet ts = small();
  StrBuf b = {0};
  assert_null(npz_format(&ts, &b));
  sweep(npz_parse, &b, true);
}
static void no_damage_of_a_safetensors_gets_through(void **state) {
  (void)state;
  TensorSet ts = small();
  StrBuf b = {0};
  assert_null(safetensors_format(&ts, &b));
  sweep(safetensors_parse, &b, false);
}

/* ---- comparing ------------------------------------------------------------------------- */
static TensorSet floats(const char *name, int n, const float *f) {
  TensorSet ts = {0};
  Tensor *t = tensor_new(DT_f32, 1, (int64_t[]){n});
  memcpy(t->bytes, f, sizeof *f * (size_t)n);
  put(&ts, name, t);
  return ts;
}

static void results_compare_within_tolerances(void **state) {
  (void)state;
  float nan = __builtin_nanf(""), inf = __builtin_inff();
  TensorSet a = floats("out", 4, (float[]){1, nan, inf, -0.0f});
  TensorSet b = floats("out", 4, (float[]){1.0001f, nan, inf, 0});
  TensorSet c = floats("out", 4, (float[]){1, nan, -inf, 0});
  TensorSet d = floats("out", 3, (float[]){1, nan, inf}),
            e = floats("other", 3, (float[]){1, nan, inf});
  StrBuf r = {0};
  assert_true(compare_sets(&a, &a, 0, 0, &r));
  assert_true(compare_sets(&a, &b, 1e-3, 0, &r));
  assert_false(compare_sets(&a, &b, 1e-5, 1e-6, &r));
  assert_non_null(strstr(r.s, "1 of 4 differ, first at [0]: 1f where 1.0001f is expected"));
  r.n = 0;
  assert_false(compare_sets(&a, &c, 1e9, 1e9, &r));
  assert_non_null(strstr(r.s, "first at [2]: inff where -inff is expected"));
  r.n = 0;
  assert_false(compare_sets(&a, &d, 1, 1, &r));
  assert_non_null(strstr(r.s, "Tensor[(4), float32] where Tensor[(3), float32] is expected"));
  r.n = 0;
  assert_false(compare_sets(&d, &e, 1, 1, &r));
  assert_non_null(strstr(r.s, "the reference has no such tensor"));
  assert_non_null(strstr(r.s, "the result has no such tensor"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(archives_come_back_as_they_were),
      cmocka_unit_test(bfloat16_becomes_float32_in_numpys_files),
      cmocka_unit_test(files_are_told_by_their_endings),
      cmocka_unit_test(headers_in_any_order_and_version_read),
      cmocka_unit_test(bad_headers_say_what_is_wrong),
      cmocka_unit_test(bad_json_says_what_is_wrong),
      cmocka_unit_test(archives_with_bad_names_are_refused),
      cmocka_unit_test(archives_with_a_name_twice_are_refused),
      cmocka_unit_test(a_changed_byte_of_data_is_found_before_anything_is_used),
      cmocka_unit_test(no_damage_of_a_npy_gets_through),
      cmocka_unit_test(no_damage_of_a_npz_gets_through),
      cmocka_unit_test(no_damage_of_a_safetensors_gets_through),
      cmocka_unit_test(results_compare_within_tolerances),
  };
  mem_init();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  mem_release_all();
  return failed;
}
