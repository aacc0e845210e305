/* gen_tensor.c -- tensors made by operators, from the wanted type backwards.  */
#include <string.h>
#include "tests/random/gen.h"

typedef const char *(*Rule)(Gen *g, const GType *t, GScope *s, int depth);

/* An operand that is compared, rounded or ordered. */
static const char *exact(Gen *g, const GType *t, DType dtype, GScope *s, int depth) {
  return g_expr(g, g_tensor(dtype, true, t->rank, t->dim), s, depth);
}
/* An operand that is summed: small, whatever it is. */
static const char *small(Gen *g, const GType *t, GScope *s, int depth) {
  const char *x = g_expr(g, g_tensor(DT_f32, false, t->rank, t->dim), s, depth);
  return str_fmt("tanh(%s)", x);
}

/* ---- element-wise ---------------------------------------------------------------------- */
static const char *unary(Gen *g, const GType *t, GScope *s, int depth) {
  static const char *const any[] = {"negative", "abs", "nn.relu", "tanh", "sigmoid"};
  static const char *const sharp[] = {"floor", "ceil", "round", "trunc",
                                      "sign",  "cos",  "sin",   "erf"};
  const char *x = g_expr(g, t, s, depth - 1);
  if (t->exact && one_in(g, 3)) return str_fmt("%s(%s)", sharp[pick(g, 8)], x);
  return str_fmt("%s(%s)", any[pick(g, 5)], x);
}
/* One operand may be broadcast: fewer axes, or extents of 1. */
static const GType *broadcastable(Gen *g, const GType *t) {
  int dim[G_RANK], drop = t->rank && one_in(g, 3) ? (int)pick(g, (uint32_t)t->rank + 1) : 0;
  for (int i = drop; i < t->rank; i++) dim[i - drop] = one_in(g, 4) ? 1 : t->dim[i];
  return g_tensor(t->dtype, t->exact, t->rank - drop, dim);
}
static const char *binary(Gen *g, const GType *t, GScope *s, int depth) {
  static const char *const op[] = {"add", "subtract", "maximum", "minimum", "multiply"};
  uint32_t k = pick(g, 5);
  const char *a = g_expr(g, t, s, depth - 1);
  const char *b = g_expr(g, broadcastable(g, t), s, depth - 1);
  if (one_in(g, 2)) {
    const char *swap = a;
    a = b, b = swap;
  }
  return str_fmt(k == 4 && t->dtype == DT_f32 ? "tanh(%s(%s, %s))" : "%s(%s, %s)", op[k], a, b);
}
static const char *divide(Gen *g, const GType *t, GScope *s, int depth) {
  const char *a = g_expr(g, t, s, depth - 1);
  if (t->dtype == DT_i32) return str_fmt("floor_divide(%s, %u)", a, 1 + pick(g, 5));
  return str_fmt("divide(%s, add(1.5f, abs(%s)))", a, g_expr(g, broadcastable(g, t), s, depth - 1));
}
static const char *choose(Gen *g, const GType *t, GScope *s, int depth) {
  const char *c = exact(g, t, DT_bool, s, depth - 1), *a = g_expr(g, t, s, depth - 1);
  return str_fmt("where(%s, %s, %s)", c, a, g_expr(g, t, s, depth - 1));
}
static const char *exponential(Gen *g, const GType *t, GScope *s, int depth) {
  const char *x = g_expr(g, t, s, depth - 1);
  if (one_in(g, 2)) return str_fmt("log(add(1.25f, abs(%s)))", x);
  return str_fmt("exp(clip(%s, a_min=-3, a_max=1.5))", x);
}

