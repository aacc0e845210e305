/* build.h -- making kernels by hand.
 *
 *   KB *b = kb_new(alloc, "relu");
 *   KE n = kb_sym(b, "n");
 *   uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 1, &n), y = kb_buf(b, K_OUT, "y", DT_f32, 1, &n);
 *   KE i = kb_for(b, n, K_PARALLEL);
 *   kb_store(b, y, &i, kb_max(b, kb_load(b, x, &i), kb_float(b, DT_f32, 0)));
 *   kb_end(b);
 *   Kernel *k = kb_done(b);
 *
 * Nodes are hash-consed and integer arithmetic is folded (x * 1, x + 0,
 * constants).  Misuse by our own code is recorded (kb_done also verifies), and
 * kb_done then returns NULL with the reason in kb_error until kb_drop.  A
 * refused allocation too.  The kernel belongs to the allocator.              */
#ifndef RVM_KERNEL_BUILD_H
#define RVM_KERNEL_BUILD_H
#include "kernel/kernel.h"

typedef struct KB KB;
KB      *kb_new(KAlloc a, const char *name);
Kernel  *kb_done(KB *b);                     /* ends the builder when it succeeds */
const char *kb_error(const KB *b);           /* NULL while all is well         */
void     kb_drop(KB *b);                     /* ends a builder without a kernel */
void     kernel_free(Kernel *k, KAlloc a);   /* of kb_done: it is one block    */

KE       kb_sym(KB *b, const char *name);    /* a new symbol; read it any time */
/* Parameters must all be declared before locals. */
uint32_t kb_buf(KB *b, KBufRole role, const char *name, DType t, int rank, const KE *dim);

/* ---- expressions ---------------------------------------------------------- */
DType    kb_type(const KB *b, KE e);
KE       kb_int(KB *b, int64_t v);                       /* i64                */
KE       kb_num(KB *b, DType t, int64_t v);              /* v as any dtype     */
KE       kb_float(KB *b, DType t, double v);
KE       kb_bool(KB *b, bool v);
KE       kb_bits_const(KB *b, DType t, uint64_t bits);
bool     kb_is_int(const KB *b, KE e, int64_t *v);       /* an integer constant? */
KE       kb_op(KB *b, SOp op, KE x, KE y, KE z);         /* unused: KE_NONE    */
KE       kb_cast(KB *b, KE x, DType t);                  /* itself if already t */
KE       kb_bitcast(KB *b, KE x, DType t);
KE       kb_load(KB *b, uint32_t buf, const KE *index);
KE       kb_load_or(KB *b, uint32_t buf, const KE *index, KE fallback);
static inline KE kb_add(KB *b, KE x, KE y) { return kb_op(b, S_add, x, y, KE_NONE); }
static inline KE kb_sub(KB *b, KE x, KE y) { return kb_op(b, S_sub, x, y, KE_NONE); }
static inline KE kb_mul(KB *b, KE x, KE y) { return kb_op(b, S_mul, x, y, KE_NONE); }
static inline KE kb_div(KB *b, KE x, KE y) { return kb_op(b, S_div, x, y, KE_NONE); }
static inline KE kb_fdiv(KB *b, KE x, KE y) { return kb_op(b, S_fdiv, x, y, KE_NONE); }
static inline KE kb_fmod(KB *b, KE x, KE y) { return kb_op(b, S_fmod, x, y, KE_NONE); }
static inline KE kb_min(KB *b, KE x, KE y) { return kb_op(b, S_min, x, y, KE_NONE); }
static inline KE kb_max(KB *b, KE x, KE y) { return kb_op(b, S_max, x, y, KE_NONE); }
static inline KE kb_eq(KB *b, KE x, KE y)  { return kb_op(b, S_eq, x, y, KE_NONE); }
static inline KE kb_ne(KB *b, KE x, KE y)  { return kb_op(b, S_ne, x, y, KE_NONE); }
static inline KE kb_lt(KB *b, KE x, KE y)  { return kb_op(b, S_lt, x, y, KE_NONE); }
static inline KE kb_le(KB *b, KE x, KE y)  { return kb_op(b, S_le, x, y, KE_NONE); }
static inline KE kb_and(KB *b, KE x, KE y) { return kb_op(b, S_and, x, y, KE_NONE); }
static inline KE kb_or(KB *b, KE x, KE y)  { return kb_op(b, S_or, x, y, KE_NONE); }
static inline KE kb_not(KB *b, KE x)       { return kb_op(b, S_not, x, KE_NONE, KE_NONE); }
static inline KE kb_un(KB *b, SOp op, KE x) { return kb_op(b, op, x, KE_NONE, KE_NONE); }
static inline KE kb_select(KB *b, KE c, KE x, KE y) { return kb_op(b, S_select, c, x, y); }
static inline KE kb_clamp(KB *b, KE x, KE lo, KE hi) { return kb_min(b, kb_max(b, x, lo), hi); }

/* ---- statements ----------------------------------------------------------- */
KE   kb_for(KB *b, KE extent, KLoopKind kind);           /* the loop variable  */
/* A serial loop with carried values; carried[i] is readable inside (value so
 * far) and after the matching kb_end_carry (final value). */
KE   kb_for_carry(KB *b, KE extent, int n, const KE *init, KE *carried);
void kb_end_carry(KB *b, const KE *next);
void kb_if(KB *b, KE cond);
void kb_end(KB *b);                                      /* of kb_for, kb_if   */
KE   kb_let(KB *b, KE e);
void kb_store(KB *b, uint32_t buf, const KE *index, KE value);
void kb_check(KB *b, KE cond, const char *message);
/* Reduction: open the loops, build the value from vars, close. */
void kb_reduce_begin(KB *b, int n, const KE *extent, KE *vars);
KE   kb_reduce_end(KB *b, SOp op, KE init, KE value);
/* Contraction: open, build A and B from the variables, name the accumulator;
 * then the epilogue (lets and stores over the parallel variables), then end. */
void kb_contract_begin(KB *b, int n_par, const KE *par_extent, KE *par,
                       int n_red, const KE *red_extent, KE *red);
KE   kb_contract_acc(KB *b, DType acc, KE x, KE y);   /* casts x and y to acc   */
void kb_contract_end(KB *b);
#endif
