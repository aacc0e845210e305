/* op_pool.c -- pooling over windows: max and average, global and adaptive, and
 * the gradients of the 2-d ones.
 *
 * A window starts inside the data or its left padding: with ceil_mode the last
 * one that would start beyond is left out.  The average divides by the window's
 * cells inside the data, or inside data and padding with count_include_pad.   */
#include "stdlib/layout.h"
#include "stdlib/relkit.h"

enum { IS_AVG = 4, IS_ADAPTIVE = 8, IS_GLOBAL = 16 }; /* variant: dims | flags */
typedef struct {
  int n;
  bool avg, count_pad, ceil;
  char letters[MAX_SPATIAL + 3];
  Layout l;
  int64_t size[MAX_SPATIAL], stride[MAX_SPATIAL], dilation[MAX_SPATIAL], before[MAX_SPATIAL],
      after[MAX_SPATIAL];
} Pool;

static bool read_layout(const OpDef *op, const OpAttrs *a, Pool *c) {
  static const char *const space[] = {"", "W", "HW", "DHW"};
  const OpAttrVal *v = opattr(a, "layout");
  c->n = op->variant & 3;
  c->avg = op->variant & IS_AVG;
  strcpy(c->letters, "NC"), strcat(c->letters, space[c->n]);
  return layout_parse(v->s && *v->s ? v->s : c->letters, &c->l);
}
static bool read_pool(const OpDef *op, const OpAttrs *a, Pool *c) {
  *c = (Pool){0};
  bool ok = read_layout(op, a, c) && window_padding(a, c->n, c->before, c->after);
  window_ints(a, "pool_size", c->n, 1, c->size);
  window_ints(a, "strides", c->n, 1, c->stride);
  window_ints(a, "dilation", c->n, 1, c->dilation);
  c->ceil = attr_bool(a, "ceil_mode");
  c->count_pad = c->avg && attr_bool(a, "count_include_pad");
  return ok;
}

/* The result has the data's layout: another out_layout is refused. */
static bool want_layout(Rel *r, Pool *c) {
  const char *text = attr_str(rel_attrs(r), "layout"), *out = attr_str(rel_attrs(r), "out_layout");
  if (!layout_want(r, "layout", text, c->letters, &c->l)) return false;
  if (!out || !*out || !strcmp(out, text)) return true;
  return rel_error(r, "out_layout must be the layout of the data, %s, found %s", text, out);
}

static Dim letter_extent(DimTab *t, const Pool *c, const Dim *dim, int i) {
  return layout_extent(t, &c->l, dim, c->letters[i]);
}

static Dim pooled(DimTab *t, const Pool *c, int i, Dim extent) {
  int64_t reach = c->dilation[i] * (c->size[i] - 1) + 1;
  Dim s = dim_const(t, c->stride[i]), one = dim_const(t, 1);
  Dim room = dim_add(t, extent, dim_const(t, c->before[i] + c->after[i] - reach));
  if (!c->ceil) return dim_add(t, dim_div(t, room, s), one);
  Dim all = dim_add(t, dim_ceildiv(t, room, s), one);
  return dim_min(t, all, dim_ceildiv(t, dim_add(t, extent, dim_const(t, c->before[i])), s));
}

static bool windows_ok(Rel *r, const Pool *c) {
  return window_want_padding(r, c->n, c->before, c->after) &&
         window_want(r, "pool_size", c->n, 1) && window_want(r, "strides", c->n, 1) &&
         window_want(r, "dilation", c->n, 1);
}

