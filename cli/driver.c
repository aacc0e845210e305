/* driver.c -- from a file to a typed module and to image bytes.               */
#include <unistd.h>
#include "base/file.h"
#include "autodiff/autodiff.h"
#include "cli/bind.h"
#include "cli/cli.h"
#include "opt/pass.h"
#include "codegen/lower/lower.h"
#include "parser/parser.h"
#include "stdlib/embedded.h"
#include "stdlib/stdlib.h"
#include "typeinfer/infer.h"

#define IMAGE_LIMIT ((size_t)4 << 30) /* bytes of a .rvm file */

int driver_level(const NumberOpt *opt) { return opt->given ? (int)opt->value : OPT_MAX_LEVEL; }

void driver_init(Driver *d, const char *diag_format) {
  *d = (Driver){.diag_format = diag_format};
  d->diags = diags_new(&d->sources);
  d->cx = irctx_new();
  irctx_set_ops(d->cx, stdlib_ops, stdlib_n_ops);
  stdlib_set_grads(d->cx);
}

int driver_report(Driver *d) {
  StrBuf b = {0};
  bool json = d->diag_format && !strcmp(d->diag_format, "json");
  if (json)
    diag_render_json(d->diags, &b);
  else
    diag_render(d->diags, &b, isatty(2));
  fputs(buf_text(&b), stderr);
  for (int i = 0; i < d->diags->n; i++)
    if (d->diags->at[i].code == E0001 || d->diags->at[i].code == E0003) return EXIT_IO;
  return d->diags->n_errors ? EXIT_REJECTED : EXIT_OK;
}

/* ---- weights ---------------------------------------------------------------------- */
typedef struct {
  const Global *g;
  bool found;
} Mention;
static void mention_atom(void *ud, Atom *a) {
  Mention *m = ud;
  if (a->kind == ATOM_Global && a->global == m->g) m->found = true;
}
static void mention_block(void *ud, Block *b) {
  mention_atom(ud, &b->result);
  for (int i = 0; i < b->n; i++)
    ir_visit(b->at[i].value, &(ExprVisit){mention_atom, mention_block, NULL}, ud);
}
static bool is_called(const Module *m, const Global *g) {
  Mention seen = {g, false};
  for (int i = 0; i < m->globals.n && !seen.found; i++)
    mention_block(&seen, m->globals.at[i]->fn->body);
  return seen.found;
}

/* A function that others call keeps its parameters: they are bound when it runs. */
static void bind_params(Driver *d, Module *m, const char *entry) {
  Global *g = d->params && d->params->n && entry ? module_find(m, entry + (*entry == '@')) : NULL;
  if (g && !is_called(m, g)) d->bound = bind_weights(m, g->fn, d->params, d->stays, d->stays_ud);
}

/* ---- loading ---------------------------------------------------------------------- */
static Module *load(Driver *d, TextFile f) {
  Module *m = load_program(d->cx, &d->sources, f, stdlib_files, stdlib_n_files, d->diags);
  return d->diags->n_errors ? NULL : m;
}

static bool check_types(Driver *d, Module *m) {
  return m && typeinfer(m, d->diags) && !d->diags->n_errors;
}

Module *driver_load_text(Driver *d, TextFile f, bool typed) {
  Module *m = load(d, f);
  return !typed || check_types(d, m) ? m : NULL;
}

/* What typeinfer says of a program made by a pass is our mistake: the program is
 * shown, with the message. */
static bool retype(Driver *d, Module *m, int *code) {
  if (typeinfer(m, d->diags) && !d->diags->n_errors) return true;
  StrBuf b = {0};
  ir_print_module(m, &(PrintOpts){0}, &b);
  fprintf(stderr, "rvm: a bug of rvm: the derivative has no type:\n%s", buf_text(&b));
  driver_report(d);
  *code = EXIT_BUG;
  return false;
}

bool driver_differentiate(Driver *d, Module *m, int *code) {
  for (;;) {
    switch (autodiff_step(m, d->diags)) {
    case AUTODIFF_NOTHING: return true;
    case AUTODIFF_FAILED: *code = EXIT_OK; return false;
    case AUTODIFF_CHANGED:
      if (!retype(d, m, code)) return false;
    }
  }
}

