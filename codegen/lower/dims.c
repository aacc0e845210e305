/* dims.c -- extents as scalar code.
 *
 * A symbol is read from the first variable in whose type it stands alone as an
 * axis; expressions over symbols are computed once per scope.  What typeinfer
 * could not prove becomes a check here.                                       */
#include "codegen/lower/lower_priv.h"

static bool known(FnLower *f, Dim d, uint16_t *reg) {
  uint64_t at = (uint64_t)(uintptr_t)map_get(&f->dim_at, map_ptr(d));
  if (at == 0) return false;
  *reg = f->dim.at[at - 1].reg;
  return true;
}

bool fl_dim_known(FnLower *f, Dim d) {
  uint16_t reg;
  return known(f, d, &reg);
}

void fl_dim_bind(FnLower *f, Dim sym, uint16_t reg) {
  vec_push(&f->dim, ((DimReg){sym, reg}));
  map_set(&f->dim_at, map_ptr(sym), (void *)(uintptr_t)f->dim.n);
}
void fl_dims_leave(FnLower *f, int n) {
  for (int i = n; i < f->dim.n; i++) map_set(&f->dim_at, map_ptr(f->dim.at[i].dim), NULL);
  f->dim.n = n < f->dim.n ? n : f->dim.n;
}

static void scalar_op(FnLower *f, SOp op, uint16_t to, uint16_t a, uint16_t b) {
  fl_ins(f, (OpCode)(OP_SCALAR + (int)op * 16 + (int)DT_i64), to, a, b);
}
static uint16_t i64_reg(FnLower *f) { return fl_reg(f, low_scalar(f->L, DT_i64)); }

static uint16_t sum(FnLower *f, Dim d) {
  uint16_t acc = i64_reg(f), term = i64_reg(f);
  fl_ins(f, OP_MOVE, acc, fl_dim(f, dim_const(f->L->cx->dims, d->value)), 0);
  for (int i = 0; i < d->n_terms; i++) {
    uint16_t a = fl_dim(f, d->term[i].atom),
             k = fl_dim(f, dim_const(f->L->cx->dims, d->term[i].coeff));
    scalar_op(f, S_mul, term, a, k);
    scalar_op(f, S_add, acc, acc, term);
  }
  fl_release(f, term);
  return acc;
}

static uint16_t bcast(FnLower *f, uint16_t a, uint16_t b) {
  uint16_t is_one = fl_reg(f, low_scalar(f->L, DT_bool)), to = i64_reg(f);
  scalar_op(f, S_eq, is_one, a, fl_dim(f, dim_const(f->L->cx->dims, 1)));
  fl_insw(f, OP_SELECT, to, fl_pool(f, (uint32_t[]){is_one, b, a}, 3));
  fl_release(f, is_one);
  return to;
}

static uint16_t binary(FnLower *f, Dim d) {
  static const SOp op[] = {[DIM_Mul] = S_mul,
                           [DIM_Div] = S_fdiv,
                           [DIM_Mod] = S_fmod,
                           [DIM_Max] = S_max,
                           [DIM_Min] = S_min};
  uint16_t a = fl_dim(f, d->a), b = fl_dim(f, d->b);
  if (d->kind == DIM_Bcast) return bcast(f, a, b);
  uint16_t to = i64_reg(f);
  scalar_op(f, op[d->kind], to, a, b);
  return to;
}

uint16_t fl_dim(FnLower *f, Dim d) {
  uint16_t reg;
  if (known(f, d, &reg)) return reg;
  switch (d->kind) {
  case DIM_Const: reg = fl_int(f, d->value); break;
  case DIM_Sum: reg = sum(f, d); break;
  case DIM_Mul:
  case DIM_Div:
  case DIM_Mod:
  case DIM_Max:
  case DIM_Min:
  case DIM_Bcast: reg = binary(f, d); break;
  case DIM_Sym:
  case DIM_Any:
  case DIM_Meta:
  default:
    fl_unsupported(f, "an extent",
                   d->kind == DIM_Any
                       ? "nothing names it, or it is beyond 2^63 - 1"
                       : "no variable in scope has it as an axis, or it is beyond 2^63 - 1");
    reg = fl_int(f, 0);
    break;
  }
  fl_dim_bind(f, d, reg);
  return reg;
}

