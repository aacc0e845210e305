/* fuse.c -- groups of operator calls become primitive functions, called in place.
 *
 *   %r = fn (%p0: ..., Primitive=1) { %0 = nn.dense(...); nn.relu(%0) }(...)
 *
 * The members' variables move into the function; a variable that others use is
 * bound to the call's result, or to its part when there are several.  Checks
 * that an operator owes stay with it inside.                                  */
#include "opt/fuse.h"

/* ---- the function ---------------------------------------------------------------------- */
typedef struct {
  FuseBlock *f;
  FuseGroup *g;
  IrCtx *cx;
  Map inside; /* outer Var -> inner Var                           */
  VEC(Var *) param;
  VEC(Atom) arg;
  VEC(int) result; /* bindings whose variables are used outside   */
  Bindings body;
} Making;

static Var *inner_of(Making *m, const Var *v) {
  Var *in = ir_var(m->cx, v->name, v->span);
  in->type = v->type;
  map_set(&m->inside, map_ptr(v), in);
  return in;
}

static bool is_member(const Making *m, int i) { return i >= 0 && m->f->group[i] == m->g; }

static void add_inside(Making *m, int i);

/* A variable as the function sees it: a member's, a part of one or a tuple of
 * them made inside, or a parameter. */
static bool made_inside(const Making *m, int i) {
  if (is_member(m, i)) return true;
  if (i < 0 || !fuse_is_glue(m->f, i)) return false;
  const Expr *e = m->f->b->at[i].value;
  if (e->kind == EX_Proj) return is_member(m, fuse_def(m->f, e->Proj.tuple.var));
  if (e->kind == EX_Just) return made_inside(m, fuse_def(m->f, e->Just.value.var));
  for (int k = 0; k < e->Tuple.n_items; k++) {
    const Atom *a = &e->Tuple.items[k];
    if (a->kind == ATOM_Var && made_inside(m, fuse_def(m->f, a->var))) return true;
  }
  return false;
}

static void to_inside(void *ud, Atom *a) {
  Making *m = ud;
  if (a->kind != ATOM_Var) return;
  Var *in = map_get(&m->inside, map_ptr(a->var));
  int d = fuse_def(m->f, a->var);
  if (!in && made_inside(m, d)) {
    add_inside(m, d);
    in = map_get(&m->inside, map_ptr(a->var));
  }
  if (!in) {
    in = inner_of(m, a->var);
    in->annot = in->type;
    vec_push(&m->param, in);
    vec_push(&m->arg, ((Atom){.kind = ATOM_Var, .var = a->var, .span = a->span, .type = a->type}));
  }
  a->var = in;
}

static void add_inside(Making *m, int i) {
  const Binding *b = &m->f->b->at[i];
  Expr *e = NEW(Expr);
  *e = *b->value;
  if (e->kind == EX_Call) {
    e->Call.args = NEW_N(Atom, e->Call.n_args + 1);
    for (int k = 0; k < e->Call.n_args; k++) e->Call.args[k] = b->value->Call.args[k];
  } else if (e->kind == EX_Tuple) {
    e->Tuple.items = NEW_N(Atom, e->Tuple.n_items + 1);
    for (int k = 0; k < e->Tuple.n_items; k++) e->Tuple.items[k] = b->value->Tuple.items[k];
  }
  ir_visit(e, &(ExprVisit){to_inside, NULL, NULL}, m);
  Var *v = inner_of(m, b->var);
  vec_push(&m->body, ((Binding){v, e, BIND_Graph}));
}

/* A member's variable, or the projections of its tuple, that others use. */
static void find_results(Making *m, int i) {
  bool tuple = type_resolve(m->f->b->at[i].var->type)->kind == TY_Tuple;
  if (!tuple && fuse_escapes(m->f, i, m->g)) vec_push(&m->result, i);
  for (int k = 0; tuple && k < m->f->users[i].n; k++) {
    int u = m->f->users[i].at[k];
    if (fuse_escapes(m->f, u, m->g)) vec_push(&m->result, u);
  }
}

static Atom result_atom(Making *m, Span span) {
  VEC(Atom) item = {0};
  VEC(Type *) type = {0};
  for (int i = 0; i < m->result.n; i++) {
    Atom a = atom_var(m->f->b->at[m->result.at[i]].var, span);
    to_inside(m, &a);
    a.type = a.var->type;
    vec_push(&item, a);
    vec_push(&type, a.type);
  }
  if (item.n == 1) return item.at[0];
  Expr *t = ir_expr(EX_Tuple, span);
  t->type = type_tuple(type.n, type.at);
  t->Tuple.n_items = item.n;
  t->Tuple.items = item.at;
  Var *v = ir_var(m->cx, NULL, span);
  v->type = t->type;
  vec_push(&m->body, ((Binding){v, t, BIND_Graph}));
  Atom a = atom_var(v, span);
  a.type = v->type;
  return a;
}

