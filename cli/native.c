/* native.c -- loading the module of native kernels.                           */
#define _GNU_SOURCE
#include "cli/native.h"
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/str.h"
#include "codegen/llvm/llvm.h"

struct Native {
  void *module;
  LlvmJit *jit;
  LlvmJit *(*new)(const LlvmOptions *, const char **);
  bool (*kernels)(LlvmJit *, rvm_program *, const char **);
  void (*free)(LlvmJit *);
};

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

Native *native_open(const char **why) {
  Native *n = NEW(Native);
  n->module = open_module();
  if (!n->module) {
    *why = "the module rvm_native.so is not there: this rvm was built without LLVM";
    return NULL;
  }
  if (!find(n->module, "llvm_jit_new", &n->new) ||
      !find(n->module, "llvm_jit_kernels", &n->kernels) ||
      !find(n->module, "llvm_jit_free", &n->free)) {
    *why = "rvm_native.so is of another version";
    return NULL;
  }
  n->jit = n->new (NULL, why);
  return n->jit ? n : NULL;
}

bool native_kernels(Native *n, rvm_program *p, const char **why) {
  return n->kernels(n->jit, p, why);
}

/* The module stays: machine code of it may be in use elsewhere. */
void native_close(Native *n) {
  if (n) n->free(n->jit);
}
