/* way.c -- which instructions come before one on every way to it, in finished code whose
 * labels are not yet resolved and whose jumps all go forward.                     */
#include "codegen/lower/lower_priv.h"

int fl_next(const FnLower *f, int pc, int i) {
  const Ins *x = &f->code.at[pc];
  const uint32_t *w = f->L->pool.at + ins_w(*x);
  switch (x->op) {
  case OP_JUMP: return i == 0 ? (int)f->label_pc.at[ins_w(*x)] : NOWHERE;
  case OP_UNLESS: return i == 0 ? pc + 1 : i == 1 ? (int)f->label_pc.at[ins_w(*x)] : NOWHERE;
  case OP_SWITCH: return i < (int)w[0] ? (int)f->label_pc.at[w[1 + i]] : NOWHERE;
  case OP_TAILCALL:
  case OP_TAILCALLC:
  case OP_RET:
  case OP_FAIL: return NOWHERE;
  default: return i == 0 ? pc + 1 : NOWHERE;
  }
}

Flow fl_flow(const FnLower *f) {
  int n = f->code.n;
  Flow flow = {f, NEW_N(int, n + 1), NEW_N(int, n + 1)};
  for (int pc = 0; pc <= n; pc++) flow.n_from[pc] = 0, flow.from[pc] = NOWHERE;
  for (int pc = 0, to; pc < n; pc++)
    for (int i = 0; (to = fl_next(f, pc, i)) != NOWHERE; i++) {
      flow.n_from[to]++;
      flow.from[to] = pc;
    }
  return flow;
}

Way fl_way(const Flow *flow, int pc) {
  Way w = {0};
  for (int p = pc; flow->n_from[p] == 1; p = flow->from[p]) w.n++;
  w.pc = NEW_N(int, w.n + 1);
  for (int i = w.n; i > 0; i--) w.pc[i - 1] = pc = flow->from[pc];
  return w;
}
