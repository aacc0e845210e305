/* versions.c -- refs whose contents have derivatives: the two rules, making a version and
 * reading it, in reverse and in forward mode.                                       */
#include "autodiff/values.h"
#include "autodiff/versions.h"

/* ---- types that lead to versions --------------------------------------------------- */

static Type *content_type(Type *version) { return type_resolve(version)->data.arg[0]; }

bool version_is(const AD *ad, Type *t) {
  t = type_resolve(t);
  return t->kind == TY_Data && ad->m->versions && t->data.def == ad->m->versions;
}

typedef struct {
  AD *ad;
  bool (*is)(AD *ad, Type *content);
  Map seen;
  const DefPath *path;
} Leads;

static bool leads(Leads *l, Type *t);
static bool data_leads(Leads *l, Type *t) {
  if (ever_larger(l->path, t->data.def)) return true;
  uint64_t key = map_ptr(ad_key(l->ad, "leads", t));
  if (map_get(&l->seen, key)) return false;
  map_set(&l->seen, key, t);
  DefPath at = {t->data.def, l->path};
  bool yes = false;
  l->path = &at;
  for (int c = 0; c < t->data.def->n_ctors && !yes; c++) {
    const Ctor *ctor = t->data.def->ctor[c];
    for (int i = 0; i < ctor->n && !yes; i++) yes = leads(l, ad_field(l->ad, t, ctor, i));
  }
  l->path = at.up;
  return yes;
}
static bool leads(Leads *l, Type *t) {
  t = type_resolve(t);
  if (version_is(l->ad, t) && l->is(l->ad, content_type(t))) return true;
  if (version_is(l->ad, t)) return leads(l, content_type(t));
  if (t->kind == TY_Ref) return leads(l, t->ref);
  if (t->kind == TY_Data) return data_leads(l, t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++)
    if (leads(l, t->tuple.at[i])) return true;
  return false;
}

static bool to_some(AD *ad, Type *t, bool (*is)(AD *, Type *)) {
  Leads l = {.ad = ad, .is = is};
  return ad->m->versions && leads(&l, t);
}
bool version_state(AD *ad, Type *t) { return to_some(ad, t, outside_warm); }
/* To one of what has a tangent. */
static bool version_any(AD *ad, Type *t) { return to_some(ad, t, ad_has_tan); }

/* The type that the program gave it. */
static Type *as_written(const AD *ad, Type *t) {
  t = type_resolve(t);
  if (version_is(ad, t)) return as_written(ad, content_type(t));
  int n = n_parts(t);
  Type **at = NEW_N(Type *, n + 1);
  for (int i = 0; i < n; i++) at[i] = as_written(ad, part_type(t, i));
  return n ? with_parts(t, at) : t;
}
void version_result(AD *ad, Span at, Type *t) {
  if (ad->errors || !(ad_special(ad, t) || version_any(ad, t))) return;
  ad_fail(ad, at, "the value to be differentiated holds a function or a ref: %s",
          type_text(as_written(ad, t)));
}

static bool has_vars(AD *ad, Type *t) {
  (void)ad;
  return ad_has_vars(t);
}
bool version_generic(AD *ad, DataDef *def) {
  if (!ad->m->versions || !def->n_vars) return false;
  Type **var = NEW_N(Type *, def->n_vars);
  for (int i = 0; i < def->n_vars; i++) var[i] = type_var(def->var[i]);
  return to_some(ad, type_data(def, def->n_vars, var), has_vars);
}

typedef struct {
  bool state, any, active;
} Touch;

/* A function that is not in view may have captured anything. */
static void touch(Scope *s, Var *v, Touch *t) {
  AD *ad = s->f->ad;
  const Val *x = frame_val(s->f, v);
  for (int i = 0; x->fn && i < x->fn->caps.n; i++) touch(s, x->fn->caps.at[i], t);
  if (x->fn) return;
  t->active |= x->active;
  t->any |= version_any(ad, x->type);
  t->state |= type_resolve(x->type)->kind == TY_Fn || version_state(ad, x->type);
}
bool version_touched(Scope *s, const VarList *used) {
  Touch t = {false, false, false};
  for (int i = 0; s->f->ad->m->versions && i < used->n; i++) touch(s, used->at[i], &t);
  return t.state || (t.any && t.active);
}

/* ---- runs of forms -------------------------------------------------------------------- */

static Atom truth(AD *ad, bool yes) { return ad_scalar(ad, DT_bool, yes); }

