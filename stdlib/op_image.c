/* op_image.c -- resizing of images in one to three dimensions: nearest, linear, cubic.
 *
 * A point of the result has a position in data along each spatial axis, from
 * the coordinate mode, and is the sum over a few taps around it, weighted axis
 * by axis; taps outside stand for the border.  Positions are float32 (float64
 * for float64 data) and computed in TVM's order of operations, so that the
 * nearest neighbour is the same one.                                         */
#include <math.h>
#include "stdlib/layout.h"
#include "stdlib/relkit.h"

enum { MAX_TAPS = 4 };
typedef enum { NEAREST, LINEAR, CUBIC } Method;
typedef enum {
  HALF_PIXEL,
  ALIGN_CORNERS,
  ASYMMETRIC,
  PYTORCH_HALF_PIXEL,
  TF_HALF_PIXEL_FOR_NN,
  TF_CROP_AND_RESIZE,
  MODES
} Mode;
typedef enum { ROUND, ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, FLOOR, CEIL, ROUNDINGS } Rounding;
/* The record's variant: spatial dimensions, and which way they are told. */
enum { SPATIAL = 3, UPSAMPLING = 4, DYNAMIC = 8 };

static const char *const mode_name[MODES] = {"half_pixel",           "align_corners",
                                             "asymmetric",           "pytorch_half_pixel",
                                             "tf_half_pixel_for_nn", "tf_crop_and_resize"};
static const char *const rounding_name[ROUNDINGS] = {"round", "round_prefer_floor",
                                                     "round_prefer_ceil", "floor", "ceil"};
static const char *const method_name[] = {"nearest_neighbor", "linear", "cubic"};
static const char *const spatial_letters[] = {"", "W", "HW", "DHW"};

typedef struct {
  int n; /* spatial dimensions               */
  Layout layout;
  int axis[MAX_SPATIAL]; /* where they stand in the shape    */
  Method method;
  Mode mode;
  Rounding rounding;
  double alpha, extrapolation;
  bool exclude;
} Resize;

/* ---- attributes ---- */
static int find(const char *const *names, int n, const char *text) {
  for (int i = 0; i < n; i++)
    if (!strcmp(names[i], text)) return i;
  return -1;
}
/* linear, bilinear and trilinear are one; so are cubic and bicubic. */
static int find_method(const char *text) {
  size_t skip = !strncmp(text, "bi", 2) ? 2 : !strncmp(text, "tri", 3) ? 3 : 0;
  return find(method_name, 3, text + skip);
}
/* The record's attribute, or NULL when it has none of that name. */
static const OpAttrVal *maybe(const OpAttrs *a, const char *name) {
  for (int i = 0; i < OP_MAX_ATTRS && a->op->attrs[i].name; i++)
    if (!strcmp(a->op->attrs[i].name, name)) return &a->at[i];
  return NULL;
}
static const char *mode_text(const OpAttrs *a) {
  const OpAttrVal *align = maybe(a, "align_corners");
  if (align) return align->i ? "align_corners" : "asymmetric";
  return attr_str(a, "coordinate_transformation_mode");
}
static const char *rounding_text(const OpAttrs *a) {
  const OpAttrVal *v = maybe(a, "rounding_method");
  if (v && v->s && *v->s) return v->s;
  return !strcmp(mode_text(a), "align_corners") ? "round" : "floor";
}
static int find_axis(const Layout *l, char letter) {
  for (int i = 0; i < l->n; i++)
    if (l->axis[i].letter == letter) return i;
  return 0;
}

/* Attributes that the relation has accepted. */
static Resize read_resize(const OpAttrs *a) {
  Resize s = {.n = a->op->variant & SPATIAL};
  const OpAttrVal *alpha = maybe(a, "cubic_alpha"), *exclude = maybe(a, "cubic_exclude"),
                  *extra = maybe(a, "extrapolation_value");
  s.method = (Method)find_method(attr_str(a, "method"));
  s.mode = (Mode)find(mode_name, MODES, mode_text(a));
  s.rounding = (Rounding)find(rounding_name, ROUNDINGS, rounding_text(a));
  s.alpha = alpha ? alpha->f : -0.5, s.extrapolation = extra ? extra->f : 0,
  s.exclude = exclude && exclude->i;
  layout_parse(attr_str(a, "layout"), &s.layout);
  for (int i = 0; i < s.n; i++) s.axis[i] = find_axis(&s.layout, spatial_letters[s.n][i]);
  return s;
}

