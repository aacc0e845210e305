/* verify.c -- is an array of bytes a kernel?  Structure, types and scopes.
 *
 * Statements are walked twice with the same clock.  The first walk writes down
 * from when until when each variable lives.  A node lives while all variables
 * below it do: one pass over the nodes, operands first, intersects the times.
 * The second walk checks that every expression is alive where it is used.
 * Bounds are proved by prove.c.                                              */
#include "kernel/visit.h"
#include "base/checked.h"

enum { MAX_SIZE_NODES = 200 }; /* of a dim or extent, written out */

typedef struct {
  uint8_t kind;
  uint32_t end, stmt, n_open, loops;
} Body;

typedef struct {
  const Kernel *k;
  const char *why;
  uint32_t *var_from, *var_to; /* per variable; from 0: undeclared */
  uint32_t *open, n_open;      /* variables alive, in order     */
  uint32_t *from, *to;         /* per node: alive in [from, to) */
  uint8_t *weight;             /* per node: its size as a dim, 0: not one */
  bool checking;               /* second walk                   */
  uint32_t clock, loops;
  Body body[K_MAX_LOOPS];
  int depth;
} Check;

static bool fail(Check *c, const char *why) {
  if (!c->why) c->why = why;
  return false;
}

/* ---- names and buffers ------------------------------------------------------ */
static bool check_head(Check *c) {
  const Kernel *k = c->k;
  if (k->n_syms > K_MAX_SYMS || k->n_bufs > K_MAX_BUFS)
    return fail(c, "too many symbols or buffers");
  if (k->n_params > k->n_bufs) return fail(c, "more parameters than buffers");
  if (k->n_nodes > 1u << 28 || k->n_stmts > 1u << 28 || k->n_vars > 1u << 28)
    return fail(c, "the kernel is too large");
  if (k->n_text == 0 || k->text[k->n_text - 1]) return fail(c, "the text does not end");
  if (k->name >= k->n_text) return fail(c, "the kernel's name is outside the text");
  for (uint32_t i = 0; i < k->n_syms; i++)
    if (k->sym_name[i] >= k->n_text) return fail(c, "a symbol's name is outside the text");
  for (uint32_t i = 0; i < k->n_vars; i++) {
    const KVar *v = &k->var[i];
    if (v->name >= k->n_text) return fail(c, "a variable's name is outside the text");
    if (v->kind > KV_Acc || v->dtype >= DT_COUNT) return fail(c, "a variable of no kind or dtype");
  }
  return true;
}

static bool check_bufs_before_nodes(Check *c) {
  for (uint32_t i = 0; i < c->k->n_bufs; i++) {
    const KBuf *u = &c->k->buf[i];
    if (u->role > K_LOCAL || u->dtype >= DT_COUNT || u->rank > K_MAX_RANK)
      return fail(c, "a buffer of no role, dtype or rank");
    if ((u->role == K_LOCAL) != (i >= c->k->n_params))
      return fail(c, "locals must follow parameters");
    if (u->name >= c->k->n_text) return fail(c, "a buffer's name is outside the text");
  }
  return true;
}

static bool check_size(Check *c, KE e) {
  if (e >= c->k->n_nodes) return fail(c, "an operand is outside the nodes");
  if (!c->weight[e] || c->k->node[e].dtype != DT_i64)
    return fail(c, "a dim or extent is not an int64 over constants and symbols");
  return true;
}

static bool check_dims(Check *c) {
  for (uint32_t i = 0; i < c->k->n_bufs; i++)
    for (int d = 0; d < c->k->buf[i].rank; d++)
      if (!check_size(c, c->k->buf[i].dim[d])) return false;
  return true;
}

/* ---- nodes ------------------------------------------------------------------ */
static bool takes(SOp op, DType t) {
  for (const char *s = sop_info[op].classes; *s; s++)
    if (*s == dtype_class(t)) return true;
  return false;
}

static bool check_const(Check *c, const KNode *n) {
  DType t = (DType)n->dtype;
  int bits = 8 * dtype_bytes(t);
  bool ok = dtype_is_float(t) ? bits == 64 || n->bits >> bits == 0
                              : (uint64_t)wrap_int((int64_t)n->bits, t) == n->bits;
  return ok || fail(c, "a constant is not in its canonical form");
}

