/* cmd_train.c -- train: options, and the way from a program and data to weights. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/map.h"
#include "cli/value/show.h"
#include "cli/train/text.h"
#include "parser/parser.h"
#include "stdlib/embedded.h"

#define O(name, arg, help, kind, field)                                                            \
  { name, arg, help, kind, offsetof(TrainOpts, field) }
static const Opt train_opts[] = {
    O("data", "PATH", "examples: .npz, .npy, .safetensors, or a folder or pattern of .wav; several",
      OPT_LIST, data),
    O("validate", "PATH|SHARE", "examples to measure with, or the share of the data to hold out",
      OPT_TEXT, validate),
    O("labels", "HOW", "of recordings: folder, name (before the first _), or FILE.csv", OPT_TEXT,
      labels),
    O("epochs", "N", "times to go through the data (default 10)", OPT_SOME, epochs),
    O("batch", "N", "examples in a step (default 32)", OPT_SOME, batch),
    O("seed", "N", "of first weights, order, dropout (default 0)", OPT_COUNT_OF, seed),
    O("out", "FILE", "write the weights: .safetensors or .npz", OPT_TEXT, out),
    O("from", "FILE", "start from these weights", OPT_TEXT, from),
    O("optimizer", "NAME", "sgd, adam (default) or adamw", OPT_TEXT, optimizer),
    O("lr", "X", "learning rate (default 0.001)", OPT_NUMBER, lr),
    O("schedule", "NAME", "of the rate: constant (default), cosine, linear or steps", OPT_TEXT,
      schedule),
    O("warmup", "N", "steps over which the rate rises", OPT_COUNT_OF, warmup),
    O("clip", "X", "bound for the norm of the gradient", OPT_NUMBER, clip),
    O("weight-decay", "X", "pull of the weights towards 0", OPT_NUMBER, decay),
    O("momentum", "X", "of sgd (default 0)", OPT_NUMBER, momentum),
    O("nesterov", NULL, "momentum that looks ahead", OPT_FLAG, nesterov),
    O("beta1", "X", "of adam (default 0.9)", OPT_NUMBER, beta1),
    O("beta2", "X", "of adam (default 0.999)", OPT_NUMBER, beta2),
    O("epsilon", "X", "of adam (default 1e-8)", OPT_NUMBER, epsilon),
    O("checkpoint", "FILE", "write where training stands after each epoch (.safetensors)", OPT_TEXT,
      checkpoint),
    O("resume", NULL, "go on from the checkpoint, if it is there", OPT_FLAG, resume),
    O("patience", "N", "stop after N epochs that were no better; keep the best weights",
      OPT_COUNT_OF, patience),
    O("monitor", "NAME", "what is better: a measure, -NAME where less is", OPT_TEXT, monitor),
    O("log", "FILE", "write a JSON line for each epoch", OPT_TEXT, log),
    O("plot", "FILE.svg", "draw the losses", OPT_TEXT, plot),
    O("engine", "NAME", "auto (default: vm if it can be had), interp, vm or native", OPT_TEXT,
      engine),
    O("threads", "N", THREADS_HELP, OPT_COUNT_OF, threads),
    O("opt", "N", "optimise: 0, 1 or 2 (default)", OPT_LEVEL, opt),
    O("print-step", NULL, "print the program that trains, and stop", OPT_FLAG, print_step),
    O("quiet", NULL, "say nothing but errors", OPT_FLAG, quiet),
    O("diag", "json", "diagnostics as JSON lines", OPT_TEXT, common.diag),
};
#undef O

enum { MOST_BATCH = 1 << 24 };

static bool is_number(const char *s, double *x) {
  char *end;
  *x = strtod(s, &end);
  return end != s && !*end;
}
/* Is it a number in (0, 1)? */
static bool is_share(const char *s, double *share) {
  return is_number(s, share) && *share > 0 && *share < 1;
}
/* A number, but no share, and no file is called so. */
static bool is_no_share(const char *s) {
  double x;
  return is_number(s, &x) && !is_share(s, &x) && access(s, F_OK) != 0;
}

