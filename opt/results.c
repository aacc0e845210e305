/* results.c -- what functions give and no caller takes.
 *
 *   def @f(%n) { if (%n == 0) { (0, 0f) } else { let %r = @f(%n - 1); (%r.0 + 1, exp(%r.1)) } }
 *   .. @f(9).0 ..   =   .. @f_part(9) ..   with
 *   def @f_part(%n) { if (%n == 0) { 0 } else { let %r = @f_part(%n - 1); %r + 1 } }
 *
 * A version of a function gives only the parts that a call takes.  In its body
 * what the other parts were made of is dead; what calls take then, those of the
 * function itself too, says which versions they want in turn.  So a part that a
 * recursion, of one function or of several, takes only to make the same part
 * goes.  Calls at the end stay at the end.  The function itself stays as it is
 * for those who take all of it, use it as a value or call it from outside.
 * Versions that compute no less than their originals are not made.            */
#include "opt/narrow.h"

enum { MOST_VERSIONS = 16, MAX_SIZE = 4000 }; /* for one call; bindings of a function */

typedef struct {
  Global *of, *g; /* g NULL: there is nothing to gain       */
  const Narrow *to;
  Map tail; /* Var of a call at the end -> itself     */
} Version;

typedef struct {
  PassCx *cx;
  VEC(Version) list; /* those from `first` on are drafts       */
  int first, gain;
  bool failed;
} Results;

/* A function whose calls are looked at. */
typedef struct {
  Results *r;
  Taken taken;
  const Version *draft; /* NULL if it is none                     */
  Map narrow, to;       /* Var of a call -> Narrow, version       */
} Caller;

/* ---- what is computed ---- */

static void work_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, work_block, NULL};
  for (int i = 0; i < b->n; i++) {
    ExprKind k = b->at[i].value->kind;
    *(int *)ud += k != EX_Tuple && k != EX_Proj && k != EX_Just;
    ir_visit(b->at[i].value, &visit, ud);
  }
}
static int work_of(const Global *g) {
  int n = 0;
  work_block(&n, g->fn->body);
  return n;
}

/* ---- drafts ---- */

/* Can there be a version of what e calls? */
static bool is_candidate(const Expr *e) {
  if (e->kind != EX_Call || e->Call.callee.kind != ATOM_Global || e->n_oblige) return false;
  const Fn *f = e->Call.callee.global->fn;
  Type *t = f && f->body && f->ret ? type_resolve(f->ret) : NULL;
  return t && f->n_vars == 0 && t->kind == TY_Tuple && t->tuple.n <= MOST_PARTS &&
         block_size(f->body) <= MAX_SIZE;
}

/* The block of a version gives less: so do its last ifs, matches and calls. */
static void shorten(Results *r, Version *v, Block *b, const UseCount *uses) {
  Binding *bd = result_binding(b);
  bool only = bd && !bd->value->n_oblige && uses_get(uses, bd->var) == 1;
  Expr *e = only ? bd->value : NULL;
  if (e && e->kind == EX_If) {
    shorten(r, v, e->If.then, uses);
    shorten(r, v, e->If.otherwise, uses);
  } else if (e && e->kind == EX_Match) {
    for (int i = 0; i < e->Match.n_clauses; i++) shorten(r, v, e->Match.clauses[i].body, uses);
  } else if (e && e->kind == EX_Call) {
    map_set(&v->tail, map_ptr(bd->var), bd->var);
    r->failed = r->failed || !is_candidate(e);
    return;
  } else {
    narrow_result(r->cx->m, b, v->to);
    return;
  }
  bd->var->type = e->type = b->result.type = narrow_to(type_resolve(e->type), v->to->parts)->type;
}

static void draft(Results *r, Version *v) {
  Map vars = {0};
  UseCount uses = {0};
  Global *g = v->g = NEW(Global);
  *g = (Global){.span = v->of->span, .fn = ir_clone_fn(r->cx->m->cx, v->of->fn, &vars)};
  g->fn->ret = v->to->type;
  uses_of_fn(&uses, g->fn);
  shorten(r, v, g->fn->body, &uses);
}

/* The place of the version of f that gives these parts. */
static int version_of(Results *r, Global *f, uint64_t parts) {
  for (int i = 0; i < r->list.n; i++)
    if (r->list.at[i].of == f && r->list.at[i].to->parts == parts) return i;
  Version v = {.of = f, .to = narrow_to(type_resolve(f->fn->ret), parts)};
  if (r->list.n - r->first >= MOST_VERSIONS)
    r->failed = true;
  else
    draft(r, &v);
  vec_push(&r->list, v);
  return r->list.n - 1;
}

/* ---- calls ---- */

static bool settle(Results *r, int root);

