/* emit_stmt.c -- statements, reductions, and contractions as plain loops.  The
 * recursion follows the nesting of statements.                               */
#include "codegen/llvm/emit_stmt.h"

void set_var(Emit *e, uint32_t var, Val v) {
  e->var[var] = v;
  e->in_memory[var] = false;
}

/* A loop with carried values: they live in memory until LLVM sees to it. */
static void emit_carrying(Emit *e, uint32_t at) {
  const KStmt *s = &e->k->stmt[at];
  const uint32_t *p = e->k->pool + s->b;
  uint32_t n = p[0];
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
  for (uint32_t i = 0; i < n; i++) e->next[p[1 + 3 * i]] = emit_expr(e, p[3 + 3 * i]);
  for (uint32_t i = 0; i < n; i++)
    LLVMBuildStore(e->b, e->next[p[1 + 3 * i]], e->var[p[1 + 3 * i]]);
  loop_end(e, &l);
}

/* times: iterations of the loops around it that are one with this one, or NULL; top:
 * the outermost of them. */
static void emit_for(Emit *e, uint32_t at, uint32_t top, Val times) {
  const KStmt *s = &e->k->stmt[at];
  if (s->b != KE_NONE) {
    emit_carrying(e, at);
    return;
  }
  Val n = emit_expr(e, s->a);
  if (times) n = LLVMBuildNSWMul(e->b, times, n, "");
  if (for_merges(e, at)) {
    set_var(e, s->var, i64_of(e, 0));
    emit_for(e, at + 1, top, n);
    return;
  }
  bool transposes = for_transposes(e, at), strips = !transposes && for_suits_strips(e, at, n);
  Idle idle = idle_begin(e, at + 1, s->end, transposes ? n : NULL);
  if (transposes) {
    emit_for_transposed(e, at, top, n);
  } else if (strips) {
    emit_for_strips(e, at, top, n);
  } else {
    Part p = emit_part(e, top, n);
    Loop l = loop_begin(e, LLVMBuildNSWSub(e->b, p.to, p.from, ""));
    Block last = LLVMGetLastBasicBlock(e->fn);
    set_var(e, s->var, LLVMBuildNSWAdd(e->b, p.from, l.i, ""));
    emit_stmts(e, at + 1, s->end);
    loop_end_hinted(e, &l, last, for_is_independent(e, at), for_gains_from_interleaving(e, at, n));
  }
  idle_end(e, &idle);
}

void emit_store(Emit *e, const KStmt *s) {
  const KBuf *b = &e->k->buf[s->a];
  Val index[K_MAX_RANK];
  for (int i = 0; i < b->rank; i++) index[i] = emit_expr(e, e->k->pool[s->b + (uint32_t)i]);
  Val v = to_memory(e, (DType)b->dtype, emit_expr(e, s->c));
  Val st = LLVMBuildStore(e->b, v, emit_address(e, s->a, index));
  LLVMSetAlignment(st, (unsigned)dtype_bytes((DType)b->dtype));
}

static LoopList all_loops(Emit *e, const uint32_t *pair, uint32_t n) {
  LoopList l = {.n = n};
  for (uint32_t i = 0; i < n; i++)
    l.var[i] = pair[2 * i], l.extent[i] = emit_expr(e, pair[2 * i + 1]);
  return l;
}

void emit_contract_plain(Emit *e, uint32_t at) {
  const KStmt *s = &e->k->stmt[at];
  const uint32_t *p = e->k->pool + s->b, np = p[0], *red = p + 1 + 2 * np, nr = red[0];
  DType t = (DType)s->dtype, wide = t == DT_f16 || t == DT_bf16 ? DT_f32 : t;
  Reducer r = {S_add, t, false, reg_type(e, t)};
  LoopList outer = all_loops(e, p + 1, np), inner = all_loops(e, red + 1, nr);
  Loop open[K_MAX_LOOPS], depth[K_MAX_LOOPS];
  idle_sum(e, &inner);
  Val acc = new_slot(e, r.type), f[2];
  Part part = emit_part(e, at, np ? outer.extent[0] : i64_of(e, 1));
  Loop first = loop_begin(e, LLVMBuildNSWSub(e->b, part.to, part.from, ""));
  if (np) {
    set_var(e, outer.var[0], LLVMBuildNSWAdd(e->b, part.from, first.i, ""));
    outer = all_loops(e, p + 3, np - 1);
  }
  open_loops(e, &outer, open);
  LLVMBuildStore(e->b, LLVMConstNull(r.type), acc);
  open_loops(e, &inner, depth);
  for (int i = 0; i < 2; i++) {
    KE x = red[1 + 2 * nr + (uint32_t)i];
    f[i] = emit_cast(e, emit_expr(e, x), (DType)e->k->node[x].dtype, t);
  }
  Val v = emit_op(e, S_mul, wide, f[0], f[1], NULL);
  Val old = LLVMBuildLoad2(e->b, r.type, acc, "");
  LLVMBuildStore(e->b, reduce_step(e, &r, old, v, true), acc);
  close_loops(e, &inner, depth);
  set_var(e, s->var, reduce_out(e, &r, LLVMBuildLoad2(e->b, r.type, acc, "")));
  emit_stmts(e, at + 1, s->end);
  close_loops(e, &outer, open);
  loop_end(e, &first);
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
    Idle idle;
    switch ((KStmtKind)s->kind) {
    case KS_For:
      emit_for(e, at, at, NULL);
      body = true;
      break;
    case KS_Let: set_var(e, s->var, emit_expr(e, s->a)); break;
    case KS_Store: emit_store(e, s); break;
    case KS_Reduce: emit_reduce(e, s); break;
    case KS_Contract:
      idle = idle_begin(e, at, s->end, NULL);
      if (!emit_contract(e, at)) emit_contract_plain(e, at);
      idle_end(e, &idle);
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
