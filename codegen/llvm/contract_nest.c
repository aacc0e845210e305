/* contract_nest.c -- products in general: the loops over tiles.
 *
 * For each batch, blocks of rows are packed (or found packed, when they are a
 * constant of the program), then each panel of columns is taken through all
 * tiles of the block while it is in the cache: the product of one tile stays in
 * registers over the depth, and goes through the epilogue at once.  Only a very
 * deep product is cut along its depth; sums then wait in memory.  Panels are
 * independent of each other.                                                 */
#include "codegen/llvm/contract.h"

enum {
  DEPTH = 8192,           /* of one visit of a tile                          */
  BLOCK_BYTES = 4 << 20,  /* of packed rows at a time                        */
  SHALLOW = 512,          /* where the way from a tile to the epilogue matters */
  FEW_TILES = 2,          /* for so few, columns are never worth packing     */
  WORTH_ASKING = 1 << 17, /* elements of a constant, for a row of zeros      */
  CONFLICT = 2048         /* bytes apart, a tile's rows are in each other's way in L1 */
};

static Val div_up_by(Emit *e, Val x, Val by) {
  return LLVMBuildUDiv(e->b, sub(e, add(e, x, by), i64_of(e, 1)), by, "");
}
static Val div_up(Emit *e, Val x, int64_t by) { return div_up_by(e, x, i64_of(e, by)); }

static Val one_at_least(Emit *e, Val x) {
  Val none = LLVMBuildICmp(e->b, LLVMIntEQ, x, i64_of(e, 0), "");
  return LLVMBuildSelect(e->b, none, i64_of(e, 1), x, "");
}

void choose_heights(Nest *t) {
  static const uint8_t some[] = {1, 2, 4, 8, 11};
  const Con *c = t->c;
  Emit *e = c->e;
  int64_t m, tiles, max = c->rows_max;
  t->exact = val_known(t->m, &m) && m > 0;
  t->tiles = div_up(e, t->m, max);
  if (t->exact) {
    tiles = ceil_div(m, max);
    t->heights[t->n_heights++] = (int)(m / tiles);
    if (m % tiles) t->heights[t->n_heights++] = (int)(m / tiles) + 1;
    return;
  }
  for (int i = 0; i < (int)sizeof some && some[i] < max; i++) t->heights[t->n_heights++] = some[i];
  t->heights[t->n_heights++] = (int)max;
  t->each = height_of(t, div_up_by(e, t->m, one_at_least(e, t->tiles)));
  t->tiles = div_up_by(e, t->m, t->each);
}

Val first_row(const Nest *t, Val tile) {
  Emit *e = t->c->e;
  if (!t->exact) return mul(e, tile, t->each);
  return LLVMBuildUDiv(e->b, mul(e, tile, t->m), t->tiles, "");
}

Val rows_of(const Nest *t, Val tile) {
  Emit *e = t->c->e;
  Val next = i64_min(e, first_row(t, add(e, tile, i64_of(e, 1))), t->m);
  return sub(e, next, first_row(t, tile));
}

Val height_of(const Nest *t, Val rows) {
  Emit *e = t->c->e;
  if (t->n_heights == 1) return i64_of(e, t->heights[0]);
  if (t->exact) return rows;
  Val h = i64_of(e, t->heights[t->n_heights - 1]);
  for (int i = t->n_heights - 1; i-- > 0;) {
    Val fits = LLVMBuildICmp(e->b, LLVMIntSLE, rows, i64_of(e, t->heights[i]), "");
    h = LLVMBuildSelect(e->b, fits, i64_of(e, t->heights[i]), h, "");
  }
  return h;
}

/* Are sums in tiles of this height taken in partial sums: is it all the rows, and few? */
static Val partial_sums(const Nest *t, int h) {
  Emit *e = t->c->e;
  if (h > SETS_ROWS) return LLVMConstNull(int_type(e, 1));
  Val all = LLVMBuildICmp(e->b, LLVMIntEQ, t->m, i64_of(e, h), "");
  Val deep = LLVMBuildICmp(e->b, LLVMIntSGT, t->k, i64_of(e, SETS_DEPTH), "");
  return LLVMBuildAnd(e->b, all, deep, "");
}

