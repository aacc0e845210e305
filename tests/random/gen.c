/* gen.c -- types, the forms of the language, whole programs; see gen.h.       */
#include "tests/random/gen.h"
#include <string.h>

const char *const gen_preamble = "type Grove {\n  Fork(Grove, Tensor[(3), float32], Grove),\n"
                                 "  Bare,\n}\n";

uint32_t pick(Gen *g, uint32_t n) { return tape_pick(g->t, n); }
bool one_in(Gen *g, uint32_t n) { return pick(g, n) == n - 1; }
const char *g_fresh(Gen *g, const char *stem) { return str_fmt("%s%d", stem, ++g->fresh); }

/* ---- types ------------------------------------------------------------------------ */
const GType *g_scalar(GKind k) {
  GType *t = NEW(GType);
  *t = (GType){.kind = k, .exact = true};
  return t;
}
const GType *g_tensor(DType dtype, bool exact, int rank, const int *dim) {
  GType *t = NEW(GType);
  *t = (GType){.kind = G_TENSOR, .dtype = dtype, .exact = exact || dtype != DT_f32, .rank = rank};
  if (rank) memcpy(t->dim, dim, sizeof *dim * (size_t)rank);
  return t;
}
const GType *g_of(GKind k, int n, const GType *const *at) {
  GType *t = NEW(GType);
  *t = (GType){.kind = k, .n = n};
  for (int i = 0; i < n; i++) t->at[i] = at[i];
  return t;
}

bool g_same(const GType *a, const GType *b) {
  if (a->kind != b->kind || a->n != b->n) return false;
  if (a->kind == G_TENSOR)
    return a->dtype == b->dtype && a->exact == b->exact && a->rank == b->rank &&
           !memcmp(a->dim, b->dim, sizeof *a->dim * (size_t)a->rank);
  for (int i = 0; i < a->n; i++)
    if (!g_same(a->at[i], b->at[i])) return false;
  return true;
}

static const char *tensor_type(const GType *t) {
  const char *name = t->dtype == DT_f32 ? "float32" : t->dtype == DT_i32 ? "int32" : "bool";
  StrBuf b = {0};
  if (t->rank == 0) return name;
  buf_str(&b, "Tensor[(");
  for (int i = 0; i < t->rank; i++) {
    if (i) buf_str(&b, ", ");
    if (t->dim[i] < 0)
      buf_str(&b, t->dim[i] == DIM_N ? "n" : "m");
    else
      buf_fmt(&b, "%d", t->dim[i]);
  }
  buf_fmt(&b, "), %s]", name);
  return buf_text(&b);
}

const char *g_text(const GType *t) {
  StrBuf b = {0};
  switch (t->kind) {
  case G_INT: return "int32";
  case G_BOOL: return "bool";
  case G_TENSOR: return tensor_type(t);
  case G_TREE: return "Grove";
  case G_LIST: return str_fmt("List[%s]", g_text(t->at[0]));
  case G_OPTION: return str_fmt("Option[%s]", g_text(t->at[0]));
  case G_REF: return str_fmt("ref(%s)", g_text(t->at[0]));
  case G_FN: return str_fmt("fn(%s) -> %s", g_text(t->at[0]), g_text(t->at[1]));
  case G_TUPLE:
    for (int i = 0; i < t->n; i++) buf_fmt(&b, "%s%s", i ? ", " : "(", g_text(t->at[i]));
    return buf_str(&b, t->n == 1 ? ",)" : ")"), buf_text(&b);
  }
  return "";
}

static int random_dim(Gen *g) {
  static const int dims[] = {2, 3, 1, 4, DIM_N, DIM_M, 5, 0};
  return dims[pick(g, 8)];
}
static const GType *random_tensor(Gen *g) {
  static const DType dtypes[] = {DT_f32, DT_f32, DT_f32, DT_i32, DT_bool};
  DType dtype = dtypes[pick(g, 5)];
  int rank = (int)pick(g, 4), dim[G_RANK];
  for (int i = 0; i < rank; i++) dim[i] = random_dim(g);
  return g_tensor(dtype, !one_in(g, 2), rank, dim);
}
static const GType *random_type(Gen *g, int depth) {
  const GType *at[4];
  int n = 1;
  uint32_t k = depth > 0 ? pick(g, 12) : pick(g, 5);
  if (k < 3) return random_tensor(g);
  if (k < 5) return g_scalar(k == 3 ? G_INT : G_BOOL);
  if (k == 5) return g_scalar(G_TREE);
  GKind kind = k == 6 ? G_TUPLE : k == 7 ? G_FN : k == 8 ? G_REF : k == 9 ? G_OPTION : G_LIST;
  if (kind == G_TUPLE) n = 1 + (int)pick(g, 3);
  if (kind == G_FN) n = 2;
  for (int i = 0; i < n; i++) at[i] = random_type(g, depth - 1);
  return g_of(kind, n, at);
}
static bool first_order(const GType *t) {
  if (t->kind == G_FN || t->kind == G_REF) return false;
  for (int i = 0; i < t->n; i++)
    if (!first_order(t->at[i])) return false;
  return true;
}

