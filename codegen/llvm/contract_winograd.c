/* contract_winograd.c -- 3x3 convolutions of stride 1 by Winograd's minimal filtering.
 *
 * The output is cut into tiles of m by m, each of which needs alpha = m + 2 by
 * alpha of the data.  Transformed tiles are multiplied element by element,
 * which over all channels and tiles is alpha * alpha products of matrices:
 * (tiles, channels) by (channels, output channels).  That is 2.25 (m = 2) or 4
 * (m = 4) times fewer multiplications, and more rounding: only with fast_math.
 *
 * A block of tile rows at a time: lanes are channels while the data is
 * transformed and output channels in the product and its result, so that only
 * squares are turned over, once on the way in and once in the epilogue.
 * What the data would have outside a tile's part of the output is zero.      */
#include "codegen/llvm/contract.h"

enum {
  PIXELS = 16,         /* of an output row that go to the epilogue at once  */
  MOST_DATA = 8 << 20, /* bytes of transformed data at a time               */
  PER_VALUE = 6,       /* cycles to transform one vector of data or result  */
  PER_CYCLE = 4        /* bytes that memory gives; a cache four times that */
};

typedef struct {
  Window w;
  int64_t m, alpha, n, channels; /* n: output channels                        */
  int64_t down, across;          /* tiles each way                           */
  int64_t rows, tiles;           /* of a block: rows of tiles, tiles          */
  int64_t pitch, width, line;    /* of a tile's channels; of a panel; of a row of data */
  int64_t data_step, sum_step;   /* from one of the alpha * alpha matrices to the next */
  Sub in, out;
  Val data, strip, sum, pixels, room, weights; /* scratch; weights: the kept form */
} Winograd;

/* ---- is it one, and does it pay? ------------------------------------------------------- */
static int64_t weight_elements(const Winograd *p) {
  int64_t panels = ceil_div(p->n, p->width);
  return panels * p->alpha * p->alpha * p->channels * p->width;
}

/* Cycles of one image and group: products, transforms, weights from beyond the cache. */
static double cycles(const Winograd *p) {
  double lanes = p->w.c->lanes, tiles = (double)(p->down * p->across);
  double area = (double)(p->alpha * p->alpha), c = (double)p->channels, n = (double)p->n;
  double ways = ceil_div(p->channels, (int64_t)lanes) + 2.0 * (double)ceil_div(p->n, p->width);
  double products = 1.1 * tiles * area * c * n / lanes, moves = PER_VALUE * tiles * area * ways;
  double bytes = 4 * (double)weight_elements(p);
  bool near = bytes * (double)known_or(p->w.c->batch.total, 1) <= (double)third_part(p->w.c);
  double reading = bytes / (near ? 4 * PER_CYCLE : PER_CYCLE);
  return moves + (reading > products ? reading : products);
}

static double direct_cycles(const Winograd *p) {
  double out = (double)(p->w.down.n * p->w.across.n);
  return out * 9 * (double)p->channels * (double)p->n / p->w.c->lanes;
}

/* As many rows of tiles in a block as divide them all and fit. */
static bool measure(Winograd *p, int64_t m) {
  const Con *c = p->w.c;
  p->m = m;
  p->alpha = m + 2;
  p->down = ceil_div(p->w.down.n, m);
  p->across = ceil_div(p->w.across.n, m);
  p->width = 2 * (int64_t)c->lanes;
  p->pitch = ceil_div(p->channels, c->lanes) * c->lanes + c->lanes; /* no power of 2 */
  p->line = p->across * m + 2;
  int64_t area = p->alpha * p->alpha, most = weight_elements(p) * c->bytes;
  int64_t least = c->e->cpu.cache.second / 2, room = 2 * third_part(c);
  if (room > MOST_DATA) room = MOST_DATA;
  if (most > room) most = room;
  if (most < least) most = least;
  for (p->rows = p->down; p->rows > 1; p->rows--)
    if (p->down % p->rows == 0 && area * p->rows * p->across * p->pitch * c->bytes <= most) break;
  p->tiles = p->rows * p->across;
  p->data_step = p->tiles * p->pitch + c->lanes;
  p->sum_step = (p->tiles | 1) * p->width;
  return area * p->data_step * c->bytes <= 2 * MOST_DATA;
}

