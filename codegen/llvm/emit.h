/* emit.h -- inside codegen/llvm: the state of emitting one kernel.
 *
 * In registers an element is: bool i1, integers their width, halves float, the
 * rest as they are.  In memory bool is a byte and halves are 16 bits.
 * Expressions are emitted anew by each statement that uses them; LLVM removes
 * what is common, and what a store lies between is not.                      */
#ifndef RVM_CODEGEN_LLVM_EMIT_H
#define RVM_CODEGEN_LLVM_EMIT_H
#include <llvm-c/Core.h>
#include "codegen/native/machine.h"
#include "kernel/visit.h"

typedef LLVMValueRef Val;
typedef LLVMBasicBlockRef Block;
/* What code is made for.  wide: AVX-512; fast: LlvmOptions.fast_math; of the caches, all are
 * above 0. */
typedef struct { bool f16c, fma, wide, fast;  int vector_bytes;  Caches cache; } Cpu;

typedef struct Emit {
  LLVMContextRef c;  LLVMModuleRef m;  LLVMBuilderRef b;
  const Kernel *k;  Cpu cpu;
  const int64_t *fixed;                      /* the symbols' values, or NULL: any */
  bool other_order;                          /* fixed: a sum's order could not be kept */
  void (*fail)(struct Emit *e, KStatus s, uint32_t message); /* NULL: return the status */
  Val fn, state;                             /* state: JitState of the launch (launch.h) */
  Block entry;                               /* for allocas                    */
  Val *val;  uint32_t *seen, *todo, epoch;   /* per node                       */
  Val *var, *next;  bool *in_memory;         /* per variable; carried ones are allocas, and have a next */
  uint8_t *form, *need, *var_form;           /* lanes.c: per node, per node, per variable */
  int64_t *coef, *var_coef;  Val *lane;
  uint64_t shared;                           /* buffers: may be one with another, so not noalias */
  uint32_t split;                            /* the statement that runs in parts, or KE_NONE */
  Val *kept, at_lane;                        /* emit_strips.c: per statement; the lane of the strip */
  Val sym[K_MAX_SYMS], buf[K_MAX_BUFS], dim[K_MAX_BUFS][K_MAX_RANK];
} Emit;

/* A counted loop being emitted: i in [0, n), or from lo in steps. */
typedef struct { Block body, exit;  Val i, n;  int64_t step; } Loop;


/* ---- emit.c: types, loops, failures ------------------------------------------------ */
/* Emit kernel k as i64 @name(ptr bufs, ptr syms, ptr state): 0, or a KStatus with
 * the message's offset above bit 8.  false: no memory. */
bool emit_kernel(LLVMModuleRef m, const Kernel *k, Cpu cpu, const char *name);
/* The same for these values of the symbols, with the same bits as result.  false also: there is
 * no way to be sure of the bits (see also native_fixable, launch.h). */
bool emit_kernel_fixed(LLVMModuleRef m, const Kernel *k, Cpu cpu, const char *name,
                       const int64_t *sym);
/* An attribute without a value, of a function. */
void fn_attribute(const Emit *e, Val fn, const char *name);
/* A new function of the module's own that is not inlined; its vectors are as wide as there are. */
Val own_function(const Emit *e, const char *name, LLVMTypeRef type);
/* The attributes of a function whose first arguments are the buffers. */
void emit_noalias(const Emit *e, Val fn);
LLVMTypeRef reg_type(const Emit *e, DType t);
LLVMTypeRef mem_type(const Emit *e, DType t);
LLVMTypeRef int_type(const Emit *e, int bits);
LLVMTypeRef ptr_type(const Emit *e);
Val i64_of(const Emit *e, int64_t v);
Block new_block(Emit *e, const char *name);
Val new_slot(Emit *e, LLVMTypeRef t);        /* an alloca in the entry block   */
void fail_unless(Emit *e, Val ok, KStatus s, uint32_t message);
Loop loop_begin(Emit *e, Val n);
Loop loop_begin_step(Emit *e, Val n, int64_t step);
void loop_end(Emit *e, Loop *l);
Val i64_min(Emit *e, Val x, Val y);
void take_symbols(Emit *e, unsigned first);  /* from the function's arguments, or fixed */
/* What of [0, n) this call is to do: everything, unless statement `at` is the one
 * that is split and the launch is one of several parts. */
typedef struct { Val from, to, is_last; } Part;  /* is_last: of the parts, i1; NULL: no parts */
Part emit_part(Emit *e, uint32_t at, Val n);

/* ---- emit_expr.c -------------------------------------------------------------------- */
Val emit_expr(Emit *e, KE root);
/* Of elements, or of vectors lane by lane, as all of emit_op.c: changes between registers and
 * memory. */
Val emit_bits(Emit *e, Val x, DType from, DType to);
LLVMTypeRef shaped(LLVMTypeRef t, Val x);    /* t, or a vector of t as long as x */
Val int_const(LLVMTypeRef t, uint64_t v);    /* of an integer or a vector of them */
Val emit_round_half(Emit *e, DType t, Val x); /* f32 -> the nearest of t, as float */
Val emit_intrinsic(Emit *e, const char *name, LLVMTypeRef t, Val *arg, unsigned n);
Val emit_call(Emit *e, const char *name, LLVMTypeRef result, Val *arg, unsigned n, bool pure);
Val to_memory(Emit *e, DType t, Val x);
Val from_memory(Emit *e, DType t, Val x);
Val emit_address(Emit *e, uint32_t buf, const Val *index);
bool is_vector(Val x);
Val lane_of(Emit *e, Val x, unsigned i);     /* NULL of NULL                  */
/* v (NULL: undefined so far) of n lanes with x in lane i. */
Val with_lane(Emit *e, Val v, Val x, unsigned i, unsigned n);

/* ---- emit_op.c ---------------------------------------------------------------------- */
Val emit_op(Emit *e, SOp op, DType t, Val x, Val y, Val z);
bool op_in_lanes(SOp op, DType t);           /* instructions only: lanes nobody wants do no harm
                                                and cost nothing              */
Val emit_cast(Emit *e, Val x, DType from, DType to);

/* ---- emit_math.c -------------------------------------------------------------------- */
/* A function of float32 in line (kernel/vmath.h), also of vectors; NULL: op is not
 * one of them, or x is a double: libm's is called. */
bool math_in_line(SOp op, DType t);
Val emit_math(Emit *e, SOp op, Val x, Val y);

/* ---- emit_strips.c -------------------------------------------------------------------- */
Val emit_strip_var(Emit *e, uint32_t var);   /* this lane's value of a variable in an array */

/* ---- emit_stmt.c, contract.c --------------------------------------------------------- */
void emit_stmts(Emit *e, uint32_t from, uint32_t to);
void set_var(Emit *e, uint32_t var, Val v);
/* A contraction in tiles; false: emit it as plain loops instead. */
bool emit_contract(Emit *e, uint32_t s);
void emit_contract_plain(Emit *e, uint32_t s);
#endif
