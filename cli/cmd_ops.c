/* cmd_ops.c -- ops, explain, version: what rvm knows about itself.            */
#include <limits.h>
#include <stdlib.h>
#include <strings.h>
#include "base/diag.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/library.h"
#include "cli/native.h"
#include "ir/op.h"
#include "stdlib/stdlib.h"
#include <rvm/rvm.h>

typedef struct {
  CommonOpts common;
  bool json, md, library;
} OpsCmd;
static const Opt ops_opts[] = {
    {"json", NULL, "all records as JSON", OPT_FLAG, offsetof(OpsCmd, json)},
    {"md", NULL, "all records as the Markdown of docs/operators.md", OPT_FLAG,
     offsetof(OpsCmd, md)},
    {"library", NULL, "the library as the Markdown of docs/library.md", OPT_FLAG,
     offsetof(OpsCmd, library)},
    {"diag", "json", "accepted for uniformity", OPT_TEXT, offsetof(OpsCmd, common.diag)},
};

static const char *attr_type_name(AttrType t) {
  static const char *const name[] = {[A_Int] = "int",
                                     [A_Float] = "float",
                                     [A_Bool] = "bool",
                                     [A_Str] = "string",
                                     [A_DType] = "dtype",
                                     [A_Ints] = "ints",
                                     [A_IntsList] = "list of ints",
                                     [A_IntOrInts] = "int or ints",
                                     [A_Floats] = "floats",
                                     [A_Ignored] = "ignored"};
  return name[t];
}

static void json_text(const char *s) {
  StrBuf b = {0};
  buf_json(&b, s);
  fputs(buf_text(&b), stdout);
}

static void json_op(const OpDef *op) {
  printf("{\"name\": ");
  json_text(op->name);
  printf(", \"doc\": ");
  json_text(op->doc);
  printf(", \"pure\": %s, \"args\": [", op->flags & OP_PURE ? "true" : "false");
  for (int i = 0; i < OP_MAX_ARGS && op->args[i].name; i++) {
    printf("%s{\"name\": ", i ? ", " : "");
    json_text(op->args[i].name);
    printf(", \"doc\": ");
    json_text(op->args[i].doc);
    printf(", \"tuple\": %s}", op->args[i].is_tuple ? "true" : "false");
  }
  printf("], \"attrs\": [");
  for (int i = 0; i < OP_MAX_ATTRS && op->attrs[i].name; i++) {
    const OpAttr *a = &op->attrs[i];
    printf("%s{\"name\": ", i ? ", " : "");
    json_text(a->name);
    printf(", \"type\": \"%s\", \"default\": ", attr_type_name(a->type));
    json_text(a->dflt);
    printf(", \"doc\": ");
    json_text(a->doc);
    printf("}");
  }
  printf("], \"examples\": [");
  for (int i = 0; op->examples && op->examples[i]; i++) {
    fputs(i ? ", " : "", stdout);
    json_text(op->examples[i]);
  }
  bool zero;
  const char *why = stdlib_no_gradient(op, &zero);
  printf("], \"gradient\": \"%s\", \"not_differentiable\": ", why ? "no" : zero ? "zero" : "yes");
  json_text(why);
  printf("}");
}

static void text_op(const OpDef *op) {
  printf("%s(", op->name);
  for (int i = 0; i < OP_MAX_ARGS && op->args[i].name; i++)
    printf("%s%s", i ? ", " : "", op->args[i].name);
  printf(")\n  %s\n", op->doc ? op->doc : "");
  for (int i = 0; i < OP_MAX_ARGS && op->args[i].name; i++)
    printf("    %-14s %s%s\n", op->args[i].name, op->args[i].is_tuple ? "tuple: " : "",
           op->args[i].doc ? op->args[i].doc : "");
  for (int i = 0; i < OP_MAX_ATTRS && op->attrs[i].name; i++) {
    const OpAttr *a = &op->attrs[i];
    if (a->type == A_Ignored) continue;
    printf("    %s=%s  (%s) %s\n", a->name, a->dflt ? a->dflt : "<required>",
           attr_type_name(a->type), a->doc ? a->doc : "");
  }
  for (int i = 0; op->examples && op->examples[i]; i++)
    printf("  %s %s\n", i ? "        " : "example:", op->examples[i]);
  printf("\n");
}

