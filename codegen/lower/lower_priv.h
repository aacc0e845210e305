/* lower_priv.h -- what the files of codegen/lower/ share.                     */
#ifndef RVM_LOWER_PRIV_H
#define RVM_LOWER_PRIV_H
#include "codegen/lower/lower.h"
#include "ir/op.h"

/* ---- type environments ------------------------------------------------------- */
/* What the type variables in scope stand for: closed types.  A list, innermost
 * binding first. */
typedef struct TyEnv { TyVar *var; Type *type; const struct TyEnv *up; } TyEnv;
Type *ty_close(IrCtx *cx, Type *t, const TyEnv *env);
/* Count the nodes of t down from *left; negative: there are more. */
void ty_weigh(Type *t, int *left);
/* Bind the variables of a scheme so that it matches an instance. */
const TyEnv *ty_match(IrCtx *cx, Type *scheme, Type *inst, const TyEnv *env);

/* ---- the module being made ------------------------------------------------------ */
/* A variable's value while lowering.  TUPLE, FN, ALIAS and ATOM (a constant or
 * a global) exist on paper only: nothing is built until something needs it. */
typedef enum { VAL_NONE, VAL_REG, VAL_TUPLE, VAL_FN, VAL_ALIAS, VAL_ATOM } ValKind;
typedef struct Val {
  ValKind kind;
  uint16_t reg;                      /* REG                                       */
  int n;  Var **leaf;                /* TUPLE: one variable per field             */
  struct FnBind *fn;                 /* FN                                        */
  Var *of;                           /* ALIAS                                     */
  Atom atom;                         /* ATOM                                      */
} Val;

/* Captured by a local function: a variable of an enclosing function, or the
 * symbol of a dim. */
typedef struct Capture { Var *var; Dim dim; uint32_t itype; } Capture;
typedef struct { Var *var; Val val; } PaperVal;
/* A let-bound function literal: no code until it is called or used. */
typedef struct FnBind {
  const Fn *fn;  Var *self;
  VEC(Capture) cap;
  VEC(PaperVal) paper;               /* captured variables that exist on paper    */
  const TyEnv *env;
  const Expr *site;                  /* primitive: the call that it is lowered in */
} FnBind;

/* One specialised function: a global or a local function literal under a type
 * environment.  Captures lead the parameters. */
typedef struct Instance {
  const Fn *fn;  Sym name;  const TyEnv *env;
  FnBind *bind;                      /* local functions: what they capture        */
  uint32_t index;
  bool entry;
} Instance;

typedef struct Lower {
  Module *m;  IrCtx *cx;  Diags *d;
  /* growing parts of the image */
  VEC(char) text;      Map text_at;
  VEC(IType) types;    Map type_at;
  VEC(ICtor) ctors;    VEC(uint32_t) type_list;  VEC(int64_t) dims;
  VEC(IConst) consts;  Map const_at;   VEC(const Tensor *) const_of;  uint64_t n_data;
  VEC(Kernel *) kernels; Map kernel_at;
  VEC(IFunc) funcs;    VEC(Ins) code;  VEC(uint32_t) pool;
  VEC(ILabel) labels;  VEC(IRegState) states;  VEC(ILine) lines;
  VEC(IEntry) entries; VEC(uint32_t) name_list;
  VEC(Instance *) instances; Map instance_at;
  int done;                          /* instances lowered so far                */
  int adt_depth;                     /* data types being entered, one in another */
} Lower;

uint32_t low_text(Lower *L, const char *s);
uint32_t low_itype(Lower *L, Type *closed);            /* dims erased             */
uint32_t low_itype_host(Lower *L, Type *closed);       /* a tensor keeps its constant dims */
uint32_t low_scalar(Lower *L, DType t);
uint32_t low_tensor(Lower *L, DType t, int rank);
uint32_t low_const(Lower *L, const Tensor *t);
uint8_t *low_data(const Lower *L);
uint32_t low_kernel(Lower *L, Kernel *k);              /* equal kernels are shared */
uint32_t low_instance(Lower *L, const Fn *fn, Sym name, const TyEnv *env, FnBind *bind);
uint32_t low_runtime(const char *name);                /* number of a runtime kernel */
bool     itype_is_ref(const Lower *L, uint32_t t);     /* counted?                */

