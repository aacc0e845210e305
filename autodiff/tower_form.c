/* tower_form.c -- what forms of raised functions are.
 *
 *   grad(f)   fn (l, x) {
 *     let y = f(l + 1, Level(l + 1, x, Ground(1)));
 *     (y below l + 1, y along l + 1)
 *   }
 *
 * and for more than one number, f once for each number of the operands.       */
#include "autodiff/tower.h"
#include "autodiff/versions.h"

static Type *number_type(Tower *tw) {
  return type_data(tw->def, 1, (Type *[]){type_scalar(DT_f64)});
}

/* ---- sums over results ------------------------------------------------------------------- */

static Atom zero_number(Tower *tw, Out o) {
  return tower_ground(tw, o, ad_scalar(tw->ad, DT_f64, 0));
}
static Atom plus(Tower *tw, Out o, bool *some, Atom sum, Atom a) {
  Atom r = *some ? tower_linear(tw, o, OF_Plus, type_scalar(DT_f64), sum, a) : a;
  *some = true;
  return r;
}

/* The sum of the floats of a raised T, all of them, or times those of dy. */
static Atom total(Tower *tw, Out o, Type *t, Atom x, const Atom *dy);
/* The gradient of run, fn (raised T) -> Tower[float64], at x, whose floats get that level:
 * a raised T'. */
static Atom collect(Tower *tw, Out o, Type *t, Atom x, Atom run, Atom level);

static Atom total_parts(Tower *tw, Out o, int n, Type *const *type, const Atom *x, const Atom *dy) {
  Atom sum = {0};
  bool some = false;
  for (int i = 0; i < n; i++)
    if (ad_has_tan(tw->ad, type[i]))
      sum = plus(tw, o, &some, sum, total(tw, o, type[i], x[i], dy ? &dy[i] : NULL));
  return some ? sum : zero_number(tw, o);
}

static Atom total_fields(Tower *tw, Out o, Type *t, const Ctor *ctor, Var *const *x,
                         Var *const *y) {
  AD *ad = tw->ad;
  Type **type = NEW_N(Type *, ctor->n + 1);
  Atom *at = NEW_N(Atom, ctor->n + 1), *dy = NEW_N(Atom, ctor->n + 1);
  for (int i = 0; i < ctor->n; i++) {
    type[i] = ad_field(ad, t, ctor, i);
    if (ad_is_function(type[i])) type[i] = type_tuple(0, NULL);
    at[i] = var_atom(ad, x[i]);
    if (y) dy[i] = var_atom(ad, y[i]);
  }
  return total_parts(tw, o, ctor->n, type, at, y ? dy : NULL);
}

/* C(x, ..) => sums; with dy: => match? (dy) { C(y, ..) => sums } */
static void total_case(Tower *tw, Cases *c, Type *t, const Ctor *ctor, const Atom *dy) {
  AD *ad = tw->ad;
  Ctor *raised = tower_ctor(tw, ctor);
  Var **x = NEW_N(Var *, ctor->n + 1), **y = NEW_N(Var *, ctor->n + 1);
  Pattern *p = pattern_of(ad, raised, x), *q = dy ? pattern_of(ad, raised, y) : NULL;
  BlockBuilder outer = {0}, bb = {0};
  Atom sum = total_fields(tw, &bb, t, ctor, x, dy ? y : NULL);
  if (!dy) {
    add_case(ad, c, p, &bb, sum);
    return;
  }
  Cases in = cases_of(ad, *dy);
  in.e->Match.partial = true;
  add_case(ad, &in, q, &bb, sum);
  add_case(ad, c, p, &outer, end_cases(ad, &outer, &in));
}

static Global *total_of(Tower *tw, Type *t, bool times) {
  AD *ad = tw->ad;
  t = nameless(ad, t);
  Sym key = ad_key(ad, times ? "dot data" : "total data", t);
  const char *name = str_fmt("%s_%s", times ? "dot" : "total", t->data.def->name);
  Global *g;
  if (!ad_define(ad, &tw->helper, key, name, times ? 2 : 1, &g)) return g;
  Type *raised = tower_type(tw, t);
  Atom x = ad_param(ad, g, 0, "x", raised), dy = {0};
  if (times) dy = ad_param(ad, g, 1, "dy", raised);
  g->fn->ret = number_type(tw);
  DefPath path;
  if (!ad_enter(ad, t->data.def, &path)) return g;
  Cases c = cases_of(ad, x);
  for (int k = 0; k < t->data.def->n_ctors; k++)
    total_case(tw, &c, t, t->data.def->ctor[k], times ? &dy : NULL);
  g->fn->body = cases_block(ad, &c);
  ad_leave(ad);
  return g;
}

