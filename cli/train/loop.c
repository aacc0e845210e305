/* loop.c -- epochs: steps over shuffled batches, validation, checkpoints,
 * the end.                                                                    */
#include <math.h>
#include <unistd.h>
#include "base/file.h"
#include "cli/measure/clock.h"
#include "cli/train/batch.h"
#include "cli/watch.h"

typedef struct {
  const TrainOpts *o;
  const Plan *plan;
  Machine *m;
  const DataSet *train, *val;
  const BatchSizes *sizes;
  const Names *names;
  Entry step, rest, check, check_rest;
  rvm_value params, state;
  uint64_t seed, total;
  int64_t *order, *val_order;
  Progress at;
  TensorSet best;
  Report report;
  int code; /* once something failed                     */
} Loop;

static const char state_prefix[] = "train.state";

static bool fail(Loop *l, int code, const char *why) {
  report_clear(&l->report);
  fprintf(stderr, "rvm: %s\n", why);
  l->code = code;
  return false;
}
static bool fail_call(Loop *l, const rvm_error *err) {
  report_clear(&l->report);
  if (err->status == RVM_INTERRUPTED) {
    const char *c = l->o->checkpoint;
    const char *kept = !c || l->at.epoch == 0 ? ""
                                              : str_fmt("; %s has the state after epoch %llu", c,
                                                        (unsigned long long)l->at.epoch);
    fprintf(stderr, "rvm: interrupted in epoch %llu%s\n", (unsigned long long)l->report.epoch,
            kept);
    l->code = EXIT_INTERRUPT;
  } else
    l->code = machine_failed(l->m, err);
  return false;
}

/* ---- one step ------------------------------------------------------------------------------- */
static float scalar_at(Loop *l, rvm_value v) {
  DLTensor x;
  float f;
  rvm_value_get(l->m->vm, &v, &x);
  memcpy(&f, (const char *)x.data + x.byte_offset, sizeof f);
  return f;
}

/* A field of a value as a value of its own. */
static rvm_value owned_field(Loop *l, rvm_value v, uint32_t i) {
  rvm_value f = rvm_value_field(l->m->vm, v, i);
  rvm_value_retain(l->m->vm, f);
  return f;
}

static bool run_step(Loop *l, Entry *e, const int64_t *order, int64_t n, double *loss) {
  rvm_value in[MOST_PARAMS], out;
  rvm_error err = {0};
  Batch b = {l->train, order, n, l->seed, l->at.step + 1, l->total};
  const char *why = batch_make(l->m, e, &b, l->params, l->state, in, &err);
  if (why) return fail(l, EXIT_REJECTED, why);
  if (rvm_apply(l->m->vm, e->f, in, &out, &err) != RVM_OK) return fail_call(l, &err);
  l->params = owned_field(l, out, 0);
  l->state = owned_field(l, out, 1);
  rvm_value last = rvm_value_field(l->m->vm, out, 2);
  *loss = (double)scalar_at(l, last);
  rvm_value_release(l->m->vm, out);
  l->at.step++;
  if (isfinite(*loss)) return true;
  const char *odd = batch_odd(e, &b);
  return fail(l, EXIT_REJECTED,
              str_fmt("the loss is %s at step %llu (epoch %llu): %s",
                      isnan(*loss) ? "nan" : "infinite", (unsigned long long)l->at.step,
                      (unsigned long long)l->report.epoch,
                      odd              ? odd
                      : l->at.step > 1 ? "a lower --lr or --clip may help"
                                       : "with the first weights; is a label beyond the classes?"));
}

static bool run_steps(Loop *l, double *mean) {
  double sum = 0, loss = 0;
  int64_t done = 0, n = l->train->n, step = 0;
  shuffle(l->order, n, l->seed, l->report.epoch);
  while (done < n) {
    int64_t k = n - done < l->sizes->batch ? n - done : l->sizes->batch;
    if (!run_step(l, k == l->sizes->batch ? &l->step : &l->rest, l->order + done, k, &loss))
      return false;
    sum += loss * (double)k;
    done += k;
    report_step(&l->report, ++step, done, sum / (double)done);
  }
  *mean = sum / (double)n;
  return true;
}

