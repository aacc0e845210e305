/* func_ins.c -- instructions on registers, branches, data, references, scalars. */
#include "codegen/llvm/func.h"
#include "vm/value.h"

/* ---- moving --------------------------------------------------------------------- */
static void ins_move(Func *f, Ins i) {
  Reg t = f->r[i.b];
  set(f, i.a, t, get(f, i.b));
}
static void ins_dup(Func *f, Ins i) {
  Reg t = f->r[i.b];
  Val v = get(f, i.b);
  dup_ref(f, t, v);
  set(f, i.a, t, v);
}

static void ins_imm(Func *f, Ins i) {
  Reg t = {scalar_ty((DType)i.b), 0};
  int64_t v = (int16_t)i.c;
  set(f, i.a, t, LLVMConstInt(llvm_type(f, t), (uint64_t)v, true));
}

static void ins_const(Func *f, Ins i) {
  const IConst *c = &f->m->cst[ins_w(i)];
  Reg t = reg_of(f->m, c->type);
  if (is_scalar(t)) {
    set(f, i.a, t, from_slot(f, t, i64_of(&f->e, (int64_t)c->bits)));
    return;
  }
  Val v = load_field(f, ptr_type(&f->e), f->konst, (size_t)ins_w(i) * 8);
  LLVMSetMetadata(v, LLVMGetMDKindIDInContext(f->e.c, "invariant.load", 14),
                  LLVMMetadataAsValue(f->e.c, LLVMMDNodeInContext2(f->e.c, NULL, 0)));
  set(f, i.a, t, v);
}

/* ---- branches --------------------------------------------------------------------- */
static void ins_jump(Func *f, Ins i) {
  if (ins_w(i) <= f->pc) poll(f);
  pay(f);
  go(f, ins_w(i));
}

static void ins_unless(Func *f, Ins i) {
  if (ins_w(i) <= f->pc) poll(f);
  Val v = get(f, i.a);
  pay(f);
  Block next = new_block(&f->e, "");
  LLVMBuildCondBr(f->e.b, v, next, f->block[ins_w(i)]);
  LLVMPositionBuilderAtEnd(f->e.b, next);
}

static uint32_t fields_of(const Func *f, const IType *t, uint32_t c) {
  return f->m->ctor[t->first_ctor + c].n_fields;
}

/* The block that goes to the label of a constructor, stopping on the way back. */
static Block arm(Func *f, uint32_t label) {
  if (label > f->pc) return f->block[label];
  Block here = LLVMGetInsertBlock(f->e.b), b = new_block(&f->e, "back");
  LLVMPositionBuilderAtEnd(f->e.b, b);
  uint32_t pending = f->pending;
  poll(f);
  pay(f);
  LLVMBuildBr(f->e.b, f->block[label]);
  f->pending = pending;
  LLVMPositionBuilderAtEnd(f->e.b, here);
  return b;
}

/* A switch over the constructors that have fields, or over those that have none. */
static void switch_some(Func *f, const IType *t, const Block *to, bool fields, Val v) {
  LLVMTypeRef i32 = int_type(&f->e, 32), i64 = int_type(&f->e, 64);
  uint32_t n = 0, last = 0;
  for (uint32_t c = 0; c < t->n_ctors; c++)
    if ((fields_of(f, t, c) > 0) == fields) {
      n++;
      last = c;
    }
  if (n == 0) {
    LLVMBuildUnreachable(f->e.b);
    return;
  }
  if (n == 1) {
    LLVMBuildBr(f->e.b, to[last]);
    return;
  }
  Val tag =
      fields ? load_field(f, i32, v, offsetof(Cell, desc)) : LLVMBuildPtrToInt(f->e.b, v, i64, "");
  Val s = LLVMBuildSwitch(f->e.b, tag, to[last], n - 1);
  for (uint32_t c = 0; c < last; c++) {
    if ((fields_of(f, t, c) > 0) != fields) continue;
    LLVMAddCase(s, LLVMConstInt(fields ? i32 : i64, fields ? t->first_ctor + c : nullary(c), false),
                to[c]);
  }
}

