/* defer.c -- one product for all steps of a recursion.
 *
 * A weight that a recursive function hands on unchanged gets a gradient gy^T x
 * from each step: a matrix to write and one to add, as big as the weight, for one
 * row of work.  Where all the function does with it is nn.dense, the pullback
 * gives the pairs (gy, x) instead, as a list; who called the recursion from
 * outside stacks them and makes one product.                                   */
#include <string.h>
#include "autodiff/ad.h"

enum { MOST_STACKED = 4 };

/* ---- which parameters ------------------------------------------------------------ */

typedef struct {
  const Fn *fn;
  const Var *self, *v;
  int at; /* which operand of a call of itself v is; -1: a capture  */
  bool calls, dense, other;
} Uses;

static bool is(const Atom *a, const Var *v) { return a->kind == ATOM_Var && a->var == v; }

static bool is_self(const Uses *u, const Atom *callee) {
  if (callee->kind == ATOM_Global) return callee->global->fn == u->fn;
  return u->self && is(callee, u->self);
}

static bool is_rows(const Expr *e) {
  if (e->Call.callee.kind != ATOM_Op || strcmp(e->Call.callee.op->name, "nn.dense")) return false;
  Type *x = e->Call.args[0].type, *y = e->type;
  if (!x || !y || type_resolve(x)->kind != TY_Tensor || type_resolve(y)->kind != TY_Tensor)
    return false;
  return type_resolve(x)->tensor.rank == 2 &&
         type_resolve(x)->tensor.dtype == type_resolve(y)->tensor.dtype;
}

static void use_call(Uses *u, const Expr *e) {
  const ExCall *c = &e->Call;
  bool self = is_self(u, &c->callee), rows = is_rows(e);
  u->calls |= self;
  u->other |= is(&c->callee, u->v);
  for (int i = 0; i < c->n_args; i++) {
    if (self && i == u->at) {
      u->other |= !is(&c->args[i], u->v);
      continue;
    }
    if (!is(&c->args[i], u->v)) continue;
    if (rows && i == 1)
      u->dense = true;
    else
      u->other = true;
  }
}

static void use_atom(void *ud, Atom *a) {
  Uses *u = ud;
  u->other |= is(a, u->v);
}
static void use_fn(void *ud, Fn *fn) {
  Uses *u = ud;
  VarList free = {0};
  ir_free_vars(fn, &free);
  for (int i = 0; i < free.n; i++) u->other |= free.at[i] == u->v || free.at[i] == u->self;
}
static void use_block(void *ud, Block *b) {
  static const ExprVisit visit = {use_atom, use_block, use_fn};
  Uses *u = ud;
  for (int i = 0; i < b->n; i++)
    if (b->at[i].value->kind == EX_Call)
      use_call(u, b->at[i].value);
    else
      ir_visit(b->at[i].value, &visit, u);
  use_atom(u, &b->result);
}

bool can_defer(const Fn *fn, const Var *self, const Var *v, Type *t, int param) {
  t = type_resolve(t);
  if (t->kind != TY_Tensor || t->tensor.rank != 2) return false;
  Uses u = {.fn = fn, .self = self, .v = v, .at = param};
  use_block(&u, fn->body);
  return u.calls && u.dense && !u.other;
}

/* ---- the list of pairs -------------------------------------------------------------- */

/* Known extents of the weight (u, k) are said; rows are any number. */
static Dim known(AD *ad, Dim d) { return d->kind == DIM_Const ? d : dim_any(ad->cx->dims); }

