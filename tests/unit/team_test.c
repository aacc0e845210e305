/* team_test.c -- every part of every round runs once, whether the threads are awake
 * or asleep, and two users do not meet.                                      */
#define _GNU_SOURCE
#ifdef RVM_HAVE_MACHINE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "codegen/native/team.h"

enum { THREADS = 4, ROUNDS = 3000 };
typedef struct {
  long sum[THREADS];
  atomic_int inside;
} Count;

static void count(void *ctx, int part) {
  Count *c = ctx;
  atomic_fetch_add(&c->inside, 1);
  c->sum[part]++;
  atomic_fetch_sub(&c->inside, 1);
}

static void every_part_runs_once_a_round(void **state) {
  (void)state;
  Count c = {.inside = 0};
  Team *t = team_new(THREADS);
  assert_non_null(t);
  assert_int_equal(team_threads(t), THREADS);
  for (int round = 0; round < ROUNDS; round++) {
    assert_true(team_run(t, count, &c));
    assert_int_equal(atomic_load(&c.inside), 0);
    if (round % 500 == 499) nanosleep(&(struct timespec){0, 20000000}, NULL); /* they fall asleep */
  }
  for (int i = 0; i < THREADS; i++) assert_int_equal(c.sum[i], ROUNDS);
  team_free(t);
}

static void one_thread_needs_no_team(void **state) {
  (void)state;
  assert_null(team_new(0));
  assert_null(team_new(1));
  assert_int_equal(team_threads(NULL), 1);
  team_free(NULL);
  assert_true(team_cores() >= 1);
}

/* A made-up folder where no processor is described, then all of this process are on one core. */
static void processors_of_one_core_count_once(void **state) {
  (void)state;
  char dir[] = "/tmp/rvm_cores_XXXXXX", path[128];
  cpu_set_t set;
  assert_non_null(mkdtemp(dir));
  assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
  assert_int_equal(team_cores_of(dir), CPU_COUNT(&set) < TEAM_MOST ? CPU_COUNT(&set) : TEAM_MOST);
  for (int i = 0; i < CPU_SETSIZE; i++) {
    if (!CPU_ISSET((size_t)i, &set)) continue;
    snprintf(path, sizeof path, "mkdir -p %s/cpu%d/topology", dir, i);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "%s/cpu%d/topology/thread_siblings_list", dir, i);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("0-7,8-1023\n", f);
    fclose(f);
  }
  assert_int_equal(team_cores_of(dir), 1);
  snprintf(path, sizeof path, "mkdir %s/smt; echo 0 > %s/smt/active", dir, dir);
  assert_int_equal(system(path), 0); /* none shares: the lists are not read */
  assert_int_equal(team_cores_of(dir), CPU_COUNT(&set) < TEAM_MOST ? CPU_COUNT(&set) : TEAM_MOST);
  snprintf(path, sizeof path, "rm -r %s", dir);
  assert_int_equal(system(path), 0);
}

typedef struct {
  Team *team;
  long rounds;
} User;
static void *use(void *arg) {
  User *u = arg;
  Count c = {.inside = 0};
  for (int i = 0; i < 200; i++) u->rounds += team_run(u->team, count, &c);
  for (int i = 0; i < THREADS; i++) u->rounds -= c.sum[i] != c.sum[0];
  return c.sum[0] == u->rounds ? arg : NULL;
}

static void a_team_in_use_says_so(void **state) {
  (void)state;
  User u[3];
  pthread_t thread[3];
  void *good;
  Team *t = team_new(THREADS);
  for (int i = 0; i < 3; i++) {
    u[i] = (User){t, 0};
    assert_int_equal(pthread_create(&thread[i], NULL, use, &u[i]), 0);
  }
  long all = 0;
  for (int i = 0; i < 3; i++) {
    pthread_join(thread[i], &good);
    assert_non_null(good);
    all += u[i].rounds;
  }
  assert_true(all >= 200);
  team_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_part_runs_once_a_round),
      cmocka_unit_test(one_thread_needs_no_team),
      cmocka_unit_test(processors_of_one_core_count_once),
      cmocka_unit_test(a_team_in_use_says_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) { return 0; }
#endif
