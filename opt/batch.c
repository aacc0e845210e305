/* batch.c -- products over the elements of a list, several at a time.
 *
 *   def @f(%xs, %s, %w) {
 *     match (%xs) { Cons(%x, %rest) => { .. nn.dense(%x, %w) .. @f(%rest, s', %w) }, Nil => .. } }
 *
 * The rows of such products do not depend on each other, so those of the next 16 (8,
 * 4) elements are one product, which reads %w once instead of 16 times.  It is begun a
 * chunk ahead, before the walk of the chunk that comes first: an engine may compute it
 * while the steps wait for memory.  The first chunk has nothing to stand behind, so it
 * is of 8; one of 4 is for what is left.
 *
 *   def @f(%xs, %s, %w) {
 *     if (the list has 8) {
 *       let %y = nn.dense(stack(its first 8), %w);  (8, rows of one, columns)
 *       @f_rows8(%y, [], [%y], 8, %xs, %s, %w) }
 *     else if (it has 4) { the same with 4, of which no other is begun } else ..as before }
 *   def @f_rows8(%ys, %begun16, %begun8, %at, %xs, %s, %w) {
 *     if (%at < 8) { ..the body of @f with take(%ys, %at) for the product and
 *              @f_rows8(%ys, %begun16, %begun8, %at + 1, %rest, s', %w) for @f(%rest, s', %w) }
 *     else match (%begun16) { Cons(%y, _) => @f_rows16(%y, [%y], [], 16, %xs, %s, %w),
 *          Nil => match (%begun8) { Cons(%y, _) => ..a walk of %y, Nil => @f(%xs, %s, %w) } } }
 *   a walk of %y: if (the list has 8 + 16) {
 *       let %next = nn.dense(stack(the 16 behind the 8), %w);
 *       @f_rows8(%y, [%next], [], 0, %xs, %s, %w) }
 *     else if (it has 8 + 8) { the same with 8: (%y, [], [%next], ..) }
 *     else { @f_rows8(%y, [], [], 0, %xs, %s, %w) }
 *
 * and so with 16.  The row is read where it is used: taking one element of a stack is a
 * map, which fuses, so a step has neither a tensor nor a cell for it.
 *
 * Right because: the products' operators give a value for every input of their
 * type, so computing them early cannot be noticed; the elements have one shape,
 * as the list's type names every extent; their other operands are parameters
 * that the recursive call hands on unchanged, or made of such alone; every step
 * that does not end the recursion at the list's end takes one element (the call
 * stands in the clause itself, not under a condition, or else the rows might be
 * computed in vain).  An empty list, or one of fewer elements, takes the old way.
 * Frames stay as they were, and of memory 32 rows live at a time.  A product of
 * 16 rows may round otherwise than 16 products of one.                        */
#include <string.h>
#include "opt/batch.h"

/* ---- the shape of the function ---- */

bool batch_is_var(const Atom *a, const Var *v) { return a->kind == ATOM_Var && a->var == v; }

static int param_index(const Fn *f, const Atom *a) {
  for (int i = 0; i < f->n; i++)
    if (batch_is_var(a, f->param[i])) return i;
  return -1;
}

static bool is_list(BatchWalk *w, Type *t, const Pattern *p) {
  t = type_resolve(t);
  if (p->kind != PAT_Ctor || t->kind != TY_Data || t->data.n != 1) return false;
  DataDef *d = t->data.def;
  w->cons = p->ctor;
  if (d->n_ctors != 2 || p->ctor->n != 2) return false;
  w->nil = d->ctor[1 - p->ctor->tag];
  Type *head = type_resolve(p->ctor->field[0]), *tail = type_resolve(p->ctor->field[1]);
  w->data = t;
  return w->nil->n == 0 && head->kind == TY_Var && tail->kind == TY_Data && tail->data.def == d &&
         p->at[0]->kind == PAT_Var && p->at[1]->kind == PAT_Var;
}

static bool find_match(BatchWalk *w, const Fn *f) {
  const Binding *last = f->body->n ? &f->body->at[f->body->n - 1] : NULL;
  if (!last || last->value->kind != EX_Match || !batch_is_var(&f->body->result, last->var))
    return false;
  w->match = last->value;
  w->list = param_index(f, &w->match->Match.scrutinee);
  for (int i = 0; i < w->match->Match.n_clauses && w->list >= 0; i++) {
    const Clause *c = &w->match->Match.clauses[i];
    if (!is_list(w, f->param[w->list]->type, c->pat)) continue;
    w->body = c->body;
    w->x = c->pat->at[0]->var;
    w->rest = c->pat->at[1]->var;
    return true;
  }
  return false;
}

/* Does e call f with the rest of the list? */
bool batch_is_step(const BatchWalk *w, const Expr *e) {
  return calls_global(e, w->f) && batch_is_var(&e->Call.args[w->list], w->rest);
}

