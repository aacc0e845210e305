/* native.h -- machine code for a program: from the module that makes it, which
 * is loaded on demand, or from the cache, which needs no module.
 *
 * The module stands beside the command, in the library directory of the tree it
 * was installed in, or of the prefix it was built for; an rvm built without LLVM
 * has none.  RVM_CPU (x86-64, x86-64-v3 or x86-64-v4) takes the place of this
 * machine's processor, RVM_CPU_CACHES (three sizes, as in 32K,1M,32M) that of
 * its caches.  Errors come back as a sentence.                               */
#ifndef RVM_CLI_NATIVE_H
#define RVM_CLI_NATIVE_H
#include <stdbool.h>
#include <stddef.h>
#include <rvm/rvm.h>

/* Versions of kernels for extents that recur: made in the background when that pays; never; or at
 * once, by waiting for them (to test and measure). */
typedef enum { SPECIALISE_ON, SPECIALISE_OFF, SPECIALISE_NOW } Specialise;

typedef struct {
  bool functions;                            /* control flow too, not only kernels */
  bool cache;                                /* look there, and keep it there */
  bool compile;                              /* if it is not in the cache     */
  bool fast_math;                            /* see LlvmOptions               */
  bool quick;                                /* compiled in a tenth of the time, slower code */
  int threads;                               /* of large kernels; 0: one per physical core */
  Specialise specialise;
} NativeOptions;

typedef struct Native Native;
/* Plugs machine code into p, which was loaded from these bytes; before any
 * instance of p is made; must outlive them, and end before p (a thread reads
 * it).  NULL: p is as it was, *why. */
Native *native_open(rvm_program *p, const void *image, size_t n, NativeOptions o,
                    const char **why);
void    native_close(Native *n);             /* NULL is fine                  */
/* Tell `perf` the names: /tmp/perf-PID.map, at once and when n is closed.  false: it cannot be
 * written. */
bool    native_perf_map(Native *n);
/* All of a program as LLVM IR or assembly; release with free.  NULL: *why. */
char   *native_text(const void *image, size_t n, bool assembly, bool fast_math, const char **why);
/* From now on as SPECIALISE_NOW, or as before; nothing if it is off. */
void    native_specialise_now(Native *n, bool yes);
/* How many versions there are. */
unsigned native_versions(const Native *n);
/* Why the module cannot be had; NULL: it can. */
const char *native_missing(void);
#endif
