/* prim_fuse.c -- the kernels of a primitive function as few as they can be.
 *
 * A known scalar is a number in the kernels that read it; then each kernel is offered to the
 * kernels that feed it (kernel/fuse.h).
 *
 * Checks keep their order: a step that cannot fail may move, one that can never
 * passes another.                                                            */
#include "codegen/lower/prim.h"
#include "kernel/build.h"
#include "kernel/fuse.h"

bool prim_fails(const OpStep *s) {
  switch (s->kind) {
  case STEP_KERNEL: return kernel_may_fail(s->kernel, lower_alloc());
  case STEP_RUNTIME:
  case STEP_CHECK: return true;
  case STEP_VIEW:
  case STEP_ALIAS:
  case STEP_BIND_DIM:
  case STEP_DIM_VALUE: break;
  }
  return false;
}

static bool reads(const Prim *p, const Item *it, OpRef root) {
  const OpStep *s = &it->step;
  if (it->gone || it->oblige) return false;
  for (int i = 0; i < s->n_in; i++)
    if (p->root.at[s->in[i]] == root && (s->kind != STEP_KERNEL || s->kernel->buf[i].role == K_IN))
      return true;
  return false;
}
static bool writes(const Prim *p, const Item *it, OpRef root) {
  const OpStep *s = &it->step;
  if (it->gone || it->oblige) return false;
  for (int i = 0; s->kind == STEP_KERNEL && i < s->n_in; i++)
    if (p->root.at[s->in[i]] == root && s->kernel->buf[i].role != K_IN) return true;
  for (int i = 0; i < s->n_out; i++)
    if (p->root.at[s->out[i]] == root) return true;
  return false;
}

/* Is memory `root` read by others than the item being offered, or a result? */
static bool is_wanted(void *ud, uint32_t root) {
  Prim *p = ud;
  for (int i = 0; i < p->result.n; i++)
    if (p->root.at[p->result.at[i]] == (OpRef)root) return true;
  for (int i = 0; i < p->item.n; i++)
    if (i != p->at && reads(p, &p->item.at[i], (OpRef)root)) return true;
  return false;
}

static bool is_kernel(const Item *it) {
  return !it->gone && !it->oblige && it->step.kind == STEP_KERNEL &&
         !op_is_scalar_kernel(it->step.kernel);
}

/* May what p does be done where c stands?  It is between lo and hi. */
static bool can_sink(const Prim *p, int lo, int hi) {
  const Item *from = &p->item.at[lo];
  for (int i = lo + 1; i < hi; i++) {
    const Item *it = &p->item.at[i];
    if (it->gone) continue;
    if (from->fails && it->fails) return false;
    for (int k = 0; k < from->step.n_in; k++)
      if (from->step.kernel->buf[k].role != K_IN && reads(p, it, from->step.in[k])) return false;
  }
  return true;
}
/* ... or what c does where p stands? */
static bool can_rise(const Prim *p, int lo, int hi) {
  const Item *to = &p->item.at[hi];
  for (int i = lo + 1; i < hi; i++) {
    const Item *it = &p->item.at[i];
    if (it->gone) continue;
    if ((to->fails && it->fails) || it->oblige || it->step.kind == STEP_BIND_DIM) return false;
    for (int k = 0; k < to->step.n_in; k++)
      if (to->step.kernel->buf[k].role == K_IN && writes(p, it, to->step.in[k])) return false;
  }
  return true;
}

static uint32_t sym_number(Prim *p, Dim d) {
  for (int i = 0; i < p->sym.n; i++)
    if (p->sym.at[i] == d) return (uint32_t)i;
  vec_push(&p->sym, d);
  return (uint32_t)p->sym.n - 1;
}

static KPart part_of(Prim *p, const OpStep *s) {
  uint32_t *buf = NEW_N(uint32_t, s->n_in + 1), *sym = NEW_N(uint32_t, s->n_dim + 1);
  for (int i = 0; i < s->n_in; i++) buf[i] = (uint32_t)s->in[i];
  for (int i = 0; i < s->n_dim; i++) sym[i] = sym_number(p, s->dim[i]);
  return (KPart){s->kernel, buf, sym};
}

