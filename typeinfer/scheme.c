/* scheme.c -- function types that quantify: signatures, instances and
 * generalisation.
 *
 * Only functions quantify, and the quantifiers stand in the TY_Fn itself.
 * Every use of a function's variable is an instance: fresh metas for its type
 * variables, strict cells for its dims.  The type of a function may still hold
 * metas and cells when it is used (recursion); an instance then follows them
 * (JOB_Inst, CellIn.inst).                                                    */
#include <string.h>
#include "typeinfer/state.h"

enum { MAX_NESTED_INST = 16, MAX_INST = 20000 };

/* ---- annotations ----------------------------------------------------------- */

typedef struct Quant {
  const Type *fn;
  const struct Quant *up;
} Quant;
typedef struct {
  Infer *I;
  AnnotMode mode;
  int level;
  DimList *opened;
  Span at;
  const Quant *quant;
  bool unbound;
} Annot;

static bool is_quantified(const Quant *q, Dim s) {
  for (; q; q = q->up)
    for (int i = 0; i < q->fn->fn.n_dims; i++)
      if (q->fn->fn.dim[i] == s) return true;
  return false;
}

/* A nameless symbol in an annotation comes from an earlier run: it means ?. */
static void ask_bound(void *ud, Dim s) {
  Annot *a = ud;
  if (is_quantified(a->quant, s)) return;
  if (!s->name) a->unbound = true;
  if (!s->name || sym_known(a->I, s)) return;
  a->unbound = true;
  sym_enter(a->I, s, 0, 0);
  diag_error(a->I->d, a->at, E0314, s->name, a->I->fn_name);
}

static Dim annot_dim(Annot *a, Dim d, bool top) {
  a->unbound = false;
  dim_visit_syms(d, ask_bound, a);
  if (d->kind != DIM_Any && !a->unbound) return d;
  if (!top || a->mode == ANNOT_Keep) return dim_any(a->I->dt);
  if (a->mode == ANNOT_Open) return cell_new(a->I, a->level, CELL_OPENS)->self;
  Dim s = sym_new(a->I, a->level, ++a->I->clock);
  vec_push(a->opened, s);
  return s;
}

static Type *annot(Annot *a, Type *t, bool top);
static Type **annot_list(Annot *a, Type *const *at, int n, bool top) {
  Type **to = NEW_N(Type *, n ? n : 1);
  for (int i = 0; i < n; i++) to[i] = annot(a, at[i], top);
  return to;
}

static Type *annot_fn(Annot *a, Type *t) {
  Quant q = {t, a->quant};
  a->quant = &q;
  Type **param = annot_list(a, t->fn.param, t->fn.n, false);
  Type *ret = annot(a, t->fn.ret, false);
  a->quant = q.up;
  return type_fn(t->fn.n_vars, t->fn.var, t->fn.n_dims, t->fn.dim, t->fn.n, param, ret);
}

static Type *annot_data(Annot *a, Type *t) {
  if (t->data.n == t->data.def->n_vars)
    return type_data(t->data.def, t->data.n, annot_list(a, t->data.arg, t->data.n, false));
  diag_error(a->I->d, a->at, E0311, t->data.def->name,
             str_fmt("takes %d type arguments, found %d", t->data.def->n_vars, t->data.n));
  return type_error();
}

static Type *annot(Annot *a, Type *t, bool top) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Error:
  case TY_Var: return t;
  case TY_Meta: return new_meta(a->I, a->mode == ANNOT_Param ? a->level - 1 : a->level);
  case TY_Tensor: {
    Dim dim[MAX_RANK];
    if (t->tensor.rank == 0) return t;
    for (int i = 0; i < t->tensor.rank; i++) dim[i] = annot_dim(a, t->tensor.dim[i], top);
    return type_tensor(t->tensor.dtype, t->tensor.rank, dim);
  }
  case TY_Tuple: return type_tuple(t->tuple.n, annot_list(a, t->tuple.at, t->tuple.n, top));
  case TY_Fn: return annot_fn(a, t);
  case TY_Data: return annot_data(a, t);
  case TY_Ref: return type_ref(annot(a, t->ref, false));
  }
  return t;
}

Type *annotation(Infer *I, Type *t, AnnotMode mode, int level, DimList *opened, Span at) {
  Annot a = {I, mode, level, opened, at, NULL, false};
  return annot(&a, t, true);
}

/* Was a result type inferred by an earlier run?  Then it may speak of the
 * nameless axes of parameters, and no text can. */
