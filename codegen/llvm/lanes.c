/* lanes.c -- expressions over the lanes of a vector.
 *
 * Every node is uniform (equal in all lanes), linear in the lane (an index), or
 * varying.  Uniform and linear ones are evaluated once, in lane 0; a load whose
 * indices are linear is a vector in memory, contiguous or strided, and its
 * bounds, if it has a fallback, are a mask; any other load gathers.          */
#include "codegen/llvm/lanes.h"

enum { WIDEST_STRIDE = 4 }; /* loaded whole and thinned; beyond: gathered */

/* ---- vectors ------------------------------------------------------------------------- */
Val splat(Emit *e, Val x, unsigned n) {
  LLVMTypeRef i32 = int_type(e, 32), v = LLVMVectorType(LLVMTypeOf(x), n);
  Val one = LLVMBuildInsertElement(e->b, LLVMGetPoison(v), x, LLVMConstInt(i32, 0, 0), "");
  Val first = LLVMConstNull(LLVMVectorType(i32, n));
  return LLVMBuildShuffleVector(e->b, one, LLVMGetPoison(v), first, "");
}

static Val iota(Emit *e, unsigned n) {
  Val lane[64];
  for (unsigned i = 0; i < n && i < 64; i++) lane[i] = i64_of(e, i);
  return LLVMConstVector(lane, n);
}

Val lanes_below(Emit *e, unsigned n, Val count) {
  return LLVMBuildICmp(e->b, LLVMIntSLT, iota(e, n), splat(e, count, n), "");
}

static Val call_masked(Emit *e, const char *name, LLVMTypeRef *over, unsigned n_over, Val *arg,
                       unsigned n) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  Val fn = LLVMGetIntrinsicDeclaration(e->m, id, over, n_over);
  return LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->c, id, over, n_over), fn, arg, n, "");
}

static Val align_of(Emit *e, unsigned align) { return LLVMConstInt(int_type(e, 32), align, false); }

static bool is_all(Val mask) { return !mask || LLVMIsAConstant(mask) == mask; }

static bool all_set(Val mask) {
  return !mask || (is_all(mask) && mask == LLVMConstAllOnes(LLVMTypeOf(mask)));
}

Val load_lanes(Emit *e, LLVMTypeRef t, unsigned n, Val at, Val mask, unsigned align) {
  LLVMTypeRef v = LLVMVectorType(t, n), over[2] = {v, ptr_type(e)};
  if (all_set(mask)) {
    Val x = LLVMBuildLoad2(e->b, v, at, "");
    LLVMSetAlignment(x, align);
    return x;
  }
  Val arg[4] = {at, align_of(e, align), mask, LLVMConstNull(v)};
  return call_masked(e, "llvm.masked.load", over, 2, arg, 4);
}

void store_lanes(Emit *e, Val v, Val at, Val mask, unsigned align) {
  LLVMTypeRef over[2] = {LLVMTypeOf(v), ptr_type(e)};
  if (all_set(mask)) {
    LLVMSetAlignment(LLVMBuildStore(e->b, v, at), align);
    return;
  }
  Val arg[4] = {v, at, align_of(e, align), mask};
  (void)call_masked(e, "llvm.masked.store", over, 2, arg, 4);
}

static Val vector_of_pointers(Emit *e, LLVMTypeRef t, Val base, Val offsets) {
  return LLVMBuildGEP2(e->b, t, base, &offsets, 1, "");
}

static Val all_ones(Emit *e, unsigned n) {
  return LLVMConstAllOnes(LLVMVectorType(int_type(e, 1), n));
}

static Val gather(Emit *e, LLVMTypeRef t, unsigned n, Val base, Val offsets, Val mask,
                  unsigned align) {
  LLVMTypeRef v = LLVMVectorType(t, n), over[2] = {v, LLVMVectorType(ptr_type(e), n)};
  Val arg[4] = {vector_of_pointers(e, t, base, offsets), align_of(e, align),
                mask ? mask : all_ones(e, n), LLVMConstNull(v)};
  return call_masked(e, "llvm.masked.gather", over, 2, arg, 4);
}

