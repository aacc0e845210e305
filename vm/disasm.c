/* disasm.c -- an image as text.
 *
 * docs/bytecode.md describes the syntax; asm.c reads it.  Everything is
 * printed by loops over the tables: operands by their letters.  Indices are
 * checked where they are used, so that an image that fails verification can
 * be looked at too (its kernels excepted).                                    */
#include <stdio.h>
#include "kernel/interp.h"
#include "kernel/text.h"
#include "vm/operands.h"
#include "vm/runtime.h"
#include "vm/tool.h"

typedef struct {
  const Image *m;
  TextOut *o;
  bool full;
} Dis;

static const char *text_at(const Image *m, uint32_t at) {
  return at < m->n_text && m->text[m->n_text - 1] == '\0' ? m->text + at : "?";
}
static const char *dtype_text(uint32_t t) { return t < DT_COUNT ? dtype_name((DType)t) : "?"; }

/* ---- types -------------------------------------------------------------- */

static void types_in_parens(Dis *d, uint32_t first, uint64_t n) {
  text_put(d->o, "(", 1);
  for (uint64_t i = 0; i < n && first + i < d->m->n_type_list; i++)
    text_fmt(d->o, "%st%u", i ? " " : "", d->m->type_list[first + i]);
  text_put(d->o, ")", 1);
}

static void dims(Dis *d, uint32_t first, uint32_t n) {
  text_put(d->o, "[", 1);
  for (uint32_t i = 0; i < n && (uint64_t)first + i < d->m->n_dims; i++) {
    int64_t x = d->m->dims[first + i];
    if (i) text_put(d->o, " ", 1);
    if (x < 0)
      text_put(d->o, "?", 1);
    else
      text_fmt(d->o, "%lld", (long long)x);
  }
  text_put(d->o, "]", 1);
}

static void names(Dis *d, uint64_t first, uint32_t n) {
  for (uint64_t i = 0; i < n && first + i < d->m->n_name_list; i++) {
    if (i) text_put(d->o, " ", 1);
    text_quoted(d->o, text_at(d->m, d->m->name_list[first + i]));
  }
}

static void data_type(Dis *d, const IType *t) {
  text_fmt(d->o, "%s ", t->is_tuple ? "tuple" : "data");
  text_quoted(d->o, text_at(d->m, t->name));
  text_put(d->o, " {", 2);
  for (uint64_t i = 0; i < t->n_ctors && t->first_ctor + i < d->m->n_ctors; i++) {
    const ICtor *c = &d->m->ctor[t->first_ctor + i];
    text_put(d->o, " ", 1);
    text_quoted(d->o, text_at(d->m, c->name));
    types_in_parens(d, c->first_field, c->n_fields);
    if (c->n_names == 0) continue;
    text_put(d->o, " [", 2);
    names(d, c->first_name, c->n_names);
    text_put(d->o, "]", 1);
  }
  text_put(d->o, " }", 2);
}

static void type(Dis *d, uint32_t i) {
  const IType *t = &d->m->type[i];
  text_fmt(d->o, "type t%u = ", i);
  switch (t->kind) {
  case IT_SCALAR: text_fmt(d->o, "%s", dtype_text(t->dtype)); break;
  case IT_TENSOR:
    text_fmt(d->o, "%s", dtype_text(t->dtype));
    dims(d, t->first_dim, t->rank);
    break;
  case IT_DATA: data_type(d, t); break;
  case IT_CLOSURE:
    text_put(d->o, "fn", 2);
    types_in_parens(d, t->first_list, t->n_list);
    text_fmt(d->o, " t%u", t->result);
    break;
  case IT_REF: text_fmt(d->o, "ref t%u", t->result); break;
  default: text_put(d->o, "?", 1);
  }
  text_put(d->o, "\n", 1);
}

/* ---- constants ---------------------------------------------------------- */

enum { SHORT = 16 }; /* elements printed of a constant when not in full */

static void value(Dis *d, DType t, uint64_t bits) {
  double x;
  if (dtype_is_float(t)) {
    bits = scalar_cast(bits, t, DT_f64);
    memcpy(&x, &bits, 8);
    text_fmt(d->o, " %.*g", t == DT_f64 ? 17 : t == DT_f32 ? 9 : 5, x);
  } else if (t == DT_u64)
    text_fmt(d->o, " %llu", (unsigned long long)bits);
  else
    text_fmt(d->o, " %lld", (long long)bits);
}

/* Bits of an element stored little-endian. */
static uint64_t element(const uint8_t *p, DType t) {
  int bytes = dtype_bytes(t);
  uint64_t x = 0;
  for (int i = 0; i < bytes; i++) x |= (uint64_t)p[i] << 8 * i;
  return dtype_is_float(t) ? x : (uint64_t)wrap_int((int64_t)x, t);
}

