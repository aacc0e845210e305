/* contract_nest.c -- products in general: the loops over tiles.
 *
 * For each batch, blocks of rows are packed (or found packed, when they are a
 * constant of the program; rows that lie side by side in the depth are read
 * where they are), then each panel of columns is taken through all tiles of the
 * block while it is in the cache: the product of one tile stays in registers
 * over the depth, and goes through the epilogue at once.  Only a very deep
 * product is cut along its depth; sums then wait in memory.  Panels are
 * independent of each other.                                                 */
#include "codegen/llvm/contract.h"

enum {
  SHALLOW = 512,          /* where the way from a tile to the epilogue matters */
  FEW_TILES = 2,          /* for so few, columns are never worth packing     */
  WORTH_ASKING = 1 << 17, /* elements of a constant, for a row of zeros      */
  CONFLICT = 2048,        /* bytes apart, a tile's rows are in each other's way in L1 */
  LINE = 64               /* bytes further apart, they are not               */
};

/* ---- scratch ------------------------------------------------------------------------------ */
static Val scratch_part(const Con *c, Val *total, Val elements) {
  Emit *e = c->e;
  Val at = *total;
  Val bytes = LLVMBuildAnd(e->b, add(e, at_bytes(c, elements), i64_of(e, 63)), i64_of(e, -64), "");
  *total = add(e, at, bytes);
  return at;
}

static Val is_deep(const Nest *t) {
  return greater(t->c->e, t->k, i64_of(t->c->e, block_depth(t->c)));
}

static int64_t row_room(const Con *c) {
  int64_t l = c->lanes;
  return ceil_div(ROWS_MAX, l) * l;
}

static void take_scratch(Nest *t) {
  const Con *c = t->c;
  Emit *e = c->e;
  Val none = i64_of(e, 0), one = i64_of(e, 1), total = none, at[4];
  Val width = i64_of(e, 2 * (int)c->lanes), max = i64_of(e, c->rows_max);
  Val fit = LLVMBuildUDiv(e->b, i64_of(e, block_bytes(c)), at_bytes(c, mul(e, t->k, max)), "");
  fit = i64_min(e, one_at_least(e, fit), one_at_least(e, t->tiles));
  Val ready = t->packed[ROWS] ? LLVMBuildIsNotNull(e->b, t->packed[ROWS], "") : NULL;
  bool in_place = t->pitch && !t->copied;
  if (in_place) ready = LLVMConstInt(int_type(e, 1), 1, 0);
  Val found = t->packed[COLS] ? LLVMBuildIsNotNull(e->b, t->packed[COLS], "") : NULL;
  t->per_block = ready ? choose(e, ready, t->tiles, fit) : fit;
  Val tall = mul(e, max, t->pitch ? i64_of(e, t->pitch) : t->k);
  Val rows = mul(e, fit, tall), panel = mul(e, width, t->k);
  Val one_tile = in_place && !t->exact ? add(e, tall, t->k) : none; /* rows may overlap */
  if (ready) rows = choose(e, ready, one_tile, rows);
  if (found) panel = choose(e, found, none, panel);
  Val tiles = choose(e, is_deep(t), t->per_block, one);
  Val tile = mul(e, i64_of(e, row_room(c)), width);
  at[0] = scratch_part(c, &total, rows);
  at[1] = scratch_part(c, &total, panel);
  at[2] = scratch_part(c, &total, mul(e, tiles, tile));
  at[3] = scratch_part(c, &total, tile);
  Val base = take_scratch_bytes(c, total);
  Val *part[4] = {&t->rows, &t->panel, &t->sum, &t->room};
  for (int i = 0; i < 4; i++) { *part[i] = bytes_on(e, base, at[i]); }
}

/* ---- the loops ---------------------------------------------------------------------------- */
/* How far apart rows are that lie side by side in the depth: a single known one, or those that
 * would be packed for columns that are packed too.  0: they do not lie so. */
