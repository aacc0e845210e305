/* contract.c -- contractions as packed, register-tiled products.
 *
 * Parallel variables that both factors use are a batch; those of the factor
 * along which the result is contiguous are the columns, the others rows.  Each
 * set counts as one index.  Blocks of (ROWS, COLS, DEPTH) are packed into panels
 * -- of MR rows and of NV vectors of columns, the depth outermost -- with any
 * expression evaluated on the way and zeros behind the ends, so one tile
 * function serves every extent.  A tile stays in registers over a block of
 * depth and sums into scratch; the epilogue reads that, fused.  Small products,
 * and few rows times a factor that is contiguous along the depth, run as plain
 * loops instead: there packing costs more than it gives.                     */
#include "codegen/llvm/emit.h"

enum { MR = 6, ROWS = 86 * MR, COLS = 512, DEPTH = 512, FEW_ROWS = 8, SMALL = 4096 };

typedef struct {
  int n;
  uint32_t var[K_MAX_LOOPS];
  Val ext[K_MAX_LOOPS], total;
} Set;
typedef struct {
  Emit *e;
  DType t; /* of the sum: halves are f32     */
  LLVMTypeRef type;
  int bytes, lanes, nv;
  Set batch, side[2], red; /* side: rows, columns            */
  KE factor[2];
  Val panel[2], sum, ld, mr; /* sum: rows of ld                */
} Con;

static Val mul(Emit *e, Val x, Val y) { return LLVMBuildMul(e->b, x, y, ""); }
static Val add(Emit *e, Val x, Val y) { return LLVMBuildAdd(e->b, x, y, ""); }
static Val sub(Emit *e, Val x, Val y) { return LLVMBuildSub(e->b, x, y, ""); }
static Val less(Emit *e, Val x, Val y) { return LLVMBuildICmp(e->b, LLVMIntSLT, x, y, ""); }

/* ---- which variable is what ----------------------------------------------------------- */
static bool uses(Emit *e, KE root, uint32_t var) {
  uint32_t n = 0;
  bool found = false;
  e->epoch++;
  e->todo[n++] = root;
  e->seen[root] = e->epoch;
  while (n > 0 && !found) {
    KE at = e->todo[--n], o;
    found = e->k->node[at].kind == KN_Var && e->k->node[at].a == var;
    for (uint32_t i = 0; (o = kernel_operand(e->k, at, i)) != KE_NONE; i++)
      if (e->seen[o] != e->epoch) {
        e->seen[o] = e->epoch;
        e->todo[n++] = o;
      }
  }
  return found;
}

static void set_add(Set *s, Emit *e, uint32_t var, KE ext) {
  s->var[s->n] = var;
  s->ext[s->n++] = emit_expr(e, ext);
}

static void set_total(Set *s, Emit *e) {
  s->total = i64_of(e, 1);
  for (int i = 0; i < s->n; i++) s->total = mul(e, s->total, s->ext[i]);
}

/* The variable in the last dimension of the first store, or KE_NONE. */
static uint32_t store_var(const Kernel *k, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++) {
    const KStmt *s = &k->stmt[i];
    if (s->kind != KS_Store || k->buf[s->a].rank == 0) continue;
    const KNode *n = &k->node[k->pool[s->b + k->buf[s->a].rank - 1u]];
    return n->kind == KN_Var ? n->a : KE_NONE;
  }
  return KE_NONE;
}

/* Is e a load whose last index is the last variable of s? */
static bool runs_along(Emit *e, KE x, const Set *s) {
  const KNode *n = &e->k->node[x];
  while (n->kind == KN_Cast) n = &e->k->node[n->a];
  if ((n->kind != KN_Load && n->kind != KN_LoadOr) || n->rank == 0 || s->n == 0) return false;
  return uses(e, e->k->pool[n->b + n->rank - 1u], s->var[s->n - 1]);
}