static bool check_resize(Rel *r, Resize *s) {
  const OpAttrs *a = rel_attrs(r);
  int n = rel_op(r)->variant & SPATIAL;
  char letters[8] = "NC";
  strcat(letters, spatial_letters[n]);
  if (find_method(attr_str(a, "method")) < 0)
    return rel_error(r, "method must be nearest_neighbor, linear or cubic, found \"%s\"",
                     attr_str(a, "method"));
  if (find(mode_name, MODES, mode_text(a)) < 0)
    return rel_error(r, "there is no coordinate_transformation_mode \"%s\"", mode_text(a));
  if (find(rounding_name, ROUNDINGS, rounding_text(a)) < 0)
    return rel_error(r,
                     "rounding_method must be round, round_prefer_floor, round_prefer_ceil, floor "
                     "or ceil, found \"%s\"",
                     rounding_text(a));
  Layout l;
  if (!layout_want(r, "layout", attr_str(a, "layout"), letters, &l)) return false;
  for (int i = 0; i < n; i++)
    if (layout_factor(&l, spatial_letters[n][i]) != 1)
      return rel_error(r, "layout must not split axis %c", spatial_letters[n][i]);
  *s = read_resize(a);
  return layout_of_operand(r, 0, &s->layout) && rel_want_class(r, 0, "fiu");
}

/* ---- extents ---- */
/* round(d * scale), Any beyond 64 bits, or NULL when that has to wait until running. */
static Dim scaled(DimTab *t, Dim d, double scale) {
  int64_t c;
  if (!(scale > 0) || scale > 1 << 20) return NULL;
  if (dim_is_const(d, &c)) {
    double e = floor((double)c * scale + 0.5);
    return e < 0x1p63 ? dim_const(t, (int64_t)e) : dim_any(t);
  }
  for (int64_t q = 1; q <= 1 << 16; q *= 2) {
    double p = scale * (double)q;
    if (p == floor(p))
      return dim_div(t, dim_add(t, dim_mul(t, d, dim_const(t, 2 * (int64_t)p)), dim_const(t, q)),
                     dim_const(t, 2 * q));
  }
  return NULL;
}
static const char *const scale_name[] = {"scale_d", "scale_h", "scale_w"};

