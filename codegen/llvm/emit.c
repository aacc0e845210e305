/* emit.c -- one kernel as two functions of LLVM IR: an outer one that unpacks
 * buffers and symbols from arrays, and an inner one that has each buffer as a
 * noalias argument.  (The caller runs launches whose buffers overlap elsewhere.)
 *
 * Loops are rotated and canonical, guarded against no iterations.            */
#include <stdlib.h>
#include "codegen/llvm/emit.h"
#include "codegen/llvm/arith.h"
#include "codegen/native/launch.h"

LLVMTypeRef int_type(const Emit *e, int bits) { return LLVMIntTypeInContext(e->c, (unsigned)bits); }
LLVMTypeRef ptr_type(const Emit *e) { return LLVMPointerTypeInContext(e->c, 0); }
Val i64_of(const Emit *e, int64_t v) { return LLVMConstInt(int_type(e, 64), (uint64_t)v, true); }

LLVMTypeRef reg_type(const Emit *e, DType t) {
  if (t == DT_bool) return int_type(e, 1);
  if (t == DT_f64) return LLVMDoubleTypeInContext(e->c);
  if (dtype_is_float(t)) return LLVMFloatTypeInContext(e->c);
  return int_type(e, dtype_bytes(t) * 8);
}

LLVMTypeRef mem_type(const Emit *e, DType t) {
  if (t == DT_f32 || t == DT_f64) return reg_type(e, t);
  return int_type(e, dtype_bytes(t) * 8);
}

Block new_block(Emit *e, const char *name) {
  return LLVMAppendBasicBlockInContext(e->c, e->fn, name);
}

Val new_slot(Emit *e, LLVMTypeRef t) {
  Block here = LLVMGetInsertBlock(e->b);
  Val first = LLVMGetFirstInstruction(e->entry);
  if (first)
    LLVMPositionBuilderBefore(e->b, first);
  else
    LLVMPositionBuilderAtEnd(e->b, e->entry);
  Val slot = LLVMBuildAlloca(e->b, t, "");
  LLVMPositionBuilderAtEnd(e->b, here);
  return slot;
}

void fail_unless(Emit *e, Val ok, KStatus s, uint32_t message) {
  Block bad = new_block(e, "fail"), next = new_block(e, "");
  LLVMBuildCondBr(e->b, ok, next, bad);
  LLVMPositionBuilderAtEnd(e->b, bad);
  if (e->fail)
    e->fail(e, s, message);
  else
    LLVMBuildRet(e->b, i64_of(e, (int64_t)s | (int64_t)message << 8));
  LLVMPositionBuilderAtEnd(e->b, next);
}

Val i64_min(Emit *e, Val x, Val y) { return choose(e, less(e, x, y), x, y); }

/* ---- parts ------------------------------------------------------------------------------ */
static Val state_field(Emit *e, size_t offset) {
  Val at = bytes_on(e, e->state, i64_of(e, (int64_t)offset));
  return LLVMBuildLoad2(e->b, int_type(e, 64), at, "");
}

Part emit_part(Emit *e, uint32_t at, Val n) {
  Part p = {i64_of(e, 0), n, NULL};
  if (at != e->split || at == KE_NONE) return p;
  LLVMTypeRef i1 = int_type(e, 1);
  Block here = LLVMGetInsertBlock(e->b), look = new_block(e, "parts"), cut = new_block(e, "part");
  Block next = new_block(e, "");
  Val yes = LLVMConstInt(i1, 1, false), zero = p.from;
  LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, e->state, ""), next, look);
  LLVMPositionBuilderAtEnd(e->b, look);
  Val parts = state_field(e, offsetof(JitState, parts));
  LLVMBuildCondBr(e->b, at_most(e, parts, i64_of(e, 1)), next, cut);
  LLVMPositionBuilderAtEnd(e->b, cut);
  Val part = state_field(e, offsetof(JitState, part));
  Val after = LLVMBuildAdd(e->b, part, i64_of(e, 1), "");
  Val from = LLVMBuildUDiv(e->b, LLVMBuildMul(e->b, n, part, ""), parts, "");
  Val to = LLVMBuildUDiv(e->b, LLVMBuildMul(e->b, n, after, ""), parts, "");
  Val last = equal(e, after, parts);
  LLVMBuildBr(e->b, next);
  LLVMPositionBuilderAtEnd(e->b, next);
  Val value[3][3] = {{zero, zero, from}, {n, n, to}, {yes, yes, last}};
  Val *out[3] = {&p.from, &p.to, &p.is_last};
  for (int i = 0; i < 3; i++) {
    *out[i] = LLVMBuildPhi(e->b, LLVMTypeOf(value[i][0]), "");
    LLVMAddIncoming(*out[i], value[i], (Block[]){here, look, cut}, 3);
  }
  return p;
}

