/* ops.c -- the array of all operators, made from the lists of names.         */
#include "stdlib/stdlib.h"

#define OP(name) extern const OpDef op_##name;
#include "stdlib/ops.def"
#undef OP

const OpDef *const stdlib_ops[] = {
#define OP(name) &op_##name,
#include "stdlib/ops.def"
#undef OP
};
const int stdlib_n_ops = (int)(sizeof stdlib_ops / sizeof *stdlib_ops);