static void classify(Con *c, const uint32_t *pair, uint32_t np, uint32_t along) {
  Emit *e = c->e;
  uint8_t used[K_MAX_LOOPS] = {0};
  uint8_t column = 2;
  for (uint32_t i = 0; i < np; i++) {
    used[i] =
        (uint8_t)(uses(e, c->factor[0], pair[2 * i]) + 2 * uses(e, c->factor[1], pair[2 * i]));
    if (pair[2 * i] == along && used[i] == 1) column = 1;
  }
  for (int last = 0; last < 2; last++) /* `along` is the innermost       */
    for (uint32_t i = 0; i < np; i++) {
      if ((pair[2 * i] == along) != last) continue;
      Set *s = used[i] == 0 || used[i] == 3 ? &c->batch : &c->side[used[i] == column];
      set_add(s, e, pair[2 * i], pair[2 * i + 1]);
    }
  if (column == 1) {
    KE t = c->factor[0];
    c->factor[0] = c->factor[1];
    c->factor[1] = t;
  }
}

/* ---- positions -------------------------------------------------------------------------- */
/* The variables of s at position `at` counted over all of them. */
static void set_at(Emit *e, const Set *s, Val at) {
  for (int i = s->n; i-- > 0;) {
    set_var(e, s->var[i], i ? LLVMBuildURem(e->b, at, s->ext[i], "") : at);
    if (i) at = LLVMBuildUDiv(e->b, at, s->ext[i], "");
  }
}

/* A loop over n positions from `from`, in runs along the last variable. */
typedef struct {
  Loop in;
  Val slot, pos, len, flat;
  Block head, exit;
} Runs;

static Runs runs_begin(Emit *e, const Set *s, Val from, Val n) {
  LLVMTypeRef i64 = int_type(e, 64);
  uint32_t last = s->var[s->n - 1];
  Runs r = {.slot = new_slot(e, i64), .head = new_block(e, "run"), .exit = new_block(e, "ran")};
  Block body = new_block(e, "");
  LLVMBuildStore(e->b, i64_of(e, 0), r.slot);
  LLVMBuildBr(e->b, r.head);
  LLVMPositionBuilderAtEnd(e->b, r.head);
  r.pos = LLVMBuildLoad2(e->b, i64, r.slot, "");
  LLVMBuildCondBr(e->b, less(e, r.pos, n), body, r.exit);
  LLVMPositionBuilderAtEnd(e->b, body);
  set_at(e, s, add(e, from, r.pos));
  Val first = e->var[last], left = sub(e, n, r.pos);
  r.len = s->n > 1 ? i64_min(e, sub(e, s->ext[s->n - 1], first), left) : left;
  r.in = loop_begin(e, r.len);
  set_var(e, last, LLVMBuildNSWAdd(e->b, first, r.in.i, ""));
  r.flat = LLVMBuildNSWAdd(e->b, r.pos, r.in.i, "");
  return r;
}

static void runs_end(Emit *e, Runs *r) {
  loop_end(e, &r->in);
  LLVMBuildStore(e->b, add(e, r->pos, r->len), r->slot);
  LLVMBuildBr(e->b, r->head);
  LLVMPositionBuilderAtEnd(e->b, r->exit);
}

/* ---- packing ------------------------------------------------------------------------------ */
static Val at_element(const Con *c, Val base, Val i) {
  return LLVMBuildInBoundsGEP2(c->e->b, c->type, base, &i, 1, "");
}

static void put(const Con *c, Val base, Val i, Val v) {
  LLVMSetAlignment(LLVMBuildStore(c->e->b, v, at_element(c, base, i)), (unsigned)c->bytes);
}

static Val factor_value(const Con *c, int side) {
  KE x = c->factor[side];
  return emit_cast(c->e, emit_expr(c->e, x), (DType)c->e->k->node[x].dtype, c->t);
}

