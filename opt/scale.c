/* scale.c -- a scale and shift after a convolution or a dense layer goes into
 * its weights, when both are constants:
 *
 *   nn.batch_norm(nn.conv2d(%x, w), gamma, beta, mean, var)
 *     = nn.bias_add(nn.conv2d(%x, w * f), beta - mean * f),  f = gamma / sqrt(var + epsilon)
 *
 * and likewise for a product by a constant per channel; a bias between the two
 * is scaled too.  (w x) f and (w f) x round differently, which is why this pass
 * runs at level 2 only; every inference engine does it.  The new constants are
 * left to fold.                                                               */
#include <string.h>
#include "opt/build.h"
#include "opt/known.h"

typedef struct {
  const Expr *by; /* the batch_norm or multiply                         */
  const Binding *layer, *bias;
} Site;
typedef struct {
  PassCx *cx;
  Known known;
  UseCount uses;
  Map layer;  /* Var -> its Binding: calls that may be scaled       */
  Map site;   /* Var of layer, bias or scaling -> Site *            */
  Map factor; /* Site -> Atom *: f, once written                    */
} Scale;

/* ---- what can be scaled ---- */

static bool is_op(const Expr *e, const char *name) {
  return e->kind == EX_Call && e->Call.callee.kind == ATOM_Op &&
         !strcmp(e->Call.callee.op->name, name);
}

static const Tensor *constant(const Scale *s, const Atom *a) {
  const Atom *root = known_root(&s->known, a);
  return root->kind == ATOM_Const ? root->cst : NULL;
}

static int rank_of(const Atom *a) {
  Type *t = type_resolve(atom_type_of(a));
  return t->kind == TY_Tensor ? t->tensor.rank : -1;
}

/* The axis of the result that the first axis of the weight becomes; -1: other layouts. */
static int channel_axis(const Expr *e) {
  if (is_op(e, "nn.dense")) return rank_of(&e->Call.args[0]) - 1;
  bool conv = is_op(e, "nn.conv1d") || is_op(e, "nn.conv2d") || is_op(e, "nn.conv3d");
  if (!conv || !e->Call.op_attrs) return -1;
  const char *data = attr_str(e->Call.op_attrs, "data_layout");
  const char *kernel = attr_str(e->Call.op_attrs, "kernel_layout");
  const char *out = attr_str(e->Call.op_attrs, "out_layout");
  bool usual =
      !strncmp(data, "NC", 2) && !strncmp(kernel, "OI", 2) && (!*out || !strcmp(out, data));
  return usual && (int)strlen(data) == rank_of(&e->Call.args[0]) ? 1 : -1;
}

static bool is_layer(const Scale *s, const Expr *e) {
  Type *t = e->type ? type_resolve(e->type) : NULL;
  if (!t || t->kind != TY_Tensor || !dtype_is_float(t->tensor.dtype) || channel_axis(e) < 0)
    return false;
  const Tensor *w = constant(s, &e->Call.args[1]);
  return w && w->dtype == t->tensor.dtype;
}

static const Binding *used_once(const Scale *s, const Atom *a) {
  const Atom *root = known_root(&s->known, a);
  if (root->kind != ATOM_Var || a->kind != ATOM_Var || a->var != root->var) return NULL;
  return uses_get(&s->uses, root->var) == 1 ? map_get(&s->layer, map_ptr(root->var)) : NULL;
}

static int axis_of(const Expr *e, const char *name, int rank) {
  int64_t axis = attr_int(e->Call.op_attrs, name);
  return (int)(axis < 0 ? axis + rank : axis);
}

/* The layer below a, perhaps through a bias along its channels. */
static bool find_layer(const Scale *s, const Atom *a, Site *site) {
  const Binding *b = used_once(s, a);
  if (!b) return false;
  if (is_op(b->value, "nn.bias_add")) {
    site->bias = b;
    b = used_once(s, &b->value->Call.args[0]);
    if (!b || is_op(b->value, "nn.bias_add")) return false;
    int axis = axis_of(site->bias->value, "axis", rank_of(&site->bias->value->Call.args[0]));
    if (axis != channel_axis(b->value)) return false;
  }
  site->layer = b;
  return true;
}

