/* fuse_test.c -- kernel/fuse.h: what two kernels become.
 *
 * Parameters are named by their letters: a buffer of the same name is the same
 * memory in both, a symbol of the same name the same number.  Where they fuse,
 * the result is compared as text, and run against the two kernels in turn.   */
#include "tests/unit/kernel_alloc.h"
#include "kernel/build.h"
#include "kernel/fuse.h"
#include "kernel/text.h"
#include <stdio.h>

static Kernel *read_kernel(const char *text, KAlloc a) {
  KTextError err;
  Kernel *k = kernel_parse(text, strlen(text), a, &err);
  if (!k) fail_msg("%d:%d: %s in\n%s", err.line, err.col, err.why, text);
  return k;
}

static const char *wanted_names;
static bool is_wanted(void *ud, uint32_t buf) {
  (void)ud;
  return strchr(wanted_names, (int)buf) != NULL;
}

static void numbers(const Kernel *k, uint32_t *buf, uint32_t *sym) {
  for (uint32_t i = 0; i < k->n_params; i++) buf[i] = (uint32_t)k->text[k->buf[i].name];
  for (uint32_t i = 0; i < k->n_syms; i++) sym[i] = (uint32_t)k->text[k->sym_name[i]];
}

/* The text of both as one; NULL when they stay two.  For free(). */
static char *fused(const char *p, const char *c, const char *wanted) {
  Counted count;
  KAlloc a = counting(&count);
  Kernel *kp = read_kernel(p, a), *kc = read_kernel(c, a);
  uint32_t buf[2][K_MAX_BUFS], sym[2][K_MAX_SYMS];
  KFused out;
  size_t n;
  wanted_names = wanted;
  numbers(kp, buf[0], sym[0]);
  numbers(kc, buf[1], sym[1]);
  char *s = NULL;
  if (kernel_fuse((KPart){kp, buf[0], sym[0]}, (KPart){kc, buf[1], sym[1]},
                  (KWanted){is_wanted, NULL}, a, &out)) {
    for (uint32_t i = 0; i < out.k->n_params; i++)
      assert_int_equal(out.buf[i], out.k->text[out.k->buf[i].name]);
    s = kernel_print(out.k, a, &n);
    char *copy = malloc(n + 1);
    memcpy(copy, s, n + 1);
    a.fn(a.user, s, n + 1, 0);
    s = copy;
    kernel_free(out.k, a);
  }
  kernel_free(kp, a);
  kernel_free(kc, a);
  assert_int_equal(count.live, 0);
  return s;
}

static void becomes(const char *p, const char *c, const char *wanted, const char *want) {
  char *s = fused(p, c, wanted);
  assert_non_null(s);
  assert_string_equal(s, want);
  free(s);
}
static void stays(const char *p, const char *c, const char *wanted) {
  char *s = fused(p, c, wanted);
  if (s) fail_msg("fused:\n%s", s);
}

#define RELU                                                                                       \
  "kernel @relu(n) { in x: f32[n, 4] out t: f32[n, 4] for i in n parallel { for j in 4 parallel "  \
  "{ t[i, j] = max(x[i, j], 0:f32) } } }"

static void a_map_goes_into_the_map_that_reads_it(void **state) {
  (void)state;
  becomes(RELU,
          "kernel @add(n) { in t: f32[n, 4] in b: f32[4] out y: f32[n, 4] for i in n parallel { "
          "for j in 4 parallel { y[i, j] = t[i, j] + b[j] } } }",
          "",
          "kernel @relu_add(n) {\n"
          "  in x: f32[n, 4]\n"
          "  in b: f32[4]\n"
          "  out y: f32[n, 4]\n"
          "  for i0 in n parallel {\n"
          "    for i1 in 4 parallel {\n"
          "      y[i0, i1] = max(x[i0, i1], 0:f32) + b[i1]\n"
          "    }\n"
          "  }\n"
          "}\n");
}

