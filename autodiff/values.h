/* values.h -- function values as data.  Private to the folder.
 *
 * A function that is not known where it is differentiated (a parameter, what an
 * `if` gives, an element of a list) is one of those that the module makes values
 * of.  Values of its type become data, a constructor for each such function with
 * what it captures as fields; a call of one becomes a call of `apply`, which
 * matches and runs the code (Reynolds, Definitional interpreters, 1972, section
 * 6).  What was not known is then a definition and data, and a gradient with
 * respect to captures is one with respect to fields.                           */
#ifndef RVM_AD_VALUES_H
#define RVM_AD_VALUES_H
#include "autodiff/ad.h"

/* A function that is used as a value: a definition, a local function or a form. */
typedef struct {
  Global *global;                   /* NULL: var, bound to e                     */
  Var *var;  const Expr *e;
  VarList caps;                     /* what it captures, where it stands         */
  VEC(Binding) known;               /* local functions it uses, those used first */
  Ctor *ctor;  int level;           /* Values.more holds it so often, as one of many */
  bool drop;                        /* the binding of var has no other use       */
} Intro;

/* Data that holds such functions by its arguments, Box[float64] of
 * type Box[A] { Box(fn(A) -> A) }: a type of its own, with those parameters that
 * its fields still speak of. */
typedef struct {
  Type *type;                       /* as it was met first                       */
  DataDef *def;
  uint64_t keep;                    /* of the parameters                         */
} Split;

typedef struct Shape Shape;
typedef struct Flow Flow;
typedef struct {
  AD *ad;
  Type *type;                       /* of these functions, as it was met first; NULL: none */
  const char *key;                  /* it, extents aside                         */
  Type *joint;                      /* with the extents that all have            */
  DataDef *def;
  Global *apply;
  VEC(Ctor *) more;                 /* of def, of what it holds, ..: those that no
                                     * constructor was left for are in it        */
  VEC(Intro *) intro;
  Map at;                           /* Var, Global -> Intro                      */
  Map same;                         /* Var -> Var in view that it is another name of */
  Map called;                       /* Var: called, or differentiated            */
  Map bound;                        /* Var -> Expr, new code too                 */
  Map *by_args;                     /* a type's spelling -> does it hold them by its arguments?
                                     * NULL: not asked                           */
  VEC(Split *) split;
  Map split_at;                     /* a type's spelling -> Split                */
  Map joined;                       /* a type's text                             */
  Flow *flow;                       /* of these only those of a class (flow.c); NULL: all */
} Values;

/* ---- values.c ------------------------------------------------------------------ */
const char *type_less_extents(Type *t);                /* its text, for maps */
/* Is t the type of these functions?  Does it hold it?  Extents do not matter. */
bool  is_value(const Values *v, Type *t);
bool  holds_value(const Values *v, Type *t);
/* t with data in place of functions; of a field, whose parameters env says. */
Type *values_type(const Values *v, Type *t);
Type *values_field(const Values *v, Type *t, const TyEnv *env);
/* t, extents aside. */
Sym   values_key(const Values *v, Type *t);
/* Every variable of fn, patterns' and nested ones too. */
void  each_var(Fn *fn, void (*see)(void *ud, Var *v), void *ud);
/* Takes definitions away; says how many. */
int   drop_globals(Module *m, const bool *drop);
/* Derivatives that are no longer in the module are to be made again. */
void  forget_derivatives(Module *m);
/* A function type, without type variables, that values of type t hold and
 * forms that are left do not give; NULL: none. */
Type *unknown_function(AD *ad, Type *t);
/* Turns values of function type t into data, or makes what it takes to know them.
 * false: there are none, or, after reporting, they cannot be. */
bool  values_to_data(AD *ad, Type *t);
/* ---- values_code.c ---------------------------------------------------------------- */
void  values_prepare(Values *v);    /* forms and calls of unknown functions: ready for the rest */
void  values_find(Values *v);       /* fills v->intro                                      */
void  values_make(Values *v);       /* the data type, its code and `apply`                */
void  values_rewrite(Values *v);
/* A function more, which is at (a Var or a Global). */
Intro *values_intro(Values *v, const void *at);
/* ---- values_host.c ---------------------------------------------------------------- */
void  values_given(Values *v);      /* definitions that only a host can give       */
/* ---- values_generic.c -------------------------------------------------------------- */
/* Does this data, without type variables, hold these functions by its arguments? */
bool  holds_by_args(const Values *v, Type *data);
/* What became of such data; NULL: t is none. */
const Split *split_of(const Values *v, Type *t);
bool  find_splits(Values *v);       /* all of them; false after reporting          */
void  make_splits(Values *v);       /* constructors and patterns of the new types  */
void  fill_splits(Values *v);       /* their fields, when there is data for functions */
/* Is a one of these functions, and not in view? */
bool  is_unknown(const Values *v, const Map *bound, const Atom *a);
/* ---- flow.c -------------------------------------------------------------------------- */
/* Parts the functions found by where they can be, if one of them would be of its own
 * derivative; v is then about one class, and they are to be found again.  */
bool  flow_classes(Values *v);
bool  flow_has(const Values *v, const Var *var);
void  flow_copy(const Values *v, const Var *from, const Var *to);
/* values_type of t: said of var; of a; of a field in its definition. */
Type *values_type_of(const Values *v, Type *t, const Var *var);
Type *values_type_as(const Values *v, Type *t, const Atom *a);
Type *values_type_field(const Values *v, Type *t);
/* ---- instance.c --------------------------------------------------------------------- */
/* Makes a function of its own for each instance of a polymorphic one in which
 * these functions, or forms of functions of unknown type, are; says how many. */
int   make_instances(Values *v);
/* ---- unfold.c ------------------------------------------------------------------------ */
/* Calls of definitions that give functions and differentiate become their bodies:
 * each then gives a function that is known.  Says how many. */
int   unfold_calls(AD *ad);
#endif
