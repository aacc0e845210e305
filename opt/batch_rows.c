/* batch_rows.c -- the code that computes rows of products for batch.c.         */
#include <string.h>
#include "opt/batch.h"

enum { N_SIZES = 3, N_AHEAD = 2, MAX_ROWS = 16 };
static const int sizes[N_SIZES] = {16, 8, 4}; /* the first N_AHEAD may be begun ahead */

/* What is made for one function. */
typedef struct {
  Module *m;
  const BatchWalk *w;
  Global *has, *rows[N_SIZES];
} Batch;

/* ---- has a list so many elements? ---- */

static Pattern *pattern(PatKind kind, Type *t, Span span) {
  Pattern *p = NEW(Pattern);
  *p = (Pattern){.kind = kind, .span = span, .type = t};
  return p;
}
static Pattern *var_pattern(Var *v) {
  Pattern *p = pattern(PAT_Var, v->type, v->span);
  p->var = v;
  return p;
}
static Pattern *cons_pattern(const ListDef *l, Type *t, Pattern *head, Pattern *tail) {
  Pattern *p = pattern(PAT_Ctor, t, head->span);
  p->ctor = l->cons;
  p->n = 2;
  p->at = NEW_N(Pattern *, 2);
  p->at[l->head] = head;
  p->at[1 - l->head] = tail;
  return p;
}

static Expr *match_of(Maker *k, Atom on, int n, Pattern **pat, Block **body, bool partial) {
  Expr *e = ir_expr(EX_Match, k->span);
  e->Match.scrutinee = on;
  e->Match.n_clauses = n;
  e->Match.clauses = NEW_N(Clause, n);
  e->Match.partial = partial;
  for (int i = 0; i < n; i++) e->Match.clauses[i] = (Clause){pat[i], body[i], k->span};
  return e;
}

static Type *list_of(const ListDef *l, Type *elem) {
  Type **arg = NEW_N(Type *, 1);
  arg[0] = elem;
  return type_data(l->def, l->def->n_vars, arg);
}

static Fn *new_fn(const Maker *k, int n, Var **param, Type *ret, Block *body) {
  Fn *f = NEW(Fn);
  *f = (Fn){.span = k->span, .n = n, .param = param, .ret = ret, .body = body};
  return f;
}

static Block *constant(const Maker *k, bool v) {
  Block *b = NEW(Block);
  Atom a = atom_const(tensor_scalar_int(DT_bool, v), k->span);
  a.type = type_scalar(DT_bool);
  *b = (Block){.result = a, .span = k->span};
  return b;
}

/* def @list_has[A](%xs: List[A], %n: int32) -> bool {
 *   if (%n == 0) { True } else { match (%xs) { Cons(_, %rest) => @list_has(%rest, %n - 1), .. } } }
 */
Global *batch_list_has(Module *m, const BatchWalk *w) {
  Bindings in_cons = {0}, in_else = {0}, out = {0};
  Maker k = {m, w->f->span, &in_cons};
  Type *flag = type_scalar(DT_bool), *i32 = type_scalar(DT_i32);
  TyVar **var = tyvar_one(sym(m->cx->syms, "A"), k.span);
  bool generic = w->walked.def->n_vars == 1;
  Type *elem = generic ? type_var(var[0]) : w->x->type, *list = list_of(&w->walked, elem);
  Var **param = NEW_N(Var *, 2);
  param[0] = mk_var(&k, "xs", list);
  param[1] = mk_var(&k, "n", i32);
  Var *rest = mk_var(&k, "rest", list);
  Global *g = mk_global(m, "list", "has", NULL, NULL, k.span);
  TypeArgs in = {.n_types = generic, .type = list->data.arg};
  Atom left =
      mk_op(&k, "subtract", i32, 2, (Atom[]){atom_var(param[1], k.span), mk_int(&k, 1)}, NULL);
  Atom more = mk_call(&k, g, &in, flag, 2, (Atom[]){atom_var(rest, k.span), left});
  Pattern *pat[2] = {
      cons_pattern(&w->walked, list, pattern(PAT_Wild, elem, k.span), var_pattern(rest)),
      pattern(PAT_Wild, list, k.span)};
  Block *body[2] = {mk_block(&k, more), constant(&k, false)};
  k.out = &in_else;
  Atom found = mk_bind(&k, match_of(&k, atom_var(param[0], k.span), 2, pat, body, false), flag);
  Block *otherwise = mk_block(&k, found);
  k.out = &out;
  Atom done =
      mk_op(&k, "equal", flag, 2, (Atom[]){atom_var(param[1], k.span), mk_int(&k, 0)}, NULL);
  Atom r = mk_if(&k, done, flag, constant(&k, true), otherwise);
  g->fn = new_fn(&k, 2, param, flag, mk_block(&k, r));
  g->fn->n_vars = generic;
  g->fn->var = var;
  g->type = fn_type_of(g->fn);
  return g;
}

