/* mem.c -- the two back ends behind the door; see mem.h. */
#include "base/mem.h"
#include "base/checked.h"
#include <string.h>

#ifndef RVM_MEM_MALLOC
#define RVM_MEM_MALLOC 0
#endif

static void (*oom_handler)(size_t wanted);

void mem_set_oom(void (*handler)(size_t wanted)) { oom_handler = handler; }

/* A handler that returns has not ended the process; there is no memory to go
 * on with, so this does. */
static _Noreturn void out_of_memory(size_t wanted) {
  if (oom_handler) oom_handler(wanted);
  __builtin_trap();
}

#if RVM_MEM_MALLOC
#include <stdalign.h>
#include <stdlib.h>

/* Every block starts with its place in one chain, so that all can be freed. */
typedef struct Block {
  alignas(max_align_t) struct Block *next;
  struct Block *prev;
} Block;

static Block *chain;

void mem_init(void) {}

void mem_release_all(void) {
  while (chain) {
    Block *b = chain;
    chain = b->next;
    free(b);
  }
}

static void *link_block(Block *b) {
  b->prev = NULL;
  b->next = chain;
  if (chain) chain->prev = b;
  chain = b;
  return b + 1;
}

static void unlink_block(Block *b) {
  if (b->prev)
    b->prev->next = b->next;
  else
    chain = b->next;
  if (b->next) b->next->prev = b->prev;
}

static size_t block_bytes(size_t bytes) {
  size_t all;
  if (!size_add(bytes, sizeof(Block), &all)) out_of_memory(bytes);
  return all;
}

void *mem_get(size_t bytes) {
  Block *b = calloc(1, block_bytes(bytes));
  if (!b) out_of_memory(bytes);
  return link_block(b);
}

void *mem_get_flat(size_t bytes) { return mem_get(bytes); }

static void *grown(void *old, size_t bytes) {
  Block *b = (Block *)old - 1;
  size_t all = block_bytes(bytes);
  unlink_block(b);
  b = realloc(b, all);
  if (!b) out_of_memory(bytes);
  return link_block(b);
}

#else
#include <gc.h>

void mem_init(void) {
  GC_INIT();
  GC_set_warn_proc(GC_ignore_warn_proc); /* a library does not print */
}

void mem_release_all(void) {}

void *mem_get(size_t bytes) {
  void *p = GC_malloc(bytes);
  if (!p) out_of_memory(bytes);
  return p;
}

void *mem_get_flat(size_t bytes) {
  void *p = GC_malloc_atomic(bytes);
  if (!p) out_of_memory(bytes);
  return memset(p, 0, bytes);
}

/* The collector keeps the kind of the block: what was flat stays flat. */
static void *grown(void *old, size_t bytes) {
  void *p = GC_realloc(old, bytes);
  if (!p) out_of_memory(bytes);
  return p;
}
#endif

void *mem_get_n(size_t size, size_t n) {
  size_t bytes;
  if (!size_mul(size, n, &bytes)) out_of_memory(SIZE_MAX);
  return mem_get(bytes);
}

void *mem_grow(void *old, size_t old_bytes, size_t new_bytes) {
  if (!old) return mem_get(new_bytes);
  if (new_bytes <= old_bytes) return old;
  char *p = grown(old, new_bytes);
  memset(p + old_bytes, 0, new_bytes - old_bytes);
  return p;
}
