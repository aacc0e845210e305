/* grad_reduce.c -- gradients of reductions and scans.                         */
#include "stdlib/grad.h"

void grad_axes(GradCx *g, const char *attr, int rank, bool empty_is_all, GradInts *out) {
  const OpAttrVal *a = opattr(g->attrs, attr);
  bool named[MAX_RANK] = {false}, all = a->none || (empty_is_all && a->n == 0);
  for (int i = 0; i < a->n && !a->none; i++)
    named[a->ints[i] < 0 ? a->ints[i] + rank : a->ints[i]] = true;
  out->n = 0;
  for (int i = 0; i < rank; i++)
    if (all || named[i]) out->at[out->n++] = i;
}

/* g of a result without some axes of operand arg: with them again, extent 1. */
static Atom restore_axes(GradCx *g, Atom a, int arg, const GradInts *axes) {
  GradInts shape;
  Type *t = gr_type(g, arg);
  if (gr_shape(t, &shape)) {
    for (int i = 0; i < axes->n; i++) shape.at[axes->at[i]] = 1;
    return gr(g, "reshape(%a, newshape=%l)", a, &shape);
  }
  for (int i = 0; i < axes->n; i++) a = gr(g, "expand_dims(%a, axis=%d)", a, axes->at[i]);
  return a;
}

Atom grad_spread(GradCx *g, Atom a, int arg) {
  GradInts shape;
  if (gr_shape(gr_type(g, arg), &shape) && shape.n > 0)
    return gr(g, "broadcast_to(%a, shape=%l)", a, &shape);
  return gr(g, "broadcast_to_like(%a, %a)", a, g->arg[arg]);
}

/* ---- sums ----------------------------------------------------------------------- */

static void reduced(GradCx *g, GradInts *out) {
  int rank = gr_rank(g, 0);
  GradInts named;
  grad_axes(g, "axis", rank, true, &named);
  const OpAttrVal *a = opattr(g->attrs, "axis");
  *out = named;
  if (!attr_bool(g->attrs, "exclude") || a->none || a->n == 0) return;
  out->n = 0;
  for (int i = 0, k = 0; i < rank; i++)
    if (k < named.n && named.at[k] == i)
      k++;
    else
      out->at[out->n++] = i;
}

static Atom kept(GradCx *g, Atom a) {
  GradInts axes;
  reduced(g, &axes);
  return attr_bool(g->attrs, "keepdims") ? a : restore_axes(g, a, 0, &axes);
}

Atom grad_count(GradCx *g, const GradInts *axes) {
  GradInts shape;
  DType t = gr_dtype(g, 0);
  if (gr_shape(gr_type(g, 0), &shape)) {
    double n = 1;
    for (int i = 0; i < axes->n; i++) n *= (double)shape.at[axes->at[i]];
    return gr_const(g, n, t);
  }
  Atom n = gr_const(g, 1, t);
  for (int i = 0; i < axes->n; i++) {
    Atom d = gr(g, "cast(dim(data, %a), dtype=%s)", gr_int(g, axes->at[i]), dtype_name(t));
    n = gr(g, "multiply(%a, %a)", n, d);
  }
  return n;
}

static bool sum(GradCx *g) {
  gr_give(g, 0, grad_spread(g, kept(g, gr_g(g, 0)), 0));
  return true;
}

static bool mean(GradCx *g) {
  GradInts axes;
  reduced(g, &axes);
  Atom share = gr(g, "g / %a", grad_count(g, &axes));
  gr_give(g, 0, grad_spread(g, kept(g, share), 0));
  return true;
}

/* Equal extremes share the gradient. */
static bool extreme(GradCx *g) {
  GradInts axes;
  reduced(g, &axes);
  Atom at = gr(g, "cast_like(equal(data, %a), data)", kept(g, g->y));
  Atom ties = gr(g, "sum(%a, axis=%l, keepdims=True)", at, &axes);
  gr_give(g, 0, gr(g, "%a * (%a / %a)", at, kept(g, gr_g(g, 0)), ties));
  return true;
}

/* The product of all others, without a division: right also at zeros. */
static bool prod(GradCx *g) {
  GradInts axes;
  reduced(g, &axes);
  Atom x = g->arg[0];
  if (axes.n == 0) {
    gr_give(g, 0, gr_g(g, 0));
    return true;
  }
  int rank = gr_rank(g, 0), n = 0;
  GradInts to_front = {.n = rank}, back = {.n = rank};
  for (int i = 0, k = 0; i < rank; i++)
    if (k < axes.n && axes.at[k] == i)
      k++;
    else
      to_front.at[n++] = i;
  for (int k = 0; k < axes.n; k++) to_front.at[n++] = axes.at[k];
  for (int i = 0; i < rank; i++) back.at[to_front.at[i]] = i;
  Atom moved = gr(g, "transpose(%a, axes=%l)", x, &to_front), line = moved;
  int lead = rank - axes.n;
  GradInts flat = {.n = lead + 1};
  for (int i = 0; i < lead; i++) flat.at[i] = 0;
  flat.at[lead] = -1;
  if (axes.n > 1) line = gr(g, "reshape(%a, newshape=%l)", moved, &flat);
  int64_t last = lead;
  Atom before = gr(g, "cumprod(%a, axis=%d, exclusive=True)", line, last);
  Atom after = gr(g, "reverse(cumprod(reverse(%a, axis=%d), axis=%d, exclusive=True), axis=%d)",
                  line, last, last, last);
  Atom others = gr(g, "%a * %a", before, after);
  if (axes.n > 1) others = gr(g, "reshape_like(%a, %a)", others, moved);
  gr_give(g, 0, gr(g, "transpose(%a, axes=%l) * %a", others, &back, kept(g, gr_g(g, 0))));
  return true;
}

