/* params.c -- a recursion's tuples in pieces, and without what it never looks at.
 *
 *   def @f(%xs, %s: (A, B), %u) { .. %s.0 .. %s.1 .. @f(%rest, (a', b'), %u) .. }
 *
 * becomes
 *
 *   def @f(%xs, %s, %u) { @f_flat(%xs, %s.0, %s.1) }
 *   def @f_flat(%xs, %s0, %s1) { let %s = (%s0, %s1); .. @f_flat(%rest, a', b') .. }
 *
 * so that no step makes a tuple only to take it apart in the next.  A tuple
 * parameter is taken apart if the steps only project it or hand it on; whole, it
 * may be used where the recursion ends.  A parameter goes if it is only handed
 * on, and every extent of its type is an axis of one that stays.              */
#include "opt/build.h"
#include "opt/known.h"

enum { MOST_FIELDS = 8 };
typedef enum { KEEP, FLAT, DROP } Fate;

typedef struct {
  Module *m;
  Global *f, *g;
  Fate *fate;
  int *whole; /* uses that are neither projections nor handed on      */
  int *used;  /* ... or projections                                   */
  bool counting;
  Known known;
  Bindings *out;
} Params;

static int index_of(const Params *p, const Atom *a) {
  for (int i = 0; a->kind == ATOM_Var && i < p->f->fn->n; i++)
    if (p->f->fn->param[i] == a->var) return i;
  return -1;
}

/* ---- how each is used ---- */

static void count_use(void *ud, Atom *a) {
  Params *p = ud;
  int i = index_of(p, a);
  if (i < 0) return;
  p->used[i]++;
  if (p->counting) p->whole[i]++;
}
static void count_block(void *ud, Block *b);
/* A literal may be called in any step. */
static void count_fn(void *ud, Fn *f) {
  Params *p = ud;
  bool was = p->counting;
  p->counting = true;
  for (int i = 0; i < f->body->n; i++)
    ir_visit(f->body->at[i].value, &(ExprVisit){count_use, count_block, count_fn}, p);
  count_use(p, &f->body->result);
  p->counting = was;
}
static void count_expr(Params *p, Expr *e) {
  static const ExprVisit visit = {count_use, count_block, count_fn};
  if (e->kind == EX_Proj && index_of(p, &e->Proj.tuple) >= 0) {
    p->used[index_of(p, &e->Proj.tuple)]++;
  } else if (calls_global(e, p->f)) {
    for (int i = 0; i < e->Call.n_args; i++)
      if (index_of(p, &e->Call.args[i]) != i) count_use(p, &e->Call.args[i]);
  } else {
    ir_visit(e, &visit, p);
  }
}
static void count_block(void *ud, Block *b) {
  Params *p = ud;
  bool was = p->counting;
  p->counting = block_calls(p->f, b);
  for (int i = 0; i < b->n; i++) count_expr(p, b->at[i].value);
  count_use(p, &b->result);
  p->counting = was;
}

/* ---- extents ---- */

static Dim note(void *ud, Dim s) {
  map_set(ud, map_ptr(s), ud);
  return NULL;
}
/* Extents that can be read from what is not dropped. */
static void axes(Map *have, Type *t) {
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++) axes(have, t->tuple.at[i]);
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++)
    map_set(have, map_ptr(t->tensor.dim[i]), have);
}
static bool can_drop(const Params *p, int i) {
  Map have = {0}, need = {0};
  for (int k = 0; k < p->f->fn->n; k++)
    if (k != i && p->fate[k] != DROP) axes(&have, p->f->fn->param[k]->type);
  type_subst(p->m->cx->dims, p->f->fn->param[i]->type, NULL, note, &need);
  for (int k = 0; k < need.n; k++)
    if (!map_get(&have, need.entry[k].key)) return false;
  return true;
}

static bool decide(Params *p) {
  bool any = false;
  for (int i = 0; i < p->f->fn->n; i++) {
    Type *t = type_resolve(p->f->fn->param[i]->type);
    bool tuple = t->kind == TY_Tuple && t->tuple.n > 0 && t->tuple.n <= MOST_FIELDS;
    if (p->used[i] == 0 && can_drop(p, i))
      p->fate[i] = DROP;
    else if (tuple && p->whole[i] == 0)
      p->fate[i] = FLAT;
    any = any || p->fate[i] != KEEP;
  }
  return any;
}

/* ---- the worker ---- */

