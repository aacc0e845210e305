/* gen_form.c -- expressions: the forms of the language around one of the wanted type. */
#include "tests/random/gen.h"

/* ---- forms of the language ---------------------------------------------------------------- */
static const char *form_let(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *u = g_type(g, 2);
  const char *name = g_fresh(g, "v"), *a = g_expr(g, u, s, depth - 1);
  GScope in = g_with(s, name, u);
  return str_fmt("{ let %%%s = %s; %s }", name, a, g_expr(g, t, &in, depth - 1));
}
static const char *form_if(Gen *g, const GType *t, GScope *s, int depth) {
  const char *c = g_expr(g, g_scalar(G_BOOL), s, depth - 1), *a = g_expr(g, t, s, depth - 1);
  return str_fmt("if (%s) { %s } else { %s }", c, a, g_expr(g, t, s, depth - 1));
}
static const char *form_match_list(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *u = g_type(g, 1), *list = g_of(G_LIST, 1, &u);
  const char *h = g_fresh(g, "h"), *r = g_fresh(g, "r"), *x = g_expr(g, list, s, depth - 1);
  const char *nil = g_expr(g, t, s, depth - 1);
  GScope in = g_with(s, h, u);
  in = g_with(&in, r, list);
  return str_fmt("match (%s) { Cons(%%%s, %%%s) => { %s }, Nil => { %s } }", x, h, r,
                 g_expr(g, t, &in, depth - 1), nil);
}
static const char *form_match_option(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *u = g_type(g, 1), *opt = g_of(G_OPTION, 1, &u);
  const char *h = g_fresh(g, "h"), *x = g_expr(g, opt, s, depth - 1);
  const char *none = g_expr(g, t, s, depth - 1);
  GScope in = g_with(s, h, u);
  return str_fmt("match (%s) { Some(%%%s) => { %s }, None => { %s } }", x, h,
                 g_expr(g, t, &in, depth - 1), none);
}
static const char *form_match_tree(Gen *g, const GType *t, GScope *s, int depth) {
  static const int three[] = {3};
  const GType *tree = g_scalar(G_TREE);
  const char *l = g_fresh(g, "l"), *h = g_fresh(g, "h"), *x = g_expr(g, tree, s, depth - 1);
  const char *bare = g_expr(g, t, s, depth - 1);
  GScope in = g_with(s, l, tree);
  in = g_with(&in, h, g_tensor(DT_f32, false, 1, three));
  return str_fmt("match (%s) { Bare => { %s }, Fork(%%%s, %%%s, _) => { %s } }", x, bare, l, h,
                 g_expr(g, t, &in, depth - 1));
}
static const char *form_apply(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *at[2] = {g_type(g, 1), t}, *fn = g_of(G_FN, 2, at);
  const char *name = g_fresh(g, "f"), *f = g_expr(g, fn, s, depth - 1);
  return str_fmt("{ let %%%s = %s; %%%s(%s) }", name, f, name, g_expr(g, at[0], s, depth - 1));
}
static const char *form_proj(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *at[4];
  int n = 1 + (int)pick(g, 3), i = (int)pick(g, (uint32_t)n);
  for (int k = 0; k < n; k++) at[k] = k == i ? t : g_type(g, 1);
  return str_fmt("%s.%d", g_tuple(g, g_of(G_TUPLE, n, at), s, depth), i);
}
static const char *form_ref(Gen *g, const GType *t, GScope *s, int depth) {
  const char *name = g_fresh(g, "c"), *u = g_fresh(g, "u"), *a = g_expr(g, t, s, depth - 1);
  GScope in = g_with(s, name, g_of(G_REF, 1, &t));
  return str_fmt("{ let %%%s = ref(%s); let %%%s = ref_write(%%%s, %s); ref_read(%%%s) }", name, a,
                 u, name, g_expr(g, t, &in, depth - 1), name);
}
/* A loop of up to three rounds over an accumulator. */
static const char *form_loop(Gen *g, const GType *t, GScope *s, int depth) {
  const char *f = g_fresh(g, "w"), *i = g_fresh(g, "i"), *acc = g_fresh(g, "x");
  const char *start = g_expr(g, t, s, depth - 1);
  GScope in = g_with(s, i, g_scalar(G_INT));
  in = g_with(&in, acc, t);
  const char *body = g_expr(g, t, &in, depth - 1);
  return str_fmt("{ let %%%s = fn (%%%s: int32, %%%s: %s) -> %s { if (%%%s <= 0) { %%%s } else "
                 "{ %%%s(%%%s - 1, %s) } }; %%%s(%u, %s) }",
                 f, i, acc, g_text(t), g_text(t), i, acc, f, i, body, f, pick(g, 4), start);
}
static const char *form_fold(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *u = g_type(g, 1), *list = g_of(G_LIST, 1, &u);
  const char *acc = g_fresh(g, "x"), *h = g_fresh(g, "h"), *start = g_expr(g, t, s, depth - 1);
  const char *xs = g_expr(g, list, s, depth - 1);
  GScope in = g_with(s, acc, t);
  in = g_with(&in, h, u);
  return str_fmt("@foldl(fn (%%%s: %s, %%%s: %s) -> %s { %s }, %s, %s)", acc, g_text(t), h,
                 g_text(u), g_text(t), g_expr(g, t, &in, depth - 1), start, xs);
}
static const char *form_map(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *at[2] = {g_type(g, 1), t->at[0]};
  const char *f = g_function(g, g_of(G_FN, 2, at), s, depth - 1);
  return str_fmt("@map(%s, %s)", f, g_expr(g, g_of(G_LIST, 1, at), s, depth - 1));
}

