/* contract_plane.c -- convolutions by a constant weight.
 *
 * The weight, packed once, is in the lanes: output channels.  The rows of a tile
 * are neighbours in a row of the output.  The data is copied once, with what
 * stands outside it, into planes where such neighbours read neighbours for every
 * tap, whatever the stride (of short rows a tile takes several, if its sums can go
 * to the epilogue from registers); so nothing is packed per tap, and a table of offsets
 * leads a tile through taps and channels.  Taps that are outside the data, for a
 * whole row of the output or for pixels at its ends, are left out: what they
 * would multiply is zero.  Group for group this is spatial packing (Gibson et al.,
 * Optimizing Grouped Convolutions on Edge Devices, ASAP 2020).               */
#include "codegen/llvm/contract.h"

enum {
  PLANE_BYTES = 16 << 20,
  FEWEST_IN_ROW = 6,
  DEEPEST = 1 << 14,
  FEWEST_LANES = 8,
  SHALLOW = 512,
  LEAST_CHANNELS = 8 /* for which taps are gone through one by one */
};

typedef struct {
  Nest nest;
  Window w;
  int64_t n, k, segments;
  Sub copy;
  Val offsets, weights; /* weights: packed, of all batches        */
  bool all_terms;       /* also those that multiply zero          */
  bool straight;        /* tiles go through `tile`, of several rows if they are short */
  int64_t rows;         /* of the output in a tile, or 1          */
  Sub tile[2][2];       /* per height, or whole and last one; per panel: whole, last one */
} Plane;

/* ---- is it one? ------------------------------------------------------------------------ */
static bool first_reduced(const Con *c, uint32_t var) {
  for (int i = 0; i < c->red.n; i++)
    if (known_or(c->red.axis[i].n, 0) != 1) return c->red.axis[i].var == var;
  return false;
}

/* A few output channels take shorter vectors. */
static unsigned lanes_for(const Con *c, int64_t n) {
  unsigned lanes = c->lanes;
  while (lanes > FEWEST_LANES && n <= lanes / 2) lanes /= 2;
  return lanes;
}

static bool find_plane(Plane *p, Con *c, int data, uint32_t *buf) {
  Window *w = &p->w;
  if (!constant_buffer(c, !data, buf) || !dtype_is_float(c->t)) return false;
  if (!val_known(c->side[!data].total, &p->n) || !val_known(c->red.total, &p->k)) return false;
  unsigned lanes = lanes_for(c, p->n);
  if (p->n * 4 < (int64_t)lanes * 3 || p->k > DEEPEST) return false;
  if (!read_window(c, data, true, w)) return false;
  int64_t plane = w->channels * w->phases * w->rows * w->pitch;
  if (plane * c->bytes > PLANE_BYTES) return false;
  c->lanes = lanes;
  return true;
}

/* ---- the planes -------------------------------------------------------------------------- */
static bool copy_function(Plane *p) {
  Con in;
  const Con *c = p->w.c;
  LLVMTypeRef more[2] = {ptr_type(c->e), int_type(c->e, 64)};
  if (!sub_begin(c, &in, &p->copy, "planes", more, 2)) return false;
  Window w = p->w;
  Set s = images(&in, ROWS);
  w.c = &in;
  w.plane = sub_arg(&p->copy, 0);
  for (int i = 0; i < in.red.n; i++) set_var(in.e, in.red.axis[i].var, i64_of(in.e, 0));
  set_at(in.e, &s, sub_arg(&p->copy, 1));
  copy_planes(&w);
  sub_end(c, &in, &p->copy);
  return true;
}