static int64_t rows_apart(const Con *c) {
  int64_t down, pitch;
  const KNode *n = &c->e->k->node[c->factor[ROWS]];
  const Set *d = &c->depth[ROWS], *s = &c->pack[ROWS];
  int64_t rows = known_or(c->side[ROWS].total, 2);
  if (rows < 0 || n->kind != KN_Load || (DType)n->dtype != c->t || d->n != 1) return 0;
  if (!load_stride(c->e, c->factor[ROWS], d->axis[0].var, &down) || down != 1) return 0;
  if (rows == 1) return 1;
  if (s->n != 1 || !load_stride(c->e, c->factor[ROWS], s->axis[0].var, &pitch) || pitch < 1)
    return 0;
  return pitch;
}

/* Rows are read where they lie, but copied a little further apart from each other if they would be
 * in each other's way. */
static void choose_pitch(Nest *t) {
  const Con *c = t->c;
  int64_t k = known_or(c->red.total, 0);
  t->pitch = rows_apart(c);
  t->copied = t->pitch > 1 && t->pitch * c->bytes % CONFLICT == 0;
  if (!t->copied) return;
  int64_t line = LINE / c->bytes;
  t->pitch = k > 0 && k <= block_depth(c) ? ceil_div(k, line) * line + line : PACKED;
  t->copied = t->pitch != PACKED;
}

/* The address of a factor that is a load, at position `at` of its side, depth 0. */
static Val in_place(const Con *c, int side, Val at) {
  Emit *e = c->e;
  const KNode *n = &e->k->node[c->factor[side]];
  Val index[K_MAX_RANK];
  set_at(e, &c->depth[side], i64_of(e, 0));
  set_at(e, &c->pack[side], at);
  for (int i = 0; i < n->rank; i++) index[i] = emit_expr(e, e->k->pool[n->b + (uint32_t)i]);
  return emit_address(e, n->a, index);
}

/* Rows [from, to) in scratch, pitch apart. */
static void copy_rows(const Nest *t, Val from, Val to) {
  const Con *c = t->c;
  Emit *e = c->e;
  unsigned align = (unsigned)c->bytes;
  Loop i = loop_begin(e, sub(e, to, from));
  Val at = con_at(c, t->rows, mul(e, i.i, i64_of(e, t->pitch)));
  LLVMBuildMemCpy(e->b, at, align, in_place(c, ROWS, add(e, from, i.i)), align, at_bytes(c, t->k));
  loop_end(e, &i);
}

/* Where tiles [from, to) lie, or are copied to.  The last tile's height may be more rows than there
 * are: then it is read from scratch, where all of them are memory (see where_tile). */
static Val rows_not_packed(const Nest *t, Val from, Val to) {
  Emit *e = t->c->e;
  Val r0 = first_row(t, from), end = i64_min(e, first_row(t, to), t->m);
  if (t->copied) {
    copy_rows(t, r0, end);
    return t->rows;
  }
  if (!t->exact) {
    Val last = sub(e, to, i64_of(e, 1)), at = first_row(t, last), n = rows_of(t, last);
    Val full = equal(e, n, height_of(t, n));
    copy_rows(t, choose(e, full, end, at), end);
  }
  return in_place(t->c, ROWS, r0);
}

/* Two ways to a pair of values. */
typedef struct {
  Block yes, no, done;
  Val v[2][2];
  Block end[2];
} Either;
static Either either(Emit *e, Val cond) {
  Either x = {.yes = new_block(e, ""), .no = new_block(e, ""), .done = new_block(e, "")};
  LLVMBuildCondBr(e->b, cond, x.yes, x.no);
  LLVMPositionBuilderAtEnd(e->b, x.yes);
  return x;
}
static void either_is(Emit *e, Either *x, int which, Val a, Val b) {
  x->v[which][0] = a;
  x->v[which][1] = b;
  x->end[which] = LLVMGetInsertBlock(e->b);
  LLVMBuildBr(e->b, x->done);
  LLVMPositionBuilderAtEnd(e->b, which == 0 ? x->no : x->done);
}
static Val either_value(Emit *e, const Either *x, int i) {
  Val phi = LLVMBuildPhi(e->b, LLVMTypeOf(x->v[0][i]), "");
  LLVMAddIncoming(phi, (Val[]){x->v[0][i], x->v[1][i]}, (Block[]){x->end[0], x->end[1]}, 2);
  return phi;
}

