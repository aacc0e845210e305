/* cmd_run.c -- run: a program, its inputs, its result.
 *
 * Everything goes through the serialised image and include/rvm/rvm.h.         */
#include <math.h>
#include <stdlib.h>
#include "cli/cli.h"
#include "cli/measure/clock.h"
#include "cli/engine.h"
#include "cli/measure/profile.h"
#include "cli/measure/sample.h"
#include "cli/value/show.h"
#include "cli/value/spec.h"
#include "cli/file/tensor_file.h"
#include "cli/watch.h"
#include "cli/measure/memory.h"
#include <rvm/rvm.h>

typedef struct {
  CommonOpts common;
  const char *entry, *inputs, *output, *expect, *engine;
  TextList input, params;
  NumberOpt rtol, atol;
  uint64_t fuel, memory_limit, call_depth, repeat;
  NumberOpt opt;
  uint64_t threads;
  const char *passes, *profile, *memory, *specialise;
  bool stats, types, full, quiet, samples, no_cache, perf, fast_math;
} RunCmd;
#define O(name, arg, help, kind, field)                                                            \
  { name, arg, help, kind, offsetof(RunCmd, field) }
static const Opt run_opts[] = {
    O("entry", "NAME", "the function to run (default: main)", OPT_TEXT, entry),
    O("input", "NAME=SPEC",
      "an input: @x.npy, f32[1,80]=rand:7 (zeros, ones, 0.5), or an expression", OPT_LIST, input),
    O("inputs", "FILE", "inputs by name from a .npz, .npy or .safetensors file", OPT_TEXT, inputs),
    O("params", "FILE", "weights by name; may be given several times", OPT_LIST, params),
    O("output", "FILE.npz", "write the tensors of the result", OPT_TEXT, output),
    O("expect", "FILE.npz", "compare the result with these tensors; exit 1 if they differ",
      OPT_TEXT, expect),
    O("rtol", "R", "relative tolerance of --expect (default 1e-5)", OPT_NUMBER, rtol),
    O("atol", "A", "absolute tolerance of --expect (default 1e-6)", OPT_NUMBER, atol),
    O("engine", "NAME", ENGINE_HELP, OPT_TEXT, engine),
    O("fast-math", NULL,
      "compiled 3x3 convolutions and large products may multiply less and round more", OPT_FLAG,
      fast_math),
    O("no-cache", NULL, "neither look for machine code in the cache nor keep it", OPT_FLAG,
      no_cache),
    O("perf", NULL, "tell perf(1) the names of compiled functions", OPT_FLAG, perf),
    O("threads", "N", THREADS_HELP, OPT_COUNT_OF, threads),
    O("specialise", "HOW", "versions of kernels for extents that recur: on (default), off, now",
      OPT_TEXT, specialise),
    O("fuel", "N", "stop with exit code 3 after about N scalar operations", OPT_COUNT_OF, fuel),
    O("memory-limit", "BYTES", "refuse to use more, as 64M (default: what the machine has)",
      OPT_BYTES, memory_limit),
    O("call-depth", "N", "refuse deeper recursion", OPT_COUNT_OF, call_depth),
    O("opt", "N", "optimise: 0, 1 or 2 (default)", OPT_LEVEL, opt),
    O("passes", "A,B", "optimise with these passes (rvm opt --list)", OPT_TEXT, passes),
    O("repeat", "N", "run N times; with --stats shows best and median time", OPT_SOME, repeat),
    O("stats", NULL, "what the run took: time, instructions, kernels, memory", OPT_FLAG, stats),
    O("profile", "FILE.json", "time by kernel, on stderr; also a trace for Chrome or Perfetto",
      OPT_MAYBE, profile),
    O("memory", "FILE.svg",
      "what tensors the run made, a plan for them (also as a picture), memory", OPT_MAYBE, memory),
    O("types", NULL, "print the result with its type", OPT_FLAG, types),
    O("full", NULL, "print large tensors whole", OPT_FLAG, full),
    O("quiet", NULL, "do not print the result", OPT_FLAG, quiet),
    O("samples", NULL, NULL, OPT_FLAG, samples), /* for rvm bench: cli/measure/contender.h */
    O("diag", "json", "diagnostics as JSON lines", OPT_TEXT, common.diag),
};
#undef O

