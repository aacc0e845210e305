/* api.c -- instances, and calls from the host: include/rvm/rvm.h.
 *
 * A call is a region.  Arguments become cells and go into the first frame; on
 * success counting has freed everything but the result; on failure
 * heap_collect frees all that the host does not hold.  Values in the host's
 * hands are counted twice, as owners and as the host's (Cell.u.own.host).    */
#include "vm/instance.h"
#include "base/checked.h"
#include "vm/strings.h"

/* ---- instances ------------------------------------------------------------------ */

static rvm_status say(rvm_error *err, rvm_status st, const char *why, uint32_t index) {
  if (!err) return st;
  *err = (rvm_error){ .status = st, .index = index };
  Msg m = msg(err->message, sizeof err->message);
  msg_text(&m, why);
  return st;
}

static void instance_end(rvm_instance *vm) {
  heap_put(&vm->heap, vm->stack, vm->cap * 8, RVM_VALUES);
  heap_put(&vm->heap, vm->memo, (size_t)vm->p->n_memo * 8, RVM_VALUES);
  heap_end(&vm->heap);
  rvm_alloc a = vm->heap.alloc;
  a.fn(a.user, vm, sizeof *vm, 0, RVM_VALUES);
}

rvm_status rvm_instance_new(const rvm_program *p, const rvm_limits *lim, rvm_alloc alloc,
                            rvm_instance **out, rvm_error *err) {
  *out = NULL;
  if (err) *err = (rvm_error){ 0 };
  rvm_limits none = { 0 };
  if (!lim) lim = &none;
  rvm_instance *vm = NULL;
  if (!lim->memory || lim->memory >= sizeof *vm)
    vm = alloc.fn(alloc.user, NULL, 0, sizeof *vm, RVM_VALUES);
  if (!vm) return say(err, RVM_NO_MEMORY, "no memory for an instance", 0);
  memset(vm, 0, sizeof *vm);
  vm->p = p;
  vm->lim = *lim;
  heap_init(&vm->heap, alloc, lim->memory, p->map);
  vm->heap.now = vm->heap.peak = sizeof *vm;
  if (p->n_memo) {
    vm->memo = heap_get(&vm->heap, (size_t)p->n_memo * 8, RVM_VALUES);
    if (!vm->memo) {
      instance_end(vm);
      return say(err, RVM_NO_MEMORY, "no memory for an instance", 0);
    }
    memset(vm->memo, 0, (size_t)p->n_memo * 8);
  }
  *out = vm;
  return RVM_OK;
}

void rvm_instance_free(rvm_instance *vm) {
  if (vm) instance_end(vm);
}

void rvm_interrupt(rvm_instance *vm) {
  atomic_store_explicit(&vm->stop, 1, memory_order_relaxed);
}

static int64_t as_fuel(uint64_t units) {
  return units == 0 || units > INT64_MAX ? INT64_MAX : (int64_t)units;
}

void rvm_set_fuel(rvm_instance *vm, uint64_t units) {
  if (vm->state == VM_IDLE) vm->lim.fuel = units;
  vm->fuel = as_fuel(units);
}

void rvm_get_stats(const rvm_instance *vm, rvm_stats *out) {
  const Heap *h = &vm->heap;
  *out = (rvm_stats){ vm->calls, vm->instructions, vm->kernels, vm->fuel_used,
                      h->allocations, h->now, h->peak };
}

/* ---- entering and leaving ---------------------------------------------------------- */

/* Plain loads and stores: every machine has them.  Two threads that enter in
 * the same instant are not found out. */
static bool enter(rvm_instance *vm) {
  if (atomic_load(&vm->busy)) return false;
  atomic_store(&vm->busy, 1);
  return true;
}
static rvm_status leave(rvm_instance *vm, rvm_status st) {
  atomic_store(&vm->busy, 0);
  return st;
}
static rvm_status busy(rvm_error *err) {
  return say(err, RVM_BUSY, "the instance is running a call", 0);
}

