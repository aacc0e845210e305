/* op_reduce.c -- reductions over axes.
 *
 * A reduction sees its operand as axes that are kept and axes that are taken
 * together; neighbours of one kind are merged, so a loop nest is as shallow as
 * it can be.  Sums of halves are kept in float32; integers wrap in their type.
 * Over no element at all: sum 0, prod 1, all true, any false, mean NaN (of
 * integers: a division by zero), max and min the lowest and highest value of
 * the type (infinities for floats); argmax and argmin fail.                   */
#include "stdlib/relkit.h"

/* ---- type relations ------------------------------------------------------------------- */
static bool reduce(Rel *r, const char *classes, const DType *to) {
  bool reduced[MAX_RANK], keep = attr_bool(rel_attrs(r), "keepdims");
  Dim dim[MAX_RANK];
  int rank = 0;
  if (!rel_want_class(r, 0, classes)) return false;
  TensorTy x = rel_tensor(r, 0);
  bool exclude = attr_bool(rel_attrs(r), "exclude");
  if (!relkit_axes(r, opattr(rel_attrs(r), "axis"), x.rank, exclude, reduced)) return false;
  for (int i = 0; i < x.rank; i++) {
    if (!reduced[i])
      dim[rank++] = x.dim[i];
    else if (keep)
      dim[rank++] = dim_const(rel_dims(r), 1);
  }
  return rel_result(r, to ? *to : x.dtype, rank, dim);
}
static bool rel_reduce_num(Rel *r) { return reduce(r, "fiu", NULL); }
static bool rel_reduce_any(Rel *r) { return reduce(r, "fiub", NULL); }
static bool rel_reduce_bool(Rel *r) { return reduce(r, "b", NULL); }
static bool rel_arg(Rel *r) {
  static const DType index = DT_i32;
  return reduce(r, "fiub", &index);
}
static bool rel_variance(Rel *r) {
  if (!rel_same_dtype(r, 0, 1)) return false;
  return relkit_broadcasts_to(r, rel_tensor(r, 1), rel_tensor(r, 0)) && reduce(r, "f", NULL);
}

/* ---- the kernel around a reduction -------------------------------------------------------- */
/* FIT: kept or taken together, whichever makes the result's extent: known only
 * when it runs. */
typedef enum { AXIS_KEEP, AXIS_SUM, AXIS_FIT } AxisRole;
typedef struct {
  int n;
  AxisRole role[MAX_RANK];
  Dim in[MAX_RANK], out[MAX_RANK]; /* extents; out is 1 where SUM              */
} Axes;

static void add_axis(Axes *a, DimTab *t, AxisRole role, Dim in, Dim out, bool merge) {
  int last = a->n - 1;
  if (merge && last >= 0 && a->role[last] == role && role != AXIS_FIT) {
    a->in[last] = dim_mul(t, a->in[last], in);
    a->out[last] = dim_mul(t, a->out[last], out);
    return;
  }
  a->role[a->n] = role;
  a->in[a->n] = in;
  a->out[a->n++] = out;
}

static Axes axes_of(OpPlan *p, bool merge) {
  bool reduced[MAX_RANK];
  Axes a = {0};
  DimTab *t = p->cx->dims;
  Dim one = dim_const(t, 1);
  OpOperand *x = plan_operand(p, 0);
  relkit_axis_set(opattr(p->attrs, "axis"), x->rank, attr_bool(p->attrs, "exclude"), reduced);
  for (int i = 0; i < x->rank; i++) {
    AxisRole role = reduced[i] ? AXIS_SUM : AXIS_KEEP;
    add_axis(&a, t, role, x->dim[i], reduced[i] ? one : x->dim[i], merge);
  }
  return a;
}

typedef struct {
  OpK k;
  Axes a;
  KTensor x, m, y;
  KE keep[MAX_RANK]; /* output index, per axis of a              */
  int n_loops;
  int n_red;
  KE ext[MAX_RANK + 1], red[MAX_RANK + 1];
  KE at[MAX_RANK]; /* input index, inside the reduction        */
} Red;

