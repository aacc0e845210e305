/* api.h -- what the two halves of the C API share: api.c (instances, calls with
 * tensors) and api_value.c (values).                                         */
#ifndef RVM_VM_API_H
#define RVM_VM_API_H
#include "vm/instance.h"

/* Fills err, if there is one; returns st. */
rvm_status api_say(rvm_error *err, rvm_status st, const char *why, uint32_t index);

/* Every call from the host is between enter (false: say busy) and leave. */
bool       api_enter(rvm_instance *vm);
rvm_status api_leave(rvm_instance *vm, rvm_status st);
rvm_status api_busy(rvm_error *err);

/* An owner of v becomes the host; stops being it, but stays an owner. */
void api_hold(rvm_instance *vm, uint64_t v);
void api_unhold(rvm_instance *vm, uint64_t v);
bool api_is_held(uint64_t v);

/* Before a call: what the last one left behind goes. */
void api_clean(rvm_instance *vm);
bool api_alive(const rvm_instance *vm, rvm_func f);
const IFunc *api_func_of(const rvm_instance *vm, rvm_func f);
/* A first frame for f; its arguments go to *args. */
rvm_status api_frame(rvm_instance *vm, rvm_func f, uint64_t **args);
/* After a call that failed (vm->err), or stopped. */
rvm_status api_failed(rvm_instance *vm, rvm_error *err);
rvm_status api_stopped(rvm_instance *vm, rvm_status st, VmState state, rvm_error *err);
#endif
