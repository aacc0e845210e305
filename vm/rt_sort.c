/* rt_sort.c -- ordering: what the runtime kernels share, sort, argsort, topk.
 *
 * Every element type is ordered through one 64-bit key, so there is one sort:
 * a stable merge of (key, index) pairs, insertion below sixteen.             */
#include "vm/rt.h"

/* ---- shared helpers ------------------------------------------------------------ */

RtStatus rt_fail(RtCall *c, const char *what, int64_t number) {
  msg_text(c->why, c->name);
  msg_text(c->why, ": ");
  msg_text(c->why, what);
  if (number != INT64_MIN) msg_int(c->why, number);
  return RT_FAIL;
}

RtStatus rt_out(RtCall *c, int i, int rank, const int64_t *dim) {
  RtOut *o = &c->out[i];
  if (o->rank != rank) return rt_fail(c, "the rank of a result is not ", o->rank);
  o->x = heap_tensor(c->heap, o->t, rank, dim);
  return o->x ? RT_OK : RT_NO_MEMORY;
}

void *rt_get(RtCall *c, int64_t n, size_t each) {
  if ((uint64_t)n > SIZE_MAX / 2 / each) return NULL;
  return heap_scratch(c->heap, NULL, 0, (size_t)n * each + 1);
}

void rt_put(RtCall *c, void *p, int64_t n, size_t each) {
  if (p) heap_scratch(c->heap, p, (size_t)n * each + 1, 0);
}

bool rt_int(RtCall *c, int i, int64_t *v) {
  const RtIn *x = &c->in[i];
  if (x->count != 1) {
    rt_fail(c, "one number is needed, not ", x->count);
    return false;
  }
  *v = (int64_t)rt_slot(x, 0);
  return true;
}

bool rt_float(RtCall *c, int i, double *v) {
  const RtIn *x = &c->in[i];
  if (x->count != 1) {
    rt_fail(c, "one number is needed, not ", x->count);
    return false;
  }
  *v = slot_to_double(rt_slot(x, 0), x->t);
  return true;
}

static int axis_of(int64_t axis, int rank) {
  if (axis < 0) axis += rank;
  return axis >= 0 && axis < rank ? (int)axis : -1;
}

/* ---- keys ------------------------------------------------------------------------ */

uint64_t rt_key(uint64_t slot, DType t) {
  const uint64_t top = (uint64_t)1 << 63;
  if (!dtype_is_float(t)) return dtype_is_signed(t) ? slot ^ top : slot;
  double d = slot_to_double(slot, t);
  if (d != d) return UINT64_MAX;
  if (d == 0) d = 0; /* -0 is 0                       */
  uint64_t u;
  memcpy(&u, &d, 8);
  return u & top ? ~u : u | top;
}

static void insertion(RtKey *k, int64_t n) {
  for (int64_t i = 1; i < n; i++) {
    RtKey x = k[i];
    int64_t j = i;
    for (; j > 0 && k[j - 1].key > x.key; j--) k[j] = k[j - 1];
    k[j] = x;
  }
}

static void merge(const RtKey *a, int64_t na, const RtKey *b, int64_t nb, RtKey *out) {
  int64_t i = 0, j = 0;
  while (i < na && j < nb) *out++ = b[j].key < a[i].key ? b[j++] : a[i++];
  while (i < na) *out++ = a[i++];
  while (j < nb) *out++ = b[j++];
}

/* Descending order is ascending order of the complements: stable as well. */
void rt_sort_keys(RtKey *k, RtKey *scratch, int64_t n, bool descending) {
  enum { RUN = 16 };
  for (int64_t i = 0; descending && i < n; i++) k[i].key = ~k[i].key;
  for (int64_t i = 0; i < n; i += RUN) insertion(k + i, n - i < RUN ? n - i : RUN);
  RtKey *from = k, *to = scratch;
  for (int64_t w = RUN; w < n; w *= 2) {
    for (int64_t i = 0; i < n; i += 2 * w) {
      int64_t na = n - i < w ? n - i : w, nb = n - i - na < w ? n - i - na : w;
      merge(from + i, na, from + i + na, nb, to + i);
    }
    RtKey *t = from;
    from = to;
    to = t;
  }
  if (from != k && n > 0) memcpy(k, from, (size_t)n * sizeof *k);
  for (int64_t i = 0; descending && i < n; i++) k[i].key = ~k[i].key;
}

