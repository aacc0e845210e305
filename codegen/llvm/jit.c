/* jit.c -- from kernels to functions: the target, the passes, ORC.
 *
 * The memory of the jit is malloc's: a program holds pointers into it where a
 * collector does not look.                                                   */
#include <math.h>
#include <stdlib.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include "codegen/llvm/emit.h"
#include "codegen/llvm/launch.h"
#include "kernel/interp.h"

struct LlvmJit {
  LLVMTargetMachineRef tm;
  LLVMOrcLLJITRef lljit;
  LLVMOrcThreadSafeContextRef tsc;
  Cpu cpu;
  int level;
  uint32_t compiled, names;
  Native *all;
};

/* ---- what generated code calls ----------------------------------------------------- */
static uint64_t help_pow(uint64_t a, uint64_t n, DType t) {
  uint64_t out = 0;
  (void)scalar_eval(S_pow, t, a, n, 0, &out); /* what traps was checked before */
  return out;
}
static uint64_t help_ipow(uint64_t a, uint64_t n) { return help_pow(a, n, DT_i64); }
static uint64_t help_upow(uint64_t a, uint64_t n) { return help_pow(a, n, DT_u64); }
static float half_value(uint64_t h, DType t) {
  return t == DT_f16 ? f16_to_f32((uint16_t)h) : bf16_to_f32((uint16_t)h);
}
static float help_to_half(uint64_t x, uint32_t from, uint32_t to) {
  return half_value(scalar_cast(x, (DType)from, (DType)to), (DType)to);
}

#define H(name, fn)                                                                                \
  { "rvm." name, (void *)(uintptr_t)(fn) }
#define M(name) H(#name, name), H(#name "f", name##f)
const Helper jit_helper[] = {
    H("ipow", help_ipow),
    H("upow", help_upow),
    H("to_half", help_to_half),
    H("to_f16", f32_to_f16),
    H("from_f16", f16_to_f32),
    H("scratch", jit_scratch),
    H("packed", jit_packed),
    H("pack", jit_pack),
    H("pack_done", jit_pack_done),
    M(fmod),
    M(pow),
    M(atan2),
    M(exp),
    M(log),
    M(log2),
    M(log10),
    M(log1p),
    M(expm1),
    M(sin),
    M(cos),
    M(tan),
    M(sinh),
    M(cosh),
    M(tanh),
    M(asin),
    M(acos),
    M(atan),
    M(asinh),
    M(acosh),
    M(atanh),
    M(erf),
    {"memcpy", (void *)(uintptr_t)memcpy},
    {"memset", (void *)(uintptr_t)memset},
    {"memmove", (void *)(uintptr_t)memmove}, /* what LLVM makes of loops          */
    {"fmod", (void *)(uintptr_t)(double (*)(double, double))fmod},
};
#undef H
#undef M
const int jit_helpers = (int)(sizeof jit_helper / sizeof *jit_helper);

/* ---- the target ------------------------------------------------------------------------ */
static bool has(const char *features, const char *f) { return strstr(features, f) != NULL; }

static const char *make_target(LlvmJit *j) {
  static const LLVMCodeGenOptLevel levels[] = {LLVMCodeGenLevelNone, LLVMCodeGenLevelLess,
                                               LLVMCodeGenLevelDefault, LLVMCodeGenLevelAggressive};
  LLVMInitializeNativeTarget();
  LLVMInitializeNativeAsmPrinter();
  LLVMInitializeNativeAsmParser();
  char *triple = LLVMGetDefaultTargetTriple(), *cpu = LLVMGetHostCPUName();
  char *features = LLVMGetHostCPUFeatures(), *message = NULL;
  LLVMTargetRef t;
  bool bad = LLVMGetTargetFromTriple(triple, &t, &message);
  if (!bad)
    j->tm = LLVMCreateTargetMachine(t, triple, cpu, features, levels[j->level], LLVMRelocPIC,
                                    LLVMCodeModelJITDefault);
  else
    LLVMDisposeMessage(message);
  bool wide = has(features, "+avx512f") && has(features, "+avx512vl");
  j->cpu = (Cpu){has(features, "+f16c"), has(features, "+fma"), wide,
                 wide                     ? 64
                 : has(features, "+avx2") ? 32
                                          : 16};
  LLVMDisposeMessage(triple);
  LLVMDisposeMessage(cpu);
  LLVMDisposeMessage(features);
  return j->tm ? NULL : "LLVM has no target for this machine";
}

