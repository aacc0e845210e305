/* contract_strassen.c -- large products by a constant weight with seven products of
 * quadrants in place of eight (Strassen 1969, in Winograd's form).
 *
 * The rows' quadrants A, the weight's B and the result's C:
 *
 *   S1 = A21 + A22   T1 = B12 - B11   P1 = A11 B11   C11 = P1 + P2
 *   S2 = S1 - A11    T2 = B22 - T1    P2 = A12 B21   C12 = P1 + P6 + P5 + P3
 *   S3 = A11 - A21   T3 = B22 - B12   P3 = S4 B22    C21 = P1 + P6 + P7 - P4
 *   S4 = A12 - S2    T4 = T2 - B21    P4 = A22 T4    C22 = P1 + P6 + P7 + P5
 *                                     P5 = S1 T1, P6 = S2 T2, P7 = S3 T3
 *
 * All S are made where rows are packed, all T once, where the weight is (as in
 * Huang et al., Strassen's Algorithm Reloaded, SC 2016).  A quadrant of the result
 * has a panel of columns at a time, and products are added to what is there as
 * tiles begin; what remains are three passes over three such sums.  An eighth
 * fewer multiplications, and more rounding: only with fast_math.             */
#include "codegen/llvm/contract.h"

enum {
  FEWEST_ROWS = 32,   /* below, reading 7/4 of the weight takes longer         */
  FEWEST_COLS = 256,  /* below, packing rows and their sums takes what it gives */
  FEWEST_DEPTH = 256, /* below, the passes over the sums do                    */
  FORM_KEY = 1 << 30  /* of the kept form                                      */
};

enum { A11, A12, A21, A22, S1, S2, S3, S4, ROW_PARTS };
enum { X, Y, Z, SUMS };
enum { PRODUCTS = 7, NO_SUM = SUMS };

/* In this order: the rows' part times the weight's (weight_parts) to a sum, which begins at zero or
 * not; then another is made: the sum, or x + y. */
static const struct {
  uint8_t rows, sum;
  bool begins;
  uint8_t made;
  bool both;
} product[PRODUCTS] = {
    {A11, X, true, Z, false},   /* x = z = P1                            */
    {A12, Z, false, NO_SUM, 0}, /* z: C11                                */
    {S2, X, false, NO_SUM, 0},  /* x = P1 + P6                           */
    {S1, Y, true, Z, true},     /* y = P5, z = x + y                     */
    {S3, X, false, Y, true},    /* x = P1 + P6 + P7, y = x + y: C22      */
    {S4, Z, false, NO_SUM, 0},  /* z: C12                                */
    {A22, X, false, NO_SUM, 0}  /* x: C21                                */
};

/* The quadrants of the result, when they are done. */
static const struct {
  uint8_t after, sum, down, across;
} quadrant[] = {{1, Z, 0, 0}, {5, Z, 0, 1}, {6, X, 1, 0}, {6, Y, 1, 1}};

typedef struct {
  const Con *c;
  Nest half;              /* the upper rows, half the depth; its panels: pairs of them */
  int64_t n, deep, width; /* columns; half the depth; of a panel    */
  int64_t pairs;
  Sub pack[2], out;
  Val per_block;             /* pairs of tiles                         */
  Val rows, sum[SUMS], room; /* scratch                                */
  Val weights;               /* the kept form                          */
} Strassen;

/* A block of rows: tiles [from, to) of the upper half, the first's row, and all rows' sums. */
typedef struct {
  Val from, to, row, rows;
} RowBlock;

/* ---- is it one? ------------------------------------------------------------------------ */
static bool find(Strassen *s, uint32_t *buf) {
  const Con *c = s->c;
  int64_t k;
  const Set *cols = &c->side[COLS];
  if (c->t != DT_f32 || c->batch.n > 0 || c->side[ROWS].n == 0) return false;
  if (!constant_buffer(c, COLS, buf) || !val_known(cols->total, &s->n)) return false;
  if (!val_known(c->red.total, &k) || k % (2 * (int64_t)c->lanes)) return false;
  if (s->n < FEWEST_COLS || k < FEWEST_DEPTH || k > 2 * block_depth(c)) return false;
  s->width = 2 * (int64_t)c->lanes;
  s->pairs = ceil_div(s->n, 2 * s->width);
  s->deep = k / 2;
  return known_or(c->side[ROWS].total, FEWEST_ROWS) >= FEWEST_ROWS;
}

static Val half_up(Emit *e, Val x) {
  return LLVMBuildLShr(e->b, add(e, x, i64_of(e, 1)), i64_of(e, 1), "");
}

static Val not_negative(Emit *e, Val x) {
  return choose(e, less(e, x, i64_of(e, 0)), i64_of(e, 0), x);
}

