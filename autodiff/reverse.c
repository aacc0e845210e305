/* reverse.c -- the forward half of reverse mode: the program as it was, with
 * what the backward half needs, and a list of steps to take back.             */
#include "autodiff/versions.h"

/* ---- variables of a scope -------------------------------------------------------- */

Val *scope_bind(Scope *s, Var *v, Atom at, bool active) {
  Frame *f = s->f;
  Val *x = NEW(Val);
  *x = (Val){.orig = v, .type = frame_type(f, v->type), .at = at, .has_at = true};
  x->active = active && ad_has_tan(f->ad, x->type);
  x->depth = s->depth;
  map_set(&f->val, map_ptr(v), x);
  if (!x->active || !map_get(&f->captured, map_ptr(v))) return x;
  x->acc = em_ref(f->ad, s->fwd, tan_zero(f->ad, s->fwd, x->type, at));
  x->has_acc = true;
  vec_push(&s->step, ((Step){.var = v, .is_acc = true}));
  return x;
}

bool atom_active(Scope *s, const Atom *a) {
  return a->kind == ATOM_Var && frame_val(s->f, a->var)->active;
}

Type *atom_closed(Scope *s, const Atom *a) {
  if (a->kind == ATOM_Var) return frame_val(s->f, a->var)->type;
  return frame_type(s->f, a->type);
}

/* All of a function's parameters that have a tangent. */
static bool *full_mask(AD *ad, int n, Type *const *param) {
  bool *mask = NEW_N(bool, n + 1);
  for (int i = 0; i < n; i++) mask[i] = ad_has_tan(ad, param[i]);
  return mask;
}

/* The result type of the pullback of a function of type fn. */
static Type *tangents_type(Frame *f, Type *fn) {
  Type **tan = NEW_N(Type *, fn->fn.n + 1);
  for (int i = 0; i < fn->fn.n; i++) tan[i] = ad_tan(f->ad, fn->fn.param[i]);
  return pullback_type(f, fn->fn.n, tan);
}

/* A definition as a value.  Its pullback speaks of all parameters. */
static Atom dual_global(Scope *s, const Atom *a) {
  AD *ad = s->f->ad;
  const Fn *fn = a->global->fn;
  Type *t = frame_type(s->f, a->type);
  Type *scheme = type_resolve(a->global->type);
  const TyEnv *env = ad_match(scheme, t, NULL);
  bool *mask = full_mask(ad, t->fn.n, t->fn.param);
  static const VarList no_caps = {0};
  Twin *w = twin_of(ad, fn, a->global->name, env, NULL, NULL, &no_caps, mask, NULL);
  Atom call = atom_global(w->global, a->span);
  bool all = true;
  for (int i = 0; i < t->fn.n; i++) all &= mask[i] && !w->defer[i];
  if (all && !ad->m->versions) return call;
  t = ad_unbound(ad, t);
  /* The twin gives what is active; a value's pullback has a place for each. */
  Var **param = NEW_N(Var *, t->fn.n + 1);
  Atom *arg = NEW_N(Atom, t->fn.n + 1), *out = NEW_N(Atom, t->fn.n + 1);
  arg[t->fn.n] = s->f->live;
  for (int i = 0; i < t->fn.n; i++) {
    param[i] = ad_var(ad, "x", frame_annot(s->f, ad_dual(ad, t->fn.param[i])));
    arg[i] = var_atom(ad, param[i]);
  }
  BlockBuilder body = {0}, back = {0};
  Atom r = em_call(ad, &body, call, t->fn.n + (ad->m->versions != NULL), arg);
  Atom y = em_proj(ad, &body, r, 0), pb = em_proj(ad, &body, r, 1);
  Var *dy = ad_var(ad, "dy", frame_annot(s->f, ad_tan(ad, t->fn.ret)));
  Atom dx = em_call(ad, &back, pb, 1, (Atom[]){var_atom(ad, dy)});
  for (int i = 0, k = 0; i < t->fn.n; i++) {
    out[i] = mask[i] ? em_proj(ad, &back, dx, k++) : em_unit(ad, &back);
    if (w->defer[i]) out[i] = pairs_sum(ad, &back, t->fn.param[i], out[i], arg[i]);
  }
  Atom res = em_tuple(ad, &back, t->fn.n, out);
  Type *ret = tangents_type(s->f, t);
  Atom wrap = em_pullback(ad, &body, dy, bb_done(&back, res, ad->span), ret);
  Atom both = em_tuple(ad, &body, 2, (Atom[]){y, wrap});
  return em_fn(ad, s->fwd, t->fn.n, param, bb_done(&body, both, ad->span), NULL);
}

