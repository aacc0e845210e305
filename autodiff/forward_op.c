/* forward_op.c -- the derivative of an operator along a step, from its gradient
 * rule (ir/grad.h): the rule with the step for g where the derivative is
 * diagonal, the operator itself where it is linear, else the rule's transpose:
 * it is linear in g, so its own pullback is the derivative.                    */
#include <string.h>
#include "autodiff/forward.h"

/* One call: its operands, with their types and values, and its result. */
typedef struct {
  AD *ad;
  Scope *s;
  Expr *e;
  const GradRule *rule;
  int n;
  Dual **in;
  Type **type, *y_type;
  Atom *arg, y;
} Along;

static bool is_float(Type *t) {
  t = type_resolve(t);
  return t->kind == TY_Tensor && dtype_is_float(t->tensor.dtype);
}
static Type *leaf_type(Type *t, int k) {
  t = type_resolve(t);
  return t->kind == TY_Tuple ? t->tuple.at[k] : t;
}
static int n_leaves(Type *t) {
  t = type_resolve(t);
  return t->kind == TY_Tuple ? t->tuple.n : 1;
}
static bool is_tuple(Type *t) { return type_resolve(t)->kind == TY_Tuple; }

/* The tangent of leaf k, if there is one. */
static const Dual *leaf_dual(const Dual *d, int k) {
  if (d->kind == DUAL_Tuple) d = d->part[k];
  return d->kind == DUAL_Pair ? d : NULL;
}
static bool any_step(const Dual *d) {
  if (d->kind != DUAL_Tuple) return d->kind == DUAL_Pair;
  for (int i = 0; i < d->n; i++)
    if (any_step(d->part[i])) return true;
  return false;
}
static const char *missing(const Dual *d) {
  const char *why = d->kind == DUAL_Pair ? d->none : NULL;
  for (int i = 0; i < d->n && !why; i++) why = missing(d->part[i]);
  return why;
}

/* Does the rule speak of operand i? */
static bool speaks_of(const Along *a, int i) {
  if (!a->rule->text) return true;
  const char *name = a->e->Call.callee.op->args[i].name;
  size_t n = strlen(name);
  for (const char *s = a->rule->text; s; s = strchr(s, ';')) {
    s += strspn(s, "; ");
    if (!strncmp(s, name, n) && strchr(" :~", s[n])) return true;
  }
  return false;
}

static GradCx context(const Along *a, Out o) {
  const ExCall *c = &a->e->Call;
  bool *wants = NEW_N(bool, a->n + 1);
  GradCx g = {.cx = a->ad->cx,
              .bb = o,
              .span = a->e->span,
              .op = c->callee.op,
              .attrs = c->op_attrs,
              .given = &c->attrs,
              .n_args = a->n,
              .arg = a->arg,
              .arg_type = a->type,
              .y = a->y,
              .y_type = a->y_type,
              .wants = wants};
  g.g = NEW_N(GradAtom, n_leaves(a->y_type) + 1);
  g.out = NEW_N(GradAtom, a->n + 1);
  g.out_leaf = NEW_N(GradAtom *, a->n + 1);
  for (int i = 0; i < a->n; i++) {
    wants[i] = any_step(a->in[i]);
    if (is_tuple(a->type[i])) g.out_leaf[i] = NEW_N(GradAtom, n_leaves(a->type[i]) + 1);
  }
  return g;
}

/* ---- the three ways ----------------------------------------------------------------- */

static void add_term(Along *a, GradAtom *sum, Atom d) {
  Atom at = sum->is ? em_op(a->ad, a->s->fwd, "add", 2, (Atom[]){sum->at, d}) : d;
  *sum = (GradAtom){at, true};
}

static GradAtom diagonal(Along *a) {
  GradAtom sum = {0};
  bool whole = false;
  for (int i = 0; i < a->n; i++) {
    if (!any_step(a->in[i])) continue;
    GradCx g = context(a, a->s->fwd);
    bool *wants = NEW_N(bool, a->n);
    wants[i] = true;
    g.wants = wants;
    g.along = true;
    g.g[0] = (GradAtom){dual_tangent(a->ad, a->in[i]), true};
    gr_rule(&g, a->rule->text);
    if (!g.out[i].is) continue;
    add_term(a, &sum, g.out[i].at);
    whole |= gr_same_shape(a->type[i], a->y_type);
  }
  if (sum.is && !whole)
    sum.at = em_op(a->ad, a->s->fwd, "broadcast_to_like", 2, (Atom[]){sum.at, a->y});
  return sum;
}