static Atom total(Tower *tw, Out o, Type *t, Atom x, const Atom *dy) {
  AD *ad = tw->ad;
  t = type_resolve(t);
  if (!ad_has_tan(ad, t) || ad_is_function(t)) return zero_number(tw, o);
  if (t->kind == TY_Tensor) return tower_linear(tw, o, dy ? OF_Dot : OF_Total, t, x, dy ? *dy : x);
  if (t->kind == TY_Data) {
    Atom arg[] = {x, dy ? *dy : x};
    return em_call(ad, o, atom_global(total_of(tw, t, dy != NULL), ad->span), dy ? 2 : 1, arg);
  }
  Atom *at = NEW_N(Atom, t->tuple.n + 1), *d = NEW_N(Atom, t->tuple.n + 1);
  for (int i = 0; i < t->tuple.n; i++) {
    at[i] = em_proj(ad, o, x, i);
    if (dy) d[i] = em_proj(ad, o, *dy, i);
  }
  return total_parts(tw, o, t->tuple.n, t->tuple.at, at, dy ? d : NULL);
}

/* ---- gradients: a run for each number ------------------------------------------------------- */

/* The tensor with one at flat place i and else zeros, like the value v. */
static Atom one_at(Tower *tw, Out o, Type *t, Atom v, Atom i) {
  GradCx g = em_text(tw->ad, o);
  if (!t->tensor.rank) return gr_const(&g, 1, t->tensor.dtype);
  Atom n = gr(&g, "ndarray_size(%a, dtype=\"int64\")", v);
  Atom line = gr(&g, "arange(%a, %a, %a, dtype=\"int64\")", gr_int(&g, 0), n, gr_int(&g, 1));
  return gr(&g, "reshape_like(cast(equal(%a, %a), dtype=%s), %a)", line, i,
            dtype_name(t->tensor.dtype), v);
}

/* The part of the gradient that number i is. */
static Atom part_at(Tower *tw, Out o, Type *t, Atom x, Atom run, Atom level, Atom i) {
  Atom e = one_at(tw, o, t, tower_value(tw, o, x), i);
  Atom moved = tower_pair(tw, o, level, x, tower_ground(tw, o, e));
  return tower_linear(tw, o, OF_Spread, t, em_call(tw->ad, o, run, 1, &moved), e);
}

/* def @collect(x, run, level, i, sum) {
 *   if (i == size) { sum } else { @collect(.., i + 1, sum + ..) }
 * } */
static Global *collect_tensor(Tower *tw, Type *t) {
  AD *ad = tw->ad;
  t = nameless(ad, t);
  Sym key = ad_key(ad, "collect tensor", t);
  Global *g;
  if (!ad_define(ad, &tw->helper, key, "tower_collect", 5, &g)) return g;
  Type *raised = tower_type(tw, t);
  Atom x = ad_param(ad, g, 0, "x", raised);
  Atom run = ad_param(ad, g, 1, "run", type_fn(0, NULL, 0, NULL, 1, &raised, number_type(tw)));
  Atom level = ad_param(ad, g, 2, "level", type_scalar(DT_i32));
  Atom i = ad_param(ad, g, 3, "i", type_scalar(DT_i64));
  Atom sum = ad_param(ad, g, 4, "sum", raised);
  g->fn->ret = raised;
  BlockBuilder bb = {0}, done = {0}, more = {0};
  GradCx w = em_text(ad, &bb), v = em_text(ad, &more);
  Atom n = gr(&w, "ndarray_size(%a, dtype=\"int64\")", tower_value(tw, &bb, x));
  Atom next = tower_linear(tw, &more, OF_Plus, t, sum, part_at(tw, &more, t, x, run, level, i));
  Atom arg[] = {x, run, level, gr(&v, "add(%a, %a)", i, gr_int(&v, 1)), next};
  Atom rest = em_call(ad, &more, atom_global(g, ad->span), 5, arg);
  Block *no = bb_done(&more, rest, ad->span), *yes = bb_done(&done, sum, ad->span);
  g->fn->body = bb_done(&bb, tower_if(tw, &bb, i, n, yes, no), ad->span);
  return g;
}

