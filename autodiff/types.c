/* types.c -- tangent and dual types, and the data types they need.
 *
 * D_adj has D's parameters that have a tangent (the others vanish), so its
 * fields keep their extents.  The dual of data that holds functions or refs in
 * its own fields is made for each closed type, since a function's dual speaks
 * of two types for each of its parameters.                                    */
#include <string.h>
#include "autodiff/versions.h"

bool ad_fail(AD *ad, Span at, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const char *why = str_vfmt(fmt, ap);
  va_end(ap);
  ad->errors++;
  return diag_error(ad->d, at, E0403, why);
}

void ad_unknown(AD *ad, Span at, Type *t, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vec_push(&ad->unknown, ((Unknown){t, at, str_vfmt(fmt, ap)}));
  va_end(ap);
  ad->errors++;
}

bool ad_is_function(Type *t) {
  t = type_resolve(t);
  return t->kind == TY_Fn || (t->kind == TY_Data && t->data.def->functions);
}

/* ---- environments ------------------------------------------------------------- */

static Type *env_type(void *ud, TyVar *v) {
  for (const TyEnv *e = ud; e; e = e->up)
    if (e->var == v) return e->type;
  return NULL;
}
Type *ad_close(AD *ad, Type *t, const TyEnv *env) {
  if (!t) return NULL;
  return env ? type_subst(ad->cx->dims, t, env_type, NULL, (void *)(uintptr_t)env)
             : type_resolve(t);
}
const TyEnv *ad_env(int n, TyVar **var, Type **type, const TyEnv *up) {
  for (int i = 0; i < n; i++) {
    TyEnv *e = NEW(TyEnv);
    *e = (TyEnv){var[i], type[i], up};
    up = e;
  }
  return up;
}

static void match_list(int n, Type *const *s, int m, Type *const *t, const TyEnv **env) {
  for (int i = 0; i < n && i < m; i++) *env = ad_match(s[i], t[i], *env);
}
const TyEnv *ad_match(Type *s, Type *t, const TyEnv *env) {
  s = type_resolve(s), t = type_resolve(t);
  if (s->kind == TY_Var)
    return env_type((void *)(uintptr_t)env, s->var) ? env : ad_env(1, &s->var, &t, env);
  if (s->kind != t->kind) return env;
  switch (s->kind) {
  case TY_Tuple: match_list(s->tuple.n, s->tuple.at, t->tuple.n, t->tuple.at, &env); break;
  case TY_Fn:
    match_list(s->fn.n, s->fn.param, t->fn.n, t->fn.param, &env);
    return ad_match(s->fn.ret, t->fn.ret, env);
  case TY_Data: match_list(s->data.n, s->data.arg, t->data.n, t->data.arg, &env); break;
  case TY_Ref: return ad_match(s->ref, t->ref, env);
  case TY_Var:
  case TY_Tensor:
  case TY_Error:
  case TY_Meta: break;
  }
  return env;
}

/* ---- parts -------------------------------------------------------------------- */

int n_parts(const Type *t) {
  return t->kind == TY_Fn      ? t->fn.n + 1
         : t->kind == TY_Tuple ? t->tuple.n
         : t->kind == TY_Data  ? t->data.n
         : t->kind == TY_Ref   ? 1
                               : 0;
}
Type *part_type(const Type *t, int i) {
  switch (t->kind) {
  case TY_Fn: return i < t->fn.n ? t->fn.param[i] : t->fn.ret;
  case TY_Tuple: return t->tuple.at[i];
  case TY_Data: return t->data.arg[i];
  default: return t->ref;
  }
}
Type *with_parts(const Type *t, Type **at) {
  int n = n_parts(t);
  switch (t->kind) {
  case TY_Fn:
    return type_fn(t->fn.n_vars, t->fn.var, t->fn.n_dims, t->fn.dim, n - 1, at, at[n - 1]);
  case TY_Tuple: return type_tuple(n, at);
  case TY_Data: return type_data(t->data.def, n, at);
  default: return type_ref(at[0]);
  }
}

/* ---- questions ---------------------------------------------------------------- */

/* The parameters of the data type being made that have a tangent. */
typedef struct {
  const DataDef *def;
  uint64_t mask;
} Params;
enum { ASKING = 1, NO, YES };
typedef bool Ask(AD *ad, Type *t, const Params *p);
static Ask has_tan, special;

static Sym mask_key(AD *ad, const DataDef *def, uint64_t mask) {
  return sym(ad->cx->syms, str_fmt("%s %llx", def->name, (unsigned long long)mask));
}

