/* batch.c -- arguments of the entries that train and validate: examples
 * stacked into tensors, padded or as lists.                                   */
#include "cli/train/batch.h"
#include <math.h>
#include "cli/value/element.h"
#include "cli/value/show.h"

bool entry_find(Machine *m, const char *name, const DataSet *d, Entry *out) {
  rvm_func_info info;
  rvm_error err = {0};
  *out = (Entry){0};
  if (rvm_program_find(m->p, name, &out->f, &err) != RVM_OK) {
    fprintf(stderr, "rvm: %s has no entry @%s\n", m->path, name);
    return false;
  }
  rvm_func_describe(m->p, out->f, &info);
  if (info.n_params > MOST_PARAMS) {
    fprintf(stderr, "rvm: @%s of %s has more than %d parameters\n", name, m->path, MOST_PARAMS);
    return false;
  }
  out->n = (int)info.n_params;
  for (int i = 0; i < out->n; i++) {
    const char *param = rvm_func_param_name(m->p, out->f, (uint32_t)i);
    out->role[i] = role_of(d, param, i, &out->column[i]);
    out->type[i] = rvm_func_param(m->p, out->f, (uint32_t)i);
  }
  return true;
}

/* ---- tensors ------------------------------------------------------------------------------ */
/* A buffer of that type and shape, taken again where it is large enough. */
static Tensor *buffer_for(Entry *e, int i, DType t, int rank, const int64_t *dim) {
  Tensor *b = e->buffer[i];
  int64_t count = 1;
  for (int k = 0; k < rank; k++) count *= dim[k];
  if (!b || b->dtype != t || b->count < count) b = e->buffer[i] = tensor_new(t, rank, dim);
  Tensor *view = NEW(Tensor);
  *view = (Tensor){.dtype = t, .rank = rank, .count = count, .bytes = b->bytes};
  memcpy(view->dim, dim, (size_t)rank * sizeof *dim);
  return view;
}

static int64_t longest(const Column *c, const Batch *b) {
  int64_t n = 0;
  for (int64_t k = 0; k < b->n; k++) {
    int64_t here = c->item[b->order[k]].dim[0];
    n = here > n ? here : n;
  }
  return n;
}

/* (batch, ...): shorter examples are followed by zeros. */
static Tensor *stacked(Entry *e, int i, const Column *c, const Batch *b) {
  int64_t dim[MAX_RANK + 1] = {b->n}, row = 1;
  for (int k = 0; k < c->rank; k++) dim[k + 1] = c->dim[k];
  if (c->rank > 0 && c->dim[0] < 0) dim[1] = longest(c, b);
  for (int k = 0; k < c->rank; k++) row *= dim[k + 1];
  Tensor *t = buffer_for(e, i, c->dtype, c->rank + 1, dim);
  size_t each = (size_t)dtype_bytes(c->dtype), bytes = (size_t)row * each;
  uint8_t *to = t->bytes;
  for (int64_t k = 0; k < b->n; k++, to += bytes) {
    const Tensor *x = &c->item[b->order[k]];
    size_t own = (size_t)x->count * each;
    if (own) memcpy(to, x->bytes, own);
    memset(to + own, 0, bytes - own);
  }
  return t;
}

static Tensor *lengths(Entry *e, int i, const Column *c, const Batch *b) {
  Tensor *t = buffer_for(e, i, DT_i32, 1, &b->n);
  for (int64_t k = 0; k < b->n; k++)
    ((int32_t *)t->bytes)[k] = c->rank ? (int32_t)c->item[b->order[k]].dim[0] : 1;
  return t;
}

