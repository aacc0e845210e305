/* text_print.c -- a kernel as text (docs/kernel-ir.md).
 *
 * Expressions share nodes; written out they could be exponentially long and
 * arbitrarily deep.  So before each statement, nodes that it uses more than
 * once or that are too high get a name of their own, $0, $1 ..., in the order
 * in which a walk from the statement leaves them.  Nothing printed depends on
 * how nodes and variables are numbered, so reading back and printing again
 * gives the same bytes.                                                      */
#include "kernel/text_print.h"
#include "kernel/visit.h"

enum { MAX_HEIGHT = 16 };

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
  print_line(p);
  print_text(p, "$");
  print_uint(p, p->n_alias, 10);
  print_text(p, " = ");
  print_expr(p, e, 0);
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

/* A line in which e stands, behind the names that it needs. */
static void line_for(Printer *p, KE e) {
  group_begin(p);
  walk_root(p, e);
  group_names(p);
  print_line(p);
}

/* ---- statements ------------------------------------------------------------- */
static void put_extent(Printer *p, KE e, int prec) {
  p->stamp++; /* sizes stand alone: no names */
  print_expr(p, e, prec);
  p->stamp--;
}

static void put_loops(Printer *p, const uint32_t *pairs, uint32_t n) {
  print_text(p, "(");
  for (uint32_t i = 0; i < n; i++) {
    if (i) print_text(p, ", ");
    print_var(p, pairs[2 * i]);
    print_text(p, " in ");
    put_extent(p, pairs[2 * i + 1], 0);
  }
  print_text(p, ")");
}

static void open_body(Printer *p) {
  print_text(p, " {");
  p->indent++;
}

static void close_body(Printer *p) {
  p->indent--;
  print_line(p);
  print_text(p, "}");
}

static void print_for(Printer *p, const KStmt *s) {
  const uint32_t *r = p->k->pool + (s->b == KE_NONE ? 0 : s->b);
  uint32_t n = s->b == KE_NONE ? 0 : r[0];
  group_begin(p);
  for (uint32_t i = 0; i < n; i++) walk_root(p, r[2 + 3 * i]);
  group_names(p);
  print_line(p);
  print_text(p, "for ");
  print_var(p, s->var);
  print_text(p, " in ");
  put_extent(p, s->a, 0);
  if (s->op == K_PARALLEL) print_text(p, " parallel");
  if (s->b != KE_NONE) print_text(p, " carry ");
  for (uint32_t i = 0; i < n; i++) {
    if (i) print_text(p, ", ");
    print_var(p, r[1 + 3 * i]);
    print_text(p, " = ");
    print_expr(p, r[2 + 3 * i], 0);
  }
  open_body(p);
}

static void print_next(Printer *p, const KStmt *s) {
  if (s->kind != KS_For || s->b == KE_NONE) return;
  const uint32_t *r = p->k->pool + s->b;
  group_begin(p);
  for (uint32_t i = 0; i < r[0]; i++) walk_root(p, r[3 + 3 * i]);
  group_names(p);
  print_line(p);
  print_text(p, "next ");
  for (uint32_t i = 0; i < r[0]; i++) {
    if (i) print_text(p, ", ");
    print_expr(p, r[3 + 3 * i], 0);
  }
}

static void print_let(Printer *p, const KStmt *s) {
  line_for(p, s->a);
  print_text(p, "let ");
  print_var(p, s->var);
  print_text(p, " = ");
  print_expr(p, s->a, 0);
}

static void print_store(Printer *p, const KStmt *s) {
  const KBuf *u = &p->k->buf[s->a];
  group_begin(p);
  for (uint32_t i = 0; i < u->rank; i++) walk_root(p, p->k->pool[s->b + i]);
  walk_root(p, s->c);
  group_names(p);
  print_line(p);
  print_buf(p, s->a);
  print_text(p, "[");
  for (uint32_t i = 0; i < u->rank; i++) {
    if (i) print_text(p, ", ");
    print_expr(p, p->k->pool[s->b + i], 0);
  }
  print_text(p, "] = ");
  print_expr(p, s->c, 0);
}

static void print_reduce(Printer *p, const KStmt *s) {
  const uint32_t *r = p->k->pool + s->b;
  line_for(p, s->a);
  print_text(p, "let ");
  print_var(p, s->var);
  print_text(p, " = reduce ");
  print_text(p, sop_info[s->op].name);
  print_text(p, " ");
  put_loops(p, r + 1, r[0]);
  print_text(p, " from ");
  print_expr(p, s->a, 0);
  open_body(p);
  line_for(p, s->c);
  print_expr(p, s->c, 0);
  close_body(p);
}

static void print_contract(Printer *p, const KStmt *s) {
  const uint32_t *r = p->k->pool + s->b, *red = r + 2 + 2 * (size_t)r[0];
  uint32_t nr = red[-1];
  print_line(p);
  print_text(p, "contract ");
  print_text(p, text_dtype((DType)s->dtype));
  print_text(p, " ");
  print_var(p, s->var);
  print_text(p, " ");
  put_loops(p, r + 1, r[0]);
  print_text(p, " over ");
  put_loops(p, red, nr);
  open_body(p);
  group_begin(p);
  walk_root(p, red[2 * (size_t)nr]);
  walk_root(p, red[2 * (size_t)nr + 1]);
  group_names(p);
  print_line(p);
  print_expr(p, red[2 * (size_t)nr], 0);
  print_text(p, ", ");
  print_expr(p, red[2 * (size_t)nr + 1], 0);
  close_body(p);
  print_text(p, " then");
  open_body(p);
}

static void print_check(Printer *p, const KStmt *s) {
  line_for(p, s->a);
  print_text(p, s->kind == KS_If ? "if " : "check ");
  print_expr(p, s->a, 0);
  if (s->kind == KS_If) {
    open_body(p);
    return;
  }
  print_text(p, ", ");
  print_quoted(p, p->k->text + s->c);
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
  print_text(p, "kernel @");
  if (print_is_word(name))
    print_text(p, name);
  else
    print_quoted(p, name);
  print_text(p, "(");
  for (uint32_t i = 0; i < k->n_syms; i++) {
    if (i) print_text(p, ", ");
    print_sym(p, i);
  }
  print_text(p, ")");
  open_body(p);
  for (uint32_t i = 0; i < k->n_bufs; i++) {
    const KBuf *u = &k->buf[i];
    print_line(p);
    print_text(p, role[u->role]);
    print_buf(p, i);
    print_text(p, ": ");
    print_text(p, text_dtype((DType)u->dtype));
    print_text(p, "[");
    for (int d = 0; d < u->rank; d++) {
      if (d) print_text(p, ", ");
      put_extent(p, u->dim[d], 0);
    }
    print_text(p, "]");
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
    print_make_names(&p);
  }
  if (!p.refused) {
    print_head(&p);
    print_body(&p);
    close_body(&p);
    print_n(&p, "\n", 2); /* the NUL is not counted */
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
