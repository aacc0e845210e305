/* cmd_text.c -- check, print, fmt: commands about the text of a program.      */
#include <limits.h>
#include "base/file.h"
#include "cli/cli.h"
#include "parser/parser.h"

/* ---- check ---------------------------------------------------------------------- */
static const Opt check_opts[] = {
    {"diag", "json", "diagnostics as one JSON object per line, for editors", OPT_TEXT,
     offsetof(CommonOpts, diag)},
};
static int run_check(void *opts, int n, char **args) {
  int worst = EXIT_OK;
  for (int i = 0; i < n; i++) {
    Driver d;
    driver_init(&d, ((CommonOpts *)opts)->diag);
    driver_load(&d, args[i], true);
    int code = driver_report(&d);
    worst = code > worst ? code : worst;
  }
  return worst;
}
const Command cmd_check = {
    .name = "check",
    .args = "FILE.rly... [--diag=json]",
    .summary = "Parse and type-check programs",
    .examples = "  rvm check model.rly\n",
    .opts = check_opts,
    .n_opts = (int)(sizeof check_opts / sizeof *check_opts),
    .opts_size = sizeof(CommonOpts),
    .min_args = 1,
    .max_args = INT_MAX,
    .run = run_check,
};

/* ---- print ------------------------------------------------------------------------ */
typedef struct {
  CommonOpts common;
  bool types, relay, all;
} PrintCmd;
static const Opt print_opts[] = {
    {"types", NULL, "add the type of every expression as a comment", OPT_FLAG,
     offsetof(PrintCmd, types)},
    {"relay", NULL, "only what TVM's Relay parser accepts", OPT_FLAG, offsetof(PrintCmd, relay)},
    {"all", NULL, "also the library functions the program uses", OPT_FLAG, offsetof(PrintCmd, all)},
    {"diag", "json", "diagnostics as JSON lines", OPT_TEXT, offsetof(PrintCmd, common.diag)},
};
static int run_print(void *opts, int n, char **args) {
  (void)n;
  PrintCmd *o = opts;
  Driver d;
  driver_init(&d, o->common.diag);
  Module *m = driver_load(&d, args[0], o->types);
  int code = driver_report(&d);
  if (!m) return code ? code : EXIT_REJECTED;
  StrBuf b = {0};
  ir_print_module(m, &(PrintOpts){o->types, o->relay, o->all}, &b);
  return text_out(&b, NULL);
}
const Command cmd_print = {
    .name = "print",
    .args = "FILE.rly [--types] [--relay] [--all]",
    .summary = "Print a program in canonical form; it reads back to the same",
    .examples = "  rvm print model.rly --types\n",
    .opts = print_opts,
    .n_opts = (int)(sizeof print_opts / sizeof *print_opts),
    .opts_size = sizeof(PrintCmd),
    .min_args = 1,
    .max_args = 1,
    .run = run_print,
};

/* ---- fmt ---------------------------------------------------------------------------- */
typedef struct {
  CommonOpts common;
  bool write, check;
} FmtCmd;
static const Opt fmt_opts[] = {
    {"write", NULL, "replace the files instead of printing", OPT_FLAG, offsetof(FmtCmd, write)},
    {"check", NULL, "only say which files would change (exit 1 if any)", OPT_FLAG,
     offsetof(FmtCmd, check)},
    {"diag", "json", "diagnostics as JSON lines", OPT_TEXT, offsetof(FmtCmd, common.diag)},
};
static int fmt_one(const FmtCmd *o, const char *path) {
  Driver d;
  char *text;
  size_t n;
  driver_init(&d, o->common.diag);
  const char *why = file_read(path, (size_t)64 << 20, &text, &n);
  if (why) return fail_io(str_fmt("%s: %s", path, why));
  source_add(&d.sources, path, text, n);
  char *out = format_source(text, n, d.diags);
  int code = driver_report(&d);
  if (!out) return code ? code : EXIT_REJECTED;
  bool same = strlen(out) == n && !memcmp(out, text, n);
  if (o->check) {
    if (!same) printf("%s\n", path);
    return same ? EXIT_OK : EXIT_REJECTED;
  }
  if (!o->write) {
    fputs(out, stdout);
    return EXIT_OK;
  }
  why = same ? NULL : file_write(path, out, strlen(out));
  return why ? fail_io(str_fmt("%s: %s", path, why)) : EXIT_OK;
}
static int run_fmt(void *opts, int n, char **args) {
  int worst = EXIT_OK;
  for (int i = 0; i < n; i++) {
    int code = fmt_one(opts, args[i]);
    worst = code > worst ? code : worst;
  }
  return worst;
}
const Command cmd_fmt = {
    .name = "fmt",
    .args = "FILE.rly... [--write | --check]",
    .summary = "Lay out programs in the standard way, comments kept",
    .examples = "  rvm fmt model.rly\n  rvm fmt --write *.rly\n",
    .opts = fmt_opts,
    .n_opts = (int)(sizeof fmt_opts / sizeof *fmt_opts),
    .opts_size = sizeof(FmtCmd),
    .min_args = 1,
    .max_args = INT_MAX,
    .run = run_fmt,
};
