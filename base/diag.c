/* diag.c -- collecting and rendering diagnostics; see diag.h. */
#include "base/diag.h"
#include "base/utf8.h"
#include "base/vec.h"
#include <string.h>

static const char *const names[] = {
#define DIAG(code, text) #code,
#include "base/diag.def"
#undef DIAG
};
static const char *const templates[] = {
#define DIAG(code, text) text,
#include "base/diag.def"
#undef DIAG
};

const char *diag_code_name(DiagCode c) { return (unsigned)c < DIAG_CODES ? names[c] : "E????"; }
const char *diag_code_template(DiagCode c) { return (unsigned)c < DIAG_CODES ? templates[c] : ""; }

Diags *diags_new(const Sources *sources) {
  Diags *d = NEW(Diags);
  d->sources = sources;
  d->limit = 20;
  return d;
}

/* ---- collecting ---- */

/* Past the limit nothing more is kept, so that a note never ends up under the
 * wrong message. */
static bool is_full(const Diags *d) { return d->n_errors > d->limit; }

static void report(Diags *d, Span at, DiagLevel level, DiagCode code, va_list ap) {
  StrBuf text = {0};
  buf_vfmt(&text, diag_code_template(code), ap);
  Diagnostic x = {.code = code, .level = level, .span = at, .text = buf_text(&text)};
  vec_push(d, x);
}

bool diag_error(Diags *d, Span at, DiagCode code, ...) {
  va_list ap;
  va_start(ap, code);
  d->n_errors++;
  if (!is_full(d)) report(d, at, DIAG_ERROR, code, ap);
  va_end(ap);
  return false;
}

void diag_warning(Diags *d, Span at, DiagCode code, ...) {
  va_list ap;
  va_start(ap, code);
  if (!is_full(d)) report(d, at, DIAG_WARNING, code, ap);
  va_end(ap);
}

void diag_note(Diags *d, Span at, const char *fmt, ...) {
  if (d->n == 0 || is_full(d)) return;
  StrBuf text = {0};
  va_list ap;
  va_start(ap, fmt);
  buf_vfmt(&text, fmt, ap);
  va_end(ap);
  DiagNote *note = NEW(DiagNote), **end = &d->at[d->n - 1].notes;
  *note = (DiagNote){.span = at, .text = buf_text(&text)};
  while (*end) end = &(*end)->next;
  *end = note;
}

void diag_help(Diags *d, const char *fmt, ...) {
  if (d->n == 0 || is_full(d)) return;
  StrBuf text = {0};
  va_list ap;
  va_start(ap, fmt);
  buf_vfmt(&text, fmt, ap);
  va_end(ap);
  d->at[d->n - 1].help = buf_text(&text);
}

/* ---- text that is safe to show ---- */

/* Columns a character takes in a terminal: 0 combining, 2 wide. */
static int char_width(uint32_t c) {
  static const struct {
    uint32_t lo, hi;
    int width;
  } range[] = {
      {0x0300, 0x036f, 0},   {0x1ab0, 0x1aff, 0},   {0x1dc0, 0x1dff, 0},   {0x20d0, 0x20ff, 0},
      {0xfe00, 0xfe0f, 0},   {0xfe20, 0xfe2f, 0},   {0x1100, 0x115f, 2},   {0x2e80, 0x303e, 2},
      {0x3041, 0xa4cf, 2},   {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},   {0xfe30, 0xfe6f, 2},
      {0xff00, 0xff60, 2},   {0xffe0, 0xffe6, 2},   {0x1f300, 0x1f64f, 2}, {0x1f680, 0x1f6ff, 2},
      {0x1f900, 0x1f9ff, 2}, {0x20000, 0x3fffd, 2},
  };
  for (size_t i = 0; i < sizeof range / sizeof *range; i++)
    if (c >= range[i].lo && c <= range[i].hi) return range[i].width;
  return 1;
}

/* One character of s as shown: what it is, the bytes it takes in the source,
 * the columns it takes on the screen at column col. */
typedef struct {
  int bytes, columns;
  bool plain;
} Glyph;

