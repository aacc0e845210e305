/* jit.c -- single kernels: see jit.h.                                       */
#include <stdlib.h>
#include "codegen/llvm/jit.h"
#include "codegen/llvm/target.h"
#include "codegen/native/helper.h"
#include "codegen/native/launch.h"
#include "codegen/native/object.h"

typedef struct Piece {
  Object *object;
  NativeKernel *native;
  struct Piece *next;
} Piece;

struct LlvmJit {
  Target target;
  Room *room;
  Piece *all;
};

LlvmJit *llvm_jit_new(const LlvmOptions *o, const char **why) {
  LlvmJit *j = calloc(1, sizeof *j);
  *why = "out of memory";
  if (j && (j->room = room_new())) *why = target_new(&j->target, o->level, o);
  if (!*why) return j;
  if (j) room_free(j->room);
  free(j);
  return NULL;
}

void llvm_jit_free(LlvmJit *j) {
  if (!j) return;
  for (Piece *p = j->all, *next; p; p = next) {
    next = p->next;
    native_free(p->native);
    object_free(p->object);
    free(p);
  }
  target_free(&j->target);
  room_free(j->room);
  free(j);
}

/* The object of a module with this kernel as k0. */
static Object *compile(LlvmJit *j, const Kernel *k, const char **why) {
  Target *t = &j->target;
  LLVMModuleRef m = LLVMModuleCreateWithNameInContext("kernel", t->context);
  target_prepare(t, m);
  *why = "out of memory";
  if (emit_kernel(m, k, t->cpu, "k0")) *why = target_optimise(t, m);
  if (*why) {
    LLVMDisposeModule(m);
    return NULL;
  }
  LLVMMemoryBufferRef b = target_emit(t, m, false, why);
  if (!b) return NULL;
  ObjectFile f = {LLVMGetBufferStart(b), LLVMGetBufferSize(b)};
  Object *o = object_load(&f, 1, helper_find, NULL, why);
  LLVMDisposeMemoryBuffer(b);
  return o;
}

KernelFn llvm_jit_kernel(LlvmJit *j, const Kernel *k, KernelFn slow, void *slow_ctx, void **ctx,
                         const char **why) {
  Object *o = compile(j, k, why);
  if (!o) return NULL;
  Piece *p = calloc(1, sizeof *p);
  if (p)
    *p = (Piece){
        o, native_new((KernelCode)(uintptr_t)object_find(o, "k0"), k, slow, slow_ctx, j->room),
        j->all};
  if (p && p->native) {
    j->all = p;
    *ctx = p->native;
    return native_launch;
  }
  *why = "out of memory";
  object_free(o);
  free(p);
  return NULL;
}
