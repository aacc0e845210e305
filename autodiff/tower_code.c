/* tower_code.c -- code of the program, raised: a copy in which floats are towers and
 * functions take their level.                                                 */
#include "autodiff/tower.h"

/* ---- types ------------------------------------------------------------------------------ */

static Type **each_type(Tower *tw, int n, Type *const *at, int room) {
  Type **to = NEW_N(Type *, n + room + 1);
  for (int i = 0; i < n; i++) to[i + room] = tower_type(tw, at[i]);
  return to;
}

static Type *raised_field(void *ud, Type *t) {
  Tower *tw = ud;
  return tower_type(tw, nameless(tw->ad, t));
}
static DataDef *raised_def(Tower *tw, DataDef *of) {
  return ad_generic_data(tw->ad, &tw->data, "tower", of, raised_field, tw);
}

Type *tower_type(Tower *tw, Type *t) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Tensor: return tower_float(t) ? type_data(tw->def, 1, &t) : t;
  case TY_Tuple: return type_tuple(t->tuple.n, each_type(tw, t->tuple.n, t->tuple.at, 0));
  case TY_Data:
    return type_data(raised_def(tw, t->data.def), t->data.n,
                     each_type(tw, t->data.n, t->data.arg, 0));
  case TY_Ref: return type_ref(tower_type(tw, t->ref));
  case TY_Fn: {
    Type **param = each_type(tw, t->fn.n, t->fn.param, 1);
    param[0] = type_scalar(DT_i32);
    return type_fn(t->fn.n_vars, t->fn.var, 0, NULL, t->fn.n + 1, param, tower_type(tw, t->fn.ret));
  }
  case TY_Var:
  case TY_Meta:
  case TY_Error: break;
  }
  return t;
}
static Type *annot_of(Tower *tw, Type *t) { return t ? tower_type(tw, nameless(tw->ad, t)) : NULL; }

Ctor *tower_ctor(Tower *tw, const Ctor *c) { return raised_def(tw, c->def)->ctor[c->tag]; }

/* ---- functions ----------------------------------------------------------------------------- */

static Block *raise_block(const Raise *c, const Block *b);
static Expr *raise_expr(Raise *c, const Expr *e);

static Var *raise_var(Raise *c, const Var *v, Type *annot) {
  Var *made = ir_var(c->tw->ad->cx, v->name, v->span);
  made->annot = annot_of(c->tw, annot);
  map_set(c->vars, map_ptr(v), made);
  return made;
}

static void raise_fn(const Raise *around, const Fn *fn, Fn *made) {
  Tower *tw = around->tw;
  Raise c = *around;
  tw->ad->span = fn->span;
  *made = (Fn){.span = fn->span, .n_vars = fn->n_vars, .var = fn->var, .n = fn->n + 1};
  made->param = NEW_N(Var *, fn->n + 2);
  made->param[0] = ad_var(tw->ad, "level", type_scalar(DT_i32));
  c.level = var_atom(tw->ad, made->param[0]);
  for (int i = 0; i < fn->n; i++)
    made->param[i + 1] = raise_var(&c, fn->param[i], fn->param[i]->type);
  made->body = raise_block(&c, fn->body);
}

Global *tower_global(Tower *tw, Global *g) {
  Global *made = map_get(&tw->global, map_ptr(g));
  if (made) return made;
  made = ad_global(tw->ad, str_fmt("%s_tower", g->name), NEW(Fn));
  made->span = g->span;
  map_set(&tw->global, map_ptr(g), made);
  vec_push(&tw->todo, ((RaisedFn){g->fn, made}));
  return made;
}

void tower_make_fn(Tower *tw, RaisedFn g) {
  Map vars = {0};
  Raise c = {.tw = tw, .vars = &vars};
  raise_fn(&c, g.fn, g.made->fn);
  Type *t = g.fn->body->result.kind == ATOM_Var ? g.fn->body->result.var->type : NULL;
  g.made->fn->ret = annot_of(tw, g.fn->ret ? g.fn->ret : t);
}

