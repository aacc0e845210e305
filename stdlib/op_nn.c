/* op_nn.c -- products of matrices: dense, matmul, batch_matmul.                  */
#include "stdlib/relkit.h"

static DType out_dtype(const OpAttrs *a, DType dflt) {
  const OpAttrVal *v = opattr(a, "out_dtype");
  return v->none || !v->given ? dflt : v->dtype;
}

/* ---- one product ---------------------------------------------------------------------
 * y[b, m, n] = sum over k of A[b, m, k] * B[b, k, n], any of b, m absent; where each
 * factor's axes stand is said by index lists over the four variables.             */
enum { VB, VM, VN, VK, VARS };
typedef struct {
  const Dim *dim;
  int n, var[3];
  bool one[3]; /* extent 1, index 0 */
} Factor;
typedef struct {
  Factor x, w;
  int n, par[3]; /* the result's variables in memory order */
  Dim ext[VARS];
} Product;

static KE factor_load(OpK *k, KTensor t, const Factor *f, const KE *var) {
  KE at[3];
  for (int i = 0; i < f->n; i++)
    at[i] = !f->one[i] ? var[f->var[i]]
                       : kb_min(k->b, var[f->var[i]], kb_sub(k->b, t.dim[i], kb_int(k->b, 1)));
  return kb_load(k->b, t.buf, at);
}

static bool product(OpPlan *p, const char *name, const Product *of) {
  OpK k = opk_begin(p, name);
  KTensor a = opk_in_as(&k, 0, of->x.n, of->x.dim), b = opk_in_as(&k, 1, of->w.n, of->w.dim);
  Dim yd[3];
  for (int i = 0; i < of->n; i++) yd[i] = of->ext[of->par[i]];
  KTensor y = opk_out_as(&k, plan_result(p, 0), of->n, yd);
  KE var[VARS], pv[3], ke = opk_dim(&k, of->ext[VK]), kv;
  for (int i = 0; i < VARS; i++) var[i] = kb_int(k.b, 0);
  kb_contract_begin(k.b, of->n, y.dim, pv, 1, &ke, &kv);
  for (int i = 0; i < of->n; i++) var[of->par[i]] = pv[i];
  var[VK] = kv;
  DType acc = relkit_acc(y.dtype);
  KE sum = kb_contract_acc(k.b, acc, kb_cast(k.b, factor_load(&k, a, &of->x, var), acc),
                           kb_cast(k.b, factor_load(&k, b, &of->w, var), acc));
  kb_store(k.b, y.buf, pv, kb_cast(k.b, sum, y.dtype));
  kb_contract_end(k.b);
  return opk_end(&k);
}

/* ---- dense ------------------------------------------------------------------------------ */
static bool rel_dense(Rel *r) {
  return rel_want_min_rank(r, 0, 1) && rel_want_rank(r, 1, 2) && rel_same_dtype(r, 0, 1) &&
         rel_want_class(r, 0, "fiu") &&
         relkit_dense(r, out_dtype(rel_attrs(r), rel_tensor(r, 0).dtype));
}
static bool lower_dense(OpPlan *p) {
  OpOperand *x = plan_operand(p, 0), *w = plan_operand(p, 1);
  Dim m = relkit_product(p->cx->dims, x->rank - 1, x->dim), k = x->dim[x->rank - 1];
  Product y = {.x = {.dim = (Dim[]){m, k}, .n = 2, .var = {VM, VK}},
               .w = {.dim = w->dim, .n = 2, .var = {VN, VK}},
               .n = 2,
               .par = {VM, VN},
               .ext = {[VM] = m, [VN] = w->dim[0], [VK] = k}};
  return product(p, "dense", &y);
}

/* ---- dense with a tiled weight (units / t, k, t) ----------------------------------------- */
static bool rel_dense_pack(Rel *r) {
  if (!rel_want_rank(r, 0, 2) || !rel_want_rank(r, 1, 3) || !rel_same_dtype(r, 0, 1) ||
      !rel_want_class(r, 0, "fiu"))
    return false;
  TensorTy x = rel_tensor(r, 0), w = rel_tensor(r, 1);
  Dim n = dim_mul(rel_dims(r), w.dim[0], w.dim[2]);
  return rel_same_dim(r, x.dim[1], w.dim[1], "the columns of data and of weight") &&
         relkit_units(r, n, "the rows of weight and units") &&
         rel_result(r, out_dtype(rel_attrs(r), x.dtype), 2, (Dim[]){x.dim[0], n});
}
static bool lower_dense_pack(OpPlan *p) {
  OpOperand *wo = plan_operand(p, 1), *xo = plan_operand(p, 0);
  Dim yd[3] = {xo->dim[0], wo->dim[0], wo->dim[2]};
  OpK k = opk_begin(p, "dense_pack");
  KTensor x = opk_in(&k, 0), w = opk_in(&k, 1), y = opk_out_as(&k, plan_result(p, 0), 3, yd);
  KE par[3], depth;
  kb_contract_begin(k.b, 3, y.dim, par, 1, &x.dim[1], &depth);
  DType acc = relkit_acc(y.dtype);
  KE a = kb_cast(k.b, kb_load(k.b, x.buf, (KE[]){par[0], depth}), acc);
  KE b = kb_cast(k.b, kb_load(k.b, w.buf, (KE[]){par[1], depth, par[2]}), acc);
  kb_store(k.b, y.buf, par, kb_cast(k.b, kb_contract_acc(k.b, acc, a, b), y.dtype));
  kb_contract_end(k.b);
  return opk_end(&k);
}

