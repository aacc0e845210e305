/* types.c -- closing types over an environment, and their image form.
 *
 * Inside a program dims are erased from image types: two tensors of equal
 * dtype and rank share one.  Only the parameters of an entry keep their
 * constant extents, for the host's sake.                                     */
#include "codegen/lower/lower_priv.h"

/* ---- environments ------------------------------------------------------------- */
typedef struct {
  IrCtx *cx;
  const TyEnv *env;
} Closing;

static Type *close_var(void *ud, TyVar *v) {
  for (const TyEnv *e = ((Closing *)ud)->env; e; e = e->up)
    if (e->var == v) return e->type;
  return NULL;
}
Type *ty_close(IrCtx *cx, Type *t, const TyEnv *env) {
  Closing c = {cx, env};
  return env ? type_subst(cx->dims, t, close_var, NULL, &c) : t;
}

void ty_weigh(Type *t, int *left) {
  t = type_resolve(t);
  if (--*left < 0) return;
  int n = t->kind == TY_Tuple  ? t->tuple.n
          : t->kind == TY_Data ? t->data.n
          : t->kind == TY_Fn   ? t->fn.n
                               : 0;
  Type **at = t->kind == TY_Tuple ? t->tuple.at : t->kind == TY_Data ? t->data.arg : t->fn.param;
  for (int i = 0; i < n && *left >= 0; i++) ty_weigh(at[i], left);
  if (t->kind == TY_Fn) ty_weigh(t->fn.ret, left);
  if (t->kind == TY_Ref) ty_weigh(t->ref, left);
}
static const TyEnv *bind(TyVar *v, Type *t, const TyEnv *env) {
  TyEnv *e = NEW(TyEnv);
  *e = (TyEnv){v, t, env};
  return e;
}
/* An instance is shared by all callers whose types agree up to dims, so what
 * its type variables stand for must not name a caller's dims. */
static Dim forget(void *ud, Dim s) {
  (void)s;
  return dim_any(((IrCtx *)ud)->dims);
}
static Type *without_dims(IrCtx *cx, Type *t) { return type_subst(cx->dims, t, NULL, forget, cx); }

static bool bound(const TyEnv *env, const TyEnv *until, TyVar *v) {
  for (; env != until; env = env->up)
    if (env->var == v) return true;
  return false;
}

static void match(IrCtx *cx, Type *s, Type *t, const TyEnv **env, const TyEnv *until) {
  s = type_resolve(s), t = type_resolve(t);
  switch (s->kind) {
  case TY_Var:
    if (!bound(*env, until, s->var)) *env = bind(s->var, without_dims(cx, t), *env);
    return;
  case TY_Tuple:
    for (int i = 0; t->kind == TY_Tuple && i < s->tuple.n && i < t->tuple.n; i++)
      match(cx, s->tuple.at[i], t->tuple.at[i], env, until);
    return;
  case TY_Fn:
    for (int i = 0; t->kind == TY_Fn && i < s->fn.n && i < t->fn.n; i++)
      match(cx, s->fn.param[i], t->fn.param[i], env, until);
    if (t->kind == TY_Fn) match(cx, s->fn.ret, t->fn.ret, env, until);
    return;
  case TY_Data:
    for (int i = 0; t->kind == TY_Data && i < s->data.n && i < t->data.n; i++)
      match(cx, s->data.arg[i], t->data.arg[i], env, until);
    return;
  case TY_Ref:
    if (t->kind == TY_Ref) match(cx, s->ref, t->ref, env, until);
    return;
  case TY_Tensor:
  case TY_Error:
  case TY_Meta: return;
  }
}
const TyEnv *ty_match(IrCtx *cx, Type *scheme, Type *inst, const TyEnv *env) {
  const TyEnv *out = env;
  match(cx, scheme, inst, &out, env);
  return out;
}

