/* spare.h -- a loop whose dead tensors and cells serve its next iteration.  Private to
 * spare*.c.  Code is read, and edits are noted per instruction; then it is written anew. */
#ifndef RVM_LOWER_SPARE_H
#define RVM_LOWER_SPARE_H
#include "codegen/lower/lower_priv.h"
#include "vm/operands.h"

enum { MAX_SPARES = 4, MAX_KEPT = 4, MAX_TEMPS = 16 };

/* ALLOC takes the memory that a register has, SHELL or DATA its cell; DROP leaves it in one. */
typedef struct { enum { E_NONE, E_TAKE, E_SHELL, E_LEAVE } kind;  uint16_t reg; } Edit;
typedef struct {
  uint32_t words;                    /* pool offset of its first ALLOC            */
  uint16_t reg;
  bool busy;
} Spare;
/* What is kept from its DROP to an ALLOC or a SHELL behind branches; ctor: as in IRegState. */
typedef struct { uint16_t reg, ctor;  uint32_t type; } Kept;

/* What becomes of a parameter's value on the way to the call of the loop itself. */
typedef struct {
  int step, pc;                      /* it is dropped there, or NOWHERE           */
  bool held;  uint32_t type;         /* where the way begins, as this             */
  const IRegState *known;            /* what the last label before its drop says of it, or NULL */
} Fate;

typedef struct {
  FnLower *f;
  const IFunc *head;
  Flow flow;
  Way way;                           /* to the call that is looked at             */
  Fate *fate;                        /* per parameter                             */
  Image m;                           /* for reading operands: the pool only       */
  Edit *edit;                        /* per instruction                           */
  int n_regs;                        /* of the code as it is                      */
  int *origin;                       /* per register: the ALLOC of what it alone has, or NOWHERE */
  uint32_t *type;                    /* and what that has become by REUSE         */
  int n_spares, n_places;
  Spare spare[MAX_SPARES];
  int n_kept;
  Kept kept[MAX_KEPT];
  uint8_t *has, *sweeps;             /* per instruction, a bit each: what it is reached with; what
                                        it drops */
  int n_temps;
  struct { int made, dropped; } temp[MAX_TEMPS];
} Loop;

static inline const Ins *loop_ins(const Loop *l, int pc) { return &l->f->code.at[pc]; }
static inline const uint32_t *loop_pool(const Loop *l, int pc) {
  return l->f->L->pool.at + ins_w(*loop_ins(l, pc));
}
static inline bool loop_writes(const Loop *l, int pc, uint32_t reg) {
  return ins_names(&l->m, *loop_ins(l, pc), "d", reg);
}

/* ---- spare.c -------------------------------------------------------------------- */
bool loop_again(const Loop *l, int pc);              /* is it the call of itself?  */
/* May ALLOC `made` take what parameter k holds where the way begins?  rank: it must be of the
 * same. */
bool loop_tensor(const Loop *l, uint32_t k, int made, bool rank);
/* What a parameter held goes from its drop to `into` (ALLOC, SHELL or DATA) in the straight piece
 * from `from`; k: its ctor and type.  false: other ways come between. */
bool loop_pass(Loop *l, const Fate *x, int from, int into, Kept k);
/* ---- spare_given.c: what goes into cells -------------------------------------------- */
void loop_given(Loop *l, int from, int to);
/* ---- spare_write.c -------------------------------------------------------------------- */
void loop_rewrite(Loop *l);
#endif
