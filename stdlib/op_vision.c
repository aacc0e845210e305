/* op_vision.c -- detection: valid counts, non-maximum suppression, ROI pooling. */
#include "stdlib/relkit.h"

/* ---- get_valid_counts --------------------------------------------------------------------- */
static bool rel_valid_counts(Rel *r) {
  if (!rel_want_rank(r, 0, 3) || !rel_want_class(r, 0, "f") || !relkit_want_scalar(r, 1, "f"))
    return false;
  TensorTy x = rel_tensor(r, 0);
  return rel_result_tuple(r, 3, (TensorTy[]){{DT_i32, 1, x.dim}, x, {DT_i32, 2, x.dim}});
}
static bool lower_valid_counts(OpPlan *p) {
  OpRef in[2] = {0, 1}, out[3] = {plan_result(p, 0), plan_result(p, 1), plan_result(p, 2)};
  plan_runtime(p, "valid_counts", 2, in, 3, out, 2,
               (int64_t[]){attr_int(p->attrs, "id_index"), attr_int(p->attrs, "score_index")});
  return true;
}

/* ---- non_max_suppression -------------------------------------------------------------------- */
static bool rel_nms(Rel *r) {
  if (!rel_want_rank(r, 0, 3) || !rel_want_class(r, 0, "f") || !rel_want_rank(r, 1, 1) ||
      !rel_want_rank(r, 2, 2) || !relkit_want_scalar(r, 3, "iu") || !relkit_want_scalar(r, 4, "f"))
    return false;
  TensorTy x = rel_tensor(r, 0), n = rel_tensor(r, 1), idx = rel_tensor(r, 2);
  if (!rel_same_dim(r, x.dim[0], n.dim[0], "the batches of data and valid_count") ||
      !rel_same_dim(r, x.dim[0], idx.dim[0], "the batches of data and indices") ||
      !rel_same_dim(r, x.dim[1], idx.dim[1], "the boxes of data and indices"))
    return false;
  if (!attr_bool(rel_attrs(r), "return_indices")) return rel_result(r, x.dtype, 3, x.dim);
  Dim *one = NEW_N(Dim, 2);
  one[0] = x.dim[0], one[1] = dim_const(rel_dims(r), 1);
  return rel_result_tuple(r, 2, (TensorTy[]){{DT_i32, 2, x.dim}, {DT_i32, 2, one}});
}
static bool lower_nms(OpPlan *p) {
  static const char *const name[] = {"force_suppress",   "top_k",    "coord_start",
                                     "score_index",      "id_index", "return_indices",
                                     "invalid_to_bottom"};
  int64_t number[7];
  OpOperand x = *plan_operand(p, 0);
  for (int i = 0; i < 7; i++) number[i] = attr_int(p->attrs, name[i]);
  OpRef in[5] = {0, 1, 2, 3, 4}, out[3];
  Dim count[2] = {x.dim[0], dim_const(p->cx->dims, 1)};
  bool indices = number[5] != 0;
  out[0] = indices ? plan_temp(p, x.dtype, 3, x.dim) : plan_result(p, 0);
  out[1] = indices ? plan_result(p, 0) : plan_temp(p, DT_i32, 2, x.dim);
  out[2] = indices ? plan_result(p, 1) : plan_temp(p, DT_i32, 2, count);
  plan_runtime(p, "nms", 5, in, 3, out, 7, number);
  return true;
}