/* ---- matmul: a (..., m, k), b (k, n), each perhaps transposed -------------------------------- */
static bool rel_matmul(Rel *r) {
  bool ta = attr_bool(rel_attrs(r), "transpose_a"), tb = attr_bool(rel_attrs(r), "transpose_b");
  TensorTy a = rel_tensor(r, 0), b = rel_tensor(r, 1);
  Dim out[MAX_RANK];
  if (!rel_want_min_rank(r, 0, ta ? 2 : 1) || !rel_want_rank(r, 1, 2) || !rel_same_dtype(r, 0, 1) ||
      !rel_want_class(r, 0, "fiu") ||
      !rel_same_dim(r, a.dim[ta ? a.rank - 2 : a.rank - 1], b.dim[tb ? 1 : 0],
                    "the inner extents of tensor_a and tensor_b"))
    return false;
  Dim n = b.dim[tb ? 0 : 1];
  if (!relkit_units(r, n, "the columns of tensor_b and units")) return false;
  for (int i = 0; i < a.rank - 1; i++) out[i] = a.dim[i];
  if (ta) out[a.rank - 2] = a.dim[a.rank - 1];
  out[a.rank - 1] = n;
  return rel_result(r, out_dtype(rel_attrs(r), a.dtype), a.rank, out);
}
static bool lower_matmul(OpPlan *p) {
  bool ta = attr_bool(p->attrs, "transpose_a"), tb = attr_bool(p->attrs, "transpose_b");
  OpOperand *a = plan_operand(p, 0), *b = plan_operand(p, 1);
  DimTab *t = p->cx->dims;
  Dim n = b->dim[tb ? 0 : 1], k = b->dim[tb ? 1 : 0];
  Dim batch = ta ? relkit_product(t, a->rank - 2, a->dim) : NULL;
  Dim m = ta ? a->dim[a->rank - 1] : relkit_product(t, a->rank - 1, a->dim);
  Product y = {.x = {.dim = (Dim[]){m, k}, .n = 2, .var = {VM, VK}},
               .w = {.dim = b->dim, .n = 2, .var = {tb ? VN : VK, tb ? VK : VN}},
               .n = 2,
               .par = {VM, VN},
               .ext = {[VB] = batch, [VM] = m, [VN] = n, [VK] = k}};
  if (ta) {
    y.x = (Factor){.dim = (Dim[]){batch, k, m}, .n = 3, .var = {VB, VK, VM}};
    y.n = 3, y.par[0] = VB, y.par[1] = VM, y.par[2] = VN;
    return product(p, "matmul", &y);
  }
  return product(p, "matmul", &y);
}

/* ---- batch_matmul: batches equal, or one of them 1 ------------------------------------------- */
static bool rel_batch_matmul(Rel *r) {
  bool ta = attr_bool(rel_attrs(r), "transpose_a"), tb = attr_bool(rel_attrs(r), "transpose_b");
  if (!rel_want_rank(r, 0, 3) || !rel_want_rank(r, 1, 3) || !rel_same_dtype(r, 0, 1) ||
      !rel_want_class(r, 0, "fiu"))
    return false;
  TensorTy a = rel_tensor(r, 0), b = rel_tensor(r, 1);
  Dim batch[MAX_RANK];
  int rank;
  TensorTy ab = {a.dtype, 1, a.dim}, bb = {b.dtype, 1, b.dim};
  if (!rel_same_dim(r, a.dim[ta ? 1 : 2], b.dim[tb ? 2 : 1],
                    "the inner extents of tensor_a and tensor_b") ||
      !rel_broadcast(r, ab, bb, &rank, batch))
    return false;
  return rel_result(r, out_dtype(rel_attrs(r), a.dtype), 3,
                    (Dim[]){batch[0], a.dim[ta ? 2 : 1], b.dim[tb ? 1 : 2]});
}
static bool lower_batch_matmul(OpPlan *p) {
  bool ta = attr_bool(p->attrs, "transpose_a"), tb = attr_bool(p->attrs, "transpose_b");
  OpOperand *a = plan_operand(p, 0), *b = plan_operand(p, 1),
            *y = plan_operand(p, plan_result(p, 0));
  Product of = {.x = {.dim = a->dim, .n = 3, .var = {VB, ta ? VK : VM, ta ? VM : VK}},
                .w = {.dim = b->dim, .n = 3, .var = {VB, tb ? VN : VK, tb ? VK : VN}},
                .n = 3,
                .par = {VB, VM, VN},
                .ext = {y->dim[0], y->dim[1], y->dim[2], a->dim[ta ? 1 : 2]}};
  of.x.one[0] = !dim_equal(a->dim[0], y->dim[0]), of.w.one[0] = !dim_equal(b->dim[0], y->dim[0]);
  return product(p, "batch_matmul", &of);
}

