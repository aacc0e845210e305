/* engines_test.c -- what the C API promises of every engine: programs from source,
 * interpreted, with compiled kernels and compiled whole, under refused memory, fuel,
 * limits of memory and depth, after faults, with inputs that nobody may change.     */
#include "tests/unit/vm_harness.h"
#include <sys/mman.h>
#include "base/mem.h"
#include "cli/cli.h"
#ifdef RVM_HAVE_LLVM
#include "codegen/llvm/llvm.h"
#include "codegen/native/code.h"
#endif

/* ---- a program on an engine ---------------------------------------------------------- */
enum {
  INTERP,
#ifdef RVM_HAVE_LLVM
  KERNELS,
  WHOLE,
#endif
  N_ENGINES
};

typedef struct {
  Fix x;
  void *code; /* of the engine, loaded; NULL: interpreted  */
} Loaded;

static void load(Loaded *l, const char *text, int level, int engine) {
  Driver d;
  Compiled c;
  driver_init(&d, NULL);
  d.opt_level = level;
  if (!driver_image_text(&d, (TextFile){"p.rly", text, strlen(text)}, NULL, &c)) {
    driver_report(&d);
    fail_msg("%s", text);
  }
  *l = (Loaded){.x = {.mem = {-1, 0}, .bytes = c.bytes, .n = c.n}};
  l->x.alloc = (rvm_alloc){stingy_fn, &l->x.mem};
  if (rvm_program_load(c.bytes, c.n, l->x.alloc, &l->x.p, &l->x.err) != RVM_OK)
    fail_msg("%s", l->x.err.message);
#ifdef RVM_HAVE_LLVM
  const char *why = NULL;
  size_t n;
  if (engine == INTERP) return;
  LlvmOptions o = {.level = 1, .functions = engine == WHOLE};
  void *code = llvm_compile(&o, c.bytes, c.n, &n, &why);
  if (code) l->code = code_load(l->x.p, code, n, &why);
  llvm_free(code);
  if (!l->code) fail_msg("%s", why);
#else
  (void)engine;
#endif
}

static void unload(Loaded *l) {
  rvm_program_free(l->x.p);
#ifdef RVM_HAVE_LLVM
  code_free(l->code);
#endif
  assert_int_equal(l->x.mem.live, 0);
}

static void begin(Loaded *l, const rvm_limits *lim) {
  assert_int_equal(rvm_instance_new(l->x.p, lim, l->x.alloc, &l->x.vm, &l->x.err), RVM_OK);
}

static rvm_stats stats_of(const Loaded *l) {
  rvm_stats s;
  rvm_get_stats(l->x.vm, &s);
  return s;
}

