/* show.c -- values as text in the syntax of the language; see show.h.
 *
 * Values are walked with a stack of their own: a list of 10^5 elements is a
 * value of depth 10^5.                                                       */
#include "cli/value/show.h"
#include <string.h>

enum { WHOLE_MAX = 1000, EDGE = 3, FLUSH_AT = 1 << 16, TYPE_DEPTH = 32 };

/* ---- elements ---------------------------------------------------------------------- */
static int64_t int_at(const void *p, DType t) {
  int64_t v = 0;
  memcpy(&v, p, (size_t)dtype_bytes(t));
  return wrap_int(v, t);
}

static void put_element(const void *p, DType t, StrBuf *out) {
  char text[48];
  uint16_t h;
  float f;
  double d;
  switch (t) {
  case DT_bool: buf_str(out, *(const uint8_t *)p ? "True" : "False"); return;
  case DT_u64: buf_fmt(out, "%llu", (unsigned long long)int_at(p, t)); return;
  case DT_i8:
  case DT_i16:
  case DT_i32:
  case DT_i64:
  case DT_u8:
  case DT_u16:
  case DT_u32: buf_fmt(out, "%lld", (long long)int_at(p, t)); return;
  case DT_f16: memcpy(&h, p, 2), num_f16(h, text); break;
  case DT_bf16: memcpy(&h, p, 2), num_bf16(h, text); break;
  case DT_f32: memcpy(&f, p, 4), num_f32(f, text); break;
  case DT_f64: memcpy(&d, p, 8), num_f64(d, text); break;
  case DT_COUNT: return;
  }
  buf_str(out, text);
}

static const char *const suffix[DT_COUNT] = {
    [DT_bool] = "",     [DT_i8] = "i8",   [DT_i16] = "i16", [DT_i32] = "",    [DT_i64] = "i64",
    [DT_u8] = "u8",     [DT_u16] = "u16", [DT_u32] = "u32", [DT_u64] = "u64", [DT_f16] = "f16",
    [DT_bf16] = "bf16", [DT_f32] = "f",   [DT_f64] = "f64",
};

/* ---- tensors -------------------------------------------------------------------------- */
static void put_tensor(const uint8_t *data, DType t, int rank, const int64_t *dim, bool edges,
                       StrBuf *out) {
  if (rank == 0) {
    put_element(data, t, out);
    return;
  }
  uint64_t below = (uint64_t)dtype_bytes(t);
  for (int i = 1; i < rank; i++) below *= (uint64_t)dim[i];
  buf_char(out, '[');
  for (int64_t i = 0; i < dim[0]; i++) {
    if (i) buf_str(out, ", ");
    if (edges && dim[0] > 2 * EDGE && i == EDGE) {
      buf_str(out, "..., ");
      i = dim[0] - EDGE;
    }
    put_tensor(data + (uint64_t)i * below, t, rank - 1, dim + 1, edges, out);
  }
  buf_char(out, ']');
}

/* Whether the ends of the axes are enough: of what is large, and of what has no
 * elements but up to 2^63 rows of them. */
static bool only_edges(int rank, const int64_t *dim, bool full) {
  double rows = 1;
  bool empty = false;
  for (int i = 0; i < rank; i++) {
    empty |= dim[i] == 0;
    if (dim[i] > 0) rows *= (double)dim[i];
  }
  return rows > WHOLE_MAX && (!full || empty);
}

static void put_dl(const DLTensor *x, bool full, StrBuf *out) {
  DType t = DT_f32;
  dtype_from_dl(x->dtype.code, x->dtype.bits, &t);
  put_tensor((const uint8_t *)x->data + x->byte_offset, t, x->ndim, x->shape,
             only_edges(x->ndim, x->shape, full), out);
  if (x->ndim == 0) buf_str(out, suffix[t]);
}

void tensor_text(const Tensor *t, bool full, StrBuf *out) {
  put_tensor(t->bytes, t->dtype, t->rank, t->dim, only_edges(t->rank, t->dim, full), out);
  if (t->rank == 0) buf_str(out, suffix[t->dtype]);
}

/* ---- types ------------------------------------------------------------------------------ */
void type_text_of(DType t, int rank, const int64_t *dim, StrBuf *out) {
  if (rank == 0) {
    buf_str(out, dtype_name(t));
    return;
  }
  buf_str(out, "Tensor[(");
  for (int i = 0; i < rank; i++) {
    if (i) buf_str(out, ", ");
    if (dim[i] < 0)
      buf_char(out, '?');
    else
      buf_fmt(out, "%lld", (long long)dim[i]);
  }
  buf_fmt(out, "), %s]", dtype_name(t));
}

/* The name of a data type may mention extents of one of its uses; all uses of
 * equal element types and ranks share it, so they say nothing. */
static void put_data_name(const char *s, StrBuf *out) {
  static const char start[] = "Tensor[(";
  while (*s) {
    if (strncmp(s, start, sizeof start - 1) != 0) {
      buf_char(out, *s++);
      continue;
    }
    buf_str(out, start);
    s += sizeof start - 1;
    for (int depth = 0, fresh = 1; *s && (depth > 0 || *s != ')'); s++) {
      if (*s == '(') depth++;
      if (*s == ')') depth--;
      if (*s == ' ') continue;
      if (*s == ',' && depth == 0)
        buf_str(out, s[1] == ')' ? "," : ", "), fresh = 1;
      else if (fresh)
        buf_char(out, '?'), fresh = 0;
    }
  }
}

