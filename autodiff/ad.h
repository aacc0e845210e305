/* ad.h -- what the files of autodiff/ share.  Private to the folder.
 *
 * tan T: what a gradient with respect to a T is.  A float tensor's is itself; an int's, a
 *   function's and a ref's is (); a tuple's the tuple of its parts'; data D's is
 *   a type D_adj made here, with D_zero for a gradient nobody contributed to.
 * dual T: how values of T are represented in a transformed function.  T itself
 *   but for functions, fn(A) -> B being fn(dual A) -> (dual B, fn(tan B) -> (tan A,)),
 *   and refs of what has a tangent, (ref(dual T), ref(tan T)).  "special": dual T is not T.
 *
 * A tangent has the extents of its value.  Types need not be able to show it
 * where nobody can look, inside of data, refs and functions (Module.derived). */
#ifndef RVM_AD_H
#define RVM_AD_H
#include "autodiff/autodiff.h"
#include "ir/grad.h"

typedef struct TyEnv { TyVar *var; Type *type; const struct TyEnv *up; } TyEnv;
typedef struct Twin Twin;
typedef struct Dual Dual;
typedef struct { Type *type;  Span at;  const char *why; } Unknown;
typedef struct { Map known;  VEC(uint64_t) open;  int depth; } Answers;
typedef struct DefPath { const DataDef *def;  const struct DefPath *up; } DefPath;
typedef struct AD {
  Module *m;  IrCtx *cx;  Diags *d;
  Map bound;                        /* Var -> Expr it is bound to, in the whole module */
  Map uses_as_value;                /* Var: used otherwise than by being called        */
  Map fn_dims;                      /* names of dims that functions bind               */
  VEC(Fn *) fns;                    /* of the module before the round                  */
  Map has_forms;                    /* Fn -> answers of step.c                         */
  Map adj, dual;                    /* key -> DataDef made                             */
  Map forward;                      /* DataDef -> that of its duals (dual.c)           */
  Map helper;                       /* key -> Global                                   */
  Map twin_at;  VEC(Twin *) twins;  int done;
  Answers intrinsic, special;       /* of a DataDef and a mask: types.c                 */
  int errors, n_forms;  Span span;
  const DefPath *within;            /* data types of which something is being made       */
  VEC(Unknown) unknown;             /* functions that are not known where they should be */
  VEC(Type *) copied;  VEC(Unknown) written;   /* contents of refs (outside.c)           */
  Map *warm;  bool again;           /* contents that have derivatives; one was found late */
  bool last;                        /* no form waits for this round: nothing is differentiated
                                     * again */
} AD;

/* ---- types.c ------------------------------------------------------------------- */
/* t with the types that env gives its type variables; NULL for NULL. */
Type *ad_close(AD *ad, Type *t, const TyEnv *env);
/* `up` with the types of n variables more; with those that make scheme inst, where it has none;
 * env with types whose extents have no names (twin.c). */
const TyEnv *ad_env(int n, TyVar **var, Type **type, const TyEnv *up);
const TyEnv *ad_match(Type *scheme, Type *inst, const TyEnv *env);
const TyEnv *ad_without_dims(AD *ad, const TyEnv *env);
bool  ad_has_tan(AD *ad, Type *t);                    /* is there a float in tan t?    */
bool  ad_special(AD *ad, Type *t);                    /* is dual t not t?              */
bool  ad_has_data(Type *t);                           /* is it data, or a tuple with some? */
Type *ad_tan(AD *ad, Type *t);
Type *ad_dual(AD *ad, Type *t);
/* The closed type of field i of c, of closed data.  What becomes of c in tan data; its zero; what
 * becomes of c in dual data. */
Type *ad_field(AD *ad, Type *data, const Ctor *c, int i);
Ctor *ad_adj_ctor(AD *ad, Type *data, const Ctor *c);
Ctor *ad_zero_ctor(AD *ad, Type *data);
Ctor *ad_dual_ctor(AD *ad, Type *data, Ctor *c);
/* The types that a resolved type is made of: parameters and result, items, arguments, content;
 * t made of others, if it has some. */
