/* verify_ins.c -- what single instructions demand and do.
 *
 * First every operand is checked for its range, by its letter alone; after
 * that the words in the pool are known to be there and to name things that
 * exist, and the rule of the instruction reads them directly.                 */
#include "vm/operands.h"
#include "vm/runtime.h"
#include "vm/verify.h"

static const uint32_t *pool_of(const Verify *v, Ins i) { return v->m->pool + ins_w(i); }
static const Cls i64_cls = CLS_SCALAR | DT_i64;

/* ---- ranges ------------------------------------------------------------- */

static bool operand_ok(Verify *v, const Operand *o) {
  const Image *m = v->m;
  switch (o->kind) {
  case 'd':
  case 'u':
  case 'm':
  case 'b': return o->v < v->f->n_regs || v_fail(v, "a register is out of range");
  case 'K': return o->v < m->n_consts || v_fail(v, "a constant is out of range");
  case 'J':
  case 'L': return o->v < v->f->n_code || v_fail(v, "a jump leaves the function");
  case 'M': return v_text(v, o->v) || v_fail(v, "a message is out of range");
  case 'T': return o->v < DT_COUNT || v_fail(v, "unknown dtype");
  case 'Y': return o->v < m->n_types || v_fail(v, "a type is out of range");
  case 'F': return o->v < m->n_funcs || v_fail(v, "a function is out of range");
  case 'X': return o->v < m->n_kernels || v_fail(v, "a kernel is out of range");
  case 'R': return o->v < RT_COUNT || v_fail(v, "an unknown runtime kernel");
  case '.': return o->v == 0 || v_fail(v, "an unused operand is not zero");
  default: return true; /* numbers, brackets              */
  }
}

static bool operands_ok(Verify *v, Ins i) {
  OperandIter it;
  Operand o;
  if (!operands_begin(&it, v->m, i)) return v_fail(v, "unknown instruction");
  while (operands_next(&it, &o))
    if (!v_spend(v, 1) || !operand_ok(v, &o)) return false;
  return !it.bad || v_fail(v, "operands reach past the pool");
}

/* ---- moving ------------------------------------------------------------- */

static bool ins_move(Verify *v, Ins i) {
  VReg x;
  return v_take(v, i.b, &x) && v_put(v, i.a, x.cls, x.ctor, x.fresh);
}

static bool ins_dup(Verify *v, Ins i) {
  VReg x;
  if (!v_use(v, i.b, &x)) return false;
  v->reg[i.b].fresh = false;
  return v_put(v, i.a, x.cls, x.ctor, false);
}

static bool ins_drop(Verify *v, Ins i) {
  VReg x;
  return v_take(v, i.a, &x);
}

static bool ins_imm(Verify *v, Ins i) {
  DType t = (DType)i.b;
  int64_t x = (int16_t)i.c;
  if (dtype_is_float(t)) return v_fail(v, "IMM: not an integer or bool");
  if (wrap_int(x, t) != x || (t == DT_u64 && x < 0))
    return v_fail(v, "IMM: not a value of its dtype");
  return v_put(v, i.a, cls_scalar(t), 0, false);
}

static bool ins_const(Verify *v, Ins i) {
  return v_put(v, i.a, v_cls(v, v->m->cst[ins_w(i)].type), 0, false);
}

/* ---- control ------------------------------------------------------------ */

static bool ins_jump(Verify *v, Ins i) {
  v->live = false;
  return v_edge(v, ins_w(i));
}

static bool ins_unless(Verify *v, Ins i) {
  return v_use_cls(v, i.a, cls_scalar(DT_bool), "UNLESS: not a bool") && v_edge(v, ins_w(i));
}

