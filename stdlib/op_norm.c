/* op_norm.c -- softmax and the normalisations, each one pass over rows kept in
 * float32 or wider.                                                            */
#include "stdlib/relkit.h"

/* Data seen as (before, axis, behind). */
typedef struct {
  OpK k;
  KTensor x, y;
  KE before, n, behind, i, j;
  DType acc;
} Rows;

static KE at_row(Rows *s, KE a) {
  return kb_cast(s->k.b, kb_load(s->k.b, s->x.buf, (KE[]){s->i, a, s->j}), s->acc);
}

static Rows open_rows(OpPlan *p, int axis) {
  Rows s;
  Dim d[3];
  OpOperand *x = plan_operand(p, 0);
  relkit_around(p->cx->dims, x->rank, x->dim, axis, d);
  s.k = opk_begin(p, p->op->name);
  s.acc = relkit_acc(x->dtype);
  s.x = opk_in_as(&s.k, 0, 3, d);
  s.n = s.x.dim[1];
  return s;
}
static void open_loops(OpPlan *p, Rows *s, int axis) {
  Dim d[3];
  OpOperand *x = plan_operand(p, 0);
  relkit_around(p->cx->dims, x->rank, x->dim, axis, d);
  s->y = opk_out_as(&s->k, plan_result(p, 0), 3, d);
  s->i = kb_for(s->k.b, s->y.dim[0], K_PARALLEL);
  s->j = kb_for(s->k.b, s->y.dim[2], K_PARALLEL);
}
static KE reduce_row(Rows *s, SOp op, KE init, KE (*f)(Rows *, KE x, KE a, const KE *ud),
                     const KE *ud) {
  KE a;
  kb_reduce_begin(s->k.b, 1, &s->n, &a);
  return kb_reduce_end(s->k.b, op, init, f(s, at_row(s, a), a, ud));
}
static bool close_row(Rows *s, KE (*f)(Rows *, KE x, KE a, const KE *ud), const KE *ud) {
  KB *b = s->k.b;
  KE a = kb_for(b, s->n, K_PARALLEL);
  kb_store(b, s->y.buf, (KE[]){s->i, a, s->j}, kb_cast(b, f(s, at_row(s, a), a, ud), s->y.dtype));
  opk_close(&s->k, 3);
  return opk_end(&s->k);
}

/* ---- softmax ---------------------------------------------------------------------------- */
static bool rel_softmax(Rel *r) {
  int axis;
  TensorTy x = rel_tensor(r, 0);
  return rel_want_class(r, 0, "f") && rel_want_min_rank(r, 0, 1) &&
         rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis) &&
         rel_result(r, x.dtype, x.rank, x.dim);
}
static KE itself(Rows *s, KE x, KE a, const KE *ud) { return (void)s, (void)a, (void)ud, x; }
static KE exp_above(Rows *s, KE x, KE a, const KE *ud) {
  return (void)a, kb_un(s->k.b, S_exp, kb_sub(s->k.b, x, ud[0]));
}
static KE soft(Rows *s, KE x, KE a, const KE *ud) {
  return kb_div(s->k.b, exp_above(s, x, a, ud), ud[1]);
}
static KE log_soft(Rows *s, KE x, KE a, const KE *ud) {
  return (void)a, kb_sub(s->k.b, kb_sub(s->k.b, x, ud[0]), ud[1]);
}

static bool lower_softmax(OpPlan *p) {
  int axis = relkit_axis(attr_int(p->attrs, "axis"), plan_operand(p, 0)->rank);
  bool is_log = p->op->variant;
  Rows s = open_rows(p, axis);
  open_loops(p, &s, axis);
  KE ud[2];
  ud[0] = reduce_row(&s, S_max, opk_lowest(&s.k, s.acc), itself, NULL);
  ud[1] = reduce_row(&s, S_add, opk_zero(&s.k, s.acc), exp_above, ud);
  if (is_log) ud[1] = kb_let(s.k.b, kb_un(s.k.b, S_log, ud[1]));
  return close_row(&s, is_log ? log_soft : soft, ud);
}

