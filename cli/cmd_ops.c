/* cmd_ops.c -- ops, explain, version: what rvm knows about itself.            */
#include "cli/cli.h"
#include "ir/op.h"
#include "stdlib/stdlib.h"
#include <rvm/rvm.h>

typedef struct { CommonOpts common; bool json, md; } OpsCmd;
static const Opt ops_opts[] = {
  { "json", NULL, "all records as JSON", OPT_FLAG, offsetof(OpsCmd, json) },
  { "md", NULL, "all records as the Markdown of docs/operators.md", OPT_FLAG, offsetof(OpsCmd, md) },
  { "diag", "json", "accepted for uniformity", OPT_TEXT, offsetof(OpsCmd, common.diag) },
};

static const char *attr_type_name(AttrType t) {
  static const char *const name[] = {
    [A_Int] = "int", [A_Float] = "float", [A_Bool] = "bool", [A_Str] = "string", [A_DType] = "dtype",
    [A_Ints] = "ints", [A_IntsList] = "list of ints", [A_IntOrInts] = "int or ints", [A_Floats] = "floats",
    [A_Ignored] = "ignored" };
  return name[t];
}

static void json_text(const char *s) {
  if (!s) {
    fputs("null", stdout);
    return;
  }
  putchar('"');
  for (; *s; s++) {
    if (*s == '"' || *s == '\\') printf("\\%c", *s);
    else if ((unsigned char)*s < 32) printf("\\u%04x", *s);
    else putchar(*s);
  }
  putchar('"');
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
  printf("], \"not_differentiable\": ");
  json_text(op->not_differentiable);
  printf("}");
}

static void text_op(const OpDef *op) {
  printf("%s(", op->name);
  for (int i = 0; i < OP_MAX_ARGS && op->args[i].name; i++) printf("%s%s", i ? ", " : "", op->args[i].name);
  printf(")\n  %s\n", op->doc ? op->doc : "");
  for (int i = 0; i < OP_MAX_ARGS && op->args[i].name; i++)
    printf("    %-14s %s%s\n", op->args[i].name, op->args[i].is_tuple ? "tuple: " : "", op->args[i].doc ? op->args[i].doc : "");
  for (int i = 0; i < OP_MAX_ATTRS && op->attrs[i].name; i++) {
    const OpAttr *a = &op->attrs[i];
    printf("    %s=%s  (%s) %s\n", a->name, a->dflt ? a->dflt : "<required>", attr_type_name(a->type), a->doc ? a->doc : "");
  }
  if (op->examples && op->examples[0]) printf("  example: %s\n", op->examples[0]);
}

static void md_ops(void) {
  printf("# Operators\n\nMade from the records by `rvm ops --md`; %d operators.\n\n", stdlib_n_ops);
  printf("| operator | attributes | meaning |\n|---|---|---|\n");
  for (int i = 0; i < stdlib_n_ops; i++) {
    const OpDef *op = stdlib_ops[i];
    printf("| `%s(", op->name);
    for (int k = 0; k < OP_MAX_ARGS && op->args[k].name; k++) printf("%s%s", k ? ", " : "", op->args[k].name);
    printf(")` | ");
    for (int k = 0; k < OP_MAX_ATTRS && op->attrs[k].name; k++)
      if (op->attrs[k].type != A_Ignored)
        printf("%s`%s%s%s`", k ? " " : "", op->attrs[k].name, op->attrs[k].dflt ? "=" : "", op->attrs[k].dflt ? op->attrs[k].dflt : "");
    printf(" | ");
    for (const char *s = op->doc ? op->doc : ""; *s; s++) printf(*s == '|' ? "\\|" : "%c", *s);
    printf(" |\n");
  }
}

static int run_ops(void *opts, int n, char **args) {
  OpsCmd *o = opts;
  int found = 0;
  if (o->md) return md_ops(), EXIT_OK;
  if (o->json) printf("[");
  for (int i = 0; i < stdlib_n_ops; i++) {
    const OpDef *op = stdlib_ops[i];
    bool wanted = n == 0;
    for (int k = 0; k < n; k++) wanted |= strstr(op->name, args[k]) != NULL;
    if (!wanted) continue;
    if (o->json) printf("%s\n", found ? "," : ""), json_op(op);
    else if (n == 0) printf("%-32s %s\n", op->name, op->doc ? op->doc : "");
    else text_op(op);
    found++;
  }
  if (o->json) printf("\n]\n");
  if (!found && n) fprintf(stderr, "rvm: no operator's name contains `%s`\n", args[0]);
  return found || n == 0 ? EXIT_OK : EXIT_REJECTED;
}
const Command cmd_ops = {
  "ops", "[NAME...] [--json | --md]", "List operators, or show those whose name contains NAME",
  "  rvm ops\n  rvm ops conv2d\n", ops_opts, 3, sizeof(OpsCmd), 0, 100, run_ops };

/* ---- explain ---------------------------------------------------------------------- */
static const struct { const char *code, *text; } explanations[] = {
#define EXPLAIN(code, text) { #code, text },
#include "cli/explain.def"
#undef EXPLAIN
};
static const Opt explain_opts[] = {
  { "diag", "json", "accepted for uniformity", OPT_TEXT, offsetof(CommonOpts, diag) },
};
static int run_explain(void *opts, int n, char **args) {
  (void)opts;
  for (int c = 0; c < DIAG_CODES; c++) {
    const char *name = diag_code_name((DiagCode)c);
    if (n == 0) printf("%s  %s\n", name, diag_code_template((DiagCode)c));
    if (n == 0 || strcmp(name, args[0])) continue;
    printf("%s: %s\n", name, diag_code_template((DiagCode)c));
    for (size_t i = 0; i < sizeof explanations / sizeof *explanations; i++)
      if (!strcmp(explanations[i].code, name)) printf("\n%s\n", explanations[i].text);
    return EXIT_OK;
  }
  if (n == 0) return EXIT_OK;
  fprintf(stderr, "rvm: no diagnostic is numbered `%s`; `rvm explain` lists them\n", args[0]);
  return EXIT_REJECTED;
}
const Command cmd_explain = {
  "explain", "[CODE]", "Explain a diagnostic's number with an example, or list all",
  "  rvm explain E0310\n", explain_opts, 1, sizeof(CommonOpts), 0, 1, run_explain };

/* ---- version ------------------------------------------------------------------------ */
static int run_version(void *opts, int n, char **args) {
  (void)opts, (void)n, (void)args;
  printf("rvm 0.1 (language 0.0.5, runtime ABI %u, %d operators)\n", rvm_abi(), stdlib_n_ops);
  return EXIT_OK;
}
const Command cmd_version = { "version", "", "Show versions", NULL, NULL, 0, sizeof(CommonOpts), 0, 0, run_version };