static bool ins_switch(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i);
  VReg x;
  if (!v_use(v, i.a, &x)) return false;
  const IType *t = v_type(v, x.cls, IT_DATA);
  if (!t) return v_fail(v, "SWITCH: not a data value");
  if (p[0] != t->n_ctors) return v_fail(v, "SWITCH: not one label per constructor");
  for (uint32_t c = 0; c < t->n_ctors; c++) {
    v->reg[i.a].ctor = (uint16_t)(c + 1);
    if (!v_edge(v, p[1 + c])) return false;
  }
  v->live = false;
  return true;
}

/* Move n registers whose types are type_list[first...]. */
static bool take_args(Verify *v, const uint32_t *list, uint64_t n, uint32_t first,
                      const char *why) {
  if (list[0] != n) return v_fail(v, why);
  for (uint32_t k = 0; k < n; k++)
    if (!v_take_cls(v, list[1 + k], v_list_cls(v, first + k), why)) return false;
  return true;
}

/* Result of a call: into a, or, in a tail call, what this function returns. */
static bool give_result(Verify *v, Ins i, bool tail, uint32_t type) {
  if (!tail) return v_put(v, i.a, v_cls(v, type), 0, false);
  v->live = false;
  if (v_cls(v, type) != v_cls(v, v->f->result)) return v_fail(v, "tail call: another result type");
  return v->n_refs == 0 || v_fail(v, "tail call: a register still owns a reference");
}

static bool ins_call(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i);
  const IFunc *f = &v->m->func[p[0]];
  uint64_t n = (uint64_t)f->n_captures + f->n_params;
  return take_args(v, p + 1, n, f->first_param, "CALL: the arguments do not fit the function") &&
         give_result(v, i, i.op == OP_TAILCALL, f->result);
}

static bool ins_callc(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i);
  VReg x;
  if (!v_take(v, p[0], &x)) return false;
  const IType *t = v_type(v, x.cls, IT_CLOSURE);
  if (!t) return v_fail(v, "CALLC: not a closure");
  return take_args(v, p + 1, t->n_list, t->first_list, "CALLC: the arguments do not fit") &&
         give_result(v, i, i.op == OP_TAILCALLC, t->result);
}

static bool ins_ret(Verify *v, Ins i) {
  v->live = false;
  if (!v_take_cls(v, i.a, v_cls(v, v->f->result), "RET: another type than the function's"))
    return false;
  return v->n_refs == 0 || v_fail(v, "RET: a register still owns a reference");
}

static bool ins_fail(Verify *v, Ins i) {
  (void)i;
  v->live = false; /* what is owned goes with the call */
  return true;
}

/* ---- data, closures, refs ----------------------------------------------- */

/* The constructor that words p (type, number) name; NULL: none. */
static const ICtor *named_ctor(Verify *v, const uint32_t *p) {
  const IType *t = v_type(v, v_cls(v, p[0]), IT_DATA);
  if (t && p[1] < t->n_ctors) return &v->m->ctor[t->first_ctor + p[1]];
  v_fail(v, t ? "DATA: no such constructor" : "DATA: not a data type");
  return NULL;
}

static bool ins_data(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i);
  const ICtor *c = named_ctor(v, p);
  return c && take_args(v, p + 2, c->n_fields, c->first_field, "DATA: the fields do not fit") &&
         v_put(v, i.a, p[0], (uint16_t)(p[1] + 1), false);
}

/* The constructor of a data value, which must be known and have fields; or NULL. */
static const ICtor *known_cell(Verify *v, const VReg *x, const char *why) {
  const IType *t = v_type(v, x->cls, IT_DATA);
  const ICtor *c = t && x->ctor ? &v->m->ctor[t->first_ctor + x->ctor - 1] : NULL;
  if (c && c->n_fields) return c;
  v_fail(v, why);
  return NULL;
}

static bool ins_shell(Verify *v, Ins i) {
  VReg x;
  if (!v_take(v, i.b, &x) || !known_cell(v, &x, "SHELL: not a cell of a known constructor"))
    return false;
  if (!v_put(v, i.a, x.cls, x.ctor, false)) return false;
  v->reg[i.a].state = V_SHELL;
  return true;
}

