/* emit.h -- the stages of a compilation as text: rvm build --emit=KIND,...     */
#ifndef RVM_CLI_EMIT_H
#define RVM_CLI_EMIT_H
#include "cli/cli.h"

#define EMIT_KINDS "ir, kernel, llvm, asm"
bool emit_known(const char *kinds);
/* The stages named, in that order, to the file out, or NULL for the standard
 * output.  The exit code; errors are said. */
int  emit_stages(const char *kinds, const char *out, const char *path, const Compiled *c,
                 bool fast_math);
#endif