/* The tile of this height for so many columns. */
static Val tile_of_height(const Nest *t, int h, Val columns) {
  Emit *e = t->c->e;
  int64_t n = known_or(t->n, -1), known;
  Tall f = {.height = h, .sets = 1, .way = t->pitch};
  Val one = tile_for(t->c, &f, n, columns);
  Val few = partial_sums(t, h);
  if (val_known(few, &known) && !known) return one;
  f.sets = 2 * SETS_ROWS / h;
  Val more = tile_for(t->c, &f, n, columns);
  return LLVMBuildSelect(e->b, few, more, one, "");
}

Val nest_tile(const Nest *t, Val height, Val columns) {
  Emit *e = t->c->e;
  Val fn = NULL;
  for (int i = t->n_heights; i-- > 0;) {
    Val f = tile_of_height(t, t->heights[i], columns);
    Val is = LLVMBuildICmp(e->b, LLVMIntEQ, height, i64_of(e, t->heights[i]), "");
    fn = fn ? LLVMBuildSelect(e->b, is, f, fn, "") : f;
  }
  return fn;
}

static Val as_i64(Emit *e, Val pointer) {
  return LLVMBuildPtrToInt(e->b, pointer, int_type(e, 64), "");
}

/* The buffer a factor is a load of, if it is only read and picked by nothing from
 * around: it may be a constant of the program. */
bool constant_buffer(const Con *c, int side, uint32_t *buf) {
  KE x = c->factor[side];
  const KNode *n = &c->e->k->node[x];
  for (int i = 0; i < c->n_outer; i++)
    if (expr_uses(c->e, x, c->outer[i])) return false;
  while (n->kind == KN_Cast) n = &c->e->k->node[n->a];
  if (n->kind != KN_Load || c->e->k->buf[n->a].role != K_IN) return false;
  *buf = n->a;
  return true;
}

/* Elements of one batch of a packed side. */
Val side_elements(const Nest *t, int side) {
  Emit *e = t->c->e;
  if (side == ROWS && t->exact) return mul(e, t->m, t->k);
  if (side == ROWS) return mul(e, mul(e, t->tiles, t->each), t->k);
  return mul(e, mul(e, t->panels, i64_of(e, 2 * (int)t->c->lanes)), t->k);
}

static Val at_bytes(const Con *c, Val n) { return mul(c->e, n, i64_of(c->e, c->bytes)); }

/* ---- packing ------------------------------------------------------------------------------ */
/* Row tile `tile`, its first row at `base`. */
static void pack_tile(const Nest *t, Val tile, Val base) {
  Val rows = rows_of(t, tile);
  Val arg[4] = {base, height_of(t, rows), first_row(t, tile), rows};
  (void)sub_call(t->c, &t->pack[ROWS], arg, 4);
}

static void pack_panel(const Nest *t, Val panel, Val base) {
  Emit *e = t->c->e;
  Val width = i64_of(e, 2 * (int)t->c->lanes), from = mul(e, panel, width);
  Val arg[4] = {base, width, from, i64_min(e, sub(e, t->n, from), width)};
  (void)sub_call(t->c, &t->pack[COLS], arg, 4);
}

Val flat_batch(const Con *c) {
  Val at = i64_of(c->e, 0);
  for (int i = 0; i < c->batch.n; i++)
    at = add(c->e, mul(c->e, at, c->batch.axis[i].n), c->e->var[c->batch.axis[i].var]);
  return at;
}

void open_batch(const Con *c, Loop *l) {
  for (int i = 0; i < c->batch.n; i++) {
    Part p = {i64_of(c->e, 0), c->batch.axis[i].n, NULL};
    if (i == 0 && c->split_batch) p = emit_part(c->e, c->at, p.to);
    l[i] = loop_begin(c->e, sub(c->e, p.to, p.from));
    set_var(c->e, c->batch.axis[i].var, add(c->e, p.from, l[i].i));
  }
}

