/* keep.c -- values of a row that several loops need, computed once (kernel/fuse.h).
 *
 *   let r0 = reduce add (j in n) { exp(x[i, j]) }       for j in n { y[i, j] = exp(x[i, j]) }
 *   for k in n { y[i, k] = exp(x[i, k]) / r0 }    =>    let r0 = reduce add (j in n) { y[i, j] }
 *                                                       for k in n { y[i, k] = y[i, k] / r0 }
 *
 * A reduction and loops behind it in the same body run over the same extent, and a
 * dear expression of the reduction's variable stands in all of them with the
 * variable of each.  The last of the loops stores one element of an output of that
 * dtype per value: until then the output has room for the values.  One expression
 * at a time, until there is none: a second one may take the place of the first
 * (softmax of a dear map), if nothing else reads that any more.               */
#include "kernel/build_priv.h"
#include "kernel/fuse.h"
#include "kernel/fuse_part.h"
#include "kernel/visit.h"

enum { DEAR = 15, MOST_ROUNDS = 4, MOST_SIBLINGS = 8 };

typedef struct {
  const Kernel *k;
  KAlloc a;
  uint32_t first;                                      /* the reduction's statement          */
  uint32_t n, stmt[MOST_SIBLINGS], var[MOST_SIBLINGS]; /* it and the loops behind it     */
  KE *image[MOST_SIBLINGS];                            /* per node: what it is with that variable */
  KE *image_room;
  uint8_t *mark, *stop;           /* per node                           */
  KE value;                       /* what is kept, in the first loop    */
  uint32_t n_uses, last, buf, at; /* at: pool offset of the output's indices */
  KE j;                           /* in the loop being made: its variable */
  bool making;
} Keep;

/* ---- marks ------------------------------------------------------------------------- */
static void mark_below(Keep *p) {
  for (KE e = p->k->n_nodes; e-- > 0;) {
    if (!p->mark[e] || p->stop[e]) continue;
    KE x;
    for (uint32_t i = 0; (x = kernel_operand(p->k, e, i)) != KE_NONE; i++) p->mark[x] = 1;
  }
}

/* The nodes that statements [from, to) use, not looking below those in stop. */
static void mark_used(Keep *p, uint32_t from, uint32_t to) {
  memset(p->mark, 0, p->k->n_nodes);
  for (uint32_t s = from; s < to; s++) {
    KE e;
    for (uint32_t i = 0; (e = kernel_stmt_expr(p->k, s, i)) != KE_NONE; i++) p->mark[e] = 1;
  }
  mark_below(p);
}

static void mark_under(Keep *p, KE root) {
  memset(p->mark, 0, p->k->n_nodes);
  p->mark[root] = 1;
  mark_below(p);
}

/* ---- the loops ----------------------------------------------------------------------- */
/* The variable and extent of a loop that runs over a row. */
static bool row_loop(const Kernel *k, uint32_t s, uint32_t *var, KE *extent) {
  const KStmt *st = &k->stmt[s];
  if (st->kind == KS_Reduce && k->pool[st->b] == 1) {
    *var = k->pool[st->b + 1], *extent = k->pool[st->b + 2];
    return true;
  }
  *var = st->var, *extent = st->a;
  return st->kind == KS_For && st->op == K_PARALLEL && st->b == KE_NONE;
}

static KE same_node(const Kernel *k, const KNode *n, const KE *op, uint32_t n_op, KE after) {
  for (KE e = after; e < k->n_nodes; e++) {
    const KNode *m = &k->node[e];
    if (m->kind != n->kind || m->op != n->op || m->dtype != n->dtype || m->rank != n->rank)
      continue;
    bool load = n->kind == KN_Load || n->kind == KN_LoadOr;
    if (load && m->a != n->a) continue;
    uint32_t i = 0;
    while (i < n_op && kernel_operand(k, e, i) == op[i]) i++;
    if (i == n_op) return e;
  }
  return KE_NONE;
}

