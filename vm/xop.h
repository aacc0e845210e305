/* xop.h -- instructions of the interpreter's own.
 *
 * When a program is loaded, vm/prep.c replaces instructions of the verified
 * image by these where the types, which the verifier has proved, allow less
 * work: one for one, so that jumps and source lines stay as they are.        */
#ifndef RVM_VM_XOP_H
#define RVM_VM_XOP_H
#include "vm/image.h"

/* Scalar operations with an instruction each: F(sop, dtype). */
#define FAST_ARITH(F) \
  F(add, i32) F(sub, i32) F(mul, i32) F(add, i64) F(sub, i64) F(mul, i64) \
  F(add, f32) F(sub, f32) F(mul, f32) F(div, f32) \
  F(add, f64) F(sub, f64) F(mul, f64) F(div, f64)
#define FAST_COMPARE(F) \
  F(eq, i32) F(ne, i32) F(lt, i32) F(le, i32) F(eq, i64) F(ne, i64) F(lt, i64) F(le, i64) \
  F(eq, f32) F(ne, f32) F(lt, f32) F(le, f32) F(eq, f64) F(ne, f64) F(lt, f64) F(le, f64)

typedef enum {
  X_NOP = OP_COUNT,
  X_SIGNED,      /* a <- c, sign-extended                                      */
  X_JUMPB,       /* JUMP backwards                                             */
  X_UNLESSB,     /* UNLESS backwards                                           */
  X_NULLARY,     /* a <- constructor W, which has no fields                    */
  X_FIELDS,      /* FIELD of scalar type                                       */
  X_REFGETS, X_REFSETS,                        /* of a reference to a scalar   */
  X_and_bool, X_or_bool, X_xor_bool, X_not_bool,
#define F(op, t) X_##op##_##t,
  FAST_ARITH(F) FAST_COMPARE(F)
#undef F
#define F(op, t) X_##op##_##t##_unless,        /* and the UNLESS on a that follows */
  FAST_COMPARE(F)
#undef F
  X_COUNT
} XOp;
#endif
