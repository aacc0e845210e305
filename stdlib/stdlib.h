/* stdlib.h -- every operator there is.  The records live in op_<family>.c;
 * ops_<family>.def lists their names and nothing else.                       */
#ifndef RVM_STDLIB_H
#define RVM_STDLIB_H
#include "ir/op.h"

extern const OpDef *const stdlib_ops[];
extern const int stdlib_n_ops;
/* Makes the gradients of all operators known to the context. */
void stdlib_set_grads(IrCtx *cx);
/* Why an operator has no gradient, "" when nobody says; NULL when it has one.
 * *zero: it has, and it is zero wherever it is defined. */
const char *stdlib_no_gradient(const OpDef *op, bool *zero);
#endif
