/* native.h -- the module that makes machine code of kernels, loaded on demand.
 *
 * It stands beside the command, or in the library directory; an rvm built
 * without LLVM has none.  Errors come back as a sentence.                     */
#ifndef RVM_CLI_NATIVE_H
#define RVM_CLI_NATIVE_H
#include <stdbool.h>
#include <rvm/rvm.h>

typedef struct Native Native;
Native *native_open(const char **why);
/* Before any instance of p is made; the module must outlive them. */
bool native_kernels(Native *n, rvm_program *p, const char **why);
void native_close(Native *n); /* NULL is fine */
#endif
