/* The runtime when memory is refused, short, or oddly aligned; the arena.        */
#include "tests/unit/vm_programs.h"

static void loading_survives_every_refused_allocation(void **state) {
  (void)state;
  Fix x;
  fix_image(&x, TENSORS);
  for (long n = 0; n < 5000; n++) {
    x.mem = (Stingy){ n, 0 };
    rvm_status st = rvm_program_load(x.bytes, x.n, x.alloc, &x.p, &x.err);
    if (st == RVM_OK) {
      rvm_program_free(x.p);
      assert_int_equal(x.mem.live, 0);
      free(x.bytes);
      return;
    }
    assert_int_equal(st, RVM_NO_MEMORY);
    assert_int_equal(x.err.status, RVM_NO_MEMORY);
    assert_null(x.p);
    assert_int_equal(x.mem.live, 0);
  }
  fail_msg("still refusing");
}

static rvm_status sweep_once(Fix *x, long n) {
  x->mem.left = n;
  rvm_status st = rvm_instance_new(x->p, NULL, x->alloc, &x->vm, &x->err);
  if (st != RVM_OK) return st;
  rvm_value l, v, r;
  int64_t three_ = 3;
  DLTensor t = TENSOR(2, 32, 1, &three_, three);
  st = rvm_value_tensor(x->vm, T_VEC, &t, &v, &x->err);
  if (st == RVM_OK) {
    l = nil(x);
    rvm_value f[2] = { v, l };
    st = rvm_value_data(x->vm, T_LIST, 1, 2, f, &l, &x->err);
  }
  if (st == RVM_OK) {
    st = rvm_value_tensor(x->vm, T_VEC, &t, &v, &x->err);
    if (st != RVM_OK) rvm_value_release(x->vm, l);
  }
  if (st == RVM_OK) {
    rvm_value a[3] = { v, int_value(x, 200), l };
    st = rvm_apply(x->vm, entry(x, "make"), a, &r, &x->err);
  }
  if (st == RVM_OK) {
    x->mem.left = -1;
    assert_int_equal(length_of(x, r), 201);
  }
  x->mem.left = -1;                          /* whatever happened: still usable */
  int64_t out;
  assert_int_equal(call_ints(x, "closures", 1, SHAPE(2), &out), RVM_OK);
  assert_int_equal(out, 6);
  rvm_instance_free(x->vm);
  return st;
}

static void calls_survive_every_refused_allocation(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, LISTS);
  rvm_instance_free(x.vm);
  long before = x.mem.live;
  for (long n = 0; n < 1000; n++) {
    rvm_status st = sweep_once(&x, n);
    assert_int_equal(x.mem.live, before);
    if (st == RVM_OK) {
      rvm_program_free(x.p);
      free(x.bytes);
      return;
    }
    assert_int_equal(st, RVM_NO_MEMORY);
  }
  fail_msg("still refusing");
}

static void tensor_calls_survive_every_refused_allocation(void **state) {
  (void)state;
  Fix x;
  fix_begin(&x, TENSORS);
  static float big[5000];
  rvm_instance_free(x.vm);
  long before = x.mem.live;
  for (long n = 0; n < 1000; n++) {
    DLTensor in = TENSOR(2, 32, 1, SHAPE(2000), big), out = { 0 };
    in.strides = SHAPE(2);
    x.mem.left = n;
    rvm_status st = rvm_instance_new(x.p, NULL, x.alloc, &x.vm, &x.err);
    if (st == RVM_OK) {
      st = CALL(&x, "double", &in, &out);
      x.mem.left = -1;
      out = (DLTensor){ 0 };
      assert_int_equal(CALL(&x, "double", &in, &out), RVM_OK);
      rvm_instance_free(x.vm);
    }
    assert_int_equal(x.mem.live, before);
    if (st != RVM_OK) { assert_int_equal(st, RVM_NO_MEMORY); continue; }
    rvm_program_free(x.p);
    free(x.bytes);
    return;
  }
  fail_msg("still refusing");
}

