/* op_conv.c -- convolutions of one to three spatial dimensions, grouped, dilated
 * and packed, as one contraction:
 *
 *   y[n, g, o, q...] += x[n, (g, ci), q * stride + k * dilation - pad] * w[(g, o), ci, k...]
 *
 * Spatial axes are called D H W; a 2-d operator has H W, a 1-d one W.         */
#include "stdlib/conv.h"
#include "stdlib/layout.h"

typedef struct {
  int n;                                               /* spatial dimensions                */
  char data[MAX_SPATIAL + 3], kernel[MAX_SPATIAL + 3]; /* "NCHW", "OIHW"        */
  Layout x, w, y;
  int64_t groups, stride[MAX_SPATIAL], dilation[MAX_SPATIAL], before[MAX_SPATIAL],
      after[MAX_SPATIAL];
  int64_t out_pad[MAX_SPATIAL];
} Conv;

static bool is_quantized(const OpDef *op) { return op->args[2].name != NULL; }

/* ---- attributes ----------------------------------------------------------------------- */
static const char *text_or(const OpAttrs *a, const char *name, const char *other) {
  const OpAttrVal *v = opattr(a, name);
  return v->none || !v->s || !*v->s ? other : v->s;
}

static Conv read_conv(const OpDef *op, const OpAttrs *a, bool *padding_ok) {
  Conv c = {.n = op->variant & 3};
  static const char *const letters[] = {"", "W", "HW", "DHW"};
  strcpy(c.data, "NC"), strcat(c.data, letters[c.n]);
  strcpy(c.kernel, "OI"), strcat(c.kernel, letters[c.n]);
  c.groups = attr_int(a, "groups");
  window_ints(a, "strides", c.n, 1, c.stride);
  window_ints(a, "dilation", c.n, 1, c.dilation);
  *padding_ok = window_padding(a, c.n, c.before, c.after);
  layout_parse(text_or(a, "data_layout", c.data), &c.x);
  layout_parse(text_or(a, "kernel_layout", c.kernel), &c.w);
  layout_parse(text_or(a, "out_layout", text_or(a, "data_layout", c.data)), &c.y);
  return c;
}

static bool windows_ok(Rel *r, const Conv *c) {
  return window_want_padding(r, c->n, c->before, c->after) && window_want(r, "strides", c->n, 1) &&
         window_want(r, "dilation", c->n, 1) && window_want(r, "kernel_size", c->n, 0);
}

static bool check_conv(Rel *r, Conv *c) {
  bool ok;
  const OpAttrs *a = rel_attrs(r);
  *c = read_conv(rel_op(r), a, &ok);
  if (!ok)
    return rel_error(r, "padding has %d values; it takes 1, %d or %d", opattr(a, "padding")->n,
                     c->n, 2 * c->n);
  if (!layout_want(r, "data_layout", text_or(a, "data_layout", c->data), c->data, &c->x) ||
      !layout_want(r, "kernel_layout", text_or(a, "kernel_layout", c->kernel), c->kernel, &c->w) ||
      !layout_want(r, "out_layout", text_or(a, "out_layout", text_or(a, "data_layout", c->data)),
                   c->data, &c->y))
    return false;
  if (c->groups < 1)
    return rel_error(r, "groups must be at least 1, found %lld", (long long)c->groups);
  bool quantized = is_quantized(rel_op(r));
  return windows_ok(r, c) && layout_of_operand(r, 0, &c->x) && layout_of_operand(r, 1, &c->w) &&
         (quantized ? rel_want_class(r, 1, "iu") : rel_same_dtype(r, 0, 1)) &&
         rel_want_class(r, 0, quantized ? "iu" : "fiu");
}

static DType out_dtype(const OpAttrs *a, DType dflt) {
  const OpAttrVal *v = opattr(a, "out_dtype");
  if (is_quantized(a->op)) dflt = DT_i32;
  return v->none || !v->given ? dflt : v->dtype;
}

