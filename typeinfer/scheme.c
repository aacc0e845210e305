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

typedef struct Quant { const Type *fn;  const struct Quant *up; } Quant;
typedef struct {
  Infer *I;  AnnotMode mode;  int level;  DimList *opened;  Span at;
  const Quant *quant;  bool unbound;
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
  if (!s->name || map_get(&a->I->sym_level, map_ptr(s))) return;
  a->unbound = true;
  map_set(&a->I->sym_level, map_ptr(s), (void *)(intptr_t)1);
  diag_error(a->I->d, a->at, E0314, s->name, a->I->fn_name);
}

static Dim annot_dim(Annot *a, Dim d, bool top) {
  a->unbound = false;
  dim_visit_syms(d, ask_bound, a);
  if (d->kind != DIM_Any && !a->unbound) return d;
  if (!top || a->mode == ANNOT_Keep) return dim_any(a->I->dt);
  if (a->mode == ANNOT_Open) return cell_new(a->I, a->level, CELL_OPENS)->self;
  Dim s = dim_new_sym(a->I->dt, NULL, a->level);
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
  Quant q = { t, a->quant };
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
  case TY_Error: case TY_Var: return t;
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
  Annot a = { I, mode, level, opened, at, NULL, false };
  return annot(&a, t, true);
}

/* Was a result type inferred by an earlier run?  Then it may speak of the
 * nameless axes of parameters, and no text can. */
static void ask_nameless(void *ud, Dim s) { *(bool *)ud |= !s->name; }

static bool has_nameless(Type *t) {
  bool yes = false;
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Error: case TY_Meta: case TY_Var: break;
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

static void set_level(Map *m, const void *key, int level) {
  map_set(m, map_ptr(key), (void *)(intptr_t)(level + 1));
}

Type *fn_signature(Infer *I, Fn *f, const char *name) {
  int level = I->level + LEVEL_SYM;
  DimList dims = {0};
  for (int i = 0; i < f->n_dims; i++)
    if (f->dim[i]->name) vec_push(&dims, f->dim[i]);
  int n_named = dims.n;
  for (int i = 0; i < dims.n; i++) set_level(&I->sym_level, dims.at[i], level);
  for (int i = 0; i < f->n_vars; i++) set_level(&I->tyvar_level, f->var[i], level);
  Type **param = NEW_N(Type *, f->n ? f->n : 1);
  for (int i = 0; i < f->n; i++) {
    Var *p = f->param[i];
    param[i] = p->annot ? annotation(I, p->annot, ANNOT_Param, level, &dims, p->span)
                        : new_meta(I, I->level + LEVEL_PARAM);
  }
  bool said = f->ret && !has_nameless(f->ret);
  Type *ret = said ? annotation(I, f->ret, ANNOT_Keep, level, NULL, f->span) : new_meta(I, level);
  Type *sig = type_fn(f->n_vars, f->var, dims.n, dims.at, f->n, param, ret);
  for (int i = 0; i < n_named; i++) check_bound(I, f, sig, dims.at[i], name);
  return sig;
}

/* ---- instances ------------------------------------------------------------- */

typedef struct { Infer *I; const Inst *inst; bool yes; } TouchAsk;
static void ask_touch(void *ud, Dim s) {
  TouchAsk *a = ud;
  a->yes |= sym_level(a->I, s) > a->inst->cap;
  for (int i = 0; i < a->inst->n_dims; i++) a->yes |= a->inst->sym[i] == s;
}

/* Does d mean something else, or nothing, outside the function? */
static bool touches(Infer *I, const Inst *in, Dim d) {
  TouchAsk a = { I, in, false };
  dim_visit_syms(d, ask_touch, &a);
  return a.yes;
}

static Dim inst_dim(Infer *I, Dim d, Inst *in, bool positive) {
  for (int i = 0; i < in->n_dims; i++)
    if (in->sym[i] == d) return in->cell[i];
  if (d->kind == DIM_Const || d->kind == DIM_Any) return d;
  if (cell_of(d) ? !positive : !touches(I, in, d)) return d;
  Cell *c = cell_new(I, I->level, CELL_RIGID);
  cell_input(I, c, (CellIn){ d, in, false, NULL });
  return c->self;
}

static Type *inst_meta(Infer *I, Type *m, Inst *in, bool positive) {
  if (!positive || m->meta.level <= in->cap) return m;
  Job *j = NEW(Job);
  *j = (Job){ .kind = JOB_Inst, .level = I->level, .from = m, .inst = in };
  j->nested = I->inst_nested;
  I->n_nested += j->nested > 0;
  j->result = new_meta(I, I->level);
  vec_push(&I->jobs, j);
  wait_for(I, m, j);
  return j->result;
}

static Type **inst_list(Infer *I, Type *const *at, int n, Inst *in, bool positive) {
  Type **to = NEW_N(Type *, n ? n : 1);
  for (int i = 0; i < n; i++) to[i] = inst_type(I, at[i], in, positive);
  return to;
}

Type *inst_type(Infer *I, Type *t, Inst *in, bool positive) {
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
  *in = (Inst){ .n_types = fn->fn.n_vars, .n_dims = fn->fn.n_dims, .cap = cap, .at = at };
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
    **out = (TypeArgs){ in->n_types, in->type, in->n_dims, in->cell };
  }
  Type **param = inst_list(I, fn->fn.param, fn->fn.n, in, false);
  return type_fn(0, NULL, 0, NULL, fn->fn.n, param, inst_type(I, fn->fn.ret, in, true));
}