/* One number per channel of the layer, all other extents 1? */
static bool per_channel(const Tensor *c, const Site *site) {
  const Expr *e = site->layer->value;
  int rank = type_resolve(e->type)->tensor.rank, at = channel_axis(e) - (rank - c->rank);
  for (int i = 0; i < c->rank; i++)
    if (i != at && c->dim[i] != 1) return false;
  Dim d = type_resolve(e->type)->tensor.dim[channel_axis(e)];
  int64_t n;
  return at >= 0 && at < c->rank && dim_is_const(d, &n) && c->dim[at] == n;
}

static bool find_norm(const Scale *s, const Expr *e, Site *site) {
  DType t;
  if (!is_op(e, "nn.batch_norm") || e->n_oblige || !find_layer(s, &e->Call.args[0], site))
    return false;
  t = type_resolve(site->layer->var->type)->tensor.dtype;
  for (int i = 1; i < 5; i++) {
    const Tensor *c = constant(s, &e->Call.args[i]);
    if (!c || c->dtype != t) return false;
  }
  return axis_of(e, "axis", rank_of(&e->Call.args[0])) == channel_axis(site->layer->value);
}

static bool find_product(const Scale *s, const Expr *e, Site *site) {
  if (!is_op(e, "multiply") || e->n_oblige || !find_layer(s, &e->Call.args[0], site)) return false;
  const Tensor *c = constant(s, &e->Call.args[1]);
  return c && per_channel(c, site);
}

static void find_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, find_block, NULL};
  Scale *s = ud;
  for (int i = 0; i < b->n; i++) {
    const Binding *bd = &b->at[i];
    Site found = {.by = bd->value};
    ir_visit(bd->value, &visit, s);
    known_put(&s->known, bd);
    bool bias = is_op(bd->value, "nn.bias_add") && constant(s, &bd->value->Call.args[1]);
    if (bias || is_layer(s, bd->value)) map_set(&s->layer, map_ptr(bd->var), (void *)(uintptr_t)bd);
    if (!find_norm(s, bd->value, &found)) {
      found = (Site){.by = bd->value};
      if (!find_product(s, bd->value, &found)) continue;
    }
    if (!pass_may(s->cx)) continue;
    Site *site = NEW(Site);
    *site = found;
    map_set(&s->site, map_ptr(bd->var), site);
    map_set(&s->site, map_ptr(found.layer->var), site);
    if (found.bias) map_set(&s->site, map_ptr(found.bias->var), site);
    map_set(&s->layer, map_ptr(found.layer->var), NULL); /* once */
  }
}

/* ---- rewriting ---- */

static Atom number(Maker *k, DType t, double v) {
  Atom a = atom_const(tensor_scalar_float(t, v), k->span);
  a.type = type_scalar(t);
  return a;
}

static Atom op2(Maker *k, const char *op, Atom a, Atom b) {
  return mk_op(k, op, atom_type_of(&a), 2, (Atom[]){a, b}, NULL);
}

/* The constant as a vector. */
static Atom as_vector(Maker *k, const Tensor *c) {
  Tensor *t = NEW(Tensor);
  *t = *c;
  t->rank = 1;
  t->dim[0] = c->count;
  Atom a = atom_const(t, k->span);
  Dim n = dim_const(k->m->cx->dims, c->count);
  a.type = type_tensor(c->dtype, 1, &n);
  return a;
}

static Atom vector_arg(const Scale *s, Maker *k, const Expr *e, int i) {
  return as_vector(k, constant(s, &e->Call.args[i]));
}

/* f of the site, written where it is first needed. */
static Atom factor(Scale *s, Maker *k, const Site *site) {
  Atom *have = map_get(&s->factor, map_ptr(site));
  const Expr *e = site->by;
  if (have) return *have;
  Atom f;
  if (is_op(e, "multiply")) {
    f = vector_arg(s, k, e, 1);
  } else {
    Atom var = vector_arg(s, k, e, 4);
    DType t = var.type->tensor.dtype;
    f = op2(k, "add", var, number(k, t, attr_float(e->Call.op_attrs, "epsilon")));
    f = mk_op(k, "rsqrt", atom_type_of(&f), 1, &f, NULL);
    if (attr_bool(e->Call.op_attrs, "scale")) f = op2(k, "multiply", f, vector_arg(s, k, e, 1));
  }
  have = NEW(Atom);
  *have = f;
  map_set(&s->factor, map_ptr(site), have);
  return f;
}