static bool rel_pool(Rel *r) {
  Pool c;
  if (!read_pool(rel_op(r), rel_attrs(r), &c))
    return rel_error(r, "layout or padding is not valid");
  if (!windows_ok(r, &c)) return false;
  if (!want_layout(r, &c) || !layout_of_operand(r, 0, &c.l) || !rel_want_class(r, 0, "fiu"))
    return false;
  TensorTy x = rel_tensor(r, 0);
  DimTab *t = rel_dims(r);
  Dim logical[MAX_SPATIAL + 2], out[MAX_RANK];
  logical[0] = letter_extent(t, &c, x.dim, 0), logical[1] = letter_extent(t, &c, x.dim, 1);
  for (int i = 0; i < c.n; i++) {
    Dim e = letter_extent(t, &c, x.dim, 2 + i);
    Dim padded = dim_add(t, e, dim_const(t, c.before[i] + c.after[i]));
    if (!rel_at_least(r, padded, dim_const(t, c.dilation[i] * (c.size[i] - 1) + 1),
                      "the padded data and the window's reach"))
      return false;
    logical[2 + i] = pooled(t, &c, i, e);
  }
  if (!layout_whole(r, &c.l, c.letters, logical)) return false;
  layout_shape(t, &c.l, c.letters, logical, out);
  return rel_result(r, x.dtype, x.rank, out);
}

/* ---- windows ------------------------------------------------------------------------------ */
/* The smallest tap number k >= 0 with start + k * d >= edge, at most n. */
static KE taps_before(OpK *k, KE start, KE edge, int64_t d, KE n) {
  KE gap = kb_sub(k->b, edge, start), zero = kb_int(k->b, 0);
  KE c = kb_fdiv(k->b, kb_add(k->b, gap, kb_int(k->b, d - 1)), kb_int(k->b, d));
  return kb_clamp(k->b, c, zero, n);
}

static KE window_start(OpK *k, const Pool *c, int i, KE q) {
  return kb_sub(k->b, kb_mul(k->b, q, kb_int(k->b, c->stride[i])), kb_int(k->b, c->before[i]));
}
static KE window_count(OpK *k, const Pool *c, const KE *start, const KE *extent, DType t) {
  KE count = kb_int(k->b, 1);
  for (int i = 0; i < c->n; i++) {
    KE n = kb_int(k->b, c->size[i]);
    KE lo = c->count_pad ? kb_int(k->b, -c->before[i]) : kb_int(k->b, 0);
    KE hi = c->count_pad ? kb_add(k->b, extent[i], kb_int(k->b, c->after[i])) : extent[i];
    count = kb_mul(k->b, count,
                   kb_sub(k->b, taps_before(k, start[i], hi, c->dilation[i], n),
                          taps_before(k, start[i], lo, c->dilation[i], n)));
  }
  return kb_cast(k->b, kb_max(k->b, count, kb_int(k->b, 1)), t);
}

typedef struct {
  KE logical[MAX_SPATIAL + 2], ext[MAX_SPATIAL + 2];
  int n_loops;
} OutLoops;

/* Loops over the logical output, in the order of its memory; inner parts of a
 * packed channel make one loop with their outer part. */
static OutLoops open_output(OpK *k, const Pool *c, const Dim *dim) {
  OutLoops o = {0};
  DimTab *t = k->p->cx->dims;
  for (int i = 0; i < c->n + 2; i++) o.ext[i] = opk_dim(k, letter_extent(t, c, dim, i));
  for (int i = 0; i < c->l.n; i++) {
    if (c->l.axis[i].inner) continue;
    int at = (int)(strchr(c->letters, c->l.axis[i].letter) - c->letters);
    o.logical[at] = kb_for(k->b, o.ext[at], K_PARALLEL);
    o.n_loops++;
  }
  return o;
}

