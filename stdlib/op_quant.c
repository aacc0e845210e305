/* op_quant.c -- quantised arithmetic, element by element: q stands for
 * (q - zero_point) * scale.
 *
 * Scales and zero points are scalars, or vectors along one axis.  Changing the
 * scale multiplies by s_in / s_out as a 31-bit fraction and a power of two, in
 * 64-bit integers, the way TVM does, so results are equal bit for bit; the
 * fraction is taken from the quotient's float64 bits inside the kernel, because
 * scales need not be known before running.                                   */
#include "stdlib/quant.h"

/* ---- scales and zero points ---- */
/* Argument arg is a scalar, or has one element, or one per index of axis of x. */
bool quant_want_param(Rel *r, int arg, TensorTy x, int axis, const char *classes) {
  const char *name = rel_op(r)->args[arg].name;
  TensorTy t = rel_tensor(r, arg);
  int64_t c;
  if (!rel_want_class(r, arg, classes)) return false;
  if (t.rank == 0 || (t.rank == 1 && dim_is_const(t.dim[0], &c) && c == 1)) return true;
  if (t.rank != 1)
    return rel_error(r, "%s must be a scalar or a vector, found rank %d", name, t.rank);
  if (x.rank == 0) return rel_error(r, "%s must be a scalar when data is one", name);
  return rel_same_dim(r, t.dim[0], x.dim[axis],
                      str_fmt("the length of %s and axis %d", name, axis));
}

static bool axis_of(Rel *r, const char *attr, int rank, int *axis) {
  *axis = 0;
  return rank == 0 || rel_axis(r, attr, attr_int(rel_attrs(r), attr), rank, axis);
}
static int axis_known(const OpPlan *p, const char *attr, int rank) {
  return rank ? relkit_axis(attr_int(p->attrs, attr), rank) : 0;
}

/* Parameter `par` seen so that it broadcasts along axis of a tensor of rank. */
static OpRef along(OpPlan *p, OpRef par, int rank, int axis) {
  OpOperand o = *plan_operand(p, par);
  Dim dim[MAX_RANK];
  int64_t c;
  if (o.rank == 0) return par;
  bool one = dim_is_const(o.dim[0], &c) && c == 1;
  for (int i = 0; i < rank - axis; i++) dim[i] = i ? dim_const(p->cx->dims, 1) : o.dim[0];
  OpRef view = plan_temp(p, o.dtype, one ? 0 : rank - axis, dim);
  plan_view(p, view, par);
  return view;
}

/* Result 0 = f(data, parameters...), the parameters along attribute axis. */
static bool map_along(OpPlan *p, MapFn f) {
  int rank = plan_operand(p, 0)->rank, axis = axis_known(p, "axis", rank);
  OpRef in[OP_MAX_ARGS] = {0};
  for (int i = 1; i < p->n_in; i++) in[i] = along(p, i, rank, axis);
  return opk_map(p, p->op->name, p->n_in, in, plan_result(p, 0), f, p);
}

/* ---- numbers ---- */
/* The int64 v in the range of t, by saturation. */
static KE saturate(KB *b, KE v, DType t) {
  int bits = dtype_bytes(t) * 8;
  bool sign = dtype_is_signed(t);
  if (bits == 64) return kb_cast(b, v, t);
  int64_t lo = sign ? -((int64_t)1 << (bits - 1)) : 0, hi = ((int64_t)1 << (bits - sign)) - 1;
  return kb_cast(b, kb_clamp(b, v, kb_int(b, lo), kb_int(b, hi)), t);
}
static KE wide(KB *b, KE v) { return kb_cast(b, v, DT_i64); }

static KE quantize(KB *b, KE x, KE scale, KE zero, DType to) {
  DType t = relkit_acc(kb_type(b, x));
  KE v = kb_un(b, S_round, kb_div(b, kb_cast(b, x, t), kb_cast(b, scale, t)));
  return saturate(b, kb_add(b, wide(b, kb_cast(b, v, DT_i32)), wide(b, zero)), to);
}
static KE dequantize(KB *b, KE x, KE scale, KE zero) {
  KE v = kb_sub(b, kb_cast(b, x, DT_i32), kb_cast(b, zero, DT_i32));
  return kb_mul(b, kb_cast(b, v, DT_f32), kb_cast(b, scale, DT_f32));
}

/* ---- fixed-point factors ---- */
typedef struct {
  KE mul, left, right;
} Fixed; /* factor = mul * 2^(left - right), int64 */

