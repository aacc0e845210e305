/* text_lex.c -- words, quoted texts and literals of kernel text, and the place
 * of the first mistake.                                                      */
#include "kernel/text_read.h"
#include <math.h>

/* ---- errors ----------------------------------------------------------------- */
static bool fail_at(Parser *p, const char *why, int line, int col) {
  if (p->failed) return false;
  p->failed = true;
  if (!p->err) return false;
  size_t n = strlen(why);
  if (n >= sizeof p->err->why) n = sizeof p->err->why - 1;
  memcpy(p->err->why, why, n);
  p->err->why[n] = 0;
  p->err->line = line;
  p->err->col = col;
  return false;
}

static int column(const Parser *p) { return (int)(p->at - p->line_start) + 1; }
/* The last word was wrong, or the next one is. */
bool read_fail(Parser *p, const char *why) { return fail_at(p, why, p->last_line, p->last_col); }
bool read_fail_next(Parser *p, const char *why) { return fail_at(p, why, p->line, column(p)); }

static void begin_word(Parser *p) {
  p->last_line = p->line;
  p->last_col = column(p);
}

KE read_fail_e(Parser *p, const char *why) {
  read_fail(p, why);
  return KE_NONE;
}

/* After calls of the builder: still well? */
bool read_built(Parser *p) { return !kb_error(p->b) || read_fail(p, kb_error(p->b)); }

/* ---- words ------------------------------------------------------------------ */
void read_space(Parser *p) {
  for (; p->at < p->end; p->at++) {
    if (*p->at == '\n') {
      p->line++;
      p->line_start = p->at + 1;
    } else if (*p->at == '/' && p->at + 1 < p->end && p->at[1] == '/')
      while (p->at + 1 < p->end && p->at[1] != '\n') p->at++;
    else if (*p->at != ' ' && *p->at != '\t' && *p->at != '\r')
      return;
  }
}

char read_peek(Parser *p) {
  read_space(p);
  return p->at < p->end ? *p->at : 0;
}

/* Is s next?  A word must not go on. */
bool read_is_next(Parser *p, const char *s) {
  size_t n = strlen(s);
  read_space(p);
  if ((size_t)(p->end - p->at) < n || memcmp(p->at, s, n) != 0) return false;
  if (!text_is_letter(s[n - 1]) || p->at + n == p->end) return true;
  return !text_is_letter(p->at[n]) && !text_is_digit(p->at[n]);
}

bool read_accept(Parser *p, const char *s) {
  if (p->failed || !read_is_next(p, s)) return false;
  begin_word(p);
  p->at += strlen(s);
  return true;
}

bool read_expect(Parser *p, const char *s) {
  char why[32] = "expected ";
  if (p->failed || read_accept(p, s)) return !p->failed;
  memcpy(why + 9, s, strlen(s) + 1);
  return read_fail_next(p, why);
}

bool read_word(Parser *p, Word *w) {
  if (p->failed) return false;
  if (!text_is_letter(read_peek(p))) return read_fail_next(p, "expected a name");
  begin_word(p);
  w->s = p->at;
  while (p->at < p->end && (text_is_letter(*p->at) || text_is_digit(*p->at))) p->at++;
  w->n = (size_t)(p->at - w->s);
  return w->n <= TEXT_MAX_NAME || read_fail(p, "the name is too long");
}

/* Look at the next word without taking it. */
bool read_peek_word(Parser *p, Word *w) {
  const char *at;
  if (p->failed || !text_is_letter(read_peek(p))) return false;
  at = p->at;
  bool ok = read_word(p, w);
  p->at = at;
  return ok;
}

void read_copy_word(const Word *w, char out[TEXT_MAX_NAME + 1]) {
  memcpy(out, w->s, w->n);
  out[w->n] = 0;
}

bool read_is_word(const Word *w, const char *s) {
  return strlen(s) == w->n && memcmp(s, w->s, w->n) == 0;
}

bool read_find_dtype(const char *s, size_t n, DType *t) {
  for (int i = 0; i < DT_COUNT; i++) {
    const char *name = text_dtype((DType)i);
    if (strlen(name) == n && memcmp(name, s, n) == 0) {
      *t = (DType)i;
      return true;
    }
  }
  return false;
}

bool read_dtype(Parser *p, DType *t) {
  Word w;
  if (!read_word(p, &w)) return false;
  return read_find_dtype(w.s, w.n, t) || read_fail(p, "no such dtype");
}

