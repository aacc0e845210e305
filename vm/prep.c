/* prep.c -- making verified code quicker to interpret.
 *
 * One linear pass per function follows the type of every register, as the
 * verifier did: declared at labels, otherwise from the instruction that wrote
 * it.  What an instruction must know at run time and the image does not say
 * next to it (is this slot counted? cast from what?) is decided here.  The
 * image has been verified; nothing is checked again, except that no two
 * functions share an instruction, since it could not serve both.             */
#include "vm/program.h"
#include "vm/runtime.h"
#include "vm/xop.h"

enum { TY_SCALAR = 1u << 31 }; /* + dtype; otherwise an index into Image.type */
typedef struct {
  uint32_t ty;
  uint16_t ctor;
} Reg; /* ctor: 1 + the known one, or 0 */
typedef struct {
  Image *m;
  const IFunc *f;
  Ins *code;
  Reg *r;
  bool *has_refs;
} Prep;

static uint32_t scalar(DType t) { return TY_SCALAR | (uint32_t)t; }
static bool is_scalar(Reg r) { return r.ty & TY_SCALAR; }
static DType dtype_of(Reg r) { return (DType)(r.ty & 0xff); }

static Reg reg_of(const Image *m, uint32_t type) {
  const IType *t = &m->type[type];
  if (t->kind == IT_SCALAR) return (Reg){scalar((DType)t->dtype), 0};
  return (Reg){type, t->kind == IT_DATA && t->n_ctors == 1};
}

static Reg known(const Image *m, uint32_t type, uint32_t ctor) {
  Reg r = reg_of(m, type);
  if (!is_scalar(r)) r.ctor = (uint16_t)(ctor + 1);
  return r;
}

static Reg field(const Prep *p, Reg r, uint32_t i) {
  const Image *m = p->m;
  const ICtor *c = &m->ctor[m->type[r.ty].first_ctor + r.ctor - 1u];
  return reg_of(m, m->type_list[c->first_field + i]);
}

/* ---- scalars ---------------------------------------------------------------- */

static const struct {
  uint16_t from, to, fused;
} fast[] = {
#define F(op, t) {OP_SCALAR + S_##op * 16 + DT_##t, X_##op##_##t, 0},
    FAST_ARITH(F) F(and, bool) F(or, bool) F(xor, bool) F(not, bool)
#undef F
#define F(op, t) {OP_SCALAR + S_##op * 16 + DT_##t, X_##op##_##t, X_##op##_##t##_unless},
        FAST_COMPARE(F)
#undef F
};

static void prep_scalar(Prep *p, uint32_t pc) {
  Ins *i = &p->code[pc];
  uint16_t op = i->op;
  const SOpInfo *s = &sop_info[(op - OP_SCALAR) >> 4];
  p->r[i->a] = (Reg){scalar(s->result == 'b' ? DT_bool : (DType)(op & 15)), 0};
  for (size_t k = 0; k < sizeof fast / sizeof *fast; k++) {
    if (fast[k].from != op) continue;
    i->op = fast[k].to;
    const Ins *next = i + 1;
    if (fast[k].fused && pc + 1 < p->f->n_code && next->op == OP_UNLESS && next->a == i->a &&
        ins_w(*next) > pc + 1)
      i->op = fast[k].fused;
    return;
  }
}

/* Casts that leave the slot as it is: canonical forms nest. */
static bool cast_is_copy(DType from, DType to) {
  if (from == to) return true;
  if (dtype_is_float(from) || dtype_is_float(to) || to == DT_bool) return false;
  if (dtype_bytes(to) == 8) return true;
  if (dtype_bytes(to) <= dtype_bytes(from)) return from == DT_bool;
  return !dtype_is_signed(from) || dtype_is_signed(to);
}

