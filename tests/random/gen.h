/* gen.h -- random well-typed programs: all forms of the language, the common
 * operators composed freely, every operator in one of its examples with others
 * before and behind it, static, symbolic and zero extents.
 *
 * What is promised of a result: integers, truth values and element-wise float
 * work are the same bits in every engine and at every optimisation level; sums
 * and products of floats may be rounded in another order.  So every tensor type
 * here is exact or not; only exact values are compared, rounded, ordered or
 * turned to integers, and those that are not stay small, where an absolute
 * tolerance means something.                                                  */
#ifndef RVM_TESTS_RANDOM_GEN_H
#define RVM_TESTS_RANDOM_GEN_H
#include "base/str.h"
#include "base/vec.h"
#include "ir/expr.h"
#include "tests/random/tape.h"

typedef enum { G_INT, G_BOOL, G_TENSOR, G_TUPLE, G_LIST, G_OPTION, G_TREE, G_FN, G_REF } GKind;
enum { DIM_N = -1, DIM_M = -2, G_RANK = 4 };       /* else an extent           */
typedef struct GType {
  GKind kind;
  DType dtype;  bool exact;  int rank, dim[G_RANK]; /* TENSOR; f32, i32 or bool */
  int n;  const struct GType *at[4];               /* parts; FN: argument, result */
} GType;

/* A parameter of an entry function and what to call it with. */
typedef struct { const char *name;  Tensor *value; } GInput;
typedef struct {
  const char *text;                                /* of all its functions     */
  const char *entry;
  VEC(GInput) in;
} GProgram;

/* The definitions that every program may use: once per file. */
extern const char *const gen_preamble;
/* number: makes the names of the program's functions unique in a file. */
GProgram gen_program(Tape *t, int number);

/* ---- between the files of this subject ---------------------------------------- */
typedef struct { const char *name;  const GType *type; } GName;
typedef VEC(GName) GScope;
typedef struct GFn {                               /* the function being written */
  const char *name;  const GType *result;
  VEC(GName) param;  VEC(const char *) spec;       /* types of ? extents, or NULL */
} GFn;
typedef struct Gen {
  Tape *t;
  int number, fresh, budget, depth_fns;
  int64_t n, m;                                    /* what the symbols are in the run */
  GFn *fn;
  StrBuf helpers;
  VEC(GInput) extra;                               /* of operator examples     */
  VEC(const char *) extra_type;
} Gen;

uint32_t     pick(Gen *g, uint32_t n);
bool         one_in(Gen *g, uint32_t n);           /* false is the simple choice */
const GType *g_scalar(GKind k);
const GType *g_tensor(DType t, bool exact, int rank, const int *dim);
const GType *g_of(GKind k, int n, const GType *const *at);
bool         g_same(const GType *a, const GType *b);
const char  *g_text(const GType *t);
const char  *g_fresh(Gen *g, const char *stem);
const char  *g_expr(Gen *g, const GType *t, GScope *s, int depth);
const char  *g_leaf(Gen *g, const GType *t, GScope *s);
/* gen_tensor.c: one operator that gives a t. */
const char  *g_operator(Gen *g, const GType *t, GScope *s, int depth);
/* gen_example.c: a call of any operator of the library, with inputs of its own.  lets gets
 * bindings, s what they bind that other operators may take. */
const char  *g_example(Gen *g, StrBuf *lets, GScope *s);
#endif
