/* launch.c -- what is known once the symbols are: sizes, cost, and whether
 * every access is inside its buffer (kernel.h).
 *
 * Intervals: one pass over the nodes along the statements.  A loop variable
 * is in [0, extent - 1], a let has its value's interval, a loaded value the
 * range of its dtype; what might wrap has the range of its dtype too.  Nodes
 * are visited when the first statement that needs them is reached; a variable
 * not yet met then counts as unknown, which is safe.  Accesses that intervals
 * cannot show are given to kernel_prove before they are refused.             */
#include "kernel/visit.h"
#include "kernel/interp.h"
#include "base/checked.h"

/* ---- sizes ------------------------------------------------------------------ */
static bool i64_op(SOp op, int64_t a, int64_t b, int64_t *out) {
  switch ((int)op) {
  case S_add: return i64_add(a, b, out);
  case S_sub: return i64_sub(a, b, out);
  case S_mul: return i64_mul(a, b, out);
  case S_neg: return i64_sub(0, a, out);
  default: return false;
  }
}

static bool is_checked(SOp op) { return op == S_add || op == S_sub || op == S_mul || op == S_neg; }

/* The verifier has bounded the nodes below e, so this may recurse. */
static bool size_slot(const Kernel *k, KE e, const int64_t *sym, uint64_t *out) {
  const KNode *n = &k->node[e];
  if (n->kind == KN_Const) {
    *out = n->bits;
    return true;
  }
  if (n->kind == KN_Sym) {
    *out = (uint64_t)sym[n->a];
    return true;
  }
  uint64_t v[3] = {0, 0, 0};
  for (uint32_t i = 0; i < (uint32_t)sop_info[n->op].arity; i++)
    if (!size_slot(k, kernel_operand(k, e, i), sym, &v[i])) return false;
  if (n->dtype == DT_i64 && is_checked((SOp)n->op)) {
    int64_t r;
    bool ok = i64_op((SOp)n->op, (int64_t)v[0], (int64_t)v[1], &r);
    *out = ok ? (uint64_t)r : 0;
    return ok;
  }
  DType t = (DType)k->node[n->op == S_select ? n->b : n->a].dtype;
  return scalar_eval((SOp)n->op, t, v[0], v[1], v[2], out) == K_OK;
}

bool kernel_size(const Kernel *k, KE e, const int64_t *sym, int64_t *value) {
  uint64_t slot;
  if (!size_slot(k, e, sym, &slot)) return false;
  *value = (int64_t)slot;
  return true;
}

/* Zeros are left out of the product that must stay below 2^60: kernel_prove
 * relies on products of some of the dims not to wrap. */
bool kernel_buf_count(const Kernel *k, uint32_t b, const int64_t *sym, int64_t *count) {
  const int64_t most = (int64_t)1 << 48, most_all = (int64_t)1 << 60;
  const KBuf *u = &k->buf[b];
  int64_t n = 1, dim;
  bool zero = false;
  for (int i = 0; i < u->rank; i++) {
    if (!kernel_size(k, u->dim[i], sym, &dim) || dim < 0 || dim > most) return false;
    zero |= dim == 0;
    if (dim > 0 && (!i64_mul(n, dim, &n) || n > most_all)) return false;
  }
  *count = zero ? 0 : n;
  return true;
}

/* ---- cost ------------------------------------------------------------------- */
static uint64_t sat_mul(uint64_t a, uint64_t b) {
  uint64_t r;
  return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}
