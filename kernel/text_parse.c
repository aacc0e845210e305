/* text_parse.c -- the grammar of kernel text (docs/kernel-ir.md).
 *
 * Recursive descent straight into the builder, with folding off: the nodes are
 * those the text names.  Any bytes may come: nesting is limited, every list is
 * limited or growing, and the first mistake stops the reading.               */
#include "kernel/text_read.h"

enum { MAX_NEST = 256 };

/* ---- names in scope --------------------------------------------------------- */
static bool grow(Parser *p, void **array, uint32_t *cap, uint32_t used, size_t size) {
  if (used < *cap) return true;
  uint32_t want = *cap ? *cap * 2 : 32;
  void *m = want > 1u << 26 ? NULL : p->a.fn(p->a.user, *array, *cap * size, want * size);
  if (!m) return read_fail(p, "out of memory");
  *array = m;
  *cap = want;
  return true;
}

static void bind(Parser *p, Word w, BoundKind kind, uint32_t id) {
  if (p->failed || !grow(p, (void **)&p->bound, &p->cap_bound, p->n_bound, sizeof *p->bound))
    return;
  p->bound[p->n_bound++] = (Bound){w.s, w.n, kind, id};
}

static const Bound *lookup(Parser *p, const Word *w) {
  for (uint32_t i = p->n_bound; i-- > 0;)
    if (p->bound[i].n == w->n && memcmp(p->bound[i].name, w->s, w->n) == 0) return &p->bound[i];
  read_fail(p, "unknown name");
  return NULL;
}

/* ---- expressions ------------------------------------------------------------ */
static KE expr(Parser *p, int prec);

/* expr, ... up to close, which is taken. */
static bool list(Parser *p, const char *close, KE *out, uint32_t most, uint32_t *n) {
  *n = 0;
  if (read_accept(p, close)) return true;
  do {
    if (*n == most) return read_fail(p, "too many expressions");
    out[(*n)++] = expr(p, 0);
  } while (read_accept(p, ","));
  return read_expect(p, close);
}

static bool op_named(const Word *w, SOp *op) {
  for (int i = 0; i < S_COUNT; i++)
    if (read_is_word(w, sop_info[i].name)) {
      *op = (SOp)i;
      return true;
    }
  return false;
}

static KE call(Parser *p, const Word *w) {
  KE x[3] = {KE_NONE, KE_NONE, KE_NONE};
  uint32_t n;
  DType t;
  SOp op;
  if (!list(p, ")", x, 3, &n)) return KE_NONE;
  if (read_find_dtype(w->s, w->n, &t) && n == 1) return kb_cast(p->b, x[0], t);
  if (w->n > 3 && memcmp(w->s, "as_", 3) == 0 && read_find_dtype(w->s + 3, w->n - 3, &t) && n == 1)
    return kb_bitcast(p->b, x[0], t);
  if (!op_named(w, &op)) return read_fail_e(p, "no such operation");
  if (n != (uint32_t)sop_info[op].arity)
    return read_fail_e(p, "an operation with a wrong number of operands");
  return kb_op(p->b, op, x[0], x[1], x[2]);
}

static bool indices(Parser *p, uint32_t buf, KE index[K_MAX_RANK]) {
  uint32_t n;
  if (!list(p, "]", index, K_MAX_RANK, &n)) return false;
  return n == p->b->k.buf[buf].rank || read_fail(p, "an access with a wrong number of indices");
}

static KE load(Parser *p, uint32_t buf) {
  KE index[K_MAX_RANK];
  if (!indices(p, buf, index)) return KE_NONE;
  if (!read_accept(p, "or")) return kb_load(p->b, buf, index);
  KE fallback = expr(p, 4);
  return p->failed ? KE_NONE : kb_load_or(p->b, buf, index, fallback);
}

static KE named(Parser *p) {
  Word w;
  if (read_accept(p, "true")) return kb_bool(p->b, true);
  if (read_accept(p, "false")) return kb_bool(p->b, false);
  if (!read_word(p, &w)) return KE_NONE;
  if (read_accept(p, "(")) return call(p, &w);
  const Bound *x = lookup(p, &w);
  if (!x) return KE_NONE;
  if (x->kind == B_Value) return x->id;
  uint32_t buf = x->id;
  return read_expect(p, "[") ? load(p, buf) : KE_NONE;
}

