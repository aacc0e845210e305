/* op_sort.c -- ordering: sort, argsort, topk, unique, searchsorted.
 *
 * The work is done by runtime kernels (vm/runtime.def).  Order is that of the
 * numbers with NaN as the greatest; sorting is stable.                        */
#include "stdlib/relkit.h"

static int sort_axis(OpPlan *p) {
  return relkit_axis(attr_int(p->attrs, "axis"), plan_operand(p, 0)->rank);
}
static DType index_dtype(const OpAttrs *a) {
  const OpAttrVal *v = opattr(a, "dtype");
  return v->none ? DT_i32 : v->dtype;
}
static bool want_numbers(Rel *r) {
  DType t = index_dtype(rel_attrs(r));
  return t != DT_bool ||
         rel_error(r, "dtype must be an int or a float type, found %s", dtype_name(t));
}

/* Runtime kernels give positions as integers; wanted as floats, they are cast. */
static OpRef index_result(OpPlan *p, OpRef wanted) {
  OpOperand o = *plan_operand(p, wanted);
  return dtype_is_int(o.dtype) ? wanted : plan_temp(p, DT_i64, o.rank, o.dim);
}
static KE cast_to(OpK *k, const KE *x, const void *t) {
  return kb_cast(k->b, x[0], *(const DType *)t);
}
static bool finish_index(OpPlan *p, OpRef got, OpRef wanted) {
  DType t = plan_operand(p, wanted)->dtype;
  return got == wanted || opk_map(p, "cast", 1, &got, wanted, cast_to, &t);
}

/* ---- sort, argsort --------------------------------------------------------------------- */
static bool rel_sort(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  int axis;
  if (!rel_want_min_rank(r, 0, 1) ||
      !rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis))
    return false;
  if (!rel_op(r)->variant) return relkit_identity(r);
  return want_numbers(r) && rel_result(r, index_dtype(rel_attrs(r)), x.rank, x.dim);
}
static bool lower_sort(OpPlan *p) {
  OpRef out = plan_result(p, 0), got = p->op->variant ? index_result(p, out) : out;
  int64_t how[2] = {sort_axis(p), attr_bool(p->attrs, "is_ascend")};
  plan_runtime(p, p->op->name, 1, (OpRef[]){0}, 1, &got, 2, how);
  return finish_index(p, got, out);
}
#define ORDER_ATTRS                                                                                \
  {"axis", A_Int, "-1", "along which"}, {                                                          \
    "is_ascend", A_Bool, "True", "from the smallest up; else from the greatest down"               \
  }