/* channels and kernel_size, when given, must agree with the weight. */
static bool check_given(Rel *r, const Conv *c, Dim o, const Dim *k) {
  const OpAttrVal *ch = opattr(rel_attrs(r), "channels"), *ks = opattr(rel_attrs(r), "kernel_size");
  DimTab *t = rel_dims(r);
  if (ch->given && !ch->none &&
      !rel_same_dim(r, o, dim_const(t, ch->i), "the output channels of the weight and channels"))
    return false;
  for (int i = 0; ks->given && !ks->none && ks->n && i < c->n; i++)
    if (!rel_same_dim(r, k[i], dim_const(t, ks->ints[ks->n == 1 ? 0 : i]),
                      "the kernel's extent and kernel_size"))
      return false;
  return true;
}

/* ---- convolution ------------------------------------------------------------------------- */
/* The extents of the result of x by windows of k. */
static bool conv_extents(Rel *r, const Conv *c, const Dim *x, const Dim *k, Dim *out) {
  DimTab *t = rel_dims(r);
  for (int i = 0; i < c->n; i++) {
    Dim padded = dim_add(t, layout_extent(t, &c->x, x, c->data[2 + i]),
                         dim_const(t, c->before[i] + c->after[i]));
    Dim reach =
        dim_add(t, dim_mul(t, dim_sub(t, k[i], dim_const(t, 1)), dim_const(t, c->dilation[i])),
                dim_const(t, 1));
    if (!rel_at_least(r, padded, reach, "the padded data and the kernel's reach")) return false;
    out[i] = dim_add(t, dim_div(t, dim_sub(t, padded, reach), dim_const(t, c->stride[i])),
                     dim_const(t, 1));
  }
  return true;
}

bool conv_rel(Rel *r) {
  Conv c;
  if (!check_conv(r, &c)) return false;
  DimTab *t = rel_dims(r);
  TensorTy x = rel_tensor(r, 0), w = rel_tensor(r, 1);
  Dim logical[MAX_SPATIAL + 2], k[MAX_SPATIAL], out[MAX_RANK];
  Dim g = dim_const(t, c.groups), o = layout_extent(t, &c.w, w.dim, 'O'),
      ci = layout_extent(t, &c.w, w.dim, 'I');
  Dim in = layout_extent(t, &c.x, x.dim, 'C');
  for (int i = 0; i < c.n; i++) k[i] = layout_extent(t, &c.w, w.dim, c.data[2 + i]);
  if (!rel_same_dim(r, in, dim_mul(t, ci, g),
                    "the channels of data and groups times those of the weight") ||
      !check_given(r, &c, o, k) ||
      !rel_same_dim(r, dim_mod(t, o, g), dim_const(t, 0),
                    "the output channels modulo groups and zero"))
    return false;
  logical[0] = layout_extent(t, &c.x, x.dim, 'N'), logical[1] = o;
  if (!conv_extents(r, &c, x.dim, k, logical + 2)) return false;
  if (!layout_whole(r, &c.y, c.data, logical)) return false;
  layout_shape(t, &c.y, c.data, logical, out);
  return rel_result(r, out_dtype(rel_attrs(r), x.dtype), c.y.n, out);
}

/* Loop variables and extents of the contraction, parallel ones in the order of
 * the output's memory. */
typedef struct {
  KE n, g, o, q[MAX_SPATIAL], ci, k[MAX_SPATIAL];
  KE og, cg; /* channels per group                */
} ConvVars;

static int par_order(const Conv *c, char *order) {
  int n = 0;
  for (int i = 0; i < c->y.n; i++) {
    char l = c->y.axis[i].letter;
    if (c->y.axis[i].inner) continue;
    if (l == 'C' && c->groups > 1) order[n++] = 'G';
    order[n++] = l;
  }
  return n;
}