/* ---- all_class_non_max_suppression ---------------------------------------------------- */
static bool is_tf(const OpAttrs *a) { return !strcmp(attr_str(a, "output_format"), "tensorflow"); }
static bool rel_all_class(Rel *r) {
  if (!rel_want_rank(r, 0, 3) || !rel_want_rank(r, 1, 3) || !rel_want_class(r, 0, "f") ||
      !rel_same_dtype(r, 0, 1) || !relkit_want_scalar(r, 2, "iu") ||
      !relkit_want_scalar(r, 3, "f") || !relkit_want_scalar(r, 4, "f") ||
      !relkit_want_word(r, "output_format", "onnx", "tensorflow"))
    return false;
  TensorTy box = rel_tensor(r, 0), score = rel_tensor(r, 1);
  DimTab *t = rel_dims(r);
  Dim per = dim_mul(t, score.dim[1], box.dim[1]);
  if (!rel_same_dim(r, box.dim[0], score.dim[0], "the batches of boxes and scores") ||
      !rel_same_dim(r, box.dim[1], score.dim[2], "the numbers of boxes and scores") ||
      !rel_same_dim(r, box.dim[2], dim_const(t, 4), "the coordinates of a box and 4"))
    return false;
  Dim *d = NEW_N(Dim, 6);
  if (is_tf(rel_attrs(r))) {
    d[0] = box.dim[0], d[1] = per, d[2] = dim_const(t, 2);
    return rel_result_tuple(r, 3, (TensorTy[]){{DT_i64, 3, d}, {box.dtype, 2, d}, {DT_i64, 1, d}});
  }
  d[0] = dim_mul(t, box.dim[0], per), d[1] = dim_const(t, 3), d[2] = dim_const(t, 1);
  return rel_result_tuple(r, 2, (TensorTy[]){{DT_i64, 2, d}, {DT_i64, 1, d + 2}});
}
static bool lower_all_class(OpPlan *p) {
  OpRef in[5] = {0, 1, 2, 3, 4}, out[3];
  for (int i = 0; i < p->n_out; i++) out[i] = plan_result(p, i);
  plan_runtime(p, is_tf(p->attrs) ? "all_class_nms_tf" : "all_class_nms", 5, in, p->n_out, out, 0,
               NULL);
  return true;
}

/* ---- ROI align and pool
 * --------------------------------------------------------------------------- rois: (n, 5) rows of
 * batch number, x1, y1, x2, y2.                                            */
static bool rel_roi(Rel *r) {
  const OpAttrVal *size = opattr(rel_attrs(r), "pooled_size");
  DimTab *t = rel_dims(r);
  if (!rel_want_rank(r, 0, 4) || !rel_want_rank(r, 1, 2) || !rel_want_class(r, 0, "f") ||
      !rel_same_dtype(r, 0, 1))
    return false;
  if (size->n != 2 || size->ints[0] < 1 || size->ints[1] < 1)
    return rel_error(r, "pooled_size must be two positive extents");
  if (strcmp(attr_str(rel_attrs(r), "layout"), "NCHW")) return rel_error(r, "layout must be NCHW");
  TensorTy x = rel_tensor(r, 0), rois = rel_tensor(r, 1);
  if (!rel_same_dim(r, rois.dim[1], dim_const(t, 5), "the columns of rois and 5")) return false;
  return rel_result(
      r, x.dtype, 4,
      (Dim[]){rois.dim[0], x.dim[1], dim_const(t, size->ints[0]), dim_const(t, size->ints[1])});
}
static bool rel_roi_align(Rel *r) {
  return relkit_want_word(r, "mode", "avg", "max") && rel_roi(r);
}

typedef struct {
  OpK k;
  KTensor x, rois, y;
  KE at[4];
  double scale;
} Roi;
static KE num(Roi *s, double v) { return kb_float(s->k.b, s->x.dtype, v); }
static KE as_float(Roi *s, KE i) { return kb_cast(s->k.b, i, s->x.dtype); }
static KE coord(Roi *s, KE roi, int i) {
  return kb_load(s->k.b, s->rois.buf, (KE[]){roi, kb_int(s->k.b, i)});
}
static KE batch(Roi *s) {
  KB *b = s->k.b;
  return kb_clamp(b, kb_cast(b, coord(s, s->at[0], 0), DT_i64), kb_int(b, 0),
                  kb_sub(b, s->x.dim[0], kb_int(b, 1)));
}

/* Axis 0: height, 1: width. */
static KE roi_start(Roi *s, KE roi, int axis) {
  return kb_mul(s->k.b, coord(s, roi, axis ? 1 : 2), num(s, s->scale));
}
static KE roi_extent(Roi *s, KE roi, int axis) {
  KB *b = s->k.b;
  KE end = kb_mul(b, coord(s, roi, axis ? 3 : 4), num(s, s->scale));
  return kb_max(b, kb_sub(b, end, roi_start(s, roi, axis)), num(s, 1));
}
static KE samples(Roi *s, KE roi, int axis, int64_t ratio, int64_t pooled) {
  KB *b = s->k.b;
  if (ratio > 0) return kb_int(b, ratio);
  KE per = kb_un(b, S_ceil, kb_div(b, roi_extent(s, roi, axis), num(s, (double)pooled)));
  return kb_max(b, kb_cast(b, per, DT_i64), kb_int(b, 1));
}

