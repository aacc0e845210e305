/* prim.c -- primitive functions, fn (...., Primitive=1) { operator calls }, in the
 * place where they are called.
 *
 * The plans of the operators inside become one list of steps over common
 * operands.  Views and aliases are set aside: a tensor is known by its root, and
 * is viewed when something asks for it.  Kernels are fused where they can be
 * (prim_fuse.c); what stays apart runs in turn, so every primitive function has code. */
#include "codegen/lower/prim.h"
#include "kernel/fuse.h"

/* What a variable of the function is: its leaves. */
typedef struct {
  Refs leaf;
} PrimVal;

/* ---- which calls -------------------------------------------------------------------- */
static bool tensors_only(Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor) return true;
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++)
    if (type_resolve(t->tuple.at[i])->kind != TY_Tensor) return false;
  return t->kind == TY_Tuple && t->tuple.n > 0;
}

static bool body_fits(const Block *b) {
  for (int i = 0; i < b->n; i++) {
    const Expr *e = b->at[i].value;
    bool op = e->kind == EX_Call && e->Call.callee.kind == ATOM_Op && e->Call.callee.op->lower;
    if (!op && e->kind != EX_Tuple && e->kind != EX_Proj && e->kind != EX_Just) return false;
    if (!tensors_only(b->at[i].var->type) || (!op && e->n_oblige)) return false;
    if (e->kind == EX_Proj && e->Proj.tuple.kind != ATOM_Var) return false;
    for (int k = 0; e->kind == EX_Tuple && k < e->Tuple.n_items; k++)
      if (e->Tuple.items[k].kind != ATOM_Var && e->Tuple.items[k].kind != ATOM_Const) return false;
  }
  return b->result.kind == ATOM_Var && b->n > 0;
}

static bool fn_fits(FnLower *f, const FnBind *b, const ExCall *c) {
  const Fn *fn = b->fn;
  const AttrVal *a = attrs_find(&fn->attrs, "Primitive");
  if (!a || (a->kind != AV_Int && a->kind != AV_Bool) || a->i == 0) return false;
  if (fn->n_vars || fn->n_dims || fn->n != c->n_args || b->paper.n > 1) return false;
  for (int i = 0; i < b->cap.n; i++)
    if (b->cap.at[i].var) return false;
  for (int i = 0; i < fn->n; i++) {
    const Atom *at = &c->args[i];
    Type *have = at->kind == ATOM_Var ? at->var->type : at->type;
    if (!tensors_only(fn->param[i]->type) || !have) return false;
    if (!type_same(fl_type(f, have), fl_type(f, fn->param[i]->type))) return false;
  }
  return body_fits(fn->body);
}

bool fl_prim_here(FnLower *f, const Expr *e) {
  if (e->kind != EX_Call || e->Call.callee.kind != ATOM_Var) return false;
  Val *val = fl_val(f, e->Call.callee.var);
  if (!val || val->kind != VAL_FN) return false;
  FnBind *b = val->fn;
  if (!b->site && fn_fits(f, b, &e->Call)) b->site = e;
  return b->site == e;
}

/* ---- the plans as items ----------------------------------------------------------------- */
static void note_operands(Prim *p) {
  while (p->root.n < p->o.p.operand.n) {
    int next = p->root.n;
    vec_push(&p->root, next);
    vec_push(&p->alias, ((Pending){0}));
    vec_push(&p->writers, 0);
  }
}

static PrimVal *set_val(Prim *p, const Var *v, int first, int n) {
  PrimVal *val = NEW(PrimVal);
  for (int i = 0; i < n; i++) vec_push(&val->leaf, first + i);
  map_set(&p->val, map_ptr(v), val);
  note_operands(p);
  return val;
}

static PrimVal *leaves_of(Prim *p, const Atom *a) {
  if (a->kind == ATOM_Var) return map_get(&p->val, map_ptr(a->var));
  PrimVal *val = NEW(PrimVal);
  vec_push(&val->leaf, p->o.p.operand.n);
  op_argument(&p->o, a, type_resolve(fl_type(p->o.f, a->type)));
  note_operands(p);
  return val;
}

static OpRef *renumber(const OpRef *in, int n, const Refs *to) {
  OpRef *out = NEW_N(OpRef, n + 1);
  for (int i = 0; i < n; i++) out[i] = to->at[in[i]];
  return out;
}

/* A view of a tensor is the tensor; a scalar seen as a tensor is a copy. */
static bool set_alias(Prim *p, const OpStep *s) {
  OpRef out = s->out[0], in = s->in[0];
  if (s->kind != STEP_VIEW && s->kind != STEP_ALIAS) return false;
  if ((plan_operand(&p->o.p, out)->rank == 0) != (plan_operand(&p->o.p, in)->rank == 0))
    return false;
  p->root.at[out] = p->root.at[in];
  p->alias.at[out] = (Pending){in, s->kind, true};
  return true;
}

