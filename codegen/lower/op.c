/* op.c -- operator calls: the plan the record makes, as bytecode.
 *
 * A kernel whose buffers are all scalars and whose body is one store becomes
 * scalar instructions: the operator's meaning stays its kernel.               */
#include "codegen/lower/op_lower.h"
#include "kernel/build.h"
#include "kernel/fuse.h"

/* ---- setting up ------------------------------------------------------------------------ */
void op_operand(OpLower *o, Type *t, uint16_t reg, bool live, bool own, const Tensor *value) {
  OpOperand d = {.dtype = t->tensor.dtype, .rank = t->tensor.rank};
  for (int i = 0; i < d.rank; i++) d.dim[i] = t->tensor.dim[i];
  vec_push(&o->p.operand, d);
  vec_push(&o->reg, reg);
  vec_push(&o->live, live);
  vec_push(&o->own, own);
  if (live) fl_dims_of_type(o->f, t, reg);
  o->p.constant = mem_grow(o->p.constant, sizeof(Tensor *) * (size_t)(o->p.operand.n - 1),
                           sizeof(Tensor *) * (size_t)o->p.operand.n);
  o->p.constant[o->p.operand.n - 1] = value;
}

static void leaf_atom(OpLower *o, Type *t, const Atom *a) {
  Val *val = a->kind == ATOM_Var ? fl_val(o->f, a->var) : NULL;
  const Atom *it = val && val->kind == VAL_ATOM ? &val->atom : a;
  Borrow b = fl_borrow(o->f, a);
  op_operand(o, t, b.reg, true, b.temp, it->kind == ATOM_Const ? it->cst : NULL);
}

static void tuple_arg(OpLower *o, const Atom *a, Type *t) {
  FnLower *f = o->f;
  Val *val = a->kind == ATOM_Var ? fl_val(f, a->var) : NULL;
  if (val && val->kind == VAL_TUPLE) {
    for (int i = 0; i < val->n; i++) {
      Atom leaf = {.kind = ATOM_Var, .var = val->leaf[i], .type = val->leaf[i]->type};
      leaf_atom(o, type_resolve(fl_type(f, t->tuple.at[i])), &leaf);
    }
    return;
  }
  Borrow b = fl_borrow(f, a);
  for (int i = 0; i < t->tuple.n; i++) {
    Type *lt = type_resolve(fl_type(f, t->tuple.at[i]));
    uint16_t r = fl_reg(f, low_itype(f->L, lt));
    fl_ins(f, OP_FIELD, r, b.reg, (uint16_t)i);
    op_operand(o, lt, r, true, true, NULL);
  }
  fl_unborrow(f, b);
}

void op_argument(OpLower *o, const Atom *a, Type *t) {
  if (t->kind == TY_Tuple)
    tuple_arg(o, a, t);
  else
    leaf_atom(o, t, a);
}

static void arguments(OpLower *o, const ExCall *c) {
  o->p.arg_first = NEW_N(int, c->n_args + 1);
  o->p.arg_leaves = NEW_N(int, c->n_args + 1);
  for (int i = 0; i < c->n_args; i++) {
    const Atom *a = &c->args[i];
    Type *t = type_resolve(fl_type(o->f, a->kind == ATOM_Var ? a->var->type : a->type));
    o->p.arg_first[i] = o->p.operand.n;
    op_argument(o, a, t);
    o->p.arg_leaves[i] = o->p.operand.n - o->p.arg_first[i];
  }
  o->p.n_in = o->p.operand.n;
}

/* An extent nobody knows before the call gets a symbol that the plan binds. */
Type *op_with_symbols(OpLower *o, Type *t) {
  Dim dim[MAX_RANK];
  for (int i = 0; i < t->tensor.rank; i++) {
    dim[i] = t->tensor.dim[i];
    if (dim_has_any(dim[i])) dim[i] = dim_new_sym(o->p.cx->dims, NULL, 0);
  }
  return type_tensor(t->tensor.dtype, t->tensor.rank, dim);
}
static void results(OpLower *o, Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor)
    op_operand(o, op_with_symbols(o, t), 0, false, true, NULL);
  else
    for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++)
      op_operand(o, op_with_symbols(o, type_resolve(t->tuple.at[i])), 0, false, true, NULL);
  o->p.n_out = o->p.operand.n - o->p.n_in;
}

