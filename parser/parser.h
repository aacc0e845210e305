/* parser.h -- text of the language to IR, and to tidier text.
 *
 * The parser gives A-normal blocks at once: nested expressions become
 * bindings from left to right, so the order of evaluation is that of the text.
 * Names are resolved, types are not inferred: Var.annot and Fn.ret hold what
 * was written (TY_Meta for `_`), Expr.type is NULL, op_attrs and inst of calls
 * are NULL.  The language: docs/language.md.                                 */
#ifndef RVM_PARSER_PARSER_H
#define RVM_PARSER_PARSER_H
#include "base/diag.h"
#include "ir/op.h"

/* One file of src, without imports or prelude.  NULL after reporting. */
Module *parse_module(IrCtx *cx, Sources *src, uint32_t file, Diags *d);

/* A program (where it has no text, the file of its name is read), what it
 * imports (beside that file, then the n_lib files of lib, "nn.rly"; of lib
 * alone "std/nn.rly", and what its own files import), and the prelude if lib has
 * "prelude.rly".  A definition of the program replaces the
 * library's of the same name in the whole program.  Definitions of the library
 * that the program does not reach are not in the module.  A file that is a
 * bare expression is read as @main, its free_vars as the parameters.  NULL
 * after reporting. */
Module *load_program(IrCtx *cx, Sources *src, TextFile program, const TextFile *lib, int n_lib,
                     Diags *d);

/* The text with canonical spacing, indentation and line breaks (those inside
 * parentheses are kept).  All comments stay; formatting the result changes
 * nothing.  NULL after reporting (unknown characters, unbalanced brackets). */
char *format_source(const char *text, size_t n, Diags *d);
#endif
