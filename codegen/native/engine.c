/* engine.c -- see engine.h.
 *
 * The stack grows by lowering vm->native.stack_limit, which compiled functions
 * compare with the stack pointer; each step is charged against the memory limit
 * before it is touched.  Below the limit there is room for what needs no check:
 * functions that call none, and the runtime.                                 */
#define _GNU_SOURCE
#include "codegen/native/engine.h"
#include <stdlib.h>
#include <unistd.h>
#include "codegen/native/fiber.h"
#include "codegen/native/launch.h"

enum { FIRST = 1 << 12, KEEP = 1 << 20, ROOM = 1 << 18, LEAST_SPACE = 1 << 26 };

typedef struct {
  Fiber fiber;
  size_t charged; /* bytes of the stack            */
  rvm_status st;
  Ahead ahead;
  uint64_t result; /* the tensor of what waits      */
} Run;

static Run *run_of(rvm_instance *vm) { return vm->native.state; }

/* ---- what waits (ahead.h) ------------------------------------------------------------ */
/* Nobody works on it any more. */
static void forget_ahead(rvm_instance *vm) {
  if (!vm->native.waits) return;
  vm->native.waits = NULL;
  run_of(vm)->ahead.left = 0;
  ref_drop(&vm->heap, run_of(vm)->result);
}

static void finish_ahead(rvm_instance *vm) {
  if (!vm->native.waits) return;
  ahead_finish(&run_of(vm)->ahead);
  forget_ahead(vm);
}

static bool room_ahead(rvm_instance *vm, const PlainProduct *p) {
  Ahead *a = &run_of(vm)->ahead;
  size_t want = ahead_bytes(p);
  if (want <= a->room_bytes) return true;
  bool ok = heap_charge(&vm->heap, (int64_t)(want - a->room_bytes));
  if (ok && !ahead_reserve(a, want)) {
    heap_charge(&vm->heap, -(int64_t)want);
    ok = false;
  }
  vm->heap.met_limit = false;
  return ok;
}

/* Instead of a launch; r: its registers. */
static bool wait_ahead(rvm_instance *vm, const uint32_t *w, const uint64_t *r,
                       const KernelCall *c) {
  NativeKernel *f = c->k->ctx;
  if (!f->plain || !room_ahead(vm, &f->product)) return false;
  if (!native_wait(f, c->buf, &run_of(vm)->ahead)) return false;
  run_of(vm)->result = r[w[2 + f->product.y]];
  ref_dup(run_of(vm)->result);
  vm->native.waits = c->buf[f->product.y];
  return true;
}

static bool reads_ahead(const rvm_instance *vm, const KernelCall *c) {
  for (uint32_t b = 0; b < c->k->k->n_params; b++)
    if (c->buf[b] == vm->native.waits) return true;
  return false;
}

/* A kernel's launch; later: its result is not wanted at once. */
static rvm_status launch(rvm_instance *vm, const uint32_t *w, uint64_t *r, int64_t *fuel,
                         bool later) {
  KernelCall c;
  KError e = {0};
  rvm_status st = vm_kernel_begin(vm, w, r, fuel, &c);
  if (st != RVM_OK) return st;
  KStatus s = K_OK;
  bool ours = c.k->fn == native_run;
  if (vm->native.waits && (later || reads_ahead(vm, &c))) finish_ahead(vm);
  if (!(later && ours && wait_ahead(vm, w, r, &c)))
    s = ours ? native_run_beside(c.k->ctx, c.buf, c.sym, c.scratch, &run_of(vm)->ahead, &e)
             : c.k->fn(c.k->ctx, c.buf, c.sym, c.scratch, &e);
  if (vm->native.waits && run_of(vm)->ahead.left == 0) forget_ahead(vm);
  return vm_kernel_end(vm, w, r, &c, s, &e);
}

/* ---- on the fiber ------------------------------------------------------------------ */
static void leave(rvm_instance *vm, rvm_status st, int64_t fuel) {
  if (st == RVM_OK || st == RVM_NO_FUEL || st == RVM_INTERRUPTED)
    finish_ahead(vm);
  else
    forget_ahead(vm);
  vm->fuel = fuel;
  run_of(vm)->st = st;
  fiber_leave(&run_of(vm)->fiber);
}

static uint32_t func_of(uint64_t where) { return (uint32_t)(where >> 32); }

/* vm->err is set; never comes back. */
static void fail(rvm_instance *vm, uint64_t where, int64_t fuel) {
  vm_locate(vm, func_of(where), (uint32_t)where);
  leave(vm, vm->err.status, fuel);
}

