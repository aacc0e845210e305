/* func.c -- bytecode functions as LLVM functions: registers, blocks, fuel.
 *
 * One linear pass per function follows the type of every register, as the
 * verifier did.  A register's variables are allocas that LLVM turns into values;
 * a tail call to the function itself is a jump to its start.                  */
#include "codegen/llvm/func.h"
#include <stdio.h>
#include <stdlib.h>
#include "codegen/native/ahead.h"
#include "vm/instance.h"

/* ---- types ---------------------------------------------------------------------- */
Reg reg_of(const Image *m, uint32_t type) {
  const IType *t = &m->type[type];
  if (t->kind == IT_SCALAR) return (Reg){scalar_ty((DType)t->dtype), 0};
  return (Reg){type, t->kind == IT_DATA && t->n_ctors == 1};
}

Reg known_ctor(const Image *m, uint32_t type, uint32_t ctor) {
  Reg r = reg_of(m, type);
  if (!is_scalar(r)) r.ctor = (uint16_t)(ctor + 1);
  return r;
}

static bool is_half(DType t) { return t == DT_f16 || t == DT_bf16; }

LLVMTypeRef llvm_type(const Func *f, Reg r) {
  if (!is_scalar(r)) return ptr_type(&f->e);
  return is_half(dtype_of(r)) ? int_type(&f->e, 16) : reg_type(&f->e, dtype_of(r));
}

static int kind_of(Reg r) {
  if (!is_scalar(r)) return 7;
  DType t = dtype_of(r);
  if (t == DT_bool) return 0;
  if (t == DT_f32) return 5;
  if (t == DT_f64) return 6;
  int bytes = dtype_bytes(t);
  return bytes == 1 ? 1 : bytes == 2 ? 2 : bytes == 4 ? 3 : 4;
}

/* ---- registers -------------------------------------------------------------------- */
static Val variable(Func *f, uint32_t reg, Reg type) {
  Val *v = &f->slot[(size_t)reg * V_KINDS + (size_t)kind_of(type)];
  if (!*v) *v = new_slot(&f->e, llvm_type(f, type));
  return *v;
}

Val get(Func *f, uint32_t reg) {
  Reg r = f->r[reg];
  return LLVMBuildLoad2(f->e.b, llvm_type(f, r), variable(f, reg, r), "");
}

void set(Func *f, uint32_t reg, Reg type, Val v) {
  f->r[reg] = type;
  LLVMBuildStore(f->e.b, v, variable(f, reg, type));
}

Val get_float(Func *f, uint32_t reg) {
  Val v = get(f, reg);
  return is_half(dtype_of(f->r[reg])) ? from_memory(&f->e, dtype_of(f->r[reg]), v) : v;
}
Val from_float(Func *f, DType t, Val v) { return is_half(t) ? to_memory(&f->e, t, v) : v; }

Val to_slot(Func *f, Reg type, Val v) {
  LLVMBuilderRef b = f->e.b;
  LLVMTypeRef i64 = int_type(&f->e, 64);
  if (!is_scalar(type)) return LLVMBuildPtrToInt(b, v, i64, "");
  DType t = dtype_of(type);
  if (t == DT_f64) return LLVMBuildBitCast(b, v, i64, "");
  if (t == DT_f32) v = LLVMBuildBitCast(b, v, int_type(&f->e, 32), "");
  if (dtype_bytes(t) == 8) return v;
  return dtype_is_signed(t) && !dtype_is_float(t) ? LLVMBuildSExt(b, v, i64, "")
                                                  : LLVMBuildZExt(b, v, i64, "");
}

