/* vars.c -- what a variable's type is to those who bind it and to those who
 * use it.
 *
 * The bound type may say ? or hold cells.  A user sees the view: the same type
 * with a symbol (or a cell that ends as one) for every axis that is not known,
 * made when the structure is known, once per variable.                        */
#include "typeinfer/state.h"

enum { MAX_TYPE_DEPTH = 1000, MAX_TYPE_NODES = 100000 };

/* ---- variables ------------------------------------------------------------- */

VarInfo *var_info(Infer *I, const Var *v) {
  while (I->vars.n <= v->id) vec_push(&I->vars, (VarInfo){0});
  return &I->vars.at[v->id];
}

/* v is about to be bound, in a scope of that level. */
VarInfo *var_enter(Infer *I, const Var *v, int level) {
  VarInfo *vi = var_info(I, v);
  *vi = (VarInfo){.level = level, .order = ++I->clock};
  return vi;
}

const char *var_label(const Var *v) { return v->name ? str_fmt("%%%s", v->name) : "this value"; }

static bool needs_opening(const Type *t) {
  for (int i = 0; i < t->tensor.rank; i++) {
    const Cell *c = cell_of(t->tensor.dim[i]);
    if (t->tensor.dim[i]->kind == DIM_Any || (c && !(c->flags & CELL_OPENS))) return true;
  }
  return false;
}

static Type *open_tensor(Infer *I, Type *t, const VarInfo *vi) {
  Dim dim[MAX_RANK];
  for (int i = 0; i < t->tensor.rank; i++) {
    Cell *from = cell_of(t->tensor.dim[i]);
    dim[i] = t->tensor.dim[i];
    if (from && !(from->flags & CELL_OPENS)) {
      Cell *c = cell_new(I, vi->level, CELL_OPENS);
      c->order = vi->order;
      cell_input(I, c, (CellIn){from->self, NULL, false, NULL});
      dim[i] = c->self;
    } else if (dim[i]->kind == DIM_Any) {
      dim[i] = sym_new(I, vi->level, vi->order);
    }
  }
  return type_tensor(t->tensor.dtype, t->tensor.rank, dim);
}

/* t with every unknown axis of its tensors given a symbol; t itself when there
 * is none; NULL while a part of the structure is not known. */
static Type *opened(Infer *I, Type *t, const VarInfo *vi) {
  t = type_resolve(t);
  if (t->kind == TY_Meta) return NULL;
  if (t->kind == TY_Tensor) return needs_opening(t) ? open_tensor(I, t, vi) : t;
  if (t->kind != TY_Tuple) return t;
  Type **at = NEW_N(Type *, t->tuple.n + 1);
  bool same = true;
  for (int i = 0; i < t->tuple.n; i++)
    if (is_unsolved(t->tuple.at[i])) return NULL;
  for (int i = 0; i < t->tuple.n; i++) {
    at[i] = opened(I, t->tuple.at[i], vi);
    if (!at[i]) return NULL;
    same &= at[i] == t->tuple.at[i];
  }
  return same ? t : type_tuple(t->tuple.n, at);
}

/* The type as those who use v see it. */
Type *var_view(Infer *I, Var *v) {
  VarInfo *vi = var_info(I, v);
  if (!v->type) return type_error();
  if (vi->viewed) return vi->view;
  Type *t = opened(I, v->type, vi);
  if (!t) return type_resolve(v->type);
  vi->viewed = true;
  return vi->view = t;
}

static void follow(Infer *I, Type *view, Type *made) {
  view = type_resolve(view), made = type_resolve(made);
  if (view->kind != made->kind) return;
  for (int i = 0; view->kind == TY_Tuple && i < view->tuple.n && i < made->tuple.n; i++)
    follow(I, view->tuple.at[i], made->tuple.at[i]);
  if (view->kind != TY_Tensor || view->tensor.rank != made->tensor.rank) return;
  for (int i = 0; i < view->tensor.rank; i++) {
    Cell *c = cell_of(view->tensor.dim[i]);
    if (!c || !(c->flags & CELL_OPENS)) continue;
    vec_clear(&c->in);
    c->stuck = false; /* if it is unknown, to those it was thought to be one with */
    cell_input(I, c, (CellIn){made->tensor.dim[i], NULL, false, NULL});
  }
}

/* What v was thought to be may have become one with a type of an outer scope,
 * where the extents of this one cannot be said. */
void var_made(Infer *I, Var *v, Type *made) {
  VarInfo *vi = var_info(I, v);
  v->type = made;
  if (vi->viewed) follow(I, vi->view, made);
}

static Type *const_type(const Tensor *c, DimTab *dt) {
  Dim dim[MAX_RANK];
  for (int i = 0; i < c->rank; i++) dim[i] = dim_const(dt, c->dim[i]);
  return type_tensor(c->dtype, c->rank, dim);
}

Type *atom_type(Infer *I, Atom *a, TypeArgs **inst) {
  Type *t = NULL;
  if (inst) *inst = NULL;
  switch (a->kind) {
  case ATOM_Var:
    t = var_view(I, a->var);
    if (t->kind == TY_Fn) {
      const char *label = t->fn.n_dims ? var_label(a->var) : NULL;
      t = instantiate(I, t, var_info(I, a->var)->level, a->span, label, inst);
    }
    break;
  case ATOM_Global:
    t = a->global->type ? a->global->type : type_error();
    if (t->kind == TY_Fn) t = instantiate(I, t, 0, a->span, str_fmt("@%s", a->global->name), inst);
    break;
  case ATOM_Const: t = const_type(a->cst, I->dt); break;
  case ATOM_Ctor:
  case ATOM_Op:
  case ATOM_Poison: t = type_error(); break;
  }
  return a->type = t;
}

