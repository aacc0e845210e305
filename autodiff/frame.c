/* frame.c -- one function being transformed: what its variables became, its
 * extents in the new function, and the parts of it that are kept as they are.
 *
 * A variable the frame has not bound belongs to a function around it: it is
 * there as it was, and nothing is differentiated with respect to it.          */
#include <string.h>
#include "autodiff/ad.h"

Frame *frame_new(AD *ad, const TyEnv *env, bool lifted) {
  Frame *f = NEW(Frame);
  *f = (Frame){.ad = ad, .env = env, .lifted = lifted};
  return f;
}

Type *frame_type(Frame *f, Type *t) { return ad_close(f->ad, t, f->env); }

/* ---- extents -------------------------------------------------------------------- */

/* The caller's names are not known where a function of its own is made. */
static Dim new_dim(void *ud, Dim s) {
  Frame *f = ud;
  void *to = map_get(&f->dim, map_ptr(s));
  if (to) return to;
  return f->lifted || !s->name ? dim_any(f->ad->cx->dims) : NULL;
}

/* An extent that got a name of its own may be an expression. */
static Type *annot_tensor(Frame *f, Type *t) {
  Dim dim[MAX_RANK];
  for (int i = 0; i < t->tensor.rank; i++) {
    Dim d = t->tensor.dim[i];
    void *to = map_get(&f->dim, map_ptr(d));
    dim[i] = to ? to : dim_subst(f->ad->cx->dims, d, new_dim, f);
  }
  return type_tensor(t->tensor.dtype, t->tensor.rank, dim);
}
static Type *whole_dims(Frame *f, Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor) return annot_tensor(f, t);
  int n = n_parts(t);
  Type **at = NEW_N(Type *, n + 1);
  for (int i = 0; i < n; i++) at[i] = whole_dims(f, part_type(t, i));
  return n ? with_parts(t, at) : t;
}
Type *frame_annot(Frame *f, Type *t) { return whole_dims(f, frame_type(f, t)); }

static bool is_own(const Fn *own, Dim d) {
  if (!own || d->kind != DIM_Sym || !d->name) return true;
  for (int i = 0; i < own->n_dims; i++)
    if (own->dim[i] == d) return true;
  return false;
}

typedef struct {
  Frame *f;
  bool yes;
} Unnamed;
static void ask_unnamed(void *ud, Dim s) {
  Unnamed *u = ud;
  u->yes |= !map_get(&u->f->dim, map_ptr(s));
}

static void name_dim(Frame *f, const Fn *own, Dim d, bool lone, DimVec *made) {
  if (d->kind == DIM_Const || d->kind == DIM_Any || map_get(&f->dim, map_ptr(d))) return;
  if (!is_own(own, d) || (d->kind == DIM_Sym) != lone) return;
  Unnamed u = {f, false};
  dim_visit_syms(d, ask_unnamed, &u);
  if (!u.yes) return;
  IrCtx *cx = f->ad->cx;
  Sym name = d->kind == DIM_Sym ? d->name : NULL;
  if (!name) name = sym(cx->syms, str_fmt("n%d", made->n));
  for (int i = 0; i < made->n; i++)
    if (made->at[i]->name == name) {
      name = sym(cx->syms, str_fmt("%s_%d", name, made->n));
      i = -1;
    }
  Dim to = dim_new_sym(cx->dims, name, 0);
  map_set(&f->dim, map_ptr(d), (void *)(uintptr_t)to);
  vec_push(made, to);
}

static void name_dims(Frame *f, const Fn *own, Type *t, bool lone, DimVec *made) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor)
    for (int i = 0; i < t->tensor.rank; i++) name_dim(f, own, t->tensor.dim[i], lone, made);
  if (t->kind == TY_Tuple)
    for (int i = 0; i < t->tuple.n; i++) name_dims(f, own, t->tuple.at[i], lone, made);
}
/* Symbols first: what is made of those that some axis gives needs no name. */
void frame_dims(Frame *f, const Fn *own, int n, Type *const *type, DimVec *made) {
  for (int i = 0; i < n; i++) name_dims(f, own, type[i], true, made);
  for (int i = 0; i < n; i++) name_dims(f, own, type[i], false, made);
}

