/* verify.c -- is a module well-formed?
 *
 * Run between passes.  Every variable is bound once in the module, and used
 * only while its binding is in scope; calls of known callees have the right
 * number of arguments; a typed module has its types.  Stops at the first
 * fault: after one, the rest of the walk means little.                       */
#include "ir/expr.h"
#include "ir/op.h"

typedef enum { VAR_IN_SCOPE = 1, VAR_CLOSED, VAR_DROPPED } VarState;
typedef struct {
  const Module *m;
  const Global *in;
  Map state; /* Var -> VarState                                */
  StrBuf *why;
  bool ok, placed; /* placed: why names the innermost binding        */
} Verify;

static void fault(Verify *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fault(Verify *v, const char *fmt, ...) {
  if (!v->ok) return;
  v->ok = false;
  if (v->in) buf_fmt(v->why, "in @%s: ", v->in->name ? v->in->name : "?");
  va_list ap;
  va_start(ap, fmt);
  buf_vfmt(v->why, fmt, ap);
  va_end(ap);
}

static const char *var_text(const Var *x) {
  return x->name ? str_fmt("%%%s (variable %d)", x->name, x->id) : str_fmt("variable %d", x->id);
}

static bool is_typed(const Verify *v) { return v->m->form & FORM_TYPED; }

/* ---- variables ---- */

static VarState state_of(const Verify *v, const Var *x) {
  return (VarState)(uintptr_t)map_get(&v->state, map_ptr(x));
}
static void set_state(Verify *v, const Var *x, VarState s) {
  map_set(&v->state, map_ptr(x), (void *)(uintptr_t)s);
}

static void bind(Verify *v, const Var *x) {
  if (!x) {
    fault(v, "a binding has no variable");
    return;
  }
  if (state_of(v, x)) fault(v, "%s is bound twice", var_text(x));
  if (is_typed(v) && !x->type) fault(v, "%s has no type", var_text(x));
  set_state(v, x, VAR_IN_SCOPE);
}

static void use(Verify *v, const Var *x) {
  if (!x) {
    fault(v, "an operand has no variable");
    return;
  }
  switch (state_of(v, x)) {
  case VAR_IN_SCOPE: return;
  case VAR_CLOSED: fault(v, "%s is used outside the block that binds it", var_text(x)); return;
  case VAR_DROPPED:
    fault(v, "%s is used, but its binding is a statement without a name", var_text(x));
    return;
  }
  fault(v, "%s is used before it is bound", var_text(x));
}

/* ---- atoms ---- */

static void check_atom(void *ud, Atom *a) {
  Verify *v = ud;
  const Global *g;
  switch (a->kind) {
  case ATOM_Var: use(v, a->var); return;
  case ATOM_Const:
    if (!a->cst) fault(v, "a constant has no value");
    return;
  case ATOM_Global:
    g = a->global;
    if (!g || g->index < 0 || g->index >= v->m->globals.n || v->m->globals.at[g->index] != g)
      fault(v, "@%s is not in the module", g && g->name ? g->name : "?");
    return;
  case ATOM_Ctor:
    if (!a->ctor) fault(v, "an operand has no constructor");
    return;
  case ATOM_Op:
    if (!a->op) fault(v, "an operand has no operator");
    return;
  case ATOM_Poison: fault(v, "poison is left from an error that was reported"); return;
  }
  fault(v, "an operand has the unknown kind %d", (int)a->kind);
}

/* ---- calls ---- */

static void check_arity(Verify *v, const ExCall *c) {
  const Atom *f = &c->callee;
  int least, most;
  const char *name;
  if (f->kind == ATOM_Global) {
    name = f->global->name;
    least = most = f->global->fn ? f->global->fn->n : 0;
  } else if (f->kind == ATOM_Ctor) {
    name = f->ctor->name;
    least = most = f->ctor->n;
  } else if (f->kind == ATOM_Op) {
    name = f->op->name;
    for (most = 0; most < OP_MAX_ARGS && f->op->args[most].name;) most++;
    least = most - f->op->optional;
  } else {
    return;
  }
  if (c->n_args < least || c->n_args > most)
    fault(v, "%s is called with %d arguments, takes %d", name, c->n_args, most);
}

/* ---- patterns ---- */

static void check_pattern(Verify *v, const Pattern *p) {
  if (!p) {
    fault(v, "a clause has no pattern");
    return;
  }
  if (p->kind == PAT_Var) bind(v, p->var);
  if (p->kind == PAT_Ctor && (!p->ctor || p->ctor->n != p->n))
    fault(v, "a pattern of %s has %d fields", p->ctor ? p->ctor->name : "?", p->n);
  for (int i = 0; i < p->n && v->ok; i++) check_pattern(v, p->at[i]);
}

static void close_pattern(Verify *v, const Pattern *p) {
  if (p->var) set_state(v, p->var, VAR_CLOSED);
  for (int i = 0; i < p->n; i++) close_pattern(v, p->at[i]);
}

/* ---- blocks ---- */

static void check_block(void *ud, Block *b);

static void check_fn(void *ud, Fn *f) {
  Verify *v = ud;
  if (!f || !f->body) {
    fault(v, "a function has no body");
    return;
  }
  for (int i = 0; i < f->n; i++) bind(v, f->param[i]);
  if (is_typed(v) && !f->ret) fault(v, "a function has no result type");
  check_block(v, f->body);
  for (int i = 0; i < f->n && v->ok; i++) set_state(v, f->param[i], VAR_CLOSED);
}

static void check_match(Verify *v, ExMatch *m) {
  check_atom(v, &m->scrutinee);
  if (m->n_clauses == 0) fault(v, "a match has no clauses");
  for (int i = 0; i < m->n_clauses && v->ok; i++) {
    check_pattern(v, m->clauses[i].pat);
    if (!v->ok) return;
    check_block(v, m->clauses[i].body);
    close_pattern(v, m->clauses[i].pat);
  }
}

static void check_expr(Verify *v, Expr *e) {
  static const ExprVisit visit = {check_atom, check_block, check_fn};
  if (!e || (unsigned)e->kind >= EX_COUNT) {
    fault(v, "a binding has no expression");
    return;
  }
  if (is_typed(v) && !e->type) fault(v, "an expression has no type");
  if (e->kind == EX_Match)
    check_match(v, &e->Match);
  else
    ir_visit(e, &visit, v);
  if (!v->ok) return;
  if (e->kind == EX_Call) check_arity(v, &e->Call);
  if (e->kind == EX_Proj && e->Proj.index < 0) fault(v, "a projection has a negative index");
  if (e->kind == EX_MatchCast && !e->MatchCast.to) fault(v, "a match_cast has no type");
}

static void check_binding(Verify *v, const Binding *b) {
  bool is_fn = b->value && b->value->kind == EX_Fn; /* may mention itself */
  if (is_fn) bind(v, b->var);
  check_expr(v, b->value);
  if (!v->ok) {
    if (b->var && !v->placed) buf_fmt(v->why, ", in the binding of %s", var_text(b->var));
    v->placed = true;
    return;
  }
  if (!is_fn) bind(v, b->var);
  if (v->ok && b->style == BIND_Seq) set_state(v, b->var, VAR_DROPPED);
}

static void check_block(void *ud, Block *b) {
  Verify *v = ud;
  if (!b) {
    fault(v, "a block is missing");
    return;
  }
  for (int i = 0; i < b->n && v->ok; i++) check_binding(v, &b->at[i]);
  if (v->ok) check_atom(v, &b->result);
  for (int i = 0; i < b->n && v->ok; i++) set_state(v, b->at[i].var, VAR_CLOSED);
}

/* ---- the module ---- */

static void check_global(Verify *v, int i) {
  const Global *g = v->m->globals.at[i];
  v->in = g;
  if (!g->name)
    fault(v, "a function has no name");
  else if (g->index != i)
    fault(v, "its index is %d, its place %d", g->index, i);
  else if (map_get(&v->m->global_by_name, map_ptr(g->name)) != g)
    fault(v, "the name leads to another function");
  if (v->ok && is_typed(v) && !g->type) fault(v, "the function has no type");
  if (v->ok) check_fn(v, g->fn);
  v->in = NULL;
}

bool ir_verify(const Module *m, StrBuf *why) {
  Verify v = {.m = m, .why = why, .ok = true};
  for (int i = 0; i < m->globals.n && v.ok; i++) check_global(&v, i);
  return v.ok;
}
