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

/* Is the loop `at`, of n iterations, a map with functions like exp, that two vectors of floats at a
 * time leave nothing of? */
bool for_is_dear(Emit *e, uint32_t at, Val n);

/* ---- emit_strips.c ---------------------------------------------------------------------- */
/* The loop `at` of n iterations, for_suits_strips; top: as the outermost of the loops
 * that are one with it. */
void emit_for_strips(Emit *e, uint32_t at, uint32_t top, Val n);

/* ---- emit_turn.c ------------------------------------------------------------------------ */
/* Is the loop `at`, with the one in it, a map that reads along `at` and writes along the
 * other?  If so: n iterations of it, in squares; top as above. */
bool for_turns(Emit *e, uint32_t at);
void emit_for_turned(Emit *e, uint32_t at, uint32_t top, Val n);

/* ---- emit_apart.c ------------------------------------------------------------------------ */
/* Do iterations of the loop `at` never meet, though buffers in it may be one? */
bool for_is_apart(const Emit *e, uint32_t at);
/* loop_end that says so to LLVM if it is apart, and if two, to take two vectors at a time; before:
 * the last block when its body was begun. */
void loop_end_told(Emit *e, Loop *l, Block before, bool apart, bool two);

/* ---- emit_stmt.c -------------------------------------------------------------------------- */
void emit_store(Emit *e, const KStmt *s);
#endif
