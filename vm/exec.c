/* exec.c -- the interpreter's loop.
 *
 * The code has been verified and prepared, so nothing here checks operands.
 * Fuel is counted where control leaves a straight line: the distance run since
 * the last such place, so every instruction is paid and none pays alone.  The
 * loop stops between instructions only, at calls, backward jumps and kernels,
 * and can go on from there.                                                  */
#include "vm/instance.h"
#include "base/checked.h"
#include "vm/xop.h"

/* ---- the stack ----------------------------------------------------------------- */

enum { SMALL_STACK = 4096 /* slots: growing by single frames costs little */ };

/* To twice its size; near the limit by less, but a large stack never by single frames: each of
 * them would copy all of it. */
bool vm_reserve(rvm_instance *vm, size_t slots) {
  if (slots <= vm->cap) return true;
  if (slots > SIZE_MAX / 16) return false;
  size_t want, more = vm->cap, least = vm->cap < SMALL_STACK ? 0 : vm->cap / 32;
  uint64_t *s;
  do {
    want = vm->cap + more > slots ? vm->cap + more : slots;
    s = heap_resize(&vm->heap, vm->stack, vm->cap * 8, want * 8, RVM_VALUES);
    more /= 2;
  } while (!s && want > slots && more >= least);
  if (!s) return false;
  vm->stack = s;
  vm->cap = want;
  return true;
}

/* ---- instructions too long for the loop ------------------------------------------ */

/* The captured values, each owned by its new register; the closure is consumed. */
static void unpack(rvm_instance *vm, Record *c, uint64_t *to) {
  Heap *h = &vm->heap;
  memcpy(to, c->slot, (size_t)c->h.n * 8);
  if (c->h.u.own.count == 1) {
    heap_free_shell(h, c);
    return;
  }
  const uint64_t *w = ref_words(&h->map, &c->h);
  for (uint32_t i = 0; i < c->h.n; i += 64)
    for (uint64_t bits = w[i / 64]; bits; bits &= bits - 1)
      ref_dup(to[i + (uint32_t)__builtin_ctzll(bits)]);
  ref_drop(h, cell_value(c));
}

static rvm_status do_record(rvm_instance *vm, CellKind kind, uint32_t desc, const uint32_t *list,
                            uint64_t *r, uint64_t *out) {
  uint32_t n = list[0];
  Record *c = heap_record(&vm->heap, kind, desc, n);
  if (!c) return vm_no_memory(vm);
  for (uint32_t i = 0; i < n; i++) c->slot[i] = r[list[1 + i]];
  *out = cell_value(c);
  return RVM_OK;
}

static rvm_status do_renew(rvm_instance *vm, const uint32_t *w, uint64_t *r, uint64_t *out) {
  Record *c = record_of(r[w[2]]);
  uint32_t desc = vm->p->im.type[w[0]].first_ctor + w[1], n = w[3];
  if (!c) return do_record(vm, CK_Data, desc, w + 3, r, out);
  c->h.desc = desc;
  for (uint32_t i = 0; i < n; i++) c->slot[i] = r[w[4 + i]];
  *out = cell_value(c);
  return RVM_OK;
}

/* A new tensor of type `type`, unless x, which may be NULL, can serve: when nobody
 * else sees it and it has as many elements. */
static rvm_status make_tensor(rvm_instance *vm, uint32_t type, const uint32_t *list, uint64_t *r,
                              Tensor *x, uint64_t *out) {
  int64_t dim[TENSOR_MAX_RANK], count;
  int rank = (int)list[0];
  for (int i = 0; i < rank; i++) {
    dim[i] = (int64_t)r[list[1 + i]];
    if (dim[i] < 0) return vm_fault(vm, "a tensor's extent is negative", NULL);
  }
  if (x && x->h.u.own.count == 1 && heap_owns(x) && x->h.n == rank &&
      dims_count(dim, rank, &count) && count == x->count) {
    memcpy(x->dim, dim, (size_t)rank * 8);
    *out = cell_value(x);
    return RVM_OK;
  }
  Tensor *t = heap_tensor(&vm->heap, (DType)vm->p->im.type[type].dtype, rank, dim);
  if (!t) return vm_no_memory(vm);
  *out = cell_value(t);
  return RVM_OK;
}

rvm_status vm_alloc(rvm_instance *vm, const uint32_t *w, uint64_t *r, uint64_t *out) {
  return make_tensor(vm, w[0], w + 1, r, NULL, out);
}

static rvm_status reuse(rvm_instance *vm, const uint32_t *w, uint64_t *r, uint64_t *out) {
  return make_tensor(vm, w[0], w + 2, r, tensor_of(r[w[1]]), out);
}

