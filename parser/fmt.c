/* fmt.c -- `rvm fmt`: spacing, indentation and line breaks by tokens.
 *
 * Braces hold lines: after `{`, `;` and `,` a new one, unless the braces stood
 * on one line and hold one expression.  Inside parentheses and brackets the
 * author's line breaks stay.  A bracket is `broken` when its inside starts on
 * a line of its own, two columns deeper than the line of the bracket; any other
 * continuation is four deeper.  All that decides is the tokens and which of
 * them begin a line, and the output gives the same answers: it is a fixpoint.
 * Comments are tokens; #[metadata] and what follows is copied.                */
#include "parser/lex.h"
#include "parser/parser.h"

typedef struct {
  Token t;
  int lines;   /* newlines in front of it                        */
  int match;   /* brackets: the other one                        */
  bool broken; /* brackets, both                                 */
  bool attr;   /* the = of key=value                             */
  bool unary;  /* - and ! in front of an operand                 */
} FmtToken;
typedef VEC(FmtToken) FmtTokens;

typedef struct {
  bool broken, brace;
  int outer, inner;
} Level; /* indentation */

typedef struct {
  const char *text;
  size_t n;
  FmtTokens toks;
  size_t meta; /* where #[metadata] starts, or n                 */
  VEC(Level) levels;
  StrBuf out;
  int indent;      /* of the line being written                      */
  int line_levels; /* brackets that were open where it began         */
  bool result;     /* it began with the -> of a result type          */
} Fmt;

/* ---- reading ------------------------------------------------------------------ */

static bool is_open(Tok k) { return k == T_LPAREN || k == T_LBRACE || k == T_LBRACK; }
static bool is_close(Tok k) { return k == T_RPAREN || k == T_RBRACE || k == T_RBRACK; }
static bool is_line_comment(const Token *t) { return t->kind == T_COMMENT && t->s[1] == '/'; }

static int count_lines(const char *from, const char *to) {
  int n = 0;
  for (; from < to; from++) n += *from == '\n';
  return n;
}

static void read_tokens(Fmt *f, uint32_t file, Diags *d) {
  Lexer lx = {.text = f->text, .n = f->n, .file = file, .d = d, .comments = true};
  size_t end = 0;
  f->meta = f->n;
  for (Token t = lex_next(&lx); t.kind != T_EOF; t = lex_next(&lx)) {
    if (t.kind == T_METADATA) {
      f->meta = t.span.at;
      return;
    }
    FmtToken k = {.t = t, .match = -1, .lines = count_lines(f->text + end, f->text + t.span.at)};
    vec_push(&f->toks, k);
    end = t.span.at + t.span.len;
  }
}

static Tok closer_of(Tok open) {
  return open == T_LPAREN ? T_RPAREN : open == T_LBRACE ? T_RBRACE : T_RBRACK;
}

static bool match_brackets(Fmt *f, Diags *d) {
  VEC(int) open = {0};
  for (int i = 0; i < f->toks.n; i++) {
    FmtToken *t = &f->toks.at[i];
    if (is_open(t->t.kind)) vec_push(&open, i);
    if (!is_close(t->t.kind)) continue;
    if (open.n == 0) return diag_error(d, t->t.span, E0103, "a definition", tok_text(t->t.kind));
    int o = vec_pop(&open);
    Tok want = closer_of(f->toks.at[o].t.kind);
    if (want != t->t.kind) {
      diag_error(d, t->t.span, E0103, tok_text(want), tok_text(t->t.kind));
      diag_note(d, f->toks.at[o].t.span, "opened here");
      return false;
    }
    t->match = o;
    f->toks.at[o].match = i;
  }
  if (open.n == 0) return true;
  const Token *t = &f->toks.at[vec_last(&open)].t;
  return diag_error(d, t->span, E0102, tok_text(t->kind));
}

/* ---- deciding what is broken ----------------------------------------------------- */

