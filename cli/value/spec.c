/* spec.c -- the forms of an input: files, generated contents; see spec.h.    */
#include "cli/value/spec.h"
#include <math.h>
#include <unistd.h>
#include "base/checked.h"
#include "cli/value/element.h"
#include "cli/value/show.h"

/* ---- files ------------------------------------------------------------------------------ */

/* Where in path the name begins (behind the ':'), or NULL; false: no file. */
static bool split_path(const char *path, size_t *file, const char **name) {
  *file = strlen(path), *name = NULL;
  if (tensor_file_known(path)) return true;
  for (const char *c = strchr(path, ':'); c; c = strchr(c + 1, ':')) {
    *file = (size_t)(c - path), *name = c + 1;
    if (tensor_file_known(str_fmt("%.*s", (int)*file, path))) return true;
  }
  return false;
}
bool spec_names_file(const char *path) {
  size_t n;
  const char *name;
  return split_path(path, &n, &name);
}

static bool read_file(const char *path, TensorSet *set, const char **name, SpecError *why) {
  size_t n;
  if (!split_path(path, &n, name))
    return spec_bad(why, "@%s: tensor files end in .npy, .npz or .safetensors", shown(path)), false;
  const char *file = str_fmt("%.*s", (int)n, path);
  why->text = tensor_file_read(file, set);
  why->io = why->text && access(file, R_OK) != 0;
  return !why->text;
}

const char *set_names(const TensorSet *set) {
  StrBuf b = {0};
  for (int i = 0; i < set->n && i < 12; i++)
    buf_fmt(&b, "%s%s", i ? ", " : "", shown(set->at[i].name));
  return set->n > 12 ? (buf_str(&b, ", ..."), buf_text(&b)) : buf_text(&b);
}

static Tensor *pick(const TensorSet *set, const char *path, const char *name, SpecError *why) {
  Tensor *t = name ? tensor_find(set, name) : NULL;
  if (!name && set->n == 1) return set->at[0].value;
  if (!name)
    return spec_bad(why, "@%s holds %d tensors: name one, as in @FILE:NAME; it has %s", shown(path),
                    set->n, set_names(set));
  return t ? t
           : spec_bad(why, "@%s: there is no such tensor; it has %s", shown(path), set_names(set));
}

Tensor *spec_file_tensor(const char *path, SpecError *why) {
  TensorSet set = {0};
  const char *name;
  return read_file(path, &set, &name, why) ? pick(&set, path, name, why) : NULL;
}

/* A tensor wherever the file has one of that name; else the parts of data. */
InValue *invalue_file(const rvm_program *p, rvm_type t, const char *path, SpecError *why) {
  TensorSet set = {0};
  const char *name;
  InValue *v = NULL;
  rvm_type_info info = {0};
  if (!read_file(path, &set, &name, why)) return NULL;
  rvm_type_describe(p, t, &info);
  bool tensor = info.kind == RVM_TENSOR || (name ? tensor_find(&set, name) != NULL
                                                 : set.n == 1 && !strchr(set.at[0].name, '.'));
  if (!tensor) {
    SpecResult r = input_from_sets(p, t, name ? name : "", &set, &v, why);
    if (r != SPEC_OK) why->text = str_fmt("@%s: %s", shown(path), why->text);
    return v;
  }
  const Tensor *x = pick(&set, path, name, why);
  v = x ? invalue_tensor(p, t, x, why) : NULL;
  if (x && !v) why->text = str_fmt("@%s: %s", shown(path), why->text);
  return v;
}

