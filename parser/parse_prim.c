/* parse_prim.c -- the atoms of expressions: literals, names, if, match, fn,
 * ref, tuples and parentheses; and patterns.                                  */
#include "parser/parse.h"

/* ---- names ------------------------------------------------------------------- */

const OpDef *need_op(Parser *p, const char *name, Span at) {
  const OpDef *op = irctx_op(p->cx, sym(p->cx->syms, name));
  if (op || !may_report(p)) return op;
  diag_error(p->d, at, E0204, name);
  help_word(p, name);
  return NULL;
}

/* %a/b is a name if there is one, else %a divided by something. */
static Val local_name(Parser *p) {
  Var *v = find_local(p, p->tok.s, p->tok.n);
  if (!v && first_part(&p->tok) < p->tok.n) {
    v = find_local(p, p->tok.s, first_part(&p->tok));
    if (v) split_name(p);
  }
  Token t = p->tok;
  advance(p);
  if (v) return val_atom(atom_var(v, t.span));
  const void *name = tok_sym(p, &t);
  if (may_report(p) && !map_get(&p->unknown, map_ptr(name))) {
    map_set(&p->unknown, map_ptr(name), p);
    diag_error(p->d, t.span, E0201, tok_found(&t));
    help_local(p, &t);
  }
  return poison_val(t.span);
}

static Val graph_name(Parser *p) {
  Token t = p->tok;
  Sym digits = tok_sym(p, &t);
  GraphName *g = map_get(&p->graph, map_ptr(digits));
  advance(p);
  if (!g) {
    GraphName *other = map_get(&p->graph_seen, map_ptr(digits));
    if (!may_report(p)) return poison_val(t.span);
    diag_error(p->d, t.span, E0201, tok_found(&t));
    if (other) diag_note(p->d, other->span, "this one belongs to another definition");
    return poison_val(t.span);
  }
  if (g->closed && g->atom.kind == ATOM_Var) p->needs_place = true;
  Atom a = g->atom;
  a.span = t.span;
  return val_atom(a);
}

static Val global_name(Parser *p) {
  Global *g = find_global(p, tok_sym(p, &p->tok));
  if (!g && first_part(&p->tok) < p->tok.n) {
    g = find_global(p, sym_n(p->cx->syms, p->tok.s, first_part(&p->tok)));
    if (g) split_name(p);
  }
  Token t = p->tok;
  advance(p);
  if (g) return val_atom(atom_global(g, t.span));
  if (may_report(p)) {
    diag_error(p->d, t.span, E0201, tok_found(&t));
    help_global(p, tok_sym(p, &t));
  }
  return poison_val(t.span);
}

/* ---- metadata ------------------------------------------------------------------ */

static Val meta_atom(Parser *p) {
  Sym key;
  int64_t index;
  Span at = p->tok.span;
  if (!parse_meta_ref(p, &key, &index, &at)) return poison_val(at);
  MetaEntry e = meta_get(p->cx, p->f ? p->f->meta : NULL, key, index, at);
  switch (e.kind) {
  case META_Constant: return val_atom(atom_const(e.cst, at));
  case META_Missing: complain(p, at, E0109, key, (int)index); break;
  case META_Bad: complain(p, at, E0108, e.why); break;
  case META_Value:
  case META_Attrs:
  case META_Any:
  case META_Other: complain(p, at, E0203, str_fmt("meta[%s]", key), "an expression"); break;
  }
  return poison_val(at);
}

/* ---- operators and constructors ---------------------------------------------------- */

static bool word_is(const Token *t, const char *s) {
  return strlen(s) == t->n && memcmp(t->s, s, t->n) == 0;
}

/* A constructor without fields is called wherever it stands. */
static Val ctor_value(Parser *p, Ctor *c, Span at) {
  Atom a = {.kind = ATOM_Ctor, .span = at, .ctor = c};
  if (c->n > 0 || at_tok(p, T_LPAREN)) return val_atom(a);
  Expr *e = ir_expr(EX_Call, at);
  e->Call.callee = a;
  return val_expr(e);
}

static Val unknown_word(Parser *p, const Token *t) {
  Sym name = tok_sym(p, t);
  bool upper = name[0] >= 'A' && name[0] <= 'Z' && !strchr(name, '.');
  if (!may_report(p)) return poison_val(t->span);
  if (upper)
    diag_error(p->d, t->span, E0201, str_fmt("constructor %s", name));
  else
    diag_error(p->d, t->span, E0204, name);
  help_word(p, name);
  return poison_val(t->span);
}

