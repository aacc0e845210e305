/* diag.h -- diagnostics: what the user did, where, and what would work.
 *
 * Every message has a number and a template in base/diag.def.  A function
 * that fails because of the user's program reports here and returns NULL or
 * false; it never prints.  The driver (cli/) renders what has been collected.
 * After diag.limit errors further ones are counted but not kept.             */
#ifndef RVM_BASE_DIAG_H
#define RVM_BASE_DIAG_H
#include <stdbool.h>
#include "base/source.h"
#include "base/str.h"

typedef enum {
#define DIAG(code, text) code,
#include "base/diag.def"
#undef DIAG
  DIAG_CODES
} DiagCode;

typedef enum { DIAG_ERROR, DIAG_WARNING } DiagLevel;
typedef struct DiagNote { Span span; const char *text; struct DiagNote *next; } DiagNote;
typedef struct {
  DiagCode code;  DiagLevel level;  Span span;
  const char *text;                /* the finished sentence                   */
  DiagNote *notes;                 /* "note: ..." with places, in order       */
  const char *help;                /* "help: ...", or NULL                    */
} Diagnostic;

typedef struct Diags {
  const Sources *sources;
  Diagnostic *at;  int n, cap;
  int n_errors, limit;             /* limit: 20 unless changed                */
} Diags;

Diags *diags_new(const Sources *sources);
/* Reports; the arguments fill the template of code.  Returns false, always,
 * so that a caller can `return diag_error(...)`. */
bool   diag_error(Diags *d, Span at, DiagCode code, ...);
void   diag_warning(Diags *d, Span at, DiagCode code, ...);
/* Attach to the diagnostic reported last. */
void   diag_note(Diags *d, Span at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void   diag_help(Diags *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *diag_code_name(DiagCode c);            /* "E0310"                  */
const char *diag_code_template(DiagCode c);
/* Render as file:line:col with the source line and a caret / as one JSON
 * object per line.  Control bytes from the source are escaped. */
void   diag_render(const Diags *d, StrBuf *out, bool colour);
void   diag_render_json(const Diags *d, StrBuf *out);
/* The line of a source with a caret below the column, for places that only
 * have numbers; nothing if there is no such place. */
void   diag_excerpt(const Diags *d, const char *path, int line, int col, StrBuf *out, bool colour);
#endif
