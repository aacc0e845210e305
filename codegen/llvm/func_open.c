/* func_open.c -- cells that die where their fields are taken out.
 *
 * A match reads the fields of a cell and forgets it: FIELD, FIELD, ..., DROP (or
 * SHELL).  Done one by one each field gets an owner more, and if the cell dies,
 * one less again.  Where the instructions stand together, nothing is counted
 * until the last one: if nobody else has the cell, the fields' owners are handed
 * over; if somebody has, each field gets one more (Perceus: Reinking et al.,
 * PLDI 2021, 2.3).                                                            */
#include "codegen/llvm/func.h"
#include "vm/heap.h"

enum { MOST_FIELDS = 32 }; /* of a run: who looks at each of them looks at all */

/* The FIELDs of a cell's register in [first, last); last is its DROP or SHELL. */
typedef struct {
  uint32_t cell, first, last;
} Run;

static Ins ins_at(const Func *f, uint32_t pc) { return f->m->code[f->f->code + pc]; }

static bool takes_field(const Func *f, uint32_t pc, uint32_t cell) {
  Ins i = ins_at(f, pc);
  return i.op == OP_FIELD && i.b == cell;
}

static const ICtor *ctor_of(const Func *f, uint32_t cell) {
  Reg t = f->r[cell];
  return &f->m->ctor[f->m->type[t.ty].first_ctor + t.ctor - 1u];
}

void free_record(Func *f, Val cell, uint32_t n) {
  int class = heap_class(sizeof(Record) + (size_t)n * 8);
  Val arg[3] = {f->vm, cell, i64_of(&f->e, class)};
  if (class < N_CLASSES) {
    lib(f, "free_cell", arg, 3);
    return;
  }
  LLVMTypeRef ptr = ptr_type(&f->e), args[2] = {ptr, ptr};
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(f->e.c), args, 2, false);
  Val fn = LLVMGetNamedFunction(f->e.m, "rvm.free_shell");
  if (!fn) fn = LLVMAddFunction(f->e.m, "rvm.free_shell", type);
  LLVMBuildCall2(f->e.b, type, fn, arg, 2, "");
}

/* Is field k taken in the run before pc? */
static bool taken(const Func *f, const Run *r, uint32_t pc, uint32_t k, uint32_t *reg) {
  for (uint32_t p = r->first; p < pc; p++) {
    Ins i = ins_at(f, p);
    if (i.c != k) continue;
    *reg = i.a;
    return true;
  }
  return false;
}

/* The FIELD at pc repeats a field or a register of the run. */
static bool repeats(const Func *f, const Run *r, uint32_t pc) {
  Ins i = ins_at(f, pc);
  for (uint32_t p = r->first; p < pc; p++)
    if (ins_at(f, p).a == i.a || ins_at(f, p).c == i.c) return true;
  return false;
}

/* The run around pc, whose instruction names `cell`; empty if there is none: another
 * instruction or a label between, a field or a register twice. */
static Run run_at(const Func *f, uint32_t pc, uint32_t cell) {
  Run r = {cell, pc, pc}, none = r;
  uint32_t n = f->f->n_code;
  while (r.first > 0 && !f->block[r.first] && takes_field(f, r.first - 1, cell))
    if (pc - --r.first > MOST_FIELDS) return none;
  while (takes_field(f, r.last, cell))
    if (++r.last == n || f->block[r.last] || r.last - r.first > MOST_FIELDS) return none;
  Ins end = ins_at(f, r.last);
  if (!(end.op == OP_DROP && end.a == cell) && !(end.op == OP_SHELL && end.b == cell)) return none;
  for (uint32_t p = r.first; p < r.last; p++)
    if (repeats(f, &r, p)) return none;
  return r;
}

bool is_field_of_opened(const Func *f, Ins i) {
  Run r = run_at(f, f->pc, i.b);
  return r.first < r.last;
}

/* The fields that were not taken lose an owner. */
static void drop_others(Func *f, const Run *r, const ICtor *c, Val cell) {
  uint32_t reg;
  for (uint32_t k = 0; k < c->n_fields; k++) {
    Reg t = reg_of(f->m, f->m->type_list[c->first_field + k]);
    if (is_scalar(t) || taken(f, r, r->last, k, &reg)) continue;
    Val x = load_field(f, int_type(&f->e, 64), cell, offsetof(Record, slot) + (size_t)k * 8);
    drop_ref(f, t, from_slot(f, t, x));
  }
}

static void dup_taken(Func *f, const Run *r, const ICtor *c) {
  uint32_t reg;
  for (uint32_t k = 0; k < c->n_fields; k++)
    if (taken(f, r, r->last, k, &reg)) dup_ref(f, f->r[reg], get(f, reg));
}

/* The last instruction of a run: the cell's memory goes, or, of SHELL, to i.a. */
static void open_cell(Func *f, Ins i, const Run *r) {
  const ICtor *c = ctor_of(f, r->cell);
  LLVMTypeRef i32 = int_type(&f->e, 32);
  LLVMBuilderRef b = f->e.b;
  Reg t = f->r[r->cell];
  Block alone = new_block(&f->e, "alone"), shared = new_block(&f->e, "shared"),
        next = new_block(&f->e, "");
  Val v = get(f, r->cell), count = load_field(f, i32, v, offsetof(Cell, u.own.count));
  Val one = LLVMBuildICmp(b, LLVMIntEQ, count, LLVMConstInt(i32, 1, false), "");
  LLVMBuildCondBr(b, one, alone, shared);
  LLVMPositionBuilderAtEnd(b, alone);
  drop_others(f, r, c, v);
  if (i.op == OP_SHELL)
    set(f, i.a, t, v);
  else
    free_record(f, v, c->n_fields);
  LLVMBuildBr(b, next);
  LLVMPositionBuilderAtEnd(b, shared);
  dup_taken(f, r, c);
  drop_ref(f, t, v);
  if (i.op == OP_SHELL) set(f, i.a, t, LLVMConstNull(ptr_type(&f->e)));
  LLVMBuildBr(b, next);
  LLVMPositionBuilderAtEnd(b, next);
}

void emit_drop(Func *f, Ins i) {
  Run r = run_at(f, f->pc, i.a);
  if (r.first < r.last)
    open_cell(f, i, &r);
  else
    drop_ref(f, f->r[i.a], get(f, i.a));
}

/* As heap_shell: what the cell holds goes, or only an owner. */
void emit_shell_ins(Func *f, Ins i) {
  Run r = run_at(f, f->pc, i.b);
  open_cell(f, i, &r);
}