static Atom capture(Raise *c, const Atom *a);

/* ---- atoms --------------------------------------------------------------------------------- */

Atom tower_atom(Raise *c, const Atom *a) {
  Atom to = *a;
  to.type = NULL;
  if (a->kind == ATOM_Const && dtype_is_float(a->cst->dtype)) return tower_ground(c->tw, c->o, to);
  if (a->kind == ATOM_Global) to.global = tower_global(c->tw, a->global);
  if (a->kind == ATOM_Var) to.var = map_get(c->vars, map_ptr(a->var));
  return a->kind == ATOM_Var && !to.var ? capture(c, a) : to;
}

/* Code around the form, which is plain: local functions raised where they are needed,
 * everything else as it is, as a tower. */
static Atom capture(Raise *c, const Atom *a) {
  AD *ad = c->tw->ad;
  const Expr *e = map_get(&ad->bound, map_ptr(a->var));
  Atom none = {0};
  if (e && e->kind == EX_Just) return tower_atom(c, &e->Just.value);
  if (e && (e->kind == EX_Fn || diff_kind(e))) {
    VarList free = {0};
    ad_free_of(e, &free);
    Var *made = raise_var(c, a->var, NULL);
    for (int i = 0; i < free.n; i++) {
      Atom of = atom_var(free.at[i], a->span);
      tower_atom(c, &of); /* here, for all that uses it is in the scope of this */
    }
    bb_push(c->o, made, raise_expr(c, e), BIND_Let);
    return atom_var(made, a->span);
  }
  Atom v = tower_walk(c->tw, c->o, WALK_Raise, a->var->type, atom_var(a->var, a->span), none, none);
  if (v.kind == ATOM_Var) map_set(c->vars, map_ptr(a->var), v.var);
  return v;
}

/* ---- expressions ----------------------------------------------------------------------------- */

static Atom *raise_atoms(Raise *c, int n, const Atom *at, int room) {
  Atom *to = NEW_N(Atom, n + room + 1);
  for (int i = 0; i < n; i++) to[i + room] = tower_atom(c, &at[i]);
  return to;
}

static Expr *raise_op(Raise *c, const Expr *e) {
  Operands in = {0};
  tower_operands(e, &in);
  Atom *leaf = NEW_N(Atom, in.n + 1);
  int k = 0;
  for (int i = 0; i < e->Call.n_args; i++) {
    const Atom *a = &e->Call.args[i];
    if (a->kind != ATOM_Var) continue;
    Atom raised = tower_atom(c, a);
    Type *t = type_resolve(a->var->type);
    if (t->kind != TY_Tuple) leaf[k++] = raised;
    for (int p = 0; t->kind == TY_Tuple && p < t->tuple.n; p++)
      leaf[k++] = em_proj(c->tw->ad, c->o, raised, p);
  }
  return tower_operator(c->tw, c->o, e, leaf);
}

static Expr *raise_call(Raise *c, const Expr *e) {
  const ExCall *call = &e->Call;
  DiffKind k = diff_kind(e);
  if (k == DIFF_Checkpoint) return ir_just(tower_atom(c, &call->args[0]), e->span);
  if (k) {
    Atom f = tower_atom(c, &call->args[0]);
    c->tw->ad->span = e->span;
    return tower_form(c->tw, k, f, call->args[0].type);
  }
  if (call->callee.kind == ATOM_Op) return raise_op(c, e);
  Expr *made = ad_like(e);
  bool ctor = call->callee.kind == ATOM_Ctor;
  made->Call.inst = NULL;
  made->Call.callee.type = NULL;
  made->Call.args = raise_atoms(c, call->n_args, call->args, !ctor);
  made->Call.n_args = call->n_args + !ctor;
  if (ctor) {
    made->Call.callee.ctor = tower_ctor(c->tw, call->callee.ctor);
    return made;
  }
  made->Call.callee = tower_atom(c, &call->callee);
  made->Call.args[0] = c->level;
  return made;
}