static void an_arena_is_enough(void **state) {
  (void)state;
  Fix x;
  fix_image(&x, LISTS);
  static _Alignas(64) uint8_t memory[1 << 16];
  rvm_arena arena;
  rvm_alloc a = rvm_arena_alloc(&arena, memory, sizeof memory);
  assert_int_equal(rvm_program_load(x.bytes, x.n, a, &x.p, &x.err), RVM_OK);
  size_t program = arena.used;
  for (int round = 0; round < 3; round++) {
    assert_int_equal(rvm_instance_new(x.p, NULL, a, &x.vm, &x.err), RVM_OK);
    rvm_value v = make_list(&x, 50), r, big[3] = { vector(&x), int_value(&x, 100000), nil(&x) };
    assert_int_equal(rvm_apply(x.vm, entry(&x, "make"), big, &r, &x.err), RVM_NO_MEMORY);
    assert_int_equal(length_of(&x, v), 50);
    rvm_instance_free(x.vm);
    assert_int_equal(arena.used, program);
  }
  rvm_program_free(x.p);
  assert_int_equal(arena.used, 0);
  assert_true(arena.peak <= sizeof memory);
  free(x.bytes);
}

/* Random requests, checked for overlap by their contents. */
static void the_arena_keeps_blocks_apart(void **state) {
  (void)state;
  enum { N = 40 };
  static _Alignas(64) uint8_t memory[20000];
  rvm_arena arena;
  rvm_alloc a = rvm_arena_alloc(&arena, memory + 3, sizeof memory - 3);
  uint8_t *p[N] = { 0 };
  size_t n[N] = { 0 };
  uint32_t seed = 1;
  for (int round = 0; round < 20000; round++) {
    seed = seed * 1664525u + 1013904223u;
    int i = (int)(seed >> 8) % N;
    size_t want = (seed >> 16) % 3 == 0 ? 0 : (seed >> 18) % 1200 + 1;
    uint8_t *q = a.fn(a.user, p[i], n[i], want, i % 3 ? RVM_VALUES : RVM_SCRATCH);
    for (size_t k = 0; q && k < n[i] && k < want; k++) assert_int_equal(q[k], i);
    if (!q && want) continue;                /* refused: the old block stays  */
    assert_int_equal((uintptr_t)q % 64, 0);
    p[i] = q;
    n[i] = want;
    if (q) memset(q, i, want);
  }
  for (int i = 0; i < N; i++)
    if (p[i]) a.fn(a.user, p[i], n[i], 0, i % 3 ? RVM_VALUES : RVM_SCRATCH);
  assert_int_equal(arena.used, 0);
  assert_non_null(a.fn(a.user, NULL, 0, 19000, RVM_VALUES));    /* one hole again */
}

/* Kernel by kernel: scratch, a tensor born beside it, the scratch gone.  Tensors lie
 * side by side, so that 7 of 2048 bytes and scratch of as much fill 16384. */
static void scratch_leaves_no_holes(void **state) {
  (void)state;
  static _Alignas(64) uint8_t memory[16384];
  rvm_arena arena;
  rvm_alloc a = rvm_arena_alloc(&arena, memory, sizeof memory);
  for (int i = 0; i < 7; i++) {
    uint8_t *scratch = a.fn(a.user, NULL, 0, 2048 - 64 * (size_t)(i % 3), RVM_SCRATCH);
    uint8_t *tensor = a.fn(a.user, NULL, 0, 2048, RVM_TENSORS);
    assert_non_null(scratch);
    assert_ptr_equal(tensor, memory + 2048 * i);
    assert_null(a.fn(a.user, scratch, 2048 - 64 * (size_t)(i % 3), 0, RVM_SCRATCH));
  }
  assert_ptr_equal(a.fn(a.user, NULL, 0, 2048, RVM_SCRATCH), memory + 14336); /* all there is */
}

static void a_misaligned_image_loads(void **state) {
  (void)state;
  Fix x;
  fix_image(&x, TENSORS);
  uint8_t *odd = malloc(x.n + 1);
  memcpy(odd + 1, x.bytes, x.n);
  assert_int_equal(rvm_program_load(odd + 1, x.n, x.alloc, &x.p, &x.err), RVM_OK);
  rvm_program_free(x.p);
  odd[1] ^= 1;
  assert_int_equal(rvm_program_load(odd + 1, x.n, x.alloc, &x.p, &x.err), RVM_BAD_IMAGE);
  free(odd);
  free(x.bytes);
  assert_int_equal(x.mem.live, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(loading_survives_every_refused_allocation),
    cmocka_unit_test(calls_survive_every_refused_allocation),
    cmocka_unit_test(tensor_calls_survive_every_refused_allocation),
    cmocka_unit_test(an_arena_is_enough),
    cmocka_unit_test(the_arena_keeps_blocks_apart),
    cmocka_unit_test(scratch_leaves_no_holes),
    cmocka_unit_test(a_misaligned_image_loads),
  };
  return cmocka_run_group_tests_name("vm memory", tests, NULL, NULL);
}
