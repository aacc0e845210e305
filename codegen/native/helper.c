/* helper.c -- see helper.h.  Functions of libm go under names of our own: LLVM
 * would replace those it knows by others that round differently.            */
#include "codegen/native/helper.h"
#include <math.h>
#include <string.h>
#include "codegen/native/launch.h"
#include "kernel/interp.h"

static uint64_t help_pow(uint64_t a, uint64_t n, DType t) {
  uint64_t out = 0;
  (void)scalar_eval(S_pow, t, a, n, 0, &out); /* what traps was checked before */
  return out;
}
static uint64_t help_ipow(uint64_t a, uint64_t n) { return help_pow(a, n, DT_i64); }
static uint64_t help_upow(uint64_t a, uint64_t n) { return help_pow(a, n, DT_u64); }
static float half_value(uint64_t h, DType t) {
  return t == DT_f16 ? f16_to_f32((uint16_t)h) : bf16_to_f32((uint16_t)h);
}
static float help_to_half(uint64_t x, uint32_t from, uint32_t to) {
  return half_value(scalar_cast(x, (DType)from, (DType)to), (DType)to);
}

#define H(name, fn)                                                                                \
  { "rvm." name, (void *)(uintptr_t)(fn) }
#define M(name) H(#name, name), H(#name "f", name##f)
const Helper kernel_helper[] = {
    H("ipow", help_ipow),
    H("upow", help_upow),
    H("to_half", help_to_half),
    H("to_f16", f32_to_f16),
    H("from_f16", f16_to_f32),
    H("scratch", jit_scratch),
    H("packed", jit_packed),
    H("pack", jit_pack),
    H("pack_done", jit_pack_done),
    H("backward", jit_backward),
    H("zero_row", jit_zero_row),
    H("is_constant", jit_is_constant),
    H("ahead_next", ahead_next),
    M(fmod),
    M(pow),
    M(atan2),
    M(exp),
    M(log),
    M(log2),
    M(log10),
    M(log1p),
    M(expm1),
    M(sin),
    M(cos),
    M(tan),
    M(sinh),
    M(cosh),
    M(tanh),
    M(asin),
    M(acos),
    M(atan),
    M(asinh),
    M(acosh),
    M(atanh),
    M(erf),
#define L(name)                                                                                    \
  { #name, (void *)(uintptr_t)(name) }
    /* What LLVM makes of loops, and of instructions this CPU does not have. */
    L(memcpy),
    L(memset),
    L(memmove),
    L(fmod),
    L(fmodf),
    L(floor),
    L(floorf),
    L(ceil),
    L(ceilf),
    L(trunc),
    L(truncf),
    L(rint),
    L(rintf),
    L(fma),
    L(fmaf),
    {"roundeven", (void *)(uintptr_t)rint}, /* in the default rounding mode       */
    {"roundevenf", (void *)(uintptr_t)rintf},
};
#undef L
#undef H
#undef M
const int kernel_helpers = (int)(sizeof kernel_helper / sizeof *kernel_helper);

static void *find_in(const Helper *h, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (strcmp(h[i].name, name) == 0) return h[i].address;
  return NULL;
}

void *helper_find(void *user, const char *name) {
  (void)user;
  void *at = find_in(kernel_helper, kernel_helpers, name);
  return at ? at : find_in(engine_helper, engine_helpers, name);
}
