/* verify.c -- is this image safe to run?  The tables.
 *
 * After image_verify every index in the image is in range, every kernel is
 * proved (kernel/verify.c) and every function keeps types and ownership
 * (verify_code.c); the interpreter checks none of that again.
 *
 * Each table is read once.  Entries may share parts of other tables, so the
 * total is bounded by a budget of steps rather than by the file's size.       */
#include "base/checked.h"
#include "vm/verify.h"

enum { WORK = 1 << 28 };

bool v_fail(Verify *v, const char *why) {
  *v->err = (ImageError){.why = why, .func = UINT32_MAX, .pc = v->pc};
  if (v->f) v->err->func = (uint32_t)(v->f - v->m->func);
  return false;
}

bool v_spend(Verify *v, uint64_t steps) {
  if (steps > v->work) return v_fail(v, "the image is too intricate to verify");
  v->work -= steps;
  return true;
}

static bool types_exist(Verify *v, uint32_t first, uint64_t n) {
  if (!range_ok(first, n, v->m->n_type_list)) return v_fail(v, "a list of types is out of range");
  if (!v_spend(v, n)) return false;
  for (uint64_t i = 0; i < n; i++)
    if (v->m->type_list[first + i] >= v->m->n_types) return v_fail(v, "a type is out of range");
  return true;
}

/* ---- types -------------------------------------------------------------- */

static bool check_tensor_type(Verify *v, const IType *t) {
  if (t->rank > IMAGE_MAX_RANK) return v_fail(v, "type: the rank is above 8");
  if (!range_ok(t->first_dim, t->rank, v->m->n_dims)) return v_fail(v, "type: dims out of range");
  for (int i = 0; i < t->rank; i++)
    if (v->m->dims[t->first_dim + (uint32_t)i] < -1)
      return v_fail(v, "type: an extent is negative");
  return true;
}

static bool check_field_names(Verify *v, const ICtor *c) {
  const Image *m = v->m;
  if (c->n_names == 0) return true;
  if (c->n_names != c->n_fields || !range_ok(c->first_name, c->n_names, m->n_name_list))
    return v_fail(v, "constructor: the names of fields are out of range");
  if (!v_spend(v, c->n_names)) return false;
  for (uint32_t i = 0; i < c->n_names; i++)
    if (!v_text(v, m->name_list[c->first_name + i]))
      return v_fail(v, "constructor: a field's name is out of range");
  return true;
}

/* All of them, those of no type as well: tables for the heap are made of the whole array. */
static bool check_ctors(Verify *v) {
  for (v->pc = 0; v->pc < v->m->n_ctors; v->pc++) {
    const ICtor *c = &v->m->ctor[v->pc];
    if (!v_text(v, c->name)) return v_fail(v, "constructor: the name is out of range");
    if (c->n_fields > IMAGE_MAX_FIELDS) return v_fail(v, "constructor: too many fields");
    if (!types_exist(v, c->first_field, c->n_fields) || !check_field_names(v, c)) return false;
  }
  return true;
}

static bool check_data_type(Verify *v, const IType *t) {
  const Image *m = v->m;
  if (!v_text(v, t->name)) return v_fail(v, "type: the name is out of range");
  if (t->n_ctors > IMAGE_MAX_CTORS) return v_fail(v, "type: too many constructors");
  if (!range_ok(t->first_ctor, t->n_ctors, m->n_ctors))
    return v_fail(v, "type: constructors out of range");
  if (t->is_tuple && t->n_ctors != 1) return v_fail(v, "type: a tuple has one constructor");
  return true;
}

static bool check_type(Verify *v, const IType *t) {
  if (t->is_tuple > 1 || (t->is_tuple && t->kind != IT_DATA))
    return v_fail(v, "type: bad tuple mark");
  switch (t->kind) {
  case IT_SCALAR: return t->dtype < DT_COUNT || v_fail(v, "type: unknown dtype");
  case IT_TENSOR:
    if (t->dtype >= DT_COUNT) return v_fail(v, "type: unknown dtype");
    return check_tensor_type(v, t);
  case IT_DATA: return check_data_type(v, t);
  case IT_CLOSURE:
    if (t->n_list > IMAGE_MAX_ARGS) return v_fail(v, "type: too many parameters");
    if (!types_exist(v, t->first_list, t->n_list)) return false;
    break;
  case IT_REF: break;
  default: return v_fail(v, "type: unknown kind");
  }
  return t->result < v->m->n_types || v_fail(v, "type: result out of range");
}