static bool is_other_picture(const char *path) {
  static const char *const other[] = {".png", ".jpg", ".jpeg", ".gif", ".pdf"};
  bool is = false;
  for (size_t i = 0; i < sizeof other / sizeof *other; i++) is |= has_suffix(path, other[i]);
  return is;
}

/* What is wrong with the options, or NULL. */
static const char *check_options(const TrainOpts *o) {
  const NumberOpt *positive[] = {&o->lr, &o->clip, &o->epsilon};
  const NumberOpt *share[] = {&o->momentum, &o->beta1, &o->beta2};
  if (!method_of(o)) return str_fmt("--optimizer is sgd, adam or adamw, not `%s`", o->optimizer);
  if (!schedule_of(o))
    return str_fmt("--schedule is constant, cosine, linear or steps, not `%s`", o->schedule);
  if (!engine_choose(&(EngineChoice){0}, o->engine, 0)) return "--engine is " ENGINE_NAMES;
  if (o->batch > MOST_BATCH) return str_fmt("--batch is at most %d", MOST_BATCH);
  if (o->warmup > INT32_MAX || o->epochs > INT32_MAX) return "--warmup and --epochs are below 2^31";
  if (o->resume && !o->checkpoint) return "--resume needs --checkpoint";
  if (o->checkpoint && !has_suffix(o->checkpoint, ".safetensors"))
    return "--checkpoint is a .safetensors file";
  if (o->out && (!tensor_file_known(o->out) || has_suffix(o->out, ".wav")))
    return "--out is a .safetensors or .npz file";
  if (o->validate && is_no_share(o->validate))
    return "--validate is a file, or a share above 0 and below 1";
  if (o->plot && is_other_picture(o->plot)) return "--plot is a .svg file";
  if (!o->data.n && !o->print_step) return "--data is missing";
  for (size_t i = 0; i < sizeof positive / sizeof *positive; i++)
    if (positive[i]->given && !(positive[i]->value > 0 && isfinite(positive[i]->value)))
      return "--lr, --clip and --epsilon are above 0";
  for (size_t i = 0; i < sizeof share / sizeof *share; i++)
    if (share[i]->given && !(share[i]->value >= 0 && share[i]->value < 1))
      return "--momentum, --beta1 and --beta2 are at least 0 and below 1";
  if (*method_of(o)->name != 'a' && (o->beta1.given || o->beta2.given || o->epsilon.given))
    return "--beta1, --beta2 and --epsilon are of adam and adamw";
  if (*method_of(o)->name == 'a' && o->momentum.given) return "--momentum is of --optimizer sgd";
  if (*method_of(o)->name != 'm' && o->nesterov)
    return "--nesterov goes with --optimizer sgd and a --momentum";
  if (o->decay.given && !(o->decay.value >= 0 && isfinite(o->decay.value)))
    return "--weight-decay is at least 0";
  return NULL;
}

static bool can_write_all(const TrainOpts *o, int *code) {
  return can_write(o->out, code) && can_write(o->checkpoint, code) && can_write(o->log, code) &&
         can_write(o->plot, code);
}

/* ---- data -------------------------------------------------------------------------------- */
/* The columns as the program wants them: @features applied, element types of the
 * parameters of the function that is trained. */
static bool prepare(const Plan *p, DataSet *d, int *code) {
  const Global *uses[] = {p->step ? p->step : p->gradient ? p->gradient : p->loss, p->metrics};
  if (!data_features(p, d, code)) return false;
  for (int k = 0; k < 2; k++)
    for (int i = 1; uses[k] && i < uses[k]->fn->n; i++) {
      Column *c = data_column(d, uses[k]->fn->param[i]->name);
      Type *t = type_resolve(uses[k]->fn->param[i]->type);
      if (!c || t->kind != TY_Tensor) continue;
      const char *why = column_convert(c, d->n, t->tensor.dtype);
      if (!why) continue;
      *code = EXIT_REJECTED;
      fprintf(stderr, "rvm: %s\n", why);
      return false;
    }
  return true;
}

