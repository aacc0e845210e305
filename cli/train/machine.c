/* machine.c -- compiling a program for training and running parts of it;
 * features of the examples; values taken apart and put together.              */
#include "cli/value/show.h"
#include "cli/train/train.h"

/* ---- opening ---------------------------------------------------------------------------- */
bool machine_open(Machine *m, const TrainOpts *o, const char *path, const StrBuf *text,
                  const char *entries, int *code) {
  Compiled image;
  TextFile f = {path, text ? buf_text(text) : NULL, text ? text->n : 0};
  rvm_error err = {0};
  *m = (Machine){.path = path};
  driver_init(&m->d, o->common.diag);
  m->d.opt_level = driver_level(&o->opt);
  if (!driver_image_source(&m->d, f, entries, &image, code)) return false;
  m->image = image.bytes;
  *code = EXIT_REJECTED;
  if (rvm_program_load(image.bytes, image.n, host_alloc(), &m->p, &err) != RVM_OK) {
    say_bad_image(path, err.message, err.at, err.func, err.pc);
    return *code = EXIT_BUG, false;
  }
  if (!engine_choose(&m->engine, o->engine, o->threads)) return false;
  m->engine.kernels = true; /* a step is a long function: compiling it takes longer than it saves */
  if (!engine_start(&m->engine, m->p, image.bytes, image.n, true)) return false;
  if (rvm_instance_new(m->p, &(rvm_limits){.memory = host_memory()}, host_alloc(), &m->vm, &err) ==
      RVM_OK)
    return true;
  return *code = machine_failed(m, &err), false;
}

void machine_close(Machine *m) {
  if (m->vm) rvm_instance_free(m->vm);
  engine_end(&m->engine);
  if (m->p) rvm_program_free(m->p);
  m->vm = NULL, m->p = NULL, m->engine.native = NULL;
}

int machine_failed(Machine *m, const rvm_error *err) { return driver_fault(&m->d, m->path, err); }

/* ---- features ------------------------------------------------------------------------------ */
static bool feature_of(Machine *m, rvm_func f, Tensor *item, int *code) {
  rvm_error err = {0};
  rvm_value in, out;
  TensorSet one = {0};
  SpecError why = {0};
  InValue *v = invalue_tensor(m->p, rvm_func_param(m->p, f, 0), item, &why);
  if (!v) {
    fprintf(stderr, "rvm: @features of %s: %s\n", m->path, why.text);
    return *code = EXIT_REJECTED, false;
  }
  if (invalue_copy(m->vm, v, &in, &err) != RVM_OK || rvm_apply(m->vm, f, &in, &out, &err) != RVM_OK)
    return *code = machine_failed(m, &err), false;
  values_to_set(m->p, m->vm, out, &one);
  rvm_value_release(m->vm, out);
  *item = *one.at[0].value;
  return true;
}

static bool features_of_all(const Plan *p, Machine *m, Column *c, int64_t n, int *code) {
  rvm_func f;
  rvm_error err = {0};
  rvm_type_info info = {0};
  if (rvm_program_find(m->p, "features", &f, &err) != RVM_OK) return *code = EXIT_BUG, false;
  rvm_type_describe(m->p, rvm_func_param(m->p, f, 0), &info);
  const char *why =
      info.kind == RVM_TENSOR ? column_convert(c, n, type_dtype(&info)) : "it takes no tensor";
  Type *result = type_resolve(type_resolve(p->features->type)->fn.ret);
  if (!why && result->kind != TY_Tensor)
    why = str_fmt("it must return a tensor, found %s", type_text(result));
  for (int64_t i = 0; !why && i < n; i++)
    if (!feature_of(m, f, &c->item[i], code)) {
      fprintf(stderr, "rvm: @features failed for example %lld\n", (long long)i);
      return false;
    }
  if (!why) why = column_measure(c, n);
  if (why) fprintf(stderr, "rvm: @features of %s: %s\n", m->path, why), *code = EXIT_REJECTED;
  return !why;
}

