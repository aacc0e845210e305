/* spare.c -- a loop's tensors that die in one iteration serve the next.
 *
 * A function that ends by calling itself is a loop.  Two kinds of tensors are made in
 * every iteration though as many have died:
 *
 *   place   the value handed on as a parameter, made behind the last use of the
 *           parameter's own: it takes that one's memory (states that alternate);
 *   spare   a tensor that is made and dies in the iteration, or the parameter's own where
 *           it dies behind the making of the new one: it is kept for the next iteration, in
 *           a register that lives round the loop.  The call becomes a jump to the function's
 *           start, behind the making of spares without elements.
 *
 * Both are REUSE and SETTLE, which look at run time whether the old tensor has one owner
 * and as many elements (Perceus: Reinking et al., PLDI 2021, 2.4; here its tokens go round
 * a loop); else there is a new one as before.  What is made is made in the straight code
 * before the call; the parameter's own value may have died earlier, before branches: it is
 * kept on the way to the call and dropped where another way begins.  So is that of a parameter for
 * what is given away, if the way says that it has the same extents, and a dead cell for a new one
 * of its type: two stacks, one read and one filled, go round and change places.  A spare lives as
 * long as its loop, so there are few, and none in a function that also calls itself elsewhere. */
#include <string.h>
#include "codegen/lower/spare.h"
#include "vm/operands.h"

/* ---- where tensors come from --------------------------------------------------------- */
static bool only_looks(uint16_t op) {
  return op == OP_KERNEL || op == OP_DIM || op == OP_ELEM || op == OP_RUNTIME;
}

/* A register that is written, or given away, has nothing of its own any more. */
static void forget(Loop *l, int pc) {
  OperandIter it;
  Operand o;
  if (!operands_begin(&it, &l->m, *loop_ins(l, pc))) return;
  while (operands_next(&it, &o))
    if (o.kind == 'd' || (strchr("um", o.kind) && !only_looks(loop_ins(l, pc)->op)))
      l->origin[o.v] = NOWHERE;
}

static bool same_tensor(const Loop *l, uint32_t t, uint32_t u, bool rank) {
  const IType *x = &l->f->L->types.at[t], *y = &l->f->L->types.at[u];
  return x->kind == IT_TENSOR && y->kind == IT_TENSOR && x->dtype == y->dtype &&
         (!rank || x->rank == y->rank);
}

/* The tensor made here takes the memory of what an earlier iteration dropped there. */
static void add_temp(Loop *l, int made, int dropped) {
  if (l->n_temps == MAX_TEMPS) return;
  l->temp[l->n_temps].made = made;
  l->temp[l->n_temps++].dropped = dropped;
}

static void follow(Loop *l, int pc) {
  const Ins *i = loop_ins(l, pc);
  int from = NOWHERE;
  switch (i->op) {
  case OP_ALLOC:
    forget(l, pc);
    l->origin[i->a] = pc;
    l->type[i->a] = loop_pool(l, pc)[0];
    return;
  case OP_REUSE: /* `from` and its origin stay until it is settled */
    l->origin[i->a] = NOWHERE;
    l->type[i->a] = loop_pool(l, pc)[0];
    return;
  case OP_SETTLE:
    from = l->origin[i->a];
    l->origin[i->a] = NOWHERE;
    l->origin[i->b] = from;
    return;
  case OP_MOVE:
    from = l->origin[i->b];
    l->origin[i->b] = NOWHERE;
    l->origin[i->a] = from;
    l->type[i->a] = l->type[i->b];
    return;
  case OP_DROP:
    from = l->origin[i->a];
    if (from != NOWHERE && same_tensor(l, loop_pool(l, from)[0], l->type[i->a], true))
      add_temp(l, from, pc);
    l->origin[i->a] = NOWHERE;
    return;
  default: forget(l, pc);
  }
}

/* ---- places ---------------------------------------------------------------------------- */
bool loop_writes(Loop *l, int pc, uint32_t reg) {
  OperandIter it;
  Operand o;
  if (!operands_begin(&it, &l->m, *loop_ins(l, pc))) return true;
  while (operands_next(&it, &o))
    if (o.kind == 'd' && o.v == reg) return true;
  return false;
}

