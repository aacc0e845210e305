/* op_compare.c -- comparison, logic, tests of floats, and choice.  */
#include "stdlib/relkit.h"

static bool rel_compare(Rel *r) { return relkit_binary(r, "fiub", true); }
static bool rel_logical(Rel *r) { return relkit_binary(r, "b", false); }
static bool rel_logical_not(Rel *r) { return relkit_unary(r, "b"); }
static bool rel_float_test(Rel *r) {
  if (!rel_want_class(r, 0, "fiu")) return false;
  TensorTy x = rel_tensor(r, 0);
  return rel_result(r, DT_bool, x.rank, x.dim);
}

/* ---- meaning: variant is the scalar operation -------------------------------------- */
static KE apply_swapped(OpK *k, const KE *x, const void *ud) {
  KE swapped[2] = {x[1], x[0]};
  return relkit_apply(k, swapped, ud);
}
static bool lower_swapped(OpPlan *p) { return relkit_map(p, apply_swapped, p->op); }

/* ---- where ---------------------------------------------------------------------------- */
static bool rel_where(Rel *r) {
  Dim both[MAX_RANK], dim[MAX_RANK];
  int rank;
  if (!rel_same_dtype(r, 1, 2)) return false;
  TensorTy c = rel_tensor(r, 0), x = rel_tensor(r, 1), y = rel_tensor(r, 2);
  if (!rel_broadcast(r, x, y, &rank, both)) return false;
  TensorTy xy = {x.dtype, rank, both};
  return rel_broadcast(r, c, xy, &rank, dim) && rel_result(r, x.dtype, rank, dim);
}
static KE apply_where(OpK *k, const KE *x, const void *ud) {
  (void)ud;
  return kb_select(k->b, kb_cast(k->b, x[0], DT_bool), x[1], x[2]);
}
static bool lower_where(OpPlan *p) { return relkit_map(p, apply_where, NULL); }

/* ---- records ---------------------------------------------------------------------------- */
static const char no_gradient[] = "its result is a truth value";

#define COMPARE(id, sop, more, lowering, describe)                                                 \
  BROADCAST_OP(id, sop, OP_TOTAL | (more), rel_compare, lowering, no_gradient, describe,           \
               #id "(f32[2,3], f32[3])", #id "(i32[2,1,4]<5, i32[3,1]<5)",                         \
               #id "(f32[?3,2], f32[2])", #id "(f32[0,3], f32[3])", #id "(bool[4], bool[4])",      \
               #id "(f16[3]<3, f16[])")
#define LOGICAL(id, sop, describe)                                                                 \
  BROADCAST_OP(id, sop, OP_TOTAL | OP_COMMUTES, rel_logical, relkit_lower_scalar_op, no_gradient,  \
               describe, #id "(bool[2,3], bool[3])", #id "(bool[?4], bool[])",                     \
               #id "(bool[0,3], bool[3])")

COMPARE(less, S_lt, 0, relkit_lower_scalar_op, "lhs < rhs; false with NaN.");
COMPARE(less_equal, S_le, 0, relkit_lower_scalar_op, "lhs <= rhs; false with NaN.");
COMPARE(greater, S_lt, 0, lower_swapped, "lhs > rhs; false with NaN.");
COMPARE(greater_equal, S_le, 0, lower_swapped, "lhs >= rhs; false with NaN.");
COMPARE(equal, S_eq, OP_COMMUTES, relkit_lower_scalar_op, "lhs == rhs; false with NaN.");
COMPARE(not_equal, S_ne, OP_COMMUTES, relkit_lower_scalar_op, "lhs != rhs; true with NaN.");
LOGICAL(logical_and, S_and, "Both are true.");
LOGICAL(logical_or, S_or, "At least one is true.");
LOGICAL(logical_xor, S_xor, "Exactly one is true.");

#define TEST(id, sop, relation, describe, ...)                                                     \
  const OpDef op_##id = {.name = #id,                                                              \
                         .doc = describe,                                                          \
                         .args = {{"x", "any shape", false}},                                      \
                         .flags = OP_PURE | OP_TOTAL,                                              \
                         .pattern = PAT_Elemwise,                                                  \
                         .rel = relation,                                                          \
                         .lower = relkit_lower_scalar_op,                                          \
                         .variant = sop,                                                           \
                         .not_differentiable = no_gradient,                                        \
                         .examples = (const char *const[]){__VA_ARGS__, NULL}}
#define FLOAT_TEST(id, sop, describe)                                                              \
  TEST(id, sop, rel_float_test, describe, #id "(f32[2,3])", #id "(f16[?4])", #id "(f64[0,3])",     \
       #id "(i32[3])")

TEST(logical_not, S_not, rel_logical_not, "True where x is false.", "logical_not(bool[2,3])",
     "logical_not(bool[?4])", "logical_not(bool[0,3])", "logical_not(bool[])");
FLOAT_TEST(isnan, S_isnan, "Is x NaN?  Never for integers.");
FLOAT_TEST(isinf, S_isinf, "Is x an infinity?  Never for integers.");
FLOAT_TEST(isfinite, S_isfin, "Is x neither NaN nor an infinity?");

const OpDef op_where = {
    .name = "where",
    .doc = "x where condition is true (not zero), y elsewhere.",
    .args = {{"condition", "any element type", false},
             {"x", "broadcasts with condition", false},
             {"y", "as x", false}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Broadcast,
    .rel = rel_where,
    .lower = lower_where,
    .examples =
        (const char *const[]){
            "where(bool[2,3], f32[2,3], f32[3])", "where(i32[2,1,4]<2, i8[3,1], i8[])",
            "where(bool[?3,2], f32[2], f32[?3,2])", "where(bool[0,3], f32[3], f32[0,3])",
            "where(bool[], f16[2], f16[2])", "where(bool[2], bool[2], bool[2])", NULL},
};