/* The scale of spatial axis i: an attribute, or a tensor's constant. */
static bool known_scale(const OpAttrs *a, const Tensor *c, int n, int i, double *scale) {
  if (!(a->op->variant & DYNAMIC))
    return *scale = attr_float(a, scale_name[MAX_SPATIAL - n + i]), true;
  if (!c) return false;
  *scale = relkit_const_float(c, 0);
  return true;
}
static bool upsampled(Rel *r, const Resize *s, int i, Dim *out) {
  double scale;
  bool dynamic = rel_op(r)->variant & DYNAMIC;
  if (dynamic && !relkit_want_scalar(r, 1 + i, "fiu")) return false;
  Dim in = rel_tensor(r, 0).dim[s->axis[i]], e = NULL;
  if (known_scale(rel_attrs(r), dynamic ? rel_constant(r, 1 + i) : NULL, s->n, i, &scale)) {
    if (!(scale > 0) || scale > 1 << 20)
      return rel_error(r, "%s must be positive and at most 2^20, found %g",
                       scale_name[MAX_SPATIAL - s->n + i], scale);
    e = scaled(rel_dims(r), in, scale);
  }
  out[s->axis[i]] = e ? e : rel_unknown(r);
  return true;
}
/* As operand `size`; known if that is a constant. */
static bool given_sizes(Rel *r, const Resize *s, Dim *out) {
  if (!rel_want_rank(r, 1, 1) || !rel_want_class(r, 1, "iu") || !rel_want_rank(r, 2, 1) ||
      !rel_want_class(r, 2, "f"))
    return false;
  Dim n = dim_const(rel_dims(r), s->n), corners = dim_const(rel_dims(r), 2 * s->n);
  const Tensor *c = rel_constant(r, 1);
  if (!rel_same_dim(r, rel_tensor(r, 1).dim[0], n, "the length of size and the spatial axes") ||
      (s->mode == TF_CROP_AND_RESIZE &&
       !rel_same_dim(r, rel_tensor(r, 2).dim[0], corners,
                     "the length of roi and twice the spatial axes")))
    return false;
  for (int i = 0; i < s->n; i++) {
    int64_t e = c ? relkit_const_int(c, i) : 0;
    if (e < 0) return rel_error(r, "size must hold extents >= 0, found %lld", (long long)e);
    out[s->axis[i]] = c ? dim_const(rel_dims(r), e) : rel_unknown(r);
  }
  return true;
}
static bool sizes(Rel *r, const Resize *s, Dim *out) {
  const OpAttrVal *size = opattr(rel_attrs(r), "size");
  if (rel_op(r)->variant & DYNAMIC) return given_sizes(r, s, out);
  if (size->none || size->n != s->n)
    return rel_error(r, "size has %d values; it takes %d", size->none ? 0 : size->n, s->n);
  for (int i = 0; i < s->n; i++) {
    if (size->ints[i] < 0)
      return rel_error(r, "size must hold extents >= 0, found %lld", (long long)size->ints[i]);
    out[s->axis[i]] = dim_const(rel_dims(r), size->ints[i]);
  }
  return true;
}

/* A resized image has points to take its values from. */
static bool want_pixels(Rel *r, const Resize *s) {
  Dim one = dim_const(rel_dims(r), 1);
  for (int i = 0; i < s->n; i++)
    if (!rel_at_least(r, rel_tensor(r, 0).dim[s->axis[i]], one, "a spatial extent of data and 1"))
      return false;
  return true;
}

static DType result_type(const OpAttrs *a, DType data) {
  const OpAttrVal *v = maybe(a, "out_dtype");
  return !v || v->none || !v->given ? data : v->dtype;
}
static bool rel_resize(Rel *r) {
  Resize s = {0};
  Dim out[MAX_RANK];
  if (!check_resize(r, &s)) return false;
  TensorTy x = rel_tensor(r, 0);
  const OpAttrVal *roi = maybe(rel_attrs(r), "roi");
  bool crop = s.mode == TF_CROP_AND_RESIZE && !(rel_op(r)->variant & (DYNAMIC | UPSAMPLING));
  if (crop && (roi->none || roi->n != 2 * s.n))
    return rel_error(r, "roi must have %d values", 2 * s.n);
  for (int i = 0; i < x.rank; i++) out[i] = x.dim[i];
  if (rel_op(r)->variant & UPSAMPLING) {
    for (int i = 0; i < s.n; i++)
      if (!upsampled(r, &s, i, out)) return false;
  } else if (!sizes(r, &s, out) || !want_pixels(r, &s)) {
    return false;
  }
  return rel_result(r, result_type(rel_attrs(r), x.dtype), x.rank, out);
}

