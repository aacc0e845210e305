/* tool.h -- what the tools around images share (disasm.c, asm.c): memory that
 * is given back all at once, and growing text.  Not part of the runtime.      */
#ifndef RVM_VM_TOOL_H
#define RVM_VM_TOOL_H
#include "kernel/kernel.h"

/* An allocator that remembers its blocks. */
typedef struct TrackBlock TrackBlock;
typedef struct { KAlloc up; TrackBlock *first; } Track;
KAlloc track_alloc(Track *t);        /* t must stay where it is                */
void   track_free(Track *t);

typedef struct { KAlloc a; char *p; size_t n, cap; bool failed; } TextOut;
void  text_put(TextOut *o, const char *s, size_t n);
void  text_fmt(TextOut *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void  text_quoted(TextOut *o, const char *s);       /* in quotes, \xNN for the odd */
/* The text, NUL-terminated, in a block of exactly n + 1 bytes; NULL if memory was refused. */
char *text_done(TextOut *o, size_t *n);
#endif
