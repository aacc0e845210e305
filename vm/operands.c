/* operands.c -- walking the operands of an instruction.
 *
 * The forms are opcode.def's; the pool layouts, which opcode.def gives in
 * words, are here one string each.  Verifier, disassembler and assembler are
 * loops over these two tables.                                                */
#include "vm/operands.h"

static const char *const layouts[OP_COUNT] = {
    [OP_SWITCH] = "[L]",    [OP_CALL] = "F[m]",      [OP_TAILCALL] = "F[m]",
    [OP_CALLC] = "m[m]",    [OP_TAILCALLC] = "m[m]", [OP_DATA] = "Yc[m]",
    [OP_CLOSURE] = "YF[m]", [OP_ALLOC] = "Y[u]",     [OP_VIEW] = "Yu[u]",
    [OP_SELECT] = "uuu",    [OP_KERNEL] = "X[b][u]", [OP_RUNTIME] = "R[u][Yd][w]",
    [OP_CHECKEQ] = "uuM",   [OP_CHECKBC] = "uuM",    [OP_CHECKGE] = "uuM",
    [OP_REUSE] = "Yu[u]",   [OP_RENEW] = "Ycm[m]",
};

static bool is_scalar_op(uint16_t op) {
  return op >= OP_SCALAR && op < OP_SCALAR + S_COUNT * 16 && (op & 15) < DT_COUNT;
}

const char *op_form(uint16_t op) {
  if (op < OP_COUNT) return op_info[op].form;
  if (!is_scalar_op(op)) return NULL;
  int arity = sop_info[(op - OP_SCALAR) >> 4].arity;
  return arity == 1 ? "du." : arity == 2 ? "duu" : NULL;
}

const char *op_layout(uint16_t op) { return op < OP_COUNT && layouts[op] ? layouts[op] : ""; }

bool operands_begin(OperandIter *it, const Image *m, Ins ins) {
  *it = (OperandIter){.m = m, .ins = ins, .form = op_form(ins.op)};
  return it->form != NULL;
}

static bool pool_word(OperandIter *it, uint32_t *v) {
  if (it->at >= it->m->n_pool) return !(it->bad = true);
  *v = it->m->pool[it->at++];
  return true;
}

/* At the opening bracket: read the length, and step into or over the list. */
static bool list_open(OperandIter *it, Operand *o) {
  if (!pool_word(it, &it->left)) return false;
  *o = (Operand){.kind = '[', .v = it->left};
  it->loop = it->layout;
  if (it->left == 0)
    while (*it->layout != ']') it->layout++;
  return true;
}

static bool next_in_pool(OperandIter *it, Operand *o) {
  char k = *it->layout;
  if (k == '\0') return false;
  it->layout++;
  if (k == '[') return list_open(it, o);
  if (k == ']') {
    if (it->left > 1) {
      it->left--;
      it->layout = it->loop;
      return next_in_pool(it, o); /* once: a list has an entry      */
    }
    *o = (Operand){.kind = ']'};
    return true;
  }
  *o = (Operand){.kind = k};
  if (!pool_word(it, &o->v)) return false;
  if (k == 'w') {
    uint32_t high;
    if (!pool_word(it, &high)) return false;
    o->wide = (int64_t)((uint64_t)high << 32 | o->v);
  }
  return true;
}

bool operands_next(OperandIter *it, Operand *o) {
  if (it->layout) return next_in_pool(it, o);
  char k = *it->form;
  if (k == '\0') return false;
  it->form++;
  if (k == 'P') {
    it->layout = op_layout(it->ins.op);
    it->at = ins_w(it->ins);
    return next_in_pool(it, o);
  }
  bool wide = k == 'J' || k == 'K' || k == 'M';
  uint16_t slots[3] = {it->ins.a, it->ins.b, it->ins.c};
  *o = (Operand){.kind = k, .v = wide ? ins_w(it->ins) : slots[it->slot]};
  it->slot++;
  return true;
}

static bool is_one_of(const char *kinds, char k) {
  while (*kinds && *kinds != k) kinds++;
  return *kinds != '\0';
}

bool ins_names(const Image *m, Ins ins, const char *kinds, uint32_t reg) {
  OperandIter it;
  Operand o;
  if (!operands_begin(&it, m, ins)) return false;
  while (operands_next(&it, &o))
    if (o.v == reg && is_one_of(kinds, o.kind)) return true;
  return false;
}

bool op_leaves(uint16_t op) {
  switch (op) {
  case OP_JUMP:
  case OP_UNLESS:
  case OP_SWITCH:
  case OP_CALL:
  case OP_TAILCALL:
  case OP_CALLC:
  case OP_TAILCALLC:
  case OP_RET:
  case OP_FAIL: return true;
  default: return false;
  }
}
