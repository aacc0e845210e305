/* batch.h -- what batch.c finds and batch_rows.c makes of it.  Private to both. */
#ifndef RVM_OPT_BATCH_H
#define RVM_OPT_BATCH_H
#include "opt/build.h"

enum { MAX_PRODUCTS = 8 };

/* What was found in a function. */
typedef struct {
  Global *f;
  int list;            /* the parameter it walks                               */
  Ctor *cons, *nil;
  Type *data;          /* the list's type                                      */
  const Expr *match;
  Block *body;         /* of the clause of Cons                                */
  Var *x, *rest;
  bool *fixed;         /* parameters handed on unchanged                       */
  Map invariant;       /* Var: made of those alone                             */
  int n;               /* the products: bindings of body                       */
  const Binding *product[MAX_PRODUCTS];
} BatchWalk;

bool batch_is_var(const Atom *a, const Var *v);
/* Does e call the function with the rest of the list? */
bool batch_is_step(const BatchWalk *w, const Expr *e);

/* def @list_has[A](%xs: List[A], %n: int32) -> bool for the list type of w. */
Global *batch_list_has(Module *m, const BatchWalk *w);
/* Rewrites w->f and adds a function beside it; has: the above. */
void batch_rows(Module *m, const BatchWalk *w, Global *has);
#endif