typedef struct {
  int open;
  bool semi, newline, inner;
} Inside;

/* `(`: the author began a line, or it holds statements.  `{`: any line break
 * inside, one that will come included. */
static bool decide(const Fmt *f, const Inside *in, int close) {
  const FmtToken *o = &f->toks.at[in->open];
  if (close == in->open + 1) return false;
  if (o->t.kind == T_LBRACE) return in->newline || in->semi || in->inner;
  const FmtToken *first = &f->toks.at[in->open + 1];
  return in->semi || first->lines > 0 || is_line_comment(&first->t);
}

static void mark_broken(Fmt *f) {
  VEC(Inside) stack = {0};
  for (int i = 0; i < f->toks.n; i++) {
    FmtToken *t = &f->toks.at[i];
    if (stack.n && t->lines > 0) vec_last(&stack).newline = true;
    if (stack.n && t->t.kind == T_SEMI) vec_last(&stack).semi = true;
    if (is_open(t->t.kind)) {
      Inside in = {.open = i};
      vec_push(&stack, in);
    }
    if (!is_close(t->t.kind)) continue;
    Inside in = vec_pop(&stack);
    bool broken = decide(f, &in, i);
    t->broken = f->toks.at[in.open].broken = broken;
    if (!stack.n) continue;
    vec_last(&stack).inner |= broken || in.inner;
    vec_last(&stack).newline |= in.newline;
  }
}

/* ---- deciding roles ------------------------------------------------------------------ */

static bool is_operator(Tok k) { return k >= T_EQ && k <= T_PERCENT; }

static bool before_operand(Tok k) {
  return is_open(k) || is_operator(k) || k == T_COMMA || k == T_ASSIGN || k == T_FAT ||
         k == T_SEMI || k == T_BANG || k == T_ANDAND || k == T_OROR || k == T_EOF;
}

/* In `let %x: float32 = 1f` the = follows a name but is no attribute's. */
static void mark_roles(Fmt *f) {
  VEC(bool) let = {0};
  Tok prev = T_EOF;
  vec_push(&let, false);
  for (int i = 0; i < f->toks.n; i++) {
    FmtToken *t = &f->toks.at[i];
    Tok k = t->t.kind;
    if (k == T_COMMENT) continue;
    if (is_open(k)) vec_push(&let, false);
    if (is_close(k)) let.n--;
    if (k == T_LET) vec_last(&let) = true;
    if (k == T_ASSIGN) {
      t->attr = !vec_last(&let) && (prev == T_IDENT || prev >= T_LET);
      vec_last(&let) = false;
    }
    t->unary = k == T_BANG || (k == T_MINUS && before_operand(prev));
    prev = k;
  }
}

/* ---- spaces ------------------------------------------------------------------------------ */

static bool is_name(Tok k) { return k == T_LOCAL || k == T_GRAPH || k == T_GLOBAL || k == T_IDENT; }

static bool calls(const FmtToken *a) {
  Tok k = a->t.kind;
  return is_name(k) || k == T_RPAREN || k == T_RBRACK || k == T_REF || k == T_REF_READ ||
         k == T_REF_WRITE || k == T_INT || k == T_FLOAT;
}

static bool space_between(const FmtToken *a, const FmtToken *b) {
  Tok x = a->t.kind, y = b->t.kind;
  if (y == T_COMMENT) return true;
  if (x == T_COMMENT) return !is_close(y) && y != T_COMMA && y != T_SEMI;
  if (y == T_COMMA || y == T_SEMI || y == T_COLON || y == T_DOT || x == T_DOT) return false;
  if (x == T_LBRACE && y == T_RBRACE) return false;
  if (x == T_LPAREN || x == T_LBRACK || y == T_RPAREN || y == T_RBRACK) return false;
  if (a->unary || a->attr || b->attr) return false;
  if (y == T_LPAREN) return !calls(a);
  if (y == T_LBRACK) return !is_name(x) && x != T_RBRACK;
  return true;
}

