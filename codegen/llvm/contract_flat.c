/* contract_flat.c -- convolutions whose result is as wide as the data, with an image's
 * pixels in the lanes.
 *
 * Output pixel p of any tap then reads the data p elements from where pixel 0
 * does: the pixels of an image are one row.  Nothing is copied; what a tap finds
 * outside the data is left out by masks, which are constants of the code.  A tile
 * is a few vectors of pixels by up to 8 outputs: of each depth its vectors are
 * loaded once, its weights are broadcast.                                     */
#include <stdlib.h>
#include "codegen/llvm/contract.h"

enum {
  TILE_ROWS = 8, /* outputs                                              */
  MOST_ROWS = 1 << 10,
  MOST_MASKS = 1 << 16,
  REGISTERS = 32, /* of the vectors; this needs masks, which come with so many */
  MOST_VECTORS = 8,
  NEAR = 64, /* channels whose rows stay in a cache from tap to tap  */
  KEY = 251  /* a kept form unlike others                            */
};

typedef struct {
  Window w;
  Source src;
  int64_t n, k, apart;  /* outputs, depths; elements from channel to channel    */
  int64_t pixels;       /* of an image                                          */
  int64_t tiles, parts; /* of the pixels, the last may be smaller; of the outputs */
  Val masks, weights;   /* per vector, per tap; per part of the outputs, per depth */
  Sub pack, tile[2][2]; /* of parts of n / parts and one more outputs; whole, the last */
} Flat;

/* ---- is it one? ------------------------------------------------------------------------ */
/* The vectors of pixels that a tile of so many outputs has: with one broadcast weight all of its
 * sums and data stay in registers. */
static int64_t tile_pixels(const Flat *p) {
  int64_t vectors = (REGISTERS - 1) / (ceil_div(p->n, p->parts) + 1);
  return (vectors < MOST_VECTORS ? vectors : MOST_VECTORS) * p->w.c->lanes;
}

/* The part of a direction's taps that are inside the data. */
static double part_inside(const Way *d, const Walk *r) {
  int64_t inside = 0;
  for (int64_t o = 0; o < d->n; o++)
    for (int64_t t = 0; t < d->taps; t++) inside += walk_inside(r, o, t);
  return (double)inside / (double)(d->n * d->taps);
}

/* Time over that of all multiply-adds, as measured on Zen 4, here and of the other ways: planes
 * copy the data and turn the result over, but leave out more of what multiplies zero; up to 8
 * outputs fill half of their vectors; up to 5, or by a weight that changes, data is packed for each
 * tap. */
static bool pays(const Flat *p) {
  const Window *w = &p->w;
  int64_t lanes = w->c->lanes, taken = ceil_div(p->pixels, lanes) * lanes;
  uint32_t buf;
  bool packs = p->n < 6 || !constant_buffer(w->c, ROWS, &buf);
  double here = (double)taken / (double)p->pixels * (w->channels > NEAR ? 1.03 : 1);
  double other = p->n < 6 ? 2 : p->n <= 8 ? 1.33 : p->n <= 16 ? 1.1 : 1.04;
  if (!packs)
    other *= part_inside(&w->down, &p->src.down) * part_inside(&w->across, &p->src.across);
  return here < other;
}

static bool one_row(const Flat *p) {
  const Walk *down = &p->src.down, *across = &p->src.across;
  const Window *w = &p->w;
  return across->pitch == 1 && across->per_out == 1 &&
         (w->down.n == 1 || down->per_out * down->pitch == w->across.n);
}

static bool find_epilogue(const Flat *p) {
  Con *c = p->w.c;
  int64_t n;
  const Set *s = &c->out[COLS];
  return choose_epilogue(c) && !c->by_rows && val_known(s->axis[s->n - 1].n, &n) &&
         n % p->pixels == 0;
}

