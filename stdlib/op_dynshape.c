/* op_dynshape.c -- shapes given by tensors: dyn.reshape, dyn.squeeze,
 * dyn.expand_dims, dyn.tile.
 *
 * Where the tensor is a literal, the checker knows the result's extents.  A
 * small kernel computes them all the same and the plan binds or checks them;
 * what follows is a view, or the copy of tile.                                */
#include "stdlib/relkit.h"

static KE element(OpK *k, KTensor t, KE i) {
  return kb_let(k->b, kb_cast(k->b, kb_load(k->b, t.buf, &i), DT_i64));
}
/* Integer vector arg of known length n; "has more entries than data" if n is above most. */
static bool vector_arg(Rel *r, int arg, int most, int64_t *n) {
  const char *name = rel_op(r)->args[arg].name;
  if (!rel_want_rank(r, arg, 1) || !rel_want_class(r, arg, "iu")) return false;
  if (!dim_is_const(rel_tensor(r, arg).dim[0], n))
    return rel_error(r, "the length of %s determines the rank of the result and must be known",
                     name);
  return *n <= most ||
         rel_error(r, "%s has %lld entries; at most %d make sense", name, (long long)*n, most);
}
/* The temporary vector of n extents. */
static OpRef extents(OpPlan *p, int n) {
  Dim d = dim_const(p->cx->dims, n);
  return plan_temp(p, DT_i64, 1, &d);
}
static void bind_extents(OpPlan *p, OpRef vec) {
  OpOperand o = *plan_operand(p, plan_result(p, 0));
  for (int i = 0; i < o.rank; i++) relkit_bind_dim(p, o.dim[i], vec, i);
}
static bool view_as(OpPlan *p, OpRef vec) {
  bind_extents(p, vec);
  plan_view(p, plan_result(p, 0), 0);
  return true;
}

/* ---- dyn.reshape ----------------------------------------------------------------------- */
enum { COPY = 0, INFER = -1, COPY_REST = -2, JOIN = -3, SPLIT = -4 };

static bool rel_dyn_reshape(Rel *r) {
  int64_t n, codes[2 * MAX_RANK];
  bool allowzero = attr_bool(rel_attrs(r), "allowzero");
  if (!vector_arg(r, 1, 2 * MAX_RANK, &n)) return false;
  const Tensor *c = rel_constant(r, 1);
  if (c) {
    for (int i = 0; i < n; i++) codes[i] = relkit_const_int(c, i);
    return relkit_reshape(r, &(OpAttrVal){.n = (int)n, .ints = codes}, allowzero);
  }
  Dim out[MAX_RANK];
  if (n > MAX_RANK)
    return rel_error(r, "newshape has %lld entries; a tensor has at most %d axes", (long long)n,
                     MAX_RANK);
  for (int i = 0; i < n; i++) out[i] = rel_unknown(r);
  return rel_result(r, rel_tensor(r, 0).dtype, (int)n, out);
}

/* The state of reading codes: next axis of data, next extent of the result, codes
 * still to skip, which extent is inferred (-1: none), the product of the axes that no
 * code takes, and of the extents that are given as numbers. */
enum { SRC, DST, SKIP, HOLE, LEFT, GIVEN, N_STATE };
typedef struct {
  OpK *k;
  KTensor data, code, out;
  int rank, n_out;
  bool allowzero;
} Codes;

