/* cache.h -- machine code kept between runs: $XDG_CACHE_HOME/rvm, or
 * ~/.cache/rvm.
 *
 * An entry is a file, named by its key, with a checksum; one that is damaged,
 * or that another user could have written, counts as absent.  Entries appear
 * and go whole, so any number of processes may share the folder.  When there
 * are more than 256 MiB the entries longest unused go.                       */
#ifndef RVM_CLI_CACHE_H
#define RVM_CLI_CACHE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { uint64_t half[2]; } CacheKey;
/* Of an image without its constants' data, this processor, this rvm and the
 * module at compiler (a path), and what is asked for. */
CacheKey cache_key(const void *image, size_t n, const char *compiler, const char *wish);
/* For something else that belongs to k. */
CacheKey cache_key_more(CacheKey k, const char *wish);
/* Aligned to 16.  false: there is none (or none that is whole). */
bool     cache_get(CacheKey k, void **bytes, size_t *n);
/* A failure to write is nobody's business. */
void     cache_put(CacheKey k, const void *bytes, size_t n);
/* RVM_CACHE=0 switches it off. */
bool     cache_wanted(void);
#endif
