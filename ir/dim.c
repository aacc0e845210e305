/* dim.c -- the table of symbolic extents and their linear normal form.
 *
 * All nodes of a table are hash-consed, and every operation normalises before
 * it makes a node, so equality of pointers is equality of polynomials.  A
 * computation that overflows 64 bits, or grows past the limits of dim_int.h,
 * gives Any: "some extent" is always a correct answer.                       */
#include "ir/dim_int.h"
#include <stdlib.h>
#include <string.h>

typedef struct DimBox {
  DimNode node;        /* first: a Dim is a pointer to its box      */
  struct DimBox *next; /* same hash                                 */
  int depth, size;     /* size: nodes, shared ones as often as reached */
} DimBox;
struct DimTab {
  Map by_hash;
  uint32_t next_id;
  Dim any;
};

static int depth_of(Dim d) { return d ? ((const DimBox *)d)->depth : 0; }
static int size_of(Dim d) { return d ? ((const DimBox *)d)->size : 0; }
static int max_int(int a, int b) { return a > b ? a : b; }

static Dim box_new(DimTab *t, const DimNode *proto, int depth, int size) {
  DimBox *b = NEW(DimBox);
  b->node = *proto;
  b->node.id = t->next_id++;
  b->depth = depth;
  b->size = size;
  return &b->node;
}

DimTab *dimtab_new(void) {
  DimTab *t = NEW(DimTab);
  t->any = box_new(t, &(DimNode){.kind = DIM_Any}, 1, 1);
  return t;
}

static uint64_t node_hash(const DimNode *d) {
  uint64_t h = hash_mix((uint64_t)d->kind + 1, (uint64_t)d->value);
  for (int i = 0; i < d->n_terms; i++)
    h = hash_mix(hash_mix(h, d->term[i].atom->id), (uint64_t)d->term[i].coeff);
  if (d->a) h = hash_mix(h, d->a->id);
  return d->b ? hash_mix(h, d->b->id) : h;
}

static bool node_same(const DimNode *x, const DimNode *y) {
  if (x->kind != y->kind || x->value != y->value || x->n_terms != y->n_terms || x->a != y->a ||
      x->b != y->b)
    return false;
  for (int i = 0; i < x->n_terms; i++)
    if (x->term[i].atom != y->term[i].atom || x->term[i].coeff != y->term[i].coeff) return false;
  return true;
}

static Dim intern(DimTab *t, const DimNode *proto) {
  uint64_t h = node_hash(proto);
  DimBox *first = map_get(&t->by_hash, h);
  for (DimBox *b = first; b; b = b->next)
    if (node_same(&b->node, proto)) return &b->node;
  int depth = max_int(depth_of(proto->a), depth_of(proto->b));
  int size = 1 + size_of(proto->a) + size_of(proto->b);
  for (int i = 0; i < proto->n_terms && size <= DIM_MAX_SIZE; i++) {
    depth = max_int(depth, depth_of(proto->term[i].atom));
    size += size_of(proto->term[i].atom);
  }
  if (depth >= DIM_MAX_DEPTH || size > DIM_MAX_SIZE) return t->any;
  DimNode node = *proto;
  if (node.n_terms > 0) {
    DimTerm *term = NEW_N(DimTerm, node.n_terms);
    memcpy(term, proto->term, sizeof *term * (size_t)node.n_terms);
    node.term = term;
  }
  DimBox *made = (DimBox *)(uintptr_t)box_new(t, &node, depth + 1, size);
  made->next = first;
  map_set(&t->by_hash, h, made);
  return &made->node;
}

Dim dim_const(DimTab *t, int64_t v) { return intern(t, &(DimNode){.kind = DIM_Const, .value = v}); }
Dim dim_any(DimTab *t) { return t->any; }
Dim dim_new_sym(DimTab *t, Sym name, int level) {
  return box_new(t, &(DimNode){.kind = DIM_Sym, .name = name, .level = level}, 1, 1);
}
Dim dim_new_meta(DimTab *t, void *cell) {
  return box_new(t, &(DimNode){.kind = DIM_Meta, .meta = cell}, 1, 1);
}
Dim dim_node(DimTab *t, DimKind kind, Dim a, Dim b) {
  return intern(t, &(DimNode){.kind = kind, .a = a, .b = b});
}

/* ---- polynomials ---- */

void lin_of(Dim d, Lin *out) {
  *out = (Lin){0};
  if (d->kind == DIM_Const) {
    out->c = d->value;
  } else if (d->kind == DIM_Sum) {
    *out = (Lin){.c = d->value, .n = d->n_terms, .term = d->term};
  } else {
    out->own = (DimTerm){d, 1};
    out->n = 1;
    out->term = &out->own;
  }
}

void poly_add_const(Poly *p, int64_t c) {
  if (!i64_add(p->c, c, &p->c)) p->lost = true;
}

void poly_add_term(Poly *p, Dim atom, int64_t coeff) {
  DimTerm term = {atom, coeff};
  if (atom->kind == DIM_Any) p->lost = true;
  vec_push(&p->term, term);
}

