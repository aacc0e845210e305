/* contract_set.c -- sets of variables of a contraction that count as one index,
 * and the functions a contraction is made of.                                */
#include <stdlib.h>
#include "codegen/llvm/contract.h"

/* ---- sets ------------------------------------------------------------------------------ */
void set_add(Set *s, uint32_t var, KE ext) { s->axis[s->n++] = (Axis){var, ext, 1, NULL}; }

void set_values(Emit *e, Set *s) {
  s->total = i64_of(e, 1);
  for (int i = 0; i < s->n; i++) {
    s->axis[i].n = mul(e, emit_expr(e, s->axis[i].ext), i64_of(e, s->axis[i].times));
    s->total = mul(e, s->total, s->axis[i].n);
  }
  for (int i = 0; i < s->n_zero; i++) set_var(e, s->zero[i], i64_of(e, 0));
}

bool val_known(Val v, int64_t *out) {
  if (!LLVMIsAConstantInt(v)) return false;
  *out = LLVMConstIntGetSExtValue(v);
  return true;
}

int64_t known_or(Val v, int64_t other) {
  (void)val_known(v, &other);
  return other;
}

static void drop(Set *s, int i) {
  s->zero[s->n_zero++] = s->axis[i].var;
  for (s->n--; i < s->n; i++) s->axis[i] = s->axis[i + 1];
}

Set set_joined(Con *c, const Set *s, JoinFn one, int side) {
  Set out = *s;
  int64_t n;
  set_values(c->e, &out);
  for (int i = out.n; i-- > 0;)
    if (out.n > 1 && known_or(out.axis[i].n, 0) == 1) drop(&out, i);
  for (int i = out.n - 1; i-- > 0;) {
    Axis *inner = &out.axis[i + 1];
    if (!val_known(inner->n, &n) || n > INT64_C(1) << 40) continue;
    if (!one(c, side, out.axis[i].var, inner->var, n)) continue;
    KE ext = out.axis[i].ext;
    int64_t times = out.axis[i].times * n;
    inner->ext = ext;
    inner->times = times;
    drop(&out, i);
  }
  set_values(c->e, &out);
  return out;
}

void set_at(Emit *e, const Set *s, Val at) {
  for (int i = s->n; i-- > 0;) {
    Val n = s->axis[i].n;
    set_var(e, s->axis[i].var, i ? LLVMBuildURem(e->b, at, n, "") : at);
    if (i) at = LLVMBuildUDiv(e->b, at, n, "");
  }
}

/* ---- runs -------------------------------------------------------------------------------- */
Runs runs_begin(Emit *e, const Set *s, Val from, Val n) {
  LLVMTypeRef i64 = int_type(e, 64);
  const Axis *last = &s->axis[s->n - 1];
  Runs r = {.slot = new_slot(e, i64), .n = n};
  r.head = new_block(e, "run");
  r.exit = new_block(e, "ran");
  Block body = new_block(e, "");
  LLVMBuildStore(e->b, i64_of(e, 0), r.slot);
  LLVMBuildBr(e->b, r.head);
  LLVMPositionBuilderAtEnd(e->b, r.head);
  r.pos = LLVMBuildLoad2(e->b, i64, r.slot, "");
  LLVMBuildCondBr(e->b, less(e, r.pos, n), body, r.exit);
  LLVMPositionBuilderAtEnd(e->b, body);
  set_at(e, s, add(e, from, r.pos));
  r.first = e->var[last->var];
  Val left = sub(e, n, r.pos);
  r.len = s->n > 1 ? i64_min(e, sub(e, last->n, r.first), left) : left;
  return r;
}

void runs_end(Emit *e, Runs *r) {
  LLVMBuildStore(e->b, add(e, r->pos, r->len), r->slot);
  LLVMBuildBr(e->b, r->head);
  LLVMPositionBuilderAtEnd(e->b, r->exit);
}

/* ---- the batch --------------------------------------------------------------------------- */
Val flat_batch(const Con *c) {
  Val at = i64_of(c->e, 0);
  for (int i = 0; i < c->batch.n; i++)
    at = add(c->e, mul(c->e, at, c->batch.axis[i].n), c->e->var[c->batch.axis[i].var]);
  return at;
}

void open_batch(const Con *c, Loop *l) {
  for (int i = 0; i < c->batch.n; i++) {
    Part p = {i64_of(c->e, 0), c->batch.axis[i].n, NULL};
    if (i == 0 && c->split_batch) p = emit_part(c->e, c->at, p.to);
    l[i] = loop_begin(c->e, sub(c->e, p.to, p.from));
    set_var(c->e, c->batch.axis[i].var, add(c->e, p.from, l[i].i));
  }
}

void close_batch(const Con *c, Loop *l) {
  for (int i = c->batch.n; i-- > 0;) loop_end(c->e, &l[i]);
}

/* ---- functions of a contraction ------------------------------------------------------------- */
static unsigned prefix_types(const Con *c, LLVMTypeRef *t) {
  Emit *e = c->e;
  unsigned n = 0;
  for (uint32_t i = 0; i < e->k->n_bufs; i++) t[n++] = ptr_type(e);
  for (uint32_t i = 0; i < e->k->n_syms; i++) t[n++] = int_type(e, 64);
  t[n++] = ptr_type(e);
  for (int i = 0; i < c->n_outer; i++) t[n++] = reg_type(e, (DType)e->k->var[c->outer[i]].dtype);
  for (int i = 0; i < c->batch.n; i++) t[n++] = int_type(e, 64);
  return n;
}

