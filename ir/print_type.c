/* print_type.c -- dims and types as text.
 *
 * See print_type.h for why sums and products are printed in the order of
 * their operands' text.  What has no name (Any, an anonymous symbol, an
 * unsolved inference variable) makes the whole extent print as ?: the text
 * has no arithmetic on unknowns.                                             */
#include "ir/print_type.h"
#include <stdlib.h>
#include <string.h>

static const char *dim_name(Dim s, const TextNames *names) {
  return names && names->dim ? names->dim(names->ud, s) : s->name;
}

static const char *tyvar_name(TyVar *v, const TextNames *names) {
  const char *s = names && names->tyvar ? names->tyvar(names->ud, v) : v->name;
  return s ? s : "_";
}

/* ---- extents ---- */

enum { PREC_SUM, PREC_PRODUCT, PREC_ATOM };

static void note_unnamed(void *ud, Dim s) {
  if (s->kind == DIM_Meta || !s->name) *(bool *)ud = true;
}

static bool is_unnamed(Dim d) {
  bool unnamed = d->kind == DIM_Any;
  dim_visit_syms(d, note_unnamed, &unnamed);
  return unnamed;
}

static const char *dim_text(Dim d, const TextNames *names, int prec);

typedef struct {
  const char *text;
  int64_t coeff;
} Term;
static int by_text(const void *a, const void *b) {
  return strcmp(((const Term *)a)->text, ((const Term *)b)->text);
}

static void put_term(StrBuf *out, const Term *t, const char *sign) {
  uint64_t k = t->coeff < 0 ? 0 - (uint64_t)t->coeff : (uint64_t)t->coeff;
  buf_str(out, sign);
  if (k != 1) buf_fmt(out, "%llu * ", (unsigned long long)k);
  buf_str(out, t->text);
}

/* Terms with + first, then those with -, then the constant; when nothing is
 * added the constant leads: n - m + 1, 3 - n. */
static void put_sum(Dim d, const TextNames *names, StrBuf *out) {
  Term *t = NEW_N(Term, d->n_terms);
  int plus = 0;
  for (int i = 0; i < d->n_terms; i++) {
    int64_t k = d->term[i].coeff;
    t[i] = (Term){dim_text(d->term[i].atom, names, k == 1 ? PREC_SUM : PREC_PRODUCT), k};
    if (k == -1) t[i].text = dim_text(d->term[i].atom, names, PREC_SUM);
    plus += k > 0;
  }
  qsort(t, (size_t)d->n_terms, sizeof *t, by_text);
  int n = 0;
  for (int i = 0; i < d->n_terms; i++)
    if (t[i].coeff > 0) put_term(out, &t[i], n++ ? " + " : "");
  bool lead = plus == 0;
  if (lead) buf_fmt(out, "%lld", d->value > 0 ? (long long)d->value : 0LL);
  for (int i = 0; i < d->n_terms; i++)
    if (t[i].coeff < 0) put_term(out, &t[i], " - ");
  if (d->value > 0 && !lead) buf_fmt(out, " + %lld", (long long)d->value);
  if (d->value < 0) buf_fmt(out, " - %llu", 0 - (unsigned long long)d->value);
}

typedef VEC(Term) Terms;

/* The operands of a chain of one commutative kind, in order of their text. */
static Terms chain_terms(Dim d, const TextNames *names, int prec) {
  Terms t = {0};
  Dim x = d;
  for (; x->kind == d->kind; x = x->a) {
    Term last = {dim_text(x->b, names, prec), 1};
    vec_push(&t, last);
  }
  Term first = {dim_text(x, names, prec), 1};
  vec_push(&t, first);
  qsort(t.at, (size_t)t.n, sizeof *t.at, by_text);
  return t;
}

static void put_product(Dim d, const TextNames *names, StrBuf *out) {
  Terms t = chain_terms(d, names, PREC_PRODUCT);
  for (int i = 0; i < t.n; i++) buf_fmt(out, "%s%s", i ? " * " : "", t.at[i].text);
}

/* max(max(a, b), c) */
static void put_call(Dim d, const TextNames *names, const char *fn, StrBuf *out) {
  Terms t = chain_terms(d, names, PREC_SUM);
  for (int i = 1; i < t.n; i++) buf_fmt(out, "%s(", fn);
  for (int i = 0; i < t.n; i++) buf_fmt(out, i ? ", %s)" : "%s", t.at[i].text);
}

static void put_ratio(Dim d, const TextNames *names, const char *op, StrBuf *out) {
  buf_str(out, dim_text(d->a, names, PREC_ATOM));
  buf_str(out, op);
  buf_str(out, dim_text(d->b, names, PREC_ATOM));
}

