/* native.c -- see native.h.                                                    */
#define _GNU_SOURCE
#include "cli/native.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/str.h"
#include "cli/cache.h"
#include "codegen/llvm/llvm.h"
#ifdef RVM_HAVE_MACHINE
#include "codegen/native/code.h"
#include "codegen/native/machine.h"

struct Native {
  NativeCode *code;
  bool keep;       /* versions, in the cache        */
  CacheKey kept;   /* under this                    */
  char *module;    /* its path, for the thread      */
  bool perf;       /* perf is told the names        */
  LlvmOptions how; /* for versions                 */
};

/* ---- the processor --------------------------------------------------------------- */
static bool runs_here(int level) {
#if defined(__x86_64__)
  bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  return level == 1 || (v3 && (level == 3 || v4));
#else
  (void)level;
  return false;
#endif
}

/* *cpu: what RVM_CPU asks for, or NULL.  false: *why. */
static bool cpu_wanted(bool to_run, const char **cpu, const char **why) {
  static const struct {
    const char *name;
    int level;
  } known[] = {{"x86-64", 1}, {"x86-64-v3", 3}, {"x86-64-v4", 4}};
  const char *wish = getenv("RVM_CPU");
  *cpu = NULL;
  if (!wish || !*wish) return true;
  *why = "RVM_CPU is none of x86-64, x86-64-v3 and x86-64-v4";
  for (int i = 0; i < 3; i++) {
    if (strcmp(wish, known[i].name) != 0) continue;
    *why = "this machine cannot do all that the processor of RVM_CPU can";
    if (to_run && !runs_here(known[i].level)) return false;
    *cpu = known[i].name;
  }
  return *cpu != NULL;
}

/* "48K", "2M", "0", up to *end. */
static bool read_size(const char *text, char **end, int64_t *out) {
  if (*text < '0' || *text > '9') return false;
  unsigned long long n = strtoull(text, end, 10);
  int shift = **end == 'K' ? 10 : **end == 'M' ? 20 : 0;
  *end += shift != 0;
  *out = (int64_t)(n << shift);
  return n < 1 << 20;
}

static bool caches_wanted(Caches *c, const char **why) {
  const char *wish = getenv("RVM_CPU_CACHES");
  if (!wish || !*wish) return *c = machine_caches(NULL), true;
  char *end;
  *why = "RVM_CPU_CACHES is not three sizes, as in 32K,1M,32M";
  return read_size(wish, &end, &c->first) && *end == ',' && c->first > 0 &&
         read_size(end + 1, &end, &c->second) && *end == ',' && c->second > 0 &&
         read_size(end + 1, &end, &c->third) && !*end;
}

/* What code is made for. */
static bool machine_wanted(bool to_run, LlvmOptions *o, const char **why) {
  return cpu_wanted(to_run, &o->cpu, why) && caches_wanted(&o->caches, why);
}

/* ---- the module --------------------------------------------------------------- */
typedef struct {
  void *(*compile)(const LlvmOptions *, const void *, size_t, size_t *, const char **);
  char *(*text)(const LlvmOptions *, const void *, size_t, bool, const char **);
  void *(*fixed)(const LlvmOptions *, const Kernel *, const int64_t *, const atomic_bool *,
                 size_t *, const char **);
  void (*free)(void *);
} Compiler;

/* The directory of the running command. */
static const char *own_directory(void) {
  char path[4096];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  while (n > 0 && path[n - 1] != '/') n--;
  return n > 0 ? str_fmt("%.*s", (int)n, path) : "./";
}

/* Beside the command, in the tree it was installed in (wherever that was moved), or where the
 * build was told that it goes. */
static const char *module_path(void) {
  static const char *const from_own[] = {"", RVM_MODULE_FROM_BIN "/"};
  for (int i = 0; i < 2; i++) {
    const char *path = str_fmt("%s%srvm_native.so", own_directory(), from_own[i]);
    if (access(path, R_OK) == 0) return path;
  }
  return RVM_MODULE_DIR "/rvm_native.so";
}

/* A function of the module; ISO C has no cast from an object pointer to one. */
static bool find(void *module, const char *name, void *fn) {
  void *at = dlsym(module, name);
  memcpy(fn, &at, sizeof at);
  return at != NULL;
}

/* The module stays loaded until the process ends. */
static bool load_compiler(Compiler *c, const char *path, const char **why) {
  bool there = access(path, R_OK) == 0;
  void *m = there ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  *why = there ? dlerror() : "rvm_native.so is neither beside rvm nor in " RVM_MODULE_FROM_BIN;
  if (!m) return false;
  *why = "rvm_native.so is of another version";
  return find(m, "llvm_compile", &c->compile) && find(m, "llvm_emit_text", &c->text) &&
         find(m, "llvm_compile_fixed", &c->fixed) && find(m, "llvm_free", &c->free);
}

/* ---- versions of kernels ----------------------------------------------------------- */
/* On a thread: takes nothing from base/mem. */
static void *compile_fixed(void *user, const Kernel *k, const int64_t *sym, const atomic_bool *stop,
                           size_t *bytes) {
  const Native *n = user;
  const char *why;
  Compiler c;
  if (!load_compiler(&c, n->module, &why)) return NULL;
  LlvmOptions how = n->how;
  how.level = -1;
  return c.fixed(&how, k, sym, stop, bytes, &why);
}

