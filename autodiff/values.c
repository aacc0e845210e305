/* values.c -- function values as data: which type, and types of the data.     */
#include <string.h>
#include "autodiff/values.h"

/* ---- types, extents aside -------------------------------------------------------- */

static void spell(Type *t, StrBuf *b);
static void spell_list(char open, int n, Type *const *at, StrBuf *b) {
  buf_char(b, open);
  for (int i = 0; i < n; i++) spell(at[i], b);
  buf_char(b, ')');
}
static void spell(Type *t, StrBuf *b) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Tensor: buf_fmt(b, "%s %d,", dtype_name(t->tensor.dtype), t->tensor.rank); return;
  case TY_Tuple: spell_list('(', t->tuple.n, t->tuple.at, b); return;
  case TY_Fn:
    spell_list(t->fn.n_vars ? 'p' : 'f', t->fn.n, t->fn.param, b);
    spell(t->fn.ret, b);
    return;
  case TY_Data:
    buf_fmt(b, "%p", (void *)t->data.def);
    spell_list('[', t->data.n, t->data.arg, b);
    return;
  case TY_Ref:
    buf_char(b, '&');
    spell(t->ref, b);
    return;
  case TY_Var: buf_fmt(b, "%p,", (void *)t->var); return;
  case TY_Meta:
  case TY_Error: buf_char(b, '?'); return;
  }
}

const char *type_less_extents(Type *t) {
  StrBuf b = {0};
  spell(t, &b);
  return buf_text(&b);
}
Sym values_key(const Values *v, Type *t) { return sym(v->ad->cx->syms, type_less_extents(t)); }

bool is_value(const Values *v, Type *t) {
  if (!v->type || !t || type_resolve(t)->kind != TY_Fn) return false;
  return !strcmp(type_less_extents(t), v->key);
}

bool holds_value(const Values *v, Type *t) {
  if (!v->type || !t) return false;
  t = type_resolve(t);
  if (is_value(v, t)) return true;
  for (int i = 0; i < n_parts(t); i++)
    if (holds_value(v, part_type(t, i))) return true;
  return t->kind == TY_Data && holds_by_args(v, t);
}

/* ---- a type with parts changed ------------------------------------------------------ */

typedef struct {
  const Values *v;
  const TyEnv *env;
} ToData;

static Type *to_data(const ToData *to, Type *t);
static Type *split_type(const Split *s, Type *t, const ToData *to) {
  Type **arg = NEW_N(Type *, t->data.n + 1);
  int n = 0;
  for (int i = 0; i < t->data.n; i++)
    if (s->keep >> i & 1) arg[n++] = to_data(to, t->data.arg[i]);
  return type_data(s->def, n, arg);
}
static Type *to_data(const ToData *to, Type *t) {
  t = type_resolve(t);
  Type *is = ad_close(to->v->ad, t, to->env);
  if (is_value(to->v, is)) return type_data(to->v->def, 0, NULL);
  const Split *s = split_of(to->v, is);
  if (s) return split_type(s, t, to);
  int n = n_parts(t);
  if (!n || !holds_value(to->v, is)) return t;
  Type **at = NEW_N(Type *, n + 1);
  for (int i = 0; i < n; i++) at[i] = to_data(to, part_type(t, i));
  return with_parts(t, at);
}
Type *values_field(const Values *v, Type *t, const TyEnv *env) {
  return t ? to_data(&(ToData){v, env}, t) : NULL;
}
Type *values_type(const Values *v, Type *t) { return values_field(v, t, NULL); }

