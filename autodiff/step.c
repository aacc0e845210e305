/* step.c -- which forms there are, and one round of expanding them.
 *
 * A form is expanded when the function it is of reaches no further form: its
 * derivative is then an ordinary program, which the next round may
 * differentiate again.                                                        */
#include "autodiff/ad.h"

/* ---- a look at the whole module ------------------------------------------------------ */

static void survey_block(void *ud, Block *b);

static void survey_atom(void *ud, Atom *a) {
  AD *ad = ud;
  if (a->kind == ATOM_Var) map_set(&ad->uses_as_value, map_ptr(a->var), a->var);
}

static void survey_fn(void *ud, Fn *fn) {
  AD *ad = ud;
  vec_push(&ad->fns, fn);
  for (int i = 0; i < fn->n_dims; i++)
    map_set(&ad->fn_dims, map_ptr(fn->dim[i]), (void *)(uintptr_t)fn->dim[i]);
  survey_block(ud, fn->body);
}

static void survey_block(void *ud, Block *b) {
  static const ExprVisit visit = {survey_atom, survey_block, survey_fn};
  AD *ad = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    map_set(&ad->bound, map_ptr(b->at[i].var), e);
    ad->n_forms += diff_kind(e) != DIFF_None;
    if (e->kind != EX_Call) {
      ir_visit(e, &visit, ad);
      continue;
    }
    for (int k = 0; k < e->Call.n_args; k++) survey_atom(ad, &e->Call.args[k]);
  }
  survey_atom(ud, &b->result);
}

/* ---- is there a form in what a function does? -------------------------------------------- */

enum { FREE_OF = 1, HOLDS };
typedef struct {
  AD *ad;
  bool found;
} Look;

static bool is_form(const Expr *e) {
  DiffKind k = diff_kind(e);
  return k && k != DIFF_Checkpoint;
}

/* A function of this round's making may hold what was moved into it. */
static bool holds_form(AD *ad, const Fn *fn) {
  return (uintptr_t)map_get(&ad->has_forms, map_ptr(fn)) != FREE_OF;
}

static void look_atom(void *ud, Atom *a) {
  Look *l = ud;
  if (a->kind == ATOM_Global) l->found |= holds_form(l->ad, a->global->fn);
  if (a->kind != ATOM_Var) return;
  const Expr *e = map_get(&l->ad->bound, map_ptr(a->var));
  if (!e) return;
  l->found |= is_form(e);
  if (e->kind == EX_Fn) l->found |= holds_form(l->ad, e->Fn.fn);
}
static void look_block(void *ud, Block *b) {
  static const ExprVisit visit = {look_atom, look_block, NULL};
  Look *l = ud;
  for (int i = 0; i < b->n && !l->found; i++) {
    l->found |= is_form(b->at[i].value);
    ir_visit(b->at[i].value, &visit, l);
  }
  look_atom(ud, &b->result);
}

/* All functions that reach a form: more of them until there are no more. */
static void find_holders(AD *ad) {
  bool more = true;
  for (int i = 0; i < ad->fns.n; i++)
    map_set(&ad->has_forms, map_ptr(ad->fns.at[i]), (void *)FREE_OF);
  while (more) {
    more = false;
    for (int i = 0; i < ad->fns.n; i++) {
      Look l = {ad, false};
      if (holds_form(ad, ad->fns.at[i])) continue;
      look_block(&l, ad->fns.at[i]->body);
      if (!l.found) continue;
      map_set(&ad->has_forms, map_ptr(ad->fns.at[i]), (void *)HOLDS);
      more = true;
    }
  }
}

/* ---- expanding ------------------------------------------------------------------------------ */

typedef struct {
  AD *ad;
  int expanded, left;
  const Expr *first_left;
} Round;

/* The function behind names and checkpoints: a definition or a literal. */
static const Atom *behind(AD *ad, const Atom *a, const Fn **fn) {
  for (int i = 0; i < 1000; i++) {
    *fn = NULL;
    if (a->kind == ATOM_Global) {
      *fn = a->global->fn;
      return a;
    }
    const Expr *e = a->kind == ATOM_Var ? map_get(&ad->bound, map_ptr(a->var)) : NULL;
    if (!e) return a;
    if (e->kind == EX_Just)
      a = &e->Just.value;
    else if (diff_kind(e) == DIFF_Checkpoint)
      a = &e->Call.args[0];
    else {
      if (e->kind == EX_Fn) *fn = e->Fn.fn;
      return a;
    }
  }
  return a;
}

static bool has_type_vars(Type *t) {
  t = type_resolve(t);
  bool yes = t->kind == TY_Var;
  if (t->kind == TY_Tuple)
    for (int i = 0; i < t->tuple.n; i++) yes |= has_type_vars(t->tuple.at[i]);
  if (t->kind == TY_Data)
    for (int i = 0; i < t->data.n; i++) yes |= has_type_vars(t->data.arg[i]);
  if (t->kind == TY_Ref) return has_type_vars(t->ref);
  if (t->kind == TY_Fn) {
    for (int i = 0; i < t->fn.n; i++) yes |= has_type_vars(t->fn.param[i]);
    return yes || has_type_vars(t->fn.ret);
  }
  return yes;
}

/* One definition for each form of one, however many rounds ask for it; other
 * rounds make another when what they make is differentiated again.            */
