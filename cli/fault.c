/* fault.c -- what a call that failed says.                                    */
#include <unistd.h>
#include "base/utf8.h"
#include "cli/cli.h"

static void print_json(const char *file, const rvm_error *e) {
  StrBuf b = {0};
  buf_str(&b, "{\"file\": ");
  buf_json(&b, file);
  buf_str(&b, ", \"code\": ");
  buf_json(&b, rvm_status_text(e->status));
  buf_str(&b, ", \"message\": ");
  buf_json(&b, e->message);
  buf_fmt(&b, ", \"level\": \"error\", \"line\": %u, \"col\": %u}\n", e->line, e->col);
  fputs(buf_text(&b), stderr);
}

int driver_fault(Driver *d, const char *path, const rvm_error *e) {
  bool json = d->diag_format && !strcmp(d->diag_format, "json");
  const char *file = e->file[0] ? e->file : path;
  if (json) {
    print_json(file, e);
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
