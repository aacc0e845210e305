/* fuse_copy.c -- see fuse_copy.h.
 *
 * A node is copied when a statement first needs it, its operands before it,
 * in one loop over the nodes below it.  The builder shares equal nodes, so
 * what two kernels both load is loaded once.  Loops of extent 1 disappear.   */
#include "kernel/fuse_copy.h"
#include "kernel/build_priv.h"
#include "kernel/fuse_axes.h"
#include "kernel/visit.h"

/* ---- memory ------------------------------------------------------------------ */
static size_t block_bytes(const Kernel *k) {
  return (size_t)(k->n_nodes + k->n_vars) * sizeof(KE) + k->n_nodes + 1;
}

bool kcopy_open(KCopy *c, KB *b, const Kernel *k, KAlloc a) {
  memset(c, 0, sizeof *c);
  memset(c->buf, 0xff, sizeof c->buf);
  c->b = b, c->k = k, c->a = a;
  c->join[0] = c->join[1] = KE_NONE;
  c->node = a.fn(a.user, NULL, 0, block_bytes(k));
  if (!c->node) return false;
  c->var = c->node + k->n_nodes;
  c->need = (uint8_t *)(c->var + k->n_vars);
  memset(c->need, 0, k->n_nodes + 1);
  kcopy_forget(c);
  return true;
}

void kcopy_close(KCopy *c) {
  if (c->node) c->a.fn(c->a.user, c->node, block_bytes(c->k), 0);
  c->node = NULL;
}

void kcopy_forget(KCopy *c) {
  memset(c->node, 0xff, (size_t)(c->k->n_nodes + c->k->n_vars) * sizeof *c->node);
}

void kcopy_forget_nodes(KCopy *c) {
  memset(c->node, 0xff, (size_t)c->k->n_nodes * sizeof *c->node);
}

void kcopy_declare(KCopy *c) {
  const Kernel *k = c->k;
  for (uint32_t i = 0; i < k->n_syms; i++) c->sym[i] = kb_sym(c->b, k->text + k->sym_name[i]);
  for (uint32_t u = 0; u < k->n_bufs; u++) {
    const KBuf *old = &k->buf[u];
    KE dim[K_MAX_RANK];
    int n = kcopy_dims(c, u, dim);
    c->buf[u] = kb_buf(c->b, (KBufRole)old->role, k->text + old->name, (DType)old->dtype, n, dim);
  }
}

/* ---- splits ------------------------------------------------------------------ */
KE kcopy_radix(KB *b, int n, const KE *i, const KE *extent) {
  KE e = n ? i[0] : kb_int(b, 0);
  for (int q = 1; q < n; q++) e = kb_add(b, kb_mul(b, e, extent[q]), i[q]);
  return e;
}

static KSplit *split_of(KCopy *c, uint32_t var) {
  for (int i = 0; i < c->n_splits; i++)
    if (c->split[i].var == var) return &c->split[i];
  return NULL;
}

/* The extent of the loop that binds var. */
static KE extent_of(const Kernel *k, uint32_t var) {
  for (uint32_t i = 0; i < k->n_stmts; i++) {
    const KStmt *s = &k->stmt[i];
    if (s->kind == KS_For && s->var == var) return s->a;
    const uint32_t *p = s->kind == KS_Contract ? k->pool + s->b : NULL;
    for (uint32_t j = 0; p && j < p[0]; j++)
      if (p[1 + 2 * j] == var) return p[2 + 2 * j];
  }
  return KE_NONE;
}

bool kcopy_split(KCopy *c, uint32_t var, int n, const KE *extent) {
  const KSplit *old = split_of(c, var);
  if (old) return old->n == n && !memcmp(old->extent, extent, (size_t)n * sizeof *extent);
  KE whole = extent_of(c->k, var), copy = kcopy_expr(c, whole);
  if (c->n_splits == K_MAX_SPLITS || n > K_MAX_RANK) return false;
  if (copy == KE_NONE || !axes_same_count(c->b, n, extent, 1, &copy)) return false;
  KSplit *s = &c->split[c->n_splits++];
  s->var = var, s->n = n, s->whole = whole;
  memcpy(s->extent, extent, (size_t)n * sizeof *extent);
  return true;
}

bool kcopy_is_split(KCopy *c, uint32_t var) { return split_of(c, var) != NULL; }

/* Axis d of buffer u follows a split when every access there is its variable,
 * which runs over all of the axis. */
