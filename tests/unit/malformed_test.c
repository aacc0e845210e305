/* Damaged images: whatever bytes are loaded, and run if they load, end in a
 * value, a clean error or a limit.  The sanitizers are the judges.             */
#include "tests/unit/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rvm/rvm.h>
#include "codegen/lower/lower.h"
#include "parser/parser.h"
#include "stdlib/embedded.h"
#include "stdlib/stdlib.h"
#include "typeinfer/infer.h"

static const char *const programs[] = {
    "def @main() -> int32 { @f(5) }\ndef @f(%n: int32) -> int32 { if (%n < 2) { %n } else { @f(%n "
    "- 1) + @f(%n - 2) } }\n",
    "def @main() -> List[int32] { @map(fn(%x: int32) -> int32 { %x * 2 }, Cons(1, Cons(2, Nil))) "
    "}\n",
    "def @main() -> Tensor[(2, 2), float32] { let %x = full(2f, shape=[2, 3]); "
    "nn.relu(nn.dense(%x, %x)) }\n",
    "def @main() -> int32 { let %r = ref(1); let %f = fn() -> () { ref_write(%r, ref_read(%r) + 3) "
    "}; %f(); %f(); ref_read(%r) }\n",
    "def @main() -> Tensor[(?), int32] { let %x = arange(0, 4, 1, dtype=\"int32\"); "
    "sort(reverse(%x, axis=0)) }\n",
};
enum { N_PROGRAMS = sizeof programs / sizeof *programs };

static uint8_t *compile(const char *text, size_t *n) {
  Sources *src = NEW(Sources);
  Diags *d = diags_new(src);
  IrCtx *cx = irctx_new();
  irctx_set_ops(cx, stdlib_ops, stdlib_n_ops);
  Module *m = load_program(cx, src, (TextFile){"p.rly", text, strlen(text)}, stdlib_files, stdlib_n_files, d);
  Image im;
  if (!m || !typeinfer(m, d) || !lower_module(m, 1, (Global *[]){module_find(m, "main")}, d, &im)) {
    StrBuf b = {0};
    diag_render(d, &b, false);
    fail_msg("%s", buf_text(&b));
  }
  return image_write(&im, lower_alloc(), n);
}

static void *host(void *user, void *old, size_t was, size_t want, rvm_kind kind) {
  long *live = user;
  (void)kind;
  *live += (long)want - (long)was;
  if (want == 0) return free(old), NULL;
  void *p = aligned_alloc(64, (want + 63) / 64 * 64);
  if (p && old) memcpy(p, old, was < want ? was : want), free(old);
  return p;
}

typedef struct {
  long loads, refused, values, errors;
} Tally;

/* A copy of exactly n bytes, so that reading beyond is seen. */
static void try_image(const uint8_t *bytes, size_t n, Tally *t) {
  long live = 0;
  rvm_alloc a = {host, &live};
  rvm_limits lim = {.fuel = 2000, .memory = 1 << 20, .call_depth = 64};
  rvm_program *p;
  rvm_instance *vm;
  rvm_error e;
  uint8_t *copy = malloc(n ? n : 1);
  memcpy(copy, bytes, n);
  t->loads++;
  if (rvm_program_load(copy, n, a, &p, &e) == RVM_OK) {
    assert_int_equal(rvm_instance_new(p, &lim, a, &vm, &e), RVM_OK);
    for (rvm_func f = 0; f < rvm_program_count(p); f++) {
      rvm_func_info info;
      rvm_value v;
      rvm_func_describe(p, f, &info);
      if (info.n_params) continue;
      if (rvm_apply(vm, f, NULL, &v, &e) == RVM_OK)
        t->values++, rvm_value_release(vm, v);
      else
        t->errors++, assert_true(e.message[0] != 0);
    }
    rvm_instance_free(vm);
    rvm_program_free(p);
  } else {
    assert_true(e.status == RVM_BAD_IMAGE || e.status == RVM_NO_MEMORY);
    assert_true(e.message[0] != 0);
    t->refused++;
  }
  assert_int_equal(live, 0);
  free(copy);
}

static void report(const char *what, const Tally *t) {
  print_message("  %s: %ld images, %ld refused, %ld values, %ld errors or limits\n", what, t->loads,
                t->refused, t->values, t->errors);
}

