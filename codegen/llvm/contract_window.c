/* contract_window.c -- contractions whose depth is only the taps of a small window
 * (depthwise convolutions): no product worth packing for.
 *
 * Per channel the data is copied once into a plane with what stands outside it,
 * by vectors, columns that a stride keeps apart in planes of their own; of a large
 * one as many rows at a time as a block of outputs needs.  Then every tap of
 * every output is a plain load.  A block of output rows is kept in
 * registers, so that a row of the plane is loaded once for all the outputs it
 * reaches; taps are unrolled and their weights stay in registers.            */
#include "codegen/llvm/contract.h"

enum { MAX_TAPS = 50, MAX_BLOCK = 8, MAX_PER_CHANNEL = 4, MAX_STRIDE = 4 };

/* ---- is it one? --------------------------------------------------------------------- */
/* step and apart from the strides in memory, in units of the smaller. */
static bool read_way(const Con *c, KE f, Way *w) {
  int64_t q = 0, t = 0;
  if (w->out != KE_NONE && !load_stride(c->e, f, w->out, &q)) return false;
  if (w->tap != KE_NONE && !load_stride(c->e, f, w->tap, &t)) return false;
  if (w->out != KE_NONE && q <= 0) return false;
  if (w->tap != KE_NONE && t <= 0) return false;
  int64_t unit = q && (!t || q < t) ? q : t;
  if (unit == 0) return true;
  if (q % unit || t % unit) return false;
  if (q) w->step = q / unit;
  if (t) w->apart = t / unit;
  if (w->step > MAX_STRIDE || (w->step > 1 && w->apart > 1)) return false;
  return !q || !t || moves_as(c->e, f, w->out, w->step, w->tap, w->apart);
}

/* The channels, and the taps: the reduced axes longer than 1, at most two. */
static bool read_taps(const Con *c, bool channels, Window *w) {
  int n = 0;
  for (int i = c->red.n; i-- > 0;) {
    int64_t ext;
    uint32_t var = c->red.axis[i].var;
    if (!val_known(c->red.axis[i].n, &ext) || ext < 1) return false;
    if (ext == 1) continue;
    if (channels && w->channel == KE_NONE && stands_alone(c, var)) {
      w->channel = var;
      w->channels = ext;
      continue;
    }
    if (n == 2) return false;
    Way *way = n++ ? &w->down : &w->across;
    way->tap = var;
    way->taps = ext;
  }
  int64_t taps = w->down.taps * w->across.taps;
  return taps >= 2 && taps <= MAX_TAPS;
}

static bool read_outputs(const Con *c, Window *w) {
  const Set *s = &c->side[w->data];
  Way *way[2] = {&w->across, &w->down};
  for (int i = 0; i < 2 && i < s->n; i++) {
    const Axis *a = &s->axis[s->n - 1 - i];
    way[i]->out = a->var;
    if (!val_known(a->n, &way[i]->n)) return false;
  }
  return s->n > 0 && w->across.n > 0 && w->down.n > 0;
}

/* Either of the taps may be the one across: try both. */
static bool read_ways(const Con *c, Window *w) {
  KE f = c->factor[w->data];
  if (read_way(c, f, &w->across) && read_way(c, f, &w->down)) return true;
  uint32_t tap = w->across.tap;
  int64_t taps = w->across.taps;
  w->across.tap = w->down.tap, w->across.taps = w->down.taps;
  w->down.tap = tap, w->down.taps = taps;
  return read_way(c, f, &w->across) && read_way(c, f, &w->down);
}

bool read_steps(Con *c, int data, bool channels, Window *w) {
  *w = (Window){.c = c, .data = data, .channel = KE_NONE, .channels = 1};
  w->down = w->across = (Way){KE_NONE, KE_NONE, 1, 1, 1, 1};
  return read_taps(c, channels, w) && read_outputs(c, w) && read_ways(c, w);
}

