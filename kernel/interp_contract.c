/* interp_contract.c -- contractions as packed, register-tiled products.
 *
 * Rows, columns and depth are each the product of some loop variables, counted
 * as one.  For a block of columns, the second factor is evaluated once into
 * panels of TILE_N columns, depth outermost; for each block of rows the first
 * into panels of TILE_M rows; then every pair of panels gives a tile of sums,
 * kept in registers over the depth.  After the last block of depth the epilogue
 * runs along the rows of the block.  Factors are evaluated by the strip
 * interpreter, along their own last variable or along the depth, whichever is
 * cheaper in this run.
 *
 * A sum runs over the depth in order, in blocks of DEPTH that are added one
 * after the other: the order depends on the extents only.  Integers are summed
 * modulo 2^32 or 2^64, halves in float32.                                    */
#include "kernel/interp_priv.h"
#include "base/checked.h"

enum {
  TILE_M = 4,
  TILE_N_BYTES = 32,
  DEPTH = 1024,
  MAX_ROWS = 128,
  MAX_COLS = 512,
  PANEL_ELEMENTS = 131072
};

/* ---- sums of one tile ------------------------------------------------------------ */
#define ADD_TO(V, p, x)                                                                            \
  do {                                                                                             \
    V v_;                                                                                          \
    memcpy(&v_, p, sizeof v_);                                                                     \
    v_ += x;                                                                                       \
    memcpy(p, &v_, sizeof v_);                                                                     \
  } while (0)
/* (TILE_M, 2 vectors) += a (kb, TILE_M) * b (kb, 2 vectors); c has rows of ldc. */
#define TILE(name, T, V, SPLAT)                                                                    \
  typedef T V __attribute__((vector_size(16)));                                                    \
  static void name(int64_t kb, const void *pa, const void *pb, void *pc, int64_t ldc) {            \
    const T *a = pa, *b = pb;                                                                      \
    T *c = pc;                                                                                     \
    const int lanes = 16 / sizeof(T);                                                              \
    V z = {0}, s0 = z, s1 = z, s2 = z, s3 = z, t0 = z, t1 = z, t2 = z, t3 = z;                     \
    for (int64_t k = 0; k < kb; k++, a += TILE_M, b += 2 * lanes) {                                \
      V x, p, q;                                                                                   \
      memcpy(&p, b, sizeof p);                                                                     \
      memcpy(&q, b + lanes, sizeof q);                                                             \
      x = (V)SPLAT(a[0]), s0 += x * p, t0 += x * q;                                                \
      x = (V)SPLAT(a[1]), s1 += x * p, t1 += x * q;                                                \
      x = (V)SPLAT(a[2]), s2 += x * p, t2 += x * q;                                                \
      x = (V)SPLAT(a[3]), s3 += x * p, t3 += x * q;                                                \
    }                                                                                              \
    ADD_TO(V, c, s0);                                                                              \
    ADD_TO(V, c + lanes, t0);                                                                      \
    ADD_TO(V, c + ldc, s1);                                                                        \
    ADD_TO(V, c + ldc + lanes, t1);                                                                \
    ADD_TO(V, c + 2 * ldc, s2);                                                                    \
    ADD_TO(V, c + 2 * ldc + lanes, t2);                                                            \
    ADD_TO(V, c + 3 * ldc, s3);                                                                    \
    ADD_TO(V, c + 3 * ldc + lanes, t3);                                                            \
  }
#define SPLAT4(x)                                                                                  \
  { x, x, x, x }
#define SPLAT2(x)                                                                                  \
  { x, x }
TILE(tile_f32, float, VecF32, SPLAT4)
TILE(tile_f64, double, VecF64, SPLAT2)
TILE(tile_u32, uint32_t, VecU32, SPLAT4)
TILE(tile_u64, uint64_t, VecU64, SPLAT2)

typedef void (*TileFn)(int64_t kb, const void *a, const void *b, void *c, int64_t ldc);

/* ---- a run of one contraction ---------------------------------------------------- */
typedef struct {
  Run *r;
  const Ins *x;
  const Contract *t;
  int64_t m, n, k, mc, nc, kc; /* extents; of a block           */
  int64_t width[2];            /* of a panel, per side          */
  int bytes, lane;             /* of a packed element; of a lane */
  int way[2];
  TileFn fn;
  char *panel[2], *sum;
} Tiles;

