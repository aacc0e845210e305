/* lex.c -- see lex.h.  `/` may stand inside a name (TVM prints names such as
 * %conv1/weight), so %a/b is one token here; the parser cuts it at the slash
 * when only %a is known.  Comments nest.  Numbers carry their element type.  */
#include "parser/lex.h"
#include <math.h>
#include "base/utf8.h"

static bool is_letter(int c) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool is_digit(int c) { return c >= '0' && c <= '9'; }
static bool is_word(int c) { return is_letter(c) || is_digit(c); }

static int at(const Lexer *lx, size_t i) {
  return lx->pos + i < lx->n ? (unsigned char)lx->text[lx->pos + i] : -1;
}

Lexer lex_start(const Sources *src, uint32_t file, Diags *d) {
  const Source *s = source_get(src, file);
  Lexer lx = {.file = file, .d = d};
  if (s) lx.text = s->text, lx.n = s->n;
  return lx;
}

static Span span_here(const Lexer *lx, size_t from, size_t to) {
  return (Span){lx->file, (uint32_t)from, (uint32_t)(to - from)};
}

static void lex_error(Lexer *lx, Span s, DiagCode code, const char *a, const char *b) {
  if (!lx->d) return;
  if (b)
    diag_error(lx->d, s, code, a, b);
  else
    diag_error(lx->d, s, code, a);
}

/* ---- text ----------------------------------------------------------------- */

/* Length of the UTF-8 sequence at s (1..4), 0 when it is not one. */
static size_t utf8_len(const char *s, size_t n) {
  uint32_t code;
  return (unsigned char)s[0] < 0x80 ? 1 : (size_t)utf8_char(s, n, &code);
}

bool lex_check_text(const char *text, size_t n, uint32_t file, Diags *d) {
  for (size_t i = 0, len; i < n; i += len) {
    unsigned char c = (unsigned char)text[i];
    len = c ? utf8_len(text + i, n - i) : 0;
    if (len == 0)
      return diag_error(d, (Span){file, (uint32_t)i, 1}, E0101,
                        c ? str_fmt("byte 0x%02x: the text is not valid UTF-8", c)
                          : "NUL: this is not a text");
  }
  return true;
}

/* ---- white space and comments ---------------------------------------------- */

static void skip_line(Lexer *lx) {
  while (lx->pos < lx->n && lx->text[lx->pos] != '\n') lx->pos++;
}

static void skip_block_comment(Lexer *lx) {
  size_t from = lx->pos;
  int depth = 0;
  while (lx->pos < lx->n) {
    if (at(lx, 0) == '/' && at(lx, 1) == '*')
      depth++, lx->pos += 2;
    else if (at(lx, 0) == '*' && at(lx, 1) == '/') {
      lx->pos += 2;
      if (--depth == 0) return;
    } else
      lx->pos++;
  }
  lex_error(lx, span_here(lx, from, from + 2), E0102, "the comment", NULL);
}

static bool at_line_comment(const Lexer *lx) { return at(lx, 0) == '/' && at(lx, 1) == '/'; }
static bool at_comment(const Lexer *lx) {
  return at_line_comment(lx) || (at(lx, 0) == '/' && at(lx, 1) == '*');
}

static void skip_comment(Lexer *lx) {
  if (!at_line_comment(lx)) {
    skip_block_comment(lx);
    return;
  }
  size_t from = lx->pos;
  bool doc = at(lx, 2) == '/' && at(lx, 3) != '/';
  skip_line(lx);
  if (!doc) return;
  if (lx->doc_at == lx->doc_end) lx->doc_at = from;
  lx->doc_end = lx->pos;
}

/* Returns whether a newline was passed. */
static bool skip_space(Lexer *lx) {
  bool line = lx->pos == 0;
  lx->doc_at = lx->doc_end = 0;
  for (;;) {
    int c = at(lx, 0);
    if (c == '\n') {
      line = true;
      lx->pos++;
    } else if (c == ' ' || c == '\t' || c == '\r')
      lx->pos++;
    else if (!lx->comments && at_comment(lx))
      skip_comment(lx);
    else
      return line;
  }
}