static void scatter(Emit *e, Val v, LLVMTypeRef t, unsigned n, Val base, Val offsets, Val mask,
                    unsigned align) {
  LLVMTypeRef over[2] = {LLVMTypeOf(v), LLVMVectorType(ptr_type(e), n)};
  Val arg[4] = {v, vector_of_pointers(e, t, base, offsets), align_of(e, align),
                mask ? mask : all_ones(e, n)};
  (void)call_masked(e, "llvm.masked.scatter", over, 2, arg, 4);
}

/* Lanes 0, stride, 2 * stride ... of memory. */
static Val thinned(Emit *e, LLVMTypeRef t, unsigned n, unsigned stride, Val at, Val mask,
                   unsigned align) {
  Val pick[64 * WIDEST_STRIDE], keep[64];
  LLVMTypeRef i32 = int_type(e, 32);
  for (unsigned i = 0; i < n; i++) keep[i] = LLVMConstInt(i32, (uint64_t)i * stride, false);
  for (unsigned i = 0; i < n * stride; i++)
    pick[i] = LLVMConstInt(i32, i % stride ? n : i / stride, false);
  Val all = mask ? mask : all_ones(e, n), none = LLVMConstNull(LLVMTypeOf(all));
  Val wide = LLVMBuildShuffleVector(e->b, all, none, LLVMConstVector(pick, n * stride), "");
  Val x = load_lanes(e, t, n * stride, at, wide, align);
  return LLVMBuildShuffleVector(e->b, x, LLVMGetPoison(LLVMTypeOf(x)), LLVMConstVector(keep, n),
                                "");
}

/* ---- forms --------------------------------------------------------------------------- */
typedef enum { UNIFORM, LINEAR, VARYING } Form;

static bool is_load(const KNode *n) { return n->kind == KN_Load || n->kind == KN_LoadOr; }

static void set_form(Emit *e, KE at, Form f, int64_t coef) {
  e->form[at] = (uint8_t)(f == LINEAR && coef == 0 ? UNIFORM : f);
  e->coef[at] = f == LINEAR ? coef : 0;
}

static bool linear_op(Emit *e, KE at) {
  const KNode *n = &e->k->node[at], *x = &e->k->node[n->a];
  Form f = (Form)e->form[n->a], g = sop_info[n->op].arity > 1 ? (Form)e->form[n->b] : UNIFORM;
  if (n->dtype != DT_i64 || f == VARYING || g == VARYING) return false;
  int64_t p = e->coef[n->a], q = g == LINEAR ? e->coef[n->b] : 0, c;
  switch ((int)n->op) {
  case S_add: return !__builtin_add_overflow(p, q, &c) && (set_form(e, at, LINEAR, c), true);
  case S_sub: return !__builtin_sub_overflow(p, q, &c) && (set_form(e, at, LINEAR, c), true);
  case S_mul:
    if (g == LINEAR && (f == LINEAR || x->kind != KN_Const)) return false;
    if (f == LINEAR && e->k->node[n->b].kind != KN_Const) return false;
    if (g == LINEAR)
      p = q, q = (int64_t)x->bits;
    else
      q = (int64_t)e->k->node[n->b].bits;
    return !__builtin_mul_overflow(p, q, &c) && (set_form(e, at, LINEAR, c), true);
  default: return false;
  }
}

static void find_form(Emit *e, KE at, uint32_t var) {
  const KNode *n = &e->k->node[at];
  Form f = UNIFORM;
  KE o;
  if (n->kind == KN_Var) {
    if (n->a == var)
      set_form(e, at, LINEAR, 1);
    else
      set_form(e, at, (Form)e->var_form[n->a], e->var_coef[n->a]);
    return;
  }
  for (uint32_t i = 0; (o = kernel_operand(e->k, at, i)) != KE_NONE; i++)
    if (e->form[o] != UNIFORM) f = VARYING;
  if (f == VARYING && n->kind == KN_Op && linear_op(e, at)) return;
  set_form(e, at, f, 0);
}

static void find_forms(Emit *e, KE root, uint32_t var) {
  for (KE at = 0; at <= root; at++) find_form(e, at, var);
}

