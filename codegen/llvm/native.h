/* native.h -- one kernel as machine code: for tests and benchmarks.            */
#ifndef RVM_CODEGEN_LLVM_NATIVE_H
#define RVM_CODEGEN_LLVM_NATIVE_H
#include "codegen/llvm/llvm.h"
#include "vm/program.h"

/* One kernel on its own: NULL when it cannot be compiled.  *ctx goes to the
 * function; k must outlive the jit.  slow: what runs launches whose written
 * buffers overlap others (may be NULL: such launches fail). */
KernelFn llvm_jit_kernel(LlvmJit *j, const Kernel *k, KernelFn slow, void *slow_ctx, void **ctx,
                         const char **why);
/* Tell a kernel which memory never changes and outlives the jit: operands of
 * contractions there are packed once.  Before its first launch; ctx is that of
 * the kernel. */
void llvm_kernel_constants(void *ctx, const void *from, size_t bytes);
#endif
