/* lower.h -- from the typed functional IR to an image.
 *
 * Everything reachable from the entries is specialised to closed types
 * (monomorphisation: dims are erased, element types and ranks are not),
 * local functions become functions with their captured values as leading
 * parameters, closures are made only where a function is used as a value,
 * tuples exist only where something needs them whole, scalars live unboxed in
 * registers, and every reference is moved or dropped exactly once
 * (Reinking et al., "Perceus", PLDI 2021).                                    */
#ifndef RVM_CODEGEN_LOWER_H
#define RVM_CODEGEN_LOWER_H
#include "ir/expr.h"
#include "vm/image.h"

/* entries: monomorphic globals to export under their names.  The arrays of
 * *out come from base/mem.h.  false after reporting. */
bool lower_module(Module *m, int n_entries, Global *const *entries, Diags *d, Image *out);
/* The allocator over base/mem.h, for image_write and friends. */
KAlloc lower_alloc(void);
#endif
