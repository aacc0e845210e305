/* grad_text.c -- the text of gradient rules: a small reader that emits
 * bindings as it goes.
 *
 *   rule   name (':' | '~') expr  { ';' ... }
 *   expr   term { (+ | -) term }     term  unary { (* | /) unary }
 *   unary  - unary | number | $attr | name | name(args) | (expr) | (expr, ...) | %a,
 *          then {.digits}; as(expr, operand) is a reshape
 *   args   expr, ..., attr=value, ...
 *   value  number | True | False | "text" | [n, ...] | $attr | %d | %s | %l
 *
 * The texts are ours, so a fault in one is met by an assertion.               */
#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "ir/grad.h"

typedef struct {
  GradCx *g;
  const char *s;
  va_list *ap;
} Text;

static void space(Text *t) {
  while (*t->s == ' ') t->s++;
}
static bool take(Text *t, char c) {
  space(t);
  if (*t->s != c) return false;
  t->s++;
  return true;
}
static void want(Text *t, char c) {
  bool there = take(t, c);
  assert(there);
  (void)there;
}
static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_' || c == '.'; }

/* A name may have dots: nn.relu.  A dot before a digit is a projection. */
static const char *word(Text *t) {
  space(t);
  const char *from = t->s;
  while (is_word(*t->s) && !(*t->s == '.' && isdigit((unsigned char)t->s[1]))) t->s++;
  return str_fmt("%.*s", (int)(t->s - from), from);
}

static Atom bind(GradCx *g, Expr *e) { return bb_bind(g->cx, g->bb, e, NULL, BIND_Graph); }

/* ---- attributes ------------------------------------------------------------- */

static AttrVal int_list(int n, const int64_t *at) {
  AttrVal v = {.kind = AV_List, .n = n, .at = NEW_N(AttrVal, n + 1)};
  for (int i = 0; i < n; i++) v.at[i] = (AttrVal){.kind = AV_Int, .bits = 32, .i = at[i]};
  return v;
}

static AttrVal of_call(const GradCx *g, const char *name) {
  const OpAttrVal *v = opattr(g->attrs, name);
  AttrType type = A_Ignored;
  for (int i = 0; i < OP_MAX_ATTRS && g->op->attrs[i].name; i++)
    if (!strcmp(g->op->attrs[i].name, name)) type = g->op->attrs[i].type;
  if (v->none) return (AttrVal){.kind = AV_None};
  switch (type) {
  case A_Int: return (AttrVal){.kind = AV_Int, .bits = 32, .i = v->i};
  case A_Bool: return (AttrVal){.kind = AV_Bool, .i = v->i};
  case A_Float: return (AttrVal){.kind = AV_Float, .bits = 64, .f = v->f};
  case A_Str: return (AttrVal){.kind = AV_Str, .s = v->s};
  case A_DType: return (AttrVal){.kind = AV_Str, .s = dtype_name(v->dtype)};
  case A_IntOrInts:
    if (!v->is_list) return (AttrVal){.kind = AV_Int, .bits = 32, .i = v->i};
    return int_list(v->n, v->ints);
  case A_Ints: return int_list(v->n, v->ints);
  case A_IntsList: {
    AttrVal out = {.kind = AV_List, .n = v->n / 2, .at = NEW_N(AttrVal, v->n / 2 + 1)};
    for (int i = 0; i < out.n; i++) out.at[i] = int_list(2, v->ints + 2 * i);
    return out;
  }
  case A_Floats:
  case A_Ignored: break;
  }
  return (AttrVal){.kind = AV_None};
}

static AttrVal number_attr(Text *t) {
  double f;
  int n = num_read(t->s, strlen(t->s), &f);
  assert(n > 0);
  bool whole = !memchr(t->s, '.', (size_t)n) && !memchr(t->s, 'e', (size_t)n);
  t->s += n;
  if (whole) return (AttrVal){.kind = AV_Int, .bits = 32, .i = (int64_t)f};
  return (AttrVal){.kind = AV_Float, .bits = 64, .f = f};
}

