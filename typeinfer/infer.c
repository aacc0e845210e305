/* infer.c -- the walk over the program: one type per expression.
 *
 * Blocks are walked in a loop; what an expression needs to know is asked of
 * the types of its operands, and what is not known yet becomes a job that runs
 * when it is (an operator whose operand's rank is not known, a projection from
 * an unknown tuple).  Globals are taken in groups that call each other, callees
 * first, so that their types are general when they are used.                  */
#include "ir/diff.h"
#include "typeinfer/state.h"
#include "ir/order.h"

static void check_block(Infer *I, Block *b);

/* ---- calls ------------------------------------------------------------------ */

static const char *callee_label(const Atom *a) {
  switch (a->kind) {
  case ATOM_Global: return str_fmt("@%s", a->global->name);
  case ATOM_Ctor: return a->ctor->name;
  case ATOM_Op: return a->op->name;
  case ATOM_Var: return var_label(a->var);
  case ATOM_Const: return "a constant";
  case ATOM_Poison: break;
  }
  return "this value";
}

static void touch_args(Infer *I, Expr *e) {
  for (int i = 0; i < e->Call.n_args; i++) atom_type(I, &e->Call.args[i], NULL);
}

typedef struct {
  const DataDef *def;
  Type **arg;
} DataArgs;
static Type *data_arg(void *ud, TyVar *v) {
  const DataArgs *a = ud;
  for (int i = 0; i < a->def->n_vars; i++)
    if (a->def->var[i] == v) return a->arg[i];
  return NULL;
}

static Type *field_type(Infer *I, const Ctor *c, int i, Type **arg) {
  DataArgs a = {c->def, arg};
  return c->def->n_vars ? type_subst(I->dt, c->field[i], data_arg, NULL, &a) : c->field[i];
}

static Type *data_with_metas(Infer *I, DataDef *def) {
  Type **arg = NEW_N(Type *, def->n_vars + 1);
  for (int i = 0; i < def->n_vars; i++) arg[i] = new_meta(I, I->level);
  return type_data(def, def->n_vars, arg);
}

static Type *check_ctor_call(Infer *I, Expr *e) {
  Ctor *c = e->Call.callee.ctor;
  Type *t = data_with_metas(I, c->def);
  Type **param = NEW_N(Type *, c->n + 1);
  for (int i = 0; i < c->n; i++) param[i] = field_type(I, c, i, t->data.arg);
  e->Call.callee.type = type_fn(0, NULL, 0, NULL, c->n, param, t);
  if (e->Call.n_args != c->n) {
    touch_args(I, e);
    diag_error(I->d, e->span, E0304, c->name, e->Call.n_args, c->n);
    diag_note(I->d, c->span, "%s is declared here", c->name);
    return t;
  }
  for (int i = 0; i < c->n; i++) {
    Site *s = site_new(e->Call.args[i].span, NULL, param[i], "");
    s->what = str_fmt("field %d of %s and of its declaration", i, c->name);
    s->expr = e;
    flow_atom(I, &e->Call.args[i], param[i], s);
  }
  if (c->def->n_vars) {
    e->Call.inst = NEW(TypeArgs);
    *e->Call.inst = (TypeArgs){.n_types = c->def->n_vars, .type = t->data.arg};
  }
  return t;
}

static void note_param(Site *s, const Atom *callee, int i) {
  const Fn *f = callee->kind == ATOM_Global ? callee->global->fn : NULL;
  if (!f || i >= f->n) return;
  s->note_at = f->param[i]->span;
  s->note = str_fmt("%s of @%s is declared here", var_label(f->param[i]), callee->global->name);
}

static Type *meta_fn(Infer *I, Expr *e, Type *meta) {
  Type **param = NEW_N(Type *, e->Call.n_args + 1);
  for (int i = 0; i < e->Call.n_args; i++) param[i] = new_meta(I, meta->meta.level);
  Type *t = type_fn(0, NULL, 0, NULL, e->Call.n_args, param, new_meta(I, meta->meta.level));
  Site *s = site_new(e->Call.callee.span, meta, t, "");
  if (!flow(I, meta, t, s, POS_Top)) return type_error();
  return type_resolve(meta);
}

