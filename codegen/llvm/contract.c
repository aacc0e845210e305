/* contract.c -- contractions: what is a row and what a column, in which order the
 * depth is walked, which of the ways to take.  Small products run as plain loops. */
#include "codegen/llvm/contract.h"

enum {
  SMALL = 2048, /* multiplications that are not worth packing */
  FEW_ROWS = 3  /* not worth packing columns for, that lie along the depth */
};

/* ---- which variable is what ----------------------------------------------------------- */
bool expr_has(Emit *e, KE root, KNodeKind kind, uint32_t number) {
  uint32_t n = 0;
  bool found = false;
  e->epoch++;
  e->todo[n++] = root;
  e->seen[root] = e->epoch;
  while (n > 0 && !found) {
    KE at = e->todo[--n], o;
    const KNode *x = &e->k->node[at];
    found = x->kind == kind && (number == KE_NONE || x->a == number);
    for (uint32_t i = 0; (o = kernel_operand(e->k, at, i)) != KE_NONE; i++)
      if (e->seen[o] != e->epoch) {
        e->seen[o] = e->epoch;
        e->todo[n++] = o;
      }
  }
  return found;
}

bool expr_uses(Emit *e, KE root, uint32_t var) { return expr_has(e, root, KN_Var, var); }
bool uses_symbols(Emit *e, KE root) { return expr_has(e, root, KN_Sym, KE_NONE); }

bool set_symbols(Emit *e, const Set *s, int from, int to) {
  for (int i = from; i < to; i++)
    if (uses_symbols(e, s->axis[i].ext)) return true;
  return false;
}

static void classify(Con *c, const uint32_t *pair, uint32_t np) {
  for (uint32_t i = 0; i < np; i++) {
    bool a = expr_uses(c->e, c->factor[0], pair[2 * i]),
         b = expr_uses(c->e, c->factor[1], pair[2 * i]);
    Set *s = a == b ? &c->batch : &c->side[a ? ROWS : COLS];
    set_add(s, pair[2 * i], pair[2 * i + 1]);
  }
}

void swap_sides(Con *c) {
  KE f = c->factor[0];
  Set s = c->side[0];
  c->factor[0] = c->factor[1];
  c->factor[1] = f;
  c->side[0] = c->side[1];
  c->side[1] = s;
}

static bool join_factor(const Con *c, int side, uint32_t outer, uint32_t inner, int64_t extent) {
  return one_variable(c->e, c->factor[side], outer, inner, extent);
}

static bool join_out(const Con *c, int side, uint32_t outer, uint32_t inner, int64_t extent) {
  (void)side;
  return one_variable_body(c->e, c->at + 1, c->e->k->stmt[c->at].end, outer, inner, extent);
}

/* Is a reduced variable an index of its own in both factors, as channels are and
 * the taps of a window are not? */
bool stands_alone(const Con *c, uint32_t var) {
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < c->side[i].n; j++)
      if (shares_index(c->e, c->factor[i], var, c->side[i].axis[j].var)) return false;
  return true;
}

/* An extent as it is without knowing symbols: decisions about the order of sums are the same in a
 * version for certain extents. */
static int64_t general_extent(const Con *c, const Axis *a, int64_t unknown) {
  return uses_symbols(c->e, a->ext) ? unknown : known_or(a->n, unknown);
}

/* The reduced axis to go through innermost: the longest that stands alone, so that
 * what the taps of a window have in common is outside the loop over channels. */
static int innermost(const Con *c) {
  int best = c->red.n - 1;
  int64_t most = 0;
  for (int i = 0; i < c->red.n; i++) {
    int64_t n = general_extent(c, &c->red.axis[i], 1 << 20);
    if (n > 1 && n >= most && stands_alone(c, c->red.axis[i].var)) {
      best = i;
      most = n;
    }
  }
  return best;
}

/* Sides and depth as they can be walked. */
void join_sets(Con *c) {
  int first = innermost(c);
  Axis last = c->red.axis[first];
  for (int i = first; i + 1 < c->red.n; i++) c->red.axis[i] = c->red.axis[i + 1];
  c->red.axis[c->red.n - 1] = last;
  for (int i = 0; i < 2; i++) {
    c->pack[i] = set_joined(c, &c->side[i], join_factor, i);
    c->depth[i] = set_joined(c, &c->red, join_factor, i);
    c->out[i] = set_joined(c, &c->side[i], join_out, i);
  }
}

/* Variables from around the contraction that it uses. */
static bool add_outer(Con *c, uint32_t var) {
  for (int i = 0; i < c->n_outer; i++)
    if (c->outer[i] == var) return true;
  if (c->n_outer == MAX_OUTER) return false;
  c->outer[c->n_outer++] = var;
  return true;
}

