/* tower_data.c -- values and towers: definitions over towers of any type, and, made
 * when first asked for, over each type that is walked.                        */
#include "autodiff/tower.h"

Atom tower_int(Tower *tw, int64_t v) { return ad_scalar(tw->ad, DT_i32, v); }

Atom tower_if(Tower *tw, Out o, Atom a, Atom b, Block *yes, Block *no) {
  return em_if(tw->ad, o, em_op(tw->ad, o, "equal", 2, (Atom[]){a, b}), yes, no);
}

static Type *tower_of(Tower *tw, Type *t) { return type_data(tw->def, 1, &t); }
static Type *number(void) { return type_scalar(DT_f64); }

Atom tower_ground(Tower *tw, Out o, Atom x) {
  return em_call(tw->ad, o, ad_ctor_atom(tw->ad, tw->ground), 1, &x);
}
Atom tower_pair(Tower *tw, Out o, Atom level, Atom x, Atom dx) {
  return em_call(tw->ad, o, ad_ctor_atom(tw->ad, tw->level), 3, (Atom[]){level, x, dx});
}

/* ---- definitions --------------------------------------------------------------------- */

static Atom call(Tower *tw, Out o, Global *g, int n, const Atom *arg) {
  return em_call(tw->ad, o, atom_global(g, tw->ad->span), n, arg);
}
static Block *block_of(Tower *tw, Atom a) {
  BlockBuilder bb = {0};
  return bb_done(&bb, a, tw->ad->span);
}

/* Of towers of any type. */
typedef enum { ANY_Level, ANY_Value, ANY_Below, ANY_Along } Any;
static const char *const any_name[] = {"tower_level", "tower_value", "tower_below", "tower_along"};

/* match (x) { Ground(v) => .., Level(s, p, q) => .. } */
static Atom any_body(Tower *tw, Out o, Any k, Global *self, Atom x, Atom level, Atom zero) {
  AD *ad = tw->ad;
  Var *v[1], *l[3];
  Pattern *p = pattern_of(ad, tw->ground, v), *q = pattern_of(ad, tw->level, l);
  BlockBuilder flat = {0}, high = {0};
  Cases c = cases_of(ad, x);
  Atom s = var_atom(ad, l[0]), below = var_atom(ad, l[1]), step = var_atom(ad, l[2]);
  Atom rest = k == ANY_Along ? tower_ground(tw, &flat, zero) : x;
  if (k == ANY_Level) rest = tower_int(tw, 0);
  if (k == ANY_Value) rest = var_atom(ad, v[0]);
  add_case(ad, &c, p, &flat, rest);
  Atom is = k == ANY_Level ? s : below;
  if (k == ANY_Value) is = call(tw, &high, self, 1, &below);
  if (k == ANY_Below) is = tower_if(tw, &high, s, level, block_of(tw, below), block_of(tw, x));
  if (k == ANY_Along) {
    BlockBuilder none = {0};
    Atom z = tower_ground(tw, &none, zero);
    is = tower_if(tw, &high, s, level, block_of(tw, step), bb_done(&none, z, ad->span));
  }
  add_case(ad, &c, q, &high, is);
  return end_cases(ad, o, &c);
}

static Global *any(Tower *tw, Any k) {
  AD *ad = tw->ad;
  Sym key = sym(ad->cx->syms, any_name[k]);
  int n = k == ANY_Along ? 3 : k == ANY_Below ? 2 : 1;
  Global *g;
  if (!ad_define(ad, &tw->helper, key, any_name[k], n, &g)) return g;
  g->fn->n_vars = 1;
  g->fn->var = tyvar_one(tw->def->var[0]->name, ad->span);
  Type *t = type_var(g->fn->var[0]);
  Atom x = ad_param(ad, g, 0, "x", tower_of(tw, t)), level = {0}, zero = {0};
  if (n > 1) level = ad_param(ad, g, 1, "level", type_scalar(DT_i32));
  if (n > 2) zero = ad_param(ad, g, 2, "zero", t);
  g->fn->ret = k == ANY_Level ? type_scalar(DT_i32) : k == ANY_Value ? t : tower_of(tw, t);
  BlockBuilder bb = {0};
  g->fn->body = bb_done(&bb, any_body(tw, &bb, k, g, x, level, zero), ad->span);
  return g;
}