/* ---- programs: @main from an int64 to an int64 ------------------------------------------ */
typedef struct {
  int64_t n;
  const char *text;
} Program;
static const Program programs[] = {
    {12, "def @main(%n: int64) -> int64 {\n"
         "  if (%n < 2i64) { %n } else { @main(%n - 1i64) + @main(%n - 2i64) }\n}\n"},
    {30,
     "def @upto(%n: int64, %xs: List[int64]) -> List[int64] {\n"
     "  if (%n == 0i64) { %xs } else { @upto(%n - 1i64, Cons(%n, %xs)) }\n}\n"
     "def @main(%n: int64) -> int64 {\n"
     "  let %f = fn (%x: int64) -> int64 { %x * %n };\n"
     "  @foldl(fn (%a: int64, %x: int64) -> int64 { %a + %x }, 0i64, @map(%f, @upto(%n, Nil)))\n"
     "}\n"},
    {9, "def @main(%n: int64) -> int64 {\n"
        "  let %r = ref(arange(0i64, %n, 1i64));\n"
        "  let %f = fn () -> () { ref_write(%r, ref_read(%r) * 2i64 + ref_read(%r)) };\n"
        "  %f(); %f();\n"
        "  sum(ref_read(%r))\n}\n"},
    {40, "def @main(%n: int64) -> int64 {\n"
         "  let %x = reshape(cast(arange(0i64, %n * 4i64, 1i64), dtype=\"float32\"), newshape=[-1, "
         "4]);\n"
         "  let %y = nn.relu(nn.dense(%x * 0.01f, %x) - 3f);\n"
         "  cast(sum(nn.softmax(%y, axis=1)) + max(%y), dtype=\"int64\")\n}\n"},
    {50, "def @main(%n: int64) -> int64 {\n"
         "  let %x = mod(arange(0i64, %n, 1i64) * 7i64, 11i64);\n"
         "  sum(sort(reverse(%x, axis=0)) * arange(0i64, %n, 1i64)) + sum(cumsum(%x))\n}\n"},
    {6, "type Tree { Leaf(Tensor[(?), float32]), Node(Tree, Tree) }\n"
        "def @grow(%n: int64) -> Tree {\n"
        "  if (%n == 0i64) { Leaf(cast(arange(0i64, 20i64, 1i64), dtype=\"float32\")) }\n"
        "  else { let %t = @grow(%n - 1i64); Node(%t, Node(%t, @grow(%n / 2i64))) }\n}\n"
        "def @fold(%t: Tree) -> Tensor[(?), float32] {\n"
        "  match (%t) { Leaf(%x) => tanh(%x), Node(%a, %b) => @fold(%a) + @fold(%b) }\n}\n"
        "def @main(%n: int64) -> int64 { cast(sum(@fold(@grow(%n))), dtype=\"int64\") }\n"},
    {4, "def @loss(%w: Tensor[(4), float32], %x: Tensor[(?, 4), float32]) -> float32 {\n"
        "  let %e = sum(tanh(%x * %w), axis=[1]) - 1f;\n  sum(%e * %e)\n}\n"
        "def @train(%k: int64, %w: Tensor[(4), float32], %x: Tensor[(?, 4), float32]) -> "
        "Tensor[(4), float32] {\n"
        "  if (%k == 0i64) { %w } else {\n"
        "    let %g = grad(@loss)(%w, %x).1.0;\n"
        "    @train(%k - 1i64, %w - 0.001f * %g, %x)\n  }\n}\n"
        "def @main(%n: int64) -> int64 {\n"
        "  let %x = reshape(cast(arange(0i64, %n * 4i64, 1i64), dtype=\"float32\"), newshape=[-1, "
        "4]);\n"
        "  cast(sum(@train(%n, zeros(shape=[4], dtype=\"float32\"), %x)) * 1e6f, "
        "dtype=\"int64\")\n}\n"},
};
enum { N_PROGRAMS = sizeof programs / sizeof *programs };

/* Every program, at level 0 and 2, on every engine. */
enum { N_LOADED = N_PROGRAMS * 2 * N_ENGINES };

static int load_all(void **state) {
  Loaded *l = calloc(N_LOADED, sizeof *l);
  for (int i = 0; i < N_LOADED; i++)
    load(&l[i], programs[i / N_ENGINES / 2].text, i / N_ENGINES % 2 * 2, i % N_ENGINES);
  *state = l;
  return 0;
}

static int unload_all(void **state) {
  for (int i = 0; i < N_LOADED; i++) unload((Loaded *)*state + i);
  free(*state);
  return 0;
}

typedef void Check(Loaded *l, const Program *p, int engine, void *ud);

static void each(void **state, Check *what, void *ud) {
  Loaded *l = *state;
  for (int i = 0; i < N_LOADED; i++) what(&l[i], &programs[i / N_ENGINES / 2], i % N_ENGINES, ud);
}

static rvm_status call(Loaded *l, const Program *p, int64_t *out) {
  return call_ints(&l->x, "main", 1, &p->n, out);
}

/* What it gives without limits, and what that takes. */
static int64_t plain(Loaded *l, const Program *p, rvm_stats *s) {
  int64_t r;
  begin(l, NULL);
  if (call(l, p, &r) != RVM_OK) fail_msg("%s", l->x.err.message);
  if (s) *s = stats_of(l);
  rvm_instance_free(l->x.vm);
  return r;
}

/* ---- refused memory ---------------------------------------------------------------------- */
/* The nth request is refused, from the making of the instance on; false when there were
 * fewer.  The instance then gives what it always gives. */
static bool refuse(Loaded *l, const Program *p, long nth, bool twice, int64_t want) {
  long before = l->x.mem.live;
  int64_t r;
  l->x.vm = NULL;
  l->x.mem.left = nth;
  rvm_status st = rvm_instance_new(l->x.p, NULL, l->x.alloc, &l->x.vm, &l->x.err);
  if (st == RVM_OK) st = call(l, p, &r);
  bool met = l->x.mem.left < 0;
  if (st == RVM_OK)
    assert_int_equal(r, want);
  else
    assert_int_equal(st, RVM_NO_MEMORY), assert_true(l->x.err.message[0] != 0);
  if (l->x.vm && twice) {
    l->x.mem.left = nth / 2;
    st = call(l, p, &r);
    if (st == RVM_OK)
      assert_int_equal(r, want);
    else
      assert_int_equal(st, RVM_NO_MEMORY);
  }
  l->x.mem.left = -1;
  if (l->x.vm) {
    assert_int_equal(call(l, p, &r), RVM_OK);
    assert_int_equal(r, want);
    rvm_instance_free(l->x.vm);
  }
  assert_int_equal(l->x.mem.live, before);
  return met;
}