static bool constant(Val v, int64_t *out) {
  if (!LLVMIsAConstantInt(v)) return false;
  *out = LLVMConstIntGetSExtValue(v);
  return true;
}

/* The elements an address moves by per lane; false: an index varies, or a dim
 * is no constant. */
static bool moves_by(Emit *e, uint32_t buf, uint32_t pool, int64_t *stride) {
  int64_t s = 0, dim;
  for (uint32_t d = 0; d < e->k->buf[buf].rank; d++) {
    KE i = e->k->pool[pool + d];
    if (e->form[i] == VARYING) return false;
    if (s != 0 && (!constant(e->dim[buf][d], &dim) || __builtin_mul_overflow(s, dim, &s)))
      return false;
    if (__builtin_add_overflow(s, e->coef[i], &s)) return false;
  }
  *stride = s;
  return true;
}

/* ---- the nodes under a root -------------------------------------------------------------- */
/* Marks in e->need what root is made of; the indices of loads only if asked. */
static void mark(Emit *e, KE root, bool indices) {
  memset(e->need, 0, (size_t)root + 1);
  e->need[root] = 1;
  for (KE at = root + 1; at-- > 0;) {
    const KNode *n = &e->k->node[at];
    if (!e->need[at]) continue;
    KE o;
    for (uint32_t i = 0; (o = kernel_operand(e->k, at, i)) != KE_NONE; i++)
      if (indices || !is_load(n) || i >= n->rank) e->need[o] = 1;
  }
}

bool load_stride(Emit *e, KE root, uint32_t var, int64_t *stride) {
  find_forms(e, root, var);
  mark(e, root, false);
  *stride = 0;
  for (KE at = 0; at <= root; at++) {
    const KNode *n = &e->k->node[at];
    if (!e->need[at] || !is_load(n) || e->form[at] == UNIFORM) continue;
    return moves_by(e, n->a, n->b, stride);
  }
  return e->form[root] == UNIFORM;
}

bool shares_index(Emit *e, KE root, uint32_t x, uint32_t y) {
  mark(e, root, true);
  for (KE at = 0; at <= root; at++) {
    const KNode *n = &e->k->node[at];
    if (!e->need[at] || !is_load(n)) continue;
    for (uint32_t d = 0; d < n->rank; d++) {
      KE i = e->k->pool[n->b + d];
      find_forms(e, i, x);
      bool both_vary = e->form[i] != UNIFORM;
      find_forms(e, i, y);
      if (both_vary && e->form[i] != UNIFORM) return true;
    }
  }
  return false;
}

bool index_uses(Emit *e, KE root, uint32_t var, int64_t *coef) {
  find_forms(e, root, var);
  *coef = e->coef[root];
  return e->form[root] == LINEAR;
}

bool moves_as(Emit *e, KE root, uint32_t x, int64_t per_x, uint32_t y, int64_t per_y) {
  mark(e, root, false);
  for (KE at = 0; at <= root; at++) {
    const KNode *n = &e->k->node[at];
    if (!e->need[at]) continue;
    if (n->kind == KN_Var && (n->a == x || n->a == y)) return false;
    for (uint32_t d = 0; is_load(n) && d < n->rank; d++) {
      KE i = e->k->pool[n->b + d];
      find_forms(e, i, x);
      int64_t coef = e->coef[i];
      bool ok = e->form[i] != VARYING;
      find_forms(e, i, y);
      if (!ok || e->form[i] == VARYING || coef * per_y != e->coef[i] * per_x) return false;
    }
  }
  return true;
}

Val load_stride_value(Emit *e, KE load, uint32_t var) {
  const KNode *n = &e->k->node[load];
  Val s = i64_of(e, 0);
  find_forms(e, load, var);
  for (uint32_t d = 0; d < n->rank; d++) {
    KE i = e->k->pool[n->b + d];
    if (e->form[i] == VARYING) return NULL;
    s = LLVMBuildMul(e->b, s, e->dim[n->a][d], "");
    s = LLVMBuildAdd(e->b, s, i64_of(e, e->coef[i]), "");
  }
  return s;
}

static void forms_of_store(Emit *e, const KStmt *s, uint32_t var) {
  for (uint32_t d = 0; d < e->k->buf[s->a].rank; d++) find_forms(e, e->k->pool[s->b + d], var);
}

