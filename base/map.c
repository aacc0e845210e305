/* map.c -- see map.h: an array of entries in order of insertion, and a table
 * of indices into it, probed linearly and kept at most half full.            */
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"

#ifdef RVM_TORTURE
enum { FIRST_SLOTS = 2 };
#else
enum { FIRST_SLOTS = 16 };
#endif

/* Multiply to 128 bits and fold: every bit of a and b reaches every bit of the
 * result.  The odd constants are digits of pi and of the golden ratio. */
uint64_t hash_mix(uint64_t a, uint64_t b) {
  __uint128_t p = (__uint128_t)(a ^ 0x243f6a8885a308d3u) * (b ^ 0x9e3779b97f4a7c15u);
  uint64_t x = (uint64_t)p ^ (uint64_t)(p >> 64);
  x ^= x >> 32;
  return x * 0xd1342543de82ef95u ^ a;
}

/* Little-endian on every machine, so that a hash can be stored. */
static uint64_t load_le(const unsigned char *p, uint64_t n) {
  uint64_t x = 0;
  for (uint64_t i = 0; i < n; i++) x |= (uint64_t)p[i] << 8 * i;
  return x;
}

uint64_t hash_bytes(const void *p, uint64_t n, uint64_t seed) {
  const unsigned char *b = p;
  uint64_t h = hash_mix(seed, n), at = 0;
  for (; n - at >= 8; at += 8) h = hash_mix(h, load_le(b + at, 8));
  return n > at ? hash_mix(h, load_le(b + at, n - at)) : h;
}

/* Where key is, or the empty slot where it would go. */
static int find_slot(const Map *m, uint64_t key) {
  unsigned mask = (unsigned)m->n_slots - 1;
  unsigned i = (unsigned)(hash_mix(key, 0) >> 20) & mask;
  while (m->slot[i] >= 0 && m->entry[m->slot[i]].key != key) i = (i + 1) & mask;
  return (int)i;
}

static void make_room(Map *m) {
  if (m->n_slots > 0 && m->n + 1 <= m->n_slots / 2) return;
  m->n_slots = m->n_slots > 0 ? m->n_slots * 2 : FIRST_SLOTS;
  m->slot = mem_get_flat((size_t)m->n_slots * sizeof *m->slot);
  for (int i = 0; i < m->n_slots; i++) m->slot[i] = -1;
  for (int i = 0; i < m->n; i++) m->slot[find_slot(m, m->entry[i].key)] = i;
}

bool map_find(const Map *m, uint64_t key, void **value) {
  if (m->n == 0) return false;
  int e = m->slot[find_slot(m, key)];
  if (e < 0) return false;
  if (value) *value = m->entry[e].value;
  return true;
}

void *map_get(const Map *m, uint64_t key) {
  void *value = NULL;
  map_find(m, key, &value);
  return value;
}

void map_set(Map *m, uint64_t key, void *value) {
  make_room(m);
  int s = find_slot(m, key);
  if (m->slot[s] >= 0) {
    m->entry[m->slot[s]].value = value;
    return;
  }
  if (m->n == m->cap) vec_grow((void **)&m->entry, &m->cap, sizeof *m->entry, m->n + 1);
  m->slot[s] = m->n;
  m->entry[m->n++] = (MapEntry){key, value};
}
