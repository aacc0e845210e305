/* sample.c -- see sample.h.                                                    */
#include "cli/measure/sample.h"
#include <stdio.h>
#include <stdlib.h>
#include "cli/measure/clock.h"

enum { FEWEST = 5, MOST = 4000, MOST_INNER = 10000 };
static const double sample_seconds = 100e-6, warm_up = 0.15;

static bool once(const Sampled *s, int inner, double *seconds) {
  if (!s->prepare(s->ud, inner)) return false;
  double t = clock_seconds();
  if (!s->call(s->ud, inner)) return false;
  *seconds = (clock_seconds() - t) / inner;
  return true;
}

bool sample(const Sampled *s, double seconds, Samples *out) {
  double one, start = clock_seconds();
  do
    if (!once(s, 1, &one)) return false;
  while (clock_seconds() - start < warm_up * seconds);
  if (!once(s, 1, &one)) return false;
  double fit = one > 0 ? sample_seconds / one : MOST_INNER;
  int inner = fit < 1 ? 1 : fit > MOST_INNER ? MOST_INNER : (int)fit;
  start = clock_seconds();
  for (int i = 0; i < MOST && (i < FEWEST || clock_seconds() - start < seconds); i++) {
    if (!once(s, inner, &one)) return false;
    vec_push(out, one * 1e6);
  }
  return true;
}

bool sample_serve(const Sampled *s, const char *greeting) {
  char line[64];
  printf("@ %s\n", greeting);
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    Samples got = {0};
    if (!sample(s, strtod(line, NULL), &got)) return false;
    printf("@");
    for (int i = 0; i < got.n; i++) printf(" %.6g", got.at[i]);
    printf("\n");
    fflush(stdout);
  }
  return true;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

Summary summarise(Samples *s) {
  qsort(s->at, (size_t)s->n, sizeof *s->at, by_value);
  int last = s->n - 1;
  return (Summary){.best = s->at[0],
                   .median =
                       s->n % 2 ? s->at[s->n / 2] : (s->at[s->n / 2 - 1] + s->at[s->n / 2]) / 2,
                   .p90 = s->at[(last * 9 + 5) / 10],
                   .p99 = s->at[(int)((last * 99LL + 50) / 100)],
                   .n = s->n};
}
