/* outside.c -- what was there before what is differentiated, and holds refs.
 *
 * The dual of a ref has a shadow beside it (ad.h); a ref from outside has none, nor
 * have those that functions made data (values.h) hold.  Where the dual is wanted, the
 * value is copied into one with new shadows.  What is in such a ref is state, a
 * constant for the derivative: right as long as nothing that has a derivative is
 * written to it.  Where that may be, it is a mistake: two shadows may be of one ref.
 *
 * Refs whose contents never have a derivative are found as the code is made: reads of
 * them are taken to be constants until a write shows that they are not, and the round
 * is then made again.                                                            */
#include "autodiff/values.h"
#include "autodiff/versions.h"

static Type **fields_of(AD *ad, Type *data, const Ctor *c) {
  Type **at = NEW_N(Type *, c->n + 1);
  for (int i = 0; i < c->n; i++) at[i] = ad_field(ad, data, c, i);
  return at;
}

/* Types that were met, and those being looked into: a type that holds itself at ever larger
 * types would never be met again. */
typedef struct {
  AD *ad;
  Map seen;
  const DefPath *path;
} Copies;

static bool all_copy(Copies *k, int n, Type *const *at);
static bool data_copies(Copies *k, Type *t) {
  if (ever_larger(k->path, t->data.def)) return false;
  uint64_t key = map_ptr(ad_key(k->ad, "copies", t));
  if (map_get(&k->seen, key)) return true;
  map_set(&k->seen, key, t);
  DefPath at = {t->data.def, k->path};
  bool yes = true;
  k->path = &at;
  for (int c = 0; c < t->data.def->n_ctors && yes; c++) {
    const Ctor *ctor = t->data.def->ctor[c];
    yes = all_copy(k, ctor->n, fields_of(k->ad, t, ctor));
  }
  k->path = at.up;
  return yes;
}

static bool copies(Copies *k, Type *t) {
  t = type_resolve(t);
  if (!ad_special(k->ad, t)) return true;
  switch (t->kind) {
  case TY_Tuple: return all_copy(k, t->tuple.n, t->tuple.at);
  case TY_Ref: return ad_has_tan(k->ad, t->ref) && !ad_special(k->ad, t->ref);
  case TY_Data: return data_copies(k, t);
  case TY_Fn:
  case TY_Tensor:
  case TY_Var:
  case TY_Meta:
  case TY_Error: break;
  }
  return false;
}
static bool all_copy(Copies *k, int n, Type *const *at) {
  for (int i = 0; i < n; i++)
    if (!copies(k, at[i])) return false;
  return true;
}

bool outside_copies(AD *ad, Type *t) {
  Copies k = {.ad = ad};
  return copies(&k, t);
}

bool outside_special(Scope *s, const Atom *a) {
  if (a->kind != ATOM_Var) return false;
  const Val *v = frame_val(s->f, a->var);
  return v->plain && !v->fn && ad_special(s->f->ad, v->type);
}
bool outside_is(Scope *s, const Atom *a) {
  return outside_special(s, a) && outside_copies(s->f->ad, frame_val(s->f, a->var)->type);
}

bool outside_only(Scope *s, const VarList *used) {
  bool some = false;
  if (version_touched(s, used)) return false;
  for (int i = 0; i < used->n; i++) {
    const Atom a = atom_var(used->at[i], s->f->ad->span);
    const Val *v = frame_val(s->f, used->at[i]);
    bool is = outside_is(s, &a);
    if (v->active || (!is && (v->fn || ad_special(s->f->ad, v->type)))) return false;
    some |= is;
  }
  return some;
}

/* ---- copies ------------------------------------------------------------------------ */

