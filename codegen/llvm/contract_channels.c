/* contract_channels.c -- depthwise convolutions of channels that lie side by side
 * in memory: the channels are in the lanes.
 *
 * Every tap of an output is then a plain load of the data, whatever the stride,
 * and a store writes whole vectors.  A few neighbouring outputs of a row are kept
 * in registers, so that what they read in common is loaded once.  Nothing is
 * copied: rows of taps outside the data are left out by the bounds of a loop, and
 * columns when the code is made, which is why the outputs at the edges have code
 * of their own.  What is left out would multiply zero.                        */
#include "codegen/llvm/contract.h"

enum { AT_ONCE = 8, KEY = 250 }; /* outputs of a row; a kept form unlike those of tiles */

typedef struct {
  Window w;
  Source src;
  uint32_t channel; /* variable                                        */
  int64_t channels;
  Val weights; /* per vector of channels, per tap                 */
} Depthwise;

/* ---- is it one? ------------------------------------------------------------------------ */
static bool find_depthwise(Depthwise *p, Con *c, int data) {
  int64_t one;
  const KStmt *s = &c->e->k->stmt[c->at];
  if (c->batch.n != 1 || !dtype_is_float(c->t)) return false;
  if (c->e->fixed && c->e->k->n_syms) return false; /* general extents leave no term out */
  p->channel = c->batch.axis[0].var;
  if (!val_known(c->batch.axis[0].n, &p->channels) || 2 * p->channels < (int64_t)c->lanes)
    return false;
  if (!val_known(c->side[!data].total, &one) || one != 1) return false;
  if (!load_stride(c->e, c->factor[data], p->channel, &one) || one != 1) return false;
  if (!read_steps(c, data, false, &p->w) || !find_source(&p->w, &p->src)) return false;
  Lanes l = {c->e, c->lanes, p->channel, NULL};
  return lanes_takes_body(&l, s->var, c->at + 1, s->end);
}

/* ---- weights ----------------------------------------------------------------------------- */
static int64_t n_taps(const Depthwise *p) { return p->w.down.taps * p->w.across.taps; }

static int64_t weight_elements(const Depthwise *p) {
  int64_t lanes = p->w.c->lanes;
  return ceil_div(p->channels, lanes) * lanes * n_taps(p);
}

static void fill_weights(const void *ctx, Val to) {
  const Depthwise *p = ctx;
  const Con *c = p->w.c;
  Emit *e = c->e;
  int64_t lanes = c->lanes;
  KE f = c->factor[!p->w.data];
  Val bytes = i64_of(e, weight_elements(p) * c->bytes);
  LLVMBuildMemSet(e->b, to, LLVMConstInt(int_type(e, 8), 0, 0), bytes, 1);
  Loop g = loop_begin(e, i64_of(e, p->channels));
  set_var(e, p->channel, g.i);
  Val vector = LLVMBuildUDiv(e->b, g.i, i64_of(e, lanes), "");
  Val at = add(e, mul(e, vector, i64_of(e, (n_taps(p) - 1) * lanes)), g.i);
  for (int64_t t = 0; t < n_taps(p); t++) {
    set_index(e, p->w.down.tap, i64_of(e, t / p->w.across.taps));
    set_index(e, p->w.across.tap, i64_of(e, t % p->w.across.taps));
    Val x = emit_cast(e, emit_expr(e, f), (DType)e->k->node[f].dtype, c->t);
    Val room = LLVMBuildStore(e->b, x, con_at(c, to, add(e, at, i64_of(e, t * lanes))));
    LLVMSetAlignment(room, (unsigned)c->bytes);
  }
  loop_end(e, &g);
}

static void find_weights(Depthwise *p) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Kept f = {.key = (int64_t)c->at * 512 + KEY,
            .n = i64_of(e, p->channels),
            .k = i64_of(e, n_taps(p)),
            .bytes = i64_of(e, weight_elements(p) * c->bytes),
            .fill = fill_weights,
            .ctx = p};
  zero_all(c);
  p->weights = kept_or_made(c, !p->w.data, &f);
}

