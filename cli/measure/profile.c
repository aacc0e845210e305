/* profile.c -- timing kernels from outside: each is replaced by a function that
 * reads the clock, calls it, and reads the clock.
 *
 * The share of the roofline is the time the work would take at the speed that
 * was measured for this core when the run began, arithmetic or reading, whichever
 * is longer, over the time it took.  What reading the clock costs is measured
 * too and taken off.                                                          */
#include "cli/measure/profile.h"
#include <stdlib.h>
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/utf8.h"
#include "base/vec.h"
#include "cli/measure/clock.h"
#include "cli/measure/peak.h"
#include "cli/measure/work.h"
#include "vm/program.h"
#include "vm/sites.h"

typedef struct {
  Profile *of;
  KernelFn fn;
  void *ctx;
  const Kernel *k;
  uint64_t calls;
  double seconds, best, flops, bytes, ideal;
  int64_t sym[K_MAX_SYMS]; /* of the work below                     */
  bool known;
  Work work;
  LaunchSites sites;
} Timed;

typedef struct {
  uint32_t kernel;
  double start, seconds;
} Event;
enum { MOST_EVENTS = 1000000 };

struct Profile {
  const rvm_program *p;
  Timed *at;
  uint32_t n;
  Peak peak;
  double clock; /* what a pair of readings costs         */
  double began, total;
  uint64_t runs;
  bool running, trace;
  VEC(Event) event;
  bool *marks; /* of the nodes of a kernel              */
};

/* ---- the hook --------------------------------------------------------------------- */
/* It runs on the stack of a compiled program, where a collector must not look: nothing is
 * allocated here. */
static void know_work(Timed *t, const int64_t *sym) {
  size_t bytes = t->k->n_syms * sizeof *sym;
  if (t->known && !memcmp(t->sym, sym, bytes)) return;
  if (bytes) memcpy(t->sym, sym, bytes);
  t->known = true;
  t->work = kernel_work(t->k, sym, t->of->marks);
}

static KStatus timed_launch(void *ctx, void *const *buf, const int64_t *sym, KAlloc scratch,
                            KError *err) {
  Timed *t = ctx;
  Profile *f = t->of;
  double start = clock_seconds();
  KStatus s = t->fn(t->ctx, buf, sym, scratch, err);
  double took = clock_seconds() - start - f->clock;
  if (!f->running) return s;
  if (took < 0) took = 0;
  know_work(t, sym);
  double compute = t->work.flops / f->peak.flops;
  double read = t->work.bytes / peak_bandwidth(&f->peak, t->work.bytes);
  if (!t->calls++ || took < t->best) t->best = took;
  t->seconds += took;
  t->flops += t->work.flops;
  t->bytes += t->work.bytes;
  t->ideal += compute > read ? compute : read;
  if (f->trace && f->event.n < MOST_EVENTS)
    vec_push(&f->event, ((Event){(uint32_t)(t - f->at), start - f->began, took}));
  return s;
}

static double clock_cost(void) {
  double best = 1;
  for (int i = 0; i < 1000; i++) {
    double t = clock_seconds();
    t = clock_seconds() - t;
    if (t < best) best = t;
  }
  return best;
}

/* ---- a profile ------------------------------------------------------------------------ */
Profile *profile_new(rvm_program *p, bool trace) {
  Profile *f = NEW(Profile);
  f->p = p;
  f->n = p->im.n_kernels;
  f->at = NEW_N(Timed, f->n + 1);
  LaunchSites *sites = NEW_N(LaunchSites, f->n + 1);
  image_launch_sites(&p->im, sites);
  f->trace = trace;
  if (trace) vec_reserve(&f->event, MOST_EVENTS);
  f->peak = peak_measure();
  f->clock = clock_cost();
  uint32_t most_nodes = 0;
  for (uint32_t i = 0; i < f->n; i++) {
    if (p->im.kernel[i]->n_nodes > most_nodes) most_nodes = p->im.kernel[i]->n_nodes;
    f->at[i].of = f;
    f->at[i].fn = p->kernel[i].fn;
    f->at[i].ctx = p->kernel[i].ctx;
    f->at[i].k = p->im.kernel[i];
    f->at[i].sites = sites[i];
    program_set_kernel(p, i, timed_launch, &f->at[i]);
  }
  f->marks = NEW_BYTES(most_nodes + 1);
  return f;
}

void profile_begin(Profile *f) {
  vec_clear(&f->event);
  f->running = true;
  f->began = clock_seconds();
}
void profile_end(Profile *f) {
  f->total += clock_seconds() - f->began;
  f->running = false;
  f->runs++;
}

