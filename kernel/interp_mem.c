/* interp_mem.c -- strips to and from memory.
 *
 * The indices of an access are, per dimension, either a first value and a
 * constant step per lane (the common case: then the whole access has one step,
 * and a step of 1 is a plain copy, or no copy at all) or a strip of values (a
 * gather).  Bounds were proved before the launch, except for load_or, which
 * finds the lanes that are inside: an interval when all steps are constant.   */
#include "kernel/interp_priv.h"

#define AS_IS(v) (v)
#define TRUTH(v) ((v) != 0)
/* One loader and one storer per memory type: contiguous, stepped, gathered. */
#define MEMORY(name, M, L, get, put)                                                               \
  static void load_##name(void *lanes, const void *mem, int64_t step, const int64_t *at,           \
                          int64_t n) {                                                             \
    L *o = lanes;                                                                                  \
    const M *m = mem;                                                                              \
    if (at)                                                                                        \
      for (int64_t i = 0; i < n; i++) o[i] = (L)get(m[at[i]]);                                     \
    else if (step == 1)                                                                            \
      for (int64_t i = 0; i < n; i++) o[i] = (L)get(m[i]);                                         \
    else                                                                                           \
      for (int64_t i = 0; i < n; i++) o[i] = (L)get(m[i * step]);                                  \
  }                                                                                                \
  static void store_##name(void *mem, const void *lanes, int64_t step, const int64_t *at,          \
                           int64_t n) {                                                            \
    const L *o = lanes;                                                                            \
    M *m = mem;                                                                                    \
    if (at)                                                                                        \
      for (int64_t i = 0; i < n; i++) m[at[i]] = (M)put(o[i]);                                     \
    else if (step == 1)                                                                            \
      for (int64_t i = 0; i < n; i++) m[i] = (M)put(o[i]);                                         \
    else                                                                                           \
      for (int64_t i = 0; i < n; i++) m[i * step] = (M)put(o[i]);                                  \
  }
MEMORY(bool, uint8_t, int64_t, TRUTH, TRUTH)
MEMORY(i8, int8_t, int64_t, AS_IS, AS_IS)
MEMORY(i16, int16_t, int64_t, AS_IS, AS_IS)
MEMORY(i32, int32_t, int64_t, AS_IS, AS_IS)
MEMORY(u8, uint8_t, int64_t, AS_IS, AS_IS)
MEMORY(u16, uint16_t, int64_t, AS_IS, AS_IS)
MEMORY(u32, uint32_t, int64_t, AS_IS, AS_IS)
MEMORY(w8, uint64_t, uint64_t, AS_IS, AS_IS)
MEMORY(w4, uint32_t, uint32_t, AS_IS, AS_IS)
MEMORY(f16, uint16_t, float, f16_to_f32, f32_to_f16)
MEMORY(bf16, uint16_t, float, bf16_to_f32, f32_to_bf16)

static const struct {
  LoadFn load;
  StoreFn store;
} memory[DT_COUNT] = {
#define M(t, name) [DT_##t] = {load_##name, store_##name},
    M(bool, bool) M(i8, i8) M(i16, i16) M(i32, i32) M(i64, w8) M(u8, u8) M(u16, u16) M(u32, u32)
        M(u64, w8) M(f16, f16) M(bf16, bf16) M(f32, w4) M(f64, w8)
#undef M
};
LoadFn lane_load(DType t) { return memory[t].load; }
StoreFn lane_store(DType t) { return memory[t].store; }

/* ---- addresses ------------------------------------------------------------------- */
/* The first lane's element, and elements from lane to lane.  The element may be
 * anywhere when it is one of a load_or. */
typedef struct {
  char *mem;
  int64_t at, step, bytes;
} Place;

/* In integers: an empty tensor has no memory, and an element of a load_or may
 * lie outside. */
