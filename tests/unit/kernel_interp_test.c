/* kernel_interp_test.c -- the interpreter of kernels against the naive one. */
#include "tests/unit/kernel_compare.h"

static const DType all_types[] = {DT_bool, DT_i8,  DT_i16, DT_i32,  DT_i64, DT_u8, DT_u16,
                                  DT_u32,  DT_u64, DT_f16, DT_bf16, DT_f32, DT_f64};
enum { N_TYPES = 13 };

static inline bool takes(SOp op, DType t) { return strchr(sop_info[op].classes, dtype_class(t)) != NULL; }

/* ---- elementwise ---------------------------------------------------------------------- */
/* y[i] = op(a[i], b[i], c[i]) */
static Kernel *map_kernel(SOp op, DType t) {
  KB *b = kb_new(A, sop_info[op].name);
  KE n = kb_sym(b, "n");
  DType r = sop_info[op].result == 'b' ? DT_bool : t;
  uint32_t c = kb_buf(b, K_IN, "c", DT_bool, 1, &n), x = kb_buf(b, K_IN, "x", t, 1, &n);
  uint32_t y = kb_buf(b, K_IN, "y", t, 1, &n), z = kb_buf(b, K_OUT, "z", r, 1, &n);
  KE i = kb_for(b, n, K_PARALLEL), u = kb_load(b, x, &i), v = kb_load(b, y, &i);
  KE e = op == S_select ? kb_select(b, kb_load(b, c, &i), u, v)
                        : kb_op(b, op, u, sop_info[op].arity > 1 ? v : KE_NONE, KE_NONE);
  kb_store(b, z, &i, e);
  kb_end(b);
  return done(b);
}

static void every_operation_on_every_type_is_scalar_eval(void **state) {
  (void)state;
  static const int64_t sizes[] = {0, 1, 2, 7, 16, 33, 700};
  for (int op = 0; op < S_COUNT; op++)
    for (int t = 0; t < N_TYPES; t++) {
      if (!takes((SOp)op, all_types[t])) continue;
      Kernel *k = map_kernel((SOp)op, all_types[t]);
      for (int s = 0; s < 7; s++) check_with(k, &sizes[s], s & 1 ? FILL_Any : FILL_Small, 0);
      kernel_free(k, A);
    }
}

static void every_cast_is_scalar_cast(void **state) {
  (void)state;
  int64_t n = 600;
  for (int f = 0; f < N_TYPES; f++)
    for (int t = 0; t < N_TYPES; t++)
      for (int bits = 0; bits < 2; bits++) {
        if (bits && dtype_bytes(all_types[f]) != dtype_bytes(all_types[t])) continue;
        if (bits && (all_types[f] == DT_bool || all_types[t] == DT_bool)) continue;
        char name[64];
        snprintf(name, sizeof name, "%s %s to %s", bits ? "bits" : "cast", dtype_name(all_types[f]),
                 dtype_name(all_types[t]));
        KB *b = kb_new(A, name);
        bool is_half = all_types[f] == DT_f16 || all_types[f] == DT_bf16;
        KE s = kb_sym(b, "n");
        uint32_t x = kb_buf(b, K_IN, "x", all_types[f], 1, &s),
                 y = kb_buf(b, K_OUT, "y", all_types[t], 1, &s);
        KE i = kb_for(b, s, K_PARALLEL), v = kb_load(b, x, &i);
        kb_store(b, y, &i, bits ? kb_bitcast(b, v, all_types[t]) : kb_cast(b, v, all_types[t]));
        kb_end(b);
        /* a signalling half comes out quiet */
        check(done(b), &n, bits && is_half ? FILL_Small : FILL_Any, 0);
      }
}

/* y[p, q] = max(x[p, q] * row[q] + column[p], 0) - s */
static void broadcasts_of_rows_columns_and_scalars(void **state) {
  (void)state;
  static const int64_t sizes[][2] = {{1, 1}, {3, 700}, {700, 3}, {40, 40},
                                     {0, 5}, {5, 0},   {2000, 2}};
  for (int c = 0; c < 7; c++) {
    KB *b = kb_new(A, "broadcast");
    KE n = kb_sym(b, "n"), m = kb_sym(b, "m"), nm[2] = {n, m};
    uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 2, nm), row = kb_buf(b, K_IN, "row", DT_f32, 1, &m);
    uint32_t col = kb_buf(b, K_IN, "column", DT_f32, 1, &n),
             s = kb_buf(b, K_IN, "s", DT_f32, 0, NULL);
    uint32_t y = kb_buf(b, K_OUT, "y", DT_f32, 2, nm);
    KE ij[2];
    ij[0] = kb_for(b, n, K_PARALLEL);
    ij[1] = kb_for(b, m, K_PARALLEL);
    KE v =
        kb_add(b, kb_mul(b, kb_load(b, x, ij), kb_load(b, row, &ij[1])), kb_load(b, col, &ij[0]));
    kb_store(b, y, ij, kb_sub(b, kb_max(b, v, kb_float(b, DT_f32, 0)), kb_load(b, s, NULL)));
    kb_end(b);
    kb_end(b);
    check(done(b), sizes[c], FILL_Small, 0);
  }
}

