/* grad.c -- the gradients of all operators, for the compiler's context.       */
#include <string.h>
#include "stdlib/grad.h"

static const GradRule lines[] = {
#define GRAD(name, said) {.op = name, .text = said, .tangent = TAN_Diagonal},
#define LINEAR(name, said) {.op = name, .text = said, .tangent = TAN_Linear},
#define TRANSPOSED(name, said) {.op = name, .text = said},
#include "stdlib/grad_rules.def"
#undef GRAD
#undef LINEAR
#undef TRANSPOSED
    {0}};

static const GradRule *const tables[] = {lines,           grad_reduce_rules, grad_matrix_rules,
                                         grad_move_rules, grad_index_rules,  grad_nn_rules,
                                         grad_conv_rules, grad_pool_rules};
enum { N_TABLES = sizeof tables / sizeof *tables };

void stdlib_set_grads(IrCtx *cx) {
  for (int i = 0; i < N_TABLES; i++) irctx_set_grads(cx, tables[i]);
}

const char *stdlib_no_gradient(const OpDef *op, bool *zero) {
  *zero = false;
  for (int i = 0; i < N_TABLES; i++)
    for (const GradRule *r = tables[i]; r->op; r++) {
      if (strcmp(r->op, op->name)) continue;
      *zero = r->text && !*r->text;
      return r->why_not;
    }
  return op->not_differentiable ? op->not_differentiable : "";
}
