/* gen_example.c -- a call of any operator: one of the examples of its record
 * (the form is in stdlib/README.md), each tensor a parameter of the program, or
 * made of one by another operator; the checker says what the call gives.      */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"
#include "stdlib/stdlib.h"
#include "tests/random/gen.h"

/* What an argument says: dtype[extents], perhaps with a range of values. */
typedef struct {
  DType dtype;
  int rank;
  int64_t dim[MAX_RANK];
  bool unknown[MAX_RANK];
  char rule; /* '<', '>' or 0 */
  double bound;
} Spec;

static const struct {
  const char *name, *full;
  DType t;
} dtypes[] = {{"f64", "float64", DT_f64},    {"f32", "float32", DT_f32}, {"f16", "float16", DT_f16},
              {"bf16", "bfloat16", DT_bf16}, {"bool", "bool", DT_bool},  {"i8", "int8", DT_i8},
              {"i16", "int16", DT_i16},      {"i32", "int32", DT_i32},   {"i64", "int64", DT_i64},
              {"u8", "uint8", DT_u8},        {"u16", "uint16", DT_u16},  {"u32", "uint32", DT_u32},
              {"u64", "uint64", DT_u64}};
enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

static int dtype_at(const char *s, size_t *n) {
  for (int i = 0; i < N_DTYPES; i++) {
    *n = strlen(dtypes[i].name);
    if (!strncmp(s, dtypes[i].name, *n) && s[*n] == '[') return i;
  }
  return -1;
}

static const char *read_extents(const char *s, Spec *x) {
  while (*s != ']') {
    char *end;
    if (*s == '?') x->unknown[x->rank] = true, s++;
    x->dim[x->rank++] = strtoll(s, &end, 10);
    s = end + strspn(end, ", ");
  }
  return s + 1;
}

void g_set(Tensor *t, int64_t i, double v) {
  size_t each = (size_t)dtype_bytes(t->dtype);
  Tensor *one = dtype_is_float(t->dtype) ? tensor_scalar_float(t->dtype, v)
                                         : tensor_scalar_int(t->dtype, (int64_t)v);
  memcpy((uint8_t *)t->bytes + (size_t)i * each, one->bytes, each);
}
static double draw(const Spec *x, double u) {
  bool real = dtype_is_float(x->dtype);
  if (x->rule == '<') return real ? u * x->bound : (double)(int64_t)(u * x->bound);
  if (x->rule == '>') return x->bound + (real ? 0.1 + 2 * u : 1 + (double)(int64_t)(u * 9));
  if (x->dtype == DT_bool) return u < 0.5;
  if (real) return 2 * u - 1;
  return (double)(int64_t)(u * 20) - (dtype_is_signed(x->dtype) ? 10 : 0);
}
static Tensor *filled(Gen *g, const Spec *x) {
  Tensor *t = tensor_new(x->dtype, x->rank, x->dim);
  uint64_t z = pick(g, 1000) + 7;
  for (int64_t i = 0; i < t->count; i++) {
    z = z * 6364136223846793005u + 1442695040888963407u;
    g_set(t, i, draw(x, (double)(z >> 40) / (1 << 24)));
  }
  return t;
}

static const char *spec_type(const Spec *x, const char *dtype) {
  StrBuf b = {0};
  if (x->rank == 0) return dtype;
  for (int i = 0; i < x->rank; i++) {
    buf_str(&b, i ? ", " : "Tensor[(");
    if (x->unknown[i])
      buf_char(&b, '?');
    else
      buf_fmt(&b, "%lld", (long long)x->dim[i]);
  }
  buf_fmt(&b, "), %s]", dtype);
  return buf_text(&b);
}

/* The parameter, or what an operator makes of it that the record allows as well. */
static const char *fed(Gen *g, const Spec *x, const char *name) {
  uint32_t how = pick(g, 6);
  if (how == 1 && x->rank > 0)
    return str_fmt("reverse(%%%s, axis=%u)", name, pick(g, (uint32_t)x->rank));
  if (how == 2 && dtype_is_float(x->dtype) && !x->rule) return str_fmt("tanh(%%%s)", name);
  if (how == 3 && x->dtype != DT_bool) return str_fmt("maximum(%%%s, %%%s)", name, name);
  return str_fmt("%%%s", name);
}

/* The tensor argument at s becomes a parameter; what follows it. */
static const char *argument(Gen *g, int dtype, const char *s, StrBuf *out) {
  Spec x = {.dtype = dtypes[dtype].t};
  char *end;
  s = read_extents(s, &x);
  if (*s == '<' || *s == '>') {
    x.rule = *s;
    x.bound = strtod(s + 1, &end);
    s = end;
  }
  const char *name = g_fresh(g, "e");
  vec_push(&g->extra, ((GInput){name, filled(g, &x)}));
  vec_push(&g->extra_type, spec_type(&x, dtypes[dtype].full));
  buf_str(out, fed(g, &x, name));
  return s;
}

/* A constant, [1, 2]i64 or [[1, 2], [3, 4]]f32: a parameter with these values.
 * What follows it, or NULL: it is none. */
