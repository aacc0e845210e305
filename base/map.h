/* map.h -- a hash map from 64-bit keys (pointers, symbols, numbers, hashes)
 * to pointers.  Iteration is in order of insertion, so output made from a map
 * is the same on every run.  Entries are never removed; map_set on an
 * existing key replaces the value.                                           */
#ifndef RVM_BASE_MAP_H
#define RVM_BASE_MAP_H
#include <stdbool.h>
#include <stdint.h>

typedef struct { uint64_t key; void *value; } MapEntry;
typedef struct {
  MapEntry *entry;  int n, cap;         /* in order of insertion */
  int *slot;  int n_slots;              /* open addressing; -1 is empty */
} Map;

void *map_get(const Map *m, uint64_t key);                /* NULL if absent   */
bool  map_find(const Map *m, uint64_t key, void **value); /* tells presence   */
void  map_set(Map *m, uint64_t key, void *value);
static inline uint64_t map_ptr(const void *p) { return (uint64_t)(uintptr_t)p; }

uint64_t hash_bytes(const void *p, uint64_t n, uint64_t seed);
uint64_t hash_mix(uint64_t a, uint64_t b);
#endif