static DataDef *pairs_def(AD *ad, Type *w) {
  DType t = w->tensor.dtype;
  Dim rows = dim_any(ad->cx->dims), u = known(ad, w->tensor.dim[0]),
      k = known(ad, w->tensor.dim[1]);
  Sym key = ad_key(ad, "pairs", type_tensor(t, 2, (Dim[]){u, k}));
  DataDef *d = map_get(&ad->dual, map_ptr(key));
  if (d) return d;
  d = ad_new_def(ad, str_fmt("Products_%s", dtype_name(t)), ad->span);
  map_set(&ad->dual, map_ptr(key), d);
  ad_new_ctor(ad, d, str_fmt("NoProduct_%s", dtype_name(t)), 0, 2);
  Ctor *some = ad_new_ctor(ad, d, str_fmt("Product_%s", dtype_name(t)), 3, 2);
  some->field[0] = type_tensor(t, 2, (Dim[]){rows, u});
  some->field[1] = type_tensor(t, 2, (Dim[]){rows, k});
  some->field[2] = type_data(d, 0, NULL);
  return d;
}

static Type *pairs_type(AD *ad, Type *w) {
  return type_data(pairs_def(ad, type_resolve(w)), 0, NULL);
}

static Atom pairs_none(AD *ad, Out o, Type *w) {
  DataDef *d = pairs_def(ad, type_resolve(w));
  return em_call(ad, o, ad_ctor_atom(ad, d->ctor[0]), 0, NULL);
}

Atom pairs_cons(AD *ad, Out o, Type *w, Atom gy, Atom x, Atom rest) {
  DataDef *d = pairs_def(ad, type_resolve(w));
  return em_call(ad, o, ad_ctor_atom(ad, d->ctor[1]), 3, (Atom[]){gy, x, rest});
}

/* ---- functions over it ---------------------------------------------------------------- */

/* Product(%a, %b, rest), its variables in v. */
static Pattern *product(AD *ad, DataDef *d, Var **v, Pattern *rest) {
  Pattern *p = ctor_pattern(ad, d->ctor[1]);
  for (int i = 0; i < 2; i++) p->at[i] = var_pattern(ad, v[i] = ad_var(ad, i ? "x" : "gy", NULL));
  p->at[2] = rest;
  return p;
}
static Pattern *no_product(AD *ad, DataDef *d) { return ctor_pattern(ad, d->ctor[0]); }

/* A function of products and, if second is given, of that: true if it is new. */
static bool pairs_helper(AD *ad, Type *w, const char *name, const char *second, bool is_sum,
                         Global **g) {
  Type *t = pairs_type(ad, w), *wt = type_resolve(w);
  DType dt = wt->tensor.dtype;
  const char *want = str_fmt("%s_%s", name, dtype_name(dt));
  if (!ad_define(ad, &ad->helper, ad_key(ad, name, t), want, second ? 2 : 1, g)) return false;
  wt = type_tensor(dt, 2, (Dim[]){known(ad, wt->tensor.dim[0]), known(ad, wt->tensor.dim[1])});
  ad_param(ad, *g, 0, "products", t);
  if (second) ad_param(ad, *g, 1, second, is_sum ? wt : t);
  (*g)->fn->ret = is_sum ? wt : t;
  return true;
}
static Atom call(AD *ad, Out o, Global *g, int n, const Atom *arg) {
  return em_call(ad, o, atom_global(g, ad->span), n, arg);
}

/* The first n pairs become one, and so on with the rest, by g. */
static void stack_n(AD *ad, Cases *c, Type *w, Global *g, int n) {
  DataDef *d = pairs_def(ad, type_resolve(w));
  Var *v[MOST_STACKED][2], *rest = ad_var(ad, "rest", NULL);
  Pattern *p = var_pattern(ad, rest);
  BlockBuilder bb = {0};
  Atom part[MOST_STACKED], one[2], of = var_atom(ad, rest);
  for (int i = n - 1; i >= 0; i--) p = product(ad, d, v[i], p);
  for (int j = 0; j < 2; j++) {
    for (int i = 0; i < n; i++) part[i] = var_atom(ad, v[i][j]);
    Atom all = em_tuple(ad, &bb, n, part);
    one[j] = em_op(ad, &bb, "concatenate", 1, &all);
  }
  Atom more = call(ad, &bb, g, 1, &of);
  add_case(ad, c, p, &bb, pairs_cons(ad, &bb, w, one[0], one[1], more));
}

