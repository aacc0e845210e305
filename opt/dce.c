/* dce.c -- bindings that nothing uses and that cannot be noticed.
 *
 * Blocks are walked from their end, so that a dead chain goes in one walk: a
 * dropped binding takes its own uses with it.  A value may go when computing
 * it has no effect and cannot fail; the operators' records say which cannot.
 * A variable whose type is the first to name an extent stays while the extent
 * is mentioned anywhere else.                                                 */
#include "opt/narrow.h"

/* uses: of variables; dims: mentions of symbols (Dim -> count). */
typedef struct {
  PassCx *cx;
  UseCount uses;
  Map dims;
  int by;
  Map given; /* Sym -> in scope                        */
  Map first; /* (Var, Sym) -> it is read from this one  */
  VEC(Dim) in_scope;
} Dce;

/* ---- mentions of extents ---- */

static void mention(void *ud, Dim s) {
  Dce *d = ud;
  intptr_t n = (intptr_t)map_get(&d->dims, map_ptr(s));
  map_set(&d->dims, map_ptr(s), (void *)(n + d->by));
}
static Dim mention_sym(void *ud, Dim s) {
  mention(ud, s);
  return NULL;
}
static void mention_type(Dce *d, Type *t) {
  if (t) type_subst(d->cx->m->cx->dims, t, NULL, mention_sym, d);
}

static void mention_block(void *ud, Block *b);
static void mention_atom(void *ud, Atom *a) {
  if (a->kind != ATOM_Var) mention_type(ud, a->type);
}
static void mention_fn(void *ud, Fn *f) {
  for (int i = 0; i < f->n; i++) mention_type(ud, f->param[i]->type);
  mention_type(ud, f->ret);
  mention_block(ud, f->body);
}
static void mention_pattern(Dce *d, const Pattern *p) {
  if (p->var) mention_type(d, p->var->type);
  for (int i = 0; i < p->n; i++) mention_pattern(d, p->at[i]);
}
static void mention_inst(Dce *d, const TypeArgs *in) {
  for (int i = 0; in && i < in->n_types; i++) mention_type(d, in->type[i]);
  for (int i = 0; in && i < in->n_dims; i++) dim_visit_syms(in->dim[i], mention, d);
}
static void mention_binding(Dce *d, const Binding *b) {
  static const ExprVisit visit = {mention_atom, mention_block, mention_fn};
  Expr *e = b->value;
  mention_type(d, b->var->type);
  mention_type(d, e->type);
  for (int i = 0; i < e->n_oblige; i++) {
    dim_visit_syms(e->oblige[i].a, mention, d);
    dim_visit_syms(e->oblige[i].b, mention, d);
  }
  if (e->kind == EX_Call) mention_inst(d, e->Call.inst);
  if (e->kind == EX_MatchCast) mention_type(d, e->MatchCast.to);
  for (int i = 0; e->kind == EX_Match && i < e->Match.n_clauses; i++)
    mention_pattern(d, e->Match.clauses[i].pat);
  ir_visit(e, &visit, d);
}
static void mention_block(void *ud, Block *b) {
  for (int i = 0; i < b->n; i++) mention_binding(ud, &b->at[i]);
}

/* ---- who gives an extent ---- */

/* A symbol is read from the first variable in scope that has it as an axis;
 * later ones need not stay for it. */
static uint64_t giving(const Var *v, Dim s) { return hash_mix(map_ptr(v), map_ptr(s)); }