static void sweep_refusals(Loaded *l, const Program *p, int engine, void *ud) {
  (void)engine;
  int64_t want = plain(l, p, NULL);
  for (int twice = 0; twice < 2; twice++)
    for (long nth = 0; refuse(l, p, nth, twice, want); nth++) {
      assert_true(nth < 20000);
      ++*(long *)ud;
    }
}

static void every_refused_request_leaves_a_usable_instance(void **state) {
  long refused = 0;
  each(state, sweep_refusals, &refused);
  print_message("  %ld requests refused\n", refused);
  assert_true(refused > 100);
}

/* ---- fuel ----------------------------------------------------------------------------------- */
static rvm_status with_fuel(Loaded *l, const Program *p, uint64_t fuel, int64_t *r) {
  begin(l, &(rvm_limits){.fuel = fuel});
  rvm_status st = call(l, p, r);
  assert_true(st == RVM_OK || st == RVM_NO_FUEL);
  return st;
}

typedef struct {
  uint64_t used, least;
} Fuel;

/* The least that is enough (what runs behind the last call, loop or kernel is not looked at)
 * and what was used; a unit less stops, and goes on to the same value. */
static void one_unit_less_stops(Loaded *l, const Program *p, int engine, void *ud) {
  Fuel *of_interp = ud, here;
  rvm_stats s;
  int64_t want = plain(l, p, &s), r = 0;
  DLTensor o = {0};
  uint64_t too_little = 0, most = s.fuel_used;
  while (most - too_little > 1) {
    uint64_t middle = too_little + (most - too_little) / 2;
    if (with_fuel(l, p, middle, &r) == RVM_OK)
      assert_int_equal(r, want), most = middle;
    else
      too_little = middle;
    rvm_instance_free(l->x.vm);
  }
  here = (Fuel){s.fuel_used, most};
  if (engine == INTERP) *of_interp = here;
  assert_int_equal(here.used, of_interp->used);
  assert_int_equal(here.least, of_interp->least);
  if (most == 1) return;
  assert_int_equal(with_fuel(l, p, most - 1, &r), RVM_NO_FUEL);
  rvm_set_fuel(l->x.vm, s.fuel_used);
  assert_int_equal(rvm_resume(l->x.vm, (DLTensor *[]){&o}, &l->x.err), RVM_OK);
  assert_int_equal(*(int64_t *)o.data, want);
  assert_int_equal(stats_of(l).fuel_used, s.fuel_used);
  rvm_instance_free(l->x.vm);
}

static void fuel_is_the_same_to_the_unit(void **state) {
  Fuel of_interp = {0};
  each(state, one_unit_less_stops, &of_interp);
}

/* ---- memory and depth --------------------------------------------------------------------------
 */
static void more_and_more_memory(Loaded *l, const Program *p, int engine, void *ud) {
  (void)engine, (void)ud;
  rvm_stats s;
  int64_t want = plain(l, p, &s), r;
  for (uint64_t lim = 64; lim <= s.memory_peak + 64; lim += lim < 4096 ? 64 : s.memory_peak / 64) {
    rvm_limits limits = {.memory = lim};
    if (rvm_instance_new(l->x.p, &limits, l->x.alloc, &l->x.vm, &l->x.err) != RVM_OK) continue;
    rvm_status st = call(l, p, &r);
    assert_true(st == RVM_OK || st == RVM_NO_MEMORY);
    assert_true(stats_of(l).memory_peak <= lim);
    if (st == RVM_OK) assert_int_equal(r, want);
    rvm_instance_free(l->x.vm);
  }
  begin(l, &(rvm_limits){.memory = s.memory_peak});
  assert_int_equal(call(l, p, &r), RVM_OK);
  rvm_instance_free(l->x.vm);
}

static void memory_stays_within_its_limit(void **state) { each(state, more_and_more_memory, NULL); }

static void deeper_and_deeper(Loaded *l, const Program *p, int engine, void *ud) {
  uint32_t *of_interp = ud, depth = 1;
  int64_t want = plain(l, p, NULL), r;
  for (;; depth++) {
    begin(l, &(rvm_limits){.call_depth = depth});
    rvm_status st = call(l, p, &r);
    if (st == RVM_OK)
      assert_int_equal(r, want);
    else
      assert_int_equal(st, RVM_TOO_DEEP);
    rvm_instance_free(l->x.vm);
    if (st == RVM_OK) break;
    assert_true(depth < 1000);
  }
  if (engine == INTERP) *of_interp = depth;
  assert_int_equal(depth, *of_interp);
}

