/* tangent.c -- values of tangent type: zeros, ones, sums, and how they look
 * from outside; adjoints while code is made.
 *
 * What tensors and tuples need is written in place.  Data needs recursion: a
 * function for each type, made when first asked for.                          */
#include "autodiff/ad.h"

typedef enum { HELP_Ones, HELP_Add, HELP_Out, HELP_In } Help;
static const char *const help_name[] = {"ones", "add", "gradient", "cotangent"};
static Atom helper(AD *ad, Help h, View as, Type *t);

/* ---- in place ------------------------------------------------------------------ */

static bool is_static(Type *t) {
  GradInts shape;
  return t->tensor.rank > 0 && gr_shape(t, &shape);
}

/* A tensor full of one number with the extents of x.  Known extents are said,
 * so that x need not live for them. */
static Atom filled(AD *ad, Out o, Type *t, Atom x, bool ones) {
  GradInts shape;
  if (t->tensor.rank == 0) return ad_scalar(ad, t->tensor.dtype, ones);
  if (!is_static(t)) return em_op(ad, o, ones ? "ones_like" : "zeros_like", 1, &x);
  gr_shape(t, &shape);
  GradCx g = em_text(ad, o);
  return gr(&g, ones ? "ones(shape=%l, dtype=%s)" : "zeros(shape=%l, dtype=%s)", &shape,
            dtype_name(t->tensor.dtype));
}

/* f of each part of a tuple. */
typedef Atom Part(AD *ad, Out o, Type *t, Atom x);
static Atom each_part(AD *ad, Out o, Type *t, Atom x, Part *f) {
  Atom *at = NEW_N(Atom, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++) at[i] = f(ad, o, t->tuple.at[i], em_proj(ad, o, x, i));
  return em_tuple(ad, o, t->tuple.n, at);
}

Atom tan_zero(AD *ad, Out o, Type *t, Atom x) {
  t = type_resolve(t);
  if (!ad_has_tan(ad, t)) return em_unit(ad, o);
  if (t->kind == TY_Tuple) return each_part(ad, o, t, x, tan_zero);
  if (t->kind == TY_Data) return em_call(ad, o, ad_ctor_atom(ad, ad_zero_ctor(ad, t)), 0, NULL);
  return filled(ad, o, t, x, false);
}

Atom tan_ones(AD *ad, Out o, Type *t, Atom x) {
  t = type_resolve(t);
  if (!ad_has_tan(ad, t)) return em_unit(ad, o);
  if (t->kind == TY_Tuple) return each_part(ad, o, t, x, tan_ones);
  if (ad_is_function(t)) return tan_zero(ad, o, t, x);
  if (t->kind == TY_Data) return em_call(ad, o, helper(ad, HELP_Ones, AS_Step, t), 1, &x);
  return t->tensor.rank ? em_op(ad, o, "ones_like", 1, &x) : filled(ad, o, t, x, true);
}

Atom tan_add(AD *ad, Out o, Type *t, Atom a, Atom b) {
  t = type_resolve(t);
  if (!ad_has_tan(ad, t)) return a;
  if (t->kind == TY_Data)
    return em_call(ad, o, helper(ad, HELP_Add, AS_Step, t), 2, (Atom[]){a, b});
  if (t->kind != TY_Tuple) return em_op(ad, o, "add", 2, (Atom[]){a, b});
  Atom *at = NEW_N(Atom, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++) {
    Atom x = em_proj(ad, o, a, i), y = em_proj(ad, o, b, i);
    at[i] = tan_add(ad, o, t->tuple.at[i], x, y);
  }
  return em_tuple(ad, o, t->tuple.n, at);
}

bool tan_opaque(View as, Type *t) {
  return as == AS_Shadow ? type_resolve(t)->kind == TY_Fn : ad_is_function(t);
}

Atom tan_out(AD *ad, Out o, View as, Type *t, Atom x, Atom dx) {
  t = type_resolve(t);
  if (tan_opaque(as, t) || t->kind == TY_Ref) return as == AS_Shadow ? x : em_unit(ad, o);
  if (t->kind == TY_Tensor && !dtype_is_float(t->tensor.dtype)) return filled(ad, o, t, x, false);
  if (t->kind == TY_Tensor) return dx;
  if (t->kind == TY_Data) return em_call(ad, o, helper(ad, HELP_Out, as, t), 2, (Atom[]){x, dx});
  bool has = ad_has_tan(ad, t);
  Atom *at = NEW_N(Atom, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++) {
    Atom d = has ? em_proj(ad, o, dx, i) : dx;
    at[i] = tan_out(ad, o, as, t->tuple.at[i], em_proj(ad, o, x, i), d);
  }
  return em_tuple(ad, o, t->tuple.n, at);
}