static void ask_nameless(void *ud, Dim s) { *(bool *)ud |= !s->name; }

static bool has_nameless(Type *t) {
  bool yes = false;
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Error:
  case TY_Meta:
  case TY_Var: break;
  case TY_Tensor:
    for (int i = 0; i < t->tensor.rank; i++) dim_visit_syms(t->tensor.dim[i], ask_nameless, &yes);
    break;
  case TY_Tuple:
    for (int i = 0; i < t->tuple.n; i++) yes |= has_nameless(t->tuple.at[i]);
    break;
  case TY_Fn:
    for (int i = 0; i < t->fn.n; i++) yes |= has_nameless(t->fn.param[i]);
    return yes || has_nameless(t->fn.ret);
  case TY_Data:
    for (int i = 0; i < t->data.n; i++) yes |= has_nameless(t->data.arg[i]);
    break;
  case TY_Ref: return has_nameless(t->ref);
  }
  return yes;
}

/* ---- signatures ------------------------------------------------------------ */

static bool binds(Type *t, Dim s) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor)
    for (int i = 0; i < t->tensor.rank; i++)
      if (t->tensor.dim[i] == s) return true;
  if (t->kind == TY_Tuple)
    for (int i = 0; i < t->tuple.n; i++)
      if (binds(t->tuple.at[i], s)) return true;
  return false;
}

/* The function reads its dims off its parameters when it is entered. */
static void check_bound(Infer *I, const Fn *f, Type *sig, Dim s, const char *name) {
  for (int i = 0; i < sig->fn.n; i++)
    if (binds(sig->fn.param[i], s)) return;
  Span at = f->span;
  if (f->n && f->param[0]->span.file) at = f->param[0]->span;
  diag_error(I->d, at, E0314, s->name, name);
  diag_help(I->d, "a dimension needs a tensor parameter (or a tuple of tensors) that has it as an "
                  "axis; write ? for an extent that needs no name");
}

Type *fn_signature(Infer *I, Fn *f, const char *name) {
  int level = I->level + LEVEL_SYM;
  DimList dims = {0};
  for (int i = 0; i < f->n_dims; i++)
    if (f->dim[i]->name) vec_push(&dims, f->dim[i]);
  int n_named = dims.n;
  for (int i = 0; i < dims.n; i++) sym_enter(I, dims.at[i], level, ++I->clock);
  int var_level = I->level + LEVEL_PARAM;
  for (int i = 0; i < f->n_vars; i++)
    map_set(&I->tyvar_level, map_ptr(f->var[i]), (void *)(intptr_t)(var_level + 1));
  Type **param = NEW_N(Type *, f->n ? f->n : 1);
  for (int i = 0; i < f->n; i++) {
    Var *p = f->param[i];
    param[i] = p->annot ? annotation(I, p->annot, ANNOT_Param, level, &dims, p->span)
                        : param_meta(I, I->level + LEVEL_PARAM, p);
  }
  bool said = f->ret && !has_nameless(f->ret);
  Type *ret = said ? annotation(I, f->ret, ANNOT_Keep, level, NULL, f->span) : new_meta(I, level);
  Type *sig = type_fn(f->n_vars, f->var, dims.n, dims.at, f->n, param, ret);
  for (int i = 0; i < n_named; i++) check_bound(I, f, sig, dims.at[i], name);
  return sig;
}

/* ---- instances ------------------------------------------------------------- */

typedef struct {
  Infer *I;
  const Inst *inst;
  bool yes;
} TouchAsk;
static void ask_touch(void *ud, Dim s) {
  TouchAsk *a = ud;
  a->yes |= sym_level(a->I, s) > a->inst->cap;
  for (int i = 0; i < a->inst->n_dims; i++) a->yes |= a->inst->sym[i] == s;
}

/* Does d mean something else, or nothing, outside the function? */
static bool touches(Infer *I, const Inst *in, Dim d) {
  TouchAsk a = {I, in, false};
  dim_visit_syms(d, ask_touch, &a);
  return a.yes;
}

static Dim inst_dim(Infer *I, Dim d, Inst *in, bool positive) {
  if (cell_of(d) && cell_of(d)->stuck) d = cell_of(d)->val;
  for (int i = 0; i < in->n_dims; i++)
    if (in->sym[i] == d) return in->cell[i];
  if (d->kind == DIM_Const || d->kind == DIM_Any) return d;
  if (cell_of(d) ? !positive : !touches(I, in, d)) return d;
  Cell *c = cell_new(I, I->level, CELL_RIGID);
  cell_input(I, c, (CellIn){d, in, false, NULL});
  return c->self;
}

