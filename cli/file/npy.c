/* npy.c -- numpy's .npy: a magic, a header that is a small dictionary, data.
 *
 * numpy evaluates the header as Python.  Here it has a grammar of its own:
 * three keys in any order, a quoted element type, True or False, a tuple of
 * whole numbers.  See numpy/lib/format.py for the format.                    */
#include "cli/file/tensor_file.h"
#include "base/checked.h"

enum { HEADER_MAX = 65536 };
static const char magic[] = "\x93NUMPY";

/* ---- element types --------------------------------------------------------------- */
static const struct {
  const char *code;
  DType dtype;
} codes[] = {
    {"b1", DT_bool}, {"i1", DT_i8},  {"i2", DT_i16}, {"i4", DT_i32}, {"i8", DT_i64}, {"u1", DT_u8},
    {"u2", DT_u16},  {"u4", DT_u32}, {"u8", DT_u64}, {"f2", DT_f16}, {"f4", DT_f32}, {"f8", DT_f64},
};
enum { N_CODES = sizeof codes / sizeof *codes };

/* "<f4" and the like; the order '|' only where there is none. */
static bool element_type(const char *s, size_t n, DType *t, bool *swap) {
  if (n != 3 || (s[0] != '<' && s[0] != '>' && s[0] != '|')) return false;
  for (int i = 0; i < N_CODES; i++) {
    if (memcmp(codes[i].code, s + 1, 2) != 0) continue;
    *t = codes[i].dtype;
    *swap = s[0] == '>' && dtype_bytes(*t) > 1;
    return s[0] != '|' || dtype_bytes(*t) == 1;
  }
  return false;
}

/* ---- the header -------------------------------------------------------------------- */
typedef struct {
  const char *s;
  size_t n, at; /* s: the header alone                 */
  size_t base;  /* its offset in the file              */
  const char *why;
  DType dtype;
  bool swap, fortran;
  int rank;
  int64_t dim[MAX_RANK];
  bool seen[3];
} Header;

static bool refuse(Header *h, const char *what) {
  if (!h->why) h->why = str_fmt("byte %zu of the .npy header: %s", h->base + h->at, what);
  return false;
}
static int peek(const Header *h) { return h->at < h->n ? (unsigned char)h->s[h->at] : -1; }
static void blanks(Header *h) {
  while (peek(h) == ' ' || peek(h) == '\n' || peek(h) == '\t') h->at++;
}
static bool accept(Header *h, char c) {
  blanks(h);
  if (peek(h) != (unsigned char)c) return false;
  h->at++;
  return true;
}
static bool expect(Header *h, char c) {
  char what[] = "`?` is missing";
  what[1] = c;
  return accept(h, c) || refuse(h, what);
}
static bool word(Header *h, const char *w) {
  size_t n = strlen(w);
  if (h->n - h->at < n || memcmp(h->s + h->at, w, n) != 0) return false;
  h->at += n;
  return true;
}
static bool quoted(Header *h, const char **s, size_t *n) {
  blanks(h);
  int q = peek(h);
  if (q != '\'' && q != '"') return refuse(h, "a quoted name is missing");
  *s = h->s + ++h->at;
  while (peek(h) >= 0 && peek(h) != q) h->at++;
  *n = (size_t)(h->s + h->at - *s);
  return peek(h) == q ? h->at++, true : refuse(h, "the closing quote is missing");
}

static bool read_descr(Header *h) {
  const char *s;
  size_t n;
  blanks(h);
  if (peek(h) == '[') return refuse(h, "structured element types are not tensors");
  if (!quoted(h, &s, &n)) return false;
  if (element_type(s, n, &h->dtype, &h->swap)) return true;
  return refuse(
      h, str_fmt("element type `%s` is not one of b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 with < or >",
                 shown(str_fmt("%.*s", (int)(n < 40 ? n : 40), s))));
}
static bool read_order(Header *h) {
  blanks(h);
  h->fortran = word(h, "True");
  return h->fortran || word(h, "False") || refuse(h, "fortran_order is neither True nor False");
}
static bool read_extent(Header *h, int64_t *out) {
  int64_t v = 0;
  blanks(h);
  if (peek(h) < '0' || peek(h) > '9') return refuse(h, "an extent is not a whole number");
  for (; peek(h) >= '0' && peek(h) <= '9'; h->at++)
    if (!i64_mul(v, 10, &v) || !i64_add(v, peek(h) - '0', &v))
      return refuse(h, "an extent is too large");
  *out = v;
  return true;
}
/* () (3,) (3, 4) (3, 4,) -- but not (3), which Python reads as a number. */
static bool read_shape(Header *h) {
  if (!expect(h, '(')) return false;
  bool comma = true;
  for (h->rank = 0; !accept(h, ')'); h->rank++) {
    if (!comma) return refuse(h, "`,` is missing");
    if (h->rank == MAX_RANK) return refuse(h, "more than 8 dimensions");
    if (!read_extent(h, &h->dim[h->rank])) return false;
    comma = accept(h, ',');
  }
  return h->rank != 1 || comma || refuse(h, "the shape is not a tuple");
}

static const struct {
  const char *key;
  bool (*read)(Header *h);
} keys[] = {
    {"descr", read_descr},
    {"fortran_order", read_order},
    {"shape", read_shape},
};