static bool alias_number(Parser *p, uint32_t *n) {
  int v;
  if (p->at == p->end || !text_is_digit(*p->at)) return read_fail(p, "expected a number after $");
  if (!read_small_int(p, &v)) return false;
  *n = (uint32_t)v;
  return true;
}

static KE alias(Parser *p) {
  uint32_t n = 0;
  if (!alias_number(p, &n)) return KE_NONE;
  return n < p->n_alias ? p->alias[n] : read_fail_e(p, "unknown name");
}

static KE primary(Parser *p) {
  char c = read_peek(p);
  if (p->failed) return KE_NONE;
  if (read_accept(p, "$")) return alias(p);
  if (read_accept(p, "(")) {
    KE e = expr(p, 0);
    read_expect(p, ")");
    return e;
  }
  bool is_number = text_is_digit(c) || c == '-' || read_is_next(p, "inf") ||
                   read_is_next(p, "nan") || read_is_next(p, "bits");
  return is_number ? read_literal(p) : named(p);
}

static const TextInfix *infix(Parser *p, int prec) {
  for (int i = 0; i < TEXT_INFIXES; i++)
    if (text_infix[i].prec >= prec && read_accept(p, text_infix[i].sign)) return &text_infix[i];
  return NULL;
}

/* Everything that binds at least as strongly as prec; 4: a primary only. */
static KE expr(Parser *p, int prec) {
  if (p->failed) return KE_NONE;
  if (++p->nest > MAX_NEST) return read_fail_e(p, "the expression is nested too deeply");
  KE e = primary(p);
  const TextInfix *x;
  while (!p->failed && read_built(p) && (x = infix(p, prec)) != NULL) {
    KE right = expr(p, x->prec + 1);
    if (!p->failed) e = kb_op(p->b, (SOp)x->op, e, right, KE_NONE);
  }
  p->nest--;
  return p->failed || !read_built(p) ? KE_NONE : e;
}

/* ---- statements ------------------------------------------------------------- */
static bool block(Parser *p);