Val from_slot(Func *f, Reg type, Val v) {
  LLVMBuilderRef b = f->e.b;
  if (!is_scalar(type)) return LLVMBuildIntToPtr(b, v, ptr_type(&f->e), "");
  DType t = dtype_of(type);
  if (t == DT_f64) return LLVMBuildBitCast(b, v, reg_type(&f->e, t), "");
  if (t == DT_bool) return LLVMBuildTrunc(b, v, int_type(&f->e, 1), "");
  if (dtype_bytes(t) < 8) v = LLVMBuildTrunc(b, v, int_type(&f->e, dtype_bytes(t) * 8), "");
  return t == DT_f32 ? LLVMBuildBitCast(b, v, reg_type(&f->e, t), "") : v;
}

Val element_load(Func *f, Val at, DType t) {
  Val v = LLVMBuildLoad2(f->e.b, mem_type(&f->e, t), at, "");
  LLVMSetAlignment(v, (unsigned)dtype_bytes(t));
  return is_half(t) ? v : from_memory(&f->e, t, v);
}

/* ---- small things ------------------------------------------------------------------- */
Val at_offset(Func *f, Val base, size_t offset) {
  Val at = i64_of(&f->e, (int64_t)offset);
  return LLVMBuildGEP2(f->e.b, int_type(&f->e, 8), base, &at, 1, "");
}
Val load_field(Func *f, LLVMTypeRef t, Val base, size_t offset) {
  return LLVMBuildLoad2(f->e.b, t, at_offset(f, base, offset), "");
}
void store_field(Func *f, Val v, Val base, size_t offset) {
  LLVMBuildStore(f->e.b, v, at_offset(f, base, offset));
}

Val lib(Func *f, const char *name, Val *arg, unsigned n) {
  Val fn = LLVMGetNamedFunction(f->e.m, name);
  return LLVMBuildCall2(f->e.b, LLVMGlobalGetValueType(fn), fn, arg, n, "");
}

Val fuel_now(Func *f) {
  LLVMTypeRef i64 = int_type(&f->e, 64);
  Val v = LLVMBuildLoad2(f->e.b, i64, f->fuel, "");
  return LLVMBuildNSWSub(f->e.b, v, i64_of(&f->e, f->pending), "");
}

Val where_now(Func *f) {
  if (f->where) return f->where;
  return i64_of(&f->e, (int64_t)((uint64_t)f->index << 32 | f->pc));
}

Val runtime_call(Func *f, const char *name, LLVMTypeRef result, const Val *arg, unsigned n,
                 bool never_returns) {
  Val v[8] = {f->vm, where_now(f), fuel_now(f)};
  LLVMTypeRef t[8];
  for (unsigned i = 0; i < n; i++) v[3 + i] = arg[i];
  for (unsigned i = 0; i < 3 + n; i++) t[i] = LLVMTypeOf(v[i]);
  LLVMTypeRef type = LLVMFunctionType(result, t, 3 + n, false);
  Val fn = LLVMGetNamedFunction(f->e.m, name);
  if (!fn) {
    fn = LLVMAddFunction(f->e.m, name, type);
    fn_attribute(&f->e, fn, "nounwind");
    if (never_returns) fn_attribute(&f->e, fn, "noreturn");
    if (never_returns) fn_attribute(&f->e, fn, "cold");
  }
  return LLVMBuildCall2(f->e.b, type, fn, v, 3 + n, "");
}

void fail_call(Func *f, const char *name, const Val *arg, unsigned n) {
  runtime_call(f, name, LLVMVoidTypeInContext(f->e.c), arg, n, true);
  LLVMBuildUnreachable(f->e.b);
}

void check(Func *f, Val ok, const char *name, const Val *arg, unsigned n) {
  Block bad = new_block(&f->e, "bad"), next = new_block(&f->e, "");
  LLVMBuildCondBr(f->e.b, ok, next, bad);
  LLVMPositionBuilderAtEnd(f->e.b, bad);
  fail_call(f, name, arg, n);
  LLVMPositionBuilderAtEnd(f->e.b, next);
}

/* What emit_op asks for when an operation traps. */
static void scalar_fails(Emit *e, KStatus s, uint32_t message) {
  (void)message;
  Val status = i64_of(e, (int64_t)s);
  fail_call((Func *)e, "rvm.scalar", &status, 1);
}

