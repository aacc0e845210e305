/* dual_data.c -- between data and data of duals: functions over the type, made
 * when first asked for.  The program gives and gets a value and a step (T and
 * T' of ir/diff.h) where the code made here has one value of ad_forward(T).    */
#include "autodiff/forward.h"

typedef enum { HELP_Lift, HELP_Join, HELP_Drop, HELP_Step } Help;
static const char *const help_name[] = {"lift", "join", "drop", "step"};
static Atom helper(AD *ad, Help h, View as, Type *t);

Atom dual_lift(AD *ad, Out o, Type *t, Atom x) {
  return em_call(ad, o, helper(ad, HELP_Lift, AS_Step, t), 1, &x);
}
Atom dual_drop(AD *ad, Out o, Type *t, Atom x) {
  return em_call(ad, o, helper(ad, HELP_Drop, AS_Step, t), 1, &x);
}

Dual *dual_in(AD *ad, Out o, View as, Type *t, Atom x, Atom dx) {
  t = type_resolve(t);
  if (t->kind == TY_Tuple && ad_moves(ad, t)) {
    Dual **part = NEW_N(Dual *, t->tuple.n + 1);
    for (int i = 0; i < t->tuple.n; i++) {
      Atom of_x = em_proj(ad, o, x, i), of_dx = em_proj(ad, o, dx, i);
      part[i] = dual_in(ad, o, as, t->tuple.at[i], of_x, of_dx);
    }
    return dual_tuple(t->tuple.n, part);
  }
  if (!ad_has_tan(ad, t) || ad_special(ad, t) || tan_opaque(as, t)) return dual_plain(x);
  if (t->kind == TY_Tensor) return dual_pair(x, dx);
  Atom both = em_call(ad, o, helper(ad, HELP_Join, as, t), 2, (Atom[]){x, dx});
  return dual_open(ad, o, t, dual_full(ad, t), both);
}

Atom dual_out(AD *ad, Out o, View as, Type *t, Dual *d) {
  t = type_resolve(t);
  if (tan_opaque(as, t)) return em_unit(ad, o);
  if (d->kind == DUAL_Pair) return dual_tangent(ad, d);
  if (d->kind == DUAL_Box) return em_call(ad, o, helper(ad, HELP_Step, as, t), 1, &d->at);
  if (d->kind == DUAL_Plain) return tan_out(ad, o, as, t, d->at, tan_zero(ad, o, t, d->at));
  Atom *at = NEW_N(Atom, d->n + 1);
  for (int i = 0; i < d->n; i++) at[i] = dual_out(ad, o, as, t->tuple.at[i], d->part[i]);
  return em_tuple(ad, o, d->n, at);
}

/* ---- functions over data ------------------------------------------------------------ */

/* A field of a step: see tan_out_field. */
static Atom out_field(AD *ad, Out o, View as, Type *own, Type *t, Dual *d) {
  own = type_resolve(own), t = type_resolve(t);
  if (own->kind == TY_Ref || tan_opaque(as, own)) return dual_value(ad, o, t, d);
  if (own->kind != TY_Tuple) return dual_out(ad, o, as, t, d);
  Atom *at = NEW_N(Atom, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++)
    at[i] = out_field(ad, o, as, own->tuple.at[i], t->tuple.at[i], dual_part(ad, o, d, i));
  return em_tuple(ad, o, t->tuple.n, at);
}

/* C(x, ...) => C'(f(x), ...) */
static void map_case(AD *ad, Cases *c, Help h, View as, Type *t, Ctor *ctor) {
  Ctor *dual = ad_forward_ctor(ad, t, ctor);
  Ctor *from = h == HELP_Lift ? ctor : dual, *to = h == HELP_Lift ? dual : ctor;
  Var **x = NEW_N(Var *, from->n + 1);
  Pattern *p = pattern_of(ad, from, x);
  Atom *at = NEW_N(Atom, from->n + 1);
  BlockBuilder bb = {0};
  for (int i = 0; i < from->n; i++) {
    Type *f = ad_field(ad, t, ctor, i);
    Dual *full = dual_full(ad, f);
    Atom v = var_atom(ad, x[i]);
    Dual *d = h == HELP_Lift ? dual_plain(v) : dual_open(ad, &bb, f, full, v);
    at[i] = h == HELP_Lift   ? dual_as(ad, &bb, f, d, full)
            : h == HELP_Drop ? dual_value(ad, &bb, f, d)
                             : out_field(ad, &bb, as, ctor->field[i], f, d);
  }
  add_case(ad, c, p, &bb, em_call(ad, &bb, ad_ctor_atom(ad, to), from->n, at));
}

/* C(x, ...) => match? (dx) { C(d, ...) => C'(join(x, d), ...) }: a step has the
 * constructors of the value. */
static void join_case(AD *ad, Cases *c, View as, Type *t, Ctor *ctor, Atom dx) {
  Var **x = NEW_N(Var *, ctor->n + 1), **d = NEW_N(Var *, ctor->n + 1);
  Pattern *p = pattern_of(ad, ctor, x), *q = pattern_of(ad, ctor, d);
  Atom *at = NEW_N(Atom, ctor->n + 1);
  BlockBuilder outer = {0}, bb = {0};
  for (int i = 0; i < ctor->n; i++) {
    Type *f = ad_field(ad, t, ctor, i);
    Dual *both = dual_in(ad, &bb, as, f, var_atom(ad, x[i]), var_atom(ad, d[i]));
    at[i] = dual_as(ad, &bb, f, both, dual_full(ad, f));
  }
  Cases in = cases_of(ad, dx);
  in.e->Match.partial = true;
  Atom to = ad_ctor_atom(ad, ad_forward_ctor(ad, t, ctor));
  add_case(ad, &in, q, &bb, em_call(ad, &bb, to, ctor->n, at));
  add_case(ad, c, p, &outer, end_cases(ad, &outer, &in));
}

static Atom helper(AD *ad, Help h, View as, Type *t) {
  t = nameless(ad, type_resolve(t));
  bool join = h == HELP_Join;
  Sym key = ad_key(ad, as == AS_Shadow ? str_fmt("shadow %s", help_name[h]) : help_name[h], t);
  const char *name = str_fmt("%s_%s", help_name[h], t->data.def->name);
  Global *g;
  if (!ad_define(ad, &ad->helper, key, name, join ? 2 : 1, &g)) return atom_global(g, ad->span);
  Type *dual = ad_forward(ad, t), *step = as == AS_Shadow ? t : diff_cotangent(t);
  Atom x = ad_param(ad, g, 0, "x", h == HELP_Drop || h == HELP_Step ? dual : t);
  Atom dx = join ? ad_param(ad, g, 1, "dx", step) : x;
  g->fn->ret = h == HELP_Drop ? t : h == HELP_Step ? step : dual;
  DefPath path;
  if (!ad_enter(ad, t->data.def, &path)) return (Atom){.kind = ATOM_Poison};
  Cases c = cases_of(ad, x);
  for (int k = 0; k < t->data.def->n_ctors; k++)
    if (join)
      join_case(ad, &c, as, t, t->data.def->ctor[k], dx);
    else
      map_case(ad, &c, h, as, t, t->data.def->ctor[k]);
  g->fn->body = cases_block(ad, &c);
  ad_leave(ad);
  return atom_global(g, ad->span);
}
