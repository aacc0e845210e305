/* code.h -- the machine code of one program, as the compiler gives it
 * (codegen/llvm/llvm.h) and as the cache keeps it, brought to run.  Needs no
 * LLVM.
 *
 * A code file is a few relocatable objects behind each other (code_pack).  Its
 * functions have fixed names: k0, k1 ... for the kernels of the image, e0, e1
 * ... for the host's calls of its functions, f0, f1 ... for these themselves. */
#ifndef RVM_CODEGEN_NATIVE_CODE_H
#define RVM_CODEGEN_NATIVE_CODE_H
#include "codegen/native/object.h"
#include "codegen/native/special.h"
#include <rvm/rvm.h>

typedef struct NativeCode NativeCode;

/* One block (release with free) from the objects; NULL: no memory. */
void *code_pack(const ObjectFile *file, size_t n, size_t *bytes);
/* Load and plug in what is there: kernels, control flow.  Before any instance
 * of p is made; must outlive them.  A kernel without code stays interpreted.
 * NULL: nothing changed, *why says why. */
NativeCode *code_load(rvm_program *p, const void *bytes, size_t n, const char **why);
/* Large kernels, if there are any, run on so many threads (0: as many as there are cores), with
 * the same bits whatever the number.  Before the first launch. */
void     code_threads(NativeCode *c, int threads);
/* Kernels get versions for extents that recur, beginning with those kept (special_pack; n: 0 for
 * none).  Before the first launch.  Their thread reads p until code_free. */
bool     code_specialise(NativeCode *c, SpecialMaker how, const void *kept, size_t n);
Special *code_special(const NativeCode *c);  /* NULL: they do not              */
void     code_free(NativeCode *c);           /* NULL is fine                  */
bool     code_whole(const NativeCode *c);    /* control flow too?             */

/* The functions, and the versions there are, under names for people (names.h); for profilers. */
void code_each(const NativeCode *c, void (*f)(void *, const char *, uintptr_t, size_t), void *user);
#endif
