/* contract_tile.c -- the inner functions of contractions: products that stay in
 * registers over the depth, and the turning over of squares.  They know nothing
 * of the kernel, so a module has each once.                                  */
#include "codegen/llvm/contract.h"
#include <stdio.h>

enum {
  BUSY = 8,
  UNROLL = 2 * BUSY,
  ALL_ROWS = -1
}; /* independent sums that hide the latency of multiply-add */

static Val multiply_add(Emit *e, DType t, LLVMTypeRef v, Val a, Val b, Val c) {
  if (!dtype_is_float(t)) return add(e, mul(e, a, b), c);
  if (e->cpu.fma) return emit_intrinsic(e, "llvm.fma", v, (Val[]){a, b, c}, 3);
  return LLVMBuildFAdd(e->b, LLVMBuildFMul(e->b, a, b, ""), c, "");
}

static Val plus(Emit *e, DType t, Val x, Val y) {
  return dtype_is_float(t) ? LLVMBuildFAdd(e->b, x, y, "") : add(e, x, y);
}

static Val load_one(const Con *c, Val at) {
  Val v = LLVMBuildLoad2(c->e->b, c->type, at, "");
  LLVMSetAlignment(v, (unsigned)c->bytes);
  return v;
}

typedef struct {
  const Con *c;
  int height, vectors, n; /* n = height * vectors sums            */
  int sets;               /* of partial sums, each of every sets-th depth */
  int halves;             /* the columns; odd: the last vector is half as long */
  int64_t pitch;          /* how rows of a are found: PACKED, APART, or their pitch */
  Val a, b, deep, stride, base;
  Val step;             /* of memory to be brought into the cache, or NULL */
  int64_t period, jump; /* see Tall                                */
  const Edge *edge;     /* NULL: all rows have all depths          */
} Tile;

static unsigned lanes_of(const Tile *t, int j) {
  return j == t->vectors - 1 && t->halves & 1 ? t->c->lanes / 2 : t->c->lanes;
}
static LLVMTypeRef vector_of(const Tile *t, int j) {
  return LLVMVectorType(t->c->type, lanes_of(t, j));
}

static int64_t row_offset(const Tile *t, int64_t i) {
  if (t->period) return i / t->period * t->jump + i % t->period;
  return i * (t->pitch > 0 ? t->pitch : 1);
}

/* sum += a(one depth) * b(one depth), for those rows */
static void tile_step(const Tile *t, uint32_t rows, Val a, Val b, Val *sum) {
  const Con *c = t->c;
  Emit *e = c->e;
  Val x[2];
  for (int j = 0; j < t->vectors; j++)
    x[j] = load_lanes(e, c->type, lanes_of(t, j), con_at(c, b, i64_of(e, j * (int)c->lanes)), NULL,
                      (unsigned)c->bytes);
  for (int i = 0; i < t->height; i++) {
    if (!(rows >> i & 1)) continue;
    Val one = load_one(c, con_at(c, a, i64_of(e, row_offset(t, i))));
    for (int j = 0; j < t->vectors; j++) {
      Val *s = &sum[i * t->vectors + j], w = splat(e, one, lanes_of(t, j));
      *s = multiply_add(e, c->t, vector_of(t, j), w, x[j], *s);
    }
  }
}

/* a: where the rows of this depth are, or where their offset is. */
static Val rows_at(const Tile *t, Val a) {
  Emit *e = t->c->e;
  if (t->pitch != APART) return a;
  Val off = LLVMBuildLoad2(e->b, int_type(e, 32), a, "");
  return con_at(t->c, t->base, LLVMBuildSExt(e->b, off, int_type(e, 64), ""));
}

static Val next_rows(const Tile *t, Val a) {
  Emit *e = t->c->e;
  Val one = i64_of(e, 1);
  if (t->pitch != APART) return con_at(t->c, a, i64_of(e, t->pitch > 0 ? 1 : t->height));
  return LLVMBuildInBoundsGEP2(e->b, int_type(e, 32), a, &one, 1, "");
}

/* Asks for memory that a later tile reads. */
static void look_ahead(const Tile *t, Val k) {
  Emit *e = t->c->e;
  if (!t->step) return;
  LLVMTypeRef i32 = int_type(e, 32);
  Val off = mul(e, k, t->step);
  Val at = bytes_on(e, t->base, off);
  Val arg[4] = {at, LLVMConstInt(i32, 0, 0), LLVMConstInt(i32, 2, 0), LLVMConstInt(i32, 1, 0)};
  (void)emit_intrinsic(e, "llvm.prefetch", ptr_type(e), arg, 4);
}

