/* grad_move.c -- gradients of operators that move elements.
 *
 * What a mover does is shown by moving the numbers 1, 2, ... of the operand's
 * elements (0 where the result holds none of them); the gradient adds each
 * element of g to the element it came from.  The common movers have shorter
 * rules.                                                                      */
#include <limits.h>
#include "stdlib/grad.h"

/* ---- any mover ------------------------------------------------------------------- */

static Atom count(GradCx *g, Atom x, Type *t) {
  GradInts shape;
  if (!gr_shape(t, &shape)) return gr(g, "ndarray_size(%a, dtype=\"int64\")", x);
  int64_t n = 1;
  for (int i = 0; i < shape.n; i++) n *= shape.at[i];
  return gr_int(g, n);
}

static Atom flat(GradCx *g, Atom a) { return gr(g, "reshape(%a, newshape=[-1])", a); }

/* 1, 2, ... in the shape of x. */
static Atom numbers(GradCx *g, Atom x, Type *t) {
  Atom n = count(g, x, t);
  Atom end = gr(g, "add(%a, %a)", n, gr_int(g, 1));
  Atom line = gr(g, "arange(%a, %a, %a, dtype=\"int64\")", gr_int(g, 1), end, gr_int(g, 1));
  return gr(g, "reshape_like(%a, %a)", line, x);
}

/* Sums of the elements of d over their sources (numbers from 1; 0: none), in
 * the shape of x; what has no source goes to *none if that is asked for. */
static Atom to_sources(GradCx *g, Atom d, Atom source, Atom x, Atom *none) {
  Atom zeros = gr(g, "nn.pad(%a, 0, pad_width=[[1, 0]])", gr(g, "zeros_like(%a)", flat(g, x)));
  Atom sums = gr(g, "scatter_add(%a, %a, %a, axis=0)", zeros, flat(g, source), flat(g, d));
  if (none) *none = gr(g, "take(%a, %a)", sums, gr_int(g, 0));
  Atom kept = gr(g, "strided_slice(%a, begin=[1], end=[%d])", sums, (int64_t)INT32_MAX);
  return gr(g, "reshape_like(%a, %a)", kept, x);
}

static bool is_float(Type *t) {
  t = type_resolve(t);
  return t->kind == TY_Tensor && dtype_is_float(t->tensor.dtype);
}

/* Operands of the call that moves numbers: arg (leaf of it) replaced, other
 * floats zero. */
static Atom number_operand(GradCx *g, Atom a, Type *t) {
  if (!is_float(t)) return a;
  return gr(g, "cast(zeros_like(%a), dtype=\"int64\")", a);
}
static Atom moved_numbers(GradCx *g, int arg, int leaf) {
  Atom *with = NEW_N(Atom, g->n_args + 1);
  for (int i = 0; i < g->n_args; i++) {
    Type *t = gr_type(g, i);
    if (t->kind != TY_Tuple) {
      with[i] = i == arg ? numbers(g, g->arg[i], t) : number_operand(g, g->arg[i], t);
      continue;
    }
    Atom *at = NEW_N(Atom, t->tuple.n + 1);
    for (int k = 0; k < t->tuple.n; k++) {
      Atom x = gr_part(g, g->arg[i], k);
      Type *tk = type_resolve(t->tuple.at[k]);
      at[k] = i == arg && k == leaf ? numbers(g, x, tk) : number_operand(g, x, tk);
    }
    with[i] = gr_tuple(g, t->tuple.n, at);
  }
  return gr_again(g, with, "pad_value");
}