/* What was found of types within this one while it was being asked about holds only
 * if it is so: true for any of them says nothing of the others. */
static void settle(Answers *a, bool yes) {
  for (int i = 0; i < a->open.n; i++)
    if ((uintptr_t)map_get(&a->known, a->open.at[i]) == ASKING)
      map_set(&a->known, a->open.at[i], (void *)(uintptr_t)(yes ? 0 : NO));
  a->open.n = 0;
}

/* Has the type of itself, when no more is known of its parameters than that
 * those in mask have a tangent? */
static bool of_itself(AD *ad, DataDef *def, uint64_t mask, Answers *a, Ask *ask) {
  uint64_t key = map_ptr(mask_key(ad, def, mask));
  uintptr_t known = (uintptr_t)map_get(&a->known, key);
  if (known) return known == YES;
  map_set(&a->known, key, (void *)ASKING);
  vec_push(&a->open, key);
  a->depth++;
  Params p = {def, mask};
  bool yes = false;
  for (int c = 0; c < def->n_ctors; c++)
    for (int i = 0; i < def->ctor[c]->n; i++) yes |= ask(ad, def->ctor[c]->field[i], &p);
  if (yes) map_set(&a->known, key, (void *)YES);
  if (--a->depth == 0) settle(a, yes);
  return yes;
}

static bool any_of(AD *ad, int n, Type *const *at, const Params *p, Ask *ask) {
  for (int i = 0; i < n; i++)
    if (ask(ad, at[i], p)) return true;
  return false;
}

static uint64_t param_mask(AD *ad, Type *data, const Params *p) {
  uint64_t mask = 0;
  for (int i = 0; i < data->data.n; i++)
    if (has_tan(ad, data->data.arg[i], p)) mask |= 1ull << i;
  return mask;
}

static bool has_tan(AD *ad, Type *t, const Params *p) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Tensor: return dtype_is_float(t->tensor.dtype);
  case TY_Tuple: return any_of(ad, t->tuple.n, t->tuple.at, p, has_tan);
  case TY_Data:
    if (version_is(ad, t)) return false;
    return any_of(ad, t->data.n, t->data.arg, p, has_tan) ||
           of_itself(ad, t->data.def, 0, &ad->intrinsic, has_tan);
  case TY_Var:
    for (int i = 0; p && p->def && i < p->def->n_vars; i++)
      if (p->def->var[i] == t->var) return p->mask >> i & 1;
    return false;
  case TY_Fn:
  case TY_Ref:
  case TY_Meta:
  case TY_Error: break;
  }
  return false;
}
bool ad_has_tan(AD *ad, Type *t) { return has_tan(ad, t, NULL); }

static bool special(AD *ad, Type *t, const Params *p) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Fn: return true;
  case TY_Ref: return has_tan(ad, t->ref, p) || special(ad, t->ref, p);
  case TY_Tuple: return any_of(ad, t->tuple.n, t->tuple.at, p, special);
  case TY_Data:
    if (version_is(ad, t)) return false;
    return any_of(ad, t->data.n, t->data.arg, p, special) ||
           of_itself(ad, t->data.def, param_mask(ad, t, p), &ad->special, special);
  case TY_Tensor:
  case TY_Var:
  case TY_Meta:
  case TY_Error: break;
  }
  return false;
}
bool ad_special(AD *ad, Type *t) { return special(ad, t, NULL); }
bool ad_holds(AD *ad, Type *t) { return ad_special(ad, t) || version_state(ad, t); }

bool ad_has_data(Type *t) {
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++)
    if (ad_has_data(t->tuple.at[i])) return true;
  return t->kind == TY_Data;
}

Sym ad_key(AD *ad, const char *what, Type *t) {
  return sym(ad->cx->syms, str_fmt("%s %s", what, type_text(t)));
}

/* ---- tangents ------------------------------------------------------------------- */

static Type *tan_of(AD *ad, Type *t, const Params *p);

