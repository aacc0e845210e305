/* op_loss.c -- losses of classifiers.                                          */
#include "stdlib/relkit.h"

/* ---- cross entropy: -sum(y * log x) / batch ------------------------------------------- */
static bool rel_cross_entropy(Rel *r) {
  if (!rel_want_rank(r, 0, 2) || !rel_want_rank(r, 1, 2) || !rel_same_dtype(r, 0, 1) ||
      !rel_want_class(r, 0, "f"))
    return false;
  TensorTy x = rel_tensor(r, 0), y = rel_tensor(r, 1);
  return rel_same_dim(r, x.dim[0], y.dim[0], "the batches of predictions and targets") &&
         rel_same_dim(r, x.dim[1], y.dim[1], "the classes of predictions and targets") &&
         rel_result(r, x.dtype, 0, NULL);
}
static bool lower_cross_entropy(OpPlan *p) {
  OpK k = opk_begin(p, p->op->name);
  KB *b = k.b;
  KTensor x = opk_in(&k, 0), y = opk_in(&k, 1), out = opk_out(&k, plan_result(p, 0));
  DType acc = relkit_acc(x.dtype);
  KE at[2];
  kb_reduce_begin(b, 2, x.dim, at);
  KE v = kb_cast(b, kb_load(b, x.buf, at), acc);
  if (!p->op->variant) v = kb_un(b, S_log, v);
  KE sum = kb_reduce_end(b, S_add, opk_zero(&k, acc),
                         kb_mul(b, v, kb_cast(b, kb_load(b, y.buf, at), acc)));
  KE mean = kb_div(b, kb_un(b, S_neg, sum), kb_cast(b, x.dim[0], acc));
  kb_store(b, out.buf, NULL, kb_cast(b, mean, out.dtype));
  return opk_end(&k);
}

/* ---- negative log likelihood: -w[t] * p[n, t] ------------------------------------------- */
static bool rel_nll(Rel *r) {
  TensorTy x = rel_tensor(r, 0), t = rel_tensor(r, 1), w = rel_tensor(r, 2);
  const char *how = attr_str(rel_attrs(r), "reduction");
  if (!rel_want_class(r, 0, "f") || !rel_want_min_rank(r, 0, 1) ||
      !rel_want_rank(r, 1, x.rank - 1) || !rel_want_class(r, 1, "iu") || !rel_want_rank(r, 2, 1) ||
      !rel_same_dtype(r, 0, 2))
    return false;
  int c = x.rank > 1 ? 1 : 0;
  if (!rel_same_dim(r, w.dim[0], x.dim[c], "the weights and the classes of predictions"))
    return false;
  for (int i = 0; i < t.rank; i++)
    if (!rel_same_dim(r, t.dim[i], x.dim[i < c ? i : i + 1],
                      "the extents of targets and predictions"))
      return false;
  if (!strcmp(how, "none")) return rel_result(r, x.dtype, t.rank, t.dim);
  if (strcmp(how, "mean") && strcmp(how, "sum"))
    return rel_error(r, "reduction \"%s\": it must be mean, sum or none", how);
  return rel_result(r, x.dtype, 0, NULL);
}

