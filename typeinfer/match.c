/* match.c -- is every value matched, and is every clause of use?
 *
 * Pattern matrices after Maranget, "Warnings for pattern matching" (JFP 2007):
 * rows are clauses, columns are the values still to be looked at.  The work is
 * exponential for patterns made to be so; past a budget the answer is "fine",
 * and the check that the generated code makes anyway remains.                 */
#include "typeinfer/infer.h"

enum { BUDGET = 400000, MAX_STEPS_DEEP = 4000 };

typedef Pattern **Row; /* NULL entries are wildcards   */
typedef struct {
  int n_rows, n_cols;
  Row *row;
} Matrix;
typedef struct {
  int budget, depth;
} Search;

static bool is_wild(const Pattern *p) { return !p || p->kind == PAT_Wild || p->kind == PAT_Var; }

/* A head constructor of a column: a Ctor, or the only one of a tuple. */
typedef struct {
  const Ctor *ctor;
  int arity;
} Head;

static Head head_of(const Pattern *p) { return (Head){p->kind == PAT_Ctor ? p->ctor : NULL, p->n}; }

static bool has_head(const Pattern *p, Head h) {
  return !is_wild(p) && (p->kind == PAT_Ctor ? p->ctor == h.ctor : !h.ctor && p->n == h.arity);
}

/* The row after a value with head h has been opened; NULL when p excludes h. */
static Row open_row(Row row, int n_cols, Head h) {
  const Pattern *p = row[0];
  if (!is_wild(p) && !has_head(p, h)) return NULL;
  Row to = NEW_N(Pattern *, h.arity + n_cols);
  for (int i = 0; i < h.arity; i++) to[i] = is_wild(p) || i >= p->n ? NULL : p->at[i];
  for (int i = 1; i < n_cols; i++) to[h.arity + i - 1] = row[i];
  return to;
}

static Matrix open_matrix(Search *s, const Matrix *m, Head h) {
  Matrix to = {0, m->n_cols - 1 + h.arity, NEW_N(Row, m->n_rows + 1)};
  s->budget -= m->n_rows * (to.n_cols + 1);
  for (int i = 0; i < m->n_rows; i++) {
    Row r = open_row(m->row[i], m->n_cols, h);
    if (r) to.row[to.n_rows++] = r;
  }
  return to;
}

/* The rows that do not look at the first column, without it. */
static Matrix skip_column(Search *s, const Matrix *m) {
  Matrix to = {0, m->n_cols - 1, NEW_N(Row, m->n_rows + 1)};
  s->budget -= m->n_rows + 1;
  for (int i = 0; i < m->n_rows; i++)
    if (is_wild(m->row[i][0])) to.row[to.n_rows++] = m->row[i] + 1;
  return to;
}

static const Pattern *first_head(const Matrix *m) {
  for (int i = 0; i < m->n_rows; i++)
    if (!is_wild(m->row[i][0])) return m->row[i][0];
  return NULL;
}

/* A constructor of the type that no row of the first column names. */
static const Ctor *unnamed_ctor(const Matrix *m, const DataDef *def) {
  bool *seen = NEW_N(bool, def->n_ctors + 1);
  for (int i = 0; i < m->n_rows; i++) {
    const Pattern *p = m->row[i][0];
    if (!is_wild(p) && p->kind == PAT_Ctor && p->ctor->def == def) seen[p->ctor->tag] = true;
  }
  for (int i = 0; i < def->n_ctors; i++)
    if (!seen[i]) return def->ctor[i];
  return NULL;
}

static bool spent(Search *s) { return s->budget <= 0 || s->depth > MAX_STEPS_DEEP; }

/* ---- usefulness ------------------------------------------------------------ */

static bool useful(Search *s, const Matrix *m, Row q);

static bool useful_opened(Search *s, const Matrix *m, Row q, Head h) {
  Row opened = open_row(q, m->n_cols, h);
  Matrix sub = open_matrix(s, m, h);
  return opened && useful(s, &sub, opened);
}

static bool useful_wild(Search *s, const Matrix *m, Row q) {
  const Pattern *p = first_head(m);
  if (p && p->kind == PAT_Tuple) return useful_opened(s, m, q, head_of(p));
  if (p && !unnamed_ctor(m, p->ctor->def)) {
    const DataDef *def = p->ctor->def;
    for (int i = 0; i < def->n_ctors; i++)
      if (useful_opened(s, m, q, (Head){def->ctor[i], def->ctor[i]->n})) return true;
    return false;
  }
  Matrix sub = skip_column(s, m);
  return useful(s, &sub, q + 1);
}

