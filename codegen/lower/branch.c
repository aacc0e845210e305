/* branch.c -- alternatives.
 *
 * Every branch starts from the state at the fork and ends owning the same: the
 * variables that die in the expression are gone in all of them.               */
#include "codegen/lower/lower_priv.h"

Fork fl_fork(FnLower *f, Dest dest, VarSet *dying) {
  Fork k = {.dying = dying, .dest = dest};
  for (int i = 0; i < dying->v.n; i++) {
    Val *v = map_get(&f->val, map_ptr(dying->v.at[i].var));
    vec_push(&k.val, v ? *v : (Val){0});
  }
  k.regs = fl_save(f);
  k.join = fl_label_new(f);
  return k;
}

static void revive(FnLower *f, Fork *k) {
  for (int i = 0; i < k->val.n; i++)
    if (k->val.at[i].kind != VAL_NONE) fl_set(f, k->dying->v.at[i].var, k->val.at[i]);
}

void fl_fork_branch(FnLower *f, Fork *k) {
  fl_restore(f, &k->regs);
  revive(f, k);
}

void fl_fork_leave(FnLower *f, Fork *k) { fl_jump(f, k->join); }

void fl_fork_join(FnLower *f, Fork *k) {
  fl_fork_branch(f, k);
  for (int i = 0; i < k->dying->v.n; i++) {
    Val *v = map_get(&f->val, map_ptr(k->dying->v.at[i].var));
    if (!v || v->kind != VAL_REG) continue;
    fl_release(f, v->reg);
    v->kind = VAL_NONE;
  }
  if (k->dest.tail) {
    f->dead = true;
    return;
  }
  f->reg.at[k->dest.reg].used = true;
  fl_label_here(f, k->join);
}

void fl_deliver(FnLower *f, Dest dest, uint16_t reg) {
  if (dest.var)
    fl_bind_reg(f, dest.var, reg);
  else
    fl_move_to(f, dest, reg);
}
