/* interp.h -- running kernels without a compiler: the oracle.
 *
 * Portable C, strip-mined: the innermost loop runs in strips, each expression
 * node over the whole strip before the next, so the cost of interpretation is
 * per strip.  Contractions run as packed, register-tiled products.
 *
 * kernel_prepare turns a verified kernel into a schedule (what varies in the
 * innermost loop, scratch offsets); it allocates from the given allocator and
 * belongs to it.  It refers to the kernel, which must outlive it.  A prepared
 * kernel is immutable and may be run from any number of threads, each with its
 * own scratch.  The order of every sum depends on the extents only: a launch
 * that is split into parts may differ in the last bits from the whole.       */
#ifndef RVM_KERNEL_INTERP_H
#define RVM_KERNEL_INTERP_H
#include "kernel/kernel.h"

typedef struct KProg KProg;
KStatus kernel_prepare(const Kernel *k, KAlloc a, KProg **out, KError *err);
void    kernel_unprepare(KProg *p, KAlloc a);

/* Run once.  buf[i]: memory of parameter i, of the extents under sym, aligned
 * to its element.  Locals and strips come from the allocator, returned before
 * the function returns.  The caller has called kernel_launch_ok when the
 * kernel needs it.  Outputs are unspecified when the result is not K_OK.     */
KStatus kernel_run(const KProg *p, void *const *buf, const int64_t *sym, KAlloc scratch,
                   KError *err);

/* One scalar operation on register slots (canonical 64-bit forms): the
 * meaning used by the VM's registers, by constant folding and by kernel_run.
 * slots: floats in the low bits as their element's bits. */
KStatus scalar_eval(SOp op, DType t, uint64_t a, uint64_t b, uint64_t c, uint64_t *out);
uint64_t scalar_cast(uint64_t x, DType from, DType to);
#endif