static Type *check_call(Infer *I, Expr *e) {
  Atom *callee = &e->Call.callee;
  if (diff_kind(e)) return check_form(I, e);
  if (callee->kind == ATOM_Op) return check_op_call(I, e);
  if (callee->kind == ATOM_Ctor) return check_ctor_call(I, e);
  Type *t = type_resolve(atom_type(I, callee, &e->Call.inst));
  if (e->Call.attrs.n) diag_error(I->d, e->Call.attrs.at[0].span, E0110, callee_label(callee));
  if (t->kind == TY_Meta) t = callee->type = meta_fn(I, e, t);
  if (t->kind != TY_Fn || t->fn.n != e->Call.n_args) {
    touch_args(I, e);
    if (t->kind == TY_Fn)
      diag_error(I->d, e->span, E0304, callee_label(callee), e->Call.n_args, t->fn.n);
    else if (t->kind != TY_Error)
      diag_error(I->d, callee->span, E0313, callee_label(callee), show(I, t));
    if (t->kind == TY_Fn && callee->kind == ATOM_Global)
      diag_note(I->d, callee->global->span, "@%s is defined here", callee->global->name);
    return t->kind == TY_Fn ? t->fn.ret : type_error();
  }
  for (int i = 0; i < t->fn.n; i++) {
    Site *s = site_new(e->Call.args[i].span, NULL, t->fn.param[i], "");
    s->what = str_fmt("argument %d of %s and of its parameter", i, callee_label(callee));
    s->expr = e;
    s->callee_checks = true;
    note_param(s, callee, i);
    flow_atom(I, &e->Call.args[i], t->fn.param[i], s);
  }
  return t->fn.ret;
}

/* ---- tuples, refs, casts ----------------------------------------------------- */

static Type *check_tuple(Infer *I, Expr *e) {
  Type **at = NEW_N(Type *, e->Tuple.n_items + 1);
  for (int i = 0; i < e->Tuple.n_items; i++) at[i] = atom_type(I, &e->Tuple.items[i], NULL);
  return type_tuple(e->Tuple.n_items, at);
}

static Type *projected(Infer *I, Expr *e, Type *t) {
  int k = e->Proj.index;
  if (t->kind == TY_Error) return t;
  if (t->kind == TY_Tuple && k >= 0 && k < t->tuple.n) return t->tuple.at[k];
  Span at = e->Proj.tuple.span.file ? e->Proj.tuple.span : e->span;
  diag_error(I->d, at, E0305, callee_label(&e->Proj.tuple), k, show(I, t));
  return type_error();
}

void run_proj(Infer *I, Job *j) {
  Type *t = type_resolve(atom_type(I, &j->expr->Proj.tuple, NULL));
  if (j->state == JOB_Ready) return;
  if (t->kind == TY_Meta) {
    wait_for(I, t, j);
    return;
  }
  j->state = JOB_Ready;
  t = projected(I, j->expr, t);
  flow(I, t, j->result, site_new(j->expr->span, t, j->result, "the field"), POS_Nested);
}

static Type *check_proj(Infer *I, Expr *e) {
  Type *t = type_resolve(atom_type(I, &e->Proj.tuple, NULL));
  if (t->kind != TY_Meta) return projected(I, e, t);
  Job *j = NEW(Job);
  *j = (Job){.kind = JOB_Proj, .level = I->level, .expr = e};
  j->result = new_meta(I, I->level);
  vec_push(&I->jobs, j);
  wait_for(I, t, j);
  return j->result;
}

/* What the ref holds. */
static Type *ref_content(Infer *I, Atom *a) {
  Type *t = type_resolve(atom_type(I, a, NULL));
  if (t->kind == TY_Error) return t;
  if (t->kind != TY_Ref) {
    Type *want = type_ref(new_meta(I, t->kind == TY_Meta ? t->meta.level : I->level));
    if (!flow(I, t, want, site_new(a->span, t, want, ""), POS_Top)) return type_error();
    t = type_resolve(atom_type(I, a, NULL));
  }
  return t->kind == TY_Ref ? t->ref : t;
}

static Type *check_ref(Infer *I, Expr *e) {
  Type *t = atom_type(I, &e->Ref.value, NULL);
  Type *held = new_meta(I, I->level);
  flow(I, t, held, site_new(e->Ref.value.span, t, held, "the ref"), POS_Nested);
  return type_ref(held);
}

static Type *check_ref_write(Infer *I, Expr *e) {
  Type *held = ref_content(I, &e->RefWrite.ref);
  Site *s = site_new(e->RefWrite.value.span, NULL, held, "the value and of what the ref holds");
  s->expr = e;
  flow_atom(I, &e->RefWrite.value, held, s);
  return type_tuple(0, NULL);
}

/* ---- branches ---------------------------------------------------------------- */

static void check_branch(Infer *I, Block *b, Type *result, const char *note, Span note_at) {
  check_block(I, b);
  Site *s = site_new(b->result.span.file ? b->result.span : b->span, NULL, result, "the branch");
  s->note = note;
  s->note_at = note_at;
  flow_atom(I, &b->result, result, s);
  solve(I);
}

static void check_condition(Infer *I, Atom *a) {
  Type *t = type_resolve(atom_type(I, a, NULL)), *want = type_scalar(DT_bool);
  if (t->kind == TY_Meta)
    flow(I, t, want, site_new(a->span, t, want, ""), POS_Top);
  else if (t->kind != TY_Error && !type_is_scalar_of(t, DT_bool))
    diag_error(I->d, a->span, E0309, show(I, t));
}

