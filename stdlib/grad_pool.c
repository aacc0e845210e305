/* grad_pool.c -- gradients of pools and resizing.                              */
#include <stdint.h>
#include <string.h>
#include "stdlib/grad.h"
#include "stdlib/layout.h"

/* ---- pools --------------------------------------------------------------------------- */

static bool pool2d(GradCx *g, bool max) {
  const char *rest = "pool_size=$pool_size, strides=$strides, dilation=$dilation, "
                     "padding=$padding, layout=$layout, ceil_mode=$ceil_mode";
  const char *text = str_fmt("nn.%s_pool2d_grad(g, data, %s%s)", max ? "max" : "avg", rest,
                             max ? "" : ", count_include_pad=$count_include_pad");
  gr_give(g, 0, gr(g, text));
  return true;
}
static bool max_pool2d(GradCx *g) { return pool2d(g, true); }
static bool avg_pool2d(GradCx *g) { return pool2d(g, false); }

/* A pool is one pool over each axis after the other, for averages too: the
 * number of cells in a window is a product.  (n, a, b, c): over b. */
typedef struct {
  int64_t size, stride, dilation, before, after;
  bool max, ceil, counts;
} Line;

static Atom line_pool(GradCx *g, const Line *p, const char *name, Atom gy, Atom x) {
  GradInts size = {2, {p->size, 1}}, stride = {2, {p->stride, 1}}, dilation = {2, {p->dilation, 1}};
  GradInts pad = {4, {p->before, 0, p->after, 0}};
  const char *text =
      str_fmt("nn.%s_pool2d%s(%s%%a, pool_size=%%l, strides=%%l, dilation=%%l, padding=%%l, "
              "ceil_mode=%s%s)",
              p->max ? "max" : "avg", name, *name ? "%a, " : "", p->ceil ? "True" : "False",
              p->max      ? ""
              : p->counts ? ", count_include_pad=True"
                          : ", count_include_pad=False");
  if (!*name) return gr(g, text, x, &size, &stride, &dilation, &pad);
  return gr(g, text, gy, x, &size, &stride, &dilation, &pad);
}

/* x (n, c, s...) with axis as the third of four. */
static Atom as_line(GradCx *g, Atom x, int rank, int axis) {
  GradInts codes = {0};
  if (axis == 2) codes.at[codes.n++] = 0, codes.at[codes.n++] = 0;
  /* -3 joins two axes; three leading axes are joined to two first */
  if (axis == 3) codes.at[codes.n++] = 0, codes.at[codes.n++] = -3;
  if (axis == 4) codes.at[codes.n++] = -3, codes.at[codes.n++] = -3;
  codes.at[codes.n++] = 0;
  int left = rank - axis - 1;
  if (left == 2) codes.at[codes.n++] = -3;
  if (left == 1) codes.at[codes.n++] = 0;
  x = gr(g, "reshape(%a, newshape=%l)", x, &codes);
  return left == 0 ? gr(g, "expand_dims(%a, axis=-1)", x) : x;
}

/* The way back: the axes of `like` but for one. */
static Atom from_line(GradCx *g, Atom y, Atom like, int rank, int axis) {
  if (axis == rank - 1) y = gr(g, "squeeze(%a, axis=[3])", y);
  if (axis == 3)
    y = gr(g, "reshape_like(%a, %a, lhs_begin=1, lhs_end=2, rhs_begin=1, rhs_end=3)", y, like);
  if (axis == 4)
    y = gr(g, "reshape_like(%a, %a, lhs_begin=0, lhs_end=2, rhs_begin=0, rhs_end=4)", y, like);
  if (axis == 2 && rank == 5)
    y = gr(g, "reshape_like(%a, %a, lhs_begin=3, lhs_end=4, rhs_begin=3, rhs_end=5)", y, like);
  return y;
}