/* Is register reg held where the way begins, and as what? */
static bool held_at(const Loop *l, int start, uint32_t reg, uint32_t *type) {
  const FnLower *f = l->f;
  const ILabel *label = NULL;
  for (int i = 0; i < f->label.n && (int)f->label.at[i].pc <= start; i++) label = &f->label.at[i];
  if (start == 0) *type = f->L->type_list.at[l->head->first_param + reg];
  if (start == 0 || !label || (int)label->pc != start) return start == 0;
  for (uint32_t i = 0; i < label->n_regs; i++) {
    const IRegState *s = &f->state.at[label->first + i];
    *type = s->type;
    if (s->reg == reg) return true;
  }
  return false;
}

int loop_drop(Loop *l, const Way *way, uint32_t reg) {
  for (int i = 0; i < way->n; i++) {
    const Ins *x = loop_ins(l, way->pc[i]);
    if (x->op == OP_DROP && x->a == reg) return i;
    if (loop_writes(l, way->pc[i], reg)) return NOWHERE;
  }
  return NOWHERE;
}

/* Steps i.. of the way, up to pc `made`, are reached with a kept tensor; what leaves the way
 * drops it.  Only if nothing else comes there. */
static bool keep(Loop *l, const Way *way, int i, int made, Kept k) {
  uint8_t bit = (uint8_t)(1u << l->n_kept);
  if (l->n_kept == MAX_KEPT) return false;
  for (int twice = 0; twice < 2; twice++)
    for (int at = i; way->pc[at] != made; at++)
      for (int n = 0, to; (to = fl_next(l->f, way->pc[at], n)) != NOWHERE; n++) {
        if (l->flow.n_from[to] != 1) return false;
        if (twice) l->has[to] |= bit;
        if (twice && to != way->pc[at + 1] && loop_ins(l, to)->op != OP_FAIL) l->sweeps[to] |= bit;
      }
  l->kept[l->n_kept++] = k;
  return true;
}

bool loop_tensor(const Loop *l, const Way *way, uint32_t k, int made, bool rank, uint32_t *type) {
  return held_at(l, way->pc[0], k, type) && same_tensor(l, *type, loop_pool(l, made)[0], rank);
}

bool loop_pass(Loop *l, const Way *way, int i, int from, int into, Kept k) {
  int dropped = way->pc[i];
  k.reg = (uint16_t)l->f->reg.n;
  if (dropped < from && !keep(l, way, i, into, k)) return false;
  l->edit[dropped] = (Edit){E_LEAVE, k.reg};
  l->edit[into] = (Edit){loop_ins(l, into)->op == OP_ALLOC ? E_TAKE : E_SHELL, loop_reg(l->f)};
  l->n_places++;
  return true;
}

/* What parameter k held serves what is made for it at `made`, in the piece from `from`. */
static void find_place(Loop *l, const Way *way, uint32_t k, int from, int made) {
  uint32_t old;
  int i = loop_drop(l, way, k), dropped = i == NOWHERE ? NOWHERE : way->pc[i];
  if (dropped == NOWHERE || l->edit[dropped].kind || l->edit[made].kind ||
      !loop_tensor(l, way, k, made, dropped > made, &old))
    return;
  if (dropped > made) /* both are there at once: they change places */
    add_temp(l, made, dropped);
  else
    loop_pass(l, way, i, from, made, (Kept){.type = old});
}

static void find_places(Loop *l, int from, int to) {
  const uint32_t *w = loop_pool(l, to);
  Way way = fl_way(&l->flow, to);
  for (uint32_t k = 0; k < w[1] && l->f->reg.n < MOST_REGS; k++)
    if (l->origin[w[2 + k]] != NOWHERE) find_place(l, &way, k, from, l->origin[w[2 + k]]);
}

/* ---- spares ------------------------------------------------------------------------------ */
static bool same_words(const Loop *l, uint32_t a, uint32_t b) {
  const uint32_t *p = l->f->L->pool.at;
  return !memcmp(p + a, p + b, (2 + p[a + 1]) * sizeof *p);
}

