/* grad_index.c -- gradients of gathers, scatters, sorts and masks.            */
#include "stdlib/grad.h"

static Atom positions(GradCx *g, Atom i) { return gr(g, "cast(%a, dtype=\"int64\")", i); }

static int take_axis(const GradCx *g) {
  int64_t a = attr_int(g->attrs, "axis");
  return (int)(a < 0 ? a + gr_rank(g, 0) : a);
}

static Atom extent_of(GradCx *g, int axis) {
  int64_t n;
  if (dim_is_const(gr_type(g, 0)->tensor.dim[axis], &n)) return gr_int(g, n);
  return gr(g, "dim(data, %a)", gr_int(g, axis));
}

/* indices as the operator means them: within [0, n). */
static Atom inside(GradCx *g, Atom n) {
  Atom i = positions(g, g->arg[1]);
  if (attr_str(g->attrs, "mode")[0] == 'w') return gr(g, "floor_mod(%a, %a)", i, n);
  Atom last = gr(g, "subtract(%a, %a)", n, gr_int(g, 1));
  return gr(g, "maximum(minimum(%a, %a), %a)", i, last, gr_int(g, 0));
}

/* Rows of the gradient are added to the rows they were taken from. */
static bool take(GradCx *g) {
  const OpAttrVal *a = opattr(g->attrs, "axis");
  if (attr_int(g->attrs, "batch_dims") != 0) return grad_mover(g);
  if (a->none) {
    Atom flat = gr(g, "reshape(data, newshape=[-1])");
    Atom n = gr(g, "ndarray_size(data, dtype=\"int64\")");
    Atom i = gr(g, "expand_dims(%a, axis=0)", inside(g, n));
    Atom d = gr(g, "scatter_nd(zeros_like(%a), %a, g, mode=\"add\")", flat, i);
    gr_give(g, 0, gr_reshape(g, d, 0));
    return true;
  }
  int axis = take_axis(g), rank = gr_rank(g, 0), ranks = gr_rank(g, 1);
  Atom i = gr(g, "expand_dims(%a, axis=0)", inside(g, extent_of(g, axis)));
  if (axis == 0) {
    gr_give(g, 0, gr(g, "scatter_nd(zeros_like(data), %a, g, mode=\"add\")", i));
    return true;
  }
  /* The taken axes of g to the front, and data's axis too. */
  GradInts gp = {0}, dp = {0}, back = {.n = rank};
  for (int k = 0; k < ranks; k++) gp.at[gp.n++] = axis + k;
  for (int k = 0; k < rank - 1 + ranks; k++)
    if (k < axis || k >= axis + ranks) gp.at[gp.n++] = k;
  dp.at[dp.n++] = axis;
  for (int k = 0; k < rank; k++)
    if (k != axis) dp.at[dp.n++] = k;
  for (int k = 0; k < rank; k++) back.at[dp.at[k]] = k;
  Atom d = gr(g,
              "scatter_nd(transpose(zeros_like(data), axes=%l), %a, transpose(g, axes=%l), "
              "mode=\"add\")",
              &dp, i, &gp);
  gr_give(g, 0, gr(g, "transpose(%a, axes=%l)", d, &back));
  return true;
}

static bool gather_nd(GradCx *g) {
  const OpAttrVal *m = opattr(g->attrs, "index_rank");
  if (attr_int(g->attrs, "batch_dims") != 0) return grad_mover(g);
  Atom i = g->arg[1];
  if (!m->none && gr_type(g, 1)->tensor.dim[0]->kind != DIM_Const) {
    GradInts shape = {2, {m->i, -2}}; /* -2: the other axes as they are */
    i = gr(g, "reshape(%a, newshape=%l)", i, &shape);
  }
  gr_give(g, 0, gr(g, "scatter_nd(zeros_like(data), %a, g, mode=\"add\")", i));
  return true;
}

/* What a scatter reads at the place of each update: g cut to indices, but along
 * axis whole. */
static Atom read_back(GradCx *g) {
  int rank = gr_rank(g, 0), axis = take_axis(g);
  GradInts others = {0};
  for (int i = 0; i < rank; i++)
    if (i != axis) others.at[others.n++] = i;
  Atom cut = gr_g(g, 0);
  if (others.n) cut = gr(g, "slice_like(%a, indices, axes=%l)", cut, &others);
  return gr(g, "gather(%a, indices, axis=%d)", cut, (int64_t)axis);
}