/* The largest number of samples of any roi, per axis. */
static bool most_samples(OpPlan *p, int64_t ratio, const OpAttrVal *size, Dim *out) {
  DimTab *t = p->cx->dims;
  for (int i = 0; i < 2; i++) out[i] = ratio > 0 ? dim_const(t, ratio) : dim_new_sym(t, NULL, 0);
  if (ratio > 0) return true;
  Dim two = dim_const(t, 2);
  OpRef vec = plan_temp(p, DT_i64, 1, &two);
  Roi s = {.k = opk_begin(p, "roi_samples"), .scale = attr_float(p->attrs, "spatial_scale")};
  s.rois = opk_in(&s.k, 1), s.x.dtype = s.rois.dtype;
  KTensor v = opk_out(&s.k, vec);
  for (int i = 0; i < 2; i++) {
    KE roi, at = kb_int(s.k.b, i);
    kb_reduce_begin(s.k.b, 1, &s.rois.dim[0], &roi);
    KE most =
        kb_reduce_end(s.k.b, S_max, kb_int(s.k.b, 1), samples(&s, roi, i, ratio, size->ints[i]));
    kb_store(s.k.b, v.buf, &at, most);
  }
  if (!opk_end(&s.k)) return false;
  for (int i = 0; i < 2; i++) plan_bind_dim(p, out[i], vec, i);
  return true;
}

static KE bilinear(Roi *s, const KE *pos) {
  KB *b = s->k.b;
  KE outside = kb_bool(b, false), low[2], high[2], frac[2], one = kb_int(b, 1);
  for (int i = 0; i < 2; i++) {
    KE n = s->x.dim[2 + i], last = kb_sub(b, n, one);
    outside =
        kb_or(b, outside, kb_or(b, kb_lt(b, pos[i], num(s, -1)), kb_lt(b, as_float(s, n), pos[i])));
    KE at = kb_clamp(b, pos[i], num(s, 0), as_float(s, last)), floor = kb_un(b, S_floor, at);
    low[i] = kb_clamp(b, kb_cast(b, floor, DT_i64), kb_int(b, 0), last);
    high[i] = kb_min(b, kb_add(b, low[i], one), last);
    frac[i] = kb_sub(b, at, floor);
  }
  KE n = batch(s), c = s->at[1], sum = KE_NONE;
  for (int q = 0; q < 4; q++) {
    KE wy = q & 2 ? frac[0] : kb_sub(b, num(s, 1), frac[0]),
       wx = q & 1 ? frac[1] : kb_sub(b, num(s, 1), frac[1]);
    KE v = kb_load(b, s->x.buf, (KE[]){n, c, q & 2 ? high[0] : low[0], q & 1 ? high[1] : low[1]});
    v = kb_mul(b, v, kb_mul(b, wy, wx));
    sum = q ? kb_add(b, sum, v) : v;
  }
  return kb_select(b, outside, num(s, 0), sum);
}

static bool lower_roi_align(OpPlan *p) {
  const OpAttrVal *size = opattr(p->attrs, "pooled_size");
  int64_t ratio = attr_int(p->attrs, "sample_ratio");
  bool avg = strcmp(attr_str(p->attrs, "mode"), "max") != 0;
  Dim most[2];
  if (!most_samples(p, ratio, size, most)) return false;
  Roi s = {.k = opk_begin(p, "vision.roi_align"), .scale = attr_float(p->attrs, "spatial_scale")};
  KB *b = s.k.b;
  s.x = opk_in(&s.k, 0), s.rois = opk_in(&s.k, 1), s.y = opk_out(&s.k, plan_result(p, 0));
  KE ext[2] = {opk_dim(&s.k, most[0]), opk_dim(&s.k, most[1])}, tap[2], pos[2],
     inside = kb_bool(b, true), count = kb_int(b, 1);
  opk_loops(&s.k, 4, s.y.dim, s.at);
  kb_reduce_begin(b, 2, ext, tap);
  for (int i = 0; i < 2; i++) {
    KE n = samples(&s, s.at[0], i, ratio, size->ints[i]);
    KE bin = kb_div(b, roi_extent(&s, s.at[0], i), num(&s, (double)size->ints[i]));
    KE start = kb_add(b, roi_start(&s, s.at[0], i), kb_mul(b, as_float(&s, s.at[2 + i]), bin));
    KE step =
        kb_div(b, kb_mul(b, kb_add(b, as_float(&s, tap[i]), num(&s, 0.5)), bin), as_float(&s, n));
    pos[i] = kb_add(b, start, step);
    inside = kb_and(b, inside, kb_lt(b, tap[i], n));
    count = kb_mul(b, count, n);
  }
  KE none = avg ? num(&s, 0) : opk_lowest(&s.k, s.x.dtype);
  KE v = kb_reduce_end(b, avg ? S_add : S_max, none, kb_select(b, inside, bilinear(&s, pos), none));
  if (avg) v = kb_div(b, v, as_float(&s, count));
  kb_store(b, s.y.buf, s.at, v);
  opk_close(&s.k, 4);
  return opk_end(&s.k);
}

