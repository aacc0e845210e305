/* infer.c -- the walk over the program: one type per expression.
 *
 * Blocks are walked in a loop; what an expression needs to know is asked of
 * the types of its operands, and what is not known yet becomes a job that runs
 * when it is (an operator whose operand's rank is not known, a projection from
 * an unknown tuple).  Globals are taken in groups that call each other, callees
 * first, so that their types are general when they are used.                  */
#include "typeinfer/state.h"
#include "typeinfer/order.h"

enum { MAX_TYPE_DEPTH = 1000, MAX_TYPE_NODES = 100000 };

static void check_block(Infer *I, Block *b);

/* ---- variables ------------------------------------------------------------- */

VarInfo *var_info(Infer *I, const Var *v) {
  while (I->vars.n <= v->id) vec_push(&I->vars, (VarInfo){0});
  return &I->vars.at[v->id];
}

const char *var_label(const Var *v) { return v->name ? str_fmt("%%%s", v->name) : "this value"; }

static bool needs_opening(const Type *t) {
  for (int i = 0; i < t->tensor.rank; i++) {
    const Cell *c = cell_of(t->tensor.dim[i]);
    if (t->tensor.dim[i]->kind == DIM_Any || (c && !(c->flags & CELL_OPENS))) return true;
  }
  return false;
}

static Type *open_tensor(Infer *I, Type *t, int level) {
  Dim dim[MAX_RANK];
  for (int i = 0; i < t->tensor.rank; i++) {
    Cell *from = cell_of(t->tensor.dim[i]);
    dim[i] = t->tensor.dim[i];
    if (from && !(from->flags & CELL_OPENS)) {
      Cell *c = cell_new(I, level, CELL_OPENS);
      cell_input(I, c, (CellIn){ from->self, NULL, false, NULL });
      dim[i] = c->self;
    } else if (dim[i]->kind == DIM_Any) {
      dim[i] = dim_new_sym(I->dt, NULL, level);
    }
  }
  return type_tensor(t->tensor.dtype, t->tensor.rank, dim);
}

/* t with every unknown axis of its tensors given a symbol; t itself when there
 * is none; NULL while a part of the structure is not known. */
