/* finish.c -- the end of inference: what is still open is settled, what was
 * put off is checked, and the types are written into the program without
 * metas and cells.                                                            */
#include "typeinfer/state.h"

/* ---- settling ----------------------------------------------------------------- */

static bool is_defined(const Cell *c) { return c->flags & (CELL_RIGID | CELL_GIVEN); }

/* Does somebody wait for c: an operator, a variable that must have an extent,
 * a function that may be called with anything? */
static bool is_awaited(const Cell *c) {
  if (c->flags & (CELL_OPENS | CELL_STRICT)) return true;
  for (int i = 0; i < c->out.n; i++)
    if (c->out.at[i].job) return true;
  return false;
}

typedef VEC(Cell *) CellList;

static void climb(Infer *I, CellList *todo, Dim d) {
  Cell *c = cell_of(d);
  if (!c || c->known || c->visit == I->clock) return;
  c->visit = I->clock;
  vec_push(todo, c);
}

/* An axis of an operator's result is what the relation says once it can run:
 * what the relation waits for comes first. */
static bool is_result(const Cell *c) {
  for (int i = 0; i < c->in.n; i++) {
    const Cell *from = cell_of(c->in.at[i].dim);
    if (!from || !from->maker || from->maker->state == JOB_Failed) return false;
  }
  return c->in.n > 0;
}

/* Some awaited cell that c waits for and that was not seen yet in this climb. */
static Cell *awaited_above(Infer *I, Cell *c) {
  CellList todo = {0};
  vec_push(&todo, c);
  while (todo.n) {
    Cell *x = vec_pop(&todo);
    if (x != c && is_awaited(x) && !is_defined(x) && !is_result(x)) return x;
    for (int i = 0; x->maker && i < x->maker->watching.n; i++)
      climb(I, &todo, x->maker->watching.at[i]->self);
    for (int i = 0; i < x->in.n; i++) {
      const CellIn *in = &x->in.at[i];
      climb(I, &todo, in->dim);
      for (int k = 0; in->inst && k < in->inst->n_dims; k++) climb(I, &todo, in->inst->cell[k]);
    }
  }
  return NULL;
}

static void top_source(Infer *I, Cell *c) {
  I->clock++;
  for (Cell *up = c; up; up = awaited_above(I, up)) c = up;
  cell_top(I, c);
  solve(I);
}

/* An extent nobody gives is unknown to those who ask for it: first to those
 * that others ask, so that these see its symbol. */
static void top_cells(Infer *I) {
  for (int i = 0; i < I->cells.n; i++) {
    Cell *c = I->cells.at[i];
    while (!c->known && !is_defined(c) && is_awaited(c)) top_source(I, c);
  }
}

/* What is left is never there (the element of a Nil): it may have any type,
 * so it gets that of the place it goes to. */
static void fill_cell(Infer *I, Cell *c) {
  Dim v = c->val;
  for (int i = 0; i < c->out.n; i++) {
    const Cell *to = c->out.at[i].cell;
    if (!to || !to->known || dim_hidden(I, to->val, c)) continue;
    v = !v || dim_equal(v, to->val) ? to->val : dim_any(I->dt);
  }
  c->val = v ? v : dim_any(I->dt);
  c->known = c->stuck = true;
}

/* An extent inside of what a function takes comes from nowhere but from its
 * callers: it is what the function wants, or the type would not be one of it. */
static void want_cell(Infer *I, const Check *k) {
  Cell *c = cell_of(k->from);
  Dim v;
  if (!c || c->known || k->pos != POS_Nested || !dim_value(k->to, &v) || dim_hidden(I, v, c))
    return;
  c->val = !c->val || dim_equal(c->val, v) ? v : dim_any(I->dt);
}

static void fill_cells(Infer *I) {
  for (int i = 0; i < I->cells.n; i++)
    if (!I->cells.at[i]->known) I->cells.at[i]->val = NULL;
  for (int i = 0; i < I->checks.n; i++) want_cell(I, &I->checks.at[i]);
  for (int i = I->cells.n; i-- > 0;)
    if (!I->cells.at[i]->known) fill_cell(I, I->cells.at[i]);
}

