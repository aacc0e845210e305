/* op_matrix.c -- tensors built by position: one-hot rows, triangles, diagonals,
 * grids, inverse permutations, coordinates.                                  */
#include "stdlib/relkit.h"

/* ---- one_hot, dyn.one_hot ------------------------------------------------------------------- */
static bool one_hot(Rel *r, Dim depth) {
  Dim dim[MAX_RANK];
  const OpAttrVal *t = opattr(rel_attrs(r), "dtype");
  int axis;
  if (!rel_want_class(r, 0, "iu") || !rel_want_rank(r, 1, 0) || !rel_want_rank(r, 2, 0))
    return false;
  TensorTy x = rel_tensor(r, 0);
  if (x.rank == MAX_RANK) return rel_error(r, "indices have rank %d, the most there is", x.rank);
  if (!rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank + 1, &axis)) return false;
  for (int i = 0; i <= x.rank; i++) dim[i] = i < axis ? x.dim[i] : i == axis ? depth : x.dim[i - 1];
  return rel_result(r, t->none ? rel_tensor(r, 1).dtype : t->dtype, x.rank + 1, dim);
}
static bool rel_one_hot(Rel *r) {
  int64_t depth = attr_int(rel_attrs(r), "depth");
  if (depth < 1) return rel_error(r, "depth must be at least 1, found %lld", (long long)depth);
  return one_hot(r, dim_const(rel_dims(r), depth));
}
static bool rel_dyn_one_hot(Rel *r) {
  Dim depth;
  return relkit_extent_arg(r, 3, &depth) && one_hot(r, depth);
}
/* Seen as (before, depth, behind). */
static bool lower_one_hot(OpPlan *p) {
  OpOperand *o = plan_operand(p, plan_result(p, 0));
  int axis = relkit_axis(attr_int(p->attrs, "axis"), o->rank);
  Dim dim[3];
  relkit_around(p->cx->dims, o->rank, o->dim, axis, dim);
  OpK k = opk_begin(p, "one_hot");
  KB *b = k.b;
  KTensor x = opk_in_as(&k, 0, 2, (Dim[]){dim[0], dim[2]}), on = opk_in(&k, 1);
  KTensor off = opk_in(&k, 2), y = opk_out_as(&k, plan_result(p, 0), 3, dim);
  KE i[3];
  int loops = relkit_loops(&k, 3, y.dim, i);
  KE at[2] = {i[0], i[2]};
  KE hit = kb_eq(b, kb_cast(b, kb_load(b, x.buf, at), DT_i64), i[1]);
  KE yes = kb_cast(b, kb_load(b, on.buf, NULL), y.dtype);
  KE no = kb_cast(b, kb_load(b, off.buf, NULL), y.dtype);
  kb_store(b, y.buf, i, kb_select(b, hit, yes, no));
  opk_close(&k, loops);
  return opk_end(&k);
}
static bool lower_dyn_one_hot(OpPlan *p) {
  OpRef out = plan_result(p, 0);
  int axis = relkit_axis(attr_int(p->attrs, "axis"), plan_operand(p, out)->rank);
  return relkit_bind_shape(p, 3, out, axis, 3, RELKIT_FREE) && lower_one_hot(p);
}

#define ONE_HOT_ATTRS(depth_type, depth_doc)                                                       \
  {"depth", depth_type, "1", depth_doc},                                                           \
      {"axis", A_Int, "-1", "where the new axis stands in the result"}, {                          \
    "dtype", A_DType, "None", "element type; None: that of on_value"                               \
  }
