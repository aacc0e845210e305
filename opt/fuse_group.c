/* fuse_group.c -- which operator calls are worth one kernel (fuse.h).
 *
 * A call joins the groups of its operands when the classes of the records
 * (OpDef.pattern) say that kernels may compose: maps with maps; maps before a
 * reduction or a product whose only reader it is; maps of the same extents
 * behind one.  At most one reduction or product, the anchor, is in a group
 * (after FuseOps, Chen et al., "TVM", OSDI 2018, but with maps behind
 * reductions and with several results).  Kernels decide when they are lowered;
 * a group whose kernels stay apart costs nothing.
 *
 * A group is called in one place, so its members move there: between the last
 * member and the first other user, past no call that may fail if they may.    */
#include "opt/fuse.h"

int fuse_def(const FuseBlock *f, const Var *v) {
  return (int)(intptr_t)map_get(&f->def, map_ptr(v)) - 1;
}

/* ---- the block's facts --------------------------------------------------------------- */
typedef struct {
  FuseBlock *f;
  int at;
} Using;

static void use_atom(void *ud, Atom *a) {
  Using *u = ud;
  int d = a->kind == ATOM_Var ? fuse_def(u->f, a->var) : -1;
  if (d < 0) return;
  Indices *users = &u->f->users[d];
  if (!users->n || vec_last(users) != u->at) vec_push(users, u->at);
}
static void use_block(void *ud, Block *b) {
  static const ExprVisit visit = {use_atom, use_block, NULL};
  for (int i = 0; i < b->n; i++) ir_visit(b->at[i].value, &visit, ud);
  use_atom(ud, &b->result);
}

static void find_users(FuseBlock *f) {
  for (int i = 0; i < f->b->n; i++)
    map_set(&f->def, map_ptr(f->b->at[i].var), (void *)(intptr_t)(i + 1));
  for (int i = 0; i < f->b->n; i++) {
    Using u = {f, i};
    ir_visit(f->b->at[i].value, &(ExprVisit){use_atom, use_block, NULL}, &u);
  }
  use_atom(&(Using){f, f->b->n}, &f->b->result);
}

bool fuse_is_glue(const FuseBlock *f, int i) {
  const Expr *e = f->b->at[i].value;
  if (e->n_oblige) return false;
  if (e->kind == EX_Just)
    return e->Just.value.kind == ATOM_Var && fuse_def(f, e->Just.value.var) >= 0 &&
           atom_can_be(f->b->at[i].var, &e->Just.value);
  if (e->kind == EX_Proj) {
    int d = e->Proj.tuple.kind == ATOM_Var ? fuse_def(f, e->Proj.tuple.var) : -1;
    const Expr *of = d >= 0 ? f->b->at[d].value : NULL;
    return of && of->kind == EX_Call && of->Call.callee.kind == ATOM_Op;
  }
  for (int k = 0; e->kind == EX_Tuple && k < e->Tuple.n_items; k++)
    if (e->Tuple.items[k].kind != ATOM_Var && e->Tuple.items[k].kind != ATOM_Const) return false;
  return e->kind == EX_Tuple;
}

static bool is_barrier(const Expr *e) {
  if (e->kind == EX_Call) {
    AtomKind k = e->Call.callee.kind;
    return k != ATOM_Ctor && !(k == ATOM_Op && (e->Call.callee.op->flags & OP_PURE));
  }
  if (e->kind == EX_Match || e->kind == EX_If) return !expr_can_go(e);
  return e->kind != EX_Just && e->kind != EX_Tuple && e->kind != EX_Proj && e->kind != EX_Fn;
}

static bool is_total(const Expr *e) {
  if (e->n_oblige) return false;
  return e->kind != EX_Call || e->Call.callee.kind != ATOM_Op || op_call_is_total(e);
}

/* ---- candidates ------------------------------------------------------------------------ */
static void note_sym(void *ud, Dim s) { map_set(ud, map_ptr(s), ud); }
static void note_syms(Map *m, Type *t) {
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++)
    dim_visit_syms(t->tensor.dim[i], note_sym, m);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++) note_syms(m, t->tuple.at[i]);
}

