/* block.c -- blocks: which variable dies where, operands, branches.
 *
 * A block owns the variables it binds and those its parent hands down because
 * their last use is inside it.  Each is moved by its last consuming use, or
 * dropped after its last borrowing one; a branch that does not mention it
 * drops it at its start.  So at every join all branches own the same.         */
#include "codegen/lower/lower_priv.h"

/* ---- sets of variables with counts ------------------------------------------------ */
enum { SMALL = 8 };
static int set_index(VarSet *s, const Var *v) {
  if (s->v.n <= SMALL) {
    for (int i = 0; i < s->v.n; i++)
      if (s->v.at[i].var == v) return i;
    return -1;
  }
  if (s->at.n == 0)
    for (int i = 0; i < s->v.n; i++)
      map_set(&s->at, map_ptr(s->v.at[i].var), (void *)(uintptr_t)(i + 1));
  return (int)(uintptr_t)map_get(&s->at, map_ptr(v)) - 1;
}
void varset_add(VarSet *s, Var *v) {
  int i = set_index(s, v);
  if (i >= 0) {
    s->v.at[i].count++;
    return;
  }
  vec_push(&s->v, ((VarUse){v, 1}));
  if (s->at.n) map_set(&s->at, map_ptr(v), (void *)(uintptr_t)s->v.n);
}
static VarUse *varset_find(VarSet *s, const Var *v) {
  int i = set_index(s, v);
  return i >= 0 && s->v.at[i].count > 0 ? &s->v.at[i] : NULL;
}

/* ---- values ------------------------------------------------------------------------- */
Val *fl_val(FnLower *f, const Var *v) {
  Val *val = map_get(&f->val, map_ptr(v));
  while (val && val->kind == VAL_ALIAS) val = map_get(&f->val, map_ptr(val->of));
  return val;
}
Val *fl_set(FnLower *f, Var *v, Val val) {
  Val *p = NEW(Val);
  *p = val;
  map_set(&f->val, map_ptr(v), p);
  return p;
}
Type *fl_type(FnLower *f, Type *t) { return ty_close(f->L->cx, t, f->env); }

static Var *root(FnLower *f, Var *v) {
  for (Val *val; (val = map_get(&f->val, map_ptr(v))) && val->kind == VAL_ALIAS;) v = val->of;
  return v;
}

/* ---- uses ----------------------------------------------------------------------------- */
typedef struct {
  FnLower *f;
  VarSet *out;
} Uses;

static void use_var(FnLower *f, Var *v, VarSet *out) {
  v = root(f, v);
  Val *val = map_get(&f->val, map_ptr(v));
  if (val && val->kind == VAL_TUPLE) {
    for (int i = 0; i < val->n; i++) use_var(f, val->leaf[i], out);
  } else if (val && val->kind == VAL_FN) {
    for (int i = 0; i < val->fn->cap.n; i++)
      if (val->fn->cap.at[i].var) varset_add(out, val->fn->cap.at[i].var);
  } else if (!val || val->kind != VAL_ATOM) {
    varset_add(out, v);
  }
}
static void use_atom(void *ud, Atom *a) {
  Uses *u = ud;
  if (a->kind == ATOM_Var) use_var(u->f, a->var, u->out);
}
static void uses_block(FnLower *f, Block *b, VarSet *out);
static void use_block(void *ud, Block *b) {
  Uses *u = ud;
  uses_block(u->f, b, u->out);
}
static void use_fn(void *ud, Fn *fn) {
  Uses *u = ud;
  VarList free = {0};
  ir_free_vars(fn, &free);
  for (int i = 0; i < free.n; i++) use_var(u->f, free.at[i], u->out);
}
static void uses_expr(FnLower *f, Expr *e, VarSet *out) {
  ir_visit(e, &(ExprVisit){use_atom, use_block, use_fn}, &(Uses){f, out});
}
static void uses_block(FnLower *f, Block *b, VarSet *out) {
  for (int i = 0; i < b->n; i++) uses_expr(f, b->at[i].value, out);
  use_atom(&(Uses){f, out}, &b->result);
}

/* ---- operands -------------------------------------------------------------------------- */
static uint16_t build_tuple(FnLower *f, Type *t, Val *val, VarSet *dying) {
  uint32_t *w = NEW_N(uint32_t, val->n + 3);
  uint32_t type = low_itype(f->L, t);
  w[0] = type, w[2] = (uint32_t)val->n;
  for (int i = 0; i < val->n; i++) {
    Atom a = {.kind = ATOM_Var, .var = val->leaf[i], .type = val->leaf[i]->type};
    w[3 + i] = fl_take(f, &a, dying);
  }
  for (int i = 0; i < val->n; i++) fl_release(f, (uint16_t)w[3 + i]);
  uint16_t to = fl_reg(f, type);
  fl_insw(f, OP_DATA, to, fl_pool(f, w, val->n + 3));
  return to;
}

