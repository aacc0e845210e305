/* branch.c -- if, match and function values: code that becomes a function of
 * its own in the backward half.
 *
 *   if (c) { A } else { B }  ==>  if (c) { A'; (a, fn(da) { A''; (d x, ...) }) } else { ... }
 *
 * where x, ... are the variables both need of what surrounds them.            */
#include "autodiff/ad.h"

/* The gradient a pullback is given: named, typed, and with the extents of y
 * where the type cannot say them. */
static bool says_all(Type *t) {
  t = type_resolve(t);
  if (t->kind != TY_Tensor) return true;
  for (int i = 0; i < t->tensor.rank; i++) {
    Dim d = t->tensor.dim[i];
    if (d->kind != DIM_Const && !(d->kind == DIM_Sym && d->name)) return false;
  }
  return true;
}

Var *cotangent(Scope *s, Type *t, Atom y, Adj **d) {
  AD *ad = s->f->ad;
  Type *said = frame_annot(s->f, ad_tan(ad, t));
  Var *dy = ad_var(ad, "dy", said);
  Atom a = var_atom(ad, dy);
  if (!says_all(said)) a = em_op(ad, s->rev, "reshape_like", 2, (Atom[]){a, y});
  *d = ad_has_tan(ad, t) ? adj_atom(a) : NULL;
  return dy;
}

/* What was said of it, where data is in it: data nobody filled knows less of
 * its extents than that. */
Type *result_type(Scope *s, const Fn *fn) {
  Type *said = fn->ret ? frame_type(s->f, fn->ret) : NULL;
  return said && ad_has_data(said) ? said : atom_closed(s, &fn->body->result);
}

Type *pullback_type(Frame *f, int n, Type *const *tan) {
  Type **at = NEW_N(Type *, n + 1);
  bool data = false;
  for (int i = 0; i < n; i++) {
    at[i] = frame_annot(f, tan[i]);
    data |= ad_has_data(at[i]);
  }
  return data ? type_tuple(n, at) : NULL;
}

/* The same for a function value, which also gives its own result. */
static Type *closure_type(Frame *f, Type *ret, int n, Type *const *param) {
  AD *ad = f->ad;
  bool data = ad_has_data(ret);
  for (int i = 0; i < n; i++) data |= ad_has_data(param[i]);
  if (!data) return NULL;
  Type *fn = type_fn(0, NULL, 0, NULL, n, (Type **)(uintptr_t)param, ret);
  return type_resolve(frame_annot(f, ad_dual(ad, fn)))->fn.ret;
}

static void active_needs(Scope *s, const VarList *all, VarList *out) {
  for (int i = 0; i < all->n; i++)
    if (frame_val(s->f, all->at[i])->active) vec_push(out, all->at[i]);
}

/* ---- patterns ------------------------------------------------------------------------ */

/* What is matched: has it a tangent; is it from outside, as it was (outside.c)? */
typedef enum { SCRUT_Other, SCRUT_Active, SCRUT_Outside } Scrut;

/* The pattern for duals; every part with a tangent gets a variable. */
static Pattern *bind_pattern(Scope *s, const Pattern *p, Type *t, Scrut is) {
  AD *ad = s->f->ad;
  t = type_resolve(t);
  Pattern *made = NEW(Pattern);
  *made = *p;
  made->type = NULL;
  made->at = NEW_N(Pattern *, p->n + 1);
  if (p->kind == PAT_Ctor && is != SCRUT_Outside) made->ctor = ad_dual_ctor(ad, t, p->ctor);
  for (int i = 0; i < p->n; i++) {
    Type *sub = p->kind == PAT_Ctor ? ad_field(ad, t, p->ctor, i) : t->tuple.at[i];
    made->at[i] = bind_pattern(s, p->at[i], sub, is);
  }
  if (p->kind == PAT_Wild && is == SCRUT_Active && ad_has_tan(ad, t)) {
    made->kind = PAT_Var;
    made->var = ad_var(ad, NULL, NULL);
    made->var->name = sym(ad->cx->syms, "x");
  } else if (p->kind == PAT_Var) {
    made->var = ir_var(ad->cx, p->var->name, p->var->span);
  }
  return made;
}

static void enter_pattern(Scope *s, const Pattern *p, const Pattern *made, Scrut is) {
  if (p->kind == PAT_Var) {
    Val *v = scope_bind(s, p->var, var_atom(s->f->ad, made->var), is == SCRUT_Active);
    v->plain = is == SCRUT_Outside && ad_special(s->f->ad, v->type);
  }
  for (int i = 0; i < p->n; i++) enter_pattern(s, p->at[i], made->at[i], is);
}

/* Did anything in the pattern get a gradient? */
static bool touched(Scope *s, const Pattern *p) {
  if (p->kind == PAT_Var) return scope_adj(s, p->var) != NULL;
  for (int i = 0; i < p->n; i++)
    if (touched(s, p->at[i])) return true;
  return false;
}

