/* main.c -- rvm: parse the command line, run a command, return its exit code.  */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include "base/map.h"
#include "base/nearest.h"
#include "cli/cli.h"

static const Command *const commands[] = {
    &cmd_run,  &cmd_bench, &cmd_train,  &cmd_check, &cmd_print, &cmd_fmt,     &cmd_opt,
    &cmd_grad, &cmd_build, &cmd_disasm, &cmd_info,  &cmd_ops,   &cmd_explain, &cmd_version};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static const char *const footer =
    "\nExit codes: 0 ok, 1 input rejected or run-time error, 2 usage, 3 a limit was met, 4 I/O, 70 "
    "a bug of rvm,\n130 interrupted.\n";

static void help(FILE *to) {
  fputs("usage: rvm COMMAND [ARGUMENTS]\n\nNeural networks that are programs: check, run and build "
        ".rly models.\n\n",
        to);
  for (int i = 0; i < N_COMMANDS; i++)
    fprintf(to, "  %-8s  %s\n", commands[i]->name, commands[i]->summary);
  fputs("\n`rvm COMMAND --help` shows a command's options with examples.\n", to);
  fputs("\nexamples:\n  rvm run examples/mlp.rly\n  rvm check model.rly\n  rvm ops nn.dense\n", to);
  fputs(footer, to);
}

static void help_command(const Command *c, FILE *to) {
  fprintf(to, "usage: rvm %s%s%s\n\n%s.\n", c->name, *c->args ? " " : "", c->args, c->summary);
  if (c->n_opts) fputs("\n", to);
  for (int i = 0; i < c->n_opts; i++) {
    char left[64];
    if (!c->opts[i].help) continue; /* for other commands' use        */
    bool maybe = c->opts[i].kind == OPT_MAYBE;
    snprintf(left, sizeof left, "--%s%s%s%s", c->opts[i].name,
             maybe            ? "[="
             : c->opts[i].arg ? " "
                              : "",
             c->opts[i].arg ? c->opts[i].arg : "", maybe ? "]" : "");
    fprintf(to, "  %-26s %s\n", left, c->opts[i].help);
  }
  if (c->examples) fprintf(to, "\nexamples:\n%s", c->examples);
  fputs(footer, to);
}

static const Opt *find_opt(const Command *c, const char *name, size_t n) {
  for (int i = 0; i < c->n_opts; i++)
    if (strlen(c->opts[i].name) == n && !strncmp(c->opts[i].name, name, n)) return &c->opts[i];
  return NULL;
}

static int unknown_option(const Command *c, const char *name, size_t n) {
  Nearest near = nearest_to(str_fmt("%.*s", (int)n, name));
  for (int i = 0; i < c->n_opts; i++) {
    const char *known = c->opts[i].name;
    if (!c->opts[i].help) continue;
    if (n > 1 && !near.best && !strncmp(known, name, n)) near.best = known;
    nearest_try(&near, known);
  }
  if (!near.best) return fail_usage(c, "unknown option --%s", near.want);
  return fail_usage(c, "unknown option --%s; did you mean --%s?", near.want, near.best);
}

/* 1536, 64K, 1.5 is none. */
static bool read_bytes(const char *text, uint64_t *out) {
  static const char units[] = "KMG";
  char *end;
  *out = strtoull(text, &end, 10);
  const char *unit = *end ? strchr(units, *end) : NULL;
  int shift = unit ? 10 * (int)(unit - units + 1) : 0;
  if (errno || *text < '0' || *text > '9' || (*end && (!unit || end[1]))) return false;
  if (*out > UINT64_MAX >> shift) return false;
  *out <<= shift;
  return true;
}

static const char *wanted(OptKind k) {
  switch (k) {
  case OPT_NUMBER: return "a number";
  case OPT_LEVEL: return "0, 1 or 2";
  case OPT_SOME: return "a whole number above 0";
  case OPT_BYTES: return "a whole number, perhaps with K, M or G behind it";
  default: return "a whole number";
  }
}

static bool set_value(const Command *c, const Opt *o, void *opts, const char *text) {
  char *at = (char *)opts + o->at, *end;
  errno = 0;
  switch (o->kind) {
  case OPT_FLAG: *(bool *)at = true; return true;
  case OPT_TEXT:
  case OPT_MAYBE: *(const char **)at = text; return true;
  case OPT_LIST: vec_push((TextList *)at, text); return true;
  case OPT_COUNT_OF:
  case OPT_SOME:
    *(uint64_t *)at = strtoull(text, &end, 10);
    if (!errno && *text >= '0' && *text <= '9' && !*end &&
        (o->kind == OPT_COUNT_OF || *(uint64_t *)at > 0))
      return true;
    break;
  case OPT_BYTES:
    if (read_bytes(text, (uint64_t *)at)) return true;
    break;
  case OPT_NUMBER:
  case OPT_LEVEL:
    *(NumberOpt *)at = (NumberOpt){strtod(text, &end), true};
    if (o->kind == OPT_LEVEL && (*text < '0' || *text > '2' || text[1])) break;
    if (!errno && end != text && !*end) return true;
    break;
  }
  fail_usage(c, "--%s takes %s, found `%s`", o->name, wanted(o->kind), text);
  return false;
}

