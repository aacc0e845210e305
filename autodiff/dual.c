/* dual.c -- values with tangents while code is made, and the types they have
 * when it runs.                                                               */
#include "autodiff/versions.h"

bool ad_moves(AD *ad, Type *t) { return ad_has_tan(ad, t) || ad_special(ad, t); }

/* ---- types --------------------------------------------------------------------- */

bool ad_moves_itself(AD *ad, DataDef *def) {
  Type **var = NEW_N(Type *, def->n_vars + 1);
  for (int i = 0; i < def->n_vars; i++) var[i] = type_var(def->var[i]);
  return ad_moves(ad, type_data(def, def->n_vars, var));
}

static Type *forward_field(void *ud, Type *t) { return ad_forward(ud, t); }
static DataDef *forward_def(AD *ad, DataDef *of) {
  return ad_generic_data(ad, &ad->forward, "dual", of, forward_field, ad);
}

/* Where a version is of a parameter, a type for each instance: the content stays. */
static Type *forward_closed(AD *ad, Type *t) {
  return ad_moves(ad, t) ? ad_closed_data(ad, "forward", t, ad_forward) : t;
}

Type *ad_forward(AD *ad, Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor)
    return dtype_is_float(t->tensor.dtype) ? type_tuple(2, (Type *[]){t, t}) : t;
  if (version_is(ad, t)) return t;
  if (t->kind == TY_Data && version_generic(ad, t->data.def)) return forward_closed(ad, t);
  int n = n_parts(t);
  Type **at = NEW_N(Type *, n + 1);
  for (int i = 0; i < n; i++) at[i] = ad_forward(ad, part_type(t, i));
  if (t->kind == TY_Data) return type_data(forward_def(ad, t->data.def), n, at);
  return n ? with_parts(t, at) : t;
}

Ctor *ad_forward_ctor(AD *ad, Type *data, const Ctor *c) {
  data = type_resolve(data);
  bool closed = version_generic(ad, data->data.def);
  DataDef *d = closed ? ad_forward(ad, data)->data.def : forward_def(ad, data->data.def);
  return d->ctor[c->tag];
}

/* ---- shapes --------------------------------------------------------------------- */

static Dual *dual_new(DualKind k) {
  Dual *d = NEW(Dual);
  d->kind = k;
  return d;
}
Dual *dual_plain(Atom a) {
  Dual *d = dual_new(DUAL_Plain);
  d->at = a;
  return d;
}
Dual *dual_pair(Atom x, Atom dx) {
  Dual *d = dual_new(DUAL_Pair);
  d->at = x;
  d->d = dx;
  return d;
}
Dual *dual_tuple(int n, Dual **part) {
  Dual *d = dual_new(DUAL_Tuple);
  d->n = n;
  d->part = part;
  return d;
}

Dual *dual_full(AD *ad, Type *t) {
  t = type_resolve(t);
  if (!ad_moves(ad, t)) return dual_new(DUAL_Plain);
  if (t->kind == TY_Tensor) return dual_new(DUAL_Pair);
  if (t->kind != TY_Tuple) return dual_new(DUAL_Box);
  Dual **part = NEW_N(Dual *, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++) part[i] = dual_full(ad, t->tuple.at[i]);
  return dual_tuple(t->tuple.n, part);
}

Dual *dual_join(AD *ad, Type *t, Dual *a, Dual *b) {
  t = type_resolve(t);
  if (a->kind == DUAL_Plain && b->kind == DUAL_Plain) return dual_new(DUAL_Plain);
  if (t->kind != TY_Tuple) return dual_full(ad, t);
  Dual **part = NEW_N(Dual *, t->tuple.n + 1), *plain = dual_new(DUAL_Plain);
  for (int i = 0; i < t->tuple.n; i++)
    part[i] = dual_join(ad, t->tuple.at[i], a->kind == DUAL_Tuple ? a->part[i] : plain,
                        b->kind == DUAL_Tuple ? b->part[i] : plain);
  return dual_tuple(t->tuple.n, part);
}

void dual_spell(const Dual *shape, StrBuf *out) {
  buf_char(out, "_x(b"[shape->kind]);
  for (int i = 0; i < shape->n; i++) dual_spell(shape->part[i], out);
  if (shape->kind == DUAL_Tuple) buf_char(out, ')');
}

static bool same_shape(const Dual *a, const Dual *b) {
  if (a->kind != b->kind) return false;
  for (int i = 0; i < a->n; i++)
    if (!same_shape(a->part[i], b->part[i])) return false;
  return true;
}

/* ---- values ----------------------------------------------------------------------- */

static Atom outsider(AD *ad, Type *t, const Dual *d) {
  Sym name = d->at.kind == ATOM_Var ? d->at.var->name : NULL;
  ad_unknown(ad, ad->span, t,
             "%s is a function or holds one that is not known here: it comes from outside of what "
             "is differentiated",
             name ? str_fmt("%%%s", name) : "a value");
  return (Atom){.kind = ATOM_Poison};
}

