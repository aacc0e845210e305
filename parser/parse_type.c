/* parse_type.c -- types and the dims inside them.
 *
 *   type  ::= Tensor[shape, dtype] | dtype | scalar | (types) | fn[A, n](types) -> type
 *           | ref(type) | Name[types] | A | _
 *   shape ::= ( [dim {, dim} [,]] )        dim: sums of products of n, 3, ?, max(), (...)
 *
 * A name in a shape is a dim variable.  The first parameter type that mentions
 * it binds it: Parser.owner is that function (or fn type), 0 where nothing may
 * be bound.                                                                   */
#include "parser/parse.h"

/* n * n * n ... is a nested product: a bound on what later stages recurse. */
enum { MAX_PRODUCTS = 200 };

static Dim parse_dim(Parser *p);

/* ---- dims ---------------------------------------------------------------- */

static const char *role(TyNameKind k) { return k == TN_Type ? "a type" : "a dimension"; }

static void wrong_role(Parser *p, Span at, const TyName *t, const char *as) {
  if (!may_report(p)) return;
  diag_error(p->d, at, E0203, str_fmt("%s, which is %s,", t->name, role(t->kind)), as);
  diag_note(p->d, t->span, "%s is bound here", t->name);
}

static void unbound_dim(Parser *p, Span at, Sym name) {
  if (!may_report(p)) return;
  diag_error(p->d, at, E0314, name, p->owner_name ? p->owner_name : "a function");
  if (p->owner_name && strncmp(p->owner_name, "type ", 5) == 0)
    diag_help(p->d, "write ?: a type of data has no parameters that could give %s", name);
  else
    diag_help(p->d, "name %s in a parameter's shape, list it in brackets, or write ?", name);
}

static Dim named_dim(Parser *p, const Token *t) {
  Sym name = tok_sym(p, t);
  TyName *n = find_tyname(p, name);
  if (!n && p->owner) {
    n = push_tyname(p, name, t->span, TN_Open);
    n->owner = p->owner;
    n->level = p->owner_level;
  }
  if (!n) return unbound_dim(p, t->span, name), dim_any(p->cx->dims);
  if (n->kind == TN_Open) {
    n->kind = TN_Dim;
    n->dim = dim_new_sym(p->cx->dims, name, n->level);
  }
  if (n->kind != TN_Dim) return wrong_role(p, t->span, n, "a dimension"), dim_any(p->cx->dims);
  return n->dim;
}

/* max(a, b), min(a, b) */
typedef Dim (*DimFn)(DimTab *, Dim, Dim);
static DimFn dim_function(const char *s, uint32_t n) {
  static const struct {
    const char *name;
    DimFn fn;
  } known[] = {{"max", dim_max}, {"min", dim_min}, {"bcast", dim_bcast}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strlen(known[i].name) == n && memcmp(known[i].name, s, n) == 0) return known[i].fn;
  return NULL;
}

static Dim dim_call(Parser *p, DimFn fn) {
  Span open = p->tok.span;
  advance(p);
  Dim a = parse_dim(p);
  if (!a || !expect(p, T_COMMA, open)) return NULL;
  Dim b = parse_dim(p);
  if (!b || !expect(p, T_RPAREN, open)) return NULL;
  return fn(p->cx->dims, a, b);
}

static Dim dim_number(Parser *p) {
  Token t = p->tok;
  advance(p);
  if (t.suffixed && !dtype_is_int(t.dtype))
    return fail(p, t.span, E0103, "an extent", tok_found(&t)), NULL;
  if (t.mag > INT64_MAX)
    return fail(p, t.span, E0104, str_fmt("%.*s", (int)t.n, t.s), "an extent fits 63 bits"), NULL;
  return dim_const(p->cx->dims, (int64_t)t.mag);
}

static Dim dim_meta(Parser *p) {
  Sym key;
  int64_t index;
  Span at;
  if (!parse_meta_ref(p, &key, &index, &at)) return NULL;
  MetaEntry e = meta_get(p->cx, p->f ? p->f->meta : NULL, key, index, at);
  if (e.kind == META_Missing) complain(p, at, E0109, key, (int)index);
  if (e.kind == META_Value && e.val.kind == AV_Int && e.val.i >= 0)
    return dim_const(p->cx->dims, e.val.i);
  return dim_any(p->cx->dims);
}

