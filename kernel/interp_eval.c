/* interp_eval.c -- expressions to instructions, each value once, as far out as
 * it may go.  No recursion: expressions can be long chains.                  */
#include "kernel/interp_plan.h"
#include "base/checked.h"

bool plan_fail(Plan *c, KStatus s, const char *why) {
  if (c->status == K_OK) c->status = s, c->why = why;
  return false;
}

bool plan_room(Plan *c, void **array, uint32_t *cap, uint32_t used, uint32_t more, size_t size) {
  if (c->status != K_OK) return false;
  if (more <= *cap - used) return true;
  size_t want = *cap ? (size_t)*cap * 2 : 8, bytes;
  while (want < (size_t)used + more) want *= 2;
  void *p = NULL;
  if (want < UINT32_MAX && size_mul(want, size, &bytes))
    p = c->alloc.fn(c->alloc.user, *array, *cap * size, bytes);
  if (!p) return plan_fail(c, K_NO_MEMORY, "no memory to prepare the kernel");
  *array = p;
  *cap = (uint32_t)want;
  return true;
}

bool plan_push_todo(Plan *c, uint32_t item) {
  if (!PLAN_ROOM(c, &c->todo, &c->cap_todo, c->n_todo, 1)) return false;
  c->todo[c->n_todo++] = item;
  return true;
}

uint32_t plan_reg(Plan *c, RegKind kind, DType t) {
  KProg *p = c->p;
  if (!PLAN_ROOM(c, &p->reg, &c->cap_regs, p->n_regs, 1)) return 0;
  uint32_t slot = kind == RK_Scalar ? p->n_scalars++ : kind == RK_Parts ? p->n_parts++ : 0;
  p->reg[p->n_regs] = (Reg){(uint8_t)kind, (uint8_t)lane_bytes(t), slot};
  return p->n_regs++;
}

Ins plan_ins(InsKind kind, DType t, uint32_t out, uint32_t a) {
  Ins x;
  memset(&x, 0, sizeof x);
  x.kind = (uint8_t)kind, x.dtype = (uint8_t)t, x.op = S_COUNT;
  x.out = out, x.a = a, x.b = x.c = NO_REG;
  return x;
}

void plan_emit(Plan *c, uint32_t place, const Ins *x) {
  Code *l = place & 1 ? &c->frame[place / 2].body : &c->frame[place / 2].pre;
  if (PLAN_ROOM(c, &l->at, &l->cap, l->n, 1)) l->at[l->n++] = *x;
}

void plan_wrap(Ins *x, DType t) {
  int bits = t == DT_bool ? 1 : dtype_bytes(t) * 8;
  x->mask = bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
  x->sign = dtype_is_signed(t) && bits < 64 ? (uint64_t)1 << (bits - 1) : 0;
}

/* ---- facts ----------------------------------------------------------------------- */
KE plan_resolve(const Plan *c, KE e) {
  for (;;) {
    const KNode *n = &c->k.node[e];
    if (n->kind != KN_Var || c->bind[n->a].kind != BIND_Node) return e;
    e = c->bind[n->a].node;
  }
}

KE plan_operand(const Plan *c, KE e, uint32_t i) {
  KE o = kernel_operand(&c->k, e, i);
  return o == KE_NONE ? o : plan_resolve(c, o);
}

/* Can it fail?  Not by a constant divisor or amount that is harmless. */
static bool can_fail(const Plan *c, const KNode *n) {
  if (n->kind != KN_Op || !lane_traps((SOp)n->op, (DType)n->dtype)) return false;
  const KNode *b = &c->k.node[n->b];
  if (b->kind != KN_Const) return true;
  uint64_t bits = (uint64_t)dtype_bytes((DType)n->dtype) * 8;
  if (n->op == S_shl || n->op == S_shr) return b->bits >= bits;
  return n->op == S_pow ? (int64_t)b->bits < 0 : b->bits == 0;
}

/* The earliest place at or after p that may hold a new value. */
static uint32_t settle(const Plan *c, uint32_t p, bool pinned) {
  uint32_t top = c->top, b = top;
  if (c->fixed || (p == 0 && !pinned)) return 0;
  if (pinned && p < 2 * top) p = 2 * top;
  if (p == 0) p = 1; /* of the root: after the prologue */
  if (p & 1 && p / 2 < top) p++;
  while (b > 0 && !c->frame[b].barrier) b--;
  /* Not in the barrier's own body: there may stand the other of two forms, which runs instead. */
  uint32_t least = b < top ? 2 * b + 2 : 2 * b + 1;
  return b > 0 && p < least ? least : p;
}

