/* kernel.h -- kernel IR: what one fused tensor kernel computes.
 *
 * A kernel has symbols (64-bit integers given at launch), buffers (compact
 * row-major arrays with a dtype and extents over the symbols), and a body:
 * a small structured loop language over scalar expressions.
 *
 * Expressions are pure, typed nodes in one array, operands before users, so
 * sharing is by index (KE).  Statements are one array in text order; a
 * statement with a body says where it ends.  Both serialise as they are.
 *
 * Buffers are seen with the kernel's own extents: a tensor is accepted when
 * its dtype is equal and its element count is that of the extents; its shape
 * is the caller's business.  A rank-0 buffer is one element.  Outputs may not
 * overlap other buffers unless they are one with an input that dies
 * (kernel_in_place).
 *
 * Semantics of scalar operations: kernel/scalar.def.  Every load and store
 * must be inside its buffer: proved when the kernel is verified, or checked by
 * interval arithmetic at launch (kernel_launch_ok), or written as load_or,
 * which gives its fallback outside.                                          */
#ifndef RVM_KERNEL_KERNEL_H
#define RVM_KERNEL_KERNEL_H
#include <stddef.h>
#include "base/dtype.h"

typedef uint32_t KE;                         /* index into Kernel.node        */
#define KE_NONE UINT32_MAX
enum { K_MAX_RANK = 12, K_MAX_BUFS = 64, K_MAX_SYMS = 64, K_MAX_LOOPS = 16 };

typedef enum {
#define SOP(id, name, arity, classes, result) S_##id,
#include "kernel/scalar.def"
#undef SOP
  S_COUNT
} SOp;
typedef struct { const char *name; int arity; const char *classes; char result; } SOpInfo;
extern const SOpInfo sop_info[S_COUNT];

typedef enum {
  KN_Const,     /* bits: the element's bits, integers extended to 64          */
  KN_Sym,       /* a: symbol number; type i64                                 */
  KN_Var,       /* a: variable number (loop, let, carried, reduction, accumulator) */
  KN_Op,        /* op: SOp on a, b, c                                         */
  KN_Cast,      /* a -> dtype, as the language casts                          */
  KN_Bits,      /* a -> dtype of the same width, bit pattern kept             */
  KN_Load,      /* a: buffer, b: pool offset of one index per dim             */
  KN_LoadOr     /* as Load; c: the value when any index is outside            */
} KNodeKind;
typedef struct { uint8_t kind, op, dtype, rank; uint32_t a, b, c; uint64_t bits; } KNode;

typedef enum { K_IN, K_OUT, K_INOUT, K_LOCAL } KBufRole;
typedef struct { uint8_t role, dtype, rank; uint32_t name; KE dim[K_MAX_RANK]; } KBuf; /* dims: over Const and Sym only */

typedef enum { K_SERIAL, K_PARALLEL } KLoopKind;  /* parallel: iterations in any order, also vectorised */
typedef enum {
  KS_For,       /* var over [0, extent a), loop kind op; carried values: pool b = (n, (var, init, next)*n),
                   or KE_NONE.  next is evaluated at the end of each iteration, all at once;
                   after the loop the carried variables hold their final values   */
  KS_Let,       /* var = a, evaluated here                                    */
  KS_Store,     /* buffer a at indices pool b := expression c                 */
  KS_Reduce,    /* var = op over the loops pool b = (n, (var, extent)*n), all nested, of expression c,
                   starting from expression a.  op: add mul min max and or    */
  KS_Contract,  /* pool b: see KContract; body: epilogue with the accumulator as var */
  KS_Check,     /* expression a must be true, else the launch fails with message c (pool of names) */
  KS_If         /* if a, run the body                                         */
} KStmtKind;
typedef struct { uint8_t kind, op, dtype, unused; uint32_t var, a, b, c, end; } KStmt; /* end: index after the body */

