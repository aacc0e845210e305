/* parse_expr.c -- statements, operators, calls, functions.
 *
 *   sequence ::= { statement ; } expr
 *   statement::= let %x [: T] = value | %0 = value | free_var %x [: T] | expr
 *   value    ::= { (let | graph) statement ; } expr     (its names end with it)
 *   expr     ::= unary { operator unary }               unary ::= {- | !} postfix
 *   postfix  ::= primary { (args) | .index }
 *
 * Everything goes into the block being built, Parser.bb, in the order of the
 * text: a parenthesised sequence is spliced, its variables being unique.  Only
 * branches, clauses and function bodies are blocks of their own.              */
#include "parser/parse.h"

Val val_atom(Atom a) { return (Val){.atom = a, .span = a.span}; }
Val val_expr(Expr *e) { return (Val){.e = e, .span = e->span}; }
Val poison_val(Span at) { return val_atom((Atom){.kind = ATOM_Poison, .span = at}); }

Atom to_atom(Parser *p, Val v) {
  if (!v.e) return v.atom;
  return bb_bind(p->cx, p->bb, v.e, NULL, BIND_Graph);
}

/* ---- statements -------------------------------------------------------------- */

static Expr *as_expr(Val v) { return v.e ? v.e : ir_just(v.atom, v.span); }

static bool at_graph_statement(const Parser *p) {
  return at_tok(p, T_GRAPH) && peek(p).kind == T_ASSIGN;
}

static void let_statement(Parser *p);
static void graph_statement(Parser *p);
static Val parse_expr(Parser *p);

/* What is bound: TVM prints `let %a = let %b = 1f; f(%b); rest`, so here an
 * expression ends the sequence. */
static Val parse_value(Parser *p) {
  Span at = p->tok.span;
  if (!deeper(p, at)) return poison_val(at);
  Mark m = mark_names(p);
  m.tynames = INT32_MAX; /* dims that a match_cast bound stay */
  for (;;) {
    if (p->panic) break;
    if (at_tok(p, T_LET))
      let_statement(p);
    else if (at_graph_statement(p))
      graph_statement(p);
    else
      break;
  }
  Val v = p->panic ? poison_val(at) : parse_expr(p);
  drop_names(p, m);
  p->depth--;
  return v;
}

static bool is_wildcard(const Parser *p) {
  return at_tok(p, T_IDENT) && p->tok.n == 1 && p->tok.s[0] == '_';
}

/* let %x [: T] = value ;      Recursive when the value is a function. */
static void let_statement(Parser *p) {
  Span at = p->tok.span;
  advance(p);
  bool wild = is_wildcard(p);
  if (!at_tok(p, T_LOCAL) && !wild) {
    fail_expected(p, tok_text(T_LOCAL));
    return;
  }
  Var *v = ir_var(p->cx, wild ? NULL : tok_sym(p, &p->tok), p->tok.span);
  advance(p);
  if (accept(p, T_COLON)) v->annot = parse_type(p);
  expect(p, T_ASSIGN, (Span){0});
  bool recursive = at_tok(p, T_FN) && !wild;
  if (recursive) push_local(p, v);
  Val value = p->panic ? poison_val(at) : parse_value(p);
  if (p->panic) value = poison_val(at);
  bb_push(p->bb, v, as_expr(value), wild ? BIND_Seq : BIND_Let);
  if (!recursive && !wild) push_local(p, v);
  if (p->panic || accept(p, T_SEMI)) return;
  if (p->tok.line_start || at_tok(p, T_LET))
    forgotten(p, T_SEMI, at, "in this let");
  else if (may_report(p) && !expect(p, T_SEMI, (Span){0}))
    diag_note(p->d, at, "in this let");
}

static void define_graph(Parser *p, const Token *t, Atom a, int n_binds) {
  Sym digits = tok_sym(p, t);
  GraphName *g = map_get(&p->graph, map_ptr(digits));
  if (g) {
    if (!may_report(p)) return;
    diag_error(p->d, t->span, E0202, str_fmt("%%%s", digits));
    diag_note(p->d, g->span, "first here");
    return;
  }
  g = NEW(GraphName);
  *g = (GraphName){.span = t->span, .atom = a, .n_binds = n_binds};
  map_set(&p->graph, map_ptr(digits), g);
  if (n_binds > 0 && a.kind == ATOM_Var) map_set(&p->graph_of, map_ptr(a.var), g);
  vec_push(&p->graph_open, g);
}

