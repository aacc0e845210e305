/* emit_reduce.c -- reductions: their accumulators, and the plain form, in which the
 * loops that are reduced are innermost.
 *
 * Sums and products of floats may be taken in lanes by LLVM.  The least and the
 * largest float are found as integers whose order is that of the floats with
 * -0 before 0 and NaN beyond all: exact in any order, so lanes cost nothing.
 * (llvm.maximum would say the same; its vector form on x86 is a longer sequence.) */
#include "codegen/llvm/emit_stmt.h"

/* Sums of halves are kept in float32. */
static DType wide_type(DType t) { return dtype_is_float(t) && t != DT_f64 ? DT_f32 : t; }

Reducer reducer(const Emit *e, const KStmt *s) {
  DType t = (DType)s->dtype;
  bool keyed = dtype_is_float(t) && (s->op == S_min || s->op == S_max);
  LLVMTypeRef type = keyed ? int_type(e, t == DT_f64 ? 64 : 32) : reg_type(e, t);
  return (Reducer){(SOp)s->op, t, keyed, type};
}

/* The bits of floats as integers of the same order: those of negative ones are flipped, but
 * for the sign.  Its own inverse. */
static Val ordered_key(Emit *e, Val u) {
  LLVMTypeRef t = LLVMTypeOf(u);
  unsigned bits = LLVMGetIntTypeWidth(t);
  Val sign = LLVMBuildAShr(e->b, u, LLVMConstInt(t, bits - 1, false), "");
  Val mask = LLVMConstInt(t, ~(uint64_t)0 >> (65 - bits), false);
  return LLVMBuildXor(e->b, u, LLVMBuildAnd(e->b, sign, mask, ""), "");
}

Val reduce_in(Emit *e, const Reducer *r, Val v) {
  if (!r->keyed) return v;
  unsigned bits = LLVMGetIntTypeWidth(r->type);
  uint64_t largest = ~(uint64_t)0 >> (65 - bits);
  Val nan = LLVMConstInt(r->type, r->op == S_max ? largest : largest + 1, false);
  Val key = ordered_key(e, LLVMBuildBitCast(e->b, v, r->type, ""));
  return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, ""), nan, key, "");
}

Val reduce_step(Emit *e, const Reducer *r, Val acc, Val v, bool any_order) {
  if (r->keyed)
    return emit_intrinsic(e, r->op == S_max ? "llvm.smax" : "llvm.smin", r->type, (Val[]){acc, v},
                          2);
  if (!dtype_is_float(r->t) || (r->op != S_add && r->op != S_mul))
    return emit_op(e, r->op, wide_type(r->t), acc, v, NULL);
  Val now = r->op == S_add ? LLVMBuildFAdd(e->b, acc, v, "") : LLVMBuildFMul(e->b, acc, v, "");
  if (any_order && LLVMIsAInstruction(now)) LLVMSetFastMathFlags(now, LLVMFastMathAllowReassoc);
  return now;
}

Val reduce_out(Emit *e, const Reducer *r, Val acc) {
  if (!r->keyed) return emit_round_half(e, r->t, acc);
  return LLVMBuildBitCast(e->b, ordered_key(e, acc), reg_type(e, r->t), "");
}

/* ---- loops ----------------------------------------------------------------------------- */
void open_loops(Emit *e, const LoopList *l, Loop *open) {
  for (uint32_t i = 0; i < l->n; i++) {
    if (l->extent[i]) open[i] = loop_begin(e, l->extent[i]);
    set_var(e, l->var[i], l->extent[i] ? open[i].i : i64_of(e, 0));
  }
}

void close_loops(Emit *e, const LoopList *l, Loop *open) {
  for (uint32_t i = l->n; i-- > 0;)
    if (l->extent[i]) loop_end(e, &open[i]);
}

LoopList reduce_loops(Emit *e, const KStmt *s) {
  const uint32_t *p = e->k->pool + s->b;
  LoopList l = {.n = p[0]};
  Val times = NULL;
  for (uint32_t i = 0; i < l.n; i++) {
    Val n = emit_expr(e, p[2 + 2 * i]);
    if (times) n = LLVMBuildNSWMul(e->b, times, n, "");
    times = i + 1 < l.n && reduce_merges(e, s, i) ? n : NULL;
    l.var[i] = p[1 + 2 * i], l.extent[i] = times ? NULL : n;
  }
  idle_sum(e, &l);
  return l;
}

void emit_reduce(Emit *e, const KStmt *s) {
  Reducer r = reducer(e, s);
  LoopList l = reduce_loops(e, s);
  Loop open[K_MAX_LOOPS];
  Val acc = new_slot(e, r.type);
  LLVMBuildStore(e->b, reduce_in(e, &r, emit_expr(e, s->a)), acc);
  open_loops(e, &l, open);
  Val v = reduce_in(e, &r, emit_expr(e, s->c));
  Val old = LLVMBuildLoad2(e->b, r.type, acc, "");
  LLVMBuildStore(e->b, reduce_step(e, &r, old, v, true), acc);
  close_loops(e, &l, open);
  set_var(e, s->var, reduce_out(e, &r, LLVMBuildLoad2(e->b, r.type, acc, "")));
}
