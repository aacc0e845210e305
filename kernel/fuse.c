/* fuse.c -- two kernels as one (fuse.h).
 *
 * Both are copied into one builder, the parts side by side: first the tensor
 * between them is matched axis by axis and splits are asked for, then buffers
 * are declared, then statements are copied with the loads of that tensor
 * replaced.  Whatever comes out must pass the verifier; what does not (a loop in
 * an epilogue, too many buffers) is no fusion.                               */
#include "kernel/fuse.h"
#include "kernel/build_priv.h"
#include "kernel/fuse_axes.h"
#include "kernel/fuse_part.h"
#include "kernel/visit.h"

typedef enum { PRODUCER, CONSUMER } Side;

/* A tensor that the producer stores and the consumer loads. */
typedef struct {
  uint32_t id, pbuf, cbuf, store; /* store: the producer's statement */
  int n_groups;
  AxisGroup group[K_MAX_RANK];
  int np, nc;
  KE pdim[K_MAX_RANK], cdim[K_MAX_RANK];
  bool wanted;
  KE value; /* append: what was stored           */
} Link;
enum { MAX_LINKS = 16, MAX_MADE = 1024 };

typedef struct {
  uint32_t id, buf;
  int n;
  KE dim[K_MAX_RANK];
  KBufRole role;
} Declared;

typedef struct {
  KB *b;
  KAlloc a;
  KPart part[2];
  KCopy copy[2];
  KWanted wanted;
  int n_links;
  Link link[MAX_LINKS];
  int n_bufs;
  Declared decl[K_MAX_BUFS];
  uint32_t n_syms, sym[K_MAX_SYMS];
  KE sym_ke[K_MAX_SYMS];
  MapNest nest[2];
  uint32_t site;               /* append: the statement whose body it goes into */
  uint32_t rest_from, rest_to; /* append: what is left of the consumer */
} Fuse;

/* ---- symbols and links ----------------------------------------------------------- */
static void share_symbols(Fuse *f, Side s) {
  const Kernel *k = f->part[s].k;
  for (uint32_t i = 0; i < k->n_syms; i++) {
    uint32_t id = f->part[s].sym[i], j = 0;
    while (j < f->n_syms && f->sym[j] != id) j++;
    if (j == f->n_syms) {
      if (j == K_MAX_SYMS) {
        kb_fail(f->b, "too many symbols");
        return;
      }
      f->sym[j] = id;
      f->sym_ke[f->n_syms++] = kb_sym(f->b, k->text + k->sym_name[i]);
    }
    f->copy[s].sym[i] = f->sym_ke[j];
  }
}

static bool add_link(Fuse *f, uint32_t pbuf, uint32_t cbuf) {
  const KPart *p = &f->part[PRODUCER];
  if (f->n_links == MAX_LINKS) return false;
  Link *l = &f->link[f->n_links++];
  *l = (Link){.id = p->buf[pbuf], .pbuf = pbuf, .cbuf = cbuf, .value = KE_NONE};
  l->store = kernel_only_store(p->k, pbuf);
  l->wanted = f->wanted.fn(f->wanted.ud, l->id);
  return l->store != KE_NONE && f->part[CONSUMER].k->buf[cbuf].role == K_IN;
}

static bool find_links(Fuse *f) {
  const KPart *p = &f->part[PRODUCER], *c = &f->part[CONSUMER];
  for (uint32_t i = 0; i < p->k->n_params; i++)
    for (uint32_t j = 0; j < c->k->n_params; j++) {
      if (p->buf[i] != c->buf[j]) continue;
      bool reads = p->k->buf[i].role == K_IN && c->k->buf[j].role == K_IN;
      if (!reads && (p->k->buf[i].role != K_OUT || !add_link(f, i, j))) return false;
    }
  return f->n_links > 0;
}

static Link *link_of(Fuse *f, uint32_t cbuf) {
  for (int i = 0; i < f->n_links; i++)
    if (f->link[i].cbuf == cbuf) return &f->link[i];
  return NULL;
}

static void read_dims(Fuse *f) {
  for (int i = 0; i < f->n_links; i++) {
    Link *l = &f->link[i];
    l->np = kcopy_dims(&f->copy[PRODUCER], l->pbuf, l->pdim);
    l->nc = kcopy_dims(&f->copy[CONSUMER], l->cbuf, l->cdim);
  }
}
static bool match_axes(Fuse *f) {
  read_dims(f);
  for (int i = 0; i < f->n_links; i++) {
    Link *l = &f->link[i];
    if (!axes_match(f->b, l->np, l->pdim, l->nc, l->cdim, l->group, &l->n_groups)) return false;
  }
  return kb_ok(f->b);
}