static bool ins_renew(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i);
  const ICtor *c = named_ctor(v, p), *shell;
  VReg x;
  if (!c || !v_look(v, p[2], &x)) return false;
  if (x.state != V_SHELL) return v_fail(v, "RENEW: not a shell");
  shell = known_cell(v, &x, "RENEW: not a shell");
  if (!shell || shell->n_fields != c->n_fields) return v_fail(v, "RENEW: another number of fields");
  v->reg[p[2]].state = V_PLAIN;
  return v_take(v, p[2], &x) &&
         take_args(v, p + 3, c->n_fields, c->first_field, "RENEW: the fields do not fit") &&
         v_put(v, i.a, p[0], (uint16_t)(p[1] + 1), false);
}

static bool ins_field(Verify *v, Ins i) {
  VReg x;
  if (!v_use(v, i.b, &x)) return false;
  const IType *t = v_type(v, x.cls, IT_DATA);
  if (!t) return v_fail(v, "FIELD: not a data value");
  if (x.ctor == 0) return v_fail(v, "FIELD: the constructor is not known here");
  const ICtor *c = &v->m->ctor[t->first_ctor + x.ctor - 1];
  if (i.c >= c->n_fields) return v_fail(v, "FIELD: no such field");
  return v_put(v, i.a, v_list_cls(v, c->first_field + i.c), 0, false);
}

static bool ins_closure(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i);
  const IType *t = v_type(v, v_cls(v, p[0]), IT_CLOSURE);
  const IFunc *f = &v->m->func[p[1]];
  if (!t) return v_fail(v, "CLOSURE: not a closure type");
  bool fits = t->n_list == f->n_params && v_cls(v, t->result) == v_cls(v, f->result);
  if (!v_spend(v, f->n_params)) return false;
  for (uint32_t k = 0; fits && k < f->n_params; k++)
    fits = v_list_cls(v, t->first_list + k) == v_list_cls(v, f->first_param + f->n_captures + k);
  if (!fits) return v_fail(v, "CLOSURE: the function is not of the closure's type");
  return take_args(v, p + 2, f->n_captures, f->first_param, "CLOSURE: the captures do not fit") &&
         v_put(v, i.a, p[0], 0, false);
}

static bool ins_ref(Verify *v, Ins i) {
  const IType *t = v_type(v, v_cls(v, i.c), IT_REF);
  if (!t) return v_fail(v, "REF: not a reference type");
  return v_take_cls(v, i.b, v_cls(v, t->result), "REF: another type than the cell's") &&
         v_put(v, i.a, i.c, 0, false);
}

static const IType *use_ref(Verify *v, uint32_t r) {
  VReg x;
  if (!v_use(v, r, &x)) return NULL;
  const IType *t = v_type(v, x.cls, IT_REF);
  if (!t) v_fail(v, "not a reference cell");
  return t;
}

static bool ins_refget(Verify *v, Ins i) {
  const IType *t = use_ref(v, i.b);
  return t && v_put(v, i.a, v_cls(v, t->result), 0, false);
}

static bool ins_refset(Verify *v, Ins i) {
  const IType *t = use_ref(v, i.a);
  return t && v_take_cls(v, i.b, v_cls(v, t->result), "REFSET: another type than the cell's");
}

/* ---- tensors and scalars ------------------------------------------------ */

static bool use_tensor(Verify *v, uint32_t r, VReg *x) {
  return v_use(v, r, x) && (cls_is_tensor(x->cls) || v_fail(v, "not a tensor"));
}

static bool ins_dim(Verify *v, Ins i) {
  VReg x;
  if (!use_tensor(v, i.b, &x)) return false;
  if (i.c >= cls_rank(x.cls)) return v_fail(v, "DIM: no such axis");
  return v_put(v, i.a, i64_cls, 0, false);
}