static int64_t stopped(rvm_instance *vm, uint64_t where, int64_t fuel, rvm_status st) {
  vm->func = func_of(where);
  vm->pc = (uint32_t)where;
  vm_locate(vm, vm->func, vm->pc);
  leave(vm, st, fuel);
  return vm->fuel;
}

static int64_t help_park(rvm_instance *vm, uint64_t where, int64_t fuel) {
  for (;;) {
    if (atomic_load_explicit(&vm->stop, memory_order_relaxed)) {
      atomic_store_explicit(&vm->stop, 0, memory_order_relaxed);
      fuel = stopped(vm, where, fuel, RVM_INTERRUPTED);
    } else if (fuel < 0) {
      fuel = stopped(vm, where, fuel, RVM_NO_FUEL);
    } else {
      return fuel;
    }
  }
}

static void help_grow(rvm_instance *vm, uint64_t where, int64_t fuel) {
  Run *r = run_of(vm);
  uint64_t top = (uint64_t)(uintptr_t)fiber_top(&r->fiber), sp;
  sp = (uint64_t)(uintptr_t)__builtin_frame_address(0);
  size_t want = r->charged;
  while (want < top - sp) want *= 2;
  vm->heap.met_limit = false;
  if (want + ROOM > r->fiber.bytes || !heap_charge(&vm->heap, (int64_t)(want - r->charged))) {
    vm_no_memory(vm);
    fail(vm, where, fuel);
  }
  r->charged = want;
  vm->native.stack_limit = top - want;
}

static void help_no_memory(rvm_instance *vm, uint64_t where, int64_t fuel) {
  vm_no_memory(vm);
  fail(vm, where, fuel);
}
static void help_too_deep(rvm_instance *vm, uint64_t where, int64_t fuel) {
  vm_too_deep(vm);
  fail(vm, where, fuel);
}
static void help_text(rvm_instance *vm, uint64_t where, int64_t fuel, uint64_t text) {
  vm_fault(vm, vm->p->im.text + text, NULL);
  fail(vm, where, fuel);
}
static void help_two(rvm_instance *vm, uint64_t where, int64_t fuel, uint64_t text, int64_t x,
                     int64_t y) {
  vm_fault_two(vm, (uint32_t)text, x, y);
  fail(vm, where, fuel);
}
static void help_elem(rvm_instance *vm, uint64_t where, int64_t fuel, uint64_t i, int64_t n) {
  vm_fault_elem(vm, (uint32_t)i, n);
  fail(vm, where, fuel);
}
static void help_scalar(rvm_instance *vm, uint64_t where, int64_t fuel, uint64_t status) {
  vm_fault_scalar(vm, (KStatus)status);
  fail(vm, where, fuel);
}
static void help_kernel_failed(rvm_instance *vm, uint64_t where, int64_t fuel, uint64_t kernel,
                               uint64_t result) {
  vm_kernel_failed(vm, (uint32_t)kernel, (KStatus)(result & 255), (uint32_t)(result >> 8));
  fail(vm, where, fuel);
}

/* ---- memory: NULL is never returned ----------------------------------------------- */
static Record *help_record(rvm_instance *vm, uint64_t where, int64_t fuel, uint64_t kind_desc,
                           uint64_t n) {
  Record *r = heap_record(&vm->heap, (CellKind)(kind_desc >> 32), (uint32_t)kind_desc, (uint32_t)n);
  if (!r) help_no_memory(vm, where, fuel);
  return r;
}

static uint64_t help_alloc(rvm_instance *vm, uint64_t where, int64_t fuel, const uint32_t *w,
                           uint64_t *slots) {
  uint64_t out = 0;
  if (vm_alloc(vm, w, slots, &out) != RVM_OK) fail(vm, where, fuel);
  return out;
}

static uint64_t help_view(rvm_instance *vm, uint64_t where, int64_t fuel, const uint32_t *w,
                          uint64_t *slots) {
  uint64_t out = 0;
  finish_ahead(vm);
  if (vm_view(vm, w, slots, &out) != RVM_OK) fail(vm, where, fuel);
  return out;
}

static void help_release(rvm_instance *vm, Cell *c) { heap_release(&vm->heap, c); }
static void help_free_shell(rvm_instance *vm, Record *r) { heap_free_shell(&vm->heap, r); }

/* ---- kernels ------------------------------------------------------------------------ */
static int64_t run_kernel(rvm_instance *vm, uint64_t where, int64_t fuel, const uint32_t *w,
                          uint64_t *slots, bool later) {
  for (;;) {
    int64_t left = fuel;
    rvm_status st = launch(vm, w, slots, &left, later);
    vm->native.kernel_fuel += (uint64_t)(fuel - left);
    if (st == RVM_OK) return left;
    if (st != RVM_NO_FUEL) fail(vm, where, left);
    fuel = help_park(vm, where, stopped(vm, where, left, st));
  }
}