static Atom pattern_tan(Scope *s, const Pattern *p, const Pattern *made, Type *t) {
  AD *ad = s->f->ad;
  t = type_resolve(t);
  if (!ad_has_tan(ad, t)) return em_unit(ad, s->rev);
  if (p->kind == PAT_Wild) return tan_zero(ad, s->rev, t, var_atom(ad, made->var));
  if (p->kind == PAT_Var)
    return adj_value(ad, s->rev, t, var_atom(ad, made->var), scope_adj(s, p->var));
  if (t->kind == TY_Data && !touched(s, p)) return tan_zero(ad, s->rev, t, (Atom){0});
  Atom *at = NEW_N(Atom, p->n + 1);
  for (int i = 0; i < p->n; i++) {
    Type *sub = p->kind == PAT_Ctor ? ad_field(ad, t, p->ctor, i) : t->tuple.at[i];
    at[i] = pattern_tan(s, p->at[i], made->at[i], sub);
  }
  if (p->kind == PAT_Tuple) return em_tuple(ad, s->rev, p->n, at);
  return em_call(ad, s->rev, ad_ctor_atom(ad, ad_adj_ctor(ad, t, p->ctor)), p->n, at);
}

/* ---- branches ---------------------------------------------------------------------------- */

typedef struct {
  Type *type;    /* of the result                                   */
  VarList gives; /* what the pullback gives, after the scrutinee's  */
  Scrut is;
  Type *data;
} Branching;

static Block *branch(Scope *s, const Branching *k, Block *b, const Pattern *p, Pattern **made) {
  AD *ad = s->f->ad;
  BlockBuilder fwd = {0}, rev = {0};
  Scope in = {.f = s->f, .fwd = &fwd, .rev = &rev, .depth = s->depth};
  if (p) {
    *made = bind_pattern(s, p, k->data, k->is);
    enter_pattern(&in, p, *made, k->is);
  }
  forward_block(&in, b);
  Atom y = scope_atom(&in, &b->result);
  Adj *d;
  Var *dy = cotangent(&in, k->type, y, &d);
  contribute(&in, &b->result, d);
  sweep(&in);
  Atom *at = NEW_N(Atom, k->gives.n + 2);
  Type **type = NEW_N(Type *, k->gives.n + 2);
  int n = 0;
  if (k->is == SCRUT_Active)
    type[n] = ad_tan(ad, k->data), at[n++] = pattern_tan(&in, p, *made, k->data);
  for (int i = 0; i < k->gives.n; i++) {
    Val *v = frame_val(s->f, k->gives.at[i]);
    type[n] = val_tan(ad, v);
    at[n++] = val_value(ad, &rev, v, scope_adj(&in, k->gives.at[i]));
  }
  Block *back = bb_done(&rev, em_tuple(ad, &rev, n, at), ad->span);
  Atom pb = em_pullback(ad, &fwd, dy, back, pullback_type(s->f, n, type));
  Atom both = em_tuple(ad, &fwd, 2, (Atom[]){y, pb});
  return bb_done(&fwd, both, b->span);
}

static void needs_of_branches(Scope *s, Expr *e, Branching *k) {
  VarList all = {0};
  if (e->kind == EX_If) {
    needs_of_block(s->f, e->If.then, &all);
    needs_of_block(s->f, e->If.otherwise, &all);
  } else {
    Expr *copy = ir_expr(EX_Match, e->span);
    *copy = *e;
    copy->Match.scrutinee = (Atom){.kind = ATOM_Poison};
    Var v = {.id = -1};
    Binding one = {&v, copy, BIND_Graph};
    Block b = {1, &one, {.kind = ATOM_Var, .var = &v}, e->span};
    needs_of_block(s->f, &b, &all);
  }
  active_needs(s, &all, &k->gives);
}

void forward_branches(Scope *s, Var *v, Expr *e) {
  AD *ad = s->f->ad;
  Branching k = {.type = frame_type(s->f, v->type)};
  needs_of_branches(s, e, &k);
  Expr *made = ir_expr(e->kind, e->span);
  if (e->kind == EX_If) {
    made->If.cond = scope_atom(s, &e->If.cond);
    made->If.then = branch(s, &k, e->If.then, NULL, NULL);
    made->If.otherwise = branch(s, &k, e->If.otherwise, NULL, NULL);
  } else {
    k.data = atom_closed(s, &e->Match.scrutinee);
    bool outside = outside_is(s, &e->Match.scrutinee);
    if (atom_active(s, &e->Match.scrutinee)) k.is = SCRUT_Active;
    if (outside) k.is = SCRUT_Outside;
    made->Match.scrutinee = (outside ? plain_atom : scope_atom)(s, &e->Match.scrutinee);
    made->Match.partial = e->Match.partial;
    made->Match.n_clauses = e->Match.n_clauses;
    made->Match.clauses = NEW_N(Clause, e->Match.n_clauses);
    for (int i = 0; i < e->Match.n_clauses; i++) {
      Clause *c = &e->Match.clauses[i];
      Pattern *p = NULL;
      Block *b = branch(s, &k, c->body, c->pat, &p);
      made->Match.clauses[i] = (Clause){p, b, c->span};
    }
  }
  Atom pair = em_bind(ad, s->fwd, made);
  Expr *first = ir_expr(EX_Proj, e->span);
  first->Proj.tuple = pair;
  Atom y = bb_bind(ad->cx, s->fwd, first, v->name, BIND_Let);
  Step st = {.var = v, .e = e, .gives = k.gives, .scrutinee = k.is == SCRUT_Active};
  st.pb = em_proj(ad, s->fwd, pair, 1);
  vec_push(&s->step, st);
  scope_bind(s, v, y, true);
}