/* ---- names -------------------------------------------------------------------------- */
/* A variable of the type, or NULL. */
static const char *known(Gen *g, const GType *t, const GScope *s) {
  int n = 0;
  for (int i = 0; i < s->n; i++) n += g_same(s->at[i].type, t);
  if (n == 0) return NULL;
  int k = (int)pick(g, (uint32_t)n);
  for (int i = s->n; i-- > 0;)
    if (g_same(s->at[i].type, t) && k-- == 0) return str_fmt("%%%s", s->at[i].name);
  return NULL;
}
static GScope with(const GScope *s, const char *name, const GType *t) {
  GScope out = {0};
  for (int i = 0; i < s->n; i++) vec_push(&out, s->at[i]);
  vec_push(&out, ((GName){name, t}));
  return out;
}

/* A parameter of the function being written; any number may be added. */
static const char *param(Gen *g, const GType *t) {
  GScope mine = {0};
  for (int i = 0; i < g->fn->param.n; i++)
    if (g_same(g->fn->param.at[i].type, t)) vec_push(&mine, g->fn->param.at[i]);
  if (mine.n && (mine.n > 2 || !one_in(g, 3)))
    return str_fmt("%%%s", mine.at[pick(g, (uint32_t)mine.n)].name);
  const char *name = g_fresh(g, "a");
  vec_push(&g->fn->param, ((GName){name, t}));
  return str_fmt("%%%s", name);
}

/* ---- making values --------------------------------------------------------------------- */
static const char *make_tuple(Gen *g, const GType *t, GScope *s, int depth) {
  StrBuf b = {0};
  for (int i = 0; i < t->n; i++)
    buf_fmt(&b, "%s%s", i ? ", " : "(", g_expr(g, t->at[i], s, depth - 1));
  return buf_str(&b, t->n == 1 ? ",)" : ")"), buf_text(&b);
}
static const char *make_list(Gen *g, const GType *t, GScope *s, int depth) {
  int n = depth > 0 ? (int)pick(g, 4) : 0;
  const char *out = "Nil", *name = g_fresh(g, "s");
  for (int i = 0; i < n; i++) out = str_fmt("Cons(%s, %s)", g_expr(g, t->at[0], s, depth - 1), out);
  return str_fmt("{ let %%%s: %s = %s; %%%s }", name, g_text(t), out, name);
}
static const char *make_option(Gen *g, const GType *t, GScope *s, int depth) {
  const char *name = g_fresh(g, "s");
  const char *out = pick(g, 2) ? str_fmt("Some(%s)", g_expr(g, t->at[0], s, depth - 1)) : "None";
  return str_fmt("{ let %%%s: %s = %s; %%%s }", name, g_text(t), out, name);
}
static const char *make_tree(Gen *g, const GType *t, GScope *s, int depth) {
  static const int three[] = {3};
  if (depth <= 0 || pick(g, 3) == 0) return "Bare";
  const GType *leaf = g_tensor(DT_f32, false, 1, three);
  const char *l = g_expr(g, t, s, depth - 2), *x = g_expr(g, leaf, s, depth - 1);
  return str_fmt("Fork(%s, %s, %s)", l, x, g_expr(g, t, s, depth - 2));
}
static const char *make_fn(Gen *g, const GType *t, GScope *s, int depth) {
  const char *name = g_fresh(g, "x");
  GScope in = with(s, name, t->at[0]);
  return str_fmt("fn (%%%s: %s) -> %s { %s }", name, g_text(t->at[0]), g_text(t->at[1]),
                 g_expr(g, t->at[1], &in, depth - 1));
}
static const char *make_int(Gen *g, GScope *s, int depth) {
  static const char *const op[] = {"+", "-", "*"};
  static const char *const lit[] = {"0", "1", "2", "7", "100", "2147483647", "-3"};
  const GType *i = g_scalar(G_INT);
  if (depth <= 0 || pick(g, 3) == 0) return lit[pick(g, 7)];
  const char *a = g_expr(g, i, s, depth - 1), *b = g_expr(g, i, s, depth - 1);
  switch (pick(g, 4)) {
  case 0: return str_fmt("(%s %s %s)", a, op[pick(g, 3)], b);
  case 1: return str_fmt("maximum(%s, %s)", a, b);
  case 2: return str_fmt("floor_mod(%s, 7)", a);
  default: return str_fmt("cast(dim(%s, 0), dtype=\"int32\")", param(g, g->fn->param.at[0].type));
  }
}
static const char *make_bool(Gen *g, GScope *s, int depth) {
  static const char *const op[] = {"<", "==", ">="};
  const GType *i = g_scalar(G_INT), *b = g_scalar(G_BOOL);
  if (depth <= 0 || pick(g, 3) == 0) return pick(g, 2) ? "True" : "False";
  if (one_in(g, 3)) return str_fmt("!(%s)", g_expr(g, b, s, depth - 1));
  const char *x = g_expr(g, i, s, depth - 1);
  return str_fmt("(%s %s %s)", x, op[pick(g, 3)], g_expr(g, i, s, depth - 1));
}