static bool lower_pool(OpPlan *p) {
  Pool c;
  read_pool(p->op, p->attrs, &c);
  OpOperand *xo = plan_operand(p, 0), *yo = plan_operand(p, plan_result(p, 0));
  OpK k = opk_begin(p, p->op->name);
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  KE size[MAX_SPATIAL], tap[MAX_SPATIAL], start[MAX_SPATIAL], extent[MAX_SPATIAL], at[MAX_RANK],
      logical[MAX_SPATIAL + 2];
  for (int i = 0; i < c.n; i++) {
    size[i] = kb_int(k.b, c.size[i]);
    extent[i] = opk_dim(&k, letter_extent(p->cx->dims, &c, xo->dim, 2 + i));
  }
  OutLoops o = open_output(&k, &c, yo->dim);
  DType acc = c.avg ? relkit_acc(x.dtype) : x.dtype;
  for (int i = 0; i < c.n; i++) start[i] = window_start(&k, &c, i, o.logical[2 + i]);
  kb_reduce_begin(k.b, c.n, size, tap);
  logical[0] = o.logical[0], logical[1] = o.logical[1];
  for (int i = 0; i < c.n; i++)
    logical[2 + i] = kb_add(k.b, start[i], kb_mul(k.b, tap[i], kb_int(k.b, c.dilation[i])));
  layout_index(&k, &c.l, c.letters, logical, at);
  KE v = kb_load_or(k.b, x.buf, at, c.avg ? opk_zero(&k, x.dtype) : opk_lowest(&k, x.dtype));
  KE out = kb_reduce_end(k.b, c.avg ? S_add : S_max,
                         c.avg ? opk_zero(&k, acc) : opk_lowest(&k, acc), kb_cast(k.b, v, acc));
  if (c.avg) out = kb_div(k.b, out, window_count(&k, &c, start, extent, acc));
  layout_index(&k, &c.l, c.letters, o.logical, at);
  kb_store(k.b, y.buf, at, kb_cast(k.b, out, y.dtype));
  opk_close(&k, o.n_loops);
  return opk_end(&k);
}

/* ---- adaptive and global ------------------------------------------------------------------- */
/* output_size: absent or empty: as the data; one value: every axis. */
static bool rel_adaptive(Rel *r) {
  Pool c = {0};
  const OpDef *op = rel_op(r);
  read_layout(op, rel_attrs(r), &c);
  if (!want_layout(r, &c) || !layout_of_operand(r, 0, &c.l) ||
      !rel_want_class(r, 0, c.avg ? "f" : "fiu"))
    return false;
  TensorTy x = rel_tensor(r, 0);
  DimTab *t = rel_dims(r);
  Dim logical[MAX_SPATIAL + 2], out[MAX_RANK];
  for (int i = 0; i < c.n + 2; i++) logical[i] = letter_extent(t, &c, x.dim, i);
  if (op->variant & IS_GLOBAL) {
    for (int i = 0; i < c.n; i++) logical[2 + i] = dim_const(t, 1);
  } else {
    const OpAttrVal *v = opattr(rel_attrs(r), "output_size");
    if (!window_want(r, "output_size", c.n, 1)) return false;
    for (int i = 0; i < c.n && v->n; i++) logical[2 + i] = dim_const(t, v->ints[v->n == 1 ? 0 : i]);
  }
  if (!layout_whole(r, &c.l, c.letters, logical)) return false;
  layout_shape(t, &c.l, c.letters, logical, out);
  return rel_result(r, x.dtype, x.rank, out);
}

