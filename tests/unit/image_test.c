/* image_test.c -- images: file form, text form, verifier.
 *
 * Programs are written in the assembler's text; a verifier test is a body of
 * code and a part of the complaint it must cause.                             */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/text.h"
#include "vm/image.h"
#include "vm/image_format.h"
#include "vm/runtime.h"

/* Refuses the nth request, and knows how much is still out. */
typedef struct { int left; long live; } Stingy;
static void *stingy(void *u, void *old, size_t was, size_t want) {
  Stingy *s = u;
  if (want > was && s->left-- == 0) return NULL;
  s->live += (long)want - (long)was;
  if (want == 0) {
    free(old);
    return NULL;
  }
  return realloc(old, want);
}
static KAlloc generous(Stingy *s) {
  *s = (Stingy){.left = -1};
  return (KAlloc){stingy, s};
}

#define TYPES \
  "image\n" \
  "type t0 = int64\n" \
  "type t1 = bool\n" \
  "type t2 = float32[?]\n" \
  "type t3 = data \"List[Tensor]\" { \"Nil\"() \"Cons\"(t2 t3) [\"head\" \"\"] }\n" \
  "type t4 = fn(t0) t0\n" \
  "type t5 = ref t0\n" \
  "type t6 = tuple \"(int64, Tensor)\" { \"\"(t0 t2) }\n" \
  "type t7 = float32\n" \
  "type t8 = int64[?]\n" \
  "type t9 = float32[2 2]\n" \
  "type t10 = ref t2\n" \
  "type t11 = data \"Void\" { }\n" \
  "type t12 = int32\n" \
  "type t13 = fn(t2) t2\n" \
  "const c0 = t0 0x7\n" \
  "const c1 = t9 [2 2] { 0000803f 00000040 00004040 00008040 }\n" \
  "const c2 = t7 0x3f800000 ; 1.0\n" \
  "kernel @relu(n) {\n" \
  "  in x: f32[n]\n" \
  "  out y: f32[n]\n" \
  "  inout s: i64[]\n" \
  "  for i0 in n parallel {\n" \
  "    y[i0] = max(x[i0], 0:f32)\n" \
  "  }\n" \
  "  s[] = s[] + n\n" \
  "}\n"

/* Every instruction, in functions that verify. */
static const char everything[] = TYPES
  "func f0 \"add\" captures(t0) params(t0) t0 regs 3\n"
  "    add.int64 r2 r0 r1\n"
  "    ret r2\n"
  "end\n"
  "func f1 \"length\" captures() params(t3 t0) t0 regs 5\n"
  "  at \"list.rly\" 3 5\n"
  "    switch r0 [ L1 L2 ]\n"
  "  L1 { r0 t3.0 r1 t0 }\n"
  "    drop r0\n"
  "    ret r1\n"
  "  L2 { r0 t3.1 r1 t0 }\n"
  "  at \"list.rly\" 4 7\n"
  "    imm r2 int64 1\n"
  "    add.int64 r1 r1 r2\n"
  "    field r3 r0 1\n"
  "    drop r0\n"
  "    tailcall f1 [ r3 r1 ]\n"
  "end\n"
  "func f2 \"main\" captures() params(t2 t4) t6 regs 20\n"
  "    dim r2 r0 0\n"
  "    alloc r3 t2 [ r2 ]\n"
  "    const r4 c0\n"
  "    kernel k0 [ r0 r3 r4 ] [ r2 ]\n"
  "    runtime argsort [ r3 ] [ t8 r5 ] [ 0 -1 ]\n"
  "    elem r6 r5 0\n"
  "    drop r5\n"
  "    closure r7 t4 f0 [ r6 ]\n"
  "    callc r8 r7 [ r4 ]\n"
  "    dup r9 r3\n"
  "    data r10 t3 0 [ ]\n"
  "    data r11 t3 1 [ r9 r10 ]\n"
  "    imm r12 int64 0\n"
  "    shell r19 r11\n"
  "    dup r9 r3\n"
  "    data r10 t3 0 [ ]\n"
  "    renew r11 t3 1 r19 [ r9 r10 ]\n"
  "    call r13 f1 [ r11 r12 ]\n"
  "    ref r14 r13 t5\n"
  "    refset r14 r8\n"
  "    refget r13 r14\n"
  "    drop r14\n"
  "    checkeq r13 r8 \"main: \\\"lengths\\\" differ\\x0a\"\n"
  "    checkbc r13 r8 \"broadcast\"\n"
  "    checkge r13 r12 \"negative\"\n"
  "    lt.int64 r15 r12 r13\n"
  "    select r13 r15 r13 r12\n"
  "    cast r16 r13 float32\n"
  "    const r17 c2\n"
  "    view r18 t9 r3 [ r12 r12 ]\n"
  "    drop r18\n"
  "    const r18 c1\n"
  "    drop r18\n"
  "    callc r13 r1 [ r13 ]\n"
  "    reuse r18 t2 r0 [ r2 ]\n"
  "    kernel k0 [ r0 r18 r4 ] [ r2 ]\n"
  "    settle r0 r18\n"
  "    move r0 r18\n"
  "    unless r15 L9\n"
  "    jump L8\n"
  "  L8 { r3 t2 r13 t0 r0 t2 }\n"
  "    drop r0\n"
  "    move r0 r3\n"
  "    data r1 t6 0 [ r13 r0 ]\n"
  "    ret r1\n"
  "  L9 { r3 t2 r0 t2 }\n"
  "    fail \"no luck\"\n"
  "end\n"
  "func f3 \"apply\" captures() params(t4 t0) t0 regs 2\n"
  "    tailcallc r0 [ r1 ]\n"
  "end\n"
  "entry \"main\" f2 (\"x\" \"f\") \"Says all.\"\n"
  "entry \"length\" f1 (\"list\" \"n\") \"\"\n";

