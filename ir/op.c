/* op.c -- building the plan of an operator call, step by step.  */
#include "ir/op.h"
#include <string.h>

OpRef plan_temp(OpPlan *p, DType dt, int rank, const Dim *dim) {
  OpOperand o = {.dtype = dt, .rank = rank};
  for (int i = 0; i < rank; i++) o.dim[i] = dim[i];
  vec_push(&p->operand, o);
  return p->operand.n - 1;
}

static void *copy(const void *at, size_t size, int n) {
  if (n == 0) return NULL;
  void *made = mem_get_n(size, (size_t)n);
  memcpy(made, at, size * (size_t)n);
  return made;
}
#define COPY(at, n) copy((at), sizeof *(at), (n))

void plan_kernel(OpPlan *p, struct Kernel *k, int n_buf, const OpRef *buf, int n_sym,
                 const Dim *dim) {
  OpStep s = {.kind = STEP_KERNEL,
              .kernel = k,
              .n_in = n_buf,
              .in = COPY(buf, n_buf),
              .n_dim = n_sym,
              .dim = COPY(dim, n_sym)};
  vec_push(&p->step, s);
}

void plan_runtime(OpPlan *p, const char *name, int n_in, const OpRef *in, int n_out,
                  const OpRef *out, int n_params, const int64_t *params) {
  OpStep s = {.kind = STEP_RUNTIME,
              .name = name,
              .n_in = n_in,
              .in = COPY(in, n_in),
              .n_out = n_out,
              .out = COPY(out, n_out),
              .n_index = n_params,
              .index = COPY(params, n_params)};
  vec_push(&p->step, s);
}

static void one_to_one(OpPlan *p, StepKind kind, OpRef out, OpRef in) {
  OpStep s = {.kind = kind, .n_in = 1, .in = COPY(&in, 1), .n_out = 1, .out = COPY(&out, 1)};
  vec_push(&p->step, s);
}

void plan_view(OpPlan *p, OpRef out, OpRef in) { one_to_one(p, STEP_VIEW, out, in); }
void plan_alias(OpPlan *p, OpRef out, OpRef in) { one_to_one(p, STEP_ALIAS, out, in); }

void plan_bind_dim(OpPlan *p, Dim d, OpRef tensor, int64_t index) {
  OpStep s = {.kind = STEP_BIND_DIM,
              .n_in = 1,
              .in = COPY(&tensor, 1),
              .n_dim = 1,
              .dim = COPY(&d, 1),
              .n_index = 1,
              .index = COPY(&index, 1)};
  vec_push(&p->step, s);
}

void plan_dim_value(OpPlan *p, OpRef out, Dim d) {
  OpStep s = {
      .kind = STEP_DIM_VALUE, .n_out = 1, .out = COPY(&out, 1), .n_dim = 1, .dim = COPY(&d, 1)};
  vec_push(&p->step, s);
}

void plan_check(OpPlan *p, Dim a, Dim b, const char *what) {
  Dim both[2] = {a, b};
  OpStep s = {.kind = STEP_CHECK, .name = what, .n_dim = 2, .dim = COPY(both, 2)};
  vec_push(&p->step, s);
}