/* y[c, a, b] = x[a, b, c] + 1 over collapsible and other loops */
static void permuted_and_collapsed_axes(void **state) {
  (void)state;
  static const int64_t sizes[][3] = {{5, 7, 3}, {1, 1, 1}, {30, 40, 3}, {2, 3, 600}, {300, 2, 2}};
  for (int c = 0; c < 5; c++)
    for (int permute = 0; permute < 2; permute++) {
      KB *b = kb_new(A, permute ? "permute" : "copy");
      KE d[3] = {kb_sym(b, "a"), kb_sym(b, "b"), kb_sym(b, "c")}, e[3] = {d[2], d[0], d[1]};
      uint32_t x = kb_buf(b, K_IN, "x", DT_i32, 3, d),
               y = kb_buf(b, K_OUT, "y", DT_i32, 3, permute ? e : d);
      KE i[3], j[3];
      for (int l = 0; l < 3; l++) i[l] = kb_for(b, permute ? e[l] : d[l], K_PARALLEL);
      j[0] = permute ? i[1] : i[0], j[1] = permute ? i[2] : i[1], j[2] = permute ? i[0] : i[2];
      kb_store(b, y, i, kb_add(b, kb_load(b, x, j), kb_num(b, DT_i32, 1)));
      for (int l = 0; l < 3; l++) kb_end(b);
      check(done(b), sizes[c], FILL_Any, 0);
    }
}

/* y[i] = x[i * step + offset] or -1 outside, also backwards and with two dims */
static void load_or_gives_its_fallback_outside(void **state) {
  (void)state;
  static const int64_t steps[][2] = {{1, -3}, {1, 0}, {2, -5}, {-1, 8}, {-3, 20}, {0, 4}, {0, -1}};
  static const int64_t sizes[][2] = {{10, 20}, {0, 6}, {1000, 1500}, {7, 0}};
  for (int c = 0; c < 4; c++)
    for (int s = 0; s < 7; s++) {
      KB *b = kb_new(A, "pad");
      KE n = kb_sym(b, "n"), m = kb_sym(b, "m"), nn[2] = {n, n}, mm[2] = {m, kb_int(b, 4)};
      uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 1, &n), y = kb_buf(b, K_OUT, "y", DT_f32, 2, mm);
      (void)nn;
      KE ij[2], at;
      ij[0] = kb_for(b, m, K_PARALLEL);
      ij[1] = kb_for(b, kb_int(b, 4), K_PARALLEL);
      at = kb_add(b, kb_add(b, kb_mul(b, ij[0], kb_int(b, steps[s][0])), kb_int(b, steps[s][1])),
                  ij[1]);
      kb_store(b, y, ij, kb_load_or(b, x, &at, kb_float(b, DT_f32, -1)));
      kb_end(b);
      kb_end(b);
      check(done(b), sizes[c], FILL_Any, 0);
    }
}

/* y[i] = x[clamp(idx[i])] or z[idx[i]] or 0; reversed and strided reads */
static void gathers_and_strides(void **state) {
  (void)state;
  static const int64_t sizes[][2] = {{1, 1}, {13, 50}, {900, 1300}};
  for (int c = 0; c < 3; c++)
    for (int t = 0; t < N_TYPES; t++) {
      KB *b = kb_new(A, "gather");
      KE n = kb_sym(b, "n"), m = kb_sym(b, "m"), two = kb_int(b, 2), d[2] = {n, two};
      uint32_t x = kb_buf(b, K_IN, "x", all_types[t], 2, d),
               idx = kb_buf(b, K_IN, "idx", DT_i16, 1, &m);
      uint32_t y = kb_buf(b, K_OUT, "y", all_types[t], 1, &m),
               z = kb_buf(b, K_OUT, "z", all_types[t], 1, &m);
      uint32_t w = kb_buf(b, K_OUT, "w", all_types[t], 2, d);
      KE i = kb_for(b, m, K_PARALLEL), g = kb_cast(b, kb_load(b, idx, &i), DT_i64);
      KE in[2] = {kb_clamp(b, g, kb_int(b, 0), kb_sub(b, n, kb_int(b, 1))), kb_int(b, 1)},
         raw[2] = {g, kb_int(b, 0)};
      kb_store(b, y, &i, kb_load(b, x, in));
      kb_store(b, z, &i, kb_load_or(b, x, raw, kb_num(b, all_types[t], 1)));
      kb_end(b);
      KE j = kb_for(b, n, K_PARALLEL),
         back[2] = {kb_sub(b, kb_sub(b, n, kb_int(b, 1)), j), kb_int(b, 0)};
      KE there[2] = {j, kb_int(b, 1)};
      kb_store(b, w, there, kb_load(b, x, back));
      kb_store(b, w, back, kb_load(b, x, there));
      kb_end(b);
      check(done(b), sizes[c], FILL_Any, 0);
    }
}

static void a_map_may_run_in_place(void **state) {
  (void)state;
  enum { N = 1500 };
  int64_t n = N;
  KB *b = kb_new(A, "in_place");
  KE s = kb_sym(b, "n");
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 1, &s), y = kb_buf(b, K_OUT, "y", DT_f32, 1, &s);
  KE i = kb_for(b, s, K_PARALLEL), v = kb_let(b, kb_load(b, x, &i));
  kb_store(b, y, &i, kb_add(b, kb_mul(b, v, v), kb_float(b, DT_f32, 1)));
  kb_end(b);
  Kernel *k = done(b);
  float mem[N];
  for (int j = 0; j < N; j++) mem[j] = (float)j / 8;
  void *both[2] = {mem, mem};
  KError e;
  assert_int_equal(run_once(k, both, &n, &e), K_OK);
  for (int j = 0; j < N; j++) assert_true(mem[j] == (float)j / 8 * ((float)j / 8) + 1);
  kernel_free(k, A);
}

