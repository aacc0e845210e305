/* tensor_file.h -- tensors in files: .npy, .npz, .safetensors; samples of .wav.
 *
 * The files are untrusted.  Whatever is not exactly as the formats say is
 * refused with a sentence that names the place; of a refused file no tensor is
 * handed out.  All functions return NULL or such a sentence, from base/mem.h.
 *
 * .npy   versions 1 to 3; bool, (u)int8..64, float16, 32, 64 in both byte
 *        orders; Fortran order is converted.  Its one tensor is named "".
 * .npz   a zip archive of .npy; stored or deflated.  Written stored, with
 *        fixed times: equal tensors give equal bytes.
 * .safetensors  with bfloat16; the 8-bit floats are refused.
 *
 * .wav   read only: its samples (cli/file/wav.h) are a tensor named "".
 *
 * numpy has no bfloat16: such a tensor is written to .npy and .npz as float32,
 * which holds every bfloat16 exactly.                                        */
#ifndef RVM_CLI_TENSOR_FILE_H
#define RVM_CLI_TENSOR_FILE_H
#include "ir/expr.h"

typedef struct { const char *name; Tensor *value; } NamedTensor;
typedef struct { NamedTensor *at; int n, cap; } TensorSet;

/* By the ending of path.  Reading appends to *out; the sentence starts with
 * the path.  Writing is atomic (base/file.h). */
const char *tensor_file_read(const char *path, TensorSet *out);
const char *tensor_file_write(const char *path, const TensorSet *ts);
bool        tensor_file_known(const char *path);      /* one of the endings     */
Tensor     *tensor_find(const TensorSet *ts, const char *name);   /* NULL: none */

/* ---- the formats, over memory ------------------------------------------------
 * Tensors may point into bytes, which must stay and must not change. */
const char *npy_parse(const uint8_t *bytes, size_t n, Tensor **out);
const char *npz_parse(const uint8_t *bytes, size_t n, TensorSet *out);
const char *safetensors_parse(const uint8_t *bytes, size_t n, TensorSet *out);
/* Appends the file to *out. */
const char *npy_format(const Tensor *t, StrBuf *out);
const char *npz_format(const TensorSet *ts, StrBuf *out);
const char *safetensors_format(const TensorSet *ts, StrBuf *out);

/* ---- for the three of them ---------------------------------------------------- */
enum { TENSOR_NAME_MAX = 1024, NPZ_MAX_ENTRIES = 65535, SAFETENSORS_MAX_TENSORS = 65536 };
#define TENSOR_FILE_MAX ((size_t)64 << 30)
#define TENSOR_MAX_COUNT ((int64_t)1 << 40)

/* A tensor over n bytes at data: NULL with *why set when they are not its
 * elements exactly.  Copies only when data is not aligned for the type. */
Tensor *tensor_over(DType t, int rank, const int64_t *dim, const uint8_t *data, size_t n,
                    const char **why);
/* Foreign text inside a sentence: what is not plain ASCII as \xNN, cut at 80. */
const char *shown(const char *s);
void put_le(StrBuf *b, uint64_t v, int bytes);
static inline uint64_t get_le(const uint8_t *p, int bytes) {
  uint64_t v = 0;
  for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
  return v;
}
#endif