static Type *inst_meta(Infer *I, Type *m, Inst *in, bool positive) {
  if (!positive || m->meta.level <= in->cap) return m;
  Job *j = NEW(Job);
  *j = (Job){.kind = JOB_Inst, .level = I->level, .from = m, .inst = in};
  j->nested = I->inst_nested;
  I->n_nested += j->nested > 0;
  j->result = new_meta(I, I->level);
  vec_push(&I->jobs, j);
  wait_for(I, m, j);
  return j->result;
}

static Type *inst_type(Infer *I, Type *t, Inst *in, bool positive);
static Type **inst_list(Infer *I, Type *const *at, int n, Inst *in, bool positive) {
  Type **to = NEW_N(Type *, n ? n : 1);
  for (int i = 0; i < n; i++) to[i] = inst_type(I, at[i], in, positive);
  return to;
}

static Type *inst_type(Infer *I, Type *t, Inst *in, bool positive) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Error: return t;
  case TY_Meta: return inst_meta(I, t, in, positive);
  case TY_Var:
    for (int i = 0; i < in->n_types; i++)
      if (in->var[i] == t->var) return in->type[i];
    return t;
  case TY_Tensor: {
    Dim dim[MAX_RANK];
    if (t->tensor.rank == 0) return t;
    for (int i = 0; i < t->tensor.rank; i++) dim[i] = inst_dim(I, t->tensor.dim[i], in, positive);
    return type_tensor(t->tensor.dtype, t->tensor.rank, dim);
  }
  case TY_Tuple: return type_tuple(t->tuple.n, inst_list(I, t->tuple.at, t->tuple.n, in, positive));
  case TY_Fn:
    return type_fn(t->fn.n_vars, t->fn.var, t->fn.n_dims, t->fn.dim, t->fn.n,
                   inst_list(I, t->fn.param, t->fn.n, in, !positive),
                   inst_type(I, t->fn.ret, in, positive));
  case TY_Data:
    return type_data(t->data.def, t->data.n, inst_list(I, t->data.arg, t->data.n, in, positive));
  case TY_Ref: return type_ref(inst_type(I, t->ref, in, positive));
  }
  return t;
}

static Inst *inst_new(Infer *I, const Type *fn, int cap, Span at, const char *callee) {
  Inst *in = NEW(Inst);
  *in = (Inst){.n_types = fn->fn.n_vars, .n_dims = fn->fn.n_dims, .cap = cap, .at = at};
  in->var = NEW_N(TyVar *, in->n_types + 1);
  in->type = NEW_N(Type *, in->n_types + 1);
  in->sym = NEW_N(Dim, in->n_dims + 1);
  in->cell = NEW_N(Dim, in->n_dims + 1);
  for (int i = 0; i < in->n_types; i++) {
    in->var[i] = fn->fn.var[i];
    in->type[i] = new_meta(I, I->level);
  }
  for (int i = 0; i < in->n_dims; i++) {
    Cell *c = cell_new(I, I->level, CELL_STRICT);
    c->symbol = in->sym[i] = fn->fn.dim[i];
    c->at = at;
    c->callee = callee;
    in->cell[i] = c->self;
  }
  return in;
}

Type *instantiate(Infer *I, Type *fn, int cap, Span at, const char *callee, TypeArgs **out) {
  if (out) *out = NULL;
  if (!fn->fn.n_vars && !fn->fn.n_dims && type_is_plain(fn, true)) return fn;
  Inst *in = inst_new(I, fn, cap, at, callee);
  if (out && (in->n_types || in->n_dims)) {
    *out = NEW(TypeArgs);
    **out = (TypeArgs){in->n_types, in->type, in->n_dims, in->cell};
  }
  Type **param = inst_list(I, fn->fn.param, fn->fn.n, in, false);
  return type_fn(0, NULL, 0, NULL, fn->fn.n, param, inst_type(I, fn->fn.ret, in, true));
}

static void lower(Type *t, int level) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Error:
  case TY_Var:
  case TY_Tensor: return;
  case TY_Meta:
    if (t->meta.level > level) t->meta.level = level;
    return;
  case TY_Tuple:
    for (int i = 0; i < t->tuple.n; i++) lower(t->tuple.at[i], level);
    return;
  case TY_Fn:
    for (int i = 0; i < t->fn.n; i++) lower(t->fn.param[i], level);
    lower(t->fn.ret, level);
    return;
  case TY_Data:
    for (int i = 0; i < t->data.n; i++) lower(t->data.arg[i], level);
    return;
  case TY_Ref: lower(t->ref, level); return;
  }
}