static Val match_cast(Parser *p, Span at) {
  Span open = p->tok.span;
  advance(p);
  Val v = parse_sequence(p);
  if (p->panic) return poison_val(at);
  Expr *e = ir_expr(EX_MatchCast, at);
  e->MatchCast.value = to_atom(p, v);
  expect(p, T_COMMA, open);
  int owner = p->owner, level = p->owner_level;
  p->owner = ++p->next_owner; /* new dims: bound from here to the end of the block */
  p->owner_level = p->fn_level;
  e->MatchCast.to = parse_type(p);
  p->owner = owner;
  p->owner_level = level;
  expect(p, T_RPAREN, open);
  e->span = span_to(at, p->prev.span);
  return val_expr(e);
}

static Val word(Parser *p) {
  if (word_is(&p->tok, "meta") && peek(p).kind == T_LBRACK) return meta_atom(p);
  for (int whole = 1; whole >= 0; whole--) {
    uint32_t n = whole ? p->tok.n : first_part(&p->tok);
    Sym name = sym_n(p->cx->syms, p->tok.s, n);
    Ctor *c = find_ctor(p, name);
    const OpDef *op = c ? NULL : irctx_op(p->cx, name);
    if (!c && !op) continue;
    if (!whole) split_name(p);
    Span at = p->tok.span;
    advance(p);
    return c ? ctor_value(p, c, at) : val_atom(atom_op(op, at));
  }
  Token t = p->tok;
  advance(p);
  if (word_is(&t, "match_cast") && at_tok(p, T_LPAREN)) return match_cast(p, t.span);
  return unknown_word(p, &t);
}

/* ---- if and match --------------------------------------------------------------------- */

static Val parse_if(Parser *p);

/* What follows else: a block, or another if as a block. */
static Block *parse_else(Parser *p) {
  if (!at_tok(p, T_IF)) return parse_block(p);
  OpenBlock o;
  open_block(p, &o);
  p->bb = &o.bb;
  Val v = poison_val(o.span);
  if (deeper(p, o.span)) { /* a chain of else if nests        */
    v = parse_if(p);
    p->depth--;
  }
  return close_block(p, &o, v);
}

static Val parse_if(Parser *p) {
  Span at = p->tok.span;
  advance(p);
  Expr *e = ir_expr(EX_If, at);
  Span open = p->tok.span;
  Val c = poison_val(at);
  if (expect(p, T_LPAREN, (Span){0})) {
    c = parse_sequence(p);
    expect(p, T_RPAREN, open);
  }
  e->If.cond = to_atom(p, c);
  if (!p->panic) e->If.then = parse_block(p);
  if (!p->panic && !expect(p, T_ELSE, (Span){0}) && !p->give_up)
    diag_help(p->d, "every if has an else: it is a value");
  if (!p->panic) e->If.otherwise = parse_else(p);
  e->span = span_to(at, p->prev.span);
  return p->panic ? poison_val(at) : val_expr(e);
}

typedef VEC(Clause) Clauses;
static Pattern *parse_pattern(Parser *p);

/* pattern => sequence [,] */
static void parse_clause(Parser *p, Clauses *out) {
  OpenBlock o;
  Span at = p->tok.span;
  Mark m = mark_names(p);
  p->pattern_from = m.locals;
  Clause c = {.pat = parse_pattern(p)};
  expect(p, T_FAT, (Span){0});
  open_block(p, &o);
  p->bb = &o.bb;
  Val v = p->panic ? poison_val(at) : parse_sequence(p);
  c.body = close_block(p, &o, v);
  c.span = span_to(at, p->prev.span);
  drop_names(p, m);
  vec_push(out, c);
}

static bool starts_pattern(const Parser *p) {
  return at_tok(p, T_IDENT) || at_tok(p, T_LOCAL) || at_tok(p, T_LPAREN);
}