static Fact var_fact(Plan *c, const KNode *n) {
  const Bind *b = &c->bind[n->a];
  if (b->kind != BIND_Reg) plan_fail(c, K_BAD_KERNEL, "a variable is used outside its scope");
  bool along = n->a == c->vec;
  return (Fact){.place = b->place,
                .varying = b->strip || along,
                .affine = !b->strip,
                .coef = along,
                .factor = KE_NONE};
}

static bool add_affine(Fact *f, const Fact *x, const Fact *y, bool minus) {
  uint64_t cy = minus ? 0 - (uint64_t)y->coef : (uint64_t)y->coef;
  if (x->coef && y->coef && x->factor != y->factor) return false;
  f->coef = (int64_t)((uint64_t)x->coef + cy);
  f->factor = x->coef ? x->factor : y->factor;
  return true;
}

static bool scale_affine(const Plan *c, Fact *f, const Fact *x, KE by) {
  const KNode *n = &c->k.node[by];
  f->coef = x->coef, f->factor = x->factor;
  if (n->kind == KN_Const)
    f->coef = (int64_t)((uint64_t)x->coef * n->bits);
  else if (x->factor == KE_NONE)
    f->factor = by;
  else
    return false;
  return true;
}

/* Is a varying operation affine in the strip variable? */
static bool affine_op(const Plan *c, const KNode *n, Fact *f) {
  if (n->kind != KN_Op || n->dtype != DT_i64 ||
      (n->op != S_add && n->op != S_sub && n->op != S_mul && n->op != S_neg))
    return false;
  KE a = plan_resolve(c, n->a), b = n->op == S_neg ? a : plan_resolve(c, n->b);
  const Fact *x = &c->fact[a], *y = &c->fact[b];
  if ((x->varying && !x->affine) || (y->varying && !y->affine)) return false;
  if (n->op == S_neg) return add_affine(f, &(Fact){.coef = 0}, x, true);
  if (n->op != S_mul) return add_affine(f, x, y, n->op == S_sub);
  if (!y->varying) return scale_affine(c, f, x, b);
  return !x->varying && scale_affine(c, f, y, a);
}

static void learn_node(Plan *c, KE e) {
  const KNode *n = &c->k.node[e];
  Fact f = {.affine = true, .factor = KE_NONE}, g = f;
  if (n->kind == KN_Var) {
    f = var_fact(c, n);
  } else if (n->kind != KN_Const && n->kind != KN_Sym) {
    bool load = n->kind == KN_Load || n->kind == KN_LoadOr;
    f.tainted = load && c->stored[n->a];
    for (uint32_t i = 0, o; (o = plan_operand(c, e, i)) != KE_NONE; i++) {
      const Fact *x = &c->fact[o];
      if (x->place > f.place) f.place = x->place;
      f.varying |= x->varying;
      f.tainted |= x->tainted;
    }
    f.place = f.tainted ? plan_here(c) : settle(c, f.place, n->kind == KN_Load || can_fail(c, n));
    if (load && f.place == 0) f.place = settle(c, 0, true); /* buffers come after the prologue */
    f.affine = !f.varying || affine_op(c, n, &g);
    if (f.varying && f.affine) f.coef = g.coef, f.factor = g.coef ? g.factor : KE_NONE;
  }
  f.seen = c->epoch;
  c->fact[e] = f;
}

static void learn(Plan *c, KE root) {
  c->epoch++;
  c->n_todo = 0;
  plan_push_todo(c, root);
  while (c->n_todo > 0 && c->status == K_OK) {
    KE e = c->todo[c->n_todo - 1];
    uint32_t before = c->n_todo;
    if (c->fact[e].seen != c->epoch)
      for (uint32_t i = 0, o; (o = plan_operand(c, e, i)) != KE_NONE; i++)
        if (c->fact[o].seen != c->epoch) plan_push_todo(c, o);
    if (c->n_todo > before) continue;
    c->n_todo = before - 1;
    if (c->fact[e].seen != c->epoch) learn_node(c, e);
  }
}

bool plan_is_static(Plan *c, KE e) {
  e = plan_resolve(c, e);
  learn(c, e);
  return c->fact[e].place == 0;
}

/* ---- values that are there ------------------------------------------------------- */
static uint32_t constant(Plan *c, KE e) {
  KProg *p = c->p;
  DType t = (DType)c->k.node[e].dtype;
  if (!PLAN_ROOM(c, &p->konst, &c->cap_consts, p->n_consts, 1)) return 0;
  uint32_t r = plan_reg(c, RK_Scalar, t);
  p->konst[p->n_consts++] = (struct ConstReg){r, lane_from_bits(c->k.node[e].bits, t)};
  return r;
}

