/* grad_nn.c -- gradients of normalisations, biases per channel and losses.    */
#include <stdint.h>
#include "stdlib/grad.h"

static int attr_axis(const GradCx *g, int rank) {
  int64_t a = attr_int(g->attrs, "axis");
  return (int)(a < 0 ? a + rank : a);
}

static void all_but(int rank, int axis, GradInts *out) {
  out->n = 0;
  for (int i = 0; i < rank; i++)
    if (i != axis) out->at[out->n++] = i;
}

/* A vector along one axis of rank axes. */
static Atom along(GradCx *g, Atom v, int rank, int axis) {
  int64_t more = rank - 1 - axis;
  return more ? gr(g, "expand_dims(%a, axis=1, num_newaxis=%d)", v, more) : v;
}

static Atom sum_but(GradCx *g, Atom a, int rank, int axis) {
  GradInts others;
  all_but(rank, axis, &others);
  return others.n ? gr(g, "sum(%a, axis=%l)", a, &others) : a;
}

static bool bias_add(GradCx *g) {
  int rank = gr_rank(g, 0);
  if (g->wants[0]) gr_give(g, 0, gr_g(g, 0));
  if (g->wants[1]) gr_give(g, 1, sum_but(g, gr_g(g, 0), rank, attr_axis(g, rank)));
  return true;
}

static bool prelu(GradCx *g) {
  int rank = gr_rank(g, 0), axis = attr_axis(g, rank);
  Atom slope = along(g, g->arg[1], rank, axis);
  if (g->wants[0]) gr_give(g, 0, gr(g, "where(greater(data, 0), g, g * %a)", slope));
  if (g->wants[1]) {
    Atom d = gr(g, "where(greater(data, 0), 0, g * data)");
    gr_give(g, 1, sum_but(g, d, rank, axis));
  }
  return true;
}

/* ---- normalisations ---------------------------------------------------------------------
 *
 * y = gamma n + beta with n = (x - mean) r, r = 1 / sqrt(variance + epsilon), the
 * statistics over some axes:  dx = r (d - mean(d) - n mean(d n)), d = gamma g.  */

typedef struct {
  Atom n, r; /* normalised data, with kept axes             */
  GradInts axes;
} Normal;

static Normal normal(GradCx *g, Atom x, const GradInts *axes) {
  Atom m = gr(g, "mean(%a, axis=%l, keepdims=True)", x, axes);
  Atom c = gr(g, "%a - %a", x, m);
  Atom v = gr(g, "mean(%a * %a, axis=%l, keepdims=True)", c, c, axes);
  Atom r = gr(g, "rsqrt(%a + $epsilon)", v);
  return (Normal){gr(g, "%a * %a", c, r), r, *axes};
}

static Atom normal_back(GradCx *g, const Normal *k, Atom d) {
  Atom m = gr(g, "mean(%a, axis=%l, keepdims=True)", d, &k->axes);
  Atom s = gr(g, "mean(%a * %a, axis=%l, keepdims=True)", d, k->n, &k->axes);
  return gr(g, "%a * (%a - %a - %a * %a)", k->r, d, m, k->n, s);
}

static Atom scaled(GradCx *g, Atom gy, int rank, int axis) {
  if (!attr_bool(g->attrs, "scale")) return gy;
  return gr(g, "%a * %a", gy, along(g, g->arg[1], rank, axis));
}

static void give_affine(GradCx *g, Atom n, int rank, int axis) {
  if (g->wants[1] && attr_bool(g->attrs, "scale"))
    gr_give(g, 1, sum_but(g, gr(g, "%a * %a", gr_g(g, 0), n), rank, axis));
  if (g->wants[2] && attr_bool(g->attrs, "center"))
    gr_give(g, 2, sum_but(g, gr_g(g, 0), rank, axis));
}

static bool norm_over(GradCx *g, const GradInts *axes, int axis) {
  int rank = gr_rank(g, 0);
  Normal k = normal(g, g->arg[0], axes);
  give_affine(g, k.n, rank, axis);
  if (g->wants[0]) gr_give(g, 0, normal_back(g, &k, scaled(g, gr_g(g, 0), rank, axis)));
  return true;
}

static bool layer_norm(GradCx *g) {
  int axis = attr_axis(g, gr_rank(g, 0));
  return norm_over(g, &(GradInts){.n = 1, .at = {axis}}, axis);
}

static bool instance_norm(GradCx *g) {
  int rank = gr_rank(g, 0), axis = attr_axis(g, rank);
  GradInts axes = {0};
  for (int i = 1; i < rank; i++)
    if (i != axis) axes.at[axes.n++] = i;
  return norm_over(g, &axes, axis);
}

