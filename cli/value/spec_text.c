/* spec_text.c -- values written as results are printed: Cons([1, 2], Nil).
 *
 * The type leads: it says which constructors there are and what a number is.
 * A stack of open constructors instead of recursion, for a printed list may
 * be long.                                                                   */
#include <math.h>
#include "base/checked.h"
#include "cli/value/show.h"
#include "cli/value/spec.h"
#include "parser/lex.h"

typedef struct {
  const rvm_program *p;
  const Module *m;
  Sources sources;
  Lexer lx;
  Token tok;
  SpecError *why;
  bool *computed;
} Reader;

static void next(Reader *r) { r->tok = lex_next(&r->lx); }
static bool accept(Reader *r, Tok k) {
  if (r->tok.kind != k) return false;
  next(r);
  return true;
}
static const char *tok_string(const Token *t) { return str_fmt("%.*s", (int)t->n, t->s); }

/* It may still be an expression: `f(x)`, `1 + 2`. */
static void *odd(Reader *r, const char *wanted) {
  *r->computed = true;
  return spec_bad(r->why, "expected %s, found %s", wanted, tok_found(&r->tok));
}

/* ---- numbers -------------------------------------------------------------------------- */
static bool holds(DType t, double d) {
  switch (t) {
  case DT_f16: return (double)f16_to_f32(f64_to_f16(d)) == d;
  case DT_bf16: return (double)bf16_to_f32(f32_to_bf16((float)d)) == d;
  case DT_f32: return (double)(float)d == d;
  default: return true;
  }
}

static bool store_int(Reader *r, DType t, bool negative, void *to) {
  uint64_t mag = r->tok.mag;
  int64_t v = negative ? (int64_t)(0 - mag) : (int64_t)mag;
  if (t == DT_bool) return false;
  if (!dtype_is_float(t)) {
    bool fits = t == DT_u64 ? !negative || mag == 0
                            : (negative ? mag <= (uint64_t)1 << 63 : mag < (uint64_t)1 << 63) &&
                                  wrap_int(v, t) == v;
    if (fits) memcpy(to, &v, (size_t)dtype_bytes(t));
    return fits;
  }
  double d = negative ? -(double)mag : (double)mag;
  Tensor *x = tensor_scalar_float(t, d);
  memcpy(to, x->bytes, (size_t)dtype_bytes(t));
  return mag <= (uint64_t)1 << 53 && holds(t, d);
}

static bool store_float(Reader *r, DType t, bool negative, void *to) {
  double d = r->tok.f;
  float f;
  if (!dtype_is_float(t)) return false;
  if (!r->tok.suffixed) { /* the token is rounded to f32 */
    if (t == DT_f32)
      num_read_f32(r->tok.s, r->tok.n, &f), d = (double)f;
    else
      num_read(r->tok.s, r->tok.n, &d);
  }
  memcpy(to, tensor_scalar_float(t, negative ? -d : d)->bytes, (size_t)dtype_bytes(t));
  return true;
}

/* inf and nan without suffix are names to the lexer. */
static bool special(const Token *t, double *out) {
  if (t->kind != T_IDENT || t->n != 3) return false;
  *out = !memcmp(t->s, "inf", 3) ? (double)INFINITY : (double)NAN;
  return !memcmp(t->s, "inf", 3) || !memcmp(t->s, "nan", 3);
}

/* One number as t in *to.  false after saying why. */
static bool number(Reader *r, DType t, void *to) {
  bool minus = accept(r, T_MINUS), ok;
  Token k = r->tok;
  double d;
  if (!minus && (k.kind == T_TRUE || k.kind == T_FALSE)) {
    ok = t == DT_bool;
    *(uint8_t *)to = k.kind == T_TRUE;
  } else if (special(&k, &d)) {
    ok = dtype_is_float(t);
    if (ok) memcpy(to, tensor_scalar_float(t, minus ? -d : d)->bytes, (size_t)dtype_bytes(t));
  } else if (k.kind == T_INT || k.kind == T_FLOAT) {
    ok = (!k.suffixed || k.dtype == t) &&
         (k.kind == T_INT ? store_int(r, t, minus, to) : store_float(r, t, minus, to));
  } else {
    odd(r, str_fmt("a number of type %s", dtype_name(t)));
    return false;
  }
  if (!ok) {
    spec_bad(r->why, "expected a number of type %s, found %s%s", dtype_name(t), minus ? "-" : "",
             tok_string(&k));
    return false;
  }
  next(r);
  return true;
}