static void open_conv(OpK *k, const Conv *c, KE batch, KE channels, KE in_channels, const KE *q,
                      const KE *kext, ConvVars *v) {
  char order[MAX_SPATIAL + 4];
  KE ext[MAX_SPATIAL + 3], par[MAX_SPATIAL + 3], red_ext[MAX_SPATIAL + 1], red[MAX_SPATIAL + 1];
  int n = par_order(c, order);
  KE groups = kb_int(k->b, c->groups);
  v->og = kb_fdiv(k->b, channels, groups), v->cg = kb_fdiv(k->b, in_channels, groups);
  for (int i = 0; i < n; i++)
    ext[i] = order[i] == 'N'   ? batch
             : order[i] == 'G' ? groups
             : order[i] == 'C' ? v->og
                               : q[strchr(c->data + 2, order[i]) - (c->data + 2)];
  red_ext[0] = v->cg;
  for (int i = 0; i < c->n; i++) red_ext[1 + i] = kext[i];
  kb_contract_begin(k->b, n, ext, par, 1 + c->n, red_ext, red);
  v->g = kb_int(k->b, 0);
  for (int i = 0; i < n; i++) {
    if (order[i] == 'N')
      v->n = par[i];
    else if (order[i] == 'G')
      v->g = par[i];
    else if (order[i] == 'C')
      v->o = par[i];
    else
      v->q[strchr(c->data + 2, order[i]) - (c->data + 2)] = par[i];
  }
  v->ci = red[0];
  for (int i = 0; i < c->n; i++) v->k[i] = red[1 + i];
}

static void store_conv(OpK *k, const Conv *c, KTensor y, const ConvVars *v, KE acc) {
  KE logical[MAX_SPATIAL + 2] = {v->n, kb_add(k->b, kb_mul(k->b, v->g, v->og), v->o)}, at[MAX_RANK];
  for (int i = 0; i < c->n; i++) logical[2 + i] = v->q[i];
  layout_index(k, &c->y, c->data, logical, at);
  kb_store(k->b, y.buf, at, kb_cast(k->b, acc, y.dtype));
  kb_contract_end(k->b);
}

static DType acc_type(DType out) { return relkit_acc(out); }

/* What stands outside x, and x as a factor: with its zero point taken off. */
typedef struct {
  bool used;
  KTensor at[2];
} Zeros; /* of data, of the weight */
static Zeros open_zeros(OpK *k) {
  Zeros z = {.used = is_quantized(k->p->op)};
  for (int i = 0; z.used && i < 2; i++) z.at[i] = opk_in(k, 2 + i);
  return z;
}
static KE zero_point(OpK *k, KTensor z, KE channel) {
  KE at = kb_min(k->b, channel, z.rank ? kb_sub(k->b, z.dim[0], kb_int(k->b, 1)) : channel);
  return kb_load(k->b, z.buf, z.rank ? &at : NULL);
}
static KE outside(OpK *k, const Zeros *z, DType t) {
  return z->used ? kb_cast(k->b, zero_point(k, z->at[0], kb_int(k->b, 0)), t) : opk_zero(k, t);
}
static KE factor(OpK *k, const Zeros *z, int i, KE e, KE channel, DType acc) {
  e = kb_cast(k->b, e, acc);
  return z->used ? kb_sub(k->b, e, kb_cast(k->b, zero_point(k, z->at[i], channel), acc)) : e;
}

bool conv_lower(OpPlan *p) {
  bool ok, padded = false;
  Conv c = read_conv(p->op, p->attrs, &ok);
  DimTab *t = p->cx->dims;
  OpOperand *xo = plan_operand(p, 0), *wo = plan_operand(p, 1),
            *yo = plan_operand(p, plan_result(p, 0));
  OpK k = opk_begin(p, p->op->name);
  KTensor x = opk_in(&k, 0), w = opk_in(&k, 1), y = opk_out(&k, plan_result(p, 0));
  Zeros zero = open_zeros(&k);
  KE q[MAX_SPATIAL], kext[MAX_SPATIAL], at[MAX_RANK], logical[MAX_SPATIAL + 2];
  ConvVars v;
  for (int i = 0; i < c.n; i++) {
    q[i] = opk_dim(&k, layout_extent(t, &c.y, yo->dim, c.data[2 + i]));
    kext[i] = opk_dim(&k, layout_extent(t, &c.w, wo->dim, c.data[2 + i]));
    padded |= c.before[i] || c.after[i];
  }
  open_conv(&k, &c, opk_dim(&k, layout_extent(t, &c.x, xo->dim, 'N')),
            opk_dim(&k, layout_extent(t, &c.w, wo->dim, 'O')),
            opk_dim(&k, dim_mul(t, layout_extent(t, &c.w, wo->dim, 'I'), dim_const(t, c.groups))),
            q, kext, &v);
  DType acc = acc_type(y.dtype);
  logical[0] = v.n, logical[1] = kb_add(k.b, kb_mul(k.b, v.g, v.cg), v.ci);
  for (int i = 0; i < c.n; i++)
    logical[2 + i] = kb_sub(k.b,
                            kb_add(k.b, kb_mul(k.b, v.q[i], kb_int(k.b, c.stride[i])),
                                   kb_mul(k.b, v.k[i], kb_int(k.b, c.dilation[i]))),
                            kb_int(k.b, c.before[i]));
  layout_index(&k, &c.x, c.data, logical, at);
  KE a = padded ? kb_load_or(k.b, x.buf, at, outside(&k, &zero, x.dtype)) : kb_load(k.b, x.buf, at);
  KE out = kb_add(k.b, kb_mul(k.b, v.g, v.og), v.o);
  logical[0] = out, logical[1] = v.ci;
  for (int i = 0; i < c.n; i++) logical[2 + i] = v.k[i];
  layout_index(&k, &c.w, c.kernel, logical, at);
  KE b = kb_load(k.b, w.buf, at), first = kb_int(k.b, 0);
  KE sum = kb_contract_acc(k.b, acc, factor(&k, &zero, 0, a, first, acc),
                           factor(&k, &zero, 1, b, out, acc));
  store_conv(&k, &c, y, &v, sum);
  return opk_end(&k);
}

