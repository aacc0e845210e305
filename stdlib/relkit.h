/* relkit.h -- what the relations and lowerings of several families share:
 * reduced axes, common relations, extents given as tensors, the values of
 * constants, loops around one axis.                                          */
#ifndef RVM_STDLIB_RELKIT_H
#define RVM_STDLIB_RELKIT_H
#include "stdlib/opk.h"
#include "typeinfer/rel.h"

/* ---- relations ---------------------------------------------------------------- */
/* Argument 0's type is the result's. */
bool relkit_identity(Rel *r);
/* The same, if its element type is of one of classes ("fiu"). */
bool relkit_unary(Rel *r, const char *classes);
/* Equal element types of one of classes, broadcast; bool if to_bool. */
bool relkit_binary(Rel *r, const char *classes, bool to_bool);
/* x broadcasts to exactly the shape `to`. */
bool relkit_broadcasts_to(Rel *r, TensorTy x, TensorTy to);
/* The result is argument 0 in the shape that reshape's codes (ints of codes) give. */
bool relkit_reshape(Rel *r, const OpAttrVal *codes, bool allowzero);
/* Argument arg is one number: rank 0, of one of classes. */
bool relkit_want_scalar(Rel *r, int arg, const char *classes);

/* The attribute units, where it is given, is n; what: "the rows of weight and units". */
bool relkit_units(Rel *r, Dim n, const char *what);
/* data (..., k) by weight (n, k), both of the ranks that takes: (..., n) of element type t. */
bool relkit_dense(Rel *r, DType t);

/* Attribute attr is one of two words. */
bool relkit_want_word(Rel *r, const char *attr, const char *a, const char *b);

/* Which of rank axes a reduction takes: the list (null or empty: all of them),
 * or the others when exclude.  Reports axes out of range or given twice. */
bool relkit_axes(Rel *r, const OpAttrVal *axis, int rank, bool exclude, bool *reduced);
/* The same for a call that the relation has accepted. */
void relkit_axis_set(const OpAttrVal *axis, int rank, bool exclude, bool *reduced);
static inline int relkit_axis(int64_t axis, int rank) {
  return (int)(axis < 0 ? axis + rank : axis);
}

/* ---- values known while compiling ---------------------------------------------- */
/* Element i, converted as the language casts. */
int64_t relkit_const_int(const Tensor *t, int64_t i);
double  relkit_const_float(const Tensor *t, int64_t i);

/* ---- extents given as a tensor --------------------------------------------------- */
/* The extents that integer vector arg holds: known when it is a constant,
 * rel_unknown otherwise.  Its length is the rank and must be known. */
bool relkit_shape_arg(Rel *r, int arg, int *rank, Dim *dim);
/* An extent that scalar integer argument arg holds. */
bool relkit_extent_arg(Rel *r, int arg, Dim *out);

/* What result and source must be to each other, besides extents >= 0. */
typedef enum { RELKIT_FREE, RELKIT_BROADCAST, RELKIT_COLLAPSE } RelkitFit;
/* Bind the extents of result that are not known to the elements of `shape` (an
 * int vector, or a scalar for one extent: first is the axis it stands for),
 * with the run-time checks: source broadcasts to result, or result to source. */
bool relkit_bind_shape(OpPlan *p, OpRef shape, OpRef result, int first, OpRef source,
                       RelkitFit fit);
/* d := element i of an int64 vector; checked instead if d is no symbol. */
void relkit_bind_dim(OpPlan *p, Dim d, OpRef vec, int i);

/* ---- maps ------------------------------------------------------------------------ */
/* Result 0 = f over all inputs, broadcast. */
bool relkit_map(OpPlan *p, MapFn f, const void *ud);
/* The scalar operation that the record `op` (ud) has as its variant. */
KE   relkit_apply(OpK *k, const KE *x, const void *op);
bool relkit_lower_scalar_op(OpPlan *p);
/* The record of an element-wise operator of two broadcasting operands; the
 * variable arguments are its examples, why_not is NULL where it has a gradient. */
#define BROADCAST_OP(id, sop, more, relation, lowering, why_not, describe, ...)          \
  const OpDef op_##id = {                                                                \
      .name = #id,                                                                       \
      .doc = describe,                                                                   \
      .args = {{"lhs", "any shape", false}, {"rhs", "broadcasts with lhs", false}},      \
      .flags = OP_PURE | (more),                                                         \
      .pattern = PAT_Broadcast,                                                          \
      .rel = relation,                                                                   \
      .lower = lowering,                                                                 \
      .variant = sop,                                                                    \
      .not_differentiable = why_not,                                                     \
      .examples = (const char *const[]){__VA_ARGS__, NULL}}
/* Result 0 is argument 0. */
bool relkit_lower_alias(OpPlan *p);

/* ---- dims and loops ------------------------------------------------------------- */
Dim relkit_product(DimTab *t, int n, const Dim *dim);
/* A shape as (product before axis, axis, product behind). */
void relkit_around(DimTab *t, int rank, const Dim *dim, int axis, Dim out[3]);
/* Operands a and b, alike but for axis, seen as (before, axis, behind) each if
 * their other extents are known to agree; else as they are.  Gives the rank. */
int relkit_along(OpPlan *p, OpRef a, OpRef b, int *axis, Dim *da, Dim *db);
/* As opk_loops, without a loop for an extent known to be 1; gives how many
 * loops to close. */
int relkit_loops(OpK *k, int n, const KE *dim, KE *var);
/* A number read as a position: int64; what is beyond that stays far outside. */
KE relkit_position(KB *b, KE v);
/* Position i (int64) on an axis of extent n, provably inside: counted from the
 * end when negative; the kernel fails where it is outside [-n, n). */
KE relkit_index(OpK *k, KE i, KE n);
/* Element types sums are kept in: float32 for the halves. */
static inline DType relkit_acc(DType t) { return t == DT_f16 || t == DT_bf16 ? DT_f32 : t; }
#endif
