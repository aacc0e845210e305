/* instance.c -- functions of their own for instances of polymorphic ones.
 *
 * Done only where the types matter before the program is differentiated: where
 * fn(A) -> A is a function that becomes data (values.h), and, when there is a form
 * that needs to know its types, where forms are.                               */
#include "autodiff/values.h"

enum { MAX_INSTANCES = 2000 };

typedef struct {
  Values *v;
  Map made; /* key -> Global                                      */
  int n;
} Instances;

/* ---- must an instance be a function of its own? ------------------------------------ */

typedef struct {
  Instances *in;
  const TyEnv *env;
  Map *seen;
  bool yes;
} Search;

static void spell_env(const void *fn, const TyEnv *env, StrBuf *b) {
  buf_fmt(b, "%p", fn);
  for (; env; env = env->up) buf_fmt(b, " %p %s", (void *)env->var, type_text(env->type));
}

static Fn *general(const Expr *e) {
  return e && e->kind == EX_Fn && e->Fn.fn->n_vars ? e->Fn.fn : NULL;
}
static bool is_general(const Global *g) { return g->type && type_resolve(g->type)->fn.n_vars > 0; }

/* What the types are in the instance that a is, in code whose types env says. */
static const TyEnv *local_env(AD *ad, const Atom *a, const TyEnv *env) {
  return ad_without_dims(ad, ad_match(a->var->type, ad_close(ad, a->type, env), env));
}
static const TyEnv *global_env(AD *ad, const Atom *a, const TyEnv *env) {
  return ad_without_dims(ad, ad_match(a->global->type, ad_close(ad, a->type, env), NULL));
}

static bool matters(Instances *in, Fn *fn, const TyEnv *env, Map *seen);

static void search_var(void *ud, Var *var) {
  Search *s = ud;
  if (var->type) s->yes |= holds_value(s->in->v, ad_close(s->in->v->ad, var->type, s->env));
}
static void search_atom(void *ud, Atom *a) {
  Search *s = ud;
  AD *ad = s->in->v->ad;
  if (s->yes || !a->type) return;
  if (a->kind == ATOM_Global && is_general(a->global))
    s->yes = matters(s->in, a->global->fn, global_env(ad, a, s->env), s->seen);
  Fn *fn = a->kind == ATOM_Var ? general(map_get(&ad->bound, map_ptr(a->var))) : NULL;
  if (fn) s->yes = matters(s->in, fn, local_env(ad, a, s->env), s->seen);
}
static void search_block(void *ud, Block *b) {
  static const ExprVisit visit = {search_atom, search_block, NULL};
  Search *s = ud;
  for (int i = 0; i < b->n && !s->yes; i++) {
    Expr *e = b->at[i].value;
    s->yes |= diff_kind(e) && !s->in->v->type;
    ir_visit(e, &visit, ud);
  }
  search_atom(ud, &b->result);
}

static bool matters(Instances *in, Fn *fn, const TyEnv *env, Map *seen) {
  StrBuf b = {0};
  spell_env(fn, env, &b);
  uint64_t key = map_ptr(sym(in->v->ad->cx->syms, buf_text(&b)));
  if (map_get(seen, key)) return false;
  if (seen->n > MAX_INSTANCES) return true; /* of ever larger types: making them will say so */
  map_set(seen, key, fn);
  Search s = {in, env, seen, false};
  each_var(fn, search_var, &s);
  if (!s.yes) search_block(&s, fn->body);
  return s.yes;
}

/* ---- making them ------------------------------------------------------------------------ */

typedef struct {
  Instances *in;
  const TyEnv *env;
  Map *local; /* Var -> Expr of general functions in scope           */
  Out o;
} Place;

static void place_block(Place *p, Block *b);

static bool too_many(Instances *in) {
  AD *ad = in->v->ad;
  if (in->n++ < MAX_INSTANCES) return false;
  if (!ad->errors)
    ad_fail(ad, ad->span, "it would need more than %d functions of one type each", MAX_INSTANCES);
  return true;
}

static Fn *closed_copy(AD *ad, Fn *fn, const TyEnv *env, bool lifted, Map *vars) {
  Frame *f = frame_new(ad, env, lifted);
  Fn *made = plain_fn(f, fn, vars);
  if (fn->ret) made->ret = frame_annot(f, fn->ret);
  made->n_vars = 0;
  ad_survey(ad, made);
  return made;
}

