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
 * kept on the way to the call and dropped where another way begins.  A spare lives as long as its
 * loop, so there are few, and none in a function that also calls itself elsewhere. */
#include <string.h>
#include "codegen/lower/lower_priv.h"
#include "vm/operands.h"

enum { MAX_SPARES = 4, MAX_KEPT = 4, MAX_TEMPS = 16, MOST_REGS = 64000 };

/* ALLOC takes the memory that a register has; DROP leaves it in one. */
typedef struct {
  enum { E_NONE, E_TAKE, E_LEAVE } kind;
  uint16_t reg;
} Edit;

typedef struct {
  uint32_t words; /* pool offset of its first ALLOC                                */
  uint16_t reg;
  bool busy;
} Spare;

/* A tensor kept from its DROP to an ALLOC behind branches. */
typedef struct {
  uint16_t reg;
  uint32_t type;
} Kept;

typedef struct {
  FnLower *f;
  const IFunc *head;
  Flow flow;
  Image m;        /* for reading operands: the pool only                          */
  Edit *edit;     /* per instruction                                            */
  int n_regs;     /* of the code as it is                                       */
  int *origin;    /* per register: the ALLOC of what it alone has, or NOWHERE   */
  uint32_t *type; /* and what that has become by REUSE                        */
  int n_spares, n_places;
  Spare spare[MAX_SPARES];
  int n_kept;
  Kept kept[MAX_KEPT];
  uint8_t *has, *sweeps; /* per instruction, a bit each: what it is reached with; what it drops */
  int n_temps;
  struct {
    int made, dropped;
  } temp[MAX_TEMPS];
} Loop;

static const Ins *ins_at(const Loop *l, int pc) { return &l->f->code.at[pc]; }
static const uint32_t *pool_of(const Loop *l, int pc) {
  return l->f->L->pool.at + ins_w(*ins_at(l, pc));
}

static uint16_t new_reg(FnLower *f) {
  vec_push(&f->reg, ((RegInfo){0}));
  return (uint16_t)(f->reg.n - 1);
}

/* ---- where tensors come from --------------------------------------------------------- */
static bool only_looks(uint16_t op) {
  return op == OP_KERNEL || op == OP_DIM || op == OP_ELEM || op == OP_RUNTIME;
}

/* A register that is written, or given away, has nothing of its own any more. */
static void forget(Loop *l, int pc) {
  OperandIter it;
  Operand o;
  if (!operands_begin(&it, &l->m, *ins_at(l, pc))) return;
  while (operands_next(&it, &o))
    if (o.kind == 'd' || (strchr("um", o.kind) && !only_looks(ins_at(l, pc)->op)))
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
  const Ins *i = ins_at(l, pc);
  int from = NOWHERE;
  switch (i->op) {
  case OP_ALLOC:
    forget(l, pc);
    l->origin[i->a] = pc;
    l->type[i->a] = pool_of(l, pc)[0];
    return;
  case OP_REUSE: /* `from` and its origin stay until it is settled */
    l->origin[i->a] = NOWHERE;
    l->type[i->a] = pool_of(l, pc)[0];
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
    if (from != NOWHERE && same_tensor(l, pool_of(l, from)[0], l->type[i->a], true))
      add_temp(l, from, pc);
    l->origin[i->a] = NOWHERE;
    return;
  default: forget(l, pc);
  }
}

