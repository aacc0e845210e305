/* fuse_part.c -- see fuse_part.h. */
#include "kernel/fuse_part.h"
#include "kernel/fuse.h"
#include "kernel/fuse_axes.h"
#include "kernel/visit.h"

/* ---- shape ------------------------------------------------------------------------ */
static bool is_one(const Kernel *k, KE e) {
  const KNode *n = &k->node[e];
  return n->kind == KN_Const && n->bits == 1;
}
static bool is_parallel(const KStmt *s) {
  return s->kind == KS_For && s->op == K_PARALLEL && s->b == KE_NONE;
}

void part_nest(const Kernel *k, MapNest *m) {
  *m = (MapNest){.to = k->n_stmts};
  while (m->from < m->to && m->n < K_MAX_LOOPS) {
    const KStmt *s = &k->stmt[m->from];
    if (!is_parallel(s) || s->end != m->to) return;
    m->loop[m->n++] = m->from++;
  }
}

uint32_t part_loop(const Kernel *k, KE e) {
  if (e == KE_NONE || k->node[e].kind != KN_Var) return KE_NONE;
  uint32_t v = k->node[e].a;
  for (uint32_t i = 0; i < k->n_stmts; i++) {
    const KStmt *s = &k->stmt[i];
    if (s->kind == KS_For && s->var == v) return is_parallel(s) ? v : KE_NONE;
    if (s->kind != KS_Contract) continue;
    const uint32_t *p = k->pool + s->b;
    for (uint32_t j = 0; j < p[0]; j++)
      if (p[1 + 2 * j] == v) return v;
  }
  return KE_NONE;
}

uint32_t part_body_of(const Kernel *k, uint32_t s) {
  uint32_t at = KE_NONE;
  for (uint32_t i = 0; i < s; i++)
    if (k->stmt[i].end > s) at = i;
  return at;
}

/* ---- loops round a statement ------------------------------------------------------- */
/* Loops of extent 1 are left out. */
typedef struct {
  uint32_t n, var[K_MAX_LOOPS];
  KE extent[K_MAX_LOOPS];
} Around;

static void add_around(const Kernel *k, Around *a, uint32_t var, KE extent) {
  if (is_one(k, extent) || a->n == K_MAX_LOOPS) return;
  a->var[a->n] = var;
  a->extent[a->n++] = extent;
}
static void add_pairs(const Kernel *k, Around *a, const uint32_t *pairs, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) add_around(k, a, pairs[2 * i], pairs[2 * i + 1]);
}

/* plain: each of them runs its body for every value, in any order. */
static Around around(const Kernel *k, uint32_t s, bool *plain) {
  Around a = {0};
  *plain = true;
  for (uint32_t i = 0; i < s; i++) {
    const KStmt *t = &k->stmt[i];
    if (t->end <= s) continue;
    if (t->kind == KS_For) add_around(k, &a, t->var, t->a);
    if (t->kind == KS_Contract) add_pairs(k, &a, k->pool + t->b + 1, k->pool[t->b]);
    *plain &= t->kind == KS_Contract || is_parallel(t);
  }
  return a;
}

static int place(const Around *a, uint32_t var) {
  for (uint32_t i = 0; i < a->n; i++)
    if (a->var[i] == var) return (int)i;
  return -1;
}

/* Index e as nested loop variables, (v0 * e1 + v1) * e2 + v2: each is noted in
 * seen; false: it is something else, or has one twice. */
static bool nested_vars(const Kernel *k, const Around *a, KE e, uint32_t *seen) {
  for (int depth = 0; depth < K_MAX_LOOPS; depth++) {
    const KNode *n = &k->node[e], *last = n;
    KE rest = KE_NONE;
    if (n->kind == KN_Const) return n->bits == 0;
    if (n->kind == KN_Op && n->op == S_add) last = &k->node[n->b], rest = n->a;
    int i = last->kind == KN_Var ? place(a, last->a) : -1;
    if (i < 0 && last->kind == KN_Var && rest != KE_NONE) { /* a loop of extent 1 */
      e = rest;
      continue;
    }
    if (i < 0) return last->kind == KN_Var;
    if (*seen >> i & 1) return false;
    *seen |= 1u << i;
    if (rest == KE_NONE) return true;
    const KNode *m = &k->node[rest];
    if (m->kind != KN_Op || m->op != S_mul) return false;
    if (m->b != a->extent[i] && m->a != a->extent[i]) return false;
    e = m->b == a->extent[i] ? m->a : m->b;
  }
  return false;
}