static bool check_op(Check *c, KE e) {
  const KNode *node = c->k->node, *n = &node[e];
  if (n->op >= S_COUNT) return fail(c, "no such operation");
  const SOpInfo *op = &sop_info[n->op];
  KE arg[3] = {n->a, n->b, n->c};
  for (int i = 0; i < op->arity; i++)
    if (arg[i] >= e) return fail(c, "an operand does not come before its user");
  bool is_select = n->op == S_select;
  DType t = (DType)node[is_select ? n->b : n->a].dtype;
  for (int i = is_select ? 1 : 0; i < op->arity; i++)
    if (node[arg[i]].dtype != t) return fail(c, "operands of different types");
  if (is_select && node[n->a].dtype != DT_bool) return fail(c, "select needs a bool");
  if (!takes((SOp)n->op, t)) return fail(c, "an operation on a type it does not take");
  return n->dtype == (op->result == 'b' ? DT_bool : t) || fail(c, "an operation of a wrong type");
}

static bool check_bits(Check *c, KE e) {
  const KNode *n = &c->k->node[e];
  if (n->a >= e) return fail(c, "an operand does not come before its user");
  DType from = (DType)c->k->node[n->a].dtype, to = (DType)n->dtype;
  if (from == DT_bool || to == DT_bool || dtype_bytes(from) != dtype_bytes(to))
    return fail(c, "a bit cast between types of different width");
  return true;
}

static bool check_load(Check *c, KE e) {
  const Kernel *k = c->k;
  const KNode *n = &k->node[e];
  if (n->a >= k->n_bufs) return fail(c, "no such buffer");
  if (n->dtype != k->buf[n->a].dtype || n->rank != k->buf[n->a].rank)
    return fail(c, "a load of another dtype or rank than its buffer");
  if (!range_ok(n->b, n->rank, k->n_pool)) return fail(c, "indices outside the pool");
  for (uint32_t i = 0; i < n->rank; i++) {
    KE x = k->pool[n->b + i];
    if (x >= e) return fail(c, "an operand does not come before its user");
    if (k->node[x].dtype != DT_i64) return fail(c, "an index is not int64");
  }
  if (n->kind == KN_Load) return true;
  if (n->c >= e) return fail(c, "an operand does not come before its user");
  return k->node[n->c].dtype == n->dtype || fail(c, "a fallback of another dtype than its buffer");
}

static bool check_node(Check *c, KE e) {
  const Kernel *k = c->k;
  const KNode *n = &k->node[e];
  if (n->dtype >= DT_COUNT) return fail(c, "a node of no dtype");
  switch (n->kind) {
  case KN_Const: return check_const(c, n);
  case KN_Sym: return (n->a < k->n_syms && n->dtype == DT_i64) || fail(c, "no such symbol");
  case KN_Var:
    return (n->a < k->n_vars && n->dtype == k->var[n->a].dtype) || fail(c, "no such variable");
  case KN_Op: return check_op(c, e);
  case KN_Cast: return n->a < e || fail(c, "an operand does not come before its user");
  case KN_Bits: return check_bits(c, e);
  case KN_Load:
  case KN_LoadOr: return check_load(c, e);
  default: return fail(c, "a node of no kind");
  }
}

/* How many nodes e has when written out as a dim; 0 when it cannot be one. */
static uint8_t size_weight(const Check *c, KE e) {
  const KNode *n = &c->k->node[e];
  if (dtype_is_float((DType)n->dtype)) return 0;
  if (n->kind == KN_Const || n->kind == KN_Sym) return 1;
  if (n->kind != KN_Op) return 0;
  uint32_t sum = 1;
  for (uint32_t i = 0; i < (uint32_t)sop_info[n->op].arity; i++) {
    uint8_t w = c->weight[kernel_operand(c->k, e, i)];
    if (!w) return 0;
    sum += w;
  }
  return sum <= MAX_SIZE_NODES ? (uint8_t)sum : 0;
}

static bool check_nodes(Check *c) {
  for (KE e = 0; e < c->k->n_nodes; e++) {
    if (!check_node(c, e)) return false;
    c->weight[e] = size_weight(c, e);
  }
  return true;
}

/* ---- scopes ----------------------------------------------------------------- */
static void node_lives(Check *c) {
  for (KE e = 0; e < c->k->n_nodes; e++) {
    const KNode *n = &c->k->node[e];
    c->from[e] = n->kind == KN_Var ? c->var_from[n->a] : 0;
    c->to[e] = n->kind == KN_Var ? c->var_to[n->a] : UINT32_MAX;
    for (uint32_t i = 0;; i++) {
      KE x = kernel_operand(c->k, e, i);
      if (x == KE_NONE) break;
      if (c->from[x] > c->from[e]) c->from[e] = c->from[x];
      if (c->to[x] < c->to[e]) c->to[e] = c->to[x];
    }
  }
}