/* fn (z) { run(made of z) } where parts of something are x, but part i. */
typedef Atom Made(Tower *tw, Out o, const Ctor *ctor, int n, const Atom *part);
static Atom made_tuple(Tower *tw, Out o, const Ctor *ctor, int n, const Atom *part) {
  (void)ctor;
  return em_tuple(tw->ad, o, n, part);
}
static Atom made_data(Tower *tw, Out o, const Ctor *ctor, int n, const Atom *part) {
  return em_call(tw->ad, o, ad_ctor_atom(tw->ad, tower_ctor(tw, ctor)), n, part);
}
static Atom part_run(Tower *tw, Out o, Made *made, const Ctor *ctor, int n, const Atom *x, int i,
                     Type *t, Atom run) {
  AD *ad = tw->ad;
  Atom *part = NEW_N(Atom, n + 1);
  Var **z = NEW_N(Var *, 1);
  z[0] = ad_var(ad, "z", tower_type(tw, nameless(ad, t)));
  for (int k = 0; k < n; k++) part[k] = k == i ? var_atom(ad, z[0]) : x[k];
  BlockBuilder bb = {0};
  Atom whole = made(tw, &bb, ctor, n, part);
  return em_fn(ad, o, 1, z, bb_done(&bb, em_call(ad, &bb, run, 1, &whole), ad->span), NULL);
}

/* Part i: own is its type where it was declared (tan_out_field). */
static Atom collect_part(Tower *tw, Out o, Made *made, const Ctor *ctor, int n, const Atom *x,
                         int i, Type *t, Type *own, Atom run, Atom level) {
  own = type_resolve(own);
  if (ctor && (own->kind == TY_Ref || ad_is_function(own))) return x[i];
  if (ad_has_tan(tw->ad, t) && !ad_is_function(t))
    run = part_run(tw, o, made, ctor, n, x, i, t, run);
  return collect(tw, o, t, x[i], run, level);
}

static Global *collect_data(Tower *tw, Type *t) {
  AD *ad = tw->ad;
  t = nameless(ad, t);
  Sym key = ad_key(ad, "collect data", t);
  const char *name = str_fmt("collect_%s", t->data.def->name);
  Global *g;
  if (!ad_define(ad, &tw->helper, key, name, 3, &g)) return g;
  Type *raised = tower_type(tw, t);
  Atom x = ad_param(ad, g, 0, "x", raised);
  Atom run = ad_param(ad, g, 1, "run", type_fn(0, NULL, 0, NULL, 1, &raised, number_type(tw)));
  Atom level = ad_param(ad, g, 2, "level", type_scalar(DT_i32));
  g->fn->ret = tower_type(tw, diff_cotangent(t));
  DefPath path;
  if (!ad_enter(ad, t->data.def, &path)) return g;
  Cases c = cases_of(ad, x);
  for (int k = 0; k < t->data.def->n_ctors; k++) {
    const Ctor *ctor = t->data.def->ctor[k];
    int n = ctor->n;
    Var **v = NEW_N(Var *, n + 1);
    Pattern *p = pattern_of(ad, tower_ctor(tw, ctor), v);
    Atom *part = NEW_N(Atom, n + 1), *dx = NEW_N(Atom, n + 1);
    BlockBuilder one = {0};
    for (int i = 0; i < n; i++) part[i] = var_atom(ad, v[i]);
    for (int i = 0; i < n; i++)
      dx[i] = collect_part(tw, &one, made_data, ctor, n, part, i, ad_field(ad, t, ctor, i),
                           ctor->field[i], run, level);
    add_case(ad, &c, p, &one, made_data(tw, &one, ctor, n, dx));
  }
  g->fn->body = cases_block(ad, &c);
  ad_leave(ad);
  return g;
}

