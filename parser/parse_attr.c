/* parse_attr.c -- numbers, key=value attributes, meta[Key][i].
 *
 *   attrs ::= key=value {[,] key=value}        key: axis, relay.reshape_only
 *   value ::= number | True | False | "text" | name | None | nullptr
 *           | [values] | (values) | meta[Key][i] | %x
 * A value that is an expression (TVM prints arange's operands a second time as
 * attributes) carries nothing: AV_Other.                                      */
#include "parser/parse.h"

/* ---- numbers --------------------------------------------------------------- */

static uint64_t max_magnitude(DType dt, bool negative) {
  int bits = dtype_bytes(dt) * 8;
  if (!dtype_is_signed(dt)) return negative ? 0 : UINT64_MAX >> (64 - bits);
  return (UINT64_MAX >> (65 - bits)) + (negative ? 1 : 0);
}

static bool int_value(Parser *p, const Token *t, bool negative, DType *dt, int64_t *v) {
  *dt = t->dtype;
  if (!t->suffixed && t->mag > max_magnitude(DT_i32, negative)) *dt = DT_i64;
  if (t->mag > max_magnitude(*dt, negative))
    return complain(p, t->span, E0104, str_fmt("%s%.*s", negative ? "-" : "", (int)t->n, t->s),
                    str_fmt("it does not fit %s", dtype_name(*dt)));
  *v = (int64_t)(negative ? 0 - t->mag : t->mag);
  return true;
}

/* The number at the token as a constant (if cst) and as an attribute (if val). */
bool parse_number(Parser *p, bool negative, const Tensor **cst, AttrVal *val) {
  Token t = p->tok;
  advance(p);
  if (t.kind == T_FLOAT) {
    double f = negative ? -t.f : t.f;
    if (cst) *cst = tensor_scalar_float(t.dtype, f);
    if (val) *val = (AttrVal){.kind = AV_Float, .bits = dtype_bytes(t.dtype) * 8, .f = f};
    return true;
  }
  DType dt;
  int64_t v = 0;
  bool ok = int_value(p, &t, negative, &dt, &v);
  if (cst) *cst = tensor_scalar_int(dt, v);
  if (val) *val = (AttrVal){.kind = AV_Int, .bits = dtype_bytes(dt) * 8, .i = v};
  return ok;
}

/* ---- meta[Key][i] -------------------------------------------------------------- */

bool parse_meta_ref(Parser *p, Sym *key, int64_t *index, Span *at) {
  *at = p->tok.span;
  advance(p);
  Span open = p->tok.span;
  if (!expect(p, T_LBRACK, (Span){0})) return false;
  if (!at_tok(p, T_IDENT))
    return fail_expected(p, "the type of a metadata entry such as relay.Constant");
  *key = tok_sym(p, &p->tok);
  advance(p);
  if (!expect(p, T_RBRACK, open)) return false;
  open = p->tok.span;
  if (!expect(p, T_LBRACK, (Span){0})) return false;
  Token i = p->tok;
  if (i.kind != T_INT || i.mag > INT32_MAX)
    return fail_expected(p, "the index of a metadata entry");
  advance(p);
  *index = (int64_t)i.mag;
  if (!expect(p, T_RBRACK, open)) return false;
  *at = span_to(*at, p->prev.span);
  return true;
}

static bool meta_value(Parser *p, AttrVal *out) {
  Sym key;
  int64_t index;
  Span at;
  if (!parse_meta_ref(p, &key, &index, &at)) return false;
  MetaEntry e = meta_get(p->cx, p->f ? p->f->meta : NULL, key, index, at);
  if (e.kind == META_Missing) return complain(p, at, E0109, key, (int)index);
  if (e.kind == META_Bad) return complain(p, at, E0108, e.why);
  *out = e.kind == META_Value ? e.val : (AttrVal){.kind = AV_Other, .s = str_fmt("meta[%s]", key)};
  return true;
}

/* ---- values ---------------------------------------------------------------------- */

static bool attr_value(Parser *p, AttrVal *out);

