/* text_print.c -- a kernel as text (docs/kernel-ir.md).
 *
 * Expressions share nodes; written out they could be exponentially long and
 * arbitrarily deep.  So before each statement, nodes that it uses more than
 * once or that are too high get a name of their own, $0, $1 ..., in the order
 * in which a walk from the statement leaves them.  Nothing printed depends on
 * how nodes and variables are numbered, so reading back and printing again
 * gives the same bytes.                                                      */
#include "kernel/text_priv.h"
#include "kernel/visit.h"
#include "kernel/interp.h"
#include <math.h>

enum { MAX_HEIGHT = 16 };

typedef struct {
  const Kernel *k;
  KAlloc a;
  char *text;
  size_t n, cap;
  bool refused;
  int indent;
  uint32_t *uses, *seen, *height, *alias; /* per node, of group `stamp`    */
  uint32_t *stack, *edge, *order;         /* the walk; order: leaving order */
  uint32_t stamp, n_order, n_alias;
  uint32_t *var_number; /* per variable                  */
  uint32_t numbered[KV_Acc + 1];
  uint32_t name_at[K_MAX_SYMS + K_MAX_BUFS]; /* in names: symbols, then buffers */
  char *names;
  size_t n_names, cap_names;
} Printer;

/* ---- output ----------------------------------------------------------------- */
static bool room(Printer *p, char **text, size_t *cap, size_t used, size_t more) {
  if (p->refused) return false;
  if (more <= *cap - used) return true;
  size_t want = *cap ? *cap : 1024;
  while (want < used + more) want *= 2;
  char *t = p->a.fn(p->a.user, *text, *cap, want);
  if (!t) {
    p->refused = true;
    return false;
  }
  *text = t;
  *cap = want;
  return true;
}

static void put_n(Printer *p, const char *s, size_t n) {
  if (!room(p, &p->text, &p->cap, p->n, n)) return;
  memcpy(p->text + p->n, s, n);
  p->n += n;
}
static void put(Printer *p, const char *s) { put_n(p, s, strlen(s)); }

static void put_uint(Printer *p, uint64_t v, unsigned base) {
  char digits[24];
  int at = 24;
  do digits[--at] = "0123456789abcdef"[v % base];
  while (v /= base);
  put_n(p, digits + at, (size_t)(24 - at));
}

static void put_int(Printer *p, int64_t v) {
  if (v < 0) put(p, "-");
  put_uint(p, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10);
}

static void line(Printer *p) {
  put(p, "\n");
  for (int i = 0; i < p->indent; i++) put(p, "  ");
}

static void put_quoted(Printer *p, const char *s) {
  put(p, "\"");
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\') {
      put(p, "\\");
      put_n(p, s, 1);
    } else if (c == '\n')
      put(p, "\\n");
    else if (c < 32 || c == 127) {
      put(p, c < 16 ? "\\x0" : "\\x");
      put_uint(p, c, 16);
    } else
      put_n(p, s, 1);
  }
  put(p, "\"");
}

/* ---- names ------------------------------------------------------------------ */
static bool is_word(const char *s) {
  if (!text_is_letter(*s)) return false;
  while (text_is_letter(*s) || text_is_digit(*s)) s++;
  return !*s;
}

static bool name_taken(const Printer *p, uint32_t before, const char *s) {
  if (text_is_keyword(s, strlen(s)) || text_is_var_name(s, strlen(s))) return true;
  for (uint32_t i = 0; i < before; i++)
    if (strcmp(p->names + p->name_at[i], s) == 0) return true;
  return false;
}

/* Name number i is s made into a word that is free. */
static void make_name(Printer *p, uint32_t i, const char *s) {
  size_t n = strlen(s);
  if (n > TEXT_MAX_NAME - 16) n = TEXT_MAX_NAME - 16;
  if (!room(p, &p->names, &p->cap_names, p->n_names, TEXT_MAX_NAME)) return;
  char *at = p->names + p->n_names, *to = at;
  p->name_at[i] = (uint32_t)p->n_names;
  if (n == 0 || text_is_digit(*s)) *to++ = '_';
  for (size_t c = 0; c < n; c++) *to++ = text_is_letter(s[c]) || text_is_digit(s[c]) ? s[c] : '_';
  *to = 0;
  while (name_taken(p, i, at) && to - at < TEXT_MAX_NAME - 1) {
    *to++ = '_';
    *to = 0;
  }
  p->n_names += (size_t)(to - at) + 1;
}

