/* engine.h -- which engine runs a program.
 *
 * interp: bytecode and kernels interpreted; vm: compiled kernels; native: all
 * compiled.  auto, the default: native if its code is in the cache; else the
 * program starts interpreted, and is compiled and started anew when it turns
 * out to be long.  Compiling takes longer than most short runs do.           */
#ifndef RVM_CLI_ENGINE_H
#define RVM_CLI_ENGINE_H
#include "cli/native.h"

typedef enum { ENGINE_AUTO, ENGINE_INTERP, ENGINE_VM, ENGINE_NATIVE } EngineKind;
#define ENGINE_NAMES "auto, interp, vm or native"
/* For the options of commands that have an engine. */
#define ENGINE_HELP "auto (default), interp, vm (compiled kernels) or native (all compiled)"
#define THREADS_HELP "of large kernels, when compiled; the bits are the same (default: physical cores)"

typedef struct {
  EngineKind kind;
  bool no_cache, perf, fast_math;            /* perf: a map of symbols, too   */
  bool kernels;                              /* auto does not compile functions */
  int threads;                               /* of large kernels; 0: one per physical core */
  Specialise specialise;
  rvm_program *p;  const void *image;  size_t n; /* set by engine_start        */
  Native *native;                            /* NULL: interpreted             */
  bool trial;                                /* interpreted for a while only  */
  const char *why;                           /* there is no native code       */
} EngineChoice;

/* What --engine and --threads say.  name: NULL for RVM_ENGINE, or auto; threads: 0
 * for one per physical core.  false: no such engine. */
bool engine_choose(EngineChoice *e, const char *name, uint64_t threads);
const char *engine_name(const EngineChoice *e);    /* what runs in fact       */
/* Before the first instance of p is made.  long_run: do not try at first.
 * false: that engine is not to be had; why is said on stderr. */
bool engine_start(EngineChoice *e, rvm_program *p, const void *image, size_t n, bool long_run);
/* The limit of fuel to run under, of the one asked for. */
uint64_t engine_fuel(const EngineChoice *e, uint64_t wanted);
/* After a run ended with RVM_NO_FUEL, and its instance is gone: is there more
 * to spend?  Then compile, if possible, and run again. */
bool engine_again(EngineChoice *e, uint64_t wanted);
void engine_end(EngineChoice *e);            /* before the program goes       */
/* on, off or now; NULL: on.  false: none of them. */
bool engine_specialise(const char *name, Specialise *out);
#endif
