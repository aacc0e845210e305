/* emit.c -- bindings of new code.                                             */
#include "autodiff/ad.h"

Var *ad_var(AD *ad, const char *name, Type *annot) {
  Var *v = ir_var(ad->cx, name ? sym(ad->cx->syms, name) : NULL, ad->span);
  v->annot = annot;
  return v;
}

Atom em_bind(AD *ad, Out o, Expr *e) { return bb_bind(ad->cx, o, e, NULL, BIND_Graph); }

static Atom *copied(int n, const Atom *at) {
  Atom *made = NEW_N(Atom, n + 1);
  for (int i = 0; i < n; i++) made[i] = at[i];
  return made;
}

Expr *ad_call(Atom callee, int n, const Atom *arg, Span at) {
  Expr *e = ir_expr(EX_Call, at);
  e->Call.callee = callee;
  e->Call.n_args = n;
  e->Call.args = copied(n, arg);
  return e;
}
Atom em_call(AD *ad, Out o, Atom callee, int n, const Atom *arg) {
  return em_bind(ad, o, ad_call(callee, n, arg, ad->span));
}

Atom em_op(AD *ad, Out o, const char *op, int n, const Atom *arg) {
  return em_call(ad, o, atom_op(irctx_op(ad->cx, sym(ad->cx->syms, op)), ad->span), n, arg);
}

Atom em_tuple(AD *ad, Out o, int n, const Atom *at) {
  Expr *e = ir_expr(EX_Tuple, ad->span);
  e->Tuple.n_items = n;
  e->Tuple.items = copied(n, at);
  return em_bind(ad, o, e);
}
Atom em_unit(AD *ad, Out o) { return em_tuple(ad, o, 0, NULL); }

Atom em_proj(AD *ad, Out o, Atom tuple, int i) {
  Expr *e = ir_expr(EX_Proj, ad->span);
  e->Proj.tuple = tuple;
  e->Proj.index = i;
  return em_bind(ad, o, e);
}

Atom em_if(AD *ad, Out o, Atom cond, Block *yes, Block *no) {
  Expr *e = ir_expr(EX_If, ad->span);
  e->If.cond = cond;
  e->If.then = yes;
  e->If.otherwise = no;
  return em_bind(ad, o, e);
}

Atom em_again(AD *ad, Out o, Atom a, Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor) return em_op(ad, o, "annotation.checkpoint", 1, &a);
  if (t->kind != TY_Tuple) return a;
  Atom *at = NEW_N(Atom, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++)
    at[i] = em_again(ad, o, em_proj(ad, o, a, i), t->tuple.at[i]);
  return em_tuple(ad, o, t->tuple.n, at);
}

Atom em_fn(AD *ad, Out o, int n, Var **param, Block *body, Sym name) {
  Fn *f = NEW(Fn);
  *f = (Fn){.span = ad->span, .n = n, .param = param, .body = body};
  Expr *e = ir_expr(EX_Fn, ad->span);
  e->Fn.fn = f;
  return bb_bind(ad->cx, o, e, name, name ? BIND_Let : BIND_Graph);
}

Atom em_pullback(AD *ad, Out o, Var *dy, Block *body, Type *ret) {
  Var **one = NEW_N(Var *, 1);
  one[0] = dy;
  Atom f = em_fn(ad, o, 1, one, body, NULL);
  o->b.at[o->b.n - 1].value->Fn.fn->ret = ret;
  return f;
}

Atom em_ref(AD *ad, Out o, Atom v) {
  Expr *e = ir_expr(EX_Ref, ad->span);
  e->Ref.value = v;
  return bb_bind(ad->cx, o, e, sym(ad->cx->syms, "acc"), BIND_Let);
}
Atom em_read(AD *ad, Out o, Atom ref) {
  Expr *e = ir_expr(EX_RefRead, ad->span);
  e->RefRead.ref = ref;
  return bb_bind(ad->cx, o, e, sym(ad->cx->syms, "sum"), BIND_Let);
}
void em_write(AD *ad, Out o, Atom ref, Atom v) {
  Expr *e = ir_expr(EX_RefWrite, ad->span);
  e->RefWrite.ref = ref;
  e->RefWrite.value = v;
  bb_bind(ad->cx, o, e, sym(ad->cx->syms, "_"), BIND_Let);
}

