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

Type *pairs_type(AD *ad, Type *w) { return type_data(pairs_def(ad, type_resolve(w)), 0, NULL); }

Atom pairs_none(AD *ad, Out o, Type *w) {
  DataDef *d = type_resolve(pairs_type(ad, w))->data.def;
  return em_call(ad, o, ad_ctor_atom(ad, d->ctor[0]), 0, NULL);
}

Atom pairs_cons(AD *ad, Out o, Type *w, Atom gy, Atom x, Atom rest) {
  DataDef *d = type_resolve(pairs_type(ad, w))->data.def;
  return em_call(ad, o, ad_ctor_atom(ad, d->ctor[1]), 3, (Atom[]){gy, x, rest});
}

/* ---- functions over it ---------------------------------------------------------------- */

static Pattern *pat(AD *ad, PatKind k, Var *v, Ctor *c) {
  Pattern *p = NEW(Pattern);
  *p = (Pattern){.kind = k, .span = ad->span, .var = v, .ctor = c};
  if (c) p->n = c->n, p->at = NEW_N(Pattern *, c->n + 1);
  return p;
}
static Pattern *var_pat(AD *ad, Var *v) { return pat(ad, PAT_Var, v, NULL); }

/* Product(%a, %b, rest), its variables in v. */
static Pattern *product(AD *ad, DataDef *d, Var **v, Pattern *rest) {
  Pattern *p = pat(ad, PAT_Ctor, NULL, d->ctor[1]);
  for (int i = 0; i < 2; i++) {
    v[i] = ad_var(ad, i ? "x" : "gy", NULL);
    p->at[i] = var_pat(ad, v[i]);
  }
  p->at[2] = rest;
  return p;
}

static Global *declare(AD *ad, const char *name, int n, Var **param, Type *ret) {
  Fn *f = NEW(Fn);
  *f = (Fn){.span = ad->span, .n = n, .param = param, .ret = ret};
  return ad_global(ad, name, f);
}

static Expr *match_on(AD *ad, Atom x, int n) {
  Expr *m = ir_expr(EX_Match, ad->span);
  m->Match.scrutinee = x;
  m->Match.n_clauses = n;
  m->Match.clauses = NEW_N(Clause, n);
  return m;
}
static void finish_fn(AD *ad, Global *g, Expr *m) {
  BlockBuilder bb = {0};
  Atom r = em_bind(ad, &bb, m);
  g->fn->body = bb_done(&bb, r, ad->span);
}

static Global *pairs_helper(AD *ad, Type *w, const char *name, int n, bool is_sum, bool *made) {
  Type *t = pairs_type(ad, w);
  Sym key = ad_key(ad, name, t);
  Global *g = map_get(&ad->helper, map_ptr(key));
  *made = g == NULL;
  if (g) return g;
  const Dim *dim = type_resolve(w)->tensor.dim;
  Dim wd[2] = {known(ad, dim[0]), known(ad, dim[1])};
  Type *wt = type_tensor(type_resolve(w)->tensor.dtype, 2, wd);
  Var **p = NEW_N(Var *, 3);
  p[0] = ad_var(ad, "products", t);
  if (n == 2) p[1] = ad_var(ad, is_sum ? "w" : "more", is_sum ? wt : t);
  g = declare(ad, str_fmt("%s_%s", name, dtype_name(type_resolve(w)->tensor.dtype)), n, p,
              is_sum ? wt : t);
  map_set(&ad->helper, map_ptr(key), g);
  return g;
}

/* Clause: the first n pairs become one, and so on with the rest, by g. */
static Clause stack_n(AD *ad, Type *w, Global *g, int n) {
  DataDef *d = type_resolve(pairs_type(ad, w))->data.def;
  Var *v[MOST_STACKED][2], *rest = ad_var(ad, "rest", NULL);
  Pattern *p = var_pat(ad, rest);
  BlockBuilder bb = {0};
  Atom part[MOST_STACKED], one[2];
  for (int i = n - 1; i >= 0; i--) p = product(ad, d, v[i], p);
  for (int j = 0; j < 2; j++) {
    for (int i = 0; i < n; i++) part[i] = var_atom(ad, v[i][j]);
    Atom all = em_tuple(ad, &bb, n, part);
    one[j] = em_op(ad, &bb, "concatenate", 1, &all);
  }
  Atom more = em_call(ad, &bb, atom_global(g, ad->span), 1, (Atom[]){var_atom(ad, rest)});
  Atom r = pairs_cons(ad, &bb, w, one[0], one[1], more);
  return (Clause){p, bb_done(&bb, r, ad->span), ad->span};
}

