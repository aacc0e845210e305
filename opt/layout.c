/* layout.c -- channels last around depthwise convolutions and pooling.
 *
 * A depthwise convolution or a pool has no sum over channels, so compiled code takes
 * neighbouring channels in the lanes of vectors when they lie side by side: no
 * column of a narrow image is wasted, and a stride costs nothing.  A convolution
 * by a 1x1 kernel is as fast either way.  So tensors (N, C, H, W) between such
 * become (N, H, W, C), in groups: what an elementwise operator or a depthwise
 * convolution connects has one layout, and other convolutions read one and write
 * the other, which costs them nothing.
 *
 *   %a = nn.conv2d(%x, %w);  %b = nn.conv2d(%a, %v, groups=64);  mean(%b, axis=[2, 3])
 *
 * becomes
 *
 *   %a = nn.conv2d(%x, %w, data_layout="NCHW", out_layout="NHWC");
 *   %b = nn.conv2d(%a, %v, groups=64, data_layout="NHWC", out_layout="NHWC");
 *   mean(%b, axis=[1, 2])
 *
 * So does a group that a 1x1 kernel makes from one with channels last.  A group
 * stays as it is if anything else sees one of its tensors.            */
#include <string.h>
#include "opt/build.h"

enum { FEWEST_CHANNELS = 16 };

typedef enum {
  ROLE_Other,
  ROLE_Point,     /* a convolution by a 1x1 kernel                        */
  ROLE_Depthwise, /* one in as many groups as channels                    */
  ROLE_Conv,      /* any other                                            */
  ROLE_Elements,  /* element by element, of tensors of one shape          */
  ROLE_Bias,
  ROLE_Pool,
  ROLE_Reduce /* over the pixels, which leaves no layout to choose    */
} Role;

/* A tensor of the block; groups are trees. */
typedef struct Node {
  Var *var;
  struct Node *up;
  int seen; /* uses by operators that may follow                   */
  bool stays, gains, chosen;
} Node;

typedef struct {
  PassCx *cx;
  UseCount uses;
  Map node; /* Var -> Node *                                       */
} Layouts;

/* ---- what an operator asks of layouts ---- */

static bool is_named(const Expr *e, const char *const *name) {
  for (; *name; name++)
    if (!strcmp(e->Call.callee.op->name, *name)) return true;
  return false;
}

static bool extents(Type *t, int64_t *n) {
  t = type_resolve(t);
  if (t->kind != TY_Tensor || t->tensor.rank != 4) return false;
  for (int i = 0; i < 4; i++)
    if (!dim_is_const(t->tensor.dim[i], &n[i]) || n[i] < 1) return false;
  return t->tensor.dtype == DT_f32 || t->tensor.dtype == DT_f64;
}

static bool is_layout(const Expr *e, const char *attr, const char *want) {
  const char *s = attr_str(e->Call.op_attrs, attr);
  return !s || !*s || !strcmp(s, want);
}

static bool all_are(const OpAttrs *a, const char *name, int64_t want) {
  const OpAttrVal *v = opattr(a, name);
  for (int i = 0; i < v->n; i++)
    if (v->ints[i] != want) return false;
  return true;
}

static Role conv_role(const Expr *e) {
  int64_t x[4], w[4];
  const OpAttrs *a = e->Call.op_attrs;
  if (!is_layout(e, "data_layout", "NCHW") || !is_layout(e, "kernel_layout", "OIHW") ||
      !is_layout(e, "out_layout", "NCHW"))
    return ROLE_Other;
  if (!extents(atom_type_of(&e->Call.args[0]), x) || !extents(atom_type_of(&e->Call.args[1]), w))
    return ROLE_Other;
  int64_t groups = attr_int(a, "groups");
  if (groups == x[1] && w[0] == groups && groups > 1) return ROLE_Depthwise;
  bool point = w[2] == 1 && w[3] == 1 && all_are(a, "strides", 1) && all_are(a, "padding", 0);
  return groups != 1 ? ROLE_Other : point ? ROLE_Point : ROLE_Conv;
}

static bool over_pixels(const Expr *e) {
  const OpAttrs *a = e->Call.op_attrs;
  const OpAttrVal *v = opattr(a, "axis");
  bool plain = !attr_bool(a, "keepdims") && !attr_bool(a, "exclude");
  return plain && !v->none && v->n == 2 && v->ints[0] == 2 && v->ints[1] == 3;
}

/* Does it see elements only?  Whole numbers, shapes and flags are about axes. */
static bool by_elements(const OpDef *op) {
  if (op->pattern > PAT_Broadcast) return false;
  for (int i = 0; i < OP_MAX_ATTRS && op->attrs[i].name; i++)
    if (op->attrs[i].type != A_Float && op->attrs[i].type != A_DType) return false;
  return true;
}