/* After the splits the views are others: match again. */
static bool split_axes(Fuse *f, Side s) {
  KCopy *c = &f->copy[s];
  if (!c->n_splits) return true;
  kcopy_follow(c);
  return match_axes(f);
}

/* ---- buffers ------------------------------------------------------------------------ */
static void declare(Fuse *f, Side s, uint32_t u) {
  KCopy *c = &f->copy[s];
  const KBuf *u0 = &c->k->buf[u];
  uint32_t id = f->part[s].buf[u];
  KE dim[K_MAX_RANK];
  int n = kcopy_dims(c, u, dim);
  for (int i = 0; i < f->n_bufs; i++) {
    const Declared *d = &f->decl[i];
    if (d->id == id && d->n == n && !memcmp(d->dim, dim, (size_t)n * sizeof *dim) &&
        d->role == u0->role) {
      c->buf[u] = d->buf;
      return;
    }
  }
  c->buf[u] = kb_buf(f->b, (KBufRole)u0->role, c->k->text + u0->name, (DType)u0->dtype, n, dim);
  if (!kb_ok(f->b)) return;
  Declared *d = &f->decl[f->n_bufs++];
  *d = (Declared){.id = id, .buf = c->buf[u], .n = n, .role = (KBufRole)u0->role};
  memcpy(d->dim, dim, (size_t)n * sizeof *dim);
}

static bool is_link(Fuse *f, Side s, uint32_t u) {
  for (int i = 0; i < f->n_links; i++)
    if ((s == CONSUMER ? f->link[i].cbuf : f->link[i].pbuf) == u)
      return s == CONSUMER || !f->link[i].wanted;
  return false;
}

static void declare_side(Fuse *f, Side s, KBufRole role) {
  const Kernel *k = f->copy[s].k;
  for (uint32_t u = 0; u < k->n_params; u++)
    if (k->buf[u].role == role && !is_link(f, s, u)) declare(f, s, u);
}
static void declare_locals(Fuse *f, Side s) {
  KCopy *c = &f->copy[s];
  for (uint32_t u = c->k->n_params; u < c->k->n_bufs; u++) {
    const KBuf *l = &c->k->buf[u];
    KE dim[K_MAX_RANK];
    int n = kcopy_dims(c, u, dim);
    c->buf[u] = kb_buf(f->b, K_LOCAL, c->k->text + l->name, (DType)l->dtype, n, dim);
  }
}
static void declare_all(Fuse *f) {
  static const KBufRole order[] = {K_IN, K_INOUT, K_OUT};
  for (int r = 0; r < 3; r++)
    for (int s = PRODUCER; s <= CONSUMER; s++) declare_side(f, (Side)s, order[r]);
  declare_locals(f, PRODUCER);
  declare_locals(f, CONSUMER);
}

/* ---- inline -------------------------------------------------------------------------- */
static KE inline_load(KCopy *c, KE e) {
  Fuse *f = c->ud;
  const KNode *n = &c->k->node[e];
  Link *l = link_of(f, n->a);
  KCopy *p = &f->copy[PRODUCER];
  KE at[K_MAX_RANK];
  if (!l) return KE_NONE;
  kcopy_index(c, n->a, n->b, at);
  kcopy_forget(p);
  const MapNest *m = &f->nest[PRODUCER];
  for (uint32_t i = 0; i < m->n; i++) p->var[p->k->stmt[m->loop[i]].var] = kb_int(f->b, 0);
  const KStmt *st = &p->k->stmt[l->store];
  for (int i = 0; i < l->n_groups; i++) {
    const AxisGroup *g = &l->group[i];
    for (int q = 0; q < g->np; q++) {
      const KNode *v = &p->k->node[p->k->pool[st->b + (uint32_t)(g->p0 + q)]];
      bool one = axis_is_one(f->b, l->pdim[g->p0 + q]);
      KE whole = kcopy_radix(f->b, g->nc, at + g->c0, l->cdim + g->c0);
      bool split = kcopy_is_split(p, v->a);
      if (v->kind == KN_Var && !one)
        kcopy_bind(p, v->a, split ? g->nc : 1, split ? at + g->c0 : &whole);
    }
  }
  for (uint32_t s = m->from; s < l->store; s++)
    p->var[p->k->stmt[s].var] = kcopy_expr(p, p->k->stmt[s].a);
  return kcopy_expr(p, st->c);
}

