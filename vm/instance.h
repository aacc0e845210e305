/* instance.h -- one place to run a program.
 *
 * Frames lie on a stack of slots: two words of return information, then the
 * function's registers.  The stack grows by moving, so nothing keeps pointers
 * into it across a call.                                                     */
#ifndef RVM_VM_INSTANCE_H
#define RVM_VM_INSTANCE_H
#include <stdatomic.h>
#include "vm/program.h"

typedef enum { VM_IDLE, VM_PARKED_CALL, VM_PARKED_APPLY } VmState;

struct rvm_instance {
  const rvm_program *p;
  Heap heap;
  rvm_limits lim;
  uint64_t *stack;  size_t cap;              /* in slots                      */
  uint64_t *memo;                            /* of kernels with symbols: vm/run_kernel.c */
  size_t base;                               /* where the call stands: first register, ... */
  uint32_t func, pc, depth;                  /* ... function, instruction, frames */
  int64_t fuel;                              /* left; INT64_MAX: no limit     */
  atomic_uint stop, busy;
  VmState state;
  rvm_func entry;                            /* of the call, when parked      */
  uint64_t result;                           /* of the last call that returned */
  bool has_last;  uint32_t last_type;        /* the result is kept for the host's tensors */
  uint64_t live_was;                         /* cells after the last collection */
  uint64_t calls, instructions, kernels, fuel_used;
  rvm_error err;                             /* of the call, while it fails   */
  struct {                                   /* of Program.engine             */
    void *state;
    uint64_t stack_limit, kernel_fuel;
    uint32_t max_depth;
    const void *waits;                       /* a result that is not complete yet, or NULL */
  } native;
};

enum { FRAME_WORDS = 2 };

/* Room for `slots` slots. */
bool vm_reserve(rvm_instance *vm, size_t slots);
/* Runs from (func, pc, base) until the first frame returns; arguments are in
 * place.  RVM_OK: vm->result.  RVM_NO_FUEL, RVM_INTERRUPTED: can be run again.
 * Anything else: vm->err says why; the heap wants collecting. */
rvm_status vm_run(rvm_instance *vm);
/* The same with the program's engine, if it has one. */
static inline rvm_status vm_go(rvm_instance *vm) {
  return vm->p->engine ? vm->p->engine->run(vm) : vm_run(vm);
}

/* For instructions: sets vm->err.status and the message; returns the status.
 * vm_fault: the given texts, one after the other; at least one, then NULL. */
rvm_status vm_no_memory(rvm_instance *vm);
rvm_status vm_fault(rvm_instance *vm, const char *a, const char *b);
rvm_status vm_fault_two(rvm_instance *vm, uint32_t text, int64_t x, int64_t y);
rvm_status vm_fault_elem(rvm_instance *vm, uint32_t i, int64_t n);
rvm_status vm_fault_view(rvm_instance *vm, int64_t n, int rank, const int64_t *dim);
rvm_status vm_fault_scalar(rvm_instance *vm, KStatus s);
rvm_status vm_too_deep(rvm_instance *vm);
/* Writes function, instruction and source line into vm->err. */
void vm_locate(rvm_instance *vm, uint32_t func, uint32_t pc);
/* ALLOC, REUSE and VIEW, as vm_kernel below. */
rvm_status vm_alloc(rvm_instance *vm, const uint32_t *w, uint64_t *r, uint64_t *out);
rvm_status vm_view(rvm_instance *vm, const uint32_t *w, uint64_t *r, uint64_t *out);

/* KERNEL and RUNTIME: w is the pool record, r the registers.  RVM_NO_FUEL: not
 * enough for it; nothing has happened.  Takes its cost from *fuel. */
rvm_status vm_kernel(rvm_instance *vm, const uint32_t *w, uint64_t *r, int64_t *fuel);
/* The same in two steps, for an engine that runs the kernel itself: what k->fn wants, or why not;
 * then what its status becomes. */
typedef struct {
  const KernelInfo *k;
  void *buf[K_MAX_BUFS];
  int64_t sym[K_MAX_SYMS];
  KAlloc scratch;
} KernelCall;
rvm_status vm_kernel_begin(rvm_instance *vm, const uint32_t *w, uint64_t *r, int64_t *fuel,
                           KernelCall *c);
rvm_status vm_kernel_end(rvm_instance *vm, const uint32_t *w, uint64_t *r, const KernelCall *c,
                         KStatus s, const KError *e);
/* What a kernel's failure becomes; message: offset in the kernel's text, of K_CHECK. */
rvm_status vm_kernel_failed(rvm_instance *vm, uint32_t kernel, KStatus s, uint32_t message);
rvm_status vm_runtime(rvm_instance *vm, uint32_t scalars, const uint32_t *w, uint64_t *r,
                      int64_t *fuel);
#endif
