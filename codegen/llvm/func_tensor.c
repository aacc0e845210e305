/* func_tensor.c -- tensors and cells, and running kernels on them.
 *
 * A small kernel of the same module is called directly, where it may become
 * part of the function: when its element counts are those demanded (of kernels
 * with symbols they are in the instance's memo, vm/run_kernel.c) and there is
 * fuel for it.  All else, failures included, is the runtime's.  That written
 * tensors are owned by their register alone the verifier has proved.          */
#include "codegen/llvm/func.h"
#include <stdio.h>
#include "codegen/native/ahead.h"
#include "vm/instance.h"
#include "vm/operands.h"
#include "vm/runtime.h"

enum { DIRECT_COST = 1 << 14, SMALL_DIM_BITS = 12 }; /* larger ones: overhead is nothing there */

static LLVMTypeRef i64_type(Func *f) { return int_type(&f->e, 64); }

static Val slot_at(Func *f, uint32_t i) { return at_offset(f, f->scratch, (size_t)i * 8); }
static void put_slot(Func *f, uint32_t i, uint32_t reg) {
  LLVMBuildStore(f->e.b, to_slot(f, f->r[reg], get(f, reg)), slot_at(f, i));
}

uint32_t scratch_slots(const Image *m, Ins i) {
  const uint32_t *w = m->pool + ins_w(i);
  switch (i.op) {
  case OP_ALLOC: return w[1] + 1;
  case OP_REUSE:
  case OP_VIEW: return w[2] + 1;
  case OP_KERNEL: return w[1] + w[2 + w[1]] + 1;
  case OP_RUNTIME: return w[1] + w[2 + w[1]] + 1;
  default: return 0;
  }
}

/* ---- memory ----------------------------------------------------------------------- */
static Val header(Func *f, uint32_t desc, uint32_t n, CellKind kind, int class) {
  return i64_of(
      &f->e, (int64_t)(desc | (uint64_t)n << 32 | (uint64_t)kind << 48 | (uint64_t) class << 56));
}

/* v, or if that is null what `slow` has been positioned to make: see fast_or. */
typedef struct {
  Block fast, slow, next, fast_end;
} Choice;
static Choice when_null(Func *f, Val v) {
  Choice c = {new_block(&f->e, "fast"), new_block(&f->e, "slow"), new_block(&f->e, ""), NULL};
  LLVMBuildCondBr(f->e.b, LLVMBuildIsNull(f->e.b, v, ""), c.slow, c.fast);
  LLVMPositionBuilderAtEnd(f->e.b, c.fast);
  return c;
}
static void else_slow(Func *f, Choice *c) {
  c->fast_end = LLVMGetInsertBlock(f->e.b);
  LLVMBuildBr(f->e.b, c->next);
  LLVMPositionBuilderAtEnd(f->e.b, c->slow);
}
static Val either(Func *f, const Choice *c, Val fast, Val slow) {
  Block end = LLVMGetInsertBlock(f->e.b);
  LLVMBuildBr(f->e.b, c->next);
  LLVMPositionBuilderAtEnd(f->e.b, c->next);
  Val phi = LLVMBuildPhi(f->e.b, LLVMTypeOf(fast), "");
  LLVMAddIncoming(phi, (Val[]){fast, slow}, (Block[]){c->fast_end, end}, 2);
  return phi;
}

Val take_record(Func *f, Val what, Val head, uint32_t n) {
  int class = heap_class(sizeof(Record) + (size_t)n * 8);
  Val none = LLVMConstNull(ptr_type(&f->e)), fast = none;
  Val arg[3] = {f->vm, i64_of(&f->e, class), head};
  if (class < N_CLASSES) fast = lib(f, "take_cell", arg, 3);
  Choice c = when_null(f, fast);
  else_slow(f, &c);
  Val which[2] = {what, i64_of(&f->e, n)};
  Val slow = runtime_call(f, "rvm.record", ptr_type(&f->e), which, 2, false);
  return either(f, &c, fast, slow);
}