static Global *of_global(AD *ad, DiffKind k, Global *g, Type *t) {
  const TyEnv *env = ad_match(g->type, t, NULL);
  StrBuf b = {0};
  buf_fmt(&b, "%d%s %p", (int)k, ad->last ? " last" : "", (void *)g);
  for (const TyEnv *e = env; e; e = e->up) buf_fmt(&b, " %s", type_text(e->type));
  Sym key = sym(ad->cx->syms, buf_text(&b));
  Global *made = map_get(&ad->m->derivatives, map_ptr(key));
  if (made) return made;
  Fn *fn = surface_fn(ad, k, g->fn, env, true);
  if (!fn) return NULL;
  static const char *const suffix[] = {
      [DIFF_Grad] = "grad", [DIFF_Vjp] = "vjp", [DIFF_Jvp] = "jvp"};
  made = ad_global(ad, str_fmt("%s_%s", g->name, suffix[k]), fn);
  made->span = g->span;
  map_set(&ad->m->derivatives, map_ptr(key), made);
  return made;
}

static void expand(Round *r, Expr *e) {
  AD *ad = r->ad;
  DiffKind k = diff_kind(e);
  const Atom *f = &e->Call.args[0];
  Type *t = type_resolve(f->type);
  const Fn *fn;
  const Atom *target = behind(ad, f, &fn);
  ad->span = e->span;
  if (!fn) {
    const Expr *made = target->kind == ATOM_Var ? map_get(&ad->bound, map_ptr(target->var)) : NULL;
    if (made && diff_kind(made)) {
      r->left++;
      return;
    }
    ad_fail(ad, f->span, "%s needs a function whose definition is known here",
            e->Call.callee.op->name);
    return;
  }
  if (has_type_vars(t)) {
    ad_fail(ad, f->span, "%s of a function whose type is not known yet: %s",
            e->Call.callee.op->name, type_text(t));
    return;
  }
  if (holds_form(ad, fn)) {
    r->left++;
    r->first_left = e;
    return;
  }
  r->expanded++;
  if (target->kind == ATOM_Global) {
    Global *g = of_global(ad, k, target->global, t);
    *e = (Expr){.kind = EX_Just, .span = e->span};
    if (g) e->Just.value = atom_global(g, e->span);
    return;
  }
  const TyEnv *env = target->kind == ATOM_Var ? ad_match(target->var->type, t, NULL) : NULL;
  Fn *made = surface_fn(ad, k, fn, env, false);
  *e = (Expr){.kind = EX_Fn, .span = e->span};
  e->Fn.fn = made;
}

static void round_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, round_block, NULL};
  Round *r = ud;
  for (int i = 0; i < b->n && !r->ad->errors; i++) {
    Expr *e = b->at[i].value;
    if (is_form(e))
      expand(r, e);
    else
      ir_visit(e, &visit, r);
  }
}

/* ---- checkpoints outlive the last round as nothing ------------------------------------------- */

static void drop_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, drop_block, NULL};
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    if (diff_kind(e) == DIFF_Checkpoint) {
      Atom f = e->Call.args[0];
      *e = (Expr){.kind = EX_Just, .span = e->span, .type = e->type};
      e->Just.value = f;
      *(bool *)ud = true;
    }
    ir_visit(e, &visit, ud);
  }
}

/* Does a form wait for another? */
static void wait_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, wait_block, NULL};
  AD *ad = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    ir_visit(e, &visit, ad);
    if (!is_form(e) || e->Call.n_args != 1) continue;
    const Fn *fn;
    behind(ad, &e->Call.args[0], &fn);
    ad->last &= fn && !holds_form(ad, fn);
  }
}

static AD *ad_new(Module *m, Diags *d) {
  AD *ad = NEW(AD);
  *ad = (AD){.m = m, .cx = m->cx, .d = d};
  for (int i = 0; i < m->globals.n; i++) survey_fn(ad, m->globals.at[i]->fn);
  /* Asked now: what this round expands is not typed until the next. */
  if (ad->n_forms) find_holders(ad);
  return ad;
}

AutodiffResult autodiff_step(Module *m, Diags *d) {
  AD *ad = ad_new(m, d);
  Round r = {.ad = ad};
  if (!ad->n_forms) return AUTODIFF_NOTHING;
  ad->last = true;
  for (int i = 0; i < m->globals.n; i++) wait_block(ad, m->globals.at[i]->fn->body);
  int n = m->globals.n; /* those made in this round hold no form */
  for (int i = 0; i < n && !ad->errors; i++) round_block(&r, m->globals.at[i]->fn->body);
  if (ad->errors || !twins_finish(ad)) return AUTODIFF_FAILED;
  if (r.expanded) {
    m->form = 0;
    return AUTODIFF_CHANGED;
  }
  if (r.left) {
    ad_fail(ad, r.first_left ? r.first_left->span : (Span){0},
            "the function calls itself through its own derivative");
    return AUTODIFF_FAILED;
  }
  bool dropped = false;
  for (int i = 0; i < n; i++) drop_block(&dropped, m->globals.at[i]->fn->body);
  return dropped ? AUTODIFF_CHANGED : AUTODIFF_NOTHING;
}

Global *autodiff_request(Module *m, Global *f, DiffKind k, Diags *d) {
  AD *ad = ad_new(m, d);
  ad->span = f->span;
  ad->last = true;
  if (has_type_vars(f->type)) {
    ad_fail(ad, f->span, "@%s has type parameters", f->name);
    return NULL;
  }
  Global *g = of_global(ad, k, f, f->type);
  if (!g || !twins_finish(ad)) return NULL;
  m->form = 0;
  return g;
}
