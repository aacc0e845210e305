/* The interpreter and the C API, on programs written as image text. */
#include "tests/unit/vm_programs.h"
#include <math.h>
#include <time.h>

/* ---- scalars and control ------------------------------------------------------- */

#define COUNTDOWN INTS \
  "func f0 \"count\" captures() params(t0 t0) t0 regs 4\n" \
  "    imm r2 int64 0\n" \
  "    lt.int64 r3 r2 r0\n" \
  "    unless r3 L1\n" \
  "    imm r2 int64 1\n" \
  "    sub.int64 r0 r0 r2\n" \
  "    add.int64 r1 r1 r2\n" \
  "    tailcall f0 [ r0 r1 ]\n" \
  "  L1 { r1 t0 }\n" \
  "    ret r1\n" \
  "end\n" \
  "func f1 \"fib\" captures() params(t0) t0 regs 4\n" \
  "  at \"fib.rly\" 3 4\n" \
  "    imm r1 int64 2\n" \
  "    lt.int64 r2 r0 r1\n" \
  "    unless r2 L1\n" \
  "    ret r0\n" \
  "  L1 { r0 t0 }\n" \
  "    imm r1 int64 1\n" \
  "    sub.int64 r2 r0 r1\n" \
  "  at \"fib.rly\" 4 7\n" \
  "    call r3 f1 [ r2 ]\n" \
  "    sub.int64 r2 r2 r1\n" \
  "    call r2 f1 [ r2 ]\n" \
  "    add.int64 r3 r3 r2\n" \
  "    ret r3\n" \
  "end\n" \
  "func f2 \"forever\" captures() params(t0) t0 regs 2\n" \
  "  L0 { r0 t0 }\n" \
  "    imm r1 int64 1\n" \
  "    add.int64 r0 r0 r1\n" \
  "    jump L0\n" \
  "end\n" \
  "entry \"count\" f0 (\"n\" \"acc\") \"\"\n" \
  "entry \"fib\" f1 (\"n\") \"Fibonacci.\"\n" \
  "entry \"forever\" f2 (\"n\") \"\"\n"

static void loops_and_calls_compute(void **state) {
  (void)state;
  Fix x;
  int64_t r;
  fix_begin(&x, COUNTDOWN);
  assert_int_equal(call_ints(&x, "count", 2, SHAPE(1000, 5), &r), RVM_OK);
  assert_int_equal(r, 1005);
  assert_int_equal(call_ints(&x, "fib", 1, SHAPE(20), &r), RVM_OK);
  assert_int_equal(r, 6765);
  rvm_func_info info;
  assert_int_equal(rvm_func_describe(x.p, entry(&x, "fib"), &info), RVM_OK);
  assert_string_equal(info.doc, "Fibonacci.");
  assert_string_equal(rvm_func_param_name(x.p, 0, 1), "acc");
  assert_int_equal(rvm_program_count(x.p), 3);
  assert_int_equal(rvm_program_find(x.p, "nothing", &(rvm_func){ 0 }, &x.err), RVM_NOT_FOUND);
  assert_string_equal(x.err.message, "the program has no entry point nothing");
  fix_end(&x);
}