Val const_words(Func *f, const uint32_t *w, uint32_t n) {
  LLVMTypeRef i32 = int_type(&f->e, 32);
  Val v[MOST_WORDS];
  for (uint32_t i = 0; i < n; i++) v[i] = LLVMConstInt(i32, w[i], false);
  Val array = LLVMConstArray2(i32, v, n);
  Val g = LLVMAddGlobal(f->e.m, LLVMTypeOf(array), "");
  LLVMSetInitializer(g, array);
  LLVMSetLinkage(g, LLVMPrivateLinkage);
  LLVMSetGlobalConstant(g, true);
  LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
  return g;
}

/* ---- fuel ------------------------------------------------------------------------------ */
static void charge(Func *f) {
  if (f->pending == 0) return;
  Val now = fuel_now(f);
  LLVMBuildStore(f->e.b, now, f->fuel);
  f->pending = 0;
}

void pay(Func *f) {
  f->pending++;
  f->counted = true;
  charge(f);
}

void poll(Func *f) {
  LLVMBuilderRef b = f->e.b;
  LLVMTypeRef i32 = int_type(&f->e, 32), i64 = int_type(&f->e, 64);
  charge(f);
  Val left = LLVMBuildLoad2(b, i64, f->fuel, "");
  Val stop = load_field(f, i32, f->vm, offsetof(rvm_instance, stop));
  LLVMSetOrdering(stop, LLVMAtomicOrderingMonotonic);
  LLVMSetAlignment(stop, 4);
  Val out = LLVMBuildICmp(b, LLVMIntSLT, left, i64_of(&f->e, 0), "");
  Val asked = LLVMBuildICmp(b, LLVMIntNE, stop, LLVMConstInt(i32, 0, false), "");
  Block park = new_block(&f->e, "park"), next = new_block(&f->e, "");
  LLVMBuildCondBr(b, LLVMBuildOr(b, out, asked, ""), park, next);
  LLVMPositionBuilderAtEnd(b, park);
  Val now = runtime_call(f, "rvm.park", i64, NULL, 0, false);
  fn_attribute(&f->e, LLVMGetNamedFunction(f->e.m, "rvm.park"), "cold");
  LLVMBuildStore(b, now, f->fuel);
  LLVMBuildBr(b, next);
  LLVMPositionBuilderAtEnd(b, next);
}

void go(Func *f, uint32_t pc) {
  charge(f);
  LLVMBuildBr(f->e.b, f->block[pc]);
  f->live = false;
}

/* ---- counts ------------------------------------------------------------------------------ */
static bool may_be_odd(const Func *f, Reg r) {
  const IType *t = &f->m->type[r.ty];
  if (t->kind != IT_DATA) return false;
  if (r.ctor) return f->m->ctor[t->first_ctor + r.ctor - 1u].n_fields == 0;
  for (uint32_t i = 0; i < t->n_ctors; i++)
    if (f->m->ctor[t->first_ctor + i].n_fields == 0) return true;
  return false;
}

void dup_ref(Func *f, Reg type, Val v) {
  if (!is_scalar(type)) lib(f, may_be_odd(f, type) ? "dup_data" : "dup_cell", &v, 1);
}

void drop_ref(Func *f, Reg type, Val v) {
  if (is_scalar(type)) return;
  const IType *t = &f->m->type[type.ty];
  Val arg[3] = {f->vm, v, i64_of(&f->e, dtype_bytes((DType)t->dtype))};
  if (t->kind == IT_TENSOR)
    lib(f, f->outlined ? "outline.drop_tensor" : "drop_tensor", arg, 3);
  else if (may_be_odd(f, type))
    lib(f, f->outlined ? "outline.drop_data" : "drop_data", arg, 2);
  else
    lib(f, f->outlined ? "outline.drop_cell" : "drop_cell", arg, 2);
}

