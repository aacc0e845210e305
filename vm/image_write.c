/* image_write.c -- an image as bytes.
 *
 * One routine walks the image twice: first only counting, then writing into a
 * buffer of exactly that size.  Nothing of the host shows in the result: no
 * padding, no pointers, fixed byte order.                                     */
#include "base/checked.h"
#include "vm/image_format.h"

typedef struct {
  uint8_t *p;
  size_t n;
  bool ok;
} Out; /* p NULL: only count   */

static void put(Out *o, const void *s, size_t n) {
  if (o->p && n) memcpy(o->p + o->n, s, n);
  o->ok = size_add(o->n, n, &o->n) && o->ok;
}

static void put_le(Out *o, uint64_t v, int bytes) {
  uint8_t b[8];
  for (int i = 0; i < bytes; i++) b[i] = (uint8_t)(v >> 8 * i);
  put(o, b, (size_t)bytes);
}

static void put_align(Out *o, size_t to) {
  while (o->n % to) put_le(o, 0, 1);
}

static uint64_t load_uint(const void *p, int bytes) {
  uint8_t a;
  uint16_t b;
  uint32_t c;
  uint64_t d;
  switch (bytes) {
  case 1: memcpy(&a, p, 1); return a;
  case 2: memcpy(&b, p, 2); return b;
  case 4: memcpy(&c, p, 4); return c;
  default: memcpy(&d, p, 8); return d;
  }
}

static void put_record(Out *o, const WireArray *w, const char *elem) {
  for (int i = 0; i < w->n_fields; i++) {
    const WireField *f = &w->field[i];
    for (int k = 0; k < f->count; k++)
      put_le(o, load_uint(elem + f->at + k * f->size, f->size), f->size);
  }
}

static void put_array(Out *o, const WireArray *w, void *owner) {
  uint32_t n = *wire_count(w, owner);
  const char *p = wire_get(w, owner);
  size_t bytes;
  if (!o->p || wire_same(w)) {
    o->ok = size_mul(wire_size(w), n, &bytes) && o->ok;
    put(o, p, bytes);
    return;
  }
  for (uint32_t i = 0; i < n; i++) put_record(o, w, p + (size_t)i * w->elem);
}

static void put_kernel(Out *o, Kernel *k) {
  put_le(o, k->name, 4);
  put_le(o, k->n_params, 4);
  for (int i = 0; i < KERNEL_ARRAYS; i++) put_le(o, *wire_count(&kernel_array[i], k), 4);
  for (int i = 0; i < KERNEL_ARRAYS; i++) put_array(o, &kernel_array[i], k);
}

static bool section_is_empty(Image *m, int kind) {
  if (kind == SECTION_KERNELS) return m->n_kernels == 0;
  if (kind == SECTION_DATA) return m->n_data == 0;
  return *wire_count(&image_array[kind - 1], m) == 0;
}

static void put_section(Out *o, Image *m, int kind) {
  put_align(o, kind == SECTION_DATA ? DATA_ALIGN : 8);
  if (kind == SECTION_DATA) {
    o->ok = m->n_data <= SIZE_MAX && o->ok;
    put(o, m->data, (size_t)m->n_data);
  } else if (kind == SECTION_KERNELS) {
    put_le(o, m->n_kernels, 4);
    for (uint32_t i = 0; i < m->n_kernels; i++) put_kernel(o, m->kernel[i]);
  } else
    put_array(o, &image_array[kind - 1], m);
}

static void put_header(Out *o, size_t total, int n_sections) {
  put(o, IMAGE_MAGIC, 8);
  put_le(o, IMAGE_MAJOR, 2);
  put_le(o, IMAGE_MINOR, 2);
  put_le(o, 0, 4); /* required features              */
  put_le(o, total, 8);
  put_le(o, (uint64_t)n_sections, 4);
  put_le(o, 0, 4);
}

typedef struct {
  uint64_t at, size;
} Place;

static void put_image(Out *o, Image *m, size_t total, Place *place) {
  int n = 0;
  for (int k = 1; k <= SECTION_DATA; k++) n += !section_is_empty(m, k);
  put_header(o, total, n);
  for (int k = 1; k <= SECTION_DATA; k++) {
    if (section_is_empty(m, k)) continue;
    put_le(o, (uint64_t)k, 4);
    put_le(o, 0, 4);
    put_le(o, place[k].at, 8);
    put_le(o, place[k].size, 8);
  }
  for (int k = 1; k <= SECTION_DATA; k++) {
    if (section_is_empty(m, k)) continue;
    put_section(o, m, k);
    Out empty = {.n = 0, .ok = true}; /* the size without the alignment */
    put_section(&empty, m, k);
    place[k] = (Place){o->n - empty.n, empty.n};
  }
}

uint8_t *image_write(const Image *m, KAlloc a, size_t *n) {
  Image copy = *m; /* wire_count wants a mutable owner */
  Place place[SECTION_DATA + 1] = {{0, 0}};
  Out o = {.ok = true};
  put_image(&o, &copy, 0, place);
  if (!o.ok) return NULL;
  size_t total = o.n;
  uint8_t *bytes = a.fn(a.user, NULL, 0, total);
  if (!bytes) return NULL;
  o = (Out){.p = bytes, .ok = true};
  put_image(&o, &copy, total, place);
  *n = total;
  return bytes;
}
