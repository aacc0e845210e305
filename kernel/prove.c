/* prove.c -- proofs that accesses stay inside their buffers (visit.h).
 *
 * Every int64 node that an index or extent depends on gets a linear form: a
 * constant plus multiples of atoms.  Atoms are symbols, variables and nodes
 * that are not linear (products, quotients, minima, loads).  Each atom has, if
 * we know them, a lower and an upper bound, which are forms over stable atoms
 * only: symbols and what is computed from symbols alone.
 *
 * A form is proved >= 0 by replacing, highest node first, each atom that may
 * pull it down by its bound, until only atoms known >= 0 with positive
 * coefficients are left over a constant >= 0.
 *
 * Forms are over the integers, nodes wrap at 64 bits.  mag bounds the size of
 * a node's value; a sum is linear only when it cannot leave 2^62.  The start is
 * that extents of buffers are in [0, 2^48], which kernel_buf_count requires,
 * computed without overflow.                                                 */
#include "kernel/visit.h"
#include "base/checked.h"

enum { TERMS = 5, ROUNDS = 24 };
#define MAG_SAFE 0x1p62
#define MAG_ANY 0x1p63
#define MAG_DIM 0x1p48
#define MAG_COUNT 0x1p60

enum { SIZED_DIM = 1, SIZED_COUNT = 2 }; /* a dim; a product of a buffer's dims */

typedef struct {
  KE atom;
  int64_t c;
} Term;
typedef struct {
  bool known;
  uint8_t n;
  int64_t k;
  Term t[TERMS];
} Lin;
/* pure: no load and no carried value below, so the form means the same later;
 * stable: over symbols only; total: kernel_size succeeds, nothing overflows or traps */
typedef struct {
  Lin form, lo, hi;
  double mag;
  bool pure, stable, total;
} Fact;

typedef struct {
  const Kernel *k;
  const int64_t *sym;      /* NULL: for all symbols         */
  uint32_t *slot;          /* per node: its fact + 1, 0 none */
  uint8_t *needed, *exact; /* per node: index matter; cannot wrap */
  uint8_t *sized;          /* per node: SIZED_*             */
  KE *var_expr;            /* per variable: extent, let's value or statement */
  Fact *fact;
  uint32_t n_facts;
} Prover;

/* ---- forms ------------------------------------------------------------------ */
static const Lin UNKNOWN = {.known = false};
static Lin lin_const(int64_t k) { return (Lin){.known = true, .k = k}; }
static Lin lin_atom(KE e) { return (Lin){.known = true, .n = 1, .t = {{e, 1}}}; }

static bool add_term(Lin *a, KE atom, int64_t c) {
  uint8_t i = 0;
  while (i < a->n && a->t[i].atom != atom) i++;
  if (i == a->n) {
    if (c == 0) return true;
    if (a->n == TERMS) return false;
    a->t[a->n++] = (Term){atom, 0};
  }
  if (!i64_add(a->t[i].c, c, &a->t[i].c)) return false;
  if (a->t[i].c == 0) a->t[i] = a->t[--a->n];
  return true;
}

/* a + s * b */
static Lin lin_add(Lin a, const Lin *b, int64_t s) {
  int64_t c;
  if (!a.known || !b->known || !i64_mul(b->k, s, &c) || !i64_add(a.k, c, &a.k)) return UNKNOWN;
  for (int i = 0; i < b->n; i++)
    if (!i64_mul(b->t[i].c, s, &c) || !add_term(&a, b->t[i].atom, c)) return UNKNOWN;
  return a;
}

static Lin lin_plus(Lin a, int64_t k) {
  Lin b = lin_const(k);
  return lin_add(a, &b, 1);
}

/* s - a */
static Lin lin_from(int64_t s, const Lin *a) { return lin_add(lin_const(s), a, -1); }

/* The fact of a node already visited, or NULL. */
static const Fact *fact_of(const Prover *p, KE e) {
  return e < p->k->n_nodes && p->slot[e] ? &p->fact[p->slot[e] - 1] : NULL;
}

