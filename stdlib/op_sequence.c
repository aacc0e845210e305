/* op_sequence.c -- operators along a time axis: masks and reversal by length,
 * sliding windows, a buffer of the newest entries.                            */
#include "stdlib/relkit.h"

/* ---- sequence_mask --------------------------------------------------------------------- */
static bool rel_sequence_mask(Rel *r) {
  int axis;
  if (!rel_want_min_rank(r, 0, 2) || !rel_want_rank(r, 1, 1) || !rel_want_class(r, 1, "fiu") ||
      !rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), rel_tensor(r, 0).rank, &axis))
    return false;
  if (axis > 1) return rel_error(r, "axis must be 0 or 1, found %d", axis);
  return rel_same_dim(r, rel_tensor(r, 0).dim[1 - axis], rel_tensor(r, 1).dim[0],
                      "the batch of data and of valid_length") &&
         relkit_identity(r);
}
static bool lower_sequence_mask(OpPlan *p) {
  OpOperand *o = plan_operand(p, 0);
  DType t = plan_operand(p, 1)->dtype, as = dtype_is_float(t) ? DT_f64 : DT_i64;
  int axis = relkit_axis(attr_int(p->attrs, "axis"), o->rank);
  Dim dim[3] = {o->dim[0], o->dim[1], relkit_product(p->cx->dims, o->rank - 2, o->dim + 2)};
  OpK k = opk_begin(p, "sequence_mask");
  KB *b = k.b;
  KTensor x = opk_in_as(&k, 0, 3, dim), len = opk_in(&k, 1);
  KTensor y = opk_out_as(&k, plan_result(p, 0), 3, dim);
  double value = attr_float(p->attrs, "mask_value");
  KE mask = dtype_is_float(x.dtype) ? kb_float(b, x.dtype, value)
                                    : kb_cast(b, kb_float(b, DT_f64, value), x.dtype);
  KE at[3];
  int loops = relkit_loops(&k, 3, y.dim, at);
  KE n = kb_cast(b, kb_load(b, len.buf, &at[1 - axis]), as);
  KE valid = kb_lt(b, kb_cast(b, at[axis], as), n);
  kb_store(b, y.buf, at, kb_select(b, valid, kb_load(b, x.buf, at), mask));
  opk_close(&k, loops);
  return opk_end(&k);
}
const OpDef op_sequence_mask = {
    .name = "sequence_mask",
    .doc = "data with the entries behind each sequence's length masked.",
    .args = {{"data", "(time, batch, ...), or (batch, time, ...) for axis 1", false},
             {"valid_length", "(batch) numbers", false}},
    .attrs = {{"mask_value", A_Float, "0.0", "what masked entries are"},
              {"axis", A_Int, "0", "the time axis, 0 or 1"}},
    .flags = OP_PURE,
    .pattern = PAT_Injective,
    .rel = rel_sequence_mask,
    .lower = lower_sequence_mask,
    .examples = (const char *const[]){"sequence_mask(f32[5,3,2], i32[3]<6)",
                                      "sequence_mask(i8[?2,4], i64[?2]<5, mask_value=-1f, axis=1)",
                                      "sequence_mask(f16[4,2], f32[2]>0)",
                                      "sequence_mask(f32[0,3], i32[3]<6)", NULL},
};

