/* heap.c -- memory of an instance: chunks, size classes, counting.
 *
 * A chunk is carved from its start and never reordered; every block in a chunk
 * of cells begins with a Cell whose flags name its class, free ones too, so
 * the chunk can be walked from end to end.  Small tensor data has a pool of
 * its own (the host may want tensors elsewhere), which nobody needs to walk:
 * each block belongs to exactly one tensor cell.                             */
#include "vm/heap.h"
#include "base/checked.h"

struct Chunk {
  Chunk *next;
  size_t size, used;
};
struct Large {
  Large *next, *prev;
  size_t bytes;
};
enum {
  CHUNK_HEAD = 64,
  LARGE_HEAD = 32,
  KEEP_IDLE = 1 << 20,
  KEEP_SCRATCH = 1 << 16, /* bytes kept while unused */
  SPARE_LEAST = 4097,     /* smaller ones have a class    */
  SPARE_MOST = 1 << 28
};

static const uint16_t class_size[N_CLASSES] = {32,  48,  64,   80,   96,   112,  128,  160,
                                               192, 224, 256,  320,  384,  448,  512,  640,
                                               768, 896, 1024, 1280, 1536, 2048, 3072, 4096};

static int class_of(size_t n) { /* CLASS_LARGE: no class holds n */
  if (n <= 128) return n <= 32 ? 0 : (int)((n + 15) / 16 - 2);
  for (int c = 7; c < N_CLASSES; c++)
    if (n <= class_size[c]) return c;
  return CLASS_LARGE;
}

int heap_class(size_t bytes) { return class_of(bytes); }

/* ---- the allocator, counted ----------------------------------------------- */

static bool account(Heap *h, uint64_t was, uint64_t want) {
  uint64_t now = h->now - was + want;
  if (want > was && h->limit && now > h->limit) {
    h->met_limit = true;
    return false;
  }
  h->now = now;
  if (now > h->peak) h->peak = now;
  return true;
}

bool heap_charge(Heap *h, int64_t bytes) {
  h->met_limit = false;
  return bytes < 0 ? account(h, (uint64_t)-bytes, 0) : account(h, 0, (uint64_t)bytes);
}

static void scratch_give_back(Heap *h) {
  if (!h->scratch.base || h->scratch.out) return;
  heap_put(h, h->scratch.base, h->scratch.size, RVM_SCRATCH);
  h->scratch.base = NULL;
  h->scratch.size = h->scratch.top = 0;
}

/* Gives the oldest spare blocks back until at most `most` bytes are spare. */
static void drop_spares(Heap *h, size_t most) {
  uint32_t n = 0;
  while (n < h->n_spare && h->spare_bytes > most) {
    h->spare_bytes -= h->spare[n].size;
    heap_put(h, h->spare[n].p, h->spare[n].size, h->spare[n].kind);
    n++;
  }
  h->n_spare -= n;
  memmove(h->spare, h->spare + n, h->n_spare * sizeof *h->spare);
}

static void *ask(Heap *h, void *p, size_t was, size_t want, rvm_kind kind) {
  h->met_limit = false;
  if (!account(h, was, want)) return NULL;
  h->requests++;
  void *q = h->alloc.fn(h->alloc.user, p, was, want, kind);
  if (!q) h->now = h->now - want + was;
  return q;
}

void *heap_resize(Heap *h, void *p, size_t was, size_t want, rvm_kind kind) {
  void *q = ask(h, p, was, want, kind);
  if (q) return q;
  uint64_t before = h->now;
  scratch_give_back(h);
  drop_spares(h, 0);
  return h->now < before ? ask(h, p, was, want, kind) : NULL;
}

void *heap_get(Heap *h, size_t bytes, rvm_kind kind) {
  return heap_resize(h, NULL, 0, bytes, kind);
}

void heap_put(Heap *h, void *p, size_t bytes, rvm_kind kind) {
  if (!p) return;
  h->alloc.fn(h->alloc.user, p, bytes, 0, kind);
  h->now -= bytes;
}

static size_t round64(size_t n) { return (n + 63) & ~(size_t)63; }

/* Large sizes are rounded by at most a 64th or 256 bytes, so that they meet again. */
static size_t block_size(size_t n) {
  if (n < SPARE_LEAST) return n;
  size_t step = 256;
  while (step <= n / 128) step *= 2;
  return (n + step - 1) & ~(step - 1);
}