bool part_covers(KCopy *c, uint32_t s, int n, const KE *dim) {
  const Kernel *k = c->k;
  const KStmt *st = &k->stmt[s];
  bool plain;
  Around a = around(k, s, &plain);
  uint32_t seen = 0;
  KE extent[K_MAX_LOOPS];
  if (!plain) return false;
  for (int d = 0; d < k->buf[st->a].rank; d++)
    if (!nested_vars(k, &a, k->pool[st->b + (uint32_t)d], &seen)) return false;
  for (uint32_t i = 0; i < a.n; i++) extent[i] = kcopy_expr(c, a.extent[i]);
  return seen == (1u << a.n) - 1 && axes_same_count(c->b, (int)a.n, extent, n, dim);
}

bool part_is_map(const Kernel *k, MapNest *m) {
  part_nest(k, m);
  uint32_t store = KE_NONE, seen = 0;
  for (uint32_t s = m->from; s < m->to; s++) {
    if (k->stmt[s].kind == KS_Store && store == KE_NONE)
      store = s;
    else if (k->stmt[s].kind != KS_Let)
      return false;
  }
  if (store == KE_NONE || store + 1 != m->to || k->n_bufs != k->n_params) return false;
  for (uint32_t u = 0; u < k->n_bufs; u++)
    if (k->buf[u].role != (u == k->stmt[store].a ? K_OUT : K_IN)) return false;
  bool plain;
  Around a = around(k, store, &plain);
  const KBuf *out = &k->buf[k->stmt[store].a];
  for (int d = 0; d < out->rank; d++) {
    const KNode *n = &k->node[k->pool[k->stmt[store].b + (uint32_t)d]];
    int i = n->kind == KN_Var ? place(&a, n->a) : -1;
    if (i < 0 && is_one(k, out->dim[d])) continue;
    if (i < 0 || a.extent[i] != out->dim[d] || seen >> i & 1) return false;
    seen |= 1u << i;
  }
  return seen == (1u << a.n) - 1;
}

/* ---- loads ---------------------------------------------------------------------------- */
uint32_t part_index_of(const Kernel *k, uint32_t u) {
  uint32_t at = KE_NONE;
  for (KE e = 0; e < k->n_nodes; e++) {
    if (k->node[e].kind != KN_Load || k->node[e].a != u) continue;
    if (at != KE_NONE) return KE_NONE; /* equal loads are one node */
    at = k->node[e].b;
  }
  return at;
}

bool part_has_load_or(const Kernel *k, uint32_t u) {
  for (KE e = 0; e < k->n_nodes; e++)
    if (k->node[e].kind == KN_LoadOr && k->node[e].a == u) return true;
  return false;
}

/* ---- cost -------------------------------------------------------------------------------- */
enum { CHEAP = 5, MOST_ROW_LOADS = 6 };
int part_op_cost(SOp op) {
  switch ((int)op) {
  case S_div:
  case S_fdiv:
  case S_mod:
  case S_fmod:
  case S_sqrt:
  case S_rsqrt: return 6;
  case S_floor:
  case S_ceil:
  case S_trunc:
  case S_round: return 2;
  default: return op >= S_exp && op <= S_erf ? 20 : op == S_pow || op == S_atan2 ? 20 : 1;
  }
}

/* Does one of the statements of k that make its value use node e?  Nodes of a
 * map are few: what is in the array is what is used. */