/* ---- the function being made ------------------------------------------------------ */
typedef struct { bool used; uint16_t ctor; uint32_t type; } RegInfo;   /* ctor: 1 + known */
typedef struct { Dim dim; uint16_t reg; } DimReg;

typedef struct FnLower {
  Lower *L;
  Instance *inst;
  const TyEnv *env;
  Map val;                           /* Var* -> Val*                              */
  VEC(RegInfo) reg;                  /* the machine's state here                  */
  VEC(uint16_t) free_reg;
  VEC(DimReg) dim;                   /* dims in registers, innermost scope last   */
  Map dim_at;                        /* Dim -> 1 + index into dim, when live      */
  VEC(Ins) code;
  VEC(ILabel) label;  VEC(IRegState) state;  VEC(ILine) line;
  VEC(uint32_t) fixup;               /* instructions whose W is a label number    */
  VEC(uint32_t) label_pc, label_uses;
  VEC(uint32_t) switch_pool;         /* pool entries that are label numbers       */
  Span span;                         /* of what is being lowered                  */
  bool dead;                         /* after a jump: nothing falls through here  */
} FnLower;

/* Where a value goes: it is bound to var; or, var NULL, returned (tail), or moved to reg, which
 * is reserved. */
typedef struct { Var *var; bool tail; uint16_t reg; } Dest;

/* func.c: registers, labels, instructions */
uint16_t fl_reg(FnLower *f, uint32_t itype);           /* a free register, now live */
uint16_t fl_reserve(FnLower *f, uint32_t itype);       /* set aside, not yet live   */
void     fl_release(FnLower *f, uint16_t reg);         /* no longer live (already moved, dropped, or scalar) */
void     fl_drop(FnLower *f, uint16_t reg);            /* DROP if counted, release  */
uint16_t fl_copy(FnLower *f, uint16_t reg);            /* DUP or MOVE into a fresh register */
void     fl_ins(FnLower *f, OpCode op, uint16_t a, uint16_t b, uint16_t c);
void     fl_insw(FnLower *f, OpCode op, uint16_t a, uint32_t w);
uint32_t fl_label_new(FnLower *f);
void     fl_label_here(FnLower *f, uint32_t label);    /* records the state here    */
void     fl_jump(FnLower *f, uint32_t label);
void     fl_unless(FnLower *f, uint16_t reg, uint32_t label);
void     fl_switch(FnLower *f, uint16_t reg, int n, const uint32_t *label);
uint32_t fl_pool(FnLower *f, const uint32_t *words, int n);
uint16_t fl_int(FnLower *f, int64_t v);                /* int64 constant in a fresh register */
uint16_t fl_const(FnLower *f, const Tensor *t);
typedef struct { VEC(RegInfo) reg; VEC(uint16_t) free_reg; int n_dim; } RegSave;
RegSave  fl_save(FnLower *f);
void     fl_restore(FnLower *f, const RegSave *s);
bool     fl_unsupported(FnLower *f, const char *what, const char *why);

/* reuse.c: finished code, labels not yet resolved, with in-place updates */
enum { MAX_FIELDS = 8, MOST_REGS = 64000 };            /* of a cell, of a function; beyond: as it was */
void     fl_reuse(FnLower *f);
uint16_t fl_reg_more(FnLower *f);                      /* a register that nothing else has */
Ins      fl_ins_reuse(FnLower *f, Ins alloc, uint16_t from);  /* ALLOC as REUSE of a register */
Ins      fl_ins_renew(FnLower *f, Ins data, uint16_t shell);  /* DATA, of so few fields, as RENEW */

