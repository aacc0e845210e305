/* engine.h -- running a program whose control flow is machine code.
 *
 * Compiled functions run on a stack of the instance's own (fiber.h), which a
 * call leaves when it ends, fails or is stopped; a stopped call goes on there.
 * What they ask of the runtime (memory, faults, large kernels) are the functions
 * of engine_helper, called by name.                                          */
#ifndef RVM_CODEGEN_NATIVE_ENGINE_H
#define RVM_CODEGEN_NATIVE_ENGINE_H
#include "codegen/native/helper.h"
#include "vm/instance.h"

/* What a function for the host's calls is: reads the arguments from slots and
 * vm->fuel, and writes vm->result and vm->fuel. */
typedef void (*EngineEntry)(rvm_instance *vm, const uint64_t *slots);

/* Plug compiled control flow into p: entry[f] for every function f that the
 * host can call, else NULL.  The array must outlive p's instances. */
void engine_install(rvm_program *p, const EngineEntry *entry);
#endif
