/* special.c -- functions made for the functions they are called with.
 *
 *   @map(fn (%x) { %x + %y }, %xs)   becomes   @map_of(%xs, %y)   with
 *   def @map_of(%xs, %y) { let %f = fn (%x) { %x + %y }; ..the body of @map..; @map_of(%rest, %y) }
 *
 * for parameters that the function hands on unchanged whenever it calls itself,
 * when the argument is a function literal in view, a global function, a constant
 * or data made of constants: weights become constants inside loops too.  What a
 * literal captures becomes further parameters; extents that it mentions become
 * dims of the new function, and must be axes of those or of its own parameters
 * to be readable there.  Calls inside the new function are looked at in turn, a
 * few generations deep, so this ends.                                          */
#include <string.h>
#include "opt/build.h"
#include "opt/known.h"
#include "opt/retype.h"

enum { MAX_GENERATION = 4, MAX_SIZE = 2000, MAX_MADE = 500, MAX_LEAVES = 64 };

typedef VEC(Dim) Dims;
/* What an argument is known to be: a literal, or an atom, or data of such. */
typedef struct Arg {
  const Atom *root;
  const Expr *literal;
  const Expr *data; /* a tuple or a constructor's call                      */
  int n;
  struct Arg **field;
} Arg;
typedef struct {
  Global *of;
  Arg **arg; /* NULL where nothing is known                          */
  const TypeArgs *in;
  Global *made;
} Made;
typedef struct {
  PassCx *cx;
  Known known;
  Map given;      /* symbols in view: Sym -> 1                            */
  Map outer;      /* Fn literal -> Dims * of its surroundings it mentions */
  Map generation; /* Global -> how often special                          */
  VEC(Made) made;
  Global *in;
} Special;

/* ---- extents in view ---- */

static Dim give_dim(void *ud, Dim s) {
  map_set(&((Special *)ud)->given, map_ptr(s), ud);
  return NULL;
}
static void give(Special *s, Type *t) {
  if (t) type_subst(s->cx->m->cx->dims, t, NULL, give_dim, s);
}
static void give_pattern(Special *s, const Pattern *p) {
  if (p->var) give(s, p->var->type);
  for (int i = 0; i < p->n; i++) give_pattern(s, p->at[i]);
}

/* ---- extents a literal mentions ---- */

typedef struct {
  Special *s;
  Dims *out;
  Map seen;
} Mention;
static Dim mention(void *ud, Dim d) {
  Mention *m = ud;
  if (!map_get(&m->s->given, map_ptr(d)) || map_get(&m->seen, map_ptr(d))) return NULL;
  map_set(&m->seen, map_ptr(d), m);
  vec_push(m->out, d);
  return NULL;
}
/* Retyping with an answer that never changes anything visits every extent. */
static Dims *outer_dims(Special *s, Fn *f) {
  Dims *out = NEW(Dims);
  Mention m = {.s = s, .out = out};
  Retype look = {.cx = s->cx->m->cx, .other = mention, .ud = &m};
  retype_fn(&look, f);
  return out;
}

/* ---- what calls of the function to itself keep ---- */

/* Is the call at f's own extents?  If not, a version for the extents of one call
 * would be wrong for a part of them, as in halving a tensor. */
typedef struct {
  const Fn *fn;
  bool stay;
} DimsStay;
static void call_dims_stay(void *ud, const Expr *call) {
  DimsStay *s = ud;
  const TypeArgs *in = call->Call.inst;
  for (int d = 0; in && d < in->n_dims && d < s->fn->n_dims; d++)
    if (!dim_equal(in->dim[d], s->fn->dim[d])) s->stay = false;
}
static bool dims_stay(const Global *f) {
  DimsStay s = {f->fn, true};
  each_call_of(f, f->fn->body, call_dims_stay, &s);
  return s.stay;
}

/* ---- the argument ---- */

static Arg *known_arg(const Special *s, const Atom *a, int *left);

static Arg *known_data(const Special *s, Arg *g, const Expr *e, int *left) {
  bool tuple = e->kind == EX_Tuple;
  const Atom *at = tuple ? e->Tuple.items : e->Call.args;
  g->data = e;
  g->n = tuple ? e->Tuple.n_items : e->Call.n_args;
  g->field = NEW_N(Arg *, g->n + 1);
  for (int i = 0; i < g->n; i++) {
    g->field[i] = known_arg(s, &at[i], left);
    if (!g->field[i] || g->field[i]->literal) return NULL;
  }
  return g;
}

