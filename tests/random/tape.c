/* tape.c -- see tape.h.                                                       */
#include "tests/random/tape.h"
#include <string.h>

Tape tape_seed(uint64_t seed) { return (Tape){.state = seed * 0x9e3779b97f4a7c15u + 1}; }

Tape tape_play(const Choices *c) { return (Tape){.playing = true, .taken = *c}; }

/* splitmix64: Steele et al., OOPSLA 2014. */
static uint32_t fresh(Tape *t) {
  uint64_t z = t->state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return (uint32_t)(z >> 32);
}

uint32_t tape_pick(Tape *t, uint32_t n) {
  if (t->playing) return t->at < t->taken.n ? t->taken.at[t->at++] % n : 0;
  uint32_t v = (uint32_t)((uint64_t)fresh(t) * n >> 32);
  vec_push(&t->taken, v);
  return v;
}

static Choices copy_without(const Choices *c, int from, int n) {
  Choices out = {0};
  for (int i = 0; i < c->n; i++)
    if (i < from || i >= from + n) vec_push(&out, c->at[i]);
  return out;
}
static Choices copy_zeroed(const Choices *c, int from, int n, bool *changed) {
  Choices out = copy_without(c, 0, 0);
  *changed = false;
  for (int i = from; i < from + n && i < out.n; i++) {
    *changed |= out.at[i] != 0;
    out.at[i] = 0;
  }
  return out;
}

Choices tape_reduce(const Choices *c, int tries, bool (*fails)(void *ud, const Choices *c),
                    void *ud) {
  Choices best = copy_without(c, 0, 0);
  for (int step = best.n / 2; step > 0 && tries > 0; step /= 2)
    for (int at = best.n - step; at >= 0 && tries > 0;) {
      bool changed;
      Choices less = copy_without(&best, at, step), flat = copy_zeroed(&best, at, step, &changed);
      tries--;
      if (fails(ud, &less))
        best = less;
      else if (changed && tries-- > 0 && fails(ud, &flat))
        best = flat;
      at = at - step < 0 && at > 0 ? 0 : at - step;
      if (at + step > best.n) at = best.n - step;
    }
  return best;
}