/* ---- layer norm --------------------------------------------------------------------------- */
static bool rel_channel_norm(Rel *r, int n_vectors) {
  static const char *const what[] = {"", "gamma and the axis of data", "beta and the axis of data",
                                     "moving_mean and the axis of data",
                                     "moving_var and the axis of data"};
  int axis;
  TensorTy x = rel_tensor(r, 0);
  if (!rel_want_class(r, 0, "f") || !rel_want_min_rank(r, 0, 1) ||
      !rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis))
    return false;
  for (int i = 1; i <= n_vectors; i++)
    if (!rel_want_rank(r, i, 1) || !rel_same_dtype(r, 0, i) ||
        !rel_same_dim(r, rel_tensor(r, i).dim[0], x.dim[axis], what[i]))
      return false;
  if (attr_float(rel_attrs(r), "epsilon") < 0) return rel_error(r, "epsilon must be at least 0");
  return true;
}
static bool rel_layer_norm(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  return rel_channel_norm(r, 2) && rel_result(r, x.dtype, x.rank, x.dim);
}

static KE squared_off(Rows *s, KE x, KE a, const KE *ud) {
  (void)a;
  KE d = kb_sub(s->k.b, x, ud[0]);
  return kb_mul(s->k.b, d, d);
}
/* Biased variance around a known mean, then 1 / sqrt(var + eps). */
static KE inv_std(OpK *k, KE sum_sq, KE count, double eps, DType t) {
  KE var = kb_div(k->b, sum_sq, count);
  return kb_un(k->b, S_rsqrt, kb_add(k->b, var, kb_float(k->b, t, eps)));
}

typedef struct {
  KTensor gamma, beta;
  bool scale, center;
} Affine;
static KE affine(OpK *k, const Affine *f, KE v, KE channel, DType acc) {
  if (f->scale) v = kb_mul(k->b, v, kb_cast(k->b, kb_load(k->b, f->gamma.buf, &channel), acc));
  if (f->center) v = kb_add(k->b, v, kb_cast(k->b, kb_load(k->b, f->beta.buf, &channel), acc));
  return v;
}
static Affine read_affine(OpPlan *p, OpK *k) {
  return (Affine){opk_in(k, 1), opk_in(k, 2), attr_bool(p->attrs, "scale"),
                  attr_bool(p->attrs, "center")};
}

static bool lower_layer_norm(OpPlan *p) {
  int axis = relkit_axis(attr_int(p->attrs, "axis"), plan_operand(p, 0)->rank);
  Rows s = open_rows(p, axis);
  Affine f = read_affine(p, &s.k);
  open_loops(p, &s, axis);
  KB *b = s.k.b;
  KE count = kb_cast(b, s.n, s.acc), ud[2];
  ud[0] = kb_let(b, kb_div(b, reduce_row(&s, S_add, opk_zero(&s.k, s.acc), itself, NULL), count));
  KE sq = reduce_row(&s, S_add, opk_zero(&s.k, s.acc), squared_off, ud);
  ud[1] = kb_let(b, inv_std(&s.k, sq, count, attr_float(p->attrs, "epsilon"), s.acc));
  KE a = kb_for(b, s.n, K_PARALLEL);
  KE v = kb_mul(b, kb_sub(b, at_row(&s, a), ud[0]), ud[1]);
  kb_store(b, s.y.buf, (KE[]){s.i, a, s.j}, kb_cast(b, affine(&s.k, &f, v, a, s.acc), s.y.dtype));
  opk_close(&s.k, 3);
  return opk_end(&s.k);
}

