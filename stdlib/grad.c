/* grad.c -- the gradients of all operators, for the compiler's context.       */
#include "stdlib/grad.h"

static const GradRule lines[] = {
#define GRAD(name, said) {.op = name, .text = said},
#include "stdlib/grad_rules.def"
#undef GRAD
    {0}};

void stdlib_set_grads(IrCtx *cx) {
  irctx_set_grads(cx, lines);
  irctx_set_grads(cx, grad_reduce_rules);
  irctx_set_grads(cx, grad_matrix_rules);
}