/* Window i of W cells over O outputs: [floor(i W / O), ceil((i + 1) W / O)). */
static bool lower_adaptive(OpPlan *p) {
  Pool c = {0};
  read_layout(p->op, p->attrs, &c);
  DimTab *t = p->cx->dims;
  OpOperand *xo = plan_operand(p, 0), *yo = plan_operand(p, plan_result(p, 0));
  OpK k = opk_begin(p, p->op->name);
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  KE size[MAX_SPATIAL], tap[MAX_SPATIAL], start[MAX_SPATIAL], len[MAX_SPATIAL], at[MAX_RANK],
      logical[MAX_SPATIAL + 2];
  KE inside = kb_bool(k.b, true), one = kb_int(k.b, 1), cells = one;
  OutLoops o = open_output(&k, &c, yo->dim);
  bool global = p->op->variant & IS_GLOBAL;
  for (int i = 0; i < c.n; i++) {
    KE w = opk_dim(&k, letter_extent(t, &c, xo->dim, 2 + i)), q = o.logical[2 + i],
       n = o.ext[2 + i];
    start[i] = global ? kb_int(k.b, 0) : kb_fdiv(k.b, kb_mul(k.b, q, w), n);
    KE end = kb_fdiv(k.b, kb_add(k.b, kb_mul(k.b, kb_add(k.b, q, one), w), kb_sub(k.b, n, one)), n);
    len[i] = global ? w : kb_sub(k.b, end, start[i]);
    size[i] = global ? w : kb_add(k.b, kb_fdiv(k.b, kb_add(k.b, w, kb_sub(k.b, n, one)), n), one);
    cells = kb_mul(k.b, cells, len[i]);
  }
  DType acc = c.avg ? relkit_acc(x.dtype) : x.dtype;
  KE none = c.avg ? opk_zero(&k, acc) : opk_lowest(&k, acc);
  kb_reduce_begin(k.b, c.n, size, tap);
  logical[0] = o.logical[0], logical[1] = o.logical[1];
  for (int i = 0; i < c.n; i++) {
    logical[2 + i] = kb_add(k.b, start[i], tap[i]);
    if (!global) inside = kb_and(k.b, inside, kb_lt(k.b, tap[i], len[i]));
  }
  layout_index(&k, &c.l, c.letters, logical, at);
  KE v = global
             ? kb_load(k.b, x.buf, at)
             : kb_load_or(k.b, x.buf, at, c.avg ? opk_zero(&k, x.dtype) : opk_lowest(&k, x.dtype));
  v = kb_cast(k.b, v, acc);
  if (!global) v = kb_select(k.b, inside, v, none);
  KE out = kb_reduce_end(k.b, c.avg ? S_add : S_max, none, v);
  if (c.avg) out = kb_div(k.b, out, kb_cast(k.b, cells, acc));
  layout_index(&k, &c.l, c.letters, o.logical, at);
  kb_store(k.b, y.buf, at, kb_cast(k.b, out, y.dtype));
  opk_close(&k, o.n_loops);
  return opk_end(&k);
}

/* ---- gradients of the 2-d pools ----------------------------------------------------------------
 * Called (grad, data), although TVM's registration documents (data, grad).
 * Gathered per data element, so the order of summation is fixed: windows that
 * cover x are those with q * stride - pad + k = x.                              */
static bool rel_pool_grad(Rel *r) {
  Pool c;
  if (!read_pool(rel_op(r), rel_attrs(r), &c))
    return rel_error(r, "layout or padding is not valid");
  TensorTy x = rel_tensor(r, 1), g = rel_tensor(r, 0);
  DimTab *t = rel_dims(r);
  if (!windows_ok(r, &c) || !want_layout(r, &c) || !layout_of_operand(r, 1, &c.l) ||
      !layout_of_operand(r, 0, &c.l) || !rel_same_dtype(r, 0, 1) || !rel_want_class(r, 0, "f"))
    return false;
  for (int i = 0; i < c.n + 2; i++) {
    Dim e = letter_extent(t, &c, x.dim, i), want = i < 2 ? e : pooled(t, &c, i - 2, e);
    if (!rel_same_dim(r, letter_extent(t, &c, g.dim, i), want,
                      "the extents of grad and of the pooled data"))
      return false;
  }
  return rel_result(r, x.dtype, x.rank, x.dim);
}