/* NULL if it is not known, or too large to be written down again. */
static Arg *known_arg(const Special *s, const Atom *a, int *left) {
  Arg *g = NEW(Arg);
  g->root = known_root(&s->known, a);
  if (--*left < 0) return NULL;
  if (g->root->kind == ATOM_Const) return g;
  if (g->root->kind == ATOM_Global) return type_is_mono(g->root->global->type) ? g : NULL;
  const Expr *def = g->root->kind == ATOM_Var ? known_def(&s->known, g->root) : NULL;
  if (!def || def->n_oblige) return NULL;
  if (def->kind == EX_Tuple) return known_data(s, g, def, left);
  if (def->kind == EX_Call && def->Call.callee.kind == ATOM_Ctor)
    return known_data(s, g, def, left);
  if (def->kind != EX_Fn || def->Fn.fn->n_vars) return NULL;
  g->literal = def;
  return g;
}

static bool same_atom(const Atom *a, const Atom *b) {
  if (a->kind != b->kind) return false;
  if (a->kind == ATOM_Global) return a->global == b->global;
  if (a->kind != ATOM_Const) return true;
  const Tensor *x = a->cst, *y = b->cst;
  if (x == y) return true;
  if (x->dtype != y->dtype || x->rank != y->rank || x->rank > 0) return false;
  return !memcmp(x->bytes, y->bytes, (size_t)dtype_bytes(x->dtype));
}
/* Literals are never the same. */
static bool same_arg(const Arg *a, const Arg *b) {
  if (!a || !b) return a == b;
  if (a->literal || b->literal || !a->data != !b->data || a->n != b->n) return false;
  if (!a->data) return same_atom(a->root, b->root);
  if (a->data->kind != b->data->kind) return false;
  if (a->data->kind == EX_Call && a->data->Call.callee.ctor != b->data->Call.callee.ctor)
    return false;
  for (int i = 0; i < a->n; i++)
    if (!same_arg(a->field[i], b->field[i])) return false;
  return true;
}

static bool has_type_var(Type *t);
static bool any_type_var(int n, Type **at) {
  for (int i = 0; i < n; i++)
    if (has_type_var(at[i])) return true;
  return false;
}
static bool has_type_var(Type *t) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Var: return true;
  case TY_Tuple: return any_type_var(t->tuple.n, t->tuple.at);
  case TY_Fn: return any_type_var(t->fn.n, t->fn.param) || has_type_var(t->fn.ret);
  case TY_Data: return any_type_var(t->data.n, t->data.arg);
  case TY_Ref: return has_type_var(t->ref);
  case TY_Tensor:
  case TY_Meta:
  case TY_Error: break;
  }
  return false;
}

/* Can every extent be read from an axis of what the new function is given? */
static bool can_read(const Dims *dims, const Fn *literal, const VarList *captured) {
  Map have = {0};
  for (int i = 0; i < literal->n; i++) type_axes(&have, literal->param[i]->type);
  for (int i = 0; i < captured->n; i++) type_axes(&have, captured->at[i]->type);
  for (int i = 0; i < dims->n; i++)
    if (!map_get(&have, map_ptr(dims->at[i]))) return false;
  return true;
}

/* ---- making one ---- */

typedef struct {
  Special *s;
  Global *f, *g;
  const Expr *call;
  Arg **arg;        /* per parameter of f                                   */
  VarList captured; /* the caller's                                         */
  Var **extra;      /* as parameters of g                                   */
  Dims dims;        /* the caller's, that g quantifies                      */
} Making;