/* ---- docs/operators.md --------------------------------------------------------------- */
static void md_text(const char *s) {
  for (; s && *s; s++) printf(*s == '|' ? "\\|" : "%c", *s);
}
static void md_signature(const OpDef *op) {
  printf("%s(", op->name);
  for (int k = 0; k < OP_MAX_ARGS && op->args[k].name; k++)
    printf("%s%s", k ? ", " : "", op->args[k].name);
  printf(")");
}
static void md_row(const char *name, const char *what, const char *doc) {
  printf("| `%s` | %s | ", name, what);
  md_text(doc);
  printf(" |\n");
}
static void md_op(const OpDef *op) {
  printf("\n## %s\n\n`", op->name);
  md_signature(op);
  printf("`: %s\n", op->doc ? op->doc : "");
  if (op->args[0].name || op->attrs[0].name) printf("\n| | | |\n|---|---|---|\n");
  for (int k = 0; k < OP_MAX_ARGS && op->args[k].name; k++)
    md_row(op->args[k].name, op->args[k].is_tuple ? "tuple" : "argument", op->args[k].doc);
  for (int k = 0; k < OP_MAX_ATTRS && op->attrs[k].name; k++) {
    const OpAttr *a = &op->attrs[k];
    if (a->type == A_Ignored) continue;
    const char *dflt = a->dflt && !*a->dflt ? "\"\"" : a->dflt;
    md_row(dflt ? str_fmt("%s=%s", a->name, dflt) : a->name,
           str_fmt("%s%s", attr_type_name(a->type), dflt ? "" : ", required"), a->doc);
  }
  if (op->optional)
    printf("\nThe last %d argument%s may be left out.\n", op->optional,
           op->optional > 1 ? "s" : "");
  bool zero;
  const char *why = stdlib_no_gradient(op, &zero);
  if (why) printf("\nNot differentiable: %s.\n", why);
  if (zero) printf("\nIts gradient is zero.\n");
  for (int k = 0; op->examples && op->examples[k]; k++)
    printf("%s%s\n", k ? "" : "\n```\n", op->examples[k]);
  if (op->examples && op->examples[0]) printf("```\n");
}
static int by_name(const void *a, const void *b) {
  return strcmp((*(const OpDef *const *)a)->name, (*(const OpDef *const *)b)->name);
}
static void md_ops(void) {
  const OpDef **sorted = NEW_N(const OpDef *, stdlib_n_ops + 1);
  memcpy(sorted, stdlib_ops, sizeof *sorted * (size_t)stdlib_n_ops);
  qsort(sorted, (size_t)stdlib_n_ops, sizeof *sorted, by_name);
  printf("# Operators\n\nMade from the records of `stdlib/` by `rvm ops --md`: %d operators. `rvm "
         "ops NAME` shows one. The "
         "examples are\ncalls that tests compare with an independent reference; `f32[2,?3]` is a "
         "tensor whose second extent "
         "is 3 and not known\nto the type checker ([stdlib/README.md](../stdlib/README.md)).\n\n",
         stdlib_n_ops);
  printf("| operator | meaning |\n|---|---|\n");
  for (int i = 0; i < stdlib_n_ops; i++) {
    printf("| `");
    md_signature(sorted[i]);
    printf("` | ");
    md_text(sorted[i]->doc);
    printf(" |\n");
  }
  for (int i = 0; i < stdlib_n_ops; i++) md_op(sorted[i]);
}

static int run_ops(void *opts, int n, char **args) {
  OpsCmd *o = opts;
  int found = 0;
  if (o->md) return md_ops(), EXIT_OK;
  if (o->library) return library_md(), EXIT_OK;
  if (o->json) printf("[");
  for (int i = 0; i < stdlib_n_ops; i++) {
    const OpDef *op = stdlib_ops[i];
    bool wanted = n == 0;
    for (int k = 0; k < n; k++) wanted |= strstr(op->name, args[k]) != NULL;
    if (!wanted) continue;
    if (o->json)
      printf("%s\n", found ? "," : ""), json_op(op);
    else if (n == 0)
      printf("%-32s %s\n", op->name, op->doc ? op->doc : "");
    else
      text_op(op);
    found++;
  }
  if (o->json) printf("\n]\n");
  if (!o->json && n == 0) library_list();
  if (!o->json && n > 0) found += library_show(n, args);
  if (!found && n)
    fprintf(stderr, "rvm: neither an operator nor a function of the library has `%s` in its name\n",
            args[0]);
  return found || n == 0 ? EXIT_OK : EXIT_REJECTED;
}
const Command cmd_ops = {
    .name = "ops",
    .args = "[NAME...] [--json | --md | --library]",
    .summary = "List operators and the library, or show what has NAME in its name",
    .examples = "  rvm ops\n  rvm ops conv2d\n  rvm ops @linear\n",
    .opts = ops_opts,
    .n_opts = (int)(sizeof ops_opts / sizeof *ops_opts),
    .opts_size = sizeof(OpsCmd),
    .max_args = INT_MAX,
    .run = run_ops,
};

/* ---- explain ---------------------------------------------------------------------- */
static const struct {
  const char *code, *text, *example;
} explanations[] = {
#define EXPLAIN(code, text, example) {#code, text, example},
#include "cli/explain.def"
#undef EXPLAIN
};
typedef struct {
  CommonOpts common;
  bool md;
} ExplainCmd;
static const Opt explain_opts[] = {
    {"md", NULL, "all of them as the Markdown of docs/errors.md", OPT_FLAG,
     offsetof(ExplainCmd, md)},
    {"diag", "json", "accepted for uniformity", OPT_TEXT, offsetof(ExplainCmd, common.diag)},
};

/* Words of text in lines of at most `width` characters. */
static void put_wrapped(const char *text, int width) {
  int col = 0;
  while (*text) {
    int n = (int)strcspn(text, " ");
    if (col && col + 1 + n > width) col = 0, putchar('\n');
    printf("%s%.*s", col ? " " : "", n, text);
    col += n + (col ? 1 : 0);
    text += n;
    text += strspn(text, " ");
  }
  putchar('\n');
}