static AttrVal hole_attr(Text *t) {
  switch (*t->s++) {
  case 'd': return (AttrVal){.kind = AV_Int, .bits = 32, .i = va_arg(*t->ap, int64_t)};
  case 's': return (AttrVal){.kind = AV_Str, .s = va_arg(*t->ap, const char *)};
  case 'f': return (AttrVal){.kind = AV_Float, .bits = 64, .f = va_arg(*t->ap, double)};
  case 'p': {
    const GradInts *l = va_arg(*t->ap, const GradInts *);
    AttrVal v = {.kind = AV_List, .n = l->n / 2, .at = NEW_N(AttrVal, l->n / 2 + 1)};
    for (int i = 0; i < v.n; i++) v.at[i] = int_list(2, l->at + 2 * i);
    return v;
  }
  }
  const GradInts *l = va_arg(*t->ap, const GradInts *);
  return int_list(l->n, l->at);
}

static AttrVal attr_value(Text *t) {
  space(t);
  if (take(t, '$')) return of_call(t->g, word(t));
  if (take(t, '%')) return hole_attr(t);
  if (take(t, '"')) {
    const char *from = t->s, *end = strchr(from, '"');
    t->s = end + 1;
    return (AttrVal){.kind = AV_Str, .s = str_fmt("%.*s", (int)(end - from), from)};
  }
  if (take(t, '[')) {
    VEC(AttrVal) at = {0};
    while (!take(t, ']')) {
      AttrVal v = attr_value(t);
      vec_push(&at, v);
      take(t, ',');
    }
    return (AttrVal){.kind = AV_List, .n = at.n, .at = at.at};
  }
  if (isalpha((unsigned char)*t->s)) {
    const char *w = word(t);
    if (!strcmp(w, "None")) return (AttrVal){.kind = AV_None};
    return (AttrVal){.kind = AV_Bool, .i = !strcmp(w, "True")};
  }
  return number_attr(t);
}

/* name= but not name== */
static bool at_attr(const Text *t) {
  const char *s = t->s;
  while (*s == ' ') s++;
  const char *from = s;
  while (is_word(*s)) s++;
  return s > from && *s == '=';
}

/* ---- expressions --------------------------------------------------------------- */

static Atom expr(Text *t);

static int operand(const GradCx *g, const char *name) {
  for (int i = 0; i < OP_MAX_ARGS && g->op->args[i].name; i++)
    if (!strcmp(g->op->args[i].name, name)) return i;
  assert(!"a gradient rule names no operand");
  return 0;
}

/* as(a, data): a in the shape of an operand. */
static Atom shaped(Text *t) {
  Atom a = expr(t);
  want(t, ',');
  int arg = operand(t->g, word(t));
  want(t, ')');
  return gr_reshape(t->g, a, arg);
}

static Atom call(Text *t, const char *name) {
  GradCx *g = t->g;
  if (!strcmp(name, "as")) return shaped(t);
  const OpDef *op = irctx_op(g->cx, sym(g->cx->syms, name));
  assert(op);
  VEC(Atom) arg = {0};
  VEC(Attr) attr = {0};
  while (!take(t, ')')) {
    if (at_attr(t)) {
      Attr a = {.name = sym(g->cx->syms, word(t)), .span = g->span};
      want(t, '=');
      a.val = attr_value(t);
      vec_push(&attr, a);
    } else {
      Atom a = expr(t);
      vec_push(&arg, a);
    }
    take(t, ',');
  }
  Expr *e = ir_expr(EX_Call, g->span);
  e->Call.callee = atom_op(op, g->span);
  e->Call.n_args = arg.n;
  e->Call.args = arg.at;
  e->Call.attrs = (Attrs){attr.n, attr.at};
  return bind(g, e);
}

static Atom named(Text *t, const char *name) {
  GradCx *g = t->g;
  if (!strcmp(name, "g")) return gr_g(g, 0);
  for (int i = 0; i < g->n_args; i++)
    if (!strcmp(g->op->args[i].name, name)) return g->arg[i];
  if (!strcmp(name, "y")) return g->y;
  assert(!"a gradient rule names no operand");
  return g->y;
}