/* ---- nested brackets --------------------------------------------------------------------- */
typedef struct {
  DType dtype;
  int rank;
  int64_t dim[MAX_RANK];
  StrBuf bytes;
} Nested;

/* Fills the axis `at` and those below; its extent must be that of its siblings. */
static bool nested(Reader *r, Nested *x, int at) {
  uint8_t element[8];
  if (at == x->rank) {
    if (r->tok.kind == T_LBRACK)
      return spec_bad(r->why, "a bracket nests deeper than the %d axes wanted", x->rank), false;
    if (!number(r, x->dtype, element)) return false;
    buf_put(&x->bytes, (const char *)element, (size_t)dtype_bytes(x->dtype));
    return true;
  }
  int64_t n = 0;
  if (!accept(r, T_LBRACK)) return odd(r, "`[`") != NULL;
  while (!accept(r, T_RBRACK)) {
    if (n && !accept(r, T_COMMA)) return odd(r, "`,` or `]`") != NULL;
    if (!nested(r, x, at + 1)) return false;
    n++;
  }
  if (x->dim[at] >= 0 && x->dim[at] != n)
    return spec_bad(r->why, "a row has %lld elements where the one before has %lld", (long long)n,
                    (long long)x->dim[at]),
           false;
  x->dim[at] = n;
  return true;
}

/* A lone number has the wrong rank; with more behind it, it is an expression. */
static void *no_brackets(Reader *r, rvm_type t) {
  Reader ahead = *r;
  double d;
  accept(&ahead, T_MINUS);
  Tok k = ahead.tok.kind;
  bool scalar =
      k == T_INT || k == T_FLOAT || k == T_TRUE || k == T_FALSE || special(&ahead.tok, &d);
  next(&ahead);
  if (!scalar || ahead.tok.kind != T_EOF) return odd(r, type_of_value(r->p, t));
  return spec_bad(r->why, "expected %s, found a scalar (f32[2,3]=0.5 is a tensor filled with one)",
                  type_of_value(r->p, t));
}

static InValue *tensor_value(Reader *r, rvm_type t, const rvm_type_info *info) {
  Nested x = {.dtype = type_dtype(info), .rank = info->ndim};
  if (info->ndim > 0 && r->tok.kind != T_LBRACK) return no_brackets(r, t);
  for (int i = 0; i < MAX_RANK; i++) x.dim[i] = -1;
  if (!nested(r, &x, 0)) return NULL;
  /* [] says nothing about the axes below: they are as the type wants, or 0. */
  for (int i = 0; i < x.rank; i++)
    if (x.dim[i] < 0) x.dim[i] = info->shape[i] > 0 ? info->shape[i] : 0;
  Tensor *made = tensor_new(x.dtype, x.rank, x.dim);
  if (x.bytes.n) memcpy(made->bytes, x.bytes.s, x.bytes.n);
  return invalue_tensor(r->p, t, made, r->why);
}

/* ---- values ---------------------------------------------------------------------------------- */
static const char *ctors_of(const rvm_program *p, rvm_type t, uint32_t n) {
  StrBuf b = {0};
  for (uint32_t c = 0; c < n && c < 20; c++)
    buf_fmt(&b, "%s%s", c ? ", " : "", rvm_ctor_name(p, t, c));
  return buf_text(&b);
}

/* Functions that became data (autodiff/values.h) are known by their names; no expression
 * gives one. */
static bool of_functions(const rvm_program *p, rvm_type t) {
  return strncmp(type_of_value(p, t), "fn ", 3) == 0;
}

/* The opening of data: its constructor, and `(` if there are fields. */
static InValue *open_data(Reader *r, rvm_type t, const rvm_type_info *info) {
  uint32_t c = 0;
  if (!info->is_tuple) {
    bool function = r->tok.kind == T_GLOBAL;
    if (r->tok.kind != T_IDENT && !function) return odd(r, type_of_value(r->p, t));
    const char *name = str_fmt("%s%s", function ? "@" : "", tok_string(&r->tok));
    while (c < info->n_ctors && strcmp(rvm_ctor_name(r->p, t, c), name) != 0) c++;
    if (c == info->n_ctors && of_functions(r->p, t))
      return spec_bad(r->why, "expected a function of type %s, one of %s, found %s",
                      type_of_value(r->p, t), ctors_of(r->p, t, info->n_ctors), tok_found(&r->tok));
    if (c == info->n_ctors)
      return odd(r, str_fmt("a constructor of %s (%s)", type_of_value(r->p, t),
                            ctors_of(r->p, t, info->n_ctors)));
    next(r);
  }
  uint32_t n = rvm_ctor_fields(r->p, t, c);
  if (n > 0 || info->is_tuple) {
    if (!accept(r, T_LPAREN)) return odd(r, "`(`");
    if (n == 0 && !accept(r, T_RPAREN)) return odd(r, "`)`");
  } else if (accept(r, T_LPAREN) && !accept(r, T_RPAREN))
    return odd(r, "`)`");
  return invalue_data(t, c, n);
}