/* %0 = value ; */
static void graph_statement(Parser *p) {
  Token t = p->tok;
  advance(p);
  advance(p);
  int from = p->bb->b.n;
  Val v = parse_value(p);
  if (p->panic) v = poison_val(t.span);
  if (v.e) {
    Var *var = ir_var(p->cx, NULL, t.span);
    bb_push(p->bb, var, v.e, BIND_Graph);
    v = val_atom(atom_var(var, t.span));
    define_graph(p, &t, v.atom, p->bb->b.n - from);
  } else
    define_graph(p, &t, v.atom, 0);
  if (!p->panic) expect(p, T_SEMI, (Span){0});
}

/* free_var %x [: T] ;       a parameter of the expression that the text is. */
static void free_var_statement(Parser *p) {
  Span at = p->tok.span;
  advance(p);
  if (!at_tok(p, T_LOCAL)) {
    fail_expected(p, tok_text(T_LOCAL));
    return;
  }
  Var *v = ir_var(p->cx, tok_sym(p, &p->tok), p->tok.span);
  advance(p);
  int owner = p->owner, level = p->owner_level;
  p->owner = p->fn_level == 1 ? 1 : 0;
  p->owner_level = 1;
  if (accept(p, T_COLON)) v->annot = parse_type(p);
  p->owner = owner;
  p->owner_level = level;
  push_local(p, v);
  if (!expect(p, T_SEMI, (Span){0})) return;
  if (p->free_params)
    vec_push(p->free_params, v);
  else if (may_report(p)) {
    diag_error(p->d, span_to(at, p->prev.span), E0203, "free_var", "a statement of a definition");
    diag_help(p->d,
              "make it a parameter: only a text that is a bare expression has free variables");
  }
}

/* e ;     an atom has no effect. */
static void seq_statement(Parser *p, Val v) {
  if (v.e) bb_push(p->bb, ir_var(p->cx, NULL, v.span), v.e, BIND_Seq);
}

/* After a mistake: true when another statement follows. */
static bool recover(Parser *p) {
  if (p->give_up) return false;
  skip_to_statement_end(p);
  if (p->give_up) return false;
  p->panic = false;
  return p->prev.kind == T_SEMI && !at_tok(p, T_RBRACE) && !at_tok(p, T_RPAREN);
}

Val parse_sequence(Parser *p) {
  Span at = p->tok.span;
  Val v = poison_val(at);
  for (;;) {
    if (at_tok(p, T_LET))
      let_statement(p);
    else if (at_graph_statement(p))
      graph_statement(p);
    else if (at_tok(p, T_FREE_VAR))
      free_var_statement(p);
    else {
      v = parse_expr(p);
      if (!p->panic) {
        if (!accept(p, T_SEMI)) break;
        seq_statement(p, v);
      }
    }
    if (!p->panic) continue;
    v = poison_val(at);
    if (!recover(p)) break;
  }
  return v;
}

/* A sequence whose names end with it, in the block around it. */
static Val inline_sequence(Parser *p) {
  Mark m = mark_names(p);
  m.tynames = INT32_MAX;
  Val v = parse_sequence(p);
  drop_names(p, m);
  return v;
}

/* ---- blocks -------------------------------------------------------------------- */

void open_block(Parser *p, OpenBlock *o) {
  *o = (OpenBlock){
      .outer = p->bb, .names = mark_names(p), .graph_open = p->graph_open.n, .span = p->tok.span};
}

Block *close_block(Parser *p, OpenBlock *o, Val result) {
  Atom a = to_atom(p, result);
  drop_names(p, o->names);
  while (p->graph_open.n > o->graph_open) vec_pop(&p->graph_open)->closed = true;
  p->bb = o->outer;
  return bb_done(&o->bb, a, span_to(o->span, p->prev.span));
}

Block *parse_block(Parser *p) {
  OpenBlock o;
  Span open = p->tok.span;
  open_block(p, &o);
  p->bb = &o.bb;
  Val v = poison_val(open);
  if (expect(p, T_LBRACE, (Span){0})) {
    int mistakes = p->d->n_errors;
    v = parse_sequence(p);
    if (at_tok(p, T_RPAREN) && p->d->n_errors > mistakes) skip_to_brace(p); /* opened before one */
    expect(p, T_RBRACE, open);
  }
  return close_block(p, &o, v);
}

