/* tower.c -- forms that reach themselves: which they are, and what takes their place. */
#include <string.h>
#include "autodiff/tower.h"
#include "autodiff/values.h"

/* ---- what code reaches --------------------------------------------------------------------- */

typedef struct {
  AD *ad;
  Map seen; /* Fn                                                  */
  VEC(const Fn *) todo;
  VEC(Expr *) call; /* forms and operators met                             */
} Reach;

static void reach_fn(Reach *r, const Fn *fn) {
  if (map_get(&r->seen, map_ptr(fn))) return;
  map_set(&r->seen, map_ptr(fn), r);
  vec_push(&r->todo, fn);
}
static void reach_atom(void *ud, Atom *a) {
  Reach *r = ud;
  if (a->kind == ATOM_Global) reach_fn(r, a->global->fn);
  if (a->kind != ATOM_Var || map_get(&r->seen, map_ptr(a->var))) return;
  map_set(&r->seen, map_ptr(a->var), r);
  static const ExprVisit visit = {reach_atom, NULL, NULL};
  Expr *e = map_get(&r->ad->bound, map_ptr(a->var));
  if (!e) return;
  if (e->kind == EX_Fn) reach_fn(r, e->Fn.fn);
  if (e->kind == EX_Just || diff_kind(e)) ir_visit(e, &visit, r);
  if (diff_kind(e)) vec_push(&r->call, e);
}
static void reach_block(void *ud, Block *b) {
  static const ExprVisit visit = {reach_atom, reach_block, NULL};
  Reach *r = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    if (e->kind == EX_Call && e->Call.callee.kind == ATOM_Op) vec_push(&r->call, e);
    ir_visit(e, &visit, ud);
  }
  reach_atom(ud, &b->result);
}
/* All of it; more may be added when it is through. */
static void reach_rest(Reach *r) {
  while (r->todo.n) reach_block(r, r->todo.at[--r->todo.n]->body);
}

static bool reaches_itself(AD *ad, Expr *e) {
  Reach r = {.ad = ad};
  reach_atom(&r, &e->Call.args[0]);
  reach_rest(&r);
  for (int i = 0; i < r.call.n; i++)
    if (r.call.at[i] == e) return true;
  return false;
}

/* ---- refs --------------------------------------------------------------------------------- */

/* Of what has a derivative. By the definitions alone: what holds one at some arguments does
 * so at all. */
static bool holds_ref(AD *ad, Type *t, Map *seen) {
  t = type_resolve(t);
  if (t->kind == TY_Ref) return ad_has_vars(t) || ad_moves(ad, t);
  if (t->kind == TY_Tuple)
    for (int i = 0; i < t->tuple.n; i++)
      if (holds_ref(ad, t->tuple.at[i], seen)) return true;
  if (t->kind != TY_Data) return false;
  for (int i = 0; i < t->data.n; i++)
    if (holds_ref(ad, t->data.arg[i], seen)) return true;
  const DataDef *def = t->data.def;
  if (map_get(seen, map_ptr(def))) return false;
  map_set(seen, map_ptr(def), seen);
  for (int c = 0; c < def->n_ctors; c++)
    for (int i = 0; i < def->ctor[c]->n; i++)
      if (holds_ref(ad, def->ctor[c]->field[i], seen)) return true;
  return false;
}

/* Does a, or the function in view that it is, use a ref that was made before? */
static bool uses_ref(AD *ad, const Atom *a) {
  VarList used = {0};
  const Expr *e = a->kind == ATOM_Var ? map_get(&ad->bound, map_ptr(a->var)) : NULL;
  if (a->kind == ATOM_Var) vec_push(&used, a->var);
  if (e) ad_free_of(e, &used);
  for (int i = 0; i < used.n; i++) {
    Map seen = {0};
    if (used.at[i]->type && holds_ref(ad, used.at[i]->type, &seen)) return true;
    const Expr *of = i ? map_get(&ad->bound, map_ptr(used.at[i])) : NULL;
    if (of && (of->kind == EX_Fn || diff_kind(of))) ad_free_of(of, &used);
  }
  return false;
}

/* What is written to a ref at one level would be read at another. */
static void check_refs(AD *ad, const Expr *form) {
  const Fn *fn;
  const Atom *f = ad_behind(ad, &form->Call.args[0], &fn);
  Type *t = type_resolve(form->Call.args[0].type);
  bool found = f->kind == ATOM_Var && uses_ref(ad, f);
  for (int i = 0; i < t->fn.n; i++) {
    Map seen = {0};
    found |= holds_ref(ad, t->fn.param[i], &seen);
  }
  if (found) tower_outside_ref(ad, form->span);
}

void tower_outside_ref(AD *ad, Span at) {
  if (ad->errors) return;
  ad_fail(ad, at, "what calls itself through its own derivative uses a ref from outside of it");
  diag_help(ad->d, "read the ref before, `let %%x = ref_read(..)`, and use %%x in the function, or "
                   "make the ref inside of it");
}

/* ---- derivatives of the operators in it ----------------------------------------------- */

