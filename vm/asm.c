/* asm.c -- from the text of an image to its file form.
 *
 * Reads what disasm.c prints (docs/bytecode.md): one pass, tables filled in
 * the order of the text.  What the image means is not checked here but by
 * image_verify, as for any other.                                             */
#include "kernel/text.h"
#include "vm/asm.h"

/* Numbered things come in order: "t5" must be the sixth type. */
static bool numbered(Asm *s, char letter, uint32_t next) {
  uint32_t v;
  if (!asm_ref(s, letter, &v)) return false;
  return v == next || asm_fail(s, "%c%u comes where %c%u should", letter, v, letter, next);
}

/* ---- types -------------------------------------------------------------- */

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

/* Names of fields, where there are any: ["w" "b"] */
static bool field_names(Asm *s, ICtor *c) {
  bool yes;
  c->first_name = s->m.n_name_list;
  if (!asm_accept(s, "[", &yes)) return false;
  if (!yes) return true;
  for (; !asm_is(s, "]"); c->n_names++) {
    uint32_t name, *slot;
    if (!asm_string(s, &name) || !(slot = asm_push(s, IA_NAME_LIST))) return false;
    *slot = name;
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
    if (!asm_string(s, &c.name) || !type_list(s, &c.n_fields) || !field_names(s, &c)) return false;
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
  if (!asm_is(s, "[")) return true; /* IT_SCALAR is zero              */
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

/* ---- constants ---------------------------------------------------------- */

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
  if (!numbered(s, 'c', s->m.n_consts) || !asm_expect(s, "=") || !asm_ref(s, 't', &c.type))
    return false;
  if (asm_is(s, "[")) {
    if (!tensor_data(s, &c)) return false;
  } else if (!asm_number(s, &bits))
    return false;
  c.bits = (uint64_t)bits;
  if (!(slot = asm_push(s, IA_CONSTS))) return false;
  *slot = c;
  return true;
}

/* ---- kernels ------------------------------------------------------------ */

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

/* ---- functions ---------------------------------------------------------- */

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
  if (!asm_body(s)) return false;
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

/* ---- everything --------------------------------------------------------- */

static const struct {
  const char *word;
  bool (*read)(Asm *);
} items[] = {{"type", type}, {"const", constant}, {"func", function}, {"entry", entry}};

static bool item(Asm *s) {
  if (asm_is(s, "kernel")) return kernel(s);
  for (size_t i = 0; i < sizeof items / sizeof *items; i++)
    if (asm_is(s, items[i].word)) return asm_next(s) && items[i].read(s);
  return asm_fail(s, "expected type, const, kernel, func or entry");
}

static bool image(Asm *s) {
  if (!asm_push(s, IA_TEXT)) return false; /* 0 is ""                        */
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
