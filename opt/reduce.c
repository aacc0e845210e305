/* reduce.c -- one walk that computes what is known before the program runs:
 * projections of tuples in view, matches of constructors in view or that cannot
 * fail, ifs on constants, calls of functions in view.
 *
 * The branch that is taken, and the body that is called, are spliced into the
 * block around them: their bindings run exactly when the branch or the body
 * would have run.  What is spliced in is walked again, so that a function that
 * arrives through an argument, a tuple or a result is called in turn; nesting
 * and size are bounded.  Functions are taken callees first.
 *
 * A function that calls itself is unrolled over an argument that is known: data
 * of which every constructor is in view, or a counter.  It ends because each
 * call is on less than the call around it (fuel, as in Roesch 2020, section on
 * the partial evaluator), and is undone if a call on something else is left.   */
#include <string.h>
#include "ir/order.h"
#include "opt/build.h"
#include "opt/expand.h"
#include "opt/fields.h"
#include "opt/known.h"

enum {
  SMALL = 32,       /* bindings of a function copied to every call          */
  LARGE = 4000,     /* ... to its only call, or if it handles functions     */
  MEDIUM = 400,     /* ... to a call that makes its extents or weights constant, or
                       decides a match                                      */
  MAX_NESTING = 48, /* bodies inside bodies                                 */
  BUDGET = 50000,   /* bindings added to one function                       */
  UNROLL = 64,      /* steps of a recursion over something known            */
  UNROLLED = 2000,  /* ... and bindings of its own that may become          */
};

/* A recursion being unrolled: each call must be on less than the one around it. */
typedef struct Activation {
  const Global *g;
  int param, measure;
  int *left; /* bindings of its own that may still become, of all calls together */
  bool failed;
  struct Activation *up;
} Activation;
typedef struct {
  PassCx *cx;
  bool unroll;
  Activation *active;
  bool calls; /* splice calls too                                     */
  Known known;
  UseCount uses; /* variables of this global                             */
  Map size;      /* Fn -> bindings                                       */
  Map calls_of;  /* Global -> mentions in the module                     */
  Map self;      /* Global -> 1: calls only itself                       */
  Map recursive; /* Global -> 1                                          */
  Map given;     /* Sym -> 1 + frame that first has it as an axis        */
  Map frame_of;  /* Fn -> 1 + its frame                                  */
  VEC(int) up;   /* frame -> the one around it                           */
  int frame;
  Retype same; /* extents found to have a name                         */
  int depth, budget;
  Sym name;
} Reduce;

static void reduce_into(Reduce *r, Block *b, Bindings *out);
static void reduce_block(void *ud, Block *b) {
  Bindings out = {0};
  reduce_into(ud, b, &out);
  b->n = out.n;
  b->at = out.at;
}

/* ---- extents in scope ---- */

static void give_type(Reduce *r, Type *t) {
  t = t ? type_resolve(t) : NULL;
  if (!t) return;
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++) give_type(r, t->tuple.at[i]);
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++) {
    Dim d = t->tensor.dim[i];
    if (d->kind == DIM_Sym && !map_get(&r->given, map_ptr(d)))
      map_set(&r->given, map_ptr(d), (void *)(intptr_t)(r->frame + 1));
  }
}

typedef struct {
  const Reduce *r;
  int frame;
} Inside;

static bool given_inside(void *ud, Dim s) {
  const Inside *in = ud;
  int f = (int)(intptr_t)map_get(&in->r->given, map_ptr(s)) - 1;
  while (f > in->frame) f = in->r->up.at[f];
  return f == in->frame;
}

static void enter_pattern(Reduce *r, const Pattern *p) {
  if (p->var) give_type(r, p->var->type);
  for (int i = 0; i < p->n; i++) enter_pattern(r, p->at[i]);
}

static void put(Reduce *r, Bindings *out, Binding b) {
  known_put(&r->known, &b);
  give_type(r, b.var->type);
  vec_push(out, b);
}

/* ---- results ---- */

static void learn_extents(Reduce *r, const Var *v, const Atom *is) {
  Type *t = is->kind == ATOM_Var ? is->var->type : is->type;
  if (t) same_extents(&r->same, &r->given, v->type, t);
}

/* The value of b is `result`, once what computes it is in out. */
static void deliver(Reduce *r, Block *in, const Binding *b, Atom result, Bindings *out, bool tail) {
  if (tail) {
    in->result = result;
    return;
  }
  Binding done = bind_copy(b->var, result, b->style, b->value->span);
  done.value->n_oblige = b->value->n_oblige;
  done.value->oblige = b->value->oblige;
  if (!done.value->n_oblige) learn_extents(r, b->var, &result);
  put(r, out, done);
}

