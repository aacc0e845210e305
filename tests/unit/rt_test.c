/* The runtime kernels (vm/runtime.def), run through programs of one call. */
#include "vm_harness.h"
#include <math.h>

/* A function of tensors `in` (types t0 ...) whose results are a tuple. */
typedef struct { const char *in[5], *out[5], *args, *nums; } Sig;

static void begin(Fix *x, const char *kernel, Sig s) {
  char text[4000], *p = text;
  int n_in = 0, n_out = 0;
  p += sprintf(p, "image\n");
  for (; n_in < 5 && s.in[n_in]; n_in++) p += sprintf(p, "type t%d = %s\n", n_in, s.in[n_in]);
  for (; n_out < 5 && s.out[n_out]; n_out++)
    p += sprintf(p, "type t%d = %s\n", n_in + n_out, s.out[n_out]);
  p += sprintf(p, "type t%d = tuple \"out\" { \"\"(", n_in + n_out);
  for (int i = 0; i < n_out; i++) p += sprintf(p, "t%d ", n_in + i);
  p += sprintf(p, ") }\nfunc f0 \"f\" captures() params(");
  for (int i = 0; i < n_in; i++) p += sprintf(p, "t%d ", i);
  p += sprintf(p, ") t%d regs 16\n  at \"m.rly\" 3 4\n    runtime %s [ ", n_in + n_out, kernel);
  for (int i = 0; i < n_in; i++) p += sprintf(p, "r%d ", i);
  p += sprintf(p, "] [ ");
  for (int i = 0; i < n_out; i++) p += sprintf(p, "t%d r%d ", n_in + i, 8 + i);
  p += sprintf(p, "] [ %s ]\n", s.nums);
  for (int i = 0; i < n_in; i++) p += sprintf(p, "    drop r%d\n", i);
  p += sprintf(p, "    data r7 t%d 0 [ ", n_in + n_out);
  for (int i = 0; i < n_out; i++) p += sprintf(p, "r%d ", 8 + i);
  p += sprintf(p, "]\n    ret r7\nend\nentry \"f\" f0 (");
  for (int i = 0; i < n_in; i++) p += sprintf(p, "\"x\" ");
  sprintf(p, ") \"\"\n");
  fix_begin(x, text);
}

static rvm_status run(Fix *x, const DLTensor *in, int n_in, DLTensor *out, int n_out) {
  const DLTensor *pin[5];
  DLTensor *pout[5];
  for (int i = 0; i < n_in; i++) pin[i] = &in[i];
  for (int i = 0; i < n_out; i++) { out[i] = (DLTensor){ 0 }; pout[i] = &out[i]; }
  return rvm_call(x->vm, 0, pin, pout, &x->err);
}

static void expect_i32(const DLTensor *t, int n, const int32_t *want) {
  for (int i = 0; i < n; i++)
    if (((int32_t *)t->data)[i] != want[i])
      fail_msg("element %d: %d, not %d", i, ((int32_t *)t->data)[i], want[i]);
}
static void expect_f32(const DLTensor *t, int n, const float *want) {
  for (int i = 0; i < n; i++) {
    float got = ((float *)t->data)[i];
    if (got != want[i] && !(isnan(got) && isnan(want[i])))
      fail_msg("element %d: %g, not %g", i, (double)got, (double)want[i]);
  }
}
#define ARR(T, ...) (T[]){ __VA_ARGS__ }

/* ---- sorting -------------------------------------------------------------------- */

static uint32_t seed = 7;
static uint32_t rnd(void) { return (seed = seed * 1664525u + 1013904223u) >> 8; }

/* Less in the order of the language: NaN above all. */
static bool below(uint64_t a, uint64_t b, DType t) {
  if (dtype_is_float(t)) {
    uint64_t x = scalar_cast(a, t, DT_f64), y = scalar_cast(b, t, DT_f64);
    double p, q;
    memcpy(&p, &x, 8);
    memcpy(&q, &y, 8);
    return isnan(q) ? !isnan(p) : p < q;
  }
  return t == DT_u64 ? a < b : (int64_t)a < (int64_t)b;
}

static uint64_t load(const void *p, int i, DType t) {
  uint64_t x = 0;
  memcpy(&x, (const uint8_t *)p + i * dtype_bytes(t), (size_t)dtype_bytes(t));
  return dtype_is_float(t) ? x : (uint64_t)wrap_int((int64_t)x, t);
}