static bool pool_lines(GradCx *g, int space, bool max) {
  int rank = space + 2;
  const char *layout = attr_str(g->attrs, "layout");
  GradInts perm, back, size, stride, dilation, pad;
  if (!grad_order(layout, grad_layouts[space], &perm, &back))
    return gr_refuse(g, "no gradient for packed layouts");
  grad_ints(g, "pool_size", space, &size);
  grad_ints(g, "strides", space, &stride);
  grad_ints(g, "dilation", space, &dilation);
  grad_padding(g, space, &pad);
  Atom at[MAX_SPATIAL + 1];
  Line line[MAX_SPATIAL];
  at[0] = grad_permuted(g, g->arg[0], &perm);
  for (int i = 0; i < space; i++) {
    line[i] = (Line){size.at[i],
                     stride.at[i],
                     dilation.at[i],
                     pad.at[i],
                     pad.at[i + space],
                     max,
                     attr_bool(g->attrs, "ceil_mode"),
                     !max && attr_bool(g->attrs, "count_include_pad")};
    Atom y = line_pool(g, &line[i], "", (Atom){0}, as_line(g, at[i], rank, i + 2));
    at[i + 1] = from_line(g, y, at[i], rank, i + 2);
  }
  Atom d = gr(g, "reshape_like(%a, %a)", grad_permuted(g, gr_g(g, 0), &perm), at[space]);
  for (int i = space - 1; i >= 0; i--) {
    Atom x = as_line(g, at[i], rank, i + 2);
    Atom y = line_pool(g, &line[i], "", (Atom){0}, x);
    d = line_pool(g, &line[i], "_grad", gr(g, "reshape_like(%a, %a)", d, y), x);
    d = gr(g, "reshape_like(%a, %a)", d, at[i]);
  }
  gr_give(g, 0, gr_reshape(g, grad_permuted(g, d, &back), 0));
  return true;
}
static bool max_pool1d(GradCx *g) { return pool_lines(g, 1, true); }
static bool max_pool3d(GradCx *g) { return pool_lines(g, 3, true); }
static bool avg_pool1d(GradCx *g) { return pool_lines(g, 1, false); }
static bool avg_pool3d(GradCx *g) { return pool_lines(g, 3, false); }

/* Linear in the gradient it is given. */
static bool avg_pool2d_grad(GradCx *g) {
  if (g->wants[0])
    gr_give(g, 0,
            gr(g, "nn.avg_pool2d(g, pool_size=$pool_size, strides=$strides, "
                  "dilation=$dilation, padding=$padding, layout=$layout, "
                  "ceil_mode=$ceil_mode, count_include_pad=$count_include_pad)"));
  return true;
}

/* Each window's element of g at the place of data's first maximum: the cells of
 * the windows as slices, chosen from the last to the first. */
static bool max_pool2d_grad(GradCx *g) {
  if (!g->wants[0]) return true;
  GradInts perm, back, size, stride, dilation, pad;
  if (!grad_order(attr_str(g->attrs, "layout"), "NCHW", &perm, &back))
    return gr_refuse(g, "no gradient for packed layouts");
  grad_ints(g, "pool_size", 2, &size);
  grad_ints(g, "strides", 2, &stride);
  grad_ints(g, "dilation", 2, &dilation);
  grad_padding(g, 2, &pad);
  Atom x = grad_permuted(g, g->arg[1], &perm), dx = grad_permuted(g, gr_g(g, 0), &perm);
  Atom pooled = grad_permuted(g, g->arg[0], &perm);
  Atom best = gr(g,
                 "nn.max_pool2d(%a, pool_size=%l, strides=%l, dilation=%l, padding=%l, "
                 "ceil_mode=$ceil_mode)",
                 x, &size, &stride, &dilation, &pad);
  /* ceil_mode may let a window reach past the padding: one step more of it */
  GradInts around = {
      8, {0, 0, 0, 0, pad.at[0], pad.at[2] + stride.at[0], pad.at[1], pad.at[3] + stride.at[1]}};
  DType t = gr_dtype(g, 1);
  Atom low = gr(g, "nn.pad(%a, %a, pad_width=%p)", x, gr_const(g, -1e30, t), &around);
  Atom from = gr(g, "nn.pad(%a, 0, pad_width=%p)", dx, &around), out = from;
  for (int64_t i = size.at[0] - 1; i >= 0; i--)
    for (int64_t k = size.at[1] - 1; k >= 0; k--) {
      GradInts begin = {4, {0, 0, i * dilation.at[0], k * dilation.at[1]}};
      GradInts end = {4, {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX}};
      GradInts step = {4, {1, 1, stride.at[0], stride.at[1]}}, axes = {2, {2, 3}};
      const char *cut = "reshape_like(slice_like(strided_slice(%a, begin=%l, end=%l, strides=%l), "
                        "%a, axes=%l), %a)";
      Atom here = gr(g, cut, low, &begin, &end, &step, best, &axes, best);
      Atom value = gr(g, cut, from, &begin, &end, &step, best, &axes, best);
      bool first = i == size.at[0] - 1 && k == size.at[1] - 1;
      out = gr(g, "where(equal(%a, %a), %a, %a)", here, best, value,
               first ? gr(g, "zeros_like(%a)", best) : out);
    }
  gr_give(g, 0, grad_permuted(g, gr(g, "reshape_like(%a, %a)", out, pooled), &back));
  return true;
}