static bool is_tail(const Block *in, const Binding *b, bool last) {
  return last && !b->value->n_oblige && in->result.kind == ATOM_Var && in->result.var == b->var;
}

/* ---- branches ---- */

static bool splice_branch(Reduce *r, Block *in, const Binding *b, Bindings *out, bool last) {
  Bindings bound = {0};
  Block *take = known_branch(&r->known, b->value, &bound);
  if (!take) take = match_fields(r->cx->m->cx, b->value, &r->given, &bound);
  if (!take || !pass_may(r->cx)) return false;
  for (int i = 0; i < bound.n; i++) {
    const Expr *e = bound.at[i].value;
    if (e->kind == EX_Just && !e->n_oblige) learn_extents(r, bound.at[i].var, &e->Just.value);
    put(r, out, bound.at[i]);
  }
  reduce_into(r, take, out);
  deliver(r, in, b, take->result, out, is_tail(in, b, last));
  return true;
}

/* ---- calls ---- */

static bool handles_functions(const Fn *f) {
  for (int i = 0; i < f->n; i++)
    if (type_has_fn(f->param[i]->type)) return true;
  return type_has_fn(f->ret);
}

static int size_of(Reduce *r, const Fn *f) {
  int n = (int)(intptr_t)map_get(&r->size, map_ptr(f));
  if (n == 0) map_set(&r->size, map_ptr(f), (void *)(intptr_t)(n = 1 + block_size(f->body)));
  return n;
}

static bool mentions(const Fn *f, const Var *v) {
  VarList free = {0};
  ir_free_vars(f, &free);
  for (int i = 0; i < free.n; i++)
    if (free.at[i] == v) return true;
  return false;
}

/* Would the copy know its extents, or hold constants where f has parameters? */
static bool becomes_constant(Reduce *r, const Expr *call) {
  const TypeArgs *in = call->Call.inst;
  int64_t v;
  int n = 0;
  for (int i = 0; in && i < in->n_dims; i++) n += dim_is_const(in->dim[i], &v);
  bool all = in && n > 0 && n == in->n_dims;
  for (int i = 0; i < call->Call.n_args && !all; i++)
    all = known_has_constant(&r->known, &call->Call.args[i]);
  return all;
}

/* Is a match on a parameter decided by the constructor that the call gives? */
static bool decides_match(Reduce *r, const Fn *f, const Expr *call) {
  for (int i = 0; i < f->body->n; i++) {
    const Expr *e = f->body->at[i].value;
    if (e->kind != EX_Match || e->Match.scrutinee.kind != ATOM_Var) continue;
    for (int k = 0; k < f->n; k++)
      if (f->param[k] == e->Match.scrutinee.var && known_is_data(&r->known, &call->Call.args[k]))
        return true;
  }
  return false;
}

static bool is_worth(Reduce *r, const Fn *f, bool once, const Expr *call) {
  int n = size_of(r, f);
  if (r->depth >= MAX_NESTING || n > r->budget) return false;
  return n <= SMALL || (n <= LARGE && (once || handles_functions(f))) ||
         attrs_find(&f->attrs, "Inline") ||
         (n <= MEDIUM && (becomes_constant(r, call) || decides_match(r, f, call)));
}

/* ---- unrolling ---- */

/* How much is left of a known value: a counter's value, the constructors of
 * data.  -1: it is not known, or more than UNROLL. */
static int measure(const Reduce *r, const Atom *a, int left) {
  const Atom *root = known_root(&r->known, a);
  const Expr *e = root->kind == ATOM_Var ? known_def(&r->known, root) : NULL;
  if (root->kind == ATOM_Const) {
    int64_t v = 0;
    if (root->cst->rank || !dtype_is_int(root->cst->dtype) || root->cst->dtype == DT_bool)
      return -1;
    memcpy(&v, root->cst->bytes, (size_t)dtype_bytes(root->cst->dtype));
    return v >= 0 && v <= left ? (int)v : -1;
  }
  if (!e || e->kind != EX_Call || left <= 0) return -1;
  int n = 1;
  for (int i = 0; i < e->Call.n_args; i++) {
    Type *t = atom_type_of(&e->Call.args[i]);
    if (!t || type_resolve(t)->kind != TY_Data) continue;
    int m = measure(r, &e->Call.args[i], left - n);
    if (m < 0) return -1;
    n += m;
  }
  return n;
}

