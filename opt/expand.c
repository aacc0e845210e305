/* expand.c -- one call of a known function: its quantifiers become what the
 * call says, its parameters bindings, its body a copy.
 *
 * A dim of the callee is the extent of the argument's axis it stands for, if it
 * is a parameter's axis; else what inference instantiated it with; else a new
 * symbol, read where the body first meets it.  The checks made on entry (two
 * axes of one name, a declared extent) become obligations of the bindings.    */
#include "opt/expand.h"

typedef struct {
  IrCtx *cx;
  const Callee *c;
  const Expr *call;
  Retype r;
  Map quantified; /* dims of functions inside: theirs                      */
  bool checked;   /* the copy makes run-time checks                        */
  Bindings *out;
} Expand;

/* ---- what the callee's dims are ---- */

static bool is_own(const Expand *x, Dim s) {
  if (map_get(&x->quantified, map_ptr(s))) return false;
  for (int i = 0; i < x->c->fn->n_dims; i++)
    if (x->c->fn->dim[i] == s) return true;
  return !x->c->own || x->c->own(x->c->ud, s);
}

static void solve_type(Expand *x, Type *p, Type *a) {
  p = type_resolve(p);
  a = type_resolve(a);
  if (p->kind == TY_Tuple && a->kind == TY_Tuple)
    for (int i = 0; i < p->tuple.n && i < a->tuple.n; i++)
      solve_type(x, p->tuple.at[i], a->tuple.at[i]);
  if (p->kind != TY_Tensor || a->kind != TY_Tensor) return;
  for (int i = 0; i < p->tensor.rank && i < a->tensor.rank; i++) {
    Dim d = p->tensor.dim[i], is = a->tensor.dim[i];
    if (d->kind != DIM_Sym || dim_has_any(is) || !is_own(x, d)) continue;
    if (!map_get(&x->r.dim, map_ptr(d))) map_set(&x->r.dim, map_ptr(d), (void *)(uintptr_t)is);
  }
}

static Type *type_of_atom(const Atom *a) {
  return a->kind == ATOM_Var && a->var->type ? a->var->type : a->type;
}

static bool solve(Expand *x) {
  const Fn *f = x->c->fn;
  const TypeArgs *in = x->call->Call.inst;
  if (f->n_vars > (in ? in->n_types : 0)) return false;
  for (int i = 0; i < f->n_vars; i++) map_set(&x->r.type, map_ptr(f->var[i]), in->type[i]);
  for (int i = 0; i < f->n; i++) {
    Type *t = type_of_atom(&x->call->Call.args[i]);
    if (!t || !f->param[i]->type) return false;
    solve_type(x, f->param[i]->type, t);
  }
  for (int i = 0; i < f->n_dims; i++) {
    uint64_t at = map_ptr(f->dim[i]);
    if (map_get(&x->r.dim, at)) continue;
    Dim d = in && i < in->n_dims ? in->dim[i] : NULL;
    if (!d || dim_has_any(d)) d = dim_new_sym(x->cx->dims, NULL, 0);
    map_set(&x->r.dim, at, (void *)(uintptr_t)d);
  }
  return true;
}

static Dim fresh(void *ud, Dim s) {
  Expand *x = ud;
  return is_own(x, s) ? dim_new_sym(x->cx->dims, s->name, s->level) : NULL;
}

/* ---- can its checks be said? ---- */

static void nameless(void *ud, Dim s) {
  if (!s->name) *(bool *)ud = true;
}
static bool has_nameless(Dim d) {
  bool yes = false;
  dim_visit_syms(d, nameless, &yes);
  return yes;
}

/* Looks for checks of its own and for functions that quantify. */
static void scan_block(void *ud, Block *b);
static void scan_fn(void *ud, Fn *f) {
  Expand *x = ud;
  for (int i = 0; i < f->n_dims; i++) map_set(&x->quantified, map_ptr(f->dim[i]), x);
  scan_block(ud, f->body);
}
static void scan_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, scan_block, scan_fn};
  Expand *x = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    bool op = e->kind == EX_Call && e->Call.callee.kind == ATOM_Op;
    Type *t = b->at[i].var->type ? type_resolve(b->at[i].var->type) : NULL;
    if ((e->n_oblige && !op) || e->kind == EX_MatchCast) x->checked = true;
    for (int k = 0; t && t->kind == TY_Fn && k < t->fn.n_dims; k++)
      map_set(&x->quantified, map_ptr(t->fn.dim[k]), x);
    ir_visit(e, &visit, ud);
  }
}

