/* kept_test.c -- who may change a program and who may not (B15 of tests/catalogue.md): passes
 * that may rewrite nothing, or found nothing, lowering, differentiation and the printer leave
 * every byte of its text.  Over the programs of tests/golden/regress and examples.          */
#include "tests/unit/test.h"
#include <glob.h>
#include <string.h>
#include "base/mem.h"
#include "cli/cli.h"
#include "codegen/lower/lower.h"
#include "ir/expr.h"
#include "opt/pass.h"

typedef struct {
  Driver d;
  Module *m;
  const char *path;
} Subject;

/* false: the program is meant to be refused. */
static bool begin(Subject *s, const char *path) {
  int code;
  s->path = path;
  driver_init(&s->d, NULL);
  s->m = driver_load(&s->d, path, true);
  return s->m && driver_differentiate(&s->d, s->m, &code);
}

static const char *text_of(const Subject *s) {
  StrBuf b = {0};
  ir_print_module(s->m, &(PrintOpts){.types = true, .all = true}, &b);
  return buf_text(&b);
}

static void assert_kept(const Subject *s, const char *before, const char *by) {
  const char *after = text_of(s);
  size_t i = 0;
  while (before[i] && before[i] == after[i]) i++;
  if (before[i] != after[i])
    fail_msg("%s: %s made\n%.200s\nof\n%.200s", s->path, by, after + i, before + i);
}

/* Calls what with every program that is no error; how many those are. */
static int each_program(void (*what)(Subject *s)) {
  static const char *const where[] = {RVM_SOURCE_DIR "/tests/golden/regress/*.rly",
                                      RVM_SOURCE_DIR "/examples/*.rly"};
  int n = 0;
  for (size_t k = 0; k < sizeof where / sizeof *where; k++) {
    glob_t g;
    assert_int_equal(glob(where[k], 0, NULL, &g), 0);
    for (size_t i = 0; i < g.gl_pathc; i++) {
      Subject s;
      if (begin(&s, g.gl_pathv[i])) what(&s), n++;
    }
    globfree(&g);
  }
  return n;
}

/* ---- passes ---- */

static void count_changes(void *ud, const Pass *p, const Module *m, int64_t changes, uint64_t ns) {
  (void)p, (void)m, (void)ns;
  *(int64_t *)ud += changes;
}

static bool run_pass(Subject *s, const Pass *p, int64_t limit, int64_t *changes) {
  StrBuf why = {0};
  PassOpts o = {
      .limit = limit, .done = count_changes, .ud = changes, .eval = driver_eval, .eval_ud = &s->d};
  *changes = 0;
  bool ok = passes_run(s->m, &p, 1, &o, &why);
  if (!ok) fail_msg("%s: %s: %s", s->path, p->name, buf_text(&why));
  return ok;
}

static void without_leave_to_rewrite(Subject *s) {
  const char *before = text_of(s);
  int64_t changes;
  for (int i = 0; i < n_all_passes; i++) {
    run_pass(s, all_passes[i], 0, &changes);
    assert_int_equal(changes, 0);
    assert_kept(s, before, all_passes[i]->name);
  }
}

static void passes_without_leave_keep_the_program(void **state) {
  (void)state;
  assert_true(each_program(without_leave_to_rewrite) > 100);
}

/* A pass says what it did: with nothing to do it has changed nothing. */
static void each_until_it_rests(Subject *s) {
  int64_t changes;
  for (int i = 0; i < n_all_passes; i++) {
    const char *before = text_of(s);
    run_pass(s, all_passes[i], -1, &changes);
    if (changes == 0) assert_kept(s, before, all_passes[i]->name);
  }
}

static void passes_that_find_nothing_keep_the_program(void **state) {
  (void)state;
  assert_true(each_program(each_until_it_rests) > 100);
}

/* ---- what only reads ---- */
static void lowered(Subject *s) {
  const char *before = text_of(s);
  Global *main = module_find(s->m, "main");
  Image im;
  if (!main || !lower_module(s->m, 1, &main, s->d.diags, &im)) return;
  size_t n, again;
  uint8_t *a = image_write(&im, lower_alloc(), &n);
  assert_kept(s, before, "lowering");
  assert_true(lower_module(s->m, 1, &main, s->d.diags, &im));
  uint8_t *b = image_write(&im, lower_alloc(), &again);
  if (n != again || memcmp(a, b, n) != 0) fail_msg("%s: another image the second time", s->path);
}

static void lowering_keeps_the_program_and_gives_the_same_twice(void **state) {
  (void)state;
  assert_true(each_program(lowered) > 100);
}

/* The gradient is another function; those that were there stay. */
static void differentiated(Subject *s) {
  int code;
  Global *main = module_find(s->m, "main");
  const char *before = strstr(text_of(s), "\ndef @"); /* types may come, in front */
  if (!main || !before || !driver_gradient(&s->d, s->m, main, DIFF_Grad, &code)) return;
  size_t n = strlen(before);
  while (n > 0 && before[n - 1] == '\n') n--;
  const char *after = strstr(text_of(s), "\ndef @");
  if (strncmp(before, after, n) != 0)
    fail_msg("%s: the gradient of @main made\n%.2000s", s->path, after);
}

static void gradients_keep_the_program(void **state) {
  (void)state;
  assert_true(each_program(differentiated) > 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(passes_without_leave_keep_the_program),
      cmocka_unit_test(passes_that_find_nothing_keep_the_program),
      cmocka_unit_test(lowering_keeps_the_program_and_gives_the_same_twice),
      cmocka_unit_test(gradients_keep_the_program),
  };
  mem_init();
  return cmocka_run_group_tests_name("kept", tests, NULL, NULL);
}