static bool lower_roi_pool(OpPlan *p) {
  const OpAttrVal *size = opattr(p->attrs, "pooled_size");
  Roi s = {.k = opk_begin(p, "vision.roi_pool"), .scale = attr_float(p->attrs, "spatial_scale")};
  KB *b = s.k.b;
  s.x = opk_in(&s.k, 0), s.rois = opk_in(&s.k, 1), s.y = opk_out(&s.k, plan_result(p, 0));
  opk_loops(&s.k, 4, s.y.dim, s.at);
  KE from[2], to[2], zero = kb_int(b, 0), one = kb_int(b, 1), filled = kb_bool(b, true), pos[2];
  for (int i = 0; i < 2; i++) {
    KE side[2];
    for (int e = 0; e < 2; e++)
      side[e] = kb_cast(
          b,
          kb_un(b, S_floor,
                kb_add(b, kb_mul(b, coord(&s, s.at[0], (i ? 1 : 2) + 2 * e), num(&s, s.scale)),
                       num(&s, 0.5))),
          DT_i64);
    KE extent = kb_max(b, kb_add(b, kb_sub(b, side[1], side[0]), one), one);
    KE bin = kb_div(b, as_float(&s, extent), num(&s, (double)size->ints[i])),
       q = as_float(&s, s.at[2 + i]);
    KE lo = kb_un(b, S_floor, kb_add(b, kb_mul(b, q, bin), num(&s, 1e-5)));
    KE hi = kb_un(b, S_ceil, kb_sub(b, kb_mul(b, kb_add(b, q, num(&s, 1)), bin), num(&s, 1e-5)));
    from[i] =
        kb_let(b, kb_clamp(b, kb_add(b, kb_cast(b, lo, DT_i64), side[0]), zero, s.x.dim[2 + i]));
    to[i] =
        kb_let(b, kb_clamp(b, kb_add(b, kb_cast(b, hi, DT_i64), side[0]), zero, s.x.dim[2 + i]));
    filled = kb_and(b, filled, kb_lt(b, from[i], to[i]));
  }
  KE n = kb_let(b, batch(&s)), none = opk_lowest(&s.k, s.x.dtype), inside = kb_bool(b, true);
  kb_reduce_begin(b, 2, &s.x.dim[2], pos);
  for (int i = 0; i < 2; i++)
    inside = kb_and(b, inside, kb_and(b, kb_le(b, from[i], pos[i]), kb_lt(b, pos[i], to[i])));
  KE v = kb_select(b, inside, kb_load(b, s.x.buf, (KE[]){n, s.at[1], pos[0], pos[1]}), none);
  v = kb_reduce_end(b, S_max, none, v);
  kb_store(b, s.y.buf, s.at, kb_select(b, filled, v, num(&s, 0)));
  opk_close(&s.k, 4);
  return opk_end(&s.k);
}

