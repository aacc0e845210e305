/* func_call.c -- calls, tail calls, returns, and the code of closures.
 *
 * A closure is called through a table of shells, by the function number in its
 * cell: a shell takes the captured values out and goes on into the function. */
#include "codegen/llvm/func.h"
#include "vm/instance.h"

static LLVMTypeRef i64_type(Func *f) { return int_type(&f->e, 64); }

/* ---- depth ------------------------------------------------------------------------- */
static void deeper(Func *f) {
  LLVMTypeRef i32 = int_type(&f->e, 32);
  Val at = at_offset(f, f->vm, offsetof(rvm_instance, depth));
  Val d = LLVMBuildLoad2(f->e.b, i32, at, "");
  Val most = load_field(f, i32, f->vm, offsetof(rvm_instance, native.max_depth));
  check(f, LLVMBuildICmp(f->e.b, LLVMIntULT, d, most, ""), "rvm.too_deep", NULL, 0);
  LLVMBuildStore(f->e.b, LLVMBuildAdd(f->e.b, d, LLVMConstInt(i32, 1, false), ""), at);
}

static void shallower(Func *f) {
  LLVMTypeRef i32 = int_type(&f->e, 32);
  Val at = at_offset(f, f->vm, offsetof(rvm_instance, depth));
  Val d = LLVMBuildLoad2(f->e.b, i32, at, "");
  LLVMBuildStore(f->e.b, LLVMBuildSub(f->e.b, d, LLVMConstInt(i32, 1, false), ""), at);
}

/* ---- calls ------------------------------------------------------------------------- */
typedef struct {
  LLVMTypeRef type;
  Val fn, *arg;
  unsigned n;
} Call;

static void return_values(Func *f, Val v) {
  LLVMTypeRef type[2] = {LLVMTypeOf(v), i64_type(f)};
  Val s = LLVMGetPoison(LLVMStructTypeInContext(f->e.c, type, 2, false));
  s = LLVMBuildInsertValue(f->e.b, s, v, 0, "");
  Val fuel = LLVMBuildLoad2(f->e.b, i64_type(f), f->fuel, "");
  LLVMBuildRet(f->e.b, LLVMBuildInsertValue(f->e.b, s, fuel, 1, ""));
  f->live = false;
}

static void make_call(Func *f, uint32_t to, Reg result, Call c) {
  deeper(f);
  pay(f);
  c.arg[1] = LLVMBuildLoad2(f->e.b, i64_type(f), f->fuel, "");
  Val r = LLVMBuildCall2(f->e.b, c.type, c.fn, c.arg, c.n, "");
  LLVMSetInstructionCallConv(r, TAIL_CC);
  shallower(f);
  LLVMBuildStore(f->e.b, LLVMBuildExtractValue(f->e.b, r, 1, ""), f->fuel);
  set(f, to, result, LLVMBuildExtractValue(f->e.b, r, 0, ""));
}

static void make_tail_call(Func *f, Call c) {
  pay(f);
  c.arg[1] = LLVMBuildLoad2(f->e.b, i64_type(f), f->fuel, "");
  Val r = LLVMBuildCall2(f->e.b, c.type, c.fn, c.arg, c.n, "");
  LLVMSetInstructionCallConv(r, TAIL_CC);
  LLVMSetTailCallKind(r, LLVMTailCallKindMustTail);
  LLVMBuildRet(f->e.b, r);
  f->live = false;
}

/* The function calls itself last: its parameters change, and it starts again. */
static void start_again(Func *f, const uint32_t *list) {
  Val *v = f->args;
  for (uint32_t k = 0; k < list[0]; k++) v[k] = get(f, list[1 + k]);
  for (uint32_t k = 0; k < list[0]; k++)
    set(f, k, reg_of(f->m, f->m->type_list[f->f->first_param + k]), v[k]);
  pay(f);
  LLVMBuildBr(f->e.b, f->head);
  f->live = false;
}

/* Parameters of closures are declared by their type, as the functions' are. */
static LLVMTypeRef shell_type(Func *f, const IType *t) {
  LLVMTypeRef *a = f->arg_types;
  LLVMTypeRef result[2] = {llvm_type(f, reg_of(f->m, t->result)), i64_type(f)};
  a[0] = a[2] = ptr_type(&f->e);
  a[1] = i64_type(f);
  for (uint32_t k = 0; k < t->n_list; k++)
    a[3 + k] = llvm_type(f, reg_of(f->m, f->m->type_list[t->first_list + k]));
  return LLVMFunctionType(LLVMStructTypeInContext(f->e.c, result, 2, false), a, t->n_list + 3,
                          false);
}

static Val shell_of(Func *f, Val closure) {
  Val number = load_field(f, int_type(&f->e, 32), closure, offsetof(Cell, desc));
  Val at = LLVMBuildZExt(f->e.b, number, i64_type(f), "");
  at = LLVMBuildGEP2(f->e.b, ptr_type(&f->e), f->shells, &at, 1, "");
  return LLVMBuildLoad2(f->e.b, ptr_type(&f->e), at, "");
}

static void return_ins(Func *f, Ins i) {
  pay(f);
  return_values(f, get(f, i.a));
}

