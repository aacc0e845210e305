/* func_outline.c -- what a long function does not repeat.
 *
 * Taking a tensor or a cell, launching a kernel and giving back what was taken are
 * dozens of LLVM instructions each, in line.  That is worth it in short functions and loops.  In
 * a long function, or a large program, it is what LLVM's time goes into, and most
 * of its passes take longer per instruction the more there are in one function.  So
 * there they are called: the module has one function for each type whose tensors are
 * taken and for each kernel that is launched, made by the same code as what stands
 * in line.                                                                        */
#include "codegen/llvm/func.h"
#include <stdio.h>
#include <stdlib.h>
#include "vm/operands.h"

enum {
  LONG = 400,       /* instructions of a function, or of a loop in it */
  LARGE = 5000,     /* of an image: then all its functions count as long */
  VM_WHERE_FUEL = 3 /* the parameters before those that a outlined function is about */
};

/* ---- where ------------------------------------------------------------------------- */
/* The first instruction that this one may go back to, or its own number. */
static uint32_t back_to(const Func *f, uint32_t pc) {
  Ins i = f->m->code[f->f->code + pc];
  uint32_t first = pc;
  OperandIter it;
  Operand o;
  if (i.op == OP_TAILCALL && f->m->pool[ins_w(i)] == f->index) return 0;
  if (!operands_begin(&it, f->m, i)) return pc;
  while (operands_next(&it, &o))
    if ((o.kind == 'J' || o.kind == 'L') && o.v < first) first = o.v;
  return first;
}

bool *find_outlined(const Func *f) {
  uint32_t n = f->f->n_code, depth = 0, least = f->m->n_code > LARGE ? 0 : LONG;
  bool *outlined = calloc(n + 1, sizeof *outlined);
  int32_t *step = n >= least ? calloc(n + 2, sizeof *step) : NULL; /* short loops begun, ended */
  for (uint32_t pc = 0; outlined && step && pc < n; pc++) {
    uint32_t first = back_to(f, pc);
    if (first < pc && pc - first < LONG) step[first]++, step[pc + 1]--;
  }
  for (uint32_t pc = 0; outlined && step && pc < n; pc++) {
    depth += (uint32_t)step[pc];
    outlined[pc] = depth == 0;
  }
  free(step);
  return outlined;
}

/* ---- functions of the module ---------------------------------------------------------- */
typedef struct {
  LLVMTypeRef type[VM_WHERE_FUEL + K_MAX_BUFS + K_MAX_SYMS], result;
  Val arg[VM_WHERE_FUEL + K_MAX_BUFS + K_MAX_SYMS];
  Reg reg[K_MAX_BUFS + K_MAX_SYMS]; /* types of the registers that become arguments */
  unsigned n, n_regs;
} Call;

static Call new_call(Func *f, LLVMTypeRef result) {
  Call c = {.result = result, .n = VM_WHERE_FUEL};
  c.arg[0] = f->vm;
  c.arg[1] = where_now(f);
  c.arg[2] = fuel_now(f);
  for (int i = 0; i < VM_WHERE_FUEL; i++) c.type[i] = LLVMTypeOf(c.arg[i]);
  return c;
}

static void pass_value(Call *c, Val v) {
  c->arg[c->n] = v;
  c->type[c->n++] = LLVMTypeOf(v);
}

/* It becomes the next register. */
static void pass(Func *f, Call *c, uint32_t reg) {
  c->reg[c->n_regs++] = f->r[reg];
  pass_value(c, get(f, reg));
}

static Val declare(Func *f, const Call *c, const char *name) {
  LLVMTypeRef type = LLVMFunctionType(c->result, (LLVMTypeRef *)c->type, c->n, false);
  return own_function(&f->e, name, type);
}

/* *g: as f, in `fn`, with n registers, of which the parameters that are some are the first.  false:
 * no memory. */