static bool find(Winograd *p, Con *c, int data, uint32_t *buf) {
  Window *w = &p->w;
  Winograd other;
  if (!constant_buffer(c, !data, buf) || c->t != DT_f32 || c->lanes < 4) return false;
  if (!val_known(c->side[!data].total, &p->n) || !read_window(c, data, true, w)) return false;
  if (w->down.taps != 3 || w->across.taps != 3 || w->down.step != 1 || w->across.step != 1)
    return false;
  if (w->down.apart != 1 || w->across.apart != 1 || w->down.out == KE_NONE) return false;
  p->channels = w->channels;
  other = *p;
  bool two = measure(p, 2), four = measure(&other, 4);
  if (four && (!two || cycles(&other) < cycles(p))) *p = other;
  return (two || four) && cycles(p) < 0.9 * direct_cycles(p);
}

/* ---- weights ---------------------------------------------------------------------------- */
/* Column j of a panel, one channel: a filter in, alpha * alpha elements out. */
static void put_filter(const Winograd *p, Val to, Val column) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  LLVMTypeRef wide = LLVMDoubleTypeInContext(e->c);
  Val tap[9], y[MAX_ALPHA * MAX_ALPHA];
  set_at(e, &c->side[COLS], column);
  for (int i = 0; i < 9; i++) {
    set_var(e, p->w.down.tap, i64_of(e, i / 3));
    set_var(e, p->w.across.tap, i64_of(e, i % 3));
    Val x = emit_expr(e, c->factor[COLS]);
    x = emit_cast(e, x, (DType)e->k->node[c->factor[COLS]].dtype, c->t);
    tap[i] = LLVMBuildFPExt(e->b, x, wide, "");
  }
  emit_transform(e, (int)p->m, TRANSFORM_WEIGHT, tap, y);
  for (int64_t i = 0; i < p->alpha * p->alpha; i++) {
    Val at = con_at(c, to, i64_of(e, i * p->channels * p->width));
    LLVMBuildStore(e->b, LLVMBuildFPTrunc(e->b, y[i], c->type, ""), at);
  }
}

/* (batch, panel, alpha * alpha, channel, column) */
static void fill_weights(const void *ctx, Val to) {
  const Winograd *p = ctx;
  const Con *c = p->w.c;
  Emit *e = c->e;
  Loop l[K_MAX_LOOPS];
  Val all = i64_of(e, weight_elements(p)), width = i64_of(e, p->width);
  Val bytes = mul(e, mul(e, c->batch.total, all), i64_of(e, c->bytes));
  LLVMBuildMemSet(e->b, to, LLVMConstInt(int_type(e, 8), 0, 0), bytes, 64);
  for (int i = 0; i < c->red.n; i++) set_var(e, c->red.axis[i].var, i64_of(e, 0));
  open_batch(c, l);
  Val base = con_at(c, to, mul(e, flat_batch(c), all));
  Loop j = loop_begin(e, c->side[COLS].total);
  Val panel = LLVMBuildUDiv(e->b, j.i, width, ""), lane = LLVMBuildURem(e->b, j.i, width, "");
  Val step = i64_of(e, p->alpha * p->alpha * p->channels * p->width);
  Val column = con_at(c, base, add(e, mul(e, panel, step), lane));
  Loop ch = loop_begin(e, i64_of(e, p->channels));
  set_index(e, p->w.channel, ch.i);
  put_filter(p, con_at(c, column, mul(e, ch.i, width)), j.i);
  loop_end(e, &ch);
  loop_end(e, &j);
  close_batch(c, l);
}

/* ---- data -------------------------------------------------------------------------------- */
static Val vector_at(const Con *c, Val at) {
  return load_lanes(c->e, c->type, c->lanes, at, NULL, (unsigned)c->bytes);
}

/* One channel, one vector of columns from x, where it is inside the reach; zeros elsewhere. */
static Val columns_at(const Winograd *p, Val row, Val x) {
  const Con *c = p->w.c;
  const Window *w = &p->w;
  Emit *e = c->e;
  KE f = c->factor[ROWS];
  Val inside = less(e, row, i64_of(e, way_reach(&w->down)));
  Val mask = lanes_below(e, c->lanes, sub(e, i64_of(e, way_reach(&w->across)), x));
  mask = LLVMBuildAnd(e->b, mask, splat(e, inside, c->lanes), "");
  set_var(e, w->down.out, row);
  set_var(e, w->down.tap, i64_of(e, 0));
  set_var(e, w->across.out, x);
  set_var(e, w->across.tap, i64_of(e, 0));
  Lanes l = {e, c->lanes, w->across.out, mask};
  Val v = emit_cast(e, lanes_expr(&l, f), (DType)e->k->node[f].dtype, c->t);
  return choose(e, mask, v, LLVMConstNull(LLVMTypeOf(v)));
}