/* KS_Contract's pool record:
 *   n_par, (var, extent)*n_par, n_red, (var, extent)*n_red, A, B
 * var := sum over the reduction loops of A * B, in dtype, for every point of
 * the parallel loops; then the body runs: lets, stores and checks.  A and B are
 * expressions of that dtype (a load, or a load_or for padding, perhaps cast or
 * shifted by a zero point).
 * Matrix product, batched product, convolution and grouped convolution are
 * all this node: a loop variable that only A uses is a row, only B a column,
 * both a batch or, if it is reduced, the depth. */

typedef struct { uint8_t kind, dtype; uint32_t name; } KVar;   /* for printing; kind: KV_* */
typedef enum { KV_Loop, KV_Let, KV_Carried, KV_Reduced, KV_Acc } KVarKind;

/* realloc-like; NULL means no.  new_bytes == 0 frees. */
typedef struct { void *(*fn)(void *user, void *old, size_t old_bytes, size_t new_bytes); void *user; } KAlloc;

typedef struct Kernel {
  uint32_t name;                             /* offset into text              */
  uint32_t n_syms;   uint32_t *sym_name;
  uint32_t n_bufs;   KBuf  *buf;             /* parameters first, then locals */
  uint32_t n_params;                         /* how many bufs are parameters  */
  uint32_t n_nodes;  KNode *node;
  uint32_t n_stmts;  KStmt *stmt;
  uint32_t n_vars;   KVar  *var;
  uint32_t n_pool;   uint32_t *pool;
  uint32_t n_text;   char  *text;            /* NUL-terminated names and messages */
} Kernel;

/* ---- failures: a number, and where ---------------------------------------- */
typedef enum {
  K_OK, K_NO_MEMORY, K_BAD_KERNEL,           /* refused by the verifier       */
  K_DIV_ZERO, K_BAD_SHIFT, K_BOUNDS, K_CHECK, K_BAD_SIZE
} KStatus;
typedef struct { KStatus status; const char *why; } KError;   /* why: static text, or a message of the kernel */

/* ---- checking -------------------------------------------------------------- */
/* Structure, types, scoping, and for each access whether it is proved in
 * bounds.  Linear in the size of the kernel (times nesting).  Any bytes may
 * be offered: afterwards the kernel is safe to run after kernel_launch_ok and
 * once kernel_buf_count has been compared with the memory of each parameter.
 * needs_launch: set when some access or extent could not be proved for all
 * symbols.  Loop extents, like dims, are over Const, Sym and Op only.
 * scratch: memory returned before the function returns. */
KStatus kernel_verify(const Kernel *k, KAlloc scratch, bool *needs_launch, KError *err);
/* *yes: output `out` may lie in the memory of input `in`, when both are of the same
 * number of elements and no other parameter is there: each element is made once,
 * from what stands in its place, so every engine gives the same as apart.  On a
 * verified kernel; linear in its size.  false: no memory. */
bool kernel_in_place(const Kernel *k, uint32_t in, uint32_t out, KAlloc scratch, bool *yes);
/* With these symbols: are all extents >= 0 and all unproved accesses inside?
 * Small kernels take nothing from scratch. */
KStatus kernel_launch_ok(const Kernel *k, const int64_t *sym, KAlloc scratch, KError *err);
/* Number of elements of buffer b under these symbols; false: a dim is negative,
 * above 2^48 or cannot be computed, or their product is above 2^60. */
bool kernel_buf_count(const Kernel *k, uint32_t b, const int64_t *sym, int64_t *count);
/* The value of a dim or loop extent; false: overflow or division by zero. */
bool kernel_size(const Kernel *k, KE e, const int64_t *sym, int64_t *value);
/* Does the For or Contract `at` do nothing with these symbols: no loop of it that stores,
 * checks or may fail runs?  Going through the other loops may then be left out.  Linear
 * in what it holds. */
bool kernel_idle(const Kernel *k, uint32_t at, const int64_t *sym);
/* Is there nothing that the Reduce or Contract `at` would sum? */
bool kernel_sums_nothing(const Kernel *k, uint32_t at, const int64_t *sym);
/* Work of one launch in units of about one scalar operation, saturating; of what
 * is idle, none. */
uint64_t kernel_cost(const Kernel *k, const int64_t *sym);
#endif
