/* lex.h -- text to tokens, one at a time.
 *
 * The lexer borrows the text of a Source.  It holds no state but its position,
 * so a copy of it is a look-ahead.  Mistakes are reported to d (if there is
 * one) and skipped.                                                          */
#ifndef RVM_PARSER_LEX_H
#define RVM_PARSER_LEX_H
#include <stdbool.h>
#include "base/diag.h"
#include "base/dtype.h"
#include "base/source.h"

typedef enum {
#define TOK(name, text) T_##name,
#define KEYWORD(name, text) T_##name,
#include "parser/token.def"
#undef TOK
#undef KEYWORD
  T_KINDS
} Tok;

typedef struct {
  Tok kind;
  Span span;
  const char *s;  uint32_t n;       /* name without % or @; string without quotes; literal text */
  bool line_start;                  /* a newline stands before it              */
  bool suffixed;                    /* INT, FLOAT: the element type was written */
  DType dtype;                      /* INT, FLOAT                              */
  uint64_t mag;                     /* INT: the magnitude                      */
  double f;                         /* FLOAT                                   */
} Token;

typedef struct {
  const char *text;  size_t n;  uint32_t file;
  size_t pos;
  Diags *d;                         /* NULL: say nothing                       */
  bool comments;                    /* give comments as T_COMMENT              */
  bool paths;                       /* @ is followed by a path: @dir/a.npy     */
  size_t doc_at, doc_end;           /* `///` lines before the last token; equal: none */
} Lexer;

Lexer lex_start(const Sources *src, uint32_t file, Diags *d);
Token lex_next(Lexer *lx);
/* The digits at the position (the 0 of %x.0.1), or kind T_EOF if none. */
Token lex_digits(Lexer *lx);
Tok   lex_keyword(const char *s, size_t n);       /* T_IDENT if it is none */
/* Text is UTF-8 without NUL; reports the first byte that is not. */
bool  lex_check_text(const char *text, size_t n, uint32_t file, Diags *d);
/* The value of a string token in out; false after reporting a bad escape. */
bool  lex_string(const Token *t, StrBuf *out, Diags *d);
/* The text of the doc comment, or NULL. */
char *lex_doc(const Lexer *lx);

const char *tok_text(Tok k);        /* "`;`", "a name"                         */
const char *tok_found(const Token *t);
#endif
