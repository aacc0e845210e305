/* rt_nms.c -- the family of non-maximum suppression, as TVM 0.10 runs it on a
 * CPU: a box survives when no better surviving box overlaps it enough.
 *
 * Boxes are rows of a (batch, boxes, columns) tensor, four of the columns being
 * two opposite corners.  Arithmetic is in the element type of the boxes: each
 * step is computed in double and rounded, which gives the same bits.         */
#include "vm/rt.h"

/* ---- boxes -------------------------------------------------------------------- */

typedef struct {
  const RtIn *x;
  int64_t boxes, columns;
} Boxes; /* of one batch entry: see row */

static double rounded(const RtIn *x, double v) {
  return slot_to_double(slot_of_double(v, x->t), x->t);
}
static double at(const Boxes *b, int64_t row, int64_t column) {
  return slot_to_double(rt_slot(b->x, row * b->columns + column), b->x->t);
}
static double low(double a, double b) { return a < b ? a : b; }
static double high(double a, double b) { return a > b ? a : b; }

typedef struct {
  double l, t, r, b;
} Corners;
static Corners corners(const Boxes *b, int64_t row, int64_t start) {
  double x0 = at(b, row, start), y0 = at(b, row, start + 1);
  double x1 = at(b, row, start + 2), y1 = at(b, row, start + 3);
  return (Corners){low(x0, x1), low(y0, y1), high(x0, x1), high(y0, y1)};
}

/* Intersection over union; 0 when the union is empty. */
static double overlap(const RtIn *x, Corners p, Corners q) {
  double w = high(0, rounded(x, low(p.r, q.r) - high(p.l, q.l)));
  double h = high(0, rounded(x, low(p.b, q.b) - high(p.t, q.t)));
  double both = rounded(x, h * w);
  double pa = rounded(x, rounded(x, p.r - p.l) * rounded(x, p.b - p.t));
  double qa = rounded(x, rounded(x, q.r - q.l) * rounded(x, q.b - q.t));
  double all = rounded(x, rounded(x, pa + qa) - both);
  return all <= 0 ? 0 : rounded(x, both / all);
}

static bool is_boxes(RtCall *c, Boxes *b) {
  const RtIn *x = &c->in[0];
  if (x->rank != 3) {
    rt_fail(c, "the boxes have rank ", x->rank);
    return false;
  }
  if (!dtype_is_float(x->t)) {
    rt_fail(c, "the boxes are not of a float type", INT64_MIN);
    return false;
  }
  *b = (Boxes){x, x->dim[1], x->dim[2]};
  return true;
}

static bool column_ok(RtCall *c, const Boxes *b, int64_t i, int64_t n, const char *what) {
  if (i >= 0 && n <= b->columns && i <= b->columns - n) return true;
  rt_fail(c, what, i);
  return false;
}

static RtStatus out_as(RtCall *c, int i, const RtIn *like) {
  if (c->out[i].t != like->t) return rt_fail(c, "a result has another element type", INT64_MIN);
  return rt_out(c, i, like->rank, like->dim);
}

/* ---- get_valid_counts: outputs count (b), boxes, indices (b, n) -------------------- */

static void put_row(const RtOut *o, int64_t to, const Boxes *b, int64_t from) {
  for (int64_t k = 0; k < b->columns; k++)
    rt_set(o, to * b->columns + k, rt_slot(b->x, from * b->columns + k));
}
static void put_void(const RtOut *o, int64_t to, int64_t columns) {
  for (int64_t k = 0; k < columns; k++) rt_set(o, to * columns + k, slot_of_double(-1, o->t));
}

RtStatus rt_valid_counts(RtCall *c) {
  Boxes b;
  double least;
  int64_t id = c->num[0], score = c->num[1];
  if (!is_boxes(c, &b) || !rt_float(c, 1, &least)) return RT_FAIL;
  if (!column_ok(c, &b, score, 1, "no such score_index: ")) return RT_FAIL;
  if (id >= 0 && !column_ok(c, &b, id, 1, "no such id_index: ")) return RT_FAIL;
  RtStatus s = rt_out(c, 0, 1, b.x->dim);
  if (s == RT_OK) s = out_as(c, 1, b.x);
  if (s == RT_OK) s = rt_out(c, 2, 2, b.x->dim);
  least = rounded(b.x, least);
  for (int64_t i = 0; s == RT_OK && i < b.x->dim[0]; i++) {
    int64_t first = i * b.boxes, n = 0;
    for (int64_t j = 0; j < b.boxes; j++) {
      if (!(at(&b, first + j, score) > least) || (id >= 0 && !(at(&b, first + j, id) >= 0)))
        continue;
      put_row(&c->out[1], first + n, &b, first + j);
      rt_set(&c->out[2], first + n++, (uint64_t)j);
    }
    rt_set(&c->out[0], i, (uint64_t)n);
    for (int64_t j = n; j < b.boxes; j++) {
      put_void(&c->out[1], first + j, b.columns);
      rt_set(&c->out[2], first + j, (uint64_t)-1);
    }
  }
  return s;
}