/* A local function as a value: of a general one, the instance used here. */
static Atom dual_local(Scope *s, Val *v, const Atom *a) {
  const TyEnv *env = s->f->env;
  Val was = *v;
  s->f->env = ad_match(v->orig->type, frame_type(s->f, a->type), env);
  Atom f = forward_closure(s, v->fn->fn, v->orig);
  s->f->env = env;
  *v = was;
  return f;
}

Atom scope_atom(Scope *s, const Atom *a) {
  AD *ad = s->f->ad;
  if (a->kind == ATOM_Global && type_resolve(a->type)->kind == TY_Fn) return dual_global(s, a);
  if (a->kind != ATOM_Var) return *a;
  Val *v = frame_val(s->f, a->var);
  if (v->fn && (v->plain || v->fn->fn->n_vars)) return dual_local(s, v, a);
  if (v->plain && ad_special(ad, v->type)) {
    if (outside_copies(ad, v->type)) return outside_copy(ad, s->fwd, v->type, v->at);
    ad_unknown(
        ad, a->span, v->type,
        "%s is a function or holds one that is not known here: it comes from outside of what "
        "is differentiated",
        a->var->name ? str_fmt("%%%s", a->var->name) : "a value");
  }
  return v->at;
}

/* As it was: for code that is not differentiated. */
Atom plain_atom(Scope *s, const Atom *a) {
  if (a->kind != ATOM_Var) return *a;
  Val *v = frame_val(s->f, a->var);
  return v->fn && v->fn->has_plain ? v->fn->plain : v->at;
}

/* ---- what needs no derivative ------------------------------------------------------- */

/* Can code that uses v be kept as it is? */
static bool stays(Scope *s, Var *v) {
  Val *x = frame_val(s->f, v);
  if (x->fn) return x->fn->has_plain;
  if (version_state(s->f->ad, x->type)) return false;
  return !x->active && (x->plain || !ad_special(s->f->ad, x->type));
}

bool fn_stays(Scope *s, const Fn *fn, Var *self) {
  VarList free = {0};
  if (self) vec_push(&free, self);
  ir_free_vars(fn, &free);
  for (int i = self != NULL; i < free.n; i++)
    if (!stays(s, free.at[i])) return false;
  return true;
}

void keep_plain(Scope *s, LocalFn *l, const Var *v, const Expr *e, BindStyle style) {
  Var *made = ir_var(s->f->ad->cx, v->name, v->span);
  Map vars = {0};
  map_set(&vars, map_ptr(v), made);
  Expr *lit = ir_expr(EX_Fn, e->span);
  lit->Fn.fn = plain_fn(s->f, e->Fn.fn, &vars);
  bb_push(s->fwd, made, lit, style);
  l->has_plain = true;
  l->plain = atom_var(made, e->span);
}

void ad_free_of(const Expr *e, VarList *out) {
  Var v = {.id = -1};
  Binding one = {&v, (Expr *)(uintptr_t)e, BIND_Graph};
  Block b = {1, &one, {.kind = ATOM_Var, .var = &v}, e->span};
  Fn f = {.body = &b};
  ir_free_vars(&f, out);
}

/* ---- expressions ------------------------------------------------------------------------ */

Expr *ad_like(const Expr *e) {
  Expr *made = ir_expr(e->kind, e->span);
  *made = *e;
  made->type = NULL;
  made->n_oblige = 0;
  made->oblige = NULL;
  return made;
}

static Atom *each_atom(Scope *s, int n, const Atom *at, Atom f(Scope *, const Atom *)) {
  Atom *to = NEW_N(Atom, n + 1);
  for (int i = 0; i < n; i++) to[i] = f(s, &at[i]);
  return to;
}

