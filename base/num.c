/* num.c -- numbers to text and back, exactly and without a locale (str.h).
 *
 * Reading: a decimal D * 10^e is an exact fraction.  It is scaled by a power
 * of two until the quotient has more bits than the format, divided (by 5^13 at
 * a time: floor(floor(x / a) / b) is floor(x / ab)), and rounded once, half to
 * even, with what was cut off remembered in one sticky bit.
 * Writing: the fewest digits of the correctly rounded decimal that read back
 * to the same value. */
#include "base/dtype.h"
#include "base/str.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A binary format: bits of precision, exponent of the smallest ulp, the power
 * of two that overflows, decimal digits always kept, digits always enough. */
typedef struct {
  int prec, ulp_min, emax, digits_safe, digits_enough;
} Format;
static const Format F64 = {53, -1074, 1024, 15, 17};
static const Format F32 = {24, -149, 128, 6, 9};
static const Format F16 = {11, -24, 16, 3, 5};
static const Format BF16 = {8, -133, 128, 2, 4};

enum {
  MAX_DIGITS = 800, /* a tie between two doubles has at most 767 digits */
  BIG_WORDS = 160,  /* 5^1146, 66 bits and a word of slack need 88      */
};

/* A natural number, least significant word first; n counts up to the last
 * word that is not zero. */
typedef struct {
  int n;
  uint32_t w[BIG_WORDS];
} Big;

static void big_mul_add(Big *b, uint32_t m, uint32_t a) {
  uint64_t carry = a;
  for (int i = 0; i < b->n; i++) {
    carry += (uint64_t)b->w[i] * m;
    b->w[i] = (uint32_t)carry;
    carry >>= 32;
  }
  if (carry) b->w[b->n++] = (uint32_t)carry;
}

static uint32_t big_div(Big *b, uint32_t d) {
  uint64_t rest = 0;
  for (int i = b->n - 1; i >= 0; i--) {
    rest = rest << 32 | b->w[i];
    b->w[i] = (uint32_t)(rest / d);
    rest %= d;
  }
  while (b->n > 0 && b->w[b->n - 1] == 0) b->n--;
  return (uint32_t)rest;
}

static void big_shift_left(Big *b, int bits) {
  int words = bits / 32;
  if (b->n == 0) return;
  memmove(b->w + words, b->w, (size_t)b->n * sizeof *b->w);
  memset(b->w, 0, (size_t)words * sizeof *b->w);
  b->n += words;
  big_mul_add(b, (uint32_t)1 << bits % 32, 0);
}

static int big_bits(const Big *b) {
  return b->n == 0 ? 0 : b->n * 32 - __builtin_clz(b->w[b->n - 1]);
}

static bool big_bit(const Big *b, int i) {
  return i >= 0 && i / 32 < b->n && (b->w[i / 32] >> i % 32 & 1);
}

static bool big_any_below(const Big *b, int bit) {
  for (int i = 0; i < bit && i / 32 < b->n; i++)
    if (big_bit(b, i)) return true;
  return false;
}

/* q * 2^exp, with something lost below q when sticky, in format f. */
static double round_big(const Big *q, int exp, bool sticky, const Format *f) {
  int top = big_bits(q) - 1 + exp, ulp = top - (f->prec - 1);
  if (ulp < f->ulp_min) ulp = f->ulp_min;
  int drop = ulp - exp;
  uint64_t m = 0;
  for (int i = big_bits(q) - 1; i >= drop && i >= 0; i--) m = m << 1 | big_bit(q, i);
  if (drop < 0) m <<= -drop;
  if (big_bit(q, drop - 1)) m += (m & 1) || sticky || big_any_below(q, drop - 1);
  double x = ldexp((double)m, ulp);
  return x < ldexp(1, f->emax - 1) * 2 ? x : (double)INFINITY;
}

/* The digits of a decimal number: 0.d1d2d3... is not stored, D * 10^e is. */
typedef struct {
  char digit[MAX_DIGITS + 1];
  int n;
  int64_t e;
} Decimal;

static double decimal_value(const Decimal *d, const Format *f) {
  if (d->n == 0 || d->n + d->e < -345) return 0;
  if (d->n + d->e > 310) return (double)INFINITY;
  Big q = {0};
  for (int i = 0; i < d->n; i++) big_mul_add(&q, 10, (uint32_t)(d->digit[i] - '0'));
  int e = (int)d->e, shift = 0;
  bool sticky = false;
  for (int i = 0; i < e; i++) big_mul_add(&q, 10, 0);
  if (e < 0) { /* / 10^m = / 5^m / 2^m */
    shift = -e * 2322 / 1000 + 2 + 66 - big_bits(&q);
    if (shift < 0) shift = 0;
    big_shift_left(&q, shift);
    int m = -e;
    for (; m >= 13; m -= 13) sticky |= big_div(&q, 1220703125) != 0;
    for (; m > 0; m--) sticky |= big_div(&q, 5) != 0;
  }
  return round_big(&q, e < 0 ? e - shift : 0, sticky, f);
}

/* Few digits and a small power of ten: one correctly rounded operation on
 * doubles.  For a narrower format that rounding is the second one, which is
 * harmless unless it starts from exactly half way. */