/* ---- operators ------------------------------------------------------------------- */

static const struct {
  Tok tok;
  int prec;
  const char *op;
} operators[] = {
    {T_OROR, 1, "logical_or"}, {T_ANDAND, 2, "logical_and"},
    {T_EQ, 3, "equal"},        {T_NE, 3, "not_equal"},
    {T_LT, 4, "less"},         {T_LE, 4, "less_equal"},
    {T_GT, 4, "greater"},      {T_GE, 4, "greater_equal"},
    {T_PLUS, 5, "add"},        {T_MINUS, 5, "subtract"},
    {T_STAR, 6, "multiply"},   {T_SLASH, 6, "divide"},
};

static int find_operator(Tok k) {
  for (int i = 0; i < (int)(sizeof operators / sizeof *operators); i++)
    if (operators[i].tok == k) return i;
  return -1;
}

static Val op_call(Parser *p, const char *name, Span op, Span whole, int n, Atom a, Atom b) {
  const OpDef *def = need_op(p, name, op);
  if (!def) return poison_val(whole);
  Expr *e = ir_expr(EX_Call, whole);
  e->Call.callee = atom_op(def, op);
  e->Call.n_args = n;
  e->Call.args = NEW_N(Atom, n);
  e->Call.args[0] = a;
  if (n > 1) e->Call.args[1] = b;
  return val_expr(e);
}

static Val parse_postfix(Parser *p);

/* A run of minus signs directly before a number is part of it. */
static Val parse_unary(Parser *p) {
  VEC(Token) ops = {0};
  while (at_tok(p, T_MINUS) || at_tok(p, T_BANG)) {
    vec_push(&ops, p->tok);
    advance(p);
  }
  Val v;
  Span at = p->tok.span;
  if (ops.n && vec_last(&ops).kind == T_MINUS && (at_tok(p, T_INT) || at_tok(p, T_FLOAT))) {
    bool negative = false;
    const Tensor *cst;
    for (; ops.n && vec_last(&ops).kind == T_MINUS; ops.n--)
      negative = !negative, at = vec_last(&ops).span;
    parse_number(p, negative, &cst, NULL);
    v = val_atom(atom_const(cst, span_to(at, p->prev.span)));
  } else
    v = parse_postfix(p);
  while (ops.n && !p->panic) {
    Token t = vec_pop(&ops);
    Atom a = to_atom(p, v);
    v = op_call(p, t.kind == T_MINUS ? "negative" : "logical_not", t.span,
                span_to(t.span, p->prev.span), 1, a, a);
  }
  return v;
}

static Val parse_binary(Parser *p, int min) {
  Span at = p->tok.span;
  Val left = parse_unary(p);
  for (;;) {
    int op = p->panic ? -1 : find_operator(p->tok.kind);
    if (op < 0 || operators[op].prec < min) return left;
    Span mark = p->tok.span;
    advance(p);
    Atom a = to_atom(p, left);
    Val right = parse_binary(p, operators[op].prec + 1);
    if (p->panic) return poison_val(at);
    Atom b = to_atom(p, right);
    left = op_call(p, operators[op].op, mark, span_to(at, p->prev.span), 2, a, b);
  }
}

static Val parse_expr(Parser *p) {
  Span at = p->tok.span;
  if (!deeper(p, at)) return poison_val(at);
  Val v = parse_binary(p, 0);
  p->depth--;
  return p->panic ? poison_val(at) : v;
}

/* ---- calls --------------------------------------------------------------------------- */

typedef VEC(Atom) AtomVec;

/* meta[relay.attrs.X][i] at the end of the arguments stands for attributes. */
static bool at_meta_attrs(const Parser *p) {
  if (!at_tok(p, T_IDENT) || p->tok.n != 4 || memcmp(p->tok.s, "meta", 4) != 0) return false;
  Lexer ahead = p->lx;
  ahead.d = NULL;
  if (lex_next(&ahead).kind != T_LBRACK) return false;
  Token key = lex_next(&ahead);
  return key.kind == T_IDENT && key.n > 12 && memcmp(key.s, "relay.attrs.", 12) == 0;
}