/* ---- validation -------------------------------------------------------------------------- */
/* Adds the numbers in v, weighted, to sum; the number of them. */
static int add_numbers(Loop *l, rvm_value v, double weight, double *sum) {
  rvm_type_info info = {0};
  int n = 0;
  rvm_type_describe(l->m->p, v.type, &info);
  if (info.kind == RVM_TENSOR) return *sum += weight * (double)scalar_at(l, v), 1;
  uint32_t fields = rvm_ctor_fields(l->m->p, v.type, rvm_value_ctor(l->m->vm, v));
  for (uint32_t i = 0; i < fields; i++)
    n += add_numbers(l, rvm_value_field(l->m->vm, v, i), weight, sum + n);
  return n;
}

static bool run_check(Loop *l, double *measured) {
  int64_t n = l->val->n;
  memset(measured, 0, MOST_METRICS * sizeof *measured);
  for (int64_t done = 0; done < n;) {
    int64_t k = n - done < l->sizes->val ? n - done : l->sizes->val;
    Entry *e = k == l->sizes->val ? &l->check : &l->check_rest;
    rvm_value in[MOST_PARAMS], out;
    rvm_error err = {0};
    Batch b = {l->val, l->val_order + done, k, l->seed, l->at.step, l->total};
    const char *why = batch_make(l->m, e, &b, l->params, l->state, in, &err);
    if (why) return fail(l, EXIT_REJECTED, why);
    rvm_value_retain(l->m->vm, l->params); /* the call consumes one         */
    if (rvm_apply(l->m->vm, e->f, in, &out, &err) != RVM_OK) return fail_call(l, &err);
    add_numbers(l, out, (double)k / (double)n, measured);
    rvm_value_release(l->m->vm, out);
    done += k;
  }
  return true;
}

/* ---- the best epoch ---------------------------------------------------------------------- */
/* The measure to watch: without --monitor the last metric, else the loss. */
static const char *monitor_name(const Loop *l) {
  if (l->o->monitor) return l->o->monitor;
  return l->names->n ? l->names->name[l->names->n - 1] : "loss";
}

static bool monitor_known(Loop *l) {
  const char *name = monitor_name(l);
  StrBuf have = {0};
  name += name[0] == '-';
  if (!strcmp(name, "loss")) return true;
  for (int i = 0; i < l->names->n; i++) {
    if (!strcmp(l->names->name[i], name)) return true;
    buf_fmt(&have, "%s%s", i ? ", " : "", l->names->name[i]);
  }
  return fail(
      l, EXIT_REJECTED,
      str_fmt("nothing measures `%s`; there are %s", name, have.n ? buf_text(&have) : "loss"));
}

/* Its value, turned so that less is better. */
static double watched(const Loop *l, const Epoch *e) {
  const char *name = monitor_name(l);
  bool less = name[0] == '-' || !strcmp(name, "loss");
  name += name[0] == '-';
  for (int i = 0; i < l->names->n; i++)
    if (!strcmp(l->names->name[i], name)) return less ? e->measured[i] : -e->measured[i];
  return e->loss;
}

static void keep_best(Loop *l, const Epoch *e, const TensorSet *weights) {
  double v = watched(l, e);
  if (l->at.has_best && !(v < l->at.best)) return;
  l->at.has_best = true, l->at.best = v, l->at.best_epoch = l->at.epoch;
  l->best = *weights;
}

/* ---- files ---------------------------------------------------------------------------- */
static bool save(Loop *l, const Tree *weights) {
  Tree state;
  tree_take(l->m, l->state, state_prefix, &state);
  const char *why = checkpoint_write(l->o->checkpoint, &l->at, l->names, &weights->leaves,
                                     &state.leaves, &l->best);
  return why ? fail(l, EXIT_IO, why) : true;
}

/* The log up to the epoch that is done, as it was written; then it goes on. */
static bool open_log(Loop *l) {
  StrBuf keep = {0};
  if (!l->o->log) return true;
  uint64_t steps = l->at.epoch ? l->at.step / l->at.epoch : 0;
  for (int i = 0; i < l->at.history.at.n; i++)
    log_epoch(&keep, (uint64_t)i + 1, &l->at.history.at.at[i], l->names, steps * ((uint64_t)i + 1));
  const char *why = file_write(l->o->log, buf_text(&keep), keep.n);
  if (why) return fail(l, EXIT_IO, str_fmt("%s: %s", l->o->log, why));
  l->report.log = fopen(l->o->log, "a");
  return l->report.log ? true : fail(l, EXIT_IO, str_fmt("%s: cannot be written", l->o->log));
}