/* ---- batch norm: with the moving statistics, which are passed on ---------------------- */
static bool rel_batch_norm(Rel *r) {
  if (!rel_channel_norm(r, 4)) return false;
  TensorTy x = rel_tensor(r, 0), m = rel_tensor(r, 3), v = rel_tensor(r, 4);
  return rel_result_tuple(r, 3, (TensorTy[]){x, m, v});
}
typedef struct {
  bool scale, center;
  double eps;
} BatchNorm;
static KE batch_norm(OpK *k, const KE *x, const void *ud) {
  const BatchNorm *n = ud;
  KB *b = k->b;
  KE v[5];
  DType acc = relkit_acc(kb_type(b, x[0]));
  for (int i = 0; i < 5; i++) v[i] = kb_cast(b, x[i], acc);
  KE f = kb_un(b, S_rsqrt, kb_add(b, v[4], kb_float(b, acc, n->eps)));
  if (n->scale) f = kb_mul(b, f, v[1]);
  KE y = kb_mul(b, kb_sub(b, v[0], v[3]), f);
  if (n->center) y = kb_add(b, y, v[2]);
  return kb_cast(b, y, kb_type(b, x[0]));
}
/* A vector along axis, as an operand that broadcasts against data. */
static OpRef along_axis(OpPlan *p, OpRef vec, int axis) {
  OpOperand x = *plan_operand(p, 0), v = *plan_operand(p, vec);
  Dim d[MAX_RANK];
  int rank = x.rank - axis;
  d[0] = v.dim[0];
  for (int i = 1; i < rank; i++) d[i] = dim_const(p->cx->dims, 1);
  if (rank == 1) return vec;
  OpRef t = plan_temp(p, v.dtype, rank, d);
  plan_view(p, t, vec);
  return t;
}
static bool lower_batch_norm(OpPlan *p) {
  int axis = relkit_axis(attr_int(p->attrs, "axis"), plan_operand(p, 0)->rank);
  BatchNorm n = {attr_bool(p->attrs, "scale"), attr_bool(p->attrs, "center"),
                 attr_float(p->attrs, "epsilon")};
  OpRef in[5] = {0};
  for (int i = 1; i < 5; i++) in[i] = along_axis(p, i, axis);
  plan_alias(p, plan_result(p, 1), 3);
  plan_alias(p, plan_result(p, 2), 4);
  return opk_map(p, "batch_norm", 5, in, plan_result(p, 0), batch_norm, &n);
}

/* ---- instance and group norm: per sample and group of channels
 * ------------------------------------- Data seen as (batch, groups, channels, middle, behind ...):
 * the channel axis is moved only in the indexing, so every layout works. */
static bool rel_instance_norm(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  return rel_want_min_rank(r, 0, 2) && rel_channel_norm(r, 2) &&
         rel_result(r, x.dtype, x.rank, x.dim);
}
static bool rel_group_norm(Rel *r) {
  int axis;
  TensorTy x = rel_tensor(r, 0);
  int64_t g = attr_int(rel_attrs(r), "num_groups");
  DimTab *t = rel_dims(r);
  if (!rel_want_min_rank(r, 0, 2) || !rel_channel_norm(r, 2)) return false;
  if (g < 1) return rel_error(r, "num_groups must be at least 1, found %lld", (long long)g);
  rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis);
  return rel_same_dim(r, dim_mod(t, x.dim[axis], dim_const(t, g)), dim_const(t, 0),
                      "the channels modulo num_groups and zero") &&
         rel_result(r, x.dtype, x.rank, x.dim);
}

/* Axes: 0 batch, axis channels; the others are space. */
typedef struct {
  OpK k;
  KTensor x, y;
  int rank, axis;
  KE n, g, per_group;
  int n_space;
  KE ext[MAX_RANK];
  DType acc;
} Groups;