/* ---- helpers ------------------------------------------------------------------- */

static uint8_t *assemble(const char *text, size_t *n) {
  Stingy s;
  AsmError e;
  uint8_t *b = image_assemble(text, strlen(text), generous(&s), n, &e);
  if (!b) fail_msg("line %d: %s", e.line, e.why);
  assert_int_equal(s.live, (long)*n);
  return b;
}

/* NULL when the text verifies, else why not. */
static const char *verdict(const char *text) {
  Stingy s;
  size_t n;
  Image m;
  ImageError e;
  bool *launch;
  uint8_t *b = assemble(text, &n);
  KAlloc a = generous(&s);
  if (!image_read(b, n, a, &m, &e)) fail_msg("%s at %llu", e.why, (unsigned long long)e.at);
  bool ok = image_verify(&m, a, &launch, &e);
  if (ok && launch) a.fn(a.user, launch, m.n_kernels, 0);
  image_free(&m, a);
  assert_int_equal(s.live, 0);
  free(b);
  return ok ? NULL : e.why;
}

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

/* ---- file form -------------------------------------------------------------------- */

static void what_is_written_is_read_back(void **state) {
  (void)state;
  Stingy s;
  size_t n, n2;
  Image m;
  ImageError e;
  uint8_t *b = assemble(everything, &n);
  KAlloc a = generous(&s);
  assert_true(image_read(b, n, a, &m, &e));
  assert_int_equal(m.n_types, 14);
  assert_int_equal(m.n_funcs, 4);
  assert_int_equal(m.n_kernels, 1);
  assert_string_equal(m.text + m.entry[0].doc, "Says all.");
  assert_int_equal((uintptr_t)m.data % 8, 0);
  assert_int_equal((size_t)(m.data - b) % 64, 0);
  uint8_t *b2 = image_write(&m, a, &n2);
  assert_int_equal(n, n2);
  assert_memory_equal(b, b2, n);
  a.fn(a.user, b2, n2, 0);
  image_free(&m, a);
  assert_int_equal(s.live, 0);
  free(b);
}

static void a_truncated_image_is_refused(void **state) {
  (void)state;
  size_t n;
  uint8_t *b = assemble(everything, &n);
  for (size_t k = 0; k < n; k++) {
    Stingy s;
    Image m;
    ImageError e;
    uint8_t *cut = malloc(k ? k : 1);        /* exact, so that ASan sees the end */
    memcpy(cut, b, k);
    assert_false(image_read(cut, k, generous(&s), &m, &e));
    assert_non_null(e.why);
    assert_int_equal(s.live, 0);
    free(cut);
  }
  free(b);
}

/* Read and verify; only that nothing breaks is asked. */
static void try_bytes(const uint8_t *b, size_t n) {
  Stingy s;
  Image m;
  ImageError e;
  bool *launch = NULL;
  KAlloc a = generous(&s);
  if (image_read(b, n, a, &m, &e)) {
    if (image_verify(&m, a, &launch, &e)) {
      if (launch) a.fn(a.user, launch, m.n_kernels, 0);
    } else
      assert_non_null(e.why);
    image_free(&m, a);
  } else
    assert_non_null(e.why);
  assert_int_equal(s.live, 0);
}

static void no_changed_byte_breaks_reader_or_verifier(void **state) {
  (void)state;
  static const uint8_t flips[] = {0x01, 0x80, 0xff};
  size_t n;
  uint8_t *b = assemble(everything, &n);
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < sizeof flips; k++) {
      b[i] ^= flips[k];
      try_bytes(b, n);
      b[i] ^= flips[k];
    }
  free(b);
}