void version_begin(Frame *f, Out o) {
  AD *ad = f->ad;
  if (!ad->m->versions) return;
  Expr *e = ir_expr(EX_Ref, ad->span);
  e->Ref.value = truth(ad, true);
  f->live = bb_bind(ad->cx, o, e, sym(ad->cx->syms, "live"), BIND_Let);
}
Var *version_param(Frame *f) {
  AD *ad = f->ad;
  Var *v = ad_var(ad, "live", type_ref(type_scalar(DT_bool)));
  f->live = var_atom(ad, v);
  return v;
}
void version_end(Frame *f, Out o) {
  if (f->ad->m->versions) em_write(f->ad, o, f->live, truth(f->ad, false));
}

/* ---- shadows: tangents of the content's own type ------------------------------------------- */

static Atom shadow_zero(AD *ad, Out o, Type *t, Atom x) {
  return tan_out(ad, o, AS_Shadow, t, x, tan_zero(ad, o, t, x));
}

/* ---- what both modes share ------------------------------------------------------------------- */

enum { PLAIN, ACTIVE };
static Ctor *ctor_of(AD *ad, int tag) { return ad->m->versions->ctor[tag]; }

static bool makes(AD *ad, const Expr *e) {
  const Atom *f = &e->Call.callee;
  return ad->m->versions && f->kind == ATOM_Ctor && f->ctor->def == ad->m->versions;
}
static bool reads(AD *ad, const Expr *e) {
  const Atom *f = &e->Call.callee;
  return ad->m->versions && f->kind == ATOM_Global && f->global->content &&
         version_is(ad, f->global->fn->param[0]->type);
}

/* A function in a ref is the same inside of what is differentiated only as data. */
static bool no_functions(AD *ad, Type *t) {
  if (ad_special(ad, t))
    ad_unknown(ad, ad->span, t, "a function or what holds one is in a ref that is written");
  return !ad->errors;
}

static Expr *version_call(AD *ad, int tag, int n, const Atom *arg) {
  return ad_call(ad_ctor_atom(ad, ctor_of(ad, tag)), n, arg, ad->span);
}

static Expr *active_version(Scope *s, Atom x, Atom shadow) {
  return version_call(s->f->ad, ACTIVE, 3, (Atom[]){x, shadow, s->f->live});
}

/* ---- reverse mode -------- */

bool version_made(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  if (!makes(ad, e)) return false;
  const Atom *x = &e->Call.args[0];
  Type *t = atom_closed(s, x);
  if (!no_functions(ad, t)) return true;
  Atom a = scope_atom(s, x);
  Expr *made = version_call(ad, PLAIN, 1, &a);
  if (atom_active(s, x)) {
    outside_warms(ad, t);
    Atom shadow = em_ref(ad, s->fwd, shadow_zero(ad, s->fwd, t, a));
    vec_push(&s->step, ((Step){.var = v, .e = e, .pb = shadow}));
    made = active_version(s, a, shadow);
  }
  scope_bind(s, v, scope_let(s, v, made, style), false);
  return true;
}

/* (x, is it of this run) */
bool version_read(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  if (!reads(ad, e)) return false;
  Type *t = frame_type(s->f, v->type);
  if (!no_functions(ad, t) || !outside_warm(ad, t)) return false;
  Var *x[3];
  Cases c = cases_of(ad, plain_atom(s, &e->Call.args[0]));
  BlockBuilder plain = {0}, active = {0};
  Pattern *p = pattern_of(ad, ctor_of(ad, PLAIN), x);
  Atom r = em_tuple(ad, &plain, 2, (Atom[]){var_atom(ad, x[0]), truth(ad, false)});
  add_case(ad, &c, p, &plain, r);
  p = pattern_of(ad, ctor_of(ad, ACTIVE), x);
  Atom live = em_read(ad, &active, var_atom(ad, x[2]));
  r = em_tuple(ad, &active, 2, (Atom[]){var_atom(ad, x[0]), live});
  add_case(ad, &c, p, &active, r);
  Atom both = end_cases(ad, s->fwd, &c);
  Expr *first = ir_expr(EX_Proj, e->span);
  first->Proj.tuple = both;
  Atom y = scope_let(s, v, first, style);
  vec_push(&s->step, ((Step){.var = v, .e = e, .pb = em_proj(ad, s->fwd, both, 1)}));
  scope_bind(s, v, y, true);
  return true;
}