static Glyph glyph(const char *s, size_t n, int col) {
  uint32_t c = 0;
  int len = utf8_char(s, n, &c);
  if (len == 0) return (Glyph){1, 4, false};
  if (c == '\t') return (Glyph){1, 4 - col % 4, false};
  if (utf8_is_unsafe(c)) return (Glyph){len, 4 * len, false};
  return (Glyph){len, char_width(c), true};
}

static int put_glyph(StrBuf *out, const char *s, int col, Glyph g) {
  if (g.plain)
    buf_put(out, s, (size_t)g.bytes);
  else if (s[0] == '\t')
    buf_put(out, "    ", (size_t)g.columns);
  else
    for (int i = 0; i < g.bytes; i++) buf_fmt(out, "\\x%02x", (unsigned char)s[i]);
  return col + g.columns;
}

enum { TEXT_MAX = 3000, BEFORE_MAX = 70, LINE_MAX_COLUMNS = 150 };

/* A message, path or note: one line, of bounded length. */
static void put_safe(StrBuf *out, const char *s) {
  size_t n = strlen(s);
  for (size_t i = 0; i < n;) {
    if (i > TEXT_MAX) {
      buf_str(out, "...");
      return;
    }
    Glyph g = glyph(s + i, n - i, 0);
    put_glyph(out, s + i, 0, g);
    i += (size_t)g.bytes;
  }
}

/* ---- as text ---- */

static void put_place(const Diags *d, Span at, StrBuf *out) {
  const Source *f = source_get(d->sources, at.file);
  if (!f) return;
  int line, col;
  source_place(d->sources, at.file, at.at, &line, &col);
  put_safe(out, f->path);
  buf_fmt(out, ":%d:%d: ", line, col);
}

/* The bytes of line number `line`, without its end. */
static void line_bytes(const Source *f, int line, size_t *from, size_t *to) {
  *from = f->line_at[line - 1];
  *to = line < f->n_lines ? f->line_at[line] - 1 : f->n;
  if (*to > *from && f->text[*to - 1] == '\r') --*to;
}

static bool char_starts(char c) { return ((unsigned char)c & 0xc0) != 0x80; }

/*    3 |   nn.dense(%x, %w)
 *      |   ^^^^^^^^
 * of a long line only what surrounds the span. */
static void put_excerpt(const Diags *d, Span span, StrBuf *out, bool colour) {
  const Source *f = source_get(d->sources, span.file);
  if (!f) return;
  int line, unused;
  source_place(d->sources, span.file, span.at, &line, &unused);
  size_t from, to, at = span.at, end = (size_t)span.at + span.len;
  line_bytes(f, line, &from, &to);
  if (at > to) at = to;
  StrBuf text = {0}, mark = {0};
  int col = 0, cut = 0;
  if (at - from > BEFORE_MAX && to - from > LINE_MAX_COLUMNS) {
    from = at - BEFORE_MAX;
    while (from < at && !char_starts(f->text[from])) from++;
    buf_str(&text, "...");
    buf_str(&mark, "   ");
    col = cut = 3;
  }
  for (size_t i = from; i < to;) {
    if (col - cut > LINE_MAX_COLUMNS) {
      buf_str(&text, "...");
      break;
    }
    Glyph g = glyph(f->text + i, to - i, col);
    for (int k = 0; k < g.columns && i < end; k++)
      buf_char(&mark, i >= at || i + (size_t)g.bytes > at ? '^' : ' ');
    col = put_glyph(&text, f->text + i, col, g);
    i += (size_t)g.bytes;
  }
  if (!mark.s || !strchr(mark.s, '^')) { /* an empty span, or the end of the line */
    mark.n = 0;
    for (size_t k = 0, columns = 0, i = from; i < at; i += k) {
      Glyph g = glyph(f->text + i, to - i, (int)columns + cut);
      k = (size_t)g.bytes;
      columns += (size_t)g.columns;
      for (int c = 0; c < g.columns; c++) buf_char(&mark, ' ');
    }
    for (int c = 0; c < cut; c++) buf_char(&mark, ' ');
    buf_char(&mark, '^');
  }
  buf_fmt(out, "%4d | %s\n     | %s%s%s\n", line, buf_text(&text), colour ? "\033[1;31m" : "",
          buf_text(&mark), colour ? "\033[0m" : "");
}

