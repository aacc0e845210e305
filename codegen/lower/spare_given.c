/* spare_given.c -- what a loop makes and gives away, into a cell, takes what has died.
 *
 * Two stacks, one read and one filled, change places: in f(now, Cons(begun, Nil)), which calls
 * f(begun, Cons(new, Nil)), `new` takes the memory of `now`, and its cell that of the first, if
 * the way from the loop's start to the call says that they have the same extents and fields.
 * As everywhere, what has another owner is not taken (spare.c).                            */
#include "codegen/lower/spare.h"

/* Is that extent of parameter k compared on the way with register reg, which still has it at
 * `made`? */
static bool has_extent(Loop *l, uint32_t k, uint32_t axis, uint32_t reg, int made) {
  const Way *way = &l->way;
  int dim = NOWHERE;
  bool found = false;
  for (int i = 0; i < way->n && way->pc[i] != made; i++) {
    int pc = way->pc[i];
    const Ins *x = loop_ins(l, pc);
    if (x->op == OP_DIM && x->b == k && x->c == axis) {
      dim = x->a;
      continue;
    }
    if (dim != NOWHERE && x->op == OP_CHECKEQ)
      found = found || (loop_pool(l, pc)[0] == (uint32_t)dim && loop_pool(l, pc)[1] == reg);
    if (dim != NOWHERE && loop_writes(l, pc, (uint32_t)dim)) dim = NOWHERE;
    if (found && loop_writes(l, pc, reg)) return false;
  }
  return found;
}

static bool has_extents(Loop *l, uint32_t k, int made) {
  const uint32_t *w = loop_pool(l, made);
  bool yes = true;
  for (uint32_t d = 0; d < w[1] && yes; d++) yes = has_extent(l, k, d, w[2 + d], made);
  return yes;
}

/* What parameter k held serves the tensor made at `made`. */
static bool give_tensor(Loop *l, uint32_t k, int from, int made) {
  const Fate *x = &l->fate[k];
  if (x->pc == NOWHERE || x->pc > made || l->edit[x->pc].kind || !loop_tensor(l, k, made, true) ||
      !has_extents(l, k, made))
    return false;
  return loop_pass(l, x, from, made, (Kept){.type = x->type});
}

/* The cell that parameter k held serves the one of its type made at pc, of these fields; into:
 * where that takes its memory, or the DATA itself. */
static bool give_dead_cell(Loop *l, uint32_t k, int from, int into, uint32_t type,
                           uint32_t fields) {
  const Fate *x = &l->fate[k];
  const IRegState *s = x->known;
  if (x->pc == NOWHERE || x->pc >= from || l->edit[x->pc].kind) return false;
  if (!s || s->type != type || s->ctor == 0) return false;
  const IType *t = &l->f->L->types.at[s->type];
  if (l->f->L->ctors.at[t->first_ctor + s->ctor - 1u].n_fields != fields) return false;
  return loop_pass(l, x, from, into, (Kept){.ctor = s->ctor, .type = s->type});
}

/* A cell that would take the memory of another takes this one's: the other's may have one more
 * owner. */
static int shell_of(const Loop *l, int from, int renew) {
  for (int pc = renew - 1; pc >= from; pc--)
    if (loop_ins(l, pc)->op == OP_SHELL && loop_ins(l, pc)->a == loop_pool(l, renew)[2]) return pc;
  return NOWHERE;
}

static void give_cell(Loop *l, int from, int pc) {
  const uint32_t *w = loop_pool(l, pc);
  bool data = loop_ins(l, pc)->op == OP_DATA;
  uint32_t fields = data ? w[2] : w[3], n = l->head->n_params;
  int into = data ? pc : shell_of(l, from, pc);
  if (into == NOWHERE || l->edit[into].kind || fields == 0 || fields > MAX_FIELDS) return;
  for (uint32_t k = 0; k < n; k++)
    if (give_dead_cell(l, k, from, into, w[0], fields)) return;
}

void loop_given(Loop *l, int from, int to) {
  uint32_t n = l->head->n_params;
  for (int pc = from; pc < to && l->f->reg.n < MOST_REGS; pc++) {
    uint16_t op = loop_ins(l, pc)->op;
    if (op == OP_DATA || op == OP_RENEW) give_cell(l, from, pc);
    bool made = op == OP_ALLOC && !l->edit[pc].kind;
    for (uint32_t k = 0; made && k < n; k++) made = !give_tensor(l, k, from, pc);
  }
}
