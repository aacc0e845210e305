/* reuse.c -- in-place updates, cells made of dead ones: a last look at the code of a function.
 *
 * Where a kernel writes a tensor that was made for it and reads one that dies
 * behind it, and could as well write in its place (kernel_in_place), ALLOC
 * becomes REUSE and the DROP becomes SETTLE; and a cell that is made behind one that
 * dies takes its memory (SHELL, RENEW).  Whether the dying tensor has one
 * owner is seen at run time (Perceus: Reinking et al., PLDI 2021, 2.4).  Only
 * within straight code: labels know nothing of such pairs.                    */
#include "codegen/lower/lower_priv.h"
#include "vm/operands.h"

enum { MAX_PAIRS = 16, MAX_STEPS = 16 };

/* ---- instructions made of others ----------------------------------------------------- */
uint16_t fl_reg_more(FnLower *f) {
  vec_push(&f->reg, ((RegInfo){0}));
  return (uint16_t)(f->reg.n - 1);
}

/* `op` with the words of instruction i, `more` behind the first `head` of them, and behind that
 * the list. */
static Ins with_word(FnLower *f, OpCode op, Ins i, uint32_t head, uint32_t more) {
  const uint32_t *w = f->L->pool.at + ins_w(i);
  uint32_t n = head + 1 + w[head], *words = NEW_N(uint32_t, n + 1);
  for (uint32_t k = 0; k < n; k++) words[k < head ? k : k + 1] = w[k];
  words[head] = more;
  uint32_t at = fl_pool(f, words, (int)n + 1);
  return (Ins){(uint16_t)op, i.a, (uint16_t)at, (uint16_t)(at >> 16)};
}
Ins fl_ins_reuse(FnLower *f, Ins alloc, uint16_t from) {
  return with_word(f, OP_REUSE, alloc, 1, from);
}
Ins fl_ins_renew(FnLower *f, Ins data, uint16_t shell) {
  return with_word(f, OP_RENEW, data, 2, shell);
}

/* ---- a piece of the function ----------------------------------------------------------- */
/* A register named by an instruction, and where it is named before and behind. */
typedef struct {
  int pc, before, behind;
} Mention;

typedef struct {
  FnLower *f;
  Image m;              /* for reading operands: the pool only                */
  int from, to;         /* the straight piece of code: [from, to)             */
  VEC(Mention) mention; /* of the piece, in order; entry 0 is none            */
  int *first;           /* per instruction of the function: its first mention */
  int *last;            /* per register: its last mention so far              */
  int *bound;           /* per register: the last instruction of its pair     */
  int settled;          /* the last instruction of earlier kernels' pairs     */
  const ILabel *label;  /* where the piece begins, or NULL                    */
  uint32_t *fields;     /* per register: of the cell that it holds, if known  */
} Reuse;

/* The pool has grown. */
static void read_pool(Reuse *u) {
  u->m.pool = u->f->L->pool.at, u->m.n_pool = (uint32_t)u->f->L->pool.n;
}

/* ---- mentions ------------------------------------------------------------------------ */
static void mention(Reuse *u, int pc, uint32_t reg) {
  int at = u->mention.n, was = u->last[reg];
  if (was && u->mention.at[was].pc == pc) return;
  vec_push(&u->mention, ((Mention){pc, was, 0}));
  u->mention.at[was].behind = at;
  u->last[reg] = at;
}

static void each_register(Reuse *u, int pc, bool forget) {
  OperandIter it;
  Operand o;
  if (!operands_begin(&it, &u->m, u->f->code.at[pc])) return;
  while (operands_next(&it, &o)) {
    if (!strchr("dumb", o.kind)) continue;
    if (forget)
      u->last[o.v] = 0;
    else
      mention(u, pc, o.v);
  }
}

static const Ins *ins_at(const Reuse *u, int pc) { return &u->f->code.at[pc]; }
static const uint32_t *pool_of(const Reuse *u, int pc) {
  return u->f->L->pool.at + ins_w(*ins_at(u, pc));
}
static const Kernel *kernel_of(const Reuse *u, int pc) {
  return u->f->L->kernels.at[pool_of(u, pc)[0]];
}

/* The mention of buffer b's register by the kernel at pc. */
static int mention_of(const Reuse *u, int pc, uint32_t b) {
  const uint32_t *reg = pool_of(u, pc) + 2;
  int at = u->first[pc];
  for (uint32_t i = 0; i < b; i++) {
    bool again = reg[i] == reg[b];
    for (uint32_t k = 0; k < i; k++) again |= reg[k] == reg[i];
    if (reg[i] == reg[b]) return mention_of(u, pc, i);
    at += !again;
  }
  return at;
}