static Val floats_at(const Con *c, Val at) {
  return load_lanes(c->e, c->type, c->lanes, at, NULL, (unsigned)c->bytes);
}
static void put_floats(const Con *c, Val v, Val at) {
  store_lanes(c->e, v, at, NULL, (unsigned)c->bytes);
}
static Val plus(Emit *e, Val x, Val y) { return LLVMBuildFAdd(e->b, x, y, ""); }
static Val minus(Emit *e, Val x, Val y) { return LLVMBuildFSub(e->b, x, y, ""); }

/* ---- weights ---------------------------------------------------------------------------- */
static int64_t pair_elements(const Strassen *s) { return PRODUCTS * s->deep * s->width; }

/* The panel from column `col` on, packed; there are none behind the last column. */
static void pack_panel(const Strassen *s, Val to, Val col) {
  Emit *e = s->c->e;
  Val width = i64_of(e, s->width), left = not_negative(e, sub(e, i64_of(e, s->n), col));
  Val arg[4] = {to, width, col, i64_min(e, left, width)};
  (void)sub_call(s->c, &s->pack[COLS], arg, 4);
}

/* Of quadrants B11, B12, B21, B22 what each product multiplies by. */
static void weight_parts(Emit *e, const Val *b, Val *part) {
  Val t1 = minus(e, b[1], b[0]), t2 = minus(e, b[3], t1);
  part[0] = b[0], part[1] = b[2], part[2] = t2, part[3] = t1;
  part[4] = minus(e, b[3], b[1]), part[5] = b[3], part[6] = minus(e, b[2], t2); /* -T4 */
}

/* (pair of panels, product, half the depth, column), from sums in double precision */
static void fill_weights(const void *ctx, Val to) {
  const Strassen *s = ctx;
  const Con *c = s->c;
  Emit *e = c->e;
  LLVMTypeRef wide = LLVMVectorType(LLVMDoubleTypeInContext(e->c), c->lanes);
  LLVMTypeRef narrow = LLVMVectorType(c->type, c->lanes);
  int64_t n = s->deep * s->width;
  Val base = take_scratch_bytes(c, i64_of(e, 4 * n * c->bytes));
  Loop pair = loop_begin(e, i64_of(e, s->pairs));
  for (int i = 0; i < 2; i++) {
    Val panel = add(e, pair.i, i64_of(e, i * s->pairs));
    pack_panel(s, con_at(c, base, i64_of(e, 2 * i * n)), mul(e, panel, i64_of(e, s->width)));
  }
  Val all = con_at(c, to, mul(e, pair.i, i64_of(e, pair_elements(s))));
  Loop v = loop_begin_step(e, i64_of(e, n), c->lanes);
  Val b[4], part[PRODUCTS];
  for (int i = 0; i < 4; i++) { /* the left panel has B11 and B21 */
    Val at = con_at(c, base, add(e, v.i, i64_of(e, (2 * (i % 2) + i / 2) * n)));
    b[i] = LLVMBuildFPExt(e->b, floats_at(c, at), wide, "");
  }
  weight_parts(e, b, part);
  for (int i = 0; i < PRODUCTS; i++)
    put_floats(c, LLVMBuildFPTrunc(e->b, part[i], narrow, ""),
               con_at(c, all, add(e, v.i, i64_of(e, i * n))));
  loop_end(e, &v);
  loop_end(e, &pair);
}

static Val kept_weights(const Strassen *s, uint32_t buf) {
  Emit *e = s->c->e;
  Kept f = {.key = -(int64_t)FORM_KEY - (int64_t)s->c->at,
            .n = i64_of(e, s->n),
            .k = i64_of(e, 2 * s->deep),
            .bytes = i64_of(e, s->pairs * pair_elements(s) * s->c->bytes),
            .fill = fill_weights,
            .ctx = s};
  return kept_form(s->c, buf, &f);
}

/* ---- rows ------------------------------------------------------------------------------- */
/* Where a tile's parts begin: so many rows from the block's first. */
static Val parts_at(const Strassen *s, Val rows) {
  return con_at(s->c, s->rows, mul(s->c->e, rows, i64_of(s->c->e, ROW_PARTS * s->deep)));
}

/* Rows of the lower half that a tile of the upper has below it: one fewer at the end of an odd
 * number. */
static Val lower_rows(const Strassen *s, Val row, Val rows) {
  Emit *e = s->c->e;
  Val m = s->c->side[ROWS].total;
  return i64_min(e, not_negative(e, sub(e, sub(e, m, s->half.m), row)), rows);
}