/* The axes of space; false: the layout is packed. */
static bool space_of(GradCx *g, GradInts *axes) {
  const char *l = attr_str(g->attrs, "layout");
  axes->n = 0;
  for (int i = 0; l[i]; i++)
    if (strchr("DHW", l[i])) axes->at[axes->n++] = i;
  return (int)strlen(l) == gr_rank(g, 0);
}

static bool global_max(GradCx *g) {
  GradInts axes;
  if (!space_of(g, &axes)) return gr_refuse(g, "no gradient for packed layouts");
  Atom at = gr(g, "cast_like(equal(data, y), data)");
  gr_give(g, 0, gr(g, "%a * (g / sum(%a, axis=%l, keepdims=True))", at, at, &axes));
  return true;
}

/* ---- linear along each spatial axis: resizing, adaptive averages ---------------------------
 *
 * What the operator does to one axis is a matrix, found by giving it the unit
 * vectors; the gradient is a product with it for each axis.                     */

static Atom unit_vectors(GradCx *g, int axis) {
  const char *t = dtype_name(gr_dtype(g, 0));
  int64_t n;
  if (dim_is_const(gr_type(g, 0)->tensor.dim[axis], &n)) {
    Atom i = gr(g, "arange(%a, %a, %a, dtype=\"int64\")", gr_int(g, 0), gr_int(g, n), gr_int(g, 1));
    return gr(g, "expand_dims(one_hot(%a, 1, 0, depth=%d, dtype=%s), axis=0)", i, n, t);
  }
  Atom d = gr(g, "dim(data, %a)", gr_int(g, axis));
  Atom i = gr(g, "arange(%a, %a, %a, dtype=\"int64\")", gr_int(g, 0), d, gr_int(g, 1));
  return gr(g, "expand_dims(dyn.one_hot(%a, 1, 0, %a, dtype=%s), axis=0)", i, d, t);
}

/* (in, out) of the axis; text takes (1, in, in) to (1, in, out). */
static Atom axis_back(GradCx *g, Atom d, Atom matrix, int rank, int axis) {
  GradInts p = {.n = rank};
  for (int i = 0; i < rank; i++) p.at[i] = i;
  p.at[axis] = rank - 1, p.at[rank - 1] = axis;
  Atom m = gr(g, "squeeze(%a, axis=[0])", matrix);
  return grad_permuted(g, gr(g, "nn.dense(%a, %a)", grad_permuted(g, d, &p), m), &p);
}

typedef Atom AxisMatrix(GradCx *g, Atom units, int64_t out, int which);

static bool separable(GradCx *g, AxisMatrix *f) {
  GradInts axes;
  if (!space_of(g, &axes)) return gr_refuse(g, "no gradient for packed layouts");
  Atom d = gr_g(g, 0);
  for (int i = 0; i < axes.n; i++) {
    int axis = (int)axes.at[i];
    int64_t out = 0;
    dim_is_const(type_resolve(g->y_type)->tensor.dim[axis], &out);
    d = axis_back(g, d, f(g, unit_vectors(g, axis), out, i), gr_rank(g, 0), axis);
  }
  gr_give(g, 0, gr_reshape(g, d, 0));
  return true;
}