static void every_scalar_operation_agrees_with_scalar_eval(void **state) {
  (void)state;
  static const int64_t ints[] = { 0, 1, -1, 2, 7, -13, 127, -128, 65537, INT32_MAX, INT32_MIN,
                                  INT64_MAX, INT64_MIN };
  static const double floats[] = { 0, -0.0, 1, -1.5, 3e10, 1e-3, INFINITY, -INFINITY, NAN };
  for (int t = DT_bool; t < DT_COUNT; t++)
    for (int op = 0; op < S_select; op++) {
      if (!strchr(sop_info[op].classes, dtype_class((DType)t))) continue;
      char text[1000];
      const char *name = dtype_name((DType)t);
      bool unary = sop_info[op].arity == 1, to_bool = sop_info[op].result == 'b';
      snprintf(
          text, sizeof text,
          "image\ntype t0 = %s\ntype t1 = bool\n"
          "func f0 \"f\" captures() params(t0 t0) t%d regs 3\n    %s.%s r2 r0 %s\n    ret r2\nend\n"
          "entry \"f\" f0 (\"x\" \"y\") \"\"\n",
          name, to_bool, sop_info[op].name, name, unary ? "" : "r1");
      Fix x;
      fix_begin(&x, text);
      int n = dtype_is_float((DType)t) ? 9 : 13;
      for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
          bool f = dtype_is_float((DType)t);
          DType from = f ? DT_f64 : DT_i64;
          uint64_t a, b, want = 0;
          memcpy(&a, f ? (void *)&floats[i] : (void *)&ints[i], 8);
          memcpy(&b, f ? (void *)&floats[j] : (void *)&ints[j], 8);
          a = scalar_cast(a, from, (DType)t);
          b = scalar_cast(b, from, (DType)t);
          KStatus s = scalar_eval((SOp)op, (DType)t, a, b, 0, &want);
          int code, bits;
          dtype_to_dl((DType)t, &code, &bits);
          DLTensor in[2] = { TENSOR((uint8_t)code, (uint8_t)bits, 0, NULL, &a),
                             TENSOR((uint8_t)code, (uint8_t)bits, 0, NULL, &b) }, out = { 0 };
          rvm_status st = rvm_call(x.vm, 0, (const DLTensor *[]){ &in[0], &in[1] },
                                   (DLTensor *[]){ &out }, &x.err);
          assert_int_equal(st, s == K_OK ? RVM_OK : RVM_FAULT);
          if (s != K_OK) continue;
          int bytes = dtype_bytes(to_bool ? DT_bool : (DType)t);
          if (memcmp(out.data, &want, (size_t)bytes) != 0)
            fail_msg("%s.%s of %llx %llx", sop_info[op].name, name, (unsigned long long)a,
                     (unsigned long long)b);
        }
      fix_end(&x);
    }
}

static void casts_agree_with_scalar_cast(void **state) {
  (void)state;
  static const double v[] = { 0, 1, -1, 200, -200, 70000, -70000, 5e9, -5e9, 1e19, 2.5, NAN };
  for (int from = 0; from < DT_COUNT; from++)
    for (int to = 0; to < DT_COUNT; to++) {
      char text[500];
      snprintf(text, sizeof text,
               "image\ntype t0 = %s\ntype t1 = %s\n"
               "func f0 \"f\" captures() params(t0) t1 regs 2\n    cast r1 r0 %s\n    ret r1\nend\n"
               "entry \"f\" f0 (\"x\") \"\"\n",
               dtype_name((DType)from), dtype_name((DType)to), dtype_name((DType)to));
      Fix x;
      fix_begin(&x, text);
      for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        uint64_t a;
        memcpy(&a, &v[i], 8);
        a = scalar_cast(a, DT_f64, (DType)from);
        uint64_t want = scalar_cast(a, (DType)from, (DType)to);
        int code, bits;
        dtype_to_dl((DType)from, &code, &bits);
        DLTensor in = TENSOR((uint8_t)code, (uint8_t)bits, 0, NULL, &a), out = { 0 };
        assert_int_equal(
            rvm_call(x.vm, 0, (const DLTensor *[]){ &in }, (DLTensor *[]){ &out }, &x.err), RVM_OK);
        if (memcmp(out.data, &want, (size_t)dtype_bytes((DType)to)) != 0)
          fail_msg("%s to %s of %g", dtype_name((DType)from), dtype_name((DType)to), v[i]);
      }
      fix_end(&x);
    }
}

