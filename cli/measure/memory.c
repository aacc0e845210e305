/* memory.c -- tensors of a run from birth to death, and a plan for them.
 *
 * What the heap tells arrives on the stack of a compiled program, where a
 * collector must not look: nothing is allocated there.
 *
 * The plan puts tensors at offsets of one block, the largest first, each at the
 * lowest place that is free while it lives (greedy by size: Pisarchyk and Lee,
 * "Efficient Memory Management for Deep Neural Net Inference", 2020, 4.2).  Time
 * is counted in births and deaths.                                           */
#include <errno.h>
#include <stdlib.h>
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "cli/measure/memory.h"
#include "vm/instance.h"

enum { MOST_SPANS = 4000, SHOWN = 8 };

typedef struct {
  const void *t; /* while it lives: a tensor, or scratch of a kernel */
  size_t bytes, at;
  uint64_t born, died;
  char what[72];
} Span;

struct MemoryWatch {
  rvm_instance *vm;
  VEC(Span) span;
  uint64_t now, made, runs, base;
  uint64_t all_bytes, live, most_live, most_at, scratch, most_scratch;
  uint64_t requests, first, last; /* of the allocator: so far, in the first run, in the last */
  size_t plan;
  bool planned, lost; /* lost: there were more spans than are kept */
};

static size_t bytes_of(const Tensor *t) {
  return ((size_t)t->count * (size_t)dtype_bytes((DType)t->h.desc) + 63) & ~(size_t)63;
}

static void describe(Span *s, const Tensor *t) {
  size_t n = (size_t)snprintf(s->what, sizeof s->what, "%s[", dtype_name((DType)t->h.desc));
  for (int i = 0; i < t->h.n && n < sizeof s->what; i++)
    n += (size_t)snprintf(s->what + n, sizeof s->what - n, "%s%lld", i ? ", " : "",
                          (long long)t->dim[i]);
  if (n < sizeof s->what) snprintf(s->what + n, sizeof s->what - n, "]");
}

static bool lives_at(const Span *s, uint64_t time) { return s->born <= time && s->died > time; }

static void dies(MemoryWatch *w, const void *t, size_t bytes) {
  w->live -= bytes < w->live ? bytes : w->live;
  for (int i = w->span.n - 1; i >= 0; i--) {
    if (w->span.at[i].t != t) continue;
    w->span.at[i].t = NULL, w->span.at[i].died = w->now;
    return;
  }
}

/* Where all are taken, one that is over and was not there at the peak; or NULL. */
static Span *new_span(MemoryWatch *w) {
  if (w->span.n < MOST_SPANS) return &w->span.at[w->span.n++];
  w->lost = true;
  for (int i = 0; i < w->span.n; i++) {
    Span *s = &w->span.at[i];
    if (!s->t && !lives_at(s, w->most_at)) return s;
  }
  return NULL;
}

/* what: or NULL, then t is a tensor. */
static void is_born(MemoryWatch *w, const void *t, size_t bytes, const char *what) {
  w->all_bytes += bytes, w->live += bytes;
  if (w->live > w->most_live) w->most_live = w->live, w->most_at = w->now;
  Span *s = new_span(w);
  if (!s) return;
  *s = (Span){.t = t, .bytes = bytes, .born = w->now, .died = UINT64_MAX};
  if (what)
    snprintf(s->what, sizeof s->what, "%s", what);
  else
    describe(s, t);
}

static void on_tensor(void *user, const Tensor *t, bool born) {
  MemoryWatch *w = user;
  if (w->runs) return;
  w->now++;
  w->made += born;
  if (born)
    is_born(w, t, bytes_of(t), NULL);
  else
    dies(w, t, bytes_of(t));
}

static void on_scratch(void *user, const void *p, size_t bytes, bool born) {
  MemoryWatch *w = user;
  if (w->runs) return;
  w->now++;
  w->scratch += born ? bytes : -bytes;
  if (w->scratch > w->most_scratch) w->most_scratch = w->scratch;
  bytes = (bytes + 63) & ~(size_t)63;
  if (born)
    is_born(w, p, bytes, "scratch of a kernel");
  else
    dies(w, p, bytes);
}

MemoryWatch *memory_watch(rvm_instance *vm) {
  MemoryWatch *w = NEW(MemoryWatch);
  w->vm = vm;
  vec_reserve(&w->span, MOST_SPANS);
  w->base = vm->heap.now;
  w->requests = vm->heap.requests;
  vm->heap.watch = on_tensor;
  vm->heap.watch_scratch = on_scratch;
  vm->heap.watch_user = w;
  return w;
}

void memory_run_done(MemoryWatch *w) {
  uint64_t n = w->vm->heap.requests - w->requests;
  w->requests = w->vm->heap.requests;
  if (w->runs++ == 0) w->first = n;
  w->last = n;
}

/* ---- the plan -------------------------------------------------------------------------- */
static int by_size(const void *x, const void *y) {
  const Span *a = *(Span *const *)x, *b = *(Span *const *)y;
  if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
  return (a->born > b->born) - (a->born < b->born);
}

static bool together(const Span *a, const Span *b) {
  return a->born < b->died && b->born < a->died;
}

/* The lowest offset at which s meets none of the n spans in its time; they are in
 * order of their offsets. */
static size_t lowest(const Span *s, Span *const *placed, int n) {
  size_t at = 0;
  for (int i = 0; i < n; i++) {
    if (!together(s, placed[i])) continue;
    if (placed[i]->at >= at + s->bytes) break;
    if (placed[i]->at + placed[i]->bytes > at) at = placed[i]->at + placed[i]->bytes;
  }
  return at;
}

