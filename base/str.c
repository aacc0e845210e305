/* str.c -- interned names and growing text; see str.h. */
#include "base/str.h"
#include "base/map.h"
#include "base/vec.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* An open-addressing table of names, at most half full. */
struct SymTab {
  Sym *slot;
  uint64_t *hash;
  int n, n_slots;
};

SymTab *symtab_new(void) { return NEW(SymTab); }

static int sym_slot(const SymTab *t, const char *s, size_t n, uint64_t h) {
  unsigned mask = (unsigned)t->n_slots - 1, i = (unsigned)(h >> 20) & mask;
  for (; t->slot[i]; i = (i + 1) & mask)
    if (t->hash[i] == h && strncmp(t->slot[i], s, n) == 0 && t->slot[i][n] == 0) break;
  return (int)i;
}

static void sym_rehash(SymTab *t) {
  SymTab old = *t;
  t->n_slots = old.n_slots ? old.n_slots * 2 : 64;
  t->slot = NEW_N(Sym, t->n_slots);
  t->hash = NEW_BYTES((size_t)t->n_slots * sizeof *t->hash);
  unsigned mask = (unsigned)t->n_slots - 1;
  for (int k = 0; k < old.n_slots; k++) {
    if (!old.slot[k]) continue;
    unsigned i = (unsigned)(old.hash[k] >> 20) & mask;
    while (t->slot[i]) i = (i + 1) & mask;
    t->slot[i] = old.slot[k];
    t->hash[i] = old.hash[k];
  }
}

/* A Sym ends at its first NUL, so the name does too. */
Sym sym_n(SymTab *t, const char *s, size_t n) {
  if (n == 0) s = "";
  n = strnlen(s, n);
  if (t->n + 1 > t->n_slots / 2) sym_rehash(t);
  uint64_t h = hash_bytes(s, n, 0);
  int i = sym_slot(t, s, n, h);
  if (t->slot[i]) return t->slot[i];
  char *copy = NEW_BYTES(n + 1);
  memcpy(copy, s, n);
  t->hash[i] = h;
  t->n++;
  return t->slot[i] = copy;
}

Sym sym(SymTab *t, const char *s) { return sym_n(t, s, strlen(s)); }

/* Room for n more bytes and a NUL. */
static void buf_reserve(StrBuf *b, size_t n) {
  if (b->cap - b->n > n) return; /* cap > b->n once there is storage */
  size_t cap = b->cap ? b->cap : 32;
  while (cap - b->n <= n) {
    if (cap > SIZE_MAX / 2) mem_get_n(cap, SIZE_MAX); /* says so and ends */
    cap *= 2;
  }
  b->s = b->s ? mem_grow(b->s, b->cap, cap) : mem_get_flat(cap);
  b->cap = cap;
}

void buf_put(StrBuf *b, const char *s, size_t n) {
  buf_reserve(b, n);
  if (n) memcpy(b->s + b->n, s, n);
  b->n += n;
  b->s[b->n] = 0;
}

void buf_str(StrBuf *b, const char *s) { buf_put(b, s, strlen(s)); }
void buf_char(StrBuf *b, char c) { buf_put(b, &c, 1); }

void buf_vfmt(StrBuf *b, const char *fmt, va_list ap) {
  va_list again;
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  if (n >= 0) {
    buf_reserve(b, (size_t)n);
    vsnprintf(b->s + b->n, (size_t)n + 1, fmt, again);
    b->n += (size_t)n;
  }
  va_end(again);
}

void buf_fmt(StrBuf *b, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  buf_vfmt(b, fmt, ap);
  va_end(ap);
}

const char *buf_text(const StrBuf *b) { return b->s ? b->s : ""; }

char *str_vfmt(const char *fmt, va_list ap) {
  StrBuf b = {0};
  buf_vfmt(&b, fmt, ap);
  if (!b.s) buf_put(&b, "", 0);
  return b.s;
}
char *str_fmt(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  char *s = str_vfmt(fmt, ap);
  va_end(ap);
  return s;
}