typedef struct {
  const Map *known;
  bool ok;
} Asking;
static void ask_sym(void *ud, Dim s) {
  Asking *a = ud;
  if (!map_get(a->known, map_ptr(s))) a->ok = false;
}

/* Tensors, not all scalars, of extents that the operands have. */
static bool result_fits(Type *t, const Map *known, bool *any) {
  Asking a = {known, true};
  t = type_resolve(t);
  if (t->kind == TY_Tuple) {
    for (int i = 0; i < t->tuple.n; i++)
      if (type_resolve(t->tuple.at[i])->kind != TY_Tensor ||
          !result_fits(t->tuple.at[i], known, any))
        return false;
    return t->tuple.n > 0;
  }
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++) {
    if (dim_has_any(t->tensor.dim[i])) return false;
    dim_visit_syms(t->tensor.dim[i], ask_sym, &a);
  }
  *any |= t->kind == TY_Tensor && t->tensor.rank > 0;
  return t->kind == TY_Tensor && a.ok;
}

static bool arg_fits(const Atom *a, Map *known) {
  Type *t = a->kind == ATOM_Var ? a->var->type : a->type;
  if ((a->kind != ATOM_Var && a->kind != ATOM_Const) || !t) return false;
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++)
    if (type_resolve(t->tuple.at[i])->kind != TY_Tensor) return false;
  note_syms(known, t);
  return t->kind == TY_Tensor || t->kind == TY_Tuple;
}

static bool is_candidate(const FuseBlock *f, int i) {
  const Binding *b = &f->b->at[i];
  const Expr *e = b->value;
  if (e->kind != EX_Call || e->Call.callee.kind != ATOM_Op) return false;
  const OpDef *op = e->Call.callee.op;
  Map known = {0};
  bool any = false;
  if (!(op->flags & OP_PURE) || op->pattern == PAT_Opaque || !op->lower) return false;
  for (int k = 0; k < e->Call.n_args; k++)
    if (!arg_fits(&e->Call.args[k], &known)) return false;
  if (!result_fits(b->var->type, &known, &any) || !any) return false;
  /* The parts of a tuple are known by their projections. */
  for (int k = 0; type_resolve(b->var->type)->kind == TY_Tuple && k < f->users[i].n; k++) {
    int u = f->users[i].at[k];
    if (u == f->b->n || f->b->at[u].value->kind != EX_Proj) return false;
  }
  return true;
}

/* ---- what a group looks like from outside --------------------------------------------------- */
static bool is_member(const FuseGroup *g, int i) {
  for (int k = 0; k < g->member.n; k++)
    if (g->member.at[k] == i) return true;
  return false;
}

/* The first binding outside g that mentions binding i, or INT_MAX. */
enum { NOBODY = 0x7fffffff };
static int first_outside(const FuseBlock *f, int i, const FuseGroup *g) {
  int first = NOBODY;
  for (int k = 0; k < f->users[i].n; k++) {
    int u = f->users[i].at[k], at = u;
    if (u < f->b->n && is_member(g, u)) continue;
    bool glue = u < f->b->n && fuse_is_glue(f, u);
    if (glue && (f->users[u].n || f->b->at[u].value->kind == EX_Just))
      at = first_outside(f, u, g); /* a copy nobody uses is nobody's use */
    if (at < first) first = at;
    if (!glue) break; /* users are in order, and glue is used behind itself */
  }
  return first;
}
bool fuse_escapes(const FuseBlock *f, int i, const FuseGroup *g) {
  return first_outside(f, i, g) != NOBODY;
}

/* Bindings that member i reads, through glue: f(ud, index). */
static void each_source(const FuseBlock *f, const Atom *a, void (*fn)(void *, int), void *ud) {
  int d = a->kind == ATOM_Var ? fuse_def(f, a->var) : -1;
  if (d < 0) return;
  const Expr *e = f->b->at[d].value;
  if (fuse_is_glue(f, d) && e->kind != EX_Tuple)
    each_source(f, e->kind == EX_Proj ? &e->Proj.tuple : &e->Just.value, fn, ud);
  else if (fuse_is_glue(f, d))
    for (int i = 0; i < e->Tuple.n_items; i++) each_source(f, &e->Tuple.items[i], fn, ud);
  else
    fn(ud, d);
}

