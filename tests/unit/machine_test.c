/* machine_test.c -- processors and caches as made-up folders describe them.  */
#define _GNU_SOURCE
#ifdef RVM_HAVE_MACHINE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include "codegen/native/machine.h"

enum { MOST = 64 };
static char folder[32];

static int make_folder(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/rvm_cpus_XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  char command[64];
  (void)state;
  snprintf(command, sizeof command, "rm -r %s", folder);
  return system(command);
}

/* folder/cpu<cpu>/<name>, of which every processor has one. */
static void describe(int cpu, const char *name, const char *text) {
  char path[128];
  snprintf(path, sizeof path, "mkdir -p $(dirname %s/cpu%d/%s)", folder, cpu, name);
  assert_int_equal(system(path), 0);
  snprintf(path, sizeof path, "%s/cpu%d/%s", folder, cpu, name);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static cpu_set_t allowed(void) {
  cpu_set_t set;
  assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
  return set;
}

static int first_allowed(void) {
  cpu_set_t set = allowed();
  int i = 0;
  while (!CPU_ISSET((size_t)i, &set)) i++;
  return i;
}

/* Where no processor is described each is a core; then all of this process are on one. */
static void processors_of_one_core_count_once(void **state) {
  (void)state;
  cpu_set_t set = allowed();
  char command[96];
  int n = CPU_COUNT(&set) < MOST ? CPU_COUNT(&set) : MOST;
  assert_int_equal(machine_cores(folder, MOST), n);
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET((size_t)i, &set)) describe(i, "topology/thread_siblings_list", "0-7,8-1023\n");
  assert_int_equal(machine_cores(folder, MOST), 1);
  snprintf(command, sizeof command, "mkdir %s/smt; echo 0 > %s/smt/active", folder, folder);
  assert_int_equal(system(command), 0); /* none shares: the lists are not read */
  assert_int_equal(machine_cores(folder, MOST), n);
  assert_int_equal(machine_cores(folder, 1), 1);
  assert_true(machine_cores(NULL, MOST) >= 1);
}

static void each_level_has_the_size_of_its_data_cache(void **state) {
  static const char *const level[] = {"1\n", "1\n", "2\n", "3\n", "4\n"};
  static const char *const type[] = {"Data\n", "Instruction\n", "Unified\n", "Unified\n",
                                     "Unified\n"};
  static const char *const size[] = {"48K\n", "32K\n", "2M\n", "107520K\n", "1048576K\n"};
  char name[64];
  (void)state;
  for (int i = 0; i < 5; i++) {
    snprintf(name, sizeof name, "cache/index%d/level", i);
    describe(first_allowed(), name, level[i]);
    snprintf(name, sizeof name, "cache/index%d/type", i);
    describe(first_allowed(), name, type[i]);
    snprintf(name, sizeof name, "cache/index%d/size", i);
    describe(first_allowed(), name, size[i]);
  }
  Caches c = machine_caches(folder);
  assert_int_equal(c.first, 48 << 10);
  assert_int_equal(c.second, 2 << 20);
  assert_int_equal(c.third, 105 << 20);
}

static void a_size_that_is_none_is_not_known(void **state) {
  static const char *const size[] = {"",    "\n", "many\n", "-32K\n", "99999999999999999999K\n",
                                     "0K\n"};
  (void)state;
  describe(first_allowed(), "cache/index0/level", "2\n");
  describe(first_allowed(), "cache/index0/type", "Unified\n");
  for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
    describe(first_allowed(), "cache/index0/size", size[i]);
    assert_int_equal(machine_caches(folder).second, 0);
  }
  describe(first_allowed(), "cache/index0/level", "x\n");
  describe(first_allowed(), "cache/index0/size", "1024K\n");
  assert_int_equal(machine_caches(folder).second, 0);
}

static void a_machine_that_says_nothing_has_no_known_caches(void **state) {
  (void)state;
  Caches c = machine_caches(folder);
  assert_int_equal(c.first | c.second | c.third, 0);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_FOLDER(processors_of_one_core_count_once),
      WITH_FOLDER(each_level_has_the_size_of_its_data_cache),
      WITH_FOLDER(a_size_that_is_none_is_not_known),
      WITH_FOLDER(a_machine_that_says_nothing_has_no_known_caches),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) { return 0; }
#endif