static void put_type(const rvm_program *p, rvm_type t, int depth, StrBuf *out) {
  rvm_type_info info;
  DType dt = DT_f32;
  if (depth > TYPE_DEPTH || rvm_type_describe(p, t, &info) != RVM_OK) {
    buf_str(out, "...");
    return;
  }
  switch (info.kind) {
  case RVM_TENSOR:
    dtype_from_dl(info.dtype.code, info.dtype.bits, &dt);
    type_text_of(dt, info.ndim, info.shape, out);
    return;
  case RVM_CLOSURE: buf_str(out, "a function"); return;
  case RVM_REF: buf_str(out, "a reference"); return;
  case RVM_DATA: break;
  }
  if (!info.is_tuple) {
    put_data_name(info.name, out);
    return;
  }
  uint32_t n = rvm_ctor_fields(p, t, 0);
  buf_char(out, '(');
  for (uint32_t i = 0; i < n; i++) {
    if (i) buf_str(out, ", ");
    put_type(p, rvm_ctor_field(p, t, 0, i), depth + 1, out);
  }
  buf_str(out, n == 1 ? ",)" : ")");
}

const char *type_of_value(const rvm_program *p, rvm_type t) {
  StrBuf b = {0};
  put_type(p, t, 0, &b);
  return buf_text(&b);
}

/* ---- values ------------------------------------------------------------------------------- */
typedef struct {
  rvm_value v;
  uint32_t i, n;
  bool tuple;
} Open;
typedef struct {
  const rvm_program *p;
  rvm_instance *vm;
  const ShowOpts *o;
  FILE *to;
  bool types; /* writing the types, not the values  */
  StrBuf out;
  VEC(Open) open;
} Shower;

static void put_leaf(Shower *s, rvm_value v, rvm_type_kind kind) {
  DLTensor x;
  if (kind == RVM_CLOSURE) buf_str(&s->out, "<function>");
  if (kind == RVM_REF) buf_str(&s->out, "<ref>");
  if (kind != RVM_TENSOR) return;
  rvm_value_get(s->vm, &v, &x);
  if (!s->types) {
    put_dl(&x, s->o->full, &s->out);
    return;
  }
  DType t = DT_f32;
  dtype_from_dl(x.dtype.code, x.dtype.bits, &t);
  type_text_of(t, x.ndim, x.shape, &s->out);
}

/* A leaf is written; data with fields is opened. */
static void put_value(Shower *s, rvm_value v) {
  rvm_type_info info;
  if (rvm_type_describe(s->p, v.type, &info) != RVM_OK) return;
  if (info.kind != RVM_DATA || (s->types && !info.is_tuple)) {
    if (info.kind == RVM_DATA)
      put_data_name(info.name, &s->out);
    else
      put_leaf(s, v, info.kind);
    return;
  }
  uint32_t c = rvm_value_ctor(s->vm, v), n = rvm_ctor_fields(s->p, v.type, c);
  if (!info.is_tuple) buf_str(&s->out, rvm_ctor_name(s->p, v.type, c));
  if (n == 0 && !info.is_tuple) return;
  buf_char(&s->out, '(');
  vec_push(&s->open, ((Open){v, 0, n, info.is_tuple}));
}

static void flush_text(Shower *s) {
  fwrite(buf_text(&s->out), 1, s->out.n, s->to);
  s->out.n = 0;
}

static void put_whole(Shower *s, rvm_value v) {
  put_value(s, v);
  while (s->open.n > 0) {
    Open *f = &vec_last(&s->open);
    if (s->out.n > FLUSH_AT) flush_text(s);
    if (f->i == f->n) {
      buf_str(&s->out, f->tuple && f->n == 1 ? ",)" : ")");
      s->open.n--;
      continue;
    }
    if (f->i > 0) buf_str(&s->out, ", ");
    put_value(s, rvm_value_field(s->vm, f->v, f->i++));
  }
}

void show_value(const rvm_program *p, rvm_instance *vm, rvm_value v, const ShowOpts *o, FILE *to) {
  Shower s = {.p = p, .vm = vm, .o = o, .to = to};
  put_whole(&s, v);
  if (o->types) {
    buf_str(&s.out, " : ");
    s.types = true;
    put_whole(&s, v);
  }
  buf_char(&s.out, '\n');
  flush_text(&s);
}

/* ---- values as a set ------------------------------------------------------------------------ */
static Tensor *copy_leaf(rvm_instance *vm, const rvm_value *v) {
  DLTensor x;
  DType t = DT_f32;
  rvm_value_get(vm, v, &x);
  dtype_from_dl(x.dtype.code, x.dtype.bits, &t);
  Tensor *copy = tensor_new(t, x.ndim, x.shape);
  size_t n = (size_t)copy->count * (size_t)dtype_bytes(t);
  if (n) memcpy(copy->bytes, (const uint8_t *)x.data + x.byte_offset, n);
  return copy;
}

void values_to_set(const rvm_program *p, rvm_instance *vm, rvm_value v, TensorSet *out) {
  VEC(Open) open = {0};
  int leaves = 0;
  for (rvm_value at = v;;) {
    rvm_type_info info = {0};
    rvm_type_describe(p, at.type, &info);
    if (info.kind == RVM_DATA) {
      uint32_t n = rvm_ctor_fields(p, at.type, rvm_value_ctor(vm, at));
      vec_push(&open, ((Open){at, 0, n, false}));
    } else if (info.kind == RVM_TENSOR) {
      const char *name = open.n ? str_fmt("out.%d", leaves++) : "out";
      vec_push(out, ((NamedTensor){name, copy_leaf(vm, &at)}));
    }
    while (open.n > 0 && vec_last(&open).i == vec_last(&open).n) open.n--;
    if (open.n == 0) return;
    Open *f = &vec_last(&open);
    at = rvm_value_field(vm, f->v, f->i++);
  }
}
