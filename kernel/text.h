/* text.h -- kernel IR as text, and back (tools and tests; not in librvm_rt).
 * The syntax is described in docs/kernel-ir.md.                              */
#ifndef RVM_KERNEL_TEXT_H
#define RVM_KERNEL_TEXT_H
#include "kernel/kernel.h"

/* Print into a buffer obtained from a; NULL when it refuses. */
char   *kernel_print(const Kernel *k, KAlloc a, size_t *n);
/* Read one kernel; on failure NULL, with line and column and what was wrong. */
typedef struct { int line, col; char why[160]; } KTextError;
Kernel *kernel_parse(const char *text, size_t n, KAlloc a, KTextError *err);
#endif
