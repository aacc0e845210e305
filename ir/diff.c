/* diff.c -- the forms of differentiation and their types.                      */
#include "ir/diff.h"

#define FORM(id, kind, text, said)                                                                 \
  static const OpDef id = {                                                                        \
      .name = text, .doc = said, .args = {{"f", "a function", false}}, .variant = kind}
FORM(op_grad, DIFF_Grad, "grad", "The function that gives f's value and gradients.");
FORM(op_vjp, DIFF_Vjp, "vjp", "The function that gives f's value and its pullback.");
FORM(op_jvp, DIFF_Jvp, "jvp", "The function that gives f's value and its derivative along a step.");
FORM(op_checkpoint, DIFF_Checkpoint, "checkpoint", "f, computed again for its gradient.");
#undef FORM

const OpDef *const diff_ops[] = {&op_grad, &op_vjp, &op_jvp, &op_checkpoint};
const int n_diff_ops = (int)(sizeof diff_ops / sizeof *diff_ops);

DiffKind diff_kind(const Expr *e) {
  if (e->kind != EX_Call || e->Call.callee.kind != ATOM_Op) return DIFF_None;
  for (int i = 0; i < n_diff_ops; i++)
    if (e->Call.callee.op == diff_ops[i]) return (DiffKind)diff_ops[i]->variant;
  return DIFF_None;
}

static Type **cotangents(int n, Type *const *at) {
  Type **to = NEW_N(Type *, n + 1);
  for (int i = 0; i < n; i++) to[i] = diff_cotangent(at[i]);
  return to;
}

Type *diff_cotangent(Type *t) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Fn:
  case TY_Ref: return type_tuple(0, NULL);
  case TY_Tuple: return type_tuple(t->tuple.n, cotangents(t->tuple.n, t->tuple.at));
  case TY_Data:
    if (t->data.def->functions) return type_tuple(0, NULL);
    return type_data(t->data.def, t->data.n, cotangents(t->data.n, t->data.arg));
  case TY_Error:
  case TY_Tensor:
  case TY_Var:
  case TY_Meta: break;
  }
  return t;
}

static Type *pair(Type *a, Type *b) { return type_tuple(2, (Type *[]){a, b}); }
static Type *function(int n, Type **param, Type *ret) {
  return type_fn(0, NULL, 0, NULL, n, param, ret);
}

Type *diff_type(DiffKind k, Type *f) {
  int n = f->fn.n;
  Type *r = f->fn.ret, *dr = diff_cotangent(r);
  Type **step = cotangents(n, f->fn.param), *all = type_tuple(n, step);
  Type **both = NEW_N(Type *, 2 * n + 1);
  for (int i = 0; i < n; i++) both[i] = f->fn.param[i], both[n + i] = step[i];
  switch (k) {
  case DIFF_Grad: return function(n, f->fn.param, pair(r, all));
  case DIFF_Vjp: return function(n, f->fn.param, pair(r, function(1, &dr, all)));
  case DIFF_Jvp: return function(2 * n, both, pair(r, dr));
  case DIFF_Checkpoint:
  case DIFF_None: break;
  }
  return f;
}
