/* print_const.c -- constants as text: literals and the metadata section.
 *
 * Scalars with a literal that reads back to the same bits are written in
 * place.  Everything else goes to the #[metadata] section: JSON in the node
 * format of TVM 0.10, each tensor the base64 of an NDArray file.             */
#include "ir/print_int.h"
#include <math.h>
#include <string.h>

/* ---- literals ---- */

static bool put_f32(const Tensor *c, bool relay, StrBuf *out) {
  float f;
  uint32_t bits;
  char text[48];
  memcpy(&f, c->bytes, 4);
  memcpy(&bits, c->bytes, 4);
  if (f != f && (relay || bits != 0x7fc00000u)) return false;
  num_f32(f, text);
  buf_fmt(out, "%sf", text);
  return true;
}

static bool put_f64(const Tensor *c, bool relay, StrBuf *out) {
  double f;
  uint64_t bits;
  char text[48];
  memcpy(&f, c->bytes, 8);
  memcpy(&bits, c->bytes, 8);
  if (!isfinite(f) && (relay || (f != f && bits != 0x7ff8000000000000u))) return false;
  num_f64(f, text);
  buf_fmt(out, "%sf64", text);
  return true;
}

static bool put_half(const Tensor *c, bool relay, StrBuf *out) {
  uint16_t h;
  char text[48];
  bool brain = c->dtype == DT_bf16;
  memcpy(&h, c->bytes, 2);
  if (!isfinite(brain ? bf16_to_f32(h) : f16_to_f32(h)) || (brain && relay)) return false;
  if (brain)
    num_bf16(h, text);
  else
    num_f16(h, text);
  buf_fmt(out, "%s%s", text, brain ? "bf16" : "f16");
  return true;
}

static bool put_int(const Tensor *c, bool relay, StrBuf *out) {
  static const char *const suffix[DT_COUNT] = {
      [DT_i8] = "i8", [DT_i16] = "i16", [DT_i32] = "",    [DT_i64] = "i64",
      [DT_u8] = "u8", [DT_u16] = "u16", [DT_u32] = "u32", [DT_u64] = "u64",
  };
  if (relay && c->dtype != DT_i16 && c->dtype != DT_i32 && c->dtype != DT_i64) return false;
  int64_t v = 0;
  memcpy(&v, c->bytes, (size_t)dtype_bytes(c->dtype));
  v = wrap_int(v, c->dtype);
  if (c->dtype == DT_u64)
    buf_fmt(out, "%llu", (unsigned long long)v);
  else
    buf_fmt(out, "%lld", (long long)v);
  buf_str(out, suffix[c->dtype]);
  return true;
}

bool const_print_literal(const Tensor *c, bool relay, StrBuf *out) {
  if (c->rank != 0) return false;
  switch (c->dtype) {
  case DT_bool: buf_str(out, *(const uint8_t *)c->bytes ? "True" : "False"); return true;
  case DT_f32: return put_f32(c, relay, out);
  case DT_f64: return put_f64(c, relay, out);
  case DT_f16:
  case DT_bf16: return put_half(c, relay, out);
  case DT_i8:
  case DT_i16:
  case DT_i32:
  case DT_i64:
  case DT_u8:
  case DT_u16:
  case DT_u32:
  case DT_u64: return put_int(c, relay, out);
  case DT_COUNT: break;
  }
  return false;
}

/* ---- the table ---- */

static uint64_t byte_count(const Tensor *c) {
  return (uint64_t)c->count * (uint64_t)dtype_bytes(c->dtype);
}

static bool same_tensor(const Tensor *a, const Tensor *b) {
  return a->dtype == b->dtype && a->rank == b->rank &&
         memcmp(a->dim, b->dim, sizeof *a->dim * (size_t)a->rank) == 0 &&
         memcmp(a->bytes, b->bytes, byte_count(a)) == 0;
}

int const_index(ConstTable *t, const Tensor *c) {
  uintptr_t known = (uintptr_t)map_get(&t->by_ptr, map_ptr(c));
  if (known) return (int)known - 1;
  uint64_t h = hash_bytes(c->bytes, byte_count(c), (uint64_t)c->dtype);
  for (int i = 0; i < c->rank; i++) h = hash_mix(h, (uint64_t)c->dim[i]);
  while ((known = (uintptr_t)map_get(&t->by_hash, h)) && !same_tensor(t->all.at[known - 1], c))
    h = hash_mix(h, 1);
  if (!known) {
    vec_push(&t->all, c);
    known = (uintptr_t)t->all.n;
    map_set(&t->by_hash, h, (void *)known);
  }
  map_set(&t->by_ptr, map_ptr(c), (void *)known);
  return (int)known - 1;
}

