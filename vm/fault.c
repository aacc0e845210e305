/* fault.c -- what stops a run: the words of an error, and where it was.  Nothing is
 * allocated: memory may be what is missing.                                   */
#include "vm/instance.h"
#include "vm/strings.h"

rvm_status vm_no_memory(rvm_instance *vm) {
  Msg m = msg(vm->err.message, sizeof vm->err.message);
  if (vm->heap.met_limit) {
    msg_text(&m, "the memory limit of ");
    msg_uint(&m, vm->heap.limit);
    msg_text(&m, " bytes was met");
  } else {
    msg_text(&m, "the allocator refused memory");
  }
  return vm->err.status = RVM_NO_MEMORY;
}

rvm_status vm_fault(rvm_instance *vm, const char *a, const char *b) {
  Msg m = msg(vm->err.message, sizeof vm->err.message);
  msg_text(&m, a);
  if (b) msg_text(&m, b);
  return vm->err.status = RVM_FAULT;
}

rvm_status vm_fault_two(rvm_instance *vm, uint32_t text, int64_t x, int64_t y) {
  Msg m = msg(vm->err.message, sizeof vm->err.message);
  msg_text(&m, vm->p->im.text + text);
  msg_text(&m, ": ");
  msg_int(&m, x);
  msg_text(&m, " and ");
  msg_int(&m, y);
  return vm->err.status = RVM_FAULT;
}

rvm_status vm_fault_elem(rvm_instance *vm, uint32_t i, int64_t n) {
  Msg m = msg(vm->err.message, sizeof vm->err.message);
  msg_text(&m, "element ");
  msg_uint(&m, i);
  msg_text(&m, " of a tensor of ");
  msg_int(&m, n);
  return vm->err.status = RVM_FAULT;
}

rvm_status vm_fault_view(rvm_instance *vm, int64_t n, int rank, const int64_t *dim) {
  Msg m = msg(vm->err.message, sizeof vm->err.message);
  msg_int(&m, n);
  msg_text(&m, " elements cannot have the shape ");
  msg_dims(&m, rank, dim);
  return vm->err.status = RVM_FAULT;
}

rvm_status vm_fault_scalar(rvm_instance *vm, KStatus s) {
  return vm_fault(vm, s == K_DIV_ZERO ? "integer division by zero" : "shift amount out of range",
                  NULL);
}

rvm_status vm_too_deep(rvm_instance *vm) {
  vm_fault(vm, "more nested calls than the limit allows", NULL);
  return vm->err.status = RVM_TOO_DEEP;
}

/* Where the failure was: the last line entry at or before pc. */
void vm_locate(rvm_instance *vm, uint32_t func, uint32_t pc) {
  const Image *m = &vm->p->im;
  const IFunc *f = &m->func[func];
  vm->err.func = func;
  vm->err.pc = pc;
  vm->err.line = vm->err.col = 0;
  vm->err.file[0] = 0;
  const ILine *l = m->line + f->line;
  uint32_t lo = 0, hi = f->n_lines;
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2;
    if (l[mid].pc <= pc)
      lo = mid + 1;
    else
      hi = mid;
  }
  if (lo == 0) return;
  vm->err.line = l[lo - 1].line;
  vm->err.col = l[lo - 1].col;
  Msg text = msg(vm->err.file, sizeof vm->err.file);
  msg_text(&text, m->text + l[lo - 1].file);
}
