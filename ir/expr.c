/* expr.c -- construction of programs: variables, atoms, constants, blocks.  */
#include "ir/expr.h"
#include "base/checked.h"

/* ---- variables and atoms ---- */

Var *ir_var(IrCtx *cx, Sym name, Span span) {
  Var *v = NEW(Var);
  v->name = name;
  v->span = span;
  v->id = cx->next_var++;
  return v;
}

Atom atom_var(Var *v, Span span) {
  return (Atom){.kind = ATOM_Var, .span = span, .var = v, .type = v->type};
}
Atom atom_const(const Tensor *t, Span span) {
  return (Atom){.kind = ATOM_Const, .span = span, .cst = t};
}
Atom atom_global(Global *g, Span span) {
  return (Atom){.kind = ATOM_Global, .span = span, .global = g};
}
Atom atom_op(const OpDef *op, Span span) { return (Atom){.kind = ATOM_Op, .span = span, .op = op}; }

Expr *ir_expr(ExprKind kind, Span span) {
  Expr *e = NEW(Expr);
  e->kind = kind;
  e->span = span;
  return e;
}

Expr *ir_just(Atom a, Span span) {
  Expr *e = ir_expr(EX_Just, span);
  e->Just.value = a;
  return e;
}

/* ---- constants ---- */

Tensor *tensor_new(DType dt, int rank, const int64_t *dim) {
  Tensor *t = NEW(Tensor);
  t->dtype = dt;
  t->rank = rank;
  for (int i = 0; i < rank; i++) t->dim[i] = dim[i];
  size_t bytes;
  if (!dims_count(dim, rank, &t->count) ||
      !size_mul((size_t)t->count, (size_t)dtype_bytes(dt), &bytes)) {
    t->count = 0;
    bytes = 0;
  }
  t->bytes = NEW_BYTES(bytes ? bytes : 1);
  return t;
}

Tensor *tensor_scalar_int(DType dt, int64_t v) {
  if (dtype_is_float(dt)) return tensor_scalar_float(dt, (double)v);
  Tensor *t = tensor_new(dt, 0, NULL);
  v = wrap_int(v, dt);
  memcpy(t->bytes, &v, (size_t)dtype_bytes(dt)); /* little-endian hosts only */
  return t;
}

Tensor *tensor_scalar_float(DType dt, double v) {
  if (dt == DT_bool) return tensor_scalar_int(dt, v != 0);
  if (!dtype_is_float(dt)) return tensor_scalar_int(dt, cast_f64_to_int(v, dt));
  Tensor *t = tensor_new(dt, 0, NULL);
  float f = (float)v;
  uint16_t h = dt == DT_f16 ? f64_to_f16(v) : f32_to_bf16(f);
  const void *from = dt == DT_f64 ? (const void *)&v : dt == DT_f32 ? (const void *)&f : &h;
  memcpy(t->bytes, from, (size_t)dtype_bytes(dt));
  return t;
}

/* ---- blocks ---- */

void bb_push(BlockBuilder *bb, Var *v, Expr *e, BindStyle style) {
  Binding b = {v, e, style};
  vec_push(&bb->b, b);
}

Atom bb_bind(IrCtx *cx, BlockBuilder *bb, Expr *e, Sym name, BindStyle style) {
  Var *v = ir_var(cx, name, e->span);
  v->type = e->type;
  bb_push(bb, v, e, style);
  return atom_var(v, e->span);
}

Block *bb_done(BlockBuilder *bb, Atom result, Span span) {
  Block *b = NEW(Block);
  *b = (Block){.n = bb->b.n, .at = bb->b.at, .result = result, .span = span};
  return b;
}
