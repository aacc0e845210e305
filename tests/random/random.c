/* random.c -- random programs: every engine and every optimisation agree.
 *
 *   random_engines [--programs N] [--seed S] [--batch B] [--show] WAY...
 *
 * WAY is ENGINE:LEVEL or ENGINE:pass,pass,...; ENGINE:? draws an order of all
 * passes from the seed, ENGINE:- a pass that level 2 is without.  ENGINE of
 * machine code may be followed by "-quick", for code that LLVM hardly optimises:
 * the same lowering, ten times as many programs in the same time, by
 * "-fixed": also with kernels made for their extents, bit for bit, or by "-threads"
 * for three of them.  Any may be followed by "-printed": what the passes leave is
 * printed and read back, or by "-bound": some of the inputs are constants; then
 * each program is a file of its own.  Each is compared with interp:0.  A program that differs is
 * reduced and printed with its seed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "opt/pass.h"
#include "tests/random/engines.h"

enum { MAX_WAYS = 16, TRIES = 600 };
typedef struct {
  uint64_t seed;
  int programs, batch, n_ways, failures;
  bool show;
  Way way[MAX_WAYS];
} Run;
static const Way reference = {.name = "interp:0", .engine = "interp"};

static const char *file_of(const GProgram *const *p, int n) {
  StrBuf b = {0};
  buf_str(&b, gen_preamble);
  for (int i = 0; i < n; i++) buf_str(&b, p[i]->text);
  return buf_text(&b);
}

/* ---- one program alone ------------------------------------------------------------------ */
typedef struct {
  const Way *way;
} Failure;

/* NULL: it agrees. */
static const char *disagrees(const Way *w, const GProgram *p) {
  Outcome want, got;
  const char *text = file_of(&p, 1);
  if (!run_way(&reference, text, &p, 1, &want)) return "refused";
  if (w == &reference) return NULL;
  if (!run_way(w, text, &p, 1, &got)) return "refused when compiled this way";
  return outcomes_differ(&want, &got);
}
static bool still_fails(void *ud, const Choices *c) {
  Tape t = tape_play(c);
  GProgram p = gen_program(&t, 0);
  fflush(stderr);
  return disagrees(((Failure *)ud)->way, &p) != NULL;
}

static void report(Run *r, const Way *w, uint64_t seed, const char *why) {
  Tape t = tape_seed(seed);
  (void)gen_program(&t, 0);
  Choices small = tape_reduce(&t.taken, TRIES, still_fails, &(Failure){w});
  Tape again = tape_play(&small);
  GProgram p = gen_program(&again, 0);
  const char *now = disagrees(w, &p);
  r->failures++;
  printf("seed %llu, %s: %s\n%s%s", (unsigned long long)seed, w->name, now ? now : why,
         gen_preamble, p.text);
  for (int i = 0; i < p.in.n; i++) {
    StrBuf b = {0};
    const Tensor *x = p.in.at[i].value;
    for (int k = 0; k < x->rank; k++) buf_fmt(&b, "%s%lld", k ? "," : "", (long long)x->dim[k]);
    printf("// %s: [%s]\n", p.in.at[i].name, buf_text(&b));
  }
  fflush(stdout);
}

/* ---- many --------------------------------------------------------------------------------- */
/* A file that is refused as a whole is taken apart. */
static void one_by_one(Run *r, const Way *w, uint64_t first, int n) {
  for (int i = 0; i < n; i++) {
    Tape t = tape_seed(first + (uint64_t)i);
    GProgram p = gen_program(&t, 0);
    const char *why = disagrees(w, &p);
    if (why) report(r, w, first + (uint64_t)i, why);
  }
}

/* Twice as many passes as there are, in any order. */
static void any_order(Tape *t, StrBuf *b) {
  for (int i = 0; i < 2 * n_all_passes; i++)
    buf_fmt(b, "%s%s", i ? "," : "", all_passes[tape_pick(t, (uint32_t)n_all_passes)]->name);
}
/* Level 2 without one of its passes. */
static void all_but_one(Tape *t, StrBuf *b) {
  int n;
  const Pass *const *p = pipeline(2, &n), *out = p[tape_pick(t, (uint32_t)n)];
  for (int i = 0; i < n; i++)
    if (p[i] != out) buf_fmt(b, "%s%s", buf_text(b)[0] ? "," : "", p[i]->name);
}