static void rewire_block(void *ud, Block *b);
/* Arguments of a call of f as those of g. */
static void rewire(const Making *k, Expr *e, Var *const *extra) {
  ExCall *c = &e->Call;
  int n = 0, m = k->captured.n;
  Atom *arg = NEW_N(Atom, c->n_args + m + 1);
  Type **param = NEW_N(Type *, c->n_args + m + 1);
  for (int i = 0; i < c->n_args; i++)
    if (!k->arg[i]) arg[n++] = c->args[i];
  for (int i = 0; i < m; i++) arg[n++] = atom_var(extra[i], e->span);
  for (int i = 0; i < n; i++) param[i] = atom_type_of(&arg[i]);
  c->args = arg;
  c->n_args = n;
  c->callee.global = k->g;
  c->callee.kind = ATOM_Global;
  c->callee.type = type_fn(0, NULL, 0, NULL, n, param, e->type);
  c->inst = NEW(TypeArgs);
  *c->inst = (TypeArgs){.type = NEW_N(Type *, 1), .n_dims = k->dims.n, .dim = k->dims.at};
}
static void rewire_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, rewire_block, NULL};
  const Making *k = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    ir_visit(e, &visit, ud);
    if (calls_global(e, k->f)) rewire(k, e, k->extra);
  }
}

/* ---- the parameters that go ---- */

/* g once more: data anew, atoms as they are. */
static Atom write_arg(const Making *k, const Arg *g, Bindings *out) {
  if (!g->data) return *g->root;
  Expr *e = NEW(Expr);
  *e = *g->data;
  Atom *at = NEW_N(Atom, g->n + 1);
  for (int i = 0; i < g->n; i++) at[i] = write_arg(k, g->field[i], out);
  if (e->kind == EX_Tuple)
    e->Tuple.items = at;
  else
    e->Call.args = at;
  Var *v = ir_var(k->s->cx->m->cx, NULL, e->span);
  v->type = e->type;
  vec_push(out, ((Binding){v, e, BIND_Graph}));
  return atom_var(v, e->span);
}

/* The binding that takes the place of a parameter. */
static void bind_arg(const Making *k, Var *param, const Arg *g, Bindings *out) {
  if (!g->literal) {
    Atom a = write_arg(k, g, out);
    vec_push(out, bind_copy(param, a, BIND_Let, param->span));
    return;
  }
  Map vars = {0};
  for (int i = 0; i < k->captured.n; i++) map_set(&vars, map_ptr(k->captured.at[i]), k->extra[i]);
  Expr *e = ir_expr(EX_Fn, g->literal->span);
  e->type = g->literal->type;
  e->Fn.fn = ir_clone_fn(k->s->cx->m->cx, g->literal->Fn.fn, &vars);
  param->annot = NULL;
  param->type = e->type;
  vec_push(out, ((Binding){param, e, BIND_Let}));
}

static void remove_params(Making *k, Fn *f) {
  Var **param = NEW_N(Var *, f->n + k->captured.n + 1);
  Bindings out = {0};
  int n = 0;
  for (int i = 0; i < f->n; i++)
    if (k->arg[i])
      bind_arg(k, f->param[i], k->arg[i], &out);
    else
      param[n++] = f->param[i];
  for (int i = 0; i < k->captured.n; i++) param[n++] = k->extra[i];
  f->param = param;
  f->n = n;
  for (int i = 0; i < f->body->n; i++) vec_push(&out, f->body->at[i]);
  f->body->n = out.n;
  f->body->at = out.at;
}

/* ---- its dims ---- */

static Dim note_dim(void *ud, Dim d) {
  Mention *m = ud;
  if (map_get(&m->seen, map_ptr(d))) return NULL;
  map_set(&m->seen, map_ptr(d), m);
  vec_push(m->out, d);
  return NULL;
}

/* All extents of the caller that the new function's types mention. */
static void collect_dims(Making *k) {
  const TypeArgs *in = k->call->Call.inst;
  DimTab *dt = k->s->cx->m->cx->dims;
  Mention m = {.s = k->s, .out = &k->dims};
  for (int p = 0; p < k->f->fn->n; p++) {
    const Expr *e = k->arg[p] ? k->arg[p]->literal : NULL;
    const Dims *of = e ? map_get(&k->s->outer, map_ptr(e->Fn.fn)) : NULL;
    for (int i = 0; of && i < of->n; i++) note_dim(&m, of->at[i]);
  }
  for (int i = 0; in && i < in->n_types; i++) type_subst(dt, in->type[i], NULL, note_dim, &m);
  for (int i = 0; in && i < in->n_dims; i++) dim_subst(dt, in->dim[i], note_dim, &m);
  for (int i = 0; i < k->captured.n; i++)
    type_subst(dt, k->captured.at[i]->type, NULL, note_dim, &m);
}