Atom tan_in(AD *ad, Out o, View as, Type *t, Atom dx) {
  t = type_resolve(t);
  if (!ad_has_tan(ad, t)) return em_unit(ad, o);
  if (tan_opaque(as, t)) return tan_zero(ad, o, t, dx);
  if (t->kind == TY_Data) return em_call(ad, o, helper(ad, HELP_In, as, t), 1, &dx);
  if (t->kind != TY_Tuple) return dx;
  Atom *at = NEW_N(Atom, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++)
    at[i] = tan_in(ad, o, as, t->tuple.at[i], em_proj(ad, o, dx, i));
  return em_tuple(ad, o, t->tuple.n, at);
}

/* ---- functions over data ---------------------------------------------------------- */

/* C(x, ...) => C'(f(x), ...), with the zero for a constructor of tangents. */
static void map_case(AD *ad, Cases *c, Help h, View as, Type *t, int k) {
  Ctor *from = t->data.def->ctor[k];
  Var **x = NEW_N(Var *, from->n + 1);
  Pattern *p = pattern_of(ad, from, x);
  Atom *at = NEW_N(Atom, from->n + 1);
  BlockBuilder bb = {0};
  for (int i = 0; i < from->n; i++) {
    Type *f = ad_field(ad, t, from, i);
    Atom v = var_atom(ad, x[i]);
    at[i] = h == HELP_Ones ? tan_ones(ad, &bb, f, v) : tan_in(ad, &bb, as, f, v);
  }
  Atom made = em_call(ad, &bb, ad_ctor_atom(ad, ad_adj_ctor(ad, t, from)), from->n, at);
  add_case(ad, c, p, &bb, made);
}

/* A field's gradient as the program sees it.  The type of data of its own is its
 * gradient's too: a function or ref in it stays what it is. */
static Atom tan_out_field(AD *ad, Out o, View as, Type *own, Type *t, Atom x, Atom dx) {
  own = type_resolve(own), t = type_resolve(t);
  if (own->kind == TY_Ref || tan_opaque(as, own)) {
    if (ad_special(ad, t))
      ad_unknown(ad, ad->span, t, "a gradient would hold what is a function or ref of its value");
    return x;
  }
  if (own->kind != TY_Tuple) return tan_out(ad, o, as, t, x, dx);
  Atom *at = NEW_N(Atom, t->tuple.n + 1);
  bool has = ad_has_tan(ad, t);
  for (int i = 0; i < t->tuple.n; i++) {
    Atom d = has ? em_proj(ad, o, dx, i) : dx;
    at[i] = tan_out_field(ad, o, as, own->tuple.at[i], t->tuple.at[i], em_proj(ad, o, x, i), d);
  }
  return em_tuple(ad, o, t->tuple.n, at);
}

/* match (x) { C(..) => match (dx) { C_adj(..) => C(..), _ => C(zeros) } } */
static void out_case(AD *ad, Cases *c, View as, Type *t, int k, Atom dx) {
  Ctor *from = t->data.def->ctor[k];
  Var **x = NEW_N(Var *, from->n + 1), **d = NEW_N(Var *, from->n + 1);
  Pattern *p = pattern_of(ad, from, x);
  BlockBuilder outer = {0}, some = {0}, none = {0};
  Atom *at = NEW_N(Atom, from->n + 1), *zero = NEW_N(Atom, from->n + 1);
  bool tan = ad_has_tan(ad, t);
  Pattern *q = tan ? pattern_of(ad, ad_adj_ctor(ad, t, from), d) : NULL;
  for (int i = 0; i < from->n; i++) {
    Type *f = ad_field(ad, t, from, i);
    Atom v = var_atom(ad, x[i]);
    Type *own = from->field[i];
    if (tan) at[i] = tan_out_field(ad, &some, as, own, f, v, var_atom(ad, d[i]));
    zero[i] = tan_out_field(ad, &none, as, own, f, v, tan_zero(ad, &none, f, v));
  }
  Atom back = ad_ctor_atom(ad, from);
  if (!tan) {
    add_case(ad, c, p, &none, em_call(ad, &none, back, from->n, zero));
    return;
  }
  Cases in = cases_of(ad, dx);
  add_case(ad, &in, q, &some, em_call(ad, &some, back, from->n, at));
  add_case(ad, &in, anything(ad), &none, em_call(ad, &none, back, from->n, zero));
  add_case(ad, c, p, &outer, end_cases(ad, &outer, &in));
}

