/* cmd_opt.c -- opt: run passes over a program and print what became of it.    */
#include <inttypes.h>
#include "cli/cli.h"
#include "cli/measure/clock.h"
#include "opt/pass.h"

/* ---- the passes of a driver ------------------------------------------------------ */
typedef VEC(const Pass *) PassList;

static bool parse_passes(const char *text, PassList *out) {
  while (*text) {
    size_t n = strcspn(text, ",");
    const Pass *p = pass_find(text, n);
    if (!p) {
      fprintf(stderr, "rvm: there is no pass %.*s; `rvm opt --list` shows them\n", (int)n, text);
      return false;
    }
    vec_push(out, p);
    text += n + (text[n] == ',');
  }
  return true;
}

bool driver_optimise(Driver *d, Module *m, const PassOpts *o, int *code) {
  PassOpts with = o ? *o : (PassOpts){.limit = -1};
  PassList named = {0};
  int n;
  StrBuf why = {0};
  with.eval = driver_eval;
  with.eval_ud = d;
  const Pass *const *list = pipeline(d->opt_level, &n);
  if (d->passes) {
    if (!parse_passes(d->passes, &named)) return *code = EXIT_USAGE, false;
    list = named.at, n = named.n;
  }
  if (n == 0 || passes_run(m, list, n, &with, &why)) return true;
  fprintf(stderr, "rvm: a bug of rvm: %s\n", buf_text(&why));
  *code = EXIT_BUG;
  return false;
}

/* ---- the command ------------------------------------------------------------------ */
typedef struct {
  CommonOpts common;
  uint64_t level;
  NumberOpt limit;
  const char *passes, *print_after, *out;
  bool list, changed, time, types, all, verify;
} OptCmd;
#define O(name, arg, help, kind, field)                                                            \
  { name, arg, help, kind, offsetof(OptCmd, field) }
static const Opt opt_opts[] = {
    O("level", "N", "the pipeline of this level: 1 (default) or 2", OPT_SOME, level),
    O("passes", "A,B", "these passes instead, in this order", OPT_TEXT, passes),
    O("list", NULL, "show the passes; with --level those it runs, in order", OPT_FLAG, list),
    O("print-after", "PASS", "print the program after this pass, to stderr", OPT_TEXT, print_after),
    O("print-changed", NULL, "print the program after every pass that changed it, to stderr",
      OPT_FLAG, changed),
    O("time-passes", NULL, "what each pass took and changed, to stderr", OPT_FLAG, time),
    O("pass-limit", "N", "stop rewriting after N changes, to find a wrong one", OPT_NUMBER, limit),
    O("verify", NULL, "after every pass that changed it, read the program back from its text",
      OPT_FLAG, verify),
    O("out", "FILE", "write the program there instead of printing it", OPT_TEXT, out),
    O("types", NULL, "add the type of every expression as a comment", OPT_FLAG, types),
    O("all", NULL, "also the library functions the program uses", OPT_FLAG, all),
    O("diag", "json", "diagnostics as JSON lines", OPT_TEXT, common.diag),
};
#undef O

static uint64_t clock_ns(void *ud) {
  (void)ud;
  return (uint64_t)(1e9 * clock_seconds());
}

static void program_text(const OptCmd *o, const Module *m, StrBuf *b) {
  ir_print_module(m, &(PrintOpts){.types = o->types, .all = o->all}, b);
}

static void after_pass(void *ud, const Pass *p, const Module *m, int64_t changes, uint64_t ns) {
  const OptCmd *o = ud;
  StrBuf b = {0};
  if (o->time)
    fprintf(stderr, "%-10s %8.3f ms %8" PRId64 " changes\n", p->name, (double)ns * 1e-6, changes);
  bool named = o->print_after && !strcmp(o->print_after, p->name);
  if (!named && !(o->changed && changes)) return;
  program_text(o, m, &b);
  fprintf(stderr, "// after %s%s\n%s", p->name, changes ? "" : " (unchanged)", buf_text(&b));
}

/* PassOpts.recheck: the text must read back, and have types. */
static bool reads_back(void *ud, const Module *m, StrBuf *why) {
  Driver again;
  StrBuf b = {0};
  program_text(&(OptCmd){0}, m, &b);
  driver_init(&again, ((const OptCmd *)ud)->common.diag);
  const Module *read =
      driver_load_text(&again, (TextFile){"optimised.rly", buf_text(&b), b.n}, true);
  if (read) return true;
  diag_render(again.diags, why, false);
  return false;
}

/* All, or those of a level in its order. */
static int list_passes(uint64_t level) {
  int n;
  const Pass *const *list = pipeline((int)level, &n);
  for (int i = 0; level && i < n; i++) printf("%s%s", i ? "," : "", list[i]->name);
  if (level) return printf("\n"), EXIT_OK;
  for (int i = 0; i < n_all_passes; i++)
    printf("%-10s  %s%s\n", all_passes[i]->name, all_passes[i]->doc,
           all_passes[i]->rounds ? "  (rounding)" : "");
  return EXIT_OK;
}

static int run_opt(void *opts, int n, char **args) {
  OptCmd *o = opts;
  Driver d;
  if (o->level > OPT_MAX_LEVEL) return fail_usage(&cmd_opt, "--level is at most %d", OPT_MAX_LEVEL);
  if (o->print_after && !pass_find(o->print_after, strlen(o->print_after)))
    return fail_usage(&cmd_opt, "there is no pass %s; --list shows them", o->print_after);
  if (o->limit.given && !(o->limit.value >= 0 && o->limit.value < 0x1p53))
    return fail_usage(&cmd_opt, "--pass-limit is a whole number");
  if (o->list) return list_passes(o->level);
  if (n == 0) return fail_usage(&cmd_opt, "which program?");
  driver_init(&d, o->common.diag);
  Module *m = driver_load(&d, args[0], true);
  int code = driver_report(&d);
  if (!m) return code ? code : EXIT_REJECTED;
  if (!driver_differentiate(&d, m, &code)) return code ? code : driver_report(&d);
  d.opt_level = o->level ? (int)o->level : 1;
  d.passes = o->passes;
  PassOpts po = {.limit = o->limit.given ? (int64_t)o->limit.value : -1,
                 .clock = clock_ns,
                 .done = after_pass,
                 .recheck = o->verify ? reads_back : NULL,
                 .ud = o};
  if (!driver_optimise(&d, m, &po, &code)) return code;
  StrBuf b = {0};
  program_text(o, m, &b);
  return text_out(&b, o->out);
}
const Command cmd_opt = {
    .name = "opt",
    .args = "FILE.rly [OPTIONS]",
    .summary = "Optimise a program and print it",
    .examples =
        "  rvm opt model.rly --passes copy,dce\n  rvm opt model.rly --time-passes --out fast.rly\n",
    .opts = opt_opts,
    .n_opts = (int)(sizeof opt_opts / sizeof *opt_opts),
    .opts_size = sizeof(OptCmd),
    .max_args = 1,
    .run = run_opt,
};