/* Does the kernel at pc only read reg? */
static bool only_reads(const Reuse *u, int pc, uint32_t reg) {
  const uint32_t *w = pool_of(u, pc);
  const Kernel *k = kernel_of(u, pc);
  for (uint32_t b = 0; b < w[1]; b++)
    if (w[2 + b] == reg && (k->buf[b].role != K_IN || k->buf[b].rank == 0)) return false;
  return true;
}

/* ---- one kernel ------------------------------------------------------------------------ */
typedef struct {
  int made, pc, dropped; /* ALLOC, KERNEL, DROP                                */
  uint32_t from, to;     /* registers                                          */
} Pair;

/* Is `from` there before the new tensor is made, and only read until the kernel? */
static bool only_read_between(const Reuse *u, const Pair *p, int at) {
  for (int i = 0; i < MAX_STEPS; i++) {
    at = u->mention.at[at].before;
    int pc = u->mention.at[at].pc;
    if (!at || pc < p->made) return true;
    if (ins_at(u, pc)->op != OP_KERNEL || !only_reads(u, pc, p->from)) return false;
  }
  return false;
}

/* Every buffer that `from` stands for. */
static bool in_place(const Reuse *u, const Pair *p, uint32_t out) {
  const uint32_t *w = pool_of(u, p->pc);
  for (uint32_t b = 0; b < w[1]; b++) {
    bool yes;
    if (w[2 + b] != p->from) continue;
    if (!kernel_in_place(kernel_of(u, p->pc), b, out, lower_alloc(), &yes) || !yes) return false;
  }
  return true;
}

/* How likely is the register at mention `at` of a kernel to be the only owner?  What
 * was made here most, what came from elsewhere less, a constant never. */
enum { NEVER, PERHAPS, LIKELY };
static int likely(const Reuse *u, int at, uint32_t reg) {
  const Ins *i = ins_at(u, u->mention.at[at].pc);
  for (int n = 0; n < MAX_STEPS && u->mention.at[at].before; n++) {
    at = u->mention.at[at].before;
    i = ins_at(u, u->mention.at[at].pc);
    if (i->a == reg && op_form(i->op)[0] == 'd') break;
  }
  switch (i->op) {
  case OP_CONST: return NEVER;
  case OP_ALLOC:
  case OP_REUSE:
  case OP_RUNTIME: return LIKELY;
  default: return PERHAPS;
  }
}

/* Can output `out` take the place of input `in`? */
static bool fits(const Reuse *u, Pair *p, uint32_t in, uint32_t out) {
  const KBuf *x = &kernel_of(u, p->pc)->buf[in];
  p->from = pool_of(u, p->pc)[2 + in];
  if (x->role != K_IN || x->rank == 0 || u->bound[p->from] >= p->made) return false;
  int at = mention_of(u, p->pc, in), behind = u->mention.at[at].behind;
  int new_behind = u->mention.at[mention_of(u, p->pc, out)].behind;
  p->dropped = u->mention.at[behind].pc;
  if (!behind || ins_at(u, p->dropped)->op != OP_DROP) return false;
  if (new_behind && u->mention.at[new_behind].pc < p->dropped) return false;
  return only_reads(u, p->pc, p->from) && only_read_between(u, p, at) && in_place(u, p, out);
}

static void bind(Reuse *u, const Pair *p) {
  FnLower *f = u->f;
  f->code.at[p->made] = fl_ins_reuse(f, *ins_at(u, p->made), (uint16_t)p->from);
  read_pool(u);
  f->code.at[p->dropped] = (Ins){OP_SETTLE, (uint16_t)p->from, (uint16_t)p->to, 0};
  u->bound[p->from] = u->bound[p->to] = p->dropped;
}

static bool look_at_output(Reuse *u, int pc, uint32_t out, int *settled) {
  const Kernel *k = kernel_of(u, pc);
  Pair p = {.pc = pc, .to = pool_of(u, pc)[2 + out]};
  int made = u->mention.at[mention_of(u, pc, out)].before;
  p.made = u->mention.at[made].pc;
  if (!made || p.made <= u->settled || ins_at(u, p.made)->op != OP_ALLOC) return false;
  for (int wanted = LIKELY; wanted > NEVER; wanted--)
    for (uint32_t in = 0; in < k->n_params; in++) {
      if (k->buf[in].role != K_IN ||
          likely(u, mention_of(u, pc, in), pool_of(u, pc)[2 + in]) != wanted)
        continue;
      if (!fits(u, &p, in, out)) continue;
      bind(u, &p);
      if (p.dropped > *settled) *settled = p.dropped;
      return true;
    }
  return false;
}

