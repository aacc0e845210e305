/* lift.c -- local functions that call themselves become functions of the module
 * (Johnsson, Lambda Lifting, 1985).
 *
 *   def @f(%xs, %w) { let %go = fn (%xs, %s) { .. %w .. %go(%rest, s') .. }; %go(%xs, 0f) }
 *
 * becomes
 *
 *   def @f(%xs, %w) { @go(%w, %xs, 0f) }
 *   def @go(%w, %xs, %s) { .. %w .. @go(%w, %rest, s') .. }
 *
 * so that the passes over recursions see it, which look at functions of the module.
 * What it captures comes first, in the order in which machine code gets it anyhow; such
 * a parameter is fixed.  Only functions that are called and nothing else are lifted,
 * and with them the local functions that they call: those would have to be made as values
 * to be handed over.  Outer ones go first, and what they contain is then looked at as part of
 * a function of the module, so what a function captures through others that it calls
 * is there when its turn comes.                                                */
#include "opt/lift.h"

typedef struct {
  PassCx *cx;
  Global *in;
  VEC(Local *) local; /* of in, outer before inner, in program order     */
  Map of;             /* Var -> Local *                                  */
  Map on_paper;       /* Var -> 1: data in view with a function inside   */
  Map given;          /* Sym -> place                                    */
  UseCount uses;
  const Around *around;
  int place;
} Lift;

/* ---- the walk that finds them ---- */

static Dim give_dim(void *ud, Dim s) {
  Lift *l = ud;
  if (!map_get(&l->given, map_ptr(s))) map_set(&l->given, map_ptr(s), (void *)(intptr_t)l->place);
  return NULL;
}
static void give(Lift *l, const Var *v) {
  type_subst(l->cx->m->cx->dims, v->type, NULL, give_dim, l);
}
static void give_pattern(Lift *l, const Pattern *p) {
  if (p->var) give(l, p->var);
  for (int i = 0; i < p->n; i++) give_pattern(l, p->at[i]);
}

static void find_block(void *ud, Block *b);
static void find_fn(void *ud, Fn *f) {
  Lift *l = ud;
  Around *a = NEW(Around);
  *a = (Around){f, l->around};
  l->around = a;
  for (int i = 0; i < f->n; i++) give(l, f->param[i]);
  find_block(l, f->body);
  l->around = a->up;
}

static Local *enter(Lift *l, Block *b, const Binding *bd) {
  Local *x = NEW(Local);
  *x = (Local){bd->var, bd->value->Fn.fn, b, l->around, .place = l->place};
  vec_push(&l->local, x);
  map_set(&l->of, map_ptr(x->var), x);
  return x;
}

static void find_binding(Lift *l, Block *b, const Binding *bd) {
  static const ExprVisit visit = {NULL, find_block, find_fn};
  Expr *e = bd->value;
  Local *x = e->kind == EX_Fn ? enter(l, b, bd) : NULL;
  bool called = e->kind == EX_Call && e->Call.callee.kind == ATOM_Var;
  Local *to = called ? map_get(&l->of, map_ptr(e->Call.callee.var)) : NULL;
  l->place++;
  if (to) vec_push(&to->calls, e);
  if ((e->kind == EX_Tuple || e->kind == EX_Just) && type_has_fn(bd->var->type))
    map_set(&l->on_paper, map_ptr(bd->var), l);
  for (int k = 0; e->kind == EX_Match && k < e->Match.n_clauses; k++)
    give_pattern(l, e->Match.clauses[k].pat);
  ir_visit(e, &visit, l);
  give(l, bd->var);
  if (x) x->ends = l->local.n;
}
static void find_block(void *ud, Block *b) {
  for (int i = 0; i < b->n; i++) find_binding(ud, b, &b->at[i]);
}

/* ---- which are lifted ---- */

static bool is_only_called(const Lift *l, const Local *x) {
  for (int i = 0; i < x->calls.n; i++) {
    const TypeArgs *in = x->calls.at[i]->Call.inst;
    if (x->fn->n_vars != (in ? in->n_types : 0) || x->fn->n_dims != (in ? in->n_dims : 0))
      return false;
  }
  return x->calls.n > 0 && uses_get(&l->uses, x->var) == x->calls.n;
}

/* Those that call themselves, and those that such a one calls. */
static void choose(Lift *l) {
  for (int i = l->local.n - 1; i >= 0; i--) {
    Local *x = l->local.at[i];
    VarList free = {0};
    ir_free_vars(x->fn, &free);
    for (int k = 0; k < free.n; k++) x->wanted |= free.at[k] == x->var;
    for (int k = 0; k < free.n && x->wanted; k++) {
      Local *to = map_get(&l->of, map_ptr(free.at[k]));
      if (to) to->wanted = true;
    }
  }
}