static void hold(rvm_instance *vm, uint64_t v) {     /* an owner becomes the host */
  if (!is_cell(v) || (cell_of(v)->flags & CF_IMMORTAL)) return;
  cell_of(v)->u.own.host++;
  vm->heap.held++;
}
static bool is_held(uint64_t v) {
  return !is_cell(v) || (cell_of(v)->flags & CF_IMMORTAL) || cell_of(v)->u.own.host > 0;
}
static void unhold(rvm_instance *vm, uint64_t v) {   /* and stays an owner    */
  if (!is_cell(v) || (cell_of(v)->flags & CF_IMMORTAL)) return;
  cell_of(v)->u.own.host--;
  vm->heap.held--;
}

static void drop_last(rvm_instance *vm) {
  if (!vm->has_last) return;
  vm->has_last = false;
  if (!type_is_ref(&vm->p->im, vm->last_type)) return;
  unhold(vm, vm->result);
  ref_drop(&vm->heap, vm->result);
}

/* What the last call left behind goes: its result, a parked call, cycles. */
static void clean(rvm_instance *vm) {
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

static rvm_status failed(rvm_instance *vm, rvm_error *err) {
  heap_collect(&vm->heap);
  vm->state = VM_IDLE;
  if (err) *err = vm->err;
  return vm->err.status;
}

static bool alive(const rvm_instance *vm, rvm_func f) { return f < vm->p->im.n_entries; }
static const IFunc *func_of(const rvm_instance *vm, rvm_func f) {
  return &vm->p->im.func[vm->p->im.entry[f].func];
}

/* A first frame for f with room for its arguments, which start at *args. */
static rvm_status frame(rvm_instance *vm, rvm_func f, uint64_t **args) {
  if (!vm_reserve(vm, FRAME_WORDS + (size_t)func_of(vm, f)->n_regs + 1)) return vm_no_memory(vm);
  vm->base = FRAME_WORDS;
  vm->func = vm->p->im.entry[f].func;
  vm->pc = 0;
  vm->depth = 1;
  vm->entry = f;
  vm->fuel = as_fuel(vm->lim.fuel);
  *args = vm->stack + FRAME_WORDS;
  return RVM_OK;
}

static rvm_status stopped(rvm_instance *vm, rvm_status st, VmState state, rvm_error *err) {
  vm->state = state;
  return say(err, st, st == RVM_NO_FUEL ? "the fuel is used up" : "the call was interrupted", 0);
}

/* ---- tensors of the host ------------------------------------------------------------ */

typedef struct { DType t; int rank; const int64_t *want; } Shape;  /* want: -1 for any */

static Shape shape_of(const Image *m, uint32_t type) {
  const IType *t = &m->type[type];
  if (t->kind != IT_TENSOR) return (Shape){ (DType)t->dtype, 0, NULL };
  return (Shape){ (DType)t->dtype, t->rank, t->rank ? m->dims + t->first_dim : NULL };
}

static bool has_dtype(const DLTensor *x, DType t) {
  int code, bits;
  dtype_to_dl(t, &code, &bits);
  return x->dtype.code == code && x->dtype.bits == bits && x->dtype.lanes == 1;
}

static bool is_compact(const DLTensor *x) {
  int64_t step = 1;
  for (int i = 0; x->strides && i < x->ndim; i++)
    if (x->shape[i] == 0) return true;
  for (int i = x->ndim - 1; x->strides && i >= 0; i--) {
    if (x->shape[i] != 1 && x->strides[i] != step) return false;
    step *= x->shape[i];                     /* fits: the count was computed  */
  }
  return true;
}

static const uint8_t *bytes_of(const DLTensor *x) { return (const uint8_t *)x->data + x->byte_offset; }

/* NULL, or what is wrong with x as a tensor of this type. */
static const char *misfit(const DLTensor *x, Shape s, int64_t *count) {
  if (!x) return "the tensor is missing";
  if (x->device.device_type > 1) return "the tensor is not in CPU memory";
  if (!has_dtype(x, s.t)) return "the element type differs from the parameter's";
  if (x->ndim != s.rank) return "the rank differs from the parameter's";
  if (s.rank > 0 && !x->shape) return "the shape is missing";
  for (int i = 0; i < s.rank; i++)
    if (s.want[i] >= 0 && x->shape[i] != s.want[i]) return "an extent differs from the parameter's";
  if (!dims_count(x->shape, s.rank, count) || (uint64_t)*count > SIZE_MAX / 16)
    return "the extents are negative or too large";
  if (*count > 0 && !x->data) return "the data is missing";
  return NULL;
}

/* Copies the elements of a strided tensor in row-major order. */
static void gather(const DLTensor *x, size_t each, int64_t count, uint8_t *to) {
  int64_t at[8] = { 0 }, from = 0;
  const uint8_t *base = bytes_of(x);
  for (int64_t n = 0; n < count; n++, to += each) {
    memcpy(to, base + from * (int64_t)each, each);
    for (int d = x->ndim - 1; d >= 0; d--) {
      from += x->strides[d];
      if (++at[d] < x->shape[d]) break;
      from -= x->strides[d] * x->shape[d];
      at[d] = 0;
    }
  }
}

/* Kernels rely on bools being 0 or 1. */
static bool bools_ok(const uint8_t *p, int64_t n) {
  uint8_t all = 0;
  for (int64_t i = 0; i < n; i++) all |= p[i];
  return all <= 1;
}

/* x as a value of the type; it has been found to fit.  Lent when compact. */
static rvm_status import(rvm_instance *vm, uint32_t type, const DLTensor *x, int64_t count,
                         uint64_t *out) {
  Shape s = shape_of(&vm->p->im, type);
  size_t each = (size_t)dtype_bytes(s.t);
  if (!type_is_ref(&vm->p->im, type)) {
    *out = slot_load(bytes_of(x), s.t);
    return RVM_OK;
  }
  bool lend = is_compact(x) && (uintptr_t)bytes_of(x) % each == 0;
  Tensor *t = lend ? heap_lend(&vm->heap, s.t, s.rank, x->shape, (void *)(uintptr_t)bytes_of(x))
                   : heap_tensor(&vm->heap, s.t, s.rank, x->shape);
  if (!t) return vm_no_memory(vm);
  *out = cell_value(t);
  if (count == 0 || lend) return RVM_OK;
  if (is_compact(x)) memcpy(t->data, bytes_of(x), (size_t)count * each);
  else gather(x, each, count, t->data);
  return RVM_OK;
}

static const char *bad_bools(const DLTensor *x, Shape s, int64_t count) {
  if (s.t != DT_bool || count == 0) return NULL;
  if (is_compact(x)) return bools_ok(bytes_of(x), count) ? NULL : "a bool is neither 0 nor 1";
  int64_t at[8] = { 0 };
  for (int64_t n = 0; n < count; n++) {
    int64_t from = 0;
    for (int d = 0; d < s.rank; d++) from += at[d] * x->strides[d];
    if (bytes_of(x)[from] > 1) return "a bool is neither 0 nor 1";
    for (int d = s.rank - 1; d >= 0 && ++at[d] == x->shape[d]; d--) at[d] = 0;
  }
  return NULL;
}

static const char *unfit(const rvm_instance *vm, uint32_t type, const DLTensor *x, int64_t *count) {
  Shape s = shape_of(&vm->p->im, type);
  const char *why = misfit(x, s, count);
  return why ? why : bad_bools(x, s, *count);
}

static void export(Shape s, void *data, const int64_t *dim, DLTensor *out) {
  int code, bits;
  dtype_to_dl(s.t, &code, &bits);
  *out = (DLTensor){ .data = data, .device = { 1, 0 }, .ndim = s.rank,
                     .dtype = { (uint8_t)code, (uint8_t)bits, 1 },
                     .shape = s.rank ? (int64_t *)(uintptr_t)dim : NULL };
}

/* ---- the leaves of a result ------------------------------------------------------------ */

/* A walk over the tensors of a type: itself, or those of nested tuples.  With
 * a value at hand the walk yields its slots too. */
enum { LEAF_DEPTH = 32, MAX_LEAVES = 65536 };
typedef struct { const ICtor *c; uint64_t *slot; uint32_t next; } Level;
typedef struct { const Image *m; Level level[LEAF_DEPTH]; int depth; uint32_t type; uint64_t *slot; bool bad; } Leaves;

static Leaves leaves_of(const Image *m, uint32_t type, uint64_t *slot) {
  return (Leaves){ .m = m, .type = type, .slot = slot };
}

/* false: no more, or (bad) not a tensor. */
static bool next_leaf(Leaves *l, uint32_t *type, uint64_t **slot) {
  for (;;) {
    if (l->type == UINT32_MAX) {             /* go on in the innermost tuple  */
      while (l->depth > 0 && l->level[l->depth - 1].next == l->level[l->depth - 1].c->n_fields) l->depth--;
      if (l->depth == 0) return false;
      Level *v = &l->level[l->depth - 1];
      l->type = l->m->type_list[v->c->first_field + v->next];
      l->slot = v->slot ? v->slot + v->next : NULL;
      v->next++;
    }
    const IType *t = &l->m->type[l->type];
    *type = l->type;
    *slot = l->slot;
    l->type = UINT32_MAX;
    if (t->kind <= IT_TENSOR) return true;
    if (t->kind != IT_DATA || !t->is_tuple || t->n_ctors != 1 || l->depth == LEAF_DEPTH)
      return !(l->bad = true);
    const ICtor *c = &l->m->ctor[t->first_ctor];
    uint64_t *fields = *slot && is_cell(**slot) ? record_of(**slot)->slot : NULL;
    l->level[l->depth++] = (Level){ c, fields, 0 };
  }
}

static const char *no_leaves(const Image *m, uint32_t type) {
  uint32_t n = 0, t;
  uint64_t *slot;
  Leaves l = leaves_of(m, type, NULL);
  while (n < MAX_LEAVES && next_leaf(&l, &t, &slot)) n++;
  return l.bad || n == MAX_LEAVES ? "the result is not a tensor or a tuple of tensors: use rvm_apply" : NULL;
}

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
  Shape s = shape_of(&vm->p->im, type);
  bool ref = type_is_ref(&vm->p->im, type);
  if (!out) return RVM_OK;
  if (!out->data) {
    rvm_status st = ref ? own_leaf(vm, slot) : RVM_OK;
    if (st != RVM_OK) return st;
    Tensor *t = ref ? tensor_of(*slot) : NULL;
    export(s, t ? t->data : slot_bytes(slot, dtype_bytes(s.t)), t ? t->dim : NULL, out);
    return RVM_OK;
  }
  const Tensor *t = ref ? tensor_of(*slot) : NULL;
  Shape is = { s.t, s.rank, t ? t->dim : NULL };
  int64_t count;
  const char *why = misfit(out, is, &count);
  if (!why && !is_compact(out)) why = "a result's memory must be compact";
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
  uint32_t result = func_of(vm, vm->entry)->result, type, i = 0;
  uint64_t *slot;
  vm->state = VM_IDLE;
  for (Leaves l = leaves_of(m, result, &vm->result); next_leaf(&l, &type, &slot); i++) {
    if (give_leaf(vm, type, slot, out ? out[i] : NULL) == RVM_OK) continue;
    vm->err.index = i;
    return failed(vm, err);
  }
  vm->last_type = result;
  vm->has_last = true;
  if (type_is_ref(m, result)) hold(vm, vm->result);
  return RVM_OK;
}