static bool begin(const Func *f, Func *g, Val fn, const Call *c, uint32_t n) {
  LLVMTypeRef i64 = int_type(&f->e, 64);
  *g = *f;
  g->r = calloc(n + 1, sizeof *g->r);
  g->slot = calloc((size_t)n * V_KINDS + 1, sizeof *g->slot);
  if (!g->r || !g->slot) return false;
  g->e.fn = fn;
  g->e.entry = new_block(&g->e, "entry");
  g->head = new_block(&g->e, "start");
  LLVMPositionBuilderAtEnd(g->e.b, g->head);
  g->vm = LLVMGetParam(fn, 0);
  g->where = LLVMGetParam(fn, 1);
  g->fuel = new_slot(&g->e, i64);
  g->scratch = new_slot(&g->e, LLVMArrayType2(i64, n + 1));
  LLVMBuildStore(g->e.b, LLVMGetParam(fn, 2), g->fuel);
  for (unsigned k = 0; k < c->n_regs; k++)
    set(g, k, c->reg[k], LLVMGetParam(fn, VM_WHERE_FUEL + k));
  g->pending = 0;
  return true;
}

static void end(Func *g) {
  LLVMPositionBuilderAtEnd(g->e.b, g->e.entry);
  LLVMBuildBr(g->e.b, g->head);
}

/* The call of function `name` with n registers, whose body is make(g, user) if it is new. */
static Val call_outlined(Func *f, const Call *c, const char *name, uint32_t n,
                         void (*make)(Func *g, const uint32_t *user), const uint32_t *user) {
  Val fn = LLVMGetNamedFunction(f->e.m, name);
  if (!fn) {
    Func g;
    Block here = LLVMGetInsertBlock(f->e.b);
    fn = declare(f, c, name);
    if (begin(f, &g, fn, c, n)) {
      make(&g, user);
      end(&g);
    }
    free(g.r);
    free(g.slot);
    LLVMPositionBuilderAtEnd(f->e.b, here);
  }
  return LLVMBuildCall2(f->e.b, LLVMGlobalGetValueType(fn), fn, (Val *)c->arg, c->n, "");
}

/* ---- tensors ------------------------------------------------------------------------- */
/* user: as the words of ALLOC, then of REUSE, with the function's registers; the result is in the
 * one behind them. */
static void make_alloc(Func *g, const uint32_t *w) {
  alloc_tensor(g, w[1], w);
  LLVMBuildRet(g->e.b, get(g, w[1]));
}
static void make_reuse(Func *g, const uint32_t *w) {
  reuse_tensor(g, 1 + w[2], w);
  LLVMBuildRet(g->e.b, get(g, 1 + w[2]));
}

void outline_alloc(Func *f, uint32_t to, const uint32_t *w) {
  uint32_t user[2 + K_MAX_RANK] = {w[0], w[1]};
  char name[40];
  Call c = new_call(f, ptr_type(&f->e));
  for (uint32_t k = 0; k < w[1]; k++) {
    user[2 + k] = k;
    pass(f, &c, w[2 + k]);
  }
  snprintf(name, sizeof name, "outline.alloc.%u.%u", w[0], w[1]);
  set(f, to, reg_of(f->m, w[0]), call_outlined(f, &c, name, w[1] + 1, make_alloc, user));
}

void outline_reuse(Func *f, uint32_t to, const uint32_t *w) {
  uint32_t user[3 + K_MAX_RANK] = {w[0], 0, w[2]};
  char name[60];
  Call c = new_call(f, ptr_type(&f->e));
  pass(f, &c, w[1]);
  for (uint32_t k = 0; k < w[2]; k++) {
    user[3 + k] = 1 + k;
    pass(f, &c, w[3 + k]);
  }
  snprintf(name, sizeof name, "outline.reuse.%u.%u.%u", w[0], f->r[w[1]].ty, w[2]);
  set(f, to, reg_of(f->m, w[0]), call_outlined(f, &c, name, w[2] + 2, make_reuse, user));
}