/* ---- the table --------------------------------------------------------------------------- */
static int by_seconds(const void *a, const void *b) {
  double x = (*(Timed *const *)a)->seconds, y = (*(Timed *const *)b)->seconds;
  return (x < y) - (x > y);
}

static const char *kernel_name(const Timed *t) { return t->k->text + t->k->name; }

/* "file.rly:3", without folders; "": not known. */
static const char *place(const Profile *f, const Timed *t) {
  const ILine *l = t->sites.first;
  if (!l) return "";
  const char *path = f->p->im.text + l->file, *slash = strrchr(path, '/');
  return str_fmt("%s:%u", slash ? slash + 1 : path, l->line);
}

static void table_row(const Profile *f, const Timed *t, const char *name, FILE *to) {
  double runs = (double)f->runs, s = t->seconds > 0 ? t->seconds : 1e-12;
  fprintf(to, "%5.1f %10.2f %9.1f %9.2f ", 100 * t->seconds / f->total, 1e6 * t->seconds / runs,
          (double)t->calls / runs, 1e6 * s / (double)t->calls);
  fprintf(to, "%9s ", t->k ? str_fmt("%.2f", 1e6 * t->best) : "");
  fprintf(to, "%8.1f %8.1f %5.0f  %-32.32s", t->flops / s * 1e-9, t->bytes / s * 1e-9,
          100 * t->ideal / s, name);
  if (t->sites.first) fprintf(to, "  %s", place(f, t));
  if (t->sites.n > 1) fprintf(to, " and %u more", t->sites.n - 1);
  fputc('\n', to);
}

static void add_timed(Timed *all, const Timed *t) {
  all->calls += t->calls;
  all->seconds += t->seconds;
  all->flops += t->flops;
  all->bytes += t->bytes;
  all->ideal += t->ideal;
}

static void table_head(const Profile *f, FILE *to) {
  const Peak *p = &f->peak;
  fprintf(to, "%.3f ms per run, %llu run%s; this core: %.0f GFLOP/s, reads",
          1e3 * f->total / (double)f->runs, (unsigned long long)f->runs, f->runs == 1 ? "" : "s",
          p->flops * 1e-9);
  for (int i = 0; i < PEAK_LEVELS; i++)
    fprintf(to, "%s %.0f GB/s of %.1f MB", i ? "," : "", p->bytes[i] * 1e-9,
            (double)p->block[i] * 0x1p-20);
  fprintf(to, " (measured)\n    %%     us/run calls/run   us/call      best  GFLOP/s     GB/s  "
              "roof%%  kernel\n");
}

void profile_table(const Profile *f, FILE *to) {
  Timed **order = NEW_N(Timed *, f->n + 1), all = {0}, rest = {0};
  uint32_t n = 0, n_rest = 0;
  for (uint32_t i = 0; i < f->n; i++)
    if (f->at[i].calls) order[n++] = &f->at[i];
  qsort(order, n, sizeof *order, by_seconds);
  table_head(f, to);
  for (uint32_t i = 0; i < n; i++) {
    add_timed(&all, order[i]);
    if (order[i]->seconds >= 0.001 * f->total)
      table_row(f, order[i], kernel_name(order[i]), to);
    else
      add_timed(&rest, order[i]), n_rest++;
  }
  if (n_rest) table_row(f, &rest, str_fmt("(%u other kernels)", n_rest), to);
  if (n) table_row(f, &all, "all kernels", to);
  double other = f->total - all.seconds - f->clock * (double)all.calls;
  if (other < 0) other = 0;
  fprintf(to, "%5.1f %10.2f %71scontrol flow, memory, sorting and the like\n",
          100 * other / f->total, 1e6 * other / (double)f->runs, "");
}

/* ---- the trace ----------------------------------------------------------------------------- */
const char *profile_trace(const Profile *f, const char *path) {
  StrBuf b = {0};
  buf_fmt(&b, "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n");
  for (int i = 0; i < f->event.n; i++) {
    const Event *e = &f->event.at[i];
    const Timed *t = &f->at[e->kernel];
    buf_fmt(&b, "%s{\"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"ts\": %.3f, \"dur\": %.3f, \"name\": ",
            i ? ",\n" : "", 1e6 * e->start, 1e6 * e->seconds);
    buf_json(&b, kernel_name(t));
    buf_fmt(&b, ", \"args\": {\"kernel\": %u, \"source\": ", e->kernel);
    buf_json(&b, place(f, t));
    buf_fmt(&b, "}}");
  }
  buf_fmt(&b, "\n]}\n");
  const char *why = file_write(path, buf_text(&b), b.n);
  return why ? str_fmt("%s: %s", path, why) : NULL;
}