bool store_stride(Emit *e, const KStmt *s, uint32_t var, int64_t *stride) {
  forms_of_store(e, s, var);
  return moves_by(e, s->a, s->b, stride);
}

/* ---- two variables as one ---------------------------------------------------------------- */
/* Strides of one access along outer and inner, by two passes over its forms. */
static bool access_is_one(Emit *e, uint32_t buf, uint32_t pool, uint32_t outer, uint32_t inner,
                          int64_t extent, bool bounded) {
  int64_t s[2], want;
  for (int i = 0; i < 2; i++) {
    for (uint32_t d = 0; d < e->k->buf[buf].rank; d++) {
      find_forms(e, e->k->pool[pool + d], i ? inner : outer);
      if (bounded && e->form[e->k->pool[pool + d]] != UNIFORM) return false;
    }
    if (!moves_by(e, buf, pool, &s[i])) return false;
  }
  return !__builtin_mul_overflow(s[1], extent, &want) && want == s[0];
}

bool one_variable(Emit *e, KE root, uint32_t outer, uint32_t inner, int64_t extent) {
  mark(e, root, false);
  for (KE at = 0; at <= root; at++) {
    const KNode *n = &e->k->node[at];
    if (!e->need[at]) continue;
    if (n->kind == KN_Var && (n->a == outer || n->a == inner)) return false;
    if (is_load(n) && !access_is_one(e, n->a, n->b, outer, inner, extent, n->kind == KN_LoadOr))
      return false;
  }
  return true;
}

bool one_variable_body(Emit *e, uint32_t from, uint32_t to, uint32_t outer, uint32_t inner,
                       int64_t extent) {
  for (uint32_t at = from; at < to; at++) {
    const KStmt *s = &e->k->stmt[at];
    bool store = s->kind == KS_Store;
    if (!store && s->kind != KS_Let && s->kind != KS_Check) return false;
    if (!one_variable(e, store ? s->c : s->a, outer, inner, extent)) return false;
    if (store && !access_is_one(e, s->a, s->b, outer, inner, extent, false)) return false;
  }
  return true;
}

/* ---- what can be taken -------------------------------------------------------------------- */
static bool takes(Emit *e, KE root) {
  mark(e, root, true);
  for (KE at = 0; at <= root; at++) {
    const KNode *n = &e->k->node[at];
    if (!e->need[at] || e->form[at] != VARYING || n->kind != KN_Op) continue;
    DType t = (DType)e->k->node[n->a].dtype;
    if (!dtype_is_float(t) && n->op != S_select && !op_in_lanes((SOp)n->op, t)) return false;
  }
  return true;
}

bool lanes_takes(const Lanes *l, KE root) {
  find_forms(l->e, root, l->var);
  return takes(l->e, root);
}

static bool takes_store(Emit *e, const KStmt *s, uint32_t var) {
  int64_t stride;
  forms_of_store(e, s, var);
  for (uint32_t d = 0; d < e->k->buf[s->a].rank; d++)
    if (!takes(e, e->k->pool[s->b + d])) return false;
  return moves_by(e, s->a, s->b, &stride) && stride != 0;
}

static void let_form(Emit *e, uint32_t var, Form f, int64_t coef) {
  e->var_form[var] = (uint8_t)f;
  e->var_coef[var] = coef;
}

bool lanes_takes_body(const Lanes *l, uint32_t acc, uint32_t from, uint32_t to) {
  Emit *e = l->e;
  bool ok = true;
  if (acc != KE_NONE) let_form(e, acc, VARYING, 0);
  for (uint32_t at = from; at < to && ok; at++) {
    const KStmt *s = &e->k->stmt[at];
    KE x = s->kind == KS_Store ? s->c : s->a;
    ok = (s->kind == KS_Let || s->kind == KS_Store || s->kind == KS_Check) && lanes_takes(l, x);
    if (ok && s->kind == KS_Let) let_form(e, s->var, (Form)e->form[x], e->coef[x]);
    if (ok && s->kind == KS_Store) ok = takes_store(e, s, l->var);
  }
  memset(e->var_form, 0, e->k->n_vars);
  return ok;
}