/* First maximum of the window at `start`, as a flat tap number. */
static KE arg_max(OpK *k, const Pool *c, KTensor x, const KE *nc, const KE *start) {
  KE best[2] = {opk_lowest(k, x.dtype), kb_int(k->b, -1)}, carried[2],
     logical[MAX_SPATIAL + 2] = {nc[0], nc[1]};
  KE at[MAX_RANK], all = kb_int(k->b, 1), rest;
  for (int i = 0; i < c->n; i++) all = kb_mul(k->b, all, kb_int(k->b, c->size[i]));
  KE tap = kb_for_carry(k->b, all, 2, best, carried), inside = kb_bool(k->b, true);
  rest = tap;
  for (int i = c->n - 1; i >= 0; i--) {
    KE n = kb_int(k->b, c->size[i]), at_i = kb_fmod(k->b, rest, n);
    rest = kb_fdiv(k->b, rest, n);
    KE pos = kb_add(k->b, start[i], kb_mul(k->b, at_i, kb_int(k->b, c->dilation[i])));
    logical[2 + i] = pos;
    KE ext = x.dim[0];
    for (int a = 0; a < c->l.n; a++)
      if (c->l.axis[a].letter == c->letters[2 + i]) ext = x.dim[a];
    inside = kb_and(k->b, inside,
                    kb_and(k->b, kb_le(k->b, kb_int(k->b, 0), pos), kb_lt(k->b, pos, ext)));
  }
  layout_index(k, &c->l, c->letters, logical, at);
  KE v = kb_load_or(k->b, x.buf, at, opk_lowest(k, x.dtype));
  KE first = kb_eq(k->b, carried[1], kb_int(k->b, -1));
  KE better = kb_and(k->b, inside, kb_or(k->b, first, kb_lt(k->b, carried[0], v)));
  KE next[2] = {kb_select(k->b, better, v, carried[0]), kb_select(k->b, better, tap, carried[1])};
  kb_end_carry(k->b, next);
  return carried[1];
}

static bool lower_max_grad(OpPlan *p) {
  Pool c;
  read_pool(p->op, p->attrs, &c);
  OpK k = opk_begin(p, p->op->name);
  OpOperand *go = plan_operand(p, 0), *xo = plan_operand(p, 1);
  KTensor g = opk_in(&k, 0), x = opk_in(&k, 1), y = opk_out(&k, plan_result(p, 0));
  KE at[MAX_RANK], logical[MAX_SPATIAL + 2], start[MAX_SPATIAL], zero = opk_zero(&k, y.dtype);
  OutLoops fill = open_output(&k, &c, xo->dim);
  layout_index(&k, &c.l, c.letters, fill.logical, at);
  kb_store(k.b, y.buf, at, zero);
  opk_close(&k, fill.n_loops);
  KE ext[MAX_SPATIAL + 2], var[MAX_SPATIAL + 2];
  for (int i = 0; i < c.n + 2; i++) {
    ext[i] = opk_dim(&k, letter_extent(p->cx->dims, &c, go->dim, i));
    var[i] = kb_for(k.b, ext[i], i < 2 ? K_PARALLEL : K_SERIAL);
  }
  for (int i = 0; i < c.n; i++) start[i] = window_start(&k, &c, i, var[2 + i]);
  KE tap = kb_let(k.b, arg_max(&k, &c, x, var, start)), rest = tap;
  logical[0] = var[0], logical[1] = var[1];
  for (int i = c.n - 1; i >= 0; i--) {
    KE n = kb_int(k.b, c.size[i]);
    KE pos = kb_add(k.b, start[i], kb_mul(k.b, kb_fmod(k.b, rest, n), kb_int(k.b, c.dilation[i])));
    KE last =
        kb_sub(k.b, opk_dim(&k, letter_extent(p->cx->dims, &c, xo->dim, 2 + i)), kb_int(k.b, 1));
    logical[2 + i] = kb_clamp(k.b, pos, kb_int(k.b, 0), last);
    rest = kb_fdiv(k.b, rest, n);
  }
  layout_index(&k, &c.l, c.letters, var, at);
  KE dy = kb_load(k.b, g.buf, at);
  layout_index(&k, &c.l, c.letters, logical, at);
  KE sum = kb_add(k.b, kb_load(k.b, y.buf, at), dy);
  kb_if(k.b, kb_le(k.b, kb_int(k.b, 0), tap));
  kb_store(k.b, y.buf, at, sum);
  kb_end(k.b);
  opk_close(&k, c.n + 2);
  return opk_end(&k);
}