/* ---- generated contents --------------------------------------------------------------------- */
static uint64_t splitmix64(uint64_t x) {
  uint64_t z = x + 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static void set_element(Tensor *t, int64_t i, double f, int64_t n) {
  if (dtype_is_float(t->dtype))
    element_put(t, i, f);
  else
    slot_store(element_at(t, i), (uint64_t)(t->dtype == DT_bool ? n != 0 : n), t->dtype);
}
static void fill_random(Tensor *t, uint64_t seed) {
  for (int64_t i = 0; i < t->count; i++) {
    uint64_t z = splitmix64(seed + (uint64_t)i);
    if (dtype_is_float(t->dtype))
      element_put(t, i, (double)(z >> 40) / (double)(1 << 24) * 2 - 1);
    else
      slot_store(element_at(t, i), t->dtype == DT_bool ? z >> 63 : (z >> 40) * 10 >> 24, t->dtype);
  }
}
static void fill_same(Tensor *t, double f, int64_t n) {
  size_t each = (size_t)dtype_bytes(t->dtype);
  if (t->count == 0) return;
  set_element(t, 0, f, n);
  for (int64_t i = 1; i < t->count; i++)
    memcpy((uint8_t *)t->bytes + (size_t)i * each, t->bytes, each);
}

static bool whole(const char *s, uint64_t *out) {
  uint64_t v = 0;
  if (!*s) return false;
  for (; *s; s++) {
    if (*s < '0' || *s > '9' || __builtin_mul_overflow(v, 10u, &v) ||
        __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
      return false;
  }
  return *out = v, true;
}

/* Does t hold the whole number (negative) mag? */
static bool int_fits(DType t, bool negative, uint64_t mag) {
  int bits = dtype_bytes(t) * 8;
  if (t == DT_bool) return !negative && mag <= 1;
  if (!dtype_is_signed(t)) return !(negative && mag) && (bits == 64 || mag >> bits == 0);
  uint64_t top = (uint64_t)1 << (bits - 1);
  return mag < top + negative;
}

/* zeros ones rand:N True False, or a number; false when it is none of them. */
static bool fill(Tensor *t, const char *what, SpecError *why) {
  uint64_t n;
  double f;
  bool negative = what[0] == '-';
  size_t len = strlen(what);
  if (!strncmp(what, "rand:", 5) && whole(what + 5, &n)) return fill_random(t, n), true;
  if (!strcmp(what, "zeros") || !strcmp(what, "False")) return fill_same(t, 0, 0), true;
  if (!strcmp(what, "ones") || !strcmp(what, "True")) return fill_same(t, 1, 1), true;
  if (whole(what + negative, &n) && !dtype_is_float(t->dtype)) {
    if (!int_fits(t->dtype, negative, n))
      return spec_bad(why, "%s does not hold %s", dtype_name(t->dtype), what), false;
    return fill_same(t, 0, negative ? (int64_t)(0 - n) : (int64_t)n), true;
  }
  if (dtype_is_float(t->dtype) && (size_t)num_read(what, len, &f) == len && len)
    return fill_same(t, f, 0), true;
  spec_bad(why, "`%s` is not rand:SEED, zeros, ones or a number of type %s", shown(what),
           dtype_name(t->dtype));
  return false;
}

static const struct {
  const char *name;
  DType dtype;
} short_names[] = {
    {"i8", DT_i8},   {"i16", DT_i16},   {"i32", DT_i32}, {"i64", DT_i64},
    {"u8", DT_u8},   {"u16", DT_u16},   {"u32", DT_u32}, {"u64", DT_u64},
    {"f16", DT_f16}, {"bf16", DT_bf16}, {"f32", DT_f32}, {"f64", DT_f64},
};
static bool element_name(const char *s, size_t n, DType *out) {
  for (size_t i = 0; i < sizeof short_names / sizeof *short_names; i++)
    if (strlen(short_names[i].name) == n && !memcmp(short_names[i].name, s, n))
      return *out = short_names[i].dtype, true;
  return dtype_parse(s, n, out);
}

/* [1, 80] -> dim; what follows is *s. */
static bool read_extents(const char **s, int *rank, int64_t *dim) {
  const char *c = *s + 1;
  for (*rank = 0;; c++) {
    while (*c == ' ') c++;
    if (*c == ']') break;
    size_t n = strspn(c, "0123456789");
    uint64_t v;
    if (n == 0 || *rank == MAX_RANK || !whole(str_fmt("%.*s", (int)n, c), &v) || v > INT64_MAX)
      return false;
    dim[(*rank)++] = (int64_t)v;
    for (c += n; *c == ' ';) c++;
    if (*c == ']') break;
    if (*c != ',') return false;
  }
  *s = c + 1;
  return true;
}

enum { MOST_MADE = 1 << 30 }; /* elements; a typing error is not a crash */

static InValue *generate(const rvm_program *p, rvm_type t, DType dt, int rank, const int64_t *dim,
                         const char *what, SpecError *why) {
  int64_t count;
  if (!dims_count(dim, rank, &count) || count > MOST_MADE)
    return spec_bad(why, "the shape has too many elements");
  Tensor *x = tensor_new(dt, rank, dim);
  return fill(x, what, why) ? invalue_tensor(p, t, x, why) : NULL;
}

InValue *invalue_typed(const rvm_program *p, rvm_type t, const char *spec, bool *mine,
                       SpecError *why) {
  const char *s = spec + strcspn(spec, "[= ");
  DType dt;
  int rank = 0;
  int64_t dim[MAX_RANK];
  *mine = false;
  if (!element_name(spec, (size_t)(s - spec), &dt)) return NULL;
  if (*s == '[' && !read_extents(&s, &rank, dim)) {
    *mine = true;
    return spec_bad(why, "`%s`: extents are written as in f32[1,80]=rand:7, at most 8",
                    shown(spec));
  }
  while (*s == ' ') s++;
  if (*s != '=') return NULL;
  *mine = true;
  for (s++; *s == ' ';) s++;
  return generate(p, t, dt, rank, dim, s, why);
}

/* rand:7 where the type says the extents. */
static InValue *untyped(const rvm_program *p, rvm_type t, const char *spec, bool *mine,
                        SpecError *why) {
  rvm_type_info info = {0};
  *mine = !strncmp(spec, "rand:", 5) || !strcmp(spec, "zeros") || !strcmp(spec, "ones");
  if (!*mine) return NULL;
  rvm_type_describe(p, t, &info);
  if (info.kind != RVM_TENSOR)
    return spec_bad(why, "`%s` makes a tensor; %s is wanted", spec, type_of_value(p, t));
  for (int i = 0; i < info.ndim; i++)
    if (info.shape[i] < 0)
      return spec_bad(why, "%s leaves extents open: write them, as in %s[...]=%s",
                      type_of_value(p, t), dtype_name(type_dtype(&info)), spec);
  return generate(p, t, type_dtype(&info), info.ndim, info.shape, spec, why);
}

/* ---- all forms ------------------------------------------------------------------------- */
InValue *input_from_spec(const rvm_program *p, rvm_type t, const Module *m, const char *spec,
                         SpecError *why) {
  bool mine, computed = false;
  while (*spec == ' ') spec++;
  if (spec[0] == '@' && spec_names_file(spec + 1)) return invalue_file(p, t, spec + 1, why);
  InValue *v = invalue_typed(p, t, spec, &mine, why);
  if (!mine) v = untyped(p, t, spec, &mine, why);
  if (mine) return v;
  v = invalue_literal(p, t, m, spec, &computed, why);
  if (v || !computed) return v;
  if (!m) return spec_bad(why, "%s (a .rvm file takes values only, not expressions)", why->text);
  return invalue_compute(p, t, m, spec, why);
}