static KE var_node(const Kernel *k, uint32_t var) {
  for (KE e = 0; e < k->n_nodes; e++)
    if (k->node[e].kind == KN_Var && k->node[e].a == var) return e;
  return KE_NONE;
}

static KE image_of(Keep *p, KE e, const KE *image, uint32_t from, uint32_t to) {
  const KNode *n = &p->k->node[e];
  KE op[K_MAX_RANK + 1], x, after = 0;
  uint32_t n_op = 0;
  bool same = true;
  if (n->kind == KN_Var) return n->a == from ? var_node(p->k, to) : e;
  for (; (x = kernel_operand(p->k, e, n_op)) != KE_NONE; n_op++) {
    op[n_op] = image[x];
    if (image[x] == KE_NONE) return KE_NONE;
    same &= image[x] == x;
    if (image[x] >= after) after = image[x] + 1;
  }
  return same ? e : same_node(p->k, n, op, n_op, after);
}

/* For the nodes below the reduction's value. */
static void make_image(Keep *p, uint32_t i) {
  KE root = p->k->stmt[p->first].c;
  mark_under(p, root);
  for (KE e = 0; e <= root; e++)
    p->image[i][e] = p->mark[e] ? image_of(p, e, p->image[i], p->var[0], p->var[i]) : KE_NONE;
}

/* The reduction at s and the loops of its extent behind it. */
static bool siblings(Keep *p, uint32_t s) {
  const Kernel *k = p->k;
  uint32_t body = part_body_of(k, s), to = body == KE_NONE ? k->n_stmts : k->stmt[body].end;
  KE extent, other;
  p->first = s, p->n = 0;
  memset(p->stop, 0, k->n_nodes);
  if (k->stmt[s].kind != KS_Reduce || !row_loop(k, s, &p->var[0], &extent)) return false;
  for (uint32_t at = s; at < to && p->n < MOST_SIBLINGS; at = k->stmt[at].end) {
    uint32_t var;
    if (!row_loop(k, at, &var, &other) || other != extent) continue;
    p->stmt[p->n] = at, p->var[p->n] = var;
    p->image[p->n] = p->image_room + (size_t)p->n * k->n_nodes;
    p->n++;
  }
  for (uint32_t i = 0; i < p->n; i++) make_image(p, i);
  return p->n > 1;
}

/* ---- where the values may stand ------------------------------------------------------- */
/* Are the indices those of the loops round the row and the row's, each once? */
static bool own_element(const Keep *p, const KStmt *store, uint32_t var) {
  const Kernel *k = p->k;
  uint32_t vars[K_MAX_LOOPS + 1] = {var}, n = 1, seen = 0;
  for (uint32_t s = 0; s < p->first; s++) {
    const KStmt *t = &k->stmt[s];
    if (t->end <= p->first) continue;
    if (t->kind != KS_For || t->b != KE_NONE || n > K_MAX_LOOPS) return false;
    vars[n++] = t->var;
  }
  for (int d = 0; d < k->buf[store->a].rank; d++) {
    const KNode *e = &k->node[k->pool[store->b + (uint32_t)d]];
    uint32_t i = 0;
    if (e->kind == KN_Const) continue;
    while (i < n && vars[i] != e->a) i++;
    if (e->kind != KN_Var || i == n || seen >> i & 1) return false;
    seen |= 1u << i;
  }
  return seen == (1u << n) - 1;
}

/* Is buffer u stored once from the reduction on, and read there by nothing but what
 * stands below the values?  Those are in stop. */
static bool is_free(Keep *p, uint32_t u, uint32_t to) {
  const Kernel *k = p->k;
  int stores = 0;
  for (uint32_t s = p->first; s < to; s++)
    stores += k->stmt[s].kind == KS_Store && k->stmt[s].a == u;
  mark_used(p, p->first, to);
  for (KE e = 0; e < k->n_nodes; e++) {
    bool load = k->node[e].kind == KN_Load || k->node[e].kind == KN_LoadOr;
    if (load && p->mark[e] && !p->stop[e] && k->node[e].a == u) return false;
  }
  return stores == 1;
}

