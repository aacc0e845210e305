/* layout.c -- layout strings.                                                 */
#include "stdlib/layout.h"
#include <string.h>

bool layout_parse(const char *s, Layout *out) {
  *out = (Layout){0};
  for (; *s; s++) {
    int64_t inner = 0;
    for (; *s >= '0' && *s <= '9'; s++)
      if ((inner = inner * 10 + (*s - '0')) > 1 << 20) return false;
    bool upper = *s >= 'A' && *s <= 'Z', lower = *s >= 'a' && *s <= 'z';
    if ((!upper && !lower) || upper != (inner == 0) || out->n == MAX_RANK) return false;
    char letter = upper ? *s : (char)(*s - 'a' + 'A');
    for (int i = 0; i < out->n; i++)
      if (out->axis[i].letter == letter && (out->axis[i].inner != 0) == (inner != 0)) return false;
    out->axis[out->n++] = (LayoutAxis){letter, inner};
  }
  for (int i = 0; i < out->n; i++) { /* every inner part has its axis    */
    bool found = out->axis[i].inner == 0;
    for (int j = 0; j < out->n && !found; j++)
      found = out->axis[j].letter == out->axis[i].letter && out->axis[j].inner == 0;
    if (!found) return false;
  }
  return out->n > 0;
}

bool layout_want(Rel *r, const char *attr, const char *text, const char *letters, Layout *out) {
  if (!text || !layout_parse(text, out))
    return rel_error(r, "%s=\"%s\" is not a layout", attr, text ? text : "");
  size_t primal = 0;
  for (int i = 0; i < out->n; i++) {
    if (!strchr(letters, out->axis[i].letter))
      return rel_error(r, "%s=\"%s\" has axis %c; its axes must be %s in some order", attr, text,
                       out->axis[i].letter, letters);
    primal += out->axis[i].inner == 0;
  }
  if (primal != strlen(letters))
    return rel_error(r, "%s=\"%s\" must have the axes %s", attr, text, letters);
  return true;
}

bool layout_of_operand(Rel *r, int i, const Layout *l) {
  if (!rel_want_rank(r, i, l->n)) return false;
  TensorTy x = rel_tensor(r, i);
  for (int a = 0; a < l->n; a++)
    if (l->axis[a].inner && !rel_same_dim(r, x.dim[a], dim_const(rel_dims(r), l->axis[a].inner),
                                          "an inner axis and its extent in the layout"))
      return false;
  return true;
}

bool layout_whole(Rel *r, const Layout *l, const char *letters, const Dim *extent) {
  DimTab *t = rel_dims(r);
  for (int i = 0; letters[i]; i++) {
    int64_t f = layout_factor(l, letters[i]);
    if (f > 1 && !rel_same_dim(r, dim_mod(t, extent[i], dim_const(t, f)), dim_const(t, 0),
                               "an extent modulo its block in the layout and zero"))
      return false;
  }
  return true;
}

int64_t layout_factor(const Layout *l, char letter) {
  for (int i = 0; i < l->n; i++)
    if (l->axis[i].letter == letter && l->axis[i].inner) return l->axis[i].inner;
  return 1;
}

Dim layout_extent(DimTab *t, const Layout *l, const Dim *dim, char letter) {
  Dim d = dim_const(t, 1);
  for (int i = 0; i < l->n; i++)
    if (l->axis[i].letter == letter) d = dim_mul(t, d, dim[i]);
  return d;
}

void layout_shape(DimTab *t, const Layout *l, const char *letters, const Dim *extent, Dim *out) {
  for (int i = 0; i < l->n; i++) {
    LayoutAxis a = l->axis[i];
    int64_t f = layout_factor(l, a.letter);
    Dim e = extent[strchr(letters, a.letter) - letters];
    out[i] = a.inner ? dim_const(t, a.inner) : f == 1 ? e : dim_ceildiv(t, e, dim_const(t, f));
  }
}

void layout_index(OpK *k, const Layout *l, const char *letters, const KE *logical, KE *out) {
  for (int i = 0; i < l->n; i++) {
    LayoutAxis a = l->axis[i];
    KE f = kb_int(k->b, layout_factor(l, a.letter)),
       e = logical[strchr(letters, a.letter) - letters];
    out[i] = a.inner ? kb_fmod(k->b, e, f) : kb_fdiv(k->b, e, f);
  }
}

bool window_want(Rel *r, const char *name, int n, int64_t least) {
  const OpAttrVal *v = opattr(rel_attrs(r), name);
  if (v->n > 1 && v->n != n)
    return rel_error(r, "%s has %d values; it takes 1 or %d", name, v->n, n);
  for (int i = 0; i < v->n; i++)
    if (v->ints[i] < least || v->ints[i] > (int64_t)1 << 31)
      return rel_error(r, "%s must be at least %lld and at most 2^31, found %lld", name,
                       (long long)least, (long long)v->ints[i]);
  return true;
}

bool window_want_padding(Rel *r, int n, const int64_t *before, const int64_t *after) {
  int64_t most = (int64_t)1 << 31;
  for (int i = 0; i < n; i++)
    if (before[i] < 0 || after[i] < 0 || before[i] > most || after[i] > most)
      return rel_error(r, "padding must be at least 0 and at most 2^31");
  return true;
}

void window_ints(const OpAttrs *a, const char *name, int n, int64_t dflt, int64_t *out) {
  const OpAttrVal *v = opattr(a, name);
  for (int i = 0; i < n; i++) {
    int last = i < v->n ? i : v->n - 1;
    out[i] = v->n == 0 ? dflt : v->ints[v->n == 1 ? 0 : last];
  }
}

bool window_padding(const OpAttrs *a, int n, int64_t *before, int64_t *after) {
  const OpAttrVal *p = opattr(a, "padding");
  if (p->n != 1 && p->n != n && p->n != 2 * n) return false;
  for (int i = 0; i < n; i++) {
    before[i] = p->ints[p->n == 1 ? 0 : i];
    after[i] = p->n == 2 * n ? p->ints[i + n] : before[i];
  }
  return true;
}
