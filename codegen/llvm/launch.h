/* launch.h -- compiled kernels as functions of the VM.                          */
#ifndef RVM_CODEGEN_LLVM_LAUNCH_H
#define RVM_CODEGEN_LLVM_LAUNCH_H
#include "codegen/llvm/native.h"

/* The scratch of a launch: one block that grows. */
typedef struct { KAlloc a; void *at; size_t n; } JitState;
void *jit_scratch(JitState *s, int64_t bytes);

/* What emit_kernel makes: 0, or a KStatus with the message's offset above bit 8. */
typedef uint64_t (*Code)(void *const *buf, const int64_t *sym, JitState *state);

/* One compiled kernel; the owner chains them by next. */
typedef struct Native {
  Code code;  const Kernel *k;
  KernelFn slow;  void *slow_ctx;            /* for overlapping buffers; may be NULL */
  struct Native *next;
} Native;

/* k must outlive it.  NULL: no memory. */
Native *native_new(Code code, const Kernel *k, KernelFn slow, void *slow_ctx);
void native_free(Native *f);
/* A KernelFn; ctx is a Native.  Any number of threads at once. */
KStatus native_launch(void *ctx, void *const *buf, const int64_t *sym, KAlloc a, KError *err);
#endif