static void make_plan(MemoryWatch *w) {
  int n = w->span.n;
  if (w->planned || w->lost) return;
  Span **order = NEW_N(Span *, n + 1), **placed = NEW_N(Span *, n + 1);
  for (int i = 0; i < n; i++) order[i] = &w->span.at[i];
  qsort(order, (size_t)n, sizeof *order, by_size);
  for (int i = 0; i < n; i++) {
    Span *s = order[i];
    s->at = lowest(s, placed, i);
    if (s->at + s->bytes > w->plan) w->plan = s->at + s->bytes;
    int at = i;
    for (; at > 0 && placed[at - 1]->at > s->at; at--) placed[at] = placed[at - 1];
    placed[at] = s;
  }
  w->planned = true;
}

/* ---- reports --------------------------------------------------------------------------- */
static const char *size_text(char out[32], uint64_t bytes) {
  double v = (double)bytes;
  const char *unit = "bytes";
  if (v >= 1e6)
    v /= 1e6, unit = "MB";
  else if (v >= 1e4)
    v /= 1e3, unit = "kB";
  snprintf(out, 32, unit[0] == 'b' ? "%.0f %s" : "%.2f %s", v, unit);
  return out;
}

static double ratio(uint64_t a, uint64_t b) { return b ? (double)a / (double)b : 1; }

static void list_peak(const MemoryWatch *w, FILE *to) {
  char text[32];
  int shown = 0, more = 0;
  Span **order = NEW_N(Span *, w->span.n + 1);
  for (int i = 0; i < w->span.n; i++) order[i] = &w->span.at[i];
  qsort(order, (size_t)w->span.n, sizeof *order, by_size);
  for (int i = 0; i < w->span.n; i++) {
    if (!lives_at(order[i], w->most_at)) continue;
    if (shown == SHOWN) {
      more++;
      continue;
    }
    fprintf(to, "    %-12s %s\n", size_text(text, order[i]->bytes), order[i]->what);
    shown++;
  }
  if (more) fprintf(to, "    and %d more\n", more);
}

void memory_report(MemoryWatch *w, FILE *to) {
  char text[32];
  uint64_t peak = w->vm->heap.peak - w->base;
  make_plan(w);
  fprintf(to, "memory: %llu tensors in the first run, %s one beside the other\n",
          (unsigned long long)w->made, size_text(text, w->all_bytes));
  fprintf(to, "  live at once   %-12s no plan needs less; ", size_text(text, w->most_live));
  fprintf(to, "at most %s of it scratch of a kernel\n", size_text(text, w->most_scratch));
  if (w->planned)
    fprintf(to, "  planned        %-12s at offsets of one block\n", size_text(text, w->plan));
  fprintf(to, "  measured peak  %-12s of the allocator's, all included: %.2f times %s\n",
          size_text(text, peak), ratio(peak, w->planned ? w->plan : w->most_live),
          w->planned ? "the plan" : "what is live");
  fprintf(to, "  asked of the allocator: %llu blocks in the first run, %llu in the last of %llu\n",
          (unsigned long long)w->first, (unsigned long long)w->last, (unsigned long long)w->runs);
  if (w->most_live) fprintf(to, "  live at the peak:\n");
  list_peak(w, to);
}

/* Along or up a rectangle that has the room. */
static void put_label(FILE *f, const char *what, double x, double y, double across, double tall) {
  static const double line = 10, letter = 5.5;
  double n = letter * (double)strlen(what);
  if (tall >= line && across >= n)
    fprintf(f, "<text x=\"%.2f\" y=\"%.2f\">%s</text>\n", x + 2, y + tall / 2 + 3, what);
  else if (across >= line && tall >= n)
    fprintf(f, "<text transform=\"translate(%.2f %.2f) rotate(-90)\">%s</text>\n",
            x + across / 2 + 3, y + tall - 2, what);
}

const char *memory_svg(MemoryWatch *w, const char *path) {
  make_plan(w);
  if (!w->planned) return str_fmt("%s: too many tensors for a picture", path);
  FILE *f = fopen(path, "w");
  if (!f) return str_fmt("%s: %s", path, strerror(errno));
  double wide = 1000.0 / (double)(w->now + 1), high = 400.0 / (double)(w->plan ? w->plan : 1);
  fprintf(f,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1000 420\" "
          "font-family=\"sans-serif\" font-size=\"9\">\n"
          "<text x=\"4\" y=\"12\">%zu bytes planned, %llu tensors; time to the right</text>\n",
          w->plan, (unsigned long long)w->made);
  for (int i = 0; i < w->span.n; i++) {
    const Span *s = &w->span.at[i];
    uint64_t end = s->died == UINT64_MAX ? w->now + 1 : s->died;
    double x = (double)s->born * wide, y = 420 - (double)(s->at + s->bytes) * high;
    double across = (double)(end - s->born) * wide, tall = (double)s->bytes * high;
    fprintf(f,
            "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"hsl(%d,60%%,70%%)\" "
            "stroke=\"#444\" stroke-width=\"0.3\"><title>%s: %zu bytes at %zu</title></rect>\n",
            x, y, across, tall, i * 47 % 360, s->what, s->bytes, s->at);
    put_label(f, s->what, x, y, across, tall);
  }
  fprintf(f, "</svg>\n");
  return fclose(f) == 0 ? NULL : str_fmt("%s: %s", path, strerror(errno));
}
