/* interp_tape.c -- finishing a tape: which strips share memory, which loads and
 * results need no copy.
 *
 * A strip is alive from its first mention to its last; if it was there before a
 * loop that mentions it, to the end of that loop.  Strips that are never alive
 * together share a slot.  A load whose strip is not outlived by a store may stand
 * for the memory itself; an operation followed by the store of its only use may
 * write there.                                                                */
#include "kernel/interp_plan.h"

typedef struct {
  uint32_t first, last, mentions;
  bool extended;
} Life;
typedef struct {
  uint32_t from, to;
} Span;

typedef struct {
  Plan *c;
  Life *life;       /* per register                  */
  uint32_t *stores; /* before each instruction       */
  uint8_t *edge;    /* a body begins or ends here    */
  uint32_t *slot_free;
  uint32_t n_slots; /* per slot: the last user's end */
  Span loop[2 * MAX_FRAMES];
  uint32_t n_loops; /* open at the moment        */
} Tapes;

static void mention(Tapes *t, uint32_t reg, uint32_t at) {
  if (reg == NO_REG || t->c->p->reg[reg].kind != RK_Strip) return;
  Life *l = &t->life[reg];
  if (l->mentions++ == 0) {
    l->first = l->last = at;
    return;
  }
  if (at > l->last) l->last = at;
  for (uint32_t i = 0; i < t->n_loops; i++)
    if (t->loop[i].from > l->first) { /* the outermost that began later */
      if (t->loop[i].to > l->last) l->last = t->loop[i].to, l->extended = true;
      return;
    }
}

static void mention_access(Tapes *t, const Ins *x, uint32_t at) {
  const Access *a = &t->c->p->access[x->at];
  for (uint32_t i = 0; i < a->rank; i++)
    if (t->c->p->dim[a->dim + i].strip) mention(t, t->c->p->dim[a->dim + i].reg, at);
}

static void open_span(Tapes *t, uint32_t from, uint32_t to) {
  if (t->n_loops < 2 * MAX_FRAMES) t->loop[t->n_loops++] = (Span){from, to};
}

/* All tapes may run again and again.  What was there before them stays. */
static void scan_contract(Tapes *t, const Ins *x, uint32_t i) {
  const Contract *con = &t->c->p->con[x->c];
  mention(t, con->body.out, i);
  open_span(t, i + 1, i + x->body);
  for (int j = 0; j < 4; j++)
    if (t->life[con->pack[j / 2][j % 2].out].mentions)
      mention(t, con->pack[j / 2][j % 2].out, i + 1);
}

static void scan(Tapes *t, uint32_t i) {
  const Ins *x = &t->c->p->ins[i];
  while (t->n_loops > 0 && t->loop[t->n_loops - 1].to <= i) t->n_loops--;
  switch ((InsKind)x->kind) {
  case IK_Op:
    mention(t, x->a, i), mention(t, x->b, i), mention(t, x->c, i), mention(t, x->out, i);
    break;
  case IK_Load: mention_access(t, x, i), mention(t, x->c, i), mention(t, x->out, i); break;
  case IK_Store: mention_access(t, x, i), mention(t, x->a, i); break;
  case IK_Splat:
  case IK_Iota:
  case IK_Move:
  case IK_Start:
  case IK_Acc:
  case IK_Fin: mention(t, x->a, i), mention(t, x->b, i), mention(t, x->out, i); break;
  case IK_Check: mention(t, x->a, i); break;
  case IK_If: /* runs again for each run of lanes */
    mention(t, x->a, i), open_span(t, i + 1, i + x->end), mention(t, x->a, i + 1);
    break;
  case IK_Loop:
  case IK_Vec: open_span(t, i + x->body, i + x->end); break;
  case IK_Contract: scan_contract(t, x, i); break;
  case IK_Alt: break;
  }
  bool nested = x->kind == IK_If || x->kind == IK_Loop || x->kind == IK_Vec || x->kind == IK_Alt ||
                x->kind == IK_Contract;
  if (nested) t->edge[i + 1] = t->edge[i + x->body] = t->edge[i + x->end] = 1;
}

/* First fit: by the time a strip is first mentioned, whose slot is free? */
static void give_slot(Tapes *t, uint32_t reg) {
  Life *l = &t->life[reg];
  uint32_t s = 0;
  while (s < t->n_slots && t->slot_free[s] >= l->first) s++;
  if (s == t->n_slots) t->n_slots++;
  t->slot_free[s] = l->last;
  t->c->p->reg[reg].slot = s;
}

static void give_slots(Tapes *t, uint32_t i) {
  const Ins *x = &t->c->p->ins[i];
  uint32_t out = x->kind == IK_Contract ? t->c->p->con[x->c].body.out : x->out;
  if (out != NO_REG && t->c->p->reg[out].kind == RK_Strip && t->c->p->reg[out].slot == UINT32_MAX)
    give_slot(t, out);
}