static KE shift(KB *b, SOp op, KE v, KE by) { return kb_op(b, op, v, by, KE_NONE); }

/* frexp of the float64 m, the fraction rounded to 31 bits. */
static Fixed fixed_of(KB *b, KE m) {
  KE zero = kb_int(b, 0), one = kb_int(b, 1), top = kb_int(b, (int64_t)1 << 31);
  KE bits = kb_bitcast(b, m, DT_i64);
  KE exponent =
      kb_sub(b, kb_op(b, S_and, shift(b, S_shr, bits, kb_int(b, 52)), kb_int(b, 0x7ff), KE_NONE),
             kb_int(b, 1022));
  KE mantissa = kb_op(b, S_and, bits, kb_int(b, ((int64_t)1 << 52) - 1), KE_NONE);
  mantissa = kb_add(b, mantissa, kb_int(b, (int64_t)1 << 52));
  KE mul = shift(b, S_shr, kb_add(b, mantissa, kb_int(b, (int64_t)1 << 21)), kb_int(b, 22));
  KE carry = kb_eq(b, mul, top);
  mul = kb_select(b, carry, kb_int(b, (int64_t)1 << 30), mul);
  exponent = kb_select(b, carry, kb_add(b, exponent, one), exponent);
  mul = kb_select(b, kb_lt(b, bits, zero), kb_sub(b, zero, mul), mul);
  mul = kb_select(b, kb_eq(b, m, kb_float(b, DT_f64, 0)), zero, mul);
  /* |v * mul| < 2^62: shifted by 63 or more bits nothing would be left of it */
  mul = kb_select(b, kb_lt(b, exponent, kb_int(b, -31)), zero, mul);
  KE left = kb_clamp(b, exponent, zero, kb_int(b, 31));
  KE right = kb_add(b, kb_clamp(b, kb_sub(b, zero, exponent), zero, kb_int(b, 31)), kb_int(b, 31));
  return (Fixed){mul, left, right};
}

/* int32 v times f, as int64 in the range of int32.  Ties go upwards, or away
 * from zero when nearest. */
static KE fixed_times(KB *b, KE v, Fixed f, bool nearest) {
  KE one = kb_int(b, 1), half = shift(b, S_shl, one, kb_sub(b, f.right, one));
  KE x = kb_mul(b, shift(b, S_shl, wide(b, v), f.left), f.mul);
  if (nearest) half = kb_select(b, kb_lt(b, x, kb_int(b, 0)), kb_sub(b, half, one), half);
  return wide(b, kb_cast(b, shift(b, S_shr, kb_add(b, x, half), f.right), DT_i32));
}

static KE ratio(KB *b, KE in, KE out) {
  return kb_div(b, kb_cast(b, in, DT_f64), kb_cast(b, out, DT_f64));
}
static KE centred(KB *b, KE x, KE zero) {
  return kb_sub(b, kb_cast(b, x, DT_i32), kb_cast(b, zero, DT_i32));
}

/* x under (scale, zero) seen under another pair, as int64. */
static KE rescale(KB *b, KE x, KE scale, KE zero, KE to_scale, KE to_zero) {
  KE v = fixed_times(b, centred(b, x, zero), fixed_of(b, ratio(b, scale, to_scale)), false);
  return kb_add(b, v, wide(b, to_zero));
}

/* ---- quantize, dequantize ---- */
static bool is_quantized(DType t) { return dtype_is_int(t) && dtype_bytes(t) <= 4; }

static bool want_quantized(Rel *r, int arg) {
  DType t = rel_tensor(r, arg).dtype;
  return is_quantized(t) || rel_error(r, "%s must be integers of at most 32 bits, found %s",
                                      rel_op(r)->args[arg].name, dtype_name(t));
}

static bool rel_quantize(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  DType to = opattr(rel_attrs(r), "out_dtype")->dtype;
  int axis;
  if (!is_quantized(to))
    return rel_error(r, "out_dtype must be an integer type of at most 32 bits, found %s",
                     dtype_name(to));
  return rel_want_class(r, 0, "f") && axis_of(r, "axis", x.rank, &axis) &&
         quant_want_param(r, 1, x, axis, "f") && quant_want_param(r, 2, x, axis, "iu") &&
         rel_result(r, to, x.rank, x.dim);
}
static KE apply_quantize(OpK *k, const KE *x, const void *ud) {
  const OpPlan *p = ud;
  return quantize(k->b, x[0], x[1], x[2], opattr(p->attrs, "out_dtype")->dtype);
}
static bool lower_quantize(OpPlan *p) { return map_along(p, apply_quantize); }