/* ---- transposed convolution ------------------------------------------------------------------
 * Each input element spreads over a window of the output; read the other way
 * round: y[q] takes x[(q + pad - k * dilation) / stride] where that is whole.
 * The weight is (I, O / groups, k...): TVM's relation reads kernel_layout with
 * O as the first, input, axis, so its letters O and I name these two.          */
bool conv_transpose_rel(Rel *r) {
  Conv c;
  if (!check_conv(r, &c)) return false;
  DimTab *t = rel_dims(r);
  const OpAttrs *a = rel_attrs(r);
  TensorTy x = rel_tensor(r, 0), w = rel_tensor(r, 1);
  bool io = text_or(a, "kernel_layout", c.kernel)[0] == 'I';
  Dim logical[MAX_SPATIAL + 2], k[MAX_SPATIAL], out[MAX_RANK];
  Dim g = dim_const(t, c.groups), in = layout_extent(t, &c.w, w.dim, io ? 'I' : 'O');
  Dim o = dim_mul(t, layout_extent(t, &c.w, w.dim, io ? 'O' : 'I'), g);
  if (!window_want(r, "output_padding", c.n, 0)) return false;
  window_ints(a, "output_padding", c.n, 0, c.out_pad);
  for (int i = 0; i < c.n; i++) k[i] = layout_extent(t, &c.w, w.dim, c.data[2 + i]);
  if (!rel_same_dim(r, layout_extent(t, &c.x, x.dim, 'C'), in,
                    "the channels of data and the input channels of the weight") ||
      !rel_same_dim(r, dim_mod(t, in, g), dim_const(t, 0),
                    "the input channels modulo groups and zero") ||
      !check_given(r, &c, o, k))
    return false;
  logical[0] = layout_extent(t, &c.x, x.dim, 'N'), logical[1] = o;
  for (int i = 0; i < c.n; i++) {
    Dim e = dim_sub(t, layout_extent(t, &c.x, x.dim, c.data[2 + i]), dim_const(t, 1));
    e = dim_add(t, dim_mul(t, e, dim_const(t, c.stride[i])),
                dim_const(t, c.out_pad[i] + 1 - c.before[i] - c.after[i]));
    e = dim_add(t, e, dim_mul(t, dim_sub(t, k[i], dim_const(t, 1)), dim_const(t, c.dilation[i])));
    if (!rel_at_least(r, e, dim_const(t, 0), "the output's extent and zero")) return false;
    logical[2 + i] = e;
  }
  if (!layout_whole(r, &c.y, c.data, logical)) return false;
  layout_shape(t, &c.y, c.data, logical, out);
  return rel_result(r, out_dtype(a, x.dtype), c.y.n, out);
}