bool read_window(Con *c, int data, bool channels, Window *w) {
  int64_t along;
  if (!read_steps(c, data, channels, w)) return false;
  if (!load_stride(c->e, c->factor[data], w->across.out, &along) || along > MAX_STRIDE)
    return false;
  for (w->lanes = c->lanes; w->lanes > 4 && w->lanes / 2 >= w->across.n;) w->lanes /= 2;
  w->phases = w->across.step;
  w->rows = way_reach(&w->down);
  w->pitch = (way_reach(&w->across) + w->phases - 1) / w->phases;
  Lanes l = {c->e, w->lanes, w->across.out, NULL};
  return lanes_takes(&l, c->factor[data]);
}

static bool find_window(Con *c, Window *w) {
  int64_t m;
  const KStmt *s = &c->e->k->stmt[c->at];
  if (!val_known(c->side[ROWS].total, &m) || m < 1 || m > MAX_PER_CHANNEL) return false;
  if (!read_window(c, COLS, false, w)) return false;
  Lanes l = {c->e, w->lanes, w->across.out, NULL};
  return lanes_takes_body(&l, s->var, c->at + 1, s->end);
}

/* ---- the plane ------------------------------------------------------------------------ */
static int64_t round_to(int64_t x, int64_t by) { return (x + by - 1) / by * by; }

/* The positions that n outputs read. */
static int64_t reach_of(const Way *w, int64_t n) {
  return w->step * (n - 1) + w->apart * (w->taps - 1) + 1;
}

int64_t way_reach(const Way *w) { return reach_of(w, w->n); }

static void measure(Window *w) {
  const Con *c = w->c;
  int64_t shift = w->across.apart * (w->across.taps - 1) / w->across.step;
  w->pitch = round_to(round_to(w->across.n, w->lanes) + shift, w->lanes);
  int most = c->e->cpu.wide ? MAX_BLOCK : MAX_BLOCK / 2;
  w->block = w->down.n < most ? (int)w->down.n : most / 2;
  for (int b = most; b > 2; b--)
    if (w->down.n % b == 0) {
      w->block = b;
      break;
    }
  w->whole = w->phases * w->rows * w->pitch * c->bytes <= c->e->cpu.cache.first / 2;
  if (!w->whole) w->rows = reach_of(&w->down, w->block);
}

void set_index(Emit *e, uint32_t var, Val v) {
  if (var != KE_NONE) set_var(e, var, v);
}

/* Position `at` of a direction, which counts single steps. */
static void set_way(Emit *e, const Way *w, Val at) {
  Val zero = i64_of(e, 0);
  bool by_out = w->out != KE_NONE && w->step == 1;
  set_index(e, w->out, by_out ? at : zero);
  set_index(e, w->tap, by_out ? zero : at);
}

static Val data_in_type(const Window *w, const Lanes *l) {
  KE f = w->c->factor[w->data];
  return emit_cast(l->e, lanes_expr(l, f), (DType)l->e->k->node[f].dtype, w->c->t);
}

/* Columns of phase p: positions p, p + step ... below the reach. */
static int64_t phase_columns(const Window *w, int64_t p) {
  int64_t left = way_reach(&w->across) - p;
  return left > 0 ? (left - 1) / w->across.step + 1 : 0;
}

/* What stands in columns [j, j + lanes) of phase `phase`, row r; n columns count.  Behind
 * them is anything: nobody uses it. */
static void put_columns(const Window *w, Val x, int64_t phase, Val r, Val j, int64_t n) {
  const Con *c = w->c;
  Emit *e = c->e;
  Val row = add(e, r, i64_of(e, phase * w->rows)), mask = NULL;
  if (round_to(phase_columns(w, 0), w->lanes) > w->pitch)
    mask = lanes_below(e, w->lanes, sub(e, i64_of(e, n), j));
  Val at = con_at(c, w->plane, add(e, mul(e, row, i64_of(e, w->pitch)), j));
  store_lanes(e, x, at, mask, (unsigned)c->bytes);
}

