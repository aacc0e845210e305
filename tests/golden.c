/* golden.c -- golden RVM DIR [--bless] [--with "OPTIONS"] [NAME ...]
 *
 * Runs every DIR/<name>.rly and DIR/<stage>/<name>.rly as its first lines say:
 *
 *   //! run: rvm check %s    a shell command; %s is the file, %t a fresh folder
 *   //! exit: 1              status of the run above (or of the first); else 0
 *   //! fails: 2 1           statuses of each `rvm` in it that fails and whose
 *                            status a pipe, a loop or the like keeps from it
 *   //! out: text            a line of its stdout; all of them, exactly
 *   //! helper               this file is imported by others, not run
 *   code  //~ E0310 text     an error here, whose message contains text; the
 *                            runs get --diag=json, and every reported error
 *                            must be one that is expected; exit is then 1
 *   //~^ E0310 text          the same for the line above
 *
 * Long output stands beside: <name>.out and <name>.err hold the stdout and the
 * stderr of all runs.  --bless rewrites these, and the out: lines of a file
 * with one run.  A run that dies of a signal or takes a minute has failed, and
 * so has one in which an `rvm` fails unseen.                                 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_RUNS = 16, MAX_WANTED = 200, TIMEOUT_S = 60 };

typedef struct { char *s; size_t n; } Text;
typedef struct { char *command, *fails; int exit; Text out; bool has_out; } Run;
typedef struct { int line; char *code, *text; bool seen; } Wanted;
typedef struct {
  const char *dir;                 /* where the file is, and where it is run */
  const char *with;                /* options for `rvm run`, or NULL          */
  char name[256];                  /* without .rly                           */
  char tmp[64];
  Run run[MAX_RUNS];        int n_runs;
  Wanted wanted[MAX_WANTED];  int n_wanted;
  bool bless, failed, helper;
} Test;

static void *checked(void *p) {
  if (!p) { fprintf(stderr, "golden: out of memory\n"); exit(2); }
  return p;
}

/* ---- text ---- */

static void add(Text *t, const char *s, size_t n) {
  t->s = checked(realloc(t->s, t->n + n + 1));
  if (n) memcpy(t->s + t->n, s, n);
  t->s[t->n += n] = 0;
}

static bool same(Text a, Text b) { return a.n == b.n && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0); }

static bool slurp(const char *path, Text *t) {
  char part[1 << 16];
  FILE *f = fopen(path, "rb");
  if (!f) return false;
  add(t, "", 0);
  for (size_t k; (k = fread(part, 1, sizeof part, f)) > 0;) add(t, part, k);
  bool whole = !ferror(f);
  fclose(f);
  return whole;
}

static void spill(const char *path, Text t) {
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(t.s ? t.s : "", 1, t.n, f) != t.n || fclose(f) != 0) perror(path);
}

static const char *path_of(const Test *t, const char *suffix) {
  static char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s%s", t->dir, t->name, suffix);
  return path;
}

static const char *in_tmp(const Test *t, const char *name) {
  static char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", t->tmp, name);
  return path;
}

__attribute__((format(printf, 2, 3))) static void fail(Test *t, const char *fmt, ...) {
  va_list ap;
  printf("FAILED %s: ", path_of(t, ".rly"));
  va_start(ap, fmt);
  vprintf(fmt, ap);
  va_end(ap);
  printf("\n");
  t->failed = true;
}

/* Says what differs, from the first line that does. */
static void show_difference(const char *what, Text want, Text got) {
  size_t i = 0, line = 1;
  const char *w = want.s ? want.s : "", *g = got.s ? got.s : "";
  while (i < want.n && i < got.n && w[i] == g[i]) line += w[i++] == '\n';
  while (i > 0 && w[i - 1] != '\n') i--;
  printf("  %s differs from line %zu on\n  --- expected\n%.600s\n  --- found\n%.600s\n", what, line,
         w + i, g + i);
}

/* ---- what the file asks for ---- */

static const char *after(const char *line, const char *head) {
  size_t n = strlen(head);
  if (strncmp(line, head, n) != 0) return NULL;
  return line[n] == ' ' ? line + n + 1 : line + n;
}

