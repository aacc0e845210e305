/* contract_out.c -- from the sums of a tile to the statements of the epilogue:
 * along its columns, or along its rows when the result is contiguous there (the
 * tile is turned over first).  What cannot be taken in lanes is done one by one. */
#include "codegen/llvm/contract.h"

static uint32_t last_var(const Set *s) { return s->n ? s->axis[s->n - 1].var : KE_NONE; }

static const KStmt *statement(const Con *c) { return &c->e->k->stmt[c->at]; }

/* Do the stores run along the last axis of this side? */
static bool stores_run(const Con *c, int side) {
  Emit *e = c->e;
  int64_t stride;
  for (uint32_t at = c->at + 1; at < statement(c)->end; at++) {
    const KStmt *s = &e->k->stmt[at];
    if (s->kind == KS_Store)
      return store_stride(e, s, last_var(&c->out[side]), &stride) && stride == 1;
  }
  return false;
}

static bool side_in_lanes(const Con *c, int side) {
  Lanes l = {c->e, c->lanes, last_var(&c->out[side]), NULL};
  const KStmt *s = statement(c);
  return c->out[side].n > 0 && lanes_takes_body(&l, s->var, c->at + 1, s->end);
}

bool choose_epilogue(Con *c) {
  c->by_rows = !stores_run(c, COLS) && stores_run(c, ROWS) && side_in_lanes(c, ROWS);
  c->in_lanes = c->by_rows || side_in_lanes(c, COLS);
  return c->in_lanes;
}

/* ---- in lanes ------------------------------------------------------------------------- */
static Val rounded(Emit *e, DType t, Val v) { return emit_round_half(e, t, v); }

/* One row of sums at `row`, along positions [from, from + n) of a side. */
static void row_in_lanes(const Con *c, int side, Val row, Val from, Val n) {
  Emit *e = c->e;
  const KStmt *s = statement(c);
  const Set *set = &c->out[side];
  Runs r = runs_begin(e, set, from, n);
  Loop v = loop_begin_step(e, r.len, c->lanes);
  Val left = sub(e, r.len, v.i);
  Block full = new_block(e, "full"), part = new_block(e, "part"), next = new_block(e, "");
  set_var(e, last_var(set), add(e, r.first, v.i));
  Val x = load_lanes(e, c->type, c->lanes, con_at(c, row, add(e, r.pos, v.i)), NULL,
                     (unsigned)c->bytes);
  Val whole = at_least(e, left, i64_of(e, c->lanes));
  LLVMBuildCondBr(e->b, whole, full, part);
  for (int i = 0; i < 2; i++) {
    LLVMPositionBuilderAtEnd(e->b, i ? part : full);
    Lanes l = {e, c->lanes, last_var(set), i ? lanes_below(e, c->lanes, left) : NULL};
    set_var(e, s->var, rounded(e, (DType)s->dtype, x));
    lanes_body(&l, s->var, c->at + 1, s->end);
    LLVMBuildBr(e->b, next);
  }
  LLVMPositionBuilderAtEnd(e->b, next);
  loop_end(e, &v);
  runs_end(e, &r);
}

static void row_one_by_one(const Con *c, Val row, Val from, Val n) {
  Emit *e = c->e;
  const KStmt *s = statement(c);
  const Set *set = &c->out[COLS];
  Runs r = runs_begin(e, set, from, n);
  Loop i = loop_begin(e, r.len);
  set_var(e, last_var(set), LLVMBuildNSWAdd(e->b, r.first, i.i, ""));
  Val x = LLVMBuildLoad2(e->b, c->type, con_at(c, row, add(e, r.pos, i.i)), "");
  LLVMSetAlignment(x, (unsigned)c->bytes);
  set_var(e, s->var, rounded(e, (DType)s->dtype, x));
  emit_stmts(e, c->at + 1, s->end);
  loop_end(e, &i);
  runs_end(e, &r);
}

/* sum(rows, two vectors) -> room(two vectors of columns, room_width) */
static void turn_tile(const Con *c, Val sum, Val rows, Val columns, Val room, int64_t room_width) {
  Emit *e = c->e;
  int64_t l = c->lanes;
  Loop i = loop_begin_step(e, rows, l), j = loop_begin_step(e, columns, l);
  Val from = con_at(c, sum, add(e, mul(e, i.i, i64_of(e, 2 * l)), j.i));
  Val to = con_at(c, room, add(e, mul(e, j.i, i64_of(e, room_width)), i.i));
  Val arg[6] = {from, i64_of(e, 2 * l), to, i64_of(e, room_width), i64_of(e, l), i64_of(e, l)};
  LLVMBuildCall2(e->b, turn_type(e), turn_function(c), arg, 6, "");
  loop_end(e, &j);
  loop_end(e, &i);
}

