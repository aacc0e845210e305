/* native_test.c -- compiled programs against every test of the interpreter: the
 * calls that load and free a program also compile it.  And damaged objects.   */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include <stddef.h>

#ifdef RVM_HAVE_LLVM
#include <elf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <rvm/rvm.h>
#include "codegen/llvm/llvm.h"
#include "codegen/native/code.h"
#include "codegen/native/launch.h"
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

/* A copy that ends where readable memory does; *map of *room bytes. */
static uint8_t *at_the_end(const void *bytes, size_t n, void **map, size_t *room) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (n + page - 1) / page * page;
  *room = whole + page;
  *map = mmap(NULL, *room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(*map != MAP_FAILED);
  uint8_t *end = (uint8_t *)*map + whole;
  assert_int_equal(mprotect(end, page, PROT_NONE), 0);
  return memcpy(end - n, bytes, n);
}

/* Sizes of objects that would lie behind the file. */
static void a_code_file_is_not_read_beyond_its_end(void **state) {
  (void)state;
  static const uint64_t file[2] = {UINT64_C(0x65646f636d7672), 2}; /* "rvmcode", two objects */
  Fix x;
  void *map;
  size_t room;
  const char *why = NULL;
  fix_image(&x, COUNTDOWN);
  assert_int_equal(rvm_program_load(x.bytes, x.n, x.alloc, &x.p, &x.err), RVM_OK);
  uint8_t *copy = at_the_end(file, sizeof file, &map, &room);
  assert_null(code_load(x.p, copy, sizeof file, &why));
  assert_non_null(strstr(why, "damaged"));
  assert_null(x.p->engine);
  munmap(map, room);
  rvm_program_free(x.p);
  free(x.bytes);
}

/* Names in a section that is said to take no room in the file are nowhere. */
static void an_object_has_its_names_in_the_file(void **state) {
  (void)state;
  struct {
    Elf64_Ehdr h;
    Elf64_Shdr sec[3];
    Elf64_Sym sym[2];
  } f = {.h = {.e_machine = EM_X86_64, .e_type = ET_REL, .e_shnum = 3,
               .e_shoff = sizeof(Elf64_Ehdr)}};
  const size_t sym = sizeof f.h + sizeof f.sec;
  void *map;
  size_t room;
  const char *why = NULL;
  memcpy(f.h.e_ident, ELFMAG, SELFMAG);
  f.h.e_ident[EI_CLASS] = ELFCLASS64;
  f.sec[1] = (Elf64_Shdr){.sh_type = SHT_SYMTAB, .sh_offset = sym, .sh_size = sizeof f.sym, .sh_link = 2};
  f.sec[2] = (Elf64_Shdr){.sh_type = SHT_NOBITS, .sh_offset = sizeof f, .sh_size = 4096};
  uint8_t *copy = at_the_end(&f, sizeof f, &map, &room);
  assert_null(object_load(&(ObjectFile){copy, sizeof f}, 1, NULL, NULL, &why));
  assert_non_null(strstr(why, "not an object"));
  munmap(map, room);
}

/* The verifier looks at functions: what stands between them may be anything. */
static void instructions_of_no_function_are_not_looked_at(void **state) {
  (void)state;
  Fix x;
  Image m;
  ImageError e;
  size_t n, n_code;
  const char *why = NULL;
  fix_image(&x, COUNTDOWN);
  assert_true(image_read(x.bytes, x.n, native_memory, &m, &e));
  Image more = m;
  more.code = calloc(++more.n_code, sizeof *more.code);
  memcpy(more.code, m.code, m.n_code * sizeof *m.code);
  more.code[m.n_code] = (Ins){OP_CLOSURE, 0, UINT16_MAX, UINT16_MAX};
  assert_true(image_verify(&more, native_memory, NULL, &e));
  uint8_t *bytes = image_write(&more, native_memory, &n);
  void *code = compiled(bytes, n, &n_code, &why);
  assert_non_null(code);
  free(code);
  free(bytes);
  free(more.code);
  image_free(&m, native_memory);
  free(x.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(damaged_code_is_refused_or_loads),
      cmocka_unit_test(a_code_file_is_not_read_beyond_its_end),
      cmocka_unit_test(an_object_has_its_names_in_the_file),
      cmocka_unit_test(instructions_of_no_function_are_not_looked_at),
  };
  int failed = vm_tests() + value_tests() + memory_tests();
  return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) { return 0; }
#endif