/* ---- non_max_suppression ------------------------------------------------------------
 *
 * n0 force_suppress  n1 top_k  n2 coord_start  n3 score_index  n4 id_index
 * n5 return_indices  n6 invalid_to_bottom.  A negative id_index: no classes.
 *
 * Outputs: the boxes in order of score, suppressed ones all -1 (moved to the
 * end with n6); their indices (b, n), -1 for the suppressed (moved to the end
 * and translated through input 2 with n5); the number of indices kept (b, 1). */

enum { FORCE, TOP_K, COORD, SCORE, ID, RETURN_INDICES, TO_BOTTOM };

typedef struct {
  RtCall *c;
  Boxes b;
  int64_t max; /* boxes to keep; negative: all  */
  double iou;
  RtKey *key;   /* room for 2 * boxes            */
  int64_t *box; /* of this batch entry: by score, or -1 */
} Nms;

/* The first `valid` rows by descending score, the first of equals first; at
 * most top_k of them.  Without a threshold: as they come. */
static void nms_order(Nms *m, int64_t first, int64_t valid) {
  const int64_t *num = m->c->num;
  int64_t keep = num[TOP_K] > 0 && num[TOP_K] < valid ? num[TOP_K] : valid;
  for (int64_t j = 0; j < m->b.boxes; j++) m->box[j] = -1;
  if (!(m->iou > 0)) {
    for (int64_t j = 0; j < valid; j++) m->box[j] = j;
    return;
  }
  for (int64_t j = 0; j < valid; j++) {
    uint64_t s = rt_slot(m->b.x, (first + j) * m->b.columns + num[SCORE]);
    m->key[j] = (RtKey){rt_key(s, m->b.x->t), j};
  }
  rt_sort_keys(m->key, m->key + m->b.boxes, valid, true);
  for (int64_t j = 0; j < keep; j++) m->box[j] = m->key[j].at;
}

static bool rivals(const Nms *m, int64_t row, int64_t better) {
  const int64_t *num = m->c->num;
  if (!(at(&m->b, better, num[SCORE]) > 0)) return false;
  if (num[ID] < 0) return true;
  double id = at(&m->b, better, num[ID]);
  return id >= 0 && (num[FORCE] || id == at(&m->b, row, num[ID]));
}

static void nms_suppress(Nms *m, int64_t first, int64_t valid) {
  const int64_t *num = m->c->num;
  int64_t kept = 0;
  for (int64_t j = 0; j < valid; j++) {
    if (kept == m->max) {
      m->box[j] = -1;
      continue;
    }
    if (m->box[j] < 0 || !(at(&m->b, first + m->box[j], num[SCORE]) > 0)) continue;
    int64_t row = first + m->box[j];
    Corners p = corners(&m->b, row, num[COORD]);
    bool good = true;
    for (int64_t k = 0; good && k < j; k++) {
      if (m->box[k] < 0 || !rivals(m, row, first + m->box[k])) continue;
      Corners q = corners(&m->b, first + m->box[k], num[COORD]);
      good = !(overlap(m->b.x, p, q) >= m->iou);
    }
    if (good)
      kept++;
    else
      m->box[j] = -1;
  }
}

/* As in TVM a row counts as invalid here when its first column is negative. */
static void nms_write_boxes(Nms *m, int64_t first) {
  const RtOut *o = &m->c->out[0];
  int64_t n = 0;
  for (int64_t j = 0; j < m->b.boxes; j++) {
    bool down = m->c->num[TO_BOTTOM] && !m->c->num[RETURN_INDICES];
    int64_t row = m->box[j] < 0 ? -1 : first + m->box[j];
    if (down && row >= 0 && !(at(&m->b, row, 0) >= 0)) row = -1;
    if (row >= 0)
      put_row(o, first + (down ? n++ : j), &m->b, row);
    else if (!down)
      put_void(o, first + j, m->b.columns);
    if (down && j >= n) put_void(o, first + j, m->b.columns);
  }
}