rvm_status vm_view(rvm_instance *vm, const uint32_t *w, uint64_t *r, uint64_t *out) {
  int64_t dim[TENSOR_MAX_RANK], count;
  int rank = (int)w[2];
  Tensor *x = tensor_of(r[w[1]]);
  for (int i = 0; i < rank; i++) dim[i] = (int64_t)r[w[3 + i]];
  if (!dims_count(dim, rank, &count) || count != x->count)
    return vm_fault_view(vm, x->count, rank, dim);
  Tensor *v = heap_view(&vm->heap, x, rank, dim);
  if (!v) return vm_no_memory(vm);
  *out = cell_value(v);
  return RVM_OK;
}

static rvm_status do_ref(rvm_instance *vm, uint64_t content, bool is_ref, uint64_t *out) {
  Record *c = heap_record(&vm->heap, CK_Ref, is_ref, 1);
  if (!c) return vm_no_memory(vm);
  c->slot[0] = content;
  *out = cell_value(c);
  return RVM_OK;
}

/* ---- scalars in registers ---------------------------------------------------------- */

static inline int32_t get_i32(uint64_t x) { return (int32_t)(uint32_t)x; }
static inline int64_t get_i64(uint64_t x) { return (int64_t)x; }
static inline float get_f32(uint64_t x) { return f32_of((uint32_t)x); }
static inline double get_f64(uint64_t x) { return f64_of(x); }
static inline uint64_t put_i32(uint32_t x) { return (uint64_t)(int64_t)(int32_t)x; }
#define A_add +
#define A_sub -
#define A_mul *
#define A_div /
#define A_eq ==
#define A_ne !=
#define A_lt <
#define A_le <=
#define EVAL_i32(op, x, y) put_i32((uint32_t)(x)A_##op(uint32_t)(y))
#define EVAL_i64(op, x, y) ((x)A_##op(y))
#define EVAL_f32(op, x, y) f32_bits(get_f32(x) A_##op get_f32(y))
#define EVAL_f64(op, x, y) f64_bits(get_f64(x) A_##op get_f64(y))
#define TEST(op, t, x, y) (get_##t(x) A_##op get_##t(y))

/* ---- the loop ------------------------------------------------------------------------- */

/* Pays for what has run since `paid`, this instruction not included. */
#define CHARGE() (fuel -= ip - paid, paid = ip)
#define POLL()                                                                                     \
  do {                                                                                             \
    CHARGE();                                                                                      \
    if (fuel < 0 || atomic_load_explicit(&vm->stop, memory_order_relaxed)) goto park;              \
  } while (0)
#define GO(target) (fuel -= ip + 1 - paid, ip = paid = (target))
#define TRY(e)                                                                                     \
  do {                                                                                             \
    st = (e);                                                                                      \
    if (st != RVM_OK) goto fail;                                                                   \
  } while (0)
#define A r[ip->a]
#define B r[ip->b]
#define C r[ip->c]
#define ENTER(f) (fi = (f), fn = im->func + fi, code = im->code + fn->code)

