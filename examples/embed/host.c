/* host.c -- run entry "main" of an image on a vector of floats.
 *   rvm build model.rly --out model.rvm
 *   cc host.c $(pkg-config --cflags --libs rvm_rt) -o host && ./host model.rvm 1 2 3       */
#include <rvm/rvm.h>
#include <stdio.h>
#include <stdlib.h>

static void *host_memory(void *user, void *old, size_t was, size_t want, rvm_kind kind) {
  (void)user, (void)kind;
  if (want == 0) { free(old); return NULL; }
  void *p = aligned_alloc(64, (want + 63) / 64 * 64);
  for (size_t i = 0; p && i < was && i < want; i++) ((char *)p)[i] = ((char *)old)[i];
  if (p) free(old);
  return p;
}

int main(int argc, char **argv) {
  static char image[1 << 20];
  float x[64];
  int64_t n = argc - 2 > 64 ? 64 : argc - 2;
  FILE *f = argc > 2 ? fopen(argv[1], "rb") : NULL;
  if (!f) return fprintf(stderr, "usage: host image number...\n"), 2;
  size_t size = fread(image, 1, sizeof image, f);
  fclose(f);
  for (int i = 0; i < n; i++) x[i] = strtof(argv[i + 2], NULL);
  DLTensor in = { .data = x, .device = { 1, 0 }, .ndim = 1, .dtype = { 2, 32, 1 }, .shape = &n };
  DLTensor out = { 0 };
  rvm_alloc a = { host_memory, NULL };
  rvm_program *p = NULL; rvm_instance *vm = NULL; rvm_func main_; rvm_error e;
  if (rvm_program_load(image, size, a, &p, &e) || rvm_program_find(p, "main", &main_, &e)
      || rvm_instance_new(p, NULL, a, &vm, &e)
      || rvm_call(vm, main_, (const DLTensor *[]){ &in }, (DLTensor *[]){ &out }, &e))
    return fprintf(stderr, "%s:%u:%u: %s\n", e.file, e.line, e.col, e.message), 1;
  int64_t count = out.ndim ? out.shape[0] : 1;
  for (int64_t i = 0; i < count; i++) printf("%g\n", (double)((float *)out.data)[i]);
  rvm_instance_free(vm);
  rvm_program_free(p);
}
