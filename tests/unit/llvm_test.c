/* llvm_test.c -- compiled kernels against the naive interpreter: every test of the
 * interpreter, with the calls that prepare and run a kernel replaced.         */
#ifdef RVM_HAVE_LLVM
#include "tests/unit/llvm_kernels.h"
#include "tests/unit/kernel_interp_test.c"
#else
int main(void) { return 0; }
#endif