typedef struct {
  const RunCmd *o;
  Driver *d;
  const char *path;
  Module *m; /* NULL for a .rvm file                   */
  rvm_program *p;
  rvm_instance *vm;
  rvm_func f;
  TensorSet inputs, params; /* what --inputs and --params hold       */
  InValue **in;             /* one per parameter                       */
  /* The program borrows the bytes, and a collector does not see into it. */
  const uint8_t *volatile image;
  EngineChoice engine;
  rvm_limits limits;
  Profile *profile;     /* or NULL                               */
  MemoryWatch *memory;  /* or NULL */
  uint64_t allocations; /* of the calls, without their inputs */
} Run;

enum { MOST_REPEATS = 1000000 };

/* ---- failures -------------------------------------------------------------------- */
static int fail_run(Run *r, const rvm_error *e) { return driver_fault(r->d, r->path, e); }

/* ---- inputs ------------------------------------------------------------------------ */
static int read_sets(Run *r) {
  int code = r->o->inputs ? tensors_read(r->o->inputs, &r->inputs) : EXIT_OK;
  for (int i = 0; i < r->o->params.n && code == EXIT_OK; i++)
    code = tensors_read(r->o->params.at[i], &r->params);
  return code;
}

static const char *spec_for(const RunCmd *o, const char *name) {
  size_t n = strlen(name);
  for (int i = o->input.n - 1; i >= 0; i--)
    if (!strncmp(o->input.at[i], name, n) && o->input.at[i][n] == '=')
      return o->input.at[i] + n + 1;
  return NULL;
}

/* What --input or --inputs give is no weight of the program's. */
static bool given_otherwise(void *ud, Sym name) {
  Run *r = ud;
  size_t n = strlen(name);
  for (int i = 0; i < r->inputs.n; i++) {
    const char *s = r->inputs.at[i].name;
    if (!strncmp(s, name, n) && (!s[n] || s[n] == '.')) return true;
  }
  return spec_for(r->o, name) != NULL;
}

/* Every --input must name a parameter. */
static bool inputs_named(Run *r, const rvm_func_info *info) {
  for (int i = 0; i < r->o->input.n; i++) {
    const char *s = r->o->input.at[i], *eq = strchr(s, '=');
    bool found = false;
    for (uint32_t k = 0; eq && k < info->n_params && !found; k++) {
      const char *name = rvm_func_param_name(r->p, r->f, k);
      found = strlen(name) == (size_t)(eq - s) && !strncmp(s, name, (size_t)(eq - s));
    }
    if (found) continue;
    fprintf(stderr, "rvm: --input %s: @%s has no such parameter; it has", s, info->name);
    for (uint32_t k = 0; k < info->n_params; k++)
      fprintf(stderr, " %%%s", rvm_func_param_name(r->p, r->f, k));
    fprintf(stderr, "\n");
    return false;
  }
  return true;
}

static bool read_inputs(Run *r, const rvm_func_info *info, int *code) {
  bool ok = inputs_named(r, info);
  *code = EXIT_REJECTED;
  StrBuf missing = {0};
  TensorSet sets = {0};
  for (int i = 0; i < r->params.n; i++) vec_push(&sets, r->params.at[i]);
  for (int i = 0; i < r->inputs.n; i++) vec_push(&sets, r->inputs.at[i]);
  r->in = NEW_N(InValue *, info->n_params + 1);
  for (uint32_t i = 0; i < info->n_params; i++) {
    const char *name = rvm_func_param_name(r->p, r->f, i), *spec = spec_for(r->o, name);
    rvm_type t = rvm_func_param(r->p, r->f, i);
    SpecError why = {0};
    SpecResult got = SPEC_OK;
    if (spec)
      r->in[i] = input_from_spec(r->p, t, r->m, spec, &why);
    else
      got = input_from_sets(r->p, t, name, &sets, &r->in[i], &why);
    if (r->in[i]) continue;
    ok = false;
    if (why.io) *code = EXIT_IO;
    if (got == SPEC_MISSING)
      buf_fmt(&missing, "  %%%s: %s\n", name, type_of_value(r->p, t));
    else
      fprintf(stderr, "rvm: input %%%s: %s\n", name, why.text);
  }
  if (!missing.n) return ok;
  fprintf(stderr,
          "rvm: @%s needs inputs that were not given (--input NAME=SPEC, --inputs FILE, --params "
          "FILE):\n%s",
          info->name, buf_text(&missing));
  if (sets.n) fprintf(stderr, "the files hold %s\n", set_names(&sets));
  return false;
}