/* ---- an epoch ------------------------------------------------------------------------- */
static bool run_epoch(Loop *l) {
  Epoch e = {0};
  Tree weights;
  l->report.began = clock_seconds();
  if (!run_steps(l, &e.loss)) return false;
  if (l->val && l->names->n && !run_check(l, e.measured)) return false;
  e.seconds = clock_seconds() - l->report.began;
  l->at.epoch = l->report.epoch;
  vec_push(&l->at.history.at, e);
  if (l->o->checkpoint || l->o->patience) tree_take(l->m, l->params, l->plan->prefix, &weights);
  if (l->o->patience) keep_best(l, &e, &weights.leaves);
  if (l->o->checkpoint && !save(l, &weights)) return false;
  report_epoch(&l->report, l->at.epoch, &e, l->at.step);
  if (l->report.log && ferror(l->report.log))
    return fail(l, EXIT_IO, str_fmt("%s: it cannot be written", l->o->log));
  l->report.last = &vec_last(&l->at.history.at);
  const char *why = l->o->plot ? plot_write(l->o->plot, &l->at.history, l->names) : NULL;
  return why ? fail(l, EXIT_IO, why) : true;
}

static bool patience_over(Loop *l) {
  if (!l->o->patience || !l->at.has_best || l->at.epoch - l->at.best_epoch < l->o->patience)
    return false;
  if (!l->o->quiet)
    printf("no better for %llu epochs: stopped; epoch %llu was the best\n",
           (unsigned long long)l->o->patience, (unsigned long long)l->at.best_epoch);
  return true;
}

static bool run_epochs(Loop *l) {
  l->report.first = l->at.epoch + 1;
  for (uint64_t e = l->at.epoch + 1; e <= l->o->epochs && !patience_over(l); e++) {
    l->report.epoch = e;
    if (!run_epoch(l)) return false;
  }
  return true;
}

/* ---- before the first -------------------------------------------------------------------- */
static bool call_one(Loop *l, const char *name, rvm_value in, rvm_value *out) {
  rvm_func f;
  rvm_error err = {0};
  if (rvm_program_find(l->m->p, name, &f, &err) != RVM_OK)
    return fail(l, EXIT_BUG, str_fmt("there is no @%s", name));
  return rvm_apply(l->m->vm, f, &in, out, &err) == RVM_OK ? true : fail_call(l, &err);
}

static bool make_value(Loop *l, const InValue *v, rvm_value *out) {
  rvm_error err = {0};
  return invalue_copy(l->m->vm, v, out, &err) == RVM_OK ? true : fail_call(l, &err);
}

static bool first_values(Loop *l) {
  rvm_func f;
  rvm_error err = {0};
  SpecError why = {0};
  rvm_value key;
  uint32_t words[2] = {(uint32_t)l->seed, (uint32_t)(l->seed >> 32)};
  Tensor *t = tensor_new(DT_u32, 1, &(int64_t){2});
  memcpy(t->bytes, words, sizeof words);
  if (rvm_program_find(l->m->p, "__init", &f, &err) != RVM_OK)
    return fail(l, EXIT_BUG, "there is no @__init");
  InValue *v = invalue_tensor(l->m->p, rvm_func_param(l->m->p, f, 0), t, &why);
  if (!v) return fail(l, EXIT_BUG, why.text);
  if (!make_value(l, v, &key) || !call_one(l, "__init", key, &l->params)) return false;
  rvm_value_retain(l->m->vm, l->params);
  return call_one(l, l->plan->step ? "__state" : "init_state", l->params, &l->state);
}

/* The tensors of a set in the place of those of a value. */
static bool replace(Loop *l, rvm_value *v, const char *prefix, const TensorSet *set,
                    const char *path) {
  Tree tree;
  tree_take(l->m, *v, prefix, &tree);
  const char *why = tree_put(&tree, set);
  if (why) return fail(l, EXIT_REJECTED, str_fmt("%s: %s", path, why));
  rvm_value_release(l->m->vm, *v);
  return make_value(l, tree.root, v);
}