static void every_type_sorts_stably(void **state) {
  (void)state;
  enum { N = 300 };
  for (int t = 0; t < DT_COUNT; t++)
    for (int ascending = 0; ascending < 2; ascending++) {
      Fix x;
      char type[40];
      const char *nums = ascending ? "-1 1" : "-1 0";
      snprintf(type, sizeof type, "%s[?]", dtype_name((DType)t));
      begin(&x, "argsort", (Sig){ { type }, { "int32[?]" }, NULL, nums });
      static _Alignas(8) uint8_t data[N * 8];
      for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(t == DT_bool ? rnd() & 1 : rnd() & 0x81 ? rnd() : 0xff);
      for (int i = 0; i + 4 < N; i += 5)
        memcpy(data + (i + 4) * dtype_bytes((DType)t), data + i * dtype_bytes((DType)t),
               (size_t)dtype_bytes((DType)t));
      int code, bits;
      dtype_to_dl((DType)t, &code, &bits);
      DLTensor in = TENSOR((uint8_t)code, (uint8_t)bits, 1, SHAPE(N), data), out;
      assert_int_equal(run(&x, &in, 1, &out, 1), RVM_OK);
      const int32_t *at = out.data;
      bool seen[N] = { false };
      for (int i = 0; i < N; i++) {
        assert_in_range(at[i], 0, N - 1);
        assert_false(seen[at[i]]);
        seen[at[i]] = true;
        if (i == 0) continue;
        uint64_t a = load(data, at[i - 1], (DType)t), b = load(data, at[i], (DType)t);
        if (!ascending) { uint64_t c = a; a = b; b = c; }
        if (below(b, a, (DType)t)) fail_msg("%s: out of order at %d", dtype_name((DType)t), i);
        if (!below(a, b, (DType)t)) assert_true(at[i - 1] < at[i]);
      }
      fix_end(&x);
    }
}

static void sort_goes_along_any_axis(void **state) {
  (void)state;
  Fix x;
  DLTensor in = F32(2, SHAPE(3, 2), 3, NAN, 1, -0.0f, 2, 0), out;
  begin(&x, "sort", (Sig){ { "float32[? ?]" }, { "float32[? ?]" }, NULL, "0 1" });
  assert_int_equal(run(&x, &in, 1, &out, 1), RVM_OK);
  expect_f32(&out, 6, ARR(float, 1, 0, 2, 0, 3, NAN));
  assert_true(signbit(((float *)out.data)[1]) && !signbit(((float *)out.data)[3]));
  in = F32(2, SHAPE(0, 2), 0);
  assert_int_equal(run(&x, &in, 1, &out, 1), RVM_OK);
  assert_int_equal(out.shape[0] * 10 + out.shape[1], 2);
  fix_end(&x);
  begin(&x, "sort", (Sig){ { "float32[? ?]" }, { "float32[? ?]" }, NULL, "2 1" });
  assert_int_equal(run(&x, &in, 1, &out, 1), RVM_FAULT);
  assert_string_equal(x.err.message, "sort: no such axis: 2");
  assert_int_equal(x.err.line, 3);
  fix_end(&x);
}

static void topk_prefers_the_first_of_equals(void **state) {
  (void)state;
  Fix x;
  DLTensor in[2] = { F32(1, SHAPE(6), 1, 5, 2, 5, NAN, 0), I32(0, NULL, 3) }, out[2];
  Sig s = { { "float32[?]", "int32" }, { "float32[?]", "int64[?]" }, NULL, "0 0" };
  begin(&x, "topk", s);
  assert_int_equal(run(&x, in, 2, out, 2), RVM_OK);
  expect_f32(&out[0], 3, ARR(float, NAN, 5, 5));
  assert_memory_equal(out[1].data, ARR(int64_t, 4, 1, 3), 24);
  *(int32_t *)in[1].data = 0;
  assert_int_equal(run(&x, in, 2, out, 2), RVM_OK);
  assert_int_equal(out[0].shape[0], 6);
  *(int32_t *)in[1].data = 7;
  assert_int_equal(run(&x, in, 2, out, 2), RVM_FAULT);
  assert_string_equal(x.err.message, "topk: k is larger than the axis: 7");
  fix_end(&x);
  s.nums = "0 1";
  *(int32_t *)in[1].data = 2;
  begin(&x, "topk", s);
  assert_int_equal(run(&x, in, 2, out, 2), RVM_OK);
  expect_f32(&out[0], 2, ARR(float, 0, 1));
  fix_end(&x);
}

/* ---- finding ----------------------------------------------------------------------- */

