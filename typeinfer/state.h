/* state.h -- what the files of typeinfer/ share.  Private to the folder.
 *
 * Structure unifies through TY_Meta.  Extents flow: a tensor dim is a plain
 * Dim or a DIM_Meta that stands for a Cell.  A cell's value is the join of its
 * inputs: nothing yet < one Dim < Any.
 *
 * Scopes have levels: a function at level L has the metas of its parameters
 * at L + 1, the symbols of its parameters at L + 2 and its body at L + 3; each
 * branch of an if or match is one deeper than what surrounds it.  A dim that
 * mentions a symbol deeper than a cell's level reaches it as Any, so no symbol
 * leaves the scope that gives it a value.  Nor does one appear before it has
 * one: symbols, cells and metas carry the time of their making (order), and
 * younger symbols are Any to a cell as deeper ones are.                       */
#ifndef RVM_TYPEINFER_STATE_H
#define RVM_TYPEINFER_STATE_H
#include "base/diag.h"
#include "ir/op.h"
#include "typeinfer/infer.h"
#include "typeinfer/rel.h"

enum { LEVEL_PARAM = 1, LEVEL_SYM = 2, LEVEL_BODY = 3 };

typedef struct Infer Infer;
typedef struct Cell Cell;
typedef struct Job Job;
typedef struct Site Site;

/* One use of a quantified function: its type variables and dims replaced.
 * Other symbols deeper than cap are not visible to the user: they give Any. */
typedef struct Inst {
  int n_types;  TyVar **var;  Type **type;
  int n_dims;   Dim *sym;     Dim *cell;      /* cell: DIM_Meta               */
  int cap;  Span at;
} Inst;

typedef struct { Dim dim;  Inst *inst;  bool nested;  Site *site; } CellIn;
typedef struct { Cell *cell;  Job *job; } Work;           /* one of the two   */

enum {
  CELL_OPENS = 1,     /* its top is a symbol of its own: an axis of a variable */
  CELL_STRICT = 2,    /* a dim of an instantiated signature: inputs must agree */
  CELL_RIGID = 4,     /* defined once; flows into it are checked, not joined   */
  CELL_GIVEN = 8,     /* set from outside: by a relation                       */
  CELL_SHARED = 16    /* an axis of several parameters: never quantified       */
};
struct Cell {
  unsigned flags;  int level, order, changes, visit;
  bool known, stuck, queued;     /* stuck: at its top for good                */
  Dim val, self, symbol;         /* symbol: of CELL_OPENS, or what STRICT instantiates */
  Span at;  const char *callee;  /* STRICT: the use                           */
  Job *maker;                    /* GIVEN: the relation that sets it          */
  VEC(CellIn) in;
  VEC(Work) out;
};

typedef enum { JOB_Rel, JOB_Proj, JOB_Inst } JobKind;
typedef enum { JOB_Waiting, JOB_Ready, JOB_Failed } JobState;
struct Job {
  JobKind kind;  JobState state;  bool queued;
  int level, order;  Expr *expr;
  Type *result;                              /* NULL until somebody waits for it */
  Var *var;                                  /* Rel: who takes the result      */
  /* Rel */
  Type *made;                                /* what the relation gave first   */
  bool moving;                               /* some argument dim is a cell    */
  Diags *diags;                              /* of the last run, when moving   */
  VEC(Oblige) oblige;
  VEC(Dim) unknown;  int next_unknown;
  VEC(Cell *) cells_out;
  VEC(Cell *) watching;
  /* Inst: from under inst flows to result */
  Type *from;  Inst *inst;  int nested;      /* made while running how many others */
};

/* Where a value meets a type: for the message, and for the run-time check. */
struct Site {
  Span at;
  Type *from, *to;               /* whole types, for the message              */
  Expr *expr;                    /* gets the obligations; NULL: none possible */
  bool callee_checks;            /* an argument: its function looks itself    */
  bool reported;
  const char *what;              /* "axis 0 of <what>"                        */
  Span note_at;  const char *note;
};

/* Where in the value an extent stands: at its top (through tuples), directly
 * in a parameter of a function in it, or deeper, where nobody can look. */
typedef enum { POS_Top, POS_Param, POS_Nested } Pos;
typedef struct { Dim from, to;  Site *site;  Pos pos;  int axis; } Check;

/* owner: the parameter whose type it is or is a part of; shared: of several,
 * whose extents then need not be the same. */
typedef struct { VEC(Job *) waiting;  int order;  const Var *owner;  bool shared; } MetaInfo;
typedef struct { int level, order; } SymInfo;
typedef struct {
  int level, order;              /* level of its scope; for a function, see Inst.cap */
  bool viewed;  Type *view;      /* the type with its axes opened             */
  Expr *value;                   /* what it is bound to, if anything          */
  Site *split;  Var *temp;       /* annotated: the check, and who takes the value */
} VarInfo;
typedef struct { Fn *fn;  Site *site;  Type *sig;  int level; } FnInfo;