/* The strip (alpha rows, line, lanes) of channels [first, first + lanes) above row `top`. */
static void turn_strip(const Winograd *p, Val strip, Val top, Val first) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Val lanes = i64_of(e, c->lanes),
      square = new_slot(e, LLVMArrayType2(c->type, c->lanes * c->lanes));
  LLVMSetAlignment(square, 64);
  if (p->channels % c->lanes)
    LLVMBuildMemSet(e->b, square, LLVMConstInt(int_type(e, 8), 0, 0),
                    i64_of(e, c->lanes * c->lanes * (unsigned)c->bytes), 64);
  Loop r = loop_begin(e, i64_of(e, p->alpha));
  Loop x = loop_begin_step(e, i64_of(e, p->line), c->lanes);
  Loop i = loop_begin(e, i64_min(e, sub(e, i64_of(e, p->channels), first), lanes));
  set_index(e, p->w.channel, add(e, first, i.i));
  store_lanes(e, columns_at(p, add(e, top, r.i), x.i), con_at(c, square, mul(e, i.i, lanes)), NULL,
              (unsigned)c->bytes);
  loop_end(e, &i);
  Val to = add(e, mul(e, r.i, i64_of(e, p->line)), x.i);
  Val left = i64_min(e, sub(e, i64_of(e, p->line), x.i), lanes);
  Val arg[6] = {square, lanes, con_at(c, strip, mul(e, to, lanes)), lanes, left, lanes};
  LLVMBuildCall2(e->b, turn_type(e), turn_function(c), arg, 6, "");
  loop_end(e, &x);
  loop_end(e, &r);
}

/* One tile of lanes channels, at `from` in the strip. */
static void transform_tile(const Winograd *p, Val from, Val to) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Val x[MAX_ALPHA * MAX_ALPHA], y[MAX_ALPHA * MAX_ALPHA];
  for (int64_t i = 0; i < p->alpha * p->alpha; i++) {
    int64_t at = (i / p->alpha * p->line + i % p->alpha) * c->lanes;
    x[i] = vector_at(c, con_at(c, from, i64_of(e, at)));
  }
  emit_transform(e, (int)p->m, TRANSFORM_DATA, x, y);
  for (int64_t i = 0; i < p->alpha * p->alpha; i++)
    store_lanes(e, y[i], con_at(c, to, i64_of(e, i * p->data_step)), NULL, (unsigned)c->bytes);
}

/* A row of tiles, all channels: arguments data (of its first tile), strip, image, row of tiles. */
static bool in_function(Winograd *p) {
  Con in;
  const Con *c = p->w.c;
  LLVMTypeRef i64 = int_type(c->e, 64), ptr = ptr_type(c->e), more[4] = {ptr, ptr, i64, i64};
  if (!sub_begin(c, &in, &p->in, "winograd.data", more, 4)) return false;
  Emit *e = in.e;
  Winograd own = *p;
  Set s = images(&in, ROWS);
  own.w.c = &in;
  Val to = sub_arg(&p->in, 0), strip = sub_arg(&p->in, 1), lanes = i64_of(e, c->lanes);
  for (int i = 0; i < in.red.n; i++) set_var(e, in.red.axis[i].var, i64_of(e, 0));
  set_at(e, &s, sub_arg(&p->in, 2));
  Loop ch = loop_begin_step(e, i64_of(e, p->channels), c->lanes);
  turn_strip(&own, strip, mul(e, sub_arg(&p->in, 3), i64_of(e, p->m)), ch.i);
  Loop t = loop_begin(e, i64_of(e, p->across));
  Val from = con_at(&in, strip, mul(e, mul(e, t.i, i64_of(e, p->m)), lanes));
  transform_tile(&own, from, con_at(&in, to, add(e, mul(e, t.i, i64_of(e, p->pitch)), ch.i)));
  loop_end(e, &t);
  loop_end(e, &ch);
  sub_end(c, &in, &p->in);
  return true;
}