static double magnitude(double x) { return x < 0 ? -x : x; }

static double lin_mag(const Prover *p, const Lin *a) {
  if (!a->known) return MAG_ANY;
  double m = magnitude((double)a->k);
  for (int i = 0; i < a->n; i++) m += magnitude((double)a->t[i].c) * fact_of(p, a->t[i].atom)->mag;
  return m;
}

/* Replace unstable atoms so that the form can only grow (upper) or shrink. */
static Lin bound(const Prover *p, const Lin *form, bool upper) {
  if (!form->known) return UNKNOWN;
  Lin r = lin_const(form->k);
  for (int i = 0; i < form->n; i++) {
    const Term *t = &form->t[i];
    const Fact *f = fact_of(p, t->atom);
    Lin self = lin_atom(t->atom);
    r = lin_add(r, f->stable ? &self : (t->c > 0) == upper ? &f->hi : &f->lo, t->c);
  }
  return r;
}

static bool is_nonneg_const(const Lin *a) { return a->known && a->n == 0 && a->k >= 0; }

/* The term to replace next by its bound, or -1 when all are known >= 0. */
static int worst_term(const Prover *p, const Lin *f) {
  int worst = -1;
  for (int i = 0; i < f->n; i++) {
    const Fact *a = fact_of(p, f->t[i].atom);
    bool fine = f->t[i].c > 0 && is_nonneg_const(&a->lo) && (f->k >= 0 || a->lo.k == 0);
    if (!fine && (worst < 0 || f->t[i].atom > f->t[worst].atom)) worst = i;
  }
  return worst;
}

static bool nonneg(const Prover *p, Lin f) {
  for (int round = 0; round < ROUNDS && f.known; round++) {
    int i = worst_term(p, &f);
    if (i < 0) return f.k >= 0;
    Term t = f.t[i];
    const Fact *a = fact_of(p, t.atom);
    f.t[i] = f.t[--f.n];
    f = lin_add(f, t.c > 0 ? &a->lo : &a->hi, t.c);
  }
  return false;
}

static bool less_eq(const Prover *p, const Lin *a, const Lin *b) {
  return a->known && b->known && nonneg(p, lin_add(*b, a, -1));
}

/* ---- minima, maxima, joins -------------------------------------------------- */
/* A form below both, or above both. */
static Lin below(const Prover *p, const Lin *a, const Lin *b) {
  if (!a->known || !b->known) return UNKNOWN;
  if (less_eq(p, a, b)) return *a;
  if (less_eq(p, b, a)) return *b;
  return nonneg(p, *a) && nonneg(p, *b) ? lin_const(0) : UNKNOWN;
}

static Lin above(const Prover *p, const Lin *a, const Lin *b) {
  if (less_eq(p, b, a)) return *a;
  return less_eq(p, a, b) ? *b : UNKNOWN;
}

/* The tighter of two bounds; when they cannot be compared the second, which
 * in a clamp is the limit. */
static Lin tighter(const Prover *p, const Lin *a, const Lin *b, bool upper) {
  if (!b->known) return *a;
  if (!a->known) return *b;
  return (upper ? less_eq(p, a, b) : less_eq(p, b, a)) ? *a : *b;
}

static double larger(double a, double b) { return a > b ? a : b; }

static void join(const Prover *p, const Fact *x, const Fact *y, Fact *r) {
  r->lo = below(p, &x->lo, &y->lo);
  r->hi = above(p, &x->hi, &y->hi);
  r->mag = larger(x->mag, y->mag);
}

