/* mem.h -- the compiler's one door to memory.
 *
 * Behind it stands, chosen when the build is configured (RVM_MEM), the Boehm
 * collector ("boehm", the default) or plain malloc whose blocks live until
 * mem_release_all ("malloc", for sanitizers and fuzzers: a collector's heap
 * blinds them).  Nothing here is ever freed one by one.  This is the only
 * header behind which gc.h may be included.  The runtime (kernel/, vm/) never
 * includes it.
 *
 * Running out of memory ends the process through mem_set_oom's handler: the
 * compiler does not promise to survive it, the runtime does.
 *
 * The door is process-wide by nature (a collector is); it is not thread-safe
 * with the malloc back end.                                                  */
#ifndef RVM_BASE_MEM_H
#define RVM_BASE_MEM_H
#include <stddef.h>

void  mem_init(void);                  /* once, first thing in main           */
void  mem_release_all(void);           /* malloc back end: frees every block  */
void  mem_set_oom(void (*handler)(size_t wanted));

void *mem_get(size_t bytes);                      /* zeroed, scanned           */
void *mem_get_n(size_t size, size_t n);           /* overflow-checked          */
void *mem_get_flat(size_t bytes);                 /* zeroed, never scanned     */
void *mem_grow(void *old, size_t old_bytes, size_t new_bytes); /* tail zeroed  */

#define NEW(T)       ((T *)mem_get(sizeof(T)))
#define NEW_N(T, n)  ((T *)mem_get_n(sizeof(T), (size_t)(n)))
#define NEW_BYTES(n) mem_get_flat(n)              /* text and tensor data      */
#endif
