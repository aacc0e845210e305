/* interp_priv.h -- what the files of the interpreter share.
 *
 * kernel_prepare (interp_prepare.c and around it) compiles a kernel to a tape:
 * instructions over virtual registers.  A register is a scalar (one lane), a
 * strip (up to Run.cap lanes), or the partial accumulators of a reduction.
 * Lanes come in three widths: all integers and bool as canonical int64, f16,
 * bf16 and f32 as float (halves rounded after every operation), f64 as double.
 *
 * Structured instructions hold their code behind them, with relative lengths:
 *   Loop, Vec   [header][pre .. body)[body .. end)    pre: once, if any iteration runs
 *   If          [header][body .. end)
 *   Alt         [header][first .. body)[second .. end)   two ways to do the same
 *   Contract    [header][packing tapes, epilogue .. body)[loop form .. end)                    */
#ifndef RVM_KERNEL_INTERP_PRIV_H
#define RVM_KERNEL_INTERP_PRIV_H
#include "kernel/interp.h"

enum {
  STRIP = 512,        /* lanes of a strip at most: a multiple of PARTS            */
  PARTS = 16,         /* interleaved partial accumulators of a reduction          */
  MAX_NEST = 32       /* loops of one nest, variables of one contraction          */
};
#define NO_REG UINT32_MAX

typedef enum { LANE_I64, LANE_F32, LANE_F64 } Lane;
static inline Lane lane_of(DType t) {
  return t == DT_f64 ? LANE_F64 : dtype_is_float(t) ? LANE_F32 : LANE_I64;
}
static inline int lane_bytes(DType t) { return lane_of(t) == LANE_F32 ? 4 : 8; }
/* Are elements in memory what lanes are? */
static inline bool lane_native(DType t) {
  return t == DT_f32 || t == DT_f64 || t == DT_i64 || t == DT_u64;
}
static inline bool is_half(DType t) { return t == DT_f16 || t == DT_bf16; }

typedef struct Ins Ins;
typedef KStatus (*OpFn)(const Ins *x, void *out, const void *a, const void *b, const void *c,
                        int64_t n);
typedef void (*LoadFn)(void *lanes, const void *mem, int64_t step, const int64_t *at, int64_t n);
typedef void (*StoreFn)(void *mem, const void *lanes, int64_t step, const int64_t *at, int64_t n);

typedef enum {
  IK_Op,       /* out = fn(a, b, c)                                             */
  IK_Load,     /* out = access `at`; with IF_Or: c where the indices are outside */
  IK_Store,    /* access `at` = a                                               */
  IK_Splat,    /* strip out = scalar a                                          */
  IK_Iota,     /* strip out = scalar a + lane                                   */
  IK_Move,     /* out = a                                                       */
  IK_Check,    /* a must be true in all lanes; c: the message                   */
  IK_If,       /* a; in a strip: the body for each run of true lanes            */
  IK_Loop,     /* scalar variable out over [0, a); c as of Vec                  */
  IK_Vec,      /* strips: pool b = (n, (variable, extent)*n), collapsed to one;
                  c: the outermost loop of this statement, or NO_REG            */
  IK_Start,    /* partials out = identity of op (or a)                          */
  IK_Acc,      /* partials out = op with strip a                                */
  IK_Fin,      /* scalar out = partials a combined, then with b                 */
  IK_Alt,      /* choose by cost, once per run; c: number of the choice         */
  IK_Contract  /* c: number in KProg.con                                        */
} InsKind;
enum {
  IF_Strip = 1,  /* works on all lanes of the strip                             */
  IF_Round = 2,  /* result is f16 or bf16                                       */
  IF_Or = 4,     /* load_or                                                     */
  IF_Alias = 8,  /* a contiguous load may point into the buffer                 */
  IF_Direct = 16,/* the next instruction stores the result: write it there      */
  IF_Static = 32,/* extent is known before the main part starts                 */
  IF_Sum = 64    /* of a loop with c: of the sum of c                           */
};
struct Ins {
  uint8_t kind, op, dtype, from, flags;      /* from: operand type of casts and comparisons */
  uint32_t out, a, b, c, at, body, end;
  uint64_t mask, sign;                       /* wrap: ((x & mask) ^ sign) - sign */
  OpFn fn;
};