static void min_max(const Prover *p, bool is_min, const Fact *x, const Fact *y, Fact *r) {
  bool x_less = less_eq(p, &x->form, &y->form), y_less = less_eq(p, &y->form, &x->form);
  if (x_less || y_less) {
    r->form = (x_less == is_min ? x : y)->form;
    r->lo = bound(p, &r->form, false);
    r->hi = bound(p, &r->form, true);
  } else {
    join(p, x, y, r);
    if (is_min)
      r->hi = tighter(p, &x->hi, &y->hi, true);
    else
      r->lo = tighter(p, &x->lo, &y->lo, false);
  }
  r->mag = larger(x->mag, y->mag);
}

/* ---- division --------------------------------------------------------------- */
static int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

/* f = c * q + r, terms that c divides going to q; c > 0. */
static bool split(const Lin *f, int64_t c, Lin *q, Lin *r) {
  if (!f->known) return false;
  *q = lin_const(floor_div(f->k, c));
  *r = lin_const(f->k % c < 0 ? f->k % c + c : f->k % c);
  for (int i = 0; i < f->n; i++) {
    bool whole = f->t[i].c % c == 0;
    if (!add_term(whole ? q : r, f->t[i].atom, whole ? f->t[i].c / c : f->t[i].c)) return false;
  }
  return true;
}

/* floor(b / c) when exact on the symbols. */
static Lin divided_bound(const Lin *b, int64_t c) {
  Lin q, r;
  return split(b, c, &q, &r) && r.n == 0 ? q : UNKNOWN;
}

static void divide_by_const(const Prover *p, SOp op, const Fact *x, int64_t c, Fact *r) {
  bool is_div = op == S_div || op == S_fdiv, x_pos = nonneg(p, x->form);
  bool floors = op == S_fdiv || op == S_fmod || x_pos;
  Lin q, rest;
  if (floors && split(&x->form, c, &q, &rest) && nonneg(p, rest) &&
      nonneg(p, lin_from(c - 1, &rest))) {
    r->form = is_div ? q : rest;
    r->lo = bound(p, &r->form, false);
    r->hi = bound(p, &r->form, true);
    r->mag = is_div ? x->mag : (double)c;
    return;
  }
  if (!is_div) {
    r->lo = lin_const(floors ? 0 : 1 - c);
    r->hi = lin_const(c - 1);
    r->mag = (double)c;
    return;
  }
  r->mag = x->mag;
  if (!floors) return;
  r->lo = divided_bound(&x->lo, c);
  r->hi = divided_bound(&x->hi, c);
  if (!r->lo.known && x_pos) r->lo = lin_const(0);
  if (!r->hi.known && x_pos) r->hi = x->hi;
}

/* x <= a * d - 1 gives x / d <= a - 1: the upper bound, or unknown. */
static Lin quotient_of_product(const Prover *p, const Lin *hi, KE d) {
  if (!hi->known || hi->n != 1 || hi->t[0].c != 1 || hi->k >= 0) return UNKNOWN;
  KE e = hi->t[0].atom;
  const KNode *n = &p->k->node[e];
  if (n->kind != KN_Op || n->op != S_mul || (n->a != d && n->b != d)) return UNKNOWN;
  const Fact *a = fact_of(p, n->a), *b = fact_of(p, n->b), *other = n->b == d ? a : b;
  if (!a || !b || (!p->exact[e] && a->mag * b->mag >= MAG_SAFE)) return UNKNOWN;
  return lin_plus(bound(p, &other->form, true), -1);
}

/* Division by zero traps, so a divisor >= 0 is at least 1 in what follows. */
static void divide(const Prover *p, SOp op, const Fact *x, const Fact *y, KE d, Fact *r) {
  bool is_div = op == S_div || op == S_fdiv;
  if (y->form.known && y->form.n == 0) {
    if (y->form.k > 0) divide_by_const(p, op, x, y->form.k, r);
    return;
  }
  bool x_pos = nonneg(p, x->form);
  if (!p->sized[d] && !nonneg(p, y->form)) return;
  if (!x_pos && (is_div || op == S_mod)) return;
  r->lo = lin_const(0);
  r->mag = is_div ? x->mag : y->mag;
  if (!is_div) {
    r->hi = lin_plus(bound(p, &y->form, true), -1);
    return;
  }
  r->hi = quotient_of_product(p, &x->hi, d);
  if (!r->hi.known) r->hi = x->hi;
}

