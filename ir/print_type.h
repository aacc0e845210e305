/* print_type.h -- dims and types as text, under names the caller chooses.
 *
 * The text does not depend on the ids of the dims in it: the operands of
 * commutative operations come in the order of their own text.  So a program
 * read back from its text prints the same bytes again.                       */
#ifndef RVM_IR_PRINT_TYPE_H
#define RVM_IR_PRINT_TYPE_H
#include "ir/type.h"

/* What the symbols and type variables are called; a NULL callback means by
 * their own name.  relay: only what TVM reads (symbolic extents become ?). */
typedef struct {
  const char *(*dim)(void *ud, Dim s);
  const char *(*tyvar)(void *ud, TyVar *v);
  void *ud;
  bool relay;
} TextNames;

/* names may be NULL. */
void type_print_as(Type *t, const TextNames *names, StrBuf *out);
#endif
