/* type.h -- the types of the language.
 *
 * Types are immutable trees (inference variables excepted: see Meta).  A
 * rank-0 tensor is a scalar and prints as its bare element type.             */
#ifndef RVM_IR_TYPE_H
#define RVM_IR_TYPE_H
#include "base/dtype.h"
#include "base/source.h"
#include "base/vec.h"
#include "ir/dim.h"

enum { MAX_RANK = 8 };

typedef struct Type Type;
typedef struct DataDef DataDef;
typedef struct TyVar { Sym name; Span span; } TyVar;        /* compared by pointer */

typedef enum {
  TY_Error,      /* poison: has every type, so one mistake is one message     */
  TY_Tensor, TY_Tuple, TY_Fn, TY_Data, TY_Ref, TY_Var,
  TY_Meta        /* typeinfer's unification variable; `_` in the text         */
} TypeKind;

struct Type {
  TypeKind kind;
  union {
    struct { DType dtype; int rank; Dim *dim; } tensor;
    struct { int n; Type **at; } tuple;
    struct {                       /* fn[A, n](P...) -> R                      */
      int n_vars;  TyVar **var;    /* quantified types ...                     */
      int n_dims;  Dim *dim;       /* ... and dims (DIM_Sym), explicit or not  */
      int n;       Type **param;
      Type *ret;
    } fn;
    struct { DataDef *def; int n; Type **arg; } data;
    Type *ref;
    TyVar *var;
    struct { Type *is; int level; int id; } meta;       /* is: NULL unsolved   */
  };
};

typedef struct Ctor {
  Sym name;  Span span;
  DataDef *def;  int tag;          /* position in def                          */
  int n;  Type **field;            /* over def->var                            */
  Sym *field_name;                 /* NULL, or names for dotted paths          */
  const char *doc;
  Sym shown;                       /* NULL, or its name for whoever runs the program */
} Ctor;
struct DataDef {
  Sym name;  Span span;
  int n_vars;   TyVar **var;
  int n_ctors;  Ctor **ctor;
  bool is_extern;                  /* `extern type Name`: no constructors      */
  const char *doc;
  bool library;                    /* came from the prelude or an import       */
  bool functions;                  /* made for function values: no gradient is asked of it */
  bool versions;                   /* made for what is in refs: autodiff/versions.h        */
  const char *shown;               /* NULL, or its type for whoever runs the program */
};

TyVar **tyvar_one(Sym name, Span span);    /* [name]: the variables where n_vars is 1 */
Type *type_error(void);
Type *type_tensor(DType dt, int rank, const Dim *dim);      /* copies dim      */
Type *type_scalar(DType dt);
Type *type_tuple(int n, Type **at);                         /* copies at       */
Type *type_fn(int n_vars, TyVar **var, int n_dims, Dim *dim, int n, Type **param, Type *ret);
Type *type_data(DataDef *def, int n, Type **arg);
Type *type_ref(Type *t);
Type *type_var(TyVar *v);
Type *type_meta(int level, int id);
Type *type_resolve(Type *t);               /* follows solved metas at the top  */
bool  type_is_scalar(const Type *t);       /* rank-0 tensor                    */
bool  type_is_scalar_of(const Type *t, DType dt);
/* Same structure, same dims by dim_equal (Any equals Any here); fn types up to
 * renaming of what they quantify. */
bool  type_same(Type *a, Type *b);
/* Replace type variables / dim symbols; either callback may be NULL. */
Type *type_subst(DimTab *dt, Type *t, Type *(*ty)(void *, TyVar *), Dim (*dim)(void *, Dim), void *ud);
char *type_text(Type *t);                  /* as in the language, from base/mem.h */
#endif