static bool attr_list(Parser *p, Tok close, AttrVal *out) {
  VEC(AttrVal) at = {0};
  Span open = p->tok.span;
  bool comma = false;
  const char *other = NULL;
  advance(p);
  while (!at_tok(p, close)) {
    AttrVal v = {0};
    if (!attr_value(p, &v)) return false;
    if (v.kind == AV_Other) other = v.s;
    vec_push(&at, v);
    if (!(comma = accept(p, T_COMMA))) break;
  }
  if (!expect(p, close, open)) return false;
  if (close == T_RPAREN && at.n == 1 && !comma)
    *out = at.at[0]; /* (1) is 1  */
  else if (other)
    *out = (AttrVal){.kind = AV_Other, .s = other};
  else
    *out = (AttrVal){.kind = AV_List, .n = at.n, .at = at.at};
  return true;
}

static bool attr_word(Parser *p, AttrVal *out) {
  Token t = p->tok;
  if (t.n == 4 && memcmp(t.s, "meta", 4) == 0 && peek(p).kind == T_LBRACK)
    return meta_value(p, out);
  advance(p);
  Sym s = tok_sym(p, &t);
  bool none = strcmp(s, "None") == 0 || strcmp(s, "nullptr") == 0;
  *out = none ? (AttrVal){.kind = AV_None} : (AttrVal){.kind = AV_Str, .s = s};
  return true;
}

static bool attr_string(Parser *p, AttrVal *out) {
  StrBuf text = {0};
  bool ok = lex_string(&p->tok, &text, p->d);
  advance(p);
  *out = (AttrVal){.kind = AV_Str, .s = buf_text(&text)};
  return ok;
}

static bool attr_signed(Parser *p, AttrVal *out) {
  bool negative = false;
  while (accept(p, T_MINUS)) negative = !negative;
  if (!at_tok(p, T_INT) && !at_tok(p, T_FLOAT)) return fail_expected(p, "a number");
  return parse_number(p, negative, NULL, out);
}

static bool attr_simple(Parser *p, AttrVal *out) {
  switch ((int)p->tok.kind) {
  case T_INT:
  case T_FLOAT:
  case T_MINUS: return attr_signed(p, out);
  case T_TRUE:
  case T_FALSE:
    *out = (AttrVal){.kind = AV_Bool, .i = at_tok(p, T_TRUE)};
    advance(p);
    return true;
  case T_STRING: return attr_string(p, out);
  case T_IDENT: return attr_word(p, out);
  case T_LOCAL:
  case T_GRAPH:
  case T_GLOBAL:
    *out = (AttrVal){.kind = AV_Other, .s = tok_found(&p->tok)};
    advance(p);
    return true;
  case T_LBRACK: return attr_list(p, T_RBRACK, out);
  case T_LPAREN: return attr_list(p, T_RPAREN, out);
  default: return fail_expected(p, "the value of an attribute");
  }
}

static bool attr_value(Parser *p, AttrVal *out) {
  if (!deeper(p, p->tok.span)) return false;
  bool ok = attr_simple(p, out);
  p->depth--;
  return ok && !p->panic;
}

/* Keywords may be keys: type=1. */
bool at_attr(const Parser *p) {
  Tok k = p->tok.kind;
  return (k == T_IDENT || k >= T_LET) && peek(p).kind == T_ASSIGN;
}

typedef VEC(Attr) AttrVec;

/* seen: name -> index + 1. */
static void add_attr(Parser *p, Attr a, AttrVec *out, Map *seen) {
  int old = (int)(intptr_t)map_get(seen, map_ptr(a.name));
  if (old == 0) {
    vec_push(out, a);
    map_set(seen, map_ptr(a.name), (void *)(intptr_t)out->n);
  } else if (may_report(p)) {
    diag_error(p->d, a.span, E0202, str_fmt("attribute %s", a.name));
    diag_note(p->d, out->at[old - 1].span, "first here");
  }
}

static void attr_sequence(Parser *p, AttrVec *out) {
  Map seen = {0};
  while (at_attr(p) && !p->panic) {
    Attr a = {.name = tok_sym(p, &p->tok), .span = p->tok.span};
    advance(p);
    advance(p);
    if (!attr_value(p, &a.val)) return;
    a.span = span_to(a.span, p->prev.span);
    add_attr(p, a, out, &seen);
    accept(p, T_COMMA);
  }
}

void parse_attrs(Parser *p, Attrs *out) {
  AttrVec at = {0};
  attr_sequence(p, &at);
  *out = (Attrs){at.n, at.at};
}