/* ---- extents known when running ---- */
/* Extent i of the result as the kernel sees it. */
static KE extent_at(OpK *k, const Resize *s, int i) {
  KB *b = k->b;
  OpPlan *p = k->p;
  double scale;
  KE at = kb_int(b, i), zero = kb_int(b, 0);
  if (!(p->op->variant & UPSAMPLING)) {
    KTensor size = opk_in(k, 1);
    KE e = kb_let(b, kb_cast(b, kb_load(b, size.buf, &at), DT_i64));
    kb_check(b, kb_le(b, zero, e), str_fmt("%s: size is negative", p->op->name));
    return e;
  }
  KE f = KE_NONE;
  if (p->op->variant & DYNAMIC)
    f = kb_cast(b, kb_load(b, opk_in(k, 1 + i).buf, NULL), DT_f64);
  else if (known_scale(p->attrs, NULL, s->n, i, &scale))
    f = kb_float(b, DT_f64, scale);
  f = kb_let(b, f);
  KE good =
      kb_and(b, kb_lt(b, kb_float(b, DT_f64, 0), f), kb_le(b, f, kb_float(b, DT_f64, 1 << 20)));
  kb_check(b, good, str_fmt("%s: a scale must be positive and at most 2^20", p->op->name));
  KE n = kb_cast(b, opk_dim(k, plan_operand(p, 0)->dim[s->axis[i]]), DT_f64);
  return kb_cast(b, kb_un(b, S_floor, kb_add(b, kb_mul(b, n, f), kb_float(b, DT_f64, 0.5))),
                 DT_i64);
}
/* Must extent i be computed when running, or has the relation done so? */
static bool is_open(OpPlan *p, const Resize *s, int i) {
  double scale;
  int64_t c;
  OpOperand *x = plan_operand(p, 0), *y = plan_operand(p, plan_result(p, 0));
  bool dynamic = p->op->variant & DYNAMIC;
  if (dim_is_const(y->dim[s->axis[i]], &c))
    return dynamic && !p->constant[p->op->variant & UPSAMPLING ? 1 + i : 1];
  if (!(p->op->variant & UPSAMPLING)) return dynamic;
  if (!known_scale(p->attrs, dynamic ? p->constant[1 + i] : NULL, s->n, i, &scale)) return true;
  Dim e = scaled(p->cx->dims, x->dim[s->axis[i]], scale);
  /* A scale that became a constant later: the extent is still one of its own. */
  return !e || (dynamic && !dim_equal(y->dim[s->axis[i]], e));
}
static bool bind_extents(OpPlan *p, const Resize *s) {
  bool any = false;
  for (int i = 0; i < s->n; i++) any |= is_open(p, s, i);
  if (!any) return true;
  OpOperand y = *plan_operand(p, plan_result(p, 0));
  Dim n = dim_const(p->cx->dims, s->n);
  OpRef vec = plan_temp(p, DT_i64, 1, &n);
  OpK k = opk_begin(p, "extents");
  KTensor v = opk_out(&k, vec);
  for (int i = 0; i < s->n; i++) {
    KE at = kb_int(k.b, i), e = extent_at(&k, s, i);
    kb_store(k.b, v.buf, &at, e);
  }
  if (!opk_end(&k)) return false;
  for (int i = 0; i < s->n; i++)
    if (is_open(p, s, i)) relkit_bind_dim(p, y.dim[s->axis[i]], vec, i);
  return true;
}

/* ---- positions and taps ---- */
typedef struct {
  OpK k;
  const Resize *s;
  KTensor x, y, roi;
  DType t;
  bool roi_given;
} Ctx;
typedef struct {
  KE pos;
  int n;
  KE index[MAX_TAPS], weight[MAX_TAPS];
} Axis;

static KE num(Ctx *c, double v) { return kb_float(c->k.b, c->t, v); }
static KE region(Ctx *c, int i) {
  if (!c->roi_given) return num(c, opattr(c->k.p->attrs, "roi")->floats[i]);
  KE at = kb_int(c->k.b, i);
  return kb_cast(c->k.b, kb_load(c->k.b, c->roi.buf, &at), c->t);
}

/* Where in data index q of the result stands on spatial axis i. */
static KE position(Ctx *c, int i, KE q) {
  KB *b = c->k.b;
  int a = c->s->axis[i];
  KE w = kb_cast(b, c->x.dim[a], c->t), to = kb_cast(b, c->y.dim[a], c->t), x = kb_cast(b, q, c->t),
     half = num(c, 0.5), one = num(c, 1);
  KE scale = kb_div(b, w, to), last = kb_sub(b, w, one), steps = kb_max(b, kb_sub(b, to, one), one);
  KE centre = kb_sub(b, kb_mul(b, kb_add(b, x, half), scale), half), many = kb_lt(b, one, to);
  switch (c->s->mode) {
  case HALF_PIXEL: return centre;
  case ALIGN_CORNERS: return kb_mul(b, kb_div(b, last, steps), x);
  case ASYMMETRIC: return kb_mul(b, scale, x);
  case PYTORCH_HALF_PIXEL: return kb_select(b, many, centre, num(c, 0));
  case TF_HALF_PIXEL_FOR_NN: return kb_mul(b, kb_add(b, x, half), scale);
  default: break;
  }
  KE from = region(c, i), until = region(c, c->s->n + i);
  KE along = kb_div(b, kb_mul(b, kb_mul(b, x, kb_sub(b, until, from)), last), steps);
  return kb_select(b, many, kb_add(b, kb_mul(b, from, last), along),
                   kb_mul(b, kb_mul(b, half, kb_add(b, from, until)), last));
}

