/* fuse.h -- composing kernels: from a producer and a consumer, one kernel.
 *
 * The decision is made on kernel IR alone.  Two ways:
 *
 *   inline  the producer is a map with one result, the element at its loop
 *           variables; every load of it becomes that expression at the
 *           consumer's indices.  An expression that costs is not evaluated more
 *           often than before, and nothing is put into the factors of a
 *           contraction;
 *   append  the consumer's outermost parallel loops run over the elements of
 *           the producer's result, and it reads the element it stands at.  Its
 *           body moves to the end of the body with the producer's store: into
 *           the epilogue of a contraction, behind a reduction, or behind
 *           another map.  The result is stored further if it is wanted.
 *
 * Both kernels see the tensor between them with their own extents.  Axes are
 * matched in groups of equal products, and a parallel loop is split where the
 * other kernel tells axes apart.  Loops of reductions and the depth of
 * contractions are never touched: values stay the same to the bit.           */
#ifndef RVM_KERNEL_FUSE_H
#define RVM_KERNEL_FUSE_H
#include "kernel/kernel.h"

/* A kernel, and what its parameters and symbols are by the caller's numbers:
 * buf[i] of parameter i, sym[i] of symbol i.  Equal numbers are the same
 * memory, or the same integer. */
typedef struct { const Kernel *k; const uint32_t *buf, *sym; } KPart;
/* What was made, in the same terms. */
typedef struct { Kernel *k; uint32_t buf[K_MAX_BUFS], sym[K_MAX_SYMS]; } KFused;
/* Is this memory, written by the producer, read by others than the consumer? */
typedef struct { bool (*fn)(void *ud, uint32_t buf); void *ud; } KWanted;

/* May running k fail, its memory given: a check, a division by zero, an access
 * that is not proved? */
bool kernel_may_fail(const Kernel *k, KAlloc a);

/* p runs right before c.  false: they stay two kernels (or no memory), and
 * nothing is allocated.  At most one of them may fail, and nothing that fails is
 * evaluated more or less often than before.  out->k: one block of a, for
 * kernel_free. */
bool kernel_fuse(KPart p, KPart c, KWanted wanted, KAlloc a, KFused *out);

/* The same kernel with adjacent parallel loops as one where no access tells
 * them apart, without loops of extent 1; k itself is not changed.  NULL:
 * nothing to do, or no memory. */
Kernel *kernel_collapse(const Kernel *k, KAlloc a);

/* The same kernel with dear values that several loops over a row need computed once,
 * kept in the output that the last of these loops writes; k itself is not
 * changed.  NULL: nothing to do, or no memory. */
Kernel *kernel_keep(const Kernel *k, KAlloc a);
#endif
