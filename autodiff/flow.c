/* flow.c -- which functions of a type meet, where all of them as one data type would
 * make one take the derivative of itself.
 *
 *   let %gs = @map(fn (%f) { fn (%x) { grad(%f)(%x).1.0 } }, %fs)
 *
 * The elements of %fs and those of %gs are of one type, but never in one place.  A
 * shape is a type with a class at each function of the type; what flows from place to
 * place makes their shapes one (Steensgaard, Points-to analysis in almost linear time,
 * POPL 1996; Henglein's closure analysis by unification).  The functions of a class
 * become data, those of others in rounds that follow.                             */
#include "autodiff/values.h"

struct Shape {
  Shape *up; /* the one that it became                              */
  int n;     /* parts: parameters and result, items, arguments      */
  Shape **at;
};
struct Flow {
  Map place; /* Var -> Shape                                        */
  Map field; /* Type of a field, as declared -> Shape               */
  Map global;
  Shape *only;
};

/* ---- shapes --------------------------------------------------------------------------- */

static Shape *root(Shape *s) {
  while (s && s->up) s = s->up;
  return s;
}

static void meet(Shape *a, Shape *b) {
  a = root(a), b = root(b);
  if (!a || !b || a == b) return;
  b->up = a;
  for (int i = 0; i < a->n && i < b->n; i++) meet(a->at[i], b->at[i]);
}

/* NULL where it is not known: a function of the class has no parts. */
static Shape *part(Shape *s, int i) {
  s = root(s);
  return s && i >= 0 && i < s->n ? s->at[i] : NULL;
}

static Shape *new_shape(int n) {
  Shape *s = NEW(Shape);
  s->n = n;
  s->at = NEW_N(Shape *, n + 1);
  return s;
}

static Shape *shape_of(const Values *v, Type *t) {
  if (!t || !holds_value(v, t)) return NULL;
  t = type_resolve(t);
  if (is_value(v, t)) return new_shape(0);
  Shape *s = new_shape(n_parts(t));
  for (int i = 0; i < s->n; i++) s->at[i] = shape_of(v, part_type(t, i));
  return s;
}

static Shape *place(const Values *v, const Var *var) {
  Shape *s = map_get(&v->flow->place, map_ptr(var));
  if (!s && (s = shape_of(v, var->type))) map_set(&v->flow->place, map_ptr(var), s);
  return root(s);
}

/* A field, declared as t, of data of this shape: what it says itself is one for all
 * values, what its type's parameters stand for is the value's. */
static Shape *field(const Values *v, const DataDef *def, Type *t, Shape *data) {
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Var && i < def->n_vars; i++)
    if (def->var[i] == t->var) return part(data, i);
  if (!ad_has_vars(t)) {
    Shape *s = map_get(&v->flow->field, map_ptr(t));
    if (!s && (s = shape_of(v, t))) map_set(&v->flow->field, map_ptr(t), s);
    return s;
  }
  Shape *s = new_shape(n_parts(t));
  for (int i = 0; i < s->n; i++) s->at[i] = field(v, def, part_type(t, i), data);
  return s;
}

/* ---- what flows ------------------------------------------------------------------------- */

static Shape *atom_shape(const Values *v, const Atom *a);

/* A function of these parameters and this result. */
static void meet_fn(const Values *v, Shape *s, const Fn *fn) {
  for (int i = 0; i < fn->n; i++) meet(part(s, i), place(v, fn->param[i]));
  meet(part(s, fn->n), atom_shape(v, &fn->body->result));
}

static Shape *global_shape(const Values *v, const Global *g) {
  Shape *s = map_get(&v->flow->global, map_ptr(g));
  if (s || !g->type || !(s = shape_of(v, g->type))) return s;
  map_set(&v->flow->global, map_ptr(g), s);
  meet_fn(v, s, g->fn);
  return s;
}

static Shape *ctor_shape(const Values *v, const Atom *a) {
  Type *t = type_resolve(a->type);
  Shape *s = shape_of(v, t);
  Shape *data = t->kind == TY_Fn ? part(s, t->fn.n) : s;
  for (int i = 0; t->kind == TY_Fn && i < t->fn.n; i++)
    meet(part(s, i), field(v, a->ctor->def, a->ctor->field[i], data));
  return s;
}

static Shape *atom_shape(const Values *v, const Atom *a) {
  if (a->kind == ATOM_Var) return place(v, a->var);
  if (a->kind == ATOM_Global)
    return a->type && is_value(v, a->type) ? NULL : global_shape(v, a->global);
  return a->kind == ATOM_Ctor && a->type ? ctor_shape(v, a) : NULL;
}

static void meet_pattern(const Values *v, const Pattern *p, Shape *s) {
  if (p->kind == PAT_Var) meet(place(v, p->var), s);
  for (int i = 0; i < p->n; i++)
    meet_pattern(v, p->at[i],
                 p->kind == PAT_Ctor ? field(v, p->ctor->def, p->ctor->field[i], s) : part(s, i));
}