static double now(void) {
  struct timespec t;
  timespec_get(&t, TIME_UTC);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Not a test of speed (machines differ), but the figures are wanted. */
static void scalar_loops_are_quick(void **state) {
  (void)state;
  Fix x;
  int64_t r;
  fix_begin(&x, COUNTDOWN);
  double t = now();
  assert_int_equal(call_ints(&x, "count", 2, SHAPE(2000000, 0), &r), RVM_OK);
  double loop = (now() - t) / 2e6;
  t = now();
  assert_int_equal(call_ints(&x, "fib", 1, SHAPE(25), &r), RVM_OK);
  double calls = (now() - t) / 242785;
  print_message("loop iteration %.1f ns, fib call %.1f ns\n", loop * 1e9, calls * 1e9);
  fix_end(&x);
}

/* ---- limits ---------------------------------------------------------------------- */

static void fuel_parks_and_resumes(void **state) {
  (void)state;
  Fix x;
  int64_t r;
  fix_begin_limits(&x, COUNTDOWN, &(rvm_limits){ .fuel = 100 });
  rvm_status st = call_ints(&x, "count", 2, SHAPE(1000, 0), &r);
  DLTensor o = { 0 };
  int parks = 0;
  for (; st == RVM_NO_FUEL; parks++) {
    rvm_set_fuel(x.vm, 100);
    st = rvm_resume(x.vm, (DLTensor *[]){ &o }, &x.err);
  }
  assert_int_equal(st, RVM_OK);
  assert_in_range(parks, 50, 80);            /* 7 instructions an iteration   */
  assert_int_equal(*(int64_t *)o.data, 1000);
  rvm_stats s;
  rvm_get_stats(x.vm, &s);
  assert_int_equal(s.calls, 1);
  assert_in_range(s.instructions, 7000, 7010);
  assert_int_equal(s.instructions, s.fuel_used);
  assert_int_equal(rvm_resume(x.vm, (DLTensor *[]){ &o }, &x.err), RVM_BAD_ARGUMENT);
  assert_int_equal(call_ints(&x, "forever", 1, SHAPE(0), &r), RVM_NO_FUEL);
  assert_int_equal(call_ints(&x, "fib", 1, SHAPE(1), &r), RVM_OK);   /* drops the parked call */
  fix_end(&x);
}

static void an_interrupt_stops_a_loop(void **state) {
  (void)state;
  Fix x;
  int64_t r;
  fix_begin(&x, COUNTDOWN);
  rvm_interrupt(x.vm);
  assert_int_equal(call_ints(&x, "forever", 1, SHAPE(0), &r), RVM_INTERRUPTED);
  rvm_set_fuel(x.vm, 1000);
  DLTensor o = { 0 };
  assert_int_equal(rvm_resume(x.vm, (DLTensor *[]){ &o }, &x.err), RVM_NO_FUEL);
  fix_end(&x);
}

static void depth_and_memory_are_limited(void **state) {
  (void)state;
  Fix x;
  int64_t r;
  fix_begin_limits(&x, COUNTDOWN, &(rvm_limits){ .call_depth = 10, .memory = 1 << 16 });
  assert_int_equal(call_ints(&x, "fib", 1, SHAPE(10), &r), RVM_OK);
  assert_int_equal(call_ints(&x, "fib", 1, SHAPE(11), &r), RVM_TOO_DEEP);
  assert_string_equal(x.err.file, "fib.rly");
  assert_int_equal(x.err.line, 4);
  assert_int_equal(x.err.col, 7);
  fix_end(&x);
  fix_begin_limits(&x, COUNTDOWN, &(rvm_limits){ .memory = 1 << 16 });
  assert_int_equal(call_ints(&x, "fib", 1, SHAPE(100000), &r), RVM_NO_MEMORY);
  assert_string_equal(x.err.message, "the memory limit of 65536 bytes was met");
  assert_int_equal(call_ints(&x, "fib", 1, SHAPE(10), &r), RVM_OK);
  rvm_stats s;
  rvm_get_stats(x.vm, &s);
  assert_true(s.memory_peak <= 1 << 16);
  fix_end(&x);
}

/* ---- tensors ------------------------------------------------------------------------- */

static void kernels_run_on_lent_and_strided_tensors(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, TENSORS);
  DLTensor in = F32(1, SHAPE(4), 1, 2, 3, 4), out = { 0 };
  for (int i = 0; i < 3; i++) {
    assert_int_equal(CALL(&x, "double", &in, &out), RVM_OK);
    assert_int_equal(out.shape[0], 4);
    assert_true(((float *)out.data)[3] == 8);
    out = (DLTensor){ 0 };
  }
  float many[20];
  for (int i = 0; i < 20; i++) many[i] = (float)i;
  in = TENSOR(2, 32, 1, SHAPE(5), many);
  in.strides = SHAPE(3);
  in.byte_offset = 8;
  float room[6] = { 0 };
  out = TENSOR(2, 32, 1, SHAPE(5), room);
  out.byte_offset = 4;
  assert_int_equal(CALL(&x, "double", &in, &out), RVM_OK);
  assert_true(room[0] == 0 && room[1] == 4 && room[2] == 10 && room[5] == 28);
  in.strides = SHAPE(-1);
  in.byte_offset = 19 * 4;
  assert_int_equal(CALL(&x, "double", &in, &out), RVM_OK);
  assert_true(room[1] == 38 && room[5] == 30);
  char bytes[41];
  memcpy(bytes + 1, many, 40);
  in = TENSOR(2, 32, 1, SHAPE(5), bytes + 1);                   /* not aligned */
  assert_int_equal(CALL(&x, "double", &in, &out), RVM_OK);
  assert_true(room[5] == 8);
  in = TENSOR(2, 32, 1, SHAPE(0), NULL);
  out = (DLTensor){ 0 };
  assert_int_equal(CALL(&x, "double", &in, &out), RVM_OK);
  assert_int_equal(out.shape[0], 0);
  fix_end(&x);
}