static rvm_status run_call(rvm_instance *vm, DLTensor *const *out, rvm_error *err) {
  rvm_status st = vm_run(vm);
  if (st == RVM_NO_FUEL || st == RVM_INTERRUPTED) return stopped(vm, st, VM_PARKED_CALL, err);
  return st == RVM_OK ? give_result(vm, out, err) : failed(vm, err);
}

static rvm_status call(rvm_instance *vm, rvm_func f, const DLTensor *const *in,
                       DLTensor *const *out, rvm_error *err) {
  const Image *m = &vm->p->im;
  clean(vm);
  if (!alive(vm, f)) return say(err, RVM_NOT_FOUND, "no such entry point", 0);
  const IFunc *fn = func_of(vm, f);
  const uint32_t *type = m->type_list + fn->first_param;
  const char *why = no_leaves(m, fn->result);
  if (why) return say(err, RVM_BAD_ARGUMENT, why, 0);
  int64_t count;
  for (uint32_t i = 0; i < fn->n_params; i++) {
    why = m->type[type[i]].kind > IT_TENSOR ? "the parameter is not a tensor: use rvm_apply"
                                            : unfit(vm, type[i], in[i], &count);
    if (why) return say(err, RVM_BAD_ARGUMENT, why, i);
  }
  uint64_t *args;
  rvm_status st = frame(vm, f, &args);
  for (uint32_t i = 0; st == RVM_OK && i < fn->n_params; i++) {
    dims_count(in[i]->shape, in[i]->ndim, &count);
    st = import(vm, type[i], in[i], count, &args[i]);
  }
  if (st != RVM_OK) return failed(vm, err);
  vm->calls++;
  return run_call(vm, out, err);
}