static void add_step(Prim *p, const OpStep *s, const Refs *to, Span span) {
  Item it = {.step = *s, .span = span};
  it.step.in = renumber(s->in, s->n_in, to);
  it.step.out = renumber(s->out, s->n_out, to);
  if (set_alias(p, &it.step)) return;
  it.fails = prim_fails(s);
  for (int i = 0; s->kind == STEP_KERNEL && i < s->n_in; i++) {
    OpRef *r = &it.step.in[i];
    *r = p->root.at[*r];
    if (s->kernel->buf[i].role != K_IN) p->writers.at[*r]++;
  }
  vec_push(&p->item, it);
}

static void sub_operand(Prim *p, OpPlan *sub, OpRef r, Refs *to) {
  vec_push(&sub->operand, *plan_operand(&p->o.p, r));
  vec_push(to, r);
}

/* Operands of the operator's own plan: arguments, results, then its temporaries. */
static void sub_arguments(Prim *p, OpPlan *sub, const ExCall *c, Refs *to) {
  VEC(const Tensor *) cst = {0};
  vec_reserve(&cst, 1);
  sub->arg_first = NEW_N(int, c->n_args + 1);
  sub->arg_leaves = NEW_N(int, c->n_args + 1);
  for (int i = 0; i < c->n_args; i++) {
    PrimVal *v = leaves_of(p, &c->args[i]);
    sub->arg_first[i] = sub->operand.n;
    sub->arg_leaves[i] = v->leaf.n;
    for (int k = 0; k < v->leaf.n; k++) {
      sub_operand(p, sub, v->leaf.at[k], to);
      vec_push(&cst, p->o.p.constant[v->leaf.at[k]]);
    }
  }
  sub->n_in = sub->operand.n;
  sub->constant = cst.at;
}

static void new_operand(Prim *p, Type *t) {
  op_operand(&p->o, op_with_symbols(&p->o, t), 0, false, true, NULL);
}

static void sub_results(Prim *p, OpPlan *sub, const Var *v, Refs *to) {
  Type *t = type_resolve(fl_type(p->o.f, v->type));
  int first = p->o.p.operand.n, n = t->kind == TY_Tuple ? t->tuple.n : 1;
  if (t->kind == TY_Tensor) new_operand(p, t);
  for (int i = 0; t->kind == TY_Tuple && i < n; i++) new_operand(p, type_resolve(t->tuple.at[i]));
  set_val(p, v, first, n);
  for (int i = 0; i < n; i++) sub_operand(p, sub, first + i, to);
  sub->n_out = n;
}

static bool add_op(Prim *p, const Binding *b) {
  const Expr *e = b->value;
  const OpDef *op = e->Call.callee.op;
  OpPlan sub = {
      .cx = p->o.p.cx, .op = op, .attrs = e->Call.op_attrs, .span = e->span, .diags = p->o.p.diags};
  Refs to = {0};
  sub_arguments(p, &sub, &e->Call, &to);
  sub_results(p, &sub, b->var, &to);
  if (e->n_oblige) vec_push(&p->item, ((Item){.oblige = e, .span = e->span, .fails = true}));
  if (!op->lower(&sub)) return false;
  for (int i = to.n; i < sub.operand.n; i++) {
    OpOperand *t = &sub.operand.at[i];
    vec_push(&to, p->o.p.operand.n);
    op_operand(&p->o, type_tensor(t->dtype, t->rank, t->dim), 0, false, true, NULL);
  }
  note_operands(p);
  for (int i = 0; i < sub.step.n; i++) add_step(p, &sub.step.at[i], &to, e->span);
  return true;
}

static bool add_binding(Prim *p, const Binding *b) {
  const Expr *e = b->value;
  PrimVal *val = NEW(PrimVal), *from;
  switch ((int)e->kind) {
  case EX_Call: return add_op(p, b);
  case EX_Just: val = leaves_of(p, &e->Just.value); break;
  case EX_Proj:
    from = leaves_of(p, &e->Proj.tuple);
    vec_push(&val->leaf, from->leaf.at[e->Proj.index]);
    break;
  default:
    for (int i = 0; i < e->Tuple.n_items; i++) {
      from = leaves_of(p, &e->Tuple.items[i]);
      vec_push(&val->leaf, from->leaf.at[0]);
    }
  }
  map_set(&p->val, map_ptr(b->var), val);
  return true;
}