/* ---- reading extents ------------------------------------------------------------- */
static uint16_t read_extent(FnLower *f, uint16_t tensor, int axis) {
  uint16_t to = i64_reg(f);
  fl_ins(f, OP_DIM, to, tensor, (uint16_t)axis);
  return to;
}

void fl_dims_of_type(FnLower *f, Type *t, uint16_t reg) {
  t = type_resolve(t);
  if (t->kind != TY_Tensor || f->dead) return;
  for (int i = 0; i < t->tensor.rank; i++) {
    Dim d = t->tensor.dim[i];
    uint16_t have;
    if (d->kind == DIM_Sym && !known(f, d, &have)) fl_dim_bind(f, d, read_extent(f, reg, i));
  }
}
void fl_dims_of(FnLower *f, Var *v) {
  Val *val = fl_val(f, v);
  if (val && val->kind == VAL_REG) fl_dims_of_type(f, v->type, val->reg);
}

/* ---- checks ---------------------------------------------------------------------- */
static void check_regs(FnLower *f, OpCode op, uint16_t a, uint16_t b, const char *what) {
  if (op != OP_CHECKGE) what = str_fmt("%s differ", what);
  fl_insw(f, op, 0, fl_pool(f, (uint32_t[]){a, b, low_text(f->L, what)}, 3));
}
void fl_check(FnLower *f, OpCode op, Dim a, Dim b, const char *what) {
  if (op == OP_CHECKEQ && dim_equal(a, b)) return;
  uint16_t x = fl_dim(f, a), y = fl_dim(f, b);
  check_regs(f, op, x, y, what);
}

typedef struct {
  FnLower *f;
  bool yes;
} Unread;
static void ask_unread(void *ud, Dim s) {
  Unread *u = ud;
  uint16_t reg;
  u->yes |= s->kind == DIM_Sym && !known(u->f, s, &reg);
}

static bool holds_unread(FnLower *f, Type *t) {
  Unread u = {f, false};
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++)
    dim_visit_syms(t->tensor.dim[i], ask_unread, &u);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n && !u.yes; i++)
    u.yes = holds_unread(f, t->tuple.at[i]);
  return u.yes;
}

static void read_fields(FnLower *f, Type *t, uint16_t reg) {
  t = fl_type(f, t);
  if (t->kind == TY_Tensor) fl_dims_of_type(f, t, reg);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++) {
    if (!holds_unread(f, t->tuple.at[i])) continue;
    uint16_t r = fl_reg(f, low_itype(f->L, fl_type(f, t->tuple.at[i])));
    fl_ins(f, OP_FIELD, r, reg, (uint16_t)i);
    read_fields(f, t->tuple.at[i], r);
    fl_drop(f, r);
  }
}

/* A tuple that is on paper is read where its parts are. */
static void read_value(FnLower *f, Type *t, const Val *val) {
  t = type_resolve(t);
  if (!val || !holds_unread(f, t)) return;
  if (val->kind == VAL_REG) read_fields(f, t, val->reg);
  for (int i = 0; val->kind == VAL_TUPLE && t->kind == TY_Tuple && i < val->n; i++)
    read_value(f, t->tuple.at[i], fl_val(f, val->leaf[i]));
}

static void read_atom(void *ud, Atom *a) {
  Type *t = a->kind == ATOM_Var ? type_resolve(a->var->type) : NULL;
  if (t && (t->kind == TY_Tuple || t->kind == TY_Tensor)) read_value(ud, t, fl_val(ud, a->var));
}

/* A symbol that is an axis of nothing but a field of a tuple is read when a
 * check of the tuple asks for it. */