typedef struct {
  Val k, a, b;
  Val sum[4 * BUSY + 2 * ROWS_MAX];
} Depth;

/* A loop over depths: what goes round in it, with so many sums. */
enum { GOES_ROUND = 3 + 4 * BUSY + 2 * ROWS_MAX };
typedef struct {
  int n, steps;
  Val to, in[GOES_ROUND], phi[GOES_ROUND];
  Block from, body, done;
} DepthLoop;

static void all_of(const Depth *d, int n, Val *v) {
  v[0] = d->k, v[1] = d->a, v[2] = d->b;
  for (int i = 3; i < n; i++) v[i] = d->sum[i - 3];
}

static void set_all(Depth *d, int n, const Val *v) {
  d->k = v[0], d->a = v[1], d->b = v[2];
  for (int i = 3; i < n; i++) d->sum[i - 3] = v[i];
}

/* Depths from d->k on, `steps` at a time, while so many are left below `to`. */
static void depth_begin(const Tile *t, int steps, int sums, Val to, Depth *d, DepthLoop *l) {
  Emit *e = t->c->e;
  *l = (DepthLoop){.n = 3 + sums, .steps = steps, .to = to, .from = LLVMGetInsertBlock(e->b)};
  l->body = new_block(e, "depth");
  l->done = new_block(e, "");
  all_of(d, l->n, l->in);
  Val room = at_most(e, add(e, d->k, i64_of(e, steps)), to);
  LLVMBuildCondBr(e->b, room, l->body, l->done);
  LLVMPositionBuilderAtEnd(e->b, l->body);
  for (int i = 0; i < l->n; i++) {
    l->phi[i] = LLVMBuildPhi(e->b, LLVMTypeOf(l->in[i]), "");
    LLVMAddIncoming(l->phi[i], &l->in[i], &l->from, 1);
  }
  set_all(d, l->n, l->phi);
}

static void depth_end(const Tile *t, Depth *d, DepthLoop *l) {
  Emit *e = t->c->e;
  Val now[GOES_ROUND], out[GOES_ROUND] = {0}, steps = i64_of(e, l->steps);
  Block last = LLVMGetInsertBlock(e->b);
  d->k = add(e, l->phi[0], steps);
  all_of(d, l->n, now);
  Val again = at_most(e, add(e, d->k, steps), l->to);
  LLVMBuildCondBr(e->b, again, l->body, l->done);
  for (int i = 0; i < l->n; i++) LLVMAddIncoming(l->phi[i], &now[i], &last, 1);
  LLVMPositionBuilderAtEnd(e->b, l->done);
  for (int i = 0; i < l->n; i++) {
    out[i] = LLVMBuildPhi(e->b, LLVMTypeOf(l->in[i]), "");
    LLVMAddIncoming(out[i], (Val[]){l->in[i], now[i]}, (Block[]){l->from, last}, 2);
  }
  set_all(d, l->n, out);
}

/* A loop over depths [d->k, to) in steps; sets sums of its own when it unrolls. */
static void depth_loop(const Tile *t, uint32_t rows, int steps, int sets, Val to, Depth *d) {
  const Con *c = t->c;
  Emit *e = c->e;
  DepthLoop l;
  depth_begin(t, steps, sets * t->n, to, d, &l);
  for (int s = 0; s < steps; s++) {
    look_ahead(t, add(e, d->k, i64_of(e, s)));
    tile_step(t, rows, rows_at(t, d->a), d->b, &d->sum[s % sets * t->n]);
    d->a = next_rows(t, d->a);
    d->b = con_at(c, d->b, t->stride);
  }
  depth_end(t, d, &l);
}

/* All depths, a row of taps (or all) at a time, each tap for its rows. */
static void edge_depths(const Tile *t, Depth *d) {
  const Edge *g = t->edge;
  Emit *e = t->c->e;
  DepthLoop l;
  depth_begin(t, (int)(g->taps * g->each), t->n, t->deep, d, &l);
  for (int i = 0; i < g->taps; i++) {
    int rows = __builtin_popcount(g->rows[i]), steps = (UNROLL - 1) / (rows * t->vectors + 1) + 1;
    while (g->each % steps) steps--;
    d->k = i64_of(e, 0);
    depth_loop(t, g->rows[i], steps, 1, i64_of(e, g->each), d);
  }
  depth_end(t, d, &l);
}

