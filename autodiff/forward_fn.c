/* forward_fn.c -- functions in forward mode: twins for calls of known ones,
 * functions of duals for those that are values, and what jvp(f) stands for.
 *
 * A twin is made for each combination of types and of tangents that captures and
 * parameters have at a call.                                                   */
#include "autodiff/versions.h"

static const VarList no_caps = {0};

/* The type of fn's result; said where data is in it, for data that nothing
 * fills knows less of its extents. */
static Type *result_of(Scope *s, const Fn *fn, Type **said) {
  Type *t = result_type(s, fn);
  *said = ad_has_data(t) ? frame_annot(s->f, ad_forward(s->f->ad, t)) : NULL;
  return t;
}

/* ---- function values ----------------------------------------------------------------- */

/* A definition: fn (duals) { twin(operands) } */
Atom forward_global(Scope *s, const Atom *a) {
  AD *ad = s->f->ad;
  Type *t = frame_type(s->f, a->type);
  const TyEnv *env = ad_match(type_resolve(a->global->type), t, NULL);
  int n = t->fn.n;
  t = ad_unbound(ad, t);
  Var **param = NEW_N(Var *, n + 1);
  Dual **full = NEW_N(Dual *, n + 1);
  BlockBuilder bb = {0};
  AtomVec arg = {0};
  for (int i = 0; i < n; i++) {
    Type *p = t->fn.param[i];
    full[i] = dual_full(ad, p);
    param[i] = ad_var(ad, "x", frame_annot(s->f, ad_forward(ad, p)));
    Dual *d = dual_open(ad, &bb, p, full[i], var_atom(ad, param[i]));
    dual_operands(ad, &bb, p, d, full[i], &arg);
  }
  Twin *w = forward_twin(ad, a->global->fn, a->global->name, env, NULL, NULL, &no_caps, full);
  if (ad->m->versions) vec_push(&arg, s->f->live);
  Atom r = em_call(ad, &bb, atom_global(w->global, a->span), arg.n, arg.at);
  return em_fn(ad, s->fwd, n, param, bb_done(&bb, r, ad->span), NULL);
}

static Atom forward_value(Scope *s, const Fn *fn, Var *self) {
  AD *ad = s->f->ad;
  BlockBuilder bb = {0};
  Scope in = {.f = s->f, .fwd = &bb};
  Var *me = ir_var(ad->cx, self ? self->name : NULL, fn->span);
  if (self) {
    Val *v = frame_val(s->f, self);
    v->dual = dual_full(ad, v->type);
    v->dual->at = v->at = atom_var(me, fn->span);
    v->has_at = true;
  }
  Var **param = NEW_N(Var *, fn->n + 1);
  Fn *made = NEW(Fn);
  *made = (Fn){.span = fn->span, .n = fn->n, .param = param};
  frame_own_dims(s->f, fn, made);
  for (int i = 0; i < fn->n; i++) {
    Type *t = frame_type(s->f, fn->param[i]->type);
    param[i] = ir_var(ad->cx, fn->param[i]->name, fn->param[i]->span);
    param[i]->annot = frame_annot(s->f, ad_forward(ad, t));
    forward_bind(&in, fn->param[i],
                 dual_open(ad, &bb, t, dual_full(ad, t), var_atom(ad, param[i])));
  }
  Dual *d = forward_body(&in, fn->body);
  if (ad->errors) return var_atom(ad, me);
  Type *ret = result_of(&in, fn, &made->ret);
  made->body = bb_done(&bb, dual_as(ad, &bb, ret, d, dual_full(ad, ret)), fn->body->span);
  Expr *e = ir_expr(EX_Fn, fn->span);
  e->Fn.fn = made;
  bb_push(s->fwd, me, e, BIND_Let);
  return atom_var(me, fn->span);
}

/* A local function: of a general one, the instance used here. */
Atom forward_local(Scope *s, Val *v, const Atom *a) {
  const TyEnv *env = s->f->env;
  Val was = *v;
  s->f->env = ad_match(v->orig->type, frame_type(s->f, a->type), env);
  v->type = frame_type(s->f, a->type);
  v->plain = false;
  Atom f = forward_value(s, v->fn->fn, v->orig);
  s->f->env = env;
  *v = was;
  return f;
}