static bool mover_leaf(GradCx *g, int result) {
  for (int i = 0; i < g->n_args; i++) {
    Type *t = gr_type(g, i);
    if (!g->wants[i]) continue;
    for (int k = 0; t->kind == TY_Tuple && k < t->tuple.n; k++) {
      if (!is_float(t->tuple.at[k])) continue;
      Atom from = moved_numbers(g, i, k);
      gr_give_leaf(g, i, k, to_sources(g, gr_g(g, 0), from, gr_part(g, g->arg[i], k), NULL));
    }
    if (t->kind == TY_Tuple || !is_float(t)) continue;
    Atom from = moved_numbers(g, i, -1);
    if (type_resolve(g->y_type)->kind == TY_Tuple) from = gr_part(g, from, result);
    gr_give(g, i, to_sources(g, gr_g(g, result), from, g->arg[i], NULL));
  }
  return true;
}
static bool mover(GradCx *g) { return mover_leaf(g, 0); }

/* A mover whose operand `fill`, a scalar, stands where there is no source. */
static bool filler(GradCx *g, int values, int fill) {
  if (values >= g->n_args) return true;
  Atom rest, from = moved_numbers(g, values, -1);
  Atom d = to_sources(g, gr_g(g, 0), from, g->arg[values], &rest);
  if (g->wants[values]) gr_give(g, values, d);
  if (fill < g->n_args && g->wants[fill])
    gr_give(g, fill, gr_reshape(g, gr(g, "reshape(%a, newshape=[1])", rest), fill));
  return true;
}
static bool dyn_pad(GradCx *g) { return filler(g, 0, 2); }
static bool sparse_to_dense(GradCx *g) { return filler(g, 1, 2); }

/* ---- transpose, cuts and joins -------------------------------------------------------- */

static bool transpose(GradCx *g) {
  const OpAttrVal *a = opattr(g->attrs, "axes");
  GradInts back = {.n = gr_rank(g, 0)};
  for (int i = 0; i < back.n; i++) {
    int64_t from = a->none || a->n == 0 ? back.n - 1 - i : a->ints[i];
    back.at[from < 0 ? from + back.n : from] = i;
  }
  gr_give(g, 0, gr(g, "transpose(g, axes=%l)", &back));
  return true;
}

static int axis_of(const GradCx *g, int rank) {
  int64_t a = attr_int(g->attrs, "axis");
  return (int)(a < 0 ? a + rank : a);
}

/* Extent of an axis, as an int64 scalar. */
static Atom extent(GradCx *g, Atom x, Type *t, int axis) {
  int64_t n;
  if (dim_is_const(type_resolve(t)->tensor.dim[axis], &n)) return gr_int(g, n);
  return gr(g, "dim(%a, %a)", x, gr_int(g, axis));
}

/* The fields of a concatenation whose extents are known when it runs. */
static void cut_dynamic(GradCx *g, Type *t, int axis) {
  Atom from = gr_int(g, 0);
  for (int k = 0; k < t->tuple.n; k++) {
    Atom x = gr_part(g, g->arg[0], k);
    Atom to = gr(g, "add(%a, %a)", from, extent(g, x, t->tuple.at[k], axis));
    Atom at = gr(g, "arange(%a, %a, %a, dtype=\"int64\")", from, to, gr_int(g, 1));
    Atom d = gr(g, "take(g, %a, axis=%d)", at, (int64_t)axis);
    gr_give_leaf(g, 0, k, gr(g, "reshape_like(%a, %a)", d, x));
    from = to;
  }
}

static bool concatenate(GradCx *g) {
  Type *t = gr_type(g, 0);
  int rank = type_resolve(g->y_type)->tensor.rank, axis = axis_of(g, rank);
  GradInts cut = {0};
  int64_t at = 0, n;
  for (int k = 0; k < t->tuple.n; k++) {
    if (!dim_is_const(type_resolve(t->tuple.at[k])->tensor.dim[axis], &n) ||
        cut.n == GRAD_MAX_LEAVES) {
      cut_dynamic(g, t, axis);
      return true;
    }
    if (k + 1 < t->tuple.n) cut.at[cut.n++] = at += n;
  }
  if (t->tuple.n == 1) {
    gr_give_leaf(g, 0, 0, gr_g(g, 0));
    return true;
  }
  Atom all = gr(g, "split(g, indices_or_sections=%l, axis=%d)", &cut, (int64_t)axis);
  for (int k = 0; k < t->tuple.n; k++) gr_give_leaf(g, 0, k, gr_part(g, all, k));
  return true;
}