/* One panel: element (k, j) at k * width + j, for kk depths from k0 and w lanes. */
static void pack_panel(const Con *c, int side, Val base, Val width, Val from, Val w, Val k0,
                       Val kk) {
  Emit *e = c->e;
  const Set *s = &c->side[side];
  if (s->n == 0 || runs_along(e, c->factor[side], &c->red)) {
    Loop j = loop_begin(e, w);
    set_at(e, s, add(e, from, j.i));
    Runs k = runs_begin(e, &c->red, k0, kk);
    put(c, base, add(e, mul(e, k.flat, width), j.i), factor_value(c, side));
    runs_end(e, &k);
    loop_end(e, &j);
  } else {
    Loop k = loop_begin(e, kk);
    set_at(e, &c->red, add(e, k0, k.i));
    Runs j = runs_begin(e, s, from, w);
    put(c, base, add(e, mul(e, k.i, width), j.flat), factor_value(c, side));
    runs_end(e, &j);
    loop_end(e, &k);
  }
  Val full = LLVMBuildICmp(e->b, LLVMIntEQ, w, width, "");
  Loop k = loop_begin(e, LLVMBuildSelect(e->b, full, i64_of(e, 0), kk, ""));
  Loop j = loop_begin(e, sub(e, width, w));
  put(c, base, add(e, add(e, mul(e, k.i, width), w), j.i), LLVMConstNull(c->type));
  loop_end(e, &j);
  loop_end(e, &k);
}

static void pack(const Con *c, int side, Val from, Val n, Val k0, Val kk) {
  Emit *e = c->e;
  int64_t step = side ? c->nv * c->lanes : MR;
  Val width = side ? i64_of(e, step) : c->mr;
  Loop p = loop_begin_step(e, n, step);
  Val w = i64_min(e, sub(e, n, p.i), width);
  pack_panel(c, side, at_element(c, c->panel[side], mul(e, p.i, kk)), width, add(e, from, p.i), w,
             k0, kk);
  loop_end(e, &p);
}

/* ---- tiles --------------------------------------------------------------------------------- */
static Val splat(Emit *e, Val x, LLVMTypeRef v) {
  LLVMTypeRef i32 = int_type(e, 32);
  Val one = LLVMBuildInsertElement(e->b, LLVMGetPoison(v), x, LLVMConstInt(i32, 0, 0), "");
  Val mask = LLVMConstNull(LLVMVectorType(i32, LLVMGetVectorSize(v)));
  return LLVMBuildShuffleVector(e->b, one, LLVMGetPoison(v), mask, "");
}

static Val multiply_add(Emit *e, DType t, LLVMTypeRef v, Val a, Val b, Val c) {
  if (!dtype_is_float(t)) return add(e, mul(e, a, b), c);
  if (e->cpu.fma) return emit_intrinsic(e, "llvm.fma", v, (Val[]){a, b, c}, 3);
  return LLVMBuildFAdd(e->b, LLVMBuildFMul(e->b, a, b, ""), c, "");
}

static Val load_small(const Con *c, LLVMTypeRef t, Val at) {
  Val v = LLVMBuildLoad2(c->e->b, t, at, "");
  LLVMSetAlignment(v, (unsigned)c->bytes);
  return v;
}

/* sum(mr, nv vectors) (+)= a(kk, mr) * b(kk, full width); arguments a, b, sum, kk,
 * ld, and whether this is the first block of depth. */