static bool read_data(const TrainOpts *o, DataSet *train, DataSet *val, bool *has_val, int *code) {
  double share;
  if (!data_read(&o->data, o->labels, NULL, train, code)) return false;
  *has_val = o->validate != NULL;
  if (!*has_val) return true;
  if (is_share(o->validate, &share)) {
    if (train->n < 2) {
      fprintf(stderr, "rvm: one example cannot be divided\n");
      return *code = EXIT_REJECTED, false;
    }
    data_hold_out(train, share, (uint64_t)o->seed, val);
    return true;
  }
  TextList paths = {0};
  vec_push(&paths, o->validate);
  return data_read(&paths, o->labels, train->classes.n ? &train->classes : NULL, val, code);
}

static void describe(const DataSet *train, const DataSet *val, bool has_val) {
  printf("%lld example%s", (long long)train->n, train->n == 1 ? "" : "s");
  if (has_val) printf(", %lld to validate", (long long)val->n);
  for (int i = 0; i < train->columns.n; i++) {
    const Column *c = &train->columns.at[i];
    StrBuf b = {0};
    type_text_of(c->dtype, c->rank, c->dim, &b);
    printf("%s%s: %s", i ? ", " : "; ", shown(c->name), buf_text(&b));
  }
  printf("\n");
  if (train->classes.n == 0) return;
  printf("%d class%s:", train->classes.n, train->classes.n == 1 ? "" : "es");
  for (int i = 0; i < train->classes.n && i < 20; i++) printf(" %s", shown(train->classes.at[i]));
  printf(train->classes.n > 20 ? " ...\n" : "\n");
}

/* ---- the run -------------------------------------------------------------------------------- */
static BatchSizes batch_sizes(const TrainOpts *o, const DataSet *train, const DataSet *val,
                              bool has_val) {
  BatchSizes s = {.batch = (int64_t)o->batch};
  if (s.batch > train->n) s.batch = train->n;
  s.rest = train->n % s.batch;
  if (has_val) {
    s.val = val->n < s.batch ? val->n : s.batch;
    s.val_rest = val->n % s.val;
  }
  return s;
}

/* Of the program's text and of what it imports besides the library. */
static uint64_t program_hash(const Plan *p) {
  uint64_t h = 0;
  const Source *f;
  for (uint32_t i = 1; (f = source_get(p->m->sources, i)) != NULL; i++) {
    bool library = false;
    for (int k = 0; k < stdlib_n_files; k++) library |= f->text == stdlib_files[k].text;
    uint64_t own = hash_bytes(f->text, f->n, 0);
    if (!library) h = i == 1 ? own : hash_mix(h, own);
  }
  return h;
}

/* What has to be the same for a checkpoint to be gone on from. */
static const char *config_of(const TrainOpts *o, const StrBuf *text, const Plan *p,
                             const DataSet *train) {
  StrBuf b = {0};
  uint64_t h = hash_mix(program_hash(p), hash_bytes(text->s, text->n, 0));
  buf_fmt(&b, "--batch=%llu\n--seed=%llu\n", (unsigned long long)o->batch,
          (unsigned long long)o->seed);
  buf_fmt(&b, "--optimizer=%s\n--lr=%s\n--schedule=%s\n", method_of(o)->name,
          literal(number(&o->lr, 1e-3)), schedule_of(o));
  if (strcmp(schedule_of(o), "constant") != 0)
    buf_fmt(&b, "--epochs=%llu\n", (unsigned long long)o->epochs);
  buf_fmt(&b, "examples=%lld\ndata=%016llx\nprogram=%016llx\n", (long long)train->n,
          (unsigned long long)data_hash(train), (unsigned long long)h);
  return buf_text(&b);
}