/* ---- what the products need ---- */

static void need_atom(void *ud, Atom *a) {
  if (a->kind == ATOM_Var) map_set(ud, map_ptr(a->var), a->var);
}
static void need_of(Map *need, const Block *b) {
  for (int i = b->n - 1; i >= 0; i--)
    if (map_get(need, map_ptr(b->at[i].var)))
      ir_visit(b->at[i].value, &(ExprVisit){need_atom, NULL, NULL}, need);
}
static void copy_needed(Maker *k, const Map *kind, const Map *need, Map *vars, Block *b) {
  for (int i = 0; i < b->n; i++) {
    if (!map_get(need, map_ptr(b->at[i].var)) || !map_get(kind, map_ptr(b->at[i].var))) continue;
    Block one = {.n = 1, .at = &b->at[i], .result = mk_int(k, 0)};
    vec_push(k->out, ir_clone_block(k->m->cx, &one, vars)->at[0]);
  }
}

/* Copies of what the other operands are made of, and the rows beside the elements. */
static void copy_operands(Maker *k, const BatchWalk *w, Map *vars) {
  Map need = {0};
  for (int j = 0; j < w->n; j++)
    for (int i = 0; i < 2; i++) need_atom(&need, &w->product[j]->value->Call.args[i]);
  need_of(&need, w->body);
  need_of(&need, w->f->fn->body);
  copy_needed(k, &w->invariant, &need, vars, w->f->fn->body);
  copy_needed(k, &w->invariant, &need, vars, w->body);
}

/* ---- rows ---- */

static Type *rows_type(const Maker *k, Type *t, int n) {
  DimTab *dt = k->m->cx->dims;
  Dim dim[MAX_RANK];
  t = type_resolve(t);
  for (int i = 0; i < t->tensor.rank; i++) dim[i] = t->tensor.dim[i];
  dim[0] = dim_mul(dt, dim_const(dt, n), dim[0]);
  return type_tensor(t->tensor.dtype, t->tensor.rank, dim);
}

/* n of type t, one behind the other along a new axis. */
static Type *stack_type(const Maker *k, Type *t, int n) {
  Dim dim[MAX_RANK];
  t = type_resolve(t);
  dim[0] = dim_const(k->m->cx->dims, n);
  for (int i = 0; i < t->tensor.rank; i++) dim[i + 1] = t->tensor.dim[i];
  return type_tensor(t->tensor.dtype, t->tensor.rank + 1, dim);
}

/* Product j of all n elements, which are stacked, as a stack.  A product by tiles takes
 * a matrix; the others know of leading axes. */
static Atom stack_of(Maker *k, const BatchWalk *w, int j, Atom all, int n, const Map *vars) {
  static const int64_t flat[] = {-3, -2};
  const Expr *e = w->product[j]->value;
  Type *t = w->product[j]->var->type;
  bool tiles = !strcmp(e->Call.callee.op->name, "nn.contrib_dense_pack");
  Atom by = e->Call.args[1];
  void *copy;
  if (by.kind == ATOM_Var && map_find(vars, map_ptr(by.var), &copy)) by.var = copy;
  Type *rows = batch_row(w, j)->type;
  if (tiles) all = mk_op_ints(k, "reshape", rows_type(k, rows, n), all, "newshape", 2, flat);
  Type *made = tiles ? rows_type(k, t, n) : stack_type(k, t, n);
  Atom y = mk_op_like(k, e, made, 2, (Atom[]){all, by});
  const int64_t shape[] = {-4, n, -1, -2};
  return tiles ? mk_op_ints(k, "reshape", stack_type(k, t, n), y, "newshape", 4, shape) : y;
}