/* ---- reverse_sequence ------------------------------------------------------------------ */
static bool rel_reverse_sequence(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  int seq, batch;
  if (!rel_want_rank(r, 1, 1) || !rel_want_class(r, 1, "iu") ||
      !rel_axis(r, "seq_axis", attr_int(rel_attrs(r), "seq_axis"), x.rank, &seq) ||
      !rel_axis(r, "batch_axis", attr_int(rel_attrs(r), "batch_axis"), x.rank, &batch))
    return false;
  if (seq == batch) return rel_error(r, "seq_axis and batch_axis are both %d", seq);
  return rel_same_dim(r, x.dim[batch], rel_tensor(r, 1).dim[0],
                      "the batch of data and of seq_lengths") &&
         relkit_identity(r);
}
static bool lower_reverse_sequence(OpPlan *p) {
  int rank = plan_operand(p, 0)->rank;
  int seq = relkit_axis(attr_int(p->attrs, "seq_axis"), rank);
  int batch = relkit_axis(attr_int(p->attrs, "batch_axis"), rank);
  OpK k = opk_begin(p, "reverse_sequence");
  KB *b = k.b;
  KTensor x = opk_in(&k, 0), len = opk_in(&k, 1), y = opk_out(&k, plan_result(p, 0));
  KE zero = kb_int(b, 0), last = kb_sub(b, x.dim[seq], kb_int(b, 1)), at[MAX_RANK], from[MAX_RANK];
  KE one = kb_for(b, len.dim[0], K_PARALLEL), l = kb_cast(b, kb_load(b, len.buf, &one), DT_i64);
  kb_check(b, kb_and(b, kb_le(b, zero, l), kb_le(b, l, x.dim[seq])),
           "reverse_sequence: a length is negative or above the extent of seq_axis");
  kb_end(b);
  int loops = relkit_loops(&k, rank, y.dim, at);
  memcpy(from, at, sizeof from);
  KE n = kb_cast(b, kb_load(b, len.buf, &at[batch]), DT_i64);
  KE flipped = kb_sub(b, kb_sub(b, n, kb_int(b, 1)), at[seq]);
  KE to = kb_select(b, kb_lt(b, at[seq], n), flipped, at[seq]);
  from[seq] = kb_clamp(b, to, zero, last);
  kb_store(b, y.buf, at, kb_load(b, x.buf, from));
  opk_close(&k, loops);
  return opk_end(&k);
}
const OpDef op_reverse_sequence = {
    .name = "reverse_sequence",
    .doc = "data with the first entries of each sequence, as many as its length, in reverse order.",
    .args = {{"data", "two axes or more", false}, {"seq_lengths", "(batch) ints", false}},
    .attrs = {{"seq_axis", A_Int, "1", "along which it is reversed"},
              {"batch_axis", A_Int, "0", "along which the lengths run"}},
    .flags = OP_PURE,
    .pattern = PAT_Injective,
    .rel = rel_reverse_sequence,
    .lower = lower_reverse_sequence,
    .examples =
        (const char *const[]){"reverse_sequence(f32[3,5,2], i32[3]<6)",
                              "reverse_sequence(i8[?4,2,3], i64[3]<4, seq_axis=0, batch_axis=-1)",
                              "reverse_sequence(f16[2,4], i32[2]<5)",
                              "reverse_sequence(f32[0,3], i32[0])", NULL},
};

/* ---- sliding_window -------------------------------------------------------------------- */
static bool rel_sliding_window(Rel *r) {
  TensorTy x = rel_tensor(r, 0);
  const OpAttrVal *w = opattr(rel_attrs(r), "window_shape"), *s = opattr(rel_attrs(r), "strides");
  DimTab *t = rel_dims(r);
  Dim out[2 * MAX_RANK];
  int axis;
  if (!rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis)) return false;
  int n = x.rank - axis;
  if (w->n != n || s->n != n)
    return rel_error(r,
                     "window_shape and strides must have one entry for each of the %d axes from "
                     "axis on, found %d and %d",
                     n, w->n, s->n);
  if (x.rank + n > MAX_RANK)
    return rel_error(r, "the result would have %d axes; a tensor has at most %d", x.rank + n,
                     MAX_RANK);
  for (int i = 0; i < axis; i++) out[i] = x.dim[i];
  for (int i = 0; i < n; i++) {
    if (w->ints[i] < 1 || s->ints[i] < 1 || w->ints[i] > INT32_MAX || s->ints[i] > INT32_MAX)
      return rel_error(r, "window_shape and strides must be at least 1, found %lld and %lld",
                       (long long)w->ints[i], (long long)s->ints[i]);
    Dim size = dim_const(t, w->ints[i]), step = dim_const(t, s->ints[i]);
    if (!rel_at_least(r, x.dim[axis + i], size,
                      str_fmt("axis %d of data and its window", axis + i)))
      return false;
    out[axis + i] = dim_div(t, dim_add(t, dim_sub(t, x.dim[axis + i], size), step), step);
    out[x.rank + i] = size;
  }
  return rel_result(r, x.dtype, x.rank + n, out);
}
static bool lower_sliding_window(OpPlan *p) {
  const OpAttrVal *s = opattr(p->attrs, "strides");
  int rank = plan_operand(p, 0)->rank, axis = relkit_axis(attr_int(p->attrs, "axis"), rank);
  OpK k = opk_begin(p, "sliding_window");
  KB *b = k.b;
  KTensor x = opk_in(&k, 0), y = opk_out(&k, plan_result(p, 0));
  KE at[MAX_RANK], from[MAX_RANK];
  int loops = relkit_loops(&k, y.rank, y.dim, at);
  memcpy(from, at, sizeof from);
  for (int i = axis; i < rank; i++)
    from[i] = kb_add(b, kb_mul(b, at[i], kb_int(b, s->ints[i - axis])), at[rank + i - axis]);
  kb_store(b, y.buf, at, kb_load(b, x.buf, from));
  opk_close(&k, loops);
  return opk_end(&k);
}
const OpDef op_sliding_window = {
    .name = "sliding_window",
    .doc = "Windows sliding over the axes from axis on: their numbers stand there, their elements "
           "behind.",
    .args = {{"data", "any shape but a scalar", false}},
    .attrs = {{"axis", A_Int, NULL, "first axis that windows slide over"},
              {"window_shape", A_Ints, NULL, "extents of a window, from axis on"},
              {"strides", A_Ints, NULL, "steps, from axis on"}},
    .flags = OP_PURE,
    .pattern = PAT_Injective,
    .rel = rel_sliding_window,
    .lower = lower_sliding_window,
    .examples =
        (const char *const[]){
            "sliding_window(f32[2,7,9], axis=1, window_shape=[3, 4], strides=[2, 3])",
            "sliding_window(i8[?2,?7], axis=-1, window_shape=[2], strides=[1])",
            "sliding_window(f16[5], axis=0, window_shape=[5], strides=[2])",
            "sliding_window(f32[0,5], axis=1, window_shape=[2], strides=[2])", NULL},
};

