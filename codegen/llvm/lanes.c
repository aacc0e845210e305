/* lanes.c -- expressions over the lanes of a vector.
 *
 * Every node is uniform (equal in all lanes), linear in the lane (an index), or
 * varying.  Uniform and linear ones are evaluated once, in lane 0; a load whose
 * indices are linear is a vector in memory, contiguous or strided, and its
 * bounds, if it has a fallback, are a mask; any other load gathers.          */
#include "codegen/llvm/lanes.h"
#include "codegen/llvm/lanes_form.h"

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
    if (!form_constant(e->dim[n->a][d], &dim) || dim < 1) return false;
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
  bool regular = form_moves_by(e, n->a, n->b, &stride) && stride >= 1 && stride <= WIDEST_STRIDE;
  Val all = NULL, in = n->kind == KN_LoadOr ? inside(l, n, &all) : NULL, v;
  bool hoisted = all && regular && never_empty(e, n);
  if (all && !hoisted) in = both(e, splat(e, all, l->n), in);
  Val mask = both(e, l->mask, in), off = offset(l, n->a, n->b, !regular, hoisted ? all : NULL);
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
  return hoisted ? LLVMBuildSelect(e->b, all, v, other, "") : v;
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
  form_need(e, root, true);
  for (KE at = 0; at <= root; at++)
    if (e->need[at] && e->form[at] == VARYING) e->lane[at] = varying_node(l, at);
}

Val lanes_expr(const Lanes *l, KE root) {
  form_find(l->e, root, l->var);
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
  form_let(e, s->var, f, coef);
}

static void emit_lanes_store(const Lanes *l, const KStmt *s) {
  Emit *e = l->e;
  DType dt = (DType)e->k->buf[s->a].dtype;
  LLVMTypeRef t = mem_type(e, dt);
  unsigned bytes = (unsigned)dtype_bytes(dt);
  int64_t stride = 0;
  Val v = to_memory(e, dt, lanes_expr(l, s->c));
  form_find_store(e, s, l->var);
  (void)form_moves_by(e, s->a, s->b, &stride);
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
  if (acc != KE_NONE) form_let(e, acc, VARYING, 0);
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
