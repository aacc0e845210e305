/* contract_ahead.c -- a row by a constant, and some of a product that waits, in one loop.
 *
 * The loads of the one fill the time in which the other multiplies.  The row's sums are
 * those of a tile of one row, in the same order.  The part of what waits is a block of
 * depths of each part of its rows, one after the other, so that its columns are still in
 * the first cache when the second part reads them, although what streams by would
 * replace them.                                                                        */
#include "codegen/llvm/contract.h"
#include "codegen/native/launch.h"

enum {
  SETS = 4,   /* of the row's partial sums: as a tile of one row has */
  EACH = 4,   /* depths of the row per depth of what waits           */
  BLOCK = 30, /* depths of what waits, per part                      */
  STEP = 8    /* depths of the row at a time in its own loop         */
};

bool works_ahead(const Nest *t) {
  const Con *c = t->c;
  int64_t k = known_or(t->k, 0);
  return c->t == DT_f32 && c->e->cpu.wide && 2 * c->lanes == AHEAD_WIDTH &&
         known_or(t->m, 0) == 1 && t->pitch && t->packed[COLS] && c->batch.n == 0 &&
         k > SETS_DEPTH && k <= block_depth(c) && known_or(t->n, 0) >= AHEAD_WORTH / k;
}

static Val field(Emit *e, Val base, size_t offset) {
  return bytes_on(e, base, i64_of(e, (int64_t)offset));
}
static Val field_value(Emit *e, LLVMTypeRef t, Val base, size_t offset) {
  return LLVMBuildLoad2(e->b, t, field(e, base, offset), "");
}

Val find_ahead(const Con *c) {
  Emit *e = c->e;
  Val ahead = field_value(e, ptr_type(e), e->state, offsetof(JitState, ahead));
  Block some = new_block(e, ""), next = new_block(e, "");
  LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, ahead, ""), next, some);
  LLVMPositionBuilderAtEnd(e->b, some);
  Tall tall = {.height = AHEAD_HEIGHT, .columns = AHEAD_WIDTH, .sets = 1};
  Val tile = tile_for(c, &tall, AHEAD_WIDTH, i64_of(e, AHEAD_WIDTH));
  LLVMBuildStore(e->b, tile, field(e, ahead, offsetof(Ahead, tile)));
  LLVMBuildBr(e->b, next);
  LLVMPositionBuilderAtEnd(e->b, next);
  return ahead;
}

Val ahead_waits(const Con *c, Val ahead, Val columns) {
  Emit *e = c->e;
  LLVMTypeRef i1 = int_type(e, 1);
  Block here = LLVMGetInsertBlock(e->b), look = new_block(e, ""), done = new_block(e, "");
  Val whole = equal(e, columns, i64_of(e, AHEAD_WIDTH));
  Val ask = LLVMBuildAnd(e->b, LLVMBuildIsNotNull(e->b, ahead, ""), whole, "");
  LLVMBuildCondBr(e->b, ask, look, done);
  LLVMPositionBuilderAtEnd(e->b, look);
  Val left = field_value(e, int_type(e, 64), ahead, offsetof(Ahead, left));
  Val some = greater(e, left, i64_of(e, 0));
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, done);
  Val phi = LLVMBuildPhi(e->b, i1, "");
  LLVMAddIncoming(phi, (Val[]){LLVMConstNull(i1), some}, (Block[]){here, look}, 2);
  return phi;
}

/* ---- the function ------------------------------------------------------------------------ */
/* What is known in it, and what goes round in its loops. */
typedef struct {
  const Con *c;
  Val row, columns, deep, stride; /* of the row; deep: whole steps           */
  Val ahead, its_rows, its_sums, parts, depth;
  LLVMTypeRef vec;
} Beside;
enum { SUMS = 2 * SETS, ITS = 2 * AHEAD_HEIGHT };

/* A loop whose values are kept in allocas, which LLVM makes registers of. */
typedef struct {
  Val k, at, sum[SUMS], its[ITS];
} Vars;

static Val get_var(const Beside *f, LLVMTypeRef t, Val slot) {
  return LLVMBuildLoad2(f->c->e->b, t, slot, "");
}
static Val get_i64(const Beside *f, Val slot) { return get_var(f, int_type(f->c->e, 64), slot); }
static void put(const Beside *f, Val v, Val slot) { LLVMBuildStore(f->c->e->b, v, slot); }

/* The j-th vector from base; mask: zeros where it is not set, or NULL. */
static Val vector_at(const Beside *f, Val base, int j, Val mask) {
  Emit *e = f->c->e;
  Val at = con_at(f->c, base, i64_of(e, j * (int)f->c->lanes));
  return load_lanes(e, f->c->type, f->c->lanes, at, mask, (unsigned)f->c->bytes);
}