static const char *make(Gen *g, const GType *t, GScope *s, int depth) {
  switch (t->kind) {
  case G_INT: return make_int(g, s, depth);
  case G_BOOL: return make_bool(g, s, depth);
  case G_TENSOR: return depth > 0 ? g_operator(g, t, s, depth) : g_leaf(g, t, s);
  case G_TUPLE: return make_tuple(g, t, s, depth);
  case G_LIST: return make_list(g, t, s, depth);
  case G_OPTION: return make_option(g, t, s, depth);
  case G_TREE: return make_tree(g, t, s, depth);
  case G_FN: return make_fn(g, t, s, depth);
  case G_REF: return str_fmt("ref(%s)", g_expr(g, t->at[0], s, depth - 1));
  }
  return "";
}

/* A tensor without an operator: a variable or a parameter. */
const char *g_leaf(Gen *g, const GType *t, GScope *s) {
  const char *v = pick(g, 2) ? known(g, t, s) : NULL;
  if (v) return v;
  const GType *p = g_tensor(t->dtype, true, t->rank, t->dim);
  return param(g, p);
}

/* ---- forms of the language ---------------------------------------------------------------- */
static const char *form_let(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *u = random_type(g, 2);
  const char *name = g_fresh(g, "v"), *a = g_expr(g, u, s, depth - 1);
  GScope in = with(s, name, u);
  return str_fmt("{ let %%%s = %s; %s }", name, a, g_expr(g, t, &in, depth - 1));
}
static const char *form_if(Gen *g, const GType *t, GScope *s, int depth) {
  const char *c = g_expr(g, g_scalar(G_BOOL), s, depth - 1), *a = g_expr(g, t, s, depth - 1);
  return str_fmt("if (%s) { %s } else { %s }", c, a, g_expr(g, t, s, depth - 1));
}
static const char *form_match_list(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *u = random_type(g, 1), *list = g_of(G_LIST, 1, &u);
  const char *h = g_fresh(g, "h"), *r = g_fresh(g, "r"), *x = g_expr(g, list, s, depth - 1);
  const char *nil = g_expr(g, t, s, depth - 1);
  GScope in = with(s, h, u);
  in = with(&in, r, list);
  return str_fmt("match (%s) { Cons(%%%s, %%%s) => { %s }, Nil => { %s } }", x, h, r,
                 g_expr(g, t, &in, depth - 1), nil);
}
static const char *form_match_option(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *u = random_type(g, 1), *opt = g_of(G_OPTION, 1, &u);
  const char *h = g_fresh(g, "h"), *x = g_expr(g, opt, s, depth - 1);
  const char *none = g_expr(g, t, s, depth - 1);
  GScope in = with(s, h, u);
  return str_fmt("match (%s) { Some(%%%s) => { %s }, None => { %s } }", x, h,
                 g_expr(g, t, &in, depth - 1), none);
}
static const char *form_match_tree(Gen *g, const GType *t, GScope *s, int depth) {
  static const int three[] = {3};
  const GType *tree = g_scalar(G_TREE);
  const char *l = g_fresh(g, "l"), *h = g_fresh(g, "h"), *x = g_expr(g, tree, s, depth - 1);
  const char *bare = g_expr(g, t, s, depth - 1);
  GScope in = with(s, l, tree);
  in = with(&in, h, g_tensor(DT_f32, false, 1, three));
  return str_fmt("match (%s) { Bare => { %s }, Fork(%%%s, %%%s, _) => { %s } }", x, bare, l, h,
                 g_expr(g, t, &in, depth - 1));
}
static const char *form_apply(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *at[2] = {random_type(g, 1), t}, *fn = g_of(G_FN, 2, at);
  const char *name = g_fresh(g, "f"), *f = g_expr(g, fn, s, depth - 1);
  return str_fmt("{ let %%%s = %s; %%%s(%s) }", name, f, name, g_expr(g, at[0], s, depth - 1));
}
static const char *form_proj(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *at[4];
  int n = 1 + (int)pick(g, 3), i = (int)pick(g, (uint32_t)n);
  for (int k = 0; k < n; k++) at[k] = k == i ? t : random_type(g, 1);
  return str_fmt("%s.%d", make_tuple(g, g_of(G_TUPLE, n, at), s, depth), i);
}
static const char *form_ref(Gen *g, const GType *t, GScope *s, int depth) {
  const char *name = g_fresh(g, "c"), *u = g_fresh(g, "u"), *a = g_expr(g, t, s, depth - 1);
  GScope in = with(s, name, g_of(G_REF, 1, &t));
  return str_fmt("{ let %%%s = ref(%s); let %%%s = ref_write(%%%s, %s); ref_read(%%%s) }", name, a,
                 u, name, g_expr(g, t, &in, depth - 1), name);
}
/* A loop of up to three rounds over an accumulator. */
static const char *form_loop(Gen *g, const GType *t, GScope *s, int depth) {
  const char *f = g_fresh(g, "w"), *i = g_fresh(g, "i"), *acc = g_fresh(g, "x");
  const char *start = g_expr(g, t, s, depth - 1);
  GScope in = with(s, i, g_scalar(G_INT));
  in = with(&in, acc, t);
  const char *body = g_expr(g, t, &in, depth - 1);
  return str_fmt("{ let %%%s = fn (%%%s: int32, %%%s: %s) -> %s { if (%%%s <= 0) { %%%s } else "
                 "{ %%%s(%%%s - 1, %s) } }; %%%s(%u, %s) }",
                 f, i, acc, g_text(t), g_text(t), i, acc, f, i, body, f, pick(g, 4), start);
}
static const char *form_fold(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *u = random_type(g, 1), *list = g_of(G_LIST, 1, &u);
  const char *acc = g_fresh(g, "x"), *h = g_fresh(g, "h"), *start = g_expr(g, t, s, depth - 1);
  const char *xs = g_expr(g, list, s, depth - 1);
  GScope in = with(s, acc, t);
  in = with(&in, h, u);
  return str_fmt("@foldl(fn (%%%s: %s, %%%s: %s) -> %s { %s }, %s, %s)", acc, g_text(t), h,
                 g_text(u), g_text(t), g_expr(g, t, &in, depth - 1), start, xs);
}
static const char *form_map(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *at[2] = {random_type(g, 1), t->at[0]};
  const char *f = make_fn(g, g_of(G_FN, 2, at), s, depth - 1);
  return str_fmt("@map(%s, %s)", f, g_expr(g, g_of(G_LIST, 1, at), s, depth - 1));
}