/* Where tiles [from, to) lie packed, the first at the front. */
static Val block_of_rows(const Nest *t, Val from, Val to) {
  const Con *c = t->c;
  Emit *e = c->e;
  Val r0 = first_row(t, from);
  Either x;
  if (t->pitch) return rows_not_packed(t, from, to);
  if (t->packed[ROWS]) {
    x = either(e, LLVMBuildIsNotNull(e->b, t->packed[ROWS], ""));
    Val off = mul(e, flat_batch(c), side_elements(t, ROWS));
    off = add(e, off, mul(e, r0, t->k));
    either_is(e, &x, 0, con_at(c, t->packed[ROWS], off), NULL);
  }
  Loop i = loop_begin(e, sub(e, to, from));
  Val tile = add(e, from, i.i);
  nest_pack_tile(t, tile, con_at(c, t->rows, mul(e, sub(e, first_row(t, tile), r0), t->k)));
  loop_end(e, &i);
  if (!t->packed[ROWS]) return t->rows;
  either_is(e, &x, 1, t->rows, NULL);
  return either_value(e, &x, 0);
}

/* A panel that is not packed for good: where it is, if that will do, or packed now. */
static Val panel_now(const Nest *t, Val panel, Val columns, Val *stride) {
  const Con *c = t->c;
  Emit *e = c->e;
  int64_t lanes = c->lanes;
  Val width = i64_of(e, 2 * lanes);
  *stride = width;
  if (!t->stride) {
    nest_pack_panel(t, panel, t->panel);
    return t->panel;
  }
  Val fits = LLVMBuildOr(e->b, equal(e, columns, width), equal(e, columns, i64_of(e, lanes)), "");
  Val apart = LLVMBuildAnd(e->b, at_bytes(c, t->stride), i64_of(e, 1023), "");
  Val well = LLVMBuildOr(e->b, differ(e, apart, i64_of(e, 0)),
                         at_most(e, t->tiles, i64_of(e, FEW_TILES)), "");
  Either x = either(e, LLVMBuildAnd(e->b, fits, well, ""));
  either_is(e, &x, 0, in_place(c, COLS, mul(e, panel, width)), t->stride);
  nest_pack_panel(t, panel, t->panel);
  either_is(e, &x, 1, t->panel, width);
  Val at = either_value(e, &x, 0);
  *stride = either_value(e, &x, 1);
  return at;
}

/* A panel of columns that are packed for good. */
static Val kept_panel(const Nest *t, Val panel) {
  const Con *c = t->c;
  Emit *e = c->e;
  Val batch = mul(e, flat_batch(c), side_elements(t, COLS));
  Val elements = mul(e, i64_of(e, 2 * (int)c->lanes), t->k);
  return con_at(c, t->packed[COLS], add(e, batch, mul(e, panel, elements)));
}

static Val panel_of(const Nest *t, Val panel, Val columns, Val *stride) {
  const Con *c = t->c;
  Emit *e = c->e;
  if (!t->packed[COLS]) return panel_now(t, panel, columns, stride);
  Val width = i64_of(e, 2 * (int)c->lanes), now;
  Either x = either(e, LLVMBuildIsNotNull(e->b, t->packed[COLS], ""));
  either_is(e, &x, 0, kept_panel(t, panel), width);
  Val at = panel_now(t, panel, columns, &now);
  either_is(e, &x, 1, at, now);
  at = either_value(e, &x, 0);
  *stride = either_value(e, &x, 1);
  return at;
}

/* All tiles of a block times one panel, [k, k + kk) of the depth. */
typedef struct {
  Val from, to, rows, col, cols, b, stride, k;
  Val next; /* the panel to bring into the cache meanwhile */
} Visit;
/* The function of the tile's height. */
static Sub of_height(const Nest *t, const Sub *f, Val height) {
  Emit *e = t->c->e;
  Sub one = f[0];
  if (t->n_heights == 1) return one;
  Val is = equal(e, height, i64_of(e, t->heights[0]));
  one.fn = choose(e, is, f[0].fn, f[1].fn);
  return one;
}

/* So many depths, or none when they add nothing. */
static Val unless_idle(const Nest *t, Val depths) {
  Emit *e = t->c->e;
  return t->idle ? choose(e, t->idle, i64_of(e, 0), depths) : depths;
}