static Dim dim_word(Parser *p) {
  uint32_t n = first_part(&p->tok);
  if (n < p->tok.n) split_name(p);
  if (!at_tok(p, T_IDENT)) return fail_expected(p, "an extent"), NULL;
  Token t = p->tok;
  bool calls = peek(p).kind == T_LPAREN;
  DimFn fn = calls ? dim_function(t.s, n) : NULL;
  if (fn) {
    advance(p);
    return dim_call(p, fn);
  }
  if (n == 4 && memcmp(t.s, "meta", 4) == 0 && peek(p).kind == T_LBRACK) return dim_meta(p);
  advance(p);
  return named_dim(p, &t);
}

static Dim dim_primary(Parser *p) {
  Span open = p->tok.span;
  Dim d = NULL;
  switch ((int)p->tok.kind) {
  case T_INT: return dim_number(p);
  case T_IDENT: return dim_word(p);
  case T_QUESTION: advance(p); return dim_any(p->cx->dims);
  case T_LPAREN:
    advance(p);
    d = parse_dim(p);
    return expect(p, T_RPAREN, open) ? d : NULL;
  default: fail_expected(p, "an extent: a number, a name or ?"); return NULL;
  }
}

static bool is_zero(Dim d) {
  int64_t v;
  return dim_is_const(d, &v) && v == 0;
}

/* %m and %4 where an operator stands: a percent sign and an operand. */
static bool at_percent(Parser *p) {
  if (at_tok(p, T_LOCAL) || at_tok(p, T_GRAPH)) {
    p->lx.pos = p->tok.span.at + 1;
    p->tok.kind = T_PERCENT;
    p->tok.span.len = 1;
  }
  return at_tok(p, T_PERCENT);
}

static Dim dim_product(Parser *p) {
  Dim a = dim_primary(p);
  while (a && (at_tok(p, T_STAR) || at_tok(p, T_SLASH) || at_percent(p))) {
    Token op = p->tok;
    advance(p);
    Dim b = dim_primary(p);
    if (!b) return NULL;
    if (++p->dim_products > MAX_PRODUCTS)
      return fail(p, op.span, E0106, "a shape", MAX_PRODUCTS), NULL;
    if (op.kind == T_STAR)
      a = dim_mul(p->cx->dims, a, b);
    else if (is_zero(b))
      return fail(p, op.span, E0311, "a shape", "division by zero"), NULL;
    else
      a = op.kind == T_SLASH ? dim_div(p->cx->dims, a, b) : dim_mod(p->cx->dims, a, b);
  }
  return a;
}

static Dim dim_sum(Parser *p) {
  bool minus = accept(p, T_MINUS);
  Dim a = dim_product(p);
  if (a && minus) a = dim_sub(p->cx->dims, dim_const(p->cx->dims, 0), a);
  while (a && (at_tok(p, T_PLUS) || at_tok(p, T_MINUS))) {
    bool add = at_tok(p, T_PLUS);
    advance(p);
    Dim b = dim_product(p);
    if (!b) return NULL;
    a = add ? dim_add(p->cx->dims, a, b) : dim_sub(p->cx->dims, a, b);
  }
  return a;
}

static Dim parse_dim(Parser *p) {
  if (!deeper(p, p->tok.span)) return NULL;
  Dim d = dim_sum(p);
  p->depth--;
  return d;
}

static Dim parse_extent(Parser *p) {
  Span at = p->tok.span;
  p->dim_products = 0;
  Dim d = parse_dim(p);
  int64_t v;
  if (d && dim_is_const(d, &v) && v < 0)
    complain(p, span_to(at, p->prev.span), E0104, str_fmt("%lld", (long long)v),
             "an extent is not negative");
  return d ? d : dim_any(p->cx->dims);
}

/* ---- types --------------------------------------------------------------------- */

static bool word_is(const Token *t, const char *s) {
  return t->kind == T_IDENT && strlen(s) == t->n && memcmp(t->s, s, t->n) == 0;
}

/* Behind a word that is none everything goes on. */
static bool element_type(Parser *p, DType *dt) {
  static const char what[] = "an element type such as float32";
  if (p->panic) return false;
  if (!at_tok(p, T_IDENT)) return fail_expected(p, what);
  bool known = dtype_parse(p->tok.s, p->tok.n, dt);
  if (!known) {
    complain(p, p->tok.span, E0103, what, tok_found(&p->tok));
    help_dtype(p, tok_sym(p, &p->tok));
  }
  advance(p);
  return known;
}