Atom tower_level(Tower *tw, Out o, Atom x) { return call(tw, o, any(tw, ANY_Level), 1, &x); }
Atom tower_value(Tower *tw, Out o, Atom x) { return call(tw, o, any(tw, ANY_Value), 1, &x); }
Atom tower_below(Tower *tw, Out o, Atom x, Atom level) {
  return call(tw, o, any(tw, ANY_Below), 2, (Atom[]){x, level});
}
Atom tower_along(Tower *tw, Out o, Atom x, Atom level, Atom zero) {
  return call(tw, o, any(tw, ANY_Along), 3, (Atom[]){x, level, zero});
}
Atom tower_zero(Tower *tw, Out o, Type *t, Atom x) {
  t = type_resolve(t);
  if (!t->tensor.rank) return ad_scalar(tw->ad, t->tensor.dtype, 0);
  Atom v = tower_value(tw, o, x);
  return em_op(tw->ad, o, "zeros_like", 1, &v);
}

/* ---- linear functions of towers of one type ------------------------------------------------ */

/* What they do to values, and, as they are linear in each tower, to what stands at a level. */
static const char *const linear_name[] = {"plus", "dot", "total", "spread"};
static const char *const linear_text[] = {
    "add(%a, %a)", "sum(cast(multiply(%a, %a), dtype=\"float64\"))",
    "sum(cast(%a, dtype=\"float64\"))", "multiply(cast(%a, dtype=%s), %a)"};

static Global *linear(Tower *tw, Linear k, Type *t);

static Atom of_values(Tower *tw, Out o, Linear k, Type *t, Atom a, Atom b) {
  GradCx g = em_text(tw->ad, o);
  if (k == OF_Spread) return gr(&g, linear_text[k], a, dtype_name(t->tensor.dtype), b);
  return k == OF_Total ? gr(&g, linear_text[k], a) : gr(&g, linear_text[k], a, b);
}

static Atom of_levels(Tower *tw, Out o, Linear k, Type *t, Atom level, const Atom *at) {
  Global *self = linear(tw, k, t);
  Type *of_a = k == OF_Spread ? number() : t;
  Atom a = tower_below(tw, o, at[0], level), b = at[1];
  Atom da = tower_along(tw, o, at[0], level, tower_zero(tw, o, of_a, at[0])), db = b;
  if (k == OF_Total || k == OF_Spread) {
    Atom y = call(tw, o, self, k == OF_Total ? 1 : 2, (Atom[]){a, b});
    return tower_pair(tw, o, level, y, call(tw, o, self, k == OF_Total ? 1 : 2, (Atom[]){da, b}));
  }
  db = tower_along(tw, o, b, level, tower_zero(tw, o, t, b));
  b = tower_below(tw, o, b, level);
  Atom y = call(tw, o, self, 2, (Atom[]){a, b});
  if (k == OF_Plus) return tower_pair(tw, o, level, y, call(tw, o, self, 2, (Atom[]){da, db}));
  Atom two[] = {call(tw, o, self, 2, (Atom[]){da, b}), call(tw, o, self, 2, (Atom[]){a, db})};
  return tower_pair(tw, o, level, y, call(tw, o, linear(tw, OF_Plus, number()), 2, two));
}

static Global *linear(Tower *tw, Linear k, Type *t) {
  AD *ad = tw->ad;
  t = nameless(ad, type_resolve(t));
  Sym key = ad_key(ad, linear_name[k], t);
  const char *name = str_fmt("tower_%s", linear_name[k]);
  Global *g;
  if (!ad_define(ad, &tw->helper, key, name, k == OF_Total ? 1 : 2, &g)) return g;
  bool two = k == OF_Plus || k == OF_Dot;
  Atom at[2] = {ad_param(ad, g, 0, "a", tower_of(tw, k == OF_Spread ? number() : t)), {0}};
  if (k != OF_Total) at[1] = ad_param(ad, g, 1, "b", two ? tower_of(tw, t) : t);
  g->fn->ret = tower_of(tw, k == OF_Dot || k == OF_Total ? number() : t);
  BlockBuilder bb = {0}, flat = {0}, high = {0};
  Atom level = tower_level(tw, &bb, at[0]);
  if (two) level = em_op(ad, &bb, "maximum", 2, (Atom[]){level, tower_level(tw, &bb, at[1])});
  Atom a = tower_value(tw, &flat, at[0]), b = two ? tower_value(tw, &flat, at[1]) : at[1];
  Atom y = tower_ground(tw, &flat, of_values(tw, &flat, k, t, a, b));
  Atom z = of_levels(tw, &high, k, t, level, at);
  Block *yes = bb_done(&flat, y, ad->span), *no = bb_done(&high, z, ad->span);
  g->fn->body = bb_done(&bb, tower_if(tw, &bb, level, tower_int(tw, 0), yes, no), ad->span);
  return g;
}