static bool failed(LLVMErrorRef e) {
  if (e) LLVMConsumeError(e);
  return e != NULL;
}

static const char *make_jit(LlvmJit *j) {
  char *triple = LLVMGetTargetMachineTriple(j->tm), *cpu = LLVMGetTargetMachineCPU(j->tm);
  char *features = LLVMGetTargetMachineFeatureString(j->tm);
  LLVMTargetMachineRef own =
      LLVMCreateTargetMachine(LLVMGetTargetMachineTarget(j->tm), triple, cpu, features,
                              LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelJITDefault);
  LLVMDisposeMessage(triple);
  LLVMDisposeMessage(cpu);
  LLVMDisposeMessage(features);
  LLVMOrcLLJITBuilderRef b = LLVMOrcCreateLLJITBuilder();
  LLVMOrcLLJITBuilderSetJITTargetMachineBuilder(
      b, LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine(own));
  if (failed(LLVMOrcCreateLLJIT(&j->lljit, b))) return "LLVM cannot make a JIT here";
  LLVMOrcCSymbolMapPair pair[64];
  int n = 0;
  for (int i = 0; i < jit_helpers && n < 64; i++, n++) {
    pair[n].Name = LLVMOrcLLJITMangleAndIntern(j->lljit, jit_helper[i].name);
    pair[n].Sym.Address = (LLVMOrcExecutorAddress)(uintptr_t)jit_helper[i].address;
    pair[n].Sym.Flags = (LLVMJITSymbolFlags){
        LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable, 0};
  }
  LLVMOrcMaterializationUnitRef mu = LLVMOrcAbsoluteSymbols(pair, (size_t)n);
  if (failed(LLVMOrcJITDylibDefine(LLVMOrcLLJITGetMainJITDylib(j->lljit), mu)))
    return "LLVM refused the runtime's symbols";
  j->tsc = LLVMOrcCreateNewThreadSafeContext();
  return NULL;
}

LlvmJit *llvm_jit_new(const LlvmOptions *o, const char **why) {
  LlvmJit *j = calloc(1, sizeof *j);
  *why = "out of memory";
  if (!j) return NULL;
  j->level = o && o->level >= 0 && o->level <= 3 ? o->level : 2;
  *why = make_target(j);
  if (!*why) *why = make_jit(j);
  if (!*why) return j;
  llvm_jit_free(j);
  return NULL;
}

void llvm_jit_free(LlvmJit *j) {
  if (!j) return;
  if (j->lljit) (void)failed(LLVMOrcDisposeLLJIT(j->lljit));
  if (j->tsc) LLVMOrcDisposeThreadSafeContext(j->tsc);
  if (j->tm) LLVMDisposeTargetMachine(j->tm);
  for (Native *n = j->all, *next; n; n = next) {
    next = n->next;
    native_free(n);
  }
  free(j);
}

uint32_t llvm_jit_count(const LlvmJit *j) { return j->compiled; }

/* ---- modules ---------------------------------------------------------------------------- */
static LLVMModuleRef new_module(LlvmJit *j) {
  LLVMModuleRef m =
      LLVMModuleCreateWithNameInContext("kernels", LLVMOrcThreadSafeContextGetContext(j->tsc));
  char *triple = LLVMGetTargetMachineTriple(j->tm);
  LLVMSetTarget(m, triple);
  LLVMDisposeMessage(triple);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(j->tm);
  LLVMSetModuleDataLayout(m, layout);
  LLVMDisposeTargetData(layout);
  return m;
}

static void kernel_symbol(char out[32], uint32_t i) {
  char digit[16];
  int n = 0, at = 1;
  out[0] = 'k';
  do digit[n++] = (char)('0' + i % 10);
  while (i /= 10);
  while (n > 0) out[at++] = digit[--n];
  out[at] = 0;
}

/* Verified and optimised. */
static bool finish_module(LlvmJit *j, LLVMModuleRef m) {
  static const char *const passes[] = {"default<O0>", "default<O1>", "default<O2>", "default<O3>"};
  char *message = NULL;
  bool bad = LLVMVerifyModule(m, LLVMReturnStatusAction, &message);
  LLVMDisposeMessage(message);
  if (bad) return false;
  LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
  LLVMPassBuilderOptionsSetLoopVectorization(o, true);
  LLVMPassBuilderOptionsSetSLPVectorization(o, true);
  bad = failed(LLVMRunPasses(m, passes[j->level], j->tm, o));
  LLVMDisposePassBuilderOptions(o);
  return !bad;
}