static bool find_flat(Flat *p, Con *c) {
  Window *w = &p->w;
  if (!c->e->cpu.wide || !dtype_is_float(c->t)) return false;
  if (!val_known(c->side[ROWS].total, &p->n) || p->n < 1 || p->n > MOST_ROWS) return false;
  if (!read_steps(c, COLS, true, w)) return false;
  if (w->across.out == KE_NONE || !taps_in_rows(w) || !find_source(w, &p->src)) return false;
  if (w->channel != KE_NONE && !load_stride(c->e, c->factor[COLS], w->channel, &p->apart))
    return false;
  p->pixels = w->down.n * w->across.n;
  p->k = w->down.taps * w->across.taps * w->channels;
  p->parts = ceil_div(p->n, TILE_ROWS);
  p->tiles = ceil_div(p->pixels, tile_pixels(p));
  return ceil_div(p->pixels, c->lanes) * w->down.taps * w->across.taps <= MOST_MASKS &&
         one_row(p) && pays(p) && find_epilogue(p);
}

/* ---- masks and weights ------------------------------------------------------------------ */
/* The lanes of vector v that find tap t inside the data. */
static uint64_t mask_of(const Flat *p, int64_t v, int64_t t) {
  int64_t lanes = p->w.c->lanes, n = p->w.across.n, taps = p->w.across.taps;
  uint64_t mask = 0;
  for (int64_t i = 0; i < lanes; i++) {
    int64_t at = v * lanes + i;
    bool inside = at < p->pixels && walk_inside(&p->src.down, at / n, t / taps) &&
                  walk_inside(&p->src.across, at % n, t % taps);
    mask |= (uint64_t)inside << i;
  }
  return mask;
}

static bool make_masks(Flat *p) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  int64_t taps = p->w.down.taps * p->w.across.taps, n = ceil_div(p->pixels, c->lanes) * taps;
  LLVMTypeRef bits = int_type(e, (int)c->lanes);
  Val *mask = malloc((size_t)n * sizeof *mask);
  if (!mask) return false;
  for (int64_t i = 0; i < n; i++) mask[i] = LLVMConstInt(bits, mask_of(p, i / taps, i % taps), 0);
  Val array = LLVMConstArray2(bits, mask, (uint64_t)n);
  free(mask);
  p->masks = LLVMAddGlobal(e->m, LLVMTypeOf(array), "");
  LLVMSetInitializer(p->masks, array);
  LLVMSetLinkage(p->masks, LLVMPrivateLinkage);
  LLVMSetGlobalConstant(p->masks, true);
  LLVMSetUnnamedAddress(p->masks, LLVMGlobalUnnamedAddr);
  return true;
}

/* The first output of part i. */
static Val part_start(const Flat *p, Val i) {
  Emit *e = p->w.c->e;
  return LLVMBuildUDiv(e->b, mul(e, i, i64_of(e, p->n)), i64_of(e, p->parts), "");
}

static void fill_weights(const void *ctx, Val to) {
  const Flat *p = ctx;
  const Con *c = p->w.c;
  Emit *e = c->e;
  Loop l[K_MAX_LOOPS];
  open_batch(c, l);
  Val base = con_at(c, to, mul(e, flat_batch(c), i64_of(e, p->n * p->k)));
  Loop i = loop_begin(e, i64_of(e, p->parts));
  Val first = part_start(p, i.i), rows = sub(e, part_start(p, add(e, i.i, i64_of(e, 1))), first);
  Val arg[4] = {con_at(c, base, mul(e, first, i64_of(e, p->k))), rows, first, rows};
  (void)sub_call(c, &p->pack, arg, 4);
  loop_end(e, &i);
  close_batch(c, l);
}

static void find_weights(Flat *p) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Kept f = {.key = (int64_t)c->at * 512 + KEY,
            .n = i64_of(e, p->n),
            .k = i64_of(e, p->k),
            .bytes = mul(e, c->batch.total, i64_of(e, p->n * p->k * c->bytes)),
            .fill = fill_weights,
            .ctx = p};
  p->weights = kept_or_made(c, ROWS, &f);
}

/* ---- a tile -------------------------------------------------------------------------------- */
/* `rows` outputs of `vectors` vectors of pixels; the sums, row by row, are in slots. */
typedef struct {
  int64_t rows, vectors;
  Val slot[TILE_ROWS * MOST_VECTORS];
} Sums;