/* Spares of other sizes and idle scratch go rather than that more memory than ever
 * is held. */
static void make_room(Heap *h, size_t size) {
  uint64_t want = h->now + size;
  if (want <= h->peak) return;
  uint64_t over = want - h->peak;
  drop_spares(h, over < h->spare_bytes ? h->spare_bytes - (size_t)over : 0);
  if (h->now + size > h->peak) scratch_give_back(h);
}

static void *block_get(Heap *h, size_t n, rvm_kind kind) {
  size_t size = block_size(n);
  for (uint32_t i = h->n_spare; size >= SPARE_LEAST && i-- > 0;) {
    if (h->spare[i].size != size || h->spare[i].kind != kind) continue;
    void *p = h->spare[i].p;
    h->n_spare--;
    memmove(h->spare + i, h->spare + i + 1, (h->n_spare - i) * sizeof *h->spare);
    h->spare_bytes -= size;
    return p;
  }
  make_room(h, size);
  return heap_get(h, size, kind);
}

static void block_put(Heap *h, void *p, size_t n, rvm_kind kind) {
  size_t size = block_size(n);
  if (size < SPARE_LEAST || size > SPARE_MOST) {
    heap_put(h, p, size, kind);
    return;
  }
  if (h->n_spare == N_SPARE) drop_spares(h, h->spare_bytes - 1);
  drop_spares(h, SPARE_MOST - size);
  h->spare[h->n_spare].p = p;
  h->spare[h->n_spare].kind = kind;
  h->spare[h->n_spare++].size = size;
  h->spare_bytes += size;
}

/* ---- pools ---------------------------------------------------------------- */

static Chunk *new_chunk(Heap *h, Pool *p, size_t least) {
  size_t size = p->bytes / 2 & ~(size_t)63;
  if (size < 512) size = 512;
  if (size > 1 << 18) size = 1 << 18;
  if (size < least + CHUNK_HEAD) size = least + CHUNK_HEAD;
  Chunk *c = heap_get(h, size, p->kind);
  if (!c && size > least + CHUNK_HEAD) { /* memory is short: ask for what is needed */
    size = least + CHUNK_HEAD;
    c = heap_get(h, size, p->kind);
  }
  if (!c) return NULL;
  *c = (Chunk){p->chunk, size, CHUNK_HEAD};
  p->chunk = c;
  p->bytes += size;
  return c;
}

/* A block's first word links it while it is free. */
static inline void *pool_get(Heap *h, Pool *p, int cls) {
  void *b = p->free[cls];
  if (b) {
    p->free[cls] = *(void **)b;
    return b;
  }
  size_t n = class_size[cls];
  Chunk *c = p->chunk;
  if (!c || c->size - c->used < n) {
    c = new_chunk(h, p, n);
    if (!c) return NULL;
  }
  b = (uint8_t *)c + c->used;
  c->used += n;
  return b;
}

static inline void pool_put(Pool *p, int cls, void *b) {
  *(void **)b = p->free[cls];
  p->free[cls] = b;
}

static void pool_end(Heap *h, Pool *p) {
  for (Chunk *c = p->chunk, *next; c; c = next) {
    next = c->next;
    heap_put(h, c, c->size, p->kind);
  }
  p->chunk = NULL;
  p->bytes = 0;
  memset(p->free, 0, sizeof p->free);
}

/* ---- cells ---------------------------------------------------------------- */

static Cell *large_get(Heap *h, size_t n) {
  size_t bytes;
  if (!size_add(n, LARGE_HEAD, &bytes)) return NULL;
  Large *l = heap_get(h, bytes, RVM_VALUES);
  if (!l) return NULL;
  *l = (Large){h->large, NULL, bytes};
  if (h->large) h->large->prev = l;
  h->large = l;
  return (Cell *)((uint8_t *)l + LARGE_HEAD);
}

static void large_put(Heap *h, Cell *c) {
  Large *l = (Large *)((uint8_t *)c - LARGE_HEAD);
  if (l->prev)
    l->prev->next = l->next;
  else
    h->large = l->next;
  if (l->next) l->next->prev = l->prev;
  heap_put(h, l, l->bytes, RVM_VALUES);
}

