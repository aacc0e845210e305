/* unify.c -- structure by unification, extents by flow.
 *
 * flow(from, to) says that a value of type from goes where a to is wanted.
 * Element types, ranks and constructors of types must agree.  Dims flow along:
 * into a cell they are joined, into a dim that is already said they are
 * checked.  Solving a meta copies the other side's structure with fresh cells
 * for its dims, so that the meta may later turn out less precise.            */
#include <string.h>
#include "typeinfer/state.h"

enum { MAX_DEPTH = 2000 };

/* ---- metas ----------------------------------------------------------------- */

Type *new_meta(Infer *I, int level) {
  vec_push(&I->metas, (MetaInfo){.order = ++I->clock});
  return type_meta(level, I->metas.n - 1);
}

Type *param_meta(Infer *I, int level, const Var *owner) {
  Type *t = new_meta(I, level);
  I->metas.at[t->meta.id].owner = owner;
  return t;
}

/* to is or holds what from stands for, in parts or as a whole. */
static void share(MetaInfo *to, const MetaInfo *from) {
  to->shared |= from->shared || (to->owner && from->owner && to->owner != from->owner);
  if (!to->owner) to->owner = from->owner;
  if (from->order < to->order) to->order = from->order;
}

bool is_unsolved(Type *t) { return type_resolve(t)->kind == TY_Meta; }

void wait_for(Infer *I, Type *meta, Job *j) {
  MetaInfo *mi = &I->metas.at[type_resolve(meta)->meta.id];
  for (int i = 0; i < mi->waiting.n; i++)
    if (mi->waiting.at[i] == j) return;
  vec_push(&mi->waiting, j);
}

static void link_metas(Infer *I, Type *a, Type *b) {
  if (a == b) return;
  if (a->meta.level < b->meta.level) b->meta.level = a->meta.level;
  a->meta.is = b;
  MetaInfo *ma = &I->metas.at[a->meta.id], *mb = &I->metas.at[b->meta.id];
  share(mb, ma);
  for (int i = 0; i < ma->waiting.n; i++) {
    vec_push(&mb->waiting, ma->waiting.at[i]);
    queue_job(I, ma->waiting.at[i]);
  }
}

static MetaInfo *meta_info(Infer *I, const Type *m) { return &I->metas.at[m->meta.id]; }

static void solve_meta(Infer *I, Type *m, Type *is) {
  m->meta.is = is;
  MetaInfo *mi = &I->metas.at[m->meta.id];
  for (int i = 0; i < mi->waiting.n; i++) queue_job(I, mi->waiting.at[i]);
}

/* ---- looking at types ------------------------------------------------------ */

static bool all_plain(Type *const *at, int n, bool any_ok) {
  for (int i = 0; i < n; i++)
    if (!type_is_plain(at[i], any_ok)) return false;
  return true;
}

bool type_is_plain(const Type *t, bool any_ok) {
  switch (t->kind) {
  case TY_Error:
  case TY_Var: return true;
  case TY_Meta: return false;
  case TY_Tensor:
    for (int i = 0; i < t->tensor.rank; i++) {
      DimKind k = t->tensor.dim[i]->kind;
      if (k == DIM_Meta || (k == DIM_Any && !any_ok)) return false;
    }
    return true;
  case TY_Tuple: return all_plain(t->tuple.at, t->tuple.n, any_ok);
  case TY_Fn: return all_plain(t->fn.param, t->fn.n, any_ok) && type_is_plain(t->fn.ret, any_ok);
  case TY_Data: return all_plain(t->data.arg, t->data.n, any_ok);
  case TY_Ref: return type_is_plain(t->ref, any_ok);
  }
  return false;
}

char *show(Infer *I, Type *t) { return type_text(zonk(I, t, 1 << 20, false)); }

char *show_dim(Dim d) {
  StrBuf b = {0};
  dim_print(d, &b);
  return (char *)buf_text(&b);
}

/* ---- copying structure ----------------------------------------------------- */

typedef struct {
  Infer *I;
  int level, order;
  unsigned flags;
  Type *meta; /* being solved, or NULL                       */
  bool occurs, escapes;
} Copy;
static Type *copy(Copy *c, Type *t);

