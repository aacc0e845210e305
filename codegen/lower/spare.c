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
 * a loop); else there is a new one as before.  Only within the straight code before the
 * call.  A spare lives as long as its loop, so there are few, and none in a function that
 * also calls itself elsewhere.                                                     */
#include <string.h>
#include "codegen/lower/lower_priv.h"
#include "vm/operands.h"

enum { MAX_SPARES = 4, MAX_TEMPS = 16, MOST_REGS = 64000, NOWHERE = -1 };

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

typedef struct {
  FnLower *f;
  const IFunc *head;
  Image m;     /* for reading operands: the pool only                          */
  Edit *edit;  /* per instruction                                            */
  int n_regs;  /* of the code as it is                                       */
  int *origin; /* per register: the ALLOC of what it alone has, or NOWHERE   */
  int n_spares, n_places;
  Spare spare[MAX_SPARES];
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
    return;
  case OP_REUSE: /* `from` and its origin stay until it is settled */
    l->origin[i->a] = NOWHERE;
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
    return;
  case OP_DROP:
    if (l->origin[i->a] != NOWHERE) add_temp(l, l->origin[i->a], pc);
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

/* Where the value that the iteration began with in register reg is dropped. */
static int first_drop(Loop *l, int from, int end, uint32_t reg) {
  for (int pc = from; pc < end; pc++) {
    if (ins_at(l, pc)->op == OP_DROP && ins_at(l, pc)->a == reg) return pc;
    if (writes(l, pc, reg)) return NOWHERE;
  }
  return NOWHERE;
}

static bool same_dtype(const Loop *l, uint32_t t, uint32_t u) {
  const IType *x = &l->f->L->types.at[t], *y = &l->f->L->types.at[u];
  return x->kind == IT_TENSOR && y->kind == IT_TENSOR && x->dtype == y->dtype;
}

/* Does register reg hold a tensor of param's dtype where the piece begins? */
static bool held_at(const Loop *l, const ILabel *label, uint32_t reg, uint32_t param) {
  for (uint32_t i = 0; label && i < label->n_regs; i++) {
    const IRegState *s = &l->f->state.at[label->first + i];
    if (s->reg == reg) return same_dtype(l, s->type, param);
  }
  return false;
}

/* label: where the piece begins. */
static void find_places(Loop *l, const ILabel *label, int from, int to) {
  const uint32_t *w = pool_of(l, to);
  for (uint32_t k = 0; k < w[1] && l->f->reg.n < MOST_REGS; k++) {
    int made = l->origin[w[2 + k]];
    if (made == NOWHERE || !held_at(l, label, k, pool_of(l, made)[0])) continue;
    int dropped = first_drop(l, from, to, k);
    if (dropped == NOWHERE || l->edit[dropped].kind || l->edit[made].kind) continue;
    if (dropped > made) { /* both are there at once: they change places */
      add_temp(l, made, dropped);
      continue;
    }
    uint16_t held = new_reg(l->f);
    l->edit[dropped] = (Edit){E_LEAVE, held};
    l->edit[made] = (Edit){E_TAKE, held};
    l->n_places++;
  }
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

static void iteration(Loop *l, const ILabel *label, int from, int to) {
  l->n_temps = 0;
  for (int r = 0; r < l->n_regs; r++) l->origin[r] = NOWHERE;
  for (int pc = from; pc < to; pc++) follow(l, pc);
  find_places(l, label, from, to);
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
  const ILabel *label = NULL;
  int from = 0;
  for (int pc = 0, k = 0; pc < f->code.n; pc++) {
    for (; k < f->label.n && (int)f->label.at[k].pc <= pc; k++) from = pc, label = &f->label.at[k];
    if (again(l, pc)) iteration(l, label, from, pc);
    if (leaves(ins_at(l, pc)->op)) from = pc + 1, label = NULL;
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

/* Labels know the spares; the first one is the start. */
static void write_labels(Writer *w) {
  Loop *l = w->l;
  FnLower *f = l->f;
  const uint32_t *type = f->L->type_list.at + l->head->first_param;
  VEC(ILabel) label = {0};
  VEC(IRegState) state = {0};
  vec_push(&label, ((ILabel){.pc = f->label_pc.at[w->start], .n_regs = l->head->n_params}));
  for (uint32_t k = 0; k < l->head->n_params; k++)
    vec_push(&state, ((IRegState){(uint16_t)k, 0, type[k]}));
  for (int i = 0; i < f->label.n; i++) vec_push(&label, f->label.at[i]);
  for (int i = 0; i < label.n; i++) {
    ILabel *at = &label.at[i];
    uint32_t first = i ? (uint32_t)state.n : 0;
    for (uint32_t k = 0; i && k < at->n_regs; k++) vec_push(&state, f->state.at[at->first + k]);
    for (int s = 0; s < l->n_spares; s++)
      vec_push(&state, ((IRegState){l->spare[s].reg, 0, f->L->pool.at[l->spare[s].words]}));
    at->first = first;
    at->n_regs += (uint32_t)l->n_spares;
  }
  vec_clear(&f->label);
  vec_clear(&f->state);
  for (int i = 0; i < label.n; i++) vec_push(&f->label, label.at[i]);
  for (int i = 0; i < state.n; i++) vec_push(&f->state, state.at[i]);
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
  for (int i = 0; i < old_fixups; i++) f->fixup.at[i] = to[f->fixup.at[i]];
  for (int i = 0; i < old_labels; i++)
    if (f->label_pc.at[i] != UINT32_MAX) f->label_pc.at[i] = to[f->label_pc.at[i]];
  for (int i = 0; i < f->label.n; i++) f->label.at[i].pc = to[f->label.at[i].pc];
  for (int i = 0; i < f->line.n; i++)
    f->line.at[i].pc = f->line.at[i].pc ? to[f->line.at[i].pc] : 0;
  vec_clear(&f->code);
  for (int i = 0; i < w.out.n; i++) vec_push(&f->code, w.out.at[i]);
  if (l->n_spares) write_labels(&w);
}

void fl_spare(FnLower *f, const IFunc *head) {
  Loop l = {.f = f, .head = head, .m = {.n_pool = (uint32_t)f->L->pool.n, .pool = f->L->pool.at}};
  if (!is_loop(&l)) return;
  l.edit = NEW_N(Edit, f->code.n + 1);
  l.n_regs = f->reg.n;
  l.origin = NEW_N(int, l.n_regs + 1);
  look(&l);
  if (l.n_spares || l.n_places) rewrite(&l);
}
