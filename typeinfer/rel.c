/* rel.c -- operator calls: running type relations; see rel.h for their side.
 *
 * A relation runs as soon as its operands' structure and extents are known.
 * When some extent is a cell it may run again; messages and obligations are
 * then kept aside and only those of the last run count.                      */
#include <string.h>
#include "typeinfer/state.h"

typedef struct {
  bool tuple;
  int n;
  TensorTy *leaf;
} ArgView;
typedef enum { MADE_Nothing, MADE_Tensor, MADE_Tuple } MadeKind;
typedef struct {
  DType dtype;
  int rank;
  Dim dim[MAX_RANK];
} Leaf;

struct Rel {
  Infer *I;
  Job *job;
  Diags *d;
  const OpDef *op;
  ArgView arg[OP_MAX_ARGS];
  MadeKind made;
  int n_leaf;
  Leaf one, *leaf;
};

/* ---- the operator's questions ------------------------------------------------ */

DimTab *rel_dims(Rel *r) { return r->I->dt; }
const OpDef *rel_op(Rel *r) { return r->op; }
const OpAttrs *rel_attrs(Rel *r) { return r->job->expr->Call.op_attrs; }
int rel_n_args(Rel *r) { return r->job->expr->Call.n_args; }
int rel_arg_size(Rel *r, int arg) { return r->arg[arg].n; }
TensorTy rel_tensor(Rel *r, int arg) { return r->arg[arg].leaf[0]; }
TensorTy rel_leaf(Rel *r, int arg, int i) { return r->arg[arg].leaf[i]; }

static Atom *arg_atom(Rel *r, int arg) { return &r->job->expr->Call.args[arg]; }
static Span call_span(Rel *r) { return r->job->expr->span; }

const Tensor *rel_constant(Rel *r, int arg) {
  const Atom *a = arg_atom(r, arg);
  for (int steps = 0; steps < 64; steps++) {
    if (a->kind == ATOM_Const) return a->cst;
    const Expr *e = a->kind == ATOM_Var ? var_info(r->I, a->var)->value : NULL;
    if (!e || e->kind != EX_Just) return NULL;
    a = &e->Just.value;
  }
  return NULL;
}

/* ---- messages ------------------------------------------------------------------ */

static const char *arg_name(Rel *r, int arg) {
  const char *n = arg < OP_MAX_ARGS ? r->op->args[arg].name : NULL;
  return n ? n : str_fmt("argument %d", arg);
}

static bool noted_before(Rel *r, int arg) {
  const Atom *a = arg_atom(r, arg);
  for (int i = 0; i < arg; i++)
    if (arg_atom(r, i)->kind == ATOM_Var && arg_atom(r, i)->var == a->var) return true;
  return false;
}

/* Where the operands come from, and what they are. */
static void note_operands(Rel *r) {
  for (int i = 0; i < rel_n_args(r); i++) {
    Atom *a = arg_atom(r, i);
    if (a->kind != ATOM_Var || noted_before(r, i)) continue;
    Span at = a->var->span.file ? a->var->span : a->span;
    const char *who = a->var->name ? var_label(a->var) : arg_name(r, i);
    diag_note(r->d, at, "%s is %s", who, show(r->I, a->type));
  }
}

bool rel_error(Rel *r, const char *fmt, ...) {
  StrBuf text = {0};
  va_list ap;
  va_start(ap, fmt);
  buf_vfmt(&text, fmt, ap);
  va_end(ap);
  diag_error(r->d, call_span(r), E0311, r->op->name, buf_text(&text));
  note_operands(r);
  return false;
}

static bool wrong_arg(Rel *r, int arg, const char *must_be) {
  Atom *a = arg_atom(r, arg);
  Span at = a->span.file ? a->span : call_span(r);
  diag_error(r->d, at, E0308, r->op->name, arg_name(r, arg), must_be, show(r->I, a->type));
  if (a->kind == ATOM_Var && a->var->name && a->var->span.file)
    diag_note(r->d, a->var->span, "%s is declared here", var_label(a->var));
  return false;
}

