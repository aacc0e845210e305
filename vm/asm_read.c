/* asm_read.c -- the words of image text, and the tables they fill.
 *
 * Words are separated by blanks and the marks ( ) [ ] { } =; a semicolon
 * starts a comment.  All memory is tracked and given back at once.            */
#include <stdarg.h>
#include <stdio.h>
#include "base/checked.h"
#include "vm/asm.h"

bool asm_fail(Asm *s, const char *fmt, ...) {
  va_list ap;
  if (s->err->line) return false; /* the first mistake counts       */
  va_start(ap, fmt);
  vsnprintf(s->err->why, sizeof s->err->why, fmt, ap);
  va_end(ap);
  s->err->line = s->tok.line ? s->tok.line : 1;
  return false;
}

/* ---- words -------------------------------------------------------------- */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
static bool is_mark(char c) {
  return c == '(' || c == ')' || c == '[' || c == ']' || c == '{' || c == '}' || c == '=';
}

static void skip_blanks(Asm *s) {
  bool comment = false;
  for (; s->p < s->end && (comment || is_blank(*s->p) || *s->p == ';'); s->p++) {
    if (*s->p == ';') comment = true;
    if (*s->p == '\n') {
      s->line++;
      comment = false;
    }
  }
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* After a backslash: the character it stands for, or -1. */
static int escape(Asm *s) {
  if (s->p == s->end) return -1;
  char c = *s->p++;
  if (c == '"' || c == '\\') return c;
  if (c != 'x' || s->end - s->p < 2) return -1;
  int hi = hex_digit(s->p[0]), lo = hex_digit(s->p[1]);
  s->p += 2;
  return hi < 0 || lo < 0 || hi + lo == 0 ? -1 : hi << 4 | lo;
}

static bool read_string(Asm *s) {
  size_t n = 0;
  s->p++;
  for (;; n++) {
    uint64_t cap = s->str_cap;
    char *str = asm_grow(s, s->str, 1, n + 1, &cap);
    if (!str) return false;
    s->str = str;
    s->str_cap = (size_t)cap;
    if (s->p == s->end || *s->p == '\n' || *s->p == '\0')
      return asm_fail(s, "a string does not end");
    int c = (unsigned char)*s->p++;
    if (c == '"') break;
    if (c == '\\') c = escape(s);
    if (c < 0) return asm_fail(s, "an unknown escape in a string");
    s->str[n] = (char)c;
  }
  s->str[n] = '\0';
  s->tok.p = s->str;
  s->tok.n = n;
  return true;
}

bool asm_next(Asm *s) {
  s->last_line = s->tok.line;
  skip_blanks(s);
  s->tok = (AsmTok){s->p, 0, s->line, AT_End};
  if (s->p == s->end) return true;
  if (*s->p == '"') {
    s->tok.kind = AT_String;
    return read_string(s);
  }
  s->tok.kind = is_mark(*s->p) ? AT_Mark : AT_Word;
  do s->p++;
  while (s->tok.kind == AT_Word && s->p < s->end && !is_blank(*s->p) && !is_mark(*s->p) &&
         *s->p != ';' && *s->p != '"');
  s->tok.n = (size_t)(s->p - s->tok.p);
  return true;
}

bool asm_is(const Asm *s, const char *word) {
  return (s->tok.kind == AT_Word || s->tok.kind == AT_Mark) && strlen(word) == s->tok.n &&
         memcmp(word, s->tok.p, s->tok.n) == 0;
}

bool asm_accept(Asm *s, const char *word, bool *yes) {
  *yes = asm_is(s, word);
  return !*yes || asm_next(s);
}

bool asm_expect(Asm *s, const char *word) {
  if (asm_is(s, word)) return asm_next(s);
  int n = s->tok.n < 40 ? (int)s->tok.n : 40;
  return asm_fail(s, "expected '%s', found '%.*s'", word, n, s->tok.p);
}

bool asm_digits(const char *p, size_t n, uint64_t *v) {
  int base = n > 2 && p[0] == '0' && p[1] == 'x' ? 16 : 10;
  size_t i = base == 16 ? 2 : 0;
  if (i == n) return false;
  for (*v = 0; i < n; i++) {
    int d = hex_digit(p[i]);
    if (d < 0 || d >= base || *v > (UINT64_MAX - (uint64_t)d) / (uint64_t)base) return false;
    *v = *v * (uint64_t)base + (uint64_t)d;
  }
  return true;
}

static bool not_a(Asm *s, const char *what) {
  int n = s->tok.n < 40 ? (int)s->tok.n : 40;
  return asm_fail(s, "expected %s, found '%.*s'", what, n, s->tok.p);
}

bool asm_number(Asm *s, int64_t *v) {
  bool minus = s->tok.kind == AT_Word && s->tok.p[0] == '-';
  uint64_t x;
  if (s->tok.kind != AT_Word || !asm_digits(s->tok.p + minus, s->tok.n - minus, &x))
    return not_a(s, "a number");
  *v = (int64_t)(minus ? 0 - x : x);
  return asm_next(s);
}

bool asm_u32(Asm *s, uint32_t *v) {
  uint64_t x;
  if (s->tok.kind != AT_Word || !asm_digits(s->tok.p, s->tok.n, &x) || x > UINT32_MAX)
    return not_a(s, "a number");
  *v = (uint32_t)x;
  return asm_next(s);
}

bool asm_ref(Asm *s, char letter, uint32_t *v) {
  char what[] = {letter, '0', '\0'};
  uint64_t x;
  if (s->tok.kind != AT_Word || s->tok.p[0] != letter ||
      !asm_digits(s->tok.p + 1, s->tok.n - 1, &x) || x > UINT32_MAX)
    return not_a(s, what);
  *v = (uint32_t)x;
  return asm_next(s);
}

/* ---- tables ------------------------------------------------------------- */

void *asm_grow(Asm *s, void *p, size_t elem, uint64_t n, uint64_t *cap) {
  if (n < *cap) return p;
  uint64_t want = *cap ? *cap * 2 : 64;
  if (want < n + 1) want = n + 1;
  size_t bytes;
  void *r = NULL;
  if (want <= UINT32_MAX && size_mul(elem, (size_t)want, &bytes))
    r = s->a.fn(s->a.user, p, elem * (size_t)*cap, bytes);
  if (r)
    *cap = want;
  else
    asm_fail(s, "out of memory");
  return r;
}

void *asm_push(Asm *s, int array) {
  const WireArray *w = &image_array[array];
  uint32_t n = *wire_count(w, &s->m);
  uint64_t cap = s->cap[array];
  char *p = asm_grow(s, wire_get(w, &s->m), w->elem, n, &cap);
  if (!p) return NULL;
  wire_set(w, &s->m, p);
  s->cap[array] = (uint32_t)cap;
  *wire_count(w, &s->m) = n + 1;
  return memset(p + (size_t)n * w->elem, 0, w->elem);
}

/* ---- interned text ------------------------------------------------------ */

static uint32_t hash_text(const char *p) {
  uint32_t h = 2166136261u; /* FNV-1a                         */
  for (; *p; p++) h = (h ^ (unsigned char)*p) * 16777619u;
  return h;
}

/* The slot where the string is or belongs; slots hold 1 + offset. */
static uint32_t *find_slot(const Asm *s, const char *p) {
  uint32_t i = hash_text(p) & (s->n_slots - 1);
  while (s->slot[i] && strcmp(s->m.text + s->slot[i] - 1, p) != 0) i = (i + 1) & (s->n_slots - 1);
  return &s->slot[i];
}

static bool more_slots(Asm *s) {
  uint32_t was = s->n_slots, *old = s->slot, now = was ? was * 2 : 256;
  uint32_t *slot = s->a.fn(s->a.user, NULL, 0, now * sizeof *slot);
  if (!slot) return asm_fail(s, "out of memory");
  memset(slot, 0, now * sizeof *slot);
  s->slot = slot;
  s->n_slots = now;
  for (uint32_t i = 0; i < was; i++)
    if (old[i]) *find_slot(s, s->m.text + old[i] - 1) = old[i];
  return true;
}

static bool intern(Asm *s, const char *p, uint32_t *text) {
  if (2 * (s->n_strings + 1) > s->n_slots && !more_slots(s)) return false;
  uint32_t *slot = find_slot(s, p);
  if (!*slot) {
    uint32_t at = s->m.n_text;
    for (const char *c = p;; c++) {
      char *to = asm_push(s, IA_TEXT);
      if (!to) return false;
      *to = *c;
      if (!*c) break;
    }
    *slot = at + 1;
    s->n_strings++;
  }
  *text = *slot - 1;
  return true;
}

bool asm_string(Asm *s, uint32_t *text) {
  if (s->tok.kind != AT_String) return not_a(s, "a string");
  return intern(s, s->tok.p, text) && asm_next(s);
}
