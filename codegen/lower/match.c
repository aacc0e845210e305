/* match.c -- pattern matching by decision trees.
 *
 * Rows of patterns over occurrences (registers), split on the first column
 * that the first row needs (Maranget, "Compiling Pattern Matching to Good
 * Decision Trees", 2008, without his column heuristics).  A clause reached
 * along several paths is emitted on each.                                     */
#include "codegen/lower/lower_priv.h"

enum { MAX_LEAVES = 4096 };

/* Something to match: a register we own, or a variable of the program. */
typedef struct {
  uint16_t reg;
  bool own;
  Var *var;
  Type *type;
} Occ;
typedef struct {
  Var *var;
  int occ;
} Bound;
typedef struct {
  Pattern **pat;
  int clause;
  VEC(Bound) bound;
} Row;
typedef struct {
  int n_rows;
  Row *row;
  int n_cols;
  int *col;
} Matrix; /* col: occurrence numbers */

typedef struct {
  FnLower *f;
  Expr *e;
  Dest dest;
  VarSet *dying;
  VEC(Occ) occ;
  uint32_t join;
  int leaves;
  Fork fork;
} Matching;

static bool refutable(const Pattern *p) { return p->kind == PAT_Ctor || p->kind == PAT_Tuple; }

/* ---- leaves ------------------------------------------------------------------------------ */
static bool leaf(Matching *m, const Row *r) {
  FnLower *f = m->f;
  VarSet owned = {0};
  bool *taken = NEW_N(bool, m->occ.n + 1);
  if (++m->leaves > MAX_LEAVES)
    return fl_unsupported(f, "a match", "its patterns overlap in too many ways");
  for (int i = 0; i < m->dying->v.n; i++) varset_add(&owned, m->dying->v.at[i].var);
  for (int i = 0; i < r->bound.n; i++) {
    Bound b = r->bound.at[i];
    Occ *o = &m->occ.at[b.occ];
    if (o->var) {
      fl_set(f, b.var, (Val){.kind = VAL_ALIAS, .of = o->var});
      fl_dims_of(f, b.var);
      continue;
    }
    uint16_t reg = taken[b.occ] ? fl_copy(f, o->reg) : o->reg;
    taken[b.occ] = true;
    fl_bind_reg(f, b.var, reg);
    varset_add(&owned, b.var);
  }
  for (int i = 0; i < m->occ.n; i++)
    if (m->occ.at[i].own && !taken[i]) fl_drop(f, m->occ.at[i].reg);
  if (!fl_block(f, m->e->Match.clauses[r->clause].body, m->dest, &owned)) return false;
  fl_fork_leave(f, &m->fork);
  return true;
}

static void no_match(Matching *m) {
  FnLower *f = m->f;
  fl_insw(f, OP_FAIL, 0, low_text(f->L, "no clause of the match fits the value"));
  f->dead = true;
}

/* ---- splitting ----------------------------------------------------------------------------- */
static bool compile(Matching *m, Matrix x);

static Pattern *wild(void) {
  Pattern *p = NEW(Pattern);
  p->kind = PAT_Wild;
  return p;
}

/* Row r with column c replaced by n sub-patterns; NULL pat when it cannot match. */
static Row specialise(const Row *r, int n_cols, int c, int occ, const Ctor *ctor, int n) {
  Row out = {.clause = r->clause};
  Pattern *p = r->pat[c];
  for (int i = 0; i < r->bound.n; i++) vec_push(&out.bound, r->bound.at[i]);
  if (p->kind == PAT_Ctor && p->ctor != ctor) return out;
  if (p->kind == PAT_Var) vec_push(&out.bound, ((Bound){p->var, occ}));
  out.pat = NEW_N(Pattern *, n_cols + n);
  int k = 0;
  for (int i = 0; i < n; i++) out.pat[k++] = refutable(p) ? p->at[i] : wild();
  for (int i = 0; i < n_cols; i++)
    if (i != c) out.pat[k++] = r->pat[i];
  return out;
}

static Matrix sub_matrix(const Matrix *x, int c, const Ctor *ctor, int n) {
  Matrix y = {.n_cols = x->n_cols - 1 + n};
  y.row = NEW_N(Row, x->n_rows);
  y.col = NEW_N(int, y.n_cols + 1);
  for (int i = 0; i < x->n_rows; i++) {
    Row r = specialise(&x->row[i], x->n_cols, c, x->col[c], ctor, n);
    if (r.pat) y.row[y.n_rows++] = r;
  }
  for (int i = 0, k = n; i < x->n_cols; i++)
    if (i != c) y.col[k++] = x->col[i];
  return y;
}

/* Read the fields that some row looks at; the others stay without a register. */
static void read_fields(Matching *m, Matrix *y, const Occ *from, int n, Type *const *field) {
  FnLower *f = m->f;
  for (int i = 0; i < n; i++) {
    bool wanted = false;
    for (int r = 0; r < y->n_rows && !wanted; r++) wanted = y->row[r].pat[i]->kind != PAT_Wild;
    Occ o = {.type = field[i]};
    if (wanted) {
      uint16_t base = from->var ? fl_val(f, from->var)->reg : from->reg;
      o.reg = fl_reg(f, low_itype(f->L, field[i]));
      o.own = true;
      fl_ins(f, OP_FIELD, o.reg, base, (uint16_t)i);
    }
    y->col[i] = m->occ.n;
    vec_push(&m->occ, o);
  }
}

