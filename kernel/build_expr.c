/* build_expr.c -- the builder's expressions: one node per distinct expression
 * (hash-consing), constants folded, integer identities applied.
 *
 * Floats are left alone but for changes of sign: no value-changing algebra.  */
#include "kernel/build_priv.h"
#include "kernel/interp.h"

/* ---- hash-consing ----------------------------------------------------------- */
static bool has_index(const KNode *n) { return n->kind == KN_Load || n->kind == KN_LoadOr; }

static uint32_t mix(uint64_t h) {
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdu;
  h ^= h >> 29;
  return (uint32_t)h;
}

static uint32_t node_hash(const KNode *n, const KE *index) {
  uint64_t h = n->kind | (uint64_t)n->op << 8 | (uint64_t)n->dtype << 16;
  h = mix(h * 31 + n->a) + h * 7;
  if (!has_index(n)) h = mix(h * 31 + n->b) + h * 7;
  h = mix(h * 31 + n->c) + h * 7;
  h = mix(h + n->bits) + h * 7;
  for (int i = 0; has_index(n) && i < n->rank; i++) h = mix(h * 31 + index[i]) + h * 7;
  return mix(h);
}

static bool node_same(const KB *b, const KNode *old, const KNode *n, const KE *index) {
  if (old->kind != n->kind || old->op != n->op || old->dtype != n->dtype || old->a != n->a ||
      old->c != n->c || old->bits != n->bits)
    return false;
  if (!has_index(n)) return old->b == n->b;
  for (int i = 0; i < n->rank; i++)
    if (b->k.pool[old->b + (uint32_t)i] != index[i]) return false;
  return true;
}

/* The slot of an equal node, or the free one where it belongs. */
static uint32_t *find_slot(KB *b, const KNode *n, const KE *index) {
  for (uint32_t i = node_hash(n, index);; i++) {
    uint32_t *s = &b->slot[i & (b->n_slots - 1)];
    if (!*s || node_same(b, &b->k.node[*s - 1], n, index)) return s;
  }
}

static bool grow_slots(KB *b) {
  if (b->used_slots * 2 < b->n_slots) return true;
  uint32_t *old = b->slot, n_old = b->n_slots, n = n_old ? n_old * 2 : 64;
  uint32_t *fresh = b->a.fn(b->a.user, NULL, 0, n * sizeof *fresh);
  if (!fresh) return kb_fail(b, "out of memory");
  memset(fresh, 0, n * sizeof *fresh);
  b->slot = fresh;
  b->n_slots = n;
  for (uint32_t i = 0; i < b->k.n_nodes; i++) {
    const KNode *m = &b->k.node[i];
    *find_slot(b, m, has_index(m) && b->k.pool ? b->k.pool + m->b : NULL) = i + 1;
  }
  if (old) b->a.fn(b->a.user, old, n_old * sizeof *old, 0);
  return true;
}

KE kb_node(KB *b, KNode n, const KE *index) {
  if (!kb_ok(b) || !grow_slots(b)) return KE_NONE;
  uint32_t *s = find_slot(b, &n, index);
  if (*s) return *s - 1;
  if (!kb_room(b, (void **)&b->k.node, &b->cap_nodes, b->k.n_nodes, 1, sizeof n)) return KE_NONE;
  if (has_index(&n)) {
    n.b = kb_pool(b, n.rank);
    if (!kb_ok(b)) return KE_NONE;
    for (int i = 0; i < n.rank; i++) b->k.pool[n.b + (uint32_t)i] = index[i];
  }
  b->k.node[b->k.n_nodes] = n;
  b->used_slots++;
  return (*s = ++b->k.n_nodes) - 1;
}

bool kb_is_node(KB *b, KE e) {
  if (!kb_ok(b)) return false;
  return e < b->k.n_nodes || kb_fail(b, "an operand is missing");
}

/* ---- constants -------------------------------------------------------------- */
DType kb_type(const KB *b, KE e) {
  return kb_ok(b) && e < b->k.n_nodes ? (DType)b->k.node[e].dtype : DT_i64;
}

KE kb_bits_const(KB *b, DType t, uint64_t bits) {
  if (!kb_ok(b)) return KE_NONE;
  if ((unsigned)t >= DT_COUNT) {
    kb_fail(b, "no such dtype");
    return KE_NONE;
  }
  if (!dtype_is_float(t))
    bits = (uint64_t)wrap_int((int64_t)bits, t);
  else if (t != DT_f64)
    bits &= UINT64_MAX >> (64 - 8 * dtype_bytes(t));
  KNode n = {KN_Const, 0, (uint8_t)t, 0, KE_NONE, KE_NONE, KE_NONE, bits};
  return kb_node(b, n, NULL);
}