static Atom collect(Tower *tw, Out o, Type *t, Atom x, Atom run, Atom level) {
  AD *ad = tw->ad;
  t = type_resolve(t);
  if (ad_is_function(t) || t->kind == TY_Ref) return em_unit(ad, o);
  if (t->kind == TY_Tensor && !tower_float(t)) return tan_out(ad, o, AS_Step, t, x, x);
  if (t->kind == TY_Tensor && !t->tensor.rank) return part_at(tw, o, t, x, run, level, x);
  if (t->kind == TY_Tensor) {
    Atom none = tower_ground(tw, o, tower_zero(tw, o, t, x));
    GradCx g = em_text(ad, o);
    Atom arg[] = {x, run, level, gr_int(&g, 0), none};
    return em_call(ad, o, atom_global(collect_tensor(tw, t), ad->span), 5, arg);
  }
  if (t->kind == TY_Data)
    return em_call(ad, o, atom_global(collect_data(tw, t), ad->span), 3, (Atom[]){x, run, level});
  int n = t->tuple.n;
  Atom *part = NEW_N(Atom, n + 1), *dx = NEW_N(Atom, n + 1);
  for (int i = 0; i < n; i++) part[i] = em_proj(ad, o, x, i);
  for (int i = 0; i < n; i++)
    dx[i] = collect_part(tw, o, made_tuple, NULL, n, part, i, t->tuple.at[i], t->tuple.at[i], run,
                         level);
  return em_tuple(ad, o, n, dx);
}

/* ---- the forms ------------------------------------------------------------------------------- */

typedef struct {
  Tower *tw;
  Atom f, level, above; /* levels: of where the form is called, and one more  */
  int n;
  Type **type, *ret;
  Atom *x;
} TowerForm;

static void open_form(TowerForm *f, Tower *tw, Fn *fn, Atom of, Type *t, int n_params, Out o) {
  AD *ad = tw->ad;
  int n = t->fn.n;
  *f = (TowerForm){.tw = tw, .f = of, .n = n, .type = t->fn.param, .ret = t->fn.ret};
  *fn = (Fn){.span = ad->span, .n = n_params + 1, .param = NEW_N(Var *, n_params + 2)};
  fn->param[0] = ad_var(ad, "level", type_scalar(DT_i32));
  f->level = var_atom(ad, fn->param[0]);
  f->above = em_op(ad, o, "add", 2, (Atom[]){f->level, tower_int(tw, 1)});
  f->x = NEW_N(Atom, n_params + 1);
  for (int i = 0; i < n_params; i++) {
    Type *p = i < n ? f->type[i] : diff_cotangent(f->type[i - n]);
    fn->param[i + 1] = ad_var(ad, i < n ? "x" : "dx", tower_type(tw, nameless(ad, p)));
    f->x[i] = var_atom(ad, fn->param[i + 1]);
  }
}

static Atom run_at(const TowerForm *f, Out o, Atom level, const Atom *x) {
  Atom *arg = NEW_N(Atom, f->n + 2);
  arg[0] = level;
  for (int i = 0; i < f->n; i++) arg[i + 1] = x[i];
  return em_call(f->tw->ad, o, f->f, f->n + 1, arg);
}

static Atom below(const TowerForm *f, Out o, Atom y) {
  return tower_walk(f->tw, o, WALK_Below, f->ret, y, y, f->above);
}
static Atom step(const TowerForm *f, Out o, Atom y) {
  return tower_walk(f->tw, o, WALK_Step, f->ret, y, y, f->above);
}

/* The step of the result summed, or times dy. */
static Atom pulled(const TowerForm *f, Out o, Atom y, const Atom *dy) {
  return total(f->tw, o, diff_cotangent(f->ret), step(f, o, y), dy);
}

/* fn (z) { .. f(.., z, ..) } */
static Atom run_along(const TowerForm *f, Out o, int i, const Atom *dy) {
  AD *ad = f->tw->ad;
  Var **z = NEW_N(Var *, 1);
  z[0] = ad_var(ad, "z", tower_type(f->tw, nameless(ad, f->type[i])));
  Atom *x = NEW_N(Atom, f->n + 1);
  for (int k = 0; k < f->n; k++) x[k] = k == i ? var_atom(ad, z[0]) : f->x[k];
  BlockBuilder bb = {0};
  Atom r = pulled(f, &bb, run_at(f, &bb, f->above, x), dy);
  return em_fn(ad, o, 1, z, bb_done(&bb, r, ad->span), NULL);
}

