/* interp.c -- running a tape: the instruction loop, the choice between two ways
 * to run a nest, and the memory of a run (see interp_priv.h for the tape).
 *
 * The recursion of run_code follows the nesting of loops.                    */
#include "kernel/interp_priv.h"
#include "base/checked.h"

static KStatus fail(Run *r, KStatus s, const char *why) {
  if (r->err) *r->err = (KError){s, why};
  return s;
}

static KStatus op_failed(Run *r, KStatus s) {
  const char *why = s == K_DIV_ZERO    ? "integer division by zero"
                    : s == K_BAD_SHIFT ? "shift amount out of range"
                                       : "operation without a meaning for its type";
  return fail(r, s, why);
}

/* ---- plain instructions ---------------------------------------------------------- */
static KStatus run_op(Run *r, const Ins *x) {
  char **reg = r->reg;
  int64_t n = x->flags & IF_Strip ? r->n : 1;
  if (x->flags & IF_Direct) {
    char *to = store_target(r, x + 1);
    reg[x->out] = to ? to : strip_slot(r, x->out);
  }
  KStatus s = x->fn(x, reg[x->out], reg[x->a], x->b == NO_REG ? NULL : reg[x->b],
                    x->c == NO_REG ? NULL : reg[x->c], n);
  if (s != K_OK) return op_failed(r, s);
  if (x->flags & IF_Round) lane_round((DType)x->dtype, (float *)reg[x->out], n);
  return K_OK;
}

static void run_iota(Run *r, const Ins *x) {
  int64_t *o = (int64_t *)r->reg[x->out], first = reg_i64(r, x->a) + r->lo, n = r->n;
  for (int64_t i = 0; i < n; i++) o[i] = first + i;
}

static void run_move(Run *r, const Ins *x) {
  int64_t n = x->flags & IF_Strip ? r->n : 1;
  memmove(r->reg[x->out], r->reg[x->a], (size_t)(n * r->p->reg[x->out].bytes));
}

static KStatus run_check(Run *r, const Ins *x) {
  const int64_t *v = (const int64_t *)r->reg[x->a];
  int64_t n = x->flags & IF_Strip ? r->n : 1;
  for (int64_t i = 0; i < n; i++)
    if (!v[i]) return fail(r, K_CHECK, r->p->k->text + x->c);
  return K_OK;
}

/* ---- structure ------------------------------------------------------------------- */
/* All strips begin `lanes` later (or earlier again). */
static void shift_strips(Run *r, int64_t lanes) {
  for (uint32_t i = 0; i < r->p->n_regs; i++)
    if (r->p->reg[i].kind == RK_Strip) r->reg[i] += lanes * r->p->reg[i].bytes;
}

static KStatus run_if(Run *r, const Ins *x) {
  const int64_t *v = (const int64_t *)r->reg[x->a];
  if (!(x->flags & IF_Strip)) return *v ? run_code(r, x + x->body, x + x->end) : K_OK;
  int64_t n = r->n, lo = r->lo;
  KStatus s = K_OK;
  for (int64_t i = 0, j; i < n && s == K_OK; i = j) {
    while (i < n && !v[i]) i++;
    for (j = i; j < n && v[j];) j++;
    if (i == j) break;
    r->lo = lo + i, r->n = j - i;
    if (i) shift_strips(r, i);
    s = run_code(r, x + x->body, x + x->end);
    if (i) shift_strips(r, -i);
  }
  r->lo = lo, r->n = n;
  return s;
}

enum { MANY = 2 * STRIP }; /* iterations that are worth asking whether they do anything */

static bool does_nothing(const Run *r, const Ins *x) {
  if (x->c == NO_REG) return false;
  return (x->flags & IF_Sum ? kernel_sums_nothing : kernel_idle)(r->p->k, x->c, r->sym);
}

static KStatus run_loop(Run *r, const Ins *x) {
  int64_t n = reg_i64(r, x->a);
  if (n <= 0 || (n > MANY && does_nothing(r, x))) return K_OK;
  const Ins *body = x + x->body, *end = x + x->end;
  KStatus s = run_code(r, x + 1, body);
  for (int64_t i = 0; i < n && s == K_OK; i++) {
    set_i64(r, x->out, i);
    s = run_code(r, body, end);
  }
  return s;
}