const OpDef op_one_hot = {
    .name = "one_hot",
    .doc = "A new axis of extent depth: on_value at the position the index names, else off_value.",
    .args = {{"indices", "ints of any shape; one outside [0, depth) names no position", false},
             {"on_value", "a scalar", false},
             {"off_value", "a scalar", false}},
    .attrs = {ONE_HOT_ATTRS(A_Int, "extent of the new axis")},
    .flags = OP_PURE,
    .pattern = PAT_OutFusable,
    .rel = rel_one_hot,
    .lower = lower_one_hot,
    .examples =
        (const char *const[]){"one_hot(i32[2,3]<5, 1f, 0f, depth=5)",
                              "one_hot(i64[?4]<3, 7, -1, depth=3, axis=0, dtype=\"int8\")",
                              "one_hot(u8[2,3]<4, 1f, 0f, depth=4, axis=1, dtype=\"float16\")",
                              "one_hot(i32[0,3], 1f, 0f, depth=2)",
                              "one_hot(i32[]<9, 1f, 0f, depth=4)",
                              "one_hot(i32[2,3]<5, f32[], f32[], depth=5)", NULL},
};
const OpDef op_dyn_one_hot = {
    .name = "dyn.one_hot",
    .doc = "one_hot with a depth known when it runs.",
    .args = {{"indices", "ints of any shape; one outside [0, depth) names no position", false},
             {"on_value", "a scalar", false},
             {"off_value", "a scalar", false},
             {"depth", "an int scalar", false}},
    .attrs = {ONE_HOT_ATTRS(A_Ignored, "the argument counts")},
    .flags = OP_PURE,
    .pattern = PAT_OutFusable,
    .rel = rel_dyn_one_hot,
    .lower = lower_dyn_one_hot,
    .examples =
        (const char *const[]){"dyn.one_hot(i32[2,3]<5, 1f, 0f, 5)",
                              "dyn.one_hot(i64[?4]<3, 7, -1, i32[]<9, axis=0, dtype=\"int8\")",
                              "dyn.one_hot(i32[0,3], 1f, 0f, i64[]<4)",
                              "dyn.one_hot(i32[2,3]<5, f32[], f32[], 5)", NULL},
};