/* def @outside_D(x: D) -> D_dual */
static Atom copier(AD *ad, Type *t) {
  t = nameless(ad, t);
  Sym key = ad_key(ad, "outside", t);
  const char *name = str_fmt("outside_%s", t->data.def->name);
  Global *g;
  if (!ad_define(ad, &ad->helper, key, name, 1, &g)) return atom_global(g, ad->span);
  g->fn->ret = nameless(ad, ad_dual(ad, t));
  Cases c = cases_of(ad, ad_param(ad, g, 0, "x", t));
  for (int k = 0; k < t->data.def->n_ctors; k++) {
    Ctor *ctor = t->data.def->ctor[k];
    Var **x = NEW_N(Var *, ctor->n + 1);
    Pattern *p = pattern_of(ad, ctor, x);
    Type **field = fields_of(ad, t, ctor);
    Atom *at = NEW_N(Atom, ctor->n + 1);
    BlockBuilder one = {0};
    for (int i = 0; i < ctor->n; i++) at[i] = outside_copy(ad, &one, field[i], var_atom(ad, x[i]));
    Atom made = em_call(ad, &one, ad_ctor_atom(ad, ad_dual_ctor(ad, t, ctor)), ctor->n, at);
    add_case(ad, &c, p, &one, made);
  }
  g->fn->body = cases_block(ad, &c);
  return atom_global(g, ad->span);
}

Atom outside_copy(AD *ad, Out o, Type *t, Atom x) {
  t = type_resolve(t);
  if (!ad_special(ad, t)) return x;
  if (t->kind == TY_Data) return em_call(ad, o, copier(ad, t), 1, &x);
  if (t->kind == TY_Tuple) {
    Atom *at = NEW_N(Atom, t->tuple.n + 1);
    for (int i = 0; i < t->tuple.n; i++)
      at[i] = outside_copy(ad, o, t->tuple.at[i], em_proj(ad, o, x, i));
    return em_tuple(ad, o, t->tuple.n, at);
  }
  vec_push(&ad->copied, t->ref);
  Atom shadow = em_ref(ad, o, tan_zero(ad, o, t->ref, em_read(ad, o, x)));
  return em_tuple(ad, o, 2, (Atom[]){x, shadow});
}

static const char written_why[] = "what depends on the parameters is written to a ref that is, or "
                                  "may be, from outside of what is "
                                  "differentiated";

/* ---- what is written to them ----------------------------------------------------------- */

static bool holds_state(Scope *s, Var *v) {
  const Val *x = frame_val(s->f, v);
  bool yes = !x->fn && x->plain && ad_special(s->f->ad, x->type);
  for (int i = 0; x->fn && i < x->fn->caps.n && !yes; i++) yes = holds_state(s, x->fn->caps.at[i]);
  return yes;
}

bool outside_touched(Scope *s, const VarList *used) {
  bool state = false, active = false;
  for (int i = 0; i < used->n && !(state && active); i++) {
    Val *v = frame_val(s->f, used->at[i]);
    active |= v->active;
    state |= holds_state(s, used->at[i]);
    for (int k = 0; v->fn && k < v->fn->caps.n; k++)
      active |= frame_val(s->f, v->fn->caps.at[k])->active;
  }
  return state && active;
}

void outside_write(Scope *s, const ExRefWrite *w, bool dual) {
  AD *ad = s->f->ad;
  Type *t = type_resolve(atom_closed(s, &w->ref));
  const Expr *e = w->ref.kind == ATOM_Var ? map_get(&ad->bound, map_ptr(w->ref.var)) : NULL;
  if (dual && e && e->kind == EX_Ref) return;
  if (dual)
    vec_push(&ad->written, ((Unknown){t->ref, ad->span, NULL}));
  else
    ad_unknown(ad, ad->span, t, "%s", written_why);
}

static uint64_t content(AD *ad, Type *t) {
  return map_ptr(sym(ad->cx->syms, type_less_extents(t)));
}
bool outside_warm(AD *ad, Type *t) { return map_get(ad->warm, content(ad, t)) != NULL; }
void outside_warms(AD *ad, Type *t) {
  if (outside_warm(ad, t)) return;
  map_set(ad->warm, content(ad, t), t);
  ad->again = true;
  ad->errors++;
}

void outside_check(AD *ad) {
  for (int i = 0; i < ad->written.n && !ad->errors; i++)
    for (int k = 0; k < ad->copied.n; k++)
      if (content(ad, ad->written.at[i].type) == content(ad, ad->copied.at[k])) {
        ad_unknown(ad, ad->written.at[i].at, ad->written.at[i].type, "%s", written_why);
        return;
      }
}