static Val new_record(Func *f, uint32_t kind, uint32_t desc, uint32_t n) {
  int class = heap_class(sizeof(Record) + (size_t)n * 8);
  Val what = i64_of(&f->e, (int64_t)((uint64_t)kind << 32 | desc));
  return (f->outlined ? outline_record : take_record)(f, what,
                                                      header(f, desc, n, (CellKind)kind, class), n);
}

static void fill(Func *f, Val cell, const uint32_t *list) {
  for (uint32_t k = 0; k < list[0]; k++) {
    Val v = to_slot(f, f->r[list[1 + k]], get(f, list[1 + k]));
    store_field(f, v, cell, offsetof(Record, slot) + (size_t)k * 8);
  }
}

void emit_record(Func *f, uint32_t reg, Reg type, uint32_t kind, uint32_t desc,
                 const uint32_t *list) {
  Val cell = new_record(f, kind, desc, list[0]);
  fill(f, cell, list);
  set(f, reg, type, cell);
}

/* As do_renew of vm/exec.c: in the shell, or in a new cell. */
void emit_renew(Func *f, Ins i) {
  const uint32_t *w = f->m->pool + ins_w(i);
  uint32_t desc = f->m->type[w[0]].first_ctor + w[1];
  LLVMBuilderRef b = f->e.b;
  Block use = new_block(&f->e, "use"), make = new_block(&f->e, "make"), next = new_block(&f->e, "");
  Val shell = get(f, w[2]), v[2] = {shell, NULL};
  LLVMBuildCondBr(b, LLVMBuildIsNull(b, shell, ""), make, use);
  LLVMPositionBuilderAtEnd(b, use);
  store_field(f, LLVMConstInt(int_type(&f->e, 32), desc, false), shell, offsetof(Cell, desc));
  LLVMBuildBr(b, next);
  LLVMPositionBuilderAtEnd(b, make);
  v[1] = new_record(f, CK_Data, desc, w[3]);
  Block end[2] = {use, LLVMGetInsertBlock(b)};
  LLVMBuildBr(b, next);
  LLVMPositionBuilderAtEnd(b, next);
  Val cell = LLVMBuildPhi(b, ptr_type(&f->e), "");
  LLVMAddIncoming(cell, v, end, 2);
  fill(f, cell, w + 3);
  set(f, i.a, known_ctor(f->m, w[0], w[1]), cell);
}

/* All dims small enough for their product to be a number; then that, else 0. */
static Val small_count(Func *f, const Val *dim, uint32_t rank, unsigned bits) {
  LLVMBuilderRef b = f->e.b;
  if (rank * bits > 60) bits = 60 / rank;
  Val all = i64_of(&f->e, 0), n = i64_of(&f->e, 1), zero = all;
  for (uint32_t k = 0; k < rank; k++) {
    all = LLVMBuildOr(b, all, dim[k], "");
    n = LLVMBuildMul(b, n, dim[k], "");
  }
  Val ok = LLVMBuildICmp(b, LLVMIntULE, all, i64_of(&f->e, (int64_t)1 << bits), "");
  return LLVMBuildSelect(b, ok, n, zero, "");
}

static void new_tensor(Func *f, uint32_t reg, uint32_t type, uint32_t rank, const Val *dim) {
  uint32_t words[2 + K_MAX_RANK] = {type, rank};
  DType t = (DType)f->m->type[type].dtype;
  int class = heap_class(sizeof(Tensor) + (size_t)rank * 8);
  Val n = small_count(f, dim, rank, SMALL_DIM_BITS);
  Val bytes = LLVMBuildMul(f->e.b, n, i64_of(&f->e, dtype_bytes(t)), "");
  Val head = header(f, (uint32_t)t, rank, CK_Tensor, class);
  Val fast = lib(f, "take_tensor", (Val[]){f->vm, i64_of(&f->e, class), head, n, bytes}, 5);
  Choice c = when_null(f, fast);
  for (uint32_t k = 0; k < rank; k++)
    store_field(f, dim[k], fast, offsetof(Tensor, dim) + (size_t)k * 8);
  if (t == DT_bool) {
    Val data = load_field(f, ptr_type(&f->e), fast, offsetof(Tensor, data));
    LLVMBuildMemSet(f->e.b, data, LLVMConstInt(int_type(&f->e, 8), 0, false), bytes, 1);
  }
  else_slow(f, &c);
  for (uint32_t k = 0; k < rank; k++) {
    LLVMBuildStore(f->e.b, dim[k], slot_at(f, k));
    words[2 + k] = k;
  }
  Val arg[2] = {const_words(f, words, 2 + rank), f->scratch};
  Val slow = runtime_call(f, "rvm.alloc", ptr_type(&f->e), arg, 2, false);
  set(f, reg, reg_of(f->m, type), either(f, &c, fast, slow));
}

