/* sample.h -- timing a call again and again: samples, and what they say.      */
#ifndef RVM_CLI_SAMPLE_H
#define RVM_CLI_SAMPLE_H
#include <stdbool.h>
#include "base/vec.h"

/* `prepare` makes ready for n calls, `call` makes them; only `call` is timed.
 * false: it failed. */
typedef struct {
  bool (*prepare)(void *ud, int n);
  bool (*call)(void *ud, int n);
  void *ud;
} Sampled;
typedef VEC(double) Samples;                 /* microseconds per call         */

/* Warms up for 15 % of `seconds`, then samples for as long, at least 5 times.
 * A sample is the mean of enough calls to last 100 us.  false: a call failed. */
bool sample(const Sampled *s, double seconds, Samples *out);

/* Answers every line SECONDS of the standard input by "@ " and the samples, after
 * "@ greeting"; until the input ends.  false: a call failed. */
bool sample_serve(const Sampled *s, const char *greeting);

typedef struct { double best, median, p90, p99; int n; } Summary;
Summary summarise(Samples *s);               /* sorts; n > 0                  */
#endif
