/* values_generic.c -- function values as data: data that holds them by its arguments.
 *
 *   type Box[A] { Box(fn (A) -> A), Two(A, Box[A]) }
 *
 * When fn(float64) -> float64 becomes data, Box[float64] becomes a type of its own,
 *
 *   type Box_2[A] { Box_2(Function), Two_2(A, Box_2[A]) }
 *
 * and all other instances of Box stay what they are.  Parameters that fields still
 * speak of are kept: so are the extents that were known of them.                */
#include "autodiff/values.h"

/* ---- which types -------------------------------------------------------------------- */

typedef bool Ask(void *ud, Type *t);
static bool any_in(int n, Type *const *at, Ask *ask, void *ud) {
  for (int i = 0; i < n; i++)
    if (ask(ud, type_resolve(at[i]))) return true;
  return false;
}
/* Of any of the types that t is made of? */
static bool any_part(Type *t, Ask *ask, void *ud) {
  for (int i = 0; i < n_parts(t); i++)
    if (ask(ud, type_resolve(part_type(t, i)))) return true;
  return false;
}

static const TyEnv *args_of(Type *data) {
  return ad_env(data->data.n, data->data.def->var, data->data.arg, NULL);
}

/* From data through the fields whose types its arguments say. */
typedef struct {
  const Values *v;
  const TyEnv *env;
  Map *seen;
  const DefPath *path;
} Search;

static bool reaches(const Search *from, Type *data);
static bool part_reaches(void *ud, Type *t) {
  const Search *s = ud;
  if (t->kind == TY_Var || !ad_has_vars(t)) return false;
  Type *is = ad_close(s->v->ad, t, s->env);
  return is_value(s->v, is) || (is->kind == TY_Data && reaches(s, is)) ||
         any_part(t, part_reaches, ud);
}
static bool reaches(const Search *from, Type *data) {
  const DataDef *def = data->data.def;
  uint64_t key = map_ptr(values_key(from->v, data));
  if (!def->n_vars || map_get(from->seen, key) || ever_larger(from->path, def)) return false;
  map_set(from->seen, key, data);
  DefPath path = {def, from->path};
  Search s = {from->v, args_of(data), from->seen, &path};
  for (int c = 0; c < def->n_ctors; c++)
    if (any_in(def->ctor[c]->n, def->ctor[c]->field, part_reaches, &s)) return true;
  return false;
}

enum { NO = 1, YES };
bool holds_by_args(const Values *v, Type *data) {
  if (!data->data.n || !v->by_args) return false;
  uint64_t key = map_ptr(values_key(v, data));
  uintptr_t known = (uintptr_t)map_get(v->by_args, key);
  if (!known) {
    Map seen = {0};
    known = reaches(&(Search){v, NULL, &seen, NULL}, data) ? YES : NO;
    map_set(v->by_args, key, (void *)known);
  }
  return known == YES;
}

const Split *split_of(const Values *v, Type *t) {
  t = type_resolve(t);
  if (!v->split.n || t->kind != TY_Data || !t->data.n) return NULL;
  return map_get(&v->split_at, map_ptr(values_key(v, t)));
}

/* ---- all of them in a module ----------------------------------------------------------- */

typedef struct {
  Values *v;
  Map seen; /* a type's spelling -> its first                        */
  const DefPath *path;
} Find;

static bool find_in(void *ud, Type *t) {
  Find *f = ud;
  Values *v = f->v;
  if (t->kind != TY_Data) return any_part(t, find_in, ud);
  uint64_t key = map_ptr(values_key(v, t));
  if (map_get(&f->seen, key) || ever_larger(f->path, t->data.def)) return false;
  map_set(&f->seen, key, t);
  if (holds_by_args(v, t)) {
    Split *s = NEW(Split);
    s->type = t;
    vec_push(&v->split, s);
    map_set(&v->split_at, key, s);
  }
  DefPath path = {t->data.def, f->path};
  f->path = &path;
  for (int c = 0; c < t->data.def->n_ctors; c++)
    for (int i = 0; i < t->data.def->ctor[c]->n; i++)
      find_in(ud, type_resolve(ad_field(v->ad, t, t->data.def->ctor[c], i)));
  f->path = path.up;
  return any_part(t, find_in, ud);
}
static void find_var(void *ud, Var *var) {
  if (var->type) find_in(ud, type_resolve(var->type));
}

/* ---- the parameters that are kept -------------------------------------------------------- */

typedef struct {
  const Values *v;
  const TyEnv *env;
  const TyVar *var;
} Keeps;