static bool rel_dequantize(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  int axis;
  return rel_want_class(r, 0, "iu") && axis_of(r, "axis", x.rank, &axis) &&
         quant_want_param(r, 1, x, axis, "f") && quant_want_param(r, 2, x, axis, "iu") &&
         rel_result(r, DT_f32, x.rank, x.dim);
}
static KE apply_dequantize(OpK *k, const KE *x, const void *ud) {
  (void)ud;
  return dequantize(k->b, x[0], x[1], x[2]);
}
static bool lower_dequantize(OpPlan *p) { return map_along(p, apply_dequantize); }

/* ---- requantize ---- */
static const char *text_attr(const OpAttrs *a, const char *name, const char *other) {
  const OpAttrVal *v = opattr(a, name);
  return v->none || !v->s || !*v->s || !strcmp(v->s, "None") ? other : v->s;
}
static bool is_nearest(const OpAttrs *a) {
  return !strcmp(text_attr(a, "rounding", "UPWARD"), "TONEAREST");
}
static DType compute_type(const OpAttrs *a) {
  const char *t = text_attr(a, "compute_dtype", "int64");
  return !strcmp(t, "float32") ? DT_f32 : !strcmp(t, "float64") ? DT_f64 : DT_i64;
}
static DType requantized_type(const OpAttrs *a) {
  const OpAttrVal *v = opattr(a, "out_dtype");
  return v->none || !v->given ? DT_i8 : v->dtype;
}

static bool rel_requantize(Rel *r) {
  const OpAttrs *a = rel_attrs(r);
  const char *how = text_attr(a, "rounding", "UPWARD"),
             *with = text_attr(a, "compute_dtype", "int64");
  TensorTy x = rel_tensor(r, 0);
  int axis;
  if (strcmp(how, "UPWARD") && strcmp(how, "TONEAREST"))
    return rel_error(r, "rounding must be UPWARD or TONEAREST, found %s", how);
  if (strcmp(with, "int64") && compute_type(a) == DT_i64)
    return rel_error(r, "compute_dtype must be int64, float32 or float64, found %s", with);
  DType to = requantized_type(a);
  if (!is_quantized(to))
    return rel_error(r, "out_dtype must be an integer type of at most 32 bits, found %s",
                     dtype_name(to));
  return rel_want_class(r, 0, "iu") && axis_of(r, "axis", x.rank, &axis) &&
         quant_want_param(r, 1, x, axis, "f") && quant_want_param(r, 2, x, axis, "iu") &&
         quant_want_param(r, 3, x, axis, "f") && quant_want_param(r, 4, x, axis, "iu") &&
         rel_result(r, to, x.rank, x.dim);
}

static KE rounded(KB *b, KE v, bool nearest) {
  KE half = kb_float(b, kb_type(b, v), 0.5);
  if (!nearest) return kb_un(b, S_floor, kb_add(b, v, half));
  KE away = kb_un(b, S_floor, kb_add(b, kb_un(b, S_abs, v), half));
  return kb_select(b, kb_lt(b, v, kb_float(b, kb_type(b, v), 0)), kb_un(b, S_neg, away), away);
}
static KE apply_requantize(OpK *k, const KE *x, const void *ud) {
  const OpPlan *p = ud;
  KB *b = k->b;
  DType t = compute_type(p->attrs);
  bool nearest = is_nearest(p->attrs);
  KE v = centred(b, x[0], x[2]), m = ratio(b, x[1], x[3]);
  if (t == DT_i64)
    v = fixed_times(b, v, fixed_of(b, m), nearest);
  else
    v = wide(
        b, kb_cast(b, rounded(b, kb_mul(b, kb_cast(b, v, t), kb_cast(b, m, t)), nearest), DT_i32));
  return saturate(b, kb_add(b, v, wide(b, x[4])), requantized_type(p->attrs));
}
static bool lower_requantize(OpPlan *p) { return map_along(p, apply_requantize); }

