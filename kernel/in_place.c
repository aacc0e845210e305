/* in_place.c -- may an output lie in the memory of an input that dies?
 *
 * It may when the kernel makes each element of the output once, from what stands
 * in its place: every load of the input is at the position of the one store, and
 * is evaluated before it in the same iteration.  Engines run iterations in
 * strips, tiles and on threads, but the statements of one in order.           */
#include "kernel/visit.h"

typedef struct {
  const Kernel *k;
  uint32_t in, out, store; /* store: the statement                              */
  uint8_t *reads;          /* per node: a load of the input is below            */
} InPlace;

static bool same_number(const Kernel *k, KE a, KE b) {
  const KNode *x = &k->node[a], *y = &k->node[b];
  if (a == b) return true;
  if (x->kind != y->kind) return false;
  return x->kind == KN_Const ? x->bits == y->bits
                             : (x->kind == KN_Var || x->kind == KN_Sym) && x->a == y->a;
}

static bool is_one(const Kernel *k, KE e) {
  return k->node[e].kind == KN_Const && k->node[e].bits == 1;
}

/* The next axis from d on that is longer than 1. */
static int next_axis(const Kernel *k, const KBuf *u, int d) {
  while (d < u->rank && is_one(k, u->dim[d])) d++;
  return d;
}

/* Is a load of the input at the place of the store? */
static bool same_place(const InPlace *p, const KNode *load) {
  const Kernel *k = p->k;
  const KBuf *x = &k->buf[p->in], *y = &k->buf[p->out];
  const uint32_t *i = k->pool + load->b, *j = k->pool + k->stmt[p->store].b;
  int a = next_axis(k, x, 0), b = next_axis(k, y, 0);
  while (a < x->rank && b < y->rank) {
    if (!same_number(k, i[a], j[b]) || !same_number(k, x->dim[a], y->dim[b])) return false;
    a = next_axis(k, x, a + 1);
    b = next_axis(k, y, b + 1);
  }
  return a == x->rank && b == y->rank;
}

static bool is_index(const InPlace *p, uint32_t var) {
  const Kernel *k = p->k;
  const KStmt *s = &k->stmt[p->store];
  for (int d = 0; d < k->buf[p->out].rank; d++) {
    const KNode *n = &k->node[k->pool[s->b + (uint32_t)d]];
    if (n->kind == KN_Var && n->a == var) return true;
  }
  return false;
}

/* Loops over n (var, extent) pairs around the store: each is an index, so that no
 * element is stored twice; *found counts them. */
static bool loops_are_indices(const InPlace *p, const uint32_t *pair, uint32_t n, uint32_t *found) {
  for (uint32_t i = 0; i < n; i++) {
    if (is_index(p, pair[2 * i]))
      ++*found;
    else if (!is_one(p->k, pair[2 * i + 1]))
      return false;
  }
  return true;
}

/* Does each run of the store have an element of its own? */
static bool stores_apart(const InPlace *p) {
  const Kernel *k = p->k;
  uint32_t loops = 0, axes = 0;
  for (uint32_t s = 0; s < p->store; s++) {
    const KStmt *t = &k->stmt[s];
    const uint32_t one[2] = {t->var, t->a}, *pool = k->pool + t->b;
    if (t->end <= p->store) continue;
    if (t->kind == KS_For && !loops_are_indices(p, one, 1, &loops)) return false;
    if (t->kind == KS_Contract && !loops_are_indices(p, pool + 1, pool[0], &loops)) return false;
  }
  const KBuf *y = &k->buf[p->out];
  for (int d = 0; d < y->rank; d++) axes += !is_one(k, y->dim[d]);
  return loops >= axes; /* every axis that is longer than 1 has a loop          */
}

/* Marks what reads the input; false: elsewhere than at the store. */
static bool mark_reads(InPlace *p) {
  const Kernel *k = p->k;
  for (KE e = 0; e < k->n_nodes; e++) {
    const KNode *n = &k->node[e];
    bool load = n->kind == KN_Load || n->kind == KN_LoadOr, reads = load && n->a == p->in;
    if (reads && (n->kind == KN_LoadOr || !same_place(p, n))) return false;
    for (uint32_t i = 0; !reads && kernel_operand(k, e, i) != KE_NONE; i++)
      reads = p->reads[kernel_operand(k, e, i)];
    p->reads[e] = reads;
  }
  return true;
}

/* Only before the store, and not where a loop or a contraction evaluates it. */
static bool reads_in_time(const InPlace *p) {
  const Kernel *k = p->k;
  for (uint32_t s = 0; s < k->n_stmts; s++) {
    KStmtKind kind = (KStmtKind)k->stmt[s].kind;
    bool late = s > p->store || kind == KS_For || kind == KS_Contract;
    for (uint32_t i = 0; late && kernel_stmt_expr(k, s, i) != KE_NONE; i++)
      if (p->reads[kernel_stmt_expr(k, s, i)]) return false;
  }
  return true;
}

bool kernel_in_place(const Kernel *k, uint32_t in, uint32_t out, KAlloc a, bool *yes) {
  InPlace p = {.k = k, .in = in, .out = out, .store = kernel_only_store(k, out)};
  const KBuf *x = &k->buf[in], *y = &k->buf[out];
  *yes = false;
  if (x->role != K_IN || y->role != K_OUT || x->dtype != y->dtype || x->rank == 0) return true;
  if (y->rank == 0 || p.store == KE_NONE || !stores_apart(&p)) return true;
  p.reads = a.fn(a.user, NULL, 0, k->n_nodes + 1);
  if (!p.reads) return false;
  *yes = mark_reads(&p) && reads_in_time(&p);
  a.fn(a.user, p.reads, k->n_nodes + 1, 0);
  return true;
}
