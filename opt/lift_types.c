/* lift_types.c -- the extents and type variables of a lifted function.
 *
 * A function of the module reads an extent from the first parameter that has it as
 * an axis, and checks the others against it.  So what a local function mentions of
 * its surroundings must be an axis of something that it captures: those are the
 * first parameters.  Or of its own parameters, if every call hands over just this
 * extent: then nothing was there to be checked.  What neither has may stand in
 * data, and as an axis of what comes out of it, but not where it is computed with. */
#include "opt/lift.h"
#include "opt/retype.h"

/* ---- what is mentioned ---- */

typedef struct {
  const Local *l;
  const Map *given;
  Map seen;
  Outer *out;
} Mention;

static Dim mention_dim(void *ud, Dim d) {
  Mention *m = ud;
  intptr_t place = (intptr_t)map_get(m->given, map_ptr(d));
  if (place == 0 || place > m->l->place || map_get(&m->seen, map_ptr(d))) return NULL;
  map_set(&m->seen, map_ptr(d), m);
  vec_push(&m->out->dims, d);
  return NULL;
}

static bool is_outer(const Around *a, const TyVar *v) {
  for (; a; a = a->up)
    for (int i = 0; i < a->fn->n_vars; i++)
      if (a->fn->var[i] == v) return true;
  return false;
}
static Type *mention_type(void *ud, TyVar *v) {
  Mention *m = ud;
  if (map_get(&m->seen, map_ptr(v)) || !is_outer(m->l->around, v)) return NULL;
  map_set(&m->seen, map_ptr(v), m);
  vec_push(&m->out->vars, v);
  return NULL;
}

/* ---- which are known when the function is entered ---- */

typedef struct {
  Map have;
  bool missing;
} Have;

/* A nameless axis inside a tuple is read only when the field is taken. */
static void have_type(Have *h, Type *t, bool inside) {
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++) have_type(h, t->tuple.at[i], true);
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++) {
    Dim d = t->tensor.dim[i];
    if (d->kind == DIM_Sym && (d->name || !inside)) map_set(&h->have, map_ptr(d), h);
  }
}

typedef struct {
  const Have *h;
  const Map *outer;
  bool yes;
} Lacks;
static void lacks_sym(void *ud, Dim s) {
  Lacks *k = ud;
  k->yes |= map_get(k->outer, map_ptr(s)) && !map_get(&k->h->have, map_ptr(s));
}
static bool lacks(const Have *h, const Map *outer, Dim d) {
  Lacks k = {h, outer, false};
  dim_visit_syms(d, lacks_sym, &k);
  return k.yes;
}

/* Do the extents of p that h lacks come with the argument, provably? */
static bool comes_with(const Have *h, const Map *outer, Type *p, Type *arg) {
  p = type_resolve(p);
  arg = type_resolve(arg);
  for (int i = 0; p->kind == TY_Tuple && i < p->tuple.n; i++)
    if (arg->kind == TY_Tuple && !comes_with(h, outer, p->tuple.at[i], arg->tuple.at[i]))
      return false;
  for (int i = 0; p->kind == TY_Tensor && arg->kind == TY_Tensor && i < p->tensor.rank; i++)
    if (lacks(h, outer, p->tensor.dim[i]) && !dim_equal(p->tensor.dim[i], arg->tensor.dim[i]))
      return false;
  return true;
}

static bool calls_agree(const Local *l, const Have *h, const Map *outer) {
  for (int c = 0; c < l->calls.n; c++)
    for (int i = 0; i < l->fn->n; i++) {
      Type *arg = atom_type_of(&l->calls.at[c]->Call.args[i]);
      if (!arg || !comes_with(h, outer, l->fn->param[i]->type, arg)) return false;
    }
  return true;
}

/* ---- which are computed with ---- */

typedef struct {
  const Have *h;
  const Map *outer;
  bool missing;
} Need;

