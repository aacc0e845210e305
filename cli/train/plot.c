/* plot.c -- the losses over the epochs as an SVG.                         */
#include <math.h>
#include "base/file.h"
#include "cli/train/train.h"

enum { WIDTH = 640, HEIGHT = 400, LEFT = 64, RIGHT = 16, TOP = 16, BOTTOM = 44, TICKS = 5 };

typedef struct {
  double low, high; /* of the losses shown                       */
  int n;            /* epochs                                    */
} Frame;

static double x_of(const Frame *f, int i) {
  double share = f->n > 1 ? (double)i / (f->n - 1) : 0.5;
  return LEFT + share * (WIDTH - LEFT - RIGHT);
}
static double y_of(const Frame *f, double v) {
  return HEIGHT - BOTTOM - (v - f->low) / (f->high - f->low) * (HEIGHT - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten, so that about TICKS of them make range. */
static double tick_step(double range) {
  double base = pow(10, floor(log10(range / TICKS))), k = range / TICKS / base;
  return base * (k < 1.5 ? 1 : k < 3.5 ? 2 : k < 7.5 ? 5 : 10);
}

static Frame frame_of(const History *h, int column) {
  Frame f = {INFINITY, -INFINITY, h->at.n};
  for (int i = 0; i < h->at.n; i++) {
    double v[2] = {h->at.at[i].loss, column < 0 ? NAN : h->at.at[i].measured[column]};
    for (int k = 0; k < 2; k++)
      if (isfinite(v[k])) f.low = fmin(f.low, v[k]), f.high = fmax(f.high, v[k]);
  }
  if (!(f.low <= f.high)) f.low = 0, f.high = 1;
  if (f.low > 0 && f.low < 0.6 * f.high) f.low = 0;
  if (f.high - f.low < 1e-9 * fabs(f.high) + 1e-30) { /* wide enough for steps between ticks */
    double room = fmax(0.5, 0.1 * fabs(f.high));
    f.low -= room, f.high += room;
  }
  return f;
}

static void put_axes(const Frame *f, StrBuf *out) {
  double step = tick_step(f->high - f->low);
  for (double v = ceil(f->low / step - 1e-9) * step; v <= f->high + 1e-9 * step; v += step) {
    double y = y_of(f, v);
    buf_fmt(out, "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/>\n", LEFT, y, WIDTH - RIGHT);
    buf_fmt(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n", LEFT - 6, y + 4,
            fabs(v) < 1e-9 * step ? 0.0 : v);
  }
  int every = (int)fmax(1, tick_step(f->n > 1 ? f->n : 1));
  for (int e = every; e <= f->n; e += every)
    buf_fmt(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>\n", x_of(f, e - 1),
            HEIGHT - BOTTOM + 18, e);
  buf_fmt(out, "<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"#333\"/>\n", LEFT, TOP,
          HEIGHT - BOTTOM, WIDTH - RIGHT);
  buf_fmt(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">epoch</text>\n",
          (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8);
}

/* column: -1 for the loss of training.  What is not finite leaves a gap. */
static void put_line(const Frame *f, const History *h, int column, const char *colour,
                     StrBuf *out) {
  bool pen = false;
  buf_fmt(out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" d=\"", colour);
  for (int i = 0; i < h->at.n; i++) {
    double v = column < 0 ? h->at.at[i].loss : h->at.at[i].measured[column];
    if (isfinite(v)) buf_fmt(out, "%c%.1f %.1f", pen ? 'L' : 'M', x_of(f, i), y_of(f, v));
    pen = isfinite(v);
  }
  buf_str(out, h->at.n == 1 && pen ? "h0.1\"/>\n" : "\"/>\n");
}

static void put_legend(int line, const char *colour, const char *text, StrBuf *out) {
  int y = TOP + 16 + 18 * line;
  buf_fmt(out, "<path d=\"M%d %dh24\" stroke=\"%s\" stroke-width=\"2\"/>\n", WIDTH - 150, y,
          colour);
  buf_fmt(out, "<text x=\"%d\" y=\"%d\">%s</text>\n", WIDTH - 120, y + 4, text);
}

const char *plot_write(const char *path, const History *h, const Names *names) {
  static const char *const colour[] = {"#1f5fbf", "#d2691e"};
  StrBuf b = {0};
  int column = -1;
  for (int i = 0; i < names->n; i++)
    if (!strcmp(names->name[i], "loss")) column = i;
  Frame f = frame_of(h, column);
  buf_fmt(&b,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d "
          "%d\" font-family=\"sans-serif\" font-size=\"12\">\n",
          WIDTH, HEIGHT, WIDTH, HEIGHT);
  buf_fmt(&b, "<title>loss</title>\n<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n", WIDTH,
          HEIGHT);
  put_axes(&f, &b);
  put_line(&f, h, -1, colour[0], &b);
  put_legend(0, colour[0], "training loss", &b);
  if (column >= 0) {
    put_line(&f, h, column, colour[1], &b);
    put_legend(1, colour[1], "validation loss", &b);
  }
  buf_str(&b, "</svg>\n");
  const char *why = file_write(path, buf_text(&b), b.n);
  return why ? str_fmt("%s: %s", path, why) : NULL;
}