static void record(Plan *c, KE e, bool strip, uint32_t reg, uint32_t place, bool tainted) {
  uint32_t f = place / 2;
  c->have[2 * e + strip] = (Have){reg, f, c->frame[f].serial, tainted ? c->stmt_epoch : 0};
}

/* The register that holds e (resolved), or NO_REG. */
static uint32_t known(Plan *c, KE e, bool strip) {
  const KNode *n = &c->k.node[e];
  if (n->kind == KN_Sym && !strip) return n->a; /* registers 0 .. n_syms-1 */
  if (n->kind == KN_Var && c->bind[n->a].strip == strip && c->bind[n->a].kind == BIND_Reg)
    return c->bind[n->a].reg;
  const Have *h = &c->have[2 * e + strip];
  bool good = h->serial != 0 && h->frame <= c->top && c->frame[h->frame].serial == h->serial &&
              (h->epoch == 0 || h->epoch == c->stmt_epoch);
  if (good) return h->reg;
  if (n->kind != KN_Const || strip) return NO_REG;
  uint32_t r = constant(c, e);
  record(c, e, false, r, 0, false);
  return r;
}

/* ---- making values --------------------------------------------------------------- */
static bool is_leaf(const KNode *n) {
  return n->kind == KN_Const || n->kind == KN_Sym || n->kind == KN_Var;
}
static bool is_load(const KNode *n) { return n->kind == KN_Load || n->kind == KN_LoadOr; }

/* Queue operand e unless it is there. */
static void want(Plan *c, KE e, bool strip) {
  e = plan_resolve(c, e);
  if (known(c, e, strip) == NO_REG) plan_push_todo(c, 2 * e + strip);
}

static void want_indices(Plan *c, const KE *index, int rank, bool strip) {
  for (int i = 0; i < rank; i++) {
    KE e = plan_resolve(c, index[i]);
    const Fact *f = &c->fact[e];
    want(c, e, strip && !f->affine);
    if (strip && f->affine && f->coef && f->factor != KE_NONE) want(c, f->factor, false);
  }
}

/* Indices are learnt and computed. */
static uint32_t new_access(Plan *c, uint32_t buf, const KE *index, bool strip) {
  KProg *p = c->p;
  int rank = c->k.buf[buf].rank;
  if (!PLAN_ROOM(c, &p->access, &c->cap_access, p->n_access, 1)) return 0;
  if (!PLAN_ROOM(c, &p->dim, &c->cap_dims, p->n_dims, (uint32_t)rank)) return 0;
  Access a = {.buf = buf, .dim = p->n_dims, .rank = (uint8_t)rank, .affine = true};
  for (int i = 0; i < rank; i++) {
    KE e = plan_resolve(c, index[i]);
    const Fact *f = &c->fact[e];
    AccessDim *d = &p->dim[p->n_dims++];
    *d = (AccessDim){.factor = NO_REG, .strip = strip && !f->affine};
    d->reg = known(c, e, d->strip);
    if (d->strip)
      a.affine = false;
    else if (strip)
      d->coef = f->coef;
    if (d->coef && f->factor != KE_NONE) d->factor = known(c, plan_resolve(c, f->factor), false);
  }
  p->access[p->n_access] = a;
  return p->n_access++;
}

static Ins op_ins(Plan *c, const KNode *n) {
  DType result = (DType)n->dtype, t = n->op == S_select ? result : (DType)c->k.node[n->a].dtype;
  Ins x = plan_ins(IK_Op, result, NO_REG, NO_REG);
  x.op = n->op, x.from = (uint8_t)t;
  x.fn = lane_op((SOp)n->op, t);
  plan_wrap(&x, result);
  bool exact =
      n->op == S_select || n->op == S_neg || n->op == S_abs || n->op == S_min || n->op == S_max;
  if (is_half(result) && !exact) x.flags = IF_Round;
  return x;
}

static Ins cast_ins(Plan *c, const KNode *n) {
  DType from = (DType)c->k.node[n->a].dtype, to = (DType)n->dtype;
  Ins x = plan_ins(IK_Op, to, NO_REG, NO_REG);
  x.from = (uint8_t)from;
  x.fn = n->kind == KN_Cast ? lane_cast(from, to) : lane_bits();
  plan_wrap(&x, to);
  if (n->kind == KN_Cast && dtype_is_float(from) && dtype_is_int(to) && to != DT_u64) {
    bool s = dtype_is_signed(to); /* bounds, for saturation */
    x.mask = s ? x.mask >> 1 : x.mask;
    x.sign = s ? ~x.mask : 0;
  }
  if (n->kind == KN_Cast && is_half(to)) x.flags = IF_Round;
  return x;
}