/* A tile at `a`, all of it, and on at next; false: unless its panel is whole. */
static bool visit_straight(const Nest *t, const Visit *v, Val a, Val row, Val height, Block next) {
  const Con *c = t->c;
  Emit *e = c->e;
  int64_t wide = 2 * (int64_t)c->lanes, n = known_or(t->n, -1);
  Val width = i64_of(e, wide), deep = unless_idle(t, t->k);
  Val more[7] = {a, v->b, deep, v->stride, row, v->col, v->rows};
  Val is_whole = equal(e, v->cols, width);
  Block whole = new_block(e, "whole"), part = new_block(e, "");
  LLVMBuildCondBr(e->b, is_whole, whole, part);
  LLVMPositionBuilderAtEnd(e->b, whole);
  Sub f = n >= 0 && n < wide ? of_height(t, t->rest, height) : of_height(t, t->whole, height);
  return_failure(e, sub_call(c, &f, more, 7));
  LLVMBuildBr(e->b, next);
  LLVMPositionBuilderAtEnd(e->b, part);
  if (n < 0) return false;
  if (n % wide) {
    f = of_height(t, t->rest, height);
    return_failure(e, sub_call(c, &f, more, 7));
  }
  LLVMBuildBr(e->b, next);
  LLVMPositionBuilderAtEnd(e->b, next);
  return true;
}

/* Where tile i of a block brings its share of the next panel from, and the bytes per depth.  A
 * tile that is alone reads memory as fast as it can, and brings what it reads itself. */
static Val share_ahead(const Nest *t, const Visit *v, Val i, Val kk, Val *step) {
  Emit *e = t->c->e;
  Val line = at_bytes(t->c, i64_of(e, 2 * (int)t->c->lanes)), tiles = sub(e, v->to, v->from);
  Val alone = equal(e, tiles, i64_of(e, 1));
  Val base = choose(e, alone, v->b, v->next);
  *step = div_up(e, line, tiles);
  Val from = add(e, mul(e, v->k, line), mul(e, mul(e, i, kk), *step));
  return bytes_on(e, base, from);
}

/* The rows of a tile at the depth of a visit. */
static Val where_tile(const Nest *t, const Visit *v, Val row, Val rows, Val height) {
  const Con *c = t->c;
  Emit *e = c->e;
  Val apart = t->pitch ? i64_of(e, t->pitch) : t->k, deeper = t->pitch ? i64_of(e, 1) : height;
  Val off = mul(e, sub(e, row, first_row(t, v->from)), apart), deep = mul(e, v->k, deeper);
  Val at = con_at(c, v->rows, add(e, off, deep));
  if (t->exact || !t->pitch || t->copied) return at;
  Val full = equal(e, rows, height);
  return choose(e, full, at, con_at(c, t->rows, deep));
}

/* The tile of a row while something waits, and on at next; the builder is where nothing does. */
static void visit_beside(const Nest *t, const Visit *v, Val a, Val row, Val sum, Block next) {
  const Con *c = t->c;
  Emit *e = c->e;
  Block beside = new_block(e, "beside"), alone = new_block(e, "");
  LLVMBuildCondBr(e->b, ahead_waits(c, t->ahead, v->cols), beside, alone);
  LLVMPositionBuilderAtEnd(e->b, beside);
  call_beside(c, t->ahead, a, v->b, sum, unless_idle(t, t->k), v->stride);
  Val more[6] = {sum, row, i64_of(e, 1), v->col, v->cols, t->room};
  return_failure(e, sub_call(c, &t->out, more, 6));
  LLVMBuildBr(e->b, next);
  LLVMPositionBuilderAtEnd(e->b, alone);
}

