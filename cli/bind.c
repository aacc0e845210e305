/* bind.c -- weights as constants: what the optimiser can fold and an engine
 * can pack once, when the program is loaded.                                  */
#include "cli/bind.h"
#include "base/map.h"

typedef struct {
  Dim sym;
  int64_t value;
} Known;
typedef struct {
  IrCtx *cx;
  Map at; /* hash of a tensor's name -> its place in sets, from 1 */
  const TensorSet *sets;
  VEC(Known) known;  /* extents read off the tensors          */
  BlockBuilder made; /* the parameter that is being bound     */
  Span span;
} Bind;

/* ---- tensors by name ----------------------------------------------------------- */
static uint64_t text_hash(const char *s) { return hash_bytes(s, strlen(s), 0); }
static void enter_names(Bind *b) {
  for (int i = 0; i < b->sets->n; i++) {
    uint64_t h = text_hash(b->sets->at[i].name);
    while (map_get(&b->at, h)) h = hash_mix(h, 1);
    map_set(&b->at, h, (void *)(intptr_t)(i + 1));
  }
}
static const Tensor *tensor_at(Bind *b, const char *path) {
  const Tensor *found = NULL; /* the last of a name counts */
  uint64_t h = text_hash(path);
  for (void *at; (at = map_get(&b->at, h)) != NULL; h = hash_mix(h, 1)) {
    const NamedTensor *t = &b->sets->at[(intptr_t)at - 1];
    if (!strcmp(t->name, path)) found = t->value;
  }
  return found;
}
static bool any_below(Bind *b, const char *path) {
  size_t n = strlen(path);
  for (int i = 0; i < b->sets->n; i++) {
    const char *name = b->sets->at[i].name;
    if (!strncmp(name, path, n) && (!name[n] || name[n] == '.')) return true;
  }
  return false;
}

/* ---- extents -------------------------------------------------------------------- */
static Dim as_known(void *ud, Dim sym) {
  Bind *b = ud;
  for (int i = 0; i < b->known.n; i++)
    if (b->known.at[i].sym == sym) return dim_const(b->cx->dims, b->known.at[i].value);
  return NULL;
}

static bool extent_fits(Bind *b, Dim d, int64_t value) {
  int64_t is;
  d = dim_subst(b->cx->dims, d, as_known, b);
  if (dim_is_const(d, &is)) return is == value;
  if (d->kind == DIM_Sym) vec_push(&b->known, ((Known){d, value}));
  return d->kind == DIM_Sym || d->kind == DIM_Any;
}

static bool tensor_fits(Bind *b, const Type *t, const Tensor *x) {
  if (x->dtype != t->tensor.dtype || x->rank != t->tensor.rank) return false;
  for (int i = 0; i < x->rank; i++)
    if (!extent_fits(b, t->tensor.dim[i], x->dim[i])) return false;
  return true;
}

/* ---- values ---------------------------------------------------------------------- */
static bool value(Bind *b, Type *t, const char *path, Atom *out);

static const char *below(const char *path, int i) { return str_fmt("%s.%d", path, i); }

static bool tuple_value(Bind *b, Type *t, const char *path, Atom *out) {
  Expr *e = ir_expr(EX_Tuple, b->span);
  e->Tuple.n_items = t->tuple.n;
  e->Tuple.items = NEW_N(Atom, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++)
    if (!value(b, t->tuple.at[i], below(path, i), &e->Tuple.items[i])) return false;
  *out = bb_bind(b->cx, &b->made, e, NULL, BIND_Let);
  return true;
}

static Atom ctor_value(Bind *b, Ctor *c, Atom *field) {
  Atom a = {.kind = ATOM_Ctor, .span = b->span, .ctor = c};
  if (c->n == 0) return a;
  Expr *e = ir_expr(EX_Call, b->span);
  e->Call.callee = a;
  e->Call.n_args = c->n;
  e->Call.args = field;
  return bb_bind(b->cx, &b->made, e, NULL, BIND_Let);
}

static Type *argument(void *ud, TyVar *v) {
  const Type *t = ud;
  for (int i = 0; i < t->data.n; i++)
    if (t->data.def->var[i] == v) return t->data.arg[i];
  return NULL;
}

static const char *field_path(Bind *b, const Ctor *c, const char *path, int i) {
  if (!c->field_name || !c->field_name[i]) return below(path, i);
  const char *name = str_fmt("%s.%s", path, c->field_name[i]);
  return any_below(b, name) || !any_below(b, below(path, i)) ? name : below(path, i);
}

static bool record_value(Bind *b, Type *t, const char *path, Atom *out) {
  Ctor *c = t->data.def->ctor[0];
  Atom *field = NEW_N(Atom, c->n + 1);
  for (int i = 0; i < c->n; i++) {
    Type *ft = type_subst(b->cx->dims, c->field[i], argument, NULL, t);
    if (!value(b, ft, field_path(b, c, path, i), &field[i])) return false;
  }
  *out = ctor_value(b, c, field);
  return true;
}

