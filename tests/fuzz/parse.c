/* parse.c -- any bytes through the parser, the printer and the formatter.
 * What is accepted must print to a text that reads back and prints the same,
 * and formatting must change neither the program nor its own output.          */
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "parser/parser.h"

static const char *const names[] = {
    "add",         "subtract",   "multiply", "divide",        "equal",    "not_equal",
    "less",        "less_equal", "greater",  "greater_equal", "negative", "logical_not",
    "logical_and", "logical_or", "tanh",     "exp",           "nn.dense", "concatenate",
    "reshape",     "dim",        "grad",
};
enum { N_OPS = sizeof names / sizeof *names };

static const OpDef *const *op_table(void) {
  OpDef *ops = NEW_N(OpDef, N_OPS);
  const OpDef **at = NEW_N(const OpDef *, N_OPS);
  for (int i = 0; i < N_OPS; i++) {
    memcpy(&ops[i],
           &(OpDef){.name = names[i],
                    .optional = 4,
                    .args = {{.name = "a"}, {.name = "b"}, {.name = "c"}, {.name = "d"}}},
           sizeof(OpDef));
    at[i] = &ops[i];
  }
  return at;
}

/* The printed program, or NULL when it is refused. */
static const char *print_of(const char *text, size_t n) {
  static const TextFile lib[] = {
    { "prelude.rly", "type List[A] { Cons(A, List[A]), Nil } def @id[A](%x: A) -> A { %x }", 68 },
  };
  IrCtx *cx = irctx_new();
  Sources *src = NEW(Sources);
  Diags *d = diags_new(src);
  StrBuf out = {0};
  PrintOpts o = {0};
  irctx_set_ops(cx, op_table(), N_OPS);
  Module *m = load_program(cx, src, (TextFile){ "fuzz.rly", text, n }, lib, 1, d);
  if (!m) {
    if (d->n_errors == 0) abort();           /* refused without a reason        */
    diag_render(d, &out, false);
    return NULL;
  }
  StrBuf why = {0};                          /* arity is the checker's business */
  if (!ir_verify(m, &why) && !strstr(buf_text(&why), " is called with ")) abort();
  ir_print_module(m, &o, &out);
  return buf_text(&out);
}

static void check_formatter(const char *text, size_t n, const char *meaning) {
  Sources *src = NEW(Sources);
  Diags *d = diags_new(src);
  source_add(src, "fuzz.rly", text, n);
  const char *once = format_source(text, n, d);
  if (!once) {
    if (meaning) abort();
    return;
  }
  if (!meaning) return;
  const char *again = print_of(once, strlen(once));
  if (!again || strcmp(again, meaning) != 0) abort();
  const char *twice = format_source(once, strlen(once), d);
  if (!twice || strcmp(once, twice) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  mem_init();
  const char *first = print_of((const char *)data, n);
  if (first) {
    const char *second = print_of(first, strlen(first));
    if (!second || strcmp(first, second) != 0) abort();
  }
  check_formatter((const char *)data, n, first);
  mem_release_all();
  return 0;
}