/* The extents that a and b, the same otherwise, both have. */
static Type *both(AD *ad, Type *a, Type *b);
static Type **both_lists(AD *ad, int n, Type *const *a, Type *const *b) {
  Type **to = NEW_N(Type *, n + 1);
  for (int i = 0; i < n; i++) to[i] = both(ad, a[i], b[i]);
  return to;
}
static Type *both(AD *ad, Type *a, Type *b) {
  a = type_resolve(a), b = type_resolve(b);
  switch (a->kind) {
  case TY_Tensor: {
    Dim dim[MAX_RANK];
    for (int i = 0; i < a->tensor.rank; i++) {
      Dim d = a->tensor.dim[i];
      bool same = d->kind == DIM_Const && dim_equal(d, b->tensor.dim[i]);
      dim[i] = same ? d : dim_any(ad->cx->dims);
    }
    return type_tensor(a->tensor.dtype, a->tensor.rank, dim);
  }
  case TY_Tuple:
    return type_tuple(a->tuple.n, both_lists(ad, a->tuple.n, a->tuple.at, b->tuple.at));
  case TY_Fn:
    return type_fn(0, NULL, 0, NULL, a->fn.n, both_lists(ad, a->fn.n, a->fn.param, b->fn.param),
                   both(ad, a->fn.ret, b->fn.ret));
  case TY_Data:
    return type_data(a->data.def, a->data.n, both_lists(ad, a->data.n, a->data.arg, b->data.arg));
  case TY_Ref: return type_ref(both(ad, a->ref, b->ref));
  case TY_Var:
  case TY_Meta:
  case TY_Error: break;
  }
  return a;
}

/* ---- every variable -------------------------------------------------------------------- */

typedef struct {
  void (*see)(void *ud, Var *v);
  void *ud;
} EachVar;
static void vars_of_block(void *ud, Block *b);
static void vars_of_fn(void *ud, Fn *fn) {
  EachVar *w = ud;
  for (int i = 0; i < fn->n; i++) w->see(w->ud, fn->param[i]);
  vars_of_block(ud, fn->body);
}
static void vars_of_pattern(EachVar *w, Pattern *p) {
  if (p->var) w->see(w->ud, p->var);
  for (int i = 0; i < p->n; i++) vars_of_pattern(w, p->at[i]);
}
static void vars_of_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, vars_of_block, vars_of_fn};
  EachVar *w = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    w->see(w->ud, b->at[i].var);
    for (int k = 0; e->kind == EX_Match && k < e->Match.n_clauses; k++)
      vars_of_pattern(w, e->Match.clauses[k].pat);
    ir_visit(e, &visit, ud);
  }
}
void each_var(Fn *fn, void (*see)(void *ud, Var *v), void *ud) {
  EachVar w = {see, ud};
  vars_of_fn(&w, fn);
}

static void join_type(Values *v, Type *t);
static void join_fields(Values *v, Type *t) {
  uint64_t key = map_ptr(ad_key(v->ad, "joined", t));
  if (map_get(&v->joined, key)) return;
  map_set(&v->joined, key, t);
  for (int c = 0; c < t->data.def->n_ctors; c++)
    for (int i = 0; i < t->data.def->ctor[c]->n; i++)
      join_type(v, ad_field(v->ad, t, t->data.def->ctor[c], i));
}
static void join_type(Values *v, Type *t) {
  t = type_resolve(t);
  if (is_value(v, t)) v->joint = both(v->ad, t, v->joint ? v->joint : t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++) join_type(v, t->tuple.at[i]);
  for (int i = 0; t->kind == TY_Data && i < t->data.n; i++) join_type(v, t->data.arg[i]);
  if (t->kind == TY_Ref) join_type(v, t->ref);
  if (split_of(v, t)) join_fields(v, t);
  if (t->kind != TY_Fn) return;
  for (int i = 0; i < t->fn.n; i++) join_type(v, t->fn.param[i]);
  join_type(v, t->fn.ret);
}
static void join_var(void *ud, Var *var) {
  if (var->type) join_type(ud, var->type);
}

/* ---- definitions that go ------------------------------------------------------------------ */

void forget_derivatives(Module *m) {
  for (int i = 0; i < m->derivatives.n; i++) {
    const Global *g = m->derivatives.entry[i].value;
    if (g && (g->index >= m->globals.n || m->globals.at[g->index] != g))
      m->derivatives.entry[i].value = NULL;
  }
}