static void a_wanted_map_is_stored_in_the_same_loop(void **state) {
  (void)state;
  becomes(RELU,
          "kernel @neg(n) { in t: f32[n, 4] out y: f32[n, 4] for i in n parallel { for j in 4 "
          "parallel { y[i, j] = neg(t[i, j]) } } }",
          "t",
          "kernel @relu_neg(n) {\n"
          "  in x: f32[n, 4]\n"
          "  out t: f32[n, 4]\n"
          "  out y: f32[n, 4]\n"
          "  for i0 in n parallel {\n"
          "    for i1 in 4 parallel {\n"
          "      let t0 = max(x[i0, i1], 0:f32)\n"
          "      t[i0, i1] = t0\n"
          "      y[i0, i1] = neg(t0)\n"
          "    }\n"
          "  }\n"
          "}\n");
}

static void a_map_goes_into_the_epilogue_of_a_contraction(void **state) {
  (void)state;
  becomes("kernel @dense(n) { in x: f32[n, 8] in w: f32[6, 8] out t: f32[n, 6] contract f32 acc (i "
          "in n, j in 6) over (k in 8) { x[i, k], w[j, k] } then { t[i, j] = acc } }",
          "kernel @bias(n) { in t: f32[n, 2, 3] in b: f32[2] out y: f32[n, 2, 3] for i in n "
          "parallel { for j in 2 parallel { for k in 3 parallel { y[i, j, k] = max(t[i, j, k] + "
          "b[j], 0:f32) } } } }",
          "",
          "kernel @dense_bias(n) {\n"
          "  in x: f32[n, 8]\n"
          "  in w: f32[2, 3, 8]\n"
          "  in b: f32[2]\n"
          "  out y: f32[n, 2, 3]\n"
          "  contract f32 acc0 (i0 in n, i1 in 2, i2 in 3) over (i3 in 8) {\n"
          "    x[i0, i3], w[i1, i2, i3]\n"
          "  } then {\n"
          "    y[i0, i1, i2] = max(acc0 + b[i1], 0:f32)\n"
          "  }\n"
          "}\n");
}

#define SOFTMAX                                                                                    \
  "kernel @softmax(n, m) { in t: f32[n, m] out y: f32[n, m] for i in n parallel { let r = reduce " \
  "max (k in m) from -inf:f32 { t[i, k] } for j in m parallel { y[i, j] = t[i, j] - r } } }"

static void a_cheap_map_is_evaluated_where_a_reduction_reads_it(void **state) {
  (void)state;
  becomes("kernel @scale(n, m) { in x: f32[n, m] out t: f32[n, m] for i in n parallel { for j in m "
          "parallel { t[i, j] = x[i, j] * 0.5:f32 } } }",
          SOFTMAX, "",
          "kernel @scale_softmax(n, m) {\n"
          "  in x: f32[n, m]\n"
          "  out y: f32[n, m]\n"
          "  for i0 in n parallel {\n"
          "    let r0 = reduce max (i1 in m) from -inf:f32 {\n"
          "      x[i0, i1] * 0.5:f32\n"
          "    }\n"
          "    for i2 in m parallel {\n"
          "      y[i0, i2] = x[i0, i2] * 0.5:f32 - r0\n"
          "    }\n"
          "  }\n"
          "}\n");
}

#define EXP                                                                                        \
  "kernel @exp(n, m) { in x: f32[n, m] out t: f32[n, m] for i in n parallel { for j in m "         \
  "parallel { t[i, j] = exp(x[i, j]) } } }"

static void a_dear_map_is_not_evaluated_twice(void **state) {
  (void)state;
  stays(EXP,
        "kernel @f(n, m) { in t: f32[n, m] out y: f32[n] for i in n parallel { let r = reduce "
        "max (k in m) from -inf:f32 { t[i, k] } let s = reduce add (j in m) from r { t[i, j] } "
        "y[i] = s } }",
        "");
  stays(EXP,
        "kernel @f(n, m) { in t: f32[n, m] out y: f16[n, m] for i in n parallel { let r = reduce "
        "max (k in m) from -inf:f32 { t[i, k] } for j in m parallel { y[i, j] = f16(t[i, j] - r) "
        "} } }",
        "");
}

