/* tape.h -- the choices that make a random program.
 *
 * A generator asks for numbers; they come from a seed and are remembered, or
 * are played back from a tape (zeros after its end).  0 is always the simplest
 * alternative, so a failing program is reduced by shortening and zeroing its
 * tape, without knowing what the choices mean (MacIver and Donaldson,
 * "Test-case reduction via test-case generation", ECOOP 2020).               */
#ifndef RVM_TESTS_RANDOM_TAPE_H
#define RVM_TESTS_RANDOM_TAPE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/vec.h"

typedef VEC(uint32_t) Choices;
typedef struct { uint64_t state;  bool playing;  int at;  Choices taken; } Tape;

Tape     tape_seed(uint64_t seed);
Tape     tape_play(const Choices *c);
/* In [0, n); n > 0. */
uint32_t tape_pick(Tape *t, uint32_t n);

/* The smallest tape found, in at most `tries` tries, for which fails is true. */
Choices  tape_reduce(const Choices *c, int tries, bool (*fails)(void *ud, const Choices *c),
                     void *ud);
#endif
