/* native.c -- see native.h.                                                    */
#define _GNU_SOURCE
#include "cli/native.h"
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/str.h"
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

static void *open_module(void) {
  void *m = dlopen(str_fmt("%srvm_native.so", own_directory()), RTLD_NOW | RTLD_LOCAL);
  return m ? m : dlopen(RVM_MODULE_DIR "/rvm_native.so", RTLD_NOW | RTLD_LOCAL);
}

/* A function of the module; ISO C has no cast from an object pointer to one. */
static bool find(void *module, const char *name, void *fn) {
  void *at = dlsym(module, name);
  memcpy(fn, &at, sizeof at);
  return at != NULL;
}

/* The module stays loaded until the process ends. */
static bool load_compiler(Compiler *c, const char **why) {
  void *m = open_module();
  *why = "the module rvm_native.so is not there: this rvm was built without LLVM";
  if (!m) return false;
  *why = "rvm_native.so is of another version";
  return find(m, "llvm_compile", &c->compile) && find(m, "llvm_emit_text", &c->text) &&
         find(m, "llvm_free", &c->free);
}

/* ---- machine code ---------------------------------------------------------------- */
Native *native_open(rvm_program *p, const void *image, size_t n, NativeOptions o,
                    const char **why) {
  Compiler c;
  size_t bytes;
  if (!load_compiler(&c, why)) return NULL;
  void *code =
      c.compile(&(LlvmOptions){.level = -1, .functions = o.functions}, image, n, &bytes, why);
  if (!code) return NULL;
  Native *out = NEW(Native);
  out->code = code_load(p, code, bytes, why);
  c.free(code);
  return out->code ? out : NULL;
}

void native_close(Native *n) {
  if (n) code_free(n->code);
}

char *native_text(const void *image, size_t n, bool assembly, const char **why) {
  Compiler c;
  if (!load_compiler(&c, why)) return NULL;
  return c.text(&(LlvmOptions){.level = -1, .functions = true}, image, n, assembly, why);
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
char *native_text(const void *image, size_t n, bool assembly, const char **why) {
  (void)image, (void)n, (void)assembly;
  *why = none;
  return NULL;
}
#endif