/* The epsilon forgives the rounding of a position that should be whole. */
static KE nearest(Ctx *c, KE x) {
  KB *b = c->k.b;
  switch (c->s->rounding) {
  case ROUND_PREFER_FLOOR: return kb_un(b, S_ceil, kb_sub(b, x, num(c, 0.5)));
  case FLOOR: return kb_un(b, S_floor, kb_add(b, x, num(c, 1e-5)));
  case CEIL: return kb_un(b, S_ceil, kb_sub(b, x, num(c, 1e-5)));
  default: return kb_un(b, S_floor, kb_add(b, x, num(c, 0.5)));
  }
}

/* Keys' cubic convolution with parameter alpha, of the four taps around t. */
static void cubic_weights(Ctx *c, KE t, KE *w) {
  KB *b = c->k.b;
  double a = c->s->alpha;
  /* of 1, t, t^2, t^3 */
  const double coeff[4][4] = {
      {0, a, -2 * a, a}, {1, 0, -(3 + a), a + 2}, {0, -a, 3 + 2 * a, -(a + 2)}, {0, 0, a, -a}};
  KE t2 = kb_mul(b, t, t), t3 = kb_mul(b, t2, t), power[4] = {KE_NONE, t, t2, t3};
  for (int i = 0; i < 4; i++) {
    w[i] = num(c, coeff[i][0]);
    for (int j = 1; j < 4; j++) w[i] = kb_add(b, w[i], kb_mul(b, num(c, coeff[i][j]), power[j]));
  }
}
/* Weights of taps outside [0, n) become 0, the others sum to 1. */
static void exclude_outside(Ctx *c, KE first, KE n, KE *w) {
  KB *b = c->k.b;
  KE sum = num(c, 0);
  for (int i = 0; i < 4; i++) {
    KE at = kb_add(b, first, kb_int(b, i));
    KE inside = kb_and(b, kb_le(b, kb_int(b, 0), at), kb_lt(b, at, n));
    w[i] = kb_select(b, inside, w[i], num(c, 0));
    sum = kb_add(b, sum, w[i]);
  }
  for (int i = 0; i < 4; i++) w[i] = kb_div(b, w[i], sum);
}

static Axis taps(Ctx *c, int i, KE q) {
  KB *b = c->k.b;
  KE n = c->x.dim[c->s->axis[i]], last = kb_sub(b, n, kb_int(b, 1));
  Axis a = {.pos = kb_let(b, position(c, i, q)),
            .n = c->s->method == NEAREST  ? 1
                 : c->s->method == LINEAR ? 2
                                          : 4};
  KE floor = kb_un(b, S_floor, a.pos), frac = kb_sub(b, a.pos, floor);
  KE first = kb_cast(b, c->s->method == NEAREST ? nearest(c, a.pos) : floor, DT_i64);
  if (c->s->method == CUBIC) {
    first = kb_sub(b, first, kb_int(b, 1));
    cubic_weights(c, frac, a.weight);
    if (c->s->exclude) exclude_outside(c, first, n, a.weight);
  } else if (c->s->method == LINEAR) {
    a.weight[0] = kb_sub(b, num(c, 1), frac), a.weight[1] = frac;
  }
  for (int j = 0; j < a.n; j++) {
    a.index[j] = kb_let(b, kb_clamp(b, kb_add(b, first, kb_int(b, j)), kb_int(b, 0), last));
    if (a.n > 1) a.weight[j] = kb_let(b, a.weight[j]);
  }
  return a;
}