static void a_dear_map_goes_where_a_row_of_the_output_keeps_it(void **state) {
  (void)state;
  becomes(EXP, SOFTMAX, "",
          "kernel @exp_softmax(n, m) {\n"
          "  in x: f32[n, m]\n"
          "  out y: f32[n, m]\n"
          "  for i0 in n parallel {\n"
          "    let r0 = reduce max (i1 in m) from -inf:f32 {\n"
          "      exp(x[i0, i1])\n"
          "    }\n"
          "    for i2 in m parallel {\n"
          "      y[i0, i2] = exp(x[i0, i2]) - r0\n"
          "    }\n"
          "  }\n"
          "}\n");
}

static void a_flat_map_is_seen_with_the_axes_of_its_reader(void **state) {
  (void)state;
  becomes("kernel @neg(n, m) { in x: f32[n * m] out t: f32[n * m] for i in n * m parallel { "
          "t[i] = neg(x[i]) } }",
          SOFTMAX, "",
          "kernel @neg_softmax(n, m) {\n"
          "  in x: f32[n, m]\n"
          "  out y: f32[n, m]\n"
          "  for i0 in n parallel {\n"
          "    let r0 = reduce max (i1 in m) from -inf:f32 {\n"
          "      neg(x[i0, i1])\n"
          "    }\n"
          "    for i2 in m parallel {\n"
          "      y[i0, i2] = neg(x[i0, i2]) - r0\n"
          "    }\n"
          "  }\n"
          "}\n");
}

static void a_tiled_axis_is_found_below_several(void **state) {
  (void)state;
  becomes("kernel @tile() { in x: f32[3] out t: f32[12] for i in 12 parallel { t[i] = "
          "x[floormod(i, 3)] } }",
          "kernel @f() { in t: f32[2, 2, 3] out y: f32[2, 3, 2] for i in 2 parallel { for j in 2 "
          "parallel { for k in 3 parallel { y[i, k, j] = neg(t[j, i, k]) } } } }",
          "",
          "kernel @tile_f() {\n"
          "  in x: f32[3]\n"
          "  out y: f32[2, 3, 2]\n"
          "  for i0 in 2 parallel {\n"
          "    for i1 in 2 parallel {\n"
          "      for i2 in 3 parallel {\n"
          "        y[i0, i2, i1] = neg(x[floormod((i1 * 2 + i0) * 3 + i2, 3)])\n"
          "      }\n"
          "    }\n"
          "  }\n"
          "}\n");
}

static void a_map_stands_behind_the_reduction_it_reads(void **state) {
  (void)state;
  becomes("kernel @mean(n) { in x: f32[n, 8] out t: f32[n, 1] for i in n parallel { let r = reduce "
          "add (k in 8) from 0:f32 { x[i, k] } t[i, 0] = r / 8:f32 } }",
          "kernel @off(n) { in x: f32[n, 8] in t: f32[n, 1] out y: f32[n, 8] for i in n parallel { "
          "for j in 8 parallel { y[i, j] = x[i, j] - t[i, 0] } } }",
          "",
          "kernel @mean_off(n) {\n"
          "  in x: f32[n, 8]\n"
          "  out y: f32[n, 8]\n"
          "  for i0 in n parallel {\n"
          "    let r0 = reduce add (i1 in 8) from 0:f32 {\n"
          "      x[i0, i1]\n"
          "    }\n"
          "    let t0 = r0 / 8:f32\n"
          "    for i2 in 8 parallel {\n"
          "      y[i0, i2] = x[i0, i2] - t0\n"
          "    }\n"
          "  }\n"
          "}\n");
}