/* Stores under conditions that vary, are uniform, and hold loops. */
static void conditions_run_for_the_lanes_where_they_hold(void **state) {
  (void)state;
  static const int64_t sizes[][2] = {{5, 3}, {1200, 2}, {3, 1200}, {0, 1}};
  for (int c = 0; c < 4; c++) {
    KB *b = kb_new(A, "conditions");
    KE n = kb_sym(b, "n"), m = kb_sym(b, "m"), d[2] = {n, m};
    uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 2, d), y = kb_buf(b, K_INOUT, "y", DT_f32, 2, d);
    uint32_t r = kb_buf(b, K_INOUT, "r", DT_f32, 1, &n);
    KE ij[2];
    ij[0] = kb_for(b, n, K_PARALLEL);
    ij[1] = kb_for(b, m, K_PARALLEL);
    KE v = kb_load(b, x, ij), t = kb_let(b, kb_mul(b, v, v));
    kb_if(b, kb_lt(b, kb_float(b, DT_f32, 0), v));
    kb_store(b, y, ij, kb_add(b, kb_load(b, y, ij), t));
    kb_if(b, kb_lt(b, kb_load(b, y, ij), kb_float(b, DT_f32, 3)));
    kb_store(b, y, ij, kb_cast(b, ij[0], DT_f32));
    kb_end(b);
    kb_end(b);
    kb_end(b);
    kb_end(b);
    KE i = kb_for(b, n, K_PARALLEL);
    kb_if(b, kb_eq(b, kb_fmod(b, i, kb_int(b, 3)), kb_int(b, 1)));
    KE q, at[2];
    kb_reduce_begin(b, 1, &m, &q);
    at[0] = i, at[1] = q;
    KE sum = kb_reduce_end(b, S_max, kb_load(b, r, &i), kb_load(b, x, at));
    kb_store(b, r, &i, sum);
    kb_end(b);
    kb_end(b);
    check(done(b), sizes[c], FILL_Small, 0);
  }
}

/* A local row per iteration must not be shared by lanes. */
static void locals_belong_to_their_iteration(void **state) {
  (void)state;
  static const int64_t sizes[][2] = {{900, 3}, {4, 600}};
  for (int c = 0; c < 2; c++) {
    KB *b = kb_new(A, "locals");
    KE n = kb_sym(b, "n"), m = kb_sym(b, "m"), d[2] = {n, m};
    uint32_t x = kb_buf(b, K_IN, "x", DT_f64, 2, d), y = kb_buf(b, K_OUT, "y", DT_f64, 2, d);
    uint32_t tmp = kb_buf(b, K_LOCAL, "tmp", DT_f64, 1, &m);
    KE i = kb_for(b, n, K_PARALLEL), j = kb_for(b, m, K_PARALLEL), at[2] = {i, j};
    kb_store(b, tmp, &j, kb_mul(b, kb_load(b, x, at), kb_float(b, DT_f64, 3)));
    kb_end(b);
    KE l = kb_for(b, m, K_PARALLEL), back = kb_sub(b, kb_sub(b, m, kb_int(b, 1)), l),
       to[2] = {i, l};
    kb_store(b, y, to, kb_load(b, tmp, &back));
    kb_end(b);
    kb_end(b);
    check(done(b), sizes[c], FILL_Small, 0);
  }
}

/* ---- reductions ------------------------------------------------------------------------- */
static bool reduces(SOp op, DType t) {
  bool logic = op == S_and || op == S_or;
  return takes(op, t) && (!logic || t == DT_bool || dtype_is_int(t));
}

/* y[i] = op over j of x[i, j] (axis 1), or of x[j, i] (axis 0) */
static Kernel *reduce_kernel(SOp op, DType t, int axis) {
  KB *b = kb_new(A, sop_info[op].name);
  KE n = kb_sym(b, "n"), m = kb_sym(b, "m"), d[2] = {n, m}, e[2] = {m, n};
  uint32_t x = kb_buf(b, K_IN, "x", t, 2, axis ? d : e), y = kb_buf(b, K_OUT, "y", t, 1, &n);
  KE i = kb_for(b, n, K_PARALLEL), j;
  kb_reduce_begin(b, 1, &m, &j);
  KE at[2] = {axis ? i : j, axis ? j : i};
  KE start = op == S_mul || op == S_and || op == S_min ? kb_num(b, t, 1) : kb_num(b, t, 0);
  kb_store(b, y, &i, kb_reduce_end(b, op, start, kb_load(b, x, at)));
  kb_end(b);
  return done(b);
}

