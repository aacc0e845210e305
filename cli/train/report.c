/* report.c -- how training goes: a bar on a terminal, plain lines elsewhere,
 * a log of JSON lines, a picture.                                             */
#define _DEFAULT_SOURCE
#include <math.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/utf8.h"
#include "cli/measure/clock.h"
#include "cli/train/train.h"

/* ---- text ------------------------------------------------------------------------------- */
/* 12 s, 3:07, 1:02:45 */
static const char *duration(double s) {
  long n = s < 1e9 ? lround(s) : 1000000000;
  if (n < 60) return str_fmt("%ld s", n);
  if (n < 3600) return str_fmt("%ld:%02ld", n / 60, n % 60);
  return str_fmt("%ld:%02ld:%02ld", n / 3600, n / 60 % 60, n % 60);
}

static void put_measured(const Epoch *e, const Names *names, StrBuf *out) {
  for (int i = 0; i < names->n; i++)
    buf_fmt(out, "%s%s %.4g", i ? " " : "", names->name[i], e->measured[i]);
}

/* ---- the bar ------------------------------------------------------------------------------ */
enum { BAR_CELLS = 24 };
static const double REDRAW = 0.1; /* seconds                                */

/* What is left: of this epoch at its own pace, of the others at that of those behind. */
static double time_left(const Report *r, int64_t step, double now) {
  double share = (double)step / (double)r->steps, spent = now - r->began;
  double epoch = r->epoch > r->first ? r->total / (double)(r->epoch - r->first) : spent / share;
  return spent / share - spent + epoch * (double)(r->epochs - r->epoch);
}

void report_clear(Report *r) {
  if (r->bar) fputs("\r\033[K", stderr);
}

static int terminal_columns(void) {
  struct winsize w;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

static bool starts_character(char c) { return ((unsigned char)c & 0xc0) != 0x80; }
static int columns_of(const char *s) {
  int n = 0;
  for (; *s; s++) n += starts_character(*s);
  return n;
}

/* One line of the terminal, or the next one would not replace it: the bar gives way, then the end
 * is cut. */
static void draw(const char *head, const char *tail, int64_t step, int64_t steps) {
  StrBuf b = {0};
  int room = terminal_columns() - 1, left = room - columns_of(head) - columns_of(tail);
  int cells = left < 0           ? 0
              : left < BAR_CELLS ? left
                                 : BAR_CELLS,
      full = (int)(cells * step / steps);
  buf_str(&b, head);
  for (int i = 0; i < cells; i++)
    buf_str(&b, i < full ? "\xe2\x94\x81" : "\xe2\x94\x80"); /* heavy and light lines       */
  buf_str(&b, tail);
  const char *s = buf_text(&b), *end = s;
  for (; *end && (room > 0 || !starts_character(*end)); end++) room -= starts_character(end[1]);
  fprintf(stderr, "\r%.*s\033[K", (int)(end - s), s);
}

void report_step(Report *r, int64_t step, int64_t examples, double loss) {
  double now = clock_seconds();
  StrBuf tail = {0};
  if (!r->bar || (now - r->drawn < REDRAW && step < r->steps)) return;
  r->drawn = now;
  buf_fmt(&tail, " %lld/%lld  loss %.4f", (long long)step, (long long)r->steps, loss);
  if (r->last && r->names->n) {
    buf_str(&tail, "  last ");
    put_measured(r->last, r->names, &tail);
  }
  buf_fmt(&tail, "  %.0f/s  ETA %s", (double)examples / (now - r->began + 1e-9),
          duration(time_left(r, step, now)));
  draw(str_fmt("epoch %llu/%llu ", (unsigned long long)r->epoch, (unsigned long long)r->epochs),
       buf_text(&tail), step, r->steps);
}

/* ---- epochs ---------------------------------------------------------------------------------- */
static void put_json_number(StrBuf *out, double x) {
  char text[48];
  if (isfinite(x))
    num_f64(x, text), buf_str(out, text);
  else
    buf_str(out, "null");
}

void log_epoch(StrBuf *out, uint64_t epoch, const Epoch *e, const Names *names, uint64_t steps) {
  buf_fmt(out, "{\"epoch\": %llu, \"steps\": %llu, \"loss\": ", (unsigned long long)epoch,
          (unsigned long long)steps);
  put_json_number(out, e->loss);
  if (names->n) buf_str(out, ", \"validation\": {");
  for (int i = 0; i < names->n; i++) {
    buf_str(out, i ? ", " : "");
    buf_json(out, names->name[i]);
    buf_str(out, ": ");
    put_json_number(out, e->measured[i]);
  }
  buf_fmt(out, "%s, \"seconds\": %.3f}\n", names->n ? "}" : "", e->seconds);
}

void report_epoch(Report *r, uint64_t epoch, const Epoch *e, uint64_t steps) {
  StrBuf b = {0};
  if (r->log) {
    log_epoch(&b, epoch, e, r->names, steps);
    fputs(buf_text(&b), r->log);
    fflush(r->log);
  }
  r->total += e->seconds;
  if (r->quiet) return;
  report_clear(r);
  b = (StrBuf){0};
  buf_fmt(&b, "epoch %llu/%llu  loss %.5g", (unsigned long long)epoch,
          (unsigned long long)r->epochs, e->loss);
  if (r->names->n) buf_str(&b, "  validation: ");
  put_measured(e, r->names, &b);
  fprintf(r->bar ? stderr : stdout, "%s  (%.0f examples/s, %.1f s)\n", buf_text(&b),
          (double)r->examples / (e->seconds + 1e-9), e->seconds);
  fflush(stdout);
}