/* --name=value, --name value, --flag; arguments may come in any order. */
static int parse(const Command *c, int argc, char **argv, void *opts, char **args, int *n_args) {
  bool only_args = false;
  for (int i = 0; i < argc; i++) {
    const char *a = argv[i];
    if (only_args || a[0] != '-' || !a[1]) {
      args[(*n_args)++] = argv[i];
      continue;
    }
    if (!strcmp(a, "--")) {
      only_args = true;
      continue;
    }
    if (a[1] != '-') return fail_usage(c, "unknown option %s (options begin with --)", a);
    const char *eq = strchr(a, '=');
    size_t n = eq ? (size_t)(eq - a - 2) : strlen(a + 2);
    const Opt *o = find_opt(c, a + 2, n);
    if (!o) return unknown_option(c, a + 2, n);
    if (o->kind == OPT_FLAG && eq) return fail_usage(c, "--%s takes no value", o->name);
    const char *value = eq ? eq + 1 : NULL;
    if (o->kind == OPT_MAYBE && !value) value = "";
    if (o->kind != OPT_FLAG && !value) {
      if (i + 1 >= argc) return fail_usage(c, "--%s needs %s", o->name, o->arg);
      value = argv[++i];
    }
    if (!strcmp(o->name, "diag") && strcmp(value, "json"))
      return fail_usage(c, "--diag takes json, found `%s`", value);
    if (!set_value(c, o, opts, value)) return EXIT_USAGE;
  }
  if (*n_args < c->min_args) return fail_usage(c, "missing argument");
  if (*n_args > c->max_args) return fail_usage(c, "too many arguments: `%s`", args[c->max_args]);
  return EXIT_OK;
}

static const Command *find_command(const char *name) {
  for (int i = 0; i < N_COMMANDS; i++)
    if (!strcmp(commands[i]->name, name)) return commands[i];
  return NULL;
}

static int unknown_command(const char *name) {
  Nearest near = nearest_to(name);
  for (int i = 0; i < N_COMMANDS; i++) nearest_try(&near, commands[i]->name);
  if (near.best)
    fprintf(stderr, "rvm: unknown command `%s`; did you mean %s?", name, near.best);
  else
    fprintf(stderr, "rvm: unknown command `%s`; there are", name);
  for (int i = 0; i < N_COMMANDS && !near.best; i++)
    fprintf(stderr, "%s %s", i ? "," : "", commands[i]->name);
  fprintf(stderr, "\n(rvm --help for more)\n");
  return EXIT_USAGE;
}

static bool asks_help(int argc, char **argv) {
  for (int i = 0; i < argc; i++)
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return true;
  return false;
}

static void out_of_memory(size_t wanted) {
  fprintf(stderr, "rvm: out of memory (%zu bytes wanted)\n", wanted);
  _Exit(EXIT_LIMIT);
}

static int run_command(const Command *c, int argc, char **argv) {
  void *opts = mem_get(c->opts_size + 1);
  char **args = NEW_N(char *, argc + 1);
  int n_args = 0, code = parse(c, argc, argv, opts, args, &n_args);
  if (code == EXIT_OK) code = c->run(opts, n_args, args);
  return code;
}

static int command_line(int argc, char **argv) {
  if (argc < 2) return help(stderr), EXIT_USAGE;
  bool version = !strcmp(argv[1], "--version") || !strcmp(argv[1], "-V");
  const char *name = version ? "version" : argv[1];
  bool helping = !strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help");
  if (helping && argc < 3) return help(stdout), EXIT_OK;
  const Command *c = find_command(helping ? argv[2] : name);
  if (!c) return unknown_command(helping ? argv[2] : name);
  if (helping || asks_help(argc - 2, argv + 2)) return help_command(c, stdout), EXIT_OK;
  return run_command(c, argc - 2, argv + 2);
}

/* Output that was lost is a failure: with the last of it, or long before, of which only the
 * stream's state tells.  A stdout that was closed from the start has lost nothing by that. */
static int end_output(int code) {
  bool lost = ferror(stdout) != 0;
  lost |= fflush(stdout) != 0;
  lost |= fclose(stdout) != 0 && errno != EBADF;
  return lost && code == EXIT_OK ? fail_io("cannot write the output") : code;
}

int main(int argc, char **argv) {
  mem_init();
  mem_set_oom(out_of_memory);
  signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of write */
  int code = end_output(command_line(argc, argv));
  mem_release_all();
  return code;
}