/* ---- facts ------------------------------------------------------------------ */
static void linear(const Prover *p, Fact *r, Lin form, double mag, bool exact) {
  if (!form.known || (mag >= MAG_SAFE && !exact)) return; /* might wrap: an atom without bounds */
  r->form = form;
  r->lo = bound(p, &form, false);
  r->hi = bound(p, &form, true);
  r->mag = mag;
}

static void multiply(const Prover *p, const Fact *x, const Fact *y, bool exact, Fact *r) {
  double mag = x->mag * y->mag;
  if (y->form.n == 0)
    linear(p, r, lin_add(lin_const(0), &x->form, y->form.k), mag, exact);
  else if (x->form.n == 0)
    linear(p, r, lin_add(lin_const(0), &y->form, x->form.k), mag, exact);
  else if (mag < MAG_SAFE || exact) {
    r->mag = mag < MAG_ANY ? mag : MAG_ANY;
    if (nonneg(p, x->form) && nonneg(p, y->form)) r->lo = lin_const(0);
  }
}

static void mask(const Fact *x, const Fact *y, Fact *r) {
  const Lin *m = is_nonneg_const(&y->form) ? &y->form : &x->form;
  if (!is_nonneg_const(m)) return;
  r->lo = lin_const(0);
  r->hi = *m;
}

/* Does kernel_size compute op on x and y for all symbols?  mag: of the result. */
static bool is_total(SOp op, const Fact *x, const Fact *y, double mag, bool exact) {
  switch ((int)op) {
  case S_add:
  case S_sub:
  case S_mul:
  case S_neg: return exact || mag < MAG_SAFE;
  case S_min:
  case S_max:
  case S_abs: return true;
  case S_div:
  case S_fdiv:
  case S_mod:
  case S_fmod: return x->form.known && y->form.known && y->form.n == 0 && y->form.k > 0;
  default: return false;
  }
}

static void op_fact(const Prover *p, KE e, Fact *r) {
  const KNode *n = &p->k->node[e];
  bool is_select = n->op == S_select, exact = p->exact[e];
  KE first = is_select ? n->b : n->a, second = is_select ? n->c : n->b;
  const Fact *x = fact_of(p, first), *y = sop_info[n->op].arity > 1 ? fact_of(p, second) : x;
  if (!x || !y) {
    r->pure = false;
    return;
  }
  r->pure = x->pure && y->pure && !is_select;
  r->stable = x->stable && y->stable && !is_select;
  switch ((int)n->op) {
  case S_add: linear(p, r, lin_add(x->form, &y->form, 1), x->mag + y->mag, exact); break;
  case S_sub: linear(p, r, lin_add(x->form, &y->form, -1), x->mag + y->mag, exact); break;
  case S_neg: linear(p, r, lin_from(0, &x->form), x->mag, exact); break;
  case S_mul: multiply(p, x, y, exact, r); break;
  case S_div:
  case S_fdiv:
  case S_mod:
  case S_fmod: divide(p, (SOp)n->op, x, y, second, r); break;
  case S_min:
  case S_max: min_max(p, n->op == S_min, x, y, r); break;
  case S_select: join(p, x, y, r); break;
  case S_and: mask(x, y, r); break;
  case S_abs:
    if (nonneg(p, x->form)) *r = *x;
    break;
  default: break;
  }
  r->total = x->total && y->total && is_total((SOp)n->op, x, y, r->mag, exact);
}

static void loop_fact(const Prover *p, KE extent, Fact *r) {
  const Fact *x = fact_of(p, extent);
  r->lo = lin_const(0);
  if (!x) return;
  r->hi = lin_plus(bound(p, &x->form, true), -1);
  r->mag = x->mag;
}

