/* fuse.h -- groups of operator calls in a block (fuse_group.c), and the
 * functions they become (fuse.c).                                            */
#ifndef RVM_OPT_FUSE_H
#define RVM_OPT_FUSE_H
#include "ir/op.h"
#include "opt/walk.h"

typedef VEC(int) Indices;              /* of bindings in the block             */

/* Member calls in the order of the block.  place: the binding before which (up)
 * or at which the function is called. */
typedef struct FuseGroup {
  Indices member;
  OpPattern anchor;                    /* Reduce, OutFusable; else none: Elemwise */
  int place;  bool up;
  struct FuseGroup *next;              /* up, at the same place                */
} FuseGroup;

typedef struct FuseBlock {
  PassCx *cx;  Block *b;
  Map def;                             /* Var * -> 1 + index of its binding    */
  Indices *users;                      /* per binding: bindings that mention it; b->n: the result */
  bool *candidate;                     /* may be a member                      */
  int *segment;                        /* bindings between two barriers        */
  FuseGroup **group;                   /* per binding, or NULL                 */
} FuseBlock;

enum { FUSE_MAX_OPS = 48, FUSE_MAX_VARS = 24 };

/* Finds the groups of b; those of one call stay NULL. */
void fuse_groups(FuseBlock *f);
/* The binding of v in this block, or -1. */
int  fuse_def(const FuseBlock *f, const Var *v);
/* Is binding i mentioned by something that is not in g?  Tuples and projections
 * of which every use is inside are inside. */
bool fuse_escapes(const FuseBlock *f, int i, const FuseGroup *g);
/* A tuple of variables, a part of an operator's result, a copy: may be made inside. */
bool fuse_is_glue(const FuseBlock *f, int i);
#endif