/* ---- functions of the file --------------------------------------------------------------------
 */
static void write_params(const GFn *f, StrBuf *b) {
  for (int i = 0; i < f->param.n; i++)
    buf_fmt(b, "%s%%%s: %s", i ? ", " : "", f->param.at[i].name, g_text(f->param.at[i].type));
}
/* Every function has %z, so that its extents n and m are bound. */
static GFn *new_fn(Gen *g, const char *name, const GType *result) {
  static const int nm[] = {DIM_N, DIM_M};
  GFn *f = NEW(GFn);
  f->name = name, f->result = result;
  vec_push(&f->param, ((GName){g_fresh(g, "z"), g_tensor(DT_f32, true, 2, nm)}));
  return f;
}
static const char *form_call(Gen *g, const GType *t, GScope *s, int depth) {
  GFn *caller = g->fn, *f = new_fn(g, str_fmt("p%d_%s", g->number, g_fresh(g, "h")), t);
  GScope in = {0};
  StrBuf b = {0};
  g->fn = f, g->depth_fns++;
  for (uint32_t k = pick(g, 3); k-- > 0;)
    vec_push(&f->param, ((GName){g_fresh(g, "a"), random_type(g, 1)}));
  for (int i = 1; i < f->param.n; i++) vec_push(&in, f->param.at[i]);
  const char *body = g_expr(g, t, &in, depth - 1);
  g->fn = caller, g->depth_fns--;
  buf_fmt(&g->helpers, "def @%s(", f->name);
  write_params(f, &g->helpers);
  buf_fmt(&g->helpers, ") -> %s { %s }\n", g_text(t), body);
  buf_fmt(&b, "@%s(", f->name);
  for (int i = 0; i < f->param.n; i++)
    buf_fmt(
        &b, "%s%s", i ? ", " : "",
        g_expr(g, f->param.at[i].type, s, f->param.at[i].type->kind == G_TENSOR ? 0 : depth - 2));
  return buf_char(&b, ')'), buf_text(&b);
}

