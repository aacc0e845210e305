/* known.c -- what is decided before the program runs: projections of tuples
 * made in view, matches of constructors made in view, ifs on constants.
 *
 * The branch that is taken is spliced into the block around it: its bindings
 * run exactly when the branch would have run.  Pattern variables become
 * copies.  Where the block's own result is the branch's (a tail position) and
 * the types differ in what they say, the branch stays: a copy after it would
 * turn a tail call into a plain one.                                          */
#include "opt/walk.h"

typedef struct {
  PassCx *cx;
  Map def;
} Known; /* Var -> Expr *   */

static const Expr *def_of(const Known *k, const Atom *a) {
  return a->kind == ATOM_Var ? map_get(&k->def, map_ptr(a->var)) : NULL;
}

/* ---- matching at compile time ---- */

typedef enum { FITS, FAILS, UNKNOWN } Fit;
typedef VEC(Binding) Bound;

/* The constructor of an atom and its fields, if known. */
static const Ctor *ctor_of(const Known *k, const Atom *a, int *n, const Atom **field) {
  const Expr *e = def_of(k, a);
  *n = 0;
  *field = NULL;
  if (e && e->kind == EX_Just) a = &e->Just.value;
  if (a->kind == ATOM_Ctor) return a->ctor;
  if (!e || e->kind != EX_Call) return NULL;
  *n = e->Call.n_args;
  *field = e->Call.args;
  return e->Call.callee.ctor;
}

static Fit fit(const Known *k, const Pattern *p, const Atom *a, Bound *out);

static Fit fit_all(const Known *k, const Pattern *p, int n, const Atom *at, Bound *out) {
  Fit all = FITS;
  if (n != p->n) return UNKNOWN;
  for (int i = 0; i < n; i++) {
    Fit f = fit(k, p->at[i], &at[i], out);
    if (f == FAILS) return FAILS;
    if (f == UNKNOWN) all = UNKNOWN;
  }
  return all;
}

static Fit fit(const Known *k, const Pattern *p, const Atom *a, Bound *out) {
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
  const Expr *e = def_of(k, a);
  if (!e || e->kind != EX_Tuple) return UNKNOWN;
  return fit_all(k, p, e->Tuple.n_items, e->Tuple.items, out);
}

/* The block that will run, or NULL. */
static Block *chosen(const Known *k, const Expr *e, Bound *bound) {
  if (e->kind == EX_If) {
    const Atom *c = &e->If.cond;
    const Expr *d = def_of(k, c);
    if (d && d->kind == EX_Just) c = &d->Just.value;
    if (c->kind != ATOM_Const) return NULL;
    return *(const uint8_t *)c->cst->bytes ? e->If.then : e->If.otherwise;
  }
  for (int i = 0; e->kind == EX_Match && i < e->Match.n_clauses; i++) {
    vec_clear(bound);
    Fit f = fit(k, e->Match.clauses[i].pat, &e->Match.scrutinee, bound);
    if (f == FITS) return e->Match.clauses[i].body;
    if (f == UNKNOWN) return NULL;
  }
  return NULL;
}

/* ---- the walk ---- */

static void known_into(Known *k, Block *b, Bindings *out);
static void known_block(void *ud, Block *b) {
  Bindings out = {0};
  known_into(ud, b, &out);
  b->n = out.n;
  b->at = out.at;
}

static void put(Known *k, Bindings *out, Binding b) {
  if (is_transparent(b.value)) map_set(&k->def, map_ptr(b.var), b.value);
  /* A copy of something in view is in view. */
  const Expr *of =
      b.value->kind == EX_Just && !b.value->n_oblige ? def_of(k, &b.value->Just.value) : NULL;
  if (of) map_set(&k->def, map_ptr(b.var), (void *)(uintptr_t)of);
  vec_push(out, b);
}

static bool splice(Known *k, Block *in, const Binding *b, Bindings *out, bool last) {
  Bound bound = {0};
  Block *take = chosen(k, b->value, &bound);
  if (!take) return false;
  bool tail = last && in->result.kind == ATOM_Var && in->result.var == b->var;
  bool same = !b->value->n_oblige && atom_can_be(b->var, &take->result);
  if ((tail && !same) || !pass_may(k->cx)) return false;
  for (int i = 0; i < bound.n; i++) put(k, out, bound.at[i]);
  known_into(k, take, out);
  Binding done = bind_copy(b->var, take->result, b->style, b->value->span);
  done.value->n_oblige = b->value->n_oblige;
  done.value->oblige = b->value->oblige;
  put(k, out, done);
  if (tail) in->result = take->result;
  return true;
}

static void project(Known *k, Expr *e) {
  const Expr *t = e->kind == EX_Proj ? def_of(k, &e->Proj.tuple) : NULL;
  if (!t || t->kind != EX_Tuple || e->Proj.index >= t->Tuple.n_items || !pass_may(k->cx)) return;
  Atom item = t->Tuple.items[e->Proj.index];
  e->kind = EX_Just;
  e->Just.value = item;
}

static void known_into(Known *k, Block *b, Bindings *out) {
  for (int i = 0; i < b->n; i++) {
    if (splice(k, b, &b->at[i], out, i == b->n - 1)) continue;
    project(k, b->at[i].value);
    ir_visit(b->at[i].value, &(ExprVisit){NULL, known_block, NULL}, k);
    put(k, out, b->at[i]);
  }
}

static void known_global(void *ud, Global *g) { known_block(ud, g->fn->body); }
static void known_run(PassCx *cx) { each_global(cx->m, known_global, &(Known){.cx = cx}); }

const Pass pass_known = {.name = "known",
                         .doc = "Decide projections, matches and ifs whose operand is in view.",
                         .needs = FORM_TYPED,
                         .keeps = ~0u,
                         .run = known_run};
