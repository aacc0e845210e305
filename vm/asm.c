/* asm.c -- from the text of an image to its file form.
 *
 * Reads what disasm.c prints (docs/bytecode.md): one pass, tables filled in
 * the order of the text, jumps patched at the end of each function.  What the
 * image means is not checked here but by image_verify, as for any other.      */
#include "base/checked.h"
#include "kernel/text.h"
#include "vm/asm.h"
#include "vm/operands.h"
#include "vm/runtime.h"

enum { MAX_LABEL = 1 << 24 };

/* Numbered things come in order: "t5" must be the sixth type. */
static bool numbered(Asm *s, char letter, uint32_t next) {
  uint32_t v;
  if (!asm_ref(s, letter, &v)) return false;
  return v == next || asm_fail(s, "%c%u comes where %c%u should", letter, v, letter, next);
}

/* ---- types ------------------------------------------------------------------------ */

static bool type_list(Asm *s, uint32_t *n) {
  *n = 0;
  if (!asm_expect(s, "(")) return false;
  for (; !asm_is(s, ")"); ++*n) {
    uint32_t t, *slot;
    if (!asm_ref(s, 't', &t) || !(slot = asm_push(s, IA_TYPE_LIST))) return false;
    *slot = t;
  }
  return asm_next(s);
}

/* "[2 ? 4]" */
static bool dims(Asm *s, uint32_t *first, uint32_t *n) {
  *first = s->m.n_dims;
  if (!asm_expect(s, "[")) return false;
  for (*n = 0; !asm_is(s, "]"); ++*n) {
    int64_t v = -1, *slot;
    bool unknown;
    if (!asm_accept(s, "?", &unknown) || (!unknown && !asm_number(s, &v))) return false;
    if (!(slot = asm_push(s, IA_DIMS))) return false;
    *slot = v;
  }
  return asm_next(s);
}

static bool data_type(Asm *s, IType *t) {
  t->kind = IT_DATA;
  t->first_ctor = s->m.n_ctors;
  if (!asm_string(s, &t->name) || !asm_expect(s, "{")) return false;
  for (; !asm_is(s, "}"); t->n_ctors++) {
    ICtor c = {.first_field = s->m.n_type_list}, *slot;
    if (!asm_string(s, &c.name) || !type_list(s, &c.n_fields)) return false;
    if (!(slot = asm_push(s, IA_CTORS))) return false;
    *slot = c;
  }
  return asm_next(s);
}

static bool tensor_or_scalar(Asm *s, IType *t) {
  DType dt;
  uint32_t n;
  if (s->tok.kind != AT_Word || !dtype_parse(s->tok.p, s->tok.n, &dt))
    return asm_fail(s, "expected a type");
  t->dtype = (uint8_t)dt;
  if (!asm_next(s)) return false;
  if (!asm_is(s, "[")) return true;          /* IT_SCALAR is zero              */
  t->kind = IT_TENSOR;
  if (!dims(s, &t->first_dim, &n)) return false;
  t->rank = (uint8_t)n;
  return n <= UINT8_MAX || asm_fail(s, "too many dims");
}

static bool type_body(Asm *s, IType *t) {
  bool yes;
  if (!asm_accept(s, "data", &yes)) return false;
  if (yes) return data_type(s, t);
  if (!asm_accept(s, "tuple", &yes)) return false;
  if (yes) {
    t->is_tuple = 1;
    return data_type(s, t);
  }
  if (!asm_accept(s, "fn", &yes)) return false;
  if (yes) {
    t->kind = IT_CLOSURE;
    t->first_list = s->m.n_type_list;
    return type_list(s, &t->n_list) && asm_ref(s, 't', &t->result);
  }
  if (!asm_accept(s, "ref", &yes)) return false;
  if (!yes) return tensor_or_scalar(s, t);
  t->kind = IT_REF;
  return asm_ref(s, 't', &t->result);
}

static bool type(Asm *s) {
  IType t, *slot;
  memset(&t, 0, sizeof t);
  if (!numbered(s, 't', s->m.n_types) || !asm_expect(s, "=") || !type_body(s, &t)) return false;
  if (!(slot = asm_push(s, IA_TYPES))) return false;
  *slot = t;
  return true;
}

