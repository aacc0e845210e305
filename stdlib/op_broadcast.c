/* op_broadcast.c -- repeating a tensor along axes of extent 1 or absent.  */
#include "stdlib/relkit.h"

static bool rel_to(Rel *r, int rank, const Dim *dim, bool known) {
  TensorTy x = rel_tensor(r, 0);
  if (rank < x.rank)
    return rel_error(r, "data of rank %d does not broadcast to rank %d", x.rank, rank);
  if (known && !relkit_broadcasts_to(r, x, (TensorTy){x.dtype, rank, dim})) return false;
  return rel_result(r, x.dtype, rank, dim);
}
static bool rel_broadcast_to(Rel *r) {
  const OpAttrVal *shape = opattr(rel_attrs(r), "shape");
  Dim dim[MAX_RANK];
  if (shape->n > MAX_RANK)
    return rel_error(r, "shape has %d extents; a tensor has at most %d", shape->n, MAX_RANK);
  for (int i = 0; i < shape->n; i++) {
    if (shape->ints[i] < 0)
      return rel_error(r, "shape must hold extents >= 0, found %lld", (long long)shape->ints[i]);
    dim[i] = dim_const(rel_dims(r), shape->ints[i]);
  }
  return rel_to(r, shape->n, dim, true);
}
static bool rel_broadcast_like(Rel *r) {
  TensorTy to = rel_tensor(r, 1);
  return rel_to(r, to.rank, to.dim, true);
}
static bool rel_dyn_broadcast_to(Rel *r) {
  Dim dim[MAX_RANK];
  int rank;
  return relkit_shape_arg(r, 1, &rank, dim) && rel_to(r, rank, dim, rel_constant(r, 1) != NULL);
}

static KE same(OpK *k, const KE *x, const void *ud) {
  (void)k;
  (void)ud;
  return x[0];
}
static bool broadcast(OpPlan *p) {
  OpRef in = 0, out = plan_result(p, 0);
  OpOperand *x = plan_operand(p, in), *y = plan_operand(p, out);
  bool equal = x->rank == y->rank;
  for (int i = 0; equal && i < x->rank; i++) equal = dim_equal(x->dim[i], y->dim[i]);
  if (!equal) return opk_map(p, "broadcast", 1, &in, out, same, NULL);
  plan_alias(p, out, in);
  return true;
}
static bool lower_dyn_broadcast_to(OpPlan *p) {
  return relkit_bind_shape(p, 1, plan_result(p, 0), 0, 0, RELKIT_BROADCAST) && broadcast(p);
}

const OpDef op_broadcast_to = {
    .name = "broadcast_to",
    .doc = "data repeated to shape.",
    .args = {{"data", "any shape that broadcasts to shape", false}},
    .attrs = {{"shape", A_Ints, NULL, "extents of the result"},
              {"dtype", A_Ignored, "None", "that of data"}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Broadcast,
    .rel = rel_broadcast_to,
    .lower = broadcast,
    .examples = (const char *const[]){"broadcast_to(f32[3,1], shape=[2, 3, 4])",
                                      "broadcast_to(i8[], shape=[2, 3])",
                                      "broadcast_to(f32[?1,3], shape=[2, 3])",
                                      "broadcast_to(f32[?2,3], shape=[2, 3])",
                                      "broadcast_to(f16[3], shape=[0, 3])", NULL},
};
const OpDef op_broadcast_to_like = {
    .name = "broadcast_to_like",
    .doc = "data repeated to the shape of broadcast_type.",
    .args = {{"data", "broadcasts to broadcast_type", false},
             {"broadcast_type", "only its shape counts", false}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_Broadcast,
    .rel = rel_broadcast_like,
    .lower = broadcast,
    .examples = (const char *const[]){"broadcast_to_like(f32[3,1], f32[2,3,4])",
                                      "broadcast_to_like(i8[], f32[2,3])",
                                      "broadcast_to_like(f32[?1,3], i32[?2,3])",
                                      "broadcast_to_like(f16[3], f32[0,3])", NULL},
};
const OpDef op_dyn_broadcast_to = {
    .name = "dyn.broadcast_to",
    .doc = "data repeated to a shape known when it runs.",
    .args = {{"data", "broadcasts to shape", false}, {"shape", "int vector: extents", false}},
    .attrs = {{"shape", A_Ignored, "None", "the argument counts"},
              {"dtype", A_Ignored, "None", "that of data"}},
    .flags = OP_PURE,
    .pattern = PAT_Broadcast,
    .rel = rel_dyn_broadcast_to,
    .lower = lower_dyn_broadcast_to,
    .examples = (const char *const[]){"dyn.broadcast_to(f32[3,1], [2, 3, 4]i64)",
                                      "dyn.broadcast_to(i8[], [2, 3]i32)",
                                      "dyn.broadcast_to(f16[?1,3], [2, 3]i64)",
                                      "dyn.broadcast_to(f32[3], [0, 3]i64)", NULL},
};
