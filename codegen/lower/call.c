/* call.c -- the expression forms other than match: calls, closures, cells,
 * references, conditionals.                                                   */
#include "codegen/lower/lower_priv.h"

/* ---- local functions ---------------------------------------------------------------- */
typedef struct {
  FnLower *f;
  FnBind *b;
  Map seen;
  Map homes;
} Capturing;

static void capture_var(Capturing *c, Var *v) {
  Val *val = map_get(&c->f->val, map_ptr(v));
  if (map_get(&c->seen, map_ptr(v))) return;
  map_set(&c->seen, map_ptr(v), v);
  if (!val || val->kind == VAL_REG || val->kind == VAL_NONE) {
    vec_push(&c->b->cap, ((Capture){v, NULL, low_itype(c->f->L, fl_type(c->f, v->type))}));
    return;
  }
  vec_push(&c->b->paper, ((PaperVal){v, *val}));
  if (val->kind == VAL_ALIAS) capture_var(c, val->of);
  for (int i = 0; val->kind == VAL_TUPLE && i < val->n; i++) capture_var(c, val->leaf[i]);
  if (val->kind != VAL_FN) return;
  for (int i = 0; i < val->fn->paper.n; i++) capture_var(c, val->fn->paper.at[i].var);
  for (int i = 0; i < val->fn->cap.n; i++) {
    Capture *k = &val->fn->cap.at[i];
    if (k->var)
      capture_var(c, k->var);
    else if (!map_get(&c->homes, map_ptr(k->dim))) {
      map_set(&c->homes, map_ptr(k->dim), c);
      vec_push(&c->b->cap, *k);
    }
  }
}

/* A symbol is at home in the function if a captured variable, a parameter or
 * an earlier binding has it alone as an axis; others come in as captures. */
static void need_sym(void *ud, Dim s) {
  Capturing *c = ud;
  if (map_get(&c->homes, map_ptr(s))) return;
  map_set(&c->homes, map_ptr(s), c);
  vec_push(&c->b->cap, ((Capture){NULL, s, low_scalar(c->f->L, DT_i64)}));
}
static void dims_of_var(Capturing *c, const Var *v) {
  Type *t = v->type ? type_resolve(v->type) : NULL;
  if (!t || t->kind != TY_Tensor) return;
  for (int i = 0; i < t->tensor.rank; i++)
    if (t->tensor.dim[i]->kind == DIM_Sym) map_set(&c->homes, map_ptr(t->tensor.dim[i]), c);
  for (int i = 0; i < t->tensor.rank; i++) dim_visit_syms(t->tensor.dim[i], need_sym, c);
}
static void dims_of_pattern(Capturing *c, const Pattern *p) {
  if (p->kind == PAT_Var) dims_of_var(c, p->var);
  for (int i = 0; i < p->n; i++) dims_of_pattern(c, p->at[i]);
}
static void dims_of_block(void *ud, Block *b);
static void dims_of_fn(void *ud, Fn *fn) {
  for (int i = 0; i < fn->n; i++) dims_of_var(ud, fn->param[i]);
  dims_of_block(ud, fn->body);
}
static void ignore_atom(void *ud, Atom *a) { (void)ud, (void)a; }

/* What a check asks of a value that it is about is read there (fl_obligations),
 * unless it is known where the function is made. */
typedef struct {
  Capturing *c;
  Map shown;
} Checked;
static void show_syms(Checked *k, Type *t) {
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++) show_syms(k, t->tuple.at[i]);
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++)
    if (t->tensor.dim[i]->kind == DIM_Sym && !fl_dim_known(k->c->f, t->tensor.dim[i]))
      map_set(&k->shown, map_ptr(t->tensor.dim[i]), k);
}
static void show_value(void *ud, Atom *a) {
  Type *t = a->kind == ATOM_Var && a->var->type ? type_resolve(a->var->type) : NULL;
  if (t && (t->kind == TY_Tuple || t->kind == TY_Tensor)) show_syms(ud, t);
}
static void ignore_block(void *ud, Block *b) { (void)ud, (void)b; }
static void ignore_fn(void *ud, Fn *fn) { (void)ud, (void)fn; }
static void need_checked(void *ud, Dim s) {
  Checked *k = ud;
  if (!map_get(&k->shown, map_ptr(s))) need_sym(k->c, s);
}
static void dims_of_checks(Capturing *c, Expr *e) {
  if (e->n_oblige == 0) return;
  Checked k = {.c = c};
  ir_visit(e, &(ExprVisit){show_value, ignore_block, ignore_fn}, &k);
  for (int i = 0; i < e->n_oblige; i++) {
    dim_visit_syms(e->oblige[i].a, need_checked, &k);
    dim_visit_syms(e->oblige[i].b, need_checked, &k);
  }
}

