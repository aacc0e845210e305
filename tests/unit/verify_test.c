/* verify_test.c -- the verifier: a test is a body of code and a part of the complaint
 * it must cause. */
#include "tests/unit/image_programs.h"

/* The body as a function of (tensor, list, closure, ref, tuple, int64, bool). */
static const char *verdict_of_body(const char *body) {
  char text[8192];
  const char *brace = strrchr(body, '}');    /* a label needs code behind it   */
  snprintf(text, sizeof text,
           "%sfunc f0 \"f\" captures() params(t2 t3 t4 t5 t6 t0 t1) t0 regs 12\n%s%send\n", TYPES,
           body, brace && strlen(brace) == 2 ? "fail \"\"\n" : "");
  return verdict(text);
}

#define DROP_ALL "drop r0\ndrop r1\ndrop r2\ndrop r3\ndrop r4\n"

static void refused(const char *body, const char *why) {
  const char *said = verdict_of_body(body);
  if (!said) fail_msg("accepted, should say '%s':\n%s", why, body);
  if (!strstr(said, why)) fail_msg("'%s' instead of '%s':\n%s", said, why, body);
}

static void a_good_program_is_accepted(void **state) {
  (void)state;
  const char *why = verdict(everything);
  if (why) fail_msg("%s", why);
  why = verdict_of_body(DROP_ALL "ret r5\n");
  if (why) fail_msg("%s", why);
}

static void references_are_neither_lost_nor_doubled(void **state) {
  (void)state;
  refused("ret r5\n", "still owns");
  refused("drop r0\n" DROP_ALL "ret r5\n", "empty register");
  refused("dup r7 r0\n" DROP_ALL "ret r5\n", "still owns");
  refused("move r7 r0\ndrop r0\n" DROP_ALL, "empty register");
  refused("move r1 r0\n", "overwritten");
  refused("imm r0 int64 1\n", "overwritten");
  refused("data r8 t3 0 [ ]\ndata r7 t3 1 [ r0 r8 ]\n" DROP_ALL, "empty register");
  refused("call r7 f0 [ r0 r1 r2 r3 r4 r5 r6 ]\ndrop r0\n", "empty register");
  refused("tailcallc r2 [ r5 ]\n", "still owns");
  refused("drop r1\nunless r6 L1\nL1 { r0 t2 r5 t0 }\n", "lost on the way");
  refused("unless r6 L1\ndrop r0\njump L1\nL1 { r0 t2 r1 t3 r2 t4 r3 t5 r4 t6 }\n", "empty here");
}

static void labels_and_jumps_must_agree(void **state) {
  (void)state;
  refused("jump L1\nL1 { r0 t8 }\n", "another type");
  refused("jump L1\nL1 { r0 t2 r0 t2 }\n", "listed twice");
  refused("jump L1\nL1 { r40 t2 }\n", "label: a register");
  refused("jump L1\nL1 { r0 t99 }\n", "label: a register or type");
  refused("jump L1\nL1 { r0 t2.0 }\n", "no such constructor");
  refused("jump L1\nL1 { r0 t2 r1 t3.1 r2 t4 r3 t5 r4 t6 }\n", "constructor that is not known");
  refused(DROP_ALL "jump L1\ndrop r5\nL1 { }\n", "needs a label");
  refused(DROP_ALL, "end of the code");
  refused("", "end of the code");
  refused(DROP_ALL "jump L1\nL1 { }\nret r5\n", "empty register");
  assert_null(verdict_of_body(DROP_ALL "L1 { r5 t0 r6 t1 }\nunless r6 L1\nret r5\n"));
}