/* Iterations of the collapsed loops of a Vec; saturates. */
static int64_t vec_extent(const Run *r, const Ins *x) {
  const uint32_t *l = r->p->pool + x->b;
  int64_t total = 1;
  for (uint32_t i = 0; i < *l; i++) {
    int64_t n = reg_i64(r, l[2 + 2 * i]);
    if (n <= 0) return 0;
    if (!i64_mul(total, n, &total)) total = INT64_MAX;
  }
  return total;
}

static void set_vec(Run *r, const Ins *x, int64_t at) {
  const uint32_t *l = r->p->pool + x->b;
  for (uint32_t i = *l; i-- > 1;) {
    int64_t n = reg_i64(r, l[2 + 2 * i]);
    set_i64(r, l[1 + 2 * i], at % n);
    at /= n;
  }
  set_i64(r, l[1], at);
}

static KStatus run_vec(Run *r, const Ins *x) {
  int64_t total = vec_extent(r, x), n = r->n, lo = r->lo;
  if (total == 0 || (total > MANY && does_nothing(r, x))) return K_OK;
  const Ins *body = x + x->body, *end = x + x->end;
  r->lo = 0;
  r->n = total < r->cap ? total : r->cap;
  KStatus s = run_code(r, x + 1, body);
  for (int64_t at = 0; at < total && s == K_OK; at += r->cap) {
    set_vec(r, x, at);
    r->n = total - at < r->cap ? total - at : r->cap;
    s = run_code(r, body, end);
  }
  r->n = n, r->lo = lo;
  return s;
}

static KStatus run_alt(Run *r, const Ins *x) {
  uint8_t *choice = &r->choice[x->c];
  if (!*choice) {
    double first = code_cost(r, x + 1, x + x->body, 1);
    *choice = first <= code_cost(r, x + x->body, x + x->end, 1) ? 1 : 2;
  }
  return *choice == 1 ? run_code(r, x + 1, x + x->body) : run_code(r, x + x->body, x + x->end);
}

KStatus run_code(Run *r, const Ins *x, const Ins *to) {
  KStatus s = K_OK;
  while (x < to) {
    switch ((InsKind)x->kind) {
    case IK_Op: s = run_op(r, x++); break;
    case IK_Load: run_load(r, x++); break;
    case IK_Store: run_store(r, x++); break;
    case IK_Splat:
      lane_splat(r->reg[x->out], r->reg[x->a], r->p->reg[x->out].bytes, r->n), x++;
      break;
    case IK_Iota: run_iota(r, x++); break;
    case IK_Move: run_move(r, x++); break;
    case IK_Check: s = run_check(r, x++); break;
    case IK_If: s = run_if(r, x), x += x->end; break;
    case IK_Loop: s = run_loop(r, x), x += x->end; break;
    case IK_Vec: s = run_vec(r, x), x += x->end; break;
    case IK_Start: run_start(r, x++); break;
    case IK_Acc: s = run_acc(r, x++); break;
    case IK_Fin: s = run_fin(r, x++); break;
    case IK_Alt: s = run_alt(r, x), x += x->end; break;
    case IK_Contract: s = run_contract(r, x), x += x->end; break;
    }
    if (s != K_OK) return s;
  }
  return K_OK;
}

/* ---- cost: nanoseconds, roughly -------------------------------------------------- */
static double op_cost(const Ins *x) {
  static const uint8_t slow[S_COUNT] = {
      /* tenths of a nanosecond per lane */
      [S_div] = 5,    [S_fdiv] = 50, [S_mod] = 50,  [S_fmod] = 50,  [S_pow] = 200,    [S_sqrt] = 10,
      [S_rsqrt] = 20, [S_exp] = 40,  [S_log] = 40,  [S_tanh] = 100, [S_sigmoid] = 50, [S_erf] = 100,
      [S_sin] = 80,   [S_cos] = 80,  [S_tan] = 150, [S_atan2] = 200};
  double c = x->op < S_COUNT && slow[x->op] ? slow[x->op] / 10.0 : 0.2;
  return x->flags & IF_Round ? c + 3 : c;
}

static double access_cost(const Run *r, const Ins *x, double lanes) {
  bool known;
  const Access *a = &r->p->access[x->at];
  int64_t step = access_step(r, a, &known), bytes = dtype_bytes((DType)x->dtype);
  double per = !known                                      ? 2.0
               : step == 1                                 ? 0.2
               : step == 0                                 ? 0.4
               : step * bytes >= 64 || step * bytes <= -64 ? 2.0
                                                           : 0.8;
  return 10 + lanes * per;
}