/* What the value reads: inputs, and of the output u itself only its own element. */
static bool reads_allow(Keep *p, uint32_t u, uint32_t at, uint32_t row) {
  const Kernel *k = p->k;
  memset(p->stop, 0, k->n_nodes);
  mark_under(p, p->value);
  for (KE e = 0; e <= p->value; e++) {
    const KNode *n = &k->node[e];
    if (!p->mark[e] || (n->kind != KN_Load && n->kind != KN_LoadOr)) continue;
    if (k->buf[n->a].role == K_IN) continue;
    if (n->a != u || n->kind != KN_Load) return false;
    for (int d = 0; d < n->rank; d++) {
      KE is = k->pool[n->b + (uint32_t)d], want = k->pool[at + (uint32_t)d];
      const KNode *w = &k->node[want];
      bool along = w->kind == KN_Var && w->a == row;
      if (along ? k->node[is].kind != KN_Var || k->node[is].a != p->var[0] : is != want)
        return false;
    }
  }
  return true;
}

static bool find_room(Keep *p) {
  const Kernel *k = p->k;
  uint32_t loop = p->stmt[p->last], end = k->stmt[loop].end, store = end - 1;
  uint32_t body = part_body_of(k, loop), to = body == KE_NONE ? k->n_stmts : k->stmt[body].end;
  const KStmt *st = &k->stmt[store];
  if (k->stmt[loop].kind != KS_For || store <= loop || st->kind != KS_Store) return false;
  if (part_body_of(k, store) != loop || k->buf[st->a].role != K_OUT) return false;
  if (k->buf[st->a].dtype != k->node[p->value].dtype) return false;
  if (!own_element(p, st, p->var[p->last]) || !reads_allow(p, st->a, st->b, p->var[p->last]))
    return false;
  for (uint32_t i = 0; i < p->n; i++)
    if (p->image[i][p->value] != KE_NONE) p->stop[p->image[i][p->value]] = 1;
  p->buf = st->a, p->at = st->b;
  return is_free(p, st->a, to);
}

/* ---- what is worth it -------------------------------------------------------------------- */
static int cost_below(Keep *p, KE root) {
  int cost = 0;
  memset(p->stop, 0, p->k->n_nodes);
  mark_under(p, root);
  for (KE e = 0; e <= root; e++)
    if (p->mark[e] && p->k->node[e].kind == KN_Op && dtype_is_float((DType)p->k->node[e].dtype))
      cost += part_op_cost((SOp)p->k->node[e].op);
  return cost;
}

/* The loops that use the value. */
static void count_uses(Keep *p) {
  memset(p->stop, 0, p->k->n_nodes);
  p->n_uses = 0;
  for (uint32_t i = 0; i < p->n; i++) {
    KE e = p->image[i][p->value];
    if (e == KE_NONE) continue;
    mark_used(p, p->stmt[i], p->k->stmt[p->stmt[i]].end);
    if (!p->mark[e]) continue;
    p->n_uses++, p->last = i;
  }
}

static bool is_candidate(Keep *p, KE e) {
  const KNode *n = &p->k->node[e];
  if (n->kind != KN_Op || !dtype_is_float((DType)n->dtype)) return false;
  if (p->image[1][e] == e) return false; /* the same all along the row */
  p->value = e;
  if (cost_below(p, e) < DEAR) return false;
  count_uses(p);
  return p->n_uses > 1 && find_room(p);
}

static bool find_value(Keep *p) {
  for (uint32_t s = 0; s < p->k->n_stmts; s++) {
    if (!siblings(p, s)) continue;
    for (KE e = p->k->stmt[s].c + 1; e-- > 0;) {
      memset(p->stop, 0, p->k->n_nodes);
      mark_under(p, p->k->stmt[s].c);
      if (p->mark[e] && is_candidate(p, e)) return true;
    }
  }
  return false;
}