static Type *unknown_part(Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Meta) return t;
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++)
    if (is_unsolved(t->tuple.at[i])) return type_resolve(t->tuple.at[i]);
  return NULL;
}

static void cannot_infer(Infer *I, const Atom *a, Type *meta) {
  const Var *v = a->kind == ATOM_Var ? a->var : NULL;
  Span at = v && v->name && v->span.file ? v->span : a->span;
  diag_error(I->d, at, E0302, v ? var_label(v) : "this value");
  if (v && v->name && !v->annot)
    diag_help(I->d, "say its type: %%%s: Tensor[(n, 4), float32]", v->name);
  Type *e = type_error();
  flow(I, e, meta, site_new(at, e, meta, ""), POS_Top);
}

static bool poison_rel(Infer *I, Job *j) {
  for (int i = 0; i < j->expr->Call.n_args; i++) {
    Atom *a = &j->expr->Call.args[i];
    Type *meta = unknown_part(atom_type(I, a, NULL));
    if (!meta) continue;
    cannot_infer(I, a, meta);
    return true;
  }
  return false;
}

static bool poison_proj(Infer *I, Job *j) {
  Atom *a = &j->expr->Proj.tuple;
  Type *meta = unknown_part(atom_type(I, a, NULL));
  if (meta) cannot_infer(I, a, meta);
  return meta;
}

/* A relation that fails for good gives poison, before others wait for it. */
static void give_up(Infer *I) {
  for (int i = 0; i < I->jobs.n; i++) {
    Job *j = I->jobs.at[i];
    if (j->kind != JOB_Rel || j->state != JOB_Failed || j->made) continue;
    j->made = type_error();
    flow(I, j->made, j->result, site_new(j->expr->span, j->made, j->result, ""), POS_Top);
  }
  solve(I);
}

static void settle(Infer *I) {
  solve(I);
  top_cells(I);
  for (int i = 0; i < I->jobs.n; i++) {
    if (I->jobs.at[i]->kind != JOB_Inst) continue;
    settle_inst(I, I->jobs.at[i], 0);
    solve(I);
  }
  top_cells(I);
  give_up(I);
  for (int i = 0; i < I->jobs.n; i++) {
    Job *j = I->jobs.at[i];
    if (j->state != JOB_Waiting || j->kind == JOB_Inst || j->made) continue;
    if (j->kind == JOB_Rel ? poison_rel(I, j) : poison_proj(I, j)) solve(I);
    top_cells(I);
    give_up(I);
  }
}

/* ---- what was put off ------------------------------------------------------------ */

static void check_strict(Infer *I, const Cell *c) {
  for (int i = 0; i < c->in.n; i++) {
    const CellIn *in = &c->in.at[i];
    Dim v;
    if (!input_value(I, in, &v)) continue;
    if (c->known && v->kind != DIM_Any && c->symbol->name && dim_differ(v, c->val)) {
      Span at = in->site ? in->site->at : c->at;
      diag_error(I->d, at, E0312, c->symbol->name, show_dim(c->val), show_dim(v));
      diag_note(I->d, c->at, c->callee ? "in this use of %s" : "in this use", c->callee);
      return;
    }
    if (in->nested && in->site) check_dims(I, &(Check){v, c->val, in->site, POS_Nested, i});
  }
}

static void late_checks(Infer *I) {
  for (int i = 0; i < I->checks.n; i++) check_dims(I, &I->checks.at[i]);
  for (int i = 0; i < I->cells.n; i++)
    if (I->cells.at[i]->flags & CELL_STRICT) check_strict(I, I->cells.at[i]);
  for (int i = 0; i < I->jobs.n; i++)
    if (I->jobs.at[i]->kind == JOB_Rel) finish_rel(I, I->jobs.at[i]);
}

/* ---- types without metas and cells -------------------------------------------------- */

typedef struct Scope {
  const Type *fn;
  const struct Scope *up;
} Scope;
typedef struct {
  Infer *I;
  int cap;
  bool final, deeper;
  const Scope *scope;
} Zonk;

static void ask_visible(void *ud, Dim s) {
  Zonk *z = ud;
  if (sym_level(z->I, s) <= z->cap) return;
  for (const Scope *q = z->scope; q; q = q->up)
    for (int i = 0; i < q->fn->fn.n_dims; i++)
      if (q->fn->fn.dim[i] == s) return;
  z->deeper = true;
}

