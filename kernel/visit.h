/* visit.h -- the edges of a kernel: operands of a node, expressions of a
 * statement.  For passes over nodes in order (operands come first, so one loop
 * upward computes facts of operands before users, one loop downward marks
 * what is used).                                                             */
#ifndef RVM_KERNEL_VISIT_H
#define RVM_KERNEL_VISIT_H
#include "kernel/kernel.h"

/* Operand i of node e in order (a load's indices, then a fallback), or KE_NONE
 * past the last. */
KE kernel_operand(const Kernel *k, KE e, uint32_t i);
/* Expression i of statement s, without those of its body, or KE_NONE past the
 * last.  Extents come first, then values. */
KE kernel_stmt_expr(const Kernel *k, uint32_t s, uint32_t i);
/* The one store (a statement) to buffer u, or KE_NONE: none, several, or u is also loaded. */
uint32_t kernel_only_store(const Kernel *k, uint32_t u);
/* May node e itself fail: an integer division, a shift or a power that no constant makes safe? */
bool kernel_traps(const Kernel *k, KE e);

/* ---- inside kernel/: proofs of bounds --------------------------------------- */
/* For every load node and store statement: is each access inside its buffer?
 * For every loop extent that is not proved >= 0, *extents becomes false.
 * sym NULL: for all symbols, given that kernel_buf_count accepts each buffer.
 * false: no memory. */
bool kernel_prove(const Kernel *k, KAlloc scratch, const int64_t *sym, uint8_t *load_ok,
                  uint8_t *store_ok, bool *extents);
#endif