/* ---- lines --------------------------------------------------------------------------------- */

typedef struct {
  int lines;
  bool statement;
} Break; /* lines: 0 none, 1 new line, 2 with a blank one */

static bool starts_item(const FmtToken *prev, Tok k) {
  if (k == T_TYPE) return !prev || prev->t.kind != T_EXTERN;
  return k == T_DEF || k == T_EXTERN;
}

static bool is_import(const FmtToken *t) {
  return t->t.kind == T_IDENT && t->t.n == 6 && memcmp(t->t.s, "import", 6) == 0;
}

/* What may stand behind the } of a block on its line. */
static bool follows_block(Tok k) {
  return k == T_ELSE || k == T_DOT || k == T_LPAREN || k == T_ANDAND || k == T_OROR ||
         is_operator(k);
}

static bool never_breaks_before(Tok k) {
  return k == T_SEMI || k == T_COMMA || k == T_COLON || k == T_DOT || k == T_LBRACE ||
         k == T_ELSE || k == T_ASSIGN || is_close(k);
}

static int at_most(int n, int max) { return n < max ? n : max; }

static bool is_header(Tok k) { return k == T_VERSION || k == T_DERIVED; }

/* Outside all brackets: definitions one blank line apart. */
static Break top_break(const FmtToken *prev, const FmtToken *code, const FmtToken *t) {
  bool comment = t->t.kind == T_COMMENT;
  if (is_header(t->t.kind)) return (Break){1, true};
  bool after_comment = prev->t.kind == T_COMMENT && (prev->lines > 0 || !code);
  bool ended =
      !code || is_header(code->t.kind) || code->t.kind == T_RBRACE || code->t.kind == T_SEMI;
  if (comment && t->lines == 0) return (Break){0, false};
  if (comment) return (Break){after_comment || !ended ? at_most(t->lines, 2) : 2, true};
  if (!starts_item(code, t->t.kind) && !is_import(t) && !ended) return (Break){t->lines > 0, false};
  if (after_comment) return (Break){t->lines > 1 ? 2 : 1, true};
  if (is_import(t) && code && code->t.kind == T_STRING) return (Break){t->lines > 1 ? 2 : 1, true};
  if (!starts_item(code, t->t.kind) && code && code->t.kind == T_SEMI)
    return (Break){t->lines > 1 ? 2 : 1, true};
  return (Break){2, true};
}

/* Does the code token end a statement of the innermost bracket? */
static bool ends_statement(const FmtToken *code, const Level *in, const FmtToken *next) {
  Tok k = code->t.kind;
  if (k == T_SEMI) return true;
  if (is_open(k)) return code->broken;
  if (!in->brace || !in->broken) return false;
  return k == T_COMMA || (k == T_RBRACE && code->broken && !follows_block(next->t.kind));
}

/* prev: the token before t; code: the last that is no comment. */
static Break break_before(const Fmt *f, const FmtToken *prev, const FmtToken *code,
                          const FmtToken *t) {
  if (!prev) return (Break){0, true};
  Tok k = t->t.kind;
  if (is_close(k) && t->broken) return (Break){1, true};
  if (f->levels.n == 0 && !is_close(k)) return top_break(prev, code, t);
  const Level *in = f->levels.n ? &vec_last(&f->levels) : NULL;
  bool after_line = is_line_comment(&prev->t);
  bool ended = in && code && ends_statement(code, in, t);
  bool item = in && in->broken && code && code->t.kind == T_COMMA;
  if (is_open(prev->t.kind) && prev->broken && !(is_line_comment(&t->t) && t->lines == 0))
    return (Break){1, true};
  if (k == T_COMMENT && t->lines == 0) return (Break){0, false};
  if (ended && (!never_breaks_before(k) || after_line || k == T_LBRACE))
    return (Break){t->lines > 1 ? 2 : 1, true};
  if (after_line) return (Break){1, ended || item};
  if (never_breaks_before(k) || (k == T_LPAREN && !space_between(prev, t)))
    return (Break){0, false};
  return (Break){t->lines > 0, item};
}