/* ---- structure ---------------------------------------------------------------------------- */
static const char *ints(int n, const int *v) {
  StrBuf b = {0};
  for (int i = 0; i < n; i++) buf_fmt(&b, "%s%d", i ? ", " : "[", v[i]);
  return n ? (buf_char(&b, ']'), buf_text(&b)) : "[]";
}
static const char *transpose(Gen *g, const GType *t, GScope *s, int depth) {
  int axes[G_RANK], dim[G_RANK];
  for (int i = 0; i < t->rank; i++) axes[i] = i;
  for (int i = 0; i + 1 < t->rank; i++) {
    int k = i + (int)pick(g, (uint32_t)(t->rank - i)), x = axes[i];
    axes[i] = axes[k], axes[k] = x;
  }
  for (int i = 0; i < t->rank; i++) dim[axes[i]] = t->dim[i];
  const GType *from = g_tensor(t->dtype, t->exact, t->rank, dim);
  return str_fmt("transpose(%s, axes=%s)", g_expr(g, from, s, depth - 1), ints(t->rank, axes));
}
static bool is_static(const GType *t) {
  for (int i = 0; i < t->rank; i++)
    if (t->dim[i] < 0) return false;
  return true;
}
static const char *reshape(Gen *g, const GType *t, GScope *s, int depth) {
  int count = 1;
  for (int i = 0; i < t->rank; i++) count *= t->dim[i];
  if (!is_static(t) || count == 0) return choose(g, t, s, depth); /* 0 means: as the data's */
  const GType *from = g_tensor(t->dtype, t->exact, 1, &count);
  return str_fmt("reshape(%s, newshape=%s)", g_expr(g, from, s, depth - 1), ints(t->rank, t->dim));
}
/* An axis with a known extent, at random; -1: none. */
static int static_axis(Gen *g, const GType *t) {
  int n = 0;
  for (int i = 0; i < t->rank; i++) n += t->dim[i] >= 0;
  int k = n ? (int)pick(g, (uint32_t)n) : 0;
  for (int i = 0; n && i < t->rank; i++)
    if (t->dim[i] >= 0 && k-- == 0) return i;
  return -1;
}
static const GType *resized(const GType *t, int axis, int extent) {
  int dim[G_RANK];
  memcpy(dim, t->dim, sizeof dim);
  dim[axis] = extent;
  return g_tensor(t->dtype, t->exact, t->rank, dim);
}
static const char *concatenate(Gen *g, const GType *t, GScope *s, int depth) {
  int axis = static_axis(g, t);
  if (axis < 0) return choose(g, t, s, depth);
  int a = (int)pick(g, (uint32_t)t->dim[axis] + 1);
  const char *x = g_expr(g, resized(t, axis, a), s, depth - 1);
  const char *y = g_expr(g, resized(t, axis, t->dim[axis] - a), s, depth - 1);
  return str_fmt("concatenate((%s, %s), axis=%d)", x, y, axis);
}
static const char *slice(Gen *g, const GType *t, GScope *s, int depth) {
  int axis = static_axis(g, t);
  if (axis < 0) return choose(g, t, s, depth);
  int from = (int)pick(g, 3), step = 1 + (int)pick(g, 2), n = t->dim[axis];
  int end = n ? from + (n - 1) * step + 1 : from;
  const char *x = g_expr(g, resized(t, axis, end + (int)pick(g, 2)), s, depth - 1);
  return str_fmt("strided_slice(%s, begin=[%d], end=[%d], strides=[%d], axes=[%d])", x, from, end,
                 step, axis);
}
static const char *split(Gen *g, const GType *t, GScope *s, int depth) {
  int axis = static_axis(g, t);
  if (axis < 0) return choose(g, t, s, depth);
  uint32_t n = 1 + pick(g, 3);
  const char *x = g_expr(g, resized(t, axis, t->dim[axis] * (int)n), s, depth - 1);
  return str_fmt("split(%s, indices_or_sections=%u, axis=%d).%u", x, n, axis, pick(g, n));
}
static const char *pad(Gen *g, const GType *t, GScope *s, int depth) {
  int axis = static_axis(g, t), before, after;
  if (axis < 0) return choose(g, t, s, depth);
  before = (int)pick(g, (uint32_t)t->dim[axis] + 1);
  after = (int)pick(g, (uint32_t)(t->dim[axis] - before) + 1);
  const char *x = g_expr(g, resized(t, axis, t->dim[axis] - before - after), s, depth - 1);
  StrBuf b = {0};
  for (int i = 0; i < t->rank; i++)
    buf_fmt(&b, "%s[%d, %d]", i ? ", " : "", i == axis ? before : 0, i == axis ? after : 0);
  const char *zero = t->dtype == DT_f32 ? "0.5f" : t->dtype == DT_i32 ? "2" : "True";
  return str_fmt("nn.pad(%s, %s, pad_width=[%s])", x, zero, buf_text(&b));
}
static const char *stack(Gen *g, const GType *t, GScope *s, int depth) {
  int axis = static_axis(g, t), dim[G_RANK], r = 0;
  if (axis < 0 || t->dim[axis] != 2) return choose(g, t, s, depth);
  for (int i = 0; i < t->rank; i++)
    if (i != axis) dim[r++] = t->dim[i];
  const GType *part = g_tensor(t->dtype, t->exact, r, dim);
  const char *x = g_expr(g, part, s, depth - 1);
  return str_fmt("stack((%s, %s), axis=%d)", x, g_expr(g, part, s, depth - 1), axis);
}
static const char *reverse(Gen *g, const GType *t, GScope *s, int depth) {
  if (t->rank == 0) return choose(g, t, s, depth);
  const char *x = g_expr(g, t, s, depth - 1);
  return str_fmt("reverse(%s, axis=%u)", x, pick(g, (uint32_t)t->rank));
}
static const char *take(Gen *g, const GType *t, GScope *s, int depth) {
  if (t->rank == 0) return choose(g, t, s, depth);
  const GType *index = g_tensor(DT_i32, true, 1, t->dim);
  const char *x = g_expr(g, resized(t, 0, 1 + (int)pick(g, 4)), s, depth - 1);
  return str_fmt("take(%s, %s, axis=0)", x, g_expr(g, index, s, depth - 1));
}
static const char *drop_axis(Gen *g, const GType *t, GScope *s, int depth) {
  int dim[G_RANK];
  if (t->rank == G_RANK) return reverse(g, t, s, depth);
  int axis = (int)pick(g, (uint32_t)t->rank + 1);
  for (int i = 0, k = 0; i <= t->rank; i++) dim[i] = i == axis ? 1 : t->dim[k++];
  const GType *from = g_tensor(t->dtype, t->exact, t->rank + 1, dim);
  return str_fmt("squeeze(%s, axis=[%d])", g_expr(g, from, s, depth - 1), axis);
}
static const char *shared(Gen *g, const GType *t, GScope *s, int depth) {
  const char *v = g_fresh(g, "v"), *x = g_expr(g, t, s, depth - 1);
  return str_fmt("{ let %%%s = %s; add(%%%s, %%%s) }", v, x, v, v);
}

