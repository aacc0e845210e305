/* tower_op.c -- operators of towers.
 *
 *   def @raised_mul(%a, %b) {
 *     let %t = maximum(@level(%a), @level(%b));
 *     if (%t == 0) { Ground(@value(%a) * @value(%b)) }
 *     else { Level(%t, @raised_mul(%a below %t, %b below %t), @raised_step(.., steps at %t)) }
 *   }
 *
 * @raised_step is the raised derivative of the operator along steps, which the jvp of a
 * literal around its call gives: other operators, and so on.                  */
#include "autodiff/tower.h"

static bool holds_float(Type *t) {
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++)
    if (holds_float(t->tuple.at[i])) return true;
  return tower_float(t);
}

/* ---- the call, leaf for leaf ---------------------------------------------------------- */

void tower_operands(const Expr *e, Operands *out) {
  for (int i = 0; i < e->Call.n_args; i++) {
    const Atom *a = &e->Call.args[i];
    if (a->kind != ATOM_Var) continue;
    Type *t = type_resolve(a->var->type);
    if (t->kind != TY_Tuple) vec_push(out, t);
    for (int k = 0; t->kind == TY_Tuple && k < t->tuple.n; k++)
      vec_push(out, type_resolve(t->tuple.at[k]));
  }
}

static int n_floats(const Operands *in) {
  int n = 0;
  for (int i = 0; i < in->n; i++) n += tower_float(in->at[i]);
  return n;
}

bool tower_moves(const Expr *e) {
  Operands in = {0};
  tower_operands(e, &in);
  return holds_float(e->type) && n_floats(&in) > 0;
}

/* The call with other operands: one atom for each leaf. */
static Expr *call_of(AD *ad, Out o, const Expr *e, const Atom *leaf) {
  Expr *made = ad_like(e);
  made->Call.op_attrs = NULL;
  made->Call.inst = NULL;
  made->Call.args = NEW_N(Atom, e->Call.n_args + 1);
  for (int i = 0; i < e->Call.n_args; i++) {
    const Atom *a = &e->Call.args[i];
    made->Call.args[i] = *a;
    if (a->kind != ATOM_Var) continue;
    Type *t = type_resolve(a->var->type);
    bool tuple = t->kind == TY_Tuple;
    made->Call.args[i] = tuple ? em_tuple(ad, o, t->tuple.n, leaf) : *leaf;
    leaf += tuple ? t->tuple.n : 1;
  }
  return made;
}

/* ---- the derivative of a call ------------------------------------------------------------ */

static void spell_const(const Tensor *c, StrBuf *b) {
  buf_fmt(b, " %s", dtype_name(c->dtype));
  if (c->rank || c->count != 1) {
    buf_fmt(b, " %p", (const void *)c);
    return;
  }
  const unsigned char *byte = c->bytes;
  for (int i = 0; i < dtype_bytes(c->dtype); i++) buf_fmt(b, " %d", byte[i]);
}

/* What the call does, and of which types. */
static Sym call_key(AD *ad, const char *what, const Expr *e) {
  StrBuf b = {0};
  buf_fmt(&b, "%s %s", what, e->Call.callee.op->name);
  for (int i = 0; i < e->Call.attrs.n; i++) {
    buf_fmt(&b, " %s=", e->Call.attrs.at[i].name);
    attr_print(&e->Call.attrs.at[i].val, &b);
  }
  for (int i = 0; i < e->Call.n_args; i++) {
    const Atom *a = &e->Call.args[i];
    if (a->kind == ATOM_Const)
      spell_const(a->cst, &b);
    else
      buf_fmt(&b, " %s", type_text(nameless(ad, a->var->type)));
  }
  return sym(ad->cx->syms, buf_text(&b));
}

/* A parameter for each leaf, for each float leaf. */
static Var **params_of(AD *ad, const char *name, const Operands *in, bool floats, int *n) {
  Var **made = NEW_N(Var *, in->n + 1);
  *n = 0;
  for (int i = 0; i < in->n; i++)
    if (!floats || tower_float(in->at[i])) made[(*n)++] = ad_var(ad, name, nameless(ad, in->at[i]));
  return made;
}

/* fn (floats) { op(leaves) } */
static Atom literal(AD *ad, Out o, const Expr *e, const Operands *in, Var *const *param) {
  int n;
  Var **x = params_of(ad, "x", in, true, &n);
  Atom *leaf = NEW_N(Atom, in->n + 1);
  for (int i = 0, k = 0; i < in->n; i++)
    leaf[i] = var_atom(ad, tower_float(in->at[i]) ? x[k++] : param[i]);
  BlockBuilder bb = {0};
  Atom y = em_bind(ad, &bb, call_of(ad, &bb, e, leaf));
  return em_fn(ad, o, n, x, bb_done(&bb, y, ad->span), NULL);
}