static int map_cost(const Kernel *k) {
  int cost = 0;
  for (KE e = 0; e < k->n_nodes; e++) {
    const KNode *n = &k->node[e];
    bool index = n->dtype == DT_i64 && n->kind == KN_Op;
    if (n->kind == KN_Op && !index) cost += part_op_cost((SOp)n->op);
    if (n->kind == KN_Cast) cost++;
    if (n->kind == KN_Load) cost++;
    if (index && part_op_cost((SOp)n->op) > 1) cost += part_op_cost((SOp)n->op);
  }
  return cost;
}

/* ---- does inlining pay? -------------------------------------------------------------------- */
/* Loop variables below an index expression, as bits over a. */
static uint32_t vars_below(const Kernel *k, const Around *a, KE root, uint8_t *mark) {
  uint32_t seen = 0;
  memset(mark, 0, root + 1);
  mark[root] = 1;
  for (KE e = root + 1; e-- > 0;) {
    if (!mark[e]) continue;
    int i = k->node[e].kind == KN_Var ? place(a, k->node[e].a) : -1;
    if (i >= 0) seen |= 1u << i;
    for (uint32_t j = 0;; j++) {
      KE x = kernel_operand(k, e, j);
      if (x == KE_NONE) break;
      mark[x] = 1;
    }
  }
  return seen;
}

/* A variable that only is shifted or scaled meets each index once. */
static bool is_shifted(const Kernel *k, KE e) {
  for (int depth = 0; depth < K_MAX_LOOPS; depth++) {
    const KNode *n = &k->node[e];
    if (n->kind == KN_Var) return true;
    if (n->kind != KN_Op || (n->op != S_add && n->op != S_sub && n->op != S_mul)) return false;
    bool left = k->node[n->a].kind == KN_Const || k->node[n->a].kind == KN_Sym;
    bool right = k->node[n->b].kind == KN_Const || k->node[n->b].kind == KN_Sym;
    if (left == right) return false;
    e = left ? n->b : n->a;
  }
  return false;
}

/* Does load e, in loops a, meet each element at most once? */
static bool meets_once(const Kernel *k, const Around *a, KE e, uint8_t *mark) {
  uint32_t all = 0;
  for (int d = 0; d < k->node[e].rank; d++) {
    KE i = k->pool[k->node[e].b + (uint32_t)d];
    uint32_t mine = vars_below(k, a, i, mark), nested = 0;
    if (all & mine) return false;
    if (mine && !is_shifted(k, i) && (!nested_vars(k, a, i, &nested) || nested != mine))
      return false;
    all |= mine;
  }
  return all == (1u << a->n) - 1;
}

typedef struct {
  const Kernel *k;
  uint32_t u;
  int loads;
  bool once, no;
  bool rows; /* the producer only moves rows about */
  uint8_t *reach, *mark;
} Loads;

/* Nodes below the expressions of statement s. */
static void reach_from(Loads *l, uint32_t s) {
  const Kernel *k = l->k;
  memset(l->reach, 0, k->n_nodes);
  for (uint32_t i = 0;; i++) {
    KE e = kernel_stmt_expr(k, s, i);
    if (e == KE_NONE) break;
    l->reach[e] = 1;
  }
  for (KE e = k->n_nodes; e-- > 0;)
    for (uint32_t j = 0; l->reach[e]; j++) {
      KE x = kernel_operand(k, e, j);
      if (x == KE_NONE) break;
      l->reach[x] = 1;
    }
}

static void look_at(Loads *l, uint32_t s) {
  const Kernel *k = l->k;
  const KStmt *st = &k->stmt[s];
  bool plain;
  Around a = around(k, s, &plain);
  if (st->kind == KS_Reduce) add_pairs(k, &a, k->pool + st->b + 1, k->pool[st->b]);
  reach_from(l, s);
  for (KE e = 0; e < k->n_nodes; e++) {
    if (!l->reach[e] || k->node[e].a != l->u) continue;
    if (k->node[e].kind == KN_LoadOr) l->no = true;
    if (k->node[e].kind != KN_Load) continue;
    l->loads++;
    if (st->kind == KS_Contract && !l->rows) l->no = true;
    l->once &= meets_once(k, &a, e, l->mark);
  }
}