/* Operands: data, maybe a mean, the result; loops over the result are open. */
static Red red_open(OpPlan *p, Axes a, bool with_mean) {
  Red r = {.k = opk_begin(p, p->op->name), .a = a};
  KB *b = r.k.b;
  r.x = opk_in_as(&r.k, 0, a.n, a.in);
  if (with_mean) r.m = opk_in(&r.k, 1);
  r.y = opk_out_as(&r.k, plan_result(p, 0), a.n, a.out);
  for (int i = 0; i < a.n; i++) {
    if (a.role[i] == AXIS_KEEP) continue;
    KE all = r.x.dim[i], one = kb_int(b, 1);
    /* FIT: all of them where the result has 1, 1 where it has all */
    bool fit = a.role[i] == AXIS_FIT;
    r.ext[r.n_red++] = fit ? kb_add(b, kb_sub(b, all, r.y.dim[i]), one) : all;
  }
  if (r.n_red == 0) r.ext[r.n_red++] = kb_int(b, 1);
  return r;
}
static void red_loops(Red *r) { r->n_loops = relkit_loops(&r->k, r->a.n, r->y.dim, r->keep); }

static void red_begin(Red *r) {
  kb_reduce_begin(r->k.b, r->n_red, r->ext, r->red);
  for (int i = 0, s = 0; i < r->a.n; i++) {
    if (r->a.role[i] == AXIS_KEEP)
      r->at[i] = r->keep[i];
    else if (r->a.role[i] == AXIS_SUM)
      r->at[i] = r->red[s++];
    else
      r->at[i] = kb_add(r->k.b, r->keep[i], r->red[s++]);
  }
}
static KE red_load(Red *r, DType t) { return kb_cast(r->k.b, kb_load(r->k.b, r->x.buf, r->at), t); }
static bool red_close(Red *r, KE value) {
  kb_store(r->k.b, r->y.buf, r->keep, kb_cast(r->k.b, value, r->y.dtype));
  opk_close(&r->k, r->n_loops);
  return opk_end(&r->k);
}
static KE red_count(Red *r) {
  KE n = kb_int(r->k.b, 1);
  for (int i = 0; i < r->n_red; i++) n = kb_mul(r->k.b, n, r->ext[i]);
  return n;
}

/* ---- sum, prod, max, min, all, any: variant is the operation --------------------------- */
static KE start(OpK *k, SOp op, DType t) {
  switch ((int)op) {
  case S_mul:
  case S_and: return opk_one(k, t);
  case S_max: return opk_lowest(k, t);
  case S_min: return opk_highest(k, t);
  default: return opk_zero(k, t);
  }
}
static bool lower_fold(OpPlan *p) {
  SOp op = (SOp)p->op->variant;
  bool exact = op == S_max || op == S_min;
  Red r = red_open(p, axes_of(p, true), false);
  DType t = exact ? r.x.dtype : relkit_acc(r.x.dtype);
  red_loops(&r);
  red_begin(&r);
  return red_close(&r, kb_reduce_end(r.k.b, op, start(&r.k, op, t), red_load(&r, t)));
}

/* ---- mean, variance ---------------------------------------------------------------------- */
/* Integers: their sum in 64 bits, divided, truncated. */
static DType mean_type(DType t) {
  if (dtype_is_float(t)) return relkit_acc(t);
  return dtype_is_signed(t) ? DT_i64 : DT_u64;
}
static bool lower_mean(OpPlan *p) {
  Red r = red_open(p, axes_of(p, true), false);
  DType t = mean_type(r.x.dtype);
  red_loops(&r);
  red_begin(&r);
  KE sum = kb_reduce_end(r.k.b, S_add, opk_zero(&r.k, t), red_load(&r, t));
  return red_close(&r, kb_div(r.k.b, sum, kb_cast(r.k.b, red_count(&r), t)));
}
static bool lower_variance(OpPlan *p) {
  Red r = red_open(p, axes_of(p, false), true);
  DType t = relkit_acc(r.x.dtype);
  KB *b = r.k.b;
  red_loops(&r);
  red_begin(&r);
  KE d = kb_sub(b, red_load(&r, t), kb_cast(b, opk_bcast(&r.k, r.m, r.x.rank, r.at), t));
  KE sum = kb_reduce_end(b, S_add, opk_zero(&r.k, t), kb_mul(b, d, d));
  KE n = kb_cast(b, red_count(&r), t);
  if (attr_bool(p->attrs, "unbiased")) n = kb_sub(b, n, opk_one(&r.k, t));
  return red_close(&r, kb_div(b, sum, n));
}