/* Rows of the data: n from position `top`. */
typedef struct {
  Val top;
  int64_t n;
} Band;

/* One vector of columns from j, of the rows of phase p: column j of the phase is
 * what tap p of output j reads. */
static void copy_columns(const Window *w, Band band, int64_t p, Val j) {
  Emit *e = w->c->e;
  int64_t n = phase_columns(w, p);
  Lanes l = {e, w->lanes, w->across.out, lanes_below(e, w->lanes, sub(e, i64_of(e, n), j))};
  Loop r = loop_begin(e, i64_of(e, band.n));
  set_way(e, &w->down, add(e, band.top, r.i));
  set_index(e, w->across.tap, i64_of(e, p));
  set_index(e, w->across.out, j);
  put_columns(w, data_in_type(w, &l), p, r.i, j, n);
  loop_end(e, &r);
}

/* The same for both phases of a step of two: neighbours in memory, then apart. */
static void copy_pairs(const Window *w, Band band, Val j) {
  Emit *e = w->c->e;
  LLVMTypeRef i32 = int_type(e, 32);
  int64_t lanes = w->lanes, reach = way_reach(&w->across);
  Val x[2], pick[64], at[2];
  Lanes l[2];
  for (int i = 0; i < 2; i++) {
    at[i] = add(e, mul(e, j, i64_of(e, 2)), i64_of(e, i * lanes));
    Val left = sub(e, i64_of(e, reach), at[i]);
    l[i] = (Lanes){e, w->lanes, w->across.tap, lanes_below(e, w->lanes, left)};
  }
  Loop r = loop_begin(e, i64_of(e, band.n));
  set_way(e, &w->down, add(e, band.top, r.i));
  set_index(e, w->across.out, i64_of(e, 0));
  for (int i = 0; i < 2; i++) {
    set_index(e, w->across.tap, at[i]);
    x[i] = data_in_type(w, &l[i]);
  }
  for (int64_t p = 0; p < 2; p++) {
    for (int64_t i = 0; i < lanes; i++) pick[i] = LLVMConstInt(i32, (uint64_t)(2 * i + p), false);
    Val which = LLVMConstVector(pick, w->lanes);
    Val y = LLVMBuildShuffleVector(e->b, x[0], x[1], which, "");
    put_columns(w, y, p, r.i, j, phase_columns(w, p));
  }
  loop_end(e, &r);
}

static bool pairs(const Window *w) {
  const Con *c = w->c;
  int64_t along;
  Lanes l = {c->e, w->lanes, w->across.tap, NULL};
  return w->phases == 2 && w->across.tap != KE_NONE &&
         load_stride(c->e, c->factor[w->data], w->across.tap, &along) && along == 1 &&
         lanes_takes(&l, c->factor[w->data]);
}

static void copy_plane(const Window *w, Band band) {
  Emit *e = w->c->e;
  bool paired = pairs(w);
  for (int64_t p = 0; p < (paired ? 1 : w->phases); p++) {
    Loop j = loop_begin_step(e, i64_of(e, phase_columns(w, p)), w->lanes);
    if (paired)
      copy_pairs(w, band, j.i);
    else
      copy_columns(w, band, p, j.i);
    loop_end(e, &j);
  }
}

void copy_planes(const Window *w) {
  Emit *e = w->c->e;
  Window own = *w;
  Loop ch = loop_begin(e, i64_of(e, w->channels));
  set_index(e, w->channel, ch.i);
  own.plane = con_at(w->c, w->plane, mul(e, ch.i, i64_of(e, w->phases * w->rows * w->pitch)));
  copy_plane(&own, (Band){i64_of(e, 0), w->rows});
  loop_end(e, &ch);
}