/* d->sum: what the sums start from; all sets but the first are set to zero here. */
static void all_depths(const Tile *t, Depth *d) {
  const Con *c = t->c;
  Emit *e = c->e;
  int sets = t->sets, steps = t->n >= UNROLL ? 1 : sets > 1 ? 2 * sets : (UNROLL - 1) / t->n + 1;
  d->k = i64_of(e, 0), d->a = t->a, d->b = t->b;
  if (t->edge) {
    edge_depths(t, d);
    return;
  }
  for (int i = t->n; i < sets * t->n; i++) d->sum[i] = LLVMConstNull(vector_of(t, i % t->vectors));
  depth_loop(t, ALL_ROWS, steps, sets, t->deep, d);
  for (int s = 1; s < sets; s++)
    for (int i = 0; i < t->n; i++) d->sum[i] = plus(e, c->t, d->sum[i], d->sum[s * t->n + i]);
  if (steps > 1) depth_loop(t, ALL_ROWS, 1, 1, t->deep, d);
}

static void tile_body(const Tile *t, Val sums, Val first) {
  const Con *c = t->c;
  Emit *e = c->e;
  Depth d;
  Val at[2 * ROWS_MAX], was[2 * ROWS_MAX];
  for (int i = 0; i < t->n; i++) {
    int off = i / t->vectors * 2 * (int)c->lanes + i % t->vectors * (int)c->lanes;
    at[i] = con_at(c, sums, i64_of(e, off));
  }
  Block old = new_block(e, "more"), start = new_block(e, ""), here = LLVMGetInsertBlock(e->b);
  LLVMBuildCondBr(e->b, first, start, old);
  LLVMPositionBuilderAtEnd(e->b, old);
  for (int i = 0; i < t->n; i++)
    was[i] = load_lanes(e, c->type, lanes_of(t, i % t->vectors), at[i], NULL, (unsigned)c->bytes);
  LLVMBuildBr(e->b, start);
  LLVMPositionBuilderAtEnd(e->b, start);
  for (int i = 0; i < t->n; i++) {
    LLVMTypeRef v = vector_of(t, i % t->vectors);
    d.sum[i] = LLVMBuildPhi(e->b, v, "");
    LLVMAddIncoming(d.sum[i], (Val[]){LLVMConstNull(v), was[i]}, (Block[]){here, old}, 2);
  }
  all_depths(t, &d);
  for (int i = 0; i < t->n; i++) store_lanes(e, d.sum[i], at[i], NULL, (unsigned)c->bytes);
  LLVMBuildRetVoid(e->b);
}

static int tile_halves(const Con *c, int64_t columns) {
  int64_t half = c->lanes / 2;
  if (c->lanes < 8) return columns <= (int64_t)c->lanes ? 2 : 4;
  return columns >= 4 * half ? 4 : (int)ceil_div(columns, half);
}

int tile_vectors(const Con *c, int64_t columns) { return (tile_halves(c, columns) + 1) / 2; }

unsigned tile_lanes(const Con *c, int64_t columns, int vector) {
  int halves = tile_halves(c, columns);
  return 2 * vector + 1 == halves ? c->lanes / 2 : c->lanes;
}

static Tile tile_of(const Con *c, const Tall *f, int halves) {
  int vectors = (halves + 1) / 2;
  return (Tile){.c = c,
                .height = f->height,
                .vectors = vectors,
                .n = f->height * vectors,
                .sets = f->sets,
                .halves = halves,
                .pitch = f->pitch,
                .period = f->period,
                .jump = f->jump,
                .edge = f->edge};
}

void tile_sums(const Con *c, const Tall *tall, Val a, Val b, Val deep, Val stride, Val base,
               Val *sum) {
  Tile t = tile_of(c, tall, tile_halves(c, tall->columns));
  t.a = a, t.b = b, t.deep = deep, t.stride = stride, t.base = base;
  Depth d;
  for (int i = 0; i < t.n; i++) d.sum[i] = LLVMConstNull(vector_of(&t, i % t.vectors));
  all_depths(&t, &d);
  for (int i = 0; i < t.n; i++) sum[i] = d.sum[i];
}

LLVMTypeRef tile_type(const Emit *e) {
  LLVMTypeRef p = ptr_type(e), i64 = int_type(e, 64);
  LLVMTypeRef arg[TILE_ARGS] = {p, p, p, i64, i64, int_type(e, 1), p, i64};
  return LLVMFunctionType(LLVMVoidTypeInContext(e->c), arg, TILE_ARGS, false);
}

Val shared_function(const Con *c, const char *name, LLVMTypeRef type, bool *fresh) {
  Emit *e = c->e;
  Val fn = LLVMGetNamedFunction(e->m, name);
  *fresh = !fn;
  if (fn) return fn;
  fn = own_function(e, name, type);
  if (e->cpu.wide) LLVMAddTargetDependentFunctionAttr(fn, "min-legal-vector-width", "512");
  return fn;
}