static void make_names(Printer *p) {
  const Kernel *k = p->k;
  for (uint32_t i = 0; i < k->n_syms; i++) make_name(p, i, k->text + k->sym_name[i]);
  for (uint32_t i = 0; i < k->n_bufs; i++) make_name(p, k->n_syms + i, k->text + k->buf[i].name);
}

static void put_sym(Printer *p, uint32_t i) {
  if (!p->refused) put(p, p->names + p->name_at[i]);
}
static void put_buf(Printer *p, uint32_t i) { put_sym(p, p->k->n_syms + i); }

static void put_var(Printer *p, uint32_t v) {
  static const char *const stem[] = {"i", "t", "c", "r", "acc"};
  uint8_t kind = p->k->var[v].kind;
  if (p->var_number[v] == KE_NONE) p->var_number[v] = p->numbered[kind]++;
  put(p, stem[kind]);
  put_uint(p, p->var_number[v], 10);
}

/* ---- constants -------------------------------------------------------------- */
static void put_decimal(Printer *p, uint64_t m, int k) {
  char digits[24];
  int n = 0;
  if (k == 0 || k > 6) {
    put_uint(p, m, 10);
    if (k) {
      put(p, "e-");
      put_uint(p, (uint64_t)k, 10);
    }
    return;
  }
  for (; m || n <= k; m /= 10) digits[n++] = (char)('0' + m % 10);
  while (n > 0) {
    put_n(p, &digits[--n], 1);
    if (n == k) put(p, ".");
  }
}

static void put_hex_float(Printer *p, double d) {
  int e;
  uint64_t fraction = (uint64_t)(frexp(d, &e) * 0x1p53) & (((uint64_t)1 << 52) - 1);
  int digits = 13;
  put(p, "0x1");
  for (; fraction && (fraction & 15) == 0; fraction >>= 4) digits--;
  if (fraction) {
    put(p, ".");
    for (int i = digits - 1; i > 0 && fraction >> 4 * i == 0; i--) put(p, "0");
    put_uint(p, fraction, 16);
  }
  put(p, "p");
  put_int(p, e - 1);
}

static void put_float(Printer *p, DType t, uint64_t bits) {
  uint64_t wide = scalar_cast(bits, t, DT_f64);
  double d;
  memcpy(&d, &wide, 8);
  if (isnan(d)) {
    if (bits == text_nan(t)) {
      put(p, "nan");
      return;
    }
    put(p, "bits(0x");
    put_uint(p, bits, 16);
    put(p, ")");
    return;
  }
  bool negative = signbit(d) != 0;
  if (negative) put(p, "-");
  d = fabs(d);
  if (isinf(d)) {
    put(p, "inf");
    return;
  }
  double power = 1;
  for (int k = 0; k <= 22; k++, power *= 10) {
    double m = nearbyint(d * power);
    if (m > 1e15) break;
    if (text_decimal(t, negative, (uint64_t)m, k) != bits) continue;
    put_decimal(p, (uint64_t)m, k);
    return;
  }
  put_hex_float(p, d);
}

static void put_const(Printer *p, const KNode *n) {
  DType t = (DType)n->dtype;
  if (t == DT_bool) {
    put(p, n->bits ? "true" : "false");
    return;
  }
  if (dtype_is_float(t))
    put_float(p, t, n->bits);
  else if (dtype_is_signed(t))
    put_int(p, (int64_t)n->bits);
  else
    put_uint(p, n->bits, 10);
  if (t == DT_i64) return;
  put(p, ":");
  put(p, text_dtype(t));
}

/* ---- expressions ------------------------------------------------------------ */
static void put_expr(Printer *p, KE e, int prec);

static void put_list(Printer *p, KE e, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    if (i) put(p, ", ");
    put_expr(p, kernel_operand(p->k, e, i), 0);
  }
}

static void put_call(Printer *p, const char *name, const char *more, KE e, uint32_t n) {
  put(p, name);
  put(p, more);
  put(p, "(");
  put_list(p, e, n);
  put(p, ")");
}

static const TextInfix *infix_of(uint8_t op) {
  for (int i = 0; i < TEXT_INFIXES; i++)
    if (text_infix[i].op == op) return &text_infix[i];
  return NULL;
}