/* ---- add, subtract, mul: lhs, rhs, and a scale and a zero point of each and of the result ---- */
static bool rel_binary(Rel *r) {
  TensorTy a = rel_tensor(r, 0), b = rel_tensor(r, 1);
  int la, ra, rank;
  Dim out[MAX_RANK];
  if (!want_quantized(r, 0) || !rel_same_dtype(r, 0, 1) || !axis_of(r, "lhs_axis", a.rank, &la) ||
      !axis_of(r, "rhs_axis", b.rank, &ra) || !rel_broadcast(r, a, b, &rank, out))
    return false;
  for (int i = 2; i < 8; i++) {
    const char *classes = i & 1 ? "iu" : "f";
    if (i < 6 ? !quant_want_param(r, i, i < 4 ? a : b, i < 4 ? la : ra, classes)
              : !relkit_want_scalar(r, i, classes))
      return false;
  }
  return rel_result(r, a.dtype, rank, out);
}
static KE apply_sum(OpK *k, const KE *x, const void *ud) {
  const OpPlan *p = ud;
  KB *b = k->b;
  KE l = rescale(b, x[0], x[2], x[3], x[6], x[7]), r = rescale(b, x[1], x[4], x[5], x[6], x[7]),
     z = wide(b, x[7]);
  KE v = p->op->variant == S_add ? kb_sub(b, kb_add(b, l, r), z) : kb_add(b, kb_sub(b, l, r), z);
  return saturate(b, v, kb_type(b, x[0]));
}
static KE apply_mul(OpK *k, const KE *x, const void *ud) {
  (void)ud;
  KB *b = k->b;
  KE v = kb_mul(b, centred(b, x[0], x[3]), centred(b, x[1], x[5]));
  KE scale = kb_mul(b, kb_cast(b, x[2], DT_f32), kb_cast(b, x[4], DT_f32));
  return saturate(b, rescale(b, v, scale, kb_num(b, DT_i32, 0), x[6], x[7]), kb_type(b, x[0]));
}
static bool lower_binary(OpPlan *p) {
  int ra = plan_operand(p, 0)->rank, rb = plan_operand(p, 1)->rank;
  OpRef in[8] = {0, 1};
  for (int i = 2; i < 8; i++)
    in[i] = i < 4 ? along(p, i, ra, axis_known(p, "lhs_axis", ra))
                  : along(p, i, rb, axis_known(p, "rhs_axis", rb));
  return opk_map(p, p->op->name, 8, in, plan_result(p, 0),
                 p->op->variant == S_mul ? apply_mul : apply_sum, p);
}

/* ---- functions of one operand: through float32 ---- */
enum { HARDSWISH = S_COUNT, LEAKY };
static bool rel_unary(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  return want_quantized(r, 0) && relkit_want_scalar(r, 1, "f") && relkit_want_scalar(r, 2, "iu") &&
         relkit_want_scalar(r, 3, "f") && relkit_want_scalar(r, 4, "iu") &&
         rel_result(r, x.dtype, x.rank, x.dim);
}
static KE apply_unary(OpK *k, const KE *x, const void *ud) {
  const OpPlan *p = ud;
  KB *b = k->b;
  KE v = dequantize(b, x[0], x[1], x[2]);
  if (p->op->variant == HARDSWISH) {
    KE six = kb_float(b, DT_f32, 6), gate = kb_add(b, v, kb_float(b, DT_f32, 3));
    v = kb_div(b, kb_mul(b, v, kb_clamp(b, gate, kb_float(b, DT_f32, 0), six)), six);
  } else {
    v = kb_un(b, (SOp)p->op->variant, v);
  }
  return quantize(b, v, x[3], x[4], kb_type(b, x[0]));
}
/* With x under the result's parameters: below its zero point alpha * x + (1 - alpha) * zero. */
static KE apply_leaky(OpK *k, const KE *x, const void *ud) {
  const OpPlan *p = ud;
  KB *b = k->b;
  double alpha = attr_float(p->attrs, "alpha");
  KE v = kb_cast(b, rescale(b, x[0], x[1], x[2], x[3], x[4]), DT_i32),
     zero = kb_cast(b, x[4], DT_i32);
  KE slope = fixed_times(b, v, fixed_of(b, kb_float(b, DT_f64, alpha)), false);
  KE rest = fixed_times(b, zero, fixed_of(b, kb_float(b, DT_f64, 1 - alpha)), false);
  KE y = kb_select(b, kb_lt(b, v, zero), kb_add(b, slope, rest), wide(b, v));
  return saturate(b, y, kb_type(b, x[0]));
}
static bool lower_unary(OpPlan *p) {
  return relkit_map(p, p->op->variant == LEAKY ? apply_leaky : apply_unary, p);
}

