/* op_slice.c -- regions of tensors: strided slices, their assignment, cropping.  */
#include "stdlib/relkit.h"

/* ---- slices with attributes ------------------------------------------------------------
 * As numpy: a negative bound counts from the end, then bounds are clamped, to
 * [0, n] going up and to [-1, n - 1] going down.                                          */
static const int64_t FAR = (int64_t)1 << 40; /* beyond any extent                */

static Dim clamp_bound(DimTab *t, int64_t b, Dim n, bool down) {
  Dim low = dim_const(t, down ? -1 : 0), high = down ? dim_sub(t, n, dim_const(t, 1)) : n;
  if (b >= FAR) return high;
  if (b <= -FAR) return low;
  Dim at = b < 0 ? dim_add(t, n, dim_const(t, b)) : dim_const(t, b);
  return b < 0 ? dim_max(t, at, low) : dim_min(t, at, high);
}

typedef struct {
  Dim begin, len;
  int64_t stride;
} Slice;

static Slice slice_axis(DimTab *t, Dim n, int64_t b, bool has_end, int64_t e, int64_t s,
                        bool sized) {
  Slice out = {.stride = s};
  out.begin = clamp_bound(t, b, n, s < 0);
  Dim end = sized     ? (e < 0 ? n : dim_min(t, dim_add(t, out.begin, dim_const(t, e)), n))
            : has_end ? clamp_bound(t, e, n, s < 0)
            : s < 0   ? dim_const(t, -1)
                      : n;
  Dim span = s < 0 ? dim_sub(t, out.begin, end) : dim_sub(t, end, out.begin);
  out.len = dim_max(t, dim_ceildiv(t, span, dim_const(t, s < 0 ? -s : s)), dim_const(t, 0));
  return out;
}

/* The slice of every axis; NULL, or why the attributes are not valid. */
static const char *read_slices(DimTab *t, const OpAttrs *a, int rank, const Dim *dim, Slice *out) {
  const OpAttrVal *b = opattr(a, "begin"), *e = opattr(a, "end"), *s = opattr(a, "strides"),
                  *axes = opattr(a, "axes");
  bool sized = !strcmp(attr_str(a, "slice_mode"), "size"),
       listed = axes->given && !axes->none && axes->n > 0;
  if (b->n > rank || e->n > b->n) return "begin or end has more entries than there are axes";
  if (listed && axes->n != b->n) return "axes and begin differ in length";
  if (s->n > 1 && s->n > b->n) return "strides has more entries than begin";
  bool seen[MAX_RANK] = {false};
  for (int i = 0; i < rank; i++) out[i] = (Slice){dim_const(t, 0), dim[i], 1};
  for (int i = 0; i < b->n; i++) {
    int64_t at = listed ? axes->ints[i] : i, step = s->n == 0 || sized ? 1
                                                    : i < s->n         ? s->ints[i]
                                                    : s->n == 1        ? s->ints[0]
                                                                       : 1;
    if (at < 0) at += rank;
    if (at < 0 || at >= rank) return "an axis is out of range";
    if (seen[at]) return "an axis is listed twice";
    seen[at] = true;
    if (step == 0 || step > FAR || step < -FAR) return "a stride is 0 or too large";
    out[at] = slice_axis(t, dim[at], b->ints[i], i < e->n, i < e->n ? e->ints[i] : 0, step, sized);
  }
  return NULL;
}
static bool rel_strided_slice(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  Slice s[MAX_RANK];
  Dim out[MAX_RANK];
  if (!relkit_want_word(r, "slice_mode", "end", "size")) return false;
  const char *why = read_slices(rel_dims(r), rel_attrs(r), x.rank, x.dim, s);
  if (why) return rel_error(r, "%s", why);
  for (int i = 0; i < x.rank; i++) out[i] = s[i].len;
  return rel_result(r, x.dtype, x.rank, out);
}
static bool lower_strided_slice(OpPlan *p) {
  Slice s[MAX_RANK];
  OpOperand *xo = plan_operand(p, 0);
  read_slices(p->cx->dims, p->attrs, xo->rank, xo->dim, s);
  OpK k = opk_begin(p, "strided_slice");
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  KE idx[MAX_RANK], at[MAX_RANK];
  opk_loops(&k, y.rank, y.dim, idx);
  for (int i = 0; i < y.rank; i++) {
    at[i] = kb_add(k.b, opk_dim(&k, s[i].begin), kb_mul(k.b, idx[i], kb_int(k.b, s[i].stride)));
    if (!dim_is_const(s[i].begin, &(int64_t){0})) /* the bound's clamping is lost on the prover */
      at[i] = kb_clamp(k.b, at[i], kb_int(k.b, 0), kb_sub(k.b, x.dim[i], kb_int(k.b, 1)));
  }
  kb_store(k.b, y.buf, idx, kb_load(k.b, x.buf, at));
  opk_close(&k, y.rank);
  return opk_end(&k);
}