static bool check_types(Verify *v) {
  if (v->m->n_types > IMAGE_MAX_TYPES) return v_fail(v, "too many types");
  for (v->pc = 0; v->pc < v->m->n_types; v->pc++)
    if (!check_type(v, &v->m->type[v->pc])) return false;
  return true;
}

/* ---- constants ---------------------------------------------------------- */

/* Are the bits what a register of this dtype may hold? */
static bool canonical(DType t, uint64_t bits) {
  int bytes = dtype_bytes(t);
  if (dtype_is_float(t)) return bytes == 8 || bits >> (8 * bytes) == 0;
  if (t == DT_bool) return bits <= 1;
  return (uint64_t)wrap_int((int64_t)bits, t) == bits;
}

static bool all_bools(const uint8_t *p, uint64_t n) {
  uint8_t any = 0;
  for (uint64_t i = 0; i < n; i++) any |= p[i];
  return any <= 1;
}

static bool check_extents(Verify *v, const IConst *c, const IType *t, int64_t *count) {
  const Image *m = v->m;
  if (!range_ok(c->first_dim, t->rank, m->n_dims)) return v_fail(v, "constant: dims out of range");
  const int64_t *dim = t->rank ? m->dims + c->first_dim : NULL;
  if (!dims_count(dim, t->rank, count)) return v_fail(v, "constant: impossible extents");
  for (uint32_t i = 0; i < t->rank; i++) {
    int64_t said = m->dims[t->first_dim + i];
    if (said >= 0 && said != dim[i]) return v_fail(v, "constant: extents differ from the type's");
  }
  return true;
}

static bool check_tensor_const(Verify *v, const IConst *c, const IType *t) {
  const Image *m = v->m;
  int64_t count = 0, bytes;
  if (!check_extents(v, c, t, &count)) return false;
  if (!i64_mul(count, dtype_bytes((DType)t->dtype), &bytes) || (uint64_t)bytes != c->bytes)
    return v_fail(v, "constant: the number of bytes is not that of the extents");
  if (!range_ok(c->at, c->bytes, m->n_data)) return v_fail(v, "constant: data out of range");
  if (c->at % 64 != 0) return v_fail(v, "constant: data is misaligned");
  if (t->dtype != DT_bool || c->bytes == 0) return true;
  if (!v_spend(v, c->bytes / 16)) return false;
  return all_bools(m->data + c->at, c->bytes) || v_fail(v, "constant: a bool is neither 0 nor 1");
}

static bool check_consts(Verify *v) {
  const Image *m = v->m;
  for (v->pc = 0; v->pc < m->n_consts; v->pc++) {
    const IConst *c = &m->cst[v->pc];
    if (c->type >= m->n_types) return v_fail(v, "constant: the type is out of range");
    const IType *t = &m->type[c->type];
    if (t->kind == IT_SCALAR) {
      if (!canonical((DType)t->dtype, c->bits))
        return v_fail(v, "constant: not a value of its dtype");
    } else if (t->kind == IT_TENSOR) {
      if (!check_tensor_const(v, c, t)) return false;
    } else
      return v_fail(v, "constant: neither scalar nor tensor");
  }
  return true;
}

/* ---- kernels, functions, entries ---------------------------------------- */

static bool check_kernels(Verify *v, bool *needs_launch) {
  for (v->pc = 0; v->pc < v->m->n_kernels; v->pc++) {
    KError e = {K_OK, NULL};
    bool unneeded, *needs = needs_launch ? &needs_launch[v->pc] : &unneeded;
    KStatus s = kernel_verify(v->m->kernel[v->pc], v->a, needs, &e);
    if (s == K_OK) continue;
    v_fail(v, e.why ? e.why : "kernel: refused");
    v->err->no_memory = s == K_NO_MEMORY;
    return false;
  }
  return true;
}

static bool check_lines(Verify *v, const IFunc *f) {
  if (f->n_lines == 0) return true; /* there may be no table          */
  const ILine *l = v->m->line + f->line;
  for (uint32_t i = 0; i < f->n_lines; i++) {
    if (l[i].pc >= f->n_code || (i > 0 && l[i].pc <= l[i - 1].pc))
      return v_fail(v, "function: lines are not in order");
    if (!v_text(v, l[i].file)) return v_fail(v, "function: a file name is out of range");
  }
  return true;
}

