/* host.c -- tensors at the border: do the host's fit, and what of a result are
 * tensors; see host.h.                                                       */
#include "vm/host.h"
#include "base/checked.h"

/* ---- tensors of the host ------------------------------------------------------------ */

Shape host_shape(const Image *m, uint32_t type) {
  const IType *t = &m->type[type];
  if (t->kind != IT_TENSOR) return (Shape){(DType)t->dtype, 0, NULL};
  return (Shape){(DType)t->dtype, t->rank, t->rank ? m->dims + t->first_dim : NULL};
}

static bool has_dtype(const DLTensor *x, DType t) {
  int code, bits;
  dtype_to_dl(t, &code, &bits);
  return x->dtype.code == code && x->dtype.bits == bits && x->dtype.lanes == 1;
}

bool host_compact(const DLTensor *x) {
  int64_t step = 1;
  for (int i = 0; x->strides && i < x->ndim; i++)
    if (x->shape[i] == 0) return true;
  for (int i = x->ndim - 1; x->strides && i >= 0; i--) {
    if (x->shape[i] != 1 && x->strides[i] != step) return false;
    step *= x->shape[i]; /* fits: the count was computed  */
  }
  return true;
}

static const uint8_t *bytes_of(const DLTensor *x) {
  return x->data ? (const uint8_t *)x->data + x->byte_offset : NULL;
}

const char *host_misfit(const DLTensor *x, Shape s, int64_t *count) {
  if (!x) return "the tensor is missing";
  if (x->device.device_type > 1) return "the tensor is not in CPU memory";
  if (!has_dtype(x, s.t)) return "the element type is another";
  if (x->ndim != s.rank) return "the rank is another";
  if (s.rank > 0 && !x->shape) return "the shape is missing";
  for (int i = 0; i < s.rank; i++)
    if (s.want[i] >= 0 && x->shape[i] != s.want[i]) return "an extent differs";
  if (!dims_count(x->shape, s.rank, count) || (uint64_t)*count > SIZE_MAX / 16)
    return "the extents are negative or too large";
  if (*count > 0 && !x->data) return "the data is missing";
  return NULL;
}

/* Copies the elements of a strided tensor in row-major order. */
static void gather(const DLTensor *x, size_t each, int64_t count, uint8_t *to) {
  int64_t at[8] = {0}, from = 0;
  const uint8_t *base = bytes_of(x);
  for (int64_t n = 0; n < count; n++, to += each) {
    memcpy(to, base + from * (int64_t)each, each);
    for (int d = x->ndim - 1; d >= 0; d--) {
      from += x->strides[d];
      if (++at[d] < x->shape[d]) break;
      from -= x->strides[d] * x->shape[d];
      at[d] = 0;
    }
  }
}

/* Kernels rely on bools being 0 or 1. */
static bool bools_ok(const uint8_t *p, int64_t n) {
  uint8_t all = 0;
  for (int64_t i = 0; i < n; i++) all |= p[i];
  return all <= 1;
}

rvm_status host_import(rvm_instance *vm, uint32_t type, const DLTensor *x, int64_t count,
                       bool borrow, uint64_t *out) {
  Shape s = host_shape(&vm->p->im, type);
  size_t each = (size_t)dtype_bytes(s.t);
  if (!type_is_ref(&vm->p->im, type)) {
    *out = slot_load(bytes_of(x), s.t);
    return RVM_OK;
  }
  bool lend = borrow && host_compact(x) && (uintptr_t)bytes_of(x) % each == 0;
  Tensor *t = lend ? heap_lend(&vm->heap, s.t, s.rank, x->shape, (void *)(uintptr_t)bytes_of(x))
                   : heap_tensor(&vm->heap, s.t, s.rank, x->shape);
  if (!t) return vm_no_memory(vm);
  *out = cell_value(t);
  if (count == 0 || lend) return RVM_OK;
  if (host_compact(x))
    memcpy(t->data, bytes_of(x), (size_t)count * each);
  else
    gather(x, each, count, t->data);
  return RVM_OK;
}

static const char *bad_bools(const DLTensor *x, Shape s, int64_t count) {
  if (s.t != DT_bool || count == 0) return NULL;
  if (host_compact(x)) return bools_ok(bytes_of(x), count) ? NULL : "a bool is neither 0 nor 1";
  int64_t at[8] = {0};
  for (int64_t n = 0; n < count; n++) {
    int64_t from = 0;
    for (int d = 0; d < s.rank; d++) from += at[d] * x->strides[d];
    if (bytes_of(x)[from] > 1) return "a bool is neither 0 nor 1";
    for (int d = s.rank - 1; d >= 0 && ++at[d] == x->shape[d]; d--) at[d] = 0;
  }
  return NULL;
}

const char *host_unfit(const rvm_instance *vm, uint32_t type, const DLTensor *x, int64_t *count) {
  Shape s = host_shape(&vm->p->im, type);
  const char *why = host_misfit(x, s, count);
  return why ? why : bad_bools(x, s, *count);
}

void host_export(Shape s, void *data, const int64_t *dim, DLTensor *out) {
  int code, bits;
  dtype_to_dl(s.t, &code, &bits);
  *out = (DLTensor){.data = data,
                    .device = {1, 0},
                    .ndim = s.rank,
                    .dtype = {(uint8_t)code, (uint8_t)bits, 1},
                    .shape = s.rank ? (int64_t *)(uintptr_t)dim : NULL};
}

/* ---- the leaves of a result ------------------------------------------------------------ */

Leaves host_leaves(const Image *m, uint32_t type, uint64_t *slot) {
  return (Leaves){.m = m, .type = type, .slot = slot};
}

bool host_next_leaf(Leaves *l, uint32_t *type, uint64_t **slot) {
  for (;;) {
    if (l->type == UINT32_MAX) { /* go on in the innermost tuple  */
      while (l->depth > 0 && l->level[l->depth - 1].next == l->level[l->depth - 1].c->n_fields)
        l->depth--;
      if (l->depth == 0) return false;
      Level *v = &l->level[l->depth - 1];
      l->type = l->m->type_list[v->c->first_field + v->next];
      l->slot = v->slot ? v->slot + v->next : NULL;
      v->next++;
    }
    const IType *t = &l->m->type[l->type];
    *type = l->type;
    *slot = l->slot;
    l->type = UINT32_MAX;
    if (t->kind <= IT_TENSOR) return true;
    if (t->kind != IT_DATA || !t->is_tuple || t->n_ctors != 1 || l->depth == LEAF_DEPTH)
      return !(l->bad = true);
    const ICtor *c = &l->m->ctor[t->first_ctor];
    uint64_t *fields = *slot && is_cell(**slot) ? record_of(**slot)->slot : NULL;
    l->level[l->depth++] = (Level){c, fields, 0};
  }
}

const char *host_no_leaves(const Image *m, uint32_t type) {
  uint32_t n = 0, t;
  uint64_t *slot;
  Leaves l = host_leaves(m, type, NULL);
  while (n < MAX_LEAVES && host_next_leaf(&l, &t, &slot)) n++;
  return l.bad || n == MAX_LEAVES
             ? "the result is not a tensor or a tuple of tensors: use rvm_apply"
             : NULL;
}