static Role role_of(const Expr *e) {
  static const char *const pool[] = {"nn.max_pool2d", "nn.avg_pool2d", NULL};
  static const char *const reduce[] = {"mean", "sum", "max", "min", NULL};
  static const char *const conv[] = {"nn.conv2d", NULL}, *const bias[] = {"nn.bias_add", NULL};
  if (e->kind != EX_Call || e->Call.callee.kind != ATOM_Op || e->n_oblige) return ROLE_Other;
  if (is_named(e, conv)) return conv_role(e);
  if (is_named(e, bias)) return attr_int(e->Call.op_attrs, "axis") == 1 ? ROLE_Bias : ROLE_Other;
  if (is_named(e, pool))
    return is_layout(e, "layout", "NCHW") && is_layout(e, "out_layout", "NCHW") ? ROLE_Pool
                                                                                : ROLE_Other;
  if (is_named(e, reduce)) return over_pixels(e) ? ROLE_Reduce : ROLE_Other;
  return by_elements(e->Call.callee.op) ? ROLE_Elements : ROLE_Other;
}

/* ---- groups ---- */

static Node *root_of(Node *n) {
  while (n->up != n) n = n->up = n->up->up;
  return n;
}

static void unite(Node *a, Node *b) {
  a = root_of(a), b = root_of(b);
  a->stays |= b->stays, a->gains |= b->gains;
  b->up = a;
}

static Node *node_of(const Layouts *l, const Atom *a) {
  return a->kind == ATOM_Var ? map_get(&l->node, map_ptr(a->var)) : NULL;
}

/* One element, whatever the rank? */
static bool is_scalar(Type *t) {
  int64_t n;
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++)
    if (!dim_is_const(t->tensor.dim[i], &n) || n != 1) return false;
  return t->kind == TY_Tensor;
}

/* The result goes with operand i: if that is no tensor of the block, it stays as it is. */
static void go_with(const Layouts *l, Node *result, const Expr *e, int i) {
  Node *x = node_of(l, &e->Call.args[i]);
  int64_t a[4], b[4];
  bool alike = x && extents(x->var->type, a) && extents(result->var->type, b);
  if (x) x->seen++;
  if (x) unite(result, x);
  if (!alike) root_of(result)->stays = true;
}

static void same_elements(const Layouts *l, Node *result, const Expr *e) {
  int64_t a[4], b[4];
  for (int i = 0; i < e->Call.n_args; i++) {
    Type *t = atom_type_of(&e->Call.args[i]);
    if (is_scalar(t) && !is_scalar(result->var->type)) continue;
    go_with(l, result, e, i);
    if (!extents(t, a) || !extents(result->var->type, b) || memcmp(a, b, sizeof a))
      root_of(result)->stays = true;
  }
}

static bool has_channels(const Node *n) {
  int64_t ext[4];
  return extents(n->var->type, ext) && ext[1] >= FEWEST_CHANNELS;
}

static void connect(const Layouts *l, const Binding *b) {
  const Expr *e = b->value;
  Node *result = map_get(&l->node, map_ptr(b->var)), *x;
  Role role = role_of(e);
  if (role == ROLE_Other || (!result && role != ROLE_Reduce)) return;
  x = node_of(l, &e->Call.args[0]);
  if (role == ROLE_Elements) {
    same_elements(l, result, e);
  } else if (role == ROLE_Bias || role == ROLE_Pool || role == ROLE_Depthwise) {
    go_with(l, result, e, 0);
    if (role != ROLE_Bias && has_channels(result)) root_of(result)->gains = true;
  } else if (x) {
    x->seen++;
    if (role == ROLE_Conv) root_of(x)->stays = true;
  }
}

static bool is_chosen(const Layouts *l, const Atom *a) {
  Node *n = node_of(l, a);
  return n && root_of(n)->chosen;
}

/* ---- rewriting ---- */

static Type *channels_last(Type *t) {
  t = type_resolve(t);
  Dim *d = t->tensor.dim, dim[4] = {d[0], d[2], d[3], d[1]};
  return type_tensor(t->tensor.dtype, 4, dim);
}

/* The attributes of e with this one. */
static Attrs with_attr(Module *m, const Expr *e, Attrs list, const char *name, AttrVal v) {
  Attr *at = NEW_N(Attr, list.n + 1);
  int n = 0;
  for (int i = 0; i < list.n; i++)
    if (list.at[i].name != sym(m->cx->syms, name)) at[n++] = list.at[i];
  at[n++] = (Attr){.name = sym(m->cx->syms, name), .span = e->span, .val = v};
  return (Attrs){n, at};
}

static AttrVal text_val(bool last) {
  return (AttrVal){.kind = AV_Str, .s = last ? "NHWC" : "NCHW"};
}

static AttrVal int_val(int64_t i) { return (AttrVal){.kind = AV_Int, .bits = 32, .i = i}; }

