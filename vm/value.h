/* value.h -- what a register slot holds, and the cells behind references.
 *
 * A slot is 64 bits.  Scalars: the element's bits in the low end, integers
 * sign- or zero-extended.  References: the address of a cell, or an odd number
 * 2 * ctor + 1 for a constructor without fields.  The static type of a
 * register says which; nothing in a slot does.
 *
 * Every cell starts with the same 16 bytes.  Cells of an instance lie in
 * chunks that can be walked (vm/heap.c), so a failed call is undone without
 * knowing who owned what.  Constants are immortal cells of the program: shared
 * between threads, never written.                                            */
#ifndef RVM_VM_VALUE_H
#define RVM_VM_VALUE_H
#include "base/dtype.h"

typedef enum { CK_Free, CK_Data, CK_Closure, CK_Ref, CK_Tensor } CellKind;
enum { CF_IMMORTAL = 0x80, CF_MARK = 0x40, CF_LENT = 0x20, CF_CLASS = 0x1f };
#define COUNT_MAX UINT32_MAX                 /* stays: immortal, or owners beyond number */

typedef struct Cell {
  union {
    struct { uint32_t count, host; } own;    /* all owners; those of them that are the host's */
    struct Cell *link;                       /* of a dying or free cell       */
  } u;
  uint32_t desc;  /* Data: index into Image.ctor; Closure: function; Tensor: dtype;
                     Ref: 1 when the content is a reference                   */
  uint16_t n;                                /* slots, or rank                */
  uint8_t kind, flags;                       /* flags: CF_*, size class in the low bits */
} Cell;

typedef struct { Cell h; uint64_t slot[]; } Record;      /* Data, Closure, Ref */

typedef struct {
  Cell h;
  void *data;                                /* compact, row-major; never NULL */
  int64_t count;                             /* elements                      */
  Cell *owner;                               /* of the bytes, when not this tensor's own */
  int64_t dim[];
} Tensor;

static inline bool is_cell(uint64_t v) { return !(v & 1); }
static inline Cell *cell_of(uint64_t v) { return (Cell *)(uintptr_t)v; }
static inline uint64_t cell_value(const void *c) { return (uint64_t)(uintptr_t)c; }
static inline Record *record_of(uint64_t v) { return (Record *)(uintptr_t)v; }
static inline Tensor *tensor_of(uint64_t v) { return (Tensor *)(uintptr_t)v; }
static inline uint64_t nullary(uint32_t ctor) { return (uint64_t)ctor << 1 | 1; }
#endif