static bool read_entry(Header *h) {
  const char *s;
  size_t n;
  if (!quoted(h, &s, &n)) return false;
  for (int i = 0; i < 3; i++) {
    if (strlen(keys[i].key) != n || memcmp(keys[i].key, s, n) != 0) continue;
    if (h->seen[i]) return refuse(h, "a key stands twice");
    h->seen[i] = true;
    return expect(h, ':') && keys[i].read(h);
  }
  return refuse(h, "a key is not descr, fortran_order or shape");
}

static bool read_header(Header *h) {
  if (!expect(h, '{')) return false;
  for (bool comma = true; !accept(h, '}'); comma = accept(h, ',')) {
    if (!comma) return refuse(h, "`,` is missing");
    if (!read_entry(h)) return false;
  }
  for (int i = 0; i < 3; i++)
    if (!h->seen[i]) return refuse(h, str_fmt("the key %s is missing", keys[i].key));
  blanks(h);
  return h->at == h->n || refuse(h, "something follows the dictionary");
}

/* ---- data --------------------------------------------------------------------------- */
static void swap_bytes(uint8_t *to, const uint8_t *from, int64_t count, size_t each) {
  for (int64_t i = 0; i < count; i++, to += each, from += each)
    for (size_t k = 0; k < each; k++) to[k] = from[each - 1 - k];
}

/* Column-major elements, gathered in row-major order. */
static void reorder(uint8_t *to, const uint8_t *from, const Tensor *t, size_t each) {
  int64_t at[MAX_RANK] = {0}, step[MAX_RANK], s = 1, pos = 0;
  for (int i = 0; i < t->rank; i++) step[i] = s, s *= t->dim[i];
  for (int64_t n = 0; n < t->count; n++, to += each) {
    memcpy(to, from + (size_t)pos * each, each);
    for (int i = t->rank - 1; i >= 0; i--) {
      pos += step[i];
      if (++at[i] < t->dim[i]) break;
      pos -= step[i] * t->dim[i];
      at[i] = 0;
    }
  }
}

static void settle(Tensor *t, const Header *h) {
  size_t each = (size_t)dtype_bytes(t->dtype), n = (size_t)t->count * each;
  if (h->swap && n) {
    uint8_t *fresh = NEW_BYTES(n);
    swap_bytes(fresh, t->bytes, t->count, each);
    t->bytes = fresh;
  }
  if (h->fortran && t->rank > 1 && n) {
    uint8_t *fresh = NEW_BYTES(n);
    reorder(fresh, t->bytes, t, each);
    t->bytes = fresh;
  }
}

const char *npy_parse(const uint8_t *bytes, size_t n, Tensor **out) {
  *out = NULL;
  if (n < 10 || memcmp(bytes, magic, 6) != 0) return "not a .npy file (byte 0)";
  if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0)
    return str_fmt("version %d.%d of .npy is not known (byte 6)", bytes[6], bytes[7]);
  size_t start = bytes[6] == 1 ? 10 : 12;
  if (n < start) return "the file ends inside the .npy header";
  uint64_t len = get_le(bytes + 8, bytes[6] == 1 ? 2 : 4);
  if (len > HEADER_MAX) return "the .npy header is longer than 64 KiB (byte 8)";
  if (!range_ok(start, len, n)) return "the file ends inside the .npy header";
  Header h = {.s = (const char *)bytes + start, .n = (size_t)len, .base = start};
  if (!read_header(&h)) return h.why;
  const char *why;
  size_t from = start + (size_t)len;
  Tensor *t = tensor_over(h.dtype, h.rank, h.dim, bytes + from, n - from, &why);
  if (!t) return why;
  settle(t, &h);
  *out = t;
  return NULL;
}

/* ---- writing --------------------------------------------------------------------------- */
static void put_header(const Tensor *t, DType as, StrBuf *out) {
  StrBuf h = {0};
  const char *code = "f4";
  for (int i = 0; i < N_CODES; i++)
    if (codes[i].dtype == as) code = codes[i].code;
  buf_fmt(&h, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
          dtype_bytes(as) > 1 ? '<' : '|', code);
  for (int i = 0; i < t->rank; i++)
    buf_fmt(&h, "%s%lld%s", i ? " " : "", (long long)t->dim[i],
            i + 1 < t->rank || t->rank == 1 ? "," : "");
  buf_str(&h, "), }");
  while ((h.n + 10 + 1) % 64 != 0) buf_char(&h, ' '); /* data aligned to 64 */
  buf_char(&h, '\n');
  buf_put(out, magic, 6);
  buf_put(out, "\1\0", 2);
  put_le(out, h.n, 2);
  buf_put(out, h.s, h.n);
}

const char *npy_format(const Tensor *t, StrBuf *out) {
  put_header(t, t->dtype == DT_bf16 ? DT_f32 : t->dtype, out);
  if (t->dtype != DT_bf16) {
    buf_put(out, t->bytes, (size_t)t->count * (size_t)dtype_bytes(t->dtype));
    return NULL;
  }
  const uint16_t *h = t->bytes;
  for (int64_t i = 0; i < t->count; i++) put_le(out, (uint64_t)h[i] << 16, 4);
  return NULL;
}
