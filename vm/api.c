/* api.c -- instances, and calls with tensors: include/rvm/rvm.h.
 *
 * A call is a region.  Arguments become cells and go into the first frame; on
 * success counting has freed everything but the result; on failure
 * heap_collect frees all that the host does not hold.  Values in the host's
 * hands are counted twice, as owners and as the host's (Cell.u.own.host).    */
#include "vm/api.h"
#include "base/checked.h"
#include "vm/host.h"
#include "vm/strings.h"

/* ---- instances ------------------------------------------------------------------ */

rvm_status api_say(rvm_error *err, rvm_status st, const char *why, uint32_t index) {
  if (!err) return st;
  *err = (rvm_error){.status = st, .index = index};
  Msg m = msg(err->message, sizeof err->message);
  msg_text(&m, why);
  return st;
}

static void instance_end(rvm_instance *vm) {
  if (vm->p->engine) vm->p->engine->end(vm);
  heap_put(&vm->heap, vm->stack, vm->cap * 8, RVM_VALUES);
  heap_put(&vm->heap, vm->memo, (size_t)vm->p->n_memo * 8, RVM_VALUES);
  heap_end(&vm->heap);
  rvm_alloc a = vm->heap.alloc;
  a.fn(a.user, vm, sizeof *vm, 0, RVM_VALUES);
}

rvm_status rvm_instance_new(const rvm_program *p, const rvm_limits *lim, rvm_alloc alloc,
                            rvm_instance **out, rvm_error *err) {
  *out = NULL;
  if (err) *err = (rvm_error){0};
  rvm_limits none = {0};
  if (!lim) lim = &none;
  rvm_instance *vm = NULL;
  if (!lim->memory || lim->memory >= sizeof *vm)
    vm = alloc.fn(alloc.user, NULL, 0, sizeof *vm, RVM_VALUES);
  if (!vm) return api_say(err, RVM_NO_MEMORY, "no memory for an instance", 0);
  memset(vm, 0, sizeof *vm);
  vm->p = p;
  vm->lim = *lim;
  heap_init(&vm->heap, alloc, lim->memory, p->map);
  vm->heap.now = vm->heap.peak = sizeof *vm;
  if (p->n_memo) {
    vm->memo = heap_get(&vm->heap, (size_t)p->n_memo * 8, RVM_VALUES);
    if (!vm->memo) {
      instance_end(vm);
      return api_say(err, RVM_NO_MEMORY, "no memory for an instance", 0);
    }
    memset(vm->memo, 0, (size_t)p->n_memo * 8);
  }
  *out = vm;
  return RVM_OK;
}

void rvm_instance_free(rvm_instance *vm) {
  if (vm) instance_end(vm);
}

void rvm_interrupt(rvm_instance *vm) { atomic_store_explicit(&vm->stop, 1, memory_order_relaxed); }

static int64_t as_fuel(uint64_t units) {
  return units == 0 || units > INT64_MAX ? INT64_MAX : (int64_t)units;
}

void rvm_set_fuel(rvm_instance *vm, uint64_t units) {
  if (vm->state == VM_IDLE) vm->lim.fuel = units;
  vm->fuel = as_fuel(units);
}

void rvm_get_stats(const rvm_instance *vm, rvm_stats *out) {
  const Heap *h = &vm->heap;
  *out = (rvm_stats){vm->calls,      vm->instructions, vm->kernels, vm->fuel_used,
                     h->allocations, h->now,           h->peak};
}

/* ---- entering and leaving ---------------------------------------------------------- */

/* Plain loads and stores: every machine has them.  Two threads that enter in
 * the same instant are not found out. */
bool api_enter(rvm_instance *vm) {
  if (atomic_load(&vm->busy)) return false;
  atomic_store(&vm->busy, 1);
  return true;
}
rvm_status api_leave(rvm_instance *vm, rvm_status st) {
  atomic_store(&vm->busy, 0);
  return st;
}
rvm_status api_busy(rvm_error *err) {
  return api_say(err, RVM_BUSY, "the instance is running a call", 0);
}

void api_hold(rvm_instance *vm, uint64_t v) { /* an owner becomes the host */
  if (!is_cell(v) || (cell_of(v)->flags & CF_IMMORTAL)) return;
  cell_of(v)->u.own.host++;
  vm->heap.held++;
}
bool api_is_held(uint64_t v) {
  return !is_cell(v) || (cell_of(v)->flags & CF_IMMORTAL) || cell_of(v)->u.own.host > 0;
}
void api_unhold(rvm_instance *vm, uint64_t v) { /* and stays an owner    */
  if (!is_cell(v) || (cell_of(v)->flags & CF_IMMORTAL)) return;
  cell_of(v)->u.own.host--;
  vm->heap.held--;
}

static void drop_last(rvm_instance *vm) {
  if (!vm->has_last) return;
  vm->has_last = false;
  if (!type_is_ref(&vm->p->im, vm->last_type)) return;
  api_unhold(vm, vm->result);
  ref_drop(&vm->heap, vm->result);
}