/* The steps of all operators that the forms reach, and of the operators in these: false
 * when some are made now, and have to be expanded and typed first. */
static bool have_steps(AD *ad, int n, Expr *const *form) {
  Reach r = {.ad = ad};
  bool made = false;
  for (int i = 0; i < n; i++) reach_atom(&r, &form[i]->Call.args[0]);
  reach_rest(&r);
  for (int i = 0; i < r.call.n && !ad->errors; i++) {
    Expr *e = r.call.at[i];
    DiffKind k = diff_kind(e);
    if (k && k != DIFF_Checkpoint) check_refs(ad, e);
    if (k || !tower_moves(e)) continue;
    bool new = false;
    const Global *step = tower_step(ad, e, &new);
    made |= new;
    if (step->type) reach_fn(&r, step->fn); /* else it is new, too */
    reach_rest(&r);
  }
  return !made;
}

static void drop_steps(Module *m) {
  bool *drop = NEW_N(bool, m->globals.n + 1);
  for (int i = 0; i < m->derivatives.n; i++) {
    const Global *g = m->derivatives.entry[i].value;
    Sym key = (Sym)(uintptr_t)m->derivatives.entry[i].key;
    if (g && !strncmp(key, "step ", 5)) drop[g->index] = true;
  }
  drop_globals(m, drop);
}

/* ---- in place of a form --------------------------------------------------------------- */

static Tower *tower_new(AD *ad) {
  Tower *tw = NEW(Tower);
  *tw = (Tower){.ad = ad};
  DataDef *d = tw->def = ad_new_def(ad, "Tower", ad->span);
  d->n_vars = 1;
  d->var = tyvar_one(sym(ad->cx->syms, "A"), ad->span);
  Type *of = type_var(d->var[0]), *self = type_data(d, 1, &of);
  tw->ground = ad_new_ctor(ad, d, "Ground", 1, 2);
  tw->ground->field[0] = of;
  tw->level = ad_new_ctor(ad, d, "Level", 3, 2);
  tw->level->field[0] = type_scalar(DT_i32);
  tw->level->field[1] = tw->level->field[2] = self;
  return tw;
}

/* fn (x, ..) { ground(form of raised f(0, raised x, ..)) } */
static Fn *plain_form(Tower *tw, const Expr *e) {
  AD *ad = tw->ad;
  DiffKind k = diff_kind(e);
  const Atom *f = &e->Call.args[0];
  Type *t = type_resolve(diff_type(k, type_resolve(f->type)));
  Map vars = {0};
  BlockBuilder bb = {0};
  ad->span = e->span;
  Raise c = {tw, &vars, tower_int(tw, 0), &bb};
  int n = t->fn.n;
  Fn *fn = NEW(Fn);
  *fn = (Fn){.span = e->span, .n = n, .param = NEW_N(Var *, n + 1)};
  Atom raised = tower_atom(&c, f);
  ad->span = e->span;
  Atom made = em_bind(ad, &bb, tower_form(tw, k, raised, f->type));
  Atom *arg = NEW_N(Atom, n + 2), none = {0};
  arg[0] = c.level;
  for (int i = 0; i < n; i++) {
    fn->param[i] = ad_var(ad, "x", nameless(ad, t->fn.param[i]));
    Atom x = var_atom(ad, fn->param[i]);
    arg[i + 1] = tower_walk(tw, &bb, WALK_Raise, t->fn.param[i], x, none, none);
  }
  Atom y = em_call(ad, &bb, made, n + 1, arg);
  fn->body = bb_done(&bb, tower_walk(tw, &bb, WALK_Ground, t->fn.ret, y, none, none), e->span);
  return fn;
}

static void make_bodies(Tower *tw) {
  while ((tw->todo.n || tw->ops.n) && !tw->ad->errors) {
    if (tw->todo.n)
      tower_make_fn(tw, tw->todo.at[--tw->todo.n]);
    else
      tower_make_op(tw, tw->ops.at[--tw->ops.n]);
  }
}

AutodiffResult tower_forms(AD *ad, int n, Expr *const *form) {
  VEC(Expr *) own = {0};
  for (int i = 0; i < n; i++)
    if (reaches_itself(ad, form[i])) vec_push(&own, form[i]);
  if (!own.n) return AUTODIFF_NOTHING;
  bool ready = have_steps(ad, own.n, own.at);
  if (ad->errors) return AUTODIFF_FAILED;
  if (!ready) return AUTODIFF_CHANGED;
  Tower *tw = tower_new(ad);
  Fn **made = NEW_N(Fn *, own.n);
  for (int i = 0; i < own.n && !ad->errors; i++) made[i] = plain_form(tw, own.at[i]);
  make_bodies(tw);
  if (ad->errors) return AUTODIFF_FAILED;
  for (int i = 0; i < own.n; i++) {
    *own.at[i] = (Expr){.kind = EX_Fn, .span = own.at[i]->span};
    own.at[i]->Fn.fn = made[i];
  }
  drop_steps(ad->m);
  return AUTODIFF_CHANGED;
}
