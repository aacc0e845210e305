/* text_parse.c -- reading kernel text (docs/kernel-ir.md).
 *
 * Recursive descent straight into the builder, with folding off: the nodes are
 * those the text names.  Any bytes may come: nesting is limited, every list is
 * limited or growing, and the first mistake stops the reading.               */
#include "kernel/text_priv.h"
#include "kernel/build_priv.h"
#include <math.h>

enum { MAX_NEST = 256 };

typedef enum { B_Value, B_Buf } BoundKind;
typedef struct { const char *name; size_t n; BoundKind kind; uint32_t id; } Bound; /* KE or buffer */

typedef struct {
  const char *at, *end, *line_start;
  int line, last_line, last_col;             /* here; where the last word began */
  KTextError *err;
  bool failed;
  KAlloc a;
  KB *b;
  Bound *bound;                              /* names in scope, innermost last */
  uint32_t n_bound, cap_bound;
  KE *alias;                                 /* $0, $1 ...                    */
  uint32_t n_alias, cap_alias;
  int nest;
} Parser;

/* ---- errors ----------------------------------------------------------------- */
static bool fail_at(Parser *p, const char *why, int line, int col) {
  if (p->failed) return false;
  p->failed = true;
  if (!p->err) return false;
  size_t n = strlen(why);
  if (n >= sizeof p->err->why) n = sizeof p->err->why - 1;
  memcpy(p->err->why, why, n);
  p->err->why[n] = 0;
  p->err->line = line;
  p->err->col = col;
  return false;
}

static int column(const Parser *p) { return (int)(p->at - p->line_start) + 1; }
/* The last word was wrong, or the next one is. */
static bool fail(Parser *p, const char *why) { return fail_at(p, why, p->last_line, p->last_col); }
static bool fail_next(Parser *p, const char *why) { return fail_at(p, why, p->line, column(p)); }

static void begin_word(Parser *p) {
  p->last_line = p->line;
  p->last_col = column(p);
}

static KE fail_e(Parser *p, const char *why) {
  fail(p, why);
  return KE_NONE;
}

/* After calls of the builder: still well? */
static bool built(Parser *p) { return !kb_error(p->b) || fail(p, kb_error(p->b)); }

/* ---- words ------------------------------------------------------------------ */
static void skip_space(Parser *p) {
  for (; p->at < p->end; p->at++) {
    if (*p->at == '\n') { p->line++; p->line_start = p->at + 1; }
    else if (*p->at == '/' && p->at + 1 < p->end && p->at[1] == '/')
      while (p->at + 1 < p->end && p->at[1] != '\n') p->at++;
    else if (*p->at != ' ' && *p->at != '\t' && *p->at != '\r') return;
  }
}

static char peek(Parser *p) {
  skip_space(p);
  return p->at < p->end ? *p->at : 0;
}

/* Is s next?  A word must not go on. */
static bool is_next(Parser *p, const char *s) {
  size_t n = strlen(s);
  skip_space(p);
  if ((size_t)(p->end - p->at) < n || memcmp(p->at, s, n) != 0) return false;
  if (!text_is_letter(s[n - 1]) || p->at + n == p->end) return true;
  return !text_is_letter(p->at[n]) && !text_is_digit(p->at[n]);
}

static bool accept(Parser *p, const char *s) {
  if (p->failed || !is_next(p, s)) return false;
  begin_word(p);
  p->at += strlen(s);
  return true;
}

static bool expect(Parser *p, const char *s) {
  char why[32] = "expected ";
  if (p->failed || accept(p, s)) return !p->failed;
  memcpy(why + 9, s, strlen(s) + 1);
  return fail_next(p, why);
}

typedef struct { const char *s; size_t n; } Word;

static bool word(Parser *p, Word *w) {
  if (p->failed) return false;
  if (!text_is_letter(peek(p))) return fail_next(p, "expected a name");
  begin_word(p);
  w->s = p->at;
  while (p->at < p->end && (text_is_letter(*p->at) || text_is_digit(*p->at))) p->at++;
  w->n = (size_t)(p->at - w->s);
  return w->n <= TEXT_MAX_NAME || fail(p, "the name is too long");
}

