/* build.h -- new typed code: what a pass writes itself.
 *
 * A Maker grows a block; each call binds one expression to a fresh temporary
 * and gives it back as an operand.  The caller says the types: opt/ has no
 * relations.                                                                 */
#ifndef RVM_OPT_BUILD_H
#define RVM_OPT_BUILD_H
#include "ir/op.h"
#include "opt/walk.h"

typedef struct { Module *m;  Span span;  Bindings *out; } Maker;
typedef struct { const char *name;  int64_t value; } IntAttr;    /* name NULL ends */

Atom mk_bind(Maker *k, Expr *e, Type *t);
/* A call of an operator; like: the call whose attributes it has, or NULL for attrs. */
Atom mk_op(Maker *k, const char *op, Type *t, int n, const Atom *args, const IntAttr *attrs);
Atom mk_op_with(Maker *k, const char *op, Type *t, int n, const Atom *args, Attrs attrs);
/* An operator of x with one attribute, a list of n ints. */
Atom mk_op_ints(Maker *k, const char *op, Type *t, Atom x, const char *attr, int n,
                const int64_t *v);
Atom mk_op_like(Maker *k, const Expr *like, Type *t, int n, const Atom *args);
Atom mk_tuple(Maker *k, int n, const Atom *items);
Atom mk_proj(Maker *k, Atom tuple, int i);
Atom mk_ctor(Maker *k, Ctor *c, Type *data, int n, const Atom *args);
/* A call of a global whose quantifiers are instantiated by in (may be NULL). */
Atom mk_call(Maker *k, Global *g, const TypeArgs *in, Type *ret, int n, const Atom *args);
Atom mk_int(Maker *k, int32_t v);
Type *atom_type_of(const Atom *a);
Block *mk_block(Maker *k, Atom result);
/* if: each branch a block of type t. */
Atom mk_if(Maker *k, Atom cond, Type *t, Block *then, Block *otherwise);
Var *mk_var(const Maker *k, const char *name, Type *t);

/* A function of the module, not exported, under a name like base_suffix; suffix NULL: like base. */
Global *mk_global(Module *m, const char *base, const char *suffix, Fn *fn, Type *type, Span span);
/* The same for a Global that is there already, but for name and place. */
void mk_enter(Module *m, Global *g, const char *base, const char *suffix);
/* The scheme of a function from its parameters and result. */
Type *fn_type_of(const Fn *f);
/* Dims of its own, in place of those of the function it is a copy of. */
void fn_own_dims(Module *m, Fn *f);
/* Extents of the place where f's body stood become dims of its own, after those it has.  Those
 * that only data has are nameless, which the text shows as `?`: whoever reads it has to trust
 * the types. */
void fn_take_dims(Module *m, Fn *f, int n, const Dim *outer);
#endif
