/* text_print_expr.c -- words, names, constants and expressions of kernel text. */
#include "kernel/text_print.h"
#include "kernel/interp.h"
#include "kernel/visit.h"
#include <math.h>

/* ---- output ----------------------------------------------------------------- */
static bool room(Printer *p, char **text, size_t *cap, size_t used, size_t more) {
  if (p->refused) return false;
  if (more <= *cap - used) return true;
  size_t want = *cap ? *cap : 1024;
  while (want < used + more) want *= 2;
  char *t = p->a.fn(p->a.user, *text, *cap, want);
  if (!t) {
    p->refused = true;
    return false;
  }
  *text = t;
  *cap = want;
  return true;
}

void print_n(Printer *p, const char *s, size_t n) {
  if (!room(p, &p->text, &p->cap, p->n, n)) return;
  memcpy(p->text + p->n, s, n);
  p->n += n;
}
void print_text(Printer *p, const char *s) { print_n(p, s, strlen(s)); }

void print_uint(Printer *p, uint64_t v, unsigned base) {
  char digits[24];
  int at = 24;
  do digits[--at] = "0123456789abcdef"[v % base];
  while (v /= base);
  print_n(p, digits + at, (size_t)(24 - at));
}

static void print_int(Printer *p, int64_t v) {
  if (v < 0) print_text(p, "-");
  print_uint(p, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10);
}

void print_line(Printer *p) {
  print_text(p, "\n");
  for (int i = 0; i < p->indent; i++) print_text(p, "  ");
}

void print_quoted(Printer *p, const char *s) {
  print_text(p, "\"");
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\') {
      print_text(p, "\\");
      print_n(p, s, 1);
    } else if (c == '\n')
      print_text(p, "\\n");
    else if (c < 32 || c == 127) {
      print_text(p, c < 16 ? "\\x0" : "\\x");
      print_uint(p, c, 16);
    } else
      print_n(p, s, 1);
  }
  print_text(p, "\"");
}

/* ---- names ------------------------------------------------------------------ */
bool print_is_word(const char *s) {
  if (!text_is_letter(*s)) return false;
  while (text_is_letter(*s) || text_is_digit(*s)) s++;
  return !*s;
}

static bool name_taken(const Printer *p, uint32_t before, const char *s) {
  if (text_is_keyword(s, strlen(s)) || text_is_var_name(s, strlen(s))) return true;
  for (uint32_t i = 0; i < before; i++)
    if (strcmp(p->names + p->name_at[i], s) == 0) return true;
  return false;
}

/* Name number i is s made into a word that is free. */
static void make_name(Printer *p, uint32_t i, const char *s) {
  size_t n = strlen(s);
  if (n > TEXT_MAX_NAME - 16) n = TEXT_MAX_NAME - 16;
  if (!room(p, &p->names, &p->cap_names, p->n_names, TEXT_MAX_NAME)) return;
  char *at = p->names + p->n_names, *to = at;
  p->name_at[i] = (uint32_t)p->n_names;
  if (n == 0 || text_is_digit(*s)) *to++ = '_';
  for (size_t c = 0; c < n; c++) *to++ = text_is_letter(s[c]) || text_is_digit(s[c]) ? s[c] : '_';
  *to = 0;
  while (name_taken(p, i, at) && to - at < TEXT_MAX_NAME - 1) {
    *to++ = '_';
    *to = 0;
  }
  p->n_names += (size_t)(to - at) + 1;
}

void print_make_names(Printer *p) {
  const Kernel *k = p->k;
  for (uint32_t i = 0; i < k->n_syms; i++) make_name(p, i, k->text + k->sym_name[i]);
  for (uint32_t i = 0; i < k->n_bufs; i++) make_name(p, k->n_syms + i, k->text + k->buf[i].name);
}

void print_sym(Printer *p, uint32_t i) {
  if (!p->refused) print_text(p, p->names + p->name_at[i]);
}
void print_buf(Printer *p, uint32_t i) { print_sym(p, p->k->n_syms + i); }

void print_var(Printer *p, uint32_t v) {
  static const char *const stem[] = {"i", "t", "c", "r", "acc"};
  uint8_t kind = p->k->var[v].kind;
  if (p->var_number[v] == KE_NONE) p->var_number[v] = p->numbered[kind]++;
  print_text(p, stem[kind]);
  print_uint(p, p->var_number[v], 10);
}

/* ---- constants -------------------------------------------------------------- */
static void put_decimal(Printer *p, uint64_t m, int k) {
  char digits[24];
  int n = 0;
  if (k == 0 || k > 6) {
    print_uint(p, m, 10);
    if (k) {
      print_text(p, "e-");
      print_uint(p, (uint64_t)k, 10);
    }
    return;
  }
  for (; m || n <= k; m /= 10) digits[n++] = (char)('0' + m % 10);
  while (n > 0) {
    print_n(p, &digits[--n], 1);
    if (n == k) print_text(p, ".");
  }
}

