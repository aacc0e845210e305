/* expand.h -- the body of a function made ready to stand where it is called.  */
#ifndef RVM_OPT_EXPAND_H
#define RVM_OPT_EXPAND_H
#include "opt/retype.h"

typedef struct {
  const Fn *fn;
  const char *name;                 /* as run-time messages call it            */
  /* Is sym first given inside fn, so that each copy needs its own?  NULL: all are. */
  bool (*own)(void *ud, Dim sym);
  void *ud;
} Callee;

/* Bindings of the parameters (with the checks that the function makes when it
 * is entered) and a fresh copy of the body, typed for this call.  false when a
 * check would mention an extent that has no name, which text cannot say, or
 * the call carries checks itself; nothing is changed then. */
bool expand_call(IrCtx *cx, const Callee *c, const Expr *call, Bindings *params, Block **body);
#endif
