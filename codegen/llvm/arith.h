/* arith.h -- inside codegen/llvm: 64-bit arithmetic and choices, as instructions. */
#ifndef RVM_CODEGEN_LLVM_ARITH_H
#define RVM_CODEGEN_LLVM_ARITH_H
#include "codegen/llvm/emit.h"

static inline int64_t ceil_div(int64_t x, int64_t y) { return (x + y - 1) / y; }

static inline Val mul(Emit *e, Val x, Val y) { return LLVMBuildMul(e->b, x, y, ""); }

static inline Val add(Emit *e, Val x, Val y) { return LLVMBuildAdd(e->b, x, y, ""); }

static inline Val sub(Emit *e, Val x, Val y) { return LLVMBuildSub(e->b, x, y, ""); }

/* Of signed integers. */
#define COMPARE(name, predicate)                                                                   \
  static inline Val name(Emit *e, Val x, Val y) { return LLVMBuildICmp(e->b, predicate, x, y, ""); }
COMPARE(equal, LLVMIntEQ)
COMPARE(differ, LLVMIntNE)
COMPARE(less, LLVMIntSLT)
COMPARE(at_most, LLVMIntSLE)
COMPARE(greater, LLVMIntSGT)
COMPARE(at_least, LLVMIntSGE)
#undef COMPARE

static inline Val choose(Emit *e, Val yes, Val x, Val y) {
  return LLVMBuildSelect(e->b, yes, x, y, "");
}

/* x / by, rounded up; x >= 0, by > 0. */
static inline Val div_up(Emit *e, Val x, Val by) {
  return LLVMBuildUDiv(e->b, sub(e, add(e, x, by), i64_of(e, 1)), by, "");
}

static inline Val one_at_least(Emit *e, Val x) {
  return choose(e, equal(e, x, i64_of(e, 0)), i64_of(e, 1), x);
}

/* The byte i from base. */
static inline Val bytes_on(Emit *e, Val base, Val i) {
  return LLVMBuildGEP2(e->b, int_type(e, 8), base, &i, 1, "");
}
#endif