/* ---- the kernel anew ------------------------------------------------------------------------ */
/* The element of the value where the row's variable is j.  This runs inside
 * kcopy_expr, which is not to be entered again: indices are variables or numbers. */
static void element(Keep *p, KCopy *c, KE j, KE *at) {
  uint32_t row = p->var[p->last];
  for (int d = 0; d < p->k->buf[p->buf].rank; d++) {
    const KNode *n = &p->k->node[p->k->pool[p->at + (uint32_t)d]];
    if (n->kind == KN_Const)
      at[d] = kb_int(c->b, (int64_t)n->bits);
    else
      at[d] = n->a == row ? j : c->var[n->a];
  }
}

static KE load_value(KCopy *c, KE e) {
  Keep *p = c->ud;
  KE at[K_MAX_RANK];
  for (uint32_t i = 0; !p->making && i < p->n; i++) {
    if (p->image[i][p->value] != e) continue;
    element(p, c, c->var[p->var[i]], at);
    return kb_load(c->b, c->buf[p->buf], at);
  }
  return KE_NONE;
}

static bool make_values(KCopy *c, uint32_t s) {
  Keep *p = c->ud;
  KE at[K_MAX_RANK];
  if (s != p->first) return false;
  p->making = true;
  KE j = kb_for(c->b, kcopy_expr(c, p->k->pool[p->k->stmt[s].b + 2]), K_PARALLEL);
  c->var[p->var[0]] = j;
  KE value = kcopy_expr(c, p->value);
  element(p, c, j, at);
  kb_store(c->b, c->buf[p->buf], at, value);
  kb_end(c->b);
  kcopy_forget_nodes(c);
  p->making = false;
  return false; /* the reduction itself follows */
}

static Kernel *rebuild(Keep *p) {
  KB *b = kb_new(p->a, p->k->text + p->k->name);
  KCopy c;
  Kernel *out = NULL;
  if (b && kcopy_open(&c, b, p->k, p->a)) {
    kcopy_declare(&c);
    c.ud = p, c.stmt = make_values, c.node_as = load_value;
    kcopy_body(&c, 0, p->k->n_stmts);
    kcopy_close(&c);
    out = kb_done(b);
  }
  if (!out) kb_drop(b);
  return out;
}

static bool has_dear(const Kernel *k) {
  for (KE e = 0; e < k->n_nodes; e++)
    if (k->node[e].kind == KN_Op && part_op_cost((SOp)k->node[e].op) >= DEAR) return true;
  return false;
}

/* One expression of k kept, as a new kernel. */
static Kernel *keep_one(const Kernel *k, KAlloc a) {
  Keep p = {.k = k, .a = a};
  size_t n = k->n_nodes + 1, bytes = n * MOST_SIBLINGS * sizeof(KE) + 2 * n;
  p.image_room = a.fn(a.user, NULL, 0, bytes);
  if (!p.image_room) return NULL;
  p.mark = (uint8_t *)(p.image_room + n * MOST_SIBLINGS), p.stop = p.mark + n;
  memset(p.stop, 0, n);
  Kernel *out = find_value(&p) ? rebuild(&p) : NULL;
  a.fn(a.user, p.image_room, bytes, 0);
  return out;
}

Kernel *kernel_keep(const Kernel *k, KAlloc a) {
  Kernel *now = NULL, *next;
  if (!has_dear(k)) return NULL;
  bool failed = kernel_may_fail(k, a);
  for (int round = 0; round < MOST_ROUNDS && (next = keep_one(now ? now : k, a)); round++) {
    if (!failed && kernel_may_fail(next, a)) { /* what was proved must stay so */
      kernel_free(next, a);
      break;
    }
    if (now) kernel_free(now, a);
    now = next;
  }
  return now;
}