static void get_all(Func *f, const uint32_t *list, Val *v) {
  for (uint32_t k = 0; k < list[0]; k++) v[k] = get(f, list[1 + k]);
}

void alloc_tensor(Func *f, uint32_t to, const uint32_t *w) {
  Val dim[K_MAX_RANK];
  get_all(f, w + 1, dim);
  new_tensor(f, to, w[0], w[1], dim);
}

void emit_alloc(Func *f, Ins i) {
  (f->outlined ? outline_alloc : alloc_tensor)(f, i.a, f->m->pool + ins_w(i));
}

/* As make_tensor of vm/exec.c: x itself, or a new tensor. */
void reuse_tensor(Func *f, uint32_t to, const uint32_t *w) {
  LLVMBuilderRef b = f->e.b;
  Val dim[K_MAX_RANK], x = get(f, w[1]);
  Reg type = reg_of(f->m, w[0]);
  get_all(f, w + 2, dim);
  if (f->m->type[f->r[w[1]].ty].rank != w[2] || w[2] == 0) {
    new_tensor(f, to, w[0], w[2], dim);
    return;
  }
  Val has = load_field(f, i64_type(f), x, offsetof(Tensor, count));
  Val n = small_count(f, dim, w[2], 60);
  Val fits = LLVMBuildAnd(b, LLVMBuildICmp(b, LLVMIntEQ, n, has, ""),
                          LLVMBuildICmp(b, LLVMIntNE, n, i64_of(&f->e, 0), ""), "");
  Val alone = lib(f, "only_owner", &x, 1);
  Block same = new_block(&f->e, "same"), other = new_block(&f->e, "other"),
        next = new_block(&f->e, "");
  LLVMBuildCondBr(b, LLVMBuildAnd(b, fits, alone, ""), same, other);
  LLVMPositionBuilderAtEnd(b, same);
  for (uint32_t k = 0; k < w[2]; k++)
    store_field(f, dim[k], x, offsetof(Tensor, dim) + (size_t)k * 8);
  set(f, to, type, x);
  LLVMBuildBr(b, next);
  LLVMPositionBuilderAtEnd(b, other);
  new_tensor(f, to, w[0], w[2], dim);
  LLVMBuildBr(b, next);
  LLVMPositionBuilderAtEnd(b, next);
}

void emit_reuse(Func *f, Ins i) {
  (f->outlined ? outline_reuse : reuse_tensor)(f, i.a, f->m->pool + ins_w(i));
}

void emit_settle(Func *f, Ins i) {
  Val old = get(f, i.a), v = get(f, i.b);
  Block drop = new_block(&f->e, "drop"), next = new_block(&f->e, "");
  LLVMBuildCondBr(f->e.b, LLVMBuildICmp(f->e.b, LLVMIntEQ, old, v, ""), next, drop);
  LLVMPositionBuilderAtEnd(f->e.b, drop);
  drop_ref(f, f->r[i.a], old);
  LLVMBuildBr(f->e.b, next);
  LLVMPositionBuilderAtEnd(f->e.b, next);
}

void emit_view(Func *f, Ins i) {
  const uint32_t *w = f->m->pool + ins_w(i);
  uint32_t rank = w[2], words[3 + K_MAX_RANK] = {w[0], 0, rank};
  put_slot(f, 0, w[1]);
  for (uint32_t k = 0; k < rank; k++) {
    put_slot(f, 1 + k, w[3 + k]);
    words[3 + k] = 1 + k;
  }
  Val arg[2] = {const_words(f, words, 3 + rank), f->scratch};
  set(f, i.a, reg_of(f->m, w[0]), runtime_call(f, "rvm.view", ptr_type(&f->e), arg, 2, false));
}