/* ---- constants ------------------------------------------------------------------------ */

static bool push_byte(Asm *s, uint8_t b) {
  uint64_t cap = s->data_cap;
  uint8_t *p = asm_grow(s, s->m.data, 1, s->m.n_data, &cap);
  if (!p) return false;
  s->m.data = p;
  s->data_cap = cap;
  p[s->m.n_data++] = b;
  return true;
}

static int hex_value(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_word(Asm *s) {
  if (asm_is(s, "...")) return asm_fail(s, "the constant was shortened when it was printed");
  if (s->tok.kind != AT_Word || s->tok.n % 2) return asm_fail(s, "expected bytes in hexadecimal");
  for (size_t i = 0; i < s->tok.n; i += 2) {
    int hi = hex_value(s->tok.p[i]), lo = hex_value(s->tok.p[i + 1]);
    if (hi < 0 || lo < 0) return asm_fail(s, "expected bytes in hexadecimal");
    if (!push_byte(s, (uint8_t)(hi << 4 | lo))) return false;
  }
  return asm_next(s);
}

static bool tensor_data(Asm *s, IConst *c) {
  uint32_t rank;
  if (!dims(s, &c->first_dim, &rank) || !asm_expect(s, "{")) return false;
  while (s->m.n_data % DATA_ALIGN)
    if (!push_byte(s, 0)) return false;
  c->at = s->m.n_data;
  while (!asm_is(s, "}"))
    if (!hex_word(s)) return false;
  c->bytes = s->m.n_data - c->at;
  return asm_next(s);
}

static bool constant(Asm *s) {
  IConst c, *slot;
  int64_t bits = 0;
  memset(&c, 0, sizeof c);
  if (!numbered(s, 'c', s->m.n_consts) || !asm_expect(s, "=") || !asm_ref(s, 't', &c.type)) return false;
  if (asm_is(s, "[")) {
    if (!tensor_data(s, &c)) return false;
  } else if (!asm_number(s, &bits))
    return false;
  c.bits = (uint64_t)bits;
  if (!(slot = asm_push(s, IA_CONSTS))) return false;
  *slot = c;
  return true;
}

/* ---- kernels ------------------------------------------------------------------------------ */

/* A kernel's text ends with a line that is "}" alone. */
static const char *kernel_end(const char *p, const char *end) {
  bool start = false;
  for (; p < end; p++) {
    if (start && *p == '}') return p + 1;
    start = *p == '\n';
  }
  return end;
}

static bool kernel(Asm *s) {
  const char *from = s->tok.p, *to = kernel_end(from, s->end);
  KTextError e = {.line = 0};
  uint64_t cap = s->kernel_cap;
  Kernel *k = kernel_parse(from, (size_t)(to - from), s->a, &e);
  if (!k) {
    s->tok.line += e.line > 0 ? e.line - 1 : 0;
    return asm_fail(s, "kernel: %s", e.why);
  }
  Kernel **all = asm_grow(s, s->m.kernel, sizeof *all, s->m.n_kernels, &cap);
  if (!all) return false;
  s->m.kernel = all;
  s->kernel_cap = (uint32_t)cap;
  all[s->m.n_kernels++] = k;
  for (; s->p < to; s->p++) s->line += *s->p == '\n';
  return asm_next(s);
}

/* ---- instructions ---------------------------------------------------------------------------- */

static bool same_lower(const char *upper, const char *p, size_t n) {
  for (size_t i = 0; i < n; i++, upper++) {
    char c = *upper >= 'A' && *upper <= 'Z' ? (char)(*upper - 'A' + 'a') : *upper;
    if (c == '\0' || c != p[i]) return false;
  }
  return *upper == '\0';
}

static bool opcode(Asm *s, uint16_t *op) {
  const char *p = s->tok.p;
  size_t n = s->tok.kind == AT_Word ? s->tok.n : 0, dot = 0;
  DType t;
  for (uint16_t i = 0; i < OP_COUNT; i++)
    if (same_lower(op_info[i].name, p, n)) {
      *op = i;
      return asm_next(s);
    }
  while (dot < n && p[dot] != '.') dot++;
  for (int i = 0; dot < n && i < S_COUNT; i++)
    if (same_lower(sop_info[i].name, p, dot) && dtype_parse(p + dot + 1, n - dot - 1, &t)) {
      *op = (uint16_t)(OP_SCALAR + i * 16 + (int)t);
      if (op_form(*op)) return asm_next(s);
    }
  return asm_fail(s, "unknown instruction '%.*s'", n < 40 ? (int)n : 40, p);
}

static bool add_fixup(Asm *s, uint32_t at, bool in_pool, uint32_t label) {
  uint64_t cap = s->fix_cap;
  AsmFixup *fix = asm_grow(s, s->fix, sizeof *fix, s->n_fix, &cap);
  if (!fix) return false;
  s->fix = fix;
  s->fix_cap = (uint32_t)cap;
  fix[s->n_fix++] = (AsmFixup){at, label, in_pool, s->tok.line};
  return true;
}

static bool runtime_name(Asm *s, uint32_t *v) {
  char name[40] = "";
  if (s->tok.kind == AT_Word && s->tok.n < sizeof name) memcpy(name, s->tok.p, s->tok.n);
  int r = rt_find(name);
  if (r < 0) return asm_fail(s, "unknown runtime kernel '%s'", name);
  *v = (uint32_t)r;
  return asm_next(s);
}

static bool dtype_word(Asm *s, uint32_t *v) {
  DType t;
  if (s->tok.kind != AT_Word || !dtype_parse(s->tok.p, s->tok.n, &t))
    return asm_fail(s, "expected a dtype");
  *v = (uint32_t)t;
  return asm_next(s);
}

/* One operand as a word; jumps give the number of the label. */
static bool operand(Asm *s, char kind, uint32_t *v) {
  int64_t x;
  switch (kind) {
  case 'd': case 'u': case 'm': case 'b': return asm_ref(s, 'r', v);
  case 'K': return asm_ref(s, 'c', v);
  case 'J': case 'L': return asm_ref(s, 'L', v);
  case 'M': return asm_string(s, v);
  case 'T': return dtype_word(s, v);
  case 'Y': return asm_ref(s, 't', v);
  case 'F': return asm_ref(s, 'f', v);
  case 'X': return asm_ref(s, 'k', v);
  case 'R': return runtime_name(s, v);
  case '.': *v = 0; return true;
  default:                                   /* n, c: may be negative (IMM)    */
    if (!asm_number(s, &x)) return false;
    *v = (uint32_t)x;
    return (x >= INT16_MIN && x <= UINT16_MAX) || asm_fail(s, "the number is too large");
  }
}

static bool pool_word(Asm *s, uint32_t v) {
  uint32_t *w = asm_push(s, IA_POOL);
  if (w) *w = v;
  return w != NULL;
}

static bool pool_operand(Asm *s, char kind) {
  uint32_t v;
  int64_t wide;
  if (kind == 'w')
    return asm_number(s, &wide) && pool_word(s, (uint32_t)wide) &&
           pool_word(s, (uint32_t)((uint64_t)wide >> 32));
  if (!operand(s, kind, &v)) return false;
  if (kind == 'L' && !add_fixup(s, s->m.n_pool, true, v)) return false;
  return pool_word(s, v);
}

/* "[ a b c ]": a count and the entries, each of the letters up to the bracket. */
static bool pool_list(Asm *s, const char *letters) {
  uint32_t count = s->m.n_pool, n = 0;
  if (!asm_expect(s, "[") || !pool_word(s, 0)) return false;
  for (; !asm_is(s, "]"); n++)
    for (const char *k = letters; *k != ']'; k++)
      if (!pool_operand(s, *k)) return false;
  s->m.pool[count] = n;
  return asm_next(s);
}

static bool pool_layout(Asm *s, const char *layout) {
  for (; *layout; layout++) {
    if (*layout != '[') {
      if (!pool_operand(s, *layout)) return false;
      continue;
    }
    if (!pool_list(s, layout + 1)) return false;
    while (*layout != ']') layout++;
  }
  return true;
}

static bool instruction(Asm *s) {
  uint16_t op, slot[4] = {0};
  int n = 0;
  if (!opcode(s, &op)) return false;
  for (const char *k = op_form(op); *k; k++) {
    uint32_t v = s->m.n_pool;
    if (*k == 'P' ? !pool_layout(s, op_layout(op)) : !operand(s, *k, &v)) return false;
    if (*k == 'J' && !add_fixup(s, s->m.n_code, false, v)) return false;
    if (v > UINT16_MAX && n != 1) return asm_fail(s, "the operand is too large");
    slot[n++] = (uint16_t)v;
    if (*k == 'P' || *k == 'J' || *k == 'K' || *k == 'M') slot[n++] = (uint16_t)(v >> 16);
    else if (*k == 'n' && n < 3) slot[n - 1] = (uint16_t)v;
  }
  Ins *i = asm_push(s, IA_CODE);
  if (i) *i = (Ins){op, slot[0], slot[1], slot[2]};
  return i != NULL;
}

/* ---- labels and lines ------------------------------------------------------------------------- */

static bool set_label(Asm *s, uint32_t number) {
  if (number >= MAX_LABEL) return asm_fail(s, "the label's number is too large");
  uint32_t was = s->label_cap;
  uint64_t cap = was;
  uint32_t *pc = asm_grow(s, s->label_pc, sizeof *pc, number, &cap);
  if (!pc) return false;
  memset(pc + was, 0, ((size_t)cap - was) * sizeof *pc);
  s->label_pc = pc;
  s->label_cap = (uint32_t)cap;
  if (pc[number]) return asm_fail(s, "L%u is here twice", number);
  pc[number] = 1 + s->m.n_code - s->func_code;
  return true;
}

/* "r3 t2.1" */
static bool label_state(Asm *s) {
  IRegState st, *slot;
  uint32_t reg, ctor = 0;
  memset(&st, 0, sizeof st);
  if (!asm_ref(s, 'r', &reg)) return false;
  if (reg > UINT16_MAX) return asm_fail(s, "the register's number is too large");
  AsmTok whole = s->tok;
  size_t dot = 0;
  while (dot < whole.n && whole.p[dot] != '.') dot++;
  if (dot < whole.n) {                       /* read the two parts as words    */
    s->tok.p += dot + 1;
    s->tok.n -= dot + 1;
    if (!asm_u32(s, &ctor)) return false;
    AsmTok after = s->tok;
    const char *rest = s->p;
    int line = s->line;
    s->tok = whole;
    s->tok.n = dot;
    s->p = whole.p + dot;
    s->line = whole.line;
    if (!asm_ref(s, 't', &st.type)) return false;
    s->tok = after;
    s->p = rest;
    s->line = line;
    if (ctor++ >= UINT16_MAX) return asm_fail(s, "the constructor's number is too large");
  } else if (!asm_ref(s, 't', &st.type))
    return false;
  if (!(slot = asm_push(s, IA_STATES))) return false;
  st.reg = (uint16_t)reg;
  st.ctor = (uint16_t)ctor;
  *slot = st;
  return true;
}

static bool label(Asm *s) {
  ILabel l = {s->m.n_code - s->func_code, 0, s->m.n_states}, *slot;
  uint32_t number;
  if (!asm_ref(s, 'L', &number) || !set_label(s, number) || !asm_expect(s, "{")) return false;
  for (; !asm_is(s, "}"); l.n_regs++)
    if (!label_state(s)) return false;
  if (!(slot = asm_push(s, IA_LABELS))) return false;
  *slot = l;
  return asm_next(s);
}

static bool source_line(Asm *s) {
  ILine l = {.pc = s->m.n_code - s->func_code}, *slot;
  if (!asm_string(s, &l.file) || !asm_u32(s, &l.line) || !asm_u32(s, &l.col)) return false;
  if (!(slot = asm_push(s, IA_LINES))) return false;
  *slot = l;
  return true;
}

/* ---- functions ----------------------------------------------------------------------------------- */

static bool patch_jumps(Asm *s) {
  for (uint32_t i = 0; i < s->n_fix; i++) {
    const AsmFixup *x = &s->fix[i];
    uint32_t pc = x->label < s->label_cap ? s->label_pc[x->label] : 0;
    if (pc-- == 0) {
      s->tok.line = x->line;
      return asm_fail(s, "there is no L%u in this function", x->label);
    }
    if (x->in_pool) s->m.pool[x->at] = pc;
    else {
      s->m.code[x->at].b = (uint16_t)pc;
      s->m.code[x->at].c = (uint16_t)(pc >> 16);
    }
  }
  s->n_fix = 0;
  if (s->label_pc) memset(s->label_pc, 0, s->label_cap * sizeof *s->label_pc);
  return true;
}

static bool body(Asm *s) {
  bool yes;
  while (!asm_is(s, "end")) {
    if (s->tok.kind == AT_End) return asm_fail(s, "the function does not end");
    if (!asm_accept(s, "at", &yes)) return false;
    bool ok = yes ? source_line(s)
              : s->tok.kind == AT_Word && s->tok.p[0] == 'L' ? label(s) : instruction(s);
    if (!ok) return false;
  }
  return patch_jumps(s) && asm_next(s);
}

static bool function(Asm *s) {
  IFunc f, *slot;
  memset(&f, 0, sizeof f);
  f.first_param = s->m.n_type_list;
  f.code = s->func_code = s->m.n_code;
  f.label = s->m.n_labels;
  f.line = s->m.n_lines;
  if (!numbered(s, 'f', s->m.n_funcs) || !asm_string(s, &f.name)) return false;
  if (!asm_expect(s, "captures") || !type_list(s, &f.n_captures)) return false;
  if (!asm_expect(s, "params") || !type_list(s, &f.n_params)) return false;
  if (!asm_ref(s, 't', &f.result) || !asm_expect(s, "regs") || !asm_u32(s, &f.n_regs)) return false;
  if (!body(s)) return false;
  f.n_code = s->m.n_code - f.code;
  f.n_labels = s->m.n_labels - f.label;
  f.n_lines = s->m.n_lines - f.line;
  if (!(slot = asm_push(s, IA_FUNCS))) return false;
  *slot = f;
  return true;
}

static bool entry(Asm *s) {
  IEntry e, *slot;
  memset(&e, 0, sizeof e);
  if (!asm_string(s, &e.name) || !asm_ref(s, 'f', &e.func) || !asm_expect(s, "(")) return false;
  e.first_name = s->m.n_name_list;
  while (!asm_is(s, ")")) {
    uint32_t name, *to;
    if (!asm_string(s, &name) || !(to = asm_push(s, IA_NAME_LIST))) return false;
    *to = name;
  }
  if (!asm_next(s) || !asm_string(s, &e.doc)) return false;
  if (!(slot = asm_push(s, IA_ENTRIES))) return false;
  *slot = e;
  return true;
}

/* ---- everything -------------------------------------------------------------------------------------- */

static const struct { const char *word; bool (*read)(Asm *); } items[] = {
  {"type", type}, {"const", constant}, {"func", function}, {"entry", entry}};

static bool item(Asm *s) {
  if (asm_is(s, "kernel")) return kernel(s);
  for (size_t i = 0; i < sizeof items / sizeof *items; i++)
    if (asm_is(s, items[i].word)) return asm_next(s) && items[i].read(s);
  return asm_fail(s, "expected type, const, kernel, func or entry");
}

static bool image(Asm *s) {
  if (!asm_push(s, IA_TEXT)) return false;   /* 0 is ""                        */
  if (!asm_next(s) || !asm_expect(s, "image")) return false;
  while (s->tok.kind != AT_End)
    if (!item(s)) return false;
  return true;
}

uint8_t *image_assemble(const char *text, size_t n, KAlloc a, size_t *n_out, AsmError *err) {
  AsmError unwanted;
  Asm s = {.err = err ? err : &unwanted, .p = text, .end = text + n, .line = 1};
  s.track.up = a;
  s.a = track_alloc(&s.track);
  memset(s.err, 0, sizeof *s.err);
  uint8_t *bytes = NULL;
  if (image(&s)) {
    bytes = image_write(&s.m, a, n_out);
    if (!bytes) asm_fail(&s, "out of memory");
  }
  track_free(&s.track);
  return bytes;
}