static TypeArgs own_dims(const Fn *f) {
  return (TypeArgs){.type = NEW_N(Type *, 1), .n_dims = f->n_dims, .dim = f->dim};
}

static Type *list_of_stacks(const Maker *k, const BatchWalk *w, int j, int size) {
  return list_of(&w->stacks, stack_type(k, w->product[j]->var->type, sizes[size]));
}

/* g(first.., the parameters of f) */
static Atom call_with_params(Maker *k, const BatchWalk *w, Global *g, int n, const Atom *first) {
  const Fn *f = w->f->fn;
  Atom *arg = NEW_N(Atom, n + f->n);
  TypeArgs in = own_dims(f);
  for (int i = 0; i < n; i++) arg[i] = first[i];
  for (int i = 0; i < f->n; i++) arg[n + i] = atom_var(f->param[i], k->span);
  return mk_call(k, g, &in, w->match->type, n + f->n, arg);
}

/* The rows of product j of the n elements x, stacked. */
static Atom stacked_rows(Maker *k, const BatchWalk *w, int j, int n, const Atom *x, Map *vars) {
  const Var *row = batch_row(w, j);
  Atom each[MAX_ROWS];
  Map need = {0};
  map_set(&need, map_ptr(row), w->f);
  need_of(&need, w->body);
  for (int i = 0; i < n; i++) {
    map_set(vars, map_ptr(w->x), x[i].var);
    copy_needed(k, &w->by_element, &need, vars, w->body);
    each[i] = atom_var(map_get(vars, map_ptr(row)), k->span);
  }
  Atom tuple = mk_tuple(k, n, each);
  IntAttr axis[] = {{"axis", 0}, {NULL, 0}};
  return mk_op(k, "stack", stack_type(k, row->type, n), 1, &tuple, axis);
}

/* The products of the n elements x. */
static void products(Maker *k, const BatchWalk *w, int n, const Atom *x, Atom *out) {
  Map vars = {0};
  Atom all[MAX_PRODUCTS];
  copy_operands(k, w, &vars);
  for (int j = 0; j < w->n; j++) {
    int same = 0;
    while (batch_row(w, same) != batch_row(w, j)) same++;
    all[j] = same < j ? all[same] : stacked_rows(k, w, j, n, x, &vars);
    out[j] = stack_of(k, w, j, all[j], n, &vars);
  }
}

/* rows[size](now.., the stack of size `next` in its list, others empty, at, parameters of f) */
static Atom call_rows(Maker *k, const Batch *b, int size, const Atom *now, int next,
                      const Atom *then, int at) {
  const BatchWalk *w = b->w;
  Atom arg[MAX_PRODUCTS * (N_AHEAD + 1) + 1];
  int n = 0;
  for (int j = 0; j < w->n; j++) arg[n++] = now[j];
  for (int i = 0; i < N_AHEAD; i++)
    for (int j = 0; j < w->n; j++) {
      Type *list = list_of_stacks(k, w, j, i);
      Atom none = mk_ctor(k, w->stacks.nil, list, 0, NULL), one[2];
      if (i == next) one[w->stacks.head] = then[j], one[1 - w->stacks.head] = none;
      arg[n++] = i == next ? mk_ctor(k, w->stacks.cons, list, 2, one) : none;
    }
  arg[n++] = mk_int(k, at);
  return call_with_params(k, w, b->rows[size], n, arg);
}

/* What rows[size] does behind its last row with these products begun. */
static Atom call_end(Maker *k, const Batch *b, int size, const Atom *now) {
  return call_rows(k, b, size, now, size, now, sizes[size]);
}

