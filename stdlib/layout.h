/* layout.h -- layout strings: NCHW, NHWC, NCHW8c, OIHW4i8o.
 *
 * An upper-case letter is an axis; a number and the lower-case letter is its
 * inner part of that size.  The logical extent of C in NCHW8c is the extent of
 * C times 8, and logical index c stands at (c / 8, c % 8).                   */
#ifndef RVM_STDLIB_LAYOUT_H
#define RVM_STDLIB_LAYOUT_H
#include "stdlib/opk.h"
#include "typeinfer/rel.h"

typedef struct { char letter;  int64_t inner; } LayoutAxis;      /* inner: 0 for the outer part */
typedef struct { int n;  LayoutAxis axis[MAX_RANK]; } Layout;

/* false when text is no layout. */
bool layout_parse(const char *text, Layout *out);
/* The same, reporting against attribute attr, and demanding that exactly the
 * letters of `letters` occur. */
bool layout_want(Rel *r, const char *attr, const char *text, const char *letters, Layout *out);
/* Operand i has as many axes as l, and inner parts of their sizes; else an error. */
bool layout_of_operand(Rel *r, int i, const Layout *l);
/* Logical extents are whole blocks of l; else an error. */
bool layout_whole(Rel *r, const Layout *l, const char *letters, const Dim *extent);
int64_t layout_factor(const Layout *l, char letter);             /* 1 if not split */
/* Logical extent of letter in a shape laid out as l. */
Dim  layout_extent(DimTab *t, const Layout *l, const Dim *dim, char letter);
/* A shape from logical extents: extent(letter) for each letter of letters. */
void layout_shape(DimTab *t, const Layout *l, const char *letters, const Dim *extent, Dim *out);
/* A physical index from logical ones. */
void layout_index(OpK *k, const Layout *l, const char *letters, const KE *logical, KE *out);

/* ---- windows: strides, padding and their like ---------------------------------- */
enum { MAX_SPATIAL = 3 };
/* Has the attribute no value, one or n, each in [least, 2^31]?  Else an error. */
bool window_want(Rel *r, const char *name, int n, int64_t least);
/* Is every padding in [0, 2^31]?  Else an error. */
bool window_want_padding(Rel *r, int n, const int64_t *before, const int64_t *after);
/* n values of an attribute: a lone one stands for all, an empty list for dflt. */
void window_ints(const OpAttrs *a, const char *name, int n, int64_t dflt, int64_t *out);
/* padding: one value for all, one per dimension, or all before then all after;
 * false when it has another number of values. */
bool window_padding(const OpAttrs *a, int n, int64_t *before, int64_t *after);
#endif