static Val one_at(const Beside *f, Val base, int64_t i) {
  Emit *e = f->c->e;
  Val x = LLVMBuildLoad2(e->b, f->c->type, con_at(f->c, base, i64_of(e, i)), "");
  LLVMSetAlignment(x, (unsigned)f->c->bytes);
  return splat(e, x, f->c->lanes);
}

static void multiply_to(const Beside *f, Val x, Val y, Val slot) {
  Val arg[3] = {x, y, get_var(f, f->vec, slot)};
  put(f, emit_intrinsic(f->c->e, "llvm.fma", f->vec, arg, 3), slot);
}

/* One depth of the row, `ahead` of k, to partial sums of their own. */
static void row_depth(const Beside *f, const Vars *v, int64_t more) {
  const Con *c = f->c;
  Emit *e = c->e;
  Val k = add(e, get_i64(f, v->k), i64_of(e, more));
  Val x = one_at(f, con_at(c, f->row, k), 0), at = con_at(c, f->columns, mul(e, k, f->stride));
  for (int j = 0; j < 2; j++)
    multiply_to(f, x, vector_at(f, at, j, NULL), v->sum[more % SETS * 2 + j]);
}

static void more_depths(const Beside *f, const Vars *v, int64_t n) {
  Emit *e = f->c->e;
  put(f, add(e, get_i64(f, v->k), i64_of(e, n)), v->k);
}

/* EACH depths of the row around one depth of a part of what waits. */
static void both(const Beside *f, const Vars *v, Val rows, Val columns) {
  Val y[2] = {vector_at(f, columns, 0, NULL), vector_at(f, columns, 1, NULL)};
  enum { PER = AHEAD_HEIGHT / EACH };
  for (int u = 0; u < EACH; u++) {
    row_depth(f, v, u);
    for (int i = u * PER; i < (u + 1) * PER; i++)
      for (int j = 0; j < 2; j++) multiply_to(f, one_at(f, rows, i), y[j], v->its[2 * i + j]);
  }
  more_depths(f, v, EACH);
}

/* n depths of one part. */
static void one_part(const Beside *f, const Vars *v, Val part, Val n) {
  const Con *c = f->c;
  Emit *e = c->e;
  const int h = AHEAD_HEIGHT;
  Val at = get_i64(f, v->at);
  Val sums = con_at(c, f->its_sums, mul(e, part, i64_of(e, h * AHEAD_WIDTH)));
  Val off = mul(e, add(e, mul(e, part, f->depth), at), i64_of(e, h));
  Val rows = con_at(c, f->its_rows, off);
  Val columns = field_value(e, ptr_type(e), f->ahead, offsetof(Ahead, columns));
  columns = con_at(c, columns, mul(e, at, i64_of(e, AHEAD_WIDTH)));
  Val begun = splat(e, differ(e, at, i64_of(e, 0)), c->lanes);
  for (int i = 0; i < ITS; i++) put(f, vector_at(f, sums, i, begun), v->its[i]);
  Loop q = loop_begin(e, n);
  both(f, v, con_at(c, rows, mul(e, q.i, i64_of(e, h))),
       con_at(c, columns, mul(e, q.i, i64_of(e, AHEAD_WIDTH))));
  loop_end(e, &q);
  for (int i = 0; i < ITS; i++) {
    Val to = con_at(c, sums, i64_of(e, i * (int)c->lanes));
    store_lanes(e, get_var(f, f->vec, v->its[i]), to, NULL, (unsigned)c->bytes);
  }
}

/* After the last depth of a panel: the next one. */
static void next_panel(const Beside *f, const Vars *v) {
  Emit *e = f->c->e;
  Block done = new_block(e, "panel"), next = new_block(e, "");
  Val more = less(e, get_i64(f, v->at), f->depth);
  LLVMBuildCondBr(e->b, more, next, done);
  LLVMPositionBuilderAtEnd(e->b, done);
  (void)emit_call(e, "rvm.ahead_next", int_type(e, 64), (Val[]){f->ahead}, 1, false);
  put(f, i64_of(e, 0), v->at);
  LLVMBuildBr(e->b, next);
  LLVMPositionBuilderAtEnd(e->b, next);
}

/* Blocks of what waits, while there are depths of both for one. */
static void all_blocks(const Beside *f, const Vars *v) {
  Emit *e = f->c->e;
  Block head = new_block(e, "block"), body = new_block(e, ""), done = new_block(e, "");
  LLVMBuildBr(e->b, head);
  LLVMPositionBuilderAtEnd(e->b, head);
  Val n = i64_min(e, sub(e, f->depth, get_i64(f, v->at)), i64_of(e, BLOCK));
  Val takes = mul(e, mul(e, f->parts, n), i64_of(e, EACH));
  Val room = at_most(e, add(e, get_i64(f, v->k), takes), f->deep);
  Val left = field_value(e, int_type(e, 64), f->ahead, offsetof(Ahead, left));
  Val some = greater(e, left, i64_of(e, 0));
  LLVMBuildCondBr(e->b, LLVMBuildAnd(e->b, room, some, ""), body, done);
  LLVMPositionBuilderAtEnd(e->b, body);
  Loop part = loop_begin(e, f->parts);
  one_part(f, v, part.i, n);
  loop_end(e, &part);
  put(f, add(e, get_i64(f, v->at), n), v->at);
  next_panel(f, v);
  LLVMBuildBr(e->b, head);
  LLVMPositionBuilderAtEnd(e->b, done);
  put(f, get_i64(f, v->at), field(e, f->ahead, offsetof(Ahead, at)));
}