static KE group_load(Groups *s, KE c, const KE *space) {
  KE at[MAX_RANK];
  for (int i = 0, q = 0; i < s->rank; i++)
    at[i] = i == 0         ? s->n
            : i == s->axis ? kb_add(s->k.b, kb_mul(s->k.b, s->g, s->per_group), c)
                           : space[q++];
  return kb_cast(s->k.b, kb_load(s->k.b, s->x.buf, at), s->acc);
}
static KE group_sum(Groups *s, const KE *mean) {
  KE ext[MAX_RANK], var[MAX_RANK];
  KB *b = s->k.b;
  ext[0] = s->per_group;
  for (int i = 0; i < s->n_space; i++) ext[1 + i] = s->ext[i];
  kb_reduce_begin(b, 1 + s->n_space, ext, var);
  KE v = group_load(s, var[0], var + 1);
  if (mean) v = kb_sub(b, v, *mean), v = kb_mul(b, v, v);
  return kb_reduce_end(b, S_add, opk_zero(&s->k, s->acc), v);
}
static bool lower_group_norm(OpPlan *p) {
  OpOperand *xo = plan_operand(p, 0);
  Groups s = {.rank = xo->rank,
              .axis = relkit_axis(attr_int(p->attrs, "axis"), xo->rank),
              .acc = relkit_acc(xo->dtype)};
  s.k = opk_begin(p, p->op->name);
  KB *b = s.k.b;
  s.x = opk_in(&s.k, 0);
  Affine f = read_affine(p, &s.k);
  s.y = opk_out(&s.k, plan_result(p, 0));
  for (int i = 1; i < s.rank; i++)
    if (i != s.axis) s.ext[s.n_space++] = s.x.dim[i];
  KE groups = p->op->variant ? kb_int(b, attr_int(p->attrs, "num_groups")) : s.x.dim[s.axis];
  s.per_group = p->op->variant ? kb_fdiv(b, s.x.dim[s.axis], groups) : kb_int(b, 1);
  s.n = kb_for(b, s.x.dim[0], K_PARALLEL);
  s.g = kb_for(b, groups, K_PARALLEL);
  KE count = s.per_group, space[MAX_RANK], at[MAX_RANK];
  for (int i = 0; i < s.n_space; i++) count = kb_mul(b, count, s.ext[i]);
  count = kb_cast(b, count, s.acc);
  KE mean = kb_let(b, kb_div(b, group_sum(&s, NULL), count));
  KE inv =
      kb_let(b, inv_std(&s.k, group_sum(&s, &mean), count, attr_float(p->attrs, "epsilon"), s.acc));
  KE c = kb_for(b, s.per_group, K_PARALLEL);
  opk_loops(&s.k, s.n_space, s.ext, space);
  KE channel = kb_add(b, kb_mul(b, s.g, s.per_group), c);
  KE v = kb_mul(b, kb_sub(b, group_load(&s, c, space), mean), inv);
  for (int i = 0, q = 0; i < s.rank; i++) at[i] = i == 0 ? s.n : i == s.axis ? channel : space[q++];
  kb_store(b, s.y.buf, at, kb_cast(b, affine(&s.k, &f, v, channel, s.acc), s.y.dtype));
  opk_close(&s.k, 3 + s.n_space);
  return opk_end(&s.k);
}

/* ---- l2_normalize, lrn ------------------------------------------------------------------- */
static bool rel_l2(Rel *r) {
  bool reduced[MAX_RANK];
  TensorTy x = rel_tensor(r, 0);
  return rel_want_class(r, 0, "f") &&
         relkit_axes(r, opattr(rel_attrs(r), "axis"), x.rank, false, reduced) &&
         rel_result(r, x.dtype, x.rank, x.dim);
}
static bool lower_l2(OpPlan *p) {
  bool reduced[MAX_RANK];
  OpOperand *xo = plan_operand(p, 0);
  relkit_axis_set(opattr(p->attrs, "axis"), xo->rank, false, reduced);
  OpK k = opk_begin(p, "l2_normalize");
  KB *b = k.b;
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  DType acc = relkit_acc(x.dtype);
  KE at[MAX_RANK], ext[MAX_RANK], var[MAX_RANK], keep[MAX_RANK];
  int n_red = 0, n_keep = 0;
  for (int i = 0; i < x.rank; i++)
    if (!reduced[i])
      keep[i] = kb_for(b, x.dim[i], K_PARALLEL), n_keep++;
    else
      ext[n_red++] = x.dim[i];
  KE norm;
  if (n_red) kb_reduce_begin(b, n_red, ext, var);
  for (int i = 0, q = 0; i < x.rank; i++) at[i] = reduced[i] ? var[q++] : keep[i];
  KE v = kb_cast(b, kb_load(b, x.buf, at), acc);
  norm = kb_mul(b, v, v);
  if (n_red) norm = kb_reduce_end(b, S_add, opk_zero(&k, acc), norm);
  KE floor = kb_float(b, acc, attr_float(p->attrs, "eps"));
  norm = kb_let(b, kb_un(b, S_sqrt, kb_max(b, norm, floor)));
  opk_loops(&k, n_red, ext, var);
  for (int i = 0, q = 0; i < x.rank; i++) at[i] = reduced[i] ? var[q++] : keep[i];
  kb_store(b, y.buf, at,
           kb_cast(b, kb_div(b, kb_cast(b, kb_load(b, x.buf, at), acc), norm), y.dtype));
  opk_close(&k, n_keep + n_red);
  return opk_end(&k);
}