static uint64_t sat_add(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

/* Operations below e, shared ones counted again, until the budget is used. */
static uint32_t ops_below(const Kernel *k, KE e, uint32_t budget, int depth) {
  uint32_t sum = k->node[e].kind >= KN_Op;
  for (uint32_t i = 0; depth > 0 && sum < budget; i++) {
    KE x = kernel_operand(k, e, i);
    if (x == KE_NONE) break;
    sum += ops_below(k, x, budget - sum, depth - 1);
  }
  return sum;
}

static uint64_t weight(const Kernel *k, KE e) { return ops_below(k, e, 1024, 64); }

static uint64_t trips(const Kernel *k, KE extent, const int64_t *sym) {
  int64_t v;
  return kernel_size(k, extent, sym, &v) && v > 0 ? (uint64_t)v : 0;
}

static uint64_t trips_of(const Kernel *k, const uint32_t *pairs, uint32_t n, const int64_t *sym) {
  uint64_t r = 1;
  for (uint32_t i = 0; i < n; i++) r = sat_mul(r, trips(k, pairs[2 * i + 1], sym));
  return r;
}

/* Work of statement s itself, once; *body: how often its body runs. */
static uint64_t stmt_cost(const Kernel *k, uint32_t at, const int64_t *sym, uint64_t *body) {
  const KStmt *s = &k->stmt[at];
  const uint32_t *p = k->pool + (s->b == KE_NONE ? 0 : s->b);
  uint64_t sum = 0, inner;
  *body = 1;
  switch ((KStmtKind)s->kind) {
  case KS_For:
    *body = trips(k, s->a, sym);
    for (uint32_t i = 0; s->b != KE_NONE && i < p[0]; i++)
      sum = sat_add(sum, sat_mul(*body, 1 + weight(k, p[3 + 3 * (size_t)i])));
    return sum;
  case KS_Reduce:
    sum = sat_mul(trips_of(k, p + 1, p[0], sym), 1 + weight(k, s->c));
    return sat_add(sum, weight(k, s->a));
  case KS_Contract:
    *body = trips_of(k, p + 1, p[0], sym);
    inner = trips_of(k, p + 2 + 2 * (size_t)p[0], p[1 + 2 * (size_t)p[0]], sym);
    return sat_mul(2, sat_mul(*body, inner));
  case KS_Store:
  case KS_Let:
  case KS_Check:
  case KS_If:
    for (uint32_t i = 0; kernel_stmt_expr(k, at, i) != KE_NONE; i++)
      sum += weight(k, kernel_stmt_expr(k, at, i));
    return sum + (s->kind == KS_Store || s->kind == KS_Check);
  }
  return 0;
}

uint64_t kernel_cost(const Kernel *k, const int64_t *sym) {
  struct {
    uint32_t end;
    uint64_t times;
  } body[K_MAX_LOOPS + 1] = {{k->n_stmts, 1}};
  int depth = 0;
  uint64_t sum = 0, inside;
  for (uint32_t s = 0; s < k->n_stmts; s++) {
    const KStmt *st = &k->stmt[s];
    while (depth > 0 && body[depth].end <= s) depth--;
    if ((st->kind == KS_For || st->kind == KS_Contract) && kernel_idle(k, s, sym)) {
      s = st->end - 1;
      continue;
    }
    sum = sat_add(sum, sat_mul(body[depth].times, stmt_cost(k, s, sym, &inside)));
    if (st->end == s + 1) continue;
    depth++;
    body[depth].end = st->end;
    body[depth].times = sat_mul(body[depth - 1].times, inside);
  }
  return sum ? sum : 1;
}

/* ---- intervals -------------------------------------------------------------- */
typedef struct {
  int64_t lo, hi;
} Range;
static const Range ANY = {INT64_MIN, INT64_MAX};

static Range range_of_dtype(DType t) {
  if (t == DT_bool) return (Range){0, 1};
  int bits = 8 * dtype_bytes(t);
  if (!dtype_is_int(t) || bits == 64) return ANY;
  bool is_signed = dtype_is_signed(t);
  int64_t hi = (int64_t)(UINT64_MAX >> (64 - bits + is_signed));
  return (Range){is_signed ? -hi - 1 : 0, hi};
}

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static Range hull(Range a, Range b) { return (Range){min64(a.lo, b.lo), max64(a.hi, b.hi)}; }

static Range mul_range(Range a, Range b) {
  int64_t v[4];
  if (!i64_mul(a.lo, b.lo, &v[0]) || !i64_mul(a.lo, b.hi, &v[1]) || !i64_mul(a.hi, b.lo, &v[2]) ||
      !i64_mul(a.hi, b.hi, &v[3]))
    return ANY;
  return (Range){min64(min64(v[0], v[1]), min64(v[2], v[3])),
                 max64(max64(v[0], v[1]), max64(v[2], v[3]))};
}

static int64_t quotient(int64_t a, int64_t b, bool floors) {
  return a / b - (floors && a % b != 0 && a < 0);
}

/* b > 0: the quotient is monotone in a, and in b towards zero. */
static Range div_range(Range a, Range b, bool floors) {
  if (b.lo < 0) return ANY;
  if (b.lo == 0) b.lo = 1; /* zero traps */
  if (b.hi < b.lo) return ANY;
  int64_t lo = a.lo < 0 ? b.lo : b.hi, hi = a.hi < 0 ? b.hi : b.lo;
  return (Range){quotient(a.lo, lo, floors), quotient(a.hi, hi, floors)};
}

static Range mod_range(Range a, Range b, bool floors) {
  if (b.lo < 0 || b.hi < 1) return ANY;
  if (a.lo >= 0) return a.hi < max64(b.lo, 1) ? a : (Range){0, min64(a.hi, b.hi - 1)};
  return floors ? (Range){0, b.hi - 1} : (Range){1 - b.hi, b.hi - 1};
}

static Range and_range(Range a, Range b) {
  if (a.lo < 0 && b.lo < 0) return ANY;
  if (a.lo < 0) return (Range){0, b.hi};
  return (Range){0, b.lo < 0 ? a.hi : min64(a.hi, b.hi)};
}

static Range shift_range(SOp op, Range a, Range b) {
  if (b.lo != b.hi || b.lo < 0 || b.lo > 61) return ANY;
  int64_t by = (int64_t)1 << b.lo;
  if (op == S_shl) return mul_range(a, (Range){by, by});
  return (Range){quotient(a.lo, by, true), quotient(a.hi, by, true)};
}

static Range op_range(SOp op, Range a, Range b, Range c) {
  Range r;
  switch ((int)op) {
  case S_add: return i64_add(a.lo, b.lo, &r.lo) && i64_add(a.hi, b.hi, &r.hi) ? r : ANY;
  case S_sub: return i64_sub(a.lo, b.hi, &r.lo) && i64_sub(a.hi, b.lo, &r.hi) ? r : ANY;
  case S_neg: return i64_sub(0, a.hi, &r.lo) && i64_sub(0, a.lo, &r.hi) ? r : ANY;
  case S_mul: return mul_range(a, b);
  case S_min: return (Range){min64(a.lo, b.lo), min64(a.hi, b.hi)};
  case S_max: return (Range){max64(a.lo, b.lo), max64(a.hi, b.hi)};
  case S_div:
  case S_fdiv: return div_range(a, b, op == S_fdiv);
  case S_mod:
  case S_fmod: return mod_range(a, b, op == S_fmod);
  case S_and: return and_range(a, b);
  case S_shl:
  case S_shr: return shift_range(op, a, b);
  case S_select: return hull(b, c);
  case S_sign: return (Range){-1, 1};
  case S_abs:
    if (a.lo >= 0) return a;
    return i64_sub(0, a.lo, &r.hi) ? (Range){0, max64(r.hi, a.hi)} : ANY;
  default: return ANY;
  }
}

/* ---- the walk --------------------------------------------------------------- */
typedef struct {
  const Kernel *k;
  const int64_t *sym;
  Range *range, *var;                /* per node, per variable        */
  uint8_t *ok;                       /* per node: every load below is inside */
  const uint8_t *load_ok, *store_ok; /* proved otherwise, or NULL     */
  KE next;                           /* nodes below are visited       */
} Launch;

static bool inside(const Launch *l, uint32_t buf, const KE *index) {
  const KBuf *u = &l->k->buf[buf];
  for (int d = 0; d < u->rank; d++) {
    int64_t n;
    Range r = l->range[index[d]];
    if (!kernel_size(l->k, u->dim[d], l->sym, &n) || r.lo < 0 || r.hi >= n) return false;
  }
  return true;
}

static Range node_range(const Launch *l, KE e) {
  const KNode *n = &l->k->node[e];
  DType t = (DType)n->dtype;
  Range all = range_of_dtype(t), r = ANY, none = {0, 0};
  if (dtype_is_float(t) || t == DT_u64) return ANY;
  switch ((KNodeKind)n->kind) {
  case KN_Const: return (Range){(int64_t)n->bits, (int64_t)n->bits};
  case KN_Sym: return (Range){l->sym[n->a], l->sym[n->a]};
  case KN_Var: return l->var[n->a];
  case KN_Cast: r = l->range[n->a]; break;
  case KN_Op: {
    int arity = sop_info[n->op].arity;
    r = op_range((SOp)n->op, l->range[n->a], arity > 1 ? l->range[n->b] : none,
                 arity > 2 ? l->range[n->c] : none);
    break;
  }
  case KN_Bits:
  case KN_Load:
  case KN_LoadOr: break;
  }
  return r.lo >= all.lo && r.hi <= all.hi ? r : all; /* or it may wrap */
}

/* Is everything that e evaluates inside? */
static bool reach(Launch *l, KE e) {
  for (; l->next <= e; l->next++) {
    KE at = l->next;
    const KNode *n = &l->k->node[at];
    bool ok =
        n->kind != KN_Load || (l->load_ok && l->load_ok[at]) || inside(l, n->a, l->k->pool + n->b);
    for (uint32_t i = 0; kernel_operand(l->k, at, i) != KE_NONE; i++)
      ok &= l->ok[kernel_operand(l->k, at, i)] != 0;
    l->range[at] = node_range(l, at);
    l->ok[at] = ok;
  }
  return l->ok[e];
}

/* Loops over n (var, extent) pairs: K_BAD_SIZE, or K_OK and whether any runs 0 times. */
static KStatus enter_loops(Launch *l, const uint32_t *pairs, uint32_t n, bool *empty) {
  for (uint32_t i = 0; i < n; i++) {
    int64_t v;
    if (!kernel_size(l->k, pairs[2 * i + 1], l->sym, &v) || v < 0) return K_BAD_SIZE;
    l->var[pairs[2 * i]] = (Range){0, v > 0 ? v - 1 : 0};
    *empty |= v == 0;
  }
  return K_OK;
}

static KStatus walk_for(Launch *l, const KStmt *s, bool *skip) {
  uint32_t pair[2] = {s->var, s->a};
  for (uint32_t i = 0; s->b != KE_NONE && i < l->k->pool[s->b]; i++)
    if (!reach(l, l->k->pool[s->b + 2 + 3 * i])) return K_BOUNDS;
  return enter_loops(l, pair, 1, skip);
}

static KStatus walk_reduce(Launch *l, const KStmt *s) {
  const uint32_t *p = l->k->pool + s->b;
  bool empty = false;
  /* Before the start value: its node may stand behind those of the body. */
  if (enter_loops(l, p + 1, p[0], &empty) != K_OK) return K_BAD_SIZE;
  if (!reach(l, s->a)) return K_BOUNDS;
  bool ok = reach(l, s->c);
  if (s->op == S_min || s->op == S_max)
    l->var[s->var] = empty ? l->range[s->a] : hull(l->range[s->a], l->range[s->c]);
  return ok || empty ? K_OK : K_BOUNDS;
}

static KStatus walk_contract(Launch *l, const KStmt *s, bool *skip) {
  const uint32_t *p = l->k->pool + s->b, *red = p + 2 + 2 * (size_t)p[0];
  uint32_t nr = red[-1];
  bool no_depth = false;
  if (enter_loops(l, p + 1, p[0], skip) != K_OK || enter_loops(l, red, nr, &no_depth) != K_OK)
    return K_BAD_SIZE;
  bool ok_a = reach(l, red[2 * (size_t)nr]), ok_b = reach(l, red[2 * (size_t)nr + 1]);
  return (ok_a && ok_b) || *skip || no_depth ? K_OK : K_BOUNDS;
}

static KStatus walk_store(Launch *l, uint32_t at) {
  const KStmt *s = &l->k->stmt[at];
  bool ok = true;
  for (uint32_t i = 0; kernel_stmt_expr(l->k, at, i) != KE_NONE; i++)
    ok &= reach(l, kernel_stmt_expr(l->k, at, i));
  if (!l->store_ok || !l->store_ok[at]) ok &= inside(l, s->a, l->k->pool + s->b);
  return ok ? K_OK : K_BOUNDS;
}

/* *skip: the body does not run. */
static KStatus walk_stmt(Launch *l, uint32_t at, bool *skip) {
  const KStmt *s = &l->k->stmt[at];
  switch ((KStmtKind)s->kind) {
  case KS_For: return walk_for(l, s, skip);
  case KS_Reduce: return walk_reduce(l, s);
  case KS_Contract: return walk_contract(l, s, skip);
  case KS_Store: return walk_store(l, at);
  case KS_Let:
  case KS_Check:
  case KS_If:
    if (!reach(l, s->a)) return K_BOUNDS;
    if (s->kind == KS_Let) l->var[s->var] = l->range[s->a];
    return K_OK;
  }
  return K_BAD_KERNEL;
}

/* The values carried round the loop at its end. */
static bool carried_ok(Launch *l, uint32_t at) {
  const KStmt *s = &l->k->stmt[at];
  if (s->kind != KS_For || s->b == KE_NONE) return true;
  const uint32_t *p = l->k->pool + s->b;
  for (uint32_t i = 0; i < p[0]; i++)
    if (!reach(l, p[3 + 3 * (size_t)i])) return false;
  return true;
}

static KStatus walk(Launch *l) {
  uint32_t open[K_MAX_LOOPS], s = 0;
  int depth = 0;
  l->next = 0;
  for (uint32_t v = 0; v < l->k->n_vars; v++) l->var[v] = range_of_dtype((DType)l->k->var[v].dtype);
  for (;;) {
    while (depth > 0 && l->k->stmt[open[depth - 1]].end == s)
      if (!carried_ok(l, open[--depth])) return K_BOUNDS;
    if (s == l->k->n_stmts) return K_OK;
    bool skip = false;
    KStatus r = walk_stmt(l, s, &skip);
    if (r != K_OK) return r;
    uint32_t end = l->k->stmt[s].end;
    if (!skip && end != s + 1)
      open[depth++] = s;
    else if (!skip && l->k->stmt[s].kind == KS_For && !carried_ok(l, s))
      return K_BOUNDS;
    s = skip ? end : s + 1;
  }
}

/* Intervals did not suffice: what is proved for all symbols (it may rest on a
 * division that traps), then what is proved for these. */
static KStatus walk_again(Launch *l, KAlloc a) {
  const Kernel *k = l->k;
  size_t bytes = (size_t)k->n_nodes + k->n_stmts + 1;
  bool extents = true;
  uint8_t *proof = a.fn(a.user, NULL, 0, bytes);
  if (!proof) return K_NO_MEMORY;
  l->load_ok = proof;
  l->store_ok = proof + k->n_nodes;
  KStatus r = K_BOUNDS;
  for (int i = 0; i < 2 && r == K_BOUNDS; i++) {
    bool memory = kernel_prove(k, a, i ? l->sym : NULL, proof, proof + k->n_nodes, &extents);
    r = memory ? walk(l) : K_NO_MEMORY;
  }
  a.fn(a.user, proof, bytes, 0);
  return r;
}

static KStatus say(KError *err, KStatus status) {
  const char *why = status == K_BAD_SIZE    ? "an extent is negative or too large"
                    : status == K_BOUNDS    ? "an access may be outside its buffer"
                    : status == K_NO_MEMORY ? "out of memory"
                                            : NULL;
  if (err) *err = (KError){status, why};
  return status;
}

KStatus kernel_launch_ok(const Kernel *k, const int64_t *sym, KAlloc a, KError *err) {
  enum { SMALL = 192 };
  Range few[SMALL];
  uint8_t few_ok[SMALL];
  int64_t count;
  for (uint32_t i = 0; i < k->n_bufs; i++)
    if (!kernel_buf_count(k, i, sym, &count)) return say(err, K_BAD_SIZE);
  Launch l = {.k = k, .sym = sym, .range = few, .ok = few_ok};
  size_t n = (size_t)k->n_nodes + k->n_vars, bytes = n * sizeof *l.range + k->n_nodes;
  bool small = n <= SMALL;
  if (!small) {
    l.range = a.fn(a.user, NULL, 0, bytes);
    if (!l.range) return say(err, K_NO_MEMORY);
    l.ok = (uint8_t *)(l.range + n);
  }
  l.var = l.range + k->n_nodes;
  KStatus r = walk(&l);
  if (r == K_BOUNDS) r = walk_again(&l, a);
  if (!small) a.fn(a.user, l.range, bytes, 0);
  return say(err, r);
}