/* way.c: finished code, labels not yet resolved, all jumps forward; by index of f->code */
enum { NOWHERE = -1 };
typedef struct Flow { const FnLower *f; int *n_from, *from; } Flow;    /* how many lead here; one of them */
typedef struct Way { int n, *pc; } Way;
Flow     fl_flow(const FnLower *f);
int      fl_next(const FnLower *f, int pc, int i);     /* the i-th that may follow pc, or NOWHERE */
/* What is run before pc whichever way it is reached, oldest first, back to the function's
 * start or to where ways join. */
Way      fl_way(const Flow *flow, int pc);

/* spare.c: behind fl_reuse: a function that ends by calling itself keeps what dies in one
 * iteration for the next; head: its parameters. */
void     fl_spare(FnLower *f, const IFunc *head);

/* dims.c */
uint16_t fl_dim(FnLower *f, Dim d);                    /* borrowed: do not release  */
bool     fl_dim_known(FnLower *f, Dim d);              /* is it in a register here? */
void     fl_dim_bind(FnLower *f, Dim sym, uint16_t reg);  /* takes the register over */
void     fl_dims_of(FnLower *f, Var *v);               /* read v's new symbols      */
void     fl_dims_leave(FnLower *f, int n);             /* forget down to n          */
void     fl_check(FnLower *f, OpCode op, Dim a, Dim b, const char *what);
void     fl_obligations(FnLower *f, const Expr *e);
void     fl_enter(FnLower *f, const Fn *fn);            /* read and check the parameters' extents */
void     fl_dims_of_type(FnLower *f, Type *t, uint16_t reg);

/* block.c */
/* Variables held in registers, with how often an expression mentions each. */
typedef struct { Var *var; int count; } VarUse;
typedef struct VarSet { VEC(VarUse) v; Map at; } VarSet;
void varset_add(VarSet *s, Var *v);
Val *fl_val(FnLower *f, const Var *v);
Val *fl_set(FnLower *f, Var *v, Val val);
Type *fl_type(FnLower *f, Type *t);                    /* closed                    */
/* Lower b; its value goes to dest.  owned: variables that die in b. */
bool fl_block(FnLower *f, Block *b, Dest dest, VarSet *owned);

/* Operands.  dying: variables whose last use this is; taking one removes it. */
uint16_t fl_take(FnLower *f, const Atom *a, VarSet *dying);           /* owned register */
typedef struct { uint16_t reg; bool temp; } Borrow;
Borrow   fl_borrow(FnLower *f, const Atom *a);                        /* temp: drop it after */
void     fl_unborrow(FnLower *f, Borrow b);
void     fl_drop_dying(FnLower *f, VarSet *dying);
void     fl_bind_reg(FnLower *f, Var *v, uint16_t reg);
/* Code of e; the variables that die in it are gone behind it. */
bool     fl_expr(FnLower *f, Expr *e, Dest dest, VarSet *dying);
void     fl_move_to(FnLower *f, Dest dest, uint16_t reg);

/* branch.c: alternatives that own the same variables */
typedef struct { RegSave regs; VEC(Val) val; VarSet *dying; uint32_t join; Dest dest; } Fork;
Fork     fl_fork(FnLower *f, Dest dest, VarSet *dying);
void     fl_fork_branch(FnLower *f, Fork *k);          /* back to the state at the fork */
void     fl_fork_leave(FnLower *f, Fork *k);           /* end of a branch           */
void     fl_fork_join(FnLower *f, Fork *k);            /* after the last            */
void     fl_deliver(FnLower *f, Dest dest, uint16_t reg);  /* an owned register */

/* prim.c: is e the call of a primitive function that is lowered in its place?
 * The first one that fits is. */
bool     fl_prim_here(FnLower *f, const Expr *e);
bool     fl_prim(FnLower *f, Expr *e, Dest dest, VarSet *dying);

/* call.c, op.c, match.c */
uint16_t fl_closure(FnLower *f, FnBind *fn, Type *type, VarSet *dying);
bool     fl_op(FnLower *f, Expr *e, Dest dest, VarSet *dying);
bool     fl_match(FnLower *f, Expr *e, Dest dest, VarSet *dying);
FnBind  *fn_bind(FnLower *f, const Fn *fn, Var *self);
#endif
