/* fail.c -- the refusals all commands share: what is said, and the exit code. */
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/str.h"
#include "cli/cli.h"

int fail_usage(const Command *c, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fprintf(stderr, "rvm %s: ", c->name);
  vfprintf(stderr, fmt, ap);
  fprintf(stderr, "\nusage: rvm %s%s%s\n(rvm %s --help for more)\n", c->name, *c->args ? " " : "",
          c->args, c->name);
  va_end(ap);
  return EXIT_USAGE;
}
int fail_io(const char *why) {
  fprintf(stderr, "rvm: %s\n", why);
  return EXIT_IO;
}
bool can_write(const char *path, int *code) {
  const char *why = path ? file_may_write(path) : NULL;
  if (why) *code = fail_io(str_fmt("%s: %s", path, why));
  return !why;
}
void say_bad_image(const char *path, const char *why, uint64_t at, uint32_t func, uint32_t pc) {
  fprintf(stderr, "rvm: %s: %s (byte %llu", path, why, (unsigned long long)at);
  if (func != UINT32_MAX && (func || pc))
    fprintf(stderr, ", function %u, instruction %u", func, pc);
  fprintf(stderr, ")\n");
}
int text_out(const StrBuf *b, const char *path) {
  const char *why = NULL;
  if (path)
    why = file_write(path, buf_text(b), b->n);
  else
    fwrite(buf_text(b), 1, b->n, stdout); /* main looks at stdout's state at the end */
  return why ? fail_io(why) : EXIT_OK;
}
bool has_suffix(const char *s, const char *suffix) {
  size_t n = strlen(s), m = strlen(suffix);
  return n >= m && !strcmp(s + n - m, suffix);
}

/* A file that cannot be read is an I/O error, one that is read and damaged is
 * rejected input. */
int tensors_read(const char *path, TensorSet *out) {
  const char *why = tensor_file_read(path, out);
  if (!why) return EXIT_OK;
  fail_io(why);
  return access(path, R_OK) ? EXIT_IO : EXIT_REJECTED;
}