static void tile_body(Con *c, int mr, int nv) {
  Emit *e = c->e;
  LLVMTypeRef v = LLVMVectorType(c->type, (unsigned)c->lanes), i64 = int_type(e, 64);
  Val a = LLVMGetParam(e->fn, 0), b = LLVMGetParam(e->fn, 1), sum = LLVMGetParam(e->fn, 2);
  Val kk = LLVMGetParam(e->fn, 3), ld = LLVMGetParam(e->fn, 4), first = LLVMGetParam(e->fn, 5);
  Val acc[MR * 4], at[MR * 4], x[4], next[MR * 4];
  Block loop = new_block(e, "loop"), done = new_block(e, "done"), pre = e->entry;
  for (int i = 0; i < mr * nv; i++) {
    Val off = add(e, mul(e, i64_of(e, i / nv), ld), i64_of(e, i % nv * c->lanes));
    at[i] = at_element(c, sum, off);
    acc[i] = LLVMBuildSelect(e->b, first, LLVMConstNull(v), load_small(c, v, at[i]), "");
  }
  LLVMBuildBr(e->b, loop);
  LLVMPositionBuilderAtEnd(e->b, loop);
  Val k = LLVMBuildPhi(e->b, i64, "");
  for (int i = 0; i < mr * nv; i++) {
    Val phi = LLVMBuildPhi(e->b, v, "");
    LLVMAddIncoming(phi, &acc[i], &pre, 1);
    acc[i] = phi;
  }
  Val row = at_element(c, b, mul(e, k, i64_of(e, c->nv * c->lanes)));
  for (int j = 0; j < nv; j++) x[j] = load_small(c, v, at_element(c, row, i64_of(e, j * c->lanes)));
  for (int i = 0; i < mr; i++) {
    Val s =
        load_small(c, c->type, at_element(c, a, add(e, mul(e, k, i64_of(e, mr)), i64_of(e, i))));
    Val w = splat(e, s, v);
    for (int j = 0; j < nv; j++)
      next[i * nv + j] = multiply_add(e, c->t, v, w, x[j], acc[i * nv + j]);
  }
  Val k1 = add(e, k, i64_of(e, 1)), zero = i64_of(e, 0);
  LLVMBuildCondBr(e->b, less(e, k1, kk), loop, done);
  LLVMAddIncoming(k, (Val[]){zero, k1}, (Block[]){pre, loop}, 2);
  for (int i = 0; i < mr * nv; i++) LLVMAddIncoming(acc[i], &next[i], &loop, 1);
  LLVMPositionBuilderAtEnd(e->b, done);
  for (int i = 0; i < mr * nv; i++)
    LLVMSetAlignment(LLVMBuildStore(e->b, next[i], at[i]), (unsigned)c->bytes);
  LLVMBuildRetVoid(e->b);
}

static LLVMTypeRef tile_type(const Emit *e) {
  LLVMTypeRef p = ptr_type(e), i64 = int_type(e, 64);
  LLVMTypeRef arg[6] = {p, p, p, i64, i64, int_type(e, 1)};
  return LLVMFunctionType(LLVMVoidTypeInContext(e->c), arg, 6, false);
}

static Val tile_function(const Con *c, int mr, int nv) {
  char name[] = "tile.?.?.?";
  Emit in = *c->e;
  name[5] = (char)('a' + (int)c->t);
  name[7] = (char)('0' + mr);
  name[9] = (char)('0' + nv);
  Val fn = LLVMGetNamedFunction(in.m, name);
  if (fn) return fn;
  fn = LLVMAddFunction(in.m, name, tile_type(&in));
  LLVMSetLinkage(fn, LLVMInternalLinkage);
  unsigned kind = LLVMGetEnumAttributeKindForName("noinline", 8);
  LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                          LLVMCreateEnumAttribute(in.c, kind, 0));
  if (in.cpu.wide) LLVMAddTargetDependentFunctionAttr(fn, "prefer-vector-width", "512");
  if (in.cpu.wide) LLVMAddTargetDependentFunctionAttr(fn, "min-legal-vector-width", "512");
  in.fn = fn;
  in.b = LLVMCreateBuilderInContext(in.c);
  in.entry = new_block(&in, "entry");
  LLVMPositionBuilderAtEnd(in.b, in.entry);
  Con own = *c;
  own.e = &in;
  tile_body(&own, mr, nv);
  LLVMDisposeBuilder(in.b);
  return fn;
}

/* The tile function for w columns: as few vectors as hold them. */
static Val choose_tile(const Con *c, Val w) {
  Emit *e = c->e;
  Val fn[2];
  for (int few = 0; few < 2; few++) {
    int mr = few ? 1 : MR;
    fn[few] = tile_function(c, mr, c->nv);
    for (int nv = c->nv / 2; nv >= 1; nv /= 2) {
      Val fits = LLVMBuildICmp(e->b, LLVMIntSLE, w, i64_of(e, nv * c->lanes), "");
      fn[few] = LLVMBuildSelect(e->b, fits, tile_function(c, mr, nv), fn[few], "");
    }
  }
  Val one = LLVMBuildICmp(e->b, LLVMIntEQ, c->mr, i64_of(e, 1), "");
  return LLVMBuildSelect(e->b, one, fn[1], fn[0], "");
}