static void read_directive(Test *t, const char *line, bool *exit_set) {
  const char *arg;
  Run *last = &t->run[t->n_runs > 0 ? t->n_runs - 1 : 0];
  if ((arg = after(line, "//! run:"))) {
    if (t->n_runs == MAX_RUNS) fail(t, "more than %d runs", MAX_RUNS);
    else t->run[t->n_runs++].command = checked(strdup(arg));
  } else if ((arg = after(line, "//! exit:"))) {
    last->exit = atoi(arg);
    *exit_set = true;
  } else if ((arg = after(line, "//! fails:"))) last->fails = checked(strdup(arg));
  else if ((arg = after(line, "//! out:"))) {
    last->has_out = true;
    add(&last->out, arg, strlen(arg));
    add(&last->out, "\n", 1);
  } else if (after(line, "//! helper")) t->helper = true;
  else fail(t, "unknown directive: %s", line);
}

/* CODE rest-of-line, at line number at. */
static void read_wanted(Test *t, const char *s, int at) {
  if (*s == '^') { s++; at--; }
  s += strspn(s, " \t");
  size_t n = strcspn(s, " \t");
  if (t->n_wanted == MAX_WANTED || n == 0) { fail(t, "bad //~ comment at line %d", at); return; }
  Wanted *w = &t->wanted[t->n_wanted++];
  w->line = at;
  w->code = checked(strndup(s, n));
  w->text = checked(strdup(s + n + strspn(s + n, " \t")));
}

static void read_test(Test *t) {
  Text file = {0};
  bool exit_set = false;
  if (!slurp(path_of(t, ".rly"), &file)) { fail(t, "cannot be read"); return; }
  int at = 1;
  for (char *line = file.s, *end; line; line = end ? end + 1 : NULL, at++) {
    end = strchr(line, '\n');
    if (end) *end = 0;
    size_t n = strlen(line);
    if (n > 0 && line[n - 1] == '\r') line[n - 1] = 0;
    if (strncmp(line, "//!", 3) == 0) { read_directive(t, line, &exit_set); continue; }
    for (char *c = line; (c = strstr(c, "//~")); c += 3) {
      char *next = strstr(c + 3, "//~");
      size_t len = next ? (size_t)(next - c - 3) : strlen(c + 3);
      while (len > 0 && strchr(" \t", c[2 + len])) len--;
      char *one = checked(strndup(c + 3, len));
      read_wanted(t, one, at);
      free(one);
    }
  }
  for (int i = 0; i < t->n_wanted && !exit_set; i++)
    if (t->wanted[i].code[0] == 'E')
      for (int k = 0; k < t->n_runs; k++) t->run[k].exit = 1;
  if (t->n_runs == 0 && !t->helper) fail(t, "has no `//! run:` line");
  free(file.s);
}

/* ---- running ---- */

static char *expand(const Test *t, const char *command) {
  static const char run[] = "rvm run ";
  Text x = {0};
  for (const char *c = command; *c; c++) {
    if (t->with && strncmp(c, run, sizeof run - 1) == 0) {
      add(&x, run, sizeof run - 1);
      add(&x, t->with, strlen(t->with));
      c += sizeof run - 3;
    } else if (c[0] == '%' && c[1] == 's') { add(&x, t->name, strlen(t->name)); add(&x, ".rly", 4); c++; }
    else if (c[0] == '%' && c[1] == 't') { add(&x, t->tmp, strlen(t->tmp)); add(&x, "/t", 2); c++; }
    else add(&x, c, 1);
  }
  if (t->n_wanted > 0) add(&x, " --diag=json", 12);
  add(&x, "", 0);
  return x.s;
}

static void redirect(const char *path, int to, int flags) {
  int fd = open(path, flags, 0600);
  if (fd < 0 || dup2(fd, to) < 0) _exit(126);
}

/* The command, with an `rvm` that leaves its status and its arguments in `failures`. */
static char *with_notes(const Test *t, const char *command) {
  static const char notes[] = "rvm() { command rvm \"$@\" || { golden_status=$?; "
                              "printf '%%s: rvm %%s\\n' $golden_status \"$*\" >>%s; "
                              "return $golden_status; }; }\n%s";
  char *script;
  return asprintf(&script, notes, in_tmp(t, "failures"), command) < 0 ? NULL : script;
}