char *lex_doc(const Lexer *lx) {
  if (lx->doc_at == lx->doc_end) return NULL;
  StrBuf out = {0};
  const char *s = lx->text + lx->doc_at, *end = lx->text + lx->doc_end;
  while (s < end) {
    while (s < end && *s != '/') s++; /* indentation, blank lines      */
    const char *eol = memchr(s, '\n', (size_t)(end - s));
    if (!eol) eol = end;
    if (eol - s >= 3 && memcmp(s, "///", 3) == 0) {
      const char *from = s + 3, *to = eol;
      if (from < to && *from == ' ') from++;
      while (to > from && (to[-1] == '\r' || to[-1] == ' ')) to--;
      if (out.n || out.s) buf_char(&out, '\n');
      buf_put(&out, from, (size_t)(to - from));
    }
    s = eol < end ? eol + 1 : end;
  }
  return out.s ? out.s : NULL;
}

/* ---- numbers ---------------------------------------------------------------- */

static const struct {
  const char *text;
  DType dtype;
} suffixes[] = {
    {"f", DT_f32}, {"f16", DT_f16}, {"f32", DT_f32}, {"f64", DT_f64}, {"bf16", DT_bf16},
    {"i", DT_i32}, {"i8", DT_i8},   {"i16", DT_i16}, {"i32", DT_i32}, {"i64", DT_i64},
    {"u8", DT_u8}, {"u16", DT_u16}, {"u32", DT_u32}, {"u64", DT_u64},
};

static bool find_suffix(const char *s, size_t n, DType *out) {
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
    if (strlen(suffixes[i].text) == n && memcmp(suffixes[i].text, s, n) == 0)
      return *out = suffixes[i].dtype, true;
  return false;
}

/* inff, nanf64, infbf16: letters and a float suffix. */
static bool special_float(Token *t) {
  if (t->n < 4 || (memcmp(t->s, "inf", 3) != 0 && memcmp(t->s, "nan", 3) != 0)) return false;
  DType dt;
  if (!find_suffix(t->s + 3, t->n - 3, &dt) || !dtype_is_float(dt)) return false;
  t->kind = T_FLOAT;
  t->dtype = dt;
  t->suffixed = true;
  t->f = t->s[0] == 'i' ? (double)INFINITY : (double)NAN;
  return true;
}

/* Rounded once to the element type, as far as a double can carry it. */
static double read_float(const char *s, size_t n, DType dt) {
  double d = 0;
  float f = 0;
  if (dt != DT_f32) return num_read(s, n, &d) ? d : 0;
  return num_read_f32(s, n, &f) ? (double)f : 0;
}

static double max_of(DType dt) {
  return dt == DT_f16 ? 65520.0 : dt == DT_f64 || dt == DT_f32 ? INFINITY : 3.3961e38;
}

static void finish_float(Lexer *lx, Token *t, size_t digits) {
  double d = 0;
  t->kind = T_FLOAT;
  t->f = read_float(t->s, digits, t->dtype);
  if (t->f >= max_of(t->dtype))
    lex_error(lx, t->span, E0104, str_fmt("%.*s", (int)(t->n < 60 ? t->n : 60), t->s),
              str_fmt("it is beyond %s; infinity is written inff", dtype_name(t->dtype)));
  /* the text of attributes (epsilon=1e-05f) is wanted at full precision, and a
   * float32 constant rounds to the same float from there except in ties that
   * read_float decided */
  else if (t->dtype == DT_f32 && num_read(t->s, digits, &d) && (double)(float)d == t->f)
    t->f = d;
}

static void finish_int(Lexer *lx, Token *t, size_t digits) {
  t->kind = T_INT;
  for (size_t i = 0; i < digits; i++) {
    uint64_t digit = (uint64_t)(t->s[i] - '0');
    if (t->mag > (UINT64_MAX - digit) / 10) {
      lex_error(lx, t->span, E0104, str_fmt("%.*s", (int)(t->n < 60 ? t->n : 60), t->s),
                "it does not fit 64 bits");
      t->mag = 0;
      return;
    }
    t->mag = t->mag * 10 + digit;
  }
}

