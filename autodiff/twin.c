/* twin.c -- the transformed twins of functions: f with what it captures as
 * leading parameters, giving its value and its pullback.
 *
 * A twin is made for each combination of types and of parameters that matter
 * (mask): its pullback gives the gradients of those and of nothing else.      */
#include "autodiff/versions.h"

enum { MAX_TWINS = 20000 };

/* Extents are the caller's: a twin serves all of them. */
const TyEnv *ad_without_dims(AD *ad, const TyEnv *env) {
  TyEnv *first = NULL, **last = &first;
  for (; env; env = env->up) {
    TyEnv *e = NEW(TyEnv);
    *e = (TyEnv){env->var, nameless(ad, env->type), NULL};
    *last = e;
    last = (TyEnv **)(uintptr_t)&e->up;
  }
  return first;
}

/* b: what of captures and parameters matters. */
static Sym twin_key(AD *ad, const Fn *fn, const TyEnv *env, StrBuf b) {
  buf_fmt(&b, " %p", (const void *)fn);
  for (; env; env = env->up) buf_fmt(&b, " %s", type_text(env->type));
  return sym(ad->cx->syms, buf_text(&b));
}

/* Known functions that fn uses are known in its twin. */
static void know_functions(Frame *to, Frame *from, const Fn *fn) {
  VarList free = {0};
  ir_free_vars(fn, &free);
  for (int i = 0; i < free.n; i++) {
    if (map_get(&to->val, map_ptr(free.at[i]))) continue;
    Val *v = frame_val(from, free.at[i]);
    if (!is_known(v)) continue;
    LocalFn *l = NEW(LocalFn);
    *l = *v->fn;
    l->has_plain = false;
    Val *made = NEW(Val);
    *made = *v;
    made->fn = l;
    made->has_at = false;
    made->dual = NULL;
    map_set(&to->val, map_ptr(free.at[i]), made);
    know_functions(to, from, l->fn);
  }
}

/* The twin with this key; made when there is none, with what it sees of the
 * functions and variables around it. */
static Twin *find_twin(AD *ad, Sym key, const Twin *like, const char *name, Frame *from) {
  Twin *w = map_get(&ad->twin_at, map_ptr(key));
  if (w) return w;
  w = NEW(Twin);
  *w = *like;
  w->global = ad_global(ad, name, NEW(Fn));
  map_set(&ad->twin_at, map_ptr(key), w);
  vec_push(&ad->twins, w);
  if (!from) return w;
  Frame *f = w->from = frame_new(ad, w->env, true);
  know_functions(f, from, w->fn);
  for (int i = 0; i < w->caps.n; i++) {
    Val *v = NEW(Val);
    *v = (Val){.orig = w->caps.at[i], .type = frame_val(from, w->caps.at[i])->type};
    map_set(&f->val, map_ptr(w->caps.at[i]), v);
  }
  return w;
}

Twin *twin_of(AD *ad, const Fn *fn, Sym name, const TyEnv *env, Frame *from, Var *self,
              const VarList *caps, const bool *mask, const bool *plain) {
  StrBuf b = {0};
  int n = caps->n + fn->n;
  env = ad_without_dims(ad, env);
  for (int i = 0; i < n; i++) buf_char(&b, mask[i] ? '1' : plain && plain[i] ? 'p' : '0');
  Twin like = {.fn = fn, .env = env, .self = self, .caps = *caps};
  const char *said = str_fmt("%s_vjp", name ? name : "fn");
  Twin *w = find_twin(ad, twin_key(ad, fn, env, b), &like, said, from);
  if (w->mask) return w;
  w->global->fn->n = n;
  w->mask = NEW_N(bool, n + 1);
  w->plain = NEW_N(bool, n + 1);
  w->defer = NEW_N(bool, n + 1);
  for (int i = 0; i < n; i++) {
    int param = i - caps->n;
    Var *v = param < 0 ? caps->at[i] : fn->param[param];
    Type *t = param < 0 ? frame_val(from, v)->type : ad_close(ad, v->type, env);
    w->mask[i] = mask[i];
    w->plain[i] = plain && plain[i];
    w->defer[i] = ad->last && mask[i] && can_defer(fn, self, v, t, param < 0 ? -1 : param);
  }
  return w;
}

