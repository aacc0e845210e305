/* grad_matrix.c -- gradients of matrix products and of einsum.                */
#include <string.h>
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

static Atom matmul(GradCx *g, Atom a, bool ta, Atom b, bool tb) {
  const char *text = ta && tb ? "nn.matmul(%a, %a, transpose_a=True, transpose_b=True)"
                     : ta     ? "nn.matmul(%a, %a, transpose_a=True)"
                     : tb     ? "nn.matmul(%a, %a, transpose_b=True)"
                              : "nn.matmul(%a, %a)";
  return gr(g, text, a, b);
}

static Atom swapped(GradCx *g, Atom a, int rank) {
  GradInts p = {.n = rank};
  for (int i = 0; i < rank; i++) p.at[i] = i;
  p.at[rank - 1] = rank - 2, p.at[rank - 2] = rank - 1;
  return gr(g, "transpose(%a, axes=%l)", a, &p);
}

/* tensor_a may have leading axes, tensor_b has none. */
static bool matmul_rule(GradCx *g) {
  bool ta = attr_bool(g->attrs, "transpose_a"), tb = attr_bool(g->attrs, "transpose_b");
  Atom gy = gr_g(g, 0), a = g->arg[0], b = g->arg[1];
  int rank = gr_rank(g, 0);
  if (g->wants[0]) {
    Atom da = matmul(g, gy, false, b, !tb);
    gr_give(g, 0, ta && rank > 1 ? swapped(g, da, rank) : da);
  }
  if (!g->wants[1]) return true;
  bool lead = rank != 2;
  if (lead && ta && rank > 1) a = swapped(g, a, rank), ta = false;
  if (lead) a = flat_rows(g, a, g->arg_type[0]), gy = flat_rows(g, gy, g->y_type);
  gr_give(g, 1, tb ? matmul(g, gy, true, a, ta) : matmul(g, a, !ta, gy, false));
  return true;
}

static Atom batched(GradCx *g, Atom a, bool ta, Atom b, bool tb) {
  /* The operator's own defaults differ: both are said. */
  const char *text = ta && tb ? "nn.batch_matmul(%a, %a, transpose_a=True, transpose_b=True)"
                     : ta     ? "nn.batch_matmul(%a, %a, transpose_a=True, transpose_b=False)"
                     : tb     ? "nn.batch_matmul(%a, %a, transpose_a=False, transpose_b=True)"
                              : "nn.batch_matmul(%a, %a, transpose_a=False, transpose_b=False)";
  return gr(g, text, a, b);
}

/* A batch of 1 goes with every other: its gradients are added. */
static Atom batch_back(GradCx *g, Atom d, int arg) {
  Dim mine = gr_type(g, arg)->tensor.dim[0], all = type_resolve(g->y_type)->tensor.dim[0];
  return dim_equal(mine, all) ? d : gr(g, "collapse_sum_like(%a, %a)", d, g->arg[arg]);
}

static bool batch_matmul(GradCx *g) {
  bool ta = attr_bool(g->attrs, "transpose_a"), tb = attr_bool(g->attrs, "transpose_b");
  Atom gy = gr_g(g, 0), a = g->arg[0], b = g->arg[1];
  if (g->wants[0]) {
    Atom d = ta ? batched(g, b, tb, gy, true) : batched(g, gy, false, b, !tb);
    gr_give(g, 0, batch_back(g, d, 0));
  }
  if (g->wants[1]) {
    Atom d = tb ? batched(g, gy, true, a, ta) : batched(g, a, !ta, gy, false);
    gr_give(g, 1, batch_back(g, d, 1));
  }
  return true;
}

/* ---- einsum ------------------------------------------------------------------------- */

enum { MAX_TERMS = 16 };
typedef struct {
  int n;
  char term[MAX_TERMS][32], out[32];
} Equation;

static bool parse_equation(const char *s, Equation *e) {
  char *to = e->term[0];
  int n = 0;
  e->n = 1;
  for (; *s; s++) {
    if (*s == ' ') continue;
    if (*s == '.') return false;
    if (*s == '-' && s[1] == '>') {
      to[n] = 0, n = 0, s++;
      to = e->out;
    } else if (*s == ',') {
      to[n] = 0, n = 0;
      if (e->n == MAX_TERMS) return false;
      to = e->term[e->n++];
    } else if (n < 30) {
      to[n++] = *s;
    }
  }
  to[n] = 0;
  return to == e->out;
}

static bool twice(const char *s) {
  for (; *s; s++)
    if (strchr(s + 1, *s)) return true;
  return false;
}

/* d of term k: the result's gradient with all other terms, onto k's letters;
 * letters of k alone are repeated. */
static Atom einsum_back(GradCx *g, const Equation *e, int k) {
  Atom at[MAX_TERMS + 1], x = gr_part(g, g->arg[0], k);
  StrBuf eq = {0};
  int n = 0;
  at[n++] = gr_g(g, 0);
  buf_str(&eq, e->out);
  for (int i = 0; i < e->n; i++) {
    if (i == k) continue;
    buf_fmt(&eq, ",%s", e->term[i]);
    at[n++] = gr_part(g, g->arg[0], i);
  }
  GradInts alone = {0};
  char kept[32];
  int m = 0;
  for (int i = 0; e->term[k][i]; i++) {
    bool there = strchr(buf_text(&eq), e->term[k][i]) != NULL;
    if (there)
      kept[m++] = e->term[k][i];
    else
      alone.at[alone.n++] = i;
  }
  kept[m] = 0;
  buf_fmt(&eq, "->%s", kept);
  Atom d = gr(g, "einsum(%a, equation=%s)", gr_tuple(g, n, at), buf_text(&eq));
  for (int i = 0; i < alone.n; i++) d = gr(g, "expand_dims(%a, axis=%d)", d, alone.at[i]);
  return alone.n ? gr(g, "broadcast_to_like(%a, %a)", d, x) : d;
}

static bool einsum(GradCx *g) {
  Equation e = {0};
  if (!parse_equation(attr_str(g->attrs, "equation"), &e))
    return gr_refuse(g, "the gradient wants an equation with -> and without ...");
  for (int k = 0; k < e.n; k++)
    if (twice(e.term[k])) return gr_refuse(g, "the gradient wants no letter twice in one operand");
  for (int k = 0; k < e.n; k++) gr_give_leaf(g, 0, k, einsum_back(g, &e, k));
  return true;
}

const GradRule grad_matrix_rules[] = {
    {.op = "nn.dense", .hook = dense, .tangent = TAN_Product},
    {.op = "nn.matmul", .hook = matmul_rule, .tangent = TAN_Product},
    {.op = "nn.batch_matmul", .hook = batch_matmul, .tangent = TAN_Product},
    {.op = "einsum", .hook = einsum, .tangent = TAN_Product},
    {.op = "nn.contrib_dense_pack",
     .why_not = "its weight is packed for one machine; differentiate nn.dense"},
    {0}};
