/* dim_query.c -- what can be proved of extents; substitution and evaluation.
 *
 * Proofs are interval arithmetic over a - b, symbols being >= 0, and one test
 * of divisibility: 2 * n and 2 * m + 1 differ.                               */
#include "ir/dim_int.h"

bool dim_is_const(Dim d, int64_t *v) {
  if (d->kind != DIM_Const) return false;
  *v = d->value;
  return true;
}

bool dim_has_any(Dim d) { return d->kind == DIM_Any; } /* arithmetic on Any gives Any */
bool dim_equal(Dim a, Dim b) { return a == b && a->kind != DIM_Any; }

/* ---- bounds ---- */

static const Bound UNKNOWN = {0};

static Bound bound_exact(int64_t v) { return (Bound){true, true, v, v}; }
static bool is_natural(Bound b) { return b.has_lo && b.lo >= 0; }

static Bound bound_add(Bound a, Bound b) {
  Bound r;
  r.has_lo = a.has_lo && b.has_lo && i64_add(a.lo, b.lo, &r.lo);
  r.has_hi = a.has_hi && b.has_hi && i64_add(a.hi, b.hi, &r.hi);
  return r;
}

static Bound bound_scale(Bound a, int64_t k) {
  Bound r;
  bool up = k >= 0;
  r.has_lo = (up ? a.has_lo : a.has_hi) && i64_mul(up ? a.lo : a.hi, k, &r.lo);
  r.has_hi = (up ? a.has_hi : a.has_lo) && i64_mul(up ? a.hi : a.lo, k, &r.hi);
  return r;
}

static Bound bound_mul(Bound a, Bound b) {
  if (!is_natural(a) || !is_natural(b)) return UNKNOWN;
  Bound r;
  r.has_lo = i64_mul(a.lo, b.lo, &r.lo);
  r.has_hi = a.has_hi && b.has_hi && i64_mul(a.hi, b.hi, &r.hi);
  return r;
}

static Bound bound_div(Bound a, Bound b) {
  if (b.has_lo && b.has_hi && b.lo == b.hi && b.lo > 0) {
    Bound r = a;
    if (a.has_lo) r.lo = floor_div(a.lo, b.lo);
    if (a.has_hi) r.hi = floor_div(a.hi, b.lo);
    return r;
  }
  return is_natural(a) && is_natural(b) ? (Bound){true, a.has_hi, 0, a.hi} : UNKNOWN;
}

static Bound bound_mod(Bound a, Bound b) {
  if (!is_natural(b)) return UNKNOWN;
  Bound r = {true, b.has_hi, 0, b.has_hi && b.hi > 0 ? b.hi - 1 : 0};
  if (is_natural(a) && a.has_hi && (!r.has_hi || a.hi < r.hi)) {
    r.has_hi = true;
    r.hi = a.hi;
  }
  return r;
}

/* The smallest interval around both. */
static Bound bound_join(Bound a, Bound b) {
  return (Bound){a.has_lo && b.has_lo, a.has_hi && b.has_hi, a.lo < b.lo ? a.lo : b.lo,
                 a.hi > b.hi ? a.hi : b.hi};
}

static Bound bound_max(Bound a, Bound b) {
  Bound r = bound_join(a, b);
  r.has_lo = a.has_lo || b.has_lo;
  r.lo = !b.has_lo || (a.has_lo && a.lo > b.lo) ? a.lo : b.lo;
  return r;
}

static Bound bound_min(Bound a, Bound b) {
  Bound r = bound_join(a, b);
  r.has_hi = a.has_hi || b.has_hi;
  r.hi = !b.has_hi || (a.has_hi && a.hi < b.hi) ? a.hi : b.hi;
  return r;
}

static Bound bound_sum(Dim d) {
  Bound r = bound_exact(d->value);
  for (int i = 0; i < d->n_terms; i++)
    r = bound_add(r, bound_scale(dim_bound(d->term[i].atom), d->term[i].coeff));
  return r;
}

Bound dim_bound(Dim d) {
  switch (d->kind) {
  case DIM_Const: return bound_exact(d->value);
  case DIM_Any:
  case DIM_Sym:
  case DIM_Meta: return (Bound){true, false, 0, 0};
  case DIM_Sum: return bound_sum(d);
  case DIM_Mul: return bound_mul(dim_bound(d->a), dim_bound(d->b));
  case DIM_Div: return bound_div(dim_bound(d->a), dim_bound(d->b));
  case DIM_Mod: return bound_mod(dim_bound(d->a), dim_bound(d->b));
  case DIM_Max: return bound_max(dim_bound(d->a), dim_bound(d->b));
  case DIM_Min: return bound_min(dim_bound(d->a), dim_bound(d->b));
  case DIM_Bcast: return bound_join(dim_bound(d->a), dim_bound(d->b));
  }
  return UNKNOWN;
}

/* ---- differences ---- */

/* Walks the terms of a - b without making a node: *c is its constant part,
 * *gcd that of its coefficients (0: no terms).  False on overflow. */