Atom tower_linear(Tower *tw, Out o, Linear k, Type *t, Atom a, Atom b) {
  return call(tw, o, linear(tw, k, t), k == OF_Total ? 1 : 2, (Atom[]){a, b});
}

/* ---- from part to part ---------------------------------------------------------------- */

/* How many of (x, dx, level) a walk takes. */
static int n_walked(Walk w) { return w <= WALK_Ground ? 1 : w == WALK_Along ? 3 : 2; }
static Global *walker(Tower *tw, Walk w, Type *t);

/* A function of the raised program for the program: fn (x, ..) { ground(f(0, raised x, ..)) } */
static Atom ground_function(Tower *tw, Out o, Type *t, Atom f) {
  AD *ad = tw->ad;
  int n = t->fn.n;
  Var **x = NEW_N(Var *, n + 1);
  Atom *arg = NEW_N(Atom, n + 2), none = {0};
  BlockBuilder bb = {0};
  arg[0] = tower_int(tw, 0);
  for (int i = 0; i < n; i++) {
    x[i] = ad_var(ad, "x", nameless(ad, t->fn.param[i]));
    arg[i + 1] = tower_walk(tw, &bb, WALK_Raise, t->fn.param[i], var_atom(ad, x[i]), none, none);
  }
  Atom y = em_call(ad, &bb, f, n + 1, arg);
  y = tower_walk(tw, &bb, WALK_Ground, t->fn.ret, y, none, none);
  return em_fn(ad, o, n, x, bb_done(&bb, y, ad->span), NULL);
}

static Atom walk_function(Tower *tw, Out o, Walk w, Type *t, Atom x) {
  if (w == WALK_Step) return em_unit(tw->ad, o);
  if (w == WALK_Ground && t->kind == TY_Fn) return ground_function(tw, o, t, x);
  if (w == WALK_Raise && t->kind == TY_Fn)
    ad_unknown(tw->ad, tw->ad->span, t,
               "what calls itself through its own derivative takes a function that is not known "
               "here");
  else if (w != WALK_Along && t->kind == TY_Ref && ad_moves(tw->ad, t))
    tower_outside_ref(tw->ad, tw->ad->span);
  return x;
}

static Atom walk_tensor(Tower *tw, Out o, Walk w, Type *t, Atom x, Atom dx, Atom level) {
  if (!tower_float(t)) return w == WALK_Step ? tan_out(tw->ad, o, AS_Step, t, x, dx) : x;
  switch (w) {
  case WALK_Raise: return tower_ground(tw, o, x);
  case WALK_Ground: return tower_value(tw, o, x);
  case WALK_Below: return tower_below(tw, o, x, level);
  case WALK_Step: return tower_along(tw, o, x, level, tower_zero(tw, o, t, x));
  case WALK_Along: break;
  }
  return tower_pair(tw, o, level, x, dx);
}

Atom tower_walk(Tower *tw, Out o, Walk w, Type *t, Atom x, Atom dx, Atom level) {
  AD *ad = tw->ad;
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Tensor: return walk_tensor(tw, o, w, t, x, dx, level);
  case TY_Fn:
  case TY_Ref: return walk_function(tw, o, w, t, x);
  case TY_Tuple: {
    Atom *at = NEW_N(Atom, t->tuple.n + 1), d = dx;
    for (int i = 0; i < t->tuple.n; i++) {
      Atom xi = em_proj(ad, o, x, i);
      if (w == WALK_Along) d = em_proj(ad, o, dx, i);
      at[i] = tower_walk(tw, o, w, t->tuple.at[i], xi, d, level);
    }
    return em_tuple(ad, o, t->tuple.n, at);
  }
  case TY_Data: {
    if (ad_is_function(t) && w >= WALK_Step) return w == WALK_Step ? em_unit(ad, o) : x;
    if (!ad_moves(ad, t) && w != WALK_Step) return x;
    int n = n_walked(w);
    return call(tw, o, walker(tw, w, t), n, (Atom[]){x, n == 3 ? dx : level, level});
  }
  case TY_Var:
  case TY_Meta:
  case TY_Error: break;
  }
  return x;
}