/* match? (xs) { Cons(_, .. Cons(x0, Cons(x1, ..))) => body }, with `skip` elements before n. */
static Block *match_elements(const Batch *b, int skip, int n, const Atom *x, Block *body) {
  const BatchWalk *w = b->w;
  Bindings out = {0};
  Maker k = {b->m, w->match->span, &out};
  Pattern *pat = pattern(PAT_Wild, w->data, k.span);
  for (int i = skip + n - 1; i >= 0; i--) {
    Pattern *x_i = i < skip ? pattern(PAT_Wild, w->x->type, k.span) : var_pattern(x[i - skip].var);
    pat = cons_pattern(&w->walked, w->data, x_i, pat);
  }
  Atom xs = atom_var(w->f->fn->param[w->list], k.span);
  return mk_block(&k, mk_bind(&k, match_of(&k, xs, 1, &pat, &body, true), w->match->type));
}

static void elements(const Batch *b, int n, Atom *x) {
  Maker k = {b->m, b->w->match->span, NULL};
  for (int i = 0; i < n; i++) x[i] = atom_var(mk_var(&k, b->w->x->name, b->w->x->type), k.span);
}

/* if (@list_has(xs, n)) { then } else { otherwise } */
static Block *if_enough(const Batch *b, int n, Block *then, Block *otherwise) {
  const BatchWalk *w = b->w;
  Bindings out = {0};
  Maker k = {b->m, w->match->span, &out};
  TypeArgs in = {.n_types = w->data->data.n, .type = w->data->data.arg};
  Atom arg[] = {atom_var(w->f->fn->param[w->list], k.span), mk_int(&k, n)};
  Atom enough = mk_call(&k, b->has, &in, type_scalar(DT_bool), 2, arg);
  return mk_block(&k, mk_if(&k, enough, w->match->type, then, otherwise));
}

/* The walk of a chunk, whose products are `now`, with those of size `next` begun (N_AHEAD:
 * none). */
static Block *walk_with(const Batch *b, int size, const Atom *now, int next) {
  Bindings in = {0};
  Maker k = {b->m, b->w->match->span, &in};
  Atom x[MAX_ROWS], then[MAX_PRODUCTS];
  if (next == N_AHEAD) return mk_block(&k, call_rows(&k, b, size, now, next, NULL, 0));
  elements(b, sizes[next], x);
  products(&k, b->w, sizes[next], x, then);
  Block *body = mk_block(&k, call_rows(&k, b, size, now, next, then, 0));
  return match_elements(b, sizes[size], sizes[next], x, body);
}

/* The same with as many as there are elements for. */
static Block *walk_on(const Batch *b, int size, const Atom *now) {
  Block *body = walk_with(b, size, now, N_AHEAD);
  for (int i = N_AHEAD - 1; i >= 0; i--)
    body = if_enough(b, sizes[size] + sizes[i], walk_with(b, size, now, i), body);
  return body;
}

/* A walk that starts with a chunk of this size, if there are so many elements: its products have
 * nothing to stand behind, so it is not of the largest. */
static Block *first_chunk(const Batch *b, int size, Block *otherwise) {
  Bindings in = {0};
  Maker k = {b->m, b->w->match->span, &in};
  Atom x[MAX_ROWS], now[MAX_PRODUCTS];
  elements(b, sizes[size], x);
  products(&k, b->w, sizes[size], x, now);
  Atom walk =
      size < N_AHEAD ? call_end(&k, b, size, now) : call_rows(&k, b, size, now, N_AHEAD, NULL, 0);
  Block *body = mk_block(&k, walk);
  return if_enough(b, sizes[size], match_elements(b, 0, sizes[size], x, body), otherwise);
}

/* ---- the functions that take products from stacks ---- */

typedef struct {
  const Batch *b;
  int size;
  Var *stack[MAX_PRODUCTS], *at, *next; /* parameters; next: at + 1            */
  Var *begun[N_AHEAD][MAX_PRODUCTS];    /* lists of one, or none               */
  Var *rest;
  Map product; /* the copy's Var -> 1 + which                                 */
} Steps;

/* How many parameters come before those of the function. */
static int n_first(const BatchWalk *w) { return w->n * (N_AHEAD + 1) + 1; }

