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

/* ---- frames ---------------------------------------------------------------------- */
void plan_push(Plan *c, bool barrier) {
  if (c->top + 1 == MAX_FRAMES) {
    plan_fail(c, K_BAD_KERNEL, "statements are nested too deeply");
    return;
  }
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
static void plan_pop(Plan *c, Ins *x) {
  if (c->status != K_OK) return;
  Frame *f = &c->frame[c->top--];
  x->body = 1 + f->pre.n;
  x->end = x->body + f->body.n;
  plan_emit(c, plan_here(c), x);
  append(c, &f->pre);
  append(c, &f->body);
}

void plan_pop_bare(Plan *c) {
  if (c->status == K_OK) append(c, &c->frame[c->top--].body);
}

uint32_t plan_length(const Plan *c) { return c->frame[c->top].body.n; }

/* ---- variables ------------------------------------------------------------------- */
void plan_bind_reg(Plan *c, uint32_t var, uint32_t reg, bool strip) {
  c->bind[var] = (Bind){.kind = BIND_Reg, .strip = strip, .reg = reg, .place = plan_here(c)};
}

uint32_t plan_bind_loop(Plan *c, uint32_t var) {
  if (c->var_reg[var] == NO_REG) c->var_reg[var] = plan_reg(c, RK_Scalar, DT_i64);
  plan_bind_reg(c, var, c->var_reg[var], false);
  return c->var_reg[var];
}

/* ---- collapsing ------------------------------------------------------------------ */
typedef struct {
  const uint32_t *var;
  const KE *ext;
  uint32_t n;
} Group;

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
      if (in_group(c, g, o) < 0)
        plan_push_todo(c, o);
      else if (!load)
        return false;
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
  Group g = {t->var + at, t->ext + at, t->n - at};
  if (t->contract != KE_NONE || !group_fits(c, &g)) return false;
  for (uint32_t s = t->from; s < t->to; s = c->k.stmt[s].end)
    if (!regular_stmt(c, &g, s)) return false;
  return true;
}

/* ---- strips and counted loops ---------------------------------------------------- */
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
  plan_push(c, false);
  if (!PLAN_ROOM(c, &p->pool, &c->cap_pool, p->n_pool, 1 + 2 * n)) return x;
  x.b = p->n_pool;
  p->pool[p->n_pool++] = n;
  for (uint32_t i = 0; i < n; i++) {
    p->pool[p->n_pool++] = plan_bind_loop(c, var[i]);
    p->pool[p->n_pool++] = ereg[i];
  }
  c->vec = var[n - 1];
  c->vec_frame = c->top;
  return x;
}

static void close_vec(Plan *c, Ins *x) {
  plan_pop(c, x);
  c->vec = KE_NONE;
}

static Ins open_loop(Plan *c, uint32_t var, KE ext) {
  Ins x = plan_ins(IK_Loop, DT_i64, NO_REG, plan_eval(c, ext, false));
  if (plan_is_static(c, ext)) x.flags = IF_Static;
  plan_push(c, false);
  x.out = plan_bind_loop(c, var);
  return x;
}

/* False: cannot run along the strip, nothing was added. */
static bool plan_vec(Plan *c, const Nest *t, uint32_t at, uint32_t n) {
  uint32_t mark = plan_length(c);
  c->vec_failed = false;
  Ins x = open_vec(c, t->var + at, t->ext + at, n);
  x.c = t->stmt;
  plan_nest(c, t, at + n);
  close_vec(c, &x);
  if (c->vec_failed) c->frame[c->top].body.n = mark;
  return !c->vec_failed;
}

static void plan_counted(Plan *c, const Nest *t, uint32_t at) {
  Ins x = open_loop(c, t->var[at], t->ext[at]);
  x.c = t->stmt;
  plan_nest(c, t, at + 1);
  plan_pop(c, &x);
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
  uint32_t alt = plan_length(c), place = plan_here(c);
  Ins header = plan_ins(IK_Alt, DT_i64, NO_REG, NO_REG);
  if (inner) plan_emit(c, place, &header);
  if (!plan_vec(c, t, at, 1)) {
    if (c->status == K_OK) c->frame[c->top].body.n = alt;
    plan_counted(c, t, at);
    return;
  }
  if (!inner) return;
  uint32_t second = plan_length(c);
  plan_counted(c, t, at);
  if (c->status != K_OK) return;
  Ins *x = &c->frame[c->top].body.at[alt];
  x->body = second - alt;
  x->end = plan_length(c) - alt;
  x->c = c->p->n_alts++;
}

static void plan_reduce(Plan *c, const KStmt *s, uint32_t at, const uint32_t *pairs, uint32_t n,
                        KE value);