struct Infer {
  Module *m;  IrCtx *cx;  DimTab *dt;  Diags *d;
  int level, depth, clock;
  int inst_nested, n_nested;                 /* see Job.nested; how many in all */
  const char *fn_name;                       /* the global being checked      */
  VEC(Cell *) cells;
  VEC(Job *) jobs;                           /* that may run again            */
  VEC(Check) checks;
  VEC(Work) queue;  int head;
  VEC(MetaInfo) metas;                       /* by id                         */
  VEC(VarInfo) vars;                         /* by Var.id                     */
  VEC(FnInfo) fns;
  Map fn_info;                               /* Fn -> index in fns + 1        */
  Map syms;                                  /* Dim -> SymInfo                */
  Map tyvar_level;                           /* level + 1                     */
  Map invariant;                             /* DataDef -> bool per parameter */
  Map endless;                               /* places of endless types reported */
  Map size;                                  /* Type -> depth << 32 | nodes   */
};

/* ---- dims.c -------------------------------------------------------------- */
Cell *cell_new(Infer *I, int level, unsigned flags);
static inline Cell *cell_of(Dim d) { return d->kind == DIM_Meta ? d->meta : NULL; }
void  cell_input(Infer *I, Cell *c, CellIn in);
void  cell_set(Infer *I, Cell *c, Dim v);          /* of a CELL_GIVEN         */
void  cell_fix(Infer *I, Cell *c, Dim v);          /* for good                */
void  cell_top(Infer *I, Cell *c);
void  cell_watch(Cell *c, Job *j);
bool  dim_value(Dim d, Dim *out);                  /* false: not known yet    */
bool  input_value(Infer *I, const CellIn *in, Dim *out);
Dim   sym_new(Infer *I, int level, int order);     /* a nameless symbol       */
void  sym_enter(Infer *I, Dim s, int level, int order);
bool  sym_known(Infer *I, Dim s);                  /* has been entered        */
int   sym_level(Infer *I, Dim s);
bool  dim_hidden(Infer *I, Dim d, const Cell *c);  /* mentions a symbol c may not see */
void  queue_job(Infer *I, Job *j);
void  solve(Infer *I);                             /* until nothing is queued */

/* ---- unify.c ------------------------------------------------------------- */
Type *new_meta(Infer *I, int level);
Type *param_meta(Infer *I, int level, const Var *owner);
bool  is_unsolved(Type *t);
void  wait_for(Infer *I, Type *meta, Job *j);
bool  flow(Infer *I, Type *from, Type *to, Site *s, Pos pos);
void  flow_dim(Infer *I, Dim from, Dim to, Site *s, Pos pos, int axis);
void  check_dims(Infer *I, const Check *c);
Site *site_new(Span at, Type *from, Type *to, const char *what);
void  add_oblige(Expr *e, ObligeKind kind, Dim a, Dim b, const char *what);
void  find_variance(Infer *I);
char *show(Infer *I, Type *t);
char *show_dim(Dim d);
Type *copy_cells(Infer *I, Type *t, int level);
bool  type_is_plain(const Type *t, bool any_ok);   /* no metas, cells; Any if any_ok */

/* ---- scheme.c ------------------------------------------------------------ */
typedef enum { ANNOT_Keep, ANNOT_Param, ANNOT_Open } AnnotMode;    /* what becomes of ? */
typedef VEC(Dim) DimList;
Type *annotation(Infer *I, Type *t, AnnotMode mode, int level, DimList *opened, Span at);
Type *fn_signature(Infer *I, Fn *f, const char *name);
Type *instantiate(Infer *I, Type *fn, int cap, Span at, const char *callee, TypeArgs **out);
void  run_inst(Infer *I, Job *j);
void  settle_inst(Infer *I, Job *j, int level);
void  generalise(Infer *I, int n, Type **sig, Span span, int level, int first_job);

/* ---- vars.c -------------------------------------------------------------- */
VarInfo *var_info(Infer *I, const Var *v);
VarInfo *var_enter(Infer *I, const Var *v, int level);
Type *var_view(Infer *I, Var *v);
void  var_made(Infer *I, Var *v, Type *made);      /* a relation gives what v is bound to */
Type *atom_type(Infer *I, Atom *a, TypeArgs **inst);
bool  flow_atom(Infer *I, Atom *a, Type *to, Site *s);
const char *var_label(const Var *v);
void  bind_var(Infer *I, Var *v, Type *t, Expr *value, Span at);
Type *bounded(Infer *I, Type *t, const Var *v, Span at);    /* refuses types too big to walk */

/* ---- infer.c, cast.c ----------------------------------------------------- */
void  run_proj(Infer *I, Job *j);
Type *check_cast(Infer *I, Expr *e);
Type *check_form(Infer *I, Expr *e);              /* form.c                  */

/* ---- rel.c --------------------------------------------------------------- */
Type *check_op_call(Infer *I, Expr *e);
void  run_rel(Infer *I, Job *j);
void  finish_rel(Infer *I, Job *j);                /* messages and obligations of the last run */

/* ---- finish.c ------------------------------------------------------------ */
void  finish(Infer *I);
Type *zonk(Infer *I, Type *t, int cap, bool final);
#endif