/* Where the producer tells more axes apart, the consumer's loop is split. */
static bool split_consumer(Fuse *f, const Link *l) {
  const Kernel *k = f->part[CONSUMER].k;
  for (int i = 0; i < l->n_groups; i++) {
    const AxisGroup *g = &l->group[i];
    if (g->np == 1) continue;
    for (KE e = 0; e < k->n_nodes; e++) {
      const KNode *n = &k->node[e];
      if (n->kind != KN_Load || n->a != l->cbuf) continue;
      uint32_t var = part_loop(k, k->pool[n->b + (uint32_t)g->c0]);
      if (var == KE_NONE || !kcopy_split(&f->copy[CONSUMER], var, g->np, l->pdim + g->p0))
        return false;
    }
  }
  return true;
}

static bool only_one_to_one(const Fuse *f, bool many_c) {
  for (int i = 0; i < f->n_links; i++)
    for (int q = 0; q < f->link[i].n_groups; q++)
      if ((many_c ? f->link[i].group[q].np : f->link[i].group[q].nc) != 1) return false;
  return true;
}

/* Where the consumer tells more axes apart, the producer's loop is split, so that the
 * producer's inputs are seen with them: an index i * n + j would have to be proved. */
static void split_map(Fuse *f) {
  KCopy *p = &f->copy[PRODUCER];
  const Link *l = f->link;
  const uint32_t *index = p->k->pool + p->k->stmt[l->store].b;
  for (int i = 0; i < l->n_groups && f->n_links == 1; i++) {
    const AxisGroup *g = &l->group[i];
    const KNode *v = &p->k->node[index[g->p0]];
    if (g->nc > 1 && v->kind == KN_Var) (void)kcopy_split(p, v->a, g->nc, l->cdim + g->c0);
  }
  kcopy_follow(p);
}

static bool pays(const Fuse *f) {
  for (int i = 0; i < f->n_links; i++)
    if (!part_inline_pays(f->part[PRODUCER].k, f->part[CONSUMER].k, f->link[i].cbuf, f->a))
      return false;
  return true;
}

static bool inline_map(Fuse *f) {
  const KPart *p = &f->part[PRODUCER];
  Link *l = &f->link[0];
  for (int i = 1; i < f->n_links; i++)
    if (f->link[i].pbuf != l->pbuf) return false;
  if (l->wanted || !part_is_map(p->k, &f->nest[PRODUCER]) || kernel_may_fail(p->k, f->a))
    return false;
  for (int i = 0; i < f->n_links; i++)
    if (!split_consumer(f, &f->link[i])) return false;
  if (!split_axes(f, CONSUMER) || !only_one_to_one(f, true)) return false;
  split_map(f);
  declare_all(f);
  f->copy[CONSUMER].ud = f;
  f->copy[CONSUMER].load = inline_load;
  kcopy_body(&f->copy[CONSUMER], 0, f->part[CONSUMER].k->n_stmts);
  return kb_ok(f->b);
}

static bool try_inline(Fuse *f) { return pays(f) && inline_map(f); }

/* A dear map before loops over rows: worth it if its values are kept (keep.c). */
static bool try_rows(Fuse *f) {
  for (int i = 0; i < f->n_links; i++)
    if (!part_read_by_rows(f->part[CONSUMER].k, f->link[i].cbuf, f->a)) return false;
  return inline_map(f);
}

/* ---- append -------------------------------------------------------------------------- */
static KE append_load(KCopy *c, KE e) {
  Link *l = link_of(c->ud, c->k->node[e].a);
  return l ? l->value : KE_NONE;
}

static bool keep_value(KCopy *c, uint32_t s) {
  Fuse *f = c->ud;
  const KStmt *st = &c->k->stmt[s];
  bool done = false;
  KE at[K_MAX_RANK];
  if (st->kind != KS_Store) return false;
  for (int i = 0; i < f->n_links; i++) {
    Link *l = &f->link[i];
    if (l->store != s) continue;
    if (!done) {
      l->value = kcopy_expr(c, st->c);
      if (l->value != KE_NONE && f->b->k.node[l->value].kind != KN_Var)
        l->value = kb_let(f->b, l->value);
      kcopy_index(c, st->a, st->b, at);
      if (l->wanted) kb_store(f->b, c->buf[st->a], at, l->value);
    }
    for (int j = 0; j < i && done; j++)
      if (f->link[j].store == s) l->value = f->link[j].value;
    done = true;
  }
  return done;
}

/* The consumer's loop variables stand for the producer's indices.  One that
 * stands for several is split, so that the consumer's other buffers are seen
 * with the producer's axes. */