/* Is there a value that q matches and no row of m does? */
static bool useful(Search *s, const Matrix *m, Row q) {
  if (m->n_rows == 0 || spent(s)) return true;
  if (m->n_cols == 0) return false;
  s->depth++;
  bool yes = is_wild(q[0]) ? useful_wild(s, m, q) : useful_opened(s, m, q, head_of(q[0]));
  s->depth--;
  return yes;
}

/* ---- a missing value ------------------------------------------------------- */

typedef const char **Witness; /* one text per column; NULL: none missing */

static Witness missing(Search *s, const Matrix *m);

static const char *put_head(Head h, Witness args) {
  StrBuf b = {0};
  if (h.ctor) buf_str(&b, h.ctor->name);
  if (!h.ctor || h.arity) buf_char(&b, '(');
  for (int i = 0; i < h.arity; i++) buf_fmt(&b, "%s%s", i ? ", " : "", args[i]);
  if (!h.ctor && h.arity == 1) buf_char(&b, ',');
  if (!h.ctor || h.arity) buf_char(&b, ')');
  return buf_text(&b);
}

static Witness missing_opened(Search *s, const Matrix *m, Head h) {
  Matrix sub = open_matrix(s, m, h);
  Witness w = missing(s, &sub);
  if (!w) return NULL;
  Witness to = NEW_N(const char *, m->n_cols + 1);
  to[0] = put_head(h, w);
  for (int i = 1; i < m->n_cols; i++) to[i] = w[h.arity + i - 1];
  return to;
}

static const char *any_of(const Ctor *c) {
  Witness wild = NEW_N(const char *, c->n + 1);
  for (int i = 0; i < c->n; i++) wild[i] = "_";
  return put_head((Head){c, c->n}, wild);
}

static Witness missing_skipped(Search *s, const Matrix *m, const char *first) {
  Matrix sub = skip_column(s, m);
  Witness w = missing(s, &sub), to = w ? NEW_N(const char *, m->n_cols + 1) : NULL;
  if (!w) return NULL;
  to[0] = first;
  for (int i = 1; i < m->n_cols; i++) to[i] = w[i - 1];
  return to;
}

static Witness missing_here(Search *s, const Matrix *m) {
  const Pattern *p = first_head(m);
  if (!p) return missing_skipped(s, m, "_");
  if (p->kind == PAT_Tuple) return missing_opened(s, m, head_of(p));
  const Ctor *c = unnamed_ctor(m, p->ctor->def);
  if (c) return missing_skipped(s, m, any_of(c));
  const DataDef *def = p->ctor->def;
  for (int i = 0; i < def->n_ctors; i++) {
    Witness w = missing_opened(s, m, (Head){def->ctor[i], def->ctor[i]->n});
    if (w) return w;
  }
  return NULL;
}

static Witness missing(Search *s, const Matrix *m) {
  if (m->n_rows == 0) {
    Witness w = NEW_N(const char *, m->n_cols + 1);
    for (int i = 0; i < m->n_cols; i++) w[i] = "_";
    return w;
  }
  if (m->n_cols == 0 || spent(s)) return NULL;
  s->depth++;
  Witness w = missing_here(s, m);
  s->depth--;
  return w;
}

/* ---- the two questions ------------------------------------------------------ */

static Matrix clause_matrix(const Expr *e) {
  Matrix m = {0, 1, NEW_N(Row, e->Match.n_clauses + 1)};
  for (int i = 0; i < e->Match.n_clauses; i++) m.row[i] = &e->Match.clauses[i].pat;
  return m;
}

bool match_check(const Expr *e, Diags *d) {
  Matrix m = clause_matrix(e);
  Search s = {BUDGET, 0};
  for (; m.n_rows < e->Match.n_clauses; m.n_rows++) {
    Span at = e->Match.clauses[m.n_rows].pat->span;
    if (!useful(&s, &m, m.row[m.n_rows])) diag_warning(d, at, E0307);
  }
  if (e->Match.partial) return true;
  s = (Search){BUDGET, 0};
  Witness w = missing(&s, &m);
  if (!w) return true;
  diag_error(d, e->span, E0306, w[0]);
  diag_help(d, "add a clause `%s => { ... }`, or write match? to let it fail when it runs", w[0]);
  return false;
}