bool conv_transpose_lower(OpPlan *p) {
  bool ok;
  Conv c = read_conv(p->op, p->attrs, &ok);
  DimTab *t = p->cx->dims;
  bool io = text_or(p->attrs, "kernel_layout", c.kernel)[0] == 'I';
  OpOperand *xo = plan_operand(p, 0), *wo = plan_operand(p, 1),
            *yo = plan_operand(p, plan_result(p, 0));
  OpK k = opk_begin(p, p->op->name);
  KTensor x = opk_in(&k, 0), w = opk_in(&k, 1), y = opk_out(&k, plan_result(p, 0));
  Zeros zero = open_zeros(&k);
  KE q[MAX_SPATIAL], kext[MAX_SPATIAL], at[MAX_RANK], logical[MAX_SPATIAL + 2],
      whole = kb_bool(k.b, true);
  ConvVars v;
  for (int i = 0; i < c.n; i++) {
    q[i] = opk_dim(&k, layout_extent(t, &c.y, yo->dim, c.data[2 + i]));
    kext[i] = opk_dim(&k, layout_extent(t, &c.w, wo->dim, c.data[2 + i]));
  }
  Dim o = dim_mul(t, layout_extent(t, &c.w, wo->dim, io ? 'O' : 'I'), dim_const(t, c.groups));
  open_conv(&k, &c, opk_dim(&k, layout_extent(t, &c.x, xo->dim, 'N')), opk_dim(&k, o),
            opk_dim(&k, layout_extent(t, &c.x, xo->dim, 'C')), q, kext, &v);
  DType acc = acc_type(y.dtype);
  KE channel = kb_add(k.b, kb_mul(k.b, v.g, v.cg), v.ci);
  logical[0] = v.n, logical[1] = channel;
  for (int i = 0; i < c.n; i++) {
    KE s = kb_int(k.b, c.stride[i]);
    KE from = kb_sub(k.b, kb_add(k.b, v.q[i], kb_int(k.b, c.before[i])),
                     kb_mul(k.b, v.k[i], kb_int(k.b, c.dilation[i])));
    logical[2 + i] = kb_fdiv(k.b, from, s);
    if (c.stride[i] > 1)
      whole = kb_and(k.b, whole, kb_eq(k.b, kb_fmod(k.b, from, s), kb_int(k.b, 0)));
  }
  layout_index(&k, &c.x, c.data, logical, at);
  KE none = outside(&k, &zero, x.dtype), a = kb_load_or(k.b, x.buf, at, none);
  a = kb_select(k.b, whole, a, none);
  logical[0] = io ? v.o : channel, logical[1] = io ? channel : v.o;
  for (int i = 0; i < c.n; i++) logical[2 + i] = v.k[i];
  layout_index(&k, &c.w, c.kernel, logical, at);
  KE b = kb_load(k.b, w.buf, at), out = kb_add(k.b, kb_mul(k.b, v.g, v.og), v.o);
  KE sum = kb_contract_acc(k.b, acc, factor(&k, &zero, 0, a, channel, acc),
                           factor(&k, &zero, 1, b, out, acc));
  store_conv(&k, &c, y, &v, sum);
  return opk_end(&k);
}

/* ---- gradient of the weight --------------------------------------------------------------------
 * dw[(g, o), ci, k] = sum over n, q of dy[n, (g, o), q] * x[n, (g, ci), q * stride + k * dilation -
 * pad] */
/* Here kernel_layout is that of grad and out_layout that of the result, as
 * TVM's gradient writes them; either may be left at its default. */
typedef struct {
  const char *grad, *result;
} BackLayouts;
static BackLayouts back_layouts(const OpAttrs *a, const Conv *c) {
  const char *kernel = text_or(a, "kernel_layout", c->kernel);
  return (BackLayouts){strchr(kernel, 'N') ? kernel : text_or(a, "data_layout", c->data),
                       text_or(a, "out_layout", strchr(kernel, 'O') ? kernel : c->kernel)};
}
static Conv read_backward(const OpDef *op, const OpAttrs *a, bool *padding_ok) {
  Conv c = read_conv(op, a, padding_ok);
  BackLayouts l = back_layouts(a, &c);
  layout_parse(l.grad, &c.y);
  layout_parse(l.result, &c.w);
  return c;
}