static void every_truncation_is_refused(void **state) {
  (void)state;
  Tally t = {0};
  for (int i = 0; i < N_PROGRAMS; i++) {
    size_t n;
    uint8_t *b = compile(programs[i], &n);
    for (size_t k = 0; k < n; k++) try_image(b, k, &t);
  }
  assert_int_equal(t.refused, t.loads);
  report("truncations", &t);
}

static void every_flipped_bit_ends_cleanly(void **state) {
  (void)state;
  Tally t = {0};
  for (int i = 0; i < N_PROGRAMS; i++) {
    size_t n;
    uint8_t *b = compile(programs[i], &n);
    for (size_t bit = 0; bit < 8 * n; bit++) {
      b[bit / 8] ^= (uint8_t)(1u << bit % 8);
      try_image(b, n, &t);
      b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
  }
  report("bit flips", &t);
}

static void every_boundary_value_ends_cleanly(void **state) {
  (void)state;
  static const uint64_t values[] = {
      0, 1, UINT64_MAX, INT32_MAX, (uint64_t)1 << 31, UINT32_MAX, INT64_MAX, (uint64_t)1 << 63};
  Tally t = {0};
  for (int i = 0; i < N_PROGRAMS; i++) {
    size_t n;
    uint8_t *b = compile(programs[i], &n), was[8];
    for (size_t at = 0; at + 4 <= n; at += 4)
      for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
        size_t width = v < 6 && v != 2 ? 4 : at + 8 <= n ? 8 : 4;
        memcpy(was, b + at, width);
        memcpy(b + at, &values[v], width);
        try_image(b, n, &t);
        memcpy(b + at, was, width);
      }
  }
  report("boundary values", &t);
}

/* ---- refused memory ------------------------------------------------------------- */
typedef struct {
  long live, left;                 /* requests until one is refused; < 0: none   */
  bool forever;                    /* and all after it                           */
} Refusing;

static void *refusing(void *user, void *old, size_t was, size_t want, rvm_kind kind) {
  Refusing *r = user;
  if (want > was && r->left >= 0) {
    if (r->left == 0) {
      if (!r->forever) r->left = -1;
      return NULL;
    }
    r->left--;
  }
  return host(&r->live, old, was, want, kind);
}

static rvm_status apply_main(rvm_instance *vm) {
  rvm_error e = {0};
  rvm_value v;
  rvm_status st = rvm_apply(vm, 0, NULL, &v, &e);
  if (st == RVM_OK) rvm_value_release(vm, v);
  else assert_true(e.message[0] != 0);
  return st;
}

/* The nth request is refused; true when there were fewer.  What was made
 * serves on once there is memory again. */
static bool refuse_nth(const uint8_t *bytes, size_t n, long nth, bool forever, Tally *t) {
  Refusing r = {.left = nth, .forever = forever};
  rvm_alloc a = {refusing, &r};
  rvm_program *p = NULL;
  rvm_instance *vm = NULL;
  rvm_error e;
  t->loads++;
  rvm_status st = rvm_program_load(bytes, n, a, &p, &e);
  if (st == RVM_OK) st = rvm_instance_new(p, NULL, a, &vm, &e);
  if (st == RVM_OK) st = apply_main(vm);
  bool met = r.left <= 0;            /* a refusal may be made good: fewer bytes will do */
  if (st == RVM_OK) t->values++;
  else assert_int_equal(st, RVM_NO_MEMORY), t->refused++;
  r.left = -1;
  if (vm) assert_int_equal(apply_main(vm), RVM_OK);
  if (vm) rvm_instance_free(vm);
  if (p) rvm_program_free(p);
  assert_int_equal(r.live, 0);
  return !met;
}

static void every_refused_request_ends_cleanly(void **state) {
  (void)state;
  Tally t = {0};
  for (int i = 0; i < N_PROGRAMS; i++) {
    size_t n;
    uint8_t *b = compile(programs[i], &n);
    for (int forever = 0; forever < 2; forever++) {
      long nth = 0;
      while (!refuse_nth(b, n, nth, forever, &t)) assert_true(++nth < 10000);
    }
  }
  report("refused requests", &t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_truncation_is_refused),
      cmocka_unit_test(every_flipped_bit_ends_cleanly),
      cmocka_unit_test(every_boundary_value_ends_cleanly),
      cmocka_unit_test(every_refused_request_ends_cleanly),
  };
  mem_init();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
