/* build.c -- the builder: names, buffers, variables and statements.
 *
 * Everything grows in the arrays of one Kernel; kb_done copies them into a
 * single block.  The first mistake is kept and every later call is a no-op
 * that answers KE_NONE, so callers look once, at the end.  What is not noticed
 * here (scopes, extents) the verifier says in kb_done.                        */
#include "kernel/build_priv.h"
#include "base/checked.h"

/* ---- memory and errors ------------------------------------------------------ */
bool kb_ok(const KB *b) { return b && !b->error; }

bool kb_fail(KB *b, const char *why) {
  if (kb_ok(b)) b->error = why;
  return false;
}

const char *kb_error(const KB *b) { return b ? b->error : "out of memory"; }

void kb_set_raw(KB *b) {
  if (b) b->raw = true;
}

bool kb_room(KB *b, void **array, uint32_t *cap, uint32_t used, uint32_t more, size_t size) {
  if (!kb_ok(b)) return false;
  if (more <= *cap - used) return true;
  if (more > UINT32_MAX / 4 - used) return kb_fail(b, "the kernel is too large");
  uint32_t want = *cap ? *cap : 16;
  while (want < used + more) want *= 2;
  size_t bytes;
  if (!size_mul(want, size, &bytes)) return kb_fail(b, "the kernel is too large");
  void *p = b->a.fn(b->a.user, *array, *cap * size, bytes);
  if (!p) return kb_fail(b, "out of memory");
  *array = p;
  *cap = want;
  return true;
}