static int hex_value(char c) {
  if (text_is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A text in quotes, into a new block of *bytes bytes. */
char *read_quoted(Parser *p, size_t *bytes) {
  if (!read_expect(p, "\"")) return NULL;
  *bytes = 1;
  for (const char *s = p->at; s < p->end && *s != '"'; s++, ++*bytes)
    if (*s == '\\' && s + 1 < p->end) s++;
  char *out = p->a.fn(p->a.user, NULL, 0, *bytes), *to = out;
  if (!out) {
    read_fail(p, "out of memory");
    return NULL;
  }
  while (p->at < p->end && *p->at != '"' && *p->at != '\n' && *p->at) {
    char c = *p->at++;
    if (c == '\\' && p->at < p->end) {
      c = *p->at++;
      if (c == 'n') c = '\n';
      if (c == 'x' && p->end - p->at >= 2 && hex_value(p->at[0]) >= 0 && hex_value(p->at[1]) >= 0) {
        c = (char)(hex_value(p->at[0]) * 16 + hex_value(p->at[1]));
        p->at += 2;
      }
    }
    *to++ = c;
  }
  *to = 0;
  if (read_expect(p, "\"")) return out;
  p->a.fn(p->a.user, out, *bytes, 0);
  return NULL;
}

/* ---- numbers ---------------------------------------------------------------- */
/* A literal: m * 10^-places, or m * 2^exponent when hex. */
typedef struct {
  uint64_t m;
  int places, exponent;
  bool negative, hex, point, inf, nan, bits;
} Number;

bool read_small_int(Parser *p, int *v) {
  bool negative = p->at < p->end && *p->at == '-';
  if (p->at < p->end && (*p->at == '-' || *p->at == '+')) p->at++;
  if (p->at == p->end || !text_is_digit(*p->at)) return read_fail(p, "expected an exponent");
  for (*v = 0; p->at < p->end && text_is_digit(*p->at); p->at++) {
    if (*v > 9999) return read_fail(p, "the exponent is too large");
    *v = *v * 10 + (*p->at - '0');
  }
  if (negative) *v = -*v;
  return true;
}

/* Digits of a base, with one point; places counts those after it. */
static bool digits(Parser *p, unsigned base, Number *n) {
  int seen = 0;
  for (; p->at < p->end; p->at++) {
    if (*p->at == '.' && !n->point) {
      n->point = true;
      continue;
    }
    int d = base == 16 ? hex_value(*p->at) : text_is_digit(*p->at) ? *p->at - '0' : -1;
    if (d < 0) break;
    if (__builtin_mul_overflow(n->m, (uint64_t)base, &n->m) ||
        __builtin_add_overflow(n->m, (uint64_t)d, &n->m))
      return read_fail(p, "the number has too many digits");
    seen++;
    n->places += n->point;
  }
  return seen > 0 || read_fail(p, "expected a number");
}

static bool hex_number(Parser *p, Number *n) {
  p->at += 2;
  n->hex = true;
  if (!digits(p, 16, n)) return false;
  n->exponent = -4 * n->places;
  if (n->point && !(p->at < p->end && *p->at == 'p')) return read_fail(p, "expected an exponent");
  if (p->at == p->end || *p->at != 'p') return true;
  int e;
  p->at++;
  n->point = true;
  if (!read_small_int(p, &e)) return false;
  n->exponent += e;
  return true;
}

static bool number(Parser *p, Number *n) {
  *n = (Number){0};
  read_space(p);
  begin_word(p);
  n->negative = read_accept(p, "-");
  if (read_accept(p, "inf")) {
    n->inf = true;
    return true;
  }
  if (read_accept(p, "nan")) {
    n->nan = true;
    return true;
  }
  if (read_accept(p, "bits")) {
    n->bits = true;
    return read_expect(p, "(") && read_peek(p) == '0' && p->end - p->at > 2 && p->at[1] == 'x'
               ? hex_number(p, n) && read_expect(p, ")") &&
                     (!n->point || read_fail(p, "expected bits"))
               : read_fail(p, "expected a hexadecimal number");
  }
  if (read_peek(p) == '0' && p->end - p->at > 2 && p->at[1] == 'x') return hex_number(p, n);
  if (!digits(p, 10, n)) return false;
  if (p->at < p->end && *p->at == 'e') {
    int e;
    p->at++;
    n->point = true;
    if (!read_small_int(p, &e)) return false;
    n->places -= e;
  }
  return true;
}

static KE float_const(Parser *p, DType t, const Number *n) {
  if (n->nan) return kb_bits_const(p->b, t, text_nan(t));
  double sign = n->negative ? -1 : 1;
  if (n->inf) return kb_float(p->b, t, sign * (double)INFINITY);
  if (n->m >> 53) return read_fail_e(p, "the number has too many digits");
  if (n->hex) return kb_float(p->b, t, sign * ldexp((double)n->m, n->exponent));
  if (n->places >= 0 && n->places <= 22)
    return kb_bits_const(p->b, t, text_decimal(t, n->negative, n->m, n->places));
  if (n->places < -22 || n->places > 22)
    return read_fail_e(p, "the exponent is too large: write 0x1.8p-90");
  double power = 1;
  for (int i = n->places; i < 0; i++) power *= 10;
  return kb_float(p->b, t, sign * (double)n->m * power);
}

static KE int_const(Parser *p, DType t, const Number *n) {
  if (n->point || n->inf || n->nan)
    return read_fail_e(p, "a fraction needs the dtype of a float: 0.5:f32");
  uint64_t v = n->negative ? 0 - n->m : n->m;
  bool sign_ok =
      dtype_is_signed(t) ? n->m == 0 || ((int64_t)v < 0) == n->negative : !n->negative || n->m == 0;
  if (!sign_ok || (uint64_t)wrap_int((int64_t)v, t) != v)
    return read_fail_e(p, "the number does not fit its dtype");
  return kb_bits_const(p->b, t, v);
}

KE read_literal(Parser *p) {
  Number n;
  DType t = DT_i64;
  if (!number(p, &n) || (read_accept(p, ":") && !read_dtype(p, &t))) return KE_NONE;
  if (t == DT_bool) return read_fail_e(p, "write true or false");
  int bits = 8 * dtype_bytes(t);
  if (n.bits && bits < 64 && n.m >> bits)
    return read_fail_e(p, "the number does not fit its dtype");
  if (n.bits) return kb_bits_const(p->b, t, n.m);
  return dtype_is_float(t) ? float_const(p, t, &n) : int_const(p, t, &n);
}
