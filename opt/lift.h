/* lift.h -- between lift.c, which moves local functions, and lift_types.c, which
 * says what their types need.                                                 */
#ifndef RVM_OPT_LIFT_H
#define RVM_OPT_LIFT_H
#include "opt/build.h"

/* The functions around a piece of program, innermost first. */
typedef struct Around {
  const Fn *fn;
  const struct Around *up;
} Around;

/* A function literal with a name. */
typedef struct {
  Var *var;
  Fn *fn;
  Block *block; /* that binds it                           */
  const Around *around;
  int place; /* in the walk: what is given before is outside */
  int ends;  /* the first in the list after those inside it  */
  VEC(Expr *) calls;
  bool wanted;
} Local;

/* Extents and type variables of the surroundings that a function mentions. */
typedef struct {
  VEC(Dim) dims;
  VEC(TyVar *) vars;
} Outer;
/* given: Sym -> where in the walk a type first mentioned it.  false: as a function of
 * the module l could not read one of them, or would not check what it checks now. */
bool lift_outer(IrCtx *cx, const Local *l, const Map *given, const VarList *captured, Outer *out);
/* They become f's own. */
void lift_quantify(Module *m, Fn *f, const Outer *outer);
#endif