/* What it captures is to be a value in any case. */
static bool captures(const Lift *l, const Local *x, VarList *out) {
  VarList free = {0};
  ir_free_vars(x->fn, &free);
  for (int i = 0; i < free.n; i++) {
    Var *v = free.at[i];
    if (v == x->var) continue;
    if (map_get(&l->of, map_ptr(v)) || map_get(&l->on_paper, map_ptr(v))) return false;
    if (!type_is_mono(v->type)) return false;
    vec_push(out, v);
  }
  return true;
}

/* ---- one becomes a function of the module ---- */

static void rewire(Expr *e, Global *g, const VarList *captured, const Outer *outer) {
  ExCall *c = &e->Call;
  const TypeArgs *was = c->inst;
  int m = captured->n, n = m + c->n_args, own = was ? was->n_types : 0,
      dims = was ? was->n_dims : 0;
  Atom *arg = NEW_N(Atom, n + 1);
  Type **param = NEW_N(Type *, n + 1);
  TypeArgs *in = NEW(TypeArgs);
  *in = (TypeArgs){own + outer->vars.n, NEW_N(Type *, own + outer->vars.n + 1),
                   dims + outer->dims.n, NEW_N(Dim, dims + outer->dims.n + 1)};
  for (int i = 0; i < m; i++) arg[i] = atom_var(captured->at[i], e->span);
  for (int i = 0; i < c->n_args; i++) arg[m + i] = c->args[i];
  for (int i = 0; i < n; i++) param[i] = atom_type_of(&arg[i]);
  for (int i = 0; i < m; i++) arg[i].type = param[i];
  for (int i = 0; i < own; i++) in->type[i] = was->type[i];
  for (int i = 0; i < outer->vars.n; i++) in->type[own + i] = type_var(outer->vars.at[i]);
  for (int i = 0; i < dims; i++) in->dim[i] = was->dim[i];
  for (int i = 0; i < outer->dims.n; i++) in->dim[dims + i] = outer->dims.at[i];
  *c = (ExCall){.callee = atom_global(g, c->callee.span), .n_args = n, .args = arg, .inst = in};
  c->callee.type = type_fn(0, NULL, 0, NULL, n, param, e->type);
}

static void replace_in(void *ud, Block *b);
static void replace_use(void *ud, Atom *a) { replace_atom(ud, a); }
static void replace_in(void *ud, Block *b) {
  static const ExprVisit visit = {replace_use, replace_in, NULL};
  for (int i = 0; i < b->n; i++) ir_visit(b->at[i].value, &visit, ud);
  replace_use(ud, &b->result);
}

/* The captured variables as f's first parameters. */
static void take_captured(IrCtx *cx, Fn *f, const VarList *captured) {
  int m = captured->n;
  Replace r = {0};
  Var **param = NEW_N(Var *, m + f->n + 1);
  for (int i = 0; i < m; i++) {
    Var *v = captured->at[i];
    param[i] = ir_var(cx, v->name, v->span);
    param[i]->type = v->type;
    Atom a = atom_var(param[i], v->span);
    replace_set(&r, v, &a);
  }
  for (int i = 0; i < f->n; i++) param[m + i] = f->param[i];
  f->param = param;
  f->n += m;
  replace_in(&r, f->body);
}

static void unbind(const Local *x) {
  Block *b = x->block;
  int n = 0;
  for (int i = 0; i < b->n; i++)
    if (b->at[i].var != x->var) b->at[n++] = b->at[i];
  b->n = n;
}

static bool lift(Lift *l, const Local *x) {
  Module *m = l->cx->m;
  VarList captured = {0};
  Outer outer = {0};
  if (!x->wanted || !is_only_called(l, x) || !captures(l, x, &captured)) return false;
  if (!lift_outer(m->cx, x, &l->given, &captured, &outer) || !pass_may(l->cx)) return false;
  Sym name = x->var->name;
  /* The place decides whether it is printed: as the function around it is. */
  Global *g = mk_global(m, name ? name : l->in->name, name ? NULL : "fn", x->fn, NULL, l->in->span);
  for (int i = 0; i < x->calls.n; i++) rewire(x->calls.at[i], g, &captured, &outer);
  unbind(x);
  take_captured(m->cx, x->fn, &captured);
  lift_quantify(m, x->fn, &outer);
  g->type = fn_type_of(x->fn);
  map_set(&l->of, map_ptr(x->var), NULL);
  return true;
}

static void lift_global(PassCx *cx, Global *g) {
  Lift l = {.cx = cx, .in = g, .place = 1};
  find_fn(&l, g->fn);
  if (!l.local.n) return;
  uses_of_fn(&l.uses, g->fn);
  choose(&l);
  for (int i = 0; i < l.local.n;) i = lift(&l, l.local.at[i]) ? l.local.at[i]->ends : i + 1;
}

static void lift_run(PassCx *cx) { /* those made here too: for what is inside of them */
  for (int i = 0; i < cx->m->globals.n; i++) lift_global(cx, cx->m->globals.at[i]);
}

const Pass pass_lift = {.name = "lift",
                        .doc = "Local functions that call themselves become functions of the "
                               "module.",
                        .needs = FORM_TYPED,
                        .keeps = ~0u,
                        .run = lift_run};
