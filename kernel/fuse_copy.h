/* fuse_copy.h -- copying a kernel's statements into a builder while variables,
 * buffers and loads are replaced.                                            */
#ifndef RVM_KERNEL_FUSE_COPY_H
#define RVM_KERNEL_FUSE_COPY_H
#include "kernel/build.h"

/* A loop variable that becomes several, the outermost first. */
typedef struct {
  uint32_t var;  KE whole;             /* its extent, a node of the kernel copied   */
  int n;  KE extent[K_MAX_RANK], part[K_MAX_RANK];
} KSplit;
enum { K_MAX_SPLITS = 8 };

typedef struct KCopy KCopy;
struct KCopy {
  KB *b;  const Kernel *k;  KAlloc a;
  KE *node;                    /* per node of k: its copy, or KE_NONE           */
  KE *var;                     /* per variable: what stands for it, or KE_NONE  */
  uint8_t *need;               /* per node, all 0 between calls                 */
  uint32_t buf[K_MAX_BUFS];    /* the buffer in b, or KE_NONE                   */
  KE sym[K_MAX_SYMS];
  int n_splits;  KSplit split[K_MAX_SPLITS];
  uint8_t axis[K_MAX_BUFS][K_MAX_RANK];   /* 1 + the split that this axis follows */
  /* Two nested loops that become one: their variables, or KE_NONE; the one; and
   * per buffer, as bits, the axes d where d and d + 1 become one axis. */
  uint32_t join[2];  KE joined;  uint16_t join_axis[K_MAX_BUFS];
  void *ud;
  KE   (*load)(KCopy *c, KE e);           /* NULL, or what load e becomes; KE_NONE: a load */
  KE   (*node_as)(KCopy *c, KE e);        /* NULL, or what stands for node e; KE_NONE: its copy */
  bool (*stmt)(KCopy *c, uint32_t s);     /* NULL, or: done with statement s?   */
  void (*end)(KCopy *c, uint32_t s);      /* NULL, or: the body of s ends (KE_NONE: the kernel) */
};

bool kcopy_open(KCopy *c, KB *b, const Kernel *k, KAlloc a);   /* false: no memory */
void kcopy_close(KCopy *c);
void kcopy_forget(KCopy *c);               /* every variable unbound, nothing copied */
void kcopy_forget_nodes(KCopy *c);         /* variables stay bound                   */
/* The same symbols and buffers in b, the latter as the copy sees them. */
void kcopy_declare(KCopy *c);

KE   kcopy_expr(KCopy *c, KE e);
/* Indices of an access, one per axis of the copy's buffer; their number. */
int  kcopy_index(KCopy *c, uint32_t buf, uint32_t pool, KE *at);
/* Extents of a buffer as the copy sees it; their number. */
int  kcopy_dims(KCopy *c, uint32_t buf, KE *dim);
/* Statements [from, to) of k. */
void kcopy_body(KCopy *c, uint32_t from, uint32_t to);

/* Variable var as several, of extents whose product is its own; false: it is
 * already split otherwise, too many, or the extents do not fit. */
bool kcopy_split(KCopy *c, uint32_t var, int n, const KE *extent);
bool kcopy_is_split(KCopy *c, uint32_t var);
/* After all splits: which axes of which buffers follow them. */
void kcopy_follow(KCopy *c);
/* Variable var now stands for these: one value, or one per part of its split. */
void kcopy_bind(KCopy *c, uint32_t var, int n, const KE *made);
/* The expression of nested indices: ((i0 * e1) + i1) * e2 + i2 ... */
KE   kcopy_radix(KB *b, int n, const KE *i, const KE *extent);
#endif