/* The loop form of a contraction inside its parallel loops: the sum, then the epilogue. */
static void plan_sum(Plan *c, const Nest *t) {
  KStmt s = c->k.stmt[t->contract];
  const uint32_t *p = c->k.pool + s.b, *red = p + 1 + 2 * p[0];
  c->stmt_epoch++;
  s.op = S_add;
  s.a = t->zero;
  plan_reduce(c, &s, t->contract, red + 1, *red, t->product);
}

void plan_nest(Plan *c, const Nest *t, uint32_t at) {
  if (c->status != K_OK) return;
  if (at == t->n) {
    if (t->contract != KE_NONE) plan_sum(c, t);
    plan_body(c, t->from, t->to);
    return;
  }
  if (c->vec != KE_NONE) {
    plan_counted(c, t, at);
    return;
  }
  for (uint32_t i = at; i < t->n; i++) plan_eval(c, t->ext[i], false);
  if (regular_nest(c, t, at) && plan_vec(c, t, at, t->n - at)) return;
  bool inner = at + 1 < t->n || t->contract != KE_NONE || has_loops(c, t->from, t->to);
  plan_alternatives(c, t, at, inner);
}

/* ---- reductions ------------------------------------------------------------------ */
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
    Group g = {var + n - m, ext + n - m, m};
    if (group_fits(c, &g) && regular_expr(c, &g, value)) return m;
  }
  return 1;
}

/* What is summed, by which statement, over which loops. */
typedef struct {
  uint32_t at, n, var[MAX_NEST];
  KE ext[MAX_NEST], value;
} Sum;

static void open_sum(Plan *c, const Sum *t, uint32_t n, Ins *head) {
  for (uint32_t i = 0; i < n; i++) {
    head[i] = open_loop(c, t->var[i], t->ext[i]);
    head[i].c = t->at, head[i].flags |= IF_Sum;
  }
}

static void reduce_in_strips(Plan *c, const KStmt *s, const Sum *t) {
  uint32_t init = plan_eval(c, s->a, false);
  uint32_t part = plan_reg(c, RK_Parts, (DType)s->dtype);
  uint32_t m = collapsible(c, t->var, t->ext, t->n, t->value), outer = t->n - m;
  Ins head[MAX_NEST];
  reduce_ins(c, s, IK_Start, 0, part, init, NO_REG);
  open_sum(c, t, outer, head);
  Ins vec = open_vec(c, t->var + outer, t->ext + outer, m);
  reduce_ins(c, s, IK_Acc, 0, part, plan_eval(c, t->value, true), NO_REG);
  close_vec(c, &vec);
  for (uint32_t i = outer; i-- > 0;) plan_pop(c, &head[i]);
  uint32_t out = plan_reg(c, RK_Scalar, (DType)s->dtype);
  reduce_ins(c, s, IK_Fin, 0, out, part, init);
  plan_bind_reg(c, s->var, out, false);
}

static void reduce_counted(Plan *c, const KStmt *s, const Sum *t) {
  bool strip = c->vec != KE_NONE;
  uint8_t flags = strip ? IF_Strip : 0;
  uint32_t init = plan_eval(c, s->a, strip);
  uint32_t acc = plan_reg(c, strip ? RK_Strip : RK_Scalar, (DType)s->dtype);
  Ins head[MAX_NEST];
  reduce_ins(c, s, IK_Move, flags, acc, init, NO_REG);
  open_sum(c, t, t->n, head);
  reduce_ins(c, s, IK_Op, flags, acc, acc, plan_eval(c, t->value, strip));
  for (uint32_t i = t->n; i-- > 0;) plan_pop(c, &head[i]);
  if (is_half((DType)s->dtype)) {
    Ins x = plan_ins(IK_Op, (DType)s->dtype, acc, acc);
    x.from = DT_f32, x.flags = flags | IF_Round, x.fn = lane_cast(DT_f32, (DType)s->dtype);
    plan_emit(c, plan_here(c), &x);
  }
  plan_bind_reg(c, s->var, acc, strip);
}

static void plan_reduce(Plan *c, const KStmt *s, uint32_t at, const uint32_t *pairs, uint32_t n,
                        KE value) {
  Sum t = {.at = at, .n = n, .value = value};
  if (n > MAX_NEST) {
    plan_fail(c, K_BAD_KERNEL, "a reduction has too many loops");
    return;
  }
  for (uint32_t i = 0; i < n; i++) t.var[i] = pairs[2 * i], t.ext[i] = pairs[2 * i + 1];
  if (c->vec == KE_NONE && n > 0)
    reduce_in_strips(c, s, &t);
  else
    reduce_counted(c, s, &t);
}

/* ---- statements ------------------------------------------------------------------ */
static bool is_parallel(const KStmt *s) {
  return s->kind == KS_For && s->op == K_PARALLEL && s->b == KE_NONE;
}

