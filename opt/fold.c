/* fold.c -- what only depends on constants is computed while compiling.
 *
 * The calls of operators that cannot fail and whose operands are constants, or
 * calls of that kind in turn, are one program without inputs; the driver runs
 * it with the interpreter, whose results are those of every engine.  What the
 * rest of the function uses of it becomes constants.  Extents that types know
 * become numbers.  Limits keep results from being larger than what they are
 * made of, and the work small.                                                */
#include <string.h>
#include "opt/build.h"

enum {
  SLACK = 1 << 16,   /* bytes that a result may be larger than its operands */
  CREATED = 1 << 12, /* bytes of a result made of nothing                   */
  WORK = 1 << 28,    /* multiplications and elements, per function          */
};

typedef struct {
  PassCx *cx;
  Map fixed;       /* Var -> 1: known while compiling                    */
  Map wanted;      /* Var -> 1: ... and used by what is not              */
  Bindings closed; /* the bindings of fixed, in order                    */
  int64_t work;
} Fold;

/* ---- sizes ---- */

static int64_t count_of(Type *t) {
  int64_t n = 1, v;
  t = t ? type_resolve(t) : NULL;
  if (!t) return -1;
  if (t->kind == TY_Tuple) {
    n = 0;
    for (int i = 0; i < t->tuple.n && n >= 0; i++) {
      v = count_of(t->tuple.at[i]);
      n = v < 0 ? -1 : n + v;
    }
    return n;
  }
  if (t->kind != TY_Tensor) return -1;
  for (int i = 0; i < t->tensor.rank; i++) {
    if (!dim_is_const(t->tensor.dim[i], &v) || (v > 0 && n > INT32_MAX / v)) return -1;
    n *= v;
  }
  return n;
}

/* Multiplications of a product are at most its result times its operands' rows. */
static bool is_small(Fold *f, const Expr *e) {
  int64_t in = 0, most = 1, out = count_of(e->type);
  for (int i = 0; i < e->Call.n_args; i++) {
    int64_t n = count_of(atom_type_of(&e->Call.args[i]));
    if (n < 0) return false;
    in += n;
    most = n > most ? n : most;
  }
  int64_t limit = e->Call.n_args == 0 ? CREATED / 8 : in + SLACK / 8;
  bool product = e->Call.callee.op->pattern == PAT_OutFusable;
  if (out < 0 || out > limit || (product && most > 0 && out > WORK / most)) return false;
  int64_t work = product ? out * most : in + out;
  if (f->work + work > WORK) return false;
  f->work += work;
  return true;
}

/* ---- what is fixed ---- */

typedef struct {
  const Fold *f;
  bool all;
} Ask;
static void ask(void *ud, Atom *a) {
  Ask *q = ud;
  bool fixed = a->kind == ATOM_Const || a->kind == ATOM_Op ||
               (a->kind == ATOM_Var && map_get(&q->f->fixed, map_ptr(a->var)));
  if (!fixed) q->all = false;
}

static bool is_fixed(Fold *f, Expr *e) {
  Ask q = {f, true};
  bool op = e->kind == EX_Call && e->Call.callee.kind == ATOM_Op;
  bool form = op || e->kind == EX_Tuple || e->kind == EX_Proj || e->kind == EX_Just;
  if (!form || e->n_oblige) return false;
  ir_visit(e, &(ExprVisit){ask, NULL, NULL}, &q);
  if (!q.all || count_of(e->type) < 0) return false;
  return !op || (op_call_is_total(e) && is_small(f, e));
}

static const Tensor *dim_of(const Expr *e, const Type *t, DType as) {
  const Atom *axis = &e->Call.args[1];
  int64_t i = 0, v;
  if (axis->kind != ATOM_Const || axis->cst->count != 1) return NULL;
  memcpy(&i, axis->cst->bytes, (size_t)dtype_bytes(axis->cst->dtype));
  if (i < 0 || i >= t->tensor.rank || !dim_is_const(t->tensor.dim[i], &v)) return NULL;
  return tensor_scalar_int(as, v);
}