/* Expression e is evaluated now. */
static bool use(Check *c, KE e) {
  if (e >= c->k->n_nodes) return fail(c, "an operand is outside the nodes");
  if (!c->checking) return true;
  return (c->from[e] <= c->clock && c->clock < c->to[e]) ||
         fail(c, "a variable is used outside its scope");
}

static bool use_as(Check *c, KE e, DType t, const char *why) {
  return use(c, e) && (c->k->node[e].dtype == t || fail(c, why));
}

/* The variable lives from now until the body is closed that is then open. */
static bool declare(Check *c, uint32_t v, KVarKind kind, uint8_t dtype) {
  if (c->checking) return true;
  if (v >= c->k->n_vars) return fail(c, "no such variable");
  if (c->var_from[v]) return fail(c, "a variable is declared twice");
  if (c->k->var[v].kind != kind || c->k->var[v].dtype != dtype)
    return fail(c, "a variable of another kind or dtype than its declaration");
  c->var_from[v] = c->clock;
  c->open[c->n_open++] = v;
  return true;
}

static void end_lives(Check *c, uint32_t keep) {
  c->clock++;
  if (c->checking) return;
  while (c->n_open > keep) c->var_to[c->open[--c->n_open]] = c->clock;
}

static bool count_loops(Check *c, uint32_t n) {
  if (n > K_MAX_LOOPS - c->loops) return fail(c, "loops are nested too deeply");
  c->loops += n;
  return true;
}

static bool open_body(Check *c, uint32_t stmt, uint32_t n_open, uint32_t loops) {
  const KStmt *s = &c->k->stmt[stmt];
  uint32_t limit = c->depth ? c->body[c->depth - 1].end : c->k->n_stmts;
  if (c->depth == K_MAX_LOOPS) return fail(c, "statements are nested too deeply");
  if (s->end <= stmt || s->end > limit) return fail(c, "a body ends outside its surroundings");
  c->body[c->depth++] = (Body){s->kind, s->end, stmt, n_open, loops};
  return true;
}

static bool carried_next(Check *c, const KStmt *s) {
  if (s->kind != KS_For || s->b == KE_NONE) return true;
  const uint32_t *p = c->k->pool + s->b;
  for (uint32_t i = 0; i < p[0]; i++)
    if (!use_as(c, p[3 + 3 * i], (DType)c->k->var[p[1 + 3 * i]].dtype,
                "a carried value changes its type"))
      return false;
  return true;
}

static bool close_body(Check *c) {
  Body *b = &c->body[--c->depth];
  if (!carried_next(c, &c->k->stmt[b->stmt])) return false;
  end_lives(c, b->n_open);
  c->loops -= b->loops;
  return true;
}

/* ---- statements ------------------------------------------------------------- */
static bool st_carried(Check *c, const KStmt *s) {
  const Kernel *k = c->k;
  if (s->b == KE_NONE) return true;
  if (s->op != K_SERIAL) return fail(c, "a parallel loop carries values");
  if (s->b >= k->n_pool || !range_ok((uint64_t)s->b + 1, 3 * (uint64_t)k->pool[s->b], k->n_pool))
    return fail(c, "carried values outside the pool");
  const uint32_t *p = k->pool + s->b;
  for (uint32_t i = 0; i < p[0]; i++)
    if (!use(c, p[2 + 3 * i])) return false;
  c->clock++;
  for (uint32_t i = 0; i < p[0]; i++)
    if (!declare(c, p[1 + 3 * i], KV_Carried, k->node[p[2 + 3 * i]].dtype)) return false;
  return true;
}

static bool st_for(Check *c, uint32_t at) {
  const KStmt *s = &c->k->stmt[at];
  if (s->op > K_PARALLEL) return fail(c, "a loop of no kind");
  if (!check_size(c, s->a) || !st_carried(c, s)) return false;
  uint32_t n_open = c->n_open;
  c->clock++;
  return declare(c, s->var, KV_Loop, DT_i64) && count_loops(c, 1) && open_body(c, at, n_open, 1);
}

static bool st_let(Check *c, uint32_t at) {
  const KStmt *s = &c->k->stmt[at];
  if (!use_as(c, s->a, (DType)s->dtype, "a let of another type than its value")) return false;
  c->clock++;
  return declare(c, s->var, KV_Let, s->dtype);
}