/* ---- outputs ---------------------------------------------------------------------------- */
static Val multiply_add(const Con *c, Val x, Val y, Val z) {
  Emit *e = c->e;
  if (!dtype_is_float(c->t)) return add(e, mul(e, x, y), z);
  if (e->cpu.fma) return emit_intrinsic(e, "llvm.fma", LLVMTypeOf(x), (Val[]){x, y, z}, 3);
  return LLVMBuildFAdd(e->b, LLVMBuildFMul(e->b, x, y, ""), z, "");
}

/* The vector that tap (position row, tap t) gives outputs from column j on. */
static Val plane_at(const Window *w, Val row, int64_t off, int64_t t, Val j) {
  const Con *c = w->c;
  Emit *e = c->e;
  int64_t pos = w->across.apart * t, phase = pos % w->across.step, shift = pos / w->across.step;
  Val at = add(e, mul(e, row, i64_of(e, w->pitch)), j);
  at = add(e, at, i64_of(e, (off + phase * w->rows) * w->pitch + shift));
  return load_lanes(e, c->type, w->lanes, con_at(c, w->plane, at), NULL, (unsigned)c->bytes);
}

/* n output rows from `row`, one vector of columns from j; mask may be NULL.  first: the row of
 * the plane that they begin with. */
static void outputs(const Window *w, const Val *weight, int n, Val row, Val first, Val j,
                    Val mask) {
  const Con *c = w->c;
  Emit *e = c->e;
  const KStmt *s = &e->k->stmt[c->at];
  Val sum[MAX_BLOCK];
  int64_t step = w->down.step, apart = w->down.apart;
  for (int i = 0; i < n; i++) sum[i] = LLVMConstNull(LLVMVectorType(c->type, w->lanes));
  for (int64_t r = 0; r <= step * (n - 1) + apart * (w->down.taps - 1); r++)
    for (int64_t t = 0; t < w->across.taps; t++) {
      Val x = NULL;
      for (int i = 0; i < n; i++) {
        int64_t tap = r - step * i;
        if (tap < 0 || tap % apart || tap / apart >= w->down.taps) continue;
        if (!x) x = plane_at(w, first, r, t, j);
        sum[i] = multiply_add(c, weight[tap / apart * w->across.taps + t], x, sum[i]);
      }
    }
  for (int i = 0; i < n; i++) {
    Lanes l = {e, w->lanes, w->across.out, mask};
    set_index(e, w->down.out, add(e, row, i64_of(e, i)));
    set_index(e, w->across.out, j);
    set_var(e, s->var, emit_round_half(e, (DType)s->dtype, sum[i]));
    lanes_body(&l, s->var, c->at + 1, s->end);
  }
}

static void rows_of_outputs(const Window *w, const Val *weight, int n, Val row) {
  Emit *e = w->c->e;
  int64_t full = w->across.n / w->lanes * w->lanes;
  Val first = w->whole ? mul(e, row, i64_of(e, w->down.step)) : i64_of(e, 0);
  if (!w->whole) copy_plane(w, (Band){mul(e, row, i64_of(e, w->down.step)), reach_of(&w->down, n)});
  if (full > 0) {
    Loop j = loop_begin_step(e, i64_of(e, full), w->lanes);
    outputs(w, weight, n, row, first, j.i, NULL);
    loop_end(e, &j);
  }
  if (full < w->across.n) {
    Val left = i64_of(e, w->across.n - full);
    outputs(w, weight, n, row, first, i64_of(e, full), lanes_below(e, w->lanes, left));
  }
}

static void read_weights(const Window *w, Val *weight) {
  const Con *c = w->c;
  Emit *e = c->e;
  KE f = c->factor[ROWS];
  for (int64_t i = 0; i < w->down.taps * w->across.taps; i++) {
    set_index(e, w->down.tap, i64_of(e, i / w->across.taps));
    set_index(e, w->across.tap, i64_of(e, i % w->across.taps));
    Val x = emit_cast(e, emit_expr(e, f), (DType)e->k->node[f].dtype, c->t);
    weight[i] = splat(e, x, w->lanes);
  }
}