static void dims_of_block(void *ud, Block *b) {
  Capturing *c = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    dims_of_checks(c, e);
    for (int k = 0; e->kind == EX_Match && k < e->Match.n_clauses; k++)
      dims_of_pattern(c, e->Match.clauses[k].pat);
    ir_visit(e, &(ExprVisit){ignore_atom, dims_of_block, dims_of_fn}, c);
    dims_of_var(c, b->at[i].var);
  }
}

FnBind *fn_bind(FnLower *f, const Fn *fn, Var *self) {
  FnBind *b = NEW(FnBind);
  *b = (FnBind){.fn = fn, .self = self, .env = f->env};
  Capturing c = {.f = f, .b = b};
  VarList free = {0};
  map_set(&c.seen, map_ptr(self), self);
  vec_push(&b->paper, ((PaperVal){self, {.kind = VAL_FN, .fn = b}}));
  ir_free_vars(fn, &free);
  for (int i = 0; i < free.n; i++) capture_var(&c, free.at[i]);
  int n_vars = b->cap.n;
  for (int i = 0; i < n_vars; i++) {
    Type *t = b->cap.at[i].var ? type_resolve(b->cap.at[i].var->type) : NULL;
    for (int k = 0; t && t->kind == TY_Tensor && k < t->tensor.rank; k++)
      if (t->tensor.dim[k]->kind == DIM_Sym) map_set(&c.homes, map_ptr(t->tensor.dim[k]), &c);
  }
  dims_of_fn(&c, (Fn *)fn);
  return b;
}

static uint32_t local_instance(FnLower *f, FnBind *b, Type *type) {
  const TyEnv *env = b->env;
  Type *scheme = b->self->type ? type_resolve(b->self->type) : NULL;
  if (b->fn->n_vars > 0 && scheme) env = ty_match(f->L->cx, scheme, type, env);
  Sym name = b->self->name ? b->self->name : sym(f->L->cx->syms, str_fmt("%s.fn", f->inst->name));
  return low_instance(f->L, b->fn, name, env, b);
}

/* ---- operand lists -------------------------------------------------------------------- */
typedef struct {
  VEC(uint32_t) word;
  VEC(uint16_t) own;
} Operands;

static void push_atom(FnLower *f, Operands *o, const Atom *a, VarSet *dying) {
  uint16_t r = fl_take(f, a, dying);
  vec_push(&o->word, r);
  vec_push(&o->own, r);
}
static void push_captures(FnLower *f, Operands *o, FnBind *b, VarSet *dying) {
  for (int i = 0; i < b->cap.n; i++) {
    Capture *c = &b->cap.at[i];
    if (c->var) {
      Atom a = {.kind = ATOM_Var, .var = c->var, .type = c->var->type};
      push_atom(f, o, &a, dying);
    } else {
      vec_push(&o->word, fl_dim(f, c->dim));
    }
  }
}
static void release_all(FnLower *f, Operands *o) {
  for (int i = 0; i < o->own.n; i++) fl_release(f, o->own.at[i]);
}

/* Emit op with its pool and deliver; tail: a call that leaves this frame. */
static void finish(FnLower *f, Dest dest, OpCode op, OpCode tail_op, uint32_t itype, Operands *o) {
  bool tail = dest.tail && tail_op != op;
  uint16_t to = tail ? 0 : fl_reg(f, itype);
  fl_insw(f, tail ? tail_op : op, to, fl_pool(f, o->word.at, o->word.n));
  release_all(f, o);
  if (tail)
    f->dead = true;
  else
    fl_deliver(f, dest, to);
}

uint16_t fl_closure(FnLower *f, FnBind *b, Type *type, VarSet *dying) {
  Operands o = {0};
  uint32_t itype = low_itype(f->L, type);
  vec_push(&o.word, itype);
  vec_push(&o.word, local_instance(f, b, type));
  vec_push(&o.word, (uint32_t)b->cap.n);
  push_captures(f, &o, b, dying);
  release_all(f, &o);
  uint16_t to = fl_reg(f, itype);
  fl_insw(f, OP_CLOSURE, to, fl_pool(f, o.word.at, o.word.n));
  return to;
}