static void random_damage_breaks_nothing(void **state) {
  (void)state;
  uint64_t seed = 88172645463325252u;
  size_t n;
  uint8_t *b = assemble(everything, &n), *c = malloc(n);
  for (int round = 0; round < 4000; round++) {
    memcpy(c, b, n);
    for (int k = 0; k <= round % 5; k++) {
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
      c[(seed >> 16) % n] = (uint8_t)(round % 3 ? seed >> 56 : (seed >> 56) % 8);
    }
    try_bytes(c, n);
  }
  free(c);
  free(b);
}

static void an_image_must_be_aligned(void **state) {
  (void)state;
  Stingy s;
  Image m;
  ImageError e;
  size_t n;
  uint8_t *b = assemble(everything, &n), *c = malloc(n + 1);
  memcpy(c + 1, b, n);
  assert_false(image_read(c + 1, n, generous(&s), &m, &e));
  assert_non_null(strstr(e.why, "aligned"));
  free(c);
  free(b);
}

static void every_refused_allocation_is_survived(void **state) {
  (void)state;
  size_t n;
  uint8_t *b = assemble(everything, &n);
  for (int k = 0; k < 100000; k++) {
    Stingy s = {.left = k};
    KAlloc a = {stingy, &s};
    Image m;
    ImageError e;
    bool *launch = NULL, verified = false, read = image_read(b, n, a, &m, &e);
    if (read) verified = image_verify(&m, a, &launch, &e);
    if (verified && launch) a.fn(a.user, launch, m.n_kernels, 0);
    if (read) image_free(&m, a);
    assert_int_equal(s.live, 0);
    if (verified) {
      free(b);
      return;
    }
    assert_true(e.no_memory);
  }
  fail_msg("still refusing");
}

static void writing_and_text_survive_every_refused_allocation(void **state) {
  (void)state;
  for (int k = 0, done = 0; k < 100000 && !done; k++) {
    Stingy s = {.left = k}, s2;
    KAlloc a = {stingy, &s}, free_a = generous(&s2);
    AsmError e;
    size_t n, n_text;
    uint8_t *b = image_assemble(everything, sizeof everything - 1, a, &n, &e);
    if (!b) {
      assert_non_null(strstr(e.why, "memory"));
      assert_int_equal(s.live, 0);
      continue;
    }
    Image m;
    assert_true(image_read(b, n, free_a, &m, NULL));
    char *t = image_text(&m, a, &n_text);
    if (t) a.fn(a.user, t, n_text + 1, 0);
    image_free(&m, free_a);
    a.fn(a.user, b, n, 0);
    assert_int_equal(s.live, 0);
    done = t != NULL;
  }
}

/* ---- text form ---------------------------------------------------------------------- */

static char *text_of(const uint8_t *b, size_t n, bool full) {
  Stingy s;
  Image m;
  size_t k;
  KAlloc a = generous(&s);
  assert_true(image_read(b, n, a, &m, NULL));
  char *t = full ? image_text(&m, a, &k) : image_disasm(&m, a, &k);
  assert_non_null(t);
  assert_int_equal(strlen(t), k);
  image_free(&m, a);
  return t;
}

static void text_reads_back_to_the_same_image(void **state) {
  (void)state;
  size_t n, n2;
  uint8_t *b = assemble(everything, &n);
  char *t = text_of(b, n, true);
  uint8_t *b2 = assemble(t, &n2);
  char *t2 = text_of(b2, n2, true);
  assert_string_equal(t, t2);
  assert_int_equal(n, n2);
  assert_memory_equal(b, b2, n);
  free(b);
  free(b2);
  free(t);
  free(t2);
}

static void a_large_constant_is_shortened_only_in_disasm(void **state) {
  (void)state;
  char text[4096] = "image\ntype t0 = uint8[20]\nconst c0 = t0 [20] { ";
  for (int i = 0; i < 20; i++) strcat(text, "2a ");
  strcat(text, "}\n");
  size_t n;
  uint8_t *b = assemble(text, &n);
  char *shorter = text_of(b, n, false), *full = text_of(b, n, true);
  Stingy s;
  AsmError e;
  assert_non_null(strstr(shorter, "{ ... }"));
  assert_null(image_assemble(shorter, strlen(shorter), generous(&s), &n, &e));
  assert_int_equal(e.line, 3);
  assert_non_null(strstr(e.why, "shortened"));
  uint8_t *b2 = assemble(full, &n);
  assert_memory_equal(b, b2, n);
  free(b);
  free(b2);
  free(shorter);
  free(full);
}

