/* host.c -- the allocator of a host run: malloc's, told that what one run gives back
 * the next one takes, and with large blocks in large pages.  The first touch of
 * fresh memory costs more than most of what is computed with it.              */
#define _GNU_SOURCE
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "cli/cli.h"

enum {
  LARGE = 4 << 20, /* bytes of a block                                        */
  LARGE_PAGE = 2 << 20,
  FROM_HEAP = 32 << 20, /* smaller blocks come from the heap, ...             */
  KEPT = 256 << 20      /* ... so much of which stays with the process        */
};

static void ask_large_pages(void *p, size_t n) {
#ifdef MADV_HUGEPAGE
  uintptr_t page = LARGE_PAGE, from = ((uintptr_t)p + page - 1) / page * page;
  uintptr_t to = ((uintptr_t)p + n) / page * page;
  if (n >= LARGE && to > from) (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
  (void)p, (void)n;
#endif
}

static void *host_realloc(void *user, void *old, size_t was, size_t want, rvm_kind kind) {
  (void)user, (void)kind;
  if (want == 0) return free(old), NULL;
  if (want > SIZE_MAX - 63) return NULL;
  void *p = aligned_alloc(64, (want + 63) / 64 * 64);
  if (p) ask_large_pages(p, want);
  if (p && old) memcpy(p, old, was < want ? was : want), free(old);
  return p;
}

uint64_t host_memory(void) {
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  uint64_t all = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0, group;
  FILE *f = fopen("/sys/fs/cgroup/memory.max", "r");
  if (f && fscanf(f, "%" SCNu64, &group) == 1 && group < all) all = group;
  if (f) fclose(f);
  return all / 8 * 7;
}

rvm_alloc host_alloc(void) {
#ifdef M_TRIM_THRESHOLD
  (void)mallopt(M_MMAP_THRESHOLD, FROM_HEAP);
  (void)mallopt(M_TRIM_THRESHOLD, KEPT);
#endif
  return (rvm_alloc){host_realloc, NULL};
}