static void var_fact(const Prover *p, uint32_t v, Fact *r) {
  KE from = p->var_expr[v];
  if (from == KE_NONE) {
    r->pure = false;
    return;
  }
  const Fact *x;
  switch ((KVarKind)p->k->var[v].kind) {
  case KV_Loop: loop_fact(p, from, r); return;
  case KV_Let:
    x = fact_of(p, from);
    if (x && x->pure)
      *r = *x;
    else if (x) {
      r->lo = x->lo;
      r->hi = x->hi;
      r->mag = x->mag;
    }
    return;
  case KV_Reduced: {
    const KStmt *s = &p->k->stmt[from];
    const Fact *y = fact_of(p, s->c);
    x = fact_of(p, s->a);
    if (x && y && (s->op == S_min || s->op == S_max)) join(p, x, y, r);
    return;
  }
  case KV_Carried:
  case KV_Acc: r->pure = false; return;
  }
}

static void cast_fact(const Prover *p, KE e, Fact *r) {
  DType from = (DType)p->k->node[p->k->node[e].a].dtype;
  int bits = from == DT_bool ? 1 : 8 * dtype_bytes(from);
  r->pure = false; /* what is cast has no fact, and may hold a load */
  if (dtype_is_float(from) || bits == 64) return;
  bool is_signed = dtype_is_signed(from);
  r->hi = lin_const((int64_t)(UINT64_MAX >> (64 - bits + is_signed)));
  r->lo = lin_const(is_signed ? -r->hi.k - 1 : 0);
}

static Fact make_fact(const Prover *p, KE e) {
  const KNode *n = &p->k->node[e];
  Fact r = {lin_atom(e), UNKNOWN, UNKNOWN, MAG_ANY, true, false, false};
  switch ((KNodeKind)n->kind) {
  case KN_Const:
    r.form = r.lo = r.hi = lin_const((int64_t)n->bits);
    r.mag = magnitude((double)r.form.k);
    r.stable = r.total = true;
    return r;
  case KN_Sym:
    r.stable = r.total = true;
    if (p->sym) {
      r.form = r.lo = r.hi = lin_const(p->sym[n->a]);
      r.mag = magnitude((double)p->sym[n->a]);
    }
    break;
  case KN_Var: var_fact(p, n->a, &r); break;
  case KN_Op: op_fact(p, e, &r); break;
  case KN_Cast: cast_fact(p, e, &r); break;
  case KN_Bits:
  case KN_Load:
  case KN_LoadOr: r.pure = false; break;
  }
  if (p->sized[e] && !is_nonneg_const(&r.lo) && r.form.n == 1 && r.form.t[0].atom == e)
    r.lo = lin_const(0);
  if (p->sized[e]) r.total = true;
  double most = p->sized[e] == SIZED_DIM ? MAG_DIM : p->sized[e] ? MAG_COUNT : MAG_ANY;
  if (r.mag > most) r.mag = most;
  return r;
}

/* A node of its own whose bounds are known is no larger than they are. */
static void add_fact(Prover *p, KE e) {
  Fact r = make_fact(p, e);
  double m = r.lo.known && r.hi.known ? larger(lin_mag(p, &r.lo), lin_mag(p, &r.hi)) : MAG_ANY;
  bool own = r.form.n == 1 && r.form.t[0].atom == e;
  if (own && m < r.mag) r.mag = m;
  p->fact[p->n_facts++] = r;
  p->slot[e] = p->n_facts;
}

/* ---- which nodes matter ----------------------------------------------------- */
static void need(Prover *p, KE e) {
  if (e != KE_NONE && p->k->node[e].dtype == DT_i64) p->needed[e] = 1;
}

static void need_pairs(Prover *p, const uint32_t *pairs, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    p->var_expr[pairs[2 * i]] = pairs[2 * i + 1];
    need(p, pairs[2 * i + 1]);
  }
}

