/* program.c -- loading a program: decode, verify, prepare; and describing it.
 *
 * What the interpreter needs at every step is computed here once: which slots
 * of a cell are references, the constants as slots, the kernels as schedules
 * and the element counts their buffers must have.                            */
#include "vm/program.h"
#include "base/checked.h"
#include "vm/strings.h"

void *program_realloc(void *u, void *old, size_t was, size_t want) {
  const rvm_alloc *a = u;
  return a->fn(a->user, old, was, want, RVM_PROGRAM);
}

static void *take(rvm_program *p, size_t n, size_t each) { /* zeroed       */
  size_t bytes;
  if (!size_mul(n, each, &bytes) || bytes > SIZE_MAX / 2) return NULL;
  void *q = program_realloc(&p->alloc, NULL, 0, bytes ? bytes : 1);
  if (q) memset(q, 0, bytes);
  return q;
}
static void give(rvm_program *p, void *q, size_t n, size_t each) {
  size_t bytes = n * each;
  if (q) program_realloc(&p->alloc, q, bytes > 0 ? bytes : 1, 0);
}

/* ---- which slots are references ------------------------------------------- */

/* Bit sets of the lists first .. first + n of types, from word `at` on. */
static uint32_t map_list(const Image *m, uint32_t first, uint32_t n, uint64_t *word, uint32_t at) {
  for (uint32_t i = 0; word && i < n; i++)
    if (type_is_ref(m, m->type_list[first + i])) word[at + i / 64] |= (uint64_t)1 << (i % 64);
  return at + (n + 63) / 64;
}

static uint32_t map_all(const Image *m, uint64_t *word, uint32_t *of) {
  uint32_t at = 0;
  for (uint32_t i = 0; i < m->n_ctors; i++) {
    if (of) of[i] = at;
    at = map_list(m, m->ctor[i].first_field, m->ctor[i].n_fields, word, at);
  }
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    if (of) of[m->n_ctors + i] = at;
    at = map_list(m, m->func[i].first_param, m->func[i].n_captures, word, at);
  }
  return at;
}

static bool make_map(rvm_program *p) {
  const Image *m = &p->im;
  p->n_words = map_all(m, NULL, NULL);
  p->word = take(p, p->n_words, sizeof *p->word);
  p->of = take(p, (size_t)m->n_ctors + m->n_funcs, sizeof *p->of);
  if (!p->word || !p->of) return false;
  map_all(m, p->word, p->of);
  p->map = (RefMap){p->word, p->of, p->of + m->n_ctors};
  return true;
}

/* What SWITCH looks up: a constructor can have one number only. */
static bool number_ctors(rvm_program *p, ImageError *err) {
  const Image *m = &p->im;
  p->local = take(p, m->n_ctors, 1);
  uint8_t *seen = p->local ? take(p, m->n_ctors, 1) : NULL;
  bool ok = seen != NULL;
  for (uint32_t i = 0; ok && i < m->n_types; i++) {
    const IType *t = &m->type[i];
    for (uint32_t k = 0; ok && t->kind == IT_DATA && k < t->n_ctors; k++) {
      uint32_t c = t->first_ctor + k;
      ok = !seen[c] || p->local[c] == k;
      p->local[c] = (uint8_t)k;
      seen[c] = 1;
    }
    if (!ok) err->why = "two types share a constructor under different numbers";
  }
  give(p, seen, m->n_ctors, 1);
  return ok;
}

/* ---- constants --------------------------------------------------------------- */

static size_t const_cell(const IType *t) { return sizeof(Tensor) + (size_t)t->rank * 8; }

/* Data as this machine reads it: in place if it can be, else a copy. */
static void *const_data(rvm_program *p, const IConst *c, DType t) {
  uint8_t *at = p->im.data + c->at;
  size_t each = (size_t)dtype_bytes(t);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  if (each == 1) return at;
  uint8_t *q = take(p, 1, c->bytes);
  for (size_t i = 0; q && i < c->bytes; i++) q[i] = at[i / each * each + each - 1 - i % each];
  return q;
#else
  if ((uintptr_t)at % each == 0) return at;
  void *q = take(p, 1, c->bytes);
  if (q) memcpy(q, at, c->bytes);
  return q;
#endif
}

