/* memory.h -- rvm run --memory: what tensors were made, how they would lie in
 * one block, and what the run really asked of the allocator.                 */
#ifndef RVM_CLI_MEMORY_H
#define RVM_CLI_MEMORY_H
#include <stdio.h>
#include <rvm/rvm.h>

typedef struct MemoryWatch MemoryWatch;
/* From here on.  The tensors of the first run are remembered. */
MemoryWatch *memory_watch(rvm_instance *vm);
/* After each run. */
void memory_run_done(MemoryWatch *w);
void memory_report(MemoryWatch *w, FILE *to);
/* The plan as a picture: time to the right, addresses upward.  NULL, or why not. */
const char *memory_svg(MemoryWatch *w, const char *path);
#endif