static Type *check_if(Infer *I, Expr *e) {
  check_condition(I, &e->If.cond);
  Type *result = new_meta(I, I->level);
  const char *note = "both branches of this `if` must have one type";
  I->level++;
  check_branch(I, e->If.then, result, note, e->span);
  check_branch(I, e->If.otherwise, result, note, e->span);
  I->level--;
  return result;
}

static void check_pattern(Infer *I, Pattern *p, Type *t);

static void sub_patterns(Infer *I, Pattern *p, int n, Type **type) {
  for (int i = 0; i < p->n; i++) check_pattern(I, p->at[i], i < n ? type[i] : type_error());
}

static void check_ctor_pattern(Infer *I, Pattern *p, Type *t) {
  Type *want = data_with_metas(I, p->ctor->def);
  bool ok = t->kind == TY_Data && t->data.def == want->data.def;
  if (t->kind == TY_Meta)
    ok = flow(I, t, want, site_new(p->span, t, want, ""), POS_Top);
  else if (!ok && t->kind != TY_Error)
    diag_error(I->d, p->span, E0301, show(I, t), str_fmt("a pattern of %s", show(I, want)));
  if (t->kind == TY_Meta) t = type_resolve(t);
  if (ok && p->n != p->ctor->n) {
    diag_error(I->d, p->span, E0304, p->ctor->name, p->n, p->ctor->n);
    ok = false;
  }
  Type **field = NEW_N(Type *, p->ctor->n + 1);
  for (int i = 0; i < p->ctor->n; i++)
    field[i] = ok ? field_type(I, p->ctor, i, t->data.arg) : type_error();
  sub_patterns(I, p, p->ctor->n, field);
}

static void check_tuple_pattern(Infer *I, Pattern *p, Type *t) {
  if (t->kind == TY_Meta) {
    Type **at = NEW_N(Type *, p->n + 1);
    for (int i = 0; i < p->n; i++) at[i] = new_meta(I, t->meta.level);
    Type *want = type_tuple(p->n, at);
    flow(I, t, want, site_new(p->span, t, want, ""), POS_Top);
    t = type_resolve(t);
  }
  bool ok = t->kind == TY_Tuple && t->tuple.n == p->n;
  if (!ok && t->kind != TY_Error)
    diag_error(I->d, p->span, E0301, show(I, t), str_fmt("a pattern of a tuple of %d", p->n));
  sub_patterns(I, p, ok ? p->n : 0, ok ? t->tuple.at : NULL);
}

static void check_pattern(Infer *I, Pattern *p, Type *t) {
  t = type_resolve(t);
  switch (p->kind) {
  case PAT_Wild: break;
  case PAT_Var: bind_var(I, p->var, t, NULL, p->span); break;
  case PAT_Ctor: check_ctor_pattern(I, p, t); break;
  case PAT_Tuple: check_tuple_pattern(I, p, t); break;
  }
  p->type = t;
}

static Type *check_match(Infer *I, Expr *e) {
  Type *t = atom_type(I, &e->Match.scrutinee, NULL), *result = new_meta(I, I->level);
  I->level++;
  for (int i = 0; i < e->Match.n_clauses; i++) {
    Clause *c = &e->Match.clauses[i];
    check_pattern(I, c->pat, t);
    check_branch(I, c->body, result, "all clauses of this match must have one type", e->span);
  }
  I->level--;
  match_check(e, I->d);
  return result;
}

/* ---- functions ----------------------------------------------------------------- */

static void check_body(Infer *I, Fn *f, Type *sig) {
  int level = I->level;
  for (int i = 0; i < f->n; i++) {
    var_enter(I, f->param[i], level + LEVEL_SYM);
    f->param[i]->type = sig->fn.param[i];
  }
  I->level = level + LEVEL_BODY;
  check_block(I, f->body);
  Atom *r = &f->body->result;
  Site *s = site_new(r->span.file ? r->span : f->span, NULL, sig->fn.ret,
                     "the result and of the declared result type");
  s->expr = ir_expr(EX_Just, r->span);
  s->note = f->ret ? "this is the result of the function that starts here" : NULL;
  s->note_at = f->span;
  flow_atom(I, r, sig->fn.ret, s);
  s->expr->Just.value = *r;
  vec_push(&I->fns, ((FnInfo){f, s, sig, level}));
  map_set(&I->fn_info, map_ptr(f), (void *)(intptr_t)I->fns.n);
  I->level = level;
}