static void check_codes(const Codes *c, const char *what, KE cond) {
  kb_check(c->k->b, cond, str_fmt("dyn.reshape: %s", what));
}
static KE implies(KB *b, KE x, KE y) { return kb_or(b, kb_not(b, x), y); }
static void put(const Codes *c, KE at, KE v) {
  KB *b = c->k->b;
  KE to = kb_clamp(b, at, kb_int(b, 0), kb_int(b, c->n_out - 1));
  kb_store(b, c->out.buf, &to, v);
}
static void copy_rest(const Codes *c, KE src, KE dst) {
  KB *b = c->k->b;
  KE i = kb_for(b, kb_int(b, c->rank), K_SERIAL);
  kb_if(b, kb_le(b, src, i));
  put(c, kb_add(b, dst, kb_sub(b, i, src)), kb_load(b, c->data.buf, &i));
  kb_end(b);
  kb_end(b);
}
/* One code: what it writes and where that leaves the state. */
static void read_code(const Codes *c, KE j, const KE *s, KE *next) {
  KB *b = c->k->b;
  KE zero = kb_int(b, 0), one = kb_int(b, 1), two = kb_int(b, 2), minus = kb_int(b, -1);
  KE rank = kb_int(b, c->rank), j1 = kb_add(b, j, one), j2 = kb_add(b, j, two),
     src1 = kb_add(b, s[SRC], one);
  KE active = kb_eq(b, s[SKIP], zero),
     v = kb_let(b, kb_cast(b, kb_load(b, c->code.buf, &j), DT_i64));
  KE none = kb_num(b, c->code.dtype, 0);
  KE p = kb_let(b, kb_cast(b, kb_load_or(b, c->code.buf, &j1, none), DT_i64));
  KE q = kb_let(b, kb_cast(b, kb_load_or(b, c->code.buf, &j2, none), DT_i64));
  KE d0 = kb_let(b, kb_load_or(b, c->data.buf, &s[SRC], one)),
     d1 = kb_load_or(b, c->data.buf, &src1, one);
  KE is_copy = c->allowzero ? kb_bool(b, false) : kb_eq(b, v, zero), is_infer = kb_eq(b, v, minus);
  KE is_rest = kb_eq(b, v, kb_int(b, COPY_REST)), is_join = kb_eq(b, v, kb_int(b, JOIN));
  KE is_split = kb_eq(b, v, kb_int(b, SPLIT)), left = kb_sub(b, rank, s[SRC]);
  KE needs = kb_select(b, is_join, two, kb_select(b, kb_or(b, is_copy, is_split), one, zero));
  check_codes(c, "a code below -4", implies(b, active, kb_le(b, kb_int(b, SPLIT), v)));
  check_codes(c, "newshape refers to more axes than the data has",
              implies(b, active, kb_le(b, needs, left)));
  check_codes(c, "newshape has more than one -1",
              implies(b, kb_and(b, active, is_infer), kb_lt(b, s[HOLE], zero)));
  KE p_open = kb_eq(b, p, minus), q_open = kb_eq(b, q, minus);
  KE whole = kb_and(b, kb_or(b, p_open, kb_lt(b, zero, p)), kb_or(b, q_open, kb_lt(b, zero, q)));
  check_codes(c, "the extents after -4 must be positive, or one of them -1",
              implies(b, kb_and(b, active, is_split),
                      kb_and(b, whole, kb_not(b, kb_and(b, p_open, q_open)))));
  KE half = kb_select(b, p_open, kb_fdiv(b, d0, kb_max(b, q, one)), p);
  KE other = kb_select(b, q_open, kb_fdiv(b, d0, kb_max(b, p, one)), q);
  check_codes(c, "the extents after -4 do not multiply to the one of data",
              implies(b, kb_and(b, active, is_split), kb_eq(b, kb_mul(b, half, other), d0)));
  KE first = kb_select(
      b, is_copy, d0,
      kb_select(b, is_infer, one,
                kb_select(b, is_join, kb_mul(b, d0, d1), kb_select(b, is_split, half, v))));
  kb_if(b, kb_and(b, active, kb_not(b, is_rest)));
  put(c, s[DST], first);
  kb_end(b);
  kb_if(b, kb_and(b, active, is_split));
  put(c, kb_add(b, s[DST], one), other);
  kb_end(b);
  kb_if(b, kb_and(b, active, is_rest));
  copy_rest(c, s[SRC], s[DST]);
  kb_end(b);
  KE reads = kb_select(b, is_rest, left, kb_select(b, is_join, two, kb_min(b, one, left)));
  KE writes = kb_select(b, is_rest, left, kb_select(b, is_split, two, one));
  next[SRC] = kb_add(b, s[SRC], kb_select(b, active, reads, zero));
  next[DST] = kb_add(b, s[DST], kb_select(b, active, writes, zero));
  next[SKIP] = kb_select(b, active, kb_select(b, is_split, two, zero), kb_sub(b, s[SKIP], one));
  KE number = kb_lt(b, zero, v);
  if (c->allowzero) number = kb_or(b, number, kb_eq(b, v, zero));
  KE takes_none = kb_and(b, active, kb_or(b, number, is_infer));
  next[LEFT] = kb_select(b, takes_none, kb_mul(b, s[LEFT], d0), s[LEFT]);
  next[GIVEN] = kb_select(b, kb_and(b, active, number), kb_mul(b, s[GIVEN], v), s[GIVEN]);
  next[HOLE] = kb_select(b, kb_and(b, active, is_infer), s[DST], s[HOLE]);
}
/* The product of the extents [from, n) of t. */
static KE product(const Codes *c, KTensor t, int n, KE from) {
  KB *b = c->k->b;
  KE one = kb_int(b, 1), end = kb_int(b, n), i;
  kb_reduce_begin(b, 1, &end, &i);
  return kb_reduce_end(b, S_mul, one, kb_select(b, kb_le(b, from, i), kb_load(b, t.buf, &i), one));
}
/* The extent that -1 stands for: what the others leave over of the axes that no code takes. */
static void fill_hole(const Codes *c, const KE *s) {
  KB *b = c->k->b;
  KE zero = kb_int(b, 0), one = kb_int(b, 1), open = kb_le(b, zero, s[HOLE]);
  KE left = kb_let(b, kb_mul(b, s[LEFT], product(c, c->data, c->rank, s[SRC])));
  KE total = product(c, c->data, c->rank, zero), known = product(c, c->out, c->n_out, zero);
  check_codes(c, "-1 is ambiguous where another extent is 0",
              implies(b, open, kb_ne(b, s[GIVEN], zero)));
  KE divisor = kb_let(b, kb_select(b, kb_eq(b, s[GIVEN], zero), one, s[GIVEN]));
  KE fits = kb_select(b, open, kb_eq(b, kb_fmod(b, left, divisor), zero), kb_eq(b, total, known));
  check_codes(c, "newshape has another number of elements than data", fits);
  kb_if(b, open);
  put(c, s[HOLE], kb_fdiv(b, left, divisor));
  kb_end(b);
}
static bool lower_dyn_reshape(OpPlan *p) {
  OpOperand xo = *plan_operand(p, 0), yo = *plan_operand(p, plan_result(p, 0));
  if (yo.rank == 0) { /* the checker knows: one element */
    plan_view(p, plan_result(p, 0), 0);
    return true;
  }
  OpRef vec = extents(p, yo.rank);
  OpK k = opk_begin(p, "reshape_extents");
  KB *b = k.b;
  KE dims = kb_int(b, xo.rank > 0 ? xo.rank : 1), zero = kb_int(b, 0), at;
  Codes c = {
      .k = &k, .rank = xo.rank, .n_out = yo.rank, .allowzero = attr_bool(p->attrs, "allowzero")};
  c.code = opk_in(&k, 1);
  c.out = opk_out(&k, vec);
  KE ext[MAX_RANK], state[N_STATE], next[N_STATE];
  KE one = kb_int(b, 1), init[N_STATE] = {zero, zero, zero, kb_int(b, -1), one, one};
  for (int i = 0; i < xo.rank; i++) ext[i] = opk_dim(&k, xo.dim[i]);
  c.data = opk_local(&k, DT_i64, 1, &dims);
  for (int i = 0; i < xo.rank; i++) kb_store(b, c.data.buf, (at = kb_int(b, i), &at), ext[i]);
  if (xo.rank == 0) kb_store(b, c.data.buf, &zero, kb_int(b, 1));
  KE i = kb_for(b, c.out.dim[0], K_SERIAL);
  kb_store(b, c.out.buf, &i, kb_int(b, 1));
  kb_end(b);
  KE j = kb_for_carry(b, c.code.dim[0], N_STATE, init, state);
  read_code(&c, j, state, next);
  kb_end_carry(b, next);
  check_codes(&c, "the codes in newshape give another number of axes than the type says",
              kb_eq(b, state[DST], kb_int(b, yo.rank)));
  fill_hole(&c, state);
  return opk_end(&k) && view_as(p, vec);
}
const OpDef op_dyn_reshape = {
    .name = "dyn.reshape",
    .doc = "reshape with its codes given as a tensor.",
    .args = {{"data", "any shape", false},
             {"newshape",
              "int vector of known length, which is the rank of the result unless it "
              "is a literal",
              false}},
    .attrs = {{"newshape", A_Ignored, "None", "the argument counts"},
              {"allowzero", A_Bool, "False", "0 is an extent"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_dyn_reshape,
    .lower = lower_dyn_reshape,
    .examples = (const char *const[]){"dyn.reshape(f32[2,3,4], [4, -1]i64)",
                                      "dyn.reshape(f32[?2,6], [0, -4, 2, -1]i32)",
                                      "dyn.reshape(i8[2,3,4], [-3, -2]i64)",
                                      "dyn.reshape(f32[0,10], [-1, 10]i64)", NULL},
};

/* ---- dyn.squeeze ----------------------------------------------------------------------- */
static bool rel_dyn_squeeze(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  int64_t n;
  bool drop[MAX_RANK] = {false};
  Dim out[MAX_RANK], one = dim_const(rel_dims(r), 1);
  int rank = 0, axis;
  if (!vector_arg(r, 1, x.rank, &n)) return false;
  const Tensor *c = rel_constant(r, 1);
  for (int i = 0; c && i < n; i++) {
    if (!rel_axis(r, "axes", relkit_const_int(c, i), x.rank, &axis)) return false;
    if (drop[axis]) return rel_error(r, "axis %d is listed twice", axis);
    if (!rel_same_dim(r, x.dim[axis], one, "the squeezed extent and 1")) return false;
    drop[axis] = true;
  }
  for (int i = 0; i < x.rank && c; i++)
    if (!drop[i]) out[rank++] = x.dim[i];
  for (; rank < x.rank - n; rank++) out[rank] = rel_unknown(r);
  return rel_result(r, x.dtype, rank, out);
}
/* Is axis i among the entries of axes, counted from the end where negative? */
static KE listed(OpK *k, KTensor axes, int n, int i, int rank) {
  KB *b = k->b;
  KE hit = kb_bool(b, false);
  for (int j = 0; j < n; j++) {
    KE a = element(k, axes, kb_int(b, j));
    hit = kb_or(b, hit, kb_or(b, kb_eq(b, a, kb_int(b, i)), kb_eq(b, a, kb_int(b, i - rank))));
  }
  return kb_let(b, hit);
}
static bool lower_dyn_squeeze(OpPlan *p) {
  OpOperand xo = *plan_operand(p, 0);
  int kept = plan_operand(p, plan_result(p, 0))->rank, n = xo.rank - kept;
  OpRef vec = extents(p, kept > 0 ? kept : 1);
  OpK k = opk_begin(p, "squeeze_extents");
  KB *b = k.b;
  KTensor axes = opk_in(&k, 1), out = opk_out(&k, vec);
  KE zero = kb_int(b, 0), one = kb_int(b, 1), at = zero, last = kb_sub(b, out.dim[0], one);
  for (int i = 0; i < xo.rank; i++) {
    KE drop = listed(&k, axes, n, i, xo.rank), e = opk_dim(&k, xo.dim[i]),
       to = kb_clamp(b, at, zero, last);
    kb_check(b, implies(b, drop, kb_eq(b, e, one)), "dyn.squeeze: a squeezed extent is not 1");
    kb_if(b, kb_not(b, drop));
    kb_store(b, out.buf, &to, e);
    kb_end(b);
    at = kb_let(b, kb_add(b, at, kb_select(b, drop, zero, one)));
  }
  kb_check(b, kb_eq(b, at, kb_int(b, kept)), "dyn.squeeze: axes are out of range or listed twice");
  return opk_end(&k) && view_as(p, vec);
}
const OpDef op_dyn_squeeze = {
    .name = "dyn.squeeze",
    .doc = "Drop axes of extent 1, given as a tensor.",
    .args = {{"data", "any shape", false}, {"axes", "int vector of known length", false}},
    .attrs = {{"axis", A_Ignored, "None", "the argument counts"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_dyn_squeeze,
    .lower = lower_dyn_squeeze,
    .examples = (const char *const[]){"dyn.squeeze(f32[1,3,1], [0, 2]i64)",
                                      "dyn.squeeze(f32[?2,1,3], [-2]i32)",
                                      "dyn.squeeze(i8[1,1], [0, 1]i32)", NULL},
};

/* ---- dyn.expand_dims ------------------------------------------------------------------- */
static bool rel_dyn_expand(Rel *r) {
  TensorTy x = rel_tensor(r, 0), a = rel_tensor(r, 1);
  int64_t n = attr_int(rel_attrs(r), "num_newaxis");
  DimTab *t = rel_dims(r);
  if (n < 0 || n > MAX_RANK - x.rank)
    return rel_error(r, "num_newaxis must be in [0, %d], found %lld", MAX_RANK - x.rank,
                     (long long)n);
  if (!rel_want_class(r, 1, "iu")) return false;
  if (a.rank > 1) return rel_want_rank(r, 1, 0);
  if (a.rank == 1 && !rel_same_dim(r, a.dim[0], dim_const(t, 1), "the extent of axis and 1"))
    return false;
  const Tensor *c = rel_constant(r, 1);
  Dim out[MAX_RANK];
  int axis = 0, rank = x.rank + (int)n;
  if (c && !rel_axis(r, "axis", relkit_const_int(c, 0), x.rank + 1, &axis)) return false;
  for (int i = 0; i < rank; i++)
    out[i] = !c             ? rel_unknown(r)
             : i < axis     ? x.dim[i]
             : i < axis + n ? dim_const(t, 1)
                            : x.dim[i - n];
  return rel_result(r, x.dtype, rank, out);
}
static bool lower_dyn_expand(OpPlan *p) {
  OpOperand xo = *plan_operand(p, 0), yo = *plan_operand(p, plan_result(p, 0));
  int n = yo.rank - xo.rank;
  if (yo.rank == 0) {
    plan_alias(p, plan_result(p, 0), 0);
    return true;
  }
  OpRef vec = extents(p, yo.rank);
  OpK k = opk_begin(p, "expand_extents");
  KB *b = k.b;
  KTensor axis = opk_in(&k, 1), out = opk_out(&k, vec);
  KE zero = kb_int(b, 0), one = kb_int(b, 1), places = kb_int(b, xo.rank + 1),
     a = element(&k, axis, zero);
  a = kb_let(b, kb_select(b, kb_lt(b, a, zero), kb_add(b, a, places), a));
  kb_check(b, kb_and(b, kb_le(b, zero, a), kb_lt(b, a, places)),
           "dyn.expand_dims: axis is out of range");
  for (int i = 0; i < yo.rank; i++) {
    KE at = kb_int(b, i), before = i < xo.rank ? opk_dim(&k, xo.dim[i]) : one;
    KE behind = i >= n ? opk_dim(&k, xo.dim[i - n]) : one;
    KE fresh = kb_lt(b, at, kb_add(b, a, kb_int(b, n)));
    kb_store(b, out.buf, &at,
             kb_select(b, kb_lt(b, at, a), before, kb_select(b, fresh, one, behind)));
  }
  return opk_end(&k) && view_as(p, vec);
}
const OpDef op_dyn_expand_dims = {
    .name = "dyn.expand_dims",
    .doc = "Insert axes of extent 1 at a place given as a tensor.",
    .args = {{"data", "any shape", false}, {"axis", "one int", false}},
    .attrs = {{"num_newaxis", A_Int, "1", "how many"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_dyn_expand,
    .lower = lower_dyn_expand,
    .examples = (const char *const[]){"dyn.expand_dims(f32[2,3], 1)",
                                      "dyn.expand_dims(f32[?2,3], i64[]<3, num_newaxis=2)",
                                      "dyn.expand_dims(i8[3], [-1]i32)", NULL},
};

/* ---- dyn.tile -------------------------------------------------------------------------- */
static bool rel_dyn_tile(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  DimTab *t = rel_dims(r);
  int64_t n;
  if (!vector_arg(r, 1, MAX_RANK, &n)) return false;
  const Tensor *c = rel_constant(r, 1);
  int rank = n > x.rank ? (int)n : x.rank;
  Dim out[MAX_RANK];
  for (int i = 0; i < rank; i++) {
    int xi = i - (rank - x.rank), vi = i - (rank - (int)n);
    Dim d = xi >= 0 ? x.dim[xi] : dim_const(t, 1);
    int64_t times = c && vi >= 0 ? relkit_const_int(c, vi) : 1;
    if (times < 0) return rel_error(r, "reps must be at least 0, found %lld", (long long)times);
    out[i] = !c && vi >= 0 ? rel_unknown(r) : dim_mul(t, d, dim_const(t, times));
  }
  return rel_result(r, x.dtype, rank, out);
}
static bool tile_extents(OpPlan *p) {
  OpOperand xo = *plan_operand(p, 0), yo = *plan_operand(p, plan_result(p, 0));
  int64_t n = 0;
  dim_is_const(plan_operand(p, 1)->dim[0], &n);
  if (n == 0) return true;
  OpRef vec = extents(p, (int)n);
  OpK k = opk_begin(p, "tile_extents");
  KB *b = k.b;
  KTensor reps = opk_in(&k, 1), out = opk_out(&k, vec);
  for (int i = 0; i < n; i++) {
    KE at = kb_int(b, i), times = element(&k, reps, at);
    int xi = i - ((int)n - xo.rank);
    kb_check(b, kb_le(b, kb_int(b, 0), times), "dyn.tile: reps must be at least 0");
    kb_store(b, out.buf, &at, xi < 0 ? times : kb_mul(b, times, opk_dim(&k, xo.dim[xi])));
  }
  if (!opk_end(&k)) return false;
  for (int i = 0; i < n; i++) relkit_bind_dim(p, yo.dim[yo.rank - (int)n + i], vec, i);
  return true;
}
static bool lower_dyn_tile(OpPlan *p) {
  if (!tile_extents(p)) return false;
  OpOperand xo = *plan_operand(p, 0), yo = *plan_operand(p, plan_result(p, 0));
  OpK k = opk_begin(p, "dyn.tile");
  KB *b = k.b;
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  KE at[MAX_RANK], from[MAX_RANK];
  int loops = relkit_loops(&k, y.rank, y.dim, at);
  for (int i = 0; i < x.rank; i++) {
    int j = i + y.rank - x.rank;
    bool whole = dim_equal(xo.dim[i], yo.dim[j]);
    from[i] = whole ? at[j] : kb_fmod(b, at[j], kb_max(b, x.dim[i], kb_int(b, 1)));
  }
  kb_store(b, y.buf, at, kb_load(b, x.buf, from));
  opk_close(&k, loops);
  return opk_end(&k);
}
const OpDef op_dyn_tile = {
    .name = "dyn.tile",
    .doc = "tile with its numbers given as a tensor.",
    .args = {{"data", "any shape", false}, {"reps", "int vector of known length", false}},
    .attrs = {{"reps", A_Ignored, "None", "the argument counts"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_dyn_tile,
    .lower = lower_dyn_tile,
    .examples =
        (const char *const[]){"dyn.tile(f32[2,3], [2, 1, 2]i64)", "dyn.tile(f32[?2,3], i32[2]<3)",
                              "dyn.tile(i8[2,3], i64[1]<3)", NULL},
};