/* One depth: data and weights of its channel. */
static void add_products(const Flat *p, const Sums *s, Val data, const Val *mask, Val weight) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  LLVMTypeRef v = LLVMVectorType(c->type, c->lanes);
  Val x[MOST_VECTORS];
  for (int64_t j = 0; j < s->vectors; j++) {
    Val at = con_at(c, data, i64_of(e, j * (int64_t)c->lanes));
    x[j] = load_lanes(e, c->type, c->lanes, at, mask[j], (unsigned)c->bytes);
  }
  for (int64_t i = 0; i < s->rows; i++) {
    Val one = LLVMBuildLoad2(e->b, c->type, con_at(c, weight, i64_of(e, i)), "");
    LLVMSetAlignment(one, (unsigned)c->bytes);
    Val w = splat(e, one, c->lanes);
    for (int64_t j = 0; j < s->vectors; j++) {
      Val slot = s->slot[i * s->vectors + j], sum = LLVMBuildLoad2(e->b, v, slot, "");
      LLVMBuildStore(e->b, emit_intrinsic(e, "llvm.fma", v, (Val[]){w, x[j], sum}, 3), slot);
    }
  }
}

/* All taps and channels; data: of tap 0, channel 0; mask: of tap 0. */
static void all_products(const Flat *p, const Sums *s, Val weight, Val data, Val masks) {
  const Con *c = p->w.c;
  const Window *w = &p->w;
  Emit *e = c->e;
  int64_t taps = w->down.taps * w->across.taps;
  LLVMTypeRef bits = int_type(e, (int)c->lanes), lanes = LLVMVectorType(int_type(e, 1), c->lanes);
  Val mask[MOST_VECTORS];
  Loop y = loop_begin(e, i64_of(e, w->down.taps));
  Loop x = loop_begin(e, i64_of(e, w->across.taps));
  Val tap = add(e, mul(e, y.i, i64_of(e, w->across.taps)), x.i);
  Val off = add(e, mul(e, y.i, i64_of(e, p->src.down.per_tap * p->src.down.pitch)),
                mul(e, x.i, i64_of(e, p->src.across.per_tap)));
  for (int64_t j = 0; j < s->vectors; j++) {
    Val i = add(e, tap, i64_of(e, j * taps));
    Val at = LLVMBuildInBoundsGEP2(e->b, bits, masks, &i, 1, "");
    mask[j] = LLVMBuildBitCast(e->b, LLVMBuildLoad2(e->b, bits, at, ""), lanes, "");
  }
  Loop ch = loop_begin(e, i64_of(e, w->channels));
  off = add(e, off, mul(e, ch.i, i64_of(e, p->apart)));
  Val depth = add(e, mul(e, tap, i64_of(e, w->channels)), ch.i);
  Val at = LLVMBuildGEP2(e->b, c->type, data, &off, 1, "");
  add_products(p, s, at, mask, con_at(c, weight, mul(e, depth, i64_of(e, s->rows))));
  loop_end(e, &ch);
  loop_end(e, &x);
  loop_end(e, &y);
}

/* The function for tiles of so many outputs and pixels: arguments weights, data, masks, first
 * output, first pixel, counted over all images. */
static bool tile_of(const Flat *p, int64_t rows, int64_t pixels, Sub *f) {
  Con in;
  const Con *c = p->w.c;
  int64_t lanes = c->lanes;
  LLVMTypeRef i64 = int_type(c->e, 64), ptr = ptr_type(c->e), more[5] = {ptr, ptr, ptr, i64, i64};
  if (!sub_begin(c, &in, f, "tile.flat", more, 5)) return false;
  Emit *e = in.e;
  Flat own = *p;
  own.w.c = &in;
  Sums s = {.rows = rows, .vectors = ceil_div(pixels, lanes)};
  LLVMTypeRef v = LLVMVectorType(in.type, in.lanes);
  for (int64_t i = 0; i < rows * s.vectors; i++) {
    s.slot[i] = new_slot(e, v);
    LLVMBuildStore(e->b, LLVMConstNull(v), s.slot[i]);
  }
  all_products(&own, &s, sub_arg(f, 0), sub_arg(f, 1), sub_arg(f, 2));
  for (int64_t i = 0; i < rows * s.vectors; i++) {
    int64_t j = i % s.vectors, left = pixels - j * lanes;
    Val mask = left < lanes ? lanes_below(e, in.lanes, i64_of(e, left)) : NULL;
    Val row = add(e, sub_arg(f, 3), i64_of(e, i / s.vectors));
    Val col = add(e, sub_arg(f, 4), i64_of(e, j * lanes));
    vector_out(&in, in.lanes, mask, row, col, LLVMBuildLoad2(e->b, v, s.slot[i], ""));
  }
  sub_end(c, &in, f);
  return true;
}

