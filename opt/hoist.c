/* hoist.c -- what a recursion computes from its fixed parameters is computed
 * once, before it starts.
 *
 *   def @f(%xs, %s, %w) { .. nn.dense(%s, transpose(%w)) .. @f(%rest, s', %w) .. }
 *
 * becomes
 *
 *   def @f(%xs, %s, %w) { let %t = transpose(%w); @f_loop(%xs, %s, %w, %t) }
 *   def @f_loop(%xs, %s, %w, %t) { .. nn.dense(%s, %t) .. @f_loop(%rest, s', %w, %t) .. }
 *
 * A parameter is fixed if every call that the function makes of itself hands it
 * on; so are its parts.  Only operators that cannot fail move, and only from blocks that go on to
 * such a call: a recursion that ends at once computes them in vain, but once.  */
#include "opt/build.h"
#include "opt/fields.h"

enum { MOST = 16 }; /* values handed along */

typedef struct {
  Global *f, *g;
  Map invariant; /* Var -> 1                                             */
  Map wanted;    /* Var -> 1: used by what is not invariant              */
  Bindings made; /* invariant bindings in order                          */
  Bindings root; /* those of made that are worth a parameter             */
  Map value;     /* the copy's Var -> the parameter for it               */
  VEC(Var *) extra;
} Hoist;

/* ---- what does not change ---- */

typedef struct {
  const Hoist *h;
  bool varies, any;
} Ask;
static void ask(void *ud, Atom *a) {
  Ask *q = ud;
  if (a->kind != ATOM_Var) return;
  q->any = true;
  if (!map_get(&q->h->invariant, map_ptr(a->var))) q->varies = true;
}

static void ask_own(void *ud, Dim s) {
  Ask *q = ud;
  bool own = false;
  for (int i = 0; i < q->h->f->fn->n_dims; i++) own = own || q->h->f->fn->dim[i] == s;
  if (!own) q->varies = true;
}
static Dim ask_dim(void *ud, Dim s) {
  ask_own(ud, s);
  return NULL;
}

static bool is_invariant(const Hoist *h, DimTab *dt, const Binding *b) {
  Ask q = {h, false, false};
  Expr *e = b->value;
  bool op = e->kind == EX_Call && e->Call.callee.kind == ATOM_Op && op_call_is_total(e);
  bool part = e->kind == EX_Proj || e->kind == EX_Just || match_is_load(e);
  if (e->n_oblige || !(op || part)) return false;
  ir_visit(e, &(ExprVisit){ask, NULL, NULL}, &q);
  type_subst(dt, b->var->type, NULL, ask_dim, &q);
  return q.any && !q.varies;
}

static void want(void *ud, Atom *a) {
  Hoist *h = ud;
  if (a->kind == ATOM_Var && map_get(&h->invariant, map_ptr(a->var)))
    map_set(&h->wanted, map_ptr(a->var), h);
}

typedef struct {
  Hoist *h;
  DimTab *dt;
} Find;
static void find_want(void *ud, Atom *a) { want(((Find *)ud)->h, a); }
static void want_block(void *ud, Block *b) {
  static const ExprVisit visit = {find_want, want_block, NULL};
  for (int i = 0; i < b->n; i++) ir_visit(b->at[i].value, &visit, ud);
  find_want(ud, &b->result);
}
static void want_fn(void *ud, Fn *f) { want_block(ud, f->body); }

static void find_block(void *ud, Block *b) {
  static const ExprVisit visit = {find_want, find_block, want_fn};
  Find *f = ud;
  bool on = block_calls(f->h->f, b);
  for (int i = 0; i < b->n; i++) {
    Binding *bd = &b->at[i];
    if (on && is_invariant(f->h, f->dt, bd)) {
      map_set(&f->h->invariant, map_ptr(bd->var), f->h);
      vec_push(&f->h->made, *bd);
    } else {
      ir_visit(bd->value, &visit, f);
    }
  }
  find_want(f, &b->result);
}

static bool is_root(const Hoist *h, const Binding *b) {
  Type *t = type_resolve(b->var->type);
  return b->value->kind == EX_Call && map_get(&h->wanted, map_ptr(b->var)) &&
         t->kind == TY_Tensor && t->tensor.rank > 0;
}

/* ---- the two functions ---- */