static bool keeps(void *ud, Type *t) {
  const Keeps *k = ud;
  if (t->kind == TY_Var) return t->var == k->var;
  if (!ad_has_vars(t)) return false;
  Type *is = ad_close(k->v->ad, t, k->env);
  if (is_value(k->v, is)) return false;
  const Split *s = split_of(k->v, is);
  if (!s) return any_part(t, keeps, ud);
  for (int i = 0; i < t->data.n; i++)
    if ((s->keep >> i & 1) && keeps(ud, type_resolve(t->data.arg[i]))) return true;
  return false;
}

/* Does s keep more, now that others keep what they do? */
static bool keep_more(const Values *v, Split *s) {
  const DataDef *of = s->type->data.def;
  Keeps k = {v, args_of(s->type), NULL};
  uint64_t was = s->keep;
  for (int i = 0; i < of->n_vars; i++)
    for (int c = 0; c < of->n_ctors; c++) {
      k.var = of->var[i];
      if (any_in(of->ctor[c]->n, of->ctor[c]->field, keeps, &k)) s->keep |= 1ull << i;
    }
  return s->keep != was;
}

/* The gradient of data that holds functions of functions would hold, of the same
 * constructors, functions of (). */
static bool has_gradient(const Find *f, const Split *s) {
  AD *ad = f->v->ad;
  uint64_t key = map_ptr(values_key(f->v, diff_cotangent(s->type)));
  if (key == map_ptr(values_key(f->v, s->type)) || !map_get(&f->seen, key)) return true;
  return ad_fail(ad, ad->span, "the gradient of a value of type %s would hold its functions",
                 type_text(s->type));
}

bool find_splits(Values *v) {
  const Module *m = v->ad->m;
  Find f = {.v = v};
  for (int i = 0; i < m->globals.n; i++) each_var(m->globals.at[i]->fn, find_var, &f);
  for (int i = 0; i < m->types.n; i++)
    if (!m->types.at[i]->n_vars) find_in(&f, type_data(m->types.at[i], 0, NULL));
  for (bool more = true; more;) {
    more = false;
    for (int i = 0; i < v->split.n; i++) more |= keep_more(v, v->split.at[i]);
  }
  for (int i = 0; i < v->split.n; i++)
    if (!has_gradient(&f, v->split.at[i])) return false;
  return true;
}

/* ---- the types and what speaks of them --------------------------------------------------- */

static void define(AD *ad, Split *s) {
  const DataDef *of = s->type->data.def;
  DataDef *d = s->def = ad_new_def(ad, of->name, of->span);
  d->shown = of->shown ? of->shown : type_text(nameless(ad, s->type));
  d->doc = of->doc;
  d->library = of->library;
  d->var = NEW_N(TyVar *, of->n_vars + 1);
  for (int i = 0; i < of->n_vars; i++)
    if (s->keep >> i & 1) d->var[d->n_vars++] = of->var[i];
  for (int i = 0; i < of->n_ctors; i++) {
    const Ctor *c = of->ctor[i];
    Ctor *made = ad_new_ctor(ad, d, c->name, c->n, of->n_ctors);
    made->shown = c->shown ? c->shown : c->name;
    made->field_name = c->field_name;
    made->doc = c->doc;
  }
}

static void replace_ctor(const Values *v, Type *t, Ctor **c) {
  const Split *s = t ? split_of(v, t) : NULL;
  if (s) *c = s->def->ctor[(*c)->tag];
}
static void replace_pattern(const Values *v, Pattern *p) {
  if (p->kind == PAT_Ctor) replace_ctor(v, p->type, &p->ctor);
  for (int i = 0; i < p->n; i++) replace_pattern(v, p->at[i]);
}
static void replace_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, replace_block, NULL};
  const Values *v = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    if (e->kind == EX_Call && e->Call.callee.kind == ATOM_Ctor)
      replace_ctor(v, b->at[i].var->type, &e->Call.callee.ctor);
    for (int c = 0; e->kind == EX_Match && c < e->Match.n_clauses; c++)
      replace_pattern(v, e->Match.clauses[c].pat);
    ir_visit(e, &visit, ud);
  }
}

void make_splits(Values *v) {
  const Module *m = v->ad->m;
  for (int i = 0; i < v->split.n; i++) define(v->ad, v->split.at[i]);
  for (int i = 0; i < m->globals.n && v->split.n; i++) replace_block(v, m->globals.at[i]->fn->body);
}

void fill_splits(Values *v) {
  for (int i = 0; i < v->split.n; i++) {
    const Split *s = v->split.at[i];
    const TyEnv *env = args_of(s->type);
    for (int c = 0; c < s->def->n_ctors; c++) {
      const Ctor *of = s->type->data.def->ctor[c];
      for (int k = 0; k < of->n; k++)
        s->def->ctor[c]->field[k] = values_field(v, of->field[k], env);
    }
  }
}