/* What the last call left behind goes: its result, a parked call, cycles. */
void api_clean(rvm_instance *vm) {
  drop_last(vm);
  Heap *h = &vm->heap;
  bool grown = h->held == 0 ? h->live > 0 : h->live > 2 * vm->live_was + 4096;
  if (vm->state != VM_IDLE || (vm->p->has_refs && grown)) {
    heap_collect(h);
    vm->live_was = h->live;
  }
  vm->state = VM_IDLE;
  heap_trim(h);
}

rvm_status api_failed(rvm_instance *vm, rvm_error *err) {
  heap_collect(&vm->heap);
  vm->state = VM_IDLE;
  if (err) *err = vm->err;
  return vm->err.status;
}

bool api_alive(const rvm_instance *vm, rvm_func f) { return f < vm->p->im.n_entries; }
const IFunc *api_func_of(const rvm_instance *vm, rvm_func f) {
  return &vm->p->im.func[vm->p->im.entry[f].func];
}

/* A first frame for f with room for its arguments, which start at *args. */
rvm_status api_frame(rvm_instance *vm, rvm_func f, uint64_t **args) {
  if (!vm_reserve(vm, FRAME_WORDS + (size_t)api_func_of(vm, f)->n_regs + 1))
    return vm_no_memory(vm);
  vm->base = FRAME_WORDS;
  vm->func = vm->p->im.entry[f].func;
  vm->pc = 0;
  vm->depth = 1;
  vm->entry = f;
  vm->fuel = as_fuel(vm->lim.fuel);
  *args = vm->stack + FRAME_WORDS;
  return RVM_OK;
}

rvm_status api_stopped(rvm_instance *vm, rvm_status st, VmState state, rvm_error *err) {
  vm->state = state;
  api_say(err, st, st == RVM_NO_FUEL ? "the fuel is used up" : "the call was interrupted", 0);
  if (!err) return st;
  err->func = vm->err.func, err->pc = vm->err.pc;
  err->line = vm->err.line, err->col = vm->err.col;
  memcpy(err->file, vm->err.file, sizeof err->file);
  return st;
}

/* ---- results ---------------------------------------------------------------------------- */

/* A result must not be memory of the host's or of the program's. */
static rvm_status own_leaf(rvm_instance *vm, uint64_t *slot) {
  Tensor *t = tensor_of(*slot);
  const Tensor *root = t->owner ? (const Tensor *)t->owner : t;
  if (heap_owns(root)) return RVM_OK;
  Tensor *n = heap_tensor(&vm->heap, (DType)t->h.desc, t->h.n, t->dim);
  if (!n) return vm_no_memory(vm);
  memcpy(n->data, t->data, (size_t)t->count * (size_t)dtype_bytes((DType)t->h.desc));
  *slot = cell_value(n);
  ref_drop(&vm->heap, cell_value(t));
  return RVM_OK;
}

/* Results are shared structure at most through immutable tuples, so a leaf may
 * be replaced in place: it holds the same elements. */
static rvm_status give_leaf(rvm_instance *vm, uint32_t type, uint64_t *slot, DLTensor *out) {
  Shape s = host_shape(&vm->p->im, type);
  bool ref = type_is_ref(&vm->p->im, type);
  if (!out) return RVM_OK;
  if (!out->data) {
    rvm_status st = ref ? own_leaf(vm, slot) : RVM_OK;
    if (st != RVM_OK) return st;
    Tensor *t = ref ? tensor_of(*slot) : NULL;
    host_export(s, t ? t->data : slot_bytes(slot, dtype_bytes(s.t)), t ? t->dim : NULL, out);
    return RVM_OK;
  }
  const Tensor *t = ref ? tensor_of(*slot) : NULL;
  Shape is = {s.t, s.rank, t ? t->dim : NULL};
  int64_t count;
  const char *why = host_misfit(out, is, &count);
  if (!why && !host_compact(out)) why = "a result's memory must be compact";
  if (why) {
    vm_fault(vm, "output: ", why);
    return vm->err.status = RVM_BAD_ARGUMENT;
  }
  size_t each = (size_t)dtype_bytes(s.t);
  memcpy((uint8_t *)out->data + out->byte_offset, t ? t->data : slot_bytes(slot, (int)each),
         (size_t)count * each);
  return RVM_OK;
}

/* ---- calls with tensors ------------------------------------------------------------------ */

/* The result stays held by the instance until the next call. */
static rvm_status give_result(rvm_instance *vm, DLTensor *const *out, rvm_error *err) {
  const Image *m = &vm->p->im;
  uint32_t result = api_func_of(vm, vm->entry)->result, type, i = 0;
  uint64_t *slot;
  vm->state = VM_IDLE;
  for (Leaves l = host_leaves(m, result, &vm->result); host_next_leaf(&l, &type, &slot); i++) {
    if (give_leaf(vm, type, slot, out ? out[i] : NULL) == RVM_OK) continue;
    vm->err.index = i;
    return api_failed(vm, err);
  }
  vm->last_type = result;
  vm->has_last = true;
  if (type_is_ref(m, result)) api_hold(vm, vm->result);
  return RVM_OK;
}

