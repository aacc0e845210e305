/* attr.c -- attribute values: lookup, text, comparison.  */
#include "ir/attr.h"
#include <math.h>
#include <string.h>

const AttrVal *attrs_find(const Attrs *a, const char *name) {
  for (int i = 0; i < a->n; i++)
    if (strcmp(a->at[i].name, name) == 0) return &a->at[i].val;
  return NULL;
}

/* ---- text ---- */

static void put_int(const AttrVal *v, StrBuf *out) {
  bool wide = v->bits == 64 || v->i != (int32_t)v->i;
  buf_fmt(out, "%lld%s", (long long)v->i, wide ? "i64" : v->bits == 16 ? "i16" : "");
}

/* A value read as float32 may still hold the digits of a double: they are
 * kept, so that reading the text again gives the same value. */
static void put_float(const AttrVal *v, StrBuf *out) {
  char text[48];
  double again;
  num_f32((float)v->f, text);
  const char *digits = text + (text[0] == '-');
  bool fits = !isfinite(v->f) || (num_read(digits, strlen(digits), &again) && again == fabs(v->f));
  if (v->bits == 64 || !fits) num_f64(v->f, text);
  bool wide = v->bits == 64 || (v->bits == 0 && !fits);
  buf_fmt(out, "%s%s", text, wide ? "f64" : v->bits == 16 ? "f16" : "f");
}

static void put_string(const char *s, StrBuf *out) {
  buf_char(out, '"');
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\')
      buf_fmt(out, "\\%c", c);
    else if (c == '\n')
      buf_str(out, "\\n");
    else if (c == '\t')
      buf_str(out, "\\t");
    else if (c < 0x20 || c == 0x7f)
      buf_fmt(out, "\\u{%x}", c);
    else
      buf_char(out, (char)c);
  }
  buf_char(out, '"');
}

void attr_print(const AttrVal *v, StrBuf *out) {
  switch (v->kind) {
  case AV_None: buf_str(out, "None"); break;
  case AV_Int: put_int(v, out); break;
  case AV_Float: put_float(v, out); break;
  case AV_Bool: buf_str(out, v->i ? "True" : "False"); break;
  case AV_Str: put_string(v->s, out); break;
  case AV_Other: buf_str(out, v->s); break;
  case AV_List:
    buf_char(out, '[');
    for (int i = 0; i < v->n; i++) {
      if (i) buf_str(out, ", ");
      attr_print(&v->at[i], out);
    }
    buf_char(out, ']');
    break;
  }
}

bool attr_same(const AttrVal *a, const AttrVal *b) {
  if (a->kind != b->kind) return false;
  switch (a->kind) {
  case AV_None: return true;
  case AV_Int:
  case AV_Bool: return a->i == b->i;
  case AV_Float: return memcmp(&a->f, &b->f, sizeof a->f) == 0;
  case AV_Str:
  case AV_Other: return strcmp(a->s, b->s) == 0;
  case AV_List:
    for (int i = 0; i < a->n && a->n == b->n; i++)
      if (!attr_same(&a->at[i], &b->at[i])) return false;
    return a->n == b->n;
  }
  return false;
}
