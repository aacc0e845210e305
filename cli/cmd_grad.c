/* cmd_grad.c -- grad: the program with a function's gradient, as text.         */
#include <string.h>
#include "cli/cli.h"

typedef struct {
  CommonOpts common;
  const char *out, *form;
  bool types, all, raw;
} GradCmd;
#define O(name, arg, help, kind, field)                                                            \
  { name, arg, help, kind, offsetof(GradCmd, field) }
static const Opt grad_opts[] = {
    O("form", "F", "grad (default), vjp or jvp: which of its derivatives", OPT_TEXT, form),
    O("raw", NULL, "as it was made, without the passes that clean up", OPT_FLAG, raw),
    O("out", "FILE", "write the program there instead of printing it", OPT_TEXT, out),
    O("types", NULL, "add the type of every expression as a comment", OPT_FLAG, types),
    O("all", NULL, "also the library functions the program uses", OPT_FLAG, all),
    O("diag", "json", "diagnostics as JSON lines", OPT_TEXT, common.diag),
};
#undef O

static int report(Driver *d, int code) {
  int said = driver_report(d);
  return code ? code : said ? said : EXIT_REJECTED;
}

static bool form_of(const char *name, DiffKind *k) {
  *k = !name || !strcmp(name, "grad") ? DIFF_Grad
       : !strcmp(name, "vjp")         ? DIFF_Vjp
       : !strcmp(name, "jvp")         ? DIFF_Jvp
                                      : DIFF_None;
  return *k != DIFF_None;
}

static int run_grad(void *opts, int n, char **args) {
  (void)n;
  GradCmd *o = opts;
  Driver d;
  int code = EXIT_OK;
  DiffKind form;
  if (!form_of(o->form, &form))
    return fail_usage(&cmd_grad, "--form is grad, vjp or jvp, not %s", o->form);
  driver_init(&d, o->common.diag);
  Module *m = driver_load(&d, args[0], true);
  if (!m || !driver_differentiate(&d, m, &code)) return report(&d, code);
  const char *name = args[1][0] == '@' ? args[1] + 1 : args[1];
  Global *f = module_find(m, name);
  if (!f) {
    driver_no_function(&d, m, args[0], name);
    return report(&d, code);
  }
  if (!driver_gradient(&d, m, f, form, &code)) return report(&d, code);
  d.passes = "copy,cse,copy,dce"; /* no operation twice, nothing without use */
  if (!o->raw && !driver_optimise(&d, m, NULL, &code)) return code;
  driver_report(&d); /* warnings */
  StrBuf b = {0};
  ir_print_module(m, &(PrintOpts){.types = o->types, .all = o->all}, &b);
  return text_out(&b, o->out);
}

const Command cmd_grad = {
    .name = "grad",
    .args = "FILE.rly @FUNCTION [OPTIONS]",
    .summary = "Print the program with the gradient of a function",
    .examples = "  rvm grad model.rly @loss\n  rvm grad model.rly @loss --out gradient.rly\n"
                "  rvm grad model.rly @loss --form jvp\n",
    .opts = grad_opts,
    .n_opts = (int)(sizeof grad_opts / sizeof *grad_opts),
    .opts_size = sizeof(GradCmd),
    .min_args = 2,
    .max_args = 2,
    .run = run_grad,
};
