/* walk.c -- uses, replacement and sizes: what every pass needs.               */
#include "ir/op.h"
#include "opt/walk.h"

void each_global(Module *m, void (*f)(void *ud, Global *g), void *ud) {
  for (int i = 0; i < m->globals.n; i++)
    if (m->globals.at[i]->fn && m->globals.at[i]->fn->body) f(ud, m->globals.at[i]);
}

/* ---- uses ---- */

typedef struct {
  UseCount *u;
  int by;
} Counting;

static void count_atom(void *ud, Atom *a) {
  Counting *c = ud;
  if (a->kind != ATOM_Var) return;
  intptr_t n = (intptr_t)map_get(&c->u->count, map_ptr(a->var));
  map_set(&c->u->count, map_ptr(a->var), (void *)(n + c->by));
}
static void count_block(void *ud, Block *b) {
  static const ExprVisit visit = {count_atom, count_block, NULL};
  for (int i = 0; i < b->n; i++) ir_visit(b->at[i].value, &visit, ud);
  count_atom(ud, &b->result);
}

void uses_of_expr(UseCount *u, Expr *e, int by) {
  ir_visit(e, &(ExprVisit){count_atom, count_block, NULL}, &(Counting){u, by});
}
void uses_of_block(UseCount *u, Block *b) { count_block(&(Counting){u, 1}, b); }
void uses_of_fn(UseCount *u, Fn *f) { uses_of_block(u, f->body); }
int uses_get(const UseCount *u, const Var *v) {
  return (int)(intptr_t)map_get(&u->count, map_ptr(v));
}

/* ---- replacement ---- */

bool type_is_mono(Type *t) {
  t = t ? type_resolve(t) : NULL;
  return t && (t->kind != TY_Fn || (t->fn.n_vars == 0 && t->fn.n_dims == 0));
}

bool type_has_fn(Type *t) {
  t = t ? type_resolve(t) : NULL;
  for (int i = 0; t && t->kind == TY_Tuple && i < t->tuple.n; i++)
    if (type_has_fn(t->tuple.at[i])) return true;
  return t && t->kind == TY_Fn;
}

void type_axes(Map *have, Type *t) {
  t = t ? type_resolve(t) : NULL;
  for (int i = 0; t && t->kind == TY_Tensor && i < t->tensor.rank; i++)
    map_set(have, map_ptr(t->tensor.dim[i]), have);
}

void replace_set(Replace *r, const Var *v, const Atom *by) {
  Atom *a = NEW(Atom);
  *a = *by;
  map_set(&r->to, map_ptr(v), a);
}

void replace_atom(const Replace *r, Atom *a) {
  while (a->kind == ATOM_Var) {
    const Atom *to = map_get(&r->to, map_ptr(a->var));
    if (!to) return;
    Span span = a->span;
    Type *type = a->type;
    *a = *to;
    a->span = span;
    if (type) a->type = type;
  }
}

static Type *atom_value_type(const Atom *a) {
  return a->kind == ATOM_Var ? a->var->type : a->kind == ATOM_Global ? a->global->type : a->type;
}

bool atom_can_be(const Var *v, const Atom *a) {
  Type *t = atom_value_type(a);
  if (a->kind == ATOM_Op || a->kind == ATOM_Poison || !v->type || !t) return false;
  if (a->kind == ATOM_Ctor && a->ctor->n) return false;
  return type_is_mono(v->type) && type_is_mono(t) && type_same(v->type, t);
}

Binding bind_copy(Var *v, Atom a, BindStyle style, Span span) {
  Expr *e = ir_just(a, span);
  e->type = v->type;
  return (Binding){v, e, style};
}

bool is_transparent(const Expr *e) {
  if (e->n_oblige) return false;
  return e->kind == EX_Tuple || (e->kind == EX_Call && e->Call.callee.kind == ATOM_Ctor) ||
         (e->kind == EX_Just && e->Just.value.kind != ATOM_Var);
}

/* ---- operators that cannot fail ---- */

static bool is_static(Type *t) {
  int64_t v;
  t = t ? type_resolve(t) : NULL;
  if (!t) return false;
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++)
    if (!is_static(t->tuple.at[i])) return false;
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++)
    if (!dim_is_const(t->tensor.dim[i], &v) || v < 1) return false;
  return t->kind == TY_Tensor || t->kind == TY_Tuple;
}

/* Do tensors of these types surely have as many elements?  Equal extents cancel out, so that the
 * others must be constants. */
