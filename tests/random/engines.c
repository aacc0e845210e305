/* engines.c -- see engines.h.                                                 */
#include "tests/random/engines.h"
#include <math.h>
#include <string.h>
#include "cli/cli.h"
#include "cli/value/element.h"
#include "cli/native.h"
#include "cli/value/show.h"
#include "cli/value/spec.h"

/* ---- running ------------------------------------------------------------------------ */
static const GInput *input_of(const GProgram *g, const char *name) {
  for (int i = 0; i < g->in.n; i++)
    if (!strcmp(g->in.at[i].name, name)) return &g->in.at[i];
  return NULL;
}
static const char *run_entry(rvm_program *p, rvm_instance *vm, const GProgram *g, TensorSet *out) {
  rvm_func f;
  rvm_error err = {0};
  rvm_value *in = NEW_N(rvm_value, g->in.n + 1), v;
  SpecError why = {0};
  if (rvm_program_find(p, g->entry, &f, &err) != RVM_OK) return "the entry is not there";
  for (uint32_t i = 0; rvm_func_param_name(p, f, i); i++) {
    const GInput *given = input_of(g, rvm_func_param_name(p, f, i));
    if (!given) return "a parameter has no input";
    InValue *x = invalue_tensor(p, rvm_func_param(p, f, i), given->value, &why);
    if (!x) return str_fmt("input %s: %s", given->name, why.text);
    if (invalue_make(vm, x, &in[i], &err) != RVM_OK) return str_fmt("input: %s", err.message);
  }
  if (rvm_apply(vm, f, in, &v, &err) != RVM_OK)
    return str_fmt("%s, line %u: %s", rvm_status_text(err.status), err.line, err.message);
  values_to_set(p, vm, v, out);
  rvm_value_release(vm, v);
  return NULL;
}

static bool same_bits(const TensorSet *a, const TensorSet *b) {
  bool same = a->n == b->n;
  for (int i = 0; same && i < a->n; i++) {
    const Tensor *x = a->at[i].value, *y = b->at[i].value;
    same = x->count == y->count &&
           !memcmp(x->bytes, y->bytes, (size_t)(x->count * dtype_bytes(x->dtype)));
  }
  return same;
}

/* Again, with versions of the kernels for these extents. */
static void run_fixed(Native *native, rvm_program *p, rvm_instance *vm, const GProgram *g,
                      Outcome *out) {
  TensorSet again = {0};
  native_specialise_now(native, true);
  const char *error = run_entry(p, vm, g, &again);
  native_specialise_now(native, false);
  bool same = !error == !out->error && (!error || !strcmp(error, out->error));
  if (same && !error) same = same_bits(&out->out, &again);
  if (!same)
    out->error = str_fmt("other bits with %u versions of kernels", native_versions(native));
}

static bool run_all(const Way *w, rvm_program *p, const uint8_t *image, size_t size,
                    const GProgram *const *g, int n, Outcome *out) {
  Native *native = NULL;
  rvm_instance *vm;
  rvm_error err;
  rvm_limits limits = {.memory = (uint64_t)1 << 30, .fuel = (uint64_t)1 << 34};
  const char *why = NULL;
  if (strcmp(w->engine, "interp") != 0) {
    NativeOptions o = {.functions = !strcmp(w->engine, "native"),
                       .compile = true,
                       .quick = w->quick,
                       .threads = w->threads};
    native = native_open(p, image, size, o, &why);
    if (!native) {
      fprintf(stderr, "%s: %s\n", w->name, why);
      return false;
    }
  }
  for (int i = 0; i < n; i++) {
    out[i] = (Outcome){.retold = w->printed};
    if (rvm_instance_new(p, &limits, host_alloc(), &vm, &err) != RVM_OK) return false;
    out[i].error = run_entry(p, vm, g[i], &out[i].out);
    if (w->fixed) run_fixed(native, p, vm, g[i], &out[i]);
    rvm_instance_free(vm);
  }
  native_close(native);
  return true;
}

