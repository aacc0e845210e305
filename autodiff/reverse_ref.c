/* reverse_ref.c -- the forward half of reverse mode at refs: one made, read and written. */
#include "autodiff/versions.h"

/* A ref of what has a tangent is a pair: the ref, and one for the gradient of
 * what is in it now. */
static bool is_pair(Scope *s, const Atom *ref) {
  Type *t = type_resolve(atom_closed(s, ref));
  bool plain = ref->kind == ATOM_Var && frame_val(s->f, ref->var)->plain;
  return !plain && ad_has_tan(s->f->ad, t->ref);
}

void reverse_ref(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  Type *held = type_resolve(frame_type(s->f, v->type))->ref;
  if (atom_active(s, &e->Ref.value)) outside_warms(ad, held);
  Expr *made = ad_like(e);
  made->Ref.value = scope_atom(s, &e->Ref.value);
  if (!ad_has_tan(ad, held)) {
    scope_bind(s, v, scope_let(s, v, made, style), false);
    return;
  }
  Atom r = bb_bind(ad->cx, s->fwd, made, v->name, style);
  Atom shadow = em_ref(ad, s->fwd, tan_zero(ad, s->fwd, held, made->Ref.value));
  Atom pair = em_tuple(ad, s->fwd, 2, (Atom[]){r, shadow});
  vec_push(&s->step, ((Step){.var = v, .e = e, .pb = shadow}));
  scope_bind(s, v, pair, false);
}

void reverse_read(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  Expr *made = ad_like(e);
  bool pair = is_pair(s, &e->RefRead.ref);
  Atom r = pair ? scope_atom(s, &e->RefRead.ref) : plain_atom(s, &e->RefRead.ref);
  made->RefRead.ref = pair ? em_proj(ad, s->fwd, r, 0) : r;
  Atom a = scope_let(s, v, made, style);
  bool warm = pair && outside_warm(ad, type_resolve(atom_closed(s, &e->RefRead.ref))->ref);
  if (warm) vec_push(&s->step, ((Step){.var = v, .e = e, .pb = em_proj(ad, s->fwd, r, 1)}));
  Val *x = scope_bind(s, v, a, warm);
  x->plain = outside_special(s, &e->RefRead.ref) && ad_special(ad, x->type);
}

/* Can what is in a ref from outside be a, as it was? */
static bool was_before(Scope *s, const Atom *a) {
  if (a->kind != ATOM_Var) return true;
  const Val *v = frame_val(s->f, a->var);
  return v->fn ? v->fn->has_plain : v->plain || !ad_special(s->f->ad, v->type);
}

void reverse_write(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  Expr *made = ad_like(e);
  bool pair = is_pair(s, &e->RefWrite.ref);
  if (atom_active(s, &e->RefWrite.value)) {
    if (pair) outside_warms(ad, type_resolve(atom_closed(s, &e->RefWrite.ref))->ref);
    outside_write(s, &e->RefWrite, pair);
  }
  Atom r = pair ? scope_atom(s, &e->RefWrite.ref) : plain_atom(s, &e->RefWrite.ref);
  made->RefWrite.ref = pair ? em_proj(ad, s->fwd, r, 0) : r;
  bool outside = outside_special(s, &e->RefWrite.ref);
  if (outside && !was_before(s, &e->RefWrite.value)) outside_write(s, &e->RefWrite, false);
  made->RefWrite.value = (outside ? plain_atom : scope_atom)(s, &e->RefWrite.value);
  Atom a = scope_let(s, v, made, style);
  if (pair) vec_push(&s->step, ((Step){.var = v, .e = e, .pb = em_proj(ad, s->fwd, r, 1)}));
  scope_bind(s, v, a, false);
}
