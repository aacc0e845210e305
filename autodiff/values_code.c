/* values_code.c -- function values as data: the code.
 *
 *   type Function { Fn_f(float64), .. }            what f captures
 *   def @code_f(%c, %x) { ..the body of f.. }
 *   def @apply(%f: Function, %x) { match (%f) { Fn_f(%c) => @code_f(%c, %x), .. } }
 *
 * A local function whose calls are in view keeps them: only where it is a value
 * does the constructor stand.                                                  */
#include "autodiff/values.h"

/* A function whose definition is in view: calls of it stay calls of it. */
static bool in_view(const Expr *e) { return e && (e->kind == EX_Fn || diff_kind(e)); }
static bool var_in_view(const Map *bound, const Atom *a) {
  return a->kind == ATOM_Var && in_view(map_get(bound, map_ptr(a->var)));
}
static bool is_one(const Values *v, const Var *var) {
  return is_value(v, var->type) && flow_has(v, var);
}
bool is_unknown(const Values *v, const Map *bound, const Atom *a) {
  return a->kind == ATOM_Var && is_one(v, a->var) && !var_in_view(bound, a);
}
/* A definition as a value, in another class than these. */
static bool is_other(const Values *v, const Binding *b) {
  return b->value->kind == EX_Just && b->value->Just.value.kind == ATOM_Global &&
         !flow_has(v, b->var);
}

/* ---- before: forms and calls of what is not known ------------------------------------ */

static Dim forget_unnamed(void *ud, Dim s) {
  return s->name ? NULL : dim_any(((AD *)ud)->cx->dims);
}
static bool is_tensors(Type *t) {
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++)
    if (!is_tensors(t->tuple.at[i])) return false;
  return t->kind == TY_Tensor || t->kind == TY_Tuple;
}
/* The extents of t that have names are said where its variable is bound: `apply`
 * says less. */
static void say_extents(AD *ad, Var *v) {
  if (v->annot || !v->type || !is_tensors(v->type)) return;
  v->annot = type_subst(ad->cx->dims, v->type, NULL, forget_unnamed, ad);
}

/* What is said of a function where it is used is not said of it as data. */
static void say_params(AD *ad, Fn *fn) {
  for (int i = 0; i < fn->n; i++) {
    Var *v = fn->param[i];
    if (!v->annot && !ad_has_vars(v->type))
      v->annot = type_subst(ad->cx->dims, v->type, NULL, forget_unnamed, ad);
  }
}

static Var *typed_var(AD *ad, const char *name, Type *t, Span at) {
  Var *v = ir_var(ad->cx, name ? sym(ad->cx->syms, name) : NULL, at);
  v->type = t;
  return v;
}

/* fn (x, ...) { f(x, ...) } */
static Atom wrapped(AD *ad, Out o, const Atom *f) {
  Type *t = type_resolve(f->var->type);
  Fn *fn = NEW(Fn);
  *fn = (Fn){.span = f->span, .n = t->fn.n, .param = NEW_N(Var *, t->fn.n + 1)};
  Expr *call = ir_expr(EX_Call, f->span), *e = ir_expr(EX_Fn, f->span);
  call->type = t->fn.ret;
  call->Call.callee = *f;
  call->Call.n_args = t->fn.n;
  call->Call.args = NEW_N(Atom, t->fn.n + 1);
  for (int i = 0; i < t->fn.n; i++) {
    fn->param[i] = typed_var(ad, "x", t->fn.param[i], f->span);
    fn->param[i]->annot = type_subst(ad->cx->dims, t->fn.param[i], NULL, forget_unnamed, ad);
    call->Call.args[i] = atom_var(fn->param[i], f->span);
    call->Call.args[i].type = t->fn.param[i];
  }
  BlockBuilder bb = {0};
  Var *y = typed_var(ad, NULL, t->fn.ret, f->span), *k = typed_var(ad, "f", t, f->span);
  bb_push(&bb, y, call, BIND_Graph);
  Atom r = atom_var(y, f->span);
  r.type = t->fn.ret;
  say_extents(ad, y);
  fn->body = bb_done(&bb, r, f->span);
  e->type = t;
  e->Fn.fn = fn;
  bb_push(o, k, e, BIND_Let);
  map_set(&ad->bound, map_ptr(k), e);
  Atom a = atom_var(k, f->span);
  a.type = t;
  return a;
}

