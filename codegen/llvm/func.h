/* func.h -- inside codegen/llvm: the state of emitting the functions of an image.
 *
 * A function of the image becomes  tailcc { result, fuel } f(vm, fuel, args...).
 * A register is one LLVM variable per type it has at some time: scalars as in
 * emit.h, but halves as their 16 bits; references as pointers.  What fails does
 * not return: the runtime leaves the stack (codegen/native/engine.h).
 *
 * Fuel is counted as the interpreter does, instruction for instruction: what a
 * straight line costs is charged where control leaves it.                    */
#ifndef RVM_CODEGEN_LLVM_FUNC_H
#define RVM_CODEGEN_LLVM_FUNC_H
#include "codegen/llvm/emit.h"
#include "vm/image.h"

enum { V_KINDS = 8, TAIL_CC = 18 };          /* LLVM types a register can have; llvm::CallingConv::Tail */
enum { TY_SCALAR = 1u << 31 };               /* + dtype; otherwise an index into Image.type */
typedef struct { uint32_t ty;  uint16_t ctor; } Reg; /* ctor: 1 + the known one, or 0 */

typedef struct {
  Emit e;                                    /* first: emit_op and emit_cast work on it */
  const Image *m;
  const IFunc *f;  uint32_t index, pc;
  Reg *r;                                    /* types of the registers, here  */
  Val *slot;                                 /* variables: V_KINDS per register, made when needed */
  Block *block, head;                        /* per instruction that is a label; the function's start */
  Val vm, fuel, scratch;                     /* scratch: slots for calls of the runtime */
  uint32_t pending;                          /* instructions since the last charge */
  bool live, counted;                        /* can control get here?  Is this instruction charged? */
  bool outlined;                             /* is what takes many instructions called, here? */
  Val where;                                 /* of a function that is called so; NULL: index and pc */
  /* Of the whole image: */
  LLVMTypeRef *type;  Val *fn, *shell;       /* per function: type, code, code as a closure */
  Val shells, konst;
  const bool *direct;                        /* kernels of the same module, to call without ado */
  const uint32_t *memo;                      /* per kernel, as KernelInfo.memo */
  const bool *needs_launch;
  bool ahead;                                /* a kernel's result may not be complete: ahead.h */
  Val *args;  LLVMTypeRef *arg_types;        /* room for those of any call, for one at a time */
} Func;

/* prelude.c: a module with the inline functions.  NULL: *why. */
LLVMModuleRef prelude_module(LLVMContextRef c, const char **why);

/* func.c.  Emit all functions into m, where the direct kernels are already.
 * false: *why. */
bool emit_functions(LLVMModuleRef m, const Image *im, const bool *direct, const uint32_t *memo,
                    const bool *needs_launch, Cpu cpu, const char **why);

/* ---- registers and types -------------------------------------------------- */
static inline uint32_t scalar_ty(DType t) { return TY_SCALAR | (uint32_t)t; }
static inline bool is_scalar(Reg r) { return (r.ty & TY_SCALAR) != 0; }
static inline Reg scalar_reg(DType t) { return (Reg){scalar_ty(t), 0}; }
static inline DType dtype_of(Reg r) { return (DType)(r.ty & 0xff); }
Reg  reg_of(const Image *m, uint32_t type);
Reg  known_ctor(const Image *m, uint32_t type, uint32_t ctor);
LLVMTypeRef llvm_type(const Func *f, Reg r);
Val  get(Func *f, uint32_t reg);             /* as the type it has            */
void set(Func *f, uint32_t reg, Reg type, Val v);
Val  get_float(Func *f, uint32_t reg);       /* halves as emit_op wants them  */
Val  from_float(Func *f, DType t, Val v);
Val  to_slot(Func *f, Reg type, Val v);      /* as in value.h, an i64         */
Val  from_slot(Func *f, Reg type, Val v);
Val  element_load(Func *f, Val at, DType t); /* an element of a tensor        */

