/* op_conv_weight.c -- the gradient of a convolution by its weight:
 *
 *   dw[(g, o), ci, k] = sum over n, q of
 *     dy[n, (g, o), q] * x[n, (g, ci), q * stride + k * dilation - pad]         */
#include "stdlib/conv.h"

/* Here kernel_layout is that of grad and out_layout that of the result, as
 * TVM's gradient writes them; either may be left at its default. */
typedef struct {
  const char *grad, *result;
} BackLayouts;
static BackLayouts back_layouts(const OpAttrs *a, const Conv *c) {
  const char *kernel = conv_text(a, "kernel_layout", c->kernel);
  return (BackLayouts){strchr(kernel, 'N') ? kernel : conv_text(a, "data_layout", c->data),
                       conv_text(a, "out_layout", strchr(kernel, 'O') ? kernel : c->kernel)};
}
static Conv read_backward(const OpDef *op, const OpAttrs *a, bool *padding_ok) {
  Conv c = conv_read(op, a, padding_ok);
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
  return layout_want(r, "data_layout", conv_text(a, "data_layout", c->data), c->data, &c->x) &&
         layout_want(r, "kernel_layout", l.grad, c->data, &c->y) &&
         layout_want(r, "out_layout", l.result, c->kernel, &c->w) && conv_windows_ok(r, c) &&
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
  return rel_result(r, conv_out_dtype(rel_attrs(r), x.dtype), c.w.n, out);
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
  DType acc = relkit_acc(dw.dtype);
  KE sum = kb_contract_acc(k.b, acc, kb_cast(k.b, a, acc), kb_cast(k.b, b, acc));
  logical[0] = out, logical[1] = par[2];
  for (int i = 0; i < c.n; i++) logical[2 + i] = par[3 + i];
  layout_index(&k, &c.w, c.kernel, logical, at);
  kb_store(k.b, dw.buf, at, kb_cast(k.b, sum, dw.dtype));
  kb_contract_end(k.b);
  return opk_end(&k);
}

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
