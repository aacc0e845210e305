/* grad_conv.c -- gradients of convolutions.
 *
 * Convolution C(x, w), its transpose T(g, w) (nn.convNd_transpose) and its weight
 * gradient B(g, x) are the three faces of one trilinear form, so each one's
 * gradients are the other two:  <g, C(x, w)> = <T(g, w), x> = <B(g, x), w>.    */
#include <string.h>
#include "stdlib/grad.h"
#include "stdlib/layout.h"

/* ---- windows ------------------------------------------------------------------------- */
const char *const grad_layouts[] = {"", "NCW", "NCHW", "NCDHW"};

bool grad_order(const char *layout, const char *want, GradInts *perm, GradInts *back) {
  int n = (int)strlen(want);
  perm->n = back->n = n;
  if ((int)strlen(layout) != n) return false;
  for (int i = 0; i < n; i++) {
    const char *at = strchr(layout, want[i]);
    if (!at) return false;
    perm->at[i] = at - layout;
    back->at[at - layout] = i;
  }
  return true;
}

Atom grad_permuted(GradCx *g, Atom a, const GradInts *p) {
  bool same = true;
  for (int i = 0; i < p->n; i++) same &= p->at[i] == i;
  return same ? a : gr(g, "transpose(%a, axes=%l)", a, p);
}

void grad_ints(const GradCx *g, const char *attr, int n, GradInts *out) {
  out->n = n;
  window_ints(g->attrs, attr, n, 1, out->at);
}
void grad_padding(const GradCx *g, int space, GradInts *out) {
  out->n = 2 * space;
  window_padding(g->attrs, space, out->at, out->at + space);
}

/* ---- convolutions -------------------------------------------------------------------- */
typedef struct {
  int space;
  GradInts data, back, weight, weight_back, out, out_back; /* axes to NC..., OI..., and back */
  const char *kind;                                        /* "conv2d"                       */
} Conv;

static const char *layout_of(const GradCx *g, const char *attr, const char *dflt) {
  const char *s = attr_str(g->attrs, attr);
  return s && *s ? s : dflt;
}

static const char *const weight_layouts[] = {"", "OIW", "OIHW", "OIDHW"};
static const char *const kinds[] = {"", "nn.conv1d", "nn.conv2d", "nn.conv3d"};

static bool read_conv(GradCx *g, int space, Conv *c) {
  *c = (Conv){.space = space, .kind = kinds[space]};
  const char *dl = layout_of(g, "data_layout", grad_layouts[space]);
  const char *wl = layout_of(g, "kernel_layout", weight_layouts[space]);
  const char *ol = layout_of(g, "out_layout", dl);
  if (grad_order(dl, grad_layouts[space], &c->data, &c->back) &&
      grad_order(wl, weight_layouts[space], &c->weight, &c->weight_back) &&
      grad_order(ol, grad_layouts[space], &c->out, &c->out_back))
    return true;
  return gr_refuse(g, "no gradient for packed layouts: differentiate the plain ones");
}

typedef struct {
  GradInts stride, dilation, pad;
  int64_t groups;
} Window;
static Window window_of(const GradCx *g, int space) {
  Window w = {.groups = attr_int(g->attrs, "groups")};
  grad_ints(g, "strides", space, &w.stride);
  grad_ints(g, "dilation", space, &w.dilation);
  grad_padding(g, space, &w.pad);
  return w;
}

static Atom conv(GradCx *g, const Conv *c, const Window *w, Atom x, Atom k) {
  const char *text =
      str_fmt("%s(%%a, %%a, strides=%%l, padding=%%l, dilation=%%l, groups=%%d)", c->kind);
  return gr(g, text, x, k, &w->stride, &w->pad, &w->dilation, w->groups);
}