static void argwhere_lists_coordinates(void **state) {
  (void)state;
  Fix x;
  DLTensor in = F32(2, SHAPE(2, 3), 0, 1, -0.0f, NAN, 0, -2), out;
  begin(&x, "argwhere", (Sig){ { "float32[? ?]" }, { "int32[? 2]" }, NULL, "" });
  assert_int_equal(run(&x, &in, 1, &out, 1), RVM_OK);
  assert_int_equal(out.shape[0], 3);
  expect_i32(&out, 6, ARR(int32_t, 0, 1, 1, 0, 1, 2));
  fix_end(&x);
}

static void unique_is_padded(void **state) {
  (void)state;
  Fix x;
  DLTensor in = I32(1, SHAPE(8), 4, 5, 1, 2, 3, 3, 4, 5), out[5];
  Sig s = {
    { "int32[?]" }, { "int32[?]", "int32[?]", "int32[?]", "int32[?]", "int32[1]" }, NULL, "0"
  };
  begin(&x, "unique", s);
  assert_int_equal(run(&x, &in, 1, out, 5), RVM_OK);
  expect_i32(&out[0], 8, ARR(int32_t, 4, 5, 1, 2, 3, 0, 0, 0));
  expect_i32(&out[1], 8, ARR(int32_t, 0, 1, 2, 3, 4, 8, 8, 8));
  expect_i32(&out[2], 8, ARR(int32_t, 0, 1, 2, 3, 4, 4, 0, 1));
  expect_i32(&out[3], 8, ARR(int32_t, 2, 2, 1, 1, 2, 0, 0, 0));
  expect_i32(&out[4], 1, ARR(int32_t, 5));
  fix_end(&x);
  s.nums = "1";
  begin(&x, "unique", s);
  assert_int_equal(run(&x, &in, 1, out, 5), RVM_OK);
  expect_i32(&out[0], 8, ARR(int32_t, 1, 2, 3, 4, 5, 0, 0, 0));
  expect_i32(&out[1], 8, ARR(int32_t, 2, 3, 4, 0, 1, 8, 8, 8));
  expect_i32(&out[2], 8, ARR(int32_t, 3, 4, 0, 1, 2, 2, 3, 4));
  expect_i32(&out[3], 8, ARR(int32_t, 1, 1, 2, 2, 2, 0, 0, 0));
  in = I32(1, SHAPE(0), 0);
  assert_int_equal(run(&x, &in, 1, out, 5), RVM_OK);
  expect_i32(&out[4], 1, ARR(int32_t, 0));
  fix_end(&x);
}

static void searchsorted_finds_both_bounds(void **state) {
  (void)state;
  Fix x;
  DLTensor in[2] = { F32(1, SHAPE(5), -1, 0, 2, 2, 3), F32(2, SHAPE(2, 2), 2, 9, -5, -0.0f) }, out;
  for (int right = 0; right < 2; right++) {
    begin(&x, "searchsorted",
          (Sig){ { "float32[?]", "float32[? ?]" }, { "int32[? ?]" }, NULL, right ? "1" : "0" });
    assert_int_equal(run(&x, in, 2, &out, 1), RVM_OK);
    expect_i32(&out, 4, right ? ARR(int32_t, 4, 5, 0, 2) : ARR(int32_t, 2, 5, 0, 1));
    fix_end(&x);
  }
  DLTensor rows[2] = { F32(2, SHAPE(2, 3), 1, 2, 3, 10, 20, 30), F32(2, SHAPE(2, 1), 3, 11) };
  begin(&x, "searchsorted",
        (Sig){ { "float32[? ?]", "float32[? ?]" }, { "int32[? ?]" }, NULL, "0" });
  assert_int_equal(run(&x, rows, 2, &out, 1), RVM_OK);
  expect_i32(&out, 2, ARR(int32_t, 2, 1));
  assert_int_equal(run(&x, (DLTensor[]){ rows[0], F32(2, SHAPE(1, 1), 3) }, 2, &out, 1), RVM_FAULT);
  fix_end(&x);
}

/* ---- suppression: the figures are TVM 0.10's --------------------------------------------- */