static Type *opened(Infer *I, Type *t, int level) {
  t = type_resolve(t);
  if (t->kind == TY_Meta) return NULL;
  if (t->kind == TY_Tensor) return needs_opening(t) ? open_tensor(I, t, level) : t;
  if (t->kind != TY_Tuple) return t;
  Type **at = NEW_N(Type *, t->tuple.n + 1);
  bool same = true;
  for (int i = 0; i < t->tuple.n; i++)
    if (is_unsolved(t->tuple.at[i])) return NULL;
  for (int i = 0; i < t->tuple.n; i++) {
    at[i] = opened(I, t->tuple.at[i], level);
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
  Type *t = opened(I, v->type, vi->level);
  if (!t) return type_resolve(v->type);
  vi->viewed = true;
  return vi->view = t;
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
    if (t->kind == TY_Fn)
      t = instantiate(I, t, var_info(I, a->var)->level, a->span, t->fn.n_dims ? var_label(a->var) : NULL, inst);
    break;
  case ATOM_Global:
    t = a->global->type ? a->global->type : type_error();
    if (t->kind == TY_Fn) t = instantiate(I, t, 0, a->span, str_fmt("@%s", a->global->name), inst);
    break;
  case ATOM_Const: t = const_type(a->cst, I->dt); break;
  case ATOM_Ctor: case ATOM_Op: case ATOM_Poison: t = type_error(); break;
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

typedef struct { uint64_t nodes, depth; } Size;
static Size size_of(Infer *I, Type *t);

static void add_size(Infer *I, Size *sum, Type *t) {
  Size s = size_of(I, t);
  sum->nodes += s.nodes;
  if (s.depth + 1 > sum->depth) sum->depth = s.depth + 1;
}

static Size size_of(Infer *I, Type *t) {
  t = type_resolve(t);
  Size s = { 1, 0 };
  if (t->kind == TY_Error || t->kind == TY_Tensor || t->kind == TY_Var || t->kind == TY_Meta) return s;
  uint64_t known = (uint64_t)(uintptr_t)map_get(&I->size, map_ptr(t));
  if (known) return (Size){ known & 0xffffffff, known >> 32 };
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
static Type *bounded(Infer *I, Type *t, const Var *v, Span at) {
  TypeKind k = type_resolve(t)->kind;
  if (k != TY_Tuple && k != TY_Data && k != TY_Fn && k != TY_Ref) return t;
  Size s = size_of(I, t);
  if (s.depth <= MAX_TYPE_DEPTH && s.nodes <= MAX_TYPE_NODES) return t;
  if (s.depth > MAX_TYPE_DEPTH)
    diag_error(I->d, at, E0106, str_fmt("the type of %s", var_label(v)), MAX_TYPE_DEPTH);
  else
    diag_error(I->d, at, E0311, var_label(v), str_fmt("its type has more than %d parts", MAX_TYPE_NODES));
  return type_error();
}

/* ---- annotated variables ---------------------------------------------------- */

/* v is bound to a value of type t.  An annotation that the value may not meet
 * (and that another variable cannot answer for) splits the binding: temp takes the value, `let v = temp` carries the check. */
static void bind_var(Infer *I, Var *v, Type *t, Expr *value, Span at) {
  VarInfo *vi = var_info(I, v);
  vi->level = I->level;
  v->type = t;
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
  if (!alias) var_info(I, temp)->level = I->level;
  Atom a = atom_var(temp, at);
  Site *s = site_new(at, t, want, str_fmt("%s and of its annotation", var_label(v)));
  s->expr = alias ? value : ir_expr(EX_Just, at);
  s->note_at = v->span;
  s->note = str_fmt("%s is annotated here", var_label(v));
  flow_atom(I, &a, want, s);
  v->type = want;
  if (alias) return;
  s->expr->Just.value = a;
  vi = var_info(I, v);
  vi->split = s;
  vi->temp = temp;
}

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

typedef struct { const DataDef *def; Type **arg; } DataArgs;
static Type *data_arg(void *ud, TyVar *v) {
  const DataArgs *a = ud;
  for (int i = 0; i < a->def->n_vars; i++)
    if (a->def->var[i] == v) return a->arg[i];
  return NULL;
}

static Type *field_type(Infer *I, const Ctor *c, int i, Type **arg) {
  DataArgs a = { c->def, arg };
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
    *e->Call.inst = (TypeArgs){ .n_types = c->def->n_vars, .type = t->data.arg };
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
  if (callee->kind == ATOM_Op) return check_op_call(I, e);
  if (callee->kind == ATOM_Ctor) return check_ctor_call(I, e);
  Type *t = type_resolve(atom_type(I, callee, &e->Call.inst));
  if (e->Call.attrs.n)
    diag_error(I->d, e->Call.attrs.at[0].span, E0110, callee_label(callee));
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
  *j = (Job){ .kind = JOB_Proj, .level = I->level, .expr = e, .listed = true };
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

/* match_cast: the value's structure with cells (skeleton), then each dim that
 * the cast names is bound by it or checked against it. */
typedef struct { Infer *I; Expr *e; Site *site; DimList sym, cell; bool unbound; } Cast;

static bool is_castable(Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Tuple)
    for (int i = 0; i < t->tuple.n; i++)
      if (!is_castable(t->tuple.at[i])) return false;
  return t->kind == TY_Tensor || t->kind == TY_Tuple;
}

static Type *skeleton(Infer *I, Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor) {
    Dim dim[MAX_RANK];
    for (int i = 0; i < t->tensor.rank; i++) dim[i] = cell_new(I, I->level, CELL_OPENS)->self;
    return type_tensor(t->tensor.dtype, t->tensor.rank, dim);
  }
  Type **at = NEW_N(Type *, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++) at[i] = skeleton(I, t->tuple.at[i]);
  return type_tuple(t->tuple.n, at);
}

static bool is_new_name(Infer *I, Dim d) {
  return d->kind == DIM_Sym && d->name && !map_get(&I->sym_level, map_ptr(d));
}

static void cast_names(Cast *c, Type *have, Type *to) {
  if (to->kind == TY_Tuple)
    for (int i = 0; i < to->tuple.n; i++)
      cast_names(c, have->tuple.at[i], type_resolve(to->tuple.at[i]));
  if (to->kind != TY_Tensor) return;
  for (int i = 0; i < to->tensor.rank; i++) {
    Dim d = to->tensor.dim[i];
    if (!is_new_name(c->I, d)) continue;
    map_set(&c->I->sym_level, map_ptr(d), (void *)(intptr_t)(c->I->level + 1));
    vec_push(&c->sym, d);
    vec_push(&c->cell, have->tensor.dim[i]);
  }
}

static Dim in_terms_of_value(Cast *c, Dim d) {
  Inst *in = NEW(Inst);
  *in = (Inst){ .n_dims = c->sym.n, .sym = c->sym.at, .cell = c->cell.at, .cap = 1 << 20 };
  Cell *cell = cell_new(c->I, c->I->level, CELL_RIGID);
  cell_input(c->I, cell, (CellIn){ d, in, false, NULL });
  return cell->self;
}

static void ask_cast(void *ud, Dim s) {
  Cast *c = ud;
  if (s->name && !map_get(&c->I->sym_level, map_ptr(s))) {
    diag_error(c->I->d, c->e->span, E0314, s->name, "the cast");
    map_set(&c->I->sym_level, map_ptr(s), (void *)(intptr_t)(c->I->level + 1));
  }
  c->unbound |= !s->name;
}

static Type *cast_dims(Cast *c, Type *have, Type *to) {
  to = type_resolve(to);
  if (to->kind == TY_Tuple) {
    Type **at = NEW_N(Type *, to->tuple.n + 1);
    for (int i = 0; i < to->tuple.n; i++) at[i] = cast_dims(c, have->tuple.at[i], to->tuple.at[i]);
    return type_tuple(to->tuple.n, at);
  }
  Dim dim[MAX_RANK];
  for (int i = 0; i < to->tensor.rank; i++) {
    Dim d = to->tensor.dim[i], h = have->tensor.dim[i];
    c->unbound = false;
    dim_visit_syms(d, ask_cast, c);
    dim[i] = d->kind == DIM_Any || c->unbound ? h : d;
    if (dim[i] != h) flow_dim(c->I, h, in_terms_of_value(c, d), c->site, POS_Top, i);
  }
  return type_tensor(to->tensor.dtype, to->tensor.rank, dim);
}

static Type *check_cast(Infer *I, Expr *e) {
  Type *to = type_resolve(e->MatchCast.to);
  if (!is_castable(to)) {
    atom_type(I, &e->MatchCast.value, NULL);
    diag_error(I->d, e->span, E0311, "match_cast", "only tensors and tuples of tensors can be cast");
    return to;
  }
  Type *have = skeleton(I, to);
  Cast c = { .I = I, .e = e, .site = site_new(e->span, NULL, to, "the value and of the cast") };
  if (!flow_atom(I, &e->MatchCast.value, have, c.site)) return to;
  c.site->expr = e;
  cast_names(&c, have, to);
  return cast_dims(&c, have, to);
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
  if (t->kind == TY_Meta) flow(I, t, want, site_new(a->span, t, want, ""), POS_Top);
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
  if (t->kind == TY_Meta) ok = flow(I, t, want, site_new(p->span, t, want, ""), POS_Top);
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
    VarInfo *vi = var_info(I, f->param[i]);
    vi->level = level + LEVEL_SYM;
    vi->viewed = false;
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
  vec_push(&I->fns, ((FnInfo){ f, s, sig, level }));
  map_set(&I->fn_info, map_ptr(f), (void *)(intptr_t)I->fns.n);
  I->level = level;
}

static void check_fn_binding(Infer *I, Var *v, Expr *e) {
  Fn *f = e->Fn.fn;
  int first_job = I->jobs.n;
  Type *sig = fn_signature(I, f, v->name ? var_label(v) : "this function");
  VarInfo *vi = var_info(I, v);
  vi->level = I->level;
  vi->viewed = false;
  v->type = e->type = sig;
  if (v->annot) {
    Type *want = annotation(I, v->annot, ANNOT_Keep, I->level, NULL, v->span);
    Type *have = instantiate(I, sig, I->level, v->span, v->name, NULL);
    flow(I, have, want, site_new(v->span, sig, want, ""), POS_Nested);
  }
  check_body(I, f, sig);
  generalise(I, sig, f, I->level, first_job);
  v->type = bounded(I, sig, v, e->span);
}

/* ---- blocks -------------------------------------------------------------------- */

/* A variable that is another name for a function keeps its general type. */
static bool check_alias(Infer *I, Var *v, Expr *e) {
  Atom *a = &e->Just.value;
  Type *t = a->kind == ATOM_Global ? a->global->type : a->kind == ATOM_Var ? var_view(I, a->var) : NULL;
  if (!t || t->kind != TY_Fn || v->annot) return false;
  int level = a->kind == ATOM_Var ? var_info(I, a->var)->level : 0;
  VarInfo *vi = var_info(I, v);
  vi->level = level;
  vi->viewed = false;
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
  case EX_Fn: case EX_COUNT: break;
  }
  return type_error();
}

static void check_binding(Infer *I, Binding *b) {
  Expr *e = b->value;
  e->n_oblige = 0;
  e->oblige = NULL;
  VarInfo *vi = var_info(I, b->var);
  vi->viewed = false;
  vi->value = e;
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
  for (int i = 0; i < n; i++) generalise(I, group[i]->type, group[i]->fn, 0, first_job);
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
  *I = (Infer){ .m = m, .cx = m->cx, .dt = m->cx->dims, .d = d, .fn_name = "" };
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