/* ---- nn.fifo_buffer -------------------------------------------------------------------- */
static bool rel_fifo(Rel *r) {
  TensorTy x = rel_tensor(r, 0), old = rel_tensor(r, 1);
  int axis;
  if (!rel_want_rank(r, 1, x.rank) || !rel_same_dtype(r, 0, 1) ||
      !rel_axis(r, "axis", attr_int(rel_attrs(r), "axis"), x.rank, &axis))
    return false;
  for (int i = 0; i < x.rank; i++)
    if (i != axis &&
        !rel_same_dim(r, x.dim[i], old.dim[i], str_fmt("axis %d of data and of buffer", i)))
      return false;
  return rel_result(r, old.dtype, old.rank, old.dim);
}
/* rows entries of operand from, starting at `start`, become those from `to` on;
 * all is (before, axis, behind) of the result. */
static bool copy_part(OpPlan *p, OpRef from, Dim start, Dim to, Dim rows, const Dim *src,
                      const Dim *all) {
  OpK k = opk_begin(p, "fifo_buffer");
  KB *b = k.b;
  KTensor x = opk_in_as(&k, from, 3, src), y = opk_out_as(&k, plan_result(p, 0), 3, all);
  KE at[3], dim[3] = {y.dim[0], opk_dim(&k, rows), y.dim[2]};
  int loops = relkit_loops(&k, 3, dim, at);
  KE v = kb_load(b, x.buf, (KE[]){at[0], kb_add(b, at[1], opk_dim(&k, start)), at[2]});
  kb_store(b, y.buf, (KE[]){at[0], kb_add(b, at[1], opk_dim(&k, to)), at[2]}, v);
  opk_close(&k, loops);
  return opk_end(&k);
}
static bool lower_fifo(OpPlan *p) {
  OpOperand *x = plan_operand(p, 0), *old = plan_operand(p, 1);
  int axis = relkit_axis(attr_int(p->attrs, "axis"), x->rank);
  DimTab *t = p->cx->dims;
  Dim xd[3], bd[3], zero = dim_const(t, 0);
  relkit_around(t, x->rank, x->dim, axis, xd);
  relkit_around(t, old->rank, old->dim, axis, bd);
  Dim fresh = dim_min(t, xd[1], bd[1]), kept = dim_sub(t, bd[1], fresh);
  if (!dim_equal(kept, zero) && !copy_part(p, 1, fresh, zero, kept, bd, bd)) return false;
  return copy_part(p, 0, dim_sub(t, xd[1], fresh), kept, fresh, xd, bd);
}
const OpDef op_nn_fifo_buffer = {
    .name = "nn.fifo_buffer",
    .doc = "buffer with data put behind it along axis and as many of the oldest entries dropped.",
    .args = {{"data", "the new entries", false},
             {"buffer", "the shape of data but for axis", false}},
    .attrs = {{"axis", A_Int, "0", "along which entries stand"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_fifo,
    .lower = lower_fifo,
    .examples = (const char *const[]){"nn.fifo_buffer(f32[2,3], f32[5,3])",
                                      "nn.fifo_buffer(f32[3,?2,4], f32[3,6,4], axis=1)",
                                      "nn.fifo_buffer(i8[2,6], i8[2,4], axis=-1)",
                                      "nn.fifo_buffer(f16[?3], f16[?5])",
                                      "nn.fifo_buffer(f32[0,3], f32[2,3])", NULL},
};