static bool rel_lrn(Rel *r) {
  int axis;
  TensorTy x = rel_tensor(r, 0);
  int64_t size = attr_int(rel_attrs(r), "size");
  if (size < 1 || size % 2 == 0)
    return rel_error(r, "size must be odd and positive, found %lld", (long long)size);
  return rel_want_class(r, 0, "f") && rel_want_min_rank(r, 0, 1) &&
         rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis) &&
         rel_result(r, x.dtype, x.rank, x.dim);
}
static bool lower_lrn(OpPlan *p) {
  int axis = relkit_axis(attr_int(p->attrs, "axis"), plan_operand(p, 0)->rank);
  int64_t size = attr_int(p->attrs, "size");
  Rows s = open_rows(p, axis);
  open_loops(p, &s, axis);
  KB *b = s.k.b;
  KE a = kb_for(b, s.n, K_PARALLEL), taps = kb_int(b, size), tap;
  kb_reduce_begin(b, 1, &taps, &tap);
  KE at = kb_add(b, a, kb_sub(b, tap, kb_int(b, size / 2)));
  KE v = kb_cast(b, kb_load_or(b, s.x.buf, (KE[]){s.i, at, s.j}, opk_zero(&s.k, s.x.dtype)), s.acc);
  KE sum = kb_reduce_end(b, S_add, opk_zero(&s.k, s.acc), kb_mul(b, v, v));
  KE base =
      kb_add(b, kb_float(b, s.acc, attr_float(p->attrs, "bias")),
             kb_mul(b, kb_float(b, s.acc, attr_float(p->attrs, "alpha") / (double)size), sum));
  KE y = kb_div(b, at_row(&s, a),
                kb_op(b, S_pow, base, kb_float(b, s.acc, attr_float(p->attrs, "beta")), KE_NONE));
  kb_store(b, s.y.buf, (KE[]){s.i, a, s.j}, kb_cast(b, y, s.y.dtype));
  opk_close(&s.k, 3);
  return opk_end(&s.k);
}

/* ---- records -------------------------------------------------------------------------- */
#define SOFTMAX(id, text, what, v)                                                                 \
  const OpDef op_##id = {                                                                          \
      .name = text,                                                                                \
      .doc = what,                                                                                 \
      .args = {{"data", "any shape but a scalar", false}},                                         \
      .attrs = {{"axis", A_Int, "-1", "the axis that sums to one"}, {"dtype", A_Ignored, "", ""}}, \
      .flags = OP_PURE | OP_TOTAL,                                                                 \
      .pattern = PAT_OutFusable,                                                                   \
      .rel = rel_softmax,                                                                          \
      .lower = lower_softmax,                                                                      \
      .variant = v,                                                                                \
      .examples = (const char *const[]){text "(f32[3,5])", text "(f64[2,?3,4], axis=1)",           \
                                        text "(f16[7])", text "(f32[0,3])", NULL}}
SOFTMAX(nn_softmax, "nn.softmax", "exp(x - max) / sum of them along axis.", 0);
SOFTMAX(nn_fast_softmax, "nn.fast_softmax", "The same as nn.softmax.", 0);
SOFTMAX(nn_log_softmax, "nn.log_softmax", "Logarithm of the softmax along axis.", 1);

#define NORM_ATTRS(ax)                                                                             \
  {"axis", A_Int, ax, "the axis of gamma and beta"},                                               \
      {"epsilon", A_Float, "1e-5", "added to the variance"},                                       \
      {"center", A_Bool, "True", "add beta"}, {                                                    \
    "scale", A_Bool, "True", "multiply by gamma"                                                   \
  }
#define GAMMA_BETA                                                                                 \
  {"data", "any shape", false}, {"gamma", "scale, a vector", false}, {                             \
    "beta", "shift, a vector", false                                                               \
  }
