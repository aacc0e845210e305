/* op_attrs.c -- the attributes of one call against the operator's record.
 *
 * What the text wrote and the text of a default go through the same door:
 * both become an AttrVal, which is then converted to the declared kind.      */
#include "ir/op.h"
#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/nearest.h"

const OpAttrVal *opattr(const OpAttrs *a, const char *name) {
  for (int i = 0; i < OP_MAX_ATTRS && a->op->attrs[i].name; i++)
    if (strcmp(a->op->attrs[i].name, name) == 0) return &a->at[i];
  assert(!"an attribute that the operator's record does not declare");
  return NULL;
}

/* ---- the text of a default ---- */

typedef struct {
  const char *s;
} Text;

static void skip_space(Text *t) {
  while (*t->s == ' ') t->s++;
}

static bool take_word(Text *t, const char *word) {
  size_t n = strlen(word);
  if (strncmp(t->s, word, n) != 0 || isalnum((unsigned char)t->s[n])) return false;
  t->s += n;
  return true;
}

static AttrVal default_number(Text *t) {
  AttrVal v = {.kind = AV_Other, .s = t->s};
  const char *start = t->s;
  int n = num_read(start, strlen(start), &v.f);
  if (n == 0) return v;
  t->s += n;
  bool fraction = false;
  for (int i = 0; i < n; i++) fraction |= !isdigit((unsigned char)start[i]) && start[i] != '-';
  v.kind = fraction ? AV_Float : AV_Int;
  if (!fraction) v.i = strtoll(start, NULL, 10);
  return v;
}

static AttrVal default_value(Text *t);

static AttrVal default_list(Text *t) {
  VEC(AttrVal) item = {0};
  t->s++;
  for (skip_space(t); *t->s && *t->s != ']' && *t->s != ')'; skip_space(t)) {
    AttrVal v = default_value(t);
    vec_push(&item, v);
    if (v.kind == AV_Other) break;
    skip_space(t);
    if (*t->s == ',') t->s++;
  }
  if (*t->s) t->s++;
  return (AttrVal){.kind = AV_List, .n = item.n, .at = item.at};
}

static AttrVal default_value(Text *t) {
  skip_space(t);
  if (*t->s == '[' || *t->s == '(') return default_list(t);
  if (take_word(t, "None")) return (AttrVal){.kind = AV_None};
  if (take_word(t, "True")) return (AttrVal){.kind = AV_Bool, .i = 1};
  if (take_word(t, "False")) return (AttrVal){.kind = AV_Bool};
  return default_number(t);
}

static AttrVal default_of(const OpAttr *a) {
  Text t = {a->dflt};
  if (strcmp(a->dflt, "None") == 0) return (AttrVal){.kind = AV_None};
  if (a->type == A_Str || a->type == A_DType) return (AttrVal){.kind = AV_Str, .s = a->dflt};
  return default_value(&t);
}

/* ---- conversion: each returns NULL or what is wrong ---- */

static const char *to_int(const AttrVal *v, int64_t *out) {
  switch (v->kind) {
  case AV_Int:
  case AV_Bool: *out = v->i; return NULL;
  case AV_Float:
    if (v->f != floor(v->f) || fabs(v->f) > 9e15) break;
    *out = (int64_t)v->f;
    return NULL;
  case AV_None:
  case AV_Str:
  case AV_List:
  case AV_Other: break;
  }
  return "must be an integer";
}

static const char *to_float(const AttrVal *v, double *out) {
  switch (v->kind) {
  case AV_Int:
  case AV_Bool: *out = (double)v->i; return NULL;
  case AV_Float: *out = v->f; return NULL;
  case AV_None:
  case AV_Str:
  case AV_List:
  case AV_Other: break;
  }
  return "must be a number";
}

static const char *to_bool(const AttrVal *v, int64_t *out) {
  if (v->kind != AV_Bool && !(v->kind == AV_Int && (v->i == 0 || v->i == 1)))
    return "must be True or False";
  *out = v->i;
  return NULL;
}

static const char *to_str(const AttrVal *v, const char **out) {
  if (v->kind != AV_Str) return "must be a string";
  *out = v->s;
  return NULL;
}

static const char *to_dtype(const AttrVal *v, OpAttrVal *out) {
  if (v->kind != AV_Str) return "must be the name of an element type, as \"float32\"";
  out->s = v->s;
  out->none = v->s[0] == 0 || strcmp(v->s, "void") == 0;
  if (!out->none && !dtype_parse(v->s, strlen(v->s), &out->dtype))
    return "is not the name of an element type";
  return NULL;
}

static const char *to_ints(const AttrVal *v, OpAttrVal *out) {
  out->is_list = v->kind == AV_List;
  const AttrVal *at = out->is_list ? v->at : v;
  out->n = out->is_list ? v->n : 1;
  out->ints = NEW_N(int64_t, out->n + 1);
  for (int i = 0; i < out->n; i++)
    if (to_int(&at[i], &out->ints[i])) return "must be a list of integers";
  if (out->n > 0) out->i = out->ints[0];
  return NULL;
}

static const char *to_int_or_ints(const AttrVal *v, OpAttrVal *out) {
  return to_ints(v, out) ? "must be an integer or a list of integers" : NULL;
}