static void channel(const Window *w) {
  const Con *c = w->c;
  Emit *e = c->e;
  Val weight[MAX_TAPS];
  int64_t blocks = w->down.n / w->block * w->block;
  for (int i = 0; i < c->side[ROWS].n; i++) set_var(e, c->side[ROWS].axis[i].var, i64_of(e, 0));
  if (w->whole) copy_plane(w, (Band){i64_of(e, 0), w->rows});
  Loop m = loop_begin(e, c->side[ROWS].total);
  set_at(e, &c->side[ROWS], m.i);
  read_weights(w, weight);
  if (blocks > 0) {
    Loop r = loop_begin_step(e, i64_of(e, blocks), w->block);
    rows_of_outputs(w, weight, w->block, r.i);
    loop_end(e, &r);
  }
  if (blocks < w->down.n) {
    Loop r = loop_begin(e, i64_of(e, w->down.n - blocks));
    rows_of_outputs(w, weight, 1, add(e, r.i, i64_of(e, blocks)));
    loop_end(e, &r);
  }
  loop_end(e, &m);
}

/* ---- the whole ---------------------------------------------------------------------------- */
static Val take_plane(const Window *w) {
  Emit *e = w->c->e;
  int64_t bytes = w->phases * w->rows * w->pitch * w->c->bytes + 64;
  Val arg[2] = {e->state, i64_of(e, bytes)};
  Val at = emit_call(e, "rvm.scratch", ptr_type(e), arg, 2, false);
  fail_unless(e, LLVMBuildIsNotNull(e->b, at, ""), K_NO_MEMORY, 0);
  return at;
}

/* One channel: all its images (axes of the columns before the window's). */
static bool channel_function(Window *w, Sub *s) {
  Con in;
  const Con *c = w->c;
  LLVMTypeRef p = ptr_type(c->e);
  Loop l[K_MAX_LOOPS];
  if (!sub_begin(c, &in, s, "window", &p, 1)) return false;
  Window own = *w;
  own.c = &in;
  own.plane = sub_arg(s, 0);
  for (int i = 0; i < in.red.n; i++) set_var(in.e, in.red.axis[i].var, i64_of(in.e, 0));
  int n = in.side[COLS].n - 2;
  for (int i = 0; i < n; i++) {
    l[i] = loop_begin(in.e, in.side[COLS].axis[i].n);
    set_var(in.e, in.side[COLS].axis[i].var, l[i].i);
  }
  channel(&own);
  for (int i = n; i-- > 0;) loop_end(in.e, &l[i]);
  sub_end(c, &in, s);
  return true;
}

/* With certain extents: are the taps taken in the order of the depth in general? */
static bool order_kept(const Window *w) {
  Con c = *w->c;
  uint32_t last = KE_NONE;
  if (!c.e->fixed) return true;
  join_sets(&c);
  for (int i = 0; i < c.red.n; i++)
    if (known_or(c.red.axis[i].n, 0) != 1) last = c.red.axis[i].var;
  return last == w->across.tap;
}

bool window_contract(Con *c) {
  Window w;
  Sub s;
  Loop l[K_MAX_LOOPS];
  Emit *e = c->e;
  bool found = find_window(c, &w) && order_kept(&w);
  if (!found) {
    swap_sides(c);
    found = find_window(c, &w) && order_kept(&w);
    if (!found) swap_sides(c);
  }
  if (!found) return false;
  measure(&w);
  if (!channel_function(&w, &s)) return false;
  Val plane = take_plane(&w), one = i64_of(e, 1);
  Part once = c->batch.n ? (Part){i64_of(e, 0), one, NULL} : emit_part(e, c->at, one);
  Loop only = loop_begin(e, sub(e, once.to, once.from));
  c->split_batch = true;
  open_batch(c, l);
  return_failure(e, sub_call(c, &s, &plane, 1));
  close_batch(c, l);
  c->split_batch = false;
  loop_end(e, &only);
  return true;
}