/* ---- concatenate: (tensors), (scales), (zero points), scale, zero point ---- */
static bool rel_join(Rel *r) {
  int n = rel_arg_size(r, 0), axis;
  DimTab *t = rel_dims(r);
  if (n < 1) return rel_error(r, "needs at least one tensor");
  if (rel_arg_size(r, 1) != n || rel_arg_size(r, 2) != n)
    return rel_error(r, "has %d tensors, %d scales and %d zero points", n, rel_arg_size(r, 1),
                     rel_arg_size(r, 2));
  TensorTy x = rel_leaf(r, 0, 0);
  Dim out[MAX_RANK];
  if (!is_quantized(x.dtype))
    return rel_error(r, "data must be of integers, found %s", dtype_name(x.dtype));
  if (!rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis)) return false;
  for (int i = 0; i < x.rank; i++) out[i] = i == axis ? dim_const(t, 0) : x.dim[i];
  for (int j = 0; j < n; j++) {
    TensorTy y = rel_leaf(r, 0, j), s = rel_leaf(r, 1, j), z = rel_leaf(r, 2, j);
    if (y.dtype != x.dtype || y.rank != x.rank)
      return rel_error(r, "tensor %d differs from the first in element type or rank", j);
    if (s.rank || !dtype_is_float(s.dtype) || z.rank || !dtype_is_int(z.dtype))
      return rel_error(
          r, "the scale and the zero point of tensor %d must be scalars, float and int", j);
    for (int i = 0; i < x.rank; i++) {
      if (i == axis)
        out[i] = dim_add(t, out[i], y.dim[i]);
      else if (!rel_same_dim(r, out[i], y.dim[i], str_fmt("the extents of axis %d", i)))
        return false;
    }
  }
  return relkit_want_scalar(r, 3, "f") && relkit_want_scalar(r, 4, "iu") &&
         rel_result(r, x.dtype, x.rank, out);
}
/* One kernel per tensor, into its place; tensors seen as (before, axis and behind). */
static bool lower_join(OpPlan *p) {
  OpOperand y = *plan_operand(p, plan_result(p, 0));
  DimTab *t = p->cx->dims;
  int n = p->arg_leaves[0], axis = axis_known(p, "axis", y.rank);
  Dim place = dim_const(t, 0), d[3];
  relkit_around(t, y.rank, y.dim, axis, d);
  for (int j = 0; j < n; j++) {
    Dim mid = plan_operand(p, j)->dim[axis];
    OpK k = opk_begin(p, p->op->name);
    KTensor in = opk_in_as(&k, j, 2, (Dim[]){d[0], dim_mul(t, mid, d[2])}), param[4];
    KTensor out = opk_out_as(&k, plan_result(p, 0), 2, (Dim[]){d[0], dim_mul(t, d[1], d[2])});
    OpRef ref[4] = {p->arg_first[1] + j, p->arg_first[2] + j, p->arg_first[3], p->arg_first[4]};
    KE at[2], v[4];
    for (int i = 0; i < 4; i++) param[i] = opk_in(&k, ref[i]);
    opk_loops(&k, 2, in.dim, at);
    for (int i = 0; i < 4; i++) v[i] = kb_load(k.b, param[i].buf, NULL);
    KE x = rescale(k.b, kb_load(k.b, in.buf, at), v[0], v[1], v[2], v[3]);
    KE to = kb_add(k.b, opk_dim(&k, dim_mul(t, place, d[2])), at[1]);
    kb_store(k.b, out.buf, (KE[]){at[0], to}, saturate(k.b, x, y.dtype));
    opk_close(&k, 2);
    if (!opk_end(&k)) return false;
    place = dim_add(t, place, mid);
  }
  return true;
}

/* ---- simulation in floats ----
 * qnn.simulated_*: (data, type, scale, zero point); type is a number known when
 * running: 0 leaves data alone, 1 uint8, 2 int8, 3 int32. */