static Atom adaptive_axis(GradCx *g, Atom units, int64_t out, int which) {
  (void)which;
  return gr(g, "nn.adaptive_avg_pool1d(%a, output_size=%l)", units, &(GradInts){1, {out}});
}
static bool adaptive_avg(GradCx *g) {
  GradInts axes;
  int64_t out;
  if (!space_of(g, &axes)) return gr_refuse(g, "no gradient for packed layouts");
  for (int i = 0; i < axes.n; i++)
    if (!dim_is_const(type_resolve(g->y_type)->tensor.dim[axes.at[i]], &out) || out != 1)
      return separable(g, adaptive_axis);
  gr_give(g, 0, grad_spread(g, gr(g, "g / %a", grad_count(g, &axes)), 0));
  return true;
}

static Atom resize_axis(GradCx *g, Atom units, int64_t out, int which) {
  (void)which;
  return gr(g,
            "image.resize1d(%a, size=%l, layout=\"NCW\", method=$method, "
            "coordinate_transformation_mode=$coordinate_transformation_mode, "
            "rounding_method=$rounding_method, cubic_alpha=$cubic_alpha, "
            "cubic_exclude=$cubic_exclude)",
            units, &(GradInts){1, {out}});
}
static bool resize(GradCx *g) {
  if (strstr(attr_str(g->attrs, "coordinate_transformation_mode"), "crop"))
    return gr_refuse(g, "no gradient is written for tf_crop_and_resize");
  return separable(g, resize_axis);
}

/* An image that varies along one axis, scaled along that axis only. */
static Atom upsample_axis(GradCx *g, Atom units, int64_t out, int which) {
  static const char *const name2[] = {"scale_h", "scale_w"};
  static const char *const name3[] = {"scale_d", "scale_h", "scale_w"};
  bool three = gr_rank(g, 0) == 5;
  double scale = attr_float(g->attrs, three ? name3[which] : name2[which]);
  (void)out;
  Atom x = gr(g, "expand_dims(%a, axis=3, num_newaxis=%d)", units, (int64_t)(three ? 2 : 1));
  const char *text =
      three ? "nn.upsampling3d(%a, scale_d=%f, scale_h=1., scale_w=1., method=$method, "
              "coordinate_transformation_mode=$coordinate_transformation_mode)"
            : "nn.upsampling(%a, scale_h=%f, scale_w=1., method=$method, "
              "align_corners=$align_corners)";
  Atom m = gr(g, text, x, scale);
  return gr(g, three ? "squeeze(%a, axis=[3, 4])" : "squeeze(%a, axis=[3])", m);
}
static bool upsample(GradCx *g) { return separable(g, upsample_axis); }

/* A maximum over windows [i in / out, ceil((i + 1) in / out)) is one over each
 * axis after the other. */
typedef struct {
  int64_t in, out;
  int axis;
} Windows;

static Atom window(GradCx *g, const Windows *w, Atom x, int64_t i) {
  GradInts from = {1, {i * w->in / w->out}}, to = {1, {((i + 1) * w->in + w->out - 1) / w->out}};
  GradInts axis = {1, {w->axis}};
  return gr(g, "strided_slice(%a, begin=%l, end=%l, axes=%l)", x, &from, &to, &axis);
}

static Atom window_max(GradCx *g, const Windows *w, Atom x) {
  Atom *at = NEW_N(Atom, w->out + 1);
  GradInts axis = {1, {w->axis}};
  for (int64_t i = 0; i < w->out; i++)
    at[i] = gr(g, "max(%a, axis=%l, keepdims=True)", window(g, w, x, i), &axis);
  return gr(g, "concatenate(%a, axis=%d)", gr_tuple(g, (int)w->out, at), (int64_t)w->axis);
}

static Atom window_back(GradCx *g, const Windows *w, Atom d, Atom x, Atom y, int rank) {
  Atom sum = d;
  GradInts axis = {1, {w->axis}};
  for (int64_t i = 0; i < w->out; i++) {
    GradInts from = {1, {i}}, to = {1, {i + 1}}, pad = {.n = 2 * rank};
    const char *one = "strided_slice(%a, begin=%l, end=%l, axes=%l)";
    Atom gi = gr(g, one, d, &from, &to, &axis), yi = gr(g, one, y, &from, &to, &axis);
    Atom at = gr(g, "cast_like(equal(%a, %a), data)", window(g, w, x, i), yi);
    Atom di = gr(g, "%a * (%a / sum(%a, axis=%l, keepdims=True))", at, gi, at, &axis);
    pad.at[2 * w->axis] = i * w->in / w->out;
    pad.at[2 * w->axis + 1] = w->in - ((i + 1) * w->in + w->out - 1) / w->out;
    di = gr(g, "nn.pad(%a, 0, pad_width=%p)", di, &pad);
    sum = i ? gr(g, "%a + %a", sum, di) : di;
  }
  return sum;
}

