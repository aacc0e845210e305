/* image_read.c -- bytes, from anywhere, as an image.
 *
 * Decodes and bounds; means nothing: that is image_verify's part.  Everything
 * is read through a cursor that knows its end, every size goes through
 * base/checked.h, and no array is allocated before the bytes it is made of
 * are known to be there.                                                      */
#include "base/checked.h"
#include "vm/image_format.h"

typedef struct {
  const uint8_t *p, *end;
} Cursor;
typedef struct {
  const uint8_t *bytes;
  size_t n;
  KAlloc a;
  Image *m;
  ImageError *err;
} Reader;

static bool fail(Reader *r, const char *why, const uint8_t *at) {
  *r->err = (ImageError){.why = why, .at = (uint64_t)(at - r->bytes), .func = UINT32_MAX};
  return false;
}

static bool no_memory(Reader *r) {
  *r->err = (ImageError){.why = "out of memory", .no_memory = true, .func = UINT32_MAX};
  return false;
}

/* The next n bytes, or NULL. */
static const uint8_t *take(Cursor *c, size_t n) {
  if (n > (size_t)(c->end - c->p)) return NULL;
  const uint8_t *p = c->p;
  c->p += n;
  return p;
}

static uint64_t load_le(const uint8_t *p, int bytes) {
  uint64_t v = 0;
  for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << 8 * i;
  return v;
}

static bool get_u32(Cursor *c, uint32_t *v) {
  const uint8_t *p = take(c, 4);
  if (p) *v = (uint32_t)load_le(p, 4);
  return p != NULL;
}

static bool get_u64(Cursor *c, uint64_t *v) {
  const uint8_t *p = take(c, 8);
  if (p) *v = load_le(p, 8);
  return p != NULL;
}

/* ---- arrays ------------------------------------------------------------- */

static void store_uint(void *p, uint64_t v, int bytes) {
  uint8_t a = (uint8_t)v;
  uint16_t b = (uint16_t)v;
  uint32_t c = (uint32_t)v;
  switch (bytes) {
  case 1: memcpy(p, &a, 1); break;
  case 2: memcpy(p, &b, 2); break;
  case 4: memcpy(p, &c, 4); break;
  default: memcpy(p, &v, 8); break;
  }
}

static void get_record(const WireArray *w, const uint8_t *src, char *elem) {
  for (int i = 0; i < w->n_fields; i++) {
    const WireField *f = &w->field[i];
    for (int k = 0; k < f->count; k++, src += f->size)
      store_uint(elem + f->at + k * f->size, load_le(src, f->size), f->size);
  }
}

/* A table without entries is never NULL: offsets are added to it. */
static void no_tables(const WireArray *w, int n, void *owner) {
  static const uint64_t empty[8];
  for (int i = 0; i < n; i++) wire_set(&w[i], owner, (void *)(uintptr_t)empty);
}

/* n records into the array of owner that w names. */
static bool get_array(Reader *r, Cursor *c, const WireArray *w, void *owner, uint32_t n) {
  size_t wire = wire_size(w), bytes, mem;
  const uint8_t *at = c->p;
  if (n == 0) return true;
  if (!size_mul(wire, n, &bytes) || !size_mul(w->elem, n, &mem))
    return fail(r, "a table is too long", at);
  const uint8_t *src = take(c, bytes);
  if (!src) return fail(r, "a table ends too early", at);
  char *dst = r->a.fn(r->a.user, NULL, 0, mem);
  if (!dst) return no_memory(r);
  wire_set(w, owner, dst);
  *wire_count(w, owner) = n;
  if (wire_same(w)) {
    memcpy(dst, src, bytes);
    return true;
  }
  memset(dst, 0, mem);
  for (uint32_t i = 0; i < n; i++) get_record(w, src + i * wire, dst + (size_t)i * w->elem);
  return true;
}

static bool get_kernel(Reader *r, Cursor *c, Kernel **slot) {
  uint32_t count[KERNEL_ARRAYS], name, n_params;
  const uint8_t *at = c->p;
  bool ok = get_u32(c, &name) && get_u32(c, &n_params);
  for (int i = 0; i < KERNEL_ARRAYS && ok; i++) ok = get_u32(c, &count[i]);
  if (!ok) return fail(r, "a kernel ends too early", at);
  Kernel *k = *slot = r->a.fn(r->a.user, NULL, 0, sizeof *k);
  if (!k) return no_memory(r);
  *k = (Kernel){.name = name, .n_params = n_params};
  no_tables(kernel_array, KERNEL_ARRAYS, k);
  for (int i = 0; i < KERNEL_ARRAYS; i++)
    if (!get_array(r, c, &kernel_array[i], k, count[i])) return false;
  return true;
}