static bool rel_simulated(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  int axis;
  return rel_want_class(r, 0, "f") && relkit_want_scalar(r, 1, "iu") &&
         axis_of(r, "axis", x.rank, &axis) && quant_want_param(r, 2, x, axis, "f") &&
         quant_want_param(r, 3, x, axis, "iuf") && relkit_identity(r);
}
static KE by_type(KB *b, KE code, KE u8, KE i8, KE i32) {
  KE e = kb_select(b, kb_eq(b, code, kb_int(b, 2)), i8, i32);
  return kb_select(b, kb_eq(b, code, kb_int(b, 1)), u8, e);
}
static KE apply_simulated_quantize(OpK *k, const KE *x, const void *ud) {
  (void)ud;
  KB *b = k->b;
  DType t = kb_type(b, x[0]);
  KE code = wide(b, x[1]), v = kb_un(b, S_round, kb_div(b, x[0], kb_cast(b, x[2], t)));
  KE lo = by_type(b, code, kb_float(b, t, 0), kb_float(b, t, -128), kb_float(b, t, -2147483648.0));
  KE hi = by_type(b, code, kb_float(b, t, 255), kb_float(b, t, 127), kb_float(b, t, 2147483647.0));
  v = kb_clamp(b, kb_add(b, v, kb_cast(b, x[3], t)), lo, hi);
  return kb_select(b, kb_eq(b, code, kb_int(b, 0)), x[0], v);
}
static KE apply_simulated_dequantize(OpK *k, const KE *x, const void *ud) {
  (void)ud;
  KB *b = k->b;
  DType t = kb_type(b, x[0]);
  KE v = kb_mul(b, kb_sub(b, x[0], kb_cast(b, x[3], t)), kb_cast(b, x[2], t));
  return kb_select(b, kb_eq(b, wide(b, x[1]), kb_int(b, 0)), x[0], v);
}
static bool lower_simulated(OpPlan *p) {
  return map_along(p, p->op->variant ? apply_simulated_dequantize : apply_simulated_quantize);
}

static bool rel_simulate(Rel *r) {
  const char *how = attr_str(rel_attrs(r), "rounding");
  if (strcmp(how, "round") && strcmp(how, "floor") && strcmp(how, "ceil") && strcmp(how, "trunc"))
    return rel_error(r, "rounding must be round, floor, ceil or trunc, found %s", how);
  return rel_want_class(r, 0, "f") && relkit_want_scalar(r, 1, "f") &&
         relkit_want_scalar(r, 2, "f") && relkit_want_scalar(r, 3, "f") && relkit_identity(r);
}
static KE apply_simulate(OpK *k, const KE *x, const void *ud) {
  const OpPlan *p = ud;
  KB *b = k->b;
  DType t = kb_type(b, x[0]);
  const char *how = attr_str(p->attrs, "rounding");
  SOp op = *how == 'f' ? S_floor : *how == 'c' ? S_ceil : *how == 't' ? S_trunc : S_round;
  KE scale = kb_cast(b, x[1], t), v = kb_div(b, x[0], scale);
  v = kb_max(b, kb_min(b, v, kb_cast(b, x[3], t)), kb_cast(b, x[2], t));
  return kb_mul(b, kb_un(b, op, v), scale);
}
static bool lower_simulate(OpPlan *p) { return relkit_map(p, apply_simulate, p); }

/* ---- records ---- */
static const char no_gradient[] = "its result is quantised";
#define SCALE(name, of)                                                                            \
  { name, "scale of " of, false }
#define ZERO(name, of)                                                                             \
  { name, "zero point of " of, false }
#define AXIS(name)                                                                                 \
  { name, A_Int, "-1", "axis that scales and zero points given as vectors run along" }
#define RECORD(id, text, describe, pat, v, relation, lowering, arguments, attributes, ...)         \
  const OpDef op_##id = {.name = text,                                                             \
                         .doc = describe,                                                          \
                         .args = {arguments},                                                      \
                         .attrs = {attributes},                                                    \
                         .flags = OP_PURE,                                                         \
                         .pattern = pat,                                                           \
                         .rel = relation,                                                          \
                         .lower = lowering,                                                        \
                         .variant = v,                                                             \
                         .not_differentiable = no_gradient,                                        \
                         .examples = (const char *const[]){__VA_ARGS__, NULL}}
#define P(...) __VA_ARGS__

RECORD(qnn_quantize, "qnn.quantize", "round(data / scale) + zero point, saturated.", PAT_Elemwise,
       0, rel_quantize, lower_quantize,
       P({"data", "floats", false}, SCALE("output_scale", "the result"),
         ZERO("output_zero_point", "the result")),
       P({"out_dtype", A_DType, "int8", "element type of the result"}, AXIS("axis")),
       "qnn.quantize(f32[2,3], 0.01f, 3, out_dtype=\"uint8\")",
       "qnn.quantize(f32[?4,3], f32[3]>0, i32[3]<9, out_dtype=\"int8\")",
       "qnn.quantize(f32[2,3,4], f32[3]>0, 0, out_dtype=\"int32\", axis=1)",
       "qnn.quantize(f32[0,3], 0.5f, 0)", "qnn.quantize(f16[5], 0.25f, -2, out_dtype=\"int16\")");
