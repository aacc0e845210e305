/* rvm.h -- run a compiled program inside your own.
 *
 * A *program* is an immutable, verified image; share it between threads.  An
 * *instance* is one place to run it: a stack, a heap, limits.  One thread at a
 * time may use an instance.  The library has no global or thread-local
 * variables, never prints, never exits, allocates only through the allocator
 * you give it, and touches no memory outside what it got from it, the image,
 * and the tensors you pass.  Every failure is a returned value.  Whatever
 * returns rvm_status takes an rvm_error * last, which may be NULL.            */
#ifndef RVM_H
#define RVM_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define RVM_ABI 1u                   /* grows only when a struct changes       */

/* DLPack's tensor, as its specification lays it out (v0.8).  Include dlpack.h
 * first if you have it. */
#ifndef DLPACK_VERSION
typedef struct { int32_t device_type, device_id; } DLDevice;
typedef struct { uint8_t code, bits; uint16_t lanes; } DLDataType;
typedef struct {
  void *data;  DLDevice device;  int32_t ndim;  DLDataType dtype;
  int64_t *shape, *strides;  uint64_t byte_offset;
} DLTensor;
#endif

typedef struct rvm_program  rvm_program;
typedef struct rvm_instance rvm_instance;
typedef uint32_t rvm_func;           /* an entry point; valid as long as the program */
typedef uint32_t rvm_type;           /* a type of the program                  */

typedef enum {
  RVM_OK = 0,
  RVM_NO_FUEL,        /* stopped, resumable: rvm_set_fuel, then rvm_resume      */
  RVM_INTERRUPTED,    /* stopped, resumable: rvm_interrupt was called           */
  RVM_NO_MEMORY,      /* the allocator refused, or the memory limit was met     */
  RVM_TOO_DEEP,       /* more frames than limits.call_depth                     */
  RVM_BAD_IMAGE,      /* not an image, wrong version, or failed verification    */
  RVM_BAD_ARGUMENT,   /* count, dtype, shape, layout; error.index says which    */
  RVM_NOT_FOUND,      /* no such entry point                                    */
  RVM_BUSY,           /* the instance is running                                */
  RVM_FAULT           /* the program itself failed: error says where and why    */
} rvm_status;

typedef struct {      /* yours; nothing to free                                 */
  rvm_status status;
  uint32_t func, pc;                 /* where in the bytecode                   */
  uint32_t line, col;                /* where in the source; 0 when unknown     */
  uint32_t index;                    /* which argument                          */
  uint64_t at;                       /* BAD_IMAGE: byte offset                  */
  char file[96];
  char message[240];                 /* one English sentence, always terminated */
} rvm_error;

/* What memory is for: cells and the stack, elements of tensors, the program, and what
 * a kernel needs while it runs.  A block is freed under the kind it was asked for. */
typedef enum { RVM_VALUES, RVM_TENSORS, RVM_PROGRAM, RVM_SCRATCH } rvm_kind;
typedef struct {      /* realloc-like: NULL refuses; new_size 0 frees.  Blocks aligned to 64. */
  void *(*fn)(void *user, void *old, size_t old_size, size_t new_size, rvm_kind kind);
  void *user;
} rvm_alloc;

/* An allocator over memory of yours, for devices: first fit, coalescing, scratch
 * from the far end. */
typedef struct { void *base; size_t size, used, peak; void *free_list; } rvm_arena;
rvm_alloc rvm_arena_alloc(rvm_arena *a, void *memory, size_t bytes);

typedef struct {      /* 0 = no limit; NULL = all zero                           */
  uint64_t fuel;                     /* per call, ~1 unit per scalar operation   */
  uint64_t memory;                   /* bytes of heap and stack in all           */
  uint32_t call_depth;               /* frames; 0: bounded by memory             */
} rvm_limits;

uint32_t    rvm_abi(void);
const char *rvm_status_text(rvm_status s);

/* ---- programs ---------------------------------------------------------------
 * Everything here but load and free only reads the program, from any thread.
 * Text and shapes that are handed out are the program's. */

/* Decodes and verifies an image of n bytes.  It is borrowed and must outlive
 * the program (weights are not copied).  alloc is used until the program is
 * freed.  On failure *out is NULL: RVM_BAD_IMAGE with err->at, or
 * RVM_NO_MEMORY. */
rvm_status rvm_program_load(const void *image, size_t n, rvm_alloc alloc, rvm_program **out,
                            rvm_error *err);
void       rvm_program_free(rvm_program *p);         /* after its instances; NULL is fine */
/* Entry points are numbered from 0. */
uint32_t   rvm_program_count(const rvm_program *p);
/* name without "@".  RVM_NOT_FOUND: there is none of that name. */
rvm_status rvm_program_find(const rvm_program *p, const char *name, rvm_func *out, rvm_error *err);

/* doc: the lines of `///` before the definition, "" if there are none. */
typedef struct { const char *name, *doc; uint32_t n_params; rvm_type result; } rvm_func_info;
/* RVM_NOT_FOUND: no such entry point; of a parameter then UINT32_MAX and NULL. */
rvm_status  rvm_func_describe(const rvm_program *p, rvm_func f, rvm_func_info *out);
rvm_type    rvm_func_param(const rvm_program *p, rvm_func f, uint32_t i);
const char *rvm_func_param_name(const rvm_program *p, rvm_func f, uint32_t i);