static void mistakes_in_text_are_reported_with_their_line(void **state) {
  (void)state;
  static const struct { const char *text; int line; const char *why; } bad[] = {
    {"imag", 1, "expected 'image'"},
    {"image\nfoo", 2, "expected type, const"},
    {"image\ntype t1 = bool", 2, "t1 comes where t0 should"},
    {"image\ntype t0 = float31", 2, "expected a type"},
    {"image\nfunc f0 \"f\" captures() params() t0 regs 1\n jum L1\nend", 3, "unknown instruction"},
    {"image\nfunc f0 \"f\" captures() params() t0 regs 1\n jump L1\nend", 3, "no L1"},
    {"image\nfunc f0 \"f\" captures() params() t0 regs 1\n", 3, "does not end"},
    {"image\nfunc f0 \"f\" captures() params() t0 regs 1\n L1 { }\n\n L1 { }\nend", 5, "twice"},
    {"image\nfunc f0 \"f captures", 2, "string does not end"},
    {"image\nfunc f0 \"f\\q\"", 2, "escape"},
    {"image\nfunc f0 \"f\" captures() params() t0 regs 1\n drop r65536\nend", 3, "too large"},
    {"image\nfunc f0 \"f\" captures() params() t0 regs 1\n runtime nothing [ ] [ ] [ ]\nend", 3,
     "unknown runtime kernel"},
    {"image\nconst c0 = t0 99999999999999999999", 2, "a number"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    Stingy s;
    AsmError e;
    size_t n;
    assert_null(image_assemble(bad[i].text, strlen(bad[i].text), generous(&s), &n, &e));
    if (!strstr(e.why, bad[i].why)) fail_msg("'%s' instead of '%s'", e.why, bad[i].why);
    assert_int_equal(e.line, bad[i].line);
    assert_int_equal(s.live, 0);
  }
}

static void damaged_text_never_breaks_the_assembler(void **state) {
  (void)state;
  uint64_t seed = 2463534242u;
  size_t n = sizeof everything - 1, k;
  char *t = malloc(n);
  for (int round = 0; round < 3000; round++) {
    Stingy s;
    memcpy(t, everything, n);
    for (int i = 0; i <= round % 3; i++) {
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
      t[(seed >> 20) % n] = (round & 1) ? t[(seed >> 40) % n] : (char)(seed >> 56);
    }
    KAlloc a = generous(&s);
    uint8_t *b = image_assemble(t, round % 4 ? n : (seed >> 8) % n, a, &k, NULL);
    if (b) {
      try_bytes(b, k);
      a.fn(a.user, b, k, 0);
    }
    assert_int_equal(s.live, 0);
  }
  free(t);
}

/* ---- verifier -------------------------------------------------------------------------- */

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

/* ---- tables and documents ------------------------------------------------------------------ */

static void runtime_kernels_are_found_by_name(void **state) {
  (void)state;
  for (int i = 0; i < RT_COUNT; i++) assert_int_equal(rt_find(rt_info[i].name), i);
  assert_int_equal(rt_find("nonsense"), -1);
}

static char *read_file(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f) fail_msg("cannot open %s", path);
  char *p = calloc(1, 1 << 18);
  size_t n = fread(p, 1, (1 << 18) - 1, f);
  assert_true(n > 0);
  fclose(f);
  return p;
}

static void the_manual_lists_every_instruction_and_runtime_kernel(void **state) {
  (void)state;
  char *doc = read_file(RVM_SOURCE_DIR "/docs/bytecode.md"), row[600];
  for (int i = 0; i < OP_COUNT; i++) {
    snprintf(row, sizeof row, "| `%s` | `%s` | %s |", op_info[i].name, op_info[i].form,
             op_info[i].doc);
    if (!strstr(doc, row)) fail_msg("docs/bytecode.md lacks or differs in: %s", row);
  }
  for (int i = 0; i < RT_COUNT; i++) {
    snprintf(row, sizeof row, "| `%s` | `%s` | `%s` | %d |", rt_info[i].name, rt_info[i].in,
             rt_info[i].out, rt_info[i].n_numbers);
    if (!strstr(doc, row)) fail_msg("docs/bytecode.md lacks or differs in: %s", row);
  }
  free(doc);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_written_is_read_back),
    cmocka_unit_test(a_truncated_image_is_refused),
    cmocka_unit_test(no_changed_byte_breaks_reader_or_verifier),
    cmocka_unit_test(random_damage_breaks_nothing),
    cmocka_unit_test(an_image_must_be_aligned),
    cmocka_unit_test(every_refused_allocation_is_survived),
    cmocka_unit_test(writing_and_text_survive_every_refused_allocation),
    cmocka_unit_test(text_reads_back_to_the_same_image),
    cmocka_unit_test(a_large_constant_is_shortened_only_in_disasm),
    cmocka_unit_test(mistakes_in_text_are_reported_with_their_line),
    cmocka_unit_test(damaged_text_never_breaks_the_assembler),
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
    cmocka_unit_test(runtime_kernels_are_found_by_name),
    cmocka_unit_test(the_manual_lists_every_instruction_and_runtime_kernel),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