static AttrVal one(void) { return (AttrVal){.kind = AV_Int, .bits = 32, .i = 1}; }

static Fn *function_of(Making *m, Span span) {
  Fn *fn = NEW(Fn);
  Atom result = result_atom(m, span);
  fn->span = span;
  fn->body = NEW(Block);
  *fn->body = (Block){m->body.n, m->body.at, result, span};
  fn->n = m->param.n;
  fn->param = m->param.at;
  fn->ret = result.type;
  fn->attrs = (Attrs){1, NEW(Attr)};
  *fn->attrs.at = (Attr){sym(m->cx->syms, "Primitive"), span, one()};
  return fn;
}

/* ---- the call --------------------------------------------------------------------------- */
static Var *bind_function(Making *m, Fn *fn, Bindings *out) {
  Var *v = ir_var(m->cx, NULL, fn->span);
  Type **param = NEW_N(Type *, fn->n + 1);
  for (int i = 0; i < fn->n; i++) param[i] = fn->param[i]->type;
  Expr *e = ir_expr(EX_Fn, fn->span);
  e->type = v->type = type_fn(0, NULL, 0, NULL, fn->n, param, fn->ret);
  e->Fn.fn = fn;
  vec_push(out, ((Binding){v, e, BIND_Graph}));
  return v;
}

static Expr *call_of(Making *m, Var *f, Fn *fn) {
  Expr *e = ir_expr(EX_Call, fn->span);
  e->type = fn->ret;
  e->Call.callee = atom_var(f, fn->span);
  e->Call.callee.type = f->type;
  e->Call.n_args = m->arg.n;
  e->Call.args = m->arg.at;
  return e;
}

/* Copies of binding i that others use stand behind the call. */
static void rebind_copies(Making *m, int i, Bindings *out) {
  for (int k = 0; k < m->f->users[i].n; k++) {
    int u = m->f->users[i].at[k];
    if (u == m->f->b->n || m->f->b->at[u].value->kind != EX_Just || !fuse_is_glue(m->f, u))
      continue;
    if (!fuse_escapes(m->f, u, m->g)) continue;
    vec_push(out, m->f->b->at[u]);
    rebind_copies(m, u, out);
  }
}

/* One variable, or the parts of a tuple. */
static void bind_results(Making *m, Expr *call, Bindings *out) {
  const Binding *at = m->f->b->at;
  if (m->result.n == 1) {
    const Binding *b = &at[m->result.at[0]];
    vec_push(out, ((Binding){b->var, call, b->style}));
    return;
  }
  Var *all = ir_var(m->cx, NULL, call->span);
  all->type = call->type;
  vec_push(out, ((Binding){all, call, BIND_Graph}));
  for (int k = 0; k < m->result.n; k++) {
    const Binding *b = &at[m->result.at[k]];
    Expr *e = ir_expr(EX_Proj, b->value->span);
    e->type = b->var->type;
    e->Proj.tuple = atom_var(all, call->span);
    e->Proj.tuple.type = all->type;
    e->Proj.index = k;
    vec_push(out, ((Binding){b->var, e, b->style}));
  }
}

static void emit_group(FuseBlock *f, FuseGroup *g, Bindings *out) {
  Making m = {.f = f, .g = g, .cx = f->cx->m->cx};
  Span span = f->b->at[vec_last(&g->member)].value->span;
  for (int k = 0; k < g->member.n; k++) {
    int i = g->member.at[k];
    if (!map_get(&m.inside, map_ptr(f->b->at[i].var))) add_inside(&m, i);
  }
  for (int k = 0; k < g->member.n; k++) find_results(&m, g->member.at[k]);
  Fn *fn = function_of(&m, span);
  bind_results(&m, call_of(&m, bind_function(&m, fn, out), fn), out);
  for (int k = 0; k < m.result.n; k++) rebind_copies(&m, m.result.at[k], out);
}

/* ---- the block --------------------------------------------------------------------------- */
/* The group of the call that a is the result of, a part of it or a copy. */
static FuseGroup *group_behind(const FuseBlock *f, const Atom *a) {
  for (;;) {
    int d = a->kind == ATOM_Var ? fuse_def(f, a->var) : -1;
    if (d < 0 || f->group[d] || !fuse_is_glue(f, d)) return d >= 0 ? f->group[d] : NULL;
    const Expr *e = f->b->at[d].value;
    if (e->kind == EX_Tuple) return NULL;
    a = e->kind == EX_Proj ? &e->Proj.tuple : &e->Just.value;
  }
}

/* Glue that is made inside a group, or is bound again by its call. */
static bool is_absorbed(const FuseBlock *f, int i) {
  if (!fuse_is_glue(f, i)) return false;
  const Expr *e = f->b->at[i].value;
  if (e->kind == EX_Proj) return group_behind(f, &e->Proj.tuple) != NULL;
  if (e->kind == EX_Just) return group_behind(f, &e->Just.value) != NULL;
  FuseGroup *g = NULL;
  for (int k = 0; k < f->users[i].n; k++) {
    int u = f->users[i].at[k];
    if (u == f->b->n || !f->group[u] || (g && f->group[u] != g)) return false;
    g = f->group[u];
  }
  for (int k = 0; g && k < e->Tuple.n_items; k++)
    if (group_behind(f, &e->Tuple.items[k]) == g) return true;
  return false;
}

