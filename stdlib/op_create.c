/* op_create.c -- tensors made from nothing but a value and a shape, ranges,
 * and shapes as values.                                                      */
#include "kernel/interp.h"
#include "stdlib/relkit.h"
#include <math.h>

/* ---- one value everywhere ---------------------------------------------------------------- */
static KE fill(OpK *k, const KE *x, const void *ud) {
  const OpPlan *p = ud;
  DType t = plan_operand((OpPlan *)p, plan_result(p, 0))->dtype;
  return p->op->variant < 0 ? kb_cast(k->b, x[0], t) : kb_num(k->b, t, p->op->variant);
}
/* variant: 0 or 1, or -1 - i when input i holds the value. */
static bool lower_fill(OpPlan *p) {
  OpRef in = -1 - p->op->variant;
  int n_in = p->op->variant < 0;
  return opk_map(p, "fill", n_in, &in, plan_result(p, 0), fill, p);
}
static bool lower_dyn_fill(OpPlan *p) {
  OpRef shape = p->n_in - 1;
  return relkit_bind_shape(p, shape, plan_result(p, 0), 0, shape, RELKIT_FREE) && lower_fill(p);
}

static DType dtype_or(Rel *r, DType dflt) {
  const OpAttrVal *v = opattr(rel_attrs(r), "dtype");
  return v->none ? dflt : v->dtype;
}
static bool shape_attr(Rel *r, int *rank, Dim *dim) {
  const OpAttrVal *shape = opattr(rel_attrs(r), "shape");
  if (shape->n > MAX_RANK)
    return rel_error(r, "shape has %d extents; a tensor has at most %d", shape->n, MAX_RANK);
  *rank = shape->n;
  for (int i = 0; i < shape->n; i++) {
    if (shape->ints[i] < 0)
      return rel_error(r, "shape must hold extents >= 0, found %lld", (long long)shape->ints[i]);
    dim[i] = dim_const(rel_dims(r), shape->ints[i]);
  }
  return true;
}
static bool rel_const_fill(Rel *r) {
  Dim dim[MAX_RANK];
  int rank;
  return shape_attr(r, &rank, dim) && rel_result(r, dtype_or(r, DT_f32), rank, dim);
}
static bool rel_full(Rel *r) {
  Dim dim[MAX_RANK];
  int rank;
  if (!rel_want_rank(r, 0, 0) || !shape_attr(r, &rank, dim)) return false;
  return rel_result(r, dtype_or(r, rel_tensor(r, 0).dtype), rank, dim);
}
static bool rel_full_like(Rel *r) { return rel_want_rank(r, 1, 0) && relkit_identity(r); }
static bool rel_dyn_fill(Rel *r) {
  Dim dim[MAX_RANK];
  int rank;
  return relkit_shape_arg(r, 0, &rank, dim) && rel_result(r, dtype_or(r, DT_f32), rank, dim);
}
static bool rel_dyn_full(Rel *r) {
  Dim dim[MAX_RANK];
  int rank;
  if (!rel_want_rank(r, 0, 0) || !relkit_shape_arg(r, 1, &rank, dim)) return false;
  return rel_result(r, dtype_or(r, rel_tensor(r, 0).dtype), rank, dim);
}

#define SHAPE_ATTRS                                                                                \
  {"shape", A_Ints, NULL, "extents"}, { "dtype", A_DType, "None", "element type" }
#define DYN_SHAPE_ATTRS                                                                            \
  {"shape", A_Ignored, "None", "the argument counts"}, { "dtype", A_DType, "None", "element type" }
static const char shape_only[] = "only the shape of its operand counts";