/* f gives a tuple of what f gives: no number of instances would do. */
static bool is_endless(Infer *I, Job *j) {
  if (j->nested <= MAX_NESTED_INST && I->n_nested <= MAX_INST) return false;
  Span at = j->inst->at;
  uint64_t key = (uint64_t)at.file << 32 | at.at;
  if (!map_get(&I->endless, key)) diag_error(I->d, at, E0303, "the result");
  map_set(&I->endless, key, I);
  return true;
}

void run_inst(Infer *I, Job *j) {
  if (j->state == JOB_Ready) return;
  if (is_unsolved(j->from)) {
    wait_for(I, j->from, j);
    return;
  }
  j->state = JOB_Ready;
  int level = I->level;
  I->level = j->level;
  I->inst_nested = j->nested + 1;
  Type *t = is_endless(I, j) ? type_error() : inst_type(I, j->from, j->inst, true);
  flow(I, t, j->result, site_new(j->inst->at, t, j->result, "the result"), POS_Nested);
  I->inst_nested = 0;
  I->level = level;
}

/* Nothing but this use says what the function gives: take it from there.  When
 * the use does not know either they are one type, which must then not see the
 * symbols of the function: inside it they would be another call's. */
void settle_inst(Infer *I, Job *j, int level) {
  if (j->state == JOB_Ready || !is_unsolved(j->from)) return;
  if (is_unsolved(j->result)) {
    j->state = JOB_Ready;
    lower(j->from, level + LEVEL_PARAM);
  }
  Site *s = site_new(j->inst->at, j->result, j->from, "the result");
  flow(I, j->result, j->from, s, POS_Nested);
}

/* ---- generalisation -------------------------------------------------------- */

/* What an operator still waits for belongs to the calls to come; what an outer
 * function in the making gives, to that function. */
static void keep_pending(Infer *I, int first_job, int level) {
  for (int i = first_job; i < I->jobs.n; i++) {
    Job *j = I->jobs.at[i];
    if (j->made || j->state != JOB_Waiting) continue;
    if (j->result) lower(j->result, level);
    if (j->kind == JOB_Inst) continue;
    if (j->kind == JOB_Rel)
      for (int k = 0; k < j->expr->Call.n_args; k++) lower(j->expr->Call.args[k].type, level);
    else
      lower(j->expr->Proj.tuple.type, level);
  }
}

/* A group of functions generalises at once: what it opens, and the symbols and
 * type variables made so far.  Functions that call each other may share them;
 * each quantifies those that it mentions. */
typedef VEC(TyVar *) TyVarList;
typedef VEC(Cell *) CellList;
typedef struct {
  Infer *I;
  int level;
  Span span;
  bool alone; /* the group is one function                  */
  DimList dims;
  TyVarList vars;
} Opening;

static void free_axes(const Opening *o, Type *t, CellList *out) {
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++) free_axes(o, t->tuple.at[i], out);
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++) {
    Cell *c = cell_of(t->tensor.dim[i]);
    bool is_free = c && !c->known && c->level > o->level && !(c->flags & CELL_RIGID);
    if (is_free) vec_push(out, c);
  }
}

/* Two parameters that share an axis only because both may reach one place need
 * not agree on it. */
static void part_shared(const CellList *axes) {
  for (int i = 0; i < axes->n; i++)
    for (int k = 0; k < i; k++)
      if (axes->at[k] == axes->at[i]) axes->at[i]->flags |= CELL_SHARED;
}

static void quantify_dim(DimList *dims, Dim s) {
  for (int i = 0; i < dims->n; i++)
    if (dims->at[i] == s) return;
  vec_push(dims, s);
}

static void quantify_axes(const Opening *o, Type *t, DimList *dims) {
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++)
    quantify_axes(o, t->tuple.at[i], dims);
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++) {
    Dim d;
    if (!dim_value(t->tensor.dim[i], &d)) continue;
    for (int k = 0; k < o->dims.n; k++)
      if (o->dims.at[k] == d) quantify_dim(dims, d);
  }
}

/* Nothing flows into the axis but itself, from recursive calls. */
static bool is_passed_on(const Cell *c) {
  for (int i = 0; i < c->in.n; i++) {
    const Cell *from = cell_of(c->in.at[i].dim);
    bool is_view = from && from->flags & CELL_OPENS && from->in.n == 1;
    if (!is_view || from->in.at[0].dim != c->self) return false;
  }
  return true;
}

