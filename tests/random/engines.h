/* engines.h -- a file of programs compiled one way, and the results.          */
#ifndef RVM_TESTS_RANDOM_ENGINES_H
#define RVM_TESTS_RANDOM_ENGINES_H
#include "cli/file/tensor_file.h"
#include "tests/random/gen.h"

/* One way to run programs.  passes: NULL for those of the level. */
typedef struct {
  const char *name, *engine;  int level;  const char *passes;
  bool quick;                        /* as in NativeOptions                    */
  bool fixed;                        /* run again with kernels made for their extents, for the same bits */
  bool printed;                      /* optimised, printed, read back, compiled again */
  bool bound;                        /* of a lone program: input i is a constant where bit i of `which` is set */
  uint32_t which;
  int threads;                       /* as in NativeOptions                    */
} Way;
/* What a run gave: tensors, or the sentence it failed with.  retold: about another text; refused: its
 * constants do not fit its operators, which otherwise is found when it runs, or never. */
typedef struct { const char *error;  bool retold, refused;  TensorSet out; } Outcome;

/* Compile text this way and run the programs' entries into out[0..n).  false:
 * the file was refused, and what was said went to stderr. */
bool run_way(const Way *w, const char *text, const GProgram *const *p, int n, Outcome *out);
/* NULL, or how the two differ. */
const char *outcomes_differ(const Outcome *want, const Outcome *got);
#endif