typedef const char *(*MakeForm)(Gen *g, const GType *t, GScope *s, int depth);
static const MakeForm forms[] = {form_let,   form_if,         form_proj,        form_match_list,
                                 form_apply, form_loop,       form_call,        form_ref,
                                 form_fold,  form_match_tree, form_match_option};
enum { N_FORMS = sizeof forms / sizeof *forms };

const char *g_expr(Gen *g, const GType *t, GScope *s, int depth) {
  if (--g->budget < 0) depth = 0;
  const char *v = pick(g, depth > 0 ? 4 : 2) == 1 ? known(g, t, s) : NULL;
  if (v) return v;
  if (depth > 1 && one_in(g, t->kind == G_TENSOR ? 3 : 2)) {
    uint32_t k = pick(g, N_FORMS);
    if (forms[k] == form_call && g->depth_fns > 1) k = 0;
    return forms[k](g, t, s, depth);
  }
  if (t->kind == G_LIST && depth > 1 && one_in(g, 4)) return form_map(g, t, s, depth);
  return make(g, t, s, depth);
}

/* ---- a program
 * ------------------------------------------------------------------------------------ */
static Tensor *input_value(Gen *g, const GType *t) {
  int64_t dim[G_RANK] = {0};
  DType dtype = t->kind == G_INT ? DT_i32 : t->kind == G_BOOL ? DT_bool : t->dtype;
  for (int i = 0; i < t->rank; i++)
    dim[i] = t->dim[i] >= 0 ? t->dim[i] : t->dim[i] == DIM_N ? g->n : g->m;
  Tensor *x = tensor_new(dtype, t->rank, dim);
  uint64_t z = pick(g, 1000);
  for (int64_t i = 0; i < x->count; i++) {
    z = z * 6364136223846793005u + 1442695040888963407u;
    int32_t v = (int32_t)(z >> 33) % 12;
    if (dtype == DT_f32)
      ((float *)x->bytes)[i] = (float)v / 8;
    else if (dtype == DT_i32)
      ((int32_t *)x->bytes)[i] = v;
    else
      ((uint8_t *)x->bytes)[i] = v > 5;
  }
  return x;
}

GProgram gen_program(Tape *tape, int number) {
  static const int extent[] = {2, 3, 1, 5, 0, 8, 17, 33};
  Gen gen = {.t = tape, .number = number, .budget = 60}, *g = &gen;
  GProgram p = {.entry = str_fmt("p%d", number)};
  GScope scope = {0};
  StrBuf b = {0}, lets = {0}, body = {0};
  g->n = extent[pick(g, 8)], g->m = extent[pick(g, 8)];
  g->fn = new_fn(g, p.entry, NULL);
  int results = 1 + (int)pick(g, 2);
  for (int i = 0; i < results; i++) {
    const GType *t = random_type(g, 2);
    if (!first_order(t)) t = random_tensor(g);
    buf_fmt(&body, "%s, ", g_expr(g, t, &scope, 5));
  }
  if (one_in(g, 2)) buf_fmt(&body, "%s, ", g_example(g, &lets, &scope));
  for (int i = 0; i < scope.n; i++) buf_fmt(&body, "%s, ", g_expr(g, scope.at[i].type, &scope, 3));
  buf_str(&b, buf_text(&g->helpers));
  buf_fmt(&b, "def @%s(", p.entry);
  write_params(g->fn, &b);
  for (int i = 0; i < g->fn->param.n; i++)
    vec_push(&p.in, ((GInput){g->fn->param.at[i].name, input_value(g, g->fn->param.at[i].type)}));
  for (int i = 0; i < g->extra.n; i++) {
    buf_fmt(&b, ", %%%s: %s", g->extra.at[i].name, g->extra_type.at[i]);
    vec_push(&p.in, g->extra.at[i]);
  }
  buf_fmt(&b, ") { %s(%s) }\n", buf_text(&lets), buf_text(&body));
  p.text = buf_text(&b);
  return p;
}
