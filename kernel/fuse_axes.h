/* fuse_axes.h -- matching the axes of one tensor as two kernels see it.       */
#ifndef RVM_KERNEL_FUSE_AXES_H
#define RVM_KERNEL_FUSE_AXES_H
#include "kernel/build.h"

/* Axes p0..p0+np of one view are axes c0..c0+nc of the other; np or nc is 1.
 * Axes of extent 1 are in no group. */
typedef struct { int p0, np, c0, nc; } AxisGroup;
/* Groups that cover both views, in order; false: they cannot be matched.
 * Extents are nodes of b. */
bool axes_match(KB *b, int np, const KE *p, int nc, const KE *c, AxisGroup *g, int *n);
/* Is the product of the n extents known to be that of the m others? */
bool axes_same_count(KB *b, int n, const KE *x, int m, const KE *y);
bool axis_is_one(KB *b, KE e);
#endif
