/* contract_kept.c -- room for forms of a factor, and those that are kept.
 *
 * A constant of the program is the same in every launch, so what is made of it
 * (packed, transformed, summed in parts) is kept beside the kernel under a key
 * and found there next time.  Whether a buffer is a constant is known when the
 * kernel is launched, so there is code for both.                             */
#include "codegen/llvm/contract.h"
#include "codegen/native/launch.h"

/* The only symbolic extent of a set, which the product of all determines; KE_NONE: none, or
 * several. */
static KE only_symbolic(Emit *e, const Set *s) {
  KE only = KE_NONE;
  for (int i = 0; i < s->n; i++) {
    if (!uses_symbols(e, s->axis[i].ext)) continue;
    if (only != KE_NONE) return KE_NONE;
    only = s->axis[i].ext;
  }
  return only;
}

/* The symbol of which an extent is a multiple, plus or minus a number, and which it determines. */
static uint32_t only_symbol(const Kernel *k, KE x) {
  while (x != KE_NONE) {
    const KNode *n = &k->node[x];
    if (n->kind == KN_Sym) return n->a;
    if (n->kind != KN_Op || (n->op != S_add && n->op != S_sub && n->op != S_mul)) return KE_NONE;
    const KNode *a = &k->node[n->a], *b = &k->node[n->b];
    if ((a->kind == KN_Const) == (b->kind == KN_Const)) return KE_NONE;
    if (n->op == S_mul && (a->kind == KN_Const ? a : b)->bits == 0) return KE_NONE;
    x = a->kind == KN_Const ? n->b : n->a;
  }
  return KE_NONE;
}

/* Is the value of x the same whenever those of the two extents are? */
static bool is_determined(Emit *e, KE x, const KE *by) {
  uint32_t sym[2] = {only_symbol(e->k, by[0]), only_symbol(e->k, by[1])};
  if (x == by[0] || x == by[1]) return true;
  if (expr_has(e, x, KN_Load, KE_NONE) || expr_has(e, x, KN_LoadOr, KE_NONE)) return false;
  for (uint32_t s = 0; s < e->k->n_syms; s++)
    if (s != sym[0] && s != sym[1] && expr_has(e, x, KN_Sym, s)) return false;
  return true;
}

/* A kept form is found by the buffer's address, n and k.  Is it the same in all launches in which
 * these are: do the places that are read, and their order, depend on nothing else? */
static bool has_one_form(const Con *c, int side, const KNode *load) {
  Emit *e = c->e;
  const Set *set[] = {&c->side[side], &c->red, &c->batch};
  KE by[2] = {only_symbolic(e, set[0]), only_symbolic(e, set[1])};
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < set[i]->n; j++)
      if (!is_determined(e, set[i]->axis[j].ext, by)) return false;
  for (uint32_t d = 0; d < load->rank; d++) {
    if (!is_determined(e, e->k->pool[load->b + d], by)) return false;
    if (d > 0 && !is_determined(e, e->k->buf[load->a].dim[d], by)) return false; /* the strides */
  }
  return true;
}

bool constant_buffer(const Con *c, int side, uint32_t *buf) {
  KE x = c->factor[side];
  const KNode *n = &c->e->k->node[x];
  for (int i = 0; i < c->n_outer; i++)
    if (expr_uses(c->e, x, c->outer[i])) return false;
  while (n->kind == KN_Cast) n = &c->e->k->node[n->a];
  if (n->kind != KN_Load || c->e->k->buf[n->a].role != K_IN) return false;
  *buf = n->a;
  return has_one_form(c, side, n);
}

Val kept_form(const Con *c, uint32_t buf, const Kept *f) {
  Emit *e = c->e;
  LLVMTypeRef p = ptr_type(e);
  Val arg[6] = {e->state, e->buf[buf], i64_of(e, f->key), f->n, f->k, f->bytes};
  Val found = emit_call(e, "rvm.packed", p, arg, 5, false);
  Block have = LLVMGetInsertBlock(e->b), make = new_block(e, "pack"), fill = new_block(e, "fill");
  Block done = new_block(e, "packed");
  LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, found, ""), done, make);
  LLVMPositionBuilderAtEnd(e->b, make);
  Val room = emit_call(e, "rvm.pack", p, arg, 6, false);
  LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, room, ""), fill, done);
  LLVMPositionBuilderAtEnd(e->b, fill);
  f->fill(f->ctx, room);
  (void)emit_call(e, "rvm.pack_done", int_type(e, 64), (Val[]){e->state, room}, 2, false);
  Block filled = LLVMGetInsertBlock(e->b);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, done);
  Val phi = LLVMBuildPhi(e->b, p, "");
  LLVMAddIncoming(phi, (Val[]){found, room, room}, (Block[]){have, make, filled}, 3);
  return phi;
}