#define ROOM(b, name, more)                                                                        \
  kb_room(b, (void **)&(b)->k.name, &(b)->cap_##name, (b)->k.n_##name, more, sizeof *(b)->k.name)
/* The arrays of Kernel are named in the singular, their counts in the plural. */
static bool room_syms(KB *b) {
  return kb_room(b, (void **)&b->k.sym_name, &b->cap_syms, b->k.n_syms, 1, sizeof *b->k.sym_name);
}
static bool room_bufs(KB *b) {
  return kb_room(b, (void **)&b->k.buf, &b->cap_bufs, b->k.n_bufs, 1, sizeof *b->k.buf);
}
static bool room_stmts(KB *b) {
  return kb_room(b, (void **)&b->k.stmt, &b->cap_stmts, b->k.n_stmts, 1, sizeof *b->k.stmt);
}
static bool room_vars(KB *b) {
  return kb_room(b, (void **)&b->k.var, &b->cap_vars, b->k.n_vars, 1, sizeof *b->k.var);
}

uint32_t kb_pool(KB *b, uint32_t n) {
  if (!kb_ok(b) || !ROOM(b, pool, n)) return KE_NONE;
  uint32_t at = b->k.n_pool;
  if (n) memset(b->k.pool + at, 0xff, n * sizeof *b->k.pool); /* KE_NONE until filled */
  b->k.n_pool += n;
  return at;
}

static uint32_t add_text(KB *b, const char *s) {
  size_t n = strlen(s) + 1;
  if (n > 65536) {
    kb_fail(b, "a name or message is too long");
    return 0;
  }
  if (!ROOM(b, text, (uint32_t)n)) return 0;
  uint32_t at = b->k.n_text;
  memcpy(b->k.text + at, s, n);
  b->k.n_text += (uint32_t)n;
  return at;
}

static void give_back(KB *b, void *p, uint32_t cap, size_t size) {
  if (p) b->a.fn(b->a.user, p, cap * size, 0);
}

void kb_drop(KB *b) {
  if (!b) return;
  give_back(b, b->k.sym_name, b->cap_syms, sizeof *b->k.sym_name);
  give_back(b, b->k.buf, b->cap_bufs, sizeof *b->k.buf);
  give_back(b, b->k.node, b->cap_nodes, sizeof *b->k.node);
  give_back(b, b->k.stmt, b->cap_stmts, sizeof *b->k.stmt);
  give_back(b, b->k.var, b->cap_vars, sizeof *b->k.var);
  give_back(b, b->k.pool, b->cap_pool, sizeof *b->k.pool);
  give_back(b, b->k.text, b->cap_text, 1);
  give_back(b, b->slot, b->n_slots, sizeof *b->slot);
  b->a.fn(b->a.user, b, sizeof *b, 0);
}

/* ---- start and finish ------------------------------------------------------- */
KB *kb_new(KAlloc a, const char *name) {
  KB *b = a.fn(a.user, NULL, 0, sizeof *b);
  if (!b) return NULL;
  memset(b, 0, sizeof *b);
  b->a = a;
  b->k.name = add_text(b, name ? name : "");
  return b;
}

/* Where each array of k lies in one block from base; the block's size. */
static void *lay(char *base, size_t *at, uint32_t n, size_t size) {
  size_t here = *at;
  *at += ((size_t)n * size + 7) & ~(size_t)7;
  return base + here;
}

static size_t lay_out(Kernel *k, char *base) {
  size_t at = (sizeof *k + 7) & ~(size_t)7;
  k->node = lay(base, &at, k->n_nodes, sizeof *k->node);
  k->buf = lay(base, &at, k->n_bufs, sizeof *k->buf);
  k->stmt = lay(base, &at, k->n_stmts, sizeof *k->stmt);
  k->var = lay(base, &at, k->n_vars, sizeof *k->var);
  k->sym_name = lay(base, &at, k->n_syms, sizeof *k->sym_name);
  k->pool = lay(base, &at, k->n_pool, sizeof *k->pool);
  k->text = lay(base, &at, k->n_text, 1);
  return at;
}

void kernel_free(Kernel *k, KAlloc a) {
  if (!k) return;
  Kernel copy = *k;
  a.fn(a.user, k, lay_out(&copy, (char *)k), 0);
}

static void copy_array(void *to, const void *from, uint32_t n, size_t size) {
  if (n) memcpy(to, from, n * size);
}

static Kernel *compact(KB *b) {
  Kernel shape = b->k;
  size_t bytes = lay_out(&shape, (char *)&shape);
  char *block = b->a.fn(b->a.user, NULL, 0, bytes);
  if (!block) {
    kb_fail(b, "out of memory");
    return NULL;
  }
  memset(block, 0, bytes); /* padding too: kernels are written out as they are */
  Kernel *k = (Kernel *)block;
  *k = b->k;
  lay_out(k, block);
  copy_array(k->node, b->k.node, k->n_nodes, sizeof *k->node);
  copy_array(k->buf, b->k.buf, k->n_bufs, sizeof *k->buf);
  copy_array(k->stmt, b->k.stmt, k->n_stmts, sizeof *k->stmt);
  copy_array(k->var, b->k.var, k->n_vars, sizeof *k->var);
  copy_array(k->sym_name, b->k.sym_name, k->n_syms, sizeof *k->sym_name);
  copy_array(k->pool, b->k.pool, k->n_pool, sizeof *k->pool);
  copy_array(k->text, b->k.text, k->n_text, 1);
  return k;
}

Kernel *kb_done(KB *b) {
  if (kb_ok(b) && b->depth > 0) kb_fail(b, "a statement is still open");
  if (!kb_ok(b)) return NULL;
  bool needs_launch;
  KError err;
  Kernel *k = compact(b); /* no table of it is NULL, not even an empty one */
  if (!k) return NULL;
  if (kernel_verify(k, b->a, &needs_launch, &err) != K_OK) {
    kb_fail(b, err.why);
    kernel_free(k, b->a);
    return NULL;
  }
  kb_drop(b);
  return k;
}

/* ---- symbols, buffers, variables -------------------------------------------- */
KE kb_sym(KB *b, const char *name) {
  if (!kb_ok(b) || !room_syms(b)) return KE_NONE;
  if (b->k.n_syms == K_MAX_SYMS) {
    kb_fail(b, "too many symbols");
    return KE_NONE;
  }
  b->k.sym_name[b->k.n_syms] = add_text(b, name);
  KNode n = {KN_Sym, 0, DT_i64, 0, b->k.n_syms++, KE_NONE, KE_NONE, 0};
  return kb_node(b, n, NULL);
}

uint32_t kb_buf(KB *b, KBufRole role, const char *name, DType t, int rank, const KE *dim) {
  if (!kb_ok(b) || !room_bufs(b)) return KE_NONE;
  bool late = role != K_LOCAL && b->k.n_bufs > b->k.n_params;
  if (late) kb_fail(b, "parameters must be declared before locals");
  if (b->k.n_bufs == K_MAX_BUFS) kb_fail(b, "too many buffers");
  if (rank < 0 || rank > K_MAX_RANK) kb_fail(b, "a buffer's rank is out of range");
  if ((unsigned)t >= DT_COUNT) kb_fail(b, "a buffer has no such dtype");
  if (!kb_ok(b)) return KE_NONE;
  KBuf *u = &b->k.buf[b->k.n_bufs];
  *u = (KBuf){(uint8_t)role, (uint8_t)t, (uint8_t)rank, 0, {0}};
  for (int i = 0; i < K_MAX_RANK; i++) {
    u->dim[i] = i < rank ? dim[i] : KE_NONE;
    if (i < rank && kb_is_node(b, dim[i]) && kb_type(b, dim[i]) != DT_i64)
      kb_fail(b, "a dim is not int64");
  }
  u->name = add_text(b, name);
  if (!kb_ok(b)) return KE_NONE;
  if (role != K_LOCAL) b->k.n_params++;
  return b->k.n_bufs++;
}

static KE new_var(KB *b, KVarKind kind, DType t, uint32_t *number) {
  static const char *const stem[] = {"i", "t", "c", "r", "acc"};
  *number = KE_NONE;
  if (!kb_ok(b) || !room_vars(b)) return KE_NONE;
  if (!b->var_name[kind]) b->var_name[kind] = add_text(b, stem[kind]);
  *number = b->k.n_vars++;
  b->k.var[*number] = (KVar){(uint8_t)kind, (uint8_t)t, b->var_name[kind]};
  KNode n = {KN_Var, 0, (uint8_t)t, 0, *number, KE_NONE, KE_NONE, 0};
  return kb_node(b, n, NULL);
}

/* ---- statements ------------------------------------------------------------- */
/* A new statement's number, or KE_NONE. */
static uint32_t add_stmt(KB *b, KStmt s) {
  if (!kb_ok(b)) return KE_NONE;
  FrameKind in = b->depth > 0 ? b->frame[b->depth - 1].kind : F_If;
  if (in == F_Reduce || in == F_Factors) {
    kb_fail(b, "a statement inside a reduction's or contraction's expression");
    return KE_NONE;
  }
  if (!room_stmts(b)) return KE_NONE;
  s.end = b->k.n_stmts + 1;
  b->k.stmt[b->k.n_stmts] = s;
  return b->k.n_stmts++;
}

static Frame *open_frame(KB *b, FrameKind kind, uint32_t stmt, uint32_t rec, uint32_t n_vars) {
  int limit = kind == F_Reduce ? MAX_FRAMES : MAX_FRAMES - 1;
  if (!kb_ok(b)) return NULL;
  if (b->depth == limit || n_vars > K_MAX_LOOPS - b->open_loops) {
    kb_fail(b, "loops are nested too deeply");
    return NULL;
  }
  b->open_loops += n_vars;
  b->frame[b->depth] = (Frame){kind, stmt, rec, n_vars};
  return &b->frame[b->depth++];
}

/* The innermost open statement when it is of this kind. */
static Frame *top_frame(KB *b, FrameKind kind, const char *why) {
  if (!kb_ok(b)) return NULL;
  Frame *f = b->depth > 0 ? &b->frame[b->depth - 1] : NULL;
  if (f && f->kind == kind) return f;
  kb_fail(b, why);
  return NULL;
}

static void close_frame(KB *b) {
  Frame *f = &b->frame[--b->depth];
  b->open_loops -= f->n_vars;
  if (f->stmt != KE_NONE) b->k.stmt[f->stmt].end = b->k.n_stmts;
}

static bool is_extent(KB *b, KE e) {
  if (!kb_is_node(b, e)) return false;
  return kb_type(b, e) == DT_i64 || kb_fail(b, "a loop extent is not int64");
}

static bool is_bool(KB *b, KE e) {
  if (!kb_is_node(b, e)) return false;
  return kb_type(b, e) == DT_bool || kb_fail(b, "a condition is not bool");
}

KE kb_for(KB *b, KE extent, KLoopKind kind) {
  uint32_t v;
  if (!kb_ok(b) || !is_extent(b, extent)) return KE_NONE;
  KE var = new_var(b, KV_Loop, DT_i64, &v);
  uint32_t s =
      add_stmt(b, (KStmt){KS_For, (uint8_t)kind, DT_i64, 0, v, extent, KE_NONE, KE_NONE, 0});
  return open_frame(b, F_For, s, KE_NONE, 1) ? var : KE_NONE;
}

KE kb_for_carry(KB *b, KE extent, int n, const KE *init, KE *carried) {
  uint32_t v;
  for (int i = 0; i < n; i++) carried[i] = KE_NONE;
  if (!kb_ok(b) || !is_extent(b, extent)) return KE_NONE;
  KE var = new_var(b, KV_Loop, DT_i64, &v);
  uint32_t rec = kb_pool(b, 1 + 3 * (uint32_t)n), u;
  if (rec == KE_NONE) return KE_NONE;
  b->k.pool[rec] = (uint32_t)n;
  for (int i = 0; i < n; i++) {
    if (!kb_is_node(b, init[i])) return KE_NONE;
    carried[i] = new_var(b, KV_Carried, kb_type(b, init[i]), &u);
    b->k.pool[rec + 1 + 3 * i] = u;
    b->k.pool[rec + 2 + 3 * i] = init[i];
  }
  uint32_t s = add_stmt(b, (KStmt){KS_For, K_SERIAL, DT_i64, 0, v, extent, rec, KE_NONE, 0});
  return open_frame(b, F_Carry, s, rec, 1) ? var : KE_NONE;
}

void kb_end_carry(KB *b, const KE *next) {
  Frame *f = top_frame(b, F_Carry, "kb_end_carry without kb_for_carry");
  if (!f) return;
  for (uint32_t i = 0; i < b->k.pool[f->rec]; i++) {
    uint32_t *r = &b->k.pool[f->rec + 1 + 3 * i];
    if (!kb_is_node(b, next[i])) return;
    if (kb_type(b, next[i]) != kb_type(b, r[1])) kb_fail(b, "a carried value changes its type");
    r[2] = next[i];
  }
  close_frame(b);
}

void kb_if(KB *b, KE cond) {
  if (!kb_ok(b) || !is_bool(b, cond)) return;
  uint32_t s = add_stmt(b, (KStmt){KS_If, 0, DT_bool, 0, KE_NONE, cond, KE_NONE, KE_NONE, 0});
  open_frame(b, F_If, s, KE_NONE, 0);
}

void kb_end(KB *b) {
  if (!kb_ok(b)) return;
  FrameKind in = b->depth > 0 ? b->frame[b->depth - 1].kind : F_Reduce;
  if (in == F_For || in == F_If)
    close_frame(b);
  else
    kb_fail(b, "kb_end without kb_for or kb_if");
}

KE kb_let(KB *b, KE e) {
  uint32_t v;
  if (!kb_ok(b) || !kb_is_node(b, e)) return KE_NONE;
  DType t = kb_type(b, e);
  KE var = new_var(b, KV_Let, t, &v);
  add_stmt(b, (KStmt){KS_Let, 0, (uint8_t)t, 0, v, e, KE_NONE, KE_NONE, 0});
  return kb_ok(b) ? var : KE_NONE;
}

void kb_store(KB *b, uint32_t buf, const KE *index, KE value) {
  if (!kb_ok(b) || !kb_is_node(b, value)) return;
  if (buf >= b->k.n_bufs) {
    kb_fail(b, "no such buffer");
    return;
  }
  const KBuf u = b->k.buf[buf];
  if (u.role == K_IN) kb_fail(b, "a store to an input");
  if (kb_type(b, value) != (DType)u.dtype) kb_fail(b, "a store of another type than the buffer's");
  uint32_t at = kb_pool(b, u.rank);
  for (int i = 0; i < u.rank && kb_ok(b); i++) {
    if (kb_is_node(b, index[i]) && kb_type(b, index[i]) != DT_i64)
      kb_fail(b, "an index is not int64");
    b->k.pool[at + (uint32_t)i] = index[i];
  }
  add_stmt(b, (KStmt){KS_Store, 0, u.dtype, 0, KE_NONE, buf, at, value, 0});
}

void kb_check(KB *b, KE cond, const char *message) {
  if (!kb_ok(b) || !is_bool(b, cond)) return;
  uint32_t text = add_text(b, message);
  add_stmt(b, (KStmt){KS_Check, 0, DT_bool, 0, KE_NONE, cond, KE_NONE, text, 0});
}

/* ---- reductions and contractions -------------------------------------------- */
/* n loop variables; (var, extent) pairs go to the pool at rec. */
static bool open_loops(KB *b, int n, const KE *extent, KE *vars, uint32_t rec) {
  for (int i = 0; i < n; i++) {
    uint32_t v;
    if (!is_extent(b, extent[i])) return false;
    vars[i] = new_var(b, KV_Loop, DT_i64, &v);
    if (!kb_ok(b)) return false;
    b->k.pool[rec + 2 * (uint32_t)i] = v;
    b->k.pool[rec + 2 * (uint32_t)i + 1] = extent[i];
  }
  return true;
}

void kb_reduce_begin(KB *b, int n, const KE *extent, KE *vars) {
  for (int i = 0; i < n; i++) vars[i] = KE_NONE;
  uint32_t rec = kb_pool(b, 1 + 2 * (uint32_t)n);
  if (rec == KE_NONE) return;
  b->k.pool[rec] = (uint32_t)n;
  if (open_loops(b, n, extent, vars, rec + 1)) open_frame(b, F_Reduce, KE_NONE, rec, (uint32_t)n);
}

KE kb_reduce_end(KB *b, SOp op, KE init, KE value) {
  Frame *f = top_frame(b, F_Reduce, "kb_reduce_end without kb_reduce_begin");
  if (!f || !kb_is_node(b, init) || !kb_is_node(b, value)) return KE_NONE;
  uint32_t rec = f->rec, v;
  DType t = kb_type(b, value);
  if (kb_type(b, init) != t) kb_fail(b, "a reduction starts from another type than it reduces");
  close_frame(b);
  KE var = new_var(b, KV_Reduced, t, &v);
  add_stmt(b, (KStmt){KS_Reduce, (uint8_t)op, (uint8_t)t, 0, v, init, rec, value, 0});
  return kb_ok(b) ? var : KE_NONE;
}

void kb_contract_begin(KB *b, int n_par, const KE *par_extent, KE *par, int n_red,
                       const KE *red_extent, KE *red) {
  uint32_t np = (uint32_t)n_par, nr = (uint32_t)n_red;
  for (int i = 0; i < n_par; i++) par[i] = KE_NONE;
  for (int i = 0; i < n_red; i++) red[i] = KE_NONE;
  uint32_t rec = kb_pool(b, 4 + 2 * np + 2 * nr);
  if (rec == KE_NONE) return;
  b->k.pool[rec] = np;
  b->k.pool[rec + 1 + 2 * np] = nr;
  if (open_loops(b, n_par, par_extent, par, rec + 1) &&
      open_loops(b, n_red, red_extent, red, rec + 2 + 2 * np))
    open_frame(b, F_Factors, KE_NONE, rec, np + nr);
}

KE kb_contract_acc(KB *b, DType acc, KE x, KE y) {
  Frame *f = top_frame(b, F_Factors, "kb_contract_acc without kb_contract_begin");
  if (!f || !kb_is_node(b, x) || !kb_is_node(b, y)) return KE_NONE;
  const uint32_t *r = &b->k.pool[f->rec], np = r[0];
  uint32_t at = f->rec + 2 + 2 * np + 2 * r[1 + 2 * np], v;
  b->k.pool[at] = kb_type(b, x) == acc ? x : kb_cast(b, x, acc);
  b->k.pool[at + 1] = kb_type(b, y) == acc ? y : kb_cast(b, y, acc);
  KE var = new_var(b, KV_Acc, acc, &v);
  b->open_loops -= f->n_vars - np; /* the reduction variables end here */
  f->n_vars = np;
  f->kind = F_Epilogue;
  if (b->depth == MAX_FRAMES) kb_fail(b, "loops are nested too deeply");
  Frame epilogue = *f;
  b->depth--; /* the statement stands in the enclosing body */
  f->stmt =
      add_stmt(b, (KStmt){KS_Contract, 0, (uint8_t)acc, 0, v, KE_NONE, epilogue.rec, KE_NONE, 0});
  b->depth++;
  return kb_ok(b) ? var : KE_NONE;
}

void kb_contract_end(KB *b) {
  if (top_frame(b, F_Epilogue, "kb_contract_end without kb_contract_acc")) close_frame(b);
}