/* ---- small things ----------------------------------------------------------- */
Val  at_offset(Func *f, Val base, size_t offset);
Val  load_field(Func *f, LLVMTypeRef t, Val base, size_t offset);
void store_field(Func *f, Val v, Val base, size_t offset);
Val  lib(Func *f, const char *name, Val *arg, unsigned n);   /* of the prelude */
Val  where_now(Func *f);                     /* the instruction, for the runtime */
Val  fuel_now(Func *f);
/* Of the runtime: the arguments are vm, where, fuel and these. */
Val  runtime_call(Func *f, const char *name, LLVMTypeRef result, const Val *arg, unsigned n, bool never_returns);
void fail_call(Func *f, const char *name, const Val *arg, unsigned n);
/* Unless ok: call what fails, and go on. */
void check(Func *f, Val ok, const char *name, const Val *arg, unsigned n);
enum { MOST_WORDS = 4 + K_MAX_BUFS + K_MAX_SYMS };
Val  const_words(Func *f, const uint32_t *w, uint32_t n);    /* its address; n <= MOST_WORDS */
void poll(Func *f);                          /* and stop if asked to          */
void go(Func *f, uint32_t pc);               /* to a label; charges           */
void pay(Func *f);                           /* for this instruction as well: control leaves here */
void dup_ref(Func *f, Reg type, Val v);
void drop_ref(Func *f, Reg type, Val v);

/* ---- instructions ------------------------------------------------------------ */
void emit_ins(Func *f, Ins i);               /* func_ins.c                    */
void emit_call_ins(Func *f, Ins i);          /* func_call.c: CALL ... TAILCALLC, RET */
void emit_shell(Func *f, uint32_t index);    /* a function as the code of closures */
void emit_alloc(Func *f, Ins i);             /* func_tensor.c                 */
/* With the words w of an ALLOC, REUSE, KERNEL, into register `to`; in line. */
void alloc_tensor(Func *f, uint32_t to, const uint32_t *w);
void reuse_tensor(Func *f, uint32_t to, const uint32_t *w);
/* A cell of n slots, with this header; what: kind and descriptor, as the runtime wants them. */
Val  take_record(Func *f, Val what, Val head, uint32_t n);
/* later: the result is put in a cell before anything is done with it. */
void launch_kernel(Func *f, const uint32_t *w, bool later);
void emit_renew(Func *f, Ins i);
void emit_drop(Func *f, Ins i);              /* func_open.c                   */
void emit_shell_ins(Func *f, Ins i);
/* The memory of a record of n slots, whose contents are somebody else's now. */
void free_record(Func *f, Val cell, uint32_t n);
/* Does the FIELD at f->pc leave the count of what it reads to the end of its run? */
bool is_field_of_opened(const Func *f, Ins i);
void emit_reuse(Func *f, Ins i);
void emit_settle(Func *f, Ins i);
void emit_view(Func *f, Ins i);
void emit_record(Func *f, uint32_t reg, Reg type, uint32_t kind, uint32_t desc,
                 const uint32_t *list);      /* list: n, registers            */
void emit_kernel_ins(Func *f, Ins i);
void emit_runtime_ins(Func *f, Ins i);
void emit_complete(Func *f);                 /* the result that is not, before it is read */
uint32_t scratch_slots(const Image *m, Ins i); /* how many an instruction needs */

/* ---- long functions: func_outline.c ------------------------------------------------ */
/* Of each instruction of f->f: is it in a long function and no short loop of it?  To free; NULL:
 * no memory. */
bool *find_outlined(const Func *f);
/* As the four in line, by a call; what has been spent so far is charged by outline_launch. */
void outline_alloc(Func *f, uint32_t to, const uint32_t *w);
void outline_reuse(Func *f, uint32_t to, const uint32_t *w);
Val  outline_record(Func *f, Val what, Val head, uint32_t n);
void outline_launch(Func *f, const uint32_t *w);
#endif