/* ---- keys: one text per image type ---------------------------------------------- */
static void key(Type *t, bool host, StrBuf *b) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Tensor:
    buf_fmt(b, "%s:%d", dtype_name(t->tensor.dtype), t->tensor.rank);
    for (int i = 0; host && i < t->tensor.rank; i++) {
      int64_t v;
      buf_fmt(b, ",%lld", dim_is_const(t->tensor.dim[i], &v) ? (long long)v : -1ll);
    }
    return;
  case TY_Tuple:
    buf_char(b, '(');
    for (int i = 0; i < t->tuple.n; i++) key(t->tuple.at[i], false, b), buf_char(b, ';');
    buf_char(b, ')');
    return;
  case TY_Fn:
    buf_char(b, '[');
    for (int i = 0; i < t->fn.n; i++) key(t->fn.param[i], false, b), buf_char(b, ';');
    buf_char(b, ']');
    key(t->fn.ret, false, b);
    return;
  case TY_Data:
    buf_fmt(b, "%s<", t->data.def->name);
    for (int i = 0; i < t->data.n; i++) key(t->data.arg[i], false, b), buf_char(b, ';');
    buf_char(b, '>');
    return;
  case TY_Ref:
    buf_char(b, '&');
    key(t->ref, false, b);
    return;
  case TY_Var:
  case TY_Meta:
  case TY_Error: buf_str(b, "()"); return; /* never looked at: any type will do */
  }
}

static uint32_t new_type(Lower *L, uint64_t at, IType t) {
  uint32_t i = (uint32_t)L->types.n;
  vec_push(&L->types, t);
  map_set(&L->type_at, at, (void *)(uintptr_t)(i + 1));
  return i;
}

static uint32_t tensor_type(Lower *L, uint64_t at, Type *t, bool host) {
  IType it = {.kind = t->tensor.rank ? IT_TENSOR : IT_SCALAR,
              .dtype = (uint8_t)t->tensor.dtype,
              .rank = (uint8_t)t->tensor.rank,
              .first_dim = (uint32_t)L->dims.n};
  for (int i = 0; i < t->tensor.rank; i++) {
    int64_t v = -1;
    if (!host || !dim_is_const(t->tensor.dim[i], &v)) v = -1;
    vec_push(&L->dims, v);
  }
  return new_type(L, at, it);
}

/* Fields of constructors may mention the type itself, so it is entered first. */
static uint32_t data_type(Lower *L, uint64_t at, const char *name, int n_ctors, bool tuple) {
  IType it = {.kind = IT_DATA,
              .is_tuple = tuple,
              .name = low_text(L, name),
              .n_ctors = (uint32_t)n_ctors,
              .first_ctor = (uint32_t)L->ctors.n};
  for (int i = 0; i < n_ctors; i++) vec_push(&L->ctors, ((ICtor){0}));
  return new_type(L, at, it);
}
static void set_fields(Lower *L, uint32_t type, int ctor, const char *name, int n,
                       Type *const *field) {
  uint32_t *f = NEW_N(uint32_t, n + 1);
  for (int i = 0; i < n; i++) f[i] = low_itype(L, field[i]);
  uint32_t first = (uint32_t)L->type_list.n;
  for (int i = 0; i < n; i++) vec_push(&L->type_list, f[i]);
  L->ctors.at[L->types.at[type].first_ctor + (uint32_t)ctor] =
      (ICtor){.name = low_text(L, name), .n_fields = (uint32_t)n, .first_field = first};
}

static void set_field_names(Lower *L, ICtor *c, const Ctor *k) {
  c->n_names = (uint32_t)k->n, c->first_name = (uint32_t)L->name_list.n;
  for (int i = 0; i < k->n; i++) {
    uint32_t name = low_text(L, k->field_name[i]);
    vec_push(&L->name_list, name);
  }
}

