/* npz.c -- any bytes as .npz and as .npy.  What is accepted must be sound, and
 * written and read again must be the same.                                   */
#include "base/mem.h"
#include "tests/fuzz/tensors.h"

static void check_again(const TensorSet *ts) {
  StrBuf one = { 0 }, two = { 0 };
  TensorSet back = { 0 };
  if (npz_format(ts, &one)) return;
  if (npz_parse((const uint8_t *)one.s, one.n, &back) || back.n != ts->n) abort();
  if (npz_format(&back, &two) || one.n != two.n || memcmp(one.s, two.s, one.n) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  TensorSet ts = { 0 };
  Tensor *t = NULL;
  mem_init();
  const char *why = npz_parse(data, n, &ts);
  check_set(why, &ts);
  if (!why) check_again(&ts);
  if (!npy_parse(data, n, &t)) check_tensor(t);
  else if (t) abort();
  mem_release_all();
  return 0;
}
