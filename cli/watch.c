/* watch.c -- see watch.h.
 *
 * A thread waits for the signal instead of a handler: a handler would need a
 * global to know the instance.  It uses no memory of base/mem.h, which knows
 * one thread only.                                                            */
#define _POSIX_C_SOURCE 200809L
#include "cli/watch.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { QUIET_SECONDS = 2, EXIT_INTERRUPTED = 130 };

struct Watch {
  rvm_instance *vm;
  pthread_t thread;
  sigset_t set, before;
  atomic_int done;
};

static void say(int seconds, int interrupted) {
  if (seconds < QUIET_SECONDS || !isatty(2)) return;
  fprintf(stderr, "\rrunning: %d s%s\033[K", seconds, interrupted ? " (stopping)" : "");
}

static void *watching(void *ud) {
  Watch *w = ud;
  int seconds = 0, interrupted = 0;
  while (!atomic_load(&w->done)) {
    int sig = sigtimedwait(&w->set, NULL, &(struct timespec){1, 0});
    if (sig == SIGINT && interrupted++) _exit(EXIT_INTERRUPTED);
    if (sig == SIGINT) rvm_interrupt(w->vm);
    if (sig < 0) seconds++;
    if (!atomic_load(&w->done)) say(seconds, interrupted);
  }
  if (seconds >= QUIET_SECONDS && isatty(2)) fputs("\r\033[K", stderr);
  return NULL;
}

Watch *watch_start(rvm_instance *vm) {
  Watch *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  w->vm = vm;
  sigemptyset(&w->set);
  sigaddset(&w->set, SIGINT);
  sigaddset(&w->set, SIGUSR1); /* from watch_end             */
  if (pthread_sigmask(SIG_BLOCK, &w->set, &w->before) != 0) return free(w), NULL;
  if (pthread_create(&w->thread, NULL, watching, w) == 0) return w;
  pthread_sigmask(SIG_SETMASK, &w->before, NULL);
  free(w);
  return NULL;
}

void watch_end(Watch *w) {
  if (!w) return;
  atomic_store(&w->done, 1);
  pthread_kill(w->thread, SIGUSR1);
  pthread_join(w->thread, NULL);
  pthread_sigmask(SIG_SETMASK, &w->before, NULL);
  free(w);
}
