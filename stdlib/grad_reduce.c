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

/* The sums of a from each element to the end of its line. */
static Atom from_behind(GradCx *g, Atom a, int64_t axis) {
  return gr(g, "reverse(cumsum(reverse(%a, axis=%d), axis=%d, exclusive=$exclusive), axis=%d)", a,
            axis, axis, axis);
}

/* y_k = x_1 ... x_k: dx_i = sum over k >= i of g_k y_k / x_i before the first zero of a line.
 * With p the products without that zero z: at it the sum of g_k p_k, behind it z times the sum
 * of g_k p_k / x_i, which is 0 but has a derivative.  (Second derivatives by two zeros of one
 * line are not in this.)  No axis: data is flattened. */
static bool cumprod(GradCx *g) {
  const OpAttrVal *a = opattr(g->attrs, "axis");
  int64_t axis = a->none ? 0 : a->i;
  Atom x = gr(g, a->none ? "reshape(cast_like(data, g), newshape=[-1])" : "cast_like(data, g)");
  Atom zero = gr(g, "equal(%a, zeros_like(%a))", x, x);
  Atom count = gr(g, "cumsum(cast(%a, dtype=\"int32\"), axis=%d)", zero, axis);
  Atom none = gr(g, "equal(%a, zeros_like(%a))", count, count);
  Atom first = gr(g, "logical_and(%a, equal(%a, ones_like(%a)))", zero, count, count);
  Atom by = gr(g, "where(%a, ones_like(%a), %a)", zero, x, x);
  Atom without = gr(g, "where(%a, ones_like(%a), %a)", first, x, x);
  Atom z = gr(g, "cumsum(where(%a, %a, zeros_like(%a)), axis=%d)", first, x, x, axis);
  Atom p = gr(g, "g * cumprod(%a, axis=%d, exclusive=$exclusive)", without, axis);
  Atom before = from_behind(g, gr(g, "g * y"), axis), behind = from_behind(g, p, axis);
  Atom r = gr(g, "where(%a, %a / %a, where(%a, %a, %a * %a / %a))", none, before, by, first, behind,
              z, behind, by);
  if (a->none) r = gr(g, "reshape_like(%a, data)", r);
  gr_give(g, 0, gr(g, "cast_like(%a, data)", r));
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
    {.op = "collapse_sum_like", .hook = collapse, .tangent = TAN_Linear},
    {.op = "collapse_sum_to", .hook = collapse, .tangent = TAN_Linear},
    {0}};