static void straight(Reuse *u) {
  u->settled = -1;
  vec_clear(&u->mention);
  vec_push(&u->mention, ((Mention){-1, 0, 0}));
  for (int pc = u->from; pc < u->to; pc++) {
    u->first[pc] = u->mention.n;
    each_register(u, pc, false);
  }
  for (int pc = u->from; pc < u->to; pc++) {
    if (ins_at(u, pc)->op != OP_KERNEL) continue;
    const Kernel *k = kernel_of(u, pc);
    int pairs = 0, settled = u->settled;
    for (uint32_t b = 0; b < k->n_params && pairs < MAX_PAIRS; b++)
      if (k->buf[b].role == K_OUT && k->buf[b].rank > 0)
        pairs += look_at_output(u, pc, b, &settled);
    u->settled = settled;
  }
  for (int pc = u->from; pc < u->to; pc++) each_register(u, pc, true);
}

/* ---- cells ------------------------------------------------------------------------------- */
/* Sets u->fields of the registers that hold a cell of a known constructor where the
 * piece begins, or forgets them. */
static void known_cells(Reuse *u, bool forget) {
  const FnLower *f = u->f;
  for (uint32_t i = 0; u->label && i < u->label->n_regs; i++) {
    const IRegState *s = &f->state.at[u->label->first + i];
    const IType *t = &f->L->types.at[s->type];
    u->fields[s->reg] = 0;
    if (forget || t->kind != IT_DATA || (s->ctor == 0 && t->n_ctors != 1)) continue;
    u->fields[s->reg] = f->L->ctors.at[t->first_ctor + (s->ctor ? s->ctor - 1u : 0)].n_fields;
  }
}

static void written(Reuse *u, int pc) {
  OperandIter it;
  Operand o;
  if (!operands_begin(&it, &u->m, *ins_at(u, pc))) return;
  while (operands_next(&it, &o))
    if (o.kind == 'd') u->fields[o.v] = 0;
}

static void renew(Reuse *u, int dropped, int pc) {
  FnLower *f = u->f;
  uint16_t shell = fl_reg_more(f);
  f->code.at[dropped] = (Ins){OP_SHELL, shell, ins_at(u, dropped)->a, 0};
  f->code.at[pc] = fl_ins_renew(f, *ins_at(u, pc), shell);
  read_pool(u);
}

/* A cell made behind one that dies and has as many fields takes its memory. */
static void cells(Reuse *u) {
  struct {
    int pc;
    uint32_t fields;
  } dead[MAX_STEPS];
  int n = 0;
  known_cells(u, false);
  for (int pc = u->from; pc < u->to && u->label; pc++) {
    const Ins *i = ins_at(u, pc);
    uint32_t fields = i->op == OP_DROP ? u->fields[i->a] : 0;
    if (fields > 0 && fields <= MAX_FIELDS && n < MAX_STEPS) {
      dead[n].pc = pc;
      dead[n++].fields = fields;
    }
    written(u, pc);
    for (int k = n; i->op == OP_DATA && u->f->reg.n < MOST_REGS && k-- > 0;) {
      if (dead[k].fields != pool_of(u, pc)[2]) continue;
      renew(u, dead[k].pc, pc);
      dead[k] = dead[--n];
      break;
    }
  }
  known_cells(u, true);
}

/* ---- the function ------------------------------------------------------------------------- */
void fl_reuse(FnLower *f) {
  Reuse u = {.f = f};
  read_pool(&u);
  u.first = NEW_N(int, f->code.n + 1);
  u.last = NEW_N(int, f->reg.n + 1);
  u.bound = NEW_N(int, f->reg.n + 1);
  u.fields = NEW_N(uint32_t, f->reg.n + 1);
  for (int i = 0; i < f->reg.n; i++) u.bound[i] = -1;
  for (int pc = 0, l = 0; pc <= f->code.n; pc++) {
    while (l < f->label.n && (int)f->label.at[l].pc < pc) l++;
    bool end = pc == f->code.n || op_leaves(f->code.at[pc].op);
    bool label = l < f->label.n && (int)f->label.at[l].pc == pc;
    if (!end && !label) continue;
    u.to = pc;
    straight(&u);
    cells(&u);
    u.label = label && !end ? &f->label.at[l] : NULL;
    u.from = end ? pc + 1 : pc;
  }
}