static int dim_prec(Dim d) {
  switch (d->kind) {
  case DIM_Const: return d->value < 0 ? PREC_SUM : PREC_ATOM;
  case DIM_Sum: return PREC_SUM;
  case DIM_Mul:
  case DIM_Div:
  case DIM_Mod: return PREC_SUM; /* in a product their order would matter */
  case DIM_Any:
  case DIM_Sym:
  case DIM_Meta:
  case DIM_Max:
  case DIM_Min:
  case DIM_Bcast: break;
  }
  return PREC_ATOM;
}

static void put_dim(Dim d, const TextNames *names, StrBuf *out) {
  const char *name;
  switch (d->kind) {
  case DIM_Const: buf_fmt(out, "%lld", (long long)d->value); break;
  case DIM_Any:
  case DIM_Meta: buf_char(out, '?'); break;
  case DIM_Sym:
    name = dim_name(d, names);
    buf_str(out, name ? name : "?");
    break;
  case DIM_Sum: put_sum(d, names, out); break;
  case DIM_Mul: put_product(d, names, out); break;
  case DIM_Div: put_ratio(d, names, " / ", out); break;
  case DIM_Mod: put_ratio(d, names, " % ", out); break;
  case DIM_Max: put_call(d, names, "max", out); break;
  case DIM_Min: put_call(d, names, "min", out); break;
  case DIM_Bcast: put_call(d, names, "bcast", out); break;
  }
}

static const char *dim_text(Dim d, const TextNames *names, int prec) {
  StrBuf out = {0};
  bool paren = dim_prec(d) < prec && !(prec == PREC_PRODUCT && d->kind == DIM_Mul);
  if (paren) buf_char(&out, '(');
  put_dim(d, names, &out);
  if (paren) buf_char(&out, ')');
  return buf_text(&out);
}

static void dim_print_as(Dim d, const TextNames *names, StrBuf *out) {
  if (is_unnamed(d) || (names && names->relay && d->kind != DIM_Const))
    buf_char(out, '?');
  else
    put_dim(d, names, out);
}

void dim_print(Dim d, StrBuf *out) { dim_print_as(d, NULL, out); }

/* ---- types ---- */

static void put_tensor(const Type *t, const TextNames *names, StrBuf *out) {
  if (t->tensor.rank == 0) {
    buf_str(out, dtype_name(t->tensor.dtype));
    return;
  }
  buf_str(out, "Tensor[(");
  for (int i = 0; i < t->tensor.rank; i++) {
    if (i) buf_str(out, ", ");
    dim_print_as(t->tensor.dim[i], names, out);
  }
  buf_fmt(out, "), %s]", dtype_name(t->tensor.dtype));
}

static void put_list(int n, Type **at, const TextNames *names, StrBuf *out) {
  for (int i = 0; i < n; i++) {
    if (i) buf_str(out, ", ");
    type_print_as(at[i], names, out);
  }
}

static void put_quantifiers(const Type *t, const TextNames *names, StrBuf *out) {
  int n = 0;
  for (int i = 0; i < t->fn.n_vars; i++)
    buf_fmt(out, "%s%s", n++ ? ", " : "[", tyvar_name(t->fn.var[i], names));
  for (int i = 0; i < t->fn.n_dims && !(names && names->relay); i++)
    if (t->fn.dim[i]->name) buf_fmt(out, "%s%s", n++ ? ", " : "[", dim_name(t->fn.dim[i], names));
  if (n) buf_char(out, ']');
}

static void put_fn(const Type *t, const TextNames *names, StrBuf *out) {
  buf_str(out, "fn ");
  put_quantifiers(t, names, out);
  buf_char(out, '(');
  put_list(t->fn.n, t->fn.param, names, out);
  buf_str(out, ") -> ");
  type_print_as(t->fn.ret, names, out);
}

static void put_data(const Type *t, const TextNames *names, StrBuf *out) {
  buf_str(out, t->data.def->name);
  if (t->data.n == 0 && !(names && names->relay)) return;
  buf_char(out, '[');
  put_list(t->data.n, t->data.arg, names, out);
  buf_char(out, ']');
}

void type_print_as(Type *t, const TextNames *names, StrBuf *out) {
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Error:
  case TY_Meta: buf_char(out, '_'); break;
  case TY_Tensor: put_tensor(t, names, out); break;
  case TY_Tuple:
    buf_char(out, '(');
    put_list(t->tuple.n, t->tuple.at, names, out);
    buf_str(out, t->tuple.n == 1 ? ",)" : ")");
    break;
  case TY_Fn: put_fn(t, names, out); break;
  case TY_Data: put_data(t, names, out); break;
  case TY_Ref:
    buf_str(out, "ref(");
    type_print_as(t->ref, names, out);
    buf_char(out, ')');
    break;
  case TY_Var: buf_str(out, tyvar_name(t->var, names)); break;
  }
}

char *type_text(Type *t) {
  StrBuf out = {0};
  type_print_as(t, NULL, &out);
  return (char *)(uintptr_t)buf_text(&out);
}
