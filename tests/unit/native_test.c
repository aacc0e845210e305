/* native_test.c -- compiled programs against every test of the interpreter: the
 * calls that load and free a program also compile it.  And damaged objects.   */
#include <stddef.h>

#ifdef RVM_HAVE_LLVM
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <rvm/rvm.h>
#include "codegen/llvm/llvm.h"
#include "codegen/native/code.h"
#include "vm/program.h"

enum { MOST = 64 };
static struct { rvm_program *p; NativeCode *code; } loaded[MOST];

static void *compiled(const void *image, size_t n, size_t *bytes, const char **why) {
  void *copy = malloc(n + 1); /* aligned, whatever the image is */
  memcpy(copy, image, n);
  void *code = llvm_compile(&(LlvmOptions){ .level = 1, .functions = true }, copy, n, bytes, why);
  free(copy);
  return code;
}

static rvm_status load_compiled(const void *image, size_t n, rvm_alloc a, rvm_program **out,
                                rvm_error *err) {
  const char *why = NULL;
  size_t bytes;
  rvm_status st = rvm_program_load(image, n, a, out, err);
  if (st != RVM_OK) return st;
  void *code = compiled(image, n, &bytes, &why);
  for (int i = 0; code && i < MOST; i++)
    if (!loaded[i].p) {
      loaded[i].code = code_load(*out, code, bytes, &why);
      if (loaded[i].code && code_whole(loaded[i].code)) {
        loaded[i].p = *out;
        free(code);
        return RVM_OK;
      }
    }
  strncpy(err->message, why, sizeof err->message - 1);
  return RVM_BAD_IMAGE;
}

static void free_compiled(rvm_program *p) {
  rvm_program_free(p);
  for (int i = 0; p && i < MOST; i++)
    if (loaded[i].p == p) {
      code_free(loaded[i].code);
      loaded[i].p = NULL;
    }
}

#define rvm_program_load load_compiled
#define rvm_program_free free_compiled
#define main vm_tests
#include "tests/unit/vm_test.c"
#undef main
#define main value_tests
#include "tests/unit/vm_value_test.c"
#undef main
#define main memory_tests
#include "tests/unit/vm_memory_test.c"
#undef main
#undef rvm_program_load
#undef rvm_program_free

/* An object with a byte changed, or cut, is refused or loaded; never worse. */
static void damaged_code_is_refused_or_loads(void **state) {
  (void)state;
  Fix x;
  const char *why = NULL;
  size_t n;
  fix_image(&x, COUNTDOWN);
  assert_int_equal(rvm_program_load(x.bytes, x.n, x.alloc, &x.p, &x.err), RVM_OK);
  uint8_t *code = compiled(x.bytes, x.n, &n, &why), *copy = malloc(n + 1);
  uint32_t refused = 0;
  assert_non_null(code);
  for (size_t i = 0; i < 3 * n; i++) {
    memcpy(copy, code, n);
    size_t cut = i >= 2 * n ? i - 2 * n : n;
    if (i < 2 * n) copy[i / 2] ^= i % 2 ? 0xff : (uint8_t)(1u << (i / 2 % 8));
    NativeCode *c = code_load(x.p, copy, cut, &why);
    refused += c == NULL;
    code_free(c);
  }
  assert_true(refused > n); /* every cut, and much of what holds it together */
  free(copy);
  free(code);
  x.p->engine = NULL;
  rvm_program_free(x.p);
  free(x.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(damaged_code_is_refused_or_loads) };
  int failed = vm_tests() + value_tests() + memory_tests();
  return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) { return 0; }
#endif