static bool split_tuple(Matching *m, Matrix *x, int c) {
  FnLower *f = m->f;
  Occ o = m->occ.at[x->col[c]];
  Type *t = type_resolve(o.type);
  Matrix y = sub_matrix(x, c, NULL, t->tuple.n);
  Val *val = o.var ? fl_val(f, o.var) : NULL;
  if (val && val->kind == VAL_TUPLE) {
    for (int i = 0; i < val->n; i++) {
      y.col[i] = m->occ.n;
      vec_push(&m->occ, ((Occ){.var = val->leaf[i], .type = t->tuple.at[i]}));
    }
  } else {
    Type **field = NEW_N(Type *, t->tuple.n + 1);
    for (int i = 0; i < t->tuple.n; i++) field[i] = fl_type(f, t->tuple.at[i]);
    read_fields(m, &y, &o, t->tuple.n, field);
  }
  return compile(m, y);
}

static Type **field_types(FnLower *f, const Ctor *k, Type *t) {
  Type **field = NEW_N(Type *, k->n + 1);
  const TyEnv *env = NULL;
  for (int i = 0; i < k->def->n_vars && i < t->data.n; i++) {
    TyEnv *e = NEW(TyEnv);
    *e = (TyEnv){k->def->var[i], t->data.arg[i], env};
    env = e;
  }
  for (int i = 0; i < k->n; i++) field[i] = ty_close(f->L->cx, k->field[i], env);
  return field;
}

static bool inside(Matching *m, const Matrix *x, int c, const Occ *o, Ctor *ctor) {
  Matrix y = sub_matrix(x, c, ctor, ctor->n);
  read_fields(m, &y, o, ctor->n, field_types(m->f, ctor, type_resolve(o->type)));
  return compile(m, y);
}

static bool split_data(Matching *m, Matrix *x, int c) {
  FnLower *f = m->f;
  Occ o = m->occ.at[x->col[c]];
  DataDef *def = type_resolve(o.type)->data.def;
  uint16_t reg = o.var ? fl_val(f, o.var)->reg : o.reg;
  /* The only one of its type; or within a clause of a match on the same value,
   * where another switch would forget it, and the code behind would miss it. */
  uint16_t known = def->n_ctors == 1 ? 1 : f->reg.at[reg].ctor;
  if (known) return inside(m, x, c, &o, def->ctor[known - 1]);
  uint32_t *w = NEW_N(uint32_t, def->n_ctors + 1);
  int n_occ = m->occ.n;
  for (int i = 0; i < def->n_ctors; i++) w[i] = fl_label_new(f);
  fl_switch(f, reg, def->n_ctors, w);
  Fork k = fl_fork(f, m->dest, m->dying);
  for (int i = 0; i < def->n_ctors; i++) {
    fl_fork_branch(f, &k);
    f->reg.at[reg].ctor = (uint16_t)(i + 1);
    fl_label_here(f, w[i]);
    m->occ.n = n_occ;
    if (!inside(m, x, c, &o, def->ctor[i])) return false;
  }
  m->occ.n = n_occ;
  f->dead = true;
  return true;
}

static bool compile(Matching *m, Matrix x) {
  if (x.n_rows == 0) {
    no_match(m);
    return true;
  }
  for (int c = 0; c < x.n_cols; c++) {
    if (!refutable(x.row[0].pat[c])) continue;
    return type_resolve(m->occ.at[x.col[c]].type)->kind == TY_Tuple ? split_tuple(m, &x, c)
                                                                    : split_data(m, &x, c);
  }
  Row r = x.row[0];
  for (int c = 0; c < x.n_cols; c++)
    if (r.pat[c]->kind == PAT_Var) vec_push(&r.bound, ((Bound){r.pat[c]->var, x.col[c]}));
  return leaf(m, &r);
}

/* ---- the expression ----------------------------------------------------------------------------
 */
bool fl_match(FnLower *f, Expr *e, Dest dest, VarSet *dying) {
  ExMatch *x = &e->Match;
  Matching m = {.f = f, .e = e, .dest = dest, .dying = dying};
  Occ o = {.type = fl_type(f, x->scrutinee.kind == ATOM_Var ? x->scrutinee.var->type
                                                            : x->scrutinee.type)};
  Val *val = x->scrutinee.kind == ATOM_Var ? fl_val(f, x->scrutinee.var) : NULL;
  if (val && (val->kind == VAL_REG || val->kind == VAL_TUPLE))
    o.var = x->scrutinee.var;
  else
    o.reg = fl_take(f, &x->scrutinee, NULL), o.own = true;
  vec_push(&m.occ, o);
  Matrix mx = {.n_cols = 1, .row = NEW_N(Row, x->n_clauses + 1), .col = NEW_N(int, 1)};
  for (int i = 0; i < x->n_clauses; i++) {
    Row *r = &mx.row[mx.n_rows++];
    r->clause = i;
    r->pat = NEW_N(Pattern *, 1);
    r->pat[0] = x->clauses[i].pat;
  }
  m.fork = fl_fork(f, dest, dying);
  if (o.own) f->reg.at[o.reg].used = true;
  if (!compile(&m, mx)) return false;
  if (o.own) { /* every leaf dropped it            */
    for (int i = 0; i < m.fork.regs.reg.n; i++)
      if (i == o.reg) m.fork.regs.reg.at[i].used = false;
    vec_push(&m.fork.regs.free_reg, o.reg);
  }
  fl_fork_join(f, &m.fork);
  return true;
}