static void valid_boxes_move_to_the_front(void **state) {
  (void)state;
  Fix x;
  DLTensor in[2] = { F32(3, SHAPE(1, 3, 2), 0.6f, 1, 0.1f, 2, 0.8f, 3), F32(0, NULL, 0.5f) },
           out[3];
  begin(&x, "valid_counts", (Sig){ { "float32[? ? ?]", "float32" },
        { "int32[?]", "float32[? ? ?]", "int32[? ?]" }, NULL, "0 0" });
  assert_int_equal(run(&x, in, 2, out, 3), RVM_OK);
  expect_i32(&out[0], 1, ARR(int32_t, 2));
  expect_f32(&out[1], 6, ARR(float, 0.6f, 1, 0.8f, 3, -1, -1));
  expect_i32(&out[2], 3, ARR(int32_t, 0, 2, -1));
  fix_end(&x);
}

#define NMS_BOXES F32(3, SHAPE(1, 5, 6), \
  0, 0.8f, 1, 20, 25, 45,  1, 0.7f, 30, 60, 50, 80,  0, 0.4f, 4, 21, 19, 40, \
  2, 0.9f, 35, 61, 52, 79,  1, 0.5f, 100, 60, 70, 110)
#define NMS_SIG(nums) (Sig){ { "float32[? ? ?]", "int32[?]", "int32[? ?]", "int32", "float32" }, \
  { "float32[? ? ?]", "int32[? ?]", "int32[? ?]" }, NULL, nums }

static void suppression_returns_indices(void **state) {
  (void)state;
  Fix x;
  DLTensor in[5] = { NMS_BOXES, I32(1, SHAPE(1), 4), I32(2, SHAPE(1, 5), 0, 1, 3, 4, -1),
                     I32(0, NULL, -1), F32(0, NULL, 0.5f) }, out[3];
  begin(&x, "nms", NMS_SIG("1 2 2 1 0 1 0"));
  assert_int_equal(run(&x, in, 5, out, 3), RVM_OK);
  expect_i32(&out[1], 5, ARR(int32_t, 4, 0, -1, -1, -1));
  expect_i32(&out[2], 1, ARR(int32_t, 2));
  *(int32_t *)in[1].data = 6;
  assert_int_equal(run(&x, in, 5, out, 3), RVM_FAULT);
  assert_string_equal(x.err.message, "nms: a valid_count is out of range: 6");
  fix_end(&x);
}

static void suppression_returns_boxes(void **state) {
  (void)state;
  Fix x;
  DLTensor in[5] = { NMS_BOXES, I32(1, SHAPE(1), 5), I32(2, SHAPE(1, 5), 0, 1, 2, 3, 4),
                     I32(0, NULL, -1), F32(0, NULL, 0.5f) }, out[3];
  static const float best[] = { 2, 0.9f, 35, 61, 52, 79, 0, 0.8f, 1, 20, 25, 45 };
  begin(&x, "nms", NMS_SIG("1 -1 2 1 0 0 1"));                  /* all classes, compact */
  assert_int_equal(run(&x, in, 5, out, 3), RVM_OK);
  expect_f32(&out[0], 12, best);
  expect_f32((DLTensor[]){ { .data = (float *)out[0].data + 12 } }, 13,
             ARR(float, 1, 0.5f, 100, 60, 70, 110, 0, 0.4f, 4, 21, 19, 40, -1));
  fix_end(&x);
  begin(&x, "nms", NMS_SIG("0 -1 2 1 0 0 0"));                  /* within a class, in place */
  assert_int_equal(run(&x, in, 5, out, 3), RVM_OK);
  expect_f32(&out[0], 12, best);
  expect_i32(&out[1], 5, ARR(int32_t, 3, 0, 1, 4, 2));
  assert_true(((float *)out[0].data)[13] == 0.7f && ((float *)out[0].data)[25] == 0.4f);
  fix_end(&x);
}

static void suppression_by_class(void **state) {
  (void)state;
  Fix x;
  DLTensor in[5] = {
    F32(3, SHAPE(1, 5, 4), 0, 0, 0.3f, 0.3f, 0.5f, 0.5f, 0.4f, 0.4f, 0, 0, 0.5f, 0.5f,
        0.5f, 0.5f, 0.9f, 0.9f, 0.5f, 0.5f, 1, 1),
    F32(3, SHAPE(1, 2, 5), 0.1f, 0.2f, 0.6f, 0.3f, 0.9f, 0.8f, 0.2f, 0.6f, 0.3f, 0.9f),
    I32(0, NULL, 2), F32(0, NULL, 0.8f), F32(0, NULL, 0.4f) }, out[3];
  begin(&x, "all_class_nms",
        (Sig){ { "float32[? ? 4]", "float32[? ? ?]", "int32", "float32", "float32" },
               { "int64[? 3]", "int64[1]" },
               NULL,
               "" });
  assert_int_equal(run(&x, in, 5, out, 2), RVM_OK);
  assert_memory_equal(out[0].data, ARR(int64_t, 0, 0, 4, 0, 0, 2, 0, 1, 4, 0, 1, 0, 0, 0, 0), 120);
  assert_int_equal(*(int64_t *)out[1].data, 4);
  fix_end(&x);
  begin(&x, "all_class_nms_tf",
        (Sig){ { "float32[? ? 4]", "float32[? ? ?]", "int32", "float32", "float32" },
               { "int64[? ? 2]", "float32[? ?]", "int64[?]" },
               NULL,
               "" });
  assert_int_equal(run(&x, in, 5, out, 3), RVM_OK);
  assert_memory_equal(out[0].data, ARR(int64_t, 0, 4, 0, 2, 1, 4, 1, 0, 0, 0), 80);
  expect_f32(&out[1], 5, ARR(float, 0.9f, 0.6f, 0.9f, 0.8f, 0));
  assert_int_equal(*(int64_t *)out[2].data, 4);
  fix_end(&x);
}

