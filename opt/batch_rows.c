/* batch_rows.c -- the code that computes rows of products for batch.c.         */
#include "opt/batch.h"

enum { N_SIZES = 2, MAX_ROWS = 16 };
static const int sizes[N_SIZES] = {16, 4};

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
static Pattern *cons_pattern(const BatchWalk *w, Type *t, Pattern *head, Pattern *tail) {
  Pattern *p = pattern(PAT_Ctor, t, head->span);
  p->ctor = w->cons;
  p->n = 2;
  p->at = NEW_N(Pattern *, 2);
  p->at[0] = head;
  p->at[1] = tail;
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

static Type *list_of(const BatchWalk *w, Type *elem) {
  Type **arg = NEW_N(Type *, 1);
  arg[0] = elem;
  return type_data(w->data->data.def, 1, arg);
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
  TyVar *a = NEW(TyVar);
  *a = (TyVar){sym(m->cx->syms, "A"), k.span};
  Type *elem = type_var(a), *list = list_of(w, elem);
  Var **param = NEW_N(Var *, 2);
  param[0] = mk_var(&k, "xs", list);
  param[1] = mk_var(&k, "n", i32);
  Var *rest = mk_var(&k, "rest", list);
  Global *g = mk_global(m, "list", "has", NULL, NULL, k.span);
  TypeArgs in = {.n_types = 1, .type = &list->data.arg[0]};
  Atom left =
      mk_op(&k, "subtract", i32, 2, (Atom[]){atom_var(param[1], k.span), mk_int(&k, 1)}, NULL);
  Atom more = mk_call(&k, g, &in, flag, 2, (Atom[]){atom_var(rest, k.span), left});
  Pattern *pat[2] = {cons_pattern(w, list, pattern(PAT_Wild, elem, k.span), var_pattern(rest)),
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
  g->fn->n_vars = 1;
  g->fn->var = NEW_N(TyVar *, 1);
  g->fn->var[0] = a;
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
static void copy_needed(Maker *k, const BatchWalk *w, const Map *need, Map *vars, Block *b) {
  for (int i = 0; i < b->n; i++) {
    if (!map_get(need, map_ptr(b->at[i].var)) || !map_get(&w->invariant, map_ptr(b->at[i].var)))
      continue;
    Block one = {.n = 1, .at = &b->at[i], .result = mk_int(k, 0)};
    vec_push(k->out, ir_clone_block(k->m->cx, &one, vars)->at[0]);
  }
}

/* Copies of what the other operands are made of. */
static void copy_operands(Maker *k, const BatchWalk *w, Map *vars) {
  Map need = {0};
  for (int j = 0; j < w->n; j++) need_atom(&need, &w->product[j]->value->Call.args[1]);
  need_of(&need, w->body);
  need_of(&need, w->f->fn->body);
  copy_needed(k, w, &need, vars, w->f->fn->body);
  copy_needed(k, w, &need, vars, w->body);
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

static Type *repeated(Type *t, int n) {
  Type *at[MAX_ROWS];
  for (int i = 0; i < n; i++) at[i] = t;
  return type_tuple(n, at);
}

/* Product j of all rows at once, cut into a tuple of rows. */
static Atom rows_of(Maker *k, const BatchWalk *w, int j, Atom all, int n, const Map *vars) {
  const Expr *e = w->product[j]->value;
  Type *t = type_resolve(w->product[j]->var->type);
  Atom by = e->Call.args[1];
  void *copy;
  if (by.kind == ATOM_Var && map_find(vars, map_ptr(by.var), &copy)) by.var = copy;
  Atom y = mk_op_like(k, e, rows_type(k, t, n), 2, (Atom[]){all, by});
  IntAttr cut[] = {{"indices_or_sections", n}, {"axis", 0}, {NULL, 0}};
  return mk_op(k, "split", repeated(t, n), 1, &y, cut);
}

/* What one element of the list of rows is. */
static Type *row_type(const BatchWalk *w) {
  Type *at[MAX_PRODUCTS];
  for (int j = 0; j < w->n; j++) at[j] = w->product[j]->var->type;
  return w->n == 1 ? at[0] : type_tuple(w->n, at);
}

static Atom row(Maker *k, const BatchWalk *w, const Atom *rows, int i) {
  Atom at[MAX_PRODUCTS];
  for (int j = 0; j < w->n; j++) at[j] = mk_proj(k, rows[j], i);
  return w->n == 1 ? at[0] : mk_tuple(k, w->n, at);
}

static TypeArgs own_dims(const Fn *f) {
  return (TypeArgs){.type = NEW_N(Type *, 1), .n_dims = f->n_dims, .dim = f->dim};
}

/* g(ys, the parameters of f) */
static Atom enter_rows(Maker *k, const BatchWalk *w, Global *g, Atom ys) {
  const Fn *f = w->f->fn;
  Atom *arg = NEW_N(Atom, f->n + 1);
  TypeArgs in = own_dims(f);
  arg[0] = ys;
  for (int i = 0; i < f->n; i++) arg[i + 1] = atom_var(f->param[i], k->span);
  return mk_call(k, g, &in, w->match->type, f->n + 1, arg);
}

/* match? (xs) { Cons(x0, Cons(x1, ..)) => .. g(rows, ..) } */
static Block *chunk(Module *m, const BatchWalk *w, Global *g, int n) {
  Bindings in = {0}, out = {0};
  Maker k = {m, w->match->span, &in};
  Atom x[MAX_ROWS], rows[MAX_PRODUCTS];
  Map vars = {0};
  Pattern *pat = pattern(PAT_Wild, w->data, k.span);
  for (int i = n - 1; i >= 0; i--) {
    Var *v = mk_var(&k, w->x->name, w->x->type);
    x[i] = atom_var(v, k.span);
    pat = cons_pattern(w, w->data, var_pattern(v), pat);
  }
  copy_operands(&k, w, &vars);
  Atom tuple = mk_tuple(&k, n, x);
  IntAttr axis[] = {{"axis", 0}, {NULL, 0}};
  Atom all = mk_op(&k, "concatenate", rows_type(&k, w->x->type, n), 1, &tuple, axis);
  for (int j = 0; j < w->n; j++) rows[j] = rows_of(&k, w, j, all, n, &vars);
  Type *elem = row_type(w), *list = list_of(w, elem);
  Atom ys = mk_ctor(&k, w->nil, list, 0, NULL);
  for (int i = n - 1; i >= 0; i--)
    ys = mk_ctor(&k, w->cons, list, 2, (Atom[]){row(&k, w, rows, i), ys});
  Block *body = mk_block(&k, enter_rows(&k, w, g, ys));
  k.out = &out;
  Atom xs = atom_var(w->f->fn->param[w->list], k.span);
  return mk_block(&k, mk_bind(&k, match_of(&k, xs, 1, &pat, &body, true), w->match->type));
}

/* ---- the function that takes its products from a list ---- */

typedef struct {
  const BatchWalk *w;
  Global *g;
  Var *rest, *ys, *y;
  Map product; /* the copy's Var -> 1 + which */
} Steps;

static void step_of_rows(const Steps *s, Expr *e) {
  ExCall *c = &e->Call;
  Atom *arg = NEW_N(Atom, c->n_args + 1);
  Type **param = NEW_N(Type *, c->n_args + 1);
  arg[0] = atom_var(s->ys, e->span);
  for (int i = 0; i < c->n_args; i++) arg[i + 1] = c->args[i];
  for (int i = 0; i <= c->n_args; i++) param[i] = atom_type_of(&arg[i]);
  c->args = arg;
  c->n_args++;
  c->callee.global = s->g;
  c->callee.type = type_fn(0, NULL, 0, NULL, c->n_args, param, e->type);
}

static void take_row(const Steps *s, Binding *b, int j) {
  Expr *e = ir_expr(s->w->n == 1 ? EX_Just : EX_Proj, b->value->span);
  Atom y = atom_var(s->y, e->span);
  e->type = b->var->type;
  if (s->w->n == 1) {
    e->Just.value = y;
  } else {
    e->Proj.tuple = y;
    e->Proj.index = j;
  }
  b->value = e;
}

static void rewrite_steps(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, rewrite_steps, NULL};
  Steps *s = ud;
  for (int i = 0; i < b->n; i++) {
    int j = (int)(intptr_t)map_get(&s->product, map_ptr(b->at[i].var)) - 1;
    if (j >= 0) take_row(s, &b->at[i], j);
    Expr *e = b->at[i].value;
    ir_visit(e, &visit, s);
    bool step = calls_global(e, s->w->f) && batch_is_var(&e->Call.args[s->w->list], s->rest);
    if (step) step_of_rows(s, e);
  }
}

static Block *all_rows_taken(Module *m, const BatchWalk *w, const Fn *copy) {
  Bindings out = {0};
  Maker k = {m, w->match->span, &out};
  TypeArgs in = own_dims(w->f->fn);
  Atom *arg = NEW_N(Atom, copy->n + 1);
  for (int i = 0; i < copy->n; i++) arg[i] = atom_var(copy->param[i], k.span);
  return mk_block(&k, mk_call(&k, w->f, &in, w->match->type, copy->n, arg));
}

static void fill_rows_fn(Module *m, const BatchWalk *w, Global *g) {
  Map vars = {0};
  Fn *f = ir_clone_fn(m->cx, w->f->fn, &vars);
  Bindings out = {0};
  Maker k = {m, w->match->span, &out};
  Type *elem = row_type(w), *list = list_of(w, elem);
  Steps s = {.w = w, .g = g, .rest = map_get(&vars, map_ptr(w->rest))};
  s.y = mk_var(&k, "y", elem);
  s.ys = mk_var(&k, "later", list);
  for (int j = 0; j < w->n; j++)
    map_set(&s.product, map_ptr(map_get(&vars, map_ptr(w->product[j]->var))),
            (void *)(intptr_t)(j + 1));
  rewrite_steps(&s, f->body);
  Var *ys = mk_var(&k, "ys", list);
  Pattern *pat[2] = {cons_pattern(w, list, var_pattern(s.y), var_pattern(s.ys)),
                     pattern(PAT_Wild, list, k.span)};
  Block *body[2] = {f->body, all_rows_taken(m, w, f)};
  Atom r = mk_bind(&k, match_of(&k, atom_var(ys, k.span), 2, pat, body, false), w->match->type);
  Var **param = NEW_N(Var *, f->n + 1);
  param[0] = ys;
  for (int i = 0; i < f->n; i++) param[i + 1] = f->param[i];
  f->param = param;
  f->n++;
  f->body = mk_block(&k, r);
  fn_own_dims(m, f);
  g->fn = f;
  g->type = fn_type_of(f);
}

/* ---- the function itself ---- */

void batch_rows(Module *m, const BatchWalk *w, Global *has) {
  Fn *f = w->f->fn;
  Global *g = mk_global(m, w->f->name, "rows", NULL, NULL, w->f->span);
  Type *t = w->match->type;
  TypeArgs in = {.n_types = 1, .type = w->data->data.arg};
  Block *then[N_SIZES], *otherwise = f->body;
  fill_rows_fn(m, w, g);
  for (int i = 0; i < N_SIZES; i++) then[i] = chunk(m, w, g, sizes[i]);
  for (int i = N_SIZES - 1; i >= 0; i--) {
    Bindings out = {0};
    Maker k = {m, w->match->span, &out};
    Atom arg[] = {atom_var(f->param[w->list], k.span), mk_int(&k, sizes[i])};
    Atom enough = mk_call(&k, has, &in, type_scalar(DT_bool), 2, arg);
    otherwise = mk_block(&k, mk_if(&k, enough, t, then[i], otherwise));
  }
  f->body = otherwise;
}
