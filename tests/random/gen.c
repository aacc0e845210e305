/* gen.c -- types, values, whole programs; see gen.h.                          */
#include <math.h>
#include <string.h>
#include "tests/random/gen.h"

const char *const gen_preamble =
    "type Grove {\n  Fork(Grove, Tensor[(3), float32], Grove),\n  Bare,\n}\n"
    "type Herd[A] {\n  Herd(A, List[Herd[A]]),\n  Lone(A),\n}\n"
    "type Slot[A] {\n  Slot(ref(A), fn(A) -> A),\n  Free(A),\n}\n"
    "def @swap[A, B](%p: (A, B)) -> (B, A) { (%p.1, %p.0) }\n"
    "def @ping[A](%n: int32, %f: fn(A) -> A, %x: A) -> A {\n"
    "  if (%n <= 0) { %x } else { %f(@pong(%n - 1, %f, %x)) }\n}\n"
    "def @pong[A](%n: int32, %f: fn(A) -> A, %x: A) -> A {\n"
    "  let %y = %f(%x);\n  if (%n <= 0) { %y } else { @ping(%n - 1, %f, %y) }\n}\n"
    "def @herd[A, B](%f: fn(A, B) -> B, %h: Herd[A], %b: B) -> B {\n"
    "  match (%h) { Herd(%a, %more) => @herds(%f, %more, %f(%a, %b)), Lone(%a) => %f(%a, %b) }\n}\n"
    "def @herds[A, B](%f: fn(A, B) -> B, %l: List[Herd[A]], %b: B) -> B {\n"
    "  match (%l) { Cons(%h, %t) => @herd(%f, %h, @herds(%f, %t, %b)), Nil => %b }\n}\n";

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
  *t = (GType){.kind = G_TENSOR, .dtype = dtype, .rank = rank};
  t->exact = exact || (dtype != DT_f32 && dtype != DT_f64);
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
  const char *name = dtype_name(t->dtype);
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
  case G_HERD: return str_fmt("Herd[%s]", g_text(t->at[0]));
  case G_SLOT: return str_fmt("Slot[%s]", g_text(t->at[0]));
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
DType g_dtype(Gen *g) {
  static const DType rare[] = {DT_f16,  DT_i8,  DT_f64, DT_i64, DT_u8,
                               DT_bf16, DT_u32, DT_i16, DT_u16, DT_u64};
  static const DType common[] = {DT_f32, DT_f32, DT_f32, DT_i32, DT_bool};
  return one_in(g, 4) ? rare[pick(g, 10)] : common[pick(g, 5)];
}
static const GType *random_tensor(Gen *g) {
  DType dtype = g_dtype(g);
  int rank = (int)pick(g, 4), dim[G_RANK];
  for (int i = 0; i < rank; i++) dim[i] = random_dim(g);
  return g_tensor(dtype, !one_in(g, 2), rank, dim);
}
const GType *g_type(Gen *g, int depth) {
  const GType *at[4];
  int n = 1;
  uint32_t k = depth > 0 ? pick(g, 14) : pick(g, 5);
  if (k < 3) return random_tensor(g);
  if (k < 5) return g_scalar(k == 3 ? G_INT : G_BOOL);
  if (k == 5) return g_scalar(G_TREE);
  static const GKind kinds[] = {G_TUPLE, G_FN, G_REF, G_OPTION, G_LIST, G_LIST, G_HERD, G_SLOT};
  GKind kind = kinds[k - 6];
  if (kind == G_SLOT) return g_of(kind, 1, (at[0] = random_tensor(g), at));
  if (kind == G_TUPLE) n = 1 + (int)pick(g, 3);
  if (kind == G_FN) n = 2;
  for (int i = 0; i < n; i++) at[i] = g_type(g, depth - 1);
  return g_of(kind, n, at);
}
bool g_first_order(const GType *t) {
  if (t->kind == G_FN || t->kind == G_REF || t->kind == G_SLOT) return false;
  for (int i = 0; i < t->n; i++)
    if (!g_first_order(t->at[i])) return false;
  return true;
}

/* ---- names -------------------------------------------------------------------------- */
/* A variable of the type, or NULL. */
const char *g_known(Gen *g, const GType *t, const GScope *s) {
  int n = 0;
  for (int i = 0; i < s->n; i++) n += g_same(s->at[i].type, t);
  if (n == 0) return NULL;
  int k = (int)pick(g, (uint32_t)n);
  for (int i = s->n; i-- > 0;)
    if (g_same(s->at[i].type, t) && k-- == 0) return str_fmt("%%%s", s->at[i].name);
  return NULL;
}
GScope g_with(const GScope *s, const char *name, const GType *t) {
  GScope out = {0};
  for (int i = 0; i < s->n; i++) vec_push(&out, s->at[i]);
  vec_push(&out, ((GName){name, t}));
  return out;
}