KE kb_num(KB *b, DType t, int64_t v) {
  return kb_bits_const(b, t, scalar_cast((uint64_t)v, DT_i64, t));
}
KE kb_int(KB *b, int64_t v) { return kb_num(b, DT_i64, v); }
KE kb_bool(KB *b, bool v) { return kb_bits_const(b, DT_bool, v); }
KE kb_float(KB *b, DType t, double v) {
  uint64_t bits;
  memcpy(&bits, &v, 8);
  return kb_bits_const(b, t, scalar_cast(bits, DT_f64, t));
}

static bool is_const(const KB *b, KE e) {
  return e < b->k.n_nodes && b->k.node[e].kind == KN_Const;
}

bool kb_is_int(const KB *b, KE e, int64_t *v) {
  if (!kb_ok(b) || !is_const(b, e) || dtype_is_float((DType)b->k.node[e].dtype)) return false;
  *v = (int64_t)b->k.node[e].bits;
  return true;
}

/* ---- folding ---------------------------------------------------------------- */
static bool is_commutative(SOp op) {
  switch ((int)op) {
  case S_add:
  case S_mul:
  case S_min:
  case S_max:
  case S_and:
  case S_or:
  case S_xor:
  case S_eq:
  case S_ne: return true;
  default: return false;
  }
}

static KE make_op(KB *b, SOp op, KE x, KE y, KE z) {
  DType t = kb_type(b, op == S_select ? y : x);
  uint8_t result = sop_info[op].result == 'b' ? DT_bool : (uint8_t)t;
  KNode n = {KN_Op, (uint8_t)op, result, 0, x, y, z, 0};
  return kb_node(b, n, NULL);
}

/* All operands constant: evaluate.  Floats only where nothing is rounded. */
static KE fold_const(KB *b, SOp op, DType t, KE x, KE y, KE z) {
  const KNode *n = b->k.node;
  int arity = sop_info[op].arity;
  bool exact = op == S_neg || op == S_abs;
  if (op == S_select || (dtype_is_float(t) && !exact)) return KE_NONE;
  if (!is_const(b, x) || (arity > 1 && !is_const(b, y))) return KE_NONE;
  uint64_t out, bits = arity > 1 ? n[y].bits : 0;
  (void)z;
  if (scalar_eval(op, t, n[x].bits, bits, 0, &out) != K_OK) return KE_NONE; /* traps when it runs */
  return kb_bits_const(b, sop_info[op].result == 'b' ? DT_bool : t, out);
}

static KE fold_same(KB *b, SOp op, DType t, KE x) { /* op on x and x, not floats */
  switch ((int)op) {
  case S_sub:
  case S_xor: return kb_num(b, t, 0);
  case S_min:
  case S_max:
  case S_and:
  case S_or: return x;
  case S_eq:
  case S_le: return kb_bool(b, true);
  case S_ne:
  case S_lt: return kb_bool(b, false);
  default: return KE_NONE;
  }
}

/* x op v, v an integer constant. */
static KE fold_right(KB *b, SOp op, DType t, KE x, int64_t v) {
  const KNode n = b->k.node[x];
  int64_t w;
  bool chain = n.kind == KN_Op && (SOp)n.op == op && kb_is_int(b, n.b, &w);
  switch ((int)op) {
  case S_add:
    if (v == 0) return x;
    return chain ? kb_add(b, n.a, kb_num(b, t, (int64_t)((uint64_t)v + (uint64_t)w))) : KE_NONE;
  case S_sub:
    if (v == 0) return x;
    return dtype_is_signed(t) ? kb_add(b, x, kb_num(b, t, (int64_t)(0 - (uint64_t)v))) : KE_NONE;
  case S_mul:
    if (v == 0) return kb_num(b, t, 0);
    if (v == 1) return x;
    return chain ? kb_mul(b, n.a, kb_num(b, t, (int64_t)((uint64_t)v * (uint64_t)w))) : KE_NONE;
  case S_div:
  case S_fdiv: return v == 1 ? x : KE_NONE;
  case S_mod:
  case S_fmod: return v == 1 ? kb_num(b, t, 0) : KE_NONE;
  case S_shl:
  case S_shr:
  case S_xor: return v == 0 ? x : KE_NONE;
  case S_and: return v == 0 ? kb_num(b, t, 0) : t == DT_bool ? x : KE_NONE;
  case S_or: return v == 0 ? x : t == DT_bool ? kb_bool(b, true) : KE_NONE;
  default: return KE_NONE;
  }
}

static KE fold_select(KB *b, KE c, KE x, KE y) {
  int64_t v;
  if (x == y) return x;
  return kb_is_int(b, c, &v) ? (v ? x : y) : KE_NONE;
}