static void prepare_form(Values *v, Out o, Expr *e) {
  const Fn *fn;
  Atom *f = &e->Call.args[0];
  if (f->kind != ATOM_Var || !is_value(v, f->var->type)) return;
  const Atom *target = ad_behind(v->ad, f, &fn);
  bool known = target->kind == ATOM_Global || var_in_view(&v->ad->bound, target);
  if (known)
    *f = *target;
  else
    *f = wrapped(v->ad, o, target);
}

/* Another name of a function in view is that function. */
static void prepare_atom(void *ud, Atom *a) {
  Values *v = ud;
  Var *to = a->kind == ATOM_Var ? map_get(&v->same, map_ptr(a->var)) : NULL;
  if (to) a->var = to;
}
static bool is_alias(Values *v, const Binding *b) {
  const Expr *e = b->value;
  if (e->kind != EX_Just || !is_value(v, b->var->type)) return false;
  if (!var_in_view(&v->ad->bound, &e->Just.value)) return false;
  map_set(&v->same, map_ptr(b->var), e->Just.value.var);
  return true;
}

static void prepare_block(void *ud, Block *b) {
  static const ExprVisit visit = {prepare_atom, prepare_block, NULL};
  Values *v = ud;
  BlockBuilder bb = {0};
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    if (e->kind == EX_Fn) say_params(v->ad, e->Fn.fn);
    if (diff_kind(e))
      prepare_form(v, &bb, e);
    else if (e->kind == EX_Call && is_unknown(v, &v->ad->bound, &e->Call.callee))
      say_extents(v->ad, b->at[i].var);
    ir_visit(e, &visit, ud);
    if (!is_alias(v, &b->at[i])) bb_push(&bb, b->at[i].var, e, b->at[i].style);
  }
  prepare_atom(v, &b->result);
  b->n = bb.b.n;
  b->at = bb.b.at;
}
void values_prepare(Values *v) {
  for (int i = 0; i < v->ad->m->globals.n; i++) prepare_block(v, v->ad->m->globals.at[i]->fn->body);
}

/* ---- the functions --------------------------------------------------------------------- */

/* What is in view of what e uses, in order, and what else it uses. */
static void resolve(Values *v, Intro *k, const Expr *e) {
  VarList free = {0};
  ad_free_of(e, &free);
  for (int i = 0; i < free.n; i++) {
    Var *w = free.at[i];
    Expr *def = map_get(&v->ad->bound, map_ptr(w));
    bool seen = w == k->var;
    for (int n = 0; n < k->caps.n; n++) seen |= k->caps.at[n] == w;
    for (int n = 0; n < k->known.n; n++) seen |= k->known.at[n].var == w;
    if (seen || (def && def == e)) continue;
    if (!in_view(def)) {
      vec_push(&k->caps, w);
      continue;
    }
    resolve(v, k, def);
    vec_push(&k->known, ((Binding){w, def, BIND_Let}));
  }
}

Intro *values_intro(Values *v, const void *at) {
  Intro *k = NEW(Intro);
  vec_push(&v->intro, k);
  map_set(&v->at, map_ptr(at), k);
  return k;
}

static void find_atom(void *ud, Atom *a) {
  Values *v = ud;
  if (a->kind == ATOM_Global && is_value(v, a->type) && !map_get(&v->at, map_ptr(a->global)))
    values_intro(v, a->global)->global = a->global;
  if (a->kind != ATOM_Var || !is_one(v, a->var) || map_get(&v->at, map_ptr(a->var))) return;
  const Expr *e = map_get(&v->ad->bound, map_ptr(a->var));
  if (!in_view(e)) return;
  Intro *k = values_intro(v, a->var);
  k->var = a->var;
  k->e = e;
  resolve(v, k, e);
}

static void find_block(void *ud, Block *b) {
  static const ExprVisit visit = {find_atom, find_block, NULL};
  Values *v = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    if (is_other(v, &b->at[i])) continue;
    if (e->kind != EX_Call) {
      ir_visit(e, &visit, ud);
      continue;
    }
    const Atom *f = diff_kind(e) ? &e->Call.args[0] : &e->Call.callee;
    if (f->kind == ATOM_Var) map_set(&v->called, map_ptr(f->var), f->var);
    for (int n = 0; n < e->Call.n_args && !diff_kind(e); n++) find_atom(ud, &e->Call.args[n]);
  }
  find_atom(ud, &b->result);
}

