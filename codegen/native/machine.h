/* machine.h -- what Linux says about the processors: their cores and their caches. */
#ifndef RVM_CODEGEN_NATIVE_MACHINE_H
#define RVM_CODEGEN_NATIVE_MACHINE_H
#include <stdint.h>

/* Bytes of each level's cache for data, as a core sees it; those of the third are often shared.
 * 0: not known, or there is none. */
typedef struct { int64_t first, second, third; } Caches;

/* Physical cores this process may use, 1 to `most`: of processors that share one, one counts.
 * cpus: the folder that describes them, NULL: this machine's. */
int    machine_cores(const char *cpus, int most);
/* Of the first processor this process may use. */
Caches machine_caches(const char *cpus);
#endif