static void check_fn_binding(Infer *I, Var *v, Expr *e) {
  Fn *f = e->Fn.fn;
  int first_job = I->jobs.n;
  Type *sig = fn_signature(I, f, v->name ? var_label(v) : "this function");
  var_enter(I, v, I->level)->value = e;
  v->type = e->type = sig;
  if (v->annot) {
    Type *want = annotation(I, v->annot, ANNOT_Keep, I->level, NULL, v->span);
    Type *have = instantiate(I, sig, I->level, v->span, v->name, NULL);
    flow(I, have, want, site_new(v->span, sig, want, ""), POS_Nested);
  }
  check_body(I, f, sig);
  generalise(I, 1, &sig, f->span, I->level, first_job);
  v->type = bounded(I, sig, v, e->span);
}

/* ---- blocks -------------------------------------------------------------------- */

/* A variable that is another name for a function keeps its general type. */
static bool check_alias(Infer *I, Var *v, Expr *e) {
  Atom *a = &e->Just.value;
  Type *t = NULL;
  if (a->kind == ATOM_Global) t = a->global->type;
  if (a->kind == ATOM_Var) t = var_view(I, a->var);
  if (!t || t->kind != TY_Fn || v->annot) return false;
  int level = a->kind == ATOM_Var ? var_info(I, a->var)->level : 0;
  var_enter(I, v, level)->value = e;
  a->type = e->type = v->type = t;
  return true;
}

static Type *check_expr(Infer *I, Expr *e) {
  switch (e->kind) {
  case EX_Just: return atom_type(I, &e->Just.value, NULL);
  case EX_Call: return check_call(I, e);
  case EX_Tuple: return check_tuple(I, e);
  case EX_Proj: return check_proj(I, e);
  case EX_If: return check_if(I, e);
  case EX_Match: return check_match(I, e);
  case EX_Ref: return check_ref(I, e);
  case EX_RefRead: return ref_content(I, &e->RefRead.ref);
  case EX_RefWrite: return check_ref_write(I, e);
  case EX_MatchCast: return check_cast(I, e);
  case EX_Fn:
  case EX_COUNT: break;
  }
  return type_error();
}

static void check_binding(Infer *I, Binding *b) {
  Expr *e = b->value;
  e->n_oblige = 0;
  e->oblige = NULL;
  if (e->kind == EX_Fn) {
    check_fn_binding(I, b->var, e);
  } else if (e->kind != EX_Just || !check_alias(I, b->var, e)) {
    e->type = check_expr(I, e);
    bind_var(I, b->var, e->type, e, e->span);
  }
}

static void check_block(Infer *I, Block *b) {
  for (int i = 0; i < b->n; i++) {
    check_binding(I, &b->at[i]);
    solve(I);
  }
}

/* ---- the module ----------------------------------------------------------------- */

static void enter_global(Infer *I, const Global *g) { I->fn_name = str_fmt("@%s", g->name); }

static void check_group(Infer *I, Global **group, int n) {
  int first_job = I->jobs.n;
  for (int i = 0; i < n; i++) {
    enter_global(I, group[i]);
    group[i]->type = fn_signature(I, group[i]->fn, I->fn_name);
  }
  for (int i = 0; i < n; i++) {
    enter_global(I, group[i]);
    check_body(I, group[i]->fn, group[i]->type);
  }
  Type **sig = NEW_N(Type *, n);
  for (int i = 0; i < n; i++) sig[i] = group[i]->type;
  generalise(I, n, sig, group[0]->span, 0, first_job);
}

static int by_place(const Diagnostic *a, const Diagnostic *b) {
  if (a->span.file != b->span.file) return a->span.file < b->span.file ? -1 : 1;
  return a->span.at == b->span.at ? 0 : a->span.at < b->span.at ? -1 : 1;
}

/* Messages come when things are known; people read them from top to bottom. */
static void sort_messages(Diags *d, int from) {
  for (int i = from + 1; i < d->n; i++) {
    Diagnostic x = d->at[i];
    int k = i;
    for (; k > from && by_place(&d->at[k - 1], &x) > 0; k--) d->at[k] = d->at[k - 1];
    d->at[k] = x;
  }
}

bool typeinfer(Module *m, Diags *d) {
  Infer *I = NEW(Infer);
  *I = (Infer){.m = m, .cx = m->cx, .dt = m->cx->dims, .d = d, .fn_name = ""};
  int errors = d->n_errors, first = d->n;
  eta_expand_module(m);
  find_variance(I);
  GlobalGroups groups = global_groups(m);
  for (int i = 0; i < m->globals.n; i++) m->globals.at[i]->type = NULL;
  for (int i = 0, at = 0; i < groups.n; at += groups.size[i++])
    check_group(I, groups.at + at, groups.size[i]);
  finish(I);
  sort_messages(d, first);
  m->form |= FORM_TYPED;
  return d->n_errors == errors;
}