/* fn (x, ..) -> (y, ..) or fn (x, .., dx, ..) -> ..: the form's function, as far as it goes. */
static void meet_form(const Values *v, const Expr *e, Shape *r) {
  Shape *f = atom_shape(v, &e->Call.args[0]);
  Type *t = type_resolve(e->Call.args[0].type);
  if (diff_kind(e) == DIFF_Checkpoint) meet(r, f);
  if (t->kind != TY_Fn) return;
  for (int i = 0; i < t->fn.n; i++) meet(part(r, i), part(f, i));
  Shape *both = root(r) ? part(r, root(r)->n - 1) : NULL;
  meet(part(both, 0), part(f, t->fn.n));
}

static void meet_call(const Values *v, const Expr *e, Shape *r) {
  const ExCall *c = &e->Call;
  if (diff_kind(e)) {
    meet_form(v, e, r);
    return;
  }
  Shape *f = atom_shape(v, &c->callee);
  if (c->callee.kind == ATOM_Ctor) {
    const Ctor *k = c->callee.ctor;
    for (int i = 0; i < c->n_args; i++)
      meet(atom_shape(v, &c->args[i]), field(v, k->def, k->field[i], r));
    return;
  }
  for (int i = 0; i < c->n_args; i++) meet(part(f, i), atom_shape(v, &c->args[i]));
  meet(part(f, c->n_args), r);
}

static void flow_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, flow_block, NULL};
  const Values *v = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    Shape *s = place(v, b->at[i].var);
    ir_visit(e, &visit, ud);
    switch (e->kind) {
    case EX_Just: meet(s, atom_shape(v, &e->Just.value)); break;
    case EX_MatchCast: meet(s, atom_shape(v, &e->MatchCast.value)); break;
    case EX_Proj: meet(s, part(atom_shape(v, &e->Proj.tuple), e->Proj.index)); break;
    case EX_Tuple:
      for (int k = 0; k < e->Tuple.n_items; k++)
        meet(part(s, k), atom_shape(v, &e->Tuple.items[k]));
      break;
    case EX_Ref: meet(part(s, 0), atom_shape(v, &e->Ref.value)); break;
    case EX_RefRead: meet(s, part(atom_shape(v, &e->RefRead.ref), 0)); break;
    case EX_RefWrite:
      meet(part(atom_shape(v, &e->RefWrite.ref), 0), atom_shape(v, &e->RefWrite.value));
      break;
    case EX_Fn: meet_fn(v, s, e->Fn.fn); break;
    case EX_If:
      meet(s, atom_shape(v, &e->If.then->result));
      meet(s, atom_shape(v, &e->If.otherwise->result));
      break;
    case EX_Match:
      for (int k = 0; k < e->Match.n_clauses; k++) {
        meet_pattern(v, e->Match.clauses[k].pat, atom_shape(v, &e->Match.scrutinee));
        meet(s, atom_shape(v, &e->Match.clauses[k].body->result));
      }
      break;
    case EX_Call: meet_call(v, e, s); break;
    case EX_COUNT: break;
    }
  }
}

/* ---- a definition as a value is in the class of the place it goes to --------------------- */

typedef struct {
  const Values *v;
  Out o;
} Name;
static void name_block(void *ud, Block *b);
static void name_sub(void *ud, Block *b) {
  Name in = *(Name *)ud;
  name_block(&in, b);
}
static void name_atom(void *ud, Atom *a) {
  Name *n = ud;
  if (a->kind != ATOM_Global || !a->type || !is_value(n->v, a->type)) return;
  Expr *e = ir_just(*a, a->span);
  e->type = a->type;
  Var *var = ir_var(n->v->ad->cx, a->global->name, a->span);
  var->type = a->type;
  bb_push(n->o, var, e, BIND_Let);
  map_set(&n->v->ad->bound, map_ptr(var), e);
  Type *t = a->type;
  *a = atom_var(var, a->span);
  a->type = t;
}
static void name_block(void *ud, Block *b) {
  static const ExprVisit visit = {name_atom, name_sub, NULL};
  Name *n = ud;
  BlockBuilder bb = {0};
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    n->o = &bb;
    if (e->kind != EX_Call && e->kind != EX_Just) ir_visit(e, &visit, n);
    for (int k = 0; e->kind == EX_Call && !diff_kind(e) && k < e->Call.n_args; k++)
      name_atom(n, &e->Call.args[k]);
    bb_push(&bb, b->at[i].var, e, b->at[i].style);
  }
  n->o = &bb;
  name_atom(n, &b->result);
  b->n = bb.b.n;
  b->at = bb.b.at;
}

/* ---- is one the derivative of itself? ----------------------------------------------------- */

