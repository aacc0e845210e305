/* image_test.c -- images: file form, text form, tables. */
#include "tests/unit/image_programs.h"
#include "vm/image_format.h"
#include "vm/runtime.h"

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

/* Tables for the heap are made of all constructors, not only of those that a type has. */
static void a_constructor_of_no_type_is_verified_too(void **state) {
  (void)state;
  Stingy s;
  size_t n;
  Image m;
  ImageError e;
  bool *launch = NULL;
  uint8_t *b = assemble(everything, &n);
  KAlloc a = generous(&s);
  assert_true(image_read(b, n, a, &m, &e));
  static const struct { uint32_t n, first; const char *why; } with[] = {
    {0, 0, NULL},                              {2, 0, NULL},
    {70, UINT32_MAX - 3, "types is out of"},   {UINT32_MAX, 0, "too many fields"},
  };
  Image more = m;
  more.ctor = calloc(++more.n_ctors, sizeof *more.ctor);
  memcpy(more.ctor, m.ctor, m.n_ctors * sizeof *m.ctor);
  for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
    more.ctor[m.n_ctors] = (ICtor){.n_fields = with[i].n, .first_field = with[i].first};
    bool ok = image_verify(&more, a, &launch, &e);
    assert_int_equal(ok, with[i].why == NULL);
    if (!ok) assert_non_null(strstr(e.why, with[i].why));
    if (ok) a.fn(a.user, launch, m.n_kernels, 0);
  }
  free(more.ctor);
  image_free(&m, a);
  assert_int_equal(s.live, 0);
  free(b);
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
      cmocka_unit_test(a_constructor_of_no_type_is_verified_too),
      cmocka_unit_test(runtime_kernels_are_found_by_name),
      cmocka_unit_test(the_manual_lists_every_instruction_and_runtime_kernel),
  };
  return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