static void need_dim(Need *n, Dim d) { n->missing |= lacks(n->h, n->outer, d); }
static void need_type(Need *n, Type *t, bool lone) {
  t = t ? type_resolve(t) : NULL;
  for (int i = 0; t && t->kind == TY_Tuple && i < t->tuple.n; i++)
    need_type(n, t->tuple.at[i], lone);
  for (int i = 0; t && t->kind == TY_Tensor && i < t->tensor.rank; i++)
    if (lone || t->tensor.dim[i]->kind != DIM_Sym) need_dim(n, t->tensor.dim[i]);
}
static void need_pattern(Need *n, const Pattern *p) {
  if (p->var) need_type(n, p->var->type, false);
  for (int i = 0; i < p->n; i++) need_pattern(n, p->at[i]);
}
static void need_fn(void *ud, Fn *f);
static void need_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, need_block, need_fn};
  Need *n = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    need_type(n, b->at[i].var->type, false);
    for (int k = 0; k < e->n_oblige; k++) {
      need_dim(n, e->oblige[k].a);
      need_dim(n, e->oblige[k].b);
    }
    if (e->kind == EX_MatchCast) need_type(n, e->MatchCast.to, true);
    for (int k = 0; e->kind == EX_Match && k < e->Match.n_clauses; k++)
      need_pattern(n, e->Match.clauses[k].pat);
    ir_visit(e, &visit, n);
  }
}
static void need_fn(void *ud, Fn *f) {
  for (int i = 0; i < f->n; i++) need_type(ud, f->param[i]->type, false);
  need_block(ud, f->body);
}

/* ---- all together ---- */

static bool dims_can_move(const Local *l, const VarList *captured, const Outer *o) {
  Map outer = {0};
  Have h = {0};
  Need n = {&h, &outer, false};
  for (int i = 0; i < o->dims.n; i++) map_set(&outer, map_ptr(o->dims.at[i]), &outer);
  for (int i = 0; i < captured->n; i++) have_type(&h, captured->at[i]->type, false);
  if (!calls_agree(l, &h, &outer)) return false;
  for (int i = 0; i < l->fn->n; i++) have_type(&h, l->fn->param[i]->type, false);
  for (int i = 0; i < captured->n; i++) need_type(&n, captured->at[i]->type, false);
  need_fn(&n, l->fn);
  return !n.missing;
}

bool lift_outer(IrCtx *cx, const Local *l, const Map *given, const VarList *captured, Outer *out) {
  Mention m = {.l = l, .given = given, .out = out};
  for (int i = 0; i < captured->n; i++)
    type_subst(cx->dims, captured->at[i]->type, mention_type, mention_dim, &m);
  for (int i = 0; i < l->fn->n; i++)
    type_subst(cx->dims, l->fn->param[i]->type, mention_type, mention_dim, &m);
  int n_vars = out->vars.n;
  Retype look = {.cx = cx, .other = mention_dim, .other_type = mention_type, .ud = &m};
  retype_fn(&look, l->fn); /* an answer that changes nothing: this visits all types */
  /* A call gives type variables by its arguments. */
  return out->vars.n == n_vars && dims_can_move(l, captured, out);
}

void lift_quantify(Module *m, Fn *f, const Outer *outer) {
  Retype r = {.cx = m->cx};
  TyVar **var = NEW_N(TyVar *, f->n_vars + outer->vars.n + 1);
  for (int i = 0; i < f->n_vars; i++) var[i] = f->var[i];
  for (int i = 0; i < outer->vars.n; i++) {
    TyVar *was = outer->vars.at[i], *own = *tyvar_one(was->name, was->span);
    var[f->n_vars++] = own;
    map_set(&r.type, map_ptr(was), type_var(own));
  }
  f->var = var;
  if (outer->vars.n) retype_fn(&r, f);
  fn_take_dims(m, f, outer->dims.n, outer->dims.at);
}