static void multiply(const Con *c, Val mm, Val nn, Val kk, Val first) {
  Emit *e = c->e;
  Loop j = loop_begin_step(e, nn, c->nv * c->lanes);
  Val fn = choose_tile(c, sub(e, nn, j.i));
  Val b = at_element(c, c->panel[1], mul(e, j.i, kk));
  Loop i = loop_begin_step(e, mm, MR);
  Val arg[6] = {at_element(c, c->panel[0], mul(e, i.i, kk)),
                b,
                at_element(c, c->sum, add(e, mul(e, i.i, c->ld), j.i)),
                kk,
                c->ld,
                first};
  LLVMBuildCall2(e->b, tile_type(e), fn, arg, 6, "");
  loop_end(e, &i);
  loop_end(e, &j);
}

/* ---- the whole --------------------------------------------------------------------------------
 */
static Val round_up(Emit *e, Val x, int64_t to) {
  Val n = LLVMBuildUDiv(e->b, add(e, x, i64_of(e, to - 1)), i64_of(e, to), "");
  return mul(e, n, i64_of(e, to));
}

static void take_scratch(Con *c) {
  Emit *e = c->e;
  Val mb = i64_min(e, round_up(e, c->side[0].total, MR), i64_of(e, ROWS));
  Val nb = i64_min(e, round_up(e, c->side[1].total, c->nv * c->lanes), i64_of(e, COLS));
  Val kb = i64_min(e, c->red.total, i64_of(e, DEPTH));
  Val a = round_up(e, mul(e, mb, kb), 64), b = round_up(e, mul(e, nb, kb), 64);
  Val all = add(e, add(e, a, b), mul(e, mb, nb));
  Val arg[2] = {e->state, add(e, mul(e, all, i64_of(e, c->bytes)), i64_of(e, 64))};
  Val at = emit_call(e, "rvm.scratch", ptr_type(e), arg, 2, false);
  fail_unless(e, LLVMBuildIsNotNull(e->b, at, ""), K_NO_MEMORY, 0);
  Val off = LLVMBuildNeg(e->b, LLVMBuildPtrToInt(e->b, at, int_type(e, 64), ""), "");
  off = LLVMBuildAnd(e->b, off, i64_of(e, 63), "");
  c->panel[0] = LLVMBuildGEP2(e->b, int_type(e, 8), at, &off, 1, "");
  c->panel[1] = at_element(c, c->panel[0], a);
  c->sum = at_element(c, c->panel[1], b);
  c->ld = nb;
}

static void epilogue(const Con *c, uint32_t at, Val m0, Val mm, Val n0, Val nn) {
  Emit *e = c->e;
  const KStmt *s = &e->k->stmt[at];
  Loop i = loop_begin(e, mm);
  set_at(e, &c->side[0], add(e, m0, i.i));
  Val row = at_element(c, c->sum, mul(e, i.i, c->ld));
  Runs j = runs_begin(e, &c->side[1], n0, nn);
  Val v = load_small(c, c->type, at_element(c, row, j.flat));
  set_var(e, s->var, emit_round_half(e, (DType)s->dtype, v));
  emit_stmts(e, at + 1, s->end);
  runs_end(e, &j);
  loop_end(e, &i);
}