static uint16_t take_var(FnLower *f, const Atom *a, VarSet *dying) {
  Var *v = root(f, a->var);
  Val *val = fl_val(f, v);
  if (!val) {
    fl_unsupported(f, "a variable", "it has no value here");
    return fl_int(f, 0);
  }
  if (val->kind == VAL_TUPLE)
    return build_tuple(f, fl_type(f, a->type ? a->type : v->type), val, dying);
  if (val->kind == VAL_FN)
    return fl_closure(f, val->fn, fl_type(f, a->type ? a->type : v->type), dying);
  if (val->kind == VAL_ATOM) {
    Atom it = val->atom;
    if (a->type) it.type = a->type;
    return fl_take(f, &it, dying);
  }
  VarUse *u = dying ? varset_find(dying, v) : NULL;
  if (u && --u->count == 0) {
    uint16_t reg = val->reg;
    val->kind = VAL_NONE;
    return reg;
  }
  return fl_copy(f, val->reg);
}

/* A global or a constructor without fields as a value. */
static uint16_t take_global(FnLower *f, const Atom *a) {
  Type *t = fl_type(f, a->type);
  const TyEnv *env = ty_match(f->L->cx, a->global->type, t, NULL);
  uint32_t i = low_instance(f->L, a->global->fn, a->global->name, env, NULL);
  uint32_t type = low_itype(f->L, t);
  uint16_t to = fl_reg(f, type);
  fl_insw(f, OP_CLOSURE, to, fl_pool(f, (uint32_t[]){type, i, 0}, 3));
  return to;
}
static uint16_t take_ctor(FnLower *f, const Atom *a) {
  uint32_t type = low_itype(f->L, fl_type(f, a->type));
  uint16_t to = fl_reg(f, type);
  fl_insw(f, OP_DATA, to, fl_pool(f, (uint32_t[]){type, (uint32_t)a->ctor->tag, 0}, 3));
  return to;
}

uint16_t fl_take(FnLower *f, const Atom *a, VarSet *dying) {
  switch (a->kind) {
  case ATOM_Var: return take_var(f, a, dying);
  case ATOM_Const: return fl_const(f, a->cst);
  case ATOM_Global: return take_global(f, a);
  case ATOM_Ctor: return take_ctor(f, a);
  case ATOM_Op:
  case ATOM_Poison: break;
  }
  fl_unsupported(f, "an operator as a value", "typeinfer expands these");
  return fl_int(f, 0);
}

Borrow fl_borrow(FnLower *f, const Atom *a) {
  Val *val = a->kind == ATOM_Var ? fl_val(f, a->var) : NULL;
  if (val && val->kind == VAL_REG) return (Borrow){val->reg, false};
  return (Borrow){fl_take(f, a, NULL), true};
}
void fl_unborrow(FnLower *f, Borrow b) {
  if (b.temp) fl_drop(f, b.reg);
}

static void drop_var(FnLower *f, Var *v) {
  Val *val = map_get(&f->val, map_ptr(v));
  if (!val || val->kind != VAL_REG) return;
  fl_drop(f, val->reg);
  val->kind = VAL_NONE;
}
void fl_drop_dying(FnLower *f, VarSet *dying) {
  for (int i = 0; i < dying->v.n; i++)
    if (dying->v.at[i].count > 0) drop_var(f, dying->v.at[i].var);
}

void fl_bind_reg(FnLower *f, Var *v, uint16_t reg) {
  fl_set(f, v, (Val){.kind = VAL_REG, .reg = reg});
  fl_dims_of(f, v);
}

/* Deliver an owned register. */
void fl_move_to(FnLower *f, Dest dest, uint16_t reg) {
  if (f->dead) return;
  if (dest.tail) {
    fl_ins(f, OP_RET, reg, 0, 0);
    f->reg.at[reg].used = false;
    f->dead = true;
  } else {
    uint32_t type = f->reg.at[reg].type;
    fl_ins(f, OP_MOVE, dest.reg, reg, 0);
    fl_release(f, reg);
    f->reg.at[dest.reg] = (RegInfo){true, 0, type};
  }
}

/* ---- a block ---------------------------------------------------------------------------- */
/* A variable that stands for an atom: itself, or a hidden one on paper. */
static Var *var_of(FnLower *f, const Atom *a) {
  if (a->kind == ATOM_Var) return a->var;
  Var *v = ir_var(f->L->cx, NULL, a->span);
  v->type = a->type;
  fl_set(f, v, (Val){.kind = VAL_ATOM, .atom = *a});
  return v;
}

/* Results that are tuples of operators live as one hidden variable per field. */
static void paper_op_result(FnLower *f, Var *v) {
  Type *t = type_resolve(v->type);
  Val val = {.kind = VAL_TUPLE, .n = t->tuple.n, .leaf = NEW_N(Var *, t->tuple.n + 1)};
  for (int i = 0; i < t->tuple.n; i++) {
    val.leaf[i] = ir_var(f->L->cx, NULL, v->span);
    val.leaf[i]->type = t->tuple.at[i];
  }
  fl_set(f, v, val);
}

