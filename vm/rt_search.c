/* rt_search.c -- finding: argwhere, unique, searchsorted. */
#include "vm/rt.h"

/* ---- argwhere --------------------------------------------------------------------- */

static bool is_nonzero(const RtIn *x, int64_t i) {
  uint64_t v = rt_slot(x, i);
  return dtype_is_float(x->t) ? slot_to_double(v, x->t) != 0 : v != 0;
}

RtStatus rt_argwhere(RtCall *c) {
  const RtIn *x = &c->in[0];
  int64_t n = 0, at[RT_MAX_RANK] = {0};
  for (int64_t i = 0; i < x->count; i++) n += is_nonzero(x, i);
  RtStatus s = rt_out(c, 0, 2, (int64_t[]){n, x->rank});
  if (s != RT_OK) return s;
  int64_t to = 0;
  for (int64_t i = 0; i < x->count; i++) {
    if (is_nonzero(x, i))
      for (int d = 0; d < x->rank; d++) rt_set(&c->out[0], to++, (uint64_t)at[d]);
    for (int d = x->rank - 1; d >= 0 && ++at[d] == x->dim[d]; d--) at[d] = 0;
  }
  return RT_OK;
}

/* ---- unique ------------------------------------------------------------------------ */

enum { VALUES, FIRST, INVERSE, COUNTS, NUMBER };

/* A group of equal elements: where it starts among the sorted, how many. */
typedef struct {
  int64_t start, count;
} Group;

static int64_t group(const RtKey *k, int64_t n, Group *g) {
  int64_t groups = 0;
  for (int64_t i = 0; i < n; i++) {
    if (i == 0 || k[i].key != k[i - 1].key) g[groups++] = (Group){i, 0};
    g[groups - 1].count++;
  }
  return groups;
}

static void unique_write(RtCall *c, const RtKey *k, const Group *g, int64_t groups,
                         const RtKey *order) {
  const RtIn *x = &c->in[0];
  for (int64_t to = 0; to < groups; to++) {
    const Group *q = &g[order[to].at];
    rt_set(&c->out[VALUES], to, rt_slot(x, k[q->start].at));
    rt_set(&c->out[FIRST], to, (uint64_t)k[q->start].at);
    rt_set(&c->out[COUNTS], to, (uint64_t)q->count);
    for (int64_t i = q->start; i < q->start + q->count; i++)
      rt_set(&c->out[INVERSE], k[i].at, (uint64_t)to);
  }
  for (int64_t to = groups; to < x->count; to++) { /* the padding */
    rt_set(&c->out[VALUES], to, 0);
    rt_set(&c->out[FIRST], to, (uint64_t)x->count);
    rt_set(&c->out[COUNTS], to, 0);
  }
  rt_set(&c->out[NUMBER], 0, (uint64_t)groups);
}

/* Sorted: groups by value; else by first occurrence.  The sort is stable, so
 * the first of a group is the first in the input. */
RtStatus rt_unique(RtCall *c) {
  const RtIn *x = &c->in[0];
  int64_t n = x->count, one = 1;
  if (x->rank != 1) return rt_fail(c, "a vector is needed, not rank ", x->rank);
  if (c->out[VALUES].t != x->t) return rt_fail(c, "the result has another element type", INT64_MIN);
  for (int i = 0; i < 5; i++) {
    RtStatus s = rt_out(c, i, 1, i == NUMBER ? &one : &n);
    if (s != RT_OK) return s;
  }
  RtKey *k = rt_get(c, 3 * n, sizeof *k), *order = k ? k + n : NULL;
  Group *g = rt_get(c, n, sizeof *g);
  if (k && g) {
    for (int64_t i = 0; i < n; i++) k[i] = (RtKey){rt_key(rt_slot(x, i), x->t), i};
    rt_sort_keys(k, order, n, false);
    int64_t groups = group(k, n, g);
    for (int64_t i = 0; i < groups; i++)
      order[i] = (RtKey){(uint64_t)(c->num[0] ? i : k[g[i].start].at), i};
    rt_sort_keys(order, order + n, groups, false);
    unique_write(c, k, g, groups, order);
  }
  rt_put(c, g, n, sizeof *g);
  rt_put(c, k, 3 * n, sizeof *k);
  return k && g ? RT_OK : RT_NO_MEMORY;
}

/* ---- searchsorted -------------------------------------------------------------------- */

/* The sequences are one vector for all, or one row for each row of the values. */
static RtStatus rows_fit(RtCall *c) {
  const RtIn *seq = &c->in[0], *v = &c->in[1];
  if (seq->rank < 1) return rt_fail(c, "the sequence has rank ", seq->rank);
  if (seq->t != v->t) return rt_fail(c, "sequence and values differ in element type", INT64_MIN);
  if (seq->rank == 1) return RT_OK;
  if (seq->rank != v->rank) return rt_fail(c, "the ranks of sequence and values differ", INT64_MIN);
  for (int i = 0; i + 1 < seq->rank; i++)
    if (seq->dim[i] != v->dim[i]) return rt_fail(c, "sequence and values differ in axis ", i);
  return RT_OK;
}

static int64_t bound(const RtIn *seq, int64_t row, int64_t n, uint64_t key, bool right) {
  int64_t lo = 0, hi = n;
  while (lo < hi) {
    int64_t mid = lo + (hi - lo) / 2;
    uint64_t k = rt_key(rt_slot(seq, row * n + mid), seq->t);
    if (k < key || (right && k == key))
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

RtStatus rt_searchsorted(RtCall *c) {
  const RtIn *seq = &c->in[0], *v = &c->in[1];
  RtStatus s = rows_fit(c);
  if (s == RT_OK) s = rt_out(c, 0, v->rank, v->dim);
  if (s != RT_OK) return s;
  int64_t n = seq->dim[seq->rank - 1], per = v->rank ? v->dim[v->rank - 1] : 1;
  for (int64_t i = 0; i < v->count; i++) {
    int64_t row = seq->rank == 1 ? 0 : i / per;
    rt_set(&c->out[0], i,
           (uint64_t)bound(seq, row, n, rt_key(rt_slot(v, i), v->t), c->num[0] != 0));
  }
  return RT_OK;
}
