/* dim.h -- symbolic extents.
 *
 * A Dim is an immutable, hash-consed integer expression: two Dims of one
 * DimTab are provably equal exactly when the pointers are equal (linear
 * normal form), otherwise they may or may not be.  Values are extents, so
 * symbols are >= 0.
 *
 *   Const 3 | Any ? | Sym n | Meta (inference) | Sum c + k1*a1 + ... |
 *   Mul a*b | Div floor(a/b) | Mod | Max | Min | Bcast (a if b is 1 else b...)
 *
 * DIM_Any is "some extent nobody named"; it has no identity (it equals
 * nothing, not even itself).  When a value whose type says ? is bound to a
 * variable the checker gives that axis an anonymous Sym of its own, so that
 * the same variable used twice is known to have the same extent; such a Sym
 * prints as ?.                                                               */
#ifndef RVM_IR_DIM_H
#define RVM_IR_DIM_H
#include <stdbool.h>
#include <stdint.h>
#include "base/map.h"
#include "base/str.h"

typedef enum { DIM_Const, DIM_Any, DIM_Sym, DIM_Meta, DIM_Sum, DIM_Mul, DIM_Div, DIM_Mod, DIM_Max, DIM_Min, DIM_Bcast } DimKind;
typedef struct DimNode DimNode;
typedef const DimNode *Dim;

typedef struct { Dim atom; int64_t coeff; } DimTerm;      /* atom is not Const, not Sum */
struct DimNode {
  DimKind kind;
  uint32_t id;               /* order of creation in the table                */
  int64_t value;             /* Const: the value; Sum: the constant part      */
  int n_terms;               /* Sum                                           */
  const DimTerm *term;       /* sorted by atom id, no zero coefficient        */
  Dim a, b;                  /* Mul Div Mod Max Min Bcast                     */
  Sym name;                  /* Sym: its name, NULL for an anonymous one      */
  int level;                 /* Sym: nesting depth of the scope that owns it  */
  void *meta;                /* Meta: the checker's cell                      */
};

typedef struct DimTab DimTab;
DimTab *dimtab_new(void);
Dim dim_const(DimTab *t, int64_t v);
Dim dim_any(DimTab *t);
Dim dim_new_sym(DimTab *t, Sym name, int level);   /* always a fresh one       */
Dim dim_new_meta(DimTab *t, void *cell);
/* Arithmetic; any operand that is Any makes the result Any.  Div, Mod floor;
 * a division by a constant zero gives Any. */
Dim dim_add(DimTab *t, Dim a, Dim b);
Dim dim_sub(DimTab *t, Dim a, Dim b);
Dim dim_mul(DimTab *t, Dim a, Dim b);
Dim dim_div(DimTab *t, Dim a, Dim b);
Dim dim_ceildiv(DimTab *t, Dim a, Dim b);
Dim dim_mod(DimTab *t, Dim a, Dim b);
Dim dim_max(DimTab *t, Dim a, Dim b);
Dim dim_min(DimTab *t, Dim a, Dim b);
Dim dim_bcast(DimTab *t, Dim a, Dim b);            /* equal, or one of them 1  */

bool dim_is_const(Dim d, int64_t *v);
bool dim_equal(Dim a, Dim b);      /* provably equal (never for Any)           */
bool dim_differ(Dim a, Dim b);     /* provably different                       */
bool dim_has_any(Dim d);
/* Substitute symbols: f returns the replacement, or NULL to keep.  Here and
 * below f and env are asked about every Sym and every Meta. */
Dim  dim_subst(DimTab *t, Dim d, Dim (*f)(void *, Dim sym), void *ud);
void dim_visit_syms(Dim d, void (*f)(void *, Dim sym), void *ud);
/* Text as in the language: 2 * n + 1, n / 2, max(n, m), ?. */
void dim_print(Dim d, StrBuf *out);
/* Value under an assignment of its symbols; false when env refuses one. */
bool dim_eval(Dim d, bool (*env)(void *, Dim sym, int64_t *v), void *ud, int64_t *out);
#endif
