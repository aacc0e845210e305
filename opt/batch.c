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
 * What is multiplied may be made of the element, and of parameters that do not
 * change, by operators that only move or map elements: a row of a table by its
 * number, a vector as a row.  They stand before the stack then, once for each
 * element.  Not parts of a pair: those are the states of a tree's children, which
 * are few, and compiling the code for many takes a second.  The list may be of any
 * type with two constructors, of which one has an element and the rest.
 *
 * Right because: the products' operators, and those before them, give a value for
 * every input of their type, so computing them early cannot be noticed; the rows
 * have one shape, as their type names every extent; the other operands are parameters
 * that the recursive call hands on unchanged, or made of such alone; every step
 * that does not end the recursion at the list's end takes one element (the call
 * stands in the clause itself, not under a condition, or else the rows might be
 * computed in vain).  An empty list, or one of fewer elements, takes the old way.
 * Frames stay as they were, and of memory 32 rows live at a time.  A product of
 * 16 rows may round otherwise than 16 products of one.                        */
#include <string.h>
#include "opt/batch.h"
#include "opt/fields.h"

/* ---- the shape of the function ---- */

bool batch_is_var(const Atom *a, const Var *v) { return a->kind == ATOM_Var && a->var == v; }

static int param_index(const Fn *f, const Atom *a) {
  for (int i = 0; i < f->n; i++)
    if (batch_is_var(a, f->param[i])) return i;
  return -1;
}

/* Is d a type of lists with cons as the constructor that has an element? */
static bool is_list_def(Ctor *cons, ListDef *out) {
  DataDef *d = cons->def;
  if (d->n_ctors != 2 || d->n_vars > 1 || cons->n != 2) return false;
  *out = (ListDef){.def = d, .cons = cons, .nil = d->ctor[1 - cons->tag]};
  for (int i = 0; i < 2; i++) {
    Type *t = type_resolve(cons->field[i]);
    if (t->kind != TY_Data || t->data.def != d) out->head = i;
  }
  Type *head = type_resolve(cons->field[out->head]);
  Type *tail = type_resolve(cons->field[1 - out->head]);
  return out->nil->n == 0 && tail->kind == TY_Data && tail->data.def == d &&
         (d->n_vars ? head->kind == TY_Var : head->kind != TY_Data || head->data.def != d);
}

/* Lists of any type: those that are walked, or else the library's. */
static bool find_stacks(BatchWalk *w) {
  w->stacks = w->walked;
  DataDef *d = w->walked.def->n_vars
                   ? NULL
                   : map_get(&w->m->type_by_name, map_ptr((void *)sym(w->m->cx->syms, "List")));
  for (int i = 0; d && i < d->n_ctors; i++)
    if (d->n_vars == 1 && is_list_def(d->ctor[i], &w->stacks)) return true;
  return w->walked.def->n_vars == 1;
}

static bool is_list(BatchWalk *w, Type *t, const Pattern *p) {
  t = type_resolve(t);
  if (p->kind != PAT_Ctor || t->kind != TY_Data || !is_list_def(p->ctor, &w->walked)) return false;
  w->data = t;
  return p->at[0]->kind == PAT_Var && p->at[1]->kind == PAT_Var && find_stacks(w);
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
    w->x = c->pat->at[w->walked.head]->var;
    w->rest = c->pat->at[1 - w->walked.head]->var;
    return true;
  }
  return false;
}

/* Does e call f with the rest of the list? */
static bool is_step(const BatchWalk *w, const Expr *e) {
  return calls_global(e, w->f) && batch_is_var(&e->Call.args[w->list], w->rest);
}

static void keep_fixed(void *ud, const Expr *e) {
  BatchWalk *w = ud;
  for (int k = 0; is_step(w, e) && k < e->Call.n_args; k++)
    if (param_index(w->f->fn, &e->Call.args[k]) != k) w->fixed[k] = false;
}