Atom scope_let(Scope *s, Var *v, Expr *e, BindStyle style) {
  Atom a = bb_bind(s->f->ad->cx, s->fwd, e, v->name, style);
  Type *t = frame_type(s->f, v->type);
  if (v->annot && !ad_special(s->f->ad, t)) a.var->annot = frame_annot(s->f, v->annot);
  return a;
}

static void step(Scope *s, Step st) { vec_push(&s->step, st); }

/* Binds v to e and, if a derivative flows through it, remembers the step. */
static void bound(Scope *s, Var *v, Expr *was, Expr *e, BindStyle style, bool active) {
  Atom a = scope_let(s, v, e, style);
  if (active) step(s, (Step){.var = v, .e = was});
  scope_bind(s, v, a, active);
}

static bool any_active(Scope *s, int n, const Atom *at) {
  for (int i = 0; i < n; i++)
    if (atom_active(s, &at[i])) return true;
  return false;
}

static bool any_special(Scope *s, int n, const Atom *at) {
  for (int i = 0; i < n; i++)
    if (ad_special(s->f->ad, atom_closed(s, &at[i]))) return true;
  return false;
}

bool op_cuts(Scope *s, const OpDef *op) {
  const GradRule *r = irctx_grad(s->f->ad->cx, op);
  return r && r->text && !*r->text;
}

static void forward_op(Scope *s, Var *v, Expr *e, BindStyle style) {
  Expr *made = ad_like(e);
  made->Call.args = each_atom(s, e->Call.n_args, e->Call.args, scope_atom);
  made->Call.op_attrs = NULL;
  bool active = any_active(s, e->Call.n_args, e->Call.args) && !op_cuts(s, e->Call.callee.op);
  bound(s, v, e, made, style, active);
}

static void forward_ctor(Scope *s, Var *v, Expr *e, BindStyle style) {
  if (version_made(s, v, e, style)) return;
  Expr *made = ad_like(e);
  Type *t = frame_type(s->f, v->type);
  made->Call.callee.ctor = ad_dual_ctor(s->f->ad, t, e->Call.callee.ctor);
  made->Call.callee.type = NULL;
  made->Call.inst = NULL;
  made->Call.args = each_atom(s, e->Call.n_args, e->Call.args, scope_atom);
  bound(s, v, e, made, style, any_active(s, e->Call.n_args, e->Call.args));
}

/* (y, pb) = call; the step calls pb. */
static void bind_pair(Scope *s, Var *v, Expr *was, Expr *call, Step st, BindStyle style) {
  AD *ad = s->f->ad;
  Atom pair = bb_bind(ad->cx, s->fwd, call, NULL, BIND_Graph);
  Expr *first = ir_expr(EX_Proj, was->span);
  first->Proj.tuple = pair;
  Atom y = scope_let(s, v, first, style);
  st.pb = em_proj(ad, s->fwd, pair, 1);
  st.var = v;
  st.e = was;
  step(s, st);
  scope_bind(s, v, y, true);
}

static void call_plain(Scope *s, Var *v, Expr *e, Atom callee, BindStyle style) {
  Atom *arg = each_atom(s, e->Call.n_args, e->Call.args, plain_atom);
  bound(s, v, e, ad_call(callee, e->Call.n_args, arg, e->span), style, false);
  Val *x = frame_val(s->f, v);
  x->plain = ad_special(s->f->ad, x->type);
}

/* A call of a function that is known: of its twin for these operands. */
static void call_known(Scope *s, Var *v, Expr *e, const Fn *fn, Sym name, const TyEnv *env,
                       LocalFn *l, BindStyle style) {
  AD *ad = s->f->ad;
  static const VarList none = {0};
  const VarList *caps = l ? &l->caps : &none;
  int n = caps->n + e->Call.n_args;
  bool *mask = NEW_N(bool, n + 1), *plain = NEW_N(bool, n + 1);
  Atom *arg = NEW_N(Atom, n + 1);
  Step st = {0};
  for (int i = 0; i < n; i++) {
    Atom a = i < caps->n ? atom_var(caps->at[i], e->span) : e->Call.args[i - caps->n];
    mask[i] = atom_active(s, &a);
    plain[i] = outside_is(s, &a);
    arg[i] = (plain[i] ? plain_atom : scope_atom)(s, &a);
    if (mask[i]) vec_push(&st.gives, a.var);
  }
  Twin *w = twin_of(ad, fn, name, env, l ? s->f : NULL, l ? l->self : NULL, caps, mask, plain);
  st.twin = w;
  if (ad->m->versions) arg[n++] = s->f->live;
  bind_pair(s, v, e, ad_call(atom_global(w->global, e->span), n, arg, e->span), st, style);
}