/* For each depth, in the order of the reduced axes: where its tap is, for output 0. */
static void fill_offsets(const Plane *p) {
  const Con *c = p->w.c;
  const Window *w = &p->w;
  Emit *e = c->e;
  Loop l[K_MAX_LOOPS];
  Val flat = i64_of(e, 0), zero = flat, step = i64_of(e, w->across.step);
  for (int i = 0; i < c->red.n; i++) {
    l[i] = loop_begin(e, c->red.axis[i].n);
    set_var(e, c->red.axis[i].var, l[i].i);
    flat = add(e, mul(e, flat, c->red.axis[i].n), l[i].i);
  }
  Val ch = w->channel == KE_NONE ? zero : e->var[w->channel];
  Val down = w->down.tap == KE_NONE ? zero : e->var[w->down.tap];
  Val across = w->across.tap == KE_NONE ? zero : e->var[w->across.tap];
  across = mul(e, across, i64_of(e, w->across.apart));
  Val phase = LLVMBuildURem(e->b, across, step, ""), shift = LLVMBuildUDiv(e->b, across, step, "");
  Val at = add(e, mul(e, ch, i64_of(e, w->phases)), phase);
  at = add(e, mul(e, at, i64_of(e, w->rows)), mul(e, down, i64_of(e, w->down.apart)));
  at = add(e, mul(e, at, i64_of(e, w->pitch)), shift);
  Val to = LLVMBuildGEP2(e->b, int_type(e, 32), p->offsets, &flat, 1, "");
  LLVMBuildStore(e->b, LLVMBuildTrunc(e->b, at, int_type(e, 32), ""), to);
  for (int i = c->red.n; i-- > 0;) loop_end(e, &l[i]);
}

/* ---- taps outside the data ------------------------------------------------------------------ */
/* The load with zeros outside that the data is, or NULL. */
static const KNode *padded_load(const Con *c) {
  const KNode *n = &c->e->k->node[c->factor[ROWS]], *other;
  while (n->kind == KN_Cast) n = &c->e->k->node[n->a];
  if (n->kind != KN_LoadOr) return NULL;
  other = &c->e->k->node[n->c];
  return other->kind == KN_Const && other->bits == 0 ? n : NULL;
}

/* Where taps of a direction find zeros outside the data that may be left out. */
static bool walk_outside(const Plane *p, const Way *d, Walk *r) {
  const KNode *n = padded_load(p->w.c);
  return !p->all_terms && n && d->tap != KE_NONE && d->out != KE_NONE &&
         find_walk(p->w.c, n, d, r) && r->per_out && r->per_tap;
}

/* The depths [from, to) that output row `row` needs. */
static void needed_depth(const Plane *p, Val row, Val *from, Val *to) {
  Emit *e = p->w.c->e;
  const Way *d = &p->w.down;
  Walk walk;
  *from = i64_of(e, 0);
  *to = i64_of(e, p->k);
  if (!first_reduced(p->w.c, d->tap) || !walk_outside(p, d, &walk)) return;
  Val first = add(e, mul(e, row, i64_of(e, walk.per_out)), i64_of(e, walk.origin));
  Val above = *from, below = *from;
  for (int64_t t = 0; t < d->taps; t++) {
    Val at = add(e, first, i64_of(e, walk.per_tap * t));
    Val out = less(e, at, i64_of(e, 0));
    above = add(e, above, LLVMBuildZExt(e->b, out, int_type(e, 64), ""));
    out = at_least(e, at, i64_of(e, walk.extent));
    below = add(e, below, LLVMBuildZExt(e->b, out, int_type(e, 64), ""));
  }
  Val per_tap = i64_of(e, p->k / d->taps);
  *from = mul(e, above, per_tap);
  *to = mul(e, sub(e, i64_of(e, d->taps), below), per_tap);
}

/* The outputs of [start, start + height) of a row that each tap finds inside the data, if not all
 * taps find all. */
static bool find_edge(const Plane *p, int64_t start, int height, Edge *g) {
  const Way *d = &p->w.across;
  Walk walk;
  bool all = true;
  *g = (Edge){.taps = (int)d->taps, .each = p->w.channels};
  if (d->taps > MAX_EDGE || p->w.channels < LEAST_CHANNELS) return false;
  if (!taps_in_rows(&p->w) || !walk_outside(p, d, &walk)) return false;
  for (int t = 0; t < g->taps; t++)
    for (int i = 0; i < height; i++) {
      bool inside = walk_inside(&walk, start + i, t);
      g->rows[t] |= (uint32_t)inside << i;
      all &= inside;
    }
  return !all;
}