/* ---- cells ---------------------------------------------------------------------------- */
/* what: kind and descriptor, as rvm.record wants them. */
static void make_record(Func *g, const uint32_t *n) {
  Val fn = g->e.fn;
  Val cell =
      take_record(g, LLVMGetParam(fn, VM_WHERE_FUEL), LLVMGetParam(fn, VM_WHERE_FUEL + 1), *n);
  LLVMBuildRet(g->e.b, cell);
}

Val outline_record(Func *f, Val what, Val head, uint32_t n) {
  char name[32];
  Call c = new_call(f, ptr_type(&f->e));
  pass_value(&c, what);
  pass_value(&c, head);
  snprintf(name, sizeof name, "outline.record.%u", n);
  return call_outlined(f, &c, name, 2, make_record, &n);
}

/* ---- kernels -------------------------------------------------------------------------- */
static bool is_result(const KBuf *b) { return b->rank == 0 && b->role != K_IN; }
static bool is_argument(const KBuf *b) { return b->rank > 0 || b->role != K_OUT; }

/* What is left of the fuel, then the scalars that the kernel wrote. */
static LLVMTypeRef launch_result(const Func *f, const Kernel *k, uint32_t n) {
  LLVMTypeRef type[1 + K_MAX_BUFS] = {int_type(&f->e, 64)};
  unsigned at = 1;
  for (uint32_t b = 0; b < n; b++)
    if (is_result(&k->buf[b])) type[at++] = llvm_type(f, scalar_reg((DType)k->buf[b].dtype));
  return LLVMStructTypeInContext(f->e.c, type, at, false);
}

static void make_launch(Func *g, const uint32_t *w) {
  const Kernel *k = g->m->kernel[w[0]];
  LLVMBuilderRef b = g->e.b;
  unsigned at = 0;
  launch_kernel(g, w, false);
  Val out = LLVMGetPoison(launch_result(g, k, w[1]));
  Val fuel = LLVMBuildLoad2(b, int_type(&g->e, 64), g->fuel, "");
  out = LLVMBuildInsertValue(b, out, fuel, at++, "");
  for (uint32_t p = 0; p < w[1]; p++)
    if (is_result(&k->buf[p])) out = LLVMBuildInsertValue(b, out, get(g, w[2 + p]), at++, "");
  LLVMBuildRet(b, out);
}

void outline_launch(Func *f, const uint32_t *w) {
  const Kernel *k = f->m->kernel[w[0]];
  const uint32_t n = w[1], *sym = w + 2 + n + 1;
  uint32_t user[3 + K_MAX_BUFS + K_MAX_SYMS] = {w[0], n}, at = 2, n_args = 0, n_regs;
  char name[32];
  unsigned field = 0;
  Call c = new_call(f, launch_result(f, k, n));
  for (uint32_t b = 0; b < n; b++)
    if (is_argument(&k->buf[b])) pass(f, &c, w[2 + b]), n_args++;
  for (uint32_t s = 0; s < k->n_syms; s++) pass(f, &c, sym[s]);
  n_regs = n_args + k->n_syms;
  for (uint32_t b = 0, arg = 0; b < n; b++) user[at++] = is_argument(&k->buf[b]) ? arg++ : n_regs++;
  user[at++] = k->n_syms;
  for (uint32_t s = 0; s < k->n_syms; s++) user[at++] = n_args + s;
  snprintf(name, sizeof name, "outline.k%u", w[0]);
  Val out = call_outlined(f, &c, name, n_regs, make_launch, user);
  f->pending = 0;
  LLVMBuildStore(f->e.b, LLVMBuildExtractValue(f->e.b, out, field++, ""), f->fuel);
  for (uint32_t b = 0; b < n; b++)
    if (is_result(&k->buf[b]))
      set(f, w[2 + b], scalar_reg((DType)k->buf[b].dtype),
          LLVMBuildExtractValue(f->e.b, out, field++, ""));
}