/* ---- slices with tensors ----------------------------------------------------------------- */
/* The arguments begin, end, strides (operands 1, 2, 3 or others) as vectors of
 * equal known length at most rank. */
static bool bounds_args(Rel *r, int first, int rank, int64_t *n) {
  static const char *const name[] = {"begin", "end", "strides"};
  for (int i = 0; i < 3 && first + i < rel_n_args(r); i++) {
    int64_t len;
    if (!rel_want_rank(r, first + i, 1) || !rel_want_class(r, first + i, "iu")) return false;
    if (!dim_is_const(rel_tensor(r, first + i).dim[0], &len))
      return rel_error(r, "the length of %s must be known", name[i]);
    if (len > rank)
      return rel_error(r, "%s has %lld entries for rank %d", name[i], (long long)len, rank);
    if (i == 0) *n = len;
  }
  return true;
}

static KE bound_at(OpK *k, KTensor t, int i) {
  KE at = kb_int(k->b, i);
  return kb_cast(k->b, kb_load(k->b, t.buf, &at), DT_i64);
}
static KE clamp_value(OpK *k, KE b, KE n, KE down) {
  KB *kb = k->b;
  KE zero = kb_int(kb, 0), one = kb_int(kb, 1);
  KE low = kb_select(kb, down, kb_int(kb, -1), zero),
     high = kb_select(kb, down, kb_sub(kb, n, one), n);
  KE at = kb_select(kb, kb_lt(kb, b, zero), kb_add(kb, kb_max(kb, b, kb_int(kb, -FAR)), n), b);
  return kb_clamp(kb, at, low, high);
}

typedef struct {
  KTensor begin, end, stride;
  int64_t n_begin, n_end, n_stride;
} Bounds;
static Bounds read_bounds(OpPlan *p, OpK *k, OpRef first, int n_args) {
  Bounds b = {0};
  KTensor *t[3] = {&b.begin, &b.end, &b.stride};
  int64_t *n[3] = {&b.n_begin, &b.n_end, &b.n_stride};
  for (int i = 0; i < n_args; i++) {
    *t[i] = opk_in(k, first + i);
    dim_is_const(plan_operand(p, first + i)->dim[0], n[i]);
  }
  return b;
}
typedef struct {
  KE begin, len, stride;
} SliceValue;
/* The slice of axis i with extent n, evaluated here. */
static SliceValue slice_value(OpK *k, const Bounds *b, int i, KE n, bool sized) {
  KB *kb = k->b;
  KE zero = kb_int(kb, 0), one = kb_int(kb, 1), s = one;
  if (i < b->n_stride && !sized) {
    s = kb_let(kb, bound_at(k, b->stride, i));
    kb_check(kb, kb_ne(kb, s, zero), "strided_slice: a stride is 0");
  }
  KE down = kb_lt(kb, s, zero);
  KE begin = kb_let(kb, clamp_value(k, bound_at(k, b->begin, i), n, down));
  KE end = kb_select(kb, down, kb_int(kb, -1), n);
  if (i < b->n_end) {
    KE e = bound_at(k, b->end, i);
    end = sized ? kb_select(kb, kb_lt(kb, e, zero), n, kb_min(kb, kb_add(kb, begin, e), n))
                : clamp_value(k, e, n, down);
  }
  KE span = kb_select(kb, down, kb_sub(kb, begin, end), kb_sub(kb, end, begin)),
     step = kb_max(kb, kb_un(kb, S_abs, s), one);
  KE count = kb_fdiv(kb, kb_sub(kb, kb_add(kb, span, step), one), step);
  return (SliceValue){begin, kb_let(kb, kb_max(kb, count, zero)), s};
}