/* ---- argmax, argmin ---------------------------------------------------------------------- */
/* Two reductions: the extreme value, then the least (or greatest) position that
 * holds it.  NaN is the extreme of both, as in numpy. */
static KE is_extreme(Red *r, KE extreme) {
  KB *b = r->k.b;
  KE v = kb_load(b, r->x.buf, r->at), same = kb_eq(b, v, extreme);
  return dtype_is_float(r->x.dtype) ? kb_or(b, same, kb_un(b, S_isnan, v)) : same;
}
static KE position(Red *r) {
  KE at = kb_int(r->k.b, 0);
  for (int i = 0; i < r->n_red; i++) at = kb_add(r->k.b, kb_mul(r->k.b, at, r->ext[i]), r->red[i]);
  return at;
}
/* Some element is there, or nothing is asked for. */
static void check_not_empty(Red *r) {
  KB *b = r->k.b;
  KE none = kb_int(b, 0), ok = kb_lt(b, none, red_count(r));
  for (int i = 0; i < r->a.n; i++) ok = kb_or(b, ok, kb_eq(b, r->y.dim[i], none));
  kb_check(b, ok, str_fmt("%s: the reduced axes have no elements", r->k.p->op->name));
}
static bool lower_arg(OpPlan *p) {
  SOp op = (SOp)p->op->variant;
  bool last = attr_bool(p->attrs, "select_last_index");
  Red r = red_open(p, axes_of(p, true), false);
  KB *b = r.k.b;
  check_not_empty(&r);
  red_loops(&r);
  red_begin(&r);
  KE extreme = kb_reduce_end(b, op, start(&r.k, op, r.x.dtype), red_load(&r, r.x.dtype));
  red_begin(&r);
  KE outside = last ? kb_int(b, 0) : red_count(&r);
  KE here = kb_select(b, is_extreme(&r, extreme), position(&r), outside);
  return red_close(&r, kb_reduce_end(b, last ? S_max : S_min, outside, here));
}

/* ---- collapse_sum_like, collapse_sum_to: the adjoints of broadcasting -------------------- */
/* Truth values add by or, as in add. */
static Axes collapse_axes(OpPlan *p, bool *all_kept) {
  Axes a = {0};
  DimTab *t = p->cx->dims;
  Dim one = dim_const(t, 1);
  OpOperand *x = plan_operand(p, 0), *y = plan_operand(p, plan_result(p, 0));
  *all_kept = true;
  for (int i = 0; i < x->rank; i++) {
    int j = i - (x->rank - y->rank);
    int64_t v;
    Dim out = j < 0 ? one : y->dim[j];
    bool keep = dim_equal(x->dim[i], out), sum = dim_is_const(out, &v) && v == 1;
    add_axis(&a, t, keep ? AXIS_KEEP : sum ? AXIS_SUM : AXIS_FIT, x->dim[i], out, true);
    *all_kept &= keep;
  }
  return a;
}
static bool collapse(OpPlan *p) {
  bool all_kept;
  Axes a = collapse_axes(p, &all_kept);
  if (all_kept) {
    bool same_rank = plan_operand(p, 0)->rank == plan_operand(p, plan_result(p, 0))->rank;
    if (same_rank)
      plan_alias(p, plan_result(p, 0), 0);
    else
      plan_view(p, plan_result(p, 0), 0);
    return true;
  }
  Red r = red_open(p, a, false);
  DType t = relkit_acc(r.x.dtype);
  red_loops(&r);
  red_begin(&r);
  SOp op = t == DT_bool ? S_or : S_add;
  return red_close(&r, kb_reduce_end(r.k.b, op, opk_zero(&r.k, t), red_load(&r, t)));
}
static bool lower_collapse_to(OpPlan *p) {
  return relkit_bind_shape(p, 1, plan_result(p, 0), 0, 0, RELKIT_COLLAPSE) && collapse(p);
}
static bool rel_collapse_like(Rel *r) {
  TensorTy x = rel_tensor(r, 0), to = rel_tensor(r, 1);
  if (!relkit_broadcasts_to(r, to, x)) return false;
  return rel_result(r, x.dtype, to.rank, to.dim);
}
static bool rel_collapse_to(Rel *r) {
  Dim dim[MAX_RANK];
  int rank;
  TensorTy x = rel_tensor(r, 0);
  if (!relkit_shape_arg(r, 1, &rank, dim)) return false;
  if (rank > x.rank)
    return rel_error(r, "data of rank %d does not collapse to rank %d", x.rank, rank);
  if (rel_constant(r, 1) && !relkit_broadcasts_to(r, (TensorTy){x.dtype, rank, dim}, x))
    return false;
  return rel_result(r, x.dtype, rank, dim);
}

