/* heap.h -- the memory of one instance.
 *
 * Cells and small tensors come from size classes carved out of chunks; larger
 * blocks from the host's allocator one by one; those that die are spares for the
 * next of their size, as long as no more memory is held than was needed once.
 * Every byte is counted against the limit.  Counting frees a cell when its last owner goes; heap_collect
 * frees all that the host does not hold, whatever the counts say.  It is used
 * after a failed call, and for the cycles that references can make.          */
#ifndef RVM_VM_HEAP_H
#define RVM_VM_HEAP_H
#include <rvm/rvm.h>
#include "kernel/kernel.h"
#include "vm/value.h"

/* Which slots of a cell are references: bit sets per constructor and function. */
typedef struct { const uint64_t *word; const uint32_t *of_ctor, *of_func; } RefMap;

enum { N_CLASSES = 24, CLASS_LARGE = 31 };   /* classes of 32 .. 4096 bytes    */
enum { N_SPARE = 32 };
enum { TENSOR_MAX_RANK = 8 };                /* the verifier's                */
typedef struct Chunk Chunk;
typedef struct {
  rvm_kind kind;
  Chunk *chunk;                              /* newest first; the newest is being carved */
  void *free[N_CLASSES];
  size_t bytes;                              /* in chunks                     */
} Pool;

typedef struct Large Large;                  /* a cell too big for any class  */
typedef struct {
  rvm_alloc alloc;
  uint64_t limit, now, peak;                 /* bytes; limit 0: none          */
  uint64_t allocations, live;                /* cells ever, cells now         */
  uint64_t requests;                         /* blocks asked of the allocator, in all */
  uint64_t held;                             /* the host's ownerships         */
  bool met_limit;                            /* why the last request failed   */
  /* Or: that no memory can hold a tensor of this shape.  Who says so clears it. */
  struct { bool yes; uint8_t rank; int64_t dim[TENSOR_MAX_RANK]; } beyond;
  RefMap map;
  Pool cells, bytes;
  Large *large;
  /* Blocks of dead tensors, oldest first: fresh pages are dear. */
  struct { void *p; size_t size; rvm_kind kind; } spare[N_SPARE];
  uint32_t n_spare;  size_t spare_bytes;
  struct { uint8_t *base; size_t size, top, peak; uint32_t out; } scratch; /* of kernels */
  /* NULL, or told of each tensor with memory of its own: born, and about to die. */
  void (*watch)(void *user, const Tensor *t, bool born);  void *watch_user;
  /* The same of temporary memory of kernels. */
  void (*watch_scratch)(void *user, const void *p, size_t bytes, bool born);
} Heap;

void  heap_init(Heap *h, rvm_alloc a, uint64_t limit, RefMap map);
void  heap_end(Heap *h);                     /* everything back to the allocator */

/* Straight from the allocator, counted.  NULL: refused. */
void *heap_get(Heap *h, size_t bytes, rvm_kind kind);
void *heap_resize(Heap *h, void *p, size_t was, size_t want, rvm_kind kind);
void  heap_put(Heap *h, void *p, size_t bytes, rvm_kind kind);

/* Memory that does not come from the allocator, against the limit.  false: too
 * much.  bytes < 0: given back. */
bool  heap_charge(Heap *h, int64_t bytes);

/* New cells have one owner; slots and data are undefined, except that bools
 * are false (kernels rely on bools being 0 or 1).  NULL: no memory.  dims must
 * be non-negative; heap_tensor fails when their product is beyond memory, and
 * leaves the shape in `beyond`. */
Record *heap_record(Heap *h, CellKind kind, uint32_t desc, uint32_t n);
Tensor *heap_tensor(Heap *h, DType t, int rank, const int64_t *dim);
/* A tensor over memory of the host, or of x's owner (one more owner of that). */
Tensor *heap_lend(Heap *h, DType t, int rank, const int64_t *dim, void *data);
Tensor *heap_view(Heap *h, Tensor *x, int rank, const int64_t *dim);
/* Does the tensor's memory belong to this heap? */
bool    heap_owns(const Tensor *t);

/* For code that takes free blocks by itself: the size class of this many bytes;
 * N_CLASSES or more: none. */
int     heap_class(size_t bytes);
/* One owner less; if there is none, what the cell owned goes, and the cell, without
 * contents, is the result, to be filled or freed.  Else 0. */
uint64_t heap_shell(Heap *h, Record *r);
/* Frees a record whose slots the caller has taken over. */
void  heap_free_shell(Heap *h, Record *r);
/* The last owner is gone: frees c and all it alone owned.  No recursion. */
void  heap_release(Heap *h, Cell *c);
/* Frees every cell that cannot be reached from one the host holds, and
 * recounts the others.  In place: allocates nothing, does not recurse. */
void  heap_collect(Heap *h);
/* With no cell alive: give back all chunks but a few. */
void  heap_trim(Heap *h);

/* Temporary memory of kernels; u is the heap. */
void *heap_scratch(void *u, void *old, size_t was, size_t want);
/* Between kernels: keeps a block that would have sufficed, if it is small. */
void  heap_scratch_idle(Heap *h);

/* Is slot i of the cell a reference? */
static inline const uint64_t *ref_words(const RefMap *m, const Cell *c) {
  return m->word + (c->kind == CK_Data ? m->of_ctor[c->desc] : m->of_func[c->desc]);
}
static inline bool ref_at(const RefMap *m, const Cell *c, uint32_t i) {
  return ref_words(m, c)[i / 64] >> (i % 64) & 1;
}

static inline void ref_dup(uint64_t v) {
  if (!is_cell(v)) return;
  Cell *c = cell_of(v);
  if (c->u.own.count != COUNT_MAX) c->u.own.count++;
}
static inline void ref_drop(Heap *h, uint64_t v) {
  if (!is_cell(v)) return;
  Cell *c = cell_of(v);
  if (c->u.own.count == COUNT_MAX) return;
  if (--c->u.own.count == 0) heap_release(h, c);
}
#endif
