/* forward.c -- forward mode: a program over duals.  Every binding is made once,
 * in its order, followed by the binding of its tangent; branches, recursion,
 * function values and refs stay what they are.                                */
#include "autodiff/versions.h"

/* ---- variables ------------------------------------------------------------------- */

/* Code that is kept as it is knows a variable by a variable. */
static Atom as_variable(Scope *s, const Var *v, Atom a) {
  if (a.kind == ATOM_Var || a.kind == ATOM_Poison) return a;
  AD *ad = s->f->ad;
  return bb_bind(ad->cx, s->fwd, ir_just(a, ad->span), v->name, BIND_Let);
}

void forward_bind(Scope *s, Var *v, Dual *d) {
  Frame *f = s->f;
  Val *x = NEW(Val);
  *x = (Val){.orig = v, .type = frame_type(f, v->type), .dual = d};
  x->has_at = d->kind == DUAL_Plain || d->kind == DUAL_Pair;
  if (x->has_at) x->at = as_variable(s, v, d->at);
  x->active = d->kind != DUAL_Plain;
  /* Every function and ref made here is a Box: another is from outside. */
  x->plain = !x->active && ad_special(f->ad, x->type);
  map_set(&f->val, map_ptr(v), x);
}

static Dual *boxed(AD *ad, Out o, Type *t, Atom a) {
  return dual_open(ad, o, t, dual_full(ad, t), a);
}

const Atom *forward_behind(Scope *s, const Atom *a) {
  while (a->kind == ATOM_Var) {
    const Val *v = frame_val(s->f, a->var);
    const Expr *e = map_get(&s->f->ad->bound, map_ptr(a->var));
    if (!v->plain || v->dual || v->fn || !e || e->kind != EX_Just) break;
    a = &e->Just.value;
  }
  return a;
}

Dual *forward_dual(Scope *s, const Atom *a) {
  AD *ad = s->f->ad;
  a = forward_behind(s, a);
  if (a->kind == ATOM_Global && type_resolve(a->type)->kind == TY_Fn)
    return boxed(ad, s->fwd, a->type, forward_global(s, a));
  if (a->kind == ATOM_Ctor && type_resolve(a->type)->kind == TY_Fn) {
    Type *t = frame_type(s->f, a->type);
    return boxed(ad, s->fwd, t, ad_ctor_atom(ad, ad_forward_ctor(ad, t->fn.ret, a->ctor)));
  }
  if (a->kind != ATOM_Var) return dual_plain(*a);
  Val *v = frame_val(s->f, a->var);
  if (v->fn && (v->plain || v->fn->fn->n_vars))
    return boxed(ad, s->fwd, v->type, forward_local(s, v, a));
  return v->dual ? v->dual : dual_plain(v->at);
}

static Atom value_of(Scope *s, const Atom *a) {
  return dual_value(s->f->ad, s->fwd, atom_closed(s, a), forward_dual(s, a));
}

/* a with all tangents that a value of its type can have. */
static Atom full_of(Scope *s, const Atom *a) {
  AD *ad = s->f->ad;
  Type *t = atom_closed(s, a);
  return dual_as(ad, s->fwd, t, forward_dual(s, a), dual_full(ad, t));
}

/* v is e, a value of its dual type. */
static void bind_box(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  Type *t = frame_type(s->f, v->type);
  Atom a = bb_bind(ad->cx, s->fwd, e, v->name, style);
  if (v->annot) a.var->annot = frame_annot(s->f, ad_forward(ad, t));
  forward_bind(s, v, boxed(ad, s->fwd, t, a));
}

static void bind_plain(Scope *s, Var *v, Expr *e, BindStyle style) {
  forward_bind(s, v, dual_plain(scope_let(s, v, e, style)));
}

static void bind_made(Scope *s, Var *v, Expr *e, BindStyle style, bool box) {
  (box ? bind_box : bind_plain)(s, v, e, style);
}

