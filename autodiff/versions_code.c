/* versions_code.c -- a module written over versions (versions.h): types, and the
 * reads and writes of its refs.
 *
 * Refs of what has a tangent become refs of versions.  Where the program has refs of any
 * type, fn[A](ref(A)), all do: what is done to a type must be done to all of its instances. */
#include "autodiff/values.h"
#include "autodiff/versions.h"

typedef struct {
  AD *ad;
  bool all; /* there are refs of any type */
} Writer;

/* ---- types -------------------------------------------------------------------------- */

/* Are the contents of ref(t) to be versions? */
static bool wants(const Writer *w, Type *t) {
  if (version_is(w->ad, t)) return false;
  return w->all || ad_has_vars(t) || ad_has_tan(w->ad, t);
}

static Type *over_versions(Writer *w, Type *t) {
  if (!t) return NULL;
  t = type_resolve(t);
  int n = n_parts(t);
  Type **at = NEW_N(Type *, n + 1);
  bool same = true;
  for (int i = 0; i < n; i++) {
    at[i] = over_versions(w, part_type(t, i));
    same &= at[i] == part_type(t, i);
  }
  if (t->kind == TY_Ref && wants(w, t->ref)) {
    at[0] = type_data(w->ad->m->versions, 1, at);
    same = false;
  }
  return same ? t : with_parts(t, at);
}

static bool any_ref(Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Ref && (ad_has_vars(t->ref) || any_ref(t->ref))) return true;
  for (int i = 0; t->kind != TY_Ref && i < n_parts(t); i++)
    if (any_ref(part_type(t, i))) return true;
  return false;
}
static void see_general(void *ud, Var *v) {
  Writer *w = ud;
  if (v->type) w->all |= any_ref(v->type);
}
/* Those that versions hold have a tangent, or there were others. */
static void find_general(Writer *w) {
  Module *m = w->ad->m;
  for (int i = 0; i < m->globals.n; i++)
    if (!m->globals.at[i]->content) each_var(m->globals.at[i]->fn, see_general, w);
  for (int i = 0; i < m->types.n; i++) {
    DataDef *d = m->types.at[i];
    for (int c = 0; c < d->n_ctors && !d->versions; c++)
      for (int k = 0; k < d->ctor[c]->n; k++) w->all |= any_ref(d->ctor[c]->field[k]);
  }
}

/* Does t hold refs to be written over? */
static bool holds(Writer *w, Type *t, Map *seen) {
  t = type_resolve(t);
  if (t->kind == TY_Ref) return wants(w, t->ref) || holds(w, t->ref, seen);
  if (t->kind == TY_Fn) return false;
  for (int i = 0; i < n_parts(t); i++)
    if (holds(w, part_type(t, i), seen)) return true;
  if (t->kind != TY_Data || map_get(seen, map_ptr(t->data.def))) return false;
  map_set(seen, map_ptr(t->data.def), t);
  for (int c = 0; c < t->data.def->n_ctors; c++)
    for (int i = 0; i < t->data.def->ctor[c]->n; i++)
      if (holds(w, ad_field(w->ad, t, t->data.def->ctor[c], i), seen)) return true;
  return false;
}

/* ---- definitions ---------------------------------------------------------------------- */

static void define_content(AD *ad) {
  DataDef *d = ad->m->versions;
  TyVar **var = tyvar_one(sym(ad->cx->syms, "A"), ad->span);
  Type *any = type_var(var[0]);
  Fn *fn = NEW(Fn);
  *fn = (Fn){.span = ad->span, .n = 1, .n_vars = 1, .var = var, .ret = any};
  fn->param = NEW_N(Var *, 1);
  fn->param[0] = ad_var(ad, "c", type_data(d, 1, &any));
  Cases c = cases_of(ad, var_atom(ad, fn->param[0]));
  for (int k = 0; k < d->n_ctors; k++) {
    Var *x[3];
    BlockBuilder none = {0};
    Pattern *p = pattern_of(ad, d->ctor[k], x);
    for (int i = 1; i < p->n; i++) p->at[i] = anything(ad);
    add_case(ad, &c, p, &none, var_atom(ad, x[0]));
  }
  fn->body = cases_block(ad, &c);
  ad->m->content = ad_global(ad, "content", fn);
  ad->m->content->content = true;
}