/* ---- records -------------------------------------------------------------------------------- */
#define AXIS_ATTRS                                                                                 \
  {"axis", A_Ints, "None", "axes to take together; None or []: all"},                              \
      {"keepdims", A_Bool, "False", "keep them with extent 1"}, {                                  \
    "exclude", A_Bool, "False", "take all other axes instead"                                      \
  }
#define REDUCE(id, sop, relation, lowering, describe, ...)                                         \
  const OpDef op_##id = {                                                                          \
      .name = #id,                                                                                 \
      .doc = describe,                                                                             \
      .args = {{"data", "any shape", false}},                                                      \
      .attrs = {AXIS_ATTRS},                                                                       \
      .flags = OP_PURE | OP_TOTAL_FLOAT | OP_TOTAL_STATIC,                                         \
      .pattern = PAT_Reduce,                                                                       \
      .rel = relation,                                                                             \
      .lower = lowering,                                                                           \
      .variant = sop,                                                                              \
      .examples = (const char *const[]){__VA_ARGS__, #id "(f32[2,3,4], axis=[0, 2])",              \
                                        #id "(f32[2,3,4], axis=[1], keepdims=True, exclude=True)", \
                                        #id "(f32[?5,3], axis=[-2])", #id "(f16[3,70], axis=[1])", \
                                        #id "(f32[])", NULL}}

REDUCE(sum, S_add, rel_reduce_num, lower_fold, "Sum; of nothing 0.", "sum(i8[4,60])",
       "sum(f32[0,3], axis=[0])");
REDUCE(prod, S_mul, rel_reduce_num, lower_fold, "Product; of nothing 1.", "prod(i32[2,3]<9)",
       "prod(f32[0,3], axis=[0])");
REDUCE(max, S_max, rel_reduce_any, lower_fold,
       "Greatest element; NaN if there is one; of nothing the lowest value of the type.",
       "max(u8[4,5])", "max(f32[0,3], axis=[0])", "max(bool[3])");
REDUCE(min, S_min, rel_reduce_any, lower_fold,
       "Least element; NaN if there is one; of nothing the highest value of the type.",
       "min(u8[4,5])", "min(f32[0,3], axis=[0])", "min(bool[3])");
REDUCE(mean, 0, rel_reduce_num, lower_mean,
       "Sum divided by the number of elements, truncated for integers; of nothing NaN.",
       "mean(i32[4,5])", "mean(f32[0,3], axis=[0])");

#define REDUCE_BOOL(id, sop, describe)                                                             \
  const OpDef op_##id = {                                                                          \
      .name = #id,                                                                                 \
      .doc = describe,                                                                             \
      .args = {{"data", "bool", false}},                                                           \
      .attrs = {AXIS_ATTRS},                                                                       \
      .flags = OP_PURE | OP_TOTAL_STATIC,                                                          \
      .pattern = PAT_Reduce,                                                                       \
      .rel = rel_reduce_bool,                                                                      \
      .lower = lower_fold,                                                                         \
      .variant = sop,                                                                              \
      .not_differentiable = "its result is a truth value",                                         \
      .examples = (const char *const[]){#id "(bool[2,3,4], axis=[0, 2])",                          \
                                        #id "(bool[?4,3], axis=[0], keepdims=True)",               \
                                        #id "(bool[0,3], axis=[0])", #id "(bool[5])", NULL}}
REDUCE_BOOL(all, S_and, "Are all true?  Of nothing: true.");
REDUCE_BOOL(any, S_or, "Is one true?  Of nothing: false.");

#define ARG(id, sop, describe)                                                                     \
  const OpDef op_##id = {                                                                          \
      .name = #id,                                                                                 \
      .doc = describe,                                                                             \
      .args = {{"data", "any shape", false}},                                                      \
      .attrs = {AXIS_ATTRS,                                                                        \
                {"select_last_index", A_Bool, "False",                                             \
                 "of equal elements the last, not the first"}},                                    \
      .flags = OP_PURE | OP_TOTAL_STATIC,                                                          \
      .pattern = PAT_Reduce,                                                                       \
      .rel = rel_arg,                                                                              \
      .lower = lower_arg,                                                                          \
      .variant = sop,                                                                              \
      .not_differentiable = "its result is an index",                                              \
      .examples = (const char *const[]){#id "(f32[2,3,4], axis=[1])", #id "(i32[4,5]<3)",          \
                                        #id "(u8[3,70]<4, axis=[1], select_last_index=True)",      \
                                        #id "(f32[?5,3], axis=[0], keepdims=True)",                \
                                        #id "(f16[2,3,4], axis=[0, 2])",                           \
                                        #id "(f32[0,3], axis=[1])", #id "(f32[])", NULL}}
ARG(argmax, S_max, "Position of the greatest element or of NaN, flattened over the axes.");
ARG(argmin, S_min, "Position of the least element or of NaN, flattened over the axes.");

const OpDef op_variance = {
    .name = "variance",
    .doc = "Mean of (data - mean)^2; unbiased divides by one less.",
    .args = {{"data", "any shape", false},
             {"mean", "broadcasts to data, mostly with kept axes", false}},
    .attrs = {AXIS_ATTRS,
              {"unbiased", A_Bool, "False", "divide by the number of elements less one"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Reduce,
    .rel = rel_variance,
    .lower = lower_variance,
    .examples =
        (const char *const[]){
            "variance(f32[2,3,4], f32[2,1,1], axis=[1, 2])",
            "variance(f64[?5,3], f64[1,3], axis=[0], keepdims=True, unbiased=True)",
            "variance(f16[3,70], f16[3,1], axis=[1])", "variance(f32[0,3], f32[1,3], axis=[0])",
            "variance(f32[4], f32[])", NULL},
};
const OpDef op_collapse_sum_like = {
    .name = "collapse_sum_like",
    .doc = "data summed over the axes along which collapse_type would be broadcast to it.",
    .args = {{"data", "any shape", false},
             {"collapse_type", "broadcasts to data; its shape counts", false}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Reduce,
    .rel = rel_collapse_like,
    .lower = collapse,
    .examples =
        (const char *const[]){
            "collapse_sum_like(f32[2,3,4], f32[3,1])", "collapse_sum_like(i32[2,3], i32[])",
            "collapse_sum_like(f32[?2,3], f32[?1,3])", "collapse_sum_like(f32[?2,3], f32[?2,3])",
            "collapse_sum_like(f32[0,3], f32[3])", "collapse_sum_like(f16[5,4], f16[5,4])",
            "collapse_sum_like(bool[2,3], f32[3])", NULL},
};
const OpDef op_collapse_sum_to = {
    .name = "collapse_sum_to",
    .doc = "data summed over the axes along which a tensor of shape would be broadcast to it.",
    .args = {{"data", "any shape", false}, {"shape", "int vector", false}},
    .attrs = {{"shape", A_Ignored, "None", "the argument counts"},
              {"dtype", A_Ignored, "None", "that of data"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Reduce,
    .rel = rel_collapse_to,
    .lower = lower_collapse_to,
    .examples = (const char *const[]){"collapse_sum_to(f32[2,3,4], [3, 1]i64)",
                                      "collapse_sum_to(i32[2,3], [3]i32)",
                                      "collapse_sum_to(f32[0,3], [1, 3]i64)",
                                      "collapse_sum_to(f16[?2,3], [1, 3]i64)", NULL},
};