static Val make_function(const Con *c, const char *name, LLVMTypeRef type) {
  Emit *e = c->e;
  Val fn = own_function(e, name, type);
  emit_noalias(e, fn);
  if (e->cpu.wide) LLVMAddTargetDependentFunctionAttr(fn, "min-legal-vector-width", "512");
  return fn;
}

static void take_arguments(Con *in, Sub *s) {
  Emit *e = in->e;
  unsigned n = 0;
  for (uint32_t i = 0; i < e->k->n_bufs; i++) e->buf[i] = LLVMGetParam(s->fn, n++);
  take_symbols(e, n);
  n += e->k->n_syms;
  e->state = LLVMGetParam(s->fn, n++);
  for (int i = 0; i < in->n_outer; i++) set_var(e, in->outer[i], LLVMGetParam(s->fn, n++));
  for (int i = 0; i < in->batch.n; i++) set_var(e, in->batch.axis[i].var, LLVMGetParam(s->fn, n++));
  s->first = n;
  for (uint32_t i = 0; i < e->k->n_bufs; i++)
    for (int d = 0; d < e->k->buf[i].rank; d++) e->dim[i][d] = emit_expr(e, e->k->buf[i].dim[d]);
}

static void all_values(Con *c) {
  Set *set[] = {&c->batch,   &c->side[0],  &c->side[1],  &c->red,    &c->pack[0],
                &c->pack[1], &c->depth[0], &c->depth[1], &c->out[0], &c->out[1]};
  for (int i = 0; i < 10; i++) set_values(c->e, set[i]);
}

bool sub_begin(const Con *c, Con *in, Sub *s, const char *name, LLVMTypeRef *more,
               unsigned n_more) {
  LLVMTypeRef t[K_MAX_BUFS + K_MAX_SYMS + MAX_OUTER + K_MAX_LOOPS + 16];
  uint32_t n_vars = c->e->k->n_vars + 1;
  unsigned n = prefix_types(c, t);
  for (unsigned i = 0; i < n_more; i++) t[n++] = more[i];
  *s = (Sub){.type = LLVMFunctionType(int_type(c->e, 64), t, n, false), .emit = *c->e};
  s->var = malloc(n_vars * sizeof *s->var);
  s->in_memory = malloc(n_vars * sizeof *s->in_memory);
  if (!s->var || !s->in_memory) {
    free(s->var);
    free(s->in_memory);
    return false;
  }
  memcpy(s->var, c->e->var, n_vars * sizeof *s->var);
  memcpy(s->in_memory, c->e->in_memory, n_vars * sizeof *s->in_memory);
  s->fn = make_function(c, name, s->type);
  *in = *c;
  in->e = &s->emit;
  s->emit.fn = s->fn;
  s->emit.b = LLVMCreateBuilderInContext(s->emit.c);
  s->emit.entry = new_block(&s->emit, "entry");
  LLVMPositionBuilderAtEnd(s->emit.b, new_block(&s->emit, "start"));
  take_arguments(in, s);
  all_values(in);
  return true;
}

void sub_end(const Con *c, Con *in, Sub *s) {
  Emit *e = in->e;
  uint32_t n_vars = e->k->n_vars + 1;
  LLVMBuildRet(e->b, i64_of(e, 0));
  LLVMPositionBuilderAtEnd(e->b, e->entry);
  LLVMBuildBr(e->b, LLVMGetNextBasicBlock(e->entry));
  LLVMDisposeBuilder(e->b);
  c->e->epoch = e->epoch;
  memcpy(c->e->var, s->var, n_vars * sizeof *s->var);
  memcpy(c->e->in_memory, s->in_memory, n_vars * sizeof *s->in_memory);
  free(s->var);
  free(s->in_memory);
}

Val sub_arg(const Sub *s, unsigned i) { return LLVMGetParam(s->fn, s->first + i); }

Val sub_call(const Con *c, const Sub *s, Val *more, unsigned n_more) {
  Val v[K_MAX_BUFS + K_MAX_SYMS + MAX_OUTER + K_MAX_LOOPS + 16];
  Emit *e = c->e;
  unsigned n = 0;
  for (uint32_t i = 0; i < e->k->n_bufs; i++) v[n++] = e->buf[i];
  for (uint32_t i = 0; i < e->k->n_syms; i++) v[n++] = e->sym[i];
  v[n++] = e->state;
  for (int i = 0; i < c->n_outer; i++) {
    uint32_t x = c->outer[i];
    LLVMTypeRef t = reg_type(e, (DType)e->k->var[x].dtype);
    v[n++] = e->in_memory[x] ? LLVMBuildLoad2(e->b, t, e->var[x], "") : e->var[x];
  }
  for (int i = 0; i < c->batch.n; i++) v[n++] = e->var[c->batch.axis[i].var];
  for (unsigned i = 0; i < n_more; i++) v[n++] = more[i];
  return LLVMBuildCall2(e->b, s->type, s->fn, v, n, "");
}

void return_failure(Emit *e, Val status) {
  Block bad = new_block(e, "fail"), next = new_block(e, "");
  LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, status, ""), next, bad);
  LLVMPositionBuilderAtEnd(e->b, bad);
  LLVMBuildRet(e->b, status);
  LLVMPositionBuilderAtEnd(e->b, next);
}