typedef struct {
  FuseBlock *f;
  const Map *bound;
  int missing; /* a binding of this block that is mentioned too early, or -1 */
} Ready;
static void ready_atom(void *ud, Atom *a) {
  Ready *r = ud;
  int d = a->kind == ATOM_Var ? fuse_def(r->f, a->var) : -1;
  if (d >= 0 && !map_get(r->bound, map_ptr(a->var))) r->missing = d;
}
static void ready_block(void *ud, Block *b) {
  static const ExprVisit visit = {ready_atom, ready_block, NULL};
  for (int i = 0; i < b->n; i++) ir_visit(b->at[i].value, &visit, ud);
  ready_atom(ud, &b->result);
}

static void give_up(FuseBlock *f, const FuseGroup *g) {
  for (int k = 0; k < g->member.n; k++) f->group[g->member.at[k]] = NULL;
}

/* Groups that are called behind a use of what they make, or before what they
 * read is made, are given up.  Were there any? */
static bool out_of_order(FuseBlock *f, const Bindings *out, FuseGroup *const *of) {
  Map bound = {0};
  bool any = false;
  for (int i = 0; i < out->n; i++) {
    Ready r = {f, &bound, -1};
    ir_visit(out->at[i].value, &(ExprVisit){ready_atom, ready_block, NULL}, &r);
    map_set(&bound, map_ptr(out->at[i].var), f);
    if (r.missing < 0) continue;
    Atom late = {.kind = ATOM_Var, .var = f->b->at[r.missing].var};
    const FuseGroup *g = of[i] ? of[i] : group_behind(f, &late);
    if (g) give_up(f, g);
    any |= g != NULL;
  }
  return any;
}

static Bindings rewritten(FuseBlock *f, FuseGroup ***of) {
  Bindings out = {0};
  VEC(FuseGroup *) from = {0};
  FuseGroup **up = NEW_N(FuseGroup *, f->b->n + 1);
  for (int i = 0; i < f->b->n; i++) {
    FuseGroup *g = f->group[i];
    if (!g || !g->up || g->member.at[0] != i) continue;
    g->next = up[g->place];
    up[g->place] = g;
  }
  for (int i = 0; i <= f->b->n; i++) {
    for (FuseGroup *g = up[i]; g; g = g->next) {
      emit_group(f, g, &out);
      while (from.n < out.n) vec_push(&from, g);
    }
    if (i == f->b->n) break;
    FuseGroup *g = f->group[i];
    if (g && !g->up && g->place == i) emit_group(f, g, &out);
    while (from.n < out.n) vec_push(&from, g);
    if (!g && !is_absorbed(f, i)) vec_push(&out, f->b->at[i]);
    while (from.n < out.n) vec_push(&from, NULL);
  }
  *of = from.at;
  return out;
}

/* Each group is one rewrite. */
static void ask_leave(FuseBlock *f) {
  for (int i = 0; i < f->b->n; i++) {
    FuseGroup *g = f->group[i];
    if (g && g->member.at[0] == i && !pass_may(f->cx)) give_up(f, g);
  }
}
static bool any_group(const FuseBlock *f) {
  for (int i = 0; i < f->b->n; i++)
    if (f->group[i]) return true;
  return false;
}

static void fuse_block(void *ud, Block *b);

static bool is_primitive(const Fn *fn) { return attrs_find(&fn->attrs, "Primitive") != NULL; }
static void fuse_fn(void *ud, Fn *fn) {
  if (!is_primitive(fn)) fuse_block(ud, fn->body);
}

static void fuse_block(void *ud, Block *b) {
  PassCx *cx = ud;
  for (int i = 0; i < b->n; i++)
    ir_visit(b->at[i].value, &(ExprVisit){NULL, fuse_block, fuse_fn}, cx);
  FuseBlock f = {.cx = cx, .b = b};
  fuse_groups(&f);
  ask_leave(&f);
  while (any_group(&f)) {
    FuseGroup **of;
    Bindings out = rewritten(&f, &of);
    if (out_of_order(&f, &out, of)) continue;
    b->n = out.n;
    b->at = out.at;
    return;
  }
}

static void fuse_global(void *ud, Global *g) { fuse_fn(ud, g->fn); }
static void fuse_run(PassCx *cx) { each_global(cx->m, fuse_global, cx); }

const Pass pass_fuse = {.name = "fuse",
                        .doc = "Group operator calls that can be one kernel.",
                        .needs = FORM_TYPED,
                        .keeps = ~0u,
                        .run = fuse_run};