static bool scatter_add(GradCx *g) {
  if (g->wants[0]) gr_give(g, 0, gr_g(g, 0));
  if (g->wants[2]) gr_give(g, 2, gr_reshape(g, read_back(g), 2));
  return true;
}

/* Of updates to one place the last stays: the mover's numbers tell which. */
static bool scatter_nd(GradCx *g) {
  char mode = attr_str(g->attrs, "mode")[0];
  if (mode == 'u') return grad_mover(g);
  if (mode != 'a') return gr_refuse(g, "no gradient is written for the modes mul, min and max");
  if (g->wants[0]) gr_give(g, 0, gr_g(g, 0));
  if (g->wants[2]) gr_give(g, 2, gr_reshape(g, gr(g, "gather_nd(g, indices)"), 2));
  return true;
}

/* ---- sorts ------------------------------------------------------------------------- */

static bool sort(GradCx *g) {
  Atom i = gr(g, "argsort(data, axis=$axis, is_ascend=$is_ascend, dtype=\"int64\")");
  gr_give(g, 0, gr(g, "scatter_add(zeros_like(data), %a, g, axis=$axis)", i));
  return true;
}

static bool topk(GradCx *g) {
  char kind = attr_str(g->attrs, "ret_type")[0];
  Atom i = kind == 'b' ? gr_part(g, g->y, 1)
           : g->n_args > 1
               ? gr(g, "dyn.topk(data, k, axis=$axis, ret_type=\"indices\", is_ascend=$is_ascend)")
               : gr(g, "topk(data, k=$k, axis=$axis, ret_type=\"indices\", is_ascend=$is_ascend)");
  gr_give(g, 0,
          gr(g, "scatter_add(zeros_like(data), %a, %a, axis=$axis)", positions(g, i), gr_g(g, 0)));
  return true;
}

/* ---- values spread by a rule -------------------------------------------------------- */

static bool one_hot(GradCx *g) {
  Type *y = type_resolve(g->y_type);
  const char *t = dtype_name(y->tensor.dtype);
  Atom hot = g->n_args > 3 ? gr(g, "dyn.one_hot(indices, 1, 0, depth, axis=$axis, dtype=%s)", t)
                           : gr(g, "one_hot(indices, 1, 0, depth=$depth, axis=$axis, dtype=%s)", t);
  if (g->wants[1]) gr_give(g, 1, gr(g, "cast_like(sum(g * %a), on_value)", hot));
  if (g->wants[2]) gr_give(g, 2, gr(g, "cast_like(sum(g * (1 - %a)), off_value)", hot));
  return true;
}

static bool arange(GradCx *g) {
  if (g->wants[0]) gr_give(g, 0, gr(g, "cast_like(sum(g), start)"));
  if (!g->wants[2]) return true;
  Atom n = gr(g, "ndarray_size(g, dtype=\"int64\")");
  Atom i = gr(g, "arange(%a, %a, %a, dtype=\"int64\")", gr_int(g, 0), n, gr_int(g, 1));
  gr_give(g, 2, gr(g, "cast_like(sum(g * reshape_like(cast_like(%a, g), g)), step)", i));
  return true;
}

static bool dropout(GradCx *g) {
  gr_give(g, 0, gr_g(g, 0));
  return true;
}

const GradRule grad_index_rules[] = {
    {.op = "take", .hook = take, .tangent = TAN_Linear},
    {.op = "gather",
     .text = "data: scatter_add(zeros_like(data), indices, g, axis=$axis)",
     .tangent = TAN_Linear},
    {.op = "gather_nd", .hook = gather_nd, .tangent = TAN_Linear},
    {.op = "scatter", .hook = grad_mover, .tangent = TAN_Linear},
    {.op = "scatter_add", .hook = scatter_add, .tangent = TAN_Linear},
    {.op = "scatter_nd", .hook = scatter_nd},
    {.op = "sort", .hook = sort},
    {.op = "topk", .hook = topk},
    {.op = "dyn.topk", .hook = topk},
    {.op = "one_hot", .hook = one_hot, .tangent = TAN_Linear},
    {.op = "dyn.one_hot", .hook = one_hot, .tangent = TAN_Linear},
    {.op = "arange", .hook = arange},
    {.op = "nn.dropout", .hook = dropout},
    {.op = "trilu", .text = "data: trilu(g, k, upper=$upper)", .tangent = TAN_Linear},
    {.op = "sequence_mask",
     .text = "data: sequence_mask(g, valid_length, axis=$axis)",
     .tangent = TAN_Linear},
    {0}};