Global *driver_gradient(Driver *d, Module *m, Global *f, DiffKind form, int *code) {
  Global *g = NULL;
  *code = EXIT_OK;
  while (!g)
    if (autodiff_request(m, f, form, d->diags, &g) == AUTODIFF_FAILED || !retype(d, m, code))
      return NULL;
  return driver_differentiate(d, m, code) ? g : NULL;
}

Module *driver_load(Driver *d, const char *path, bool typed) {
  return driver_load_text(d, (TextFile){.name = path}, typed);
}

/* Exported when nothing is named: every function of the file itself whose type
 * has no parameters. */
static bool exportable(const Global *g) {
  Type *t = g->type ? type_resolve(g->type) : NULL;
  return !g->library && t && t->kind == TY_Fn && t->fn.n_vars == 0;
}

void driver_no_function(Driver *d, Module *m, const char *path, const char *name) {
  diag_error(d->diags, (Span){0}, E0402, name, str_fmt("%s does not define it", path));
  StrBuf have = {0};
  for (int i = 0; i < m->globals.n; i++)
    if (exportable(m->globals.at[i]))
      buf_fmt(&have, "%s@%s", have.n ? ", " : "", m->globals.at[i]->name);
  diag_help(d->diags, "it defines %s", have.n ? buf_text(&have) : "no function that can be run");
}

/* entry: NULL, or names with commas between them. */
static bool pick_entries(Driver *d, Module *m, const char *path, const char *entry, Global ***out,
                         int *n) {
  *out = NEW_N(Global *, m->globals.n + 1);
  *n = 0;
  for (const char *s = entry; s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL) {
    const char *name = str_fmt("%.*s", (int)strcspn(s, ","), s);
    Global *g = module_find(m, name[0] == '@' ? name + 1 : name);
    if (!g) return driver_no_function(d, m, path, name), false;
    (*out)[(*n)++] = g;
  }
  if (entry) return true;
  for (int i = 0; i < m->globals.n; i++)
    if (exportable(m->globals.at[i])) (*out)[(*n)++] = m->globals.at[i];
  if (*n > 0) return true;
  return diag_error(d->diags, (Span){0}, E0402, "main",
                    str_fmt("%s defines no function that can be run", path));
}

static bool failed(Driver *d, int *code) {
  *code = driver_report(d);
  if (*code == EXIT_OK) *code = EXIT_REJECTED;
  return false;
}

static bool compile(Driver *d, TextFile f, const char *entry, Compiled *out, int *code) {
  Global **entries;
  int n_entries;
  Image image;
  Module *m = load(d, f);
  *out = (Compiled){0};
  if (m) bind_params(d, m, entry);
  if (!check_types(d, m) || !driver_differentiate(d, m, code) ||
      !pick_entries(d, m, f.name, entry, &entries, &n_entries) ||
      !driver_optimise(d, m, NULL, code) ||
      !lower_module(m, n_entries, entries, d->diags, &image) || d->diags->n_errors)
    return false;
  out->m = m;
  out->bytes = image_write(&image, lower_alloc(), &out->n);
  return true;
}

bool driver_image_text(Driver *d, TextFile f, const char *entry, Compiled *out) {
  int code;
  return compile(d, f, entry, out, &code);
}

bool driver_image_source(Driver *d, TextFile f, const char *entry, Compiled *out, int *code) {
  *code = EXIT_OK;
  if (!compile(d, f, entry, out, code)) return *code ? false : failed(d, code);
  driver_report(d); /* warnings                         */
  return true;
}

bool driver_image(Driver *d, const char *path, const char *entry, Compiled *out, int *code) {
  if (!has_suffix(path, ".rvm"))
    return driver_image_source(d, (TextFile){.name = path}, entry, out, code);
  *out = (Compiled){0};
  const char *why = file_view(path, IMAGE_LIMIT, (const char **)&out->bytes, &out->n);
  if (why) *code = fail_io(str_fmt("%s: %s", path, why));
  return !why;
}