static bool rel_dyn_slice(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  int64_t n;
  Dim out[MAX_RANK];
  if (!relkit_want_word(r, "slice_mode", "end", "size") || !bounds_args(r, 1, x.rank, &n))
    return false;
  for (int i = 0; i < x.rank; i++) out[i] = i < n ? rel_unknown(r) : x.dim[i];
  return rel_result(r, x.dtype, x.rank, out);
}
static bool lower_dyn_slice(OpPlan *p) {
  OpOperand xo = *plan_operand(p, 0), yo = *plan_operand(p, plan_result(p, 0));
  bool sized = !strcmp(attr_str(p->attrs, "slice_mode"), "size");
  int64_t n;
  dim_is_const(plan_operand(p, 1)->dim[0], &n);
  Dim three_n = dim_const(p->cx->dims, 3 * n);
  OpRef vec = plan_temp(p, DT_i64, 1, &three_n);
  OpK k = opk_begin(p, "slice_bounds");
  Bounds b = read_bounds(p, &k, 1, p->n_in - 1);
  KTensor v = opk_out(&k, vec);
  for (int i = 0; i < n; i++) {
    SliceValue s = slice_value(&k, &b, i, opk_dim(&k, xo.dim[i]), sized);
    KE part[3] = {s.len, s.begin, s.stride};
    for (int j = 0; j < 3; j++) {
      KE at = kb_int(k.b, j * n + i);
      kb_store(k.b, v.buf, &at, part[j]);
    }
  }
  if (!opk_end(&k)) return false;
  for (int i = 0; i < n; i++) relkit_bind_dim(p, yo.dim[i], vec, i);
  k = opk_begin(p, "dyn.strided_slice");
  KTensor x = opk_in(&k, 0);
  v = opk_in(&k, vec);
  KTensor y = opk_out(&k, plan_result(p, 0));
  KE idx[MAX_RANK], at[MAX_RANK], begin[MAX_RANK], stride[MAX_RANK];
  for (int i = 0; i < n; i++) {
    begin[i] = kb_let(k.b, bound_at(&k, v, (int)n + i));
    stride[i] = kb_let(k.b, bound_at(&k, v, 2 * (int)n + i));
  }
  opk_loops(&k, y.rank, y.dim, idx);
  for (int i = 0; i < y.rank; i++) {
    at[i] = i < n ? kb_add(k.b, begin[i], kb_mul(k.b, idx[i], stride[i])) : idx[i];
    if (i < n) at[i] = kb_clamp(k.b, at[i], kb_int(k.b, 0), kb_sub(k.b, x.dim[i], kb_int(k.b, 1)));
  }
  kb_store(k.b, y.buf, idx, kb_load(k.b, x.buf, at));
  opk_close(&k, y.rank);
  return opk_end(&k);
}

/* strided_set(data, v, begin, end, strides): data with a region replaced by v. */
static bool rel_strided_set(Rel *r) {
  TensorTy x = rel_tensor(r, 0), v = rel_tensor(r, 1);
  int64_t n;
  if (!rel_same_dtype(r, 0, 1) || !rel_want_rank(r, 1, x.rank) || !bounds_args(r, 2, x.rank, &n))
    return false;
  for (int i = (int)n; i < x.rank; i++)
    if (!rel_same_dim(r, x.dim[i], v.dim[i], str_fmt("the extents of axis %d of data and v", i)))
      return false;
  return rel_result(r, x.dtype, x.rank, x.dim);
}
static bool lower_strided_set(OpPlan *p) {
  int rank = plan_operand(p, 0)->rank;
  OpK k = opk_begin(p, "strided_set");
  KTensor x = opk_in(&k, 0), v = opk_in(&k, 1);
  Bounds b = read_bounds(p, &k, 2, p->n_in - 2);
  KTensor y = opk_out(&k, plan_result(p, 0));
  KE idx[MAX_RANK], at[MAX_RANK];
  SliceValue s[MAX_RANK];
  opk_loops(&k, rank, y.dim, idx);
  kb_store(k.b, y.buf, idx, kb_load(k.b, x.buf, idx));
  opk_close(&k, rank);
  for (int i = 0; i < b.n_begin; i++) {
    s[i] = slice_value(&k, &b, i, x.dim[i], false);
    kb_check(k.b, kb_eq(k.b, s[i].len, v.dim[i]), "strided_set: the region and v differ in extent");
  }
  opk_loops(&k, rank, v.dim, idx);
  for (int i = 0; i < rank; i++) {
    at[i] = idx[i];
    if (i >= b.n_begin) continue;
    at[i] = kb_add(k.b, s[i].begin, kb_mul(k.b, idx[i], s[i].stride));
    at[i] = kb_clamp(k.b, at[i], kb_int(k.b, 0), kb_sub(k.b, x.dim[i], kb_int(k.b, 1)));
  }
  kb_store(k.b, y.buf, at, kb_load(k.b, v.buf, idx));
  opk_close(&k, rank);
  return opk_end(&k);
}

