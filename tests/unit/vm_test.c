/* The interpreter and the C API, on programs written as image text. */
#include "vm_harness.h"
#include <math.h>
#include <time.h>

#define INTS "image\ntype t0 = int64\ntype t1 = bool\n"

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

/* ---- data -------------------------------------------------------------------------- */

#define LISTS INTS \
  "type t2 = float32[?]\n" \
  "type t3 = data \"List\" { \"Nil\"() \"Cons\"(t2 t3) }\n" \
  "type t4 = fn(t0) t0\n" \
  "type t5 = ref t3\n" \
  "type t6 = data \"Box\" { \"Box\"(t5) }\n" \
  "type t7 = ref t6\n" \
  "type t8 = data \"Knot\" { \"End\"() \"Knot\"(t9) }\n" \
  "type t9 = ref t8\n" \
  "func f0 \"make\" captures() params(t2 t0 t3) t3 regs 6\n" \
  "    imm r3 int64 0\n" \
  "    lt.int64 r4 r3 r1\n" \
  "    unless r4 L1\n" \
  "    imm r3 int64 1\n" \
  "    sub.int64 r1 r1 r3\n" \
  "    dup r5 r0\n" \
  "    data r3 t3 1 [ r5 r2 ]\n" \
  "    tailcall f0 [ r0 r1 r3 ]\n" \
  "  L1 { r0 t2 r2 t3 }\n" \
  "    drop r0\n" \
  "    ret r2\n" \
  "end\n" \
  "func f1 \"length\" captures() params(t3 t0) t0 regs 5\n" \
  "    switch r0 [ L1 L2 ]\n" \
  "  L1 { r0 t3.0 r1 t0 }\n" \
  "    drop r0\n" \
  "    ret r1\n" \
  "  L2 { r0 t3.1 r1 t0 }\n" \
  "    imm r2 int64 1\n" \
  "    add.int64 r1 r1 r2\n" \
  "    field r3 r0 1\n" \
  "    drop r0\n" \
  "    tailcall f1 [ r3 r1 ]\n" \
  "end\n" \
  "func f2 \"makelen\" captures() params(t2 t0) t0 regs 6\n" \
  "    data r2 t3 0 [ ]\n" \
  "    call r3 f0 [ r0 r1 r2 ]\n" \
  "    imm r1 int64 0\n" \
  "    dup r4 r3\n" \
  "    call r2 f1 [ r4 r1 ]\n" \
  "    drop r3\n" \
  "    ret r2\n" \
  "end\n" \
  "func f3 \"adder\" captures(t0) params(t0) t0 regs 3\n" \
  "    add.int64 r2 r0 r1\n" \
  "    ret r2\n" \
  "end\n" \
  "func f4 \"twice\" captures() params(t4 t0) t0 regs 4\n" \
  "    dup r2 r0\n" \
  "    callc r3 r2 [ r1 ]\n" \
  "    tailcallc r0 [ r3 ]\n" \
  "end\n" \
  "func f5 \"closures\" captures() params(t0) t0 regs 4\n" \
  "    closure r1 t4 f3 [ r0 ]\n" \
  "    call r2 f4 [ r1 r0 ]\n" \
  "    ret r2\n" \
  "end\n" \
  "func f6 \"knot\" captures() params(t0) t0 regs 5\n" \
  "    data r1 t8 0 [ ]\n" \
  "    ref r2 r1 t9\n" \
  "    dup r3 r2\n" \
  "    data r4 t8 1 [ r3 ]\n" \
  "    refset r2 r4\n" \
  "    drop r2\n" \
  "    ret r0\n" \
  "end\n" \
  "func f7 \"fails\" captures() params(t2 t0 t3) t3 regs 6\n" \
  "    call r3 f0 [ r0 r1 r2 ]\n" \
  "    fail \"no luck\"\n" \
  "end\n" \
  "func f8 \"same\" captures() params(t3) t3 regs 1\n" \
  "    ret r0\n" \
  "end\n" \
  "entry \"make\" f0 (\"x\" \"n\" \"tail\") \"\"\n" \
  "entry \"length\" f1 (\"l\" \"n\") \"\"\n" \
  "entry \"makelen\" f2 (\"x\" \"n\") \"\"\n" \
  "entry \"closures\" f5 (\"n\") \"\"\n" \
  "entry \"knot\" f6 (\"n\") \"\"\n" \
  "entry \"fails\" f7 (\"x\" \"n\" \"tail\") \"\"\n" \
  "entry \"same\" f8 (\"l\") \"\"\n"

