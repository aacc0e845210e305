/* rt.h -- what a runtime kernel (vm/runtime.def) sees of a call.
 *
 * The verifier has checked the operands' kinds, not their ranks or extents,
 * nor that element types go together: each kernel checks what it relies on.  */
#ifndef RVM_VM_RT_H
#define RVM_VM_RT_H
#include "kernel/interp.h"
#include "vm/heap.h"
#include "vm/strings.h"

enum { RT_MAX_IN = 8, RT_MAX_OUT = 8, RT_MAX_NUM = 8, RT_MAX_RANK = 8 };
typedef enum { RT_OK, RT_NO_MEMORY, RT_FAIL } RtStatus;

typedef struct { const uint8_t *data; DType t; int rank; int64_t count; const int64_t *dim; } RtIn;
typedef struct { DType t; int rank; Tensor *x; } RtOut;
typedef struct {
  Heap *heap;
  const char *name;
  RtIn in[RT_MAX_IN];                        /* scalars: rank 0               */
  RtOut out[RT_MAX_OUT];                     /* t, rank: as declared; x: by rt_out */
  int64_t num[RT_MAX_NUM];
  Msg *why;                                  /* of RT_FAIL                    */
} RtCall;

typedef RtStatus (*RtFn)(RtCall *c);
RtStatus rt_sort(RtCall *c);
RtStatus rt_argsort(RtCall *c);
RtStatus rt_topk(RtCall *c);
RtStatus rt_argwhere(RtCall *c);
RtStatus rt_unique(RtCall *c);
RtStatus rt_searchsorted(RtCall *c);
RtStatus rt_valid_counts(RtCall *c);
RtStatus rt_nms(RtCall *c);
RtStatus rt_all_class_nms(RtCall *c);
RtStatus rt_all_class_nms_tf(RtCall *c);

/* "name: what", and a number if it is not INT64_MIN. */
RtStatus rt_fail(RtCall *c, const char *what, int64_t number);
/* Makes output i.  RT_FAIL when its declared rank differs. */
RtStatus rt_out(RtCall *c, int i, int rank, const int64_t *dim);
/* Temporary memory; bytes may be 0.  NULL: refused. */
void    *rt_get(RtCall *c, int64_t n, size_t each);
void     rt_put(RtCall *c, void *p, int64_t n, size_t each);
/* The only element of an input (I and F operands); false when it has another number. */
bool     rt_int(RtCall *c, int i, int64_t *v);
bool     rt_float(RtCall *c, int i, double *v);

/* Elements as slots, and floats as doubles; store rounds to the element type. */
static inline uint64_t rt_slot(const RtIn *x, int64_t i) {
  return slot_load(x->data + (size_t)i * (size_t)dtype_bytes(x->t), x->t);
}
static inline void *rt_at(const RtOut *o, int64_t i) {
  return (uint8_t *)o->x->data + (size_t)i * (size_t)dtype_bytes(o->t);
}
static inline void rt_set(const RtOut *o, int64_t i, uint64_t slot) {
  slot_store(rt_at(o, i), slot, o->t);
}
static inline double slot_to_double(uint64_t slot, DType t) {
  return f64_of(scalar_cast(slot, t, DT_f64));
}
static inline uint64_t slot_of_double(double x, DType t) {
  return scalar_cast(f64_bits(x), DT_f64, t);
}

/* A number that orders as the element does: -0 equals 0, NaN is the largest. */
uint64_t rt_key(uint64_t slot, DType t);
typedef struct { uint64_t key; int64_t at; } RtKey;
/* Stable; scratch has room for n.  Keys ascend, or descend. */
void     rt_sort_keys(RtKey *k, RtKey *scratch, int64_t n, bool descending);
#endif
