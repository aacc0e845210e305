/* emit_stmt.c -- statements, reductions, and contractions as plain loops.  The
 * recursion follows the nesting of statements.                               */
#include "codegen/llvm/emit.h"

void set_var(Emit *e, uint32_t var, Val v) {
  e->var[var] = v;
  e->in_memory[var] = false;
}

static void emit_for(Emit *e, uint32_t at) {
  const KStmt *s = &e->k->stmt[at];
  const uint32_t *p = s->b == KE_NONE ? NULL : e->k->pool + s->b;
  uint32_t n = p ? p[0] : 0;
  Val next[K_MAX_SYMS];
  Val extent = emit_expr(e, s->a);
  for (uint32_t i = 0; i < n; i++) { /* the initial values do not see each other */
    DType t = (DType)e->k->var[p[1 + 3 * i]].dtype;
    Val slot = new_slot(e, reg_type(e, t));
    LLVMBuildStore(e->b, emit_expr(e, p[2 + 3 * i]), slot);
    e->var[p[1 + 3 * i]] = slot;
    e->in_memory[p[1 + 3 * i]] = true;
  }
  Loop l = loop_begin(e, extent);
  set_var(e, s->var, l.i);
  emit_stmts(e, at + 1, s->end);
  if (n <= K_MAX_SYMS) {
    for (uint32_t i = 0; i < n; i++) next[i] = emit_expr(e, p[3 + 3 * i]);
    for (uint32_t i = 0; i < n; i++) LLVMBuildStore(e->b, next[i], e->var[p[1 + 3 * i]]);
  }
  loop_end(e, &l);
}

static void emit_store(Emit *e, const KStmt *s) {
  const KBuf *b = &e->k->buf[s->a];
  Val index[K_MAX_RANK];
  for (int i = 0; i < b->rank; i++) index[i] = emit_expr(e, e->k->pool[s->b + (uint32_t)i]);
  Val v = to_memory(e, (DType)b->dtype, emit_expr(e, s->c));
  Val st = LLVMBuildStore(e->b, v, emit_address(e, s->a, index));
  LLVMSetAlignment(st, (unsigned)dtype_bytes((DType)b->dtype));
}

/* Nested loops over n (var, extent) pairs. */
static void open_loops(Emit *e, const uint32_t *pair, uint32_t n, Loop *l) {
  for (uint32_t i = 0; i < n; i++) {
    l[i] = loop_begin(e, emit_expr(e, pair[2 * i + 1]));
    set_var(e, pair[2 * i], l[i].i);
  }
}
static void close_loops(Emit *e, uint32_t n, Loop *l) {
  while (n > 0) loop_end(e, &l[--n]);
}

/* acc := acc op v.  Floating sums may be taken in lanes. */
static void accumulate(Emit *e, SOp op, DType t, Val acc, Val v) {
  LLVMTypeRef type = reg_type(e, t);
  Val old = LLVMBuildLoad2(e->b, type, acc, ""), now;
  if (dtype_is_float(t) && (op == S_add || op == S_mul)) {
    now = op == S_add ? LLVMBuildFAdd(e->b, old, v, "") : LLVMBuildFMul(e->b, old, v, "");
    if (LLVMIsAInstruction(now)) LLVMSetFastMathFlags(now, LLVMFastMathAllowReassoc);
  } else {
    now = emit_op(e, op, t, old, v, NULL);
  }
  LLVMBuildStore(e->b, now, acc);
}

static DType sum_type(DType t) { return dtype_is_float(t) && t != DT_f64 ? DT_f32 : t; }

static void emit_reduce(Emit *e, const KStmt *s) {
  const uint32_t *p = e->k->pool + s->b;
  DType t = (DType)s->dtype;
  Loop l[K_MAX_LOOPS];
  Val acc = new_slot(e, reg_type(e, t));
  LLVMBuildStore(e->b, emit_expr(e, s->a), acc);
  open_loops(e, p + 1, p[0], l);
  accumulate(e, (SOp)s->op, sum_type(t), acc, emit_expr(e, s->c));
  close_loops(e, p[0], l);
  set_var(e, s->var, emit_round_half(e, t, LLVMBuildLoad2(e->b, reg_type(e, t), acc, "")));
}

void emit_contract_plain(Emit *e, uint32_t at) {
  const KStmt *s = &e->k->stmt[at];
  const uint32_t *p = e->k->pool + s->b, np = p[0], *red = p + 1 + 2 * np, nr = red[0];
  DType t = (DType)s->dtype, in = sum_type(t);
  Loop l[K_MAX_LOOPS], r[K_MAX_LOOPS];
  Val acc = new_slot(e, reg_type(e, t));
  open_loops(e, p + 1, np, l);
  LLVMBuildStore(e->b, LLVMConstNull(reg_type(e, t)), acc);
  open_loops(e, red + 1, nr, r);
  Val f[2];
  for (int i = 0; i < 2; i++) {
    KE x = red[1 + 2 * nr + (uint32_t)i];
    f[i] = emit_cast(e, emit_expr(e, x), (DType)e->k->node[x].dtype, t);
  }
  accumulate(e, S_add, in, acc, emit_op(e, S_mul, in, f[0], f[1], NULL));
  close_loops(e, nr, r);
  set_var(e, s->var, emit_round_half(e, t, LLVMBuildLoad2(e->b, reg_type(e, t), acc, "")));
  emit_stmts(e, at + 1, s->end);
  close_loops(e, np, l);
}

static void emit_if(Emit *e, uint32_t at) {
  const KStmt *s = &e->k->stmt[at];
  Block yes = new_block(e, "then"), no = new_block(e, "fi");
  LLVMBuildCondBr(e->b, emit_expr(e, s->a), yes, no);
  LLVMPositionBuilderAtEnd(e->b, yes);
  emit_stmts(e, at + 1, s->end);
  LLVMBuildBr(e->b, no);
  LLVMPositionBuilderAtEnd(e->b, no);
}

void emit_stmts(Emit *e, uint32_t from, uint32_t to) {
  for (uint32_t at = from; at < to;) {
    const KStmt *s = &e->k->stmt[at];
    bool body = false;
    switch ((KStmtKind)s->kind) {
    case KS_For:
      emit_for(e, at);
      body = true;
      break;
    case KS_Let: set_var(e, s->var, emit_expr(e, s->a)); break;
    case KS_Store: emit_store(e, s); break;
    case KS_Reduce: emit_reduce(e, s); break;
    case KS_Contract:
      if (!emit_contract(e, at)) emit_contract_plain(e, at);
      body = true;
      break;
    case KS_Check: fail_unless(e, emit_expr(e, s->a), K_CHECK, s->c); break;
    case KS_If:
      emit_if(e, at);
      body = true;
      break;
    }
    at = body ? s->end : at + 1;
  }
}