typedef struct {
  OpK k;
  KTensor x, t, w;
  KE ignore;
  DType acc;
} Nll;
/* The weight of one target (0 if ignored), and its loss. */
static KE nll_weight(Nll *s, const KE *at, KE *label) {
  KB *b = s->k.b;
  KE zero = kb_int(b, 0), n = s->w.dim[0];
  KE t = kb_cast(b, kb_load(b, s->t.buf, at), DT_i64);
  *label = kb_clamp(b, t, zero, kb_sub(b, n, kb_int(b, 1)));
  KE inside = kb_and(b, kb_le(b, zero, t), kb_lt(b, t, n));
  KE used = kb_and(b, inside, kb_ne(b, t, s->ignore));
  return kb_select(b, used, kb_cast(b, kb_load(b, s->w.buf, label), s->acc),
                   opk_zero(&s->k, s->acc));
}
static KE nll_loss(Nll *s, const KE *at) {
  KB *b = s->k.b;
  KE label, xi[MAX_RANK], w = nll_weight(s, at, &label);
  int c = s->x.rank > 1 ? 1 : 0;
  for (int i = 0, q = 0; i < s->x.rank; i++) xi[i] = i == c ? label : at[q++];
  return kb_un(b, S_neg, kb_mul(b, w, kb_cast(b, kb_load(b, s->x.buf, xi), s->acc)));
}
static bool lower_nll(OpPlan *p) {
  Nll s = {.k = opk_begin(p, "nn.nll_loss")};
  KB *b = s.k.b;
  const char *how = attr_str(p->attrs, "reduction");
  s.x = opk_in(&s.k, 0), s.t = opk_in(&s.k, 1), s.w = opk_in(&s.k, 2);
  s.acc = relkit_acc(s.x.dtype);
  s.ignore = kb_int(b, attr_int(p->attrs, "ignore_index"));
  KTensor y = opk_out(&s.k, plan_result(p, 0));
  KE at[MAX_RANK], zero = opk_zero(&s.k, s.acc), label;
  if (!strcmp(how, "none")) {
    opk_loops(&s.k, s.t.rank, s.t.dim, at);
    kb_store(b, y.buf, at, kb_cast(b, nll_loss(&s, at), y.dtype));
    opk_close(&s.k, s.t.rank);
    return opk_end(&s.k);
  }
  KE one = kb_int(b, 1);
  int n = s.t.rank ? s.t.rank : 1;
  kb_reduce_begin(b, n, s.t.rank ? s.t.dim : &one, at);
  KE sum = kb_reduce_end(b, S_add, zero, nll_loss(&s, at));
  if (!strcmp(how, "mean")) {
    kb_reduce_begin(b, n, s.t.rank ? s.t.dim : &one, at);
    sum = kb_div(b, sum, kb_reduce_end(b, S_add, zero, nll_weight(&s, at, &label)));
  }
  kb_store(b, y.buf, NULL, kb_cast(b, sum, y.dtype));
  return opk_end(&s.k);
}

#define CROSS(id, text, what, v)                                                                   \
  const OpDef op_##id = {.name = text,                                                             \
                         .doc = what,                                                              \
                         .args = {{"predictions", "(batch, classes)", false},                      \
                                  {"targets", "(batch, classes)", false}},                         \
                         .flags = OP_PURE | OP_TOTAL_STATIC,                                       \
                         .pattern = PAT_Opaque,                                                    \
                         .rel = rel_cross_entropy,                                                 \
                         .lower = lower_cross_entropy,                                             \
                         .variant = v,                                                             \
                         .examples = (const char *const[]){text "(f32[3,5]>0, f32[3,5])",          \
                                                           text "(f64[?2,4]>0, f64[?2,4])", NULL}}
CROSS(nn_cross_entropy, "nn.cross_entropy", "-sum(targets * log predictions) / batch.", 0);
CROSS(nn_cross_entropy_with_logits, "nn.cross_entropy_with_logits",
      "-sum(targets * predictions) / batch, of log-probabilities.", 1);
const OpDef op_nn_nll_loss = {
    .name = "nn.nll_loss",
    .doc = "-weights[t] * predictions[n, t] for each target t, averaged by weight, summed, or as "
           "they are.",
    .args = {{"predictions", "(n, classes, ...)", false},
             {"targets", "(n, ...) class numbers", false},
             {"weights", "(classes)", false}},
    .attrs = {{"reduction", A_Str, "mean", "mean, sum or none"},
              {"ignore_index", A_Int, "-100", "a target that counts nothing"}},
    .flags = OP_PURE,
    .pattern = PAT_OutFusable,
    .rel = rel_nll,
    .lower = lower_nll,
    .examples = (const char *const[]){
        "nn.nll_loss(f32[3,5], i32[3]<5, f32[5]>0)",
        "nn.nll_loss(f32[?3,5,2], i64[?3,2]<5, f32[5]>0, reduction=\"sum\", ignore_index=1)",
        "nn.nll_loss(f32[3,5], i32[3]<5, f32[5]>0, reduction=\"none\")", NULL}};