static void every_reduction_of_every_length_and_type(void **state) {
  (void)state;
  static const SOp ops[] = {S_add, S_mul, S_min, S_max, S_and, S_or};
  for (int o = 0; o < 6; o++)
    for (int t = 0; t < N_TYPES; t++)
      for (int axis = 0; axis < 2 && reduces(ops[o], all_types[t]); axis++) {
        Kernel *k = reduce_kernel(ops[o], all_types[t], axis);
        double tol = o > 1 || !dtype_is_float(all_types[t]) ? 0
                     : all_types[t] == DT_f64               ? 1e-12
                     : all_types[t] == DT_f32               ? 1e-5
                                                            : 1e-2;
        for (int64_t len = 0; len <= 70; len += len < 35 ? 1 : 7) {
          int64_t s[2] = {2 + len % 3 * 50, len};
          if (o == 1) s[1] %= 6;
          check_with(k, s, FILL_Small, tol);
          if (o > 1) check_with(k, s, FILL_Any, 0);
        }
        int64_t wide[2] = {3, 3000}, tall[2] = {1500, 5};
        if (o != 1) check_with(k, wide, FILL_Small, tol);
        check_with(k, tall, FILL_Small, tol);
        kernel_free(k, A);
      }
}

static void nan_survives_minimum_and_maximum(void **state) {
  (void)state;
  for (int op = S_min; op <= S_max; op++)
    for (int64_t at = 0; at < 40; at++) {
      Kernel *k = reduce_kernel((SOp)op, DT_f32, 1);
      float x[40], y;
      for (int i = 0; i < 40; i++) x[i] = (float)i - 20;
      x[at] = NAN;
      int64_t s[2] = {1, 40};
      void *mem[2] = {x, &y};
      KError e;
      assert_int_equal(run_once(k, mem, s, &e), K_OK);
      assert_true(isnan(y));
      kernel_free(k, A);
    }
}

/* Sum over all axes of x[a, b, c] and over the middle one; softmax of rows. */
static void reductions_over_several_axes(void **state) {
  (void)state;
  static const int64_t sizes[][3] = {{4, 5, 6},   {1, 1, 1}, {2, 300, 3},
                                     {3, 2, 700}, {0, 3, 3}, {50, 7, 7}};
  for (int c = 0; c < 6; c++) {
    KB *b = kb_new(A, "axes");
    KE d[3] = {kb_sym(b, "a"), kb_sym(b, "b"), kb_sym(b, "c")}, ac[2] = {d[0], d[2]};
    uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 3, d), all = kb_buf(b, K_OUT, "all", DT_f32, 0, NULL);
    uint32_t mid = kb_buf(b, K_OUT, "middle", DT_f32, 2, ac),
             hw = kb_buf(b, K_OUT, "last", DT_f32, 1, d);
    KE r[3], i[3];
    kb_reduce_begin(b, 3, d, r);
    KE sum = kb_reduce_end(b, S_add, kb_float(b, DT_f32, 0), kb_load(b, x, r));
    kb_store(b, all, NULL, sum);
    i[0] = kb_for(b, d[0], K_PARALLEL);
    i[2] = kb_for(b, d[2], K_PARALLEL);
    kb_reduce_begin(b, 1, &d[1], &i[1]);
    KE m = kb_reduce_end(b, S_add, kb_float(b, DT_f32, 1), kb_load(b, x, i)), to[2] = {i[0], i[2]};
    kb_store(b, mid, to, m);
    kb_end(b);
    kb_end(b);
    KE p = kb_for(b, d[0], K_PARALLEL), q[3] = {p};
    kb_reduce_begin(b, 2, &d[1], &q[1]);
    KE h = kb_reduce_end(b, S_add, kb_float(b, DT_f32, 0),
                         kb_mul(b, kb_load(b, x, q), kb_load(b, x, q)));
    kb_store(b, hw, &p, h);
    kb_end(b);
    check(done(b), sizes[c], FILL_Small, 1e-5);
  }
}

/* Along the middle axis of x[a, b, c]: y = x - t, t the largest (smallest) plus a let that
 * the loop after it reads; z: where it is.  c runs in lanes when compiled. */
static Kernel *middle_kernel(DType t, SOp op, int64_t c) {
  KB *b = kb_new(A, "middle");
  KE d[3] = {kb_sym(b, "a"), kb_sym(b, "b"), c ? kb_int(b, c) : kb_sym(b, "c")};
  KE at[3], to[2] = {d[0], d[2]};
  uint32_t x = kb_buf(b, K_IN, "x", t, 3, d), y = kb_buf(b, K_OUT, "y", t, 3, d);
  uint32_t z = kb_buf(b, K_OUT, "z", DT_i64, 2, to), w = kb_buf(b, K_OUT, "w", DT_bool, 2, to);
  at[0] = to[0] = kb_for(b, d[0], K_PARALLEL), at[2] = to[1] = kb_for(b, d[2], K_PARALLEL);
  KE first[3] = {at[0], kb_int(b, 0), at[2]};
  KE zero = kb_let(b, kb_load_or(b, x, first, kb_num(b, t, 0)));
  kb_reduce_begin(b, 1, &d[1], &at[1]);
  KE top = kb_reduce_end(b, op, zero, kb_load(b, x, at));
  KE is = kb_let(b, kb_lt(b, zero, top));
  kb_reduce_begin(b, 1, &d[1], &at[1]);
  KE here =
      kb_reduce_end(b, S_min, d[1], kb_select(b, kb_eq(b, kb_load(b, x, at), top), at[1], d[1]));
  kb_reduce_begin(b, 1, &d[1], &at[1]);
  KE some = kb_reduce_end(b, S_or, is, kb_eq(b, kb_load(b, x, at), zero));
  kb_store(b, z, to, here);
  kb_store(b, w, to, some);
  at[1] = kb_for(b, d[1], K_PARALLEL);
  kb_store(b, y, at, kb_select(b, is, kb_sub(b, kb_load(b, x, at), top), kb_load(b, x, at)));
  for (int i = 0; i < 3; i++) kb_end(b);
  return done(b);
}

