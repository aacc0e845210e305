/* cast.c -- match_cast(%x, Tensor[(n, 4), float32]).
 *
 * The value flows into a skeleton, the structure of the target with a cell for
 * every extent; then each dim that the target names is bound by its axis or
 * checked against it.                                                         */
#include "typeinfer/state.h"

typedef struct {
  Infer *I;
  Expr *e;
  Site *site;
  DimList sym, cell;
  bool unbound;
} Cast;

static bool is_castable(Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Tuple)
    for (int i = 0; i < t->tuple.n; i++)
      if (!is_castable(t->tuple.at[i])) return false;
  return t->kind == TY_Tensor || t->kind == TY_Tuple;
}

static Type *skeleton(Infer *I, Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor) {
    Dim dim[MAX_RANK];
    for (int i = 0; i < t->tensor.rank; i++) dim[i] = cell_new(I, I->level, CELL_OPENS)->self;
    return type_tensor(t->tensor.dtype, t->tensor.rank, dim);
  }
  Type **at = NEW_N(Type *, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++) at[i] = skeleton(I, t->tuple.at[i]);
  return type_tuple(t->tuple.n, at);
}

static bool is_new_name(Infer *I, Dim d) {
  return d->kind == DIM_Sym && d->name && !sym_known(I, d);
}

static void cast_names(Cast *c, Type *have, Type *to) {
  if (to->kind == TY_Tuple)
    for (int i = 0; i < to->tuple.n; i++)
      cast_names(c, have->tuple.at[i], type_resolve(to->tuple.at[i]));
  if (to->kind != TY_Tensor) return;
  for (int i = 0; i < to->tensor.rank; i++) {
    Dim d = to->tensor.dim[i];
    if (!is_new_name(c->I, d)) continue;
    sym_enter(c->I, d, c->I->level, ++c->I->clock);
    vec_push(&c->sym, d);
    vec_push(&c->cell, have->tensor.dim[i]);
  }
}

static Dim in_terms_of_value(Cast *c, Dim d) {
  Inst *in = NEW(Inst);
  *in = (Inst){.n_dims = c->sym.n, .sym = c->sym.at, .cell = c->cell.at, .cap = 1 << 20};
  Cell *cell = cell_new(c->I, c->I->level, CELL_RIGID);
  cell_input(c->I, cell, (CellIn){d, in, false, NULL});
  return cell->self;
}

static void ask_cast(void *ud, Dim s) {
  Cast *c = ud;
  if (s->name && !sym_known(c->I, s)) {
    diag_error(c->I->d, c->e->span, E0314, s->name, "the cast");
    sym_enter(c->I, s, c->I->level, ++c->I->clock);
  }
  c->unbound |= !s->name;
}

static Type *cast_dims(Cast *c, Type *have, Type *to) {
  to = type_resolve(to);
  if (to->kind == TY_Tuple) {
    Type **at = NEW_N(Type *, to->tuple.n + 1);
    for (int i = 0; i < to->tuple.n; i++) at[i] = cast_dims(c, have->tuple.at[i], to->tuple.at[i]);
    return type_tuple(to->tuple.n, at);
  }
  Dim dim[MAX_RANK];
  for (int i = 0; i < to->tensor.rank; i++) {
    Dim d = to->tensor.dim[i], h = have->tensor.dim[i];
    c->unbound = false;
    dim_visit_syms(d, ask_cast, c);
    dim[i] = d->kind == DIM_Any || c->unbound ? h : d;
    if (dim[i] != h) flow_dim(c->I, h, in_terms_of_value(c, d), c->site, POS_Top, i);
  }
  return type_tensor(to->tensor.dtype, to->tensor.rank, dim);
}

Type *check_cast(Infer *I, Expr *e) {
  Type *to = type_resolve(e->MatchCast.to);
  if (!is_castable(to)) {
    atom_type(I, &e->MatchCast.value, NULL);
    diag_error(I->d, e->span, E0311, "match_cast",
               "only tensors and tuples of tensors can be cast");
    return to;
  }
  Type *have = skeleton(I, to);
  Cast c = {.I = I, .e = e, .site = site_new(e->span, NULL, to, "the value and of the cast")};
  if (!flow_atom(I, &e->MatchCast.value, have, c.site)) return to;
  c.site->expr = e;
  cast_names(&c, have, to);
  return cast_dims(&c, have, to);
}