static void meta_attrs(Parser *p, Attrs *out) {
  Sym key;
  int64_t index;
  Span at;
  if (!parse_meta_ref(p, &key, &index, &at)) return;
  MetaEntry e = meta_get(p->cx, p->f ? p->f->meta : NULL, key, index, at);
  if (e.kind == META_Attrs)
    *out = e.attrs;
  else if (e.kind == META_Missing)
    complain(p, at, E0109, key, (int)index);
  else
    complain(p, at, E0108, e.why ? e.why : str_fmt("%s is not an attribute object", key));
}

/* ( args [, attrs] ) */
static void parse_args(Parser *p, AtomVec *args, Attrs *attrs) {
  Span open = p->tok.span;
  advance(p);
  while (!at_tok(p, T_RPAREN) && !p->panic) {
    if (at_meta_attrs(p))
      meta_attrs(p, attrs);
    else if (at_attr(p)) {
      parse_attrs(p, attrs);
      break;
    } else {
      Val v = inline_sequence(p);
      if (p->panic) return;
      Atom a = to_atom(p, v);
      vec_push(args, a);
    }
    if (!accept(p, T_COMMA)) break;
  }
  if (at_tok(p, T_RPAREN) || !begin_fail(p)) {
    accept(p, T_RPAREN);
    return;
  }
  diag_error(p->d, p->tok.span, E0103, "`,` or `)`", tok_found(&p->tok));
  diag_note(p->d, open, "opened here");
  if (starts_item(p)) p->give_up = true;
}

static bool may_have_attrs(const Atom *callee, const Attrs *attrs) {
  return callee->kind == ATOM_Op || callee->kind == ATOM_Poison ||
         attrs_find(attrs, "attrs_type_key");
}

static const char *callee_text(const Atom *c) {
  switch (c->kind) {
  case ATOM_Ctor: return str_fmt("constructor %s", c->ctor->name);
  case ATOM_Global: return str_fmt("@%s", c->global->name);
  case ATOM_Var: return c->var->name ? str_fmt("%%%s", c->var->name) : "a function value";
  case ATOM_Op:
  case ATOM_Const:
  case ATOM_Poison: break;
  }
  return "this callee";
}

static Val parse_call(Parser *p, Val callee) {
  AtomVec args = {0};
  Attrs attrs = {0};
  Atom f = to_atom(p, callee);
  parse_args(p, &args, &attrs);
  if (p->panic || f.kind == ATOM_Poison) return poison_val(callee.span);
  if (attrs.n && !may_have_attrs(&f, &attrs)) complain(p, attrs.at[0].span, E0110, callee_text(&f));
  Expr *e = ir_expr(EX_Call, span_to(callee.span, p->prev.span));
  e->Call.callee = f;
  e->Call.n_args = args.n;
  e->Call.args = args.at;
  e->Call.attrs = attrs;
  return val_expr(e);
}

/* .0    The lexer reads the 0.1 of %x.0.1 as a float: read the digits again. */
static Val parse_projection(Parser *p, Val tuple) {
  p->lx.pos = p->tok.span.at + 1;
  Token i = lex_digits(&p->lx);
  if (i.kind != T_INT || i.mag > INT32_MAX) {
    advance(p);
    fail_expected(p, "the number of a tuple field");
    return poison_val(tuple.span);
  }
  p->tok = i;
  advance(p);
  if (!tuple.e && tuple.atom.kind == ATOM_Const) {
    complain(p, tuple.span, E0305, "a constant", (int)i.mag, "a tensor");
    return poison_val(tuple.span);
  }
  Expr *e = ir_expr(EX_Proj, span_to(tuple.span, i.span));
  e->Proj.tuple = to_atom(p, tuple);
  e->Proj.index = (int)i.mag;
  return val_expr(e);
}

static Val parse_postfix(Parser *p) {
  Val v = parse_primary(p);
  while (!p->panic) {
    if (at_tok(p, T_LPAREN))
      v = parse_call(p, v);
    else if (at_tok(p, T_DOT))
      v = parse_projection(p, v);
    else
      break;
  }
  return v;
}

/* The operand of match: no operators, as in `match %x { ... }`. */
Val parse_atom(Parser *p) { return parse_postfix(p); }

/* ---- functions ------------------------------------------------------------------------ */