/* All infix operators group to the left; comparisons do not group. */
static void put_op(Printer *p, KE e, int prec) {
  const KNode *n = &p->k->node[e];
  const TextInfix *x = infix_of(n->op);
  if (!x) {
    put_call(p, sop_info[n->op].name, "", e, (uint32_t)sop_info[n->op].arity);
    return;
  }
  if (x->prec < prec) put(p, "(");
  put_expr(p, n->a, x->prec == 1 ? 2 : x->prec);
  put(p, " ");
  put(p, x->sign);
  put(p, " ");
  put_expr(p, n->b, x->prec + 1);
  if (x->prec < prec) put(p, ")");
}

static void put_load(Printer *p, KE e, int prec) {
  const KNode *n = &p->k->node[e];
  bool fallback = n->kind == KN_LoadOr, parens = fallback && prec > 0;
  if (parens) put(p, "(");
  put_buf(p, n->a);
  put(p, "[");
  put_list(p, e, n->rank);
  put(p, "]");
  if (fallback) {
    put(p, " or ");
    put_expr(p, n->c, 4);
  }
  if (parens) put(p, ")");
}

/* prec: what binds less gets parentheses. */
static void put_expr(Printer *p, KE e, int prec) {
  const KNode *n = &p->k->node[e];
  if (p->alias[e] != KE_NONE && p->seen[e] == p->stamp) {
    put(p, "$");
    put_uint(p, p->alias[e], 10);
    return;
  }
  switch ((KNodeKind)n->kind) {
  case KN_Const: put_const(p, n); break;
  case KN_Sym: put_sym(p, n->a); break;
  case KN_Var: put_var(p, n->a); break;
  case KN_Op: put_op(p, e, prec); break;
  case KN_Cast: put_call(p, text_dtype((DType)n->dtype), "", e, 1); break;
  case KN_Bits: put_call(p, "as_", text_dtype((DType)n->dtype), e, 1); break;
  case KN_Load:
  case KN_LoadOr: put_load(p, e, prec); break;
  }
}

/* ---- shared nodes ----------------------------------------------------------- */
static void reach(Printer *p, KE e, uint32_t *depth) {
  if (p->seen[e] == p->stamp) {
    p->uses[e]++;
    return;
  }
  p->seen[e] = p->stamp;
  p->uses[e] = 1;
  p->alias[e] = KE_NONE;
  p->stack[*depth] = e;
  p->edge[(*depth)++] = 0;
}

/* Count uses below a root; every node enters the order as the walk leaves it. */
static void walk_root(Printer *p, KE root) {
  uint32_t depth = 0;
  reach(p, root, &depth);
  while (depth > 0) {
    KE e = p->stack[depth - 1], x = kernel_operand(p->k, e, p->edge[depth - 1]++);
    if (x != KE_NONE) {
      reach(p, x, &depth);
      continue;
    }
    p->order[p->n_order++] = e;
    depth--;
  }
}

static bool is_leaf(const Printer *p, KE e) { return p->k->node[e].kind < KN_Op; }

static bool is_small(const Printer *p, KE e) {
  for (uint32_t i = 0; kernel_operand(p->k, e, i) != KE_NONE; i++)
    if (!is_leaf(p, kernel_operand(p->k, e, i))) return false;
  return true;
}

static void name_node(Printer *p, KE e) {
  line(p);
  put(p, "$");
  put_uint(p, p->n_alias, 10);
  put(p, " = ");
  put_expr(p, e, 0);
  p->alias[e] = p->n_alias++;
}

static void group_begin(Printer *p) {
  p->stamp++;
  p->n_order = p->n_alias = 0;
}

/* After the roots: write the names that they need. */
static void group_names(Printer *p) {
  for (uint32_t i = 0; i < p->n_order; i++) {
    KE e = p->order[i];
    uint32_t h = 0;
    if (is_leaf(p, e)) {
      p->height[e] = 0;
      continue;
    }
    for (uint32_t j = 0; kernel_operand(p->k, e, j) != KE_NONE; j++) {
      KE x = kernel_operand(p->k, e, j);
      if (p->alias[x] == KE_NONE && p->height[x] > h) h = p->height[x];
    }
    p->height[e] = h + 1;
    if ((p->uses[e] > 1 && !is_small(p, e)) || h + 1 >= MAX_HEIGHT) name_node(p, e);
  }
}

/* ---- statements ------------------------------------------------------------- */
static void put_extent(Printer *p, KE e, int prec) {
  p->stamp++; /* sizes stand alone: no names */
  put_expr(p, e, prec);
  p->stamp--;
}