static Activation *activation_of(const Reduce *r, const Global *g) {
  Activation *a = r->active;
  while (a && a->g != g) a = a->up;
  return a;
}

/* Is the argument less than in the call of the same function around this one? */
static bool goes_on(Reduce *r, const Expr *call, const Activation *around, Activation *out) {
  const Atom *arg = &call->Call.args[around->param];
  *out =
      (Activation){.g = around->g, .param = around->param, .left = around->left, .up = r->active};
  out->measure = measure(r, arg, UNROLL);
  return out->measure >= 0 && out->measure < around->measure &&
         (*out->left -= size_of(r, out->g->fn)) >= 0;
}

/* Could it be unrolled over this argument? */
static bool starts(Reduce *r, const Expr *call, const Global *g, int param, int *left,
                   Activation *out) {
  *out = (Activation){.g = g, .param = param, .left = left, .up = r->active};
  out->measure = measure(r, &call->Call.args[param], UNROLL);
  *left = UNROLLED - size_of(r, g->fn);
  return out->measure >= 0 && size_of(r, g->fn) * (out->measure + 1) <= UNROLLED;
}

/* The function a call leads to, if it is to be spliced in. */
static const Fn *callee_of(Reduce *r, const Expr *call, Sym *name, bool *local) {
  const Atom *a = known_root(&r->known, &call->Call.callee);
  *local = a->kind == ATOM_Var;
  if (a->kind == ATOM_Global) {
    const Global *g = a->global;
    *name = g->name;
    if (r->unroll && map_get(&r->self, map_ptr(g))) return g->fn;
    if (map_get(&r->recursive, map_ptr(g))) return NULL;
    bool once = (intptr_t)map_get(&r->calls_of, map_ptr(g)) == 1;
    return is_worth(r, g->fn, once, call) ? g->fn : NULL;
  }
  const Expr *e = *local ? map_get(&r->known.def, map_ptr(a->var)) : NULL;
  if (!e || e->kind != EX_Fn) return NULL;
  const Fn *f = e->Fn.fn;
  *name = a->var->name;
  bool once = uses_get(&r->uses, a->var) == 1;
  return map_get(&r->frame_of, map_ptr(f)) && is_worth(r, f, once, call) && !mentions(f, a->var)
             ? f
             : NULL;
}

static void fail_around(Reduce *r, const Global *g) {
  for (Activation *a = r->active; a; a = a->up)
    if (a->g == g) a->failed = true;
}

/* e on what its operands are other names of: their types may say more of extents. */
static const Expr *by_roots(Reduce *r, const Expr *e) {
  Expr *made = NEW(Expr);
  *made = *e;
  made->Call.args = NEW_N(Atom, e->Call.n_args + 1);
  for (int i = 0; i < e->Call.n_args; i++)
    made->Call.args[i] = *known_root(&r->known, &e->Call.args[i]);
  return made;
}

/* Puts the body of f, as called by e, into out; false: out is as it was. */
static bool expand_into(Reduce *r, const Expr *e, const Callee *c, Bindings *out, Atom *result) {
  Bindings params = {0};
  Block *body;
  if (!expand_call(r->cx->m->cx, c, e, &params, &body)) {
    params.n = 0;
    if (!expand_call(r->cx->m->cx, c, by_roots(r, e), &params, &body)) return false;
  }
  if (!pass_may(r->cx)) return false;
  r->budget -= size_of(r, c->fn);
  uses_of_expr(&r->uses, (Expr *)(uintptr_t)e, -1);
  for (int i = 0; i < params.n; i++) uses_of_expr(&r->uses, params.at[i].value, 1);
  uses_of_block(&r->uses, body);
  for (int i = 0; i < params.n; i++) put(r, out, params.at[i]);
  r->depth++;
  reduce_into(r, body, out);
  r->depth--;
  *result = body->result;
  return true;
}

static bool enter(Reduce *r, Activation *a, const Expr *e, const Callee *c, Bindings *out,
                  Atom *result) {
  int depth = r->depth;
  r->active = a;
  r->depth = depth > 0 ? depth - 1 : 0; /* the measure counts these */
  bool done = expand_into(r, e, c, out, result);
  r->depth = depth;
  r->active = a->up;
  return done && !a->failed;
}

/* A call of a function that calls itself; what could not be unrolled to its end
 * is undone. */