enum { T_INT = 0, T_VEC = 2, T_LIST = 3 };

static rvm_value int_value(Fix *x, int64_t v) {
  rvm_value out;
  DLTensor t = TENSOR(0, 64, 0, NULL, &v);
  assert_int_equal(rvm_value_tensor(x->vm, T_INT, &t, &out, &x->err), RVM_OK);
  return out;
}
static rvm_value nil(Fix *x) {
  rvm_value out;
  assert_int_equal(rvm_value_data(x->vm, T_LIST, 0, 0, NULL, &out, &x->err), RVM_OK);
  return out;
}
static float three[3] = { 1, 2, 3 };
static rvm_value vector(Fix *x) {
  rvm_value out;
  int64_t n = 3;
  DLTensor t = TENSOR(2, 32, 1, &n, three);
  assert_int_equal(rvm_value_tensor(x->vm, T_VEC, &t, &out, &x->err), RVM_OK);
  return out;
}
static int64_t length_of(Fix *x, rvm_value list) {
  rvm_value r, args[2] = { list, int_value(x, 0) };
  assert_int_equal(rvm_apply(x->vm, entry(x, "length"), args, &r, &x->err), RVM_OK);
  return (int64_t)r.bits;
}
static rvm_value make_list(Fix *x, int64_t n) {
  rvm_value r, args[3] = { vector(x), int_value(x, n), nil(x) };
  assert_int_equal(rvm_apply(x->vm, entry(x, "make"), args, &r, &x->err), RVM_OK);
  return r;
}

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

/* ---- tensors ------------------------------------------------------------------------- */