static int by_atom(const void *a, const void *b) {
  uint32_t x = ((const DimTerm *)a)->atom->id, y = ((const DimTerm *)b)->atom->id;
  return (x > y) - (x < y);
}

Dim poly_done(DimTab *t, Poly *p) {
  if (p->term.n > 1) qsort(p->term.at, (size_t)p->term.n, sizeof *p->term.at, by_atom);
  int n = 0;
  for (int i = 0; i < p->term.n; i++) {
    DimTerm *at = p->term.at;
    if (n > 0 && at[n - 1].atom == at[i].atom) {
      if (!i64_add(at[n - 1].coeff, at[i].coeff, &at[n - 1].coeff)) p->lost = true;
    } else {
      if (n > 0 && at[n - 1].coeff == 0) n--;
      at[n++] = at[i];
    }
  }
  if (n > 0 && p->term.at[n - 1].coeff == 0) n--;
  if (p->lost || n > DIM_MAX_TERMS) return t->any;
  if (n == 0) return dim_const(t, p->c);
  if (n == 1 && p->c == 0 && p->term.at[0].coeff == 1) return p->term.at[0].atom;
  return intern(t, &(DimNode){.kind = DIM_Sum, .value = p->c, .n_terms = n, .term = p->term.at});
}

/* p += k * d */
static void poly_add_scaled(Poly *p, Dim d, int64_t k) {
  Lin l;
  lin_of(d, &l);
  int64_t v;
  if (i64_mul(l.c, k, &v))
    poly_add_const(p, v);
  else
    p->lost = true;
  for (int i = 0; i < l.n; i++) {
    if (i64_mul(l.term[i].coeff, k, &v))
      poly_add_term(p, l.term[i].atom, v);
    else
      p->lost = true;
  }
}

static Dim add_scaled(DimTab *t, Dim a, Dim b, int64_t k) {
  if (a->kind == DIM_Any || b->kind == DIM_Any) return t->any;
  Poly p = {0};
  poly_add_scaled(&p, a, 1);
  poly_add_scaled(&p, b, k);
  return poly_done(t, &p);
}

Dim dim_add(DimTab *t, Dim a, Dim b) { return add_scaled(t, a, b, 1); }
Dim dim_sub(DimTab *t, Dim a, Dim b) { return add_scaled(t, a, b, -1); }

/* ---- products ---- */

bool factors_of(Dim atom, Factors *out) {
  out->n = 0;
  for (Dim d = atom;; d = d->a) {
    if (out->n == DIM_MAX_FACTORS) return false;
    out->at[out->n++] = d->kind == DIM_Mul ? d->b : d;
    if (d->kind != DIM_Mul) break;
  }
  for (int i = 0, j = out->n - 1; i < j; i++, j--) {
    Dim x = out->at[i];
    out->at[i] = out->at[j];
    out->at[j] = x;
  }
  return true;
}

Dim factors_product(DimTab *t, const Factors *f) {
  Dim d = f->n ? f->at[0] : NULL;
  for (int i = 1; i < f->n; i++) d = dim_node(t, DIM_Mul, d, f->at[i]);
  return d;
}

/* The product of two atoms: their factors merged by id. */
static Dim atom_mul(DimTab *t, Dim a, Dim b) {
  Factors x, y, z = {0};
  if (!factors_of(a, &x) || !factors_of(b, &y) || x.n + y.n > DIM_MAX_FACTORS) return t->any;
  for (int i = 0, j = 0; i < x.n || j < y.n;)
    z.at[z.n++] = j == y.n || (i < x.n && x.at[i]->id <= y.at[j]->id) ? x.at[i++] : y.at[j++];
  return factors_product(t, &z);
}

static void poly_add_product(DimTab *t, Poly *p, const Lin *x, const Lin *y) {
  for (int i = 0; i <= x->n; i++)
    for (int j = 0; j <= y->n; j++) {
      int64_t cx = i ? x->term[i - 1].coeff : x->c, cy = j ? y->term[j - 1].coeff : y->c, k;
      if (cx == 0 || cy == 0) continue;
      if (!i64_mul(cx, cy, &k))
        p->lost = true;
      else if (i == 0 && j == 0)
        poly_add_const(p, k);
      else if (i == 0)
        poly_add_term(p, y->term[j - 1].atom, k);
      else if (j == 0)
        poly_add_term(p, x->term[i - 1].atom, k);
      else
        poly_add_term(p, atom_mul(t, x->term[i - 1].atom, y->term[j - 1].atom), k);
    }
}

Dim dim_mul(DimTab *t, Dim a, Dim b) {
  if (a->kind == DIM_Any || b->kind == DIM_Any) return t->any;
  Lin x, y;
  lin_of(a, &x);
  lin_of(b, &y);
  /* Sums are multiplied out while that stays small; past it the product of
   * the sums is a factor of its own. */
  if (x.n > 0 && y.n > 0 && (x.n + 1) * (y.n + 1) > DIM_MAX_PRODUCT)
    return a->id <= b->id ? dim_node(t, DIM_Mul, a, b) : dim_node(t, DIM_Mul, b, a);
  Poly p = {0};
  poly_add_product(t, &p, &x, &y);
  return poly_done(t, &p);
}
