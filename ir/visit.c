/* visit.c -- walking, copying and judging expressions.
 *
 * The walk over the operands of an expression is generated from node.def; the
 * rest of this file is written on top of it.  Recursion follows the nesting
 * of blocks, which the parser bounds, and never a chain of bindings.         */
#include "ir/expr.h"
#include "ir/op.h"

/* ---- one step down ---- */

static void visit_atom(Atom *a, const ExprVisit *v, void *ud) {
  if (v->atom) v->atom(ud, a);
}
static void visit_atoms(int n, Atom *at, const ExprVisit *v, void *ud) {
  for (int i = 0; i < n && v->atom; i++) v->atom(ud, &at[i]);
}
static void visit_block(Block *b, const ExprVisit *v, void *ud) {
  if (v->block) v->block(ud, b);
}
static void visit_fn(Fn *f, const ExprVisit *v, void *ud) {
  if (v->fn)
    v->fn(ud, f);
  else
    visit_block(f->body, v, ud);
}
static void visit_clauses(int n, Clause *at, const ExprVisit *v, void *ud) {
  for (int i = 0; i < n; i++) visit_block(at[i].body, v, ud);
}

void ir_visit(Expr *e, const ExprVisit *v, void *ud) {
  switch (e->kind) {
#define A(x) visit_atom(&p->x, v, ud);
#define AS(x) visit_atoms(p->n_##x, p->x, v, ud);
#define K(x) visit_block(p->x, v, ud);
#define F(x) visit_fn(p->x, v, ud);
#define CL(x) visit_clauses(p->n_##x, p->x, v, ud);
#define D(T, x)
#define NODE(Name, fields)                                                                         \
  case EX_##Name: {                                                                                \
    Ex##Name *p = &e->Name;                                                                        \
    fields                                                                                         \
  } break;
#include "ir/node.def"
  case EX_COUNT: break;
  }
}

/* ---- copies ---- */

typedef struct {
  IrCtx *cx;
  Map *vars;
} Clone;

static Var *clone_var(Clone *c, Var *v) {
  Var *made = ir_var(c->cx, v->name, v->span);
  made->annot = v->annot;
  made->type = v->type;
  map_set(c->vars, map_ptr(v), made);
  return made;
}

static void clone_atom(Clone *c, Atom *a) {
  void *to;
  if (a->kind == ATOM_Var && map_find(c->vars, map_ptr(a->var), &to)) a->var = to;
}

static Atom *clone_atoms(Clone *c, int n, const Atom *at) {
  Atom *made = n ? NEW_N(Atom, n) : NULL;
  for (int i = 0; i < n; i++) {
    made[i] = at[i];
    clone_atom(c, &made[i]);
  }
  return made;
}

static Pattern *clone_pattern(Clone *c, const Pattern *p) {
  Pattern *made = NEW(Pattern);
  *made = *p;
  if (p->var) made->var = clone_var(c, p->var);
  made->at = p->n ? NEW_N(Pattern *, p->n) : NULL;
  for (int i = 0; i < p->n; i++) made->at[i] = clone_pattern(c, p->at[i]);
  return made;
}

static Clause *clone_clauses(Clone *c, int n, const Clause *at) {
  Clause *made = n ? NEW_N(Clause, n) : NULL;
  for (int i = 0; i < n; i++) {
    made[i] = at[i];
    made[i].pat = clone_pattern(c, at[i].pat);
    made[i].body = ir_clone_block(c->cx, at[i].body, c->vars);
  }
  return made;
}

static Expr *clone_expr(Clone *c, const Expr *e) {
  Expr *made = NEW(Expr);
  *made = *e;
  switch (e->kind) {
#define A(x) clone_atom(c, &p->x);
#define AS(x) p->x = clone_atoms(c, p->n_##x, p->x);
#define K(x) p->x = ir_clone_block(c->cx, p->x, c->vars);
#define F(x) p->x = ir_clone_fn(c->cx, p->x, c->vars);
#define CL(x) p->x = clone_clauses(c, p->n_##x, p->x);
#define D(T, x)
#define NODE(Name, fields)                                                                         \
  case EX_##Name: {                                                                                \
    Ex##Name *p = &made->Name;                                                                     \
    fields                                                                                         \
  } break;
#include "ir/node.def"
  case EX_COUNT: break;
  }
  return made;
}