static bool stack(GradCx *g) {
  int axis = axis_of(g, type_resolve(g->y_type)->tensor.rank);
  for (int k = 0; k < gr_type(g, 0)->tuple.n; k++)
    gr_give_leaf(g, 0, k, gr(g, "take(g, %a, axis=%d)", gr_int(g, k), (int64_t)axis));
  return true;
}

static bool split(GradCx *g) {
  Type *t = type_resolve(g->y_type);
  Atom *at = NEW_N(Atom, t->tuple.n + 1);
  for (int k = 0; k < t->tuple.n; k++) at[k] = gr_g(g, k);
  int64_t axis = axis_of(g, gr_rank(g, 0));
  gr_give(g, 0, gr(g, "concatenate(%a, axis=%d)", gr_tuple(g, t->tuple.n, at), axis));
  return true;
}

/* Field i varies along one axis of the grid. */
static bool meshgrid(GradCx *g) {
  int n = gr_type(g, 0)->tuple.n;
  bool xy = attr_str(g->attrs, "indexing")[0] == 'x';
  for (int k = 0; k < n; k++) {
    int along = xy && n > 1 && k < 2 ? 1 - k : k;
    GradInts others = {0};
    for (int i = 0; i < n; i++)
      if (i != along) others.at[others.n++] = i;
    Atom d = gr_g(g, k);
    if (others.n) d = gr(g, "sum(%a, axis=%l)", d, &others);
    gr_give_leaf(g, 0, k, gr(g, "reshape_like(%a, %a)", d, gr_part(g, g->arg[0], k)));
  }
  return true;
}

/* One step at a time from known bounds is a pad of the gradient. */
static bool slice_is_pad(GradCx *g, GradInts *pad) {
  const OpAttrVal *b = opattr(g->attrs, "begin"), *e = opattr(g->attrs, "end");
  const OpAttrVal *s = opattr(g->attrs, "strides"), *axes = opattr(g->attrs, "axes");
  GradInts shape;
  if (!gr_shape(gr_type(g, 0), &shape) || b->none || e->none) return false;
  for (int i = 0; i < s->n; i++)
    if (s->ints[i] != 1) return false;
  pad->n = 2 * shape.n;
  for (int i = 0; i < pad->n; i++) pad->at[i] = 0;
  bool sizes = attr_str(g->attrs, "slice_mode")[0] == 's';
  for (int i = 0; i < b->n; i++) {
    int64_t axis = axes->none || axes->n == 0 ? i : axes->ints[i], from = b->ints[i], to;
    if (axis < 0) axis += shape.n;
    int64_t n = shape.at[axis];
    if (from < 0) from += n;
    from = from < 0 ? 0 : from > n ? n : from;
    to = i < e->n ? e->ints[i] : INT32_MAX;
    if (sizes)
      to = to < 0 ? n : from + to;
    else if (to < 0)
      to += n;
    to = to < from ? from : to > n ? n : to;
    pad->at[2 * axis] = from;
    pad->at[2 * axis + 1] = n - to;
  }
  return true;
}

static bool strided_slice(GradCx *g) {
  GradInts pad;
  if (!slice_is_pad(g, &pad)) return mover(g);
  gr_give(g, 0, gr(g, "nn.pad(g, 0, pad_width=%p)", &pad));
  return true;
}