static Val parse_match(Parser *p) {
  Clauses clauses = {0};
  Span at = p->tok.span;
  if (!deeper(p, at)) return poison_val(at);
  Expr *e = ir_expr(EX_Match, at);
  e->Match.partial = at_tok(p, T_MATCHQ);
  advance(p);
  e->Match.scrutinee = to_atom(p, parse_atom(p));
  Span open = p->tok.span;
  bool inside = !p->panic && expect(p, T_LBRACE, (Span){0});
  while (!at_tok(p, T_RBRACE) && !p->panic) {
    parse_clause(p, &clauses);
    if (p->panic || accept(p, T_COMMA) || at_tok(p, T_RBRACE) || p->prev.kind == T_RBRACE) continue;
    if (starts_pattern(p))
      forgotten(p, T_COMMA, at, "in this match");
    else
      fail_expected(p, "`,` or `}`");
  }
  if (!p->panic && clauses.n == 0) fail_expected(p, "a clause: pattern => value");
  bool broken = p->panic;
  if (broken && inside) skip_to_brace(p);
  if (!p->panic) expect(p, T_RBRACE, open);
  p->depth--;
  e->Match.n_clauses = clauses.n;
  e->Match.clauses = clauses.at;
  e->span = span_to(at, p->prev.span);
  return p->panic || broken ? poison_val(at) : val_expr(e);
}

/* ---- patterns ----------------------------------------------------------------------------- */

typedef VEC(Pattern *) Patterns;

static void pattern_list(Parser *p, Patterns *out) {
  Span open = p->tok.span;
  advance(p);
  while (!at_tok(p, T_RPAREN) && !p->panic) {
    Pattern *q = parse_pattern(p);
    vec_push(out, q);
    if (!accept(p, T_COMMA)) break;
  }
  expect(p, T_RPAREN, open);
}

static void pattern_var(Parser *p, Pattern *pat) {
  Token t = p->tok;
  pat->kind = PAT_Var;
  pat->var = ir_var(p->cx, tok_sym(p, &t), t.span);
  Var *old = local_since(p, &t, p->pattern_from);
  if (old && may_report(p)) {
    diag_error(p->d, t.span, E0202, str_fmt("%%%s", pat->var->name));
    diag_note(p->d, old->span, "first here, in the same pattern");
  }
  advance(p);
  if (accept(p, T_COLON)) pat->var->annot = parse_type(p);
  push_local(p, pat->var);
}

static void pattern_ctor(Parser *p, Pattern *pat) {
  Token t = p->tok;
  Patterns at = {0};
  Sym name = tok_sym(p, &t);
  advance(p);
  if (at_tok(p, T_LPAREN)) pattern_list(p, &at);
  Ctor *c = find_ctor(p, name);
  if (!c) {
    unknown_word(p, &t);
    return;
  }
  if (at.n != c->n && may_report(p)) {
    diag_error(p->d, span_to(t.span, p->prev.span), E0207, str_fmt("constructor %s", name),
               str_fmt("%d field%s", c->n, c->n == 1 ? "" : "s"), at.n);
    diag_note(p->d, c->span, "it is defined here");
    return;
  }
  pat->kind = PAT_Ctor;
  pat->ctor = c;
  pat->n = at.n;
  pat->at = at.at;
}

static void pattern_tuple(Parser *p, Pattern *pat) {
  Patterns at = {0};
  pattern_list(p, &at);
  pat->kind = PAT_Tuple;
  pat->n = at.n;
  pat->at = at.at;
}

/* A mistaken pattern stays PAT_Wild. */
static Pattern *parse_pattern(Parser *p) {
  Pattern *pat = NEW(Pattern);
  Span at = p->tok.span;
  pat->span = at;
  if (p->panic || !deeper(p, at)) return pat;
  switch ((int)p->tok.kind) {
  case T_LOCAL: pattern_var(p, pat); break;
  case T_LPAREN: pattern_tuple(p, pat); break;
  case T_IDENT:
    if (word_is(&p->tok, "_"))
      advance(p);
    else
      pattern_ctor(p, pat);
    break;
  default: fail_expected(p, "a pattern: _, %x, Constructor(...) or (...)");
  }
  p->depth--;
  pat->span = span_to(at, p->prev.span);
  return pat;
}

/* ---- parentheses ----------------------------------------------------------------------------- */

typedef VEC(Atom) Atoms;

static Val tuple_value(Parser *p, Span at, const Atoms *items) {
  Expr *e = ir_expr(EX_Tuple, span_to(at, p->prev.span));
  e->Tuple.n_items = items->n;
  e->Tuple.items = items->at;
  return val_expr(e);
}

static Val scoped_sequence(Parser *p) {
  Mark m = mark_names(p);
  m.tynames = INT32_MAX;
  Val v = parse_sequence(p);
  drop_names(p, m);
  return v;
}

