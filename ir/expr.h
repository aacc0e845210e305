/* expr.h -- the functional IR: A-normal blocks.
 *
 * A Block is an array of bindings and a result atom; nothing in the compiler
 * recurses along a chain of bindings (models have 10^5 of them).  Relay's
 * graph bindings %0 = ... and its lets are both bindings; `style` remembers
 * which it was so that the text reads back.  Every variable is one Var object,
 * bound exactly once in a module: passes that copy a block rename
 * (ir_clone_block).  Types are filled in by typeinfer; every pass after it
 * keeps them.                                                                */
#ifndef RVM_IR_EXPR_H
#define RVM_IR_EXPR_H
#include "base/vec.h"
#include "base/diag.h"
#include "ir/attr.h"
#include "ir/type.h"

typedef struct OpDef OpDef;
typedef struct Expr Expr;
typedef struct Global Global;
typedef struct OpAttrs OpAttrs;              /* ir/op.h                        */

/* A constant tensor.  bytes: row-major little-endian elements, bool as 0/1;
 * never changed after construction. */
typedef struct Tensor {
  DType dtype;  int rank;  int64_t dim[MAX_RANK];
  int64_t count;  void *bytes;
} Tensor;

typedef struct Var {
  Sym name;          /* without %; NULL for temporaries, printed %0, %1, ...   */
  Span span;
  Type *annot;       /* what the text said, or NULL                            */
  Type *type;        /* after typeinfer                                        */
  int id;            /* unique in its IrCtx                                    */
} Var;

typedef enum { ATOM_Var, ATOM_Const, ATOM_Global, ATOM_Ctor, ATOM_Op, ATOM_Poison } AtomKind;
typedef struct {
  AtomKind kind;  Span span;
  union { Var *var; const Tensor *cst; Global *global; Ctor *ctor; const OpDef *op; };
  Type *type;        /* after typeinfer; instantiated for Global and Ctor      */
} Atom;

/* What a polymorphic callee was instantiated with: types, then dims, in the
 * order of the callee's quantifiers. */
typedef struct TypeArgs { int n_types; Type **type; int n_dims; Dim *dim; } TypeArgs;

typedef enum { BIND_Let, BIND_Graph, BIND_Seq } BindStyle;     /* let %x = | %0 = | e; */
typedef struct { Var *var; Expr *value; BindStyle style; } Binding;
typedef struct Block { int n; Binding *at; Atom result; Span span; } Block;

typedef enum { PAT_Wild, PAT_Var, PAT_Ctor, PAT_Tuple } PatKind;
typedef struct Pattern {
  PatKind kind;  Span span;
  Var *var;                                   /* Var                           */
  Ctor *ctor;                                 /* Ctor                          */
  int n;  struct Pattern **at;                /* Ctor, Tuple                   */
  Type *type;                                 /* after typeinfer               */
} Pattern;
typedef struct { Pattern *pat; Block *body; Span span; } Clause;

typedef struct Fn {
  Span span;
  int n_vars;  TyVar **var;                   /* explicit or generalised       */
  int n_dims;  Dim *dim;                      /* DIM_Sym bound here            */
  int n;       Var **param;
  Type *ret;                                  /* annotation or inferred        */
  Block *body;
  Attrs attrs;                                /* Primitive=1, ...              */
} Fn;

typedef enum {
#define NODE(Name, fields) EX_##Name,
#include "ir/node.def"
  EX_COUNT
} ExprKind;

#define A(x)     Atom x;
#define AS(x)    int n_##x; Atom *x;
#define K(x)     Block *x;
#define F(x)     Fn *x;
#define CL(x)    int n_##x; Clause *x;
#define D(T, x)  T x;
#define NODE(Name, fields) typedef struct { fields } Ex##Name;
#include "ir/node.def"

/* An obligation that the checker could not discharge: a and b must be equal
 * when the call runs.  what: "nn.dense: the columns of x and of w". */
typedef enum { OBLIGE_Equal, OBLIGE_Bcast, OBLIGE_AtLeast } ObligeKind; /* AtLeast: a >= b */
typedef struct { ObligeKind kind; Dim a, b; const char *what; } Oblige;

struct Expr {
  ExprKind kind;  Span span;
  Type *type;                                 /* after typeinfer               */
  int n_oblige;  Oblige *oblige;              /* run-time checks, in order     */
  union {
#define NODE(Name, fields) Ex##Name Name;
#include "ir/node.def"
  };
};