bool data_features(const Plan *p, DataSet *d, int *code) {
  Machine m;
  if (!p->features || d->n == 0) return true;
  const char *name = p->features->fn->param[0]->name;
  Column *c = data_column(d, name);
  *code = EXIT_REJECTED;
  if (!c) {
    fprintf(stderr, "rvm: @features of %s: nothing is known for %%%s: the data has %s\n", p->path,
            name, data_names(d));
    return false;
  }
  bool ok = machine_open(&m, p->o, p->path, NULL, "features", code) &&
            features_of_all(p, &m, c, d->n, code);
  machine_close(&m);
  return ok;
}

/* ---- values, taken apart -------------------------------------------------------------- */
typedef struct {
  rvm_value v;
  InValue **to;
  const char *path;
  int64_t index; /* of the next element, inside a list        */
} Open;
typedef VEC(Open) Opens;

static const char *part_path(const rvm_program *p, rvm_type t, uint32_t ctor, uint32_t i,
                             const char *path) {
  rvm_type_info info = {0};
  const char *field = rvm_ctor_field_name(p, t, ctor, i);
  rvm_type_describe(p, t, &info);
  if (info.n_ctors > 1) path = str_fmt("%s.%s", path, rvm_ctor_name(p, t, ctor));
  return field[0] ? str_fmt("%s.%s", path, field) : str_fmt("%s.%u", path, i);
}

static void take_leaf(Machine *m, const Open *at, Tree *out) {
  TensorSet one = {0};
  values_to_set(m->p, m->vm, at->v, &one);
  InValue *v = NEW(InValue);
  *v = (InValue){.type = at->v.type, .tensor = one.at[0].value};
  *at->to = v;
  vec_push(&out->leaves, ((NamedTensor){at->path, one.at[0].value}));
}

static void take_data(Machine *m, const Open *at, Opens *open) {
  rvm_type t = at->v.type;
  uint32_t c = rvm_value_ctor(m->vm, at->v), n = rvm_ctor_fields(m->p, t, c);
  InValue *v = invalue_data(t, c, n);
  ListType l;
  bool list = list_type(m->p, t, &l);
  *at->to = v;
  for (uint32_t i = n; i-- > 0;) { /* the first one is taken next       */
    Open q = {rvm_value_field(m->vm, at->v, i), &v->at[i], at->path, 0};
    if (!list)
      q.path = part_path(m->p, t, c, i, at->path);
    else if (i != l.rest)
      q.path = str_fmt("%s.%lld", at->path, (long long)at->index);
    else
      q.index = at->index + 1;
    vec_push(open, q);
  }
}

void tree_take(Machine *m, rvm_value v, const char *prefix, Tree *out) {
  Opens open = {0};
  *out = (Tree){0};
  vec_push(&open, ((Open){v, &out->root, prefix, 0}));
  while (open.n > 0) {
    Open at = vec_pop(&open);
    rvm_type_info info = {0};
    rvm_type_describe(m->p, at.v.type, &info);
    if (info.kind == RVM_TENSOR)
      take_leaf(m, &at, out);
    else
      take_data(m, &at, &open);
  }
}

const char *tree_put(const Tree *t, const TensorSet *set) {
  for (int i = 0; i < t->leaves.n; i++) {
    Tensor *to = t->leaves.at[i].value;
    const Tensor *from = tensor_find(set, t->leaves.at[i].name);
    bool same = from && from->dtype == to->dtype && from->rank == to->rank;
    for (int k = 0; same && k < to->rank; k++) same = from->dim[k] == to->dim[k];
    if (!from) return str_fmt("there is no tensor `%s`", shown(t->leaves.at[i].name));
    if (!same) {
      StrBuf want = {0}, have = {0};
      type_text_of(to->dtype, to->rank, to->dim, &want);
      type_text_of(from->dtype, from->rank, from->dim, &have);
      return str_fmt("`%s` is %s where the program has %s", shown(t->leaves.at[i].name),
                     buf_text(&have), buf_text(&want));
    }
    memcpy(to->bytes, from->bytes, (size_t)to->count * (size_t)dtype_bytes(to->dtype));
  }
  return NULL;
}