static bool check_func(Verify *v, const IFunc *f) {
  const Image *m = v->m;
  uint64_t args = (uint64_t)f->n_captures + f->n_params;
  if (!v_text(v, f->name)) return v_fail(v, "function: the name is out of range");
  if (f->n_regs > IMAGE_MAX_REGS || args > IMAGE_MAX_ARGS || args > f->n_regs)
    return v_fail(v, "function: too many registers, or fewer than parameters");
  if (!types_exist(v, f->first_param, args)) return false;
  if (f->result >= m->n_types) return v_fail(v, "function: the result type is out of range");
  if (!range_ok(f->code, f->n_code, m->n_code)) return v_fail(v, "function: code out of range");
  if (!range_ok(f->label, f->n_labels, m->n_labels))
    return v_fail(v, "function: labels out of range");
  if (!range_ok(f->line, f->n_lines, m->n_lines)) return v_fail(v, "function: lines out of range");
  return v_spend(v, (uint64_t)f->n_code + f->n_labels + f->n_lines) && check_lines(v, f);
}

static bool check_funcs(Verify *v) {
  if (v->m->n_funcs > IMAGE_MAX_FUNCS) return v_fail(v, "too many functions");
  for (v->pc = 0; v->pc < v->m->n_funcs; v->pc++)
    if (!check_func(v, &v->m->func[v->pc])) return false;
  return true;
}

static bool check_entries(Verify *v) {
  const Image *m = v->m;
  for (v->pc = 0; v->pc < m->n_entries; v->pc++) {
    const IEntry *e = &m->entry[v->pc];
    if (e->func >= m->n_funcs) return v_fail(v, "entry: the function is out of range");
    const IFunc *f = &m->func[e->func];
    if (f->n_captures != 0) return v_fail(v, "entry: the function has captures");
    if (!v_text(v, e->name) || !v_text(v, e->doc))
      return v_fail(v, "entry: the name is out of range");
    if (!range_ok(e->first_name, f->n_params, m->n_name_list))
      return v_fail(v, "entry: parameter names out of range");
    if (!v_spend(v, f->n_params)) return false;
    for (uint32_t i = 0; i < f->n_params; i++)
      if (!v_text(v, m->name_list[e->first_name + i]))
        return v_fail(v, "entry: a parameter's name is out of range");
  }
  return true;
}

static bool check_text(Verify *v) {
  const Image *m = v->m;
  if (m->n_text == 0 || m->text[0] != '\0' || m->text[m->n_text - 1] != '\0')
    return v_fail(v, "the text does not begin and end with NUL");
  return true;
}

static bool check_code(Verify *v) {
  uint32_t n_regs = 1;
  for (uint32_t i = 0; i < v->m->n_funcs; i++)
    if (v->m->func[i].n_regs > n_regs) n_regs = v->m->func[i].n_regs;
  size_t bytes = n_regs * sizeof *v->reg;
  v->reg = v->a.fn(v->a.user, NULL, 0, bytes);
  if (!v->reg) {
    v_fail(v, "out of memory");
    return !(v->err->no_memory = true);
  }
  memset(v->reg, 0, bytes);
  bool ok = true;
  for (uint32_t i = 0; i < v->m->n_funcs && ok; i++) ok = verify_func(v, &v->m->func[i]);
  v->a.fn(v->a.user, v->reg, bytes, 0);
  return ok;
}

bool image_verify(const Image *m, KAlloc a, bool **needs_launch, ImageError *err) {
  ImageError unwanted;
  Verify v = {.m = m, .a = a, .err = err ? err : &unwanted, .work = WORK};
  bool *launch = NULL;
  *v.err = (ImageError){.func = UINT32_MAX};
  if (needs_launch && m->n_kernels) {
    launch = a.fn(a.user, NULL, 0, m->n_kernels * sizeof *launch);
    if (!launch) {
      v_fail(&v, "out of memory");
      return !(v.err->no_memory = true);
    }
  }
  bool ok = check_text(&v) && check_types(&v) && check_ctors(&v) && check_consts(&v) &&
            check_kernels(&v, launch) && check_funcs(&v) && check_entries(&v) && check_code(&v);
  if (!ok && launch) {
    a.fn(a.user, launch, m->n_kernels * sizeof *launch, 0);
    launch = NULL;
  }
  if (needs_launch) *needs_launch = launch;
  return ok;
}
