/* sweep.c -- the backward half: the steps from the last to the first, with an
 * adjoint for every variable.  A variable nobody contributed to has none, and
 * then nothing is made for what it came from.                                 */
#include "autodiff/versions.h"

Adj *scope_adj(Scope *s, const Var *v) { return map_get(&s->adj, map_ptr(v)); }

void contribute(Scope *s, const Atom *a, Adj *d) {
  if (!d || !atom_active(s, a)) return;
  Val *v = frame_val(s->f, a->var);
  Adj *sum = val_add(s->f->ad, s->rev, v, scope_adj(s, a->var), d);
  map_set(&s->adj, map_ptr(a->var), sum);
}

/* ---- operators ------------------------------------------------------------------- */

static void give_leaves(Scope *s, GradCx *g, int i, const Atom *arg) {
  Type *t = type_resolve(g->arg_type[i]);
  Adj **part = NEW_N(Adj *, t->tuple.n + 1);
  bool any = false;
  for (int k = 0; k < t->tuple.n; k++)
    if (g->out_leaf[i][k].is) part[k] = adj_atom(g->out_leaf[i][k].at), any = true;
  if (any) contribute(s, arg, adj_tuple(t->tuple.n, part));
}

static void take_leaves(Scope *s, GradCx *g, Adj *d) {
  Type *t = type_resolve(g->y_type);
  if (t->kind != TY_Tuple) {
    g->g = NEW_N(GradAtom, 1);
    g->g[0] = (GradAtom){d->at, true};
    return;
  }
  g->g = NEW_N(GradAtom, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++) {
    Adj *p = ad_has_tan(s->f->ad, t->tuple.at[i]) ? adj_part(s->f->ad, s->rev, d, i) : NULL;
    if (p) g->g[i] = (GradAtom){p->at, true};
  }
}

static bool is_deferred(Scope *s, const Atom *a) {
  return a->kind == ATOM_Var && frame_val(s->f, a->var)->deferred;
}

/* The weight of an nn.dense: one more pair. */
static void defer_product(Scope *s, const ExCall *c, Adj *d) {
  if (c->n_args < 2 || !is_deferred(s, &c->args[1])) return;
  AD *ad = s->f->ad;
  Val *v = frame_val(s->f, c->args[1].var);
  Adj *rest = scope_adj(s, v->orig);
  Atom x = c->args[0].kind == ATOM_Var ? frame_val(s->f, c->args[0].var)->at : c->args[0];
  Atom pair = pairs_cons(ad, s->rev, v->type, d->at, x, val_value(ad, s->rev, v, rest));
  map_set(&s->adj, map_ptr(v->orig), adj_atom(pair));
}

static void sweep_op(Scope *s, const Step *st, Adj *d) {
  AD *ad = s->f->ad;
  const ExCall *c = &st->e->Call;
  const GradRule *rule = irctx_grad(ad->cx, c->callee.op);
  if (!rule || rule->why_not) {
    const char *why = rule ? rule->why_not : c->callee.op->not_differentiable;
    ad_fail(ad, st->e->span, "%s: %s", c->callee.op->name, why ? why : "no gradient is known");
    return;
  }
  bool *wants = NEW_N(bool, c->n_args + 1);
  GradCx g = {.cx = ad->cx,
              .bb = s->rev,
              .span = st->e->span,
              .op = c->callee.op,
              .attrs = c->op_attrs,
              .given = &c->attrs,
              .n_args = c->n_args,
              .y = frame_val(s->f, st->var)->at,
              .y_type = frame_val(s->f, st->var)->type,
              .wants = wants};
  Atom *arg = NEW_N(Atom, c->n_args + 1);
  g.arg_type = NEW_N(Type *, c->n_args + 1);
  g.out = NEW_N(GradAtom, c->n_args + 1);
  g.out_leaf = NEW_N(GradAtom *, c->n_args + 1);
  for (int i = 0; i < c->n_args; i++) {
    arg[i] = c->args[i].kind == ATOM_Var ? frame_val(s->f, c->args[i].var)->at : c->args[i];
    g.arg_type[i] = atom_closed(s, &c->args[i]);
    wants[i] = atom_active(s, &c->args[i]) && !is_deferred(s, &c->args[i]);
    Type *t = type_resolve(g.arg_type[i]);
    if (t->kind == TY_Tuple) g.out_leaf[i] = NEW_N(GradAtom, t->tuple.n + 1);
  }
  g.arg = arg;
  take_leaves(s, &g, d);
  defer_product(s, c, d);
  if (rule->text)
    gr_rule(&g, rule->text);
  else if (!rule->hook(&g))
    ad_fail(ad, st->e->span, "%s: %s", c->callee.op->name, g.why ? g.why : "no gradient");
  for (int i = 0; i < c->n_args; i++) {
    if (g.out[i].is) contribute(s, &c->args[i], adj_atom(g.out[i].at));
    if (g.out_leaf[i]) give_leaves(s, &g, i, &c->args[i]);
  }
}

