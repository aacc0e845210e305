/* op_conv_transpose.c -- transposed convolutions.
 *
 * Each input element spreads over a window of the output; read the other way
 * round: y[q] takes x[(q + pad - k * dilation) / stride] where that is whole.
 * The weight is (I, O / groups, k...): TVM's relation reads kernel_layout with
 * O as the first, input, axis, so its letters O and I name these two.          */
#include "stdlib/conv.h"

bool conv_transpose_rel(Rel *r) {
  Conv c;
  if (!conv_check(r, &c)) return false;
  DimTab *t = rel_dims(r);
  const OpAttrs *a = rel_attrs(r);
  TensorTy x = rel_tensor(r, 0), w = rel_tensor(r, 1);
  bool io = conv_text(a, "kernel_layout", c.kernel)[0] == 'I';
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
      !conv_check_given(r, &c, o, k))
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
  return rel_result(r, conv_out_dtype(a, x.dtype), c.y.n, out);
}

bool conv_transpose_lower(OpPlan *p) {
  bool ok;
  Conv c = conv_read(p->op, p->attrs, &ok);
  DimTab *t = p->cx->dims;
  bool io = conv_text(p->attrs, "kernel_layout", c.kernel)[0] == 'I';
  OpOperand *xo = plan_operand(p, 0), *wo = plan_operand(p, 1),
            *yo = plan_operand(p, plan_result(p, 0));
  OpK k = opk_begin(p, p->op->name);
  KTensor x = opk_in(&k, 0), w = opk_in(&k, 1), y = opk_out(&k, plan_result(p, 0));
  ConvZeros zero = conv_zeros(&k);
  KE at[MAX_RANK], logical[MAX_SPATIAL + 2], whole = kb_bool(k.b, true);
  ConvExtents e;
  ConvVars v;
  conv_spatial(&k, &c, yo->dim, wo->dim, &e);
  Dim o = dim_mul(t, layout_extent(t, &c.w, wo->dim, io ? 'O' : 'I'), dim_const(t, c.groups));
  e.i = opk_dim(&k, layout_extent(t, &c.x, xo->dim, 'C'));
  e.o = opk_dim(&k, o);
  e.n = opk_dim(&k, layout_extent(t, &c.x, xo->dim, 'N'));
  conv_open(&k, &c, &e, &v);
  DType acc = relkit_acc(y.dtype);
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
  KE none = conv_outside(&k, &zero, x.dtype), a = kb_load_or(k.b, x.buf, at, none);
  a = kb_select(k.b, whole, a, none);
  logical[0] = io ? v.o : channel, logical[1] = io ? channel : v.o;
  for (int i = 0; i < c.n; i++) logical[2 + i] = v.k[i];
  layout_index(&k, &c.w, c.kernel, logical, at);
  KE b = kb_load(k.b, w.buf, at), out = kb_add(k.b, kb_mul(k.b, v.g, v.og), v.o);
  KE sum = kb_contract_acc(k.b, acc, conv_factor(&k, &zero, 0, a, channel, acc),
                           conv_factor(&k, &zero, 1, b, out, acc));
  conv_store(&k, &c, y, &v, sum);
  return opk_end(&k);
}

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