static void forward_call(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  Atom *callee = &e->Call.callee;
  Type *ret = frame_type(s->f, v->type);
  int n = e->Call.n_args;
  bool inert = !any_active(s, n, e->Call.args) && !any_special(s, n, e->Call.args);
  VarList used = {0};
  ad_free_of(e, &used);
  inert &= !ad_special(ad, ret) && !version_touched(s, &used);
  if (version_read(s, v, e, style)) return;
  if (callee->kind == ATOM_Global) {
    if (inert || outside_only(s, &used)) {
      call_plain(s, v, e, *callee, style);
      return;
    }
    Type *t = frame_type(s->f, callee->type);
    const TyEnv *env = ad_match(callee->global->type, t, NULL);
    call_known(s, v, e, callee->global->fn, callee->global->name, env, NULL, style);
    return;
  }
  Val *f = frame_val(s->f, callee->var);
  if (is_known(f)) {
    for (int i = 0; i < f->fn->caps.n; i++) {
      Val *c = frame_val(s->f, f->fn->caps.at[i]);
      inert &= !c->active && (c->plain || !ad_special(ad, c->type));
    }
    if (inert && f->fn->has_plain) {
      call_plain(s, v, e, f->fn->plain, style);
      return;
    }
    const TyEnv *env = ad_match(callee->var->type, frame_type(s->f, callee->type), s->f->env);
    call_known(s, v, e, f->fn->fn, f->fn->self->name, env, f->fn, style);
    return;
  }
  if (f->plain && inert) {
    call_plain(s, v, e, f->at, style);
    return;
  }
  Atom fn = scope_atom(s, callee);
  Atom *arg = each_atom(s, n, e->Call.args, scope_atom);
  bind_pair(s, v, e, ad_call(fn, n, arg, e->span), (Step){0}, style);
}

/* f, and for the gradient f once more. */
static void forward_checkpoint(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  Type *t = type_resolve(frame_type(s->f, v->type));
  int n = t->fn.n;
  Atom f = scope_atom(s, &e->Call.args[0]);
  if (ad->m->versions) { /* what it reads would no longer be of this run */
    bound(s, v, e, ir_just(f, e->span), style, false);
    return;
  }
  Var **param = NEW_N(Var *, n + 1);
  Atom *arg = NEW_N(Atom, n + 1);
  for (int i = 0; i < n; i++) {
    param[i] = ad_var(ad, "x", frame_annot(s->f, ad_dual(ad, t->fn.param[i])));
    arg[i] = var_atom(ad, param[i]);
  }
  BlockBuilder body = {0}, back = {0};
  Var *dy = ad_var(ad, "dy", frame_annot(s->f, ad_tan(ad, t->fn.ret)));
  Atom *anew = NEW_N(Atom, n + 1);
  for (int i = 0; i < n; i++)
    anew[i] = em_again(ad, &back, arg[i], frame_type(s->f, t->fn.param[i]));
  Atom again = em_proj(ad, &back, em_call(ad, &back, f, n, anew), 1);
  Atom dx = em_call(ad, &back, again, 1, (Atom[]){var_atom(ad, dy)});
  Atom y = em_proj(ad, &body, em_call(ad, &body, f, n, arg), 0);
  Type *ret = tangents_type(s->f, t);
  Atom pb = em_pullback(ad, &body, dy, bb_done(&back, dx, ad->span), ret);
  Atom both = em_tuple(ad, &body, 2, (Atom[]){y, pb});
  Fn *fn = NEW(Fn);
  *fn = (Fn){.span = e->span, .n = n, .param = param, .body = bb_done(&body, both, ad->span)};
  Expr *lit = ir_expr(EX_Fn, e->span);
  lit->Fn.fn = fn;
  scope_bind(s, v, bb_bind(ad->cx, s->fwd, lit, v->name, style), false);
}