void values_find(Values *v) {
  v->intro.n = 0;
  v->at = v->called = (Map){0};
  for (int i = 0; i < v->ad->m->globals.n; i++) find_block(v, v->ad->m->globals.at[i]->fn->body);
  values_given(v);
  for (int i = 0; i < v->intro.n; i++) {
    Intro *k = v->intro.at[i];
    k->drop = k->var && !map_get(&v->called, map_ptr(k->var));
  }
}

/* ---- their code ---------------------------------------------------------------------------- */

/* An image has at most 255 constructors of a type. */
enum { CTORS = 200 };

static int n_at(const Values *v, int level) {
  int left = v->intro.n - level * CTORS;
  return left < CTORS ? left : CTORS;
}

static void define_level(Values *v, DataDef *def, int level) {
  AD *ad = v->ad;
  for (int i = 0; i < n_at(v, level); i++) {
    Intro *k = v->intro.at[level * CTORS + i];
    Sym name = k->global ? k->global->name : k->var->name;
    k->level = level;
    k->ctor = ad_new_ctor(ad, def, str_fmt("Fn_%s", name ? name : "f"), k->caps.n, CTORS + 1);
    if (k->global) k->ctor->shown = sym(ad->cx->syms, str_fmt("@%s", k->global->name));
    for (int c = 0; c < k->caps.n; c++) {
      const Var *cap = k->caps.at[c];
      k->ctor->field[c] = values_type_of(v, nameless(ad, cap->type), cap);
    }
  }
}

static DataDef *new_functions(AD *ad) {
  DataDef *def = ad_new_def(ad, "Function", ad->span);
  def->functions = true;
  return def;
}

static void define(Values *v) {
  DataDef *def = v->def = new_functions(v->ad);
  def->shown = type_text(nameless(v->ad, v->joint));
  for (int level = 0; n_at(v, level) > 0; level++) {
    define_level(v, def, level);
    if (n_at(v, level + 1) <= 0) return;
    Ctor *more = ad_new_ctor(v->ad, def, "Fn_more", 1, CTORS + 1);
    def = new_functions(v->ad);
    more->field[0] = type_data(def, 0, NULL);
    vec_push(&v->more, more);
  }
}

/* Where code was copied the same functions are values. */
static void know_copies(Values *v, const Map *vars, const Intro *own) {
  for (int i = 0; i < v->intro.n; i++) {
    const Intro *k = v->intro.at[i];
    void *to;
    if (!k->var || !map_find(vars, map_ptr(k->var), &to)) continue;
    Intro *copy = NEW(Intro);
    *copy = (Intro){.var = to, .ctor = k->ctor, .level = k->level, .drop = k->drop && k != own};
    for (int c = 0; c < k->caps.n; c++) {
      void *cap;
      if (!map_find(vars, map_ptr(k->caps.at[c]), &cap)) cap = k->caps.at[c];
      vec_push(&copy->caps, (Var *)cap);
    }
    map_set(&v->at, map_ptr(to), copy);
  }
}

/* The body of k, or a call of it: with the local functions that it uses. */
static Block *source_of(AD *ad, const Intro *k, Var **param, bool inside) {
  BlockBuilder bb = {0};
  for (int i = 0; i < k->known.n; i++) vec_push(&bb.b, k->known.at[i]);
  if (inside) {
    const Block *b = k->e->Fn.fn->body;
    for (int i = 0; i < b->n; i++) vec_push(&bb.b, b->at[i]);
    return bb_done(&bb, b->result, k->e->span);
  }
  Type *t = type_resolve(k->var->type);
  Atom *arg = NEW_N(Atom, t->fn.n + 1);
  for (int i = 0; i < t->fn.n; i++) arg[i] = atom_var(param[i], k->e->span);
  bb_push(&bb, k->var, (Expr *)(uintptr_t)k->e, BIND_Let);
  return bb_done(&bb, em_call(ad, &bb, atom_var(k->var, k->e->span), t->fn.n, arg), k->e->span);
}