/* Laid out as rvm fmt does. */
static int show_text(const StrBuf *text) {
  Driver d;
  driver_init(&d, NULL);
  const char *tidy = format_source(text->s, text->n, d.diags);
  if (!tidy) return driver_report(&d), EXIT_BUG;
  fputs(tidy, stdout);
  return EXIT_OK;
}

/* The derived program stands beside the user's, so that imports are found. */
static const char *derived_path(const char *path) { return str_fmt("%s (derived)", path); }

static int train_with(const TrainOpts *o, const Plan *p, DataSet *train, DataSet *val,
                      bool has_val) {
  StrBuf text = {0};
  Names names;
  Machine m;
  int code = EXIT_REJECTED;
  BatchSizes sizes = batch_sizes(o, train, val, has_val);
  if (!prepare(p, train, &code) || (has_val && !prepare(p, val, &code))) return code;
  if (!plan_derive(p, train, &sizes, &names, &text)) return EXIT_REJECTED;
  if (has_val && names.n == 0) {
    fprintf(stderr,
            "rvm: %s has nothing to validate with: neither @metrics nor a @loss without %%key\n",
            p->path);
    return EXIT_REJECTED;
  }
  if (!has_val) names.n = 0;
  if (o->print_step) return show_text(&text);
  if (!o->quiet) describe(train, val, has_val), fflush(stdout);
  bool open = machine_open(&m, o, derived_path(p->path), &text, plan_entries(p, &sizes), &code);
  if (open)
    code = train_loop(o, p, &m, train, has_val ? val : NULL, &sizes, &names,
                      config_of(o, &text, p, train));
  machine_close(&m);
  return code;
}

static int print_step(const Plan *p) {
  StrBuf text = {0};
  Names names;
  if (!plan_derive(p, NULL, &(BatchSizes){0}, &names, &text)) return EXIT_REJECTED;
  return show_text(&text);
}

static int run_train(void *opts, int n, char **args) {
  (void)n;
  TrainOpts *o = opts;
  Driver d;
  DataSet train = {0}, val = {0};
  bool has_val;
  int code;
  const char *why = check_options(o);
  if (why) return fail_usage(&cmd_train, "%s", why);
  if (o->epochs == 0) o->epochs = 10;
  if (o->batch == 0) o->batch = 32;
  Plan p = {.o = o, .path = args[0]};
  driver_init(&d, o->common.diag);
  if (!plan_read(&p, &d, &code)) return code;
  if (o->print_step && !o->data.n) return print_step(&p);
  if (o->checkpoint && !strcmp(p.prefix, "train")) {
    fprintf(stderr, "rvm: a checkpoint's own tensors are called train.*, too: rename %%train\n");
    return EXIT_REJECTED;
  }
  if (!can_write_all(o, &code) || !read_data(o, &train, &val, &has_val, &code)) return code;
  return train_with(o, &p, &train, &val, has_val);
}

const Command cmd_train = {
    .name = "train",
    .args = "FILE.rly --data PATH [OPTIONS]",
    .summary = "Train the weights of a program that defines @init and @loss",
    .examples = "  rvm train model.rly --data train.npz --validate test.npz --epochs 20 --out "
                "model.safetensors\n"
                "  rvm train digits.rly --data 'recordings/*.wav' --validate 0.1 --lr 3e-3 "
                "--schedule cosine\n"
                "  rvm train model.rly --data train.npz --checkpoint run.safetensors --resume "
                "--log run.jsonl\n"
                "  rvm train model.rly --print-step\n",
    .opts = train_opts,
    .n_opts = (int)(sizeof train_opts / sizeof *train_opts),
    .opts_size = sizeof(TrainOpts),
    .min_args = 1,
    .max_args = 1,
    .run = run_train,
};