static void ins_switch(Func *f, Ins i) {
  const uint32_t *w = f->m->pool + ins_w(i);
  const IType *t = &f->m->type[f->r[i.a].ty];
  LLVMBuilderRef b = f->e.b;
  Val v = get(f, i.a);
  Block to[256], odd = new_block(&f->e, "odd"), cell = new_block(&f->e, "cell");
  bool back = false;
  for (uint32_t c = 0; c < t->n_ctors; c++) back |= w[1 + c] <= f->pc;
  if (!back) pay(f);
  for (uint32_t c = 0; c < t->n_ctors; c++) {
    if (back && w[1 + c] > f->pc) { /* charged on each way: some are polled first */
      Block here = LLVMGetInsertBlock(b);
      uint32_t pending = f->pending;
      LLVMPositionBuilderAtEnd(b, to[c] = new_block(&f->e, "on"));
      pay(f);
      LLVMBuildBr(b, f->block[w[1 + c]]);
      f->pending = pending;
      LLVMPositionBuilderAtEnd(b, here);
    } else
      to[c] = arm(f, w[1 + c]);
  }
  Val low =
      LLVMBuildTrunc(b, LLVMBuildPtrToInt(b, v, int_type(&f->e, 64), ""), int_type(&f->e, 1), "");
  LLVMBuildCondBr(b, low, odd, cell);
  LLVMPositionBuilderAtEnd(b, odd);
  switch_some(f, t, to, false, v);
  LLVMPositionBuilderAtEnd(b, cell);
  switch_some(f, t, to, true, v);
  f->counted = true;
  f->pending = 0;
  f->live = false;
}

/* ---- data --------------------------------------------------------------------------- */
static void ins_data(Func *f, Ins i) {
  const uint32_t *w = f->m->pool + ins_w(i);
  Reg t = known_ctor(f->m, w[0], w[1]);
  if (w[2] == 0) {
    Val v = i64_of(&f->e, (int64_t)nullary(w[1]));
    set(f, i.a, t, LLVMBuildIntToPtr(f->e.b, v, ptr_type(&f->e), ""));
    return;
  }
  emit_record(f, i.a, t, CK_Data, f->m->type[w[0]].first_ctor + w[1], w + 2);
}

static void ins_closure(Func *f, Ins i) {
  const uint32_t *w = f->m->pool + ins_w(i);
  emit_record(f, i.a, reg_of(f->m, w[0]), CK_Closure, w[1], w + 2);
}

static void load_slot(Func *f, uint32_t to, Reg type, Val cell, size_t slot, bool owned) {
  Val v = from_slot(f, type,
                    load_field(f, int_type(&f->e, 64), cell, offsetof(Record, slot) + slot * 8));
  if (owned) dup_ref(f, type, v);
  set(f, to, type, v);
}

static void ins_field(Func *f, Ins i) {
  Reg r = f->r[i.b];
  const ICtor *c = &f->m->ctor[f->m->type[r.ty].first_ctor + r.ctor - 1u];
  load_slot(f, i.a, reg_of(f->m, f->m->type_list[c->first_field + i.c]), get(f, i.b), i.c,
            !is_field_of_opened(f, i));
}

static void ins_ref(Func *f, Ins i) {
  uint32_t list[2] = {1, i.b};
  emit_record(f, i.a, reg_of(f->m, i.c), CK_Ref, !is_scalar(f->r[i.b]), list);
}

static void ins_refget(Func *f, Ins i) {
  load_slot(f, i.a, reg_of(f->m, f->m->type[f->r[i.b].ty].result), get(f, i.b), 0, true);
}

static void ins_refset(Func *f, Ins i) {
  Reg t = reg_of(
      f->m, f->m->type[f->r[i.a].ty].result); /* not of b: the old one may be another constructor */
  Val cell = get(f, i.a), at = at_offset(f, cell, offsetof(Record, slot));
  Val old = from_slot(f, t, LLVMBuildLoad2(f->e.b, int_type(&f->e, 64), at, ""));
  LLVMBuildStore(f->e.b, to_slot(f, t, get(f, i.b)), at);
  drop_ref(f, t, old);
}

/* ---- scalars ---------------------------------------------------------------------------- */
static const Reg i64_reg = {TY_SCALAR | DT_i64, 0};

static void ins_dim(Func *f, Ins i) {
  size_t at = offsetof(Tensor, dim) + (size_t)i.c * 8;
  set(f, i.a, i64_reg, load_field(f, int_type(&f->e, 64), get(f, i.b), at));
}

static void ins_elem(Func *f, Ins i) {
  DType t = (DType)f->m->type[f->r[i.b].ty].dtype;
  emit_complete(f);
  Val x = get(f, i.b), n = load_field(f, int_type(&f->e, 64), x, offsetof(Tensor, count));
  Val which = i64_of(&f->e, i.c), arg[2] = {which, n};
  check(f, LLVMBuildICmp(f->e.b, LLVMIntSGT, n, which, ""), "rvm.elem", arg, 2);
  Val data = load_field(f, ptr_type(&f->e), x, offsetof(Tensor, data));
  Val at = at_offset(f, data, (size_t)i.c * (size_t)dtype_bytes(t));
  set(f, i.a, (Reg){scalar_ty(t), 0}, element_load(f, at, t));
}