static char *element(Place p) {
  return (char *)((uintptr_t)p.mem + (uintptr_t)p.at * (uintptr_t)p.bytes);
}

static int64_t dim_step(const Run *r, const AccessDim *d) {
  if (d->factor == NO_REG) return d->coef;
  return (int64_t)((uint64_t)d->coef * (uint64_t)reg_i64(r, d->factor));
}

/* A kernel of scalars has no table of dimensions. */
static const AccessDim *access_dims(const Run *r, const Access *a) {
  return a->rank ? r->p->dim + a->dim : NULL;
}

/* Of the dimensions with constant steps; at lane lo. */
static Place place_of(const Run *r, const Access *a) {
  const RunBuf *b = &r->buf[a->buf];
  const AccessDim *d = access_dims(r, a);
  uint64_t at = 0, step = 0;
  for (int i = 0; i < a->rank; i++, d++) {
    if (d->strip) continue;
    uint64_t stride = (uint64_t)b->stride[i];
    at += (uint64_t)reg_i64(r, d->reg) * stride;
    if (d->coef) step += (uint64_t)dim_step(r, d) * stride;
  }
  at += step * (uint64_t)r->lo;
  int64_t bytes = dtype_bytes((DType)r->p->k->buf[a->buf].dtype);
  return (Place){b->mem, (int64_t)at, (int64_t)step, bytes};
}

/* Elements from lane to lane, without the values of this run where they are not
 * known yet (known = false: treat as scattered). */
int64_t access_step(const Run *r, const Access *a, bool *known) {
  const AccessDim *d = access_dims(r, a);
  int64_t step = 0;
  *known = a->affine;
  for (int i = 0; i < a->rank; i++, d++) {
    if (d->strip || (d->coef && d->factor != NO_REG))
      *known = false;
    else
      step += d->coef * r->buf[a->buf].stride[i];
  }
  return step;
}

/* Positions of all lanes, for accesses with some dimension in a strip. */
static void gather_offsets(Run *r, const Access *a, Place p) {
  const RunBuf *b = &r->buf[a->buf];
  const AccessDim *d = access_dims(r, a);
  uint64_t *o = (uint64_t *)r->tmp;
  for (int64_t l = 0; l < r->n; l++) o[l] = (uint64_t)p.at + (uint64_t)l * (uint64_t)p.step;
  for (int i = 0; i < a->rank; i++, d++) {
    if (!d->strip) continue;
    uint64_t stride = (uint64_t)b->stride[i];
    const uint64_t *v = (const uint64_t *)(const void *)r->reg[d->reg];
    for (int64_t l = 0; l < r->n; l++) o[l] += v[l] * stride;
  }
}

/* ---- load_or --------------------------------------------------------------------- */
static int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b > 0); } /* b > 0 */

/* Narrow [*from, *to) to the lanes where 0 <= h + c * lane < n.  False: numbers
 * too large to reason about. */
static bool narrow(int64_t h, int64_t c, int64_t n, int64_t *from, int64_t *to) {
  const int64_t big = (int64_t)1 << 40;
  if (h < -big || h > big || c < -big || c > big || n > big) return false;
  int64_t lo = *from, hi = *to;
  if (c == 0) {
    if (h < 0 || h >= n) hi = lo;
  } else if (c > 0) {
    lo = ceil_div(-h, c);
    hi = ceil_div(n - h, c);
  } else {
    lo = ceil_div(h - n + 1, -c);
    hi = ceil_div(h + 1, -c);
  }
  if (lo > *from) *from = lo;
  if (hi < *to) *to = hi;
  if (*to <= *from) *from = *to = 0; /* no lane */
  return true;
}

