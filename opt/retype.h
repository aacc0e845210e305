/* retype.h -- other types for a piece of program: what a copy of a function's
 * body needs where its quantifiers have become something, and what a function
 * needs when an extent turns out to be one that has a name already.          */
#ifndef RVM_OPT_RETYPE_H
#define RVM_OPT_RETYPE_H
#include "opt/walk.h"

typedef struct {
  IrCtx *cx;
  Map type;                         /* TyVar -> Type *                         */
  Map dim;                          /* Sym -> Dim                              */
  /* What a symbol that is not in dim becomes, or NULL to keep it; may be NULL.
   * The answer is remembered in dim.                                          */
  Dim (*other)(void *ud, Dim sym);
  Type *(*other_type)(void *ud, TyVar *v); /* the same for type variables; not remembered */
  void *ud;
} Retype;

Type *retyped(Retype *r, Type *t);
/* In place, nested blocks and functions too.  Checks that have become trivial
 * go.  An axis that became unknown gets a symbol of its own. */
void  retype_block(Retype *r, Block *b);
void  retype_fn(Retype *r, Fn *f);
/* A variable of type v holds a value of type `is`: an axis of v with a symbol of
 * its own (nameless, not in `given`) is what the value says; r learns that. */
void  same_extents(Retype *r, const Map *given, Type *v, Type *is);
#endif