/* ---- kernels through the runtime ------------------------------------------------------- */
static bool is_scalar_buf(const KBuf *b) { return b->rank == 0; }
static Reg buf_reg(const KBuf *b) { return scalar_reg((DType)b->dtype); }

/* Is the result of this kernel, which nobody else has, put in a cell before anything is done with
 * it?  Then somebody wants it later. */
static bool is_wanted_later(const Func *f, const uint32_t *w) {
  PlainProduct p;
  if (!plain_product(f->m->kernel[w[0]], &p)) return false;
  for (uint32_t pc = f->pc + 1; pc < f->f->n_code; pc++) {
    Ins i = f->m->code[f->f->code + pc];
    if (op_leaves(i.op)) return false;
    if (ins_names(f->m, i, "dumb", w[2 + p.y])) return i.op == OP_DATA || i.op == OP_RENEW;
  }
  return false;
}

/* The operands in slots, in order; a record for them. */
static void kernel_by_runtime(Func *f, const uint32_t *w, bool later) {
  const Kernel *k = f->m->kernel[w[0]];
  const uint32_t n = w[1], *reg = w + 2, *sym = reg + n + 1;
  uint32_t words[3 + K_MAX_BUFS + K_MAX_SYMS] = {w[0], n}, at = 2;
  for (uint32_t b = 0; b < n; b++) {
    if (!is_scalar_buf(&k->buf[b]) || k->buf[b].role != K_OUT) put_slot(f, b, reg[b]);
    words[at++] = b;
  }
  words[at++] = k->n_syms;
  for (uint32_t s = 0; s < k->n_syms; s++) {
    put_slot(f, n + s, sym[s]);
    words[at++] = n + s;
  }
  Val arg[2] = {const_words(f, words, at), f->scratch};
  LLVMBuildStore(
      f->e.b,
      runtime_call(f, later ? "rvm.kernel_later" : "rvm.kernel", i64_type(f), arg, 2, false),
      f->fuel);
  for (uint32_t b = 0; b < n; b++)
    if (is_scalar_buf(&k->buf[b]) && k->buf[b].role != K_IN) {
      Val v = LLVMBuildLoad2(f->e.b, i64_type(f), slot_at(f, b), "");
      set(f, reg[b], buf_reg(&k->buf[b]), from_slot(f, buf_reg(&k->buf[b]), v));
    }
}

/* ---- kernels called directly ------------------------------------------------------------ */
static void and_also(Func *f, Block otherwise, Val ok) {
  Block next = new_block(&f->e, "");
  LLVMBuildCondBr(f->e.b, ok, next, otherwise);
  LLVMPositionBuilderAtEnd(f->e.b, next);
}

/* The kernel's words in the memo, when they are of these symbols; else elsewhere. */
static Val memo_of_symbols(Func *f, const uint32_t *w, Block otherwise) {
  const Kernel *k = f->m->kernel[w[0]];
  const uint32_t *sym = w + 2 + w[1] + 1;
  Val memo = load_field(f, ptr_type(&f->e), f->vm, offsetof(rvm_instance, memo));
  memo = at_offset(f, memo, (size_t)f->memo[w[0]] * 8);
  Val known = LLVMBuildLoad2(f->e.b, i64_type(f), memo, "");
  Val differ = LLVMBuildXor(f->e.b, known, i64_of(&f->e, 1), "");
  for (uint32_t s = 0; s < k->n_syms; s++) {
    Val was = load_field(f, i64_type(f), memo, (2 + (size_t)s) * 8);
    differ = LLVMBuildOr(f->e.b, differ, LLVMBuildXor(f->e.b, was, get(f, sym[s]), ""), "");
  }
  and_also(f, otherwise, LLVMBuildICmp(f->e.b, LLVMIntEQ, differ, i64_of(&f->e, 0), ""));
  return memo;
}

