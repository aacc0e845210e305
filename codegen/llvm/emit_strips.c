/* emit_strips.c -- a parallel loop whose iterations are lanes: it is cut into strips,
 * and every statement of its body runs for all lanes of a strip before the next,
 * the lanes being the innermost loop.  So a reduction over rows reads each row
 * along its memory, with a row of accumulators.  The order within each sum stays
 * that of the statement.                                                     */
#include "codegen/llvm/emit_stmt.h"

enum { LANES = 64 };
typedef struct {
  uint32_t var;
  Val first, n;
} Strip;

static LLVMTypeRef lane_type(const Emit *e, LLVMTypeRef t) {
  return t == int_type(e, 1) ? int_type(e, 8) : t;
}

static Val new_lanes(Emit *e, LLVMTypeRef t) {
  return new_slot(e, LLVMArrayType2(lane_type(e, t), LANES));
}

static Val lane_at(Emit *e, Val array, Val lane) {
  Val index[2] = {i64_of(e, 0), lane};
  return LLVMBuildInBoundsGEP2(e->b, LLVMGetAllocatedType(array), array, index, 2, "");
}

static Val lane_load(Emit *e, Val array, Val lane, LLVMTypeRef t) {
  Val v = LLVMBuildLoad2(e->b, lane_type(e, t), lane_at(e, array, lane), "");
  return t == int_type(e, 1) ? LLVMBuildTrunc(e->b, v, t, "") : v;
}

static void lane_store(Emit *e, Val array, Val lane, Val v) {
  if (LLVMTypeOf(v) == int_type(e, 1)) v = LLVMBuildZExt(e->b, v, int_type(e, 8), "");
  LLVMBuildStore(e->b, v, lane_at(e, array, lane));
}

/* What KN_Var of a variable in lanes reads. */
Val emit_strip_var(Emit *e, uint32_t var) {
  return lane_load(e, e->var[var], e->at_lane, reg_type(e, (DType)e->k->var[var].dtype));
}

static Loop lanes_begin(Emit *e, const Strip *l) {
  Loop in = loop_begin(e, l->n);
  set_var(e, l->var, LLVMBuildNSWAdd(e->b, l->first, in.i, ""));
  e->at_lane = in.i;
  return in;
}

static void set_lanes(Emit *e, uint32_t var, Val array) {
  e->var[var] = array;
  e->in_memory[var] = true;
}

/* Lets and stores from `at` on in one loop; returns the statement after them.  The
 * values of lets are kept for the loops that follow. */
static uint32_t straight(Emit *e, const Strip *l, uint32_t at, uint32_t to) {
  uint32_t end = at;
  while (end < to && (e->k->stmt[end].kind == KS_Let || e->k->stmt[end].kind == KS_Store)) end++;
  Loop in = lanes_begin(e, l);
  for (uint32_t i = at; i < end; i++) {
    const KStmt *s = &e->k->stmt[i];
    if (s->kind == KS_Store) {
      emit_store(e, s);
      continue;
    }
    Val v = emit_expr(e, s->a);
    e->kept[i] = new_lanes(e, LLVMTypeOf(v));
    lane_store(e, e->kept[i], in.i, v);
    set_var(e, s->var, v);
  }
  loop_end(e, &in);
  for (uint32_t i = at; i < end; i++)
    if (e->k->stmt[i].kind == KS_Let) set_lanes(e, e->k->stmt[i].var, e->kept[i]);
  return end;
}

static void reduce(Emit *e, const Strip *l, const KStmt *s) {
  Reducer r = reducer(e, s);
  LoopList list = reduce_loops(e, s);
  Loop open[K_MAX_LOOPS];
  Val acc = new_lanes(e, r.type), out = new_lanes(e, reg_type(e, r.t));
  Loop in = lanes_begin(e, l);
  lane_store(e, acc, in.i, reduce_in(e, &r, emit_expr(e, s->a)));
  loop_end(e, &in);
  open_loops(e, &list, open);
  in = lanes_begin(e, l);
  Val v = reduce_in(e, &r, emit_expr(e, s->c)), old = lane_load(e, acc, in.i, r.type);
  lane_store(e, acc, in.i, reduce_step(e, &r, old, v, false));
  loop_end(e, &in);
  close_loops(e, &list, open);
  in = lanes_begin(e, l);
  lane_store(e, out, in.i, reduce_out(e, &r, lane_load(e, acc, in.i, r.type)));
  loop_end(e, &in);
  set_lanes(e, s->var, out);
}

static void statements(Emit *e, const Strip *l, uint32_t from, uint32_t to) {
  for (uint32_t at = from; at < to;) {
    const KStmt *s = &e->k->stmt[at];
    if (s->kind == KS_Reduce) {
      reduce(e, l, s);
      at++;
    } else if (s->kind == KS_For) {
      Loop in = loop_begin(e, emit_expr(e, s->a));
      set_var(e, s->var, in.i);
      statements(e, l, at + 1, s->end);
      loop_end(e, &in);
      at = s->end;
    } else {
      at = straight(e, l, at, to);
    }
  }
}

void emit_for_strips(Emit *e, uint32_t at, uint32_t top, Val n) {
  const KStmt *s = &e->k->stmt[at];
  Val width = i64_of(e, LANES), strips = LLVMBuildSDiv(e->b, n, width, "");
  Val whole = LLVMBuildNSWMul(e->b, strips, width, "");
  Val rest = LLVMBuildNSWSub(e->b, n, whole, "");
  Part p = emit_part(e, top, strips);
  Loop l = loop_begin(e, LLVMBuildNSWSub(e->b, p.to, p.from, ""));
  Val strip = LLVMBuildNSWAdd(e->b, p.from, l.i, "");
  Strip lanes = {s->var, LLVMBuildNSWMul(e->b, strip, width, ""), width};
  statements(e, &lanes, at + 1, s->end);
  loop_end(e, &l);
  if (LLVMIsAConstantInt(rest) && LLVMConstIntGetZExtValue(rest) == 0) return;
  if (p.is_last) rest = LLVMBuildSelect(e->b, p.is_last, rest, i64_of(e, 0), "");
  Idle idle = idle_begin(e, at + 1, s->end, rest);
  statements(e, &(Strip){s->var, whole, rest}, at + 1, s->end);
  idle_end(e, &idle);
}