#define TENSORS INTS \
  "type t2 = float32[?]\n" \
  "type t3 = float32[? 2]\n" \
  "type t4 = tuple \"(int64, (Tensor, Tensor))\" { \"\"(t0 t5) }\n" \
  "type t5 = tuple \"(Tensor, Tensor)\" { \"\"(t2 t3) }\n" \
  "type t6 = float32\n" \
  "type t7 = int32[?]\n" \
  "type t8 = bool[?]\n" \
  "type t9 = float32[3]\n" \
  "const c0 = t9 [3] { 0000803f 00000040 00004040 }\n" \
  "kernel @double(n) {\n" \
  "  in x: f32[n]\n" \
  "  out y: f32[n]\n" \
  "  for i in n parallel {\n" \
  "    y[i] = x[i] + x[i]\n" \
  "  }\n" \
  "}\n" \
  "kernel @pick(n) {\n" \
  "  in x: f32[n]\n" \
  "  in i: i64[]\n" \
  "  out y: f32[]\n" \
  "  y[] = x[max(0, min(i[], n - 1))] + 1:f32\n" \
  "}\n" \
  "kernel @first() {\n" \
  "  in x: i32[3]\n" \
  "  out y: i64[]\n" \
  "  check x[0] < 100:i32, \"the first is too large\"\n" \
  "  y[] = i64(x[0] / x[1])\n" \
  "}\n" \
  "func f0 \"double\" captures() params(t2) t2 regs 3\n" \
  "  at \"m.rly\" 5 6\n" \
  "    dim r1 r0 0\n" \
  "    alloc r2 t2 [ r1 ]\n" \
  "    kernel k0 [ r0 r2 ] [ r1 ]\n" \
  "    drop r0\n" \
  "    ret r2\n" \
  "end\n" \
  "func f1 \"pairs\" captures() params(t2 t0) t4 regs 6\n" \
  "    imm r2 int64 2\n" \
  "    view r3 t3 r0 [ r1 r2 ]\n" \
  "    data r4 t5 0 [ r0 r3 ]\n" \
  "    data r0 t4 0 [ r1 r4 ]\n" \
  "    ret r0\n" \
  "end\n" \
  "func f2 \"pick\" captures() params(t2 t0) t6 regs 4\n" \
  "    dim r2 r0 0\n" \
  "    kernel k1 [ r0 r1 r3 ] [ r2 ]\n" \
  "    drop r0\n" \
  "    ret r3\n" \
  "end\n" \
  "func f3 \"first\" captures() params(t7) t0 regs 3\n" \
  "  at \"m.rly\" 7 8\n" \
  "    kernel k2 [ r0 r1 ] [ ]\n" \
  "    drop r0\n" \
  "    ret r1\n" \
  "end\n" \
  "func f4 \"elem\" captures() params(t7) t0 regs 2\n" \
  "    elem r1 r0 2\n" \
  "    drop r0\n" \
  "    cast r1 r1 int64\n" \
  "    ret r1\n" \
  "end\n" \
  "func f5 \"const\" captures() params() t9 regs 1\n" \
  "    const r0 c0\n" \
  "    ret r0\n" \
  "end\n" \
  "func f6 \"bools\" captures() params(t8) t8 regs 1\n" \
  "    ret r0\n" \
  "end\n" \
  "func f7 \"check\" captures() params(t0 t0) t0 regs 2\n" \
  "  at \"m.rly\" 9 1\n" \
  "    checkbc r0 r1 \"add: the shapes do not fit\"\n" \
  "    checkge r0 r1 \"slice: too long\"\n" \
  "    checkeq r0 r1 \"nn.dense: the columns of x and of w differ\"\n" \
  "    ret r0\n" \
  "end\n" \
  "entry \"double\" f0 (\"x\") \"\"\n" \
  "entry \"pairs\" f1 (\"x\" \"n\") \"\"\n" \
  "entry \"pick\" f2 (\"x\" \"i\") \"\"\n" \
  "entry \"first\" f3 (\"x\") \"\"\n" \
  "entry \"elem\" f4 (\"x\") \"\"\n" \
  "entry \"const\" f5 () \"\"\n" \
  "entry \"bools\" f6 (\"x\") \"\"\n" \
  "entry \"check\" f7 (\"x\" \"y\") \"\"\n"

#define CALL(x, name, in_, out_) \
  rvm_call((x)->vm, entry(x, name), (const DLTensor *[]){ in_ }, (DLTensor *[]){ out_ }, &(x)->err)

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

/* ---- memory ---------------------------------------------------------------------------- */

static void loading_survives_every_refused_allocation(void **state) {
  (void)state;
  Fix x;
  fix_image(&x, TENSORS);
  for (long n = 0; n < 5000; n++) {
    x.mem = (Stingy){ n, 0 };
    rvm_status st = rvm_program_load(x.bytes, x.n, x.alloc, &x.p, &x.err);
    if (st == RVM_OK) {
      rvm_program_free(x.p);
      assert_int_equal(x.mem.live, 0);
      free(x.bytes);
      return;
    }
    assert_int_equal(st, RVM_NO_MEMORY);
    assert_int_equal(x.err.status, RVM_NO_MEMORY);
    assert_null(x.p);
    assert_int_equal(x.mem.live, 0);
  }
  fail_msg("still refusing");
}

static rvm_status sweep_once(Fix *x, long n) {
  x->mem.left = n;
  rvm_status st = rvm_instance_new(x->p, NULL, x->alloc, &x->vm, &x->err);
  if (st != RVM_OK) return st;
  rvm_value l, v, r;
  int64_t three_ = 3;
  DLTensor t = TENSOR(2, 32, 1, &three_, three);
  st = rvm_value_tensor(x->vm, T_VEC, &t, &v, &x->err);
  if (st == RVM_OK) {
    l = nil(x);
    rvm_value f[2] = { v, l };
    st = rvm_value_data(x->vm, T_LIST, 1, 2, f, &l, &x->err);
  }
  if (st == RVM_OK) {
    st = rvm_value_tensor(x->vm, T_VEC, &t, &v, &x->err);
    if (st != RVM_OK) rvm_value_release(x->vm, l);
  }
  if (st == RVM_OK) {
    rvm_value a[3] = { v, int_value(x, 200), l };
    st = rvm_apply(x->vm, entry(x, "make"), a, &r, &x->err);
  }
  if (st == RVM_OK) {
    x->mem.left = -1;
    assert_int_equal(length_of(x, r), 201);
  }
  x->mem.left = -1;                          /* whatever happened: still usable */
  int64_t out;
  assert_int_equal(call_ints(x, "closures", 1, SHAPE(2), &out), RVM_OK);
  assert_int_equal(out, 6);
  rvm_instance_free(x->vm);
  return st;
}