/* ---- functions ----------------------------------------------------------------------------- */
static void labels(Func *f, uint32_t *next, uint32_t pc) {
  const Image *m = f->m;
  for (; *next < f->f->n_labels && m->label[f->f->label + *next].pc <= pc; (*next)++) {
    const ILabel *at = &m->label[f->f->label + *next];
    if (at->pc != pc) continue;
    if (f->live) go(f, pc);
    LLVMPositionBuilderAtEnd(f->e.b, f->block[pc]);
    f->live = true;
    f->pending = 0;
    for (uint32_t k = 0; k < at->n_regs; k++) {
      const IRegState *s = &m->state[at->first + k];
      f->r[s->reg] = s->ctor ? known_ctor(m, s->type, s->ctor - 1u) : reg_of(m, s->type);
    }
  }
}

/* What the function keeps in memory for calls of the runtime; does it call others? */
static bool survey(Func *f, uint32_t *slots) {
  bool calls = false;
  *slots = 0;
  for (uint32_t pc = 0; pc < f->f->n_code; pc++) {
    Ins i = f->m->code[f->f->code + pc];
    uint32_t n = scratch_slots(f->m, i);
    if (n > *slots) *slots = n;
    calls |= i.op == OP_CALL || i.op == OP_CALLC;
  }
  return calls;
}

/* The arguments become registers; enough stack, or more of it. */
static Block emit_start(Func *f) {
  LLVMTypeRef i64 = int_type(&f->e, 64);
  Val fn = f->e.fn;
  uint32_t slots, n = f->f->n_captures + f->f->n_params;
  bool calls = survey(f, &slots);
  Block start = new_block(&f->e, "start");
  f->head = new_block(&f->e, "head");
  LLVMPositionBuilderAtEnd(f->e.b, start);
  f->vm = LLVMGetParam(fn, 0);
  f->fuel = new_slot(&f->e, i64);
  f->scratch = slots ? new_slot(&f->e, LLVMArrayType2(i64, slots)) : NULL;
  LLVMBuildStore(f->e.b, LLVMGetParam(fn, 1), f->fuel);
  for (uint32_t k = 0; k < n; k++)
    set(f, k, reg_of(f->m, f->m->type_list[f->f->first_param + k]), LLVMGetParam(fn, 2 + k));
  f->pc = f->pending = 0;
  if (calls) { /* others need no check: there is room for one such frame below the limit */
    Block low = new_block(&f->e, "low");
    LLVMBuildCondBr(f->e.b, lib(f, "low_stack", &f->vm, 1), low, f->head);
    LLVMPositionBuilderAtEnd(f->e.b, low);
    runtime_call(f, "rvm.grow", LLVMVoidTypeInContext(f->e.c), NULL, 0, false);
    fn_attribute(&f->e, LLVMGetNamedFunction(f->e.m, "rvm.grow"), "cold");
  }
  LLVMBuildBr(f->e.b, f->head);
  LLVMPositionBuilderAtEnd(f->e.b, f->head);
  f->live = true;
  return start;
}

static void emit_body(Func *f, const bool *outlined) {
  const Image *m = f->m;
  uint32_t next = 0;
  f->e.fn = f->fn[f->index];
  f->e.entry = new_block(&f->e, "entry");
  Block start = emit_start(f);
  for (uint32_t l = 0; l < f->f->n_labels; l++) {
    uint32_t pc = m->label[f->f->label + l].pc;
    if (!f->block[pc]) f->block[pc] = new_block(&f->e, "at");
  }
  for (f->pc = 0; f->pc < f->f->n_code; f->pc++) {
    labels(f, &next, f->pc);
    if (!f->live) continue;
    f->counted = false;
    f->outlined = outlined[f->pc];
    emit_ins(f, m->code[f->f->code + f->pc]);
    if (!f->counted) f->pending++;
  }
  LLVMPositionBuilderAtEnd(f->e.b, f->e.entry);
  LLVMBuildBr(f->e.b, start);
}

