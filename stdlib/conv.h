/* conv.h -- convolutions for other families: relation, meaning, attributes.
 *
 * Of a record with more than two arguments (data, weight, zero point of data,
 * zero point of the weight, scales) the zero points are taken off first, data
 * is padded with its zero point, and element types may differ.               */
#ifndef RVM_STDLIB_CONV_H
#define RVM_STDLIB_CONV_H
#include "stdlib/layout.h"
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

/* ---- for the files of convolutions ------------------------------------------------- */
typedef struct {
  int n;                                               /* spatial dimensions           */
  char data[MAX_SPATIAL + 3], kernel[MAX_SPATIAL + 3]; /* "NCHW", "OIHW"               */
  Layout x, w, y;
  int64_t groups, stride[MAX_SPATIAL], dilation[MAX_SPATIAL], before[MAX_SPATIAL],
      after[MAX_SPATIAL];
  int64_t out_pad[MAX_SPATIAL];
} Conv;
/* The text of an attribute, or other where it is not given or empty. */
const char *conv_text(const OpAttrs *a, const char *name, const char *other);
/* The attributes; *padding_ok: has padding as many values as it takes? */
Conv conv_read(const OpDef *op, const OpAttrs *a, bool *padding_ok);
/* The same for a relation, with all that can be checked without extents; false after reporting. */
bool conv_check(Rel *r, Conv *c);
/* Padding, strides, dilation, kernel_size. */
bool conv_windows_ok(Rel *r, const Conv *c);
/* channels and kernel_size, where they are given, agree with the weight: o and k. */
bool conv_check_given(Rel *r, const Conv *c, Dim o, const Dim *k);
DType conv_out_dtype(const OpAttrs *a, DType dflt);
/* The spatial extents of the result of x by windows of k. */
bool conv_extents(Rel *r, const Conv *c, const Dim *x, const Dim *k, Dim *out);

/* Extents of the contraction: batch, output and input channels, positions, taps. */
typedef struct {
  KE n, o, i, q[MAX_SPATIAL], k[MAX_SPATIAL];
} ConvExtents;
/* Its loop variables, parallel ones in the order of the output's memory. */
typedef struct {
  KE n, g, o, q[MAX_SPATIAL], ci, k[MAX_SPATIAL];
  KE og, cg;                                           /* channels per group           */
} ConvVars;
/* q and k of *e: of a result and a weight with these extents. */
void conv_spatial(OpK *k, const Conv *c, const Dim *y, const Dim *w, ConvExtents *e);
/* Begin the contraction; store the sum acc and end it. */
void conv_open(OpK *k, const Conv *c, const ConvExtents *e, ConvVars *v);
void conv_store(OpK *k, const Conv *c, KTensor y, const ConvVars *v, KE acc);

/* What stands outside x, and x as a factor: with its zero point taken off. */
typedef struct {
  bool used;
  KTensor at[2];                                       /* of data, of the weight       */
} ConvZeros;
ConvZeros conv_zeros(OpK *k);
KE conv_outside(OpK *k, const ConvZeros *z, DType t);
/* e, of factor i (0: data), in channel `channel`, as the sum takes it. */
KE conv_factor(OpK *k, const ConvZeros *z, int i, KE e, KE channel, DType acc);
#endif