static inline Cell *cell_get(Heap *h, size_t n, CellKind kind, uint32_t desc, uint32_t slots) {
  int cls = class_of(n);
  Cell *c = cls == CLASS_LARGE ? large_get(h, n) : pool_get(h, &h->cells, cls);
  if (!c) return NULL;
  c->u.own.count = 1;
  c->u.own.host = 0;
  c->desc = desc;
  c->n = (uint16_t)slots;
  c->kind = (uint8_t)kind;
  c->flags = (uint8_t)cls;
  h->live++;
  h->allocations++;
  return c;
}

static inline void cell_put(Heap *h, Cell *c) {
  int cls = c->flags & CF_CLASS;
  h->live--;
  c->kind = CK_Free;
  if (cls == CLASS_LARGE)
    large_put(h, c);
  else
    pool_put(&h->cells, cls, c);
}

Record *heap_record(Heap *h, CellKind kind, uint32_t desc, uint32_t n) {
  return (Record *)cell_get(h, sizeof(Record) + (size_t)n * 8, kind, desc, n);
}

void heap_free_shell(Heap *h, Record *r) { cell_put(h, &r->h); }

/* ---- tensors -------------------------------------------------------------- */

static size_t data_bytes(const Tensor *t) {
  return (size_t)t->count * (size_t)dtype_bytes((DType)t->h.desc);
}
static void *data_get(Heap *h, size_t n) {
  int cls = class_of(round64(n));
  return cls == CLASS_LARGE ? block_get(h, n, RVM_TENSORS) : pool_get(h, &h->bytes, cls);
}
static void data_put(Heap *h, void *p, size_t n) {
  int cls = class_of(round64(n));
  if (cls == CLASS_LARGE)
    block_put(h, p, n, RVM_TENSORS);
  else
    pool_put(&h->bytes, cls, p);
}

bool heap_owns(const Tensor *t) { return !t->owner && !(t->h.flags & (CF_LENT | CF_IMMORTAL)); }

static void data_free(Heap *h, Tensor *t) {
  if (!heap_owns(t) || t->count == 0) return;
  if (h->watch) h->watch(h->watch_user, t, false);
  data_put(h, t->data, data_bytes(t));
}

static Tensor *tensor_cell(Heap *h, DType t, int rank, const int64_t *dim, size_t *bytes) {
  int64_t count;
  bool fits = dims_count(dim, rank, &count) && (uint64_t)count <= SIZE_MAX / 2 &&
              size_mul((size_t)count, (size_t)dtype_bytes(t), bytes) && *bytes <= SIZE_MAX / 2;
  if (!fits) {
    h->beyond.yes = true;
    h->beyond.rank = (uint8_t)rank;
    if (rank > 0) memcpy(h->beyond.dim, dim, (size_t)rank * 8);
    return NULL;
  }
  Tensor *x = (Tensor *)cell_get(h, sizeof(Tensor) + (size_t)rank * 8, CK_Tensor, (uint32_t)t,
                                 (uint32_t)rank);
  if (!x) return NULL;
  x->data = x; /* empty: some address           */
  x->count = count;
  x->owner = NULL;
  if (rank > 0) memcpy(x->dim, dim, (size_t)rank * 8);
  return x;
}

Tensor *heap_tensor(Heap *h, DType t, int rank, const int64_t *dim) {
  size_t bytes;
  Tensor *x = tensor_cell(h, t, rank, dim, &bytes);
  if (!x || bytes == 0) return x;
  void *data = data_get(h, bytes);
  if (!data) {
    cell_put(h, &x->h);
    return NULL;
  }
  if (t == DT_bool) memset(data, 0, bytes);
  x->data = data;
  if (h->watch) h->watch(h->watch_user, x, true);
  return x;
}

Tensor *heap_lend(Heap *h, DType t, int rank, const int64_t *dim, void *data) {
  size_t bytes;
  Tensor *x = tensor_cell(h, t, rank, dim, &bytes);
  if (!x) return NULL;
  x->h.flags |= CF_LENT;
  if (bytes) x->data = data;
  return x;
}

Tensor *heap_view(Heap *h, Tensor *x, int rank, const int64_t *dim) {
  size_t bytes;
  Tensor *v = tensor_cell(h, (DType)x->h.desc, rank, dim, &bytes);
  if (!v) return NULL;
  v->data = x->data;
  v->owner = x->owner ? x->owner : &x->h;
  ref_dup(cell_value(v->owner));
  return v;
}

/* ---- the last owner is gone ------------------------------------------------ */

static inline Cell *lose(Cell *pending, uint64_t v) {
  if (!is_cell(v)) return pending;
  Cell *c = cell_of(v);
  if (c->u.own.count == COUNT_MAX || --c->u.own.count) return pending;
  c->u.link = pending;
  return c;
}