static void forward_fn(Scope *s, Var *v, Expr *e, BindStyle style) {
  LocalFn *l = local_fn(s->f, v, e->Fn.fn);
  Val *x = scope_bind(s, v, (Atom){0}, false);
  x->fn = l;
  x->has_at = false;
  if (fn_stays(s, e->Fn.fn, v)) keep_plain(s, l, v, e, style);
  if (!l->escapes || e->Fn.fn->n_vars) return;
  x->has_at = true;
  x->at = forward_closure(s, e->Fn.fn, v);
}

/* ---- the walk ----------------------------------------------------------------------------- */

static void forward_branching(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  VarList free = {0};
  ad_free_of(e, &free);
  Type *t = frame_type(s->f, v->type);
  bool inert = !ad_special(ad, t) && !outside_touched(s, &free) && !version_touched(s, &free);
  for (int i = 0; i < free.n && inert; i++) {
    Val *x = frame_val(s->f, free.at[i]);
    bool differentiates = x->active && ad_has_tan(ad, t);
    bool outer = x->plain || !ad_special(ad, x->type);
    inert = x->fn ? x->fn->has_plain : !differentiates && outer;
  }
  if (!inert && !outside_only(s, &free)) {
    forward_branches(s, v, e);
    return;
  }
  bound(s, v, e, plain_expr(s->f, e), style, false);
  Val *x = frame_val(s->f, v);
  x->plain = ad_special(ad, t);
}

static void forward_simple(Scope *s, Var *v, Expr *e, BindStyle style) {
  Expr *made = ad_like(e);
  bool active = false, outside = false;
  switch (e->kind) {
  case EX_Just:
    made->Just.value = scope_atom(s, &e->Just.value);
    active = atom_active(s, &e->Just.value);
    break;
  case EX_Tuple:
    made->Tuple.items = each_atom(s, e->Tuple.n_items, e->Tuple.items, scope_atom);
    active = any_active(s, e->Tuple.n_items, e->Tuple.items);
    break;
  case EX_Proj:
    outside = outside_special(s, &e->Proj.tuple);
    made->Proj.tuple = (outside ? plain_atom : scope_atom)(s, &e->Proj.tuple);
    active = atom_active(s, &e->Proj.tuple);
    break;
  default:
    made->MatchCast.value = scope_atom(s, &e->MatchCast.value);
    active = atom_active(s, &e->MatchCast.value);
    made = plain_expr(s->f, made);
    break;
  }
  bound(s, v, e, made, style, active);
  Val *x = frame_val(s->f, v);
  x->plain = outside && ad_special(s->f->ad, x->type);
}

static void forward_expr(Scope *s, Var *v, Expr *e, BindStyle style) {
  s->f->ad->span = e->span;
  switch (e->kind) {
  case EX_Just:
  case EX_Tuple:
  case EX_Proj:
  case EX_MatchCast: forward_simple(s, v, e, style); return;
  case EX_Fn: forward_fn(s, v, e, style); return;
  case EX_If:
  case EX_Match: forward_branching(s, v, e, style); return;
  case EX_Ref: reverse_ref(s, v, e, style); return;
  case EX_RefRead: reverse_read(s, v, e, style); return;
  case EX_RefWrite: reverse_write(s, v, e, style); return;
  case EX_Call:
    if (diff_kind(e))
      forward_checkpoint(s, v, e, style);
    else if (e->Call.callee.kind == ATOM_Op)
      forward_op(s, v, e, style);
    else if (e->Call.callee.kind == ATOM_Ctor)
      forward_ctor(s, v, e, style);
    else
      forward_call(s, v, e, style);
    return;
  case EX_COUNT: break;
  }
}

void forward_block(Scope *s, Block *b) {
  for (int i = 0; i < b->n && !s->f->ad->errors; i++)
    forward_expr(s, b->at[i].var, b->at[i].value, b->at[i].style);
}

void forward_params(Scope *s, int n, Var **orig, Var **made, const bool *active) {
  for (int i = 0; i < n; i++) scope_bind(s, orig[i], atom_var(made[i], orig[i]->span), active[i]);
}