/* The symbols that axes of the new function's parameters are; own are f's. */
static void readable_dims(const Making *k, const Fn *f, Map *own, Map *have) {
  const TypeArgs *in = k->call->Call.inst;
  for (int i = 0; i < f->n; i++)
    if (!k->arg[i]) type_axes(own, f->param[i]->type);
  for (int i = 0; in && i < in->n_dims && i < f->n_dims; i++)
    if (map_get(own, map_ptr(f->dim[i]))) map_set(have, map_ptr(in->dim[i]), have);
  for (int i = 0; i < k->captured.n; i++) type_axes(have, k->captured.at[i]->type);
}

typedef struct {
  const Map *have;
  bool all;
} Reading;
static void read_sym(void *ud, Dim s) {
  Reading *r = ud;
  r->all &= map_get(r->have, map_ptr(s)) != NULL;
}
/* n of a parameter Tensor[(n)] that is a * b at this call stays n where a and b
 * are not axes of the parameters: nothing could compute it. */
static bool stays_own(Dim own, Dim d, const Map *axes, const Map *have) {
  Reading r = {have, true};
  if (d->kind == DIM_Sym || d->kind == DIM_Const || !map_get(axes, map_ptr(own))) return false;
  dim_visit_syms(d, read_sym, &r);
  return !r.all;
}

static void instantiate(Making *k, Fn *f) {
  const TypeArgs *in = k->call->Call.inst;
  IrCtx *cx = k->s->cx->m->cx;
  Retype r = {.cx = cx};
  Map own = {0}, have = {0};
  readable_dims(k, f, &own, &have);
  for (int i = 0; i < f->n_vars; i++) map_set(&r.type, map_ptr(f->var[i]), in->type[i]);
  for (int i = 0; i < f->n_dims; i++) {
    Dim d = in && i < in->n_dims ? in->dim[i] : NULL;
    if (!d || dim_has_any(d) || stays_own(f->dim[i], d, &own, &have)) {
      d = dim_new_sym(cx->dims, f->dim[i]->name, f->dim[i]->level);
      vec_push(&k->dims, d);
    }
    map_set(&r.dim, map_ptr(f->dim[i]), (void *)(uintptr_t)d);
  }
  f->n_vars = 0;
  retype_fn(&r, f);
}

static Global *make(Making *k) {
  Module *m = k->s->cx->m;
  Map vars = {0};
  Fn *f = ir_clone_fn(m->cx, k->f->fn, &vars);
  k->extra = NEW_N(Var *, k->captured.n + 1);
  for (int i = 0; i < k->captured.n; i++) {
    Var *v = k->captured.at[i];
    k->extra[i] = ir_var(m->cx, v->name, v->span);
    k->extra[i]->type = v->type;
  }
  /* The place decides whether it is printed: as what calls it is. */
  k->g = mk_global(m, k->f->name, "of", f, NULL, k->s->in->span);
  instantiate(k, f);
  rewire_block(k, f->body);
  remove_params(k, f);
  f->n_dims = 0;
  fn_take_dims(m, f, k->dims.n, k->dims.at);
  k->g->type = fn_type_of(f);
  return k->g;
}

/* ---- calls ---- */

static bool same_inst(const TypeArgs *a, const TypeArgs *b) {
  if (!a || !b) return a == b;
  bool same = a->n_types == b->n_types && a->n_dims == b->n_dims;
  for (int i = 0; same && i < a->n_types; i++) same = type_same(a->type[i], b->type[i]);
  for (int i = 0; same && i < a->n_dims; i++) same = dim_equal(a->dim[i], b->dim[i]);
  return same;
}

static Global *made_before(const Special *s, const Making *k) {
  for (int i = 0; i < s->made.n; i++) {
    const Made *d = &s->made.at[i];
    bool same = d->of == k->f && same_inst(d->in, k->call->Call.inst);
    for (int p = 0; same && p < k->f->fn->n; p++) same = same_arg(d->arg[p], k->arg[p]);
    if (same) return d->made;
  }
  return NULL;
}

