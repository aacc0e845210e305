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
/* The drops of the parameters on the way. */
static void find_drops(Loop *l) {
  uint32_t n = l->head->n_params;
  bool *over = NEW_N(bool, n + 1); /* the parameter's register has something else */
  for (uint32_t k = 0; k < n; k++) l->fate[k] = (Fate){.step = NOWHERE, .pc = NOWHERE};
  for (int i = 0; i < l->way.n; i++) {
    int pc = l->way.pc[i];
    const Ins *x = loop_ins(l, pc);
    OperandIter it;
    Operand o;
    if (x->op == OP_DROP && x->a < n && !over[x->a]) {
      l->fate[x->a].step = i, l->fate[x->a].pc = pc;
      over[x->a] = true;
    }
    if (!operands_begin(&it, &l->m, *x)) continue;
    while (operands_next(&it, &o))
      if (o.kind == 'd' && o.v < n) over[o.v] = true;
  }
}

/* What a label at step i of the way says of the parameters. */
static void read_label(Loop *l, const ILabel *label, int i) {
  uint32_t n = l->head->n_params;
  for (uint32_t k = 0; i == 0 && k < n; k++) l->fate[k].held = false;
  for (uint32_t k = 0; k < label->n_regs; k++) {
    const IRegState *s = &l->f->state.at[label->first + k];
    if (s->reg >= n) continue;
    Fate *x = &l->fate[s->reg];
    if (i == 0) x->held = true, x->type = s->type;
    if (i <= x->step) x->known = s;
  }
}

/* The way, and what becomes of the parameters; way and labels are in the order of the code. */
static void find_fates(Loop *l, int to) {
  const FnLower *f = l->f;
  l->way = fl_way(&l->flow, to);
  find_drops(l);
  for (uint32_t k = 0; l->way.n > 0 && l->way.pc[0] == 0 && k < l->head->n_params; k++)
    l->fate[k].held = true, l->fate[k].type = f->L->type_list.at[l->head->first_param + k];
  for (int k = 0, i = 0; k < f->label.n; k++) {
    while (i < l->way.n && l->way.pc[i] < (int)f->label.at[k].pc) i++;
    if (i == l->way.n) break;
    if (l->way.pc[i] == (int)f->label.at[k].pc) read_label(l, &f->label.at[k], i);
  }
}

/* Steps i.. of the way, up to pc `made`, are reached with a kept tensor; what leaves the way
 * drops it.  Only if nothing else comes there. */
static bool keep(Loop *l, int i, int made, Kept k) {
  const Way *way = &l->way;
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

bool loop_tensor(const Loop *l, uint32_t k, int made, bool rank) {
  const Fate *x = &l->fate[k];
  return x->held && same_tensor(l, x->type, loop_pool(l, made)[0], rank);
}

bool loop_pass(Loop *l, const Fate *x, int from, int into, Kept k) {
  k.reg = (uint16_t)l->f->reg.n;
  if (x->pc < from && !keep(l, x->step, into, k)) return false;
  l->edit[x->pc] = (Edit){E_LEAVE, k.reg};
  l->edit[into] = (Edit){loop_ins(l, into)->op == OP_ALLOC ? E_TAKE : E_SHELL, fl_reg_more(l->f)};
  l->n_places++;
  return true;
}

/* What parameter k held serves what is made for it at `made`, in the piece from `from`. */
static void find_place(Loop *l, uint32_t k, int from, int made) {
  const Fate *x = &l->fate[k];
  if (x->pc == NOWHERE || l->edit[x->pc].kind || l->edit[made].kind ||
      !loop_tensor(l, k, made, x->pc > made))
    return;
  if (x->pc > made) /* both are there at once: they change places */
    add_temp(l, made, x->pc);
  else
    loop_pass(l, x, from, made, (Kept){.type = x->type});
}

static void find_places(Loop *l, int from, int to) {
  const uint32_t *w = loop_pool(l, to);
  for (uint32_t k = 0; k < w[1] && l->f->reg.n < MOST_REGS; k++)
    if (l->origin[w[2 + k]] != NOWHERE) find_place(l, k, from, l->origin[w[2 + k]]);
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
  *s = (Spare){words, fl_reg_more(l->f), false};
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
  find_fates(l, to);
  find_places(l, from, to);
  give_spares(l, from, to);
  loop_given(l, from, to);
}

/* ---- the loop ------------------------------------------------------------------------------ */
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
    if (op_leaves(loop_ins(l, pc)->op)) from = pc + 1;
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
  l.fate = NEW_N(Fate, head->n_params + 1);
  l.origin = NEW_N(int, l.n_regs + 1);
  l.type = NEW_N(uint32_t, l.n_regs + 1);
  look(&l);
  if (l.n_spares || l.n_places) loop_rewrite(&l);
}
