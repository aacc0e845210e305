/* interp_product.c -- contractions to a tape: the variables sorted into batch,
 * rows, columns and depth, the tapes that evaluate the factors for packing and
 * the epilogue along the columns, and behind them the form as a nest of loops
 * around a sum.  interp_contract.c runs the first form.                      */
#include "kernel/interp_plan.h"

static KE new_node(Plan *c, KNodeKind kind, SOp op, DType t, KE a, KE b) {
  c->k.node[c->k.n_nodes] = (KNode){(uint8_t)kind, (uint8_t)op, (uint8_t)t, 0, a, b, KE_NONE, 0};
  return c->k.n_nodes++;
}

/* The product that is summed: of halves, in float32. */
static void make_product(Plan *c, Nest *t, const KE factor[2], DType acc) {
  DType in = is_half(acc) ? DT_f32 : acc;
  KE x[2];
  for (int i = 0; i < 2; i++)
    x[i] = c->k.node[factor[i]].dtype == in ? factor[i]
                                            : new_node(c, KN_Cast, S_add, in, factor[i], KE_NONE);
  t->product = new_node(c, KN_Op, S_mul, in, x[0], x[1]);
  t->zero = new_node(c, KN_Const, S_add, acc, KE_NONE, KE_NONE);
}

/* Which of the variables does e use?  used[v] |= bit */
static void mark_uses(Plan *c, KE root, uint8_t *used, uint8_t bit, const uint32_t *pairs,
                      uint32_t n) {
  c->epoch++;
  c->n_todo = 0;
  plan_push_todo(c, root);
  while (c->n_todo > 0 && c->status == K_OK) {
    KE e = c->todo[--c->n_todo];
    if (c->fact[e].seen == c->epoch) continue;
    c->fact[e].seen = c->epoch;
    const KNode *nd = &c->k.node[e];
    for (uint32_t i = 0; nd->kind == KN_Var && i < n; i++)
      if (pairs[2 * i] == nd->a) used[i] |= bit;
    for (uint32_t i = 0, o; (o = plan_operand(c, e, i)) != KE_NONE; i++) plan_push_todo(c, o);
  }
}

/* The parallel variable in the last dimension of the first store, or KE_NONE. */
static uint32_t store_var(const Plan *c, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++) {
    const KStmt *s = &c->k.stmt[i];
    if (s->kind != KS_Store || c->k.buf[s->a].rank == 0) continue;
    const KNode *n = &c->k.node[c->k.pool[s->b + c->k.buf[s->a].rank - 1u]];
    return n->kind == KN_Var ? n->a : KE_NONE;
  }
  return KE_NONE;
}

/* The last is the innermost. */
typedef struct {
  uint32_t var;
  KE ext;
} NamedLoop;
typedef struct {
  uint32_t n;
  NamedLoop loop[MAX_NEST];
} NamedSet;

static void add_loop(NamedSet *s, uint32_t var, KE ext) { s->loop[s->n++] = (NamedLoop){var, ext}; }

/* Sort the parallel variables into batch, rows, columns.  The columns are those
 * of the factor that has the variable along which the result is contiguous, and
 * that variable is the innermost.  Swaps the factors when that is A. */
static void classify(Plan *c, const uint32_t *pairs, uint32_t n, KE *x, KE *y, uint32_t along,
                     NamedSet *batch, NamedSet side[2]) {
  uint8_t used[MAX_NEST] = {0};
  mark_uses(c, *x, used, 1, pairs, n);
  mark_uses(c, *y, used, 2, pairs, n);
  int column = 2;
  for (uint32_t i = 0; i < n; i++)
    if (pairs[2 * i] == along && used[i] == 1) column = 1;
  for (uint32_t i = 0; i < n; i++) {
    NamedSet *s = used[i] == 0 || used[i] == 3 ? batch : &side[used[i] == column];
    if (pairs[2 * i] != along) add_loop(s, pairs[2 * i], pairs[2 * i + 1]);
  }
  for (uint32_t i = 0; i < n; i++)
    if (pairs[2 * i] == along)
      add_loop(used[i] == column ? &side[1] : batch, along, pairs[2 * i + 1]);
  if (column == 1) {
    KE t = *x;
    *x = *y;
    *y = t;
  }
}

static void bind_set(Plan *c, const NamedSet *s) {
  for (uint32_t i = 0; i < s->n; i++) plan_bind_loop(c, s->loop[i].var);
}

static LoopSet loop_regs(Plan *c, const NamedSet *s) {
  LoopSet r = {.n = (uint8_t)s->n};
  for (uint32_t i = 0; i < s->n; i++)
    r.loop[i] = (LoopRegs){plan_bind_loop(c, s->loop[i].var), plan_eval(c, s->loop[i].ext, false)};
  return r;
}

