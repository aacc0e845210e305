/* op_math.c -- element-wise arithmetic, comparison, logic and math functions.
 *
 * Each is one scalar operation of kernel IR mapped over broadcast operands,
 * except a few that are short expressions of them (MapFn).                   */
#include "stdlib/opk.h"
#include "typeinfer/rel.h"

/* ---- type relations ---------------------------------------------------------- */
static bool unary(Rel *r, const char *classes) {
  if (!rel_want_class(r, 0, classes)) return false;
  TensorTy x = rel_tensor(r, 0);
  return rel_result(r, x.dtype, x.rank, x.dim);
}
static bool rel_unary_float(Rel *r) { return unary(r, "f"); }
static bool rel_unary_num(Rel *r) { return unary(r, "fiu"); }

static bool binary(Rel *r, const char *classes, bool to_bool) {
  Dim dim[MAX_RANK];
  int rank;
  if (!rel_want_class(r, 0, classes) || !rel_same_dtype(r, 0, 1)) return false;
  TensorTy a = rel_tensor(r, 0), b = rel_tensor(r, 1);
  return rel_broadcast(r, a, b, &rank, dim) && rel_result(r, to_bool ? DT_bool : a.dtype, rank, dim);
}
static bool rel_binary_num(Rel *r) { return binary(r, "fiu", false); }
static bool rel_compare(Rel *r) { return binary(r, "fiub", true); }

/* ---- meaning: variant is the scalar operation ---------------------------------- */
static KE apply(OpK *k, const KE *x, const void *ud) {
  const OpDef *op = ud;
  return kb_op(k->b, (SOp)op->variant, x[0], sop_info[op->variant].arity > 1 ? x[1] : KE_NONE, KE_NONE);
}
static bool lower_scalar_op(OpPlan *p) {
  OpRef in[2] = { 0, 1 };
  return opk_map(p, p->op->name, p->n_in, in, plan_result(p, 0), apply, p->op);
}

/* ---- records -------------------------------------------------------------------- */
#define UNARY(id, text, sop, relation, describe)                                               \
  const OpDef op_##id = { .name = text, .doc = describe, .args = { { "x", "any shape", false } }, \
    .flags = OP_PURE, .pattern = PAT_Elemwise, .rel = relation, .lower = lower_scalar_op,      \
    .variant = sop, .examples = (const char *const[]){ text "(f32[2,3])", text "(f64[?4])",     \
    text "(f32[0,3])", text "(f32[])", NULL } }
UNARY(sqrt, "sqrt", S_sqrt, rel_unary_float, "Square root.");
UNARY(negative, "negative", S_neg, rel_unary_num, "-x.");

#define BINARY(id, text, sop, relation, describe)                                              \
  const OpDef op_##id = { .name = text, .doc = describe,                                       \
    .args = { { "lhs", "any shape", false }, { "rhs", "broadcasts with lhs", false } },        \
    .flags = OP_PURE, .pattern = PAT_Broadcast, .rel = relation, .lower = lower_scalar_op,     \
    .variant = sop, .examples = (const char *const[]){ text "(f32[2,3], f32[3])",               \
    text "(i32[2,1,4]<9, i32[3,1]<9)", text "(f32[?3,2], f32[2])", text "(f32[0,3], f32[3])", NULL } }
BINARY(add, "add", S_add, rel_binary_num, "Sum; integers wrap.");
BINARY(subtract, "subtract", S_sub, rel_binary_num, "Difference; integers wrap.");
BINARY(multiply, "multiply", S_mul, rel_binary_num, "Product; integers wrap.");
BINARY(less, "less", S_lt, rel_compare, "lhs < rhs.");
BINARY(equal, "equal", S_eq, rel_compare, "lhs == rhs.");
