/* grad.h -- gradient rules of operators: what a rule is, and what it may say.
 *
 * A rule gives, for the operands that are asked for, expressions in other
 * operators: never a kernel, so that gradients have gradients.  It is a text
 * in the syntax of the language,
 *
 *     "lhs ~ g * rhs; rhs ~ -g * y / rhs"
 *
 * where the names are the record's, g is the gradient of the result, y the
 * result, and ~ adds: summed back to the extents of the operand.  $axis is the
 * value of the call's attribute axis.  What a text cannot say (it looks at
 * extents or ranks) is a hook, which writes its parts with gr().              */
#ifndef RVM_IR_GRAD_H
#define RVM_IR_GRAD_H
#include "ir/op.h"

typedef struct GradCx GradCx;
/* How the derivative along a step, forward mode, follows from the rule. */
typedef enum {
  TAN_Transposed,                   /* the rule is linear in g: its own pullback */
  TAN_Diagonal,                     /* the rule with the step for g: elementwise, or symmetric */
  TAN_Linear,                       /* the operator, of the steps of its float operands        */
  TAN_Product                       /* the same for one operand after the other, added         */
} TangentRule;
typedef struct GradRule {
  const char *op;
  const char *text;                 /* one of the three                        */
  bool (*hook)(GradCx *g);          /* false: no gradient for these attributes; g->why says so */
  const char *why_not;              /* the operator has none, and why          */
  TangentRule tangent;
} GradRule;
/* Stops at a rule without a name. */
void irctx_set_grads(IrCtx *cx, const GradRule *rule);
const GradRule *irctx_grad(const IrCtx *cx, const OpDef *op);      /* NULL if unknown */

enum { GRAD_MAX_LEAVES = 256 };
typedef struct { Atom at;  bool is; } GradAtom;
struct GradCx {
  IrCtx *cx;  BlockBuilder *bb;  Span span;
  const OpDef *op;  const OpAttrs *attrs;  const Attrs *given;  /* given: as written */
  int n_args;  const Atom *arg;  Type **arg_type;  /* types: of the program differentiated */
  Atom y;  Type *y_type;
  GradAtom *g;                      /* per leaf of the result; at least one is */
  const bool *wants;                /* per operand: is its gradient needed?    */
  GradAtom *out;                    /* per operand                             */
  GradAtom **out_leaf;              /* per operand that is a tuple: per field  */
  const char *why;
  bool along;                       /* g is a step: ~ sums nothing             */
};

/* A list of integers for %l. */
typedef struct { int n;  int64_t at[GRAD_MAX_LEAVES]; } GradInts;
/* Emits the expression and gives its value.  %a takes an Atom; as an
 * attribute's value %d takes an int64_t, %s a string, %l a const GradInts *. */
Atom gr(GradCx *g, const char *text, ...);
/* The result's gradient: of its only tensor, of leaf i of a tuple. */
Atom gr_g(GradCx *g, int i);
Atom gr_const(GradCx *g, double v, DType t);           /* a scalar              */
/* a is the gradient of operand arg, of its type: once, and only if g->wants[arg].
 * leaf: of field number `leaf` of an operand that is a tuple. */
void gr_give(GradCx *g, int arg, Atom a);
void gr_give_leaf(GradCx *g, int arg, int leaf, Atom a);
/* t summed to the extents of operand arg; it has those of the result. */
Atom gr_collapse(GradCx *g, Atom t, int arg);
/* a, of as many elements, in the shape of operand arg. */
Atom gr_reshape(GradCx *g, Atom a, int arg);
/* The call once more, with other operands, and the attribute `zero` (which it
 * may not have) zero. */
Atom gr_again(GradCx *g, const Atom *arg, const char *zero);
Atom gr_int(GradCx *g, int64_t v);                     /* an int64 scalar       */
Atom gr_tuple(GradCx *g, int n, const Atom *at);
Atom gr_part(GradCx *g, Atom tuple, int i);
bool gr_refuse(GradCx *g, const char *why);            /* false, for a hook to return */
/* Evaluates a rule's text. */
void gr_rule(GradCx *g, const char *text);

static inline Type *gr_type(const GradCx *g, int arg) { return type_resolve(g->arg_type[arg]); }
static inline int gr_rank(const GradCx *g, int arg) { return gr_type(g, arg)->tensor.rank; }
static inline DType gr_dtype(const GradCx *g, int arg) { return gr_type(g, arg)->tensor.dtype; }
/* All extents the same, and known to be. */
bool gr_same_shape(Type *a, Type *b);
/* The extents as numbers; false when some is not known. */
bool gr_shape(Type *t, GradInts *out);
#endif