/* () (e) (e,) (e, e) (let ...; e) */
static Val parens(Parser *p) {
  Atoms items = {0};
  Span open = p->tok.span;
  bool comma = false;
  advance(p);
  if (accept(p, T_RPAREN)) return tuple_value(p, open, &items);
  Val v = scoped_sequence(p);
  while (!p->panic && (comma = accept(p, T_COMMA))) {
    Atom a = to_atom(p, v);
    vec_push(&items, a);
    if (at_tok(p, T_RPAREN)) break;
    v = scoped_sequence(p);
  }
  if (!p->panic && items.n && !comma) {
    Atom a = to_atom(p, v);
    vec_push(&items, a);
  }
  expect(p, T_RPAREN, open);
  if (p->panic) return poison_val(open);
  return items.n ? tuple_value(p, open, &items) : v;
}

static Val braces(Parser *p) {
  Span open = p->tok.span;
  advance(p);
  Val v = scoped_sequence(p);
  expect(p, T_RBRACE, open);
  return v;
}

/* ---- refs -------------------------------------------------------------------------------- */

/* ref(e)  ref_read(e)  ref_write(e, e) */
static Val ref_form(Parser *p) {
  Token t = p->tok;
  advance(p);
  Span open = p->tok.span;
  if (!expect(p, T_LPAREN, (Span){0})) return poison_val(t.span);
  Atom a[2] = {{.kind = ATOM_Poison}, {.kind = ATOM_Poison}};
  int n = t.kind == T_REF_WRITE ? 2 : 1;
  for (int i = 0; i < n && !p->panic; i++) {
    if (i && !expect(p, T_COMMA, open)) break;
    Val v = scoped_sequence(p);
    if (!p->panic) a[i] = to_atom(p, v);
  }
  expect(p, T_RPAREN, open);
  if (p->panic) return poison_val(t.span);
  Expr *e = ir_expr(t.kind == T_REF ? EX_Ref
                    : n == 2        ? EX_RefWrite
                                    : EX_RefRead,
                    span_to(t.span, p->prev.span));
  if (t.kind == T_REF)
    e->Ref.value = a[0];
  else if (n == 1)
    e->RefRead.ref = a[0];
  else
    e->RefWrite.ref = a[0], e->RefWrite.value = a[1];
  return val_expr(e);
}

/* ---- all --------------------------------------------------------------------------------- */

static Val literal(Parser *p) {
  Token t = p->tok;
  const Tensor *c;
  if (t.kind == T_TRUE || t.kind == T_FALSE) {
    c = tensor_scalar_int(DT_bool, t.kind == T_TRUE);
    advance(p);
  } else
    parse_number(p, false, &c, NULL);
  return val_atom(atom_const(c, t.span));
}

static Val fn_literal(Parser *p) {
  Span at = p->tok.span;
  advance(p);
  Fn *fn = parse_fn_rest(p, at, "this fn");
  if (p->panic) return poison_val(at);
  Expr *e = ir_expr(EX_Fn, fn->span);
  e->Fn.fn = fn;
  return val_expr(e);
}

static Val no_expression(Parser *p) {
  Span at = p->tok.span;
  bool string = at_tok(p, T_STRING), closes = at_tok(p, T_RBRACE) || at_tok(p, T_RPAREN);
  bool report = may_report(p) && p->failed_at != at.at;
  fail_expected(p, "an expression");
  if (report && string) diag_help(p->d, "a string can only be the value of an attribute");
  if (report && closes && p->prev.kind == T_SEMI)
    diag_help(p->d, "the last expression is the value and has no `;` behind it");
  return poison_val(at);
}

Val parse_primary(Parser *p) {
  switch ((int)p->tok.kind) {
  case T_INT:
  case T_FLOAT:
  case T_TRUE:
  case T_FALSE: return literal(p);
  case T_LOCAL: return local_name(p);
  case T_GRAPH: return graph_name(p);
  case T_GLOBAL: return global_name(p);
  case T_IDENT: return word(p);
  case T_FN: return fn_literal(p);
  case T_IF: return parse_if(p);
  case T_MATCH:
  case T_MATCHQ: return parse_match(p);
  case T_REF:
  case T_REF_READ:
  case T_REF_WRITE: return ref_form(p);
  case T_LPAREN: return parens(p);
  case T_LBRACE: return braces(p);
  default: return no_expression(p);
  }
}