static uint32_t operand_type(OpLower *o, OpRef r) {
  OpOperand *x = plan_operand(&o->p, r);
  return x->rank ? low_tensor(o->f->L, x->dtype, x->rank) : low_scalar(o->f->L, x->dtype);
}
/* Temporaries come after the results as the plan makes them. */
static void track_temps(OpLower *o) {
  while (o->reg.n < o->p.operand.n) {
    vec_push(&o->reg, 0);
    vec_push(&o->live, false);
    vec_push(&o->own, true);
  }
}
static void set_reg(OpLower *o, OpRef r, uint16_t reg) { o->reg.at[r] = reg, o->live.at[r] = true; }

static void alloc(OpLower *o, OpRef r) {
  OpOperand *x = plan_operand(&o->p, r);
  uint32_t w[2 + MAX_RANK] = {operand_type(o, r), (uint32_t)x->rank};
  for (int i = 0; i < x->rank; i++) w[2 + i] = fl_dim(o->f, x->dim[i]);
  set_reg(o, r, fl_reg(o->f, w[0]));
  fl_insw(o->f, OP_ALLOC, o->reg.at[r], fl_pool(o->f, w, 2 + x->rank));
}

/* ---- scalar kernels ---------------------------------------------------------------------- */
/* One store of an expression, every buffer a scalar. */
bool op_is_scalar_kernel(const Kernel *k) {
  if (k->n_stmts != 1 || k->stmt[0].kind != KS_Store || k->n_bufs != k->n_params) return false;
  for (uint32_t i = 0; i < k->n_bufs; i++)
    if (k->buf[i].rank != 0 || k->buf[i].role == K_INOUT) return false;
  for (uint32_t i = 0; i < k->n_nodes; i++)
    if (k->node[i].kind == KN_Bits || k->node[i].kind == KN_LoadOr || k->node[i].kind == KN_Var)
      return false;
  return true;
}

typedef struct {
  uint16_t reg;
  bool done, own;
} NodeReg;

static Tensor *node_const(const KNode *n) {
  Tensor *t = tensor_new((DType)n->dtype, 0, NULL);
  memcpy(t->bytes, &n->bits, (size_t)dtype_bytes(t->dtype));
  return t;
}

static void eval_node(OpLower *o, const OpStep *s, const Kernel *k, KE e, NodeReg *done) {
  FnLower *f = o->f;
  const KNode *n = &k->node[e];
  NodeReg r = {.done = true, .own = true};
  switch ((KNodeKind)n->kind) {
  case KN_Const: r.reg = fl_const(f, node_const(n)); break;
  case KN_Sym: r.reg = fl_dim(f, s->dim[n->a]), r.own = false; break;
  case KN_Load: r.reg = o->reg.at[s->in[n->a]], r.own = false; break;
  case KN_Cast:
    r.reg = fl_reg(f, low_scalar(f->L, (DType)n->dtype));
    fl_ins(f, OP_CAST, r.reg, done[n->a].reg, n->dtype);
    break;
  case KN_Op:
    r.reg = fl_reg(f, low_scalar(f->L, (DType)n->dtype));
    if (n->op == S_select)
      fl_insw(f, OP_SELECT, r.reg,
              fl_pool(f, (uint32_t[]){done[n->a].reg, done[n->b].reg, done[n->c].reg}, 3));
    else
      fl_ins(f, (OpCode)(OP_SCALAR + n->op * 16 + k->node[n->a].dtype), r.reg, done[n->a].reg,
             sop_info[n->op].arity > 1 ? done[n->b].reg : 0);
    break;
  case KN_Var:
  case KN_Bits:
  case KN_LoadOr: break;
  }
  done[e] = r;
}

static void mark_needed(const Kernel *k, KE root, bool *need) {
  need[root] = true;
  for (KE e = root + 1; e-- > 0;) {
    if (!need[e]) continue;
    const KNode *n = &k->node[e];
    if (n->kind == KN_Cast) need[n->a] = true;
    if (n->kind != KN_Op) continue;
    int arity = sop_info[n->op].arity;
    need[n->a] = true;
    if (arity > 1) need[n->b] = true;
    if (arity > 2) need[n->c] = true;
  }
}