Block *ir_clone_block(IrCtx *cx, const Block *b, Map *vars) {
  Clone c = {cx, vars};
  Block *made = NEW(Block);
  *made = *b;
  made->at = b->n ? NEW_N(Binding, b->n) : NULL;
  for (int i = 0; i < b->n; i++) {
    /* The variable first: a function may mention the name it is bound to. */
    made->at[i] = b->at[i];
    made->at[i].var = clone_var(&c, b->at[i].var);
    made->at[i].value = clone_expr(&c, b->at[i].value);
  }
  clone_atom(&c, &made->result);
  return made;
}

Fn *ir_clone_fn(IrCtx *cx, const Fn *f, Map *vars) {
  Clone c = {cx, vars};
  Fn *made = NEW(Fn);
  *made = *f;
  made->param = f->n ? NEW_N(Var *, f->n) : NULL;
  for (int i = 0; i < f->n; i++) made->param[i] = clone_var(&c, f->param[i]);
  made->body = ir_clone_block(cx, f->body, vars);
  return made;
}

/* ---- free variables ---- */

/* seen: variables bound inside, and those already in out. */
typedef struct {
  Map seen;
  VarList *out;
} Free;

static void free_block(void *ud, Block *b);

static void free_atom(void *ud, Atom *a) {
  Free *f = ud;
  if (a->kind != ATOM_Var || map_get(&f->seen, map_ptr(a->var))) return;
  map_set(&f->seen, map_ptr(a->var), a->var);
  vec_push(f->out, a->var);
}

static void free_fn(void *ud, Fn *fn) {
  Free *f = ud;
  for (int i = 0; i < fn->n; i++) map_set(&f->seen, map_ptr(fn->param[i]), fn->param[i]);
  free_block(f, fn->body);
}

static void free_pattern(Free *f, const Pattern *p) {
  if (p->var) map_set(&f->seen, map_ptr(p->var), p->var);
  for (int i = 0; i < p->n; i++) free_pattern(f, p->at[i]);
}

static void free_block(void *ud, Block *b) {
  static const ExprVisit visit = {free_atom, free_block, free_fn};
  Free *f = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    map_set(&f->seen, map_ptr(b->at[i].var), b->at[i].var);
    for (int k = 0; e->kind == EX_Match && k < e->Match.n_clauses; k++)
      free_pattern(f, e->Match.clauses[k].pat);
    ir_visit(e, &visit, f);
  }
  free_atom(f, &b->result);
}

void ir_free_vars(const Fn *f, VarList *out) {
  Free state = {.out = out};
  for (int i = 0; i < out->n; i++) map_set(&state.seen, map_ptr(out->at[i]), out->at[i]);
  free_fn(&state, (Fn *)(uintptr_t)f);
}

/* ---- effects ---- */

static bool is_pure_block(const Block *b) {
  for (int i = 0; i < b->n; i++)
    if (!ir_is_pure(b->at[i].value)) return false;
  return true;
}

static bool is_pure_match(const ExMatch *m) {
  for (int i = 0; i < m->n_clauses; i++)
    if (!is_pure_block(m->clauses[i].body)) return false;
  return !m->partial;
}

bool ir_is_pure(const Expr *e) {
  switch (e->kind) {
  case EX_Just:
  case EX_Tuple:
  case EX_Proj:
  case EX_Fn: return true;
  case EX_Call: {
    const Atom *f = &e->Call.callee;
    return f->kind == ATOM_Ctor || (f->kind == ATOM_Op && (f->op->flags & OP_PURE));
  }
  case EX_If: return is_pure_block(e->If.then) && is_pure_block(e->If.otherwise);
  case EX_Match: return is_pure_match(&e->Match);
  case EX_Ref:
  case EX_RefRead:
  case EX_RefWrite:
  case EX_MatchCast: /* may fail */
  case EX_COUNT: break;
  }
  return false;
}