RECORD(qnn_dequantize, "qnn.dequantize", "(data - zero point) * scale in float32.", PAT_Elemwise, 0,
       rel_dequantize, lower_dequantize,
       P({"data", "integers", false}, SCALE("input_scale", "data"),
         ZERO("input_zero_point", "data")),
       P(AXIS("axis")), "qnn.dequantize(u8[2,3], 0.5f, 3)",
       "qnn.dequantize(i8[?4,3], f32[3]>0, i32[3]<9)",
       "qnn.dequantize(i32[2,3,4]<1000, f32[3]>0, 0, axis=1)", "qnn.dequantize(i8[0,3], 0.5f, 0)");
RECORD(qnn_requantize, "qnn.requantize", "data under other parameters, by a fixed-point factor.",
       PAT_Elemwise, 0, rel_requantize, lower_requantize,
       P({"data", "integers", false}, SCALE("input_scale", "data"),
         ZERO("input_zero_point", "data"), SCALE("output_scale", "the result"),
         ZERO("output_zero_point", "the result")),
       P(AXIS("axis"),
         {"rounding", A_Str, "None", "ties: UPWARD (if None) or TONEAREST, away from zero"},
         {"compute_dtype", A_Str, "None", "int64 (if None), float32 or float64"},
         {"out_dtype", A_DType, "int8", "element type of the result"}),
       "qnn.requantize(i32[2,3]<1000, 0.3f, 7, 1.7f, 3)",
       "qnn.requantize(i32[?4,3]<1000, f32[3]>0, 0, 2.5f, 100, out_dtype=\"uint8\")",
       "qnn.requantize(i8[2,3,4], f32[3]>0, i32[3]<9, 0.125f, 0, axis=1, rounding=\"TONEAREST\", "
       "out_dtype=\"int32\")",
       "qnn.requantize(i32[7]<99, 0.5f, 50, 1f, 0, rounding=\"TONEAREST\")",
       "qnn.requantize(i32[7]<99, 0.5f, 50, 1f, 0, compute_dtype=\"float32\")",
       "qnn.requantize(u8[0,3], 0.5f, 0, 1f, 0, out_dtype=\"uint8\")");

#define BINARY(id, text, what, v)                                                                  \
  RECORD(id, text, what, PAT_Broadcast, v, rel_binary, lower_binary,                               \
         P({"lhs", "integers", false}, {"rhs", "broadcasts with lhs", false},                      \
           SCALE("lhs_scale", "lhs"), ZERO("lhs_zero_point", "lhs"), SCALE("rhs_scale", "rhs"),    \
           ZERO("rhs_zero_point", "rhs"), SCALE("output_scale", "the result"),                     \
           ZERO("output_zero_point", "the result")),                                               \
         P(AXIS("lhs_axis"), AXIS("rhs_axis")),                                                    \
         text "(u8[2,3], u8[3], 0.1f, 1, 0.2f, 2, 0.3f, 0)",                                       \
         text "(i8[?4,3], i8[4,1], f32[3]>0, 5, 0.2f, -3, 0.7f, 4)",                               \
         text "(i8[0,3], i8[3], 0.1f, 0, 0.2f, 0, 0.3f, 0)",                                       \
         text                                                                                      \
         "(u8[2,3,4], u8[3,1], f32[3]>0, 1, f32[3]>0, i32[3]<9, 0.9f, 7, lhs_axis=1, rhs_axis=0)")
BINARY(qnn_add, "qnn.add", "Sum of both under the result's parameters, saturated.", S_add);
BINARY(qnn_subtract, "qnn.subtract", "Difference of both under the result's parameters, saturated.",
       S_sub);
BINARY(qnn_mul, "qnn.mul", "Product, requantised and saturated.", S_mul);

#define UNARY_ARGS                                                                                 \
  {"x", "integers", false}, SCALE("scale", "x"), ZERO("zero_point", "x"),                          \
      SCALE("output_scale", "the result"), ZERO("output_zero_point", "the result")
