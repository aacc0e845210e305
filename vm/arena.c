/* arena.c -- an allocator over memory of the host's: first fit, coalescing.
 *
 * Scratch of kernels, which comes and goes between the births and deaths of
 * tensors, is taken from the far end, so that it leaves no holes between them.
 * Blocks are multiples of 64 bytes at multiples of 64; the caller tells sizes
 * back, so used blocks have no header.  Free blocks form a list in address
 * order, each holding its size and the next.                                 */
#include <rvm/rvm.h>
#include <string.h>

enum { UNIT = 64 };
typedef struct Hole {
  struct Hole *next;
  size_t size;
} Hole;

static size_t units(size_t n) { return (n + UNIT - 1) & ~(size_t)(UNIT - 1); }

static void *took(rvm_arena *a, void *p, size_t n) {
  a->used += n;
  if (a->used > a->peak) a->peak = a->used;
  return p;
}

/* The end of the last hole that has more than n bytes, or NULL. */
static void *take_high(rvm_arena *a, size_t n) {
  Hole *last = NULL;
  for (Hole *h = a->free_list; h; h = h->next)
    if (h->size > n) last = h;
  if (!last) return NULL;
  last->size -= n;
  return took(a, (uint8_t *)last + last->size, n);
}

static void *take(rvm_arena *a, size_t n) {
  Hole *prev = NULL, *h = a->free_list;
  while (h && h->size < n) {
    prev = h;
    h = h->next;
  }
  if (!h) return NULL;
  Hole *rest = h->next;
  if (h->size > n) {
    rest = (Hole *)((uint8_t *)h + n);
    *rest = (Hole){h->next, h->size - n};
  }
  if (prev)
    prev->next = rest;
  else
    a->free_list = rest;
  return took(a, h, n);
}

static void give(rvm_arena *a, void *p, size_t n) {
  Hole *prev = NULL, *next = a->free_list, *h = p;
  while (next && next < h) {
    prev = next;
    next = next->next;
  }
  *h = (Hole){next, n};
  if (next && (uint8_t *)h + n == (uint8_t *)next) *h = (Hole){next->next, n + next->size};
  if (!prev)
    a->free_list = h;
  else if ((uint8_t *)prev + prev->size == (uint8_t *)h)
    *prev = (Hole){h->next, prev->size + h->size};
  else
    prev->next = h;
  a->used -= n;
}

/* The bytes right behind a block, if they are free and enough. */
static int grow(rvm_arena *a, void *p, size_t was, size_t want) {
  Hole *prev = NULL, *h = a->free_list;
  uint8_t *end = (uint8_t *)p + was;
  while (h && (uint8_t *)h < end) {
    prev = h;
    h = h->next;
  }
  size_t more = want - was;
  if (!h || (uint8_t *)h != end || h->size < more) return 0;
  Hole *rest = h->next;
  if (h->size > more) {
    size_t left = h->size - more;
    rest = (Hole *)(end + more);
    *rest = (Hole){h->next, left};
  }
  if (prev)
    prev->next = rest;
  else
    a->free_list = rest;
  (void)took(a, h, more);
  return 1;
}

static void *arena_fn(void *user, void *old, size_t old_size, size_t new_size, rvm_kind kind) {
  rvm_arena *a = user;
  if (new_size > SIZE_MAX - UNIT) return NULL;
  size_t was = old ? units(old_size) : 0, want = units(new_size);
  if (want == 0) {
    if (was) give(a, old, was);
    return NULL;
  }
  if (!was) {
    void *p = kind == RVM_SCRATCH ? take_high(a, want) : NULL;
    return p ? p : take(a, want);
  }
  if (want < was) give(a, (uint8_t *)old + want, was - want);
  if (want <= was || grow(a, old, was, want)) return old;
  void *p = take(a, want);
  if (!p) return NULL;
  memcpy(p, old, old_size);
  give(a, old, was);
  return p;
}

rvm_alloc rvm_arena_alloc(rvm_arena *a, void *memory, size_t bytes) {
  size_t skip = (size_t)(-(uintptr_t)memory & (UNIT - 1));
  *a = (rvm_arena){.base = memory, .size = bytes};
  if (bytes > skip && (bytes - skip) / UNIT > 0) {
    Hole *h = (Hole *)((uint8_t *)memory + skip);
    *h = (Hole){NULL, (bytes - skip) & ~(size_t)(UNIT - 1)};
    a->free_list = h;
  }
  return (rvm_alloc){arena_fn, a};
}