/* One index of an access: value of reg (strip or first lane) + coef * factor * lane. */
typedef struct { uint32_t reg, factor; int64_t coef; bool strip; } AccessDim;
typedef struct { uint32_t buf, dim; uint8_t rank; bool affine; } Access;

typedef enum { RK_Scalar, RK_Strip, RK_Parts } RegKind;
typedef struct { uint8_t kind, bytes; uint32_t slot; } Reg;   /* bytes: of a lane */

typedef struct { uint32_t var, ext; } LoopRegs;
typedef struct { uint32_t from, to, out; } Tape;             /* relative to the header */
typedef struct { uint8_t n; LoopRegs loop[MAX_NEST]; } LoopSet;
typedef struct {
  uint8_t dtype;
  uint32_t choice;                           /* as of an Alt: 1 tiles, 2 loops */
  LoopSet batch, side[2], red;               /* side 0: rows, side 1: columns */
  Tape pack[2][2];                           /* [side][along 0: its last variable,
                                                1: the last of the depth]      */
  Tape body;                                 /* epilogue; out: accumulator strip */
} Contract;

struct KProg {
  const Kernel *k;
  uint32_t n_ins, main;      Ins *ins;       /* [0, main): before anything else */
  uint32_t n_regs;           Reg *reg;
  uint32_t n_scalars, n_strips, n_alts, n_parts;
  uint32_t n_access;         Access *access;
  uint32_t n_dims;           AccessDim *dim;
  uint32_t n_consts;         struct ConstReg { uint32_t reg; uint64_t lane; } *konst;
  uint32_t n_pool;           uint32_t *pool;
  uint32_t n_con;            Contract *con;
  uint32_t n_buf_dims, *buf_dim;             /* registers of the extents, K_MAX_RANK per buffer */
};

typedef struct { char *mem; int64_t dim[K_MAX_RANK], stride[K_MAX_RANK]; } RunBuf;

typedef struct Run {
  const KProg *p;
  const int64_t *sym;
  KAlloc alloc;
  KError *err;
  char **reg;                                /* where each register is        */
  char *strips;                              /* their memory, cap * 8 bytes each */
  RunBuf *buf;
  int64_t *tmp;                              /* cap offsets                   */
  uint8_t *choice;                           /* per Alt: 0 not yet, 1 first, 2 second */
  int64_t cap, n, lo;                        /* lanes now: n of them from lane lo of the strip */
  char *tile;  size_t tile_bytes;            /* of contractions               */
} Run;

static inline int64_t reg_i64(const Run *r, uint32_t reg) { return *(const int64_t *)r->reg[reg]; }
static inline void set_i64(const Run *r, uint32_t reg, int64_t v) { *(int64_t *)r->reg[reg] = v; }
static inline char *strip_slot(const Run *r, uint32_t reg) {
  return r->strips + (size_t)r->p->reg[reg].slot * (size_t)r->cap * 8;
}

/* interp_lanes.c: arithmetic */
OpFn lane_op(SOp op, DType t);               /* for f16, bf16: of float, to be rounded */
OpFn lane_cast(DType from, DType to);
OpFn lane_bits(void);
bool lane_traps(SOp op, DType t);
void lane_round(DType half, float *x, int64_t n);
uint64_t lane_from_bits(uint64_t bits, DType t);   /* canonical 64-bit form to lane */
void lane_splat(char *strip, const char *scalar, int bytes, int64_t n);
/* interp_mem.c: memory */
LoadFn lane_load(DType t);
StoreFn lane_store(DType t);
void run_load(Run *r, const Ins *x);
void run_store(Run *r, const Ins *x);
char *store_target(Run *r, const Ins *x);    /* where a contiguous strip goes, or NULL */
int64_t access_step(const Run *r, const Access *a, bool *known);
/* interp_reduce.c */
void run_start(Run *r, const Ins *x);
KStatus run_acc(Run *r, const Ins *x);
KStatus run_fin(Run *r, const Ins *x);
/* interp_contract.c */
KStatus run_contract(Run *r, const Ins *x);
double contract_cost(const Run *r, const Ins *x);
/* interp.c */
KStatus run_code(Run *r, const Ins *from, const Ins *to);
double code_cost(const Run *r, const Ins *from, const Ins *to, double lanes);
#endif