void diag_excerpt(const Diags *d, const char *path, int line, int col, StrBuf *out, bool colour) {
  for (int i = 1; i <= d->sources->n; i++) {
    const Source *f = source_get(d->sources, (uint32_t)i);
    size_t from, to;
    if (strcmp(f->path, path) != 0) continue;
    if (line < 1 || line > f->n_lines) return;
    line_bytes(f, line, &from, &to);
    while (--col > 0 && from < to)
      for (from++; from < to && !char_starts(f->text[from]);) from++;
    put_excerpt(d, (Span){(uint32_t)i, (uint32_t)from, 0}, out, colour);
    return;
  }
}

static void put_diagnostic(const Diags *d, const Diagnostic *x, StrBuf *out, bool colour) {
  bool error = x->level == DIAG_ERROR;
  put_place(d, x->span, out);
  if (colour) buf_str(out, error ? "\033[1;31m" : "\033[1;35m");
  buf_fmt(out, "%s[%s]", error ? "error" : "warning", diag_code_name(x->code));
  buf_str(out, colour ? "\033[0m: " : ": ");
  put_safe(out, x->text);
  buf_char(out, '\n');
  put_excerpt(d, x->span, out, colour);
  for (const DiagNote *n = x->notes; n; n = n->next) {
    put_place(d, n->span, out);
    buf_str(out, "note: ");
    put_safe(out, n->text);
    buf_char(out, '\n');
  }
  if (!x->help) return;
  buf_str(out, "help: ");
  put_safe(out, x->help);
  buf_char(out, '\n');
}

void diag_render(const Diags *d, StrBuf *out, bool colour) {
  for (int i = 0; i < d->n; i++) put_diagnostic(d, &d->at[i], out, colour);
  int more = d->n_errors - d->limit;
  if (is_full(d)) buf_fmt(out, "%d more error%s not shown\n", more, more == 1 ? "" : "s");
}

/* ---- as JSON, one object per line ---- */

/* end_col is the column after the span, or after its first line. */
static void put_json_place(const Diags *d, Span span, StrBuf *out) {
  const Source *f = source_get(d->sources, span.file);
  int line = 0, col = 0, end_line, end_col = 0;
  buf_str(out, "{\"file\":");
  if (f) {
    size_t from, to, end = (size_t)span.at + span.len;
    source_place(d->sources, span.file, span.at, &line, &col);
    line_bytes(f, line, &from, &to);
    if (end > to) end = to;
    source_place(d->sources, span.file, (uint32_t)end, &end_line, &end_col);
    buf_json(out, f->path);
  } else
    buf_str(out, "null");
  buf_fmt(out, ",\"line\":%d,\"col\":%d,\"end_col\":%d", line, col, end_col < col ? col : end_col);
}

static void put_json(const Diags *d, const Diagnostic *x, StrBuf *out) {
  put_json_place(d, x->span, out);
  buf_fmt(out, ",\"level\":\"%s\",\"code\":\"%s\",\"message\":",
          x->level == DIAG_ERROR ? "error" : "warning", diag_code_name(x->code));
  buf_json(out, x->text);
  buf_str(out, ",\"notes\":[");
  for (const DiagNote *n = x->notes; n; n = n->next) {
    put_json_place(d, n->span, out);
    buf_str(out, ",\"message\":");
    buf_json(out, n->text);
    buf_str(out, n->next ? "}," : "}");
  }
  buf_str(out, "],\"help\":");
  if (x->help)
    buf_json(out, x->help);
  else
    buf_str(out, "null");
  buf_str(out, "}\n");
}

void diag_render_json(const Diags *d, StrBuf *out) {
  for (int i = 0; i < d->n; i++) put_json(d, &d->at[i], out);
}