/* Look at the next word without taking it. */
static bool peek_word(Parser *p, Word *w) {
  const char *at;
  if (p->failed || !text_is_letter(peek(p))) return false;
  at = p->at;
  bool ok = word(p, w);
  p->at = at;
  return ok;
}

static void copy_word(const Word *w, char out[TEXT_MAX_NAME + 1]) {
  memcpy(out, w->s, w->n);
  out[w->n] = 0;
}

static bool is_word(const Word *w, const char *s) { return strlen(s) == w->n && memcmp(s, w->s, w->n) == 0; }

static bool find_dtype(const char *s, size_t n, DType *t) {
  for (int i = 0; i < DT_COUNT; i++) {
    const char *name = text_dtype((DType)i);
    if (strlen(name) == n && memcmp(name, s, n) == 0) { *t = (DType)i; return true; }
  }
  return false;
}

static bool dtype(Parser *p, DType *t) {
  Word w;
  if (!word(p, &w)) return false;
  return find_dtype(w.s, w.n, t) || fail(p, "no such dtype");
}

static int hex_value(char c) {
  if (text_is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A text in quotes, into a new block of *bytes bytes. */
static char *quoted(Parser *p, size_t *bytes) {
  if (!expect(p, "\"")) return NULL;
  *bytes = 1;
  for (const char *s = p->at; s < p->end && *s != '"'; s++, ++*bytes)
    if (*s == '\\' && s + 1 < p->end) s++;
  char *out = p->a.fn(p->a.user, NULL, 0, *bytes), *to = out;
  if (!out) { fail(p, "out of memory"); return NULL; }
  while (p->at < p->end && *p->at != '"' && *p->at != '\n' && *p->at) {
    char c = *p->at++;
    if (c == '\\' && p->at < p->end) {
      c = *p->at++;
      if (c == 'n') c = '\n';
      if (c == 'x' && p->end - p->at >= 2 && hex_value(p->at[0]) >= 0 && hex_value(p->at[1]) >= 0) {
        c = (char)(hex_value(p->at[0]) * 16 + hex_value(p->at[1]));
        p->at += 2;
      }
    }
    *to++ = c;
  }
  *to = 0;
  if (expect(p, "\"")) return out;
  p->a.fn(p->a.user, out, *bytes, 0);
  return NULL;
}

/* ---- names in scope --------------------------------------------------------- */
static bool grow(Parser *p, void **array, uint32_t *cap, uint32_t used, size_t size) {
  if (used < *cap) return true;
  uint32_t want = *cap ? *cap * 2 : 32;
  void *m = want > 1u << 26 ? NULL : p->a.fn(p->a.user, *array, *cap * size, want * size);
  if (!m) return fail(p, "out of memory");
  *array = m;
  *cap = want;
  return true;
}

static void bind(Parser *p, Word w, BoundKind kind, uint32_t id) {
  if (p->failed || !grow(p, (void **)&p->bound, &p->cap_bound, p->n_bound, sizeof *p->bound)) return;
  p->bound[p->n_bound++] = (Bound){ w.s, w.n, kind, id };
}

static const Bound *lookup(Parser *p, const Word *w) {
  for (uint32_t i = p->n_bound; i-- > 0;)
    if (p->bound[i].n == w->n && memcmp(p->bound[i].name, w->s, w->n) == 0) return &p->bound[i];
  fail(p, "unknown name");
  return NULL;
}

/* ---- numbers ---------------------------------------------------------------- */
/* A literal: m * 10^-places, or m * 2^exponent when hex. */
typedef struct { uint64_t m; int places, exponent; bool negative, hex, point, inf, nan, bits; } Number;

static bool small_int(Parser *p, int *v) {
  bool negative = p->at < p->end && *p->at == '-';
  if (p->at < p->end && (*p->at == '-' || *p->at == '+')) p->at++;
  if (p->at == p->end || !text_is_digit(*p->at)) return fail(p, "expected an exponent");
  for (*v = 0; p->at < p->end && text_is_digit(*p->at); p->at++) {
    if (*v > 9999) return fail(p, "the exponent is too large");
    *v = *v * 10 + (*p->at - '0');
  }
  if (negative) *v = -*v;
  return true;
}

/* Digits of a base, with one point; places counts those after it. */
static bool digits(Parser *p, unsigned base, Number *n) {
  int seen = 0;
  for (; p->at < p->end; p->at++) {
    if (*p->at == '.' && !n->point) { n->point = true; continue; }
    int d = base == 16 ? hex_value(*p->at) : text_is_digit(*p->at) ? *p->at - '0' : -1;
    if (d < 0) break;
    if (__builtin_mul_overflow(n->m, (uint64_t)base, &n->m) ||
        __builtin_add_overflow(n->m, (uint64_t)d, &n->m))
      return fail(p, "the number has too many digits");
    seen++;
    n->places += n->point;
  }
  return seen > 0 || fail(p, "expected a number");
}

static bool hex_number(Parser *p, Number *n) {
  p->at += 2;
  n->hex = true;
  if (!digits(p, 16, n)) return false;
  n->exponent = -4 * n->places;
  if (n->point && !(p->at < p->end && *p->at == 'p')) return fail(p, "expected an exponent");
  if (p->at == p->end || *p->at != 'p') return true;
  int e;
  p->at++;
  n->point = true;
  if (!small_int(p, &e)) return false;
  n->exponent += e;
  return true;
}

static bool number(Parser *p, Number *n) {
  *n = (Number){ 0 };
  skip_space(p);
  begin_word(p);
  n->negative = accept(p, "-");
  if (accept(p, "inf")) { n->inf = true; return true; }
  if (accept(p, "nan")) { n->nan = true; return true; }
  if (accept(p, "bits")) {
    n->bits = true;
    return expect(p, "(") && peek(p) == '0' && p->end - p->at > 2 && p->at[1] == 'x'
             ? hex_number(p, n) && expect(p, ")") && (!n->point || fail(p, "expected bits"))
             : fail(p, "expected a hexadecimal number");
  }
  if (peek(p) == '0' && p->end - p->at > 2 && p->at[1] == 'x') return hex_number(p, n);
  if (!digits(p, 10, n)) return false;
  if (p->at < p->end && *p->at == 'e') {
    int e;
    p->at++;
    n->point = true;
    if (!small_int(p, &e)) return false;
    n->places -= e;
  }
  return true;
}

static KE float_const(Parser *p, DType t, const Number *n) {
  if (n->nan) return kb_bits_const(p->b, t, text_nan(t));
  double sign = n->negative ? -1 : 1;
  if (n->inf) return kb_float(p->b, t, sign * (double)INFINITY);
  if (n->m >> 53) return fail_e(p, "the number has too many digits");
  if (n->hex) return kb_float(p->b, t, sign * ldexp((double)n->m, n->exponent));
  if (n->places >= 0 && n->places <= 22)
    return kb_bits_const(p->b, t, text_decimal(t, n->negative, n->m, n->places));
  if (n->places < -22 || n->places > 22) return fail_e(p, "the exponent is too large: write 0x1.8p-90");
  double power = 1;
  for (int i = n->places; i < 0; i++) power *= 10;
  return kb_float(p->b, t, sign * (double)n->m * power);
}

static KE int_const(Parser *p, DType t, const Number *n) {
  if (n->point || n->inf || n->nan) return fail_e(p, "a fraction needs the dtype of a float: 0.5:f32");
  uint64_t v = n->negative ? 0 - n->m : n->m;
  bool sign_ok = dtype_is_signed(t) ? n->m == 0 || ((int64_t)v < 0) == n->negative
                                    : !n->negative || n->m == 0;
  if (!sign_ok || (uint64_t)wrap_int((int64_t)v, t) != v) return fail_e(p, "the number does not fit its dtype");
  return kb_bits_const(p->b, t, v);
}

static KE literal(Parser *p) {
  Number n;
  DType t = DT_i64;
  if (!number(p, &n) || (accept(p, ":") && !dtype(p, &t))) return KE_NONE;
  if (t == DT_bool) return fail_e(p, "write true or false");
  int bits = 8 * dtype_bytes(t);
  if (n.bits && bits < 64 && n.m >> bits) return fail_e(p, "the number does not fit its dtype");
  if (n.bits) return kb_bits_const(p->b, t, n.m);
  return dtype_is_float(t) ? float_const(p, t, &n) : int_const(p, t, &n);
}

/* ---- expressions ------------------------------------------------------------ */
static KE expr(Parser *p, int prec);

/* expr, ... up to close, which is taken. */
static bool list(Parser *p, const char *close, KE *out, uint32_t most, uint32_t *n) {
  *n = 0;
  if (accept(p, close)) return true;
  do {
    if (*n == most) return fail(p, "too many expressions");
    out[(*n)++] = expr(p, 0);
  } while (accept(p, ","));
  return expect(p, close);
}

static bool op_named(const Word *w, SOp *op) {
  for (int i = 0; i < S_COUNT; i++)
    if (is_word(w, sop_info[i].name)) { *op = (SOp)i; return true; }
  return false;
}

static KE call(Parser *p, const Word *w) {
  KE x[3] = { KE_NONE, KE_NONE, KE_NONE };
  uint32_t n;
  DType t;
  SOp op;
  if (!list(p, ")", x, 3, &n)) return KE_NONE;
  if (find_dtype(w->s, w->n, &t) && n == 1) return kb_cast(p->b, x[0], t);
  if (w->n > 3 && memcmp(w->s, "as_", 3) == 0 && find_dtype(w->s + 3, w->n - 3, &t) && n == 1)
    return kb_bitcast(p->b, x[0], t);
  if (!op_named(w, &op)) return fail_e(p, "no such operation");
  if (n != (uint32_t)sop_info[op].arity) return fail_e(p, "an operation with a wrong number of operands");
  return kb_op(p->b, op, x[0], x[1], x[2]);
}

static bool indices(Parser *p, uint32_t buf, KE index[K_MAX_RANK]) {
  uint32_t n;
  if (!list(p, "]", index, K_MAX_RANK, &n)) return false;
  return n == p->b->k.buf[buf].rank || fail(p, "an access with a wrong number of indices");
}

static KE load(Parser *p, uint32_t buf) {
  KE index[K_MAX_RANK];
  if (!indices(p, buf, index)) return KE_NONE;
  if (!accept(p, "or")) return kb_load(p->b, buf, index);
  KE fallback = expr(p, 4);
  return p->failed ? KE_NONE : kb_load_or(p->b, buf, index, fallback);
}

static KE named(Parser *p) {
  Word w;
  if (accept(p, "true")) return kb_bool(p->b, true);
  if (accept(p, "false")) return kb_bool(p->b, false);
  if (!word(p, &w)) return KE_NONE;
  if (accept(p, "(")) return call(p, &w);
  const Bound *x = lookup(p, &w);
  if (!x) return KE_NONE;
  if (x->kind == B_Value) return x->id;
  uint32_t buf = x->id;
  return expect(p, "[") ? load(p, buf) : KE_NONE;
}

static bool alias_number(Parser *p, uint32_t *n) {
  int v;
  if (p->at == p->end || !text_is_digit(*p->at)) return fail(p, "expected a number after $");
  if (!small_int(p, &v)) return false;
  *n = (uint32_t)v;
  return true;
}

static KE alias(Parser *p) {
  uint32_t n;
  if (!alias_number(p, &n)) return KE_NONE;
  return n < p->n_alias ? p->alias[n] : fail_e(p, "unknown name");
}

static KE primary(Parser *p) {
  char c = peek(p);
  if (p->failed) return KE_NONE;
  if (accept(p, "$")) return alias(p);
  if (accept(p, "(")) {
    KE e = expr(p, 0);
    expect(p, ")");
    return e;
  }
  bool is_number = text_is_digit(c) || c == '-' || is_next(p, "inf") || is_next(p, "nan") || is_next(p, "bits");
  return is_number ? literal(p) : named(p);
}

static const TextInfix *infix(Parser *p, int prec) {
  for (int i = 0; i < TEXT_INFIXES; i++)
    if (text_infix[i].prec >= prec && accept(p, text_infix[i].sign)) return &text_infix[i];
  return NULL;
}

/* Everything that binds at least as strongly as prec; 4: a primary only. */
static KE expr(Parser *p, int prec) {
  if (p->failed) return KE_NONE;
  if (++p->nest > MAX_NEST) return fail_e(p, "the expression is nested too deeply");
  KE e = primary(p);
  const TextInfix *x;
  while (!p->failed && built(p) && (x = infix(p, prec)) != NULL) {
    KE right = expr(p, x->prec + 1);
    if (!p->failed) e = kb_op(p->b, (SOp)x->op, e, right, KE_NONE);
  }
  p->nest--;
  return p->failed || !built(p) ? KE_NONE : e;
}

/* ---- statements ------------------------------------------------------------- */
static bool block(Parser *p);

/* $0 = expr lines; numbers start again wherever $0 is given. */
static bool aliases(Parser *p) {
  while (accept(p, "$")) {
    uint32_t n;
    if (!alias_number(p, &n) || !expect(p, "=")) return false;
    if (n > p->n_alias) return fail(p, "names with $ count up from $0");
    if (!grow(p, (void **)&p->alias, &p->cap_alias, n, sizeof *p->alias)) return false;
    KE e = expr(p, 0);
    if (p->failed) return false;
    p->alias[n] = e;
    p->n_alias = n + 1;
  }
  return !p->failed;
}

/* ( name in extent, ... ) */
static bool loop_list(Parser *p, Word *name, KE *extent, int *n) {
  *n = 0;
  if (!expect(p, "(")) return false;
  if (accept(p, ")")) return true;
  do {
    if (*n == K_MAX_LOOPS) return fail(p, "loops are nested too deeply");
    if (!word(p, &name[*n]) || !expect(p, "in")) return false;
    extent[(*n)++] = expr(p, 0);
  } while (accept(p, ","));
  return expect(p, ")");
}

static void bind_all(Parser *p, const Word *name, const KE *value, int n) {
  for (int i = 0; i < n; i++) bind(p, name[i], B_Value, value[i]);
}

static bool stmt_for_carry(Parser *p, Word var, KE extent) {
  Word name[TEXT_MAX_CARRY];
  KE value[TEXT_MAX_CARRY], carried[TEXT_MAX_CARRY];
  uint32_t n = 0, n_next;
  if (peek(p) != '{') {
    do {
      if (n == TEXT_MAX_CARRY) return fail(p, "too many carried values");
      if (!word(p, &name[n]) || !expect(p, "=")) return false;
      value[n++] = expr(p, 0);
    } while (accept(p, ","));
  }
  if (!expect(p, "{")) return false;
  KE v = kb_for_carry(p->b, extent, (int)n, value, carried);
  if (!built(p)) return false;
  bind_all(p, name, carried, (int)n);
  uint32_t scope = p->n_bound;
  bind(p, var, B_Value, v);
  if (!block(p) || !expect(p, "next")) return false;
  if (!list(p, "}", value, TEXT_MAX_CARRY, &n_next)) return false;
  if (n_next != n) return fail(p, "next needs one value for each carried one");
  kb_end_carry(p->b, value);
  p->n_bound = scope;
  return built(p);
}

static bool stmt_for(Parser *p) {
  Word var;
  if (!word(p, &var) || !expect(p, "in")) return false;
  KE extent = expr(p, 0);
  if (accept(p, "carry")) return stmt_for_carry(p, var, extent);
  KLoopKind kind = accept(p, "parallel") ? K_PARALLEL : K_SERIAL;
  if (!expect(p, "{")) return false;
  uint32_t scope = p->n_bound;
  bind(p, var, B_Value, kb_for(p->b, extent, kind));
  if (!built(p) || !block(p) || !expect(p, "}")) return false;
  kb_end(p->b);
  p->n_bound = scope;
  return built(p);
}

static KE reduction(Parser *p) {
  Word w, name[K_MAX_LOOPS];
  KE extent[K_MAX_LOOPS], var[K_MAX_LOOPS];
  int n;
  SOp op;
  if (!word(p, &w)) return KE_NONE;
  if (!op_named(&w, &op)) return fail_e(p, "no such operation");
  if (!loop_list(p, name, extent, &n) || !expect(p, "from")) return KE_NONE;
  KE init = expr(p, 0);
  if (!expect(p, "{")) return KE_NONE;
  uint32_t scope = p->n_bound;
  kb_reduce_begin(p->b, n, extent, var);
  bind_all(p, name, var, n);
  if (!aliases(p)) return KE_NONE;
  KE value = expr(p, 0);
  if (!expect(p, "}")) return KE_NONE;
  p->n_bound = scope;
  return kb_reduce_end(p->b, op, init, value);
}

static bool stmt_let(Parser *p) {
  Word var;
  if (!word(p, &var) || !expect(p, "=")) return false;
  bool is_reduce = accept(p, "reduce");
  KE e = is_reduce ? reduction(p) : expr(p, 0);
  if (p->failed || !built(p)) return false;
  bind(p, var, B_Value, is_reduce ? e : kb_let(p->b, e));
  return built(p);
}

static bool stmt_contract(Parser *p) {
  Word acc, par_name[K_MAX_LOOPS], red_name[K_MAX_LOOPS];
  KE par_ext[K_MAX_LOOPS], red_ext[K_MAX_LOOPS], par[K_MAX_LOOPS], red[K_MAX_LOOPS];
  DType t;
  int np, nr;
  if (!dtype(p, &t) || !word(p, &acc) || !loop_list(p, par_name, par_ext, &np) || !expect(p, "over") ||
      !loop_list(p, red_name, red_ext, &nr) || !expect(p, "{"))
    return false;
  uint32_t scope = p->n_bound;
  kb_contract_begin(p->b, np, par_ext, par, nr, red_ext, red);
  bind_all(p, par_name, par, np);
  uint32_t outer = p->n_bound;
  bind_all(p, red_name, red, nr);
  if (!aliases(p)) return false;
  KE x = expr(p, 0);
  if (!expect(p, ",")) return false;
  KE y = expr(p, 0);
  if (!expect(p, "}") || !expect(p, "then") || !expect(p, "{")) return false;
  p->n_bound = outer;
  bind(p, acc, B_Value, kb_contract_acc(p->b, t, x, y));
  if (!built(p) || !block(p) || !expect(p, "}")) return false;
  kb_contract_end(p->b);
  p->n_bound = scope;
  return built(p);
}

static bool stmt_check(Parser *p) {
  size_t bytes;
  KE cond = expr(p, 0);
  char *message = expect(p, ",") ? quoted(p, &bytes) : NULL;
  if (!message) return false;
  kb_check(p->b, cond, message);
  p->a.fn(p->a.user, message, bytes, 0);
  return built(p);
}

static bool stmt_if(Parser *p) {
  KE cond = expr(p, 0);
  if (!expect(p, "{")) return false;
  uint32_t scope = p->n_bound;
  kb_if(p->b, cond);
  if (!built(p) || !block(p) || !expect(p, "}")) return false;
  kb_end(p->b);
  p->n_bound = scope;
  return built(p);
}

static bool stmt_store(Parser *p) {
  Word w;
  KE index[K_MAX_RANK];
  if (!word(p, &w)) return false;
  const Bound *x = lookup(p, &w);
  if (!x) return false;
  if (x->kind != B_Buf) return fail(p, "only buffers are stored to");
  uint32_t buf = x->id;
  if (!expect(p, "[") || !indices(p, buf, index) || !expect(p, "=")) return false;
  KE value = expr(p, 0);
  if (p->failed) return false;
  kb_store(p->b, buf, index, value);
  return built(p);
}

static const struct { const char *word; bool (*parse)(Parser *); } statement[] = {
  { "for", stmt_for }, { "let", stmt_let }, { "contract", stmt_contract },
  { "check", stmt_check }, { "if", stmt_if },
};

static bool one_stmt(Parser *p) {
  for (size_t i = 0; i < sizeof statement / sizeof *statement; i++)
    if (accept(p, statement[i].word)) return statement[i].parse(p);
  return stmt_store(p);
}

/* Statements up to "}" or "next", which stay. */
static bool block(Parser *p) {
  if (++p->nest > MAX_NEST) return fail(p, "statements are nested too deeply");
  for (;;) {
    if (!aliases(p)) return false;
    if (peek(p) == '}' || is_next(p, "next")) break;
    if (p->at == p->end) return fail_next(p, "expected }");
    if (!one_stmt(p)) return false;
  }
  p->nest--;
  return true;
}

/* ---- the kernel ------------------------------------------------------------- */
static bool start(Parser *p) {
  char name[TEXT_MAX_NAME + 1];
  Word w;
  if (!expect(p, "kernel") || !expect(p, "@")) return false;
  if (peek(p) == '"') {
    size_t bytes;
    char *text = quoted(p, &bytes);
    if (!text) return false;
    p->b = kb_new(p->a, text);
    p->a.fn(p->a.user, text, bytes, 0);
  } else {
    if (!word(p, &w)) return false;
    copy_word(&w, name);
    p->b = kb_new(p->a, name);
  }
  kb_set_raw(p->b);
  return built(p);
}

static bool symbols(Parser *p) {
  char name[TEXT_MAX_NAME + 1];
  Word w;
  if (!expect(p, "(")) return false;
  if (accept(p, ")")) return true;
  do {
    if (!word(p, &w)) return false;
    copy_word(&w, name);
    bind(p, w, B_Value, kb_sym(p->b, name));
  } while (built(p) && accept(p, ","));
  return expect(p, ")");
}

static bool buffer(Parser *p, KBufRole role) {
  char name[TEXT_MAX_NAME + 1];
  Word w;
  DType t;
  KE dim[K_MAX_RANK];
  uint32_t rank;
  if (!word(p, &w) || !expect(p, ":") || !dtype(p, &t) || !expect(p, "[") ||
      !list(p, "]", dim, K_MAX_RANK, &rank))
    return false;
  copy_word(&w, name);
  bind(p, w, B_Buf, kb_buf(p->b, role, name, t, (int)rank, dim));
  return built(p);
}

/* "in" opens a declaration; the names of buffers cannot be these words. */
static bool buffers(Parser *p) {
  static const char *const role[] = { "in", "out", "inout", "local" };
  Word w;
  while (peek_word(p, &w)) {
    int r = 0;
    while (r < 4 && !is_word(&w, role[r])) r++;
    if (r == 4) return !p->failed;
    accept(p, role[r]);
    if (!buffer(p, (KBufRole)r)) return false;
  }
  return !p->failed;
}

static bool whole(Parser *p) {
  if (!start(p) || !symbols(p) || !expect(p, "{") || !buffers(p) || !block(p) || !expect(p, "}")) return false;
  skip_space(p);
  return p->at == p->end || fail_next(p, "expected the end");
}

Kernel *kernel_parse(const char *text, size_t n, KAlloc a, KTextError *err) {
  Parser p = { .at = text, .end = text + n, .line_start = text, .line = 1, .last_line = 1, .last_col = 1, .err = err, .a = a };
  Kernel *k = NULL;
  if (whole(&p)) {
    k = kb_done(p.b);
    if (k) p.b = NULL;
    else fail(&p, kb_error(p.b));
  }
  kb_drop(p.b);
  if (p.bound) a.fn(a.user, p.bound, p.cap_bound * sizeof *p.bound, 0);
  if (p.alias) a.fn(a.user, p.alias, p.cap_alias * sizeof *p.alias, 0);
  return k;
}