static void put_indented(const char *text) {
  for (const char *s = text; *s;) {
    int n = (int)strcspn(s, "\n");
    printf("  %.*s\n", n, s);
    s += n + (s[n] == '\n');
  }
}

/* What rvm says to the example.  Errors of lowering need an entry point. */
static void put_answer(const char *example) {
  Driver d;
  Compiled none;
  StrBuf out = {0};
  driver_init(&d, NULL);
  driver_image_text(&d, (TextFile){"example.rly", example, strlen(example)}, "main", &none);
  diag_render(d.diags, &out, false);
  put_indented(buf_text(&out));
}

static void explain_one(size_t i) {
  const char *example = explanations[i].example;
  printf("\n");
  put_wrapped(explanations[i].text, 100);
  if (!example) return;
  printf("\nThis program, for example:\n\n");
  put_indented(example);
  printf("\nrvm says:\n\n");
  put_answer(example);
}

/* A message as one may see it: ... for what is filled in. */
static const char *template_text(int c) {
  StrBuf b = {0};
  for (const char *s = diag_code_template((DiagCode)c); *s; s++)
    if (*s == '%' && strchr("sdu", s[1]) && s[1])
      buf_str(&b, "..."), s++;
    else
      buf_char(&b, *s);
  return buf_text(&b);
}

static void explain_md(void) {
  printf(
      "# Diagnostics\n\nMade by `rvm explain --md`; `rvm explain CODE` shows one, with what rvm "
      "says to the example. "
      "Each example\nis checked to bring about its code.\n\n"
      "Errors have the place, the line, notes that point to what is involved, and help where rvm "
      "has a guess. Several "
      "are\nreported per run. `--diag=json` gives one JSON object per line. What fails while a "
      "program runs has no "
      "code: the\nmessage has the place and the values; see [language.md](language.md#meaning).\n\n"
      "| exit code | |\n|---|---|\n| 0 | all is well |\n| 1 | the input is rejected, or the "
      "program failed |\n"
      "| 2 | the command line is wrong |\n| 3 | a limit was met: fuel, memory, depth |\n"
      "| 4 | a file cannot be read or written |\n| 70 | a mistake of rvm: please report it |\n| "
      "130 | interrupted |\n");
  for (size_t i = 0; i < sizeof explanations / sizeof *explanations; i++) {
    const char *code = explanations[i].code, *example = explanations[i].example;
    for (int c = 0; c < DIAG_CODES; c++)
      if (!strcmp(diag_code_name((DiagCode)c), code))
        printf("\n## %s\n\n`%s`\n\n", code, template_text(c));
    put_wrapped(explanations[i].text, 118);
    if (example)
      printf("\n```rly %s %s\n%s```\n", strcmp(code, "E0307") ? "fails" : "warns", code, example);
  }
}

static int run_explain(void *opts, int n, char **args) {
  if (((ExplainCmd *)opts)->md) return explain_md(), EXIT_OK;
  for (int c = 0; c < DIAG_CODES; c++) {
    const char *name = diag_code_name((DiagCode)c);
    if (n == 0) printf("%s  %s\n", name, template_text(c));
    bool number = n && strspn(args[0], "0123456789") == strlen(args[0]);
    if (n == 0 || (number ? atoi(name + 1) != atoi(args[0]) : strcasecmp(name, args[0]) != 0))
      continue;
    printf("%s: %s\n", name, template_text(c));
    for (size_t i = 0; i < sizeof explanations / sizeof *explanations; i++)
      if (!strcmp(explanations[i].code, name)) explain_one(i);
    return EXIT_OK;
  }
  if (n == 0) return EXIT_OK;
  fprintf(stderr, "rvm: no diagnostic is numbered `%s`; `rvm explain` lists them\n", args[0]);
  return EXIT_REJECTED;
}
const Command cmd_explain = {
    .name = "explain",
    .args = "[CODE | --md]",
    .summary = "Explain a diagnostic's number with an example, or list all",
    .examples = "  rvm explain E0310\n  rvm explain\n",
    .opts = explain_opts,
    .n_opts = (int)(sizeof explain_opts / sizeof *explain_opts),
    .opts_size = sizeof(ExplainCmd),
    .max_args = 1,
    .run = run_explain,
};

/* ---- version ------------------------------------------------------------------------ */
static int run_version(void *opts, int n, char **args) {
  (void)opts, (void)n, (void)args;
  printf("rvm 0.1 (language 0.0.5, runtime ABI %u, %d operators)\n", rvm_abi(), stdlib_n_ops);
  const char *why = native_missing();
  printf("engines: interp%s%s%s\n", why ? " (no vm, no native: " : ", vm, native", why ? why : "",
         why ? ")" : "");
  return EXIT_OK;
}
const Command cmd_version = {
    .name = "version",
    .args = "",
    .summary = "Show versions",
    .opts_size = sizeof(CommonOpts),
    .run = run_version,
};