typedef enum { RVM_TENSOR, RVM_DATA, RVM_CLOSURE, RVM_REF } rvm_type_kind;
typedef struct {
  rvm_type_kind kind;
  DLDataType dtype;  int32_t ndim;  const int64_t *shape;  /* TENSOR; -1 where any extent will do */
  const char *name;  uint32_t n_ctors;  int is_tuple;      /* DATA              */
} rvm_type_info;
/* RVM_NOT_FOUND: no such type.  A constructor that is not there has the name
 * NULL and no fields; a field that is not there, the type UINT32_MAX. */
rvm_status  rvm_type_describe(const rvm_program *p, rvm_type t, rvm_type_info *out);
const char *rvm_ctor_name(const rvm_program *p, rvm_type t, uint32_t ctor);
uint32_t    rvm_ctor_fields(const rvm_program *p, rvm_type t, uint32_t ctor);
rvm_type    rvm_ctor_field(const rvm_program *p, rvm_type t, uint32_t ctor, uint32_t i);
/* "": it has none. */
const char *rvm_ctor_field_name(const rvm_program *p, rvm_type t, uint32_t ctor, uint32_t i);

/* ---- instances --------------------------------------------------------------- */
/* A place to run p, which must outlive it.  lim is copied.  On failure *out is
 * NULL and the status RVM_NO_MEMORY. */
rvm_status rvm_instance_new(const rvm_program *p, const rvm_limits *lim, rvm_alloc alloc,
                            rvm_instance **out, rvm_error *err);
void       rvm_instance_free(rvm_instance *vm);     /* and all its values; NULL is fine */

/* ---- calls with tensors -------------------------------------------------------
 *   in   one tensor per parameter, borrowed for the call: CPU memory, dtype and
 *        rank as the parameter's type says, extents equal where it has one;
 *        compact row-major, or strides in elements; byte_offset is honoured.
 *   out  one DLTensor per tensor leaf of the result (a tensor, or a tuple of
 *        tensors).  data == NULL: data and shape are set to memory of the
 *        instance, good until the next call on it.  data != NULL: the result
 *        is copied there; shape must have room for the rank and hold the
 *        extents available, which must be those of the result.
 * RVM_BAD_ARGUMENT is found before anything runs; on any failure the instance
 * stays usable.                                                                */
rvm_status rvm_call(rvm_instance *vm, rvm_func f, const DLTensor *const *in,
                    DLTensor *const *out, rvm_error *err);
/* Continue a call stopped by RVM_NO_FUEL or RVM_INTERRUPTED; out as above.
 * RVM_BAD_ARGUMENT: no rvm_call is stopped.  Any other call forgets it. */
rvm_status rvm_resume(rvm_instance *vm, DLTensor *const *out, rvm_error *err);
/* Stops the call that runs, or the next one if none does: RVM_INTERRUPTED. */
void       rvm_interrupt(rvm_instance *vm);        /* from any thread or a signal handler */
/* What the stopped call may still use; where none is stopped, what every later
 * call may use.  0: no limit. */
void       rvm_set_fuel(rvm_instance *vm, uint64_t units);

/* ---- calls with any values ------------------------------------------------------
 * A value belongs to its instance; every value obtained must be released, or
 * given away (rvm_value_data and rvm_apply consume what they are given, also
 * when they fail).  After the instance is freed all are gone. */
typedef struct { uint64_t bits; rvm_type type; } rvm_value;
/* A tensor of type t.  It borrows x's memory, if that is compact, until the
 * value and all that is made of it have been released. */
rvm_status rvm_value_tensor(rvm_instance *vm, rvm_type t, const DLTensor *x, rvm_value *out,
                            rvm_error *err);
/* The same with memory of its own: x may go as soon as this returns. */
rvm_status rvm_value_tensor_copy(rvm_instance *vm, rvm_type t, const DLTensor *x, rvm_value *out,
                                 rvm_error *err);
/* Constructor number ctor of the data type t, with its n fields. */
rvm_status rvm_value_data(rvm_instance *vm, rvm_type t, uint32_t ctor, uint32_t n,
                          const rvm_value *fields, rvm_value *out, rvm_error *err);
/* Calls f with one value per parameter.  Statuses as of rvm_call. */
rvm_status rvm_apply(rvm_instance *vm, rvm_func f, const rvm_value *in, rvm_value *out,
                     rvm_error *err);
/* rvm_resume for a stopped rvm_apply. */
rvm_status rvm_resume_value(rvm_instance *vm, rvm_value *out, rvm_error *err);
uint32_t   rvm_value_ctor(const rvm_instance *vm, rvm_value v);            /* DATA          */
rvm_value  rvm_value_field(const rvm_instance *vm, rvm_value v, uint32_t i); /* borrowed from v */
/* TENSOR: shape and data point into the value (or into v itself for a scalar). */
void       rvm_value_get(const rvm_instance *vm, const rvm_value *v, DLTensor *out);
void       rvm_value_release(rvm_instance *vm, rvm_value v);
/* v, also one borrowed from another, becomes yours once more, to be released once more. */
void       rvm_value_retain(rvm_instance *vm, rvm_value v);

/* ---- looking inside ------------------------------------------------------------- */
typedef struct {      /* since the instance was made                            */
  uint64_t calls, instructions, kernels, fuel_used;
  uint64_t allocations;              /* of tensors and cells, in all            */
  uint64_t memory_now, memory_peak;  /* bytes from the allocator                */
} rvm_stats;
void rvm_get_stats(const rvm_instance *vm, rvm_stats *out);   /* while it runs nothing */

#ifdef __cplusplus
}
#endif
#endif
