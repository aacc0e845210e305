/* room.c -- see room.h.
 *
 * The first FIRST bytes are ordinary pages, so that small programs stay small;
 * what follows lies in areas of address space for which large pages are asked,
 * and which get memory as they are touched.                                  */
#define _GNU_SOURCE
#include "codegen/native/room.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

static const size_t FIRST = (size_t)1 << 20, AREA = (size_t)64 << 20, LARGE_PAGE = (size_t)2 << 20;

typedef struct Area {
  struct Area *next;
  uint8_t *map;
  size_t bytes;
} Area;

struct Room {
  pthread_mutex_t lock;
  Area *area;
  uint8_t *at; /* free from here ...            */
  size_t left;
};

Room *room_new(void) {
  Room *r = calloc(1, sizeof *r);
  if (r) pthread_mutex_init(&r->lock, NULL);
  return r;
}

void room_free(Room *r) {
  if (!r) return;
  for (Area *a = r->area, *next; a; a = next) {
    next = a->next;
    munmap(a->map, a->bytes);
    free(a);
  }
  pthread_mutex_destroy(&r->lock);
  free(r);
}

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* Address space of `bytes`; if large, from a border of large pages on. */
static bool add_area(Room *r, size_t bytes, bool large) {
  Area *a = malloc(sizeof *a);
  if (!a) return false;
  size_t all = large ? bytes + LARGE_PAGE : bytes;
  void *m =
      mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (m == MAP_FAILED) {
    free(a);
    return false;
  }
  *a = (Area){r->area, m, all};
  r->area = a;
  r->at = m;
  r->left = bytes;
  if (!large) return true;
  r->at = (uint8_t *)round_up((size_t)(uintptr_t)m, LARGE_PAGE);
  (void)madvise(r->at, bytes, MADV_HUGEPAGE);
  return true;
}

static bool make_room(Room *r, size_t bytes) {
  if (!r->area && bytes <= FIRST) return add_area(r, FIRST, false);
  size_t exact = round_up(bytes, LARGE_PAGE);
  return (exact < AREA && add_area(r, AREA, true)) || add_area(r, exact, true);
}

void *room_take(Room *r, size_t bytes) {
  void *out = NULL;
  if (bytes > SIZE_MAX / 4) return NULL;
  bytes = round_up(bytes, 64);
  pthread_mutex_lock(&r->lock);
  if (bytes <= r->left || make_room(r, bytes)) {
    out = r->at;
    r->at += bytes;
    r->left -= bytes;
  }
  pthread_mutex_unlock(&r->lock);
  return out;
}