bool rel_want_rank(Rel *r, int arg, int rank) {
  return rel_tensor(r, arg).rank == rank ||
         wrong_arg(r, arg, rank ? str_fmt("of rank %d", rank) : "a scalar");
}

bool rel_want_min_rank(Rel *r, int arg, int rank) {
  return rel_tensor(r, arg).rank >= rank || wrong_arg(r, arg, str_fmt("of rank %d or more", rank));
}

static const char *class_name(char c) {
  return c == 'f' ? "float" : c == 'i' ? "int" : c == 'u' ? "uint" : "bool";
}

static const char *class_list(const char *classes) {
  StrBuf b = {0};
  for (size_t i = 0; classes[i]; i++)
    buf_fmt(&b, "%s%s", i == 0 ? "" : classes[i + 1] ? ", " : " or ", class_name(classes[i]));
  return buf_text(&b);
}

bool rel_want_class(Rel *r, int arg, const char *classes) {
  for (int i = 0; i < rel_arg_size(r, arg); i++)
    if (!strchr(classes, dtype_class(rel_leaf(r, arg, i).dtype)))
      return wrong_arg(r, arg, str_fmt("of %s elements", class_list(classes)));
  return true;
}

/* The 2 of %x * 2, where %x is of floats. */
static void help_literal(Rel *r, int arg, DType want) {
  const Tensor *c = arg_atom(r, arg)->kind == ATOM_Const ? arg_atom(r, arg)->cst : NULL;
  int32_t v;
  if (!c || c->rank != 0 || c->dtype != DT_i32 || want == DT_bool) return;
  memcpy(&v, c->bytes, sizeof v);
  const char *dt = dtype_name(want), *bits = dt + strcspn(dt, "0123456789");
  int letters = want == DT_bf16 ? 2 : 1; /* bf16, f32, i64, u8 */
  diag_help(r->d, "as %s it is written %d%.*s%s", dt, v, letters, dt, want == DT_f32 ? "" : bits);
}

bool rel_same_dtype(Rel *r, int a, int b) {
  DType da = rel_tensor(r, a).dtype, db = rel_tensor(r, b).dtype;
  if (da == db) return true;
  wrong_arg(r, b, str_fmt("of %s elements like %s", dtype_name(da), arg_name(r, a)));
  help_literal(r, a, db);
  help_literal(r, b, da);
  return false;
}

/* ---- extents -------------------------------------------------------------------- */

static void owe(Rel *r, ObligeKind kind, Dim a, Dim b, const char *what) {
  Job *j = r->job;
  for (int i = 0; i < j->oblige.n; i++)
    if (j->oblige.at[i].kind == kind && j->oblige.at[i].a == a && j->oblige.at[i].b == b) return;
  vec_push(&j->oblige, ((Oblige){kind, a, b, str_fmt("%s: %s", r->op->name, what)}));
}

static bool dims_differ(Rel *r, Dim a, Dim b, const char *what) {
  diag_error(r->d, call_span(r), E0310, r->op->name, what, show_dim(a), show_dim(b));
  note_operands(r);
  return false;
}

static bool is_lost(Dim a, Dim b) { return a->kind == DIM_Any || b->kind == DIM_Any; }

bool rel_same_dim(Rel *r, Dim a, Dim b, const char *what) {
  if (dim_equal(a, b)) return true;
  if (is_lost(a, b)) return rel_error(r, "%s cannot be compared", what);
  if (dim_differ(a, b)) return dims_differ(r, a, b, what);
  owe(r, OBLIGE_Equal, a, b, what);
  return true;
}