static Type **copy_list(Copy *c, Type *const *at, int n) {
  Type **to = NEW_N(Type *, n ? n : 1);
  for (int i = 0; i < n; i++) to[i] = copy(c, at[i]);
  return to;
}

static Type *copy_tensor(Copy *c, Type *t) {
  Dim dim[MAX_RANK];
  if (t->tensor.rank == 0) return t;
  for (int i = 0; i < t->tensor.rank; i++) {
    Cell *cell = cell_new(c->I, c->level, c->flags);
    cell->order = c->order;
    dim[i] = cell->self;
  }
  return type_tensor(t->tensor.dtype, t->tensor.rank, dim);
}

static Type *copy_kind(Copy *c, Type *t) {
  switch (t->kind) {
  case TY_Error: return t;
  case TY_Var: {
    void *l = map_get(&c->I->tyvar_level, map_ptr(t->var));
    if (l && (int)(intptr_t)l - 1 > c->level) c->escapes = true;
    return t;
  }
  case TY_Meta:
    if (t == c->meta) c->occurs = true;
    if (t->meta.level > c->level) t->meta.level = c->level;
    if (c->meta && t != c->meta) share(meta_info(c->I, t), meta_info(c->I, c->meta));
    return t;
  case TY_Tensor: return copy_tensor(c, t);
  case TY_Tuple: return type_tuple(t->tuple.n, copy_list(c, t->tuple.at, t->tuple.n));
  case TY_Fn:
    if (t->fn.n_vars || t->fn.n_dims) return t;
    return type_fn(0, NULL, 0, NULL, t->fn.n, copy_list(c, t->fn.param, t->fn.n),
                   copy(c, t->fn.ret));
  case TY_Data: return type_data(t->data.def, t->data.n, copy_list(c, t->data.arg, t->data.n));
  case TY_Ref: return type_ref(copy(c, t->ref));
  }
  return t;
}

static Type *copy(Copy *c, Type *t) {
  t = type_resolve(t);
  if (c->I->depth > MAX_DEPTH) return t;
  c->I->depth++;
  Type *r = copy_kind(c, t);
  c->I->depth--;
  return r;
}

Type *copy_cells(Infer *I, Type *t, int level) {
  Copy c = {.I = I, .level = level, .order = ++I->clock};
  return copy(&c, t);
}

/* ---- messages -------------------------------------------------------------- */

Site *site_new(Span at, Type *from, Type *to, const char *what) {
  Site *s = NEW(Site);
  *s = (Site){.at = at, .from = from, .to = to, .what = what};
  return s;
}

static bool mismatch(Infer *I, Site *s) {
  if (s->reported) return false;
  s->reported = true;
  const char *to = show(I, s->to), *from = show(I, s->from);
  diag_error(I->d, s->at, E0301, to, from);
  if (strcmp(to, from) == 0)
    diag_note(I->d, s->at, "the same names, but variables of different functions");
  if (s->note) diag_note(I->d, s->note_at, "%s", s->note);
  return false;
}

void add_oblige(Expr *e, ObligeKind kind, Dim a, Dim b, const char *what) {
  for (int i = 0; i < e->n_oblige; i++)
    if (e->oblige[i].kind == kind && e->oblige[i].a == a && e->oblige[i].b == b) return;
  Oblige *to = NEW_N(Oblige, e->n_oblige + 1);
  for (int i = 0; i < e->n_oblige; i++) to[i] = e->oblige[i];
  to[e->n_oblige++] = (Oblige){kind, a, b, what};
  e->oblige = to;
}

/* ---- dims ------------------------------------------------------------------ */

static void unknown_extent(Infer *I, const Check *c) {
  if (c->site->reported) return;
  mismatch(I, c->site);
  diag_help(I->d,
            "an extent is ? where %s is wanted and nothing can look at it there; take the "
            "tensor out and say match_cast(%%x, Tensor[...])",
            show_dim(c->to));
}

/* Where nobody can look: are extents what is wanted because the program was made
 * so?  A tangent has the extents of its value, which was typed before. */
static bool trusted(Infer *I, Pos pos) {
  if (!I->m->derived || pos != POS_Nested) return false;
  I->m->trusting = true;
  return true;
}

