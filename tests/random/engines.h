/* engines.h -- a file of programs compiled one way, and the results.          */
#ifndef RVM_TESTS_RANDOM_ENGINES_H
#define RVM_TESTS_RANDOM_ENGINES_H
#include "cli/file/tensor_file.h"
#include "tests/random/gen.h"

/* passes: NULL for those of the level; quick: as in NativeOptions; fixed: run again with kernels
 * made for their extents, for the same bits. */
typedef struct { const char *name, *engine;  int level;  const char *passes;  bool quick, fixed; } Way;
/* What a run gave: tensors, or the sentence it failed with. */
typedef struct { const char *error;  TensorSet out; } Outcome;

/* Compile text this way and run the programs' entries into out[0..n).  false:
 * the file was refused, and what was said went to stderr. */
bool run_way(const Way *w, const char *text, const GProgram *const *p, int n, Outcome *out);
/* NULL, or how the two differ. */
const char *outcomes_differ(const Outcome *want, const Outcome *got);
#endif