static void instructions_check_their_operands(void **state) {
  (void)state;
  refused("drop r12\n", "register is out of range");
  refused("const r7 c9\n", "constant is out of range");
  refused("imm r7 float32 1\n", "not an integer");
  refused("imm r7 bool 2\n", "not a value");
  refused("imm r7 uint8 -1\n", "not a value");
  refused("unless r5 L1\nL1 { }\n", "not a bool");
  refused("switch r5 [ ]\n", "not a data value");
  refused("L1 { r1 t3 }\nswitch r1 [ L1 ]\n", "lost on the way");
  refused("call r7 f7 [ ]\n", "function is out of range");
  refused("call r7 f0 [ r0 ]\n", "do not fit");
  refused("callc r7 r0 [ r5 ]\n", "not a closure");
  refused("callc r7 r2 [ r6 ]\n", "do not fit");
  refused("data r7 t0 0 [ ]\n", "not a data type");
  refused("data r7 t3 2 [ ]\n", "no such constructor");
  refused("data r7 t3 1 [ r0 ]\n", "fields do not fit");
  refused("data r7 t11 0 [ ]\n", "no such constructor");
  refused("field r7 r1 0\n", "constructor is not known");
  refused("field r7 r4 2\n", "no such field");
  refused("field r7 r0 0\n", "not a data value");
  refused("closure r7 t0 f0 [ ]\n", "not a closure type");
  refused("closure r7 t4 f0 [ ]\n", "not of the closure's type");
  refused("ref r7 r5 t10\n", "another type");
  refused("ref r7 r5 t0\n", "not a reference type");
  refused("refget r7 r0\n", "not a reference cell");
  refused("refset r3 r6\n", "another type");
  refused("dim r7 r0 1\n", "no such axis");
  refused("dim r7 r5 0\n", "not a tensor");
  refused("alloc r7 t0 [ ]\n", "not a tensor type");
  refused("alloc r7 t2 [ ]\n", "one extent per axis");
  refused("alloc r7 t2 [ r6 ]\n", "not an int64");
  refused("view r7 t8 r0 [ r5 ]\n", "another dtype");
  refused("elem r7 r5 0\n", "not a tensor");
  refused("select r7 r5 r5 r5\n", "not a bool");
  refused("select r7 r6 r5 r6\n", "two types");
  refused("select r7 r6 r0 r0\n", "not a scalar");
  refused("cast r7 r0 int32\n", "not a scalar");
  refused("checkeq r5 r6 \"\"\n", "not an int64");
  refused("add.int32 r7 r5 r5\n", "another dtype");
  refused("add.bool r7 r6 r6\n", "dtype does not have");
  refused("sqrt.int64 r7 r5\n", "dtype does not have");
  refused("ret r6\n", "another type");
  refused("ret r7\n", "empty register");
}

static void kernels_write_only_to_fresh_tensors(void **state) {
  (void)state;
  refused("kernel k0 [ r0 r0 r5 ] [ r5 ]\n", "others may see");
  refused("const r7 c1\nkernel k0 [ r0 r7 r5 ] [ r5 ]\n", "others may see");
  refused("alloc r7 t2 [ r5 ]\ndup r8 r7\nkernel k0 [ r0 r7 r5 ] [ r5 ]\n", "others may see");
  refused("alloc r7 t2 [ r5 ]\nview r8 t2 r7 [ r5 ]\nkernel k0 [ r0 r7 r5 ] [ r5 ]\n", "may see");
  refused("alloc r7 t2 [ r5 ]\nkernel k0 [ r7 r7 r5 ] [ r5 ]\n", "two buffers");
  refused("alloc r7 t8 [ r5 ]\nkernel k0 [ r0 r7 r5 ] [ r5 ]\n", "another dtype");
  refused("alloc r7 t2 [ r5 ]\nkernel k0 [ r0 r7 r6 ] [ r5 ]\n", "scalar does not fit");
  refused("alloc r7 t2 [ r5 ]\nkernel k0 [ r0 r7 ] [ r5 ]\n", "number of buffers");
  refused("alloc r7 t2 [ r5 ]\nkernel k0 [ r0 r7 r5 ] [ ]\n", "number of symbols");
  refused("alloc r7 t2 [ r5 ]\nkernel k0 [ r0 r7 r5 ] [ r6 ]\n", "symbol is not");
  refused("runtime sort [ r5 ] [ t2 r7 ] [ 0 1 ]\n", "input does not fit");
  refused("runtime argsort [ r0 ] [ t2 r7 ] [ 0 1 ]\n", "output does not fit");
  refused("runtime sort [ r0 ] [ t2 r7 ] [ 0 ]\n", "number of operands");
  refused("runtime sort [ r0 ] [ t2 r1 ] [ 0 1 ]\n", "overwritten");
  assert_null(verdict_of_body("alloc r7 t9 [ r5 r5 ]\nmove r8 r7\nkernel k0 [ r0 r8 r5 ] [ r5 ]\n"
                              "drop r8\n" DROP_ALL "ret r5\n"));
}