static void child(const Test *t, const char *command) {
  const struct rlimit no_core = { 0, 0 }, file = { 1 << 28, 1 << 28 };
  setpgid(0, 0);
  setrlimit(RLIMIT_CORE, &no_core);
  setrlimit(RLIMIT_FSIZE, &file);
  redirect("/dev/null", 0, O_RDONLY);
  redirect(in_tmp(t, "out"), 1, O_WRONLY | O_CREAT | O_TRUNC);
  redirect(in_tmp(t, "err"), 2, O_WRONLY | O_CREAT | O_TRUNC);
  char *script = with_notes(t, command);
  if (!script || chdir(t->dir) != 0) _exit(126);
  execl("/bin/sh", "sh", "-c", script, (char *)NULL);
  _exit(126);
}

/* The wait status of the child, or -1 after TIMEOUT_S; its whole process group
 * is gone then. */
static int wait_for(pid_t pid) {
  const struct timespec nap = { 0, 2000000 };
  int status;
  struct timespec begin, now;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (;;) {
    if (waitpid(pid, &status, WNOHANG) == pid) break;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - begin.tv_sec > TIMEOUT_S) {
      kill(-pid, SIGKILL);
      waitpid(pid, &status, 0);
      return -1;
    }
    nanosleep(&nap, NULL);
  }
  kill(-pid, SIGKILL); /* what it left behind */
  return status;
}

/* Each `rvm` that failed as the status of the run does not tell: its line in `failures`, and their
 * statuses.  One whose reader went away is none.                                              */
static void read_failures(const Test *t, const Run *r, Text *lines, Text *statuses) {
  Text all = {0};
  int status, n;
  add(statuses, "", 0);
  if (!slurp(in_tmp(t, "failures"), &all)) return;
  for (char *rest = all.s, *line; (line = strsep(&rest, "\n"));) {
    if (sscanf(line, "%d%n: rvm", &status, &n) != 1) continue; /* the rest of an argument */
    if (status == r->exit || status == 128 + SIGPIPE) continue;
    if (statuses->n) add(statuses, " ", 1);
    add(statuses, line, (size_t)n);
    add(lines, line, strlen(line));
    add(lines, "\n", 1);
  }
  free(all.s);
}

static void check_status(Test *t, const Run *r, const char *command, int status) {
  int code = status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (status < 0) fail(t, "no end after %d s: %s", TIMEOUT_S, command);
  else if (WIFSIGNALED(status)) fail(t, "killed by signal %d: %s", WTERMSIG(status), command);
  else if (code > 128 && code < 160 && code != r->exit)
    fail(t, "killed by signal %d: %s", code - 128, command); /* as the shell tells it */
  else if (code != r->exit) fail(t, "exit %d instead of %d: %s", code, r->exit, command);
}

static void check_failures(Test *t, const Run *r, const char *command) {
  const char *said = r->fails ? r->fails : "";
  Text lines = {0}, statuses = {0};
  read_failures(t, r, &lines, &statuses);
  if (!t->failed && strcmp(statuses.s, said) != 0)
    fail(t, "unseen failures: `%s`, and not `//! fails: %s`: %s", statuses.s, said, command);
  if (t->failed && lines.n) printf("%s", lines.s);
  free(lines.s);
  free(statuses.s);
}

static void run_one(Test *t, const Run *r, Text *out, Text *err) {
  char *command = expand(t, r->command);
  unlink(in_tmp(t, "failures"));
  fflush(stdout);
  pid_t pid = fork();
  if (pid < 0) { perror("fork"); exit(2); }
  if (pid == 0) child(t, command);
  setpgid(pid, pid);
  int status = wait_for(pid);
  if (!slurp(in_tmp(t, "out"), out) || !slurp(in_tmp(t, "err"), err))
    fail(t, "what it printed cannot be read: %s", command);
  check_status(t, r, command, status);
  check_failures(t, r, command);
  if (t->failed && err->n) printf("%.2000s\n", err->s);
  free(command);
}

/* ---- diagnostics ---- */