/* ---- products ------------------------------------------------------------------------------ */
/* One of the alpha * alpha products: all tiles of a block by one panel. */
static void product(const Winograd *p, Val data, Val weights, Val sum, Val cols) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  int64_t n = ceil_div(p->tiles, c->rows_max), low = p->tiles / n;
  Loop i = loop_begin(e, i64_of(e, n));
  Val tiles = i64_of(e, p->tiles), by = i64_of(e, n);
  Val first = LLVMBuildUDiv(e->b, mul(e, i.i, tiles), by, "");
  Val next = LLVMBuildUDiv(e->b, mul(e, add(e, i.i, i64_of(e, 1)), tiles), by, "");
  Tall f = {.height = (int)low, .sets = 1, .pitch = p->pitch};
  Val fn = tile_for(c, &f, p->n, cols);
  if (p->tiles % n) {
    Val is = equal(e, sub(e, next, first), i64_of(e, low));
    f.height++;
    Val more = tile_for(c, &f, p->n, cols);
    fn = choose(e, is, fn, more);
  }
  Val a = con_at(c, data, mul(e, first, i64_of(e, p->pitch)));
  Val to = con_at(c, sum, mul(e, first, i64_of(e, p->width)));
  Val arg[TILE_ARGS] = {a,
                        weights,
                        to,
                        i64_of(e, p->channels),
                        i64_of(e, p->width),
                        LLVMConstInt(int_type(e, 1), 1, 0),
                        a,
                        i64_of(e, 0)};
  LLVMBuildCall2(e->b, tile_type(e), fn, arg, TILE_ARGS, "");
  loop_end(e, &i);
}

/* ---- the result ------------------------------------------------------------------------------ */
/* One vector of output channels of one tile, to m rows of PIXELS pixels. */
static void result_tile(const Winograd *p, Val from, Val to) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Val x[MAX_ALPHA * MAX_ALPHA], y[MAX_ALPHA * MAX_ALPHA];
  for (int64_t i = 0; i < p->alpha * p->alpha; i++)
    x[i] = vector_at(c, con_at(c, from, i64_of(e, i * p->sum_step)));
  emit_transform(e, (int)p->m, TRANSFORM_RESULT, x, y);
  for (int64_t i = 0; i < p->m * p->m; i++) {
    int64_t at = (i / p->m * PIXELS + i % p->m) * p->width;
    store_lanes(e, y[i], con_at(c, to, i64_of(e, at)), NULL, (unsigned)c->bytes);
  }
}

/* The pixels from column x on, `count` of them, to the epilogue, a row at a time. */
static void put_pixels(const Winograd *p, const Sub *out, Val pixels, Val image, Val top, Val x,
                       const Val *col) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Val down = i64_of(e, p->w.down.n), across = i64_of(e, p->w.across.n);
  Loop r = loop_begin(e, i64_min(e, sub(e, down, top), i64_of(e, p->m)));
  Val first = mul(e, add(e, mul(e, image, down), add(e, top, r.i)), across);
  Val count = i64_min(e, sub(e, across, x), i64_of(e, PIXELS));
  Val from = con_at(c, pixels, mul(e, r.i, i64_of(e, PIXELS * p->width)));
  Val more[6] = {from, add(e, first, x), count, col[0], col[1], col[2]};
  return_failure(e, sub_call(c, out, more, 6));
  loop_end(e, &r);
}

/* A row of tiles of a panel: arguments sums (of its first tile), pixels, image, row of tiles,
 * first column, columns, room. */
static bool out_row_function(Winograd *p, const Sub *out, Sub *s) {
  Con in;
  const Con *c = p->w.c;
  LLVMTypeRef i64 = int_type(c->e, 64), ptr = ptr_type(c->e);
  LLVMTypeRef more[7] = {ptr, ptr, i64, i64, i64, i64, ptr};
  if (!sub_begin(c, &in, s, "winograd.result", more, 7)) return false;
  Emit *e = in.e;
  Winograd own = *p;
  own.w.c = &in;
  int64_t at_once = PIXELS / p->m;
  Val sum = sub_arg(s, 0), pixels = sub_arg(s, 1), m = i64_of(e, p->m);
  Val col[3] = {sub_arg(s, 4), sub_arg(s, 5), sub_arg(s, 6)};
  Loop t = loop_begin_step(e, i64_of(e, p->across), at_once);
  Loop i = loop_begin(e, i64_min(e, sub(e, i64_of(e, p->across), t.i), i64_of(e, at_once)));
  Loop v = loop_begin_step(e, i64_min(e, col[1], i64_of(e, p->width)), c->lanes);
  Val from = add(e, mul(e, add(e, t.i, i.i), i64_of(e, p->width)), v.i);
  Val to = add(e, mul(e, mul(e, i.i, m), i64_of(e, p->width)), v.i);
  result_tile(&own, con_at(&in, sum, from), con_at(&in, pixels, to));
  loop_end(e, &v);
  loop_end(e, &i);
  Val top = mul(e, sub_arg(s, 3), m), x = mul(e, t.i, m);
  put_pixels(&own, out, pixels, sub_arg(s, 2), top, x, col);
  loop_end(e, &t);
  sub_end(c, &in, s);
  return true;
}