static bool check_backward(Rel *r, Conv *c) {
  bool ok;
  const OpAttrs *a = rel_attrs(r);
  *c = read_backward(rel_op(r), a, &ok);
  BackLayouts l = back_layouts(a, c);
  if (!ok || c->groups < 1) return rel_error(r, "padding or groups is not valid");
  return layout_want(r, "data_layout", text_or(a, "data_layout", c->data), c->data, &c->x) &&
         layout_want(r, "kernel_layout", l.grad, c->data, &c->y) &&
         layout_want(r, "out_layout", l.result, c->kernel, &c->w) && windows_ok(r, c) &&
         layout_of_operand(r, 0, &c->y) && layout_of_operand(r, 1, &c->x) &&
         rel_same_dtype(r, 0, 1) && rel_want_class(r, 0, "f");
}

static bool rel_backward_weight(Rel *r) {
  Conv c;
  if (!check_backward(r, &c)) return false;
  DimTab *t = rel_dims(r);
  const OpAttrVal *ks = opattr(rel_attrs(r), "kernel_size");
  TensorTy dy = rel_tensor(r, 0), x = rel_tensor(r, 1);
  Dim logical[MAX_SPATIAL + 2], out[MAX_RANK], of_result[MAX_SPATIAL];
  Dim g = dim_const(t, c.groups), none = dim_const(t, 0);
  Dim o = layout_extent(t, &c.y, dy.dim, 'C'), in = layout_extent(t, &c.x, x.dim, 'C');
  if (!ks->given || ks->none || !ks->n) return rel_error(r, "kernel_size must be given");
  if (!rel_same_dim(r, layout_extent(t, &c.y, dy.dim, 'N'), layout_extent(t, &c.x, x.dim, 'N'),
                    "the batches of grad and of data") ||
      !rel_same_dim(r, dim_mod(t, o, g), none, "the channels of grad modulo groups and zero") ||
      !rel_same_dim(r, dim_mod(t, in, g), none, "the channels of data modulo groups and zero"))
    return false;
  logical[0] = o, logical[1] = dim_div(t, in, g);
  for (int i = 0; i < c.n; i++) logical[2 + i] = dim_const(t, ks->ints[ks->n == 1 ? 0 : i]);
  if (!conv_extents(r, &c, x.dim, logical + 2, of_result)) return false;
  for (int i = 0; i < c.n; i++)
    if (!rel_same_dim(r, layout_extent(t, &c.y, dy.dim, c.data[2 + i]), of_result[i],
                      "the extents of grad and of the convolution's result"))
      return false;
  if (!layout_whole(r, &c.w, c.kernel, logical)) return false;
  layout_shape(t, &c.w, c.kernel, logical, out);
  return rel_result(r, out_dtype(rel_attrs(r), x.dtype), c.w.n, out);
}

static bool lower_backward_weight(OpPlan *p) {
  bool ok;
  Conv c = read_backward(p->op, p->attrs, &ok);
  DimTab *t = p->cx->dims;
  OpOperand *go = plan_operand(p, 0), *xo = plan_operand(p, 1),
            *wo = plan_operand(p, plan_result(p, 0));
  OpK k = opk_begin(p, p->op->name);
  KTensor dy = opk_in(&k, 0), x = opk_in(&k, 1), dw = opk_out(&k, plan_result(p, 0));
  KE groups = kb_int(k.b, c.groups), ext[MAX_SPATIAL + 3], par[MAX_SPATIAL + 3],
     red_ext[MAX_SPATIAL + 1], red[MAX_SPATIAL + 1];
  KE og = kb_fdiv(k.b, opk_dim(&k, layout_extent(t, &c.y, go->dim, 'C')), groups);
  KE cg = kb_fdiv(k.b, opk_dim(&k, layout_extent(t, &c.x, xo->dim, 'C')), groups), at[MAX_RANK],
     logical[MAX_SPATIAL + 2];
  ext[0] = groups, ext[1] = og, ext[2] = cg;
  red_ext[0] = opk_dim(&k, layout_extent(t, &c.x, xo->dim, 'N'));
  for (int i = 0; i < c.n; i++) {
    ext[3 + i] = opk_dim(&k, layout_extent(t, &c.w, wo->dim, c.data[2 + i]));
    red_ext[1 + i] = opk_dim(&k, layout_extent(t, &c.y, go->dim, c.data[2 + i]));
  }
  kb_contract_begin(k.b, 3 + c.n, ext, par, 1 + c.n, red_ext, red);
  KE out = kb_add(k.b, kb_mul(k.b, par[0], og), par[1]);
  logical[0] = red[0], logical[1] = out;
  for (int i = 0; i < c.n; i++) logical[2 + i] = red[1 + i];
  layout_index(&k, &c.y, c.data, logical, at);
  KE a = kb_load(k.b, dy.buf, at);
  logical[1] = kb_add(k.b, kb_mul(k.b, par[0], cg), par[2]);
  for (int i = 0; i < c.n; i++)
    logical[2 + i] = kb_sub(k.b,
                            kb_add(k.b, kb_mul(k.b, red[1 + i], kb_int(k.b, c.stride[i])),
                                   kb_mul(k.b, par[3 + i], kb_int(k.b, c.dilation[i]))),
                            kb_int(k.b, c.before[i]));
  layout_index(&k, &c.x, c.data, logical, at);
  KE b = kb_load_or(k.b, x.buf, at, opk_zero(&k, x.dtype));
  DType acc = acc_type(dw.dtype);
  KE sum = kb_contract_acc(k.b, acc, kb_cast(k.b, a, acc), kb_cast(k.b, b, acc));
  logical[0] = out, logical[1] = par[2];
  for (int i = 0; i < c.n; i++) logical[2 + i] = par[3 + i];
  layout_index(&k, &c.w, c.kernel, logical, at);
  kb_store(k.b, dw.buf, at, kb_cast(k.b, sum, dw.dtype));
  kb_contract_end(k.b);
  return opk_end(&k);
}