static OpStep step_of(Prim *p, const KFused *out) {
  const Kernel *k = out->k;
  OpStep s = {
      .kind = STEP_KERNEL, .kernel = out->k, .n_in = (int)k->n_params, .n_dim = (int)k->n_syms};
  s.in = NEW_N(OpRef, s.n_in + 1);
  s.dim = NEW_N(Dim, s.n_dim + 1);
  for (int i = 0; i < s.n_in; i++) s.in[i] = (OpRef)out->buf[i];
  for (int i = 0; i < s.n_dim; i++) s.dim[i] = p->sym.at[out->sym[i]];
  return s;
}

/* ---- constants ---- */
static bool nobody(void *ud, uint32_t root) { return (void)ud, (void)root, false; }

/* A scalar that is known is a number in the kernel: as if a kernel without a
 * name had made it. */
static Kernel *number_kernel(const Tensor *t) {
  KB *b = kb_new(lower_alloc(), "");
  uint64_t bits = 0;
  memcpy(&bits, t->bytes, (size_t)dtype_bytes(t->dtype));
  uint32_t y = kb_buf(b, K_OUT, "y", t->dtype, 0, NULL);
  kb_store(b, y, NULL, kb_bits_const(b, t->dtype, bits));
  return kb_done(b);
}

static bool put_number(Prim *p, Item *it) {
  for (int i = 0; i < it->step.n_in; i++) {
    uint32_t r = (uint32_t)it->step.in[i];
    const Tensor *t = p->o.p.constant[r];
    Kernel *k = t && t->rank == 0 ? number_kernel(t) : NULL;
    KFused out;
    if (!k || !kernel_fuse((KPart){k, &r, NULL}, part_of(p, &it->step), (KWanted){nobody, NULL},
                           lower_alloc(), &out))
      continue;
    it->step = step_of(p, &out);
    it->fails = it->fails && prim_fails(&it->step);
    return true;
  }
  return false;
}
static void put_numbers(Prim *p) {
  for (int i = 0; i < p->item.n; i++)
    while (is_kernel(&p->item.at[i]) && put_number(p, &p->item.at[i])) continue;
}

/* Fuse item lo into item hi; the place of the result, or -1. */
static int fuse_two(Prim *p, int lo, int hi) {
  Item *a = &p->item.at[lo], *b = &p->item.at[hi];
  bool sink = can_sink(p, lo, hi);
  KFused out;
  if (!is_kernel(a) || (!sink && !can_rise(p, lo, hi))) return -1;
  for (int i = 0; i < a->step.n_in; i++)
    if (a->step.kernel->buf[i].role == K_OUT && reads(p, b, a->step.in[i]) &&
        p->writers.at[a->step.in[i]] != 1)
      return -1;
  p->at = hi;
  if (!kernel_fuse(part_of(p, &a->step), part_of(p, &b->step), (KWanted){is_wanted, p},
                   lower_alloc(), &out))
    return -1;
  int at = sink ? hi : lo;
  Item made = {.step = step_of(p, &out),
               .span = a->fails ? a->span : b->span,
               .fails = a->fails || b->fails};
  a->gone = b->gone = true;
  p->item.at[at] = made;
  return at;
}

static bool feeds(const Prim *p, const Item *a, const Item *b) {
  for (int i = 0; i < a->step.n_in; i++)
    if (a->step.kernel->buf[i].role == K_OUT && reads(p, b, a->step.in[i])) return true;
  return false;
}

static void fuse_all(Prim *p) {
  for (int hi = 1; hi < p->item.n; hi++) {
    int c = hi;
    for (int lo = c - 1; lo >= 0 && is_kernel(&p->item.at[c]); lo--) {
      if (!is_kernel(&p->item.at[lo]) || !feeds(p, &p->item.at[lo], &p->item.at[c])) continue;
      int at = fuse_two(p, lo, c);
      if (at < 0) continue;
      c = at; /* all that feeds the new one may fuse with it */
      lo = c;
    }
  }
}

void prim_fuse(Prim *p) {
  put_numbers(p);
  fuse_all(p);
}
