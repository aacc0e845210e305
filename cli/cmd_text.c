/* cmd_text.c -- check, print, fmt: commands about the text of a program.      */
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
const Command cmd_check = {"check",
                           "FILE.rly... [--diag=json]",
                           "Parse and type-check programs",
                           "  rvm check model.rly\n",
                           check_opts,
                           1,
                           sizeof(CommonOpts),
                           1,
                           1000,
                           run_check};

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
const Command cmd_print = {"print",
                           "FILE.rly [--types] [--relay] [--all]",
                           "Print a program in canonical form; it reads back to the same",
                           "  rvm print model.rly --types\n",
                           print_opts,
                           4,
                           sizeof(PrintCmd),
                           1,
                           1,
                           run_print};

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
const Command cmd_fmt = {"fmt",
                         "FILE.rly... [--write | --check]",
                         "Lay out programs in the standard way, comments kept",
                         "  rvm fmt model.rly\n  rvm fmt --write *.rly\n",
                         fmt_opts,
                         3,
                         sizeof(FmtCmd),
                         1,
                         100000,
                         run_fmt};