/* The sum over the taps of axes i.., innermost axis first; at: the index so far. */
static KE weighted(Ctx *c, const Axis *axis, int i, KE *at) {
  KB *b = c->k.b;
  if (i == c->s->n) {
    KE v = kb_load(b, c->x.buf, at);
    return c->s->method == NEAREST ? v : kb_cast(b, v, c->t);
  }
  KE sum = KE_NONE;
  for (int j = 0; j < axis[i].n; j++) {
    at[c->s->axis[i]] = axis[i].index[j];
    KE v = weighted(c, axis, i + 1, at);
    if (axis[i].n == 1) return v;
    v = kb_mul(b, v, axis[i].weight[j]);
    sum = j ? kb_add(b, sum, v) : v;
  }
  return sum;
}

static bool lower_resize(OpPlan *p) {
  Resize s = read_resize(p->attrs);
  if (!bind_extents(p, &s)) return false;
  Ctx c = {.k = opk_begin(p, p->op->name), .s = &s};
  KB *b = c.k.b;
  c.x = opk_in(&c.k, 0), c.y = opk_out(&c.k, plan_result(p, 0));
  c.t = c.x.dtype == DT_f64 ? DT_f64 : DT_f32;
  c.roi_given =
      (p->op->variant & DYNAMIC) && !(p->op->variant & UPSAMPLING) && s.mode == TF_CROP_AND_RESIZE;
  if (c.roi_given) c.roi = opk_in(&c.k, 2);
  Axis axis[MAX_SPATIAL];
  KE at[K_MAX_RANK], from[K_MAX_RANK];
  /* what an axis needs is computed once per index of it, in its loop */
  for (int d = 0; d < c.y.rank; d++) {
    at[d] = from[d] = kb_for(b, c.y.dim[d], K_PARALLEL);
    for (int i = 0; i < s.n; i++)
      if (s.axis[i] == d) axis[i] = taps(&c, i, at[d]);
  }
  KE v = weighted(&c, axis, 0, from);
  if (s.mode == TF_CROP_AND_RESIZE) {
    KE outside = kb_bool(b, false);
    for (int i = 0; i < s.n; i++) {
      KE last = kb_cast(b, kb_sub(b, c.x.dim[s.axis[i]], kb_int(b, 1)), c.t);
      outside = kb_or(b, outside,
                      kb_or(b, kb_lt(b, axis[i].pos, num(&c, 0)), kb_lt(b, last, axis[i].pos)));
    }
    v = kb_select(b, outside, kb_cast(b, num(&c, s.extrapolation), kb_type(b, v)), v);
  }
  kb_store(b, c.y.buf, at, kb_cast(b, v, c.y.dtype));
  opk_close(&c.k, c.y.rank);
  return opk_end(&c.k);
}

/* ---- records ---- */
#define METHOD(dflt)                                                                               \
  { "method", A_Str, dflt, "nearest_neighbor, linear or cubic" }
#define MODE                                                                                       \
  {                                                                                                \
    "coordinate_transformation_mode", A_Str, "half_pixel",                                         \
        "half_pixel, align_corners, asymmetric, pytorch_half_pixel, tf_half_pixel_for_nn or "      \
        "tf_crop_and_resize"                                                                       \
  }
#define SCALES2(t, dflt)                                                                           \
  {"scale_h", t, dflt, "factor of height"}, { "scale_w", t, dflt, "factor of width" }
#define SCALES3(t, dflt) {"scale_d", t, dflt, "factor of depth"}, SCALES2(t, dflt)
#define RESIZE_ATTRS(size_type, roi_type, layout)                                                  \
  {"size", size_type, "None", "spatial extents of the result"},                                    \
      {"roi", roi_type, "None", "tf_crop_and_resize: starts, then ends, as fractions"},            \
      {"layout", A_Str, layout, "axes of data"}, METHOD("linear"), MODE,                           \
      {"rounding_method", A_Str, "round",                                                          \
       "of nearest_neighbor: round, round_prefer_floor, round_prefer_ceil, floor or ceil; empty: " \
       "floor, for align_corners round"},                                                          \
      {"cubic_alpha", A_Float, "-0.5", "parameter of cubic"},                                      \
      {"cubic_exclude", A_Int, "0", "1: cubic leaves out taps outside data"},                      \
      {"extrapolation_value", A_Float, "0.0", "tf_crop_and_resize: value outside data"}, {         \
    "out_dtype", A_DType, "", "element type of the result; that of data if empty"                  \
  }
