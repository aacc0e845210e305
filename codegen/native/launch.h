/* launch.h -- compiled kernels as functions of the VM.                          */
#ifndef RVM_CODEGEN_NATIVE_LAUNCH_H
#define RVM_CODEGEN_NATIVE_LAUNCH_H
#include <stdatomic.h>
#include "codegen/native/ahead.h"
#include "codegen/native/room.h"
#include "codegen/native/team.h"
#include "vm/program.h"

/* malloc's, for the compiler and its threads: no launch's limit counts it. */
extern const KAlloc native_memory;

typedef struct NativeKernel NativeKernel;
/* One launch: its scratch, one block that grows. */
typedef struct {
  KAlloc a;  void *at;  size_t n;
  NativeKernel *native;  struct Packed *packing; /* being filled              */
  bool asked, backward;                      /* see jit_backward              */
  int64_t part, parts;                       /* of the statement that is split: below */
  Ahead *ahead;                              /* the run's, if this launch may work on it */
} JitState;
void *jit_scratch(JitState *s, int64_t bytes);

/* Packed forms of constant buffers, kept by the kernel in its room.  jit_packed: the form
 * of the buffer at src for one side of a contraction (key) of these extents, or
 * NULL.  jit_pack: room for one, 64-byte aligned, or NULL if src is not a
 * constant or there is no memory; jit_pack_done, when it is filled, shows it to
 * other launches.  Any number of threads. */
void *jit_packed(JitState *s, const void *src, int64_t key, int64_t n, int64_t k);
void *jit_pack(JitState *s, const void *src, int64_t key, int64_t n, int64_t k, int64_t bytes);
int64_t jit_pack_done(JitState *s, void *room);
/* 1: the row of k elements of type t (which sums have as well) is all bits 0, and the packed form,
 * which is there, is finite: all their products are zeros.  k > 0; integers are finite. */
int64_t jit_zero_row(JitState *s, const void *row, const void *src, int64_t key, int64_t n,
                     int64_t k, int64_t t);
int64_t jit_is_constant(JitState *s, const void *src); /* 0 or 1 */
/* 0 and 1 in turn, launch by launch: a kernel that reads a constant larger than
 * the cache from alternating ends finds part of it there. */
int64_t jit_backward(JitState *s);

/* The statement of which the parts may run at the same time: a parallel loop or a
 * contraction that comes last, with nothing before it but lets and checks, when
 * there may be enough work.  false: none. */
bool native_splits(const Kernel *k, uint32_t *at);

/* May there be versions for certain extents that give the same bits?  Not when it sums up floats:
 * LLVM chooses the lanes of such loops.  (Contractions have an order of their own.) */
bool native_fixable(const Kernel *k);

/* What emit_kernel makes: 0, or a KStatus with the message's offset above bit 8. */
typedef uint64_t (*KernelCode)(void *const *buf, const int64_t *sym, JitState *state);

/* A version of a kernel for certain values of its symbols; they never go before the kernel. */
typedef struct Version {
  struct Version *next;
  KernelCode code;
  int64_t sym[K_MAX_SYMS];
} Version;

enum { PACKED_LISTS = 32 };                  /* by the constant's address, see launch.c */
typedef struct { _Atomic(struct Packed *) list[PACKED_LISTS]; } PackedForms;
/* One compiled kernel; the owner chains them by next. */
struct NativeKernel {
  KernelCode code;  const Kernel *k;
  KernelFn slow;  void *slow_ctx;            /* for overlapping buffers; may be NULL */
  NativeKernel *next;  uint32_t number;      /* among the program's kernels   */
  const uint8_t *constants;  size_t n_constants; /* memory that never changes  */
  Room *room;  PackedForms own, *shared;     /* shared: by kernels with the same constants and
                                                room, or NULL                 */
  atomic_uint turn;                          /* launches that asked jit_backward */
  Team *team;  bool splits;  uint64_t cost;  /* team: or NULL; cost: 0 if there are symbols */
  atomic_bool warm;                          /* has been launched             */
  bool plain;  PlainProduct product;         /* it is this, and may wait      */
  _Atomic(Version *) versions;
  struct Special *special;  struct Seen *seen; /* who makes versions, or NULL (special.h) */
};

/* special.c: the code for a launch of a kernel whose special is not NULL.  Any number of threads. */
KernelCode special_code(NativeKernel *f, const int64_t *sym);

/* k and room, where packed constants go, must outlive it.  NULL: no memory. */
NativeKernel *native_new(KernelCode code, const Kernel *k, KernelFn slow, void *slow_ctx,
                         Room *room);
void native_free(NativeKernel *f);
/* Tell a kernel which memory never changes and outlives it: operands of
 * contractions there are packed once.  Before its first launch; ctx: a NativeKernel. */
void native_constants(void *ctx, const void *from, size_t bytes);
/* A KernelFn; ctx is a NativeKernel.  Any number of threads at once. */
KStatus native_launch(void *ctx, void *const *buf, const int64_t *sym, KAlloc a, KError *err);
/* The same where no written buffer overlaps another one. */
KStatus native_run(void *ctx, void *const *buf, const int64_t *sym, KAlloc a, KError *err);
/* The same, working on what waits in `ahead` if there is something. */
KStatus native_run_beside(NativeKernel *f, void *const *buf, const int64_t *sym, KAlloc a,
                          Ahead *ahead, KError *err);
/* Under which a kernel keeps what it packed of side 0 (rows) or 1 (columns) of the contraction that
 * is statement `at`: width columns of a panel; by_tiles: in tiles of exact heights. */
static inline int64_t packed_key(uint32_t at, int side, unsigned width, bool by_tiles) {
  return ((int64_t)at * 2 + side) * 256 + width + by_tiles;
}
/* The same for columns that are those (turned: the rows) of a whole matrix of type t: all kernels
 * pack them alike, so one form does for all. */
enum { PACKED_MATRIX = 1 << 30 };
static inline int64_t packed_matrix_key(bool turned, DType t, unsigned width) {
  return (int64_t)PACKED_MATRIX << 8 | (int64_t)turned << 16 | (int64_t)t << 8 | width;
}
/* Instead of this launch of a kernel that is plain: let it wait; there is room.  false: that
 * cannot be. */
bool native_wait(NativeKernel *f, void *const *buf, Ahead *ahead);
#endif