void close_batch(const Con *c, Loop *l) {
  for (int i = c->batch.n; i-- > 0;) loop_end(c->e, &l[i]);
}

void pack_all(const Nest *t, int side, Val to) {
  const Con *c = t->c;
  Emit *e = c->e;
  Loop l[K_MAX_LOOPS];
  open_batch(c, l);
  Val base = con_at(c, to, mul(e, flat_batch(c), side_elements(t, side)));
  Loop i = loop_begin(e, side == ROWS ? t->tiles : t->panels);
  if (side == ROWS)
    pack_tile(t, i.i, con_at(c, base, mul(e, first_row(t, i.i), t->k)));
  else
    pack_panel(t, i.i, con_at(c, base, mul(e, mul(e, i.i, i64_of(e, 2 * (int)c->lanes)), t->k)));
  loop_end(e, &i);
  close_batch(c, l);
}

Val kept_form(const Con *c, uint32_t buf, const Kept *f) {
  Emit *e = c->e;
  LLVMTypeRef p = ptr_type(e);
  Val arg[6] = {e->state, e->buf[buf], i64_of(e, f->key), f->n, f->k, f->bytes};
  Val found = emit_call(e, "rvm.packed", p, arg, 5, false);
  Block have = LLVMGetInsertBlock(e->b), make = new_block(e, "pack"), fill = new_block(e, "fill");
  Block done = new_block(e, "packed");
  LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, found, ""), done, make);
  LLVMPositionBuilderAtEnd(e->b, make);
  Val room = emit_call(e, "rvm.pack", p, arg, 6, false);
  LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, room, ""), fill, done);
  LLVMPositionBuilderAtEnd(e->b, fill);
  f->fill(f->ctx, room);
  (void)emit_call(e, "rvm.pack_done", int_type(e, 64), (Val[]){e->state, room}, 2, false);
  Block filled = LLVMGetInsertBlock(e->b);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, done);
  Val phi = LLVMBuildPhi(e->b, p, "");
  LLVMAddIncoming(phi, (Val[]){found, room, room}, (Block[]){have, make, filled}, 3);
  return phi;
}

Val kept_or_made(const Con *c, int side, const Kept *f) {
  Emit *e = c->e;
  uint32_t buf;
  Val kept = LLVMConstNull(ptr_type(e));
  if (constant_buffer(c, side, &buf)) kept = kept_form(c, buf, f);
  Val found = LLVMBuildIsNotNull(e->b, kept, "");
  Val room = take_scratch_bytes(c, LLVMBuildSelect(e->b, found, i64_of(e, 0), f->bytes, ""));
  Block fill = new_block(e, "fill"), done = new_block(e, "");
  LLVMBuildCondBr(e->b, found, done, fill);
  LLVMPositionBuilderAtEnd(e->b, fill);
  f->fill(f->ctx, room);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, done);
  return LLVMBuildSelect(e->b, found, kept, room, "");
}

typedef struct {
  const Nest *t;
  int side;
} PackSide;
static void fill_side(const void *ctx, Val to) {
  const PackSide *s = ctx;
  pack_all(s->t, s->side, to);
}

static int64_t side_key(const Nest *t, int side) {
  const Con *c = t->c;
  int64_t layout = (int64_t)c->lanes * 2 + (side == ROWS && t->exact); /* differs by version */
  return ((int64_t)c->at * 2 + side) * 256 + layout;
}

Val packed_side(const Nest *t, int side, uint32_t buf) {
  const Con *c = t->c;
  Emit *e = c->e;
  PackSide s = {t, side};
  Kept f = {.key = side_key(t, side),
            .n = side == ROWS ? t->m : t->n,
            .k = t->k,
            .bytes = at_bytes(c, mul(e, c->batch.total, side_elements(t, side))),
            .fill = fill_side,
            .ctx = &s};
  return kept_form(c, buf, &f);
}

