/* cmd_bench.c -- bench: how long a call takes, alone or beside others.
 *
 * Every contender is a process of its own, prepared once; they take turns, round
 * by round, so that what disturbs the machine disturbs all of them.           */
#include <signal.h>
#include <unistd.h>
#include "base/file.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/measure/contender.h"

typedef struct {
  const char *entry, *inputs, *engine, *opt, *passes, *threads, *specialise, *json;
  TextList input, params, vs;
  NumberOpt seconds;
  uint64_t rounds;
  bool us, fast_math;
} BenchCmd;
#define O(name, arg, help, kind, field)                                                            \
  { name, arg, help, kind, offsetof(BenchCmd, field) }
static const Opt bench_opts[] = {
    O("entry", "NAME", "these are as for `rvm run`", OPT_TEXT, entry),
    O("input", "NAME=SPEC", "", OPT_LIST, input),
    O("inputs", "FILE", "", OPT_TEXT, inputs),
    O("params", "FILE", "", OPT_LIST, params),
    O("engine", "NAME", "", OPT_TEXT, engine),
    O("opt", "N", "", OPT_TEXT, opt),
    O("passes", "A,B", "", OPT_TEXT, passes),
    O("fast-math", NULL, "", OPT_FLAG, fast_math),
    O("threads", "N", "", OPT_TEXT, threads),
    O("specialise", "HOW", "", OPT_TEXT, specialise),
    O("vs", "WHAT", "also this, taking turns: 'engine=vm opt=0', 'rvm=PATH', or a command",
      OPT_LIST, vs),
    O("seconds", "S", "how long to measure each (default 2)", OPT_NUMBER, seconds),
    O("rounds", "N", "in so many turns (default 10; alone 1)", OPT_COUNT_OF, rounds),
    O("json", "FILE", "write the figures there", OPT_TEXT, json),
    O("us", NULL, "end with a line of best and median in microseconds", OPT_FLAG, us),
};
enum { N_FORWARDED = 10 }; /* the first ones: they go on to `rvm run` */
#undef O

typedef struct {
  const BenchCmd *o;
  const char *file;
  VEC(Contender) all;
} Bench;

/* ---- contenders ------------------------------------------------------------------- */
typedef VEC(char *) Argv;

static void add_setting(Argv *v, const char *name, const char *value) {
  if (value) vec_push(v, str_fmt("--%s=%s", name, value));
}

static void forward(const BenchCmd *o, Argv *v) {
  for (int i = 0; i < N_FORWARDED; i++) {
    const char *at = (const char *)o + bench_opts[i].at;
    if (bench_opts[i].kind == OPT_TEXT) {
      add_setting(v, bench_opts[i].name, *(const char *const *)at);
      continue;
    }
    if (bench_opts[i].kind == OPT_FLAG) {
      if (*(const bool *)at) vec_push(v, str_fmt("--%s", bench_opts[i].name));
      continue;
    }
    const TextList *list = (const TextList *)at;
    for (int k = 0; k < list->n; k++) add_setting(v, bench_opts[i].name, list->at[k]);
  }
}

static char *own_path(void) {
  char path[4096];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  return n > 0 ? str_fmt("%.*s", (int)n, path) : str_fmt("rvm");
}

static bool is_setting(const char *word, size_t n) {
  static const char *const more[] = {"rvm", "model"};
  const char *eq = memchr(word, '=', n);
  size_t key = eq ? (size_t)(eq - word) : n;
  for (int i = 0; i < N_FORWARDED + 2; i++) {
    const char *name = i < N_FORWARDED ? bench_opts[i].name : more[i - N_FORWARDED];
    bool flag = i < N_FORWARDED && bench_opts[i].kind == OPT_FLAG;
    if (flag == !eq && strlen(name) == key && !strncmp(name, word, key)) return true;
  }
  return false;
}

/* A run of rvm with settings, separated by spaces, that go before the others;
 * NULL: `what` is a command. */