static void the_middle_axis_in_lanes(void **state) {
  (void)state;
  static const DType types[] = {DT_f32, DT_f64, DT_f16, DT_bf16, DT_i8, DT_i32, DT_u64};
  static const int64_t width[] = {1, 7, 64, 65, 200};
  for (int t = 0; t < 7; t++)
    for (int i = 0; i < 5; i++)
      for (int how = 0; how < 4; how++) {
        if (how & 2 && t > 1) continue;
        int64_t size[3] = {i % 3, below(9), width[i]};
        check(middle_kernel(types[t], how & 1 ? S_min : S_max, how & 2 ? width[i] : 0), size,
              FILL_Any, 0);
      }
}

/* Indices that stand side by side are one loop; not those of a part, or swapped. */
static void neighbouring_indices_and_others(void **state) {
  (void)state;
  for (int how = 0; how < 4; how++) {
    KB *b = kb_new(A, "neighbours");
    KE n = kb_sym(b, "n"), m = kb_sym(b, "m"), more = kb_add(b, m, kb_int(b, how == 1));
    KE d[3] = {n, n, more}, e[2] = {n, m};
    uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 3, d), y = kb_buf(b, K_OUT, "y", DT_f32, 2, e);
    uint32_t z = kb_buf(b, K_OUT, "z", DT_f32, 1, d);
    KE i = kb_for(b, n, K_PARALLEL), j = kb_for(b, m, K_PARALLEL), out[2] = {i, j},
       in[3] = {n, i, j};
    in[0] = kb_int(b, 0);
    if (how == 2) in[0] = i;
    KE v = kb_load(b, x, in);
    if (how == 3) v = kb_add(b, v, kb_cast(b, j, DT_f32));
    kb_store(b, y, out, v);
    kb_end(b);
    kb_end(b);
    KE r[3], ext[2] = {n, m}, p = kb_for(b, n, K_PARALLEL);
    r[0] = p;
    kb_reduce_begin(b, 2, ext, r + 1);
    v = kb_load(b, x, r);
    if (how == 3) v = kb_sub(b, v, kb_cast(b, r[1], DT_f32));
    KE sum = kb_reduce_end(b, S_add, kb_float(b, DT_f32, 0), v);
    kb_store(b, z, &p, sum);
    kb_end(b);
    Kernel *k = done(b);
    for (int64_t c = 0; c < 12; c++)
      check_with(k, (int64_t[]){below(20), below(20)}, FILL_Small, 1e-5);
    kernel_free(k, A);
  }
}

static void softmax_of_rows(void **state) {
  (void)state;
  static const int64_t sizes[][2] = {{3, 10}, {700, 3}, {2, 1500}, {1, 1}};
  for (int c = 0; c < 4; c++) {
    KB *b = kb_new(A, "softmax");
    KE n = kb_sym(b, "n"), m = kb_sym(b, "m"), d[2] = {n, m};
    uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 2, d), y = kb_buf(b, K_OUT, "y", DT_f32, 2, d);
    KE i = kb_for(b, n, K_PARALLEL), j, at[2] = {i};
    kb_reduce_begin(b, 1, &m, &j);
    at[1] = j;
    KE top = kb_reduce_end(b, S_max, kb_float(b, DT_f32, -INFINITY), kb_load(b, x, at));
    kb_reduce_begin(b, 1, &m, &j);
    at[1] = j;
    KE sum = kb_reduce_end(b, S_add, kb_float(b, DT_f32, 0),
                           kb_un(b, S_exp, kb_sub(b, kb_load(b, x, at), top)));
    at[1] = kb_for(b, m, K_PARALLEL);
    kb_store(b, y, at, kb_div(b, kb_un(b, S_exp, kb_sub(b, kb_load(b, x, at), top)), sum));
    kb_end(b);
    kb_end(b);
    check(done(b), sizes[c], FILL_Small, 1e-5);
  }
}

/* ---- carried values ------------------------------------------------------------------------ */
/* Running sum along axis 0 or 1 of (n, m), and the index of the maximum. */
static void scans_and_argmax_carry_values(void **state) {
  (void)state;
  static const int64_t sizes[][2] = {{4, 9}, {1, 1}, {800, 5}, {5, 800}, {3, 0}, {0, 3}};
  for (int c = 0; c < 6; c++)
    for (int axis = 0; axis < 2; axis++) {
      KB *b = kb_new(A, "scan");
      KE n = kb_sym(b, "n"), m = kb_sym(b, "m"), d[2] = {n, m}, par = axis ? n : m,
         ser = axis ? m : n;
      uint32_t x = kb_buf(b, K_IN, "x", DT_f64, 2, d), y = kb_buf(b, K_OUT, "y", DT_f64, 2, d);
      uint32_t am = kb_buf(b, K_OUT, "argmax", DT_i32, 1, &par);
      KE i = kb_for(b, par, K_PARALLEL);
      KE init[4] = {kb_float(b, DT_f64, 0), kb_float(b, DT_f64, -INFINITY), kb_num(b, DT_i32, -1),
                    kb_num(b, DT_i32, 7)};
      KE now[4], j = kb_for_carry(b, ser, 4, init, now), at[2] = {axis ? i : j, axis ? j : i};
      KE v = kb_load(b, x, at), more = kb_let(b, kb_add(b, now[0], v)), up = kb_lt(b, now[1], v);
      kb_store(b, y, at, more);
      /* the last two change places where there is no new maximum */
      KE next[4] = {more, kb_max(b, now[1], v), kb_select(b, up, kb_cast(b, j, DT_i32), now[3]),
                    kb_select(b, up, now[3], now[2])};
      if (axis) next[2] = now[3], next[3] = now[2];
      kb_end_carry(b, next);
      kb_store(b, am, &i, kb_add(b, now[2], kb_mul(b, now[3], kb_num(b, DT_i32, 1000))));
      kb_end(b);
      check(done(b), sizes[c], FILL_Small, 0);
    }
}