static bool st_store(Check *c, uint32_t at) {
  const Kernel *k = c->k;
  const KStmt *s = &k->stmt[at];
  if (s->a >= k->n_bufs) return fail(c, "no such buffer");
  const KBuf *u = &k->buf[s->a];
  if (u->role == K_IN) return fail(c, "a store to an input");
  if (s->dtype != u->dtype) return fail(c, "a store of another type than the buffer's");
  if (!range_ok(s->b, u->rank, k->n_pool)) return fail(c, "indices outside the pool");
  for (uint32_t i = 0; i < u->rank; i++)
    if (!use_as(c, k->pool[s->b + i], DT_i64, "an index is not int64")) return false;
  return use_as(c, s->c, (DType)u->dtype, "a store of another type than the buffer's");
}

/* n (var, extent) pairs from p: loop variables that live from now. */
static bool st_loops(Check *c, const uint32_t *p, uint32_t n) {
  if (!count_loops(c, n)) return false;
  for (uint32_t i = 0; i < n; i++)
    if (!check_size(c, p[2 * i + 1]) || !declare(c, p[2 * i], KV_Loop, DT_i64)) return false;
  return true;
}

static bool is_reduction(SOp op) {
  return op == S_add || op == S_mul || op == S_min || op == S_max || op == S_and || op == S_or;
}

static bool st_reduce(Check *c, uint32_t at) {
  const Kernel *k = c->k;
  const KStmt *s = &k->stmt[at];
  if (!is_reduction((SOp)s->op) || s->dtype >= DT_COUNT || !takes((SOp)s->op, (DType)s->dtype))
    return fail(c, "a reduction by no such operation");
  if (s->b >= k->n_pool || !range_ok((uint64_t)s->b + 1, 2 * (uint64_t)k->pool[s->b], k->n_pool))
    return fail(c, "loops outside the pool");
  const char *why = "a reduction of another type than its values";
  uint32_t n_open = c->n_open, n = k->pool[s->b];
  if (!use_as(c, s->a, (DType)s->dtype, why)) return false;
  c->clock++;
  if (!st_loops(c, k->pool + s->b + 1, n) || !use_as(c, s->c, (DType)s->dtype, why)) return false;
  end_lives(c, n_open);
  c->loops -= n;
  return declare(c, s->var, KV_Reduced, s->dtype);
}

/* The pool record of a contraction, or NULL. */
static const uint32_t *contract_record(Check *c, const KStmt *s) {
  const Kernel *k = c->k;
  if (s->b < k->n_pool) {
    uint64_t np = k->pool[s->b], red = s->b + 1 + 2 * np;
    if (red < k->n_pool && range_ok(red + 1, 2 * (uint64_t)k->pool[red] + 2, k->n_pool))
      return k->pool + s->b;
  }
  fail(c, "a contraction outside the pool");
  return NULL;
}

static bool st_contract(Check *c, uint32_t at) {
  const KStmt *s = &c->k->stmt[at];
  const uint32_t *p = contract_record(c, s);
  if (!p) return false;
  if (s->dtype >= DT_COUNT || s->dtype == DT_bool) return fail(c, "a contraction in no such type");
  uint32_t np = p[0], n_open = c->n_open;
  const uint32_t *red = p + 2 + 2 * (size_t)np;
  uint32_t nr = red[-1];
  c->clock++;
  if (!st_loops(c, p + 1, np)) return false;
  uint32_t keep = c->n_open;
  const char *why = "a contraction of another type than its factors";
  if (!st_loops(c, red, nr) || !use_as(c, red[2 * (size_t)nr], (DType)s->dtype, why) ||
      !use_as(c, red[2 * (size_t)nr + 1], (DType)s->dtype, why))
    return false;
  end_lives(c, keep);
  c->loops -= nr;
  return declare(c, s->var, KV_Acc, s->dtype) && open_body(c, at, n_open, np);
}

static bool st_check(Check *c, uint32_t at) {
  const KStmt *s = &c->k->stmt[at];
  if (s->c >= c->k->n_text) return fail(c, "a message outside the text");
  return use_as(c, s->a, DT_bool, "a condition is not bool");
}

static bool st_if(Check *c, uint32_t at) {
  if (!use_as(c, c->k->stmt[at].a, DT_bool, "a condition is not bool")) return false;
  c->clock++;
  return open_body(c, at, c->n_open, 0);
}

