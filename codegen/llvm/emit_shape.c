/* emit_shape.c -- what loops and the accesses in them look like, asked before they
 * are emitted: which nested loops are one, and which parallel loops are better
 * innermost.                                                                 */
#include "codegen/llvm/emit_stmt.h"

/* ---- all nodes of some expressions ----------------------------------------------------- */
typedef bool (*Test)(Emit *e, KE at, void *ctx);

/* Does every node below root pass that no root since begin_nodes had below it? */
static void begin_nodes(Emit *e) { e->epoch++; }
static bool all_nodes(Emit *e, KE root, Test test, void *ctx) {
  uint32_t n = 0;
  if (e->seen[root] == e->epoch) return true;
  e->seen[root] = e->epoch;
  e->todo[n++] = root;
  while (n > 0) {
    KE at = e->todo[--n], o;
    if (!test(e, at, ctx)) return false;
    for (uint32_t i = 0; (o = kernel_operand(e->k, at, i)) != KE_NONE; i++) {
      if (e->seen[o] == e->epoch) continue;
      e->seen[o] = e->epoch;
      e->todo[n++] = o;
    }
  }
  return true;
}

static bool is_var(const Kernel *k, KE x, uint32_t v) {
  return k->node[x].kind == KN_Var && k->node[x].a == v;
}

/* ---- loops that are one ------------------------------------------------------------------ */
typedef struct {
  uint32_t u, v;
  KE extent;
} Pair; /* extent: of v's loop */

static bool same_size(const Kernel *k, KE x, KE y) {
  const KNode *a = &k->node[x], *b = &k->node[y];
  return x == y || (a->kind == KN_Const && b->kind == KN_Const && a->bits == b->bits);
}

/* Indices: u always directly before v, v always directly behind u. */
static bool side_by_side(const Kernel *k, const Pair *p, uint32_t buf, const KE *index) {
  for (int i = 0; i < k->buf[buf].rank; i++) {
    if (is_var(k, index[i], p->u)) {
      if (i + 1 == k->buf[buf].rank || !is_var(k, index[i + 1], p->v)) return false;
      if (!same_size(k, k->buf[buf].dim[i + 1], p->extent)) return false;
    }
    if (is_var(k, index[i], p->v) && (i == 0 || !is_var(k, index[i - 1], p->u))) return false;
  }
  return true;
}

static bool keeps_pair(Emit *e, KE at, void *ctx) {
  const Kernel *k = e->k;
  const KNode *n = &k->node[at];
  const Pair *p = ctx;
  KE o;
  if (n->kind == KN_Load) return side_by_side(k, p, n->a, k->pool + n->b);
  for (uint32_t i = 0; (o = kernel_operand(k, at, i)) != KE_NONE; i++)
    if (is_var(k, o, p->u) || is_var(k, o, p->v)) return false;
  return true;
}

static bool root_keeps_pair(Emit *e, KE root, Pair *p) {
  return !is_var(e->k, root, p->u) && !is_var(e->k, root, p->v) &&
         all_nodes(e, root, keeps_pair, p);
}

bool reduce_merges(Emit *e, const KStmt *s, uint32_t i) {
  const uint32_t *pair = e->k->pool + s->b + 1 + 2 * i;
  Pair p = {pair[0], pair[2], pair[3]};
  begin_nodes(e);
  return root_keeps_pair(e, s->c, &p);
}

static bool stmt_keeps_pair(Emit *e, uint32_t at, Pair *p) {
  const KStmt *s = &e->k->stmt[at];
  uint32_t first = 0;
  KE x;
  if (s->kind == KS_Contract) return false;
  if (s->kind == KS_Store) {
    const KE *index = e->k->pool + s->b;
    if (!side_by_side(e->k, p, s->a, index)) return false;
    for (; first < e->k->buf[s->a].rank; first++) {
      bool itself = is_var(e->k, index[first], p->u) || is_var(e->k, index[first], p->v);
      if (!itself && !all_nodes(e, index[first], keeps_pair, p)) return false;
    }
  }
  for (; (x = kernel_stmt_expr(e->k, at, first)) != KE_NONE; first++)
    if (!root_keeps_pair(e, x, p)) return false;
  return true;
}

bool for_merges(Emit *e, uint32_t at) {
  const KStmt *s = &e->k->stmt[at], *in = s + 1;
  if (at + 1 >= s->end || in->kind != KS_For || in->end != s->end) return false;
  if (in->b != KE_NONE || s->op != K_PARALLEL || in->op != K_PARALLEL) return false;
  Pair p = {s->var, in->var, in->a};
  begin_nodes(e);
  for (uint32_t i = at + 2; i < s->end; i++)
    if (!stmt_keeps_pair(e, i, &p)) return false;
  return true;
}

/* ---- loops that are better innermost ------------------------------------------------------- */
enum { MAX_DEPTH = 24, MIN_LANES = 8 };