static Global *instance_of(Instances *in, Global *g, const TyEnv *env) {
  AD *ad = in->v->ad;
  StrBuf b = {0};
  spell_env(g, env, &b);
  uint64_t key = map_ptr(sym(ad->cx->syms, buf_text(&b)));
  Global *made = map_get(&in->made, key);
  if (made || too_many(in)) return made ? made : g;
  Map vars = {0}, local = {0};
  made = ad_global(ad, g->name, closed_copy(ad, g->fn, env, true, &vars));
  made->span = g->span;
  made->library = g->library;
  made->content = g->content;
  map_set(&in->made, key, made);
  Place p = {in, env, &local, NULL};
  place_block(&p, made->fn->body);
  return made;
}

/* A local one is bound once more before it is used. */
static Var *local_instance(Place *p, const Atom *a, Fn *fn, const TyEnv *env) {
  AD *ad = p->in->v->ad;
  Map vars = {0};
  if (too_many(p->in)) return a->var;
  Var *v = ir_var(ad->cx, a->var->name, a->span);
  map_set(&vars, map_ptr(a->var), v);
  Expr *e = ir_expr(EX_Fn, a->span);
  e->Fn.fn = closed_copy(ad, fn, env, false, &vars);
  bb_push(p->o, v, e, BIND_Let);
  Place in = {p->in, env, p->local, NULL};
  place_block(&in, e->Fn.fn->body);
  return v;
}

static void place_atom(void *ud, Atom *a) {
  Place *p = ud;
  AD *ad = p->in->v->ad;
  Map seen = {0};
  if (!a->type) return;
  if (a->kind == ATOM_Global && is_general(a->global)) {
    const TyEnv *env = global_env(ad, a, p->env);
    if (matters(p->in, a->global->fn, env, &seen)) a->global = instance_of(p->in, a->global, env);
  }
  Fn *fn = a->kind == ATOM_Var ? general(map_get(p->local, map_ptr(a->var))) : NULL;
  if (!fn) return;
  const TyEnv *env = local_env(ad, a, p->env);
  if (matters(p->in, fn, env, &seen)) a->var = local_instance(p, a, fn, env);
}

static void place_sub(void *ud, Block *b) {
  Place in = *(Place *)ud;
  place_block(&in, b);
}
/* What a general function does is looked at where it is used. */
static void place_fn(void *ud, Fn *fn) {
  if (!fn->n_vars) place_sub(ud, fn->body);
}

/* Holds fn, whatever its types are, what nobody could expand? */
static bool is_template(Instances *in, Fn *fn) {
  Map seen = {0};
  return matters(in, fn, NULL, &seen);
}

static void place_block(Place *p, Block *b) {
  static const ExprVisit visit = {place_atom, place_sub, place_fn};
  BlockBuilder bb = {0};
  p->o = &bb;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    Fn *fn = general(e);
    if (fn) map_set(p->local, map_ptr(b->at[i].var), e);
    ir_visit(e, &visit, p);
    if (!fn || !is_template(p->in, fn)) bb_push(&bb, b->at[i].var, e, b->at[i].style);
  }
  place_atom(p, &b->result);
  b->n = bb.b.n;
  b->at = bb.b.at;
}

/* ---- what is left of the general ones ------------------------------------------------------ */

static int drop_templates(Instances *in) {
  Module *m = in->v->ad->m;
  bool *drop = NEW_N(bool, m->globals.n + 1);
  for (int i = 0; i < m->globals.n; i++) {
    Global *g = m->globals.at[i];
    drop[i] = is_general(g) && is_template(in, g->fn);
  }
  return drop_globals(m, drop);
}

int make_instances(Values *v) {
  Instances in = {.v = v};
  Module *m = v->ad->m;
  int n = m->globals.n;
  for (int i = 0; i < n && !v->ad->errors; i++) {
    Map local = {0};
    Place p = {&in, NULL, &local, NULL};
    if (!is_general(m->globals.at[i])) place_block(&p, m->globals.at[i]->fn->body);
  }
  if (!v->ad->errors) in.n += drop_templates(&in);
  return in.n;
}