/* ---- reductions ------------------------------------------------------------------------------ */
/* t with one more axis, where *axis says. */
static const GType *widened(Gen *g, const GType *t, int *axis) {
  static const int extents[] = {3, 2, 1, DIM_N, DIM_M, 7, 19, 0};
  int dim[G_RANK];
  *axis = (int)pick(g, (uint32_t)t->rank + 1);
  for (int i = 0, k = 0; i <= t->rank; i++) dim[i] = i == *axis ? extents[pick(g, 8)] : t->dim[k++];
  return g_tensor(t->dtype, t->exact, t->rank + 1, dim);
}
static const char *reduce(Gen *g, const GType *t, GScope *s, int depth) {
  int axis;
  if (t->rank == G_RANK) return reverse(g, t, s, depth);
  const GType *from = widened(g, t, &axis);
  if (t->dtype == DT_bool)
    return str_fmt("%s(%s, axis=[%d])", pick(g, 2) ? "any" : "all", g_expr(g, from, s, depth - 1),
                   axis);
  if (t->dtype == DT_i32)
    return str_fmt("%s(%s, axis=[%d])", pick(g, 2) ? "max" : "sum", g_expr(g, from, s, depth - 1),
                   axis);
  if (t->exact || one_in(g, 3))
    return str_fmt("maximum(-9f, max(%s, axis=[%d]))", g_expr(g, from, s, depth - 1), axis);
  return str_fmt("%s(%s, axis=[%d])", pick(g, 2) ? "mean" : "sum", small(g, from, s, depth - 1),
                 axis);
}
static const char *arg_reduce(Gen *g, const GType *t, GScope *s, int depth) {
  int axis;
  if (t->rank == G_RANK) return reverse(g, t, s, depth);
  const GType *from = widened(g, t, &axis);
  if (from->dim[axis] <= 0) return choose(g, t, s, depth);
  return str_fmt("argmax(%s, axis=[%d])",
                 exact(g, from, pick(g, 2) ? DT_f32 : DT_i32, s, depth - 1), axis);
}
static const char *scan(Gen *g, const GType *t, GScope *s, int depth) {
  if (t->rank == 0) return choose(g, t, s, depth);
  uint32_t axis = pick(g, (uint32_t)t->rank);
  if (t->exact && t->dtype == DT_f32)
    return str_fmt("sort(%s, axis=%u)", g_expr(g, t, s, depth - 1), axis);
  if (t->dtype == DT_f32)
    return str_fmt("%s(%s, axis=%u)", pick(g, 2) ? "cumsum" : "nn.softmax",
                   small(g, t, s, depth - 1), axis);
  return str_fmt("cumsum(%s, axis=%u)", g_expr(g, t, s, depth - 1), axis);
}
static const char *normalise(Gen *g, const GType *t, GScope *s, int depth) {
  if (t->rank == 0) return unary(g, t, s, depth);
  const GType *v = g_tensor(DT_f32, false, 1, &t->dim[t->rank - 1]);
  const char *x = small(g, t, s, depth - 1), *a = small(g, v, s, 0);
  return str_fmt("tanh(nn.layer_norm(%s, %s, %s, epsilon=0.1))", x, a, small(g, v, s, 0));
}