static void prep_cast(Prep *p, Ins *i) {
  DType from = dtype_of(p->r[i->b]), to = (DType)i->c;
  p->r[i->a] = (Reg){scalar(to), 0};
  if (cast_is_copy(from, to))
    *i = (Ins){OP_MOVE, i->a, i->b, 0};
  else
    i->c = (uint16_t)(from << 8 | to);
}

/* ---- instructions with a list -------------------------------------------------- */

static void prep_data(Prep *p, Ins *i, const uint32_t *w) {
  p->r[i->a] = known(p->m, w[0], w[1]);
  if (w[2] == 0) *i = (Ins){X_NULLARY, i->a, (uint16_t)w[1], (uint16_t)(w[1] >> 16)};
}

static void prep_kernel(Prep *p, const uint32_t *w) {
  const Kernel *k = p->m->kernel[w[0]];
  for (uint32_t b = 0; b < w[1]; b++)
    if (k->buf[b].rank == 0 && k->buf[b].role != K_IN)
      p->r[w[2 + b]] = (Reg){scalar((DType)k->buf[b].dtype), 0};
}

/* Operand a gets four bits for each input that may be a scalar: 0 it is a
 * tensor, else 1 + dtype. */
static void prep_runtime(Prep *p, Ins *i, const uint32_t *w) {
  const char *in = rt_info[w[0]].in;
  uint32_t n = w[1], shift = 0, bits = 0;
  for (uint32_t k = 0; k < n; k++) {
    if (in[k] != 'I' && in[k] != 'F') continue;
    Reg r = p->r[w[2 + k]];
    if (is_scalar(r)) bits |= (1 + (uint32_t)dtype_of(r)) << shift;
    shift += 4;
  }
  i->a = (uint16_t)bits;
  const uint32_t *out = w + 2 + n;
  for (uint32_t k = 0; k < out[0]; k++) p->r[out[2 + 2 * k]] = reg_of(p->m, out[1 + 2 * k]);
}

static void prep_ref(Prep *p, Ins *i) {
  uint32_t type = i->c;
  *p->has_refs = true;
  p->r[i->a] = reg_of(p->m, type);
  i->c = type_is_ref(p->m, p->m->type[type].result);
}

/* ---- one instruction ------------------------------------------------------------ */

static void prep_ins(Prep *p, uint32_t pc) {
  Image *m = p->m;
  Ins *i = &p->code[pc];
  Reg *r = p->r;
  const uint32_t *w = ins_w(*i) < m->n_pool ? m->pool + ins_w(*i) : NULL; /* if it has one */
  if (i->op >= OP_SCALAR) {
    prep_scalar(p, pc);
    return;
  }
  switch ((OpCode)i->op) {
  case OP_SHELL:
  case OP_MOVE: r[i->a] = r[i->b]; break;
  case OP_DUP:
    r[i->a] = r[i->b];
    if (is_scalar(r[i->b])) i->op = OP_MOVE;
    break;
  case OP_DROP:
    if (is_scalar(r[i->a])) i->op = X_NOP;
    break;
  case OP_IMM: {
    DType t = (DType)i->b;
    r[i->a] = (Reg){scalar(t), 0};
    if (t == DT_u64 || (dtype_is_signed(t) && t != DT_i8)) i->op = X_SIGNED;
    break;
  }
  case OP_CONST: r[i->a] = reg_of(m, m->cst[ins_w(*i)].type); break;
  case OP_JUMP:
    if (ins_w(*i) <= pc) i->op = X_JUMPB;
    break;
  case OP_UNLESS:
    if (ins_w(*i) <= pc) i->op = X_UNLESSB;
    break;
  case OP_CALL: r[i->a] = reg_of(m, m->func[w[0]].result); break;
  case OP_CALLC: r[i->a] = reg_of(m, m->type[r[w[0]].ty].result); break;
  case OP_DATA: prep_data(p, i, w); break;
  case OP_RENEW: r[i->a] = known(m, w[0], w[1]); break;
  case OP_FIELD: {
    Reg f = field(p, r[i->b], i->c);
    if (is_scalar(f)) i->op = X_FIELDS;
    r[i->a] = f;
    break;
  }
  case OP_CLOSURE:
  case OP_ALLOC:
  case OP_VIEW:
  case OP_REUSE: r[i->a] = reg_of(m, w[0]); break;
  case OP_REF: prep_ref(p, i); break;
  case OP_REFGET: {
    Reg c = reg_of(m, m->type[r[i->b].ty].result);
    if (is_scalar(c)) i->op = X_REFGETS;
    r[i->a] = c;
    break;
  }
  case OP_REFSET:
    if (is_scalar(r[i->b])) i->op = X_REFSETS;
    break;
  case OP_DIM: r[i->a] = (Reg){scalar(DT_i64), 0}; break;
  case OP_ELEM: r[i->a] = (Reg){scalar((DType)m->type[r[i->b].ty].dtype), 0}; break;
  case OP_SELECT: r[i->a] = r[w[1]]; break;
  case OP_CAST: prep_cast(p, i); break;
  case OP_KERNEL: prep_kernel(p, w); break;
  case OP_RUNTIME: prep_runtime(p, i, w); break;
  case OP_SWITCH:
  case OP_TAILCALL:
  case OP_TAILCALLC:
  case OP_RET:
  case OP_CHECKEQ:
  case OP_CHECKBC:
  case OP_CHECKGE:
  case OP_FAIL:
  case OP_SETTLE:
  case OP_COUNT:
  case OP_SCALAR: break;
  }
}