static void nms_write_indices(Nms *m, int64_t first, int64_t batch) {
  const RtCall *c = m->c;
  bool translate = c->num[RETURN_INDICES] != 0;
  int64_t n = 0, to = 0;
  for (int64_t j = 0; j < m->b.boxes; j++) {
    int64_t v = m->box[j];
    if (v >= 0 && translate) v = (int64_t)rt_slot(&c->in[2], first + v);
    if (v >= 0) n++;
    if (!translate || v >= 0) rt_set(&c->out[1], first + to++, (uint64_t)v);
  }
  while (to < m->b.boxes) rt_set(&c->out[1], first + to++, (uint64_t)-1);
  rt_set(&c->out[2], batch, (uint64_t)n);
}

static RtStatus nms_check(RtCall *c, Nms *m) {
  const int64_t *num = c->num;
  m->c = c;
  if (!is_boxes(c, &m->b) || !rt_int(c, 3, &m->max) || !rt_float(c, 4, &m->iou)) return RT_FAIL;
  const int64_t *dim = m->b.x->dim;
  if (!column_ok(c, &m->b, num[COORD], 4, "no four columns at coord_start: ") ||
      !column_ok(c, &m->b, num[SCORE], 1, "no such score_index: "))
    return RT_FAIL;
  if (num[ID] >= 0 && !column_ok(c, &m->b, num[ID], 1, "no such id_index: ")) return RT_FAIL;
  if (c->in[1].count != dim[0])
    return rt_fail(c, "valid_count needs one number per batch, not ", c->in[1].count);
  if (num[RETURN_INDICES] &&
      (c->in[2].rank != 2 || c->in[2].dim[0] != dim[0] || c->in[2].dim[1] != dim[1]))
    return rt_fail(c, "indices and boxes differ in shape", INT64_MIN);
  m->iou = rounded(m->b.x, m->iou);
  RtStatus s = out_as(c, 0, m->b.x);
  if (s == RT_OK) s = rt_out(c, 1, 2, dim);
  if (s == RT_OK) s = rt_out(c, 2, 2, (int64_t[]){dim[0], 1});
  return s;
}

RtStatus rt_nms(RtCall *c) {
  Nms m = {0};
  RtStatus s = nms_check(c, &m);
  if (s != RT_OK) return s;
  int64_t n = m.b.boxes;
  m.key = rt_get(c, 2 * n, sizeof *m.key);
  m.box = rt_get(c, n, sizeof *m.box);
  if (!m.key || !m.box) s = RT_NO_MEMORY;
  for (int64_t i = 0; s == RT_OK && i < m.b.x->dim[0]; i++) {
    int64_t valid = (int64_t)rt_slot(&c->in[1], i);
    if (valid < 0 || valid > n) s = rt_fail(c, "a valid_count is out of range: ", valid);
    if (s != RT_OK) break;
    nms_order(&m, i * n, valid);
    if (m.iou > 0) nms_suppress(&m, i * n, valid);
    nms_write_boxes(&m, i * n);
    nms_write_indices(&m, i * n, i);
  }
  rt_put(c, m.box, n, sizeof *m.box);
  rt_put(c, m.key, 2 * n, sizeof *m.key);
  return s;
}

/* ---- all_class_non_max_suppression ----------------------------------------------------
 *
 * boxes (b, n, 4), scores (b, classes, n); for each class by descending score,
 * above the score threshold, at most max per class (< 1: all). */

typedef struct {
  RtCall *c;
  Boxes b;
  const RtIn *score;
  int64_t batches, classes, max;
  double iou, least;
  RtKey *key;
  int64_t *kept; /* rows chosen of one class      */
} All;

static RtStatus all_check(RtCall *c, All *a) {
  a->c = c;
  a->score = &c->in[1];
  if (!is_boxes(c, &a->b) || !rt_int(c, 2, &a->max) || !rt_float(c, 3, &a->iou) ||
      !rt_float(c, 4, &a->least))
    return RT_FAIL;
  const RtIn *x = a->b.x, *s = a->score;
  if (a->b.columns != 4) return rt_fail(c, "a box has four numbers, not ", a->b.columns);
  if (s->rank != 3 || s->dim[0] != x->dim[0] || s->dim[2] != x->dim[1])
    return rt_fail(c, "boxes and scores do not fit", INT64_MIN);
  if (!dtype_is_float(s->t)) return rt_fail(c, "the scores are not of a float type", INT64_MIN);
  a->batches = s->dim[0];
  a->classes = s->dim[1];
  a->iou = rounded(x, a->iou);
  a->least = rounded(s, a->least);
  return RT_OK;
}

