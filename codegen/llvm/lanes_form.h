/* lanes_form.h -- private to lanes*.c: the form that each node has as a function of one
 * variable, in e->form and, if linear, e->coef.                              */
#ifndef RVM_CODEGEN_LLVM_LANES_FORM_H
#define RVM_CODEGEN_LLVM_LANES_FORM_H
#include "codegen/llvm/emit.h"

typedef enum { UNIFORM, LINEAR, VARYING } Form;

/* Is v a constant number? */
bool form_constant(Val v, int64_t *out);
/* Of all nodes up to root; of the indices of a store. */
void form_find(Emit *e, KE root, uint32_t var);
void form_find_store(Emit *e, const KStmt *s, uint32_t var);
/* Of another variable, made by a let; until e->var_form is cleared. */
void form_let(Emit *e, uint32_t var, Form f, int64_t coef);
/* The elements an address moves by per lane; false: an index varies, or a dim
 * is no constant. */
bool form_moves_by(Emit *e, uint32_t buf, uint32_t pool, int64_t *stride);
/* Marks in e->need what root is made of; the indices of loads only if asked. */
void form_need(Emit *e, KE root, bool indices);
#endif