static uint32_t adt(Lower *L, uint64_t at, Type *t) {
  DataDef *def = t->data.def;
  uint32_t type = data_type(L, at, def->shown ? def->shown : type_text(t), def->n_ctors, false);
  const TyEnv *env = NULL;
  for (int i = 0; i < def->n_vars && i < t->data.n; i++)
    env = bind(def->var[i], t->data.arg[i], env);
  for (int c = 0; c < def->n_ctors; c++) {
    Ctor *k = def->ctor[c];
    Type **field = NEW_N(Type *, k->n + 1);
    for (int i = 0; i < k->n; i++) field[i] = ty_close(L->cx, k->field[i], env);
    set_fields(L, type, c, k->shown ? k->shown : k->name, k->n, field);
    if (k->field_name)
      set_field_names(L, &L->ctors.at[L->types.at[type].first_ctor + (uint32_t)c], k);
  }
  return type;
}

/* A data type that has itself at ever larger arguments within has no end. */
enum { MAX_ADT_DEPTH = 200, MAX_ADT_NODES = 50000 };
static uint32_t adt_bounded(Lower *L, uint64_t at, Type *t) {
  int left = MAX_ADT_NODES;
  ty_weigh(t, &left);
  if (left < 0 || L->adt_depth >= MAX_ADT_DEPTH) {
    if (L->d->n_errors == 0)
      diag_error(L->d, t->data.def->span, E0401, t->data.def->name,
                 "its fields hold it at ever larger types");
    return low_scalar(L, DT_bool);
  }
  L->adt_depth++;
  uint32_t type = adt(L, at, t);
  L->adt_depth--;
  return type;
}

static uint32_t fn_type(Lower *L, uint64_t at, Type *t) {
  uint32_t type = new_type(L, at, (IType){.kind = IT_CLOSURE});
  uint32_t *p = NEW_N(uint32_t, t->fn.n + 1);
  for (int i = 0; i < t->fn.n; i++) p[i] = low_itype(L, t->fn.param[i]);
  uint32_t result = low_itype(L, t->fn.ret);
  IType *it = &L->types.at[type];
  it->n_list = (uint32_t)t->fn.n, it->first_list = (uint32_t)L->type_list.n, it->result = result;
  for (int i = 0; i < t->fn.n; i++) vec_push(&L->type_list, p[i]);
  return type;
}

static uint32_t itype(Lower *L, Type *t, bool host) {
  StrBuf b = {0};
  t = type_resolve(t);
  key(t, host, &b);
  uint64_t at = map_ptr(sym(L->cx->syms, buf_text(&b)));
  void *found = map_get(&L->type_at, at);
  if (found) return (uint32_t)(uintptr_t)found - 1;
  switch (t->kind) {
  case TY_Tensor: return tensor_type(L, at, t, host);
  case TY_Data: return adt_bounded(L, at, t);
  case TY_Fn: return fn_type(L, at, t);
  case TY_Ref: {
    uint32_t type = new_type(L, at, (IType){.kind = IT_REF});
    uint32_t content = low_itype(L, t->ref);
    L->types.at[type].result = content;
    return type;
  }
  case TY_Tuple: {
    uint32_t type = data_type(L, at, type_text(t), 1, true);
    set_fields(L, type, 0, "", t->tuple.n, t->tuple.at);
    return type;
  }
  case TY_Var:
  case TY_Meta:
  case TY_Error: break;
  }
  uint32_t type = data_type(L, at, "()", 1, true);
  set_fields(L, type, 0, "", 0, NULL);
  return type;
}
uint32_t low_itype(Lower *L, Type *t) { return itype(L, t, false); }
uint32_t low_itype_host(Lower *L, Type *t) { return itype(L, t, true); }
uint32_t low_scalar(Lower *L, DType t) { return low_itype(L, type_scalar(t)); }
uint32_t low_tensor(Lower *L, DType t, int rank) {
  Dim any[MAX_RANK];
  for (int i = 0; i < rank; i++) any[i] = dim_any(L->cx->dims);
  return low_itype(L, type_tensor(t, rank, any));
}
bool itype_is_ref(const Lower *L, uint32_t t) { return L->types.at[t].kind != IT_SCALAR; }