static void plan_parallel(Plan *c, uint32_t s) {
  Nest t = {.stmt = s, .contract = KE_NONE};
  for (;;) {
    const KStmt *st = &c->k.stmt[s];
    t.var[t.n] = st->var;
    t.ext[t.n++] = st->a;
    t.from = s + 1, t.to = st->end;
    const KStmt *next = &c->k.stmt[t.from];
    bool perfect = t.from < t.to && is_parallel(next) && next->end == t.to;
    if (!perfect || t.n == MAX_NEST || !plan_is_static(c, next->a)) break;
    s = t.from;
  }
  plan_nest(c, &t, 0);
}

/* One carried variable of a serial loop. */
typedef struct {
  uint32_t var;
  KE init, next;
} Carried;

static Carried carried(const Plan *c, const KStmt *s, uint32_t i) {
  const uint32_t *rec = c->k.pool + s->b + 1 + 3 * i;
  return (Carried){rec[0], rec[1], rec[2]};
}

static void emit_move(Plan *c, uint32_t var, uint32_t out, uint32_t from) {
  Ins x = plan_ins(IK_Move, (DType)c->k.var[var].dtype, out, from);
  x.flags = c->vec != KE_NONE ? IF_Strip : 0;
  if (out != from) plan_emit(c, plan_here(c), &x);
}

static uint32_t carried_reg(Plan *c, uint32_t var) {
  return plan_reg(c, c->vec != KE_NONE ? RK_Strip : RK_Scalar, (DType)c->k.var[var].dtype);
}

static void bind_carried(Plan *c, const KStmt *s, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    uint32_t var = carried(c, s, i).var;
    plan_bind_reg(c, var, c->var_reg[var], c->vec != KE_NONE);
  }
}

/* All next values are computed before any is set; registers [first, last) are
 * the carried ones themselves. */
static void carry_over(Plan *c, const KStmt *s, uint32_t n, uint32_t first, uint32_t last) {
  uint32_t moves = c->n_moves;
  c->stmt_epoch++;
  for (uint32_t i = 0; i < n; i++) {
    Carried v = carried(c, s, i);
    uint32_t from = plan_eval(c, v.next, c->vec != KE_NONE);
    if (from >= first && from < last && from != c->var_reg[v.var]) {
      uint32_t copy = carried_reg(c, v.var);
      emit_move(c, v.var, copy, from);
      from = copy;
    }
    if (PLAN_ROOM(c, &c->moves, &c->cap_moves, c->n_moves, 1)) c->moves[c->n_moves++] = from;
  }
  for (uint32_t i = 0; i < n && c->status == K_OK; i++) {
    uint32_t var = carried(c, s, i).var;
    emit_move(c, var, c->var_reg[var], c->moves[moves + i]);
  }
  c->n_moves = moves;
}

static void plan_serial(Plan *c, uint32_t s) {
  const KStmt *st = &c->k.stmt[s];
  uint32_t n = st->b == KE_NONE ? 0 : c->k.pool[st->b], first = c->p->n_regs;
  for (uint32_t i = 0; i < n; i++) {
    Carried v = carried(c, st, i);
    uint32_t from = plan_eval(c, v.init, c->vec != KE_NONE);
    c->var_reg[v.var] = carried_reg(c, v.var);
    emit_move(c, v.var, c->var_reg[v.var], from);
  }
  uint32_t last = c->p->n_regs;
  Ins x = open_loop(c, st->var, st->a);
  x.c = s;
  bind_carried(c, st, n);
  plan_body(c, s + 1, st->end);
  carry_over(c, st, n, first, last);
  plan_pop(c, &x);
  bind_carried(c, st, n);
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
  if (same)
    c->bind[s->var] = (Bind){.kind = BIND_Node, .node = e};
  else
    plan_bind_reg(c, s->var, r, strip);
}

static void plan_if(Plan *c, const KStmt *s, uint32_t from) {
  bool strip = varies(c, s->a);
  Ins x = plan_ins(IK_If, DT_bool, NO_REG, plan_eval(c, s->a, strip));
  x.flags = strip ? IF_Strip : 0;
  plan_push(c, true);
  plan_body(c, from, s->end);
  plan_pop(c, &x);
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
    if (is_parallel(s))
      plan_parallel(c, i);
    else
      plan_serial(c, i);
    break;
  case KS_Let: plan_let(c, s); break;
  case KS_Store: plan_store(c, s); break;
  case KS_Reduce: plan_reduce(c, s, i, c->k.pool + s->b + 1, c->k.pool[s->b], s->c); break;
  case KS_Contract: plan_contract(c, i); break;
  case KS_Check: plan_check(c, s); break;
  case KS_If: plan_if(c, s, i + 1); break;
  }
}

void plan_body(Plan *c, uint32_t from, uint32_t to) {
  for (uint32_t s = from; s < to && c->status == K_OK; s = c->k.stmt[s].end) plan_stmt(c, s);
}