/* ---- scratch ------------------------------------------------------------------------------ */
static Val scratch_part(const Con *c, Val *total, Val elements) {
  Emit *e = c->e;
  Val at = *total;
  Val bytes = LLVMBuildAnd(e->b, add(e, at_bytes(c, elements), i64_of(e, 63)), i64_of(e, -64), "");
  *total = add(e, at, bytes);
  return at;
}

static Val is_deep(const Nest *t) {
  return LLVMBuildICmp(t->c->e->b, LLVMIntSGT, t->k, i64_of(t->c->e, DEPTH), "");
}

static int64_t row_room(const Con *c) {
  int64_t l = c->lanes;
  return ceil_div(ROWS_MAX, l) * l;
}

Val take_scratch_bytes(const Con *c, Val bytes) {
  Emit *e = c->e;
  Val arg[2] = {e->state, add(e, bytes, i64_of(e, 64))};
  Val base = emit_call(e, "rvm.scratch", ptr_type(e), arg, 2, false);
  fail_unless(e, LLVMBuildIsNotNull(e->b, base, ""), K_NO_MEMORY, 0);
  Val off = LLVMBuildAnd(e->b, LLVMBuildNeg(e->b, as_i64(e, base), ""), i64_of(e, 63), "");
  return LLVMBuildGEP2(e->b, int_type(e, 8), base, &off, 1, "");
}

static void take_scratch(Nest *t) {
  const Con *c = t->c;
  Emit *e = c->e;
  Val none = i64_of(e, 0), one = i64_of(e, 1), total = none, at[4];
  Val width = i64_of(e, 2 * (int)c->lanes), max = i64_of(e, c->rows_max);
  Val fit = LLVMBuildUDiv(e->b, i64_of(e, BLOCK_BYTES), at_bytes(c, mul(e, t->k, max)), "");
  fit = i64_min(e, one_at_least(e, fit), one_at_least(e, t->tiles));
  Val ready = t->packed[ROWS] ? LLVMBuildIsNotNull(e->b, t->packed[ROWS], "") : NULL;
  if (t->pitch) ready = LLVMConstInt(int_type(e, 1), 1, 0);
  Val found = t->packed[COLS] ? LLVMBuildIsNotNull(e->b, t->packed[COLS], "") : NULL;
  t->per_block = ready ? LLVMBuildSelect(e->b, ready, t->tiles, fit, "") : fit;
  Val rows = mul(e, mul(e, fit, max), t->k), panel = mul(e, width, t->k);
  if (ready) rows = LLVMBuildSelect(e->b, ready, none, rows, "");
  if (found) panel = LLVMBuildSelect(e->b, found, none, panel, "");
  Val tiles = LLVMBuildSelect(e->b, is_deep(t), t->per_block, one, "");
  Val tile = mul(e, i64_of(e, row_room(c)), width);
  at[0] = scratch_part(c, &total, rows);
  at[1] = scratch_part(c, &total, panel);
  at[2] = scratch_part(c, &total, mul(e, tiles, tile));
  at[3] = scratch_part(c, &total, tile);
  Val base = take_scratch_bytes(c, total);
  Val *part[4] = {&t->rows, &t->panel, &t->sum, &t->room};
  for (int i = 0; i < 4; i++) {
    *part[i] = LLVMBuildGEP2(e->b, int_type(e, 8), base, &at[i], 1, "");
  }
}

/* ---- the loops ---------------------------------------------------------------------------- */
/* How far apart rows are that can be read where they lie, side by side in the depth: a single
 * known one, or, of known ones, those that would be packed for columns that are packed too.  0:
 * they cannot. */
