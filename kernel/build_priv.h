/* build_priv.h -- what build.c (arrays, statements) and build_expr.c (nodes,
 * folding) share, and one door for text.c.                                   */
#ifndef RVM_KERNEL_BUILD_PRIV_H
#define RVM_KERNEL_BUILD_PRIV_H
#include "kernel/build.h"

typedef enum { F_For, F_Carry, F_If, F_Reduce, F_Factors, F_Epilogue } FrameKind;
/* An open statement.  rec: its pool record; n_vars: loop variables it opened. */
typedef struct { FrameKind kind; uint32_t stmt, rec, n_vars; } Frame;
enum { MAX_FRAMES = K_MAX_LOOPS + 1 };     /* a reduction inside the deepest body */

struct KB {
  KAlloc a;
  const char *error;
  bool raw;                                /* keep operations as they are written */
  Kernel k;                                /* counts and growing arrays       */
  uint32_t cap_syms, cap_bufs, cap_nodes, cap_stmts, cap_vars, cap_pool, cap_text;
  uint32_t *slot, n_slots, used_slots;     /* hash of nodes: node + 1, 0 free */
  Frame frame[MAX_FRAMES];
  int depth;
  uint32_t open_loops;
  uint32_t var_name[KV_Acc + 1];           /* text offsets, 0: not yet made   */
};

/* No folding from here on: text is read back to the nodes it names. */
void kb_set_raw(KB *b);
/* Is the builder usable, and remember why not. */
bool kb_ok(const KB *b);
bool kb_fail(KB *b, const char *why);      /* false                           */
/* Room for one more element of *array, of size bytes each. */
bool kb_room(KB *b, void **array, uint32_t *cap, uint32_t used, uint32_t more, size_t size);
bool kb_is_node(KB *b, KE e);              /* else fails                      */
uint32_t kb_pool(KB *b, uint32_t n);       /* offset of n new words; KE_NONE  */
/* The pool's own room, and the words just made. */
KE   kb_node(KB *b, KNode n, const KE *index);
#endif