/* A sum of symbols with no negative part is never negative. */
static bool never_negative(Dim d) {
  if (d->kind == DIM_Const) return d->value >= 0;
  if (d->kind != DIM_Sum) return d->kind != DIM_Any;
  for (int i = 0; i < d->n_terms; i++)
    if (d->term[i].coeff < 0 || d->term[i].atom->kind != DIM_Sym) return false;
  return d->value >= 0;
}

bool rel_at_least(Rel *r, Dim a, Dim b, const char *what) {
  if (is_lost(a, b)) return rel_error(r, "%s cannot be compared", what);
  Dim d = dim_sub(r->I->dt, a, b);
  int64_t v;
  if (dim_is_const(d, &v) && v < 0)
    return rel_error(r, "%s: %s is less than %s", what, show_dim(a), show_dim(b));
  if (!never_negative(d)) owe(r, OBLIGE_AtLeast, a, b, what);
  return true;
}

bool rel_axis(Rel *r, const char *attr, int64_t axis, int rank, int *out) {
  *out = 0;
  if (rank == 0)
    return rel_error(r, "%s=%lld is out of range: a scalar has no axes", attr, (long long)axis);
  if (axis < -rank || axis >= rank)
    return rel_error(r, "%s=%lld is out of range for rank %d; axes go from %d to %d", attr,
                     (long long)axis, rank, -rank, rank - 1);
  *out = (int)(axis < 0 ? axis + rank : axis);
  return true;
}

/* One axis of numpy broadcasting.  A symbol may turn out to be 1. */
static bool broadcast_axis(Rel *r, Dim a, Dim b, int axis, Dim *out) {
  Dim one = dim_const(r->I->dt, 1);
  bool a_not_1 = dim_differ(a, one), b_not_1 = dim_differ(b, one);
  const char *what = str_fmt("the extents of axis %d", axis);
  if (a_not_1 && b_not_1) {
    *out = b->kind == DIM_Const ? b : a;
    return rel_same_dim(r, a, b, what);
  }
  *out = a_not_1 ? a : b_not_1 ? b : dim_bcast(r->I->dt, a, b);
  owe(r, OBLIGE_Bcast, a, b, what);
  return true;
}

bool rel_broadcast(Rel *r, TensorTy a, TensorTy b, int *rank, Dim *out) {
  int n = a.rank > b.rank ? a.rank : b.rank;
  *rank = n;
  for (int i = 0; i < n; i++) {
    int ia = i - (n - a.rank), ib = i - (n - b.rank);
    if (ia < 0 || ib < 0) {
      out[i] = ia < 0 ? b.dim[ib] : a.dim[ia];
      continue;
    }
    Dim x = a.dim[ia], y = b.dim[ib], one = dim_const(r->I->dt, 1);
    if (x == one || y == one || dim_equal(x, y))
      out[i] = x == one ? y : x;
    else if (!broadcast_axis(r, x, y, i, &out[i]))
      return false;
  }
  return true;
}

/* ---- results --------------------------------------------------------------------- */

Dim rel_unknown(Rel *r) {
  Job *j = r->job;
  if (j->next_unknown == j->unknown.n) vec_push(&j->unknown, sym_new(r->I, j->level, j->order));
  return j->unknown.at[j->next_unknown++];
}

static bool set_leaf(Rel *r, Leaf *l, DType dt, int rank, const Dim *dim) {
  if (rank > MAX_RANK)
    return rel_error(r, "the result would have rank %d, at most %d is possible", rank, MAX_RANK);
  l->dtype = dt;
  l->rank = rank;
  for (int i = 0; i < rank; i++) l->dim[i] = dim[i];
  return true;
}

bool rel_result(Rel *r, DType dt, int rank, const Dim *dim) {
  r->made = MADE_Tensor;
  r->n_leaf = 1;
  r->leaf = &r->one;
  return set_leaf(r, r->leaf, dt, rank, dim);
}

