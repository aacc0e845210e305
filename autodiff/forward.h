/* forward.h -- forward mode: what its files share.  Private to the folder.
 *
 * A variable of the program becomes a Dual: what is known of its value and its
 * tangent while code is made.  What no step reaches is Plain, as it was, and no
 * zero is made for it until it meets, at a join or in data, what has a tangent.
 * When the program runs, duals of type T are values of ad_forward(T): a float
 * tensor's is the pair (value, tangent); an int's is itself; those of tuples,
 * data, functions and refs are tuples, data, functions and refs of duals.  So
 * T -> ad_forward(T) commutes with putting types for type variables.           */
#ifndef RVM_AD_FORWARD_H
#define RVM_AD_FORWARD_H
#include "autodiff/ad.h"

typedef enum { DUAL_Plain, DUAL_Pair, DUAL_Tuple, DUAL_Box } DualKind;
/* Also read as a shape: which parts have tangents, `at` and `d` aside. */
struct Dual {
  DualKind kind;
  Atom at;                          /* Plain, Pair: the value; Box: the dual of data, a function,
                                     * a ref                                         */
  Atom d;                           /* Pair: the tangent                            */
  const char *none;                 /* Pair: why there is none                      */
  int n;  Dual **part;              /* Tuple                                        */
  bool is_whole;  Atom whole;       /* Pair, Tuple: what it was opened from         */
};
typedef VEC(Atom) AtomVec;

/* ---- dual.c ---------------------------------------------------------------------- */
bool  ad_moves(AD *ad, Type *t);                  /* is ad_forward(t) another type or meaning? */
/* Has the type floats, functions or refs of its own, whatever its parameters are? */
bool  ad_moves_itself(AD *ad, DataDef *def);
Type *ad_forward(AD *ad, Type *t);                /* of duals of t                     */
Ctor *ad_forward_ctor(AD *ad, Type *data, const Ctor *c);    /* of duals of data, for c */
Dual *dual_plain(Atom a);
Dual *dual_pair(Atom x, Atom dx);
Dual *dual_tuple(int n, Dual **part);
Dual *dual_full(AD *ad, Type *t);                 /* the shape with all tangents            */
/* The shape with the tangents of both. */
Dual *dual_join(AD *ad, Type *t, Dual *a, Dual *b);
/* The value alone. */
Atom  dual_value(AD *ad, Out o, Type *t, Dual *d);
Atom  dual_tangent(AD *ad, const Dual *d);        /* of a Pair; reports if there is none    */
/* Item i of a tuple. */
Dual *dual_part(AD *ad, Out o, Dual *d, int i);
/* d as one value of a shape that has d's tangents and maybe more, which are
 * zero; and its parts again. */
Atom  dual_as(AD *ad, Out o, Type *t, Dual *d, const Dual *shape);
Dual *dual_open(AD *ad, Out o, Type *t, const Dual *shape, Atom a);
/* The same as operands and parameters, a tangent being one of its own. */
void  dual_operands(AD *ad, Out o, Type *t, Dual *d, const Dual *shape, AtomVec *out);
Dual *dual_params(Frame *f, Type *t, const Dual *shape, const Var *like, VarList *out);
void  dual_spell(const Dual *shape, StrBuf *out); /* for keys */
/* ---- dual_data.c ------------------------------------------------------------------- */
/* From and to what is seen outside: a value x of T and a step dx, of T' or as in a shadow. */
Dual *dual_in(AD *ad, Out o, View as, Type *t, Atom x, Atom dx);
Atom  dual_out(AD *ad, Out o, View as, Type *t, Dual *d);
/* Data: with zero tangents; the value. */
Atom  dual_lift(AD *ad, Out o, Type *t, Atom x);
Atom  dual_drop(AD *ad, Out o, Type *t, Atom x);
/* ---- forward.c --------------------------------------------------------------------- */
Dual *forward_dual(Scope *s, const Atom *a);      /* what a is known to be                  */
/* a, or what a variable from outside is another name for. */
const Atom *forward_behind(Scope *s, const Atom *a);
void  forward_bind(Scope *s, Var *v, Dual *d);    /* v is d                                 */
Dual *forward_body(Scope *s, Block *b);           /* b's bindings, in s->fwd; its result    */
/* ---- forward_op.c: v is a call of an operator ---------------------------------------- */
void  forward_operator(Scope *s, Var *v, Expr *e, BindStyle style);
/* ---- forward_fn.c: v is a function literal; a call of a function ---------------------- */
void  forward_function(Scope *s, Var *v, Expr *e, BindStyle style);
void  forward_application(Scope *s, Var *v, Expr *e, BindStyle style);
/* A definition, and a, the local function v, as values of dual type. */
Atom  forward_global(Scope *s, const Atom *a);
Atom  forward_local(Scope *s, Val *v, const Atom *a);
#endif