/* Does a, or for a tuple one of its items, come from a member? */
static bool comes_from(const FuseBlock *f, const Atom *a, const FuseGroup *g) {
  int d = a->kind == ATOM_Var ? fuse_def(f, a->var) : -1;
  if (d < 0 || !fuse_is_glue(f, d)) return d >= 0 && is_member(g, d);
  const Expr *e = f->b->at[d].value;
  if (e->kind == EX_Proj) return comes_from(f, &e->Proj.tuple, g);
  if (e->kind == EX_Just) return comes_from(f, &e->Just.value, g);
  for (int i = 0; i < e->Tuple.n_items; i++)
    if (comes_from(f, &e->Tuple.items[i], g)) return true;
  return false;
}

/* The last binding outside g that operand a needs, or -1. */
static int last_input(const FuseBlock *f, const Atom *a, const FuseGroup *g) {
  int d = a->kind == ATOM_Var ? fuse_def(f, a->var) : -1, last = -1;
  if (d < 0 || is_member(g, d)) return -1;
  if (!comes_from(f, a, g)) return d;
  const Expr *e = f->b->at[d].value;
  if (e->kind == EX_Just) return last_input(f, &e->Just.value, g);
  for (int i = 0; e->kind == EX_Tuple && i < e->Tuple.n_items; i++) {
    int l = last_input(f, &e->Tuple.items[i], g);
    if (l > last) last = l;
  }
  return last;
}

/* May member move to place, past the others in between? */
static bool may_pass(const FuseBlock *f, const FuseGroup *g, int member, int place) {
  if (is_total(f->b->at[member].value)) return true;
  if (place < member) return false;
  for (int i = member + 1; i < place; i++)
    if (!is_member(g, i) && !is_total(f->b->at[i].value)) return false;
  return true;
}

static bool find_place(const FuseBlock *f, FuseGroup *g) {
  int last = vec_last(&g->member), use = NOBODY;
  int input = -1;
  for (int k = 0; k < g->member.n; k++) {
    const ExCall *c = &f->b->at[g->member.at[k]].value->Call;
    int u = first_outside(f, g->member.at[k], g);
    if (u < use) use = u;
    for (int i = 0; i < c->n_args; i++) {
      int l = last_input(f, &c->args[i], g);
      if (l > input) input = l;
    }
  }
  g->up = use <= last;
  g->place = g->up ? use : last;
  if (g->up && input >= use) return false;
  for (int k = 0; k < g->member.n; k++)
    if (!may_pass(f, g, g->member.at[k], g->place)) return false;
  return true;
}

/* Variables that become parameters, and results; a rough count is enough. */
static bool is_small(const FuseBlock *f, const FuseGroup *g) {
  int args = 0, results = 0;
  for (int k = 0; k < g->member.n; k++) {
    const ExCall *c = &f->b->at[g->member.at[k]].value->Call;
    for (int i = 0; i < c->n_args; i++) {
      int d = c->args[i].kind == ATOM_Var ? fuse_def(f, c->args[i].var) : -1;
      args += c->args[i].kind == ATOM_Var && (d < 0 || !is_member(g, d));
    }
    results += fuse_escapes(f, g->member.at[k], g);
  }
  return g->member.n <= FUSE_MAX_OPS && args <= FUSE_MAX_VARS && results <= FUSE_MAX_VARS / 2;
}

/* ---- joining -------- */
static OpPattern pattern_of(const FuseBlock *f, int i) {
  return f->b->at[i].value->Call.callee.op->pattern;
}

/* Of an operator with several results the first counts: the others are small
 * (batch_norm) or like it. */
static Type *main_result(const FuseBlock *f, int i) {
  Type *t = type_resolve(f->b->at[i].var->type);
  return t->kind == TY_Tuple ? type_resolve(t->tuple.at[0]) : t;
}
static bool same_extents_as(const FuseBlock *f, int i, int j) {
  Type *x = main_result(f, i), *y = main_result(f, j);
  if (x->tensor.rank != y->tensor.rank) return false;
  for (int k = 0; k < x->tensor.rank; k++)
    if (!dim_equal(x->tensor.dim[k], y->tensor.dim[k])) return false;
  return true;
}