static void put_break(Fmt *f, Break b, int indent) {
  while (f->out.n && f->out.s[f->out.n - 1] == ' ') f->out.s[--f->out.n] = 0;
  for (int i = 0; i < b.lines; i++) buf_char(&f->out, '\n');
  for (int i = 0; i < indent; i++) buf_char(&f->out, ' ');
  f->indent = indent;
  f->line_levels = f->levels.n;
}

static int inner_indent(const Fmt *f) {
  for (int i = f->levels.n - 1; i >= 0; i--)
    if (f->levels.at[i].broken) return f->levels.at[i].inner;
  return 0;
}

static int indent_for(const Fmt *f, const FmtToken *t, Break b) {
  if (is_close(t->t.kind) && t->broken && f->levels.n) return vec_last(&f->levels).outer;
  return inner_indent(f) + (b.statement ? 0 : 4);
}

static void put_token(Fmt *f, const Token *t) {
  if (t->kind == T_VERSION) {
    buf_fmt(&f->out, "#[version = \"%.*s\"]", (int)t->n, t->s);
    return;
  }
  const char *s = f->text + t->span.at;
  size_t n = t->span.len;
  while (t->kind == T_COMMENT && n && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r'))
    n--;
  buf_put(&f->out, s, n);
}

/* Indentation has an end: a hostile nesting would make the output quadratic. */
enum { MAX_INDENT = 200 };

static void enter(Fmt *f, const FmtToken *t) {
  /* behind parameters on several lines, or a result type on a line of its own,
   * the body is as deep as the def */
  bool of_def = f->levels.n < f->line_levels ||
                (f->result && f->levels.n == f->line_levels && t->t.kind == T_LBRACE);
  int outer = of_def ? inner_indent(f) : f->indent;
  Level l = {t->broken, t->t.kind == T_LBRACE, outer, at_most(outer + 2, MAX_INDENT)};
  vec_push(&f->levels, l);
}

static void write_tokens(Fmt *f) {
  const FmtToken *prev = NULL, *code = NULL;
  for (int i = 0; i < f->toks.n; i++) {
    const FmtToken *t = &f->toks.at[i];
    Break b = break_before(f, prev, code, t);
    if (b.lines && f->out.n) {
      put_break(f, b, indent_for(f, t, b));
      f->result = t->t.kind == T_ARROW;
    } else if (prev && space_between(prev, t))
      buf_char(&f->out, ' ');
    put_token(f, &t->t);
    if (is_close(t->t.kind)) f->levels.n--;
    if (is_open(t->t.kind)) enter(f, t);
    if (t->t.kind != T_COMMENT) code = t;
    prev = t;
  }
}

static void write_metadata(Fmt *f) {
  size_t end = f->n;
  while (end > f->meta && (f->text[end - 1] == '\n' || f->text[end - 1] == ' ')) end--;
  if (f->out.n) buf_str(&f->out, "\n\n");
  buf_put(&f->out, f->text + f->meta, end - f->meta);
}

static uint32_t file_of(const Sources *s, const char *text) {
  for (int i = 0; s && i < s->n; i++)
    if (s->at[i].text == text) return (uint32_t)i + 1;
  return 0;
}

char *format_source(const char *text, size_t n, Diags *d) {
  Fmt f = {.text = text, .n = n};
  uint32_t file = file_of(d->sources, text);
  int before = d->n_errors;
  if (!lex_check_text(text, n, file, d)) return NULL;
  read_tokens(&f, file, d);
  if (d->n_errors > before || !match_brackets(&f, d)) return NULL;
  mark_broken(&f);
  mark_roles(&f);
  write_tokens(&f);
  if (f.meta < n) write_metadata(&f);
  if (f.out.n) buf_char(&f.out, '\n');
  return (char *)buf_text(&f.out);
}
