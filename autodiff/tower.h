/* tower.h -- derivatives whose order is decided when the program runs.  Private to
 * the folder.
 *
 *   def @tower(%n, %f) {
 *     if (%n == 0) { %f } else { @tower(%n - 1, fn (%x) { grad(%f)(%x).1.0 }) }
 *   }
 *
 * No number of rounds expands the form: what it is of reaches it.  Such forms are
 * evaluated in forward mode by numbers that say when the program runs how often they
 * are differentiated,
 *
 *   type Tower[A] { Ground(A), Level(int32, Tower[A], Tower[A]) }
 *
 * Level(t, x, dx) is x with its derivative along what stands at level t.  The form
 * becomes code that raises its operands to towers, runs a copy of its function in
 * which each float tensor T is a Tower[T], and takes the derivative out.  Inside of
 * the copy every form is of level one more than where it stands, so that levels never
 * meet that are not the same (Siskind and Pearlmutter, Nesting forward-mode AD in a
 * functional framework, HOSC 2008).  What is made is a program like any other: no
 * form is in it, and forms around it differentiate it by code.
 *
 * raised T: T with Tower[T] for each float tensor, raised functions for functions
 *   (they take their level as first parameter), raised data for data.  It commutes
 *   with putting types for type variables.                                      */
#ifndef RVM_AD_TOWER_H
#define RVM_AD_TOWER_H
#include "autodiff/forward.h"

typedef struct { const Expr *call;  Global *made; } RaisedOp;
typedef struct { const Fn *fn;  Global *made; } RaisedFn;
typedef struct {
  AD *ad;
  DataDef *def;                     /* Tower                                     */
  Ctor *ground, *level;
  Map data;                         /* DataDef -> raised DataDef                 */
  Map global;                       /* Global -> raised Global                   */
  Map helper;                       /* key -> Global                             */
  VEC(RaisedFn) todo;               /* definitions whose copies have no body yet */
  VEC(RaisedOp) ops;                /* the same of operators                     */
} Tower;

static inline bool tower_float(Type *t) {              /* is it a tensor of floats? */
  t = type_resolve(t);
  return t->kind == TY_Tensor && dtype_is_float(t->tensor.dtype);
}

/* ---- tower.c --------------------------------------------------------------------- */
/* Expands the forms that reach themselves, or makes what that takes: the module is to
 * be typed again after CHANGED.  NOTHING: there are none.  FAILED: what was made is to be
 * undone, and functions in ad->unknown, if any, to be made known first. */
AutodiffResult tower_forms(AD *ad, int n, Expr *const *form);
/* The mistake, if there was none before, that a tower meets a ref to floats from outside. */
void  tower_outside_ref(AD *ad, Span at);

/* ---- tower_op.c: operators --------------------------------------------------------- */
/* The types of what the call e takes, leaf for leaf, constants aside. */
typedef VEC(Type *) Operands;
void  tower_operands(const Expr *e, Operands *out);    /* appends to out */
/* Does the call take and give a float tensor? */
bool  tower_moves(const Expr *e);
/* The definition of the derivative of the call, def @step(operands, steps of floats);
 * made, with *made set, if it is not there yet.  NULL after reporting. */
Global *tower_step(AD *ad, const Expr *e, bool *made);
/* The call e of raised operands, leaf for leaf. */
Expr *tower_operator(Tower *tw, Out o, const Expr *e, const Atom *leaf);
void  tower_make_op(Tower *tw, RaisedOp op);             /* parameters and body */

/* ---- tower_code.c: raised code -------------------------------------------------------- */
typedef struct {
  Tower *tw;
  Map *vars;                        /* Var -> raised Var                         */
  Atom level;                       /* of the function that is being made        */
  Out o;
} Raise;
Type *tower_type(Tower *tw, Type *t);                  /* raised T                  */
Ctor *tower_ctor(Tower *tw, const Ctor *c);            /* c of raised data          */
/* The raised definition, whose code tower_make_fn makes later. */
Global *tower_global(Tower *tw, Global *g);
void  tower_make_fn(Tower *tw, RaisedFn g);
/* a in raised code; what c->vars does not know is of the plain code around it, and raised first. */
Atom  tower_atom(Raise *c, const Atom *a);

/* ---- tower_data.c: values ---------------------------------------------------------------- */
typedef enum {
  WALK_Raise,                       /* T to raised T                             */
  WALK_Ground,                      /* and back, by the value                    */
  WALK_Below,                       /* without what is of a level                */
  WALK_Step,                        /* the derivative along that level, a raised T' */
  WALK_Along                        /* x at a level, with step dx                */
} Walk;
/* x, of type t or raised t; dx is for WALK_Along, level for the last three. */
Atom  tower_walk(Tower *tw, Out o, Walk w, Type *t, Atom x, Atom dx, Atom level);
/* plus(a, b); dot(a, b), the sum of products, and total(a), the sum, Tower[float64];
 * spread(s, e), the number s, Tower[float64], times the tensor e of type t. */
typedef enum { OF_Plus, OF_Dot, OF_Total, OF_Spread } Linear;
Atom  tower_linear(Tower *tw, Out o, Linear k, Type *t, Atom a, Atom b);
/* Of a tower x of any type: its highest level, 0 at the ground; its value; without what is of
 * the level; its derivative along the level, or ground(zero). */
Atom  tower_level(Tower *tw, Out o, Atom x);
Atom  tower_value(Tower *tw, Out o, Atom x);
Atom  tower_below(Tower *tw, Out o, Atom x, Atom level);
Atom  tower_along(Tower *tw, Out o, Atom x, Atom level, Atom zero);
/* Ground(x); Level(level, x, dx). */
Atom  tower_ground(Tower *tw, Out o, Atom x);
Atom  tower_pair(Tower *tw, Out o, Atom level, Atom x, Atom dx);
Atom  tower_zero(Tower *tw, Out o, Type *t, Atom x);   /* zeros like the value of x */
Atom  tower_int(Tower *tw, int64_t v);                 /* an int32                  */
/* if (a == b) { yes } else { no } */
Atom  tower_if(Tower *tw, Out o, Atom a, Atom b, Block *yes, Block *no);

/* ---- tower_form.c ------------------------------------------------------------------------- */
/* The raised function that a form of f, raised and of type t, is. */
Expr *tower_form(Tower *tw, DiffKind k, Atom f, Type *t);
#endif
