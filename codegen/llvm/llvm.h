/* llvm.h -- an image as machine code of the host, made by LLVM.
 *
 * A kernel gives what kernel_run gives: the same bits for everything but sums
 * and products of floats, which run in lanes (reductions) or tiles with fused
 * multiply-add (contractions); their order depends on the extents and on the
 * CPU, not on the run.  The same failures are reported.  Control flow does what
 * the interpreter does, to the unit of fuel.                                 */
#ifndef RVM_CODEGEN_LLVM_LLVM_H
#define RVM_CODEGEN_LLVM_LLVM_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "codegen/native/machine.h"
#include "kernel/kernel.h"

typedef struct {
  int level;                                 /* of optimisation, 0..3; -1: the default, 2 */
  int threads;                               /* that compile; 0: one per processor */
  bool functions;                            /* control flow too, not only kernels */
  bool fast_math;                            /* convolutions may go through Winograd's transforms,
                                                products through Strassen's algorithm */
  const char *cpu;                           /* NULL: this machine's; x86-64-v4, x86-64-v3 or x86-64 */
  Caches caches;                             /* that products are cut for; second 0: of
                                                common sizes; third 0: there is none */
} LlvmOptions;

/* image: bytes that rvm_program_load accepts (it is verified again), aligned to
 * 8.  The result is a code file (codegen/native/code.h) and depends on the
 * image, the CPU, level, functions, fast_math and caches only; release it with
 * llvm_free.  NULL: *why (static text). */
void *llvm_compile(const LlvmOptions *o, const void *image, size_t n, size_t *bytes,
                   const char **why);
/* The same as optimised LLVM IR, or as the host's assembly; a C string. */
char *llvm_emit_text(const LlvmOptions *o, const void *image, size_t n, bool assembly,
                     const char **why);
void llvm_free(void *p);
/* One kernel of a verified image for these values of its symbols, as a relocatable object with
 * function k0, which gives the bits that the kernel gives; release with llvm_free.  NULL: that
 * cannot be promised, or *stop became true meanwhile, or *why. */
void *llvm_compile_fixed(const LlvmOptions *o, const Kernel *k, const int64_t *sym,
                         const atomic_bool *stop, size_t *bytes, const char **why);
#endif
