/* values_host.c -- function values as data: those that only a host could give.
 *
 *   def @main(%f: fn (float64) -> float64, %x: float64) { grad(%f)(%x) }
 *
 * A host gives data, and a constructor of it is what a function has become.  So it can
 * give any definition of the program, which it knows by its name: @tanh_of.      */
#include "autodiff/values.h"

/* ---- extents ------------------------------------------------------------------------ */

typedef struct {
  Map is; /* Dim of a definition -> what it is in the type wanted      */
} Extents;

static void bind_dims(Extents *x, Type *have, Type *want) {
  have = type_resolve(have), want = type_resolve(want);
  for (int i = 0; have->kind == TY_Tuple && i < have->tuple.n; i++)
    bind_dims(x, have->tuple.at[i], want->tuple.at[i]);
  for (int i = 0; have->kind == TY_Tensor && i < have->tensor.rank; i++) {
    Dim d = have->tensor.dim[i];
    if (d->kind == DIM_Sym && !map_get(&x->is, map_ptr(d)))
      map_set(&x->is, map_ptr(d), (void *)(uintptr_t)want->tensor.dim[i]);
  }
}
static Dim bound_dim(void *ud, Dim s) { return map_get(&((Extents *)ud)->is, map_ptr(s)); }

/* Is a function of type have, extents aside that of these functions, one of them? */
static bool fits(const Values *v, Type *have) {
  Extents x = {0};
  DimTab *dims = v->ad->cx->dims;
  const Type *want = v->joint;
  have = type_resolve(have);
  for (int i = 0; i < have->fn.n; i++) bind_dims(&x, have->fn.param[i], want->fn.param[i]);
  bool same = type_same(type_subst(dims, have->fn.ret, NULL, bound_dim, &x), want->fn.ret);
  for (int i = 0; i < have->fn.n && same; i++)
    same = type_same(type_subst(dims, have->fn.param[i], NULL, bound_dim, &x), want->fn.param[i]);
  return same;
}

/* ---- definitions --------------------------------------------------------------------- */

/* Is g one that a host can call, with such functions? */
static bool takes_values(const Values *v, const Global *g) {
  Type *t = g->type ? type_resolve(g->type) : NULL;
  if (g->library || g->made || !t || t->kind != TY_Fn || t->fn.n_vars) return false;
  for (int i = 0; i < g->fn->n; i++) {
    const Var *p = g->fn->param[i];
    if (holds_value(v, t->fn.param[i]) && (!v->flow || flow_has(v, p))) return true;
  }
  return false;
}

static void mention_atom(void *ud, Atom *a) {
  if (a->kind == ATOM_Global) map_set(ud, map_ptr(a->global), a->global);
}
static void mention_block(void *ud, Block *b) {
  static const ExprVisit visit = {mention_atom, mention_block, NULL};
  for (int i = 0; i < b->n; i++) ir_visit(b->at[i].value, &visit, ud);
  mention_atom(ud, &b->result);
}

/* A definition that nobody calls gets what it takes from the host: any of the program's
 * definitions, but those that differentiate such a function themselves. */
void values_given(Values *v) {
  const Module *m = v->ad->m;
  Map called = {0};
  bool given = false;
  for (int i = 0; i < m->globals.n; i++) mention_block(&called, m->globals.at[i]->fn->body);
  for (int i = 0; i < m->globals.n; i++) {
    const Global *g = m->globals.at[i];
    given |= !map_get(&called, map_ptr(g)) && takes_values(v, g);
  }
  for (int i = 0; i < m->globals.n && given; i++) {
    Global *g = m->globals.at[i];
    if (g->library || g->made || !is_value(v, g->type) || map_get(&v->at, map_ptr(g))) continue;
    if (ad_free_of_forms(v->ad, g->fn) && fits(v, g->type)) values_intro(v, g)->global = g;
  }
}
