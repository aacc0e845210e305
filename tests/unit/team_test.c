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
#include <stdatomic.h>
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
      cmocka_unit_test(a_team_in_use_says_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) { return 0; }
#endif