static bool unroll_into(Reduce *r, const Expr *e, const Callee *c, Bindings *out, Atom *result) {
  Activation a;
  const Global *g = known_root(&r->known, &e->Call.callee)->global;
  const Activation *around = activation_of(r, g);
  int mark = out->n, left;
  if (around) {
    bool done = goes_on(r, e, around, &a) && enter(r, &a, e, c, out, result);
    if (!done) fail_around(r, g);
    return done || (out->n = mark, false);
  }
  for (int numbers = 0; numbers < 2; numbers++) /* data first */
    for (int i = 0; i < e->Call.n_args; i++) {
      bool number = known_root(&r->known, &e->Call.args[i])->kind == ATOM_Const;
      if (number != numbers || !starts(r, e, g, i, &left, &a)) continue;
      if (enter(r, &a, e, c, out, result)) return true;
      out->n = mark;
    }
  return false;
}

static bool splice_call(Reduce *r, Block *in, const Binding *b, Bindings *out, bool last) {
  const Expr *e = b->value;
  Sym name;
  bool local;
  Atom result;
  if (!r->calls || e->kind != EX_Call || r->cx->o->limit == r->cx->changes) return false;
  const Fn *f = callee_of(r, e, &name, &local);
  if (!f) return false;
  if (!name) name = str_fmt("%s.fn", r->name);
  Inside inside = {r, local ? (int)(intptr_t)map_get(&r->frame_of, map_ptr(f)) - 1 : 0};
  Callee c = {f, name, local ? given_inside : NULL, &inside};
  bool recursive =
      !local && map_get(&r->self, map_ptr(known_root(&r->known, &e->Call.callee)->global));
  if (recursive ? !unroll_into(r, e, &c, out, &result) : !expand_into(r, e, &c, out, &result))
    return false;
  deliver(r, in, b, result, out, is_tail(in, b, last));
  return true;
}

/* ---- functions ---- */

static void reduce_fn(void *ud, Fn *f) {
  Reduce *r = ud;
  int was = r->frame;
  vec_push(&r->up, was);
  r->frame = r->up.n - 1;
  map_set(&r->frame_of, map_ptr(f), (void *)(intptr_t)(r->frame + 1));
  for (int i = 0; i < f->n; i++) give_type(r, f->param[i]->type);
  reduce_block(r, f->body);
  map_set(&r->size, map_ptr(f), NULL);
  r->frame = was;
}

/* fn (x, y) { f(x, y) } is f. */
static void eta(Reduce *r, Binding *b) {
  const Fn *f = b->value->kind == EX_Fn ? b->value->Fn.fn : NULL;
  if (!r->calls || !f || f->body->n != 1) return;
  const Expr *e = f->body->at[0].value;
  const Atom *to = &e->Call.callee, *result = &f->body->result;
  if (e->kind != EX_Call || e->n_oblige || e->Call.n_args != f->n || f->n == 0) return;
  if (result->kind != ATOM_Var || result->var != f->body->at[0].var || !atom_can_be(b->var, to))
    return;
  for (int i = 0; i < f->n; i++) {
    const Atom *a = &e->Call.args[i];
    if (a->kind != ATOM_Var || a->var != f->param[i]) return;
    if (to->kind == ATOM_Var && to->var == a->var) return;
  }
  if ((to->kind == ATOM_Var && to->var == b->var) || !pass_may(r->cx)) return;
  b->value = bind_copy(b->var, *to, b->style, b->value->span).value;
}

/* ---- the walk ---- */

static void project(Reduce *r, Expr *e) {
  const Expr *t = e->kind == EX_Proj ? known_def(&r->known, &e->Proj.tuple) : NULL;
  if (!t || t->kind != EX_Tuple || e->Proj.index >= t->Tuple.n_items || !pass_may(r->cx)) return;
  Atom item = t->Tuple.items[e->Proj.index];
  e->kind = EX_Just;
  e->Just.value = item;
}

/* While unrolling, what counters become is computed at once: the next step
 * depends on it. */
static void compute_scalar(Reduce *r, Binding *b) {
  const Expr *e = b->value;
  const PassOpts *o = r->cx->o;
  bool op = e->kind == EX_Call && e->Call.callee.kind == ATOM_Op && !e->n_oblige;
  if (!r->active || !op || !o->eval || !op_call_is_total(e) || !type_is_scalar(b->var->type))
    return;
  Atom *arg = NEW_N(Atom, e->Call.n_args + 1);
  for (int i = 0; i < e->Call.n_args; i++) {
    Type *t = atom_type_of(&e->Call.args[i]);
    arg[i] = *known_root(&r->known, &e->Call.args[i]);
    if (arg[i].kind != ATOM_Const || arg[i].cst->rank || dtype_is_float(arg[i].cst->dtype)) return;
    arg[i].type = t;
  }
  Bindings closed = {0};
  Maker k = {r->cx->m, e->span, &closed};
  Atom y = mk_op_like(&k, e, b->var->type, e->Call.n_args, arg);
  y = mk_tuple(&k, 1, &y);
  const Tensor *v;
  if (!o->eval(o->eval_ud, mk_block(&k, y), y.type, 1, &v) || !pass_may(r->cx)) return;
  Atom a = atom_const(v, e->span);
  a.type = b->var->type;
  b->value = bind_copy(b->var, a, b->style, e->span).value;
}

