/* vec.h -- typed growing arrays.
 *
 *   VEC(int) v = {0};  vec_push(&v, 3);  for (int i = 0; i < v.n; i++) v.at[i]
 *
 * Storage comes from base/mem.h; there is nothing to free.                   */
#ifndef RVM_BASE_VEC_H
#define RVM_BASE_VEC_H
#include "base/mem.h"

#define VEC(T) struct { T *at; int n, cap; }

/* Makes room for one more element of size bytes; used by the macros only. */
void vec_grow(void **at, int *cap, size_t size, int want);

#define vec_reserve(v, want)                                                   \
  ((want) > (v)->cap                                                           \
       ? vec_grow((void **)&(v)->at, &(v)->cap, sizeof *(v)->at, (want))       \
       : (void)0)
#define vec_push(v, x) (vec_reserve((v), (v)->n + 1), (v)->at[(v)->n++] = (x))
#define vec_pop(v)     ((v)->at[--(v)->n])
#define vec_last(v)    ((v)->at[(v)->n - 1])
#define vec_clear(v)   ((v)->n = 0)
#endif