static int64_t rows_in_place(const Con *c) {
  int64_t down, pitch;
  uint32_t buf;
  Val stride;
  const KNode *n = &c->e->k->node[c->factor[ROWS]];
  const Set *d = &c->depth[ROWS], *s = &c->pack[ROWS];
  int64_t rows = known_or(c->side[ROWS].total, 0);
  if (rows < 1 || n->kind != KN_Load || (DType)n->dtype != c->t || d->n != 1) return 0;
  if (!load_stride(c->e, c->factor[ROWS], d->axis[0].var, &down) || down != 1) return 0;
  if (rows == 1) return 1;
  if (s->n != 1 || !load_stride(c->e, c->factor[ROWS], s->axis[0].var, &pitch) || pitch < 1)
    return 0;
  if (!constant_buffer(c, COLS, &buf) || columns_in_place(c, &stride)) return 0;
  return pitch * c->bytes % CONFLICT ? pitch : 0;
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
  if (t->pitch) return in_place(c, ROWS, r0);
  if (t->packed[ROWS]) {
    x = either(e, LLVMBuildIsNotNull(e->b, t->packed[ROWS], ""));
    Val off = mul(e, flat_batch(c), side_elements(t, ROWS));
    off = add(e, off, mul(e, r0, t->k));
    either_is(e, &x, 0, con_at(c, t->packed[ROWS], off), NULL);
  }
  Loop i = loop_begin(e, sub(e, to, from));
  Val tile = add(e, from, i.i);
  pack_tile(t, tile, con_at(c, t->rows, mul(e, sub(e, first_row(t, tile), r0), t->k)));
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
    pack_panel(t, panel, t->panel);
    return t->panel;
  }
  Val fits = LLVMBuildOr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, columns, width, ""),
                         LLVMBuildICmp(e->b, LLVMIntEQ, columns, i64_of(e, lanes), ""), "");
  Val apart = LLVMBuildAnd(e->b, at_bytes(c, t->stride), i64_of(e, 1023), "");
  Val well = LLVMBuildOr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, apart, i64_of(e, 0), ""),
                         LLVMBuildICmp(e->b, LLVMIntSLE, t->tiles, i64_of(e, FEW_TILES), ""), "");
  Either x = either(e, LLVMBuildAnd(e->b, fits, well, ""));
  either_is(e, &x, 0, in_place(c, COLS, mul(e, panel, width)), t->stride);
  pack_panel(t, panel, t->panel);
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

void return_failure(Emit *e, Val status) {
  Block bad = new_block(e, "fail"), next = new_block(e, "");
  LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, status, ""), next, bad);
  LLVMPositionBuilderAtEnd(e->b, bad);
  LLVMBuildRet(e->b, status);
  LLVMPositionBuilderAtEnd(e->b, next);
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
  Val is = LLVMBuildICmp(e->b, LLVMIntEQ, height, i64_of(e, t->heights[0]), "");
  one.fn = LLVMBuildSelect(e->b, is, f[0].fn, f[1].fn, "");
  return one;
}

/* So many depths, or none when they add nothing. */
static Val unless_idle(const Nest *t, Val depths) {
  Emit *e = t->c->e;
  return t->idle ? LLVMBuildSelect(e->b, t->idle, i64_of(e, 0), depths, "") : depths;
}

/* A tile at `a`, all of it, and on at next; false: unless its panel is whole. */
static bool visit_straight(const Nest *t, const Visit *v, Val a, Val row, Val height, Block next) {
  const Con *c = t->c;
  Emit *e = c->e;
  int64_t wide = 2 * (int64_t)c->lanes, n = known_or(t->n, -1);
  Val width = i64_of(e, wide), deep = unless_idle(t, t->k);
  Val more[7] = {a, v->b, deep, v->stride, row, v->col, v->rows};
  Val is_whole = LLVMBuildICmp(e->b, LLVMIntEQ, v->cols, width, "");
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
  Val alone = LLVMBuildICmp(e->b, LLVMIntEQ, tiles, i64_of(e, 1), "");
  Val base = LLVMBuildSelect(e->b, alone, v->b, v->next, "");
  *step = div_up_by(e, line, tiles);
  Val from = add(e, mul(e, v->k, line), mul(e, mul(e, i, kk), *step));
  return LLVMBuildGEP2(e->b, int_type(e, 8), base, &from, 1, "");
}

