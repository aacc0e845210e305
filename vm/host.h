/* host.h -- tensors at the border between the host and an instance. */
#ifndef RVM_VM_HOST_H
#define RVM_VM_HOST_H
#include "vm/instance.h"

/* What a tensor or scalar type of the image demands. */
typedef struct { DType t; int rank; const int64_t *want; } Shape;    /* want: -1 for any */
Shape host_shape(const Image *m, uint32_t type);

/* NULL, or what is wrong with x as a tensor of this shape; its element count. */
const char *host_misfit(const DLTensor *x, Shape s, int64_t *count);
/* The same for an argument of this type; also reads bools, which must be 0 or 1. */
const char *host_unfit(const rvm_instance *vm, uint32_t type, const DLTensor *x, int64_t *count);
/* Row-major without gaps?  x has been found to fit. */
bool host_compact(const DLTensor *x);
/* x as a slot; it has been found to fit.  borrow: lent when compact and aligned;
 * else copied.  RVM_NO_MEMORY is in vm->err. */
rvm_status host_import(rvm_instance *vm, uint32_t type, const DLTensor *x, int64_t count, bool borrow,
                       uint64_t *out);
void host_export(Shape s, void *data, const int64_t *dim, DLTensor *out);

/* A walk over the tensors of a type: itself, or those of nested tuples.  With
 * a value at hand (slot of the whole, or NULL) the walk yields its slots too. */
enum { LEAF_DEPTH = 32, MAX_LEAVES = 65536 };
typedef struct { const ICtor *c; uint64_t *slot; uint32_t next; } Level;
typedef struct {
  const Image *m;
  Level level[LEAF_DEPTH];
  int depth;
  uint32_t type;
  uint64_t *slot;
  bool bad;
} Leaves;
Leaves host_leaves(const Image *m, uint32_t type, uint64_t *slot);
/* false: no more, or (bad) not a tensor. */
bool   host_next_leaf(Leaves *l, uint32_t *type, uint64_t **slot);
/* NULL, or why the type does not consist of tensors. */
const char *host_no_leaves(const Image *m, uint32_t type);
#endif