static Type *tensor_type(Parser *p) {
  Dim dim[MAX_RANK];
  int rank = 0;
  DType dt = DT_f32;
  Span open = p->tok.span;
  advance(p);
  Span shape = p->tok.span;
  if (!at_tok(p, T_LPAREN)) {
    if (begin_fail(p)) {
      diag_error(p->d, shape, E0103, "a shape in parentheses", tok_found(&p->tok));
      diag_help(p->d, "a vector of 4 is Tensor[(4), float32], a scalar Tensor[(), float32]");
    }
    return type_error();
  }
  advance(p);
  while (!at_tok(p, T_RPAREN) && !p->panic) {
    Dim d = parse_extent(p);
    if (rank == MAX_RANK)
      return fail(p, shape, E0311, "a tensor type", "more than 8 dimensions"), type_error();
    dim[rank++] = d;
    if (!accept(p, T_COMMA)) break;
  }
  expect(p, T_RPAREN, shape);
  expect(p, T_COMMA, open);
  bool known = element_type(p, &dt);
  expect(p, T_RBRACK, open);
  return p->panic || !known ? type_error() : type_tensor(dt, rank, dim);
}

typedef VEC(Type *) Types;

/* type {, type} [,] close.  Tells whether a comma stood behind the last. */
static bool type_list(Parser *p, Tok close, Span open, Types *out) {
  bool comma = false;
  while (!at_tok(p, close) && !p->panic) {
    Type *t = parse_type(p);
    vec_push(out, t);
    if (!(comma = accept(p, T_COMMA))) break;
  }
  expect(p, close, open);
  return comma;
}

static Type *tuple_type(Parser *p) {
  Types at = {0};
  Span open = p->tok.span;
  advance(p);
  bool comma = type_list(p, T_RPAREN, open, &at);
  if (p->panic) return type_error();
  return at.n == 1 && !comma ? at.at[0] : type_tuple(at.n, at.at);
}

/* Leave the scope of a fn type: its own names go, dims that its types bound
 * for the function around it stay. */
static void leave_fn_type(Parser *p, Mark m, int owner) {
  VEC(TyName) keep = {0};
  for (int i = m.tynames; i < p->tynames.n; i++)
    if (p->tynames.at[i].owner != owner) vec_push(&keep, p->tynames.at[i]);
  drop_names(p, m);
  for (int i = 0; i < keep.n; i++) {
    TyName k = keep.at[i], *t = push_tyname(p, k.name, k.span, k.kind);
    k.shadow = t->shadow;
    *t = k;
  }
}

/* fn[A, n](T, ...) -> R.  Unknown dims belong to the function whose parameter
 * this is, or else to the fn type itself. */
static Type *fn_type(Parser *p) {
  Types at = {0};
  advance(p);
  int owner = ++p->next_owner, outer = p->owner;
  Mark m = mark_names(p);
  p->fn_level++;
  if (at_tok(p, T_LBRACK)) parse_tylist(p, owner);
  int outer_level = p->owner_level;
  if (!outer) p->owner = owner, p->owner_level = p->fn_level;
  Span open = p->tok.span;
  if (expect(p, T_LPAREN, (Span){0})) type_list(p, T_RPAREN, open, &at);
  p->owner = outer;
  p->owner_level = outer_level;
  expect(p, T_ARROW, (Span){0});
  Type *ret = parse_type(p);
  int n_vars, n_dims;
  TyVar **var;
  Dim *dim;
  take_quantifiers(p, m, owner, &n_vars, &var, &n_dims, &dim);
  leave_fn_type(p, m, owner);
  p->fn_level--;
  return p->panic ? type_error() : type_fn(n_vars, var, n_dims, dim, at.n, at.at, ret);
}

static Type *ref_type(Parser *p) {
  advance(p);
  Span open = p->tok.span;
  if (!expect(p, T_LPAREN, (Span){0})) return type_error();
  Type *t = parse_type(p);
  expect(p, T_RPAREN, open);
  return type_ref(t);
}

static Type *type_variable(Parser *p, TyName *t, Span at) {
  if (t->kind == TN_Open) {
    t->kind = TN_Type;
    t->var = NEW(TyVar);
    *t->var = (TyVar){t->name, t->span};
  }
  if (t->kind == TN_Type) return type_var(t->var);
  wrong_role(p, at, t, "a type");
  return type_error();
}