static Dim zonk_dim(Zonk *z, Dim d) {
  Dim v;
  if (!cell_of(d)) return d;
  if (!dim_value(d, &v)) return dim_any(z->I->dt);
  z->deeper = false;
  dim_visit_syms(v, ask_visible, z);
  return z->deeper ? dim_any(z->I->dt) : v;
}

static Type *zonk_type(Zonk *z, Type *t);
static Type **zonk_list(Zonk *z, Type *const *at, int n) {
  Type **to = NEW_N(Type *, n ? n : 1);
  for (int i = 0; i < n; i++) to[i] = zonk_type(z, at[i]);
  return to;
}

static Type *zonk_fn(Zonk *z, Type *t) {
  Scope s = {t, z->scope};
  z->scope = &s;
  Type **param = zonk_list(z, t->fn.param, t->fn.n), *ret = zonk_type(z, t->fn.ret);
  z->scope = s.up;
  return type_fn(t->fn.n_vars, t->fn.var, t->fn.n_dims, t->fn.dim, t->fn.n, param, ret);
}

static Type *zonk_type(Zonk *z, Type *t) {
  t = type_resolve(t);
  if (type_is_plain(t, true)) return t;
  switch (t->kind) {
  case TY_Error:
  case TY_Var: return t;
  case TY_Meta: return z->final ? type_tuple(0, NULL) : t;
  case TY_Tensor: {
    Dim dim[MAX_RANK];
    for (int i = 0; i < t->tensor.rank; i++) dim[i] = zonk_dim(z, t->tensor.dim[i]);
    return type_tensor(t->tensor.dtype, t->tensor.rank, dim);
  }
  case TY_Tuple: return type_tuple(t->tuple.n, zonk_list(z, t->tuple.at, t->tuple.n));
  case TY_Fn: return zonk_fn(z, t);
  case TY_Data: return type_data(t->data.def, t->data.n, zonk_list(z, t->data.arg, t->data.n));
  case TY_Ref: return type_ref(zonk_type(z, t->ref));
  }
  return t;
}

Type *zonk(Infer *I, Type *t, int cap, bool final) {
  Zonk z = {I, cap, final, false, NULL};
  return zonk_type(&z, t);
}

/* ---- writing them down ---------------------------------------------------------------- */

static void finish_block(Infer *I, Block *b);

/* A variable nobody has looked at is opened only here. */
static void finish_var(Infer *I, Var *v) {
  int first = I->cells.n;
  Type *t = var_view(I, v);
  if (I->cells.n > first) solve(I);
  for (int i = first; i < I->cells.n; i++)
    if (!I->cells.at[i]->known) cell_top(I, I->cells.at[i]);
  v->type = zonk(I, t, var_info(I, v)->level, true);
}

static void finish_atom(void *ud, Atom *a) {
  Infer *I = ud;
  if (!a->type) a->type = type_error();
  bool is_fn = type_resolve(a->type)->kind == TY_Fn;
  if (a->kind == ATOM_Var && !is_fn)
    a->type = a->var->type ? a->var->type : type_error();
  else
    a->type = zonk(I, a->type, 1 << 20, true);
}

static Type *scheme_of(const Atom *callee) {
  Type *t = NULL;
  if (callee->kind == ATOM_Global) t = callee->global->type;
  if (callee->kind == ATOM_Var) t = callee->var->type;
  return t && t->kind == TY_Fn ? t : NULL;
}

/* What the callee quantifies and the call did not know yet: the callee was in
 * the making, so its types are the caller's; its extents are its own. */
static TypeArgs *complete_inst(Infer *I, TypeArgs *in, const Type *scheme) {
  if (!scheme || (!scheme->fn.n_vars && !scheme->fn.n_dims)) return in;
  TypeArgs *to = NEW(TypeArgs);
  *to = (TypeArgs){scheme->fn.n_vars, NULL, scheme->fn.n_dims, NULL};
  to->type = NEW_N(Type *, to->n_types + 1);
  to->dim = NEW_N(Dim, to->n_dims + 1);
  for (int i = 0; i < to->n_types; i++)
    to->type[i] = in && i < in->n_types ? in->type[i] : type_var(scheme->fn.var[i]);
  for (int i = 0; i < to->n_dims; i++)
    to->dim[i] = in && i < in->n_dims ? in->dim[i] : dim_any(I->dt);
  return to;
}

