/* op.h -- what an operator knows: one record.
 *
 * The records live in stdlib/; the driver hands the array to the IrCtx, so
 * nothing below stdlib/ names an operator.  An operator is defined by
 *   rel    its type relation over Dims: the shape function follows from it;
 *   lower  its meaning: a plan of kernels (kernel IR), runtime kernels and
 *          views over its operands.  There is no second definition.          */
#ifndef RVM_IR_OP_H
#define RVM_IR_OP_H
#include "ir/expr.h"

struct Kernel;                              /* kernel/kernel.h                */

enum { OP_MAX_ARGS = 16, OP_MAX_ATTRS = 24 };

/* ---- attributes ----------------------------------------------------------- */
typedef enum {
  A_Int, A_Float, A_Bool, A_Str, A_DType,   /* DType: a dtype name, or "" / None: absent */
  A_Ints,                                   /* [1, 2]; a lone int reads as [i]  */
  A_IntsList,                               /* [[0, 0], [1, 1]]; a flat even list is paired */
  A_IntOrInts,                              /* split's indices_or_sections     */
  A_Floats,
  A_Ignored                                 /* printed by TVM, carries nothing  */
} AttrType;
typedef struct OpAttr {
  const char *name;  AttrType type;
  const char *dflt;    /* text of the default: "1", "[0, 0]", "None"; NULL: required */
  const char *doc;
} OpAttr;

/* Attributes of one call, checked and defaulted, in the order of OpDef.attrs. */
typedef struct OpAttrVal {
  bool given, none;              /* none: null / None                         */
  int64_t i;  double f;  const char *s;  DType dtype;
  int n;  int64_t *ints;         /* A_Ints, A_IntOrInts (is_list), A_IntsList (pairs: n counts all) */
  double *floats;
  bool is_list;
} OpAttrVal;
struct OpAttrs { const OpDef *op;  OpAttrVal *at; };

/* By name; asking for a name the record does not declare is our bug. */
const OpAttrVal *opattr(const OpAttrs *a, const char *name);
static inline int64_t attr_int(const OpAttrs *a, const char *n)  { return opattr(a, n)->i; }
static inline bool    attr_bool(const OpAttrs *a, const char *n) { return opattr(a, n)->i != 0; }
static inline double  attr_float(const OpAttrs *a, const char *n) { return opattr(a, n)->f; }
static inline const char *attr_str(const OpAttrs *a, const char *n) { return opattr(a, n)->s; }
/* Check given against the record and fill defaults; reports and returns NULL. */
OpAttrs *opattrs_bind(const OpDef *op, const Attrs *given, Span call, Diags *d);

/* ---- plans ---------------------------------------------------------------- */
/* Operands of a plan: the tensor leaves of the arguments (tuples flattened)
 * first, then the leaves of the result, then temporaries. */
typedef int OpRef;
typedef struct OpOperand { DType dtype;  int rank;  Dim dim[MAX_RANK]; } OpOperand;

typedef enum {
  STEP_KERNEL,    /* run kernel on buf[0..n_buf) with symbols sym[0..n_sym)    */
  STEP_RUNTIME,   /* run runtime kernel `name` on in, giving out (which it allocates) */
  STEP_VIEW,      /* out[0] is in[0] seen with out's dims; same element count, same bytes */
  STEP_ALIAS,     /* out[0] is in[0]                                           */
  STEP_BIND_DIM,  /* dim[0] (a Sym of this call's result or a fresh one) := element index[0] of in[0] */
  STEP_DIM_VALUE, /* out[0] (rank 0, int) := dim[0]                            */
  STEP_CHECK      /* dim[0] == dim[1] at run time, or fail saying `name`       */
} StepKind;
typedef struct OpStep {
  StepKind kind;
  struct Kernel *kernel;  const char *name;
  int n_in, n_out;   OpRef *in, *out;        /* KERNEL: in = all bufs in kernel parameter order, out unused */
  int n_dim;         Dim *dim;               /* KERNEL: symbol values          */
  int n_index;       int64_t *index;         /* RUNTIME: integer parameters    */
} OpStep;

typedef struct OpPlan {
  IrCtx *cx;  const OpDef *op;  const OpAttrs *attrs;  Span span;
  int *arg_first, *arg_leaves;               /* argument i = operands first..first+leaves */
  int n_in, n_out;                           /* leaves of arguments, of the result */
  const Tensor **constant;                   /* constant[i]: value of input leaf i if known, else NULL */
  VEC(OpOperand) operand;
  VEC(OpStep) step;
  Diags *diags;
} OpPlan;
OpRef plan_temp(OpPlan *p, DType dt, int rank, const Dim *dim);
static inline OpOperand *plan_operand(OpPlan *p, OpRef r) { return &p->operand.at[r]; }
static inline OpRef plan_result(const OpPlan *p, int i) { return p->n_in + i; }
void plan_kernel(OpPlan *p, struct Kernel *k, int n_buf, const OpRef *buf, int n_sym, const Dim *sym);
void plan_runtime(OpPlan *p, const char *name, int n_in, const OpRef *in, int n_out, const OpRef *out,
                  int n_params, const int64_t *params);
void plan_view(OpPlan *p, OpRef out, OpRef in);
void plan_alias(OpPlan *p, OpRef out, OpRef in);
void plan_bind_dim(OpPlan *p, Dim sym, OpRef tensor, int64_t index);
void plan_dim_value(OpPlan *p, OpRef out, Dim d);
void plan_check(OpPlan *p, Dim a, Dim b, const char *what);

/* ---- the record ----------------------------------------------------------- */
typedef struct OpArg { const char *name, *doc;  bool is_tuple; } OpArg;
typedef enum { PAT_Elemwise, PAT_Broadcast, PAT_Injective, PAT_Reduce, PAT_OutFusable, PAT_Opaque } OpPattern;
/* PURE: a value and nothing else.  COMMUTES: f(x, y) is f(y, x).  TOTAL: a call
 * whose obligations hold always gives a value; TOTAL_FLOAT: if its result is
 * of floats; TOTAL_STATIC: if all extents of operands and result are constants
 * above 0 (what the plan checks is then known while compiling); TOTAL_COUNT: if
 * the first operand surely has as many elements as the result.                */
enum { OP_PURE = 1, OP_COMMUTES = 2, OP_TOTAL = 4, OP_TOTAL_FLOAT = 8, OP_TOTAL_STATIC = 16,
       OP_TOTAL_COUNT = 32 };

struct Rel;                                  /* typeinfer/rel.h               */
struct OpDef {
  const char *name;                          /* "nn.dense"                    */
  const char *doc;                           /* one sentence                  */
  OpArg  args[OP_MAX_ARGS];                  /* NULL-terminated               */
  int    optional;                           /* how many trailing args may be left out */
  OpAttr attrs[OP_MAX_ATTRS];
  unsigned  flags;
  OpPattern pattern;
  bool (*rel)(struct Rel *r);                /* false after reporting         */
  bool (*lower)(OpPlan *p);                  /* false after reporting; never for well-typed calls */
  int    variant;                            /* free for hooks shared by a family: a scalar op, ... */
  const char *not_differentiable;            /* why it has no gradient        */
  const char *const *examples;               /* calls that tests run: see stdlib/README.md */
};
#endif
