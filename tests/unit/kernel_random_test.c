/* kernel_random_test.c -- random kernels: the interpreter against the naive one, and kernels
 * with a word changed, which must be refused or run safely.  RVM_RANDOM_KERNELS=N makes N of
 * them.  A kernel's name is the number it was made of. */
#include "tests/unit/kernel_compare.h"

enum { MOST_VALUES = 64 };
typedef struct {
  KB *b;
  KE dim[3], loop[3], val[MOST_VALUES];
  int rank, n_val;
  uint32_t in[4], out[3], local;
} Maker;

static KE any_value(Maker *m, DType t) { return kb_cast(m->b, m->val[below(m->n_val)], t); }

/* An index for dimension d that is inside for sure. */
static KE any_index(Maker *m, int d) {
  KB *b = m->b;
  KE one = kb_int(b, 1), i = m->loop[d];
  switch (below(6)) {
  case 0: return kb_sub(b, kb_sub(b, m->dim[d], one), i);
  case 1:
    return kb_fmod(b, kb_add(b, kb_mul(b, i, kb_int(b, below(5) - 2)), kb_int(b, below(9))),
                   m->dim[d]);
  case 2:
    return kb_clamp(b, kb_cast(b, any_value(m, DT_i16), DT_i64), kb_int(b, 0),
                    kb_sub(b, m->dim[d], one));
  default: return i;
  }
}

static KE any_load(Maker *m) {
  KE at[3], wild[3];
  int which = (int)below(4), rank = which == 3 ? 1 : m->rank;
  for (int d = 0; d < rank; d++) {
    at[d] = any_index(m, which == 3 ? m->rank - 1 : d);
    wild[d] =
        kb_add(m->b, kb_mul(m->b, m->loop[d], kb_int(m->b, below(3))), kb_int(m->b, below(7) - 3));
  }
  static const DType types[] = {DT_f32, DT_i32, DT_f64, DT_u8};
  if (which < 3 && below(4) == 0)
    return kb_load_or(m->b, m->in[which], wild, kb_num(m->b, types[which], 3));
  return kb_load(m->b, m->in[which], at);
}

static KE any_op(Maker *m) {
  static const SOp ops[] = {S_add, S_sub, S_mul, S_min, S_max,    S_lt,
                            S_le,  S_eq,  S_neg, S_abs, S_select, S_add};
  static const DType types[] = {DT_f32, DT_i32, DT_f64, DT_i64, DT_u8, DT_f16};
  SOp op = ops[below(12)];
  DType t = types[below(6)];
  if (op == S_select)
    return kb_select(m->b, any_value(m, DT_bool), any_value(m, t), any_value(m, t));
  return kb_op(m->b, op, any_value(m, t), sop_info[op].arity == 2 ? any_value(m, t) : KE_NONE,
               KE_NONE);
}

static void add_value(Maker *m, KE e) {
  if (m->n_val < MOST_VALUES) m->val[m->n_val++] = e;
}

static KE any_reduce(Maker *m) {
  static const SOp ops[] = {S_min, S_max, S_add};
  SOp op = ops[below(3)];
  DType t = op == S_add ? DT_i32 : below(2) ? DT_f32 : DT_i64;
  KE r[2], ext[2] = {m->dim[0], kb_int(m->b, 1 + below(4))};
  int n = 1 + (int)below(2), keep = m->n_val;
  KE init = any_value(m, t);
  kb_reduce_begin(m->b, n, ext, r);
  KE was = m->loop[0];
  m->loop[0] = r[0];
  add_value(m, any_load(m));
  add_value(m, n == 2 ? r[1] : r[0]);
  KE e = kb_reduce_end(
      m->b, op, init,
      kb_op(m->b, below(2) ? S_add : S_sub, any_value(m, t), any_value(m, t), KE_NONE));
  m->loop[0] = was;
  m->n_val = keep;
  return e;
}

static KE any_scan(Maker *m) {
  KE init[2] = {any_value(m, DT_i32), any_value(m, DT_f32)}, now[2];
  int keep = m->n_val;
  KE was = m->loop[0], j = kb_for_carry(m->b, m->dim[0], 2, init, now);
  m->loop[0] = j;
  for (int i = 0; i < 2; i++) add_value(m, now[i]);
  add_value(m, any_load(m));
  add_value(m, kb_let(m->b, any_op(m)));
  KE next[2] = {kb_add(m->b, now[0], any_value(m, DT_i32)),
                kb_max(m->b, now[1], any_value(m, DT_f32))};
  kb_end_carry(m->b, next);
  m->loop[0] = was;
  m->n_val = keep;
  return now[below(2)];
}

static void any_statements(Maker *m, int depth) {
  static const DType types[] = {DT_f32, DT_i32, DT_bool};
  for (int i = 0, n = 1 + (int)below(4); i < n; i++) {
    switch (below(7)) {
    case 0:
    case 1: add_value(m, kb_let(m->b, any_op(m))); break;
    case 2: add_value(m, any_reduce(m)); break;
    case 3: add_value(m, any_scan(m)); break;
    case 4:
      if (depth == 0) break;
      int keep = m->n_val;
      kb_if(m->b, any_value(m, DT_bool));
      any_statements(m, depth - 1);
      kb_end(m->b);
      m->n_val = keep;
      break;
    default: add_value(m, any_load(m)), add_value(m, any_op(m)); break;
    }
  }
  int o = (int)below(3);
  kb_store(m->b, m->out[o], m->loop, any_value(m, types[o]));
}

