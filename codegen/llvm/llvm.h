/* llvm.h -- kernels as machine code of the host, made by LLVM when a program is
 * loaded.
 *
 * A kernel gives what kernel_run gives: the same bits for everything but sums
 * and products of floats, which run in lanes (reductions) or tiles with fused
 * multiply-add (contractions); their order depends on the extents and on the
 * CPU, not on the run.  The same failures are reported.                      */
#ifndef RVM_CODEGEN_LLVM_LLVM_H
#define RVM_CODEGEN_LLVM_LLVM_H
#include <stdbool.h>
#include <stdint.h>
#include <rvm/rvm.h>

typedef struct LlvmJit LlvmJit;
typedef struct {
  int level;                                 /* of optimisation, 0..3; -1: the default, 2 */
} LlvmOptions;

/* NULL: *why says what failed (static text, or valid until the process ends). */
LlvmJit *llvm_jit_new(const LlvmOptions *o, const char **why);
/* Compile every kernel of p and plug it in; before any instance is made.  A
 * kernel outside what is compiled stays interpreted.  false: nothing changed,
 * *why says why.  The jit must outlive the program's instances. */
bool llvm_jit_kernels(LlvmJit *j, rvm_program *p, const char **why);
/* How many kernels this jit has compiled. */
uint32_t llvm_jit_count(const LlvmJit *j);
void llvm_jit_free(LlvmJit *j);

/* All kernels of p as optimised LLVM IR, or as the host's assembly.  Release
 * with llvm_text_free.  NULL: *why. */
char *llvm_emit_text(LlvmJit *j, const rvm_program *p, bool assembly, const char **why);
void llvm_text_free(char *text);
#endif
