/* data.c -- the examples: columns of tensors, from tensor files and from
 * recordings; measured, converted, shuffled, held out.                        */
#include <math.h>
#include <unistd.h>
#include "base/checked.h"
#include "cli/value/element.h"
#include "cli/value/show.h"
#include "cli/train/train.h"
#include "cli/train/sound.h"

/* ---- columns ----------------------------------------------------------------------- */
Column *data_column(const DataSet *d, const char *name) {
  for (int i = 0; i < d->columns.n; i++)
    if (!strcmp(d->columns.at[i].name, name)) return &d->columns.at[i];
  return NULL;
}

const char *data_names(const DataSet *d) {
  StrBuf b = {0};
  for (int i = 0; i < d->columns.n; i++)
    buf_fmt(&b, "%s%s", i ? ", " : "", shown(d->columns.at[i].name));
  return buf_text(&b);
}

static const char *type_text_short(const Tensor *t) {
  StrBuf b = {0};
  type_text_of(t->dtype, t->rank, t->dim, &b);
  return buf_text(&b);
}

void type_text_of_batch(const Column *c, int64_t batch, DType dtype, StrBuf *out) {
  int64_t dim[MAX_RANK + 1] = {batch};
  for (int i = 0; i < c->rank; i++) dim[i + 1] = c->dim[i];
  type_text_of(dtype, c->rank + 1, dim, out);
}

const char *column_measure(Column *c, int64_t n) {
  if (n == 0) return NULL;
  c->dtype = c->item[0].dtype, c->rank = c->item[0].rank;
  memcpy(c->dim, c->item[0].dim, sizeof c->dim);
  for (int64_t i = 1; i < n; i++) {
    const Tensor *t = &c->item[i];
    bool same = t->dtype == c->dtype && t->rank == c->rank;
    for (int k = 1; same && k < t->rank; k++) same = t->dim[k] == c->dim[k];
    if (!same)
      return str_fmt("%s: example 0 is %s, example %lld is %s: only the first extent may differ",
                     shown(c->name), type_text_short(&c->item[0]), (long long)i,
                     type_text_short(t));
    if (t->rank > 0 && t->dim[0] != c->dim[0]) c->dim[0] = -1;
  }
  return NULL;
}

/* An integer keeps its value or is refused.  As 64 bits -1 and 2^64 - 1 are the same. */
static const char *convert_item(Tensor *t, DType to) {
  bool crosses = (t->dtype == DT_u64) != (to == DT_u64);
  uint8_t *out = NEW_BYTES((size_t)t->count * (size_t)dtype_bytes(to) + 1), *q = out;
  for (int64_t i = 0; i < t->count; i++, q += dtype_bytes(to)) {
    uint64_t from = slot_load(element_at(t, i), t->dtype), v = scalar_cast(from, t->dtype, to);
    if (!dtype_is_float(to) && (v != from || (crosses && (int64_t)from < 0)))
      return str_fmt(t->dtype == DT_u64 ? "%s does not hold %llu" : "%s does not hold %lld",
                     dtype_name(to), (unsigned long long)from);
    slot_store(q, v, to);
  }
  t->bytes = out, t->dtype = to;
  return NULL;
}

const char *column_convert(Column *c, int64_t n, DType to) {
  if (c->dtype == to) return NULL;
  bool keeps =
      dtype_is_float(to) ? c->dtype != DT_bool : !dtype_is_float(c->dtype) && to != DT_bool;
  if (!keeps)
    return str_fmt("%s: %s cannot be made of %s", shown(c->name), dtype_name(to),
                   dtype_name(c->dtype));
  for (int64_t i = 0; i < n; i++) {
    const char *why = convert_item(&c->item[i], to);
    if (why) return str_fmt("%s: example %lld: %s", shown(c->name), (long long)i, why);
  }
  c->dtype = to;
  return NULL;
}

/* ---- tensor files -------------------------------------------------------------------- */
/* x of dir/x.npy. */
static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/'), *s = slash ? slash + 1 : path, *dot = strrchr(s, '.');
  return str_fmt("%.*s", dot ? (int)(dot - s) : (int)strlen(s), s);
}

static void split_rows(const Tensor *t, Column *c) {
  int64_t n = t->dim[0], each = n ? t->count / n : 0;
  c->item = NEW_N(Tensor, n + 1);
  for (int64_t i = 0; i < n; i++) {
    Tensor *x = &c->item[i];
    *x = (Tensor){.dtype = t->dtype, .rank = t->rank - 1, .count = each};
    for (int k = 1; k < t->rank; k++) x->dim[k - 1] = t->dim[k];
    x->bytes = (uint8_t *)t->bytes + i * each * dtype_bytes(t->dtype);
  }
}