static bool lower_avg_grad(OpPlan *p) {
  Pool c;
  read_pool(p->op, p->attrs, &c);
  OpK k = opk_begin(p, p->op->name);
  OpOperand *go = plan_operand(p, 0), *xo = plan_operand(p, 1);
  KTensor g = opk_in(&k, 0), x = opk_in(&k, 1), y = opk_out(&k, plan_result(p, 0));
  KE size[MAX_SPATIAL], tap[MAX_SPATIAL], q[MAX_SPATIAL], start[MAX_SPATIAL], extent[MAX_SPATIAL],
      at[MAX_RANK];
  KE logical[MAX_SPATIAL + 2], whole = kb_bool(k.b, true);
  (void)x;
  OutLoops o = open_output(&k, &c, xo->dim);
  for (int i = 0; i < c.n; i++) size[i] = kb_int(k.b, c.size[i]), extent[i] = o.ext[2 + i];
  kb_reduce_begin(k.b, c.n, size, tap);
  logical[0] = o.logical[0], logical[1] = o.logical[1];
  for (int i = 0; i < c.n; i++) {
    KE s = kb_int(k.b, c.stride[i]);
    KE from = kb_sub(k.b, kb_add(k.b, o.logical[2 + i], kb_int(k.b, c.before[i])),
                     kb_mul(k.b, tap[i], kb_int(k.b, c.dilation[i])));
    q[i] = kb_fdiv(k.b, from, s);
    whole = kb_and(k.b, whole, kb_eq(k.b, kb_fmod(k.b, from, s), kb_int(k.b, 0)));
    start[i] = window_start(&k, &c, i, q[i]);
    logical[2 + i] = q[i];
  }
  layout_index(&k, &c.l, c.letters, logical, at);
  KE zero = opk_zero(&k, g.dtype),
     v = kb_select(k.b, whole, kb_load_or(k.b, g.buf, at, zero), zero);
  KE share = kb_div(k.b, v, window_count(&k, &c, start, extent, g.dtype));
  (void)go;
  KE sum = kb_reduce_end(k.b, S_add, zero, share);
  layout_index(&k, &c.l, c.letters, o.logical, at);
  kb_store(k.b, y.buf, at, sum);
  opk_close(&k, o.n_loops);
  return opk_end(&k);
}

/* ---- records -------------------------------------------------------------------------- */
#define WINDOW(layout_)                                                                            \
  {"pool_size", A_Ints, NULL, "extents of the window"},                                            \
      {"strides", A_Ints, "[1]", "step of the window"},                                            \
      {"dilation", A_Ints, "[1]", "distance between cells of the window"},                         \
      {"padding", A_Ints, "[0]", "one value, one per axis, or all before then all after"},         \
      {"layout", A_Str, layout_, "axes of data"}, {"out_layout", A_Str, "", "that of data"},       \
      {"ceil_mode", A_Bool, "False", "round the number of windows up"}, {                          \
    "count_include_pad", A_Bool, "False", "average over the padding too"                           \
  }
#define POOL(id, text, what, v, layout_, ...)                                                      \
  const OpDef op_##id = {.name = text,                                                             \
                         .doc = what,                                                              \
                         .args = {{"data", "batch, channels, space", false}},                      \
                         .attrs = {WINDOW(layout_)},                                               \
                         .flags = OP_PURE | OP_TOTAL_STATIC,                                       \
                         .pattern = PAT_OutFusable,                                                \
                         .rel = rel_pool,                                                          \
                         .lower = lower_pool,                                                      \
                         .variant = v,                                                             \
                         .examples = (const char *const[]){__VA_ARGS__, NULL}}
