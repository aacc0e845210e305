/* copy.c -- copy propagation: after %x = %y, uses of %x are uses of %y.
 *
 * The binding itself stays for dce: the type of %x may be the first to name an
 * extent.  A copy that carries a run-time check, or whose type says something
 * else than its value's, is left alone.                                       */
#include "opt/walk.h"

typedef struct {
  PassCx *cx;
  Replace r;
  Map refused;
} Copy;

static void copy_atom(void *ud, Atom *a) {
  Copy *c = ud;
  if (a->kind != ATOM_Var || !map_get(&c->r.to, map_ptr(a->var))) return;
  if (pass_may(c->cx)) replace_atom(&c->r, a);
}

static void copy_block(void *ud, Block *b) {
  static const ExprVisit visit = {copy_atom, copy_block, NULL};
  Copy *c = ud;
  for (int i = 0; i < b->n; i++) {
    const Binding *bd = &b->at[i];
    ir_visit(bd->value, &visit, c);
    if (bd->value->kind == EX_Just && !bd->value->n_oblige &&
        atom_can_be(bd->var, &bd->value->Just.value))
      replace_set(&c->r, bd->var, &bd->value->Just.value);
  }
  copy_atom(c, &b->result);
}

static void copy_global(void *ud, Global *g) { copy_block(ud, g->fn->body); }
static void copy_run(PassCx *cx) { each_global(cx->m, copy_global, &(Copy){.cx = cx}); }

const Pass pass_copy = {.name = "copy",
                        .doc = "Use the original instead of a copy of it.",
                        .needs = FORM_TYPED,
                        .keeps = ~0u,
                        .run = copy_run};