/* How much e grows when v grows by one; false: not the same everywhere. */
static bool growth(const Kernel *k, KE x, uint32_t v, int depth, int64_t *out) {
  const KNode *n = &k->node[x];
  int64_t a, b;
  *out = 0;
  if (n->kind == KN_Var) *out = n->a == v;
  if (n->kind == KN_Const || n->kind == KN_Sym || n->kind == KN_Var) return true;
  if (n->kind != KN_Op || depth == MAX_DEPTH) return false;
  if (n->op != S_add && n->op != S_sub && n->op != S_mul) return false;
  if (!growth(k, n->a, v, depth + 1, &a) || !growth(k, n->b, v, depth + 1, &b)) return false;
  if (n->op == S_mul) {
    if (a && b) return false;
    KE other = a ? n->b : n->a;
    if (a | b && k->node[other].kind != KN_Const) return false;
    return a | b ? !__builtin_mul_overflow(a | b, (int64_t)k->node[other].bits, out) : true;
  }
  return n->op == S_add ? !__builtin_add_overflow(a, b, out) : !__builtin_sub_overflow(a, b, out);
}

/* Do neighbours along v lie side by side in memory? */
static bool lies_along(const Kernel *k, const KNode *load, uint32_t v) {
  const KE *index = k->pool + load->b, *dim = k->buf[load->a].dim;
  int last = load->rank - 1;
  int64_t g;
  while (last > 0 && k->node[dim[last]].kind == KN_Const && k->node[dim[last]].bits == 1) last--;
  for (int i = 0; i <= last; i++)
    if (!growth(k, index[i], v, 0, &g) || g != (i == last)) return false;
  return load->rank > 0;
}

typedef struct {
  uint32_t lane, inner, along_lane, along_inner;
} Along;

static bool count_loads(Emit *e, KE at, void *ctx) {
  const KNode *n = &e->k->node[at];
  Along *a = ctx;
  if (n->kind == KN_Load || n->kind == KN_LoadOr) {
    a->along_lane += lies_along(e->k, n, a->lane);
    a->along_inner += lies_along(e->k, n, a->inner);
  }
  return true;
}

static bool stores_to(const Emit *e, uint32_t from, uint32_t to, uint32_t buf) {
  for (uint32_t i = from; i < to; i++)
    if (e->k->stmt[i].kind == KS_Store && e->k->stmt[i].a == buf) return true;
  return false;
}

typedef struct {
  uint32_t from, to;
} Range;
static bool is_not_stored(Emit *e, KE at, void *ctx) {
  const KNode *n = &e->k->node[at];
  const Range *r = ctx;
  return (n->kind != KN_Load && n->kind != KN_LoadOr) || !stores_to(e, r->from, r->to, n->a);
}

/* Statements that can be run for all lanes one after the other. */
static bool runs_in_strips(Emit *e, uint32_t at, Range *r) {
  const KStmt *s = &e->k->stmt[at];
  KE x;
  bool known = s->kind == KS_Let || s->kind == KS_Store || s->kind == KS_Reduce ||
               (s->kind == KS_For && s->b == KE_NONE);
  for (uint32_t i = 0; known && (x = kernel_stmt_expr(e->k, at, i)) != KE_NONE; i++)
    known = all_nodes(e, x, is_not_stored, r);
  return known;
}

bool for_suits_strips(Emit *e, uint32_t at, Val n) {
  const KStmt *s = &e->k->stmt[at];
  Range r = {at + 1, s->end};
  Along a = {.lane = s->var};
  if (s->op != K_PARALLEL) return false;
  if (LLVMIsAConstantInt(n) && LLVMConstIntGetSExtValue(n) < MIN_LANES) return false;
  begin_nodes(e);
  for (uint32_t i = r.from; i < r.to; i++)
    if (!runs_in_strips(e, i, &r)) return false;
  for (uint32_t i = r.from; i < r.to; i++) {
    const KStmt *t = &e->k->stmt[i];
    if (t->kind != KS_Reduce) continue;
    a.inner = e->k->pool[t->b + 2 * e->k->pool[t->b] - 1];
    begin_nodes(e);
    (void)all_nodes(e, t->c, count_loads, &a);
  }
  return a.along_lane > 0 && a.along_inner == 0;
}

/* ---- what can fail ------------------------------------------------------------------ */
static bool is_total(Emit *e, KE at, void *ctx) {
  (void)ctx;
  return !kernel_traps(e->k, at);
}

bool stmt_is_total(Emit *e, uint32_t at) {
  KE x;
  begin_nodes(e);
  for (uint32_t i = 0; (x = kernel_stmt_expr(e->k, at, i)) != KE_NONE; i++)
    if (!all_nodes(e, x, is_total, NULL)) return false;
  return true;
}

/* ---- maps that gain from interleaving ----------------------------------------------- */
static bool is_cheap(Emit *e, KE at, void *ctx) {
  const KNode *n = &e->k->node[at];
  (void)ctx;
  return n->kind != KN_Op || !math_in_line((SOp)n->op, (DType)n->dtype);
}

bool for_gains_from_interleaving(Emit *e, uint32_t at, Val n) {
  const KStmt *s = &e->k->stmt[at];
  int64_t two = 2 * e->cpu.vector_bytes / dtype_bytes(DT_f32);
  bool cheap = true;
  if (s->op != K_PARALLEL || !LLVMIsAConstantInt(n) || LLVMConstIntGetSExtValue(n) % two != 0)
    return false;
  begin_nodes(e);
  for (uint32_t i = at + 1; i < s->end; i++) {
    KE x;
    if (e->k->stmt[i].kind != KS_Let && e->k->stmt[i].kind != KS_Store) return false;
    for (uint32_t j = 0; (x = kernel_stmt_expr(e->k, i, j)) != KE_NONE; j++)
      cheap = cheap && all_nodes(e, x, is_cheap, NULL);
  }
  return !cheap;
}