/* The owner's block is malloc's: the thread's pointer to it is not seen by a collector.  Where
 * there is no memory for versions, the program, which has its code by now, runs without. */
static void specialise(Native *n, const char *module, Specialise how) {
  void *kept = NULL;
  size_t bytes = 0;
  n->module = strdup(module);
  if (!n->module) return;
  if (n->keep && !cache_get(n->kept, &kept, &bytes)) bytes = 0;
  if (code_specialise(n->code, (SpecialMaker){compile_fixed, n}, kept, bytes))
    special_at_once(code_special(n->code), how == SPECIALISE_NOW);
}

/* ---- machine code ---------------------------------------------------------------- */
static Native *plug(rvm_program *p, const void *code, size_t n, const NativeOptions *o,
                    const LlvmOptions *how, CacheKey kept, const char **why) {
  Native *out = calloc(1, sizeof *out);
  *why = "no memory for the machine code";
  if (!out) return NULL;
  out->code = code_load(p, code, n, why);
  out->keep = o->cache, out->kept = kept, out->how = *how;
  if (!out->code) {
    native_close(out);
    return NULL;
  }
  code_threads(out->code, o->threads);
  if (o->specialise != SPECIALISE_OFF) specialise(out, module_path(), o->specialise);
  return out;
}

Native *native_open(rvm_program *p, const void *image, size_t n, NativeOptions o,
                    const char **why) {
  Compiler c;
  void *code;
  size_t bytes;
  CacheKey key = {{0}}, kept = key;
  LlvmOptions how = {.level = o.quick ? 0 : -1, .functions = o.functions, .fast_math = o.fast_math};
  if (!machine_wanted(true, &how, why)) return NULL;
  o.cache = o.cache && cache_wanted();
  if (o.fast_math) o.specialise = SPECIALISE_OFF; /* known extents would take other ways */
  if (o.cache) {
    const char *wish = str_fmt("%s%s%s for %s, %lld %lld %lld", o.functions ? "whole" : "kernels",
                               o.fast_math ? " fast" : "", o.quick ? " quick" : "",
                               how.cpu ? how.cpu : "this", (long long)how.caches.first,
                               (long long)how.caches.second, (long long)how.caches.third);
    key = cache_key(image, n, module_path(), wish);
    kept = cache_key_more(key, "versions");
    Native *out = cache_get(key, &code, &bytes) ? plug(p, code, bytes, &o, &how, kept, why) : NULL;
    if (out) return out;
  }
  *why = "it is not in the cache";
  if (!o.compile || !load_compiler(&c, module_path(), why)) return NULL;
  code = c.compile(&how, image, n, &bytes, why);
  if (!code) return NULL;
  if (o.cache) cache_put(key, code, bytes);
  Native *out = plug(p, code, bytes, &o, &how, kept, why);
  c.free(code);
  return out;
}

/* ---- perf ---------------------------------------------------------------------------- */
static void map_line(void *file, const char *name, uintptr_t at, size_t n) {
  fprintf(file, "%llx %zx %s\n", (unsigned long long)at, n, name);
}

static bool write_names(const Native *n) {
  int fd = open(str_fmt("/tmp/perf-%ld.map", (long)getpid()),
                O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
  if (!f) return false;
  code_each(n->code, map_line, f);
  return fclose(f) == 0;
}

/* Now, in case the process is killed, and again at the end, with the versions made meanwhile. */
bool native_perf_map(Native *n) {
  n->perf = true;
  return write_names(n);
}

void native_close(Native *n) {
  size_t bytes;
  if (!n) return;
  if (n->perf && n->code) (void)write_names(n);
  Special *s = n->code ? code_special(n->code) : NULL;
  void *kept = s && n->keep ? special_pack(s, &bytes) : NULL;
  if (kept) cache_put(n->kept, kept, bytes);
  free(kept);
  code_free(n->code);
  free(n->module);
  free(n);
}

void native_specialise_now(Native *n, bool yes) {
  if (code_special(n->code)) special_at_once(code_special(n->code), yes);
}

unsigned native_versions(const Native *n) {
  Special *s = code_special(n->code);
  return s ? special_count(s) : 0;
}

const char *native_missing(void) {
  const char *why;
  Compiler c;
  return load_compiler(&c, module_path(), &why) ? NULL : why;
}

char *native_text(const void *image, size_t n, bool assembly, bool fast_math, const char **why) {
  Compiler c;
  LlvmOptions how = {.level = -1, .functions = true, .fast_math = fast_math};
  if (!machine_wanted(false, &how, why)) return NULL;
  return load_compiler(&c, module_path(), why) ? c.text(&how, image, n, assembly, why) : NULL;
}

#else
static const char none[] = "this rvm was built without LLVM";
Native *native_open(rvm_program *p, const void *image, size_t n, NativeOptions o,
                    const char **why) {
  (void)p, (void)image, (void)n, (void)o;
  *why = none;
  return NULL;
}
void native_close(Native *n) { (void)n; }
void native_specialise_now(Native *n, bool yes) { (void)n, (void)yes; }
unsigned native_versions(const Native *n) {
  (void)n;
  return 0;
}
bool native_perf_map(Native *n) {
  (void)n;
  return false;
}
const char *native_missing(void) { return none; }
char *native_text(const void *image, size_t n, bool assembly, bool fast_math, const char **why) {
  (void)image, (void)n, (void)assembly, (void)fast_math;
  *why = none;
  return NULL;
}
#endif