bool rel_result_tuple(Rel *r, int n, const TensorTy *leaf) {
  r->made = MADE_Tuple;
  r->n_leaf = n;
  r->leaf = NEW_N(Leaf, n + 1);
  for (int i = 0; i < n; i++)
    if (!set_leaf(r, &r->leaf[i], leaf[i].dtype, leaf[i].rank, leaf[i].dim)) return false;
  return true;
}

/* ---- gathering operands ------------------------------------------------------------ */

typedef enum { GOT_All, GOT_Wait, GOT_Poison, GOT_Wrong } Got;

static Got gather_leaf(Rel *r, Type *t, TensorTy *out) {
  t = type_resolve(t);
  if (t->kind == TY_Error) return GOT_Poison;
  if (t->kind == TY_Meta) {
    wait_for(r->I, t, r->job);
    return GOT_Wait;
  }
  if (t->kind != TY_Tensor) return GOT_Wrong;
  Got got = GOT_All;
  Dim *dim = t->tensor.dim;
  for (int i = 0; i < t->tensor.rank; i++) {
    Cell *c = cell_of(t->tensor.dim[i]);
    if (!c) continue;
    if (dim == t->tensor.dim) {
      dim = NEW_N(Dim, t->tensor.rank);
      memcpy(dim, t->tensor.dim, sizeof *dim * (size_t)t->tensor.rank);
    }
    if (!c->stuck) {
      r->job->moving = true;
      cell_watch(c, r->job);
    }
    if (!dim_value(c->self, &dim[i])) got = GOT_Wait;
  }
  *out = (TensorTy){t->tensor.dtype, t->tensor.rank, dim};
  return got;
}

static bool wants_tuple(Rel *r, int arg) { return r->op->args[arg].is_tuple; }

static Got gather_arg(Rel *r, int arg) {
  Type *t = type_resolve(atom_type(r->I, arg_atom(r, arg), NULL));
  ArgView *v = &r->arg[arg];
  *v = (ArgView){t->kind == TY_Tuple, 1, NULL};
  if (t->kind == TY_Error) return GOT_Poison;
  if (t->kind == TY_Meta) {
    wait_for(r->I, t, r->job);
    return GOT_Wait;
  }
  if (v->tuple != wants_tuple(r, arg)) return GOT_Wrong;
  if (v->tuple) v->n = t->tuple.n;
  v->leaf = NEW_N(TensorTy, v->n + 1);
  Got all = GOT_All;
  for (int i = 0; i < v->n; i++) {
    Got g = gather_leaf(r, v->tuple ? t->tuple.at[i] : t, &v->leaf[i]);
    if (g > all) all = g;
  }
  return all;
}

static Got gather(Rel *r) {
  Got all = GOT_All;
  for (int i = 0; i < rel_n_args(r); i++) {
    Got g = gather_arg(r, i);
    if (g == GOT_Wrong) wrong_arg(r, i, wants_tuple(r, i) ? "a tuple of tensors" : "a tensor");
    if (g > all) all = g;
  }
  return all;
}

/* ---- running ------------------------------------------------------------------------- */

static Type *leaf_type(Infer *I, Job *j, const Leaf *l) {
  Dim dim[MAX_RANK];
  for (int i = 0; i < l->rank; i++) {
    dim[i] = l->dim[i];
    if (!j->moving) continue;
    Cell *c = cell_new(I, j->level, CELL_GIVEN);
    c->maker = j;
    vec_push(&j->cells_out, c);
    cell_set(I, c, l->dim[i]);
    dim[i] = c->self;
  }
  return type_tensor(l->dtype, l->rank, dim);
}

static Type *made_type(Rel *r) {
  if (r->made == MADE_Tensor) return leaf_type(r->I, r->job, &r->leaf[0]);
  Type **at = NEW_N(Type *, r->n_leaf + 1);
  for (int i = 0; i < r->n_leaf; i++) at[i] = leaf_type(r->I, r->job, &r->leaf[i]);
  return type_tuple(r->n_leaf, at);
}