/* ---- records
 * -------------------------------------------------------------------------------------- */
#define CONV(id, text, n, data, kernel, ...)                                                       \
  const OpDef op_##id = {                                                                          \
      .name = text,                                                                                \
      .doc = "Cross-correlation over " #n " spatial dimensions, in groups.",                       \
      .args = {{"data", "batch, channels, space", false},                                          \
               {"weight", "output channels, input channels / groups, kernel", false}},             \
      .attrs = {CONV_ATTRS(data, kernel)},                                                         \
      .flags = OP_PURE | OP_TOTAL_STATIC,                                                          \
      .pattern = PAT_OutFusable,                                                                   \
      .rel = conv_rel,                                                                             \
      .lower = conv_lower,                                                                         \
      .variant = n,                                                                                \
      .examples = (const char *const[]){__VA_ARGS__, NULL}}

CONV(nn_conv1d, "nn.conv1d", 1, "NCW", "OIW", "nn.conv1d(f32[2,3,9], f32[4,3,3], padding=[1])",
     "nn.conv1d(f32[?2,4,?11], f32[6,2,3], groups=2, strides=[2], dilation=[2], padding=[2, 1])",
     "nn.conv1d(f16[1,2,8], f16[3,2,2])", "nn.conv1d(f32[0,3,9], f32[4,3,3])");
CONV(nn_conv2d, "nn.conv2d", 2, "NCHW", "OIHW",
     "nn.conv2d(f32[2,3,8,9], f32[4,3,3,2], padding=[1, 1], channels=4, kernel_size=[3, 2])",
     "nn.conv2d(f32[1,4,?9,?7], f32[6,2,3,3], groups=2, strides=[2, 1], dilation=[1, 2], "
     "padding=[0, 1, 2, 3])",
     "nn.conv2d(f32[1,6,7,5], f32[6,1,3,3], groups=6, padding=[1])",
     "nn.conv2d(f32[1,7,5,6], f32[3,3,6,4], data_layout=\"NHWC\", kernel_layout=\"HWIO\")",
     "nn.conv2d(i8[1,3,6,6], i8[2,3,3,3], out_dtype=\"int32\")",
     "nn.conv2d(f32[0,3,6,6], f32[2,3,3,3])");
CONV(nn_conv3d, "nn.conv3d", 3, "NCDHW", "OIDHW",
     "nn.conv3d(f32[1,2,4,5,6], f32[3,2,2,3,2], padding=[1, 1, 1])",
     "nn.conv3d(f32[?1,4,5,4,6], f32[4,2,2,2,2], groups=2, strides=[1, 2, 1])",
     "nn.conv3d(f32[0,2,4,5,6], f32[3,2,2,3,2])");
