/* invalue.c -- trees of tensors and constructors, and values made from them.  */
#include "cli/value/spec.h"
#include "cli/value/show.h"

void *spec_bad(SpecError *why, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  why->text = str_vfmt(fmt, ap);
  va_end(ap);
  return NULL;
}

DType type_dtype(const rvm_type_info *info) {
  DType t = DT_f32;
  dtype_from_dl(info->dtype.code, info->dtype.bits, &t);
  return t;
}

/* ---- trees ---------------------------------------------------------------------------- */
InValue *invalue_data(rvm_type t, uint32_t ctor, uint32_t n) {
  InValue *v = NEW(InValue);
  *v = (InValue){.type = t, .ctor = ctor, .n = n, .at = NEW_N(InValue *, n + 1)};
  return v;
}

static InValue *leaf(const rvm_program *p, rvm_type t, const rvm_type_info *info, const Tensor *x,
                     SpecError *why) {
  bool fits = x->dtype == type_dtype(info) && x->rank == info->ndim;
  for (int i = 0; fits && i < x->rank; i++)
    fits = info->shape[i] < 0 || info->shape[i] == x->dim[i];
  if (!fits) {
    StrBuf found = {0};
    type_text_of(x->dtype, x->rank, x->dim, &found);
    return spec_bad(why, "expected %s, found %s", type_of_value(p, t), buf_text(&found));
  }
  InValue *v = NEW(InValue);
  *v = (InValue){.type = t, .tensor = x};
  return v;
}

bool list_type(const rvm_program *p, rvm_type t, ListType *out) {
  rvm_type_info info;
  if (rvm_type_describe(p, t, &info) != RVM_OK || info.kind != RVM_DATA || info.n_ctors != 2)
    return false;
  out->nil = rvm_ctor_fields(p, t, 0) == 0 ? 0 : 1;
  out->cons = 1 - out->nil;
  if (rvm_ctor_fields(p, t, out->nil) != 0 || rvm_ctor_fields(p, t, out->cons) != 2) return false;
  out->rest = rvm_ctor_field(p, t, out->cons, 1) == t ? 1 : 0;
  out->elem = rvm_ctor_field(p, t, out->cons, 1 - out->rest);
  return rvm_ctor_field(p, t, out->cons, out->rest) == t && out->elem != t;
}

static InValue *list_of(rvm_type t, const ListType *l, int64_t n, InValue *const *elem) {
  InValue *v = invalue_data(t, l->nil, 0);
  for (int64_t i = n - 1; i >= 0; i--) {
    InValue *cons = invalue_data(t, l->cons, 2);
    cons->at[l->rest] = v;
    cons->at[1 - l->rest] = elem[i];
    v = cons;
  }
  return v;
}

/* The parts along the first axis are views of x. */
static InValue *split(const rvm_program *p, rvm_type t, const ListType *l, const Tensor *x,
                      SpecError *why) {
  rvm_type_info info;
  rvm_type_describe(p, l->elem, &info);
  int64_t n = x->dim[0], each = n ? x->count / n : 0;
  InValue **elem = NEW_N(InValue *, n + 1);
  Tensor *part = NEW_N(Tensor, n + 1);
  for (int64_t i = 0; i < n; i++) {
    part[i] = (Tensor){.dtype = x->dtype, .rank = x->rank - 1, .count = each};
    for (int k = 1; k < x->rank; k++) part[i].dim[k - 1] = x->dim[k];
    part[i].bytes = (uint8_t *)x->bytes + i * each * dtype_bytes(x->dtype);
    elem[i] = leaf(p, l->elem, &info, &part[i], why);
    if (elem[i]) continue;
    why->text = str_fmt("split along its first axis: %s", why->text);
    return NULL;
  }
  return list_of(t, l, n, elem);
}

InValue *invalue_tensor(const rvm_program *p, rvm_type t, const Tensor *x, SpecError *why) {
  rvm_type_info info, elem;
  ListType l;
  if (rvm_type_describe(p, t, &info) != RVM_OK) return spec_bad(why, "it has no type");
  if (info.kind == RVM_TENSOR) return leaf(p, t, &info, x, why);
  if (x->rank > 0 && list_type(p, t, &l) && rvm_type_describe(p, l.elem, &elem) == RVM_OK &&
      elem.kind == RVM_TENSOR)
    return split(p, t, &l, x, why);
  return spec_bad(why, "expected %s, found a tensor", type_of_value(p, t));
}

