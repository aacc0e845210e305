/* contract_pack.c -- panels of a factor, with any expression evaluated on the way.
 *
 * Three ways, by what moves through memory by one element: the panel's own
 * variable (vectors are stored as they come), the depth (squares of vectors are
 * turned over), or neither (one element at a time; also expressions that cannot
 * be taken in lanes).  Lanes behind the last row or column are zeros.        */
#include "codegen/llvm/contract.h"

typedef struct {
  Con *c;
  int side;
  Val base, width, from, w;
} Panel;

static Lanes over(const Con *c, uint32_t var, Val mask) {
  return (Lanes){c->e, c->lanes, var, mask};
}

static uint32_t last_var(const Set *s) { return s->n ? s->axis[s->n - 1].var : KE_NONE; }

static Val in_type(const Con *c, int side, Val v) {
  return emit_cast(c->e, v, (DType)c->e->k->node[c->factor[side]].dtype, c->t);
}

/* Loops over the axes [0, n) of a set; *flat is the position, 0 for none. */
static void open_axes(Emit *e, const Set *s, int n, Loop *l, Val *flat) {
  *flat = i64_of(e, 0);
  for (int i = 0; i < n; i++) {
    l[i] = loop_begin(e, s->axis[i].n);
    set_var(e, s->axis[i].var, l[i].i);
    *flat = add(e, mul(e, *flat, s->axis[i].n), l[i].i);
  }
}

static void close_axes(Emit *e, int n, Loop *l) {
  while (n > 0) loop_end(e, &l[--n]);
}

/* ---- along the panel ---------------------------------------------------------------- */
static void pack_along(const Panel *p) {
  const Con *c = p->c;
  Emit *e = c->e;
  const Set *s = &c->pack[p->side], *depth = &c->depth[p->side];
  Loop l[K_MAX_LOOPS];
  Val k;
  Runs r = runs_begin(e, s, p->from, p->w);
  Loop v = loop_begin_step(e, r.len, c->lanes);
  Val mask = lanes_below(e, c->lanes, sub(e, r.len, v.i));
  set_var(e, last_var(s), add(e, r.first, v.i));
  Val to = con_at(c, p->base, add(e, r.pos, v.i));
  open_axes(e, depth, depth->n, l, &k);
  Lanes lanes = over(c, last_var(s), mask);
  Val x = in_type(c, p->side, lanes_expr(&lanes, c->factor[p->side]));
  store_lanes(e, x, con_at(c, to, mul(e, k, p->width)), mask, (unsigned)c->bytes);
  close_axes(e, depth->n, l);
  loop_end(e, &v);
  runs_end(e, &r);
}

/* ---- along the depth ------------------------------------------------------------------ */
static Val square(const Con *c) {
  unsigned n = c->lanes * c->lanes;
  Val s = new_slot(c->e, LLVMArrayType2(c->type, n));
  LLVMSetAlignment(s, 64);
  return s;
}

/* Rows [j, j + lanes) of the panel: all depths, in squares. */
static void pack_group(const Panel *p, Val room, Val j) {
  const Con *c = p->c;
  Emit *e = c->e;
  const Set *s = &c->pack[p->side], *depth = &c->depth[p->side];
  Loop l[K_MAX_LOOPS];
  Val k, one = i64_of(e, c->lanes);
  Val n = i64_min(e, sub(e, p->w, j), one), wide = i64_min(e, sub(e, p->width, j), one);
  const Axis *last = &depth->axis[depth->n - 1];
  LLVMBuildMemSet(e->b, room, LLVMConstInt(int_type(e, 8), 0, 0),
                  i64_of(e, c->lanes * c->lanes * (unsigned)c->bytes), 64);
  open_axes(e, depth, depth->n - 1, l, &k);
  Loop q = loop_begin_step(e, last->n, c->lanes);
  Val left = sub(e, last->n, q.i), mask = lanes_below(e, c->lanes, left);
  set_var(e, last->var, q.i);
  Loop i = loop_begin(e, n);
  set_at(e, s, add(e, p->from, add(e, j, i.i)));
  Lanes lanes = over(c, last->var, mask);
  Val x = in_type(c, p->side, lanes_expr(&lanes, c->factor[p->side]));
  store_lanes(e, x, con_at(c, room, mul(e, i.i, one)), NULL, (unsigned)c->bytes);
  loop_end(e, &i);
  Val at = add(e, mul(e, add(e, mul(e, k, last->n), q.i), p->width), j);
  Val arg[6] = {room, one, con_at(c, p->base, at), p->width, i64_min(e, left, one), wide};
  LLVMBuildCall2(e->b, turn_type(e), turn_function(c), arg, 6, "");
  loop_end(e, &q);
  close_axes(e, depth->n - 1, l);
}

static void pack_turned(const Panel *p) {
  Emit *e = p->c->e;
  Val room = square(p->c);
  Loop j = loop_begin_step(e, p->width, p->c->lanes);
  pack_group(p, room, j.i);
  loop_end(e, &j);
}

/* ---- one by one ------------------------------------------------------------------------- */
static void put(const Con *c, Val at, Val v) {
  LLVMSetAlignment(LLVMBuildStore(c->e->b, v, at), (unsigned)c->bytes);
}