rvm_status rvm_call(rvm_instance *vm, rvm_func f, const DLTensor *const *in,
                    DLTensor *const *out, rvm_error *err) {
  if (!enter(vm)) return busy(err);
  if (err) *err = (rvm_error){ 0 };
  vm->err = (rvm_error){ 0 };
  return leave(vm, call(vm, f, in, out, err));
}

rvm_status rvm_resume(rvm_instance *vm, DLTensor *const *out, rvm_error *err) {
  if (!enter(vm)) return busy(err);
  if (err) *err = (rvm_error){ 0 };
  if (vm->state != VM_PARKED_CALL)
    return leave(vm, say(err, RVM_BAD_ARGUMENT, "there is no stopped rvm_call to resume", 0));
  return leave(vm, run_call(vm, out, err));
}

/* ---- values -------------------------------------------------------------------------------- */

static bool ref_value(const rvm_instance *vm, rvm_value v) {
  return v.type < vm->p->im.n_types && type_is_ref(&vm->p->im, v.type);
}

static void release(rvm_instance *vm, rvm_value v) {
  if (!ref_value(vm, v) || !is_held(v.bits)) return;
  unhold(vm, v.bits);
  ref_drop(&vm->heap, v.bits);
}

static void release_all(rvm_instance *vm, uint32_t n, const rvm_value *v) {
  for (uint32_t i = 0; i < n; i++) release(vm, v[i]);
}