static Val as_i64(Emit *e, Val pointer) {
  return LLVMBuildPtrToInt(e->b, pointer, int_type(e, 64), "");
}

Val take_scratch_bytes(const Con *c, Val bytes) {
  Emit *e = c->e;
  Val arg[2] = {e->state, add(e, bytes, i64_of(e, 64))};
  Val base = emit_call(e, "rvm.scratch", ptr_type(e), arg, 2, false);
  fail_unless(e, LLVMBuildIsNotNull(e->b, base, ""), K_NO_MEMORY, 0);
  Val off = LLVMBuildAnd(e->b, LLVMBuildNeg(e->b, as_i64(e, base), ""), i64_of(e, 63), "");
  return bytes_on(e, base, off);
}

Val kept_or_made(const Con *c, int side, const Kept *f) {
  Emit *e = c->e;
  uint32_t buf;
  Val kept = LLVMConstNull(ptr_type(e));
  if (constant_buffer(c, side, &buf)) kept = kept_form(c, buf, f);
  Val found = LLVMBuildIsNotNull(e->b, kept, "");
  Val room = take_scratch_bytes(c, choose(e, found, i64_of(e, 0), f->bytes));
  Block fill = new_block(e, "fill"), done = new_block(e, "");
  LLVMBuildCondBr(e->b, found, done, fill);
  LLVMPositionBuilderAtEnd(e->b, fill);
  f->fill(f->ctx, room);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, done);
  return choose(e, found, kept, room);
}

typedef struct {
  const Nest *t;
  int side;
} PackSide;
static void fill_side(const void *ctx, Val to) {
  const PackSide *s = ctx;
  pack_all(s->t, s->side, to);
}

static bool is_variable(const Con *c, KE x, const Set *s) {
  const KNode *n = &c->e->k->node[x];
  return s->n == 1 && n->kind == KN_Var && n->a == s->axis[0].var;
}

/* Are the columns those of a whole matrix, or (turned) its rows? */
static bool whole_matrix(const Nest *t, bool *turned) {
  const Con *c = t->c;
  const Kernel *k = c->e->k;
  const KNode *x = &k->node[c->factor[COLS]];
  int64_t n, depth, dim[2];
  if (c->batch.n || x->kind != KN_Load || x->rank != 2 || (DType)x->dtype != c->t) return false;
  if (!val_known(t->n, &n) || !val_known(t->k, &depth)) return false;
  for (int i = 0; i < 2; i++)
    if ((k->n_syms && !c->e->fixed) || !kernel_size(k, k->buf[x->a].dim[i], c->e->fixed, &dim[i]))
      return false;
  KE first = k->pool[x->b], second = k->pool[x->b + 1];
  *turned = is_variable(c, first, &c->pack[COLS]);
  const Set *outer = *turned ? &c->pack[COLS] : &c->depth[COLS];
  const Set *inner = *turned ? &c->depth[COLS] : &c->pack[COLS];
  return is_variable(c, first, outer) && is_variable(c, second, inner) &&
         dim[0] == (*turned ? n : depth) && dim[1] == (*turned ? depth : n);
}

int64_t side_key(const Nest *t, int side) {
  const Con *c = t->c;
  bool turned;
  if (side == COLS && whole_matrix(t, &turned))
    return packed_matrix_key(turned, c->t, c->lanes * 2);
  return packed_key(c->at, side, c->lanes * 2, side == ROWS && t->exact); /* versions differ */
}

Val packed_side(const Nest *t, int side, uint32_t buf) {
  const Con *c = t->c;
  Emit *e = c->e;
  PackSide s = {t, side};
  Kept f = {.key = side_key(t, side),
            .n = side == ROWS ? t->m : t->n,
            .k = t->k,
            .bytes = at_bytes(c, mul(e, c->batch.total, side_elements(t, side))),
            .fill = fill_side,
            .ctx = &s};
  return kept_form(c, buf, &f);
}