/* dim, shape_of and ndarray_size of a type that says it. */
static const Tensor *extent(const Expr *e) {
  if (e->kind != EX_Call || e->Call.callee.kind != ATOM_Op || e->n_oblige || !e->Call.op_attrs)
    return NULL;
  const char *name = e->Call.callee.op->name;
  Type *t = e->Call.n_args ? atom_type_of(&e->Call.args[0]) : NULL;
  Type *r = type_resolve(e->type);
  t = t ? type_resolve(t) : NULL;
  int64_t n = 0, v;
  if (!t || t->kind != TY_Tensor || r->kind != TY_Tensor) return NULL;
  if (!strcmp(name, "dim")) return dim_of(e, t, r->tensor.dtype);
  if (!strcmp(name, "ndarray_size") && (n = count_of(t)) >= 0)
    return tensor_scalar_int(r->tensor.dtype, n);
  if (strcmp(name, "shape_of") != 0) return NULL;
  int64_t rank = t->tensor.rank;
  Tensor *to = tensor_new(r->tensor.dtype, 1, &rank);
  for (int i = 0; i < t->tensor.rank; i++) {
    if (!dim_is_const(t->tensor.dim[i], &v)) return NULL;
    int size = dtype_bytes(to->dtype);
    memcpy((char *)to->bytes + i * size, tensor_scalar_int(to->dtype, v)->bytes, (size_t)size);
  }
  return to;
}

static void make_constant(Binding *b, const Tensor *t) {
  Atom a = atom_const(t, b->value->span);
  a.type = b->var->type;
  b->value = bind_copy(b->var, a, b->style, b->value->span).value;
}

static void want(void *ud, Atom *a) {
  Fold *f = ud;
  if (a->kind == ATOM_Var && map_get(&f->fixed, map_ptr(a->var)))
    map_set(&f->wanted, map_ptr(a->var), f);
}

static void find_block(void *ud, Block *b) {
  static const ExprVisit visit = {want, find_block, NULL};
  Fold *f = ud;
  for (int i = 0; i < b->n; i++) {
    Binding *bd = &b->at[i];
    const Tensor *known = extent(bd->value);
    if (known && pass_may(f->cx)) make_constant(bd, known);
    if (is_fixed(f, bd->value)) {
      map_set(&f->fixed, map_ptr(bd->var), f);
      vec_push(&f->closed, *bd);
    } else {
      ir_visit(bd->value, &visit, f);
    }
  }
  want(f, &b->result);
}

/* ---- computing it ---- */

static bool is_call(const Expr *e) { return e->kind == EX_Call; }

/* The wanted values that are worth it: tensors that a call gives, in the end. */
static bool is_result(const Fold *f, const Binding *b) {
  if (!map_get(&f->wanted, map_ptr(b->var)) || type_resolve(b->var->type)->kind != TY_Tensor)
    return false;
  return is_call(b->value) || b->value->kind == EX_Proj;
}

typedef VEC(Var *) Vars;

static bool compute(Fold *f, const Vars *results, const Tensor **out) {
  Map vars = {0};
  Block closed = {.n = f->closed.n, .at = f->closed.at};
  Block *copy = ir_clone_block(f->cx->m->cx, &closed, &vars);
  Bindings all = {0};
  for (int i = 0; i < copy->n; i++) vec_push(&all, copy->at[i]);
  Maker k = {f->cx->m, results->at[0]->span, &all};
  Atom *item = NEW_N(Atom, results->n);
  for (int i = 0; i < results->n; i++)
    item[i] = atom_var(map_get(&vars, map_ptr(results->at[i])), k.span);
  Atom r = mk_tuple(&k, results->n, item);
  return f->cx->o->eval(f->cx->o->eval_ud, mk_block(&k, r), r.type, results->n, out);
}

static void replace_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, replace_block, NULL};
  const Map *value = ud;
  for (int i = 0; i < b->n; i++) {
    const Tensor *t = map_get(value, map_ptr(b->at[i].var));
    if (t)
      make_constant(&b->at[i], t);
    else
      ir_visit(b->at[i].value, &visit, ud);
  }
}

static void fold_global(void *ud, Global *g) {
  Fold f = {.cx = ud};
  Vars results = {0};
  Map value = {0};
  if (g->fn->n_vars) return;
  find_block(&f, g->fn->body);
  for (int i = 0; i < f.closed.n; i++)
    if (is_result(&f, &f.closed.at[i]) && pass_may(f.cx)) vec_push(&results, f.closed.at[i].var);
  if (!results.n || !f.cx->o->eval) return;
  const Tensor **out = NEW_N(const Tensor *, results.n);
  if (!compute(&f, &results, out)) return;
  for (int i = 0; i < results.n; i++)
    map_set(&value, map_ptr(results.at[i]), (void *)(uintptr_t)out[i]);
  replace_block(&value, g->fn->body);
}
static void fold_run(PassCx *cx) { each_global(cx->m, fold_global, cx); }

const Pass pass_fold = {.name = "fold",
                        .doc = "Compute what only depends on constants.",
                        .needs = FORM_TYPED,
                        .keeps = ~0u,
                        .run = fold_run};
