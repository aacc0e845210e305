/* interp_plan.c -- statements to a tape.
 *
 * A nest of parallel loops gets a form in which its outermost loop runs along
 * the strip and all others are counted, and a form in which the outermost loop
 * is counted and the same choice is open for the rest; the run decides by
 * extents and strides (IK_Alt).  A perfect nest whose accesses are all
 * row-major over its loops is one long strip.  A reduction is a strip over its
 * last loops outside of strips, and a counted loop with a strip as accumulator
 * inside.  A contraction has a form as packed tiles and one as a nest of loops
 * with a reduction.                                                          */
#include "kernel/interp_plan.h"

/* Parallel loops, then what they hold: statements, or first the sum of a contraction. */
typedef struct {
  uint32_t n, var[MAX_NEST];
  KE ext[MAX_NEST];
  uint32_t contract, from, to;
  KE product, zero;                          /* of the contraction            */
} Nest;

static void plan_body(Plan *c, uint32_t from, uint32_t to);
static void plan_nest(Plan *c, const Nest *t, uint32_t at);

/* ---- frames ------------------------------------------------------------------------ */
static void push(Plan *c, bool barrier) {
  if (c->top + 1 == MAX_FRAMES) { plan_fail(c, K_BAD_KERNEL, "statements are nested too deeply"); return; }
  Frame *f = &c->frame[++c->top];
  f->pre.n = f->body.n = 0;
  f->serial = ++c->serial;
  f->barrier = barrier;
}

static void append(Plan *c, const Code *from) {
  Code *l = &c->frame[c->top].body;
  if (from->n && PLAN_ROOM(c, &l->at, &l->cap, l->n, from->n)) {
    memcpy(l->at + l->n, from->at, from->n * sizeof *from->at);
    l->n += from->n;
  }
}

/* Close the frame: its code goes behind header x in the enclosing body. */
static void pop(Plan *c, Ins *x) {
  if (c->status != K_OK) return;
  Frame *f = &c->frame[c->top--];
  x->body = 1 + f->pre.n;
  x->end = x->body + f->body.n;
  plan_emit(c, plan_here(c), x);
  append(c, &f->pre);
  append(c, &f->body);
}

static void pop_bare(Plan *c) {
  if (c->status == K_OK) append(c, &c->frame[c->top--].body);
}

static uint32_t here(const Plan *c) { return c->frame[c->top].body.n; }

/* ---- variables --------------------------------------------------------------------- */
static void bind_reg(Plan *c, uint32_t var, uint32_t reg, bool strip) {
  c->bind[var] = (Bind){ .kind = BIND_Reg, .strip = strip, .reg = reg, .place = plan_here(c) };
}

static uint32_t bind_loop(Plan *c, uint32_t var) {
  if (c->var_reg[var] == NO_REG) c->var_reg[var] = plan_reg(c, RK_Scalar, DT_i64);
  bind_reg(c, var, c->var_reg[var], false);
  return c->var_reg[var];
}

/* ---- collapsing -------------------------------------------------------------------- */
typedef struct { const uint32_t *var; const KE *ext; uint32_t n; } Group;

static int in_group(const Plan *c, const Group *g, KE e) {
  const KNode *n = &c->k.node[plan_resolve(c, e)];
  for (uint32_t i = 0; n->kind == KN_Var && i < g->n; i++)
    if (g->var[i] == n->a) return (int)i;
  return -1;
}

/* The group's variables stand in neighbouring dimensions, in order, and fill
 * all but the first; or none of them occurs. */
static bool row_major(const Plan *c, const Group *g, uint32_t buf, const KE *index) {
  const KBuf *b = &c->k.buf[buf];
  int first = -1, found = 0;
  for (int d = 0; d < b->rank; d++) {
    int i = in_group(c, g, index[d]);
    if (i < 0) continue;
    if (i == 0) first = d;
    if (first < 0 || i != d - first) return false;
    if (i > 0 && b->dim[d] != g->ext[i]) return false;
    found++;
  }
  return found == 0 || (found == (int)g->n && first >= 0);
}