static int generation(const Special *s, const Global *g) {
  return (int)(intptr_t)map_get(&s->generation, map_ptr(g));
}

/* May the literal move?  What it captures is then a parameter of the function. */
static bool can_move(const Making *k, const Arg *g) {
  VarList captured = {0};
  if (!g->literal) return true;
  ir_free_vars(g->literal->Fn.fn, &captured);
  for (int i = 0; i < captured.n; i++)
    if (captured.at[i] == g->root->var || !type_is_mono(captured.at[i]->type)) return false;
  const Dims *outer = map_get(&k->s->outer, map_ptr(g->literal->Fn.fn));
  return outer && can_read(outer, g->literal->Fn.fn, &captured);
}

static bool find_args(Making *k) {
  bool any = false, *stays = NEW_N(bool, k->f->fn->n + 1);
  k->arg = NEW_N(Arg *, k->f->fn->n + 1);
  for (int i = 0; i < k->f->fn->n; i++) stays[i] = true;
  (void)keeps_params(k->f, k->f->fn->body, stays);
  for (int i = 0; i < k->f->fn->n; i++) {
    int left = MAX_LEAVES;
    Arg *g = known_arg(k->s, &k->call->Call.args[i], &left);
    if (!g || !stays[i] || !can_move(k, g)) continue;
    k->arg[i] = g;
    any = true;
    if (g->literal) ir_free_vars(g->literal->Fn.fn, &k->captured);
  }
  return any;
}

static void specialise(Special *s, Expr *e) {
  Making k = {.s = s, .f = e->Call.callee.global, .call = e};
  const TypeArgs *in = e->Call.inst;
  int gen = generation(s, k.f) > generation(s, s->in) ? generation(s, k.f) : generation(s, s->in);
  if (k.f == s->in || s->made.n >= MAX_MADE || e->n_oblige || gen >= MAX_GENERATION) return;
  if (in && any_type_var(in->n_types, in->type)) return;
  if (k.f->fn->n_vars > (in ? in->n_types : 0) || e->Call.n_args != k.f->fn->n) return;
  if (!find_args(&k) || block_size(k.f->fn->body) > MAX_SIZE || !dims_stay(k.f)) return;
  if (!pass_may(s->cx)) return;
  collect_dims(&k);
  int known = k.dims.n;
  k.g = made_before(s, &k);
  if (!k.g) {
    Made d = {k.f, k.arg, in, make(&k)};
    map_set(&s->generation, map_ptr(d.made), (void *)(intptr_t)(gen + 1));
    if (k.dims.n == known) vec_push(&s->made, d);
  }
  for (int i = known; i < k.dims.n; i++) k.dims.at[i] = dim_any(s->cx->m->cx->dims);
  rewire(&k, e, k.captured.at);
}

/* ---- the walk ---- */

static void walk_block(void *ud, Block *b);
static void walk_fn(void *ud, Fn *f) {
  Special *s = ud;
  map_set(&s->outer, map_ptr(f), outer_dims(s, f));
  for (int i = 0; i < f->n; i++) give(s, f->param[i]->type);
  walk_block(s, f->body);
}

static void walk_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, walk_block, walk_fn};
  Special *s = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    for (int k = 0; e->kind == EX_Match && k < e->Match.n_clauses; k++)
      give_pattern(s, e->Match.clauses[k].pat);
    ir_visit(e, &visit, s);
    if (e->kind == EX_Call && e->Call.callee.kind == ATOM_Global) specialise(s, e);
    known_put(&s->known, &b->at[i]);
    give(s, b->at[i].var->type);
  }
}

static void special_run(PassCx *cx) {
  Special s = {.cx = cx};
  for (int i = 0; i < cx->m->globals.n; i++) { /* those made here too */
    Fn *f = cx->m->globals.at[i]->fn;
    s.known = (Known){0};
    s.given = s.outer = (Map){0};
    s.in = cx->m->globals.at[i];
    for (int k = 0; k < f->n; k++) give(&s, f->param[k]->type);
    walk_block(&s, f->body);
  }
}

const Pass pass_special = {.name = "special",
                           .doc =
                               "Functions called with a known function or constant get a version "
                               "made for it.",
                           .needs = FORM_TYPED,
                           .keeps = ~0u,
                           .run = special_run};