static void visit_tiles(const Nest *t, const Visit *v) {
  const Con *c = t->c;
  Emit *e = c->e;
  Val kk = i64_min(e, sub(e, t->k, v->k), i64_of(e, block_depth(c)));
  Val first = equal(e, v->k, i64_of(e, 0));
  Val last = equal(e, add(e, v->k, kk), t->k);
  Val size = i64_of(e, row_room(c) * 2 * (int)c->lanes);
  size = choose(e, is_deep(t), size, i64_of(e, 0));
  Val b = con_at(c, v->b, mul(e, v->k, v->stride));
  Loop i = loop_begin(e, sub(e, v->to, v->from));
  Val tile = add(e, v->from, i.i), row = first_row(t, tile), rows = rows_of(t, tile);
  Val height = height_of(t, rows), sum = con_at(c, t->sum, mul(e, i.i, size));
  Val a = where_tile(t, v, row, rows, height), step, ahead = share_ahead(t, v, i.i, kk, &step);
  Val deep = unless_idle(t, kk), arg[TILE_ARGS] = {a, b, sum, deep, v->stride, first, ahead, step};
  Block next = new_block(e, "");
  if (t->ahead) visit_beside(t, v, a, row, sum, next);
  if (!t->straight || !visit_straight(t, v, a, row, height, next)) {
    LLVMBuildCall2(e->b, tile_type(e), nest_tile(t, height, v->cols), arg, TILE_ARGS, "");
    Block out = new_block(e, "out");
    LLVMBuildCondBr(e->b, last, out, next);
    LLVMPositionBuilderAtEnd(e->b, out);
    Val more[6] = {sum, row, rows, v->col, v->cols, t->room};
    return_failure(e, sub_call(c, &t->out, more, 6));
    LLVMBuildBr(e->b, next);
    LLVMPositionBuilderAtEnd(e->b, next);
  }
  loop_end(e, &i);
}

/* Does a core read so little that what it has read last is still near it the next time? */
static Val stays_near(const Nest *t) {
  const Con *c = t->c;
  Emit *e = c->e;
  Val panels = sub(e, t->part.to, t->part.from);
  Val bytes = at_bytes(c, mul(e, mul(e, panels, i64_of(e, 2 * (int)c->lanes)), t->k));
  return at_most(e, bytes, i64_of(e, near_bytes(c)));
}

/* With few rows a constant is read once per launch: from alternating ends, if that helps. */
static Val first_panel(const Nest *t, Val *step) {
  const Con *c = t->c;
  Emit *e = c->e;
  Val zero = i64_of(e, 0), one = i64_of(e, 1);
  int64_t tiles;
  *step = one;
  if (!t->packed[COLS] || (val_known(t->tiles, &tiles) && tiles > FEW_TILES)) return zero;
  Val back = emit_call(e, "rvm.backward", int_type(e, 64), (Val[]){e->state}, 1, false);
  back = LLVMBuildAnd(e->b, differ(e, back, zero), stays_near(t), "");
  *step = choose(e, back, i64_of(e, -1), one);
  return choose(e, back, sub(e, t->panels, one), zero);
}

/* The panel that comes after the j-th, at `next`: constants may come from far.  Another one is in
 * the cache already, or is not there before its time. */
static Val next_panel(const Nest *t, Val j, Val next, Val now) {
  Emit *e = t->c->e;
  if (!t->packed[COLS]) return now;
  Val more = less(e, add(e, j, i64_of(e, 1)), sub(e, t->part.to, t->part.from));
  Val kept = LLVMBuildIsNotNull(e->b, t->packed[COLS], "");
  Val is = LLVMBuildAnd(e->b, more, kept, "");
  return choose(e, is, kept_panel(t, next), now);
}

static void visit_panels(const Nest *t, Val from, Val to) {
  const Con *c = t->c;
  Emit *e = c->e;
  Visit v = {.from = from, .to = to, .rows = block_of_rows(t, from, to)};
  Val width = i64_of(e, 2 * (int)c->lanes), step, first = first_panel(t, &step);
  Loop j = loop_begin(e, sub(e, t->part.to, t->part.from));
  Val panel = add(e, first, mul(e, add(e, t->part.from, j.i), step));
  v.col = mul(e, panel, width);
  v.cols = i64_min(e, sub(e, t->n, v.col), width);
  v.b = panel_of(t, panel, v.cols, &v.stride);
  v.next = next_panel(t, j.i, add(e, panel, step), v.b);
  Loop k = loop_begin_step(e, t->k, block_depth(c));
  v.k = k.i;
  visit_tiles(t, &v);
  loop_end(e, &k);
  loop_end(e, &j);
}