static void put_loops(Printer *p, const uint32_t *pairs, uint32_t n) {
  put(p, "(");
  for (uint32_t i = 0; i < n; i++) {
    if (i) put(p, ", ");
    put_var(p, pairs[2 * i]);
    put(p, " in ");
    put_extent(p, pairs[2 * i + 1], 0);
  }
  put(p, ")");
}

static void open_body(Printer *p) {
  put(p, " {");
  p->indent++;
}

static void close_body(Printer *p) {
  p->indent--;
  line(p);
  put(p, "}");
}

static void print_for(Printer *p, const KStmt *s) {
  const uint32_t *r = p->k->pool + (s->b == KE_NONE ? 0 : s->b);
  uint32_t n = s->b == KE_NONE ? 0 : r[0];
  group_begin(p);
  for (uint32_t i = 0; i < n; i++) walk_root(p, r[2 + 3 * i]);
  group_names(p);
  line(p);
  put(p, "for ");
  put_var(p, s->var);
  put(p, " in ");
  put_extent(p, s->a, 0);
  if (s->op == K_PARALLEL) put(p, " parallel");
  if (s->b != KE_NONE) put(p, " carry ");
  for (uint32_t i = 0; i < n; i++) {
    if (i) put(p, ", ");
    put_var(p, r[1 + 3 * i]);
    put(p, " = ");
    put_expr(p, r[2 + 3 * i], 0);
  }
  open_body(p);
}

static void print_next(Printer *p, const KStmt *s) {
  if (s->kind != KS_For || s->b == KE_NONE) return;
  const uint32_t *r = p->k->pool + s->b;
  group_begin(p);
  for (uint32_t i = 0; i < r[0]; i++) walk_root(p, r[3 + 3 * i]);
  group_names(p);
  line(p);
  put(p, "next ");
  for (uint32_t i = 0; i < r[0]; i++) {
    if (i) put(p, ", ");
    put_expr(p, r[3 + 3 * i], 0);
  }
}

static void print_let(Printer *p, const KStmt *s) {
  group_begin(p);
  walk_root(p, s->a);
  group_names(p);
  line(p);
  put(p, "let ");
  put_var(p, s->var);
  put(p, " = ");
  put_expr(p, s->a, 0);
}

static void print_store(Printer *p, const KStmt *s) {
  const KBuf *u = &p->k->buf[s->a];
  group_begin(p);
  for (uint32_t i = 0; i < u->rank; i++) walk_root(p, p->k->pool[s->b + i]);
  walk_root(p, s->c);
  group_names(p);
  line(p);
  put_buf(p, s->a);
  put(p, "[");
  for (uint32_t i = 0; i < u->rank; i++) {
    if (i) put(p, ", ");
    put_expr(p, p->k->pool[s->b + i], 0);
  }
  put(p, "] = ");
  put_expr(p, s->c, 0);
}

static void print_reduce(Printer *p, const KStmt *s) {
  const uint32_t *r = p->k->pool + s->b;
  group_begin(p);
  walk_root(p, s->a);
  group_names(p);
  line(p);
  put(p, "let ");
  put_var(p, s->var);
  put(p, " = reduce ");
  put(p, sop_info[s->op].name);
  put(p, " ");
  put_loops(p, r + 1, r[0]);
  put(p, " from ");
  put_expr(p, s->a, 0);
  open_body(p);
  group_begin(p);
  walk_root(p, s->c);
  group_names(p);
  line(p);
  put_expr(p, s->c, 0);
  close_body(p);
}

static void print_contract(Printer *p, const KStmt *s) {
  const uint32_t *r = p->k->pool + s->b, *red = r + 2 + 2 * (size_t)r[0];
  uint32_t nr = red[-1];
  line(p);
  put(p, "contract ");
  put(p, text_dtype((DType)s->dtype));
  put(p, " ");
  put_var(p, s->var);
  put(p, " ");
  put_loops(p, r + 1, r[0]);
  put(p, " over ");
  put_loops(p, red, nr);
  open_body(p);
  group_begin(p);
  walk_root(p, red[2 * (size_t)nr]);
  walk_root(p, red[2 * (size_t)nr + 1]);
  group_names(p);
  line(p);
  put_expr(p, red[2 * (size_t)nr], 0);
  put(p, ", ");
  put_expr(p, red[2 * (size_t)nr + 1], 0);
  close_body(p);
  put(p, " then");
  open_body(p);
}