static void a_flat_loop_is_split_for_a_producer_with_more_axes(void **state) {
  (void)state;
  becomes("kernel @bias(n) { in x: f32[n, 6] in b: f32[6] out t: f32[n, 6] for i in n parallel { "
          "for j in 6 parallel { t[i, j] = x[i, j] + b[j] } } }",
          "kernel @tanh(n) { in t: f32[n * 6] in g: f32[n * 6] out y: f32[n * 6] for i in n * 6 "
          "parallel { y[i] = tanh(t[i]) * g[i] } }",
          "",
          "kernel @bias_tanh(n) {\n"
          "  in x: f32[n, 6]\n"
          "  in b: f32[6]\n"
          "  in g: f32[n, 6]\n"
          "  out y: f32[n, 6]\n"
          "  for i0 in n parallel {\n"
          "    for i1 in 6 parallel {\n"
          "      y[i0, i1] = tanh(x[i0, i1] + b[i1]) * g[i0, i1]\n"
          "    }\n"
          "  }\n"
          "}\n");
}

static void a_slice_reads_through_to_what_it_was_cut_from(void **state) {
  (void)state;
  becomes("kernel @split() { in x: f32[2, 8] out t: f32[2, 4] for i in 2 parallel { for j in 4 "
          "parallel { t[i, j] = x[i, j + 4] } } }",
          "kernel @tanh() { in t: f32[8] out y: f32[8] for i in 8 parallel { y[i] = tanh(t[i]) } }",
          "",
          "kernel @split_tanh() {\n"
          "  in x: f32[2, 8]\n"
          "  out y: f32[2, 4]\n"
          "  for i0 in 2 parallel {\n"
          "    for i1 in 4 parallel {\n"
          "      y[i0, i1] = tanh(x[i0, i1 + 4])\n"
          "    }\n"
          "  }\n"
          "}\n");
}

static void a_buffer_that_is_read_in_part_keeps_its_extents(void **state) {
  (void)state;
  becomes(
      "kernel @first() { in x: f32[36] out t: f32[12] for i in 12 parallel { t[i] = x[i] } }",
      "kernel @neg() { in t: f32[3, 4] in b: f32[4] out y: f32[3, 4] for i in 3 parallel { for j "
      "in 4 parallel { y[i, j] = t[i, j] + b[j] } } }",
      "t",
      "kernel @first_neg() {\n"
      "  in x: f32[36]\n"
      "  in b: f32[4]\n"
      "  out t: f32[3, 4]\n"
      "  out y: f32[3, 4]\n"
      "  for i0 in 3 parallel {\n"
      "    for i1 in 4 parallel {\n"
      "      let t0 = x[i0 * 4 + i1]\n"
      "      t[i0, i1] = t0\n"
      "      y[i0, i1] = t0 + b[i1]\n"
      "    }\n"
      "  }\n"
      "}\n");
}

static void axes_that_do_not_match_keep_kernels_apart(void **state) {
  (void)state;
  stays("kernel @f() { in x: f32[4, 6] out t: f32[4, 6] for i in 4 parallel { for j in 6 parallel "
        "{ t[i, j] = neg(x[i, j]) } } }",
        "kernel @g() { in t: f32[3, 8] out y: f32[3, 8] for i in 3 parallel { for j in 8 parallel "
        "{ y[i, j] = neg(t[i, j]) } } }",
        "");
}

static void nothing_is_put_into_the_factors_of_a_contraction(void **state) {
  (void)state;
  stays(RELU,
        "kernel @dense(n) { in t: f32[n, 4] in w: f32[6, 4] out y: f32[n, 6] contract f32 acc (i "
        "in n, j in 6) over (k in 4) { t[i, k], w[j, k] } then { y[i, j] = acc } }",
        "");
}

static void two_kernels_that_may_fail_stay_two(void **state) {
  (void)state;
  const char *div = "kernel @div() { in x: i32[4] in d: i32[4] out t: i32[4] for i in 4 parallel { "
                    "t[i] = x[i] / d[i] } }";
  stays(div,
        "kernel @d2() { in t: i32[4] in e: i32[4] out y: i32[4] for i in 4 parallel { y[i] = t[i] "
        "/ e[i] } }",
        "");
  /* One that fails is never evaluated for fewer elements. */
  stays(div, "kernel @cut() { in t: i32[4] out y: i32[2] for i in 2 parallel { y[i] = t[i + 2] } }",
        "");
}

