/* compile.c -- an image in units, compiled by several threads, to a code file.
 *
 * The first unit holds the functions and the kernels they may call directly;
 * the other kernels are spread over units of about equal weight.  How depends on
 * the image alone, so the result does not depend on the number of threads.    */
#include "codegen/llvm/llvm.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "codegen/llvm/func.h"
#include "codegen/llvm/target.h"
#include "codegen/native/launch.h"
#include "codegen/native/code.h"

enum {
  UNIT_WEIGHT = 1500,    /* of the kernels in a unit, in nodes */
  CONTRACT_WEIGHT = 300, /* a contraction becomes several loop nests */
  INLINE_NODES = 60,     /* a smaller kernel may become part of the function */
  LONG_FUNCTION = 10000, /* instructions: with such the first unit is hardly optimised */
  MOST_THREADS = 16,
  WHOLE = -1 /* all kernels in the first unit */
};

typedef struct {
  const LlvmOptions *o;
  Image im;
  bool *needs_launch, *direct;
  uint32_t *unit, n_units; /* of each kernel                */
  uint32_t *memo;
  LLVMMemoryBufferRef *out;
  const char *_Atomic why;
  atomic_uint next;
} Job;

/* ---- planning ----------------------------------------------------------------------- */
static bool has_contraction(const Kernel *k) {
  for (uint32_t i = 0; i < k->n_stmts; i++)
    if (k->stmt[i].kind == KS_Contract) return true;
  return false;
}

static uint32_t weight(const Kernel *k) {
  uint32_t w = k->n_nodes + k->n_stmts;
  for (uint32_t i = 0; i < k->n_stmts; i++)
    if (k->stmt[i].kind == KS_Contract) w += CONTRACT_WEIGHT;
  return w;
}

static bool plan(Job *j) {
  const Image *m = &j->im;
  uint32_t n = m->n_kernels, unit = j->o->functions ? 0 : UINT32_MAX, sum = UNIT_WEIGHT, memo = 0;
  j->direct = calloc(n + 1, sizeof *j->direct);
  j->unit = calloc(n + 1, sizeof *j->unit);
  j->memo = calloc(n + 1, sizeof *j->memo);
  if (!j->direct || !j->unit || !j->memo) return false;
  for (uint32_t i = 0; i < n; i++) {
    const Kernel *k = m->kernel[i];
    j->memo[i] = memo;
    if (k->n_syms || j->needs_launch[i]) memo += 2 + k->n_syms + k->n_params;
    j->direct[i] = j->o->functions && k->n_bufs == k->n_params && !has_contraction(k);
    if (j->direct[i]) continue;
    if (sum >= UNIT_WEIGHT) {
      unit++;
      sum = 0;
    }
    j->unit[i] = unit;
    sum += weight(k);
  }
  j->n_units = unit + 1;
  return true;
}

/* ---- one unit ------------------------------------------------------------------------- */
static void allow_inlining(LLVMModuleRef m, const Kernel *k, const char *name) {
  static const char noinline_[] = "noinline";
  char inner[40];
  if (k->n_nodes > INLINE_NODES) return;
  snprintf(inner, sizeof inner, "inner.%s", name);
  Val fn = LLVMGetNamedFunction(m, inner);
  unsigned kind = LLVMGetEnumAttributeKindForName(noinline_, sizeof noinline_ - 1);
  LLVMRemoveEnumAttributeAtIndex(fn, LLVMAttributeFunctionIndex, kind);
}

static bool emit_kernels(const Job *j, const Target *t, LLVMModuleRef m, int unit) {
  for (uint32_t i = 0; i < j->im.n_kernels; i++) {
    char name[16];
    if (unit != WHOLE && j->unit[i] != (uint32_t)unit) continue;
    snprintf(name, sizeof name, "k%u", i);
    if (!emit_kernel(m, j->im.kernel[i], t->cpu, name)) return false;
    if (j->direct[i]) allow_inlining(m, j->im.kernel[i], name);
  }
  return true;
}

/* Optimised; NULL: *why. */
static LLVMModuleRef unit_module(const Job *j, const Target *t, int unit, const char **why) {
  bool functions = unit <= 0 && j->o->functions;
  LLVMModuleRef m = functions ? prelude_module(t->context, why)
                              : LLVMModuleCreateWithNameInContext("kernels", t->context);
  if (!m) return NULL;
  target_prepare(t, m);
  *why = "out of memory";
  if (emit_kernels(j, t, m, unit) &&
      (!functions || emit_functions(m, &j->im, j->direct, j->memo, j->needs_launch, t->cpu, why)))
    *why = target_optimise(t, m);
  if (!*why) return m;
  LLVMDisposeModule(m);
  return NULL;
}

/* What LLVM takes grows faster than a function does. */
static int level_of(const Job *j, uint32_t unit) {
  for (uint32_t i = 0; unit == 0 && j->o->functions && i < j->im.n_funcs; i++)
    if (j->im.func[i].n_code > LONG_FUNCTION) return 0;
  return j->o->level;
}