/* More than any kernel has symbols: in each turn all move on by one place. */
static void many_values_are_carried(void **state) {
  (void)state;
  enum { MANY = K_MAX_SYMS + 6 };
  KB *b = kb_new(A, "shift");
  KE n = kb_sym(b, "n"), init[MANY], now[MANY], next[MANY], m = kb_int(b, MANY);
  uint32_t y = kb_buf(b, K_OUT, "y", DT_i64, 1, &m);
  for (int i = 0; i < MANY; i++) init[i] = kb_int(b, i * i);
  (void)kb_for_carry(b, n, MANY, init, now);
  for (int i = 0; i < MANY; i++) next[i] = now[(i + 1) % MANY];
  kb_end_carry(b, next);
  for (int i = 0; i < MANY; i++) {
    KE at = kb_int(b, i);
    kb_store(b, y, &at, now[i]);
  }
  Kernel *k = done(b);
  for (int64_t turns = 0; turns < 3; turns++) check_with(k, &turns, FILL_Small, 0);
  kernel_free(k, A);
}

/* ---- contractions ---------------------------------------------------------------------------- */
static double product_tolerance(DType t) {
  return t == DT_f64 ? 1e-11 : t == DT_f32 ? 3e-5 : dtype_is_float(t) ? 2e-2 : 0;
}

static void matrix_products_of_all_forms_and_types(void **state) {
  (void)state;
  static const DType types[] = {DT_f32, DT_f64, DT_f16, DT_bf16, DT_i32,
                                DT_i8,  DT_u16, DT_i64, DT_u64};
  static const int64_t sizes[][4] = {{1, 1, 1, 1},   {2, 7, 9, 5},   {1, 33, 40, 17},
                                     {3, 1, 50, 20}, {1, 50, 1, 20}, {2, 20, 20, 0},
                                     {0, 4, 4, 4},   {1, 0, 4, 4},   {1, 4, 0, 4}};
  for (int t = 0; t < 9; t++)
    for (int form = 0; form < 8; form++) {
      Kernel *k = matmul_kernel(types[t], form & 3, form & 4);
      for (int s = 0; s < 9; s++) check_with(k, sizes[s], FILL_Small, product_tolerance(types[t]));
      kernel_free(k, A);
    }
}

static void long_and_wide_products_cross_the_blocks(void **state) {
  (void)state;
  static const int64_t sizes[][4] = {
      {1, 6, 9, 2500}, {1, 140, 10, 30}, {1, 5, 1100, 20}, {1, 150, 700, 9}};
  for (int form = 0; form < 4; form++) {
    Kernel *k = matmul_kernel(DT_f32, form, false);
    for (int s = 0; s < 4; s++) check_with(k, sizes[s], FILL_Small, 1e-3);
    kernel_free(k, A);
  }
}

/* int8 with zero points, accumulated in int32, scaled in the epilogue */
static void quantised_products_with_zero_points(void **state) {
  (void)state;
  static const int64_t sizes[][3] = {{5, 7, 9}, {30, 40, 50}, {1, 64, 100}, {64, 1, 3}};
  for (int c = 0; c < 4; c++) {
    KB *b = kb_new(A, "quantised");
    KE m = kb_sym(b, "m"), n = kb_sym(b, "n"), k = kb_sym(b, "k"), xd[2] = {m, k}, wd[2] = {n, k},
       yd[2] = {m, n}, p[2], r;
    uint32_t x = kb_buf(b, K_IN, "x", DT_i8, 2, xd), w = kb_buf(b, K_IN, "w", DT_u8, 2, wd);
    uint32_t zp = kb_buf(b, K_IN, "zp", DT_i32, 0, NULL), y = kb_buf(b, K_OUT, "y", DT_i32, 2, yd),
             z = kb_buf(b, K_OUT, "z", DT_i8, 2, yd);
    kb_contract_begin(b, 2, yd, p, 1, &k, &r);
    KE xi[2] = {p[0], r}, wi[2] = {p[1], r};
    KE acc = kb_contract_acc(
        b, DT_i32, kb_sub(b, kb_cast(b, kb_load(b, x, xi), DT_i32), kb_load(b, zp, NULL)),
        kb_sub(b, kb_cast(b, kb_load(b, w, wi), DT_i32), kb_num(b, DT_i32, 128)));
    kb_store(b, y, p, acc);
    kb_store(
        b, z, p,
        kb_cast(b, kb_un(b, S_round, kb_mul(b, kb_cast(b, acc, DT_f32), kb_float(b, DT_f32, 0.01))),
                DT_i8));
    kb_contract_end(b);
    check(done(b), sizes[c], FILL_Any, 0);
  }
}

typedef struct {
  int64_t n, groups, ic, oc, h, kh, stride, pad, dilation;
} Conv;