static bool decimal_quick(const Decimal *d, const Format *f, double *out) {
  static const double ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                               1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                               1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  if (d->n > 15 || d->e < -22 || d->e > 22 || (f != &F64 && f != &F32)) return false;
  uint64_t m = 0;
  for (int i = 0; i < d->n; i++) m = m * 10 + (uint64_t)(d->digit[i] - '0');
  double x = d->e < 0 ? (double)m / ten[-d->e] : (double)m * ten[d->e];
  if (f == &F32) {
    uint64_t u;
    memcpy(&u, &x, 8);
    if ((u & 0x1fffffff) == 0x10000000) return false;
    x = (double)(float)x; /* 1e-22 and 1e37 are well inside the normal floats */
  }
  *out = x;
  return true;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool word_at(const char *s, size_t n, size_t at, const char *word) {
  size_t k = strlen(word);
  return n - at >= k && memcmp(s + at, word, k) == 0;
}

/* digits [. digits] | . digits; counts the digits seen. */
static size_t read_digits(const char *s, size_t n, size_t at, Decimal *d, size_t *seen) {
  bool fraction = false, sticky = false;
  for (; at < n; at++) {
    if (s[at] == '.' && !fraction) {
      fraction = true;
      continue;
    }
    if (!is_digit(s[at])) break;
    ++*seen;
    d->e -= fraction;
    if (d->n == 0 && s[at] == '0') continue;
    if (d->n < MAX_DIGITS)
      d->digit[d->n++] = s[at];
    else {
      d->e++;
      sticky |= s[at] != '0';
    }
  }
  if (sticky) {
    d->digit[d->n++] = '1';
    d->e--;
  } /* any digit will do */
  return at;
}

static size_t read_exponent(const char *s, size_t n, size_t at, int64_t *e) {
  size_t p = at + 1;
  if (at >= n || (s[at] != 'e' && s[at] != 'E')) return at;
  bool neg = p < n && s[p] == '-';
  if (p < n && (s[p] == '-' || s[p] == '+')) p++;
  if (p >= n || !is_digit(s[p])) return at;
  int64_t x = 0;
  for (; p < n && is_digit(s[p]); p++)
    if (x < INT64_MAX / 100) x = x * 10 + (s[p] - '0');
  *e += neg ? -x : x;
  return p;
}

static int read_as(const char *s, size_t n, const Format *f, double *out) {
  size_t at = 0, seen = 0;
  bool neg = n > 0 && s[0] == '-';
  if (n > 0 && (s[0] == '-' || s[0] == '+')) at++;
  double x;
  if (word_at(s, n, at, "inf")) {
    x = (double)INFINITY;
    at += 3;
  } else if (word_at(s, n, at, "nan")) {
    x = (double)NAN;
    at += 3;
  } else {
    Decimal d;
    d.n = 0;
    d.e = 0;
    at = read_digits(s, n, at, &d, &seen);
    if (seen == 0) return 0;
    at = read_exponent(s, n, at, &d.e);
    if (!decimal_quick(&d, f, &x)) x = decimal_value(&d, f);
  }
  *out = neg ? -x : x;
  return (int)at;
}

int num_read(const char *s, size_t n, double *out) { return read_as(s, n, &F64, out); }

int num_read_f32(const char *s, size_t n, float *out) {
  double x;
  int used = read_as(s, n, &F32, &x);
  if (used) *out = (float)x;
  return used;
}

/* p correctly rounded digits of x > 0 without trailing zeros, and the power of
 * ten of the first.  The C library writes its locale's point between digits;
 * only digits are taken. */
static int to_digits(double x, int p, char *digit, int *e10) {
  char t[64];
  snprintf(t, sizeof t, "%.*e", p - 1, x);
  int k = 0, e = 0;
  const char *c = t;
  for (; *c && *c != 'e'; c++)
    if (is_digit(*c)) digit[k++] = *c;
  bool neg = *c && c[1] == '-';
  for (; *c; c++)
    if (is_digit(*c)) e = e * 10 + (*c - '0');
  while (k > 1 && digit[k - 1] == '0') k--;
  *e10 = neg ? -e : e;
  return k;
}

/* 1234 with e10 = 3 is "1234", with -2 "0.01234", with 20 "1.234e20". */
static char *lay_out(char *o, const char *digit, int k, int e10) {
  if (e10 < -4 || e10 >= 16) {
    *o++ = digit[0];
    if (k > 1) *o++ = '.';
    for (int i = 1; i < k; i++) *o++ = digit[i];
    return o + snprintf(o, 8, "e%d", e10);
  }
  if (e10 < 0) {
    *o++ = '0';
    *o++ = '.';
    for (int i = -1; i > e10; i--) *o++ = '0';
  }
  for (int i = 0; i < k || i <= e10; i++) {
    if (i > 0 && i == e10 + 1) *o++ = '.';
    *o++ = i < k ? digit[i] : '0';
  }
  *o = 0;
  return o;
}

static int write_as(double x, const Format *f, char *out) {
  char *o = out, digit[24];
  if (isnan(x)) return (int)strlen(strcpy(out, "nan"));
  if (signbit(x)) *o++ = '-', x = -x;
  if (isinf(x) || x == 0) return (int)(strlen(strcpy(o, x == 0 ? "0" : "inf")) + (size_t)(o - out));
  bool normal = x >= ldexp(1, f->ulp_min + f->prec - 1);
  for (int p = normal ? f->digits_safe : 1;; p++) {
    int e10, k = to_digits(x, p, digit, &e10);
    char *end = lay_out(o, digit, k, e10);
    double back;
    read_as(o, (size_t)(end - o), f, &back);
    if (back == x || p >= f->digits_enough) return (int)(end - out);
  }
}

int num_f64(double x, char *out) { return write_as(x, &F64, out); }
int num_f32(float x, char *out) { return write_as((double)x, &F32, out); }
int num_f16(uint16_t bits, char *out) { return write_as((double)f16_to_f32(bits), &F16, out); }
int num_bf16(uint16_t bits, char *out) { return write_as((double)bf16_to_f32(bits), &BF16, out); }
