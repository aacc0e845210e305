/* infer.h -- type inference with symbolic shapes.
 *
 * Hindley-Milner for structure (element type, rank, tuples, data, functions),
 * a small flow analysis for extents, and a worklist of operator relations.
 *
 * After a successful run (FORM_TYPED):
 *   Var.type      has no Meta; the axes of a tensor, or of the tensors of a
 *                 tuple, are never Any: an unknown axis has its own symbol.
 *   Expr.type     is the type of its variable.
 *   Expr.oblige   mentions only symbols of variables bound before it, so the
 *                 checks may run before the expression does.
 *   Call.inst     what a polymorphic callee was instantiated with.
 *   Atom.type     instantiated where the atom is a polymorphic function.
 *   Fn.var, dim   what the function quantifies, in the order of Call.inst.
 * Annotations that need a run-time check, and function results likewise, get
 * a binding of their own (%t = e; let %x = %t) that carries the obligation.
 * Operators and constructors used as values have become function literals.  */
#ifndef RVM_TYPEINFER_INFER_H
#define RVM_TYPEINFER_INFER_H
#include "base/diag.h"
#include "ir/expr.h"

/* Checks the module and fills in its types.  false after reporting; the
 * module may then hold poison (TY_Error) but is still well-formed.  Of a derived
 * module extents where nobody can look are what is wanted (Module.trusting). */
bool typeinfer(Module *m, Diags *d);

/* Exhaustiveness of one match: reports E0306, and E0307 as a warning. */
bool match_check(const Expr *match, Diags *d);

/* Operators and constructors used as values become function literals. */
void eta_expand_module(Module *m);
#endif
