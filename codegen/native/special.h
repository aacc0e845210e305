/* special.h -- versions of kernels for extents that recur.
 *
 * A kernel with symbols runs for all extents.  Launches are counted per kernel
 * and extents; when they have taken as long as compiling pays for, a thread of
 * low priority compiles the kernel for just these, while the program goes on
 * with what it has, and shows the version to later launches.  It gives the same
 * bits (native_fixable, emit_kernel_fixed), so nothing depends on when that is.
 * A kernel gets a few versions; what other extents recur runs as before.     */
#ifndef RVM_CODEGEN_NATIVE_SPECIAL_H
#define RVM_CODEGEN_NATIVE_SPECIAL_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include "kernel/kernel.h"

struct NativeKernel;                         /* a compiled kernel: launch.h   */

typedef struct {
  /* A relocatable object with the kernel as k0 for these symbols; malloc's; or NULL: there is
   * none.  Called on the thread, one kernel at a time; soon ends when *stop becomes true. */
  void *(*compile)(void *user, const Kernel *k, const int64_t *sym, const atomic_bool *stop,
                   size_t *bytes);
  void *user;
} SpecialMaker;

typedef struct Special Special;
Special *special_new(SpecialMaker how);      /* NULL: no memory; no thread yet */
/* Ends the thread: waits for a stage of LLVM's at most.  NULL is fine. */
void     special_free(Special *s);
/* At once, at the first launch, which waits for it: for tests. */
void     special_at_once(Special *s, bool yes);
/* A kernel that may have versions, if it is native_fixable.  false: no memory. */
bool     special_add(Special *s, struct NativeKernel *f);
uint32_t special_count(Special *s);          /* versions there are            */
/* Each of them: the number of its kernel, and its code. */
struct Object;
void     special_each(Special *s, void (*f)(void *user, uint32_t kernel, const struct Object *code),
                      void *user);

/* The versions, to be kept and shown to special_load before the first launch of another
 * process; malloc's; NULL: there are none, or none but those that were loaded. */
void    *special_pack(Special *s, size_t *bytes);
void     special_load(Special *s, struct NativeKernel *const *kernel, uint32_t n,
                      const void *bytes, size_t size);
#endif