/* A list of extents for a tensor class. */
static bool use_extents(Verify *v, Cls c, const uint32_t *list) {
  if (!cls_is_tensor(c)) return v_fail(v, "not a tensor type");
  if (list[0] != (uint32_t)cls_rank(c)) return v_fail(v, "not one extent per axis");
  for (uint32_t k = 0; k < list[0]; k++)
    if (!v_use_cls(v, list[1 + k], i64_cls, "an extent is not an int64")) return false;
  return true;
}

static bool ins_alloc(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i);
  Cls c = v_cls(v, p[0]);
  return use_extents(v, c, p + 1) && v_put(v, i.a, c, 0, true);
}

static bool ins_view(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i);
  Cls c = v_cls(v, p[0]);
  VReg x;
  if (!use_tensor(v, p[1], &x) || !use_extents(v, c, p + 2)) return false;
  if (cls_dtype(x.cls) != cls_dtype(c)) return v_fail(v, "VIEW: another dtype");
  v->reg[p[1]].fresh = false;
  return v_put(v, i.a, c, 0, false);
}

static bool ins_reuse(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i);
  Cls c = v_cls(v, p[0]);
  VReg x;
  if (!use_tensor(v, p[1], &x) || !use_extents(v, c, p + 2) || !v_put(v, i.a, c, 0, true))
    return false;
  if (cls_dtype(x.cls) != cls_dtype(c)) return v_fail(v, "REUSE: another dtype");
  if (v->n_bonds == V_BONDS) return v_fail(v, "REUSE: too many at a time");
  v->bond[v->n_bonds++] = (VBond){(uint16_t)p[1], i.a, false};
  v->reg[p[1]].state = v->reg[i.a].state = V_BOUND;
  return true;
}

static bool ins_settle(Verify *v, Ins i) {
  VReg x;
  uint32_t k = 0;
  while (k < v->n_bonds && (v->bond[k].from != i.a || v->bond[k].to != i.b)) k++;
  if (k == v->n_bonds) return v_fail(v, "SETTLE: not the registers of a REUSE");
  v->bond[k] = v->bond[--v->n_bonds];
  v->reg[i.a].state = v->reg[i.b].state = V_PLAIN;
  return v_take(v, i.a, &x);
}

static bool ins_elem(Verify *v, Ins i) {
  VReg x;
  return use_tensor(v, i.b, &x) && v_put(v, i.a, cls_scalar(cls_dtype(x.cls)), 0, false);
}

static bool use_scalar(Verify *v, uint32_t r, VReg *x) {
  return v_use(v, r, x) && (cls_is_scalar(x->cls) || v_fail(v, "not a scalar"));
}

static bool ins_select(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i);
  VReg x;
  return v_use_cls(v, p[0], cls_scalar(DT_bool), "SELECT: not a bool") && use_scalar(v, p[1], &x) &&
         v_use_cls(v, p[2], x.cls, "SELECT: two types") && v_put(v, i.a, x.cls, 0, false);
}

static bool ins_cast(Verify *v, Ins i) {
  VReg x;
  return use_scalar(v, i.b, &x) && v_put(v, i.a, cls_scalar(i.c), 0, false);
}

static bool ins_check(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i);
  return v_use_cls(v, p[0], i64_cls, "a checked number is not an int64") &&
         v_use_cls(v, p[1], i64_cls, "a checked number is not an int64");
}

static bool ins_scalar(Verify *v, Ins i) {
  const SOpInfo *op = &sop_info[(i.op - OP_SCALAR) >> 4];
  DType t = (DType)(i.op & 15);
  bool known = false;
  for (const char *c = op->classes; *c; c++) known |= *c == dtype_class(t);
  if (!known) return v_fail(v, "an operation its dtype does not have");
  if (!v_use_cls(v, i.b, cls_scalar(t), "an operand of another dtype")) return false;
  if (op->arity == 2 && !v_use_cls(v, i.c, cls_scalar(t), "an operand of another dtype"))
    return false;
  return v_put(v, i.a, cls_scalar(op->result == 'b' ? DT_bool : t), 0, false);
}