/* A parameter of the function being written; any number may be added. */
const char *g_param(Gen *g, const GType *t) {
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
const char *g_tuple(Gen *g, const GType *t, GScope *s, int depth) {
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
const char *g_function(Gen *g, const GType *t, GScope *s, int depth) {
  const char *name = g_fresh(g, "x");
  GScope in = g_with(s, name, t->at[0]);
  return str_fmt("fn (%%%s: %s) -> %s { %s }", name, g_text(t->at[0]), g_text(t->at[1]),
                 g_expr(g, t->at[1], &in, depth - 1));
}
static const char *make_herd(Gen *g, const GType *t, GScope *s, int depth) {
  const char *a = g_expr(g, t->at[0], s, depth - 1);
  if (depth <= 0 || pick(g, 2) == 0) return str_fmt("Lone(%s)", a);
  const GType *herds = g_of(G_LIST, 1, &t);
  return str_fmt("Herd(%s, %s)", a, make_list(g, herds, s, depth - 1));
}
static const char *make_slot(Gen *g, const GType *t, GScope *s, int depth) {
  const GType *at[2] = {t->at[0], t->at[0]};
  const char *a = g_expr(g, t->at[0], s, depth - 1);
  if (depth <= 0 || pick(g, 3) == 0) return str_fmt("Free(%s)", a);
  return str_fmt("Slot(ref(%s), %s)", a, g_function(g, g_of(G_FN, 2, at), s, depth - 1));
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
  default: return str_fmt("cast(dim(%s, 0), dtype=\"int32\")", g_param(g, g->fn->param.at[0].type));
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

const char *g_make(Gen *g, const GType *t, GScope *s, int depth) {
  switch (t->kind) {
  case G_INT: return make_int(g, s, depth);
  case G_BOOL: return make_bool(g, s, depth);
  case G_TENSOR: return depth > 0 ? g_operator(g, t, s, depth) : g_leaf(g, t, s);
  case G_TUPLE: return g_tuple(g, t, s, depth);
  case G_LIST: return make_list(g, t, s, depth);
  case G_OPTION: return make_option(g, t, s, depth);
  case G_TREE: return make_tree(g, t, s, depth);
  case G_FN: return g_function(g, t, s, depth);
  case G_HERD: return make_herd(g, t, s, depth);
  case G_SLOT: return make_slot(g, t, s, depth);
  case G_REF: return str_fmt("ref(%s)", g_expr(g, t->at[0], s, depth - 1));
  }
  return "";
}

/* A tensor without an operator: a variable or a parameter. */
const char *g_leaf(Gen *g, const GType *t, GScope *s) {
  const char *v = pick(g, 2) ? g_known(g, t, s) : NULL;
  if (v) return v;
  v = g_param(g, g_tensor(t->dtype, true, t->rank, t->dim));
  return t->exact || !g->special ? v : str_fmt("clip(%s, a_min=-4, a_max=4)", v);
}

/* ---- functions of the file --------------------------------------------------------------------
 */
void g_write_params(const GFn *f, StrBuf *b) {
  for (int i = 0; i < f->param.n; i++)
    buf_fmt(b, "%s%%%s: %s", i ? ", " : "", f->param.at[i].name, g_text(f->param.at[i].type));
}
/* Every function has %z, so that its extents n and m are bound. */
GFn *g_new_fn(Gen *g, const char *name, const GType *result) {
  static const int nm[] = {DIM_N, DIM_M};
  GFn *f = NEW(GFn);
  f->name = name, f->result = result;
  vec_push(&f->param, ((GName){g_fresh(g, "z"), g_tensor(DT_f32, true, 2, nm)}));
  return f;
}
/* ---- a program
 * ------------------------------------------------------------------------------------ */
static double small_value(DType t, uint64_t z) {
  int v = (int)((z >> 33) % 20) - (t == DT_bool || dtype_class(t) == 'u' ? 0 : 8);
  return dtype_is_float(t) ? v / 8.0 : t == DT_bool ? v > 9 : v;
}
/* What is at the edge: of integers the bounds, of floats also what is no number. */
static double special_value(DType t, uint64_t z) {
  static const double ints[] = {
      -9223372036854775808.0, 2147483647, -2147483648.0, 32767, 127, 255, -1, 65535};
  static const double floats[] = {NAN, INFINITY, -INFINITY, -0.0, 1e30, 1e-40, -65504, 2.5};
  return (dtype_is_float(t) ? floats : ints)[z >> 40 & 7];
}
static Tensor *input_value(Gen *g, const GType *t) {
  int64_t dim[G_RANK] = {0};
  DType dtype = t->kind == G_INT ? DT_i32 : t->kind == G_BOOL ? DT_bool : t->dtype;
  for (int i = 0; i < t->rank; i++)
    dim[i] = t->dim[i] >= 0 ? t->dim[i] : t->dim[i] == DIM_N ? g->n : g->m;
  Tensor *x = tensor_new(dtype, t->rank, dim);
  uint64_t z = pick(g, 1000);
  for (int64_t i = 0; i < x->count; i++) {
    z = z * 6364136223846793005u + 1442695040888963407u;
    g_set(x, i, g->special && (z >> 60) == 3 ? special_value(dtype, z) : small_value(dtype, z));
  }
  return x;
}

GProgram gen_program(Tape *tape, int number) {
  static const int extent[] = {2, 3, 1, 5, 0, 8, 17, 33};
  Gen gen = {.t = tape, .number = number, .budget = 36}, *g = &gen;
  GProgram p = {.entry = str_fmt("p%d", number)};
  GScope scope = {0};
  StrBuf b = {0}, lets = {0}, body = {0};
  g->n = extent[pick(g, 8)], g->m = extent[pick(g, 8)];
  g->special = one_in(g, 6);
  g->fn = g_new_fn(g, p.entry, NULL);
  int results = 1 + (int)pick(g, 2);
  for (int i = 0; i < results; i++) {
    const GType *t = g_type(g, 2);
    if (!g_first_order(t)) t = random_tensor(g);
    buf_fmt(&body, "%s, ", g_expr(g, t, &scope, 5));
  }
  if (one_in(g, 2)) buf_fmt(&body, "%s, ", g_example(g, &lets, &scope));
  for (int i = 0; i < scope.n; i++) buf_fmt(&body, "%s, ", g_expr(g, scope.at[i].type, &scope, 3));
  buf_str(&b, buf_text(&g->helpers));
  buf_fmt(&b, "def @%s(", p.entry);
  g_write_params(g->fn, &b);
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
