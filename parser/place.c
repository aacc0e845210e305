/* place.c -- graph bindings used outside the scope of their definition.
 *
 * TVM prints the definition of a shared node in the innermost scope that is
 * open at its first use, and may use it after that scope has ended:
 *
 *   if (%c) { %0 = exp(%x); f(%0) } else { g(%0) }
 *
 * Such a binding moves to the nearest block around all its uses, before the
 * statement that held its definition; what it needs moves with it.  Targets
 * only move outwards, so the loop below ends.  Bindings made for one statement
 * (nested calls, spliced lets) move together; a let or a parameter that is
 * needed elsewhere cannot move: an error.                                      */
#include "parser/parse.h"

typedef struct Scope {
  struct Scope *parent;
  Block *block;
  int depth;
  int at, def;    /* the binding of parent that holds it; its Def, -1 for the root */
  VEC(int) moved; /* Defs that come here, in textual order          */
  bool touched;
} Scope;

typedef struct {
  Var *var;
  Binding b;
  Scope *scope, *target; /* where it stands, where it goes                 */
  int index;             /* in scope's block; -1: parameter or pattern     */
  int used;              /* the use that moved it, -1                      */
} Def;

typedef struct {
  int def;
  Scope *scope;
  int owner;
  Span span;
} Use; /* owner: Def, -1: block result */

typedef struct {
  Parser *p;
  VEC(Def) defs;
  Map def_of;     /* Var -> index + 1               */
  VEC(int) order; /* Defs with bindings, as in the text */
  VEC(Use) uses;
  VEC(Scope *) scopes;
  Scope *scope;
  int owner; /* while walking                  */
  bool failed;
} Place;

/* ---- the tree of scopes ------------------------------------------------------ */

static int add_def(Place *pl, Var *v, const Binding *b, int index) {
  Def d = {.var = v, .scope = pl->scope, .target = pl->scope, .index = index, .used = -1};
  if (b) d.b = *b;
  vec_push(&pl->defs, d);
  map_set(&pl->def_of, map_ptr(v), (void *)(intptr_t)pl->defs.n);
  return pl->defs.n - 1;
}

static int def_of(const Place *pl, const Var *v) {
  return (int)(intptr_t)map_get(&pl->def_of, map_ptr(v)) - 1;
}

static void walk_block(Place *pl, Block *b, Scope *s);

static void see_atom(void *ud, Atom *a) {
  Place *pl = ud;
  if (a->kind != ATOM_Var) return;
  int d = def_of(pl, a->var);
  if (d < 0) return; /* a free_var                     */
  Use u = {d, pl->scope, pl->owner, a->span};
  vec_push(&pl->uses, u);
}

static Scope *enter(Place *pl, Block *b) {
  Scope *s = NEW(Scope);
  *s = (Scope){.parent = pl->scope,
               .block = b,
               .def = pl->owner,
               .at = pl->owner >= 0 ? pl->defs.at[pl->owner].index : 0,
               .depth = pl->scope ? pl->scope->depth + 1 : 0};
  vec_push(&pl->scopes, s);
  return s;
}

static void see_block(void *ud, Block *b) { walk_block(ud, b, enter(ud, b)); }

static void see_fn(void *ud, Fn *f) {
  Place *pl = ud;
  Scope *s = enter(pl, f->body), *outer = pl->scope;
  pl->scope = s;
  for (int i = 0; i < f->n; i++) add_def(pl, f->param[i], NULL, -1);
  pl->scope = outer;
  walk_block(pl, f->body, s);
}

static void see_pattern(Place *pl, const Pattern *q) {
  if (q->kind == PAT_Var) add_def(pl, q->var, NULL, -1);
  for (int i = 0; i < q->n; i++) see_pattern(pl, q->at[i]);
}

static void see_match(Place *pl, Expr *e) {
  see_atom(pl, &e->Match.scrutinee);
  for (int i = 0; i < e->Match.n_clauses; i++) {
    Clause *c = &e->Match.clauses[i];
    Scope *s = enter(pl, c->body), *outer = pl->scope;
    pl->scope = s;
    see_pattern(pl, c->pat);
    pl->scope = outer;
    walk_block(pl, c->body, s);
  }
}

/* A definition is known before what it contains (a let may be recursive), but
 * comes behind it in the order of the text. */
static void walk_block(Place *pl, Block *b, Scope *s) {
  static const ExprVisit visit = {see_atom, see_block, see_fn};
  Scope *outer = pl->scope;
  int owner = pl->owner;
  pl->scope = s;
  for (int i = 0; i < b->n; i++) {
    pl->owner = add_def(pl, b->at[i].var, &b->at[i], i);
    if (b->at[i].value->kind == EX_Match)
      see_match(pl, b->at[i].value);
    else
      ir_visit(b->at[i].value, &visit, pl);
    vec_push(&pl->order, pl->owner);
  }
  pl->owner = -1;
  see_atom(pl, &b->result);
  pl->owner = owner;
  pl->scope = outer;
}

/* ---- where things go -------------------------------------------------------------- */

/* The scope around s once the binding that holds it has moved. */
static Scope *around(const Place *pl, const Scope *s) {
  return s->def < 0 ? NULL : pl->defs.at[s->def].target;
}

static bool encloses(const Place *pl, const Scope *a, const Scope *s) {
  while (s && s->depth > a->depth) s = around(pl, s);
  return s == a;
}

