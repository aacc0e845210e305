/* leftover.c -- functions that nobody uses once their derivatives are made.
 *
 *   grad(fn (%x) { %x * %x })(%y)
 *
 * The literal had its types from the form.  The derivative stands in the form's
 * place, and to what is left of the literal, and of other names for it, nothing
 * gives types any more.                                                        */
#include "autodiff/ad.h"

typedef struct {
  AD *ad;
  Map used;         /* Var                                                */
  Map held;         /* Var -> Expr: counts only if the variable is used   */
  VEC(Expr *) todo; /* of those that are                                  */
} Leftover;

static bool is_held(AD *ad, const Binding *b) {
  ExprKind k = b->value->kind;
  if (k == EX_Fn) return true;
  return (k == EX_Just || k == EX_Proj || k == EX_Tuple) && b->var->type &&
         ad_special(ad, b->var->type);
}

static void use_atom(void *ud, Atom *a) {
  Leftover *l = ud;
  if (a->kind != ATOM_Var || map_get(&l->used, map_ptr(a->var))) return;
  map_set(&l->used, map_ptr(a->var), a->var);
  Expr *e = map_get(&l->held, map_ptr(a->var));
  if (e) vec_push(&l->todo, e);
}

static void use_block(void *ud, Block *b) {
  static const ExprVisit visit = {use_atom, use_block, NULL};
  Leftover *l = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    if (!is_held(l->ad, &b->at[i]))
      ir_visit(e, &visit, l);
    else if (map_get(&l->used, map_ptr(b->at[i].var)))
      vec_push(&l->todo, e);
    else
      map_set(&l->held, map_ptr(b->at[i].var), e);
  }
  use_atom(ud, &b->result);
}

static void drop_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, drop_block, NULL};
  Leftover *l = ud;
  int n = 0;
  for (int i = 0; i < b->n; i++) {
    if (is_held(l->ad, &b->at[i]) && !map_get(&l->used, map_ptr(b->at[i].var))) continue;
    ir_visit(b->at[i].value, &visit, l);
    b->at[n++] = b->at[i];
  }
  b->n = n;
}

void drop_leftover(AD *ad) {
  static const ExprVisit visit = {use_atom, use_block, NULL};
  Module *m = ad->m;
  Leftover l = {.ad = ad};
  for (int i = 0; i < m->globals.n; i++) use_block(&l, m->globals.at[i]->fn->body);
  for (int i = 0; i < l.todo.n; i++) ir_visit(l.todo.at[i], &visit, &l);
  for (int i = 0; i < m->globals.n; i++) drop_block(&l, m->globals.at[i]->fn->body);
}