static AttrVal pixel_axes(void) {
  AttrVal *at = NEW_N(AttrVal, 2);
  at[0] = int_val(1), at[1] = int_val(2);
  return (AttrVal){.kind = AV_List, .n = 2, .at = at};
}

static Attrs new_attrs(const Layouts *l, const Binding *b) {
  Module *m = l->cx->m;
  const Expr *e = b->value;
  Attrs list = e->Call.attrs;
  Atom result = atom_var(b->var, e->span);
  bool from = is_chosen(l, &e->Call.args[0]), to = is_chosen(l, &result);
  switch (role_of(e)) {
  case ROLE_Point:
  case ROLE_Depthwise:
  case ROLE_Conv:
    list = with_attr(m, e, list, "data_layout", text_val(from));
    return with_attr(m, e, list, "out_layout", text_val(to));
  case ROLE_Bias: return with_attr(m, e, list, "axis", int_val(3));
  case ROLE_Pool:
    list = with_attr(m, e, list, "layout", text_val(true));
    if (is_layout(e, "out_layout", "")) return list;
    return with_attr(m, e, list, "out_layout", text_val(true));
  case ROLE_Reduce: return with_attr(m, e, list, "axis", pixel_axes());
  default: return list;
  }
}

/* Types first: the calls are made anew from them. */
static void rewrite(const Layouts *l, Block *b) {
  bool *touched = NEW_N(bool, b->n + 1);
  Attrs *attrs = NEW_N(Attrs, b->n + 1);
  for (int i = 0; i < b->n; i++) {
    const Expr *e = b->at[i].value;
    Atom result = atom_var(b->at[i].var, e->span);
    if (e->kind != EX_Call) continue;
    touched[i] = is_chosen(l, &result);
    for (int j = 0; j < e->Call.n_args; j++) touched[i] |= is_chosen(l, &e->Call.args[j]);
    if (touched[i]) attrs[i] = new_attrs(l, &b->at[i]);
  }
  for (int i = 0; i < b->n; i++) {
    Atom result = atom_var(b->at[i].var, b->at[i].value->span);
    if (is_chosen(l, &result)) b->at[i].var->type = channels_last(b->at[i].var->type);
  }
  for (int i = 0; i < b->n; i++) {
    if (!touched[i]) continue;
    Expr *e = b->at[i].value;
    Bindings one = {0};
    Maker make = {l->cx->m, e->span, &one};
    for (int j = 0; j < e->Call.n_args; j++)
      if (is_chosen(l, &e->Call.args[j])) e->Call.args[j].type = e->Call.args[j].var->type;
    (void)mk_op_with(&make, e->Call.callee.op->name, b->at[i].var->type, e->Call.n_args,
                     e->Call.args, attrs[i]);
    b->at[i].value = one.at[0].value;
  }
}

/* ---- the pass ---- */

static bool choose(const Layouts *l, const Block *b) {
  bool any = false;
  for (int i = 0; i < b->n; i++) {
    Node *n = map_get(&l->node, map_ptr(b->at[i].var));
    if (n && n->seen != uses_get(&l->uses, n->var)) root_of(n)->stays = true;
  }
  for (int i = 0; i < b->n; i++) {
    const Expr *e = b->at[i].value;
    Node *n = map_get(&l->node, map_ptr(b->at[i].var));
    if (!n || root_of(n)->stays || root_of(n)->chosen) continue;
    n = root_of(n);
    bool after = role_of(e) == ROLE_Point && is_chosen(l, &e->Call.args[0]);
    if ((!n->gains && !after) || !pass_may(l->cx)) continue;
    any = n->chosen = true;
  }
  return any;
}

static void layout_fn(void *ud, Fn *f);
static void layout_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, layout_block, layout_fn};
  Layouts *outer = ud, l = {.cx = outer->cx, .uses = outer->uses};
  int64_t n[4];
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    ir_visit(e, &visit, ud);
    Role role = role_of(e);
    if (role == ROLE_Other || role == ROLE_Reduce || !extents(b->at[i].var->type, n)) continue;
    Node *node = NEW(Node);
    *node = (Node){.var = b->at[i].var, .up = node};
    map_set(&l.node, map_ptr(node->var), node);
  }
  if (!l.node.n) return;
  for (int i = 0; i < b->n; i++) connect(&l, &b->at[i]);
  if (choose(&l, b)) rewrite(&l, b);
}
static void layout_fn(void *ud, Fn *f) { layout_block(ud, f->body); }

static void layout_global(void *ud, Global *g) {
  Layouts l = {.cx = ud};
  uses_of_fn(&l.uses, g->fn);
  layout_block(&l, g->fn->body);
}
static void layout_run(PassCx *cx) { each_global(cx->m, layout_global, cx); }

const Pass pass_layout = {
    .name = "layout",
    .doc = "Tensors around depthwise convolutions and pools have their channels last.",
    .rounds = true,
    .needs = FORM_TYPED,
    .keeps = ~0u,
    .run = layout_run};