/* ---- local functions ------------------------------------------------------------ */

static void needs_of_fn(Frame *f, const Fn *fn, Var *self, VarList *out);

LocalFn *local_fn(Frame *f, Var *self, const Fn *fn) {
  LocalFn *l = NEW(LocalFn);
  l->fn = fn;
  l->self = self;
  l->escapes = map_get(&f->ad->uses_as_value, map_ptr(self)) != NULL;
  needs_of_fn(f, fn, self, &l->caps);
  return l;
}

Val *frame_val(Frame *f, Var *v) {
  Val *x = map_get(&f->val, map_ptr(v));
  if (x) return x;
  x = NEW(Val);
  *x = (Val){.orig = v, .type = frame_type(f, v->type), .plain = true, .has_at = true};
  x->at = atom_var(v, f->ad->span);
  map_set(&f->val, map_ptr(v), x);
  const Expr *e = map_get(&f->ad->bound, map_ptr(v));
  if (e && e->kind == EX_Fn) {
    x->fn = local_fn(f, v, e->Fn.fn);
    x->fn->has_plain = true;
    x->fn->plain = x->at;
  }
  return x;
}

static void add_need(VarList *out, Var *v) {
  for (int i = 0; i < out->n; i++)
    if (out->at[i] == v) return;
  vec_push(out, v);
}

bool is_known(const Val *v) { return v->fn && (!v->fn->escapes || v->plain || v->fn->fn->n_vars); }

/* Variables that fn needs; self, the variable it is bound to, is none of them. */
static void needs_of_fn(Frame *f, const Fn *fn, Var *self, VarList *out) {
  VarList free = {0};
  if (self) vec_push(&free, self);
  ir_free_vars(fn, &free);
  for (int i = self != NULL; i < free.n; i++) {
    Val *v = frame_val(f, free.at[i]);
    if (!is_known(v)) {
      add_need(out, free.at[i]);
      continue;
    }
    for (int k = 0; k < v->fn->caps.n; k++) add_need(out, v->fn->caps.at[k]);
  }
}

void needs_of_block(Frame *f, Block *b, VarList *out) {
  Fn whole = {.body = b};
  needs_of_fn(f, &whole, NULL, out);
}

/* ---- what function values hold ------------------------------------------------------ */

/* Before any variable is bound in the frame: by the names alone. */
static void mark_block(void *ud, Block *b);

static void mark_free(Frame *f, const Fn *fn) {
  VarList free = {0};
  ir_free_vars(fn, &free);
  for (int i = 0; i < free.n; i++) {
    if (map_get(&f->captured, map_ptr(free.at[i]))) continue;
    map_set(&f->captured, map_ptr(free.at[i]), free.at[i]);
    const Expr *e = map_get(&f->ad->bound, map_ptr(free.at[i]));
    if (e && e->kind == EX_Fn) mark_free(f, e->Fn.fn);
  }
}
static void mark_fn(void *ud, Fn *fn) { mark_block(ud, fn->body); }
static void mark_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, mark_block, mark_fn};
  Frame *f = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    if (e->kind == EX_Fn && map_get(&f->ad->uses_as_value, map_ptr(b->at[i].var)))
      mark_free(f, e->Fn.fn);
    ir_visit(e, &visit, f);
  }
}
void mark_captured(Frame *f, Block *b) { mark_block(f, b); }

/* ---- parts that stay ------------------------------------------------------------------ */

static void fit_block(void *ud, Block *b);

static Type *fit_type(Frame *f, Type *t) { return t ? frame_annot(f, t) : NULL; }