/* T(gy, k) with the extents of `like`: the last few cells may have met no window. */
static Atom conv_transpose(GradCx *g, const Conv *c, const Window *w, Atom gy, Atom k, Atom like) {
  GradInts more = {.n = c->space}, axes = {.n = c->space};
  for (int i = 0; i < c->space; i++) more.at[i] = w->stride.at[i] - 1, axes.at[i] = i + 2;
  const char *text = str_fmt("%s_transpose(%%a, %%a, strides=%%l, padding=%%l, dilation=%%l, "
                             "groups=%%d, output_padding=%%l)",
                             c->kind);
  Atom d = gr(g, text, gy, k, &w->stride, &w->pad, &w->dilation, w->groups, &more);
  return gr(g, "reshape_like(slice_like(%a, %a, axes=%l), %a)", d, like, &axes, like);
}

/* Channels G Cg of a batch of N as a batch of Cg with channels G N. */
static Atom groups_apart(GradCx *g, const Conv *c, Atom x, int64_t groups) {
  GradInts cut = {5, {0, -4, groups, -1, -2}}, join = {3, {0, -3, -2}}, swap = {.n = c->space + 3};
  for (int i = 0; i < swap.n; i++) swap.at[i] = i < 3 ? 2 - i : i;
  x = gr(g, "transpose(reshape(%a, newshape=%l), axes=%l)", x, &cut, &swap);
  return gr(g, "reshape(%a, newshape=%l)", x, &join);
}

/* B(gy, x) for any number of axes: a convolution of x by gy with batch and
 * channels exchanged, steps for dilation and dilation for steps. */
static Atom weight_conv(GradCx *g, const Conv *c, const Window *w, Atom gy, Atom x, Atom like) {
  GradInts swap = {.n = c->space + 2, .at = {1, 0, 2, 3, 4}},
           axes = {.n = c->space, .at = {2, 3, 4}};
  Window other = {w->dilation, w->stride, w->pad, w->groups};
  Atom xs = w->groups == 1 ? grad_permuted(g, x, &swap) : groups_apart(g, c, x, w->groups);
  Atom d = grad_permuted(g, conv(g, c, &other, xs, grad_permuted(g, gy, &swap)), &swap);
  return gr(g, "slice_like(%a, %a, axes=%l)", d, like, &axes);
}

/* B(gy, x) with the extents of the weight `like`, of type t (OI...). */
static Atom conv_weight(GradCx *g, const Conv *c, const Window *w, Atom gy, Atom x, Atom like,
                        const GradInts *kernel) {
  Atom d;
  if (c->space == 2 && kernel->n == 2)
    d = gr(g,
           "nn.conv2d_backward_weight(%a, %a, kernel_size=%l, strides=%l, padding=%l, "
           "dilation=%l, groups=%d)",
           gy, x, kernel, &w->stride, &w->pad, &w->dilation, w->groups);
  else
    d = weight_conv(g, c, w, gy, x, like);
  return gr(g, "reshape_like(%a, %a)", d, like);
}

/* The spatial extents of an OI... weight, if known. */
static void kernel_of(Type *t, const Conv *c, GradInts *out) {
  t = type_resolve(t);
  out->n = c->space;
  for (int i = 0; i < c->space; i++)
    if (!dim_is_const(t->tensor.dim[c->weight.at[i + 2]], &out->at[i])) out->n = 0;
}

static bool conv_rule(GradCx *g, int space) {
  Conv c;
  if (!read_conv(g, space, &c)) return false;
  Window w = window_of(g, space);
  GradInts kernel;
  kernel_of(g->arg_type[1], &c, &kernel);
  Atom x = grad_permuted(g, g->arg[0], &c.data), k = grad_permuted(g, g->arg[1], &c.weight);
  Atom gy = grad_permuted(g, gr_g(g, 0), &c.out);
  if (g->wants[0]) gr_give(g, 0, grad_permuted(g, conv_transpose(g, &c, &w, gy, k, x), &c.back));
  if (g->wants[1])
    gr_give(g, 1, grad_permuted(g, conv_weight(g, &c, &w, gy, x, k, &kernel), &c.weight_back));
  return true;
}
static bool conv1d(GradCx *g) { return conv_rule(g, 1); }
static bool conv2d(GradCx *g) { return conv_rule(g, 2); }
static bool conv3d(GradCx *g) { return conv_rule(g, 3); }