/* What exists on paper only is known before the uses are counted. */
static void declare_paper(FnLower *f, Binding *b) {
  Expr *e = b->value;
  if (e->kind == EX_Tuple) {
    Val val = {
        .kind = VAL_TUPLE, .n = e->Tuple.n_items, .leaf = NEW_N(Var *, e->Tuple.n_items + 1)};
    for (int i = 0; i < val.n; i++) val.leaf[i] = var_of(f, &e->Tuple.items[i]);
    fl_set(f, b->var, val);
  } else if (e->kind == EX_Fn) {
    fl_set(f, b->var, (Val){.kind = VAL_FN, .fn = fn_bind(f, e->Fn.fn, b->var)});
  } else if (e->kind == EX_Just) {
    fl_set(f, b->var, (Val){.kind = VAL_ALIAS, .of = var_of(f, &e->Just.value)});
  } else if (e->kind == EX_Proj && e->Proj.tuple.kind == ATOM_Var) {
    Val *t = fl_val(f, e->Proj.tuple.var);
    if (t && t->kind == VAL_TUPLE)
      fl_set(f, b->var, (Val){.kind = VAL_ALIAS, .of = t->leaf[e->Proj.index]});
  } else if (e->kind == EX_Call && type_resolve(b->var->type)->kind == TY_Tuple &&
             (e->Call.callee.kind == ATOM_Op || fl_prim_here(f, e))) {
    paper_op_result(f, b->var);
  }
}

static bool on_paper(FnLower *f, const Binding *b) {
  Val *val = map_get(&f->val, map_ptr(b->var));
  if (!val) return false;
  return val->kind == VAL_FN || val->kind == VAL_ALIAS ||
         (val->kind == VAL_TUPLE && b->value->kind == EX_Tuple);
}

typedef struct {
  VarSet uses, dying;
} Point;

/* Last uses, backwards.  A variable is this block's to end if it was bound
 * here or handed down. */
static Point *last_uses(FnLower *f, Block *b, VarSet *owned) {
  Point *at = NEW_N(Point, b->n + 1);
  Map seen = {0}, mine = {0};
  for (int i = 0; i < owned->v.n; i++) map_set(&mine, map_ptr(owned->v.at[i].var), owned);
  for (int i = 0; i < b->n; i++) {
    if (on_paper(f, &b->at[i])) { /* what it checks is looked at there */
      if (b->at[i].value->n_oblige) uses_expr(f, b->at[i].value, &at[i].uses);
      continue;
    }
    VarSet bound = {0};
    use_var(f, b->at[i].var, &bound);
    for (int k = 0; k < bound.v.n; k++) map_set(&mine, map_ptr(bound.v.at[k].var), owned);
    uses_expr(f, b->at[i].value, &at[i].uses);
  }
  use_atom(&(Uses){f, &at[b->n].uses}, &b->result);
  for (int i = b->n; i >= 0; i--)
    for (int k = 0; k < at[i].uses.v.n; k++) {
      VarUse u = at[i].uses.v.at[k];
      if (map_get(&seen, map_ptr(u.var)) || !map_get(&mine, map_ptr(u.var))) continue;
      map_set(&seen, map_ptr(u.var), b);
      vec_push(&at[i].dying.v, u);
    }
  for (int i = 0; i < owned->v.n; i++) /* never mentioned here          */
    if (!map_get(&seen, map_ptr(owned->v.at[i].var))) drop_var(f, owned->v.at[i].var);
  return at;
}

/* Is binding i, the last one, exactly the block's value? */
static bool is_result(FnLower *f, const Block *b, int i) {
  return i == b->n - 1 && b->result.kind == ATOM_Var && b->result.var == b->at[i].var &&
         !on_paper(f, &b->at[i]) && fl_val(f, b->at[i].var) == NULL;
}

bool fl_block(FnLower *f, Block *b, Dest dest, VarSet *owned) {
  for (int i = 0; i < b->n; i++) declare_paper(f, &b->at[i]);
  Point *at = last_uses(f, b, owned);
  Map *used_later = NEW(Map);
  for (int j = 0; j <= b->n; j++)
    for (int k = 0; k < at[j].uses.v.n; k++)
      map_set(used_later, map_ptr(at[j].uses.v.at[k].var), b);
  for (int i = 0; i < b->n; i++) {
    Binding *bd = &b->at[i];
    f->span = bd->value->span;
    if (on_paper(f, bd)) {
      fl_obligations(f, bd->value);
      fl_dims_of(f, bd->var);
      fl_drop_dying(f, &at[i].dying);
      continue;
    }
    if (is_result(f, b, i)) return fl_expr(f, bd->value, dest, &at[i].dying);
    if (!fl_expr(f, bd->value, (Dest){.var = bd->var}, &at[i].dying)) return false;
    VarSet bound = {0};
    use_var(f, bd->var, &bound);
    for (int k = 0; k < bound.v.n; k++)
      if (!map_get(used_later, map_ptr(bound.v.at[k].var))) drop_var(f, bound.v.at[k].var);
    at[i].uses = at[i].dying = (VarSet){0};
  }
  uint16_t r = fl_take(f, &b->result, &at[b->n].dying);
  fl_drop_dying(f, &at[b->n].dying);
  fl_move_to(f, dest, r);
  return true;
}