static void step_of_rows(const Steps *s, Expr *e) {
  ExCall *c = &e->Call;
  const BatchWalk *w = s->b->w;
  int n = 0, total = n_first(w) + c->n_args;
  Atom *arg = NEW_N(Atom, total);
  Type **param = NEW_N(Type *, total);
  for (int j = 0; j < w->n; j++) arg[n++] = atom_var(s->stack[j], e->span);
  for (int i = 0; i < N_AHEAD; i++)
    for (int j = 0; j < w->n; j++) arg[n++] = atom_var(s->begun[i][j], e->span);
  arg[n++] = atom_var(s->next, e->span);
  for (int i = 0; i < c->n_args; i++) arg[n++] = c->args[i];
  for (int i = 0; i < n; i++) param[i] = atom_type_of(&arg[i]);
  c->args = arg;
  c->n_args = n;
  c->callee.global = s->b->rows[s->size];
  c->callee.type = type_fn(0, NULL, 0, NULL, n, param, e->type);
}

static void take_row(Module *m, const Steps *s, Binding *b, int j) {
  Bindings out = {0};
  Maker k = {m, b->value->span, &out};
  Atom from[] = {atom_var(s->stack[j], k.span), atom_var(s->at, k.span)};
  IntAttr axis[] = {{"axis", 0}, {NULL, 0}};
  mk_op(&k, "take", b->var->type, 2, from, axis);
  b->value = out.at[0].value;
}

static void rewrite_steps(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, rewrite_steps, NULL};
  const Steps *s = ud;
  const BatchWalk *w = s->b->w;
  for (int i = 0; i < b->n; i++) {
    int j = (int)(intptr_t)map_get(&s->product, map_ptr(b->at[i].var)) - 1;
    if (j >= 0) take_row(s->b->m, s, &b->at[i], j);
    Expr *e = b->at[i].value;
    ir_visit(e, &visit, ud);
    if (calls_global(e, w->f) && batch_is_var(&e->Call.args[w->list], s->rest)) step_of_rows(s, e);
  }
}

/* { let %next = %at + 1; the body of f } */
static Block *one_row(Steps *s) {
  const BatchWalk *w = s->b->w;
  Bindings out = {0};
  Maker k = {s->b->m, w->match->span, &out};
  Atom by[] = {atom_var(s->at, k.span), mk_int(&k, 1)};
  s->next = mk_op(&k, "add", type_scalar(DT_i32), 2, by, NULL).var;
  for (int i = 0; i < w->f->fn->body->n; i++) vec_push(&out, w->f->fn->body->at[i]);
  return mk_block(&k, w->f->fn->body->result);
}

/* match (begun) { Cons(y, _) => then, Nil => otherwise }, or match? without the last. */
static Block *match_begun(const Batch *b, const Var *begun, Var *y, Block *then, Block *otherwise) {
  const BatchWalk *w = b->w;
  Bindings out = {0};
  Maker k = {b->m, w->match->span, &out};
  Pattern *nil = pattern(PAT_Ctor, begun->type, k.span);
  nil->ctor = w->stacks.nil;
  Pattern *pat[2] = {
      cons_pattern(&w->stacks, begun->type, var_pattern(y), pattern(PAT_Wild, begun->type, k.span)),
      nil};
  Block *body[2] = {then, otherwise};
  Expr *e = match_of(&k, atom_var((Var *)begun, k.span), otherwise ? 2 : 1, pat, body, !otherwise);
  return mk_block(&k, mk_bind(&k, e, w->match->type));
}

static Block *at_end(const Batch *b, int size, const Atom *now) {
  Bindings out = {0};
  Maker k = {b->m, b->w->match->span, &out};
  return mk_block(&k, call_end(&k, b, size, now));
}

/* After the last row: the walk of the products that are begun, or f.  Here stands the walk of those
 * of the same size, for a function that calls itself needs no new memory. */