static bool const_tensor(rvm_program *p, const IConst *c, Tensor *x) {
  const IType *t = &p->im.type[c->type];
  size_t each = (size_t)dtype_bytes((DType)t->dtype);
  x->h = (Cell){.desc = t->dtype, .n = t->rank, .kind = CK_Tensor, .flags = CF_IMMORTAL};
  x->h.u.own.count = COUNT_MAX;
  x->count = (int64_t)(c->bytes / each);
  x->data = c->bytes ? const_data(p, c, (DType)t->dtype) : x;
  if (t->rank) memcpy(x->dim, p->im.dims + c->first_dim, (size_t)t->rank * 8);
  return x->data != NULL;
}

static bool make_consts(rvm_program *p) {
  const Image *m = &p->im;
  for (uint32_t i = 0; i < m->n_consts; i++)
    if (m->type[m->cst[i].type].kind == IT_TENSOR)
      p->n_tensors += const_cell(&m->type[m->cst[i].type]);
  p->konst = take(p, m->n_consts, sizeof *p->konst);
  p->tensors = take(p, p->n_tensors, 1);
  if (!p->konst || !p->tensors) return false;
  uint8_t *at = p->tensors;
  for (uint32_t i = 0; i < m->n_consts; i++) {
    const IConst *c = &m->cst[i];
    const IType *t = &m->type[c->type];
    if (t->kind != IT_TENSOR) {
      p->konst[i] = c->bits;
      continue;
    }
    if (!const_tensor(p, c, (Tensor *)at)) return false;
    p->konst[i] = cell_value(at);
    at += const_cell(t);
  }
  return true;
}

static void free_consts(rvm_program *p) {
  const Image *m = &p->im;
  for (uint32_t i = 0; p->konst && p->tensors && i < m->n_consts; i++) {
    const IConst *c = &m->cst[i];
    if (m->type[c->type].kind != IT_TENSOR || !p->konst[i] || !c->bytes) continue;
    uint8_t *data = tensor_of(p->konst[i])->data;
    if (data && data != m->data + c->at) give(p, data, 1, c->bytes);
  }
  give(p, p->tensors, p->n_tensors, 1);
  give(p, p->konst, m->n_consts, sizeof *p->konst);
}

/* ---- kernels ------------------------------------------------------------------- */

static KStatus run_prepared(void *ctx, void *const *buf, const int64_t *sym, KAlloc scratch,
                            KError *err) {
  return kernel_run(ctx, buf, sym, scratch, err);
}

/* The element count a buffer must have, as far as it is known now. */
static BufInfo buf_info(const Kernel *k, uint32_t b) {
  const KBuf *x = &k->buf[b];
  BufInfo i = {.kind = KB_FIXED, .dtype = x->dtype, .role = x->role, .count = 1};
  if (x->rank == 0) i.kind = KB_SCALAR;
  for (int d = 0; d < x->rank; d++) {
    const KNode *e = &k->node[x->dim[d]];
    if (e->kind == KN_Sym) {
      if (i.kind == KB_FIXED) i.kind = KB_PRODUCT;
      i.sym[i.n_syms++] = (uint8_t)e->a;
    } else if (e->kind != KN_Const || (int64_t)e->bits <= 0 ||
               !i64_mul(i.count, (int64_t)e->bits, &i.count)) {
      i.kind = KB_GENERAL; /* zeros and the like: the exact rule decides */
      i.count = 1;
    }
  }
  if (i.kind == KB_GENERAL && k->n_syms == 0) {
    i.kind = KB_FIXED;
    if (!kernel_buf_count(k, b, NULL, &i.count)) i.count = -1;
  }
  return i;
}

static bool make_kernels(rvm_program *p, KError *why) {
  Image *m = &p->im;
  for (uint32_t i = 0; i < m->n_kernels; i++) p->n_bufs += m->kernel[i]->n_params;
  p->prog = take(p, m->n_kernels, sizeof *p->prog);
  p->kernel = take(p, m->n_kernels, sizeof *p->kernel);
  p->buf = take(p, p->n_bufs, sizeof *p->buf);
  if (!p->prog || !p->kernel || !p->buf) return false;
  BufInfo *b = p->buf;
  for (uint32_t i = 0; i < m->n_kernels; i++) {
    const Kernel *k = m->kernel[i];
    if (kernel_prepare(k, program_kalloc(p), &p->prog[i], why) != K_OK) return false;
    p->kernel[i] = (KernelInfo){.fn = run_prepared,
                                .ctx = p->prog[i],
                                .k = k,
                                .buf = b,
                                .memo = p->n_memo,
                                .needs_launch = p->needs_launch[i]};
    if (k->n_syms || p->needs_launch[i]) p->n_memo += 2 + k->n_syms + k->n_params;
    if (!k->n_syms) p->kernel[i].cost = kernel_cost(k, NULL);
    for (uint32_t j = 0; j < k->n_params; j++) *b++ = buf_info(k, j);
  }
  return true;
}