static size_t skip_digits(const Lexer *lx, size_t i) {
  while (is_digit(at(lx, i))) i++;
  return i;
}

static Token lex_number(Lexer *lx, Token t) {
  size_t i = skip_digits(lx, 0);
  bool is_float = false;
  if (at(lx, i) == '.' && !is_letter(at(lx, i + 1))) {
    is_float = true;
    i = skip_digits(lx, i + 1);
  } else if (at(lx, i) == '.' && (at(lx, i + 1) == 'f' || at(lx, i + 1) == 'e')) {
    is_float = true; /* 1.f  1.e5f      */
    i++;
  }
  if (at(lx, i) == 'e' || at(lx, i) == 'E') {
    size_t k = i + 1 + (at(lx, i + 1) == '+' || at(lx, i + 1) == '-');
    if (is_digit(at(lx, k))) {
      is_float = true;
      i = skip_digits(lx, k);
    }
  }
  size_t digits = i;
  while (is_word(at(lx, i))) i++;
  t.n = (uint32_t)i;
  t.suffixed = i > digits;
  t.dtype = is_float ? DT_f32 : DT_i32;
  lx->pos += i;
  t.span = span_here(lx, t.span.at, lx->pos);
  if (t.suffixed && (!find_suffix(t.s + digits, i - digits, &t.dtype) ||
                     (is_float && !dtype_is_float(t.dtype)))) {
    lex_error(lx, t.span, E0104, str_fmt("%.*s", (int)(t.n < 60 ? t.n : 60), t.s),
              is_float ? "a float ends in f, f16, bf16, f32 or f64, or has no suffix"
                       : "a suffix is one of i8 i16 i32 i64 u8 u16 u32 u64 f f16 bf16 f32 f64");
    t.dtype = is_float ? DT_f32 : DT_i32;
  }
  if (is_float || dtype_is_float(t.dtype))
    finish_float(lx, &t, digits);
  else
    finish_int(lx, &t, digits);
  return t;
}

Token lex_digits(Lexer *lx) {
  skip_space(lx);
  Token t = {.kind = T_EOF, .span = span_here(lx, lx->pos, lx->pos), .s = lx->text + lx->pos};
  size_t i = skip_digits(lx, 0);
  if (i == 0) return t;
  lx->pos += i;
  t.n = (uint32_t)i;
  t.span.len = (uint32_t)i;
  finish_int(lx, &t, i);
  return t;
}

/* ---- names, strings, headers -------------------------------------------------- */

/* The length of a name at i; a slash belongs to it when a name goes on behind. */
static size_t name_end(const Lexer *lx, size_t i, bool dots) {
  for (;; i++) {
    int c = at(lx, i);
    if (is_word(c)) continue;
    if (c == '/' && is_word(at(lx, i + 1))) continue;
    if (dots && c == '.' && is_letter(at(lx, i + 1))) continue;
    return i;
  }
}

Tok lex_keyword(const char *s, size_t n) {
  static const struct {
    const char *word;
    Tok kind;
  } words[] = {
#define TOK(name, text)
#define KEYWORD(name, text) {text, T_##name},
#include "parser/token.def"
#undef TOK
#undef KEYWORD
  };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strlen(words[i].word) == n && memcmp(words[i].word, s, n) == 0) return words[i].kind;
  return T_IDENT;
}

static Token finish(Lexer *lx, Token t, Tok kind, size_t len) {
  t.kind = kind;
  lx->pos += len;
  t.span.len = (uint32_t)len;
  return t;
}

static Token lex_word(Lexer *lx, Token t) {
  size_t n = name_end(lx, 0, true);
  t.n = (uint32_t)n;
  Tok k = lex_keyword(t.s, n);
  if (k == T_MATCH && at(lx, n) == '?') return finish(lx, t, T_MATCHQ, n + 1);
  t = finish(lx, t, k, n);
  if (k == T_IDENT) special_float(&t);
  return t;
}