static void read_unread(FnLower *f, const Expr *e) {
  static const ExprVisit visit = {.atom = read_atom};
  Unread u = {f, false};
  for (int i = 0; i < e->n_oblige; i++) {
    dim_visit_syms(e->oblige[i].a, ask_unread, &u);
    dim_visit_syms(e->oblige[i].b, ask_unread, &u);
  }
  if (u.yes && !f->dead) ir_visit((Expr *)(uintptr_t)e, &visit, f);
}

void fl_obligations(FnLower *f, const Expr *e) {
  read_unread(f, e);
  static const OpCode op[] = {
      [OBLIGE_Equal] = OP_CHECKEQ, [OBLIGE_Bcast] = OP_CHECKBC, [OBLIGE_AtLeast] = OP_CHECKGE};
  for (int i = 0; i < e->n_oblige; i++) {
    const Oblige *o = &e->oblige[i];
    fl_check(f, op[o->kind], o->a, o->b, o->what);
  }
}

typedef struct {
  FnLower *f;
  const char *path; /* "%x", "%s.0" */
  int pass;         /* 0: lone symbols, 1: what is made of them */
} Entering;

static void check_axis(Entering *e, Dim d, uint16_t reg, int axis) {
  FnLower *f = e->f;
  uint16_t have = read_extent(f, reg, axis), want = fl_dim(f, d);
  StrBuf name = {0};
  dim_print(d, &name);
  check_regs(f, OP_CHECKEQ, have, want,
             str_fmt("parameter %s of @%s: axis %d and %s", e->path, f->inst->name, axis,
                     d->kind == DIM_Const ? "its declared extent" : buf_text(&name)));
  fl_release(f, have);
}

static bool in_pass(const Entering *e, Dim d) {
  return !dim_has_any(d) && (d->kind == DIM_Sym) == (e->pass == 0);
}

static void enter_tensor(Entering *e, Type *t, uint16_t reg) {
  FnLower *f = e->f;
  for (int i = 0; i < t->tensor.rank; i++) {
    Dim d = t->tensor.dim[i];
    uint16_t have;
    if (!in_pass(e, d)) continue;
    if (d->kind == DIM_Sym && !known(f, d, &have))
      fl_dim_bind(f, d, read_extent(f, reg, i));
    else
      check_axis(e, d, reg, i);
  }
}

/* Is there something to read or check inside a field?  Nameless symbols are
 * read when the field is. */
static bool field_matters(const Entering *e, Type *t) {
  t = type_resolve(t);
  bool yes = false;
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank && !yes; i++) {
    Dim d = t->tensor.dim[i];
    yes = in_pass(e, d) && (d->kind != DIM_Sym || d->name);
  }
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n && !yes; i++)
    yes = field_matters(e, t->tuple.at[i]);
  return yes;
}

/* Of what a type variable stands for nothing is checked: the instance has other callers,
 * with the same types up to extents. */
static void enter_type(Entering *e, Type *t, uint16_t reg) {
  FnLower *f = e->f;
  t = type_resolve(t);
  if (t->kind == TY_Tensor) enter_tensor(e, t, reg);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++) {
    Type *field = t->tuple.at[i];
    if (!field_matters(e, field)) continue;
    Entering in = {f, str_fmt("%s.%d", e->path, i), e->pass};
    uint16_t r = fl_reg(f, low_itype(f->L, fl_type(f, field)));
    fl_ins(f, OP_FIELD, r, reg, (uint16_t)i);
    enter_type(&in, field, r);
    fl_drop(f, r);
  }
}

void fl_enter(FnLower *f, const Fn *fn) {
  for (int pass = 0; pass < 2; pass++)
    for (int p = 0; p < fn->n; p++) {
      const Var *v = fn->param[p];
      Entering e = {f, str_fmt("%%%s", v->name ? v->name : "_"), pass};
      enter_type(&e, v->type, fl_val(f, v)->reg);
    }
}
