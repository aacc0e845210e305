/* target.h -- inside codegen/llvm: this machine, and modules on their way to it. */
#ifndef RVM_CODEGEN_LLVM_TARGET_H
#define RVM_CODEGEN_LLVM_TARGET_H
#include <llvm-c/TargetMachine.h>
#include "codegen/llvm/emit.h"
#include "codegen/llvm/llvm.h"

/* One thread's: LLVM's target machines and contexts are not for sharing. */
typedef struct { LLVMTargetMachineRef machine;  LLVMContextRef context;  Cpu cpu;  int level; } Target;

/* The rest as in o.  NULL, or what is missing. */
const char *target_new(Target *t, int level, const LlvmOptions *o);
void target_free(Target *t);
/* Triple and data layout. */
void target_prepare(const Target *t, LLVMModuleRef m);
/* Verified and optimised.  NULL, or why not. */
const char *target_optimise(const Target *t, LLVMModuleRef m);
/* Disposes of m.  NULL: *why. */
LLVMMemoryBufferRef target_emit(const Target *t, LLVMModuleRef m, bool assembly, const char **why);
#endif