static void pass_along(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, pass_along, NULL};
  Hoist *h = ud;
  for (int i = 0; i < b->n; i++) {
    Binding *bd = &b->at[i];
    Var *v = map_get(&h->value, map_ptr(bd->var));
    if (v) *bd = bind_copy(bd->var, atom_var(v, bd->value->span), bd->style, bd->value->span);
    Expr *e = bd->value;
    ir_visit(e, &visit, h);
    if (!calls_global(e, h->f)) continue;
    ExCall *c = &e->Call;
    int n = c->n_args, m = h->extra.n;
    Atom *arg = NEW_N(Atom, n + m);
    Type **param = NEW_N(Type *, n + m);
    for (int k = 0; k < n; k++) arg[k] = c->args[k];
    for (int k = 0; k < m; k++) arg[n + k] = atom_var(h->extra.at[k], e->span);
    for (int k = 0; k < n + m; k++) param[k] = atom_type_of(&arg[k]);
    c->args = arg;
    c->n_args = n + m;
    c->callee.global = h->g;
    c->callee.type = type_fn(0, NULL, 0, NULL, n + m, param, e->type);
  }
}

static void make_loop(Module *m, Hoist *h) {
  Map vars = {0};
  Fn *f = ir_clone_fn(m->cx, h->f->fn, &vars);
  Var **param = NEW_N(Var *, f->n + h->root.n);
  for (int i = 0; i < f->n; i++) param[i] = f->param[i];
  for (int i = 0; i < h->root.n; i++) {
    Var *of = h->root.at[i].var, *v = ir_var(m->cx, of->name, of->span);
    v->type = of->type;
    vec_push(&h->extra, v);
    param[f->n + i] = v;
    map_set(&h->value, map_ptr(map_get(&vars, map_ptr(of))), v);
  }
  h->g = mk_global(m, h->f->name, "loop", f, NULL, h->f->span);
  pass_along(h, f->body);
  f->param = param;
  f->n += h->root.n;
  fn_own_dims(m, f);
  h->g->type = fn_type_of(f);
}

static void make_entry(Module *m, Hoist *h) {
  Fn *f = h->f->fn;
  Map vars = {0};
  Bindings out = {0};
  Maker k = {m, f->body->span, &out};
  Block made = {.n = h->made.n, .at = h->made.at};
  Type *t = atom_type_of(&f->body->result);
  Block *copy = ir_clone_block(m->cx, &made, &vars);
  Atom *arg = NEW_N(Atom, f->n + h->root.n);
  TypeArgs in = {.type = NEW_N(Type *, 1), .n_dims = f->n_dims, .dim = f->dim};
  for (int i = 0; i < copy->n; i++) vec_push(&out, copy->at[i]);
  for (int i = 0; i < f->n; i++) arg[i] = atom_var(f->param[i], k.span);
  for (int i = 0; i < h->root.n; i++)
    arg[f->n + i] = atom_var(map_get(&vars, map_ptr(h->root.at[i].var)), k.span);
  f->body = mk_block(&k, mk_call(&k, h->g, &in, t, f->n + h->root.n, arg));
}

static void hoist_global(PassCx *cx, Global *f) {
  Hoist h = {.f = f};
  bool *fixed = NEW_N(bool, f->fn->n + 1);
  Find find = {&h, cx->m->cx->dims};
  if (f->fn->n_vars) return;
  for (int i = 0; i < f->fn->n; i++) fixed[i] = true;
  if (!keeps_params(f, f->fn->body, fixed)) return;
  for (int i = 0; i < f->fn->n; i++)
    if (fixed[i]) map_set(&h.invariant, map_ptr(f->fn->param[i]), &h);
  find_block(&find, f->fn->body);
  for (int i = 0; i < h.made.n; i++)
    if (is_root(&h, &h.made.at[i])) vec_push(&h.root, h.made.at[i]);
  if (!h.root.n || h.root.n > MOST || !pass_may(cx)) return;
  make_loop(cx->m, &h);
  make_entry(cx->m, &h);
}

static void hoist_run(PassCx *cx) {
  int n = cx->m->globals.n; /* not those that are made here */
  for (int i = 0; i < n; i++) hoist_global(cx, cx->m->globals.at[i]);
}

const Pass pass_hoist = {.name = "hoist",
                         .doc = "What a recursion computes from parameters that never change is "
                                "computed once.",
                         .needs = FORM_TYPED,
                         .keeps = ~0u,
                         .run = hoist_run};