/* ---- calls ------------------------------------------------------------------------------- */
static bool call_known(FnLower *f, Expr *e, Dest dest, VarSet *dying, uint32_t func, FnBind *b) {
  ExCall *c = &e->Call;
  Operands o = {0};
  vec_push(&o.word, func);
  vec_push(&o.word, (uint32_t)((b ? b->cap.n : 0) + c->n_args));
  if (b) push_captures(f, &o, b, dying);
  for (int i = 0; i < c->n_args; i++) push_atom(f, &o, &c->args[i], dying);
  fl_drop_dying(f, dying);
  finish(f, dest, OP_CALL, OP_TAILCALL, low_itype(f->L, fl_type(f, e->type)), &o);
  return true;
}

static bool call_closure(FnLower *f, Expr *e, Dest dest, VarSet *dying) {
  ExCall *c = &e->Call;
  Operands o = {0};
  push_atom(f, &o, &c->callee, dying);
  vec_push(&o.word, (uint32_t)c->n_args);
  for (int i = 0; i < c->n_args; i++) push_atom(f, &o, &c->args[i], dying);
  fl_drop_dying(f, dying);
  finish(f, dest, OP_CALLC, OP_TAILCALLC, low_itype(f->L, fl_type(f, e->type)), &o);
  return true;
}

static bool data(FnLower *f, Expr *e, Dest dest, VarSet *dying, int ctor, int n, const Atom *arg) {
  Operands o = {0};
  uint32_t type = low_itype(f->L, fl_type(f, e->type));
  vec_push(&o.word, type);
  vec_push(&o.word, (uint32_t)ctor);
  vec_push(&o.word, (uint32_t)n);
  for (int i = 0; i < n; i++) push_atom(f, &o, &arg[i], dying);
  fl_drop_dying(f, dying);
  finish(f, dest, OP_DATA, OP_DATA, type, &o);
  return true;
}

static bool lower_call(FnLower *f, Expr *e, Dest dest, VarSet *dying) {
  Atom *callee = &e->Call.callee;
  Val *val;
  switch (callee->kind) {
  case ATOM_Op: return fl_op(f, e, dest, dying);
  case ATOM_Ctor: return data(f, e, dest, dying, callee->ctor->tag, e->Call.n_args, e->Call.args);
  case ATOM_Global: {
    const TyEnv *env = ty_match(f->L->cx, callee->global->type, fl_type(f, callee->type), NULL);
    return call_known(f, e, dest, dying,
                      low_instance(f->L, callee->global->fn, callee->global->name, env, NULL),
                      NULL);
  }
  case ATOM_Var:
    val = fl_val(f, callee->var);
    if (val && val->kind == VAL_ATOM) {
      Expr direct = *e;
      Type *type = callee->type ? callee->type : val->atom.type;
      direct.Call.callee = val->atom;
      direct.Call.callee.type = type;
      return lower_call(f, &direct, dest, dying);
    }
    if (fl_prim_here(f, e)) return fl_prim(f, e, dest, dying);
    if (val && val->kind == VAL_FN)
      return call_known(f, e, dest, dying, local_instance(f, val->fn, fl_type(f, callee->type)),
                        val->fn);
    return call_closure(f, e, dest, dying);
  case ATOM_Const:
  case ATOM_Poison: break;
  }
  return fl_unsupported(f, "a call", "its callee is not a function");
}

/* ---- the other forms ----------------------------------------------------------------------- */
static bool proj(FnLower *f, Expr *e, Dest dest, VarSet *dying) {
  Borrow t = fl_borrow(f, &e->Proj.tuple);
  uint16_t to = fl_reg(f, low_itype(f->L, fl_type(f, e->type)));
  fl_ins(f, OP_FIELD, to, t.reg, (uint16_t)e->Proj.index);
  fl_unborrow(f, t);
  fl_drop_dying(f, dying);
  fl_deliver(f, dest, to);
  return true;
}

