/* prim.h -- a primitive function as a list of steps.  Private to prim*.c.     */
#ifndef RVM_LOWER_PRIM_H
#define RVM_LOWER_PRIM_H
#include "codegen/lower/op_lower.h"

typedef VEC(OpRef) Refs;

/* Mostly steps that are kernels; oblige: run-time checks of an operator, no step. */
typedef struct {
  OpStep step;
  const Expr *oblige;
  Span span;
  bool fails, gone;
} Item;

typedef struct { OpRef in;  StepKind kind;  bool waits; } Pending;

typedef struct {
  OpLower o;
  Map val;                           /* Var * -> PrimVal * (prim.c)               */
  VEC(Item) item;
  VEC(OpRef) root;                   /* per operand: whose bytes it has           */
  VEC(Pending) alias;                /* per operand: how it is made from `in`     */
  VEC(Dim) sym;                      /* the numbers of symbols for kernel_fuse    */
  Refs result;
  VEC(int) writers;                  /* per root                                  */
  int at;                            /* the item being offered                    */
} Prim;

/* ---- prim_fuse.c ------------------------------------------------------------------- */
bool prim_fails(const OpStep *s);    /* may it?                                   */
void prim_fuse(Prim *p);             /* its items                                 */
#endif