/* ---- records ----------------------------------------------------------------------------- */
const OpDef op_vision_get_valid_counts = {
    .name = "vision.get_valid_counts",
    .doc = "Boxes whose score is above the threshold, moved to the front: (count, boxes, indices).",
    .args = {{"data", "(batch, boxes, elements)", false}, {"score_threshold", "scalar", false}},
    .attrs = {{"score_threshold", A_Ignored, "0", ""},
              {"id_index", A_Int, "0", "element that holds the class; -1 none"},
              {"score_index", A_Int, "1", "element that holds the score"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_valid_counts,
    .lower = lower_valid_counts,
    .not_differentiable = "it selects boxes",
    .examples = (const char *const[]){
        "vision.get_valid_counts(f32[2,5,6], 0f)",
        "vision.get_valid_counts(f32[1,?5,6], 0.2f, id_index=-1, score_index=0)", NULL}};
const OpDef op_vision_non_max_suppression = {
    .name = "vision.non_max_suppression",
    .doc = "Greedy suppression of boxes that overlap a better one.",
    .args = {{"data", "(batch, boxes, elements)", false},
             {"valid_count", "(batch)", false},
             {"indices", "(batch, boxes)", false},
             {"max_output_size", "scalar", false},
             {"iou_threshold", "scalar", false}},
    .attrs = {{"force_suppress", A_Bool, "False", "across classes"},
              {"top_k", A_Int, "-1", "best boxes kept before; -1 all"},
              {"coord_start", A_Int, "2", "first coordinate"},
              {"score_index", A_Int, "1", ""},
              {"id_index", A_Int, "0", ""},
              {"return_indices", A_Bool, "True", "(indices, count) instead of boxes"},
              {"invalid_to_bottom", A_Bool, "False", "move suppressed boxes to the end"},
              {"max_output_size", A_Ignored, "-1", ""},
              {"iou_threshold", A_Ignored, "0.5", ""}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_nms,
    .lower = lower_nms,
    .not_differentiable = "it selects boxes",
    .examples = (const char *const[]){
        "vision.non_max_suppression(f32[1,5,6], [5]i32, [[0, 1, 2, 3, 4]]i32, 3, 0.5f)",
        "vision.non_max_suppression(f32[1,?5,6], [4]i32, [[0, 1, 2, 3, 4]]i32, -1, 0.5f, "
        "return_indices=False, force_suppress=True, invalid_to_bottom=True)",
        NULL}};
const OpDef op_vision_all_class_non_max_suppression = {
    .name = "vision.all_class_non_max_suppression",
    .doc = "ONNX's NonMaxSuppression: rows of (batch, class, box) with their number.",
    .args = {{"boxes", "(batch, boxes, 4)", false},
             {"scores", "(batch, classes, boxes)", false},
             {"max_output_boxes_per_class", "scalar", false},
             {"iou_threshold", "scalar", false},
             {"score_threshold", "scalar", false}},
    .attrs = {{"output_format", A_Str, "onnx", "onnx or tensorflow"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_all_class,
    .lower = lower_all_class,
    .not_differentiable = "it selects boxes",
    .examples = (const char *const[]){
        "vision.all_class_non_max_suppression(f32[1,5,4], f32[1,2,5], 2, 0.5f, 0f)",
        "vision.all_class_non_max_suppression(f32[2,?3,4], f32[2,2,?3], 2, 0.5f, 0f, "
        "output_format=\"tensorflow\")",
        NULL}};
#define ROI_ATTRS                                                                                  \
  {"pooled_size", A_Ints, NULL, "extents of the result"},                                          \
      {"spatial_scale", A_Float, NULL, "of rois to data"}, {                                       \
    "layout", A_Str, "NCHW", ""                                                                    \
  }
const OpDef op_vision_roi_align = {
    .name = "vision.roi_align",
    .doc = "Regions of interest pooled from bilinear samples.",
    .args = {{"data", "NCHW", false}, {"rois", "(n, 5): batch, x1, y1, x2, y2", false}},
    .attrs = {ROI_ATTRS,
              {"sample_ratio", A_Int, "-1",
               "samples per cell and axis; as many as cells if below 1"},
              {"mode", A_Str, "avg", "avg or max"}},
    .flags = OP_PURE,
    .pattern = PAT_OutFusable,
    .rel = rel_roi_align,
    .lower = lower_roi_align,
    .examples = (const char *const[]){
        "vision.roi_align(f32[1,2,8,8], [[0, 1, 1, 6, 5], [0, 0, 2, 3, 7]]f32, pooled_size=[3, 2], "
        "spatial_scale=1.0f)",
        "vision.roi_align(f32[1,2,?8,8], [[0, 1, 1, 14, 9]]f32, pooled_size=[2, 2], "
        "spatial_scale=0.5f, sample_ratio=2, mode=\"max\")",
        NULL}};
const OpDef op_vision_roi_pool = {
    .name = "vision.roi_pool",
    .doc = "Maximum over the cells of regions of interest.",
    .args = {{"data", "NCHW", false}, {"rois", "(n, 5): batch, x1, y1, x2, y2", false}},
    .attrs = {ROI_ATTRS},
    .flags = OP_PURE,
    .pattern = PAT_OutFusable,
    .rel = rel_roi,
    .lower = lower_roi_pool,
    .examples = (const char *const[]){"vision.roi_pool(f32[1,2,8,8], [[0, 1, 1, 6, 5], [0, 0, 2, "
                                      "3, 7]]f32, pooled_size=[3, 2], spatial_scale=1.0f)",
                                      "vision.roi_pool(f32[1,2,?8,8], [[0, 1, 1, 14, 9]]f32, "
                                      "pooled_size=[2, 2], spatial_scale=0.5f)",
                                      NULL}};