/* ---- trilu -------------------------------------------------------------------------------- */
static bool rel_trilu(Rel *r) {
  return rel_want_min_rank(r, 0, 2) && relkit_want_scalar(r, 1, "iu") && relkit_identity(r);
}
static void matrices(OpPlan *p, OpRef r, Dim dim[3]) {
  OpOperand *o = plan_operand(p, r);
  dim[0] = relkit_product(p->cx->dims, o->rank - 2, o->dim);
  dim[1] = o->dim[o->rank - 2];
  dim[2] = o->dim[o->rank - 1];
}
static bool lower_trilu(OpPlan *p) {
  Dim dim[3];
  matrices(p, 0, dim);
  OpK k = opk_begin(p, "trilu");
  KB *b = k.b;
  KTensor x = opk_in_as(&k, 0, 3, dim), d = opk_in(&k, 1);
  KTensor y = opk_out_as(&k, plan_result(p, 0), 3, dim);
  KE i[3];
  int loops = relkit_loops(&k, 3, y.dim, i);
  KE from = kb_cast(b, kb_load(b, d.buf, NULL), DT_i64), diagonal = kb_sub(b, i[2], i[1]);
  KE keep = attr_bool(p->attrs, "upper") ? kb_le(b, from, diagonal) : kb_le(b, diagonal, from);
  kb_store(b, y.buf, i, kb_select(b, keep, kb_load(b, x.buf, i), opk_zero(&k, y.dtype)));
  opk_close(&k, loops);
  return opk_end(&k);
}
const OpDef op_trilu = {
    .name = "trilu",
    .doc = "The upper (or lower) triangle of each matrix, diagonal k included; zero elsewhere.",
    .args = {{"data", "(..., m, n)", false}, {"k", "an int scalar: number of the diagonal", false}},
    .attrs = {{"upper", A_Bool, "True", "the upper triangle, not the lower"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Elemwise,
    .rel = rel_trilu,
    .lower = lower_trilu,
    .examples =
        (const char *const[]){"trilu(f32[2,3,4], 0)", "trilu(i8[?3,4], 1, upper=False)",
                              "trilu(f16[0,3], -1)", "trilu(f64[4,3], i64[]<3, upper=False)", NULL},
};

/* ---- matrix_set_diag ----------------------------------------------------------------------- */
static bool diagonal_shape(Rel *r, TensorTy x, TensorTy d, int64_t k1, int64_t k2) {
  DimTab *t = rel_dims(r);
  for (int i = 0; i < x.rank - 2; i++)
    if (!rel_same_dim(r, x.dim[i], d.dim[i], "an axis of input and of diagonal")) return false;
  Dim rows = dim_add(t, x.dim[x.rank - 2], dim_const(t, k2 < 0 ? k2 : 0));
  Dim cols = dim_sub(t, x.dim[x.rank - 1], dim_const(t, k1 > 0 ? k1 : 0));
  Dim count = dim_const(t, k2 - k1 + 1), longest = dim_min(t, rows, cols);
  static const char rows_what[] = "the rows of diagonal and k2 - k1 + 1";
  static const char cols_what[] = "the columns of diagonal and the longest diagonal";
  if (k1 != k2 && !rel_same_dim(r, d.dim[d.rank - 2], count, rows_what)) return false;
  return rel_same_dim(r, d.dim[d.rank - 1], longest, cols_what);
}
static bool rel_set_diag(Rel *r) {
  int64_t k1 = attr_int(rel_attrs(r), "k1"), k2 = attr_int(rel_attrs(r), "k2");
  if (k1 > k2)
    return rel_error(r, "k1 must not be above k2, found %lld and %lld", (long long)k1,
                     (long long)k2);
  if (k1 < INT32_MIN || k2 > INT32_MAX) return rel_error(r, "k1 and k2 must fit int32");
  if (!rel_want_min_rank(r, 0, 2) || !rel_same_dtype(r, 0, 1)) return false;
  TensorTy x = rel_tensor(r, 0);
  if (!rel_want_rank(r, 1, k1 == k2 ? x.rank - 1 : x.rank)) return false;
  return diagonal_shape(r, x, rel_tensor(r, 1), k1, k2) && relkit_identity(r);
}
/* Position along its row of diagonal number d for matrix element (i, j):
 * diagonals shorter than the longest stand left, or right if aligned so. */
static KE along(OpK *k, KTensor x, KTensor diag, KE d, KE i, KE j) {
  KB *b = k->b;
  KE zero = kb_int(b, 0), above = kb_le(b, zero, d), m = x.dim[1], n = x.dim[2];
  KE longest = diag.dim[diag.rank - 1];
  bool super = attr_bool(k->p->attrs, "super_diag_right_align");
  bool sub = attr_bool(k->p->attrs, "sub_diag_right_align");
  KE gap_super = super ? kb_sub(b, longest, kb_min(b, kb_sub(b, n, d), m)) : zero;
  KE gap_sub = sub ? kb_sub(b, longest, kb_min(b, n, kb_add(b, m, d))) : zero;
  return kb_add(b, kb_select(b, above, i, j), kb_select(b, above, gap_super, gap_sub));
}
static bool lower_set_diag(OpPlan *p) {
  int64_t k1 = attr_int(p->attrs, "k1"), k2 = attr_int(p->attrs, "k2");
  bool one = k1 == k2;
  OpOperand *o = plan_operand(p, 1);
  Dim dim[3], ddim[3];
  matrices(p, 0, dim);
  ddim[0] = dim[0];
  ddim[1] = dim_const(p->cx->dims, k2 - k1 + 1);
  ddim[2] = o->dim[o->rank - 1];
  OpK k = opk_begin(p, "matrix_set_diag");
  KB *b = k.b;
  KTensor x = opk_in_as(&k, 0, 3, dim), diag = opk_in_as(&k, 1, 3, ddim);
  KTensor y = opk_out_as(&k, plan_result(p, 0), 3, dim);
  KE i[3], low = kb_int(b, k1), high = kb_int(b, k2);
  int loops = relkit_loops(&k, 3, y.dim, i);
  KE d = kb_sub(b, i[2], i[1]), zero = kb_int(b, 0);
  KE inside = kb_and(b, kb_le(b, low, d), kb_le(b, d, high));
  KE place = one ? kb_select(b, kb_le(b, zero, d), i[1], i[2]) : along(&k, x, diag, d, i[1], i[2]);
  KE at[3] = {i[0], one ? zero : kb_sub(b, high, d), place};
  KE old = kb_load(b, x.buf, i), fresh = kb_load_or(b, diag.buf, at, old);
  kb_store(b, y.buf, i, kb_select(b, inside, fresh, old));
  opk_close(&k, loops);
  return opk_end(&k);
}
const OpDef op_matrix_set_diag = {
    .name = "matrix_set_diag",
    .doc = "input with its diagonals k1 to k2 replaced.",
    .args = {{"input", "(..., m, n)", false},
             {"diagonal", "(..., k2 - k1 + 1, longest), highest first; (..., longest) if k1 is k2",
              false}},
    .attrs = {{"k1", A_Int, "0", "lowest diagonal; negative below the main one"},
              {"k2", A_Int, "0", "highest diagonal"},
              {"super_diag_right_align", A_Bool, "True", "short diagonals above stand right"},
              {"sub_diag_right_align", A_Bool, "False", "short diagonals below stand right"}},
    .flags = OP_PURE,
    .pattern = PAT_Injective,
    .rel = rel_set_diag,
    .lower = lower_set_diag,
    .examples =
        (const char *const[]){
            "matrix_set_diag(f32[2,3,4], f32[2,3])", "matrix_set_diag(i8[3,4], i8[3], k1=1, k2=1)",
            "matrix_set_diag(f32[2,3,4], f32[2,4,3], k1=-1, k2=2)",
            "matrix_set_diag(f16[4,3], f16[3,3], k1=-1, k2=1, super_diag_right_align=False, "
            "sub_diag_right_align=True)",
            "matrix_set_diag(f32[?2,3,3], f32[?2,3])", "matrix_set_diag(f32[0,3,4], f32[0,3])",
            NULL},
};

/* ---- meshgrid ------------------------------------------------------------------------------ */
static bool is_xy(const OpAttrs *a) { return strcmp(attr_str(a, "indexing"), "xy") == 0; }
/* The axis of the results along which input i varies. */
static int grid_axis(const OpAttrs *a, int n, int i) {
  return is_xy(a) && n > 1 && i < 2 ? 1 - i : i;
}
static bool rel_meshgrid(Rel *r) {
  int n = rel_arg_size(r, 0);
  const OpAttrs *a = rel_attrs(r);
  TensorTy leaf[MAX_RANK];
  Dim dim[MAX_RANK];
  if (!is_xy(a) && strcmp(attr_str(a, "indexing"), "ij") != 0)
    return rel_error(r, "indexing must be \"ij\" or \"xy\", found \"%s\"", attr_str(a, "indexing"));
  if (n < 1 || n > MAX_RANK)
    return rel_error(r, "data must have 1 to %d fields, found %d", MAX_RANK, n);
  for (int i = 0; i < n; i++) {
    TensorTy x = rel_leaf(r, 0, i), first = rel_leaf(r, 0, 0);
    if (x.rank > 1)
      return rel_error(r, "field %d of data must be a vector, found rank %d", i, x.rank);
    if (x.dtype != first.dtype)
      return rel_error(r, "the fields of data must have one element type, found %s and %s",
                       dtype_name(first.dtype), dtype_name(x.dtype));
    dim[grid_axis(a, n, i)] = x.rank ? x.dim[0] : dim_const(rel_dims(r), 1);
  }
  for (int i = 0; i < n; i++) leaf[i] = (TensorTy){rel_leaf(r, 0, 0).dtype, n, dim};
  return rel_result_tuple(r, n, leaf);
}
static bool lower_grid(OpPlan *p, int i) {
  OpRef out = plan_result(p, i);
  OpOperand *o = plan_operand(p, out);
  Dim dim[3];
  relkit_around(p->cx->dims, o->rank, o->dim, grid_axis(p->attrs, o->rank, i), dim);
  OpK k = opk_begin(p, "meshgrid");
  KTensor x = opk_in_as(&k, i, 1, &dim[1]), y = opk_out_as(&k, out, 3, dim);
  KE at[3];
  int loops = relkit_loops(&k, 3, y.dim, at);
  kb_store(k.b, y.buf, at, kb_load(k.b, x.buf, &at[1]));
  opk_close(&k, loops);
  return opk_end(&k);
}
static bool lower_meshgrid(OpPlan *p) {
  for (int i = 0; i < p->n_in; i++)
    if (!lower_grid(p, i)) return false;
  return true;
}
const OpDef op_meshgrid = {
    .name = "meshgrid",
    .doc = "Vectors repeated to the grid they span, one result for each.",
    .args = {{"data", "a tuple of vectors", true}},
    .attrs = {{"indexing", A_Str, "ij",
               "\"ij\": field i varies along axis i; \"xy\": the first two swap"}},
    .flags = OP_PURE,
    .pattern = PAT_Injective,
    .rel = rel_meshgrid,
    .lower = lower_meshgrid,
    .examples = (const char *const[]){"meshgrid((f32[2], f32[3], f32[4]))",
                                      "meshgrid((i8[2], i8[?3]), indexing=\"xy\")",
                                      "meshgrid((f16[0], f16[3]))", NULL},
};

/* ---- invert_permutation -------------------------------------------------------------------- */
static bool rel_invert(Rel *r) {
  return rel_want_rank(r, 0, 1) && rel_want_class(r, 0, "iu") && relkit_identity(r);
}
static bool lower_invert(OpPlan *p) {
  OpK k = opk_begin(p, "invert_permutation");
  KB *b = k.b;
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  KTensor seen = opk_local(&k, DT_bool, 1, y.dim);
  KE i = kb_for(b, y.dim[0], K_PARALLEL), zero = kb_int(b, 0), last;
  kb_store(b, seen.buf, &i, kb_bool(b, false));
  kb_end(b);
  i = kb_for(b, y.dim[0], K_SERIAL);
  last = kb_sub(b, y.dim[0], kb_int(b, 1));
  KE v = kb_let(b, kb_cast(b, kb_load(b, x.buf, &i), DT_i64)), at = kb_clamp(b, v, zero, last);
  kb_check(b, kb_and(b, kb_eq(b, at, v), kb_not(b, kb_load(b, seen.buf, &at))),
           "invert_permutation: data is not a permutation of 0 .. n - 1");
  kb_store(b, y.buf, &at, kb_cast(b, i, y.dtype));
  kb_store(b, seen.buf, &at, kb_bool(b, true));
  kb_end(b);
  return opk_end(&k);
}
const OpDef op_invert_permutation = {
    .name = "invert_permutation",
    .doc = "result[data[i]] = i; an error unless data is a permutation.",
    .args = {{"data", "(n) ints", false}},
    .flags = OP_PURE,
    .pattern = PAT_Injective,
    .rel = rel_invert,
    .lower = lower_invert,
    .not_differentiable = "it takes integers",
    .examples =
        (const char *const[]){"invert_permutation([3, 0, 2, 1]i32)",
                              "invert_permutation([1, 0]i64)", "invert_permutation(i8[?1]<1)",
                              "invert_permutation(i32[0])", NULL},
};

/* ---- unravel_index ------------------------------------------------------------------------- */
static bool rel_unravel(Rel *r) {
  Dim dim[MAX_RANK];
  if (!rel_want_class(r, 0, "iu") || !rel_want_class(r, 1, "iu") || !rel_want_rank(r, 1, 1))
    return false;
  TensorTy x = rel_tensor(r, 0);
  if (x.rank == MAX_RANK) return rel_error(r, "data has rank %d, the most there is", x.rank);
  dim[0] = rel_tensor(r, 1).dim[0];
  for (int i = 0; i < x.rank; i++) dim[i + 1] = x.dim[i];
  return rel_result(r, x.dtype, x.rank + 1, dim);
}
/* Coordinates from the last to the first: each is what the extents behind it
 * leave over; at the end nothing may be left. */
static bool lower_unravel(OpPlan *p) {
  OpOperand *o = plan_operand(p, 0), *s = plan_operand(p, 1);
  Dim count = relkit_product(p->cx->dims, o->rank, o->dim);
  OpK k = opk_begin(p, "unravel_index");
  KB *b = k.b;
  KTensor x = opk_in_as(&k, 0, 1, &count), shape = opk_in(&k, 1);
  KTensor y = opk_out_as(&k, plan_result(p, 0), 2, (Dim[]){s->dim[0], count});
  KE i = kb_for(b, y.dim[1], K_PARALLEL), zero = kb_int(b, 0), left;
  KE v = kb_let(b, kb_cast(b, kb_load(b, x.buf, &i), DT_i64));
  kb_check(b, kb_le(b, zero, v), "unravel_index: an index is negative");
  KE c = kb_for_carry(b, y.dim[0], 1, &v, &left);
  KE at[2] = {kb_sub(b, kb_sub(b, y.dim[0], kb_int(b, 1)), c), i};
  KE e = kb_cast(b, kb_load(b, shape.buf, at), DT_i64), next = kb_fdiv(b, left, e);
  kb_store(b, y.buf, at, kb_cast(b, kb_fmod(b, left, e), y.dtype));
  kb_end_carry(b, &next);
  kb_check(b, kb_eq(b, left, zero), "unravel_index: an index is not below the number of elements");
  kb_end(b);
  return opk_end(&k);
}
const OpDef op_unravel_index = {
    .name = "unravel_index",
    .doc = "The coordinates of row-major element numbers.",
    .args = {{"data", "ints of any shape", false}, {"shape", "(k) ints: the extents", false}},
    .flags = OP_PURE,
    .pattern = PAT_Injective,
    .rel = rel_unravel,
    .lower = lower_unravel,
    .not_differentiable = "it takes integers",
    .examples = (const char *const[]){"unravel_index(i32[5]<24, [2, 3, 4]i32)",
                                      "unravel_index(i64[]<6, [2, 3]i64)",
                                      "unravel_index(i8[?4]<6, [2, 3]i8)",
                                      "unravel_index(i32[0], [2, 3]i32)", NULL},
};