/* y = T(x, w): x as the gradient of a convolution, w as its weight (I O/g ...). */
static bool transpose_rule(GradCx *g, int space) {
  Conv c;
  if (!read_conv(g, space, &c)) return false;
  Window w = window_of(g, space);
  GradInts kernel;
  const char *wl = layout_of(g, "kernel_layout", weight_layouts[space]);
  if (strchr(wl, 'I') < strchr(wl, 'O')) { /* the record reads I as the first axis either way */
    StrBuf b = {0};
    for (const char *s = wl; *s; s++) buf_char(&b, *s == 'I' ? 'O' : *s == 'O' ? 'I' : *s);
    grad_order(buf_text(&b), weight_layouts[space], &c.weight, &c.weight_back);
  }
  kernel_of(g->arg_type[1], &c, &kernel);
  Atom x = grad_permuted(g, g->arg[0], &c.data), k = grad_permuted(g, g->arg[1], &c.weight);
  Atom gy = grad_permuted(g, gr_g(g, 0), &c.out);
  if (g->wants[0]) {
    Atom d = gr(g, "reshape_like(%a, %a)", conv(g, &c, &w, gy, k), x);
    gr_give(g, 0, grad_permuted(g, d, &c.back));
  }
  if (g->wants[1])
    gr_give(g, 1, grad_permuted(g, conv_weight(g, &c, &w, x, gy, k, &kernel), &c.weight_back));
  return true;
}
static bool conv1d_transpose(GradCx *g) { return transpose_rule(g, 1); }
static bool conv2d_transpose(GradCx *g) { return transpose_rule(g, 2); }
static bool conv3d_transpose(GradCx *g) { return transpose_rule(g, 3); }

static bool backward_weight(GradCx *g) {
  Conv c = {.space = 2, .kind = kinds[2]};
  const char *out = layout_of(g, "out_layout", "OIHW");
  if (strcmp(layout_of(g, "data_layout", "NCHW"), "NCHW") ||
      (strcmp(out, "OIHW") && strcmp(out, "NCHW")))
    return gr_refuse(g, "no gradient for layouts other than NCHW and OIHW");
  Window w = window_of(g, 2);
  Atom k = gr_g(g, 0);
  if (g->wants[0]) gr_give(g, 0, gr(g, "reshape_like(%a, grad)", conv(g, &c, &w, g->arg[1], k)));
  if (g->wants[1]) gr_give(g, 1, conv_transpose(g, &c, &w, g->arg[0], k, g->arg[1]));
  return true;
}

#define PACKED "no gradient for packed layouts: differentiate the plain convolution"
const GradRule grad_conv_rules[] = {
    {.op = "nn.conv1d", .hook = conv1d, .tangent = TAN_Product},
    {.op = "nn.conv2d", .hook = conv2d, .tangent = TAN_Product},
    {.op = "nn.conv3d", .hook = conv3d, .tangent = TAN_Product},
    {.op = "nn.conv1d_transpose", .hook = conv1d_transpose, .tangent = TAN_Product},
    {.op = "nn.conv2d_transpose", .hook = conv2d_transpose, .tangent = TAN_Product},
    {.op = "nn.conv3d_transpose", .hook = conv3d_transpose, .tangent = TAN_Product},
    {.op = "nn.conv2d_backward_weight", .hook = backward_weight, .tangent = TAN_Product},
    {.op = "nn.contrib_conv2d_NCHWc", .why_not = PACKED},
    {.op = "nn.contrib_depthwise_conv2d_NCHWc", .why_not = PACKED},
    {0}};