static const char *add_module(LlvmJit *j, LLVMModuleRef m) {
  if (!finish_module(j, m)) {
    LLVMDisposeModule(m);
    return "a kernel became invalid LLVM IR";
  }
  LLVMOrcThreadSafeModuleRef tsm = LLVMOrcCreateNewThreadSafeModule(m, j->tsc);
  if (!failed(LLVMOrcLLJITAddLLVMIRModule(j->lljit, LLVMOrcLLJITGetMainJITDylib(j->lljit), tsm)))
    return NULL;
  return "LLVM refused a module";
}

static Native *find_code(LlvmJit *j, uint32_t number, const Kernel *k, KernelFn slow, void *ctx) {
  char name[32];
  LLVMOrcExecutorAddress at = 0;
  kernel_symbol(name, number);
  if (failed(LLVMOrcLLJITLookup(j->lljit, &at, name)) || !at) return NULL;
  Native *n = native_new((Code)(uintptr_t)at, k, slow, ctx);
  if (!n) return NULL;
  n->next = j->all;
  j->all = n;
  j->compiled++;
  return n;
}

KernelFn llvm_jit_kernel(LlvmJit *j, const Kernel *k, KernelFn slow, void *slow_ctx, void **ctx,
                         const char **why) {
  char name[32];
  uint32_t number = j->names++;
  kernel_symbol(name, number);
  LLVMModuleRef m = new_module(j);
  *why = "out of memory";
  if (!emit_kernel(m, k, j->cpu, name)) {
    LLVMDisposeModule(m);
    return NULL;
  }
  if ((*why = add_module(j, m))) return NULL;
  *why = "LLVM could not compile the kernel";
  *ctx = find_code(j, number, k, slow, slow_ctx);
  return *ctx ? native_launch : NULL;
}

static LLVMModuleRef program_module(LlvmJit *j, const rvm_program *p, uint32_t first) {
  char name[32];
  LLVMModuleRef m = new_module(j);
  for (uint32_t i = 0; i < p->im.n_kernels; i++) {
    kernel_symbol(name, first + i);
    if (!emit_kernel(m, p->im.kernel[i], j->cpu, name)) {
      LLVMDisposeModule(m);
      return NULL;
    }
  }
  return m;
}

bool llvm_jit_kernels(LlvmJit *j, rvm_program *p, const char **why) {
  uint32_t first = j->names, n = p->im.n_kernels;
  if (n == 0) return true;
  j->names += n;
  LLVMModuleRef m = program_module(j, p, first);
  *why = "out of memory";
  if (!m || (*why = add_module(j, m))) return false;
  *why = "LLVM could not compile the kernels";
  for (uint32_t i = 0; i < n; i++) {
    KernelInfo *info = &p->kernel[i];
    Native *f = find_code(j, first + i, p->im.kernel[i], info->fn, info->ctx);
    if (f) llvm_kernel_constants(f, p->tensors, p->n_tensors);
    if (f)
      program_set_kernel(p, i, native_launch, f);
    else if (i == 0)
      return false; /* the module as a whole failed   */
  }
  return true;
}

/* ---- text ---------------------------------------------------------------------------------- */
char *llvm_emit_text(LlvmJit *j, const rvm_program *p, bool assembly, const char **why) {
  char *text = NULL, *message = NULL;
  LLVMModuleRef m = program_module(j, p, 0);
  LLVMMemoryBufferRef out;
  *why = "out of memory";
  if (!m) return NULL;
  *why = "a kernel became invalid LLVM IR";
  if (finish_module(j, m)) {
    if (!assembly) {
      text = LLVMPrintModuleToString(m);
    } else if (!LLVMTargetMachineEmitToMemoryBuffer(j->tm, m, LLVMAssemblyFile, &message, &out)) {
      text = LLVMCreateMessage(LLVMGetBufferStart(out));
      LLVMDisposeMemoryBuffer(out);
    } else {
      *why = "LLVM emits no assembly for this machine";
      LLVMDisposeMessage(message);
    }
  }
  LLVMDisposeModule(m);
  return text;
}
void llvm_text_free(char *text) { LLVMDisposeMessage(text); }