/* Operand i with leaf k the step, and other leaves as they are or zero. */
static Atom stepped(Along *a, int i, int k, bool zero) {
  Out o = a->s->fwd;
  Atom *at = NEW_N(Atom, n_leaves(a->type[i]) + 1);
  for (int j = 0; j < n_leaves(a->type[i]); j++) {
    Type *t = leaf_type(a->type[i], j);
    const Dual *d = leaf_dual(a->in[i], j);
    bool step = d && (k < 0 || j == k);
    at[j] = a->arg[i];
    if (!step && is_tuple(a->type[i])) at[j] = em_proj(a->ad, o, a->arg[i], j);
    if (step)
      at[j] = dual_tangent(a->ad, d);
    else if (zero && is_float(t))
      at[j] = tan_zero(a->ad, o, t, at[j]);
  }
  return is_tuple(a->type[i]) ? em_tuple(a->ad, o, n_leaves(a->type[i]), at) : at[0];
}

/* The attribute that holds a number put among the elements: 0 in the derivative. */
static const char *constant_attr(const OpDef *op) {
  static const char *const name[] = {"pad_value", "mask_value", "dilation_value",
                                     "extrapolation_value"};
  for (const OpAttr *a = op->attrs; a->name; a++)
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
      if (!strcmp(a->name, name[i])) return name[i];
  return "";
}

/* Linear in all float operands at once. */
static GradAtom linear(Along *a) {
  Atom *arg = NEW_N(Atom, a->n + 1);
  bool any = false;
  for (int i = 0; i < a->n; i++) {
    bool spoken = speaks_of(a, i);
    any |= spoken && any_step(a->in[i]);
    arg[i] = spoken ? stepped(a, i, -1, true) : a->arg[i];
  }
  if (!any) return (GradAtom){0};
  GradCx g = context(a, a->s->fwd);
  return (GradAtom){gr_again(&g, arg, constant_attr(g.op)), true};
}

/* Linear in each float operand. */
static GradAtom product(Along *a) {
  GradAtom sum = {0};
  GradCx g = context(a, a->s->fwd);
  for (int i = 0; i < a->n; i++)
    for (int k = 0; k < n_leaves(a->type[i]); k++) {
      if (!leaf_dual(a->in[i], k)) continue;
      Atom *arg = NEW_N(Atom, a->n + 1);
      memcpy(arg, a->arg, (size_t)a->n * sizeof *arg);
      arg[i] = stepped(a, i, k, false);
      add_term(a, &sum, gr_again(&g, arg, ""));
    }
  return sum;
}

/* ---- the transpose of the rule ---------------------------------------------------------- */

/* The leaves of y that have a tangent. */
static int y_leaves(Along *a, Atom *at, int *which) {
  int n = 0;
  for (int k = 0; k < n_leaves(a->y_type); k++) {
    if (!is_float(leaf_type(a->y_type, k))) continue;
    at[n] = is_tuple(a->y_type) ? em_proj(a->ad, a->s->fwd, a->y, k) : a->y;
    which[n++] = k;
  }
  return n;
}

/* What the rule gave for operands with a step, and those steps. */
static int given(Along *a, const GradCx *g, AtomVec *out, AtomVec *step) {
  for (int i = 0; i < a->n; i++)
    for (int k = 0; k < n_leaves(a->type[i]); k++) {
      const Dual *d = leaf_dual(a->in[i], k);
      const GradAtom *o = is_tuple(a->type[i]) ? &g->out_leaf[i][k] : &g->out[i];
      if (!d || !o->is) continue;
      vec_push(out, o->at);
      vec_push(step, dual_tangent(a->ad, d));
    }
  return out->n;
}

/* vjp(fn (g) { rule(g) })(y).1(steps): a tuple of n, for leaves `which` of y.
 * The point y matters for its extents only. */
