/* safetensors.c -- any bytes as .safetensors.  What is accepted must be sound,
 * and written and read again must be the same.                               */
#include "base/mem.h"
#include "tests/fuzz/tensors.h"

static void check_again(const TensorSet *ts) {
  StrBuf one = { 0 }, two = { 0 };
  TensorSet back = { 0 };
  if (safetensors_format(ts, &one)) abort();
  if (safetensors_parse((const uint8_t *)one.s, one.n, &back) || back.n != ts->n) abort();
  if (safetensors_format(&back, &two) || one.n != two.n || memcmp(one.s, two.s, one.n) != 0)
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  TensorSet ts = { 0 };
  mem_init();
  const char *why = safetensors_parse(data, n, &ts);
  check_set(why, &ts);
  if (!why) check_again(&ts);
  mem_release_all();
  return 0;
}