/* ---- tuples, data ------------------------------------------------------------------ */

static Dual **each_dual(Scope *s, int n, const Atom *at, bool *active) {
  Dual **d = NEW_N(Dual *, n + 1);
  for (int i = 0; i < n; i++) {
    d[i] = forward_dual(s, &at[i]);
    *active |= d[i]->kind != DUAL_Plain;
  }
  return d;
}

static Atom *plain_atoms(Scope *s, int n, const Atom *at) {
  Atom *to = NEW_N(Atom, n + 1);
  for (int i = 0; i < n; i++) to[i] = value_of(s, &at[i]);
  return to;
}

static void forward_tuple(Scope *s, Var *v, Expr *e, BindStyle style) {
  bool active = false;
  Dual **part = each_dual(s, e->Tuple.n_items, e->Tuple.items, &active);
  if (active) {
    forward_bind(s, v, dual_tuple(e->Tuple.n_items, part));
    return;
  }
  Expr *made = ad_like(e);
  made->Tuple.items = plain_atoms(s, e->Tuple.n_items, e->Tuple.items);
  bind_plain(s, v, made, style);
}

static void forward_proj(Scope *s, Var *v, Expr *e, BindStyle style) {
  Dual *d = forward_dual(s, &e->Proj.tuple);
  if (d->kind == DUAL_Tuple) {
    forward_bind(s, v, d->part[e->Proj.index]);
    return;
  }
  Expr *made = ad_like(e);
  made->Proj.tuple = d->at;
  bind_plain(s, v, made, style);
}

static void forward_ctor(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  Type *t = frame_type(s->f, v->type);
  bool active = false;
  if (version_made_forward(s, v, e)) return;
  each_dual(s, e->Call.n_args, e->Call.args, &active);
  Expr *made = ad_like(e);
  made->Call.callee.type = NULL;
  made->Call.inst = NULL;
  if (!active && !ad_special(ad, t)) {
    made->Call.args = plain_atoms(s, e->Call.n_args, e->Call.args);
    bind_plain(s, v, made, style);
    return;
  }
  made->Call.callee.ctor = ad_forward_ctor(ad, t, e->Call.callee.ctor);
  made->Call.args = NEW_N(Atom, e->Call.n_args + 1);
  for (int i = 0; i < e->Call.n_args; i++) made->Call.args[i] = full_of(s, &e->Call.args[i]);
  bind_box(s, v, made, style);
}

/* Extents are those of the value; its tangent has them. */
static Dual *cast_dual(AD *ad, Out o, Type *t, Dual *d, Atom x) {
  t = type_resolve(t);
  if (d->kind == DUAL_Plain) return dual_plain(x);
  if (d->kind == DUAL_Pair && d->none) {
    Dual *made = dual_pair(x, x);
    made->none = d->none;
    return made;
  }
  if (d->kind == DUAL_Pair) return dual_pair(x, em_op(ad, o, "reshape_like", 2, (Atom[]){d->d, x}));
  Dual **part = NEW_N(Dual *, d->n + 1);
  for (int i = 0; i < d->n; i++)
    part[i] = cast_dual(ad, o, t->tuple.at[i], d->part[i], em_proj(ad, o, x, i));
  return dual_tuple(d->n, part);
}

static void forward_cast(Scope *s, Var *v, Expr *e, BindStyle style) {
  Dual *d = forward_dual(s, &e->MatchCast.value);
  Expr *made = ad_like(e);
  made->MatchCast.value = value_of(s, &e->MatchCast.value);
  Atom x = scope_let(s, v, plain_expr(s->f, made), style);
  forward_bind(s, v, cast_dual(s->f->ad, s->fwd, frame_type(s->f, v->type), d, x));
}

/* ---- refs ---------------------------------------------------------------------------- */