/* Names of dims that a part binds are bound once more: they need other symbols. */
static void new_symbol(Frame *f, Dim s) {
  map_set(&f->dim, map_ptr(s), (void *)(uintptr_t)dim_new_sym(f->ad->cx->dims, s->name, s->level));
}
static void rename_dim(void *ud, Dim s) {
  Frame *f = ud;
  bool outer = map_get(&f->ad->fn_dims, map_ptr(s)) != NULL;
  if (s->name && !outer && !map_get(&f->dim, map_ptr(s))) new_symbol(f, s);
}
static void rename_dims(Frame *f, Type *t) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor)
    for (int i = 0; i < t->tensor.rank; i++) dim_visit_syms(t->tensor.dim[i], rename_dim, f);
  if (t->kind == TY_Tuple)
    for (int i = 0; i < t->tuple.n; i++) rename_dims(f, t->tuple.at[i]);
}

void frame_own_dims(Frame *f, const Fn *of, Fn *made) {
  DimVec dims = {0};
  for (int i = 0; i < of->n_dims; i++) {
    if (of->dim[i]->name) new_symbol(f, of->dim[i]);
    if (of->dim[i]->name) vec_push(&dims, (Dim)map_get(&f->dim, map_ptr(of->dim[i])));
  }
  made->n_dims = dims.n;
  made->dim = dims.at;
}

static void fit_fn(void *ud, Fn *fn) {
  Frame *f = ud;
  frame_own_dims(f, fn, fn);
  for (int i = 0; i < fn->n; i++) {
    Type *t = fn->param[i]->annot ? fn->param[i]->annot : fn->param[i]->type;
    fn->param[i]->annot = fit_type(f, t);
  }
  fn->ret = NULL;
  fit_block(ud, fn->body);
}

static void fit_pattern(Pattern *p) {
  p->type = NULL;
  if (p->var) p->var->annot = NULL;
  for (int i = 0; i < p->n; i++) fit_pattern(p->at[i]);
}

static void fit_expr(Frame *f, Expr *e) {
  static const ExprVisit visit = {NULL, fit_block, fit_fn};
  e->n_oblige = 0;
  e->oblige = NULL;
  if (e->kind == EX_MatchCast) {
    rename_dims(f, e->MatchCast.to);
    e->MatchCast.to = fit_type(f, e->MatchCast.to);
  }
  if (e->kind == EX_Match)
    for (int i = 0; i < e->Match.n_clauses; i++) fit_pattern(e->Match.clauses[i].pat);
  if (e->kind == EX_Call) e->Call.inst = NULL;
  ir_visit(e, &visit, f);
}

static void fit_block(void *ud, Block *b) {
  Frame *f = ud;
  for (int i = 0; i < b->n; i++) {
    b->at[i].var->annot = fit_type(f, b->at[i].var->annot);
    fit_expr(f, b->at[i].value);
  }
}

/* Variables of the frame, as ir_clone_block wants them. */
static void fill_vars(Frame *f, Map *vars) {
  for (int i = 0; i < f->val.n; i++) {
    Val *v = f->val.entry[i].value;
    const Atom *a = v->fn && v->fn->has_plain ? &v->fn->plain : &v->at;
    if ((v->has_at || (v->fn && v->fn->has_plain)) && a->kind == ATOM_Var && a->var != v->orig)
      map_set(vars, map_ptr(v->orig), a->var);
  }
}

static Block *plain_block(Frame *f, const Block *b) {
  Map vars = {0};
  fill_vars(f, &vars);
  Block *made = ir_clone_block(f->ad->cx, b, &vars);
  fit_block(f, made);
  return made;
}

Expr *plain_expr(Frame *f, const Expr *e) {
  Var *v = ir_var(f->ad->cx, NULL, e->span);
  Binding one = {v, (Expr *)(uintptr_t)e, BIND_Graph};
  Block b = {1, &one, atom_var(v, e->span), e->span};
  return plain_block(f, &b)->at[0].value;
}

Fn *plain_fn(Frame *f, const Fn *fn, Map *vars) {
  fill_vars(f, vars);
  Fn *made = ir_clone_fn(f->ad->cx, fn, vars);
  fit_fn(f, made);
  return made;
}