static DataDef *adj_def(AD *ad, DataDef *of, uint64_t mask) {
  Sym key = mask_key(ad, of, mask);
  DataDef *d = map_get(&ad->adj, map_ptr(key));
  if (d) return d;
  d = ad_new_def(ad, str_fmt("%s_adj", of->name), of->span);
  map_set(&ad->adj, map_ptr(key), d);
  d->var = NEW_N(TyVar *, of->n_vars + 1);
  for (int i = 0; i < of->n_vars; i++)
    if (mask >> i & 1) d->var[d->n_vars++] = of->var[i];
  Params p = {of, mask};
  ad_new_ctor(ad, d, str_fmt("%s_zero", of->name), 0, of->n_ctors + 1);
  for (int i = 0; i < of->n_ctors; i++) {
    const Ctor *c = of->ctor[i];
    Ctor *made = ad_new_ctor(ad, d, str_fmt("%s_adj", c->name), c->n, 0);
    for (int k = 0; k < c->n; k++) made->field[k] = tan_of(ad, c->field[k], &p);
  }
  return d;
}

static Type *unit(void) { return type_tuple(0, NULL); }

static Type *tan_of(AD *ad, Type *t, const Params *p) {
  t = type_resolve(t);
  if (!has_tan(ad, t, p)) return unit();
  if (t->kind == TY_Tuple) {
    Type **at = NEW_N(Type *, t->tuple.n + 1);
    for (int i = 0; i < t->tuple.n; i++) at[i] = tan_of(ad, t->tuple.at[i], p);
    return type_tuple(t->tuple.n, at);
  }
  if (t->kind != TY_Data) return t;
  uint64_t mask = param_mask(ad, t, p);
  Type **arg = NEW_N(Type *, t->data.n + 1);
  int n = 0;
  for (int i = 0; i < t->data.n; i++)
    if (mask >> i & 1) arg[n++] = tan_of(ad, t->data.arg[i], p);
  return type_data(adj_def(ad, t->data.def, mask), n, arg);
}
Type *ad_tan(AD *ad, Type *t) { return tan_of(ad, t, NULL); }

Type *ad_field(AD *ad, Type *data, const Ctor *c, int i) {
  data = type_resolve(data);
  return ad_close(ad, c->field[i], ad_env(data->data.n, data->data.def->var, data->data.arg, NULL));
}

Ctor *ad_adj_ctor(AD *ad, Type *data, const Ctor *c) {
  return type_resolve(ad_tan(ad, data))->data.def->ctor[c->tag + 1];
}
Ctor *ad_zero_ctor(AD *ad, Type *data) { return type_resolve(ad_tan(ad, data))->data.def->ctor[0]; }

/* ---- duals ------------------------------------------------------------------------ */

static Type *dual_data(AD *ad, Type *t) {
  if (!of_itself(ad, t->data.def, param_mask(ad, t, NULL), &ad->special, special)) {
    Type **arg = NEW_N(Type *, t->data.n + 1);
    for (int i = 0; i < t->data.n; i++) arg[i] = ad_dual(ad, t->data.arg[i]);
    return type_data(t->data.def, t->data.n, arg);
  }
  return ad_closed_data(ad, "dual", t, ad_dual);
}

Type *ad_dual(AD *ad, Type *t) {
  t = type_resolve(t);
  if (!ad_special(ad, t)) return t;
  switch (t->kind) {
  case TY_Tuple: {
    Type **at = NEW_N(Type *, t->tuple.n + 1);
    for (int i = 0; i < t->tuple.n; i++) at[i] = ad_dual(ad, t->tuple.at[i]);
    return type_tuple(t->tuple.n, at);
  }
  case TY_Ref: {
    Type *held = type_ref(ad_dual(ad, t->ref));
    if (!ad_has_tan(ad, t->ref)) return held;
    return type_tuple(2, (Type *[]){held, type_ref(ad_tan(ad, t->ref))});
  }
  case TY_Data: return dual_data(ad, t);
  case TY_Fn: {
    Type **param = NEW_N(Type *, t->fn.n + 1), **back = NEW_N(Type *, t->fn.n + 1);
    for (int i = 0; i < t->fn.n; i++) {
      param[i] = ad_dual(ad, t->fn.param[i]);
      back[i] = ad_tan(ad, t->fn.param[i]);
    }
    Type *dy = ad_tan(ad, t->fn.ret);
    Type *pb = type_fn(0, NULL, 0, NULL, 1, &dy, type_tuple(t->fn.n, back));
    Type *ret = type_tuple(2, (Type *[]){ad_dual(ad, t->fn.ret), pb});
    return type_fn(0, NULL, 0, NULL, t->fn.n, param, ret);
  }
  case TY_Tensor:
  case TY_Var:
  case TY_Meta:
  case TY_Error: break;
  }
  return t;
}

Ctor *ad_dual_ctor(AD *ad, Type *data, Ctor *c) {
  return type_resolve(ad_dual(ad, data))->data.def->ctor[c->tag];
}