static bool may_alias(const Tapes *t, const Ins *x) {
  bool plain = (x->flags & IF_Strip) && !(x->flags & IF_Or) && lane_native((DType)x->dtype);
  if (x->kind != IK_Load || !plain) return false;
  const Life *l = &t->life[x->out];
  return t->stores[l->last + l->extended] == t->stores[l->first];
}

static bool may_write_direct(const Tapes *t, uint32_t i) {
  const Ins *x = &t->c->p->ins[i], *s = x + 1;
  if (i + 1 == t->c->p->n_ins || t->edge[i + 1]) return false;
  if (x->kind != IK_Op || s->kind != IK_Store) return false;
  return (x->flags & s->flags & IF_Strip) && s->a == x->out && lane_native((DType)s->dtype) &&
         t->life[x->out].mentions == 2 && t->c->p->access[s->at].affine;
}

static void refine(Tapes *t) {
  KProg *p = t->c->p;
  for (uint32_t i = 0; i < p->n_regs; i++)
    if (p->reg[i].kind == RK_Strip) p->reg[i].slot = UINT32_MAX;
  for (uint32_t i = 0; i < p->n_ins; i++) {
    Ins *x = &p->ins[i];
    t->stores[i + 1] = t->stores[i] + (x->kind == IK_Store);
    scan(t, i);
  }
  for (uint32_t i = 0; i < p->n_ins; i++) {
    give_slots(t, i);
    if (may_alias(t, &p->ins[i])) p->ins[i].flags |= IF_Alias;
    if (may_write_direct(t, i)) p->ins[i].flags |= IF_Direct;
  }
  for (uint32_t i = 0; i < p->n_regs; i++) /* never mentioned */
    if (p->reg[i].slot == UINT32_MAX) p->reg[i].slot = 0;
  p->n_strips = t->n_slots ? t->n_slots : 1;
}

static void *zeroed(Plan *c, size_t bytes) {
  void *p = c->status == K_OK ? c->alloc.fn(c->alloc.user, NULL, 0, bytes) : NULL;
  if (p)
    memset(p, 0, bytes);
  else
    plan_fail(c, K_NO_MEMORY, "no memory to prepare the kernel");
  return p;
}

static void share(Plan *c) {
  Tapes t = {.c = c};
  uint32_t n = c->p->n_ins + 2, regs = c->p->n_regs + 1;
  t.life = zeroed(c, regs * sizeof *t.life);
  t.stores = zeroed(c, n * sizeof *t.stores);
  t.edge = zeroed(c, n);
  t.slot_free = zeroed(c, regs * sizeof *t.slot_free);
  if (c->status == K_OK) refine(&t);
  KAlloc a = c->alloc;
  if (t.life) a.fn(a.user, t.life, regs * sizeof *t.life, 0);
  if (t.stores) a.fn(a.user, t.stores, n * sizeof *t.stores, 0);
  if (t.edge) a.fn(a.user, t.edge, n, 0);
  if (t.slot_free) a.fn(a.user, t.slot_free, regs * sizeof *t.slot_free, 0);
}

/* Exactly count elements (at least one), so that freeing needs no capacity. */
static void trim(Plan *c, void **array, uint32_t cap, uint32_t count, size_t size) {
  uint32_t keep = count ? count : 1;
  if (!*array || cap == keep) return;
  void *p = c->alloc.fn(c->alloc.user, *array, cap * size, keep * size);
  if (!p) { /* no smaller block: then none     */
    c->alloc.fn(c->alloc.user, *array, cap * size, 0);
    plan_fail(c, K_NO_MEMORY, "no memory to prepare the kernel");
  }
  *array = p;
}

static void join_code(Plan *c) {
  Code *pre = &c->frame[0].pre, *body = &c->frame[0].body;
  KProg *p = c->p;
  uint32_t n = pre->n + body->n;
  p->ins = zeroed(c, (n ? n : 1) * sizeof *p->ins);
  if (!p->ins) return;
  if (pre->n) memcpy(p->ins, pre->at, pre->n * sizeof *p->ins);
  if (body->n) memcpy(p->ins + pre->n, body->at, body->n * sizeof *p->ins);
  p->main = pre->n;
  p->n_ins = n;
}

bool plan_finish(Plan *c) {
  KProg *p = c->p;
  if (c->status == K_OK) join_code(c);
  if (c->status == K_OK) share(c);
  trim(c, (void **)&p->reg, c->cap_regs, p->n_regs, sizeof *p->reg);
  trim(c, (void **)&p->access, c->cap_access, p->n_access, sizeof *p->access);
  trim(c, (void **)&p->dim, c->cap_dims, p->n_dims, sizeof *p->dim);
  trim(c, (void **)&p->konst, c->cap_consts, p->n_consts, sizeof *p->konst);
  trim(c, (void **)&p->pool, c->cap_pool, p->n_pool, sizeof *p->pool);
  trim(c, (void **)&p->con, c->cap_con, p->n_con, sizeof *p->con);
  return c->status == K_OK;
}