/* A field: where its own type is a function or a ref, so is its step's (tan_out_field). */
static Atom walk_field(Tower *tw, Out o, Walk w, Type *own, Type *t, Atom x, Atom dx, Atom level) {
  AD *ad = tw->ad;
  own = type_resolve(own), t = type_resolve(t);
  if (w < WALK_Step) return tower_walk(tw, o, w, t, x, dx, level);
  if (own->kind == TY_Ref || ad_is_function(own))
    return w == WALK_Along ? x : tower_walk(tw, o, WALK_Below, t, x, dx, level);
  if (own->kind != TY_Tuple) return tower_walk(tw, o, w, t, x, dx, level);
  Atom *at = NEW_N(Atom, t->tuple.n + 1), d = dx;
  for (int i = 0; i < t->tuple.n; i++) {
    Atom xi = em_proj(ad, o, x, i);
    if (w == WALK_Along) d = em_proj(ad, o, dx, i);
    at[i] = walk_field(tw, o, w, own->tuple.at[i], t->tuple.at[i], xi, d, level);
  }
  return em_tuple(ad, o, t->tuple.n, at);
}

/* C(x, ..) => C(walked, ..); with a step: => match? (dx) { C(d, ..) => C(..) } */
static void walk_case(Tower *tw, Cases *c, Walk w, Type *t, Ctor *ctor, Atom dx, Atom level) {
  AD *ad = tw->ad;
  Ctor *raised = tower_ctor(tw, ctor);
  Ctor *from = w == WALK_Raise ? ctor : raised, *to = w == WALK_Ground ? ctor : raised;
  Var **x = NEW_N(Var *, ctor->n + 1), **d = NEW_N(Var *, ctor->n + 1);
  Pattern *p = pattern_of(ad, from, x), *q = w == WALK_Along ? pattern_of(ad, raised, d) : NULL;
  BlockBuilder outer = {0}, bb = {0};
  Atom *at = NEW_N(Atom, ctor->n + 1);
  for (int i = 0; i < ctor->n; i++)
    at[i] = walk_field(tw, &bb, w, ctor->field[i], ad_field(ad, t, ctor, i), var_atom(ad, x[i]),
                       q ? var_atom(ad, d[i]) : dx, level);
  Atom y = em_call(ad, &bb, ad_ctor_atom(ad, to), ctor->n, at);
  if (!q) {
    add_case(ad, c, p, &bb, y);
    return;
  }
  Cases in = cases_of(ad, dx);
  in.e->Match.partial = true;
  add_case(ad, &in, q, &bb, y);
  add_case(ad, c, p, &outer, end_cases(ad, &outer, &in));
}

static Global *walker(Tower *tw, Walk w, Type *t) {
  static const char *const name[] = {"raise", "ground", "below", "step", "along"};
  AD *ad = tw->ad;
  t = nameless(ad, t);
  Sym key = ad_key(ad, name[w], t);
  const char *want = str_fmt("%s_%s", name[w], t->data.def->name);
  Global *g;
  if (!ad_define(ad, &tw->helper, key, want, n_walked(w), &g)) return g;
  Type *raised = tower_type(tw, t), *step = tower_type(tw, diff_cotangent(t));
  Type *level_type = type_scalar(DT_i32);
  Atom x = ad_param(ad, g, 0, "x", w == WALK_Raise ? t : raised), dx = {0}, level = {0};
  if (w == WALK_Along) dx = ad_param(ad, g, 1, "dx", step);
  if (w >= WALK_Below) level = ad_param(ad, g, g->fn->n - 1, "level", level_type);
  g->fn->ret = w == WALK_Ground ? t : w == WALK_Step ? step : raised;
  DefPath path;
  if (!ad_enter(ad, t->data.def, &path)) return g;
  Cases c = cases_of(ad, x);
  for (int k = 0; k < t->data.def->n_ctors; k++)
    walk_case(tw, &c, w, t, t->data.def->ctor[k], dx, level);
  g->fn->body = cases_block(ad, &c);
  ad_leave(ad);
  return g;
}
