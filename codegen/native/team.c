/* team.c -- see team.h.
 *
 * A round of work is announced by a number that grows.  Threads look at it for
 * some microseconds, because kernels follow each other closely, and then sleep.
 * Who announces wakes sleepers; it takes the lock for that only if there are any.
 *
 * A part is done by who takes it first: its worker, or the announcer after its
 * own part.  So nobody waits for a thread that other processes keep from running,
 * but only for one that has begun.                                             */
#define _GNU_SOURCE
#include "codegen/native/team.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { LOOKS = 4000 };

typedef struct {
  Team *team;
  pthread_t thread;
  int part;
  atomic_uint taken; /* the last round whose part was taken */
} Worker;

struct Team {
  int n; /* workers: threads but the caller */
  atomic_flag busy;
  atomic_uint round, left; /* rounds so far; workers that have not ended this one */
  atomic_int sleepers;
  atomic_bool end;
  void (*fn)(void *ctx, int part);
  void *ctx;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  Worker worker[TEAM_MOST];
};

/* ---- rounds -------------------------------------------------------------------------- */

static void pause_briefly(unsigned looks) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
  if (looks % 256 == 255) sched_yield();
}

static unsigned next_round(Team *p, unsigned seen) {
  unsigned now;
  for (unsigned i = 0; i < LOOKS; i++) {
    if ((now = atomic_load(&p->round)) != seen) return now;
    pause_briefly(i);
  }
  pthread_mutex_lock(&p->lock);
  atomic_fetch_add(&p->sleepers, 1);
  while ((now = atomic_load(&p->round)) == seen) pthread_cond_wait(&p->wake, &p->lock);
  atomic_fetch_sub(&p->sleepers, 1);
  pthread_mutex_unlock(&p->lock);
  return now;
}

/* Is the part of this round still to be done?  Then it is the caller's. */
static bool take(Worker *w, unsigned round) {
  unsigned before = round - 1;
  return atomic_compare_exchange_strong(&w->taken, &before, round);
}

static void *work(void *arg) {
  Worker *w = arg;
  Team *p = w->team;
  for (unsigned seen = 0;;) {
    seen = next_round(p, seen);
    if (atomic_load(&p->end)) return NULL;
    if (!take(w, seen)) continue;
    p->fn(p->ctx, w->part);
    atomic_fetch_sub(&p->left, 1);
  }
}

static void announce(Team *p) {
  atomic_fetch_add(&p->round, 1);
  if (atomic_load(&p->sleepers) == 0) return;
  pthread_mutex_lock(&p->lock);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
}

Team *team_new(int threads) {
  if (threads > TEAM_MOST) threads = TEAM_MOST;
  Team *p = threads > 1 ? calloc(1, sizeof *p) : NULL;
  if (!p) return NULL;
  atomic_flag_clear(&p->busy);
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->wake, NULL);
  /* Workers take no signals: those are for the thread that waits for them. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int i = 0; i + 1 < threads; i++) {
    p->worker[i].team = p;
    p->worker[i].part = i + 1;
    if (pthread_create(&p->worker[i].thread, NULL, work, &p->worker[i]) != 0) break;
    p->n++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (p->n > 0) return p;
  team_free(p);
  return NULL;
}

void team_free(Team *p) {
  if (!p) return;
  atomic_store(&p->end, true);
  announce(p);
  for (int i = 0; i < p->n; i++) pthread_join(p->worker[i].thread, NULL);
  pthread_mutex_destroy(&p->lock);
  pthread_cond_destroy(&p->wake);
  free(p);
}

int team_threads(const Team *p) { return p ? p->n + 1 : 1; }

bool team_run(Team *p, void (*fn)(void *ctx, int part), void *ctx) {
  if (atomic_flag_test_and_set(&p->busy)) return false;
  p->fn = fn, p->ctx = ctx;
  atomic_store(&p->left, (unsigned)p->n);
  announce(p);
  fn(ctx, 0);
  for (int i = 0; i < p->n; i++) {
    if (!take(&p->worker[i], atomic_load(&p->round))) continue;
    fn(ctx, i + 1);
    atomic_fetch_sub(&p->left, 1);
  }
  for (unsigned i = 0; atomic_load(&p->left) > 0; i++) pause_briefly(i);
  atomic_flag_clear(&p->busy);
  return true;
}