static void *work(void *job) {
  Job *j = job;
  for (uint32_t unit; !j->why && (unit = atomic_fetch_add(&j->next, 1)) < j->n_units;) {
    Target t;
    const char *why = target_new(&t, level_of(j, unit), j->o);
    LLVMModuleRef m = why ? NULL : unit_module(j, &t, (int)unit, &why);
    if (m) j->out[unit] = target_emit(&t, m, false, &why);
    if (!j->out[unit]) j->why = why;
    target_free(&t);
  }
  return NULL;
}

static void compile_units(Job *j) {
  pthread_t thread[MOST_THREADS];
  long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  uint32_t n = j->o->threads > 0 ? (uint32_t)j->o->threads
               : cpus > 0        ? (uint32_t)cpus
                                 : 1,
           made = 0;
  if (n > MOST_THREADS) n = MOST_THREADS;
  if (n > j->n_units) n = j->n_units;
  while (made + 1 < n && pthread_create(&thread[made], NULL, work, j) == 0) made++;
  work(j);
  while (made > 0) pthread_join(thread[--made], NULL);
}

/* ---- jobs ------------------------------------------------------------------------------- */
static const char *begin(Job *j, const LlvmOptions *o, const void *image, size_t n) {
  ImageError e;
  *j = (Job){.o = o};
  if (!image_read(image, n, native_memory, &j->im, &e)) return "the image cannot be read";
  if (!image_verify(&j->im, native_memory, &j->needs_launch, &e)) return "the image is not valid";
  return plan(j) ? NULL : "out of memory";
}

static void end(Job *j) {
  for (uint32_t i = 0; j->out && i < j->n_units; i++)
    if (j->out[i]) LLVMDisposeMemoryBuffer(j->out[i]);
  free(j->out);
  free(j->direct);
  free(j->unit);
  free(j->memo);
  free(j->needs_launch);
  image_free(&j->im, native_memory);
}

static void *pack(const Job *j, size_t *bytes) {
  ObjectFile *f = calloc(j->n_units + 1, sizeof *f);
  for (uint32_t i = 0; f && i < j->n_units; i++)
    f[i] = (ObjectFile){LLVMGetBufferStart(j->out[i]), LLVMGetBufferSize(j->out[i])};
  void *out = f ? code_pack(f, j->n_units, bytes) : NULL;
  free(f);
  return out;
}

void *llvm_compile(const LlvmOptions *o, const void *image, size_t n, size_t *bytes,
                   const char **why) {
  Job j;
  void *out = NULL;
  *why = begin(&j, o, image, n);
  if (!*why) {
    *why = "out of memory";
    j.out = calloc(j.n_units + 1, sizeof *j.out);
    if (j.out) compile_units(&j);
    if (j.why) *why = j.why;
    if (j.out && !j.why) out = pack(&j, bytes);
  }
  end(&j);
  return out;
}

char *llvm_emit_text(const LlvmOptions *o, const void *image, size_t n, bool assembly,
                     const char **why) {
  Job j;
  Target t = {0};
  char *text = NULL;
  *why = begin(&j, o, image, n);
  if (!*why) *why = target_new(&t, o->level, o);
  LLVMModuleRef m = *why ? NULL : unit_module(&j, &t, WHOLE, why);
  if (m && !assembly) {
    char *ir = LLVMPrintModuleToString(m);
    text = strdup(ir);
    LLVMDisposeMessage(ir);
    LLVMDisposeModule(m);
  } else if (m) {
    LLVMMemoryBufferRef out = target_emit(&t, m, true, why);
    text = out ? strdup(LLVMGetBufferStart(out)) : NULL;
    if (out) LLVMDisposeMemoryBuffer(out);
  }
  target_free(&t);
  end(&j);
  return text;
}

/* ---- versions for certain extents ------------------------------------------------------- */
static void *copy_of(LLVMMemoryBufferRef b, size_t *bytes) {
  *bytes = LLVMGetBufferSize(b);
  void *out = malloc(*bytes + 1);
  if (out) memcpy(out, LLVMGetBufferStart(b), *bytes);
  LLVMDisposeMemoryBuffer(b);
  return out;
}

/* Optimised; NULL: *why. */
static LLVMModuleRef fixed_module(const Target *t, const Kernel *k, const int64_t *sym,
                                  const atomic_bool *stop, const char **why) {
  LLVMModuleRef m = LLVMModuleCreateWithNameInContext("kernel", t->context);
  target_prepare(t, m);
  bool ok = emit_kernel_fixed(m, k, t->cpu, "k0", sym);
  *why = ok ? "stopped" : "its sums would have another order";
  if (ok && !atomic_load(stop)) *why = target_optimise(t, m);
  if (!*why) return m;
  LLVMDisposeModule(m);
  return NULL;
}

void *llvm_compile_fixed(const LlvmOptions *o, const Kernel *k, const int64_t *sym,
                         const atomic_bool *stop, size_t *bytes, const char **why) {
  Target t;
  LLVMMemoryBufferRef b = NULL;
  *why = target_new(&t, o->level, o);
  LLVMModuleRef m = *why ? NULL : fixed_module(&t, k, sym, stop, why);
  if (m && !atomic_load(stop))
    b = target_emit(&t, m, false, why);
  else if (m)
    LLVMDisposeModule(m);
  target_free(&t);
  return b ? copy_of(b, bytes) : NULL;
}

void llvm_free(void *p) { free(p); }
