/* safetensors.c -- a length, a JSON header, one run of data.
 *
 * The reader is stricter than JSON: no duplicate keys, no keys but those of
 * the format, whole numbers only, few levels, and tensors that lie one after
 * the other from the first byte of the data to the last, without holes.  An
 * empty tensor lies where the one before it ends.                            */
#include "cli/file/tensor_file.h"
#include <jansson.h>
#include <stdlib.h>
#include "base/checked.h"
#include "base/utf8.h"

enum { HEADER_MAX = 100000000, DEPTH_MAX = 8 };

static const struct {
  const char *name;
  DType dtype;
} types[] = {
    {"BOOL", DT_bool}, {"I8", DT_i8},   {"I16", DT_i16}, {"I32", DT_i32}, {"I64", DT_i64},
    {"U8", DT_u8},     {"U16", DT_u16}, {"U32", DT_u32}, {"U64", DT_u64}, {"F16", DT_f16},
    {"BF16", DT_bf16}, {"F32", DT_f32}, {"F64", DT_f64},
};
enum { N_TYPES = sizeof types / sizeof *types };

typedef struct {
  const char *name;
  DType dtype;
  int rank, index;
  int64_t dim[MAX_RANK];
  int64_t from, to;
} Entry;

/* ---- one entry ----------------------------------------------------------------------- */
static const char *read_dtype(const json_t *j, Entry *e) {
  if (!json_is_string(j)) return "`dtype` is not a string";
  for (int i = 0; i < N_TYPES; i++)
    if (!strcmp(types[i].name, json_string_value(j))) return e->dtype = types[i].dtype, NULL;
  return str_fmt("element type `%s` is not supported", shown(json_string_value(j)));
}
static bool whole(const json_t *j, int64_t *out) {
  if (!json_is_integer(j) || json_integer_value(j) < 0) return false;
  *out = json_integer_value(j);
  return true;
}
static const char *read_shape(const json_t *j, Entry *e) {
  if (!json_is_array(j)) return "`shape` is not a list";
  if (json_array_size(j) > MAX_RANK) return "more than 8 dimensions";
  e->rank = (int)json_array_size(j);
  for (int i = 0; i < e->rank; i++)
    if (!whole(json_array_get(j, (size_t)i), &e->dim[i])) return "an extent is not a whole number";
  return NULL;
}
static const char *read_offsets(const json_t *j, Entry *e) {
  if (!json_is_array(j) || json_array_size(j) != 2 || !whole(json_array_get(j, 0), &e->from) ||
      !whole(json_array_get(j, 1), &e->to))
    return "`data_offsets` are not two whole numbers";
  return e->from <= e->to ? NULL : "`data_offsets` go backwards";
}

static const struct {
  const char *key;
  const char *(*read)(const json_t *j, Entry *e);
} keys[] = {
    {"dtype", read_dtype},
    {"shape", read_shape},
    {"data_offsets", read_offsets},
};

static const char *read_entry(const json_t *j, Entry *e) {
  if (!json_is_object(j)) return "it is not an object";
  for (int i = 0; i < 3; i++) {
    const json_t *field = json_object_get(j, keys[i].key);
    if (!field) return str_fmt("`%s` is missing", keys[i].key);
    const char *why = keys[i].read(field, e);
    if (why) return why;
  }
  return json_object_size(j) == 3 ? NULL : "it has keys besides dtype, shape and data_offsets";
}

static const char *check_metadata(json_t *j) {
  const char *key;
  json_t *value;
  if (!json_is_object(j)) return "`__metadata__` is not an object";
  json_object_foreach(
      j, key,
      value) if (!json_is_string(value)) return "`__metadata__` holds something other than strings";
  return NULL;
}

/* ---- the header ----------------------------------------------------------------------- */
typedef VEC(Entry) Entries;

static const char *read_entries(json_t *root, Entries *out) {
  const char *name, *why;
  json_t *j;
  if (!json_is_object(root)) return "the header is not an object";
  if (json_object_size(root) > SAFETENSORS_MAX_TENSORS + 1)
    return str_fmt("more than %d tensors", SAFETENSORS_MAX_TENSORS);
  json_object_foreach(root, name, j) {
    Entry e = {.name = str_fmt("%s", name), .index = out->n};
    if (!strcmp(name, "__metadata__")) {
      if ((why = check_metadata(j)) != NULL) return why;
      continue;
    }
    if (strlen(name) > TENSOR_NAME_MAX) return "a tensor has too long a name";
    if ((why = read_entry(j, &e)) != NULL) return str_fmt("tensor `%s`: %s", shown(name), why);
    vec_push(out, e);
  }
  return NULL;
}