static bool inner_var(const Con *c, uint32_t var) {
  const KStmt *s = &c->e->k->stmt[c->at];
  const Set *set[] = {&c->batch, &c->side[0], &c->side[1], &c->red};
  if (var == s->var) return true;
  for (uint32_t at = c->at + 1; at < s->end; at++)
    if (c->e->k->stmt[at].kind == KS_Let && c->e->k->stmt[at].var == var) return true;
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < set[i]->n; j++)
      if (set[i]->axis[j].var == var) return true;
  return false;
}

static bool find_outer(Con *c) {
  Emit *e = c->e;
  const KStmt *s = &e->k->stmt[c->at];
  KE x;
  for (uint32_t var = 0; var < e->k->n_vars; var++) {
    if (!e->var[var] || inner_var(c, var)) continue;
    bool used = expr_uses(e, c->factor[0], var) || expr_uses(e, c->factor[1], var);
    for (uint32_t at = c->at + 1; at < s->end; at++)
      for (uint32_t i = 0; (x = kernel_stmt_expr(e->k, at, i)) != KE_NONE; i++)
        used = used || expr_uses(e, x, var);
    if (used && !add_outer(c, var)) return false;
  }
  return true;
}

/* Lets, stores and checks only: what a tile's function may hold. */
static bool plain_body(const Con *c) {
  const KStmt *s = &c->e->k->stmt[c->at];
  for (uint32_t at = c->at + 1; at < s->end; at++) {
    uint8_t kind = c->e->k->stmt[at].kind;
    if (kind != KS_Let && kind != KS_Store && kind != KS_Check) return false;
  }
  return true;
}

/* ---- orientation ------------------------------------------------------------------------- */

/* About the time to bring an element of a side into panels: a constant has been there before;
 * columns that lie side by side are read where they are. */
static double packing(const Con *c, int side, bool in_lanes) {
  uint32_t buf;
  int64_t along;
  const Set *s = &c->pack[side];
  KE f = c->factor[side];
  if (constant_buffer(c, side, &buf)) return 0;
  bool lies = s->n == 1 && c->depth[side].n == 1 && c->e->k->node[f].kind == KN_Load &&
              load_stride(c->e, f, s->axis[0].var, &along) && along == 1;
  return in_lanes && lies ? 1 : 4;
}

/* About the time per multiplication, with side `cols` in the lanes. */
static double cost(const Con *c, int cols) {
  int64_t n[2], stride = 0, lanes = c->lanes;
  for (int i = 0; i < 2; i++) n[i] = known_or(c->side[i].total, 512);
  int64_t depth = known_or(c->red.total, 512), tall = n[!cols], wide = n[cols];
  if (tall < 1 || wide < 1 || depth < 1) return 1;
  double waste = (double)(ceil_div(wide, lanes) * lanes) / (double)wide;
  double few = tall >= 4 ? 1 : 4.0 / (double)tall; /* sums that wait for each other  */
  const Set *s = &c->out[cols];
  const KStmt *at = &c->e->k->stmt[c->at + 1], *end = &c->e->k->stmt[c->e->k->stmt[c->at].end];
  bool turned = true;
  for (; at < end; at++)
    if (at->kind == KS_Store && s->n > 0)
      turned &= !(store_stride(c->e, at, s->axis[s->n - 1].var, &stride) && stride == 1);
  return waste * few * (turned ? 1 + 8.0 / (double)depth : 1) +
         packing(c, cols, true) / (double)tall + packing(c, !cols, false) / (double)wide;
}

static void orient(Con *c) {
  bool none = c->side[COLS].n == 0;
  double as_is = cost(c, COLS), turned = cost(c, ROWS);
  if (none || (c->side[ROWS].n > 0 && turned < 0.97 * as_is)) {
    swap_sides(c);
    join_sets(c);
  }
}

/* ---- the whole ---------------------------------------------------------------------------- */
static bool sums_in_tiles(DType t) {
  return dtype_is_float(t) || t == DT_i32 || t == DT_i64 || t == DT_u32 || t == DT_u64;
}

/* Never when there is nothing to sum. */
static Val worth_it(const Con *c) {
  Emit *e = c->e;
  Val work = mul(e, mul(e, c->side[0].total, c->side[1].total), c->red.total);
  return at_least(e, work, i64_of(e, SMALL));
}

/* Are these a few rows times columns that lie along the depth, and are not packed for
 * good?  Plain loops are sums of products of neighbours then, and read them once. */