/* Both tiles as they are, whose halves are the quadrants, and the sums. */
static void pack_pair(const Strassen *s, Val tile, Val base) {
  const Con *c = s->c;
  Emit *e = c->e;
  Val row = first_row(&s->half, tile), rows = rows_of(&s->half, tile);
  Val height = height_of(&s->half, rows), n = mul(e, height, i64_of(e, s->deep));
  Val upper[4] = {base, height, row, rows};
  Val lower[4] = {con_at(c, base, mul(e, n, i64_of(e, A21))), height, add(e, s->half.m, row),
                  lower_rows(s, row, rows)};
  (void)sub_call(c, &s->pack[ROWS], upper, 4);
  (void)sub_call(c, &s->pack[ROWS], lower, 4);
  Loop v = loop_begin_step(e, n, c->lanes);
  Val a[ROW_PARTS];
  for (int i = A11; i <= A22; i++)
    a[i] = floats_at(c, con_at(c, base, add(e, v.i, mul(e, n, i64_of(e, i)))));
  a[S1] = plus(e, a[A21], a[A22]);
  a[S2] = minus(e, a[S1], a[A11]);
  a[S3] = minus(e, a[A11], a[A21]);
  a[S4] = minus(e, a[A12], a[S2]);
  for (int i = S1; i <= S4; i++)
    put_floats(c, a[i], con_at(c, base, add(e, v.i, mul(e, n, i64_of(e, i)))));
  loop_end(e, &v);
}

static RowBlock pack_block(const Strassen *s, Val from, Val to) {
  Emit *e = s->c->e;
  const Nest *t = &s->half;
  RowBlock r = {.from = from, .to = to, .row = first_row(t, from)};
  Loop i = loop_begin(e, sub(e, to, from));
  Val tile = add(e, from, i.i);
  pack_pair(s, tile, parts_at(s, sub(e, first_row(t, tile), r.row)));
  loop_end(e, &i);
  Val last = sub(e, to, i64_of(e, 1));
  r.rows = add(e, sub(e, first_row(t, last), r.row), height_of(t, rows_of(t, last)));
  return r;
}

/* ---- products ----------------------------------------------------------------------------- */
static Val sum_at(const Strassen *s, int sum, Val rows) {
  return con_at(s->c, s->sum[sum], mul(s->c->e, rows, i64_of(s->c->e, s->width)));
}

/* All tiles of a block by half a panel at b; each brings its share of the next one into the
 * cache. */
static void multiply(const Strassen *s, const RowBlock *r, int p, Val b, Val next) {
  const Con *c = s->c;
  Emit *e = c->e;
  Val tiles = sub(e, r->to, r->from), line = i64_of(e, s->width * c->bytes);
  Val deep = i64_of(e, s->deep), step = add(e, line, sub(e, tiles, i64_of(e, 1)));
  step = LLVMBuildUDiv(e->b, step, tiles, "");
  Loop i = loop_begin(e, tiles);
  Val tile = add(e, r->from, i.i), row = sub(e, first_row(&s->half, tile), r->row);
  Val height = height_of(&s->half, rows_of(&s->half, tile));
  Val part = mul(e, mul(e, height, deep), i64_of(e, product[p].rows));
  Val share = mul(e, mul(e, i.i, deep), step);
  Val arg[TILE_ARGS] = {con_at(c, parts_at(s, row), part),
                        b,
                        sum_at(s, product[p].sum, row),
                        deep,
                        i64_of(e, s->width),
                        LLVMConstInt(int_type(e, 1), product[p].begins, 0),
                        bytes_on(e, next, share),
                        step};
  Val fn = nest_tile(&s->half, height, i64_of(e, s->width));
  LLVMBuildCall2(e->b, tile_type(e), fn, arg, TILE_ARGS, "");
  loop_end(e, &i);
}

static void make_sum(const Strassen *s, const RowBlock *r, int p) {
  const Con *c = s->c;
  Emit *e = c->e;
  if (product[p].made == NO_SUM) return;
  Loop v = loop_begin_step(e, mul(e, r->rows, i64_of(e, s->width)), c->lanes);
  Val sum = floats_at(c, con_at(c, s->sum[X], v.i));
  if (product[p].both) sum = plus(e, sum, floats_at(c, con_at(c, s->sum[Y], v.i)));
  put_floats(c, sum, con_at(c, s->sum[product[p].made], v.i));
  loop_end(e, &v);
}

/* Quadrant q of a pair of panels to the epilogue. */
static void put_quadrant(const Strassen *s, const RowBlock *r, int q, Val pair) {
  const Con *c = s->c;
  Emit *e = c->e;
  Val panel = add(e, pair, i64_of(e, quadrant[q].across * s->pairs));
  Val width = i64_of(e, s->width), col = mul(e, panel, width);
  Val cols = i64_min(e, not_negative(e, sub(e, i64_of(e, s->n), col)), width);
  Loop i = loop_begin(e, sub(e, r->to, r->from));
  Val tile = add(e, r->from, i.i), row = first_row(&s->half, tile), rows = rows_of(&s->half, tile);
  Val from = sum_at(s, quadrant[q].sum, sub(e, row, r->row));
  if (quadrant[q].down) rows = lower_rows(s, row, rows), row = add(e, row, s->half.m);
  Val more[6] = {from, row, rows, col, cols, s->room};
  return_failure(e, sub_call(c, &s->out, more, 6));
  loop_end(e, &i);
}