static Spare *spare_for(Loop *l, int made) {
  uint32_t words = ins_w(*loop_ins(l, made));
  for (int i = 0; i < l->n_spares; i++)
    if (!l->spare[i].busy && same_words(l, l->spare[i].words, words)) return &l->spare[i];
  if (l->n_spares == MAX_SPARES || l->f->reg.n >= MOST_REGS) return NULL;
  Spare *s = &l->spare[l->n_spares++];
  *s = (Spare){words, loop_reg(l->f), false};
  return s;
}

static void give_spares(Loop *l, int from, int to) {
  for (int pc = from; pc < to; pc++) {
    for (int i = 0; i < l->n_spares; i++)
      if (l->edit[pc].kind == E_LEAVE && l->edit[pc].reg == l->spare[i].reg)
        l->spare[i].busy = false;
    for (int t = 0; t < l->n_temps; t++) {
      if (l->temp[t].made != pc || l->edit[pc].kind || l->edit[l->temp[t].dropped].kind) continue;
      Spare *s = spare_for(l, pc);
      if (!s) continue;
      s->busy = true;
      l->edit[pc] = (Edit){E_TAKE, s->reg};
      l->edit[l->temp[t].dropped] = (Edit){E_LEAVE, s->reg};
    }
  }
}

static void iteration(Loop *l, int from, int to) {
  l->n_temps = 0;
  for (int r = 0; r < l->n_regs; r++) l->origin[r] = NOWHERE;
  for (int pc = from; pc < to; pc++) follow(l, pc);
  find_places(l, from, to);
  give_spares(l, from, to);
  loop_given(l, from, to);
}

/* ---- the loop ------------------------------------------------------------------------------ */
static bool leaves(uint16_t op) {
  return op == OP_JUMP || op == OP_UNLESS || op == OP_SWITCH || op == OP_CALL || op == OP_CALLC ||
         op == OP_TAILCALL || op == OP_TAILCALLC || op == OP_RET || op == OP_FAIL;
}

bool loop_again(const Loop *l, int pc) {
  return loop_ins(l, pc)->op == OP_TAILCALL && loop_pool(l, pc)[0] == l->f->inst->index;
}

/* Does it call itself only last?  Through a closure anything may. */
static bool is_loop(const Loop *l) {
  bool yes = false;
  for (int pc = 0; pc < l->f->code.n; pc++) {
    uint16_t op = loop_ins(l, pc)->op;
    if (op == OP_CALLC || op == OP_TAILCALLC) return false;
    if (op == OP_CALL && loop_pool(l, pc)[0] == l->f->inst->index) return false;
    yes = yes || loop_again(l, pc);
  }
  bool at_start = l->f->label.n > 0 && l->f->label.at[0].pc == 0;
  return yes && l->head->n_captures == 0 && !at_start;
}

static void look(Loop *l) {
  FnLower *f = l->f;
  int from = 0;
  for (int pc = 0, k = 0; pc < f->code.n; pc++) {
    for (; k < f->label.n && (int)f->label.at[k].pc <= pc; k++) from = pc;
    if (loop_again(l, pc)) iteration(l, from, pc);
    if (leaves(loop_ins(l, pc)->op)) from = pc + 1;
  }
}

void fl_spare(FnLower *f, const IFunc *head) {
  Loop l = {.f = f, .head = head, .m = {.n_pool = (uint32_t)f->L->pool.n, .pool = f->L->pool.at}};
  if (!is_loop(&l)) return;
  l.flow = fl_flow(f);
  l.edit = NEW_N(Edit, f->code.n + 1);
  l.has = NEW_N(uint8_t, f->code.n + 1);
  l.sweeps = NEW_N(uint8_t, f->code.n + 1);
  l.n_regs = f->reg.n;
  l.origin = NEW_N(int, l.n_regs + 1);
  l.type = NEW_N(uint32_t, l.n_regs + 1);
  look(&l);
  if (l.n_spares || l.n_places) loop_rewrite(&l);
}