static const char *add_tensor(const char *path, const NamedTensor *t, DataSet *d) {
  Column c = {.name = t->name[0] ? t->name : base_name(path)};
  if (t->value->rank == 0)
    return str_fmt("%s: `%s` is a scalar; its first axis counts the examples", path, shown(c.name));
  if (data_column(d, c.name)) return str_fmt("%s: there is a `%s` already", path, shown(c.name));
  int64_t n = t->value->dim[0];
  if (d->columns.n && n != d->n)
    return str_fmt("%s: `%s` has %lld examples, `%s` has %lld", path, shown(c.name), (long long)n,
                   shown(d->columns.at[0].name), (long long)d->n);
  d->n = n;
  split_rows(t->value, &c);
  const char *why = column_measure(&c, n);
  vec_push(&d->columns, c);
  return why;
}

static const char *add_tensor_file(const char *path, DataSet *d) {
  TensorSet set = {0};
  const char *why = tensor_file_read(path, &set);
  for (int i = 0; !why && i < set.n; i++) why = add_tensor(path, &set.at[i], d);
  return why;
}

static bool failed(const char *why, int code, int *out) {
  fail_io(why);
  *out = code;
  return false;
}

bool data_read(const TextList *paths, const char *labels, const TextList *classes, DataSet *out,
               int *code) {
  int files = 0;
  *out = (DataSet){0};
  for (int i = 0; i < paths->n; i++)
    files += tensor_file_known(paths->at[i]) && !has_suffix(paths->at[i], ".wav");
  if (files > 0 && files < paths->n)
    return failed("the data is either tensor files or recordings", EXIT_REJECTED, code);
  for (int i = 0; i < files; i++) {
    const char *why = add_tensor_file(paths->at[i], out);
    if (why) return failed(why, access(paths->at[i], R_OK) ? EXIT_IO : EXIT_REJECTED, code);
  }
  if (files == 0) {
    bool io = false;
    const char *why = sound_read(paths, labels, classes, out, &io);
    if (why) return failed(why, io ? EXIT_IO : EXIT_REJECTED, code);
  }
  if (out->n > 0) return true;
  return failed(str_fmt("%s: no examples", paths->at[0]), EXIT_REJECTED, code);
}

/* ---- order ------------------------------------------------------------------------------ */
static uint64_t splitmix64(uint64_t *s) {
  uint64_t z = *s += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

void shuffle(int64_t *order, int64_t n, uint64_t seed, uint64_t turn) {
  uint64_t s = seed;
  s = splitmix64(&s) ^ turn * 0xd1342543de82ef95u;
  for (int64_t i = 0; i < n; i++) order[i] = i;
  for (int64_t i = n - 1; i > 0; i--) {
    /* The high half of a product: even to within i / 2^32. */
    int64_t j = (int64_t)(((splitmix64(&s) >> 32) * (uint64_t)(i + 1)) >> 32);
    int64_t t = order[i];
    order[i] = order[j], order[j] = t;
  }
}

/* The examples whose numbers are order[from] ... in their own order. */
static DataSet chosen(const DataSet *d, const bool *in, bool want, int64_t n) {
  DataSet out = *d;
  out.n = n;
  memset(&out.columns, 0, sizeof out.columns);
  for (int i = 0; i < d->columns.n; i++) {
    Column c = d->columns.at[i];
    Tensor *all = c.item;
    c.item = NEW_N(Tensor, n + 1);
    for (int64_t k = 0, to = 0; k < d->n; k++)
      if (in[k] == want) c.item[to++] = all[k];
    column_measure(&c, n);
    vec_push(&out.columns, c);
  }
  return out;
}

void data_hold_out(DataSet *d, double share, uint64_t seed, DataSet *held) {
  int64_t k = (int64_t)llround(share * (double)d->n);
  k = k < 1 ? 1 : k >= d->n ? d->n - 1 : k;
  int64_t *order = NEW_BYTES((size_t)d->n * sizeof *order);
  bool *in = NEW_BYTES((size_t)d->n * sizeof *in);
  shuffle(order, d->n, seed, 0);
  for (int64_t i = 0; i < k; i++) in[order[i]] = true;
  *held = chosen(d, in, true, k);
  *d = chosen(d, in, false, d->n - k);
}

uint64_t data_hash(const DataSet *d) {
  uint64_t h = hash_mix((uint64_t)d->n, (uint64_t)d->columns.n);
  for (int i = 0; i < d->columns.n; i++) {
    const Column *c = &d->columns.at[i];
    h = hash_mix(h, hash_bytes(c->name, strlen(c->name), 0));
    for (int64_t k = 0; k < d->n; k++) {
      const Tensor *t = &c->item[k];
      h = hash_mix(h, hash_bytes(t->bytes, (size_t)t->count * (size_t)dtype_bytes(t->dtype), 0));
    }
  }
  return h;
}