void program_set_kernel(rvm_program *p, uint32_t k, KernelFn fn, void *ctx) {
  p->kernel[k].fn = fn;
  p->kernel[k].ctx = ctx;
}

/* ---- loading -------------------------------------------------------------------- */

static rvm_status refuse(rvm_error *err, rvm_status st, const char *why) {
  if (!err) return st;
  *err = (rvm_error){.status = st};
  Msg m = msg(err->message, sizeof err->message);
  msg_text(&m, why);
  return st;
}

static rvm_status bad_image(rvm_error *err, const ImageError *ie, const char *why) {
  if (!why) why = ie->why;
  if (!why || ie->no_memory) return refuse(err, RVM_NO_MEMORY, "no memory to load the program");
  refuse(err, RVM_BAD_IMAGE, why);
  if (err) err->at = ie->at;
  if (err && ie->func != UINT32_MAX) {
    err->func = ie->func;
    err->pc = ie->pc;
  }
  return RVM_BAD_IMAGE;
}

/* Decoding wants 8-byte alignment; an image elsewhere is copied. */
static const void *aligned(rvm_program *p, const void *image, size_t n) {
  if ((uintptr_t)image % 8 == 0) return image;
  p->copy = take(p, n, 1);
  if (p->copy) memcpy(p->copy, image, p->n_copy = n);
  return p->copy;
}

static rvm_status load(rvm_program *p, const void *image, size_t n, rvm_error *err) {
  ImageError ie = {0};
  KError ke = {0};
  KAlloc a = program_kalloc(p);
  image = aligned(p, image, n);
  if (!image || !image_read(image, n, a, &p->im, &ie)) return bad_image(err, &ie, NULL);
  if (!image_verify(&p->im, a, &p->needs_launch, &ie)) return bad_image(err, &ie, NULL);
  ie = (ImageError){.func = UINT32_MAX};
  if (!make_map(p) || !number_ctors(p, &ie) || !make_consts(p)) return bad_image(err, &ie, NULL);
  if (!make_kernels(p, &ke))
    return bad_image(err, &ie, ke.status == K_OK || ke.status == K_NO_MEMORY ? NULL : ke.why);
  if (!prep_code(&p->im, a, &p->has_refs, &ie)) return bad_image(err, &ie, NULL);
  return RVM_OK;
}

rvm_status rvm_program_load(const void *image, size_t n, rvm_alloc alloc, rvm_program **out,
                            rvm_error *err) {
  *out = NULL;
  if (err) *err = (rvm_error){0};
  rvm_program *p = alloc.fn(alloc.user, NULL, 0, sizeof *p, RVM_PROGRAM);
  if (!p) return refuse(err, RVM_NO_MEMORY, "no memory to load the program");
  memset(p, 0, sizeof *p);
  p->alloc = alloc;
  rvm_status st = load(p, image, n, err);
  if (st != RVM_OK)
    rvm_program_free(p);
  else
    *out = p;
  return st;
}

void rvm_program_free(rvm_program *p) {
  if (!p) return;
  rvm_alloc alloc = p->alloc;
  KAlloc a = program_kalloc(p);
  uint32_t n_kernels = p->im.n_kernels;
  for (uint32_t i = 0; p->prog && i < n_kernels; i++)
    if (p->prog[i]) kernel_unprepare(p->prog[i], a);
  give(p, p->prog, n_kernels, sizeof *p->prog);
  give(p, p->kernel, n_kernels, sizeof *p->kernel);
  give(p, p->buf, p->n_bufs, sizeof *p->buf);
  if (p->needs_launch) a.fn(a.user, p->needs_launch, n_kernels, 0);
  give(p, p->word, p->n_words, sizeof *p->word);
  give(p, p->of, (size_t)p->im.n_ctors + p->im.n_funcs, sizeof *p->of);
  give(p, p->local, p->im.n_ctors, 1);
  free_consts(p);
  image_free(&p->im, a);
  give(p, p->copy, p->n_copy, 1);
  alloc.fn(alloc.user, p, sizeof *p, 0, RVM_PROGRAM);
}

/* ---- describing ------------------------------------------------------------------ */

uint32_t rvm_program_count(const rvm_program *p) { return p->im.n_entries; }