/* The value of "key": in a line of JSON, a string or a number, unescaped. */
static bool json_get(const char *line, const char *key, char *out, size_t size) {
  char head[32];
  size_t n = 0;
  snprintf(head, sizeof head, "\"%s\":", key);
  const char *c = strstr(line, head);
  if (!c) return false;
  c += strlen(head);
  bool quoted = *c == '"';
  for (c += quoted; *c && n + 1 < size; c++) {
    if (quoted ? *c == '"' : !strchr("0123456789", *c)) break;
    if (*c == '\\' && c[1] == 'u' && strlen(c) >= 6) {
      char hex[5] = { c[2], c[3], c[4], c[5], 0 };
      out[n++] = (char)strtol(hex, NULL, 16);
      c += 5;
    } else if (*c == '\\' && c[1]) out[n++] = *++c;
    else out[n++] = *c;
  }
  out[n] = 0;
  return true;
}

static void match_diagnostic(Test *t, const char *json) {
  char code[16], line[16], text[8192], level[16];
  if (!json_get(json, "code", code, sizeof code) || !json_get(json, "line", line, sizeof line) ||
      !json_get(json, "message", text, sizeof text) ||
      !json_get(json, "level", level, sizeof level))
    return;
  for (int i = 0; i < t->n_wanted; i++) {
    Wanted *w = &t->wanted[i];
    if (w->seen || w->line != atoi(line) || strcmp(w->code, code) != 0 || !strstr(text, w->text))
      continue;
    w->seen = true;
    return;
  }
  if (strcmp(level, "error") == 0) fail(t, "line %s: unexpected %s: %s", line, code, text);
}

static void check_diagnostics(Test *t, Text err) {
  for (int i = 0; i < t->n_wanted; i++) t->wanted[i].seen = false;
  char *copy = checked(strdup(err.s ? err.s : "")), *rest = copy;
  for (char *line; (line = strsep(&rest, "\n"));)
    if (*line == '{') match_diagnostic(t, line);
  free(copy);
  for (int i = 0; i < t->n_wanted; i++) {
    const Wanted *w = &t->wanted[i];
    if (!w->seen) fail(t, "line %d: expected %s %s", w->line, w->code, w->text);
  }
}

/* ---- comparing, or blessing ---- */

/* The file with the out: lines that its run prints now. */
static void bless_inline(Test *t, Text got) {
  Text file = {0}, made = {0};
  slurp(path_of(t, ".rly"), &file);
  bool done = false;
  for (char *line = file.s, *next; *line; line = next) {
    next = line + strcspn(line, "\n");
    next += *next == '\n';
    if (!after(line, "//! out:")) { add(&made, line, (size_t)(next - line)); continue; }
    for (size_t i = 0; i < got.n && !done;) {
      size_t n = strcspn(got.s + i, "\n");
      add(&made, "//! out: ", n ? 9 : 8);
      add(&made, got.s + i, n);
      add(&made, "\n", 1);
      i += n + 1;
    }
    done = true;
  }
  spill(path_of(t, ".rly"), made);
  free(file.s);
  free(made.s);
}

static void show_errors(Text err) {
  if (err.n) printf("  --- stderr\n%.2000s\n", err.s);
}

static void check_out(Test *t, const Run *r, Text got, Text err) {
  if (!r->has_out || same(r->out, got)) return;
  if (t->bless && t->n_runs == 1) { bless_inline(t, got); return; }
  fail(t, "stdout is not as the out: lines say: %s", r->command);
  show_difference("stdout", r->out, got);
  show_errors(err);
}

/* The neighbour file, when there is one, holds exactly got; err explains. */
static void check_neighbour(Test *t, const char *suffix, Text got, bool make, Text err) {
  Text want = {0};
  bool there = slurp(path_of(t, suffix), &want);
  if (t->bless && (there || (make && got.n > 0))) spill(path_of(t, suffix), got);
  else if (there && !same(want, got)) {
    fail(t, "%s is not as in %s%s", suffix, t->name, suffix);
    show_difference(suffix, want, got);
    show_errors(err);
  }
  free(want.s);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
  (void)st, (void)kind, (void)ftw;
  return remove(path);
}