/* Neighbours stacked, four at a time or two: kernels that join many take long to compile. */
static Global *stack(AD *ad, Type *w) {
  static const int many[] = {MOST_STACKED, 2};
  bool made;
  Global *g = pairs_helper(ad, w, "stack_products", 1, false, &made);
  if (!made) return g;
  Atom all = var_atom(ad, g->fn->param[0]);
  Expr *m = match_on(ad, all, 3);
  BlockBuilder few = {0};
  for (int i = 0; i < 2; i++) m->Match.clauses[i] = stack_n(ad, w, g, many[i]);
  m->Match.clauses[2] =
      (Clause){pat(ad, PAT_Wild, NULL, NULL), bb_done(&few, all, ad->span), ad->span};
  finish_fn(ad, g, m);
  return g;
}

static Global *sum_fn(AD *ad, Type *w) {
  bool made;
  Global *g = pairs_helper(ad, w, "sum_products", 2, true, &made);
  if (!made) return g;
  DataDef *d = type_resolve(pairs_type(ad, w))->data.def;
  Var *a[2], **p = g->fn->param;
  Expr *m = match_on(ad, var_atom(ad, p[0]), 3);
  BlockBuilder none = {0}, one = {0}, many = {0};
  GradCx gn = {.cx = ad->cx, .bb = &none, .span = ad->span};
  GradCx go = {.cx = ad->cx, .bb = &one, .span = ad->span};
  Atom like = var_atom(ad, p[1]), z = gr(&gn, "zeros_like(%a)", like);
  m->Match.clauses[0] =
      (Clause){pat(ad, PAT_Ctor, NULL, d->ctor[0]), bb_done(&none, z, ad->span), ad->span};
  Pattern *single = product(ad, d, a, pat(ad, PAT_Ctor, NULL, d->ctor[0]));
  Atom dw = gr(&go, "reshape_like(nn.matmul(%a, %a, transpose_a=True), %a)", var_atom(ad, a[0]),
               var_atom(ad, a[1]), like);
  m->Match.clauses[1] = (Clause){single, bb_done(&one, dw, ad->span), ad->span};
  Atom fewer =
      em_call(ad, &many, atom_global(stack(ad, w), ad->span), 1, (Atom[]){var_atom(ad, p[0])});
  Atom r = em_call(ad, &many, atom_global(g, ad->span), 2, (Atom[]){fewer, like});
  m->Match.clauses[2] =
      (Clause){pat(ad, PAT_Wild, NULL, NULL), bb_done(&many, r, ad->span), ad->span};
  finish_fn(ad, g, m);
  return g;
}

Atom pairs_sum(AD *ad, Out o, Type *w, Atom pairs, Atom like) {
  Atom dw = em_call(ad, o, atom_global(sum_fn(ad, w), ad->span), 2, (Atom[]){pairs, like});
  return em_op(ad, o, "reshape_like", 2, (Atom[]){dw, like});
}

Atom pairs_append(AD *ad, Out o, Type *w, Atom a, Atom b) {
  bool made;
  Global *g = pairs_helper(ad, w, "append_products", 2, false, &made);
  if (made) {
    DataDef *d = type_resolve(pairs_type(ad, w))->data.def;
    Var *v[2], *rest = ad_var(ad, "rest", NULL), **p = g->fn->param;
    Expr *m = match_on(ad, var_atom(ad, p[0]), 2);
    BlockBuilder some = {0}, none = {0};
    Pattern *first = product(ad, d, v, var_pat(ad, rest));
    Atom more = em_call(ad, &some, atom_global(g, ad->span), 2,
                        (Atom[]){var_atom(ad, rest), var_atom(ad, p[1])});
    Atom r = pairs_cons(ad, &some, w, var_atom(ad, v[0]), var_atom(ad, v[1]), more);
    m->Match.clauses[0] = (Clause){first, bb_done(&some, r, ad->span), ad->span};
    m->Match.clauses[1] = (Clause){pat(ad, PAT_Ctor, NULL, d->ctor[0]),
                                   bb_done(&none, var_atom(ad, p[1]), ad->span), ad->span};
    finish_fn(ad, g, m);
  }
  return em_call(ad, o, atom_global(g, ad->span), 2, (Atom[]){a, b});
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
