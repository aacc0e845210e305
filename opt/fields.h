/* fields.h -- a match that cannot fail is a load of fields, and straight code. */
#ifndef RVM_OPT_FIELDS_H
#define RVM_OPT_FIELDS_H
#include "opt/walk.h"

/* If the first clause of the match e takes every value, its body, for the block
 * around e; out: what the body uses of the pattern's variables, each bound by a
 * match that gives one field.  NULL if another clause may be taken, if e is
 * such a match of one field, or if a field has an extent that is not in given
 * (Sym -> not NULL): it would have to be read in two places. */
Block *match_fields(IrCtx *cx, const Expr *e, const Map *given, Bindings *out);
/* Is e such a match of one field? */
bool match_is_load(const Expr *e);
#endif