static rvm_status make_inputs(Run *r, const rvm_func_info *info, rvm_value *in, rvm_error *err) {
  for (uint32_t i = 0; i < info->n_params; i++) {
    rvm_status st = invalue_make(r->vm, r->in[i], &in[i], err);
    if (st == RVM_OK) continue;
    while (i > 0) rvm_value_release(r->vm, in[--i]);
    return st;
  }
  return RVM_OK;
}

/* ---- results ------------------------------------------------------------------------ */
static int deliver(Run *r, rvm_value v) {
  TensorSet leaves = {0};
  if (!r->o->quiet) show_value(r->p, r->vm, v, &(ShowOpts){r->o->types, r->o->full}, stdout);
  if (r->o->output || r->o->expect) values_to_set(r->p, r->vm, v, &leaves);
  if (r->o->output) {
    const char *why = tensor_file_write(r->o->output, &leaves);
    if (why) return fail_io(why);
  }
  if (!r->o->expect) return EXIT_OK;
  TensorSet want = {0};
  int code = tensors_read(r->o->expect, &want);
  if (code != EXIT_OK) return code;
  StrBuf report = {0};
  bool same = compare_sets(&leaves, &want, r->o->rtol.value, r->o->atol.value, &report);
  fflush(stdout); /* the result stands first        */
  fputs(buf_text(&report), same ? stdout : stderr);
  return same ? EXIT_OK : EXIT_REJECTED;
}