static double trips(const Run *r, const Ins *x) {
  if (x->kind == IK_Vec) return x->flags & IF_Static ? (double)vec_extent(r, x) : 64;
  int64_t n = x->flags & IF_Static ? reg_i64(r, x->a) : 32;
  return n > 0 ? (double)n : 0;
}

static double vec_cost(const Run *r, const Ins *x) {
  double n = trips(r, x), cap = (double)r->cap, lanes = n < cap ? n : cap;
  if (n == 0) return 2;
  double strips = (double)(int64_t)((n + cap - 1) / cap);
  return 10 + code_cost(r, x + 1, x + x->body, lanes) +
         strips * (5 + code_cost(r, x + x->body, x + x->end, n / strips));
}

static double alt_cost(const Run *r, const Ins *x) {
  double a = code_cost(r, x + 1, x + x->body, 1), b = code_cost(r, x + x->body, x + x->end, 1);
  return a < b ? a : b;
}

/* Of running the code once with strips of so many lanes. */
double code_cost(const Run *r, const Ins *x, const Ins *to, double lanes) {
  double c = 0;
  for (; x < to; x++) {
    double n = x->flags & IF_Strip ? lanes : 1;
    switch ((InsKind)x->kind) {
    case IK_Op: c += 5 + n * op_cost(x); break;
    case IK_Load:
    case IK_Store: c += access_cost(r, x, n); break;
    case IK_Splat:
    case IK_Iota: c += 4 + lanes * 0.1; break;
    case IK_Move:
    case IK_Check: c += 4 + n * 0.1; break;
    case IK_Start:
    case IK_Fin: c += 20; break;
    case IK_Acc: c += 8 + lanes * 0.2; break;
    case IK_If: c += 4 + code_cost(r, x + x->body, x + x->end, lanes); break;
    case IK_Loop:
      c += 3 + code_cost(r, x + 1, x + x->body, lanes) +
           trips(r, x) * (3 + code_cost(r, x + x->body, x + x->end, lanes));
      break;
    case IK_Vec: c += vec_cost(r, x); break;
    case IK_Alt: c += alt_cost(r, x); break;
    case IK_Contract: c += contract_cost(r, x); break;
    }
    if (x->kind == IK_If || x->kind == IK_Loop || x->kind == IK_Vec || x->kind == IK_Alt ||
        x->kind == IK_Contract)
      x += x->end - 1;
  }
  return c;
}

/* ---- one run --------------------------------------------------------------------- */
/* Where the parts of the scratch memory are. */
typedef struct {
  size_t regs, scalars, parts, bufs, tmp, choice, strips, locals, all;
} Layout;

/* Enough lanes for the largest buffer. */
static bool choose_cap(Run *r, const int64_t *sym) {
  int64_t most = PARTS;
  for (uint32_t b = 0; b < r->p->k->n_bufs; b++) {
    int64_t n;
    if (!kernel_buf_count(r->p->k, b, sym, &n)) return false;
    if (n > most) most = n;
  }
  r->cap = most >= STRIP ? STRIP : (most + PARTS - 1) / PARTS * PARTS;
  return true;
}

static bool reserve(size_t *end, size_t count, size_t size, size_t *at) {
  size_t bytes;
  if (!size_add(*end, 63, end)) return false;
  *at = *end &= ~(size_t)63;
  return size_mul(count, size, &bytes) && size_add(*end, bytes, end);
}

static bool lay_out(const Run *r, const int64_t *sym, Layout *l) {
  const KProg *p = r->p;
  const Kernel *k = p->k;
  size_t end = 0, cap = (size_t)r->cap, at;
  bool ok = reserve(&end, p->n_regs, sizeof(char *), &l->regs) &&
            reserve(&end, p->n_scalars, 8, &l->scalars) &&
            reserve(&end, p->n_parts, PARTS * 8, &l->parts) &&
            reserve(&end, k->n_bufs, sizeof(RunBuf), &l->bufs) && reserve(&end, cap, 8, &l->tmp) &&
            reserve(&end, p->n_alts, 1, &l->choice) &&
            reserve(&end, p->n_strips, cap * 8, &l->strips) && reserve(&end, 0, 0, &l->locals);
  for (uint32_t b = k->n_params; b < k->n_bufs && ok; b++) {
    int64_t n;
    ok = kernel_buf_count(k, b, sym, &n) && (uint64_t)n <= SIZE_MAX &&
         reserve(&end, (size_t)n, (size_t)dtype_bytes((DType)k->buf[b].dtype), &at);
  }
  return ok && size_add(end, 64, &l->all);
}