/* What a number is written in: the element type of the gradient. */
static DType literal_type(const GradCx *g) {
  Type *y = type_resolve(g->y_type);
  if (y->kind == TY_Tuple) y = type_resolve(y->tuple.at[0]);
  return y->kind == TY_Tensor && dtype_is_float(y->tensor.dtype) ? y->tensor.dtype : gr_dtype(g, 0);
}

static Atom tuple_or_group(Text *t) {
  VEC(Atom) at = {0};
  bool comma = false;
  while (!take(t, ')')) {
    Atom a = expr(t);
    vec_push(&at, a);
    comma |= take(t, ',');
  }
  if (!comma) return at.at[0];
  Expr *e = ir_expr(EX_Tuple, t->g->span);
  e->Tuple.n_items = at.n;
  e->Tuple.items = at.at;
  return bind(t->g, e);
}

static Atom primary(Text *t) {
  space(t);
  if (take(t, '(')) return tuple_or_group(t);
  if (take(t, '$')) {
    AttrVal v = of_call(t->g, word(t));
    return gr_const(t->g, v.kind == AV_Float ? v.f : (double)v.i, literal_type(t->g));
  }
  if (*t->s == '%' && t->s[1] == 'a') {
    t->s += 2;
    return va_arg(*t->ap, Atom);
  }
  if (isdigit((unsigned char)*t->s)) {
    double v;
    t->s += num_read(t->s, strlen(t->s), &v);
    return gr_const(t->g, v, literal_type(t->g));
  }
  const char *w = word(t);
  assert(*w);
  return take(t, '(') ? call(t, w) : named(t, w);
}

static Atom binary(GradCx *g, char c, Atom a, Atom b) {
  const char *text = c == '+'   ? "add(%a, %a)"
                     : c == '-' ? "subtract(%a, %a)"
                     : c == '*' ? "multiply(%a, %a)"
                                : "divide(%a, %a)";
  return gr(g, text, a, b);
}

static Atom unary(Text *t) {
  if (take(t, '-')) return gr(t->g, "negative(%a)", unary(t));
  Atom a = primary(t);
  while (*t->s == '.' && isdigit((unsigned char)t->s[1])) {
    Expr *e = ir_expr(EX_Proj, t->g->span);
    e->Proj.tuple = a;
    e->Proj.index = (int)strtol(t->s + 1, (char **)(uintptr_t)&t->s, 10);
    a = bind(t->g, e);
  }
  return a;
}

static Atom term(Text *t) {
  Atom a = unary(t);
  for (;;) {
    space(t);
    char c = *t->s;
    if (c != '*' && c != '/') return a;
    t->s++;
    a = binary(t->g, c, a, unary(t));
  }
}

static Atom expr(Text *t) {
  Atom a = term(t);
  for (;;) {
    space(t);
    char c = *t->s;
    if (c != '+' && c != '-') return a;
    t->s++;
    a = binary(t->g, c, a, term(t));
  }
}

Atom gr(GradCx *g, const char *text, ...) {
  va_list ap;
  va_start(ap, text);
  Text t = {g, text, &ap};
  Atom a = expr(&t);
  va_end(ap);
  return a;
}

/* ---- rules ------------------------------------------------------------------------ */

static void skip_part(Text *t) {
  while (*t->s && *t->s != ';') t->s++;
}

void gr_rule(GradCx *g, const char *text) {
  Text t = {g, text, NULL};
  do {
    int i = operand(g, word(&t));
    bool sum = take(&t, '~');
    if (!sum) want(&t, ':');
    if (i < g->n_args && g->wants[i]) {
      Atom a = expr(&t);
      gr_give(g, i, sum && !g->along ? gr_collapse(g, a, i) : a);
    } else {
      skip_part(&t);
    }
  } while (take(&t, ';'));
}