static bool ends_path(int c) {
  return c < 0 || c <= ' ' || c == ',' || c == '(' || c == ')' || c == ';' || c == '[' || c == ']';
}

/* %name  %12  @name */
static Token lex_sigil(Lexer *lx, Token t) {
  bool local = at(lx, 0) == '%';
  t.s++;
  size_t end = 1;
  if (local && is_digit(at(lx, 1))) {
    end = skip_digits(lx, 1);
    t.n = (uint32_t)end - 1;
    return finish(lx, t, T_GRAPH, end);
  }
  if (!local && lx->paths)
    while (!ends_path(at(lx, end))) end++;
  else if (is_letter(at(lx, 1)))
    end = name_end(lx, 1, false);
  t.n = (uint32_t)end - 1;
  return finish(lx, t, local ? T_LOCAL : T_GLOBAL, end);
}

static Token lex_quoted(Lexer *lx, Token t) {
  size_t i = 1;
  while (at(lx, i) >= 0 && at(lx, i) != '"' && at(lx, i) != '\n')
    i += at(lx, i) == '\\' && at(lx, i + 1) >= 0 && at(lx, i + 1) != '\n' ? 2 : 1;
  bool closed = at(lx, i) == '"';
  t.s++;
  t.n = (uint32_t)i - 1;
  t = finish(lx, t, T_STRING, i + (closed ? 1 : 0));
  if (!closed) lex_error(lx, (Span){t.span.file, t.span.at, 1}, E0102, "the string", NULL);
  return t;
}

static size_t skip_blank(const Lexer *lx, size_t i) {
  while (at(lx, i) == ' ' || at(lx, i) == '\t') i++;
  return i;
}

/* #[version = "0.0.5"], #[derived] or #[metadata]; T_EOF when it is none. */
static Token lex_header(Lexer *lx, Token t) {
  const char *s = lx->text + lx->pos;
  size_t left = lx->n - lx->pos;
  if (left >= 11 && memcmp(s, "#[metadata]", 11) == 0) return finish(lx, t, T_METADATA, 11);
  if (left >= 10 && memcmp(s, "#[derived]", 10) == 0) return finish(lx, t, T_DERIVED, 10);
  if (left < 9 || memcmp(s, "#[version", 9) != 0) return t;
  size_t i = skip_blank(lx, 9);
  if (at(lx, i) != '=') return t;
  i = skip_blank(lx, i + 1);
  if (at(lx, i) != '"') return t;
  size_t from = ++i;
  while (at(lx, i) >= 0 && at(lx, i) != '"' && at(lx, i) != '\n') i++;
  size_t to = i;
  if (at(lx, i) == '"') i = skip_blank(lx, i + 1);
  if (at(lx, i) != ']') return t;
  t.s += from;
  t.n = (uint32_t)(to - from);
  return finish(lx, t, T_VERSION, i + 1);
}

/* ---- punctuation ---------------------------------------------------------------- */

static const struct {
  char text[3];
  Tok kind;
} marks[] = {
    /* longest first */
    {"->", T_ARROW},  {"=>", T_FAT},     {"==", T_EQ},    {"!=", T_NE},    {"<=", T_LE},
    {">=", T_GE},     {"&&", T_ANDAND},  {"||", T_OROR},  {"(", T_LPAREN}, {")", T_RPAREN},
    {"{", T_LBRACE},  {"}", T_RBRACE},   {"[", T_LBRACK}, {"]", T_RBRACK}, {",", T_COMMA},
    {";", T_SEMI},    {":", T_COLON},    {".", T_DOT},    {"=", T_ASSIGN}, {"<", T_LT},
    {">", T_GT},      {"+", T_PLUS},     {"-", T_MINUS},  {"*", T_STAR},   {"/", T_SLASH},
    {"%", T_PERCENT}, {"?", T_QUESTION}, {"!", T_BANG},
};