static void make_splat(Plan *c, KE e) {
  const KNode *n = &c->k.node[e];
  bool along = n->kind == KN_Var && n->a == c->vec;
  uint32_t place = settle(c, c->fact[e].place, false);
  if (place != 0 && place < 2 * c->vec_frame) place = settle(c, 2 * c->vec_frame, false);
  uint32_t from = known(c, e, false), out = plan_reg(c, RK_Strip, (DType)n->dtype);
  Ins x = plan_ins(along ? IK_Iota : IK_Splat, (DType)n->dtype, out, from);
  x.flags = IF_Strip;
  plan_emit(c, place, &x);
  record(c, e, true, out, place, c->fact[e].tainted);
}

static void make(Plan *c, KE e, bool strip) {
  const KNode *n = &c->k.node[e];
  const Fact *f = &c->fact[e];
  if (is_leaf(n) || (strip && !f->varying)) {
    if (strip)
      make_splat(c, e);
    else
      plan_fail(c, K_BAD_KERNEL, "a strip is used as a scalar");
    return;
  }
  Ins x = is_load(n)         ? plan_ins(IK_Load, (DType)n->dtype, NO_REG, NO_REG)
          : n->kind == KN_Op ? op_ins(c, n)
                             : cast_ins(c, n);
  uint32_t *arg[3] = {&x.a, &x.b, &x.c};
  if (is_load(n)) {
    x.at = new_access(c, n->a, c->k.pool + n->b, strip);
    if (n->kind == KN_LoadOr) x.flags |= IF_Or, x.c = known(c, plan_resolve(c, n->c), strip);
  } else {
    for (uint32_t i = 0, o; i < 3 && (o = plan_operand(c, e, i)) != KE_NONE; i++)
      *arg[i] = known(c, o, strip);
  }
  if (strip) x.flags |= IF_Strip;
  x.out = plan_reg(c, strip ? RK_Strip : RK_Scalar, (DType)n->dtype);
  plan_emit(c, f->place, &x);
  record(c, e, strip, x.out, f->place, f->tainted);
}

/* Queue what e needs; nothing queued: e can be made. */
static void want_operands(Plan *c, KE e, bool strip) {
  const KNode *n = &c->k.node[e];
  if (is_leaf(n) || (strip && !c->fact[e].varying)) {
    if (strip) want(c, e, false);
  } else if (is_load(n)) {
    want_indices(c, c->k.pool + n->b, n->rank, strip);
    if (n->kind == KN_LoadOr) want(c, n->c, strip);
  } else {
    for (uint32_t i = 0, o; (o = plan_operand(c, e, i)) != KE_NONE; i++) want(c, o, strip);
  }
}

static void work_off(Plan *c) {
  while (c->n_todo > 0 && c->status == K_OK) {
    uint32_t item = c->todo[c->n_todo - 1], before = c->n_todo;
    KE e = item / 2;
    bool strip = item & 1;
    if (known(c, e, strip) == NO_REG) {
      want_operands(c, e, strip);
      if (c->n_todo > before) continue;
      make(c, e, strip);
    }
    c->n_todo = before - 1;
  }
}

uint32_t plan_eval(Plan *c, KE e, bool strip) {
  if (c->status != K_OK) return 0;
  e = plan_resolve(c, e);
  learn(c, e);
  c->n_todo = 0;
  want(c, e, strip);
  work_off(c);
  return c->status == K_OK ? known(c, e, strip) : 0;
}

uint32_t plan_access(Plan *c, uint32_t buf, const KE *index, bool strip) {
  int rank = c->k.buf[buf].rank;
  bool uniform = true, affine = true;
  if (c->status != K_OK) return 0;
  for (int i = 0; i < rank; i++) {    /* one learn forgets nothing of another: */
    KE e = plan_resolve(c, index[i]); /* facts stay in place, only `seen` ages  */
    learn(c, e);
    c->n_todo = 0;
    want_indices(c, &index[i], 1, strip);
    work_off(c);
    if (c->fact[e].varying) uniform = false;
    if (!c->fact[e].affine) affine = false;
  }
  /* Lanes that may meet in a buffer that is read again must not run together. */
  if (strip && (uniform || !affine) && c->loaded[buf]) c->vec_failed = true;
  return c->status == K_OK ? new_access(c, buf, index, strip) : 0;
}