Atom dual_value(AD *ad, Out o, Type *t, Dual *d) {
  t = type_resolve(t);
  if (d->kind == DUAL_Plain || d->kind == DUAL_Pair) return d->at;
  if (d->kind == DUAL_Box)
    return ad_special(ad, t) ? outsider(ad, t, d) : dual_drop(ad, o, t, d->at);
  Atom *at = NEW_N(Atom, d->n + 1);
  for (int i = 0; i < d->n; i++) at[i] = dual_value(ad, o, t->tuple.at[i], d->part[i]);
  return em_tuple(ad, o, d->n, at);
}

Atom dual_tangent(AD *ad, const Dual *d) {
  if (d->none) ad_fail(ad, ad->span, "%s", d->none);
  return d->d;
}

Dual *dual_part(AD *ad, Out o, Dual *d, int i) {
  return d->kind == DUAL_Tuple ? d->part[i] : dual_plain(em_proj(ad, o, d->at, i));
}

static Atom pair_of(AD *ad, Out o, Type *t, Dual *d) {
  Atom dx = d->kind == DUAL_Pair ? dual_tangent(ad, d) : tan_zero(ad, o, t, d->at);
  return em_tuple(ad, o, 2, (Atom[]){d->at, dx});
}

Atom dual_as(AD *ad, Out o, Type *t, Dual *d, const Dual *shape) {
  t = type_resolve(t);
  /* Not taken apart to be put together: a call in tail position stays one. */
  if (d->is_whole && same_shape(d, shape)) return d->whole;
  switch (shape->kind) {
  case DUAL_Plain: break;
  case DUAL_Pair: return pair_of(ad, o, t, d);
  case DUAL_Box:
    if (d->kind == DUAL_Box) return d->at;
    return ad_special(ad, t) ? outsider(ad, t, d) : dual_lift(ad, o, t, d->at);
  case DUAL_Tuple: {
    Atom *at = NEW_N(Atom, shape->n + 1);
    for (int i = 0; i < shape->n; i++)
      at[i] = dual_as(ad, o, t->tuple.at[i], dual_part(ad, o, d, i), shape->part[i]);
    return em_tuple(ad, o, shape->n, at);
  }
  }
  return dual_value(ad, o, t, d);
}

static Dual *opened_from(Atom a, Dual *d) {
  d->is_whole = true;
  d->whole = a;
  return d;
}

Dual *dual_open(AD *ad, Out o, Type *t, const Dual *shape, Atom a) {
  t = type_resolve(t);
  switch (shape->kind) {
  case DUAL_Plain: break;
  case DUAL_Pair: {
    Atom x = em_proj(ad, o, a, 0), dx = em_proj(ad, o, a, 1);
    return opened_from(a, dual_pair(x, dx));
  }
  case DUAL_Box: {
    Dual *d = dual_new(DUAL_Box);
    d->at = a;
    return d;
  }
  case DUAL_Tuple: {
    Dual **part = NEW_N(Dual *, shape->n + 1);
    for (int i = 0; i < shape->n; i++)
      part[i] = dual_open(ad, o, t->tuple.at[i], shape->part[i], em_proj(ad, o, a, i));
    return opened_from(a, dual_tuple(shape->n, part));
  }
  }
  return dual_plain(a);
}

/* ---- operands and parameters --------------------------------------------------------- */

void dual_operands(AD *ad, Out o, Type *t, Dual *d, const Dual *shape, AtomVec *out) {
  t = type_resolve(t);
  if (shape->kind == DUAL_Tuple) {
    for (int i = 0; i < shape->n; i++)
      dual_operands(ad, o, t->tuple.at[i], dual_part(ad, o, d, i), shape->part[i], out);
    return;
  }
  if (shape->kind != DUAL_Pair) {
    vec_push(out, dual_as(ad, o, t, d, shape));
    return;
  }
  Atom dx = d->kind == DUAL_Pair ? dual_tangent(ad, d) : tan_zero(ad, o, t, d->at);
  vec_push(out, d->at);
  vec_push(out, dx);
}

static Atom new_param(Frame *f, Type *t, Sym name, VarList *out) {
  Var *v = ir_var(f->ad->cx, name, f->ad->span);
  v->annot = frame_annot(f, t);
  vec_push(out, v);
  return var_atom(f->ad, v);
}

Dual *dual_params(Frame *f, Type *t, const Dual *shape, const Var *like, VarList *out) {
  AD *ad = f->ad;
  t = type_resolve(t);
  if (shape->kind == DUAL_Tuple) {
    Dual **part = NEW_N(Dual *, shape->n + 1);
    for (int i = 0; i < shape->n; i++)
      part[i] = dual_params(f, t->tuple.at[i], shape->part[i], like, out);
    return dual_tuple(shape->n, part);
  }
  Dual *d = dual_new(shape->kind);
  d->at = new_param(f, shape->kind == DUAL_Box ? ad_forward(ad, t) : t, like->name, out);
  if (shape->kind == DUAL_Pair)
    d->d = new_param(f, t, sym(ad->cx->syms, str_fmt("d%s", like->name ? like->name : "x")), out);
  return d;
}