static char *const *settings(const Bench *b, const char *what) {
  Argv v = {0}, extra = {0};
  char *rvm = own_path(), *model = str_fmt("%s", b->file);
  for (const char *s = what + strspn(what, " "); *s; s += strspn(s, " ")) {
    size_t n = strcspn(s, " ");
    if (!is_setting(s, n)) return NULL;
    if (!strncmp(s, "rvm=", 4))
      rvm = str_fmt("%.*s", (int)n - 4, s + 4);
    else if (!strncmp(s, "model=", 6))
      model = str_fmt("%.*s", (int)n - 6, s + 6);
    else
      vec_push(&extra, str_fmt("--%.*s", (int)n, s));
    s += n;
  }
  vec_push(&v, rvm);
  vec_push(&v, str_fmt("run"));
  vec_push(&v, model);
  vec_push(&v, str_fmt("--samples"));
  forward(b->o, &v);
  for (int i = 0; i < extra.n; i++) vec_push(&v, extra.at[i]);
  vec_push(&v, NULL);
  return v.at;
}

/* Words like NAME=VALUE only: no command, but settings of which one is wrong. */
static bool only_settings(const char *what) {
  for (const char *s = what + strspn(what, " "); *s; s += strspn(s, " ")) {
    size_t n = strcspn(s, " "), name = strspn(s, "abcdefghijklmnopqrstuvwxyz-");
    if (name == 0 || s[name] != '=') return false;
    s += n;
  }
  return true;
}

/* false: what is wrong has been said. */
static bool add_contender(Bench *b, const char *label, const char *what) {
  Contender c = {.label = label, .engine = "", .argv = settings(b, what)};
  if (!c.argv && only_settings(what)) {
    StrBuf names = {0};
    for (int i = 0; i < N_FORWARDED; i++)
      buf_fmt(&names, "%s%s, ", bench_opts[i].name, bench_opts[i].kind == OPT_FLAG ? "" : "=");
    fprintf(stderr, "rvm bench: --vs `%s`: the settings are %srvm= and model=\n", what,
            buf_text(&names));
    return false;
  }
  if (!c.argv) c.command = what;
  vec_push(&b->all, c);
  return true;
}

/* ---- measuring --------------------------------------------------------------------- */
static int refuse(const char *why, int code) {
  fprintf(stderr, "rvm bench: %s\n", why);
  return code;
}

static void progress(uint64_t round, uint64_t rounds) {
  if (isatty(2))
    fprintf(stderr, round < rounds ? "\rround %llu of %llu " : "\r\033[K",
            (unsigned long long)round + 1, (unsigned long long)rounds);
}

static int measure(Bench *b) {
  bool alone = b->all.n == 1;
  uint64_t rounds = b->o->rounds ? b->o->rounds : alone ? 1 : 10;
  double seconds = (b->o->seconds.given ? b->o->seconds.value : 2.0) / (double)rounds;
  int code = EXIT_OK;
  const char *why = NULL;
  for (int i = 0; i < b->all.n && !why; i++) why = contender_start(&b->all.at[i], &code);
  for (uint64_t r = 0; r < rounds && !why; r++) {
    progress(r, rounds);
    for (int i = 0; i < b->all.n && !why; i++) why = contender_round(&b->all.at[i], seconds, &code);
  }
  progress(rounds, rounds);
  for (int i = 0; i < b->all.n; i++) contender_end(&b->all.at[i]);
  return why ? refuse(why, code) : EXIT_OK;
}

/* ---- figures ------------------------------------------------------------------------ */
static const char *with_unit(double us) {
  return us < 1e3   ? str_fmt("%.3f us", us)
         : us < 1e6 ? str_fmt("%.3f ms", us * 1e-3)
                    : str_fmt("%.3f s", us * 1e-6);
}

