/* print_names.c -- unique names for a dump.
 *
 * A name already taken gets a number, as TVM's printer does: %x, %x1.  Names
 * of a definition being different, reading it and printing it again gives the
 * same ones.                                                                 */
#include "ir/print_int.h"
#include <ctype.h>
#include <string.h>

static const char *identifier(Sym own, const char *base) {
  StrBuf b = {0};
  if (!own || !*own) own = base;
  if (!isalpha((unsigned char)*own) && *own != '_') buf_char(&b, 'v');
  for (const char *s = own; *s; s++)
    buf_char(&b, isalnum((unsigned char)*s) && !((unsigned char)*s & 0x80) ? *s : '_');
  return strcmp(b.s, "_") == 0 ? base : b.s;
}

static const char *unique(Names *n, const char *want) {
  Sym s = sym(n->syms, want);
  uintptr_t next = (uintptr_t)map_get(&n->used, map_ptr(s));
  if (next) {
    Sym taken = s;
    do s = sym(n->syms, str_fmt("%s%llu", want, (unsigned long long)next++));
    while (map_get(&n->used, map_ptr(s)));
    map_set(&n->used, map_ptr(taken), (void *)next);
  }
  map_set(&n->used, map_ptr(s), (void *)(uintptr_t)1);
  return s;
}

const char *names_of(Names *n, const void *object, Sym own, const char *base) {
  const char *s = map_get(&n->text, map_ptr(object));
  if (s) return s;
  s = unique(n, identifier(own, base));
  map_set(&n->text, map_ptr(object), (void *)(uintptr_t)s);
  return s;
}