static Kernel *random_kernel(void) {
  static const char *const names[] = {"a", "b", "c"};
  static const DType ins[] = {DT_f32, DT_i32, DT_f64, DT_u8}, outs[] = {DT_f32, DT_i32, DT_bool};
  char name[32];
  snprintf(name, sizeof name, "random %016llx", (unsigned long long)seed);
  Maker m = {.b = kb_new(A, name), .rank = 1 + (int)below(3)};
  for (int d = 0; d < m.rank; d++) m.dim[d] = kb_sym(m.b, names[d]);
  for (int i = 0; i < 4; i++)
    m.in[i] =
        kb_buf(m.b, K_IN, "in", ins[i], i == 3 ? 1 : m.rank, i == 3 ? &m.dim[m.rank - 1] : m.dim);
  for (int i = 0; i < 3; i++) m.out[i] = kb_buf(m.b, K_INOUT, "out", outs[i], m.rank, m.dim);
  for (int d = 0; d < m.rank; d++)
    m.loop[d] = kb_for(m.b, m.dim[d], below(8) ? K_PARALLEL : K_SERIAL);
  add_value(&m, kb_float(m.b, DT_f32, 2.5));
  add_value(&m, m.loop[below(m.rank)]);
  add_value(&m, kb_load(m.b, m.out[1], m.loop));
  add_value(&m, any_load(&m));
  any_statements(&m, 2);
  for (int d = 0; d < m.rank; d++) kb_end(m.b);
  return done(m.b);
}

static void random_kernels_agree_with_the_naive_interpreter(void **state) {
  (void)state;
  static const int64_t sizes[][3] = {{1, 1, 1},  {3, 5, 4}, {70, 3, 2}, {2, 60, 3},
                                     {3, 2, 70}, {0, 2, 3}, {2, 0, 0}};
  const char *rounds = getenv("RVM_RANDOM_KERNELS");
  for (int i = 0, n = rounds ? atoi(rounds) : 300; i < n; i++) {
    Kernel *k = random_kernel();
    KError e;
    for (int s = 0; s < 7; s++)
      if (kernel_launch_ok(k, sizes[s], A, &e) == K_OK) check_with(k, sizes[s], FILL_Small, 0);
    kernel_free(k, A);
  }
}

/* One word changed somewhere in the nodes, statements, pool or buffers. */
static void mutate(Kernel *k) {
  struct {
    void *at;
    size_t bytes;
  } part[] = {{k->node, k->n_nodes * sizeof *k->node},
              {k->stmt, k->n_stmts * sizeof *k->stmt},
              {k->pool, k->n_pool * sizeof *k->pool},
              {k->buf, k->n_bufs * sizeof *k->buf}};
  int which = (int)below(4);
  if (part[which].bytes == 0) return;
  unsigned char *at = (unsigned char *)part[which].at + below((int64_t)part[which].bytes);
  *at = (unsigned char)(below(3) ? (uint64_t)(*at + below(5) - 2) : next_random());
}

static void mutated_kernels_that_verify_run_safely(void **state) {
  (void)state;
  static const int64_t sizes[][3] = {{2, 5, 3}, {40, 2, 0}, {1, 1, 70}};
  const char *rounds = getenv("RVM_RANDOM_KERNELS");
  for (int i = 0, n = rounds ? atoi(rounds) * 10 : 2000; i < n; i++) {
    Kernel *k = below(4) ? random_kernel() : matmul_kernel(DT_f32, (int)below(4), below(2));
    for (int64_t m = below(4); m >= 0; m--) mutate(k);
    const int64_t *sym = sizes[below(3)];
    int64_t four[4] = {2, sym[0], sym[1], 3};
    if (k->n_syms == 4) sym = four;
    bool needs, fits = true;
    KError e;
    if (kernel_verify(k, A, &needs, &e) == K_OK && kernel_launch_ok(k, sym, A, &e) == K_OK &&
        kernel_cost(k, sym) < 1000000) {
      void *mem[K_MAX_BUFS];
      int64_t count;
      for (uint32_t b = 0; b < k->n_bufs; b++)
        fits = fits && kernel_buf_count(k, b, sym, &count) && count < 100000;
      for (uint32_t b = 0; b < k->n_params && fits; b++) mem[b] = filled(k, b, sym, FILL_Any);
      if (fits) run_once(k, mem, sym, &e);
      for (uint32_t b = 0; b < k->n_params && fits; b++) free(mem[b]);
    }
    kernel_free(k, A);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_kernels_agree_with_the_naive_interpreter),
      cmocka_unit_test(mutated_kernels_that_verify_run_safely),
  };
  return cmocka_run_group_tests_name("random kernels", tests, NULL, NULL);
}