/* ---- the whole ------------------------------------------------------------------------ */
static void take_parts(Winograd *p) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  int64_t area = p->alpha * p->alpha, total = 0, at[5], lanes = c->lanes;
  int64_t turned = ceil_div(PIXELS, lanes) * lanes * p->width;
  int64_t size[5] = {area * p->data_step, p->alpha * p->line * lanes, area * p->sum_step,
                     p->m * PIXELS * p->width, turned};
  Val *part[5] = {&p->data, &p->strip, &p->sum, &p->pixels, &p->room};
  for (int i = 0; i < 5; i++) {
    at[i] = total;
    total += (size[i] * c->bytes + 63) & ~INT64_C(63);
  }
  Val base = take_scratch_bytes(c, i64_of(e, total));
  for (int i = 0; i < 5; i++) *part[i] = bytes_on(e, base, i64_of(e, at[i]));
}

/* One panel of a block, whose data is transformed. */
static void visit_panel(const Winograd *p, Val weights, Val panel, Val image, Val block) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  int64_t area = p->alpha * p->alpha, deep = p->channels * p->width;
  Val col = mul(e, panel, i64_of(e, p->width));
  Val cols = i64_min(e, sub(e, i64_of(e, p->n), col), i64_of(e, p->width));
  Val from = con_at(c, weights, mul(e, panel, i64_of(e, area * deep)));
  Loop x = loop_begin(e, i64_of(e, area));
  product(p, con_at(c, p->data, mul(e, x.i, i64_of(e, p->data_step))),
          con_at(c, from, mul(e, x.i, i64_of(e, deep))),
          con_at(c, p->sum, mul(e, x.i, i64_of(e, p->sum_step))), cols);
  loop_end(e, &x);
  Loop r = loop_begin(e, i64_of(e, p->rows));
  Val sums = con_at(c, p->sum, mul(e, r.i, i64_of(e, p->across * p->width)));
  Val row = add(e, mul(e, block, i64_of(e, p->rows)), r.i);
  Val arg[7] = {sums, p->pixels, image, row, col, cols, p->room};
  return_failure(e, sub_call(c, &p->out, arg, 7));
  loop_end(e, &r);
}

static void visit_image(const Winograd *p, Val weights, const Part *part, Val image) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Loop b = loop_begin(e, i64_of(e, p->down / p->rows));
  Loop r = loop_begin(e, i64_of(e, p->rows));
  Val row = add(e, mul(e, b.i, i64_of(e, p->rows)), r.i);
  Val to = con_at(c, p->data, mul(e, r.i, i64_of(e, p->across * p->pitch)));
  Val arg[4] = {to, p->strip, image, row};
  (void)sub_call(c, &p->in, arg, 4);
  loop_end(e, &r);
  Loop j = loop_begin(e, sub(e, part->to, part->from));
  visit_panel(p, weights, add(e, part->from, j.i), image, b.i);
  loop_end(e, &j);
  loop_end(e, &b);
}

static void emit_winograd(Winograd *p) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Loop l[K_MAX_LOOPS];
  Set s = images(c, ROWS);
  take_parts(p);
  Part part = emit_part(e, c->at, i64_of(e, ceil_div(p->n, p->width)));
  open_batch(c, l);
  set_values(e, &s);
  Val off = mul(e, flat_batch(c), i64_of(e, weight_elements(p)));
  Loop image = loop_begin(e, s.total);
  visit_image(p, con_at(c, p->weights, off), &part, image.i);
  loop_end(e, &image);
  close_batch(c, l);
}

Block winograd_contract(const Con *c) {
  Con own = *c;
  Emit *e = c->e;
  Winograd p = {.weights = NULL};
  Sub out;
  uint32_t buf;
  if (!e->cpu.fast) return NULL;
  if (!find(&p, &own, ROWS, &buf)) {
    if (!find(&p, &own, COLS, &buf)) return NULL;
    swap_sides(&own);
    join_sets(&own);
    p.w.data = ROWS;
  }
  (void)choose_epilogue(&own);
  if (!out_function(&own, &out) || !in_function(&p) || !out_row_function(&p, &out, &p.out))
    return NULL;
  int64_t bytes = weight_elements(&p) * own.bytes;
  Kept f = {.key = -1 - (int64_t)own.at,
            .n = i64_of(e, p.n),
            .k = i64_of(e, p.channels),
            .bytes = mul(e, own.batch.total, i64_of(e, bytes)),
            .fill = fill_weights,
            .ctx = &p};
  p.weights = kept_form(&own, buf, &f);
  Block yes = new_block(e, "winograd"), no = new_block(e, "direct"), done = new_block(e, "");
  LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, p.weights, ""), yes, no);
  LLVMPositionBuilderAtEnd(e->b, yes);
  emit_winograd(&p);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, no);
  return done;
}
