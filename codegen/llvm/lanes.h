/* lanes.h -- inside codegen/llvm: expressions and statements for several values
 * of one variable at once, one per lane of a vector.                         */
#ifndef RVM_CODEGEN_LLVM_LANES_H
#define RVM_CODEGEN_LLVM_LANES_H
#include "codegen/llvm/emit.h"

typedef struct {
  Emit *e;
  unsigned n;                                /* lanes                         */
  uint32_t var;                              /* e->var has its value in lane 0; KE_NONE: no
                                                lane differs                  */
  Val mask;                                  /* <n x i1>, the lanes that are there; NULL: all are */
} Lanes;

/* May expression root be taken with l?  Uses neither l->e's builder nor l->mask. */
bool lanes_takes(const Lanes *l, KE root);
/* The vector of its values; equal in all lanes if nothing in it differs.  In
 * lanes that are not there: anything. */
Val lanes_expr(const Lanes *l, KE root);
/* The same for statements [from, to): lets, stores and checks; acc: a variable
 * whose value is a vector, or KE_NONE. */
bool lanes_takes_body(const Lanes *l, uint32_t acc, uint32_t from, uint32_t to);
void lanes_body(const Lanes *l, uint32_t acc, uint32_t from, uint32_t to);

/* By how many elements does the address of the first load in root (or of the
 * store s) move when var grows by one?  false: not a constant.  A load that
 * does not depend on var moves by 0. */
bool load_stride(Emit *e, KE root, uint32_t var, int64_t *stride);
bool store_stride(Emit *e, const KStmt *s, uint32_t var, int64_t *stride);
/* The same of a load, as a value; NULL: it is not the same everywhere. */
Val load_stride_value(Emit *e, KE load, uint32_t var);
/* Is there a load in root one index of which depends on both? */
bool shares_index(Emit *e, KE root, uint32_t x, uint32_t y);
/* Is root linear in var, and by how much? */
bool index_uses(Emit *e, KE root, uint32_t var, int64_t *coef);
/* Does root depend on x and y only through per_x * x + per_y * y, as an index? */
bool moves_as(Emit *e, KE root, uint32_t x, int64_t per_x, uint32_t y, int64_t per_y);
/* Can (outer, inner), inner of this extent, be walked as one variable: inner
 * running over both extents while outer stays 0? */
bool one_variable(Emit *e, KE root, uint32_t outer, uint32_t inner, int64_t extent);
bool one_variable_body(Emit *e, uint32_t from, uint32_t to, uint32_t outer, uint32_t inner,
                       int64_t extent);

Val splat(Emit *e, Val x, unsigned n);
Val lanes_below(Emit *e, unsigned n, Val count); /* <n x i1>: lane < count    */
/* Memory of elements of type t (an element's) from at; mask may be NULL; align in bytes. */
Val load_lanes(Emit *e, LLVMTypeRef t, unsigned n, Val at, Val mask, unsigned align);
void store_lanes(Emit *e, Val v, Val at, Val mask, unsigned align);
/* Transpose n vectors of n lanes: lane j of row[i] and lane i of row[j] change places;
 * n: a power of two (emit_transpose.c). */
void transpose_rows(Emit *e, Val *row, unsigned n);
#endif
