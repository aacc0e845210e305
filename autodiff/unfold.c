/* unfold.c -- calls that give functions become the bodies of what they call.
 *
 *   def @slope(%f) { fn (%x) { grad(%f)(%x).1.0 } }
 *
 * @slope(@slope(@f)) is then known to the end.  As data (values.h) what @slope gives
 * would be one of the functions that it takes, and so of its own derivative.  The
 * same is done for a call whose result, or a part of it, a form is of: the pullback
 * of a vjp.                                                                    */
#include "autodiff/values.h"

enum { MAX_UNFOLDED = 500 };

typedef struct {
  AD *ad;
  Map calls;  /* Global -> Global: to be unfolded at each call      */
  Map wanted; /* Expr -> Expr: calls that a form needs              */
  int n;
} Unfold;

static bool gives_function(Type *t) {
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++)
    if (gives_function(t->tuple.at[i])) return true;
  return t->kind == TY_Fn;
}

/* ---- which definitions ------------------------------------------------------------- */

typedef struct {
  Map seen; /* Global                                             */
  bool forms;
} Reach;
static void reach_block(void *ud, Block *b);
static void reach_atom(void *ud, Atom *a) {
  Reach *r = ud;
  if (a->kind != ATOM_Global || map_get(&r->seen, map_ptr(a->global))) return;
  map_set(&r->seen, map_ptr(a->global), a->global);
  reach_block(ud, a->global->fn->body);
}
static void reach_block(void *ud, Block *b) {
  static const ExprVisit visit = {reach_atom, reach_block, NULL};
  Reach *r = ud;
  for (int i = 0; i < b->n; i++) {
    r->forms |= diff_kind(b->at[i].value) != DIFF_None;
    ir_visit(b->at[i].value, &visit, ud);
  }
  reach_atom(ud, &b->result);
}

static bool unfolds(const Global *g, bool forms) {
  Type *t = g->type ? type_resolve(g->type) : NULL;
  Reach r = {0};
  if (!t || t->kind != TY_Fn || !gives_function(t->fn.ret)) return false;
  reach_block(&r, g->fn->body);
  return (r.forms || !forms) && !map_get(&r.seen, map_ptr(g));
}

/* Does the local function a call itself? */
static bool calls_itself(const Atom *a, const Fn *fn) {
  VarList free = {0};
  ir_free_vars(fn, &free);
  for (int i = 0; i < free.n; i++)
    if (free.at[i] == a->var) return true;
  return false;
}

/* The function that e calls, if it is in view and does not call itself. */
static const Atom *callee_of(AD *ad, const Expr *e) {
  const Fn *fn;
  const Atom *f = e->Call.callee.type ? ad_behind(ad, &e->Call.callee, &fn) : NULL;
  if (!f || !fn) return NULL;
  if (f->kind == ATOM_Global) return unfolds(f->global, false) ? f : NULL;
  return calls_itself(f, fn) ? NULL : f;
}

/* The call that gives what a form is of. */
static void want_call(Unfold *u, const Atom *a) {
  for (int i = 0; i < 1000 && a->kind == ATOM_Var; i++) {
    const Expr *e = map_get(&u->ad->bound, map_ptr(a->var));
    if (!e || (e->kind != EX_Just && e->kind != EX_Proj && e->kind != EX_Call)) return;
    if (e->kind == EX_Call) {
      if (!diff_kind(e) && callee_of(u->ad, e)) map_set(&u->wanted, map_ptr(e), u);
      return;
    }
    a = e->kind == EX_Just ? &e->Just.value : &e->Proj.tuple;
  }
}
static void want_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, want_block, NULL};
  Unfold *u = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    const Fn *fn;
    if (diff_kind(e)) {
      ad_behind(u->ad, &e->Call.args[0], &fn);
      if (!fn) want_call(u, &e->Call.args[0]);
    }
    ir_visit(e, &visit, ud);
  }
}

/* ---- calls ----------------------------------------------------------------------------- */

static void unfold_block(void *ud, Block *b);

/* What the call e is: the body, after bindings of the parameters. */
static Expr *body_of(Unfold *u, Out o, const Expr *e) {
  AD *ad = u->ad;
  Map vars = {0};
  const Fn *was;
  const Atom *f = ad_behind(ad, &e->Call.callee, &was);
  bool global = f->kind == ATOM_Global;
  const TyEnv *env = ad_match(global ? f->global->type : f->var->type, e->Call.callee.type, NULL);
  Fn *fn = plain_fn(frame_new(ad, ad_without_dims(ad, env), global), was, &vars);
  for (int i = 0; i < fn->n; i++) {
    Var *p = fn->param[i];
    if (!gives_function(p->annot)) p->annot = NULL; /* the argument says more */
    bb_push(o, p, ir_just(e->Call.args[i], e->span), BIND_Let);
  }
  unfold_block(u, fn->body);
  for (int i = 0; i < fn->body->n; i++) vec_push(&o->b, fn->body->at[i]);
  return ir_just(fn->body->result, e->span);
}

static bool is_unfolded(const Unfold *u, const Expr *e) {
  if (e->kind != EX_Call || !e->Call.callee.type) return false;
  const Atom *f = &e->Call.callee;
  bool all = f->kind == ATOM_Global && map_get(&u->calls, map_ptr(f->global));
  return all || map_get(&u->wanted, map_ptr(e));
}

static void unfold_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, unfold_block, NULL};
  Unfold *u = ud;
  BlockBuilder bb = {0};
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    ir_visit(e, &visit, ud);
    if (is_unfolded(u, e) && u->n < MAX_UNFOLDED) {
      u->n++;
      e = body_of(u, &bb, e);
    }
    bb_push(&bb, b->at[i].var, e, b->at[i].style);
  }
  b->n = bb.b.n;
  b->at = bb.b.at;
}

/* Those that nothing mentions any more are gone. */
static void drop_unfolded(Unfold *u) {
  Module *m = u->ad->m;
  Reach r = {0};
  bool *drop = NEW_N(bool, m->globals.n + 1);
  for (int i = 0; i < m->globals.n; i++)
    if (!map_get(&u->calls, map_ptr(m->globals.at[i]))) reach_block(&r, m->globals.at[i]->fn->body);
  for (int i = 0; i < m->globals.n; i++) {
    const Global *g = m->globals.at[i];
    drop[i] = map_get(&u->calls, map_ptr(g)) && !map_get(&r.seen, map_ptr(g));
  }
  drop_globals(m, drop);
}

int unfold_calls(AD *ad) {
  Unfold u = {.ad = ad};
  Module *m = ad->m;
  for (int i = 0; i < m->globals.n; i++) {
    Global *g = m->globals.at[i];
    if (unfolds(g, true)) map_set(&u.calls, map_ptr(g), g);
    want_block(&u, g->fn->body);
  }
  for (int i = 0; i < m->globals.n && u.calls.n + u.wanted.n; i++) {
    Global *g = m->globals.at[i];
    if (!map_get(&u.calls, map_ptr(g))) unfold_block(&u, g->fn->body);
  }
  if (u.n) drop_unfolded(&u);
  return u.n;
}
