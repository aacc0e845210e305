/* hints.c -- what was probably meant where the grammar broke: signs and words of
 * other languages, a forgotten sigil or `let`.                                  */
#include "parser/parse.h"

static bool found_word(const Parser *p) { return at_tok(p, T_IDENT); }
static bool behind_value(const Parser *p) {
  return p->prev.kind == T_LOCAL || p->prev.kind == T_GRAPH || p->prev.kind == T_RPAREN;
}
static bool assigns(const Parser *p) { return at_tok(p, T_ASSIGN) && p->prev.kind == T_LOCAL; }
static bool types(const Parser *p) { return at_tok(p, T_ASSIGN) && p->prev.kind == T_IDENT; }
static bool indexes(const Parser *p) { return at_tok(p, T_LBRACK) && behind_value(p); }
static bool lists(const Parser *p) { return at_tok(p, T_LBRACK); }
static bool asks(const Parser *p) { return p->prev.kind == T_IF; }
static bool defines(const Parser *p) { return at_tok(p, T_GLOBAL) && p->prev.kind == T_FN; }
static bool counts(const Parser *p) { return at_tok(p, T_INT) || at_tok(p, T_FLOAT); }

/* By the first bytes of what was expected; %s is the word that was found. */
static const struct {
  const char *expected;
  bool (*when)(const Parser *);
  const char *help;
} hints[] = {
    {"a local name", found_word, "did you mean %%%s?"},
    {"a parameter", found_word, "did you mean %%%s?"},
    {"a global name", found_word, "did you mean @%s?"},
    {"`}`", assigns, "a name is bound by let: let %%x = ...;"},
    {"the end", assigns, "a name is bound by let: let %%x = ...;"},
    {"`{`", types, "write type T { A(int32), B }"},
    {"`", indexes,
     "an element is take(%%x, 0, axis=0), a slice strided_slice, a tuple's field %%x.0"},
    {"an expression", lists, "a list is Cons(1, Cons(2, Nil)), a tuple (1, 2)"},
    {"`(`", asks, "the condition stands in parentheses: if (%%x > 1) { ... } else { ... }"},
    {"`(`", defines, "a definition starts with def"},
    {"a pattern", counts, "a pattern tells constructors apart; numbers are compared with if"},
};

void hint_expected(Parser *p, const char *what) {
  for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
    if (strncmp(what, hints[i].expected, strlen(hints[i].expected)) || !hints[i].when(p)) continue;
    const char *word = found_word(p) ? tok_sym(p, &p->tok) : "";
    diag_help(p->d, hints[i].help, word);
    return;
  }
}

const char *hint_word(const char *word) {
  static const char loop[] = "there are no loops: a function calls itself (such a call at its end "
                             "takes no space), or see map, foldl and iterate of the prelude";
  static const struct {
    const char *word, *help;
  } known[] = {
      {"return", "the last expression of a block is its value, without return"},
      {"for", loop},
      {"while", loop},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(word, known[i].word)) return known[i].help;
  return NULL;
}

const char *hint_dtype(const char *word) {
  static const struct {
    const char *word, *dtype;
  } known[] = {
      {"f16", "float16"}, {"f32", "float32"}, {"f64", "float64"},    {"i8", "int8"},
      {"i16", "int16"},   {"i32", "int32"},   {"i64", "int64"},      {"u8", "uint8"},
      {"u16", "uint16"},  {"u32", "uint32"},  {"u64", "uint64"},     {"float", "float32"},
      {"int", "int32"},   {"long", "int64"},  {"double", "float64"}, {"half", "float16"},
      {"uint", "uint32"}, {"byte", "uint8"},  {"boolean", "bool"},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(word, known[i].word)) return known[i].dtype;
  return NULL;
}