/* ---- contractions ---------------------------------------------------------------------------- */
static int depth_extent(Gen *g) {
  static const int extents[] = {3, 2, 1, DIM_N, DIM_M, 8, 17, 0};
  return extents[pick(g, 8)];
}
static const GType *rough_f32(int rank, const int *dim) {
  return g_tensor(DT_f32, false, rank, dim);
}
static const char *product(Gen *g, const GType *t, GScope *s, int depth) {
  if (t->rank != 2 && t->rank != 3) return normalise(g, t, s, depth);
  const int *d = t->dim;
  int k = depth_extent(g), b = t->rank - 2;
  const int left[] = {d[0], b ? d[1] : k, k}, right[] = {d[0], d[b + 1], k}, nk[] = {d[1], k},
            kn[] = {k, d[1]};
  if (b) {
    const char *x = small(g, rough_f32(3, left), s, depth - 1);
    return str_fmt("nn.batch_matmul(%s, %s, transpose_b=True)", x,
                   small(g, rough_f32(3, right), s, depth - 1));
  }
  const char *x = small(g, rough_f32(2, left), s, depth - 1);
  if (pick(g, 2)) return str_fmt("nn.matmul(%s, %s)", x, small(g, rough_f32(2, kn), s, depth - 1));
  const char *y = str_fmt("nn.dense(%s, %s)", x, small(g, rough_f32(2, nk), s, depth - 1));
  if (!pick(g, 2)) return y;
  return str_fmt("nn.relu(nn.bias_add(%s, %s))", y, small(g, rough_f32(1, &d[1]), s, 0));
}
static const char *convolve(Gen *g, const GType *t, GScope *s, int depth) {
  if (t->rank != 3 || t->dim[0] < 0 || t->dim[1] <= 0 || t->dim[2] == 0)
    return product(g, t, s, depth);
  int ci = 1 + (int)pick(g, 3), k = 1 + (int)pick(g, 2);
  int x[] = {t->dim[0], ci, t->dim[1] + k - 1, t->dim[2]}, w[] = {2, ci, k, 1};
  const char *data = small(g, rough_f32(4, x), s, depth - 1);
  return str_fmt("mean(nn.conv2d(%s, %s, kernel_size=[%d, 1], channels=2), axis=[1])", data,
                 small(g, rough_f32(4, w), s, 0), k);
}

