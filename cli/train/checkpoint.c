/* checkpoint.c -- where training stands, in one file.
 *
 * A .safetensors with the weights under their own names, so that it serves as
 * weights too, and under train.* the state of the optimiser, the weights of the
 * best epoch, counters, history, options and a checksum.  It is written beside
 * its place and renamed, so there is always a whole one.                      */
#include "base/map.h"
#include "cli/train/train.h"

/* ---- writing ------------------------------------------------------------------------------ */
static Tensor *numbers(DType t, int64_t n, const void *values) {
  Tensor *x = tensor_new(t, 1, &n);
  if (n) memcpy(x->bytes, values, (size_t)n * (size_t)dtype_bytes(t));
  return x;
}
static void add(TensorSet *set, const char *name, Tensor *value) {
  vec_push(set, ((NamedTensor){name, value}));
}
static void add_all(TensorSet *set, const TensorSet *from, const char *prefix) {
  for (int i = 0; i < from->n; i++)
    add(set, str_fmt("%s%s", prefix, from->at[i].name), from->at[i].value);
}

/* Of everything but itself, names and shapes included. */
static uint64_t checksum(const TensorSet *set) {
  uint64_t h = 0;
  for (int i = 0; i < set->n; i++) {
    const Tensor *t = set->at[i].value;
    const char *name = set->at[i].name;
    if (!strcmp(name, "train.checksum")) continue;
    h = hash_mix(h, hash_bytes(name, strlen(name), (uint64_t)t->dtype));
    h = hash_mix(h, hash_bytes(t->dim, (size_t)t->rank * sizeof *t->dim, 0));
    h = hash_mix(h, hash_bytes(t->bytes, (size_t)t->count * (size_t)dtype_bytes(t->dtype), 0));
  }
  return h;
}

static Tensor *history_tensor(const History *h, const Names *names) {
  int64_t dim[2] = {h->at.n, names->n + 2};
  Tensor *t = tensor_new(DT_f64, 2, dim);
  double *to = t->bytes;
  for (int i = 0; i < h->at.n; i++) {
    const Epoch *e = &h->at.at[i];
    *to++ = e->seconds, *to++ = e->loss;
    for (int k = 0; k < names->n; k++) *to++ = e->measured[k];
  }
  return t;
}

const char *checkpoint_write(const char *path, const Progress *at, const Names *names,
                             const TensorSet *weights, const TensorSet *state,
                             const TensorSet *best) {
  TensorSet set = {0};
  int64_t count[] = {(int64_t)at->epoch, (int64_t)at->step, at->has_best, (int64_t)at->best_epoch};
  add_all(&set, weights, "");
  add_all(&set, state, "");
  if (at->has_best) add_all(&set, best, "train.best.");
  add(&set, "train.counters", numbers(DT_i64, 4, count));
  add(&set, "train.best_value", numbers(DT_f64, 1, &at->best));
  add(&set, "train.history", history_tensor(&at->history, names));
  add(&set, "train.options", numbers(DT_u8, (int64_t)strlen(at->config), at->config));
  uint64_t sum = checksum(&set);
  add(&set, "train.checksum", numbers(DT_u64, 1, &sum));
  return tensor_file_write(path, &set);
}

enum { MOST_OPTIONS = 1 << 20 }; /* bytes of their text */

/* ---- reading --------------------------------------------------------------------------------- */
static const Tensor *part(const TensorSet *set, const char *name, DType t, int64_t count) {
  const Tensor *x = tensor_find(set, name);
  return x && x->dtype == t && (count < 0 || x->count == count) ? x : NULL;
}

static const char *line_value(const char *config, const char *line, size_t name) {
  for (const char *s = config; *s; s += strcspn(s, "\n") + 1)
    if (!strncmp(s, line, name + 1)) return s + name + 1;
  return "";
}

/* The options of then and now: the first that differs. */
static const char *differs(const char *then, const char *now) {
  for (const char *s = now; *s; s += strcspn(s, "\n") + 1) {
    size_t name = strcspn(s, "=");
    const char *old = line_value(then, s, name), *new = s + name + 1;
    int a = (int)strcspn(old, "\n"), b = (int)strcspn(new, "\n");
    if (a != b || memcmp(old, new, (size_t)a) != 0)
      return str_fmt("it was made with %.*s %.*s, now it is %.*s", (int)name, s, a, old, b, new);
  }
  return NULL;
}

static const char *read_progress(const TensorSet *set, Progress *at, const Names *names) {
  const Tensor *count = part(set, "train.counters", DT_i64, 4);
  const Tensor *best = part(set, "train.best_value", DT_f64, 1);
  const Tensor *history = part(set, "train.history", DT_f64, -1);
  const Tensor *options = part(set, "train.options", DT_u8, -1);
  const Tensor *sum = part(set, "train.checksum", DT_u64, 1);
  if (!count || !best || !history || !options || !sum || options->count > MOST_OPTIONS)
    return "it is not a checkpoint";
  if (*(const uint64_t *)sum->bytes != checksum(set)) return "it is damaged: its checksum differs";
  const char *why =
      differs(str_fmt("%.*s\n", (int)options->count, (const char *)options->bytes), at->config);
  if (why) return why;
  const int64_t *c = count->bytes;
  if (history->rank != 2 || history->dim[0] != c[0] || history->dim[1] != names->n + 2)
    return "it measured something else";
  at->epoch = (uint64_t)c[0], at->step = (uint64_t)c[1];
  at->has_best = c[2] != 0, at->best_epoch = (uint64_t)c[3];
  at->best = *(const double *)best->bytes;
  const double *h = history->bytes;
  for (int64_t i = 0; i < c[0]; i++) {
    Epoch e = {.seconds = h[0], .loss = h[1]};
    memcpy(e.measured, h + 2, (size_t)names->n * sizeof *h);
    vec_push(&at->history.at, e);
    h += names->n + 2;
  }
  return NULL;
}

const char *checkpoint_read(const char *path, Progress *at, const Names *names, TensorSet *set) {
  const char *why = tensor_file_read(path, set);
  if (why) return why;
  why = read_progress(set, at, names);
  return why ? str_fmt("%s: %s", path, why) : NULL;
}