static bool pad(GradCx *g) {
  if (attr_str(g->attrs, "pad_mode")[0] != 'c') return mover(g);
  const OpAttrVal *w = opattr(g->attrs, "pad_width");
  int rank = gr_rank(g, 0);
  GradInts from = {.n = rank}, to = {.n = rank};
  for (int i = 0; i < rank; i++) {
    if (w->ints[2 * i] < 0 || w->ints[2 * i + 1] < 0) return filler(g, 0, 1);
    from.at[i] = w->ints[2 * i];
    to.at[i] = w->ints[2 * i + 1] ? -w->ints[2 * i + 1] : INT32_MAX;
  }
  Atom d = gr(g, "strided_slice(g, begin=%l, end=%l)", &from, &to);
  if (g->wants[0]) gr_give(g, 0, gr(g, "reshape_like(%a, data)", d));
  if (g->n_args > 1 && g->wants[1]) gr_give(g, 1, gr(g, "sum(g) - sum(%a)", d));
  return true;
}

static bool dilate(GradCx *g) {
  int rank = gr_rank(g, 0);
  GradInts from = {.n = rank}, to = {.n = rank};
  for (int i = 0; i < rank; i++) to.at[i] = INT32_MAX;
  Atom d = gr(g, "strided_slice(g, begin=%l, end=%l, strides=$strides)", &from, &to);
  gr_give(g, 0, gr_reshape(g, d, 0));
  return true;
}

static bool strided_set(GradCx *g) {
  if (g->wants[0]) gr_give(g, 0, gr(g, "strided_set(g, zeros_like(v), begin, end, strides)"));
  if (g->wants[1])
    gr_give(g, 1, gr(g, "reshape_like(dyn.strided_slice(g, begin, end, strides), v)"));
  return true;
}

const GradRule grad_move_rules[] = {
    {.op = "transpose", .hook = transpose, .tangent = TAN_Linear},
    {.op = "concatenate", .hook = concatenate, .tangent = TAN_Linear},
    {.op = "stack", .hook = stack, .tangent = TAN_Linear},
    {.op = "split", .hook = split, .tangent = TAN_Linear},
    {.op = "meshgrid", .hook = meshgrid, .tangent = TAN_Linear},
    {.op = "strided_slice", .hook = strided_slice, .tangent = TAN_Linear},
    {.op = "strided_set", .hook = strided_set, .tangent = TAN_Linear},
    {.op = "nn.pad", .hook = pad, .tangent = TAN_Linear},
    {.op = "nn.dilate", .hook = dilate, .tangent = TAN_Linear},
    {.op = "dyn.nn.pad", .hook = dyn_pad, .tangent = TAN_Linear},
    {.op = "sparse_to_dense", .hook = sparse_to_dense, .tangent = TAN_Linear},
    {.op = "dyn.sparse_to_dense", .hook = sparse_to_dense, .tangent = TAN_Linear},
    {.op = "tile", .hook = mover, .tangent = TAN_Linear},
    {.op = "dyn.tile", .hook = mover, .tangent = TAN_Linear},
    {.op = "repeat", .hook = mover, .tangent = TAN_Linear},
    {.op = "slice_like", .hook = mover, .tangent = TAN_Linear},
    {.op = "dyn.strided_slice", .hook = mover, .tangent = TAN_Linear},
    {.op = "nn.mirror_pad", .hook = mover, .tangent = TAN_Linear},
    {.op = "adv_index", .hook = mover, .tangent = TAN_Linear},
    {.op = "layout_transform", .hook = mover, .tangent = TAN_Linear},
    {.op = "nn.space_to_depth", .hook = mover, .tangent = TAN_Linear},
    {.op = "nn.depth_to_space", .hook = mover, .tangent = TAN_Linear},
    {.op = "nn.space_to_batch_nd", .hook = mover, .tangent = TAN_Linear},
    {.op = "nn.batch_to_space_nd", .hook = mover, .tangent = TAN_Linear},
    {.op = "reverse_sequence", .hook = mover, .tangent = TAN_Linear},
    {.op = "sliding_window", .hook = mover, .tangent = TAN_Linear},
    {.op = "nn.fifo_buffer", .hook = mover, .tangent = TAN_Linear},
    {.op = "matrix_set_diag", .hook = mover, .tangent = TAN_Linear},
    {0}};

bool grad_mover(GradCx *g) { return mover(g); }