/* The arguments of a call of f as those of the worker. */
static Atom *worker_args(const Params *p, Maker *k, const Atom *args, int *n) {
  VEC(Atom) list = {0};
  for (int i = 0; i < p->f->fn->n; i++) {
    Type *t = type_resolve(p->f->fn->param[i]->type);
    const Expr *def = p->fate[i] == FLAT ? known_def(&p->known, &args[i]) : NULL;
    bool known = def && def->kind == EX_Tuple && !def->n_oblige;
    if (p->fate[i] == KEEP) vec_push(&list, args[i]);
    for (int j = 0; p->fate[i] == FLAT && j < t->tuple.n; j++) {
      Atom field = known ? def->Tuple.items[j] : mk_proj(k, args[i], j);
      vec_push(&list, field);
    }
  }
  *n = list.n;
  vec_reserve(&list, 1);
  return list.at;
}

static void rewrite_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, rewrite_block, NULL};
  Params *p = ud;
  Bindings out = {0};
  for (int i = 0; i < b->n; i++) {
    Binding bd = b->at[i];
    Expr *e = bd.value;
    ir_visit(e, &visit, p);
    known_put(&p->known, &bd);
    if (calls_global(e, p->f)) {
      ExCall *c = &e->Call;
      Maker k = {p->m, e->span, &out};
      c->args = worker_args(p, &k, c->args, &c->n_args);
      Type **param = NEW_N(Type *, c->n_args + 1);
      for (int j = 0; j < c->n_args; j++) param[j] = atom_type_of(&c->args[j]);
      c->callee.global = p->g;
      c->callee.type = type_fn(0, NULL, 0, NULL, c->n_args, param, e->type);
    }
    vec_push(&out, bd);
  }
  b->n = out.n;
  b->at = out.at;
}

/* Its parameters; the tuples are put together again, for those who project. */
static void split_params(const Params *p, Fn *f) {
  VEC(Var *) param = {0};
  Bindings out = {0};
  Maker k = {p->m, f->span, &out};
  for (int i = 0; i < f->n; i++) {
    Var *v = f->param[i];
    Type *t = type_resolve(v->type);
    Atom field[MOST_FIELDS];
    if (p->fate[i] == KEEP) vec_push(&param, v);
    if (p->fate[i] != FLAT) continue;
    for (int j = 0; j < t->tuple.n; j++) {
      Var *part = mk_var(&k, v->name, t->tuple.at[j]);
      vec_push(&param, part);
      field[j] = atom_var(part, k.span);
    }
    Atom whole = mk_tuple(&k, t->tuple.n, field);
    v->annot = NULL;
    vec_push(&out, bind_copy(v, whole, BIND_Let, k.span));
  }
  for (int i = 0; i < f->body->n; i++) vec_push(&out, f->body->at[i]);
  f->param = param.at;
  f->n = param.n;
  f->body->n = out.n;
  f->body->at = out.at;
}

static void make_worker(Params *p) {
  Map vars = {0};
  Fn *f = ir_clone_fn(p->m->cx, p->f->fn, &vars);
  p->g = mk_global(p->m, p->f->name, "flat", f, NULL, p->f->span);
  split_params(p, f);
  rewrite_block(p, f->body);
  fn_own_dims(p->m, f);
  p->g->type = fn_type_of(f);
}

static void make_wrapper(Params *p) {
  Fn *f = p->f->fn;
  Bindings out = {0};
  Maker k = {p->m, f->body->span, &out};
  TypeArgs in = {.type = NEW_N(Type *, 1), .n_dims = f->n_dims, .dim = f->dim};
  Atom *arg = NEW_N(Atom, f->n + 1);
  Type *t = atom_type_of(&f->body->result);
  int n;
  for (int i = 0; i < f->n; i++) arg[i] = atom_var(f->param[i], k.span);
  p->known = (Known){0};
  arg = worker_args(p, &k, arg, &n);
  f->body = mk_block(&k, mk_call(&k, p->g, &in, t, n, arg));
}

static void params_global(PassCx *cx, Global *f) {
  Params p = {.m = cx->m, .f = f, .fate = NEW_N(Fate, f->fn->n + 1)};
  if (f->fn->n_vars || !block_calls(f, f->fn->body)) return;
  p.whole = NEW_N(int, f->fn->n + 1);
  p.used = NEW_N(int, f->fn->n + 1);
  count_block(&p, f->fn->body);
  if (!decide(&p) || !pass_may(cx)) return;
  make_worker(&p);
  make_wrapper(&p);
}

static void params_run(PassCx *cx) {
  int n = cx->m->globals.n; /* not those that are made here */
  for (int i = 0; i < n; i++) params_global(cx, cx->m->globals.at[i]);
}

const Pass pass_params = {.name = "params",
                          .doc = "Recursions hand on the fields of tuples, and nothing they never "
                                 "look at.",
                          .needs = FORM_TYPED,
                          .keeps = ~0u,
                          .run = params_run};
