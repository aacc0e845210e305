/* conv.c -- what the families of convolutions share: attributes, extents, the loops
 * of the contraction, zero points.                                            */
#include "stdlib/conv.h"

static bool is_quantized(const OpDef *op) { return op->args[2].name != NULL; }

/* ---- attributes ----------------------------------------------------------------------- */
const char *conv_text(const OpAttrs *a, const char *name, const char *other) {
  const OpAttrVal *v = opattr(a, name);
  return v->none || !v->s || !*v->s ? other : v->s;
}

Conv conv_read(const OpDef *op, const OpAttrs *a, bool *padding_ok) {
  Conv c = {.n = op->variant & 3};
  static const char *const letters[] = {"", "W", "HW", "DHW"};
  strcpy(c.data, "NC"), strcat(c.data, letters[c.n]);
  strcpy(c.kernel, "OI"), strcat(c.kernel, letters[c.n]);
  c.groups = attr_int(a, "groups");
  window_ints(a, "strides", c.n, 1, c.stride);
  window_ints(a, "dilation", c.n, 1, c.dilation);
  *padding_ok = window_padding(a, c.n, c.before, c.after);
  layout_parse(conv_text(a, "data_layout", c.data), &c.x);
  layout_parse(conv_text(a, "kernel_layout", c.kernel), &c.w);
  layout_parse(conv_text(a, "out_layout", conv_text(a, "data_layout", c.data)), &c.y);
  return c;
}

bool conv_windows_ok(Rel *r, const Conv *c) {
  return window_want_padding(r, c->n, c->before, c->after) && window_want(r, "strides", c->n, 1) &&
         window_want(r, "dilation", c->n, 1) && window_want(r, "kernel_size", c->n, 0);
}

bool conv_check(Rel *r, Conv *c) {
  bool ok;
  const OpAttrs *a = rel_attrs(r);
  *c = conv_read(rel_op(r), a, &ok);
  if (!ok)
    return rel_error(r, "padding has %d values; it takes 1, %d or %d", opattr(a, "padding")->n,
                     c->n, 2 * c->n);
  if (!layout_want(r, "data_layout", conv_text(a, "data_layout", c->data), c->data, &c->x) ||
      !layout_want(r, "kernel_layout", conv_text(a, "kernel_layout", c->kernel), c->kernel,
                   &c->w) ||
      !layout_want(r, "out_layout",
                   conv_text(a, "out_layout", conv_text(a, "data_layout", c->data)), c->data,
                   &c->y))
    return false;
  if (c->groups < 1)
    return rel_error(r, "groups must be at least 1, found %lld", (long long)c->groups);
  bool quantized = is_quantized(rel_op(r));
  return conv_windows_ok(r, c) && layout_of_operand(r, 0, &c->x) &&
         layout_of_operand(r, 1, &c->w) &&
         (quantized ? rel_want_class(r, 1, "iu") : rel_same_dtype(r, 0, 1)) &&
         rel_want_class(r, 0, quantized ? "iu" : "fiu");
}

DType conv_out_dtype(const OpAttrs *a, DType dflt) {
  const OpAttrVal *v = opattr(a, "out_dtype");
  if (is_quantized(a->op)) dflt = DT_i32;
  return v->none || !v->given ? dflt : v->dtype;
}

/* channels and kernel_size, when given, must agree with the weight. */
bool conv_check_given(Rel *r, const Conv *c, Dim o, const Dim *k) {
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

bool conv_extents(Rel *r, const Conv *c, const Dim *x, const Dim *k, Dim *out) {
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

void conv_spatial(OpK *k, const Conv *c, const Dim *y, const Dim *w, ConvExtents *e) {
  DimTab *t = k->p->cx->dims;
  for (int i = 0; i < c->n; i++) {
    e->q[i] = opk_dim(k, layout_extent(t, &c->y, y, c->data[2 + i]));
    e->k[i] = opk_dim(k, layout_extent(t, &c->w, w, c->data[2 + i]));
  }
}

void conv_open(OpK *k, const Conv *c, const ConvExtents *e, ConvVars *v) {
  char order[MAX_SPATIAL + 4];
  KE ext[MAX_SPATIAL + 3], par[MAX_SPATIAL + 3], red_ext[MAX_SPATIAL + 1], red[MAX_SPATIAL + 1];
  int n = par_order(c, order);
  KE groups = kb_int(k->b, c->groups);
  v->og = kb_fdiv(k->b, e->o, groups), v->cg = kb_fdiv(k->b, e->i, groups);
  for (int i = 0; i < n; i++)
    ext[i] = order[i] == 'N'   ? e->n
             : order[i] == 'G' ? groups
             : order[i] == 'C' ? v->og
                               : e->q[strchr(c->data + 2, order[i]) - (c->data + 2)];
  red_ext[0] = v->cg;
  for (int i = 0; i < c->n; i++) red_ext[1 + i] = e->k[i];
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

void conv_store(OpK *k, const Conv *c, KTensor y, const ConvVars *v, KE acc) {
  KE logical[MAX_SPATIAL + 2] = {v->n, kb_add(k->b, kb_mul(k->b, v->g, v->og), v->o)}, at[MAX_RANK];
  for (int i = 0; i < c->n; i++) logical[2 + i] = v->q[i];
  layout_index(k, &c->y, c->data, logical, at);
  kb_store(k->b, y.buf, at, kb_cast(k->b, acc, y.dtype));
  kb_contract_end(k->b);
}

ConvZeros conv_zeros(OpK *k) {
  ConvZeros z = {.used = is_quantized(k->p->op)};
  for (int i = 0; z.used && i < 2; i++) z.at[i] = opk_in(k, 2 + i);
  return z;
}
static KE zero_point(OpK *k, KTensor z, KE channel) {
  KE at = kb_min(k->b, channel, z.rank ? kb_sub(k->b, z.dim[0], kb_int(k->b, 1)) : channel);
  return kb_load(k->b, z.buf, z.rank ? &at : NULL);
}
KE conv_outside(OpK *k, const ConvZeros *z, DType t) {
  return z->used ? kb_cast(k->b, zero_point(k, z->at[0], kb_int(k->b, 0)), t) : opk_zero(k, t);
}
KE conv_factor(OpK *k, const ConvZeros *z, int i, KE e, KE channel, DType acc) {
  e = kb_cast(k->b, e, acc);
  return z->used ? kb_sub(k->b, e, kb_cast(k->b, zero_point(k, z->at[i], channel), acc)) : e;
}
