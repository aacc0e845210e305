/* clock.h -- seconds of the monotonic clock. */
#ifndef RVM_CLI_CLOCK_H
#define RVM_CLI_CLOCK_H
#include <time.h>

/* Since some fixed moment; to the nanosecond where the system has it. */
static inline double clock_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#endif