static void give(Dce *d, const Var *v, Type *t) {
  t = t ? type_resolve(t) : NULL;
  for (int i = 0; t && t->kind == TY_Tensor && i < t->tensor.rank; i++) {
    Dim s = t->tensor.dim[i];
    if (s->kind != DIM_Sym || map_get(&d->given, map_ptr(s))) continue;
    map_set(&d->given, map_ptr(s), d);
    map_set(&d->first, giving(v, s), d);
    vec_push(&d->in_scope, s);
  }
}
/* Named extents are read from the fields of parameters that are tuples too. */
static void give_param(Dce *d, const Var *v, Type *t) {
  t = t ? type_resolve(t) : NULL;
  give(d, v, t);
  for (int i = 0; t && t->kind == TY_Tuple && i < t->tuple.n; i++) {
    Type *f = type_resolve(t->tuple.at[i]);
    bool named = f->kind == TY_Tuple;
    for (int k = 0; f->kind == TY_Tensor && k < f->tensor.rank; k++)
      named = named || (f->tensor.dim[k]->kind == DIM_Sym && f->tensor.dim[k]->name);
    if (named) give_param(d, v, f);
  }
}
static void give_pattern(Dce *d, const Pattern *p) {
  if (p->var) give(d, p->var, p->var->type);
  for (int i = 0; i < p->n; i++) give_pattern(d, p->at[i]);
}
static void leave_scope(Dce *d, int n) {
  while (d->in_scope.n > n) map_set(&d->given, map_ptr(vec_pop(&d->in_scope)), NULL);
}

static void give_block(void *ud, Block *b);
static void give_fn(void *ud, Fn *f) {
  Dce *d = ud;
  int mark = d->in_scope.n;
  for (int i = 0; i < f->n; i++) give_param(d, f->param[i], f->param[i]->type);
  give_block(d, f->body);
  leave_scope(d, mark);
}
static void give_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, give_block, give_fn};
  Dce *d = ud;
  int mark = d->in_scope.n;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    int before = d->in_scope.n;
    for (int k = 0; e->kind == EX_Match && k < e->Match.n_clauses; k++) {
      give_pattern(d, e->Match.clauses[k].pat);
      give_block(d, e->Match.clauses[k].body);
      leave_scope(d, before);
    }
    if (e->kind != EX_Match) ir_visit(e, &visit, d);
    give(d, b->at[i].var, b->at[i].var->type);
  }
  leave_scope(d, mark);
}

/* Does anything else mention an extent that this binding is the one to give?
 * Asked while the binding's own mentions are taken away. */
static bool gives_needed(Dce *d, const Binding *b) {
  Type *t = b->var->type ? type_resolve(b->var->type) : NULL;
  for (int i = 0; t && t->kind == TY_Tensor && i < t->tensor.rank; i++) {
    Dim s = t->tensor.dim[i];
    if (map_get(&d->first, giving(b->var, s)) && map_get(&d->dims, map_ptr(s))) return true;
  }
  return false;
}

/* ---- the walk ---- */

static bool unused(Dce *d, const Binding *b) {
  int n = uses_get(&d->uses, b->var);
  if (n == 0 || b->value->kind != EX_Fn) return n == 0;
  UseCount own = {0}; /* it may call itself           */
  uses_of_fn(&own, b->value->Fn.fn);
  return uses_get(&own, b->var) == n;
}

static bool drop(Dce *d, const Binding *b) {
  if (!unused(d, b) || !expr_can_go(b->value)) return false;
  d->by = -1;
  mention_binding(d, b);
  bool stays = gives_needed(d, b) || !pass_may(d->cx);
  d->by = 1;
  if (stays)
    mention_binding(d, b);
  else
    uses_of_expr(&d->uses, b->value, -1);
  return !stays;
}

static void dce_block(void *ud, Block *b) {
  Dce *d = ud;
  Bindings kept = {0};
  bool *gone = NEW_BYTES((size_t)b->n + 1);
  for (int i = b->n - 1; i >= 0; i--) {
    gone[i] = drop(d, &b->at[i]);
    if (!gone[i]) ir_visit(b->at[i].value, &(ExprVisit){NULL, dce_block, NULL}, d);
  }
  for (int i = 0; i < b->n; i++)
    if (!gone[i]) vec_push(&kept, b->at[i]);
  b->n = kept.n;
  b->at = kept.at;
}

void dce_global(void *ud, Global *g) {
  Dce d = {.cx = ud, .by = 1};
  uses_of_fn(&d.uses, g->fn);
  mention_fn(&d, g->fn);
  give_fn(&d, g->fn);
  dce_block(&d, g->fn->body);
}
static void dce_run(PassCx *cx) { each_global(cx->m, dce_global, cx); }

const Pass pass_dce = {.name = "dce",
                       .doc =
                           "Remove bindings that are never used, have no effect and cannot fail.",
                       .needs = FORM_TYPED,
                       .keeps = ~0u,
                       .run = dce_run};