static Cell *lose_slots(const RefMap *m, Record *r, Cell *pending) {
  if (r->h.kind == CK_Ref) return r->h.desc ? lose(pending, r->slot[0]) : pending;
  const uint64_t *w = ref_words(m, &r->h);
  for (uint32_t i = 0; i < r->h.n; i += 64)
    for (uint64_t bits = w[i / 64]; bits; bits &= bits - 1)
      pending = lose(pending, r->slot[i + (uint32_t)__builtin_ctzll(bits)]);
  return pending;
}

static void release_all(Heap *h, Cell *pending);

uint64_t heap_shell(Heap *h, Record *r) {
  if (r->h.u.own.count != 1) {
    ref_drop(h, cell_value(r));
    return 0;
  }
  release_all(h, lose_slots(&h->map, r, NULL));
  return cell_value(r);
}

/* Dying cells wait in a list through their own headers, so that a list of a
 * million elements needs neither stack nor memory to go. */
static void release_all(Heap *h, Cell *pending) {
  while (pending) {
    Cell *c = pending;
    pending = c->u.link;
    if (c->kind == CK_Tensor) {
      Tensor *t = (Tensor *)c;
      data_free(h, t);
      if (t->owner) pending = lose(pending, cell_value(t->owner));
    } else {
      pending = lose_slots(&h->map, (Record *)c, pending);
    }
    cell_put(h, c);
  }
}

void heap_release(Heap *h, Cell *c) {
  c->u.link = NULL;
  release_all(h, c);
}

/* ---- collecting ------------------------------------------------------------ */

typedef struct {
  Chunk *chunk;
  size_t at;
  Large *large;
} Walk;

static Walk walk_start(Heap *h) { return (Walk){h->cells.chunk, CHUNK_HEAD, h->large}; }

static Cell *walk_next(Walk *w) { /* the next cell alive, or NULL  */
  while (w->chunk) {
    while (w->at < w->chunk->used) {
      Cell *c = (Cell *)((uint8_t *)w->chunk + w->at);
      w->at += class_size[c->flags & CF_CLASS];
      if (c->kind != CK_Free) return c;
    }
    w->chunk = w->chunk->next;
    w->at = CHUNK_HEAD;
  }
  if (!w->large) return NULL;
  Cell *c = (Cell *)((uint8_t *)w->large + LARGE_HEAD);
  w->large = w->large->next;
  return c;
}

/* The first slot from i on that is a reference to a cell of this heap; n: none. */
static uint32_t next_ref(const RefMap *m, const Record *r, uint32_t i) {
  for (; i < r->h.n; i++) {
    bool ref = r->h.kind == CK_Ref ? r->h.desc != 0 : ref_at(m, &r->h, i);
    if (ref && is_cell(r->slot[i]) && !(cell_of(r->slot[i])->flags & CF_IMMORTAL)) break;
  }
  return i;
}

static void mark_tensor(Tensor *t) {
  t->h.flags |= CF_MARK;
  if (t->owner && !(t->owner->flags & CF_IMMORTAL)) t->owner->flags |= CF_MARK;
}

/* Schorr and Waite (1967): on the way down the slot followed holds the way
 * back, and the count, which is recomputed afterwards, says which slot. */
static void mark(const RefMap *m, Cell *root) {
  if (root->flags & CF_MARK) return;
  if (root->kind == CK_Tensor) {
    mark_tensor((Tensor *)root);
    return;
  }
  Record *cur = (Record *)root, *up = NULL;
  cur->h.flags |= CF_MARK;
  for (uint32_t i = 0;;) {
    i = next_ref(m, cur, i);
    if (i < cur->h.n) {
      Cell *c = cell_of(cur->slot[i]);
      if (c->kind == CK_Tensor) mark_tensor((Tensor *)c);
      if (c->flags & CF_MARK) {
        i++;
        continue;
      }
      cur->slot[i] = cell_value(up);
      cur->h.u.own.count = i;
      up = cur;
      cur = (Record *)c;
      cur->h.flags |= CF_MARK;
      i = 0;
      continue;
    }
    if (!up) return;
    Record *done = cur;
    cur = up;
    i = cur->h.u.own.count;
    up = record_of(cur->slot[i]);
    cur->slot[i] = cell_value(done);
    i++;
  }
}

