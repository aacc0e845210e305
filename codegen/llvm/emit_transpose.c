/* emit_transpose.c -- maps that read along one loop and write along the other, as a
 * transpose does: squares of vectors are read along the memory that is read,
 * transposed in registers, and written along the memory that is written.      */
#include "codegen/llvm/emit_stmt.h"
#include "codegen/llvm/lanes.h"

/* ---- squares in registers ------------------------------------------------------------ */
/* Blocks of d lanes change places between row i and row i + d. */
static void exchange(Emit *e, Val *row, unsigned i, unsigned d, unsigned n) {
  LLVMTypeRef i32 = int_type(e, 32);
  Val low[64], high[64], x = row[i], y = row[i + d];
  for (unsigned l = 0; l < n; l++) {
    low[l] = LLVMConstInt(i32, l & d ? n + l - d : l, false);
    high[l] = LLVMConstInt(i32, l & d ? n + l : l + d, false);
  }
  row[i] = LLVMBuildShuffleVector(e->b, x, y, LLVMConstVector(low, n), "");
  row[i + d] = LLVMBuildShuffleVector(e->b, x, y, LLVMConstVector(high, n), "");
}

void transpose_rows(Emit *e, Val *row, unsigned n) {
  for (unsigned d = n / 2; d > 0; d /= 2)
    for (unsigned i = 0; i < n; i++)
      if (!(i & d)) exchange(e, row, i, d, n);
}

/* ---- loops --------------------------------------------------------------------------- */
/* Parallel loops over u and, inside, v, with nothing but a store in them. */
typedef struct {
  uint32_t u, v;
  const KStmt *store;
  unsigned lanes;
} Transpose;

static Transpose transpose_at(const Emit *e, uint32_t at) {
  const KStmt *s = &e->k->stmt[at];
  Transpose t = {s[0].var, s[1].var, &s[2], 0};
  t.lanes = (unsigned)(e->cpu.vector_bytes / dtype_bytes((DType)e->k->buf[t.store->a].dtype));
  return t;
}

static bool is_wide(DType t) {
  return t == DT_f32 || t == DT_f64 || t == DT_i32 || t == DT_i64 || t == DT_u32 || t == DT_u64;
}

bool for_transposes(Emit *e, uint32_t at) {
  const KStmt *s = &e->k->stmt[at];
  int64_t read, write;
  if (s->end != at + 3 || s[1].kind != KS_For || s[2].kind != KS_Store) return false;
  for (int i = 0; i < 2; i++)
    if (s[i].op != K_PARALLEL || s[i].b != KE_NONE) return false;
  if (!is_wide((DType)e->k->buf[s[2].a].dtype)) return false;
  Transpose t = transpose_at(e, at);
  if (!store_stride(e, t.store, t.v, &write) || write != 1) return false;
  if (!load_stride(e, t.store->c, t.u, &read) || read != 1) return false;
  if (load_stride(e, t.store->c, t.v, &read) && (read == 0 || read == 1)) return false;
  Lanes l = {.e = e, .n = t.lanes, .var = t.u};
  return t.lanes > 1 && lanes_takes(&l, t.store->c);
}

static void square(Emit *e, const Transpose *t, Val u, Val v) {
  const KBuf *b = &e->k->buf[t->store->a];
  DType dt = (DType)b->dtype;
  Lanes l = {.e = e, .n = t->lanes, .var = t->u};
  Val row[64], index[K_MAX_RANK];
  set_var(e, t->u, u);
  for (unsigned i = 0; i < t->lanes; i++) {
    set_var(e, t->v, LLVMBuildNSWAdd(e->b, v, i64_of(e, i), ""));
    row[i] = to_memory(e, dt, lanes_expr(&l, t->store->c));
  }
  transpose_rows(e, row, t->lanes);
  set_var(e, t->v, v);
  for (unsigned i = 0; i < t->lanes; i++) {
    set_var(e, t->u, LLVMBuildNSWAdd(e->b, u, i64_of(e, i), ""));
    for (int j = 0; j < b->rank; j++)
      index[j] = emit_expr(e, e->k->pool[t->store->b + (uint32_t)j]);
    store_lanes(e, row[i], emit_address(e, t->store->a, index), NULL, (unsigned)dtype_bytes(dt));
  }
}

/* One by one: u of [from, to), v of [first, last). */
static void singly(Emit *e, const Transpose *t, Val from, Val to, Val first, Val last) {
  Loop u = loop_begin(e, LLVMBuildNSWSub(e->b, to, from, ""));
  set_var(e, t->u, LLVMBuildNSWAdd(e->b, from, u.i, ""));
  Loop v = loop_begin(e, LLVMBuildNSWSub(e->b, last, first, ""));
  set_var(e, t->v, LLVMBuildNSWAdd(e->b, first, v.i, ""));
  emit_store(e, t->store);
  loop_end(e, &v);
  loop_end(e, &u);
}

/* Of n: what whole squares hold. */
static Val in_squares(Emit *e, const Transpose *t, Val n) {
  return LLVMBuildAnd(e->b, n, i64_of(e, -(int64_t)t->lanes), "");
}

void emit_for_transposed(Emit *e, uint32_t at, uint32_t top, Val n) {
  Transpose t = transpose_at(e, at);
  Part p = emit_part(e, top, n);
  Val depth = emit_expr(e, e->k->stmt[at + 1].a), zero = i64_of(e, 0);
  Val wide = in_squares(e, &t, LLVMBuildNSWSub(e->b, p.to, p.from, ""));
  Val deep = in_squares(e, &t, depth), end = LLVMBuildNSWAdd(e->b, p.from, wide, "");
  Loop v = loop_begin_step(e, deep, t.lanes);
  Loop u = loop_begin_step(e, wide, t.lanes);
  square(e, &t, LLVMBuildNSWAdd(e->b, p.from, u.i, ""), v.i);
  loop_end(e, &u);
  loop_end(e, &v);
  singly(e, &t, p.from, end, deep, depth);
  singly(e, &t, end, p.to, zero, depth);
}
