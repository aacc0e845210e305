/* eta.c -- operators and constructors used as values become functions.
 *
 * %f(add)  ==>  %t = fn (%lhs, %rhs) { add(%lhs, %rhs) }; %f(%t)
 *
 * After this an operator or a constructor stands only where it is called, so
 * no later pass has to give it a run-time value.  A constructor without fields
 * becomes a call without arguments.                                           */
#include "typeinfer/infer.h"
#include "ir/op.h"

typedef struct {
  IrCtx *cx;
  BlockBuilder *bb;
  bool changed;
} Eta;

static int mandatory_args(const OpDef *op) {
  int n = 0;
  while (n < OP_MAX_ARGS && op->args[n].name) n++;
  return n - op->optional;
}

static Sym param_name(IrCtx *cx, const Atom *a, int i) {
  if (a->kind == ATOM_Op) return sym(cx->syms, a->op->args[i].name);
  Sym field = a->ctor->field_name ? a->ctor->field_name[i] : NULL;
  return field ? field : sym(cx->syms, str_fmt("x%d", i));
}

static Expr *call_of(const Atom *callee, int n, Var **param) {
  Expr *call = ir_expr(EX_Call, callee->span);
  call->Call.callee = *callee;
  call->Call.n_args = n;
  call->Call.args = NEW_N(Atom, n + 1);
  for (int i = 0; i < n; i++) call->Call.args[i] = atom_var(param[i], callee->span);
  return call;
}

static Expr *function_of(IrCtx *cx, const Atom *a, int n) {
  Fn *f = NEW(Fn);
  f->span = a->span;
  f->n = n;
  f->param = NEW_N(Var *, n + 1);
  for (int i = 0; i < n; i++) f->param[i] = ir_var(cx, param_name(cx, a, i), a->span);
  BlockBuilder bb = {0};
  Atom result = bb_bind(cx, &bb, call_of(a, n, f->param), NULL, BIND_Graph);
  f->body = bb_done(&bb, result, a->span);
  Expr *e = ir_expr(EX_Fn, a->span);
  e->Fn.fn = f;
  return e;
}

static void eta_atom(void *ud, Atom *a) {
  Eta *eta = ud;
  if (a->kind != ATOM_Op && a->kind != ATOM_Ctor) return;
  int n = a->kind == ATOM_Op ? mandatory_args(a->op) : a->ctor->n;
  bool call = a->kind == ATOM_Ctor && n == 0;
  Expr *e = call ? call_of(a, 0, NULL) : function_of(eta->cx, a, n);
  *a = bb_bind(eta->cx, eta->bb, e, NULL, BIND_Graph);
  eta->changed = true;
}

static void eta_block(IrCtx *cx, Block *b);
static void eta_sub(void *ud, Block *b) { eta_block(((Eta *)ud)->cx, b); }

/* Operands first, so that their bindings stand before the expression. */
static void eta_expr(Eta *eta, Expr *e) {
  const ExprVisit visit = {.atom = eta_atom, .block = eta_sub};
  Atom callee = e->kind == EX_Call ? e->Call.callee : (Atom){0};
  bool is_call = e->kind == EX_Call && (callee.kind == ATOM_Op || callee.kind == ATOM_Ctor);
  if (is_call) e->Call.callee = (Atom){.kind = ATOM_Poison, .span = callee.span};
  ir_visit(e, &visit, eta);
  if (is_call) e->Call.callee = callee;
}

static void eta_block(IrCtx *cx, Block *b) {
  BlockBuilder bb = {0};
  Eta eta = {cx, &bb, false};
  for (int i = 0; i < b->n; i++) {
    eta_expr(&eta, b->at[i].value);
    bb_push(&bb, b->at[i].var, b->at[i].value, b->at[i].style);
  }
  eta_atom(&eta, &b->result);
  if (!eta.changed) return;
  b->at = bb.b.at;
  b->n = bb.b.n;
}

void eta_expand_module(Module *m) {
  for (int i = 0; i < m->globals.n; i++) eta_block(m->cx, m->globals.at[i]->fn->body);
}