static bool same_count(Type *x, Type *y) {
  int64_t v, left = 1, right = 1;
  bool taken[MAX_RANK] = {0};
  if (x->kind != TY_Tensor || y->kind != TY_Tensor) return false;
  for (int i = 0; i < x->tensor.rank; i++) {
    int j = 0;
    while (j < y->tensor.rank && (taken[j] || !dim_equal(x->tensor.dim[i], y->tensor.dim[j]))) j++;
    if (j < y->tensor.rank)
      taken[j] = true;
    else if (!dim_is_const(x->tensor.dim[i], &v) || __builtin_mul_overflow(left, v, &left))
      return false;
  }
  for (int j = 0; j < y->tensor.rank; j++)
    if (!taken[j] &&
        (!dim_is_const(y->tensor.dim[j], &v) || __builtin_mul_overflow(right, v, &right)))
      return false;
  return left == right;
}

bool op_call_is_total(const Expr *e) {
  unsigned flags = e->Call.callee.op->flags;
  Type *t = type_resolve(e->type);
  if (!(flags & OP_PURE)) return false;
  if (flags & OP_TOTAL) return true;
  if ((flags & OP_TOTAL_FLOAT) && t->kind == TY_Tensor && dtype_is_float(t->tensor.dtype))
    return true;
  if ((flags & OP_TOTAL_COUNT) && same_count(type_resolve(atom_value_type(e->Call.args)), t))
    return true;
  bool all = (flags & OP_TOTAL_STATIC) && is_static(t);
  for (int i = 0; i < e->Call.n_args && all; i++)
    all = is_static(atom_value_type(&e->Call.args[i]));
  return all;
}

static bool block_can_go(const Block *b) {
  for (int i = 0; i < b->n; i++)
    if (!expr_can_go(b->at[i].value)) return false;
  return true;
}

bool expr_can_go(const Expr *e) {
  if (e->n_oblige) return false;
  switch (e->kind) {
  case EX_Just:
  case EX_Tuple:
  case EX_Proj:
  case EX_Fn:
  case EX_Ref: return true;
  case EX_Call:
    if (e->Call.callee.kind == ATOM_Ctor) return true;
    return e->Call.callee.kind == ATOM_Op && op_call_is_total(e);
  case EX_If: return block_can_go(e->If.then) && block_can_go(e->If.otherwise);
  case EX_Match:
    for (int i = 0; i < e->Match.n_clauses; i++)
      if (!block_can_go(e->Match.clauses[i].body)) return false;
    return !e->Match.partial;
  case EX_RefRead:
  case EX_RefWrite:
  case EX_MatchCast:
  case EX_COUNT: break;
  }
  return false;
}

/* ---- size ---- */

static void size_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, size_block, NULL};
  *(int *)ud += b->n;
  for (int i = 0; i < b->n; i++) ir_visit(b->at[i].value, &visit, ud);
}
int block_size(const Block *b) {
  int n = 0;
  size_block(&n, (Block *)(uintptr_t)b);
  return n;
}

bool calls_global(const Expr *e, const Global *f) {
  return e->kind == EX_Call && e->Call.callee.kind == ATOM_Global && e->Call.callee.global == f;
}

typedef struct {
  const Global *f;
  void (*see)(void *ud, const Expr *call);
  void *ud;
} Calls;
static void calls_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, calls_block, NULL};
  Calls *s = ud;
  for (int i = 0; i < b->n; i++) {
    ir_visit(b->at[i].value, &visit, s);
    if (calls_global(b->at[i].value, s->f)) s->see(s->ud, b->at[i].value);
  }
}

void each_call_of(const Global *f, Block *b, void (*see)(void *ud, const Expr *call), void *ud) {
  calls_block(&(Calls){f, see, ud}, b);
}

static void note_call(void *ud, const Expr *call) {
  (void)call;
  *(bool *)ud = true;
}

bool block_calls(const Global *f, Block *b) {
  bool any = false;
  each_call_of(f, b, note_call, &any);
  return any;
}

typedef struct {
  const Fn *fn;
  bool *fixed, calls;
} Keeps;
static void call_keeps(void *ud, const Expr *call) {
  Keeps *s = ud;
  s->calls = true;
  for (int k = 0; k < call->Call.n_args; k++) {
    const Atom *a = &call->Call.args[k];
    if (a->kind != ATOM_Var || a->var != s->fn->param[k]) s->fixed[k] = false;
  }
}

bool keeps_params(const Global *f, Block *b, bool *fixed) {
  Keeps s = {f->fn, fixed, false};
  each_call_of(f, b, call_keeps, &s);
  return s.calls;
}

Binding *result_binding(Block *b) {
  for (int i = b->n - 1; i >= 0 && b->result.kind == ATOM_Var; i--)
    if (b->at[i].var == b->result.var) return &b->at[i];
  return NULL;
}