/* ---- constructors: take the gradient apart ------------------------------------------ */

static void sweep_ctor(Scope *s, const Step *st, Adj *d) {
  AD *ad = s->f->ad;
  const ExCall *c = &st->e->Call;
  Type *t = frame_val(s->f, st->var)->type;
  int n = c->n_args;
  Pattern *p = ctor_pattern(ad, ad_adj_ctor(ad, t, c->callee.ctor));
  BlockBuilder some = {0}, none = {0};
  Atom *at = NEW_N(Atom, n + 1), *zero = NEW_N(Atom, n + 1);
  VarList given = {0};
  for (int i = 0; i < n; i++) {
    bool want = atom_active(s, &c->args[i]);
    Var *x = want ? ad_var(ad, "dx", NULL) : NULL;
    p->at[i] = var_pattern(ad, x);
    if (!want) continue;
    Val *v = frame_val(s->f, c->args[i].var);
    at[given.n] = var_atom(ad, x);
    zero[given.n] = tan_zero(ad, &none, v->type, v->at);
    vec_push(&given, c->args[i].var);
  }
  Cases cases = cases_of(ad, d->at);
  add_case(ad, &cases, p, &some, em_tuple(ad, &some, given.n, at));
  add_case(ad, &cases, anything(ad), &none, em_tuple(ad, &none, given.n, zero));
  Atom all = end_cases(ad, s->rev, &cases);
  for (int i = 0; i < given.n; i++) {
    Atom a = atom_var(given.at[i], ad->span);
    contribute(s, &a, adj_atom(em_proj(ad, s->rev, all, i)));
  }
}

/* ---- calls, refs ------------------------------------------------------------------------ */

/* Can the call have changed a ref, or added to what a function holds? */
static bool may_touch(Scope *s, const Step *st) {
  AD *ad = s->f->ad;
  const ExCall *c = &st->e->Call;
  if (!st->twin || ad_holds(ad, frame_val(s->f, st->var)->type)) return true;
  for (int i = 0; i < c->n_args; i++)
    if (ad_holds(ad, atom_closed(s, &c->args[i]))) return true;
  for (int i = 0; i < st->twin->caps.n; i++)
    if (ad_holds(ad, frame_val(s->f, st->twin->caps.at[i])->type)) return true;
  return false;
}

/* Products are summed where they leave the recursion. */
static void give_to_caller(Scope *s, const Step *st, Atom all) {
  AD *ad = s->f->ad;
  const Twin *w = st->twin;
  for (int i = 0, k = 0; k < st->gives.n; i++) {
    if (!w->mask[i]) continue;
    Atom a = atom_var(st->gives.at[k], ad->span), d = em_proj(ad, s->rev, all, k++);
    Val *v = frame_val(s->f, a.var);
    if (w->defer[i] && !v->deferred) d = pairs_sum(ad, s->rev, v->type, d, v->at);
    contribute(s, &a, adj_atom(d));
  }
}

static void sweep_call(Scope *s, const Step *st, Adj *d) {
  AD *ad = s->f->ad;
  const ExCall *c = &st->e->Call;
  Val *v = frame_val(s->f, st->var);
  if (!d && !may_touch(s, st)) return;
  Atom dy = adj_value(ad, s->rev, v->type, v->at, d);
  Atom all = em_call(ad, s->rev, st->pb, 1, &dy);
  if (st->twin) {
    give_to_caller(s, st, all);
    return;
  }
  for (int i = 0; i < c->n_args; i++)
    if (atom_active(s, &c->args[i]))
      contribute(s, &c->args[i], adj_atom(em_proj(ad, s->rev, all, i)));
}

