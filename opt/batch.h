/* batch.h -- what batch.c finds and batch_rows.c makes of it.  Private to both. */
#ifndef RVM_OPT_BATCH_H
#define RVM_OPT_BATCH_H
#include "opt/build.h"

enum { MAX_PRODUCTS = 8 };

/* A type of lists: nothing, or an element and such a list, in either order. */
typedef struct {
  DataDef *def;
  Ctor *cons, *nil;
  int head;            /* which field of cons is the element                   */
} ListDef;

/* What was found in a function. */
typedef struct {
  Module *m;
  Global *f;
  int list;            /* the parameter it walks                               */
  ListDef walked;
  ListDef stacks;      /* of any type: what products are kept in               */
  Type *data;          /* the list's type                                      */
  const Expr *match;
  Block *body;         /* of the clause of Cons                                */
  Var *x, *rest;
  bool *fixed;         /* parameters handed on unchanged                       */
  Map invariant;       /* Var: made of those alone                             */
  Map by_element;      /* Var: made of x and of those, cheaply; x itself       */
  int n;               /* the products: bindings of body                       */
  const Binding *product[MAX_PRODUCTS];
} BatchWalk;

bool batch_is_var(const Atom *a, const Var *v);
/* The first operand of product j, whose rows are those of one element. */
const Var *batch_row(const BatchWalk *w, int j);

/* def @list_has[A](%xs: List[A], %n: int32) -> bool for the list type of w. */
Global *batch_list_has(Module *m, const BatchWalk *w);
/* Rewrites w->f and adds a function beside it; has: the above. */
void batch_rows(Module *m, const BatchWalk *w, Global *has);
#endif
