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
  DType dtype = dtype_is_float(t->dtype) ? t->dtype : DT_f32;
  const char *x = g_expr(g, g_tensor(dtype, false, t->rank, t->dim), s, depth);
  return str_fmt("tanh(%s)", x);
}

/* A number as the element type has it. */
static const char *number(const GType *t, const char *digits) {
  static const char *const suffix[DT_COUNT] = {
      [DT_i8] = "i8",   [DT_i16] = "i16",   [DT_i32] = "",    [DT_i64] = "i64",
      [DT_u8] = "u8",   [DT_u16] = "u16",   [DT_u32] = "u32", [DT_u64] = "u64",
      [DT_f16] = "f16", [DT_bf16] = "bf16", [DT_f32] = "f",   [DT_f64] = "f64"};
  return str_fmt("%s%s", digits, suffix[t->dtype]);
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
  return str_fmt(k == 4 && dtype_is_float(t->dtype) ? "tanh(%s(%s, %s))" : "%s(%s, %s)", op[k], a,
                 b);
}
static const char *divide(Gen *g, const GType *t, GScope *s, int depth) {
  static const char *const op[] = {"floor_divide", "divide", "mod", "floor_mod"};
  static const char *const by[] = {"1", "2", "3", "5", "16", "100", "-1", "-7"};
  const char *a = g_expr(g, t, s, depth - 1);
  if (dtype_is_int(t->dtype)) {
    uint32_t k = pick(g, 4);
    return str_fmt("%s(%s, %s)", op[k], a,
                   number(t, by[pick(g, dtype_is_signed(t->dtype) ? 8 : 6)]));
  }
  return str_fmt("divide(%s, add(%s, abs(%s)))", a, number(t, "1.5"),
                 g_expr(g, broadcastable(g, t), s, depth - 1));
}
static const char *choose(Gen *g, const GType *t, GScope *s, int depth) {
  const char *c = exact(g, t, DT_bool, s, depth - 1), *a = g_expr(g, t, s, depth - 1);
  return str_fmt("where(%s, %s, %s)", c, a, g_expr(g, t, s, depth - 1));
}
static const char *exponential(Gen *g, const GType *t, GScope *s, int depth) {
  const char *x = g_expr(g, t, s, depth - 1);
  if (one_in(g, 2)) return str_fmt("log(add(%s, abs(%s)))", number(t, "1.25"), x);
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
  const char *zero =
      t->dtype == DT_bool ? "True" : number(t, dtype_is_float(t->dtype) ? "0.5" : "2");
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
  const GType *index = g_tensor(one_in(g, 4) ? DT_i64 : DT_i32, true, 1, t->dim);
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
static const char *repeat(Gen *g, const GType *t, GScope *s, int depth) {
  int axis = static_axis(g, t);
  if (axis < 0 || t->dim[axis] % 2) return choose(g, t, s, depth);
  const char *x = g_expr(g, resized(t, axis, t->dim[axis] / 2), s, depth - 1);
  return str_fmt("repeat(%s, repeats=2, axis=%d)", x, axis);
}
static const char *spread(Gen *g, const GType *t, GScope *s, int depth) {
  if (!is_static(t)) return choose(g, t, s, depth);
  const char *x = g_expr(g, broadcastable(g, t), s, depth - 1);
  return str_fmt("broadcast_to(%s, shape=%s)", x, ints(t->rank, t->dim));
}
static const char *add_axis(Gen *g, const GType *t, GScope *s, int depth) {
  for (int i = 0; i < t->rank; i++)
    if (t->dim[i] == 1) {
      int dim[G_RANK];
      for (int k = 0, r = 0; k < t->rank; k++)
        if (k != i) dim[r++] = t->dim[k];
      const GType *from = g_tensor(t->dtype, t->exact, t->rank - 1, dim);
      return str_fmt("expand_dims(%s, axis=%d)", g_expr(g, from, s, depth - 1), i);
    }
  return drop_axis(g, t, s, depth);
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
  if (dtype_is_int(t->dtype)) {
    static const char *const op[] = {"sum", "max", "min", "prod"};
    const char *x = g_expr(g, from, s, depth - 1);
    return str_fmt("%s(%s, axis=[%d])", op[pick(g, 4)], x, axis);
  }
  if (t->exact || one_in(g, 3)) {
    const char *x = g_expr(g, from, s, depth - 1);
    return str_fmt(pick(g, 2) ? "minimum(%s, min(%s, axis=[%d]))"
                              : "maximum(-%s, max(%s, axis=[%d]))",
                   number(t, "9"), x, axis);
  }
  return str_fmt("%s(%s, axis=[%d])", pick(g, 2) ? "mean" : "sum", small(g, from, s, depth - 1),
                 axis);
}
static const char *arg_reduce(Gen *g, const GType *t, GScope *s, int depth) {
  int axis;
  if (t->rank == G_RANK) return reverse(g, t, s, depth);
  const GType *from = widened(g, t, &axis);
  if (from->dim[axis] <= 0) return choose(g, t, s, depth);
  DType of = g_dtype(g);
  const char *x = exact(g, from, of == DT_bool ? DT_i32 : of, s, depth - 1);
  x = str_fmt("%s(%s, axis=[%d])", pick(g, 2) ? "argmax" : "argmin", x, axis);
  return t->dtype == DT_i32 ? x : str_fmt("cast(%s, dtype=\"%s\")", x, dtype_name(t->dtype));
}
static const char *scan(Gen *g, const GType *t, GScope *s, int depth) {
  if (t->rank == 0) return choose(g, t, s, depth);
  uint32_t axis = pick(g, (uint32_t)t->rank);
  if (t->exact && (dtype_is_float(t->dtype) || one_in(g, 3)))
    return str_fmt("sort(%s, axis=%u)", g_expr(g, t, s, depth - 1), axis);
  if (dtype_is_float(t->dtype))
    return str_fmt("%s(%s, axis=%u)", pick(g, 2) ? "cumsum" : "nn.softmax",
                   small(g, t, s, depth - 1), axis);
  if (t->dtype == DT_bool) return choose(g, t, s, depth);
  return str_fmt("cumsum(%s, axis=%u)", g_expr(g, t, s, depth - 1), axis);
}
static const char *normalise(Gen *g, const GType *t, GScope *s, int depth) {
  if (t->rank == 0) return unary(g, t, s, depth);
  const GType *v = g_tensor(t->dtype, false, 1, &t->dim[t->rank - 1]);
  const char *x = small(g, t, s, depth - 1), *a = small(g, v, s, 0);
  return str_fmt("tanh(nn.layer_norm(%s, %s, %s, epsilon=0.1))", x, a, small(g, v, s, 0));
}

/* ---- contractions ---------------------------------------------------------------------------- */
static int depth_extent(Gen *g) {
  static const int extents[] = {3, 2, 1, DIM_N, DIM_M, 8, 17, 0};
  return extents[pick(g, 8)];
}
static const GType *rough_as(const GType *t, int rank, const int *dim) {
  return g_tensor(t->dtype, false, rank, dim);
}
static const char *product(Gen *g, const GType *t, GScope *s, int depth) {
  if (t->rank != 2 && t->rank != 3) return normalise(g, t, s, depth);
  const int *d = t->dim;
  int k = depth_extent(g), b = t->rank - 2;
  const int left[] = {d[0], b ? d[1] : k, k}, right[] = {d[0], d[b + 1], k}, nk[] = {d[1], k},
            kn[] = {k, d[1]};
  if (b) {
    const char *x = small(g, rough_as(t, 3, left), s, depth - 1);
    return str_fmt("nn.batch_matmul(%s, %s, transpose_b=True)", x,
                   small(g, rough_as(t, 3, right), s, depth - 1));
  }
  const char *x = small(g, rough_as(t, 2, left), s, depth - 1);
  if (pick(g, 2))
    return str_fmt("nn.matmul(%s, %s)", x, small(g, rough_as(t, 2, kn), s, depth - 1));
  const char *y = str_fmt("nn.dense(%s, %s)", x, small(g, rough_as(t, 2, nk), s, depth - 1));
  if (!pick(g, 2)) return y;
  return str_fmt("nn.relu(nn.bias_add(%s, %s))", y, small(g, rough_as(t, 1, &d[1]), s, 0));
}
static const char *convolve(Gen *g, const GType *t, GScope *s, int depth) {
  if (t->rank != 3 || t->dim[0] < 0 || t->dim[1] <= 0 || t->dim[2] == 0)
    return product(g, t, s, depth);
  int ci = 1 + (int)pick(g, 3), k = 1 + (int)pick(g, 2);
  int x[] = {t->dim[0], ci, t->dim[1] + k - 1, t->dim[2]}, w[] = {2, ci, k, 1};
  const char *data = small(g, rough_as(t, 4, x), s, depth - 1);
  return str_fmt("mean(nn.conv2d(%s, %s, kernel_size=[%d, 1], channels=2), axis=[1])", data,
                 small(g, rough_as(t, 4, w), s, 0), k);
}

/* ---- between element types --------------------------------------------------------------------
 */
/* From another element type; small where t is not exact. */
static const char *recast(Gen *g, const GType *t, GScope *s, int depth) {
  DType from = g_dtype(g);
  if (from == t->dtype) from = t->dtype == DT_i32 ? DT_f32 : DT_i32;
  const GType *f = g_tensor(from, true, t->rank, t->dim);
  const char *x = g_expr(g, f, s, depth - 1);
  if (dtype_is_int(from) && pick(g, 2) == 0) x = str_fmt("floor_mod(%s, %s)", x, number(f, "11"));
  return str_fmt("cast(%s, dtype=\"%s\")", x, dtype_name(t->dtype));
}
/* Shifted by less than any width. */
static const char *shift(Gen *g, const GType *t, GScope *s, int depth) {
  const char *a = g_expr(g, t, s, depth - 1), *b = g_expr(g, broadcastable(g, t), s, depth - 1);
  return str_fmt("%s_shift(%s, bitwise_and(%s, %s))", pick(g, 2) ? "left" : "right", a, b,
                 number(t, "7"));
}
static const char *whole(Gen *g, const GType *t, GScope *s, int depth) {
  static const char *const op[] = {"negative", "abs", "bitwise_not", "sign", "nn.relu"};
  return str_fmt("%s(%s)", op[pick(g, 5)], g_expr(g, t, s, depth - 1));
}
static const char *bits(Gen *g, const GType *t, GScope *s, int depth) {
  static const char *const op[] = {"bitwise_and", "bitwise_or", "bitwise_xor"};
  const char *a = g_expr(g, t, s, depth - 1);
  return str_fmt("%s(%s, %s)", op[pick(g, 3)], a, g_expr(g, broadcastable(g, t), s, depth - 1));
}
static const char *compare(Gen *g, const GType *t, GScope *s, int depth) {
  static const char *const op[] = {"less", "equal", "greater_equal"};
  DType from = g_dtype(g);
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
  return str_fmt("clip(%s, a_min=-4, a_max=4)", exact(g, t, t->dtype, s, depth - 1));
}

/* ---- derivatives ------------------------------------------------------------------------------
 */
/* Of a function of exact values, whose kinks are the same for all; of one argument, a `from`. */
static const char *known_to_be(Gen *g, const GType *from, const GType *to, GScope *s, int depth) {
  const GType *at[2] = {g_tensor(from->dtype, true, from->rank, from->dim),
                        g_tensor(to->dtype, true, to->rank, to->dim)};
  const char *f = g_function(g, g_of(G_FN, 2, at), s, depth - 1);
  return one_in(g, 4) ? str_fmt("checkpoint(%s)", f) : f;
}
static const GType *other_float(Gen *g, const GType *t) {
  int dim[G_RANK], rank = (int)pick(g, 3);
  for (int i = 0; i < rank; i++) dim[i] = t->rank && pick(g, 2) ? t->dim[0] : 1 + (int)pick(g, 3);
  return g_tensor(t->dtype, false, rank, dim);
}
static const char *derivative(Gen *g, const GType *t, GScope *s, int depth) {
  if (g->special) return clipped(g, t, s, depth);
  const GType *u = other_float(g, t);
  const char *d = g_fresh(g, "d"), *e = g_fresh(g, "d"), *y = g_fresh(g, "y"), *ty = g_text(t);
  uint32_t kind = pick(g, 4);
  const char *f = kind == 3 ? known_to_be(g, u, t, s, depth) : known_to_be(g, t, u, s, depth);
  const char *x = exact(g, kind == 3 ? u : t, t->dtype, s, depth - 2);
  if (kind == 0) return str_fmt("{ let %%%s = grad(%s); tanh((%%%s(%s)).1.0) }", d, f, d, x);
  if (kind == 1)
    return str_fmt(
        "{ let %%%s = grad(%s); let %%%s = grad(fn (%%%s: %s) -> %s { (%%%s(%%%s)).1.0 }); "
        "tanh((%%%s(%s)).1.0) }",
        d, f, e, y, ty, ty, d, y, e, x);
  const char *step = small(g, u, s, depth - 2);
  if (kind == 2)
    return str_fmt("{ let %%%s = (vjp(%s))(%s); tanh((%%%s.1(%s)).0) }", d, f, x, d, step);
  return str_fmt("{ let %%%s = jvp(%s); tanh((%%%s(%s, %s)).1) }", d, f, d, x, step);
}

static const Rule anything[] = {transpose, reshape, concatenate, slice,     split,  pad,
                                stack,     reverse, take,        drop_axis, choose, reduce,
                                scan,      repeat,  spread,      add_axis};
static const Rule floats[] = {unary, binary, binary, binary, divide, exponential};
static const Rule ints_only[] = {binary, bits, recast, arg_reduce, divide, shift, whole};
static const Rule bools[] = {compare, compare, logic};
static const Rule rough[] = {product, product, normalise, convolve,
                             clipped, shared,  reduce,    derivative};

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
  } else if (dtype_is_int(t->dtype)) {
    r = ANY(ints_only);
  } else if (!t->exact && pick(g, 2)) {
    r = ANY(rough);
  } else {
    r = t->exact && one_in(g, 6) ? recast : ANY(floats);
  }
  return r(g, t, s, depth);
}