static void print_check(Printer *p, const KStmt *s) {
  group_begin(p);
  walk_root(p, s->a);
  group_names(p);
  line(p);
  put(p, s->kind == KS_If ? "if " : "check ");
  put_expr(p, s->a, 0);
  if (s->kind == KS_If) {
    open_body(p);
    return;
  }
  put(p, ", ");
  put_quoted(p, p->k->text + s->c);
}

static void print_stmt(Printer *p, const KStmt *s) {
  switch ((KStmtKind)s->kind) {
  case KS_For: print_for(p, s); break;
  case KS_Let: print_let(p, s); break;
  case KS_Store: print_store(p, s); break;
  case KS_Reduce: print_reduce(p, s); break;
  case KS_Contract: print_contract(p, s); break;
  case KS_Check:
  case KS_If: print_check(p, s); break;
  }
}

static bool has_body(const KStmt *s) {
  return s->kind == KS_For || s->kind == KS_Contract || s->kind == KS_If;
}

static void print_body(Printer *p) {
  const Kernel *k = p->k;
  uint32_t open[K_MAX_LOOPS];
  int depth = 0;
  for (uint32_t s = 0; s <= k->n_stmts; s++) {
    while (depth > 0 && k->stmt[open[depth - 1]].end == s) {
      print_next(p, &k->stmt[open[--depth]]);
      close_body(p);
    }
    if (s == k->n_stmts) break;
    print_stmt(p, &k->stmt[s]);
    if (has_body(&k->stmt[s])) open[depth++] = s;
  }
}

static void print_head(Printer *p) {
  static const char *const role[] = {"in ", "out ", "inout ", "local "};
  const Kernel *k = p->k;
  const char *name = k->text + k->name;
  put(p, "kernel @");
  if (is_word(name))
    put(p, name);
  else
    put_quoted(p, name);
  put(p, "(");
  for (uint32_t i = 0; i < k->n_syms; i++) {
    if (i) put(p, ", ");
    put_sym(p, i);
  }
  put(p, ")");
  open_body(p);
  for (uint32_t i = 0; i < k->n_bufs; i++) {
    const KBuf *u = &k->buf[i];
    line(p);
    put(p, role[u->role]);
    put_buf(p, i);
    put(p, ": ");
    put(p, text_dtype((DType)u->dtype));
    put(p, "[");
    for (int d = 0; d < u->rank; d++) {
      if (d) put(p, ", ");
      put_extent(p, u->dim[d], 0);
    }
    put(p, "]");
  }
}

/* ---- all of it -------------------------------------------------------------- */
static uint32_t *words(Printer *p, size_t n, int fill) {
  if (p->refused) return NULL;
  uint32_t *w = p->a.fn(p->a.user, NULL, 0, n * 4 + 4);
  if (w)
    memset(w, fill, n * 4 + 4);
  else
    p->refused = true;
  return w;
}

static void give_back(Printer *p, void *m, size_t bytes) {
  if (m) p->a.fn(p->a.user, m, bytes, 0);
}

char *kernel_print(const Kernel *k, KAlloc a, size_t *n) {
  Printer p = {.k = k, .a = a};
  size_t nn = k->n_nodes;
  uint32_t *block = words(&p, 7 * nn, 0);
  p.var_number = words(&p, k->n_vars, 0xff);
  if (!p.refused) {
    p.uses = block;
    p.seen = block + nn;
    p.height = block + 2 * nn;
    p.alias = block + 3 * nn;
    p.stack = block + 4 * nn;
    p.edge = block + 5 * nn;
    p.order = block + 6 * nn;
    make_names(&p);
  }
  if (!p.refused) {
    print_head(&p);
    print_body(&p);
    close_body(&p);
    put_n(&p, "\n", 2); /* the NUL is not counted */
  }
  give_back(&p, block, 28 * nn + 4);
  give_back(&p, p.var_number, 4 * (size_t)k->n_vars + 4);
  give_back(&p, p.names, p.cap_names);
  if (p.refused) {
    give_back(&p, p.text, p.cap);
    return NULL;
  }
  *n = p.n - 1;
  char *fit = a.fn(a.user, p.text, p.cap, p.n); /* so that its size is known: n + 1 */
  return fit ? fit : p.text;
}
