/* retype.c -- types and extents of a piece of program replaced, in place.     */
#include "opt/retype.h"

static Type *to_type(void *ud, TyVar *v) {
  Retype *r = ud;
  Type *t = map_get(&r->type, map_ptr(v));
  return t || !r->other_type ? t : r->other_type(r->ud, v);
}
static Dim to_dim(void *ud, Dim s) {
  Retype *r = ud;
  Dim d = map_get(&r->dim, map_ptr(s));
  if (d || !r->other) return d;
  d = r->other(r->ud, s);
  if (d) map_set(&r->dim, map_ptr(s), (void *)(uintptr_t)d);
  return d;
}

Type *retyped(Retype *r, Type *t) {
  return t ? type_subst(r->cx->dims, t, to_type, to_dim, r) : NULL;
}
static Dim retyped_dim(Retype *r, Dim d) { return dim_subst(r->cx->dims, d, to_dim, r); }

/* A type variable may stand for a tensor whose extents nobody named. */
static Type *opened(Retype *r, Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Tuple) {
    Type **at = NEW_N(Type *, t->tuple.n + 1);
    bool same = true;
    for (int i = 0; i < t->tuple.n; i++) {
      at[i] = opened(r, t->tuple.at[i]);
      same = same && at[i] == t->tuple.at[i];
    }
    return same ? t : type_tuple(t->tuple.n, at);
  }
  Dim dim[MAX_RANK];
  bool same = true;
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++) {
    dim[i] = t->tensor.dim[i];
    if (!dim_has_any(dim[i])) continue;
    dim[i] = dim_new_sym(r->cx->dims, NULL, 0);
    same = false;
  }
  return same ? t : type_tensor(t->tensor.dtype, t->tensor.rank, dim);
}

static void retype_var(Retype *r, Var *v) {
  if (v->type) v->type = opened(r, retyped(r, v->type));
  v->annot = retyped(r, v->annot);
}

static void retype_atom(void *ud, Atom *a) {
  bool value = a->kind == ATOM_Var && a->var->type && type_resolve(a->var->type)->kind != TY_Fn;
  a->type = value ? a->var->type : retyped(ud, a->type);
}

static void retype_pattern(Retype *r, Pattern *p) {
  if (p->var) retype_var(r, p->var);
  p->type = p->kind == PAT_Var && p->var->type ? p->var->type : retyped(r, p->type);
  for (int i = 0; i < p->n; i++) retype_pattern(r, p->at[i]);
}

static TypeArgs *retype_inst(Retype *r, const TypeArgs *in) {
  if (!in) return NULL;
  TypeArgs *to = NEW(TypeArgs);
  *to = (TypeArgs){in->n_types, NEW_N(Type *, in->n_types + 1), in->n_dims,
                   NEW_N(Dim, in->n_dims + 1)};
  for (int i = 0; i < in->n_types; i++) to->type[i] = retyped(r, in->type[i]);
  for (int i = 0; i < in->n_dims; i++) to->dim[i] = retyped_dim(r, in->dim[i]);
  return to;
}

static bool holds(Oblige o) {
  int64_t a, b;
  if (o.kind == OBLIGE_Equal) return dim_equal(o.a, o.b);
  return o.kind == OBLIGE_AtLeast && dim_is_const(o.a, &a) && dim_is_const(o.b, &b) && a >= b;
}

static void retype_checks(Retype *r, Expr *e) {
  if (!e->n_oblige) return;
  Oblige *to = NEW_N(Oblige, e->n_oblige);
  int n = 0;
  for (int i = 0; i < e->n_oblige; i++) {
    Oblige o = e->oblige[i];
    o.a = retyped_dim(r, o.a);
    o.b = retyped_dim(r, o.b);
    if (!holds(o)) to[n++] = o;
  }
  e->oblige = to;
  e->n_oblige = n;
}

static void retype_sub(void *ud, Block *b) { retype_block(ud, b); }
static void retype_literal(void *ud, Fn *f) { retype_fn(ud, f); }

static void retype_binding(Retype *r, const Binding *b) {
  static const ExprVisit visit = {retype_atom, retype_sub, retype_literal};
  Expr *e = b->value;
  retype_var(r, b->var);
  e->type = b->var->type;
  retype_checks(r, e);
  for (int i = 0; e->kind == EX_Match && i < e->Match.n_clauses; i++)
    retype_pattern(r, e->Match.clauses[i].pat);
  ir_visit(e, &visit, r);
  if (e->kind == EX_Call) e->Call.inst = retype_inst(r, e->Call.inst);
  if (e->kind == EX_MatchCast) e->MatchCast.to = retyped(r, e->MatchCast.to);
}

void retype_block(Retype *r, Block *b) {
  for (int i = 0; i < b->n; i++) retype_binding(r, &b->at[i]);
  retype_atom(r, &b->result);
}

void retype_fn(Retype *r, Fn *f) {
  for (int i = 0; i < f->n; i++) retype_var(r, f->param[i]);
  f->ret = retyped(r, f->ret);
  retype_block(r, f->body);
}

void same_extents(Retype *r, const Map *given, Type *v, Type *is) {
  v = type_resolve(v);
  is = type_resolve(is);
  if (v->kind == TY_Tuple && is->kind == TY_Tuple)
    for (int i = 0; i < v->tuple.n && i < is->tuple.n; i++)
      same_extents(r, given, v->tuple.at[i], is->tuple.at[i]);
  if (v->kind != TY_Tensor || is->kind != TY_Tensor) return;
  for (int i = 0; i < v->tensor.rank && i < is->tensor.rank; i++) {
    Dim d = v->tensor.dim[i], to = is->tensor.dim[i];
    if (d->kind != DIM_Sym || d->name || dim_has_any(to) || dim_equal(d, to)) continue;
    if (!map_get(given, map_ptr(d)))
      map_set(&r->dim, map_ptr(d), (void *)(uintptr_t)retyped_dim(r, to));
  }
}