/* Where the branches of e put its value, one register for all of them. */
static Dest shared_dest(FnLower *f, const Expr *e, Dest dest) {
  if (!dest.var) return dest;
  return (Dest){.reg = fl_reserve(f, low_itype(f->L, fl_type(f, e->type)))};
}

static bool if_(FnLower *f, Expr *e, Dest dest, VarSet *dying) {
  Dest to = shared_dest(f, e, dest);
  Borrow c = fl_borrow(f, &e->If.cond);
  uint32_t other = fl_label_new(f);
  fl_unless(f, c.reg, other);
  fl_unborrow(f, c);
  Fork k = fl_fork(f, to, dying);
  if (!fl_block(f, e->If.then, to, dying)) return false;
  fl_fork_leave(f, &k);
  fl_fork_branch(f, &k);
  fl_label_here(f, other);
  if (!fl_block(f, e->If.otherwise, to, dying)) return false;
  fl_fork_leave(f, &k);
  fl_fork_join(f, &k);
  if (dest.var) fl_bind_reg(f, dest.var, to.reg);
  return true;
}

static bool match(FnLower *f, Expr *e, Dest dest, VarSet *dying) {
  Dest to = shared_dest(f, e, dest);
  if (!fl_match(f, e, to, dying)) return false;
  if (dest.var) fl_bind_reg(f, dest.var, to.reg);
  return true;
}

static bool ref_read(FnLower *f, Expr *e, Dest dest, VarSet *dying) {
  Borrow r = fl_borrow(f, &e->RefRead.ref);
  uint16_t to = fl_reg(f, low_itype(f->L, fl_type(f, e->type)));
  fl_ins(f, OP_REFGET, to, r.reg, 0);
  fl_unborrow(f, r);
  fl_drop_dying(f, dying);
  fl_deliver(f, dest, to);
  return true;
}

static bool ref_write(FnLower *f, Expr *e, Dest dest, VarSet *dying) {
  uint16_t value = fl_take(f, &e->RefWrite.value, dying);
  Borrow r = fl_borrow(f, &e->RefWrite.ref);
  fl_ins(f, OP_REFSET, r.reg, value, 0);
  fl_release(f, value);
  fl_unborrow(f, r);
  fl_drop_dying(f, dying);
  uint32_t unit = low_itype(f->L, type_tuple(0, NULL));
  uint16_t to = fl_reg(f, unit);
  fl_insw(f, OP_DATA, to, fl_pool(f, (uint32_t[]){unit, 0, 0}, 3));
  fl_deliver(f, dest, to);
  return true;
}

static bool one_operand(FnLower *f, Expr *e, Dest dest, VarSet *dying, const Atom *a) {
  uint16_t r = fl_take(f, a, dying);
  fl_drop_dying(f, dying);
  if (e->kind == EX_Ref) {
    fl_release(f, r);
    uint32_t type = low_itype(f->L, fl_type(f, e->type));
    uint16_t to = fl_reg(f, type);
    fl_ins(f, OP_REF, to, r, (uint16_t)type);
    r = to;
  }
  if (e->kind == EX_MatchCast) {
    fl_dims_of_type(f, e->type, r);
    fl_obligations(f, e);
  }
  fl_deliver(f, dest, r);
  return true;
}

bool fl_expr(FnLower *f, Expr *e, Dest dest, VarSet *dying) {
  f->span = e->span;
  if (e->kind != EX_MatchCast && !(e->kind == EX_Call && e->Call.callee.kind == ATOM_Op))
    fl_obligations(f, e);
  switch (e->kind) {
  case EX_Just: return one_operand(f, e, dest, dying, &e->Just.value);
  case EX_Call: return lower_call(f, e, dest, dying);
  case EX_Tuple: return data(f, e, dest, dying, 0, e->Tuple.n_items, e->Tuple.items);
  case EX_Proj: return proj(f, e, dest, dying);
  case EX_If: return if_(f, e, dest, dying);
  case EX_Match: return match(f, e, dest, dying);
  case EX_Ref: return one_operand(f, e, dest, dying, &e->Ref.value);
  case EX_RefRead: return ref_read(f, e, dest, dying);
  case EX_RefWrite: return ref_write(f, e, dest, dying);
  case EX_MatchCast: return one_operand(f, e, dest, dying, &e->MatchCast.value);
  case EX_Fn:
  case EX_COUNT: break;
  }
  return fl_unsupported(f, "an expression", "unknown form");
}
