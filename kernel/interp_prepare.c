/* interp_prepare.c -- kernel_prepare: the memory of the compiler, and the walk. */
#include "kernel/interp_plan.h"

static void *zeroed(Plan *c, size_t n, size_t size) {
  if (c->status != K_OK) return NULL;
  size_t bytes = (n + 1) * size;
  void *p = n < SIZE_MAX / size - 1 ? c->alloc.fn(c->alloc.user, NULL, 0, bytes) : NULL;
  if (!p) {
    plan_fail(c, K_NO_MEMORY, "no memory to prepare the kernel");
    return NULL;
  }
  memset(p, 0, bytes);
  return p;
}

static void drop(KAlloc a, void *p, size_t n, size_t size) {
  if (p) a.fn(a.user, p, n * size, 0);
}

static bool begin(Plan *c, const Kernel *k) {
  uint32_t extra = 0;
  for (uint32_t s = 0; s < k->n_stmts; s++) extra += k->stmt[s].kind == KS_Contract ? 4 : 0;
  c->k = *k;
  c->cap_nodes = k->n_nodes + extra;
  c->vec = KE_NONE;
  c->serial = c->stmt_epoch = 1;
  c->frame[0].serial = 1;
  c->k.node = zeroed(c, c->cap_nodes, sizeof(KNode));
  c->have = zeroed(c, 2 * (size_t)c->cap_nodes, sizeof(Have));
  c->fact = zeroed(c, c->cap_nodes, sizeof(Fact));
  c->bind = zeroed(c, k->n_vars, sizeof(Bind));
  c->var_reg = zeroed(c, k->n_vars, sizeof(uint32_t));
  c->p = zeroed(c, 0, sizeof(KProg));
  if (c->p) c->p->buf_dim = zeroed(c, (size_t)k->n_bufs * K_MAX_RANK, sizeof(uint32_t));
  if (c->p) c->p->n_buf_dims = k->n_bufs * K_MAX_RANK + 1;
  if (c->status != K_OK) return false;
  memcpy(c->k.node, k->node, k->n_nodes * sizeof(KNode));
  for (uint32_t v = 0; v < k->n_vars; v++) c->var_reg[v] = NO_REG;
  c->p->k = k;
  for (uint32_t i = 0; i < k->n_nodes; i++)
    if (k->node[i].kind == KN_Load || k->node[i].kind == KN_LoadOr) c->loaded[k->node[i].a] = true;
  for (uint32_t s = 0; s < k->n_stmts; s++)
    if (k->stmt[s].kind == KS_Store) c->stored[k->stmt[s].a] = true;
  return true;
}

static void plan_all(Plan *c) {
  for (uint32_t s = 0; s < c->k.n_syms; s++) plan_reg(c, RK_Scalar, DT_i64);
  c->fixed = true;
  for (uint32_t b = 0; b < c->k.n_bufs; b++)
    for (uint32_t d = 0; d < c->k.buf[b].rank; d++)
      c->p->buf_dim[b * K_MAX_RANK + d] = plan_eval(c, c->k.buf[b].dim[d], false);
  c->fixed = false;
  plan_body(c, 0, c->k.n_stmts);
}

static void end(Plan *c) {
  size_t nodes = (size_t)c->cap_nodes, vars = c->k.n_vars;
  for (int i = 0; i < MAX_FRAMES; i++) {
    drop(c->alloc, c->frame[i].pre.at, c->frame[i].pre.cap, sizeof(Ins));
    drop(c->alloc, c->frame[i].body.at, c->frame[i].body.cap, sizeof(Ins));
  }
  drop(c->alloc, c->k.node, nodes + 1, sizeof(KNode));
  drop(c->alloc, c->have, 2 * nodes + 1, sizeof(Have));
  drop(c->alloc, c->fact, nodes + 1, sizeof(Fact));
  drop(c->alloc, c->bind, vars + 1, sizeof(Bind));
  drop(c->alloc, c->var_reg, vars + 1, sizeof(uint32_t));
  drop(c->alloc, c->todo, c->cap_todo, sizeof(uint32_t));
  drop(c->alloc, c->moves, c->cap_moves, sizeof(uint32_t));
}

KStatus kernel_prepare(const Kernel *k, KAlloc a, KProg **out, KError *err) {
  Plan *c = a.fn(a.user, NULL, 0, sizeof *c);
  *out = NULL;
  if (!c) {
    if (err) *err = (KError){K_NO_MEMORY, "no memory to prepare the kernel"};
    return K_NO_MEMORY;
  }
  memset(c, 0, sizeof *c);
  c->alloc = a;
  if (begin(c, k)) {
    plan_all(c);
    plan_finish(c);
  }
  end(c);
  KStatus s = c->status;
  if (s == K_OK)
    *out = c->p;
  else {
    if (c->p) { kernel_unprepare(c->p, a); }
    if (err) *err = (KError){s, c->why};
  }
  drop(a, c, 1, sizeof *c);
  return s;
}

/* plan_finish gave the arrays their exact size; a failed plan too. */
void kernel_unprepare(KProg *p, KAlloc a) {
  if (!p) return;
#define DROP(array, n) drop(a, p->array, (n) ? (n) : 1, sizeof *p->array)
  DROP(ins, p->n_ins);
  DROP(reg, p->n_regs);
  DROP(access, p->n_access);
  DROP(dim, p->n_dims);
  DROP(konst, p->n_consts);
  DROP(pool, p->n_pool);
  DROP(con, p->n_con);
#undef DROP
  drop(a, p->buf_dim, (size_t)p->n_buf_dims, sizeof *p->buf_dim);
  drop(a, p, 1, sizeof *p);
}
