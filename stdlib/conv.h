/* conv.h -- convolutions for other families: relation, meaning, attributes.
 *
 * Of a record with more than two arguments (data, weight, zero point of data,
 * zero point of the weight, scales) the zero points are taken off first, data
 * is padded with its zero point, and element types may differ.               */
#ifndef RVM_STDLIB_CONV_H
#define RVM_STDLIB_CONV_H
#include "stdlib/relkit.h"

bool conv_rel(Rel *r); /* variant: spatial dimensions    */
bool conv_lower(OpPlan *p);
bool conv_transpose_rel(Rel *r);
bool conv_transpose_lower(OpPlan *p);

#define CONV_ATTRS(data, kernel)                                                                   \
  {"padding", A_Ints, "[0]",                                                                       \
   "zeros around: one value, one per axis, or all before then all after"},                         \
      {"dilation", A_Ints, "[1]", "distance between kernel taps"},                                 \
      {"groups", A_Int, "1", "independent groups of channels"},                                    \
      {"channels", A_Int, "None", "output channels, for checking"},                                \
      {"kernel_size", A_Ints, "None", "kernel extents, for checking"},                             \
      {"data_layout", A_Str, data, "axes of data"},                                                \
      {"kernel_layout", A_Str, kernel, "axes of the weight"},                                      \
      {"out_layout", A_Str, "", "axes of the result; data_layout if empty"},                       \
      {"out_dtype", A_DType, "", "element type of the result and the sum; that of data if empty"}, \
  {                                                                                                \
    "strides", A_Ints, "[1]", "step of the window"                                                 \
  }
#endif