Twin *forward_twin(AD *ad, const Fn *fn, Sym name, const TyEnv *env, Frame *from, Var *self,
                   const VarList *caps, Dual *const *shape) {
  StrBuf b = {0};
  env = ad_without_dims(ad, env);
  buf_str(&b, "forward ");
  for (int i = 0; i < caps->n + fn->n; i++) dual_spell(shape[i], &b);
  Twin like = {.fn = fn, .env = env, .self = self, .caps = *caps, .shape = shape};
  const char *said = str_fmt("%s_jvp", name ? name : "fn");
  return find_twin(ad, twin_key(ad, fn, env, b), &like, said, from);
}

void twin_know_self(Frame *f, const Twin *w) {
  LocalFn *l = NEW(LocalFn);
  *l = (LocalFn){.fn = w->fn, .self = w->self, .caps = w->caps};
  Val *v = NEW(Val);
  *v = (Val){.orig = w->self, .type = frame_type(f, w->self->type), .fn = l};
  v->plain = map_get(&f->ad->uses_as_value, map_ptr(w->self)) != NULL;
  l->escapes = v->plain;
  map_set(&f->val, map_ptr(w->self), v);
}

static void make_twin(AD *ad, Twin *w) {
  Frame *f = w->from ? w->from : frame_new(ad, w->env, true);
  const Fn *fn = w->fn;
  Fn *made = w->global->fn;
  int n_caps = w->caps.n, n = n_caps + fn->n;
  ad->span = w->global->span = fn->span;
  if (w->self) twin_know_self(f, w);
  Var **orig = NEW_N(Var *, n + 1), **param = NEW_N(Var *, n + 1);
  Type **type = NEW_N(Type *, n + 1);
  for (int i = 0; i < n; i++) {
    orig[i] = i < n_caps ? w->caps.at[i] : fn->param[i - n_caps];
    type[i] = i < n_caps ? frame_val(f, orig[i])->type : frame_type(f, orig[i]->type);
  }
  DimVec dims = {0};
  frame_dims(f, NULL, n, type, &dims);
  for (int i = 0; i < n; i++) {
    param[i] = ir_var(ad->cx, orig[i]->name, orig[i]->span);
    param[i]->annot = frame_annot(f, w->plain[i] ? type[i] : ad_dual(ad, type[i]));
  }
  BlockBuilder fwd = {0}, rev = {0};
  Scope s = {.f = f, .fwd = &fwd, .rev = &rev};
  if (ad->m->versions) param[n] = version_param(f);
  mark_captured(f, fn->body);
  forward_params(&s, n, orig, param, w->mask);
  /* A capture's type was closed by the frame around, whose types are gone. */
  for (int i = 0; i < n_caps; i++) frame_val(f, orig[i])->type = type[i];
  for (int i = 0; i < n; i++) {
    frame_val(f, orig[i])->deferred = w->defer[i];
    frame_val(f, orig[i])->plain = w->plain[i];
  }
  forward_block(&s, fn->body);
  Atom y = scope_atom(&s, &fn->body->result);
  Type *ret = result_type(&s, fn);
  Adj *d;
  Var *dy = cotangent(&s, ret, y, &d);
  contribute(&s, &fn->body->result, d);
  sweep(&s);
  Atom *at = NEW_N(Atom, n + 1);
  Type **given = NEW_N(Type *, n + 1);
  int k = 0;
  for (int i = 0; i < n; i++) {
    Val *v = frame_val(f, orig[i]);
    if (!w->mask[i]) continue;
    given[k] = val_tan(ad, v);
    at[k++] = val_value(ad, &rev, v, scope_adj(&s, orig[i]));
  }
  Block *back = bb_done(&rev, em_tuple(ad, &rev, k, at), ad->span);
  Atom pb = em_pullback(ad, &fwd, dy, back, pullback_type(f, k, given));
  Atom both = em_tuple(ad, &fwd, 2, (Atom[]){y, pb});
  *made = (Fn){.span = fn->span,
               .n = n + (ad->m->versions != NULL),
               .param = param,
               .n_dims = dims.n,
               .dim = dims.at};
  made->body = bb_done(&fwd, both, fn->body->span);
}

bool twins_finish(AD *ad) {
  while (ad->done < ad->twins.n && !ad->errors) {
    if (ad->twins.n > MAX_TWINS)
      return ad_fail(ad, ad->twins.at[ad->done]->fn->span,
                     "it would need more than %d transformed functions", MAX_TWINS);
    Twin *w = ad->twins.at[ad->done++];
    if (w->shape)
      forward_make_twin(ad, w);
    else
      make_twin(ad, w);
  }
  if (!ad->errors) outside_check(ad);
  return !ad->errors;
}