/* ---- from tensors by name ----------------------------------------------------------------- */

/* All names and their dotted beginnings. */
typedef struct {
  const char *name;
  size_t n;
  const Tensor *tensor;
} Known;
typedef struct {
  const rvm_program *p;
  Map at; /* hash of a path -> Known              */
  SpecError *why;
  bool missing; /* the failure is a name that is not there */
} Paths;

static Known *path_slot(Paths *ps, const char *s, size_t n, uint64_t *h) {
  Known *k;
  *h = hash_bytes(s, n, 0);
  for (; (k = map_get(&ps->at, *h)) != NULL; *h = hash_mix(*h, 1))
    if (k->n == n && !memcmp(k->name, s, n)) break;
  return k;
}
static void enter_path(Paths *ps, const char *s, size_t n, const Tensor *t) {
  uint64_t h;
  Known *k = path_slot(ps, s, n, &h);
  if (!k) {
    k = NEW(Known);
    *k = (Known){s, n, NULL};
    map_set(&ps->at, h, k);
  }
  if (t) k->tensor = t;
}
static const Known *find_path(Paths *ps, const char *s) {
  uint64_t h;
  return path_slot(ps, s, strlen(s), &h);
}
static void enter_set(Paths *ps, const TensorSet *sets) {
  for (int i = 0; i < sets->n; i++) {
    const char *s = sets->at[i].name;
    enter_path(ps, s, strlen(s), sets->at[i].value);
    for (const char *dot = strchr(s, '.'); dot; dot = strchr(dot + 1, '.'))
      enter_path(ps, s, (size_t)(dot - s), NULL);
  }
}

static const char *below(const char *path, const char *part) {
  return path[0] ? str_fmt("%s.%s", path, part) : part;
}
static const char *below_n(const char *path, int64_t i) {
  return below(path, str_fmt("%lld", (long long)i));
}

static InValue *from_paths(Paths *ps, rvm_type t, const char *path);

static InValue *no_path(Paths *ps, rvm_type t, const char *path) {
  ps->missing = true;
  return spec_bad(ps->why, "there is no tensor `%s` (%s)", shown(path), type_of_value(ps->p, t));
}

static InValue *list_from_paths(Paths *ps, rvm_type t, const ListType *l, const char *path) {
  VEC(InValue *) elem = {0};
  for (;;) {
    const char *name = below_n(path, elem.n);
    if (!find_path(ps, name)) return elem.n ? list_of(t, l, elem.n, elem.at) : no_path(ps, t, name);
    InValue *v = from_paths(ps, l->elem, name);
    if (!v) return NULL;
    vec_push(&elem, v);
  }
}

static const char *field_path(Paths *ps, rvm_type t, const char *path, uint32_t i) {
  const char *field = rvm_ctor_field_name(ps->p, t, 0, i);
  if (field[0]) {
    const char *name = below(path, field);
    if (find_path(ps, name) || !find_path(ps, below_n(path, i))) return name;
  }
  return below_n(path, i);
}

/* The recursion goes down one name at a time, and only where there is one. */
static InValue *from_paths(Paths *ps, rvm_type t, const char *path) {
  rvm_type_info info;
  ListType l;
  if (rvm_type_describe(ps->p, t, &info) != RVM_OK) return spec_bad(ps->why, "it has no type");
  if (info.kind == RVM_DATA && info.n_ctors == 1 && rvm_ctor_fields(ps->p, t, 0) == 0)
    return invalue_data(t, 0, 0);
  const Known *k = find_path(ps, path);
  if (k && k->tensor) {
    InValue *v = invalue_tensor(ps->p, t, k->tensor, ps->why);
    if (!v && path[0]) ps->why->text = str_fmt("tensor `%s`: %s", shown(path), ps->why->text);
    return v;
  }
  if (info.kind == RVM_TENSOR || (!k && path[0])) return no_path(ps, t, path);
  if (list_type(ps->p, t, &l)) return list_from_paths(ps, t, &l, path);
  if (info.kind != RVM_DATA || info.n_ctors != 1)
    return spec_bad(ps->why,
                    "tensors alone do not say which value of %s is meant: give it with --input",
                    type_of_value(ps->p, t));
  InValue *v = invalue_data(t, 0, rvm_ctor_fields(ps->p, t, 0));
  for (uint32_t i = 0; i < v->n; i++) {
    v->at[i] = from_paths(ps, rvm_ctor_field(ps->p, t, 0, i), field_path(ps, t, path, i));
    if (!v->at[i]) return NULL;
  }
  return v;
}

