/* work.h -- how much a launch of a kernel computes and touches.                */
#ifndef RVM_CLI_WORK_H
#define RVM_CLI_WORK_H
#include "kernel/kernel.h"

typedef struct {
  double flops, bytes;
} Work;
/* flops: operations on floats, each function counting one, a multiply-add of a
 * contraction two; what is shared inside an expression is counted once.
 * bytes: every parameter once.  An estimate for people, in floating point.
 * marks: room for one per node of k; nothing is allocated. */
Work kernel_work(const Kernel *k, const int64_t *sym, bool *marks);
#endif