static int by_time(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static void print_versions(const Run *r) {
  unsigned n = r->engine.native ? native_versions(r->engine.native) : 0;
  if (n > 0)
    fprintf(stderr, "%u version%s of kernels for extents that recur\n", n, n > 1 ? "s" : "");
}
static void print_stats(Run *r, double load, double *took, uint64_t n) {
  rvm_stats s;
  rvm_get_stats(r->vm, &s);
  qsort(took, n, sizeof *took, by_time);
  fprintf(stderr, "engine %s, load %.3f ms, run %.3f ms best, %.3f ms median of %llu\n",
          engine_name(&r->engine), load * 1e3, took[0] * 1e3, took[n / 2] * 1e3,
          (unsigned long long)n);
  fprintf(stderr, "%llu instructions, %llu kernels, %llu fuel, %llu allocations, %llu bytes peak\n",
          (unsigned long long)s.instructions, (unsigned long long)s.kernels,
          (unsigned long long)s.fuel_used, (unsigned long long)r->allocations,
          (unsigned long long)s.memory_peak);
  print_versions(r);
}

static rvm_status run_once(Run *r, const rvm_func_info *info, rvm_value *out, double *took,
                           rvm_error *err) {
  rvm_value *in = NEW_N(rvm_value, info->n_params + 1);
  rvm_status st = make_inputs(r, info, in, err);
  if (st != RVM_OK) return st;
  if (r->profile) profile_begin(r->profile);
  rvm_stats before, after;
  rvm_get_stats(r->vm, &before);
  double t0 = clock_seconds();
  st = rvm_apply(r->vm, r->f, in, out, err);
  *took = clock_seconds() - t0;
  rvm_get_stats(r->vm, &after);
  r->allocations += after.allocations - before.allocations;
  if (r->profile) profile_end(r->profile);
  return st;
}

static int print_profile(const Run *r) {
  fflush(stdout);
  profile_table(r->profile, stderr);
  if (!r->o->stats) print_versions(r);
  const char *why = *r->o->profile ? profile_trace(r->profile, r->o->profile) : NULL;
  return why ? fail_io(why) : EXIT_OK;
}

/* ---- samples for rvm bench ---------------------------------------------------------- */
typedef struct {
  Run *r;
  const rvm_func_info *info;
  VEC(rvm_value) in; /* of the calls to come, one after the other */
  rvm_status st;
  rvm_error err;
} Calls;

static bool prepare_calls(void *ud, int n) {
  Calls *c = ud;
  int each = (int)c->info->n_params;
  vec_reserve(&c->in, n * each);
  for (c->in.n = 0; c->in.n < n * each && c->st == RVM_OK; c->in.n += each)
    c->st = make_inputs(c->r, c->info, c->in.at + c->in.n, &c->err);
  return c->st == RVM_OK;
}

static bool make_calls(void *ud, int n) {
  Calls *c = ud;
  for (int i = 0; i < n; i++) {
    rvm_value out, *in = c->in.at + i * (int)c->info->n_params;
    c->st = rvm_apply(c->r->vm, c->r->f, in, &out, &c->err);
    if (c->st != RVM_OK) return false;
    rvm_value_release(c->r->vm, out);
  }
  return true;
}

static int serve_samples(Run *r, const rvm_func_info *info) {
  Calls c = {.r = r, .info = info};
  if (rvm_instance_new(r->p, &r->limits, host_alloc(), &r->vm, &c.err) != RVM_OK)
    return fail_run(r, &c.err);
  bool ok = sample_serve(&(Sampled){prepare_calls, make_calls, &c}, engine_name(&r->engine));
  return ok ? EXIT_OK : fail_run(r, &c.err);
}

static rvm_status run_all(Run *r, const rvm_func_info *info, uint64_t n, rvm_value *out,
                          double *took, rvm_error *err) {
  rvm_limits limits = r->limits;
  limits.fuel = engine_fuel(&r->engine, limits.fuel);
  rvm_status st = rvm_instance_new(r->p, &limits, host_alloc(), &r->vm, err);
  if (st != RVM_OK) return st;
  r->allocations = 0;
  if (r->o->memory) r->memory = memory_watch(r->vm);
  Watch *watch = watch_start(r->vm);
  for (uint64_t i = 0; i < n && st == RVM_OK; i++) {
    if (i) rvm_value_release(r->vm, *out);
    st = run_once(r, info, out, &took[i], err);
    if (r->memory) memory_run_done(r->memory);
  }
  watch_end(watch);
  return st;
}

static int run_loaded(Run *r, double load) {
  rvm_func_info info;
  rvm_error err = {0};
  rvm_func_describe(r->p, r->f, &info);
  uint64_t n = r->o->repeat ? r->o->repeat : 1;
  int code;
  if (!read_inputs(r, &info, &code)) return code;
  if (r->o->samples) return serve_samples(r, &info);
  double *took = NEW_BYTES(sizeof *took * n);
  rvm_value out = {0};
  rvm_status st = run_all(r, &info, n, &out, took, &err);
  if (st == RVM_NO_FUEL && r->engine.trial) {
    rvm_instance_free(r->vm);
    r->vm = NULL;
    if (engine_again(&r->engine, r->limits.fuel)) st = run_all(r, &info, n, &out, took, &err);
  }
  if (st != RVM_OK) return fail_run(r, &err);
  code = deliver(r, out);
  if (r->o->stats) print_stats(r, load, took, n);
  if (r->profile && code == EXIT_OK) code = print_profile(r);
  if (r->memory) memory_report(r->memory, stderr);
  const char *why = r->memory && *r->o->memory ? memory_svg(r->memory, r->o->memory) : NULL;
  return why ? fail_io(why) : code;
}

static int find_entry(Run *r, const char *name) {
  rvm_error err;
  if (rvm_program_find(r->p, name, &r->f, &err) == RVM_OK) return EXIT_OK;
  fprintf(stderr, "rvm: %s has no entry point @%s\n", r->path, name);
  return EXIT_REJECTED;
}

/* ---- the command ------------------------------------------------------------------------ */
/* Fills what is left out; EXIT_OK, or after saying what is wrong with an option. */
static int check_options(RunCmd *o, EngineChoice *engine) {
  if (!o->rtol.given) o->rtol.value = 1e-5;
  if (!o->atol.given) o->atol.value = 1e-6;
  if (!(o->rtol.value >= 0 && o->atol.value >= 0))
    return fail_usage(&cmd_run, "--rtol and --atol are at least 0");
  if (o->repeat > MOST_REPEATS) return fail_usage(&cmd_run, "--repeat is at most %d", MOST_REPEATS);
  if (!engine_choose(engine, o->engine, o->threads))
    return fail_usage(&cmd_run, "--engine is " ENGINE_NAMES);
  if (!engine_specialise(o->specialise, &engine->specialise))
    return fail_usage(&cmd_run, "--specialise is on, off or now");
  engine->no_cache = o->no_cache, engine->perf = o->perf;
  engine->fast_math = o->fast_math;
  for (int i = 0; i < o->input.n; i++)
    if (!strchr(o->input.at[i], '='))
      return fail_usage(&cmd_run, "--input takes NAME=SPEC, found `%s`", o->input.at[i]);
  return EXIT_OK;
}

static rvm_limits limits_of(const RunCmd *o) {
  uint64_t depth = o->call_depth < UINT32_MAX ? o->call_depth : UINT32_MAX;
  return (rvm_limits){.fuel = o->fuel,
                      .memory = o->memory_limit ? o->memory_limit : host_memory(),
                      .call_depth = (uint32_t)depth};
}

/* Compiles or reads the file, with the weights of the entry; the program and its image. */
static int open_program(Run *r, const char *entry, Compiled *c) {
  const RunCmd *o = r->o;
  rvm_error err = {0};
  int code;
  driver_init(r->d, o->common.diag);
  r->d->opt_level = driver_level(&o->opt);
  r->d->passes = o->passes;
  r->d->params = &r->params;
  r->d->stays = given_otherwise;
  r->d->stays_ud = r;
  if ((code = read_sets(r)) != EXIT_OK) return code;
  if (!driver_image(r->d, r->path, entry, c, &code)) return code;
  r->m = c->m, r->image = c->bytes;
  if (rvm_program_load(c->bytes, c->n, host_alloc(), &r->p, &err) == RVM_OK) return EXIT_OK;
  say_bad_image(r->path, err.message, err.at, err.func, err.pc);
  return r->m ? EXIT_BUG : EXIT_REJECTED;
}

static int use_engine(Run *r, const Compiled *c) {
  bool at_once = r->o->repeat > 1 || r->o->profile || r->o->samples;
  return engine_start(&r->engine, r->p, c->bytes, c->n, at_once) ? EXIT_OK : EXIT_REJECTED;
}

/* A path of an option whose value may be left out. */
static const char *path_in(const char *value) { return value && *value ? value : NULL; }

static bool can_write_all(const RunCmd *o, int *code) {
  return can_write(o->output, code) && can_write(path_in(o->profile), code) &&
         can_write(path_in(o->memory), code);
}

static int run_run(void *opts, int n, char **args) {
  (void)n;
  RunCmd *o = opts;
  Driver d;
  Run r = {.o = o, .d = &d, .path = args[0]};
  Compiled c;
  int code = check_options(o, &r.engine);
  if (code != EXIT_OK || !can_write_all(o, &code)) return code;
  const char *entry = o->entry ? o->entry + (o->entry[0] == '@') : "main";
  double t0 = clock_seconds();
  if ((code = open_program(&r, entry, &c)) != EXIT_OK) return code;
  r.limits = limits_of(o);
  code = use_engine(&r, &c);
  if (code == EXIT_OK) code = find_entry(&r, entry);
  if (o->profile) r.profile = profile_new(r.p, *o->profile);
  if (code == EXIT_OK) code = run_loaded(&r, clock_seconds() - t0);
  if (r.vm) rvm_instance_free(r.vm);
  engine_end(&r.engine);
  rvm_program_free(r.p);
  (void)r.image;
  return code;
}
const Command cmd_run = {
    .name = "run",
    .args = "FILE.rly|FILE.rvm [OPTIONS]",
    .summary = "Run a program and print its result",
    .examples = "  rvm run model.rly --input x=f32[1,80]=rand:7\n"
                "  rvm run model.rly --inputs x.npz --params weights.safetensors --output y.npz\n"
                "  rvm run tree.rly --input 'tree=Node(Leaf(@a.npy), Leaf(@b.npy))'\n"
                "  rvm run model.rvm --inputs x.npz --expect y.npz --rtol 1e-4\n",
    .opts = run_opts,
    .n_opts = (int)(sizeof run_opts / sizeof *run_opts),
    .opts_size = sizeof(RunCmd),
    .min_args = 1,
    .max_args = 1,
    .run = run_run,
};
