/* build.c -- new typed code.                                                  */
#include "opt/build.h"
#include "opt/retype.h"

Type *atom_type_of(const Atom *a) {
  return a->kind == ATOM_Var && a->var->type ? a->var->type : a->type;
}

Var *mk_var(const Maker *k, const char *name, Type *t) {
  Var *v = ir_var(k->m->cx, name ? sym(k->m->cx->syms, name) : NULL, k->span);
  v->type = t;
  return v;
}

Atom mk_bind(Maker *k, Expr *e, Type *t) {
  Var *v = mk_var(k, NULL, t);
  e->type = t;
  vec_push(k->out, ((Binding){v, e, BIND_Graph}));
  return atom_var(v, k->span);
}

static Atom *copy_atoms(int n, const Atom *at) {
  Atom *to = NEW_N(Atom, n + 1);
  for (int i = 0; i < n; i++) to[i] = at[i];
  return to;
}

static Expr *call(Maker *k, Atom callee, Type *ret, int n, const Atom *args) {
  Expr *e = ir_expr(EX_Call, k->span);
  Type **param = NEW_N(Type *, n + 1);
  for (int i = 0; i < n; i++) param[i] = atom_type_of(&args[i]);
  callee.type = type_fn(0, NULL, 0, NULL, n, param, ret);
  e->Call.callee = callee;
  e->Call.n_args = n;
  e->Call.args = copy_atoms(n, args);
  return e;
}

Atom mk_op_with(Maker *k, const char *op, Type *t, int n, const Atom *args, Attrs attrs) {
  const OpDef *def = irctx_op(k->m->cx, sym(k->m->cx->syms, op));
  Expr *e = call(k, atom_op(def, k->span), t, n, args);
  e->Call.attrs = attrs;
  e->Call.op_attrs = opattrs_bind(def, &attrs, k->span, diags_new(k->m->sources));
  return mk_bind(k, e, t);
}

Atom mk_op(Maker *k, const char *op, Type *t, int n, const Atom *args, const IntAttr *attrs) {
  VEC(Attr) list = {0};
  for (; attrs && attrs->name; attrs++) {
    Attr a = {.name = sym(k->m->cx->syms, attrs->name), .span = k->span};
    a.val = (AttrVal){.kind = AV_Int, .bits = 32, .i = attrs->value};
    vec_push(&list, a);
  }
  return mk_op_with(k, op, t, n, args, (Attrs){list.n, list.at});
}

Atom mk_op_ints(Maker *k, const char *op, Type *t, Atom x, const char *attr, int n,
                const int64_t *v) {
  AttrVal *at = NEW_N(AttrVal, n);
  for (int i = 0; i < n; i++) at[i] = (AttrVal){.kind = AV_Int, .bits = 32, .i = v[i]};
  Attr *list = NEW(Attr);
  *list = (Attr){.name = sym(k->m->cx->syms, attr), .span = k->span};
  list->val = (AttrVal){.kind = AV_List, .n = n, .at = at};
  return mk_op_with(k, op, t, 1, &x, (Attrs){1, list});
}

Atom mk_op_like(Maker *k, const Expr *like, Type *t, int n, const Atom *args) {
  Expr *e = call(k, like->Call.callee, t, n, args);
  e->span = like->span;
  e->Call.attrs = like->Call.attrs;
  e->Call.op_attrs = like->Call.op_attrs;
  return mk_bind(k, e, t);
}

Atom mk_tuple(Maker *k, int n, const Atom *items) {
  Expr *e = ir_expr(EX_Tuple, k->span);
  Type **at = NEW_N(Type *, n + 1);
  for (int i = 0; i < n; i++) at[i] = atom_type_of(&items[i]);
  e->Tuple.n_items = n;
  e->Tuple.items = copy_atoms(n, items);
  return mk_bind(k, e, type_tuple(n, at));
}

Atom mk_proj(Maker *k, Atom tuple, int i) {
  Expr *e = ir_expr(EX_Proj, k->span);
  e->Proj.tuple = tuple;
  e->Proj.index = i;
  return mk_bind(k, e, type_resolve(atom_type_of(&tuple))->tuple.at[i]);
}

