/* source.c -- see source.h.  Text and path are borrowed, not copied. */
#include "base/source.h"
#include "base/vec.h"

/* Where the lines start; line_at[0] is 0. */
static void find_lines(Source *s) {
  VEC(size_t) at = {0};
  vec_push(&at, 0);
  for (size_t i = 0; i < s->n; i++)
    if (s->text[i] == '\n') vec_push(&at, i + 1);
  s->n_lines = at.n;
  s->line_at = NEW_BYTES((size_t)at.n * sizeof *s->line_at);
  for (int i = 0; i < at.n; i++) s->line_at[i] = (uint32_t)at.at[i];
}

/* Offsets have 32 bits; a longer file gets no number, so no places. */
uint32_t source_add(Sources *s, const char *path, const char *text, size_t n) {
  if (n >= UINT32_MAX) return 0;
  Source src = {.path = path, .text = text, .n = n};
  find_lines(&src);
  vec_push(s, src);
  return (uint32_t)s->n;
}

const Source *source_get(const Sources *s, uint32_t file) {
  return file == 0 || file > (uint32_t)s->n ? NULL : &s->at[file - 1];
}

void source_place(const Sources *s, uint32_t file, uint32_t at, int *line, int *col) {
  const Source *f = source_get(s, file);
  *line = *col = 0;
  if (!f) return;
  if (at > f->n) at = (uint32_t)f->n;
  int lo = 0, hi = f->n_lines - 1; /* the last line that starts at or before at */
  while (lo < hi) {
    int mid = lo + (hi - lo + 1) / 2;
    if (f->line_at[mid] <= at)
      lo = mid;
    else
      hi = mid - 1;
  }
  *line = lo + 1;
  *col = 1;
  for (uint32_t i = f->line_at[lo]; i < at; i++)
    *col += ((unsigned char)f->text[i] & 0xc0) != 0x80; /* continuation bytes do not count */
}

Span span_to(Span a, Span b) {
  if (a.file == 0) return b;
  if (b.file != a.file || b.at + b.len < a.at) return a;
  return (Span){a.file, a.at, b.at + b.len - a.at};
}