static void two_results_read_at_different_elements_keep_kernels_apart(void **state) {
  (void)state;
  const char *two =
      "kernel @two() { in x: f32[4, 4] out t: f32[4, 4] out s: f32[4, 4] for i in 4 "
      "parallel { for j in 4 parallel { t[i, j] = x[i, j] s[j, i] = neg(x[i, j]) } } }";
  stays(
      two,
      "kernel @add() { in t: f32[4, 4] in s: f32[4, 4] out y: f32[4, 4] for i in 4 parallel { for "
      "j in 4 parallel { y[i, j] = t[i, j] + s[i, j] } } }",
      "");
}

static void two_results_of_one_loop_are_read_in_it(void **state) {
  (void)state;
  becomes(
      "kernel @two() { in x: f32[2, 4] out t: f32[2, 4] out s: f32[8] for i in 2 parallel { for "
      "j in 4 parallel { t[i, j] = x[i, j] s[i * 4 + j] = neg(x[i, j]) } } }",
      "kernel @mul() { in t: f32[8] in s: f32[8] out y: f32[8] for i in 8 parallel { y[i] = "
      "t[i] * s[i] } }",
      "s",
      "kernel @two_mul() {\n"
      "  in x: f32[2, 4]\n"
      "  out s: f32[8]\n"
      "  out y: f32[2, 4]\n"
      "  for i0 in 2 parallel {\n"
      "    for i1 in 4 parallel {\n"
      "      let t0 = x[i0, i1]\n"
      "      let t1 = neg(x[i0, i1])\n"
      "      s[i0 * 4 + i1] = t1\n"
      "      y[i0, i1] = t0 * t1\n"
      "    }\n"
      "  }\n"
      "}\n");
}

static void loops_that_no_access_tells_apart_collapse(void **state) {
  (void)state;
  Counted count;
  KAlloc a = counting(&count);
  Kernel *k = read_kernel("kernel @f(n) { in x: f32[n, 4, 5] in b: f32[n] out y: f32[n, 20] for i "
                          "in n parallel { for u in 1 parallel { for j in 4 parallel { for k in 5 "
                          "parallel { y[i, j * 5 + k] = x[i, j, k] + b[i] } } } } }",
                          a);
  Kernel *flat = kernel_collapse(k, a);
  assert_non_null(flat);
  size_t n;
  char *s = kernel_print(flat, a, &n);
  assert_string_equal(s, "kernel @f(n) {\n"
                         "  in x: f32[n, 20]\n"
                         "  in b: f32[n]\n"
                         "  out y: f32[n, 20]\n"
                         "  for i0 in n parallel {\n"
                         "    for i1 in 20 parallel {\n"
                         "      y[i0, i1] = x[i0, i1] + b[i0]\n"
                         "    }\n"
                         "  }\n"
                         "}\n");
  a.fn(a.user, s, n + 1, 0);
  kernel_free(flat, a);
  kernel_free(k, a);
  assert_int_equal(count.live, 0);
}

static void a_refusing_allocator_leaves_nothing_behind(void **state) {
  (void)state;
  Counted count;
  KAlloc a = counting(&count);
  Kernel *p = read_kernel(RELU, a), *c = read_kernel(SOFTMAX, a);
  uint32_t buf[2][K_MAX_BUFS], sym[2][K_MAX_SYMS];
  KFused out;
  wanted_names = "";
  numbers(p, buf[0], sym[0]);
  numbers(c, buf[1], sym[1]);
  sym[1][1] = 'q';
  long live = count.live;
  for (long n = 0; n < 60; n++) {
    count.left = n;
    if (kernel_fuse((KPart){p, buf[0], sym[0]}, (KPart){c, buf[1], sym[1]},
                    (KWanted){is_wanted, NULL}, a, &out))
      kernel_free(out.k, a);
    assert_int_equal(count.live, live);
  }
  count.left = -1;
  kernel_free(p, a);
  kernel_free(c, a);
}

