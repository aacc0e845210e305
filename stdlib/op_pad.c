/* op_pad.c -- tensors with more around them: constants, their border, their mirror image. */
#include "stdlib/relkit.h"

typedef enum { PAD_CONSTANT, PAD_EDGE, PAD_REFLECT, PAD_SYMMETRIC, PAD_BAD } PadMode;
static PadMode pad_mode(const OpAttrs *a, const char *attr) {
  static const struct {
    const char *name;
    PadMode mode;
  } modes[] = {{"constant", PAD_CONSTANT},   {"edge", PAD_EDGE},
               {"reflect", PAD_REFLECT},     {"REFLECT", PAD_REFLECT},
               {"SYMMETRIC", PAD_SYMMETRIC}, {"symmetric", PAD_SYMMETRIC}};
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
    if (!strcmp(attr_str(a, attr), modes[i].name)) return modes[i].mode;
  return PAD_BAD;
}
static const char *mode_attr(const OpDef *op) { return op->variant ? "mode" : "pad_mode"; }

/* Where position i (may be outside [0, n)) is read. */
static KE pad_source(OpK *k, PadMode mode, KE i, KE n) {
  KB *b = k->b;
  KE zero = kb_int(b, 0), one = kb_int(b, 1), last = kb_sub(b, n, one), m;
  if (mode == PAD_CONSTANT) return i;
  if (mode == PAD_REFLECT) {
    m = kb_un(b, S_abs, i);
    m = kb_sub(b, last, kb_un(b, S_abs, kb_sub(b, last, m)));
  } else {
    KE twice = kb_sub(b, kb_add(b, n, last), i); /* 2n - 1 - i     */
    m = kb_select(b, kb_lt(b, i, zero), kb_sub(b, kb_int(b, -1), i),
                  kb_select(b, kb_lt(b, last, i), twice, i));
  }
  return kb_clamp(b, mode == PAD_EDGE ? i : m, zero, last);
}

static bool rel_pad(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  const OpAttrVal *w = opattr(rel_attrs(r), "pad_width");
  PadMode mode = pad_mode(rel_attrs(r), mode_attr(rel_op(r)));
  DimTab *t = rel_dims(r);
  Dim out[MAX_RANK];
  if (mode == PAD_BAD)
    return rel_error(r, "unknown mode \"%s\"", attr_str(rel_attrs(r), mode_attr(rel_op(r))));
  if (w->n != 2 * x.rank)
    return rel_error(r, "pad_width has %d pairs for rank %d", w->n / 2, x.rank);
  if (rel_n_args(r) > 1 && (!rel_same_dtype(r, 0, 1) || !relkit_want_scalar(r, 1, "fiub")))
    return false;
  for (int i = 0; i < x.rank; i++) {
    int64_t before = w->ints[2 * i], after = w->ints[2 * i + 1],
            most = before > after ? before : after;
    if (before < 0 || after < 0)
      return rel_error(r, "pad_width must be at least 0, found %lld",
                       (long long)(before < 0 ? before : after));
    int64_t beside = mode == PAD_REFLECT && most < INT64_MAX; /* the border is not repeated */
    Dim need = dim_const(t, mode == PAD_REFLECT || mode == PAD_SYMMETRIC ? most + beside : 1);
    if (mode != PAD_CONSTANT && most > 0 &&
        !rel_at_least(r, x.dim[i], need, str_fmt("axis %d of data and what its padding reads", i)))
      return false;
    out[i] = dim_add(t, dim_add(t, x.dim[i], dim_const(t, before)), dim_const(t, after));
  }
  return rel_result(r, x.dtype, x.rank, out);
}

/* before: per axis; or the (rank, 2) tensor of widths. */
static void pad_body(OpK *k, KTensor x, KTensor y, KE value, const KE *before, PadMode mode) {
  KE idx[MAX_RANK], at[MAX_RANK];
  opk_loops(k, y.rank, y.dim, idx);
  for (int i = 0; i < y.rank; i++)
    at[i] = pad_source(k, mode, kb_sub(k->b, idx[i], before[i]), x.dim[i]);
  KE v = mode == PAD_CONSTANT ? kb_load_or(k->b, x.buf, at, value) : kb_load(k->b, x.buf, at);
  kb_store(k->b, y.buf, idx, v);
  opk_close(k, y.rank);
}
static bool lower_pad(OpPlan *p) {
  const OpAttrVal *w = opattr(p->attrs, "pad_width");
  OpK k = opk_begin(p, p->op->name);
  KTensor x = opk_in(&k, 0);
  KE value = opk_zero(&k, x.dtype), before[MAX_RANK];
  if (p->n_in > 1) value = kb_load(k.b, opk_in(&k, 1).buf, NULL);
  KTensor y = opk_out(&k, plan_result(p, 0));
  for (int i = 0; i < y.rank; i++) before[i] = kb_int(k.b, w->ints[2 * i]);
  pad_body(&k, x, y, value, before, pad_mode(p->attrs, mode_attr(p->op)));
  return opk_end(&k);
}