static bool adaptive_max(GradCx *g) {
  const char *l = attr_str(g->attrs, "layout");
  GradInts in, out;
  int rank = gr_rank(g, 0), n = 0;
  if (!gr_shape(gr_type(g, 0), &in) || !gr_shape(g->y_type, &out) || (int)strlen(l) != rank)
    return gr_refuse(g, "the gradient wants extents known when compiling, and no packed layout");
  Windows w[MAX_SPATIAL];
  Atom at[MAX_SPATIAL + 1] = {g->arg[0]};
  for (int i = 0; i < rank; i++) {
    if (!strchr("DHW", l[i])) continue;
    w[n] = (Windows){in.at[i], out.at[i], i};
    at[n + 1] = window_max(g, &w[n], at[n]);
    n++;
  }
  Atom d = gr_g(g, 0);
  while (n-- > 0) d = window_back(g, &w[n], d, at[n], at[n + 1], rank);
  gr_give(g, 0, d);
  return true;
}

#define RUN_TIME "no gradient is written for interpolation at positions known only when it runs"
const GradRule grad_pool_rules[] = {
    {.op = "nn.max_pool1d", .hook = max_pool1d},
    {.op = "nn.max_pool2d", .hook = max_pool2d},
    {.op = "nn.max_pool3d", .hook = max_pool3d},
    {.op = "nn.avg_pool1d", .hook = avg_pool1d, .tangent = TAN_Linear},
    {.op = "nn.avg_pool2d", .hook = avg_pool2d, .tangent = TAN_Linear},
    {.op = "nn.avg_pool3d", .hook = avg_pool3d, .tangent = TAN_Linear},
    {.op = "nn.max_pool2d_grad", .hook = max_pool2d_grad},
    {.op = "nn.avg_pool2d_grad", .hook = avg_pool2d_grad},
    {.op = "nn.adaptive_avg_pool1d", .hook = adaptive_avg, .tangent = TAN_Linear},
    {.op = "nn.adaptive_avg_pool2d", .hook = adaptive_avg, .tangent = TAN_Linear},
    {.op = "nn.adaptive_avg_pool3d", .hook = adaptive_avg, .tangent = TAN_Linear},
    {.op = "nn.global_avg_pool2d", .hook = adaptive_avg, .tangent = TAN_Linear},
    {.op = "nn.adaptive_max_pool1d", .hook = adaptive_max},
    {.op = "nn.adaptive_max_pool2d", .hook = adaptive_max},
    {.op = "nn.adaptive_max_pool3d", .hook = adaptive_max},
    {.op = "nn.global_max_pool2d", .hook = global_max},
    {.op = "image.resize1d", .hook = resize, .tangent = TAN_Linear},
    {.op = "image.resize2d", .hook = resize, .tangent = TAN_Linear},
    {.op = "image.resize3d", .hook = resize, .tangent = TAN_Linear},
    {.op = "nn.upsampling", .hook = upsample, .tangent = TAN_Linear},
    {.op = "nn.upsampling3d", .hook = upsample, .tangent = TAN_Linear},
    {.op = "dyn.image.resize2d", .why_not = RUN_TIME},
    {.op = "dyn.nn.upsampling", .why_not = RUN_TIME},
    {.op = "dyn.nn.upsampling3d", .why_not = RUN_TIME},
    {.op = "vision.roi_align", .why_not = RUN_TIME},
    {.op = "vision.roi_pool", .why_not = RUN_TIME},
    {.op = "stft", .why_not = "no gradient is written: it is for features, before what is trained"},
    {.op = "sparse_fill_empty_rows",
     .why_not = "no gradient is written: the rows it adds are known only when it runs"},
    {0}};
