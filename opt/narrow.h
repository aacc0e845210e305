/* narrow.h -- which parts of tuples are taken, and tuples without the others. */
#ifndef RVM_OPT_NARROW_H
#define RVM_OPT_NARROW_H
#include "opt/build.h"

enum { MOST_PARTS = 64 };

typedef struct {
  int n, at[MOST_PARTS];       /* the parts that stay, in order                */
  uint64_t parts;              /* the same, a bit each                         */
  Type *type;                  /* of the one, or of the tuple of them          */
} Narrow;

/* What the projections of a function's body take. */
typedef struct {
  UseCount uses;
  Map parts;                   /* Var -> 1 bit for each part that is taken     */
  Map count;                   /* Var -> number of its projections             */
} Taken;
Taken taken_in(Fn *f);

/* A tuple of type t (resolved, of at most MOST_PARTS) with these parts only. */
Narrow *narrow_to(Type *t, uint64_t parts);
/* The parts of a binding's value that are taken, if they are some and not all,
 * and it is used in no other way; or NULL. */
Narrow *taken_of(const Taken *p, const Binding *bd);

/* The block gives w of the tuple that it gave. */
void narrow_result(Module *m, Block *b, const Narrow *w);
/* A projection of what is now only w, of a part that stays. */
void narrow_take(const Narrow *w, Expr *proj);

/* The passes narrow and dce for one function; cx: PassCx. */
void narrow_global(void *cx, Global *g);
void dce_global(void *cx, Global *g);
#endif