POOL(nn_max_pool1d, "nn.max_pool1d", "Maximum of each window.", 1, "NCW",
     "nn.max_pool1d(f32[2,3,9], pool_size=[3], strides=[2], padding=[1])",
     "nn.max_pool1d(i8[1,2,?7], pool_size=[2], ceil_mode=True, strides=[2])");
POOL(nn_max_pool2d, "nn.max_pool2d", "Maximum of each window.", 2, "NCHW",
     "nn.max_pool2d(f32[2,3,9,8], pool_size=[3, 2], strides=[2, 2], padding=[1, 0, 0, 1])",
     "nn.max_pool2d(f32[?1,2,?7,?6], pool_size=[3, 3], strides=[2, 2], ceil_mode=True)",
     "nn.max_pool2d(f32[1,7,6,3], pool_size=[2, 2], layout=\"NHWC\", dilation=[2, 1])",
     "nn.max_pool2d(f32[0,3,9,8], pool_size=[2, 2])");
POOL(nn_max_pool3d, "nn.max_pool3d", "Maximum of each window.", 3, "NCDHW",
     "nn.max_pool3d(f32[1,2,5,6,7], pool_size=[2, 3, 2], strides=[2, 2, 2])");
POOL(nn_avg_pool1d, "nn.avg_pool1d", "Average of each window.", 1 | IS_AVG, "NCW",
     "nn.avg_pool1d(f32[2,3,9], pool_size=[3], strides=[2], padding=[1])");
POOL(nn_avg_pool2d, "nn.avg_pool2d", "Average of each window.", 2 | IS_AVG, "NCHW",
     "nn.avg_pool2d(f32[2,3,9,8], pool_size=[3, 2], strides=[2, 2], padding=[1, 0, 0, 1])",
     "nn.avg_pool2d(f32[?1,2,?7,?6], pool_size=[3, 3], strides=[2, 2], padding=[1, 1], "
     "ceil_mode=True, count_include_pad=True)",
     "nn.avg_pool2d(f16[1,7,6,3], pool_size=[2, 2], layout=\"NHWC\")");
POOL(nn_avg_pool3d, "nn.avg_pool3d", "Average of each window.", 3 | IS_AVG, "NCDHW",
     "nn.avg_pool3d(f32[1,2,5,6,7], pool_size=[2, 3, 2], padding=[1, 1, 1])");

#define GRAD(id, text, what, v, lowering, ...)                                                     \
  const OpDef op_##id = {.name = text,                                                             \
                         .doc = what,                                                              \
                         .args = {{"grad", "gradient of the pooled result", false},                \
                                  {"data", "the pool's data", false}},                             \
                         .attrs = {WINDOW("NCHW")},                                                \
                         .flags = OP_PURE | OP_TOTAL_STATIC,                                       \
                         .pattern = PAT_OutFusable,                                                \
                         .rel = rel_pool_grad,                                                     \
                         .lower = lowering,                                                        \
                         .variant = v,                                                             \
                         .examples = (const char *const[]){__VA_ARGS__, NULL}}
GRAD(nn_max_pool2d_grad, "nn.max_pool2d_grad",
     "Gradient of nn.max_pool2d: to the first maximum of each window.", 2, lower_max_grad,
     "nn.max_pool2d_grad(f32[1,2,4,3], f32[1,2,8,6], pool_size=[2, 2], strides=[2, 2], "
     "dilation=[])",
     "nn.max_pool2d_grad(f32[1,2,?4,4], f32[1,2,?7,7], pool_size=[3, 3], strides=[2, 2], "
     "padding=[1, 1])");
GRAD(nn_avg_pool2d_grad, "nn.avg_pool2d_grad",
     "Gradient of nn.avg_pool2d: shared over each window.", 2 | IS_AVG, lower_avg_grad,
     "nn.avg_pool2d_grad(f32[1,2,4,3], f32[1,2,8,6], pool_size=[2, 2], strides=[2, 2])",
     "nn.avg_pool2d_grad(f32[1,2,?4,4], f32[1,2,?7,7], pool_size=[3, 3], strides=[2, 2], "
     "padding=[1, 1], count_include_pad=True)");

