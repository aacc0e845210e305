/* asm_code.c -- the code of one function, read from image text: instructions,
 * labels, source lines.  Operands are read by the letters of form and layout
 * (vm/operands.h); jumps are patched at the end, when all labels are known.   */
#include "vm/asm.h"
#include "vm/operands.h"
#include "vm/runtime.h"

enum { MAX_LABEL = 1 << 24 };

/* ---- instructions ------------------------------------------------------- */

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
  fix[s->n_fix++] = (AsmFixup){at, label, in_pool, s->last_line};
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
  case 'd':
  case 'u':
  case 'm':
  case 'b': return asm_ref(s, 'r', v);
  case 'K': return asm_ref(s, 'c', v);
  case 'J':
  case 'L': return asm_ref(s, 'L', v);
  case 'M': return asm_string(s, v);
  case 'T': return dtype_word(s, v);
  case 'Y': return asm_ref(s, 't', v);
  case 'F': return asm_ref(s, 'f', v);
  case 'X': return asm_ref(s, 'k', v);
  case 'R': return runtime_name(s, v);
  case '.': *v = 0; return true;
  default: /* n, c: may be negative (IMM)    */
    if (!asm_number(s, &x)) return false;
    *v = (uint16_t)x;
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
  uint16_t op = 0, slot[4] = {0};
  int n = 0;
  if (!opcode(s, &op)) return false;
  for (const char *k = op_form(op); *k; k++) {
    uint32_t v = s->m.n_pool;
    bool wide = *k == 'P' || *k == 'J' || *k == 'K' || *k == 'M';
    if (*k == 'P' ? !pool_layout(s, op_layout(op)) : !operand(s, *k, &v)) return false;
    if (*k == 'J' && !add_fixup(s, s->m.n_code, false, v)) return false;
    if (!wide && v > UINT16_MAX) {
      s->tok.line = s->last_line;
      return asm_fail(s, "the operand is too large");
    }
    slot[n++] = (uint16_t)v;
    if (wide) slot[n++] = (uint16_t)(v >> 16);
  }
  Ins *i = asm_push(s, IA_CODE);
  if (i) *i = (Ins){op, slot[0], slot[1], slot[2]};
  return i != NULL;
}

/* ---- labels and lines --------------------------------------------------- */

static bool set_label(Asm *s, uint32_t number) {
  if (number >= MAX_LABEL) return asm_fail(s, "the label's number is too large");
  uint32_t was = s->label_cap, func = 1 + s->m.n_funcs;
  uint64_t cap = was;
  AsmLabel *l = asm_grow(s, s->label, sizeof *l, number, &cap);
  if (!l) return false;
  memset(l + was, 0, ((size_t)cap - was) * sizeof *l);
  s->label = l;
  s->label_cap = (uint32_t)cap;
  if (l[number].func == func) return asm_fail(s, "L%u is here twice", number);
  l[number] = (AsmLabel){func, s->m.n_code - s->func_code};
  return true;
}

/* "t2" or "t2.1": a type, and the known constructor. */
static bool state_type(Asm *s, IRegState *st) {
  uint64_t ctor = 0, type;
  size_t dot = 0;
  while (dot < s->tok.n && s->tok.p[dot] != '.') dot++;
  bool ok = s->tok.kind == AT_Word && dot > 0 && s->tok.p[0] == 't' &&
            asm_digits(s->tok.p + 1, dot - 1, &type) && type <= UINT32_MAX;
  if (ok && dot < s->tok.n) {
    ok = asm_digits(s->tok.p + dot + 1, s->tok.n - dot - 1, &ctor) && ctor < UINT16_MAX;
    st->ctor = (uint16_t)(ctor + 1);
  }
  if (!ok) return asm_fail(s, "expected a type of a register");
  st->type = (uint32_t)type;
  return asm_next(s);
}

static bool label_state(Asm *s) {
  IRegState st = {0, 0, 0}, *slot;
  uint32_t reg;
  if (!asm_ref(s, 'r', &reg)) return false;
  if (reg > UINT16_MAX) return asm_fail(s, "the register's number is too large");
  st.reg = (uint16_t)reg;
  if (!state_type(s, &st) || !(slot = asm_push(s, IA_STATES))) return false;
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

static bool patch_jumps(Asm *s) {
  for (uint32_t i = 0; i < s->n_fix; i++) {
    const AsmFixup *x = &s->fix[i];
    bool here = x->label < s->label_cap && s->label[x->label].func == 1 + s->m.n_funcs;
    if (!here) {
      s->tok.line = x->line;
      return asm_fail(s, "there is no L%u in this function", x->label);
    }
    uint32_t pc = s->label[x->label].pc;
    if (x->in_pool)
      s->m.pool[x->at] = pc;
    else {
      s->m.code[x->at].b = (uint16_t)pc;
      s->m.code[x->at].c = (uint16_t)(pc >> 16);
    }
  }
  s->n_fix = 0;
  return true;
}

bool asm_body(Asm *s) {
  bool yes;
  while (!asm_is(s, "end")) {
    if (s->tok.kind == AT_End) return asm_fail(s, "the function does not end");
    if (!asm_accept(s, "at", &yes)) return false;
    bool ok = yes                                            ? source_line(s)
              : s->tok.kind == AT_Word && s->tok.p[0] == 'L' ? label(s)
                                                             : instruction(s);
    if (!ok) return false;
  }
  return patch_jumps(s) && asm_next(s);
}