/* Brackets open at most DEPTH_MAX deep, before a parser that recurses sees them. */
static bool too_deep(const char *s, size_t n) {
  int depth = 0;
  bool text = false;
  for (size_t i = 0; i < n; i++) {
    if (text) {
      if (s[i] == '\\')
        i++;
      else if (s[i] == '"')
        text = false;
    } else if (s[i] == '"')
      text = true;
    else if (s[i] == '{' || s[i] == '[') {
      if (++depth > DEPTH_MAX) return true;
    } else if (s[i] == '}' || s[i] == ']')
      depth--;
  }
  return false;
}

static const char *read_header(const char *s, size_t n, Entries *out) {
  json_error_t err;
  if (too_deep(s, n)) return str_fmt("the header is nested deeper than %d", DEPTH_MAX);
  json_t *root = json_loadb(s, n, JSON_REJECT_DUPLICATES, &err);
  if (!root) return str_fmt("byte %d of the header: %s", err.position + 8, shown(err.text));
  const char *why = read_entries(root, out);
  json_decref(root);
  return why;
}

static int by_offset(const void *a, const void *b) {
  const Entry *x = a, *y = b;
  if (x->from != y->from) return x->from < y->from ? -1 : 1;
  if (x->to != y->to) return x->to < y->to ? -1 : 1;
  return x->index - y->index;
}
static int by_index(const void *a, const void *b) {
  return ((const Entry *)a)->index - ((const Entry *)b)->index;
}

static const char *check_layout(Entries *es, uint64_t size) {
  int64_t at = 0;
  if (es->n) qsort(es->at, (size_t)es->n, sizeof *es->at, by_offset);
  for (int i = 0; i < es->n; i++) {
    if (es->at[i].from != at)
      return str_fmt("tensor `%s` starts at byte %lld of the data where %lld was due",
                     shown(es->at[i].name), (long long)es->at[i].from, (long long)at);
    at = es->at[i].to;
  }
  if ((uint64_t)at != size)
    return str_fmt("the tensors end at byte %lld of the data, which has %llu", (long long)at,
                   (unsigned long long)size);
  if (es->n) qsort(es->at, (size_t)es->n, sizeof *es->at, by_index);
  return NULL;
}

const char *safetensors_parse(const uint8_t *bytes, size_t n, TensorSet *out) {
  if (n < 8) return "the file ends inside the length of the header";
  uint64_t len = get_le(bytes, 8);
  if (len > HEADER_MAX) return "the header is longer than 100 MB (byte 0)";
  if (!range_ok(8, len, n)) return "the file ends inside the header";
  if (len < 2 || bytes[8] != '{') return "the header does not start with { (byte 8)";
  Entries es = {0};
  const char *why = read_header((const char *)bytes + 8, (size_t)len, &es);
  const uint8_t *data = bytes + 8 + len;
  if (!why) why = check_layout(&es, n - 8 - len);
  TensorSet set = {0};
  for (int i = 0; !why && i < es.n; i++) {
    const Entry *e = &es.at[i];
    Tensor *t =
        tensor_over(e->dtype, e->rank, e->dim, data + e->from, (size_t)(e->to - e->from), &why);
    if (why) why = str_fmt("tensor `%s`: %s", shown(e->name), why);
    vec_push(&set, ((NamedTensor){e->name, t}));
  }
  for (int i = 0; !why && i < set.n; i++) vec_push(out, set.at[i]);
  return why;
}

/* ---- writing ------------------------------------------------------------------------------ */
const char *safetensors_format(const TensorSet *ts, StrBuf *out) {
  StrBuf h = {0};
  int64_t at = 0;
  buf_char(&h, '{');
  for (int i = 0; i < ts->n; i++) {
    const Tensor *t = ts->at[i].value;
    const char *type = "";
    int64_t bytes = t->count * dtype_bytes(t->dtype);
    for (int k = 0; k < N_TYPES; k++)
      if (types[k].dtype == t->dtype) type = types[k].name;
    if (i) buf_char(&h, ',');
    buf_json(&h, ts->at[i].name);
    buf_fmt(&h, ":{\"dtype\":\"%s\",\"shape\":[", type);
    for (int k = 0; k < t->rank; k++) buf_fmt(&h, "%s%lld", k ? "," : "", (long long)t->dim[k]);
    buf_fmt(&h, "],\"data_offsets\":[%lld,%lld]}", (long long)at, (long long)(at + bytes));
    at += bytes;
  }
  buf_char(&h, '}');
  while (h.n % 8 != 0) buf_char(&h, ' '); /* data aligned to 8           */
  put_le(out, h.n, 8);
  buf_put(out, h.s, h.n);
  for (int i = 0; i < ts->n; i++)
    buf_put(out, ts->at[i].value->bytes,
            (size_t)ts->at[i].value->count * (size_t)dtype_bytes(ts->at[i].value->dtype));
  return NULL;
}
