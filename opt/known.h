/* known.h -- what a pass knows about the variables in scope, and what follows
 * from it for a match or an if.                                              */
#ifndef RVM_OPT_KNOWN_H
#define RVM_OPT_KNOWN_H
#include "opt/walk.h"

/* Var -> the Expr it is bound to, for those that can be looked into: tuples,
 * constructors, function literals, copies. */
typedef struct { Map def; } Known;
void known_put(Known *k, const Binding *b);

/* The atom at the end of the copies that lead to a; what that is bound to, or
 * NULL.  Projections of known tuples are followed too. */
const Atom *known_root(const Known *k, const Atom *a);
const Expr *known_def(const Known *k, const Atom *a);

/* Is a a constant tensor (not a scalar), or data with such a field? */
bool known_has_constant(const Known *k, const Atom *a);

/* Is the constructor that made a known? */
bool known_is_data(const Known *k, const Atom *a);

/* The block of the if or match e that will run, or NULL if that is not known;
 * bound: what its pattern variables are, as copies. */
Block *known_branch(const Known *k, const Expr *e, Bindings *bound);
#endif