/* A tape of its own along var: all variables of the contraction are its own. */
static void open_tape(Plan *c, uint32_t var, const NamedSet *batch, const NamedSet side[2],
                      const NamedSet *red) {
  plan_push(c, true);
  bind_set(c, batch);
  bind_set(c, &side[0]);
  bind_set(c, &side[1]);
  bind_set(c, red);
  c->vec = var;
  c->vec_frame = c->top;
}

static Tape close_tape(Plan *c, uint32_t head, uint32_t out) {
  Tape t = {.from = plan_length(c), .out = out};
  if (c->status == K_OK) t.from = c->frame[c->top - 1].body.n - head;
  plan_pop_bare(c);
  c->vec = KE_NONE;
  t.to = plan_length(c) - head;
  return t;
}

static uint32_t last_var(const NamedSet *s) { return s->loop[s->n - 1].var; }

/* The tapes of the tiled form, behind the header at `head`. */
static void plan_tiles(Plan *c, uint32_t s, uint32_t head, Contract *t, const KE factor[2],
                       const NamedSet *batch, const NamedSet side[2], const NamedSet *red) {
  const KStmt *st = &c->k.stmt[s];
  for (int i = 0; i < 2; i++)
    for (int way = 0; way < 2; way++) {
      open_tape(c, way ? last_var(red) : last_var(&side[i]), batch, side, red);
      uint32_t out = plan_eval(c, factor[i], true);
      t->pack[i][way] = close_tape(c, head, out);
    }
  open_tape(c, last_var(&side[1]), batch, side, red);
  uint32_t acc = plan_reg(c, RK_Strip, (DType)st->dtype);
  plan_bind_reg(c, st->var, acc, true);
  plan_body(c, s + 1, st->end);
  t->body = close_tape(c, head, acc);
}

void plan_contract(Plan *c, uint32_t s) {
  const KStmt *st = &c->k.stmt[s];
  const uint32_t *p = c->k.pool + st->b;
  uint32_t np = p[0], nr = p[1 + 2 * np];
  if (c->vec != KE_NONE) {
    c->vec_failed = true;
    return;
  }
  if (np > MAX_NEST || nr > MAX_NEST) {
    plan_fail(c, K_BAD_KERNEL, "a contraction has too many loops");
    return;
  }
  KE factor[2] = {p[2 + 2 * np + 2 * nr], p[3 + 2 * np + 2 * nr]};
  NamedSet batch = {0}, side[2] = {{0}, {0}}, red = {0};
  Nest loops = {.n = np, .stmt = s, .contract = s, .from = s + 1, .to = st->end};
  for (uint32_t i = 0; i < np; i++) loops.var[i] = p[1 + 2 * i], loops.ext[i] = p[2 + 2 * i];
  for (uint32_t i = 0; i < nr; i++) add_loop(&red, p[2 + 2 * np + 2 * i], p[3 + 2 * np + 2 * i]);
  make_product(c, &loops, factor, (DType)st->dtype);
  classify(c, p + 1, np, &factor[0], &factor[1], store_var(c, s + 1, st->end), &batch, side);
  bool tiled = side[0].n && side[1].n && nr && c->k.node[factor[0]].dtype == st->dtype &&
               c->k.node[factor[1]].dtype == st->dtype;
  if (!tiled) {
    plan_push(c, true);
    plan_nest(c, &loops, 0);
    plan_pop_bare(c);
    return;
  }
  Contract t = {.dtype = st->dtype, .choice = c->p->n_alts++};
  t.batch = loop_regs(c, &batch);
  t.side[0] = loop_regs(c, &side[0]);
  t.side[1] = loop_regs(c, &side[1]);
  t.red = loop_regs(c, &red);
  uint32_t head = plan_length(c), number = c->p->n_con;
  if (!PLAN_ROOM(c, &c->p->con, &c->cap_con, number, 1)) return;
  c->p->con[c->p->n_con++] = t;
  Ins x = plan_ins(IK_Contract, (DType)st->dtype, NO_REG, NO_REG);
  x.c = number;
  plan_emit(c, plan_here(c), &x);
  c->vec_failed = false;
  plan_tiles(c, s, head, &t, factor, &batch, side, &red);
  if (c->vec_failed && c->status == K_OK) { /* an epilogue that cannot run in strips */
    c->frame[c->top].body.n = head;
    c->p->n_con--;
  }
  uint32_t second = plan_length(c);
  plan_push(c, true);
  plan_nest(c, &loops, 0);
  plan_pop_bare(c);
  if (c->status != K_OK || second == head) return;
  c->p->con[number] = t;
  c->frame[c->top].body.at[head].body = second - head;
  c->frame[c->top].body.at[head].end = plan_length(c) - head;
}