/* ---- loops -------------------------------------------------------------------------- */
Loop loop_begin_step(Emit *e, Val n, int64_t step) {
  Loop l = {.body = new_block(e, "loop"), .exit = new_block(e, "done"), .n = n, .step = step};
  Block pre = new_block(e, "pre");
  LLVMBuildCondBr(e->b, greater(e, n, i64_of(e, 0)), pre, l.exit);
  LLVMPositionBuilderAtEnd(e->b, pre);
  LLVMBuildBr(e->b, l.body);
  LLVMPositionBuilderAtEnd(e->b, l.body);
  l.i = LLVMBuildPhi(e->b, int_type(e, 64), "i");
  Val zero = i64_of(e, 0);
  LLVMAddIncoming(l.i, &zero, &pre, 1);
  return l;
}

Loop loop_begin(Emit *e, Val n) { return loop_begin_step(e, n, 1); }

void loop_end(Emit *e, Loop *l) {
  Block latch = LLVMGetInsertBlock(e->b);
  Val next = LLVMBuildNSWAdd(e->b, l->i, i64_of(e, l->step), "");
  LLVMAddIncoming(l->i, &next, &latch, 1);
  Val again = less(e, next, l->n);
  LLVMBuildCondBr(e->b, again, l->body, l->exit);
  LLVMPositionBuilderAtEnd(e->b, l->exit);
}

/* ---- functions ----------------------------------------------------------------------- */
static void add_attribute(const Emit *e, Val fn, unsigned at, const char *name) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(fn, at, LLVMCreateEnumAttribute(e->c, kind, 0));
}

void fn_attribute(const Emit *e, Val fn, const char *name) {
  add_attribute(e, fn, (unsigned)LLVMAttributeFunctionIndex, name);
}

Val own_function(const Emit *e, const char *name, LLVMTypeRef type) {
  Val fn = LLVMAddFunction(e->m, name, type);
  LLVMSetLinkage(fn, LLVMInternalLinkage);
  fn_attribute(e, fn, "nounwind");
  fn_attribute(e, fn, "noinline");
  if (e->cpu.wide) LLVMAddTargetDependentFunctionAttr(fn, "prefer-vector-width", "512");
  return fn;
}

void emit_noalias(const Emit *e, Val fn) {
  for (uint32_t i = 0; i < e->k->n_bufs; i++)
    if (!(e->shared >> i & 1)) add_attribute(e, fn, i + 1, "noalias");
}

static Val inner_function(Emit *e, const char *name, LLVMTypeRef *type) {
  LLVMTypeRef arg[K_MAX_BUFS + K_MAX_SYMS + 1];
  unsigned n = 0;
  char buf[64] = "inner.";
  for (uint32_t i = 0; i < e->k->n_bufs; i++) arg[n++] = ptr_type(e);
  for (uint32_t i = 0; i < e->k->n_syms; i++) arg[n++] = int_type(e, 64);
  arg[n++] = ptr_type(e);
  *type = LLVMFunctionType(int_type(e, 64), arg, n, false);
  strncat(buf, name, sizeof buf - strlen(buf) - 1);
  Val fn = own_function(e, buf, *type);
  emit_noalias(e, fn);
  return fn;
}

static Val load_at(Emit *e, LLVMTypeRef t, Val array, uint32_t i) {
  Val at = i64_of(e, i);
  return LLVMBuildLoad2(e->b, t, LLVMBuildGEP2(e->b, t, array, &at, 1, ""), "");
}