/* match (a) { C_adj(..) => match (b) { C_adj(..) => C_adj(sums), _ => a }, _ => b } */
static void add_case_of(AD *ad, Cases *c, Type *t, int k, Atom a, Atom b) {
  Ctor *from = t->data.def->ctor[k], *to = ad_adj_ctor(ad, t, from);
  Var **x = NEW_N(Var *, to->n + 1), **y = NEW_N(Var *, to->n + 1);
  Pattern *p = pattern_of(ad, to, x), *q = pattern_of(ad, to, y);
  BlockBuilder outer = {0}, both = {0}, one = {0};
  Atom *at = NEW_N(Atom, to->n + 1);
  for (int i = 0; i < to->n; i++)
    at[i] = tan_add(ad, &both, ad_field(ad, t, from, i), var_atom(ad, x[i]), var_atom(ad, y[i]));
  Cases in = cases_of(ad, b);
  add_case(ad, &in, q, &both, em_call(ad, &both, ad_ctor_atom(ad, to), to->n, at));
  add_case(ad, &in, anything(ad), &one, a);
  add_case(ad, c, p, &outer, end_cases(ad, &outer, &in));
}

static Block *helper_body(AD *ad, Help h, View as, Type *t, Atom x, Atom dx) {
  Cases c = cases_of(ad, x);
  for (int k = 0; k < t->data.def->n_ctors; k++)
    if (h == HELP_Out)
      out_case(ad, &c, as, t, k, dx);
    else if (h == HELP_Add)
      add_case_of(ad, &c, t, k, x, dx);
    else
      map_case(ad, &c, h, as, t, k);
  BlockBuilder none = {0};
  if (h == HELP_Add) add_case(ad, &c, anything(ad), &none, dx);
  return cases_block(ad, &c);
}

static Atom helper(AD *ad, Help h, View as, Type *t) {
  t = nameless(ad, t);
  bool two = h == HELP_Add || h == HELP_Out;
  Sym key = ad_key(ad, as == AS_Shadow ? str_fmt("shadow %s", help_name[h]) : help_name[h], t);
  const char *name = str_fmt("%s_%s", help_name[h], t->data.def->name);
  Global *g;
  if (!ad_define(ad, &ad->helper, key, name, two ? 2 : 1, &g)) return atom_global(g, ad->span);
  Type *plain = nameless(ad, ad_dual(ad, t)), *tan = ad_tan(ad, t);
  Type *cot = as == AS_Shadow ? t : diff_cotangent(t);
  Atom x = ad_param(ad, g, 0, "x", h == HELP_Add ? tan : h == HELP_In ? cot : plain);
  Atom dx = two ? ad_param(ad, g, 1, "dx", tan) : x;
  g->fn->ret = h == HELP_Out ? cot : tan;
  DefPath path;
  if (!ad_enter(ad, t->data.def, &path)) return (Atom){.kind = ATOM_Poison};
  g->fn->body = helper_body(ad, h, as, t, x, dx);
  ad_leave(ad);
  return atom_global(g, ad->span);
}

/* ---- adjoints ------------------------------------------------------------------------ */

Adj *adj_atom(Atom a) {
  Adj *d = NEW(Adj);
  d->at = a;
  return d;
}
Adj *adj_tuple(int n, Adj **part) {
  Adj *d = NEW(Adj);
  d->n = n;
  d->part = part;
  return d;
}

Adj *adj_part(AD *ad, Out o, Adj *a, int i) {
  if (!a) return NULL;
  return a->part ? a->part[i] : adj_atom(em_proj(ad, o, a->at, i));
}

Adj *adj_add(AD *ad, Out o, Type *t, Adj *a, Adj *b) {
  t = type_resolve(t);
  if (!a || !b) return a ? a : b;
  if (t->kind != TY_Tuple) return adj_atom(tan_add(ad, o, t, a->at, b->at));
  Adj **part = NEW_N(Adj *, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++)
    if (ad_has_tan(ad, t->tuple.at[i]))
      part[i] = adj_add(ad, o, t->tuple.at[i], adj_part(ad, o, a, i), adj_part(ad, o, b, i));
  return adj_tuple(t->tuple.n, part);
}

Atom adj_value(AD *ad, Out o, Type *t, Atom x, Adj *a) {
  t = type_resolve(t);
  if (!ad_has_tan(ad, t)) return em_unit(ad, o);
  if (!a) return tan_zero(ad, o, t, x);
  if (!a->part) return a->at;
  Atom *at = NEW_N(Atom, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++) {
    Type *p = t->tuple.at[i];
    bool zeros = ad_has_tan(ad, p) && (!a->part[i] || a->part[i]->part); /* may be made of x */
    at[i] = adj_value(ad, o, p, zeros ? em_proj(ad, o, x, i) : x, a->part[i]);
  }
  return em_tuple(ad, o, t->tuple.n, at);
}