/* [[a, b], [c, d]] or, flat, [a, b, c, d]: pairs, all in ints. */
static const char *to_pairs(const AttrVal *v, OpAttrVal *out) {
  static const char wrong[] = "must be a list of pairs of integers, as [[0, 0], [1, 1]]";
  VEC(int64_t) all = {0};
  if (v->kind != AV_List) return wrong;
  for (int i = 0; i < v->n; i++) {
    OpAttrVal part = {0};
    bool nested = v->at[i].kind == AV_List;
    if (nested != (v->at[0].kind == AV_List) || to_ints(&v->at[i], &part)) return wrong;
    if (nested && part.n != 2) return wrong;
    for (int k = 0; k < part.n; k++) vec_push(&all, part.ints[k]);
  }
  out->is_list = true;
  out->n = all.n;
  out->ints = all.at;
  return all.n % 2 ? wrong : NULL;
}

static const char *to_floats(const AttrVal *v, OpAttrVal *out) {
  out->is_list = v->kind == AV_List;
  const AttrVal *at = out->is_list ? v->at : v;
  out->n = out->is_list ? v->n : 1;
  out->floats = NEW_N(double, out->n + 1);
  for (int i = 0; i < out->n; i++)
    if (to_float(&at[i], &out->floats[i])) return "must be a list of numbers";
  return NULL;
}

static const char *convert(AttrType type, const AttrVal *v, OpAttrVal *out) {
  if (v->kind == AV_None || type == A_Ignored) {
    out->none = v->kind == AV_None;
    out->s = "";
    return NULL;
  }
  switch (type) {
  case A_Int: return to_int(v, &out->i);
  case A_Float: return to_float(v, &out->f);
  case A_Bool: return to_bool(v, &out->i);
  case A_Str: return to_str(v, &out->s);
  case A_DType: return to_dtype(v, out);
  case A_Ints: return to_ints(v, out);
  case A_IntsList: return to_pairs(v, out);
  case A_IntOrInts: return to_int_or_ints(v, out);
  case A_Floats: return to_floats(v, out);
  case A_Ignored: break;
  }
  return NULL;
}

/* ---- what the user meant ---- */

static void help_unknown(const OpDef *op, const char *name, Diags *d) {
  Nearest near = nearest_to(name);
  StrBuf all = {0};
  for (int i = 0; i < OP_MAX_ATTRS && op->attrs[i].name; i++) {
    const char *have = op->attrs[i].name;
    if (op->attrs[i].type == A_Ignored) continue;
    buf_fmt(&all, "%s%s", all.n ? ", " : "", have);
    nearest_try(&near, have);
  }
  if (near.best)
    diag_help(d, "did you mean %s?", near.best);
  else if (all.n)
    diag_help(d, "the attributes of %s are %s", op->name, buf_text(&all));
  else
    diag_help(d, "%s has no attributes", op->name);
}

static const char *found_text(const AttrVal *v) {
  StrBuf b = {0};
  attr_print(v, &b);
  return buf_text(&b);
}

/* ---- binding ---- */

static int find_attr(const OpDef *op, const char *name) {
  for (int i = 0; i < OP_MAX_ATTRS && op->attrs[i].name; i++)
    if (strcmp(op->attrs[i].name, name) == 0) return i;
  return -1;
}

static bool bind_one(OpAttrs *a, const Attr *given, Diags *d) {
  const OpDef *op = a->op;
  int i = find_attr(op, given->name);
  if (i < 0) {
    diag_error(d, given->span, E0205, op->name, given->name);
    help_unknown(op, given->name, d);
    return false;
  }
  const OpAttr *decl = &op->attrs[i];
  OpAttrVal *out = &a->at[i];
  if (out->given) return diag_error(d, given->span, E0206, decl->name, op->name, "is given twice");
  /* None where the record has another default means: not given. */
  if (given->val.kind == AV_None && decl->dflt && strcmp(decl->dflt, "None") != 0) return true;
  out->given = true;
  if (given->val.kind == AV_None && !decl->dflt && decl->type != A_Ignored)
    return diag_error(d, given->span, E0206, decl->name, op->name, "must be given, found None");
  const char *wrong = convert(decl->type, &given->val, out);
  if (!wrong) return true;
  return diag_error(d, given->span, E0206, decl->name, op->name,
                    str_fmt("%s, found %s", wrong, found_text(&given->val)));
}

static bool bind_default(OpAttrs *a, int i, Span call, Diags *d) {
  const OpAttr *decl = &a->op->attrs[i];
  OpAttrVal *out = &a->at[i];
  if (out->given) return true;
  *out = (OpAttrVal){.s = ""};
  if (decl->type == A_Ignored) return true;
  if (!decl->dflt) return diag_error(d, call, E0206, decl->name, a->op->name, "must be given");
  AttrVal v = default_of(decl);
  const char *wrong = convert(decl->type, &v, out);
  if (!wrong) return true;
  return diag_error(d, call, E0206, decl->name, a->op->name,
                    str_fmt("its default \"%s\" %s", decl->dflt, wrong));
}

OpAttrs *opattrs_bind(const OpDef *op, const Attrs *given, Span call, Diags *d) {
  OpAttrs *a = NEW(OpAttrs);
  a->op = op;
  a->at = NEW_N(OpAttrVal, OP_MAX_ATTRS);
  bool ok = true;
  for (int i = 0; i < given->n; i++) ok &= bind_one(a, &given->at[i], d);
  for (int i = 0; i < OP_MAX_ATTRS && op->attrs[i].name; i++) ok &= bind_default(a, i, call, d);
  return ok ? a : NULL;
}
