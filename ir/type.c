/* type.c -- construction, comparison and substitution of types.
 *
 * Types are shared freely, so a pointer compare settles most questions; only
 * what differs is walked.  Function types compare up to renaming of what they
 * quantify: the walk carries the pairs of bound names met on the way down.   */
#include "ir/type.h"
#include <string.h>

/* ---- construction ---- */

static Type *type_new(TypeKind kind) {
  Type *t = NEW(Type);
  t->kind = kind;
  return t;
}

static void *copy(const void *at, size_t size, int n) {
  if (n == 0) return NULL;
  void *p = mem_get_n(size, (size_t)n);
  memcpy(p, at, size * (size_t)n);
  return p;
}
#define COPY(at, n) copy((at), sizeof *(at), (n))

TyVar **tyvar_one(Sym name, Span span) {
  TyVar **one = NEW_N(TyVar *, 1);
  one[0] = NEW(TyVar);
  *one[0] = (TyVar){name, span};
  return one;
}

Type *type_error(void) { return type_new(TY_Error); }

Type *type_tensor(DType dt, int rank, const Dim *dim) {
  Type *t = type_new(TY_Tensor);
  t->tensor.dtype = dt;
  t->tensor.rank = rank;
  t->tensor.dim = COPY(dim, rank);
  return t;
}

Type *type_scalar(DType dt) { return type_tensor(dt, 0, NULL); }

Type *type_tuple(int n, Type **at) {
  Type *t = type_new(TY_Tuple);
  t->tuple.n = n;
  t->tuple.at = COPY(at, n);
  return t;
}

Type *type_fn(int n_vars, TyVar **var, int n_dims, Dim *dim, int n, Type **param, Type *ret) {
  Type *t = type_new(TY_Fn);
  t->fn.n_vars = n_vars;
  t->fn.var = COPY(var, n_vars);
  t->fn.n_dims = n_dims;
  t->fn.dim = COPY(dim, n_dims);
  t->fn.n = n;
  t->fn.param = COPY(param, n);
  t->fn.ret = ret;
  return t;
}

Type *type_data(DataDef *def, int n, Type **arg) {
  Type *t = type_new(TY_Data);
  t->data.def = def;
  t->data.n = n;
  t->data.arg = COPY(arg, n);
  return t;
}

Type *type_ref(Type *of) {
  Type *t = type_new(TY_Ref);
  t->ref = of;
  return t;
}

Type *type_var(TyVar *v) {
  Type *t = type_new(TY_Var);
  t->var = v;
  return t;
}

Type *type_meta(int level, int id) {
  Type *t = type_new(TY_Meta);
  t->meta.level = level;
  t->meta.id = id;
  return t;
}

/* ---- questions ---- */

Type *type_resolve(Type *t) {
  while (t->kind == TY_Meta && t->meta.is) {
    Type *next = t->meta.is;
    if (next->kind == TY_Meta && next->meta.is) t->meta.is = next->meta.is; /* shorten */
    t = next;
  }
  return t;
}

bool type_is_scalar(const Type *t) { return t->kind == TY_Tensor && t->tensor.rank == 0; }
bool type_is_scalar_of(const Type *t, DType dt) {
  return type_is_scalar(t) && t->tensor.dtype == dt;
}

/* ---- equality up to renaming ---- */

/* One pair of function types being compared: a's k-th quantifier is b's. */
typedef struct Scope {
  const Type *a, *b;
  const struct Scope *up;
} Scope;

static bool same_var(const TyVar *a, const TyVar *b, const Scope *s) {
  for (; s; s = s->up)
    for (int i = 0; i < s->a->fn.n_vars; i++) {
      bool left = s->a->fn.var[i] == a, right = s->b->fn.var[i] == b;
      if (left || right) return left && right;
    }
  return a == b;
}

static bool same_sym(Dim a, Dim b, const Scope *s) {
  for (; s; s = s->up)
    for (int i = 0; i < s->a->fn.n_dims; i++) {
      bool left = s->a->fn.dim[i] == a, right = s->b->fn.dim[i] == b;
      if (left || right) return left && right;
    }
  return a == b;
}

static bool same_dim(Dim a, Dim b, const Scope *s);

/* Terms are sorted by id, which renaming does not keep: look for a partner. */
static bool same_sum(Dim a, Dim b, const Scope *s) {
  if (a->n_terms != b->n_terms || a->value != b->value) return false;
  for (int i = 0; i < a->n_terms; i++) {
    int j = 0;
    while (j < b->n_terms &&
           (a->term[i].coeff != b->term[j].coeff || !same_dim(a->term[i].atom, b->term[j].atom, s)))
      j++;
    if (j == b->n_terms) return false;
  }
  return true;
}

static int chain_length(Dim d) {
  int n = 1;
  for (DimKind kind = d->kind; d->kind == kind; d = d->a) n++;
  return n;
}

static Dim chain_at(Dim d, int i) { /* i-th operand from the end */
  DimKind kind = d->kind;
  for (; i > 0 && d->kind == kind; i--) d = d->a;
  return d->kind == kind ? d->b : d;
}

/* a * b * c and its like: the same operands, in any order, each once. */
static bool same_chain(Dim a, Dim b, const Scope *s) {
  enum { MOST = 64 };
  int n = chain_length(a);
  bool taken[MOST] = {false};
  if (n != chain_length(b) || n > MOST) return false;
  for (int i = 0; i < n; i++) {
    int j = 0;
    while (j < n && (taken[j] || !same_dim(chain_at(a, i), chain_at(b, j), s))) j++;
    if (j == n) return false;
    taken[j] = true;
  }
  return true;
}