int   n_parts(const Type *t);
Type *part_type(const Type *t, int i);
Type *with_parts(const Type *t, Type **at);
Sym   ad_key(AD *ad, const char *what, Type *t);      /* for maps: `what` made for t   */
bool  ad_has_vars(Type *t);                           /* type variables           */
bool  ad_is_function(Type *t);                        /* one, or data for them (values.h) */
/* Is ad_dual(t) another type, or does a value of t lead to a ref with derivatives? */
bool  ad_holds(AD *ad, Type *t);
/* Reports E0403, and that the round cannot be done; false, always. */
bool  ad_fail(AD *ad, Span at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The round cannot be done: a value of type t is or holds a function that is not
 * known at this place.  Reported only if nothing can be done about it. */
void  ad_unknown(AD *ad, Span at, Type *t, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- data.c: data types made ------------------------------------------------------ */
/* want, or want with a number: a name that is not in `taken` yet. */
Sym   ad_free_name(AD *ad, const Map *taken, const char *want);
/* A data type of a new name, and a constructor of its n_ctors at most. */
DataDef *ad_new_def(AD *ad, const char *want, Span at);
Ctor *ad_new_ctor(AD *ad, DataDef *d, const char *want, int n, int n_ctors);
/* The data type like `of`, with its parameters, whose fields are field(ud, those of it);
 * `of` if nothing in it moves of itself (forward.h).  made: DataDef -> what was made. */
typedef Type *FieldType(void *ud, Type *t);
DataDef *ad_generic_data(AD *ad, Map *made, const char *suffix, DataDef *of, FieldType *field,
                         void *ud);
/* The type of duals of closed data t, whose fields are field(ad, those of t): a type of its
 * own for each t, made once; `what` tells duals of different kinds apart.  t if it would
 * not end. */
Type *ad_closed_data(AD *ad, const char *what, Type *t, Type *field(AD *, Type *));
/* Are so many instances of def in the making that they will not end? */
bool  ever_larger(const DefPath *path, const DataDef *def);
/* Something of an instance of def is being made, until ad_leave; false, after reporting:
 * they will not end. */
bool  ad_enter(AD *ad, const DataDef *def, DefPath *path);
void  ad_leave(AD *ad);

/* ---- emit.c: bindings of new code ------------------------------------------------- */
/* em_..: a new variable, bound in o to what the name says, at ad->span.  Types are not filled
 * in; operands are copied, parameters are not. */
typedef BlockBuilder *Out;
Atom em_bind(AD *ad, Out o, Expr *e);
Expr *ad_call(Atom callee, int n, const Atom *arg, Span at);   /* not bound yet */
Atom em_call(AD *ad, Out o, Atom callee, int n, const Atom *arg);
Atom em_op(AD *ad, Out o, const char *op, int n, const Atom *arg);
Atom em_tuple(AD *ad, Out o, int n, const Atom *at);
Atom em_proj(AD *ad, Out o, Atom tuple, int i);
Atom em_if(AD *ad, Out o, Atom cond, Block *yes, Block *no);
/* a itself, of type t, by a name of its own: what is computed from its tensors is
 * not taken for what was computed from a, and so is computed again. */
Atom em_again(AD *ad, Out o, Atom a, Type *t);
/* fn (param..) { body }, by a name of the program unless it is NULL. */
Atom em_fn(AD *ad, Out o, int n, Var **param, Block *body, Sym name);
/* fn (dy) -> ret { body }; ret may be NULL. */
Atom em_pullback(AD *ad, Out o, Var *dy, Block *body, Type *ret);
Atom em_ref(AD *ad, Out o, Atom v);
Atom em_read(AD *ad, Out o, Atom ref);
void em_write(AD *ad, Out o, Atom ref, Atom v);
Atom em_unit(AD *ad, Out o);
GradCx em_text(AD *ad, Out o);                         /* for gr (ir/grad.h), into o  */
Atom ad_scalar(AD *ad, DType dt, int64_t v);
/* A new variable, not bound; name and annot may be NULL. */
Var *ad_var(AD *ad, const char *name, Type *annot);
static inline Atom var_atom(AD *ad, Var *v) { return atom_var(v, ad->span); }
/* A new definition of a new name; what fn does not have yet is to be filled in. */
Global *ad_global(AD *ad, const char *want, Fn *fn);
/* The definition of this key, *g.  true: it is new, in `made`, with n parameters, which
 * are to be filled in, and the result type and body. */
bool  ad_define(AD *ad, Map *made, Sym key, const char *want, int n, Global **g);
/* Fills in parameter i; it. */
Atom  ad_param(AD *ad, Global *g, int i, const char *name, Type *t);
Atom ad_ctor_atom(AD *ad, Ctor *c);
/* The type as a parameter of a function of its own can have it: extents that
 * are not numbers have no name there. */
Type *nameless(AD *ad, Type *t);
/* The type of a definition for a function literal around it, which does not bind
 * the names of extents that the definition binds. */
Type *ad_unbound(AD *ad, Type *fn);
/* Functions over data: v, or _ for NULL; _; c, whose fields are to be filled in; c with a
 * new variable for each field, put in field. */
Pattern *var_pattern(AD *ad, Var *v);
Pattern *anything(AD *ad);
Pattern *ctor_pattern(AD *ad, Ctor *c);
Pattern *pattern_of(AD *ad, Ctor *c, Var **field);
/* A match on x: without cases; with one more, p => { bb; result }; bound in o; as a block. */
typedef struct { Expr *e;  VEC(Clause) at; } Cases;
Cases cases_of(AD *ad, Atom x);
void add_case(AD *ad, Cases *c, Pattern *p, BlockBuilder *bb, Atom result);
Atom end_cases(AD *ad, Out o, Cases *c);
Block *cases_block(AD *ad, Cases *c);

/* ---- tangent.c: values of tangent type ----------------------------------------------- */
/* x is a dual of type t (closed, of the program differentiated): a tangent of zeros, of ones,
 * with the extents of x; the sum of two. */
Atom tan_zero(AD *ad, Out o, Type *t, Atom x);
Atom tan_ones(AD *ad, Out o, Type *t, Atom x);
Atom tan_add(AD *ad, Out o, Type *t, Atom a, Atom b);
/* How a tangent of T looks outside: to the program it is a T' of ir/diff.h, where data for
 * functions and refs are (); in a shadow (versions.h) a T, where they are those of the value. */
typedef enum { AS_Step, AS_Shadow } View;
Atom tan_out(AD *ad, Out o, View as, Type *t, Atom x, Atom dx);      /* of tan T          */
Atom tan_in(AD *ad, Out o, View as, Type *t, Atom dx);               /* to tan T          */
/* Is what t stands for nothing to look at: a function, or, in a step, data for functions? */
bool tan_opaque(View as, Type *t);

/* An adjoint while code is made: NULL is zero. */
typedef struct Adj { Atom at;  int n;  struct Adj **part; } Adj;   /* part: a tuple's, else NULL */
Adj *adj_atom(Atom a);
Adj *adj_tuple(int n, Adj **part);
Adj *adj_part(AD *ad, Out o, Adj *a, int i);                       /* of a tuple */
Adj *adj_add(AD *ad, Out o, Type *t, Adj *a, Adj *b);
/* a as a value of tan t, with zeros like the dual x where it has none. */
Atom adj_value(AD *ad, Out o, Type *t, Atom x, Adj *a);

/* ---- frame.c: what is known about variables ---------------------------------------------- */
typedef struct Frame Frame;
typedef struct LocalFn {
  const Fn *fn;  Var *self;
  bool escapes, has_plain;  Atom plain;    /* plain: the function itself, not its dual */
  VarList caps;                     /* variables of others it needs, functions resolved */
} LocalFn;
typedef struct Val {
  Var *orig;  Type *type;           /* closed                                       */
  Atom at;                          /* its dual, or itself when plain               */
  bool active, plain, has_at;
  int depth;                        /* how many closures around its binding         */
  bool has_acc;  Atom acc;          /* ref where closures add to its adjoint        */
  bool deferred;                    /* its adjoint is a list of products (defer.c)  */
  Dual *dual;                       /* forward mode (forward.h); NULL: plain        */
  LocalFn *fn;
} Val;
struct Frame {
  AD *ad;  const TyEnv *env;
  Map val;                          /* Var -> Val                                   */
  Map dim;                          /* Dim -> Dim of the new function               */
  Map captured;                     /* variables of function values                 */
  bool lifted;                      /* names of dims around it are not in scope     */
  Atom live;                        /* of the run of the form, if there are versions (versions.h) */
};
Frame *frame_new(AD *ad, const TyEnv *env, bool lifted);
/* Of v, which has one made if nothing is known of it: v is plain, and from outside. */
Val   *frame_val(Frame *f, Var *v);
Type  *frame_type(Frame *f, Type *t);                  /* closed                      */
Type  *frame_annot(Frame *f, Type *t);                 /* closed, dims of the new function */
typedef VEC(Dim) DimVec;
/* Names in the new function for the extents of its parameters; own: only those
 * of this function (NULL: all). */
void   frame_dims(Frame *f, const Fn *own, int n, Type *const *type, DimVec *made);
/* The names that the local function `of` binds, bound once more: by made. */
void   frame_own_dims(Frame *f, const Fn *of, Fn *made);
/* What is known of fn, which self is bound to. */
LocalFn *local_fn(Frame *f, Var *self, const Fn *fn);
/* A local function whose calls are calls of its twin; any other is a value. */
bool   is_known(const Val *v);
/* Variables needed by a piece of code, in place of known functions what they need. */
void   needs_of_block(Frame *f, Block *b, VarList *out);
/* Finds f->captured, of functions in b. */
void   mark_captured(Frame *f, Block *b);
/* e or fn in the new function as it is: nothing in it is differentiated. */
Expr  *plain_expr(Frame *f, const Expr *e);
Fn    *plain_fn(Frame *f, const Fn *fn, Map *vars);

/* ---- reverse.c, sweep.c ------------------------------------------------------------------- */
typedef struct { Var *var;  Expr *e;  Atom pb;  bool is_acc;  VarList gives;  bool scrutinee;
                 Twin *twin; } Step;
typedef struct Scope {
  Frame *f;  Out fwd, rev;
  Map adj;                          /* Var -> Adj                                   */
  VEC(Step) step;
  int depth;
} Scope;
/* v is `at`, a dual; active: has it an adjoint?  Where closures can add to that, a ref for it is
 * made. */
Val  *scope_bind(Scope *s, Var *v, Atom at, bool active);
Atom  scope_atom(Scope *s, const Atom *a);             /* its dual                    */
bool  atom_active(Scope *s, const Atom *a);
Type *atom_closed(Scope *s, const Atom *a);            /* its closed type             */
/* The forward half of b, of parameters, of v bound to e: s->step is what is to be taken back. */
void  forward_block(Scope *s, Block *b);
void  forward_params(Scope *s, int n, Var **orig, Var **made, const bool *active);
/* The backward half: takes back all steps, the last first.  Before it: d is added to the adjoint
 * of a; behind it: what that of v has become, or NULL. */
void  sweep(Scope *s);
void  contribute(Scope *s, const Atom *a, Adj *d);
Adj  *scope_adj(Scope *s, const Var *v);
/* Also for forward mode: e without what types said of it; v bound to it in the
 * new function, as it was; the variables that e uses; can fn be kept as it is? */
Expr *ad_like(const Expr *e);
Atom  scope_let(Scope *s, Var *v, Expr *e, BindStyle style);
void  ad_free_of(const Expr *e, VarList *out);
bool  fn_stays(Scope *s, const Fn *fn, Var *self);
/* Binds the function e, which stays, as it is; l, the record of v, knows it. */
void  keep_plain(Scope *s, LocalFn *l, const Var *v, const Expr *e, BindStyle style);
Atom  plain_atom(Scope *s, const Atom *a);         /* as it was                     */
bool  op_cuts(Scope *s, const OpDef *op);              /* is its gradient zero?       */

/* ---- reverse_ref.c: v is ref(..), ref_read(..), ref_write(..) ----------------------------- */
void  reverse_ref(Scope *s, Var *v, Expr *e, BindStyle style);
void  reverse_read(Scope *s, Var *v, Expr *e, BindStyle style);
void  reverse_write(Scope *s, Var *v, Expr *e, BindStyle style);

/* ---- branch.c ------------------------------------------------------------------------------ */
/* v is an if or a match, each branch giving its value and its pullback; the step taken back. */
void forward_branches(Scope *s, Var *v, Expr *e);
void sweep_branches(Scope *s, const Step *st, Adj *d);
/* The dual of the function literal fn, which self (or NULL) is bound to. */
Atom forward_closure(Scope *s, const Fn *fn, Var *self);
/* The type of fn's result in the scope of its body. */
Type *result_type(Scope *s, const Fn *fn);
/* The result type of a pullback that gives tangents of these types, where it has to be said:
 * data nobody contributed to has no type of its own.  Else NULL. */
Type *pullback_type(Frame *f, int n, Type *const *tan);
/* The parameter of a pullback: what is given with respect to y, of type t. */
Var *cotangent(Scope *s, Type *t, Atom y, Adj **d);

/* ---- defer.c ------------------------------------------------------------------------------- */
/* May the gradient of v, parameter number param of fn (-1: a capture), be a list
 * of products?  self: the variable of a local function. */
bool  can_defer(const Fn *fn, const Var *self, const Var *v, Type *t, int param);
/* Such lists, of the weight w of an nn.dense: gy^T x before the rest; the sum, with the extents
 * of `like`. */
Atom  pairs_cons(AD *ad, Out o, Type *w, Atom gy, Atom x, Atom rest);
Atom  pairs_sum(AD *ad, Out o, Type *w, Atom pairs, Atom like);
/* Adjoints of a variable, which may be such a list: type, value, sum (see ad_tan, adj_value,
 * adj_add). */
Type *val_tan(AD *ad, const Val *v);
Atom  val_value(AD *ad, Out o, const Val *v, Adj *d);
Adj  *val_add(AD *ad, Out o, const Val *v, Adj *a, Adj *b);

/* ---- twin.c -------------------------------------------------------------------------------- */
struct Twin {
  Global *global;  const Fn *fn;  const TyEnv *env;  Frame *from;
  VarList caps;  bool *mask;  Var *self;               /* mask: over caps, then params */
  bool *plain;                      /* from outside: as it was (outside.c)             */
  bool *defer;                      /* given as a list of products                    */
  Dual *const *shape;               /* forward mode, in place of mask                 */
};
/* The twin of fn, of captures caps and of parameters, for those in mask (captures first), those
 * in plain (or NULL) being as they were; its code is made by twins_finish.  from, self: where it is
 * local, or NULL. */
Twin *twin_of(AD *ad, const Fn *fn, Sym name, const TyEnv *env, Frame *from, Var *self,
              const VarList *caps, const bool *mask, const bool *plain);
/* The same in forward mode: shape, of captures and parameters, for mask. */
Twin *forward_twin(AD *ad, const Fn *fn, Sym name, const TyEnv *env, Frame *from, Var *self,
                   const VarList *caps, Dual *const *shape);
/* In f, the frame of its code, the function of the twin is known by its variable. */
void  twin_know_self(Frame *f, const Twin *w);
/* Makes the code of all twins, and of those that it takes in turn; false after reporting. */
bool  twins_finish(AD *ad);
/* ---- forward_fn.c -------------------------------------------------------------------------- */
void  forward_make_twin(AD *ad, Twin *w);              /* its code                    */
/* ---- outside.c ----------------------------------------------------------------------------- */
/* Can x of type t, which was there before, become a dual?  The refs in it are state then. */
bool  outside_copies(AD *ad, Type *t);
/* Is a a value from outside that is or holds a function or a ref: as it was, not its dual?
 * What is taken out of it is from outside too. */
bool  outside_special(Scope *s, const Atom *a);
/* One that can become a dual?  Are these, which have no derivative, and others of them? */
bool  outside_is(Scope *s, const Atom *a);
bool  outside_only(Scope *s, const VarList *used);
/* x as a dual, with new shadows. */
Atom  outside_copy(AD *ad, Out o, Type *t, Atom x);
/* May refs of t hold what has a derivative?  They do: if that was not known the round
 * is made again, for reads were taken to be constants. */
bool  outside_warm(AD *ad, Type *t);
void  outside_warms(AD *ad, Type *t);
/* Do functions or refs from outside meet, in what uses these, what has a derivative? */
bool  outside_touched(Scope *s, const VarList *used);
/* What has a derivative is written to a ref: a mistake if that is from outside; if there
 * is a shadow, but not where the ref was made, the check says so when all code is made. */
void  outside_write(Scope *s, const ExRefWrite *w, bool dual);
void  outside_check(AD *ad);
/* ---- step.c -------------------------------------------------------------------------------- */
/* The function behind names, tuples and checkpoints: *fn is NULL if it is not in view. */
const Atom *ad_behind(AD *ad, const Atom *a, const Fn **fn);
/* Does fn reach no form that is still there? */
bool  ad_free_of_forms(AD *ad, const Fn *fn);
/* What AD knows of a function in the module, of one made since. */
void  ad_survey(AD *ad, Fn *fn);
/* ---- leftover.c ---------------------------------------------------------------------------- */
/* Takes away local functions, and names for functions, that nothing uses. */
void  drop_leftover(AD *ad);
/* ---- surface.c ----------------------------------------------------------------------------- */
/* The function a form (grad, vjp) of fn stands for; lifted: it becomes a
 * definition, else it stands where fn does. */
Fn   *surface_fn(AD *ad, DiffKind k, const Fn *fn, const TyEnv *env, bool lifted);
/* forward_fn.c: the same for jvp. */
Fn   *surface_jvp(AD *ad, const Fn *fn, const TyEnv *env, bool lifted);
#endif