static void hex_data(Dis *d, const IConst *c, uint64_t n, int bytes) {
  if (n == 0) return; /* there may be no data           */
  const uint8_t *p = d->m->data + c->at;
  for (uint64_t i = 0; i < n; i++) {
    if (i % 16 == 0 && n > 16) text_put(d->o, "\n   ", 4);
    text_put(d->o, " ", 1);
    for (int k = 0; k < bytes; k++) text_fmt(d->o, "%02x", p[i * (uint64_t)bytes + (uint64_t)k]);
  }
}

static void tensor_const(Dis *d, const IConst *c, const IType *t) {
  const Image *m = d->m;
  DType dt = (DType)t->dtype;
  text_put(d->o, " ", 1);
  dims(d, c->first_dim, t->rank);
  text_put(d->o, " {", 2);
  if (c->at > m->n_data || c->bytes > m->n_data - c->at || dt >= DT_COUNT) return;
  uint64_t n = c->bytes / (uint64_t)dtype_bytes(dt);
  if (n <= SHORT || d->full)
    hex_data(d, c, n, dtype_bytes(dt));
  else
    text_put(d->o, " ...", 4);
  text_put(d->o, " }  ;", 5);
  for (uint64_t i = 0; i < n && i < SHORT / 2; i++)
    value(d, dt, element(m->data + c->at + i * (uint64_t)dtype_bytes(dt), dt));
  if (n > SHORT / 2) text_put(d->o, " ...", 4);
}

static void constant(Dis *d, uint32_t i) {
  const IConst *c = &d->m->cst[i];
  text_fmt(d->o, "const c%u = t%u", i, c->type);
  if (c->type < d->m->n_types) {
    const IType *t = &d->m->type[c->type];
    if (t->kind == IT_TENSOR)
      tensor_const(d, c, t);
    else {
      text_fmt(d->o, " 0x%llx  ;", (unsigned long long)c->bits);
      if (t->dtype < DT_COUNT) value(d, (DType)t->dtype, c->bits);
    }
  }
  text_put(d->o, "\n", 1);
}

/* ---- functions ---------------------------------------------------------- */

static void operand(Dis *d, uint16_t op, const Operand *o) {
  switch (o->kind) {
  case 'd':
  case 'u':
  case 'm':
  case 'b': text_fmt(d->o, " r%u", o->v); break;
  case 'K': text_fmt(d->o, " c%u", o->v); break;
  case 'J':
  case 'L': text_fmt(d->o, " L%u", o->v); break;
  case 'M':
    text_put(d->o, " ", 1);
    text_quoted(d->o, text_at(d->m, o->v));
    break;
  case 'T': text_fmt(d->o, " %s", dtype_text(o->v)); break;
  case 'Y': text_fmt(d->o, " t%u", o->v); break;
  case 'F': text_fmt(d->o, " f%u", o->v); break;
  case 'X': text_fmt(d->o, " k%u", o->v); break;
  case 'R': text_fmt(d->o, " %s", o->v < RT_COUNT ? rt_info[o->v].name : "?"); break;
  case 'n':
    if (op == OP_IMM)
      text_fmt(d->o, " %d", (int16_t)o->v);
    else
      text_fmt(d->o, " %u", o->v);
    break;
  case 'c': text_fmt(d->o, " %u", o->v); break;
  case 'w': text_fmt(d->o, " %lld", (long long)o->wide); break;
  case '[': text_put(d->o, " [", 2); break;
  case ']': text_put(d->o, " ]", 2); break;
  default: break; /* unused                         */
  }
}

static void mnemonic(Dis *d, uint16_t op) {
  if (op >= OP_SCALAR) {
    text_fmt(d->o, "    %s.%s", sop_info[(op - OP_SCALAR) >> 4].name, dtype_text(op & 15));
    return;
  }
  text_put(d->o, "    ", 4);
  for (const char *s = op_info[op].name; *s; s++) {
    char c = *s >= 'A' && *s <= 'Z' ? (char)(*s - 'A' + 'a') : *s;
    text_put(d->o, &c, 1);
  }
}

/* For the reader: what a call calls. */
static void remark(Dis *d, Ins i) {
  const Image *m = d->m;
  uint32_t w = ins_w(i), at = i.op == OP_CLOSURE ? 1 : 0;
  const char *name = NULL;
  if ((uint64_t)w + at >= m->n_pool) return;
  uint32_t x = m->pool[w + at];
  if (i.op == OP_CALL || i.op == OP_TAILCALL || i.op == OP_CLOSURE)
    name = x < m->n_funcs ? text_at(m, m->func[x].name) : NULL;
  if (i.op == OP_KERNEL && x < m->n_kernels && m->kernel[x]->name < m->kernel[x]->n_text)
    name = m->kernel[x]->text + m->kernel[x]->name;
  if (!name || !*name) return;
  text_put(d->o, "  ; ", 4);
  text_quoted(d->o, name);
}