/* ---- the section ---- */

static void put_le(StrBuf *b, uint64_t v, int bytes) {
  for (int i = 0; i < bytes; i++) buf_char(b, (char)(v >> (8 * i) & 0xff));
}

/* The NDArray file: magic, reserved, device (cpu 0), rank, element type,
 * shape, byte count, data. */
static void put_ndarray(const Tensor *c, StrBuf *b) {
  int code, bits;
  dtype_to_dl(c->dtype, &code, &bits);
  if (c->dtype == DT_bool) { /* TVM calls it uint1 */
    code = 1;
    bits = 1;
  }
  put_le(b, 0xDD5E40F096B4A13Fu, 8);
  put_le(b, 0, 8);
  put_le(b, 1, 4);
  put_le(b, 0, 4);
  put_le(b, (uint64_t)c->rank, 4);
  put_le(b, (uint64_t)code, 1);
  put_le(b, (uint64_t)bits, 1);
  put_le(b, 1, 2);
  for (int i = 0; i < c->rank; i++) put_le(b, (uint64_t)c->dim[i], 8);
  put_le(b, byte_count(c), 8);
  buf_put(b, c->bytes, byte_count(c));
}

static void put_base64(const char *s, size_t n, StrBuf *out) {
  static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const unsigned char *p = (const unsigned char *)s;
  for (size_t i = 0; i < n; i += 3) {
    size_t left = n - i;
    uint32_t v = (uint32_t)p[i] << 16;
    if (left > 1) v |= (uint32_t)p[i + 1] << 8;
    if (left > 2) v |= p[i + 2];
    char quad[4] = {digit[v >> 18], digit[v >> 12 & 63], left > 1 ? digit[v >> 6 & 63] : '=',
                    left > 2 ? digit[v & 63] : '='};
    buf_put(out, quad, 4);
  }
}

/* Node 0 null, 1 the map, 2 the array of constants, then the constants, then
 * the unconstrained virtual device they all share and its memory scope. */
enum { FIRST_CONSTANT = 3 };

static void put_nodes(int n, StrBuf *out) {
  int device = FIRST_CONSTANT + n;
  buf_str(out, "  \"nodes\": [\n"
               "    {\"type_key\": \"\"},\n"
               "    {\"type_key\": \"Map\", \"keys\": [\"relay.Constant\"], \"data\": [2]},\n"
               "    {\"type_key\": \"Array\", \"data\": [");
  for (int i = 0; i < n; i++) buf_fmt(out, "%s%d", i ? ", " : "", FIRST_CONSTANT + i);
  buf_str(out, "]},\n");
  for (int i = 0; i < n; i++)
    buf_fmt(out,
            "    {\"type_key\": \"relay.Constant\", \"attrs\": {\"_checked_type_\": \"0\", "
            "\"data\": \"%d\", \"span\": \"0\", \"virtual_device_\": \"%d\"}},\n",
            i, device);
  buf_fmt(out,
          "    {\"type_key\": \"VirtualDevice\", \"attrs\": {\"device_type_int\": \"-1\", "
          "\"memory_scope\": \"%d\", \"target\": \"0\", \"virtual_device_id\": \"-1\"}},\n"
          "    {\"type_key\": \"runtime.String\"}\n  ],\n",
          device + 1);
}

void const_table_print(const ConstTable *t, StrBuf *out) {
  if (t->all.n == 0) return;
  buf_str(out, "\n#[metadata]\n{\n  \"root\": 1,\n");
  put_nodes(t->all.n, out);
  buf_str(out, "  \"b64ndarrays\": [\n");
  for (int i = 0; i < t->all.n; i++) {
    StrBuf file = {0};
    put_ndarray(t->all.at[i], &file);
    buf_str(out, "    \"");
    put_base64(file.s, file.n, out);
    buf_str(out, i + 1 < t->all.n ? "\",\n" : "\"\n");
  }
  buf_str(out, "  ],\n  \"attrs\": {\"tvm_version\": \"0.10.0\"}\n}\n");
}