static bool get_kernels(Reader *r, Cursor *c) {
  enum { MIN_KERNEL = 8 + 4 * KERNEL_ARRAYS };
  const uint8_t *at = c->p;
  uint32_t n;
  size_t bytes;
  if (!get_u32(c, &n) || n > (size_t)(c->end - c->p) / MIN_KERNEL)
    return fail(r, "the table of kernels ends too early", at);
  if (n == 0) return true;
  if (!size_mul(n, sizeof(Kernel *), &bytes)) return fail(r, "too many kernels", at);
  r->m->kernel = r->a.fn(r->a.user, NULL, 0, bytes);
  if (!r->m->kernel) return no_memory(r);
  memset(r->m->kernel, 0, bytes);
  r->m->n_kernels = n;
  for (uint32_t i = 0; i < n; i++)
    if (!get_kernel(r, c, &r->m->kernel[i])) return false;
  return c->p == c->end || fail(r, "bytes after the last kernel", c->p);
}

/* ---- sections ----------------------------------------------------------- */

static bool get_section(Reader *r, uint32_t kind, Cursor c) {
  size_t size = (size_t)(c.end - c.p);
  if (kind == SECTION_KERNELS) return get_kernels(r, &c);
  if (kind == SECTION_DATA) {
    /* Borrowed, and only ever read: outputs of kernels are fresh tensors. */
    r->m->data = (uint8_t *)(uintptr_t)c.p;
    r->m->n_data = size;
    return true;
  }
  const WireArray *w = &image_array[kind - 1];
  size_t wire = wire_size(w);
  if (size % wire != 0) return fail(r, "a section is not a whole number of records", c.p);
  if (size / wire > UINT32_MAX) return fail(r, "a section is too long", c.p);
  return get_array(r, &c, w, r->m, (uint32_t)(size / wire));
}

static bool zeros(const uint8_t *p, const uint8_t *end) {
  for (; p < end; p++)
    if (*p) return false;
  return true;
}

/* Read the table; sections ascend by kind and place, and only zeros lie between. */
static bool get_sections(Reader *r, Cursor c, uint32_t n) {
  const uint8_t *done = c.p + (size_t)n * IMAGE_SECTION;
  uint32_t last = 0;
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t *at = c.p;
    uint32_t kind, zero;
    uint64_t offset, size;
    if (!get_u32(&c, &kind) || !get_u32(&c, &zero) || !get_u64(&c, &offset) || !get_u64(&c, &size))
      return fail(r, "the section table ends too early", at);
    if (kind == 0 || kind > SECTION_DATA || zero != 0)
      return fail(r, "a section of unknown kind", at);
    if (kind <= last) return fail(r, "sections are not in order", at);
    if (!range_ok(offset, size, r->n)) return fail(r, "a section is outside the file", at);
    if (offset % (kind == SECTION_DATA ? DATA_ALIGN : 8) != 0)
      return fail(r, "a section is misaligned", at);
    const uint8_t *p = r->bytes + (size_t)offset;
    if (p < done) return fail(r, "sections overlap", at);
    if (p - done >= DATA_ALIGN || !zeros(done, p))
      return fail(r, "unused bytes before a section", at);
    done = p + (size_t)size;
    last = kind;
    if (!get_section(r, kind, (Cursor){p, done})) return false;
  }
  return done == r->bytes + r->n || fail(r, "bytes after the last section", done);
}

static bool get_header(Reader *r, Cursor *c, uint32_t *n_sections) {
  const uint8_t *h = take(c, IMAGE_HEADER);
  if (!h || memcmp(h, IMAGE_MAGIC, 8) != 0) return fail(r, "this is not an rvm image", r->bytes);
  if (load_le(h + 8, 2) != IMAGE_MAJOR || load_le(h + 10, 2) > IMAGE_MINOR)
    return fail(r, "the image is of another version", h + 8);
  if (load_le(h + 12, 4) != 0)
    return fail(r, "the image needs features this runtime lacks", h + 12);
  if (load_le(h + 16, 8) != r->n)
    return fail(r, "the image is cut short or has bytes after its end", h + 16);
  if (load_le(h + 28, 4) != 0) return fail(r, "the image is of another version", h + 28);
  *n_sections = (uint32_t)load_le(h + 24, 4);
  if (*n_sections > SECTION_DATA || (size_t)(c->end - c->p) / IMAGE_SECTION < *n_sections)
    return fail(r, "the section table ends too early", h + 24);
  return true;
}

bool image_read(const void *bytes, size_t n, KAlloc a, Image *out, ImageError *err) {
  ImageError unwanted;
  Reader r = {bytes, n, a, out, err ? err : &unwanted};
  Cursor c = {bytes, (const uint8_t *)bytes + n};
  uint32_t n_sections = 0;
  *r.err = (ImageError){.func = UINT32_MAX};
  memset(out, 0, sizeof *out);
  no_tables(image_array, IMAGE_ARRAYS, out);
  if ((uintptr_t)bytes % 8 != 0) return fail(&r, "the image must be aligned to 8 bytes", r.bytes);
  if (get_header(&r, &c, &n_sections) && get_sections(&r, c, n_sections)) return true;
  image_free(out, a);
  return false;
}