static void define(AD *ad) {
  DataDef *d = ad_new_def(ad, "Version", ad->span);
  d->n_vars = 1;
  d->var = tyvar_one(sym(ad->cx->syms, "A"), ad->span);
  Type *any = type_var(d->var[0]);
  d->versions = true;
  Ctor *plain = ad_new_ctor(ad, d, "Plain", 1, 2), *active = ad_new_ctor(ad, d, "Active", 3, 2);
  plain->field[0] = active->field[0] = any;
  active->field[1] = type_ref(any);
  active->field[2] = type_ref(type_scalar(DT_bool));
  ad->m->versions = d;
}

/* ---- code ------------------------------------------------------------------------------- */

static void write_block(void *ud, Block *b);

static void write_fn(void *ud, Fn *fn) {
  for (int i = 0; i < fn->n; i++) fn->param[i]->annot = over_versions(ud, fn->param[i]->annot);
  fn->ret = over_versions(ud, fn->ret);
  write_block(ud, fn->body);
}

static void write_pattern(Writer *w, Pattern *p) {
  if (p->var) p->var->annot = over_versions(w, p->var->annot);
  for (int i = 0; i < p->n; i++) write_pattern(w, p->at[i]);
}

static bool is_written(const Writer *w, const Atom *ref) {
  Type *t = ref->kind == ATOM_Var ? ref->var->type : ref->type;
  return t && wants(w, type_resolve(t)->ref);
}

static Atom plain_version(AD *ad, Out o, Atom x) {
  return em_call(ad, o, ad_ctor_atom(ad, ad->m->versions->ctor[0]), 1, &x);
}

static void write_binding(Writer *w, Out o, Var *v, Expr *e, BindStyle style) {
  AD *ad = w->ad;
  ad->span = e->span;
  const Atom me = atom_var(v, e->span);
  if (e->kind == EX_Ref && is_written(w, &me)) {
    e->Ref.value = plain_version(ad, o, e->Ref.value);
  } else if (e->kind == EX_RefWrite && is_written(w, &e->RefWrite.ref)) {
    e->RefWrite.value = plain_version(ad, o, e->RefWrite.value);
  } else if (e->kind == EX_RefRead && is_written(w, &e->RefRead.ref)) {
    Atom c = bb_bind(ad->cx, o, e, sym(ad->cx->syms, "version"), BIND_Let);
    e = ad_call(atom_global(ad->m->content, e->span), 1, &c, e->span);
  }
  v->annot = over_versions(w, v->annot);
  bb_push(o, v, e, style);
}

static void write_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, write_block, write_fn};
  Writer *w = ud;
  BlockBuilder bb = {0};
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    if (e->kind == EX_MatchCast) e->MatchCast.to = over_versions(w, e->MatchCast.to);
    for (int c = 0; e->kind == EX_Match && c < e->Match.n_clauses; c++)
      write_pattern(w, e->Match.clauses[c].pat);
    if (e->kind == EX_Call) e->Call.inst = NULL;
    ir_visit(e, &visit, w);
    write_binding(w, &bb, b->at[i].var, e, b->at[i].style);
  }
  b->n = bb.b.n;
  b->at = bb.b.at;
}

bool versions_make(AD *ad, Type *t) {
  Module *m = ad->m;
  Writer w = {.ad = ad};
  Map seen = {0};
  find_general(&w);
  if (!holds(&w, t, &seen)) return false;
  int n_types = m->types.n, n_globals = m->globals.n;
  if (!m->versions) { /* else there are refs of what has become data since */
    define(ad);
    define_content(ad);
  }
  for (int i = 0; i < n_types; i++)
    for (int c = 0; c < m->types.at[i]->n_ctors && m->types.at[i] != m->versions; c++) {
      Ctor *ctor = m->types.at[i]->ctor[c];
      for (int k = 0; k < ctor->n; k++) ctor->field[k] = over_versions(&w, ctor->field[k]);
    }
  for (int i = 0; i < n_globals; i++) write_fn(&w, m->globals.at[i]->fn);
  return true;
}
