/* load.c -- a program is a file, its imports and the prelude. */
#include "base/file.h"
#include "parser/parse.h"

enum { MAX_IMPORT_DEPTH = 200 };

typedef enum { LOADING = 1, LOADED } State;
typedef struct {
  const char *path; /* of a file of the library its name */
  bool library;
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

/* In front of a name: the library's, whatever stands beside the file. */
static const char standard[] = "std/";

static const TextFile *find_library(const Loader *l, const char *name) {
  for (int i = 0; i < l->n_lib; i++)
    if (strcmp(l->lib[i].name, name) == 0) return &l->lib[i];
  return NULL;
}

/* Marks the path; false when it is there already (a cycle is reported). */
static bool first_time(Loader *l, const char *path, bool library, const char *name, Span at) {
  for (int i = 0; i < l->seen.n; i++) {
    const Seen *s = &l->seen.at[i];
    if (s->library != library || strcmp(s->path, path) != 0) continue;
    if (s->state == LOADING) diag_error(l->p->d, at, E0002, name);
    return false;
  }
  Seen s = {path, library, LOADING};
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

/* A file of the library means the library's: what stands in the user's folders, or where the
 * command runs, is nothing to it. */
static void load_import(Loader *l, const ParseFile *from, const char *path, const char *name,
                        Span at) {
  char *text;
  size_t n, prefix = sizeof standard - 1;
  bool prefixed = strncmp(name, standard, prefix) == 0;
  const TextFile *lib = find_library(l, prefixed ? name + prefix : name);
  const char *local = beside(path, name);
  bool only_library = lib && (prefixed || from->library);
  if (!only_library && readable(local, &text, &n)) {
    if (first_time(l, local, false, name, at))
      load_text(l, (TextFile){local, text, n}, false, true);
  } else if (lib) {
    if (first_time(l, lib->name, true, name, at)) load_text(l, *lib, true, true);
  } else {
    diag_error(l->p->d, at, E0003, name, path);
  }
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
    load_import(l, f, path, buf_text(&name), it->name.span);
  }
  l->depth--;
}

static void load_prelude(Loader *l) {
  const TextFile *prelude = find_library(l, "prelude.rly");
  if (prelude && first_time(l, prelude->name, true, prelude->name, (Span){0}))
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
  first_time(&l, program.name, false, program.name, (Span){0});
  load_text(&l, program, false, false);
  load_prelude(&l);
  if (d->n_errors == before) {
    declare_items(&p);
    parse_bodies(&p);
  }
  return parser_done(&p, before);
}