static bool diff_walk(Dim a, Dim b, int64_t *c, int64_t *gcd, Bound *bound) {
  Lin x, y;
  lin_of(a, &x);
  lin_of(b, &y);
  *gcd = 0;
  if (!i64_sub(x.c, y.c, c)) return false;
  *bound = bound_exact(*c);
  for (int i = 0, j = 0; i < x.n || j < y.n;) {
    bool left = j == y.n || (i < x.n && x.term[i].atom->id <= y.term[j].atom->id);
    bool right = i == x.n || (j < y.n && y.term[j].atom->id <= x.term[i].atom->id);
    Dim atom = left ? x.term[i].atom : y.term[j].atom;
    int64_t p = left ? x.term[i++].coeff : 0, q = right ? y.term[j++].coeff : 0, k;
    if (!i64_sub(p, q, &k) || k == INT64_MIN) return false;
    if (k == 0) continue;
    *bound = bound_add(*bound, bound_scale(dim_bound(atom), k));
    for (int64_t m = k; m != 0;) {
      int64_t r = *gcd % m;
      *gcd = m;
      m = r;
    }
  }
  return true;
}

Bound dim_bound_diff(Dim a, Dim b) {
  int64_t c, gcd;
  Bound r;
  if (a->kind == DIM_Any || b->kind == DIM_Any) return UNKNOWN;
  return diff_walk(a, b, &c, &gcd, &r) ? r : UNKNOWN;
}

bool dim_differ(Dim a, Dim b) {
  int64_t c, gcd;
  Bound r;
  if (a->kind == DIM_Any || b->kind == DIM_Any || a == b || !diff_walk(a, b, &c, &gcd, &r))
    return false;
  if ((r.has_lo && r.lo > 0) || (r.has_hi && r.hi < 0)) return true;
  return gcd != 0 && gcd != -1 && c % gcd != 0;
}

/* ---- substitution ---- */

static Dim rebuild(DimTab *t, DimKind kind, Dim a, Dim b) {
  switch (kind) {
  case DIM_Mul: return dim_mul(t, a, b);
  case DIM_Div: return dim_div(t, a, b);
  case DIM_Mod: return dim_mod(t, a, b);
  case DIM_Max: return dim_max(t, a, b);
  case DIM_Min: return dim_min(t, a, b);
  case DIM_Bcast: return dim_bcast(t, a, b);
  case DIM_Const:
  case DIM_Any:
  case DIM_Sym:
  case DIM_Meta:
  case DIM_Sum: break;
  }
  return dim_any(t);
}

static Dim subst_sum(DimTab *t, Dim d, Dim (*f)(void *, Dim), void *ud) {
  Dim sum = dim_const(t, d->value);
  bool changed = false;
  for (int i = 0; i < d->n_terms; i++) {
    Dim atom = dim_subst(t, d->term[i].atom, f, ud);
    changed |= atom != d->term[i].atom;
    sum = dim_add(t, sum, dim_mul(t, dim_const(t, d->term[i].coeff), atom));
  }
  return changed ? sum : d;
}

Dim dim_subst(DimTab *t, Dim d, Dim (*f)(void *, Dim sym), void *ud) {
  switch (d->kind) {
  case DIM_Const:
  case DIM_Any: return d;
  case DIM_Sym:
  case DIM_Meta: {
    Dim r = f(ud, d);
    return r ? r : d;
  }
  case DIM_Sum: return subst_sum(t, d, f, ud);
  case DIM_Mul:
  case DIM_Div:
  case DIM_Mod:
  case DIM_Max:
  case DIM_Min:
  case DIM_Bcast: break;
  }
  Dim a = dim_subst(t, d->a, f, ud), b = dim_subst(t, d->b, f, ud);
  return a == d->a && b == d->b ? d : rebuild(t, d->kind, a, b);
}

void dim_visit_syms(Dim d, void (*f)(void *, Dim sym), void *ud) {
  if (d->kind == DIM_Sym || d->kind == DIM_Meta) f(ud, d);
  for (int i = 0; i < d->n_terms; i++) dim_visit_syms(d->term[i].atom, f, ud);
  if (d->a) dim_visit_syms(d->a, f, ud);
  if (d->b) dim_visit_syms(d->b, f, ud);
}

/* ---- evaluation ---- */

typedef bool (*DimEnv)(void *, Dim sym, int64_t *v);

static bool eval_div(int64_t a, int64_t b, int64_t *q, int64_t *r) {
  if (b == 0 || (a == INT64_MIN && b == -1)) return false;
  *q = a / b;
  *r = a % b;
  if (*r != 0 && (*r < 0) != (b < 0)) {
    *q -= 1;
    *r += b;
  }
  return true;
}

static bool eval_sum(Dim d, DimEnv env, void *ud, int64_t *out) {
  *out = d->value;
  for (int i = 0; i < d->n_terms; i++) {
    int64_t v;
    if (!dim_eval(d->term[i].atom, env, ud, &v) || !i64_mul(v, d->term[i].coeff, &v) ||
        !i64_add(*out, v, out))
      return false;
  }
  return true;
}

bool dim_eval(Dim d, DimEnv env, void *ud, int64_t *out) {
  int64_t a, b, other;
  if (d->kind == DIM_Sum) return eval_sum(d, env, ud, out);
  if (d->a && (!dim_eval(d->a, env, ud, &a) || !dim_eval(d->b, env, ud, &b))) return false;
  switch (d->kind) {
  case DIM_Const: *out = d->value; return true;
  case DIM_Any: return false;
  case DIM_Sym:
  case DIM_Meta: return env(ud, d, out);
  case DIM_Mul: return i64_mul(a, b, out);
  case DIM_Div: return eval_div(a, b, out, &other);
  case DIM_Mod: return eval_div(a, b, &other, out);
  case DIM_Max: *out = a > b ? a : b; return true;
  case DIM_Min: *out = a < b ? a : b; return true;
  case DIM_Bcast: *out = a == 1 ? b : a; return true;
  case DIM_Sum: break;
  }
  return false;
}