static void lower(Type *t, int level) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Error: case TY_Var: case TY_Tensor: return;
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
    else lower(j->expr->Proj.tuple.type, level);
  }
}

/* Axes of parameters that the body leaves free become dims of the function. */
static void open_dims(Infer *I, Type *t, int level, DimList *dims) {
  t = type_resolve(t);
  if (t->kind == TY_Tuple)
    for (int i = 0; i < t->tuple.n; i++) open_dims(I, t->tuple.at[i], level, dims);
  if (t->kind != TY_Tensor) return;
  for (int i = 0; i < t->tensor.rank; i++) {
    Cell *c = cell_of(t->tensor.dim[i]);
    if (!c || c->known || c->level <= level || (c->flags & CELL_RIGID)) continue;
    Dim s = dim_new_sym(I->dt, NULL, level + LEVEL_SYM);
    cell_fix(I, c, s);
    vec_push(dims, s);
    t->tensor.dim[i] = s;
  }
}

typedef VEC(TyVar *) TyVarList;

static bool name_taken(const TyVarList *vars, const char *name) {
  for (int i = 0; i < vars->n; i++)
    if (strcmp(vars->at[i]->name, name) == 0) return true;
  return false;
}

static TyVar *fresh_tyvar(Infer *I, const TyVarList *vars, Span span) {
  char name[16] = "A";
  for (int i = 1; name_taken(vars, name); i++) {
    if (i < 26) name[0] = (char)('A' + i);
    else {
      char *s = str_fmt("A%d", i);
      memcpy(name, s, strlen(s) + 1);
    }
  }
  TyVar *v = NEW(TyVar);
  *v = (TyVar){ sym(I->cx->syms, name), span };
  return v;
}

static void open_types(Infer *I, Type *t, int level, TyVarList *vars, Span span) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Error: case TY_Var: case TY_Tensor: return;
  case TY_Meta:
    if (t->meta.level <= level) return;
    TyVar *fresh = fresh_tyvar(I, vars, span);
    vec_push(vars, fresh);
    Type *v = type_var(fresh);
    flow(I, v, t, site_new(span, v, t, ""), POS_Nested);
    return;
  case TY_Tuple:
    for (int i = 0; i < t->tuple.n; i++) open_types(I, t->tuple.at[i], level, vars, span);
    return;
  case TY_Fn:
    for (int i = 0; i < t->fn.n; i++) open_types(I, t->fn.param[i], level, vars, span);
    open_types(I, t->fn.ret, level, vars, span);
    return;
  case TY_Data:
    for (int i = 0; i < t->data.n; i++) open_types(I, t->data.arg[i], level, vars, span);
    return;
  case TY_Ref: open_types(I, t->ref, level, vars, span); return;
  }
}

void generalise(Infer *I, Type *sig, Fn *f, int level, int first_job) {
  solve(I);
  if (type_is_plain(sig, true)) return;
  for (int i = first_job; i < I->jobs.n; i++)
    if (I->jobs.at[i]->kind == JOB_Inst && I->jobs.at[i]->from->meta.level > level)
      settle_inst(I, I->jobs.at[i], level);
  solve(I);
  keep_pending(I, first_job, level);
  DimList dims = {0};
  for (int i = 0; i < sig->fn.n_dims; i++) vec_push(&dims, sig->fn.dim[i]);
  for (int i = 0; i < sig->fn.n; i++) open_dims(I, sig->fn.param[i], level, &dims);
  sig->fn.n_dims = dims.n;
  sig->fn.dim = dims.at;
  solve(I);
  TyVarList vars = {0};
  for (int i = 0; i < sig->fn.n_vars; i++) vec_push(&vars, sig->fn.var[i]);
  open_types(I, sig, level, &vars, f->span);
  sig->fn.n_vars = vars.n;
  sig->fn.var = vars.at;
  solve(I);
}
