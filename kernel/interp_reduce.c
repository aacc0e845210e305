/* interp_reduce.c -- reductions along the strip.
 *
 * Lane l of a row goes to partial l mod PARTS; at the end the partials are
 * combined in a fixed tree, then with the initial value.  So the order depends
 * on the extents only.  Sums of halves are kept in float32 and rounded once.
 * min, max, and, or start every partial from the initial value, which does no
 * harm; add and mul from their identity (for floats -0 and 1).               */
#include "kernel/interp_priv.h"

/* The type in which partials live. */
static DType part_type(DType t) { return is_half(t) ? DT_f32 : t; }

static uint64_t identity(SOp op, DType t) {
  if (!dtype_is_float(t)) return op == S_mul;
  double d = op == S_mul ? 1.0 : -0.0;
  float f = (float)d;
  uint64_t lane = 0;
  if (t == DT_f64)
    memcpy(&lane, &d, 8);
  else
    memcpy(&lane, &f, 4);
  return lane;
}

void run_start(Run *r, const Ins *x) {
  int bytes = lane_bytes((DType)x->dtype);
  if (x->op == S_add || x->op == S_mul) {
    uint64_t lane = identity((SOp)x->op, (DType)x->dtype);
    char at[8];
    if (bytes == 4) {
      uint32_t low = (uint32_t)lane;
      memcpy(at, &low, 4);
    } else
      memcpy(at, &lane, 8);
    lane_splat(r->reg[x->out], at, bytes, PARTS);
  } else {
    lane_splat(r->reg[x->out], r->reg[x->a], bytes, PARTS);
  }
}

/* Sums of float are worth a loop that keeps the partials in registers. */
static void sum_f32(float *part, const float *v, int64_t n) {
  float s[PARTS];
  memcpy(s, part, sizeof s);
  for (int64_t i = 0; i + PARTS <= n; i += PARTS)
    for (int j = 0; j < PARTS; j++) s[j] += v[i + j];
  for (int64_t i = n - n % PARTS, j = 0; i < n; i++, j++) s[j] += v[i];
  memcpy(part, s, sizeof s);
}

KStatus run_acc(Run *r, const Ins *x) {
  DType t = part_type((DType)x->dtype);
  char *part = r->reg[x->out];
  const char *v = r->reg[x->a];
  if (x->op == S_add && t == DT_f32) {
    sum_f32((float *)part, (const float *)v, r->n);
    return K_OK;
  }
  int64_t step = (int64_t)lane_bytes(t) * PARTS;
  for (int64_t i = 0; i < r->n; i += PARTS, v += step) {
    KStatus s = x->fn(x, part, part, v, NULL, r->n - i < PARTS ? r->n - i : PARTS);
    if (s != K_OK) return s;
  }
  return K_OK;
}

KStatus run_fin(Run *r, const Ins *x) {
  DType t = part_type((DType)x->dtype);
  char *part = r->reg[x->a];
  KStatus s = K_OK;
  for (int64_t half = PARTS / 2; half > 0 && s == K_OK; half /= 2)
    s = x->fn(x, part, part, part + half * lane_bytes(t), NULL, half);
  if (s == K_OK) s = x->fn(x, r->reg[x->out], r->reg[x->b], part, NULL, 1);
  if (is_half((DType)x->dtype)) lane_round((DType)x->dtype, (float *)r->reg[x->out], 1);
  return s;
}