/* ---- outputs ------------------------------------------------------------------------------- */
/* Neighbours in a row: n outputs from `first`, whose position is `known` if it matters which
 * columns are outside the data, else -1. */
typedef struct {
  Val row, first, from, taps; /* taps [from, from + taps) of the rows are inside */
  int64_t known;
  int n;
} Span;

static Val moved(const Con *c, Val base, Val by) {
  return LLVMBuildGEP2(c->e->b, c->type, base, &by, 1, "");
}

static bool column_inside(const Depthwise *p, const Span *s, int64_t pos) {
  if (s->known < 0) return true;
  int64_t at = p->src.across.origin + p->src.across.per_out * s->known + pos;
  return at >= 0 && at < p->src.across.extent;
}

/* One row of taps: x at column 0 of the span, its weights. */
static void row_of_taps(const Depthwise *p, const Span *s, Val x, Val weight, Val mask, Val *sum) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  LLVMTypeRef v = LLVMVectorType(c->type, c->lanes);
  int64_t taps = p->w.across.taps, out = p->src.across.per_out, tap = p->src.across.per_tap;
  for (int64_t pos = 0; pos <= out * (s->n - 1) + tap * (taps - 1); pos++) {
    Val data = NULL;
    if (!column_inside(p, s, pos)) continue;
    for (int64_t i = 0; i < s->n; i++) {
      int64_t off = pos - i * out, t = tap ? off / tap : 0;
      if (off < 0 || off != t * tap || t >= taps) continue;
      Val at = moved(c, x, i64_of(e, pos * p->src.across.pitch));
      if (!data) data = load_lanes(e, c->type, c->lanes, at, mask, (unsigned)c->bytes);
      Val w = con_at(c, weight, i64_of(e, t * (int64_t)c->lanes));
      w = load_lanes(e, c->type, c->lanes, w, NULL, (unsigned)c->bytes);
      if (e->cpu.fma)
        sum[i] = emit_intrinsic(e, "llvm.fma", v, (Val[]){w, data, sum[i]}, 3);
      else
        sum[i] = LLVMBuildFAdd(e->b, LLVMBuildFMul(e->b, w, data, ""), sum[i], "");
    }
  }
}

/* One vector of channels from j. */
static void outputs(const Depthwise *p, const Span *s, Val j, Val mask) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  LLVMTypeRef v = LLVMVectorType(c->type, c->lanes);
  const KStmt *st = &e->k->stmt[c->at];
  const Walk *down = &p->src.down, *across = &p->src.across;
  Val sum[AT_ONCE], slot[AT_ONCE];
  set_var(e, p->channel, j);
  Val row = add(e, mul(e, s->row, i64_of(e, down->per_out)), i64_of(e, down->origin));
  Val col = add(e, mul(e, s->first, i64_of(e, across->per_out)), i64_of(e, across->origin));
  Val off = add(e, mul(e, row, i64_of(e, down->pitch)), mul(e, col, i64_of(e, across->pitch)));
  Val x = moved(c, source_start(c, &p->src), off),
      w = con_at(c, p->weights, mul(e, j, i64_of(e, n_taps(p))));
  for (int i = 0; i < s->n; i++) {
    slot[i] = new_slot(e, v);
    LLVMBuildStore(e->b, LLVMConstNull(v), slot[i]);
  }
  Loop t = loop_begin(e, s->taps);
  Val tap = add(e, s->from, t.i);
  Val line = moved(c, x, mul(e, tap, i64_of(e, down->per_tap * down->pitch)));
  Val weight = con_at(c, w, mul(e, tap, i64_of(e, p->w.across.taps * (int64_t)c->lanes)));
  for (int i = 0; i < s->n; i++) sum[i] = LLVMBuildLoad2(e->b, v, slot[i], "");
  row_of_taps(p, s, line, weight, mask, sum);
  for (int i = 0; i < s->n; i++) LLVMBuildStore(e->b, sum[i], slot[i]);
  loop_end(e, &t);
  for (int i = 0; i < s->n; i++) {
    Lanes l = {e, c->lanes, p->channel, mask};
    set_index(e, p->w.down.out, s->row);
    set_index(e, p->w.across.out, add(e, s->first, i64_of(e, i)));
    set_var(e, p->channel, j);
    set_var(e, st->var, LLVMBuildLoad2(e->b, v, slot[i], ""));
    lanes_body(&l, st->var, c->at + 1, st->end);
  }
}