void rvm_value_release(rvm_instance *vm, rvm_value v) { release(vm, v); }

/* NULL, or why v cannot be handed over as a value of this type. */
static const char *unusable(const rvm_instance *vm, rvm_value v, uint32_t type) {
  const Image *m = &vm->p->im;
  if (v.type >= m->n_types || !itype_agree(m, v.type, type)) return "the value is of another type";
  if (ref_value(vm, v) && !is_held(v.bits)) return "the value is not the host's to give";
  return NULL;
}

/* Takes the values over, or says which cannot be and releases them all. */
static rvm_status take_all(rvm_instance *vm, uint32_t n, const rvm_value *v, const uint32_t *type,
                           uint64_t *to, rvm_error *err) {
  for (uint32_t i = 0; i < n; i++) {
    const char *why = unusable(vm, v[i], type[i]);
    if (!why) {
      to[i] = v[i].bits;
      if (ref_value(vm, v[i])) unhold(vm, v[i].bits);
      continue;
    }
    for (uint32_t k = 0; k < i; k++)
      if (ref_value(vm, v[k])) ref_drop(&vm->heap, v[k].bits);
    release_all(vm, n - i, v + i);
    return say(err, RVM_BAD_ARGUMENT, why, i);
  }
  return RVM_OK;
}

static rvm_status no_memory(rvm_instance *vm, rvm_error *err) {
  vm_no_memory(vm);
  if (err) *err = vm->err;
  return RVM_NO_MEMORY;
}