/* void e<i>(vm, slots): the host's call. */
static void emit_entry(Func *f) {
  LLVMTypeRef arg[2] = {ptr_type(&f->e), ptr_type(&f->e)}, i64 = int_type(&f->e, 64);
  LLVMBuilderRef b = f->e.b;
  char name[24];
  uint32_t n = f->f->n_captures + f->f->n_params;
  snprintf(name, sizeof name, "e%u", f->index);
  if (LLVMGetNamedFunction(f->e.m, name)) return;
  Val fn =
      LLVMAddFunction(f->e.m, name, LLVMFunctionType(LLVMVoidTypeInContext(f->e.c), arg, 2, false));
  fn_attribute(&f->e, fn, "nounwind");
  LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(f->e.c, fn, ""));
  Val vm = LLVMGetParam(fn, 0), slots = LLVMGetParam(fn, 1), *v = f->args;
  v[0] = vm;
  v[1] = load_field(f, i64, vm, offsetof(rvm_instance, fuel));
  for (uint32_t k = 0; k < n; k++)
    v[2 + k] = from_slot(f, reg_of(f->m, f->m->type_list[f->f->first_param + k]),
                         load_field(f, i64, slots, (size_t)k * 8));
  Val r = LLVMBuildCall2(b, f->type[f->index], f->fn[f->index], v, n + 2, "");
  LLVMSetInstructionCallConv(r, TAIL_CC);
  Val slot = to_slot(f, reg_of(f->m, f->f->result), LLVMBuildExtractValue(b, r, 0, ""));
  store_field(f, slot, vm, offsetof(rvm_instance, result));
  store_field(f, LLVMBuildExtractValue(b, r, 1, ""), vm, offsetof(rvm_instance, fuel));
  LLVMBuildRetVoid(b);
}

/* ---- the image ------------------------------------------------------------------------------- */
static LLVMTypeRef function_type(Func *f, const IFunc *fn, uint32_t first, bool shell) {
  uint32_t n = 0, total = fn->n_captures + fn->n_params;
  LLVMTypeRef *t = f->arg_types;
  LLVMTypeRef result[2] = {llvm_type(f, reg_of(f->m, fn->result)), int_type(&f->e, 64)};
  t[n++] = ptr_type(&f->e);
  t[n++] = int_type(&f->e, 64);
  if (shell) t[n++] = ptr_type(&f->e);
  for (uint32_t k = first; k < total; k++)
    t[n++] = llvm_type(f, reg_of(f->m, f->m->type_list[fn->first_param + k]));
  return LLVMFunctionType(LLVMStructTypeInContext(f->e.c, result, 2, false), t, n, false);
}

static Val declare(Func *f, char letter, uint32_t i, LLVMTypeRef type) {
  char name[24];
  snprintf(name, sizeof name, "%c%u", letter, i);
  Val fn = LLVMAddFunction(f->e.m, name, type);
  LLVMSetLinkage(fn, LLVMInternalLinkage);
  LLVMSetFunctionCallConv(fn, TAIL_CC);
  fn_attribute(&f->e, fn, "nounwind");
  if (f->e.cpu.wide) LLVMAddTargetDependentFunctionAttr(fn, "prefer-vector-width", "512");
  return fn;
}

/* Of the functions that some closure is made of.  Instructions of no function were not verified. */
static void declare_shells(Func *f, const IFunc *fn) {
  const Image *m = f->m;
  for (uint32_t pc = 0; pc < fn->n_code; pc++) {
    Ins i = m->code[fn->code + pc];
    if (i.op != OP_CLOSURE) continue;
    uint32_t to = m->pool[ins_w(i) + 1];
    if (f->shell[to]) continue;
    LLVMTypeRef type = function_type(f, &m->func[to], m->func[to].n_captures, true);
    f->shell[to] = declare(f, 'c', to, type);
  }
}