/* Does everything below e use the group only in row-major accesses? */
static bool regular_expr(Plan *c, const Group *g, KE root) {
  if (in_group(c, g, root) >= 0) return false;
  c->n_todo = 0;
  plan_push_todo(c, root);
  while (c->n_todo > 0 && c->status == K_OK) {
    KE e = c->todo[--c->n_todo];
    const KNode *n = &c->k.node[e];
    if (c->fact[e].seen == c->epoch) continue;
    c->fact[e].seen = c->epoch;
    bool load = n->kind == KN_Load;
    if (load && !row_major(c, g, n->a, c->k.pool + n->b)) return false;
    for (uint32_t i = 0, o; (o = plan_operand(c, e, i)) != KE_NONE; i++) {
      if (in_group(c, g, o) < 0) plan_push_todo(c, o);
      else if (!load) return false;
    }
  }
  return true;
}

static bool regular_stmt(Plan *c, const Group *g, uint32_t s) {
  const KStmt *t = &c->k.stmt[s];
  if (t->kind == KS_Store) {
    const KE *index = c->k.pool + t->b;
    if (!row_major(c, g, t->a, index)) return false;
    for (int d = 0; d < c->k.buf[t->a].rank; d++)
      if (in_group(c, g, index[d]) < 0 && !regular_expr(c, g, index[d])) return false;
    return regular_expr(c, g, t->c);
  }
  return (t->kind == KS_Let || t->kind == KS_Check) && regular_expr(c, g, t->a);
}

static bool group_fits(Plan *c, const Group *g) {
  if (g->n < 2) return false;
  for (uint32_t i = 0; i < g->n; i++)
    if (!plan_is_static(c, g->ext[i])) return false;
  c->epoch++;
  return true;
}

static bool regular_nest(Plan *c, const Nest *t, uint32_t at) {
  Group g = { t->var + at, t->ext + at, t->n - at };
  if (t->contract != KE_NONE || !group_fits(c, &g)) return false;
  for (uint32_t s = t->from; s < t->to; s = c->k.stmt[s].end)
    if (!regular_stmt(c, &g, s)) return false;
  return true;
}

/* ---- strips and counted loops ---------------------------------------------------------- */
/* Begin a Vec over n loops as one.  The header to close it with. */
static Ins open_vec(Plan *c, const uint32_t *var, const KE *ext, uint32_t n) {
  KProg *p = c->p;
  Ins x = plan_ins(IK_Vec, DT_i64, NO_REG, NO_REG);
  x.flags = IF_Static;
  uint32_t ereg[MAX_NEST];
  for (uint32_t i = 0; i < n; i++) {
    ereg[i] = plan_eval(c, ext[i], false);
    if (!plan_is_static(c, ext[i])) x.flags = 0;
  }
  push(c, false);
  if (!PLAN_ROOM(c, &p->pool, &c->cap_pool, p->n_pool, 1 + 2 * n)) return x;
  x.b = p->n_pool;
  p->pool[p->n_pool++] = n;
  for (uint32_t i = 0; i < n; i++) {
    p->pool[p->n_pool++] = bind_loop(c, var[i]);
    p->pool[p->n_pool++] = ereg[i];
  }
  c->vec = var[n - 1];
  c->vec_frame = c->top;
  return x;
}

static void close_vec(Plan *c, Ins *x) {
  pop(c, x);
  c->vec = KE_NONE;
}

static Ins open_loop(Plan *c, uint32_t var, KE ext) {
  Ins x = plan_ins(IK_Loop, DT_i64, NO_REG, plan_eval(c, ext, false));
  if (plan_is_static(c, ext)) x.flags = IF_Static;
  push(c, false);
  x.out = bind_loop(c, var);
  return x;
}

/* False: cannot run along the strip, nothing was added. */
static bool plan_vec(Plan *c, const Nest *t, uint32_t at, uint32_t n) {
  uint32_t mark = here(c);
  c->vec_failed = false;
  Ins x = open_vec(c, t->var + at, t->ext + at, n);
  plan_nest(c, t, at + n);
  close_vec(c, &x);
  if (c->vec_failed) c->frame[c->top].body.n = mark;
  return !c->vec_failed;
}

