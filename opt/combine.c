/* combine.c -- products of the same few rows by several constant weights become
 * one product by all of them:
 *
 *   nn.dense(%x, w1), nn.dense(%x, w2)  =  split(nn.dense(%x, concatenate((w1, w2), axis=0)),
 * axis=-1)
 *
 * One pass over the weights in one kernel instead of several small ones; the
 * rows are few, so that cutting the result costs little.  Every element is the
 * same sum, but a kernel of another shape may add in another order.            */
#include <string.h>
#include "opt/join.h"

enum { MOST_ROWS = 8 };

static const Tensor *weight_of(const Join *c, const Expr *e) {
  const Atom *w = known_root(&c->known, &e->Call.args[1]);
  return w->kind == ATOM_Const && w->cst->rank == 2 && w->cst->dim[0] > 0 ? w->cst : NULL;
}

static bool has_few_rows(Type *t) {
  int64_t rows = 1, v;
  t = type_resolve(t);
  if (t->kind != TY_Tensor || t->tensor.rank < 2) return false;
  for (int i = 0; i < t->tensor.rank; i++) {
    if (!dim_is_const(t->tensor.dim[i], &v) || v < 1 || v > INT32_MAX) return false;
    if (i < t->tensor.rank - 1) rows *= v;
    if (rows > MOST_ROWS) return false;
  }
  return true;
}

static bool can_join(const Join *c, const Expr *e) {
  bool op = e->kind == EX_Call && e->Call.callee.kind == ATOM_Op && !e->n_oblige;
  return op && !strcmp(e->Call.callee.op->name, "nn.dense") && !e->Call.attrs.n &&
         e->Call.args[0].kind == ATOM_Var && weight_of(c, e) && has_few_rows(e->type) &&
         weight_of(c, e)->dtype == type_resolve(e->type)->tensor.dtype;
}

static const Var *input_of(const Join *c, const Expr *e) {
  return can_join(c, e) ? known_root(&c->known, &e->Call.args[0])->var : NULL;
}

/* ---- the one product ---- */

static Type *with_last(const Maker *k, Type *t, int64_t n) {
  Dim dim[MAX_RANK];
  t = type_resolve(t);
  for (int i = 0; i < t->tensor.rank; i++) dim[i] = t->tensor.dim[i];
  dim[t->tensor.rank - 1] = dim_const(k->m->cx->dims, n);
  return type_tensor(t->tensor.dtype, t->tensor.rank, dim);
}

static Atom all_weights(const Join *c, Maker *k, const Block *b, const JoinGroup *g,
                        int64_t *rows) {
  Atom w[JOIN_MOST];
  *rows = 0;
  for (int i = 0; i < g->n; i++) {
    const Expr *e = b->at[g->at[i]].value;
    w[i] = atom_const(weight_of(c, e), k->span);
    w[i].type = atom_type_of(&e->Call.args[1]);
    *rows += w[i].cst->dim[0];
  }
  Dim dim[2] = {dim_const(k->m->cx->dims, *rows), dim_const(k->m->cx->dims, w[0].cst->dim[1])};
  Atom tuple = mk_tuple(k, g->n, w);
  IntAttr axis[] = {{"axis", 0}, {NULL, 0}};
  return mk_op(k, "concatenate", type_tensor(w[0].cst->dtype, 2, dim), 1, &tuple, axis);
}

/* Where to cut, in the attributes of a split along the last axis. */
static Attrs cuts(const Join *c, const Maker *k, const Block *b, const JoinGroup *g, int axis) {
  SymTab *syms = k->m->cx->syms;
  Attr *at = NEW_N(Attr, 2);
  AttrVal *list = NEW_N(AttrVal, g->n);
  int64_t sum = 0;
  for (int i = 0; i < g->n - 1; i++) {
    sum += weight_of(c, b->at[g->at[i]].value)->dim[0];
    list[i] = (AttrVal){.kind = AV_Int, .bits = 32, .i = sum};
  }
  at[0] = (Attr){
      sym(syms, "indices_or_sections"), k->span, {.kind = AV_List, .n = g->n - 1, .at = list}};
  at[1] = (Attr){sym(syms, "axis"), k->span, {.kind = AV_Int, .bits = 32, .i = axis}};
  return (Attrs){2, at};
}

static Atom product(const Join *c, Maker *k, const Block *b, const JoinGroup *g) {
  const Expr *first = b->at[g->at[0]].value;
  Type *part[JOIN_MOST];
  int64_t rows;
  Atom w = all_weights(c, k, b, g, &rows);
  Type *t = with_last(k, first->type, rows);
  for (int i = 0; i < g->n; i++) part[i] = b->at[g->at[i]].var->type;
  Atom y = mk_op_like(k, first, t, 2, (Atom[]){first->Call.args[0], w});
  Attrs attrs = cuts(c, k, b, g, t->tensor.rank - 1);
  return mk_op_with(k, "split", type_tuple(g->n, part), 1, &y, attrs);
}

static void combine_global(void *ud, Global *g) {
  join_block(&(Join){.cx = ud, .key = input_of, .make = product}, g->fn->body);
}
static void combine_run(PassCx *cx) { each_global(cx->m, combine_global, cx); }

const Pass pass_combine = {.name = "combine",
                           .doc = "Products of the same few rows by constant weights become one.",
                           .rounds = true,
                           .needs = FORM_TYPED,
                           .keeps = ~0u,
                           .run = combine_run};