static Val only_sums(const Con *c) {
  Emit *e = c->e;
  int64_t m, down;
  uint32_t buf;
  const Set *d = &c->depth[COLS];
  Val no = LLVMConstNull(int_type(e, 1));
  if (val_known(c->side[ROWS].total, &m) && m > FEW_ROWS) return no;
  if (d->n != 1 || !load_stride(e, c->factor[COLS], d->axis[0].var, &down) || down != 1) return no;
  if (!load_stride(e, c->factor[ROWS], d->axis[0].var, &down) || down != 1) return no;
  Val few = at_most(e, c->side[ROWS].total, i64_of(e, FEW_ROWS));
  if (!constant_buffer(c, COLS, &buf)) return few;
  Val arg[2] = {e->state, e->buf[buf]}, constant;
  constant = emit_call(e, "rvm.is_constant", int_type(e, 64), arg, 2, false);
  return LLVMBuildAnd(e->b, few, LLVMBuildIsNull(e->b, constant, ""), "");
}

static bool describe(Con *c) {
  Emit *e = c->e;
  const KStmt *s = &e->k->stmt[c->at];
  const uint32_t *p = e->k->pool + s->b, np = p[0], *red = p + 1 + 2 * np, nr = red[0];
  DType t = (DType)s->dtype;
  if (!sums_in_tiles(t) || nr == 0 || np > K_MAX_LOOPS || nr > K_MAX_LOOPS) return false;
  c->t = dtype_is_float(t) && t != DT_f64 ? DT_f32 : t;
  c->type = reg_type(e, c->t);
  c->bytes = dtype_bytes(c->t);
  c->lanes = (unsigned)(e->cpu.vector_bytes / c->bytes);
  c->rows_max = e->cpu.wide ? ROWS_MAX : 6;
  for (int i = 0; i < 2; i++) { /* halves stay as they are in float32 */
    c->factor[i] = red[1 + 2 * nr + (uint32_t)i];
    if ((DType)e->k->node[c->factor[i]].dtype != t) return false;
  }
  classify(c, p + 1, np);
  for (uint32_t i = 0; i < nr; i++) set_add(&c->red, red[1 + 2 * i], red[2 + 2 * i]);
  if (!plain_body(c) || !find_outer(c)) return false;
  set_values(e, &c->batch);
  set_values(e, &c->red);
  for (int i = 0; i < 2; i++) set_values(e, &c->side[i]);
  return c->side[0].n > 0 || c->side[1].n > 0;
}

/* What is left of a contraction, another way being done at `done`, if it is not NULL. */
static bool otherwise(Con *c, Block done, bool (*way)(Con *c)) {
  bool ok = way(c);
  if (!done) return ok;
  if (!ok) emit_contract_plain(c->e, c->at);
  LLVMBuildBr(c->e->b, done);
  LLVMPositionBuilderAtEnd(c->e->b, done);
  return true;
}

static bool tiles(Con *c) {
  Emit *e = c->e;
  Val worth = LLVMBuildAnd(e->b, worth_it(c), LLVMBuildNot(e->b, only_sums(c), ""), "");
  int64_t known;
  if (val_known(worth, &known)) return known && tiled_contract(c);
  Block yes = new_block(e, "tiled"), no = new_block(e, "plain"), done = new_block(e, "");
  LLVMBuildCondBr(e->b, worth, yes, no);
  LLVMPositionBuilderAtEnd(e->b, yes);
  bool ok = tiled_contract(c);
  LLVMBuildBr(e->b, ok ? done : no);
  LLVMPositionBuilderAtEnd(e->b, no);
  emit_contract_plain(e, c->at);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, done);
  return true;
}

static bool planes_or_tiles(Con *c) {
  if (flat_contract(c) || plane_contract(c)) return true;
  orient(c);
  return otherwise(c, strassen_contract(c), tiles);
}

/* With certain extents: do the sums surely have the order they have in general?  That is in
 * tiles, one term after the other, in the depth's order (see SETS_ROWS). */
static bool order_kept(Con c) {
  int64_t n[2], k, work;
  join_sets(&c);
  if (!val_known(c.red.total, &k)) return false;
  for (int i = 0; i < 2; i++)
    if (!val_known(c.side[i].total, &n[i])) return false;
  if (__builtin_mul_overflow(n[0], n[1], &work) || __builtin_mul_overflow(work, k, &work) ||
      work < SMALL)
    return false;
  if (n[0] > FEW_ROWS && n[1] > FEW_ROWS) return true;
  return k <= SETS_DEPTH && c.depth[0].n > 1 && c.depth[1].n > 1;
}

bool emit_contract(Emit *e, uint32_t at) {
  Con c = {.e = e, .at = at};
  bool ordered = e->fixed && dtype_is_float((DType)e->k->stmt[at].dtype);
  bool described = describe(&c);
  e->other_order |= ordered && !(described && order_kept(c));
  if (!described) return false;
  if (channels_contract(&c) || window_contract(&c)) return true;
  join_sets(&c);
  return otherwise(&c, winograd_contract(&c), planes_or_tiles);
}