#define RECORD(id, text, describe, v, arguments, attributes, ...)                                  \
  const OpDef op_##id = {.name = text,                                                             \
                         .doc = describe,                                                          \
                         .args = {arguments},                                                      \
                         .attrs = {attributes},                                                    \
                         .flags = OP_PURE,                                                         \
                         .pattern = PAT_Injective,                                                 \
                         .rel = rel_resize,                                                        \
                         .lower = lower_resize,                                                    \
                         .variant = v,                                                             \
                         .examples = (const char *const[]){__VA_ARGS__, NULL}}
#define P(...) __VA_ARGS__
#define DATA                                                                                       \
  { "data", "batch, channels, space", false }
#define SCALE(name, of)                                                                            \
  { name, "scalar, factor of " of, false }

RECORD(image_resize1d, "image.resize1d", "Resize one spatial axis.", 1, P(DATA),
       P(RESIZE_ATTRS(A_Ints, A_Floats, "NCW")), "image.resize1d(f32[2,3,5], size=[8])",
       "image.resize1d(f32[?2,3,?7], size=[4], method=\"cubic\", "
       "coordinate_transformation_mode=\"align_corners\")",
       "image.resize1d(f64[1,5,2], size=[9], layout=\"NWC\", method=\"nearest_neighbor\", "
       "coordinate_transformation_mode=\"tf_half_pixel_for_nn\", rounding_method=\"floor\")",
       "image.resize1d(f32[0,3,5], size=[8])");
RECORD(image_resize2d, "image.resize2d", "Resize height and width.", 2, P(DATA),
       P(RESIZE_ATTRS(A_Ints, A_Floats, "NCHW")), "image.resize2d(f32[1,2,5,7], size=[8, 9])",
       "image.resize2d(f32[?1,2,?5,?7], size=[3, 11], "
       "coordinate_transformation_mode=\"asymmetric\", rounding_method=\"\")",
       "image.resize2d(f32[1,2,5,7], size=[8, 4], method=\"cubic\", cubic_exclude=1, "
       "cubic_alpha=-0.75f, coordinate_transformation_mode=\"pytorch_half_pixel\")",
       "image.resize2d(u8[1,5,7,2], size=[10, 3], layout=\"NHWC\", method=\"nearest_neighbor\", "
       "coordinate_transformation_mode=\"asymmetric\", rounding_method=\"floor\")",
       "image.resize2d(f32[1,2,6,8], size=[3, 4], method=\"nearest_neighbor\", "
       "rounding_method=\"round_prefer_floor\")",
       "image.resize2d(f32[1,2,6,8], size=[5, 4], "
       "coordinate_transformation_mode=\"tf_crop_and_resize\", roi=[0.1, 0.2, 0.8, 1.3], "
       "extrapolation_value=7f)",
       "image.resize2d(f16[1,2,4,5], size=[8, 10], out_dtype=\"float32\")",
       "image.resize2d(f32[0,2,5,7], size=[8, 9])");
RECORD(image_resize3d, "image.resize3d", "Resize depth, height and width.", 3, P(DATA),
       P(RESIZE_ATTRS(A_Ints, A_Floats, "NCDHW")), "image.resize3d(f32[1,2,3,4,5], size=[5, 6, 7])",
       "image.resize3d(f32[?1,2,?3,4,5], size=[2, 3, 4], method=\"cubic\", "
       "coordinate_transformation_mode=\"align_corners\")",
       "image.resize3d(f32[1,3,4,5,2], size=[5, 6, 7], layout=\"NDHWC\", "
       "method=\"nearest_neighbor\", rounding_method=\"ceil\")",
       "image.resize3d(f32[0,2,3,4,5], size=[5, 6, 7])");
