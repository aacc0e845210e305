/* Any bytes as an image: loaded, and run with fuel if they load.              */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <rvm/rvm.h>

static void *host(void *user, void *old, size_t was, size_t want, rvm_kind kind) {
  (void)user, (void)kind;
  if (want == 0) return free(old), NULL;
  if (want > (size_t)64 << 20) return NULL;
  void *p = aligned_alloc(64, (want + 63) / 64 * 64);
  if (p && old) memcpy(p, old, was < want ? was : want), free(old);
  return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  rvm_alloc a = {host, NULL};
  rvm_limits lim = {.fuel = 2000, .memory = 1 << 20, .call_depth = 64};
  rvm_program *p;
  rvm_instance *vm;
  rvm_error e;
  if (rvm_program_load(data, n, a, &p, &e) != RVM_OK) return 0;
  if (rvm_instance_new(p, &lim, a, &vm, &e) == RVM_OK) {
    for (rvm_func f = 0; f < rvm_program_count(p); f++) {
      rvm_func_info info;
      rvm_value v;
      rvm_func_describe(p, f, &info);
      if (info.n_params == 0 && rvm_apply(vm, f, NULL, &v, &e) == RVM_OK) rvm_value_release(vm, v);
    }
    rvm_instance_free(vm);
  }
  rvm_program_free(p);
  return 0;
}