/* by kind: what checks it, has it a body, may it stand in an epilogue */
static const struct {
  bool (*check)(Check *, uint32_t);
  bool body, epilogue;
} statement[] = {
    [KS_For] = {st_for, true, false},
    [KS_Let] = {st_let, false, true},
    [KS_Store] = {st_store, false, true},
    [KS_Reduce] = {st_reduce, false, false},
    [KS_Contract] = {st_contract, true, false},
    [KS_Check] = {st_check, false, true},
    [KS_If] = {st_if, true, false},
};

static bool check_stmt(Check *c, uint32_t at) {
  const KStmt *s = &c->k->stmt[at];
  if (s->kind > KS_If) return fail(c, "a statement of no kind");
  if (!statement[s->kind].body && s->end != at + 1)
    return fail(c, "a statement with a body of its own");
  if (c->depth && c->body[c->depth - 1].kind == KS_Contract && !statement[s->kind].epilogue)
    return fail(c, "an epilogue holds more than lets, stores and checks");
  c->clock++;
  return statement[s->kind].check(c, at);
}

static bool close_bodies(Check *c, uint32_t at) {
  while (c->depth && c->body[c->depth - 1].end == at)
    if (!close_body(c)) return false;
  return true;
}

static bool walk(Check *c, bool checking) {
  c->checking = checking;
  c->clock = c->loops = c->n_open = 0;
  c->depth = 0;
  for (uint32_t s = 0; s < c->k->n_stmts; s++)
    if (!close_bodies(c, s) || !check_stmt(c, s)) return false;
  if (!close_bodies(c, c->k->n_stmts)) return false;
  end_lives(c, 0);
  return true;
}

/* ---- all of it -------------------------------------------------------------- */
static bool check_all(Check *c) {
  if (!check_bufs_before_nodes(c) || !check_nodes(c) || !check_dims(c) || !walk(c, false))
    return false;
  node_lives(c);
  return walk(c, true);
}

/* Loads below used expressions, and stores: is one not proved? */
static bool some_unproved(const Kernel *k, uint8_t *used, const uint8_t *load_ok,
                          const uint8_t *store_ok) {
  bool open = false;
  memset(used, 0, k->n_nodes);
  for (uint32_t s = 0; s < k->n_stmts; s++) {
    open |= k->stmt[s].kind == KS_Store && !store_ok[s];
    for (uint32_t i = 0;; i++) {
      KE e = kernel_stmt_expr(k, s, i);
      if (e == KE_NONE) break;
      used[e] = 1;
    }
  }
  for (KE e = k->n_nodes; e-- > 0;) {
    if (!used[e]) continue;
    open |= k->node[e].kind == KN_Load && !load_ok[e];
    for (uint32_t i = 0;; i++) {
      KE x = kernel_operand(k, e, i);
      if (x == KE_NONE) break;
      used[x] = 1;
    }
  }
  return open;
}

static KStatus say(KError *err, KStatus status, const char *why) {
  if (err) *err = (KError){status, why};
  return status;
}

KStatus kernel_verify(const Kernel *k, KAlloc a, bool *needs_launch, KError *err) {
  Check c = {.k = k};
  *needs_launch = true;
  if (!check_head(&c)) return say(err, K_BAD_KERNEL, c.why);
  /* words: 3 per variable, 2 per node; bytes: 2 per node, 1 per statement */
  size_t words = 3 * (size_t)k->n_vars + 2 * (size_t)k->n_nodes;
  size_t bytes = words * 4 + 2 * (size_t)k->n_nodes + k->n_stmts + 1;
  uint32_t *block = a.fn(a.user, NULL, 0, bytes);
  if (!block) return say(err, K_NO_MEMORY, "out of memory");
  memset(block, 0, bytes);
  c.var_from = block;
  c.var_to = c.var_from + k->n_vars;
  c.open = c.var_to + k->n_vars;
  c.from = c.open + k->n_vars;
  c.to = c.from + k->n_nodes;
  c.weight = (uint8_t *)(c.to + k->n_nodes);
  uint8_t *load_ok = c.weight + k->n_nodes, *store_ok = load_ok + k->n_nodes;
  bool ok = check_all(&c), memory = true, extents = true;
  if (ok) {
    memory = kernel_prove(k, a, NULL, load_ok, store_ok, &extents);
    *needs_launch = !extents || some_unproved(k, c.weight, load_ok, store_ok);
  }
  a.fn(a.user, block, bytes, 0);
  if (!ok) return say(err, K_BAD_KERNEL, c.why);
  return memory ? say(err, K_OK, NULL) : say(err, K_NO_MEMORY, "out of memory");
}