static const char *constant_at(Gen *g, const char *s, StrBuf *out) {
  Spec x = {0};
  size_t len;
  VEC(double) v = {0};
  int depth = 0, rows = 0;
  const char *c = s;
  char *end;
  if (*s != '[') return NULL;
  do {
    if (*c == '[') depth++, rows += depth == 2;
    if (*c == ']') depth--;
    double d = strtod(c, &end);
    if (end > c && !isspace((unsigned char)*c)) {
      vec_push(&v, d);
      c = end - 1;
    }
  } while (depth > 0 && *++c);
  size_t word = strspn(c + 1, "abcdefghijklmnopqrstuvwxyz0123456789");
  int t = dtype_at(str_fmt("%.*s[", (int)word, c + 1), &len);
  if (t < 0) return NULL;
  x.dtype = dtypes[t].t;
  if (rows) x.dim[x.rank++] = rows;
  x.dim[x.rank++] = rows ? v.n / rows : v.n;
  const char *name = g_fresh(g, "e");
  Tensor *value = tensor_new(x.dtype, x.rank, x.dim);
  for (int i = 0; i < v.n; i++) g_set(value, i, v.at[i]);
  vec_push(&g->extra, ((GInput){name, value}));
  vec_push(&g->extra_type, spec_type(&x, dtypes[t].full));
  buf_fmt(out, "%%%s", name);
  return c + 1 + len;
}

static const char *example(Gen *g) {
  const OpDef *op = stdlib_ops[pick(g, (uint32_t)stdlib_n_ops)];
  uint32_t n = 0;
  StrBuf b = {0};
  while (op->examples && op->examples[n]) n++;
  if (n == 0) return "0";
  const char *s = op->examples[pick(g, n)];
  bool quoted = false, word = false; /* inside a name or number */
  while (*s) {
    size_t len;
    int dtype = quoted || word ? -1 : dtype_at(s, &len);
    if (dtype >= 0) {
      s = argument(g, dtype, s + len + 1, &b);
      continue;
    }
    const char *after = quoted || word ? NULL : constant_at(g, s, &b);
    if (after) {
      s = after;
      continue;
    }
    if (*s == '"') quoted = !quoted;
    word = isalnum((unsigned char)*s) || *s == '_' || *s == '.';
    buf_char(&b, *s++);
  }
  return buf_text(&b);
}

/* ---- among other operators -------------------------------------------------------------- */
/* What a call of the parameters so far gives; NULL: the checker refuses it. */
static const Type *checked(const Gen *g, const char *call) {
  StrBuf b = {0};
  Driver d;
  for (int i = 0; i < g->extra.n; i++)
    buf_fmt(&b, "%s%%%s: %s", i ? ", " : "def @e(", g->extra.at[i].name, g->extra_type.at[i]);
  buf_fmt(&b, "%s) { %s }\n", g->extra.n ? "" : "def @e(", call);
  driver_init(&d, NULL);
  const char *text = buf_text(&b);
  Module *m = driver_load_text(&d, (TextFile){"example.rly", text, strlen(text)}, true);
  const Global *e = m ? module_find(m, "e") : NULL;
  return e && e->type && e->type->kind == TY_Fn ? e->type->fn.ret : NULL;
}

/* A name for the tensor `text` of type t, brought to what the generator knows: small, if
 * engines may round it differently.  Nothing if it has an unknown extent or half a float. */
static void bring(Gen *g, const char *text, const Type *t, StrBuf *lets, GScope *s) {
  int dim[G_RANK];
  int64_t n;
  if (t->kind != TY_Tensor || t->tensor.rank > G_RANK) return;
  for (int i = 0; i < t->tensor.rank; dim[i++] = (int)n)
    if (!dim_is_const(t->tensor.dim[i], &n)) return;
  DType from = t->tensor.dtype, to = from;
  if (from == DT_f16 || from == DT_bf16) return;
  if (dtype_is_float(from)) to = DT_f32;
  if (!dtype_is_float(from) && from != DT_bool) to = DT_i32;
  if (from != to)
    text = str_fmt("cast(%s, dtype=\"%s\")", text, to == DT_f32 ? "float32" : "int32");
  if (to == DT_f32) text = str_fmt("tanh(%s)", text);
  const char *name = g_fresh(g, "r");
  buf_fmt(lets, "let %%%s = %s; ", name, text);
  vec_push(s, ((GName){name, g_tensor(to, false, t->tensor.rank, dim)}));
}

const char *g_example(Gen *g, StrBuf *lets, GScope *s) {
  const char *call = example(g), *name = g_fresh(g, "r");
  const Type *t = checked(g, call);
  if (!t) return call;
  buf_fmt(lets, "let %%%s = %s; ", name, call);
  if (t->kind == TY_Tensor) bring(g, str_fmt("%%%s", name), t, lets, s);
  for (int i = 0; t->kind == TY_Tuple && i < t->tuple.n; i++)
    bring(g, str_fmt("%%%s.%d", name, i), t->tuple.at[i], lets, s);
  return str_fmt("%%%s", name);
}