static void scalar_kernel(OpLower *o, const OpStep *s, const Kernel *k) {
  FnLower *f = o->f;
  KE root = k->stmt[0].c;
  NodeReg *done = NEW_N(NodeReg, k->n_nodes);
  bool *need = NEW_N(bool, k->n_nodes);
  mark_needed(k, root, need);
  for (KE e = 0; e <= root; e++)
    if (need[e]) eval_node(o, s, k, e, done);
  OpRef out = s->in[k->stmt[0].a];
  uint16_t r = done[root].reg;
  if (!done[root].own) r = fl_copy(f, r);
  done[root].own = false;
  for (KE e = 0; e <= root; e++)
    if (done[e].done && done[e].own) fl_release(f, done[e].reg);
  set_reg(o, out, r);
}

/* ---- steps ---------------------------------------------------------------------------------- */
static void kernel(OpLower *o, const OpStep *s) {
  FnLower *f = o->f;
  Kernel *k = s->kernel;
  if (op_is_scalar_kernel(k)) {
    scalar_kernel(o, s, k);
    return;
  }
  Kernel *kept = kernel_keep(k, lower_alloc());
  if (kept) k = kept;
  VEC(uint32_t) w = {0};
  vec_push(&w, low_kernel(f->L, k));
  vec_push(&w, (uint32_t)s->n_in);
  for (int i = 0; i < s->n_in; i++) {
    OpRef r = s->in[i];
    if (!o->live.at[r]) {
      if (plan_operand(&o->p, r)->rank)
        alloc(o, r);
      else
        set_reg(o, r, fl_reserve(f, operand_type(o, r)));
    }
    vec_push(&w, o->reg.at[r]);
  }
  vec_push(&w, (uint32_t)s->n_dim);
  for (int i = 0; i < s->n_dim; i++) {
    uint16_t r = fl_dim(f, s->dim[i]);
    vec_push(&w, r);
  }
  fl_insw(f, OP_KERNEL, 0, fl_pool(f, w.at, w.n));
  for (int i = 0; i < s->n_in; i++) f->reg.at[o->reg.at[s->in[i]]].used = true;
}

static void runtime(OpLower *o, const OpStep *s) {
  FnLower *f = o->f;
  VEC(uint32_t) w = {0};
  vec_push(&w, low_runtime(s->name));
  vec_push(&w, (uint32_t)s->n_in);
  for (int i = 0; i < s->n_in; i++) vec_push(&w, o->reg.at[s->in[i]]);
  vec_push(&w, (uint32_t)s->n_out);
  for (int i = 0; i < s->n_out; i++) {
    uint32_t type = operand_type(o, s->out[i]);
    set_reg(o, s->out[i], fl_reg(f, type));
    vec_push(&w, type);
    vec_push(&w, o->reg.at[s->out[i]]);
  }
  vec_push(&w, (uint32_t)s->n_index);
  for (int i = 0; i < s->n_index; i++) {
    vec_push(&w, (uint32_t)s->index[i]);
    vec_push(&w, (uint32_t)((uint64_t)s->index[i] >> 32));
  }
  fl_insw(f, OP_RUNTIME, 0, fl_pool(f, w.at, w.n));
  for (int i = 0; i < s->n_out; i++) {
    OpOperand *x = plan_operand(&o->p, s->out[i]);
    fl_dims_of_type(f, type_tensor(x->dtype, x->rank, x->dim), o->reg.at[s->out[i]]);
  }
}

/* A scalar as a tensor of one element: the only view that must copy. */
static void box(OpLower *o, OpRef out, OpRef in) {
  KB *b = kb_new(lower_alloc(), "box");
  DType t = plan_operand(&o->p, in)->dtype;
  KE one = kb_int(b, 1), zero = kb_int(b, 0);
  uint32_t x = kb_buf(b, K_IN, "x", t, 0, NULL), y = kb_buf(b, K_OUT, "y", t, 1, &one);
  kb_store(b, y, &zero, kb_load(b, x, NULL));
  OpRef refs[2] = {in, out};
  kernel(o, &(OpStep){.kind = STEP_KERNEL, .kernel = kb_done(b), .n_in = 2, .in = refs});
}