/* ---- places ---------------------------------------------------------------------------- */
static bool writes(Loop *l, int pc, uint32_t reg) {
  OperandIter it;
  Operand o;
  if (!operands_begin(&it, &l->m, *ins_at(l, pc))) return true;
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

/* Which step of the way drops what register reg holds where it begins? */
static int first_drop(Loop *l, const Way *way, uint32_t reg) {
  for (int i = 0; i < way->n; i++) {
    const Ins *x = ins_at(l, way->pc[i]);
    if (x->op == OP_DROP && x->a == reg) return i;
    if (writes(l, way->pc[i], reg)) return NOWHERE;
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
        if (twice && to != way->pc[at + 1] && ins_at(l, to)->op != OP_FAIL) l->sweeps[to] |= bit;
      }
  l->kept[l->n_kept++] = k;
  return true;
}

/* What parameter k held serves what is made for it at `made`, in the piece from `from`. */
static void find_place(Loop *l, const Way *way, uint32_t k, int from, int made) {
  uint32_t old, type = pool_of(l, made)[0];
  int i = first_drop(l, way, k), dropped = i == NOWHERE ? NOWHERE : way->pc[i];
  if (dropped == NOWHERE || l->edit[dropped].kind || l->edit[made].kind ||
      !held_at(l, way->pc[0], k, &old) || !same_tensor(l, old, type, dropped > made))
    return;
  if (dropped > made) { /* both are there at once: they change places */
    add_temp(l, made, dropped);
    return;
  }
  uint16_t reg = (uint16_t)l->f->reg.n;
  if (dropped < from && !keep(l, way, i, made, (Kept){reg, old})) return;
  l->edit[dropped] = (Edit){E_LEAVE, reg};
  l->edit[made] = (Edit){E_TAKE, new_reg(l->f)};
  l->n_places++;
}

static void find_places(Loop *l, int from, int to) {
  const uint32_t *w = pool_of(l, to);
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
  uint32_t words = ins_w(*ins_at(l, made));
  for (int i = 0; i < l->n_spares; i++)
    if (!l->spare[i].busy && same_words(l, l->spare[i].words, words)) return &l->spare[i];
  if (l->n_spares == MAX_SPARES || l->f->reg.n >= MOST_REGS) return NULL;
  Spare *s = &l->spare[l->n_spares++];
  *s = (Spare){words, new_reg(l->f), false};
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
}

/* ---- the loop ------------------------------------------------------------------------------ */
static bool leaves(uint16_t op) {
  return op == OP_JUMP || op == OP_UNLESS || op == OP_SWITCH || op == OP_CALL || op == OP_CALLC ||
         op == OP_TAILCALL || op == OP_TAILCALLC || op == OP_RET || op == OP_FAIL;
}

static bool again(const Loop *l, int pc) {
  return ins_at(l, pc)->op == OP_TAILCALL && pool_of(l, pc)[0] == l->f->inst->index;
}

/* Does it call itself only last?  Through a closure anything may. */
static bool is_loop(const Loop *l) {
  bool yes = false;
  for (int pc = 0; pc < l->f->code.n; pc++) {
    uint16_t op = ins_at(l, pc)->op;
    if (op == OP_CALLC || op == OP_TAILCALLC) return false;
    if (op == OP_CALL && pool_of(l, pc)[0] == l->f->inst->index) return false;
    yes = yes || again(l, pc);
  }
  bool at_start = l->f->label.n > 0 && l->f->label.at[0].pc == 0;
  return yes && l->head->n_captures == 0 && !at_start;
}

static void look(Loop *l) {
  FnLower *f = l->f;
  int from = 0;
  for (int pc = 0, k = 0; pc < f->code.n; pc++) {
    for (; k < f->label.n && (int)f->label.at[k].pc <= pc; k++) from = pc;
    if (again(l, pc)) iteration(l, from, pc);
    if (leaves(ins_at(l, pc)->op)) from = pc + 1;
  }
}

/* ---- the code anew --------------------------------------------------------------------------- */
typedef struct {
  Loop *l;
  VEC(Ins) out;
  uint32_t start; /* the label behind the making of spares                       */
} Writer;

static void put(Writer *w, OpCode op, uint16_t a, uint16_t b, uint16_t c) {
  vec_push(&w->out, ((Ins){(uint16_t)op, a, b, c}));
}

static void take(Writer *w, const Ins *alloc, uint16_t from) {
  FnLower *f = w->l->f;
  const uint32_t *p = f->L->pool.at + ins_w(*alloc);
  uint32_t words[3 + K_MAX_RANK] = {p[0], from, p[1]}, rank = p[1];
  for (uint32_t i = 0; i < rank; i++) words[3 + i] = p[2 + i];
  uint32_t at = fl_pool(f, words, 3 + (int)rank);
  put(w, OP_REUSE, alloc->a, (uint16_t)at, (uint16_t)(at >> 16));
  put(w, OP_SETTLE, from, alloc->a, 0);
}

/* Spares without elements, and the label where iterations begin. */
static void begin(Writer *w) {
  Loop *l = w->l;
  FnLower *f = l->f;
  uint16_t zero = new_reg(f);
  put(w, OP_IMM, zero, DT_i64, 0);
  for (int i = 0; i < l->n_spares; i++) {
    const uint32_t *p = f->L->pool.at + l->spare[i].words;
    uint32_t words[2 + K_MAX_RANK] = {p[0], p[1]}, rank = p[1];
    for (uint32_t d = 0; d < rank; d++) words[2 + d] = zero;
    uint32_t at = fl_pool(f, words, 2 + (int)rank);
    put(w, OP_ALLOC, l->spare[i].reg, (uint16_t)at, (uint16_t)(at >> 16));
  }
  w->start = fl_label_new(f);
  f->label_pc.at[w->start] = (uint32_t)w->out.n;
}

/* Arguments to the registers of the parameters, all at once, and back to the start. */
static void start_again(Writer *w, int pc) {
  FnLower *f = w->l->f;
  const uint32_t *p = pool_of(w->l, pc);
  uint32_t n = p[1], *from = NEW_N(uint32_t, n + 1), left = 0;
  for (uint32_t k = 0; k < n; k++) from[k] = p[2 + k], left += from[k] != k;
  while (left > 0) {
    uint32_t k = n, any = n;
    for (uint32_t i = 0; i < n && k == n; i++) {
      bool read = false;
      for (uint32_t j = 0; j < n; j++) read = read || (j != i && from[j] == i);
      if (from[i] != i) any = i;
      if (from[i] != i && !read) k = i;
    }
    if (k < n) {
      put(w, OP_MOVE, (uint16_t)k, (uint16_t)from[k], 0);
      from[k] = k;
      left--;
    } else { /* a circle: one of it waits elsewhere */
      uint16_t aside = new_reg(f);
      put(w, OP_MOVE, aside, (uint16_t)any, 0);
      for (uint32_t j = 0; j < n; j++)
        if (from[j] == any) from[j] = aside;
    }
  }
  vec_push(&f->fixup, (uint32_t)w->out.n);
  f->label_uses.at[w->start]++;
  put(w, OP_JUMP, 0, (uint16_t)w->start, (uint16_t)(w->start >> 16));
}

static void drop_spares(Writer *w) {
  for (int i = 0; i < w->l->n_spares; i++) put(w, OP_DROP, w->l->spare[i].reg, 0, 0);
}

static void write_ins(Writer *w, int pc) {
  const Loop *l = w->l;
  const Ins i = *ins_at(l, pc);
  bool end = i.op == OP_RET || i.op == OP_TAILCALL;
  for (int k = 0; k < l->n_kept; k++)
    if (l->sweeps[pc] >> k & 1) put(w, OP_DROP, l->kept[k].reg, 0, 0);
  if (l->edit[pc].kind == E_TAKE) {
    take(w, &i, l->edit[pc].reg);
  } else if (l->edit[pc].kind == E_LEAVE) {
    put(w, OP_MOVE, l->edit[pc].reg, i.a, 0);
  } else if (l->n_spares && again(l, pc)) {
    start_again(w, pc);
  } else {
    if (end) drop_spares(w);
    vec_push(&w->out, i);
  }
}

/* Adds the label at pc with what it lists, what is kept there and the spares. */
static void add_label(Loop *l, ILabel label, const IRegState *lists, uint8_t has, uint32_t pc) {
  FnLower *f = l->f;
  uint32_t first = (uint32_t)f->state.n;
  for (uint32_t k = 0; k < label.n_regs; k++) vec_push(&f->state, lists[k]);
  for (int k = 0; k < l->n_kept; k++)
    if (has >> k & 1) vec_push(&f->state, ((IRegState){l->kept[k].reg, 0, l->kept[k].type}));
  for (int s = 0; s < l->n_spares; s++)
    vec_push(&f->state, ((IRegState){l->spare[s].reg, 0, f->L->pool.at[l->spare[s].words]}));
  vec_push(&f->label, ((ILabel){.pc = pc, .first = first, .n_regs = (uint32_t)f->state.n - first}));
}

/* Where iterations begin, if there are spares, and the labels that there were. */
static void write_labels(Writer *w, const uint32_t *to) {
  Loop *l = w->l;
  FnLower *f = l->f;
  const uint32_t *type = f->L->type_list.at + l->head->first_param, n = l->head->n_params;
  IRegState *param = NEW_N(IRegState, n + 1), *old = f->state.at;
  ILabel *label = f->label.at;
  int n_labels = f->label.n;
  for (uint32_t k = 0; k < n; k++) param[k] = (IRegState){(uint16_t)k, 0, type[k]};
  memset(&f->label, 0, sizeof f->label);
  memset(&f->state, 0, sizeof f->state);
  if (l->n_spares) add_label(l, (ILabel){.n_regs = n}, param, 0, f->label_pc.at[w->start]);
  for (int i = 0; i < n_labels; i++)
    add_label(l, label[i], old + label[i].first, l->has[label[i].pc], to[label[i].pc]);
}

static void rewrite(Loop *l) {
  FnLower *f = l->f;
  Writer w = {.l = l};
  int n = f->code.n, old_fixups = f->fixup.n, old_labels = f->label_pc.n;
  uint32_t *to = NEW_N(uint32_t, n + 1);
  if (l->n_spares) begin(&w);
  for (int pc = 0; pc < n; pc++) {
    to[pc] = (uint32_t)w.out.n;
    write_ins(&w, pc);
  }
  to[n] = (uint32_t)w.out.n;
  for (int i = 0; i < old_fixups; i++) f->fixup.at[i] = to[f->fixup.at[i] + 1] - 1;
  for (int i = 0; i < old_labels; i++)
    if (f->label_pc.at[i] != UINT32_MAX) f->label_pc.at[i] = to[f->label_pc.at[i]];
  write_labels(&w, to);
  for (int i = 0; i < f->line.n; i++)
    f->line.at[i].pc = f->line.at[i].pc ? to[f->line.at[i].pc] : 0;
  vec_clear(&f->code);
  for (int i = 0; i < w.out.n; i++) vec_push(&f->code, w.out.at[i]);
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
  if (l.n_spares || l.n_places) rewrite(&l);
}
