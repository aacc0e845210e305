/* fuse_axes.c -- see fuse_axes.h.  An extent is taken as a product: a constant
 * and a sorted list of nodes that are not products.                          */
#include "kernel/fuse_axes.h"
#include "base/checked.h"
#include "kernel/build_priv.h"

enum { FACTORS = 24 };
typedef struct {
  bool known;
  int64_t k;
  int n;
  KE at[FACTORS];
} Product;

static void times_atom(Product *p, KE e) {
  int i = p->n;
  if (p->n == FACTORS) {
    p->known = false;
    return;
  }
  for (; i > 0 && p->at[i - 1] > e; i--) p->at[i] = p->at[i - 1];
  p->at[i] = e;
  p->n++;
}

static void times(KB *b, Product *p, KE e) {
  KE todo[FACTORS];
  int n = 0;
  todo[n++] = e;
  while (n > 0 && p->known) {
    KE x = todo[--n];
    int64_t v;
    const KNode *nd = &b->k.node[x];
    if (kb_is_int(b, x, &v))
      p->known = i64_mul(p->k, v, &p->k);
    else if (nd->kind == KN_Op && nd->op == S_mul && n + 2 <= FACTORS)
      todo[n++] = nd->a, todo[n++] = nd->b;
    else
      times_atom(p, x);
  }
}

static Product product(KB *b, int n, const KE *e) {
  Product p = {.known = kb_ok(b), .k = 1};
  for (int i = 0; i < n && p.known; i++) times(b, &p, e[i]);
  return p;
}

bool axes_same_count(KB *b, int n, const KE *x, int m, const KE *y) {
  Product p = product(b, n, x), q = product(b, m, y);
  return p.known && q.known && p.k == q.k && p.n == q.n &&
         !memcmp(p.at, q.at, (size_t)p.n * sizeof *p.at);
}

bool axis_is_one(KB *b, KE e) {
  int64_t v;
  return kb_is_int(b, e, &v) && v == 1;
}

/* The axes of a view that are not 1. */
typedef struct {
  int n, axis[K_MAX_RANK];
  KE extent[K_MAX_RANK];
} View;
static View view_of(KB *b, int n, const KE *e) {
  View v = {0};
  for (int i = 0; i < n; i++) {
    if (axis_is_one(b, e[i])) continue;
    v.axis[v.n] = i;
    v.extent[v.n++] = e[i];
  }
  return v;
}

/* How many axes of x from i make up the single axis e; 0: none do. */
static int cover(KB *b, const View *x, int i, KE e) {
  for (int n = 1; i + n <= x->n; n++)
    if (axes_same_count(b, n, x->extent + i, 1, &e)) return n;
  return 0;
}

bool axes_match(KB *b, int np, const KE *p, int nc, const KE *c, AxisGroup *g, int *n) {
  View x = view_of(b, np, p), y = view_of(b, nc, c);
  int i = 0, j = 0;
  *n = 0;
  while (i < x.n && j < y.n) {
    int many_p = cover(b, &x, i, y.extent[j]), many_c = 1;
    if (!many_p) {
      many_c = cover(b, &y, j, x.extent[i]);
      many_p = 1;
    }
    if (!many_c) return false;
    /* Unit axes between those of a group belong to it. */
    int pe = x.axis[i + many_p - 1], ce = y.axis[j + many_c - 1];
    g[(*n)++] = (AxisGroup){x.axis[i], pe - x.axis[i] + 1, y.axis[j], ce - y.axis[j] + 1};
    i += many_p, j += many_c;
  }
  return i == x.n && j == y.n;
}