static const char *form_call(Gen *g, const GType *t, GScope *s, int depth) {
  GFn *caller = g->fn, *f = g_new_fn(g, str_fmt("p%d_%s", g->number, g_fresh(g, "h")), t);
  GScope in = {0};
  StrBuf b = {0};
  g->fn = f, g->depth_fns++;
  for (uint32_t k = pick(g, 3); k-- > 0;)
    vec_push(&f->param, ((GName){g_fresh(g, "a"), g_type(g, 1)}));
  for (int i = 1; i < f->param.n; i++) vec_push(&in, f->param.at[i]);
  const char *body = g_expr(g, t, &in, depth - 1);
  g->fn = caller, g->depth_fns--;
  buf_fmt(&g->helpers, "def @%s(", f->name);
  g_write_params(f, &g->helpers);
  buf_fmt(&g->helpers, ") -> %s { %s }\n", g_text(t), body);
  buf_fmt(&b, "@%s(", f->name);
  for (int i = 0; i < f->param.n; i++)
    buf_fmt(
        &b, "%s%s", i ? ", " : "",
        g_expr(g, f->param.at[i].type, s, f->param.at[i].type->kind == G_TENSOR ? 0 : depth - 2));
  return buf_char(&b, ')'), buf_text(&b);
}

/* ---- cells that others see ------------------------------------------------------------------ */
/* A cell in scope whose content is data; a cell of functions could make a loop without end. */
static const GName *cell(Gen *g, const GScope *s) {
  int n = 0;
  for (int i = 0; i < s->n; i++)
    n += s->at[i].type->kind == G_REF && g_first_order(s->at[i].type->at[0]);
  int k = n ? (int)pick(g, (uint32_t)n) : 0;
  for (int i = s->n; n && i-- > 0;)
    if (s->at[i].type->kind == G_REF && g_first_order(s->at[i].type->at[0]) && k-- == 0)
      return &s->at[i];
  return NULL;
}
static const char *read_cell(Gen *g, const GType *t, GScope *s) {
  const char *v = g_first_order(t) ? g_known(g, g_of(G_REF, 1, &t), s) : NULL;
  return v ? str_fmt("ref_read(%s)", v) : NULL;
}
/* Something is written before the value, or behind it. */
static const char *form_effect(Gen *g, const GType *t, GScope *s, int depth) {
  const GName *c = cell(g, s);
  if (!c) {
    const GType *u = g_type(g, 1);
    if (!g_first_order(u)) u = t->kind == G_TENSOR ? t : g_scalar(G_INT);
    const char *name = g_fresh(g, "c"), *a = g_expr(g, u, s, depth - 1);
    GScope in = g_with(s, name, g_of(G_REF, 1, &u));
    return str_fmt("{ let %%%s = ref(%s); %s }", name, a, form_effect(g, t, &in, depth));
  }
  const char *a = g_expr(g, c->type->at[0], s, depth - 1), *v = g_fresh(g, "v");
  if (!one_in(g, 3))
    return str_fmt("{ ref_write(%%%s, %s); %s }", c->name, a, g_expr(g, t, s, depth - 1));
  return str_fmt("{ let %%%s = %s; let _ = ref_write(%%%s, %s); %%%s }", v,
                 g_expr(g, t, s, depth - 1), c->name, a, v);
}
static const char *form_match_slot(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *u = g_type(g, 0), *at[2] = {u, u}, *slot = g_of(G_SLOT, 1, &u);
  const char *r = g_fresh(g, "c"), *f = g_fresh(g, "f"), *x = g_expr(g, slot, s, depth - 1);
  const char *a = g_fresh(g, "x");
  GScope in = g_with(s, r, g_of(G_REF, 1, &u)), free = g_with(s, a, u);
  in = g_with(&in, f, g_of(G_FN, 2, at));
  const char *full = g_expr(g, t, &in, depth - 1);
  return str_fmt("match (%s) { Slot(%%%s, %%%s) => { ref_write(%%%s, %%%s(ref_read(%%%s))); %s }, "
                 "Free(%%%s) => { %s } }",
                 x, r, f, r, f, r, full, a, g_expr(g, t, &free, depth - 1));
}

