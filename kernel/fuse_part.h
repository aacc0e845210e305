/* fuse_part.h -- questions about one kernel that is to be fused.              */
#ifndef RVM_KERNEL_FUSE_PART_H
#define RVM_KERNEL_FUSE_PART_H
#include "kernel/fuse_copy.h"

/* The outermost perfect nest of parallel loops: their statements, and what
 * stands in the innermost. */
typedef struct { uint32_t n, loop[K_MAX_LOOPS], from, to; } MapNest;
void part_nest(const Kernel *k, MapNest *m);
/* Is k a map: a nest of parallel loops round lets and one store whose indices
 * are the loop variables, each once?  No buffer but inputs and that output. */
bool part_is_map(const Kernel *k, MapNest *m);

/* The loop variable that node e is, if a For or the parallel part of a
 * contraction binds it; else KE_NONE. */
uint32_t part_loop(const Kernel *k, KE e);
/* The statement whose body s stands in, or KE_NONE. */
uint32_t part_body_of(const Kernel *k, uint32_t s);
/* Pool offset of the indices of every load of buffer u; KE_NONE: it is loaded at
 * different places, or never. */
uint32_t part_index_of(const Kernel *k, uint32_t u);
bool part_has_load_or(const Kernel *k, uint32_t u);
/* Does store s meet each element of its buffer (of extents dim, in the copy's
 * builder) exactly once? */
bool part_covers(KCopy *c, uint32_t s, int n, const KE *dim);
/* What an operation costs, about, in additions. */
int part_op_cost(SOp op);
/* May c's loads of buffer u become the value of map p without more work than
 * before worth mentioning? */
bool part_inline_pays(const Kernel *p, const Kernel *c, uint32_t u, KAlloc a);
/* Is buffer u read by several loops over rows of k, one of them a reduction, and
 * by nothing else? */
bool part_read_by_rows(const Kernel *k, uint32_t u, KAlloc a);
/* Operations of all statements, each as if it ran once; -1: no memory. */
int part_work(const Kernel *k, KAlloc a);
#endif