RECORD(dyn_image_resize2d, "dyn.image.resize2d",
       "Resize height and width to extents known when running.", 2 | DYNAMIC,
       P(DATA, {"size", "(height, width)", false}, {"roi", "starts and ends, as fractions", false}),
       P(RESIZE_ATTRS(A_Ignored, A_Ignored, "NCHW")),
       "dyn.image.resize2d(f32[1,2,5,7], [8, 9]i64, [0, 0, 0, 0]f32)",
       "dyn.image.resize2d(f32[?1,2,?5,7], i64[2]<9, f32[4], method=\"nearest_neighbor\", "
       "coordinate_transformation_mode=\"asymmetric\", rounding_method=\"floor\")",
       "dyn.image.resize2d(f32[1,2,5,7], i32[2]<9, [0.1, 0.2, 0.8, 0.9]f32, "
       "coordinate_transformation_mode=\"tf_crop_and_resize\")");
#define UP2D                                                                                       \
  {"layout", A_Str, "NCHW", "axes of data"}, METHOD("nearest_neighbor"), {                         \
    "align_corners", A_Bool, "False",                                                              \
        "corners meet corners; otherwise positions are divided by the scale"                       \
  }
#define UP3D {"layout", A_Str, "NCDHW", "axes of data"}, METHOD("nearest_neighbor"), MODE
RECORD(nn_upsampling, "nn.upsampling", "Scale height and width by factors.", 2 | UPSAMPLING,
       P(DATA), P(SCALES2(A_Float, NULL), UP2D),
       "nn.upsampling(f32[1,2,4,5], scale_h=2f, scale_w=3f)",
       "nn.upsampling(f32[?1,2,?4,?5], scale_h=1.5f, scale_w=2f, method=\"bilinear\", "
       "align_corners=True)",
       "nn.upsampling(f32[1,4,5,2], scale_h=2f, scale_w=2f, layout=\"NHWC\", method=\"bicubic\")",
       "nn.upsampling(f32[1,2,?4,?5], scale_h=1.3f, scale_w=0.7f)",
       "nn.upsampling(i8[0,2,4,5], scale_h=2f, scale_w=3f)");
RECORD(nn_upsampling3d, "nn.upsampling3d", "Scale depth, height and width by factors.",
       3 | UPSAMPLING, P(DATA), P(SCALES3(A_Float, NULL), UP3D),
       "nn.upsampling3d(f32[1,2,3,4,5], scale_d=2f, scale_h=2f, scale_w=3f)",
       "nn.upsampling3d(f32[?1,2,?3,4,5], scale_d=1.5f, scale_h=2f, scale_w=1f, "
       "method=\"trilinear\", coordinate_transformation_mode=\"align_corners\")",
       "nn.upsampling3d(f32[1,3,4,5,2], scale_d=2f, scale_h=2f, scale_w=2f, layout=\"NDHWC\", "
       "coordinate_transformation_mode=\"asymmetric\")");
RECORD(dyn_nn_upsampling, "dyn.nn.upsampling",
       "Scale height and width by factors known when running.", 2 | UPSAMPLING | DYNAMIC,
       P(DATA, SCALE("scale_h", "height"), SCALE("scale_w", "width")),
       P(SCALES2(A_Ignored, "None"), UP2D), "dyn.nn.upsampling(f32[1,2,4,5], 2f, 3f)",
       "dyn.nn.upsampling(f32[?1,2,?4,5], f32[]>0, f32[]>0)",
       "dyn.nn.upsampling(f32[1,2,4,5], f64[]>0, 2f, method=\"bilinear\", align_corners=True)");
RECORD(dyn_nn_upsampling3d, "dyn.nn.upsampling3d",
       "Scale depth, height and width by factors known when running.", 3 | UPSAMPLING | DYNAMIC,
       P(DATA, SCALE("scale_d", "depth"), SCALE("scale_h", "height"), SCALE("scale_w", "width")),
       P(SCALES3(A_Ignored, "None"), UP3D), "dyn.nn.upsampling3d(f32[1,2,3,4,5], 2f, 1f, 3f)",
       "dyn.nn.upsampling3d(f32[?1,2,?3,4,5], f32[]>0, 2f, f32[]>0, method=\"trilinear\")");
