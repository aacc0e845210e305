/* verify.h -- shared by the verifier's files: the tables (verify.c), the code
 * (verify_code.c), single instructions (verify_ins.c).  docs/bytecode.md says
 * what is proved.                                                             */
#ifndef RVM_VM_VERIFY_H
#define RVM_VM_VERIFY_H
#include "vm/image.h"

enum {
  IMAGE_MAX_TYPES = 65536,           /* a type fits an operand of an instruction */
  IMAGE_MAX_FUNCS = 1 << 20,
  IMAGE_MAX_REGS = 65536,
  IMAGE_MAX_ARGS = 65535,            /* captures and parameters                */
  IMAGE_MAX_CTORS = 255,             /* of one data type                       */
  IMAGE_MAX_FIELDS = 65535,          /* of one constructor: FIELD's operand    */
  IMAGE_MAX_RANK = 8
};

/* What a register may hold, as one number, so that types agree when the
 * numbers are equal: scalars by dtype, tensors by dtype and rank, others by
 * their index in Image.type. */
typedef uint32_t Cls;
enum { CLS_SCALAR = 0x40000000, CLS_TENSOR = 0x20000000 };
static inline Cls  cls_scalar(int t) { return CLS_SCALAR | (Cls)t; }
static inline Cls  cls_tensor(int t, int rank) { return CLS_TENSOR | (Cls)t << 8 | (Cls)rank; }
static inline bool cls_is_scalar(Cls c) { return c & CLS_SCALAR; }
static inline bool cls_is_tensor(Cls c) { return c & CLS_TENSOR; }
static inline DType cls_dtype(Cls c) { return (DType)((cls_is_scalar(c) ? c : c >> 8) & 0xff); }
static inline int  cls_rank(Cls c) { return (int)(c & 0xff); }

typedef struct {
  uint32_t epoch;                    /* holds a value when this is Verify.epoch */
  Cls cls;
  uint16_t ctor;                     /* 1 + known constructor of a data value  */
  bool fresh;                        /* tensor that nothing else refers to     */
  uint8_t state;                     /* V_BOUND: by REUSE, see VBond; V_SHELL: made by SHELL */
} VReg;
enum { V_PLAIN, V_BOUND, V_SHELL };

/* Two registers between REUSE and SETTLE, and whether `to` has been written. */
enum { V_BONDS = 32 };
typedef struct { uint16_t from, to; bool written; } VBond;

typedef struct {
  const Image *m;
  KAlloc a;
  ImageError *err;
  uint64_t work;                     /* steps left: entries may be shared, so a small file
                                        could ask for much                     */
  /* the function being verified */
  const IFunc *f;
  uint32_t pc;
  VReg *reg;
  uint32_t epoch, n_refs;            /* n_refs: registers that own a reference */
  bool live;                         /* can this point be reached from above?  */
  VBond bond[V_BONDS];  uint32_t n_bonds;
} Verify;

bool v_fail(Verify *v, const char *why);
bool v_spend(Verify *v, uint64_t steps);
static inline bool v_text(const Verify *v, uint32_t at) { return at < v->m->n_text; }

/* What type t (an index in range) is as a register class. */
static inline Cls v_cls(const Verify *v, uint32_t t) {
  const IType *ty = &v->m->type[t];
  if (ty->kind == IT_SCALAR) return cls_scalar(ty->dtype);
  if (ty->kind == IT_TENSOR) return cls_tensor(ty->dtype, ty->rank);
  return t;
}
static inline Cls v_list_cls(const Verify *v, uint32_t i) { return v_cls(v, v->m->type_list[i]); }
/* The type of a class that is neither scalar nor tensor, if it is of this kind. */
static inline const IType *v_type(const Verify *v, Cls c, ITypeKind kind) {
  if (cls_is_scalar(c) || cls_is_tensor(c) || v->m->type[c].kind != kind) return NULL;
  return &v->m->type[c];
}

/* registers: verify_code.c */
bool v_use(Verify *v, uint32_t r, VReg *out);                     /* borrow    */
bool v_use_cls(Verify *v, uint32_t r, Cls cls, const char *why);
bool v_look(Verify *v, uint32_t r, VReg *out);                    /* in any state */
bool v_take(Verify *v, uint32_t r, VReg *out);                    /* move from */
bool v_take_cls(Verify *v, uint32_t r, Cls cls, const char *why);
bool v_put(Verify *v, uint32_t r, Cls cls, uint16_t ctor, bool fresh);
bool v_edge(Verify *v, uint32_t target);                          /* jump there from here */

bool verify_ins(Verify *v, Ins i);                                /* verify_ins.c */
bool verify_func(Verify *v, const IFunc *f);                      /* verify_code.c */
#endif