/* A pullback that only gives is not called for nothing; one that may touch
 * refs always is. */
static bool only_gives(Scope *s, const Step *st) {
  VarList all = {0};
  Var v = {.id = -1};
  Binding one = {&v, st->e, BIND_Graph};
  Block b = {1, &one, {.kind = ATOM_Var, .var = &v}, st->e->span};
  needs_of_block(s->f, &b, &all);
  for (int i = 0; i < all.n; i++)
    if (all.at[i] != &v && ad_holds(s->f->ad, frame_val(s->f, all.at[i])->type)) return false;
  return !ad_holds(s->f->ad, frame_val(s->f, st->var)->type);
}

void sweep_branches(Scope *s, const Step *st, Adj *d) {
  AD *ad = s->f->ad;
  Val *v = frame_val(s->f, st->var);
  if (!d && only_gives(s, st)) return;
  Atom dy = adj_value(ad, s->rev, v->type, v->at, d);
  Atom all = em_call(ad, s->rev, st->pb, 1, &dy);
  int n = 0;
  if (st->scrutinee)
    contribute(s, &st->e->Match.scrutinee, adj_atom(em_proj(ad, s->rev, all, n++)));
  for (int i = 0; i < st->gives.n; i++) {
    Atom a = atom_var(st->gives.at[i], ad->span);
    contribute(s, &a, adj_atom(em_proj(ad, s->rev, all, n++)));
  }
}

/* ---- function values ------------------------------------------------------------------------ */

/* What the body gave to variables from outside goes where they keep it. */
static void give_outside(Scope *s) {
  AD *ad = s->f->ad;
  for (int i = 0; i < s->adj.n; i++) {
    Val *v = frame_val(s->f, (Var *)(uintptr_t)s->adj.entry[i].key);
    if (v->depth >= s->depth || !v->has_acc) continue;
    Atom dv = adj_value(ad, s->rev, v->type, v->at, s->adj.entry[i].value);
    em_write(ad, s->rev, v->acc, tan_add(ad, s->rev, v->type, em_read(ad, s->rev, v->acc), dv));
  }
}

Atom forward_closure(Scope *s, const Fn *fn, Var *self) {
  AD *ad = s->f->ad;
  BlockBuilder fwd = {0}, rev = {0};
  Scope in = {.f = s->f, .fwd = &fwd, .rev = &rev, .depth = s->depth + 1};
  Var *me = ir_var(ad->cx, self ? self->name : NULL, fn->span);
  if (self) {
    Val *v = frame_val(s->f, self);
    v->has_at = true;
    v->at = atom_var(me, fn->span);
  }
  Var **param = NEW_N(Var *, fn->n + 1);
  bool *active = NEW_N(bool, fn->n + 1);
  Fn *made = NEW(Fn);
  *made = (Fn){.span = fn->span, .n = fn->n, .param = param};
  frame_own_dims(s->f, fn, made);
  for (int i = 0; i < fn->n; i++) {
    Type *t = frame_type(s->f, fn->param[i]->type);
    param[i] = ir_var(ad->cx, fn->param[i]->name, fn->param[i]->span);
    param[i]->annot = frame_annot(s->f, ad_dual(ad, t));
    active[i] = true;
  }
  forward_params(&in, fn->n, fn->param, param, active);
  forward_block(&in, fn->body);
  Atom y = scope_atom(&in, &fn->body->result);
  Type *ret = result_type(&in, fn);
  Adj *d;
  Var *dy = cotangent(&in, ret, y, &d);
  contribute(&in, &fn->body->result, d);
  sweep(&in);
  give_outside(&in);
  Atom *at = NEW_N(Atom, fn->n + 1);
  Type **type = NEW_N(Type *, fn->n + 1), **tan = NEW_N(Type *, fn->n + 1);
  for (int i = 0; i < fn->n; i++) {
    Val *v = frame_val(s->f, fn->param[i]);
    type[i] = v->type;
    tan[i] = ad_tan(ad, v->type);
    at[i] = adj_value(ad, &rev, v->type, v->at, scope_adj(&in, fn->param[i]));
  }
  Block *back = bb_done(&rev, em_tuple(ad, &rev, fn->n, at), ad->span);
  Atom pb = em_pullback(ad, &fwd, dy, back, pullback_type(s->f, fn->n, tan));
  Atom both = em_tuple(ad, &fwd, 2, (Atom[]){y, pb});
  made->ret = closure_type(s->f, ret, fn->n, type);
  made->body = bb_done(&fwd, both, fn->body->span);
  Expr *e = ir_expr(EX_Fn, fn->span);
  e->Fn.fn = made;
  bb_push(s->fwd, me, e, BIND_Let);
  return atom_var(me, fn->span);
}
