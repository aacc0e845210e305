/* cse.c -- common subexpressions: a second computation of the same value in
 * the same scope, or in one around it, becomes a copy of the first.
 *
 * Equal means: same operator or constructor, equal attributes, the same
 * operands, the same type.  That the first one ran without failing says that
 * the second would; so operators that may fail are shared too.  A function
 * literal starts afresh: sharing with what is around it would only make it
 * capture more.                                                               */
#include <string.h>
#include "ir/op.h"
#include "opt/walk.h"

typedef struct {
  uint64_t hash;
  Binding *b;
  int older;
} Seen;
typedef struct {
  PassCx *cx;
  VEC(Seen) seen; /* a stack: leaving a scope cuts it          */
  Map by_hash;    /* hash -> 1 + index of the newest           */
  int floor;      /* first of the current function             */
} Cse;

/* ---- equality ---- */

static bool same_tensor(const Tensor *a, const Tensor *b) {
  if (a == b) return true;
  if (a->dtype != b->dtype || a->rank != b->rank || a->count != b->count || a->count > 16)
    return false;
  for (int i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return !memcmp(a->bytes, b->bytes, (size_t)a->count * (size_t)dtype_bytes(a->dtype));
}

static bool same_atom(const Atom *a, const Atom *b) {
  if (a->kind != b->kind) return false;
  switch (a->kind) {
  case ATOM_Var: return a->var == b->var;
  case ATOM_Const: return same_tensor(a->cst, b->cst);
  case ATOM_Global:
    return a->global == b->global && a->type && b->type && type_same(a->type, b->type);
  case ATOM_Ctor: return a->ctor == b->ctor;
  case ATOM_Op: return a->op == b->op;
  case ATOM_Poison: break;
  }
  return false;
}
static bool same_atoms(int n, const Atom *a, int m, const Atom *b) {
  if (n != m) return false;
  for (int i = 0; i < n; i++)
    if (!same_atom(&a[i], &b[i])) return false;
  return true;
}
static bool same_attrs(const Attrs *a, const Attrs *b) {
  if (a->n != b->n) return false;
  for (int i = 0; i < a->n; i++)
    if (a->at[i].name != b->at[i].name || !attr_same(&a->at[i].val, &b->at[i].val)) return false;
  return true;
}

static bool same_value(const Expr *a, const Expr *b) {
  if (a->kind != b->kind) return false;
  if (a->kind == EX_Tuple)
    return same_atoms(a->Tuple.n_items, a->Tuple.items, b->Tuple.n_items, b->Tuple.items);
  if (a->kind == EX_Proj)
    return a->Proj.index == b->Proj.index && same_atom(&a->Proj.tuple, &b->Proj.tuple);
  return same_atom(&a->Call.callee, &b->Call.callee) &&
         same_attrs(&a->Call.attrs, &b->Call.attrs) &&
         same_atoms(a->Call.n_args, a->Call.args, b->Call.n_args, b->Call.args);
}

static bool same_checks(const Expr *a, const Expr *b) {
  for (int i = 0; i < b->n_oblige; i++) {
    bool found = false;
    for (int k = 0; k < a->n_oblige && !found; k++)
      found = a->oblige[k].kind == b->oblige[i].kind && dim_equal(a->oblige[k].a, b->oblige[i].a) &&
              dim_equal(a->oblige[k].b, b->oblige[i].b);
    if (!found) return false;
  }
  return true;
}

static bool is_shareable(const Expr *e) {
  if (e->kind == EX_Tuple || e->kind == EX_Proj) return true;
  if (e->kind != EX_Call) return false;
  const Atom *f = &e->Call.callee;
  return f->kind == ATOM_Ctor || (f->kind == ATOM_Op && (f->op->flags & OP_PURE));
}

/* ---- hashes ---- */

typedef struct {
  uint64_t h;
} Hash;
static void hash_atom(void *ud, Atom *a) {
  Hash *s = ud;
  uint64_t of;
  if (a->kind == ATOM_Const)
    of = hash_mix((uint64_t)a->cst->dtype, (uint64_t)a->cst->count);
  else if (a->kind == ATOM_Var)
    of = (uint64_t)a->var->id;
  else
    of = map_ptr(a->op);
  s->h = hash_mix(s->h, hash_mix((uint64_t)a->kind, of));
}
static uint64_t hash_of(Expr *e) {
  Hash s = {(uint64_t)e->kind + 1};
  ir_visit(e, &(ExprVisit){hash_atom, NULL, NULL}, &s);
  return e->kind == EX_Proj ? hash_mix(s.h, (uint64_t)e->Proj.index) : s.h;
}

/* ---- the walk ---- */

static void cse_block(void *ud, Block *b);
static void cse_fn(void *ud, Fn *f) {
  Cse *c = ud;
  int was = c->floor;
  c->floor = c->seen.n;
  cse_block(c, f->body);
  c->floor = was;
}

static const Binding *find(const Cse *c, uint64_t h, const Binding *b) {
  for (int i = (int)(intptr_t)map_get(&c->by_hash, h) - 1; i >= c->floor; i = c->seen.at[i].older) {
    const Binding *old = c->seen.at[i].b;
    if (same_value(old->value, b->value) && same_checks(old->value, b->value) &&
        type_same(old->var->type, b->var->type))
      return old;
  }
  return NULL;
}

static void share(Cse *c, Binding *b) {
  uint64_t h = hash_of(b->value);
  const Binding *old = find(c, h, b);
  if (old && pass_may(c->cx)) {
    *b = bind_copy(b->var, atom_var(old->var, b->value->span), b->style, b->value->span);
  } else if (!old && b->style != BIND_Seq) { /* a statement has no name to use */
    vec_push(&c->seen, ((Seen){h, b, (int)(intptr_t)map_get(&c->by_hash, h) - 1}));
    map_set(&c->by_hash, h, (void *)(intptr_t)c->seen.n);
  }
}

static void cse_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, cse_block, cse_fn};
  Cse *c = ud;
  int mark = c->seen.n;
  for (int i = 0; i < b->n; i++) {
    ir_visit(b->at[i].value, &visit, c);
    if (is_shareable(b->at[i].value)) share(c, &b->at[i]);
  }
  while (c->seen.n > mark) {
    Seen s = vec_pop(&c->seen);
    map_set(&c->by_hash, s.hash, (void *)(intptr_t)(s.older + 1));
  }
}

static void cse_global(void *ud, Global *g) { cse_fn(ud, g->fn); }
static void cse_run(PassCx *cx) { each_global(cx->m, cse_global, &(Cse){.cx = cx}); }

const Pass pass_cse = {.name = "cse",
                       .doc = "Compute equal expressions once.",
                       .needs = FORM_TYPED,
                       .keeps = ~0u,
                       .run = cse_run};