/* Its arguments may be anything: Tensr[(3, 4), float32]. */
static Type *unknown_type(Parser *p, Sym name, Span at) {
  if (complain(p, at, E0201, str_fmt("type %s", name)), may_report(p)) help_type(p, name);
  int depth = 0;
  if (at_tok(p, T_LBRACK)) do {
      depth += at_tok(p, T_LBRACK) - at_tok(p, T_RBRACK);
      advance(p);
    } while (depth > 0 && !starts_item(p) && !at_tok(p, T_LBRACE));
  return type_error();
}

static Type *data_type(Parser *p, Sym name, Span at) {
  Types arg = {0};
  DataDef *def = find_type(p, name);
  if (!def) return unknown_type(p, name, at);
  Span open = p->tok.span;
  if (accept(p, T_LBRACK)) type_list(p, T_RBRACK, open, &arg);
  if (p->panic) return type_error();
  if (arg.n == def->n_vars) return type_data(def, arg.n, arg.at);
  if (!may_report(p)) return type_error();
  diag_error(p->d, at, E0207, str_fmt("type %s", name),
             str_fmt("%d type argument%s", def->n_vars, def->n_vars == 1 ? "" : "s"), arg.n);
  diag_note(p->d, def->span, "it is defined here");
  return type_error();
}

/* scalar is float32; scalar[int64]. */
static Type *scalar_type(Parser *p) {
  DType dt = DT_f32;
  Span open = p->tok.span;
  if (!accept(p, T_LBRACK)) return type_scalar(dt);
  bool known = element_type(p, &dt);
  expect(p, T_RBRACK, open);
  return known ? type_scalar(dt) : type_error();
}

static Type *named_type(Parser *p) {
  Token t = p->tok;
  DType dt;
  advance(p);
  if (word_is(&t, "Tensor") && at_tok(p, T_LBRACK)) return tensor_type(p);
  if (word_is(&t, "_")) return type_meta(0, p->cx->next_var++);
  Sym name = tok_sym(p, &t);
  TyName *n = find_tyname(p, name);
  if (n) return type_variable(p, n, t.span);
  if (word_is(&t, "scalar") && !find_type(p, name)) return scalar_type(p);
  if (dtype_parse(t.s, t.n, &dt)) return type_scalar(dt);
  return data_type(p, name, t.span);
}

Type *parse_type(Parser *p) {
  Span at = p->tok.span;
  if (p->panic || !deeper(p, at)) return type_error();
  Type *t = type_error();
  switch ((int)p->tok.kind) {
  case T_LPAREN: t = tuple_type(p); break;
  case T_FN: t = fn_type(p); break;
  case T_REF: t = ref_type(p); break;
  case T_IDENT: t = named_type(p); break;
  default: fail_expected(p, "a type");
  }
  p->depth--;
  return t;
}

/* ---- quantifiers --------------------------------------------------------------------- */

static void unique_tyname(Parser *p, const Mark m, Sym name, Span at) {
  TyName *old = find_tyname(p, name);
  if (!old || old - p->tynames.at < m.tynames || !may_report(p)) return;
  diag_error(p->d, at, E0202, name);
  diag_note(p->d, old->span, "first here");
}

void parse_tylist(Parser *p, int owner) {
  Span open = p->tok.span;
  Mark m = mark_names(p);
  advance(p);
  while (!at_tok(p, T_RBRACK) && !p->panic) {
    Token t = p->tok;
    if (t.kind != T_IDENT) {
      fail_expected(p, "the name of a type or dimension");
      break;
    }
    advance(p);
    unique_tyname(p, m, tok_sym(p, &t), t.span);
    push_tyname(p, tok_sym(p, &t), t.span, TN_Open)->owner = owner;
    if (!accept(p, T_COMMA)) break;
  }
  expect(p, T_RBRACK, open);
}

void take_quantifiers(Parser *p, Mark since, int owner, int *n_vars, TyVar ***var, int *n_dims,
                      Dim **dim) {
  VEC(TyVar *) vars = {0};
  VEC(Dim) dims = {0};
  for (int i = since.tynames; i < p->tynames.n; i++) {
    TyName *t = &p->tynames.at[i];
    if (t->owner != owner) continue;
    if (t->kind == TN_Open) type_variable(p, t, t->span);
    if (t->kind == TN_Type)
      vec_push(&vars, t->var);
    else
      vec_push(&dims, t->dim);
  }
  *n_vars = vars.n;
  *var = vars.at;
  *n_dims = dims.n;
  *dim = dims.at;
}
