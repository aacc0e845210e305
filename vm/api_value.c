/* api_value.c -- calls with any values: include/rvm/rvm.h.
 *
 * A value in the host's hands is one ownership, counted in the cell as the
 * host's.  Giving a value away turns it into an ordinary one.                */
#include "vm/api.h"
#include "vm/host.h"

/* ---- values -------------------------------------------------------------------------------- */

static bool ref_value(const rvm_instance *vm, rvm_value v) {
  return v.type < vm->p->im.n_types && type_is_ref(&vm->p->im, v.type);
}

static void release(rvm_instance *vm, rvm_value v) {
  if (!ref_value(vm, v) || !api_is_held(v.bits)) return;
  api_unhold(vm, v.bits);
  ref_drop(&vm->heap, v.bits);
}

static void release_all(rvm_instance *vm, uint32_t n, const rvm_value *v) {
  for (uint32_t i = 0; i < n; i++) release(vm, v[i]);
}

void rvm_value_release(rvm_instance *vm, rvm_value v) { release(vm, v); }

void rvm_value_retain(rvm_instance *vm, rvm_value v) {
  if (!ref_value(vm, v)) return;
  ref_dup(v.bits);
  api_hold(vm, v.bits);
}

/* NULL, or why v cannot be handed over as a value of this type. */
static const char *unusable(const rvm_instance *vm, rvm_value v, uint32_t type) {
  const Image *m = &vm->p->im;
  if (v.type >= m->n_types || !itype_agree(m, v.type, type)) return "the value is of another type";
  if (ref_value(vm, v) && !api_is_held(v.bits)) return "the value is not the host's to give";
  return NULL;
}

/* Takes the values over, or says which cannot be and releases them all. */
static rvm_status take_all(rvm_instance *vm, uint32_t n, const rvm_value *v, const uint32_t *type,
                           uint64_t *to, rvm_error *err) {
  for (uint32_t i = 0; i < n; i++) {
    const char *why = unusable(vm, v[i], type[i]);
    if (!why) {
      to[i] = v[i].bits;
      if (ref_value(vm, v[i])) api_unhold(vm, v[i].bits);
      continue;
    }
    for (uint32_t k = 0; k < i; k++)
      if (ref_value(vm, v[k])) ref_drop(&vm->heap, v[k].bits);
    release_all(vm, n - i, v + i);
    return api_say(err, RVM_BAD_ARGUMENT, why, i);
  }
  return RVM_OK;
}

static rvm_status no_memory(rvm_instance *vm, rvm_error *err) {
  vm_no_memory(vm);
  if (err) *err = vm->err;
  return RVM_NO_MEMORY;
}

static rvm_status value_tensor(rvm_instance *vm, rvm_type t, const DLTensor *x, bool borrow,
                               rvm_value *out, rvm_error *err) {
  *out = (rvm_value){1, t};
  if (!api_enter(vm)) return api_busy(err);
  if (err) *err = (rvm_error){0};
  vm->err = (rvm_error){0};
  if (t >= vm->p->im.n_types || vm->p->im.type[t].kind > IT_TENSOR)
    return api_leave(vm, api_say(err, RVM_BAD_ARGUMENT, "the type is not a tensor's", 0));
  int64_t count;
  const char *why = host_unfit(vm, t, x, &count);
  if (why) return api_leave(vm, api_say(err, RVM_BAD_ARGUMENT, why, 0));
  uint64_t v;
  if (host_import(vm, t, x, count, borrow, &v) != RVM_OK) return api_leave(vm, no_memory(vm, err));
  *out = (rvm_value){v, t};
  if (type_is_ref(&vm->p->im, t)) api_hold(vm, v);
  return api_leave(vm, RVM_OK);
}

rvm_status rvm_value_tensor(rvm_instance *vm, rvm_type t, const DLTensor *x, rvm_value *out,
                            rvm_error *err) {
  return value_tensor(vm, t, x, true, out, err);
}
rvm_status rvm_value_tensor_copy(rvm_instance *vm, rvm_type t, const DLTensor *x, rvm_value *out,
                                 rvm_error *err) {
  return value_tensor(vm, t, x, false, out, err);
}

static rvm_status value_data(rvm_instance *vm, rvm_type t, uint32_t ctor, uint32_t n,
                             const rvm_value *fields, rvm_value *out, rvm_error *err) {
  const Image *m = &vm->p->im;
  const char *why = NULL;
  if (t >= m->n_types || m->type[t].kind != IT_DATA)
    why = "the type is not a data type";
  else if (ctor >= m->type[t].n_ctors)
    why = "the type has no such constructor";
  const ICtor *c = why ? NULL : &m->ctor[m->type[t].first_ctor + ctor];
  if (c && c->n_fields != n) why = "the constructor has another number of fields";
  if (why) {
    release_all(vm, n, fields);
    return api_say(err, RVM_BAD_ARGUMENT, why, 0);
  }
  out->bits = nullary(ctor);
  if (n == 0) return RVM_OK;
  Record *r = heap_record(&vm->heap, CK_Data, m->type[t].first_ctor + ctor, n);
  if (!r) {
    release_all(vm, n, fields);
    return no_memory(vm, err);
  }
  rvm_status st = take_all(vm, n, fields, m->type_list + c->first_field, r->slot, err);
  if (st != RVM_OK) {
    heap_free_shell(&vm->heap, r);
    return st;
  }
  out->bits = cell_value(r);
  api_hold(vm, out->bits);
  return RVM_OK;
}

