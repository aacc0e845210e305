/* contract_transform.c -- Winograd's transforms of tiles, F(2x2, 3x3) and F(4x4, 3x3)
 * (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016,
 * section 4), as short programs of sums: what two results have in common is
 * computed once.                                                             */
#include "codegen/llvm/contract.h"

enum { MAX_VALUES = 16 };

/* The next value: the sum of earlier ones, each so many times. */
typedef struct {
  int8_t n, from[3];
  float times[3];
} Sum;
/* Values 0..in are given; the last `out` are what is wanted. */
typedef struct {
  int in, out, n;
  Sum sum[12];
} Program;

static const Program data2 = {
    4,
    4,
    4,
    {{2, {0, 2}, {1, -1}}, {2, {1, 2}, {1, 1}}, {2, {2, 1}, {1, -1}}, {2, {1, 3}, {1, -1}}}};
static const Program weight2 = {3,
                                4,
                                6,
                                {{2, {0, 2}, {.5f, .5f}},
                                 {1, {1}, {.5f}},
                                 {1, {0}, {1}},
                                 {2, {3, 4}, {1, 1}},
                                 {2, {3, 4}, {1, -1}},
                                 {1, {2}, {1}}}};
static const Program result2 = {4, 2, 2, {{3, {0, 1, 2}, {1, 1, 1}}, {3, {1, 2, 3}, {1, -1, -1}}}};

static const Program data4 = {6,
                              6,
                              10,
                              {{2, {4, 2}, {1, -4}},
                               {2, {3, 1}, {1, -4}},
                               {2, {4, 2}, {1, -1}},
                               {2, {3, 1}, {2, -2}},
                               {3, {4, 0, 2}, {1, 4, -5}},
                               {2, {6, 7}, {1, 1}},
                               {2, {6, 7}, {1, -1}},
                               {2, {8, 9}, {1, 1}},
                               {2, {8, 9}, {1, -1}},
                               {3, {5, 1, 3}, {1, 4, -5}}}};
static const Program weight4 = {3,
                                6,
                                10,
                                {{2, {0, 2}, {-1 / 6.f, -1 / 6.f}},
                                 {1, {1}, {1 / 6.f}},
                                 {2, {0, 2}, {1 / 24.f, 1 / 6.f}},
                                 {1, {1}, {1 / 12.f}},
                                 {1, {0}, {.25f}},
                                 {2, {3, 4}, {1, -1}},
                                 {2, {3, 4}, {1, 1}},
                                 {2, {5, 6}, {1, 1}},
                                 {2, {5, 6}, {1, -1}},
                                 {1, {2}, {1}}}};
static const Program result4 = {6,
                                4,
                                8,
                                {{2, {1, 2}, {1, 1}},
                                 {2, {1, 2}, {1, -1}},
                                 {2, {3, 4}, {1, 1}},
                                 {2, {3, 4}, {1, -1}},
                                 {3, {0, 6, 8}, {1, 1, 1}},
                                 {2, {7, 9}, {1, 2}},
                                 {2, {6, 8}, {1, 4}},
                                 {3, {7, 9, 5}, {1, 8, 1}}}};

static Val number(Emit *e, LLVMTypeRef t, double x) {
  if (LLVMGetTypeKind(t) != LLVMVectorTypeKind) return LLVMConstReal(t, x);
  return splat(e, LLVMConstReal(LLVMGetElementType(t), x), LLVMGetVectorSize(t));
}

/* sum + times * x; sum may be NULL: nothing. */
static Val plus_times(Emit *e, Val sum, double times, Val x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  if (!sum) return times == 1 ? x : LLVMBuildFMul(e->b, x, number(e, t, times), "");
  if (times == 1) return LLVMBuildFAdd(e->b, sum, x, "");
  if (times == -1) return LLVMBuildFSub(e->b, sum, x, "");
  Val by = number(e, t, times);
  if (e->cpu.fma) return emit_intrinsic(e, "llvm.fma", t, (Val[]){x, by, sum}, 3);
  return LLVMBuildFAdd(e->b, sum, LLVMBuildFMul(e->b, x, by, ""), "");
}

static void run_program(Emit *e, const Program *p, const Val *x, Val *y) {
  Val v[MAX_VALUES];
  for (int i = 0; i < p->in; i++) v[i] = x[i];
  for (int i = 0; i < p->n; i++) {
    Val sum = NULL;
    for (int j = 0; j < p->sum[i].n; j++)
      sum = plus_times(e, sum, (double)p->sum[i].times[j], v[p->sum[i].from[j]]);
    v[p->in + i] = sum;
  }
  for (int i = 0; i < p->out; i++) y[i] = v[p->in + p->n - p->out + i];
}

void emit_transform(Emit *e, int m, Transform t, const Val *x, Val *y) {
  static const Program *const all[2][3] = {{&data2, &weight2, &result2},
                                           {&data4, &weight4, &result4}};
  const Program *p = all[m == 4][t];
  Val half[MAX_ALPHA * MAX_ALPHA], in[MAX_ALPHA], out[MAX_ALPHA]; /* half: out by in */
  for (int j = 0; j < p->in; j++) {
    for (int i = 0; i < p->in; i++) in[i] = x[i * p->in + j];
    run_program(e, p, in, out);
    for (int i = 0; i < p->out; i++) half[i * p->in + j] = out[i];
  }
  for (int i = 0; i < p->out; i++) run_program(e, p, &half[i * p->in], &y[i * p->out]);
}