static void note_access(KCopy *c, uint32_t u, uint32_t pool, uint8_t seen[][K_MAX_RANK]) {
  for (int d = 0; d < c->k->buf[u].rank; d++) {
    const KNode *n = &c->k->node[c->k->pool[pool + (uint32_t)d]];
    const KSplit *s = n->kind == KN_Var ? split_of(c, n->a) : NULL;
    if (s && s->whole != c->k->buf[u].dim[d]) s = NULL;
    uint8_t is = s ? (uint8_t)(1 + (s - c->split)) : 0;
    c->axis[u][d] = !seen[u][d] || c->axis[u][d] == is ? is : 0;
    seen[u][d] = 1;
  }
}

static int rank_with_splits(const KCopy *c, uint32_t u) {
  int n = 0;
  for (int d = 0; d < c->k->buf[u].rank; d++)
    n += c->axis[u][d] ? c->split[c->axis[u][d] - 1].n : 1;
  return n;
}

void kcopy_follow(KCopy *c) {
  uint8_t seen[K_MAX_BUFS][K_MAX_RANK] = {{0}};
  if (!c->n_splits) return;
  for (KE e = 0; e < c->k->n_nodes; e++) {
    const KNode *n = &c->k->node[e];
    if (n->kind == KN_Load || n->kind == KN_LoadOr) note_access(c, n->a, n->b, seen);
  }
  for (uint32_t s = 0; s < c->k->n_stmts; s++)
    if (c->k->stmt[s].kind == KS_Store) note_access(c, c->k->stmt[s].a, c->k->stmt[s].b, seen);
  for (uint32_t u = 0; u < c->k->n_bufs; u++)
    if (rank_with_splits(c, u) > K_MAX_RANK) memset(c->axis[u], 0, sizeof c->axis[u]);
}

/* ---- expressions ------------------------------------------------------------- */
static bool is_var(const KCopy *c, KE e, uint32_t var) {
  return c->k->node[e].kind == KN_Var && c->k->node[e].a == var;
}

/* Axes d and d + 1 as one. */
static KE joined_index(KCopy *c, uint32_t buf, int d, const uint32_t *pool) {
  if (is_var(c, pool[d], c->join[0]) && is_var(c, pool[d + 1], c->join[1])) return c->joined;
  KE i[2] = {kcopy_expr(c, pool[d]), kcopy_expr(c, pool[d + 1])};
  KE e[2] = {KE_NONE, kcopy_expr(c, c->k->buf[buf].dim[d + 1])};
  return kcopy_radix(c->b, 2, i, e);
}

int kcopy_index(KCopy *c, uint32_t buf, uint32_t pool, KE *at) {
  int n = 0;
  const uint32_t *index = c->k->pool + pool;
  for (int d = 0; d < c->k->buf[buf].rank; d++) {
    const KSplit *s = c->axis[buf][d] ? &c->split[c->axis[buf][d] - 1] : NULL;
    for (int q = 0; s && q < s->n; q++) at[n++] = s->part[q];
    if (s) continue;
    bool join = c->join_axis[buf] >> d & 1;
    at[n++] = join ? joined_index(c, buf, d, index) : kcopy_expr(c, index[d]);
    d += join;
  }
  return n;
}

int kcopy_dims(KCopy *c, uint32_t buf, KE *dim) {
  int n = 0;
  const KE *old = c->k->buf[buf].dim;
  for (int d = 0; d < c->k->buf[buf].rank; d++) {
    const KSplit *s = c->axis[buf][d] ? &c->split[c->axis[buf][d] - 1] : NULL;
    for (int q = 0; s && q < s->n; q++) dim[n++] = s->extent[q];
    if (s) continue;
    bool join = c->join_axis[buf] >> d & 1;
    dim[n] = kcopy_expr(c, old[d]);
    if (join) dim[n] = kb_mul(c->b, dim[n], kcopy_expr(c, old[d + 1]));
    n++;
    d += join;
  }
  return n;
}

static KE copy_load(KCopy *c, KE e) {
  const KNode *n = &c->k->node[e];
  KE at[K_MAX_RANK], r = c->load ? c->load(c, e) : KE_NONE;
  if (r != KE_NONE) return r;
  kcopy_index(c, n->a, n->b, at);
  if (n->kind == KN_Load) return kb_load(c->b, c->buf[n->a], at);
  return kb_load_or(c->b, c->buf[n->a], at, c->node[n->c]);
}