static void need_stmt(Prover *p, uint32_t at) {
  const Kernel *k = p->k;
  const KStmt *s = &k->stmt[at];
  const uint32_t *pool = k->pool + (s->b == KE_NONE ? 0 : s->b);
  switch ((KStmtKind)s->kind) {
  case KS_For:
    p->var_expr[s->var] = s->a;
    need(p, s->a);
    break;
  case KS_Let: p->var_expr[s->var] = s->a; break;
  case KS_Store:
    for (uint32_t i = 0; i < k->buf[s->a].rank; i++) need(p, pool[i]);
    break;
  case KS_Reduce:
    p->var_expr[s->var] = at;
    need_pairs(p, pool + 1, pool[0]);
    break;
  case KS_Contract:
    need_pairs(p, pool + 1, pool[0]);
    need_pairs(p, pool + 2 + 2 * (size_t)pool[0], pool[1 + 2 * (size_t)pool[0]]);
    break;
  case KS_Check:
  case KS_If: break;
  }
}

static void need_below(Prover *p, KE e) {
  const KNode *n = &p->k->node[e];
  if (n->kind == KN_Op)
    for (uint32_t i = 0; i < (uint32_t)sop_info[n->op].arity; i++)
      need(p, kernel_operand(p->k, e, i));
  if (n->kind != KN_Var || p->var_expr[n->a] == KE_NONE) return;
  KVarKind kind = (KVarKind)p->k->var[n->a].kind;
  KE from = p->var_expr[n->a];
  if (kind == KV_Reduced) {
    need(p, p->k->stmt[from].a);
    need(p, p->k->stmt[from].c);
  } else {
    need(p, from);
  }
}

/* c * s is a dim, c > 0: then s is as good as a dim. */
static void size_factor(Prover *p, KE e) {
  const KNode *node = p->k->node, *n = &node[e];
  if (n->kind != KN_Op || n->op != S_mul) return;
  for (int i = 0; i < 2; i++) {
    KE c = i ? n->a : n->b, s = i ? n->b : n->a;
    bool positive = node[c].kind == KN_Const && (int64_t)node[c].bits > 0;
    if (positive && node[s].kind == KN_Sym) p->sized[s] = SIZED_DIM;
  }
}

/* Are the n factors dims of this buffer, each used once? */
static bool are_dims_of(const KBuf *u, const KE *factor, int n) {
  uint32_t used = 0;
  for (int i = 0; i < n; i++) {
    int d = 0;
    while (d < u->rank && (u->dim[d] != factor[i] || (used >> d & 1))) d++;
    if (d == u->rank) return false;
    used |= 1u << d;
  }
  return true;
}

/* kernel_buf_count has multiplied the dims of each buffer, leaving out zeros,
 * without overflow: so no product of some of them can wrap. */
static bool is_product_of_dims(const Prover *p, KE e) {
  KE factor[K_MAX_RANK] = {e};
  int n = 1;
  for (int i = 0; i < n;) {
    const KNode *m = &p->k->node[factor[i]];
    bool splits = m->kind == KN_Op && m->op == S_mul && p->sized[factor[i]] != SIZED_DIM;
    if (!splits) {
      i++;
      continue;
    }
    if (n == K_MAX_RANK) return false;
    factor[i] = m->a;
    factor[n++] = m->b;
  }
  for (uint32_t b = 0; n > 1 && b < p->k->n_bufs; b++)
    if (are_dims_of(&p->k->buf[b], factor, n)) return true;
  return false;
}