/* Axes of parameters that the body leaves free become dims of the function;
 * other extents that are not known yet are unknown. */
static void open_dims(Opening *o, Type *sig) {
  CellList axes = {0};
  DimList dims = {0};
  for (int i = 0; i < sig->fn.n; i++) free_axes(o, sig->fn.param[i], &axes);
  part_shared(&axes);
  for (int i = 0; i < axes.n; i++) {
    if (axes.at[i]->known) continue;
    if (!o->alone || axes.at[i]->flags & CELL_SHARED || !is_passed_on(axes.at[i])) {
      cell_top(o->I, axes.at[i]);
      continue;
    }
    Dim s = sym_new(o->I, o->level + LEVEL_SYM, axes.at[i]->order);
    cell_fix(o->I, axes.at[i], s);
    vec_push(&o->dims, s);
  }
  for (int i = 0; i < sig->fn.n_dims; i++) vec_push(&dims, sig->fn.dim[i]);
  for (int i = 0; i < sig->fn.n; i++) quantify_axes(o, sig->fn.param[i], &dims);
  sig->fn.n_dims = dims.n;
  sig->fn.dim = dims.at;
}

static bool has_var(const TyVarList *vars, const TyVar *v) {
  for (int i = 0; i < vars->n; i++)
    if (vars->at[i] == v) return true;
  return false;
}

static bool name_taken(const TyVarList *vars, const char *name) {
  for (int i = 0; i < vars->n; i++)
    if (strcmp(vars->at[i]->name, name) == 0) return true;
  return false;
}

static TyVar *fresh_tyvar(const Opening *o, const TyVarList *vars) {
  const char *name = "A";
  for (int i = 1; name_taken(vars, name) || name_taken(&o->vars, name); i++)
    name = i < 26 ? str_fmt("%c", 'A' + i) : str_fmt("A%d", i);
  TyVar *v = NEW(TyVar);
  *v = (TyVar){sym(o->I->cx->syms, name), o->span};
  return v;
}

static void open_meta(Opening *o, Type *t, TyVarList *vars) {
  if (t->meta.level <= o->level) return;
  TyVar *fresh = fresh_tyvar(o, vars);
  vec_push(vars, fresh);
  vec_push(&o->vars, fresh);
  Type *v = type_var(fresh);
  flow(o->I, v, t, site_new(o->span, v, t, ""), POS_Nested);
}

static void open_types(Opening *o, Type *t, TyVarList *vars) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Error:
  case TY_Tensor: return;
  case TY_Meta: open_meta(o, t, vars); return;
  case TY_Var:
    if (has_var(&o->vars, t->var) && !has_var(vars, t->var)) vec_push(vars, t->var);
    return;
  case TY_Tuple:
    for (int i = 0; i < t->tuple.n; i++) open_types(o, t->tuple.at[i], vars);
    return;
  case TY_Fn:
    for (int i = 0; i < t->fn.n; i++) open_types(o, t->fn.param[i], vars);
    open_types(o, t->fn.ret, vars);
    return;
  case TY_Data:
    for (int i = 0; i < t->data.n; i++) open_types(o, t->data.arg[i], vars);
    return;
  case TY_Ref: open_types(o, t->ref, vars); return;
  }
}

static void quantify_types(Opening *o, Type *sig) {
  TyVarList vars = {0};
  for (int i = 0; i < sig->fn.n_vars; i++) vec_push(&vars, sig->fn.var[i]);
  open_types(o, sig, &vars);
  sig->fn.n_vars = vars.n;
  sig->fn.var = vars.at;
}

void generalise(Infer *I, int n, Type **sig, Span span, int level, int first_job) {
  Opening o = {.I = I, .level = level, .span = span, .alone = n == 1};
  bool plain = true;
  solve(I);
  for (int i = 0; i < n; i++) plain &= type_is_plain(sig[i], true);
  if (plain) return;
  for (int i = first_job; i < I->jobs.n; i++)
    if (I->jobs.at[i]->kind == JOB_Inst && I->jobs.at[i]->from->meta.level > level)
      settle_inst(I, I->jobs.at[i], level);
  solve(I);
  keep_pending(I, first_job, level);
  for (int i = 0; i < n; i++) open_dims(&o, sig[i]);
  solve(I);
  for (int i = 0; i < n; i++) quantify_types(&o, sig[i]);
  solve(I);
}
