/* idle.c -- loops in which nothing happens, because loops inside of them run no times
 * (kernel.h).  A tensor of 2^40 rows of no elements is legal and takes no memory; going
 * through its rows would take hours.                                            */
#include "kernel/visit.h"

typedef struct {
  const Kernel *k;
  const int64_t *sym;
  int pure; /* -1: not looked yet; can no node of the kernel fail? */
} Look;

static bool is_pure(Look *l) {
  if (l->pure < 0) {
    l->pure = 1;
    for (KE e = 0; e < l->k->n_nodes && l->pure; e++) l->pure = !kernel_traps(l->k, e);
  }
  return l->pure;
}

static bool runs_never(const Look *l, KE extent) {
  int64_t n;
  return kernel_size(l->k, extent, l->sym, &n) && n <= 0;
}

/* Of the loops at pool offset at: (n, (var, extent)*n). */
static bool one_never(const Look *l, uint32_t at) {
  const uint32_t *p = l->k->pool + at;
  for (uint32_t i = 0; i < p[0]; i++)
    if (runs_never(l, p[2 + 2 * i])) return true;
  return false;
}

/* Statements [from, to), whose variables nobody behind them sees. */
static bool body_idle(Look *l, uint32_t from, uint32_t to) {
  for (uint32_t at = from; at < to; at = l->k->stmt[at].end) {
    const KStmt *s = &l->k->stmt[at];
    bool idle = false;
    switch ((KStmtKind)s->kind) {
    case KS_Let:
    case KS_Reduce: idle = is_pure(l); break;
    case KS_If: idle = is_pure(l) && body_idle(l, at + 1, s->end); break;
    case KS_For:
      idle =
          runs_never(l, s->a) || ((s->b == KE_NONE || is_pure(l)) && body_idle(l, at + 1, s->end));
      break;
    case KS_Contract:
      idle = one_never(l, s->b) || (is_pure(l) && body_idle(l, at + 1, s->end));
      break;
    case KS_Store:
    case KS_Check: break;
    }
    if (!idle) return false;
  }
  return true;
}

bool kernel_idle(const Kernel *k, uint32_t at, const int64_t *sym) {
  const KStmt *s = &k->stmt[at];
  Look l = {k, sym, -1};
  if (s->kind == KS_For && s->b != KE_NONE) return runs_never(&l, s->a);
  return body_idle(&l, at, s->end);
}

bool kernel_sums_nothing(const Kernel *k, uint32_t at, const int64_t *sym) {
  const KStmt *s = &k->stmt[at];
  Look l = {k, sym, -1};
  return one_never(&l, s->kind == KS_Contract ? s->b + 1 + 2 * k->pool[s->b] : s->b);
}