const OpDef op_sort = {
    .name = "sort",
    .doc = "The elements in order along an axis; NaN counts as the greatest.",
    .args = {{"data", "any shape but a scalar", false}},
    .attrs = {ORDER_ATTRS, {"dtype", A_Ignored, "None", "the elements keep their type"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_sort,
    .lower = lower_sort,
    .examples =
        (const char *const[]){"sort(f32[2,5])", "sort(i8[?4,3], axis=0, is_ascend=False)",
                              "sort(f16[2,3,4], axis=1)", "sort(f32[0,3])", "sort(bool[6])", NULL},
};
const OpDef op_argsort = {
    .name = "argsort",
    .doc = "The positions that put the elements in order along an axis; stable.",
    .args = {{"data", "any shape but a scalar", false}},
    .attrs = {ORDER_ATTRS, {"dtype", A_DType, "None", "type of the positions; None: int32"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_sort,
    .lower = lower_sort,
    .variant = 1,
    .not_differentiable = "its result is made of positions",
    .examples =
        (const char *const[]){
            "argsort(f32[2,5])", "argsort(i32[?4,3]<3, axis=0, is_ascend=False, dtype=\"int64\")",
            "argsort(f16[2,3,4], axis=1, dtype=\"float32\")", "argsort(f32[0,3])", NULL},
};

/* ---- topk, dyn.topk -------------------------------------------------------------------- */
enum { TOPK_BOTH, TOPK_VALUES, TOPK_INDICES, TOPK_BAD };
static int topk_kind(const OpAttrs *a) {
  static const char *const names[] = {"both", "values", "indices"};
  for (int i = 0; i < TOPK_BAD; i++)
    if (strcmp(attr_str(a, "ret_type"), names[i]) == 0) return i;
  return TOPK_BAD;
}
/* count: known to the checker or fresh; less than 1 means all. */
static bool topk_result(Rel *r, int axis, Dim count) {
  TensorTy x = rel_tensor(r, 0), leaf[2];
  int kind = topk_kind(rel_attrs(r));
  int64_t n;
  if (kind == TOPK_BAD)
    return rel_error(r, "ret_type must be \"both\", \"values\" or \"indices\", found \"%s\"",
                     attr_str(rel_attrs(r), "ret_type"));
  if (!want_numbers(r)) return false;
  Dim dim[MAX_RANK];
  memcpy(dim, x.dim, sizeof *dim * (size_t)x.rank);
  if (!dim_is_const(count, &n) || n >= 1) dim[axis] = count;
  if (dim_is_const(count, &n) &&
      !rel_at_least(r, x.dim[axis], dim[axis], "the extent of axis and k"))
    return false;
  leaf[0] = (TensorTy){x.dtype, x.rank, dim};
  leaf[1] = (TensorTy){index_dtype(rel_attrs(r)), x.rank, dim};
  if (kind == TOPK_BOTH) return rel_result_tuple(r, 2, leaf);
  TensorTy *one = &leaf[kind - TOPK_VALUES];
  return rel_result(r, one->dtype, one->rank, one->dim);
}
static bool rel_topk(Rel *r) {
  int axis;
  int64_t k = attr_int(rel_attrs(r), "k");
  return rel_want_min_rank(r, 0, 1) &&
         rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), rel_tensor(r, 0).rank, &axis) &&
         topk_result(r, axis, dim_const(rel_dims(r), k < 1 ? 0 : k));
}
static bool rel_dyn_topk(Rel *r) {
  TensorTy k = rel_tensor(r, 1);
  const Tensor *c = rel_constant(r, 1);
  int axis;
  if (!rel_want_min_rank(r, 0, 1) || !rel_want_class(r, 1, "iu") ||
      !rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), rel_tensor(r, 0).rank, &axis))
    return false;
  if (k.rank > 1) return rel_want_rank(r, 1, 0);
  if (k.rank == 1 && !rel_same_dim(r, k.dim[0], dim_const(rel_dims(r), 1), "the extent of k and 1"))
    return false;
  int64_t n = c ? relkit_const_int(c, 0) : 0;
  return topk_result(r, axis, !c ? rel_unknown(r) : dim_const(rel_dims(r), n < 1 ? 0 : n));
}
static bool topk(OpPlan *p, OpRef k) {
  int kind = topk_kind(p->attrs);
  OpRef first = plan_result(p, 0), out[2];
  OpOperand o = *plan_operand(p, first);
  DType t = plan_operand(p, 0)->dtype;
  OpRef wanted = kind == TOPK_BOTH ? plan_result(p, 1) : first;
  out[0] = kind == TOPK_INDICES ? plan_temp(p, t, o.rank, o.dim) : first;
  out[1] = kind == TOPK_VALUES ? plan_temp(p, DT_i64, o.rank, o.dim) : index_result(p, wanted);
  int64_t how[2] = {sort_axis(p), attr_bool(p->attrs, "is_ascend")};
  plan_runtime(p, "topk", 2, (OpRef[]){0, k}, 2, out, 2, how);
  return kind == TOPK_VALUES || finish_index(p, out[1], wanted);
}
static bool lower_topk(OpPlan *p) {
  int64_t n = attr_int(p->attrs, "k");
  OpRef k = plan_temp(p, DT_i64, 0, NULL);
  plan_dim_value(p, k, dim_const(p->cx->dims, n < 1 ? 0 : n));
  return topk(p, k);
}
static bool lower_dyn_topk(OpPlan *p) {
  OpOperand k = *plan_operand(p, 1);
  OpRef wide = 1;
  DType t = DT_i64;
  if (k.dtype != DT_i64 && k.dtype != DT_i32) {
    wide = plan_temp(p, DT_i64, k.rank, k.dim);
    if (!opk_map(p, "cast", 1, (OpRef[]){1}, wide, cast_to, &t)) return false;
  }
  return topk(p, wide);
}
#define TOPK_ATTRS                                                                                 \
  {"axis", A_Int, "-1", "along which"},                                                            \
      {"ret_type", A_Str, "both", "\"both\" (values, indices), \"values\" or \"indices\""},        \
      {"is_ascend", A_Bool, "False", "the smallest, from the smallest up"}, {                      \
    "dtype", A_DType, "None", "type of the indices; None: int32"                                   \
  }
const OpDef op_topk = {
    .name = "topk",
    .doc = "The k greatest (or smallest) elements along an axis in order, and their positions.",
    .args = {{"data", "any shape but a scalar", false}},
    .attrs = {{"k", A_Int, NULL, "how many; less than 1: all"}, TOPK_ATTRS},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_topk,
    .lower = lower_topk,
    .examples =
        (const char *const[]){
            "topk(f32[2,5], k=3)",
            "topk(i8[?4,3], k=2, axis=0, ret_type=\"values\", is_ascend=True)",
            "topk(f16[2,3,4], k=1, axis=1, ret_type=\"indices\", dtype=\"int64\")",
            "topk(f32[2,?3], k=0)", "topk(f32[0,3], k=2)", "topk(f64[6], k=4, dtype=\"float32\")",
            NULL},
};
const OpDef op_dyn_topk = {
    .name = "dyn.topk",
    .doc = "topk with a k known when it runs.",
    .args = {{"data", "any shape but a scalar", false}, {"k", "one int", false}},
    .attrs = {{"k", A_Ignored, "None", "the argument counts"}, TOPK_ATTRS},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_dyn_topk,
    .lower = lower_dyn_topk,
    .examples = (const char *const[]){"dyn.topk(f32[2,5], 3)",
                                      "dyn.topk(f32[?4,6], i32[]<6, ret_type=\"indices\")",
                                      "dyn.topk(i8[5,3], u8[1]<5, axis=0)", NULL},
};