static void right_counts(Func *f, const uint32_t *w, Val memo, Block otherwise) {
  const Kernel *k = f->m->kernel[w[0]];
  Val differ = i64_of(&f->e, 0);
  for (uint32_t b = 0; b < w[1]; b++) {
    int64_t n = -1;
    if (is_scalar_buf(&k->buf[b])) continue;
    Val has = load_field(f, i64_type(f), get(f, w[2 + b]), offsetof(Tensor, count)), want;
    if (k->n_syms)
      want = load_field(f, i64_type(f), memo, (2 + (size_t)k->n_syms + b) * 8);
    else
      want = i64_of(&f->e, kernel_buf_count(k, b, NULL, &n) ? n : -1);
    differ = LLVMBuildOr(f->e.b, differ, LLVMBuildXor(f->e.b, has, want, ""), "");
  }
  and_also(f, otherwise, LLVMBuildICmp(f->e.b, LLVMIntEQ, differ, i64_of(&f->e, 0), ""));
}

static Val waiting(Func *f) {
  return load_field(f, ptr_type(&f->e), f->vm, offsetof(rvm_instance, native.waits));
}

void emit_complete(Func *f) {
  if (!f->ahead) return;
  Block some = new_block(&f->e, "waits"), next = new_block(&f->e, "");
  LLVMBuildCondBr(f->e.b, LLVMBuildIsNull(f->e.b, waiting(f), ""), next, some);
  LLVMPositionBuilderAtEnd(f->e.b, some);
  runtime_call(f, "rvm.complete", LLVMVoidTypeInContext(f->e.c), NULL, 0, false);
  LLVMBuildBr(f->e.b, next);
  LLVMPositionBuilderAtEnd(f->e.b, next);
}

static void add_field(Func *f, size_t offset, Val more) {
  Val at = at_offset(f, f->vm, offset);
  Val v = LLVMBuildLoad2(f->e.b, i64_type(f), at, "");
  LLVMBuildStore(f->e.b, LLVMBuildAdd(f->e.b, v, more, ""), at);
}

static Val buffer(Func *f, const KBuf *b, uint32_t reg) {
  if (!is_scalar_buf(b)) return load_field(f, ptr_type(&f->e), get(f, reg), offsetof(Tensor, data));
  DType t = (DType)b->dtype;
  Val at = new_slot(&f->e, mem_type(&f->e, t));
  if (b->role == K_OUT)
    LLVMBuildStore(f->e.b, LLVMConstNull(mem_type(&f->e, t)), at);
  else
    LLVMBuildStore(f->e.b, t == DT_bool ? to_memory(&f->e, t, get(f, reg)) : get(f, reg), at);
  return at;
}

static void call_inner(Func *f, const uint32_t *w) {
  const Kernel *k = f->m->kernel[w[0]];
  const uint32_t *reg = w + 2, *sym = reg + w[1] + 1;
  Val arg[K_MAX_BUFS + K_MAX_SYMS + 1];
  char name[32];
  unsigned n = 0;
  for (uint32_t b = 0; b < w[1]; b++) arg[n++] = buffer(f, &k->buf[b], reg[b]);
  for (uint32_t s = 0; s < k->n_syms; s++) arg[n++] = get(f, sym[s]);
  arg[n++] = LLVMConstNull(ptr_type(&f->e));
  snprintf(name, sizeof name, "inner.k%u", w[0]);
  Val result = lib(f, name, arg, n), bad[2] = {i64_of(&f->e, w[0]), result};
  check(f, LLVMBuildICmp(f->e.b, LLVMIntEQ, result, i64_of(&f->e, 0), ""), "rvm.kernel_failed", bad,
        2);
  for (uint32_t b = 0; b < w[1]; b++)
    if (is_scalar_buf(&k->buf[b]) && k->buf[b].role != K_IN)
      set(f, reg[b], buf_reg(&k->buf[b]), element_load(f, arg[b], (DType)k->buf[b].dtype));
}

static bool is_direct(const Func *f, uint32_t kernel) {
  const Kernel *k = f->m->kernel[kernel];
  return f->direct[kernel] && (k->n_syms || kernel_cost(k, NULL) <= DIRECT_COST);
}

