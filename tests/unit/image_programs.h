/* image_programs.h -- programs in the assembler's text, for tests of images and of
 * the verifier. */
#ifndef RVM_TESTS_IMAGE_PROGRAMS_H
#define RVM_TESTS_IMAGE_PROGRAMS_H
#include <stdio.h>
#include <stdlib.h>
#include "tests/unit/test.h"
#include "kernel/text.h"
#include "vm/image.h"

/* Refuses the nth request, and knows how much is still out. */
typedef struct { int left; long live; } Stingy;
static inline void *stingy(void *u, void *old, size_t was, size_t want) {
  Stingy *s = u;
  if (want > was && s->left-- == 0) return NULL;
  s->live += (long)want - (long)was;
  if (want == 0) {
    free(old);
    return NULL;
  }
  return realloc(old, want);
}
static inline KAlloc generous(Stingy *s) {
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

static inline uint8_t *assemble(const char *text, size_t *n) {
  Stingy s;
  AsmError e;
  uint8_t *b = image_assemble(text, strlen(text), generous(&s), n, &e);
  if (!b) fail_msg("line %d: %s", e.line, e.why);
  assert_int_equal(s.live, (long)*n);
  return b;
}

/* NULL when the text verifies, else why not. */
static inline const char *verdict(const char *text) {
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
#endif
