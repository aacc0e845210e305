/* walk.h -- what the passes share: visits of all blocks, uses, replacement.   */
#ifndef RVM_OPT_WALK_H
#define RVM_OPT_WALK_H
#include "opt/pass.h"

typedef VEC(Binding) Bindings;

/* Calls f for every function of the module that has a body. */
void each_global(Module *m, void (*f)(void *ud, Global *g), void *ud);

/* Uses of every variable in the module: Var -> count. */
typedef struct { Map count; } UseCount;
void uses_of_fn(UseCount *u, Fn *f);
void uses_of_block(UseCount *u, Block *b);
void uses_of_expr(UseCount *u, Expr *e, int by);      /* by: 1 adds, -1 takes away */
int  uses_get(const UseCount *u, const Var *v);

/* Is this the type of one value, not of a polymorphic function? */
bool type_is_mono(Type *t);
/* Is it a function's, or a tuple's with one in it? */
bool type_has_fn(Type *t);

/* Adds the symbols that are an axis of a tensor of type t (may be NULL) to have. */
void type_axes(Map *have, Type *t);

/* Replacement of variables by atoms: Var -> Atom *. */
typedef struct { Map to; } Replace;
void replace_set(Replace *r, const Var *v, const Atom *by);
/* The atom itself, or what stands for it; place and instantiation stay. */
void replace_atom(const Replace *r, Atom *a);
/* May uses of v be uses of a?  Same type, and nothing to instantiate. */
bool atom_can_be(const Var *v, const Atom *a);

/* %v = a; as a binding with the place and type of v. */
Binding bind_copy(Var *v, Atom a, BindStyle style, Span span);

/* The value that a known variable was bound to, if it is one that can be
 * looked into (tuple, constructor): Var -> Expr *. */
bool is_transparent(const Expr *e);

/* Does this call of an operator have no effect and always give a value, once
 * its obligations hold? */
bool op_call_is_total(const Expr *e);
/* Is e its value only: no effect, nothing that may fail? */
bool expr_can_go(const Expr *e);

bool calls_global(const Expr *e, const Global *f);

/* Every call of f in b, closures apart. */
void each_call_of(const Global *f, Block *b, void (*see)(void *ud, const Expr *call), void *ud);

/* Does b call f, closures apart? */
bool block_calls(const Global *f, Block *b);

/* The same; clears fixed[i] if such a call does not hand on f's parameter i as it is. */
bool keeps_params(const Global *f, Block *b, bool *fixed);

/* The binding of the block's result; NULL if it has none in the block. */
Binding *result_binding(Block *b);

/* How many bindings, nested ones too. */
int block_size(const Block *b);
#endif
