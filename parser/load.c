/* load.c -- a program is a file, its imports and the prelude. */
#include "base/file.h"
#include "parser/parse.h"

enum { MAX_IMPORT_DEPTH = 200 };

typedef enum { LOADING = 1, LOADED } State;
typedef struct {
  const char *path;
  State state;
} Seen;

typedef struct {
  Parser *p;
  const TextFile *lib;
  int n_lib;
  VEC(Seen) seen;
  int depth;
} Loader;

static void load_imports(Loader *l, ParseFile *f, const char *path);

/* dir/of/file.rly and name -> dir/of/name, without "./". */
static const char *beside(const char *path, const char *name) {
  const char *slash = strrchr(path, '/');
  while (name[0] == '.' && name[1] == '/') name += 2;
  if (!slash || name[0] == '/') return name;
  return str_fmt("%.*s%s", (int)(slash - path + 1), path, name);
}

static const TextFile *find_library(const Loader *l, const char *name) {
  for (int i = 0; i < l->n_lib; i++)
    if (strcmp(l->lib[i].name, name) == 0) return &l->lib[i];
  return NULL;
}

/* Marks the path; false when it is there already (a cycle is reported). */
static bool first_time(Loader *l, const char *path, const char *name, Span at) {
  for (int i = 0; i < l->seen.n; i++) {
    if (strcmp(l->seen.at[i].path, path) != 0) continue;
    if (l->seen.at[i].state == LOADING) diag_error(l->p->d, at, E0002, name);
    return false;
  }
  Seen s = {path, LOADING};
  vec_push(&l->seen, s);
  return true;
}

static void load_text(Loader *l, TextFile t, bool library, bool import) {
  int me = l->seen.n - 1;
  uint32_t file = source_add(l->p->src, t.name, t.text, t.n);
  if (file == 0) {
    diag_error(l->p->d, (Span){0}, E0001, t.name, "it is larger than 4 GB");
    return;
  }
  ParseFile *f = skim_file(l->p, file, library, import);
  if (f) load_imports(l, f, t.name);
  l->seen.at[me].state = LOADED;
}

static bool readable(const char *path, char **text, size_t *n) {
  return file_read(path, FILE_LIMIT, text, n) == NULL;
}

static void load_import(Loader *l, const char *from, const char *name, Span at) {
  char *text;
  size_t n;
  const char *path = beside(from, name);
  const TextFile *lib = find_library(l, name);
  bool local = readable(path, &text, &n);
  if (!local && !lib) {
    diag_error(l->p->d, at, E0003, name, from);
    return;
  }
  TextFile f = local ? (TextFile){path, text, n} : *lib;
  if (first_time(l, f.name, name, at)) load_text(l, f, !local, true);
}

static void load_imports(Loader *l, ParseFile *f, const char *path) {
  if (l->depth >= MAX_IMPORT_DEPTH) {
    diag_error(l->p->d, (Span){f->file, 0, 0}, E0106, "the chain of imports", MAX_IMPORT_DEPTH);
    return;
  }
  l->depth++;
  for (int i = 0; i < f->items.n; i++) {
    const Item *it = f->items.at[i];
    StrBuf name = {0};
    if (it->kind != ITEM_Import || !lex_string(&it->name, &name, l->p->d)) continue;
    load_import(l, path, buf_text(&name), it->name.span);
  }
  l->depth--;
}

static void load_prelude(Loader *l) {
  const TextFile *prelude = find_library(l, "prelude.rly");
  if (prelude && first_time(l, prelude->name, prelude->name, (Span){0}))
    load_text(l, *prelude, true, true);
}

Module *load_program(IrCtx *cx, Sources *src, TextFile program, const TextFile *lib, int n_lib,
                     Diags *d) {
  Parser p = parser_start(cx, src, d);
  Loader l = {.p = &p, .lib = lib, .n_lib = n_lib};
  int before = d->n_errors;
  if (!program.text) {
    char *read;
    const char *why = file_read(program.name, FILE_LIMIT, &read, &program.n);
    if (why) return diag_error(d, (Span){0}, E0001, program.name, why), NULL;
    program.text = read;
  }
  first_time(&l, program.name, program.name, (Span){0});
  load_text(&l, program, false, false);
  load_prelude(&l);
  if (d->n_errors == before) {
    declare_items(&p);
    parse_bodies(&p);
  }
  return parser_done(&p, before);
}