/* ---- values ------------------------------------------------------------------------------- */
static Val value(const Lanes *l, KE at) {
  Emit *e = l->e;
  if (e->form[at] == VARYING) return e->lane[at];
  int64_t coef = e->coef[at];
  Val v = splat(e, emit_expr(e, at), l->n);
  if (e->form[at] == UNIFORM) return v;
  Val step = LLVMBuildMul(e->b, iota(e, l->n), splat(e, i64_of(e, coef), l->n), "");
  return LLVMBuildAdd(e->b, v, step, "");
}

static Val both(Emit *e, Val x, Val y) { return !x ? y : !y ? x : LLVMBuildAnd(e->b, x, y, ""); }

/* Lanes where every index of a load is inside: *all, for the indices that are
 * equal in all lanes, and the rest.  Each may be NULL. */
static Val inside(const Lanes *l, const KNode *n, Val *all_lanes) {
  Emit *e = l->e;
  Val all = NULL, every = NULL;
  for (uint32_t d = 0; d < n->rank; d++) {
    KE i = e->k->pool[n->b + d];
    Val dim = e->dim[n->a][d];
    if (e->form[i] == UNIFORM)
      all = both(e, all, LLVMBuildICmp(e->b, LLVMIntULT, emit_expr(e, i), dim, ""));
    else
      every = both(e, every, LLVMBuildICmp(e->b, LLVMIntULT, value(l, i), splat(e, dim, l->n), ""));
  }
  *all_lanes = all;
  return every;
}

/* The offset in lane 0 (strided) or in each; where safe is not NULL and false,
 * indices that do not depend on the lane count as 0. */
static Val offset(const Lanes *l, uint32_t buf, uint32_t pool, bool each, Val safe) {
  Emit *e = l->e;
  Val at = NULL;
  for (uint32_t d = 0; d < e->k->buf[buf].rank; d++) {
    KE i = e->k->pool[pool + d];
    Val dim = e->dim[buf][d], x = each ? value(l, i) : emit_expr(e, i);
    if (safe && !each && e->form[i] == UNIFORM)
      x = LLVMBuildSelect(e->b, safe, x, i64_of(e, 0), "");
    if (at) at = LLVMBuildMul(e->b, at, each ? splat(e, dim, l->n) : dim, "");
    at = at ? LLVMBuildAdd(e->b, at, x, "") : x;
  }
  return at;
}

static Val element(Emit *e, LLVMTypeRef t, uint32_t buf, Val off) {
  return LLVMBuildGEP2(e->b, t, e->buf[buf], &off, 1, "");
}

/* Has a load at least one element, whatever the symbols? */
static bool never_empty(Emit *e, const KNode *n) {
  int64_t dim;
  for (uint32_t d = 0; d < n->rank; d++)
    if (!constant(e->dim[n->a][d], &dim) || dim < 1) return false;
  return true;
}

/* What is common to all lanes stays out of the mask where it can, so that the
 * mask does not change in loops over rows or channels. */
static Val load(const Lanes *l, KE at) {
  Emit *e = l->e;
  const KNode *n = &e->k->node[at];
  DType dt = (DType)e->k->buf[n->a].dtype;
  LLVMTypeRef t = mem_type(e, dt);
  unsigned bytes = (unsigned)dtype_bytes(dt);
  int64_t stride;
  bool regular = moves_by(e, n->a, n->b, &stride) && stride >= 1 && stride <= WIDEST_STRIDE;
  Val all = NULL, in = n->kind == KN_LoadOr ? inside(l, n, &all) : NULL, v;
  bool apart = all && regular && never_empty(e, n);
  if (all && !apart) in = both(e, splat(e, all, l->n), in);
  Val mask = both(e, l->mask, in), off = offset(l, n->a, n->b, !regular, apart ? all : NULL);
  if (!regular)
    v = gather(e, t, l->n, e->buf[n->a], off, mask, bytes);
  else if (stride == 1)
    v = load_lanes(e, t, l->n, element(e, t, n->a, off), mask, bytes);
  else
    v = thinned(e, t, l->n, (unsigned)stride, element(e, t, n->a, off), mask, bytes);
  v = from_memory(e, dt, v);
  if (n->kind == KN_Load) return v;
  Val other = value(l, n->c); /* masked lanes are zero already */
  bool zero = LLVMIsAConstant(other) && LLVMIsNull(other);
  if (in && !zero) v = LLVMBuildSelect(e->b, in, v, other, "");
  return apart ? LLVMBuildSelect(e->b, all, v, other, "") : v;
}