static bool make_tiles(Flat *p) {
  int64_t wide = tile_pixels(p), last = p->pixels - (p->tiles - 1) * wide;
  for (int i = 0; i < 2; i++) {
    int64_t rows = p->n / p->parts + i;
    if (i && p->n % p->parts == 0) continue;
    if (p->tiles > 1 && !tile_of(p, rows, wide, &p->tile[i][0])) return false;
    if (!tile_of(p, rows, last, &p->tile[i][1])) return false;
  }
  return true;
}

/* ---- the whole ------------------------------------------------------------------------------- */
/* The function for tile t of an image and so many outputs. */
static Sub choose_tile(const Flat *p, Val t, Val rows) {
  Emit *e = p->w.c->e;
  Val fn[2], is = equal(e, t, i64_of(e, p->tiles - 1));
  Sub f = p->tile[0][1];
  for (int i = 0; i < 2; i++) {
    fn[i] = p->tile[i][1].fn;
    if (fn[i] && p->tiles > 1) fn[i] = choose(e, is, fn[i], p->tile[i][0].fn);
  }
  is = equal(e, rows, i64_of(e, p->n / p->parts));
  f.fn = fn[1] ? choose(e, is, fn[0], fn[1]) : fn[0];
  return f;
}

/* Tile t of an image, part i of the outputs; weights: of this batch, data: of pixel 0, tap 0. */
static void visit_tile(const Flat *p, Val image, Val t, Val i, Val weights, Val data) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  int64_t wide = tile_pixels(p), masks = wide / c->lanes * p->w.down.taps * p->w.across.taps;
  Val first = part_start(p, i), rows = sub(e, part_start(p, add(e, i, i64_of(e, 1))), first);
  Val pixel = mul(e, t, i64_of(e, wide)), at = mul(e, t, i64_of(e, masks));
  Val more[5] = {con_at(c, weights, mul(e, first, i64_of(e, p->k))),
                 LLVMBuildGEP2(e->b, c->type, data, &pixel, 1, ""),
                 LLVMBuildInBoundsGEP2(e->b, int_type(e, (int)c->lanes), p->masks, &at, 1, ""),
                 first, add(e, mul(e, image, i64_of(e, p->pixels)), pixel)};
  Sub f = choose_tile(p, t, rows);
  return_failure(e, sub_call(c, &f, more, 5));
}

static void visit_image(const Flat *p, const Part *part, Val image) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Set s = images(c, COLS);
  set_values(e, &s);
  set_at(e, &s, image);
  set_index(e, p->w.channel, i64_of(e, 0));
  const Walk *down = &p->src.down, *across = &p->src.across;
  Val off = i64_of(e, down->origin * down->pitch + across->origin),
      start = source_start(c, &p->src);
  Val data = LLVMBuildGEP2(e->b, c->type, start, &off, 1, "");
  Val weights = con_at(c, p->weights, mul(e, flat_batch(c), i64_of(e, p->n * p->k)));
  Loop t = loop_begin(e, sub(e, part->to, part->from));
  Loop i = loop_begin(e, i64_of(e, p->parts));
  visit_tile(p, image, add(e, part->from, t.i), i.i, weights, data);
  loop_end(e, &i);
  loop_end(e, &t);
}

static bool emit_flat(Flat *p) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Loop l[K_MAX_LOOPS];
  if (!pack_function(c, ROWS, &p->pack) || !make_masks(p) || !make_tiles(p)) return false;
  find_weights(p);
  Set s = images(c, COLS);
  Part part = emit_part(e, c->at, i64_of(e, p->tiles));
  open_batch(c, l);
  set_values(e, &s);
  Loop image = loop_begin(e, s.total);
  visit_image(p, &part, image.i);
  loop_end(e, &image);
  close_batch(c, l);
  return true;
}

bool flat_contract(Con *c) {
  const Con was = *c;
  Flat p = {.apart = 0};
  if (find_flat(&p, c)) return emit_flat(&p);
  swap_sides(c);
  join_sets(c);
  if (find_flat(&p, c)) return emit_flat(&p);
  *c = was;
  return false;
}