Global *tower_step(AD *ad, const Expr *e, bool *made) {
  Sym key = call_key(ad, "step", e);
  Global *g = map_get(&ad->m->derivatives, map_ptr(key));
  if (g) return g;
  Operands in = {0};
  tower_operands(e, &in);
  ad->span = e->span;
  int n, n_dx;
  Var **x = params_of(ad, "x", &in, false, &n), **dx = params_of(ad, "dx", &in, true, &n_dx);
  BlockBuilder bb = {0};
  Atom f = literal(ad, &bb, e, &in, x);
  Atom *arg = NEW_N(Atom, 2 * n + 1);
  int at = 0;
  for (int i = 0; i < n; i++)
    if (tower_float(in.at[i])) arg[at++] = var_atom(ad, x[i]);
  for (int i = 0; i < n_dx; i++) arg[at++] = var_atom(ad, dx[i]);
  Atom form = em_op(ad, &bb, "jvp", 1, &f);
  Atom both = em_call(ad, &bb, form, at, arg);
  Fn *fn = NEW(Fn);
  *fn = (Fn){.span = e->span, .n = n + n_dx, .param = NEW_N(Var *, n + n_dx + 1)};
  for (int i = 0; i < n; i++) fn->param[i] = x[i];
  for (int i = 0; i < n_dx; i++) fn->param[n + i] = dx[i];
  fn->body = bb_done(&bb, em_proj(ad, &bb, both, 1), e->span);
  g = ad_global(ad, "step", fn);
  map_set(&ad->m->derivatives, map_ptr(key), g);
  *made = true;
  return g;
}

/* ---- the call of towers -------------------------------------------------------------------- */

static Atom raised_result(Tower *tw, Out o, Type *t, Atom y) {
  t = type_resolve(t);
  if (t->kind != TY_Tuple) return tower_float(t) ? tower_ground(tw, o, y) : y;
  Atom *at = NEW_N(Atom, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++)
    at[i] = raised_result(tw, o, t->tuple.at[i], em_proj(tw->ad, o, y, i));
  return em_tuple(tw->ad, o, t->tuple.n, at);
}

/* Of values: a result without derivative stays one. */
static Atom of_values(Tower *tw, Out o, const Expr *e, const Operands *in, const Atom *leaf) {
  AD *ad = tw->ad;
  Atom *at = NEW_N(Atom, in->n + 1);
  for (int i = 0; i < in->n; i++)
    at[i] = tower_float(in->at[i]) ? tower_value(tw, o, leaf[i]) : leaf[i];
  return raised_result(tw, o, e->type, em_bind(ad, o, call_of(ad, o, e, at)));
}

Expr *tower_operator(Tower *tw, Out o, const Expr *e, const Atom *leaf) {
  AD *ad = tw->ad;
  Operands in = {0};
  tower_operands(e, &in);
  ad->span = e->span;
  if (!tower_moves(e)) return ir_just(of_values(tw, o, e, &in, leaf), e->span);
  Sym key = call_key(ad, "raised", e);
  Global *g;
  if (ad_define(ad, &tw->helper, key, "raised", in.n, &g)) vec_push(&tw->ops, ((RaisedOp){e, g}));
  return ir_just(em_call(ad, o, atom_global(g, e->span), in.n, leaf), e->span);
}

/* Level(t, y, dy) of each float in a result. */
static Atom paired(Tower *tw, Out o, Type *t, Atom level, Atom y, Atom dy) {
  t = type_resolve(t);
  if (t->kind != TY_Tuple) return tower_float(t) ? tower_pair(tw, o, level, y, dy) : y;
  Atom *at = NEW_N(Atom, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++) {
    Atom yi = em_proj(tw->ad, o, y, i), di = em_proj(tw->ad, o, dy, i);
    at[i] = paired(tw, o, t->tuple.at[i], level, yi, di);
  }
  return em_tuple(tw->ad, o, t->tuple.n, at);
}

static Atom differentiated(Tower *tw, Out o, RaisedOp op, const Operands *in, const Atom *leaf,
                           Atom level) {
  AD *ad = tw->ad;
  bool made = false;
  Global *step = tower_global(tw, tower_step(ad, op.call, &made));
  int n = in->n, k = 1;
  Atom *below = NEW_N(Atom, n + 1), *arg = NEW_N(Atom, 2 * n + 2);
  arg[0] = tower_int(tw, 0); /* no form is in it */
  for (int i = 0; i < n; i++) {
    bool moves = tower_float(in->at[i]);
    arg[k++] = below[i] = moves ? tower_below(tw, o, leaf[i], level) : leaf[i];
  }
  for (int i = 0; i < n; i++) {
    Type *t = in->at[i];
    if (tower_float(t))
      arg[k++] = tower_along(tw, o, leaf[i], level, tower_zero(tw, o, t, leaf[i]));
  }
  Atom y = em_call(ad, o, atom_global(op.made, ad->span), n, below);
  Atom dy = em_call(ad, o, atom_global(step, ad->span), k, arg);
  return paired(tw, o, op.call->type, level, y, dy);
}

void tower_make_op(Tower *tw, RaisedOp op) {
  AD *ad = tw->ad;
  Operands in = {0};
  tower_operands(op.call, &in);
  ad->span = op.call->span;
  Fn *fn = op.made->fn;
  Atom *leaf = NEW_N(Atom, in.n + 1), level = {0};
  BlockBuilder bb = {0}, flat = {0}, high = {0};
  bool first = true;
  for (int i = 0; i < in.n; i++) {
    leaf[i] = ad_param(ad, op.made, i, "x", tower_type(tw, nameless(ad, in.at[i])));
    if (!tower_float(in.at[i])) continue;
    Atom l = tower_level(tw, &bb, leaf[i]);
    level = first ? l : em_op(ad, &bb, "maximum", 2, (Atom[]){level, l});
    first = false;
  }
  Block *yes = bb_done(&flat, of_values(tw, &flat, op.call, &in, leaf), ad->span);
  Atom y = differentiated(tw, &high, op, &in, leaf, level);
  Block *no = bb_done(&high, y, ad->span);
  fn->ret = tower_type(tw, nameless(ad, op.call->type));
  fn->body = bb_done(&bb, tower_if(tw, &bb, level, tower_int(tw, 0), yes, no), ad->span);
}