static void print_table(const Bench *b, const Summary *s) {
  printf("%13s %13s %13s %13s %8s\n", "best", "median", "p90", "p99", "samples");
  for (int i = 0; i < b->all.n; i++) {
    const Contender *c = &b->all.at[i];
    printf("%13s %13s %13s %13s %8d  %s%s%s%s\n", with_unit(s[i].best), with_unit(s[i].median),
           with_unit(s[i].p90), with_unit(s[i].p99), s[i].n, c->label, *c->engine ? " (" : "",
           c->engine, *c->engine ? ")" : "");
  }
  for (int i = 1; i < b->all.n; i++)
    printf("%12.3fx %12.3fx %42s  of %s\n", s[0].best / s[i].best, s[0].median / s[i].median, "",
           b->all.at[i].label);
}

static int write_json(const Bench *b, const Summary *s) {
  StrBuf t = {0};
  for (int i = 0; i < b->all.n; i++) {
    buf_fmt(&t, i ? ",\n  {\"label\": " : "[\n  {\"label\": ");
    buf_json(&t, b->all.at[i].label);
    buf_fmt(&t, ", \"engine\": ");
    buf_json(&t, b->all.at[i].engine);
    buf_fmt(&t,
            ", \"best_us\": %.6g, \"median_us\": %.6g, \"p90_us\": %.6g, \"p99_us\": %.6g, "
            "\"samples\": %d, \"ratio\": %.6g, \"ratio_median\": %.6g}",
            s[i].best, s[i].median, s[i].p90, s[i].p99, s[i].n, s[0].best / s[i].best,
            s[0].median / s[i].median);
  }
  buf_fmt(&t, "\n]\n");
  const char *why = file_write(b->o->json, buf_text(&t), t.n);
  return why ? fail_io(str_fmt("%s: %s", b->o->json, why)) : EXIT_OK;
}

static int run_bench(void *opts, int n, char **args) {
  (void)n;
  Bench b = {.o = opts, .file = args[0]};
  if (b.o->seconds.given && !(b.o->seconds.value > 0 && b.o->seconds.value < 1e6))
    return fail_usage(&cmd_bench, "--seconds takes a time above 0");
  int code = EXIT_OK;
  if (!can_write(b.o->json, &code)) return code;
  signal(SIGPIPE, SIG_IGN); /* a contender that died is reported */
  bool known = add_contender(&b, args[0], "");
  for (int i = 0; known && i < b.o->vs.n; i++)
    known = add_contender(&b, b.o->vs.at[i], b.o->vs.at[i]);
  if (!known) return EXIT_USAGE;
  code = measure(&b);
  if (code != EXIT_OK) return code;
  Summary *s = NEW_N(Summary, b.all.n);
  for (int i = 0; i < b.all.n; i++) {
    s[i] = summarise(&b.all.at[i].samples);
    if (b.all.at[i].best > 0) s[i].best = b.all.at[i].best;
  }
  print_table(&b, s);
  if (b.o->json) code = write_json(&b, s);
  if (b.o->us) printf("%.6g %.6g\n", s[0].best, s[0].median);
  return code;
}
const Command cmd_bench = {
    .name = "bench",
    .args = "FILE.rly|FILE.rvm [OPTIONS]",
    .summary = "Time a program, alone or beside other engines, levels, builds and commands",
    .examples =
        "  rvm bench model.rly --params w.safetensors --input x=f32[1,80]=rand:7\n"
        "  rvm bench model.rly --input x=rand:7 --vs engine=interp --vs 'opt=0 engine=vm'\n"
        "  rvm bench model.rly --input x=rand:7 --vs rvm=/usr/bin/rvm --vs 'python3 other.py'\n",
    .opts = bench_opts,
    .n_opts = (int)(sizeof bench_opts / sizeof *bench_opts),
    .opts_size = sizeof(BenchCmd),
    .min_args = 1,
    .max_args = 1,
    .run = run_bench,
};
