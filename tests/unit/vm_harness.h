/* vm_harness.h -- for tests of the interpreter: programs from image text, an
 * allocator that counts and refuses, tensors in one line.                    */
#ifndef RVM_TESTS_VM_HARNESS_H
#define RVM_TESTS_VM_HARNESS_H
#include "tests/unit/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rvm/rvm.h>
#include "kernel/interp.h"
#include "vm/image.h"

/* Refuses the nth request that grows (left < 0: none), and knows how many
 * bytes are out. */
typedef struct { long left, live; } Stingy;

static inline void *stingy_fn(void *u, void *old, size_t was, size_t want, rvm_kind kind) {
  Stingy *s = u;
  (void)kind;
  if (want > was && s->left >= 0 && s->left-- == 0) return NULL;
  s->live += (long)want - (long)was;
  if (want == 0) { free(old); return NULL; }
  void *p = aligned_alloc(64, (want + 63) & ~(size_t)63);
  assert_non_null(p);
  memset(p, 0xa5, want);                     /* nobody may count on zeros     */
  if (old) memcpy(p, old, was < want ? was : want);
  free(old);
  return p;
}

static inline void *plain_fn(void *u, void *old, size_t was, size_t want) {
  (void)u, (void)was;
  if (want == 0) { free(old); return NULL; }
  return realloc(old, want);
}

typedef struct {
  Stingy mem;
  rvm_alloc alloc;
  uint8_t *bytes;  size_t n;
  rvm_program *p;
  rvm_instance *vm;
  rvm_error err;
} Fix;

static inline void fix_image(Fix *x, const char *text) {
  KAlloc a = { plain_fn, NULL };
  AsmError e;
  *x = (Fix){ .mem = { -1, 0 } };
  x->alloc = (rvm_alloc){ stingy_fn, &x->mem };
  x->bytes = image_assemble(text, strlen(text), a, &x->n, &e);
  if (!x->bytes) fail_msg("line %d: %s", e.line, e.why);
}

static inline void fix_begin_limits(Fix *x, const char *text, const rvm_limits *lim) {
  fix_image(x, text);
  if (rvm_program_load(x->bytes, x->n, x->alloc, &x->p, &x->err) != RVM_OK)
    fail_msg("%s (func %u pc %u)", x->err.message, x->err.func, x->err.pc);
  assert_int_equal(rvm_instance_new(x->p, lim, x->alloc, &x->vm, &x->err), RVM_OK);
}
static inline void fix_begin(Fix *x, const char *text) { fix_begin_limits(x, text, NULL); }

static inline void fix_end(Fix *x) {
  rvm_instance_free(x->vm);
  rvm_program_free(x->p);
  free(x->bytes);
  assert_int_equal(x->mem.live, 0);
}

static inline rvm_func entry(const Fix *x, const char *name) {
  rvm_func f = 0;
  assert_int_equal(rvm_program_find(x->p, name, &f, NULL), RVM_OK);
  return f;
}

/* A compact tensor over the caller's memory. */
#define TENSOR(code_, bits_, rank_, shape_, data_) \
  (DLTensor){ .data = (data_), .device = { 1, 0 }, .ndim = (rank_), \
              .dtype = { (code_), (bits_), 1 }, .shape = (shape_) }
#define SHAPE(...) ((int64_t[]){ __VA_ARGS__ })
#define F32(rank, shape, ...) TENSOR(2, 32, rank, shape, ((float[]){ __VA_ARGS__ }))
#define I32(rank, shape, ...) TENSOR(0, 32, rank, shape, ((int32_t[]){ __VA_ARGS__ }))
#define I64(rank, shape, ...) TENSOR(0, 64, rank, shape, ((int64_t[]){ __VA_ARGS__ }))

/* Calls an entry of int64 scalars. */
static inline rvm_status call_ints(Fix *x, const char *name, int n, const int64_t *args,
                                   int64_t *out) {
  DLTensor in[8], o = { 0 };
  const DLTensor *pin[8];
  DLTensor *po[1] = { &o };
  for (int i = 0; i < n; i++) {
    in[i] = TENSOR(0, 64, 0, NULL, (void *)(uintptr_t)&args[i]);
    pin[i] = &in[i];
  }
  rvm_status st = rvm_call(x->vm, entry(x, name), pin, po, &x->err);
  if (st == RVM_OK) *out = *(int64_t *)o.data;
  return st;
}
#endif