/* Does a $0 = line begin here, and not an expression that begins with $0? */
static bool alias_next(Parser *p) {
  if (!read_is_next(p, "$")) return false;
  const char *s = p->at + 1;
  while (s < p->end && text_is_digit(*s)) s++;
  while (s < p->end && (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r')) s++;
  return s < p->end && *s == '=' && (s + 1 == p->end || s[1] != '=');
}

/* $0 = expr lines; numbers start again wherever $0 is given. */
static bool aliases(Parser *p) {
  while (alias_next(p) && read_accept(p, "$")) {
    uint32_t n = 0;
    if (!alias_number(p, &n) || !read_expect(p, "=")) return false;
    if (n > p->n_alias) return read_fail(p, "names with $ count up from $0");
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
  if (!read_expect(p, "(")) return false;
  if (read_accept(p, ")")) return true;
  do {
    if (*n == K_MAX_LOOPS) return read_fail(p, "loops are nested too deeply");
    if (!read_word(p, &name[*n]) || !read_expect(p, "in")) return false;
    extent[(*n)++] = expr(p, 0);
  } while (read_accept(p, ","));
  return read_expect(p, ")");
}

static void bind_all(Parser *p, const Word *name, const KE *value, int n) {
  for (int i = 0; i < n; i++) bind(p, name[i], B_Value, value[i]);
}

static bool stmt_for_carry(Parser *p, Word var, KE extent) {
  Word name[TEXT_MAX_CARRY];
  KE value[TEXT_MAX_CARRY], carried[TEXT_MAX_CARRY];
  uint32_t n = 0, n_next;
  if (read_peek(p) != '{') {
    do {
      if (n == TEXT_MAX_CARRY) return read_fail(p, "too many carried values");
      if (!read_word(p, &name[n]) || !read_expect(p, "=")) return false;
      value[n++] = expr(p, 0);
    } while (read_accept(p, ","));
  }
  if (!read_expect(p, "{")) return false;
  KE v = kb_for_carry(p->b, extent, (int)n, value, carried);
  if (!read_built(p)) return false;
  bind_all(p, name, carried, (int)n);
  uint32_t scope = p->n_bound;
  bind(p, var, B_Value, v);
  if (!block(p) || !read_expect(p, "next")) return false;
  if (!list(p, "}", value, TEXT_MAX_CARRY, &n_next)) return false;
  if (n_next != n) return read_fail(p, "next needs one value for each carried one");
  kb_end_carry(p->b, value);
  p->n_bound = scope;
  return read_built(p);
}

static bool stmt_for(Parser *p) {
  Word var;
  if (!read_word(p, &var) || !read_expect(p, "in")) return false;
  KE extent = expr(p, 0);
  if (read_accept(p, "carry")) return stmt_for_carry(p, var, extent);
  KLoopKind kind = read_accept(p, "parallel") ? K_PARALLEL : K_SERIAL;
  if (!read_expect(p, "{")) return false;
  uint32_t scope = p->n_bound;
  bind(p, var, B_Value, kb_for(p->b, extent, kind));
  if (!read_built(p) || !block(p) || !read_expect(p, "}")) return false;
  kb_end(p->b);
  p->n_bound = scope;
  return read_built(p);
}

static KE reduction(Parser *p) {
  Word w, name[K_MAX_LOOPS];
  KE extent[K_MAX_LOOPS], var[K_MAX_LOOPS];
  int n;
  SOp op;
  if (!read_word(p, &w)) return KE_NONE;
  if (!op_named(&w, &op)) return read_fail_e(p, "no such operation");
  if (!loop_list(p, name, extent, &n) || !read_expect(p, "from")) return KE_NONE;
  KE init = expr(p, 0);
  if (!read_expect(p, "{")) return KE_NONE;
  uint32_t scope = p->n_bound;
  kb_reduce_begin(p->b, n, extent, var);
  bind_all(p, name, var, n);
  if (!aliases(p)) return KE_NONE;
  KE value = expr(p, 0);
  if (!read_expect(p, "}")) return KE_NONE;
  p->n_bound = scope;
  return kb_reduce_end(p->b, op, init, value);
}

static bool stmt_let(Parser *p) {
  Word var;
  if (!read_word(p, &var) || !read_expect(p, "=")) return false;
  bool is_reduce = read_accept(p, "reduce");
  KE e = is_reduce ? reduction(p) : expr(p, 0);
  if (p->failed || !read_built(p)) return false;
  bind(p, var, B_Value, is_reduce ? e : kb_let(p->b, e));
  return read_built(p);
}

static bool stmt_contract(Parser *p) {
  Word acc, par_name[K_MAX_LOOPS], red_name[K_MAX_LOOPS];
  KE par_ext[K_MAX_LOOPS], red_ext[K_MAX_LOOPS], par[K_MAX_LOOPS], red[K_MAX_LOOPS];
  DType t;
  int np, nr;
  if (!read_dtype(p, &t) || !read_word(p, &acc) || !loop_list(p, par_name, par_ext, &np) ||
      !read_expect(p, "over") || !loop_list(p, red_name, red_ext, &nr) || !read_expect(p, "{"))
    return false;
  uint32_t scope = p->n_bound;
  kb_contract_begin(p->b, np, par_ext, par, nr, red_ext, red);
  bind_all(p, par_name, par, np);
  uint32_t outer = p->n_bound;
  bind_all(p, red_name, red, nr);
  if (!aliases(p)) return false;
  KE x = expr(p, 0);
  if (!read_expect(p, ",")) return false;
  KE y = expr(p, 0);
  if (!read_expect(p, "}") || !read_expect(p, "then") || !read_expect(p, "{")) return false;
  p->n_bound = outer;
  bind(p, acc, B_Value, kb_contract_acc(p->b, t, x, y));
  if (!read_built(p) || !block(p) || !read_expect(p, "}")) return false;
  kb_contract_end(p->b);
  p->n_bound = scope;
  return read_built(p);
}

static bool stmt_check(Parser *p) {
  size_t bytes;
  KE cond = expr(p, 0);
  char *message = read_expect(p, ",") ? read_quoted(p, &bytes) : NULL;
  if (!message) return false;
  kb_check(p->b, cond, message);
  p->a.fn(p->a.user, message, bytes, 0);
  return read_built(p);
}

static bool stmt_if(Parser *p) {
  KE cond = expr(p, 0);
  if (!read_expect(p, "{")) return false;
  uint32_t scope = p->n_bound;
  kb_if(p->b, cond);
  if (!read_built(p) || !block(p) || !read_expect(p, "}")) return false;
  kb_end(p->b);
  p->n_bound = scope;
  return read_built(p);
}

static bool stmt_store(Parser *p) {
  Word w;
  KE index[K_MAX_RANK];
  if (!read_word(p, &w)) return false;
  const Bound *x = lookup(p, &w);
  if (!x) return false;
  if (x->kind != B_Buf) return read_fail(p, "only buffers are stored to");
  uint32_t buf = x->id;
  if (!read_expect(p, "[") || !indices(p, buf, index) || !read_expect(p, "=")) return false;
  KE value = expr(p, 0);
  if (p->failed) return false;
  kb_store(p->b, buf, index, value);
  return read_built(p);
}

static const struct {
  const char *word;
  bool (*parse)(Parser *);
} statement[] = {
    {"for", stmt_for},     {"let", stmt_let}, {"contract", stmt_contract},
    {"check", stmt_check}, {"if", stmt_if},
};

static bool one_stmt(Parser *p) {
  for (size_t i = 0; i < sizeof statement / sizeof *statement; i++)
    if (read_accept(p, statement[i].word)) return statement[i].parse(p);
  return stmt_store(p);
}

/* Statements up to "}" or "next", which stay. */
static bool block(Parser *p) {
  if (++p->nest > MAX_NEST) return read_fail(p, "statements are nested too deeply");
  for (;;) {
    if (!aliases(p)) return false;
    if (read_peek(p) == '}' || read_is_next(p, "next")) break;
    if (p->at == p->end) return read_fail_next(p, "expected }");
    if (!one_stmt(p)) return false;
  }
  p->nest--;
  return true;
}

/* ---- the kernel ------------------------------------------------------------- */
static bool start(Parser *p) {
  char name[TEXT_MAX_NAME + 1];
  Word w;
  if (!read_expect(p, "kernel") || !read_expect(p, "@")) return false;
  if (read_peek(p) == '"') {
    size_t bytes;
    char *text = read_quoted(p, &bytes);
    if (!text) return false;
    p->b = kb_new(p->a, text);
    p->a.fn(p->a.user, text, bytes, 0);
  } else {
    if (!read_word(p, &w)) return false;
    read_copy_word(&w, name);
    p->b = kb_new(p->a, name);
  }
  kb_set_raw(p->b);
  return read_built(p);
}

static bool symbols(Parser *p) {
  char name[TEXT_MAX_NAME + 1];
  Word w;
  if (!read_expect(p, "(")) return false;
  if (read_accept(p, ")")) return true;
  do {
    if (!read_word(p, &w)) return false;
    read_copy_word(&w, name);
    bind(p, w, B_Value, kb_sym(p->b, name));
  } while (read_built(p) && read_accept(p, ","));
  return read_expect(p, ")");
}

static bool buffer(Parser *p, KBufRole role) {
  char name[TEXT_MAX_NAME + 1];
  Word w;
  DType t;
  KE dim[K_MAX_RANK];
  uint32_t rank;
  if (!read_word(p, &w) || !read_expect(p, ":") || !read_dtype(p, &t) || !read_expect(p, "[") ||
      !list(p, "]", dim, K_MAX_RANK, &rank))
    return false;
  read_copy_word(&w, name);
  bind(p, w, B_Buf, kb_buf(p->b, role, name, t, (int)rank, dim));
  return read_built(p);
}

/* "in" opens a declaration; the names of buffers cannot be these words. */
static bool buffers(Parser *p) {
  static const char *const role[] = {"in", "out", "inout", "local"};
  Word w;
  while (read_peek_word(p, &w)) {
    int r = 0;
    while (r < 4 && !read_is_word(&w, role[r])) r++;
    if (r == 4) return !p->failed;
    read_accept(p, role[r]);
    if (!buffer(p, (KBufRole)r)) return false;
  }
  return !p->failed;
}

static bool whole(Parser *p) {
  if (!start(p) || !symbols(p) || !read_expect(p, "{") || !buffers(p) || !block(p) ||
      !read_expect(p, "}"))
    return false;
  read_space(p);
  return p->at == p->end || read_fail_next(p, "expected the end");
}

Kernel *kernel_parse(const char *text, size_t n, KAlloc a, KTextError *err) {
  Parser p = {.at = text,
              .end = text + n,
              .line_start = text,
              .line = 1,
              .last_line = 1,
              .last_col = 1,
              .err = err,
              .a = a};
  Kernel *k = NULL;
  if (whole(&p)) {
    k = kb_done(p.b);
    if (k)
      p.b = NULL;
    else
      read_fail(&p, kb_error(p.b));
  }
  kb_drop(p.b);
  if (p.bound) a.fn(a.user, p.bound, p.cap_bound * sizeof *p.bound, 0);
  if (p.alias) a.fn(a.user, p.alias, p.cap_alias * sizeof *p.alias, 0);
  return k;
}