/* The row alone: whole steps, then the partial sums as one, then what is left. */
static void rest_of_row(const Beside *f, const Vars *v, Val depth, Val out) {
  const Con *c = f->c;
  Emit *e = c->e;
  Loop steps = loop_begin_step(e, sub(e, f->deep, get_i64(f, v->k)), EACH);
  for (int u = 0; u < EACH; u++) row_depth(f, v, u);
  more_depths(f, v, EACH);
  loop_end(e, &steps);
  for (int j = 0; j < 2; j++) {
    Val s = get_var(f, f->vec, v->sum[j]);
    for (int i = 1; i < SETS; i++)
      s = LLVMBuildFAdd(e->b, s, get_var(f, f->vec, v->sum[2 * i + j]), "");
    put(f, s, v->sum[j]);
  }
  Loop last = loop_begin(e, sub(e, depth, get_i64(f, v->k)));
  row_depth(f, v, 0);
  more_depths(f, v, 1);
  loop_end(e, &last);
  for (int j = 0; j < 2; j++) {
    Val to = con_at(c, out, i64_of(e, j * (int)c->lanes));
    store_lanes(e, get_var(f, f->vec, v->sum[j]), to, NULL, (unsigned)c->bytes);
  }
}

static Vars new_vars(const Beside *f) {
  Emit *e = f->c->e;
  Vars v = {.k = new_slot(e, int_type(e, 64)), .at = new_slot(e, int_type(e, 64))};
  put(f, i64_of(e, 0), v.k);
  put(f, field_value(e, int_type(e, 64), f->ahead, offsetof(Ahead, at)), v.at);
  for (int i = 0; i < SUMS; i++) put(f, LLVMConstNull(f->vec), v.sum[i] = new_slot(e, f->vec));
  for (int i = 0; i < ITS; i++) v.its[i] = new_slot(e, f->vec);
  return v;
}

static void beside_body(const Con *c, const Val *arg) {
  Emit *e = c->e;
  LLVMTypeRef p = ptr_type(e), i64 = int_type(e, 64);
  Beside f = {.c = c, .row = arg[0], .columns = arg[1], .stride = arg[4]};
  f.ahead = arg[5];
  f.vec = LLVMVectorType(c->type, c->lanes);
  f.deep = LLVMBuildAnd(e->b, arg[3], i64_of(e, -STEP), "");
  f.its_rows = field_value(e, p, f.ahead, offsetof(Ahead, rows));
  f.its_sums = field_value(e, p, f.ahead, offsetof(Ahead, sums));
  f.parts = field_value(e, i64, f.ahead, offsetof(Ahead, parts));
  f.depth = field_value(e, i64, f.ahead, offsetof(Ahead, depth));
  Vars v = new_vars(&f);
  all_blocks(&f, &v);
  rest_of_row(&f, &v, arg[3], arg[2]);
  LLVMBuildRetVoid(e->b);
}

static LLVMTypeRef beside_type(const Emit *e) {
  LLVMTypeRef p = ptr_type(e), i64 = int_type(e, 64), arg[6] = {p, p, p, i64, i64, p};
  return LLVMFunctionType(LLVMVoidTypeInContext(e->c), arg, 6, false);
}

static Val beside_function(const Con *c) {
  bool fresh;
  Val fn = shared_function(c, "beside", beside_type(c->e), &fresh), arg[6];
  if (!fresh) return fn;
  Emit in;
  Con own = open_shared(c, &in, fn);
  LLVMGetParams(fn, arg);
  Block start = new_block(&in, "start");
  LLVMPositionBuilderAtEnd(in.b, start);
  beside_body(&own, arg);
  LLVMPositionBuilderAtEnd(in.b, in.entry);
  LLVMBuildBr(in.b, start);
  LLVMDisposeBuilder(in.b);
  return fn;
}

void call_beside(const Con *c, Val ahead, Val row, Val columns, Val sum, Val depth, Val stride) {
  Emit *e = c->e;
  Val arg[6] = {row, columns, sum, depth, stride, ahead};
  LLVMBuildCall2(e->b, beside_type(e), beside_function(c), arg, 6, "");
}
