/* llvm_random_test.c -- compiled kernels against the naive interpreter: random ones, and those
 * with a word changed.                                                        */
#ifdef RVM_HAVE_LLVM
#include "tests/unit/llvm_kernels.h"
#include "tests/unit/kernel_random_test.c"
#else
int main(void) { return 0; }
#endif