typedef VarList VarVec;

/* %x [{attrs}] [: T]      TVM's braces hold a virtual device. */
static void parse_param(Parser *p, const Mark *m, VarVec *params) {
  Token t = p->tok;
  Var *v = ir_var(p->cx, tok_sym(p, &t), t.span);
  Var *old = local_since(p, &t, m->locals);
  Attrs device;
  advance(p);
  if (old && may_report(p)) {
    diag_error(p->d, t.span, E0202, str_fmt("parameter %%%s", v->name));
    diag_note(p->d, old->span, "first here");
  }
  if (accept(p, T_LBRACE)) {
    parse_attrs(p, &device);
    expect(p, T_RBRACE, t.span);
  }
  if (accept(p, T_COLON)) v->annot = parse_type(p);
  push_local(p, v);
  vec_push(params, v);
}

static void parse_params(Parser *p, VarVec *params, Attrs *attrs) {
  Span open = p->tok.span;
  Mark m = mark_names(p);
  if (!expect(p, T_LPAREN, (Span){0})) return;
  while (!at_tok(p, T_RPAREN) && !p->panic) {
    if (at_tok(p, T_LOCAL))
      parse_param(p, &m, params);
    else if (at_attr(p))
      parse_attrs(p, attrs);
    else
      fail_expected(p, "a parameter such as %x: float32");
    if (!accept(p, T_COMMA)) break;
  }
  expect(p, T_RPAREN, open);
}

/* What parse_fn_rest sets for its function, to be restored behind it. */
typedef struct {
  int owner, owner_level;
  const char *name;
  Mark names;
} FnScope;

static FnScope enter_fn(Parser *p, int owner, const char *name) {
  FnScope s = {p->owner, p->owner_level, p->owner_name, mark_names(p)};
  p->fn_level++;
  p->owner = owner;
  p->owner_level = p->fn_level;
  p->owner_name = name;
  return s;
}

static void leave_fn(Parser *p, const FnScope *s) {
  drop_names(p, s->names);
  p->fn_level--;
  p->owner = s->owner;
  p->owner_level = s->owner_level;
  p->owner_name = s->name;
}

/* [A, n] (params, attrs) -> R { body } */
Fn *parse_fn_rest(Parser *p, Span at, const char *name) {
  Fn *fn = NEW(Fn);
  VarVec params = {0};
  int owner = ++p->next_owner;
  FnScope s = enter_fn(p, owner, name);
  if (at_tok(p, T_LBRACK)) parse_tylist(p, owner);
  parse_params(p, &params, &fn->attrs);
  p->owner = 0;
  if (accept(p, T_ARROW)) fn->ret = parse_type(p);
  if (!p->panic) fn->body = parse_block(p);
  fn->n = params.n;
  fn->param = params.at;
  take_quantifiers(p, s.names, owner, &fn->n_vars, &fn->var, &fn->n_dims, &fn->dim);
  leave_fn(p, &s);
  fn->span = span_to(at, p->prev.span);
  return fn;
}

/* A text that is one expression: a function of its free_vars. */
Fn *parse_bare(Parser *p) {
  Fn *fn = NEW(Fn);
  VarList params = {0};
  OpenBlock o;
  Span at = p->tok.span;
  p->next_owner = 1;
  FnScope s = enter_fn(p, 1, "the expression");
  p->owner = 0;
  p->free_params = &params;
  open_block(p, &o);
  p->bb = &o.bb;
  Val v = parse_sequence(p);
  take_quantifiers(p, s.names, 1, &fn->n_vars, &fn->var, &fn->n_dims, &fn->dim);
  fn->body = close_block(p, &o, v);
  p->free_params = NULL;
  leave_fn(p, &s);
  fn->n = params.n;
  fn->param = params.at;
  fn->span = span_to(at, p->prev.span);
  return fn;
}

/* Numbers of graph names run through a whole dump; each function has its own. */
void start_function(Parser *p) {
  for (int i = 0; i < p->graph.n; i++)
    map_set(&p->graph_seen, p->graph.entry[i].key, p->graph.entry[i].value);
  p->graph = (Map){0};
  p->unknown = (Map){0};
  p->graph_of = (Map){0};
  vec_clear(&p->graph_open);
  p->needs_place = false;
  p->bb = NULL;
}