static void depth_is_the_same_everywhere(void **state) {
  uint32_t of_interp = 0;
  each(state, deeper_and_deeper, &of_interp);
}

/* ---- inputs, results, faults
 * ----------------------------------------------------------------------- */
/* B12: what is passed through is not the caller's memory, and an input that dies in the
 * call is not worked on in place. */
static void results_are_not_the_inputs_memory(void **state) {
  (void)state;
  static const char text[] = "def @main(%x: Tensor[(?), float32], %y: Tensor[(?), float32]) {\n"
                             "  let %z = exp(%x * 2f) + 1f;\n  (%x, cast(%y, dtype=\"float32\"), "
                             "%z - %x, reshape(%y, newshape=[2, -1]))\n}\n";
  for (int engine = 0; engine < N_ENGINES; engine++)
    for (int level = 0; level <= 2; level += 2) {
      Loaded l;
      load(&l, text, level, engine);
      begin(&l, NULL);
      float x[4] = {0, 1, 2, 3}, y[4] = {4, 5, 6, 7};
      DLTensor in[2] = {TENSOR(2, 32, 1, SHAPE(4), x), TENSOR(2, 32, 1, SHAPE(4), y)}, o[4] = {0};
      DLTensor *out[4] = {&o[0], &o[1], &o[2], &o[3]};
      for (int round = 0; round < 3; round++) {
        memset(o, 0, sizeof o);
        assert_int_equal(rvm_call(l.x.vm, 0, (const DLTensor *[]){&in[0], &in[1]}, out, &l.x.err),
                         RVM_OK);
        for (int i = 0; i < 4; i++) {
          float *r = o[i].data;
          assert_true(r + 4 <= x || r >= x + 4);
          assert_true(r + 4 <= y || r >= y + 4);
          for (int k = 0; k < i; k++) assert_ptr_not_equal(r, o[k].data);
          assert_true(i == 2 || !memcmp(r, i ? y : x, sizeof x));
        }
        for (int i = 0; i < 4; i++) assert_true(x[i] == (float)i && y[i] == (float)i + 4);
      }
      rvm_instance_free(l.x.vm);
      unload(&l);
    }
}

/* B14: a tensor without axes is given without a shape; one axis of one is another type. */
static void numbers_need_no_shape(void **state) {
  (void)state;
  for (int engine = 0; engine < N_ENGINES; engine++) {
    Loaded l;
    load(&l,
         "def @main(%x: float32, %b: bool, %i: int64) { where(%b, %x, cast(%i, dtype=\"float32\")) "
         "}\n",
         2, engine);
    begin(&l, NULL);
    float x = 2.5f, *r;
    uint8_t b = 1;
    int64_t i = 7;
    DLTensor in[3] = {TENSOR(2, 32, 0, NULL, &x), TENSOR(6, 8, 0, NULL, &b),
                      TENSOR(0, 64, 0, NULL, &i)};
    const DLTensor *pin[3] = {&in[0], &in[1], &in[2]};
    for (b = 0; b < 2; b++) {
      DLTensor o = {0};
      assert_int_equal(rvm_call(l.x.vm, 0, pin, (DLTensor *[]){&o}, &l.x.err), RVM_OK);
      assert_int_equal(o.ndim, 0);
      r = o.data;
      assert_true(*r == (b ? 2.5f : 7.0f));
    }
    DLTensor o = {0};
    b = 2;
    assert_int_equal(rvm_call(l.x.vm, 0, pin, (DLTensor *[]){&o}, &l.x.err), RVM_BAD_ARGUMENT);
    assert_int_equal(l.x.err.index, 1);
    b = 1;
    in[2] = TENSOR(0, 64, 1, SHAPE(1), &i);
    assert_int_equal(rvm_call(l.x.vm, 0, pin, (DLTensor *[]){&o}, &l.x.err), RVM_BAD_ARGUMENT);
    assert_int_equal(l.x.err.index, 2);
    rvm_instance_free(l.x.vm);
    unload(&l);
  }
}