#define ADAPTIVE(id, text, what, v, layout_, ...)                                                  \
  const OpDef op_##id = {                                                                          \
      .name = text,                                                                                \
      .doc = what,                                                                                 \
      .args = {{"data", "batch, channels, space", false}},                                         \
      .attrs = {{"output_size", A_Ints, "[]", "extents of the result; those of data if empty"},    \
                {"layout", A_Str, layout_, "axes of data"},                                        \
                {"out_layout", A_Str, "", "that of data"}},                                        \
      .flags = OP_PURE | OP_TOTAL_STATIC,                                                          \
      .pattern = PAT_OutFusable,                                                                   \
      .rel = rel_adaptive,                                                                         \
      .lower = lower_adaptive,                                                                     \
      .variant = v,                                                                                \
      .examples = (const char *const[]){__VA_ARGS__, NULL}}
ADAPTIVE(nn_adaptive_avg_pool1d, "nn.adaptive_avg_pool1d",
         "Average over windows that divide the data evenly.", 1 | IS_AVG | IS_ADAPTIVE, "NCW",
         "nn.adaptive_avg_pool1d(f32[2,3,10], output_size=[4])");
ADAPTIVE(nn_adaptive_avg_pool2d, "nn.adaptive_avg_pool2d",
         "Average over windows that divide the data evenly.", 2 | IS_AVG | IS_ADAPTIVE, "NCHW",
         "nn.adaptive_avg_pool2d(f32[2,3,7,9], output_size=[3, 4])",
         "nn.adaptive_avg_pool2d(f32[2,3,?7,?9], output_size=[1, 1])");
ADAPTIVE(nn_adaptive_avg_pool3d, "nn.adaptive_avg_pool3d",
         "Average over windows that divide the data evenly.", 3 | IS_AVG | IS_ADAPTIVE, "NCDHW",
         "nn.adaptive_avg_pool3d(f32[1,2,5,6,7], output_size=[2, 3, 2])");
ADAPTIVE(nn_adaptive_max_pool1d, "nn.adaptive_max_pool1d",
         "Maximum over windows that divide the data evenly.", 1 | IS_ADAPTIVE, "NCW",
         "nn.adaptive_max_pool1d(f32[2,3,10], output_size=[4])");
ADAPTIVE(nn_adaptive_max_pool2d, "nn.adaptive_max_pool2d",
         "Maximum over windows that divide the data evenly.", 2 | IS_ADAPTIVE, "NCHW",
         "nn.adaptive_max_pool2d(f32[2,3,7,9], output_size=[3, 4])",
         "nn.adaptive_max_pool2d(f32[2,3,?7,?9], output_size=[2, 2])");
ADAPTIVE(nn_adaptive_max_pool3d, "nn.adaptive_max_pool3d",
         "Maximum over windows that divide the data evenly.", 3 | IS_ADAPTIVE, "NCDHW",
         "nn.adaptive_max_pool3d(f32[1,2,5,6,7], output_size=[2, 3, 2])");
ADAPTIVE(nn_global_avg_pool2d, "nn.global_avg_pool2d", "Average over all of space.",
         2 | IS_AVG | IS_GLOBAL, "NCHW", "nn.global_avg_pool2d(f32[2,3,7,9])",
         "nn.global_avg_pool2d(f32[?2,7,?9,3], layout=\"NHWC\")");
ADAPTIVE(nn_global_max_pool2d, "nn.global_max_pool2d", "Maximum over all of space.", 2 | IS_GLOBAL,
         "NCHW", "nn.global_max_pool2d(f32[2,3,7,9])",
         "nn.global_max_pool2d(f32[?2,7,?9,3], layout=\"NHWC\")");