/* What is bound by REUSE has two names until SETTLE: nothing may see it change. */
static void reuse_is_only_for_kernels_in_place(void **state) {
  (void)state;
#define BIND "reuse r7 t2 r0 [ r5 ]\n"
#define RUN "kernel k0 [ r0 r7 r5 ] [ r5 ]\n"
  static const struct { const char *text, *why; } bad[] = {
    {"reuse r7 t0 r0 [ ]\n", "not a tensor type"},
    {"reuse r7 t2 r5 [ r5 ]\n", "not a tensor"},
    {"reuse r7 t2 r0 [ ]\n", "one extent per axis"},
    {"reuse r7 t2 r0 [ r6 ]\n", "not an int64"},
    {"reuse r7 t8 r0 [ r5 ]\n", "another dtype"},
    {"reuse r0 t2 r0 [ r5 ]\n", "overwritten"},
    {BIND "reuse r8 t2 r0 [ r5 ]\n", "bound by REUSE"},
    {BIND "reuse r8 t2 r7 [ r5 ]\n", "bound by REUSE"},
    {BIND "dup r8 r0\n", "bound by REUSE"},
    {BIND "dup r8 r7\n", "bound by REUSE"},
    {BIND "move r8 r7\n", "bound by REUSE"},
    {BIND "drop r0\n", "bound by REUSE"},
    {BIND "drop r7\n", "bound by REUSE"},
    {BIND "view r8 t2 r7 [ r5 ]\n", "bound by REUSE"},
    {BIND "elem r8 r0 0\n", "bound by REUSE"},
    {BIND "dim r8 r0 0\n", "bound by REUSE"},
    {BIND "runtime sort [ r0 ] [ t2 r8 ] [ 0 1 ]\n", "bound by REUSE"},
    {BIND "unless r6 L3\nL3 { r0 t2 r7 t2 r5 t0 r6 t1 r1 t3 r2 t4 r3 t5 r4 t6 }\n", "not settled"},
    {BIND RUN "jump L4\nL4 { r7 t2 }\n", "not settled"},
    {BIND RUN DROP_ALL, "bound by REUSE"},
    {BIND RUN "ret r5\n", "still owns"},
    {BIND RUN "kernel k0 [ r0 r7 r5 ] [ r5 ]\n", "may have been overwritten"},
    {BIND RUN "alloc r8 t2 [ r5 ]\nkernel k0 [ r0 r8 r5 ] [ r5 ]\n", "may have been overwritten"},
    {BIND RUN "alloc r8 t2 [ r5 ]\nkernel k0 [ r7 r8 r5 ] [ r5 ]\n", "reads a tensor made by REUSE"},
    {BIND "kernel k0 [ r7 r0 r5 ] [ r5 ]\n", "may see"},
    {"alloc r8 t2 [ r5 ]\nreuse r7 t2 r8 [ r5 ]\nkernel k0 [ r0 r8 r5 ] [ r5 ]\n",
     "writes to a tensor that is reused"},
    {BIND RUN "settle r7 r0\n", "not the registers"},
    {BIND RUN "settle r0 r1\n", "not the registers"},
    {BIND RUN "settle r0 r7\nsettle r0 r7\n", "not the registers"},
    {"settle r0 r0\n", "not the registers"},
    {"settle r5 r5\n", "not the registers"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refused(bad[i].text, bad[i].why);
  assert_null(verdict_of_body(BIND RUN "settle r0 r7\nmove r0 r7\n" DROP_ALL "ret r5\n"));
  /* as many as there are kernels that only read the old one, before */
  assert_null(verdict_of_body(BIND "alloc r8 t2 [ r5 ]\nkernel k0 [ r0 r8 r5 ] [ r5 ]\ndrop r8\n" RUN
                              "settle r0 r7\nmove r0 r7\n" DROP_ALL "ret r5\n"));
}

/* r4 is a pair, r1 a list; a shell is only for RENEW, in the same block. */
static void shells_become_cells_of_their_size(void **state) {
  (void)state;
#define SHELL "shell r7 r4\n"
  static const struct { const char *text, *why; } bad[] = {
    {"shell r7 r0\n", "not a cell"},
    {"shell r7 r5\n", "not a cell"},
    {"shell r7 r1\n", "not a cell of a known constructor"},
    {"data r8 t3 0 [ ]\nshell r7 r8\n", "not a cell"},
    {"shell r0 r4\n", "overwritten"},
    {SHELL "drop r4\n", "empty register"},
    {SHELL "drop r7\n", "a shell is used"},
    {SHELL "dup r8 r7\n", "a shell is used"},
    {SHELL "move r8 r7\n", "a shell is used"},
    {SHELL "field r8 r7 0\n", "a shell is used"},
    {SHELL "data r8 t6 0 [ r5 r7 ]\n", "a shell is used"},
    {SHELL "jump L2\nL2 { r0 t2 r1 t3 r2 t4 r3 t5 r7 t6 }\n", "a shell reaches a label"},
    {SHELL "jump L2\nL2 { r0 t2 r1 t3 r2 t4 r3 t5 }\n", "lost on the way"},
    {SHELL "drop r0\ndrop r1\ndrop r2\ndrop r3\nret r5\n", "still owns"},
    {SHELL "renew r8 t0 0 r7 [ r5 r0 ]\n", "not a data type"},
    {SHELL "renew r8 t3 2 r7 [ r0 r1 ]\n", "no such constructor"},
    {SHELL "renew r8 t3 0 r7 [ ]\n", "another number of fields"},
    {SHELL "renew r8 t3 1 r7 [ r5 r0 ]\n", "do not fit"},
    {SHELL "renew r8 t3 1 r7 [ r0 ]\n", "do not fit"},
    {SHELL "renew r8 t3 1 r9 [ r0 r1 ]\n", "empty register"},
    {"renew r8 t6 0 r4 [ r5 r0 ]\n", "not a shell"},
    {SHELL "renew r8 t6 0 r7 [ r5 r0 ]\nrenew r9 t3 1 r7 [ r0 r1 ]\n", "empty register"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refused(bad[i].text, bad[i].why);
  assert_null(verdict_of_body(SHELL "renew r8 t3 1 r7 [ r0 r1 ]\ndrop r8\ndrop r2\ndrop r3\nret r5\n"));
}

static void reuse_needs_a_kernel_that_works_in_place(void **state) {
  (void)state;
#define SHIFT \
  "kernel @shift(n) {\n  in x: f32[n]\n  out y: f32[n]\n  for i in n parallel {\n" \
  "    y[i] = x[n - 1 - i]\n  }\n}\n"
  static const char code[] =
      "func f0 \"f\" captures() params(t2 t0) t2 regs 3\n  reuse r2 t2 r0 [ r1 ]\n"
      "  kernel k1 [ r0 r2 ] [ r1 ]\n  settle r0 r2\n  ret r2\nend\n";
  char text[4096];
  snprintf(text, sizeof text, "%s%s%s", TYPES, SHIFT, code);
  assert_string_equal(verdict(text), "KERNEL: cannot be done in place");
}

static void tables_are_checked(void **state) {
  (void)state;
  static const struct { const char *text, *why; } bad[] = {
    {"image\ntype t0 = ref t1\n", "result out of range"},
    {"image\ntype t0 = fn(t7) t0\n", "a type is out of range"},
    {"image\ntype t0 = tuple \"\" { \"\"() \"\"() }\n", "one constructor"},
    {"image\ntype t0 = data \"\" { \"A\"(t0 t0) [\"one\"] }\n", "names of fields"},
    {"image\ntype t0 = int8[1 1 1 1 1 1 1 1 1]\n", "rank"},
    {"image\ntype t0 = bool\nconst c0 = t0 2\n", "not a value"},
    {"image\ntype t0 = int8\nconst c0 = t0 255\n", "not a value"},
    {"image\ntype t0 = float32\nconst c0 = t0 0x100000000\n", "not a value"},
    {"image\ntype t0 = bool[2]\nconst c0 = t0 [2] { 01 02 }\n", "neither 0 nor 1"},
    {"image\ntype t0 = int8[2]\nconst c0 = t0 [3] { 01 02 03 }\n", "differ from the type"},
    {"image\ntype t0 = int8[?]\nconst c0 = t0 [3] { 01 02 }\n", "number of bytes"},
    {"image\ntype t0 = ref t0\nconst c0 = t0 0\n", "neither scalar nor tensor"},
    {"image\ntype t0 = int8\nfunc f0 \"\" captures() params(t0) t0 regs 0\nend\n", "registers"},
    {"image\ntype t0 = int8\nfunc f0 \"\" captures() params(t0) t3 regs 1\nend\n", "result type"},
    {"image\nentry \"x\" f0 () \"\"\n", "entry: the function"},
    {"image\ntype t0 = int8\nfunc f0 \"\" captures(t0) params() t0 regs 1\nret r0\nend\n"
     "entry \"x\" f0 () \"\"\n", "captures"},
    {"image\ntype t0 = int8\nfunc f0 \"\" captures() params(t0) t0 regs 1\nret r0\nend\n"
     "entry \"x\" f0 () \"\"\n", "parameter names"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const char *why = verdict(bad[i].text);
    if (!why || !strstr(why, bad[i].why))
      fail_msg("'%s' instead of '%s'", why ? why : "accepted", bad[i].why);
  }
}

static void unused_operands_are_zero(void **state) {
  (void)state;
  Stingy s;
  size_t n;
  Image m;
  ImageError e;
  KAlloc a = generous(&s);
  uint8_t *b = assemble(everything, &n);
  assert_true(image_read(b, n, a, &m, NULL));
  uint32_t ret = m.func[0].code + 1;
  assert_int_equal(m.code[ret].op, OP_RET);
  m.code[ret].c = 1;
  assert_false(image_verify(&m, a, NULL, &e));
  assert_int_equal(e.func, 0);
  assert_int_equal(e.pc, 1);
  assert_non_null(strstr(e.why, "unused"));
  image_free(&m, a);
  free(b);
}

/* Chains of jumps to a label with many registers cost edges times registers. */
static void verification_is_bounded(void **state) {
  (void)state;
  enum { REGS = 30000, JUMPS = 10000 };
  size_t cap = 1 << 21, at;
  char *t = malloc(cap);
  at = (size_t)snprintf(t, cap, "image\ntype t0 = bool\nfunc f0 \"\" captures() params(t0) t0 regs "
                                "65000\nunless r0 L1\nret r0\nL1 { r0 t0 }\n");
  for (int i = 1; i < REGS; i++) at += (size_t)snprintf(t + at, cap - at, "move r%d r0\n", i);
  for (int i = 0; i < JUMPS; i++) at += (size_t)snprintf(t + at, cap - at, "unless r0 L2\n");
  at += (size_t)snprintf(t + at, cap - at, "L2 {");
  for (int i = 0; i < REGS; i++) at += (size_t)snprintf(t + at, cap - at, " r%d t0", i);
  snprintf(t + at, cap - at, "}\nret r0\nend\n");
  const char *why = verdict(t);
  assert_non_null(why);
  assert_non_null(strstr(why, "intricate"));
  free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_good_program_is_accepted),
      cmocka_unit_test(references_are_neither_lost_nor_doubled),
      cmocka_unit_test(labels_and_jumps_must_agree),
      cmocka_unit_test(instructions_check_their_operands),
      cmocka_unit_test(kernels_write_only_to_fresh_tensors),
      cmocka_unit_test(reuse_is_only_for_kernels_in_place),
      cmocka_unit_test(shells_become_cells_of_their_size),
      cmocka_unit_test(reuse_needs_a_kernel_that_works_in_place),
      cmocka_unit_test(tables_are_checked),
      cmocka_unit_test(unused_operands_are_zero),
      cmocka_unit_test(verification_is_bounded),
  };
  return cmocka_run_group_tests_name("verifier", tests, NULL, NULL);
}