static void sweep_ref(Scope *s, const Step *st, const Atom *held) {
  AD *ad = s->f->ad;
  Type *t = atom_closed(s, held);
  Atom d = em_read(ad, s->rev, st->pb);
  contribute(s, held, adj_atom(d));
  Atom x = held->kind == ATOM_Var ? frame_val(s->f, held->var)->at : *held;
  em_write(ad, s->rev, st->pb, tan_zero(ad, s->rev, t, x));
}

static void add_to_ref(Scope *s, Atom ref, Val *v, Adj *d) {
  AD *ad = s->f->ad;
  Atom dv = adj_value(ad, s->rev, v->type, v->at, d);
  Atom sum = tan_add(ad, s->rev, v->type, em_read(ad, s->rev, ref), dv);
  em_write(ad, s->rev, ref, sum);
}

/* What closures added to v's adjoint; cleared, for the pullback may be called again. */
static void sweep_acc(Scope *s, Val *v) {
  AD *ad = s->f->ad;
  Atom d = em_read(ad, s->rev, v->acc), me = atom_var(v->orig, ad->span);
  contribute(s, &me, adj_atom(d));
  em_write(ad, s->rev, v->acc, tan_zero(ad, s->rev, v->type, v->at));
}

/* ---- the rest ------------------------------------------------------------------------------ */

static Adj *cast_back(Scope *s, const Atom *to, Type *from, Adj *d) {
  AD *ad = s->f->ad;
  Type *t = type_resolve(atom_closed(s, to));
  if (t->kind != TY_Tensor || gr_same_shape(t, from)) return d;
  Atom like = frame_val(s->f, to->var)->at;
  return adj_atom(em_op(ad, s->rev, "reshape_like", 2, (Atom[]){d->at, like}));
}

static void sweep_step(Scope *s, const Step *st) {
  AD *ad = s->f->ad;
  Val *v = frame_val(s->f, st->var);
  Adj *d = scope_adj(s, st->var);
  if (st->is_acc) {
    sweep_acc(s, v);
    return;
  }
  Expr *e = st->e;
  ad->span = e->span;
  if (version_back(s, st, d)) return;
  switch (e->kind) {
  case EX_RefWrite: sweep_ref(s, st, &e->RefWrite.value); return;
  case EX_Ref: sweep_ref(s, st, &e->Ref.value); return;
  case EX_If:
  case EX_Match: sweep_branches(s, st, d); return;
  case EX_Call:
    if (e->Call.callee.kind == ATOM_Global || e->Call.callee.kind == ATOM_Var) {
      sweep_call(s, st, d);
      return;
    }
    break;
  default: break;
  }
  if (!d) return;
  switch (e->kind) {
  case EX_Just: contribute(s, &e->Just.value, d); break;
  case EX_MatchCast:
    contribute(s, &e->MatchCast.value, cast_back(s, &e->MatchCast.value, v->type, d));
    break;
  case EX_Tuple:
    for (int i = 0; i < e->Tuple.n_items; i++)
      if (atom_active(s, &e->Tuple.items[i]))
        contribute(s, &e->Tuple.items[i], adj_part(ad, s->rev, d, i));
    break;
  case EX_Proj: {
    Type *t = type_resolve(atom_closed(s, &e->Proj.tuple));
    Adj **part = NEW_N(Adj *, t->tuple.n + 1);
    part[e->Proj.index] = d;
    contribute(s, &e->Proj.tuple, adj_tuple(t->tuple.n, part));
    break;
  }
  case EX_RefRead: add_to_ref(s, st->pb, v, d); break;
  case EX_Call:
    if (e->Call.callee.kind == ATOM_Ctor)
      sweep_ctor(s, st, d);
    else
      sweep_op(s, st, d);
    break;
  default: break;
  }
}

void sweep(Scope *s) {
  for (int i = s->step.n - 1; i >= 0 && !s->f->ad->errors; i--) sweep_step(s, &s->step.at[i]);
}