/* Nonsense that the verifier lets through: wrong ranks, extents, columns. */
static void bad_operands_are_refused(void **state) {
  (void)state;
  static const struct { const char *kernel; Sig s; const char *why;
  } cases[] = {
    { "unique",
      { { "int32[? ?]" },
        { "int32[?]", "int32[?]", "int32[?]", "int32[?]", "int32[?]" },
        NULL,
        "0" },
      "unique: a vector is needed, not rank 2" },
    { "sort",
      { { "int32[? ?]" }, { "float32[? ?]" }, NULL, "0 0" },
      "sort: the result has another element type" },
    { "sort",
      { { "int32[? ?]" }, { "int32[?]" }, NULL, "0 0" },
      "sort: the rank of a result is not 1" },
    { "argwhere",
      { { "int32[? ?]" }, { "int32[?]" }, NULL, "" },
      "argwhere: the rank of a result is not 1" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Fix x;
    DLTensor in = I32(2, SHAPE(1, 2), 1, 2), out[5];
    begin(&x, cases[i].kernel, cases[i].s);
    int n = 0;
    while (n < 5 && cases[i].s.out[n]) n++;
    assert_int_equal(run(&x, &in, 1, out, n), RVM_FAULT);
    assert_string_equal(x.err.message, cases[i].why);
    fix_end(&x);
  }
  static const char *const nums[] = { "1 2 3 1 0 1 0", "1 2 2 6 0 1 0", "1 2 2 1 6 1 0",
                                      "1 2 -1 1 0 1 0" };
  for (int i = 0; i < 4; i++) {
    Fix x;
    DLTensor in[5] = { NMS_BOXES, I32(1, SHAPE(1), 4), I32(2, SHAPE(1, 5), 0, 1, 3, 4, -1),
                       I32(0, NULL, -1), F32(0, NULL, 0.5f) }, out[3];
    begin(&x, "nms", NMS_SIG(nums[i]));
    assert_int_equal(run(&x, in, 5, out, 3), RVM_FAULT);
    fix_end(&x);
  }
}

static void refused_memory_is_reported(void **state) {
  (void)state;
  Fix x;
  static float big[4000];
  DLTensor in = TENSOR(2, 32, 1, SHAPE(4000), big), out;
  for (long n = 0; n < 100; n++) {
    begin(&x, "sort", (Sig){ { "float32[?]" }, { "float32[?]" }, NULL, "0 1" });
    x.mem.left = n;
    rvm_status st = run(&x, &in, 1, &out, 1);
    x.mem.left = -1;
    fix_end(&x);
    if (st == RVM_OK) return;
    assert_int_equal(st, RVM_NO_MEMORY);
  }
  fail_msg("still refusing");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_type_sorts_stably),
    cmocka_unit_test(sort_goes_along_any_axis),
    cmocka_unit_test(topk_prefers_the_first_of_equals),
    cmocka_unit_test(argwhere_lists_coordinates),
    cmocka_unit_test(unique_is_padded),
    cmocka_unit_test(searchsorted_finds_both_bounds),
    cmocka_unit_test(valid_boxes_move_to_the_front),
    cmocka_unit_test(suppression_returns_indices),
    cmocka_unit_test(suppression_returns_boxes),
    cmocka_unit_test(suppression_by_class),
    cmocka_unit_test(bad_operands_are_refused),
    cmocka_unit_test(refused_memory_is_reported),
  };
  return cmocka_run_group_tests_name("runtime kernels", tests, NULL, NULL);
}
