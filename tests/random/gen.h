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

typedef enum { G_INT, G_BOOL, G_TENSOR, G_TUPLE, G_LIST, G_OPTION, G_TREE, G_FN, G_REF,
               G_HERD, G_SLOT } GKind;
enum { DIM_N = -1, DIM_M = -2, G_RANK = 4 };       /* else an extent           */
typedef struct GType {
  GKind kind;
  DType dtype;  bool exact;  int rank, dim[G_RANK]; /* TENSOR */
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
  bool special;                                    /* NaN, bounds and so on among its inputs */
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
DType        g_dtype(Gen *g);
const GType *g_type(Gen *g, int depth);            /* any                      */
bool         g_first_order(const GType *t);        /* without functions and refs */
/* A variable of the type, or NULL. */
const char  *g_known(Gen *g, const GType *t, const GScope *s);
GScope       g_with(const GScope *s, const char *name, const GType *t);
const char  *g_param(Gen *g, const GType *t);      /* one of g->fn; any number may be added */
GFn         *g_new_fn(Gen *g, const char *name, const GType *result);
void         g_write_params(const GFn *f, StrBuf *b);
void         g_set(Tensor *t, int64_t i, double v);
const char  *g_leaf(Gen *g, const GType *t, GScope *s);
/* gen.c: a value made, not named. */
const char  *g_make(Gen *g, const GType *t, GScope *s, int depth);
const char  *g_tuple(Gen *g, const GType *t, GScope *s, int depth);
const char  *g_function(Gen *g, const GType *t, GScope *s, int depth);
/* gen_form.c: any expression of the type. */
const char  *g_expr(Gen *g, const GType *t, GScope *s, int depth);
/* gen_tensor.c: one operator that gives a t. */
const char  *g_operator(Gen *g, const GType *t, GScope *s, int depth);
/* gen_example.c: a call of any operator of the library, with inputs of its own.  lets gets
 * bindings, s what they bind that other operators may take. */
const char  *g_example(Gen *g, StrBuf *lets, GScope *s);
#endif
