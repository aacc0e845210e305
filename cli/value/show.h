/* show.h -- results: as text of the language, as tensors, against a reference. */
#ifndef RVM_CLI_SHOW_H
#define RVM_CLI_SHOW_H
#include <stdio.h>
#include <rvm/rvm.h>
#include "cli/file/tensor_file.h"

typedef struct { bool types, full; } ShowOpts;

/* One line: 5, 1.5f, 9i64, True, (1, 2), Cons(1, Nil), [[1, 2.5], [3, 4]].
 * Digits are the fewest that read back to the same value.  Tensors of more
 * than 1000 elements show the first and last three of each axis, unless full.
 * types adds " : TYPE", with the extents the tensors have.  Functions and
 * references show as <function> and <ref>. */
void show_value(const rvm_program *p, rvm_instance *vm, rvm_value v, const ShowOpts *o, FILE *to);

/* The tensor leaves, copied, depth first: "out", or "out.0", "out.1", ... when
 * the result is not itself a tensor. */
void values_to_set(const rvm_program *p, rvm_instance *vm, rvm_value v, TensorSet *out);

/* Are the two sets equal: the same names, element types and shapes; integers
 * and bools equal, floats within atol + rtol * |want|, NaN equal to NaN?  A
 * bfloat16 may meet a float32, which is what .npz makes of it.  The report has
 * one line per tensor: the largest absolute and relative error, and where the
 * first difference is. */
bool compare_sets(const TensorSet *got, const TensorSet *want, double rtol, double atol,
                  StrBuf *report);

/* "Tensor[(2, ?), float32]", "int32"; extents of -1 are unknown. */
void type_text_of(DType t, int rank, const int64_t *dim, StrBuf *out);
/* The type as text: Tensor[(?, 64), float32], (int32, bool), List[int32]. */
const char *type_of_value(const rvm_program *p, rvm_type t);
/* [[1, 2], [3, 4]]; a scalar as a literal. */
void tensor_text(const Tensor *t, bool full, StrBuf *out);
#endif