/* Both dims are as good as they will get. */
void check_dims(Infer *I, const Check *c) {
  Dim a, b;
  Site *s = c->site;
  bool free = c->pos == POS_Param || (c->pos == POS_Top && s->callee_checks);
  if (!dim_value(c->from, &a) || !dim_value(c->to, &b)) return;
  if (b->kind == DIM_Any || dim_equal(a, b)) return;
  if (a->kind == DIM_Any) {
    if (!free && !trusted(I, c->pos)) unknown_extent(I, &(Check){a, b, s, c->pos, c->axis});
  } else if (dim_differ(a, b)) {
    mismatch(I, s);
  } else if (!free) {
    StrBuf name = {0};
    dim_print(b, &name); /* "axis 0 (n) of ...": a constant shows in the numbers */
    const char *what = b->kind == DIM_Const || dim_has_any(b) || !strcmp(buf_text(&name), "?")
                           ? str_fmt("axis %d of %s", c->axis, s->what)
                           : str_fmt("axis %d (%s) of %s", c->axis, buf_text(&name), s->what);
    if (s->expr)
      add_oblige(s->expr, OBLIGE_Equal, a, b, what);
    else if (!trusted(I, c->pos))
      mismatch(I, s);
  }
}

void flow_dim(Infer *I, Dim from, Dim to, Site *s, Pos pos, int axis) {
  Cell *c = cell_of(to);
  Check check = {from, to, s, pos, axis};
  if (from == to && to->kind != DIM_Any) return;
  if (to->kind == DIM_Any) return;
  if (c && !(c->flags & (CELL_RIGID | CELL_GIVEN))) {
    bool free = pos == POS_Param || (pos == POS_Top && s->callee_checks);
    cell_input(I, c, (CellIn){from, NULL, !free, s});
  } else if (c || cell_of(from)) {
    vec_push(&I->checks, check);
  } else {
    check_dims(I, &check);
  }
}

/* ---- variance of data types ------------------------------------------------ */

typedef struct {
  Infer *I;
  TyVar *var;
  bool bad;
} VarianceAsk;

static void ask_variance(VarianceAsk *a, Type *t, bool covariant) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Error:
  case TY_Tensor:
  case TY_Meta: return;
  case TY_Var: a->bad |= t->var == a->var && !covariant; return;
  case TY_Ref: ask_variance(a, t->ref, false); return;
  case TY_Tuple:
    for (int i = 0; i < t->tuple.n; i++) ask_variance(a, t->tuple.at[i], covariant);
    return;
  case TY_Fn:
    for (int i = 0; i < t->fn.n; i++) ask_variance(a, t->fn.param[i], false);
    ask_variance(a, t->fn.ret, covariant);
    return;
  case TY_Data: {
    const bool *inv = map_get(&a->I->invariant, map_ptr(t->data.def));
    for (int i = 0; i < t->data.n; i++)
      ask_variance(a, t->data.arg[i], covariant && !(inv && inv[i]));
    return;
  }
  }
}

static bool is_invariant(Infer *I, const DataDef *def, TyVar *v) {
  VarianceAsk a = {I, v, false};
  for (int k = 0; k < def->n_ctors; k++)
    for (int i = 0; i < def->ctor[k]->n; i++) ask_variance(&a, def->ctor[k]->field[i], true);
  return a.bad;
}

/* A parameter of a data type is invariant when a constructor holds it under a
 * ref or takes it in a function.  Greatest fixed point over all types. */
void find_variance(Infer *I) {
  for (int i = 0; i < I->m->types.n; i++) {
    const DataDef *def = I->m->types.at[i];
    map_set(&I->invariant, map_ptr(def), NEW_N(bool, def->n_vars ? def->n_vars : 1));
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = 0; i < I->m->types.n; i++) {
      const DataDef *def = I->m->types.at[i];
      bool *inv = map_get(&I->invariant, map_ptr(def));
      for (int k = 0; k < def->n_vars; k++)
        if (!inv[k] && is_invariant(I, def, def->var[k])) inv[k] = changed = true;
    }
  }
}

/* ---- flow ------------------------------------------------------------------ */

static bool flow_both(Infer *I, Type *a, Type *b, Site *s) {
  return flow(I, a, b, s, POS_Nested) && flow(I, b, a, s, POS_Nested);
}