static bool rel_dyn_pad(Rel *r) {
  TensorTy x = rel_tensor(r, 0), w = rel_tensor(r, 1);
  DimTab *t = rel_dims(r);
  Dim out[MAX_RANK];
  PadMode mode = pad_mode(rel_attrs(r), "pad_mode");
  if (mode == PAD_BAD)
    return rel_error(r, "unknown mode \"%s\"", attr_str(rel_attrs(r), "pad_mode"));
  if (!rel_want_rank(r, 1, 2) || !rel_want_class(r, 1, "iu") ||
      !rel_same_dim(r, w.dim[0], dim_const(t, x.rank),
                    "the rows of pad_width and the rank of data") ||
      !rel_same_dim(r, w.dim[1], dim_const(t, 2), "the columns of pad_width and 2") ||
      !relkit_want_scalar(r, 2, "fiub") || !rel_same_dtype(r, 0, 2))
    return false;
  for (int i = 0; i < x.rank; i++) out[i] = rel_unknown(r);
  return rel_result(r, x.dtype, x.rank, out);
}
static bool lower_dyn_pad(OpPlan *p) {
  OpOperand xo = *plan_operand(p, 0), yo = *plan_operand(p, plan_result(p, 0));
  PadMode mode = pad_mode(p->attrs, "pad_mode");
  Dim rank = dim_const(p->cx->dims, xo.rank);
  OpRef vec = plan_temp(p, DT_i64, 1, &rank);
  OpK k = opk_begin(p, "pad_extents");
  KTensor w = opk_in(&k, 1), v = opk_out(&k, vec);
  KE zero = kb_int(k.b, 0);
  for (int i = 0; i < xo.rank; i++) {
    KE side[2], n = opk_dim(&k, xo.dim[i]), at = kb_int(k.b, i);
    for (int j = 0; j < 2; j++) {
      side[j] = kb_let(k.b, kb_cast(k.b, kb_load(k.b, w.buf, (KE[]){at, kb_int(k.b, j)}), DT_i64));
      kb_check(k.b, kb_le(k.b, zero, side[j]), "dyn.nn.pad: a pad width is negative");
      KE need = kb_add(k.b, side[j], kb_int(k.b, mode == PAD_REFLECT ? 1 : 0));
      if (mode == PAD_REFLECT || mode == PAD_SYMMETRIC)
        kb_check(k.b, kb_or(k.b, kb_eq(k.b, side[j], zero), kb_le(k.b, need, n)),
                 "dyn.nn.pad: the data is shorter than its reflected padding");
    }
    kb_store(k.b, v.buf, &at, kb_add(k.b, n, kb_add(k.b, side[0], side[1])));
  }
  if (!opk_end(&k)) return false;
  for (int i = 0; i < xo.rank; i++) relkit_bind_dim(p, yo.dim[i], vec, i);
  k = opk_begin(p, "dyn.nn.pad");
  KTensor x = opk_in(&k, 0), ww = opk_in(&k, 1);
  KE value = kb_load(k.b, opk_in(&k, 2).buf, NULL), before[MAX_RANK];
  KTensor y = opk_out(&k, plan_result(p, 0));
  for (int i = 0; i < xo.rank; i++)
    before[i] = kb_let(
        k.b, kb_cast(k.b, kb_load(k.b, ww.buf, (KE[]){kb_int(k.b, i), kb_int(k.b, 0)}), DT_i64));
  pad_body(&k, x, y, value, before, mode);
  return opk_end(&k);
}

/* ---- records ----------------------------------------------------------------------------- */
const OpDef op_nn_pad = {
    .name = "nn.pad",
    .doc = "Grow each axis on both sides.",
    .args = {{"data", "any shape", false}, {"pad_value", "scalar, for constant padding", false}},
    .optional = 1,
    .attrs = {{"pad_width", A_IntsList, NULL, "[before, after] per axis"},
              {"pad_mode", A_Str, "constant", "constant, edge or reflect"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Injective,
    .rel = rel_pad,
    .lower = lower_pad,
    .examples = (const char *const[]){
        "nn.pad(f32[2,3], 1.5f, pad_width=[[1, 2], [0, 3]])",
        "nn.pad(f32[?2,3], 0f, pad_width=[[1, 0], [2, 2]], pad_mode=\"edge\")",
        "nn.pad(i8[3,4], 0i8, pad_width=[[1, 2], [0, 3]], pad_mode=\"reflect\")",
        "nn.pad(f32[0,3], 1f, pad_width=[[1, 1], [0, 0]])", NULL}};
const OpDef op_nn_mirror_pad = {
    .name = "nn.mirror_pad",
    .doc = "Grow each axis by its mirror image.",
    .args = {{"data", "any shape", false}},
    .attrs = {{"mode", A_Str, "SYMMETRIC", "SYMMETRIC repeats the border, REFLECT does not"},
              {"pad_width", A_IntsList, NULL, "[before, after] per axis"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Injective,
    .rel = rel_pad,
    .lower = lower_pad,
    .variant = 1,
    .examples = (const char *const[]){
        "nn.mirror_pad(f32[3,4], pad_width=[[1, 2], [0, 3]])",
        "nn.mirror_pad(f32[?3,4], pad_width=[[2, 2], [3, 0]], mode=\"REFLECT\")", NULL}};
const OpDef op_dyn_nn_pad = {
    .name = "dyn.nn.pad",
    .doc = "nn.pad with widths given as a tensor.",
    .args = {{"data", "any shape", false},
             {"pad_width", "(rank, 2) ints", false},
             {"pad_value", "scalar", false}},
    .attrs = {{"pad_width", A_Ignored, "[]", ""},
              {"pad_mode", A_Str, "constant", "constant, edge or reflect"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_dyn_pad,
    .lower = lower_dyn_pad,
    .examples =
        (const char *const[]){"dyn.nn.pad(f32[2,3], i64[2,2]<3, 1.5f)",
                              "dyn.nn.pad(f32[?3,4], i32[2,2]<3, 0f, pad_mode=\"reflect\")", NULL}};