/* mean((x - m)^2), the mean m being an operand of its own. */
static bool variance(GradCx *g) {
  GradInts axes;
  reduced(g, &axes);
  Atom n = grad_count(g, &axes);
  if (attr_bool(g->attrs, "unbiased")) n = gr(g, "%a - 1", n);
  Atom d = gr(g, "2 * (data - mean) * (%a / %a)", kept(g, gr_g(g, 0)), n);
  if (g->wants[0]) gr_give(g, 0, d);
  if (g->wants[1]) gr_give(g, 1, gr(g, "-collapse_sum_like(%a, mean)", d));
  return true;
}

/* ---- scans ------------------------------------------------------------------------ */

/* cumsum runs from the front; its transpose from the back.  No axis: data is
 * flattened. */
static bool cumsum(GradCx *g) {
  const OpAttrVal *a = opattr(g->attrs, "axis");
  int64_t axis = a->none ? 0 : a->i, exclusive = attr_bool(g->attrs, "exclusive");
  const char *text = exclusive
                         ? "reverse(cumsum(reverse(g, axis=%d), axis=%d, exclusive=True), axis=%d)"
                         : "reverse(cumsum(reverse(g, axis=%d), axis=%d), axis=%d)";
  Atom r = gr(g, text, axis, axis, axis);
  if (a->none) r = gr(g, "reshape_like(%a, data)", r);
  gr_give(g, 0, gr(g, "cast_like(%a, data)", r));
  return true;
}

/* r_k = f_{k+1} r_{k+1} + h_{k+1}: what comes to each element of a line from those behind it. */
static Atom from_behind(GradCx *g, Atom f, Atom h, int64_t axis) {
  return gr(g,
            "reverse(linear_recurrence(reverse(%a, axis=%d), reverse(%a, axis=%d), axis=%d, "
            "exclusive=True), axis=%d)",
            f, axis, h, axis, axis, axis);
}
/* The same with r_k = h_k + f_{k+1} r_{k+1}. */
static Atom from_here(GradCx *g, Atom f, Atom h, int64_t axis) {
  return gr(g, "%a + %a", h, from_behind(g, f, gr(g, "%a * %a", f, h), axis));
}

/* y_k = x_1 ... x_k: dx_i = x_1 ... x_{i-1} r_i, r_i the sum over k >= i of g_k x_{i+1} ... x_k.
 * Nothing is divided, so zeros are as good as others, in derivatives of any order.  No axis: data
 * is flattened. */
static bool cumprod(GradCx *g) {
  const OpAttrVal *a = opattr(g->attrs, "axis");
  int64_t axis = a->none ? 0 : a->i;
  bool exclusive = attr_bool(g->attrs, "exclusive");
  Atom x = gr(g, a->none ? "reshape(cast_like(data, g), newshape=[-1])" : "cast_like(data, g)");
  Atom before = exclusive ? g->y : gr(g, "cumprod(%a, axis=%d, exclusive=True)", x, axis);
  Atom behind = (exclusive ? from_behind : from_here)(g, x, gr_g(g, 0), axis);
  Atom r = gr(g, "%a * %a", before, behind);
  if (a->none) r = gr(g, "reshape_like(%a, data)", r);
  gr_give(g, 0, gr(g, "cast_like(%a, data)", r));
  return true;
}

/* What reaches y_k is g_k and factor_{k+1} times what reaches y_{k+1}. */
static bool linear_recurrence(GradCx *g) {
  int64_t axis = attr_int(g->attrs, "axis");
  bool exclusive = attr_bool(g->attrs, "exclusive");
  Atom r = (exclusive ? from_behind : from_here)(g, g->arg[0], gr_g(g, 0), axis);
  if (g->wants[1]) gr_give(g, 1, r);
  if (!g->wants[0]) return true;
  Atom before = exclusive ? g->y
                          : gr(g,
                               "linear_recurrence(factor, data, axis=%d, "
                               "exclusive=True)",
                               axis);
  gr_give(g, 0, gr(g, "%a * %a", r, before));
  return true;
}

static bool collapse(GradCx *g) {
  gr_give(g, 0, grad_spread(g, gr_g(g, 0), 0));
  return true;
}

const GradRule grad_reduce_rules[] = {
    {.op = "sum", .hook = sum, .tangent = TAN_Linear},
    {.op = "mean", .hook = mean, .tangent = TAN_Linear},
    {.op = "max", .hook = extreme},
    {.op = "min", .hook = extreme},
    {.op = "prod", .hook = prod},
    {.op = "variance", .hook = variance},
    {.op = "cumsum", .hook = cumsum, .tangent = TAN_Linear},
    {.op = "cumprod", .hook = cumprod},
    {.op = "linear_recurrence", .hook = linear_recurrence},
    {.op = "collapse_sum_like", .hook = collapse, .tangent = TAN_Linear},
    {.op = "collapse_sum_to", .hook = collapse, .tangent = TAN_Linear},
    {0}};