static void outer_function(Emit *e, const char *name, Val inner, LLVMTypeRef type) {
  LLVMTypeRef arg[3] = {ptr_type(e), ptr_type(e), ptr_type(e)};
  Val fn = LLVMAddFunction(e->m, name, LLVMFunctionType(int_type(e, 64), arg, 3, false));
  Val v[K_MAX_BUFS + K_MAX_SYMS + 1];
  unsigned n = 0;
  LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->c, fn, ""));
  for (uint32_t i = 0; i < e->k->n_bufs; i++)
    v[n++] = load_at(e, ptr_type(e), LLVMGetParam(fn, 0), i);
  for (uint32_t i = 0; i < e->k->n_syms; i++)
    v[n++] = load_at(e, int_type(e, 64), LLVMGetParam(fn, 1), i);
  v[n++] = LLVMGetParam(fn, 2);
  LLVMBuildRet(e->b, LLVMBuildCall2(e->b, type, inner, v, n, ""));
}

void take_symbols(Emit *e, unsigned first) {
  for (uint32_t i = 0; i < e->k->n_syms; i++)
    e->sym[i] = e->fixed ? i64_of(e, e->fixed[i]) : LLVMGetParam(e->fn, first + i);
}

static void emit_body(Emit *e) {
  const Kernel *k = e->k;
  uint32_t n = 0;
  for (uint32_t i = 0; i < k->n_bufs; i++) e->buf[i] = LLVMGetParam(e->fn, n++);
  take_symbols(e, n);
  e->state = LLVMGetParam(e->fn, n + k->n_syms);
  e->entry = new_block(e, "entry");
  Block start = new_block(e, "start");
  LLVMPositionBuilderAtEnd(e->b, start);
  for (uint32_t i = 0; i < k->n_bufs; i++)
    for (int d = 0; d < k->buf[i].rank; d++) e->dim[i][d] = emit_expr(e, k->buf[i].dim[d]);
  emit_stmts(e, 0, k->n_stmts);
  LLVMBuildRet(e->b, i64_of(e, 0));
  LLVMPositionBuilderAtEnd(e->b, e->entry);
  LLVMBuildBr(e->b, start);
}

/* The tables of a kernel, in one block. */
static void *make_tables(Emit *e, const Kernel *k) {
  size_t n = k->n_nodes + 1, v = k->n_vars + 1, m = k->n_stmts + 1;
  char *at = calloc(1, n * (2 * sizeof(Val) + 8 + 2 * 4 + 2) + v * (2 * sizeof(Val) + 8 + 1 + 1) +
                           m * sizeof(Val));
  char *block = at;
  if (!at) return NULL;
#define TAKE(field, count) (e->field = (void *)at, at += (count) * sizeof *e->field)
  TAKE(val, n), TAKE(kept, m), TAKE(lane, n), TAKE(coef, n), TAKE(var, v), TAKE(next, v);
  TAKE(var_coef, v);
  TAKE(seen, n), TAKE(todo, n), TAKE(form, n), TAKE(need, n);
  TAKE(in_memory, v), TAKE(var_form, v);
#undef TAKE
  return block;
}

/* Which buffers the VM may give the same memory. */
static bool find_shared(Emit *e) {
  const Kernel *k = e->k;
  for (uint32_t out = 0; out < k->n_params; out++)
    for (uint32_t in = 0; k->buf[out].role == K_OUT && in < k->n_params; in++) {
      bool yes;
      if (!kernel_in_place(k, in, out, native_memory, &yes)) return false;
      if (yes) e->shared |= (uint64_t)1 << in | (uint64_t)1 << out;
    }
  return true;
}

static bool emit(LLVMModuleRef m, const Kernel *k, Cpu cpu, const char *name,
                 const int64_t *fixed) {
  Emit e = {.c = LLVMGetModuleContext(m), .m = m, .k = k, .cpu = cpu, .fixed = fixed};
  LLVMTypeRef type;
  void *tables = make_tables(&e, k);
  (void)native_splits(k, &e.split);
  if (!tables || !find_shared(&e)) {
    free(tables);
    return false;
  }
  e.b = LLVMCreateBuilderInContext(e.c);
  e.fn = inner_function(&e, name, &type);
  emit_body(&e);
  outer_function(&e, name, e.fn, type);
  LLVMDisposeBuilder(e.b);
  free(tables);
  return !e.other_order;
}

bool emit_kernel(LLVMModuleRef m, const Kernel *k, Cpu cpu, const char *name) {
  return emit(m, k, cpu, name, NULL);
}

bool emit_kernel_fixed(LLVMModuleRef m, const Kernel *k, Cpu cpu, const char *name,
                       const int64_t *sym) {
  return native_fixable(k) && emit(m, k, cpu, name, sym);
}