/* ---- slice_like ------------------------------------------------------------------------------ */
static bool rel_slice_like(Rel *r) {
  TensorTy x = rel_tensor(r, 0), like = rel_tensor(r, 1);
  const OpAttrVal *v = opattr(rel_attrs(r), "axes");
  bool all = v->none || v->n == 0, take[MAX_RANK] = {0};
  Dim out[MAX_RANK];
  if (all && like.rank > x.rank) return rel_error(r, "shape_like has more axes than data");
  for (int i = 0; i < like.rank && all; i++) take[i] = true;
  for (int i = 0; i < v->n && !all; i++) {
    int axis;
    if (!rel_axis(r, "axes", v->ints[i], x.rank, &axis)) return false;
    if (axis >= like.rank) return rel_error(r, "shape_like has no axis %d", axis);
    take[axis] = true;
  }
  for (int i = 0; i < x.rank; i++) {
    out[i] = take[i] ? like.dim[i] : x.dim[i];
    if (take[i] && !dim_equal(x.dim[i], like.dim[i]) &&
        !rel_at_least(r, x.dim[i], like.dim[i],
                      str_fmt("the extents of axis %d of data and shape_like", i)))
      return false;
  }
  return rel_result(r, x.dtype, x.rank, out);
}
static bool lower_slice_like(OpPlan *p) {
  OpK k = opk_begin(p, "slice_like");
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  KE idx[MAX_RANK];
  opk_loops(&k, y.rank, y.dim, idx);
  kb_store(k.b, y.buf, idx, kb_load(k.b, x.buf, idx));
  opk_close(&k, y.rank);
  return opk_end(&k);
}

/* ---- records ----------------------------------------------------------------------------- */
#define SLICE_ATTRS(t)                                                                             \
  {"begin", t, "None", "first index per axis"},                                                    \
      {"end", t, "None", "bound per axis, not included"}, {                                        \
    "strides", t, "None", "step per axis"                                                          \
  }
const OpDef op_strided_slice = {
    .name = "strided_slice",
    .doc = "begin:end:stride along axes, as numpy slices.",
    .args = {{"data", "any shape", false}},
    .attrs = {{"begin", A_Ints, NULL, "first index per axis"},
              {"end", A_Ints, NULL, "bound per axis, not included"},
              {"strides", A_Ints, "[1]", "step per axis, not 0"},
              {"slice_mode", A_Str, "end", "\"size\": end holds lengths, -1 to the end"},
              {"axes", A_Ints, "None", "which axes; the first ones if absent"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Injective,
    .rel = rel_strided_slice,
    .lower = lower_strided_slice,
    .examples = (const char *const[]){
        "strided_slice(f32[4,5], begin=[1, 0], end=[3, 5], strides=[1, 2])",
        "strided_slice(f32[?1,3], begin=[1], end=[2], strides=[1], axes=[1])",
        "strided_slice(f32[?5,?4], begin=[-1, 1], end=[-100, 100], strides=[-2, 1])",
        "strided_slice(i8[4,5], begin=[1, 2], end=[-1, 2], slice_mode=\"size\")",
        "strided_slice(f32[0,3], begin=[0], end=[2])", NULL}};
const OpDef op_dyn_strided_slice = {
    .name = "dyn.strided_slice",
    .doc = "strided_slice with bounds given as tensors.",
    .args = {{"data", "any shape", false},
             {"begin", "int vector", false},
             {"end", "int vector", false},
             {"strides", "int vector", false}},
    .optional = 1,
    .attrs = {SLICE_ATTRS(A_Ignored),
              {"slice_mode", A_Str, "end", ""},
              {"axes", A_Ignored, "None", ""}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_dyn_slice,
    .lower = lower_dyn_slice,
    .examples =
        (const char *const[]){"dyn.strided_slice(f32[4,5], [1, 0]i64, [3, 5]i64, [1, 2]i64)",
                              "dyn.strided_slice(f32[?5,4], [-1]i32, [-100]i32, [-1]i32)", NULL}};
const OpDef op_strided_set = {
    .name = "strided_set",
    .doc = "data with the region begin:end:stride replaced by v.",
    .args = {{"data", "any shape", false},
             {"v", "the region's shape", false},
             {"begin", "int vector", false},
             {"end", "int vector", false},
             {"strides", "int vector", false}},
    .optional = 1,
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_strided_set,
    .lower = lower_strided_set,
    .examples =
        (const char *const[]){"strided_set(f32[4,5], f32[2,3], [1, 0]i64, [3, 5]i64, [1, 2]i64)",
                              "strided_set(f32[?4,5], f32[?2,5], [1]i32, [3]i32, [1]i32)", NULL}};
const OpDef op_slice_like = {
    .name = "slice_like",
    .doc = "data cropped to the extents of shape_like.",
    .args = {{"data", "any shape", false}, {"shape_like", "gives extents", false}},
    .attrs = {{"axes", A_Ints, "None", "which axes; all of shape_like if absent"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Injective,
    .rel = rel_slice_like,
    .lower = lower_slice_like,
    .examples = (const char *const[]){"slice_like(f32[4,5], f32[2,3])",
                                      "slice_like(f32[4,?5,6], f32[?2,3], axes=[0])", NULL}};