/* def @code(captures, parameters) */
static Global *code_of(Values *v, const Intro *k) {
  AD *ad = v->ad;
  Type *t = type_resolve(k->var->type);
  const Fn *fn = k->e->kind == EX_Fn ? k->e->Fn.fn : NULL;
  VarList free = {0};
  if (fn) ir_free_vars(fn, &free);
  bool inside = fn != NULL;
  for (int i = 0; i < free.n; i++) inside &= free.at[i] != k->var;
  int n = k->caps.n + t->fn.n;
  Var **orig = NEW_N(Var *, n + 1), **param = NEW_N(Var *, n + 1);
  Type **type = NEW_N(Type *, n + 1);
  Frame *f = frame_new(ad, NULL, true);
  ad->span = k->e->span;
  for (int i = 0; i < n; i++) {
    int p = i - k->caps.n;
    orig[i] = p < 0 ? k->caps.at[i]
              : fn  ? fn->param[p]
                    : typed_var(ad, "x", t->fn.param[p], ad->span);
    type[i] = orig[i]->type;
  }
  DimVec dims = {0};
  frame_dims(f, NULL, n, type, &dims);
  for (int i = 0; i < n; i++) {
    param[i] = ir_var(ad->cx, orig[i]->name, orig[i]->span);
    param[i]->annot = frame_annot(f, type[i]);
    param[i]->type = type[i];
    if (i >= k->caps.n && !inside) continue;
    Val *x = NEW(Val);
    *x =
        (Val){.orig = orig[i], .type = type[i], .at = atom_var(param[i], ad->span), .has_at = true};
    map_set(&f->val, map_ptr(orig[i]), x);
  }
  Map vars = {0};
  Fn whole = {.span = k->e->span, .body = source_of(ad, k, param + k->caps.n, inside)};
  Fn *made = plain_fn(f, &whole, &vars);
  made->n = n;
  made->param = param;
  made->n_dims = dims.n;
  made->dim = dims.at;
  for (int i = 0; i < vars.n; i++)
    flow_copy(v, (const Var *)(uintptr_t)vars.entry[i].key, vars.entry[i].value);
  know_copies(v, &vars, inside ? NULL : k);
  return ad_global(ad, str_fmt("code_%s", k->var->name ? k->var->name : "f"), made);
}

/* C(field, ...) => callee(field, ..., x, ...) */
static void apply_case(Values *v, Cases *c, Ctor *ctor, Global *callee, Var *const *x) {
  AD *ad = v->ad;
  int n = v->joint->fn.n;
  Var **field = NEW_N(Var *, ctor->n + 1);
  Pattern *p = pattern_of(ad, ctor, field);
  Atom *arg = NEW_N(Atom, ctor->n + n + 1);
  for (int a = 0; a < ctor->n; a++) arg[a] = var_atom(ad, field[a]);
  for (int a = 0; a < n; a++) arg[ctor->n + a] = var_atom(ad, x[a]);
  BlockBuilder one = {0};
  add_case(ad, c, p, &one, em_call(ad, &one, atom_global(callee, ad->span), ctor->n + n, arg));
}

/* def @apply(f, x, ...) { match (f) { C(c, ...) => code(c, ..., x, ...), ... } } */
static void make_apply(Values *v, Global *apply, Global *const *code, int level) {
  AD *ad = v->ad;
  int n = v->joint->fn.n;
  DataDef *def = level ? type_resolve(v->more.at[level - 1]->field[0])->data.def : v->def;
  Fn *fn = apply->fn;
  *fn = (Fn){.span = ad->span, .n = n + 1, .param = NEW_N(Var *, n + 1)};
  fn->param[0] = ad_var(ad, "f", type_data(def, 0, NULL));
  for (int i = 0; i < n; i++) fn->param[i + 1] = ad_var(ad, "x", v->joint->fn.param[i]);
  BlockBuilder bb = {0};
  Cases c = cases_of(ad, var_atom(ad, fn->param[0]));
  for (int i = 0; i < n_at(v, level); i++)
    apply_case(v, &c, v->intro.at[level * CTORS + i]->ctor, code[level * CTORS + i], fn->param + 1);
  if (level < v->more.n) {
    Global *rest = ad_global(ad, "apply", NEW(Fn));
    apply_case(v, &c, v->more.at[level], rest, fn->param + 1);
    make_apply(v, rest, code, level + 1);
  }
  fn->ret = v->joint->fn.ret;
  fn->body = bb_done(&bb, end_cases(ad, &bb, &c), ad->span);
}

