/* fault.c -- what a call that failed says.                                    */
#include <unistd.h>
#include "cli/cli.h"

static void put_json(FILE *to, const char *key, const char *s) {
  fprintf(to, "\"%s\": \"", key);
  for (; *s; s++) {
    if ((unsigned char)*s < ' ')
      fprintf(to, "\\u%04x", (unsigned)*s);
    else
      fprintf(to, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
  }
  fputs("\", ", to);
}

int driver_fault(Driver *d, const char *path, const rvm_error *e) {
  bool json = d->diag_format && !strcmp(d->diag_format, "json");
  const char *file = e->file[0] ? e->file : path;
  if (json) {
    fputc('{', stderr);
    put_json(stderr, "file", file);
    put_json(stderr, "code", rvm_status_text(e->status));
    put_json(stderr, "message", e->message);
    fprintf(stderr, "\"level\": \"error\", \"line\": %u, \"col\": %u}\n", e->line, e->col);
  } else if (e->line) {
    StrBuf line = {0};
    diag_excerpt(d->diags, file, (int)e->line, (int)e->col, &line, isatty(2));
    fprintf(stderr, "%s:%u:%u: error: %s\n%s", file, e->line, e->col, e->message, buf_text(&line));
  } else
    fprintf(stderr, "%s: error: %s\n", path, e->message);
  switch (e->status) {
  case RVM_NO_FUEL:
  case RVM_NO_MEMORY:
  case RVM_TOO_DEEP: return EXIT_LIMIT;
  case RVM_INTERRUPTED: return EXIT_INTERRUPT;
  case RVM_OK:
  case RVM_BAD_IMAGE:
  case RVM_BAD_ARGUMENT:
  case RVM_NOT_FOUND:
  case RVM_BUSY:
  case RVM_FAULT: break;
  }
  return EXIT_REJECTED;
}