/* ---- unique ---------------------------------------------------------------------------- */
static bool rel_unique(Rel *r) {
  if (!rel_want_rank(r, 0, 1)) return false;
  TensorTy x = rel_tensor(r, 0), at = {DT_i32, 1, x.dim};
  Dim one = dim_const(rel_dims(r), 1);
  TensorTy leaf[5] = {x, at, at, {DT_i32, 1, &one}, at};
  return rel_result_tuple(r, attr_bool(rel_attrs(r), "return_counts") ? 5 : 4, leaf);
}
static bool lower_unique(OpPlan *p) {
  bool counts = p->n_out == 5;
  Dim n = plan_operand(p, 0)->dim[0];
  OpRef count = counts ? plan_result(p, 4) : plan_temp(p, DT_i32, 1, &n);
  OpRef out[5] = {plan_result(p, 0), plan_result(p, 1), plan_result(p, 2), count,
                  plan_result(p, 3)};
  plan_runtime(p, "unique", 1, (OpRef[]){0}, 5, out, 1, (int64_t[]){attr_bool(p->attrs, "sorted")});
  return true;
}
const OpDef op_unique = {
    .name = "unique",
    .doc = "The distinct elements of a vector, where each occurs first, for each element which one "
           "it is, their number (1), and how often each occurs; padded to the length of data.",
    .args = {{"data", "a vector", false}},
    .attrs = {{"sorted", A_Bool, "True", "in ascending order; else in order of occurrence"},
              {"return_counts", A_Bool, "False", "with the fifth result"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_unique,
    .lower = lower_unique,
    .not_differentiable = "which elements are equal does not change smoothly",
    .examples = (const char *const[]){"unique(i32[9]<4)",
                                      "unique(i64[?7]<3, sorted=False, return_counts=True)",
                                      "unique(f16[5])", "unique(i32[0])", NULL},
};

/* ---- searchsorted ---------------------------------------------------------------------- */
static bool rel_searchsorted(Rel *r) {
  TensorTy s = rel_tensor(r, 0), v = rel_tensor(r, 1);
  DType t = opattr(rel_attrs(r), "dtype")->dtype;
  if (!rel_want_min_rank(r, 0, 1) || !rel_same_dtype(r, 0, 1)) return false;
  if (!dtype_is_int(t)) return rel_error(r, "dtype must be an int type, found %s", dtype_name(t));
  if (s.rank > 1 && !rel_want_rank(r, 1, s.rank)) return false;
  for (int i = 0; i + 1 < s.rank; i++)
    if (!rel_same_dim(r, s.dim[i], v.dim[i],
                      str_fmt("axis %d of sorted_sequence and of values", i)))
      return false;
  return rel_result(r, t, v.rank, v.dim);
}
static bool lower_searchsorted(OpPlan *p) {
  OpRef out = plan_result(p, 0), values = 1, got = out;
  bool scalar = plan_operand(p, 1)->rank == 0;
  Dim one = dim_const(p->cx->dims, 1);
  if (scalar) {
    values = plan_temp(p, plan_operand(p, 1)->dtype, 1, &one);
    got = plan_temp(p, plan_operand(p, out)->dtype, 1, &one);
    plan_view(p, values, 1);
  }
  plan_runtime(p, "searchsorted", 2, (OpRef[]){0, values}, 1, &got, 1,
               (int64_t[]){attr_bool(p->attrs, "right")});
  if (scalar) plan_view(p, out, got);
  return true;
}
const OpDef op_searchsorted = {
    .name = "searchsorted",
    .doc = "Where each value would go into a sorted sequence: before the elements equal to it, or "
           "behind them.",
    .args = {{"sorted_sequence", "a vector, or one row for each row of values", false},
             {"values", "any shape", false}},
    .attrs = {{"right", A_Bool, "False", "behind equal elements"},
              {"dtype", A_DType, "int32", "type of the positions"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_searchsorted,
    .lower = lower_searchsorted,
    .not_differentiable = "its result is made of positions",
    .examples =
        (const char *const[]){
            "searchsorted([1, 3, 3, 5]i32, i32[2,3]<7)",
            "searchsorted([1, 3, 3, 5]i32, i32[?4]<7, right=True, dtype=\"int64\")",
            "searchsorted([1, 3]i8, i8[]<4)", "searchsorted(f32[0], f32[3])", NULL},
};
