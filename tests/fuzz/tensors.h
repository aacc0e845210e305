/* tensors.h -- what holds of every tensor that a reader lets through.          */
#ifndef RVM_TESTS_FUZZ_TENSORS_H
#define RVM_TESTS_FUZZ_TENSORS_H
#include <stdlib.h>
#include "base/checked.h"
#include "cli/file/tensor_file.h"

/* Shape, count and bytes agree (every byte is read), bools are 0 or 1. */
static inline void check_tensor(const Tensor *t) {
  int64_t count;
  unsigned sum = 0;
  if (!t || t->rank < 0 || t->rank > MAX_RANK || (int)t->dtype >= DT_COUNT) abort();
  if (!dims_count(t->dim, t->rank, &count) || count != t->count) abort();
  const uint8_t *p = t->bytes;
  if ((uintptr_t)p % (size_t)dtype_bytes(t->dtype) != 0) abort();
  for (int64_t i = 0; i < count * dtype_bytes(t->dtype); i++) {
    if (t->dtype == DT_bool && p[i] > 1) abort();
    sum += p[i];
  }
  if (sum == 1u << 31) abort();                  /* keeps the reads            */
}

/* Refused with a reason and nothing handed out, or sound in all tensors. */
static inline void check_set(const char *why, const TensorSet *ts) {
  if (why && (!why[0] || ts->n != 0)) abort();
  for (int i = 0; i < ts->n; i++) {
    if (strlen(ts->at[i].name) > TENSOR_NAME_MAX) abort();
    check_tensor(ts->at[i].value);
  }
}
#endif
