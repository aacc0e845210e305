/* compare.c -- tensors of a result against a reference; see show.h.          */
#include <math.h>
#include "cli/value/element.h"
#include "cli/value/show.h"

typedef struct {
  double rtol, atol, max_abs, max_rel;
  int64_t first, different;
} Diff;

static void differ(Diff *d, int64_t i) {
  if (d->different++ == 0) d->first = i;
}
static void note_error(Diff *d, double got, double want) {
  double e = fabs(got - want);
  double rel = want != 0 ? e / fabs(want) : e > 0 ? INFINITY : 0;
  if (e > d->max_abs) d->max_abs = e;
  if (rel > d->max_rel) d->max_rel = rel;
}

static void compare_floats(const Tensor *got, const Tensor *want, Diff *d) {
  for (int64_t i = 0; i < got->count; i++) {
    double x = element_get(got, i), y = element_get(want, i);
    if (x == y || (isnan(x) && isnan(y))) continue;
    if (!isfinite(x) || !isfinite(y)) {
      d->max_abs = d->max_rel = INFINITY;
      differ(d, i);
      continue;
    }
    note_error(d, x, y);
    if (fabs(x - y) > d->atol + d->rtol * fabs(y)) differ(d, i);
  }
}

static void compare_ints(const Tensor *got, const Tensor *want, Diff *d) {
  size_t each = (size_t)dtype_bytes(got->dtype);
  const uint8_t *x = got->bytes, *y = want->bytes;
  for (int64_t i = 0; i < got->count; i++, x += each, y += each) {
    if (!memcmp(x, y, each)) continue;
    note_error(d, element_get(got, i), element_get(want, i));
    differ(d, i);
  }
}

/* ---- one tensor ---------------------------------------------------------------------- */
static void put_element(const Tensor *t, int64_t i, StrBuf *out) {
  Tensor one = {.dtype = t->dtype, .count = 1};
  one.bytes = element_at(t, i);
  tensor_text(&one, true, out);
}
static void put_index(const Tensor *t, int64_t i, StrBuf *out) {
  int64_t at[MAX_RANK];
  for (int k = t->rank - 1; k >= 0; k--) at[k] = i % t->dim[k], i /= t->dim[k];
  buf_char(out, '[');
  for (int k = 0; k < t->rank; k++) buf_fmt(out, "%s%lld", k ? ", " : "", (long long)at[k]);
  buf_char(out, ']');
}

static bool same_type(const Tensor *got, const Tensor *want) {
  bool widened = got->dtype == DT_bf16 && want->dtype == DT_f32;
  if (got->rank != want->rank || (got->dtype != want->dtype && !widened)) return false;
  for (int i = 0; i < got->rank; i++)
    if (got->dim[i] != want->dim[i]) return false;
  return true;
}

static bool compare_one(const char *name, const Tensor *got, const Tensor *want, double rtol,
                        double atol, StrBuf *report) {
  Diff d = {.rtol = rtol, .atol = atol};
  buf_fmt(report, "%s: ", shown(name));
  if (!same_type(got, want)) {
    type_text_of(got->dtype, got->rank, got->dim, report);
    buf_str(report, " where ");
    type_text_of(want->dtype, want->rank, want->dim, report);
    buf_str(report, " is expected\n");
    return false;
  }
  (dtype_is_float(got->dtype) ? compare_floats : compare_ints)(got, want, &d);
  buf_fmt(report, "max abs error %.3g, max rel error %.3g", d.max_abs, d.max_rel);
  if (d.different) {
    buf_fmt(report, "; %lld of %lld differ, first at ", (long long)d.different,
            (long long)got->count);
    put_index(got, d.first, report);
    buf_str(report, ": ");
    put_element(got, d.first, report);
    buf_str(report, " where ");
    put_element(want, d.first, report);
    buf_str(report, " is expected");
  }
  buf_char(report, '\n');
  return d.different == 0;
}

/* The same place first: large results have many leaves in the same order. */
static const Tensor *partner(const TensorSet *ts, int i, const char *name) {
  if (i < ts->n && !strcmp(ts->at[i].name, name)) return ts->at[i].value;
  return tensor_find(ts, name);
}

bool compare_sets(const TensorSet *got, const TensorSet *want, double rtol, double atol,
                  StrBuf *report) {
  bool same = true;
  /* The one tensor of a .npy has no name. */
  if (got->n == 1 && want->n == 1 && !want->at[0].name[0])
    return compare_one(got->at[0].name, got->at[0].value, want->at[0].value, rtol, atol, report);
  for (int i = 0; i < got->n; i++) {
    const Tensor *t = partner(want, i, got->at[i].name);
    if (t)
      same &= compare_one(got->at[i].name, got->at[i].value, t, rtol, atol, report);
    else
      buf_fmt(report, "%s: the reference has no such tensor\n", shown(got->at[i].name)),
          same = false;
  }
  for (int i = 0; i < want->n; i++) {
    if (partner(got, i, want->at[i].name)) continue;
    buf_fmt(report, "%s: the result has no such tensor\n", shown(want->at[i].name));
    same = false;
  }
  return same;
}
