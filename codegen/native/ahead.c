/* ahead.c -- see ahead.h. */
#include "codegen/native/ahead.h"
#include <stdlib.h>
#include <string.h>

enum { LEAST_DEPTH = 64, SUMS = AHEAD_PARTS * AHEAD_HEIGHT * AHEAD_WIDTH, LINE = 64 };

/* ---- which kernels ------------------------------------------------------------------------ */
/* Is x a load of a whole matrix (i, j), and of which buffer? */
static bool is_matrix(const Kernel *k, KE x, uint32_t i, uint32_t j, uint32_t *buf) {
  const KNode *n = &k->node[x];
  if (n->kind != KN_Load || n->rank != 2 || n->dtype != DT_f32) return false;
  const KNode *a = &k->node[k->pool[n->b]], *b = &k->node[k->pool[n->b + 1]];
  *buf = n->a;
  return a->kind == KN_Var && a->a == i && b->kind == KN_Var && b->a == j;
}

static bool extents(const Kernel *k, uint32_t buf, int64_t rows, int64_t columns) {
  const KBuf *b = &k->buf[buf];
  int64_t n[2];
  return b->rank == 2 && kernel_size(k, b->dim[0], NULL, &n[0]) &&
         kernel_size(k, b->dim[1], NULL, &n[1]) && n[0] == rows && n[1] == columns;
}

static bool stores_sum(const Kernel *k, const KStmt *c, const KStmt *s, uint32_t i, uint32_t j,
                       uint32_t *buf) {
  if (s->kind != KS_Store || k->node[s->c].kind != KN_Var || k->node[s->c].a != c->var)
    return false;
  *buf = s->a;
  const KBuf *b = &k->buf[s->a];
  if (b->rank != 2 || b->dtype != DT_f32 || b->role != K_OUT) return false;
  const KNode *x = &k->node[k->pool[s->b]], *y = &k->node[k->pool[s->b + 1]];
  return x->kind == KN_Var && x->a == i && y->kind == KN_Var && y->a == j;
}

bool plain_product(const Kernel *k, PlainProduct *p) {
  if (k->n_syms || k->n_bufs != 3 || k->n_params != 3 || k->n_stmts != 2) return false;
  const KStmt *c = &k->stmt[0];
  const uint32_t *w = &k->pool[c->b];
  if (c->kind != KS_Contract || c->dtype != DT_f32 || w[0] != 2 || w[5] != 1) return false;
  uint32_t i = w[1], j = w[3], d = w[6];
  bool sizes = kernel_size(k, w[2], NULL, &p->m) && kernel_size(k, w[4], NULL, &p->n) &&
               kernel_size(k, w[7], NULL, &p->k);
  if (!sizes || !is_matrix(k, w[8], i, d, &p->x) || !is_matrix(k, w[9], j, d, &p->w)) return false;
  if (!stores_sum(k, c, &k->stmt[1], i, j, &p->y)) return false;
  if (k->buf[p->x].role != K_IN || k->buf[p->w].role != K_IN || p->x == p->w) return false;
  if (!extents(k, p->x, p->m, p->k) || !extents(k, p->w, p->n, p->k) ||
      !extents(k, p->y, p->m, p->n))
    return false;
  bool some = p->m == AHEAD_HEIGHT || p->m == AHEAD_PARTS * AHEAD_HEIGHT;
  return some && p->k >= LEAST_DEPTH && p->n >= AHEAD_WIDTH && p->n >= AHEAD_WORTH / p->k;
}

/* ---- the product --------------------------------------------------------------------------- */
static float *sums_of(const Ahead *a, int64_t part) {
  return a->sums + part * AHEAD_HEIGHT * AHEAD_WIDTH;
}
static const float *rows_of(const Ahead *a, int64_t part) {
  return a->rows + (part * a->depth + a->at) * AHEAD_HEIGHT;
}

size_t ahead_bytes(const PlainProduct *p) {
  return ((size_t)(p->m * p->k) + SUMS) * sizeof(float) + LINE;
}

bool ahead_reserve(Ahead *a, size_t bytes) {
  if (bytes <= a->room_bytes) return true;
  ahead_free(a);
  a->room = malloc(bytes);
  if (a->room) a->room_bytes = bytes;
  return a->room != NULL;
}

void ahead_begin(Ahead *a, const PlainProduct *p, void *const *buf, const float *columns) {
  const float *x = buf[p->x];
  a->sums = (float *)(((uintptr_t)a->room + LINE - 1) & ~(uintptr_t)(LINE - 1));
  a->rows = a->sums + SUMS;
  a->parts = p->m / AHEAD_HEIGHT;
  for (int64_t i = 0; i < p->m; i += AHEAD_HEIGHT)
    for (int64_t k = 0; k < p->k; k++)
      for (int64_t j = 0; j < AHEAD_HEIGHT; j++)
        a->rows[i * p->k + k * AHEAD_HEIGHT + j] = x[(i + j) * p->k + k];
  a->depth = p->k;
  a->columns = columns;
  a->y = buf[p->y];
  a->n = p->n;
  a->panel = 0;
  a->left = (p->n + AHEAD_WIDTH - 1) / AHEAD_WIDTH;
  a->at = 0;
}

int64_t ahead_next(Ahead *a) {
  int64_t first = a->panel * AHEAD_WIDTH, n = a->n - first;
  for (int64_t i = 0; i < a->parts * AHEAD_HEIGHT; i++) {
    float *to = a->y + i * a->n + first;
    const float *from = a->sums + i * AHEAD_WIDTH;
    if (n >= AHEAD_WIDTH)
      memcpy(to, from, AHEAD_WIDTH * sizeof *to);
    else
      memcpy(to, from, (size_t)n * sizeof *to);
  }
  a->columns += a->depth * AHEAD_WIDTH;
  a->panel++;
  a->left--;
  a->at = 0;
  return 0;
}

void ahead_finish(Ahead *a) {
  while (a->left) {
    const float *columns = a->columns + a->at * AHEAD_WIDTH;
    for (int64_t i = 0; i < a->parts; i++)
      a->tile(rows_of(a, i), columns, sums_of(a, i), a->depth - a->at, AHEAD_WIDTH, a->at == 0,
              a->rows, 0);
    (void)ahead_next(a);
  }
}

void ahead_free(Ahead *a) {
  free(a->room);
  a->room = NULL;
  a->room_bytes = 0;
}
