/* rel.h -- what a type relation may ask and say.
 *
 * A relation is called once the element type and rank of every tensor leaf of
 * the arguments are known.  Dims may be constants, symbols or expressions of
 * both; never DIM_Any or Meta (the checker has opened them).  It reads
 * operands, states what must hold, and gives the result.  It may be called
 * again when an argument's dims turn out less precise: it must not keep state.
 * A relation returns false only after rel_error (or a rel_* that reported).  */
#ifndef RVM_TYPEINFER_REL_H
#define RVM_TYPEINFER_REL_H
#include "ir/op.h"

typedef struct Rel Rel;
typedef struct { DType dtype;  int rank;  const Dim *dim; } TensorTy;

/* ---- what is there ------------------------------------------------------- */
DimTab        *rel_dims(Rel *r);
const OpDef   *rel_op(Rel *r);
const OpAttrs *rel_attrs(Rel *r);
int      rel_n_args(Rel *r);
int      rel_arg_size(Rel *r, int arg);              /* leaves of a tuple argument (1 for a tensor) */
TensorTy rel_tensor(Rel *r, int arg);                /* argument arg, a tensor */
TensorTy rel_leaf(Rel *r, int arg, int i);           /* leaf i of tuple argument arg */
const Tensor *rel_constant(Rel *r, int arg);         /* its value if it is a literal, else NULL */

/* ---- what must hold ------------------------------------------------------- */
bool rel_error(Rel *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool rel_want_rank(Rel *r, int arg, int rank);       /* exactly               */
bool rel_want_min_rank(Rel *r, int arg, int rank);
bool rel_want_class(Rel *r, int arg, const char *classes); /* "fi": float or int; of f i u b */
bool rel_same_dtype(Rel *r, int arg_a, int arg_b);
/* a and b are one extent: proved, refuted (error), or checked at run time.
 * what: "the columns of x and of w".  Returns false when refuted. */
bool rel_same_dim(Rel *r, Dim a, Dim b, const char *what);
bool rel_at_least(Rel *r, Dim a, Dim b, const char *what);      /* a >= b */
/* Normalise axis into [0, rank); reports "axis 3 is out of range for rank 2". */
bool rel_axis(Rel *r, const char *attr, int64_t axis, int rank, int *out);
/* numpy broadcasting of two shapes; out needs MAX_RANK. */
bool rel_broadcast(Rel *r, TensorTy a, TensorTy b, int *rank, Dim *out);

/* ---- the result ----------------------------------------------------------- */
/* An extent nobody can know before running: a fresh symbol each time.  The
 * plan binds it (STEP_BIND_DIM), or the runtime kernel that makes the tensor. */
Dim  rel_unknown(Rel *r);
bool rel_result(Rel *r, DType dt, int rank, const Dim *dim);     /* a tensor    */
bool rel_result_tuple(Rel *r, int n, const TensorTy *leaf);      /* flat tuple  */
#endif