void emit_call_ins(Func *f, Ins i) {
  if (i.op == OP_RET) {
    return_ins(f, i);
    return;
  }
  const uint32_t *w = f->m->pool + ins_w(i), *list = w + 1;
  bool tail = i.op == OP_TAILCALL || i.op == OP_TAILCALLC;
  bool closure = i.op == OP_CALLC || i.op == OP_TAILCALLC;
  poll(f);
  if (i.op == OP_TAILCALL && w[0] == f->index) {
    start_again(f, list);
    return;
  }
  Call c = {.arg = f->args};
  Reg result;
  c.arg[c.n++] = f->vm;
  c.arg[c.n++] = NULL; /* the fuel: last */
  if (closure) {
    const IType *t = &f->m->type[f->r[w[0]].ty];
    Val x = get(f, w[0]);
    c.type = shell_type(f, t);
    c.fn = shell_of(f, x);
    c.arg[c.n++] = x;
    result = reg_of(f->m, t->result);
  } else {
    c.type = f->type[w[0]];
    c.fn = f->fn[w[0]];
    result = reg_of(f->m, f->m->func[w[0]].result);
  }
  for (uint32_t k = 0; k < list[0]; k++) c.arg[c.n++] = get(f, list[1 + k]);
  if (tail)
    make_tail_call(f, c);
  else
    make_call(f, i.a, result, c);
}

/* ---- shells ------------------------------------------------------------------------------ */
static void dup_captured(Func *f, const IFunc *fn, const Val *v) {
  for (uint32_t k = 0; k < fn->n_captures; k++)
    dup_ref(f, reg_of(f->m, f->m->type_list[fn->first_param + k]), v[k]);
}

static bool captures_refs(Func *f, const IFunc *fn) {
  for (uint32_t k = 0; k < fn->n_captures; k++)
    if (!is_scalar(reg_of(f->m, f->m->type_list[fn->first_param + k]))) return true;
  return false;
}

/* The closure is consumed, whose values are handed over or get an owner more; its count and
 * memory by a call. */
static void consume_outlined(Func *f, const IFunc *fn, Val closure, int class, const Val *v) {
  Val last = lib(f, "outline.lose_record", (Val[]){f->vm, closure, i64_of(&f->e, class)}, 3);
  if (!captures_refs(f, fn)) return;
  Block shared = new_block(&f->e, "shared"), next = new_block(&f->e, "");
  LLVMBuildCondBr(f->e.b, last, next, shared);
  LLVMPositionBuilderAtEnd(f->e.b, shared);
  dup_captured(f, fn, v);
  LLVMBuildBr(f->e.b, next);
  LLVMPositionBuilderAtEnd(f->e.b, next);
}

/* The captured values, each with an owner of its own; the closure is consumed. */
static void unpack(Func *f, const IFunc *fn, Val closure, Val *to) {
  LLVMBuilderRef b = f->e.b;
  LLVMTypeRef i32 = int_type(&f->e, 32);
  for (uint32_t k = 0; k < fn->n_captures; k++)
    to[k] = from_slot(f, reg_of(f->m, f->m->type_list[fn->first_param + k]),
                      load_field(f, i64_type(f), closure, offsetof(Record, slot) + (size_t)k * 8));
  int class = heap_class(sizeof(Record) + (size_t)fn->n_captures * 8);
  if (f->outlined && class < N_CLASSES) {
    consume_outlined(f, fn, closure, class, to);
    return;
  }
  Val n = LLVMBuildLoad2(b, i32, closure, "");
  Block last = new_block(&f->e, "last"), shared = new_block(&f->e, "shared"),
        next = new_block(&f->e, "");
  LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntEQ, n, LLVMConstInt(i32, 1, false), ""), last, shared);
  LLVMPositionBuilderAtEnd(b, last);
  free_record(f, closure, fn->n_captures);
  LLVMBuildBr(b, next);
  LLVMPositionBuilderAtEnd(b, shared);
  dup_captured(f, fn, to);
  lib(f, "drop_cell", (Val[]){f->vm, closure}, 2);
  LLVMBuildBr(b, next);
  LLVMPositionBuilderAtEnd(b, next);
}

void emit_shell(Func *f, uint32_t index) {
  const IFunc *fn = &f->m->func[index];
  uint32_t n = fn->n_captures + fn->n_params;
  Val *v = f->args, shell = f->shell[index];
  f->e.fn = shell;
  LLVMPositionBuilderAtEnd(f->e.b, new_block(&f->e, ""));
  v[0] = f->vm = LLVMGetParam(shell, 0);
  v[1] = LLVMGetParam(shell, 1);
  unpack(f, fn, LLVMGetParam(shell, 2), v + 2);
  for (uint32_t k = 0; k < fn->n_params; k++)
    v[2 + fn->n_captures + k] = LLVMGetParam(shell, 3 + k);
  Val r = LLVMBuildCall2(f->e.b, f->type[index], f->fn[index], v, n + 2, "");
  LLVMSetInstructionCallConv(r, TAIL_CC);
  LLVMSetTailCallKind(r, LLVMTailCallKindMustTail);
  LLVMBuildRet(f->e.b, r);
}