/* B17, D06, E09: a fault says where, and the instance goes on. */
static void faults_have_a_place_and_leave_an_instance(void **state) {
  (void)state;
  static const struct {
    int64_t bad, good, result;
    uint32_t line, col;
    const char *text;
  } fault[] = {
      {1, 0, 5, 2, 3,
       "def @main(%n: int64) -> int64 {\n  match? (if (%n == 0i64) { None } else { Some(%n) }) { "
       "None => 5i64 }\n}\n"},
      {0, 2, 3, 2, 12, "def @main(%n: int64) -> int64 {\n  let %q = divide(7i64, %n);\n  %q\n}\n"},
      {64, 3, 8, 2, 3, "def @main(%n: int64) -> int64 {\n  left_shift(1i64, %n)\n}\n"},
      {4, 3, 9, 3, 7,
       "def @main(%n: int64) -> int64 {\n  let %x = arange(0i64, %n, 1i64);\n  sum(add(%x, "
       "arange(0i64, 3i64, 1i64))) + 3i64\n}\n"},
      {9, 4, 4, 2, 7,
       "def @main(%n: int64) -> int64 {\n  sum(gather(arange(0i64, 9i64, 1i64), reshape(%n, "
       "newshape=[1]), axis=0))\n}\n"},
  };
  enum { N = sizeof fault / sizeof *fault };
  for (int i = 0; i < N; i++)
    for (int engine = 0; engine < N_ENGINES; engine++) {
      Loaded l;
      int64_t r = 0;
      load(&l, fault[i].text, 2, engine);
      begin(&l, NULL);
      for (int round = 0; round < 3; round++) {
        memset(&l.x.err, 0, sizeof l.x.err);
        assert_int_equal(call_ints(&l.x, "main", 1, &fault[i].bad, &r), RVM_FAULT);
        assert_string_equal(l.x.err.file, "p.rly");
        if (l.x.err.line != fault[i].line || l.x.err.col != fault[i].col)
          fail_msg("%d: at %u:%u: %s", i, l.x.err.line, l.x.err.col, l.x.err.message);
        assert_int_equal(call_ints(&l.x, "main", 1, &fault[i].good, &r), RVM_OK);
        assert_int_equal(r, fault[i].result);
      }
      rvm_instance_free(l.x.vm);
      unload(&l);
    }
}

/* E16: the last of 70000 * 70000 elements is at 4 899 999 999, which is no int32.  The memory
 * is zeros that nobody has touched. */
static void indices_do_not_wrap(void **state) {
  (void)state;
  enum { SIDE = 70000, LAST = SIDE - 1 };
  const size_t n = (size_t)SIDE * SIDE;
  uint8_t *x =
      mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (x == MAP_FAILED) skip();
  x[n - 1] = 77;
  x[605032703] = 13; /* the index modulo 2^32 */
  for (int engine = 0; engine < N_ENGINES; engine++) {
    Loaded l;
    load(&l,
         "def @main(%x: Tensor[(?, ?), uint8], %i: int64) {\n"
         "  (take(take(%x, %i, axis=0), %i, axis=0),\n"
         "   strided_slice(%x, begin=[69999, 69990], end=[70000, 70000]),\n"
         "   gather_nd(%x, stack((%i, %i), axis=0)))\n}\n",
         2, engine);
    begin(&l, NULL);
    int64_t i = LAST;
    DLTensor in[2] = {TENSOR(1, 8, 2, SHAPE(SIDE, SIDE), x), TENSOR(0, 64, 0, NULL, &i)},
             o[3] = {0};
    DLTensor *out[3] = {&o[0], &o[1], &o[2]};
    rvm_status st = rvm_call(l.x.vm, 0, (const DLTensor *[]){&in[0], &in[1]}, out, &l.x.err);
    if (st != RVM_OK) fail_msg("%s", l.x.err.message);
    assert_int_equal(*(uint8_t *)o[0].data, 77);
    assert_int_equal(((uint8_t *)o[1].data)[9], 77);
    assert_int_equal(((uint8_t *)o[1].data)[8], 0);
    assert_int_equal(*(uint8_t *)o[2].data, 77);
    rvm_instance_free(l.x.vm);
    unload(&l);
  }
  munmap(x, n);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_refused_request_leaves_a_usable_instance),
      cmocka_unit_test(fuel_is_the_same_to_the_unit),
      cmocka_unit_test(memory_stays_within_its_limit),
      cmocka_unit_test(depth_is_the_same_everywhere),
      cmocka_unit_test(results_are_not_the_inputs_memory),
      cmocka_unit_test(numbers_need_no_shape),
      cmocka_unit_test(faults_have_a_place_and_leave_an_instance),
      cmocka_unit_test(indices_do_not_wrap),
  };
  mem_init();
  return cmocka_run_group_tests_name("engines", tests, load_all, unload_all);
}
