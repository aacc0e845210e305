/* nearest.c -- see nearest.h.  Wagner and Fischer's edit distance, one row.      */
#include "base/nearest.h"
#include <string.h>

enum { LONGEST = 40 };

/* Edit distance with transpositions as two edits, capped by the length bound. */
static int distance(const char *a, const char *b) {
  int n = (int)strlen(a), m = (int)strlen(b), row[LONGEST + 1];
  if (n > LONGEST || m > LONGEST || n - m > 4 || m - n > 4) return LONGEST;
  for (int j = 0; j <= m; j++) row[j] = j;
  for (int i = 1; i <= n; i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; j <= m; j++) {
      int keep = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      int edit = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
      row[j] = keep < edit ? keep : edit;
    }
  }
  return row[m];
}

Nearest nearest_to(const char *want) {
  int n = (int)strlen(want);
  return (Nearest){want, NULL, n <= 1 ? 1 : n <= 3 ? 2 : n <= 5 ? 3 : 4};
}

void nearest_try(Nearest *n, const char *name) {
  int d = distance(n->want, name);
  if (d < n->cost) n->cost = d, n->best = name;
}