/* Up to the comma or parenthesis that ends a field. */
static const char *field_text(const char *s) {
  int depth = 0;
  size_t n = 0;
  for (; s[n] && (depth > 0 || (s[n] != ',' && s[n] != ')')); n++)
    depth += (s[n] == '[') - (s[n] == ']');
  while (n > 0 && s[n - 1] == ' ') n--;
  return str_fmt("%.*s", (int)n, s);
}

static InValue *start(Reader *r, rvm_type t) {
  rvm_type_info info;
  bool mine = false;
  if (rvm_type_describe(r->p, t, &info) != RVM_OK) return spec_bad(r->why, "it has no type");
  if (r->tok.kind == T_IDENT) {
    const char *text = field_text(r->tok.s);
    InValue *v = invalue_typed(r->p, t, text, &mine, r->why);
    if (mine && v) {
      r->lx.pos = (size_t)(r->tok.s - r->lx.text) + strlen(text);
      next(r);
    }
    if (mine) return v;
  }
  if (r->tok.kind == T_GLOBAL) {
    const char *path = tok_string(&r->tok);
    if (spec_names_file(path)) {
      next(r);
      return invalue_file(r->p, t, path, r->why);
    }
    if (info.kind != RVM_DATA || info.is_tuple) return odd(r, type_of_value(r->p, t));
  }
  if (info.kind == RVM_TENSOR) return tensor_value(r, t, &info);
  if (info.kind == RVM_DATA && r->tok.kind == T_LBRACK && !info.is_tuple)
    return odd(r, type_of_value(r->p, t));
  if (info.kind == RVM_DATA) return open_data(r, t, &info);
  return odd(r, type_of_value(r->p, t));
}

/* Data is open while fields are missing; a finished file value is not. */
static bool is_open(const InValue *v) { return !v->tensor && v->n > 0 && !v->at[0]; }

typedef struct {
  InValue *v;
  uint32_t i;
} Part;

static InValue *whole_value(Reader *r, rvm_type t) {
  VEC(Part) open = {0};
  for (;;) {
    InValue *v = start(r, t);
    if (!v) return NULL;
    if (is_open(v))
      vec_push(&open, ((Part){v, 0}));
    else {
      while (open.n > 0) {
        Part *f = &vec_last(&open);
        f->v->at[f->i++] = v;
        if (f->i < f->v->n) break;
        if (r->tok.kind == T_COMMA) next(r);
        if (!accept(r, T_RPAREN)) return odd(r, "`)`");
        v = f->v;
        open.n--;
      }
      if (open.n == 0) return v;
      if (!accept(r, T_COMMA)) return odd(r, "`,`");
    }
    Part *f = &vec_last(&open);
    t = rvm_ctor_field(r->p, f->v->type, f->v->ctor, f->i);
  }
}

InValue *invalue_literal(const rvm_program *p, rvm_type t, const Module *m, const char *text,
                         bool *computed, SpecError *why) {
  Reader r = {.p = p, .m = m, .why = why, .computed = computed};
  Diags *d = diags_new(&r.sources);
  uint32_t file = source_add(&r.sources, "input", text, strlen(text));
  *computed = false;
  if (!lex_check_text(text, strlen(text), file, d)) return spec_bad(why, "%s", d->at[0].text);
  r.lx = lex_start(&r.sources, file, d);
  r.lx.paths = true;
  next(&r);
  InValue *v = whole_value(&r, t);
  if (v && r.tok.kind != T_EOF) v = odd(&r, "the end of the value");
  if (d->n_errors > 0) {
    *computed = false;
    return spec_bad(why, "%s", d->at[0].text);
  }
  return v;
}