static void forward_ref(Scope *s, Var *v, Expr *e, BindStyle style) {
  Expr *made = ad_like(e);
  bool box = ad_special(s->f->ad, frame_type(s->f, v->type));
  made->Ref.value = box ? full_of(s, &e->Ref.value) : value_of(s, &e->Ref.value);
  bind_made(s, v, made, style, box);
}

static void forward_read(Scope *s, Var *v, Expr *e, BindStyle style) {
  Dual *d = forward_dual(s, &e->RefRead.ref);
  Expr *made = ad_like(e);
  made->RefRead.ref = d->at;
  bind_made(s, v, made, style, d->kind == DUAL_Box);
}

static void forward_write(Scope *s, Var *v, Expr *e, BindStyle style) {
  Dual *d = forward_dual(s, &e->RefWrite.ref);
  Expr *made = ad_like(e);
  if (d->kind == DUAL_Plain && forward_dual(s, &e->RefWrite.value)->kind != DUAL_Plain)
    outside_write(s, &e->RefWrite, false);
  made->RefWrite.ref = d->at;
  made->RefWrite.value =
      d->kind == DUAL_Box ? full_of(s, &e->RefWrite.value) : value_of(s, &e->RefWrite.value);
  bind_plain(s, v, made, style);
}

/* ---- branches -------------------------------------------------------------------------- */

typedef struct {
  BlockBuilder bb;
  Dual *result;
  Pattern *pat;
} Arm;

/* The pattern for duals of a shape; what its variables are is bound. */
static Pattern *forward_pattern(Scope *s, const Pattern *p, Type *t, const Dual *shape) {
  AD *ad = s->f->ad;
  t = type_resolve(t);
  Pattern *made = NEW(Pattern);
  *made = *p;
  made->type = NULL;
  made->at = NEW_N(Pattern *, p->n + 1);
  if (p->kind == PAT_Var) {
    made->var = ir_var(ad->cx, p->var->name, p->var->span);
    forward_bind(s, p->var, dual_open(ad, s->fwd, t, shape, var_atom(ad, made->var)));
  }
  bool box = shape->kind == DUAL_Box;
  if (p->kind == PAT_Ctor && box) made->ctor = ad_forward_ctor(ad, t, p->ctor);
  for (int i = 0; i < p->n; i++) {
    Type *sub = p->kind == PAT_Ctor ? ad_field(ad, t, p->ctor, i) : t->tuple.at[i];
    const Dual *part = box                         ? dual_full(ad, sub)
                       : shape->kind == DUAL_Tuple ? shape->part[i]
                                                   : &(const Dual){.kind = DUAL_Plain};
    made->at[i] = forward_pattern(s, p->at[i], sub, part);
  }
  return made;
}

static void forward_arm(Scope *s, Arm *arm, const Pattern *p, Type *data, const Dual *shape,
                        Block *b) {
  Scope in = {.f = s->f, .fwd = &arm->bb};
  if (p) arm->pat = forward_pattern(&in, p, data, shape);
  arm->result = forward_body(&in, b);
}

/* The result of all arms has the tangents that any of them has. */
static Block *end_arm(Scope *s, Arm *arm, Type *t, const Dual *shape, Span span) {
  Atom r = dual_as(s->f->ad, &arm->bb, t, arm->result, shape);
  return bb_done(&arm->bb, r, span);
}

static Dual *joined(AD *ad, Type *t, int n, const Arm *arm) {
  Dual *shape = arm[0].result;
  if (n == 1) return shape;
  for (int i = 1; i < n; i++) shape = dual_join(ad, t, shape, arm[i].result);
  return shape;
}

