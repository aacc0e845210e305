/* visit.c -- see visit.h.  Trusts the kernel: only after verification, or on
 * parts that the verifier has already seen.                                  */
#include "kernel/visit.h"

KE kernel_operand(const Kernel *k, KE e, uint32_t i) {
  const KNode *n = &k->node[e];
  switch ((KNodeKind)n->kind) {
  case KN_Const:
  case KN_Sym:
  case KN_Var: return KE_NONE;
  case KN_Op:
    if (i >= (uint32_t)sop_info[n->op].arity) return KE_NONE;
    return i == 0 ? n->a : i == 1 ? n->b : n->c;
  case KN_Cast:
  case KN_Bits: return i == 0 ? n->a : KE_NONE;
  case KN_Load: return i < n->rank ? k->pool[n->b + i] : KE_NONE;
  case KN_LoadOr: return i < n->rank ? k->pool[n->b + i] : i == n->rank ? n->c : KE_NONE;
  }
  return KE_NONE;
}

/* Extents of n (var, extent) pairs at the pool, then what follows them. */
static KE pair_expr(const uint32_t *pairs, uint32_t n, uint32_t i) {
  return i < n ? pairs[2 * i + 1] : KE_NONE;
}

static KE for_expr(const Kernel *k, const KStmt *s, uint32_t i) {
  if (i == 0) return s->a;
  if (s->b == KE_NONE) return KE_NONE;
  uint32_t n = k->pool[s->b];
  if (i > 2 * n) return KE_NONE;
  return k->pool[s->b + 1 + 3 * ((i - 1) / 2) + 1 + (i - 1) % 2];
}

static KE reduce_expr(const Kernel *k, const KStmt *s, uint32_t i) {
  uint32_t n = k->pool[s->b];
  if (i < n) return pair_expr(k->pool + s->b + 1, n, i);
  return i == n ? s->a : i == n + 1 ? s->c : KE_NONE;
}

static KE contract_expr(const Kernel *k, const KStmt *s, uint32_t i) {
  const uint32_t *p = k->pool + s->b;
  uint32_t np = p[0], nr = p[1 + 2 * np];
  if (i < np) return pair_expr(p + 1, np, i);
  if (i < np + nr) return pair_expr(p + 2 + 2 * np, nr, i - np);
  return i < np + nr + 2 ? p[2 + 2 * np + 2 * nr + (i - np - nr)] : KE_NONE;
}

KE kernel_stmt_expr(const Kernel *k, uint32_t s, uint32_t i) {
  const KStmt *t = &k->stmt[s];
  switch ((KStmtKind)t->kind) {
  case KS_For: return for_expr(k, t, i);
  case KS_Let:
  case KS_Check:
  case KS_If: return i == 0 ? t->a : KE_NONE;
  case KS_Store: {
    uint32_t rank = k->buf[t->a].rank;
    return i < rank ? k->pool[t->b + i] : i == rank ? t->c : KE_NONE;
  }
  case KS_Reduce: return reduce_expr(k, t, i);
  case KS_Contract: return contract_expr(k, t, i);
  }
  return KE_NONE;
}

uint32_t kernel_only_store(const Kernel *k, uint32_t u) {
  uint32_t at = KE_NONE;
  for (uint32_t s = 0; s < k->n_stmts; s++) {
    if (k->stmt[s].kind != KS_Store || k->stmt[s].a != u) continue;
    if (at != KE_NONE) return KE_NONE;
    at = s;
  }
  for (KE e = 0; e < k->n_nodes; e++)
    if ((k->node[e].kind == KN_Load || k->node[e].kind == KN_LoadOr) && k->node[e].a == u)
      return KE_NONE;
  return at;
}

bool kernel_traps(const Kernel *k, KE e) {
  const KNode *n = &k->node[e];
  if (n->kind != KN_Op || dtype_is_float((DType)k->node[n->a].dtype)) return false;
  switch ((int)n->op) {
  case S_div:
  case S_fdiv:
  case S_mod:
  case S_fmod:
  case S_shl:
  case S_shr:
  case S_pow: break;
  default: return false;
  }
  const KNode *by = &k->node[n->b];
  uint64_t bits = (uint64_t)dtype_bytes((DType)n->dtype) * 8;
  bool shift = n->op == S_shl || n->op == S_shr;
  return by->kind != KN_Const || (shift ? by->bits >= bits : by->bits == 0 || n->op == S_pow);
}