/* ---- kernels ------------------------------------------------------------ */

static bool writes(const KBuf *b) { return b->role == K_OUT || b->role == K_INOUT; }

/* Before the kernel runs: does register r fit buffer b? */
static bool use_buffer(Verify *v, const KBuf *b, uint32_t r) {
  VReg x;
  if (b->rank == 0 && b->role == K_OUT) return true;
  if (b->rank == 0) return v_use_cls(v, r, cls_scalar(b->dtype), "KERNEL: a scalar does not fit");
  if (!v_look(v, r, &x)) return false;
  if (!cls_is_tensor(x.cls)) return v_fail(v, "not a tensor");
  if (cls_dtype(x.cls) != (DType)b->dtype) return v_fail(v, "KERNEL: a tensor of another dtype");
  if (writes(b) && !x.fresh) return v_fail(v, "KERNEL: writes to a tensor others may see");
  return true;
}

/* A register that is written stands for no other buffer. */
static bool no_alias(Verify *v, const KBuf *buf, const uint32_t *reg, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t k = 0; writes(&buf[i]) && k < n; k++)
      if (k != i && reg[k] == reg[i]) return v_fail(v, "KERNEL: one register for two buffers");
  return true;
}

/* Buffer b, whose register may be one tensor with that of output `out`. */
static bool in_place(Verify *v, const Kernel *k, uint32_t b, uint32_t out) {
  bool yes;
  if (!v_spend(v, (uint64_t)k->n_nodes + k->n_stmts)) return false;
  if (!kernel_in_place(k, b, out, v->a, &yes)) {
    v_fail(v, "out of memory");
    return !(v->err->no_memory = true);
  }
  return yes || v_fail(v, "KERNEL: cannot be done in place");
}

/* A bound pair of registers: the old one is read before the new one is written. */
static bool use_bond(Verify *v, const Kernel *k, const uint32_t *reg, VBond *d) {
  uint32_t out = UINT32_MAX;
  for (uint32_t b = 0; b < k->n_params; b++) {
    if (k->buf[b].rank == 0 || reg[b] != d->to) continue;
    if (k->buf[b].role != K_OUT) return v_fail(v, "KERNEL: reads a tensor made by REUSE");
    out = b;
  }
  for (uint32_t b = 0; b < k->n_params; b++) {
    if (k->buf[b].rank == 0 || reg[b] != d->from) continue;
    if (writes(&k->buf[b])) return v_fail(v, "KERNEL: writes to a tensor that is reused");
    if (d->written) return v_fail(v, "KERNEL: reads a tensor that may have been overwritten");
    if (out != UINT32_MAX && !in_place(v, k, b, out)) return false;
  }
  d->written |= out != UINT32_MAX;
  return true;
}

static bool ins_kernel(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i), *bufs = p + 1, *syms = bufs + 1 + bufs[0];
  const Kernel *k = v->m->kernel[p[0]];
  if (bufs[0] != k->n_params) return v_fail(v, "KERNEL: the number of buffers differs");
  if (syms[0] != k->n_syms) return v_fail(v, "KERNEL: the number of symbols differs");
  for (uint32_t b = 0; b < k->n_params; b++)
    if (!use_buffer(v, &k->buf[b], bufs[1 + b])) return false;
  for (uint32_t s = 0; s < k->n_syms; s++)
    if (!v_use_cls(v, syms[1 + s], i64_cls, "KERNEL: a symbol is not an int64")) return false;
  if (!no_alias(v, k->buf, bufs + 1, k->n_params)) return false;
  for (uint32_t d = 0; d < v->n_bonds; d++)
    if (!use_bond(v, k, bufs + 1, &v->bond[d])) return false;
  for (uint32_t b = 0; b < k->n_params; b++)
    if (k->buf[b].rank == 0 && writes(&k->buf[b]) &&
        !v_put(v, bufs[1 + b], cls_scalar(k->buf[b].dtype), 0, false))
      return false;
  return true;
}

