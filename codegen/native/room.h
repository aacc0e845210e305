/* room.h -- memory for packed constants: blocks that stay until all go.
 *
 * Weights are read from end to end in every run.  In pages of 2 MB they cost a
 * hundredth of the page faults when they are packed, and the processor's
 * prefetchers, which stop at page borders, run through when they are read.   */
#ifndef RVM_CODEGEN_NATIVE_ROOM_H
#define RVM_CODEGEN_NATIVE_ROOM_H
#include <stddef.h>

typedef struct Room Room;
Room *room_new(void);                        /* NULL: no memory               */
void  room_free(Room *r);                    /* NULL is fine                  */
/* bytes aligned to 64, with anything in them; NULL: no memory.  Any number of threads. */
void *room_take(Room *r, size_t bytes);
#endif