static void tiled(Con *c, uint32_t at) {
  Emit *e = c->e;
  Loop batch[K_MAX_LOOPS];
  take_scratch(c);
  for (int i = 0; i < c->batch.n; i++) {
    batch[i] = loop_begin(e, c->batch.ext[i]);
    set_var(e, c->batch.var[i], batch[i].i);
  }
  Loop n = loop_begin_step(e, c->side[1].total, COLS);
  Val nn = i64_min(e, sub(e, n.n, n.i), i64_of(e, COLS));
  Loop m = loop_begin_step(e, c->side[0].total, ROWS);
  Val mm = i64_min(e, sub(e, m.n, m.i), i64_of(e, ROWS));
  Loop k = loop_begin_step(e, c->red.total, DEPTH);
  Val kk = i64_min(e, sub(e, k.n, k.i), i64_of(e, DEPTH));
  pack(c, 1, n.i, nn, k.i, kk);
  pack(c, 0, m.i, mm, k.i, kk);
  multiply(c, mm, nn, kk, LLVMBuildICmp(e->b, LLVMIntEQ, k.i, i64_of(e, 0), ""));
  loop_end(e, &k);
  epilogue(c, at, m.i, mm, n.i, nn);
  loop_end(e, &m);
  loop_end(e, &n);
  for (int i = c->batch.n; i-- > 0;) loop_end(e, &batch[i]);
}

static bool sums_in_tiles(DType t) {
  return dtype_is_float(t) || t == DT_i32 || t == DT_i64 || t == DT_u32 || t == DT_u64;
}

/* Worth the packing?  Never when there is nothing to sum. */
static Val worth_it(const Con *c) {
  Emit *e = c->e;
  Val m = c->side[0].total, work = mul(e, mul(e, m, c->side[1].total), c->red.total);
  Val some = LLVMBuildICmp(e->b, LLVMIntSGT, c->red.total, i64_of(e, 0), "");
  some = LLVMBuildAnd(e->b, some, LLVMBuildICmp(e->b, LLVMIntSGE, work, i64_of(e, SMALL), ""), "");
  if (!runs_along(e, c->factor[1], &c->red)) return some;
  Val rows = LLVMBuildICmp(e->b, LLVMIntSGE, m, i64_of(e, FEW_ROWS), "");
  return LLVMBuildAnd(e->b, some, rows, "");
}

bool emit_contract(Emit *e, uint32_t at) {
  const KStmt *s = &e->k->stmt[at];
  const uint32_t *p = e->k->pool + s->b, np = p[0], *red = p + 1 + 2 * np, nr = red[0];
  DType t = (DType)s->dtype;
  if (!sums_in_tiles(t) || nr == 0 || np > K_MAX_LOOPS || nr > K_MAX_LOOPS) return false;
  Con c = {.e = e, .t = dtype_is_float(t) && t != DT_f64 ? DT_f32 : t};
  c.type = reg_type(e, c.t);
  c.bytes = dtype_bytes(c.t);
  c.lanes = e->cpu.vector_bytes / c.bytes;
  c.nv = e->cpu.wide ? 4 : 2;
  c.factor[0] = red[1 + 2 * nr];
  c.factor[1] = red[2 + 2 * nr];
  for (int i = 0; i < 2; i++) /* halves stay as they are in float32 */
    if ((DType)e->k->node[c.factor[i]].dtype != t) return false;
  classify(&c, p + 1, np, store_var(e->k, at + 1, s->end));
  if (c.side[1].n == 0) return false;
  for (uint32_t i = 0; i < nr; i++) set_add(&c.red, e, red[1 + 2 * i], red[2 + 2 * i]);
  set_total(&c.side[0], e);
  set_total(&c.side[1], e);
  set_total(&c.red, e);
  Val one = LLVMBuildICmp(e->b, LLVMIntEQ, c.side[0].total, i64_of(e, 1), "");
  c.mr = LLVMBuildSelect(e->b, one, i64_of(e, 1), i64_of(e, MR), "");
  Block yes = new_block(e, "tiled"), no = new_block(e, "plain"), done = new_block(e, "");
  LLVMBuildCondBr(e->b, worth_it(&c), yes, no);
  LLVMPositionBuilderAtEnd(e->b, yes);
  tiled(&c, at);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, no);
  emit_contract_plain(e, at);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, done);
  return true;
}