/* The rows of one class that survive, best first. */
static int64_t choose(All *a, int64_t batch, int64_t class) {
  int64_t n = a->b.boxes, first = (batch * a->classes + class) * n, valid = 0, kept = 0;
  if (!(a->iou > 0)) return 0;
  for (int64_t j = 0; j < n; j++) {
    uint64_t s = rt_slot(a->score, first + j);
    if (slot_to_double(s, a->score->t) > a->least)
      a->key[valid++] = (RtKey){rt_key(s, a->score->t), j};
  }
  rt_sort_keys(a->key, a->key + n, valid, true);
  int64_t most = a->max > 0 ? a->max : valid;
  for (int64_t j = 0; j < valid && kept < most; j++) {
    int64_t row = a->key[j].at;
    double score = slot_to_double(rt_slot(a->score, first + row), a->score->t);
    bool good = score > -1; /* as TVM, which marks with -1   */
    Corners p = corners(&a->b, batch * n + row, 0);
    for (int64_t k = 0; good && score > 0 && k < kept; k++)
      good = !(overlap(a->b.x, corners(&a->b, batch * n + a->kept[k], 0), p) >= a->iou);
    if (good) a->kept[kept++] = row;
  }
  return kept;
}

static RtStatus all_room(RtCall *c, All *a, RtStatus s) {
  if (s != RT_OK) return s;
  a->key = rt_get(c, 2 * a->b.boxes, sizeof *a->key);
  a->kept = rt_get(c, a->b.boxes, sizeof *a->kept);
  return a->key && a->kept ? RT_OK : RT_NO_MEMORY;
}
static RtStatus all_end(RtCall *c, All *a, RtStatus s) {
  rt_put(c, a->kept, a->b.boxes, sizeof *a->kept);
  rt_put(c, a->key, 2 * a->b.boxes, sizeof *a->key);
  return s;
}

RtStatus rt_all_class_nms(RtCall *c) {
  All a = {0};
  RtStatus s = all_check(c, &a);
  if (s == RT_OK) s = rt_out(c, 0, 2, (int64_t[]){a.score->count, 3});
  if (s == RT_OK) s = rt_out(c, 1, 1, (int64_t[]){1});
  s = all_room(c, &a, s);
  int64_t to = 0;
  int64_t lists = a.score->count > 0 ? a.batches * a.classes : 0;
  for (int64_t i = 0; s == RT_OK && i < lists; i++) {
    int64_t kept = choose(&a, i / a.classes, i % a.classes);
    for (int64_t k = 0; k < kept; k++) {
      rt_set(&c->out[0], to++, (uint64_t)(i / a.classes));
      rt_set(&c->out[0], to++, (uint64_t)(i % a.classes));
      rt_set(&c->out[0], to++, (uint64_t)a.kept[k]);
    }
  }
  if (s == RT_OK) {
    rt_set(&c->out[1], 0, (uint64_t)(to / 3));
    while (to < c->out[0].x->count) rt_set(&c->out[0], to++, 0);
  }
  return all_end(c, &a, s);
}

/* (b, classes * n, 2) rows (class, box), (b, classes * n) scores, (b) numbers. */
RtStatus rt_all_class_nms_tf(RtCall *c) {
  All a = {0};
  int64_t per = 0;
  RtStatus s = all_check(c, &a);
  if (s == RT_OK && __builtin_mul_overflow(a.classes, a.b.boxes, &per)) s = RT_NO_MEMORY;
  if (s == RT_OK && c->out[1].t != a.score->t)
    s = rt_fail(c, "a result has another element type", INT64_MIN);
  if (s == RT_OK) s = rt_out(c, 0, 3, (int64_t[]){a.batches, per, 2});
  if (s == RT_OK) s = rt_out(c, 1, 2, (int64_t[]){a.batches, per});
  if (s == RT_OK) s = rt_out(c, 2, 1, (int64_t[]){a.batches});
  s = all_room(c, &a, s);
  if (a.b.boxes == 0) a.classes = 0;
  for (int64_t i = 0; s == RT_OK && i < a.batches; i++) {
    int64_t n = 0;
    for (int64_t k = 0; k < a.classes; k++) {
      int64_t kept = choose(&a, i, k);
      for (int64_t j = 0; j < kept; j++, n++) {
        rt_set(&c->out[0], (i * per + n) * 2, (uint64_t)k);
        rt_set(&c->out[0], (i * per + n) * 2 + 1, (uint64_t)a.kept[j]);
        rt_set(&c->out[1], i * per + n,
               rt_slot(a.score, (i * a.classes + k) * a.b.boxes + a.kept[j]));
      }
    }
    rt_set(&c->out[2], i, (uint64_t)n);
    for (; n < per; n++) {
      rt_set(&c->out[0], (i * per + n) * 2, 0);
      rt_set(&c->out[0], (i * per + n) * 2 + 1, 0);
      rt_set(&c->out[1], i * per + n, 0);
    }
  }
  return all_end(c, &a, s);
}