static void prep_func(Prep *p) {
  const Image *m = p->m;
  const IFunc *f = p->f;
  for (uint32_t k = 0; k < f->n_captures + f->n_params; k++)
    p->r[k] = reg_of(m, m->type_list[f->first_param + k]);
  uint32_t l = 0;
  for (uint32_t pc = 0; pc < f->n_code; pc++) {
    for (; l < f->n_labels && m->label[f->label + l].pc <= pc; l++) {
      const ILabel *at = &m->label[f->label + l];
      for (uint32_t k = 0; at->pc == pc && k < at->n_regs; k++) {
        const IRegState *s = &m->state[at->first + k];
        p->r[s->reg] = s->ctor ? known(m, s->type, s->ctor - 1u) : reg_of(m, s->type);
      }
    }
    prep_ins(p, pc);
  }
}

/* ---- the whole image ------------------------------------------------------------- */

/* One bit per instruction; false when a function's are taken. */
static bool take(uint8_t *taken, const IFunc *f) {
  for (uint32_t i = f->code; i < f->code + f->n_code; i++) {
    if (taken[i / 8] >> (i % 8) & 1) return false;
    taken[i / 8] |= (uint8_t)(1u << (i % 8));
  }
  return true;
}

static bool disjoint(const Image *m, KAlloc a, ImageError *err) {
  size_t n = m->n_code / 8 + 1;
  uint8_t *taken = a.fn(a.user, NULL, 0, n);
  if (!taken) return false;
  memset(taken, 0, n);
  bool ok = true;
  for (uint32_t i = 0; ok && i < m->n_funcs; i++)
    if (!take(taken, &m->func[i])) {
      *err = (ImageError){.why = "two functions share an instruction", .func = i};
      ok = false;
    }
  a.fn(a.user, taken, n, 0);
  return ok;
}

bool prep_code(Image *m, KAlloc a, bool *has_refs, ImageError *err) {
  uint32_t most = 1;
  for (uint32_t i = 0; i < m->n_funcs; i++)
    if (m->func[i].n_regs > most) most = m->func[i].n_regs;
  if (!disjoint(m, a, err)) return false;
  Reg *r = a.fn(a.user, NULL, 0, most * sizeof *r);
  if (!r) return false;
  for (uint32_t i = 0; i < m->n_funcs; i++)
    prep_func(&(Prep){m, &m->func[i], m->code + m->func[i].code, r, has_refs});
  a.fn(a.user, r, most * sizeof *r, 0);
  return true;
}