/* The channels (axis) as groups of channels. */
static bool group_norm(GradCx *g) {
  int rank = gr_rank(g, 0), axis = attr_axis(g, rank);
  int64_t groups = attr_int(g->attrs, "num_groups");
  GradInts cut = {0}, axes = {0};
  for (int i = 0; i < rank; i++) {
    if (i != axis) {
      cut.at[cut.n++] = 0;
      continue;
    }
    cut.at[cut.n++] = -4; /* one axis in two */
    cut.at[cut.n++] = groups;
    cut.at[cut.n++] = -1;
  }
  for (int i = 1; i < rank + 1; i++)
    if (i != axis) axes.at[axes.n++] = i;
  Normal k = normal(g, gr(g, "reshape(data, newshape=%l)", &cut), &axes);
  give_affine(g, gr_reshape(g, k.n, 0), rank, axis);
  if (!g->wants[0]) return true;
  Atom d = gr(g, "reshape(%a, newshape=%l)", scaled(g, gr_g(g, 0), rank, axis), &cut);
  gr_give(g, 0, gr_reshape(g, normal_back(g, &k, d), 0));
  return true;
}

/* The statistics are operands, and handed on. */
static bool batch_norm(GradCx *g) {
  int rank = gr_rank(g, 0), axis = attr_axis(g, rank);
  Atom gy = gr_g(g, 0), r = gr(g, "rsqrt(moving_var + $epsilon)");
  bool scale = attr_bool(g->attrs, "scale");
  Atom factor = scale ? gr(g, "gamma * %a", r) : r;
  Atom c = gr(g, "data - %a", along(g, g->arg[3], rank, axis));
  Atom sum_g = sum_but(g, gy, rank, axis);
  Atom sum_gc = sum_but(g, gr(g, "%a * %a", gy, c), rank, axis);
  if (g->wants[0]) gr_give(g, 0, gr(g, "%a * %a", gy, along(g, factor, rank, axis)));
  if (g->wants[1] && scale) gr_give(g, 1, gr(g, "%a * %a", sum_gc, r));
  if (g->wants[2] && attr_bool(g->attrs, "center")) gr_give(g, 2, sum_g);
  if (g->wants[3]) gr_give(g, 3, gr(g, "%a - %a * %a", gr_g(g, 1), sum_g, factor));
  if (g->wants[4])
    gr_give(g, 4, gr(g, "%a - 0.5 * %a * %a * %a * %a", gr_g(g, 2), sum_gc, factor, r, r));
  return true;
}

/* x / sqrt(max(sum(x^2), eps)) */
static bool l2_normalize(GradCx *g) {
  GradInts axes;
  grad_axes(g, "axis", gr_rank(g, 0), true, &axes);
  Atom s = gr(g, "sum(data * data, axis=%l, keepdims=True)", &axes);
  Atom r = gr(g, "rsqrt(maximum(%a, $eps))", s);
  Atom p = gr(g, "sum(g * y, axis=%l, keepdims=True)", &axes);
  Atom on = gr(g, "cast_like(greater(%a, $eps), data)", s);
  gr_give(g, 0, gr(g, "%a * (g - y * %a * %a)", r, p, on));
  return true;
}

/* Sum over a window of odd size along an axis, by differences of running sums. */
static Atom window_sum(GradCx *g, Atom a, int rank, int axis, int64_t size) {
  GradInts pad = {.n = 2 * rank}, ends = {.n = 1}, begin = {.n = 1}, ax = {.n = 1, .at = {axis}};
  int64_t half = size / 2;
  pad.at[2 * axis] = pad.at[2 * axis + 1] = half;
  Atom p = gr(g, "nn.pad(%a, 0, pad_width=%p)", a, &pad), sum = p;
  for (int64_t i = 0; i < size; i++) {
    begin.at[0] = i;
    ends.at[0] = i + 1 - size ? i + 1 - size : INT32_MAX;
    Atom s = gr(g, "strided_slice(%a, begin=%l, end=%l, axes=%l)", p, &begin, &ends, &ax);
    sum = i ? gr(g, "%a + %a", sum, s) : s;
  }
  return gr_reshape(g, sum, 0);
}

