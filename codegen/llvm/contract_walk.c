/* contract_walk.c -- where the data that a window reads lies in memory: positions
 * by output and by tap, what is outside, and in which order taps are taken.   */
#include "codegen/llvm/contract.h"

static const Set *set_of(const Con *c, int i) {
  return i == 0 ? &c->batch : i == 3 ? &c->red : &c->side[i - 1];
}

/* Does nothing but the direction move index x? */
static bool own_index(const Con *c, KE x, const Way *d) {
  for (int s = 0; s < 4; s++)
    for (int i = 0; i < set_of(c, s)->n; i++) {
      uint32_t var = set_of(c, s)->axis[i].var;
      if (var != d->out && var != d->tap && expr_uses(c->e, x, var)) return false;
    }
  return true;
}

bool find_walk(const Con *c, const KNode *load, const Way *d, Walk *r) {
  Emit *e = c->e;
  *r = (Walk){.extent = 1, .dim = -1};
  if (d->out == KE_NONE && d->tap == KE_NONE) return true;
  for (int i = 0; i < load->rank; i++) {
    KE x = e->k->pool[load->b + (uint32_t)i];
    int64_t out = 0, tap = 0;
    bool moves = d->out != KE_NONE && index_uses(e, x, d->out, &out);
    moves |= d->tap != KE_NONE && index_uses(e, x, d->tap, &tap);
    if (!moves) continue;
    if (r->dim >= 0 || !own_index(c, x, d)) return false;
    r->per_out = out, r->per_tap = tap;
    r->dim = i;
  }
  if (r->dim < 0) return false;
  r->pitch = 1;
  for (int i = r->dim + 1; i < load->rank; i++) {
    int64_t ext;
    if (!val_known(e->dim[load->a][i], &ext)) return false;
    r->pitch *= ext;
  }
  set_index(e, d->out, i64_of(e, 0));
  set_index(e, d->tap, i64_of(e, 0));
  return val_known(emit_expr(e, e->k->pool[load->b + (uint32_t)r->dim]), &r->origin) &&
         val_known(e->dim[load->a][r->dim], &r->extent);
}

void zero_all(const Con *c) {
  for (int s = 0; s < 4; s++)
    for (int i = 0; i < set_of(c, s)->n; i++)
      set_var(c->e, set_of(c, s)->axis[i].var, i64_of(c->e, 0));
}

/* Is index i surely in its bounds: an axis of the same extent, or within a known one? */
static bool index_inside(const Con *c, const KNode *load, int i) {
  Emit *e = c->e;
  KE x = e->k->pool[load->b + (uint32_t)i], dim = e->k->buf[load->a].dim[i];
  int64_t most = 0, first, coef, extent;
  bool known = val_known(e->dim[load->a][i], &extent), same = false;
  for (int s = 0; s < 4; s++)
    for (int j = 0; j < set_of(c, s)->n; j++) {
      const Axis *a = &set_of(c, s)->axis[j];
      int64_t n = known_or(a->n, -1);
      if (n == 1 || !index_uses(e, x, a->var, &coef)) continue;
      if (coef < 0 || same) return false;
      same = coef == 1 && most == 0 && a->ext == dim;
      if (n > 0 && !same) most += coef * (n - 1);
      if (n <= 0) known = false;
    }
  return val_known(emit_expr(e, x), &first) &&
         ((same && first == 0) || (known && first >= 0 && first + most < extent));
}

bool find_source(const Window *w, Source *s) {
  const Con *c = w->c;
  Emit *e = c->e;
  const KNode *n = s->load = &e->k->node[c->factor[w->data]], *other;
  if ((n->kind != KN_Load && n->kind != KN_LoadOr) || (DType)n->dtype != c->t) return false;
  if (n->kind == KN_LoadOr) {
    other = &e->k->node[n->c];
    if (other->kind != KN_Const || other->bits != 0) return false;
  }
  zero_all(c);
  if (!find_walk(c, n, &w->down, &s->down) || !find_walk(c, n, &w->across, &s->across))
    return false;
  for (int i = 0; i < n->rank; i++)
    if (i != s->down.dim && i != s->across.dim && n->kind == KN_LoadOr && !index_inside(c, n, i))
      return false;
  return true;
}

Val source_start(const Con *c, const Source *s) {
  Emit *e = c->e;
  Val index[K_MAX_RANK];
  for (int i = 0; i < s->load->rank; i++) {
    bool own = i == s->down.dim || i == s->across.dim;
    index[i] = own ? i64_of(e, 0) : emit_expr(e, e->k->pool[s->load->b + (uint32_t)i]);
  }
  return emit_address(e, s->load->a, index);
}

bool walk_inside(const Walk *r, int64_t out, int64_t tap) {
  int64_t at = r->origin + r->per_out * out + r->per_tap * tap;
  return at >= 0 && at < r->extent;
}

bool taps_in_rows(const Window *w) {
  const Con *c = w->c;
  const uint32_t order[3] = {w->down.tap, w->across.tap, w->channel};
  int at = 0;
  for (int i = 0; i < c->red.n; i++) {
    if (known_or(c->red.axis[i].n, 0) == 1) continue;
    while (at < 3 && order[at] != c->red.axis[i].var) at++;
    if (at == 3) return false;
  }
  return true;
}

Set images(const Con *c, int side) {
  Set s = c->side[side];
  s.n = s.n > 2 ? s.n - 2 : 0;
  s.n_zero = 0;
  return s;
}