#define FILLS(id, number, value)                                                                   \
  const OpDef op_##id = {                                                                          \
      .name = #id,                                                                                 \
      .doc = "A tensor of " value "; float32 unless dtype says.",                                  \
      .attrs = {SHAPE_ATTRS},                                                                      \
      .flags = OP_PURE | OP_TOTAL,                                                                 \
      .pattern = PAT_Elemwise,                                                                     \
      .rel = rel_const_fill,                                                                       \
      .lower = lower_fill,                                                                         \
      .variant = number,                                                                           \
      .not_differentiable = "it has no operand",                                                   \
      .examples = (const char *const[]){#id "(shape=[2, 3])", #id "(shape=[], dtype=\"int8\")",    \
                                        #id "(shape=[0, 3], dtype=\"float16\")",                   \
                                        #id "(shape=[4], dtype=\"bool\")", NULL}};                 \
  const OpDef op_##id##_like = {                                                                   \
      .name = #id "_like",                                                                         \
      .doc = "A tensor of " value " with the shape and element type of x.",                        \
      .args = {{"x", "any shape", false}},                                                         \
      .flags = OP_PURE | OP_TOTAL,                                                                 \
      .pattern = PAT_Elemwise,                                                                     \
      .rel = relkit_identity,                                                                      \
      .lower = lower_fill,                                                                         \
      .variant = number,                                                                           \
      .not_differentiable = shape_only,                                                            \
      .examples = (const char *const[]){#id "_like(f32[2,3])", #id "_like(i8[?4])",                \
                                        #id "_like(f16[0,3])", #id "_like(bool[])", NULL}};        \
  const OpDef op_dyn_##id = {                                                                      \
      .name = "dyn." #id,                                                                          \
      .doc = "A tensor of " value " of a shape known when it runs.",                               \
      .args = {{"shape", "int vector: extents", false}},                                           \
      .attrs = {DYN_SHAPE_ATTRS},                                                                  \
      .flags = OP_PURE,                                                                            \
      .pattern = PAT_Elemwise,                                                                     \
      .rel = rel_dyn_fill,                                                                         \
      .lower = lower_dyn_fill,                                                                     \
      .variant = number,                                                                           \
      .not_differentiable = shape_only,                                                            \
      .examples =                                                                                  \
          (const char *const[]){"dyn." #id "([2, 3]i64)", "dyn." #id "(i32[2]<4, dtype=\"int8\")", \
                                "dyn." #id "([0, 3]i32, dtype=\"bool\")", NULL}}
FILLS(zeros, 0, "zeros");
FILLS(ones, 1, "ones");

const OpDef op_full = {
    .name = "full",
    .doc = "fill_value everywhere.",
    .args = {{"fill_value", "a scalar", false}},
    .attrs = {SHAPE_ATTRS},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Elemwise,
    .rel = rel_full,
    .lower = lower_fill,
    .variant = -1,
    .examples =
        (const char *const[]){"full(f32[], shape=[2, 3])", "full(1.5f, shape=[4], dtype=\"int8\")",
                              "full(f16[], shape=[0, 3])", NULL},
};
const OpDef op_full_like = {
    .name = "full_like",
    .doc = "fill_value everywhere, with the shape and element type of data.",
    .args = {{"data", "any shape", false}, {"fill_value", "a scalar", false}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Elemwise,
    .rel = rel_full_like,
    .lower = lower_fill,
    .variant = -2,
    .examples = (const char *const[]){"full_like(f32[2,3], f32[])", "full_like(i8[?4], 3f)",
                                      "full_like(f16[0,3], f16[])", NULL},
};
const OpDef op_dyn_full = {
    .name = "dyn.full",
    .doc = "fill_value everywhere, of a shape known when it runs.",
    .args = {{"fill_value", "a scalar", false}, {"shape", "int vector: extents", false}},
    .attrs = {DYN_SHAPE_ATTRS},
    .flags = OP_PURE,
    .pattern = PAT_Elemwise,
    .rel = rel_dyn_full,
    .lower = lower_dyn_fill,
    .variant = -1,
    .examples = (const char *const[]){"dyn.full(f32[], [2, 3]i64)",
                                      "dyn.full(1.5f, i32[2]<4, dtype=\"int8\")",
                                      "dyn.full(f16[], [0, 3]i32)", NULL},
};

/* ---- arange --------------------------------------------------------------------------------- */
/* Integers when all three numbers are: exact.  Else the length is computed in
 * float64. */
static bool arange_exact(DType start, DType stop, DType step) {
  return !dtype_is_float(start) && !dtype_is_float(stop) && !dtype_is_float(step);
}

static bool known_length(Rel *r, const Tensor *const c[3], int64_t *n) {
  if (!arange_exact(c[0]->dtype, c[1]->dtype, c[2]->dtype)) {
    double step = relkit_const_float(c[2], 0);
    double len = ceil((relkit_const_float(c[1], 0) - relkit_const_float(c[0], 0)) / step);
    if (!isfinite(len)) return rel_error(r, "step %g does not reach stop", step);
    *n = cast_f64_to_int(len, DT_i64);
  } else {
    uint64_t back, a = (uint64_t)relkit_const_int(c[0], 0), b = (uint64_t)relkit_const_int(c[1], 0);
    uint64_t step = (uint64_t)relkit_const_int(c[2], 0);
    if (scalar_eval(S_fdiv, DT_i64, a - b, step, 0, &back) != K_OK)
      return rel_error(r, "step must not be 0");
    *n = (int64_t)(0 - back);
  }
  if (*n < 0) *n = 0;
  return true;
}
static bool rel_arange(Rel *r) {
  const Tensor *c[3];
  int64_t n = 0;
  for (int i = 0; i < 3; i++) {
    if (!relkit_want_scalar(r, i, "fiu")) return false;
    c[i] = rel_constant(r, i);
  }
  Dim len;
  if (c[0] && c[1] && c[2]) {
    if (!known_length(r, c, &n)) return false;
    len = dim_const(rel_dims(r), n);
  } else {
    len = rel_unknown(r);
  }
  return rel_result(r, dtype_or(r, rel_tensor(r, 0).dtype), 1, &len);
}

static KE number(OpK *k, OpRef r, DType t) {
  KTensor x = opk_in(k, r);
  return kb_cast(k->b, kb_load(k->b, x.buf, NULL), t);
}
static bool bind_length(OpPlan *p, Dim len) {
  bool exact =
      arange_exact(plan_operand(p, 0)->dtype, plan_operand(p, 1)->dtype, plan_operand(p, 2)->dtype);
  DType t = exact ? DT_i64 : DT_f64;
  Dim one = dim_const(p->cx->dims, 1);
  OpRef vec = plan_temp(p, DT_i64, 1, &one);
  OpK k = opk_begin(p, "length");
  KB *b = k.b;
  KE a = number(&k, 0, t), e = number(&k, 1, t), step = number(&k, 2, t), zero = kb_int(b, 0), n;
  KTensor y = opk_out(&k, vec);
  if (exact) {
    kb_check(b, kb_ne(b, step, zero), "arange: step must not be 0");
    n = kb_un(b, S_neg, kb_fdiv(b, kb_sub(b, a, e), step));
  } else {
    KE len64 = kb_let(b, kb_un(b, S_ceil, kb_div(b, kb_sub(b, e, a), step)));
    kb_check(b, kb_un(b, S_isfin, len64), "arange: step does not reach stop");
    n = kb_cast(b, len64, DT_i64);
  }
  kb_store(b, y.buf, &zero, kb_max(b, n, zero));
  if (!opk_end(&k)) return false;
  relkit_bind_dim(p, len, vec, 0);
  return true;
}
/* start + i * step in the result's type, halves in float32; integers in float64 where one of
 * the numbers is a float. */
static bool lower_arange(OpPlan *p) {
  OpOperand *o = plan_operand(p, plan_result(p, 0));
  bool exact =
      arange_exact(plan_operand(p, 0)->dtype, plan_operand(p, 1)->dtype, plan_operand(p, 2)->dtype);
  DType to = o->dtype, t = dtype_is_float(to) ? relkit_acc(to) : exact ? DT_i64 : DT_f64;
  int64_t known;
  if (!dim_is_const(o->dim[0], &known) && !bind_length(p, o->dim[0])) return false;
  OpK k = opk_begin(p, "arange");
  KE start = number(&k, 0, t), step = number(&k, 2, t);
  KTensor y = opk_out(&k, plan_result(p, 0));
  KE i = kb_for(k.b, y.dim[0], K_PARALLEL);
  KE v = kb_add(k.b, start, kb_mul(k.b, kb_cast(k.b, i, t), step));
  kb_store(k.b, y.buf, &i, kb_cast(k.b, v, to));
  kb_end(k.b);
  return opk_end(&k);
}

const OpDef op_arange = {
    .name = "arange",
    .doc = "start, start + step, ... short of stop.",
    .args = {{"start", "a scalar", false},
             {"stop", "a scalar", false},
             {"step", "a scalar", false}},
    .attrs = {{"start", A_Ignored, "None", "the argument counts"},
              {"stop", A_Ignored, "None", "the argument counts"},
              {"step", A_Ignored, "None", "the argument counts"},
              {"dtype", A_DType, "None", "element type; None: that of start"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Opaque,
    .rel = rel_arange,
    .lower = lower_arange,
    .examples =
        (const char *const[]){"arange(0, 7, 2)", "arange(0f, 5f, 0.5f, dtype=\"float32\")",
                              "arange(9, -3, -4)", "arange(3, 3, 1)",
                              "arange(i32[]<3, i32[]<9, i32[]>0)", "arange(f32[], 4f, 0.3f)", NULL},
};

/* ---- shapes as values ---------------------------------------------------------------------- */
static bool rel_dim(Rel *r) {
  if (!relkit_want_scalar(r, 1, "iu")) return false;
  const Tensor *c = rel_constant(r, 1);
  int axis;
  if (!c) return rel_error(r, "axis must be an integer literal");
  if (!rel_axis(r, "axis", relkit_const_int(c, 0), rel_tensor(r, 0).rank, &axis)) return false;
  return rel_result(r, DT_i64, 0, NULL);
}
/* The literal came through a variable: choose when it runs. */
static bool choose_dim(OpPlan *p) {
  OpOperand x = *plan_operand(p, 0);
  OpK k = opk_begin(p, "dim");
  KB *b = k.b;
  KE axis = number(&k, 1, DT_i64), v = kb_int(b, 0);
  KTensor y = opk_out(&k, plan_result(p, 0));
  for (int i = 0; i < x.rank; i++) {
    KE here = kb_or(b, kb_eq(b, axis, kb_int(b, i)), kb_eq(b, axis, kb_int(b, i - x.rank)));
    v = kb_select(b, here, opk_dim(&k, x.dim[i]), v);
  }
  kb_store(b, y.buf, NULL, v);
  return opk_end(&k);
}
static bool lower_dim(OpPlan *p) {
  OpOperand *x = plan_operand(p, 0);
  if (!p->constant[1]) return choose_dim(p);
  int axis = relkit_axis(relkit_const_int(p->constant[1], 0), x->rank);
  plan_dim_value(p, plan_result(p, 0), x->dim[axis]);
  return true;
}
const OpDef op_dim = {
    .name = "dim",
    .doc = "The extent of data along one axis, as int64.",
    .args = {{"data", "any shape", false}, {"axis", "an integer literal", false}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Opaque,
    .rel = rel_dim,
    .lower = lower_dim,
    .not_differentiable = shape_only,
    .examples =
        (const char *const[]){"dim(f32[2,3], 1)", "dim(i8[?4], -1)", "dim(f16[0,3], 0)", NULL},
};

static bool count_type(Rel *r, DType *t) {
  *t = dtype_or(r, DT_i32);
  return dtype_is_int(*t) ||
         rel_error(r, "dtype must be an integer type, found %s", dtype_name(*t));
}
static bool rel_shape_of(Rel *r) {
  DType t;
  if (!count_type(r, &t)) return false;
  Dim n = dim_const(rel_dims(r), rel_tensor(r, 0).rank);
  return rel_result(r, t, 1, &n);
}
static bool lower_shape_of(OpPlan *p) {
  OpOperand x = *plan_operand(p, 0);
  OpK k = opk_begin(p, "shape_of");
  KTensor y = opk_out(&k, plan_result(p, 0));
  for (int i = 0; i < x.rank; i++) {
    KE at = kb_int(k.b, i);
    kb_store(k.b, y.buf, &at, kb_cast(k.b, opk_dim(&k, x.dim[i]), y.dtype));
  }
  return opk_end(&k);
}
static bool rel_ndarray_size(Rel *r) {
  DType t;
  return count_type(r, &t) && rel_result(r, t, 0, NULL);
}
static bool lower_ndarray_size(OpPlan *p) {
  OpOperand *x = plan_operand(p, 0);
  plan_dim_value(p, plan_result(p, 0), relkit_product(p->cx->dims, x->rank, x->dim));
  return true;
}
#define SIZES(id, text, relation, lowering, describe)                                              \
  const OpDef op_##id = {                                                                          \
      .name = text,                                                                                \
      .doc = describe,                                                                             \
      .args = {{"data", "any shape", false}},                                                      \
      .attrs = {{"dtype", A_DType, "None", "integer type of the result; None: int32"}},            \
      .flags = OP_PURE | OP_TOTAL,                                                                 \
      .pattern = PAT_Opaque,                                                                       \
      .rel = relation,                                                                             \
      .lower = lowering,                                                                           \
      .not_differentiable = shape_only,                                                            \
      .examples = (const char *const[]){text "(f32[2,3,4])", text "(i8[?4], dtype=\"int64\")",     \
                                        text "(f16[0,3])", text "(f32[])", NULL}}
SIZES(shape_of, "shape_of", rel_shape_of, lower_shape_of, "The extents of data, as a vector.");
SIZES(ndarray_size, "ndarray_size", rel_ndarray_size, lower_ndarray_size,
      "The number of elements of data.");