static void give(Infer *I, Job *j, Type *t) {
  j->made = t;
  if (!j->result) return;
  Site *s = site_new(j->expr->span, t, j->result, "the result");
  flow(I, t, j->result, s, POS_Top);
  if (j->var) var_made(I, j->var, t);
}

/* A later run: the same structure, other extents. */
static void give_again(Rel *r) {
  Job *j = r->job;
  int at = 0, n = 0;
  for (int k = 0; k < r->n_leaf; k++) n += r->leaf[k].rank;
  if (n != j->cells_out.n) {
    rel_error(r, "the rank of the result depends on extents");
    j->state = JOB_Failed;
    return;
  }
  for (int k = 0; k < r->n_leaf; k++)
    for (int i = 0; i < r->leaf[k].rank; i++)
      cell_set(r->I, j->cells_out.at[at++], r->leaf[k].dim[i]);
}

static void fail(Infer *I, Job *j) {
  j->state = JOB_Failed;
  if (!j->moving && !j->made) give(I, j, type_error());
}

void run_rel(Infer *I, Job *j) {
  if (j->made && !j->moving) return;
  Rel r = {.I = I, .job = j, .op = j->expr->Call.callee.op};
  r.d = j->diags = diags_new(I->d->sources);
  vec_clear(&j->oblige);
  j->next_unknown = 0;
  j->state = JOB_Waiting;
  switch (gather(&r)) {
  case GOT_Wait: return;
  case GOT_Poison:
    j->moving = false;
    fail(I, j);
    return;
  case GOT_Wrong:
    j->moving = false;
    fail(I, j);
    return;
  case GOT_All: break;
  }
  if (!r.op->rel(&r) || r.made == MADE_Nothing) {
    if (!j->diags->n) rel_error(&r, "this call has no type");
    fail(I, j);
    return;
  }
  j->state = JOB_Ready;
  if (j->made)
    give_again(&r);
  else
    give(I, j, made_type(&r));
}

static void move_messages(Diags *to, const Diags *from) {
  for (int i = 0; i < from->n; i++) {
    if (to->n_errors > to->limit) return;
    vec_push(to, from->at[i]);
    to->n_errors += from->at[i].level == DIAG_ERROR;
  }
}

void finish_rel(Infer *I, Job *j) {
  if (j->state == JOB_Waiting) return;
  move_messages(I->d, j->diags);
  if (j->state != JOB_Ready) return;
  for (int i = 0; i < j->oblige.n; i++) {
    const Oblige *o = &j->oblige.at[i];
    add_oblige(j->expr, o->kind, o->a, o->b, o->what);
  }
}

static bool right_count(Infer *I, const Expr *e, const OpDef *op) {
  int n = 0;
  while (n < OP_MAX_ARGS && op->args[n].name) n++;
  int got = e->Call.n_args;
  if (got >= n - op->optional && got <= n) return true;
  const char *takes = op->optional ? str_fmt("%d to %d arguments", n - op->optional, n)
                                   : str_fmt("%d argument%s", n, n == 1 ? "" : "s");
  return diag_error(I->d, e->span, E0207, op->name, takes, got);
}

Type *check_op_call(Infer *I, Expr *e) {
  const OpDef *op = e->Call.callee.op;
  bool ok = right_count(I, e, op);
  e->Call.op_attrs = opattrs_bind(op, &e->Call.attrs, e->span, I->d);
  if (!ok || !e->Call.op_attrs) {
    for (int i = 0; i < e->Call.n_args; i++) atom_type(I, &e->Call.args[i], NULL);
    return type_error();
  }
  Job *j = NEW(Job);
  *j = (Job){.kind = JOB_Rel, .level = I->level, .order = ++I->clock, .expr = e};
  run_rel(I, j);
  if (!j->moving && j->made) {
    finish_rel(I, j);
    return j->made;
  }
  vec_push(&I->jobs, j);
  return j->made ? j->made : (j->result = new_meta(I, I->level));
}