static bool resume_best(Loop *l, const TensorSet *set) {
  Tree tree;
  if (!l->at.has_best) return true;
  tree_take(l->m, l->params, l->plan->prefix, &tree);
  for (int i = 0; i < tree.leaves.n; i++) {
    Tensor *t = tensor_find(set, str_fmt("train.best.%s", tree.leaves.at[i].name));
    if (!t)
      return fail(l, EXIT_REJECTED,
                  str_fmt("%s: the best weights are not in it", l->o->checkpoint));
    vec_push(&l->best, ((NamedTensor){tree.leaves.at[i].name, t}));
  }
  return true;
}

static bool resume(Loop *l) {
  const char *path = l->o->checkpoint;
  TensorSet set = {0};
  if (!path) return true;
  bool there = access(path, F_OK) == 0;
  if (there && !l->o->resume)
    return fail(l, EXIT_REJECTED,
                str_fmt("%s is there already: --resume goes on from it, or remove it", path));
  if (!there) return true;
  const char *why = checkpoint_read(path, &l->at, l->names, &set);
  if (why) return fail(l, access(path, R_OK) ? EXIT_IO : EXIT_REJECTED, why);
  if (!replace(l, &l->params, l->plan->prefix, &set, path) ||
      !replace(l, &l->state, state_prefix, &set, path) || !resume_best(l, &set))
    return false;
  if (!l->o->quiet) printf("%s: epoch %llu is done\n", path, (unsigned long long)l->at.epoch);
  return true;
}

static bool start_from(Loop *l) {
  TensorSet set = {0};
  const char *path = l->o->from, *why = path ? tensor_file_read(path, &set) : NULL;
  if (why) return fail(l, access(path, R_OK) ? EXIT_IO : EXIT_REJECTED, why);
  return !path || replace(l, &l->params, l->plan->prefix, &set, path);
}

/* ---- all of it ------------------------------------------------------------------------ */
static bool find_entries(Loop *l) {
  const BatchSizes *s = l->sizes;
  const char *step = l->plan->step ? "__step" : "train_step";
  bool ok = entry_find(l->m, step, l->train, &l->step) &&
            (!s->rest || entry_find(l->m, "__rest", l->train, &l->rest)) &&
            (!s->val || entry_find(l->m, "__check", l->val, &l->check)) &&
            (!s->val_rest || entry_find(l->m, "__check_rest", l->val, &l->check_rest));
  if (!ok) l->code = EXIT_REJECTED;
  return ok;
}

static bool deliver(Loop *l) {
  Tree weights;
  if (!l->o->out) return true;
  tree_take(l->m, l->params, l->plan->prefix, &weights);
  const char *why = tensor_file_write(l->o->out, l->at.has_best ? &l->best : &weights.leaves);
  if (why) return fail(l, EXIT_IO, why);
  if (!l->o->quiet) printf("%s: %d tensors\n", l->o->out, weights.leaves.n);
  return true;
}

int train_loop(const TrainOpts *o, const Plan *plan, Machine *m, DataSet *train, DataSet *val,
               const BatchSizes *sizes, const Names *names, const char *config) {
  int64_t steps = (train->n + sizes->batch - 1) / sizes->batch;
  Loop l = {.o = o,
            .plan = plan,
            .m = m,
            .train = train,
            .val = val,
            .sizes = sizes,
            .names = names,
            .seed = (uint64_t)o->seed,
            .at = {.config = config}};
  l.total = (uint64_t)steps * o->epochs;
  l.order = NEW_BYTES((size_t)train->n * sizeof *l.order);
  l.val_order = NEW_BYTES((size_t)(val ? val->n : 1) * sizeof *l.val_order);
  for (int64_t i = 0; val && i < val->n; i++) l.val_order[i] = i;
  l.report = (Report){.bar = isatty(2) && !o->quiet,
                      .quiet = o->quiet,
                      .epochs = o->epochs,
                      .steps = steps,
                      .examples = train->n,
                      .names = names};
  if (o->checkpoint) file_sweep(o->checkpoint);
  if (o->out) file_sweep(o->out);
  bool ok = find_entries(&l) && monitor_known(&l) && first_values(&l) && start_from(&l) &&
            resume(&l) && open_log(&l);
  Watch *watch = ok ? watch_start(m->vm) : NULL;
  ok = ok && run_epochs(&l);
  watch_end(watch);
  ok = ok && deliver(&l);
  if (l.report.log) fclose(l.report.log);
  return ok ? EXIT_OK : l.code;
}