Atom mk_ctor(Maker *k, Ctor *c, Type *data, int n, const Atom *args) {
  Atom callee = {.kind = ATOM_Ctor, .span = k->span, .ctor = c};
  Expr *e = call(k, callee, data, n, args);
  if (c->def->n_vars) {
    e->Call.inst = NEW(TypeArgs);
    *e->Call.inst = (TypeArgs){.n_types = data->data.n, .type = data->data.arg};
  }
  return mk_bind(k, e, data);
}

Atom mk_call(Maker *k, Global *g, const TypeArgs *in, Type *ret, int n, const Atom *args) {
  Expr *e = call(k, atom_global(g, k->span), ret, n, args);
  if (in) {
    e->Call.inst = NEW(TypeArgs);
    *e->Call.inst = *in;
  }
  return mk_bind(k, e, ret);
}

Atom mk_int(Maker *k, int32_t v) {
  Atom a = atom_const(tensor_scalar_int(DT_i32, v), k->span);
  a.type = type_scalar(DT_i32);
  return a;
}

Block *mk_block(Maker *k, Atom result) {
  Block *b = NEW(Block);
  *b = (Block){.n = k->out->n, .at = k->out->at, .result = result, .span = k->span};
  return b;
}

Atom mk_if(Maker *k, Atom cond, Type *t, Block *then, Block *otherwise) {
  Expr *e = ir_expr(EX_If, k->span);
  e->If.cond = cond;
  e->If.then = then;
  e->If.otherwise = otherwise;
  return mk_bind(k, e, t);
}

void mk_enter(Module *m, Global *g, const char *base, const char *suffix) {
  if (suffix) base = str_fmt("%s_%s", base, suffix);
  const char *name = base;
  for (int i = 2; module_find(m, name); i++) name = str_fmt("%s%s%d", base, suffix ? "" : "_", i);
  g->name = sym(m->cx->syms, name);
  g->library = true; /* nothing outside may ask for it */
  g->index = m->globals.n;
  vec_push(&m->globals, g);
  map_set(&m->global_by_name, map_ptr(g->name), g);
}

Global *mk_global(Module *m, const char *base, const char *suffix, Fn *fn, Type *type, Span span) {
  Global *g = NEW(Global);
  *g = (Global){.span = span, .fn = fn, .type = type};
  mk_enter(m, g, base, suffix);
  return g;
}

Type *fn_type_of(const Fn *f) {
  Type **param = NEW_N(Type *, f->n + 1);
  for (int i = 0; i < f->n; i++) param[i] = f->param[i]->type;
  return type_fn(f->n_vars, f->var, f->n_dims, f->dim, f->n, param, f->ret);
}

void fn_own_dims(Module *m, Fn *f) {
  Retype r = {.cx = m->cx};
  Dim *dim = NEW_N(Dim, f->n_dims + 1);
  for (int i = 0; i < f->n_dims; i++) {
    dim[i] = dim_new_sym(m->cx->dims, f->dim[i]->name, f->dim[i]->level);
    map_set(&r.dim, map_ptr(f->dim[i]), (void *)(uintptr_t)dim[i]);
  }
  retype_fn(&r, f);
  f->dim = dim;
}

/* The axes of the parameters and of tensors in their tuples: those can have a name. */
static void bound_axes(Map *have, Type *t) {
  t = type_resolve(t);
  type_axes(have, t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++) bound_axes(have, t->tuple.at[i]);
}

void fn_take_dims(Module *m, Fn *f, int n, const Dim *outer) {
  Retype r = {.cx = m->cx};
  Map bound = {0};
  Dim *dim = NEW_N(Dim, f->n_dims + n + 1);
  for (int i = 0; i < f->n; i++) bound_axes(&bound, f->param[i]->type);
  for (int i = 0; i < f->n_dims; i++) dim[i] = f->dim[i];
  for (int i = 0; i < n; i++) {
    bool has_name = map_get(&bound, map_ptr(outer[i])) != NULL;
    if (!has_name && outer[i]->name) m->derived = m->trusting = true;
    dim[f->n_dims + i] = dim_new_sym(m->cx->dims, has_name ? outer[i]->name : NULL, 1);
    map_set(&r.dim, map_ptr(outer[i]), (void *)(uintptr_t)dim[f->n_dims + i]);
  }
  f->dim = dim;
  f->n_dims += n;
  retype_fn(&r, f);
}
