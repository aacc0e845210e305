/* known.c -- matching at compile time.                                        */
#include "opt/known.h"

void known_put(Known *k, const Binding *b) {
  const Expr *e = b->value;
  bool copy = e->kind == EX_Just && !e->n_oblige;
  if (copy || e->kind == EX_Fn || is_transparent(e)) map_set(&k->def, map_ptr(b->var), b->value);
}

static const Atom *item_of(const Known *k, const Expr *proj) {
  const Expr *t = known_def(k, &proj->Proj.tuple);
  if (!t || t->kind != EX_Tuple || proj->Proj.index >= t->Tuple.n_items) return NULL;
  return &t->Tuple.items[proj->Proj.index];
}

const Atom *known_root(const Known *k, const Atom *a) {
  while (a->kind == ATOM_Var) {
    const Expr *e = map_get(&k->def, map_ptr(a->var));
    if (!e) break;
    const Atom *to = e->kind == EX_Just   ? &e->Just.value
                     : e->kind == EX_Proj ? item_of(k, e)
                                          : NULL;
    if (!to) break;
    a = to;
  }
  return a;
}

const Expr *known_def(const Known *k, const Atom *a) {
  a = known_root(k, a);
  return a->kind == ATOM_Var ? map_get(&k->def, map_ptr(a->var)) : NULL;
}

/* Lists may be long: only what is near is looked at. */
static bool has_constant(const Known *k, const Atom *a, int depth) {
  const Atom *root = known_root(k, a);
  const Expr *e = root->kind == ATOM_Var ? known_def(k, root) : NULL;
  if (root->kind == ATOM_Const) return root->cst->rank > 0;
  bool tuple = e && e->kind == EX_Tuple;
  bool data = e && e->kind == EX_Call;
  int n = tuple ? e->Tuple.n_items : data ? e->Call.n_args : 0;
  for (int i = 0; i < n && i < 16 && depth < 6; i++)
    if (has_constant(k, tuple ? &e->Tuple.items[i] : &e->Call.args[i], depth + 1)) return true;
  return false;
}
bool known_has_constant(const Known *k, const Atom *a) { return has_constant(k, a, 0); }

typedef enum { FITS, FAILS, UNKNOWN } Fit;

/* The constructor of an atom and its fields, if known. */
static const Ctor *ctor_of(const Known *k, const Atom *a, int *n, const Atom **field) {
  const Expr *e = known_def(k, a);
  a = known_root(k, a);
  *n = 0;
  *field = NULL;
  if (a->kind == ATOM_Ctor) return a->ctor;
  if (!e || e->kind != EX_Call) return NULL;
  *n = e->Call.n_args;
  *field = e->Call.args;
  return e->Call.callee.ctor;
}

bool known_is_data(const Known *k, const Atom *a) {
  const Expr *e = known_def(k, a);
  return known_root(k, a)->kind == ATOM_Ctor || (e && e->kind == EX_Call);
}

static Fit fit(const Known *k, const Pattern *p, const Atom *a, Bindings *out);

static Fit fit_all(const Known *k, const Pattern *p, int n, const Atom *at, Bindings *out) {
  Fit all = FITS;
  if (n != p->n) return UNKNOWN;
  for (int i = 0; i < n; i++) {
    Fit f = fit(k, p->at[i], &at[i], out);
    if (f == FAILS) return FAILS;
    if (f == UNKNOWN) all = UNKNOWN;
  }
  return all;
}

static Fit fit(const Known *k, const Pattern *p, const Atom *a, Bindings *out) {
  const Atom *field;
  int n;
  switch (p->kind) {
  case PAT_Wild: return FITS;
  case PAT_Var: vec_push(out, bind_copy(p->var, *a, BIND_Let, p->span)); return FITS;
  case PAT_Ctor: {
    const Ctor *c = ctor_of(k, a, &n, &field);
    if (!c) return UNKNOWN;
    return c == p->ctor ? fit_all(k, p, n, field, out) : FAILS;
  }
  case PAT_Tuple: break;
  }
  const Expr *e = known_def(k, a);
  if (!e || e->kind != EX_Tuple) return UNKNOWN;
  return fit_all(k, p, e->Tuple.n_items, e->Tuple.items, out);
}

static Block *branch_of_if(const Known *k, const Expr *e) {
  const Atom *c = known_root(k, &e->If.cond);
  if (c->kind != ATOM_Const) return NULL;
  return *(const uint8_t *)c->cst->bytes ? e->If.then : e->If.otherwise;
}

Block *known_branch(const Known *k, const Expr *e, Bindings *bound) {
  vec_clear(bound);
  if (e->kind == EX_If) return branch_of_if(k, e);
  for (int i = 0; e->kind == EX_Match && i < e->Match.n_clauses; i++) {
    vec_clear(bound);
    Fit f = fit(k, e->Match.clauses[i].pat, &e->Match.scrutinee, bound);
    if (f == FITS) return e->Match.clauses[i].body;
    if (f == UNKNOWN) return NULL;
  }
  return NULL;
}
