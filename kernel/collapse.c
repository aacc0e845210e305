/* collapse.c -- adjacent parallel loops as one (kernel/fuse.h).
 *
 * Loops i and j, j all of i's body, are one loop when i and j only stand as
 * indices of neighbouring axes, the second of j's extent, or as i * n + j.  Then
 * those axes are one axis of their buffers, everywhere.  One pair at a time,
 * until there is none: the inner loops that are left are as long as they get.  */
#include "kernel/build_priv.h"
#include "kernel/fuse.h"
#include "kernel/fuse_copy.h"
#include "kernel/visit.h"

typedef struct {
  const Kernel *k;
  uint32_t at;   /* the outer loop's statement     */
  uint32_t i, j; /* variables                      */
  KE extent;     /* of j                           */
  uint16_t axis[K_MAX_BUFS];
  bool ok;
} Pair;

static bool is_var(const Pair *p, KE e, uint32_t v) {
  return p->k->node[e].kind == KN_Var && p->k->node[e].a == v;
}
static bool is_either(const Pair *p, KE e) { return is_var(p, e, p->i) || is_var(p, e, p->j); }

/* i * n */
static bool is_scaled(const Pair *p, KE e) {
  const KNode *n = &p->k->node[e];
  return n->kind == KN_Op && n->op == S_mul && is_var(p, n->a, p->i) && n->b == p->extent;
}

/* The indices of one access. */
static void look_at_access(Pair *p, uint32_t buf, uint32_t pool) {
  const KBuf *u = &p->k->buf[buf];
  const uint32_t *at = p->k->pool + pool;
  for (int d = 0; d < u->rank; d++) {
    if (!is_either(p, at[d])) continue;
    bool two = is_var(p, at[d], p->i) && d + 1 < u->rank && is_var(p, at[d + 1], p->j);
    if (!two || u->dim[d + 1] != p->extent) {
      p->ok = false;
      return;
    }
    p->axis[buf] |= (uint16_t)(1u << d++);
  }
}

static void look_at_node(Pair *p, KE e) {
  const KNode *n = &p->k->node[e];
  if (n->kind == KN_Load || n->kind == KN_LoadOr) {
    look_at_access(p, n->a, n->b);
    p->ok &= n->kind == KN_Load || !is_either(p, n->c);
    return;
  }
  if (is_scaled(p, e)) return; /* who uses it is looked at           */
  for (uint32_t i = 0;; i++) {
    KE x = kernel_operand(p->k, e, i);
    if (x == KE_NONE) return;
    if (!is_either(p, x) && !is_scaled(p, x)) continue;
    bool radix = n->kind == KN_Op && n->op == S_add && is_scaled(p, n->a) && is_var(p, n->b, p->j);
    if (!radix) p->ok = false;
  }
}

static void look_at_stmt(Pair *p, uint32_t s) {
  const KStmt *st = &p->k->stmt[s];
  if (st->kind == KS_Store) look_at_access(p, st->a, st->b);
  for (uint32_t i = 0;; i++) {
    KE e = kernel_stmt_expr(p->k, s, i);
    if (e == KE_NONE) return;
    bool index = st->kind == KS_Store && i < p->k->buf[st->a].rank;
    if (!index && (is_either(p, e) || is_scaled(p, e))) p->ok = false;
    if (index && is_scaled(p, e)) p->ok = false;
  }
}

/* Carried initial and next values are expressions of their statement too, so
 * one look at every node and statement sees every use. */
static bool uses_allow(Pair *p) {
  const Kernel *k = p->k;
  p->ok = true;
  for (KE e = 0; e < k->n_nodes && p->ok; e++) look_at_node(p, e);
  for (uint32_t s = 0; s < k->n_stmts && p->ok; s++) look_at_stmt(p, s);
  /* An index that may be outside is outside by its axis; three axes in a row
   * would need both pairs at once. */
  for (KE e = 0; e < k->n_nodes && p->ok; e++)
    if (k->node[e].kind == KN_LoadOr && p->axis[k->node[e].a]) p->ok = false;
  for (uint32_t u = 0; u < k->n_bufs; u++)
    if (p->axis[u] & p->axis[u] >> 1) p->ok = false;
  return p->ok;
}

static bool is_parallel(const KStmt *s) {
  return s->kind == KS_For && s->op == K_PARALLEL && s->b == KE_NONE;
}

static bool find_pair(const Kernel *k, Pair *p) {
  for (uint32_t s = 0; s + 1 < k->n_stmts; s++) {
    const KStmt *o = &k->stmt[s], *in = o + 1;
    if (!is_parallel(o) || !is_parallel(in) || in->end != o->end) continue;
    *p = (Pair){.k = k, .at = s, .i = o->var, .j = in->var, .extent = in->a};
    if (uses_allow(p)) return true;
  }
  return false;
}

static bool has_unit_loop(const Kernel *k) {
  for (uint32_t s = 0; s < k->n_stmts; s++) {
    const KNode *n = &k->node[k->stmt[s].a < k->n_nodes ? k->stmt[s].a : 0];
    if (is_parallel(&k->stmt[s]) && n->kind == KN_Const && n->bits == 1) return true;
  }
  return false;
}

/* k with p's loops as one; p NULL: k without loops of extent 1. */
static Kernel *rebuild(const Kernel *k, const Pair *p, KAlloc a) {
  KB *b = kb_new(a, k->text + k->name);
  KCopy c;
  Kernel *out = NULL;
  if (!kcopy_open(&c, b, k, a)) {
    kb_drop(b);
    return NULL;
  }
  if (p) c.join[0] = p->i, c.join[1] = p->j;
  if (p) memcpy(c.join_axis, p->axis, sizeof p->axis);
  kcopy_declare(&c);
  kcopy_body(&c, 0, k->n_stmts);
  out = kb_done(b);
  if (!out) kb_drop(b);
  kcopy_close(&c);
  return out;
}

Kernel *kernel_collapse(const Kernel *k, KAlloc a) {
  Pair p;
  Kernel *now = has_unit_loop(k) ? rebuild(k, NULL, a) : NULL;
  bool failed = kernel_may_fail(k, a);
  while (find_pair(now ? now : k, &p)) {
    Kernel *next = rebuild(now ? now : k, &p, a);
    if (next && !failed && kernel_may_fail(next, a)) {
      kernel_free(next, a); /* what was proved must stay so */
      next = NULL;
    }
    if (!next) break;
    if (now) kernel_free(now, a);
    now = next;
  }
  return now;
}