static void place_registers(Run *r, char *base, const Layout *l) {
  const KProg *p = r->p;
  r->strips = base + l->strips;
  for (uint32_t i = 0; i < p->n_regs; i++) {
    size_t slot = p->reg[i].slot;
    r->reg[i] = p->reg[i].kind == RK_Scalar  ? base + l->scalars + slot * 8
                : p->reg[i].kind == RK_Parts ? base + l->parts + slot * (PARTS * 8)
                                             : strip_slot(r, i);
  }
}

static void set_constants(Run *r, const int64_t *sym) {
  const KProg *p = r->p;
  for (uint32_t s = 0; s < p->k->n_syms; s++) set_i64(r, s, sym[s]);
  for (uint32_t i = 0; i < p->n_consts; i++) {
    uint32_t reg = p->konst[i].reg, low = (uint32_t)p->konst[i].lane;
    if (p->reg[reg].bytes == 4)
      memcpy(r->reg[reg], &low, 4);
    else
      memcpy(r->reg[reg], &p->konst[i].lane, 8);
  }
}

static void place_buffers(Run *r, void *const *buf, const int64_t *sym, char *base, size_t locals) {
  const Kernel *k = r->p->k;
  size_t end = locals, at = 0;
  for (uint32_t b = 0; b < k->n_bufs; b++) {
    if (b < k->n_params) {
      r->buf[b].mem = buf[b];
      continue;
    }
    int64_t n = 0;
    kernel_buf_count(k, b, sym, &n);
    reserve(&end, (size_t)n, (size_t)dtype_bytes((DType)k->buf[b].dtype), &at);
    r->buf[b].mem = base + at;
  }
}

/* Extents and row-major strides, once their registers have values. */
static void set_strides(Run *r) {
  const Kernel *k = r->p->k;
  for (uint32_t b = 0; b < k->n_bufs; b++) {
    uint64_t stride = 1;
    for (int i = k->buf[b].rank; i-- > 0;) {
      int64_t n = reg_i64(r, r->p->buf_dim[b * K_MAX_RANK + (uint32_t)i]);
      r->buf[b].dim[i] = n;
      r->buf[b].stride[i] = (int64_t)stride;
      stride *= (uint64_t)n;
    }
  }
}

static KStatus run_all(Run *r) {
  const KProg *p = r->p;
  r->n = r->cap, r->lo = 0;
  KStatus s = run_code(r, p->ins, p->ins + p->main);
  if (s != K_OK) return s;
  set_strides(r);
  r->n = 1;
  return run_code(r, p->ins + p->main, p->ins + p->n_ins);
}

KStatus kernel_run(const KProg *p, void *const *buf, const int64_t *sym, KAlloc scratch,
                   KError *err) {
  Run r = {.p = p, .sym = sym, .alloc = scratch, .err = err};
  Layout l;
  if (!choose_cap(&r, sym)) return fail(&r, K_BAD_SIZE, "a buffer's extents are not a size");
  if (!lay_out(&r, sym, &l)) return fail(&r, K_BAD_SIZE, "the kernel's buffers are too large");
  char *mem = scratch.fn(scratch.user, NULL, 0, l.all);
  if (!mem) return fail(&r, K_NO_MEMORY, "no memory to run the kernel");
  char *base = mem + (64 - (uintptr_t)mem % 64) % 64;
  r.reg = (char **)(void *)(base + l.regs);
  r.buf = (RunBuf *)(void *)(base + l.bufs);
  r.tmp = (int64_t *)(void *)(base + l.tmp);
  r.choice = (uint8_t *)(base + l.choice);
  memset(r.choice, 0, p->n_alts);
  place_registers(&r, base, &l);
  set_constants(&r, sym);
  place_buffers(&r, buf, sym, base, l.locals);
  KStatus s = run_all(&r);
  if (r.tile) scratch.fn(scratch.user, r.tile, r.tile_bytes, 0);
  scratch.fn(scratch.user, mem, l.all, 0);
  return s;
}