/* What reads gave; cleared, for the pullback may be called again. */
static void made_back(Scope *s, const Step *st) {
  AD *ad = s->f->ad;
  const Atom *x = &st->e->Call.args[0];
  Type *t = atom_closed(s, x);
  Atom d = tan_in(ad, s->rev, AS_Shadow, t, em_read(ad, s->rev, st->pb));
  contribute(s, x, adj_atom(d));
  em_write(ad, s->rev, st->pb, shadow_zero(ad, s->rev, t, plain_atom(s, x)));
}

/* if (of this run) { match? (c) { Active(_, shadow, _) => shadow += d } } */
static void read_back(Scope *s, const Step *st, Adj *d) {
  AD *ad = s->f->ad;
  const Val *v = frame_val(s->f, st->var);
  if (!d) return;
  Atom dv = adj_value(ad, s->rev, v->type, v->at, d);
  Var *x[3];
  Cases c = cases_of(ad, plain_atom(s, &st->e->Call.args[0]));
  BlockBuilder yes = {0}, no = {0}, active = {0}, none = {0};
  Pattern *p = pattern_of(ad, ctor_of(ad, ACTIVE), x);
  Atom shadow = var_atom(ad, x[1]);
  Atom was = tan_in(ad, &active, AS_Shadow, v->type, em_read(ad, &active, shadow));
  Atom sum = tan_add(ad, &active, v->type, was, dv);
  Atom now = tan_out(ad, &active, AS_Shadow, v->type, var_atom(ad, x[0]), sum);
  em_write(ad, &active, shadow, now);
  add_case(ad, &c, p, &active, em_unit(ad, &active));
  add_case(ad, &c, anything(ad), &none, em_unit(ad, &none));
  Atom added = end_cases(ad, &yes, &c);
  Block *nothing = bb_done(&no, em_unit(ad, &no), ad->span);
  em_if(ad, s->rev, st->pb, bb_done(&yes, added, ad->span), nothing);
}

bool version_back(Scope *s, const Step *st, Adj *d) {
  AD *ad = s->f->ad;
  if (st->e->kind != EX_Call) return false;
  if (makes(ad, st->e))
    made_back(s, st);
  else if (reads(ad, st->e))
    read_back(s, st, d);
  else
    return false;
  return true;
}

/* ---- forward mode -------- */

bool version_made_forward(Scope *s, Var *v, Expr *e) {
  AD *ad = s->f->ad;
  if (!makes(ad, e)) return false;
  Type *t = atom_closed(s, &e->Call.args[0]);
  if (!no_functions(ad, t)) return true;
  Dual *d = forward_dual(s, &e->Call.args[0]);
  Atom x = dual_value(ad, s->fwd, t, d);
  Expr *made = version_call(ad, PLAIN, 1, &x);
  if (d->kind != DUAL_Plain && ad_has_tan(ad, t)) {
    outside_warms(ad, t);
    Atom dx = dual_out(ad, s->fwd, AS_Shadow, t, d);
    made = active_version(s, x, em_ref(ad, s->fwd, dx));
  }
  forward_bind(s, v, dual_plain(bb_bind(ad->cx, s->fwd, made, v->name, BIND_Let)));
  return true;
}

bool version_read_forward(Scope *s, Var *v, Expr *e) {
  AD *ad = s->f->ad;
  if (!reads(ad, e)) return false;
  Type *t = frame_type(s->f, v->type);
  if (!no_functions(ad, t) || !outside_warm(ad, t)) return false;
  Dual *full = dual_full(ad, t);
  Var *x[3];
  Cases c = cases_of(ad, forward_dual(s, &e->Call.args[0])->at);
  BlockBuilder plain = {0}, active = {0}, yes = {0}, no = {0};
  Pattern *p = pattern_of(ad, ctor_of(ad, PLAIN), x);
  Atom r = dual_as(ad, &plain, t, dual_plain(var_atom(ad, x[0])), full);
  add_case(ad, &c, p, &plain, r);
  p = pattern_of(ad, ctor_of(ad, ACTIVE), x);
  Atom at = var_atom(ad, x[0]);
  Atom live = em_read(ad, &active, var_atom(ad, x[2]));
  Atom dx = em_read(ad, &yes, var_atom(ad, x[1]));
  Atom moved = dual_as(ad, &yes, t, dual_in(ad, &yes, AS_Shadow, t, at, dx), full);
  Block *in_run = bb_done(&yes, moved, ad->span);
  Block *before = bb_done(&no, dual_as(ad, &no, t, dual_plain(at), full), ad->span);
  add_case(ad, &c, p, &active, em_if(ad, &active, live, in_run, before));
  forward_bind(s, v, dual_open(ad, s->fwd, t, full, end_cases(ad, s->fwd, &c)));
  return true;
}