typedef struct {
  const Values *v;
  Map seen;
  VEC(const Atom *) form;
  bool unknown;
} Walk;
static void walk_block(void *ud, Block *b);
static void walk_fn(Walk *w, const Fn *fn) {
  if (map_get(&w->seen, map_ptr(fn))) return;
  map_set(&w->seen, map_ptr(fn), w);
  walk_block(w, fn->body);
}
static void walk_atom(void *ud, Atom *a) {
  Walk *w = ud;
  if (a->kind == ATOM_Global) walk_fn(w, a->global->fn);
  const Expr *e = a->kind == ATOM_Var ? map_get(&w->v->ad->bound, map_ptr(a->var)) : NULL;
  if (e && e->kind == EX_Fn) walk_fn(w, e->Fn.fn);
}
static void walk_block(void *ud, Block *b) {
  static const ExprVisit visit = {walk_atom, walk_block, NULL};
  Walk *w = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    DiffKind k = diff_kind(e);
    if (k && k != DIFF_Checkpoint) vec_push(&w->form, (const Atom *)&e->Call.args[0]);
    w->unknown |= e->kind == EX_Call && !k && is_unknown(w->v, &w->v->ad->bound, &e->Call.callee);
    ir_visit(e, &visit, ud);
  }
  walk_atom(ud, &b->result);
}

static bool own_derivative(const Values *v) {
  Walk all = {.v = v};
  for (int i = 0; i < v->intro.n; i++) {
    const Intro *k = v->intro.at[i];
    if (k->global) walk_fn(&all, k->global->fn);
    if (k->e && k->e->kind == EX_Fn) walk_fn(&all, k->e->Fn.fn);
  }
  for (int i = 0; i < all.form.n; i++) {
    Walk one = {.v = v};
    walk_atom(&one, (Atom *)(uintptr_t)all.form.at[i]);
    if (one.unknown) return true;
  }
  return false;
}

/* ---- the class -------- */

/* Of the first call of such a function that is not known. */
typedef struct {
  const Values *v, all; /* all: of the type                                  */
  Shape *found;
} Pick;
static void pick_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, pick_block, NULL};
  Pick *p = ud;
  for (int i = 0; i < b->n && !p->found; i++) {
    Expr *e = b->at[i].value;
    if (e->kind == EX_Call && !diff_kind(e) &&
        is_unknown(&p->all, &p->v->ad->bound, &e->Call.callee))
      p->found = place(p->v, e->Call.callee.var);
    ir_visit(e, &visit, ud);
  }
}

bool flow_classes(Values *v) {
  Module *m = v->ad->m;
  if (!own_derivative(v)) return false;
  const Values all = *v;
  Name n = {v, NULL};
  for (int i = 0; i < m->globals.n; i++) name_block(&n, m->globals.at[i]->fn->body);
  v->flow = NEW(Flow);
  for (int i = 0; i < m->globals.n; i++) {
    global_shape(v, m->globals.at[i]);
    flow_block(v, m->globals.at[i]->fn->body);
  }
  Pick p = {v, all, NULL};
  for (int i = 0; i < m->globals.n && !p.found; i++) pick_block(&p, m->globals.at[i]->fn->body);
  v->flow->only = p.found;
  return true;
}

bool flow_has(const Values *v, const Var *var) {
  return !v->flow || place(v, var) == root(v->flow->only);
}

void flow_copy(const Values *v, const Var *from, const Var *to) {
  Shape *s = v->flow ? place(v, from) : NULL;
  if (s) map_set(&v->flow->place, map_ptr(to), s);
}

/* ---- types with data in place of the functions of the class --------------------------------- */

static Type *type_at(const Values *v, Type *t, Shape *s) {
  t = type_resolve(t);
  s = root(s);
  if (!s || !holds_value(v, t)) return t;
  if (is_value(v, t)) return s == root(v->flow->only) ? type_data(v->def, 0, NULL) : t;
  int n = n_parts(t);
  Type **at = NEW_N(Type *, n + 1);
  for (int i = 0; i < n; i++) at[i] = type_at(v, part_type(t, i), part(s, i));
  return with_parts(t, at);
}

Type *values_type_of(const Values *v, Type *t, const Var *var) {
  return t && v->flow ? type_at(v, t, place(v, var)) : values_type(v, t);
}
Type *values_type_as(const Values *v, Type *t, const Atom *a) {
  return t && v->flow ? type_at(v, t, atom_shape(v, a)) : values_type(v, t);
}
Type *values_type_field(const Values *v, Type *t) {
  if (!v->flow) return values_type(v, t);
  t = type_resolve(t);
  if (!holds_value(v, t)) return t;
  if (!ad_has_vars(t)) return type_at(v, t, map_get(&v->flow->field, map_ptr(t)));
  int n = n_parts(t);
  Type **at = NEW_N(Type *, n + 1);
  for (int i = 0; i < n; i++) at[i] = values_type_field(v, part_type(t, i));
  return with_parts(t, at);
}