static Block *after_rows(const Steps *s) {
  const Batch *b = s->b;
  const BatchWalk *w = b->w;
  Bindings out = {0};
  Maker k = {b->m, w->match->span, &out};
  Block *body = mk_block(&k, call_with_params(&k, w, w->f, 0, NULL));
  for (int i = N_AHEAD - 1; i >= 0 && s->size < N_AHEAD; i--) {
    Atom now[MAX_PRODUCTS];
    for (int j = 0; j < w->n; j++)
      now[j] = atom_var(mk_var(&k, "ys", type_resolve(s->begun[i][j]->type)->data.arg[0]), k.span);
    Block *then = i == s->size ? walk_on(b, i, now) : at_end(b, i, now);
    for (int j = w->n - 1; j > 0; j--)
      then = match_begun(b, s->begun[i][j], now[j].var, then, NULL);
    body = match_begun(b, s->begun[i][0], now[0].var, then, body);
  }
  return body;
}

/* f with n more parameters in front and another body, which is copied; vars: how. */
static void set_fn(const Batch *b, Global *g, int n, Var **first, Block *body, Map *vars) {
  Fn f = *b->w->f->fn;
  Var **param = NEW_N(Var *, n + f.n);
  for (int i = 0; i < n; i++) param[i] = first[i];
  for (int i = 0; i < f.n; i++) param[n + i] = f.param[i];
  f.param = param;
  f.n += n;
  f.body = body;
  g->fn = ir_clone_fn(b->m->cx, &f, vars);
}

static void close_fn(const Batch *b, Global *g) {
  fn_own_dims(b->m, g->fn);
  g->type = fn_type_of(g->fn);
}

/* v of the copy. */
static void to_copy(const Map *vars, Var **v) { *v = map_get(vars, map_ptr(*v)); }

static void copy_of_steps(const Map *vars, Steps *s) {
  for (int j = 0; j < s->b->w->n; j++) {
    Var *y = s->b->w->product[j]->var;
    to_copy(vars, &y);
    to_copy(vars, &s->stack[j]);
    for (int i = 0; i < N_AHEAD; i++) to_copy(vars, &s->begun[i][j]);
    map_set(&s->product, map_ptr(y), (void *)(intptr_t)(j + 1));
  }
  to_copy(vars, &s->at);
  to_copy(vars, &s->next);
  to_copy(vars, &s->rest);
}

static void fill_rows(const Batch *b, int size) {
  const BatchWalk *w = b->w;
  Steps s = {.b = b, .size = size, .rest = w->rest};
  Bindings out = {0};
  Maker k = {b->m, w->match->span, &out};
  Var *param[MAX_PRODUCTS * (N_AHEAD + 1) + 1];
  Map vars = {0};
  int n = 0;
  for (int j = 0; j < w->n; j++)
    param[n++] = s.stack[j] =
        mk_var(&k, "ys", stack_type(&k, w->product[j]->var->type, sizes[size]));
  for (int i = 0; i < N_AHEAD; i++)
    for (int j = 0; j < w->n; j++)
      param[n++] = s.begun[i][j] = mk_var(&k, "begun", list_of_stacks(&k, w, j, i));
  param[n++] = s.at = mk_var(&k, "at", type_scalar(DT_i32));
  Block *done = after_rows(&s);
  Atom of[] = {atom_var(s.at, k.span), mk_int(&k, sizes[size])};
  Atom more = mk_op(&k, "less", type_scalar(DT_bool), 2, of, NULL);
  Block *body = mk_block(&k, mk_if(&k, more, w->match->type, one_row(&s), done));
  set_fn(b, b->rows[size], n, param, body, &vars);
  copy_of_steps(&vars, &s);
  rewrite_steps(&s, b->rows[size]->fn->body);
  close_fn(b, b->rows[size]);
}

/* ---- the function itself ---- */

void batch_rows(Module *m, const BatchWalk *w, Global *has) {
  Batch b = {.m = m, .w = w, .has = has};
  for (int i = 0; i < N_SIZES; i++)
    b.rows[i] = mk_global(m, w->f->name, "rows", NULL, NULL, w->f->span);
  for (int i = 0; i < N_SIZES; i++) fill_rows(&b, i);
  Block *body = w->f->fn->body;
  for (int i = N_SIZES - 1; i > 0; i--) body = first_chunk(&b, i, body);
  w->f->fn->body = body;
}