Con open_shared(const Con *c, Emit *in, Val fn) {
  Con own = *c;
  *in = *c->e;
  in->fn = fn;
  in->b = LLVMCreateBuilderInContext(in->c);
  in->entry = new_block(in, "entry");
  LLVMPositionBuilderAtEnd(in->b, in->entry);
  own.e = in;
  return own;
}

/* A name that says all that makes one tile differ from another. */
static void tile_name(const Con *c, const Tall *f, int halves, char *name, size_t room) {
  size_t n = (size_t)snprintf(name, room, "tile.%d.%d.%d.%u.%lld.%d.%lld.%lld", (int)c->t,
                              f->height, halves, c->lanes, (long long)f->pitch, f->sets,
                              (long long)f->period, (long long)f->jump);
  if (!f->edge) return;
  n += (size_t)snprintf(name + n, room - n, ".%lld", (long long)f->edge->each);
  for (int i = 0; i < f->edge->taps; i++)
    n += (size_t)snprintf(name + n, room - n, ".%x", (unsigned)f->edge->rows[i]);
}

static Val tile_function(const Con *c, const Tall *f, int halves) {
  char name[256];
  bool fresh;
  tile_name(c, f, halves, name, sizeof name);
  Val fn = shared_function(c, name, tile_type(c->e), &fresh);
  if (!fresh) return fn;
  Emit in;
  Con own = open_shared(c, &in, fn);
  Val arg[TILE_ARGS];
  LLVMGetParams(fn, arg);
  Tile t = tile_of(&own, f, halves);
  t.a = arg[0], t.b = arg[1], t.deep = arg[3], t.stride = arg[4], t.base = arg[6];
  /* One row reads memory as fast as it goes: asking for it twice takes 6 % longer. */
  if (f->pitch != APART && f->height > 1) t.step = arg[7];
  tile_body(&t, arg[2], arg[5]);
  LLVMDisposeBuilder(in.b);
  return fn;
}

Val tile_for(const Con *c, const Tall *f, int64_t n, Val columns) {
  Emit *e = c->e;
  int64_t width = 2 * (int64_t)c->lanes, rest = n < 0 ? 0 : n % width;
  int last = rest ? tile_halves(c, rest) : 4;
  if (n >= 0 && n < width) return tile_function(c, f, last);
  Val fn = tile_function(c, f, 4);
  if (n < 0) last = 2;
  if (last == 4) return fn;
  Val narrow = at_most(e, columns, i64_of(e, last * (int)c->lanes / 2));
  return choose(e, narrow, tile_function(c, f, last), fn);
}

/* ---- turning over ---------------------------------------------------------------------- */
LLVMTypeRef turn_type(const Emit *e) {
  LLVMTypeRef p = ptr_type(e), i64 = int_type(e, 64);
  LLVMTypeRef arg[6] = {p, i64, p, i64, i64, i64};
  return LLVMFunctionType(LLVMVoidTypeInContext(e->c), arg, 6, false);
}

static void turn_body(const Con *c) {
  Emit *e = c->e;
  Val arg[6];
  LLVMGetParams(e->fn, arg);
  unsigned n = c->lanes;
  Val row[64], mask = lanes_below(e, n, arg[5]);
  for (unsigned i = 0; i < n; i++) {
    Val at = con_at(c, arg[0], mul(e, i64_of(e, i), arg[1]));
    row[i] = load_lanes(e, c->type, n, at, NULL, (unsigned)c->bytes);
  }
  transpose_rows(e, row, n);
  Block done = new_block(e, "");
  for (unsigned i = 0; i < n; i++) {
    Block next = new_block(e, "");
    LLVMBuildCondBr(e->b, less(e, i64_of(e, i), arg[4]), next, done);
    LLVMPositionBuilderAtEnd(e->b, next);
    Val at = con_at(c, arg[2], mul(e, i64_of(e, i), arg[3]));
    store_lanes(e, row[i], at, mask, (unsigned)c->bytes);
  }
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, done);
  LLVMBuildRetVoid(e->b);
}

Val turn_function(const Con *c) {
  char name[] = "turn.?.?";
  bool fresh;
  name[5] = (char)('a' + (int)c->t);
  name[7] = (char)('a' + (int)c->lanes);
  Val fn = shared_function(c, name, turn_type(c->e), &fresh);
  if (!fresh) return fn;
  Emit in;
  Con own = open_shared(c, &in, fn);
  turn_body(&own);
  LLVMDisposeBuilder(in.b);
  return fn;
}