/* An equal, simpler expression, or KE_NONE. */
static KE fold(KB *b, SOp op, KE x, KE y, KE z) {
  if (op == S_select) return fold_select(b, x, y, z);
  DType t = kb_type(b, x);
  KE r = fold_const(b, op, t, x, y, z);
  if (r != KE_NONE) return r;
  const KNode n = b->k.node[x];
  bool twice = n.kind == KN_Op && (SOp)n.op == op && (op == S_neg || op == S_not);
  if (twice) return n.a;
  if (dtype_is_float(t) || sop_info[op].arity != 2) return KE_NONE;
  int64_t v;
  if (x == y) return fold_same(b, op, t, x);
  return kb_is_int(b, y, &v) ? fold_right(b, op, t, x, v) : KE_NONE;
}

/* ---- operations ------------------------------------------------------------- */
static bool takes(SOp op, DType t) {
  for (const char *c = sop_info[op].classes; *c; c++)
    if (*c == dtype_class(t)) return true;
  return false;
}

static bool op_fits(KB *b, SOp op, KE x, KE y, KE z) {
  if (!kb_ok(b)) return false;
  if ((unsigned)op >= S_COUNT) return kb_fail(b, "no such operation");
  int arity = sop_info[op].arity;
  if (!kb_is_node(b, x) || (arity > 1 && !kb_is_node(b, y)) || (arity > 2 && !kb_is_node(b, z)))
    return false;
  DType tx = kb_type(b, x), ty = kb_type(b, y);
  if (op == S_select) {
    if (tx != DT_bool) return kb_fail(b, "select needs a bool");
    return ty == kb_type(b, z) || kb_fail(b, "select between different types");
  }
  if (!takes(op, tx)) return kb_fail(b, "an operation on a type it does not take");
  return arity < 2 || tx == ty || kb_fail(b, "an operation on different types");
}

KE kb_op(KB *b, SOp op, KE x, KE y, KE z) {
  if (!op_fits(b, op, x, y, z)) return KE_NONE;
  if (sop_info[op].arity < 2) y = KE_NONE;
  if (sop_info[op].arity < 3) z = KE_NONE;
  if (b->raw) return make_op(b, op, x, y, z);
  if (is_commutative(op) && is_const(b, x) && !is_const(b, y) && !dtype_is_float(kb_type(b, x))) {
    KE swap = x;
    x = y;
    y = swap;
  }
  KE r = fold(b, op, x, y, z);
  return r != KE_NONE ? r : make_op(b, op, x, y, z);
}

KE kb_cast(KB *b, KE x, DType t) {
  if (!kb_ok(b) || !kb_is_node(b, x)) return KE_NONE;
  if ((unsigned)t >= DT_COUNT) {
    kb_fail(b, "no such dtype");
    return KE_NONE;
  }
  const KNode n = b->k.node[x];
  if ((DType)n.dtype == t && !b->raw) return x;
  if (n.kind == KN_Const && !b->raw)
    return kb_bits_const(b, t, scalar_cast(n.bits, (DType)n.dtype, t));
  KNode m = {KN_Cast, 0, (uint8_t)t, 0, x, KE_NONE, KE_NONE, 0};
  return kb_node(b, m, NULL);
}

KE kb_bitcast(KB *b, KE x, DType t) {
  if (!kb_ok(b) || !kb_is_node(b, x)) return KE_NONE;
  const KNode n = b->k.node[x];
  DType from = (DType)n.dtype;
  if ((unsigned)t >= DT_COUNT || dtype_bytes(t) != dtype_bytes(from) || t == DT_bool ||
      from == DT_bool) {
    kb_fail(b, "a bit cast between types of different width");
    return KE_NONE;
  }
  if (from == t && !b->raw) return x;
  if (n.kind == KN_Const && !b->raw) return kb_bits_const(b, t, n.bits);
  KNode m = {KN_Bits, 0, (uint8_t)t, 0, x, KE_NONE, KE_NONE, 0};
  return kb_node(b, m, NULL);
}

static KE load(KB *b, KNodeKind kind, uint32_t buf, const KE *index, KE fallback) {
  if (!kb_ok(b)) return KE_NONE;
  if (buf >= b->k.n_bufs) {
    kb_fail(b, "no such buffer");
    return KE_NONE;
  }
  const KBuf *u = &b->k.buf[buf];
  for (int i = 0; i < u->rank; i++)
    if (kb_is_node(b, index[i]) && kb_type(b, index[i]) != DT_i64)
      kb_fail(b, "an index is not int64");
  KNode n = {(uint8_t)kind, 0, u->dtype, u->rank, buf, KE_NONE, fallback, 0};
  return kb_node(b, n, index);
}

KE kb_load(KB *b, uint32_t buf, const KE *index) { return load(b, KN_Load, buf, index, KE_NONE); }

KE kb_load_or(KB *b, uint32_t buf, const KE *index, KE fallback) {
  if (!kb_ok(b) || !kb_is_node(b, fallback)) return KE_NONE;
  if (buf < b->k.n_bufs && kb_type(b, fallback) != (DType)b->k.buf[buf].dtype)
    kb_fail(b, "a fallback of another type than the buffer's");
  return load(b, KN_LoadOr, buf, index, fallback);
}