static bool find_steps(BatchWalk *w) {
  bool steps = false;
  w->fixed = NEW_N(bool, w->f->fn->n + 1);
  for (int i = 0; i < w->f->fn->n; i++) w->fixed[i] = i != w->list;
  each_call_of(w->f, w->body, keep_fixed, w);
  for (int i = 0; i < w->body->n; i++) steps = steps || is_step(w, w->body->at[i].value);
  for (int i = 0; i < w->f->fn->n; i++)
    if (w->fixed[i]) map_set(&w->invariant, map_ptr(w->f->fn->param[i]), w);
  return steps;
}

/* ---- the products ---- */

typedef struct {
  const BatchWalk *w;
  bool varies, of_element;
} Ask;
static void ask_operand(void *ud, Atom *a) {
  Ask *q = ud;
  if (a->kind != ATOM_Var || map_get(&q->w->invariant, map_ptr(a->var))) return;
  if (map_get(&q->w->by_element, map_ptr(a->var)))
    q->of_element = true;
  else
    q->varies = true;
}
static Dim ask_dim(void *ud, Dim s) {
  Ask *q = ud;
  const Fn *f = q->w->f->fn;
  bool own = false;
  for (int i = 0; i < f->n_dims; i++) own = own || f->dim[i] == s;
  if (!own) q->varies = true;
  return NULL;
}

/* Are all extents in t numbers or made of the function's own? */
static bool has_own_dims(const BatchWalk *w, Type *t) {
  Ask q = {w, false, false};
  type_subst(w->m->cx->dims, t, NULL, ask_dim, &q);
  return !q.varies;
}

/* Does e give a value whatever its operands are?  row: and is it what may stand before the stack?
 */
static bool always_gives(const BatchWalk *w, const Expr *e, bool row) {
  if (e->n_oblige) return false;
  if (e->kind == EX_Call)
    return e->Call.callee.kind == ATOM_Op && op_call_is_total(e) &&
           (!row || e->Call.callee.op->pattern <= PAT_Injective);
  if (row) return e->kind == EX_Just || e->kind == EX_Tuple;
  return e->kind == EX_Proj || e->kind == EX_Just || (match_is_load(e) && has_own_dims(w, e->type));
}

static void find_invariant(BatchWalk *w, const Block *b) {
  for (int i = 0; i < b->n; i++) {
    Ask q = {w, false, false};
    Expr *e = b->at[i].value;
    ir_visit(e, &(ExprVisit){ask_operand, NULL, NULL}, &q);
    if (!q.varies && !q.of_element && always_gives(w, e, false))
      map_set(&w->invariant, map_ptr(b->at[i].var), w);
  }
}

static void find_by_element(BatchWalk *w) {
  if (!has_own_dims(w, w->x->type)) return;
  map_set(&w->by_element, map_ptr(w->x), w);
  for (int i = 0; i < w->body->n; i++) {
    Ask q = {w, false, false};
    Binding *b = &w->body->at[i];
    ir_visit(b->value, &(ExprVisit){ask_operand, NULL, NULL}, &q);
    if (!q.varies && q.of_element && always_gives(w, b->value, true) &&
        has_own_dims(w, b->var->type))
      map_set(&w->by_element, map_ptr(b->var), w);
  }
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
  if (!is_by_rows(e)) return false;
  const Atom *row = &e->Call.args[0];
  if (row->kind != ATOM_Var || !map_get(&w->by_element, map_ptr(row->var)) ||
      !same_for_all(w->f->fn, row->var->type))
    return false;
  const Atom *by = &e->Call.args[1];
  return by->kind == ATOM_Const ||
         (by->kind == ATOM_Var && map_get(&w->invariant, map_ptr(by->var)));
}

const Var *batch_row(const BatchWalk *w, int j) { return w->product[j]->value->Call.args[0].var; }

static bool find_products(BatchWalk *w) {
  find_invariant(w, w->f->fn->body);
  find_invariant(w, w->body);
  find_by_element(w);
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
  BatchWalk w = {.m = b->cx->m, .f = f};
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