/* Of heights[i]: for whole panels, and for a known last one that is not. */
static bool straight_functions(Nest *t, int i) {
  int h = t->heights[i], wide = 2 * (int)t->c->lanes;
  int64_t n = known_or(t->n, -1);
  Tall tall = {.height = h, .columns = wide, .sets = 1, .pitch = t->pitch};
  if (known_or(partial_sums(t, h), 0)) tall.sets = 2 * SETS_ROWS / h;
  if ((n < 0 || n >= wide) && !straight_function(t->c, &tall, &t->whole[i])) return false;
  tall.columns = (int)(n % wide);
  return n < 0 || n % wide == 0 || straight_function(t->c, &tall, &t->rest[i]);
}

static bool make_functions(Nest *t) {
  for (int side = 0; side < 2; side++)
    if ((side != ROWS || !t->pitch) && !pack_function(t->c, side, &t->pack[side])) return false;
  for (int i = 0; t->straight && i < t->n_heights; i++)
    if (!straight_functions(t, i)) return false;
  return out_function(t->c, &t->out);
}

/* The first step of a recurrence has a state of zeros: reading a constant for it from end to end
 * would only tell that zero times finite numbers is zero.  Sums start at +0, to which zeros of
 * either sign add nothing, so the bits are the same. */
static Val ask_idle(const Nest *t) {
  const Con *c = t->c;
  Emit *e = c->e;
  uint32_t buf;
  int64_t n = known_or(t->n, 0), k = known_or(t->k, 0), elements;
  bool one_row = known_or(t->m, 0) == 1 && t->pitch && c->batch.n == 0;
  if (!one_row || !t->packed[COLS] || __builtin_mul_overflow(n, k, &elements) ||
      elements < WORTH_ASKING || !constant_buffer(c, COLS, &buf))
    return NULL;
  Val row = in_place(c, ROWS, i64_of(e, 0)), key = i64_of(e, side_key(t, COLS));
  Val arg[7] = {e->state, row, e->buf[buf], key, t->n, t->k, i64_of(e, c->t)};
  Val is = emit_call(e, "rvm.zero_row", int_type(e, 64), arg, 7, false);
  return LLVMBuildIsNotNull(e->b, is, "");
}

static void tiled(Nest *t) {
  Con *c = t->c;
  Emit *e = c->e;
  Loop l[K_MAX_LOOPS];
  uint32_t buf;
  for (int side = 0; side < 2; side++)
    if (constant_buffer(c, side, &buf) && !(side == ROWS && t->pitch))
      t->packed[side] = packed_side(t, side, buf);
  t->idle = ask_idle(t);
  if (works_ahead(t)) t->ahead = find_ahead(c);
  take_scratch(t);
  t->part = emit_part(e, c->at, t->panels);
  open_batch(c, l);
  Val slot = new_slot(e, int_type(e, 64));
  Block head = new_block(e, "rows"), body = new_block(e, ""), done = new_block(e, "");
  LLVMBuildStore(e->b, i64_of(e, 0), slot);
  LLVMBuildBr(e->b, head);
  LLVMPositionBuilderAtEnd(e->b, head);
  Val from = LLVMBuildLoad2(e->b, int_type(e, 64), slot, "");
  LLVMBuildCondBr(e->b, less(e, from, t->tiles), body, done);
  LLVMPositionBuilderAtEnd(e->b, body);
  Val to = i64_min(e, add(e, from, t->per_block), t->tiles);
  visit_panels(t, from, to);
  LLVMBuildStore(e->b, to, slot);
  LLVMBuildBr(e->b, head);
  LLVMPositionBuilderAtEnd(e->b, done);
  close_batch(c, l);
}

bool tiled_contract(Con *c) {
  Emit *e = c->e;
  Nest t = {.c = c, .m = c->side[ROWS].total, .n = c->side[COLS].total, .k = c->red.total};
  t.panels = div_up(e, t.n, i64_of(e, 2 * c->lanes));
  (void)choose_epilogue(c);
  choose_heights(&t);
  int64_t deep = known_or(t.k, SHALLOW + 1);
  t.straight = t.exact && known_or(t.n, 1) > 0 && deep <= SHALLOW && deep <= block_depth(c) &&
               straight_epilogue(c);
  if (!columns_in_place(c, &t.stride)) t.stride = NULL;
  choose_pitch(&t);
  if (!make_functions(&t)) return false;
  tiled(&t);
  return true;
}