/* Does a map copy elements, those that lie side by side to where they do too?  A contraction may
 * read them from where they are; other maps it would take time and again, or apart. */
static bool moves_rows(const Kernel *p) {
  const KStmt *st = &p->stmt[p->n_stmts - 1];
  if (st->kind != KS_Store) return false;
  const KNode *x = &p->node[st->c];
  uint32_t rank = p->buf[st->a].rank;
  if (x->kind != KN_Load || x->rank == 0 || rank == 0) return false;
  KE last = p->pool[st->b + rank - 1];
  return p->pool[x->b + x->rank - 1u] == last && p->node[last].kind == KN_Var;
}

static bool inline_pays(const Kernel *p, const Kernel *c, uint32_t u, uint8_t *scratch) {
  Loads l = {.k = c, .u = u, .once = true, .reach = scratch, .mark = scratch + c->n_nodes};
  l.rows = moves_rows(p);
  for (uint32_t s = 0; s < c->n_stmts && !l.no; s++) look_at(&l, s);
  if (l.no || l.loads == 0) return false;
  return (l.loads == 1 && l.once) || map_cost(p) <= CHEAP;
}

/* ---- with memory ---------------------------------------------------------------------- */
bool part_inline_pays(const Kernel *p, const Kernel *c, uint32_t u, KAlloc a) {
  size_t bytes = 2 * (size_t)c->n_nodes + 1;
  uint8_t *scratch = a.fn(a.user, NULL, 0, bytes);
  bool yes = scratch && inline_pays(p, c, u, scratch);
  if (scratch) a.fn(a.user, scratch, bytes, 0);
  return yes;
}

static bool read_by_rows(const Kernel *k, uint32_t u, uint8_t *scratch) {
  Loads l = {.k = k, .u = u, .once = true, .reach = scratch, .mark = scratch + k->n_nodes};
  int statements = 0, reductions = 0;
  for (uint32_t s = 0; s < k->n_stmts && !l.no; s++) {
    int before = l.loads;
    look_at(&l, s);
    statements += l.loads > before;
    reductions += l.loads > before && k->stmt[s].kind == KS_Reduce;
  }
  return !l.no && l.once && reductions > 0 && statements > 1 && l.loads <= MOST_ROW_LOADS;
}

bool part_read_by_rows(const Kernel *k, uint32_t u, KAlloc a) {
  size_t bytes = 2 * (size_t)k->n_nodes + 1;
  uint8_t *scratch = a.fn(a.user, NULL, 0, bytes);
  bool yes = scratch && read_by_rows(k, u, scratch);
  if (scratch) a.fn(a.user, scratch, bytes, 0);
  return yes;
}

int part_work(const Kernel *k, KAlloc a) {
  Loads l = {.k = k, .reach = a.fn(a.user, NULL, 0, (size_t)k->n_nodes + 1)};
  int work = 0;
  if (!l.reach) return -1;
  for (uint32_t s = 0; s < k->n_stmts; s++) {
    reach_from(&l, s);
    for (KE e = 0; e < k->n_nodes; e++)
      if (l.reach[e] && k->node[e].kind == KN_Op && dtype_is_float((DType)k->node[e].dtype))
        work += part_op_cost((SOp)k->node[e].op);
  }
  a.fn(a.user, l.reach, (size_t)k->n_nodes + 1, 0);
  return work;
}

bool kernel_may_fail(const Kernel *k, KAlloc a) {
  bool needs_launch;
  KError err;
  for (uint32_t s = 0; s < k->n_stmts; s++)
    if (k->stmt[s].kind == KS_Check) return true;
  for (KE e = 0; e < k->n_nodes; e++)
    if (kernel_traps(k, e)) return true;
  return kernel_verify(k, a, &needs_launch, &err) != K_OK || needs_launch;
}
