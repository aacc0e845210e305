/* quant.h -- what the files of quantised operators share.                   */
#ifndef RVM_STDLIB_QUANT_H
#define RVM_STDLIB_QUANT_H
#include "stdlib/relkit.h"

/* Argument arg, a scale or a zero point, is a scalar, has one element, or has
 * one for each index of axis of x. */
bool quant_want_param(Rel *r, int arg, TensorTy x, int axis, const char *classes);
#endif