/* ---- tiles ------------------------------------------------------------------------------- */
static Val segment_start(const Plane *p, Val s) {
  Emit *e = p->w.c->e;
  return LLVMBuildUDiv(e->b, mul(e, s, i64_of(e, p->w.across.n)), i64_of(e, p->segments), "");
}

/* The heights that tiles have: the i-th; 0: there is none. */
static int64_t tile_height(const Plane *p, int i) {
  int64_t n = p->w.across.n, low = n / p->segments;
  if (p->rows == 1) return i == 0 ? low : n % p->segments ? low + 1 : 0;
  return i == 0 ? n * p->rows : n * (p->w.down.n % p->rows);
}

/* The tile for outputs [start, start + height) of a row; start < 0: of no matter which. */
static Val tile_of_row(const Plane *p, int64_t start, int64_t height, Val columns) {
  Edge edge;
  Tall f = {.height = (int)height, .sets = 1, .pitch = APART};
  if (start >= 0 && find_edge(p, start, f.height, &edge)) f.edge = &edge;
  return tile_for(p->w.c, &f, p->n, columns);
}

/* Of segment s of a row: the first and the last may have taps outside the data. */
static Val choose_tile(const Plane *p, Val s, Val height, Val columns) {
  Emit *e = p->w.c->e;
  int64_t n = p->w.across.n, low = n / p->segments, high = ceil_div(n, p->segments);
  Val first = tile_of_row(p, 0, low, columns), last = tile_of_row(p, n - high, high, columns), fn;
  if (p->segments == 1) return first;
  Val is = equal(e, height, i64_of(e, low));
  fn = choose(e, is, tile_of_row(p, -1, low, columns), tile_of_row(p, -1, high, columns));
  is = equal(e, s, i64_of(e, p->segments - 1));
  fn = choose(e, is, last, fn);
  is = equal(e, s, i64_of(e, 0));
  return choose(e, is, first, fn);
}

/* The depths that rows [row, row + n) of the output need, and where those begin. */
typedef struct {
  Val table, b, depth;
} Needed;
static Needed needed(const Plane *p, Val row, Val n, Val panel) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Val from, to, other, last = sub(e, add(e, row, n), i64_of(e, 1));
  needed_depth(p, row, &from, &to);
  if (p->rows > 1) needed_depth(p, last, &from, &other);
  Val empty = at_least(e, from, to);
  Needed d = {.depth = choose(e, empty, i64_of(e, 0), sub(e, to, from))};
  from = choose(e, empty, i64_of(e, 0), from);
  d.table = LLVMBuildGEP2(e->b, int_type(e, 32), p->offsets, &from, 1, "");
  d.b = con_at(c, panel, mul(e, from, i64_of(e, 2 * (int)c->lanes)));
  return d;
}

/* The function for a tile of this height, and these columns. */
static Sub straight_tile(const Plane *p, Val height, Val cols) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  int64_t wide = 2 * (int64_t)c->lanes, low = tile_height(p, 0);
  int last = p->n < wide;
  Sub f = p->tile[0][last];
  Val is_low = equal(e, height, i64_of(e, low));
  Val is_whole = equal(e, cols, i64_of(e, wide));
  Val fn[2];
  for (int i = 0; i < 2; i++) {
    Val whole = p->tile[i][0].fn, rest = p->tile[i][1].fn;
    fn[i] = whole && rest ? choose(e, is_whole, whole, rest) : whole ? whole : rest;
  }
  f.fn = fn[1] ? choose(e, is_low, fn[0], fn[1]) : fn[0];
  return f;
}

/* One tile, in segment s of its rows: outputs [first, first + height), the data of the first at
 * base. */