/* A variable whose structure is found out here is looked at again, opened. */
bool flow_atom(Infer *I, Atom *a, Type *to, Site *s) {
  Type *t = atom_type(I, a, NULL);
  to = type_resolve(to);
  if (a->kind == ATOM_Var && t->kind == TY_Meta && to->kind != TY_Meta) {
    flow(I, t, copy_cells(I, to, I->level), s, POS_Top);
    t = atom_type(I, a, NULL);
  }
  s->from = t;
  return flow(I, t, to, s, POS_Top);
}

/* ---- how big a type is ------------------------------------------------------ */

typedef struct {
  uint64_t nodes, depth;
} Size;
static Size size_of(Infer *I, Type *t);

static void add_size(Infer *I, Size *sum, Type *t) {
  Size s = size_of(I, t);
  sum->nodes += s.nodes;
  if (s.depth + 1 > sum->depth) sum->depth = s.depth + 1;
}

static bool is_composite(const Type *t) {
  return t->kind == TY_Tuple || t->kind == TY_Data || t->kind == TY_Fn || t->kind == TY_Ref;
}

static Size size_of(Infer *I, Type *t) {
  t = type_resolve(t);
  Size s = {1, 0};
  if (!is_composite(t)) return s;
  uint64_t known = (uint64_t)(uintptr_t)map_get(&I->size, map_ptr(t));
  if (known) return (Size){known & 0xffffffff, known >> 32};
  if (t->kind == TY_Ref) add_size(I, &s, t->ref);
  if (t->kind == TY_Tuple)
    for (int i = 0; i < t->tuple.n; i++) add_size(I, &s, t->tuple.at[i]);
  if (t->kind == TY_Data)
    for (int i = 0; i < t->data.n; i++) add_size(I, &s, t->data.arg[i]);
  if (t->kind == TY_Fn) {
    for (int i = 0; i < t->fn.n; i++) add_size(I, &s, t->fn.param[i]);
    add_size(I, &s, t->fn.ret);
  }
  if (s.nodes > UINT32_MAX) s.nodes = UINT32_MAX;
  map_set(&I->size, map_ptr(t), (void *)(uintptr_t)(s.depth << 32 | s.nodes));
  return s;
}

/* Types grow with every tuple around a tuple; past what the passes can walk
 * the program is refused here, so that no pass has to ask. */
Type *bounded(Infer *I, Type *t, const Var *v, Span at) {
  if (!is_composite(type_resolve(t))) return t;
  Size s = size_of(I, t);
  if (s.depth <= MAX_TYPE_DEPTH && s.nodes <= MAX_TYPE_NODES) return t;
  if (s.depth > MAX_TYPE_DEPTH)
    diag_error(I->d, at, E0106, str_fmt("the type of %s", var_label(v)), MAX_TYPE_DEPTH);
  else
    diag_error(I->d, at, E0311, var_label(v),
               str_fmt("its type has more than %d parts", MAX_TYPE_NODES));
  return type_error();
}

/* ---- annotated variables ---------------------------------------------------- */

/* The relation that will give value, which was looked at just now. */
static Job *job_of(Infer *I, const Expr *value) {
  Job *j = I->jobs.n ? I->jobs.at[I->jobs.n - 1] : NULL;
  return j && j->kind == JOB_Rel && j->expr == value ? j : NULL;
}

/* v is bound to a value of type t.  An annotation that the value may not meet
 * (and whose check no `let v = w` can carry) splits the binding: temp takes the
 * value, `let v = temp` carries the check. */
void bind_var(Infer *I, Var *v, Type *t, Expr *value, Span at) {
  var_enter(I, v, I->level)->value = value;
  v->type = t;
  Job *job = job_of(I, value);
  if (job) job->var = v;
  if (!v->annot) {
    v->type = bounded(I, t, v, at);
    var_view(I, v);
    return;
  }
  if (type_is_plain(t, false) && type_is_plain(v->annot, false) && type_same(t, v->annot)) return;
  Type *want = annotation(I, v->annot, ANNOT_Open, I->level, NULL, v->span);
  bool alias = value && value->kind == EX_Just && value->Just.value.kind == ATOM_Var;
  Var *temp = alias ? value->Just.value.var : ir_var(I->cx, NULL, v->span);
  if (!alias) temp->type = t;
  if (!alias) var_enter(I, temp, I->level);
  if (job) job->var = temp;
  Atom a = atom_var(temp, at);
  Site *s = site_new(at, t, want, str_fmt("%s and of its annotation", var_label(v)));
  s->expr = alias ? value : ir_expr(EX_Just, at);
  s->note_at = v->span;
  s->note = str_fmt("%s is annotated here", var_label(v));
  flow_atom(I, &a, want, s);
  v->type = want;
  if (alias) return;
  s->expr->Just.value = a;
  VarInfo *vi = var_info(I, v);
  vi->split = s;
  vi->temp = temp;
}