static Scope *common(const Place *pl, Scope *a, Scope *b) {
  while (a != b) {
    if (a->depth >= b->depth)
      a = around(pl, a);
    else
      b = around(pl, b);
  }
  return a;
}

static const char *var_text(const Place *pl, const Var *v) {
  if (v->name) return str_fmt("%%%s", v->name);
  for (int i = 0; i < pl->p->graph.n; i++) {
    const GraphName *g = pl->p->graph.entry[i].value;
    if (g->atom.kind == ATOM_Var && g->atom.var == v)
      return str_fmt("%%%s", (const char *)(uintptr_t)pl->p->graph.entry[i].key);
  }
  return "a value";
}

static void refuse(Place *pl, const Def *d, const Use *u) {
  const Use *why = u;
  for (int i = 0; i < pl->uses.n && why->owner >= 0 && pl->defs.at[why->owner].used >= 0; i++)
    why = &pl->uses.at[pl->defs.at[why->owner].used]; /* the use that began it */
  const char *name = var_text(pl, d->var);
  pl->failed = true;
  if (!may_report(pl->p)) return;
  diag_error(pl->p->d, why->span, E0201, str_fmt("%s, which this needs,", name));
  if (why != u) diag_note(pl->p->d, u->span, "%s is used here", name);
  diag_note(pl->p->d, d->var->span, "%s is defined here, in a scope that ends before", name);
}

static void move_to(Place *pl, int def, Scope *to, int use) {
  Def *d = &pl->defs.at[def];
  if (d->target->depth <= to->depth) return;
  d->target = to;
  d->used = use;
}

/* The bindings of the statement that made def go to `to`. */
static void move_statement(Place *pl, int def, Scope *to, int use) {
  Def *d = &pl->defs.at[def];
  const GraphName *g = map_get(&pl->p->graph_of, map_ptr(d->var));
  int n = g ? g->n_binds : 1;
  if (d->index < 0 || (!g && d->b.style == BIND_Let)) {
    refuse(pl, d, &pl->uses.at[use]);
    return;
  }
  for (int i = d->index - n + 1; i <= d->index; i++) {
    int k = def_of(pl, d->scope->block->at[i].var);
    if (k >= 0) move_to(pl, k, to, use);
  }
}

/* Backwards: what a moved binding needs stands in front of it. */
static bool settle(Place *pl) {
  bool changed = false;
  for (int i = pl->uses.n - 1; i >= 0 && !pl->failed; i--) {
    const Use *u = &pl->uses.at[i];
    Scope *where = u->owner >= 0 ? pl->defs.at[u->owner].target : u->scope;
    Scope *at = pl->defs.at[u->def].target;
    if (encloses(pl, at, where)) continue;
    move_statement(pl, u->def, common(pl, at, where), i);
    changed = true;
  }
  return changed;
}

/* Does the chain of scopes from s pass through the binding of def? */
static bool inside(const Place *pl, const Scope *s, int def, bool moved) {
  for (; s; s = moved ? around(pl, s) : s->parent)
    if (s->def == def) return true;
  return false;
}

/* A recursive function's name is known in its body only. */
static void check_recursion(Place *pl) {
  for (int i = 0; i < pl->uses.n && !pl->failed; i++) {
    const Use *u = &pl->uses.at[i];
    const Def *d = &pl->defs.at[u->def];
    if (d->index < 0 || d->b.value->kind != EX_Fn || d->b.style != BIND_Let) continue;
    const Scope *where = u->owner >= 0 ? pl->defs.at[u->owner].target : u->scope;
    if (inside(pl, u->scope, u->def, false) && !inside(pl, where, u->def, true)) refuse(pl, d, u);
  }
}

/* ---- rebuilding ------------------------------------------------------------------------ */

/* Where in to's block the statement stands that holds scope s. */
static int position_in(const Scope *to, const Scope *s) {
  while (s->parent != to) s = s->parent;
  return s->at;
}

/* In the order of the text, so each scope's list is sorted by position. */
static void collect(Place *pl) {
  for (int i = 0; i < pl->order.n; i++) {
    Def *d = &pl->defs.at[pl->order.at[i]];
    if (d->target == d->scope) continue;
    vec_push(&d->target->moved, pl->order.at[i]);
    d->target->touched = d->scope->touched = true;
  }
}

static void rebuild(Place *pl, Scope *s) {
  BlockBuilder bb = {0};
  Block *b = s->block;
  for (int i = 0, k = 0; i < b->n; i++) {
    for (; k < s->moved.n; k++) {
      const Def *d = &pl->defs.at[s->moved.at[k]];
      if (position_in(s, d->scope) != i) break;
      vec_push(&bb.b, d->b);
    }
    if (pl->defs.at[def_of(pl, b->at[i].var)].target == s) vec_push(&bb.b, b->at[i]);
  }
  b->n = bb.b.n;
  b->at = bb.b.at;
}

void place_graph(Parser *p, Block *body) {
  Place pl = {.p = p, .owner = -1};
  walk_block(&pl, body, enter(&pl, body));
  while (!pl.failed && settle(&pl)) {}
  if (!pl.failed) check_recursion(&pl);
  if (pl.failed) return;
  collect(&pl);
  for (int i = 0; i < pl.scopes.n; i++)
    if (pl.scopes.at[i]->touched) rebuild(&pl, pl.scopes.at[i]);
}