void values_make(Values *v) {
  AD *ad = v->ad;
  define(v);
  Global **code = NEW_N(Global *, v->intro.n + 1);
  v->apply = ad_global(ad, "apply", NEW(Fn));
  for (int i = 0; i < v->intro.n; i++) {
    const Intro *k = v->intro.at[i];
    code[i] = k->global ? k->global : code_of(v, k);
  }
  make_apply(v, v->apply, code, 0);
}

/* ---- the module over data -------- */

typedef struct {
  Values *v;
  Out o;
} Rewrite;

static void rewrite_block(Values *v, Block *b);
static void rewrite_sub(void *ud, Block *b) { rewrite_block(((Rewrite *)ud)->v, b); }

static void rewrite_head(Values *v, Fn *fn) {
  for (int i = 0; i < fn->n; i++)
    fn->param[i]->annot = values_type_of(v, fn->param[i]->annot, fn->param[i]);
  fn->ret = values_type_as(v, fn->ret, &fn->body->result);
}
static void rewrite_fn(void *ud, Fn *fn) {
  rewrite_head(((Rewrite *)ud)->v, fn);
  rewrite_sub(ud, fn->body);
}

static void rewrite_atom(void *ud, Atom *a) {
  Rewrite *r = ud;
  const Intro *k = NULL;
  if (a->kind == ATOM_Var) k = map_get(&r->v->at, map_ptr(a->var));
  if (a->kind == ATOM_Global) k = map_get(&r->v->at, map_ptr(a->global));
  if (!k) return;
  AD *ad = r->v->ad;
  Atom *cap = NEW_N(Atom, k->caps.n + 1);
  ad->span = a->span;
  for (int i = 0; i < k->caps.n; i++) cap[i] = var_atom(ad, k->caps.at[i]);
  *a = em_call(ad, r->o, ad_ctor_atom(ad, k->ctor), k->caps.n, cap);
  for (int i = k->level; i-- > 0;) *a = em_call(ad, r->o, ad_ctor_atom(ad, r->v->more.at[i]), 1, a);
}

static void rewrite_call(Rewrite *r, Expr *e) {
  ExCall *c = &e->Call;
  for (int i = 0; i < c->n_args; i++) rewrite_atom(r, &c->args[i]);
  c->inst = NULL;
  if (!is_unknown(r->v, &r->v->bound, &c->callee)) return;
  Atom *arg = NEW_N(Atom, c->n_args + 1);
  arg[0] = c->callee;
  for (int i = 0; i < c->n_args; i++) arg[i + 1] = c->args[i];
  c->callee = atom_global(r->v->apply, e->span);
  c->n_args++;
  c->args = arg;
}

static void rewrite_pattern(Values *v, Pattern *p) {
  if (p->var) p->var->annot = values_type_of(v, p->var->annot, p->var);
  for (int i = 0; i < p->n; i++) rewrite_pattern(v, p->at[i]);
}

static void rewrite_block(Values *v, Block *b) {
  static const ExprVisit visit = {rewrite_atom, rewrite_sub, rewrite_fn};
  BlockBuilder bb = {0};
  Rewrite r = {v, &bb};
  for (int i = 0; i < b->n; i++) {
    Var *var = b->at[i].var;
    Expr *e = b->at[i].value;
    const Intro *k = map_get(&v->at, map_ptr(var));
    map_set(&v->bound, map_ptr(var), e);
    if (k && k->drop) continue;
    if (!k) var->annot = values_type_of(v, var->annot, var);
    for (int c = 0; e->kind == EX_Match && c < e->Match.n_clauses; c++)
      rewrite_pattern(v, e->Match.clauses[c].pat);
    if (e->kind == EX_MatchCast) e->MatchCast.to = values_type_of(v, e->MatchCast.to, var);
    if (is_other(v, &b->at[i]))
      ; /* as it is */
    else if (e->kind != EX_Call)
      ir_visit(e, &visit, &r);
    else if (!diff_kind(e))
      rewrite_call(&r, e);
    bb_push(&bb, var, e, b->at[i].style);
  }
  rewrite_atom(&r, &b->result);
  b->n = bb.b.n;
  b->at = bb.b.at;
}

void values_rewrite(Values *v) {
  for (int i = 0; i < v->ad->m->globals.n; i++) {
    Fn *fn = v->ad->m->globals.at[i]->fn;
    rewrite_head(v, fn);
    rewrite_block(v, fn->body);
  }
}
