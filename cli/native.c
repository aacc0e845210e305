/* native.c -- see native.h.                                                    */
#define _GNU_SOURCE
#include "cli/native.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/str.h"
#include "cli/cache.h"
#include "codegen/llvm/llvm.h"
#ifdef RVM_HAVE_MACHINE
#include "codegen/native/code.h"

struct Native {
  NativeCode *code;
};

/* ---- the module --------------------------------------------------------------- */
typedef struct {
  void *(*compile)(const LlvmOptions *, const void *, size_t, size_t *, const char **);
  char *(*text)(const LlvmOptions *, const void *, size_t, bool, const char **);
  void (*free)(void *);
} Compiler;

/* The directory of the running command. */
static const char *own_directory(void) {
  char path[4096];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  while (n > 0 && path[n - 1] != '/') n--;
  return n > 0 ? str_fmt("%.*s", (int)n, path) : "./";
}

/* Beside the command, or installed. */
static const char *module_path(void) {
  const char *beside = str_fmt("%srvm_native.so", own_directory());
  return access(beside, R_OK) == 0 ? beside : RVM_MODULE_DIR "/rvm_native.so";
}

/* A function of the module; ISO C has no cast from an object pointer to one. */
static bool find(void *module, const char *name, void *fn) {
  void *at = dlsym(module, name);
  memcpy(fn, &at, sizeof at);
  return at != NULL;
}

/* The module stays loaded until the process ends. */
static bool load_compiler(Compiler *c, const char **why) {
  void *m = dlopen(module_path(), RTLD_NOW | RTLD_LOCAL);
  *why = "the module rvm_native.so is not there: this rvm was built without LLVM";
  if (!m) return false;
  *why = "rvm_native.so is of another version";
  return find(m, "llvm_compile", &c->compile) && find(m, "llvm_emit_text", &c->text) &&
         find(m, "llvm_free", &c->free);
}

/* ---- machine code ---------------------------------------------------------------- */
static Native *plug(rvm_program *p, const void *code, size_t n, int threads, const char **why) {
  Native *out = NEW(Native);
  out->code = code_load(p, code, n, why);
  if (out->code) code_threads(out->code, threads);
  return out->code ? out : NULL;
}

Native *native_open(rvm_program *p, const void *image, size_t n, NativeOptions o,
                    const char **why) {
  Compiler c;
  void *code;
  size_t bytes;
  CacheKey key = {{0, 0}};
  o.cache = o.cache && cache_wanted();
  if (o.cache) {
    const char *wish = str_fmt("%s%s%s", o.functions ? "whole" : "kernels",
                               o.fast_math ? " fast" : "", o.quick ? " quick" : "");
    key = cache_key(image, n, module_path(), wish);
    Native *out = cache_get(key, &code, &bytes) ? plug(p, code, bytes, o.threads, why) : NULL;
    if (out) return out;
  }
  *why = "it is not in the cache";
  if (!o.compile || !load_compiler(&c, why)) return NULL;
  LlvmOptions how = {
      .level = o.quick ? 0 : -1, .functions = o.functions, .fast_math = o.fast_math};
  code = c.compile(&how, image, n, &bytes, why);
  if (!code) return NULL;
  if (o.cache) cache_put(key, code, bytes);
  Native *out = plug(p, code, bytes, o.threads, why);
  c.free(code);
  return out;
}

void native_close(Native *n) {
  if (n) code_free(n->code);
}

static void map_line(void *file, const char *name, uintptr_t at, size_t n) {
  fprintf(file, "%llx %zx %s\n", (unsigned long long)at, n, name);
}

bool native_perf_map(const Native *n) {
  int fd = open(str_fmt("/tmp/perf-%ld.map", (long)getpid()),
                O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
  if (!f) return false;
  code_each(n->code, map_line, f);
  return fclose(f) == 0;
}

bool native_present(void) { return access(module_path(), R_OK) == 0; }

char *native_text(const void *image, size_t n, bool assembly, bool fast_math, const char **why) {
  Compiler c;
  LlvmOptions how = {.level = -1, .functions = true, .fast_math = fast_math};
  return load_compiler(&c, why) ? c.text(&how, image, n, assembly, why) : NULL;
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
bool native_perf_map(const Native *n) {
  (void)n;
  return false;
}
bool native_present(void) { return false; }
char *native_text(const void *image, size_t n, bool assembly, bool fast_math, const char **why) {
  (void)image, (void)n, (void)assembly, (void)fast_math;
  *why = none;
  return NULL;
}
#endif