/* x (n, g, ic, h, h), w (g, oc, ic, kh, kh) or with channels last, y (n, g, oc, oh, oh) */
static Kernel *conv_kernel(const Conv *c, bool last, int64_t oh) {
  KB *b = kb_new(A, last ? "conv_last" : "conv");
  KE n = kb_int(b, c->n), g = kb_int(b, c->groups), ic = kb_int(b, c->ic), oc = kb_int(b, c->oc);
  KE h = kb_int(b, c->h), kh = kb_int(b, c->kh), o = kb_int(b, oh);
  KE xd[5] = {n, g, ic, h, h}, xl[5] = {n, h, h, g, ic}, wd[5] = {g, oc, ic, kh, kh},
     wl[5] = {kh, kh, g, ic, oc};
  KE yd[5] = {n, g, oc, o, o}, yl[5] = {n, o, o, g, oc}, p[5], q[3], rd[3] = {ic, kh, kh};
  uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 5, last ? xl : xd),
           w = kb_buf(b, K_IN, "w", DT_f32, 5, last ? wl : wd);
  uint32_t y = kb_buf(b, K_OUT, "y", DT_f32, 5, last ? yl : yd);
  kb_contract_begin(b, 5, last ? yl : yd, p, 3, rd, q);
  KE bn = p[0], bg = last ? p[3] : p[1], bo = last ? p[4] : p[2], oy = last ? p[1] : p[3],
     ox = last ? p[2] : p[4];
  KE s = kb_int(b, c->stride), dl = kb_int(b, c->dilation), pad = kb_int(b, c->pad);
  KE iy = kb_sub(b, kb_add(b, kb_mul(b, oy, s), kb_mul(b, q[1], dl)), pad);
  KE ix = kb_sub(b, kb_add(b, kb_mul(b, ox, s), kb_mul(b, q[2], dl)), pad);
  KE xi[5] = {bn, bg, q[0], iy, ix}, xil[5] = {bn, iy, ix, bg, q[0]};
  KE wi[5] = {bg, bo, q[0], q[1], q[2]}, wil[5] = {q[1], q[2], bg, q[0], bo};
  KE acc = kb_contract_acc(b, DT_f32, kb_load_or(b, x, last ? xil : xi, kb_float(b, DT_f32, 0)),
                           kb_load(b, w, last ? wil : wi));
  kb_store(b, y, p, kb_max(b, acc, kb_float(b, DT_f32, 0)));
  kb_contract_end(b);
  return done(b);
}

static void convolutions_with_stride_pad_dilation_and_groups(void **state) {
  (void)state;
  static const Conv cases[] = {
      {1, 1, 1, 1, 5, 3, 1, 0, 1},  {2, 1, 3, 8, 9, 3, 1, 1, 1},   {1, 1, 4, 16, 12, 3, 2, 1, 1},
      {1, 2, 3, 5, 10, 3, 1, 2, 2}, {1, 16, 1, 1, 12, 3, 1, 1, 1}, {1, 8, 1, 2, 12, 5, 2, 2, 1},
      {1, 1, 8, 8, 7, 1, 1, 0, 1},  {2, 32, 1, 1, 4, 3, 1, 1, 1},  {1, 1, 2, 4, 3, 3, 1, 3, 1}};
  for (int c = 0; c < 9; c++)
    for (int last = 0; last < 2; last++) {
      const Conv *v = &cases[c];
      int64_t oh = (v->h + 2 * v->pad - v->dilation * (v->kh - 1) - 1) / v->stride + 1;
      check(conv_kernel(v, last, oh), NULL, FILL_Small, 3e-5);
    }
}

static void a_full_product_has_no_parallel_loops(void **state) {
  (void)state;
  for (int64_t n = 0; n < 40; n++) {
    KB *b = kb_new(A, "dot");
    KE s = kb_sym(b, "n"), r;
    uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 1, &s), w = kb_buf(b, K_IN, "w", DT_f32, 1, &s),
             y = kb_buf(b, K_OUT, "y", DT_f32, 0, NULL);
    kb_contract_begin(b, 0, NULL, NULL, 1, &s, &r);
    KE acc = kb_contract_acc(b, DT_f32, kb_load(b, x, &r), kb_load(b, w, &r));
    kb_store(b, y, NULL, acc);
    kb_contract_end(b);
    check(done(b), &n, FILL_Small, 1e-5);
  }
}

static void epilogues_may_hold_lets_checks_and_residuals(void **state) {
  (void)state;
  static const int64_t sizes[][3] = {{20, 30, 10}, {3, 3, 3}, {1, 600, 4}};
  for (int c = 0; c < 3; c++) {
    KB *b = kb_new(A, "epilogue");
    KE m = kb_sym(b, "m"), n = kb_sym(b, "n"), k = kb_sym(b, "k"), xd[2] = {m, k}, wd[2] = {k, n},
       yd[2] = {m, n}, td[2] = {n, m}, p[2], r;
    uint32_t x = kb_buf(b, K_IN, "x", DT_f32, 2, xd), w = kb_buf(b, K_IN, "w", DT_f32, 2, wd),
             y = kb_buf(b, K_INOUT, "y", DT_f32, 2, yd);
    uint32_t z = kb_buf(b, K_OUT, "z", DT_f32, 2, td);
    kb_contract_begin(b, 2, yd, p, 1, &k, &r);
    KE xi[2] = {p[0], r}, wi[2] = {r, p[1]}, back[2] = {p[1], p[0]};
    KE acc = kb_contract_acc(b, DT_f32, kb_load(b, x, xi), kb_load(b, w, wi));
    KE row = kb_let(b, kb_add(b, p[0], kb_int(b, 0))), t = kb_let(b, kb_mul(b, acc, acc)),
       at[2] = {row, p[1]};
    kb_check(b, kb_le(b, kb_float(b, DT_f32, 0), t), "a square is negative");
    kb_store(b, y, at, kb_add(b, kb_load(b, y, p), kb_add(b, t, kb_cast(b, p[1], DT_f32))));
    kb_store(b, z, back, kb_select(b, kb_lt(b, acc, t), acc, kb_load(b, y, at)));
    kb_contract_end(b);
    check(done(b), sizes[c], FILL_Small, 1e-4);
  }
}