static void scale_weight(Scale *s, Maker *k, const Site *site, Expr *e) {
  Atom w = atom_const(constant(s, &e->Call.args[1]), k->span), f = factor(s, k, site);
  Dim dim[MAX_RANK];
  w.type = atom_type_of(&e->Call.args[1]);
  for (int i = 0; i < w.cst->rank; i++)
    dim[i] = dim_const(k->m->cx->dims, i == 0 ? w.cst->dim[0] : 1);
  Type *t = type_tensor(w.cst->dtype, w.cst->rank, dim);
  IntAttr attrs[] = {{"axis", 1}, {"num_newaxis", w.cst->rank - 1}, {NULL, 0}};
  f = mk_op(k, "expand_dims", t, 1, &f, attrs);
  e->Call.args[1] = op2(k, "multiply", w, f);
}

/* beta - mean * f */
static Atom shift_of(Scale *s, Maker *k, const Site *site) {
  const Expr *e = site->by;
  Atom shift = op2(k, "multiply", vector_arg(s, k, e, 3), factor(s, k, site));
  if (attr_bool(e->Call.op_attrs, "center"))
    return op2(k, "subtract", vector_arg(s, k, e, 2), shift);
  return mk_op(k, "negative", atom_type_of(&shift), 1, &shift, NULL);
}

/* A bias in between takes the shift too. */
static void scale_bias(Scale *s, Maker *k, const Site *site, Expr *e) {
  Atom b = op2(k, "multiply", vector_arg(s, k, e, 1), factor(s, k, site));
  if (is_op(site->by, "nn.batch_norm")) b = op2(k, "add", b, shift_of(s, k, site));
  e->Call.args[1] = b;
}

/* What stands where the scaling was. */
static Expr *shifted(Scale *s, Maker *k, const Site *site) {
  const Expr *e = site->by;
  Atom y = e->Call.args[0];
  if (is_op(e, "multiply")) return ir_just(y, e->span);
  IntAttr axis[] = {{"axis", channel_axis(site->layer->value)}, {NULL, 0}};
  if (!site->bias) {
    Atom shift = shift_of(s, k, site);
    y = mk_op(k, "nn.bias_add", atom_type_of(&y), 2, (Atom[]){y, shift}, axis);
  }
  Expr *t = ir_expr(EX_Tuple, e->span);
  t->Tuple.n_items = 3;
  t->Tuple.items = NEW_N(Atom, 3);
  t->Tuple.items[0] = y;
  t->Tuple.items[1] = vector_arg(s, k, e, 3);
  t->Tuple.items[2] = vector_arg(s, k, e, 4);
  return t;
}

static void write_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, write_block, NULL};
  Scale *s = ud;
  Bindings out = {0};
  Maker k = {s->cx->m, b->span, &out};
  for (int i = 0; i < b->n; i++) {
    Binding bd = b->at[i];
    const Site *site = map_get(&s->site, map_ptr(bd.var));
    k.span = bd.value->span;
    if (site && site->by == bd.value) {
      bd.value = shifted(s, &k, site);
      bd.value->type = bd.var->type;
    } else if (site && site->bias && site->bias->var == bd.var) {
      scale_bias(s, &k, site, bd.value);
    } else if (site) {
      scale_weight(s, &k, site, bd.value);
    }
    ir_visit(bd.value, &visit, s);
    vec_push(&out, bd);
  }
  b->n = out.n;
  b->at = out.at;
}

static void scale_global(void *ud, Global *g) {
  Scale s = {.cx = ud};
  uses_of_fn(&s.uses, g->fn);
  find_block(&s, g->fn->body);
  if (s.site.n) write_block(&s, g->fn->body);
}
static void scale_run(PassCx *cx) { each_global(cx->m, scale_global, cx); }

const Pass pass_scale = {.name = "scale",
                         .doc = "Constant scales and batch norms go into the constant weights "
                                "before them.",
                         .rounds = true,
                         .needs = FORM_TYPED,
                         .keeps = ~0u,
                         .run = scale_run};