static bool same_dim(Dim a, Dim b, const Scope *s) {
  if (a == b && !s) return true;
  if (a->kind != b->kind) return false;
  switch (a->kind) {
  case DIM_Const: return a->value == b->value;
  case DIM_Any: return true;
  case DIM_Sym: return same_sym(a, b, s);
  case DIM_Meta: return a == b;
  case DIM_Sum: return same_sum(a, b, s);
  case DIM_Div:
  case DIM_Mod: return same_dim(a->a, b->a, s) && same_dim(a->b, b->b, s);
  case DIM_Mul:
  case DIM_Max:
  case DIM_Min:
  case DIM_Bcast: return same_chain(a, b, s);
  }
  return false;
}

static bool same_type(Type *a, Type *b, const Scope *s);

static bool same_types(int n, Type **a, Type **b, const Scope *s) {
  for (int i = 0; i < n; i++)
    if (!same_type(a[i], b[i], s)) return false;
  return true;
}

static bool same_tensor(const Type *a, const Type *b, const Scope *s) {
  if (a->tensor.dtype != b->tensor.dtype || a->tensor.rank != b->tensor.rank) return false;
  for (int i = 0; i < a->tensor.rank; i++)
    if (!same_dim(a->tensor.dim[i], b->tensor.dim[i], s)) return false;
  return true;
}

static bool same_fn(Type *a, Type *b, const Scope *up) {
  if (a->fn.n != b->fn.n || a->fn.n_vars != b->fn.n_vars || a->fn.n_dims != b->fn.n_dims)
    return false;
  Scope here = {a, b, up};
  const Scope *s = a->fn.n_vars || a->fn.n_dims ? &here : up;
  return same_types(a->fn.n, a->fn.param, b->fn.param, s) && same_type(a->fn.ret, b->fn.ret, s);
}

static bool same_type(Type *a, Type *b, const Scope *s) {
  a = type_resolve(a);
  b = type_resolve(b);
  if (a == b && !s) return true;
  if (a->kind != b->kind) return false;
  switch (a->kind) {
  case TY_Error: return true;
  case TY_Tensor: return same_tensor(a, b, s);
  case TY_Tuple:
    return a->tuple.n == b->tuple.n && same_types(a->tuple.n, a->tuple.at, b->tuple.at, s);
  case TY_Fn: return same_fn(a, b, s);
  case TY_Data:
    return a->data.def == b->data.def && a->data.n == b->data.n &&
           same_types(a->data.n, a->data.arg, b->data.arg, s);
  case TY_Ref: return same_type(a->ref, b->ref, s);
  case TY_Var: return same_var(a->var, b->var, s);
  case TY_Meta: return a == b;
  }
  return false;
}

bool type_same(Type *a, Type *b) { return same_type(a, b, NULL); }

/* ---- substitution ---- */

typedef struct {
  DimTab *dt;
  Type *(*ty)(void *, TyVar *);
  Dim (*dim)(void *, Dim);
  void *ud;
} Subst;

static Type *subst(const Subst *s, Type *t);

/* The list with every element replaced; the list itself if nothing changed. */
static Type **subst_list(const Subst *s, int n, Type **at) {
  Type **made = NULL;
  for (int i = 0; i < n; i++) {
    Type *x = subst(s, at[i]);
    if (x == at[i]) continue;
    if (!made) made = COPY(at, n);
    made[i] = x;
  }
  return made ? made : at;
}

static Type *subst_tensor(const Subst *s, Type *t) {
  Dim *made = NULL;
  for (int i = 0; i < t->tensor.rank && s->dim; i++) {
    Dim d = dim_subst(s->dt, t->tensor.dim[i], s->dim, s->ud);
    if (d == t->tensor.dim[i]) continue;
    if (!made) made = COPY(t->tensor.dim, t->tensor.rank);
    made[i] = d;
  }
  return made ? type_tensor(t->tensor.dtype, t->tensor.rank, made) : t;
}

static Type *subst_fn(const Subst *s, Type *t) {
  Type **param = subst_list(s, t->fn.n, t->fn.param), *ret = subst(s, t->fn.ret);
  if (param == t->fn.param && ret == t->fn.ret) return t;
  return type_fn(t->fn.n_vars, t->fn.var, t->fn.n_dims, t->fn.dim, t->fn.n, param, ret);
}

static Type *subst(const Subst *s, Type *t) {
  t = type_resolve(t);
  Type **list, *to;
  switch (t->kind) {
  case TY_Error:
  case TY_Meta: return t;
  case TY_Tensor: return subst_tensor(s, t);
  case TY_Tuple:
    list = subst_list(s, t->tuple.n, t->tuple.at);
    return list == t->tuple.at ? t : type_tuple(t->tuple.n, list);
  case TY_Fn: return subst_fn(s, t);
  case TY_Data:
    list = subst_list(s, t->data.n, t->data.arg);
    return list == t->data.arg ? t : type_data(t->data.def, t->data.n, list);
  case TY_Ref: to = subst(s, t->ref); return to == t->ref ? t : type_ref(to);
  case TY_Var: to = s->ty ? s->ty(s->ud, t->var) : NULL; return to ? to : t;
  }
  return t;
}

Type *type_subst(DimTab *dt, Type *t, Type *(*ty)(void *, TyVar *), Dim (*dim)(void *, Dim),
                 void *ud) {
  return subst(&(Subst){dt, ty, dim, ud}, t);
}