SpecResult input_from_sets(const rvm_program *p, rvm_type t, const char *name,
                           const TensorSet *sets, InValue **out, SpecError *why) {
  Paths ps = {.p = p, .why = why};
  enter_set(&ps, sets);
  *out = NULL;
  /* A lone .npy has no name: it is meant for the one that asks. */
  bool lone = sets->n == 1 && !sets->at[0].name[0];
  if (!lone && name[0] && !find_path(&ps, name)) {
    *out = from_paths(&ps, t, name); /* () needs no tensors          */
    return *out ? SPEC_OK : ps.missing ? SPEC_MISSING : SPEC_BAD;
  }
  *out = from_paths(&ps, t, lone ? "" : name);
  return *out ? SPEC_OK : SPEC_BAD;
}

/* ---- values -------------------------------------------------------------------------------- */
typedef struct {
  const InValue *v;
  uint32_t i;
  rvm_value *field;
} Making;

typedef rvm_status MakeTensor(rvm_instance *vm, rvm_type t, const DLTensor *x, rvm_value *out,
                              rvm_error *err);
static rvm_status make_leaf(rvm_instance *vm, const InValue *v, MakeTensor *make, rvm_value *out,
                            rvm_error *err) {
  int code, bits;
  dtype_to_dl(v->tensor->dtype, &code, &bits);
  DLTensor x = {.data = v->tensor->bytes,
                .device = {1, 0},
                .ndim = v->tensor->rank,
                .dtype = {(uint8_t)code, (uint8_t)bits, 1},
                .shape = (int64_t *)(uintptr_t)v->tensor->dim};
  return make(vm, v->type, &x, out, err);
}

/* Depth first with a stack of its own: lists are deep. */
static rvm_status make_value(rvm_instance *vm, const InValue *v, MakeTensor *make, rvm_value *out,
                             rvm_error *err) {
  VEC(Making) open = {0};
  rvm_status st = RVM_OK;
  for (const InValue *at = v; st == RVM_OK;) {
    rvm_value made = {1, at->type};
    if (at->tensor)
      st = make_leaf(vm, at, make, &made, err);
    else if (at->n == 0)
      st = rvm_value_data(vm, at->type, at->ctor, 0, NULL, &made, err);
    else {
      vec_push(&open, ((Making){at, 0, NEW_N(rvm_value, at->n)}));
      at = at->at[0];
      continue;
    }
    while (st == RVM_OK && open.n > 0) {
      Making *f = &vec_last(&open);
      f->field[f->i++] = made;
      if (f->i < f->v->n) break;
      open.n--;
      st = rvm_value_data(vm, f->v->type, f->v->ctor, f->v->n, f->field, &made, err);
    }
    if (st != RVM_OK) break;
    if (open.n == 0) return *out = made, RVM_OK;
    at = vec_last(&open).v->at[vec_last(&open).i];
  }
  for (int i = 0; i < open.n; i++)
    for (uint32_t k = 0; k < open.at[i].i; k++) rvm_value_release(vm, open.at[i].field[k]);
  return st;
}

rvm_status invalue_make(rvm_instance *vm, const InValue *v, rvm_value *out, rvm_error *err) {
  return make_value(vm, v, rvm_value_tensor, out, err);
}
rvm_status invalue_copy(rvm_instance *vm, const InValue *v, rvm_value *out, rvm_error *err) {
  return make_value(vm, v, rvm_value_tensor_copy, out, err);
}