/* The program as the passes leave it, as text; NULL after saying why not. */
static const char *printed(const Way *w, const char *text) {
  Driver d;
  StrBuf b = {0};
  int code;
  driver_init(&d, NULL);
  d.opt_level = w->level, d.passes = w->passes;
  Module *m = driver_load_text(&d, (TextFile){"random.rly", text, strlen(text)}, true);
  if (!m || !driver_differentiate(&d, m, &code) || !driver_optimise(&d, m, NULL, &code))
    return driver_report(&d), NULL;
  ir_print_module(m, &(PrintOpts){0}, &b);
  return buf_text(&b);
}
/* Nothing but extents and values that an operator does not take. */
static bool out_of_shape(const Diags *d) {
  for (int i = 0; i < d->n; i++)
    if (d->at[i].level == DIAG_ERROR && d->at[i].code != E0311 && d->at[i].code != E0312)
      return false;
  return d->n_errors > 0;
}
static bool none_stays(void *ud, Sym name) {
  (void)ud, (void)name;
  return false;
}
/* Those of its inputs that become constants. */
static TensorSet constants(const Way *w, const GProgram *g) {
  TensorSet out = {0};
  for (int i = 0; i < g->in.n; i++)
    if (w->which >> (i & 31) & 1)
      vec_push(&out, ((NamedTensor){g->in.at[i].name, g->in.at[i].value}));
  return out;
}

bool run_way(const Way *w, const char *text, const GProgram *const *p, int n, Outcome *out) {
  Driver d;
  uint8_t *volatile bytes = NULL; /* borrowed by the program, unseen by a collector */
  Compiled image;
  TensorSet bound = {0};
  rvm_program *program;
  rvm_error err;
  if (w->printed && !(text = printed(w, text))) return false;
  driver_init(&d, NULL);
  d.opt_level = w->level, d.passes = w->passes;
  if (w->bound && n == 1) bound = constants(w, p[0]), d.params = &bound, d.stays = none_stays;
  if (!driver_image_text(&d, (TextFile){"random.rly", text, strlen(text)},
                         d.params ? p[0]->entry : NULL, &image))
    return d.params && out_of_shape(d.diags) ? (*out = (Outcome){.refused = true}, true)
                                             : (driver_report(&d), false);
  bytes = image.bytes;
  if (rvm_program_load(bytes, image.n, host_alloc(), &program, &err) != RVM_OK)
    return fprintf(stderr, "%s: the image is refused: %s\n", w->name, err.message), false;
  bool ok = run_all(w, program, bytes, image.n, p, n, out);
  rvm_program_free(program);
  return ok;
}

/* ---- comparing ------------------------------------------------------------------------ */
static double tolerance(DType t) {
  switch (t) {
  case DT_f64: return 1e-9;
  case DT_f32: return 1e-4;
  case DT_f16: return 1e-2;
  default: return 6e-2;
  }
}
static bool close(const Tensor *a, const Tensor *b, int64_t *where) {
  double tol = tolerance(a->dtype);
  for (int64_t i = 0; i < a->count; i++) {
    double x = element_get(a, i), y = element_get(b, i);
    *where = i;
    if (x == y || (isnan(x) && isnan(y))) continue;
    if (!(fabs(x - y) <= tol * (1 + fabs(x)))) return false;
  }
  return true;
}

static const char *tensors_differ(const NamedTensor *want, const NamedTensor *got) {
  const Tensor *a = want->value, *b = got->value;
  int64_t at = 0;
  StrBuf s = {0};
  bool same = !strcmp(want->name, got->name) && a->dtype == b->dtype && a->rank == b->rank;
  for (int i = 0; same && i < a->rank; i++) same = a->dim[i] == b->dim[i];
  if (!same) return str_fmt("%s and %s have other types", want->name, got->name);
  if (dtype_is_float(a->dtype)
          ? close(a, b, &at)
          : !memcmp(a->bytes, b->bytes, (size_t)(a->count * dtype_bytes(a->dtype))))
    return NULL;
  buf_fmt(&s, "%s, element %lld: ", want->name, (long long)at);
  tensor_text(a, false, &s);
  buf_str(&s, " became ");
  tensor_text(b, false, &s);
  return buf_text(&s);
}

const char *outcomes_differ(const Outcome *want, const Outcome *got) {
  if (got->refused) return NULL;
  if (want->error && got->error && (got->retold || !strcmp(want->error, got->error))) return NULL;
  if (want->error || got->error)
    return str_fmt("%s; instead of %s", got->error ? got->error : "a result",
                   want->error ? want->error : "a result");
  if (want->out.n != got->out.n) return "another number of tensors";
  for (int i = 0; i < want->out.n; i++) {
    const char *why = tensors_differ(&want->out.at[i], &got->out.at[i]);
    if (why) return why;
  }
  return NULL;
}