static void calls_survive_every_refused_allocation(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, LISTS);
  rvm_instance_free(x.vm);
  long before = x.mem.live;
  for (long n = 0; n < 1000; n++) {
    rvm_status st = sweep_once(&x, n);
    assert_int_equal(x.mem.live, before);
    if (st == RVM_OK) {
      rvm_program_free(x.p);
      free(x.bytes);
      return;
    }
    assert_int_equal(st, RVM_NO_MEMORY);
  }
  fail_msg("still refusing");
}

static void tensor_calls_survive_every_refused_allocation(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, TENSORS);
  static float big[5000];
  rvm_instance_free(x.vm);
  long before = x.mem.live;
  for (long n = 0; n < 1000; n++) {
    DLTensor in = TENSOR(2, 32, 1, SHAPE(2000), big), out = { 0 };
    in.strides = SHAPE(2);
    x.mem.left = n;
    rvm_status st = rvm_instance_new(x.p, NULL, x.alloc, &x.vm, &x.err);
    if (st == RVM_OK) {
      st = CALL(&x, "double", &in, &out);
      x.mem.left = -1;
      out = (DLTensor){ 0 };
      assert_int_equal(CALL(&x, "double", &in, &out), RVM_OK);
      rvm_instance_free(x.vm);
    }
    assert_int_equal(x.mem.live, before);
    if (st != RVM_OK) { assert_int_equal(st, RVM_NO_MEMORY); continue; }
    rvm_program_free(x.p);
    free(x.bytes);
    return;
  }
  fail_msg("still refusing");
}

static void an_arena_is_enough(void **state) {
  (void)state;
  Fix x;
  fix_image(&x, LISTS);
  static _Alignas(64) uint8_t memory[1 << 16];
  rvm_arena arena;
  rvm_alloc a = rvm_arena_alloc(&arena, memory, sizeof memory);
  assert_int_equal(rvm_program_load(x.bytes, x.n, a, &x.p, &x.err), RVM_OK);
  size_t program = arena.used;
  for (int round = 0; round < 3; round++) {
    assert_int_equal(rvm_instance_new(x.p, NULL, a, &x.vm, &x.err), RVM_OK);
    rvm_value v = make_list(&x, 50), r, big[3] = { vector(&x), int_value(&x, 100000), nil(&x) };
    assert_int_equal(rvm_apply(x.vm, entry(&x, "make"), big, &r, &x.err), RVM_NO_MEMORY);
    assert_int_equal(length_of(&x, v), 50);
    rvm_instance_free(x.vm);
    assert_int_equal(arena.used, program);
  }
  rvm_program_free(x.p);
  assert_int_equal(arena.used, 0);
  assert_true(arena.peak <= sizeof memory);
  free(x.bytes);
}

/* Random requests, checked for overlap by their contents. */
static void the_arena_keeps_blocks_apart(void **state) {
  (void)state;
  enum { N = 40 };
  static _Alignas(64) uint8_t memory[20000];
  rvm_arena arena;
  rvm_alloc a = rvm_arena_alloc(&arena, memory + 3, sizeof memory - 3);
  uint8_t *p[N] = { 0 };
  size_t n[N] = { 0 };
  uint32_t seed = 1;
  for (int round = 0; round < 20000; round++) {
    seed = seed * 1664525u + 1013904223u;
    int i = (int)(seed >> 8) % N;
    size_t want = (seed >> 16) % 3 == 0 ? 0 : (seed >> 18) % 1200 + 1;
    uint8_t *q = a.fn(a.user, p[i], n[i], want, i % 3 ? RVM_VALUES : RVM_SCRATCH);
    for (size_t k = 0; q && k < n[i] && k < want; k++) assert_int_equal(q[k], i);
    if (!q && want) continue;                /* refused: the old block stays  */
    assert_int_equal((uintptr_t)q % 64, 0);
    p[i] = q;
    n[i] = want;
    if (q) memset(q, i, want);
  }
  for (int i = 0; i < N; i++)
    if (p[i]) a.fn(a.user, p[i], n[i], 0, i % 3 ? RVM_VALUES : RVM_SCRATCH);
  assert_int_equal(arena.used, 0);
  assert_non_null(a.fn(a.user, NULL, 0, 19000, RVM_VALUES));    /* one hole again */
}