rvm_status rvm_value_data(rvm_instance *vm, rvm_type t, uint32_t ctor, uint32_t n,
                          const rvm_value *fields, rvm_value *out, rvm_error *err) {
  *out = (rvm_value){1, t};
  if (!api_enter(vm)) return api_busy(err);
  if (err) *err = (rvm_error){0};
  vm->err = (rvm_error){0};
  return api_leave(vm, value_data(vm, t, ctor, n, fields, out, err));
}

static rvm_status run_apply(rvm_instance *vm, rvm_value *out, rvm_error *err) {
  rvm_status st = vm_go(vm);
  if (st == RVM_NO_FUEL || st == RVM_INTERRUPTED) return api_stopped(vm, st, VM_PARKED_APPLY, err);
  if (st != RVM_OK) return api_failed(vm, err);
  vm->state = VM_IDLE;
  *out = (rvm_value){vm->result, api_func_of(vm, vm->entry)->result};
  if (ref_value(vm, *out)) api_hold(vm, out->bits);
  heap_trim(&vm->heap);
  return RVM_OK;
}

static const char *bad_extents(const rvm_instance *vm, rvm_value v, uint32_t type) {
  if (vm->p->im.type[type].kind != IT_TENSOR) return NULL;
  Shape s = host_shape(&vm->p->im, type);
  for (int i = 0; i < s.rank; i++)
    if (s.want[i] >= 0 && tensor_of(v.bits)->dim[i] != s.want[i]) return "an extent differs";
  return NULL;
}

static rvm_status apply(rvm_instance *vm, rvm_func f, const rvm_value *in, rvm_value *out,
                        rvm_error *err) {
  api_clean(vm);
  if (!api_alive(vm, f)) return api_say(err, RVM_NOT_FOUND, "no such entry point", 0);
  const IFunc *fn = api_func_of(vm, f);
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
    return api_say(err, RVM_BAD_ARGUMENT, why, bad);
  }
  uint64_t *args;
  if (api_frame(vm, f, &args) != RVM_OK) {
    release_all(vm, fn->n_params, in);
    return api_failed(vm, err);
  }
  rvm_status st = take_all(vm, fn->n_params, in, type, args, err);
  if (st != RVM_OK) return st;
  vm->calls++;
  return run_apply(vm, out, err);
}

rvm_status rvm_apply(rvm_instance *vm, rvm_func f, const rvm_value *in, rvm_value *out,
                     rvm_error *err) {
  *out = (rvm_value){1, UINT32_MAX};
  if (!api_enter(vm)) return api_busy(err);
  if (err) *err = (rvm_error){0};
  vm->err = (rvm_error){0};
  return api_leave(vm, apply(vm, f, in, out, err));
}

rvm_status rvm_resume_value(rvm_instance *vm, rvm_value *out, rvm_error *err) {
  *out = (rvm_value){1, UINT32_MAX};
  if (!api_enter(vm)) return api_busy(err);
  if (err) *err = (rvm_error){0};
  if (vm->state != VM_PARKED_APPLY)
    return api_leave(vm,
                     api_say(err, RVM_BAD_ARGUMENT, "there is no stopped rvm_apply to resume", 0));
  return api_leave(vm, run_apply(vm, out, err));
}

uint32_t rvm_value_ctor(const rvm_instance *vm, rvm_value v) {
  return is_cell(v.bits) ? vm->p->local[cell_of(v.bits)->desc] : (uint32_t)(v.bits >> 1);
}

rvm_value rvm_value_field(const rvm_instance *vm, rvm_value v, uint32_t i) {
  const Image *m = &vm->p->im;
  const Record *r = record_of(v.bits);
  if (!is_cell(v.bits) || r->h.kind != CK_Data || i >= r->h.n) return (rvm_value){1, UINT32_MAX};
  return (rvm_value){r->slot[i], m->type_list[m->ctor[r->h.desc].first_field + i]};
}

void rvm_value_get(const rvm_instance *vm, const rvm_value *v, DLTensor *out) {
  memset(out, 0, sizeof *out);
  if (v->type >= vm->p->im.n_types || vm->p->im.type[v->type].kind > IT_TENSOR) return;
  Shape s = host_shape(&vm->p->im, v->type);
  if (ref_value(vm, *v)) {
    host_export(s, tensor_of(v->bits)->data, tensor_of(v->bits)->dim, out);
  } else {
    uint64_t *slot = (uint64_t *)(uintptr_t)&v->bits;
    host_export(s, slot_bytes(slot, dtype_bytes(s.t)), NULL, out);
  }
}
