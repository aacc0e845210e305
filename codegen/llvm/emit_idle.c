/* emit_idle.c -- loops in which nothing happens are not gone through: where loops inside of
 * them run no times.  kernel/idle.c is the same for the interpreter and says why.
 *
 * Conditions are i1; what is not known before the loops is taken to be true.       */
#include "codegen/llvm/emit_stmt.h"

static Val truth(const Emit *e, bool v) { return LLVMConstInt(int_type(e, 1), v, false); }
static bool is_constant(Val x, bool v) {
  return LLVMIsAConstantInt(x) && LLVMConstIntGetZExtValue(x) == v;
}

static Val both(Emit *e, Val x, Val y) {
  if (is_constant(x, true) || is_constant(y, false)) return y;
  return is_constant(y, true) || is_constant(x, false) ? x : LLVMBuildAnd(e->b, x, y, "");
}

static Val either(Emit *e, Val x, Val y) {
  if (is_constant(x, false) || is_constant(y, true)) return y;
  return is_constant(y, false) || is_constant(x, true) ? x : LLVMBuildOr(e->b, x, y, "");
}

static Val some(Emit *e, Val n) { return LLVMBuildICmp(e->b, LLVMIntSGT, n, i64_of(e, 0), ""); }

/* Is anything of the statements [from, to) done that is not forgotten behind them? */
static Val happens(Emit *e, uint32_t from, uint32_t to) {
  Val any = truth(e, false);
  for (uint32_t at = from; at < to && !is_constant(any, true); at = e->k->stmt[at].end) {
    const KStmt *s = &e->k->stmt[at];
    if (s->kind == KS_Store || s->kind == KS_Check || !stmt_is_total(e, at)) return truth(e, true);
    if (s->kind == KS_Let || s->kind == KS_Reduce) continue;
    Val in = happens(e, at + 1, s->end);
    if (s->kind == KS_For) in = both(e, some(e, emit_expr(e, s->a)), in);
    const uint32_t *p = e->k->pool + (s->kind == KS_Contract ? s->b : 0);
    for (uint32_t i = 0; s->kind == KS_Contract && i < p[0]; i++)
      in = both(e, some(e, emit_expr(e, p[2 + 2 * i])), in);
    any = either(e, any, in);
  }
  return any;
}

static Idle idle_unless(Emit *e, Val yes) {
  Idle idle = {NULL};
  if (is_constant(yes, true)) return idle;
  Block in = new_block(e, "some");
  idle.next = new_block(e, "none");
  LLVMBuildCondBr(e->b, yes, in, idle.next);
  LLVMPositionBuilderAtEnd(e->b, in);
  return idle;
}

Idle idle_begin(Emit *e, uint32_t from, uint32_t to, Val times) {
  Val yes = happens(e, from, to);
  return idle_unless(e, times ? both(e, some(e, times), yes) : yes);
}

void idle_end(Emit *e, const Idle *idle) {
  if (!idle->next) return;
  LLVMBuildBr(e->b, idle->next);
  LLVMPositionBuilderAtEnd(e->b, idle->next);
}

void idle_sum(Emit *e, LoopList *l) {
  Val all = truth(e, true), *first = NULL; /* the outermost that is one */
  for (uint32_t i = 0; i < l->n; i++) {
    if (!l->extent[i]) continue;
    if (first) all = both(e, some(e, l->extent[i]), all);
    if (!first) first = &l->extent[i];
  }
  if (!is_constant(all, true)) *first = LLVMBuildSelect(e->b, all, *first, i64_of(e, 0), "");
}