/* Kernel by kernel: scratch, a tensor born beside it, the scratch gone.  Tensors lie
 * side by side, so that 7 of 2048 bytes and scratch of as much fill 16384. */
static void scratch_leaves_no_holes(void **state) {
  (void)state;
  static _Alignas(64) uint8_t memory[16384];
  rvm_arena arena;
  rvm_alloc a = rvm_arena_alloc(&arena, memory, sizeof memory);
  for (int i = 0; i < 7; i++) {
    uint8_t *scratch = a.fn(a.user, NULL, 0, 2048 - 64 * (size_t)(i % 3), RVM_SCRATCH);
    uint8_t *tensor = a.fn(a.user, NULL, 0, 2048, RVM_TENSORS);
    assert_non_null(scratch);
    assert_ptr_equal(tensor, memory + 2048 * i);
    assert_null(a.fn(a.user, scratch, 2048 - 64 * (size_t)(i % 3), 0, RVM_SCRATCH));
  }
  assert_ptr_equal(a.fn(a.user, NULL, 0, 2048, RVM_SCRATCH), memory + 14336); /* all there is */
}

static void a_misaligned_image_loads(void **state) {
  (void)state;
  Fix x;
  fix_image(&x, TENSORS);
  uint8_t *odd = malloc(x.n + 1);
  memcpy(odd + 1, x.bytes, x.n);
  assert_int_equal(rvm_program_load(odd + 1, x.n, x.alloc, &x.p, &x.err), RVM_OK);
  rvm_program_free(x.p);
  odd[1] ^= 1;
  assert_int_equal(rvm_program_load(odd + 1, x.n, x.alloc, &x.p, &x.err), RVM_BAD_IMAGE);
  free(odd);
  free(x.bytes);
  assert_int_equal(x.mem.live, 0);
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
    cmocka_unit_test(a_copied_tensor_does_not_need_its_source),
    cmocka_unit_test(a_field_that_is_retained_outlives_its_owner),
    cmocka_unit_test(a_million_element_list_lives_and_dies),
    cmocka_unit_test(the_host_builds_and_takes_apart_values),
    cmocka_unit_test(a_failed_call_leaves_the_hosts_values_alone),
    cmocka_unit_test(a_shared_tail_survives_a_failure),
    cmocka_unit_test(a_parked_apply_resumes_with_a_value),
    cmocka_unit_test(closures_capture),
    cmocka_unit_test(cycles_of_references_are_collected),
    cmocka_unit_test(kernels_run_on_lent_and_strided_tensors),
    cmocka_unit_test(results_are_the_instances_own),
    cmocka_unit_test(arguments_are_checked_before_anything_runs),
    cmocka_unit_test(scalars_go_into_and_out_of_kernels),
    cmocka_unit_test(faults_say_where_and_why),
    cmocka_unit_test(kernels_cost_fuel),
    cmocka_unit_test(loading_survives_every_refused_allocation),
    cmocka_unit_test(calls_survive_every_refused_allocation),
    cmocka_unit_test(tensor_calls_survive_every_refused_allocation),
    cmocka_unit_test(an_arena_is_enough),
    cmocka_unit_test(the_arena_keeps_blocks_apart),
    cmocka_unit_test(scratch_leaves_no_holes),
    cmocka_unit_test(a_misaligned_image_loads),
  };
  return cmocka_run_group_tests_name("vm", tests, NULL, NULL);
}
