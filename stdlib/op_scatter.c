/* op_scatter.c -- writing at computed positions: scatter, scatter_add, scatter_nd.
 *
 * Updates of one place are applied in the order of the indices, so the loop
 * over the positions is serial; what is independent of it runs in parallel.   */
#include "stdlib/relkit.h"

typedef enum { SCATTER_SET, SCATTER_ADD, SCATTER_MUL, SCATTER_MIN, SCATTER_MAX, SCATTER_BAD } Mode;

/* The element after an update; of truth values add is or, mul is and. */
static KE updated(OpK *k, Mode mode, KE old, KE by) {
  bool truth = kb_type(k->b, old) == DT_bool;
  switch (mode) {
  case SCATTER_ADD: return truth ? kb_or(k->b, old, by) : kb_add(k->b, old, by);
  case SCATTER_MUL: return truth ? kb_and(k->b, old, by) : kb_mul(k->b, old, by);
  case SCATTER_MIN: return kb_min(k->b, old, by);
  case SCATTER_MAX: return kb_max(k->b, old, by);
  case SCATTER_SET:
  case SCATTER_BAD: break;
  }
  return by;
}

static void copy_all(OpK *k, KTensor x, KTensor y) {
  KE at[K_MAX_RANK];
  int loops = relkit_loops(k, y.rank, y.dim, at);
  kb_store(k->b, y.buf, at, kb_load(k->b, x.buf, at));
  opk_close(k, loops);
}

/* ---- scatter, scatter_add -------------------------------------------------------------- */
static bool rel_scatter(Rel *r) {
  TensorTy x = rel_tensor(r, 0), i = rel_tensor(r, 1), u = rel_tensor(r, 2);
  int axis;
  if (!rel_want_min_rank(r, 0, 1) || !rel_want_rank(r, 1, x.rank) || !rel_want_class(r, 1, "iu") ||
      !rel_want_rank(r, 2, x.rank) || !rel_same_dtype(r, 0, 2) ||
      !rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis))
    return false;
  for (int d = 0; d < x.rank; d++) {
    if (!rel_same_dim(r, i.dim[d], u.dim[d], str_fmt("axis %d of indices and of updates", d)))
      return false;
    if (d != axis && !dim_equal(x.dim[d], i.dim[d]) &&
        !rel_at_least(r, x.dim[d], i.dim[d], str_fmt("axis %d of data and of indices", d)))
      return false;
  }
  return relkit_identity(r);
}

/* The axis is the outermost loop, so that the others are independent inside it. */
static bool lower_scatter(OpPlan *p) {
  Dim xd[MAX_RANK], id[MAX_RANK];
  int axis = relkit_axis(attr_int(p->attrs, "axis"), plan_operand(p, 0)->rank), loops = 1;
  int rank = relkit_along(p, 0, 1, &axis, xd, id);
  OpK k = opk_begin(p, p->op->name);
  KB *b = k.b;
  KTensor x = opk_in_as(&k, 0, rank, xd), i = opk_in_as(&k, 1, rank, id);
  KTensor u = opk_in_as(&k, 2, rank, id), y = opk_out_as(&k, plan_result(p, 0), rank, xd);
  KE at[MAX_RANK], to[MAX_RANK];
  copy_all(&k, x, y);
  at[axis] = kb_for(b, i.dim[axis], K_SERIAL);
  for (int d = 0; d < rank; d++)
    if (d != axis) loops += relkit_loops(&k, 1, &i.dim[d], &at[d]);
  memcpy(to, at, sizeof to);
  to[axis] = relkit_index(&k, relkit_position(b, kb_load(b, i.buf, at)), x.dim[axis]);
  Mode mode = (Mode)p->op->variant;
  KE old = mode == SCATTER_SET ? KE_NONE : kb_load(b, y.buf, to), by = kb_load(b, u.buf, at);
  kb_store(b, y.buf, to, mode == SCATTER_SET ? by : updated(&k, mode, old, by));
  opk_close(&k, loops);
  return opk_end(&k);
}
#define SCATTER(id, how, describe, ...)                                                            \
  const OpDef op_##id = {                                                                          \
      .name = #id,                                                                                 \
      .doc = describe,                                                                             \
      .args = {{"data", "any shape but a scalar", false},                                          \
               {"indices", "ints of data's rank; negative ones count from the end", false},        \
               {"updates", "the shape of indices", false}},                                        \
      .attrs = {{"axis", A_Int, "0", "the axis whose positions indices holds"}},                   \
      .flags = OP_PURE,                                                                            \
      .pattern = PAT_Opaque,                                                                       \
      .rel = rel_scatter,                                                                          \
      .lower = lower_scatter,                                                                      \
      .variant = how,                                                                              \
      .examples = (const char *const[]){__VA_ARGS__, NULL}}
#define SCATTER_EXAMPLES(id)                                                                       \
#id "(f32[5,3], i32[2,3]<5, f32[2,3])", #id "(f32[?2,4], i64[?2,6]<4, f32[?2,6], axis=1)",       \
      #id "(i8[2,3,4], i32[2,2,4]<3, i8[2,2,4], axis=-2)", #id "(f32[4], [-1, 0, -1]i32, f32[3])", \
      #id "(f16[3,4], i32[2,2]<3, f16[2,2])", #id "(f32[0,3], i32[0,3], f32[0,3])"
