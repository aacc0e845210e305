/* contender.c -- see contender.h.                                              */
#define _GNU_SOURCE
#include "cli/measure/contender.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/str.h"

enum { LONGEST_LINE = 1 << 17, EXIT_NOT_STARTED = 4 };

/* ---- processes ----------------------------------------------------------------- */
static void become(Contender *c, int in, int out) {
  if (dup2(in, 0) < 0 || dup2(out, 1) < 0) _exit(EXIT_NOT_STARTED);
  execvp(c->argv[0], c->argv);
  fprintf(stderr, "rvm bench: %s: %s\n", c->argv[0], strerror(errno));
  _exit(EXIT_NOT_STARTED);
}

static int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The end of a contender, which has said why itself. */
static const char *ended(Contender *c, int *code) {
  int status = 0;
  if (c->to) fclose(c->to);
  if (c->from) fclose(c->from);
  c->to = c->from = NULL;
  if (c->pid > 0) waitpid(c->pid, &status, 0);
  c->pid = 0;
  *code = exit_code(status) ? exit_code(status) : EXIT_NOT_STARTED;
  return str_fmt("%s ended with status %d", c->label, *code);
}

/* The next line meant for us, without the "@ "; NULL at the end. */
static char *answer(Contender *c, char *line) {
  while (fgets(line, LONGEST_LINE, c->from))
    if (!strncmp(line, "@ ", 2)) return line + 2;
  return NULL;
}

const char *contender_start(Contender *c, int *code) {
  int in[2], out[2];
  if (c->command) return NULL;
  *code = EXIT_NOT_STARTED;
  /* Not for the other contenders: a pipe ends when its last holder goes. */
  if (pipe2(in, O_CLOEXEC) != 0) return str_fmt("%s: %s", c->label, strerror(errno));
  if (pipe2(out, O_CLOEXEC) != 0 || (c->pid = fork()) < 0)
    return str_fmt("%s: %s", c->label, strerror(errno));
  if (c->pid == 0) become(c, in[0], out[1]);
  close(in[0]), close(out[1]);
  c->to = fdopen(in[1], "w");
  c->from = fdopen(out[0], "r");
  char *line = NEW_BYTES(LONGEST_LINE), *ready = c->from ? answer(c, line) : NULL;
  if (!ready) return ended(c, code);
  ready[strcspn(ready, "\n")] = 0;
  c->engine = str_fmt("%s", ready);
  return NULL;
}

void contender_end(Contender *c) {
  int code;
  if (c->pid > 0) ended(c, &code);
}

/* ---- rounds ---------------------------------------------------------------------- */
static int add_numbers(const char *line, Samples *out, int most) {
  int n = 0;
  for (char *end; n < most; line = end, n++) {
    double v = strtod(line, &end);
    if (end == line || !(v > 0)) break;
    vec_push(out, v);
  }
  return n;
}

static const char *run_command(Contender *c, int *code) {
  char *line = NEW_BYTES(LONGEST_LINE), *last = NEW_BYTES(LONGEST_LINE);
  *code = EXIT_NOT_STARTED;
  FILE *from = popen(c->command, "r");
  if (!from) return str_fmt("%s: %s", c->command, strerror(errno));
  while (fgets(line, LONGEST_LINE, from))
    if (strspn(line, " \t\r\n") < strlen(line)) strcpy(last, line);
  int status = pclose(from);
  if (status) {
    *code = exit_code(status);
    return str_fmt("%s ended with status %d", c->command, *code);
  }
  Samples said = {0};
  if (add_numbers(last, &said, 2) > 0) {
    if (c->best == 0 || said.at[0] < c->best) c->best = said.at[0];
    vec_push(&c->samples, said.at[said.n - 1]);
    return NULL;
  }
  return str_fmt("%s: its last line is no time in microseconds: %s", c->command, last);
}

const char *contender_round(Contender *c, double seconds, int *code) {
  if (c->command) return run_command(c, code);
  char *line = NEW_BYTES(LONGEST_LINE), *got;
  fprintf(c->to, "%g\n", seconds);
  if (fflush(c->to) != 0 || !(got = answer(c, line))) return ended(c, code);
  if (add_numbers(got, &c->samples, INT32_MAX) > 0) return NULL;
  return ended(c, code);
}