static Val varying_node(const Lanes *l, KE at) {
  Emit *e = l->e;
  const KNode *n = &e->k->node[at];
  switch ((KNodeKind)n->kind) {
  case KN_Op: {
    int arity = sop_info[n->op].arity;
    DType t = (DType)e->k->node[arity == 3 ? n->b : n->a].dtype;
    return emit_op(e, (SOp)n->op, t, value(l, n->a), arity > 1 ? value(l, n->b) : NULL,
                   arity > 2 ? value(l, n->c) : NULL);
  }
  case KN_Cast: return emit_cast(e, value(l, n->a), (DType)e->k->node[n->a].dtype, (DType)n->dtype);
  case KN_Bits: return emit_bits(e, value(l, n->a), (DType)e->k->node[n->a].dtype, (DType)n->dtype);
  case KN_Load:
  case KN_LoadOr: return load(l, at);
  default: return e->var[n->a];
  }
}

/* Values of the varying nodes root is made of, operands first. */
static void values(const Lanes *l, KE root) {
  Emit *e = l->e;
  mark(e, root, true);
  for (KE at = 0; at <= root; at++)
    if (e->need[at] && e->form[at] == VARYING) e->lane[at] = varying_node(l, at);
}

Val lanes_expr(const Lanes *l, KE root) {
  find_forms(l->e, root, l->var);
  values(l, root);
  return value(l, root);
}

/* ---- statements ----------------------------------------------------------------------------- */
static void emit_let(const Lanes *l, const KStmt *s) {
  Emit *e = l->e;
  Val v = lanes_expr(l, s->a);
  Form f = (Form)e->form[s->a];
  int64_t coef = e->coef[s->a];
  set_var(e, s->var, f == VARYING ? v : emit_expr(e, s->a));
  let_form(e, s->var, f, coef);
}

static void emit_lanes_store(const Lanes *l, const KStmt *s) {
  Emit *e = l->e;
  DType dt = (DType)e->k->buf[s->a].dtype;
  LLVMTypeRef t = mem_type(e, dt);
  unsigned bytes = (unsigned)dtype_bytes(dt);
  int64_t stride = 0;
  Val v = to_memory(e, dt, lanes_expr(l, s->c));
  forms_of_store(e, s, l->var);
  (void)moves_by(e, s->a, s->b, &stride);
  if (stride == 1) {
    store_lanes(e, v, element(e, t, s->a, offset(l, s->a, s->b, false, NULL)), l->mask, bytes);
    return;
  }
  scatter(e, v, t, l->n, e->buf[s->a], offset(l, s->a, s->b, true, NULL), l->mask, bytes);
}

static void emit_lanes_check(const Lanes *l, const KStmt *s) {
  Emit *e = l->e;
  Val ok = lanes_expr(l, s->a);
  LLVMTypeRef v = LLVMTypeOf(ok);
  if (l->mask) ok = LLVMBuildOr(e->b, ok, LLVMBuildNot(e->b, l->mask, ""), "");
  fail_unless(e, call_masked(e, "llvm.vector.reduce.and", &v, 1, &ok, 1), K_CHECK, s->c);
}

void lanes_body(const Lanes *l, uint32_t acc, uint32_t from, uint32_t to) {
  Emit *e = l->e;
  if (acc != KE_NONE) let_form(e, acc, VARYING, 0);
  for (uint32_t at = from; at < to; at++) {
    const KStmt *s = &e->k->stmt[at];
    if (s->kind == KS_Let)
      emit_let(l, s);
    else if (s->kind == KS_Store)
      emit_lanes_store(l, s);
    else
      emit_lanes_check(l, s);
  }
  memset(e->var_form, 0, e->k->n_vars);
}
