/* grad_matrix.c -- gradients of matrix products.                              */
#include "stdlib/grad.h"

/* (..., k) as (rows, k): the leading axes become one. */
static Atom flat_rows(GradCx *g, Atom a, Type *t) {
  int rank = type_resolve(t)->tensor.rank;
  if (rank == 1) return gr(g, "expand_dims(%a, axis=0)", a);
  for (; rank > 2; rank--) {
    GradInts codes = {.n = rank - 1, .at = {-3}}; /* -3: two axes in one; 0: as it is */
    a = gr(g, "reshape(%a, newshape=%l)", a, &codes);
  }
  return a;
}

static bool dense(GradCx *g) {
  if (g->wants[0]) gr_give(g, 0, gr(g, "nn.matmul(g, weight)"));
  if (!g->wants[1]) return true;
  Atom gy = flat_rows(g, gr_g(g, 0), g->y_type), x = flat_rows(g, g->arg[0], g->arg_type[0]);
  gr_give(g, 1, gr(g, "nn.matmul(%a, %a, transpose_a=True)", gy, x));
  return true;
}

const GradRule grad_matrix_rules[] = {{.op = "nn.dense", .hook = dense}, {0}};