static bool flow_tensor(Infer *I, Type *from, Type *to, Site *s, Pos pos) {
  if (from->tensor.dtype != to->tensor.dtype || from->tensor.rank != to->tensor.rank)
    return mismatch(I, s);
  for (int i = 0; i < to->tensor.rank; i++)
    flow_dim(I, from->tensor.dim[i], to->tensor.dim[i], s, pos, i);
  return true;
}

static bool flow_fn(Infer *I, Type *from, Type *to, Site *s) {
  if (from->fn.n_vars || from->fn.n_dims) from = instantiate(I, from, I->level, s->at, NULL, NULL);
  if (from->fn.n != to->fn.n) return mismatch(I, s);
  bool ok = true;
  for (int i = 0; i < to->fn.n; i++)
    ok &= flow(I, to->fn.param[i], from->fn.param[i], s, POS_Param);
  return flow(I, from->fn.ret, to->fn.ret, s, POS_Nested) && ok;
}

static bool flow_data(Infer *I, Type *from, Type *to, Site *s) {
  if (from->data.def != to->data.def || from->data.n != to->data.n) return mismatch(I, s);
  const bool *inv = map_get(&I->invariant, map_ptr(to->data.def));
  bool ok = true;
  for (int i = 0; i < to->data.n; i++)
    ok &= inv && inv[i] ? flow_both(I, from->data.arg[i], to->data.arg[i], s)
                        : flow(I, from->data.arg[i], to->data.arg[i], s, POS_Nested);
  return ok;
}

/* m := the structure of t; the caller makes the dims flow. */
static Type *take_structure(Infer *I, Type *m, Type *t, Site *s) {
  const MetaInfo *mi = &I->metas.at[m->meta.id];
  Copy c = {.I = I, .level = m->meta.level, .order = mi->order, .meta = m};
  if (mi->shared) c.flags = CELL_SHARED;
  Type *is = copy(&c, t);
  if (c.occurs) {
    diag_error(I->d, s->at, E0303, show(I, t));
    s->reported = true;
    is = type_error();
  } else if (c.escapes) {
    mismatch(I, s);
    diag_note(I->d, s->at, "a type variable of this function would leave it");
    is = type_error();
  }
  solve_meta(I, m, is);
  return is;
}

static bool flow_resolved(Infer *I, Type *from, Type *to, Site *s, Pos pos) {
  if (from == to && to->kind == TY_Meta) return true;
  if (from->kind == TY_Meta && to->kind == TY_Meta) {
    link_metas(I, from, to);
    return true;
  }
  if (to->kind == TY_Meta && from->kind == TY_Fn && (from->fn.n_vars || from->fn.n_dims))
    from = instantiate(I, from, I->level, s->at, NULL, NULL);
  if (to->kind == TY_Meta)
    to = take_structure(I, to, from, s);
  else if (from->kind == TY_Meta)
    from = take_structure(I, from, to, s);
  if (from->kind == TY_Error || to->kind == TY_Error) return true;
  if (from == to && type_is_plain(to, true)) return true;
  if (from->kind != to->kind) return mismatch(I, s);
  switch (to->kind) {
  case TY_Error:
  case TY_Meta: return true;
  case TY_Var: return from->var == to->var || mismatch(I, s);
  case TY_Tensor: return flow_tensor(I, from, to, s, pos);
  case TY_Fn: return flow_fn(I, from, to, s);
  case TY_Data: return flow_data(I, from, to, s);
  case TY_Ref: return flow_both(I, from->ref, to->ref, s);
  case TY_Tuple:
    if (from->tuple.n != to->tuple.n) return mismatch(I, s);
    for (int i = 0; i < to->tuple.n; i++)
      if (!flow(I, from->tuple.at[i], to->tuple.at[i], s, pos)) return false;
    return true;
  }
  return true;
}

bool flow(Infer *I, Type *from, Type *to, Site *s, Pos pos) {
  if (I->depth > MAX_DEPTH) {
    if (!s->reported) diag_error(I->d, s->at, E0106, "the type", MAX_DEPTH);
    s->reported = true;
    return false;
  }
  I->depth++;
  bool ok = flow_resolved(I, type_resolve(from), type_resolve(to), s, pos);
  I->depth--;
  return ok;
}
