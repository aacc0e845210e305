/* image_format.h -- the file form of an image, shared by writer and reader.
 *
 *   header   32 bytes: magic, version, features, total length, section count
 *   table    24 bytes per section: kind, 0, offset, size; ascending
 *   sections at multiples of 8, constant data at a multiple of 64
 *
 * A section is an array of packed little-endian records.  The records are
 * described once, by the field tables in image.c; docs/image.md lists them.   */
#ifndef RVM_VM_IMAGE_FORMAT_H
#define RVM_VM_IMAGE_FORMAT_H
#include "vm/image.h"

enum {
  IMAGE_MAJOR = 1, IMAGE_MINOR = 0,
  IMAGE_HEADER = 32, IMAGE_SECTION = 24,
  IMAGE_ARRAYS = 14, KERNEL_ARRAYS = 7,
  /* Section kinds: 1 + index into image_array, then these. */
  SECTION_KERNELS = IMAGE_ARRAYS + 1, SECTION_DATA,
  DATA_ALIGN = 64
};
enum {                                       /* indices into image_array       */
  IA_TEXT, IA_TYPES, IA_CTORS, IA_TYPE_LIST, IA_DIMS, IA_CONSTS, IA_FUNCS, IA_CODE, IA_POOL,
  IA_LABELS, IA_STATES, IA_LINES, IA_ENTRIES, IA_NAME_LIST
};
#define IMAGE_MAGIC "\x89RVM\r\n\x1a\n"      /* shows damage by text transfers */

typedef struct { uint16_t at; uint8_t size, count; } WireField;
typedef struct {
  uint16_t count, ptr;               /* where in the owner (Image or Kernel)   */
  uint16_t elem, n_fields;           /* bytes of one element in memory         */
  const WireField *field;
} WireArray;
extern const WireArray image_array[IMAGE_ARRAYS], kernel_array[KERNEL_ARRAYS];

size_t    wire_size(const WireArray *w);               /* bytes of one record  */
uint32_t *wire_count(const WireArray *w, void *owner);
/* The array's pointer, whatever its type. */
void     *wire_get(const WireArray *w, const void *owner);
void      wire_set(const WireArray *w, void *owner, void *array);

static inline bool host_is_little(void) {
  const uint16_t one = 1;
  uint8_t low;
  memcpy(&low, &one, 1);
  return low == 1;
}
/* Records that are the same bytes in memory: no padding, little-endian host. */
static inline bool wire_same(const WireArray *w) {
  return wire_size(w) == w->elem && host_is_little();
}
#endif
