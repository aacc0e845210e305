/* heap_test.c -- memory of an instance: blocks are used again, and no more is held
 * than was needed once.                                                      */
#include "tests/unit/test.h"
#include <stdlib.h>
#include "vm/heap.h"

static size_t in_use, most_in_use;
static void *counted(void *user, void *old, size_t was, size_t want, rvm_kind kind) {
  (void)user, (void)kind;
  in_use += want - was;
  if (in_use > most_in_use) most_in_use = in_use;
  if (want) return realloc(old, want);
  free(old);
  return NULL;
}

static Tensor *vector(Heap *h, int64_t n) {
  Tensor *t = heap_tensor(h, DT_f32, 1, &n);
  assert_non_null(t);
  memset(t->data, 1, (size_t)n * 4);
  return t;
}

static void drop(Heap *h, Tensor *t) { ref_drop(h, cell_value(t)); }

static void start(Heap *h) {
  in_use = most_in_use = 0;
  heap_init(h, (rvm_alloc){counted, NULL}, 0, (RefMap){0});
}

/* A loop that replaces its state asks the allocator for nothing after its first steps. */
static void a_loop_over_equal_shapes_asks_for_nothing(void **state) {
  (void)state;
  static const int64_t sizes[] = {1, 16, 500, 1024, 1025, 4000, 16384, 70000, 1000000};
  for (int i = 0; i < 9; i++) {
    Heap h;
    start(&h);
    Tensor *s = vector(&h, sizes[i]);
    uint64_t after = 0;
    for (int step = 0; step < 1000; step++) {
      Tensor *mid = vector(&h, sizes[i] / 2 + 1), *next = vector(&h, sizes[i]);
      drop(&h, s);
      drop(&h, mid);
      s = next;
      if (step == 3) after = h.requests;
    }
    assert_int_equal(h.requests, after);
    drop(&h, s);
    heap_end(&h);
    assert_int_equal(in_use, 0);
  }
}

/* Like the layers of a net: every tensor has another size, two live at a time. */
static void spares_do_not_raise_the_peak(void **state) {
  (void)state;
  Heap h;
  start(&h);
  size_t live = 0, most = 0;
  for (int run = 0; run < 3; run++) {
    Tensor *x = vector(&h, 100000);
    for (int layer = 1; layer < 60; layer++) {
      Tensor *y = vector(&h, 100000 + 7000 * (layer % 13) - 900 * layer);
      live = (size_t)(x->count + y->count) * 4;
      if (live > most) most = live;
      drop(&h, x);
      x = y;
    }
    drop(&h, x);
  }
  assert_true(h.peak >= most && most_in_use >= most);
  assert_true((double)most_in_use <= 1.08 * (double)most);
  heap_end(&h);
  assert_int_equal(in_use, 0);
}

static int told, alive;
static void tell(void *user, const Tensor *t, bool born) {
  assert_ptr_equal(user, &told);
  assert_true(t->count > 0);
  told++;
  alive += born ? 1 : -1;
}

static void a_watcher_hears_of_every_tensor_with_memory(void **state) {
  (void)state;
  Heap h;
  start(&h);
  h.watch = tell, h.watch_user = &told;
  Tensor *a = vector(&h, 10), *b = vector(&h, 10000), *none = vector(&h, 0);
  Tensor *v = heap_view(&h, a, 1, (int64_t[]){10});
  drop(&h, a);
  assert_int_equal(alive, 2);
  drop(&h, v);
  drop(&h, none);
  assert_int_equal(alive, 1);
  drop(&h, b);
  assert_int_equal(told, 4);
  heap_end(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_loop_over_equal_shapes_asks_for_nothing),
      cmocka_unit_test(spares_do_not_raise_the_peak),
      cmocka_unit_test(a_watcher_hears_of_every_tensor_with_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
