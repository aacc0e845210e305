/* cache.h -- machine code kept between runs: $XDG_CACHE_HOME/rvm, or
 * ~/.cache/rvm.
 *
 * An entry is a file, named by its key, with a checksum; one that is damaged,
 * or that another user could have written or put in its place, counts as absent.
 * What is in an entry is run as it is, and images come from strangers: two that
 * differ must not have one key, so keys are digests (SHA-256).  Entries appear
 * and go whole, so any number of processes may share the folder.  When there
 * are more than 256 MiB the entries longest unused go.                       */
#ifndef RVM_CLI_CACHE_H
#define RVM_CLI_CACHE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { uint8_t byte[32]; } CacheKey;
/* Of an image without its constants' data, this processor, this rvm and the
 * module at compiler (a path), and options, a text that says how it is compiled. */
CacheKey cache_key(const void *image, size_t n, const char *compiler, const char *options);
/* For something else that belongs to k. */
CacheKey cache_key_more(CacheKey k, const char *what);
/* Aligned to 16, behind the front of a block of base/mem.h: nobody frees it.  false: there is none
 * (or none that is whole). */
bool     cache_get(CacheKey k, void **bytes, size_t *n);
/* A failure to write is nobody's business. */
void     cache_put(CacheKey k, const void *bytes, size_t n);
/* RVM_CACHE=0 switches it off. */
bool     cache_wanted(void);
#endif
