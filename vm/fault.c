/* fault.c -- what stops a run: the words of an error, and where it was.  Nothing is
 * allocated: memory may be what is missing.                                   */
#include "vm/instance.h"
#include "vm/strings.h"

static void say_beyond(Msg *m, Heap *h) {
  bool empty = false;
  msg_text(m, "no memory can hold a tensor of shape ");
  msg_dims(m, h->beyond.rank, h->beyond.dim);
  for (int i = 0; i < h->beyond.rank; i++) empty |= h->beyond.dim[i] == 0;
  if (empty) msg_text(m, ", the extents 0 left out");
  h->beyond.yes = false;
}

rvm_status vm_no_memory(rvm_instance *vm) {
  Msg m = msg(vm->err.message, sizeof vm->err.message);
  if (vm->heap.beyond.yes) {
    say_beyond(&m, &vm->heap);
  } else if (vm->heap.met_limit) {
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

void vm_locate(rvm_instance *vm, uint32_t func, uint32_t pc) {
  const Image *m = &vm->p->im;
  const ILine *l = image_line(m, &m->func[func], pc);
  vm->err.func = func;
  vm->err.pc = pc;
  vm->err.line = vm->err.col = 0;
  vm->err.file[0] = 0;
  if (!l) return;
  vm->err.line = l->line;
  vm->err.col = l->col;
  Msg text = msg(vm->err.file, sizeof vm->err.file);
  msg_text(&text, m->text + l->file);
}