static KE copy_node(KCopy *c, KE e) {
  const KNode *n = &c->k->node[e];
  int arity = n->kind == KN_Op ? sop_info[n->op].arity : 0;
  switch ((KNodeKind)n->kind) {
  case KN_Const: return kb_bits_const(c->b, (DType)n->dtype, n->bits);
  case KN_Sym: return c->sym[n->a];
  case KN_Var: return c->var[n->a];
  case KN_Op:
    return kb_op(c->b, (SOp)n->op, c->node[n->a], arity > 1 ? c->node[n->b] : KE_NONE,
                 arity > 2 ? c->node[n->c] : KE_NONE);
  case KN_Cast: return kb_cast(c->b, c->node[n->a], (DType)n->dtype);
  case KN_Bits: return kb_bitcast(c->b, c->node[n->a], (DType)n->dtype);
  case KN_Load:
  case KN_LoadOr: return copy_load(c, e);
  }
  return KE_NONE;
}

/* An index that is a split variable is not an operand: its parts are. */
static void need_operands(KCopy *c, KE e) {
  for (uint32_t i = 0;; i++) {
    KE x = kernel_operand(c->k, e, i);
    if (x == KE_NONE) return;
    c->need[x] = 1;
  }
}

KE kcopy_expr(KCopy *c, KE e) {
  if (!kb_ok(c->b) || e >= c->k->n_nodes) return KE_NONE;
  if (c->node[e] != KE_NONE) return c->node[e];
  KE low = e;
  c->need[e] = 1;
  for (KE x = e + 1; x-- > 0;) {
    if (!c->need[x] || c->node[x] != KE_NONE) continue;
    if (c->node_as && (c->node[x] = c->node_as(c, x)) != KE_NONE) continue;
    need_operands(c, x);
    low = x;
  }
  for (KE x = 0; x <= e; x++) {
    if (c->need[x] && c->node[x] == KE_NONE && x >= low) c->node[x] = copy_node(c, x);
    c->need[x] = 0;
  }
  return c->node[e];
}

/* ---- statements -------------------------------------------------------------- */
/* The loops that stand for (var, extent): gives how many, with their extents. */
static int loops_of(KCopy *c, uint32_t var, KE extent, KE *ext) {
  const KSplit *s = split_of(c, var);
  if (!s) {
    ext[0] = kcopy_expr(c, extent);
    return 1;
  }
  memcpy(ext, s->extent, (size_t)s->n * sizeof *ext);
  return s->n;
}

void kcopy_bind(KCopy *c, uint32_t var, int n, const KE *made) {
  KSplit *s = split_of(c, var);
  if (s) memcpy(s->part, made, (size_t)s->n * sizeof *made);
  c->var[var] = s ? kcopy_radix(c->b, n, made, s->extent) : made[0];
}

static bool is_one(KCopy *c, KE e) {
  int64_t v;
  return kb_is_int(c->b, e, &v) && v == 1;
}

/* Expressions i * n + j of the joined variables, n the extent of j. */
static void bind_radix(KCopy *c, KE extent) {
  for (KE e = 0; e < c->k->n_nodes; e++) {
    const KNode *n = &c->k->node[e], *m;
    if (n->kind != KN_Op || n->op != S_add || !is_var(c, n->b, c->join[1])) continue;
    m = &c->k->node[n->a];
    if (m->kind == KN_Op && m->op == S_mul && is_var(c, m->a, c->join[0]) && m->b == extent)
      c->node[e] = c->joined;
  }
}

static void copy_joined(KCopy *c, uint32_t at) {
  const KStmt *s = &c->k->stmt[at], *in = s + 1;
  KE n = kb_mul(c->b, kcopy_expr(c, s->a), kcopy_expr(c, in->a));
  c->joined = kb_for(c->b, n, K_PARALLEL);
  bind_radix(c, in->a);
  kcopy_body(c, at + 2, in->end);
  kb_end(c->b);
}

static void copy_for(KCopy *c, uint32_t at) {
  const KStmt *s = &c->k->stmt[at];
  if (s->var == c->join[0]) {
    copy_joined(c, at);
    return;
  }
  KE ext[K_MAX_RANK], made[K_MAX_RANK];
  int n = loops_of(c, s->var, s->a, ext), open = 0;
  for (int i = 0; i < n; i++) {
    bool one = is_one(c, ext[i]);
    made[i] = one ? kb_int(c->b, 0) : kb_for(c->b, ext[i], (KLoopKind)s->op);
    open += !one;
  }
  kcopy_bind(c, s->var, n, made);
  kcopy_body(c, at + 1, s->end);
  if (c->end) c->end(c, at);
  while (open-- > 0) kb_end(c->b);
}

