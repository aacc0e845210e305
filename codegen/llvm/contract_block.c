/* contract_block.c -- how much of a product is worked on at a time, by the sizes of the caches.
 *
 * As in Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication
 * (TOMS 34, 2008), section 4, with the sides exchanged: a panel of columns stays in the second
 * cache while rows, which come from the third, go by.  No size changes the bits of a result
 * unless the depth is above block_depth and rows are so few that sums are taken in parts, or
 * fast_math chooses another algorithm by it.                                                 */
#include "codegen/llvm/contract.h"

enum {
  LEAST_DEPTH = 256,  /* of a visit: what is below is spent on the sums' way to memory and back */
  MOST_DEPTH = 8192,  /* of a visit: beyond, that is not seen                                  */
  MOST_ROWS = 4 << 20 /* bytes: scratch memory, of which more gives nothing                    */
};

int64_t block_depth(const Con *c) {
  int64_t depth = MOST_DEPTH, row = 2 * (int64_t)c->lanes * c->bytes;
  while (depth > LEAST_DEPTH && depth * row > c->e->cpu.cache.second) depth /= 2;
  return depth;
}

int64_t block_bytes(const Con *c) {
  int64_t part = third_part(c), least = c->e->cpu.cache.second / 2;
  return part > MOST_ROWS ? MOST_ROWS : part > least ? part : least;
}

int64_t third_part(const Con *c) { return c->e->cpu.cache.third / 8; }

/* Twice a second cache still gains 2 % by it, three times is level, four times loses 2 % (Zen 4).
 */
int64_t near_bytes(const Con *c) { return 3 * c->e->cpu.cache.second; }