static void visit_tile(const Plane *p, const Needed *d, Val s, Val first, Val base, Val height,
                       Val col, Val cols) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Val width = i64_of(e, 2 * (int)c->lanes);
  if (p->straight) {
    Val more[7] = {d->table, d->b, d->depth, width, first, col, base};
    Sub f = straight_tile(p, height, cols);
    return_failure(e, sub_call(c, &f, more, 7));
    return;
  }
  Val yes = LLVMConstInt(int_type(e, 1), 1, 0), none = i64_of(e, 0);
  Val arg[TILE_ARGS] = {d->table, d->b, p->nest.sum, d->depth, width, yes, base, none};
  LLVMBuildCall2(e->b, tile_type(e), choose_tile(p, s, height, cols), arg, TILE_ARGS, "");
  Val more[6] = {p->nest.sum, first, height, col, cols, p->nest.room};
  return_failure(e, sub_call(c, &p->nest.out, more, 6));
}

/* n rows of the output (1, or those of a tile), one panel of channels. */
static void visit_rows(const Plane *p, Val image, Val row, Val n, Val panel, Val col, Val cols) {
  const Con *c = p->w.c;
  const Window *w = &p->w;
  Emit *e = c->e;
  Needed d = needed(p, row, n, panel);
  Val line = mul(e, row, i64_of(e, w->down.step * w->pitch));
  Val first = mul(e, add(e, mul(e, image, i64_of(e, w->down.n)), row), i64_of(e, w->across.n));
  if (p->rows > 1) {
    Val height = mul(e, n, i64_of(e, w->across.n));
    visit_tile(p, &d, i64_of(e, 0), first, con_at(c, p->nest.rows, line), height, col, cols);
    return;
  }
  Loop s = loop_begin(e, i64_of(e, p->segments));
  Val start = segment_start(p, s.i);
  Val height = sub(e, segment_start(p, add(e, s.i, i64_of(e, 1))), start);
  Val base = con_at(c, p->nest.rows, add(e, line, start));
  visit_tile(p, &d, s.i, add(e, first, start), base, height, col, cols);
  loop_end(e, &s);
}

static void visit_image(const Plane *p, Val image) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Val width = i64_of(e, 2 * (int)c->lanes), arg[2] = {p->nest.rows, image};
  (void)sub_call(c, &p->copy, arg, 2);
  Val weights = con_at(c, p->weights, mul(e, flat_batch(c), side_elements(&p->nest, COLS)));
  Loop j = loop_begin(e, p->nest.panels);
  Val col = mul(e, j.i, width), cols = i64_min(e, sub(e, p->nest.n, col), width);
  Val panel = con_at(c, weights, mul(e, col, p->nest.k));
  Val each = i64_of(e, p->rows), end = i64_of(e, p->w.down.n);
  Loop r = loop_begin(e, sub(e, p->nest.part.to, p->nest.part.from));
  Val row = mul(e, add(e, p->nest.part.from, r.i), each), n = i64_min(e, sub(e, end, row), each);
  visit_rows(p, image, row, n, panel, col, cols);
  loop_end(e, &r);
  loop_end(e, &j);
}

/* ---- the whole --------------------------------------------------------------------------- */
static int64_t padded(int64_t bytes) { return (bytes + 63) & ~(int64_t)63; }

/* Scratch: the planes, a tile, a turned tile, offsets, and the weight if it is not packed. */
static void take_parts(Plane *p) {
  const Con *c = p->w.c;
  const Window *w = &p->w;
  Emit *e = c->e;
  int64_t lanes = c->lanes, tile = (ROWS_MAX + lanes - 1) / lanes * lanes * 2 * lanes * c->bytes;
  int64_t size[4] = {padded(w->channels * w->phases * w->rows * w->pitch * c->bytes), tile, tile,
                     padded(p->k * 4)};
  Val *part[4] = {&p->nest.rows, &p->nest.sum, &p->nest.room, &p->offsets};
  Val weights = mul(e, mul(e, c->batch.total, side_elements(&p->nest, COLS)), i64_of(e, c->bytes));
  Val found = LLVMBuildIsNotNull(e->b, p->nest.packed[COLS], "");
  weights = choose(e, found, i64_of(e, 0), weights);
  Val at = take_scratch_bytes(c, add(e, weights, i64_of(e, size[0] + size[1] + size[2] + size[3])));
  for (int i = 0; i < 4; i++) {
    *part[i] = at;
    at = bytes_on(e, at, i64_of(e, size[i]));
  }
  p->weights = choose(e, found, p->nest.packed[COLS], at);
  Block pack = new_block(e, "pack"), done = new_block(e, "");
  LLVMBuildCondBr(e->b, found, done, pack);
  LLVMPositionBuilderAtEnd(e->b, pack);
  pack_all(&p->nest, COLS, at);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, done);
}