static void view(OpLower *o, OpRef out, OpRef in) {
  FnLower *f = o->f;
  OpOperand *to = plan_operand(&o->p, out);
  bool from_scalar = plan_operand(&o->p, in)->rank == 0;
  if (from_scalar && to->rank == 0) {
    set_reg(o, out, fl_copy(f, o->reg.at[in]));
  } else if (from_scalar) {
    box(o, out, in);
  } else if (to->rank == 0) {
    set_reg(o, out, fl_reg(f, operand_type(o, out)));
    fl_ins(f, OP_ELEM, o->reg.at[out], o->reg.at[in], 0);
  } else {
    uint32_t w[3 + MAX_RANK] = {operand_type(o, out), o->reg.at[in], (uint32_t)to->rank};
    for (int i = 0; i < to->rank; i++) w[3 + i] = fl_dim(f, to->dim[i]);
    set_reg(o, out, fl_reg(f, w[0]));
    fl_insw(f, OP_VIEW, o->reg.at[out], fl_pool(f, w, 3 + to->rank));
  }
}

static void bind_dim(OpLower *o, const OpStep *s) {
  FnLower *f = o->f;
  OpOperand *x = plan_operand(&o->p, s->in[0]);
  uint16_t r = fl_reg(f, low_scalar(f->L, x->dtype));
  if (x->rank)
    fl_ins(f, OP_ELEM, r, o->reg.at[s->in[0]], (uint16_t)s->index[0]);
  else
    fl_ins(f, OP_MOVE, r, o->reg.at[s->in[0]], 0);
  if (x->dtype != DT_i64) {
    uint16_t wide = fl_reg(f, low_scalar(f->L, DT_i64));
    fl_ins(f, OP_CAST, wide, r, DT_i64);
    fl_release(f, r);
    r = wide;
  }
  fl_dim_bind(f, s->dim[0], r);
}

static void dim_value(OpLower *o, const OpStep *s) {
  FnLower *f = o->f;
  DType t = plan_operand(&o->p, s->out[0])->dtype;
  uint16_t d = fl_dim(f, s->dim[0]), r = fl_reg(f, low_scalar(f->L, t));
  fl_ins(f, t == DT_i64 ? OP_MOVE : OP_CAST, r, d, t == DT_i64 ? 0 : (uint16_t)t);
  set_reg(o, s->out[0], r);
}

void op_step(OpLower *o, const OpStep *s) {
  switch (s->kind) {
  case STEP_KERNEL: kernel(o, s); return;
  case STEP_RUNTIME: runtime(o, s); return;
  case STEP_VIEW: view(o, s->out[0], s->in[0]); return;
  case STEP_ALIAS: set_reg(o, s->out[0], fl_copy(o->f, o->reg.at[s->in[0]])); return;
  case STEP_BIND_DIM: bind_dim(o, s); return;
  case STEP_DIM_VALUE: dim_value(o, s); return;
  case STEP_CHECK: fl_check(o->f, OP_CHECKEQ, s->dim[0], s->dim[1], s->name); return;
  }
}

void op_deliver(OpLower *o, const uint16_t *result, Dest dest, VarSet *dying) {
  FnLower *f = o->f;
  for (int i = 0; i < o->reg.n; i++)
    if (o->own.at[i] && o->live.at[i]) fl_drop(f, o->reg.at[i]);
  fl_drop_dying(f, dying);
  Val *val = dest.var ? fl_val(f, dest.var) : NULL;
  if (val && val->kind == VAL_TUPLE)
    for (int i = 0; i < val->n; i++) fl_bind_reg(f, val->leaf[i], result[i]);
  else
    fl_deliver(f, dest, result[0]);
}

bool fl_op(FnLower *f, Expr *e, Dest dest, VarSet *dying) {
  const ExCall *c = &e->Call;
  const OpDef *op = c->callee.op;
  OpLower ol = {
      .f = f,
      .p = {.cx = f->L->cx, .op = op, .attrs = c->op_attrs, .span = e->span, .diags = f->L->d}};
  OpLower *o = &ol;
  if (!op->lower)
    return diag_error(f->L->d, e->span, E0401, op->name, "this operator has no lowering");
  arguments(o, c);
  results(o, fl_type(f, e->type));
  fl_obligations(f, e);
  if (!op->lower(&o->p)) return false;
  track_temps(o);
  for (int i = 0; i < o->p.step.n; i++) op_step(o, &o->p.step.at[i]);
  for (int i = 0; i < o->p.n_out; i++)
    if (!o->live.at[o->p.n_in + i])
      return diag_error(f->L->d, e->span, E0401, op->name, "its plan does not make every result");
  for (int i = 0; i < o->p.n_out; i++) o->own.at[o->p.n_in + i] = false;
  op_deliver(o, o->reg.at + o->p.n_in, dest, dying);
  return true;
}