typedef struct {
  const Type *fn;
  const TypeArgs *in;
} Applied;
static Type *applied_type(void *ud, TyVar *v) {
  const Applied *a = ud;
  for (int i = 0; i < a->in->n_types; i++)
    if (a->fn->fn.var[i] == v) return a->in->type[i];
  return NULL;
}
static Dim applied_dim(void *ud, Dim s) {
  const Applied *a = ud;
  for (int i = 0; i < a->in->n_dims; i++)
    if (a->fn->fn.dim[i] == s) return a->in->dim[i];
  return NULL;
}

static Type *callee_type(Infer *I, Type *scheme, const TypeArgs *in) {
  Applied a = {scheme, in};
  Type *mono = type_fn(0, NULL, 0, NULL, scheme->fn.n, scheme->fn.param, scheme->fn.ret);
  return type_subst(I->dt, mono, applied_type, applied_dim, &a);
}

static void finish_call(Infer *I, Expr *e) {
  Type *scheme = scheme_of(&e->Call.callee);
  TypeArgs *given = e->Call.inst, *in = complete_inst(I, given, scheme);
  e->Call.inst = in;
  for (int i = 0; in && i < in->n_types; i++) in->type[i] = zonk(I, in->type[i], 1 << 20, true);
  for (int i = 0; in && i < in->n_dims; i++)
    if (!dim_value(in->dim[i], &in->dim[i])) in->dim[i] = dim_any(I->dt);
  if (scheme && in && (!given || given->n_types < in->n_types || given->n_dims < in->n_dims))
    e->Call.callee.type = callee_type(I, scheme, in);
  if (e->Call.callee.kind != ATOM_Op) return;
  Type **param = NEW_N(Type *, e->Call.n_args + 1);
  for (int i = 0; i < e->Call.n_args; i++) param[i] = e->Call.args[i].type;
  e->Call.callee.type = type_fn(0, NULL, 0, NULL, e->Call.n_args, param, e->type);
}

/* The binding `v = temp` that checks an annotation. */
static Expr *finish_split(Infer *I, const Var *v) {
  VarInfo *vi = var_info(I, v);
  if (!vi->split || vi->split->expr->n_oblige == 0) return NULL;
  Expr *just = vi->split->expr;
  finish_var(I, vi->temp);
  just->type = v->type;
  finish_atom(I, &just->Just.value);
  return just;
}

static void finish_pattern(Infer *I, Pattern *p, BlockBuilder *checks) {
  p->type = zonk(I, p->type ? p->type : type_error(), 1 << 20, true);
  if (p->kind == PAT_Var) {
    Var *v = p->var;
    finish_var(I, v);
    Expr *just = finish_split(I, v);
    if (just) bb_push(checks, v, just, BIND_Let);
    if (just) p->var = var_info(I, v)->temp;
    if (just) p->type = p->var->type;
  }
  for (int i = 0; i < p->n; i++) finish_pattern(I, p->at[i], checks);
}

static void finish_clause(Infer *I, Clause *c) {
  BlockBuilder checks = {0};
  finish_pattern(I, c->pat, &checks);
  finish_block(I, c->body);
  if (checks.b.n == 0) return;
  for (int i = 0; i < c->body->n; i++) vec_push(&checks.b, c->body->at[i]);
  c->body->at = checks.b.at;
  c->body->n = checks.b.n;
}

static bool is_alias(const Expr *e) { return e->kind == EX_Just && e->Just.value.kind == ATOM_Var; }