static void results_are_the_instances_own(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, TENSORS);
  DLTensor in = F32(1, SHAPE(4), 1, 2, 3, 4), n = I64(0, NULL, 2), o[3];
  memset(o, 0, sizeof o);
  assert_int_equal(rvm_call(x.vm, entry(&x, "pairs"), (const DLTensor *[]){ &in, &n },
                            (DLTensor *[]){ &o[0], &o[1], &o[2] }, &x.err), RVM_OK);
  ((float *)in.data)[0] = 99;
  assert_int_equal(*(int64_t *)o[0].data, 2);
  assert_true(((float *)o[1].data)[0] == 1 && ((float *)o[2].data)[0] == 1);
  assert_int_equal(o[2].ndim, 2);
  assert_int_equal(o[2].shape[0] * 10 + o[2].shape[1], 22);
  *(int64_t *)n.data = 3;
  assert_int_equal(rvm_call(x.vm, entry(&x, "pairs"), (const DLTensor *[]){ &in, &n },
                            (DLTensor *[]){ &o[0], &o[1], &o[2] }, &x.err), RVM_FAULT);
  assert_string_equal(x.err.message, "4 elements cannot have the shape (3, 2)");
  memset(o, 0, sizeof o);
  assert_int_equal(rvm_call(x.vm, entry(&x, "const"), NULL, (DLTensor *[]){ &o[0] }, &x.err),
                   RVM_OK);
  assert_true(((float *)o[0].data)[2] == 3);
  ((float *)o[0].data)[2] = 7;               /* a copy, not the constant      */
  memset(o, 0, sizeof o);
  assert_int_equal(rvm_call(x.vm, entry(&x, "const"), NULL, (DLTensor *[]){ &o[0] }, &x.err),
                   RVM_OK);
  assert_true(((float *)o[0].data)[2] == 3);
  fix_end(&x);
}

static void arguments_are_checked_before_anything_runs(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, TENSORS);
  DLTensor out = { 0 };
  DLTensor bad[] = { I32(1, SHAPE(1), 1), F32(2, SHAPE(1, 1), 1), TENSOR(2, 32, 1, SHAPE(1), NULL),
                     F32(1, SHAPE(-1), 1), F32(1, SHAPE(1), 1) };
  bad[4].device.device_type = 2;
  for (int i = 0; i < 5; i++) assert_int_equal(CALL(&x, "double", &bad[i], &out), RVM_BAD_ARGUMENT);
  assert_int_equal(CALL(&x, "double", NULL, &out), RVM_BAD_ARGUMENT);
  DLTensor bools = TENSOR(6, 8, 1, SHAPE(2), ((uint8_t[]){ 1, 2 }));
  assert_int_equal(CALL(&x, "bools", &bools, &out), RVM_BAD_ARGUMENT);
  assert_string_equal(x.err.message, "x: a bool is neither 0 nor 1: (2) where bool (?) is needed");
  DLTensor in = F32(1, SHAPE(2), 1, 2), small = F32(1, SHAPE(1), 0);
  assert_int_equal(CALL(&x, "double", &in, &small), RVM_BAD_ARGUMENT);
  assert_string_equal(x.err.message, "output: an extent differs");
  assert_int_equal(CALL(&x, "double", &in, &out), RVM_OK);
  fix_end(&x);
}

static void scalars_go_into_and_out_of_kernels(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, TENSORS);
  DLTensor in = F32(1, SHAPE(3), 1, 2, 3), i = I64(0, NULL, 2), out = { 0 };
  assert_int_equal(rvm_call(x.vm, entry(&x, "pick"), (const DLTensor *[]){ &in, &i },
                            (DLTensor *[]){ &out }, &x.err), RVM_OK);
  assert_true(*(float *)out.data == 4);
  DLTensor v = I32(1, SHAPE(3), -7, 2, 5);
  out = (DLTensor){ 0 };
  assert_int_equal(CALL(&x, "first", &v, &out), RVM_OK);
  assert_int_equal(*(int64_t *)out.data, -3);
  out = (DLTensor){ 0 };
  assert_int_equal(CALL(&x, "elem", &v, &out), RVM_OK);
  fix_end(&x);
}