static void declare_all(Func *f) {
  const Image *m = f->m;
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    f->type[i] = function_type(f, &m->func[i], 0, false);
    f->fn[i] = declare(f, 'f', i, f->type[i]);
  }
  for (uint32_t i = 0; i < m->n_funcs; i++) declare_shells(f, &m->func[i]);
  Val *v = f->args;
  for (uint32_t i = 0; i < m->n_funcs; i++)
    v[i] = f->shell[i] ? f->shell[i] : LLVMConstNull(ptr_type(&f->e));
  Val array = LLVMConstArray2(ptr_type(&f->e), v, m->n_funcs);
  f->shells = LLVMAddGlobal(f->e.m, LLVMTypeOf(array), "shells");
  LLVMSetInitializer(f->shells, array);
  LLVMSetLinkage(f->shells, LLVMInternalLinkage);
  LLVMSetGlobalConstant(f->shells, true);
  f->konst = LLVMAddGlobal(f->e.m, LLVMArrayType2(int_type(&f->e, 64), m->n_consts), "rvm.konst");
  LLVMSetGlobalConstant(f->konst, true);
}

static bool emit_one(Func *f, uint32_t i) {
  f->index = i;
  f->f = &f->m->func[i];
  f->r = calloc(f->f->n_regs + 1, sizeof *f->r);
  f->slot = calloc((size_t)f->f->n_regs * V_KINDS + 1, sizeof *f->slot);
  f->block = calloc(f->f->n_code + 1, sizeof *f->block);
  bool *outlined = find_outlined(f);
  bool ok = f->r && f->slot && f->block && outlined;
  if (ok) emit_body(f, outlined);
  f->outlined = ok && outlined[0];
  if (ok && f->shell[i]) emit_shell(f, i);
  free(f->r);
  free(f->slot);
  free(f->block);
  free(outlined);
  return ok;
}

/* Of args and arg_types: the context and the closure besides the arguments; or an entry for each
 * function. */
static size_t most_args(const Image *m) {
  size_t most = m->n_funcs;
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    size_t n = (size_t)m->func[i].n_captures + m->func[i].n_params + 3;
    if (n > most) most = n;
  }
  for (uint32_t i = 0; i < m->n_types; i++)
    if (m->type[i].kind == IT_CLOSURE && m->type[i].n_list + (size_t)3 > most)
      most = m->type[i].n_list + (size_t)3;
  return most + 1;
}

bool emit_functions(LLVMModuleRef m, const Image *im, const bool *direct, const uint32_t *memo,
                    const bool *needs_launch, Cpu cpu, const char **why) {
  Func f = {.e = {.c = LLVMGetModuleContext(m), .m = m, .cpu = cpu, .fail = scalar_fails},
            .m = im,
            .direct = direct,
            .memo = memo,
            .needs_launch = needs_launch};
  PlainProduct p;
  for (uint32_t i = 0; i < im->n_kernels; i++) f.ahead |= plain_product(im->kernel[i], &p);
  f.type = calloc(im->n_funcs + 1, sizeof *f.type);
  f.fn = calloc(im->n_funcs + 1, sizeof *f.fn);
  f.shell = calloc(im->n_funcs + 1, sizeof *f.shell);
  f.args = calloc(most_args(im), sizeof *f.args);
  f.arg_types = calloc(most_args(im), sizeof *f.arg_types);
  bool ok = f.type && f.fn && f.shell && f.args && f.arg_types;
  if (ok) {
    f.e.b = LLVMCreateBuilderInContext(f.e.c);
    declare_all(&f);
    for (uint32_t i = 0; ok && i < im->n_funcs; i++) ok = emit_one(&f, i);
    for (uint32_t i = 0; ok && i < im->n_entries; i++) {
      f.index = im->entry[i].func;
      f.f = &im->func[f.index];
      emit_entry(&f);
    }
    LLVMDisposeBuilder(f.e.b);
  }
  free(f.type);
  free(f.fn);
  free(f.shell);
  free(f.args);
  free(f.arg_types);
  if (!ok) *why = "out of memory";
  return ok;
}
