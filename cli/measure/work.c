/* work.c -- counting what a kernel computes, by walking its statements.       */
#include "cli/measure/work.h"
#include "kernel/visit.h"

typedef struct {
  const Kernel *k;
  const int64_t *sym;
  bool *seen; /* nodes of the statement at hand        */
} Count;

static double trips(const Count *c, KE extent) {
  int64_t v;
  return kernel_size(c->k, extent, c->sym, &v) && v > 0 ? (double)v : 0;
}
static double trips_of(const Count *c, const uint32_t *pairs, uint32_t n) {
  double all = 1;
  for (uint32_t i = 0; i < n; i++) all *= trips(c, pairs[2 * (size_t)i + 1]);
  return all;
}

/* Float operations below e that have not been counted.  Operands come before
 * users, so marking what is used goes down the array once. */
static double ops_of(Count *c, KE e) {
  double sum = 0;
  if (e == KE_NONE) return 0;
  memset(c->seen, 0, c->k->n_nodes);
  c->seen[e] = true;
  for (KE n = e + 1; n-- > 0;) {
    if (!c->seen[n]) continue;
    const KNode *node = &c->k->node[n];
    sum += node->kind == KN_Op && dtype_is_float((DType)node->dtype);
    KE x;
    for (uint32_t i = 0; (x = kernel_operand(c->k, n, i)) != KE_NONE; i++) c->seen[x] = true;
  }
  return sum;
}

/* Of statement `at` itself, once; *body: how often its body runs. */
static double stmt_flops(Count *c, uint32_t at, double *body) {
  const KStmt *s = &c->k->stmt[at];
  const uint32_t *p = c->k->pool + (s->b == KE_NONE ? 0 : s->b);
  bool is_float = dtype_is_float((DType)s->dtype);
  double sum = 0;
  *body = 1;
  switch ((KStmtKind)s->kind) {
  case KS_For:
    *body = trips(c, s->a);
    for (uint32_t i = 0; s->b != KE_NONE && i < p[0]; i++)
      sum += *body * ops_of(c, p[3 + 3 * (size_t)i]);
    return sum;
  case KS_Reduce: return trips_of(c, p + 1, p[0]) * (is_float + ops_of(c, s->c));
  case KS_Contract: {
    const uint32_t *red = p + 1 + 2 * (size_t)p[0];
    *body = trips_of(c, p + 1, p[0]);
    return 2 * is_float * *body * trips_of(c, red + 1, red[0]);
  }
  case KS_Let:
  case KS_Store:
  case KS_Check:
  case KS_If: break;
  }
  KE e;
  for (uint32_t i = 0; (e = kernel_stmt_expr(c->k, at, i)) != KE_NONE; i++) sum += ops_of(c, e);
  return sum;
}

Work kernel_work(const Kernel *k, const int64_t *sym, bool *marks) {
  Count c = {k, sym, marks};
  struct {
    uint32_t end;
    double times;
  } body[K_MAX_LOOPS + 1] = {{k->n_stmts, 1}};
  Work w = {0};
  int depth = 0;
  double inside;
  for (uint32_t s = 0; s < k->n_stmts; s++) {
    while (depth > 0 && body[depth].end <= s) depth--;
    w.flops += body[depth].times * stmt_flops(&c, s, &inside);
    if (k->stmt[s].end == s + 1 || depth == K_MAX_LOOPS) continue;
    depth++;
    body[depth].end = k->stmt[s].end;
    body[depth].times = body[depth - 1].times * inside;
  }
  for (uint32_t b = 0; b < k->n_params; b++) {
    int64_t n;
    if (kernel_buf_count(k, b, sym, &n)) w.bytes += (double)n * dtype_bytes((DType)k->buf[b].dtype);
  }
  return w;
}