static void visit_tiles(const Nest *t, const Visit *v) {
  const Con *c = t->c;
  Emit *e = c->e;
  Val r0 = first_row(t, v->from), kk = i64_min(e, sub(e, t->k, v->k), i64_of(e, DEPTH));
  Val first = LLVMBuildICmp(e->b, LLVMIntEQ, v->k, i64_of(e, 0), "");
  Val last = LLVMBuildICmp(e->b, LLVMIntEQ, add(e, v->k, kk), t->k, "");
  Val size = i64_of(e, row_room(c) * 2 * (int)c->lanes);
  size = LLVMBuildSelect(e->b, is_deep(t), size, i64_of(e, 0), "");
  Val b = con_at(c, v->b, mul(e, v->k, v->stride));
  Loop i = loop_begin(e, sub(e, v->to, v->from));
  Val tile = add(e, v->from, i.i), row = first_row(t, tile), rows = rows_of(t, tile);
  Val height = height_of(t, rows), sum = con_at(c, t->sum, mul(e, i.i, size));
  Val apart = t->pitch ? i64_of(e, t->pitch) : t->k, deeper = t->pitch ? i64_of(e, 1) : height;
  Val off = add(e, mul(e, sub(e, row, r0), apart), mul(e, v->k, deeper));
  Val a = con_at(c, v->rows, off), step, ahead = share_ahead(t, v, i.i, kk, &step);
  Val deep = unless_idle(t, kk), arg[TILE_ARGS] = {a, b, sum, deep, v->stride, first, ahead, step};
  Block next = new_block(e, "");
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

/* With few rows a constant is read once per launch: from alternating ends. */
static Val first_panel(const Nest *t, Val *step) {
  const Con *c = t->c;
  Emit *e = c->e;
  Val zero = i64_of(e, 0), one = i64_of(e, 1);
  int64_t tiles;
  *step = one;
  if (!t->packed[COLS] || (val_known(t->tiles, &tiles) && tiles > FEW_TILES)) return zero;
  Val back = emit_call(e, "rvm.backward", int_type(e, 64), (Val[]){e->state}, 1, false);
  back = LLVMBuildICmp(e->b, LLVMIntNE, back, zero, "");
  *step = LLVMBuildSelect(e->b, back, i64_of(e, -1), one, "");
  return LLVMBuildSelect(e->b, back, sub(e, t->panels, one), zero, "");
}

/* The panel that comes after the j-th, at `next`: constants may come from far.  Another one is in
 * the cache already, or is not there before its time. */
static Val next_panel(const Nest *t, Val j, Val next, Val now) {
  Emit *e = t->c->e;
  if (!t->packed[COLS]) return now;
  Val more = less(e, add(e, j, i64_of(e, 1)), sub(e, t->part.to, t->part.from));
  Val kept = LLVMBuildIsNotNull(e->b, t->packed[COLS], "");
  Val is = LLVMBuildAnd(e->b, more, kept, "");
  return LLVMBuildSelect(e->b, is, kept_panel(t, next), now, "");
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
  Loop k = loop_begin_step(e, t->k, DEPTH);
  v.k = k.i;
  visit_tiles(t, &v);
  loop_end(e, &k);
  loop_end(e, &j);
}

/* Of heights[i]: for whole panels, and for a known last one that is not. */
static bool straight_functions(Nest *t, int i) {
  int h = t->heights[i], wide = 2 * (int)t->c->lanes;
  int64_t n = known_or(t->n, -1);
  Tall tall = {.height = h, .columns = wide, .sets = 1, .way = t->pitch};
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
  t.panels = div_up(e, t.n, 2 * c->lanes);
  (void)choose_epilogue(c);
  choose_heights(&t);
  t.straight = t.exact && known_or(t.n, 1) > 0 && known_or(t.k, SHALLOW + 1) <= SHALLOW &&
               straight_epilogue(c);
  if (!columns_in_place(c, &t.stride)) t.stride = NULL;
  t.pitch = rows_in_place(c);
  if (!make_functions(&t)) return false;
  tiled(&t);
  return true;
}