void launch_kernel(Func *f, const uint32_t *w, bool later) {
  const Kernel *k = f->m->kernel[w[0]];
  poll(f);
  if (!is_direct(f, w[0])) {
    kernel_by_runtime(f, w, later);
    return;
  }
  LLVMBuilderRef b = f->e.b;
  Block other = new_block(&f->e, "other"), next = new_block(&f->e, "");
  Reg was[K_MAX_BUFS]; /* both ways start from the same types */
  for (uint32_t p = 0; p < w[1]; p++) was[p] = f->r[w[2 + p]];
  Val memo = k->n_syms || f->needs_launch[w[0]] ? memo_of_symbols(f, w, other) : NULL;
  Val cost = i64_of(&f->e, k->n_syms ? 0 : (int64_t)kernel_cost(k, NULL));
  if (k->n_syms) {
    cost = load_field(f, i64_type(f), memo, 8);
    and_also(f, other, LLVMBuildICmp(b, LLVMIntULE, cost, i64_of(&f->e, DIRECT_COST), ""));
  }
  right_counts(f, w, memo, other);
  if (f->ahead) and_also(f, other, LLVMBuildIsNull(b, waiting(f), ""));
  Val fuel = LLVMBuildLoad2(b, i64_type(f), f->fuel, "");
  and_also(f, other, LLVMBuildICmp(b, LLVMIntSGE, fuel, cost, ""));
  LLVMBuildStore(b, LLVMBuildSub(b, fuel, cost, ""), f->fuel);
  add_field(f, offsetof(rvm_instance, kernels), i64_of(&f->e, 1));
  add_field(f, offsetof(rvm_instance, native.kernel_fuel), cost);
  call_inner(f, w);
  LLVMBuildBr(b, next);
  LLVMPositionBuilderAtEnd(b, other);
  for (uint32_t p = 0; p < w[1]; p++) f->r[w[2 + p]] = was[p];
  kernel_by_runtime(f, w, later);
  LLVMBuildBr(b, next);
  LLVMPositionBuilderAtEnd(b, next);
}

void emit_kernel_ins(Func *f, Ins i) {
  const uint32_t *w = f->m->pool + ins_w(i);
  bool later = f->ahead && is_wanted_later(f, w);
  if (f->outlined && !later)
    outline_launch(f, w);
  else
    launch_kernel(f, w, later);
}

/* ---- runtime kernels ------------------------------------------------------------------------ */
/* As vm/prep.c: four bits for each input that may be a scalar: 0, or 1 + dtype. */
static uint32_t scalar_bits(const Func *f, const uint32_t *w) {
  const char *in = rt_info[w[0]].in;
  uint32_t shift = 0, bits = 0;
  for (uint32_t k = 0; k < w[1]; k++) {
    if (in[k] != 'I' && in[k] != 'F') continue;
    Reg r = f->r[w[2 + k]];
    if (is_scalar(r)) bits |= (1 + (uint32_t)dtype_of(r)) << shift;
    shift += 4;
  }
  return bits;
}

void emit_runtime_ins(Func *f, Ins i) {
  const uint32_t *w = f->m->pool + ins_w(i), *out = w + 2 + w[1], *num = out + 1 + 2 * out[0];
  uint32_t words[64], at = 0;
  poll(f);
  words[at++] = w[0];
  words[at++] = w[1];
  for (uint32_t k = 0; k < w[1]; k++) {
    put_slot(f, k, w[2 + k]);
    words[at++] = k;
  }
  words[at++] = out[0];
  for (uint32_t k = 0; k < out[0]; k++) {
    words[at++] = out[1 + 2 * k];
    words[at++] = w[1] + k;
  }
  words[at++] = num[0];
  for (uint32_t k = 0; k < 2 * num[0]; k++) words[at++] = num[1 + k];
  Val arg[3] = {const_words(f, words, at), f->scratch, i64_of(&f->e, scalar_bits(f, w))};
  LLVMBuildStore(f->e.b, runtime_call(f, "rvm.runtime", i64_type(f), arg, 3, false), f->fuel);
  for (uint32_t k = 0; k < out[0]; k++) {
    Reg t = reg_of(f->m, out[1 + 2 * k]);
    Val v = LLVMBuildLoad2(f->e.b, i64_type(f), slot_at(f, w[1] + k), "");
    set(f, out[2 + 2 * k], t, from_slot(f, t, v));
  }
}