static bool lex_mark(Lexer *lx, Token *t) {
  for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
    size_t n = strlen(marks[i].text);
    if (lx->n - lx->pos < n || memcmp(lx->text + lx->pos, marks[i].text, n) != 0) continue;
    *t = finish(lx, *t, marks[i].kind, n);
    t->n = (uint32_t)n;
    return true;
  }
  return false;
}

static bool starts_token(const Lexer *lx) {
  int c = at(lx, 0);
  if (c < 0 || is_word(c) || c == '@' || c == '"' || c == '#' || c <= ' ') return true;
  Lexer probe = *lx;
  Token t = {0};
  return lex_mark(&probe, &t);
}

/* What other languages write with a sign that means nothing here. */
static void help_sign(Lexer *lx, int c) {
  static const struct {
    char sign;
    const char *help;
  } known[] = {
      {'#', "a comment starts with //"},
      {'@', "a product of matrices is nn.matmul(%a, %b)"},
      {'^', "a power is power(%a, %b)"},
      {'\'', "a string stands in double quotes"},
      {'&', "both are && or logical_and(%a, %b)"},
      {'|', "either is || or logical_or(%a, %b)"},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (lx->d && known[i].sign == c) diag_help(lx->d, "%s", known[i].help);
}

/* One message for a run of bytes that start nothing. */
static void skip_junk(Lexer *lx) {
  size_t from = lx->pos;
  int c = at(lx, 0);
  do lx->pos++;
  while (lx->pos < lx->n && !starts_token(lx));
  size_t n = lx->pos - from;
  if (n > 24) n = 24;
  while (n > 1 && from + n < lx->n && ((unsigned char)lx->text[from + n] & 0xc0) == 0x80) n--;
  const char *what = c < ' ' || c == 0x7f ? str_fmt("0x%02x", (unsigned)c)
                                          : str_fmt("%.*s", (int)n, lx->text + from);
  lex_error(lx, span_here(lx, from, lx->pos), E0101, what, NULL);
  help_sign(lx, c);
}

static Token lex_comment(Lexer *lx, Token t) {
  size_t from = lx->pos;
  skip_comment(lx);
  t.kind = T_COMMENT;
  t.n = (uint32_t)(lx->pos - from);
  t.span.len = t.n;
  return t;
}

Token lex_next(Lexer *lx) {
  static const char mark[] = "\xef\xbb\xbf"; /* of a text from Windows */
  if (lx->pos == 0 && lx->n >= 3 && !memcmp(lx->text, mark, 3)) lx->pos = 3;
  bool line = skip_space(lx);
  for (;;) {
    Token t = {.kind = T_EOF, .span = span_here(lx, lx->pos, lx->pos), .line_start = line};
    int c = at(lx, 0);
    if (c < 0) return t;
    t.s = lx->text + lx->pos;
    if (lx->comments && at_comment(lx)) return lex_comment(lx, t);
    if (is_digit(c)) return lex_number(lx, t);
    if (is_letter(c)) return lex_word(lx, t);
    if (c == '"') return lex_quoted(lx, t);
    if (c == '@' && (lx->paths ? !ends_path(at(lx, 1)) : is_letter(at(lx, 1))))
      return lex_sigil(lx, t);
    if (c == '%' && is_word(at(lx, 1))) return lex_sigil(lx, t);
    if (c == '#') {
      Token h = lex_header(lx, t);
      if (h.kind != T_EOF) return h;
    }
    if (lex_mark(lx, &t)) return t;
    skip_junk(lx);
    size_t doc_at = lx->doc_at, doc_end = lx->doc_end;
    line |= skip_space(lx);
    if (lx->doc_at == lx->doc_end) lx->doc_at = doc_at, lx->doc_end = doc_end;
  }
}

/* ---- strings ---------------------------------------------------------------------- */

static void put_utf8(StrBuf *out, uint32_t c) {
  if (c < 0x80)
    buf_char(out, (char)c);
  else if (c < 0x800) {
    buf_char(out, (char)(0xc0 | c >> 6));
    buf_char(out, (char)(0x80 | (c & 63)));
  } else if (c < 0x10000) {
    buf_char(out, (char)(0xe0 | c >> 12));
    buf_char(out, (char)(0x80 | (c >> 6 & 63)));
    buf_char(out, (char)(0x80 | (c & 63)));
  } else {
    buf_char(out, (char)(0xf0 | c >> 18));
    buf_char(out, (char)(0x80 | (c >> 12 & 63)));
    buf_char(out, (char)(0x80 | (c >> 6 & 63)));
    buf_char(out, (char)(0x80 | (c & 63)));
  }
}

static int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* u{1f600} behind the backslash; returns the bytes read, 0 when malformed. */
static size_t unicode_escape(const char *s, size_t n, StrBuf *out) {
  uint32_t c = 0;
  size_t i = 2;
  if (n < 4 || s[1] != '{') return 0;
  for (; i < n && i < 8 && hex_value(s[i]) >= 0; i++) c = c * 16 + (uint32_t)hex_value(s[i]);
  if (i == 2 || i >= n || s[i] != '}') return 0;
  if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
  put_utf8(out, c);
  return i + 1;
}

/* TVM writes bytes that it cannot print as \ooo. */
static size_t octal_escape(const char *s, size_t n, StrBuf *out) {
  unsigned c = 0;
  if (n < 3) return 0;
  for (int i = 0; i < 3; i++) {
    if (s[i] < '0' || s[i] > '7') return 0;
    c = c * 8 + (unsigned)(s[i] - '0');
  }
  if (c == 0 || c > 255) return 0;
  buf_char(out, (char)c);
  return 3;
}

static size_t escape(const char *s, size_t n, StrBuf *out) {
  static const char from[] = "nrt\"\\'", to[] = "\n\r\t\"\\'";
  if (n == 0) return 0;
  const char *hit = strchr(from, s[0]);
  if (hit && *hit) return buf_char(out, to[hit - from]), 1;
  return s[0] == 'u' ? unicode_escape(s, n, out) : octal_escape(s, n, out);
}

bool lex_string(const Token *t, StrBuf *out, Diags *d) {
  for (size_t i = 0; i < t->n; i++) {
    if (t->s[i] != '\\') {
      buf_char(out, t->s[i]);
      continue;
    }
    size_t used = escape(t->s + i + 1, t->n - i - 1, out);
    if (used == 0) {
      Span s = {t->span.file, t->span.at + 1 + (uint32_t)i, 2};
      diag_error(d, s, E0105, str_fmt("%.*s", (int)(t->n - i < 2 ? 1 : 2), t->s + i));
      diag_help(d, "escapes are \\n \\r \\t \\\" \\\\ \\u{2603} and \\101 (three octal digits)");
      return false;
    }
    i += used;
  }
  for (size_t i = 0, len; i < out->n; i += len)
    if ((len = utf8_len(out->s + i, out->n - i)) == 0)
      return diag_error(d, t->span, E0105, "of a byte that is not UTF-8");
  return true;
}

/* ---- messages ------------------------------------------------------------------------ */

const char *tok_text(Tok k) {
  static const char *const text[] = {
#define TOK(name, text) text,
#define KEYWORD(name, text) "`" text "`",
#include "parser/token.def"
#undef TOK
#undef KEYWORD
  };
  return k < T_KINDS ? text[k] : "?";
}

const char *tok_found(const Token *t) {
  int n = t->n < 40 ? (int)t->n : 40;
  switch ((int)t->kind) {
  case T_LOCAL:
  case T_GRAPH: return str_fmt("%%%.*s", n, t->s);
  case T_GLOBAL: return str_fmt("@%.*s", n, t->s);
  case T_IDENT: return str_fmt("`%.*s`", n, t->s);
  case T_INT:
  case T_FLOAT: return str_fmt("the number %.*s", n, t->s);
  case T_STRING: return "a string";
  default: return tok_text(t->kind);
  }
}