static void plan_counted(Plan *c, const Nest *t, uint32_t at) {
  Ins x = open_loop(c, t->var[at], t->ext[at]);
  plan_nest(c, t, at + 1);
  pop(c, &x);
}

static bool has_loops(const Plan *c, uint32_t from, uint32_t to) {
  for (uint32_t s = from; s < to; s++) {
    KStmtKind k = (KStmtKind)c->k.stmt[s].kind;
    if (k == KS_For || k == KS_Reduce || k == KS_Contract) return true;
  }
  return false;
}

/* The two forms side by side, unless there is nothing to choose. */
static void plan_alternatives(Plan *c, const Nest *t, uint32_t at, bool inner) {
  uint32_t alt = here(c), place = plan_here(c);
  Ins header = plan_ins(IK_Alt, DT_i64, NO_REG, NO_REG);
  if (inner) plan_emit(c, place, &header);
  if (!plan_vec(c, t, at, 1)) {
    if (c->status == K_OK) c->frame[c->top].body.n = alt;
    plan_counted(c, t, at);
    return;
  }
  if (!inner) return;
  uint32_t second = here(c);
  plan_counted(c, t, at);
  if (c->status != K_OK) return;
  Ins *x = &c->frame[c->top].body.at[alt];
  x->body = second - alt;
  x->end = here(c) - alt;
  x->c = c->p->n_alts++;
}

static void plan_reduce(Plan *c, const KStmt *s, const uint32_t *pairs, uint32_t n, KE value);

/* The loop form of a contraction inside its parallel loops: the sum, then the epilogue. */
static void plan_sum(Plan *c, const Nest *t) {
  KStmt s = c->k.stmt[t->contract];
  const uint32_t *p = c->k.pool + s.b, *red = p + 1 + 2 * p[0];
  c->stmt_epoch++;
  s.op = S_add;
  s.a = t->zero;
  plan_reduce(c, &s, red + 1, *red, t->product);
}

