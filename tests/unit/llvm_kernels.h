/* llvm_kernels.h -- for a test of the interpreter that is included behind this: the calls that
 * prepare and run a kernel are replaced by LLVM's code for it.                                 */
#ifndef RVM_TESTS_LLVM_KERNELS_H
#define RVM_TESTS_LLVM_KERNELS_H
#include <stdint.h>
#include "kernel/interp.h"
#include "codegen/llvm/jit.h"

/* Tests run one kernel many times: the last one is kept, known by its address
 * and its content. */
typedef struct {
  const Kernel *k;
  uint64_t hash;
  LlvmJit *jit;
  KernelFn fn;
  void *ctx;
  KProg *p;
} Compiled;
static Compiled recent;

static uint64_t hash_bytes(uint64_t h, const void *p, size_t n) {
  const uint8_t *b = p;
  for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 0x100000001b3u;
  return h;
}

static uint64_t hash_kernel(const Kernel *k) {
  uint64_t h = hash_bytes(k->n_params + 64 * k->n_syms, k->node, k->n_nodes * sizeof *k->node);
  h = hash_bytes(h, k->stmt, k->n_stmts * sizeof *k->stmt);
  h = hash_bytes(h, k->pool, k->n_pool * sizeof *k->pool);
  h = hash_bytes(h, k->var, k->n_vars * sizeof *k->var);
  return hash_bytes(h, k->buf, k->n_bufs * sizeof *k->buf);
}

static KStatus interpret(void *ctx, void *const *buf, const int64_t *sym, KAlloc a, KError *err) {
  return kernel_run(((Compiled *)ctx)->p, buf, sym, a, err);
}

static KStatus compile(const Kernel *k, KAlloc a, KProg **out, KError *err) {
  const char *why = NULL;
  uint64_t hash = hash_kernel(k);
  KStatus s = kernel_prepare(k, a, &recent.p, err);
  if (s != K_OK) return s;
  *out = recent.p;
  if (recent.fn && recent.k == k && recent.hash == hash) return K_OK;
  llvm_jit_free(recent.jit);
  recent = (Compiled){.k = k, .hash = hash, .p = *out};
  recent.jit = llvm_jit_new(&(LlvmOptions){.level = 2}, &why);
  if (recent.jit) recent.fn = llvm_jit_kernel(recent.jit, k, interpret, &recent, &recent.ctx, &why);
  if (recent.fn) return K_OK;
  kernel_unprepare(*out, a);
  *err = (KError){K_BAD_KERNEL, why};
  return K_BAD_KERNEL;
}

static KStatus run(const KProg *p, void *const *buf, const int64_t *sym, KAlloc a, KError *err) {
  (void)p;
  return recent.fn(recent.ctx, buf, sym, a, err);
}

#define kernel_prepare compile
#define kernel_run run
#endif
