/* print_int.h -- what the files of ir/print*.c share; nobody else includes it. */
#ifndef RVM_IR_PRINT_INT_H
#define RVM_IR_PRINT_INT_H
#include "ir/expr.h"
#include "ir/print_type.h"

/* ---- print_const.c: constants ---- */

/* The tensors of the metadata section, equal ones once. */
typedef struct { Map by_hash, by_ptr;  VEC(const Tensor *) all; } ConstTable;
int  const_index(ConstTable *t, const Tensor *c);
/* "\n#[metadata]\n{...}\n" as TVM writes it; nothing when there are none. */
void const_table_print(const ConstTable *t, StrBuf *out);
/* A scalar as a literal; false when it has none and must go to the table. */
bool const_print_literal(const Tensor *c, bool relay, StrBuf *out);

/* ---- print_names.c: unique names ---- */

/* Names given out.  text: object -> name; used: name -> number to try next. */
typedef struct { SymTab *syms;  Map text, used; } Names;
/* The name of an object: its own name made an identifier, or base when it has
 * none; with a number appended if another object has that name already. */
const char *names_of(Names *n, const void *object, Sym own, const char *base);
#endif
