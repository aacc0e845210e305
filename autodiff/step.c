/* step.c -- which forms there are, and one round of expanding them.
 *
 * A form is expanded when the function it is of reaches no further form: its
 * derivative is then an ordinary program, which the next round may
 * differentiate again.  Where a function would have to be known that is not, the
 * round is undone, the forms that can be expanded are, and when only others are
 * left the functions become data (values.h).                                  */
#include "autodiff/tower.h"
#include "autodiff/values.h"
#include "autodiff/versions.h"

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

void ad_survey(AD *ad, Fn *fn) { survey_fn(ad, fn); }

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

bool ad_free_of_forms(AD *ad, const Fn *fn) { return !ad->n_forms || !holds_form(ad, fn); }

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
  Expr *at, was;
} Edit;
typedef struct {
  AD *seen; /* the module before the round, nothing made yet              */
  AD *ad;
  VEC(Expr *) form;
  VEC(Edit) edit;
  VEC(Unknown) unknown;
  int expanded, left;
  const Expr *first_left;
} Round;

/* The tuple that a is, if that is in view. */
static const Expr *tuple_of(AD *ad, const Atom *a) {
  for (int i = 0; i < 1000 && a->kind == ATOM_Var; i++) {
    const Expr *e = map_get(&ad->bound, map_ptr(a->var));
    if (!e || e->kind == EX_Tuple) return e;
    if (e->kind != EX_Just) return NULL;
    a = &e->Just.value;
  }
  return NULL;
}

/* The function behind names, tuples and checkpoints: a definition or a literal. */
const Atom *ad_behind(AD *ad, const Atom *a, const Fn **fn) {
  for (int i = 0; i < 1000; i++) {
    *fn = NULL;
    if (a->kind == ATOM_Global) {
      *fn = a->global->fn;
      return a;
    }
    const Expr *e = a->kind == ATOM_Var ? map_get(&ad->bound, map_ptr(a->var)) : NULL;
    if (e && e->kind == EX_Proj) {
      const Expr *of = tuple_of(ad, &e->Proj.tuple);
      if (of) {
        a = &of->Tuple.items[e->Proj.index];
        continue;
      }
    }
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

bool ad_has_vars(Type *t) {
  t = type_resolve(t);
  bool yes = t->kind == TY_Var;
  if (t->kind == TY_Tuple)
    for (int i = 0; i < t->tuple.n; i++) yes |= ad_has_vars(t->tuple.at[i]);
  if (t->kind == TY_Data)
    for (int i = 0; i < t->data.n; i++) yes |= ad_has_vars(t->data.arg[i]);
  if (t->kind == TY_Ref) return ad_has_vars(t->ref);
  if (t->kind == TY_Fn) {
    for (int i = 0; i < t->fn.n; i++) yes |= ad_has_vars(t->fn.param[i]);
    return yes || ad_has_vars(t->fn.ret);
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
  const Atom *target = ad_behind(ad, f, &fn);
  ad->span = e->span;
  if (!fn) {
    const Expr *made = target->kind == ATOM_Var ? map_get(&ad->bound, map_ptr(target->var)) : NULL;
    if (made && diff_kind(made)) {
      r->left++;
      return;
    }
    ad_unknown(ad, f->span, t, "%s needs a function whose definition is known here",
               e->Call.callee.op->name);
    return;
  }
  if (ad_has_vars(t)) {
    ad_unknown(ad, f->span, t, "%s of a function whose type is not known yet: %s",
               e->Call.callee.op->name, type_text(t));
    return;
  }
  if (holds_form(ad, fn)) {
    r->left++;
    r->first_left = e;
    return;
  }
  r->expanded++;
  vec_push(&r->edit, ((Edit){e, *e}));
  if (target->kind == ATOM_Global) {
    Global *g = of_global(ad, k, target->global, t);
    *e = *ir_just(g ? atom_global(g, e->span) : (Atom){0}, e->span);
    return;
  }
  const TyEnv *env = target->kind == ATOM_Var ? ad_match(target->var->type, t, NULL) : NULL;
  Fn *made = surface_fn(ad, k, fn, env, false);
  *e = (Expr){.kind = EX_Fn, .span = e->span};
  e->Fn.fn = made;
}

/* ---- a round, which may be undone -------- */

static void collect_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, collect_block, NULL};
  Round *r = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    if (is_form(e))
      vec_push(&r->form, e);
    else
      ir_visit(e, &visit, r);
  }
}

typedef struct {
  int globals, types;
} Mark;
static Mark mark(const Module *m) { return (Mark){m->globals.n, m->types.n}; }

static void forget_made(Module *m, Mark k) {
  for (int i = k.globals; i < m->globals.n; i++)
    map_set(&m->global_by_name, map_ptr(m->globals.at[i]->name), NULL);
  for (int i = k.types; i < m->types.n; i++) {
    DataDef *d = m->types.at[i];
    map_set(&m->type_by_name, map_ptr(d->name), NULL);
    for (int c = 0; c < d->n_ctors; c++) map_set(&m->ctor_by_name, map_ptr(d->ctor[c]->name), NULL);
  }
  m->globals.n = k.globals;
  m->types.n = k.types;
  forget_derivatives(m);
}

static bool expand_once(Round *r, int n, Expr *const *form) {
  Mark before = mark(r->seen->m);
  int expanded = r->expanded;
  r->ad = NEW(AD);
  *r->ad = *r->seen;
  r->edit.n = 0;
  for (int i = 0; i < n && !r->ad->errors; i++) expand(r, form[i]);
  if (!r->ad->errors && twins_finish(r->ad)) return true;
  for (int i = r->edit.n; i-- > 0;) *r->edit.at[i].at = r->edit.at[i].was;
  forget_made(r->seen->m, before);
  r->expanded = expanded;
  return false;
}