/* ---- records ----------------------------------------------------------------------------- */
#define OUT_DTYPE                                                                                  \
  { "out_dtype", A_DType, "", "element type of the result and the sum; that of the data if empty" }
const OpDef op_nn_dense = {
    .name = "nn.dense",
    .doc = "Matrix product of data with the transpose of weight.",
    .args = {{"data", "(..., k)", false}, {"weight", "(units, k), one row per output", false}},
    .attrs = {{"units", A_Int, "None", "rows of weight, for checking"},
              OUT_DTYPE,
              {"auto_scheduler_rewritten_layout", A_Ignored, "", ""}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_OutFusable,
    .rel = rel_dense,
    .lower = lower_dense,
    .examples = (const char *const[]){
        "nn.dense(f32[2,3], f32[4,3])", "nn.dense(f32[?2,5,?3], f32[4,?3], units=4)",
        "nn.dense(f16[2,3], f16[4,3])", "nn.dense(i8[2,3], i8[4,3], out_dtype=\"int32\")",
        "nn.dense(f32[0,3], f32[4,3])", "nn.dense(f64[2,0], f64[4,0])",
        "nn.dense(f32[3], f32[4,3])", NULL}};
const OpDef op_nn_contrib_dense_pack = {
    .name = "nn.contrib_dense_pack",
    .doc = "nn.dense with the weight in tiles of rows.",
    .args = {{"data", "(b, k)", false}, {"weight", "(units / t, k, t)", false}},
    .attrs = {{"units", A_Int, "None", "rows of weight, for checking"},
              OUT_DTYPE,
              {"weight_layout", A_Ignored, "NC", ""}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_OutFusable,
    .rel = rel_dense_pack,
    .lower = lower_dense_pack,
    .examples = (const char *const[]){"nn.contrib_dense_pack(f32[2,3], f32[2,3,4])",
                                      "nn.contrib_dense_pack(f32[?2,?3], f32[2,3,4], units=8)",
                                      "nn.contrib_dense_pack(f32[0,3], f32[2,3,4])", NULL}};
const OpDef op_nn_matmul = {
    .name = "nn.matmul",
    .doc = "Matrix product, either factor perhaps transposed; leading axes of tensor_a are kept.",
    .args = {{"tensor_a", "(..., m, k)", false}, {"tensor_b", "(k, n)", false}},
    .attrs = {{"units", A_Int, "None", "columns of the result, for checking"},
              OUT_DTYPE,
              {"transpose_a", A_Bool, "False", "tensor_a is (..., k, m)"},
              {"transpose_b", A_Bool, "False", "tensor_b is (n, k)"},
              {"auto_scheduler_rewritten_layout", A_Ignored, "", ""}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_OutFusable,
    .rel = rel_matmul,
    .lower = lower_matmul,
    .examples = (const char *const[]){
        "nn.matmul(f32[2,3], f32[3,4])",
        "nn.matmul(f32[?5,3,?2], f32[4,3], transpose_a=True, transpose_b=True)",
        "nn.matmul(f64[2,?3], f64[4,3], transpose_b=True)", "nn.matmul(f32[0,3], f32[3,4])", NULL}};
const OpDef op_nn_batch_matmul = {
    .name = "nn.batch_matmul",
    .doc = "Matrix product for each batch; a batch of 1 goes with every other.",
    .args = {{"tensor_a", "(b, m, k)", false}, {"tensor_b", "(b, k, n)", false}},
    .attrs = {OUT_DTYPE,
              {"transpose_a", A_Bool, "False", "tensor_a is (b, k, m)"},
              {"transpose_b", A_Bool, "False", "tensor_b is (b, n, k)"},
              {"auto_scheduler_rewritten_layout", A_Ignored, "", ""}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_OutFusable,
    .rel = rel_batch_matmul,
    .lower = lower_batch_matmul,
    .examples = (const char *const[]){"nn.batch_matmul(f32[2,3,4], f32[2,4,5])",
                                      "nn.batch_matmul(f32[?2,3,4], f32[?2,5,4], transpose_b=True)",
                                      "nn.batch_matmul(f32[1,4,3], f32[6,4,5], transpose_a=True)",
                                      "nn.batch_matmul(i8[2,3,4], i8[1,4,2], out_dtype=\"int32\")",
                                      "nn.batch_matmul(f32[0,3,4], f32[0,4,5])", NULL}};