/* ---- values kept ------------------------------------------------------------------- */
#define IN_Y "in x: f32[n, m] out y: f32[n, m] "
#define EACH_ROW "for i in n parallel { "

/* NULL: nothing is kept. */
static void keeps(const char *text, const char *want) {
  Counted count;
  KAlloc a = counting(&count);
  Kernel *k = read_kernel(text, a), *kept = kernel_keep(k, a);
  if (!want && kept) fail_msg("kept something in\n%s", text);
  if (want) {
    size_t n;
    assert_non_null(kept);
    char *s = kernel_print(kept, a, &n);
    assert_string_equal(s, want);
    a.fn(a.user, s, n + 1, 0);
    kernel_free(kept, a);
  }
  kernel_free(k, a);
  assert_int_equal(count.live, 0);
}

static void a_second_value_takes_the_place_of_the_first(void **state) {
  (void)state;
  keeps("kernel @f(n, m) { " IN_Y EACH_ROW
        "let r = reduce max (j in m) from -inf:f32 { erf(x[i, j]) } "
        "let s = reduce add (k in m) from 0:f32 { exp(erf(x[i, k]) - r) } "
        "for l in m parallel { y[i, l] = exp(erf(x[i, l]) - r) / s } } }",
        "kernel @f(n, m) {\n"
        "  in x: f32[n, m]\n"
        "  out y: f32[n, m]\n"
        "  for i0 in n parallel {\n"
        "    for i1 in m parallel {\n"
        "      y[i0, i1] = erf(x[i0, i1])\n"
        "    }\n"
        "    let r0 = reduce max (i2 in m) from -inf:f32 {\n"
        "      y[i0, i2]\n"
        "    }\n"
        "    for i3 in m parallel {\n"
        "      y[i0, i3] = exp(y[i0, i3] - r0)\n"
        "    }\n"
        "    let r1 = reduce add (i4 in m) from 0:f32 {\n"
        "      y[i0, i4]\n"
        "    }\n"
        "    for i5 in m parallel {\n"
        "      y[i0, i5] = y[i0, i5] / r1\n"
        "    }\n"
        "  }\n"
        "}\n");
}

static void what_has_no_room_is_not_kept(void **state) {
  (void)state;
  /* cheap; another extent; a value that does not change along the row */
  keeps("kernel @f(n, m) { " IN_Y EACH_ROW
        "let r = reduce add (j in m) from 0:f32 { x[i, j] * 2:f32 } "
        "for l in m parallel { y[i, l] = x[i, l] * 2:f32 - r } } }",
        NULL);
  keeps("kernel @f(n) { in x: f32[n, 9] out y: f32[n, 8] " EACH_ROW
        "let r = reduce add (j in 9) from 0:f32 { exp(x[i, j]) } "
        "for l in 8 parallel { y[i, l] = exp(x[i, l]) - r } } }",
        NULL);
  keeps("kernel @f(n, m) { in x: f32[n] out y: f32[n, m] " EACH_ROW
        "let r = reduce add (j in m) from 0:f32 { exp(x[i]) } "
        "for l in m parallel { y[i, l] = exp(x[i]) - r } } }",
        NULL);
  /* the output is stored at other elements, or twice, or its dtype is another */
  keeps("kernel @f(m) { in x: f32[m, m] out y: f32[m, m] for i in m parallel { "
        "let r = reduce add (j in m) from 0:f32 { exp(x[i, j]) } "
        "for l in m parallel { y[l, l] = exp(x[i, l]) - r } } }",
        NULL);
  keeps("kernel @f(n, m) { " IN_Y EACH_ROW
        "let r = reduce add (j in m) from 0:f32 { exp(x[i, j]) } "
        "for k in m parallel { y[i, k] = r } "
        "for l in m parallel { y[i, l] = exp(x[i, l]) - r } } }",
        NULL);
  keeps("kernel @f(n, m) { in x: f32[n, m] out y: f64[n, m] " EACH_ROW
        "let r = reduce add (j in m) from 0:f32 { exp(x[i, j]) } "
        "for l in m parallel { y[i, l] = f64(exp(x[i, l]) - r) } } }",
        NULL);
}