struct Global {
  Sym name;  Span span;
  Fn *fn;
  Type *type;                                 /* its scheme, after typeinfer   */
  const char *doc;
  bool library;                               /* came from prelude or import   */
  bool made;                                  /* not of the program: by differentiation */
  bool content;                               /* reads a version: autodiff/versions.h   */
  int index;                                  /* in Module.globals             */
};

typedef struct IrCtx {
  SymTab *syms;  DimTab *dims;
  int next_var;
  const OpDef *const *ops;  int n_ops;  Map op_by_name;   /* set by the driver  */
  Map grad_by_name;                           /* name -> GradRule (ir/grad.h) */
} IrCtx;
IrCtx *irctx_new(void);
void   irctx_set_ops(IrCtx *cx, const OpDef *const *ops, int n);
const OpDef *irctx_op(const IrCtx *cx, Sym name);         /* NULL if unknown    */

enum { FORM_TYPED = 1 };                     /* bits of a module's form         */
typedef struct Module {
  IrCtx *cx;  Sources *sources;
  VEC(DataDef *) types;   Map type_by_name;   /* Sym -> DataDef                 */
  VEC(Global *) globals;  Map global_by_name; /* Sym -> Global                  */
  Map ctor_by_name;                           /* Sym -> Ctor                    */
  Map derivatives;   /* autodiff/: Sym of a form of a definition -> Global      */
  DataDef *versions;  Global *content;   /* autodiff/: of the round to come, or NULL */
  unsigned form;
  /* derived: differentiation made it of a typed program, and extents inside of
   * data, function types and refs are what the types say, also where inference
   * cannot show it; trusting: there is such a place. */
  bool derived, trusting;
} Module;
Module *module_new(IrCtx *cx, Sources *sources);
Global *module_find(const Module *m, const char *name);

/* ---- construction ------------------------------------------------------- */
Var  *ir_var(IrCtx *cx, Sym name, Span span);             /* name may be NULL   */
Atom  atom_var(Var *v, Span span);
Atom  atom_const(const Tensor *t, Span span);
Atom  atom_global(Global *g, Span span);
Atom  atom_op(const OpDef *op, Span span);
Expr *ir_expr(ExprKind kind, Span span);                  /* fields to be set   */
Expr *ir_just(Atom a, Span span);
Tensor *tensor_new(DType dt, int rank, const int64_t *dim);      /* zeroed      */
Tensor *tensor_scalar_int(DType dt, int64_t v);
Tensor *tensor_scalar_float(DType dt, double v);

/* A growing block. */
typedef struct { VEC(Binding) b; } BlockBuilder;
Atom   bb_bind(IrCtx *cx, BlockBuilder *bb, Expr *e, Sym name, BindStyle style); /* fresh var */
void   bb_push(BlockBuilder *bb, Var *v, Expr *e, BindStyle style);
Block *bb_done(BlockBuilder *bb, Atom result, Span span);

/* ---- walking: explicit, shallow; callers loop over blocks ---------------- */
typedef struct {
  void (*atom)(void *ud, Atom *a);            /* each operand of e              */
  void (*block)(void *ud, Block *b);          /* each sub-block (branch, body)  */
  void (*fn)(void *ud, Fn *f);                /* a function literal; default: its body to block */
} ExprVisit;
void ir_visit(Expr *e, const ExprVisit *v, void *ud);
/* Deep copy with fresh variables; map: Var* -> Var* substitutions already made. */
Block *ir_clone_block(IrCtx *cx, const Block *b, Map *vars);
Fn    *ir_clone_fn(IrCtx *cx, const Fn *f, Map *vars);
/* Free variables of a function literal, in order of first use. */
typedef VEC(Var *) VarList;
void  ir_free_vars(const Fn *f, VarList *out);
/* May evaluating e have an effect or fail to return a value in another order?
 * (ref reads and writes, calls of unknown functions.) */
bool  ir_is_pure(const Expr *e);

/* ---- text ----------------------------------------------------------------- */
typedef struct { bool types, relay, all; } PrintOpts;   /* ty= comments; TVM-compatible; library too */
void ir_print_module(const Module *m, const PrintOpts *o, StrBuf *out);

/* ---- well-formedness: every variable bound once and before its uses, arity,
 * types present when FORM_TYPED.  false with the reason in why. */
bool ir_verify(const Module *m, StrBuf *why);
#endif
