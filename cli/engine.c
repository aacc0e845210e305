/* engine.c -- see engine.h.                                                     */
#include "cli/engine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* About 10 to 40 ms of interpretation: less than compiling takes. */
static const uint64_t trial_fuel = 20000000;

enum { MOST_THREADS = 64 };

static const char *const names[] = {"auto", "interp", "vm", "native"};

bool engine_choose(EngineChoice *e, const char *name, uint64_t threads) {
  if (!name) name = getenv("RVM_ENGINE");
  if (!name || !*name) name = names[ENGINE_AUTO];
  e->threads = threads > MOST_THREADS ? MOST_THREADS : (int)threads;
  for (int i = 0; i < 4; i++)
    if (!strcmp(name, names[i])) {
      e->kind = (EngineKind)i;
      return true;
    }
  return false;
}

bool engine_specialise(const char *name, Specialise *out) {
  static const char *const modes[] = {"on", "off", "now"};
  for (int i = 0; i < 3; i++)
    if (!strcmp(name ? name : modes[0], modes[i])) {
      *out = (Specialise)i;
      return true;
    }
  return false;
}

const char *engine_name(const EngineChoice *e) {
  if (!e->native) return names[ENGINE_INTERP];
  return names[e->kind == ENGINE_VM ? ENGINE_VM : ENGINE_NATIVE];
}

static bool plug(EngineChoice *e, bool compile) {
  NativeOptions o = {.functions =
                         e->kind == ENGINE_NATIVE || (e->kind == ENGINE_AUTO && !e->kernels),
                     .cache = !e->no_cache,
                     .compile = compile,
                     .fast_math = e->fast_math,
                     .threads = e->threads,
                     .specialise = e->specialise};
  e->native = native_open(e->p, e->image, e->n, o, &e->why);
  const char *perf = getenv("RVM_PERF");
  if (e->native && (e->perf || (perf && !strcmp(perf, "1")))) native_perf_map(e->native);
  return e->native != NULL;
}

bool engine_start(EngineChoice *e, rvm_program *p, const void *image, size_t n, bool long_run) {
  e->p = p, e->image = image, e->n = n;
  if (e->kind == ENGINE_INTERP) return true;
  bool have = plug(e, e->kind != ENGINE_AUTO || long_run);
  if (!have && e->kind != ENGINE_AUTO)
    fprintf(stderr, "rvm: --engine %s: %s\n", names[e->kind], e->why);
  if (have || e->kind != ENGINE_AUTO) return have;
  e->trial = !long_run;
  return true;
}

uint64_t engine_fuel(const EngineChoice *e, uint64_t wanted) {
  return e->trial && (!wanted || wanted > trial_fuel) ? trial_fuel : wanted;
}

bool engine_again(EngineChoice *e, uint64_t wanted) {
  if (!e->trial || engine_fuel(e, wanted) == wanted) return false;
  e->trial = false;
  plug(e, true);
  return true;
}

void engine_end(EngineChoice *e) { native_close(e->native); }