static void forward_arms(Scope *s, Var *v, Expr *e) {
  AD *ad = s->f->ad;
  Type *t = frame_type(s->f, v->type);
  Expr *made = ir_expr(e->kind, e->span);
  int n = e->kind == EX_If ? 2 : e->Match.n_clauses;
  Arm *arm = NEW_N(Arm, n + 1);
  Dual *shape;
  if (e->kind == EX_If) {
    made->If.cond = value_of(s, &e->If.cond);
    forward_arm(s, &arm[0], NULL, NULL, NULL, e->If.then);
    forward_arm(s, &arm[1], NULL, NULL, NULL, e->If.otherwise);
    shape = joined(ad, t, n, arm);
    made->If.then = end_arm(s, &arm[0], t, shape, e->If.then->span);
    made->If.otherwise = end_arm(s, &arm[1], t, shape, e->If.otherwise->span);
  } else {
    Type *data = atom_closed(s, &e->Match.scrutinee);
    Dual *d = forward_dual(s, &e->Match.scrutinee);
    made->Match.scrutinee = dual_as(ad, s->fwd, data, d, d);
    made->Match.partial = e->Match.partial;
    made->Match.n_clauses = n;
    made->Match.clauses = NEW_N(Clause, n);
    for (int i = 0; i < n; i++)
      forward_arm(s, &arm[i], e->Match.clauses[i].pat, data, d, e->Match.clauses[i].body);
    shape = joined(ad, t, n, arm);
    for (int i = 0; i < n; i++) {
      Clause *c = &e->Match.clauses[i];
      made->Match.clauses[i] =
          (Clause){arm[i].pat, end_arm(s, &arm[i], t, shape, c->body->span), c->span};
    }
  }
  if (ad->errors) return;
  Atom r = bb_bind(ad->cx, s->fwd, made, v->name, BIND_Let);
  forward_bind(s, v, dual_open(ad, s->fwd, t, shape, r));
}

static void forward_branching(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  VarList free = {0};
  ad_free_of(e, &free);
  Type *t = frame_type(s->f, v->type);
  bool tan = ad_has_tan(ad, t), inert = !ad_special(ad, t) && !outside_touched(s, &free);
  inert &= !version_touched(s, &free);
  for (int i = 0; i < free.n && inert; i++) {
    Val *x = frame_val(s->f, free.at[i]);
    bool value = x->dual && x->dual->kind == DUAL_Pair && !tan;
    inert = x->fn ? x->fn->has_plain : !x->active || value;
  }
  if (inert || outside_only(s, &free))
    bind_plain(s, v, plain_expr(s->f, e), style);
  else
    forward_arms(s, v, e);
}

/* ---- the walk ---------------------------------------------------------------------------- */

static void forward_binding(Scope *s, Var *v, Expr *e, BindStyle style) {
  s->f->ad->span = e->span;
  switch (e->kind) {
  case EX_Just: forward_bind(s, v, forward_dual(s, &e->Just.value)); return;
  case EX_Tuple: forward_tuple(s, v, e, style); return;
  case EX_Proj: forward_proj(s, v, e, style); return;
  case EX_MatchCast: forward_cast(s, v, e, style); return;
  case EX_Fn: forward_function(s, v, e, style); return;
  case EX_If:
  case EX_Match: forward_branching(s, v, e, style); return;
  case EX_Ref: forward_ref(s, v, e, style); return;
  case EX_RefRead: forward_read(s, v, e, style); return;
  case EX_RefWrite: forward_write(s, v, e, style); return;
  case EX_Call:
    if (diff_kind(e)) /* checkpoint: nothing is kept here */
      forward_bind(s, v, forward_dual(s, &e->Call.args[0]));
    else if (e->Call.callee.kind == ATOM_Op)
      forward_operator(s, v, e, style);
    else if (e->Call.callee.kind == ATOM_Ctor)
      forward_ctor(s, v, e, style);
    else
      forward_application(s, v, e, style);
    return;
  case EX_COUNT: break;
  }
}

Dual *forward_body(Scope *s, Block *b) {
  for (int i = 0; i < b->n && !s->f->ad->errors; i++)
    forward_binding(s, b->at[i].var, b->at[i].value, b->at[i].style);
  if (s->f->ad->errors) return dual_plain((Atom){.kind = ATOM_Poison});
  return forward_dual(s, &b->result);
}