/* Expands forms; false: the module is as it was. */
static bool expand_forms(Round *r, int n, Expr *const *form) {
  r->seen->warm = NEW(Map);
  while (!expand_once(r, n, form))
    if (!r->ad->again) return false;
  return true;
}

/* Those forms that can be, one by one; false after reporting a mistake. */
static bool expand_some(Round *r) {
  r->left = 0;
  r->seen->last = false;
  for (int i = 0; i < r->form.n; i++) {
    if (expand_forms(r, 1, &r->form.at[i])) continue;
    if (!r->ad->unknown.n) return false;
    vec_push(&r->unknown, r->ad->unknown.at[0]);
  }
  return true;
}

/* ---- checkpoints outlive the last round as nothing ------------------------------------------- */

static void drop_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, drop_block, NULL};
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    if (diff_kind(e) == DIFF_Checkpoint) {
      Type *t = e->type;
      *e = *ir_just(e->Call.args[0], e->span);
      e->type = t;
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
    ad_behind(ad, &e->Call.args[0], &fn);
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

/* The module is to be typed again.  What was made of it has the extents it had, also where
 * inference cannot show it. */
static AutodiffResult changed(Module *m) {
  m->form = 0;
  m->derived = true;
  return AUTODIFF_CHANGED;
}

/* Versions are data as any other from now on. */
static void versions_done(Module *m) {
  m->versions = NULL;
  m->content = NULL;
}

/* Makes functions known, and what is in refs; reports the first that cannot be. */
static AutodiffResult make_known(Module *m, Diags *d, int n, const Unknown *unknown) {
  AD *ad = ad_new(m, d);
  Type *none = NULL;
  if (unfold_calls(ad)) return changed(m);
  for (int i = 0; i < n; i++) {
    bool general = ad_has_vars(unknown[i].type);
    Type *t = general ? NULL : unknown_function(ad, unknown[i].type);
    ad->span = unknown[i].at;
    if ((t || general) && values_to_data(ad, t)) return changed(m);
    if (ad->errors) return AUTODIFF_FAILED;
    if (t && !none) none = t;
  }
  for (int i = 0; i < n; i++) {
    ad->span = unknown[i].at;
    if (!ad_has_vars(unknown[i].type) && versions_make(ad, unknown[i].type)) return changed(m);
  }
  diag_error(d, unknown[0].at, E0403, unknown[0].why);
  if (none)
    diag_help(d,
              "the program makes no value of type %s, and defines no function of it that a "
              "caller could give",
              type_text(none));
  return AUTODIFF_FAILED;
}

/* Forms that wait for each other. */
static AutodiffResult expand_towers(Module *m, Diags *d, Round *r) {
  AD *ad = r->ad = NEW(AD);
  Mark before = mark(m);
  *ad = *r->seen;
  AutodiffResult done = tower_forms(ad, r->form.n, r->form.at);
  if (done == AUTODIFF_CHANGED) return changed(m);
  if (done == AUTODIFF_NOTHING)
    ad_fail(ad, r->first_left ? r->first_left->span : (Span){0},
            "the function calls itself through its own derivative");
  forget_made(m, before);
  return ad->unknown.n ? make_known(m, d, ad->unknown.n, ad->unknown.at) : AUTODIFF_FAILED;
}

AutodiffResult autodiff_step(Module *m, Diags *d) {
  AD *ad = ad_new(m, d);
  Round r = {.seen = ad};
  if (!ad->n_forms) return AUTODIFF_NOTHING;
  ad->last = true;
  int n = m->globals.n; /* those made in this round hold no form */
  for (int i = 0; i < n; i++) wait_block(ad, m->globals.at[i]->fn->body);
  for (int i = 0; i < n; i++) collect_block(&r, m->globals.at[i]->fn->body);
  if (!expand_forms(&r, r.form.n, r.form.at)) {
    if (!r.ad->unknown.n || !expand_some(&r)) return AUTODIFF_FAILED;
    if (!r.expanded) return make_known(m, d, r.unknown.n, r.unknown.at);
  }
  if (r.expanded) {
    drop_leftover(r.ad);
    versions_done(m);
    return changed(m);
  }
  if (r.left) return expand_towers(m, d, &r);
  bool dropped = false;
  for (int i = 0; i < n; i++) drop_block(&dropped, m->globals.at[i]->fn->body);
  return dropped ? AUTODIFF_CHANGED : AUTODIFF_NOTHING;
}

AutodiffResult autodiff_request(Module *m, Global *f, DiffKind k, Diags *d, Global **made) {
  AD *seen = ad_new(m, d), *ad = NULL;
  Mark before = mark(m);
  seen->span = f->span;
  seen->last = true;
  seen->warm = NEW(Map);
  *made = NULL;
  if (ad_has_vars(f->type)) {
    ad_fail(seen, f->span, "@%s has type parameters", f->name);
    return AUTODIFF_FAILED;
  }
  do {
    if (ad) forget_made(m, before);
    ad = NEW(AD);
    *ad = *seen;
    Global *g = of_global(ad, k, f, f->type);
    if (g && twins_finish(ad)) {
      *made = g;
      versions_done(m);
      return changed(m);
    }
  } while (ad->again);
  if (!ad->unknown.n) return AUTODIFF_FAILED;
  forget_made(m, before);
  return make_known(m, d, ad->unknown.n, ad->unknown.at);
}