int drop_globals(Module *m, const bool *drop) {
  int n = 0, all = m->globals.n;
  for (int i = 0; i < all; i++) {
    Global *g = m->globals.at[i];
    if (drop[i]) {
      map_set(&m->global_by_name, map_ptr(g->name), NULL);
      continue;
    }
    g->index = n;
    m->globals.at[n++] = g;
  }
  m->globals.n = n;
  forget_derivatives(m);
  return all - n;
}

/* ---- which functions ---------------------------------------------------------------------- */

typedef struct {
  AD *ad;
  VEC(Type *) found;
  Map seen; /* DataDef and arguments                                  */
  const DefPath *path;
} Holds;
static void functions_in(Holds *h, Type *t) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Fn: vec_push(&h->found, t); return;
  case TY_Tuple:
    for (int i = 0; i < t->tuple.n; i++) functions_in(h, t->tuple.at[i]);
    return;
  case TY_Ref: functions_in(h, t->ref); return;
  case TY_Data: {
    if (ever_larger(h->path, t->data.def)) return;
    Sym key = ad_key(h->ad, "holds", t);
    if (map_get(&h->seen, map_ptr(key))) return;
    map_set(&h->seen, map_ptr(key), t);
    DefPath at = {t->data.def, h->path};
    h->path = &at;
    for (int c = 0; c < t->data.def->n_ctors; c++)
      for (int i = 0; i < t->data.def->ctor[c]->n; i++)
        functions_in(h, ad_field(h->ad, t, t->data.def->ctor[c], i));
    h->path = at.up;
    return;
  }
  case TY_Tensor:
  case TY_Var:
  case TY_Meta:
  case TY_Error: break;
  }
}

/* Is there a form, yet to be expanded, that gives such functions? */
typedef struct {
  const Values *v;
  bool yes;
} Gives;
static void gives_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, gives_block, NULL};
  Gives *g = ud;
  for (int i = 0; i < b->n && !g->yes; i++) {
    Expr *e = b->at[i].value;
    Type *t = e->type ? type_resolve(e->type) : NULL;
    if (diff_kind(e) && t && t->kind == TY_Fn) g->yes = holds_value(g->v, t->fn.ret);
    ir_visit(e, &visit, ud);
  }
}

static Values values_of(AD *ad, Type *t) {
  return (Values){.ad = ad, .type = t, .key = t ? type_less_extents(t) : "", .by_args = NEW(Map)};
}

Type *unknown_function(AD *ad, Type *t) {
  Holds h = {.ad = ad};
  functions_in(&h, t);
  for (int i = 0; i < h.found.n; i++) {
    Values v = values_of(ad, h.found.at[i]);
    Gives g = {&v, false};
    v.by_args = NULL; /* what a form gives in data are functions of its values */
    if (ad_has_vars(h.found.at[i])) continue;
    for (int k = 0; k < ad->m->globals.n; k++) gives_block(&g, ad->m->globals.at[k]->fn->body);
    if (!g.yes) return h.found.at[i];
  }
  return NULL;
}

/* ---- all of it -------- */

bool values_to_data(AD *ad, Type *t) {
  Values v = values_of(ad, t);
  Module *m = ad->m;
  if (make_instances(&v)) return true;
  if (!t || ad->errors) return false;
  if (!find_splits(&v)) return false;
  for (int i = 0; i < m->globals.n; i++) each_var(m->globals.at[i]->fn, join_var, &v);
  values_prepare(&v);
  values_find(&v);
  if (!v.split.n && flow_classes(&v)) values_find(&v);
  if (!v.intro.n) return v.same.n > 0; /* those that had another name are known now */
  make_splits(&v);
  values_make(&v);
  fill_splits(&v);
  for (int i = 0; i < m->types.n; i++)
    for (int c = 0; c < m->types.at[i]->n_ctors; c++) {
      Ctor *ctor = m->types.at[i]->ctor[c];
      for (int k = 0; k < ctor->n; k++) ctor->field[k] = values_type_field(&v, ctor->field[k]);
    }
  values_rewrite(&v);
  return true;
}