static KE new_node(Plan *c, KNodeKind kind, SOp op, DType t, KE a, KE b) {
  c->k.node[c->k.n_nodes] = (KNode){ (uint8_t)kind, (uint8_t)op, (uint8_t)t, 0, a, b, KE_NONE, 0 };
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

static void plan_nest(Plan *c, const Nest *t, uint32_t at) {
  if (c->status != K_OK) return;
  if (at == t->n) {
    if (t->contract != KE_NONE) plan_sum(c, t);
    plan_body(c, t->from, t->to);
    return;
  }
  if (c->vec != KE_NONE) { plan_counted(c, t, at); return; }
  for (uint32_t i = at; i < t->n; i++) plan_eval(c, t->ext[i], false);
  if (regular_nest(c, t, at) && plan_vec(c, t, at, t->n - at)) return;
  bool inner = at + 1 < t->n || t->contract != KE_NONE || has_loops(c, t->from, t->to);
  plan_alternatives(c, t, at, inner);
}

/* ---- reductions ---------------------------------------------------------------------------- */
static void reduce_ins(Plan *c, const KStmt *s, InsKind kind, uint8_t flags, uint32_t out,
                       uint32_t a, uint32_t b) {
  DType t = is_half((DType)s->dtype) ? DT_f32 : (DType)s->dtype;
  Ins x = plan_ins(kind, (DType)s->dtype, out, a);
  x.op = s->op, x.from = (uint8_t)t, x.flags = flags, x.b = b;
  x.fn = lane_op((SOp)s->op, t);
  plan_wrap(&x, t);
  plan_emit(c, plan_here(c), &x);
}

/* How many of the last loops can be one strip. */
static uint32_t collapsible(Plan *c, const uint32_t *var, const KE *ext, uint32_t n, KE value) {
  for (uint32_t m = n; m > 1; m--) {
    Group g = { var + n - m, ext + n - m, m };
    if (group_fits(c, &g) && regular_expr(c, &g, value)) return m;
  }
  return 1;
}

static void reduce_in_strips(Plan *c, const KStmt *s, const uint32_t *var, const KE *ext,
                             uint32_t n, KE value) {
  uint32_t init = plan_eval(c, s->a, false);
  uint32_t part = plan_reg(c, RK_Parts, (DType)s->dtype);
  uint32_t m = collapsible(c, var, ext, n, value);
  Ins head[MAX_NEST];
  reduce_ins(c, s, IK_Start, 0, part, init, NO_REG);
  for (uint32_t i = 0; i < n - m; i++) head[i] = open_loop(c, var[i], ext[i]);
  Ins vec = open_vec(c, var + n - m, ext + n - m, m);
  reduce_ins(c, s, IK_Acc, 0, part, plan_eval(c, value, true), NO_REG);
  close_vec(c, &vec);
  for (uint32_t i = n - m; i-- > 0;) pop(c, &head[i]);
  uint32_t out = plan_reg(c, RK_Scalar, (DType)s->dtype);
  reduce_ins(c, s, IK_Fin, 0, out, part, init);
  bind_reg(c, s->var, out, false);
}

static void reduce_counted(Plan *c, const KStmt *s, const uint32_t *var, const KE *ext, uint32_t n,
                           KE value) {
  bool strip = c->vec != KE_NONE;
  uint8_t flags = strip ? IF_Strip : 0;
  uint32_t init = plan_eval(c, s->a, strip);
  uint32_t acc = plan_reg(c, strip ? RK_Strip : RK_Scalar, (DType)s->dtype);
  Ins head[MAX_NEST];
  reduce_ins(c, s, IK_Move, flags, acc, init, NO_REG);
  for (uint32_t i = 0; i < n; i++) head[i] = open_loop(c, var[i], ext[i]);
  reduce_ins(c, s, IK_Op, flags, acc, acc, plan_eval(c, value, strip));
  for (uint32_t i = n; i-- > 0;) pop(c, &head[i]);
  if (is_half((DType)s->dtype)) {
    Ins x = plan_ins(IK_Op, (DType)s->dtype, acc, acc);
    x.from = DT_f32, x.flags = flags | IF_Round, x.fn = lane_cast(DT_f32, (DType)s->dtype);
    plan_emit(c, plan_here(c), &x);
  }
  bind_reg(c, s->var, acc, strip);
}

static void plan_reduce(Plan *c, const KStmt *s, const uint32_t *pairs, uint32_t n, KE value) {
  uint32_t var[MAX_NEST];
  KE ext[MAX_NEST];
  if (n > MAX_NEST) { plan_fail(c, K_BAD_KERNEL, "a reduction has too many loops"); return; }
  for (uint32_t i = 0; i < n; i++) var[i] = pairs[2 * i], ext[i] = pairs[2 * i + 1];
  if (c->vec == KE_NONE && n > 0) reduce_in_strips(c, s, var, ext, n, value);
  else reduce_counted(c, s, var, ext, n, value);
}

/* ---- contractions ------------------------------------------------------------------------------ */
/* Which of the variables does e use?  used[v] |= bit */
static void mark_uses(Plan *c, KE root, uint8_t *used, uint8_t bit, const uint32_t *pairs, uint32_t n) {
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
typedef struct { uint32_t var; KE ext; } NamedLoop;
typedef struct { uint32_t n; NamedLoop loop[MAX_NEST]; } NamedSet;

static void add_loop(NamedSet *s, uint32_t var, KE ext) {
  s->loop[s->n++] = (NamedLoop){ var, ext };
}

/* Sort the parallel variables into batch, rows, columns.  The columns are those
 * of the factor that has the variable along which the result is contiguous, and
 * that variable is the innermost.  Swaps the factors when that is A. */
static void classify(Plan *c, const uint32_t *pairs, uint32_t n, KE *x, KE *y, uint32_t along,
                     NamedSet *batch, NamedSet side[2]) {
  uint8_t used[MAX_NEST] = { 0 };
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
  if (column == 1) { KE t = *x; *x = *y; *y = t; }
}

static void bind_set(Plan *c, const NamedSet *s) {
  for (uint32_t i = 0; i < s->n; i++) bind_loop(c, s->loop[i].var);
}

static LoopSet loop_regs(Plan *c, const NamedSet *s) {
  LoopSet r = { .n = (uint8_t)s->n };
  for (uint32_t i = 0; i < s->n; i++)
    r.loop[i] = (LoopRegs){ bind_loop(c, s->loop[i].var), plan_eval(c, s->loop[i].ext, false) };
  return r;
}

/* A tape of its own along var: all variables of the contraction are its own. */
static void open_tape(Plan *c, uint32_t var, const NamedSet *batch, const NamedSet side[2],
                      const NamedSet *red) {
  push(c, true);
  bind_set(c, batch);
  bind_set(c, &side[0]);
  bind_set(c, &side[1]);
  bind_set(c, red);
  c->vec = var;
  c->vec_frame = c->top;
}

static Tape close_tape(Plan *c, uint32_t head, uint32_t out) {
  Tape t = { .from = here(c), .out = out };
  if (c->status == K_OK) t.from = c->frame[c->top - 1].body.n - head;
  pop_bare(c);
  c->vec = KE_NONE;
  t.to = here(c) - head;
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
  bind_reg(c, st->var, acc, true);
  plan_body(c, s + 1, st->end);
  t->body = close_tape(c, head, acc);
}

static void plan_contract(Plan *c, uint32_t s) {
  const KStmt *st = &c->k.stmt[s];
  const uint32_t *p = c->k.pool + st->b;
  uint32_t np = p[0], nr = p[1 + 2 * np];
  if (c->vec != KE_NONE) { c->vec_failed = true; return; }
  if (np > MAX_NEST || nr > MAX_NEST) { plan_fail(c, K_BAD_KERNEL, "a contraction has too many loops"); return; }
  KE factor[2] = { p[2 + 2 * np + 2 * nr], p[3 + 2 * np + 2 * nr] };
  NamedSet batch = { 0 }, side[2] = { { 0 }, { 0 } }, red = { 0 };
  Nest loops = { .n = np, .contract = s, .from = s + 1, .to = st->end };
  for (uint32_t i = 0; i < np; i++) loops.var[i] = p[1 + 2 * i], loops.ext[i] = p[2 + 2 * i];
  for (uint32_t i = 0; i < nr; i++) add_loop(&red, p[2 + 2 * np + 2 * i], p[3 + 2 * np + 2 * i]);
  make_product(c, &loops, factor, (DType)st->dtype);
  classify(c, p + 1, np, &factor[0], &factor[1], store_var(c, s + 1, st->end), &batch, side);
  bool tiled = side[0].n && side[1].n && nr && c->k.node[factor[0]].dtype == st->dtype &&
               c->k.node[factor[1]].dtype == st->dtype;
  if (!tiled) {
    push(c, true);
    plan_nest(c, &loops, 0);
    pop_bare(c);
    return;
  }
  Contract t = { .dtype = st->dtype, .choice = c->p->n_alts++ };
  t.batch = loop_regs(c, &batch);
  t.side[0] = loop_regs(c, &side[0]);
  t.side[1] = loop_regs(c, &side[1]);
  t.red = loop_regs(c, &red);
  uint32_t head = here(c), number = c->p->n_con;
  if (!PLAN_ROOM(c, &c->p->con, &c->cap_con, number, 1)) return;
  c->p->con[c->p->n_con++] = t;
  Ins x = plan_ins(IK_Contract, (DType)st->dtype, NO_REG, NO_REG);
  x.c = number;
  plan_emit(c, plan_here(c), &x);
  c->vec_failed = false;
  plan_tiles(c, s, head, &t, factor, &batch, side, &red);
  if (c->vec_failed && c->status == K_OK) {  /* an epilogue that cannot run in strips */
    c->frame[c->top].body.n = head;
    c->p->n_con--;
  }
  uint32_t second = here(c);
  push(c, true);
  plan_nest(c, &loops, 0);
  pop_bare(c);
  if (c->status != K_OK || second == head) return;
  c->p->con[number] = t;
  c->frame[c->top].body.at[head].body = second - head;
  c->frame[c->top].body.at[head].end = here(c) - head;
}

/* ---- statements ------------------------------------------------------------------------------------ */
static bool is_parallel(const KStmt *s) {
  return s->kind == KS_For && s->op == K_PARALLEL && s->b == KE_NONE;
}

static void plan_parallel(Plan *c, uint32_t s) {
  Nest t = { .contract = KE_NONE };
  for (;;) {
    const KStmt *st = &c->k.stmt[s];
    t.var[t.n] = st->var;
    t.ext[t.n++] = st->a;
    t.from = s + 1, t.to = st->end;
    bool perfect = t.from < t.to && is_parallel(&c->k.stmt[t.from]) && c->k.stmt[t.from].end == t.to;
    if (!perfect || t.n == MAX_NEST || !plan_is_static(c, c->k.stmt[t.from].a)) break;
    s = t.from;
  }
  plan_nest(c, &t, 0);
}

/* Carried values: (var, init, next) triples. */
static void plan_serial(Plan *c, uint32_t s) {
  const KStmt *st = &c->k.stmt[s];
  const uint32_t none = 0, *rec = st->b == KE_NONE ? &none : c->k.pool + st->b;
  uint32_t n = *rec, first = c->p->n_regs;
  bool strip = c->vec != KE_NONE;
  Ins move = plan_ins(IK_Move, DT_i64, NO_REG, NO_REG);
  move.flags = strip ? IF_Strip : 0;
  for (uint32_t i = 0; i < n; i++) {
    DType t = (DType)c->k.var[rec[1 + 3 * i]].dtype;
    move.a = plan_eval(c, rec[2 + 3 * i], strip);
    move.out = plan_reg(c, strip ? RK_Strip : RK_Scalar, t);
    move.dtype = (uint8_t)t;
    plan_emit(c, plan_here(c), &move);
    c->var_reg[rec[1 + 3 * i]] = move.out;
  }
  uint32_t last = c->p->n_regs;
  Ins x = open_loop(c, st->var, st->a);
  for (uint32_t i = 0; i < n; i++) bind_reg(c, rec[1 + 3 * i], c->var_reg[rec[1 + 3 * i]], strip);
  plan_body(c, s + 1, st->end);
  c->stmt_epoch++;
  uint32_t moves = c->n_moves;
  for (uint32_t i = 0; i < n; i++) {          /* all are computed before any is set */
    uint32_t v = plan_eval(c, rec[3 + 3 * i], strip);
    move.dtype = c->k.var[rec[1 + 3 * i]].dtype;
    if (v >= first && v < last && v != c->var_reg[rec[1 + 3 * i]]) {
      move.a = v;
      move.out = v = plan_reg(c, strip ? RK_Strip : RK_Scalar, (DType)move.dtype);
      plan_emit(c, plan_here(c), &move);
    }
    if (PLAN_ROOM(c, &c->moves, &c->cap_moves, c->n_moves, 1)) c->moves[c->n_moves++] = v;
  }
  for (uint32_t i = 0; i < n && c->status == K_OK; i++) {
    move.a = c->moves[moves + i];
    move.out = c->var_reg[rec[1 + 3 * i]];
    move.dtype = c->k.var[rec[1 + 3 * i]].dtype;
    if (move.a != move.out) plan_emit(c, plan_here(c), &move);
  }
  c->n_moves = moves;
  pop(c, &x);
  for (uint32_t i = 0; i < n; i++) bind_reg(c, rec[1 + 3 * i], c->var_reg[rec[1 + 3 * i]], strip);
}

/* Does e vary along the strip?  Its facts are known afterwards. */
static bool varies(Plan *c, KE e) {
  plan_is_static(c, e);
  return c->vec != KE_NONE && c->fact[plan_resolve(c, e)].varying;
}

/* A let of an integer that no store can change is that integer: indices stay affine. */
static void plan_let(Plan *c, const KStmt *s) {
  bool strip = varies(c, s->a);
  KE e = plan_resolve(c, s->a);
  Fact f = c->fact[e];
  bool same = s->dtype == DT_i64 && !f.tainted;
  uint32_t r = same && strip && f.affine ? NO_REG : plan_eval(c, e, strip);
  if (same) c->bind[s->var] = (Bind){ .kind = BIND_Node, .node = e };
  else bind_reg(c, s->var, r, strip);
}

static void plan_if(Plan *c, const KStmt *s, uint32_t from) {
  bool strip = varies(c, s->a);
  Ins x = plan_ins(IK_If, DT_bool, NO_REG, plan_eval(c, s->a, strip));
  x.flags = strip ? IF_Strip : 0;
  push(c, true);
  plan_body(c, from, s->end);
  pop(c, &x);
}

static void plan_check(Plan *c, const KStmt *s) {
  bool strip = varies(c, s->a);
  Ins x = plan_ins(IK_Check, DT_bool, NO_REG, plan_eval(c, s->a, strip));
  x.flags = strip ? IF_Strip : 0, x.c = s->c;
  plan_emit(c, plan_here(c), &x);
}

static void plan_store(Plan *c, const KStmt *s) {
  bool strip = c->vec != KE_NONE;
  Ins x = plan_ins(IK_Store, (DType)c->k.buf[s->a].dtype, NO_REG, NO_REG);
  x.flags = strip ? IF_Strip : 0;
  x.at = plan_access(c, s->a, c->k.pool + s->b, strip);
  x.a = plan_eval(c, s->c, strip);
  plan_emit(c, plan_here(c), &x);
}

static void plan_stmt(Plan *c, uint32_t i) {
  const KStmt *s = &c->k.stmt[i];
  c->stmt_epoch++;
  switch ((KStmtKind)s->kind) {
  case KS_For:
    if (is_parallel(s)) plan_parallel(c, i);
    else plan_serial(c, i);
    break;
  case KS_Let: plan_let(c, s); break;
  case KS_Store: plan_store(c, s); break;
  case KS_Reduce: plan_reduce(c, s, c->k.pool + s->b + 1, c->k.pool[s->b], s->c); break;
  case KS_Contract: plan_contract(c, i); break;
  case KS_Check: plan_check(c, s); break;
  case KS_If: plan_if(c, s, i + 1); break;
  }
}

static void plan_body(Plan *c, uint32_t from, uint32_t to) {
  for (uint32_t s = from; s < to && c->status == K_OK; s = c->k.stmt[s].end) plan_stmt(c, s);
}

/* ---- begin and end ----------------------------------------------------------------------------------- */
static void *zeroed(Plan *c, size_t n, size_t size) {
  if (c->status != K_OK) return NULL;
  size_t bytes = (n + 1) * size;
  void *p = n < SIZE_MAX / size - 1 ? c->alloc.fn(c->alloc.user, NULL, 0, bytes) : NULL;
  if (!p) { plan_fail(c, K_NO_MEMORY, "no memory to prepare the kernel"); return NULL; }
  memset(p, 0, bytes);
  return p;
}

static void drop(KAlloc a, void *p, size_t n, size_t size) {
  if (p) a.fn(a.user, p, n * size, 0);
}

static bool begin(Plan *c, const Kernel *k) {
  uint32_t extra = 0;
  for (uint32_t s = 0; s < k->n_stmts; s++) extra += k->stmt[s].kind == KS_Contract ? 4 : 0;
  c->k = *k;
  c->cap_nodes = k->n_nodes + extra;
  c->vec = KE_NONE;
  c->serial = c->stmt_epoch = 1;
  c->frame[0].serial = 1;
  c->k.node = zeroed(c, c->cap_nodes, sizeof(KNode));
  c->have = zeroed(c, 2 * (size_t)c->cap_nodes, sizeof(Have));
  c->fact = zeroed(c, c->cap_nodes, sizeof(Fact));
  c->bind = zeroed(c, k->n_vars, sizeof(Bind));
  c->var_reg = zeroed(c, k->n_vars, sizeof(uint32_t));
  c->p = zeroed(c, 0, sizeof(KProg));
  if (c->p) c->p->buf_dim = zeroed(c, (size_t)k->n_bufs * K_MAX_RANK, sizeof(uint32_t));
  if (c->p) c->p->n_buf_dims = k->n_bufs * K_MAX_RANK + 1;
  if (c->status != K_OK) return false;
  memcpy(c->k.node, k->node, k->n_nodes * sizeof(KNode));
  for (uint32_t v = 0; v < k->n_vars; v++) c->var_reg[v] = NO_REG;
  c->p->k = k;
  for (uint32_t i = 0; i < k->n_nodes; i++)
    if (k->node[i].kind == KN_Load || k->node[i].kind == KN_LoadOr) c->loaded[k->node[i].a] = true;
  for (uint32_t s = 0; s < k->n_stmts; s++)
    if (k->stmt[s].kind == KS_Store) c->stored[k->stmt[s].a] = true;
  return true;
}

static void plan_all(Plan *c) {
  for (uint32_t s = 0; s < c->k.n_syms; s++) plan_reg(c, RK_Scalar, DT_i64);
  c->fixed = true;
  for (uint32_t b = 0; b < c->k.n_bufs; b++)
    for (uint32_t d = 0; d < c->k.buf[b].rank; d++)
      c->p->buf_dim[b * K_MAX_RANK + d] = plan_eval(c, c->k.buf[b].dim[d], false);
  c->fixed = false;
  plan_body(c, 0, c->k.n_stmts);
}

static void end(Plan *c) {
  size_t nodes = (size_t)c->cap_nodes, vars = c->k.n_vars;
  for (int i = 0; i < MAX_FRAMES; i++) {
    drop(c->alloc, c->frame[i].pre.at, c->frame[i].pre.cap, sizeof(Ins));
    drop(c->alloc, c->frame[i].body.at, c->frame[i].body.cap, sizeof(Ins));
  }
  drop(c->alloc, c->k.node, nodes + 1, sizeof(KNode));
  drop(c->alloc, c->have, 2 * nodes + 1, sizeof(Have));
  drop(c->alloc, c->fact, nodes + 1, sizeof(Fact));
  drop(c->alloc, c->bind, vars + 1, sizeof(Bind));
  drop(c->alloc, c->var_reg, vars + 1, sizeof(uint32_t));
  drop(c->alloc, c->todo, c->cap_todo, sizeof(uint32_t));
  drop(c->alloc, c->moves, c->cap_moves, sizeof(uint32_t));
}

KStatus kernel_prepare(const Kernel *k, KAlloc a, KProg **out, KError *err) {
  Plan *c = a.fn(a.user, NULL, 0, sizeof *c);
  *out = NULL;
  if (!c) {
    if (err) *err = (KError){ K_NO_MEMORY, "no memory to prepare the kernel" };
    return K_NO_MEMORY;
  }
  memset(c, 0, sizeof *c);
  c->alloc = a;
  if (begin(c, k)) {
    plan_all(c);
    plan_finish(c);
  }
  end(c);
  KStatus s = c->status;
  if (s == K_OK) *out = c->p;
  else {
    if (c->p) { kernel_unprepare(c->p, a); }
    if (err) *err = (KError){ s, c->why };
  }
  drop(a, c, 1, sizeof *c);
  return s;
}

/* plan_finish gave the arrays their exact size; a failed plan too. */
void kernel_unprepare(KProg *p, KAlloc a) {
  if (!p) return;
#define DROP(array, n) drop(a, p->array, (n) ? (n) : 1, sizeof *p->array)
  DROP(ins, p->n_ins);
  DROP(reg, p->n_regs);
  DROP(access, p->n_access);
  DROP(dim, p->n_dims);
  DROP(konst, p->n_consts);
  DROP(pool, p->n_pool);
  DROP(con, p->n_con);
#undef DROP
  drop(a, p->buf_dim, (size_t)p->n_buf_dims, sizeof *p->buf_dim);
  drop(a, p, 1, sizeof *p);
}