Atom ad_ctor_atom(AD *ad, Ctor *c) {
  Atom a = {.kind = ATOM_Ctor, .span = ad->span};
  a.ctor = c;
  return a;
}

Atom ad_scalar(AD *ad, DType dt, int64_t v) {
  return atom_const(tensor_scalar_int(dt, v), ad->span);
}
GradCx em_text(AD *ad, Out o) { return (GradCx){.cx = ad->cx, .bb = o, .span = ad->span}; }

/* ---- functions over data ---------------------------------------------------------- */

static Dim forget(void *ud, Dim s) {
  (void)s;
  return dim_any(((AD *)ud)->cx->dims);
}
Type *nameless(AD *ad, Type *t) { return type_subst(ad->cx->dims, t, NULL, forget, ad); }

Type *ad_unbound(AD *ad, Type *fn) { return fn->fn.n_dims ? nameless(ad, fn) : fn; }

Pattern *var_pattern(AD *ad, Var *v) {
  Pattern *p = NEW(Pattern);
  *p = (Pattern){.kind = v ? PAT_Var : PAT_Wild, .span = ad->span, .var = v};
  return p;
}
Pattern *anything(AD *ad) { return var_pattern(ad, NULL); }

Pattern *ctor_pattern(AD *ad, Ctor *c) {
  Pattern *p = NEW(Pattern);
  *p = (Pattern){.kind = PAT_Ctor, .span = ad->span, .ctor = c, .n = c->n};
  p->at = NEW_N(Pattern *, c->n + 1);
  return p;
}
Pattern *pattern_of(AD *ad, Ctor *c, Var **field) {
  Pattern *p = ctor_pattern(ad, c);
  for (int i = 0; i < c->n; i++) p->at[i] = var_pattern(ad, field[i] = ad_var(ad, "x", NULL));
  return p;
}

Cases cases_of(AD *ad, Atom x) {
  Cases c = {ir_expr(EX_Match, ad->span), {0}};
  c.e->Match.scrutinee = x;
  return c;
}
void add_case(AD *ad, Cases *c, Pattern *p, BlockBuilder *bb, Atom result) {
  Clause cl = {p, bb_done(bb, result, ad->span), ad->span};
  vec_push(&c->at, cl);
}
Atom end_cases(AD *ad, Out o, Cases *c) {
  c->e->Match.n_clauses = c->at.n;
  c->e->Match.clauses = c->at.at;
  return em_bind(ad, o, c->e);
}
Block *cases_block(AD *ad, Cases *c) {
  BlockBuilder bb = {0};
  Atom r = end_cases(ad, &bb, c);
  return bb_done(&bb, r, ad->span);
}

/* ---- definitions ------------------------------------------------------------------ */

Global *ad_global(AD *ad, const char *want, Fn *fn) {
  Module *m = ad->m;
  Global *g = NEW(Global);
  g->name = ad_free_name(ad, &m->global_by_name, want);
  g->span = ad->span;
  g->fn = fn;
  g->made = true;
  g->index = m->globals.n;
  vec_push(&m->globals, g);
  map_set(&m->global_by_name, map_ptr(g->name), g);
  return g;
}

bool ad_define(AD *ad, Map *made, Sym key, const char *want, int n, Global **g) {
  *g = map_get(made, map_ptr(key));
  if (*g) return false;
  Fn *fn = NEW(Fn);
  *fn = (Fn){.span = ad->span, .n = n, .param = NEW_N(Var *, n + 1)};
  *g = ad_global(ad, want, fn);
  map_set(made, map_ptr(key), *g);
  return true;
}
Atom ad_param(AD *ad, Global *g, int i, const char *name, Type *t) {
  g->fn->param[i] = ad_var(ad, name, t);
  return var_atom(ad, g->fn->param[i]);
}