static Pattern *raise_pattern(Raise *c, const Pattern *p) {
  Pattern *made = NEW(Pattern);
  *made = (Pattern){.kind = p->kind, .span = p->span, .n = p->n, .at = NEW_N(Pattern *, p->n + 1)};
  if (p->var) made->var = raise_var(c, p->var, p->var->annot);
  if (p->kind == PAT_Ctor) made->ctor = tower_ctor(c->tw, p->ctor);
  for (int i = 0; i < p->n; i++) made->at[i] = raise_pattern(c, p->at[i]);
  return made;
}

static Expr *raise_match(Raise *c, const Expr *e) {
  Expr *made = ad_like(e);
  made->Match.scrutinee = tower_atom(c, &e->Match.scrutinee);
  made->Match.clauses = NEW_N(Clause, e->Match.n_clauses + 1);
  for (int i = 0; i < e->Match.n_clauses; i++) {
    const Clause *of = &e->Match.clauses[i];
    Pattern *p = raise_pattern(c, of->pat);
    made->Match.clauses[i] = (Clause){p, raise_block(c, of->body), of->span};
  }
  return made;
}

/* The check stays one of the value; what it says of extents is not said of towers. */
static Expr *raise_cast(Raise *c, const Expr *e) {
  AD *ad = c->tw->ad;
  Atom x = tower_atom(c, &e->MatchCast.value);
  Type *to = nameless(ad, e->MatchCast.to);
  if (ad_moves(ad, to) && !tower_float(to)) return ir_just(x, e->span);
  Expr *made = ad_like(e);
  made->MatchCast.to = to;
  made->MatchCast.value = tower_float(to) ? tower_value(c->tw, c->o, x) : x;
  if (!tower_float(to)) return made;
  em_bind(ad, c->o, made);
  return ir_just(x, e->span);
}

static Expr *raise_expr(Raise *c, const Expr *e) {
  Expr *made = ad_like(e);
  c->tw->ad->span = e->span;
  switch (e->kind) {
  case EX_Just: made->Just.value = tower_atom(c, &e->Just.value); break;
  case EX_Call: return raise_call(c, e);
  case EX_Tuple: made->Tuple.items = raise_atoms(c, e->Tuple.n_items, e->Tuple.items, 0); break;
  case EX_Proj: made->Proj.tuple = tower_atom(c, &e->Proj.tuple); break;
  case EX_Fn:
    made->Fn.fn = NEW(Fn);
    raise_fn(c, e->Fn.fn, made->Fn.fn);
    break;
  case EX_If:
    made->If.cond = tower_atom(c, &e->If.cond);
    made->If.then = raise_block(c, e->If.then);
    made->If.otherwise = raise_block(c, e->If.otherwise);
    break;
  case EX_Match: return raise_match(c, e);
  case EX_Ref: made->Ref.value = tower_atom(c, &e->Ref.value); break;
  case EX_RefRead: made->RefRead.ref = tower_atom(c, &e->RefRead.ref); break;
  case EX_RefWrite:
    made->RefWrite.ref = tower_atom(c, &e->RefWrite.ref);
    made->RefWrite.value = tower_atom(c, &e->RefWrite.value);
    break;
  case EX_MatchCast: return raise_cast(c, e);
  case EX_COUNT: break;
  }
  return made;
}

static Block *raise_block(const Raise *around, const Block *b) {
  Raise c = *around;
  BlockBuilder bb = {0};
  c.o = &bb;
  for (int i = 0; i < b->n; i++) {
    const Binding *at = &b->at[i];
    Var *v = raise_var(&c, at->var, at->var->annot);
    Expr *e = raise_expr(&c, at->value);
    bb_push(&bb, v, e, at->style);
  }
  Atom r = tower_atom(&c, &b->result);
  return bb_done(&bb, r, b->span);
}
