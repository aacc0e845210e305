/* source.h -- source files and places in them.
 *
 * A Span is 12 bytes: a file number and byte offsets.  Line and column are
 * computed when a message is printed.  Span {0,0,0} means "nowhere"; file
 * numbers start at 1.                                                        */
#ifndef RVM_BASE_SOURCE_H
#define RVM_BASE_SOURCE_H
#include <stddef.h>
#include <stdint.h>

typedef struct { uint32_t file, at, len; } Span;
typedef struct { const char *path; const char *text; size_t n; uint32_t *line_at; int n_lines; } Source;
typedef struct Sources { Source *at; int n, cap; } Sources;

/* A file by its name, with its text in memory: n bytes, and a NUL where it is a program's. */
typedef struct TextFile { const char *name, *text;  size_t n; } TextFile;

uint32_t      source_add(Sources *s, const char *path, const char *text, size_t n);
const Source *source_get(const Sources *s, uint32_t file);      /* NULL for 0  */
/* 1-based line and column (in characters, not bytes) of byte offset at. */
void          source_place(const Sources *s, uint32_t file, uint32_t at, int *line, int *col);
Span          span_to(Span a, Span b);        /* from the start of a to the end of b */
#endif