static void ins_select(Func *f, Ins i) {
  const uint32_t *w = f->m->pool + ins_w(i);
  Reg t = f->r[w[1]];
  set(f, i.a, t, LLVMBuildSelect(f->e.b, get(f, w[0]), get(f, w[1]), get(f, w[2]), ""));
}

static void ins_cast(Func *f, Ins i) {
  DType from = dtype_of(f->r[i.b]), to = (DType)i.c;
  if (from == to) {
    ins_move(f, i);
    return;
  }
  Val v = emit_cast(&f->e, get_float(f, i.b), from, to);
  set(f, i.a, (Reg){scalar_ty(to), 0}, from_float(f, to, v));
}

static void ins_scalar(Func *f, Ins i) {
  SOp op = (SOp)((i.op - OP_SCALAR) >> 4);
  DType t = (DType)(i.op & 15), out = sop_info[op].result == 'b' ? DT_bool : t;
  Val y = sop_info[op].arity > 1 ? get_float(f, i.c) : NULL;
  Val v = emit_op(&f->e, op, t, get_float(f, i.b), y, NULL);
  set(f, i.a, (Reg){scalar_ty(out), 0}, out == DT_bool ? v : from_float(f, t, v));
}

/* ---- checks ------------------------------------------------------------------------------ */
static void ins_check(Func *f, Ins i) {
  const uint32_t *w = f->m->pool + ins_w(i);
  LLVMBuilderRef b = f->e.b;
  Val x = get(f, w[0]), y = get(f, w[1]), one = i64_of(&f->e, 1);
  Val ok = LLVMBuildICmp(b, i.op == OP_CHECKGE ? LLVMIntSGE : LLVMIntEQ, x, y, "");
  if (i.op == OP_CHECKBC) {
    ok = LLVMBuildOr(b, ok, LLVMBuildICmp(b, LLVMIntEQ, x, one, ""), "");
    ok = LLVMBuildOr(b, ok, LLVMBuildICmp(b, LLVMIntEQ, y, one, ""), "");
  }
  check(f, ok, "rvm.two", (Val[]){i64_of(&f->e, w[2]), x, y}, 3);
}

static void ins_fail(Func *f, Ins i) {
  Val text = i64_of(&f->e, ins_w(i));
  fail_call(f, "rvm.text", &text, 1);
  f->live = false;
}

void emit_ins(Func *f, Ins i) {
  static void (*const emit[OP_COUNT])(Func *, Ins) = {
      [OP_MOVE] = ins_move,
      [OP_DUP] = ins_dup,
      [OP_DROP] = emit_drop,
      [OP_IMM] = ins_imm,
      [OP_CONST] = ins_const,
      [OP_JUMP] = ins_jump,
      [OP_UNLESS] = ins_unless,
      [OP_SWITCH] = ins_switch,
      [OP_CALL] = emit_call_ins,
      [OP_TAILCALL] = emit_call_ins,
      [OP_CALLC] = emit_call_ins,
      [OP_TAILCALLC] = emit_call_ins,
      [OP_RET] = emit_call_ins,
      [OP_DATA] = ins_data,
      [OP_FIELD] = ins_field,
      [OP_CLOSURE] = ins_closure,
      [OP_REF] = ins_ref,
      [OP_REFGET] = ins_refget,
      [OP_REFSET] = ins_refset,
      [OP_DIM] = ins_dim,
      [OP_ALLOC] = emit_alloc,
      [OP_VIEW] = emit_view,
      [OP_ELEM] = ins_elem,
      [OP_SELECT] = ins_select,
      [OP_CAST] = ins_cast,
      [OP_KERNEL] = emit_kernel_ins,
      [OP_RUNTIME] = emit_runtime_ins,
      [OP_CHECKEQ] = ins_check,
      [OP_CHECKBC] = ins_check,
      [OP_CHECKGE] = ins_check,
      [OP_FAIL] = ins_fail,
      [OP_REUSE] = emit_reuse,
      [OP_SETTLE] = emit_settle,
      [OP_SHELL] = emit_shell_ins,
      [OP_RENEW] = emit_renew,
  };
  if (i.op >= OP_SCALAR)
    ins_scalar(f, i);
  else
    emit[i.op](f, i);
}
