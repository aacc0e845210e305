/* opk.h -- writing an operator's kernel over the operands of its plan.
 *
 *   static bool lower_softmax(OpPlan *p) {
 *     OpK k = opk_begin(p, "softmax");
 *     KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
 *     ... kb_* on k.b with x.buf, x.dim ...
 *     return opk_end(&k);
 *   }
 *
 * Dims become kernel constants, symbols, or arithmetic over symbols, so that
 * the verifier can relate indices to extents.  A plan may hold several
 * kernels; call opk_begin again for each.                                    */
#ifndef RVM_STDLIB_OPK_H
#define RVM_STDLIB_OPK_H
#include "ir/op.h"
#include "kernel/build.h"

typedef struct { uint32_t buf;  DType dtype;  int rank;  KE dim[K_MAX_RANK]; } KTensor;
typedef struct {
  OpPlan *p;  KB *b;
  int n_buf;  OpRef ref[K_MAX_BUFS];
  int n_sym;  Dim sym[K_MAX_SYMS];  KE sym_ke[K_MAX_SYMS];
} OpK;

OpK     opk_begin(OpPlan *p, const char *name);
KTensor opk_in(OpK *k, OpRef r);
KTensor opk_out(OpK *k, OpRef r);
KTensor opk_inout(OpK *k, OpRef r);
/* The same memory seen with other extents of equal count. */
KTensor opk_in_as(OpK *k, OpRef r, int rank, const Dim *dim);
KTensor opk_out_as(OpK *k, OpRef r, int rank, const Dim *dim);
KTensor opk_local(OpK *k, DType t, int rank, const KE *dim);   /* after all parameters */
KE      opk_dim(OpK *k, Dim d);
bool    opk_end(OpK *k);              /* reports a bug and returns false if the kernel is malformed */

/* Open n parallel loops over dim / close them. */
void opk_loops(OpK *k, int n, const KE *dim, KE *var);
void opk_close(OpK *k, int n);
/* Element of x for output index idx[0..rank) under numpy broadcasting. */
KE   opk_bcast(OpK *k, KTensor x, int rank, const KE *idx);

/* out[i] = f(in0[i], in1[i], ...) with broadcasting of the inputs to out's
 * shape; adjacent axes that no operand tells apart are merged into one loop.
 * f gets one value per input. */
typedef KE (*MapFn)(OpK *k, const KE *x, const void *ud);
bool opk_map(OpPlan *p, const char *name, int n_in, const OpRef *in, OpRef out, MapFn f, const void *ud);

/* Identity or reduction start values of a dtype. */
KE   opk_zero(OpK *k, DType t);
KE   opk_one(OpK *k, DType t);
KE   opk_lowest(OpK *k, DType t);      /* -inf, INT_MIN, 0 */
KE   opk_highest(OpK *k, DType t);
#endif
