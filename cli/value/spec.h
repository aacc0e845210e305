/* spec.h -- inputs: from what a user writes to values of a program.
 *
 * An input is first an InValue, a tree of tensors and constructors checked
 * against a type of the program, and then, as often as the program is run, a
 * value of an instance.  Everything goes by rvm_type, so a .rvm file serves as
 * well as a .rly; only computed expressions need the Module.
 *
 * SPEC is one of
 *   @x.npy  @x.npz:name  @x.safetensors:name
 *              a tensor; for data, all its parts, by dotted path below name
 *   f32[1,80]=rand:7   int32=5   bool[3]=zeros   i64[2,2]=ones
 *              an element type by its long or short name, extents, contents
 *   rand:7  zeros  ones
 *              the same, for a tensor whose type says all its extents
 *   5  1.5f  True  [[1, 2], [3, 4]]  (1, 2)  Cons(1, Nil)  Node(Leaf(@a.npy), Nil)
 *              a value as results are printed, with the above for tensors
 *   @cube      a function of the program, where functions of its type became data
 *   any closed expression of the language (when there is a Module)
 * A number without suffix takes the element type that is wanted if that holds
 * it.  A tensor where List[Tensor] is wanted is split along its first axis.
 *
 * rand:SEED.  Element j, in row-major order, comes from
 *   z = SEED + j + 0x9e3779b97f4a7c15
 *   z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9
 *   z = (z ^ z >> 27) * 0x94d049bb133111eb
 *   z = z ^ z >> 31                        (splitmix64: Steele et al. 2014)
 * A float is 2 * (z >> 40) / 2^24 - 1, in [-1, 1), rounded to its type; an
 * integer is (z >> 40) * 10 >> 24, in [0, 10); a bool is z >> 63.            */
#ifndef RVM_CLI_SPEC_H
#define RVM_CLI_SPEC_H
#include <rvm/rvm.h>
#include "cli/file/tensor_file.h"

typedef enum { SPEC_OK, SPEC_MISSING, SPEC_BAD } SpecResult;
/* text: from base/mem.h; io: a file cannot be read. */
typedef struct { const char *text; bool io; } SpecError;

typedef struct InValue {
  rvm_type type;
  const Tensor *tensor;                      /* NULL: data, ...                */
  uint32_t ctor, n;                          /* ... this constructor, fields   */
  struct InValue **at;
} InValue;

/* m may be NULL (a .rvm file).  NULL after setting *why. */
InValue *input_from_spec(const rvm_program *p, rvm_type t, const Module *m, const char *spec,
                         SpecError *why);

/* The parameter `name` from tensors by name: its own name, or for data the
 * dotted paths below it (tuples and types of one constructor by field name or
 * number, lists by number).  SPEC_MISSING: the sets have nothing of it. */
SpecResult input_from_sets(const rvm_program *p, rvm_type t, const char *name,
                           const TensorSet *sets, InValue **out, SpecError *why);

/* A value of the instance.  It may borrow the tensors' memory, so v must stay where
 * a collector sees it until the value and all that was made with it are gone. */
rvm_status invalue_make(rvm_instance *vm, const InValue *v, rvm_value *out, rvm_error *err);
/* The same with memory of its own: v may go. */
rvm_status invalue_copy(rvm_instance *vm, const InValue *v, rvm_value *out, rvm_error *err);

/* ---- between the files of this subject ------------------------------------------- */
InValue *invalue_data(rvm_type t, uint32_t ctor, uint32_t n);        /* fields to be set */
/* A list: of two constructors one is empty, the other has an element and the rest, in
 * some order.  elem is not t itself. */
typedef struct {
  uint32_t nil, cons, rest;                  /* constructors; the field of cons that goes on */
  rvm_type elem;
} ListType;
bool     list_type(const rvm_program *p, rvm_type t, ListType *out);
/* x as a value of type t: itself, or split as a list.  NULL after setting *why. */
InValue *invalue_tensor(const rvm_program *p, rvm_type t, const Tensor *x, SpecError *why);
/* A file, or file:name. */
InValue *invalue_file(const rvm_program *p, rvm_type t, const char *path,
                      SpecError *why);
Tensor  *spec_file_tensor(const char *path, SpecError *why);
bool     spec_names_file(const char *path);
/* f32[1,80]=rand:7; *mine tells whether spec begins like that. */
InValue *invalue_typed(const rvm_program *p, rvm_type t, const char *spec, bool *mine,
                       SpecError *why);
/* A literal value; *computed is set when it may be an expression instead. */
InValue *invalue_literal(const rvm_program *p, rvm_type t, const Module *m, const char *text,
                         bool *computed, SpecError *why);
/* A closed expression, compiled beside the program and run. */
InValue *invalue_compute(const rvm_program *p, rvm_type t, const Module *m, const char *text,
                         SpecError *why);
DType    type_dtype(const rvm_type_info *info);
void    *spec_bad(SpecError *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The names of the tensors, the first twelve. */
const char *set_names(const TensorSet *set);
#endif