/* want, with the axes of have where want says ?. */
static Type *with_axes(Type *want, Type *have) {
  if (want->kind == TY_Tuple && have->kind == TY_Tuple) {
    Type **at = NEW_N(Type *, want->tuple.n + 1);
    for (int i = 0; i < want->tuple.n; i++) at[i] = with_axes(want->tuple.at[i], have->tuple.at[i]);
    return type_tuple(want->tuple.n, at);
  }
  if (want->kind != TY_Tensor || have->kind != TY_Tensor) return want;
  Dim dim[MAX_RANK];
  for (int i = 0; i < want->tensor.rank; i++) {
    bool unknown = want->tensor.dim[i]->kind == DIM_Any;
    dim[i] = unknown ? have->tensor.dim[i] : want->tensor.dim[i];
  }
  return type_tensor(want->tensor.dtype, want->tensor.rank, dim);
}

/* The result's check comes last, between the value and the caller. */
static void check_result(Infer *I, Fn *f, Site *s) {
  if (s->expr->n_oblige == 0) return;
  Block *b = f->body;
  BlockBuilder bb = {0};
  Type *type = with_axes(f->ret, b->result.type);
  Binding *last = b->n ? &b->at[b->n - 1] : NULL;
  bool is_last = last && b->result.kind == ATOM_Var && last->var == b->result.var;
  if (is_last && is_alias(last->value) && !last->var->annot) {
    for (int i = 0; i < s->expr->n_oblige; i++) {
      const Oblige *o = &s->expr->oblige[i];
      add_oblige(last->value, o->kind, o->a, o->b, o->what);
    }
    last->var->type = last->value->type = b->result.type = type;
    return;
  }
  for (int i = 0; i < b->n; i++) vec_push(&bb.b, b->at[i]);
  s->expr->type = type;
  s->expr->Just.value.type = b->result.type;
  Atom r = bb_bind(I->cx, &bb, s->expr, NULL, BIND_Graph);
  r.var->type = r.type = type;
  b->at = bb.b.at;
  b->n = bb.b.n;
  b->result = r;
}

static void finish_fn(Infer *I, Fn *f, Type *type) {
  int k = (int)(intptr_t)map_get(&I->fn_info, map_ptr(f));
  for (int i = 0; i < f->n; i++) finish_var(I, f->param[i]);
  f->n_vars = type->fn.n_vars;
  f->var = type->fn.var;
  f->n_dims = type->fn.n_dims;
  f->dim = type->fn.dim;
  f->ret = type->fn.ret;
  finish_block(I, f->body);
  if (k) check_result(I, f, I->fns.at[k - 1].site);
}

static void finish_sub_block(void *ud, Block *b) { finish_block(ud, b); }

static void finish_expr(Infer *I, const Var *v, Expr *e) {
  const ExprVisit visit = {.atom = finish_atom, .block = finish_sub_block};
  e->type = v->type;
  if (e->kind == EX_Fn) {
    if (v->type->kind == TY_Fn) finish_fn(I, e->Fn.fn, v->type);
    return;
  }
  if (e->kind == EX_Match) {
    finish_atom(I, &e->Match.scrutinee);
    for (int i = 0; i < e->Match.n_clauses; i++) finish_clause(I, &e->Match.clauses[i]);
    return;
  }
  ir_visit(e, &visit, I);
  if (e->kind == EX_Call) finish_call(I, e);
}

static void finish_block(Infer *I, Block *b) {
  BlockBuilder bb = {0};
  bool split = false;
  for (int i = 0; i < b->n; i++) {
    Binding x = b->at[i];
    finish_var(I, x.var);
    Expr *just = finish_split(I, x.var);
    if (just && !split) {
      split = true;
      for (int k = 0; k < i; k++) vec_push(&bb.b, b->at[k]);
    }
    Var *holds = just ? var_info(I, x.var)->temp : x.var;
    finish_expr(I, holds, x.value);
    if (just) bb_push(&bb, holds, x.value, BIND_Graph);
    if (split) bb_push(&bb, x.var, just ? just : x.value, x.style);
  }
  finish_atom(I, &b->result);
  if (!split) return;
  b->at = bb.b.at;
  b->n = bb.b.n;
}

void finish(Infer *I) {
  settle(I);
  late_checks(I);
  fill_cells(I);
  for (int i = 0; i < I->m->globals.n; i++) {
    Global *g = I->m->globals.at[i];
    g->type = zonk(I, g->type, 0, true);
  }
  for (int i = 0; i < I->m->globals.n; i++) {
    Global *g = I->m->globals.at[i];
    finish_fn(I, g->fn, g->type);
  }
}
