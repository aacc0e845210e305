/* grad.c -- what gradient rules are written with.                             */
#include "ir/grad.h"
#include <string.h>

void irctx_set_grads(IrCtx *cx, const GradRule *rule) {
  for (; rule->op; rule++)
    map_set(&cx->grad_by_name, map_ptr(sym(cx->syms, rule->op)), (void *)(uintptr_t)rule);
}

const GradRule *irctx_grad(const IrCtx *cx, const OpDef *op) {
  return map_get(&cx->grad_by_name, map_ptr(sym(cx->syms, op->name)));
}

bool gr_same_shape(Type *a, Type *b) {
  a = type_resolve(a), b = type_resolve(b);
  if (a->kind != TY_Tensor || b->kind != TY_Tensor || a->tensor.rank != b->tensor.rank)
    return false;
  for (int i = 0; i < a->tensor.rank; i++)
    if (!dim_equal(a->tensor.dim[i], b->tensor.dim[i])) return false;
  return true;
}

bool gr_shape(Type *t, GradInts *out) {
  t = type_resolve(t);
  out->n = t->tensor.rank;
  for (int i = 0; i < out->n; i++)
    if (!dim_is_const(t->tensor.dim[i], &out->at[i])) return false;
  return true;
}

Atom gr_part(GradCx *g, Atom tuple, int i) {
  Expr *e = ir_expr(EX_Proj, g->span);
  e->Proj.tuple = tuple;
  e->Proj.index = i;
  return bb_bind(g->cx, g->bb, e, NULL, BIND_Graph);
}

/* Leaf i of the result. */
static Atom result_leaf(GradCx *g, int i) {
  return type_resolve(g->y_type)->kind == TY_Tuple ? gr_part(g, g->y, i) : g->y;
}

Atom gr_g(GradCx *g, int i) {
  if (!g->g[i].is) g->g[i] = (GradAtom){gr(g, "zeros_like(%a)", result_leaf(g, i)), true};
  return g->g[i].at;
}

Atom gr_const(GradCx *g, double v, DType t) {
  return atom_const(tensor_scalar_float(t, v), g->span);
}

void gr_give(GradCx *g, int arg, Atom a) { g->out[arg] = (GradAtom){a, true}; }
void gr_give_leaf(GradCx *g, int arg, int leaf, Atom a) {
  g->out_leaf[arg][leaf] = (GradAtom){a, true};
}

/* A 0 among the extents would mean "as it was" to reshape. */
static bool known_shape(Type *t, GradInts *out) {
  if (!gr_shape(t, out) || out->n == 0) return false;
  for (int i = 0; i < out->n; i++)
    if (out->at[i] == 0) return false;
  return true;
}

Atom gr_reshape(GradCx *g, Atom a, int arg) {
  GradInts to;
  if (known_shape(gr_type(g, arg), &to)) return gr(g, "reshape(%a, newshape=%l)", a, &to);
  return gr(g, "reshape_like(%a, %a)", a, g->arg[arg]);
}

Atom gr_collapse(GradCx *g, Atom t, int arg) {
  if (gr_same_shape(gr_type(g, arg), g->y_type)) return t;
  return gr(g, "collapse_sum_like(%a, %a)", t, g->arg[arg]);
}

static Attrs with_zero(const Attrs *given, const char *zero) {
  Attrs a = {given->n, NEW_N(Attr, given->n + 1)};
  for (int i = 0; i < a.n; i++) {
    a.at[i] = given->at[i];
    if (!strcmp(a.at[i].name, zero)) a.at[i].val = (AttrVal){.kind = AV_Int, .bits = 32};
  }
  return a;
}

Atom gr_again(GradCx *g, const Atom *arg, const char *zero) {
  Expr *e = ir_expr(EX_Call, g->span);
  e->Call.callee = atom_op(g->op, g->span);
  e->Call.n_args = g->n_args;
  e->Call.args = NEW_N(Atom, g->n_args + 1);
  for (int i = 0; i < g->n_args; i++) e->Call.args[i] = arg[i];
  e->Call.attrs = with_zero(g->given, zero);
  return bb_bind(g->cx, g->bb, e, NULL, BIND_Graph);
}

Atom gr_int(GradCx *g, int64_t v) { return atom_const(tensor_scalar_int(DT_i64, v), g->span); }

Atom gr_tuple(GradCx *g, int n, const Atom *at) {
  Expr *e = ir_expr(EX_Tuple, g->span);
  e->Tuple.n_items = n;
  e->Tuple.items = NEW_N(Atom, n + 1);
  for (int i = 0; i < n; i++) e->Tuple.items[i] = at[i];
  return bb_bind(g->cx, g->bb, e, NULL, BIND_Graph);
}

bool gr_refuse(GradCx *g, const char *why) {
  g->why = why;
  return false;
}