rvm_status rvm_value_tensor(rvm_instance *vm, rvm_type t, const DLTensor *x, rvm_value *out,
                            rvm_error *err) {
  *out = (rvm_value){ 1, t };
  if (!enter(vm)) return busy(err);
  if (err) *err = (rvm_error){ 0 };
  vm->err = (rvm_error){ 0 };
  if (t >= vm->p->im.n_types || vm->p->im.type[t].kind > IT_TENSOR)
    return leave(vm, say(err, RVM_BAD_ARGUMENT, "the type is not a tensor's", 0));
  int64_t count;
  const char *why = unfit(vm, t, x, &count);
  if (why) return leave(vm, say(err, RVM_BAD_ARGUMENT, why, 0));
  uint64_t v;
  if (import(vm, t, x, count, &v) != RVM_OK) return leave(vm, no_memory(vm, err));
  *out = (rvm_value){ v, t };
  if (type_is_ref(&vm->p->im, t)) hold(vm, v);
  return leave(vm, RVM_OK);
}

static rvm_status value_data(rvm_instance *vm, rvm_type t, uint32_t ctor, uint32_t n,
                             const rvm_value *fields, rvm_value *out, rvm_error *err) {
  const Image *m = &vm->p->im;
  const char *why = NULL;
  if (t >= m->n_types || m->type[t].kind != IT_DATA) why = "the type is not a data type";
  else if (ctor >= m->type[t].n_ctors) why = "the type has no such constructor";
  const ICtor *c = why ? NULL : &m->ctor[m->type[t].first_ctor + ctor];
  if (c && c->n_fields != n) why = "the constructor has another number of fields";
  if (why) {
    release_all(vm, n, fields);
    return say(err, RVM_BAD_ARGUMENT, why, 0);
  }
  out->bits = nullary(ctor);
  if (n == 0) return RVM_OK;
  Record *r = heap_record(&vm->heap, CK_Data, m->type[t].first_ctor + ctor, n);
  if (!r) {
    release_all(vm, n, fields);
    return no_memory(vm, err);
  }
  rvm_status st = take_all(vm, n, fields, m->type_list + c->first_field, r->slot, err);
  if (st != RVM_OK) { heap_free_shell(&vm->heap, r); return st; }
  out->bits = cell_value(r);
  hold(vm, out->bits);
  return RVM_OK;
}

rvm_status rvm_value_data(rvm_instance *vm, rvm_type t, uint32_t ctor, uint32_t n,
                          const rvm_value *fields, rvm_value *out, rvm_error *err) {
  *out = (rvm_value){ 1, t };
  if (!enter(vm)) return busy(err);
  if (err) *err = (rvm_error){ 0 };
  vm->err = (rvm_error){ 0 };
  return leave(vm, value_data(vm, t, ctor, n, fields, out, err));
}

static rvm_status run_apply(rvm_instance *vm, rvm_value *out, rvm_error *err) {
  rvm_status st = vm_run(vm);
  if (st == RVM_NO_FUEL || st == RVM_INTERRUPTED) return stopped(vm, st, VM_PARKED_APPLY, err);
  if (st != RVM_OK) return failed(vm, err);
  vm->state = VM_IDLE;
  *out = (rvm_value){ vm->result, func_of(vm, vm->entry)->result };
  if (ref_value(vm, *out)) hold(vm, out->bits);
  heap_trim(&vm->heap);
  return RVM_OK;
}

static const char *bad_extents(const rvm_instance *vm, rvm_value v, uint32_t type) {
  if (vm->p->im.type[type].kind != IT_TENSOR) return NULL;
  Shape s = shape_of(&vm->p->im, type);
  for (int i = 0; i < s.rank; i++)
    if (s.want[i] >= 0 && tensor_of(v.bits)->dim[i] != s.want[i])
      return "an extent differs from the parameter's";
  return NULL;
}