rvm_status vm_run(rvm_instance *vm) {
  const rvm_program *const p = vm->p;
  const Image *const im = &p->im;
  const uint32_t *const pool = im->pool;
  Heap *const h = &vm->heap;
  int64_t fuel = vm->fuel, fuel_was = fuel, kernel_fuel = 0;
  size_t base = vm->base;
  uint64_t *r = vm->stack + base;
  uint32_t fi, depth = vm->depth, max_depth = vm->lim.call_depth ? vm->lim.call_depth : UINT32_MAX;
  const IFunc *fn;
  const Ins *code;
  ENTER(vm->func);
  const Ins *ip = code + vm->pc, *paid = ip;
  rvm_status st = RVM_OK;

  for (;; ip++) {
  again:
    switch (ip->op) {
    case X_NOP: break;
    case OP_MOVE: A = B; break;
    case OP_DUP:
      ref_dup(B);
      A = B;
      break;
    case OP_DROP: ref_drop(h, A); break;
    case OP_IMM: A = (uint64_t)wrap_int((int16_t)ip->c, (DType)ip->b); break;
    case X_SIGNED: A = (uint64_t)(int64_t)(int16_t)ip->c; break;
    case OP_CONST: A = p->konst[ins_w(*ip)]; break;

    /* ---- control ---- */
    case X_JUMPB: POLL(); /* fall through */
    case OP_JUMP: GO(code + ins_w(*ip)); goto again;
    case X_UNLESSB: POLL(); /* fall through */
    case OP_UNLESS:
      if (A) break;
      GO(code + ins_w(*ip));
      goto again;
    case OP_SWITCH: {
      uint64_t v = A;
      uint32_t c = is_cell(v) ? p->local[cell_of(v)->desc] : (uint32_t)(v >> 1);
      const uint32_t *w = pool + ins_w(*ip);
      if (w[1 + c] <= (size_t)(ip - code)) POLL();
      GO(code + w[1 + c]);
      goto again;
    }
    case OP_CALL:
    case OP_CALLC: {
      POLL();
      if (depth >= max_depth) goto too_deep;
      const uint32_t *w = pool + ins_w(*ip);
      Record *c = ip->op == OP_CALLC ? record_of(r[w[0]]) : NULL;
      uint32_t to = c ? c->h.desc : w[0], n = w[1];
      size_t top = base + fn->n_regs + FRAME_WORDS, need = top + im->func[to].n_regs;
      if (need > vm->cap) {
        if (!vm_reserve(vm, need)) goto no_memory;
        r = vm->stack + base;
      }
      uint64_t *q = vm->stack + top;
      q[-2] = (uint64_t)fi << 32 | (uint32_t)(ip - code);
      q[-1] = ip->a;
      uint64_t *args = q;
      if (c) {
        args += c->h.n;
        unpack(vm, c, q);
      }
      for (uint32_t i = 0; i < n; i++) args[i] = r[w[2 + i]];
      ENTER(to);
      GO(code);
      base = top;
      r = q;
      depth++;
      goto again;
    }
    case OP_TAILCALL:
    case OP_TAILCALLC: {
      POLL();
      const uint32_t *w = pool + ins_w(*ip);
      Record *c = ip->op == OP_TAILCALLC ? record_of(r[w[0]]) : NULL;
      uint32_t to = c ? c->h.desc : w[0], n = w[1], total = n + (c ? c->h.n : 0u);
      size_t aside = (size_t)fn->n_regs + total, want = im->func[to].n_regs;
      if (want < aside) want = aside;
      if (base + want > vm->cap) {
        if (!vm_reserve(vm, base + want)) goto no_memory;
        r = vm->stack + base;
      }
      uint64_t *q = r + fn->n_regs, *args = q; /* aside first: the lists may overlap */
      if (c) {
        args += c->h.n;
        unpack(vm, c, q);
      }
      for (uint32_t i = 0; i < n; i++) args[i] = r[w[2 + i]];
      for (uint32_t i = 0; i < total; i++) r[i] = q[i];
      ENTER(to);
      GO(code);
      goto again;
    }
    case OP_RET: {
      uint64_t v = A;
      if (--depth == 0) {
        vm->result = v;
        ip++;
        goto out;
      }
      uint32_t pc = (uint32_t)r[-2], to = (uint32_t)r[-1];
      ENTER((uint32_t)(r[-2] >> 32));
      base -= FRAME_WORDS + (size_t)fn->n_regs;
      r = vm->stack + base;
      r[to] = v;
      GO(code + pc + 1);
      goto again;
    }

    /* ---- data ---- */
    case X_NULLARY: A = nullary(ins_w(*ip)); break;
    case OP_DATA: {
      const uint32_t *w = pool + ins_w(*ip);
      TRY(do_record(vm, CK_Data, im->type[w[0]].first_ctor + w[1], w + 2, r, &A));
      break;
    }
    case OP_SHELL: A = heap_shell(h, record_of(B)); break;
    case OP_RENEW: TRY(do_renew(vm, pool + ins_w(*ip), r, &A)); break;
    case OP_CLOSURE: {
      const uint32_t *w = pool + ins_w(*ip);
      TRY(do_record(vm, CK_Closure, w[1], w + 2, r, &A));
      break;
    }
    case OP_FIELD: {
      uint64_t v = record_of(B)->slot[ip->c];
      ref_dup(v);
      A = v;
      break;
    }
    case X_FIELDS: A = record_of(B)->slot[ip->c]; break;
    case OP_REF: TRY(do_ref(vm, B, ip->c, &A)); break;
    case OP_REFGET: {
      uint64_t v = record_of(B)->slot[0];
      ref_dup(v);
      A = v;
      break;
    }
    case X_REFGETS: A = record_of(B)->slot[0]; break;
    case OP_REFSET: {
      uint64_t *s = record_of(A)->slot, old = *s;
      *s = B;
      ref_drop(h, old);
      break;
    }
    case X_REFSETS: record_of(A)->slot[0] = B; break;

    /* ---- tensors ---- */
    case OP_DIM: A = (uint64_t)tensor_of(B)->dim[ip->c]; break;
    case OP_ALLOC: TRY(vm_alloc(vm, pool + ins_w(*ip), r, &A)); break;
    case OP_REUSE: TRY(reuse(vm, pool + ins_w(*ip), r, &A)); break;
    case OP_SETTLE:
      if (A != B) ref_drop(h, A);
      break;
    case OP_VIEW: TRY(vm_view(vm, pool + ins_w(*ip), r, &A)); break;
    case OP_ELEM: {
      const Tensor *t = tensor_of(B);
      if (ip->c >= t->count) {
        st = vm_fault_elem(vm, ip->c, t->count);
        goto fail;
      }
      DType e = (DType)t->h.desc;
      A = slot_load((const uint8_t *)t->data + (size_t)ip->c * (size_t)dtype_bytes(e), e);
      break;
    }
    case OP_KERNEL:
    case OP_RUNTIME: {
      POLL();
      int64_t left = fuel;
      st = ip->op == OP_KERNEL ? vm_kernel(vm, pool + ins_w(*ip), r, &left)
                               : vm_runtime(vm, ip->a, pool + ins_w(*ip), r, &left);
      kernel_fuel += fuel - left;
      fuel = left;
      if (st == RVM_NO_FUEL) goto parked;
      if (st != RVM_OK) goto fail;
      break;
    }

    /* ---- scalars ---- */
    case OP_SELECT: {
      const uint32_t *w = pool + ins_w(*ip);
      A = r[w[0]] ? r[w[1]] : r[w[2]];
      break;
    }
    case OP_CAST: A = scalar_cast(B, (DType)(ip->c >> 8), (DType)(ip->c & 255)); break;
    case X_and_bool: A = B & C; break;
    case X_or_bool: A = B | C; break;
    case X_xor_bool: A = B ^ C; break;
    case X_not_bool: A = !B; break;
#define F(op, t)                                                                                   \
  case X_##op##_##t: A = EVAL_##t(op, B, C); break;
      FAST_ARITH(F)
#undef F
#define F(op, t)                                                                                   \
  case X_##op##_##t: A = TEST(op, t, B, C); break;
      FAST_COMPARE(F)
#undef F
#define F(op, t)                                                                                   \
  case X_##op##_##t##_unless: A = TEST(op, t, B, C); goto unless;
      FAST_COMPARE(F)
#undef F
    unless:
      if (A) {
        ip++;
        break;
      }
      ip++;
      GO(code + ins_w(*ip));
      goto again;

    /* ---- checks ---- */
    case OP_CHECKEQ:
    case OP_CHECKBC:
    case OP_CHECKGE: {
      const uint32_t *w = pool + ins_w(*ip);
      int64_t x = (int64_t)r[w[0]], y = (int64_t)r[w[1]];
      bool ok =
          ip->op == OP_CHECKGE ? x >= y : x == y || (ip->op == OP_CHECKBC && (x == 1 || y == 1));
      if (ok) break;
      st = vm_fault_two(vm, w[2], x, y);
      goto fail;
    }
    case OP_FAIL: st = vm_fault(vm, im->text + ins_w(*ip), NULL); goto fail;

    default: { /* the other scalar operations   */
      uint32_t op = ip->op - (uint32_t)OP_SCALAR;
      uint64_t x = sop_info[op >> 4].arity > 1 ? C : 0;
      KStatus s = scalar_eval((SOp)(op >> 4), (DType)(op & 15), B, x, 0, &A);
      if (s == K_OK) break;
      st = vm_fault_scalar(vm, s);
      goto fail;
    }
    }
  }

too_deep:
  st = vm_too_deep(vm);
  goto fail;
no_memory:
  st = vm_no_memory(vm);
fail:
  vm_locate(vm, fi, (uint32_t)(ip - code));
  goto out;
park:
  st = RVM_NO_FUEL;
  if (atomic_load_explicit(&vm->stop, memory_order_relaxed)) {
    atomic_store_explicit(&vm->stop, 0, memory_order_relaxed);
    st = RVM_INTERRUPTED;
  }
parked:
  vm->func = fi;
  vm->pc = (uint32_t)(ip - code);
  vm->base = base;
  vm->depth = depth;
  vm_locate(vm, fi, vm->pc);
out:
  CHARGE();
  vm->fuel = fuel;
  vm->fuel_used += (uint64_t)(fuel_was - fuel);
  vm->instructions += (uint64_t)(fuel_was - fuel - kernel_fuel);
  return st;
}
