/* jit.h -- one kernel as machine code: for tests and benchmarks.            */
#ifndef RVM_CODEGEN_LLVM_JIT_H
#define RVM_CODEGEN_LLVM_JIT_H
#include "codegen/llvm/llvm.h"
#include "codegen/native/launch.h"
#include "vm/program.h"

typedef struct LlvmJit LlvmJit; /* what owns the code            */

/* NULL: *why says what failed (static text). */
LlvmJit *llvm_jit_new(const LlvmOptions *o, const char **why);
void llvm_jit_free(LlvmJit *j);
/* One kernel on its own: NULL when it cannot be compiled.  *ctx goes to the
 * function; k must outlive the jit.  slow: what runs launches whose written
 * buffers overlap others (may be NULL: such launches fail). */
KernelFn llvm_jit_kernel(LlvmJit *j, const Kernel *k, KernelFn slow, void *slow_ctx, void **ctx,
                         const char **why);
#endif