/* ---- along an axis ------------------------------------------------------------------ */

typedef struct {
  int64_t outer, n, inner;
} Axis;

static bool split(RtCall *c, int64_t axis, Axis *a, int *at) {
  const RtIn *x = &c->in[0];
  *at = axis_of(axis, x->rank);
  if (*at < 0) {
    rt_fail(c, "no such axis: ", axis);
    return false;
  }
  *a = (Axis){1, x->dim[*at], 1};
  if (x->count == 0) {
    a->outer = 0;
    return true;
  } /* the products may not fit */
  for (int i = 0; i < *at; i++) a->outer *= x->dim[i];
  for (int i = *at + 1; i < x->rank; i++) a->inner *= x->dim[i];
  return true;
}

/* The sorted lines along an axis, the first k of each given to values, indices
 * or both (outputs by number, -1: not wanted). */
static RtStatus sorted(RtCall *c, Axis a, int64_t k, bool descending, int values, int indices) {
  const RtIn *x = &c->in[0];
  if (a.outer == 0) return RT_OK;
  int64_t room = 2 * a.n;
  RtKey *key = rt_get(c, room, sizeof *key);
  if (!key) return RT_NO_MEMORY;
  for (int64_t o = 0; o < a.outer; o++)
    for (int64_t i = 0; i < a.inner; i++) {
      int64_t from = o * a.n * a.inner + i, to = o * k * a.inner + i;
      for (int64_t j = 0; j < a.n; j++)
        key[j] = (RtKey){rt_key(rt_slot(x, from + j * a.inner), x->t), j};
      rt_sort_keys(key, key + a.n, a.n, descending);
      for (int64_t j = 0; j < k; j++, to += a.inner) {
        if (values >= 0) rt_set(&c->out[values], to, rt_slot(x, from + key[j].at * a.inner));
        if (indices >= 0) rt_set(&c->out[indices], to, (uint64_t)key[j].at);
      }
    }
  rt_put(c, key, room, sizeof *key);
  return RT_OK;
}

static RtStatus same_type(RtCall *c, int out) {
  return c->out[out].t == c->in[0].t ? RT_OK
                                     : rt_fail(c, "the result has another element type", INT64_MIN);
}

static RtStatus whole(RtCall *c, int values, int indices) {
  Axis a;
  int at;
  if (!split(c, c->num[0], &a, &at)) return RT_FAIL;
  RtStatus s = rt_out(c, 0, c->in[0].rank, c->in[0].dim);
  return s != RT_OK ? s : sorted(c, a, a.n, c->num[1] == 0, values, indices);
}

RtStatus rt_sort(RtCall *c) {
  RtStatus s = same_type(c, 0);
  return s != RT_OK ? s : whole(c, 0, -1);
}

RtStatus rt_argsort(RtCall *c) { return whole(c, -1, 0); }

RtStatus rt_topk(RtCall *c) {
  Axis a;
  int at;
  int64_t k, dim[RT_MAX_RANK];
  RtStatus s = same_type(c, 0);
  if (s != RT_OK) return s;
  if (!split(c, c->num[0], &a, &at) || !rt_int(c, 1, &k)) return RT_FAIL;
  if (k < 1) k = a.n;
  if (k > a.n) return rt_fail(c, "k is larger than the axis: ", k);
  memcpy(dim, c->in[0].dim, (size_t)c->in[0].rank * sizeof *dim);
  dim[at] = k;
  for (int i = 0; i < 2; i++) {
    s = rt_out(c, i, c->in[0].rank, dim);
    if (s != RT_OK) return s;
  }
  return sorted(c, a, k, c->num[1] == 0, 0, 1);
}