static void visit_pair(const Strassen *s, const RowBlock *r, Val pair, Val is_last) {
  const Con *c = s->c;
  Emit *e = c->e;
  Val n = i64_of(e, s->deep * s->width);
  Val b = con_at(c, s->weights, mul(e, pair, i64_of(e, pair_elements(s))));
  for (int p = 0; p < PRODUCTS; p++) {
    Val next = con_at(c, b, n);
    if (p == PRODUCTS - 1) next = choose(e, is_last, b, next);
    multiply(s, r, p, b, next);
    make_sum(s, r, p);
    for (int q = 0; q < (int)(sizeof quadrant / sizeof *quadrant); q++)
      if (quadrant[q].after == p) put_quadrant(s, r, q, pair);
    b = next;
  }
}

/* ---- the whole ------------------------------------------------------------------------------ */
/* The room is behind the sums: squares of a tile are turned over whole, also where it is lower. */
static void take_parts(Strassen *s) {
  const Con *c = s->c;
  Emit *e = c->e;
  int64_t max = c->rows_max, each = max * ROW_PARTS * s->deep * c->bytes, lanes = c->lanes;
  int64_t fit = block_bytes(c) / each > 0 ? block_bytes(c) / each : 1;
  int64_t sum = max * s->width * c->bytes, turned = ceil_div(ROWS_MAX, lanes) * lanes * s->width;
  int64_t size[2 + SUMS] = {each, sum, sum, sum, turned * c->bytes};
  Val *part[2 + SUMS] = {&s->rows, &s->sum[X], &s->sum[Y], &s->sum[Z], &s->room};
  Val at[2 + SUMS], total = i64_of(e, 0);
  s->per_block = i64_min(e, i64_of(e, fit), s->half.tiles);
  for (int i = 0; i < 2 + SUMS; i++) {
    Val bytes = i64_of(e, ceil_div(size[i], 64) * 64);
    at[i] = total;
    total = add(e, total, part[i] == &s->room ? bytes : mul(e, s->per_block, bytes));
  }
  Val base = take_scratch_bytes(c, total);
  for (int i = 0; i < 2 + SUMS; i++) *part[i] = bytes_on(e, base, at[i]);
}

static void emit_strassen(Strassen *s) {
  Emit *e = s->c->e;
  take_parts(s);
  Part part = emit_part(e, s->c->at, i64_of(e, s->pairs));
  Val blocks = add(e, s->half.tiles, sub(e, s->per_block, i64_of(e, 1)));
  Loop i = loop_begin(e, LLVMBuildUDiv(e->b, blocks, s->per_block, ""));
  Val from = mul(e, i.i, s->per_block);
  RowBlock r = pack_block(s, from, i64_min(e, add(e, from, s->per_block), s->half.tiles));
  Loop j = loop_begin(e, sub(e, part.to, part.from));
  Val pair = add(e, part.from, j.i), one = i64_of(e, 1);
  visit_pair(s, &r, pair, equal(e, add(e, pair, one), part.to));
  loop_end(e, &j);
  loop_end(e, &i);
}

Block strassen_contract(const Con *c) {
  Con own = *c;
  Emit *e = c->e;
  Strassen s = {.c = &own};
  uint32_t buf;
  if (!e->cpu.fast || !find(&s, &buf)) return NULL;
  (void)choose_epilogue(&own);
  if (!pack_function(&own, ROWS, &s.pack[ROWS]) || !pack_function(&own, COLS, &s.pack[COLS]) ||
      !out_function(&own, &s.out))
    return NULL;
  Block ask = new_block(e, "constant"), yes = new_block(e, "strassen"), no = new_block(e, "direct");
  Block done = new_block(e, "");
  Val few = less(e, own.side[ROWS].total, i64_of(e, FEWEST_ROWS));
  LLVMBuildCondBr(e->b, few, no, ask);
  LLVMPositionBuilderAtEnd(e->b, ask);
  s.weights = kept_weights(&s, buf);
  LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, s.weights, ""), yes, no);
  LLVMPositionBuilderAtEnd(e->b, yes);
  s.half = (Nest){.c = &own,
                  .m = half_up(e, own.side[ROWS].total),
                  .n = i64_of(e, s.pairs * s.width),
                  .k = i64_of(e, s.deep)};
  choose_heights(&s.half);
  emit_strassen(&s);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, no);
  return done;
}