void forward_function(Scope *s, Var *v, Expr *e, BindStyle style) {
  LocalFn *l = local_fn(s->f, v, e->Fn.fn);
  Val *x = NEW(Val);
  *x = (Val){.orig = v, .type = frame_type(s->f, v->type), .fn = l};
  map_set(&s->f->val, map_ptr(v), x);
  if (fn_stays(s, e->Fn.fn, v)) keep_plain(s, l, v, e, style);
  if (l->escapes && !e->Fn.fn->n_vars) forward_value(s, e->Fn.fn, v);
}

/* ---- calls ----------------------------------------------------------------------------- */

static void call_plain(Scope *s, Var *v, Expr *e, Atom callee, BindStyle style) {
  Atom *arg = NEW_N(Atom, e->Call.n_args + 1);
  for (int i = 0; i < e->Call.n_args; i++) arg[i] = plain_atom(s, &e->Call.args[i]);
  Expr *made = ad_call(callee, e->Call.n_args, arg, e->span);
  forward_bind(s, v, dual_plain(scope_let(s, v, made, style)));
}

/* v is a value with all tangents. */
static void bind_full(Scope *s, Var *v, Expr *call) {
  AD *ad = s->f->ad;
  Type *t = frame_type(s->f, v->type);
  Atom r = bb_bind(ad->cx, s->fwd, call, v->name, BIND_Let);
  forward_bind(s, v, dual_open(ad, s->fwd, t, dual_full(ad, t), r));
}

static void call_known(Scope *s, Var *v, Expr *e, const Fn *fn, Sym name, const TyEnv *env,
                       LocalFn *l) {
  AD *ad = s->f->ad;
  const VarList *caps = l ? &l->caps : &no_caps;
  int n = caps->n + e->Call.n_args;
  Dual **shape = NEW_N(Dual *, n + 1);
  AtomVec arg = {0};
  for (int i = 0; i < n; i++) {
    Atom a = i < caps->n ? atom_var(caps->at[i], e->span) : e->Call.args[i - caps->n];
    shape[i] = forward_dual(s, &a);
    dual_operands(ad, s->fwd, atom_closed(s, &a), shape[i], shape[i], &arg);
  }
  Twin *w = forward_twin(ad, fn, name, env, l ? s->f : NULL, l ? l->self : NULL, caps, shape);
  if (ad->m->versions) vec_push(&arg, s->f->live);
  bind_full(s, v, ad_call(atom_global(w->global, e->span), arg.n, arg.at, e->span));
}

/* Can the call be kept as it is?  tan: does its result have a tangent. */
static bool operand_stays(Scope *s, const Atom *a, bool tan) {
  if (a->kind == ATOM_Global) return true;
  if (a->kind != ATOM_Var) return true;
  Val *v = frame_val(s->f, a->var);
  if (v->fn) return v->fn->has_plain;
  return !v->active || (!tan && v->dual && v->dual->kind == DUAL_Pair);
}

void forward_application(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  const Atom *callee = forward_behind(s, &e->Call.callee);
  Type *ret = frame_type(s->f, v->type);
  bool tan = ad_has_tan(ad, ret), inert = !ad_special(ad, ret);
  VarList free = {0};
  ad_free_of(e, &free);
  inert &= (tan || !outside_touched(s, &free)) && !version_touched(s, &free);
  if (version_read_forward(s, v, e)) return;
  for (int i = 0; i < e->Call.n_args; i++) inert &= operand_stays(s, &e->Call.args[i], tan);
  if (callee->kind == ATOM_Global) {
    const Global *g = callee->global;
    if (inert || outside_only(s, &free))
      call_plain(s, v, e, *callee, style);
    else
      call_known(s, v, e, g->fn, g->name, ad_match(g->type, frame_type(s->f, callee->type), NULL),
                 NULL);
    return;
  }
  Val *f = frame_val(s->f, callee->var);
  if (inert && f->fn && f->fn->has_plain) {
    call_plain(s, v, e, f->fn->plain, style);
  } else if (is_known(f)) {
    const TyEnv *env = ad_match(callee->var->type, frame_type(s->f, callee->type), s->f->env);
    call_known(s, v, e, f->fn->fn, f->fn->self->name, env, f->fn);
  } else if (inert && !f->active && !f->fn) {
    call_plain(s, v, e, f->at, style);
  } else {
    Type *t = frame_type(s->f, callee->type);
    Dual *fn = forward_dual(s, callee);
    Atom *arg = NEW_N(Atom, e->Call.n_args + 1);
    for (int i = 0; i < e->Call.n_args; i++)
      arg[i] = dual_as(ad, s->fwd, t->fn.param[i], forward_dual(s, &e->Call.args[i]),
                       dual_full(ad, t->fn.param[i]));
    Atom at = dual_as(ad, s->fwd, t, fn, dual_full(ad, t));
    bind_full(s, v, ad_call(at, e->Call.n_args, arg, e->span));
  }
}

