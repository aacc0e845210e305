/* op_conv.c -- convolutions of one to three spatial dimensions, grouped, dilated
 * and packed, as one contraction:
 *
 *   y[n, g, o, q...] += x[n, (g, ci), q * stride + k * dilation - pad] * w[(g, o), ci, k...]
 *
 * Spatial axes are called D H W; a 2-d operator has H W, a 1-d one W.         */
#include "stdlib/conv.h"

bool conv_rel(Rel *r) {
  Conv c;
  if (!conv_check(r, &c)) return false;
  DimTab *t = rel_dims(r);
  TensorTy x = rel_tensor(r, 0), w = rel_tensor(r, 1);
  Dim logical[MAX_SPATIAL + 2], k[MAX_SPATIAL], out[MAX_RANK];
  Dim g = dim_const(t, c.groups), o = layout_extent(t, &c.w, w.dim, 'O'),
      ci = layout_extent(t, &c.w, w.dim, 'I');
  Dim in = layout_extent(t, &c.x, x.dim, 'C');
  for (int i = 0; i < c.n; i++) k[i] = layout_extent(t, &c.w, w.dim, c.data[2 + i]);
  if (!rel_same_dim(r, in, dim_mul(t, ci, g),
                    "the channels of data and groups times those of the weight") ||
      !conv_check_given(r, &c, o, k) ||
      !rel_same_dim(r, dim_mod(t, o, g), dim_const(t, 0),
                    "the output channels modulo groups and zero"))
    return false;
  logical[0] = layout_extent(t, &c.x, x.dim, 'N'), logical[1] = o;
  if (!conv_extents(r, &c, x.dim, k, logical + 2)) return false;
  if (!layout_whole(r, &c.y, c.data, logical)) return false;
  layout_shape(t, &c.y, c.data, logical, out);
  return rel_result(r, conv_out_dtype(rel_attrs(r), x.dtype), c.y.n, out);
}

bool conv_lower(OpPlan *p) {
  bool ok, padded = false;
  Conv c = conv_read(p->op, p->attrs, &ok);
  DimTab *t = p->cx->dims;
  OpOperand *xo = plan_operand(p, 0), *wo = plan_operand(p, 1),
            *yo = plan_operand(p, plan_result(p, 0));
  OpK k = opk_begin(p, p->op->name);
  KTensor x = opk_in(&k, 0), w = opk_in(&k, 1), y = opk_out(&k, plan_result(p, 0));
  ConvZeros zero = conv_zeros(&k);
  KE at[MAX_RANK], logical[MAX_SPATIAL + 2];
  ConvExtents e;
  ConvVars v;
  for (int i = 0; i < c.n; i++) padded |= c.before[i] || c.after[i];
  conv_spatial(&k, &c, yo->dim, wo->dim, &e);
  e.i = opk_dim(&k, dim_mul(t, layout_extent(t, &c.w, wo->dim, 'I'), dim_const(t, c.groups)));
  e.o = opk_dim(&k, layout_extent(t, &c.w, wo->dim, 'O'));
  e.n = opk_dim(&k, layout_extent(t, &c.x, xo->dim, 'N'));
  conv_open(&k, &c, &e, &v);
  DType acc = relkit_acc(y.dtype);
  logical[0] = v.n, logical[1] = kb_add(k.b, kb_mul(k.b, v.g, v.cg), v.ci);
  for (int i = 0; i < c.n; i++)
    logical[2 + i] = kb_sub(k.b,
                            kb_add(k.b, kb_mul(k.b, v.q[i], kb_int(k.b, c.stride[i])),
                                   kb_mul(k.b, v.k[i], kb_int(k.b, c.dilation[i]))),
                            kb_int(k.b, c.before[i]));
  layout_index(&k, &c.x, c.data, logical, at);
  KE a = padded ? kb_load_or(k.b, x.buf, at, conv_outside(&k, &zero, x.dtype))
                : kb_load(k.b, x.buf, at);
  KE out = kb_add(k.b, kb_mul(k.b, v.g, v.og), v.o);
  logical[0] = out, logical[1] = v.ci;
  for (int i = 0; i < c.n; i++) logical[2 + i] = v.k[i];
  layout_index(&k, &c.w, c.kernel, logical, at);
  KE b = kb_load(k.b, w.buf, at), first = kb_int(k.b, 0);
  KE sum = kb_contract_acc(k.b, acc, conv_factor(&k, &zero, 0, a, first, acc),
                           conv_factor(&k, &zero, 1, b, out, acc));
  conv_store(&k, &c, y, &v, sum);
  return opk_end(&k);
}

/* ---- records -------------------------------------------------------------------------- */
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
