/* op_rearrange.c -- moving elements between axes by fixed rules: layouts, space
 * to depth and to batch and back, dilation.
 *
 * Kernels see an axis that is cut into blocks as two, so that every access is
 * affine and the innermost loop is long.                                       */
#include "stdlib/layout.h"
#include "stdlib/relkit.h"

/* ---- layout_transform ------------------------------------------------------------------ */
static void outer_letters(const Layout *l, char *out) {
  for (int i = 0; i < l->n; i++)
    if (!l->axis[i].inner) *out++ = l->axis[i].letter;
  *out = 0;
}
static bool rel_layout(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  const char *from = attr_str(rel_attrs(r), "src_layout");
  const char *to = attr_str(rel_attrs(r), "dst_layout");
  DimTab *t = rel_dims(r);
  Layout src, dst;
  char letters[MAX_RANK + 1];
  Dim extent[MAX_RANK], out[MAX_RANK];
  if (!layout_parse(from, &src)) return rel_error(r, "src_layout=\"%s\" is not a layout", from);
  outer_letters(&src, letters);
  if (!layout_want(r, "dst_layout", to, letters, &dst) || !layout_of_operand(r, 0, &src))
    return false;
  for (int i = 0; letters[i]; i++) extent[i] = layout_extent(t, &src, x.dim, letters[i]);
  layout_shape(t, &dst, letters, extent, out);
  return rel_result(r, x.dtype, dst.n, out);
}