/* Does a class fit the letter of a runtime kernel's operand? */
static bool fits_letter(char letter, Cls c) {
  DType t = cls_dtype(c);
  if (!cls_is_tensor(c)) return false;
  switch (letter) {
  case 'v': return true;
  case 'i': return dtype_is_int(t);
  case 'f': return dtype_is_float(t);
  default: return false;
  }
}

static bool use_input(Verify *v, char letter, uint32_t r) {
  VReg x;
  if (!v_use(v, r, &x)) return false;
  bool ok = fits_letter(letter, x.cls);
  DType t = cls_dtype(x.cls);
  if (letter == 'I') ok = t == DT_i32 || t == DT_i64;
  if (letter == 'F') ok = dtype_is_float(t);
  ok = ok && (cls_is_scalar(x.cls) || cls_is_tensor(x.cls));
  return ok || v_fail(v, "RUNTIME: an input does not fit");
}

static bool ins_runtime(Verify *v, Ins i) {
  const uint32_t *p = pool_of(v, i), *in = p + 1, *out = in + 1 + in[0];
  const uint32_t *num = out + 1 + 2 * out[0];
  const RtInfo *rt = &rt_info[p[0]];
  if (in[0] != strlen(rt->in) || out[0] != strlen(rt->out) || num[0] != (uint32_t)rt->n_numbers)
    return v_fail(v, "RUNTIME: the number of operands differs");
  for (uint32_t k = 0; k < in[0]; k++)
    if (!use_input(v, rt->in[k], in[1 + k])) return false;
  for (uint32_t k = 0; k < out[0]; k++) {
    Cls c = v_cls(v, out[1 + 2 * k]);
    if (!fits_letter(rt->out[k], c)) return v_fail(v, "RUNTIME: an output does not fit");
    if (!v_put(v, out[2 + 2 * k], c, 0, true)) return false;
  }
  return true;
}

/* ---- the table ---------------------------------------------------------- */

typedef bool Rule(Verify *v, Ins i);
static Rule *const rule[OP_COUNT] = {
    [OP_MOVE] = ins_move,       [OP_DUP] = ins_dup,       [OP_DROP] = ins_drop,
    [OP_IMM] = ins_imm,         [OP_CONST] = ins_const,   [OP_JUMP] = ins_jump,
    [OP_UNLESS] = ins_unless,   [OP_SWITCH] = ins_switch, [OP_CALL] = ins_call,
    [OP_TAILCALL] = ins_call,   [OP_CALLC] = ins_callc,   [OP_TAILCALLC] = ins_callc,
    [OP_RET] = ins_ret,         [OP_DATA] = ins_data,     [OP_FIELD] = ins_field,
    [OP_CLOSURE] = ins_closure, [OP_REF] = ins_ref,       [OP_REFGET] = ins_refget,
    [OP_REFSET] = ins_refset,   [OP_DIM] = ins_dim,       [OP_ALLOC] = ins_alloc,
    [OP_VIEW] = ins_view,       [OP_ELEM] = ins_elem,     [OP_SELECT] = ins_select,
    [OP_CAST] = ins_cast,       [OP_KERNEL] = ins_kernel, [OP_RUNTIME] = ins_runtime,
    [OP_CHECKEQ] = ins_check,   [OP_CHECKBC] = ins_check, [OP_CHECKGE] = ins_check,
    [OP_FAIL] = ins_fail,       [OP_REUSE] = ins_reuse,   [OP_SETTLE] = ins_settle,
    [OP_SHELL] = ins_shell,     [OP_RENEW] = ins_renew,
};

bool verify_ins(Verify *v, Ins i) {
  if (!operands_ok(v, i)) return false;
  if (i.op >= OP_SCALAR) return ins_scalar(v, i);
  return rule[i.op] ? rule[i.op](v, i) : v_fail(v, "unknown instruction");
}
