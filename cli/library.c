/* library.c -- see library.h.  Definitions of the library stand at the start of a
 * line with `///` lines before them; what begins with __ is its own business.   */
#include "cli/library.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "stdlib/embedded.h"

typedef struct {
  const char *s;
  size_t n;
} Part;

typedef struct {
  Part doc, name, head; /* `///` lines; @f or Type; the text up to its body     */
} Item;

static Part rest_of_line(const char *s) {
  Part p = {s, strcspn(s, "\n")};
  return p;
}

static bool begins(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

/* Up to the brace of the body; a type is shown with it. */
static size_t head_length(const char *s, bool type) {
  const char *end = type ? strstr(s, "\n}") : strstr(s, " {\n");
  return end ? (size_t)(end - s) + (type ? 2 : 0) : strlen(s);
}

/* The next definition behind *at; *at is moved behind its head. */
static bool next_item(const char **at, Item *out) {
  Part doc = {0};
  for (const char *s = *at; *s;) {
    Part line = rest_of_line(s);
    bool type = begins(s, "type ");
    if (begins(s, "///")) {
      if (!doc.n) doc.s = s;
      doc.n = (size_t)(line.s + line.n - doc.s);
    } else if (type || begins(s, "def @")) {
      const char *name = s + (type ? 5 : 4);
      *out = (Item){doc, {name, strcspn(name, "[( {")}, {s, head_length(s, type)}};
      *at = s + out->head.n;
      if (!begins(name, "@__")) return true;
      doc = (Part){0};
      s = *at;
      line = rest_of_line(s);
    } else
      doc = (Part){0};
    s += line.n + (s[line.n] == '\n');
  }
  return false;
}

static bool has_name(const Item *it, const char *name) {
  for (size_t i = 0, n = strlen(name); i + n <= it->name.n; i++)
    if (!strncmp(it->name.s + i, name, n)) return true;
  return false;
}

/* Lines without their `/// `, each behind `indent`. */
static void put_doc(Part doc, const char *indent) {
  for (const char *s = doc.s, *end = s + doc.n; doc.n && s < end;) {
    Part line = rest_of_line(s);
    size_t skip = line.n > 3 ? 4 : 3;
    printf("%s%.*s\n", line.n > skip ? indent : "", (int)(line.n - skip), s + skip);
    s += line.n + 1;
  }
}

static void put_item(const Item *it, const char *file) {
  printf("%.*s    (%s)\n", (int)it->head.n, it->head.s, file);
  put_doc(it->doc, "  ");
}

void library_list(void) {
  for (int i = 0; i < stdlib_n_files; i++) {
    const char *at = stdlib_files[i].text;
    for (Item it; next_item(&at, &it);) {
      Part first = it.doc.n ? rest_of_line(it.doc.s) : (Part){"    ", 4};
      printf("%-32.*s %-12s %.*s\n", (int)it.name.n, it.name.s, stdlib_files[i].name,
             (int)first.n - 4, first.s + 4);
    }
  }
}

int library_show(int n, char **names) {
  int found = 0;
  for (int i = 0; i < stdlib_n_files; i++) {
    const char *at = stdlib_files[i].text;
    for (Item it; next_item(&at, &it);) {
      bool wanted = false;
      for (int k = 0; k < n; k++) wanted |= has_name(&it, names[k]);
      if (wanted) put_item(&it, stdlib_files[i].name);
      found += wanted;
    }
  }
  return found;
}

/* What a file says of itself: the `///` lines it begins with. */
static void md_file(const TextFile *f) {
  const char *end = f->text;
  while (begins(end, "///")) end += rest_of_line(end).n + 1;
  Part doc = {f->text, (size_t)(end - f->text)};
  printf("\n## %s\n\n", f->name);
  put_doc(doc, "");
  if (strcmp(f->name, "prelude.rly") != 0) printf("\n`import \"%s\"`\n", f->name);
  const char *at = f->text;
  for (Item it; next_item(&at, &it);) {
    printf("\n```\n%.*s\n```\n%s", (int)it.head.n, it.head.s, it.doc.n ? "\n" : "");
    put_doc(it.doc, "");
  }
}

void library_md(void) {
  printf("# The library\n\nMade by `rvm ops --library`; `rvm ops NAME` shows what has NAME in its "
         "name. The functions are\nwritten in the language and can be read in [stdlib](../stdlib); "
         "a definition of the program replaces\nthe library's of the same name. Operators: "
         "[operators.md](operators.md).\n\n");
  for (int i = 0; i < stdlib_n_files; i++) {
    const char *name = stdlib_files[i].name;
    printf("- [%s](#%.*srly)\n", name, (int)strcspn(name, "."), name);
  }
  for (int i = 0; i < stdlib_n_files; i++) md_file(&stdlib_files[i]);
}