static bool list_value(Bind *b, Type *t, const char *path, Atom *out) {
  DataDef *d = t->data.def;
  int nil = d->ctor[0]->n ? 1 : 0;
  VEC(Atom) elem = {0};
  for (Atom a; any_below(b, below(path, elem.n)); vec_push(&elem, a))
    if (!value(b, t->data.arg[0], below(path, elem.n), &a)) return false;
  if (elem.n == 0) return false;
  *out = ctor_value(b, d->ctor[nil], NULL);
  for (int i = elem.n - 1; i >= 0; i--) {
    Atom *field = NEW_N(Atom, 2);
    field[0] = elem.at[i];
    field[1] = *out;
    *out = ctor_value(b, d->ctor[1 - nil], field);
  }
  return true;
}

static bool is_list(const DataDef *d) {
  return d->library && !strcmp(d->name, "List") && d->n_ctors == 2;
}

/* The value of type t below path; recursion follows the type's nesting, and a
 * record inside itself has no finite weights: the names end first. */
static bool value(Bind *b, Type *t, const char *path, Atom *out) {
  const Tensor *x = tensor_at(b, path);
  t = type_resolve(t);
  if (t->kind == TY_Tensor) {
    if (!x || !tensor_fits(b, t, x)) return false;
    *out = atom_const(x, b->span);
    return true;
  }
  if (x) return false; /* a tensor split into a list is an input */
  if (t->kind == TY_Tuple) return tuple_value(b, t, path, out);
  if (t->kind != TY_Data) return false;
  if (is_list(t->data.def)) return list_value(b, t, path, out);
  if (t->data.def->n_ctors != 1 || (t->data.def->ctor[0]->n && !any_below(b, path))) return false;
  return record_value(b, t, path, out);
}

/* ---- the function ------------------------------------------------------------------ */
static void known_type(Bind *b, Type **t) {
  if (*t) *t = type_subst(b->cx->dims, *t, NULL, as_known, b);
}
static void known_pattern(Bind *b, Pattern *p) {
  if (p->var) known_type(b, &p->var->annot);
  for (int i = 0; i < p->n; i++) known_pattern(b, p->at[i]);
}
static void known_block(void *ud, Block *body);
static void known_fn(void *ud, Fn *f) {
  for (int i = 0; i < f->n; i++) known_type(ud, &f->param[i]->annot);
  known_type(ud, &f->ret);
  known_block(ud, f->body);
}
static void known_block(void *ud, Block *body) {
  for (int i = 0; i < body->n; i++) {
    Expr *e = body->at[i].value;
    known_type(ud, &body->at[i].var->annot);
    if (e->kind == EX_MatchCast) known_type(ud, &e->MatchCast.to);
    if (e->kind == EX_Match)
      for (int k = 0; k < e->Match.n_clauses; k++) known_pattern(ud, e->Match.clauses[k].pat);
    ir_visit(e, &(ExprVisit){NULL, known_block, known_fn}, ud);
  }
}

static void drop_dims(Bind *b, Fn *fn) {
  int n = 0;
  for (int i = 0; i < fn->n_dims; i++)
    if (!as_known(b, fn->dim[i])) fn->dim[n++] = fn->dim[i];
  fn->n_dims = n;
}

/* One parameter; the builder and the extents are as before when it stays. */
static bool bind_one(Bind *b, Var *v, BlockBuilder *body) {
  int n_known = b->known.n;
  Atom a;
  b->made = (BlockBuilder){0};
  b->span = v->span;
  if (!v->annot || !value(b, v->annot, v->name, &a)) {
    b->known.n = n_known;
    return false;
  }
  for (int i = 0; i < b->made.b.n; i++) vec_push(&body->b, b->made.b.at[i]);
  v->annot = NULL; /* its type says less than the value */
  bb_push(body, v, ir_just(a, v->span), BIND_Let);
  return true;
}

int bind_weights(Module *m, Fn *fn, const TensorSet *sets, bool (*stays)(void *ud, Sym name),
                 void *ud) {
  Bind b = {.cx = m->cx, .sets = sets};
  BlockBuilder body = {0};
  int n = 0, before = fn->n;
  enter_names(&b);
  for (int i = 0; i < before; i++) {
    Var *v = fn->param[i];
    if (!v->name || stays(ud, v->name) || !bind_one(&b, v, &body)) fn->param[n++] = v;
  }
  fn->n = n;
  for (int i = 0; i < fn->body->n; i++) vec_push(&body.b, fn->body->at[i]);
  fn->body->at = body.b.at;
  fn->body->n = body.b.n;
  if (b.known.n) {
    known_fn(&b, fn);
    drop_dims(&b, fn);
  }
  return before - n;
}
