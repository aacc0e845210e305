/* target.c -- see target.h.                                                    */
#include "codegen/llvm/target.h"
#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>

static bool has(const char *features, const char *f) { return strstr(features, f) != NULL; }

/* Of common sizes, if none is known. */
static Caches caches_or_common(Caches c) {
  if (!c.second) return (Caches){32 << 10, 1 << 20, 32 << 20};
  if (!c.first) c.first = 32 << 10;
  if (!c.third) c.third = c.second;
  return c;
}

static Cpu cpu_of(const char *features, const LlvmOptions *o) {
  bool wide = has(features, "+avx512f") && has(features, "+avx512vl");
  return (Cpu){.f16c = has(features, "+f16c"),
               .fma = has(features, "+fma"),
               .wide = wide,
               .fast = o->fast_math,
               .vector_bytes = wide                     ? 64
                               : has(features, "+avx2") ? 32
                                                        : 16,
               .cache = caches_or_common(o->caches)};
}

/* What a level of x86-64 has, in words of LLVM's feature strings. */
static const char *level_features(const char *cpu) {
  if (strcmp(cpu, "x86-64-v4") == 0) return "+f16c,+fma,+avx2,+avx512f,+avx512vl";
  return strcmp(cpu, "x86-64-v3") == 0 ? "+f16c,+fma,+avx2" : "";
}

enum { USUAL_LEVEL = 2, MOST_LEVEL = 3 };

const char *target_new(Target *t, int level, const LlvmOptions *o) {
  static const LLVMCodeGenOptLevel levels[] = {LLVMCodeGenLevelNone, LLVMCodeGenLevelLess,
                                               LLVMCodeGenLevelDefault, LLVMCodeGenLevelAggressive};
  const char *other = o->cpu;
  if (level < 0 || level > MOST_LEVEL) level = USUAL_LEVEL;
  *t = (Target){.level = level};
  LLVMInitializeNativeTarget();
  LLVMInitializeNativeAsmPrinter();
  LLVMInitializeNativeAsmParser();
  char *triple = LLVMGetDefaultTargetTriple(), *cpu = LLVMGetHostCPUName();
  char *features = LLVMGetHostCPUFeatures(), *message = NULL;
  LLVMTargetRef target;
  if (LLVMGetTargetFromTriple(triple, &target, &message))
    LLVMDisposeMessage(message);
  else
    t->machine = LLVMCreateTargetMachine(target, triple, other ? other : cpu, other ? "" : features,
                                         levels[level], LLVMRelocPIC, LLVMCodeModelSmall);
  t->cpu = cpu_of(other ? level_features(other) : features, o);
  LLVMDisposeMessage(triple);
  LLVMDisposeMessage(cpu);
  LLVMDisposeMessage(features);
  if (!t->machine) return "LLVM has no target for this machine";
  t->context = LLVMContextCreate();
  return NULL;
}

void target_free(Target *t) {
  if (t->machine) LLVMDisposeTargetMachine(t->machine);
  if (t->context) LLVMContextDispose(t->context);
  *t = (Target){0};
}

void target_prepare(const Target *t, LLVMModuleRef m) {
  char *triple = LLVMGetTargetMachineTriple(t->machine);
  LLVMSetTarget(m, triple);
  LLVMDisposeMessage(triple);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(t->machine);
  LLVMSetModuleDataLayout(m, layout);
  LLVMDisposeTargetData(layout);
}

static bool failed(LLVMErrorRef e) {
  if (e) LLVMConsumeError(e);
  return e != NULL;
}

const char *target_optimise(const Target *t, LLVMModuleRef m) {
  static const char *const passes[] = {"always-inline,function(sroa,early-cse,simplifycfg)",
                                       "default<O1>", "default<O2>", "default<O3>"};
  char *message = NULL;
  bool bad = LLVMVerifyModule(m, LLVMReturnStatusAction, &message);
  LLVMDisposeMessage(message);
  if (bad) return "the program became invalid LLVM IR";
  LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
  LLVMPassBuilderOptionsSetLoopVectorization(o, true);
  LLVMPassBuilderOptionsSetSLPVectorization(o, true);
  bad = failed(LLVMRunPasses(m, passes[t->level], t->machine, o));
  LLVMDisposePassBuilderOptions(o);
  return bad ? "LLVM could not optimise the program" : NULL;
}

LLVMMemoryBufferRef target_emit(const Target *t, LLVMModuleRef m, bool assembly, const char **why) {
  LLVMMemoryBufferRef out = NULL;
  char *message = NULL;
  LLVMCodeGenFileType kind = assembly ? LLVMAssemblyFile : LLVMObjectFile;
  if (LLVMTargetMachineEmitToMemoryBuffer(t->machine, m, kind, &message, &out)) {
    LLVMDisposeMessage(message);
    *why = "LLVM emits no code for this machine";
    out = NULL;
  }
  LLVMDisposeModule(m);
  return out;
}
