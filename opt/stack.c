/* stack.c -- products of several inputs by one matrix become one product of all
 * their rows:
 *
 *   nn.contrib_dense_pack(%h, %w), nn.contrib_dense_pack(%d, %w)  =
 *     split(nn.contrib_dense_pack(concatenate((%h, %d), axis=0), %w), 2, axis=0)
 *
 * A product of a few rows takes as long as its weights take to read, and the
 * value and the tangent of forward mode, or the two children of a node, read the
 * same ones.  Only matrices in tiles: a product by one as it lies goes row by row
 * anyway.  Many rows gain nothing; unknown ones lose what moving them costs.   */
#include <string.h>
#include "opt/join.h"

enum { MOST_ROWS = 8 };

/* Rows of a matrix, not known to be many. */
static bool has_few_rows(Type *t) {
  int64_t rows;
  t = type_resolve(t);
  if (t->kind != TY_Tensor || t->tensor.rank != 2 || dim_has_any(t->tensor.dim[0])) return false;
  return !dim_is_const(t->tensor.dim[0], &rows) || (rows > 0 && rows <= MOST_ROWS);
}

static bool can_join(const Expr *e) {
  bool op = e->kind == EX_Call && e->Call.callee.kind == ATOM_Op && !e->n_oblige;
  return op && !strcmp(e->Call.callee.op->name, "nn.contrib_dense_pack") && !e->Call.attrs.n &&
         e->Call.args[0].kind == ATOM_Var && e->Call.args[1].kind == ATOM_Var &&
         has_few_rows(e->type) && has_few_rows(atom_type_of(&e->Call.args[0]));
}

/* ---- the one product ---- */

static Type *with_rows(Type *t, Dim rows) {
  t = type_resolve(t);
  return type_tensor(t->tensor.dtype, 2, (Dim[]){rows, t->tensor.dim[1]});
}

/* The products of the group, as a tuple. */
static Atom product(const Join *j, Maker *k, const Block *b, const JoinGroup *g) {
  (void)j;
  const Expr *first = b->at[g->at[0]].value;
  Atom x[JOIN_MOST];
  Type *part[JOIN_MOST], *in = atom_type_of(&first->Call.args[0]);
  DimTab *dims = k->m->cx->dims;
  for (int i = 0; i < g->n; i++) {
    const Binding *bd = &b->at[g->at[i]];
    x[i] = bd->value->Call.args[0];
    part[i] = bd->var->type;
  }
  Dim rows = dim_mul(dims, type_resolve(first->type)->tensor.dim[0], dim_const(dims, g->n));
  static const IntAttr down[] = {{"axis", 0}, {NULL, 0}};
  Atom all = mk_tuple(k, g->n, x);
  all = mk_op(k, "concatenate", with_rows(in, rows), 1, &all, down);
  Atom y =
      mk_op_like(k, first, with_rows(first->type, rows), 2, (Atom[]){all, first->Call.args[1]});
  IntAttr cut[] = {{"indices_or_sections", g->n}, {"axis", 0}, {NULL, 0}};
  return mk_op(k, "split", type_tuple(g->n, part), 1, &y, cut);
}

/* ---- which ---- */

static const Var *matrix_of(const Join *j, const Expr *e) {
  return can_join(e) ? known_root(&j->known, &e->Call.args[1])->var : NULL;
}

/* Is its input there where the first product stands, and as that one's? */
static bool fits(const Join *j, const Block *b, const JoinGroup *g, const Expr *e) {
  const Expr *first = b->at[g->at[0]].value;
  return join_is_before(j, e->Call.args[0].var, g->at[0]) &&
         dim_equal(type_resolve(first->type)->tensor.dim[0], type_resolve(e->type)->tensor.dim[0]);
}

static void stack_global(void *ud, Global *g) {
  join_block(&(Join){.cx = ud, .key = matrix_of, .fits = fits, .make = product}, g->fn->body);
}
static void stack_run(PassCx *cx) { each_global(cx->m, stack_global, cx); }

const Pass pass_stack = {.name = "stack",
                         .doc = "Products of a few rows each by the same matrix become one.",
                         .rounds = true,
                         .needs = FORM_TYPED,
                         .keeps = ~0u,
                         .run = stack_run};