/* ---- failures ------------------------------------------------------------------------------- */
static void failures_say_what_and_why(void **state) {
  (void)state;
  enum { N = 600 };
  int32_t x[N], d[N], y[N];
  static const SOp ops[] = {S_div, S_fdiv, S_mod, S_fmod, S_shl, S_shr};
  for (int o = 0; o < 6; o++)
    for (int64_t n = 1; n <= N; n += 599) {
      KB *b = kb_new(A, "fails");
      KE s = kb_sym(b, "n");
      uint32_t bx = kb_buf(b, K_IN, "x", DT_i32, 1, &s), bd = kb_buf(b, K_IN, "d", DT_i32, 1, &s),
               by = kb_buf(b, K_OUT, "y", DT_i32, 1, &s);
      KE i = kb_for(b, s, K_PARALLEL);
      kb_check(b, kb_ne(b, kb_load(b, bx, &i), kb_num(b, DT_i32, 13)), "x must not be 13");
      kb_store(b, by, &i, kb_op(b, ops[o], kb_load(b, bx, &i), kb_load(b, bd, &i), KE_NONE));
      kb_end(b);
      Kernel *k = done(b);
      for (int j = 0; j < N; j++) x[j] = 100, d[j] = 1;
      void *mem[3] = {x, d, y};
      KError e;
      assert_int_equal(run_once(k, mem, &n, &e), K_OK);
      d[n - 1] = o < 4 ? 0 : -1;
      assert_int_equal(run_once(k, mem, &n, &e), o < 4 ? K_DIV_ZERO : K_BAD_SHIFT);
      assert_non_null(e.why);
      x[n - 1] = 13;
      assert_int_equal(run_once(k, mem, &n, &e), K_CHECK);
      assert_string_equal(e.why, "x must not be 13");
      kernel_free(k, A);
    }
}

static void a_refused_allocation_is_an_error_and_leaks_nothing(void **state) {
  (void)state;
  Kernel *k = matmul_kernel(DT_f32, 1, false);
  int64_t s[4] = {1, 30, 30, 30};
  void *mem[4];
  for (uint32_t b = 0; b < 4; b++) mem[b] = filled(k, b, s, FILL_Small);
  long before = blocks, tries = 0;
  KStatus st;
  do {
    KError e;
    allowed = tries++;
    st = run_once(k, mem, s, &e);
    assert_true(st == K_OK || st == K_NO_MEMORY);
    assert_int_equal(blocks, before);
  } while (st != K_OK && tries < 1000);
  allowed = -1;
  assert_true(tries > 5 && tries < 1000);
  for (uint32_t b = 0; b < 4; b++) free(mem[b]);
  kernel_free(k, A);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_operation_on_every_type_is_scalar_eval),
      cmocka_unit_test(every_cast_is_scalar_cast),
      cmocka_unit_test(broadcasts_of_rows_columns_and_scalars),
      cmocka_unit_test(permuted_and_collapsed_axes),
      cmocka_unit_test(load_or_gives_its_fallback_outside),
      cmocka_unit_test(gathers_and_strides),
      cmocka_unit_test(a_map_may_run_in_place),
      cmocka_unit_test(conditions_run_for_the_lanes_where_they_hold),
      cmocka_unit_test(locals_belong_to_their_iteration),
      cmocka_unit_test(every_reduction_of_every_length_and_type),
      cmocka_unit_test(nan_survives_minimum_and_maximum),
      cmocka_unit_test(reductions_over_several_axes),
      cmocka_unit_test(the_middle_axis_in_lanes),
      cmocka_unit_test(neighbouring_indices_and_others),
      cmocka_unit_test(softmax_of_rows),
      cmocka_unit_test(scans_and_argmax_carry_values),
      cmocka_unit_test(many_values_are_carried),
      cmocka_unit_test(matrix_products_of_all_forms_and_types),
      cmocka_unit_test(long_and_wide_products_cross_the_blocks),
      cmocka_unit_test(quantised_products_with_zero_points),
      cmocka_unit_test(convolutions_with_stride_pad_dilation_and_groups),
      cmocka_unit_test(a_full_product_has_no_parallel_loops),
      cmocka_unit_test(epilogues_may_hold_lets_checks_and_residuals),
      cmocka_unit_test(failures_say_what_and_why),
      cmocka_unit_test(a_refused_allocation_is_an_error_and_leaks_nothing),
  };
  return cmocka_run_group_tests_name("kernel interpreter", tests, NULL, NULL);
}