static GradAtom transposed(Along *a, int n, const Atom *y, const int *which) {
  AD *ad = a->ad;
  BlockBuilder bb = {0};
  Scope in = {.f = a->s->f, .rev = &bb};
  GradCx g = context(a, &bb);
  Var **param = NEW_N(Var *, n + 1);
  for (int i = 0; i < n; i++) {
    Adj *d;
    param[i] = cotangent(&in, leaf_type(a->y_type, which[i]), y[i], &d);
    g.g[which[i]] = (GradAtom){d->at, true};
  }
  const char *why = NULL;
  if (a->rule->text)
    gr_rule(&g, a->rule->text);
  else if (!a->rule->hook(&g))
    why = g.why ? g.why : "no gradient";
  if (why) {
    ad_fail(ad, a->e->span, "%s: %s", g.op->name, why);
    return (GradAtom){0};
  }
  AtomVec out = {0}, step = {0};
  if (!given(a, &g, &out, &step)) return (GradAtom){0};
  Atom all = em_tuple(ad, &bb, out.n, out.at);
  Out o = a->s->fwd;
  Atom q = em_fn(ad, o, n, param, bb_done(&bb, all, ad->span), sym(ad->cx->syms, "transposed"));
  Atom at = em_call(ad, o, em_op(ad, o, "vjp", 1, &q), n, y);
  Atom steps = em_tuple(ad, o, step.n, step.at);
  return (GradAtom){em_call(ad, o, em_proj(ad, o, at, 1), 1, &steps), true};
}

/* ---- an operator -------------------------------------------------------------------------- */

/* The result, its leaves with tangents from dy: a tuple of n for leaves `which`
 * (all: of all leaves; a tensor's alone is no tuple). */
static Dual *with_tangents(Along *a, Atom dy, bool all, int n, const Atom *y, const int *which) {
  AD *ad = a->ad;
  Out o = a->s->fwd;
  if (!is_tuple(a->y_type)) return dual_pair(a->y, all ? dy : em_proj(ad, o, dy, 0));
  int m = n_leaves(a->y_type);
  Dual **part = NEW_N(Dual *, m + 1);
  for (int i = 0; i < n; i++)
    part[which[i]] = dual_pair(y[i], em_proj(ad, o, dy, all ? which[i] : i));
  for (int k = 0; k < m; k++)
    if (!part[k]) part[k] = dual_plain(em_proj(ad, o, a->y, k));
  return dual_tuple(m, part);
}

/* There is no derivative, which is a mistake where one is asked for only. */
static Dual *without_tangents(Along *a, const char *why, int n, const Atom *y, const int *which) {
  Dual *d = with_tangents(a, a->y, true, n, y, which);
  for (int i = 0; i < n; i++) (d->kind == DUAL_Tuple ? d->part[which[i]] : d)->none = why;
  return d;
}

static const char *reason(const Along *a) {
  for (int i = 0; i < a->n; i++)
    if (missing(a->in[i])) return missing(a->in[i]);
  const OpDef *op = a->e->Call.callee.op;
  if (a->rule && !a->rule->why_not) return NULL;
  const char *why = a->rule ? a->rule->why_not : op->not_differentiable;
  return str_fmt("%s: %s", op->name, why ? why : "no gradient is known");
}

static Dual *derivative(Along *a) {
  Atom *y = NEW_N(Atom, n_leaves(a->y_type) + 1);
  int *which = NEW_N(int, n_leaves(a->y_type) + 1), n = y_leaves(a, y, which);
  const char *why = reason(a);
  if (why) return without_tangents(a, why, n, y, which);
  bool all = a->rule->tangent != TAN_Transposed;
  GradAtom dy = {0};
  switch (a->rule->tangent) {
  case TAN_Diagonal: dy = diagonal(a); break;
  case TAN_Linear: dy = linear(a); break;
  case TAN_Product: dy = product(a); break;
  case TAN_Transposed: dy = transposed(a, n, y, which); break;
  }
  return dy.is ? with_tangents(a, dy.at, all, n, y, which) : dual_plain(a->y);
}

void forward_operator(Scope *s, Var *v, Expr *e, BindStyle style) {
  AD *ad = s->f->ad;
  int n = e->Call.n_args;
  Along a = {.ad = ad, .s = s, .e = e, .n = n, .rule = irctx_grad(ad->cx, e->Call.callee.op)};
  a.in = NEW_N(Dual *, n + 1);
  a.type = NEW_N(Type *, n + 1);
  a.arg = NEW_N(Atom, n + 1);
  a.y_type = frame_type(s->f, v->type);
  bool active = false;
  for (int i = 0; i < n; i++) {
    a.in[i] = forward_dual(s, &e->Call.args[i]);
    a.type[i] = atom_closed(s, &e->Call.args[i]);
    a.arg[i] = dual_value(ad, s->fwd, a.type[i], a.in[i]);
    active |= any_step(a.in[i]);
  }
  Expr *made = ad_like(e);
  made->Call.args = a.arg;
  made->Call.op_attrs = NULL;
  a.y = scope_let(s, v, made, style);
  bool flows = active && ad_has_tan(ad, a.y_type) && !op_cuts(s, e->Call.callee.op);
  forward_bind(s, v, flows ? derivative(&a) : dual_plain(a.y));
}