static bool checks_can_be_said(Expand *x) {
  for (int i = 0; x->checked && i < x->c->fn->n_dims; i++) {
    Dim d = map_get(&x->r.dim, map_ptr(x->c->fn->dim[i]));
    if (d && has_nameless(d)) return false;
  }
  return true;
}

/* ---- parameters ---- */

/* want: the parameter's type for this call, from: as the function has it. */
static bool check_type(Expand *x, Expr *e, const char *path, Type *from, Type *want, Type *have) {
  from = type_resolve(from);
  want = type_resolve(want);
  have = type_resolve(have);
  if (want->kind == TY_Tuple && have->kind == TY_Tuple && from->kind == TY_Tuple)
    for (int i = 0; i < want->tuple.n; i++)
      if (!check_type(x, e, str_fmt("%s.%d", path, i), from->tuple.at[i], want->tuple.at[i],
                      have->tuple.at[i]))
        return false;
  if (want->kind != TY_Tensor || have->kind != TY_Tensor || from->kind != TY_Tensor) return true;
  for (int i = 0; i < want->tensor.rank; i++) {
    Dim w = want->tensor.dim[i], h = have->tensor.dim[i], f = from->tensor.dim[i];
    if (dim_equal(w, h) || dim_has_any(w) || dim_has_any(h)) continue;
    if (has_nameless(w)) return false;
    StrBuf name = {0};
    dim_print(f, &name);
    const char *is = f->kind == DIM_Const ? "its declared extent" : buf_text(&name);
    Oblige *to = NEW_N(Oblige, e->n_oblige + 1);
    for (int k = 0; k < e->n_oblige; k++) to[k] = e->oblige[k];
    to[e->n_oblige++] =
        (Oblige){OBLIGE_Equal, h, w,
                 str_fmt("parameter %%%s of @%s: axis %d and %s", path, x->c->name, i, is)};
    e->oblige = to;
  }
  return true;
}

/* Extents inside a tuple can be read only from its fields. */
static void read_fields(Expand *x, const Atom *a, Type *t) {
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++) {
    Type *field = type_resolve(t->tuple.at[i]);
    if (field->kind != TY_Tensor && field->kind != TY_Tuple) continue;
    Expr *e = ir_expr(EX_Proj, x->call->span);
    e->Proj.tuple = *a;
    e->Proj.index = i;
    Var *v = ir_var(x->cx, NULL, e->span);
    e->type = v->type = field;
    vec_push(x->out, ((Binding){v, e, BIND_Graph}));
    Atom inner = atom_var(v, e->span);
    read_fields(x, &inner, field);
  }
}

static bool bind_param(Expand *x, Map *vars, int i) {
  Var *p = x->c->fn->param[i];
  const Atom *arg = &x->call->Call.args[i];
  Var *v = ir_var(x->cx, p->name, p->span);
  Type *have = type_of_atom(arg);
  v->type = retyped(&x->r, p->type);
  Binding b = bind_copy(v, *arg, BIND_Let, x->c->fn->span);
  if (!check_type(x, b.value, p->name ? p->name : "_", p->type, v->type, have)) return false;
  if (b.value->n_oblige) v->annot = v->type;
  Type *t = type_resolve(have);
  bool as_is = t->kind == TY_Tensor || type_resolve(p->type)->kind == TY_Var;
  if (!b.value->n_oblige && as_is) b.value->type = v->type = t;
  if (t->kind == TY_Tuple) read_fields(x, arg, t);
  vec_push(x->out, b);
  map_set(vars, map_ptr(p), v);
  return true;
}

/* The check of a result says in the text what it checks. */
static void name_checks(Block *b) {
  for (int i = 0; i < b->n; i++) {
    Binding *bd = &b->at[i];
    if (bd->value->kind != EX_Just || !bd->value->n_oblige) continue;
    bd->style = BIND_Let;
    if (!bd->var->annot) bd->var->annot = bd->var->type;
  }
}

bool expand_call(IrCtx *cx, const Callee *c, const Expr *call, Bindings *params, Block **body) {
  Expand x = {.cx = cx, .c = c, .call = call, .out = params};
  Map vars = {0};
  x.r = (Retype){.cx = cx};
  if (call->n_oblige || call->Call.n_args != c->fn->n) return false;
  scan_block(&x, c->fn->body);
  if (!solve(&x) || !checks_can_be_said(&x)) return false;
  x.r.other = fresh;
  x.r.ud = &x;
  for (int i = 0; i < c->fn->n; i++)
    if (!bind_param(&x, &vars, i)) return false;
  *body = ir_clone_block(cx, c->fn->body, &vars);
  retype_block(&x.r, *body);
  name_checks(*body);
  return true;
}
