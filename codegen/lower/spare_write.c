/* spare_write.c -- the code of a loop with its edits, spares and labels.            */
#include <string.h>
#include "codegen/lower/spare.h"

typedef struct {
  Loop *l;
  VEC(Ins) out;
  uint32_t start; /* the label behind the making of spares                       */
} Writer;

static void put(Writer *w, OpCode op, uint16_t a, uint16_t b, uint16_t c) {
  vec_push(&w->out, ((Ins){(uint16_t)op, a, b, c}));
}

static void take(Writer *w, const Ins *alloc, uint16_t from) {
  vec_push(&w->out, fl_ins_reuse(w->l->f, *alloc, from));
  put(w, OP_SETTLE, from, alloc->a, 0);
}

static void renew(Writer *w, const Ins *data, uint16_t from) {
  uint16_t shell = fl_reg_more(w->l->f);
  put(w, OP_SHELL, shell, from, 0);
  vec_push(&w->out, fl_ins_renew(w->l->f, *data, shell));
}

/* Spares without elements, and the label where iterations begin. */
static void begin(Writer *w) {
  Loop *l = w->l;
  FnLower *f = l->f;
  uint16_t zero = fl_reg_more(f);
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
  const uint32_t *p = loop_pool(w->l, pc);
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
      uint16_t aside = fl_reg_more(f);
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
  const Ins i = *loop_ins(l, pc);
  bool end = i.op == OP_RET || i.op == OP_TAILCALL;
  for (int k = 0; k < l->n_kept; k++)
    if (l->sweeps[pc] >> k & 1) put(w, OP_DROP, l->kept[k].reg, 0, 0);
  if (l->edit[pc].kind == E_TAKE) {
    take(w, &i, l->edit[pc].reg);
  } else if (l->edit[pc].kind == E_SHELL && i.op == OP_SHELL) {
    put(w, OP_DROP, i.b, 0, 0);
    put(w, OP_SHELL, i.a, l->edit[pc].reg, 0);
  } else if (l->edit[pc].kind == E_SHELL) {
    renew(w, &i, l->edit[pc].reg);
  } else if (l->edit[pc].kind == E_LEAVE) {
    put(w, OP_MOVE, l->edit[pc].reg, i.a, 0);
  } else if (l->n_spares && loop_again(l, pc)) {
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
    if (has >> k & 1)
      vec_push(&f->state, ((IRegState){l->kept[k].reg, l->kept[k].ctor, l->kept[k].type}));
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

void loop_rewrite(Loop *l) {
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