static void instruction(Dis *d, Ins i) {
  OperandIter it;
  Operand o;
  if (!operands_begin(&it, d->m, i)) {
    text_fmt(d->o, "    ? %u %u %u %u\n", i.op, i.a, i.b, i.c);
    return;
  }
  mnemonic(d, i.op);
  while (operands_next(&it, &o)) operand(d, i.op, &o);
  if (it.bad) text_put(d->o, " ?", 2);
  remark(d, i);
  text_put(d->o, "\n", 1);
}

static void label(Dis *d, const ILabel *l) {
  text_fmt(d->o, "  L%u {", l->pc);
  for (uint64_t i = 0; i < l->n_regs && l->first + i < d->m->n_states; i++) {
    const IRegState *s = &d->m->state[l->first + i];
    text_fmt(d->o, " r%u t%u", s->reg, s->type);
    if (s->ctor) text_fmt(d->o, ".%u", s->ctor - 1);
  }
  text_put(d->o, " }\n", 3);
}

static void source_line(Dis *d, const ILine *l) {
  text_put(d->o, "  at ", 5);
  text_quoted(d->o, text_at(d->m, l->file));
  text_fmt(d->o, " %u %u\n", l->line, l->col);
}

static bool inside(uint32_t first, uint32_t n, uint32_t total) {
  return first <= total && n <= total - first;
}

static void code(Dis *d, const IFunc *f) {
  const Image *m = d->m;
  if (!inside(f->code, f->n_code, m->n_code) || !inside(f->label, f->n_labels, m->n_labels) ||
      !inside(f->line, f->n_lines, m->n_lines)) {
    text_fmt(d->o, "    ?\n");
    return;
  }
  uint32_t l = 0, s = 0;
  for (uint32_t pc = 0; pc < f->n_code; pc++) {
    for (; l < f->n_labels && m->label[f->label + l].pc <= pc; l++)
      label(d, &m->label[f->label + l]);
    for (; s < f->n_lines && m->line[f->line + s].pc <= pc; s++)
      source_line(d, &m->line[f->line + s]);
    instruction(d, m->code[f->code + pc]);
  }
}

static void function(Dis *d, uint32_t i) {
  const IFunc *f = &d->m->func[i];
  text_fmt(d->o, "\nfunc f%u ", i);
  text_quoted(d->o, text_at(d->m, f->name));
  text_put(d->o, " captures", 9);
  types_in_parens(d, f->first_param, f->n_captures);
  text_put(d->o, " params", 7);
  types_in_parens(d, f->first_param + f->n_captures, f->n_params);
  text_fmt(d->o, " t%u regs %u\n", f->result, f->n_regs);
  code(d, f);
  text_put(d->o, "end\n", 4);
}

static void entry(Dis *d, const IEntry *e) {
  const Image *m = d->m;
  text_put(d->o, "entry ", 6);
  text_quoted(d->o, text_at(m, e->name));
  text_fmt(d->o, " f%u (", e->func);
  names(d, e->first_name, e->func < m->n_funcs ? m->func[e->func].n_params : 0);
  text_put(d->o, ") ", 2);
  text_quoted(d->o, text_at(m, e->doc));
  text_put(d->o, "\n", 1);
}

static void kernels(Dis *d, KAlloc up) {
  for (uint32_t i = 0; i < d->m->n_kernels; i++) {
    Track t = {up, NULL};
    size_t n = 0;
    char *s = kernel_print(d->m->kernel[i], track_alloc(&t), &n);
    text_fmt(d->o, "\n; k%u\n", i);
    if (s)
      text_put(d->o, s, n);
    else
      d->o->failed = true;
    if (s && n && s[n - 1] != '\n') text_put(d->o, "\n", 1);
    track_free(&t);
  }
}

static char *print(const Image *m, KAlloc a, size_t *n, bool full) {
  TextOut o = {.a = a};
  Dis d = {m, &o, full};
  text_fmt(&o, "image\n");
  for (uint32_t i = 0; i < m->n_types; i++) type(&d, i);
  for (uint32_t i = 0; i < m->n_consts; i++) constant(&d, i);
  kernels(&d, a);
  for (uint32_t i = 0; i < m->n_funcs; i++) function(&d, i);
  if (m->n_entries) text_put(&o, "\n", 1);
  for (uint32_t i = 0; i < m->n_entries; i++) entry(&d, &m->entry[i]);
  return text_done(&o, n);
}

char *image_disasm(const Image *m, KAlloc a, size_t *n) { return print(m, a, n, false); }
char *image_text(const Image *m, KAlloc a, size_t *n) { return print(m, a, n, true); }