static int64_t extent_of(const Run *r, const LoopSet *s) {
  int64_t total = 1;
  for (int i = 0; i < s->n; i++) {
    int64_t n = reg_i64(r, s->loop[i].ext);
    if (n <= 0) return 0;
    if (!i64_mul(total, n, &total)) total = INT64_MAX;
  }
  return total;
}

static void set_loops(Run *r, const LoopSet *s, int64_t at) {
  for (int i = s->n; i-- > 1;) {
    int64_t n = reg_i64(r, s->loop[i].ext);
    set_i64(r, s->loop[i].var, at % n);
    at /= n;
  }
  if (s->n) set_i64(r, s->loop[0].var, at);
}

static int64_t last_extent(const Run *r, const LoopSet *s) {
  return reg_i64(r, s->loop[s->n - 1].ext);
}

/* Lanes from position at on: not over the end of the last variable, nor `end`. */
static int64_t run_length(const Run *r, int64_t at, int64_t end, int64_t last) {
  int64_t n = last - at % last;
  if (n > end - at) n = end - at;
  return n < r->cap ? n : r->cap;
}

static KStatus run_tape(const Tiles *g, const Tape *t, int64_t lanes) {
  g->r->n = lanes;
  return run_code(g->r, g->x + t->from, g->x + t->to);
}

/* ---- packing --------------------------------------------------------------------- */
static void put_lanes(const Tiles *g, char *to, const char *lanes, int64_t n, int64_t step) {
  if (g->bytes == 8) {
    uint64_t *o = (uint64_t *)(void *)to;
    const uint64_t *v = (const uint64_t *)(const void *)lanes;
    for (int64_t i = 0; i < n; i++) o[i * step] = v[i];
  } else if (g->lane == 4) {
    uint32_t *o = (uint32_t *)(void *)to;
    const uint32_t *v = (const uint32_t *)(const void *)lanes;
    if (step == 1)
      for (int64_t i = 0; i < n; i++) o[i] = v[i];
    else
      for (int64_t i = 0; i < n; i++) o[i * step] = v[i];
  } else {
    uint32_t *o = (uint32_t *)(void *)to;
    const uint64_t *v = (const uint64_t *)(const void *)lanes;
    for (int64_t i = 0; i < n; i++) o[i * step] = (uint32_t)v[i];
  }
}

/* Lanes along the side: pieces of panels. */
static void put_across(const Tiles *g, int side, const char *lanes, int64_t i, int64_t n, int64_t k,
                       int64_t kb) {
  int64_t w = g->width[side];
  while (n > 0) {
    int64_t part = w - i % w < n ? w - i % w : n;
    put_lanes(g, g->panel[side] + (i / w * w * kb + k * w + i % w) * g->bytes, lanes, part, 1);
    lanes += part * g->lane, i += part, n -= part;
  }
}

/* Elements [i0, i0 + ib) of the side by [k0, k0 + kb) of the depth. */
static KStatus pack(const Tiles *g, int side, int64_t i0, int64_t ib, int64_t k0, int64_t kb) {
  Run *r = g->r;
  int way = g->way[side];
  const LoopSet *along = way ? &g->t->red : &g->t->side[side];
  const LoopSet *other = way ? &g->t->side[side] : &g->t->red;
  const Tape *tape = &g->t->pack[side][way];
  int64_t a0 = way ? k0 : i0, ae = way ? k0 + kb : i0 + ib, o0 = way ? i0 : k0;
  int64_t oe = way ? i0 + ib : k0 + kb, w = g->width[side], last = last_extent(r, along);
  char *panel = g->panel[side];
  if (ib % w) memset(panel + ib / w * w * kb * g->bytes, 0, (size_t)(w * kb * g->bytes));
  for (int64_t o = o0; o < oe; o++) {
    set_loops(r, other, o);
    for (int64_t a = a0, n; a < ae; a += n) {
      n = run_length(r, a, ae, last);
      set_loops(r, along, a);
      KStatus s = run_tape(g, tape, n);
      if (s != K_OK) return s;
      const char *lanes = r->reg[tape->out];
      int64_t i = o - i0;
      if (!way)
        put_across(g, side, lanes, a - i0, n, o - k0, kb);
      else
        put_lanes(g, panel + (i / w * w * kb + (a - k0) * w + i % w) * g->bytes, lanes, n, w);
    }
  }
  return K_OK;
}