static void all_channels(const Depthwise *p, const Span *s) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  int64_t lanes = c->lanes, full = p->channels / lanes * lanes;
  Loop j = loop_begin_step(e, i64_of(e, full), lanes);
  outputs(p, s, j.i, NULL);
  loop_end(e, &j);
  if (full < p->channels)
    outputs(p, s, i64_of(e, full), lanes_below(e, c->lanes, i64_of(e, p->channels - full)));
}

/* ---- rows ------------------------------------------------------------------------------------ */
/* The taps of the rows that output row s->row finds in the data. */
static void taps_inside(const Depthwise *p, Span *s) {
  Emit *e = p->w.c->e;
  const Walk *d = &p->src.down;
  Val first = add(e, mul(e, s->row, i64_of(e, d->per_out)), i64_of(e, d->origin));
  Val above = i64_of(e, 0), below = above;
  for (int64_t t = 0; t < p->w.down.taps; t++) {
    Val at = add(e, first, i64_of(e, d->per_tap * t));
    Val out = less(e, at, i64_of(e, 0));
    above = add(e, above, LLVMBuildZExt(e->b, out, int_type(e, 64), ""));
    out = at_least(e, at, i64_of(e, d->extent));
    below = add(e, below, LLVMBuildZExt(e->b, out, int_type(e, 64), ""));
  }
  s->from = above;
  s->taps = sub(e, i64_of(e, p->w.down.taps), add(e, above, below));
}

/* Do outputs [first, first + n) read only what is inside? */
static bool columns_inside(const Depthwise *p, int64_t first, int64_t n) {
  const Walk *a = &p->src.across;
  int64_t last = first + n - 1;
  return a->origin + a->per_out * first >= 0 &&
         a->origin + a->per_out * last + a->per_tap * (p->w.across.taps - 1) < a->extent;
}

static void row_of_outputs(const Depthwise *p, Val row) {
  Emit *e = p->w.c->e;
  int64_t n = p->w.across.n, each = ceil_div(n, ceil_div(n, AT_ONCE)), many;
  Span s = {.row = row};
  taps_inside(p, &s);
  for (int64_t at = 0; at < n; at += many * each) {
    many = 0;
    while (at + (many + 1) * each <= n && columns_inside(p, at + many * each, each)) many++;
    s.n = (int)(at + each <= n ? each : n - at);
    s.known = many ? -1 : at;
    if (!many) many = 1;
    Loop blocks = loop_begin(e, i64_of(e, many));
    s.first = add(e, i64_of(e, at), mul(e, blocks.i, i64_of(e, each)));
    all_channels(p, &s);
    loop_end(e, &blocks);
  }
}

/* ---- the whole ------------------------------------------------------------------------------- */
static void emit_depthwise(Depthwise *p) {
  const Con *c = p->w.c;
  Emit *e = c->e;
  Loop image[K_MAX_LOOPS];
  const Set *side = &c->side[p->w.data];
  int n = side->n > 2 ? side->n - 2 : 0;
  find_weights(p);
  Part part = emit_part(e, c->at, i64_of(e, p->w.down.n));
  for (int i = 0; i < n; i++) {
    image[i] = loop_begin(e, side->axis[i].n);
    set_var(e, side->axis[i].var, image[i].i);
  }
  Loop r = loop_begin(e, sub(e, part.to, part.from));
  row_of_outputs(p, add(e, part.from, r.i));
  loop_end(e, &r);
  for (int i = n; i-- > 0;) loop_end(e, &image[i]);
}

bool channels_contract(Con *c) {
  for (int data = 0; data < 2; data++) {
    Depthwise p = {.channels = 0};
    if (!find_depthwise(&p, c, data)) continue;
    emit_depthwise(&p);
    return true;
  }
  return false;
}
