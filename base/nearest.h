/* nearest.h -- did you mean: of names that are tried one by one the one most like
 * a name that is not known, if one is like it.                               */
#ifndef RVM_BASE_NEAREST_H
#define RVM_BASE_NEAREST_H

typedef struct { const char *want, *best;  int cost; } Nearest;   /* best: borrowed, or NULL */
/* Up to 3 edits are taken for a slip, fewer in a short name; names above 40 bytes are not compared. */
Nearest nearest_to(const char *want);
void    nearest_try(Nearest *n, const char *name);
#endif