/* ---- definitions ---------------------------------------------------------------------------- */

void forward_make_twin(AD *ad, Twin *w) {
  Frame *f = w->from ? w->from : frame_new(ad, w->env, true);
  const Fn *fn = w->fn;
  int n_caps = w->caps.n, n = n_caps + fn->n;
  ad->span = w->global->span = fn->span;
  if (w->self) twin_know_self(f, w);
  Var **orig = NEW_N(Var *, n + 1);
  Type **type = NEW_N(Type *, n + 1);
  for (int i = 0; i < n; i++) {
    orig[i] = i < n_caps ? w->caps.at[i] : fn->param[i - n_caps];
    type[i] = i < n_caps ? frame_val(f, orig[i])->type : frame_type(f, orig[i]->type);
  }
  DimVec dims = {0};
  VarList param = {0};
  BlockBuilder bb = {0};
  Scope s = {.f = f, .fwd = &bb};
  frame_dims(f, NULL, n, type, &dims);
  for (int i = 0; i < n; i++) {
    forward_bind(&s, orig[i], dual_params(f, type[i], w->shape[i], orig[i], &param));
    frame_val(f, orig[i])->type = type[i]; /* a capture's was closed by the frame around */
  }
  if (ad->m->versions) vec_push(&param, version_param(f));
  Dual *d = forward_body(&s, fn->body);
  Fn *made = w->global->fn;
  *made = (Fn){.span = fn->span, .n = param.n, .param = param.at, .n_dims = dims.n, .dim = dims.at};
  if (ad->errors) return;
  Type *ret = result_of(&s, fn, &made->ret);
  made->body = bb_done(&bb, dual_as(ad, &bb, ret, d, dual_full(ad, ret)), fn->body->span);
}

/* fn (x, dx) { (y, dy) } */
Fn *surface_jvp(AD *ad, const Fn *fn, const TyEnv *env, bool lifted) {
  Frame *f = frame_new(ad, env, lifted);
  int n = fn->n;
  Fn *made = NEW(Fn);
  Type **type = NEW_N(Type *, n + 1);
  BlockBuilder bb = {0};
  Scope s = {.f = f, .fwd = &bb};
  DimVec dims = {0};
  ad->span = fn->span;
  for (int i = 0; i < n; i++) type[i] = frame_type(f, fn->param[i]->type);
  frame_dims(f, lifted ? NULL : fn, n, type, &dims);
  version_begin(f, &bb);
  *made = (Fn){.span = fn->span, .n = 2 * n, .n_dims = dims.n, .dim = dims.at};
  made->param = NEW_N(Var *, 2 * n + 1);
  for (int i = 0; i < n; i++) {
    Var *was = fn->param[i], *x = ir_var(ad->cx, was->name, was->span);
    const char *step = str_fmt("d%s", was->name ? was->name : "x");
    Var *dx = ad_var(ad, step, frame_annot(f, diff_cotangent(type[i])));
    x->annot = frame_annot(f, type[i]);
    made->param[i] = x, made->param[n + i] = dx;
    forward_bind(&s, was, dual_in(ad, &bb, AS_Step, type[i], var_atom(ad, x), var_atom(ad, dx)));
  }
  Dual *d = forward_body(&s, fn->body);
  version_end(f, &bb);
  Type *ret = ad->errors ? NULL : result_type(&s, fn);
  if (ret) version_result(ad, fn->span, ret);
  if (ad->errors) return NULL;
  Atom both = d->whole;
  if (d->kind != DUAL_Pair || !d->is_whole) {
    Atom y = dual_value(ad, &bb, ret, d);
    both = em_tuple(ad, &bb, 2, (Atom[]){y, dual_out(ad, &bb, AS_Step, ret, d)});
  }
  made->body = bb_done(&bb, both, fn->body->span);
  return made;
}