SCATTER(scatter, SCATTER_SET,
        "data with elements replaced: updates go to the same place, but to the position along "
        "axis that indices holds; the last one counts.",
        SCATTER_EXAMPLES(scatter));
SCATTER(scatter_add, SCATTER_ADD,
        "data with updates added: at the same place, but at the position along axis that indices "
        "holds.",
        SCATTER_EXAMPLES(scatter_add));

/* ---- scatter_nd ------------------------------------------------------------------------ */
static Mode nd_mode(const OpAttrs *a) {
  static const char *const names[] = {"update", "add", "mul", "min", "max"};
  for (int i = 0; i < SCATTER_BAD; i++)
    if (strcmp(attr_str(a, "mode"), names[i]) == 0) return (Mode)i;
  return SCATTER_BAD;
}
static bool rel_scatter_nd(Rel *r) {
  TensorTy x = rel_tensor(r, 0), i = rel_tensor(r, 1), u = rel_tensor(r, 2);
  int64_t m;
  if (nd_mode(rel_attrs(r)) == SCATTER_BAD)
    return rel_error(r,
                     "mode must be \"update\", \"add\", \"mul\", \"min\" or \"max\", found "
                     "\"%s\"",
                     attr_str(rel_attrs(r), "mode"));
  if (!rel_want_class(r, 1, "iu") || !rel_want_min_rank(r, 1, 1) || !rel_same_dtype(r, 0, 2))
    return false;
  if (!dim_is_const(i.dim[0], &m))
    return rel_error(r, "the first extent of indices is a number of axes and must be known");
  if (m > x.rank)
    return rel_error(r, "indices names %lld axes, but data has rank %d", (long long)m, x.rank);
  if (!rel_want_rank(r, 2, i.rank - 1 + x.rank - (int)m)) return false;
  for (int d = 0; d < u.rank; d++) {
    bool column = d < i.rank - 1;
    int at = column ? d + 1 : d - (i.rank - 1) + (int)m;
    if (!rel_same_dim(
            r, u.dim[d], column ? i.dim[at] : x.dim[at],
            str_fmt("axis %d of updates and axis %d of %s", d, at, column ? "indices" : "data")))
      return false;
  }
  return relkit_identity(r);
}
/* Data seen as (named axes..., rest), indices as (m, count), updates as (count, rest). */
static bool lower_scatter_nd(OpPlan *p) {
  OpOperand *xo = plan_operand(p, 0), *io = plan_operand(p, 1);
  DimTab *t = p->cx->dims;
  int64_t m = 0;
  dim_is_const(io->dim[0], &m);
  Dim xd[MAX_RANK + 1], count = relkit_product(t, io->rank - 1, io->dim + 1);
  memcpy(xd, xo->dim, sizeof *xd * (size_t)m);
  xd[m] = relkit_product(t, xo->rank - (int)m, xo->dim + m);
  OpK k = opk_begin(p, "scatter_nd");
  KB *b = k.b;
  KTensor x = opk_in_as(&k, 0, (int)m + 1, xd);
  KTensor i = opk_in_as(&k, 1, 2, (Dim[]){io->dim[0], count});
  KTensor u = opk_in_as(&k, 2, 2, (Dim[]){count, xd[m]});
  KTensor y = opk_out_as(&k, plan_result(p, 0), (int)m + 1, xd);
  copy_all(&k, x, y);
  KE to[MAX_RANK + 1], n = kb_for(b, i.dim[1], K_SERIAL);
  for (int j = 0; j < m; j++) {
    KE v = kb_load(b, i.buf, (KE[]){kb_int(b, j), n});
    to[j] = relkit_index(&k, relkit_position(b, v), x.dim[j]);
  }
  int loops = relkit_loops(&k, 1, &x.dim[m], &to[m]);
  Mode mode = nd_mode(p->attrs);
  KE by = kb_load(b, u.buf, (KE[]){n, to[m]});
  kb_store(b, y.buf, to, mode == SCATTER_SET ? by : updated(&k, mode, kb_load(b, y.buf, to), by));
  opk_close(&k, loops + 1);
  return opk_end(&k);
}
const OpDef op_scatter_nd = {
    .name = "scatter_nd",
    .doc = "data with updates applied, in order, at coordinates: row j of indices holds the j-th "
           "ones.",
    .args = {{"data", "any shape", false},
             {"indices", "(m, ...) ints: m coordinates each; negative ones count from the end",
              false},
             {"updates",
              "the shape of indices without its first axis, then data's without its "
              "first m",
              false}},
    .attrs = {{"mode", A_Str, "update", "\"update\", \"add\", \"mul\", \"min\" or \"max\""}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_scatter_nd,
    .lower = lower_scatter_nd,
    .examples =
        (const char *const[]){"scatter_nd(f32[3,4], i32[2,5]<3, f32[5])",
                              "scatter_nd(f32[?3,4], i64[1,?2]<3, f32[?2,4], mode=\"add\")",
                              "scatter_nd(i8[4,5], [[-1, 0, -1]]i32, i8[3,5], mode=\"add\")",
                              "scatter_nd(f16[2,3], i32[2,2,2]<2, f16[2,2], mode=\"max\")",
                              "scatter_nd(f32[0,3], i32[1,0], f32[0,3])", NULL},
};
