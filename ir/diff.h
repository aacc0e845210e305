/* diff.h -- the forms of differentiation: grad(f), vjp(f), jvp(f), checkpoint(f).
 *
 * They stand where operators stand but take a function, so they have no
 * relation and no plan.  typeinfer types them (diff_type), autodiff/ replaces
 * every one by an ordinary function; none reaches lowering.
 *
 *   grad(f)        fn(T...) -> (R, (T'...))         value, and gradients seeded with ones
 *   vjp(f)         fn(T...) -> (R, fn(R') -> (T'...))
 *   jvp(f)         fn(T..., T'...) -> (R, R')
 *   checkpoint(f)  the type of f; its inside is computed again for the gradient
 *
 * T' is T, with () for each function (also as data) and ref in it: nothing is
 * zero there.                                                                 */
#ifndef RVM_IR_DIFF_H
#define RVM_IR_DIFF_H
#include "ir/op.h"

typedef enum { DIFF_None, DIFF_Grad, DIFF_Vjp, DIFF_Jvp, DIFF_Checkpoint } DiffKind;
extern const OpDef *const diff_ops[];
extern const int n_diff_ops;
/* Which form a call is; None for every other expression. */
DiffKind diff_kind(const Expr *e);
/* T' of T. */
Type *diff_cotangent(Type *t);
/* The type of a form of f, a function type without quantifiers. */
Type *diff_type(DiffKind k, Type *f);
#endif