/* ---- functions at several types, in each other ---------------------------------------------- */
static const char *form_ping(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *at[2] = {t, t};
  uint32_t rounds = pick(g, 4);
  const char *f = g_function(g, g_of(G_FN, 2, at), s, depth - 1);
  return str_fmt("@ping(%u, %s, %s)", rounds, f, g_expr(g, t, s, depth - 1));
}
static const char *form_herd(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *u = g_type(g, 1);
  const char *a = g_fresh(g, "x"), *b = g_fresh(g, "x");
  const char *h = g_expr(g, g_of(G_HERD, 1, &u), s, depth - 1), *start = g_expr(g, t, s, depth - 1);
  GScope in = g_with(s, a, u);
  in = g_with(&in, b, t);
  return str_fmt("@herd(fn (%%%s: %s, %%%s: %s) -> %s { %s }, %s, %s)", a, g_text(u), b, g_text(t),
                 g_text(t), g_expr(g, t, &in, depth - 1), h, start);
}
static const char *form_swap(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *u = g_type(g, 1), *at[2] = {u, t};
  return str_fmt("@swap(%s).0", g_expr(g, g_of(G_TUPLE, 2, at), s, depth - 1));
}
static const char *form_pair(Gen *g, const GType *t, GScope *s, int depth) {
  const char *p = g_fresh(g, "f"), *v = g_fresh(g, "v"), *x = g_fresh(g, "x");
  const GType *u = g_type(g, 1);
  const char *a = g_expr(g, u, s, depth - 1);
  GScope in = g_with(s, v, u);
  return str_fmt("{ let %%%s = fn (%%%s) { (%%%s, %%%s) }; let %%%s = %%%s(%s).1; %%%s(%s).0 }", p,
                 x, x, x, v, p, a, p, g_expr(g, t, &in, depth - 1));
}
/* Recursion that has something left to do. */
static const char *form_climb(Gen *g, const GType *t, GScope *s, int depth) {
  const char *f = g_fresh(g, "w"), *i = g_fresh(g, "i"), *x = g_fresh(g, "x");
  const char *start = g_expr(g, t, s, depth - 1);
  GScope in = g_with(s, i, g_scalar(G_INT));
  in = g_with(&in, x, t);
  const char *body = g_expr(g, t, &in, depth - 1);
  return str_fmt("{ let %%%s = fn (%%%s: int32) -> %s { if (%%%s <= 0) { %s } else { let %%%s = "
                 "%%%s(%%%s - 1); %s } }; %%%s(%u) }",
                 f, i, g_text(t), i, start, x, f, i, body, f, pick(g, 4));
}
/* Two values at once, deeper than their first constructor. */
static const char *form_match_two(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *u = g_type(g, 1), *w = g_type(g, 1);
  const char *a = g_fresh(g, "h"), *b = g_fresh(g, "h"), *r = g_fresh(g, "r"), *o = g_fresh(g, "h");
  const char *xs = g_expr(g, g_of(G_LIST, 1, &u), s, depth - 1);
  const char *opt = g_expr(g, g_of(G_OPTION, 1, &w), s, depth - 1);
  GScope one = g_with(s, a, u), two = g_with(&one, b, u);
  two = g_with(&two, r, g_of(G_LIST, 1, &u));
  two = g_with(&two, o, w);
  const char *many = g_expr(g, t, &two, depth - 1), *few = g_expr(g, t, &one, depth - 1);
  return str_fmt("match ((%s, %s)) { (Cons(%%%s, Cons(%%%s, %%%s)), Some(%%%s)) => { %s }, "
                 "(Cons(%%%s, _), None) => { %s }, _ => { %s } }",
                 xs, opt, a, b, r, o, many, a, few, g_expr(g, t, s, depth - 1));
}

typedef const char *(*MakeForm)(Gen *g, const GType *t, GScope *s, int depth);
static const MakeForm forms[] = {form_let,   form_if,         form_proj,         form_match_list,
                                 form_apply, form_loop,       form_call,         form_ref,
                                 form_fold,  form_match_tree, form_match_option, form_effect,
                                 form_ping,  form_herd,       form_match_slot,   form_swap,
                                 form_pair,  form_climb,      form_match_two};
enum { N_FORMS = sizeof forms / sizeof *forms };

const char *g_expr(Gen *g, const GType *t, GScope *s, int depth) {
  if (--g->budget < 0) depth = 0;
  const char *v = pick(g, depth > 0 ? 4 : 2) == 1 ? g_known(g, t, s) : NULL;
  if (!v && one_in(g, 4)) v = read_cell(g, t, s);
  if (v) return v;
  if (depth > 1 && one_in(g, t->kind == G_TENSOR ? 3 : 2)) {
    uint32_t k = pick(g, N_FORMS);
    if (forms[k] == form_call && g->depth_fns > 1) k = 0;
    return forms[k](g, t, s, depth);
  }
  if (t->kind == G_LIST && depth > 1 && one_in(g, 4)) return form_map(g, t, s, depth);
  return g_make(g, t, s, depth);
}