static void mark(Prover *p) {
  const Kernel *k = p->k;
  for (uint32_t i = 0; i < k->n_bufs; i++)
    for (int d = 0; d < k->buf[i].rank; d++) {
      KE e = k->buf[i].dim[d];
      need(p, e);
      p->exact[e] = 1;
      p->sized[e] = SIZED_DIM;
      size_factor(p, e);
    }
  for (uint32_t s = 0; s < k->n_stmts; s++) need_stmt(p, s);
  for (KE e = k->n_nodes; e-- > 0;) {
    const KNode *n = &k->node[e];
    if (n->kind == KN_Load)
      for (uint32_t i = 0; i < n->rank; i++) need(p, k->pool[n->b + i]);
    if (p->needed[e]) need_below(p, e);
    if (p->needed[e] && !p->sized[e] && is_product_of_dims(p, e)) {
      p->sized[e] = SIZED_COUNT;
      p->exact[e] = 1;
    }
    for (uint32_t i = 0; p->exact[e] && kernel_operand(k, e, i) != KE_NONE; i++)
      p->exact[kernel_operand(k, e, i)] = 1;
  }
}

/* ---- accesses --------------------------------------------------------------- */
static bool access_ok(const Prover *p, uint32_t buf, const KE *index) {
  const KBuf *u = &p->k->buf[buf];
  for (int d = 0; d < u->rank; d++) {
    const Fact *x = fact_of(p, index[d]), *n = fact_of(p, u->dim[d]);
    if (!x || !n || !nonneg(p, x->form)) return false;
    if (!nonneg(p, lin_add(lin_plus(n->form, -1), &x->form, -1))) return false;
  }
  return true;
}

static bool extent_ok(const Prover *p, KE e) {
  const Fact *x = fact_of(p, e);
  return p->sized[e] || (x && x->total && nonneg(p, x->form));
}

static bool extents_ok(const Prover *p, uint32_t at) {
  uint32_t n = 0;
  const KStmt *s = &p->k->stmt[at];
  const uint32_t *pool = p->k->pool + (s->b == KE_NONE ? 0 : s->b);
  if (s->kind == KS_For) n = 1;
  if (s->kind == KS_Reduce) n = pool[0];
  if (s->kind == KS_Contract) n = pool[0] + pool[1 + 2 * (size_t)pool[0]];
  for (uint32_t i = 0; i < n; i++)
    if (!extent_ok(p, kernel_stmt_expr(p->k, at, i))) return false;
  return true;
}

static void prove_all(Prover *p, uint8_t *load_ok, uint8_t *store_ok, bool *extents) {
  const Kernel *k = p->k;
  for (KE e = 0; e < k->n_nodes; e++)
    if (p->needed[e]) add_fact(p, e);
  for (KE e = 0; e < k->n_nodes; e++)
    load_ok[e] = k->node[e].kind == KN_Load && access_ok(p, k->node[e].a, k->pool + k->node[e].b);
  for (uint32_t s = 0; s < k->n_stmts; s++) {
    const KStmt *t = &k->stmt[s];
    store_ok[s] = t->kind == KS_Store && access_ok(p, t->a, k->pool + t->b);
    *extents &= extents_ok(p, s);
  }
}

bool kernel_prove(const Kernel *k, KAlloc a, const int64_t *sym, uint8_t *load_ok,
                  uint8_t *store_ok, bool *extents) {
  size_t n = k->n_nodes, bytes = n * 4 + (size_t)k->n_vars * 4 + n * 3 + 1;
  uint32_t *block = a.fn(a.user, NULL, 0, bytes);
  if (!block) return false;
  memset(block, 0, bytes);
  Prover p = {.k = k, .sym = sym, .slot = block, .var_expr = block + n};
  p.needed = (uint8_t *)(p.var_expr + k->n_vars);
  p.sized = p.needed + n;
  p.exact = p.sized + n;
  memset(p.var_expr, 0xff, (size_t)k->n_vars * 4);
  mark(&p);
  size_t count = 1;
  for (size_t e = 0; e < n; e++) count += p.needed[e];
  p.fact = a.fn(a.user, NULL, 0, count * sizeof *p.fact);
  if (p.fact) {
    prove_all(&p, load_ok, store_ok, extents);
    a.fn(a.user, p.fact, count * sizeof *p.fact, 0);
  }
  a.fn(a.user, block, bytes, 0);
  return p.fact != NULL;
}