/* With certain extents: would this be done without knowing the symbols?  If not, then in tiles,
 * which leave no term out. */
static bool plane_in_general(const Con *c) {
  Emit *e = c->e;
  const Set *s = &c->side[ROWS];
  const KNode *n = padded_load(c);
  if (set_symbols(e, &c->side[COLS], 0, c->side[COLS].n) || set_symbols(e, &c->red, 0, c->red.n))
    return false;
  if (!n || set_symbols(e, s, s->n > 2 ? s->n - 2 : 0, s->n)) return false;
  for (int i = 1; i < e->k->buf[n->a].rank; i++)
    if (uses_symbols(e, e->k->buf[n->a].dim[i])) return false;
  return true;
}

static bool straight_tiles(Plane *p) {
  const Window *w = &p->w;
  const Con *c = w->c;
  int wide = 2 * (int)c->lanes;
  for (int i = 0; i < 2; i++) {
    Tall t = {.height = (int)tile_height(p, i), .columns = wide, .sets = 1, .pitch = APART};
    if (t.height == 0) continue;
    if (p->rows > 1) t.period = w->across.n, t.jump = w->down.step * w->pitch;
    if (p->n >= wide && !straight_function(c, &t, &p->tile[i][0])) return false;
    t.columns = (int)(p->n % wide);
    if (t.columns && !straight_function(c, &t, &p->tile[i][1])) return false;
  }
  return true;
}

static bool emit_plane(Plane *p, uint32_t buf) {
  Con *c = p->w.c;
  Emit *e = c->e;
  Loop l[K_MAX_LOOPS];
  Set s = images(c, ROWS);
  Nest *t = &p->nest;
  int64_t lanes = c->lanes;
  *t = (Nest){.c = c, .m = c->side[ROWS].total, .n = c->side[COLS].total, .k = c->red.total};
  t->panels = i64_of(e, (p->n + 2 * lanes - 1) / (2 * lanes));
  p->segments = (p->w.across.n + c->rows_max - 1) / c->rows_max;
  p->all_terms = e->fixed && !plane_in_general(c);
  if (!pack_function(c, COLS, &t->pack[COLS]) || !copy_function(p)) return false;
  if (p->straight ? !straight_tiles(p) : !out_function(c, &t->out)) return false;
  t->packed[COLS] = packed_side(t, COLS, buf);
  take_parts(p);
  fill_offsets(p);
  t->part = emit_part(e, c->at, i64_of(e, ceil_div(p->w.down.n, p->rows)));
  open_batch(c, l);
  set_values(e, &s);
  Loop image = loop_begin(e, s.total);
  visit_image(p, image.i);
  loop_end(e, &image);
  close_batch(c, l);
  return true;
}

/* Short rows are only worth it together, which only tiles whose sums stay in registers can be. */
static bool choose_rows(Plane *p) {
  Con *c = p->w.c;
  int64_t n = p->w.across.n;
  (void)choose_epilogue(c);
  p->straight = p->k <= SHALLOW && straight_epilogue(c);
  p->rows = p->straight && 2 * n <= c->rows_max ? c->rows_max / n : 1;
  if (p->rows > p->w.down.n) p->rows = p->w.down.n;
  return n * p->rows >= FEWEST_IN_ROW;
}

bool plane_contract(Con *c) {
  Plane p = {.rows = 1};
  const Con was = *c;
  uint32_t buf;
  if (!find_plane(&p, c, ROWS, &buf)) {
    if (!find_plane(&p, c, COLS, &buf)) return false;
    swap_sides(c);
    join_sets(c);
    p.w.data = ROWS;
  }
  if (choose_rows(&p)) return emit_plane(&p, buf);
  *c = was;
  return false;
}
