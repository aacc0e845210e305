/* pass.h -- what a pass is, and the runner that holds it to its promises.
 *
 * Requirements on every pass.  The meaning stays exactly the same: floats bit
 * for bit (but for passes that say `rounds`), effects in their order, and an
 * expression that may fail at run time is not dropped, not copied into other
 * control flow, not moved across an effect.  Variables stay bound once; spans
 * and types stay.  An extent's symbol is read from the first variable that has
 * it as an axis, so a pass replaces a variable by another only when their types
 * are the same.  Blocks are walked in loops; only nesting may recurse.  Every
 * rewrite asks pass_may() first, so that --pass-limit can find the wrong one.  */
#ifndef RVM_OPT_PASS_H
#define RVM_OPT_PASS_H
#include "ir/expr.h"

typedef struct PassOpts PassOpts;
typedef struct PassCx {
  Module *m;
  const PassOpts *o;
  int64_t changes;                 /* rewrites so far, over all passes         */
} PassCx;

typedef struct Pass {
  const char *name, *doc;
  unsigned needs, keeps, gives;    /* FORM_ bits                               */
  bool rounds;                     /* results may differ in rounding           */
  void (*run)(PassCx *cx);         /* edits cx->m in place                     */
} Pass;

/* Called after each pass.  The callbacks may be NULL; all get ud. */
struct PassOpts {
  int64_t limit;                   /* stop rewriting after so many; < 0: never */
  uint64_t (*clock)(void *ud);     /* nanoseconds                              */
  void (*done)(void *ud, const Pass *p, const Module *m, int64_t changes, uint64_t ns);
  /* An independent check of the module; false with the reason in why. */
  bool (*recheck)(void *ud, const Module *m, StrBuf *why);
  void *ud;
  /* Runs a block without free variables whose result is a tuple of n tensors, of
   * type t, and gives their values.  false: it cannot.  NULL: nothing is folded. */
  bool (*eval)(void *eval_ud, Block *closed, Type *t, int n, const Tensor **out);
  void *eval_ud;
};

/* May one more rewrite be done?  Counts it if so. */
bool pass_may(PassCx *cx);

/* Runs the passes in order and verifies the module after each.  false is a bug
 * of the compiler: why names the pass and its fault, and the module is then
 * not to be used. */
bool passes_run(Module *m, const Pass *const *pass, int n, const PassOpts *o, StrBuf *why);

/* ---- pipeline.c: which passes, in which order ------------------------------ */
extern const Pass *const all_passes[];
extern const int n_all_passes;
const Pass *pass_find(const char *name, size_t n);           /* NULL if unknown */
enum { OPT_MAX_LEVEL = 2 };
/* The passes of a level (0: none), *n of them. */
const Pass *const *pipeline(int level, int *n);

extern const Pass pass_dce, pass_copy, pass_known, pass_cse, pass_simplify, pass_inline, pass_refs,
    pass_batch, pass_combine, pass_hoist, pass_lift, pass_narrow, pass_pack, pass_params,
    pass_results, pass_special, pass_stack, pass_unroll, pass_fold, pass_scale, pass_layout,
    pass_fuse;
#endif
