/* join.h -- several calls of a block that one call can do.
 *
 * A pass says which calls go together and makes the one call, whose result is a
 * tuple of theirs; the rest is here.                                          */
#ifndef RVM_OPT_JOIN_H
#define RVM_OPT_JOIN_H
#include "opt/build.h"
#include "opt/known.h"

enum { JOIN_MOST = 16 };
typedef struct { int n, at[JOIN_MOST]; } JoinGroup;              /* bindings of the block */
typedef struct Join Join;
struct Join {
  PassCx *cx;
  Known known;                       /* of the bindings so far                      */
  Map place;                         /* Var -> 1 + its binding in the block         */
  /* What calls that go with e share (and nothing else has); NULL: it stays alone. */
  const Var *(*key)(const Join *j, const Expr *e);
  /* May e, of the key of g's, join them?  They are made one where the first is. */
  bool (*fits)(const Join *j, const Block *b, const JoinGroup *g, const Expr *e);
  Atom (*make)(const Join *j, Maker *k, const Block *b, const JoinGroup *g);
};
/* In b and the blocks inside it. */
void join_block(Join *j, Block *b);
/* Is a variable of the block bound before binding number i, or outside? */
bool join_is_before(const Join *j, const Var *v, int i);
#endif