/* The logical index of each letter at physical index idx of layout l. */
static void logical_index(OpK *k, const Layout *l, const char *letters, const KE *idx, KE *out) {
  for (int i = 0; letters[i]; i++) out[i] = kb_int(k->b, 0);
  for (int i = 0; i < l->n; i++) {
    LayoutAxis a = l->axis[i];
    KE *e = &out[strchr(letters, a.letter) - letters];
    KE scale = kb_int(k->b, a.inner ? 1 : layout_factor(l, a.letter));
    *e = kb_add(k->b, *e, kb_mul(k->b, idx[i], scale));
  }
}
/* Does some axis of dst have to be filled up to whole blocks? */
static bool fills_up(OpPlan *p, const Layout *src, const Layout *dst, const char *letters) {
  DimTab *t = p->cx->dims;
  for (int i = 0; letters[i]; i++) {
    Dim e = layout_extent(t, src, plan_operand(p, 0)->dim, letters[i]);
    Dim f = dim_const(t, layout_factor(dst, letters[i]));
    if (!dim_equal(dim_mod(t, e, f), dim_const(t, 0))) return true;
  }
  return false;
}
static bool lower_layout(OpPlan *p) {
  Layout src, dst;
  char letters[MAX_RANK + 1];
  layout_parse(attr_str(p->attrs, "src_layout"), &src);
  layout_parse(attr_str(p->attrs, "dst_layout"), &dst);
  outer_letters(&src, letters);
  bool fill = fills_up(p, &src, &dst, letters);
  OpK k = opk_begin(p, "layout_transform");
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  KE at[MAX_RANK], logical[MAX_RANK], from[MAX_RANK];
  int loops = relkit_loops(&k, y.rank, y.dim, at);
  logical_index(&k, &dst, letters, at, logical);
  layout_index(&k, &src, letters, logical, from);
  KE v = fill ? kb_load_or(k.b, x.buf, from, opk_zero(&k, x.dtype)) : kb_load(k.b, x.buf, from);
  kb_store(k.b, y.buf, at, v);
  opk_close(&k, loops);
  return opk_end(&k);
}
const OpDef op_layout_transform = {
    .name = "layout_transform",
    .doc = "data with its axes in another order and blocking; what fills up blocks is zero.",
    .args = {{"data", "laid out as src_layout", false}},
    .attrs = {{"src_layout", A_Str, NULL,
               "as \"NCHW\"; a lower-case letter is an inner part: "
               "\"NCHW8c\""},
              {"dst_layout", A_Str, NULL, "the same axes"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Injective,
    .rel = rel_layout,
    .lower = lower_layout,
    .examples =
        (const char *const[]){
            "layout_transform(f32[2,6,3,5], src_layout=\"NCHW\", dst_layout=\"NHWC\")",
            "layout_transform(f32[2,8,3,5], src_layout=\"NCHW\", dst_layout=\"NCHW4c\")",
            "layout_transform(i8[?2,3,4,5,2], src_layout=\"NCHW2c\", dst_layout=\"NHWC\")",
            "layout_transform(f16[4,6,3,1], src_layout=\"OIHW\", dst_layout=\"OIHW3i2o\")",
            "layout_transform(f32[1,5,2,3], src_layout=\"NCHW\", dst_layout=\"NCHW4c\")",
            "layout_transform(f32[0,4,2,3], src_layout=\"NCHW\", dst_layout=\"NHWC\")", NULL},
};

/* ---- space_to_depth, depth_to_space ---------------------------------------------------- */
/* The axes of a picture, each perhaps cut in two: batch, channels, rows of blocks,
 * row in the block, columns of blocks, column in the block. */
enum { PIC_N, PIC_C, PIC_H, PIC_BY, PIC_W, PIC_BX, PIC_AXES };
static const int space_order[2][PIC_AXES] = {
    {PIC_N, PIC_C, PIC_H, PIC_BY, PIC_W, PIC_BX},  /* NCHW              */
    {PIC_N, PIC_H, PIC_BY, PIC_W, PIC_BX, PIC_C}}; /* NHWC              */
static const int depth_order[2][2][PIC_AXES] = {   /* [layout][is CDR]  */
                                                {{PIC_N, PIC_BY, PIC_BX, PIC_C, PIC_H, PIC_W},
                                                 {PIC_N, PIC_C, PIC_BY, PIC_BX, PIC_H, PIC_W}},
                                                {{PIC_N, PIC_H, PIC_W, PIC_BY, PIC_BX, PIC_C},
                                                 {PIC_N, PIC_H, PIC_W, PIC_C, PIC_BY, PIC_BX}}};
/* Loops: long ones innermost. */
static const int loop_order[2][PIC_AXES] = {{PIC_N, PIC_C, PIC_BY, PIC_BX, PIC_H, PIC_W},
                                            {PIC_N, PIC_H, PIC_BY, PIC_W, PIC_BX, PIC_C}};

static bool is_nhwc(const OpAttrs *a) { return strcmp(attr_str(a, "layout"), "NHWC") == 0; }
static bool is_cdr(const OpAttrs *a) { return strcmp(attr_str(a, "mode"), "CDR") == 0; }

static bool picture_attrs(Rel *r, int64_t *block) {
  const OpAttrs *a = rel_attrs(r);
  *block = attr_int(a, "block_size");
  if (*block < 1 || *block > 1 << 20)
    return rel_error(r, "block_size must be in [1, %d], found %lld", 1 << 20, (long long)*block);
  if (!is_nhwc(a) && strcmp(attr_str(a, "layout"), "NCHW") != 0)
    return rel_error(r, "layout must be \"NCHW\" or \"NHWC\", found \"%s\"", attr_str(a, "layout"));
  const char *mode = attr_str(a, "mode"); /* TVM leaves it empty for space_to_depth */
  if (!is_cdr(a) && *mode && strcmp(mode, "DCR") != 0)
    return rel_error(r, "mode must be \"DCR\" or \"CDR\", found \"%s\"", mode);
  return rel_want_rank(r, 0, 4);
}
static bool divides(Rel *r, int64_t by, Dim d, const char *what) {
  DimTab *t = rel_dims(r);
  return rel_same_dim(r, dim_mod(t, d, dim_const(t, by)), dim_const(t, 0), what);
}
static bool rel_picture(Rel *r) {
  int64_t block;
  if (!picture_attrs(r, &block)) return false;
  TensorTy x = rel_tensor(r, 0);
  DimTab *t = rel_dims(r);
  int h = is_nhwc(rel_attrs(r)) ? 1 : 2, c = is_nhwc(rel_attrs(r)) ? 3 : 1;
  Dim b = dim_const(t, block), out[4] = {x.dim[0]};
  if (rel_op(r)->variant) {
    if (!divides(r, block * block, x.dim[c],
                 "the channels modulo the square of block_size and zero"))
      return false;
    out[h] = dim_mul(t, x.dim[h], b), out[h + 1] = dim_mul(t, x.dim[h + 1], b);
    out[c] = dim_div(t, x.dim[c], dim_mul(t, b, b));
  } else {
    if (!divides(r, block, x.dim[h], "the rows modulo block_size and zero") ||
        !divides(r, block, x.dim[h + 1], "the columns modulo block_size and zero"))
      return false;
    out[h] = dim_div(t, x.dim[h], b), out[h + 1] = dim_div(t, x.dim[h + 1], b);
    out[c] = dim_mul(t, x.dim[c], dim_mul(t, b, b));
  }
  return rel_result(r, x.dtype, 4, out);
}
static bool lower_picture(OpPlan *p) {
  OpRef out = plan_result(p, 0), deep = p->op->variant ? 0 : out, wide = p->op->variant ? out : 0;
  bool nhwc = is_nhwc(p->attrs);
  const int *shallow = space_order[nhwc], *depth = depth_order[nhwc][is_cdr(p->attrs)];
  OpOperand *d = plan_operand(p, deep), *w = plan_operand(p, wide);
  Dim b = dim_const(p->cx->dims, attr_int(p->attrs, "block_size"));
  Dim extent[PIC_AXES] = {d->dim[0], w->dim[nhwc ? 3 : 1], d->dim[nhwc ? 1 : 2],
                          b,         d->dim[nhwc ? 2 : 3], b};
  Dim deep_dim[PIC_AXES], wide_dim[PIC_AXES];
  for (int i = 0; i < PIC_AXES; i++) {
    deep_dim[i] = extent[depth[i]];
    wide_dim[i] = extent[shallow[i]];
  }
  OpK k = opk_begin(p, p->op->name);
  KTensor x = opk_in_as(&k, 0, PIC_AXES, p->op->variant ? deep_dim : wide_dim);
  KTensor y = opk_out_as(&k, out, PIC_AXES, p->op->variant ? wide_dim : deep_dim);
  KE at[PIC_AXES], deep_at[PIC_AXES], wide_at[PIC_AXES];
  int loops = 0;
  for (int i = 0; i < PIC_AXES; i++) {
    int axis = loop_order[nhwc][i];
    KE e = opk_dim(&k, extent[axis]);
    loops += relkit_loops(&k, 1, &e, &at[axis]);
  }
  for (int i = 0; i < PIC_AXES; i++) deep_at[i] = at[depth[i]], wide_at[i] = at[shallow[i]];
  KE v = kb_load(k.b, x.buf, p->op->variant ? deep_at : wide_at);
  kb_store(k.b, y.buf, p->op->variant ? wide_at : deep_at, v);
  opk_close(&k, loops);
  return opk_end(&k);
}
#define PICTURE_ATTRS                                                                              \
  {"block_size", A_Int, "1", "extent of the square blocks"},                                       \
      {"layout", A_Str, "NCHW", "\"NCHW\" or \"NHWC\""}, {                                         \
    "mode", A_Str, "DCR", "place in the block before the channel (\"DCR\"), or behind (\"CDR\")"   \
  }
const OpDef op_nn_space_to_depth = {
    .name = "nn.space_to_depth",
    .doc = "Square blocks of pixels become channels.",
    .args = {{"data", "four axes", false}},
    .attrs = {PICTURE_ATTRS},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Injective,
    .rel = rel_picture,
    .lower = lower_picture,
    .examples =
        (const char *const[]){
            "nn.space_to_depth(f32[2,3,4,6], block_size=2)",
            "nn.space_to_depth(i8[?2,6,?3,5], block_size=3, layout=\"NHWC\", mode=\"DCR\")",
            "nn.space_to_depth(f16[1,2,?4,2], block_size=2)",
            "nn.space_to_depth(f32[0,3,4,2], block_size=2)", NULL},
};
const OpDef op_nn_depth_to_space = {
    .name = "nn.depth_to_space",
    .doc = "Channels become square blocks of pixels.",
    .args = {{"data", "four axes", false}},
    .attrs = {PICTURE_ATTRS},
    .variant = 1,
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Injective,
    .rel = rel_picture,
    .lower = lower_picture,
    .examples =
        (const char *const[]){
            "nn.depth_to_space(f32[2,12,3,5], block_size=2)",
            "nn.depth_to_space(i8[?2,2,3,18], block_size=3, layout=\"NHWC\", mode=\"CDR\")",
            "nn.depth_to_space(f16[1,?8,3,2], block_size=2, mode=\"CDR\")",
            "nn.depth_to_space(f32[0,4,3,2], block_size=2)", NULL},
};

/* ---- space_to_batch_nd, batch_to_space_nd ---------------------------------------------- */
/* block: per space axis, the axes behind the batch; pairs: what is added or cut
 * on both sides; total: the product of the blocks. */
typedef struct {
  int n;
  const int64_t *block, *pair;
  int64_t total;
} Blocks;
static Blocks blocks_of(const OpAttrs *a, const char *pairs) {
  const OpAttrVal *b = opattr(a, "block_shape");
  Blocks s = {b->n, b->ints, opattr(a, pairs)->ints, 1};
  for (int i = 0; i < b->n; i++) s.total *= b->ints[i];
  return s;
}
static bool want_blocks(Rel *r, const char *pairs, Blocks *s) {
  const OpAttrVal *b = opattr(rel_attrs(r), "block_shape"), *v = opattr(rel_attrs(r), pairs);
  int64_t total = 1;
  if (b->n < 1 || b->n > 4)
    return rel_error(r, "block_shape must have 1 to 4 entries, found %d", b->n);
  if (v->n != 2 * b->n)
    return rel_error(r, "%s has %d pairs for %d entries of block_shape", pairs, v->n / 2, b->n);
  for (int i = 0; i < b->n; i++) {
    if (b->ints[i] < 1 || b->ints[i] > 1 << 15)
      return rel_error(r, "block_shape must be in [1, %d], found %lld", 1 << 15,
                       (long long)b->ints[i]);
    total *= b->ints[i];
    for (int j = 2 * i; j < 2 * i + 2; j++)
      if (v->ints[j] < 0 || v->ints[j] > INT32_MAX)
        return rel_error(r, "%s must be in [0, 2^31), found %lld", pairs, (long long)v->ints[j]);
  }
  if (total > 1 << 30) return rel_error(r, "a block has too many elements: %lld", (long long)total);
  *s = blocks_of(rel_attrs(r), pairs);
  return rel_want_min_rank(r, 0, 1 + b->n);
}
static bool rel_space_to_batch(Rel *r) {
  Blocks s;
  if (!want_blocks(r, "paddings", &s)) return false;
  TensorTy x = rel_tensor(r, 0);
  DimTab *t = rel_dims(r);
  Dim out[MAX_RANK];
  memcpy(out, x.dim, sizeof *out * (size_t)x.rank);
  out[0] = dim_mul(t, x.dim[0], dim_const(t, s.total));
  for (int i = 0; i < s.n; i++) {
    Dim whole = dim_add(t, x.dim[i + 1], dim_const(t, s.pair[2 * i] + s.pair[2 * i + 1]));
    if (!divides(r, s.block[i], whole, str_fmt("padded axis %d modulo its block and zero", i + 1)))
      return false;
    out[i + 1] = dim_div(t, whole, dim_const(t, s.block[i]));
  }
  return rel_result(r, x.dtype, x.rank, out);
}
static bool rel_batch_to_space(Rel *r) {
  Blocks s;
  if (!want_blocks(r, "crops", &s)) return false;
  TensorTy x = rel_tensor(r, 0);
  DimTab *t = rel_dims(r);
  Dim out[MAX_RANK];
  memcpy(out, x.dim, sizeof *out * (size_t)x.rank);
  if (!divides(r, s.total, x.dim[0], "the batch modulo the product of block_shape and zero"))
    return false;
  out[0] = dim_div(t, x.dim[0], dim_const(t, s.total));
  for (int i = 0; i < s.n; i++) {
    Dim whole = dim_mul(t, x.dim[i + 1], dim_const(t, s.block[i]));
    Dim cut = dim_const(t, s.pair[2 * i] + s.pair[2 * i + 1]);
    if (!rel_at_least(r, whole, cut, str_fmt("axis %d joined from blocks and its crops", i + 1)))
      return false;
    out[i + 1] = dim_sub(t, whole, cut);
  }
  return rel_result(r, x.dtype, x.rank, out);
}
/* The batched side as (block..., batch, space..., rest), the other as (batch, space..., rest). */
static bool lower_blocks(OpPlan *p) {
  bool back = p->op->variant;
  Blocks s = blocks_of(p->attrs, back ? "crops" : "paddings");
  OpRef out = plan_result(p, 0);
  OpOperand *many = plan_operand(p, back ? 0 : out), *few = plan_operand(p, back ? out : 0);
  DimTab *t = p->cx->dims;
  Dim md[K_MAX_RANK], fd[K_MAX_RANK];
  for (int i = 0; i < s.n; i++) md[i] = dim_const(t, s.block[i]);
  md[s.n] = fd[0] = few->dim[0];
  for (int i = 0; i < s.n; i++) md[s.n + 1 + i] = many->dim[i + 1], fd[i + 1] = few->dim[i + 1];
  fd[s.n + 1] = md[2 * s.n + 1] = relkit_product(t, few->rank - s.n - 1, few->dim + s.n + 1);
  OpK k = opk_begin(p, p->op->name);
  KB *b = k.b;
  KTensor x = opk_in_as(&k, 0, back ? 2 * s.n + 2 : s.n + 2, back ? md : fd);
  KTensor y = opk_out_as(&k, out, back ? s.n + 2 : 2 * s.n + 2, back ? fd : md);
  KE at[K_MAX_RANK], from[K_MAX_RANK];
  int loops = relkit_loops(&k, y.rank, y.dim, at);
  from[back ? s.n : 0] = at[back ? 0 : s.n];
  from[x.rank - 1] = at[y.rank - 1];
  for (int i = 0; i < s.n; i++) {
    KE block = kb_int(b, s.block[i]), before = kb_int(b, s.pair[2 * i]);
    if (back) {
      KE place = kb_add(b, at[i + 1], before);
      from[i] = kb_fmod(b, place, block), from[s.n + 1 + i] = kb_fdiv(b, place, block);
    } else {
      from[i + 1] = kb_sub(b, kb_add(b, kb_mul(b, at[s.n + 1 + i], block), at[i]), before);
    }
  }
  DType e = x.dtype;
  double value = back ? 0 : attr_float(p->attrs, "pad_value");
  KE pad = dtype_is_float(e) ? kb_float(b, e, value) : kb_cast(b, kb_float(b, DT_f64, value), e);
  kb_store(b, y.buf, at, back ? kb_load(b, x.buf, from) : kb_load_or(b, x.buf, from, pad));
  opk_close(&k, loops);
  return opk_end(&k);
}
#define BLOCK_SHAPE                                                                                \
  { "block_shape", A_Ints, "[1, 1]", "block extents of the axes behind the batch" }
const OpDef op_nn_space_to_batch_nd = {
    .name = "nn.space_to_batch_nd",
    .doc = "Places in blocks of the space axes, which are padded first, become part of the batch.",
    .args = {{"data", "(batch, space axes, ...)", false}},
    .attrs = {BLOCK_SHAPE,
              {"paddings", A_IntsList, NULL, "[before, after] per space axis"},
              {"pad_value", A_Float, "0.0", "what is padded with"}},
    .flags = OP_PURE,
    .pattern = PAT_Injective,
    .rel = rel_space_to_batch,
    .lower = lower_blocks,
    .examples =
        (const char *const[]){
            "nn.space_to_batch_nd(f32[2,3,4,5], block_shape=[2, 2], paddings=[[1, 0], [0, 2]], "
            "pad_value=3f)",
            "nn.space_to_batch_nd(i8[?2,?5,3], block_shape=[3], paddings=[[0, 1]])",
            "nn.space_to_batch_nd(f16[1,4,6], block_shape=[2, 3], paddings=[[0, 0], [0, 0]])",
            "nn.space_to_batch_nd(f32[0,4,2], block_shape=[2], paddings=[[0, 0]])", NULL},
};
const OpDef op_nn_batch_to_space_nd = {
    .name = "nn.batch_to_space_nd",
    .doc = "Part of the batch becomes places in blocks of the space axes, which are cropped then.",
    .args = {{"data", "(batch, space axes, ...)", false}},
    .attrs = {BLOCK_SHAPE, {"crops", A_IntsList, NULL, "[before, after] per space axis"}},
    .flags = OP_PURE,
    .pattern = PAT_Injective,
    .rel = rel_batch_to_space,
    .lower = lower_blocks,
    .variant = 1,
    .examples =
        (const char *const[]){
            "nn.batch_to_space_nd(f32[8,3,4,5], block_shape=[2, 2], crops=[[1, 0], [0, 2]])",
            "nn.batch_to_space_nd(i8[?6,?5,2], block_shape=[3], crops=[[0, 1]])",
            "nn.batch_to_space_nd(f16[6,4,2], block_shape=[2, 3], crops=[[0, 0], [0, 0]])",
            "nn.batch_to_space_nd(f32[0,4,2], block_shape=[2], crops=[[1, 1]])", NULL},
};

/* ---- nn.dilate ------------------------------------------------------------------------- */
static bool rel_dilate(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  const OpAttrVal *s = opattr(rel_attrs(r), "strides");
  DimTab *t = rel_dims(r);
  Dim out[MAX_RANK];
  if (s->n != x.rank) return rel_error(r, "strides has %d entries for rank %d", s->n, x.rank);
  for (int i = 0; i < x.rank; i++) {
    if (s->ints[i] < 1 || s->ints[i] > INT32_MAX)
      return rel_error(r, "strides must be at least 1, found %lld", (long long)s->ints[i]);
    Dim gap = dim_const(t, s->ints[i] - 1), step = dim_const(t, s->ints[i]);
    out[i] = s->ints[i] == 1
                 ? x.dim[i]
                 : dim_max(t, dim_sub(t, dim_mul(t, x.dim[i], step), gap), dim_const(t, 0));
  }
  return rel_result(r, x.dtype, x.rank, out);
}
static bool lower_dilate(OpPlan *p) {
  const OpAttrVal *s = opattr(p->attrs, "strides");
  OpK k = opk_begin(p, "dilate");
  KB *b = k.b;
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  double value = attr_float(p->attrs, "dilation_value");
  KE at[MAX_RANK], to[MAX_RANK];
  KE gap = dtype_is_float(x.dtype) ? kb_float(b, x.dtype, value)
                                   : kb_cast(b, kb_float(b, DT_f64, value), x.dtype);
  int loops = relkit_loops(&k, y.rank, y.dim, at);
  kb_store(b, y.buf, at, gap);
  opk_close(&k, loops);
  loops = relkit_loops(&k, x.rank, x.dim, at);
  for (int i = 0; i < x.rank; i++) to[i] = kb_mul(b, at[i], kb_int(b, s->ints[i]));
  kb_store(b, y.buf, to, kb_load(b, x.buf, at));
  opk_close(&k, loops);
  return opk_end(&k);
}
const OpDef op_nn_dilate = {
    .name = "nn.dilate",
    .doc = "Elements set apart: strides - 1 fill values between neighbours.",
    .args = {{"data", "any shape", false}},
    .attrs = {{"strides", A_Ints, "[1, 1]", "distance of neighbours, per axis"},
              {"dilation_value", A_Float, "0.0", "what stands between"}},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_Injective,
    .rel = rel_dilate,
    .lower = lower_dilate,
    .examples = (const char *const[]){"nn.dilate(f32[2,3], strides=[2, 3])",
                                      "nn.dilate(i8[?2,3,4], strides=[1, 2, 1], dilation_value=2f)",
                                      "nn.dilate(f16[3], strides=[4], dilation_value=-1f)",
                                      "nn.dilate(f32[0,3], strides=[2, 2])", NULL},
};