static int64_t help_kernel(rvm_instance *vm, uint64_t where, int64_t fuel, const uint32_t *w,
                           uint64_t *slots) {
  return run_kernel(vm, where, fuel, w, slots, false);
}
static int64_t help_kernel_later(rvm_instance *vm, uint64_t where, int64_t fuel, const uint32_t *w,
                                 uint64_t *slots) {
  return run_kernel(vm, where, fuel, w, slots, true);
}
static void help_complete(rvm_instance *vm) { finish_ahead(vm); }

static int64_t help_runtime(rvm_instance *vm, uint64_t where, int64_t fuel, const uint32_t *w,
                            uint64_t *slots, uint64_t scalars) {
  finish_ahead(vm);
  for (;;) {
    int64_t left = fuel;
    rvm_status st = vm_runtime(vm, (uint32_t)scalars, w, slots, &left);
    vm->native.kernel_fuel += (uint64_t)(fuel - left);
    if (st == RVM_OK) return left;
    if (st != RVM_NO_FUEL) fail(vm, where, left);
    fuel = help_park(vm, where, stopped(vm, where, left, st));
  }
}

#define H(name)                                                                                    \
  { "rvm." #name, (void *)(uintptr_t)(help_##name) }
const Helper engine_helper[] = {
    H(park),    H(grow),       H(no_memory),     H(too_deep),     H(text),     H(two),
    H(elem),    H(scalar),     H(kernel_failed), H(record),       H(alloc),    H(view),
    H(release), H(free_shell), H(kernel),        H(kernel_later), H(complete), H(runtime),
};
#undef H
const int engine_helpers = (int)(sizeof engine_helper / sizeof *engine_helper);

/* ---- off the fiber --------------------------------------------------------------------- */
static void call_entry(void *arg) {
  rvm_instance *vm = arg;
  const EngineEntry *entry = vm->p->engine_ctx;
  entry[vm->func](vm, vm->stack + vm->base);
  leave(vm, RVM_OK, vm->fuel);
}

/* Half of the machine's memory: a recursion without end must not take all of it. */
static size_t stack_space(void) {
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  size_t half = pages > 0 && page > 0 ? (size_t)pages / 2 * (size_t)page : 0;
  return half > LEAST_SPACE ? half : LEAST_SPACE;
}

static bool make_run(rvm_instance *vm) {
  Run *r = calloc(1, sizeof *r);
  if (!r || !fiber_new(&r->fiber, stack_space())) {
    free(r);
    vm->heap.met_limit = false;
    return false;
  }
  vm->native.state = r;
  return true;
}

/* A deep call gives its stack back. */
static void shrink(rvm_instance *vm) {
  Run *r = run_of(vm);
  if (r->charged > KEEP) {
    fiber_trim(&r->fiber, FIRST);
    heap_charge(&vm->heap, -(int64_t)(r->charged - FIRST));
    r->charged = FIRST;
  }
  vm->native.stack_limit = (uint64_t)(uintptr_t)fiber_top(&r->fiber) - r->charged;
}

static bool begin(rvm_instance *vm) {
  if (!run_of(vm) && !make_run(vm)) return false;
  Run *r = run_of(vm);
  if (!r->charged) {
    if (!heap_charge(&vm->heap, FIRST)) return false;
    r->charged = FIRST;
  }
  shrink(vm);
  vm->native.max_depth = vm->lim.call_depth ? vm->lim.call_depth : UINT32_MAX;
  fiber_start(&r->fiber, call_entry, vm);
  return true;
}

static rvm_status run(rvm_instance *vm) {
  int64_t was = vm->fuel;
  vm->native.kernel_fuel = 0;
  if (vm->state != VM_IDLE)
    fiber_resume(&run_of(vm)->fiber);
  else if (!begin(vm))
    return vm_no_memory(vm);
  uint64_t used = (uint64_t)(was - vm->fuel);
  vm->fuel_used += used;
  vm->instructions += used - vm->native.kernel_fuel;
  return run_of(vm)->st;
}

static void end(rvm_instance *vm) {
  Run *r = run_of(vm);
  if (!r) return;
  heap_charge(&vm->heap, -(int64_t)(r->charged + r->ahead.room_bytes));
  ahead_free(&r->ahead);
  fiber_free(&r->fiber);
  free(r);
  vm->native.state = NULL;
}

void engine_install(rvm_program *p, const EngineEntry *entry) {
  static const Engine engine = {run, end};
  p->engine = &engine;
  p->engine_ctx = (void *)(uintptr_t)entry;
}