static void keep_fixed(void *ud, const Expr *e) {
  BatchWalk *w = ud;
  for (int k = 0; batch_is_step(w, e) && k < e->Call.n_args; k++)
    if (param_index(w->f->fn, &e->Call.args[k]) != k) w->fixed[k] = false;
}

static bool find_steps(BatchWalk *w) {
  bool steps = false;
  w->fixed = NEW_N(bool, w->f->fn->n + 1);
  for (int i = 0; i < w->f->fn->n; i++) w->fixed[i] = i != w->list;
  each_call_of(w->f, w->body, keep_fixed, w);
  for (int i = 0; i < w->body->n; i++) steps = steps || batch_is_step(w, w->body->at[i].value);
  for (int i = 0; i < w->f->fn->n; i++)
    if (w->fixed[i]) map_set(&w->invariant, map_ptr(w->f->fn->param[i]), w);
  return steps;
}

/* ---- the products ---- */

typedef struct {
  const BatchWalk *w;
  bool varies;
} Ask;
static void ask_invariant(void *ud, Atom *a) {
  Ask *q = ud;
  if (a->kind == ATOM_Var && !map_get(&q->w->invariant, map_ptr(a->var))) q->varies = true;
}

static bool is_invariant(const BatchWalk *w, Expr *e) {
  Ask q = {w, false};
  bool op = e->kind == EX_Call && e->Call.callee.kind == ATOM_Op && op_call_is_total(e);
  if (e->n_oblige || !(op || e->kind == EX_Proj || e->kind == EX_Just)) return false;
  ir_visit(e, &(ExprVisit){ask_invariant, NULL, NULL}, &q);
  return !q.varies;
}

static void find_invariant(BatchWalk *w, const Block *b) {
  for (int i = 0; i < b->n; i++)
    if (is_invariant(w, b->at[i].value)) map_set(&w->invariant, map_ptr(b->at[i].var), w);
}

/* Every extent a number or a name of the function's own: all elements agree. */
static bool same_for_all(const Fn *f, Type *t) {
  t = type_resolve(t);
  if (t->kind != TY_Tensor || t->tensor.rank < 2) return false;
  for (int i = 0; i < t->tensor.rank; i++) {
    Dim d = t->tensor.dim[i];
    bool own = d->kind == DIM_Const;
    for (int k = 0; k < f->n_dims && !own; k++) own = f->dim[k] == d;
    if (!own) return false;
  }
  return true;
}

/* A product whose rows are those of its first operand. */
static bool is_by_rows(const Expr *e) {
  if (e->kind != EX_Call || e->Call.callee.kind != ATOM_Op || e->n_oblige) return false;
  const char *name = e->Call.callee.op->name;
  if (!strcmp(name, "nn.dense") || !strcmp(name, "nn.contrib_dense_pack")) return true;
  return !strcmp(name, "nn.matmul") && !attr_bool(e->Call.op_attrs, "transpose_a");
}

static bool is_product(const BatchWalk *w, const Expr *e) {
  if (!is_by_rows(e) || !batch_is_var(&e->Call.args[0], w->x)) return false;
  const Atom *by = &e->Call.args[1];
  return by->kind == ATOM_Const ||
         (by->kind == ATOM_Var && map_get(&w->invariant, map_ptr(by->var)));
}

static bool find_products(BatchWalk *w) {
  if (!same_for_all(w->f->fn, w->x->type)) return false;
  find_invariant(w, w->f->fn->body);
  find_invariant(w, w->body);
  for (int i = 0; i < w->body->n && w->n < MAX_PRODUCTS; i++)
    if (is_product(w, w->body->at[i].value)) w->product[w->n++] = &w->body->at[i];
  return w->n > 0;
}

/* ---- the pass ---- */

typedef struct {
  PassCx *cx;
  Map has; /* DataDef -> Global */
} Found;

static void batch_global(Found *b, Global *f) {
  BatchWalk w = {.f = f};
  if (f->fn->n_vars || !find_match(&w, f->fn) || !find_steps(&w) || !find_products(&w)) return;
  if (!pass_may(b->cx)) return;
  uint64_t at = map_ptr(w.data->data.def);
  Global *has = map_get(&b->has, at);
  if (!has) map_set(&b->has, at, has = batch_list_has(b->cx->m, &w));
  batch_rows(b->cx->m, &w, has);
}

static void batch_run(PassCx *cx) {
  Found b = {.cx = cx};
  int n = cx->m->globals.n; /* not those that are made here */
  for (int i = 0; i < n; i++) batch_global(&b, cx->m->globals.at[i]);
}

const Pass pass_batch = {.name = "batch",
                         .doc = "Products of the elements of a list by one matrix become products "
                                "of 16, 8 or 4 elements.",
                         .rounds = true,
                         .needs = FORM_TYPED,
                         .keeps = ~0u,
                         .run = batch_run};