CONV(nn_contrib_conv2d_NCHWc, "nn.contrib_conv2d_NCHWc", 2, "NCHW8c", "OIHW8i8o",
     "nn.contrib_conv2d_NCHWc(f32[1,2,5,6,4], f32[3,2,3,3,4,2], data_layout=\"NCHW4c\", "
     "kernel_layout=\"OIHW4i2o\", out_layout=\"NCHW2c\")",
     "nn.contrib_conv2d_NCHWc(f32[?1,2,?5,6,4], f32[3,2,3,3,4,2], data_layout=\"NCHW4c\", "
     "kernel_layout=\"OIHW4i2o\", out_layout=\"NCHW2c\")");
CONV(nn_contrib_depthwise_conv2d_NCHWc, "nn.contrib_depthwise_conv2d_NCHWc", 2, "NCHW8c",
     "OIHW1i8o",
     "nn.contrib_depthwise_conv2d_NCHWc(f32[1,2,5,6,4], f32[2,1,3,3,1,4], groups=8, "
     "data_layout=\"NCHW4c\", kernel_layout=\"OIHW1i4o\", out_layout=\"NCHW4c\")");

#define CONV_T(id, text, n, data, kernel, ...)                                                     \
  const OpDef op_##id = {                                                                          \
      .name = text,                                                                                \
      .doc = "Transposed convolution over " #n                                                     \
             " spatial dimensions (the gradient of a convolution by its data).",                   \
      .args = {{"data", "batch, channels, space", false},                                          \
               {"weight", "input channels, output channels / groups, kernel", false}},             \
      .attrs = {CONV_ATTRS(data, kernel),                                                          \
                {"output_padding", A_Ints, "[0]", "extent added at the end"}},                     \
      .flags = OP_PURE | OP_TOTAL_STATIC,                                                          \
      .pattern = PAT_OutFusable,                                                                   \
      .rel = conv_transpose_rel,                                                                   \
      .lower = conv_transpose_lower,                                                               \
      .variant = n,                                                                                \
      .examples = (const char *const[]){__VA_ARGS__, NULL}}
CONV_T(nn_conv1d_transpose, "nn.conv1d_transpose", 1, "NCW", "OIW",
       "nn.conv1d_transpose(f32[2,3,5], f32[3,4,3], strides=[2], padding=[1], output_padding=[1])",
       "nn.conv1d_transpose(f32[?2,4,?5], f32[4,2,3], groups=2)");
CONV_T(nn_conv2d_transpose, "nn.conv2d_transpose", 2, "NCHW", "OIHW",
       "nn.conv2d_transpose(f32[1,3,4,5], f32[3,2,3,2], strides=[2, 1], padding=[1, 0], "
       "output_padding=[1, 0])",
       "nn.conv2d_transpose(f32[1,4,?4,?5], f32[4,3,2,3], groups=2, dilation=[2, 1])",
       "nn.conv2d_transpose(f32[1,3,4,5], f32[3,2,3,2], kernel_layout=\"IOHW\")",
       "nn.conv2d_transpose(f32[0,3,4,5], f32[3,2,3,2])");
CONV_T(nn_conv3d_transpose, "nn.conv3d_transpose", 3, "NCDHW", "OIDHW",
       "nn.conv3d_transpose(f32[1,2,3,4,3], f32[2,3,2,2,3], strides=[2, 1, 1])",
       "nn.conv3d_transpose(f32[?1,2,3,4,3], f32[2,3,2,2,3])");

const OpDef op_nn_conv2d_backward_weight = {
    .name = "nn.conv2d_backward_weight",
    .doc = "Gradient of nn.conv2d by its weight.",
    .args = {{"grad", "gradient of the result", false}, {"data", "the convolution's data", false}},
    .attrs = {CONV_ATTRS("NCHW", "OIHW")},
    .flags = OP_PURE | OP_TOTAL_STATIC,
    .pattern = PAT_OutFusable,
    .rel = rel_backward_weight,
    .lower = lower_backward_weight,
    .variant = 2,
    .examples = (const char *const[]){
        "nn.conv2d_backward_weight(f32[2,4,6,7], f32[2,3,6,7], kernel_size=[3, 3], padding=[1, 1])",
        "nn.conv2d_backward_weight(f32[1,4,?3,3], f32[1,6,?7,7], kernel_size=[3, 3], groups=2, "
        "strides=[2, 2])",
        NULL}};