rvm_status rvm_program_find(const rvm_program *p, const char *name, rvm_func *out, rvm_error *err) {
  if (err) *err = (rvm_error){0};
  for (uint32_t i = 0; i < p->im.n_entries; i++)
    if (strcmp(p->im.text + p->im.entry[i].name, name) == 0) {
      *out = i;
      return RVM_OK;
    }
  refuse(err, RVM_NOT_FOUND, "the program has no entry point ");
  if (err) {
    Msg m = {err->message, strlen(err->message), sizeof err->message};
    msg_text(&m, name);
  }
  return RVM_NOT_FOUND;
}

rvm_status rvm_func_describe(const rvm_program *p, rvm_func f, rvm_func_info *out) {
  if (f >= p->im.n_entries) return RVM_NOT_FOUND;
  const IEntry *e = &p->im.entry[f];
  const IFunc *fn = &p->im.func[e->func];
  *out = (rvm_func_info){p->im.text + e->name, p->im.text + e->doc, fn->n_params, fn->result};
  return RVM_OK;
}

static const IFunc *entry_func(const rvm_program *p, rvm_func f, uint32_t i) {
  if (f >= p->im.n_entries) return NULL;
  const IFunc *fn = &p->im.func[p->im.entry[f].func];
  return i < fn->n_params ? fn : NULL;
}

rvm_type rvm_func_param(const rvm_program *p, rvm_func f, uint32_t i) {
  const IFunc *fn = entry_func(p, f, i);
  return fn ? p->im.type_list[fn->first_param + i] : UINT32_MAX;
}

const char *rvm_func_param_name(const rvm_program *p, rvm_func f, uint32_t i) {
  if (!entry_func(p, f, i)) return NULL;
  return p->im.text + p->im.name_list[p->im.entry[f].first_name + i];
}

static DLDataType dl_type(DType t) {
  int code, bits;
  dtype_to_dl(t, &code, &bits);
  return (DLDataType){(uint8_t)code, (uint8_t)bits, 1};
}

rvm_status rvm_type_describe(const rvm_program *p, rvm_type t, rvm_type_info *out) {
  static const rvm_type_kind kinds[] = {[IT_SCALAR] = RVM_TENSOR,
                                        [IT_TENSOR] = RVM_TENSOR,
                                        [IT_DATA] = RVM_DATA,
                                        [IT_CLOSURE] = RVM_CLOSURE,
                                        [IT_REF] = RVM_REF};
  if (t >= p->im.n_types) return RVM_NOT_FOUND;
  const IType *x = &p->im.type[t];
  *out = (rvm_type_info){.kind = kinds[x->kind], .name = p->im.text};
  if (x->kind <= IT_TENSOR) {
    out->dtype = dl_type((DType)x->dtype);
    out->ndim = x->kind == IT_TENSOR ? x->rank : 0;
    out->shape = out->ndim ? p->im.dims + x->first_dim : NULL;
  } else if (x->kind == IT_DATA) {
    out->name = p->im.text + x->name;
    out->n_ctors = x->n_ctors;
    out->is_tuple = x->is_tuple;
  }
  return RVM_OK;
}

static const ICtor *ctor_of(const rvm_program *p, rvm_type t, uint32_t c) {
  if (t >= p->im.n_types) return NULL;
  const IType *x = &p->im.type[t];
  return x->kind == IT_DATA && c < x->n_ctors ? &p->im.ctor[x->first_ctor + c] : NULL;
}

const char *rvm_ctor_name(const rvm_program *p, rvm_type t, uint32_t ctor) {
  const ICtor *c = ctor_of(p, t, ctor);
  return c ? p->im.text + c->name : NULL;
}
uint32_t rvm_ctor_fields(const rvm_program *p, rvm_type t, uint32_t ctor) {
  const ICtor *c = ctor_of(p, t, ctor);
  return c ? c->n_fields : 0;
}
const char *rvm_ctor_field_name(const rvm_program *p, rvm_type t, uint32_t ctor, uint32_t i) {
  const ICtor *c = ctor_of(p, t, ctor);
  return c && i < c->n_names ? p->im.text + p->im.name_list[c->first_name + i] : "";
}
rvm_type rvm_ctor_field(const rvm_program *p, rvm_type t, uint32_t ctor, uint32_t i) {
  const ICtor *c = ctor_of(p, t, ctor);
  return c && i < c->n_fields ? p->im.type_list[c->first_field + i] : UINT32_MAX;
}
