/* interp_plan.h -- the compiler from kernels to tapes: what its files share.
 *
 * interp_plan.c walks the statements, interp_product.c does contractions,
 * interp_eval.c turns expressions into instructions, interp_tape.c finishes the
 * tape (memory of strips), interp_prepare.c holds it together.
 *
 * Frames are the code being written, innermost last.  Each frame of a loop has
 * two lists: pre (once per entry, if there is an iteration) and body.  A place
 * is 2 * frame for its pre, 2 * frame + 1 for its body; a value goes to the
 * earliest place where all it depends on is known.  Place 0 is the prologue:
 * only what depends on nothing but constants and symbols and cannot fail.
 * Loads and operations that can fail go no further out than the pre of the
 * innermost frame.  A barrier frame has a body only, and nothing leaves it.
 *
 * Inside a Vec frame c->vec is the variable that runs along the strip.  A value
 * that varies with it may be wanted as a strip, or, when it is affine in the
 * variable, as the scalar of the first lane.                                 */
#ifndef RVM_KERNEL_INTERP_PLAN_H
#define RVM_KERNEL_INTERP_PLAN_H
#include "kernel/interp_priv.h"
#include "kernel/visit.h"

enum { MAX_FRAMES = 64 };
typedef struct { Ins *at; uint32_t n, cap; } Code;
typedef struct { Code pre, body; uint32_t serial; bool barrier; } Frame;

typedef enum { BIND_None, BIND_Reg, BIND_Node } BindKind;
typedef struct { uint8_t kind; bool strip; uint32_t reg, place; KE node; } Bind;
/* A computed value: good while its frame is open and, if it read memory that
 * the kernel writes, for one statement. */
typedef struct { uint32_t reg, frame, serial, epoch; } Have;
typedef struct {
  uint32_t seen, place;
  bool varying, tainted, affine;             /* tainted: depends on memory the kernel writes */
  int64_t coef; KE factor;                   /* varying and affine: step per lane, coef * factor */
} Fact;

typedef struct Plan {
  Kernel k;                                  /* with room for a few more nodes */
  KAlloc alloc;
  KStatus status; const char *why;
  KProg *p;
  uint32_t cap_nodes, cap_regs, cap_access, cap_dims, cap_consts, cap_pool, cap_con;
  Have *have;                                /* per node: scalar, strip       */
  Fact *fact;
  Bind *bind;                                /* per variable                  */
  uint32_t *var_reg;
  bool stored[K_MAX_BUFS], loaded[K_MAX_BUFS];
  Frame frame[MAX_FRAMES];
  uint32_t top, serial, epoch, stmt_epoch;
  uint32_t vec, vec_frame;                   /* vec: KE_NONE outside strips   */
  bool vec_failed;                           /* this nest cannot run in strips */
  bool fixed;                                /* extents of buffers: all goes to the prologue */
  uint32_t *todo, n_todo, cap_todo;
  uint32_t *moves, n_moves, cap_moves;       /* carried values of the open loops */
} Plan;

bool plan_fail(Plan *c, KStatus s, const char *why);
/* Room for one more element in *array. */
bool plan_room(Plan *c, void **array, uint32_t *cap, uint32_t used, uint32_t more, size_t size);
#define PLAN_ROOM(c, array, cap, used, more) \
  plan_room(c, (void **)(array), cap, used, more, sizeof **(array))

/* interp_eval.c */
uint32_t plan_reg(Plan *c, RegKind kind, DType t);
/* A new instruction: no other operands, no flags. */
Ins      plan_ins(InsKind kind, DType t, uint32_t out, uint32_t a);
void     plan_emit(Plan *c, uint32_t place, const Ins *x);
static inline uint32_t plan_here(const Plan *c) { return 2 * c->top + 1; }
uint32_t plan_eval(Plan *c, KE e, bool strip);          /* the register         */
bool     plan_is_static(Plan *c, KE e);
/* The access of a store, its index registers computed. */
uint32_t plan_access(Plan *c, uint32_t buf, const KE *index, bool strip);
void     plan_wrap(Ins *x, DType t);
bool     plan_push_todo(Plan *c, uint32_t item);
KE       plan_resolve(const Plan *c, KE e);             /* a let of an index is the index */
KE       plan_operand(const Plan *c, KE e, uint32_t i); /* resolved             */

/* interp_plan.c */
/* Parallel loops, then what they hold: statements, or first the sum of a contraction. */
typedef struct {
  uint32_t n, var[MAX_NEST];
  KE ext[MAX_NEST];
  uint32_t stmt, contract, from, to;         /* stmt: the outermost           */
  KE product, zero;                          /* of the contraction            */
} Nest;
void     plan_body(Plan *c, uint32_t from, uint32_t to);
void     plan_nest(Plan *c, const Nest *t, uint32_t at);  /* loops from `at` on */
void     plan_push(Plan *c, bool barrier);
void     plan_pop_bare(Plan *c);                /* the body goes behind what is there */
uint32_t plan_length(const Plan *c);            /* of the body being written    */
void     plan_bind_reg(Plan *c, uint32_t var, uint32_t reg, bool strip);
uint32_t plan_bind_loop(Plan *c, uint32_t var); /* its register                 */

/* interp_product.c */
void     plan_contract(Plan *c, uint32_t s);

/* interp_tape.c */
bool plan_finish(Plan *c);
#endif
