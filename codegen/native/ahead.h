/* ahead.h -- a product that is computed while others wait for memory.
 *
 * A product of one row by a constant that no cache near the core holds (a step of a
 * recurrence) reads memory as fast as it comes and multiplies half of the time.  A
 * plain product of a few rows by another constant, whose result is wanted later
 * (the next elements' products with their weights, opt/batch.c), can be computed
 * meanwhile: its launch only packs the rows, launches of the first kind do some of it
 * each, in one loop with their own (codegen/llvm/contract_ahead.c), and what is left is
 * done before anybody reads the result.  The sums and their order are those of the
 * launch itself.
 *
 * At most one such product waits per run.  Nobody sees that it does: its result is
 * owned once more meanwhile, so its memory is not given away or written to, and is
 * complete when a launch reads it, a run stops, or returns.                       */
#ifndef RVM_CODEGEN_NATIVE_AHEAD_H
#define RVM_CODEGEN_NATIVE_AHEAD_H
#include <stdbool.h>
#include <stdint.h>
#include "kernel/kernel.h"

enum {
  AHEAD_WIDTH = 32,                          /* columns of a panel: two vectors of floats */
  AHEAD_HEIGHT = 8, AHEAD_PARTS = 2,         /* rows of a part; parts at most */
  AHEAD_WORTH = 1 << 17                      /* elements of a constant; smaller ones take little */
};

/* (sums: AHEAD_HEIGHT by AHEAD_WIDTH) (+)= rows(kk, AHEAD_HEIGHT) * columns(kk, stride); the last two
 * arguments: memory to look at meanwhile, and a step. */
typedef void (*AheadTile)(const void *rows, const void *columns, void *sums, int64_t kk,
                          int64_t stride, bool first, const void *base, int64_t step);

/* Panel after panel of columns, each all rows. */
typedef struct Ahead {
  int64_t left;                              /* panels that are not done; 0: nothing waits */
  int64_t at, depth;                         /* of the panel at hand: depths done, of so many */
  int64_t parts;                             /* of AHEAD_HEIGHT rows          */
  const float *columns;                      /* the panel at hand, packed: depth by AHEAD_WIDTH */
  float *rows;                               /* packed: parts by depth by AHEAD_HEIGHT */
  float *sums;                               /* of the panel: parts by AHEAD_HEIGHT by AHEAD_WIDTH;
                                                before its first depth: anything */
  AheadTile tile;                            /* of a kernel that was launched; NULL: none was */
  float *y;  int64_t n, panel;               /* the result, its columns, the panel at hand */
  void *room;  size_t room_bytes;            /* where rows and sums are       */
} Ahead;

/* x (rows, depth) by y (columns, depth), to (rows, columns); buffers by number. */
typedef struct { uint32_t x, w, y;  int64_t m, n, k; } PlainProduct;
/* Is all that k does such a product of floats, of 8 or 16 rows, by enough for a constant to
 * be worth the trouble? */
bool plain_product(const Kernel *k, PlainProduct *p);

size_t ahead_bytes(const PlainProduct *p);   /* of room                       */
/* false: no memory, and what there was is gone. */
bool ahead_reserve(Ahead *a, size_t bytes);
/* Let p wait; columns: its constant as panels.  Nothing may wait already, the tile is known, and
 * there is room. */
void ahead_begin(Ahead *a, const PlainProduct *p, void *const *buf, const float *columns);
/* Compiled code has done all depths of the panel at hand. */
int64_t ahead_next(Ahead *a);
/* Do the rest: afterwards left is 0. */
void ahead_finish(Ahead *a);
void ahead_free(Ahead *a);                   /* its memory                    */
#endif
