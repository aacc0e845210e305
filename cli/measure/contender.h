/* contender.h -- what is timed by rvm bench: a process that is asked for samples,
 * round by round.
 *
 * It is `rvm run ... --samples`, which answers every line SECONDS on its standard
 * input by "@ SAMPLE SAMPLE ...", in microseconds, and sleeps in between; or any
 * command, run anew in each round, which prints its time in microseconds, or its
 * best and its median, on its last line.                                      */
#ifndef RVM_CLI_CONTENDER_H
#define RVM_CLI_CONTENDER_H
#include <stdio.h>
#include <sys/types.h>
#include "cli/measure/sample.h"

typedef struct {
  const char *label;
  const char *engine;                        /* what runs in fact; "" for a command */
  char *const *argv;                         /* a run of rvm ...              */
  const char *command;                       /* ... or this, given to sh      */
  pid_t pid;  FILE *to, *from;
  Samples samples;                           /* of a command its medians      */
  double best;                               /* the least it said; 0: take it from samples */
} Contender;

/* Starts a run of rvm and waits until it is ready.  NULL, or what is wrong: then
 * *code is its exit code, and it has said why itself. */
const char *contender_start(Contender *c, int *code);
/* One round: adds to its samples.  NULL, or what is wrong, with *code. */
const char *contender_round(Contender *c, double seconds, int *code);
void contender_end(Contender *c);
#endif