static bool collect(Prim *p, const Fn *fn, const ExCall *c) {
  FnLower *f = p->o.f;
  for (int i = 0; i < fn->n; i++) {
    int first = p->o.p.operand.n;
    op_argument(&p->o, &c->args[i], type_resolve(fl_type(f, fn->param[i]->type)));
    set_val(p, fn->param[i], first, p->o.p.operand.n - first);
  }
  p->o.p.n_in = p->o.p.operand.n;
  for (int i = 0; i < fn->body->n; i++)
    if (!add_binding(p, &fn->body->at[i])) return false;
  PrimVal *v = leaves_of(p, &fn->body->result);
  for (int i = 0; i < v->leaf.n; i++) vec_push(&p->result, v->leaf.at[i]);
  return true;
}

/* ---- emitting ------------------------------------------------------------------------- */
static void make(Prim *p, OpRef r) {
  VEC(OpRef) todo = {0};
  while (!p->o.live.at[r] && p->alias.at[r].waits) {
    vec_push(&todo, r);
    r = p->alias.at[r].in;
  }
  while (todo.n) {
    OpRef out = vec_pop(&todo);
    Pending *a = &p->alias.at[out];
    OpStep s = {.kind = a->kind, .n_in = 1, .n_out = 1, .in = &a->in, .out = &out};
    op_step(&p->o, &s);
    a->waits = false;
  }
}

/* Is r, or a view of it that is still to be made, used from item i on? */
static bool used_from(const Prim *p, OpRef r, int i) {
  for (int k = 0; k < p->result.n; k++)
    for (OpRef x = p->result.at[k];; x = p->alias.at[x].in) {
      if (x == r) return true;
      if (!p->alias.at[x].waits) break;
    }
  for (; i < p->item.n; i++) {
    const Item *it = &p->item.at[i];
    for (int k = 0; !it->gone && !it->oblige && k < it->step.n_in + it->step.n_out; k++) {
      OpRef x = k < it->step.n_in ? it->step.in[k] : it->step.out[k - it->step.n_in];
      while (x != r && p->alias.at[x].waits) x = p->alias.at[x].in;
      if (x == r) return true;
    }
  }
  return false;
}

static void drop_unused(Prim *p, int next) {
  OpLower *o = &p->o;
  for (OpRef r = 0; r < o->p.operand.n; r++) {
    if (!o->live.at[r] || !o->own.at[r] || used_from(p, r, next)) continue;
    fl_drop(o->f, o->reg.at[r]);
    o->live.at[r] = false;
    o->own.at[r] = false;
  }
}

static void emit(Prim *p) {
  FnLower *f = p->o.f;
  for (int i = 0; i < p->item.n; i++) {
    Item *it = &p->item.at[i];
    if (it->gone) continue;
    f->span = it->span;
    if (it->oblige) {
      fl_obligations(f, it->oblige);
      continue;
    }
    for (int k = 0; k < it->step.n_in; k++) make(p, it->step.in[k]);
    if (it->step.kind == STEP_KERNEL && !op_is_scalar_kernel(it->step.kernel)) {
      Kernel *flat = kernel_collapse(it->step.kernel, lower_alloc());
      if (flat) it->step.kernel = flat;
    }
    op_step(&p->o, &it->step);
    drop_unused(p, i + 1);
  }
  for (int i = 0; i < p->result.n; i++) make(p, p->result.at[i]);
}

/* An owned register for result i. */
static uint16_t take_result(Prim *p, int i) {
  OpLower *o = &p->o;
  OpRef r = p->result.at[i];
  for (int k = i + 1; k < p->result.n; k++)
    if (p->result.at[k] == r) return fl_copy(o->f, o->reg.at[r]);
  if (!o->own.at[r]) return fl_copy(o->f, o->reg.at[r]);
  o->own.at[r] = false;
  return o->reg.at[r];
}

static void deliver(Prim *p, Dest dest, VarSet *dying) {
  uint16_t *reg = NEW_N(uint16_t, p->result.n + 1);
  for (int i = 0; i < p->result.n; i++) reg[i] = take_result(p, i);
  op_deliver(&p->o, reg, dest, dying);
}

bool fl_prim(FnLower *f, Expr *e, Dest dest, VarSet *dying) {
  const Fn *fn = fl_val(f, e->Call.callee.var)->fn->fn;
  Prim p = {.o = {.f = f, .p = {.cx = f->L->cx, .span = e->span, .diags = f->L->d}}};
  if (!collect(&p, fn, &e->Call)) return false;
  prim_fuse(&p);
  emit(&p);
  for (int i = 0; i < p.result.n; i++)
    if (!p.o.live.at[p.result.at[i]])
      return diag_error(f->L->d, e->span, E0401, "a primitive function",
                        "its plan does not make every result");
  deliver(&p, dest, dying);
  return true;
}