static Way drawn(const Way *w, uint64_t seed) {
  Tape t = tape_seed(seed);
  StrBuf b = {0};
  Way out = *w;
  out.which = tape_pick(&t, UINT32_MAX);
  if (!w->passes || (strcmp(w->passes, "?") != 0 && strcmp(w->passes, "-") != 0)) return out;
  (*w->passes == '?' ? any_order : all_but_one)(&t, &b);
  out.passes = buf_text(&b);
  out.name = str_fmt("%.*s:%s", (int)strcspn(w->name, ":"), w->name, out.passes);
  return out;
}

static void batch(Run *r, uint64_t first, int n) {
  const GProgram **p = NEW_N(const GProgram *, n);
  Outcome *want = NEW_N(Outcome, n), *got = NEW_N(Outcome, n);
  for (int i = 0; i < n; i++) {
    GProgram *q = NEW(GProgram);
    Tape t = tape_seed(first + (uint64_t)i);
    *q = gen_program(&t, i);
    p[i] = q;
  }
  const char *text = file_of(p, n);
  if (r->show) fputs(text, stdout);
  if (!run_way(&reference, text, p, n, want)) {
    one_by_one(r, &reference, first, n);
    return;
  }
  for (int k = 0; k < r->n_ways; k++) {
    Way w = drawn(&r->way[k], first);
    if (w.bound) {
      one_by_one(r, &w, first, n);
      continue;
    }
    if (!run_way(&w, text, p, n, got)) {
      one_by_one(r, &w, first, n);
      continue;
    }
    for (int i = 0; i < n; i++) {
      const char *why = outcomes_differ(&want[i], &got[i]);
      if (why) report(r, &w, first + (uint64_t)i, why);
    }
  }
}

/* "-quick-printed" and the like. */
static bool read_how(const char *s, const char *end, Way *out) {
  const struct {
    const char *word;
    bool *flag;
  } flags[] = {{"-quick", &out->quick},
               {"-fixed", &out->fixed},
               {"-printed", &out->printed},
               {"-bound", &out->bound}};
  while (s < end) {
    size_t n = 1 + strcspn(s + 1, "-:");
    bool found = n == 8 && !strncmp(s, "-threads", n);
    if (found) out->threads = 3;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
      if (strlen(flags[i].word) == n && !strncmp(s, flags[i].word, n))
        found = *flags[i].flag = true;
    if (!found) return false;
    s += n;
  }
  return true;
}
static bool read_way(const char *text, Way *out) {
  const char *colon = strchr(text, ':'), *end = strpbrk(text, "-:");
  if (!colon) return false;
  *out = (Way){.name = text, .engine = str_fmt("%.*s", (int)(end - text), text)};
  if (!read_how(end, colon, out)) return false;
  if (colon[1] >= '0' && colon[1] <= '9' && colon[2] == 0)
    out->level = colon[1] - '0';
  else
    out->passes = colon + 1;
  return true;
}

int main(int argc, char **argv) {
  Run r = {.programs = 200, .batch = 25, .seed = 1};
  mem_init();
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--programs") && i + 1 < argc)
      r.programs = atoi(argv[++i]);
    else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
      r.seed = strtoull(argv[++i], NULL, 10);
    else if (!strcmp(argv[i], "--batch") && i + 1 < argc)
      r.batch = atoi(argv[++i]);
    else if (!strcmp(argv[i], "--show"))
      r.show = true;
    else if (r.n_ways == MAX_WAYS || !read_way(argv[i], &r.way[r.n_ways++]))
      return fprintf(stderr, "random_engines: what is %s?\n", argv[i]), 2;
  }
  if (r.batch < 1 || r.programs < 1) return fprintf(stderr, "random_engines: no programs\n"), 2;
  for (int done = 0; done < r.programs && r.failures < 10; done += r.batch) {
    int n = r.programs - done < r.batch ? r.programs - done : r.batch;
    batch(&r, r.seed + (uint64_t)done, n);
  }
  printf("%d random programs, %d ways, %d failures\n", r.programs, r.n_ways, r.failures);
  return r.failures > 0;
}