static rvm_status run_call(rvm_instance *vm, DLTensor *const *out, rvm_error *err) {
  rvm_status st = vm_go(vm);
  if (st == RVM_NO_FUEL || st == RVM_INTERRUPTED) return api_stopped(vm, st, VM_PARKED_CALL, err);
  return st == RVM_OK ? give_result(vm, out, err) : api_failed(vm, err);
}

/* "x: an extent differs: (2, 3) where (?, 4) is needed" */
static rvm_status say_argument(rvm_instance *vm, rvm_func f, uint32_t i, const char *why,
                               const DLTensor *x, Shape want, rvm_error *err) {
  if (!err) return RVM_BAD_ARGUMENT;
  *err = (rvm_error){.status = RVM_BAD_ARGUMENT, .index = i};
  Msg m = msg(err->message, sizeof err->message);
  msg_text(&m, rvm_func_param_name(vm->p, f, i));
  msg_text(&m, m.n ? ": " : "");
  msg_text(&m, why);
  if (!x || x->ndim < 0 || x->ndim > 8 || (x->ndim > 0 && !x->shape)) return RVM_BAD_ARGUMENT;
  msg_text(&m, ": ");
  msg_dims(&m, x->ndim, x->shape);
  msg_text(&m, " where ");
  msg_text(&m, dtype_name(want.t));
  msg_text(&m, " ");
  msg_dims(&m, want.rank, want.want);
  msg_text(&m, " is needed");
  return RVM_BAD_ARGUMENT;
}

static rvm_status call(rvm_instance *vm, rvm_func f, const DLTensor *const *in,
                       DLTensor *const *out, rvm_error *err) {
  const Image *m = &vm->p->im;
  api_clean(vm);
  if (!api_alive(vm, f)) return api_say(err, RVM_NOT_FOUND, "no such entry point", 0);
  const IFunc *fn = api_func_of(vm, f);
  const uint32_t *type = m->type_list + fn->first_param;
  const char *why = host_no_leaves(m, fn->result);
  if (why) return api_say(err, RVM_BAD_ARGUMENT, why, 0);
  int64_t count;
  for (uint32_t i = 0; i < fn->n_params; i++) {
    if (m->type[type[i]].kind > IT_TENSOR)
      return api_say(err, RVM_BAD_ARGUMENT, "the parameter is not a tensor: use rvm_apply", i);
    why = host_unfit(vm, type[i], in[i], &count);
    if (why) return say_argument(vm, f, i, why, in[i], host_shape(m, type[i]), err);
  }
  uint64_t *args;
  rvm_status st = api_frame(vm, f, &args);
  for (uint32_t i = 0; st == RVM_OK && i < fn->n_params; i++) {
    dims_count(in[i]->shape, in[i]->ndim, &count);
    st = host_import(vm, type[i], in[i], count, true, &args[i]);
  }
  if (st != RVM_OK) return api_failed(vm, err);
  vm->calls++;
  return run_call(vm, out, err);
}

rvm_status rvm_call(rvm_instance *vm, rvm_func f, const DLTensor *const *in, DLTensor *const *out,
                    rvm_error *err) {
  if (!api_enter(vm)) return api_busy(err);
  if (err) *err = (rvm_error){0};
  vm->err = (rvm_error){0};
  return api_leave(vm, call(vm, f, in, out, err));
}

rvm_status rvm_resume(rvm_instance *vm, DLTensor *const *out, rvm_error *err) {
  if (!api_enter(vm)) return api_busy(err);
  if (err) *err = (rvm_error){0};
  if (vm->state != VM_PARKED_CALL)
    return api_leave(vm,
                     api_say(err, RVM_BAD_ARGUMENT, "there is no stopped rvm_call to resume", 0));
  return api_leave(vm, run_call(vm, out, err));
}

/* ---- the library itself --------------------------------------------------------------------- */

uint32_t rvm_abi(void) { return RVM_ABI; }

const char *rvm_status_text(rvm_status s) {
  static const char *const text[] = {[RVM_OK] = "ok",
                                     [RVM_NO_FUEL] = "out of fuel",
                                     [RVM_INTERRUPTED] = "interrupted",
                                     [RVM_NO_MEMORY] = "out of memory",
                                     [RVM_TOO_DEEP] = "calls nested too deeply",
                                     [RVM_BAD_IMAGE] = "not a valid program",
                                     [RVM_BAD_ARGUMENT] = "bad argument",
                                     [RVM_NOT_FOUND] = "not found",
                                     [RVM_BUSY] = "the instance is busy",
                                     [RVM_FAULT] = "the program failed"};
  return (unsigned)s < sizeof text / sizeof *text ? text[s] : "unknown status";
}