static bool inside_interval(const Run *r, const Access *a, int64_t lanes, int64_t *from,
                            int64_t *to) {
  const AccessDim *d = access_dims(r, a);
  *from = 0, *to = lanes;
  for (int i = 0; i < a->rank; i++, d++) {
    int64_t c = d->coef ? dim_step(r, d) : 0;
    int64_t h = (int64_t)((uint64_t)reg_i64(r, d->reg) + (uint64_t)c * (uint64_t)r->lo);
    if (!narrow(h, c, r->buf[a->buf].dim[i], from, to)) return false;
  }
  return true;
}

static bool lane_inside(const Run *r, const Access *a, int64_t l) {
  const AccessDim *d = access_dims(r, a);
  for (int i = 0; i < a->rank; i++, d++) {
    uint64_t c = d->coef ? (uint64_t)dim_step(r, d) : 0;
    uint64_t v = d->strip ? ((const uint64_t *)(const void *)r->reg[d->reg])[l]
                          : (uint64_t)reg_i64(r, d->reg) + c * (uint64_t)(r->lo + l);
    if (v >= (uint64_t)r->buf[a->buf].dim[i]) return false;
  }
  return true;
}

static void load_or(Run *r, const Ins *x, const Access *a, Place p, int64_t lanes) {
  int64_t lane = lane_bytes((DType)x->dtype), from, to;
  char *out = r->reg[x->out];
  LoadFn load = memory[x->dtype].load;
  if (a->affine && inside_interval(r, a, lanes, &from, &to)) {
    const char *other = r->reg[x->c];
    if (from > 0) memcpy(out, other, (size_t)(from * lane));
    if (to < lanes) memcpy(out + to * lane, other + to * lane, (size_t)((lanes - to) * lane));
    p.at = (int64_t)((uint64_t)p.at + (uint64_t)from * (uint64_t)p.step);
    if (from < to) load(out + from * lane, element(p), p.step, NULL, to - from);
    return;
  }
  memcpy(out, r->reg[x->c], (size_t)(lanes * lane));
  if (!a->affine) gather_offsets(r, a, p);
  for (int64_t l = 0; l < lanes; l++) {
    if (!lane_inside(r, a, l)) continue;
    uint64_t at = (uint64_t)p.at + (uint64_t)l * (uint64_t)p.step;
    Place q = {p.mem, a->affine ? (int64_t)at : r->tmp[l], 1, p.bytes};
    load(out + l * lane, element(q), 1, NULL, 1);
  }
}

/* ---- the two instructions -------------------------------------------------------- */
void run_load(Run *r, const Ins *x) {
  const Access *a = &r->p->access[x->at];
  Place p = place_of(r, a);
  int64_t lanes = x->flags & IF_Strip ? r->n : 1;
  if (x->flags & IF_Or) {
    load_or(r, x, a, p, lanes);
    return;
  }
  if (x->flags & IF_Alias) {
    bool whole = p.step == 1 && a->affine;
    r->reg[x->out] = whole ? element(p) : strip_slot(r, x->out);
    if (whole) return;
  }
  if (a->affine)
    memory[x->dtype].load(r->reg[x->out], element(p), p.step, NULL, lanes);
  else {
    gather_offsets(r, a, p);
    memory[x->dtype].load(r->reg[x->out], p.mem, 0, r->tmp, lanes);
  }
}

char *store_target(Run *r, const Ins *x) {
  const Access *a = &r->p->access[x->at];
  if (!a->affine) return NULL;
  Place p = place_of(r, a);
  return p.step == 1 ? element(p) : NULL;
}

void run_store(Run *r, const Ins *x) {
  const Access *a = &r->p->access[x->at];
  Place p = place_of(r, a);
  int64_t lanes = x->flags & IF_Strip ? r->n : 1;
  StoreFn store = memory[x->dtype].store;
  if (!a->affine) {
    gather_offsets(r, a, p);
    store(p.mem, r->reg[x->a], 0, r->tmp, lanes);
    return;
  }
  char *to = element(p);
  if (to != r->reg[x->a] || p.step != 1) /* else written in place */
    store(to, r->reg[x->a], p.step, NULL, lanes);
}