enum { MAX_CARRIED = 64 };
static void copy_carry(KCopy *c, uint32_t at) {
  const KStmt *s = &c->k->stmt[at];
  const uint32_t *p = c->k->pool + s->b;
  KE init[MAX_CARRIED], carried[MAX_CARRIED], next[MAX_CARRIED];
  if (p[0] > MAX_CARRIED) {
    kb_fail(c->b, "too many carried values");
    return;
  }
  for (uint32_t i = 0; i < p[0]; i++) init[i] = kcopy_expr(c, p[2 + 3 * i]);
  c->var[s->var] = kb_for_carry(c->b, kcopy_expr(c, s->a), (int)p[0], init, carried);
  for (uint32_t i = 0; i < p[0]; i++) c->var[p[1 + 3 * i]] = carried[i];
  kcopy_body(c, at + 1, s->end);
  for (uint32_t i = 0; i < p[0]; i++) next[i] = kcopy_expr(c, p[3 + 3 * i]);
  kb_end_carry(c->b, next);
}

static void copy_reduce(KCopy *c, const KStmt *s) {
  const uint32_t *p = c->k->pool + s->b;
  KE ext[K_MAX_LOOPS], var[K_MAX_LOOPS], init = kcopy_expr(c, s->a);
  for (uint32_t i = 0; i < p[0]; i++) ext[i] = kcopy_expr(c, p[2 + 2 * i]);
  kb_reduce_begin(c->b, (int)p[0], ext, var);
  for (uint32_t i = 0; i < p[0]; i++) c->var[p[1 + 2 * i]] = var[i];
  c->var[s->var] = kb_reduce_end(c->b, (SOp)s->op, init, kcopy_expr(c, s->c));
}

static void copy_contract(KCopy *c, uint32_t at) {
  const KStmt *s = &c->k->stmt[at];
  const uint32_t *par = c->k->pool + s->b, np = par[0], *red = par + 1 + 2 * np, nr = red[0];
  KE pe[K_MAX_LOOPS + K_MAX_RANK], pv[K_MAX_LOOPS + K_MAX_RANK], re[K_MAX_LOOPS], rv[K_MAX_LOOPS];
  int first[K_MAX_LOOPS], n = 0;
  for (uint32_t i = 0; i < np; i++) {
    first[i] = n;
    n += loops_of(c, par[1 + 2 * i], par[2 + 2 * i], pe + n);
    if (n > K_MAX_LOOPS) {
      kb_fail(c->b, "too many loops");
      return;
    }
  }
  for (uint32_t i = 0; i < nr; i++) re[i] = kcopy_expr(c, red[2 + 2 * i]);
  kb_contract_begin(c->b, n, pe, pv, (int)nr, re, rv);
  for (uint32_t i = 0; i < np; i++)
    kcopy_bind(c, par[1 + 2 * i], (i + 1 < np ? first[i + 1] : n) - first[i], pv + first[i]);
  for (uint32_t i = 0; i < nr; i++) c->var[red[1 + 2 * i]] = rv[i];
  KE x = kcopy_expr(c, red[1 + 2 * nr]), y = kcopy_expr(c, red[2 + 2 * nr]);
  c->var[s->var] = kb_contract_acc(c->b, (DType)s->dtype, x, y);
  kcopy_body(c, at + 1, s->end);
  if (c->end) c->end(c, at);
  kb_contract_end(c->b);
}

static void copy_store(KCopy *c, const KStmt *s) {
  KE at[K_MAX_RANK];
  kcopy_index(c, s->a, s->b, at);
  kb_store(c->b, c->buf[s->a], at, kcopy_expr(c, s->c));
}

static void copy_stmt(KCopy *c, uint32_t at) {
  const KStmt *s = &c->k->stmt[at];
  switch ((KStmtKind)s->kind) {
  case KS_For:
    if (s->b == KE_NONE)
      copy_for(c, at);
    else
      copy_carry(c, at);
    return;
  case KS_Let: c->var[s->var] = kb_let(c->b, kcopy_expr(c, s->a)); return;
  case KS_Store: copy_store(c, s); return;
  case KS_Reduce: copy_reduce(c, s); return;
  case KS_Contract: copy_contract(c, at); return;
  case KS_Check: kb_check(c->b, kcopy_expr(c, s->a), c->k->text + s->c); return;
  case KS_If:
    kb_if(c->b, kcopy_expr(c, s->a));
    kcopy_body(c, at + 1, s->end);
    kb_end(c->b);
    return;
  }
}

void kcopy_body(KCopy *c, uint32_t from, uint32_t to) {
  for (uint32_t s = from; s < to && kb_ok(c->b); s = c->k->stmt[s].end)
    if (!c->stmt || !c->stmt(c, s)) copy_stmt(c, s);
}