static Atom gradients(const TowerForm *f, Out o, const Atom *dy) {
  AD *ad = f->tw->ad;
  Atom *dx = NEW_N(Atom, f->n + 1);
  for (int i = 0; i < f->n; i++) {
    bool moves = ad_has_tan(ad, f->type[i]) && !ad_is_function(f->type[i]);
    Atom run = moves ? run_along(f, o, i, dy) : f->f;
    dx[i] = collect(f->tw, o, f->type[i], f->x[i], run, f->above);
  }
  return em_tuple(ad, o, f->n, dx);
}

/* Of one number the run that gives the derivative gives the value. */
static Atom grad_of_number(const TowerForm *f, Out o) {
  Tower *tw = f->tw;
  Type *t = type_resolve(f->type[0]), *r = type_resolve(f->ret);
  Atom one = ad_scalar(tw->ad, t->tensor.dtype, 1);
  Atom x = tower_pair(tw, o, f->above, f->x[0], tower_ground(tw, o, one));
  Atom y = run_at(f, o, f->above, &x), dx;
  if (r->kind == TY_Tensor && !r->tensor.rank && r->tensor.dtype == t->tensor.dtype)
    dx = step(f, o, y);
  else
    dx = tower_linear(tw, o, OF_Spread, t, pulled(f, o, y, NULL), one);
  Atom all = em_tuple(tw->ad, o, 1, &dx);
  return em_tuple(tw->ad, o, 2, (Atom[]){below(f, o, y), all});
}

static bool of_number(const TowerForm *f) {
  Type *t = f->n == 1 ? type_resolve(f->type[0]) : NULL;
  return t && tower_float(t) && !t->tensor.rank;
}

static Atom pullback(const TowerForm *f, Out o, Atom y) {
  AD *ad = f->tw->ad;
  Tower *tw = f->tw;
  TowerForm in = *f;
  Var **p = NEW_N(Var *, 2);
  BlockBuilder bb = {0};
  p[0] = ad_var(ad, "level", type_scalar(DT_i32));
  p[1] = ad_var(ad, "dy", tower_type(tw, nameless(ad, diff_cotangent(f->ret))));
  in.level = var_atom(ad, p[0]);
  in.above = em_op(ad, &bb, "add", 2, (Atom[]){in.level, tower_int(tw, 1)});
  Atom dy = var_atom(ad, p[1]);
  Atom dx = gradients(&in, &bb, &dy);
  Atom pb = em_fn(ad, o, 2, p, bb_done(&bb, dx, ad->span), NULL);
  return em_tuple(ad, o, 2, (Atom[]){y, pb});
}

static Atom along(const TowerForm *f, Out o) {
  Atom *x = NEW_N(Atom, f->n + 1);
  for (int i = 0; i < f->n; i++)
    x[i] = tower_walk(f->tw, o, WALK_Along, f->type[i], f->x[i], f->x[f->n + i], f->above);
  Atom y = run_at(f, o, f->above, x);
  return em_tuple(f->tw->ad, o, 2, (Atom[]){below(f, o, y), step(f, o, y)});
}

Expr *tower_form(Tower *tw, DiffKind k, Atom of, Type *t) {
  AD *ad = tw->ad;
  BlockBuilder bb = {0};
  TowerForm f;
  Fn *fn = NEW(Fn);
  t = type_resolve(t);
  version_result(ad, ad->span, t->fn.ret);
  open_form(&f, tw, fn, of, t, k == DIFF_Jvp ? 2 * t->fn.n : t->fn.n, &bb);
  Atom r;
  if (k == DIFF_Jvp)
    r = along(&f, &bb);
  else if (k == DIFF_Grad && of_number(&f))
    r = grad_of_number(&f, &bb);
  else {
    Atom y = run_at(&f, &bb, f.level, f.x);
    r = k == DIFF_Vjp ? pullback(&f, &bb, y)
                      : em_tuple(ad, &bb, 2, (Atom[]){y, gradients(&f, &bb, NULL)});
  }
  fn->body = bb_done(&bb, r, ad->span);
  Expr *e = ir_expr(EX_Fn, ad->span);
  e->Fn.fn = fn;
  return e;
}