static void a_value_wanted_behind_the_last_store_is_not_kept(void **state) {
  (void)state;
  keeps("kernel @f(n, m) { in x: f32[n, m] out y: f32[n, m] out z: f32[n] " EACH_ROW
        "let r = reduce add (j in m) from 0:f32 { exp(x[i, j]) } "
        "for l in m parallel { y[i, l] = exp(x[i, l]) - r } "
        "let s = reduce add (k in m) from 0:f32 { exp(x[i, k]) * r } z[i] = s } }",
        NULL);
  keeps("kernel @f(n, m) { in x: f32[n, m] inout z: f32[n, m] out y: f32[n, m] " EACH_ROW
        "let r = reduce add (j in m) from 0:f32 { exp(z[i, j]) } "
        "for l in m parallel { z[i, l] = r } "
        "for k in m parallel { y[i, k] = exp(z[i, k]) - r } } }",
        NULL);
}

static void keeping_without_memory_leaves_nothing_behind(void **state) {
  (void)state;
  Counted count;
  KAlloc a = counting(&count);
  Kernel *k = read_kernel("kernel @f(n, m) { " IN_Y EACH_ROW
                          "let r = reduce add (j in m) from 0:f32 { exp(x[i, j]) } "
                          "for l in m parallel { y[i, l] = exp(x[i, l]) / r } } }",
                          a);
  long live = count.live;
  int made = 0;
  for (long n = 0; n < 60; n++) {
    count.left = n;
    Kernel *kept = kernel_keep(k, a);
    made += kept != NULL;
    if (kept) kernel_free(kept, a);
    assert_int_equal(count.live, live);
  }
  assert_true(made > 0 && made < 60);
  count.left = -1;
  kernel_free(k, a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_map_goes_into_the_map_that_reads_it),
      cmocka_unit_test(a_wanted_map_is_stored_in_the_same_loop),
      cmocka_unit_test(a_map_goes_into_the_epilogue_of_a_contraction),
      cmocka_unit_test(a_cheap_map_is_evaluated_where_a_reduction_reads_it),
      cmocka_unit_test(a_dear_map_is_not_evaluated_twice),
      cmocka_unit_test(a_dear_map_goes_where_a_row_of_the_output_keeps_it),
      cmocka_unit_test(a_flat_map_is_seen_with_the_axes_of_its_reader),
      cmocka_unit_test(a_tiled_axis_is_found_below_several),
      cmocka_unit_test(a_map_stands_behind_the_reduction_it_reads),
      cmocka_unit_test(a_flat_loop_is_split_for_a_producer_with_more_axes),
      cmocka_unit_test(a_slice_reads_through_to_what_it_was_cut_from),
      cmocka_unit_test(a_buffer_that_is_read_in_part_keeps_its_extents),
      cmocka_unit_test(axes_that_do_not_match_keep_kernels_apart),
      cmocka_unit_test(nothing_is_put_into_the_factors_of_a_contraction),
      cmocka_unit_test(two_kernels_that_may_fail_stay_two),
      cmocka_unit_test(two_results_read_at_different_elements_keep_kernels_apart),
      cmocka_unit_test(two_results_of_one_loop_are_read_in_it),
      cmocka_unit_test(loops_that_no_access_tells_apart_collapse),
      cmocka_unit_test(a_refusing_allocator_leaves_nothing_behind),
      cmocka_unit_test(a_second_value_takes_the_place_of_the_first),
      cmocka_unit_test(what_has_no_room_is_not_kept),
      cmocka_unit_test(a_value_wanted_behind_the_last_store_is_not_kept),
      cmocka_unit_test(keeping_without_memory_leaves_nothing_behind),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
