/* fields.c -- a match that cannot fail, taken apart.
 *
 * Weights come as data of one constructor.  As long as what is done with them
 * stands inside a match, a value made there (a pullback, say) is not in view
 * outside.  So `match p { K(a, b) => body }` becomes a load of each field that
 * body uses, a = match p { K(a', _) => a' }, and body.  Such a match of one
 * field stays, so this ends: each step leaves one match less that is not.     */
#include "opt/fields.h"

static bool takes_all(const Pattern *p) {
  if (p->kind == PAT_Ctor && p->ctor->def->n_ctors != 1) return false;
  for (int i = 0; i < p->n; i++)
    if (!takes_all(p->at[i])) return false;
  return true;
}

static void variables(const Pattern *p, VarList *out) {
  if (p->kind == PAT_Var) vec_push(out, p->var);
  for (int i = 0; i < p->n; i++) variables(p->at[i], out);
}

static void unknown(void *ud, Dim s) {
  const Map **given = ud;
  if (*given && !map_get(*given, map_ptr(s))) *given = NULL;
}
static Dim look(void *ud, Dim s) {
  unknown(ud, s);
  return NULL;
}
/* Is every extent in t given? */
static bool in_scope(IrCtx *cx, const Map *given, Type *t) {
  if (!t) return false;
  type_subst(cx->dims, t, NULL, look, &given);
  return given != NULL;
}

static bool is_load(const Clause *c) {
  const Block *b = c->body;
  VarList vars = {0};
  variables(c->pat, &vars);
  return vars.n == 1 && c->pat->kind != PAT_Var && b->n == 0 && b->result.kind == ATOM_Var &&
         b->result.var == vars.at[0];
}

bool match_is_load(const Expr *e) {
  return e->kind == EX_Match && takes_all(e->Match.clauses[0].pat) && is_load(&e->Match.clauses[0]);
}

/* The pattern with v replaced by `to`, and what it gives beside that ignored. */
static Pattern *only(const Pattern *p, const Var *v, Var *to) {
  Pattern *q = NEW(Pattern);
  *q = *p;
  if (p->kind == PAT_Var) {
    q->var = p->var == v ? to : NULL;
    q->kind = q->var ? PAT_Var : PAT_Wild;
  }
  q->at = NEW_N(Pattern *, p->n + 1);
  for (int i = 0; i < p->n; i++) q->at[i] = only(p->at[i], v, to);
  return q;
}

static Binding load(IrCtx *cx, const Expr *e, Var *v) {
  const Clause *c = &e->Match.clauses[0];
  Var *field = ir_var(cx, v->name, v->span);
  Block *body = NEW(Block);
  Expr *m = ir_expr(EX_Match, e->span);
  field->type = v->type;
  *body = (Block){.result = atom_var(field, v->span), .span = c->span};
  body->result.type = v->type;
  m->type = v->type;
  m->Match.scrutinee = e->Match.scrutinee;
  m->Match.n_clauses = 1;
  m->Match.clauses = NEW(Clause);
  m->Match.clauses[0] = (Clause){only(c->pat, v, field), body, c->span};
  return (Binding){v, m, BIND_Let};
}

Block *match_fields(IrCtx *cx, const Expr *e, const Map *given, Bindings *out) {
  if (e->kind != EX_Match || !takes_all(e->Match.clauses[0].pat)) return NULL;
  const Clause *c = &e->Match.clauses[0];
  VarList vars = {0};
  UseCount uses = {0};
  vec_clear(out);
  if (is_load(c)) return NULL;
  variables(c->pat, &vars);
  for (int i = 0; i < vars.n; i++)
    if (!in_scope(cx, given, vars.at[i]->type)) return NULL;
  uses_of_block(&uses, c->body);
  for (int i = 0; i < vars.n; i++)
    if (uses_get(&uses, vars.at[i])) vec_push(out, load(cx, e, vars.at[i]));
  return c->body;
}