/* Which version each call wants. */
static void decide_block(void *ud, Block *b);
static void decide_fn(void *ud, Fn *f) { decide_block(ud, f->body); }
static void decide_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, decide_block, decide_fn};
  Caller *c = ud;
  Results *r = c->r;
  for (int i = 0; i < b->n; i++) {
    Binding *bd = &b->at[i];
    ir_visit(bd->value, &visit, c);
    if (!is_candidate(bd->value)) continue;
    bool tail = c->draft && map_get(&c->draft->tail, map_ptr(bd->var));
    const Narrow *w = tail ? narrow_to(type_resolve(bd->var->type), c->draft->to->parts)
                           : taken_of(&c->taken, bd);
    if (!w) continue;
    int v = version_of(r, bd->value->Call.callee.global, w->parts);
    if (!c->draft && v >= r->first && !settle(r, v)) continue;
    r->gain += v < r->first && r->list.at[v].g;
    r->failed = r->failed || (tail && !r->list.at[v].g);
    if (!r->list.at[v].g) continue;
    map_set(&c->narrow, map_ptr(bd->var), (void *)(uintptr_t)w);
    map_set(&c->to, map_ptr(bd->var), r->list.at[v].g);
  }
}

static void redirect(Expr *e, Global *g, const Narrow *w) {
  ExCall *c = &e->Call;
  Type **param = NEW_N(Type *, c->n_args + 1);
  for (int i = 0; i < c->n_args; i++) param[i] = atom_type_of(&c->args[i]);
  c->callee.global = g;
  c->callee.type = type_fn(0, NULL, 0, NULL, c->n_args, param, w->type);
  e->type = w->type;
}

static const Narrow *narrow_of(const Caller *c, const Atom *a) {
  return a->kind == ATOM_Var ? map_get(&c->narrow, map_ptr(a->var)) : NULL;
}

static void apply_block(void *ud, Block *b);
static void apply_fn(void *ud, Fn *f) { apply_block(ud, f->body); }
static void apply_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, apply_block, apply_fn};
  Caller *c = ud;
  for (int i = 0; i < b->n; i++) {
    Var *v = b->at[i].var;
    Expr *e = b->at[i].value;
    const Narrow *w = map_get(&c->narrow, map_ptr(v));
    if (w) {
      redirect(e, map_get(&c->to, map_ptr(v)), w);
      v->type = w->type;
      v->annot = NULL;
    }
    w = e->kind == EX_Proj ? narrow_of(c, &e->Proj.tuple) : NULL;
    if (w) narrow_take(w, e);
    ir_visit(e, &visit, c);
  }
  const Narrow *w = narrow_of(c, &b->result);
  if (w) b->result.type = w->type;
}

/* ---- versions ---- */

static void finish(Results *r, int at) {
  Version v = r->list.at[at];
  PassCx *cx = r->cx;
  int64_t before;
  do {
    before = cx->changes;
    narrow_global(cx, v.g);
    dce_global(cx, v.g);
  } while (cx->changes != before);
  Caller c = {.r = r, .taken = taken_in(v.g->fn), .draft = &v};
  decide_block(&c, v.g->fn->body);
  if (r->failed) return;
  apply_block(&c, v.g->fn->body);
  /* What the original is called for again is saved in one step only. */
  if (!block_calls(v.of, v.g->fn->body)) r->gain += work_of(v.of) - work_of(v.g);
  fn_own_dims(cx->m, v.g->fn);
  v.g->type = fn_type_of(v.g->fn);
}

/* Makes the version and those it wants part of the module, if that gains anything. */
static bool settle(Results *r, int root) {
  int64_t before = r->cx->changes;
  r->gain = 0;
  for (int i = root; i < r->list.n && !r->failed; i++) finish(r, i);
  bool good = !r->failed && r->gain > 0 && pass_may(r->cx);
  if (!good) {
    r->list.at[root].g = NULL;
    r->list.n = root + 1;
    r->cx->changes = before;
  }
  for (int i = root; i < r->list.n && good; i++)
    mk_enter(r->cx->m, r->list.at[i].g, r->list.at[i].of->name, "part");
  r->first = r->list.n;
  r->failed = false;
  return good;
}

static void results_run(PassCx *cx) {
  Results r = {.cx = cx};
  int n = cx->m->globals.n; /* not those that are made here */
  for (int i = 0; i < n; i++) {
    Fn *f = cx->m->globals.at[i]->fn;
    if (!f || !f->body) continue;
    Caller c = {.r = &r, .taken = taken_in(f)};
    decide_block(&c, f->body);
    apply_block(&c, f->body);
  }
}

const Pass pass_results = {.name = "results",
                           .doc = "Calls that take some parts of a tuple call a version of the "
                                  "function that gives no more.",
                           .needs = FORM_TYPED,
                           .keeps = ~0u,
                           .run = results_run};