/* ---- between element types --------------------------------------------------------------------
 */
static const char *to_float(Gen *g, const GType *t, GScope *s, int depth) {
  if (one_in(g, 3))
    return str_fmt("cast(%s, dtype=\"float32\")", exact(g, t, DT_bool, s, depth - 1));
  return str_fmt("cast(floor_mod(%s, 11), dtype=\"float32\")", exact(g, t, DT_i32, s, depth - 1));
}
static const char *to_int(Gen *g, const GType *t, GScope *s, int depth) {
  DType from = pick(g, 2) ? DT_f32 : DT_bool;
  return str_fmt("cast(%s, dtype=\"int32\")", exact(g, t, from, s, depth - 1));
}
static const char *bits(Gen *g, const GType *t, GScope *s, int depth) {
  static const char *const op[] = {"bitwise_and", "bitwise_or", "bitwise_xor"};
  const char *a = g_expr(g, t, s, depth - 1);
  return str_fmt("%s(%s, %s)", op[pick(g, 3)], a, g_expr(g, broadcastable(g, t), s, depth - 1));
}
static const char *compare(Gen *g, const GType *t, GScope *s, int depth) {
  static const char *const op[] = {"less", "equal", "greater_equal"};
  DType from = pick(g, 2) ? DT_f32 : DT_i32;
  const char *a = exact(g, t, from, s, depth - 1);
  return str_fmt("%s(%s, %s)", op[pick(g, 3)], a,
                 g_expr(g, broadcastable(g, g_tensor(from, true, t->rank, t->dim)), s, depth - 1));
}
static const char *logic(Gen *g, const GType *t, GScope *s, int depth) {
  const char *a = g_expr(g, t, s, depth - 1);
  if (one_in(g, 3)) return str_fmt("logical_not(%s)", a);
  return str_fmt("logical_%s(%s, %s)", pick(g, 2) ? "and" : "or", a, g_expr(g, t, s, depth - 1));
}
/* What is exact may stand where it need not be, when it is small. */
static const char *clipped(Gen *g, const GType *t, GScope *s, int depth) {
  return str_fmt("clip(%s, a_min=-4, a_max=4)", exact(g, t, DT_f32, s, depth - 1));
}

static const Rule anything[] = {transpose, reshape, concatenate, slice,  split,  pad, stack,
                                reverse,   take,    drop_axis,   choose, reduce, scan};
static const Rule floats[] = {unary, binary, binary, binary, divide, exponential};
static const Rule ints_only[] = {binary, bits, to_int, arg_reduce, divide};
static const Rule bools[] = {compare, compare, logic};
static const Rule rough[] = {product, product, normalise, convolve, clipped, shared, reduce};

#define ANY(list) list[pick(g, sizeof(list) / sizeof *list)]
const char *g_operator(Gen *g, const GType *t, GScope *s, int depth) {
  Rule r;
  if (t->dtype == DT_bool && t->rank > 0 && one_in(g, 3)) {
    static const Rule plain[] = {transpose, reshape, concatenate, slice, reverse, choose, reduce};
    r = ANY(plain);
  } else if (t->dtype == DT_bool) {
    r = ANY(bools);
  } else if (one_in(g, 3)) {
    r = ANY(anything);
  } else if (t->dtype == DT_i32) {
    r = ANY(ints_only);
  } else if (!t->exact && pick(g, 2)) {
    r = ANY(rough);
  } else {
    r = t->exact && one_in(g, 6) ? to_float : ANY(floats);
  }
  return r(g, t, s, depth);
}