static rvm_status apply(rvm_instance *vm, rvm_func f, const rvm_value *in, rvm_value *out,
                        rvm_error *err) {
  clean(vm);
  if (!alive(vm, f)) return say(err, RVM_NOT_FOUND, "no such entry point", 0);
  const IFunc *fn = func_of(vm, f);
  const uint32_t *type = vm->p->im.type_list + fn->first_param;
  const char *why = NULL;
  uint32_t bad = 0;
  for (uint32_t i = 0; !why && i < fn->n_params; i++) {
    why = unusable(vm, in[i], type[i]);
    if (!why) why = bad_extents(vm, in[i], type[i]);
    bad = i;
  }
  if (why) {
    release_all(vm, fn->n_params, in);
    return say(err, RVM_BAD_ARGUMENT, why, bad);
  }
  uint64_t *args;
  if (frame(vm, f, &args) != RVM_OK) {
    release_all(vm, fn->n_params, in);
    return failed(vm, err);
  }
  rvm_status st = take_all(vm, fn->n_params, in, type, args, err);
  if (st != RVM_OK) return st;
  vm->calls++;
  return run_apply(vm, out, err);
}

rvm_status rvm_apply(rvm_instance *vm, rvm_func f, const rvm_value *in, rvm_value *out,
                     rvm_error *err) {
  *out = (rvm_value){ 1, UINT32_MAX };
  if (!enter(vm)) return busy(err);
  if (err) *err = (rvm_error){ 0 };
  vm->err = (rvm_error){ 0 };
  return leave(vm, apply(vm, f, in, out, err));
}

rvm_status rvm_resume_value(rvm_instance *vm, rvm_value *out, rvm_error *err) {
  *out = (rvm_value){ 1, UINT32_MAX };
  if (!enter(vm)) return busy(err);
  if (err) *err = (rvm_error){ 0 };
  if (vm->state != VM_PARKED_APPLY)
    return leave(vm, say(err, RVM_BAD_ARGUMENT, "there is no stopped rvm_apply to resume", 0));
  return leave(vm, run_apply(vm, out, err));
}

uint32_t rvm_value_ctor(const rvm_instance *vm, rvm_value v) {
  return is_cell(v.bits) ? vm->p->local[cell_of(v.bits)->desc] : (uint32_t)(v.bits >> 1);
}

rvm_value rvm_value_field(const rvm_instance *vm, rvm_value v, uint32_t i) {
  const Image *m = &vm->p->im;
  const Record *r = record_of(v.bits);
  if (!is_cell(v.bits) || r->h.kind != CK_Data || i >= r->h.n) return (rvm_value){ 1, UINT32_MAX };
  return (rvm_value){ r->slot[i], m->type_list[m->ctor[r->h.desc].first_field + i] };
}

void rvm_value_get(const rvm_instance *vm, const rvm_value *v, DLTensor *out) {
  memset(out, 0, sizeof *out);
  if (v->type >= vm->p->im.n_types || vm->p->im.type[v->type].kind > IT_TENSOR) return;
  Shape s = shape_of(&vm->p->im, v->type);
  if (ref_value(vm, *v)) {
    export(s, tensor_of(v->bits)->data, tensor_of(v->bits)->dim, out);
  } else {
    uint64_t *slot = (uint64_t *)(uintptr_t)&v->bits;
    export(s, slot_bytes(slot, dtype_bytes(s.t)), NULL, out);
  }
}

/* ---- the library itself --------------------------------------------------------------------- */

uint32_t rvm_abi(void) { return RVM_ABI; }

const char *rvm_status_text(rvm_status s) {
  static const char *const text[] = {
    [RVM_OK] = "ok", [RVM_NO_FUEL] = "out of fuel", [RVM_INTERRUPTED] = "interrupted",
    [RVM_NO_MEMORY] = "out of memory", [RVM_TOO_DEEP] = "calls nested too deeply",
    [RVM_BAD_IMAGE] = "not a valid program", [RVM_BAD_ARGUMENT] = "bad argument",
    [RVM_NOT_FOUND] = "not found", [RVM_BUSY] = "the instance is busy",
    [RVM_FAULT] = "the program failed" };
  return (unsigned)s < sizeof text / sizeof *text ? text[s] : "unknown status";
}