#define UNARY(id, text, v, zero)                                                                   \
  RECORD(qnn_##id, "qnn." #id, text ", of the float32 that x stands for, quantised.",              \
         PAT_Elemwise, v, rel_unary, lower_unary, P(UNARY_ARGS), P({NULL, A_Int, NULL, NULL}),     \
         "qnn." #id "(u8[2,3], 0.01f, " zero ", 0.02f, 5)",                                        \
         "qnn." #id "(i8[?4], 0.02f, -128, 0.03f, -4)", "qnn." #id "(u8[0,3], 0.01f, 0, 0.1f, 0)")
UNARY(tanh, "Hyperbolic tangent", S_tanh, "100");
UNARY(exp, "e^x", S_exp, "100");
UNARY(sqrt, "Square root", S_sqrt, "0");
UNARY(rsqrt, "1 / sqrt(x)", S_rsqrt, "0");
UNARY(erf, "Gauss error function", S_erf, "100");
UNARY(sigmoid, "1 / (1 + e^-x)", S_sigmoid, "100");
UNARY(hardswish, "x * clip(x + 3, 0, 6) / 6", HARDSWISH, "100");
UNARY(log, "Natural logarithm", S_log, "0");
UNARY(abs, "Absolute value", S_abs, "100");
RECORD(qnn_leaky_relu, "qnn.leaky_relu",
       "x, or alpha * x where it is negative, under the result's parameters.", PAT_Elemwise, LEAKY,
       rel_unary, lower_unary, P(UNARY_ARGS), P({"alpha", A_Float, "0.25", "slope below zero"}),
       "qnn.leaky_relu(u8[2,3], 0.1f, 100, 0.07f, 90, alpha=0.3f)",
       "qnn.leaky_relu(i8[?4], 0.02f, -10, 0.03f, -4)",
       "qnn.leaky_relu(u8[0,3], 0.01f, 0, 0.1f, 0)");
RECORD(qnn_concatenate, "qnn.concatenate", "Join along an axis under the result's parameters.",
       PAT_Injective, 0, rel_join, lower_join,
       P({"data", "tensors", true}, {"input_scales", "a scalar for each", true},
         {"input_zero_points", "a scalar for each", true}, SCALE("output_scale", "the result"),
         ZERO("output_zero_point", "the result")),
       P({"axis", A_Int, "0", "where"}),
       "qnn.concatenate((u8[2,3], u8[2,4]), (0.1f, 0.2f), (1, 2), 0.3f, 0, axis=1)",
       "qnn.concatenate((i8[?2,3], i8[1,3], i8[0,3]), (0.1f, 0.2f, 0.3f), (1, 2, 3), 0.2f, -5)");

#define SIMULATED(id, text, what, v, type, of)                                                     \
  RECORD(id, text, what, PAT_Elemwise, v, rel_simulated, lower_simulated,                          \
         P({"data", "floats", false},                                                              \
           {type, "scalar: 0 leaves data alone, 1 uint8, 2 int8, 3 int32", false},                 \
           SCALE(of "_scale", "the integers"), ZERO(of "_zero_point", "the integers")),            \
         P(AXIS("axis")), text "(f32[2,3], 1, 0.01f, 3)",                                          \
         text "(f32[?4,3], 2, f32[3]>0, i32[3]<9)", text "(f32[2,3,4], 3, f32[3]>0, 0, axis=1)",   \
         text "(f32[0,3], 0, 0.5f, 1)")
SIMULATED(qnn_simulated_quantize, "qnn.simulated_quantize",
          "round(data / scale) + zero point, clipped, as floats.", 0, "out_dtype", "output");
SIMULATED(qnn_simulated_dequantize, "qnn.simulated_dequantize",
          "(data - zero point) * scale of integers held as floats.", 1, "in_dtype", "input");
RECORD(relay_op_annotation_simulated_quantize, "relay.op.annotation.simulated_quantize",
       "data / dom_scale clipped, rounded, times dom_scale.", PAT_Elemwise, 0, rel_simulate,
       lower_simulate,
       P({"data", "floats", false}, {"dom_scale", "scalar", false}, {"clip_min", "scalar", false},
         {"clip_max", "scalar", false}),
       P({"kind", A_Ignored, "0", ""}, {"sign", A_Ignored, "True", ""},
         {"rounding", A_Str, "round", "round, floor, ceil or trunc"}),
       "relay.op.annotation.simulated_quantize(f32[2,3], 0.01f, -127f, 127f, kind=1)",
       "relay.op.annotation.simulated_quantize(f32[?4], 0.3f, -2f, 1f, kind=2, rounding=\"floor\")",
       "relay.op.annotation.simulated_quantize(f64[0,3], 0.01f, -127f, 127f, kind=1)");
