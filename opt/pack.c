/* pack.c -- the matrix that a recursion multiplies by in every step, in tiles.
 *
 *   def @f(%xs, %s, %w) { .. nn.dense(%s, %w) .. @f(%rest, s', %w) .. }
 *
 * becomes
 *
 *   def @f(%xs, %s, %w) {
 *     let %t = transpose(reshape(%w, newshape=[n / 32, 32, k]), axes=[0, 2, 1]);
 *     .. nn.contrib_dense_pack(%s, %t) .. @f(%rest, s', %w) .. }
 *
 * and then the pass hoist makes %t once, before the recursion starts.  Tiles are
 * what compiled products read; a constant is brought into them once by itself,
 * but the weights of a training step are no constants and would be in every step.
 * Products by the matrix as it lies, as in the gradient of the state, likewise,
 * in closures too.  A single row by nn.dense reads the matrix once whichever way
 * it lies, so it stays, unless others are multiplied by the same one (stack.c).
 * A recursion that ends at once makes tiles in vain.                            */
#include <string.h>
#include "opt/build.h"

enum {
  WIDE = 32,      /* columns of a tile                                        */
  LEAST = 1 << 14 /* elements of a matrix                                     */
};

typedef struct {
  Module *m;
  Global *f;
  bool *fixed;
  Bindings made; /* tiles, for the front of the function                     */
  Map tiles[2];  /* matrix -> Var of its tiles, as it lies or turned          */
  Map rows;      /* matrix -> rows multiplied by it with nn.dense             */
  PassCx *cx;
} Packing;

/* ---- which products ---- */

/* 1: rows of the matrix are columns of the result; 0: columns are; -1: it is no product. */
static int turned(const Expr *e) {
  if (e->kind != EX_Call || e->Call.callee.kind != ATOM_Op || e->n_oblige) return -1;
  const char *name = e->Call.callee.op->name;
  if (!strcmp(name, "nn.dense")) return 1;
  if (strcmp(name, "nn.matmul") || attr_bool(e->Call.op_attrs, "transpose_a")) return -1;
  return attr_bool(e->Call.op_attrs, "transpose_b");
}

static bool is_matrix(Type *t, DType as) {
  t = type_resolve(t);
  return t->kind == TY_Tensor && t->tensor.rank == 2 && t->tensor.dtype == as;
}

static bool is_fixed(const Packing *p, const Atom *a) {
  for (int i = 0; i < p->f->fn->n; i++)
    if (p->fixed[i] && a->kind == ATOM_Var && a->var == p->f->fn->param[i]) return true;
  return false;
}

static bool is_worth_it(const Packing *p, const Expr *e, int turn) {
  const Atom *x = &e->Call.args[0], *w = &e->Call.args[1];
  Type *t = type_resolve(e->type);
  int64_t n, k;
  if (t->kind != TY_Tensor || (t->tensor.dtype != DT_f32 && t->tensor.dtype != DT_f64))
    return false;
  DType as = t->tensor.dtype;
  if (!is_fixed(p, w) || !is_matrix(w->var->type, as) || !is_matrix(atom_type_of(x), as))
    return false;
  const Dim *d = type_resolve(w->var->type)->tensor.dim;
  if (!dim_is_const(d[!turn], &n) || !dim_is_const(d[turn], &k)) return false;
  if (n % WIDE || n / WIDE < 2 || n * k < LEAST) return false;
  return !turn || (uintptr_t)map_get(&p->rows, map_ptr(w->var)) > 1;
}

static void count_rows(void *ud, Block *b);
static void count_fn(void *ud, Fn *f) { count_rows(ud, f->body); }
static void count_rows(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, count_rows, count_fn};
  Packing *p = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    int64_t rows = 2; /* or more, where they are not known */
    ir_visit(e, &visit, p);
    if (turned(e) != 1 || !is_fixed(p, &e->Call.args[1])) continue;
    Type *t = type_resolve(e->type);
    if (t->kind == TY_Tensor && t->tensor.rank == 2 && dim_is_const(t->tensor.dim[0], &rows))
      rows = rows > 2 ? 2 : rows;
    uint64_t w = map_ptr(e->Call.args[1].var);
    map_set(&p->rows, w, (void *)((uintptr_t)map_get(&p->rows, w) + (uintptr_t)rows));
  }
}

/* ---- tiles ---- */

static Type *cube(const Packing *p, DType t, const int64_t *n) {
  Dim dim[3];
  for (int i = 0; i < 3; i++) dim[i] = dim_const(p->m->cx->dims, n[i]);
  return type_tensor(t, 3, dim);
}

/* w as (n / 32, k, 32); its columns are n if it is turned, its rows are otherwise. */
static Var *tiles_of(Packing *p, Var *w, int turn, Span span) {
  Var *has = map_get(&p->tiles[turn], map_ptr(w));
  if (has) return has;
  static const int64_t axes[2][3] = {{1, 0, 2}, {0, 2, 1}};
  Type *t = type_resolve(w->type);
  DType dt = t->tensor.dtype;
  int64_t n = 0, k = 0;
  (void)dim_is_const(t->tensor.dim[!turn], &n);
  (void)dim_is_const(t->tensor.dim[turn], &k);
  int64_t cut[2][3] = {{k, n / WIDE, WIDE}, {n / WIDE, WIDE, k}}, to[3] = {n / WIDE, k, WIDE};
  Maker make = {p->m, span, &p->made};
  Atom x = mk_op_ints(&make, "reshape", cube(p, dt, cut[turn]), atom_var(w, span), "newshape", 3,
                      cut[turn]);
  x = mk_op_ints(&make, "transpose", cube(p, dt, to), x, "axes", 3, axes[turn]);
  map_set(&p->tiles[turn], map_ptr(w), x.var);
  return x.var;
}

static void pack_block(void *ud, Block *b);
static void pack_fn(void *ud, Fn *f) { pack_block(ud, f->body); }
static void pack_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, pack_block, pack_fn};
  Packing *p = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    int turn = turned(e);
    ir_visit(e, &visit, p);
    if (turn < 0 || !is_worth_it(p, e, turn) || !pass_may(p->cx)) continue;
    Bindings one = {0};
    Maker make = {p->m, e->span, &one};
    Var *t = tiles_of(p, e->Call.args[1].var, turn, e->span);
    Atom arg[2] = {e->Call.args[0], atom_var(t, e->span)};
    (void)mk_op(&make, "nn.contrib_dense_pack", e->type, 2, arg, NULL);
    b->at[i].value = one.at[0].value;
  }
}

static void pack_global(void *ud, Global *f) {
  Packing p = {.m = ((PassCx *)ud)->m, .f = f, .cx = ud};
  p.fixed = NEW_N(bool, f->fn->n + 1);
  for (int i = 0; i < f->fn->n; i++) p.fixed[i] = true;
  if (f->fn->n_vars || !keeps_params(f, f->fn->body, p.fixed)) return;
  count_rows(&p, f->fn->body);
  pack_block(&p, f->fn->body);
  if (!p.made.n) return;
  Block *b = f->fn->body;
  for (int i = 0; i < b->n; i++) vec_push(&p.made, b->at[i]);
  b->n = p.made.n;
  b->at = p.made.at;
}

static void pack_run(PassCx *cx) { each_global(cx->m, pack_global, cx); }

const Pass pass_pack = {.name = "pack",
                        .doc = "A matrix that a recursion multiplies by in every step is brought "
                               "into tiles, for hoist.",
                        .rounds = true,
                        .needs = FORM_TYPED,
                        .keeps = ~0u,
                        .run = pack_run};
