/* op_lower.h -- a plan on its way to bytecode: what op.c (one operator) and
 * prim.c (a primitive function of several) share.                            */
#ifndef RVM_OP_LOWER_H
#define RVM_OP_LOWER_H
#include "codegen/lower/lower_priv.h"
#include "kernel/kernel.h"

typedef struct OpLower {
  FnLower *f;
  OpPlan p;
  VEC(uint16_t) reg;                 /* of each operand                           */
  VEC(bool) live;                    /* has a value                               */
  VEC(bool) own;                     /* ours to drop when the plan is done        */
} OpLower;

/* One more operand; value: if known. */
void op_operand(OpLower *o, Type *t, uint16_t reg, bool live, bool own, const Tensor *value);
/* The tensor leaves of argument a, of closed type t, as operands. */
void op_argument(OpLower *o, const Atom *a, Type *t);
/* t with a fresh symbol for each extent that nobody knows before the call. */
Type *op_with_symbols(OpLower *o, Type *t);
/* Run a step of the plan: emits its instructions. */
void op_step(OpLower *o, const OpStep *s);
/* Behind the plan: what it still owns is dropped and what dies too; the results' registers, which
 * it no longer owns, go to dest. */
void op_deliver(OpLower *o, const uint16_t *result, Dest dest, VarSet *dying);
/* One store of an expression over scalars: instructions, not a kernel. */
bool op_is_scalar_kernel(const Kernel *k);
#endif