static void recount(const RefMap *m, Cell *c) {
  if (c->kind == CK_Tensor) {
    Cell *o = ((Tensor *)c)->owner;
    if (o && !(o->flags & CF_IMMORTAL)) o->u.own.count++;
    return;
  }
  Record *r = (Record *)c;
  for (uint32_t i = next_ref(m, r, 0); i < r->h.n; i = next_ref(m, r, i + 1))
    cell_of(r->slot[i])->u.own.count++;
}

void heap_collect(Heap *h) {
  Cell *c;
  Walk w = walk_start(h);
  while (h->held && (c = walk_next(&w)))
    if (c->u.own.host) mark(&h->map, c);
  for (w = walk_start(h); (c = walk_next(&w));) {
    if (c->flags & CF_MARK) {
      c->u.own.count = c->u.own.host;
      continue;
    }
    if (c->kind == CK_Tensor) data_free(h, (Tensor *)c);
    cell_put(h, c);
  }
  for (w = walk_start(h); (c = walk_next(&w));) recount(&h->map, c);
  for (w = walk_start(h); (c = walk_next(&w));) c->flags &= (uint8_t)~CF_MARK;
}

void heap_trim(Heap *h) {
  if (h->live || h->cells.bytes + h->bytes.bytes <= KEEP_IDLE) return;
  pool_end(h, &h->cells);
  pool_end(h, &h->bytes);
}

/* ---- temporary memory of kernels --------------------------------------------- */

static bool in_scratch(const Heap *h, const void *p) {
  uintptr_t b = (uintptr_t)h->scratch.base, x = (uintptr_t)p;
  return h->scratch.base && x >= b && x < b + h->scratch.size;
}

static void scratch_free(Heap *h, void *p, size_t n) {
  if (h->watch_scratch) h->watch_scratch(h->watch_user, p, n, false);
  h->scratch.out--;
  if (!in_scratch(h, p))
    block_put(h, p, n, RVM_SCRATCH);
  else if ((uint8_t *)p + round64(n) == h->scratch.base + h->scratch.top)
    h->scratch.top = (size_t)((uint8_t *)p - h->scratch.base);
  if (h->scratch.out == 0) h->scratch.top = 0;
}

/* Nothing is in the stack, and n bytes do not fit: another one, if it is small. */
static void scratch_grow(Heap *h, size_t n) {
  if (n > KEEP_SCRATCH) return;
  scratch_give_back(h);
  make_room(h, n);
  h->scratch.base = ask(h, NULL, 0, n, RVM_SCRATCH);
  h->scratch.size = h->scratch.base ? n : 0;
}

/* A stack of blocks; what does not fit comes from the allocator. */
void *heap_scratch(void *u, void *old, size_t was, size_t want) {
  Heap *h = u;
  if (want == 0) {
    if (old) scratch_free(h, old, was);
    return NULL;
  }
  if (want > SIZE_MAX / 2) return NULL;
  size_t n = round64(want);
  void *p;
  if (h->scratch.out == 0 && n > h->scratch.size) scratch_grow(h, n);
  if (n <= h->scratch.size - h->scratch.top) {
    p = h->scratch.base + h->scratch.top;
    h->scratch.top += n;
  } else {
    p = block_get(h, want, RVM_SCRATCH);
    if (!p) return NULL;
  }
  if (h->watch_scratch) h->watch_scratch(h->watch_user, p, want, true);
  h->scratch.out++;
  h->scratch.peak += n; /* since the last idle moment    */
  if (old) {
    memcpy(p, old, was < want ? was : want);
    scratch_free(h, old, was);
  }
  return p;
}

void heap_scratch_idle(Heap *h) {
  size_t want = h->scratch.peak;
  h->scratch.peak = 0;
  if (h->scratch.out || want <= h->scratch.size) return;
  scratch_grow(h, want);
}

/* ---- life ------------------------------------------------------------------- */

void heap_init(Heap *h, rvm_alloc a, uint64_t limit, RefMap map) {
  memset(h, 0, sizeof *h);
  h->alloc = a;
  h->limit = limit;
  h->map = map;
  h->cells.kind = RVM_VALUES;
  h->bytes.kind = RVM_TENSORS;
}

void heap_end(Heap *h) {
  h->held = 0;
  heap_collect(h);
  pool_end(h, &h->cells);
  pool_end(h, &h->bytes);
  h->scratch.out = 0;
  scratch_give_back(h);
  drop_spares(h, 0);
}
