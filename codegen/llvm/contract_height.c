/* contract_height.c -- rows cut into tiles, and the tile for each height.
 *
 * Tiles have one height or two that differ by one where the number of rows is
 * known, else one of a few heights for which there is code, chosen at run time:
 * the least one that holds a tile's rows.                                    */
#include "codegen/llvm/contract.h"

enum { FEW_ROWS = 2 };

/* A tile of a row or two takes longer than its share: columns come at its pace.  So the last tile
 * has more of them, and the one before has fewer, which is a height there is code for. */
static Val last_rows(const Nest *t) {
  Emit *e = t->c->e;
  int max = t->heights[t->n_heights - 1], less_rows = max;
  for (int i = t->n_heights; i-- > 0 && 2 * t->heights[i] >= max + FEW_ROWS;)
    less_rows = t->heights[i];
  Val left = sub(e, t->m, mul(e, sub(e, t->tiles, i64_of(e, 1)), t->each));
  Val few = at_most(e, left, i64_of(e, FEW_ROWS));
  Val full = equal(e, t->each, i64_of(e, max));
  Val more = greater(e, t->tiles, i64_of(e, 1));
  Val both = LLVMBuildAnd(e->b, few, LLVMBuildAnd(e->b, full, more, ""), "");
  return choose(e, both, add(e, left, i64_of(e, max - less_rows)), left);
}

void choose_heights(Nest *t) {
  static const uint8_t some[] = {1, 2, 4, 8, 11};
  const Con *c = t->c;
  Emit *e = c->e;
  int64_t m, tiles, max = c->rows_max;
  t->exact = val_known(t->m, &m) && m > 0;
  t->tiles = div_up(e, t->m, i64_of(e, max));
  if (t->exact) {
    tiles = ceil_div(m, max);
    t->heights[t->n_heights++] = (int)(m / tiles);
    if (m % tiles) t->heights[t->n_heights++] = (int)(m / tiles) + 1;
    return;
  }
  for (int i = 0; i < (int)sizeof some && some[i] < max; i++) t->heights[t->n_heights++] = some[i];
  t->heights[t->n_heights++] = (int)max;
  t->each = height_of(t, div_up(e, t->m, one_at_least(e, t->tiles)));
  t->tiles = div_up(e, t->m, t->each);
  t->last = last_rows(t);
}

Val first_row(const Nest *t, Val tile) {
  Emit *e = t->c->e;
  if (!t->exact) {
    Val is_last = equal(e, add(e, tile, i64_of(e, 1)), t->tiles);
    return choose(e, is_last, sub(e, t->m, t->last), mul(e, tile, t->each));
  }
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
    Val fits = at_most(e, rows, i64_of(e, t->heights[i]));
    h = choose(e, fits, i64_of(e, t->heights[i]), h);
  }
  return h;
}

Val partial_sums(const Nest *t, int h) {
  Emit *e = t->c->e;
  if (h > SETS_ROWS) return LLVMConstNull(int_type(e, 1));
  Val all = equal(e, t->m, i64_of(e, h));
  Val deep = greater(e, t->k, i64_of(e, SETS_DEPTH));
  return LLVMBuildAnd(e->b, all, deep, "");
}

/* The tile of this height for so many columns. */
static Val tile_of_height(const Nest *t, int h, Val columns) {
  Emit *e = t->c->e;
  int64_t n = known_or(t->n, -1), known;
  Tall f = {.height = h, .sets = 1, .pitch = t->pitch};
  Val one = tile_for(t->c, &f, n, columns);
  Val few = partial_sums(t, h);
  if (val_known(few, &known) && !known) return one;
  f.sets = 2 * SETS_ROWS / h;
  Val more = tile_for(t->c, &f, n, columns);
  return choose(e, few, more, one);
}

Val nest_tile(const Nest *t, Val height, Val columns) {
  Emit *e = t->c->e;
  Val fn = NULL;
  for (int i = t->n_heights; i-- > 0;) {
    Val f = tile_of_height(t, t->heights[i], columns);
    Val is = equal(e, height, i64_of(e, t->heights[i]));
    fn = fn ? choose(e, is, f, fn) : f;
  }
  return fn;
}
