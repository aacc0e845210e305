/* program.h -- a loaded program: the image, verified, and what is computed
 * from it once.  Immutable after loading, except that an engine may give
 * kernels other code before the first instance exists.                       */
#ifndef RVM_VM_PROGRAM_H
#define RVM_VM_PROGRAM_H
#include <rvm/rvm.h>
#include "kernel/interp.h"
#include "vm/heap.h"
#include "vm/image.h"

/* How a kernel is run; the default is kernel_run.  Safe for any number of
 * threads at once.  buf and sym as in kernel/interp.h; no written buffer
 * overlaps another (vm/run_kernel.c: one register alone owns it).             */
typedef KStatus (*KernelFn)(void *ctx, void *const *buf, const int64_t *sym, KAlloc scratch,
                            KError *err);

/* What runs calls instead of the interpreter (vm/exec.c): compiled control flow.
 * run is as vm_run, on an instance whose state is VM_IDLE for a new call; end
 * is told that an instance goes. */
typedef struct {
  rvm_status (*run)(rvm_instance *vm);
  void (*end)(rvm_instance *vm);
} Engine;

typedef enum { KB_SCALAR, KB_FIXED, KB_PRODUCT, KB_GENERAL } KBufKind;
typedef struct {
  uint8_t kind, dtype, role, n_syms;
  uint8_t sym[K_MAX_RANK];                   /* PRODUCT: of these symbols ...  */
  int64_t count;                             /* ... and this; FIXED: elements; -1: never */
} BufInfo;
typedef struct {
  KernelFn fn;  void *ctx;
  const Kernel *k;
  const BufInfo *buf;                        /* per parameter                 */
  uint64_t cost;                             /* when there are no symbols     */
  uint32_t memo;                             /* words of the instance's memo before this one's */
  bool needs_launch;
} KernelInfo;

struct rvm_program {
  rvm_alloc alloc;
  Image im;
  bool *needs_launch;
  KProg **prog;  KernelInfo *kernel;  BufInfo *buf;  uint32_t n_bufs;
  uint32_t n_memo;                           /* 64-bit words of memo per instance */
  RefMap map;  uint64_t *word;  uint32_t n_words;  uint32_t *of;
  uint8_t *local;                            /* per Image.ctor: its number in its type */
  uint64_t *konst;                           /* slots of the constants        */
  uint8_t *tensors;  size_t n_tensors;       /* the immortal cells behind them */
  void *copy;  size_t n_copy;                /* of image bytes that were not aligned */
  bool has_refs;                             /* cycles are possible           */
  const Engine *engine;  void *engine_ctx;   /* NULL: the interpreter         */
};

/* Resizes with kind RVM_PROGRAM; u is the rvm_alloc. */
void *program_realloc(void *u, void *old, size_t was, size_t want);
static inline KAlloc program_kalloc(rvm_program *p) {
  return (KAlloc){ program_realloc, &p->alloc };
}

/* Give kernel k other code.  Before any instance is made. */
void program_set_kernel(rvm_program *p, uint32_t k, KernelFn fn, void *ctx);

/* Rewrites m->code into the interpreter's instructions (vm/prep.c).  false:
 * no memory, or err->why is set (two functions share code).                   */
bool prep_code(Image *m, KAlloc a, bool *has_refs, ImageError *err);

/* Does a slot of type t hold a reference? */
static inline bool type_is_ref(const Image *m, uint32_t t) { return m->type[t].kind != IT_SCALAR; }
#endif