/* ---- blocks ---------------------------------------------------------------------- */
static void multiply(const Tiles *g, int64_t mb, int64_t nb, int64_t kb) {
  int64_t w = g->width[1];
  for (int64_t j = 0; j < nb; j += w)
    for (int64_t i = 0; i < mb; i += TILE_M)
      g->fn(kb, g->panel[0] + i * kb * g->bytes, g->panel[1] + j * kb * g->bytes,
            g->sum + (i * g->nc + j) * g->bytes, g->nc);
}

/* The accumulator's strip: n sums from `from` on. */
static void show_sums(const Tiles *g, char *from, int64_t n) {
  Run *r = g->r;
  DType t = (DType)g->t->dtype;
  uint32_t reg = g->t->body.out;
  if (g->bytes == g->lane) {
    if (is_half(t)) lane_round(t, (float *)(void *)from, n);
    r->reg[reg] = from;
    return;
  }
  const uint32_t *v = (const uint32_t *)(const void *)from;
  int64_t *o = (int64_t *)(void *)(r->reg[reg] = strip_slot(r, reg));
  for (int64_t i = 0; i < n; i++) o[i] = wrap_int((int64_t)v[i], t);
}

static KStatus finish_block(const Tiles *g, int64_t i0, int64_t mb, int64_t j0, int64_t nb) {
  const LoopSet *cols = &g->t->side[1];
  int64_t last = last_extent(g->r, cols);
  for (int64_t i = 0; i < mb; i++) {
    set_loops(g->r, &g->t->side[0], i0 + i);
    for (int64_t j = 0, n; j < nb; j += n) {
      n = run_length(g->r, j0 + j, j0 + nb, last);
      set_loops(g->r, cols, j0 + j);
      show_sums(g, g->sum + (i * g->nc + j) * g->bytes, n);
      KStatus s = run_tape(g, &g->t->body, n);
      if (s != K_OK) return s;
    }
  }
  return K_OK;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static KStatus run_block(const Tiles *g, int64_t i0, int64_t j0) {
  int64_t mb = least(g->mc, g->m - i0), nb = least(g->nc, g->n - j0);
  memset(g->sum, 0, (size_t)(g->mc * g->nc * g->bytes));
  for (int64_t k0 = 0; k0 < g->k; k0 += g->kc) {
    int64_t kb = least(g->kc, g->k - k0);
    KStatus s = K_OK;
    if (g->kc < g->k || i0 == 0) s = pack(g, 1, j0, nb, k0, kb);
    if (s == K_OK) s = pack(g, 0, i0, mb, k0, kb);
    if (s != K_OK) return s;
    multiply(g, mb, nb, kb);
  }
  return finish_block(g, i0, mb, j0, nb);
}

static KStatus run_batch(const Tiles *g) {
  for (int64_t j = 0; j < g->n; j += g->nc)
    for (int64_t i = 0; i < g->m; i += g->mc) {
      KStatus s = run_block(g, i, j);
      if (s != K_OK) return s;
    }
  return K_OK;
}

/* ---- sizes, memory, cost --------------------------------------------------------- */
static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static Tiles tiles_of(Run *r, const Ins *x) {
  const Contract *t = &r->p->con[x->c];
  DType d = (DType)t->dtype;
  Tiles g = {.r = r, .x = x, .t = t, .lane = lane_bytes(d)};
  g.bytes = lane_of(d) == LANE_I64 && dtype_bytes(d) <= 4 ? 4 : g.lane;
  g.fn = d == DT_f64 ? tile_f64 : dtype_is_float(d) ? tile_f32 : g.bytes == 4 ? tile_u32 : tile_u64;
  g.m = extent_of(r, &t->side[0]);
  g.n = extent_of(r, &t->side[1]);
  g.k = extent_of(r, &t->red);
  g.width[0] = TILE_M;
  g.width[1] = TILE_N_BYTES / g.bytes;
  g.kc = g.k < DEPTH ? (g.k ? g.k : 1) : DEPTH;
  int64_t cols = PANEL_ELEMENTS / g.kc, rows = PANEL_ELEMENTS / 2 / g.kc;
  g.nc = round_up(least(g.n, least(cols, MAX_COLS)), g.width[1]);
  g.mc = round_up(least(g.m, least(rows, MAX_ROWS)), TILE_M);
  return g;
}

static double pack_cost(const Tiles *g, int side, int way) {
  const Tape *t = &g->t->pack[side][way];
  double len = (double)least(last_extent(g->r, way ? &g->t->red : &g->t->side[side]), g->r->cap);
  if (len < 1) return 0;
  return 0.7 + (20 + code_cost(g->r, g->x + t->from, g->x + t->to, len)) / len; /* per element */
}

/* Nanoseconds for all batches; sets the ways of packing. */
static double tiles_cost(Tiles *g) {
  double each[2], m = (double)g->m, n = (double)g->n, k = (double)g->k;
  if (g->m == 0 || g->n == 0) return 0;
  for (int s = 0; s < 2; s++) {
    double across = pack_cost(g, s, 0), down = pack_cost(g, s, 1);
    g->way[s] = down < across;
    each[s] = down < across ? down : across;
  }
  double mac = (double)g->bytes / 4 * (g->fn == tile_u32 || g->fn == tile_u64 ? 0.25 : 0.06);
  double len = (double)least(last_extent(g->r, &g->t->side[1]), least(g->r->cap, g->nc));
  const Tape *body = &g->t->body;
  double row = 20 + code_cost(g->r, g->x + body->from, g->x + body->to, len);
  double a_times = n / (double)g->nc < 1 ? 1 : n / (double)g->nc;
  double b_times = g->kc < g->k && m > (double)g->mc ? m / (double)g->mc : 1;
  double all = 300 + (m + TILE_M) * (n + (double)g->width[1]) * k * mac +
               m * k * each[0] * a_times + n * k * each[1] * b_times + m * (n / len) * row;
  return all * (double)extent_of(g->r, &g->t->batch);
}

double contract_cost(const Run *r, const Ins *x) {
  Run copy = *r;
  Tiles g = tiles_of(&copy, x);
  double a = tiles_cost(&g), b = code_cost(r, x + x->body, x + x->end, 1);
  return a < b ? a : b;
}

static bool get_memory(Tiles *g) {
  Run *r = g->r;
  size_t a = (size_t)round_up(g->mc * g->kc * g->bytes, 64);
  size_t b = (size_t)round_up(g->nc * g->kc * g->bytes, 64);
  size_t all = a + b + (size_t)(g->mc * g->nc * g->bytes) + 64;
  if (all > r->tile_bytes) {
    char *p = r->alloc.fn(r->alloc.user, r->tile, r->tile_bytes, all);
    if (!p) return false;
    r->tile = p, r->tile_bytes = all;
  }
  g->panel[0] = r->tile + (64 - (uintptr_t)r->tile % 64) % 64;
  g->panel[1] = g->panel[0] + a;
  g->sum = g->panel[1] + b;
  return true;
}

static KStatus run_tiles(Tiles *g) {
  Run *r = g->r;
  int64_t n = r->n, lo = r->lo, batches = extent_of(r, &g->t->batch);
  KStatus s = K_OK;
  if (!g->m || !g->n || !batches) return K_OK;
  if (!get_memory(g)) {
    if (r->err) *r->err = (KError){K_NO_MEMORY, "no memory for a contraction"};
    return K_NO_MEMORY;
  }
  r->lo = 0;
  for (int64_t b = 0; b < batches && s == K_OK; b++) {
    set_loops(r, &g->t->batch, b);
    s = run_batch(g);
  }
  r->n = n, r->lo = lo;
  return s;
}

KStatus run_contract(Run *r, const Ins *x) {
  Tiles g = tiles_of(r, x);
  uint8_t *choice = &r->choice[g.t->choice];
  double cost = *choice == 2 ? 0 : tiles_cost(&g);
  if (!*choice) *choice = cost <= code_cost(r, x + x->body, x + x->end, 1) ? 1 : 2;
  return *choice == 1 ? run_tiles(&g) : run_code(r, x + x->body, x + x->end);
}