static bool split_followers(Fuse *f, const Link *l) {
  KCopy *c = &f->copy[CONSUMER];
  uint32_t load = part_index_of(c->k, l->cbuf);
  for (int i = 0; i < l->n_groups; i++) {
    const AxisGroup *g = &l->group[i];
    uint32_t var = part_loop(c->k, c->k->pool[load + (uint32_t)g->c0]);
    if (g->np > 1 && !kcopy_split(c, var, g->np, l->pdim + g->p0)) return false;
  }
  return true;
}

/* Every link must say the same about each variable. */
static void bind_consumer(Fuse *f, const Link *l) {
  KCopy *c = &f->copy[CONSUMER], *p = &f->copy[PRODUCER];
  const KStmt *st = &p->k->stmt[l->store];
  KE at[K_MAX_RANK];
  kcopy_index(p, st->a, st->b, at);
  uint32_t load = part_index_of(c->k, l->cbuf);
  for (int i = 0; i < l->n_groups; i++) {
    const AxisGroup *g = &l->group[i];
    uint32_t var = part_loop(c->k, c->k->pool[load + (uint32_t)g->c0]);
    if (l == f->link)
      kcopy_bind(c, var, g->np, at + g->p0);
    else if (kcopy_radix(f->b, g->np, at + g->p0, l->pdim + g->p0) != c->var[var])
      kb_fail(f->b, "two tensors are read at different elements");
  }
}

static void append_end(KCopy *p, uint32_t s) {
  Fuse *f = p->ud;
  if (s != f->site || !kb_ok(f->b)) return;
  KCopy *c = &f->copy[CONSUMER];
  const MapNest *m = &f->nest[CONSUMER];
  for (uint32_t i = 0; i < m->n; i++) c->var[c->k->stmt[m->loop[i]].var] = kb_int(f->b, 0);
  for (int i = 0; i < f->n_links; i++) bind_consumer(f, &f->link[i]);
  kcopy_body(c, f->rest_from, f->rest_to);
}

/* Where the consumer tells more axes apart, the producer's loop is split. */
static bool split_producer(Fuse *f, const Link *l) {
  const Kernel *k = f->part[PRODUCER].k;
  for (int i = 0; i < l->n_groups; i++) {
    const AxisGroup *g = &l->group[i];
    if (g->nc == 1) continue;
    uint32_t var = part_loop(k, k->pool[k->stmt[l->store].b + (uint32_t)g->p0]);
    if (var == KE_NONE || !kcopy_split(&f->copy[PRODUCER], var, g->nc, l->cdim + g->c0))
      return false;
  }
  return true;
}

/* The consumer's loops that run over the elements of l, as bits over its nest;
 * false: it reads other elements too, or not in the order of its loops. */
static bool element_loops(Fuse *f, const Link *l, uint32_t *used) {
  const Kernel *k = f->part[CONSUMER].k;
  const MapNest *m = &f->nest[CONSUMER];
  uint32_t pool = part_index_of(k, l->cbuf), at = 0;
  *used = 0;
  if (pool == KE_NONE) return false;
  for (int i = 0; i < l->n_groups; i++)
    for (int d = l->group[i].c0; d < l->group[i].c0 + l->group[i].nc; d++) {
      if (axis_is_one(f->b, l->cdim[d])) continue;
      uint32_t var = part_loop(k, k->pool[pool + (uint32_t)d]);
      while (at < m->n && k->stmt[m->loop[at]].var != var) at++;
      if (at == m->n) return false;
      KE extent = kcopy_expr(&f->copy[CONSUMER], k->stmt[m->loop[at]].a);
      if (!axes_same_count(f->b, 1, &l->cdim[d], 1, &extent)) return false;
      *used |= 1u << at++;
    }
  return true;
}

/* The loops over the elements are the outermost: what is below is the rest. */
static bool find_rest(Fuse *f) {
  const Kernel *k = f->part[CONSUMER].k;
  MapNest *m = &f->nest[CONSUMER];
  uint32_t used = 0, mine, depth = 0;
  for (int i = 0; i < f->n_links; i++) {
    if (!element_loops(f, &f->link[i], &mine) || (i > 0 && mine != used)) return false;
    used = mine;
  }
  for (uint32_t i = 0; i < m->n; i++) {
    bool one = axis_is_one(f->b, kcopy_expr(&f->copy[CONSUMER], k->stmt[m->loop[i]].a));
    if (used >> i & 1) {
      depth = i + 1;
    } else if (!one) {
      if (used >> i) return false;
      break;
    }
  }
  f->rest_from = depth ? m->loop[depth - 1] + 1 : 0;
  f->rest_to = depth ? k->stmt[m->loop[depth - 1]].end : k->n_stmts;
  m->n = depth;
  return true;
}

