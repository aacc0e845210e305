/* surface.c -- the functions that grad and vjp stand for.                     */
#include "autodiff/versions.h"

typedef struct {
  Scope s;
  const Fn *fn;
  Fn *made;
  Type **type, *ret;
  Atom y;
} Surface;

static void begin(AD *ad, Surface *u, const Fn *fn, const TyEnv *env, bool lifted, Out fwd,
                  Out rev) {
  Frame *f = frame_new(ad, env, lifted);
  *u = (Surface){.s = {.f = f, .fwd = fwd, .rev = rev}, .fn = fn, .made = NEW(Fn)};
  Fn *m = u->made;
  int n = fn->n;
  u->type = NEW_N(Type *, n + 1);
  m->span = ad->span = fn->span;
  m->n = n;
  m->param = NEW_N(Var *, n + 1);
  for (int i = 0; i < n; i++) u->type[i] = frame_type(f, fn->param[i]->type);
  DimVec dims = {0};
  frame_dims(f, lifted ? NULL : fn, n, u->type, &dims);
  m->n_dims = dims.n;
  m->dim = dims.at;
  version_begin(f, fwd);
  mark_captured(f, fn->body);
  for (int i = 0; i < n; i++) {
    Var *p = m->param[i] = ir_var(ad->cx, fn->param[i]->name, fn->param[i]->span);
    p->annot = frame_annot(f, u->type[i]);
    Val *v = scope_bind(&u->s, fn->param[i], atom_var(p, p->span), !ad_is_function(u->type[i]));
    v->plain = ad_special(ad, u->type[i]);
  }
  forward_block(&u->s, fn->body);
  u->ret = result_type(&u->s, fn);
  u->y = ad->errors ? (Atom){.kind = ATOM_Poison} : scope_atom(&u->s, &fn->body->result);
  version_end(f, fwd);
  version_result(ad, fn->span, u->ret);
}

/* The gradients as the program sees them. */
static Atom gradients(AD *ad, Surface *u) {
  int n = u->fn->n;
  Atom *at = NEW_N(Atom, n + 1);
  sweep(&u->s);
  for (int i = 0; i < n; i++) {
    Val *v = frame_val(u->s.f, u->fn->param[i]);
    Adj *d = scope_adj(&u->s, u->fn->param[i]);
    Atom dx = {0};
    if (ad_has_tan(ad, v->type))
      dx = adj_value(ad, u->s.rev, v->type, v->at, d);
    else if (ad_has_data(v->type))
      dx = em_unit(ad, u->s.rev);
    at[i] = tan_out(ad, u->s.rev, AS_Step, v->type, v->at, dx);
  }
  return em_tuple(ad, u->s.rev, n, at);
}

static Fn *surface_grad(AD *ad, const Fn *fn, const TyEnv *env, bool lifted) {
  BlockBuilder bb = {0};
  Surface u;
  begin(ad, &u, fn, env, lifted, &bb, &bb);
  if (ad->errors) return NULL;
  const Atom *r = &fn->body->result;
  if (atom_active(&u.s, r)) contribute(&u.s, r, adj_atom(tan_ones(ad, &bb, u.ret, u.y)));
  Atom all = gradients(ad, &u);
  Atom both = em_tuple(ad, &bb, 2, (Atom[]){u.y, all});
  u.made->body = bb_done(&bb, both, fn->body->span);
  return u.made;
}

static Fn *surface_vjp(AD *ad, const Fn *fn, const TyEnv *env, bool lifted) {
  BlockBuilder fwd = {0}, rev = {0};
  Surface u;
  begin(ad, &u, fn, env, lifted, &fwd, &rev);
  if (ad->errors) return NULL;
  Adj *d;
  Type *seen = diff_cotangent(u.ret);
  Var *dy = cotangent(&u.s, u.ret, u.y, &d);
  if (ad_has_data(seen) || !ad_has_tan(ad, u.ret) || type_resolve(seen)->kind == TY_Tuple) {
    dy->annot = frame_annot(u.s.f, seen);
    if (d) d = adj_atom(tan_in(ad, &rev, AS_Step, u.ret, var_atom(ad, dy)));
  }
  contribute(&u.s, &fn->body->result, d);
  Atom all = gradients(ad, &u);
  Atom pb = em_pullback(ad, &fwd, dy, bb_done(&rev, all, ad->span), NULL);
  Atom both = em_tuple(ad, &fwd, 2, (Atom[]){u.y, pb});
  u.made->body = bb_done(&fwd, both, fn->body->span);
  return u.made;
}

Fn *surface_fn(AD *ad, DiffKind k, const Fn *fn, const TyEnv *env, bool lifted) {
  if (k == DIFF_Jvp) return surface_jvp(ad, fn, env, lifted);
  return k == DIFF_Grad ? surface_grad(ad, fn, env, lifted) : surface_vjp(ad, fn, env, lifted);
}