static void run_test(Test *t) {
  Text outs = {0}, errs = {0};
  bool inline_out = false;
  snprintf(t->tmp, sizeof t->tmp, "/tmp/golden-XXXXXX");
  if (!mkdtemp(t->tmp) || mkdir(in_tmp(t, "t"), 0700) != 0) { perror(t->tmp); exit(2); }
  for (int i = 0; i < t->n_runs && !t->failed; i++) {
    Text out = {0}, err = {0};
    run_one(t, &t->run[i], &out, &err);
    if (!t->failed) check_out(t, &t->run[i], out, err);
    if (t->n_wanted > 0) check_diagnostics(t, err);
    inline_out |= t->run[i].has_out;
    if (out.n) add(&outs, out.s, out.n);
    if (err.n) add(&errs, err.s, err.n);
    free(out.s);
    free(err.s);
  }
  if (!t->failed) check_neighbour(t, ".out", outs, !inline_out, errs);
  if (!t->failed) check_neighbour(t, ".err", errs, false, (Text){0});
  nftw(t->tmp, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  free(outs.s);
  free(errs.s);
}

static void free_test(Test *t) {
  for (int i = 0; i < t->n_runs; i++) free(t->run[i].command), free(t->run[i].fails);
  for (int i = 0; i < MAX_RUNS; i++) free(t->run[i].out.s);
  for (int i = 0; i < t->n_wanted; i++) free(t->wanted[i].code), free(t->wanted[i].text);
}

/* ---- the folders ---- */

typedef struct {
  char **names;  int n_names;
  const char *with;
  bool bless;
  int passed, failed;
} Job;

static bool chosen(const Job *j, const char *name) {
  for (int i = 0; i < j->n_names; i++)
    if (strcmp(j->names[i], name) == 0) return true;
  return j->n_names == 0;
}

static void run_dir(Job *j, const char *dir, int depth) {
  struct dirent **e;
  int n = scandir(dir, &e, NULL, alphasort);
  if (n < 0) { perror(dir); exit(2); }
  for (int i = 0; i < n; i++) {
    size_t len = strlen(e[i]->d_name);
    char sub[PATH_MAX];
    struct stat st;
    snprintf(sub, sizeof sub, "%s/%s", dir, e[i]->d_name);
    if (e[i]->d_name[0] == '.') { /* not ours */
    } else if (len > 4 && strcmp(e[i]->d_name + len - 4, ".rly") == 0) {
      Test t = { .dir = dir, .with = j->with, .bless = j->bless };
      snprintf(t.name, sizeof t.name, "%.*s", (int)(len - 4), e[i]->d_name);
      if (chosen(j, t.name)) {
        read_test(&t);
        if (!t.failed && t.n_runs > 0) run_test(&t);
        if (t.failed) j->failed++;
        else j->passed += t.n_runs > 0;
      }
      free_test(&t);
    } else if (depth == 0 && stat(sub, &st) == 0 && S_ISDIR(st.st_mode)) run_dir(j, sub, 1);
    free(e[i]);
  }
  free(e);
}

/* Makes `rvm` in the commands mean the program given. */
static void put_in_path(const char *rvm) {
  char real[PATH_MAX], *dir = checked(realpath(rvm, real) ? real : NULL),
                       *slash = strrchr(dir, '/');
  *slash = 0;
  char *path;
  const char *old = getenv("PATH");
  if (asprintf(&path, "%s:%s", dir, old ? old : "/usr/bin:/bin") < 0) exit(2);
  setenv("PATH", path, 1);
  free(path);
}

int main(int argc, char **argv) {
  Job j = {0};
  char *word[3] = {0};
  int n = 0;
  j.names = checked(calloc((size_t)argc + 1, sizeof *j.names));
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--bless") == 0) j.bless = true;
    else if (strcmp(argv[i], "--with") == 0 && i + 1 < argc) j.with = argv[++i];
    else if (n < 2) word[n++] = argv[i];
    else j.names[j.n_names++] = argv[i];
  }
  if (n < 2 || access(word[0], X_OK) != 0) {
    fprintf(stderr, "usage: golden RVM DIR [--bless] [--with \"OPTIONS\"] [NAME ...]\n");
    return 2;
  }
  put_in_path(word[0]);
  run_dir(&j, word[1], 0);
  printf("%d passed, %d failed\n", j.passed, j.failed);
  free(j.names);
  return j.failed > 0;
}