static void pack_single(const Panel *p) {
  const Con *c = p->c;
  Emit *e = c->e;
  const Set *s = &c->pack[p->side], *depth = &c->depth[p->side];
  Loop l[K_MAX_LOOPS], j = loop_begin(e, p->w);
  Val k;
  set_at(e, s, add(e, p->from, j.i));
  open_axes(e, depth, depth->n, l, &k);
  Val to = con_at(c, p->base, add(e, mul(e, k, p->width), j.i));
  put(c, to, in_type(c, p->side, emit_expr(e, c->factor[p->side])));
  close_axes(e, depth->n, l);
  loop_end(e, &j);
}

static void fill_behind(const Panel *p) {
  const Con *c = p->c;
  Emit *e = c->e;
  Val full = equal(e, p->w, p->width);
  Loop k = loop_begin(e, choose(e, full, i64_of(e, 0), c->red.total));
  Loop j = loop_begin(e, sub(e, p->width, p->w));
  put(c, con_at(c, p->base, add(e, add(e, mul(e, k.i, p->width), p->w), j.i)),
      LLVMConstNull(c->type));
  loop_end(e, &j);
  loop_end(e, &k);
}

/* ---- the choice ------------------------------------------------------------------------- */
bool pack_function(const Con *c, int side, Sub *s) {
  LLVMTypeRef i64 = int_type(c->e, 64), more[4] = {ptr_type(c->e), i64, i64, i64};
  Con in;
  int64_t along = 0, down = 0;
  if (!sub_begin(c, &in, s, side == ROWS ? "pack.rows" : "pack.cols", more, 4)) return false;
  Panel p = {&in, side, sub_arg(s, 0), sub_arg(s, 1), sub_arg(s, 2), sub_arg(s, 3)};
  Set *set = &in.pack[side], *depth = &in.depth[side];
  KE f = c->factor[side];
  bool a = set->n && load_stride(in.e, f, last_var(set), &along) && along >= 1 && along <= 4;
  bool d = depth->n && load_stride(in.e, f, last_var(depth), &down) && down == 1;
  Lanes la = over(&in, last_var(set), NULL), ld = over(&in, last_var(depth), NULL);
  if (a && (along == 1 || !d) && lanes_takes(&la, f)) {
    pack_along(&p);
    fill_behind(&p);
  } else if (d && lanes_takes(&ld, f)) {
    pack_turned(&p);
  } else {
    pack_single(&p);
    fill_behind(&p);
  }
  sub_end(c, &in, s);
  return true;
}

bool columns_in_place(const Con *c, Val *stride) {
  Emit *e = c->e;
  KE f = c->factor[COLS];
  const KNode *n = &e->k->node[f];
  const Set *s = &c->pack[COLS], *depth = &c->depth[COLS];
  int64_t along, inner, width = 2 * (int64_t)c->lanes;
  if (n->kind != KN_Load || (DType)n->dtype != c->t || depth->n != 1) return false;
  bool tiled = s->n == 2 && val_known(s->axis[1].n, &inner) && inner % width == 0;
  if (s->n != 1 && !tiled) return false;
  if (!load_stride(e, f, last_var(s), &along) || along != 1) return false;
  *stride = load_stride_value(e, f, last_var(depth));
  return *stride != NULL;
}

/* ---- a side of a nest --------------------------------------------------------------------- */
Val side_elements(const Nest *t, int side) {
  Emit *e = t->c->e;
  if (side == ROWS && t->exact) return mul(e, t->m, t->k);
  if (side == ROWS) return mul(e, mul(e, t->tiles, t->each), t->k);
  return mul(e, mul(e, t->panels, i64_of(e, 2 * (int)t->c->lanes)), t->k);
}

void nest_pack_tile(const Nest *t, Val tile, Val base) {
  Val rows = rows_of(t, tile);
  Val arg[4] = {base, height_of(t, rows), first_row(t, tile), rows};
  (void)sub_call(t->c, &t->pack[ROWS], arg, 4);
}

void nest_pack_panel(const Nest *t, Val panel, Val base) {
  Emit *e = t->c->e;
  Val width = i64_of(e, 2 * (int)t->c->lanes), from = mul(e, panel, width);
  Val arg[4] = {base, width, from, i64_min(e, sub(e, t->n, from), width)};
  (void)sub_call(t->c, &t->pack[COLS], arg, 4);
}

void pack_all(const Nest *t, int side, Val to) {
  const Con *c = t->c;
  Emit *e = c->e;
  Loop l[K_MAX_LOOPS];
  open_batch(c, l);
  Val base = con_at(c, to, mul(e, flat_batch(c), side_elements(t, side)));
  Loop i = loop_begin(e, side == ROWS ? t->tiles : t->panels);
  if (side == ROWS)
    nest_pack_tile(t, i.i, con_at(c, base, mul(e, first_row(t, i.i), t->k)));
  else
    nest_pack_panel(t, i.i,
                    con_at(c, base, mul(e, mul(e, i.i, i64_of(e, 2 * (int)c->lanes)), t->k)));
  loop_end(e, &i);
  close_batch(c, l);
}
