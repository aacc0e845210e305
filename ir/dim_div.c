/* dim_div.c -- floor division, remainder, max, min and broadcast of extents.
 *
 * Division by a constant c splits every coefficient into q * c + r with
 * 0 <= r < c, which is exact for floor division and makes the form unique up
 * to multiples of c.  Division by a product of symbols takes out the terms
 * that contain it, and polynomials that divide exactly are divided out, so
 * that the -1 of a reshape finds its extent.                                 */
#include "ir/dim_int.h"

static int64_t gcd64(int64_t a, int64_t b) {
  while (b) {
    int64_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}

static Dim neg(DimTab *t, Dim d) { return dim_sub(t, dim_const(t, 0), d); }
static bool is_any(Dim d) { return d->kind == DIM_Any; }

/* ---- by a constant ---- */

/* d = c * quot + rem, the coefficients of rem in [0, c). */
static void split_by(const Lin *d, int64_t c, Poly *quot, Poly *rem) {
  int64_t q = floor_div(d->c, c);
  poly_add_const(quot, q);
  poly_add_const(rem, floor_mod(d->c, c));
  for (int i = 0; i < d->n; i++) {
    int64_t k = d->term[i].coeff, r = floor_mod(k, c);
    q = floor_div(k, c);
    if (q) poly_add_term(quot, d->term[i].atom, q);
    if (r) poly_add_term(rem, d->term[i].atom, r);
  }
}

/* rem = g * out + r with 0 <= r < g; g divides every coefficient but not
 * necessarily the constant. */
static Dim scale_down(DimTab *t, const Lin *rem, int64_t g, int64_t *r) {
  Poly p = {0};
  int64_t q = floor_div(rem->c, g);
  poly_add_const(&p, q);
  *r = floor_mod(rem->c, g);
  for (int i = 0; i < rem->n; i++) poly_add_term(&p, rem->term[i].atom, rem->term[i].coeff / g);
  return poly_done(t, &p);
}

static int64_t coeff_gcd(const Lin *l, int64_t g) {
  for (int i = 0; i < l->n; i++) g = gcd64(g, l->term[i].coeff);
  return g;
}

static bool fits_below(Dim d, int64_t c) {
  Bound b = dim_bound(d);
  return b.has_lo && b.lo >= 0 && b.has_hi && b.hi < c;
}

/* floor(rem / c), every coefficient of rem in [0, c), rem not constant. */
static Dim div_rest(DimTab *t, Dim rem, int64_t c) {
  Lin l;
  lin_of(rem, &l);
  int64_t g = coeff_gcd(&l, c), r;
  if (g > 1) {
    rem = scale_down(t, &l, g, &r);
    c /= g;
    lin_of(rem, &l);
  }
  if (fits_below(rem, c)) return dim_const(t, 0);
  /* floor((floor(x / a) + k) / c) = floor((x + a * k) / (a * c)) */
  int64_t a, ak, ac;
  if (l.n == 1 && l.term[0].coeff == 1 && l.term[0].atom->kind == DIM_Div &&
      dim_is_const(l.term[0].atom->b, &a) && i64_mul(a, l.c, &ak) && i64_mul(a, c, &ac))
    return dim_div(t, dim_add(t, l.term[0].atom->a, dim_const(t, ak)), dim_const(t, ac));
  return dim_node(t, DIM_Div, rem, dim_const(t, c));
}

static Dim div_const(DimTab *t, Dim a, int64_t c) {
  Lin l;
  Poly quot = {0}, rem = {0};
  lin_of(a, &l);
  split_by(&l, c, &quot, &rem);
  Dim q = poly_done(t, &quot), r = poly_done(t, &rem);
  if (is_any(q) || is_any(r)) return dim_any(t);
  int64_t v;
  return dim_is_const(r, &v) ? q : dim_add(t, q, div_rest(t, r, c));
}

static Dim mod_const(DimTab *t, Dim a, int64_t c) {
  Lin l;
  Poly quot = {0}, rem = {0};
  lin_of(a, &l);
  split_by(&l, c, &quot, &rem);
  Dim r = poly_done(t, &rem);
  int64_t v, g, rest = 0;
  if (is_any(r) || dim_is_const(r, &v) || fits_below(r, c)) return r;
  lin_of(r, &l);
  g = coeff_gcd(&l, c);
  /* (g * x + k) mod (g * c) = g * ((x + k / g) mod c) + k mod g */
  if (g > 1) r = scale_down(t, &l, g, &rest);
  Dim m = fits_below(r, c / g) ? r : dim_node(t, DIM_Mod, r, dim_const(t, c / g));
  return dim_add(t, dim_mul(t, m, dim_const(t, g)), dim_const(t, rest));
}

/* ---- by something symbolic ---- */

/* Is atom = f * quotient?  *out is the quotient, NULL for 1. */
static bool atom_divide(DimTab *t, Dim atom, const Factors *f, Dim *out) {
  Factors x, rest = {0};
  if (!factors_of(atom, &x)) return false;
  int j = 0;
  for (int i = 0; i < x.n; i++) {
    if (j < f->n && x.at[i] == f->at[j])
      j++;
    else
      rest.at[rest.n++] = x.at[i];
  }
  *out = factors_product(t, &rest);
  return j == f->n;
}

static bool term_divide(DimTab *t, DimTerm x, DimTerm y, Poly *quot, DimTerm *q) {
  Factors f;
  Dim atom;
  if ((y.coeff == -1 && x.coeff == INT64_MIN) || x.coeff % y.coeff != 0 ||
      !factors_of(y.atom, &f) || !atom_divide(t, x.atom, &f, &atom))
    return false;
  *q = (DimTerm){atom, x.coeff / y.coeff};
  if (atom)
    poly_add_term(quot, atom, q->coeff);
  else
    poly_add_const(quot, q->coeff);
  return true;
}

/* Graded lexicographic order of monomials. */
static bool mono_less(Dim x, Dim y) {
  Factors a, b;
  if (!factors_of(x, &a) || !factors_of(y, &b)) return false;
  if (a.n != b.n) return a.n < b.n;
  for (int i = a.n - 1; i >= 0; i--)
    if (a.at[i] != b.at[i]) return a.at[i]->id < b.at[i]->id;
  return false;
}

static DimTerm leading(const Lin *l) {
  DimTerm best = l->term[0];
  for (int i = 1; i < l->n; i++)
    if (mono_less(best.atom, l->term[i].atom)) best = l->term[i];
  return best;
}

/* a / b where b divides a as a polynomial; NULL when it does not. */
static Dim div_exact(DimTab *t, Dim a, Dim b) {
  Lin la, lb;
  Poly quot = {0};
  lin_of(b, &lb);
  DimTerm head = leading(&lb);
  for (int steps = 0; steps < DIM_MAX_PRODUCT; steps++) {
    lin_of(a, &la);
    if (la.n == 0) return la.c == 0 ? poly_done(t, &quot) : NULL;
    DimTerm q;
    if (!term_divide(t, leading(&la), head, &quot, &q)) return NULL;
    Dim part = dim_const(t, q.coeff);
    if (q.atom) part = dim_mul(t, part, q.atom);
    a = dim_sub(t, a, dim_mul(t, part, b));
    if (is_any(a)) return NULL;
  }
  return NULL;
}

/* a = b * quot + rem, b a single product: the terms that contain b. */
static void split_by_product(DimTab *t, Dim a, Dim b, Poly *quot, Poly *rem) {
  Lin la, lb;
  DimTerm q;
  lin_of(a, &la);
  lin_of(b, &lb);
  poly_add_const(rem, la.c);
  for (int i = 0; i < la.n; i++)
    if (!term_divide(t, la.term[i], lb.term[0], quot, &q))
      poly_add_term(rem, la.term[i].atom, la.term[i].coeff);
}

static bool is_product(Dim d) {
  Lin l;
  lin_of(d, &l);
  return l.n == 1 && l.c == 0;
}

Dim dim_div(DimTab *t, Dim a, Dim b) {
  int64_t c;
  if (is_any(a) || is_any(b)) return dim_any(t);
  if (dim_is_const(b, &c)) {
    if (c == 0 || c == INT64_MIN) return dim_any(t);
    if (c > 0) return div_const(t, a, c);
    a = neg(t, a);
    return is_any(a) ? a : div_const(t, a, -c);
  }
  Dim q = div_exact(t, a, b);
  if (q) return q;
  if (!is_product(b)) return dim_node(t, DIM_Div, a, b);
  Poly quot = {0}, rem = {0};
  split_by_product(t, a, b, &quot, &rem);
  q = poly_done(t, &quot);
  Dim r = poly_done(t, &rem);
  if (is_any(q) || is_any(r)) return dim_any(t);
  return dim_add(t, q, dim_node(t, DIM_Div, r, b));
}

Dim dim_ceildiv(DimTab *t, Dim a, Dim b) {
  return dim_div(t, dim_add(t, a, dim_sub(t, b, dim_const(t, 1))), b);
}

Dim dim_mod(DimTab *t, Dim a, Dim b) {
  int64_t c;
  if (is_any(a) || is_any(b)) return dim_any(t);
  if (dim_is_const(b, &c)) {
    if (c == 0 || c == INT64_MIN) return dim_any(t);
    if (c > 0) return mod_const(t, a, c);
    a = neg(t, a);
    return is_any(a) ? a : neg(t, mod_const(t, a, -c));
  }
  if (div_exact(t, a, b)) return dim_const(t, 0);
  if (!is_product(b)) return dim_node(t, DIM_Mod, a, b);
  Poly quot = {0}, rem = {0};
  split_by_product(t, a, b, &quot, &rem);
  Dim r = poly_done(t, &rem);
  return is_any(r) ? r : dim_node(t, DIM_Mod, r, b);
}

/* ---- max, min, bcast: chains of operands sorted by id ---- */

static bool collect(DimKind kind, Dim d, Factors *out) {
  for (; d->kind == kind; d = d->a) {
    if (out->n == DIM_MAX_FACTORS) return false;
    out->at[out->n++] = d->b;
  }
  if (out->n == DIM_MAX_FACTORS) return false;
  out->at[out->n++] = d;
  return true;
}

/* Is x of no use beside y? */
static bool is_absorbed(DimKind kind, Dim x, Dim y) {
  if (x == y) return true;
  if (kind == DIM_Max) return dim_at_least(y, x);
  if (kind == DIM_Min) return dim_at_least(x, y);
  Bound b = dim_bound(y); /* whatever has an extent >= 2 decides a broadcast; so does 0 */
  int64_t c;
  return (dim_is_const(x, &c) && c == 1) || (b.has_lo && b.lo >= 2) ||
         (dim_is_const(y, &c) && c != 1);
}

static void sort_by_id(Factors *f) {
  for (int i = 1; i < f->n; i++)
    for (int j = i; j > 0 && f->at[j - 1]->id > f->at[j]->id; j--) {
      Dim x = f->at[j];
      f->at[j] = f->at[j - 1];
      f->at[j - 1] = x;
    }
}

static Dim lattice(DimTab *t, DimKind kind, Dim a, Dim b) {
  Factors all = {0}, kept = {0};
  if (is_any(a) || is_any(b)) return dim_any(t);
  if (!collect(kind, a, &all) || !collect(kind, b, &all)) return dim_any(t);
  sort_by_id(&all);
  for (int i = 0; i < all.n; i++) {
    bool drop = false;
    for (int j = 0; j < kept.n && !drop; j++) drop = is_absorbed(kind, all.at[i], kept.at[j]);
    if (drop) continue;
    int n = 0;
    for (int j = 0; j < kept.n; j++)
      if (!is_absorbed(kind, kept.at[j], all.at[i])) kept.at[n++] = kept.at[j];
    kept.n = n;
    kept.at[kept.n++] = all.at[i];
  }
  Dim d = kept.at[0];
  for (int i = 1; i < kept.n; i++) d = dim_node(t, kind, d, kept.at[i]);
  return d;
}

Dim dim_max(DimTab *t, Dim a, Dim b) { return lattice(t, DIM_Max, a, b); }
Dim dim_min(DimTab *t, Dim a, Dim b) { return lattice(t, DIM_Min, a, b); }
Dim dim_bcast(DimTab *t, Dim a, Dim b) { return lattice(t, DIM_Bcast, a, b); }