static void reduce_into(Reduce *r, Block *b, Bindings *out) {
  static const ExprVisit visit = {NULL, reduce_block, reduce_fn};
  for (int i = 0; i < b->n; i++) {
    Binding *bd = &b->at[i];
    bool last = i == b->n - 1;
    if (splice_branch(r, b, bd, out, last) || splice_call(r, b, bd, out, last)) continue;
    project(r, bd->value);
    compute_scalar(r, bd);
    if (bd->value->kind == EX_Fn) known_put(&r->known, bd);
    for (int k = 0; bd->value->kind == EX_Match && k < bd->value->Match.n_clauses; k++)
      enter_pattern(r, bd->value->Match.clauses[k].pat);
    ir_visit(bd->value, &visit, r);
    eta(r, bd);
    put(r, out, *bd);
  }
}

static void reduce_global(Reduce *r, Global *g) {
  r->known = (Known){0};
  r->uses = (UseCount){0};
  r->given = r->frame_of = r->same.dim = (Map){0};
  vec_clear(&r->up);
  r->frame = -1;
  r->depth = 0;
  r->budget = BUDGET;
  r->name = g->name;
  if (r->calls) uses_of_fn(&r->uses, g->fn);
  reduce_fn(r, g->fn);
  if (r->same.dim.n) retype_fn(&r->same, g->fn);
}

/* ---- the module ---- */

static void mention_block(void *ud, Block *b);
static void mention_atom(void *ud, Atom *a) {
  Reduce *r = ud;
  if (a->kind != ATOM_Global) return;
  intptr_t n = (intptr_t)map_get(&r->calls_of, map_ptr(a->global));
  map_set(&r->calls_of, map_ptr(a->global), (void *)(n + 1));
}
static void mention_block(void *ud, Block *b) {
  static const ExprVisit visit = {mention_atom, mention_block, NULL};
  for (int i = 0; i < b->n; i++) ir_visit(b->at[i].value, &visit, ud);
  mention_atom(ud, &b->result);
}

/* One function of a group calls itself if its mentions grow by reading it. */
static bool calls_itself(const Global *g) {
  Reduce own = {0};
  mention_block(&own, g->fn->body);
  return map_get(&own.calls_of, map_ptr(g));
}

static void reduce_run(PassCx *cx, bool calls, bool unroll) {
  Reduce r = {.cx = cx, .calls = calls, .unroll = unroll, .same = {.cx = cx->m->cx}};
  GlobalGroups groups = global_groups(cx->m);
  for (int i = 0; calls && i < cx->m->globals.n; i++)
    mention_block(&r, cx->m->globals.at[i]->fn->body);
  for (int i = 0, at = 0; i < groups.n; at += groups.size[i++])
    for (int k = 0; calls && k < groups.size[i]; k++)
      if (groups.size[i] > 1 || calls_itself(groups.at[at])) {
        map_set(&r.recursive, map_ptr(groups.at[at + k]), &r);
        if (groups.size[i] == 1) map_set(&r.self, map_ptr(groups.at[at]), &r);
      }
  for (int i = 0; i < cx->m->globals.n; i++) reduce_global(&r, groups.at[i]);
}
static void known_run(PassCx *cx) { reduce_run(cx, false, false); }
static void inline_run(PassCx *cx) { reduce_run(cx, true, false); }
static void unroll_run(PassCx *cx) { reduce_run(cx, true, true); }

const Pass pass_known = {.name = "known",
                         .doc = "Decide projections, matches and ifs whose operand is in view.",
                         .needs = FORM_TYPED,
                         .keeps = ~0u,
                         .run = known_run};
const Pass pass_inline = {.name = "inline",
                          .doc = "Calls of functions in view that are small, called once or handle "
                                 "functions become their bodies.",
                          .needs = FORM_TYPED,
                          .keeps = ~0u,
                          .run = inline_run};
const Pass pass_unroll = {.name = "unroll",
                          .doc =
                              "inline, and recursions over known lists, data and counters become "
                              "straight code.",
                          .needs = FORM_TYPED,
                          .keeps = ~0u,
                          .run = unroll_run};
