/* text_read.h -- the reader of kernel text: its state, words and literals
 * (text_lex.c), for the grammar (text_parse.c).                              */
#ifndef RVM_KERNEL_TEXT_READ_H
#define RVM_KERNEL_TEXT_READ_H
#include "kernel/text_priv.h"
#include "kernel/build_priv.h"

typedef enum { B_Value, B_Buf } BoundKind;
typedef struct {
  const char *name;
  size_t n;
  BoundKind kind;
  uint32_t id;
} Bound; /* KE or buffer */

typedef struct {
  const char *at, *end, *line_start;
  int line, last_line, last_col;             /* here; where the last word began */
  KTextError *err;
  bool failed;
  KAlloc a;
  KB *b;
  Bound *bound;                              /* names in scope, innermost last */
  uint32_t n_bound, cap_bound;
  KE *alias;                                 /* $0, $1 ...                    */
  uint32_t n_alias, cap_alias;
  int nest;
} Parser;

typedef struct { const char *s; size_t n; } Word;

/* ---- mistakes: the first is kept, and failed is set; all answer false -------- */
bool read_fail(Parser *p, const char *why);          /* at the last word      */
bool read_fail_next(Parser *p, const char *why);     /* at the next one       */
KE   read_fail_e(Parser *p, const char *why);        /* read_fail, KE_NONE    */
bool read_built(Parser *p);                          /* is the builder still well? */

/* ---- words ------------------------------------------------------------------ */
void read_space(Parser *p);
char read_peek(Parser *p);                           /* 0 at the end          */
bool read_is_next(Parser *p, const char *s);         /* a word must end there */
bool read_accept(Parser *p, const char *s);
bool read_expect(Parser *p, const char *s);
bool read_word(Parser *p, Word *w);
bool read_peek_word(Parser *p, Word *w);
void read_copy_word(const Word *w, char out[TEXT_MAX_NAME + 1]);
bool read_is_word(const Word *w, const char *s);
bool read_find_dtype(const char *s, size_t n, DType *t);
bool read_dtype(Parser *p, DType *t);
/* A text in quotes, in a new block of *bytes bytes, or NULL. */
char *read_quoted(Parser *p, size_t *bytes);
bool read_small_int(Parser *p, int *v);              /* up to 99999, signed   */
KE   read_literal(Parser *p);
#endif