/* Neighbours stacked, four at a time or two: kernels that join many take long to compile. */
static Global *stack(AD *ad, Type *w) {
  static const int many[] = {MOST_STACKED, 2};
  Global *g;
  if (!pairs_helper(ad, w, "stack_products", NULL, false, &g)) return g;
  Atom all = var_atom(ad, g->fn->param[0]);
  Cases c = cases_of(ad, all);
  BlockBuilder few = {0};
  for (int i = 0; i < 2; i++) stack_n(ad, &c, w, g, many[i]);
  add_case(ad, &c, anything(ad), &few, all);
  g->fn->body = cases_block(ad, &c);
  return g;
}

static Global *sum_fn(AD *ad, Type *w) {
  Global *g;
  if (!pairs_helper(ad, w, "sum_products", "w", true, &g)) return g;
  DataDef *d = pairs_def(ad, type_resolve(w));
  Var *a[2];
  Atom all = var_atom(ad, g->fn->param[0]), like = var_atom(ad, g->fn->param[1]);
  Cases c = cases_of(ad, all);
  BlockBuilder none = {0}, one = {0}, many = {0};
  GradCx gn = em_text(ad, &none), go = em_text(ad, &one);
  add_case(ad, &c, no_product(ad, d), &none, gr(&gn, "zeros_like(%a)", like));
  Pattern *single = product(ad, d, a, no_product(ad, d));
  Atom dw = gr(&go, "reshape_like(nn.matmul(%a, %a, transpose_a=True), %a)", var_atom(ad, a[0]),
               var_atom(ad, a[1]), like);
  add_case(ad, &c, single, &one, dw);
  Atom fewer = call(ad, &many, stack(ad, w), 1, &all);
  add_case(ad, &c, anything(ad), &many, call(ad, &many, g, 2, (Atom[]){fewer, like}));
  g->fn->body = cases_block(ad, &c);
  return g;
}

Atom pairs_sum(AD *ad, Out o, Type *w, Atom pairs, Atom like) {
  Atom dw = call(ad, o, sum_fn(ad, w), 2, (Atom[]){pairs, like});
  return em_op(ad, o, "reshape_like", 2, (Atom[]){dw, like});
}

static Global *append_fn(AD *ad, Type *w) {
  Global *g;
  if (!pairs_helper(ad, w, "append_products", "more", false, &g)) return g;
  DataDef *d = pairs_def(ad, type_resolve(w));
  Var *v[2], *rest = ad_var(ad, "rest", NULL);
  Atom more = var_atom(ad, g->fn->param[1]);
  Cases c = cases_of(ad, var_atom(ad, g->fn->param[0]));
  BlockBuilder some = {0}, none = {0};
  Pattern *first = product(ad, d, v, var_pattern(ad, rest));
  Atom joined = call(ad, &some, g, 2, (Atom[]){var_atom(ad, rest), more});
  Atom r = pairs_cons(ad, &some, w, var_atom(ad, v[0]), var_atom(ad, v[1]), joined);
  add_case(ad, &c, first, &some, r);
  add_case(ad, &c, no_product(ad, d), &none, more);
  g->fn->body = cases_block(ad, &c);
  return g;
}

static Atom pairs_append(AD *ad, Out o, Type *w, Atom a, Atom b) {
  return call(ad, o, append_fn(ad, w), 2, (Atom[]){a, b});
}

/* ---- adjoints of variables -------------------------------------------------------------- */

Type *val_tan(AD *ad, const Val *v) {
  return v->deferred ? pairs_type(ad, v->type) : ad_tan(ad, v->type);
}
Atom val_value(AD *ad, Out o, const Val *v, Adj *d) {
  if (!v->deferred) return adj_value(ad, o, v->type, v->at, d);
  return d ? d->at : pairs_none(ad, o, v->type);
}
Adj *val_add(AD *ad, Out o, const Val *v, Adj *a, Adj *b) {
  if (!v->deferred) return adj_add(ad, o, v->type, a, b);
  if (!a || !b) return a ? a : b;
  return adj_atom(pairs_append(ad, o, v->type, b->at, a->at));
}
