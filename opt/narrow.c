/* narrow.c -- what branches give and nobody takes.
 *
 *   let %t = if (c) { (a, f) } else { (b, g) }; .. %t.0 ..   =
 *   let %t = if (c) { a } else { b }; .. %t ..
 *
 * The branches of a derivative give their value with its pullback, which is not
 * called where no gradient comes back to: a bound that values are only compared
 * with, as in nets that choose their channels.  The tuple may hold any number of
 * parts; match likewise.  dce then removes what made the parts.                */
#include "opt/narrow.h"

typedef struct {
  PassCx *cx;
  Taken taken;
  Map narrow; /* Var -> Narrow of a result made smaller       */
  bool changed;
} Narrowing;

/* ---- who takes what ---- */

static void see_block(void *ud, Block *b);
static void see_fn(void *ud, Fn *f) { see_block(ud, f->body); }
static void see_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, see_block, see_fn};
  Taken *p = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    ir_visit(e, &visit, p);
    if (e->kind != EX_Proj || e->Proj.tuple.kind != ATOM_Var || e->Proj.index >= MOST_PARTS)
      continue;
    uint64_t v = map_ptr(e->Proj.tuple.var);
    uintptr_t has = (uintptr_t)map_get(&p->parts, v), n = (uintptr_t)map_get(&p->count, v);
    map_set(&p->parts, v, (void *)(has | (uintptr_t)1 << e->Proj.index));
    map_set(&p->count, v, (void *)(n + 1));
  }
}

Taken taken_in(Fn *f) {
  Taken t = {0};
  uses_of_fn(&t.uses, f);
  see_fn(&t, f);
  return t;
}

Narrow *narrow_to(Type *t, uint64_t parts) {
  Narrow *w = NEW(Narrow);
  Type *type[MOST_PARTS];
  w->parts = parts;
  for (int i = 0; i < t->tuple.n; i++)
    if (parts >> i & 1) type[w->n] = t->tuple.at[i], w->at[w->n++] = i;
  w->type = w->n == 1 ? type[0] : type_tuple(w->n, type);
  return w;
}

Narrow *taken_of(const Taken *p, const Binding *bd) {
  Type *t = bd->var->type ? type_resolve(bd->var->type) : NULL;
  uint64_t v = map_ptr(bd->var), has = (uintptr_t)map_get(&p->parts, v);
  if (!t || t->kind != TY_Tuple || t->tuple.n > MOST_PARTS || !has ||
      (intptr_t)map_get(&p->count, v) != uses_get(&p->uses, bd->var))
    return NULL;
  Narrow *w = narrow_to(t, has);
  return w->n < t->tuple.n ? w : NULL;
}

/* ---- taking the others away ---- */

void narrow_result(Module *m, Block *b, const Narrow *w) {
  Atom part[MOST_PARTS];
  Bindings out = {0};
  for (int i = 0; i < b->n; i++) vec_push(&out, b->at[i]);
  Maker k = {m, b->span, &out};
  const Binding *bd = result_binding(b);
  const Expr *made = bd ? bd->value : NULL;
  bool known = made && made->kind == EX_Tuple;
  for (int i = 0; i < w->n; i++)
    part[i] = known ? made->Tuple.items[w->at[i]] : mk_proj(&k, b->result, w->at[i]);
  b->result = w->n == 1 ? part[0] : mk_tuple(&k, w->n, part);
  b->n = out.n;
  b->at = out.at;
}

static void shorten_all(const Narrowing *p, Expr *e, const Narrow *w) {
  if (e->kind == EX_If) {
    narrow_result(p->cx->m, e->If.then, w);
    narrow_result(p->cx->m, e->If.otherwise, w);
  }
  for (int i = 0; e->kind == EX_Match && i < e->Match.n_clauses; i++)
    narrow_result(p->cx->m, e->Match.clauses[i].body, w);
  e->type = w->type;
}

void narrow_take(const Narrow *w, Expr *e) {
  int i = 0;
  Atom tuple = e->Proj.tuple;
  tuple.type = w->type;
  while (w->at[i] != e->Proj.index) i++;
  if (w->n > 1) {
    e->Proj.index = i;
    e->Proj.tuple = tuple;
    return;
  }
  *e = (Expr){.kind = EX_Just, .span = e->span, .type = e->type};
  e->Just.value = tuple;
}

static void narrow_block(void *ud, Block *b);
static void narrow_fn(void *ud, Fn *f) { narrow_block(ud, f->body); }
static void narrow_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, narrow_block, narrow_fn};
  Narrowing *p = ud;
  for (int i = 0; i < b->n; i++) {
    Binding *bd = &b->at[i];
    Expr *e = bd->value;
    bool branches = e->kind == EX_If || e->kind == EX_Match;
    Narrow *w = branches ? taken_of(&p->taken, bd) : NULL;
    if (w && pass_may(p->cx)) {
      shorten_all(p, e, w);
      bd->var->type = w->type;
      map_set(&p->narrow, map_ptr(bd->var), w);
      p->changed = true;
    }
    const Narrow *of = e->kind == EX_Proj && e->Proj.tuple.kind == ATOM_Var
                           ? map_get(&p->narrow, map_ptr(e->Proj.tuple.var))
                           : NULL;
    if (of) narrow_take(of, e);
    ir_visit(e, &visit, p);
  }
}

/* Again for branches inside branches; each time there are fewer parts. */
void narrow_global(void *ud, Global *g) {
  Narrowing p;
  do {
    p = (Narrowing){.cx = ud, .taken = taken_in(g->fn)};
    narrow_fn(&p, g->fn);
  } while (p.changed);
}
static void narrow_run(PassCx *cx) { each_global(cx->m, narrow_global, cx); }

const Pass pass_narrow = {.name = "narrow",
                          .doc = "Branches give only what somebody takes of them.",
                          .needs = FORM_TYPED,
                          .keeps = ~0u,
                          .run = narrow_run};