/* y = x u^-beta, u = bias + alpha / size * window(x^2). */
static bool lrn(GradCx *g) {
  int rank = gr_rank(g, 0), axis = attr_axis(g, rank);
  int64_t size = attr_int(g->attrs, "size");
  double factor = attr_float(g->attrs, "alpha") / (double)size, beta = attr_float(g->attrs, "beta");
  DType t = gr_dtype(g, 0);
  Atom w = window_sum(g, gr(g, "data * data"), rank, axis, size);
  Atom u = gr(g, "$bias + %a * %a", gr_const(g, factor, t), w);
  Atom p = gr(g, "power(%a, %a)", u, gr_const(g, -beta, t));
  Atom back = window_sum(g, gr(g, "g * y / %a", u), rank, axis, size);
  gr_give(g, 0, gr(g, "g * %a - %a * data * %a", p, gr_const(g, 2 * factor * beta, t), back));
  return true;
}

/* ---- losses --------------------------------------------------------------------------- */

static Atom batch(GradCx *g) {
  int64_t n;
  DType t = gr_dtype(g, 0);
  if (dim_is_const(gr_type(g, 0)->tensor.dim[0], &n)) return gr_const(g, (double)n, t);
  return gr(g, "cast(dim(predictions, %a), dtype=%s)", gr_int(g, 0), dtype_name(t));
}

static bool cross_entropy(GradCx *g) {
  Atom c = gr(g, "-(g / %a)", batch(g));
  if (g->wants[0]) gr_give(g, 0, gr(g, "%a * targets / predictions", c));
  if (g->wants[1]) gr_give(g, 1, gr(g, "%a * log(predictions)", c));
  return true;
}

static bool cross_entropy_with_logits(GradCx *g) {
  Atom c = gr(g, "-(g / %a)", batch(g));
  if (g->wants[0]) gr_give(g, 0, gr(g, "%a * targets", c));
  if (g->wants[1]) gr_give(g, 1, gr(g, "%a * predictions", c));
  return true;
}

/* With h = 1 at each target that counts: each term is -sum(h w p) over classes. */
static bool nll_loss(GradCx *g) {
  int rank = gr_rank(g, 0);
  const char *t = dtype_name(gr_dtype(g, 0));
  char how = attr_str(g->attrs, "reduction")[0];
  Atom depth = gr(g, "dim(predictions, %a)", gr_int(g, 1));
  int64_t classes;
  Atom hot = dim_is_const(gr_type(g, 0)->tensor.dim[1], &classes)
                 ? gr(g, "one_hot(targets, 1, 0, depth=%d, axis=1, dtype=%s)", classes, t)
                 : gr(g, "dyn.one_hot(targets, 1, 0, %a, axis=1, dtype=%s)", depth, t);
  Atom ignored = gr(g, "cast(%a, dtype=%s)", gr_int(g, attr_int(g->attrs, "ignore_index")),
                    dtype_name(gr_dtype(g, 1)));
  Atom counts = gr(g, "cast(not_equal(targets, %a), dtype=%s)", ignored, t);
  Atom h = gr(g, "%a * expand_dims(%a, axis=1)", hot, counts);
  Atom hw = gr(g, "%a * %a", h, along(g, g->arg[2], rank, 1));
  Atom all = gr(g, "sum(%a)", hw);
  Atom share = how == 'n'   ? gr(g, "expand_dims(g, axis=1)")
               : how == 's' ? gr_g(g, 0)
                            : gr(g, "g / %a", all);
  if (g->wants[0]) gr_give(g, 0, gr(g, "-(%a * %a)", hw, share));
  if (!g->wants[2]) return true;
  Atom dw = sum_but(g, gr(g, "-(%a * predictions * %a)", h, share), rank, 1);
  if (how == 'm') dw = gr(g, "%a - %a * y * %a", dw, share, sum_but(g, h, rank, 1));
  gr_give(g, 2, dw);
  return true;
}

const GradRule grad_nn_rules[] = {
    {.op = "nn.bias_add", .hook = bias_add, .tangent = TAN_Linear},
    {.op = "nn.prelu", .hook = prelu},
    {.op = "nn.layer_norm", .hook = layer_norm},
    {.op = "nn.instance_norm", .hook = instance_norm},
    {.op = "nn.group_norm", .hook = group_norm},
    {.op = "nn.batch_norm", .hook = batch_norm},
    {.op = "nn.l2_normalize", .hook = l2_normalize},
    {.op = "nn.lrn", .hook = lrn},
    {.op = "nn.cross_entropy", .hook = cross_entropy},
    {.op = "nn.cross_entropy_with_logits", .hook = cross_entropy_with_logits},
    {.op = "nn.nll_loss", .hook = nll_loss},
    {0}};
