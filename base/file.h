/* file.h -- whole files in, whole files out.
 * Errors come back as a sentence (from base/mem.h, never freed); NULL is
 * success.  Writing goes to a temporary file beside the target and is renamed
 * over it, so a failure or a kill leaves the old file or none.               */
#ifndef RVM_BASE_FILE_H
#define RVM_BASE_FILE_H
#include <stddef.h>

const char *file_read(const char *path, size_t limit, char **text, size_t *n); /* NUL added after n */
/* The same for a file too large to copy for nothing: its pages are mapped, and
 * come when they are touched.  Not to be written; stays until the process ends. */
const char *file_view(const char *path, size_t limit, const char **bytes, size_t *n);
const char *file_write(const char *path, const void *bytes, size_t n);
/* Could file_write write there?  Nothing is left of the attempt. */
const char *file_may_write(const char *path);
/* Removes what processes that were killed while they wrote this file left
 * beside it; file_write does so first.                                       */
void file_sweep(const char *path);
#endif