static void put_hex_float(Printer *p, double d) {
  int e;
  uint64_t fraction = (uint64_t)(frexp(d, &e) * 0x1p53) & (((uint64_t)1 << 52) - 1);
  int digits = 13;
  print_text(p, "0x1");
  for (; fraction && (fraction & 15) == 0; fraction >>= 4) digits--;
  if (fraction) {
    print_text(p, ".");
    for (int i = digits - 1; i > 0 && fraction >> 4 * i == 0; i--) print_text(p, "0");
    print_uint(p, fraction, 16);
  }
  print_text(p, "p");
  print_int(p, e - 1);
}

static void put_float(Printer *p, DType t, uint64_t bits) {
  uint64_t wide = scalar_cast(bits, t, DT_f64);
  double d;
  memcpy(&d, &wide, 8);
  if (isnan(d)) {
    if (bits == text_nan(t)) {
      print_text(p, "nan");
      return;
    }
    print_text(p, "bits(0x");
    print_uint(p, bits, 16);
    print_text(p, ")");
    return;
  }
  bool negative = signbit(d) != 0;
  if (negative) print_text(p, "-");
  d = fabs(d);
  if (isinf(d)) {
    print_text(p, "inf");
    return;
  }
  double power = 1;
  for (int k = 0; k <= 22; k++, power *= 10) {
    double m = nearbyint(d * power);
    if (m > 1e15) break;
    if (text_decimal(t, negative, (uint64_t)m, k) != bits) continue;
    put_decimal(p, (uint64_t)m, k);
    return;
  }
  put_hex_float(p, d);
}

static void put_const(Printer *p, const KNode *n) {
  DType t = (DType)n->dtype;
  if (t == DT_bool) {
    print_text(p, n->bits ? "true" : "false");
    return;
  }
  if (dtype_is_float(t))
    put_float(p, t, n->bits);
  else if (dtype_is_signed(t))
    print_int(p, (int64_t)n->bits);
  else
    print_uint(p, n->bits, 10);
  if (t == DT_i64) return;
  print_text(p, ":");
  print_text(p, text_dtype(t));
}

/* ---- expressions ------------------------------------------------------------ */
static void put_list(Printer *p, KE e, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    if (i) print_text(p, ", ");
    print_expr(p, kernel_operand(p->k, e, i), 0);
  }
}

static void put_call(Printer *p, const char *name, const char *more, KE e, uint32_t n) {
  print_text(p, name);
  print_text(p, more);
  print_text(p, "(");
  put_list(p, e, n);
  print_text(p, ")");
}

static const TextInfix *infix_of(uint8_t op) {
  for (int i = 0; i < TEXT_INFIXES; i++)
    if (text_infix[i].op == op) return &text_infix[i];
  return NULL;
}

/* All infix operators group to the left; comparisons do not group. */
static void put_op(Printer *p, KE e, int prec) {
  const KNode *n = &p->k->node[e];
  const TextInfix *x = infix_of(n->op);
  if (!x) {
    put_call(p, sop_info[n->op].name, "", e, (uint32_t)sop_info[n->op].arity);
    return;
  }
  if (x->prec < prec) print_text(p, "(");
  print_expr(p, n->a, x->prec == 1 ? 2 : x->prec);
  print_text(p, " ");
  print_text(p, x->sign);
  print_text(p, " ");
  print_expr(p, n->b, x->prec + 1);
  if (x->prec < prec) print_text(p, ")");
}

static void put_load(Printer *p, KE e, int prec) {
  const KNode *n = &p->k->node[e];
  bool fallback = n->kind == KN_LoadOr, parens = fallback && prec > 0;
  if (parens) print_text(p, "(");
  print_buf(p, n->a);
  print_text(p, "[");
  put_list(p, e, n->rank);
  print_text(p, "]");
  if (fallback) {
    print_text(p, " or ");
    print_expr(p, n->c, 4);
  }
  if (parens) print_text(p, ")");
}

void print_expr(Printer *p, KE e, int prec) {
  const KNode *n = &p->k->node[e];
  if (p->alias[e] != KE_NONE && p->seen[e] == p->stamp) {
    print_text(p, "$");
    print_uint(p, p->alias[e], 10);
    return;
  }
  switch ((KNodeKind)n->kind) {
  case KN_Const: put_const(p, n); break;
  case KN_Sym: print_sym(p, n->a); break;
  case KN_Var: print_var(p, n->a); break;
  case KN_Op: put_op(p, e, prec); break;
  case KN_Cast: put_call(p, text_dtype((DType)n->dtype), "", e, 1); break;
  case KN_Bits: put_call(p, "as_", text_dtype((DType)n->dtype), e, 1); break;
  case KN_Load:
  case KN_LoadOr: put_load(p, e, prec); break;
  }
}
