/* tool.c -- memory and text for the image tools.                              */
#include <stdarg.h>
#include <stdio.h>
#include "base/checked.h"
#include "vm/tool.h"

struct TrackBlock {
  TrackBlock *prev, *next;
  size_t bytes;
  size_t unused;
};

static void *track_fn(void *user, void *old, size_t old_bytes, size_t new_bytes) {
  Track *t = user;
  TrackBlock *b = old ? (TrackBlock *)old - 1 : NULL;
  size_t want;
  if (!size_add(new_bytes, sizeof *b, &want)) return NULL;
  if (new_bytes == 0) want = 0;
  TrackBlock *prev = b ? b->prev : NULL, *next = b ? b->next : t->first;
  TrackBlock *r = t->up.fn(t->up.user, b, b ? old_bytes + sizeof *b : 0, want);
  if (!r && new_bytes) return NULL; /* the old block stays            */
  if (r) *r = (TrackBlock){prev, next, want, 0};
  TrackBlock *after = r ? r : next;
  if (prev)
    prev->next = after;
  else
    t->first = after;
  if (next) next->prev = r ? r : prev;
  return r ? r + 1 : NULL;
}

KAlloc track_alloc(Track *t) { return (KAlloc){track_fn, t}; }

void track_free(Track *t) {
  while (t->first) {
    TrackBlock *b = t->first;
    t->first = b->next;
    t->up.fn(t->up.user, b, b->bytes, 0);
  }
}

static bool text_room(TextOut *o, size_t n) {
  size_t need, cap = o->cap ? o->cap : 1024;
  if (o->failed || !size_add(o->n, n, &need) || !size_add(need, 1, &need))
    return !(o->failed = true);
  while (cap < need)
    if (!size_mul(cap, 2, &cap)) return !(o->failed = true);
  if (cap == o->cap) return true;
  char *p = o->a.fn(o->a.user, o->p, o->cap, cap);
  if (!p) return !(o->failed = true);
  o->p = p;
  o->cap = cap;
  return true;
}

void text_put(TextOut *o, const char *s, size_t n) {
  if (!text_room(o, n)) return;
  memcpy(o->p + o->n, s, n);
  o->n += n;
}

void text_fmt(TextOut *o, const char *fmt, ...) {
  char line[256];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  if (n > 0) text_put(o, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

void text_quoted(TextOut *o, const char *s) {
  text_put(o, "\"", 1);
  for (; *s; s++) {
    if (*s == '"' || *s == '\\')
      text_fmt(o, "\\%c", *s);
    else if ((unsigned char)*s < 0x20 || *s == 0x7f)
      text_fmt(o, "\\x%02x", (unsigned char)*s);
    else
      text_put(o, s, 1);
  }
  text_put(o, "\"", 1);
}

char *text_done(TextOut *o, size_t *n) {
  char *p = NULL;
  if (text_room(o, 0)) {
    o->p[o->n] = '\0';
    p = o->a.fn(o->a.user, o->p, o->cap, o->n + 1);
    if (p) *n = o->n;
  }
  if (!p && o->p) o->a.fn(o->a.user, o->p, o->cap, 0);
  return p;
}
