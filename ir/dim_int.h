/* dim_int.h -- what the files of ir/dim*.c share; nobody else includes it.
 *
 * Every Dim is seen as a polynomial: a constant and terms coeff * atom, the
 * terms sorted by atom id, no coefficient zero.  An atom that is a product is
 * a left-nested chain of Mul over factors sorted by id.                      */
#ifndef RVM_IR_DIM_INT_H
#define RVM_IR_DIM_INT_H
#include "ir/dim.h"
#include "base/checked.h"
#include "base/vec.h"

enum {
  DIM_MAX_TERMS = 512, DIM_MAX_FACTORS = 32, DIM_MAX_PRODUCT = 64, DIM_MAX_DEPTH = 500,
  DIM_MAX_SIZE = 1 << 18     /* a Dim is walked as a tree, and shared nodes make that large */
};

/* A Dim seen as a polynomial; term points into the Dim or at own. */
typedef struct { int64_t c; int n; const DimTerm *term; DimTerm own; } Lin;
void lin_of(Dim d, Lin *out);

/* A polynomial being built: terms in any order, equal atoms allowed. */
typedef struct { int64_t c; VEC(DimTerm) term; bool lost; } Poly; /* lost: a number overflowed */
void poly_add_const(Poly *p, int64_t c);
void poly_add_term(Poly *p, Dim atom, int64_t coeff);
Dim  poly_done(DimTab *t, Poly *p);           /* Any when lost                   */

Dim dim_node(DimTab *t, DimKind kind, Dim a, Dim b);   /* hash-consed, as given  */

/* The factors of a product in order of id; 1 and d itself for other atoms. */
typedef struct { int n; Dim at[DIM_MAX_FACTORS]; } Factors;
bool factors_of(Dim atom, Factors *out);      /* false: too many                 */
Dim  factors_product(DimTab *t, const Factors *f);     /* NULL for no factors    */

/* Where a value certainly lies. */
typedef struct { bool has_lo, has_hi; int64_t lo, hi; } Bound;
Bound dim_bound(Dim d);
Bound dim_bound_diff(Dim a, Dim b);           /* of a - b                        */
static inline bool dim_at_least(Dim a, Dim b) { /* provably a >= b */
  Bound d = dim_bound_diff(a, b);
  return d.has_lo && d.lo >= 0;
}

static inline int64_t floor_div(int64_t a, int64_t b) { /* b > 0 */
  return a / b - (a % b < 0);
}
static inline int64_t floor_mod(int64_t a, int64_t b) { /* b > 0; in [0, b) */
  return a % b + (a % b < 0 ? b : 0);
}
#endif
