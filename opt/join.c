/* join.c -- see join.h.                                                          */
#include "opt/join.h"

static void take_part(Binding *b, Atom parts, int i) {
  Expr *e = ir_expr(EX_Proj, b->value->span);
  e->type = b->var->type;
  e->Proj.tuple = parts;
  e->Proj.index = i;
  b->value = e;
}

static void find_groups(Join *j, Block *b, Map *group_of) {
  Map by_key = {0}; /* key -> JoinGroup */
  j->place = (Map){0};
  for (int i = 0; i < b->n; i++) {
    const Expr *e = b->at[i].value;
    known_put(&j->known, &b->at[i]);
    map_set(&j->place, map_ptr(b->at[i].var), (void *)(uintptr_t)(i + 1));
    const Var *key = j->key(j, e);
    if (!key) continue;
    JoinGroup *g = map_get(&by_key, map_ptr(key));
    if (!g || g->n == JOIN_MOST || (j->fits && !j->fits(j, b, g, e)))
      map_set(&by_key, map_ptr(key), g = NEW(JoinGroup));
    g->at[g->n++] = i;
    map_set(group_of, map_ptr(b->at[i].var), g);
  }
}

bool join_is_before(const Join *j, const Var *v, int i) {
  return (uintptr_t)map_get(&j->place, map_ptr(v)) <= (uintptr_t)i;
}

static void visit_block(void *ud, Block *b) { join_block(ud, b); }

void join_block(Join *j, Block *b) {
  static const ExprVisit visit = {NULL, visit_block, NULL};
  Map group_of = {0}, parts = {0}; /* Var -> JoinGroup; that -> Atom *: the tuple */
  Bindings out = {0};
  find_groups(j, b, &group_of);
  for (int i = 0; i < b->n; i++) {
    Binding bd = b->at[i];
    JoinGroup *g = map_get(&group_of, map_ptr(bd.var));
    Maker k = {j->cx->m, bd.value->span, &out};
    ir_visit(bd.value, &visit, j);
    if (g && g->n > 1 && g->at[0] == i && pass_may(j->cx)) {
      Atom *made = NEW(Atom);
      *made = j->make(j, &k, b, g);
      map_set(&parts, map_ptr(g), made);
    }
    const Atom *made = g ? map_get(&parts, map_ptr(g)) : NULL;
    for (int p = 0; made && p < g->n; p++)
      if (g->at[p] == i) take_part(&bd, *made, p);
    vec_push(&out, bd);
  }
  b->n = out.n;
  b->at = out.at;
}