static bool try_append(Fuse *f) {
  const Kernel *p = f->part[PRODUCER].k, *c = f->part[CONSUMER].k;
  KCopy *cp = &f->copy[PRODUCER], *cc = &f->copy[CONSUMER];
  f->site = part_body_of(p, f->link[0].store);
  for (int i = 0; i < f->n_links; i++) {
    const Link *l = &f->link[i];
    if (part_body_of(p, l->store) != f->site || !part_covers(cp, l->store, l->np, l->pdim) ||
        part_has_load_or(c, l->cbuf))
      return false;
  }
  part_nest(c, &f->nest[CONSUMER]);
  if (!find_rest(f)) return false;
  for (int i = 0; i < f->n_links; i++)
    if (!split_producer(f, &f->link[i])) return false;
  if (!split_axes(f, PRODUCER) || !only_one_to_one(f, false)) return false;
  for (int i = 0; i < f->n_links; i++)
    if (!split_followers(f, &f->link[i])) return false;
  kcopy_follow(cc);
  declare_all(f);
  cp->ud = cc->ud = f;
  cp->stmt = keep_value;
  cp->end = append_end;
  cc->load = append_load;
  kcopy_body(cp, 0, p->n_stmts);
  append_end(cp, KE_NONE);
  return kb_ok(f->b);
}

/* ---- the result ------------------------------------------------------------------------- */
/* What was fused, as far as it fits. */
static void name_of(const KPart *p, const KPart *c, char *to, size_t n) {
  const char *parts[2] = {p->k->text + p->k->name, c->k->text + c->k->name};
  size_t at = 0;
  for (int i = 0; i < 2; i++) {
    const char *s = parts[i];
    if (strlen(s) > 3 && !memcmp(s, "nn.", 3)) s += 3;
    if (at + strlen(s) + 2 > n) break;
    if (at) to[at++] = '_';
    memcpy(to + at, s, strlen(s));
    at += strlen(s);
  }
  to[at] = 0;
}

static bool open_fuse(Fuse *f, KPart p, KPart c, KWanted wanted, KAlloc a) {
  char name[128];
  memset(f, 0, sizeof *f);
  f->part[PRODUCER] = p, f->part[CONSUMER] = c;
  f->wanted = wanted, f->a = a;
  name_of(&p, &c, name, sizeof name);
  f->b = kb_new(a, name);
  return f->b && kcopy_open(&f->copy[PRODUCER], f->b, p.k, a) &&
         kcopy_open(&f->copy[CONSUMER], f->b, c.k, a);
}

static void close_fuse(Fuse *f) {
  kcopy_close(&f->copy[PRODUCER]);
  kcopy_close(&f->copy[CONSUMER]);
  kb_drop(f->b);
}

static bool attempt(KPart p, KPart c, KWanted wanted, KAlloc a, bool (*how)(Fuse *), KFused *out) {
  Fuse f;
  bool ok = open_fuse(&f, p, c, wanted, a);
  if (ok) {
    share_symbols(&f, PRODUCER);
    share_symbols(&f, CONSUMER);
    ok = find_links(&f) && match_axes(&f) && how(&f) && f.b->k.n_nodes <= MAX_MADE;
  }
  out->k = ok ? kb_done(f.b) : NULL;
  if (out->k) {
    f.b = NULL;
    for (int i = 0; i < f.n_bufs; i++) out->buf[f.decl[i].buf] = f.decl[i].id;
    memcpy(out->sym, f.sym, f.n_syms * sizeof *out->sym);
  }
  close_fuse(&f);
  return out->k != NULL;
}

static bool keeps(KPart p, KPart c, KWanted wanted, KAlloc a, KFused *out) {
  if (!attempt(p, c, wanted, a, try_rows, out)) return false;
  Kernel *kept = kernel_keep(out->k, a);
  bool yes = kept && part_work(kept, a) <= part_work(p.k, a) + part_work(c.k, a);
  if (kept) kernel_free(kept, a);
  if (!yes) kernel_free(out->k, a);
  return yes;
}

bool kernel_fuse(KPart p, KPart c, KWanted wanted, KAlloc a, KFused *out) {
  bool fails = kernel_may_fail(p.k, a), either = fails || kernel_may_fail(c.k, a);
  out->k = NULL;
  if (fails && kernel_may_fail(c.k, a)) return false;
  if (!attempt(p, c, wanted, a, try_inline, out) && !attempt(p, c, wanted, a, try_append, out) &&
      !keeps(p, c, wanted, a, out)) {
    out->k = NULL;
    return false;
  }
  if (either || !kernel_may_fail(out->k, a)) return true;
  kernel_free(out->k, a); /* an access that was proved is not any more */
  out->k = NULL;
  return false;
}