const OpDef op_nn_layer_norm = {
    .name = "nn.layer_norm",
    .doc = "(x - mean) / sqrt(variance + epsilon) over axis, scaled and shifted.",
    .args = {GAMMA_BETA},
    .attrs = {NORM_ATTRS("-1")},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_OutFusable,
    .rel = rel_layer_norm,
    .lower = lower_layer_norm,
    .examples =
        (const char *const[]){"nn.layer_norm(f32[3,5], f32[5], f32[5])",
                              "nn.layer_norm(f64[2,?3,4], f64[3], f64[3], axis=1, scale=False)",
                              "nn.layer_norm(f32[0,5], f32[5], f32[5])", NULL}};
const OpDef op_nn_batch_norm = {
    .name = "nn.batch_norm",
    .doc =
        "Normalise with given statistics along axis; the tuple (result, moving_mean, moving_var).",
    .args = {GAMMA_BETA, {"moving_mean", "a vector", false}, {"moving_var", "a vector", false}},
    .attrs = {NORM_ATTRS("1")},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Broadcast,
    .rel = rel_batch_norm,
    .lower = lower_batch_norm,
    .examples =
        (const char *const[]){"nn.batch_norm(f32[2,3,4,5], f32[3], f32[3], f32[3], f32[3]>0)",
                              "nn.batch_norm(f32[?2,4,3], f32[3], f32[3], f32[3], f32[3]>0, "
                              "axis=-1, epsilon=1e-3f, center=False)",
                              "nn.batch_norm(f32[0,3], f32[3], f32[3], f32[3], f32[3]>0)", NULL}};
const OpDef op_nn_instance_norm = {
    .name = "nn.instance_norm",
    .doc = "Normalise each channel of each sample over space.",
    .args = {GAMMA_BETA},
    .attrs = {NORM_ATTRS("1")},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_OutFusable,
    .rel = rel_instance_norm,
    .lower = lower_group_norm,
    .variant = 0,
    .examples =
        (const char *const[]){"nn.instance_norm(f32[2,3,4,5], f32[3], f32[3])",
                              "nn.instance_norm(f32[2,?4,3], f32[3], f32[3], axis=2)", NULL}};
const OpDef op_nn_group_norm = {
    .name = "nn.group_norm",
    .doc = "Normalise each group of channels of each sample over space.",
    .args = {GAMMA_BETA},
    .attrs = {{"num_groups", A_Int, "0", "groups that divide the channels"}, NORM_ATTRS("1")},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_OutFusable,
    .rel = rel_group_norm,
    .lower = lower_group_norm,
    .variant = 1,
    .examples = (const char *const[]){
        "nn.group_norm(f32[2,6,4,5], f32[6], f32[6], num_groups=3)",
        "nn.group_norm(f64[?2,?3,4], f64[4], f64[4], num_groups=2, axis=2, epsilon=1e-3f)", NULL}};
const OpDef op_nn_l2_normalize = {
    .name = "nn.l2_normalize",
    .doc = "x / sqrt(max(sum of squares over axis, eps)).",
    .args = {{"data", "any shape", false}},
    .attrs = {{"eps", A_Float, NULL, "lower bound of the sum"},
              {"axis", A_Ints, "[]", "summed axes; all if empty"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_OutFusable,
    .rel = rel_l2,
    .lower = lower_l2,
    .examples = (const char *const[]){"nn.l2_normalize(f32[2,3,4], eps=1e-5f, axis=[1])",
                                      "nn.l2_normalize(f64[?2,3], eps=0.1f)", NULL}};
const OpDef op_nn_lrn = {
    .name = "nn.lrn",
    .doc = "x / (bias + alpha / size * sum of squares in a window along axis)^beta.",
    .args = {{"data", "any shape", false}},
    .attrs = {{"size", A_Int, "5", "cells of the window, odd"},
              {"axis", A_Int, "1", ""},
              {"bias", A_Float, "2", ""},
              {"alpha", A_Float, "0.0001", ""},
              {"beta", A_Float, "0.75", ""}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_OutFusable,
    .rel = rel_lrn,
    .lower = lower_lrn,
    .examples = (const char *const[]){"nn.lrn(f32[2,7,3], size=3, alpha=0.1f)",
                                      "nn.lrn(f32[1,?6,3])", NULL}};
