/* emit_stmt.h -- inside codegen/llvm: what the files that emit statements share. */
#ifndef RVM_CODEGEN_LLVM_EMIT_STMT_H
#define RVM_CODEGEN_LLVM_EMIT_STMT_H
#include "codegen/llvm/emit.h"

/* Loops to open, outermost first.  extent NULL: the variable is 0 throughout. */
typedef struct { uint32_t n, var[K_MAX_LOOPS];  Val extent[K_MAX_LOOPS]; } LoopList;
void open_loops(Emit *e, const LoopList *l, Loop *open);
void close_loops(Emit *e, const LoopList *l, Loop *open);

/* ---- emit_shape.c: questions about statements --------------------------------------- */
/* Do the variables of these loops, v inside u, only ever stand side by side as
 * indices, v's dimension being as long as v's loop?  Then they are one loop. */
bool reduce_merges(Emit *e, const KStmt *s, uint32_t i);   /* loops i and i + 1 */
bool for_merges(Emit *e, uint32_t at);                     /* with the loop that is its body */
/* Is it better to run the n iterations of this parallel loop as lanes, inside of the
 * reductions of its body: does memory lie along it and not along those? */
bool for_suits_strips(Emit *e, uint32_t at, Val n);

/* Can nothing that the statement evaluates fail, apart from its body? */
bool stmt_is_total(Emit *e, uint32_t at);

/* ---- emit_idle.c --------------------------------------------------------------------- */
/* Between the two: only if any of the statements [from, to) has an effect, as far as the
 * extents say, and if times is not NULL, is above 0. */
typedef struct { Block next; } Idle;         /* NULL: always                  */
Idle idle_begin(Emit *e, uint32_t from, uint32_t to, Val times);
void idle_end(Emit *e, const Idle *idle);
/* Nested loops around nothing but a sum: the first runs no times if another runs no times. */
void idle_sum(Emit *e, LoopList *l);

/* ---- emit_reduce.c -------------------------------------------------------------------- */
/* An accumulator: of reduce_in(start), reduce_step(acc, reduce_in(value)), and the
 * result reduce_out(acc).  any_order: LLVM may take sums in lanes. */
typedef struct { SOp op;  DType t;  bool keyed;  LLVMTypeRef type; } Reducer;
Reducer reducer(const Emit *e, const KStmt *s);
Val reduce_in(Emit *e, const Reducer *r, Val v);
Val reduce_step(Emit *e, const Reducer *r, Val acc, Val v, bool any_order);
Val reduce_out(Emit *e, const Reducer *r, Val acc);
LoopList reduce_loops(Emit *e, const KStmt *s);
void emit_reduce(Emit *e, const KStmt *s);

/* Is the loop `at`, of n iterations, a map with functions like exp, and n a multiple of two vectors
 * of floats?  Then it gains from interleaving. */
bool for_gains_from_interleaving(Emit *e, uint32_t at, Val n);

/* ---- emit_strips.c ---------------------------------------------------------------------- */
/* The loop `at` of n iterations, for_suits_strips; top: as the outermost of the loops
 * that are one with it. */
void emit_for_strips(Emit *e, uint32_t at, uint32_t top, Val n);

/* ---- emit_transpose.c ------------------------------------------------------------------- */
/* Is the loop `at`, with the one in it, a map that reads along `at` and writes along the
 * other?  If so: n iterations of it, in squares; top as above. */
bool for_transposes(Emit *e, uint32_t at);
void emit_for_transposed(Emit *e, uint32_t at, uint32_t top, Val n);

/* ---- emit_loop_hints.c ------------------------------------------------------------------ */
/* Are iterations of the loop `at` independent, though buffers in it may alias? */
bool for_is_independent(const Emit *e, uint32_t at);
/* loop_end with these hints for LLVM: iterations are independent; interleave two vectors.
 * before: the last block when the loop's body was begun. */
void loop_end_hinted(Emit *e, Loop *l, Block before, bool independent, bool interleave);

/* ---- emit_stmt.c -------------------------------------------------------------------------- */
void emit_store(Emit *e, const KStmt *s);
#endif
