/* vm_programs.h -- programs as image text for tests of the runtime: values of
 * data types, and tensors through kernels; with what makes arguments for them. */
#ifndef RVM_TESTS_VM_PROGRAMS_H
#define RVM_TESTS_VM_PROGRAMS_H
#include "tests/unit/vm_harness.h"

#define INTS "image\ntype t0 = int64\ntype t1 = bool\n"

/* ---- lists, closures, references ------------------------------------------------- */
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

static inline rvm_value int_value(Fix *x, int64_t v) {
  rvm_value out;
  DLTensor t = TENSOR(0, 64, 0, NULL, &v);
  assert_int_equal(rvm_value_tensor(x->vm, T_INT, &t, &out, &x->err), RVM_OK);
  return out;
}
static inline rvm_value nil(Fix *x) {
  rvm_value out;
  assert_int_equal(rvm_value_data(x->vm, T_LIST, 0, 0, NULL, &out, &x->err), RVM_OK);
  return out;
}
static float three[3] = { 1, 2, 3 };
static inline rvm_value vector(Fix *x) {
  rvm_value out;
  int64_t n = 3;
  DLTensor t = TENSOR(2, 32, 1, &n, three);
  assert_int_equal(rvm_value_tensor(x->vm, T_VEC, &t, &out, &x->err), RVM_OK);
  return out;
}
static inline int64_t length_of(Fix *x, rvm_value list) {
  rvm_value r, args[2] = { list, int_value(x, 0) };
  assert_int_equal(rvm_apply(x->vm, entry(x, "length"), args, &r, &x->err), RVM_OK);
  return (int64_t)r.bits;
}
static inline rvm_value make_list(Fix *x, int64_t n) {
  rvm_value r, args[3] = { vector(x), int_value(x, n), nil(x) };
  assert_int_equal(rvm_apply(x->vm, entry(x, "make"), args, &r, &x->err), RVM_OK);
  return r;
}

/* ---- tensors ------------------------------------------------------------------------ */
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
#endif