static void faults_say_where_and_why(void **state) {
  (void)state;
  Fix x;
  int64_t r;
  fix_begin(&x, TENSORS);
  DLTensor v = I32(1, SHAPE(3), 7, 0, 5), out = { 0 };
  assert_int_equal(CALL(&x, "first", &v, &out), RVM_FAULT);
  assert_string_equal(x.err.message, "integer division by zero");
  assert_string_equal(x.err.file, "m.rly");
  assert_int_equal(x.err.line * 100 + x.err.col, 708);
  assert_int_equal(x.err.func, 3);
  v = I32(1, SHAPE(3), 700, 1, 5);
  assert_int_equal(CALL(&x, "first", &v, &out), RVM_FAULT);
  assert_string_equal(x.err.message, "the first is too large");
  v = I32(1, SHAPE(2), 7, 1);
  assert_int_equal(CALL(&x, "first", &v, &out), RVM_FAULT);
  assert_string_equal(x.err.message, "first: x has 2 elements where 3 are needed");
  assert_int_equal(CALL(&x, "elem", &v, &out), RVM_FAULT);
  assert_string_equal(x.err.message, "element 2 of a tensor of 2");
  assert_int_equal(call_ints(&x, "check", 2, SHAPE(8, 9), &r), RVM_FAULT);
  assert_string_equal(x.err.message, "add: the shapes do not fit: 8 and 9");
  assert_int_equal(call_ints(&x, "check", 2, SHAPE(1, 9), &r), RVM_FAULT);
  assert_string_equal(x.err.message, "slice: too long: 1 and 9");
  assert_int_equal(call_ints(&x, "check", 2, SHAPE(8, 1), &r), RVM_FAULT);
  assert_string_equal(x.err.message, "nn.dense: the columns of x and of w differ: 8 and 1");
  assert_int_equal(x.err.line, 9);
  DLTensor in = F32(1, SHAPE(0), 1), i = I64(0, NULL, 0);
  assert_int_equal(rvm_call(x.vm, entry(&x, "pick"), (const DLTensor *[]){ &in, &i },
                            (DLTensor *[]){ &out }, &x.err), RVM_FAULT);
  assert_string_equal(x.err.message, "an index is outside its tensor");
  fix_end(&x);
}

static void kernels_cost_fuel(void **state) {
  (void)state;
  Fix x;
  fix_begin_limits(&x, TENSORS, &(rvm_limits){ .fuel = 500 });
  static float big[1000];
  DLTensor in = TENSOR(2, 32, 1, SHAPE(1000), big), out = { 0 };
  assert_int_equal(CALL(&x, "double", &in, &out), RVM_NO_FUEL);
  rvm_stats s;
  rvm_get_stats(x.vm, &s);
  assert_int_equal(s.kernels, 0);
  rvm_set_fuel(x.vm, 100000);
  assert_int_equal(rvm_resume(x.vm, (DLTensor *[]){ &out }, &x.err), RVM_OK);
  assert_int_equal(out.shape[0], 1000);
  rvm_get_stats(x.vm, &s);
  assert_int_equal(s.kernels, 1);
  assert_in_range(s.fuel_used, 1000, 20000);
  assert_in_range(s.instructions, 4, 6);
  fix_end(&x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(loops_and_calls_compute),
    cmocka_unit_test(every_scalar_operation_agrees_with_scalar_eval),
    cmocka_unit_test(casts_agree_with_scalar_cast),
    cmocka_unit_test(scalar_loops_are_quick),
    cmocka_unit_test(fuel_parks_and_resumes),
    cmocka_unit_test(an_interrupt_stops_a_loop),
    cmocka_unit_test(depth_and_memory_are_limited),
    cmocka_unit_test(kernels_run_on_lent_and_strided_tensors),
    cmocka_unit_test(results_are_the_instances_own),
    cmocka_unit_test(arguments_are_checked_before_anything_runs),
    cmocka_unit_test(scalars_go_into_and_out_of_kernels),
    cmocka_unit_test(faults_say_where_and_why),
    cmocka_unit_test(kernels_cost_fuel),
  };
  return cmocka_run_group_tests_name("vm", tests, NULL, NULL);
}