static FuseGroup *group_of(FuseBlock *f, int i) {
  if (f->group[i]) return f->group[i];
  FuseGroup *g = NEW(FuseGroup);
  OpPattern p = pattern_of(f, i);
  vec_push(&g->member, i);
  g->anchor = p == PAT_Reduce || p == PAT_OutFusable ? p : PAT_Elemwise;
  g->place = i;
  return f->group[i] = g;
}

/* Classes: may call c stand in one group with its operand's call s? */
static bool classes_fit(FuseBlock *f, int c, int s, const FuseGroup *from, const FuseGroup *all) {
  bool map = pattern_of(f, c) <= PAT_Injective, read_elsewhere = fuse_escapes(f, s, all);
  if (!map) return from->anchor == PAT_Elemwise && !read_elsewhere;
  if (from->anchor == PAT_OutFusable)
    return pattern_of(f, c) <= PAT_Broadcast && same_extents_as(f, c, s);
  if (from->anchor == PAT_Reduce) return pattern_of(f, c) <= PAT_Broadcast;
  /* The parts of a tuple are maps of their own. */
  if (type_resolve(f->b->at[s].var->type)->kind == TY_Tuple) return true;
  return !read_elsewhere || same_extents_as(f, c, s);
}

static FuseGroup *merged(const FuseGroup *a, const FuseGroup *b) {
  FuseGroup *g = NEW(FuseGroup);
  g->anchor = a->anchor != PAT_Elemwise ? a->anchor : b->anchor;
  int i = 0, j = 0;
  while (i < a->member.n || j < b->member.n) {
    bool left = j == b->member.n || (i < a->member.n && a->member.at[i] < b->member.at[j]);
    vec_push(&g->member, left ? a->member.at[i++] : b->member.at[j++]);
  }
  return g;
}

typedef struct {
  FuseBlock *f;
  int call;
  OpPattern anchor; /* only operands whose group has this one */
} Joining;

static void join(void *ud, int s) {
  Joining *j = ud;
  FuseBlock *f = j->f;
  if (!f->candidate[s] || f->segment[s] != f->segment[j->call]) return;
  FuseGroup *from = group_of(f, s), *to = group_of(f, j->call);
  if (from == to || (from->anchor != PAT_Elemwise) != (j->anchor != PAT_Elemwise)) return;
  if (from->anchor != PAT_Elemwise && to->anchor != PAT_Elemwise) return;
  FuseGroup *all = merged(from, to);
  if (!classes_fit(f, j->call, s, from, all) || !is_small(f, all) || !find_place(f, all)) return;
  for (int k = 0; k < all->member.n; k++) f->group[all->member.at[k]] = all;
}

/* Groups with a reduction or product first: what they cannot take, maps can. */
static void join_operands(FuseBlock *f, int i) {
  const ExCall *c = &f->b->at[i].value->Call;
  for (int pass = 0; pass < 2; pass++) {
    Joining j = {f, i, pass ? PAT_Elemwise : PAT_OutFusable};
    for (int k = c->n_args - 1; k >= 0; k--) each_source(f, &c->args[k], join, &j);
  }
}

void fuse_groups(FuseBlock *f) {
  int n = f->b->n, segment = 0;
  f->users = NEW_N(Indices, n + 1);
  f->candidate = NEW_N(bool, n + 1);
  f->segment = NEW_N(int, n + 1);
  f->group = NEW_N(FuseGroup *, n + 1);
  find_users(f);
  for (int i = 0; i < n; i++) {
    segment += is_barrier(f->b->at[i].value);
    f->segment[i] = segment;
    f->candidate[i] = is_candidate(f, i);
    if (f->candidate[i]) join_operands(f, i);
  }
  for (int i = 0; i < n; i++)
    if (f->group[i] && f->group[i]->member.n < 2) f->group[i] = NULL;
}