/* ---- lists ---------------------------------------------------------------------------- */
/* The examples as a list. */
static InValue *listed(Machine *m, rvm_type t, const Column *c, const Batch *b, SpecError *why) {
  InValue *list = NULL, **at = &list;
  ListType l;
  if (!list_type(m->p, t, &l))
    return spec_bad(why, "%s is neither a tensor nor a list", type_of_value(m->p, t));
  for (int64_t k = 0; k < b->n; k++) {
    InValue *cell = *at = invalue_data(t, l.cons, 2);
    InValue *elem = invalue_tensor(m->p, l.elem, &c->item[b->order[k]], why);
    if (!elem) return NULL;
    cell->at[1 - l.rest] = elem;
    at = &cell->at[l.rest];
  }
  *at = invalue_data(t, l.nil, 0);
  return list;
}

/* ---- the call ------------------------------------------------------------------------- */
static Tensor *key_of(uint64_t seed) {
  Tensor *t = tensor_new(DT_u32, 1, &(int64_t){2});
  uint32_t words[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  memcpy(t->bytes, words, sizeof words);
  return t;
}

static InValue *argument(Machine *m, Entry *e, int i, const Batch *b, SpecError *why) {
  const Column *c = e->column[i] < 0 ? NULL : &b->data->columns.at[e->column[i]];
  rvm_type_info info = {0};
  rvm_type_describe(m->p, e->type[i], &info);
  Tensor *t = NULL;
  switch (e->role[i]) {
  case ROLE_Column:
    if (info.kind != RVM_TENSOR) return listed(m, e->type[i], c, b, why);
    t = stacked(e, i, c, b);
    break;
  case ROLE_Length: t = lengths(e, i, c, b); break;
  case ROLE_Key: t = key_of(b->seed); break;
  case ROLE_Step: t = tensor_scalar_int(DT_i64, (int64_t)b->step); break;
  case ROLE_Total: t = tensor_scalar_int(DT_i64, (int64_t)b->total); break;
  case ROLE_Params:
  case ROLE_State:
  case ROLE_None: return spec_bad(why, "the examples have no column of this name");
  }
  return invalue_tensor(m->p, e->type[i], t, why);
}

const char *batch_make(Machine *m, Entry *e, const Batch *b, rvm_value params, rvm_value state,
                       rvm_value *in, rvm_error *err) {
  SpecError why = {0};
  int i = 0;
  for (; i < e->n; i++) {
    if (e->role[i] == ROLE_Params || e->role[i] == ROLE_State) {
      in[i] = e->role[i] == ROLE_Params ? params : state;
      continue;
    }
    InValue *v = argument(m, e, i, b, &why);
    if (!v) break;
    if (invalue_copy(m->vm, v, &in[i], err) != RVM_OK) {
      why.text = str_fmt("%s", err->message);
      break;
    }
  }
  if (i == e->n) return NULL;
  const char *name = rvm_func_param_name(m->p, e->f, (uint32_t)i);
  while (i-- > 0)
    if (e->role[i] != ROLE_Params && e->role[i] != ROLE_State) rvm_value_release(m->vm, in[i]);
  return str_fmt("%%%s: %s", name, why.text);
}

static bool is_odd(const Tensor *t) {
  for (int64_t i = 0; dtype_is_float(t->dtype) && i < t->count; i++)
    if (!isfinite(element_get(t, i))) return true;
  return false;
}
static bool is_empty(const Tensor *t) { return t->count == 0; }

/* The column with such an example. */
static const char *column_with(const Entry *e, const Batch *b, bool (*such)(const Tensor *)) {
  for (int i = 0; i < e->n; i++) {
    if (e->role[i] != ROLE_Column) continue;
    const Column *c = &b->data->columns.at[e->column[i]];
    for (int64_t k = 0; k < b->n; k++)
      if (such(&c->item[b->order[k]])) return c->name;
  }
  return NULL;
}

const char *batch_odd(const Entry *e, const Batch *b) {
  const char *odd = column_with(e, b, is_odd), *empty = odd ? NULL : column_with(e, b, is_empty);
  if (odd) return str_fmt("`%s` of its batch has numbers that are not finite", odd);
  return empty ? str_fmt("`%s` of its batch has an example without elements", empty) : NULL;
}