/* Rows of whole panels, both vectors as one: what depends on each other in one is done in the
 * shadow of the other.  Then goes on at the block that is returned; the builder is where rows are
 * not whole.  NULL: nothing is emitted. */
static Block whole_rows(const Con *c, Val sum, Val row, Val rows, Val col, Val cols) {
  Emit *e = c->e;
  unsigned n = 2 * c->lanes;
  if (!straight_epilogue(c)) return NULL;
  Block whole = new_block(e, "whole"), part = new_block(e, "part"), done = new_block(e, "");
  Val is_whole = equal(e, cols, i64_of(e, n));
  LLVMBuildCondBr(e->b, is_whole, whole, part);
  LLVMPositionBuilderAtEnd(e->b, whole);
  Loop i = loop_begin(e, rows);
  Val at = con_at(c, sum, mul(e, i.i, i64_of(e, n)));
  Val x = load_lanes(e, c->type, n, at, NULL, (unsigned)c->bytes);
  vector_out(c, n, NULL, add(e, row, i.i), col, x);
  loop_end(e, &i);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, part);
  return done;
}

bool out_function(const Con *c, Sub *s) {
  Con in;
  LLVMTypeRef i64 = int_type(c->e, 64), p = ptr_type(c->e), more[6] = {p, i64, i64, i64, i64, p};
  if (!sub_begin(c, &in, s, "epilogue", more, 6)) return false;
  Emit *e = in.e;
  Val sum = sub_arg(s, 0), row = sub_arg(s, 1), rows = sub_arg(s, 2), col = sub_arg(s, 3);
  Val cols = sub_arg(s, 4), room = sub_arg(s, 5);
  int64_t stride = 2 * c->lanes;
  if (c->by_rows) {
    stride = (ROWS_MAX + (int)c->lanes - 1) / (int)c->lanes * (int)c->lanes;
    turn_tile(&in, sum, rows, cols, room, stride);
    sum = room;
  }
  Block done = whole_rows(&in, sum, row, rows, col, cols);
  Loop i = loop_begin(e, c->by_rows ? cols : rows);
  set_at(e, c->by_rows ? &in.out[COLS] : &in.out[ROWS], add(e, c->by_rows ? col : row, i.i));
  Val at = con_at(&in, sum, mul(e, i.i, i64_of(e, stride)));
  if (c->in_lanes)
    row_in_lanes(&in, c->by_rows ? ROWS : COLS, at, c->by_rows ? row : col,
                 c->by_rows ? rows : cols);
  else
    row_one_by_one(&in, at, col, cols);
  loop_end(e, &i);
  if (done) {
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
  }
  sub_end(c, &in, s);
  return true;
}

/* ---- whole tiles ---------------------------------------------------------------------------- */
bool straight_epilogue(const Con *c) {
  return !c->by_rows && c->in_lanes && c->out[ROWS].n == 1 && c->out[COLS].n == 1;
}

void vector_out(const Con *c, unsigned lanes, Val mask, Val row, Val col, Val sum) {
  Emit *e = c->e;
  const KStmt *at = statement(c);
  Lanes l = {e, lanes, last_var(&c->out[COLS]), mask};
  set_at(e, &c->out[ROWS], row);
  set_at(e, &c->out[COLS], col);
  set_var(e, at->var, rounded(e, (DType)at->dtype, sum));
  lanes_body(&l, at->var, c->at + 1, at->end);
}

/* Vector j of a row of a tile; columns behind the last are not stored. */
static void tile_vector_out(const Con *c, const Tall *tall, int j, Val row, Val col, Val sum) {
  Emit *e = c->e;
  unsigned n = tile_lanes(c, tall->columns, j);
  int64_t left = tall->columns - j * (int64_t)c->lanes;
  Val mask = left < n ? lanes_below(e, n, i64_of(e, left)) : NULL;
  vector_out(c, n, mask, row, add(e, col, i64_of(e, j * (int)c->lanes)), sum);
}

bool straight_function(const Con *c, const Tall *tall, Sub *s) {
  Con in;
  LLVMTypeRef i64 = int_type(c->e, 64), p = ptr_type(c->e), more[7] = {p, p, i64, i64, i64, i64, p};
  if (!sub_begin(c, &in, s, "tile.whole", more, 7)) return false;
  Emit *e = in.e;
  Val sum[2 * ROWS_MAX];
  int vectors = tile_vectors(&in, tall->columns);
  tile_sums(&in, tall, sub_arg(s, 0), sub_arg(s, 1), sub_arg(s, 2), sub_arg(s, 3), sub_arg(s, 6),
            sum);
  for (int i = 0; i < vectors * tall->height; i++)
    tile_vector_out(&in, tall, i % vectors, add(e, sub_arg(s, 4), i64_of(e, i / vectors)),
                    sub_arg(s, 5), sum[i]);
  sub_end(c, &in, s);
  return true;
}
